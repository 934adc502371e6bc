//! Walking the path attributes of an UPDATE, and what an error in each of them means (RFC 7606).

use std::net::{IpAddr, Ipv4Addr};

use wire::Mac;

use super::cursor::{Cursor, Short};
use super::encode::AsWidth;
use super::route::{
    Encapsulation, FloodTunnel, Membership, Mobility, Origin, RouteTarget, Segment,
};

pub(crate) mod code {
    pub(crate) const ORIGIN: u8 = 1;
    pub(crate) const AS_PATH: u8 = 2;
    pub(crate) const NEXT_HOP: u8 = 3;
    pub(crate) const MED: u8 = 4;
    pub(crate) const LOCAL_PREF: u8 = 5;
    pub(crate) const ORIGINATOR_ID: u8 = 9;
    pub(crate) const CLUSTER_LIST: u8 = 10;
    pub(crate) const MP_REACH: u8 = 14;
    pub(crate) const MP_UNREACH: u8 = 15;
    pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(crate) const AS4_PATH: u8 = 17;
    pub(crate) const PMSI_TUNNEL: u8 = 22;
    pub(crate) const TUNNEL_ENCAPSULATION: u8 = 23;
}

/// An attribute as it stands in the message.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) code: u8,
    pub(crate) value: Cursor<'a>,
    /// Where the attribute starts.
    pub(crate) offset: usize,
    /// Optional and transitive flags are those the code asks for.
    pub(crate) flags_fit: bool,
}

/// The attributes one after the other; an overrun ends the walk with an error.
pub(crate) fn next_raw<'a>(list: &mut Cursor<'a>) -> Result<Raw<'a>, Short> {
    let offset = list.offset();
    let flags = list.u8()?;
    let code = list.u8()?;
    let length = if flags & 0x10 != 0 { usize::from(list.u16()?) } else { usize::from(list.u8()?) };
    let value = list.sub(length)?;
    let expected = match code {
        code::ORIGIN | code::AS_PATH | code::NEXT_HOP | code::LOCAL_PREF => Some(0x40),
        code::MED
        | code::ORIGINATOR_ID
        | code::CLUSTER_LIST
        | code::MP_REACH
        | code::MP_UNREACH => Some(0x80),
        code::EXTENDED_COMMUNITIES
        | code::AS4_PATH
        | code::PMSI_TUNNEL
        | code::TUNNEL_ENCAPSULATION => Some(0xc0),
        _ => None,
    };
    let flags_fit = expected.is_none_or(|expected| flags & 0xc0 == expected);
    Ok(Raw { code, value, offset, flags_fit })
}

/// The attributes whose errors do not concern the list of routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    pub(crate) origin: Option<Origin>,
    pub(crate) as_path: Option<Vec<Segment>>,
    pub(crate) as4_path: Option<Vec<Segment>>,
    pub(crate) med: Option<u32>,
    pub(crate) local_preference: Option<u32>,
    pub(crate) originator: Option<Ipv4Addr>,
    pub(crate) cluster_list: Vec<Ipv4Addr>,
    pub(crate) targets: Vec<RouteTarget>,
    pub(crate) encapsulations: Vec<Encapsulation>,
    pub(crate) encapsulation_given: bool,
    pub(crate) router_mac: Option<Mac>,
    pub(crate) mobility: Option<Mobility>,
    pub(crate) flood: Option<FloodTunnel>,
    pub(crate) membership: Membership,
}

