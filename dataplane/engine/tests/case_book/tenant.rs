//! Captures from a tenant: routed and flooded packets, fragments, checksums.

use Expect::{All, Each, Own};
use Is::*;

use tables::DropReason::{ClonedOriginal, InvalidPacket, McastDfBit, TtlExceeded};
use tables::{Object, SubInterface, Vif, VifId, VifKind};
use wire::Mac;

use crate::judge::{frame_of, judge};
use crate::row::{Expect, Is, Row, by_mac, readdress};
use crate::site::*;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::tenant(
            "cv-ip-unicast-in-mcast-mac",
            All(Flooded),
            "the MAC decides: flooded, not routed",
        ),
        Row::tenant(
            "cv-tenant-jumbo-9042",
            Own(whole_or_counted),
            "forwarded whole, in fragments, or counted; never cut",
        ),
        Row::tenant("sv-6in6-inner-version-4", All(Routed), "routed by the outer header alone"),
        Row::tenant("pp-tcp-bad-offset", All(Routed), "routed; no option is read past the end"),
        Row::tenant(
            "pp-ethernet-trailers",
            Each(&[Flooded, Flooded, Trap(2), Routed]),
            "padding goes no further than the frame's own network",
        ),
        Row::tenant("td-v6-rh0", All(Routed), "a routing header is not acted upon"),
        Row::tenant("zk-v4-frag-tcp-syn", All(Routed), "routed; the cut options are not touched"),
        Row::tenant(
            "pp-v4-frag-nfs",
            Own(reassembled),
            "fragments too big for the tunnel are cut again, nothing lost",
        ),
        Row::tenant(
            "pp-v4-frag-vlan-padding",
            Own(flooded_as_far_as_it_fits),
            "padding ignored, whatever the order; too big for the tunnel with DF",
        ),
        Row::tenant(
            "zk-v6-atomic-fragments",
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    // One was captured before its sender's card finished the sum, one has an MSS that is too large.
                    let is = if number == 2 || number == 6 { Finished } else { by_mac(packet) };
                    judge(site, VIF3, number + 1, packet, is);
                }
            }),
            "whole packets",
        ),
        Row::tenant(
            "pp-v6-fragments",
            Own(too_big),
            "each judged by itself: too big is told, the rest is routed",
        ),
        Row::tenant(
            "sv-v6-evasion-frag-1",
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    // A later piece with hop limit 1: nobody is told about one.
                    let is = if number == 5 { Drop(TtlExceeded) } else { by_mac(packet) };
                    judge(site, VIF3, number + 1, packet, is);
                }
            }),
            "pieces forwarded as they are, the dying one counted; verdict of the head: `flow_cases`",
        ),
        Row::tenant(
            "sv-v6-evasion-frag-25",
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    let is = if number == 7 { Drop(InvalidPacket) } else { by_mac(packet) };
                    judge(site, VIF3, number + 1, packet, is);
                }
            }),
            "a TCP header of 8 bytes: Invalid Packets",
        ),
        at_home("zk-ip4-bad-sum", All(Routed), "a wrong header sum stays wrong"),
        at_home("zk-ip4-udp-bad-sum", All(Routed), "a wrong UDP sum stays as it is"),
        Row::tenant("zk-ip6-icmp6-bad-sum", All(Routed), "a wrong ICMPv6 sum stays as it is").with(
            |_, packets| {
                packets.iter_mut().for_each(|packet| packet[..6].copy_from_slice(&Mac::GATEWAY.0));
            },
        ),
        Row::tenant(
            "zk-partial-sums-loopback",
            Each(&[
                Finished, Routed, Finished, Finished, Routed, Routed, Finished, Finished, Routed,
                Finished,
            ]),
            "unfinished sums are finished, finished ones stay",
        ),
        Row::tenant("zk-syn-rst", All(Routed), "routed; the flow pair: `flow_cases`"),
        Row::tenant("sv-sctp", All(Routed), "routed; the flow key: `flow_cases`"),
        Row::tenant("td-bfd-auth", All(Routed), "routed as any UDP"),
        Row::tenant(
            "zk-qinq",
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    judge(site, VIF3, number + 1, packet, Flooded);
                }
                // The outer tag selects a sub-interface, whatever the inner one is.
                let outer = u16::from_be_bytes([packets[0][14], packets[0][15]]) & 0xfff;
                let sub = SubInterface {
                    parent: VIF3,
                    rx_vlan: outer,
                    tx_vlan: outer,
                    stations: Vec::new(),
                };
                let vif = Vif { vrf: RED, ..Vif::new(VifId(60), "sub", VifKind::VirtualVlan) };
                site.put([Object::Vif(Vif { sub: Some(sub), ..vif })]);
                for packet in packets {
                    let outcome = site.exchange(&[(VIF3, packet)]);
                    let inner = [&packet[..12], &packet[16..]].concat();
                    assert_eq!(outcome.on(VIF4), [inner], "{:?}", outcome.drops);
                }
                assert_eq!(site.counters.vif(VifId(60)).rx_packets, packets.len() as u64);
            }),
            "both tags kept, in order; the outer one selects a sub-interface",
        ),
        Row::tenant(
            "sv-three-vlans",
            Each(&[Routed, Flooded]),
            "bounded; only the outer tag counts",
        ),
        Row::tenant("td-vrrp", All(Flooded), "flooded; a VRRP MAC is not the gateway's"),
        Row::tenant("pp-vrrp3-v6", All(Flooded), "flooded"),
        Row::tenant(
            "td-igmpv3-queries",
            All(Flooded),
            "flooded while the agent does not want them",
        ),
    ]
}

