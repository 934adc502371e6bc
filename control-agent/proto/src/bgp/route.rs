//! What a VPN route is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use wire::{Mac, Prefix};

use super::family::Family;

/// A route distinguisher (RFC 4364 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rd(pub [u8; 8]);

impl Rd {
    /// Type 1: address and number.
    pub fn from_address(address: Ipv4Addr, number: u16) -> Rd {
        let [a, b, c, d] = address.octets();
        let [high, low] = number.to_be_bytes();
        Rd([0, 1, a, b, c, d, high, low])
    }
}

/// A route target (RFC 4360 section 4): an extended community of type 0, 1 or 2 and sub-type 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteTarget(pub [u8; 8]);

/// The three forms share their layout with route distinguishers but for the second byte.
fn admin_and_number(f: &mut fmt::Formatter<'_>, form: u8, value: [u8; 6]) -> fmt::Result {
    let [a, b, c, d, e, g] = value;
    match form {
        0 => write!(f, "{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g])),
        1 => write!(f, "{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, g])),
        2 => write!(f, "{}:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g])),
        _ => write!(f, "0x{form:02x}:{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}", a, b, c, d, e, g),
    }
}

impl fmt::Display for Rd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, form, a, b, c, d, e, g] = self.0;
        admin_and_number(f, form, [a, b, c, d, e, g])
    }
}

impl fmt::Debug for Rd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [form, _, a, b, c, d, e, g] = self.0;
        admin_and_number(f, form, [a, b, c, d, e, g])
    }
}

impl fmt::Debug for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a route target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a route target; allowed are AS:NUMBER (AS to 65535: number to 4294967295; AS to 4294967295: number to 65535) and ADDRESS:NUMBER (number to 65535)"
)]
pub struct RouteTargetError;

impl FromStr for RouteTarget {
    type Err = RouteTargetError;

    fn from_str(text: &str) -> Result<Self, RouteTargetError> {
        let (admin, number) = text.split_once(':').ok_or(RouteTargetError)?;
        let number: u32 = decimal(number)?;
        let short = || u16::try_from(number).map(u16::to_be_bytes).map_err(|_| RouteTargetError);
        if let Ok(address) = admin.parse::<Ipv4Addr>() {
            let [a, b, c, d] = address.octets();
            let [e, g] = short()?;
            return Ok(RouteTarget([1, 2, a, b, c, d, e, g]));
        }
        let admin = decimal(admin)?;
        if let Ok(admin) = u16::try_from(admin) {
            let [a, b] = admin.to_be_bytes();
            let [c, d, e, g] = number.to_be_bytes();
            return Ok(RouteTarget([0, 2, a, b, c, d, e, g]));
        }
        let [a, b, c, d] = admin.to_be_bytes();
        let [e, g] = short()?;
        Ok(RouteTarget([2, 2, a, b, c, d, e, g]))
    }
}

/// Digits only: `+1`, which `parse` would take, is not a number here.
fn decimal(text: &str) -> Result<u32, RouteTargetError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RouteTargetError);
    }
    text.parse().map_err(|_| RouteTargetError)
}

/// A prefix of either family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpPrefix {
    /// IPv4.
    V4(Prefix<Ipv4Addr>),
    /// IPv6.
    V6(Prefix<Ipv6Addr>),
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpPrefix::V4(prefix) => fmt::Display::fmt(prefix, f),
            IpPrefix::V6(prefix) => fmt::Display::fmt(prefix, f),
        }
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Addresses: VPNv4, VPNv6, or an EVPN IP prefix route (type 5, RFC 9136).
    Prefix(IpPrefix),
    /// A station and, if told, an address it has: an EVPN MAC/IP route (type 2, RFC 7432 section 7.2).
    Station {
        /// The station.
        mac: Mac,
        /// One of its addresses.
        address: Option<IpAddr>,
    },
    /// A router that takes copies of what is flooded: an EVPN inclusive multicast route (type 3, section 7.3).
    Flood {
        /// The originating router's address.
        router: IpAddr,
    },
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Prefix(prefix) => fmt::Display::fmt(prefix, f),
            Destination::Station { mac, address: None } => fmt::Display::fmt(mac, f),
            Destination::Station { mac, address: Some(address) } => write!(f, "{mac},{address}"),
            Destination::Flood { router } => write!(f, "flood to {router}"),
        }
    }
}

