//! What a row of the case book says, and how it is run.

use tables::{DropReason, VifId};

use crate::judge::judge;
use crate::site::*;

/// What becomes of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Is {
    /// Dropped, counted once under this reason; nothing comes out.
    Drop(DropReason),
    /// Comes out of the host's interface as it was put in.
    Host,
    /// Comes out of the agent's interface, as it was put in, behind the header with this command (section 19).
    Trap(u16),
    /// The frame at this offset is delivered to this workload as it was.
    Frame(usize, VifId),
    /// The IP packet at this offset is delivered to this workload behind the next hop's Ethernet header.
    Ip(usize, VifId),
    /// Routed to the remote node: MPLSoUDP, one hop less, otherwise as it was.
    Routed,
    /// The same, from a sender that left the transport checksum unfinished: it is right.
    Finished,
    /// To every other member of the broadcast tree: the other workload and the remote node.
    Flooded,
    /// The frame at this offset goes to both workloads, and not back into the fabric.
    FloodedIn(usize),
    /// Not taken for a question or for news: whatever becomes of it, nothing comes back.
    Ignored,
}

/// What is expected of a capture.
pub(crate) enum Expect {
    /// The same of every packet.
    All(Is),
    /// Of each packet in turn.
    Each(&'static [Is]),
    /// A test of its own.
    Own(fn(&mut Site, &[Vec<u8>])),
}

/// A capture and its verdict.
pub(crate) struct Row {
    /// Name of the file, without its ending.
    pub capture: &'static str,
    /// Where the packets come in.
    pub from: VifId,
    /// What becomes of them.
    pub expect: Expect,
    /// The same in words.
    pub verdict: &'static str,
    /// Makes the packets and the site fit each other.
    prepare: fn(&mut Site, &mut Vec<Vec<u8>>),
}

impl Row {
    /// A capture from the fabric: addressed to this node.
    pub(crate) fn fabric(capture: &'static str, expect: Expect, verdict: &'static str) -> Row {
        let prepare = |_: &mut Site, packets: &mut Vec<Vec<u8>>| {
            packets.iter_mut().for_each(|packet| address_to_node(packet));
        };
        Row { capture, from: FABRIC, expect, verdict, prepare }
    }

    /// A capture from a tenant: what is for one station goes to the gateway.
    pub(crate) fn tenant(capture: &'static str, expect: Expect, verdict: &'static str) -> Row {
        let prepare = |_: &mut Site, packets: &mut Vec<Vec<u8>>| {
            packets.iter_mut().for_each(|packet| address_to_gateway(packet));
        };
        Row { capture, from: VIF3, expect, verdict, prepare }
    }

    /// A capture that was made for the bench: put in as it is.
    pub(crate) fn made(
        capture: &'static str,
        from: VifId,
        expect: Expect,
        verdict: &'static str,
    ) -> Row {
        Row { capture, from, expect, verdict, prepare: |_, _| {} }
    }

    /// Something else to make packets and site fit each other, after what is always done.
    pub(crate) fn with(self, prepare: fn(&mut Site, &mut Vec<Vec<u8>>)) -> Row {
        Row { prepare, ..self }
    }

    /// One worker, then two.
    pub(crate) fn run(&self, packets: &[Vec<u8>]) {
        each(|site| {
            let packets = self.prepared(site, packets);
            match &self.expect {
                Expect::Own(test) => test(site, &packets),
                Expect::All(is) => {
                    for (number, packet) in packets.iter().enumerate() {
                        judge(site, self.from, number + 1, packet, *is);
                    }
                }
                Expect::Each(list) => {
                    assert_eq!(list.len(), packets.len(), "a verdict for each packet");
                    for (number, (packet, is)) in packets.iter().zip(*list).enumerate() {
                        judge(site, self.from, number + 1, packet, *is);
                    }
                }
            }
            site.still_forwards();
        });
    }

    /// Prints what becomes of the packets, to write a row by.
    pub(crate) fn show(&self, packets: &[Vec<u8>]) {
        let mut site = Site::new(1);
        let packets = self.prepared(&mut site, packets);
        for (number, packet) in packets.iter().enumerate() {
            let outcome = site.exchange(&[(self.from, packet)]);
            let drops: Vec<_> =
                DropReason::ALL.iter().filter(|reason| outcome.drops.get(**reason) != 0).collect();
            let sent: Vec<_> = outcome
                .sent
                .iter()
                .flat_map(|(vif, packets)| packets.iter().map(move |packet| (vif.0, packet.len())))
                .collect();
            println!(
                "{} {}: {} bytes: drops {drops:?} sent {sent:?}",
                self.capture,
                number + 1,
                packet.len()
            );
        }
        site.close();
    }

    fn prepared(&self, site: &mut Site, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut packets = packets.to_vec();
        crate::bench::furnish(site);
        (self.prepare)(site, &mut packets);
        packets
    }
}

/// By where the MAC says it goes: routed, or flooded. Neighbour discovery that reaches the gateway is the gateway's.
pub(crate) fn by_mac(packet: &[u8]) -> Is {
    if packet[0] & 1 != 0 {
        return Is::Flooded;
    }
    let discovery = packet[12..14] == [0x86, 0xdd] && packet[20] == 58;
    if discovery && (133..=137).contains(&packet[54]) { Is::Ignored } else { Is::Routed }
}

/// To the uplink's MAC and 192.0.2.1, from 192.0.2.2, with the header checksum kept as right or wrong as it was.
pub(crate) fn address_to_node(packet: &mut [u8]) {
    if packet.len() >= 14 && packet[0] & 1 == 0 {
        packet[..6].copy_from_slice(&UPLINK_MAC.0);
    }
    if packet.len() >= 34 && packet[12..15] == [8, 0, 0x45] {
        let mut addresses = [0; 8];
        addresses[..4].copy_from_slice(&endpoint(2).octets());
        addresses[4..].copy_from_slice(&endpoint(1).octets());
        readdress(packet, addresses);
    }
}

/// Replaces source and destination of an untagged IPv4 packet and updates the header checksum (RFC 1624).
pub(crate) fn readdress(packet: &mut [u8], addresses: [u8; 8]) {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum()
    };
    let sum = !u16::from_be_bytes([packet[24], packet[25]]);
    let removed: u32 =
        packet[26..34].chunks_exact(2).map(|w| u32::from(!u16::from_be_bytes([w[0], w[1]]))).sum();
    let mut folded = u32::from(sum) + removed + words(&addresses);
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    packet[24..26].copy_from_slice(&(!folded).to_be_bytes()[2..]);
    packet[26..34].copy_from_slice(&addresses);
}

/// A frame to one station goes to the gateway's MAC, so that it is routed.
pub(crate) fn address_to_gateway(packet: &mut [u8]) {
    if packet.len() >= 6 && packet[0] & 1 == 0 {
        packet[..6].copy_from_slice(&wire::Mac::GATEWAY.0);
    }
}
