//! UDP (RFC 768), TCP (RFC 9293) and ICMP (RFC 792, RFC 4443): the fixed parts.

use zerocopy::byteorder::network_endian::{U16, U32};

use crate::header::header;

/// UDP ports of the tunnels (reference dataplane.md section 7).
pub mod port {
    /// VXLAN (RFC 7348).
    pub const VXLAN: u16 = 4789;
    /// MPLS over UDP (RFC 7510).
    pub const MPLS_OVER_UDP: u16 = 6635;
    /// MPLS over UDP before it had a number; received only.
    pub const MPLS_OVER_UDP_OLD: u16 = 51234;
}

header!(
    /// A UDP header.
    Udp[8] {
        source: U16,
        destination: U16,
        length: U16,
        checksum: U16,
    }
);

impl Udp {
    /// A header; `length` counts it and its payload, `checksum` 0 is "none".
    pub fn new(source: u16, destination: u16, length: u16, checksum: u16) -> Self {
        Udp {
            source: U16::new(source),
            destination: U16::new(destination),
            length: U16::new(length),
            checksum: U16::new(checksum),
        }
    }

    /// Source port.
    #[inline]
    pub fn source(&self) -> u16 {
        self.source.get()
    }

    /// Destination port.
    #[inline]
    pub fn destination(&self) -> u16 {
        self.destination.get()
    }

    /// Length of header and payload.
    #[inline]
    pub fn length(&self) -> u16 {
        self.length.get()
    }

    /// Checksum field.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.checksum.get()
    }

    /// Sets source port and length: what differs between two packets of one tunnel.
    #[inline]
    pub fn set_source_and_length(&mut self, source: u16, length: u16) {
        self.source.set(source);
        self.length.set(length);
    }

    /// Sets the length of header and payload.
    #[inline]
    pub fn set_length(&mut self, length: u16) {
        self.length.set(length);
    }

    /// Sets the checksum field: 0 is "none".
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.checksum.set(checksum);
    }
}

header!(
    /// A TCP header without its options.
    Tcp[20] {
        source: U16,
        destination: U16,
        sequence: U32,
        acknowledgment: U32,
        offset: u8,
        flags: u8,
        window: U16,
        checksum: U16,
        urgent: U16,
    }
);

impl Tcp {
    /// Source port.
    #[inline]
    pub fn source(&self) -> u16 {
        self.source.get()
    }

    /// Destination port.
    #[inline]
    pub fn destination(&self) -> u16 {
        self.destination.get()
    }

    /// Sequence number.
    #[inline]
    pub fn sequence(&self) -> u32 {
        self.sequence.get()
    }

    /// Acknowledgment number.
    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        self.acknowledgment.get()
    }

    /// Header length in bytes as the data offset says: 0 to 60, valid from 20. It may lie.
    #[inline]
    pub fn header_length(&self) -> usize {
        usize::from(self.offset >> 4) * 4
    }

    /// Ends the sender's stream.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Breaks a connection.
    pub const RST: u8 = 0x04;
    /// To be given to the application at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion was met on the way here (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// The sender has reduced its window (RFC 3168).
    pub const CWR: u8 = 0x80;

    /// The flag bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    #[inline]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Receive window, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        self.window.get()
    }

    /// Checksum field.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.checksum.get()
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u32) {
        self.sequence.set(sequence);
    }

    /// Sets the flag bits.
    #[inline]
    pub fn set_flags(&mut self, flags: u8) {
        self.flags = flags;
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.checksum.set(checksum);
    }
}

header!(
    /// The part that all ICMP and ICMPv6 messages share.
    Icmp[4] {
        kind: u8,
        code: u8,
        checksum: U16,
    }
);

impl Icmp {
    /// Message type.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Code within the type.
    #[inline]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Checksum field.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.checksum.get()
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.checksum.set(checksum);
    }

    /// The least length of an ICMPv6 message of this type (RFC 4443, RFC 4861); what is shorter is malformed.
    #[inline]
    pub fn least_length_v6(&self) -> usize {
        match self.kind {
            1..=4 | 128 | 129 | 133 => 8,
            134 => 16,
            135 | 136 => 24,
            137 => 40,
            _ => Icmp::LEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_reads_and_writes_the_same_bytes() {
        let bytes = [0xcf, 0x09, 0x19, 0xeb, 0, 0x30, 0x12, 0x34, 0xee];
        let (udp, rest) = Udp::parse(&bytes).unwrap();
        assert_eq!((udp.source(), udp.destination()), (53001, port::MPLS_OVER_UDP));
        assert_eq!((udp.length(), udp.checksum(), rest), (48, 0x1234, &[0xee][..]));
        let mut out = [0xa5; 8];
        let mut value = Udp::new(0, port::MPLS_OVER_UDP, 0, 0x1234);
        value.set_source_and_length(53001, 48);
        value.emit(&mut out).unwrap();
        assert_eq!(out, bytes[..8]);
        assert!(Udp::parse(&bytes[..7]).is_none());
    }

    #[test]
    fn tcp_and_icmp_fields_sit_where_the_rfcs_put_them() {
        let bytes =
            [0x9c, 0x48, 0, 0x50, 1, 2, 3, 4, 5, 6, 7, 8, 0x70, 0x12, 0x20, 0, 0x16, 0x3e, 0, 0];
        let (tcp, _) = Tcp::parse(&bytes).unwrap();
        assert_eq!((tcp.source(), tcp.destination()), (40008, 80));
        assert_eq!((tcp.sequence(), tcp.acknowledgment()), (0x0102_0304, 0x0506_0708));
        assert_eq!((tcp.header_length(), tcp.flags(), tcp.checksum()), (28, 0x12, 0x163e));
        assert!(Tcp::parse(&bytes[..19]).is_none());
        let (icmp, _) = Icmp::parse(&[135, 1, 0xab, 0xcd]).unwrap();
        assert_eq!((icmp.kind(), icmp.code(), icmp.checksum()), (135, 1, 0xabcd));
        assert_eq!(icmp.least_length_v6(), 24);
        assert!(Icmp::parse(&[135, 1, 0]).is_none());
    }
}
