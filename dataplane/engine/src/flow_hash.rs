//! The hash of a packet's flow: chooses ECMP members, tunnel source ports and workers.
//!
//! All packets of a flow, and all fragments of a datagram, get one value: ports take part only in packets that are no
//! fragments (reference dataplane.md section 7.5, case H10). Seeded per process, so that tenants cannot aim at a value.

use std::net::{Ipv4Addr, Ipv6Addr};

use tables::VrfId;
use wire::{Ipv4, Ipv6};

use crate::packet::{Addresses, Packet};

/// What the process mixes into every hash.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

/// Which fields of a flow take part, as ECMP groups configure them: 1 protocol, 2 source address, 4 source port,
/// 8 destination address, 0x10 destination port; 0 is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) u8);

impl Fields {
    /// All of them.
    pub(crate) const ALL: Fields = Fields(0);
}

const PROTOCOL: u8 = 1;
const SOURCE: u8 = 2;
const SOURCE_PORT: u8 = 4;
const DESTINATION: u8 = 8;
const DESTINATION_PORT: u8 = 0x10;

/// The hash of the flow a parsed packet belongs to, in the VRF it is being forwarded in.
#[inline(always)]
pub(crate) fn flow_hash(packet: &Packet<'_>, seed: Seed) -> u32 {
    let meta = &*packet.meta;
    match meta.addresses {
        Addresses::V4 { source, destination } => {
            v4(seed, meta.vrf, source, destination, meta.ip_protocol, meta.ports)
        }
        Addresses::V6 { source, destination } => {
            v6(seed, meta.vrf, source, destination, meta.ip_protocol, meta.ports)
        }
        Addresses::None => frame_hash(packet, seed),
        Addresses::Hashed(hash) => u32::from_ne_bytes(hash),
    }
}

/// Like [`flow_hash`] over some of the fields.
pub(crate) fn flow_hash_of(packet: &Packet<'_>, seed: Seed, fields: Fields) -> u32 {
    if fields == Fields::ALL {
        return flow_hash(packet, seed);
    }
    let has = |bit| fields.0 & bit != 0;
    let mask = if has(SOURCE_PORT) { 0xffff_0000 } else { 0 }
        | if has(DESTINATION_PORT) { 0xffff } else { 0 };
    let ports = packet.meta.ports & mask;
    let protocol = if has(PROTOCOL) { packet.meta.ip_protocol } else { 0 };
    let vrf = packet.meta.vrf;
    match packet.meta.addresses {
        Addresses::V4 { source, destination } => {
            let none = Ipv4Addr::UNSPECIFIED;
            let source = if has(SOURCE) { source } else { none };
            let destination = if has(DESTINATION) { destination } else { none };
            v4(seed, vrf, source, destination, protocol, ports)
        }
        Addresses::V6 { source, destination } => {
            let none = Ipv6Addr::UNSPECIFIED;
            let source = if has(SOURCE) { source } else { none };
            let destination = if has(DESTINATION) { destination } else { none };
            v6(seed, vrf, source, destination, protocol, ports)
        }
        Addresses::None => frame_hash(packet, seed),
        Addresses::Hashed(hash) => u32::from_ne_bytes(hash),
    }
}

/// The hash of an IP packet that no node has looked at yet: of its addresses, and its ports where they are plain to see.
/// `None` when it is too short. Only for choosing a worker.
pub(crate) fn inner_hash(bytes: &[u8], seed: Seed) -> Option<u32> {
    let has_ports = |protocol| matches!(protocol, wire::protocol::TCP | wire::protocol::UDP);
    let ports = |at: usize| {
        let ports = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*ports))
    };
    if bytes.first()? >> 4 == 6 {
        let (ip, _) = Ipv6::parse(bytes)?;
        let ports = if has_ports(ip.next_header()) { ports(Ipv6::LEN)? } else { 0 };
        return Some(v6(seed, VrfId(0), ip.source(), ip.destination(), 0, ports));
    }
    let (ip, _) = Ipv4::parse(bytes)?;
    let whole = has_ports(ip.protocol()) && !ip.is_fragment();
    let ports = if whole { ports(ip.header_length())? } else { 0 };
    Some(v4(seed, VrfId(0), ip.source(), ip.destination(), 0, ports))
}