/// A capture of a loopback: from the bench's workload to the remote one.
fn at_home(capture: &'static str, expect: Expect, verdict: &'static str) -> Row {
    Row::tenant(capture, expect, verdict).with(|_, packets| {
        for packet in packets {
            packet[..6].copy_from_slice(&Mac::GATEWAY.0);
            let mut addresses = [0; 8];
            addresses[..4].copy_from_slice(&tenant(3).octets());
            addresses[4..].copy_from_slice(&tenant(9).octets());
            readdress(packet, addresses);
        }
    })
}

fn whole_or_counted(site: &mut Site, packets: &[Vec<u8>]) {
    for packet in packets {
        let outcome = site.exchange(&[(VIF3, packet)]);
        let payload: usize = outcome.on(FABRIC).iter().map(|sent| sent.len() - 46 - 20).sum();
        let whole = packet.len() - 14 - 20;
        assert!(payload == whole || outcome.drops.total() == 1 && payload == 0, "{outcome:?}");
    }
}

fn reassembled(site: &mut Site, packets: &[Vec<u8>]) {
    for packet in packets {
        let outcome = site.exchange(&[(VIF3, packet)]);
        let mut payload: Vec<u8> = Vec::new();
        for sent in outcome.on(FABRIC) {
            assert!(sent.len() <= 1514);
            payload.extend(&sent[46 + 20..]);
        }
        assert_eq!(payload, packet[34..]);
    }
}

/// The head comes last: all wait for it and follow it in their order. Those with DF that do not fit the tunnel in one
/// piece stay here; what fits goes everywhere.
fn flooded_as_far_as_it_fits(site: &mut Site, packets: &[Vec<u8>]) {
    let Some((head, later)) = packets.split_last() else { panic!("no packets") };
    for (number, packet) in later.iter().enumerate() {
        let outcome = site.exchange(&[(VIF3, packet)]);
        assert_eq!((outcome.count(), outcome.drops.total()), (0, 0));
        assert_eq!(site.counters.held(), number as u64 + 1);
    }
    let outcome = site.exchange(&[(VIF3, head)]);
    let whole: Vec<&[u8]> =
        std::iter::once(head).chain(later).map(|frame| frame_of(frame)).collect();
    assert_eq!(outcome.on(VIF4), whole);
    let fit: Vec<&[u8]> = whole.iter().copied().filter(|frame| frame.len() + 36 <= 1500).collect();
    let sent: Vec<&[u8]> = outcome.on(FABRIC).iter().map(|frame| &frame[50..]).collect();
    assert_eq!(sent, fit);
    let (all, large) = (whole.len() as u64, (whole.len() - fit.len()) as u64);
    outcome.expect_drops(&[(McastDfBit, large), (ClonedOriginal, all)]);
}

fn too_big(site: &mut Site, packets: &[Vec<u8>]) {
    for (number, packet) in packets.iter().enumerate() {
        if packet.len() - 14 <= 1468 {
            judge(site, VIF3, number + 1, packet, Routed);
            continue;
        }
        let outcome = site.exchange(&[(VIF3, packet)]);
        let [told] = outcome.on(VIF3) else { panic!("{outcome:?}") };
        assert_eq!(told[14 + 40..14 + 42], [2, 0], "packet too big");
        assert_eq!(told[14 + 44..14 + 48], 1468u32.to_be_bytes());
        assert_eq!(told[14 + 24..14 + 40], packet[14 + 8..14 + 24], "to the sender");
        assert!(outcome.on(FABRIC).is_empty());
    }
}
