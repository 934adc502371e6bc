//! Cutting an IP packet into pieces: IPv4 as any router may (RFC 791 section 3.2), IPv6 as its source would (RFC 8200
//! section 4.5).

use std::ops::Range;

use zerocopy::byteorder::network_endian::U16;

use crate::ipv6::ipv6_fragment_point;
use crate::{Ipv4, Ipv6, checksum};

/// How a packet is going to be cut. Holds its own copy of the headers, so that the packet itself may be cut meanwhile.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Of the piece that starts where the packet does.
    first: Header,
    /// Of the others.
    later: Header,
    /// Bytes in front of the payload that is cut.
    headers: usize,
    /// Bytes of that payload.
    payload: usize,
    /// Where in the datagram it starts: not 0 when the packet is a piece itself.
    base: usize,
    /// Whether more pieces follow the packet.
    more: bool,
    /// The largest piece, in bytes.
    mtu: usize,
}

/// The longest headers that are repeated in each piece, in bytes: IPv4 with all options, or IPv6 with short extension
/// headers and the fragment header.
const LONGEST: usize = 120;

#[derive(Clone, Debug)]
struct Header {
    bytes: [u8; LONGEST],
    length: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V4,
    /// The fragment header is the last.
    V6,
}

impl Cut {
    /// Plans to cut an IPv4 packet, whole or a piece already, so that no piece is longer than `mtu` bytes. `packet` starts
    /// at the IPv4 header and is as long as that says. `None` when the header is no header, or leaves no room for 8
    /// bytes in a piece.
    pub fn v4(packet: &[u8], mtu: u16) -> Option<Cut> {
        let (ip, _) = Ipv4::parse(packet)?;
        let headers = ip.header_length();
        let options = packet.get(Ipv4::LEN..headers)?;
        let mut first = Header::new(packet.get(..headers)?, Kind::V4)?;
        let mut later = Header::new(ip.bytes(), Kind::V4)?;
        copied_options(options, &mut later);
        if ip.fragment_offset() != 0 {
            first = later.clone();
        }
        let (base, more) = (ip.fragment_offset(), ip.more_fragments());
        let payload = packet.len().checked_sub(headers)?;
        let cut = Cut { first, later, headers, payload, base, more, mtu: usize::from(mtu) };
        cut.has_room().then_some(cut)
    }

    /// Plans to cut an IPv6 packet; pieces of a whole one get this `id`, those of a piece keep its own. `None` as with
    /// IPv4, and when its extension headers cannot be followed or are too long to repeat.
    pub fn v6(packet: &[u8], mtu: u16, id: u32) -> Option<Cut> {
        let point = ipv6_fragment_point(packet)?;
        let mut header = Header::new(packet.get(..point.offset)?, Kind::V6)?;
        let (base, more, headers) = match point.fragment {
            Some(fragment) => {
                // The packet's own fragment header is repeated.
                let own = packet.get(point.offset..point.offset + 8)?;
                header.append(own)?;
                (fragment.offset, fragment.more, point.offset + 8)
            }
            None => {
                let [a, b, c, d] = id.to_be_bytes();
                let next = std::mem::replace(header.bytes.get_mut(point.next_header)?, FRAGMENT);
                header.append(&[next, 0, 0, 0, a, b, c, d])?;
                (0, false, point.offset)
            }
        };
        let payload = packet.len().checked_sub(headers)?;
        let later = header.clone();
        let mtu = usize::from(mtu);
        let cut = Cut { first: header, later, headers, payload, base, more, mtu };
        cut.has_room().then_some(cut)
    }

    fn has_room(&self) -> bool {
        self.room(0) >= 8 && self.room(1) >= 8
    }

    /// Bytes of payload in a piece that is not the last.
    fn room(&self, piece: usize) -> usize {
        self.mtu.saturating_sub(self.header(piece).length) & !7
    }

    fn header(&self, piece: usize) -> &Header {
        if piece == 0 { &self.first } else { &self.later }
    }

    /// How many pieces it takes.
    pub fn pieces(&self) -> usize {
        let whole = self.mtu.saturating_sub(self.first.length);
        if self.payload <= whole {
            return 1;
        }
        let mut rest = self.payload - self.room(0);
        let mut pieces = 1;
        let (last, room) = (self.mtu.saturating_sub(self.later.length), self.room(1));
        while rest > last {
            rest -= room;
            pieces += 1;
        }
        pieces + 1
    }

    /// Which bytes of the packet are the payload of a piece, counted from its IP header.
    pub fn payload(&self, piece: usize) -> Range<usize> {
        let start = match piece.checked_sub(1) {
            None => 0,
            Some(between) => self.room(0) + between * self.room(1),
        };
        let end = if piece + 1 == self.pieces() { self.payload } else { start + self.room(piece) };
        self.headers + start.min(self.payload)..self.headers + end.min(self.payload)
    }

    /// How long the headers of a piece are, in bytes.
    pub fn header_length(&self, piece: usize) -> usize {
        self.header(piece).length
    }

