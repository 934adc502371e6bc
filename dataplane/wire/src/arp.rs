//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;

use crate::Mac;
use crate::header::header;

/// ARP operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOperation {
    /// Who has.
    Request,
    /// Is at.
    Reply,
}

header!(
    /// An ARP packet for IPv4 over Ethernet. Check [`Arp::operation`] first: it is `None` for anything else.
    Arp[28] {
        hardware: U16,
        protocol: U16,
        hardware_length: u8,
        protocol_length: u8,
        operation: U16,
        sender_mac: [u8; 6],
        sender_ip: [u8; 4],
        target_mac: [u8; 6],
        target_ip: [u8; 4],
    }
);

const ETHERNET: u16 = 1;

impl Arp {
    /// A packet from its variable fields.
    pub fn new(operation: ArpOperation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        let operation = match operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        Arp {
            hardware: U16::new(ETHERNET),
            protocol: U16::new(crate::ethertype::IPV4),
            hardware_length: 6,
            protocol_length: 4,
            operation: U16::new(operation),
            sender_mac: sender.0.0,
            sender_ip: sender.1.octets(),
            target_mac: target.0.0,
            target_ip: target.1.octets(),
        }
    }

    /// What is asked or told; `None` when lengths, types or the operation are not those of IPv4 over Ethernet
    /// (reference dataplane.md section 11: such packets are invalid).
    #[inline]
    pub fn operation(&self) -> Option<ArpOperation> {
        if self.hardware.get() != ETHERNET
            || self.protocol.get() != crate::ethertype::IPV4
            || self.hardware_length != 6
            || self.protocol_length != 4
        {
            return None;
        }
        match self.operation.get() {
            1 => Some(ArpOperation::Request),
            2 => Some(ArpOperation::Reply),
            _ => None,
        }
    }

    /// Who speaks.
    pub fn sender_mac(&self) -> Mac {
        Mac(self.sender_mac)
    }

    /// Who speaks; 0.0.0.0 in a probe (RFC 5227).
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.sender_ip)
    }

    /// Who is spoken to.
    pub fn target_mac(&self) -> Mac {
        Mac(self.target_mac)
    }

    /// Which address is asked for or spoken to.
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.target_ip)
    }

    /// A probe (sender 0.0.0.0) or an announcement (sender is target), RFC 5227.
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == [0; 4] || self.sender_ip == self.target_ip
    }

    /// Turns a request into its reply: "target_ip is at `mac`", told to the sender.
    pub fn answer(&mut self, mac: Mac) {
        *self = Arp::new(
            ArpOperation::Reply,
            (mac, self.target_ip()),
            (self.sender_mac(), self.sender_ip()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 28] =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0xa1, 3, 10, 10, 1, 3, 0, 0, 0, 0, 0, 0, 10, 10, 1, 1];

    #[test]
    fn a_request_reads_writes_and_turns_into_its_reply() {
        let (arp, _) = Arp::parse(&REQUEST).unwrap();
        assert_eq!(arp.operation(), Some(ArpOperation::Request));
        let sender = (arp.sender_mac(), arp.sender_ip());
        assert_eq!(arp.target_ip(), Ipv4Addr::new(10, 10, 1, 1));
        let mut out = [0x5a; 28];
        Arp::new(ArpOperation::Request, sender, (Mac::ZERO, arp.target_ip()))
            .emit(&mut out)
            .unwrap();
        assert_eq!(out, REQUEST);

        let (arp, _) = Arp::parse_mut(&mut out).unwrap();
        arp.answer(Mac::GATEWAY);
        assert_eq!(
            out,
            [
                0, 1, 8, 0, 6, 4, 0, 2, 0, 0, 0x5e, 0, 1, 0, 10, 10, 1, 1, 2, 0, 0, 0, 0xa1, 3, 10,
                10, 1, 3
            ]
        );
    }

    #[test]
    fn odd_lengths_types_and_operations_are_not_ours() {
        for (at, value) in [(1, 6), (3, 1), (4, 7), (5, 16), (7, 9), (7, 0)] {
            let mut bytes = REQUEST;
            bytes[at] = value;
            assert_eq!(Arp::parse(&bytes).unwrap().0.operation(), None, "byte {at}");
        }
        assert!(Arp::parse(&REQUEST[..27]).is_none());
    }

    #[test]
    fn probes_and_announcements_are_gratuitous() {
        let mut bytes = REQUEST;
        assert!(!Arp::parse(&bytes).unwrap().0.is_gratuitous());
        bytes[14..18].fill(0);
        assert!(Arp::parse(&bytes).unwrap().0.is_gratuitous());
        bytes[14..18].copy_from_slice(&[10, 10, 1, 1]);
        assert!(Arp::parse(&bytes).unwrap().0.is_gratuitous());
    }
}
