//! ICMP errors (RFC 792, RFC 1191, RFC 4443): what may be complained about, and the message to its sender.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Ipv4, Ipv6, checksum, protocol};

/// What went wrong with a packet on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Larger than the way it has to take carries: "fragmentation needed" (RFC 1191), "packet too big" (RFC 4443).
    TooBig {
        /// The largest IP packet that would fit, in bytes.
        mtu: u16,
    },
    /// TTL or hop limit ran out.
    TimeExceeded,
}

/// The part in front of the quoted packet.
const HEADER: usize = 8;
/// Of the messages made here.
const TTL: u8 = 64;
/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;

impl IcmpError {
    /// Bytes of the longest message with its IPv4 header (RFC 1812 section 4.3.2.3).
    pub const LONGEST_V4: usize = 576;
    /// Bytes of the longest message with its IPv6 header (RFC 4443 section 2.4 c).
    pub const LONGEST_V6: usize = 1280;

    /// Whether an ICMP message of this type is an error, about which no error is sent (RFC 1122 section 3.2.2).
    pub const fn is_error_v4(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    }

    /// Whether an ICMPv6 message of this type is an error or a redirect (RFC 4443 section 2.4 e).
    pub const fn is_error_v6(kind: u8) -> bool {
        kind < 128 || kind == 137
    }

    /// Writes the whole IPv4 packet to `out`: about `quoted`, of which it carries as much as fits. Its length in bytes;
    /// `None` when `out` is shorter.
    pub fn emit_v4(
        self,
        (from, to): (Ipv4Addr, Ipv4Addr),
        quoted: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let quoted = quoted.get(..Self::LONGEST_V4 - Ipv4::LEN - HEADER).unwrap_or(quoted);
        let length = Ipv4::LEN + HEADER + quoted.len();
        let (ip, message) = out.get_mut(..length)?.split_at_mut_checked(Ipv4::LEN)?;
        let mut header =
            Ipv4::new(from, to, protocol::ICMP, TTL, u16::try_from(length).unwrap_or(0));
        header.set_tos(TOS);
        header.emit(ip)?;
        let (kind, code, rest) = match self {
            IcmpError::TooBig { mtu } => (3, 4, u32::from(mtu)),
            IcmpError::TimeExceeded => (11, 0, 0),
        };
        fill(message, (kind, code, rest), quoted, checksum::Sum::ZERO)?;
        Some(length)
    }

    /// The same for IPv6.
    pub fn emit_v6(
        self,
        (from, to): (Ipv6Addr, Ipv6Addr),
        quoted: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let quoted = quoted.get(..Self::LONGEST_V6 - Ipv6::LEN - HEADER).unwrap_or(quoted);
        let payload = HEADER + quoted.len();
        let length = Ipv6::LEN + payload;
        let (ip, message) = out.get_mut(..length)?.split_at_mut_checked(Ipv6::LEN)?;
        let payload = u16::try_from(payload).unwrap_or(0);
        Ipv6::new(from, to, protocol::ICMPV6, TTL, payload).emit(ip)?;
        let (kind, code, rest) = match self {
            IcmpError::TooBig { mtu } => (2, 0, u32::from(mtu)),
            IcmpError::TimeExceeded => (3, 0, 0),
        };
        let pseudo = checksum::pseudo_v6(from, to, protocol::ICMPV6, u32::from(payload));
        fill(message, (kind, code, rest), quoted, pseudo)?;
        Some(length)
    }
}

/// Header and quoted packet, then the checksum over both and the pseudo header.
fn fill(
    message: &mut [u8],
    (kind, code, rest): (u8, u8, u32),
    quoted: &[u8],
    pseudo: checksum::Sum,
) -> Option<()> {
    let (header, body) = message.split_first_chunk_mut::<HEADER>()?;
    let [a, b, c, d] = rest.to_be_bytes();
    *header = [kind, code, 0, 0, a, b, c, d];
    body.get_mut(..quoted.len())?.copy_from_slice(quoted);
    let sum = pseudo.bytes(message).checksum();
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_needed_says_what_fits_and_quotes_what_was_sent() {
        let (from, to) = (Ipv4Addr::new(10, 10, 1, 1), Ipv4Addr::new(10, 10, 1, 3));
        let quoted: Vec<u8> = (0..1500u16).map(|i| (i % 251) as u8).collect();
        let mut out = [0xa5; 1500];
        let length =
            IcmpError::TooBig { mtu: 1468 }.emit_v4((from, to), &quoted, &mut out).unwrap();
        assert_eq!(length, 576);
        let (ip, message) = Ipv4::parse(&out[..length]).unwrap();
        assert_eq!((ip.source(), ip.destination(), ip.total_length()), (from, to, 576));
        assert_eq!((ip.tos(), ip.ttl(), ip.protocol()), (0xc0, 64, protocol::ICMP));
        assert_eq!(checksum::Sum::ZERO.bytes(&out[..20]).folded(), 0xffff);
        assert_eq!(checksum::Sum::ZERO.bytes(message).folded(), 0xffff);
        assert_eq!((&message[..2], &message[4..8]), (&[3, 4][..], &[0, 0, 0x05, 0xbc][..]));
        assert_eq!(message[8..], quoted[..548]);
        assert!(IcmpError::TimeExceeded.emit_v4((from, to), &quoted, &mut out[..575]).is_none());
    }

    #[test]
    fn the_ipv6_messages_have_their_types_and_the_pseudo_header_in_their_sum() {
        let [from, to]: [Ipv6Addr; 2] =
            ["2001:db8:a:1::1", "2001:db8:a:1::3"].map(|text| text.parse().unwrap());
        let mut out = [0xa5; 1500];
        for (error, kind, rest, quoted, expected) in [
            (IcmpError::TooBig { mtu: 1468 }, 2, [0, 0, 0x05, 0xbc], 1500, 1280),
            (IcmpError::TimeExceeded, 3, [0; 4], 61, 109),
        ] {
            let length = error.emit_v6((from, to), &[0x77; 1500][..quoted], &mut out).unwrap();
            assert_eq!(length, expected);
            let (ip, message) = Ipv6::parse(&out[..length]).unwrap();
            assert_eq!((ip.source(), ip.destination(), ip.next_header()), (from, to, 58));
            assert_eq!(usize::from(ip.payload_length()), message.len());
            assert_eq!((&message[..2], &message[4..8]), (&[kind, 0][..], &rest[..]));
            let pseudo = checksum::pseudo_v6(from, to, 58, u32::from(ip.payload_length()));
            assert_eq!(pseudo.bytes(message).folded(), 0xffff);
        }
    }

    #[test]
    fn errors_are_told_from_questions() {
        for kind in [3, 4, 5, 11, 12] {
            assert!(IcmpError::is_error_v4(kind));
        }
        assert!(!IcmpError::is_error_v4(8) && !IcmpError::is_error_v4(0));
        assert!(IcmpError::is_error_v6(1) && IcmpError::is_error_v6(127));
        assert!(IcmpError::is_error_v6(137) && !IcmpError::is_error_v6(128));
    }
}