    /// Writes the headers of a piece to the start of `out`; `None` when it is shorter.
    pub fn emit(&self, piece: usize, out: &mut [u8]) -> Option<()> {
        let header = self.header(piece);
        let room = out.get_mut(..header.length)?;
        room.copy_from_slice(header.bytes.get(..header.length)?);
        let payload = self.payload(piece);
        let offset = self.base + payload.start - self.headers;
        let more = self.more || piece + 1 < self.pieces();
        let offset = u16::try_from(offset).ok()?;
        match header.kind {
            Kind::V4 => {
                let length = u16::try_from(header.length + payload.len()).ok()?;
                let word = offset >> 3 | if more { 0x2000 } else { 0 };
                let (ip, _) = Ipv4::parse_mut(room)?;
                ip.set_piece(u8::try_from(header.length / 4).ok()?, length, word);
                let sum = checksum::Sum::ZERO.bytes(room).checksum();
                room.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
            }
            Kind::V6 => {
                let length = u16::try_from(header.length - Ipv6::LEN + payload.len()).ok()?;
                let (ip, _) = Ipv6::parse_mut(room)?;
                ip.set_payload_length(length);
                let word = offset & !7 | u16::from(more);
                let at = header.length.checked_sub(6)?;
                room.get_mut(at..at + 2)?.copy_from_slice(U16::new(word).as_ref());
            }
        }
        Some(())
    }
}

const FRAGMENT: u8 = 44;

impl Header {
    fn new(from: &[u8], kind: Kind) -> Option<Header> {
        let mut header = Header { bytes: [0; LONGEST], length: 0, kind };
        header.append(from)?;
        Some(header)
    }

    fn append(&mut self, more: &[u8]) -> Option<()> {
        let end = self.length + more.len();
        self.bytes.get_mut(self.length..end)?.copy_from_slice(more);
        self.length = end;
        Some(())
    }
}

