//! IPv6 (RFC 8200) and the bounded walk over its extension headers.

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};

use crate::header::header;

header!(
    /// The fixed IPv6 header.
    Ipv6[40] {
        version_class_flow: U32,
        payload_length: U16,
        next_header: u8,
        hop_limit: u8,
        source: [u8; 16],
        destination: [u8; 16],
    }
);

const FLOW_LABEL: u32 = 0x000f_ffff;

impl Ipv6 {
    /// A header with traffic class and flow label 0. `payload_length` counts what follows this header.
    pub fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        hop_limit: u8,
        payload_length: u16,
    ) -> Self {
        Ipv6 {
            version_class_flow: U32::new(6 << 28),
            payload_length: U16::new(payload_length),
            next_header,
            hop_limit,
            source: source.octets(),
            destination: destination.octets(),
        }
    }

    /// The version nibble; 6 unless the frame lies.
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// Traffic class: DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        ((self.version_class_flow.get() >> 20) & 0xff) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & FLOW_LABEL
    }

    /// Bytes behind this header, extension headers included.
    #[inline]
    pub fn payload_length(&self) -> u16 {
        self.payload_length.get()
    }

    /// First extension header or transport protocol.
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.next_header
    }

    /// Hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Sender.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.source)
    }

    /// Receiver.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.destination)
    }

    /// Takes one off the hop limit; at 0 nothing changes.
    #[inline]
    pub fn decrement_hop_limit(&mut self) -> u8 {
        self.hop_limit = self.hop_limit.saturating_sub(1);
        self.hop_limit
    }

    /// Puts back a hop limit.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.hop_limit = hop_limit;
    }

    /// Sets the flow label of a header that has none: the low 20 bits of `flow` (RFC 6437).
    #[inline]
    pub fn set_flow_label(&mut self, flow: u32) {
        self.version_class_flow
            .set(self.version_class_flow.get() & !FLOW_LABEL | flow & FLOW_LABEL);
    }

    /// Sets DSCP and ECN.
    pub fn set_traffic_class(&mut self, class: u8) {
        let others = self.version_class_flow.get() & !(0xff << 20);
        self.version_class_flow.set(others | u32::from(class) << 20);
    }

    /// Sets the length of what follows.
    #[inline]
    pub fn set_payload_length(&mut self, length: u16) {
        self.payload_length.set(length);
    }
}

/// How many extension headers are followed.
pub const MAX_EXTENSIONS: usize = 8;

/// Where the transport header of an IPv6 packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Payload {
    /// The protocol behind the last extension header.
    pub protocol: u8,
    /// Where it starts, from the start of the IPv6 header.
    pub offset: usize,
    /// The fragment header met on the way, if any.
    pub fragment: Option<Ipv6Fragment>,
}

/// What a fragment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Fragment {
    /// Where the piece starts, in bytes.
    pub offset: usize,
    /// More pieces follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

impl Ipv6Fragment {
    /// Offset 0 and no more: a whole packet after all (RFC 6946).
    pub fn is_atomic(self) -> bool {
        self.offset == 0 && !self.more
    }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;

/// Walks the extension headers of `packet`, which starts at the fixed header and ends where its payload length says.
/// Behind the fragment header of a later piece there is no header any more, so the walk ends there. `None` when a
/// header runs past the end or there are more than [`MAX_EXTENSIONS`].
#[inline]
pub fn ipv6_payload(packet: &[u8]) -> Option<Ipv6Payload> {
    let (header, rest) = Ipv6::parse(packet)?;
    let found = Ipv6Payload { protocol: header.next_header(), offset: Ipv6::LEN, fragment: None };
    match found.protocol {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION | MOBILITY => walk(found, rest),
        _ => Some(found),
    }
}

fn walk(mut found: Ipv6Payload, mut rest: &[u8]) -> Option<Ipv6Payload> {
    for _ in 0..MAX_EXTENSIONS {
        let length = match found.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY => {
                let [_, units, ..] = rest else { return None };
                (usize::from(*units) + 1) * 8
            }
            FRAGMENT => {
                let [_, _, high, low, id @ ..] = rest else { return None };
                let word = u16::from_be_bytes([*high, *low]);
                found.fragment = Some(Ipv6Fragment {
                    offset: usize::from(word & 0xfff8),
                    more: word & 1 != 0,
                    id: u32::from_be_bytes(*id.first_chunk()?),
                });
                8
            }
            _ => return Some(found),
        };
        found.protocol = *rest.first()?;
        rest = rest.get(length..)?;
        found.offset += length;
        if found.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Some(found);
        }
    }
    match found.protocol {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION | MOBILITY => None,
        _ => Some(found),
    }
}

