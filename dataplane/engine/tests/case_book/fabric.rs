//! Captures from the fabric: tunnels, and what only looks like one.

use Expect::{All, Each, Own};
use Is::*;
use tables::{DropReason, Key, Op, Owner, VrfId};
use wire::{Label, Mac, Vni};

use crate::judge::judge;
use crate::row::{Expect, Is, Row, address_to_node};
use crate::site::*;

const UDP: usize = 14 + 20 + 8 + 4;
const GRE: usize = 14 + 20 + 4 + 4;
const VXLAN: usize = 14 + 20 + 8 + 8;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = tunnels();
    rows.extend(others());
    rows
}

fn tunnels() -> Vec<Row> {
    vec![
        vxlan_row(
            "td-vxlan-vni100",
            Own(vni_100),
            "bridged by the inner MAC, ARP flooded; unknown VNI: Invalid VNID",
        ),
        Row::fabric(
            "td-mpls-over-udp",
            Own(labels_21_and_46),
            "to the labels' workloads; unknown label: Invalid Label",
        ),
        Row::fabric(
            "cv-mplsogre-label48",
            All(Ip(GRE, VIF3)),
            "delivered, no GRE option bytes skipped",
        ),
        Row::fabric("cv-mplsoudp-6635-label48", All(Ip(UDP, VIF3)), "delivered"),
        Row::fabric(
            "cv-mplsoudp-51234-label48",
            All(Ip(UDP, VIF3)),
            "delivered from the old port too",
        ),
        Row::fabric(
            "cv-vxlan-no-inner-ethernet",
            All(Drop(DropReason::L2NoRoute)),
            "junk as a frame: No L2 Route, never routed",
        )
        .with(|site, packets| {
            packets.iter_mut().for_each(|packet| address_to_node(packet));
            // A network without a tree: the first byte of an IPv4 header makes a group of it.
            let translate = tables::NextHopKind::Translate(VrfId(7));
            site.put([nh(107, tables::NhFamily::Bridge, VrfId(7), translate), vni(48, 107)]);
        }),
        vxlan_row(
            "zk-vxlan-vni123",
            Own(|site, packets| {
                judge(site, FABRIC, 1, &packets[0], FloodedIn(VXLAN));
                for (number, packet) in packets.iter().enumerate().skip(1) {
                    judge(site, FABRIC, number + 1, packet, Frame(VXLAN, VIF3));
                }
            }),
            "ARP flooded, the rest bridged",
        ),
        vxlan_row(
            "zk-vxlan-inner-bad-tcp-sum",
            All(Frame(VXLAN, VIF3)),
            "a wrong inner sum is neither judged nor repaired",
        ),
        vxlan_row(
            "zk-vxlan-in-vxlan-in-vxlan",
            All(Frame(VXLAN, VIF3)),
            "one layer taken off, the rest is payload",
        ),
        vxlan_row("zk-vxlan-igmpv2", All(FloodedIn(VXLAN)), "flooded in the network"),
        vxlan_row(
            "sv-vxlan-reserved-bits-set",
            All(Trap(16)),
            "all flags set: the router alert counts, to the agent; other reserved bits do not",
        ),
        vxlan_row(
            "sv-vxlan-arp",
            Each(&[FloodedIn(VXLAN), Frame(VXLAN, VIF3)]),
            "an address that lives elsewhere: flooded, never answered",
        ),
        vxlan_row(
            "pp-vxlan-vni3000001-gbp",
            All(Frame(VXLAN, VIF3)),
            "24 bits of VNI, the policy flag ignored",
        ),
    ]
}

fn vxlan_row(capture: &'static str, expect: Expect, verdict: &'static str) -> Row {
    Row::fabric(capture, expect, verdict).with(|site, packets| {
        packets.iter_mut().for_each(|packet| address_to_node(packet));
        host_stations(site, packets);
    })
}

/// Makes the stations that VXLAN frames are for workloads of this node.
fn host_stations(site: &mut Site, packets: &[Vec<u8>]) {
    for packet in packets {
        if let Some(mac) = packet.get(50..56)
            && mac[0] & 1 == 0
        {
            site.put([bridge(RED, Mac(mac.try_into().unwrap()), 30, None)]);
        }
    }
}

fn vni_100(site: &mut Site, packets: &[Vec<u8>]) {
    for (number, packet) in packets.iter().enumerate() {
        let is = if packet[VXLAN] == 0xff { FloodedIn(VXLAN) } else { Frame(VXLAN, VIF3) };
        judge(site, FABRIC, number + 1, packet, is);
    }
    site.apply([Op::Delete(Key::Vni(Vni::try_from(100).unwrap()))], Owner::Agent);
    for packet in packets {
        judge(site, FABRIC, 0, packet, Drop(DropReason::InvalidVnid));
    }
}

