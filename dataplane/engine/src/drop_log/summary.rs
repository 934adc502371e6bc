//! What a logged packet was, as far as its kept bytes tell.

use std::net::IpAddr;

use wire::{Ipv4, Ipv6, ethernet_payload, ethertype, ipv6_payload, protocol};

use super::LoggedDrop;

/// A logged packet in a few words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropSummary {
    /// What lies behind its Ethernet header; `None` when that was not kept whole.
    pub ethertype: Option<u16>,
    /// Source and destination of an IP packet.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// IP protocol of an IP packet that is behind no other, 0 without.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP and SCTP; 0 without.
    pub ports: (u16, u16),
}

/// SCTP (RFC 9260): its ports are where those of UDP are.
const SCTP: u8 = 132;

impl LoggedDrop {
    /// Looks at the kept bytes. For the control thread.
    pub fn summary(&self) -> DropSummary {
        let mut summary = DropSummary::default();
        let Some(payload) = ethernet_payload(&self.bytes) else { return summary };
        summary.ethertype = Some(payload.ethertype);
        let packet = self.bytes.get(payload.offset..).unwrap_or_default();
        let transport = match payload.ethertype {
            ethertype::IPV4 => summary.inet(packet),
            ethertype::IPV6 => summary.inet6(packet),
            _ => None,
        };
        let ports = transport.and_then(|at| packet.get(at..)?.first_chunk::<4>().copied());
        if let (protocol::TCP | protocol::UDP | SCTP, Some([a, b, c, d])) =
            (summary.protocol, ports)
        {
            summary.ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        }
        summary
    }
}

impl DropSummary {
    /// Gives where the transport header is.
    fn inet(&mut self, packet: &[u8]) -> Option<usize> {
        let (header, _) = Ipv4::parse(packet)?;
        self.addresses = Some((header.source().into(), header.destination().into()));
        self.protocol = header.protocol();
        (header.fragment_offset() == 0).then(|| header.header_length())
    }

    fn inet6(&mut self, packet: &[u8]) -> Option<usize> {
        let (header, _) = Ipv6::parse(packet)?;
        self.addresses = Some((header.source().into(), header.destination().into()));
        let payload = ipv6_payload(packet)?;
        self.protocol = payload.protocol;
        payload.fragment.is_none_or(|fragment| fragment.offset == 0).then_some(payload.offset)
    }
}

#[cfg(test)]
mod tests {
    use tables::{DropReason, Generation, NhId, VifId, VrfId};

    use super::*;
    use crate::worker::Tick;

    fn logged(bytes: &[u8]) -> LoggedDrop {
        LoggedDrop {
            number: 0,
            at: Tick(0),
            generation: Generation(1),
            reason: DropReason::Discard,
            vif: VifId(3),
            vrf: VrfId(1),
            next_hop: NhId(0),
            length: 0,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_udp_packet_is_told_by_addresses_and_ports() {
        let frame = [
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..],
            &[0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 1, 1, 3, 10, 1, 1, 4],
            &[0x03, 0xe8, 0, 80, 0, 8, 0, 0],
        ]
        .concat();
        let summary = logged(&frame).summary();
        let addresses = ("10.1.1.3".parse().unwrap(), "10.1.1.4".parse().unwrap());
        assert_eq!(summary.addresses, Some(addresses));
        assert_eq!(
            (summary.ethertype, summary.protocol, summary.ports),
            (Some(0x800), 17, (1000, 80))
        );
    }

    #[test]
    fn what_was_not_kept_is_not_guessed() {
        let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 2, 8, 6], &[0; 28]].concat();
        assert_eq!(logged(&arp).summary().ethertype, Some(0x806));
        for length in 0..arp.len() {
            let summary = logged(&arp[..length]).summary();
            assert_eq!(summary.ethertype.is_some(), length >= 14);
            assert_eq!(summary.addresses, None);
        }
    }
}
