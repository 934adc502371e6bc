//! What packets of a flow have in common (reference dataplane.md section 14.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::protocol;

use super::entry::pair;
use crate::NhId;

/// Source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowAddresses {
    /// IPv4.
    V4 {
        /// From.
        source: Ipv4Addr,
        /// To.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// From.
        source: Ipv6Addr,
        /// To.
        destination: Ipv6Addr,
    },
}

impl FlowAddresses {
    /// Both, if they are of one family.
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<FlowAddresses> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some(FlowAddresses::V4 { source, destination })
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Some(FlowAddresses::V6 { source, destination })
            }
            _ => None,
        }
    }

    /// Whether they are of IPv6.
    pub const fn is_ipv6(self) -> bool {
        matches!(self, FlowAddresses::V6 { .. })
    }

    /// Where packets come from.
    pub fn source(self) -> IpAddr {
        match self {
            FlowAddresses::V4 { source, .. } => source.into(),
            FlowAddresses::V6 { source, .. } => source.into(),
        }
    }

    /// Where they go.
    pub fn destination(self) -> IpAddr {
        match self {
            FlowAddresses::V4 { destination, .. } => destination.into(),
            FlowAddresses::V6 { destination, .. } => destination.into(),
        }
    }

    fn reversed(self) -> FlowAddresses {
        match self {
            FlowAddresses::V4 { source, destination } => {
                FlowAddresses::V4 { source: destination, destination: source }
            }
            FlowAddresses::V6 { source, destination } => {
                FlowAddresses::V6 { source: destination, destination: source }
            }
        }
    }
}

/// The key of a flow: there is no VRF in it, `scope` tells those of different interfaces apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The next hop that stands for the interface.
    pub scope: NhId,
    /// IP protocol.
    pub protocol: u8,
    /// Source port in the high half, destination port in the low one. ICMP: the id of an echo and 0, else 0 and the type.
    pub ports: u32,
    /// The addresses as they are in packets.
    pub addresses: FlowAddresses,
}

impl FlowKey {
    /// The key of the answers, as they look without translation.
    #[must_use]
    pub fn reversed(&self, scope: NhId) -> FlowKey {
        let ports = match self.protocol {
            protocol::ICMP | protocol::ICMPV6 => self.ports,
            _ => self.ports.rotate_left(16),
        };
        FlowKey { scope, protocol: self.protocol, ports, addresses: self.addresses.reversed() }
    }

    /// Source port.
    pub const fn source_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// Destination port.
    pub const fn destination_port(&self) -> u16 {
        (self.ports & 0xffff) as u16
    }

    /// Scope and ports in one word.
    #[inline]
    pub(super) fn scoped(&self) -> u64 {
        pair(self.scope.0, self.ports)
    }

    /// Protocol and family in one word.
    #[inline]
    pub(super) fn kind(&self) -> u64 {
        let family = match self.addresses {
            FlowAddresses::V4 { .. } => 4 << 8,
            FlowAddresses::V6 { .. } => Packed::IPV6,
        };
        u64::from(self.protocol) | family
    }

    /// Its words, and their hash with a seed that tenants cannot know.
    #[inline]
    pub fn packed(&self, seed: u64) -> Packed {
        let (scoped, kind) = (self.scoped(), self.kind());
        let (addresses, wide) = match self.addresses {
            FlowAddresses::V4 { source, destination } => {
                (pair(source.to_bits(), destination.to_bits()), [0; 4])
            }
            FlowAddresses::V6 { source, destination } => {
                let wide @ [a, b, c, d] = wide(source, destination);
                let digest = fold(a ^ seed, b ^ MIX) ^ fold(c ^ MIX, d ^ seed).rotate_left(32);
                (digest, wide)
            }
        };
        let hash = fold(fold(addresses ^ seed, scoped ^ MIX), kind ^ seed.rotate_left(32) ^ MIX);
        Packed { scoped, addresses, kind, wide, hash }
    }
}

/// A key as it lies in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    pub(crate) scoped: u64,
    /// Both addresses of IPv4, a digest of those of IPv6.
    pub(crate) addresses: u64,
    /// Protocol and family.
    pub(crate) kind: u64,
    /// The addresses of IPv6.
    pub(crate) wide: [u64; 4],
    hash: u64,
}

impl Packed {
    /// The family in `kind`.
    pub(crate) const IPV6: u64 = 6 << 8;

    /// The hash of all fields.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether packets of it need the second line of their flow: TCP and IPv6.
    #[inline]
    pub fn needs_more(&self) -> bool {
        self.is_ipv6() || self.kind & 0xff == protocol::TCP as u64
    }

    #[inline]
    pub(crate) fn is_ipv6(&self) -> bool {
        self.kind & 0xff00 == Packed::IPV6
    }
}

/// The words of IPv6 addresses.
#[inline]
pub(super) fn wide(source: Ipv6Addr, destination: Ipv6Addr) -> [u64; 4] {
    let ([a, b], [c, d]) = (halves(source.to_bits()), halves(destination.to_bits()));
    [a, b, c, d]
}

/// An odd constant with no pattern (the fraction of the golden ratio).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// 64 by 64 bit product, halves folded.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let [high, low] = halves(u128::from(a) * u128::from(b));
    high ^ low
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(protocol: u8, ports: u32) -> FlowKey {
        let addresses = FlowAddresses::V4 {
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
        };
        FlowKey { scope: NhId(7), protocol, ports, addresses }
    }

    #[test]
    fn the_reverse_of_the_reverse_is_the_key() {
        for protocol in [protocol::TCP, protocol::UDP, protocol::ICMP] {
            let key = key(protocol, 1000 << 16 | 80);
            let reverse = key.reversed(NhId(9));
            assert_eq!(reverse.scope, NhId(9));
            assert_eq!(reverse.addresses.source(), key.addresses.destination());
            assert_eq!(reverse.reversed(NhId(7)), key);
        }
        assert_eq!(key(protocol::TCP, 1 << 16 | 2).reversed(NhId(0)).ports, 2 << 16 | 1);
        // The id of an echo is the source port of the answer, too.
        assert_eq!(key(protocol::ICMP, 5 << 16).reversed(NhId(0)).ports, 5 << 16);
    }

    #[test]
    fn every_field_is_part_of_the_hash() {
        let base = key(6, 1 << 16 | 2);
        let v6 =
            FlowAddresses::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::UNSPECIFIED };
        let others = [
            FlowKey { scope: NhId(8), ..base },
            FlowKey { protocol: 17, ..base },
            FlowKey { ports: 1 << 16 | 3, ..base },
            FlowKey { ports: 2 << 16 | 1, ..base },
            FlowKey { addresses: base.addresses.reversed(), ..base },
            FlowKey { addresses: v6, ..base },
            FlowKey { addresses: v6.reversed(), ..base },
        ];
        let mut hashes: Vec<u64> = others.iter().map(|key| key.packed(42).hash()).collect();
        hashes.push(base.packed(42).hash());
        hashes.push(base.packed(43).hash());
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