fn labels_21_and_46(site: &mut Site, packets: &[Vec<u8>]) {
    judge(site, FABRIC, 1, &packets[0], Ip(UDP, VIF4));
    judge(site, FABRIC, 2, &packets[1], Ip(UDP, VIF3));
    site.apply(
        [21, 46].map(|label| Op::Delete(Key::Label(Label::try_from(label).unwrap()))),
        Owner::Agent,
    );
    for packet in packets {
        judge(site, FABRIC, 0, packet, Drop(DropReason::InvalidLabel));
    }
}

fn others() -> Vec<Row> {
    let not_ours = All(Drop(DropReason::InterfaceDrop));
    let unparsed = || All(Drop(DropReason::InterfaceDrop));
    vec![
        Row::fabric("pp-mpls-stacks", not_ours, "MPLS without IP is no tunnel: IF Drop"),
        Row::fabric(
            "pp-gre-variants",
            Each(&[Host, Host, Host, Host, Host, Drop(DropReason::InterfaceDrop), Host]),
            "other GRE is the host's, unmodified; tagged IPv6 in it is not ours",
        ),
        Row::fabric("zk-gre-in-gre", All(Host), "not MPLS: the host's, no loop"),
        Row::fabric("zk-gre-in-udp-4754", All(Host), "not our port: the host's"),
        Row::fabric("zk-erspan2", All(Host), "a sequence number is not ours: the host's"),
        Row::fabric("sv-gre-ipv4-in-vlan", unparsed(), "tagged and broadcast: IF Drop"),
        Row::fabric("sv-gre-arp", All(Host), "untagged: the host's, not for the ARP responder")
            .with(|_, packets| {
                for packet in packets {
                    packet.drain(12..16);
                    packet[0] = 2;
                    address_to_node(packet);
                }
            }),
        Row::fabric("td-geneve", All(Host), "the host's"),
        Row::fabric("td-vxlan-gpe-nsh", All(Host), "the host's"),
        Row::fabric(
            "zk-mpls-in-vlan",
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    judge(site, FABRIC, number + 1, packet, Drop(DropReason::InterfaceDrop));
                }
                let mut tagged = mpls_over_udp(20, 64, &ping(MAC9, 9, 3)[14..]);
                tagged.splice(12..12, [0x81, 0, 0xa0, 0]);
                judge(site, FABRIC, 0, &tagged, Ip(UDP + 4, VIF3));
            }),
            "raw MPLS and other VLANs: IF Drop; a priority tag is no tag",
        ),
        Row::fabric("zk-mixed-vlan-mpls", unparsed(), "raw MPLS and tags: IF Drop"),
        Row::fabric("sv-mpls-20-nested-pseudowires", unparsed(), "not unpacked: IF Drop"),
        Row::fabric("zk-6in4", All(Host), "protocol 41 is the host's"),
        Row::fabric("zk-mpls-6in6-bad-version", unparsed(), "not unpacked: IF Drop"),
        Row::fabric("pp-mpls-bad-fragment", unparsed(), "raw MPLS: IF Drop"),
        Row::fabric(
            "td-lacp",
            unparsed(),
            "slow protocols are the kernel's: never routed or flooded",
        ),
        tunnelled_row(
            "zk-v4-frag-tiny-head",
            All(Ip(UDP, VIF3)),
            "a head of few bytes and its followers delivered; flow key: `flow_cases`",
        ),
        tunnelled_row(
            "zk-v4-frag-overlap",
            All(Ip(UDP, VIF3)),
            "overlapping pieces delivered as they are",
        ),
        tunnelled_row(
            "zk-icmp6-too-big",
            All(Ip(UDP, VIF3)),
            "delivered; matched to its flow: `flow_cases`",
        ),
        tunnelled_row(
            "zk-icmp6-unreach-ext-cut",
            All(Ip(UDP, VIF3)),
            "no over-read; ICMP errors: `flow_cases`",
        ),
        tunnelled_row(
            "zk-icmp-unreach-no-context",
            All(Ip(UDP, VIF3)),
            "no over-read; ICMP errors: `flow_cases`",
        ),
        tunnelled_row(
            "sv-v6-ptb-1200",
            All(Ip(UDP, VIF3)),
            "delivered to the sender; no MTU of ours follows it",
        ),
    ]
}

/// A capture of plain packets, put under label 20.
fn tunnelled_row(capture: &'static str, expect: Expect, verdict: &'static str) -> Row {
    Row::fabric(capture, expect, verdict).with(|_, packets| {
        for packet in packets {
            *packet = mpls_over_udp(20, 64, &packet[14..]);
        }
    })
}