/// What to do about an attribute in error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its routes count as withdrawn.
    Withdraw(&'static str),
    /// It counts as absent.
    Discard(&'static str),
}

impl Plain {
    /// Takes one attribute in. `MP_REACH` and `MP_UNREACH` are the caller's.
    pub(crate) fn take(&mut self, raw: &Raw<'_>, width: AsWidth) -> Result<(), Verdict> {
        let mut value = raw.value;
        match raw.code {
            code::ORIGIN => {
                self.origin = match (value.u8(), value.is_empty()) {
                    (Ok(0), true) => Some(Origin::Igp),
                    (Ok(1), true) => Some(Origin::Egp),
                    (Ok(2), true) => Some(Origin::Incomplete),
                    _ => return Err(Verdict::Withdraw("ORIGIN malformed")),
                }
            }
            code::AS_PATH => {
                let path = as_path(value, width).ok_or(Verdict::Withdraw("AS_PATH malformed"))?;
                self.as_path = Some(path);
            }
            code::AS4_PATH => {
                let path = as_path(value, AsWidth::Four);
                self.as4_path = Some(path.ok_or(Verdict::Discard("AS4_PATH malformed"))?);
            }
            code::NEXT_HOP if value.remaining() != 4 => {
                return Err(Verdict::Withdraw("NEXT_HOP malformed"));
            }
            code::MED => self.med = Some(number(value).ok_or(Verdict::Withdraw("MED malformed"))?),
            code::LOCAL_PREF => {
                let number = number(value).ok_or(Verdict::Withdraw("LOCAL_PREF malformed"))?;
                self.local_preference = Some(number);
            }
            code::ORIGINATOR_ID => {
                let id = number(value).ok_or(Verdict::Withdraw("ORIGINATOR_ID malformed"))?;
                self.originator = Some(Ipv4Addr::from(id));
            }
            code::CLUSTER_LIST => {
                if value.is_empty() || !value.remaining().is_multiple_of(4) {
                    return Err(Verdict::Withdraw("CLUSTER_LIST malformed"));
                }
                while let Ok(id) = value.array::<4>() {
                    self.cluster_list.push(Ipv4Addr::from(id));
                }
            }
            code::EXTENDED_COMMUNITIES => {
                if value.is_empty() || !value.remaining().is_multiple_of(8) {
                    return Err(Verdict::Withdraw("extended communities malformed"));
                }
                while let Ok(community) = value.array::<8>() {
                    self.take_community(community);
                }
            }
            code::PMSI_TUNNEL => {
                self.flood =
                    flood_tunnel(value).map_err(|_| Verdict::Withdraw("PMSI tunnel malformed"))?;
            }
            code::TUNNEL_ENCAPSULATION => {
                self.take_tunnels(value)
                    .map_err(|_| Verdict::Discard("tunnel encapsulation malformed"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_community(&mut self, community: [u8; 8]) {
        match community {
            [0..=2, 2, ..] => self.targets.push(RouteTarget(community)),
            [3, 0x0c, _, _, _, _, high, low] => {
                self.encapsulation_given = true;
                let kind = u16::from_be_bytes([high, low]);
                self.encapsulations.extend(Encapsulation::from_tunnel_type(kind));
            }
            [6, 0, flags, _, a, b, c, d] => {
                let sequence = u32::from_be_bytes([a, b, c, d]);
                let told = Mobility { sticky: flags & 1 != 0, sequence };
                self.mobility = self.mobility.max(Some(told));
            }
            [6, 3, a, b, c, d, e, g] => {
                let mac = Mac([a, b, c, d, e, g]);
                self.router_mac = Some(mac).filter(|mac| !mac.is_group() && !mac.is_zero());
            }
            [0x80, 0x71, high, low, a, b, c, d] => {
                self.membership.as_number = u16::from_be_bytes([high, low]);
                self.membership.network = Some(u32::from_be_bytes([a, b, c, d]));
            }
            [0x80, 0x04, high, low, a, b, c, d] => {
                self.membership.as_number = u16::from_be_bytes([high, low]);
                self.membership.groups.push(u32::from_be_bytes([a, b, c, d]));
            }
            _ => {}
        }
    }

    /// The tunnel types of attribute 23 count like the community (RFC 9012 section 2).
    fn take_tunnels(&mut self, mut value: Cursor<'_>) -> Result<(), Short> {
        while !value.is_empty() {
            let kind = value.u16()?;
            let length = value.u16()?;
            value.take(usize::from(length))?;
            self.encapsulation_given = true;
            self.encapsulations.extend(Encapsulation::from_tunnel_type(kind));
        }
        Ok(())
    }

    /// AS_PATH with the four-octet numbers of AS4_PATH put in (RFC 6793 section 4.2.3).
    pub(crate) fn merged_as_path(&self) -> Vec<Segment> {
        let path = self.as_path.clone().unwrap_or_default();
        let Some(wide) = &self.as4_path else { return path };
        let length = |path: &[Segment]| -> usize {
            path.iter()
                .map(|segment| match segment {
                    Segment::Set(_) => 1,
                    Segment::Sequence(list) => list.len(),
                })
                .sum()
        };
        let Some(mut keep) = length(&path).checked_sub(length(wide)) else { return path };
        let mut merged = Vec::new();
        for segment in path {
            if keep == 0 {
                break;
            }
            match segment {
                Segment::Set(list) => {
                    keep -= 1;
                    merged.push(Segment::Set(list));
                }
                Segment::Sequence(mut list) => {
                    list.truncate(keep);
                    keep -= list.len();
                    merged.push(Segment::Sequence(list));
                }
            }
        }
        merged.extend(wide.iter().cloned());
        merged
    }
}

/// Flags, kind of tunnel, label field, and what identifies a tunnel of that kind (RFC 6514 section 5).
fn flood_tunnel(mut value: Cursor<'_>) -> Result<Option<FloodTunnel>, Short> {
    const INGRESS_REPLICATION: u8 = 6;
    let [_flags, kind] = value.array()?;
    let raw_label = value.array()?;
    if kind != INGRESS_REPLICATION {
        return Ok(None);
    }
    let endpoint = match value.remaining() {
        4 => IpAddr::from(value.array::<4>()?),
        16 => IpAddr::from(value.array::<16>()?),
        _ => return Err(Short { offset: value.offset() }),
    };
    Ok(Some(FloodTunnel { raw_label, endpoint }))
}

fn number(mut value: Cursor<'_>) -> Option<u32> {
    let number = value.u32().ok()?;
    value.is_empty().then_some(number)
}

fn as_path(mut value: Cursor<'_>, width: AsWidth) -> Option<Vec<Segment>> {
    let mut path = Vec::new();
    while !value.is_empty() {
        let kind = value.u8().ok()?;
        let count = value.u8().ok()?;
        if count == 0 {
            return None;
        }
        let mut list = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            list.push(match width {
                AsWidth::Two => u32::from(value.u16().ok()?),
                AsWidth::Four => value.u32().ok()?,
            });
        }
        path.push(match kind {
            1 => Segment::Set(list),
            2 => Segment::Sequence(list),
            // Confederation segments (3, 4) are for confederation members only, and we are none.
            _ => return None,
        });
    }
    Some(path)
}