/// Where an IPv6 packet may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ipv6FragmentPoint {
    /// Where its fragment header is or would be, from the start of the IPv6 header.
    pub(crate) offset: usize,
    /// Where the byte is that names the header at `offset`.
    pub(crate) next_header: usize,
    /// What its fragment header says, if it has one.
    pub(crate) fragment: Option<Ipv6Fragment>,
}

/// Behind the last header that every router on the way has to see: hop-by-hop options and routing, with what lies in
/// between (RFC 8200 section 4.5). `None` when a header runs past the end or there are more than [`MAX_EXTENSIONS`].
pub(crate) fn ipv6_fragment_point(packet: &[u8]) -> Option<Ipv6FragmentPoint> {
    const NEXT_HEADER: usize = 6;
    let (header, _) = Ipv6::parse(packet)?;
    let mut kind = header.next_header();
    let mut point =
        Ipv6FragmentPoint { offset: Ipv6::LEN, next_header: NEXT_HEADER, fragment: None };
    let (mut at, mut named) = (Ipv6::LEN, NEXT_HEADER);
    for _ in 0..MAX_EXTENSIONS {
        let length = match kind {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            FRAGMENT => {
                let [_, _, high, low, id @ ..] = packet.get(at..at + 8)? else { return None };
                let word = u16::from_be_bytes([*high, *low]);
                let fragment = Ipv6Fragment {
                    offset: usize::from(word & 0xfff8),
                    more: word & 1 != 0,
                    id: u32::from_be_bytes(*id.first_chunk()?),
                };
                return Some(Ipv6FragmentPoint {
                    offset: at,
                    next_header: named,
                    fragment: Some(fragment),
                });
            }
            _ => return Some(point),
        };
        let unfragmentable = matches!(kind, HOP_BY_HOP | ROUTING);
        (kind, named) = (*packet.get(at)?, at);
        at += length;
        if unfragmentable {
            point = Ipv6FragmentPoint { offset: at, next_header: named, fragment: None };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xa5; 40];
        let length = u16::try_from(payload.len()).unwrap();
        Ipv6::new(Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED, next_header, 64, length)
            .emit(&mut bytes)
            .unwrap();
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_header_reads_and_writes_the_same_bytes() {
        let bytes = packet(58, &[1, 2, 3]);
        assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 3, 58, 64]);
        let mut copy = bytes.clone();
        let (header, rest) = Ipv6::parse_mut(&mut copy).unwrap();
        assert_eq!(rest, [1, 2, 3]);
        assert_eq!((header.version(), header.traffic_class(), header.flow_label()), (6, 0, 0));
        assert_eq!(
            (header.source(), header.destination()),
            (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED)
        );
        assert_eq!(header.decrement_hop_limit(), 63);
        header.set_payload_length(0x1234);
        assert_eq!(copy[..8], [0x60, 0, 0, 0, 0x12, 0x34, 58, 63]);
        assert!(Ipv6::parse(&bytes[..39]).is_none());
    }

    #[test]
    fn transport_is_found_behind_hop_by_hop_and_destination_options() {
        let mut payload = vec![60, 0, 1, 4, 0, 0, 0, 0];
        payload.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        payload.extend([0; 20]);
        let found = ipv6_payload(&packet(0, &payload)).unwrap();
        assert_eq!(found, Ipv6Payload { protocol: 6, offset: 56, fragment: None });
        for length in 40..56 {
            assert_eq!(ipv6_payload(&packet(0, &payload)[..length]), None, "length {length}");
        }
    }

    #[test]
    fn an_atomic_fragment_is_walked_through_and_a_later_piece_is_not() {
        let found = ipv6_payload(&packet(44, &[6, 0, 0, 0, 0, 0, 0, 7])).unwrap();
        assert_eq!((found.protocol, found.offset), (6, 48));
        assert!(found.fragment.unwrap().is_atomic());
        let found = ipv6_payload(&packet(44, &[60, 0, 0x05, 0xa9, 0, 0, 0, 7])).unwrap();
        let fragment = found.fragment.unwrap();
        assert_eq!((fragment.offset, fragment.more, fragment.id), (0x05a8, true, 7));
        assert_eq!((found.protocol, found.offset), (60, 48));
    }

    #[test]
    fn long_chains_and_overruns_are_refused() {
        let mut payload = Vec::new();
        for _ in 0..20 {
            payload.extend([60, 0, 1, 4, 0, 0, 0, 0]);
        }
        assert_eq!(ipv6_payload(&packet(60, &payload)), None);
        assert_eq!(ipv6_payload(&packet(0, &[6, 9, 1, 4, 0, 0, 0, 0])), None);
    }
}
