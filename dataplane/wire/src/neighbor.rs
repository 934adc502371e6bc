//! IPv6 neighbour discovery (RFC 4861), and the numbers of ICMPv6 messages that are more than payload.

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};

use crate::Mac;
use crate::header::header;

/// ICMPv6 message types and neighbour discovery options.
pub mod icmp6 {
    use super::Mac;

    /// Multicast listener query.
    pub const LISTENER_QUERY: u8 = 130;
    /// Multicast listener report, version 1.
    pub const LISTENER_REPORT: u8 = 131;
    /// Multicast listener done.
    pub const LISTENER_DONE: u8 = 132;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report, version 2.
    pub const LISTENER_REPORT_2: u8 = 143;

    /// Option: the sender's link-layer address.
    pub const SOURCE_LINK_LAYER: u8 = 1;
    /// Option: the target's link-layer address.
    pub const TARGET_LINK_LAYER: u8 = 2;

    /// The options do not add up: one has length 0 or runs past the end (RFC 4861 section 4.6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BrokenOptions;

    /// The link-layer address in the first option of this kind, if there is one.
    ///
    /// # Errors
    /// [`BrokenOptions`], also behind that option; the walk ends there.
    pub fn link_layer_address(mut options: &[u8], kind: u8) -> Result<Option<Mac>, BrokenOptions> {
        let mut found = None;
        while let [option, units, ..] = *options {
            let length = usize::from(units) * 8;
            let (this, rest) = match options.split_at_checked(length) {
                Some(split) if length != 0 => split,
                _ => return Err(BrokenOptions),
            };
            if option == kind && found.is_none() {
                found = this.get(2..).and_then(<[u8]>::first_chunk).map(|mac| Mac(*mac));
            }
            options = rest;
        }
        if options.is_empty() { Ok(found) } else { Err(BrokenOptions) }
    }

    /// An option with an Ethernet address.
    pub fn link_layer_option(kind: u8, Mac([a, b, c, d, e, f]): Mac) -> [u8; 8] {
        [kind, 1, a, b, c, d, e, f]
    }
}

const ROUTER: u32 = 1 << 31;
const SOLICITED: u32 = 1 << 30;
const OVERRIDE: u32 = 1 << 29;

header!(
    /// A neighbour solicitation or advertisement, in front of its options (RFC 4861 sections 4.3 and 4.4).
    NeighborMessage[24] {
        kind: u8,
        code: u8,
        checksum: U16,
        flags: U32,
        target: [u8; 16],
    }
);

impl NeighborMessage {
    /// An advertisement that was asked for and overrides what was known, checksum 0. `router`: the sender is one.
    pub fn advertisement(target: Ipv6Addr, router: bool) -> Self {
        let router = if router { ROUTER } else { 0 };
        NeighborMessage {
            kind: icmp6::NEIGHBOR_ADVERTISEMENT,
            code: 0,
            checksum: U16::ZERO,
            flags: U32::new(router | SOLICITED | OVERRIDE),
            target: target.octets(),
        }
    }

    /// The message type.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The code; 0 in valid messages.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The address asked for or told of.
    pub fn target(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_writes_the_bytes_of_the_rfc() {
        let target: Ipv6Addr = "fe80::1".parse().unwrap();
        let mut out = [0xa5; 24];
        NeighborMessage::advertisement(target, true).emit(&mut out).unwrap();
        assert_eq!(out[..8], [136, 0, 0, 0, 0xe0, 0, 0, 0]);
        assert_eq!(out[8..], target.octets());
        NeighborMessage::advertisement(target, false).emit(&mut out).unwrap();
        assert_eq!(out[4], 0x60);
        let (read, rest) = NeighborMessage::parse(&out).unwrap();
        assert_eq!((read.kind(), read.code(), read.target(), rest), (136, 0, target, &[][..]));
        assert!(NeighborMessage::parse(&out[..23]).is_none());
    }

    #[test]
    fn an_address_is_found_among_other_options() {
        let mac = Mac([2, 0, 0, 0, 0xa1, 3]);
        let wanted = icmp6::link_layer_option(icmp6::SOURCE_LINK_LAYER, mac);
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        let find = |options: &[u8]| icmp6::link_layer_address(options, icmp6::SOURCE_LINK_LAYER);
        assert_eq!(find(&[nonce, wanted].concat()), Ok(Some(mac)));
        assert_eq!(find(&nonce), Ok(None));
        assert_eq!(find(&[]), Ok(None));
    }

    #[test]
    fn an_option_of_length_0_or_past_the_end_ends_the_walk() {
        let mac = Mac([2, 0, 0, 0, 0xa1, 3]);
        let wanted = icmp6::link_layer_option(icmp6::SOURCE_LINK_LAYER, mac);
        for broken in
            [&[1, 0, 2, 0, 0, 0, 0xa1, 3][..], &[1, 2, 0, 0, 0, 0, 0, 0], &[1], &[14, 1, 0]]
        {
            let broken = icmp6::link_layer_address(&[&wanted, broken].concat(), 1);
            assert_eq!(broken, Err(icmp6::BrokenOptions));
        }
    }
}
