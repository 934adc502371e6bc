//! UPDATE to [`RouteUpdate`], with the error handling of RFC 7606.
//!
//! | wrong | consequence |
//! |---|---|
//! | the length fields of the message, or a list of routes that cannot be followed | session reset |
//! | two MP_REACH or two MP_UNREACH | session reset |
//! | an attribute that says where to or how good | its routes count as withdrawn |
//! | an optional attribute that is only information | it counts as absent |
//! | an attribute given twice | the first counts |
//!
//! Routes that carry our own AS or were originated or reflected by ourselves are loops: they count as withdrawn too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::attribute::{Plain, Raw, Verdict, code, next_raw};
use super::cursor::{Cursor, Short};
use super::encode::AsWidth;
use super::family::Family;
use super::message::{HEADER, MessageError};
use super::nlri::{Entry, Reached, next_entry};
use super::route::{
    Announcement, Attributes, Destination, Origin, Problem, Relation, RouteKey, RouteUpdate,
    Segment,
};

/// What reading an UPDATE depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateContext {
    /// Our AS: paths that contain it are loops.
    pub local_as: u32,
    /// Our identifier: routes originated or reflected by it are loops.
    pub router_id: Ipv4Addr,
    /// The families negotiated; others are ignored.
    pub families: Vec<Family>,
    /// Octets of an AS in paths.
    pub as_width: AsWidth,
    /// Where the peer is.
    pub relation: Relation,
}

/// Reads the body of an UPDATE (what follows the header).
///
/// # Errors
/// [`MessageError::Update`] when the session has to be reset.
pub fn decode_update(body: &[u8], context: &UpdateContext) -> Result<RouteUpdate, MessageError> {
    let mut cursor = Cursor::new(body, HEADER);
    let malformed = |short: Short| MessageError::Update {
        subcode: 1,
        offset: short.offset,
        what: "length of withdrawn routes or attributes overruns the message",
    };
    let length = cursor.u16().map_err(malformed)?;
    cursor.take(usize::from(length)).map_err(malformed)?;
    let length = cursor.u16().map_err(malformed)?;
    let attributes = cursor.sub(usize::from(length)).map_err(malformed)?;
    // What remains is plain IPv4 unicast, a family that is never negotiated.
    Walk::over(attributes, context)?.finish(context)
}

/// What the walk over the attributes has found.
#[derive(Default)]
struct Walk {
    plain: Plain,
    seen: Vec<u8>,
    reached: Option<(Family, Option<IpAddr>, Vec<Reached>)>,
    unreached: Vec<RouteKey>,
    end_of_rib: Option<Family>,
    /// Why the routes announced count as withdrawn.
    refused: bool,
    problems: Vec<Problem>,
}

impl Walk {
    fn over(mut list: Cursor<'_>, context: &UpdateContext) -> Result<Walk, MessageError> {
        let mut walk = Walk::default();
        let mut alone = true;
        while !list.is_empty() {
            let raw = match next_raw(&mut list) {
                Ok(raw) => raw,
                Err(short) => {
                    walk.refuse(short.offset, "attribute overruns the list");
                    break;
                }
            };
            alone = alone && raw.code == code::MP_UNREACH;
            walk.take(&raw, context)?;
        }
        if !(alone && walk.unreached.is_empty()) {
            walk.end_of_rib = None;
        }
        Ok(walk)
    }

    fn take(&mut self, raw: &Raw<'_>, context: &UpdateContext) -> Result<(), MessageError> {
        let is_list = matches!(raw.code, code::MP_REACH | code::MP_UNREACH);
        if self.seen.contains(&raw.code) {
            if is_list {
                let what = "MP_REACH or MP_UNREACH given twice";
                return Err(MessageError::Update { subcode: 1, offset: raw.offset, what });
            }
            self.note(raw.offset, "attribute given twice, the first counts");
            return Ok(());
        }
        self.seen.push(raw.code);
        match raw.code {
            code::MP_REACH => return self.take_reach(raw.value, context),
            code::MP_UNREACH => return self.take_unreach(raw.value, context),
            _ => {}
        }
        if !raw.flags_fit {
            self.refuse(raw.offset, "attribute flags do not fit its type");
            return Ok(());
        }
        match self.plain.take(raw, context.as_width) {
            Ok(()) => {}
            Err(Verdict::Withdraw(what)) => self.refuse(raw.offset, what),
            Err(Verdict::Discard(what)) => self.note(raw.offset, what),
        }
        Ok(())
    }

    fn take_reach(
        &mut self,
        mut value: Cursor<'_>,
        context: &UpdateContext,
    ) -> Result<(), MessageError> {
        let start = value.offset();
        let head = |_| reset(start, "MP_REACH is cut short");
        let afi = value.u16().map_err(head)?;
        let safi = value.u8().map_err(head)?;
        let length = value.u8().map_err(head)?;
        let next_hop = value.take(usize::from(length)).map_err(head)?;
        value.u8().map_err(head)?;
        let Some(family) = negotiated(afi, safi, context) else {
            self.note(start, "family was not negotiated");
            return Ok(());
        };
        let next_hop = decode_next_hop(family, next_hop);
        if next_hop.is_none() {
            self.refuse(start, "next hop has no length of this family");
        }
        let mut routes = Vec::new();
        while !value.is_empty() {
            match next_entry(family, &mut value) {
                Ok(Entry::Route(reached)) => routes.push(reached),
                Ok(Entry::Other) => {}
                Err(short) => return Err(reset(short.offset, "routes of MP_REACH are malformed")),
            }
        }
        self.reached = Some((family, next_hop, routes));
        Ok(())
    }

