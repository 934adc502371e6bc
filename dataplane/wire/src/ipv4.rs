//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;

use crate::checksum;
use crate::header::header;

/// IP protocol numbers the vRouter acts on.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// GRE.
    pub const GRE: u8 = 47;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

header!(
    /// An IPv4 header without its options.
    Ipv4[20] {
        version_ihl: u8,
        tos: u8,
        total_length: U16,
        id: U16,
        fragment: U16,
        ttl: u8,
        protocol: u8,
        checksum: U16,
        source: [u8; 4],
        destination: [u8; 4],
    }
);

const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
const OFFSET: u16 = 0x1fff;

impl Ipv4 {
    /// A header without options, not a fragment, DF clear, with its checksum. `total_length` includes the header.
    pub fn new(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        ttl: u8,
        total_length: u16,
    ) -> Self {
        let mut header = Ipv4 {
            version_ihl: 0x45,
            tos: 0,
            total_length: U16::new(total_length),
            id: U16::ZERO,
            fragment: U16::ZERO,
            ttl,
            protocol,
            checksum: U16::ZERO,
            source: source.octets(),
            destination: destination.octets(),
        };
        header.checksum = U16::new(checksum::Sum::ZERO.bytes(header.bytes()).checksum());
        header
    }

    /// The version nibble; 4 unless the frame lies.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Header length in bytes as the IHL field says: 0 to 60, valid from 20.
    #[inline]
    pub fn header_length(&self) -> usize {
        usize::from(self.version_ihl & 0xf) * 4
    }

    /// DSCP and ECN.
    #[inline]
    pub fn tos(&self) -> u8 {
        self.tos
    }

    /// Length of header and payload in bytes as the header says.
    #[inline]
    pub fn total_length(&self) -> u16 {
        self.total_length.get()
    }

    /// Identification.
    #[inline]
    pub fn id(&self) -> u16 {
        self.id.get()
    }