/// What makes a route one route: a second announcement of the same key replaces the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Its family.
    pub family: Family,
    /// Its distinguisher.
    pub rd: Rd,
    /// Ethernet tag; 0 except for EVPN.
    pub tag: u32,
    /// What it leads to.
    pub destination: Destination,
}

/// A tunnel type of the encapsulation community that this product can send (RFC 9012, reference control-plane.md 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encapsulation {
    /// MPLS in GRE: types 2 and 11.
    MplsOverGre,
    /// MPLS in UDP: type 13.
    MplsOverUdp,
    /// VXLAN: type 8.
    Vxlan,
}

impl Encapsulation {
    /// The tunnel type that is sent.
    pub const fn tunnel_type(self) -> u16 {
        match self {
            Encapsulation::MplsOverGre => 2,
            Encapsulation::Vxlan => 8,
            Encapsulation::MplsOverUdp => 13,
        }
    }

    /// The encapsulation of a tunnel type, if it is one of ours.
    pub const fn from_tunnel_type(number: u16) -> Option<Encapsulation> {
        match number {
            2 | 11 => Some(Encapsulation::MplsOverGre),
            8 => Some(Encapsulation::Vxlan),
            13 => Some(Encapsulation::MplsOverUdp),
            _ => None,
        }
    }
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encapsulation::MplsOverGre => "mplsogre",
            Encapsulation::MplsOverUdp => "mplsoudp",
            Encapsulation::Vxlan => "vxlan",
        })
    }
}

/// ORIGIN; smaller is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// 0.
    #[default]
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// A segment of an AS path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// AS_SET: counts as one.
    Set(Vec<u32>),
    /// AS_SEQUENCE.
    Sequence(Vec<u32>),
}

/// MAC mobility (RFC 7432 section 7.7): which of several announcements of a station is the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mobility {
    /// The station does not move.
    pub sticky: bool,
    /// Higher is later.
    pub sequence: u32,
}

/// Where copies of what is flooded go: a PMSI tunnel attribute for ingress replication (RFC 6514 section 5, RFC 7432
/// section 11.2). Other kinds of tunnel count as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FloodTunnel {
    /// The label field as on the wire; see [`Announcement::label`].
    pub raw_label: [u8; 3],
    /// The tunnel's far end.
    pub endpoint: IpAddr,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// In our AS.
    Internal,
    /// In another.
    External,
}

/// The attributes that routes of one UPDATE share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, with AS4_PATH merged in.
    pub as_path: Vec<Segment>,
    /// Where to: the tunnel's far end.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_preference: Option<u32>,
    /// Route targets, ascending.
    pub targets: Vec<RouteTarget>,
    /// Encapsulations offered, ascending. Empty means the community is absent.
    pub encapsulations: Vec<Encapsulation>,
    /// Encapsulation communities were there, whether or not we know a single one.
    pub encapsulation_given: bool,
    /// Router's MAC (RFC 9135).
    pub router_mac: Option<Mac>,
    /// MAC mobility; absent means sequence 0.
    pub mobility: Option<Mobility>,
    /// The tunnel for flooded frames.
    pub flood: Option<FloodTunnel>,
    /// What whoever is there is to policy.
    pub membership: Membership,
}

/// The network a route comes from and the security groups of whoever is there: OpenContrail's communities 0x8071 and
/// 0x8004 (reference control-plane.md section 7.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Membership {
    /// The AS that the numbers are of; AS_TRANS stands for one that takes four bytes.
    pub as_number: u16,
    /// Number of the network.
    pub network: Option<u32>,
    /// Numbers of the groups, ascending.
    pub groups: Vec<u32>,
}

impl Attributes {
    /// Hops of the AS path as route selection counts them (RFC 4271 section 9.1.2.2 a).
    pub fn as_path_length(&self) -> usize {
        self.as_path
            .iter()
            .map(|segment| match segment {
                Segment::Set(_) => 1,
                Segment::Sequence(list) => list.len(),
            })
            .sum()
    }

