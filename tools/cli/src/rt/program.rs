//! `rt -c` and `rt -d`: routes and bridge entries by hand (reference cli.md section 4.1). What is missing is usage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{
    BridgeEntry, BridgeFlags, Key, Mac, NhId, Object, Op, Prefix, Route, RouteFlags, Vni, VrfId,
};

use super::{Family, Id};
use crate::options::{Given, Number};
use crate::tool::{Failure, Session};

/// Bits that are derived from there being a label.
const ROUTE_LABEL: u8 = 0x1;
const BRIDGE_LABEL: u8 = 0x3;

pub(super) fn add(
    given: &Given<Id>,
    family: Family,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let vrf = vrf(given)?;
    let next_hop = NhId(given.number(Id::NextHop).ok_or(Failure::Usage)?.index());
    let label = label(given)?;
    let mac = mac(given)?;
    let object = match family {
        Family::Bridge => {
            let flags = BridgeFlags(raw(given) & !BRIDGE_LABEL);
            let mac = mac.ok_or(Failure::Usage)?;
            Object::Bridge(BridgeEntry { vrf, mac, next_hop, label, flags })
        }
        Family::Inet => {
            let prefix = inet(given)?;
            Object::Inet(Route {
                vrf,
                prefix,
                next_hop,
                label,
                flags: flags(given),
                mac,
                identity: None,
            })
        }
        Family::Inet6 => {
            let prefix = inet6(given)?;
            Object::Inet6(Route {
                vrf,
                prefix,
                next_hop,
                label,
                flags: flags(given),
                mac,
                identity: None,
            })
        }
    };
    session.operate(vec![Op::Put(object)])
}

pub(super) fn delete(
    given: &Given<Id>,
    family: Family,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let vrf = vrf(given)?;
    // The original is told what comes in a route's place; here the covering route does, but scripts give it.
    if family == Family::Inet && !given.has(Id::Replacement) {
        return Err(Failure::Usage);
    }
    let key = match family {
        Family::Bridge => Key::Bridge(vrf, mac(given)?.ok_or(Failure::Usage)?),
        Family::Inet => Key::Inet(vrf, inet(given)?),
        Family::Inet6 => Key::Inet6(vrf, inet6(given)?),
    };
    session.operate(vec![Op::Delete(key)])
}

fn vrf(given: &Given<Id>) -> Result<VrfId, Failure> {
    Ok(VrfId(given.number(Id::ShortVrf).ok_or(Failure::Usage)?.index()))
}

/// All 24 bits of a VNI; beyond them there is no label.
fn label(given: &Given<Id>) -> Result<Option<Vni>, Failure> {
    let Some(number) = given.number(Id::Label) else { return Ok(None) };
    let value: u32 = number.index();
    let label = Vni::try_from(value);
    label.map(Some).map_err(|error| Failure::invalid(format!("label {value}"), error.to_string()))
}

fn mac(given: &Given<Id>) -> Result<Option<Mac>, Failure> {
    given.last(Id::Mac).map(|text| text.parse().map_err(|_| Failure::Usage)).transpose()
}

fn flags(given: &Given<Id>) -> RouteFlags {
    let bits = [
        (Id::Proxy, RouteFlags::ARP_PROXY),
        (Id::Trap, RouteFlags::ARP_TRAP),
        (Id::Flood, RouteFlags::ARP_FLOOD),
        (Id::Learnt, RouteFlags::MAC_IP_LEARNT),
    ];
    let set = bits.iter().filter(|(id, _)| given.has(*id));
    set.fold(RouteFlags(raw(given) & !ROUTE_LABEL), |flags, (_, bit)| flags.with(*bit))
}

/// The flags given as a hexadecimal number.
fn raw(given: &Given<Id>) -> u8 {
    let text = given.last(Id::RawFlags).unwrap_or_default();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    u8::from_str_radix(digits, 16).unwrap_or(0)
}

fn inet(given: &Given<Id>) -> Result<Prefix<Ipv4Addr>, Failure> {
    match prefix(given)? {
        (IpAddr::V4(address), length) => {
            Prefix::new(address, length.unwrap_or(32)).map_err(|_| Failure::Usage)
        }
        (IpAddr::V6(_), _) => Err(Failure::Usage),
    }
}

fn inet6(given: &Given<Id>) -> Result<Prefix<Ipv6Addr>, Failure> {
    match prefix(given)? {
        (IpAddr::V6(address), length) => {
            Prefix::new(address, length.unwrap_or(128)).map_err(|_| Failure::Usage)
        }
        (IpAddr::V4(_), _) => Err(Failure::Usage),
    }
}

/// An address and, if it is not a host's, a length.
fn prefix(given: &Given<Id>) -> Result<(IpAddr, Option<u8>), Failure> {
    let address = given.last(Id::Prefix).ok_or(Failure::Usage)?;
    let address = address.parse().map_err(|_| Failure::Usage)?;
    Ok((address, given.number(Id::Length).map(Number::index)))
}
