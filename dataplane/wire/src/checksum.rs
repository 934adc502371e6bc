//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), pseudo headers, and the completion of
//! transport checksums that a local stack left unfinished (reference crates.md, "Checksums, offloads and VLAN tags").

use std::net::{Ipv4Addr, Ipv6Addr};

/// A running one's complement sum. Pieces must have even length, except the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub const ZERO: Sum = Sum(0);

    /// Adds a byte string as big-endian 16-bit words; an odd last byte counts as padded with zero.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        // The sum is byte-order independent (RFC 1071 section 2B): add native words, swap the folded result.
        let (words, tail) = bytes.as_chunks::<8>();
        let mut native = 0u64;
        for word in words {
            let word = u64::from_ne_bytes(*word);
            native += (word & 0xffff_ffff) + (word >> 32);
        }
        let mut last = [0u8; 8];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let last = u64::from_ne_bytes(last);
        native += (last & 0xffff_ffff) + (last >> 32);
        Sum(self.0 + u64::from(u16::from_be(fold(native))))
    }

    /// Adds one 16-bit word.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Sum {
        Sum(self.0 + word as u64)
    }

    /// Adds a 32-bit number as two words.
    #[inline]
    #[must_use]
    pub const fn long(self, long: u32) -> Sum {
        // 2^16 is 1 modulo 0xffff, so the number counts as the sum of its words.
        Sum(self.0 + long as u64)
    }

    /// The sum folded to 16 bits, not complemented: what an unfinished checksum field holds.
    #[inline]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the folded sum's complement.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }
}

/// Folds to 16 bits; only 0 gives 0. Adding a rotated copy puts the one's complement sum of the halves, carry
/// included, into the upper half.
#[inline]
const fn fold(sum: u64) -> u16 {
    fold_long((sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32)
}

#[inline]
const fn fold_long(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The checksum after one covered word changed from `old` to `new` (RFC 1624, equation 3).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold_long(!checksum as u32 + !old as u32 + new as u32)
}

/// The checksum after a covered 32-bit number changed.
#[inline]
pub const fn update_long(checksum: u16, old: u32, new: u32) -> u16 {
    let checksum = update(checksum, (old >> 16) as u16, (new >> 16) as u16);
    update(checksum, (old & 0xffff) as u16, (new & 0xffff) as u16)
}

/// A computed UDP checksum as it is sent: 0 means "none", so 0 goes out as 0xffff (RFC 768).
#[inline]
pub const fn udp_field(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The pseudo header of RFC 793 for IPv4: `length` is that of the transport header and its payload.
#[inline]
pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    Sum::ZERO
        .long(source.to_bits())
        .long(destination.to_bits())
        .word(u16::from(protocol))
        .word(length)
}

/// The pseudo header of RFC 8200 section 8.1 for IPv6.
#[inline]
pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> Sum {
    Sum::ZERO
        .bytes(&source.octets())
        .bytes(&destination.octets())
        .word(u16::from(protocol))
        .long(length)
}

/// The transports whose checksums local stacks leave unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Field at byte 16.
    Tcp,
    /// Field at byte 6; zero means none.
    Udp,
}

impl Transport {
    /// By IP protocol number.
    #[inline]
    pub const fn from_protocol(protocol: u8) -> Option<Transport> {
        match protocol {
            crate::protocol::TCP => Some(Transport::Tcp),
            crate::protocol::UDP => Some(Transport::Udp),
            _ => None,
        }
    }

    #[inline]
    const fn offset(self) -> usize {
        match self {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        }
    }

    #[inline]
    fn field(self, segment: &[u8]) -> Option<&[u8; 2]> {
        segment.get(self.offset()..)?.first_chunk()
    }

    #[inline]
    fn field_mut(self, segment: &mut [u8]) -> Option<&mut [u8; 2]> {
        segment.get_mut(self.offset()..)?.first_chunk_mut()
    }

    /// A computed checksum as it is sent.
    #[inline]
    const fn written(self, checksum: u16) -> u16 {
        match self {
            Transport::Tcp => checksum,
            Transport::Udp => udp_field(checksum),
        }
    }
}

/// Whether the checksum field of a segment holds only the folded pseudo-header sum, as a stack with transmit offload
/// leaves it. `segment` is the transport header and payload by the length of the IP header, without the frame's padding;
/// it must not be a fragment.
///
/// A finished checksum equals the pseudo-header sum once in 65536; computing it again then yields the same value.
#[inline]
pub fn is_unfinished(transport: Transport, pseudo: Sum, segment: &[u8]) -> bool {
    let unfinished = pseudo.folded();
    transport.field(segment).is_some_and(|field| u16::from_be_bytes(*field) == unfinished)
}

/// Completes an unfinished checksum: the field holds the pseudo-header sum, so the sum over the segment is the whole sum.
/// A segment too short for a header stays as it is.
#[inline(never)]
pub fn finish(transport: Transport, segment: &mut [u8]) {
    let checksum = transport.written(Sum::ZERO.bytes(segment).checksum());
    if let Some(field) = transport.field_mut(segment) {
        *field = checksum.to_be_bytes();
    }
}

/// Writes the checksum of a segment, whatever its field holds.
pub fn write(transport: Transport, pseudo: Sum, segment: &mut [u8]) {
    if let Some(field) = transport.field_mut(segment) {
        *field = pseudo.folded().to_be_bytes();
        finish(transport, segment);
    }
}