/// The hash of what names a datagram that came in fragments.
pub(crate) fn datagram_hash(
    seed: Seed,
    vrf: VrfId,
    addresses: Addresses,
    protocol: u8,
    id: u32,
) -> u32 {
    match addresses {
        Addresses::V4 { source, destination } => v4(seed, vrf, source, destination, protocol, id),
        Addresses::V6 { source, destination } => v6(seed, vrf, source, destination, protocol, id),
        Addresses::None | Addresses::Hashed(_) => 0,
    }
}

/// An identification that cannot be guessed from the ones before (RFC 7739), for the packet of this number.
pub(crate) fn identification(seed: Seed, number: u64) -> u32 {
    finish(fold(number ^ seed.0, seed.0 ^ MIX))
}

#[inline]
fn v4(seed: Seed, vrf: VrfId, from: Ipv4Addr, to: Ipv4Addr, protocol: u8, ports: u32) -> u32 {
    let addresses = u64::from(from.to_bits()) << 32 | u64::from(to.to_bits());
    finish(fold(addresses ^ seed.0, rest(vrf, protocol, ports)))
}

#[inline]
fn v6(seed: Seed, vrf: VrfId, from: Ipv6Addr, to: Ipv6Addr, protocol: u8, ports: u32) -> u32 {
    let [from, to] = [from.to_bits(), to.to_bits()].map(|bits| {
        let (high, low) = halves(bits);
        fold(high ^ seed.0, low ^ MIX)
    });
    finish(fold(from ^ to.rotate_left(32), rest(vrf, protocol, ports)))
}

#[inline]
fn rest(vrf: VrfId, protocol: u8, ports: u32) -> u64 {
    (u64::from(ports) << 32 | u64::from(protocol) << 16 | u64::from(vrf.0)) ^ MIX
}

/// The hash of a frame's Ethernet header and its VRF: of what is no IP packet, and of what goes to many (section 7.5).
pub(crate) fn frame_hash(packet: &Packet<'_>, seed: Seed) -> u32 {
    let header = packet.frame.data().first_chunk::<14>().copied().unwrap_or_default();
    let mut macs = [0u8; 16];
    for (to, from) in macs.iter_mut().zip(header) {
        *to = from;
    }
    let bits = u128::from_be_bytes(macs);
    let (high, low) = halves(bits);
    finish(fold(high ^ seed.0, low ^ u64::from(packet.meta.vrf.0) ^ MIX))
}

/// An odd constant with no pattern (the fraction of the golden ratio).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// 64 by 64 bit product, halves folded: every input bit reaches every output bit.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let (high, low) = halves(product);
    high ^ low
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn halves(bits: u128) -> (u64, u64) {
    ((bits >> 64) as u64, bits as u64)
}

#[inline]
fn finish(hash: u64) -> u32 {
    let hash = fold(hash, MIX);
    (hash >> 32) as u32
}

/// The outer UDP source port of a flow: 49152 to 65535 (section 7.5).
#[inline]
pub(crate) fn entropy_port(hash: u32) -> u16 {
    let offset = (u64::from(hash) * 16383) >> 32;
    0xc000 | (offset & 0x3fff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_ports_stay_in_the_dynamic_range() {
        assert_eq!(entropy_port(0), 49152);
        assert_eq!(entropy_port(u32::MAX), 65534);
        assert_eq!(entropy_port(1 << 31), 49152 + 8191);
    }

    #[test]
    fn neighbouring_flows_spread_over_the_range() {
        let seed = Seed(42);
        let mut buckets = [0u32; 64];
        for ports in 0..6400u32 {
            let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
            let hash = v4(seed, VrfId(2), a, b, 17, ports << 16 | 53);
            buckets[(hash >> 26) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (50..200).contains(count)), "{buckets:?}");
    }
}