    fn take_unreach(
        &mut self,
        mut value: Cursor<'_>,
        context: &UpdateContext,
    ) -> Result<(), MessageError> {
        let start = value.offset();
        let head = |_| reset(start, "MP_UNREACH is cut short");
        let afi = value.u16().map_err(head)?;
        let safi = value.u8().map_err(head)?;
        let Some(family) = negotiated(afi, safi, context) else { return Ok(()) };
        if value.is_empty() {
            self.end_of_rib = Some(family);
        }
        while !value.is_empty() {
            match next_entry(family, &mut value) {
                Ok(Entry::Route((key, _))) => self.unreached.push(key),
                Ok(Entry::Other) => {}
                Err(short) => {
                    return Err(reset(short.offset, "routes of MP_UNREACH are malformed"));
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, offset: usize, what: &'static str) {
        self.problems.push(Problem { offset, what });
    }

    fn refuse(&mut self, offset: usize, what: &'static str) {
        self.refused = true;
        self.note(offset, what);
    }

    fn finish(mut self, context: &UpdateContext) -> Result<RouteUpdate, MessageError> {
        let reached = self.reached.take();
        let as_path = self.plain.merged_as_path();
        if reached.is_some() {
            self.check_mandatory();
            self.check_loops(context, &as_path);
        }
        let mut update = RouteUpdate {
            withdrawn: self.unreached,
            announced: Vec::new(),
            end_of_rib: self.end_of_rib,
            problems: self.problems,
        };
        let Some((_, next_hop, routes)) = reached else { return Ok(update) };
        let (false, Some(next_hop)) = (self.refused, next_hop) else {
            update.withdrawn.extend(routes.into_iter().map(|(key, _)| key));
            return Ok(update);
        };
        let attributes = Arc::new(attributes(self.plain, as_path, next_hop, context));
        update.announced = routes
            .into_iter()
            .map(|(key, own_label)| {
                let raw_label = match (key.destination, attributes.flood) {
                    (Destination::Flood { .. }, Some(tunnel)) => tunnel.raw_label,
                    _ => own_label,
                };
                Announcement { key, raw_label, attributes: Arc::clone(&attributes) }
            })
            .collect();
        Ok(update)
    }

    fn check_mandatory(&mut self) {
        // One that was malformed has been told of already.
        if !self.refused && (self.plain.origin.is_none() || self.plain.as_path.is_none()) {
            self.refuse(HEADER, "ORIGIN or AS_PATH is missing");
        }
    }

    fn check_loops(&mut self, context: &UpdateContext, as_path: &[Segment]) {
        let own = |segment: &Segment| match segment {
            Segment::Set(list) | Segment::Sequence(list) => list.contains(&context.local_as),
        };
        if as_path.iter().any(own) {
            self.refuse(HEADER, "our own AS is in the path");
        }
        if context.relation == Relation::External {
            return;
        }
        if self.plain.originator == Some(context.router_id) {
            self.refuse(HEADER, "we are the originator");
        }
        if self.plain.cluster_list.contains(&context.router_id) {
            self.refuse(HEADER, "we are in the cluster list");
        }
    }
}

fn attributes(
    mut plain: Plain,
    as_path: Vec<Segment>,
    next_hop: IpAddr,
    context: &UpdateContext,
) -> Attributes {
    plain.targets.sort_unstable();
    plain.targets.dedup();
    plain.membership.groups.sort_unstable();
    plain.membership.groups.dedup();
    plain.encapsulations.sort_unstable();
    plain.encapsulations.dedup();
    Attributes {
        origin: plain.origin.unwrap_or(Origin::Incomplete),
        as_path,
        next_hop,
        med: plain.med,
        // Means nothing from another AS (RFC 4271 section 5.1.5).
        local_preference: plain.local_preference.filter(|_| context.relation == Relation::Internal),
        targets: plain.targets,
        encapsulations: plain.encapsulations,
        encapsulation_given: plain.encapsulation_given,
        router_mac: plain.router_mac,
        mobility: plain.mobility,
        flood: plain.flood,
        membership: plain.membership,
    }
}

fn reset(offset: usize, what: &'static str) -> MessageError {
    MessageError::Update { subcode: 9, offset, what }
}

fn negotiated(afi: u16, safi: u8, context: &UpdateContext) -> Option<Family> {
    Family::from_numbers(afi, safi).filter(|family| context.families.contains(family))
}

/// The next-hop field: an address, after an RD of zeros for VPN families; a link-local second one is not used.
fn decode_next_hop(family: Family, field: &[u8]) -> Option<IpAddr> {
    let mut cursor = Cursor::new(field, 0);
    let address = match (family, field.len()) {
        (Family::Evpn, 4) => IpAddr::V4(Ipv4Addr::from(cursor.array::<4>().ok()?)),
        (Family::Evpn, 16 | 32) => IpAddr::V6(Ipv6Addr::from(cursor.array::<16>().ok()?)),
        (Family::Vpn4 | Family::Vpn6, 12) => {
            cursor.take(8).ok()?;
            IpAddr::V4(Ipv4Addr::from(cursor.array::<4>().ok()?))
        }
        (Family::Vpn4 | Family::Vpn6, 24 | 48) => {
            cursor.take(8).ok()?;
            IpAddr::V6(Ipv6Addr::from(cursor.array::<16>().ok()?))
        }
        _ => return None,
    };
    // ::ffff:a.b.c.d is how some speakers write an IPv4 next hop of VPNv6.
    let address = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    usable.then_some(address)
}