/// Whether the checksum of a segment is right; a UDP field of 0 is "none", which is right.
pub fn is_right(transport: Transport, pseudo: Sum, segment: &[u8]) -> bool {
    match (transport, transport.field(segment)) {
        (_, None) => false,
        (Transport::Udp, Some([0, 0])) => true,
        (_, Some(_)) => pseudo.bytes(segment).folded() == u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 section 2, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn any_length_and_content_sums_like_the_definition() {
        let bytes: Vec<u8> = (0..1600u32).map(|i| (i * 7919 % 251) as u8).collect();
        for length in (0..70).chain([1499, 1500, 1600]) {
            assert_eq!(Sum::ZERO.bytes(&bytes[..length]).folded(), naive(&bytes[..length]));
        }
        assert_eq!(Sum::ZERO.bytes(&[0xff; 1500]).folded(), 0xffff);
        let split = Sum::ZERO.bytes(&bytes[..20]).bytes(&bytes[20..101]);
        assert_eq!(split.folded(), naive(&bytes[..101]));
    }

    #[test]
    fn an_update_equals_a_new_sum() {
        let mut header =
            [0x45u8, 0, 0, 0x1d, 0, 6, 0, 0, 0x40, 0x11, 0x64, 0xab, 10, 10, 1, 9, 10, 10, 1, 3];
        assert_eq!(Sum::ZERO.bytes(&header).checksum(), 0);
        for ttl in (0..=255u8).rev() {
            let old = u16::from_be_bytes([header[8], header[9]]);
            header[8] = ttl;
            let new = u16::from_be_bytes([header[8], header[9]]);
            let checksum = update(u16::from_be_bytes([header[10], header[11]]), old, new);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            assert_eq!(Sum::ZERO.bytes(&header).folded(), 0xffff, "ttl {ttl}");
        }
        let checksum = u16::from_be_bytes([header[10], header[11]]);
        let patched = update_long(checksum, 0x0a0a_0109, 0xc000_0201);
        header[12..16].copy_from_slice(&[192, 0, 2, 1]);
        header[10..12].copy_from_slice(&patched.to_be_bytes());
        assert_eq!(Sum::ZERO.bytes(&header).folded(), 0xffff);
    }

    /// What the packet path does; whether the sum was unfinished.
    fn complete(transport: Transport, pseudo: Sum, segment: &mut [u8]) -> bool {
        let unfinished = is_unfinished(transport, pseudo, segment);
        if unfinished {
            finish(transport, segment);
        }
        unfinished
    }

    /// TCP from 10.10.1.3 to 10.10.1.9 with the field holding the pseudo-header sum.
    const SEGMENT: [u8; 24] = [
        0x9c, 0x48, 0x00, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 0x02, 0x20, 0x00, 0x16, 0x3e, 0, 0,
        0x02, 0x04, 0x05, 0xb4,
    ];

    fn pseudo(length: u16, protocol: u8) -> Sum {
        pseudo_v4(Ipv4Addr::new(10, 10, 1, 3), Ipv4Addr::new(10, 10, 1, 9), protocol, length)
    }

    #[test]
    fn an_unfinished_tcp_sum_is_completed_once() {
        let mut segment = SEGMENT;
        let pseudo = pseudo(24, 6);
        assert_eq!(pseudo.folded(), 0x163e);
        assert!(complete(Transport::Tcp, pseudo, &mut segment));
        assert!(is_right(Transport::Tcp, pseudo, &segment), "the receiver's check");
        let finished = segment;
        assert!(!complete(Transport::Tcp, pseudo, &mut segment));
        assert_eq!(segment, finished);
    }

    #[test]
    fn right_and_wrong_sums_are_left_alone() {
        for field in [[0x12, 0x34], [0, 0], [0xff, 0xff]] {
            let mut segment = SEGMENT;
            segment[16..18].copy_from_slice(&field);
            let before = segment;
            assert!(!complete(Transport::Tcp, pseudo(24, 6), &mut segment));
            assert_eq!(segment, before);
        }
        for length in 0..18 {
            let mut segment = SEGMENT;
            assert!(!complete(Transport::Tcp, pseudo(24, 6), &mut segment[..length]));
            assert!(!is_right(Transport::Tcp, pseudo(24, 6), &segment[..length]));
        }
    }

    #[test]
    fn a_udp_sum_that_comes_to_zero_is_sent_as_all_ones() {
        // Payload chosen so that the checksum computes to zero (case H16).
        let mut datagram = [0x04, 0x57, 0x08, 0xae, 0, 0x0a, 0, 0, 0xdc, 0xb5];
        let pseudo = pseudo(10, 17);
        assert_eq!(pseudo.bytes(&datagram).checksum(), 0);
        let mut absent = datagram;
        assert!(!complete(Transport::Udp, pseudo, &mut absent));
        assert_eq!(absent, datagram, "no checksum stays no checksum");
        assert!(is_right(Transport::Udp, pseudo, &absent), "and is not verified");
        write(Transport::Udp, pseudo, &mut absent);
        assert_eq!(absent[6..8], [0xff, 0xff]);
        assert!(is_right(Transport::Udp, pseudo, &absent));
        absent[8] ^= 1;
        assert!(!is_right(Transport::Udp, pseudo, &absent));
        datagram[6..8].copy_from_slice(&pseudo.folded().to_be_bytes());
        assert!(complete(Transport::Udp, pseudo, &mut datagram));
        assert_eq!(datagram[6..8], [0xff, 0xff]);
    }

    #[test]
    fn the_v6_pseudo_header_counts_addresses_length_and_protocol() {
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let destination: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let mut bytes = Vec::new();
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend(70000u32.to_be_bytes());
        bytes.extend([0, 0, 0, 58]);
        assert_eq!(pseudo_v6(source, destination, 58, 70000).folded(), naive(&bytes));
    }
}