/// Only options with the copied bit are in later pieces (RFC 791 section 3.1); padded to whole words.
fn copied_options(mut options: &[u8], header: &mut Header) {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const COPIED: u8 = 0x80;
    while let [kind, rest @ ..] = options {
        let length = match *kind {
            END => break,
            NOTHING => 1,
            _ => match rest.first() {
                Some(length) if *length >= 2 => usize::from(*length),
                _ => break,
            },
        };
        let Some((option, after)) = options.split_at_checked(length) else { break };
        if kind & COPIED != 0 && header.append(option).is_none() {
            break;
        }
        options = after;
    }
    header.length = header.length.next_multiple_of(4);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;

    fn packet_v4(options: &[u8], payload: usize) -> Vec<u8> {
        let [from, to] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(std::net::Ipv4Addr::from);
        let length = u16::try_from(20 + options.len() + payload).unwrap();
        let mut bytes = Ipv4::new(from, to, protocol::UDP, 64, length).bytes().to_vec();
        bytes[0] = 0x40 | u8::try_from(5 + options.len() / 4).unwrap();
        bytes[4..6].copy_from_slice(&0x4d00u16.to_be_bytes());
        bytes.extend(options);
        bytes.extend((0..payload).map(|i| u8::try_from(i * 7 % 251).unwrap()));
        bytes
    }

    fn packet_v6(chain: &[u8], first: u8, payload: usize) -> Vec<u8> {
        let local = std::net::Ipv6Addr::LOCALHOST;
        let length = u16::try_from(chain.len() + payload).unwrap();
        let mut bytes = Ipv6::new(local, local, first, 64, length).bytes().to_vec();
        bytes.extend(chain);
        bytes.extend((0..payload).map(|i| u8::try_from(i * 7 % 251).unwrap()));
        bytes
    }

    /// The pieces of a packet, each with its headers.
    fn pieces(cut: &Cut, packet: &[u8]) -> Vec<Vec<u8>> {
        let piece = |number| {
            let mut bytes = vec![0xa5; cut.header_length(number)];
            cut.emit(number, &mut bytes).unwrap();
            bytes.extend(&packet[cut.payload(number)]);
            bytes
        };
        (0..cut.pieces()).map(piece).collect()
    }

    /// What a receiver makes of them, in any order: the payload and its length when the last one is known.
    fn put_together(pieces: &[(usize, bool, Vec<u8>)]) -> Vec<u8> {
        let mut whole = Vec::new();
        let mut end = None;
        for (offset, more, payload) in pieces {
            whole.resize(whole.len().max(offset + payload.len()), 0);
            whole[*offset..offset + payload.len()].copy_from_slice(payload);
            if !more {
                end = Some(offset + payload.len());
            } else {
                assert_eq!(payload.len() % 8, 0);
            }
        }
        assert_eq!(end, Some(whole.len()));
        whole
    }

    fn read_v4(piece: &[u8]) -> (usize, bool, Vec<u8>) {
        let (ip, _) = Ipv4::parse(piece).unwrap();
        assert_eq!(usize::from(ip.total_length()), piece.len());
        assert_eq!(ip.id(), 0x4d00);
        let headers = &piece[..ip.header_length()];
        assert_eq!(checksum::Sum::ZERO.bytes(headers).folded(), 0xffff);
        (ip.fragment_offset(), ip.more_fragments(), piece[ip.header_length()..].to_vec())
    }

    fn read_v6(piece: &[u8], id: u32) -> (usize, bool, Vec<u8>) {
        let (ip, _) = Ipv6::parse(piece).unwrap();
        assert_eq!(usize::from(ip.payload_length()) + 40, piece.len());
        let point = ipv6_fragment_point(piece).unwrap();
        let fragment = point.fragment.unwrap();
        assert_eq!(fragment.id, id);
        (fragment.offset, fragment.more, piece[point.offset + 8..].to_vec())
    }

    #[test]
    fn pieces_of_any_packet_fit_and_make_the_packet_again() {
        for payload in (0..64).chain([1448, 1456, 1472, 1480, 1481, 4000, 9000]) {
            for mtu in [68, 300, 576, 1230, 1450, 1468, 1472] {
                let packet = packet_v4(&[], payload);
                let cut = Cut::v4(&packet, mtu).unwrap();
                let pieces = pieces(&cut, &packet);
                assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
                let read: Vec<_> = pieces.iter().map(|piece| read_v4(piece)).collect();
                assert_eq!(put_together(&read), packet[20..], "{payload} bytes at {mtu}");
                // A piece that is cut again.
                let again = Cut::v4(&pieces[0], 60).unwrap();
                let mut smaller = self::pieces(&again, &pieces[0]);
                smaller.extend_from_slice(&pieces[1..]);
                let read: Vec<_> = smaller.iter().rev().map(|piece| read_v4(piece)).collect();
                assert_eq!(put_together(&read), packet[20..]);
            }
        }
    }

    #[test]
    fn only_options_that_are_to_be_copied_are_in_later_pieces() {
        // Record route is not copied, loose source route is.
        let record = [7, 7, 4, 0, 0, 0, 0];
        let source = [0x83, 7, 4, 9, 9, 9, 9];
        let options = [&record[..], &[1], &source, &[0]].concat();
        let packet = packet_v4(&options, 500);
        let cut = Cut::v4(&packet, 200).unwrap();
        let pieces = pieces(&cut, &packet);
        assert_eq!(pieces[0][20..36], options);
        for piece in &pieces[1..] {
            assert_eq!(piece[0], 0x47);
            assert_eq!(piece[20..28], [&source[..], &[0]].concat());
        }
        let read: Vec<_> = pieces.iter().map(|piece| read_v4(piece)).collect();
        assert_eq!(put_together(&read), packet[36..]);
        // Options that lie about their length are not copied, and nothing is read beyond them.
        for junk in [[0x83, 0, 0, 0], [0x83, 1, 0, 0], [0x83, 200, 0, 0], [0x83, 5, 1, 2]] {
            let packet = packet_v4(&junk, 500);
            let cut = Cut::v4(&packet, 200).unwrap();
            assert_eq!((cut.header_length(0), cut.header_length(1)), (24, 20));
        }
    }

    #[test]
    fn an_ipv6_packet_gets_its_fragment_header_behind_what_routers_read() {
        let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
        let destination = [17, 0, 1, 4, 0, 0, 0, 0];
        for (chain, first, at) in [
            (&[][..], protocol::UDP, 40),
            (&[&hop_by_hop[..], &destination].concat()[..], 0, 48),
            (&destination[..], 60, 40),
        ] {
            let packet = packet_v6(chain, first, 1200);
            let cut = Cut::v6(&packet, 600, 0xdead_beef).unwrap();
            let pieces = pieces(&cut, &packet);
            assert!(pieces.iter().all(|piece| piece.len() <= 600));
            for piece in &pieces {
                assert_eq!(ipv6_fragment_point(piece).unwrap().offset, at);
                assert!(crate::ipv6_payload(piece).is_some());
            }
            let read: Vec<_> = pieces.iter().map(|piece| read_v6(piece, 0xdead_beef)).collect();
            assert_eq!(put_together(&read), packet[at..]);
            // A piece that is cut again keeps its id.
            let again = Cut::v6(&pieces[1], 200, 7).unwrap();
            let mut smaller = self::pieces(&again, &pieces[1]);
            smaller.push(pieces[0].clone());
            smaller.extend_from_slice(&pieces[2..]);
            let read: Vec<_> = smaller.iter().map(|piece| read_v6(piece, 0xdead_beef)).collect();
            assert_eq!(put_together(&read), packet[at..]);
        }
    }

    #[test]
    fn what_leaves_no_room_is_not_cut() {
        let packet = packet_v4(&[], 500);
        assert!(Cut::v4(&packet, 27).is_none());
        assert!(Cut::v4(&packet, 28).is_some());
        assert!(Cut::v4(&packet[..19], 576).is_none());
        let mut lying = packet;
        lying[0] = 0x44;
        assert!(Cut::v4(&lying, 576).is_none());
        assert!(Cut::v6(&packet_v6(&[], 17, 500), 55, 1).is_none());
        let endless = [0; 64].map(|_| 0u8);
        assert!(Cut::v6(&packet_v6(&endless, 0, 500), 576, 1).is_none());
    }
}