    /// The neighbour AS the route came from; `None` when it was made in our own.
    pub fn neighbor_as(&self) -> Option<u32> {
        match self.as_path.first()? {
            Segment::Sequence(list) | Segment::Set(list) => list.first().copied(),
        }
    }
}

/// A route that a peer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Which route.
    pub key: RouteKey,
    /// The label field as it was on the wire; see [`Announcement::label`]. Of a flood route it is that of its tunnel.
    pub raw_label: [u8; 3],
    /// The attributes it shares with others.
    pub attributes: Arc<Attributes>,
}

impl Announcement {
    /// The label field read for an encapsulation: all 24 bits are the VNI of a VXLAN tunnel, the upper 20 the label of
    /// an MPLS one (RFC 8365 section 5.1.3). Nothing else may decide it: a wrong number is kept wrong, not repaired.
    pub fn label(&self, encapsulation: Encapsulation) -> u32 {
        let [a, b, c] = self.raw_label;
        let field = u32::from_be_bytes([0, a, b, c]);
        match encapsulation {
            Encapsulation::Vxlan => field,
            Encapsulation::MplsOverGre | Encapsulation::MplsOverUdp => field >> 4,
        }
    }

    /// The label field for an encapsulation; MPLS labels carry the bottom-of-stack bit.
    pub fn raw_label_of(encapsulation: Encapsulation, value: u32) -> [u8; 3] {
        let field = match encapsulation {
            Encapsulation::Vxlan => value,
            Encapsulation::MplsOverGre | Encapsulation::MplsOverUdp => value << 4 | 1,
        };
        let [_, a, b, c] = field.to_be_bytes();
        [a, b, c]
    }
}

/// Something wrong that did not cost the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the message, header included.
    pub offset: usize,
    /// What.
    pub what: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.what, self.offset)
    }
}

/// What one UPDATE says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteUpdate {
    /// Routes gone, those treated as withdrawn (RFC 7606) included.
    pub withdrawn: Vec<RouteKey>,
    /// Routes offered.
    pub announced: Vec<Announcement>,
    /// The initial exchange of this family is complete.
    pub end_of_rib: Option<Family>,
    /// What was wrong with it.
    pub problems: Vec<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_targets_parse_and_print_in_all_three_forms() {
        let cases: [(&str, [u8; 8]); 4] = [
            ("64512:8000001", [0, 2, 0xfc, 0, 0, 0x7a, 0x12, 1]),
            ("192.0.2.1:7", [1, 2, 192, 0, 2, 1, 0, 7]),
            ("4200000001:9", [2, 2, 0xfa, 0x56, 0xea, 1, 0, 9]),
            ("65535:4294967295", [0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(RouteTarget(bytes)));
            assert_eq!(RouteTarget(bytes).to_string(), text);
        }
        for bad in ["", "1", "1:", ":1", "65536:65536", "192.0.2.1:65536", "1:2:3", "+1:2", "x:1"] {
            assert_eq!(bad.parse::<RouteTarget>(), Err(RouteTargetError), "{bad}");
        }
    }

    #[test]
    fn label_width_follows_the_encapsulation_alone() {
        let announcement = Announcement {
            key: RouteKey {
                family: Family::Evpn,
                rd: Rd::from_address(Ipv4Addr::new(192, 0, 2, 2), 5),
                tag: 0,
                destination: Destination::Prefix(IpPrefix::V4("10.10.3.0/24".parse().unwrap())),
            },
            raw_label: [0x01, 0x38, 0x91],
            attributes: Arc::new(Attributes {
                origin: Origin::Igp,
                as_path: vec![],
                next_hop: IpAddr::V4(Ipv4Addr::LOCALHOST),
                med: None,
                local_preference: None,
                targets: vec![],
                encapsulations: vec![],
                encapsulation_given: false,
                router_mac: None,
                mobility: None,
                membership: Membership::default(),
                flood: None,
            }),
        };
        assert_eq!(announcement.label(Encapsulation::Vxlan), 80017);
        assert_eq!(announcement.label(Encapsulation::MplsOverUdp), 5001);
        assert_eq!(Announcement::raw_label_of(Encapsulation::MplsOverGre, 25), [0, 1, 0x91]);
        assert_eq!(Announcement::raw_label_of(Encapsulation::Vxlan, 5001), [0, 0x13, 0x89]);
    }
}
