//! Reading NLRI: labelled VPN prefixes (RFC 4364, 8277), EVPN MAC/IP and inclusive multicast routes (RFC 7432) and IP
//! prefix routes (RFC 9136).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{Address, Mac, Prefix};

use super::cursor::{Cursor, Short};
use super::family::Family;
use super::route::{Destination, IpPrefix, Rd, RouteKey};

/// A route and its label field; a flood route has none of its own.
pub(crate) type Reached = (RouteKey, [u8; 3]);

/// One entry of a list.
pub(crate) enum Entry {
    Route(Reached),
    /// A route of a kind not used here: EVPN types 1 and 4 and unknown ones.
    Other,
}

/// The next entry of an MP_REACH or MP_UNREACH list.
///
/// # Errors
/// The list cannot be followed any further: where the next entry starts is unknown (RFC 7606 section 5.3).
pub(crate) fn next_entry(family: Family, cursor: &mut Cursor<'_>) -> Result<Entry, Short> {
    match family {
        Family::Vpn4 => vpn::<Ipv4Addr>(family, cursor, IpPrefix::V4),
        Family::Vpn6 => vpn::<Ipv6Addr>(family, cursor, IpPrefix::V6),
        Family::Evpn => evpn(cursor),
    }
}

fn vpn<A: Address>(
    family: Family,
    cursor: &mut Cursor<'_>,
    wrap: fn(Prefix<A>) -> IpPrefix,
) -> Result<Entry, Short> {
    let short = Short { offset: cursor.offset() };
    let bits = cursor.u8()?;
    let mut entry = cursor.sub(usize::from(bits.div_ceil(8)))?;
    let raw_label: [u8; 3] = entry.array()?;
    let rd = Rd(entry.array()?);
    // One label: a stack needs the capability of RFC 8277, which is not offered.
    let length = bits.checked_sub(24 + 64).ok_or(short)?;
    let prefix = prefix::<A>(&mut entry, length).ok_or(short)?;
    let destination = Destination::Prefix(wrap(prefix));
    Ok(Entry::Route((RouteKey { family, rd, tag: 0, destination }, raw_label)))
}

/// The rest of `cursor` as the leading bytes of an address.
fn prefix<A: Address>(cursor: &mut Cursor<'_>, length: u8) -> Option<Prefix<A>> {
    let bytes = cursor.take(cursor.remaining()).ok()?;
    let mut padded = [0u8; 16];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let bits = u128::from_be_bytes(padded) >> (128 - u32::from(A::BITS));
    Prefix::new(A::from_bits128(bits), length).ok()
}

fn evpn(cursor: &mut Cursor<'_>) -> Result<Entry, Short> {
    let kind = cursor.u8()?;
    let length = cursor.u8()?;
    let mut entry = cursor.sub(usize::from(length))?;
    let short = Short { offset: entry.offset() };
    let route = match (kind, length) {
        (2, _) => station(&mut entry)?,
        (3, _) => flood(&mut entry)?,
        // Both lengths are fixed, one for each family (RFC 9136 section 3.1).
        (5, 34) => prefix_route::<4, Ipv4Addr>(&mut entry, IpPrefix::V4)?,
        (5, 58) => prefix_route::<16, Ipv6Addr>(&mut entry, IpPrefix::V6)?,
        (5, _) => return Err(short),
        _ => return Ok(Entry::Other),
    };
    if entry.is_empty() { Ok(Entry::Route(route)) } else { Err(Short { offset: entry.offset() }) }
}

/// A MAC/IP route. The second label (of the routed network, RFC 9135) is read over.
fn station(entry: &mut Cursor<'_>) -> Result<Reached, Short> {
    let rd = Rd(entry.array()?);
    let _segment: [u8; 10] = entry.array()?;
    let tag = entry.u32()?;
    let short = Short { offset: entry.offset() };
    if entry.u8()? != 48 {
        return Err(short);
    }
    let mac = Mac(entry.array()?);
    let address = address(entry)?;
    let raw_label = entry.array()?;
    if !entry.is_empty() {
        let _routed: [u8; 3] = entry.array()?;
    }
    let destination = Destination::Station { mac, address };
    Ok((RouteKey { family: Family::Evpn, rd, tag, destination }, raw_label))
}

fn flood(entry: &mut Cursor<'_>) -> Result<Reached, Short> {
    let rd = Rd(entry.array()?);
    let tag = entry.u32()?;
    let short = Short { offset: entry.offset() };
    let router = address(entry)?.ok_or(short)?;
    let destination = Destination::Flood { router };
    Ok((RouteKey { family: Family::Evpn, rd, tag, destination }, [0; 3]))
}

/// An address behind its length in bits; none with length 0.
fn address(entry: &mut Cursor<'_>) -> Result<Option<IpAddr>, Short> {
    let short = Short { offset: entry.offset() };
    Ok(match entry.u8()? {
        0 => None,
        32 => Some(IpAddr::from(entry.array::<4>()?)),
        128 => Some(IpAddr::from(entry.array::<16>()?)),
        _ => return Err(short),
    })
}

fn prefix_route<const N: usize, A: Address>(
    entry: &mut Cursor<'_>,
    wrap: fn(Prefix<A>) -> IpPrefix,
) -> Result<Reached, Short> {
    let rd = Rd(entry.array()?);
    let _segment: [u8; 10] = entry.array()?;
    let tag = entry.u32()?;
    let short = Short { offset: entry.offset() };
    let length = entry.u8()?;
    let prefix = prefix::<A>(&mut entry.sub(N)?, length).ok_or(short)?;
    // A gateway address other than zero asks for recursive resolution (RFC 9136 section 4.4.1); it is not used.
    let _gateway: [u8; N] = entry.array()?;
    let raw_label = entry.array()?;
    let destination = Destination::Prefix(wrap(prefix));
    Ok((RouteKey { family: Family::Evpn, rd, tag, destination }, raw_label))
}