    /// Must not be fragmented.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment.get() & DONT_FRAGMENT != 0
    }

    /// Any piece of a fragmented datagram, the head included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & (MORE_FRAGMENTS | OFFSET) != 0
    }

    /// More pieces of the datagram follow.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.fragment.get() & MORE_FRAGMENTS != 0
    }

    /// Where this piece starts in the datagram, in bytes.
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.fragment.get() & OFFSET) * 8
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.ttl
    }

    /// What follows: a [`protocol`].
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The header checksum field.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.checksum.get()
    }

    /// Sender.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.source)
    }

    /// Receiver.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.destination)
    }

    /// Takes one off the TTL and patches the checksum; a wrong checksum stays wrong. At 0 nothing changes.
    #[inline]
    pub fn decrement_ttl(&mut self) -> u8 {
        if self.ttl != 0 {
            self.ttl -= 1;
            // The TTL is the upper byte of its word, so old and new always differ by 0x100.
            self.checksum.set(checksum::update(self.checksum.get(), 0x100, 0));
        }
        self.ttl
    }

    /// Puts back a TTL and patches the checksum; a wrong checksum stays wrong.
    pub fn set_ttl(&mut self, ttl: u8) {
        let [old, new] = [self.ttl, ttl].map(|ttl| u16::from(ttl) << 8);
        self.checksum.set(checksum::update(self.checksum.get(), old, new));
        self.ttl = ttl;
    }

    /// Sets DSCP and ECN and patches the checksum.
    pub fn set_tos(&mut self, tos: u8) {
        let checksum = checksum::update(self.checksum.get(), self.tos.into(), tos.into());
        self.checksum.set(checksum);
        self.tos = tos;
    }

    /// Makes it the header of a piece: its own length in words, the total length in bytes, offset and flags. The
    /// checksum becomes 0, for it covers options too.
    pub(crate) fn set_piece(&mut self, words: u8, total_length: u16, fragment: u16) {
        self.version_ihl = 0x40 | words & 0xf;
        self.total_length.set(total_length);
        self.fragment.set(fragment);
        self.checksum.set(0);
    }

    /// Sets total length, id and checksum of a header whose other fields sum to `partial` (folded, not inverted):
    /// what differs between two packets of one tunnel, without reading the header.
    #[inline]
    pub fn complete(&mut self, total_length: u16, id: u16, partial: u16) {
        self.total_length.set(total_length);
        self.id.set(id);
        let sum = checksum::Sum::ZERO.word(partial).word(total_length).word(id);
        self.checksum.set(sum.checksum());
    }

    /// Sets total length and id and patches the checksum: what differs between two packets of one tunnel.
    #[inline]
    pub fn set_length_and_id(&mut self, total_length: u16, id: u16) {
        let checksum = checksum::update(self.checksum.get(), self.total_length.get(), total_length);
        self.checksum.set(checksum::update(checksum, self.id.get(), id));
        self.total_length.set(total_length);
        self.id.set(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sum;

    const HEADER: [u8; 20] =
        [0x45, 0, 0, 0x1d, 0, 6, 0, 0, 0x40, 0x11, 0x64, 0xab, 10, 10, 1, 9, 10, 10, 1, 3];

    #[test]
    fn a_header_reads_and_writes_the_same_bytes() {
        let (header, rest) = Ipv4::parse(&HEADER).unwrap();
        assert!(rest.is_empty());
        assert_eq!((header.version(), header.header_length(), header.tos()), (4, 20, 0));
        assert_eq!((header.total_length(), header.id(), header.ttl()), (29, 6, 64));
        assert_eq!((header.protocol(), header.checksum()), (protocol::UDP, 0x64ab));
        assert!(!header.is_fragment() && !header.dont_fragment());
        let mut value = Ipv4::new(header.source(), header.destination(), protocol::UDP, 64, 0);
        value.set_length_and_id(29, 6);
        let mut out = [0xa5; 20];
        value.emit(&mut out).unwrap();
        assert_eq!(out, HEADER);
        let bare = Ipv4::new(header.source(), header.destination(), protocol::UDP, 64, 0);
        value.complete(29, 6, !bare.checksum());
        assert_eq!(value.bytes(), HEADER);
        assert!(Ipv4::parse(&HEADER[..19]).is_none());
    }

    #[test]
    fn fragment_fields_are_told_apart() {
        let mut bytes = HEADER;
        bytes[6..8].copy_from_slice(&[0x40, 0]);
        let (header, _) = Ipv4::parse(&bytes).unwrap();
        assert!(header.dont_fragment() && !header.is_fragment());
        bytes[6..8].copy_from_slice(&[0x20, 0]);
        let (header, _) = Ipv4::parse(&bytes).unwrap();
        assert!(header.is_fragment() && header.fragment_offset() == 0);
        bytes[6..8].copy_from_slice(&[0, 0xb9]);
        let (header, _) = Ipv4::parse(&bytes).unwrap();
        assert!(header.is_fragment() && header.fragment_offset() == 1480);
    }

    #[test]
    fn ttl_counts_down_to_zero_with_a_right_checksum() {
        let mut bytes = HEADER;
        let (header, _) = Ipv4::parse_mut(&mut bytes).unwrap();
        for expected in (0..64).rev() {
            assert_eq!(header.decrement_ttl(), expected);
            assert_eq!(Sum::ZERO.bytes(header.bytes()).folded(), 0xffff);
        }
        assert_eq!(header.decrement_ttl(), 0);
    }

    #[test]
    fn ttl_and_tos_are_set_with_a_right_checksum() {
        let mut bytes = HEADER;
        let (header, _) = Ipv4::parse_mut(&mut bytes).unwrap();
        header.set_ttl(1);
        header.set_tos(0xc0);
        assert_eq!((header.ttl(), header.tos()), (1, 0xc0));
        assert_eq!(Sum::ZERO.bytes(header.bytes()).folded(), 0xffff);
        header.set_ttl(64);
        header.set_tos(0);
        assert_eq!(bytes, HEADER);
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut bytes = HEADER;
        bytes[11] ^= 1;
        let (header, _) = Ipv4::parse_mut(&mut bytes).unwrap();
        header.decrement_ttl();
        assert_ne!(Sum::ZERO.bytes(header.bytes()).folded(), 0xffff);
    }
}
