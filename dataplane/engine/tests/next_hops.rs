//! Next hops beside the plain ones, and tunnels over IPv6, with one worker and with two.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use site::*;
use tables::{
    Adjacency, CompositeKind, DropReason, NextHopKind, NhFamily, NhFlags, Object, Op, Owner,
    Rewrite, TunnelEncap, Uplink, VifFlags, VifId, VifKind, VrfId,
};
use wire::{Label, Mac};

const UPLINK2: VifId = VifId(2);
const NEIGHBOR2: Mac = Mac([2, 0, 0, 0, 0xf0, 0x22]);

fn to(id: u32, far: u8, encap: TunnelEncap, rewrite: Rewrite) -> Object {
    let kind = NextHopKind::Tunnel {
        source: IpAddr::V4(endpoint(1)),
        destination: IpAddr::V4(endpoint(far)),
        encap,
        rewrite,
    };
    nh(id, NhFamily::Inet, RED, kind)
}

fn ethernet(neighbor: Mac) -> Vec<u8> {
    [&neighbor.0[..], &UPLINK_MAC.0, &[8, 0]].concat()
}

fn uplink(vif: VifId, neighbor: Mac) -> Option<Uplink> {
    Some(Uplink { vif, rewrite: ethernet(neighbor) })
}

fn with_second_uplink(site: &mut Site) {
    site.put([vif(UPLINK2, "eth1", VifKind::Physical, VrfId(0), UPLINK_MAC)]);
    site.open(UPLINK2, 0);
    site.turn_all();
}

fn flows() -> Vec<Vec<u8>> {
    (0..200).map(|flow| udp(MAC3, 3, 100, (20_000 + flow, 53), b"flow")).collect()
}

fn one_hop_less(packet: &[u8]) -> Vec<u8> {
    let mut ip = packet[14..].to_vec();
    wire::Ipv4::parse_mut(&mut ip).unwrap().0.decrement_ttl();
    ip
}

const OVER_UDP: TunnelEncap = TunnelEncap::MplsOverUdp;

#[test]
fn a_tunnel_with_several_uplinks_keeps_each_flow_on_one_of_them() {
    each(|site| {
        with_second_uplink(site);
        let ways = |uplinks: Vec<_>| to(60, 2, OVER_UDP, Rewrite::Uplinks(uplinks));
        site.put([
            ways(vec![uplink(FABRIC, REMOTE_MAC), None, uplink(UPLINK2, NEIGHBOR2)]),
            route(RED, "10.10.1.100/32", 60, Some(77)),
        ]);
        let flows = flows();
        let outcome = site.send(VIF3, &flows);
        outcome.expect_drops(&[]);
        let (first, second) = (outcome.on(FABRIC), outcome.on(UPLINK2));
        assert!(first.len() > 60 && second.len() > 60, "{} {}", first.len(), second.len());
        assert!(first.iter().all(|packet| packet[..6] == REMOTE_MAC.0));
        assert!(second.iter().all(|packet| packet[..6] == NEIGHBOR2.0));
        assert_eq!(site.send(VIF3, &flows).sent, outcome.sent, "each flow keeps its way");
        site.put([ways(vec![None, None, uplink(UPLINK2, NEIGHBOR2)])]);
        assert_eq!(site.send(VIF3, &flows).on(UPLINK2).len(), 200);
    });
}

#[test]
fn a_transport_label_goes_on_top_of_the_packets_own() {
    each(|site| {
        let top = Label::try_from(9999).unwrap();
        let packet = udp(MAC3, 3, 9, (1, 2), b"two labels");
        let stack = [&[0x02, 0x70, 0xf0, 0x3f][..], &mpls_word(77, 63)].concat();
        for (encap, at) in [
            (TunnelEncap::MplsOverMplsOverUdp(top), 42),
            (TunnelEncap::MplsOverMplsOverGre(top), 38),
        ] {
            site.put([
                to(60, 2, encap, Rewrite::Underlay),
                route(RED, "10.10.1.9/32", 60, Some(77)),
                bridge(RED, MAC9, 60, Some(78)),
            ]);
            let sent = site.through(VIF3, &packet, FABRIC);
            assert_eq!(sent[at..], [&stack[..], &one_hop_less(&packet)].concat());
            let (ip, _) = etherparse::Ipv4Header::from_slice(&sent[14..]).unwrap();
            assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
            assert_eq!(usize::from(ip.total_len), sent.len() - 14);
            let bridged = [&MAC9.0[..], &packet[6..]].concat();
            let sent = site.through(VIF3, &bridged, FABRIC);
            let stack = [&[0x02, 0x70, 0xf0, 0x40][..], &mpls_word(78, 64)].concat();
            assert_eq!(sent[at..], [&stack[..], &bridged].concat());
        }
        // 1500 less IP, GRE and two labels.
        let fits = udp(MAC3, 3, 9, (1, 2), &[7; 1468 - 28]);
        assert_eq!(site.through(VIF3, &fits, FABRIC).len(), 14 + 1500);
        let mut large = udp(MAC3, 3, 9, (1, 2), &[7; 1469 - 28]);
        large[20] = 0x40;
        assert!(site.exchange(&[(VIF3, &large)]).on(FABRIC).is_empty());
    });
}

#[test]
fn what_is_to_be_encrypted_goes_to_the_interface_that_does_it() {
    each(|site| {
        with_second_uplink(site);
        let crypt = |vif| Rewrite::Encrypted(vif, Box::new(Rewrite::Underlay));
        site.put([
            to(60, 2, OVER_UDP, crypt(Some(UPLINK2))),
            route(RED, "10.10.1.100/32", 60, Some(77)),
        ]);
        let packet = udp(MAC3, 3, 100, (1, 2), b"a secret");
        let sent = site.through(VIF3, &packet, UPLINK2);
        assert_eq!(sent[42..], [&mpls_word(77, 63)[..], &one_hop_less(&packet)].concat());
        site.put([to(60, 2, OVER_UDP, crypt(None))]);
        site.exchange(&[(VIF3, &packet)]).expect_drops(&[(DropReason::NoCryptPath, 1)]);
    });
}

#[test]
fn a_group_within_a_group_uses_all_its_members() {
    each(|site| {
        let ecmp = |id, members: &[(u32, Option<u32>)]| {
            nh(id, NhFamily::Inet, RED, composite(CompositeKind::Ecmp(0), members))
        };
        site.put([
            ecmp(71, &[(40, Some(101)), (40, Some(102))]),
            ecmp(72, &[(40, Some(103)), (40, Some(104))]),
            ecmp(70, &[(71, None), (72, None)]),
            route(RED, "10.10.1.100/32", 70, None),
        ]);
        let outcome = site.send(VIF3, &flows());
        let mut counts = [0; 4];
        for packet in outcome.on(FABRIC) {
            let word = u32::from_be_bytes(packet[42..46].try_into().unwrap());
            counts[(word >> 12) as usize - 101] += 1;
        }
        assert!(counts.iter().all(|count| *count > 25), "{counts:?}");
    });
}

#[test]
fn point_13_a_route_keeps_its_label_where_the_group_says_so() {
    each(|site| {
        let kind = composite(CompositeKind::Ecmp(0), &[(40, Some(101)), (41, Some(102))]);
        site.put([
            flagged(70, NhFamily::Inet, RED, NhFlags::COMPOSITE_LU_ECMP, kind.clone()),
            route(RED, "10.10.1.100/32", 70, Some(900)),
        ]);
        let labels = |site: &mut Site| -> BTreeSet<u32> {
            let outcome = site.send(VIF3, &flows());
            let label = |packet: &Vec<u8>| {
                let at = if packet[23] == 47 { 38 } else { 42 };
                u32::from_be_bytes(packet[at..at + 4].try_into().unwrap()) >> 12
            };
            outcome.on(FABRIC).iter().map(label).collect()
        };
        assert_eq!(labels(site), [900].into());
        site.put([nh(70, NhFamily::Inet, RED, kind)]);
        assert_eq!(labels(site), [101, 102].into());
    });
}

#[test]
fn a_tunnel_without_a_label_looks_the_route_up_again() {
    each(|site| {
        site.put([
            to(60, 3, OVER_UDP, Rewrite::Underlay),
            to(61, 4, OVER_UDP, Rewrite::Underlay),
            label(60, 60),
            route(RED, "10.10.1.100/32", 61, Some(900)),
        ]);
        let packet = udp(MAC9, 9, 100, (1, 2), b"whose label?");
        let sent = site.through(FABRIC, &mpls_over_udp(60, 10, &packet[14..]), FABRIC);
        assert_eq!(sent[30..34], endpoint(4).octets());
        assert_eq!(sent[42..], [&mpls_word(900, 9)[..], &packet[14..]].concat());
        let lost = udp(MAC9, 9, 101, (1, 2), b"no route, no label");
        site.exchange(&[(FABRIC, &mpls_over_udp(60, 10, &lost[14..]))])
            .expect_drops(&[(DropReason::InvalidLabel, 1)]);
    });
}

#[test]
fn an_ipv4_group_is_delivered_to_its_mac_in_a_routed_tree() {
    each(|site| {
        let inet = NhFamily::Inet;
        site.put([
            flagged(60, inet, RED, NhFlags::MULTICAST, to_workload(VIF4, MAC4)),
            nh(61, inet, RED, composite(CompositeKind::Encap, &[(60, None)])),
            nh(62, inet, RED, composite(CompositeKind::Evpn, &[(41, Some(105))])),
            nh(63, inet, RED, composite(CompositeKind::Multicast, &[(61, None), (62, None)])),
            route(RED, "239.129.2.3/32", 63, None),
            route(RED, "ff05::1/128", 63, None),
            label(63, 63),
        ]);
        let mut packet = udp(MAC3, 3, 9, (1, 2), b"to the group");
        packet[30..34].copy_from_slice(&[239, 129, 2, 3]);
        let delivered =
            |ip: &[u8]| [&[1, 0, 0x5e, 1, 2, 3][..], &Mac::GATEWAY.0, &[8, 0], ip].concat();
        // From a workload: routed, one hop less in every copy.
        let outcome = site.exchange(&[(VIF3, &packet)]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        assert_eq!(outcome.on(VIF4), [delivered(&one_hop_less(&packet))]);
        let [sent] = outcome.on(FABRIC) else { panic!("{outcome:?}") };
        assert_eq!(sent[38..], [&mpls_word(105, 63)[..], &one_hop_less(&packet)].concat());
        // Through a tunnel: as it is, to workloads alone.
        let outcome = site.exchange(&[(FABRIC, &mpls_over_gre(63, 64, &packet[14..]))]);
        assert_eq!((outcome.on(VIF4), outcome.count()), (&[delivered(&packet[14..])][..], 1));
        let mut six = Vec::new();
        let [from, group] =
            ["2001:db8:a:1::3", "ff05::1"].map(|it| it.parse::<Ipv6Addr>().unwrap().octets());
        etherparse::PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv6(from, group, 9)
            .udp(1, 2)
            .write(&mut six, b"IPv4 only")
            .unwrap();
        let outcome = site.exchange(&[(VIF3, &six)]);
        outcome.expect_drops(&[(DropReason::InvalidProtocol, 1), (DropReason::ClonedOriginal, 1)]);
    });
}

#[test]
fn an_icmp_error_about_a_tunnel_is_the_agents_and_any_other_the_hosts() {
    each(|site| {
        site.add_host();
        let error = |kind: u8, about: &[u8]| {
            let icmp = [&[kind, 1, 0, 0, 0, 0, 0, 0], about].concat();
            let mut out = Vec::new();
            etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0)
                .ipv4(endpoint(7).octets(), endpoint(1).octets(), 64)
                .write(&mut out, etherparse::IpNumber::ICMP, &icmp)
                .unwrap();
            out
        };
        // Turned round: an error is about what its receiver has sent.
        let sent = |packet: &[u8]| {
            [&packet[14..26], &packet[30..34], &packet[26..30], &packet[34..42]].concat()
        };
        let gre = &sent(&mpls_over_gre(20, 64, b"inner"))[..];
        let over_udp = &sent(&outer_udp(6635, b"inner"))[..];
        let old_port = &sent(&outer_udp(51234, b"inner"))[..];
        let other = &sent(&outer_udp(53, b"inner"))[..];
        for about in [gre, over_udp, old_port] {
            for kind in [3, 11] {
                site.exchange(&[(FABRIC, &error(kind, about))])
                    .expect_drops(&[(DropReason::TrapNoIf, 1)]);
            }
            let redirect = error(5, about);
            assert_eq!(site.through(FABRIC, &redirect, HOST), redirect);
        }
        for about in [other, &gre[..19], b""] {
            let packet = error(3, about);
            assert_eq!(site.through(FABRIC, &packet, HOST), packet);
        }
    });
}

#[test]
fn a_leaf_of_an_e_tree_does_not_reach_another_leaf() {
    each(|site| {
        let frame = [&MAC4.0[..], &MAC3.0, &[0x88, 0xb5], &[7; 46]].concat();
        let learning = |id, name, flags: VifFlags| {
            let Object::Vif(mut vif) = vif(id, name, VifKind::Virtual, RED, Mac::GATEWAY) else {
                unreachable!()
            };
            vif.flags = flags.with(VifFlags::MAC_LEARN);
            Object::Vif(vif)
        };
        let (leaf, root) = (VifFlags::default(), VifFlags::ETREE_ROOT);
        for (from, to, passes) in
            [(leaf, leaf, false), (leaf, root, true), (root, leaf, true), (root, root, true)]
        {
            site.put([learning(VIF3, "tap3", from), learning(VIF4, "tap4", to)]);
            let outcome = site.exchange(&[(VIF3, &frame)]);
            let dropped = outcome.drops.get(DropReason::LeafToLeaf);
            assert_eq!((outcome.on(VIF4).len(), dropped), (passes.into(), (!passes).into()));
        }
        // Through a tunnel nobody is known to be a leaf.
        site.put([learning(VIF3, "tap3", leaf)]);
        let back = [&MAC3.0[..], &frame[6..]].concat();
        assert_eq!(site.through(FABRIC, &mpls_over_udp(30, 64, &back), VIF3), back);
    });
}

// ------------------------------------------------------------------------------------------------ IPv6 underlay

fn six(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, last)
}

fn over_six(id: u32, encap: TunnelEncap) -> Object {
    let kind = NextHopKind::Tunnel {
        source: IpAddr::V6(six(1)),
        destination: IpAddr::V6(six(2)),
        encap,
        rewrite: Rewrite::Underlay,
    };
    nh(id, NhFamily::Inet, RED, kind)
}

fn with_ipv6_underlay(site: &mut Site) {
    site.put([route(VrfId(0), "2001:db8:f::1/128", 10, None)]);
    let adjacency = Adjacency {
        destination: IpAddr::V6(six(2)),
        vif: FABRIC,
        source: UPLINK_MAC,
        neighbor: REMOTE_MAC,
    };
    site.apply([Op::Put(Object::Adjacency(adjacency))], Owner::Vrouterd);
}

/// What we sent as our neighbour would send it to us.
fn turned(mut packet: Vec<u8>) -> Vec<u8> {
    packet[..6].copy_from_slice(&UPLINK_MAC.0);
    packet[6..12].copy_from_slice(&REMOTE_MAC.0);
    packet[22..38].copy_from_slice(&six(2).octets());
    packet[38..54].copy_from_slice(&six(1).octets());
    packet
}

#[test]
fn all_three_tunnels_go_over_ipv6_both_ways() {
    each(|site| {
        with_ipv6_underlay(site);
        let packet = udp(MAC3, 3, 100, (4000, 5000), b"six outside");
        let inner = one_hop_less(&packet);
        for (encap, protocol, shim) in [
            (TunnelEncap::MplsOverGre, 47, [&[0, 0, 0x88, 0x47][..], &mpls_word(20, 63)].concat()),
            (TunnelEncap::MplsOverUdp, 17, mpls_word(20, 63).to_vec()),
            (
                TunnelEncap::VxlanL3(UPLINK_MAC),
                17,
                [&[8, 0, 0, 0, 0, 0, 20, 0][..], &UPLINK_MAC.0, &UPLINK_MAC.0, &[8, 0]].concat(),
            ),
        ] {
            site.put([over_six(60, encap), route(RED, "10.10.1.100/32", 60, Some(20))]);
            let sent = site.through(VIF3, &packet, FABRIC);
            assert_eq!(sent[..14], [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[0x86, 0xdd]].concat());
            let (ip, rest) = etherparse::Ipv6Header::from_slice(&sent[14..]).unwrap();
            assert_eq!((ip.source, ip.destination), (six(1).octets(), six(2).octets()));
            assert_eq!((ip.next_header.0, ip.hop_limit, ip.traffic_class), (protocol, 64, 0));
            assert_eq!(usize::from(ip.payload_length), rest.len());
            assert_ne!(ip.flow_label.value(), 0);
            let carried = if protocol == 17 {
                let (header, carried) = etherparse::UdpHeader::from_slice(rest).unwrap();
                assert!(header.source_port >= 49152);
                assert_eq!(usize::from(header.length), rest.len());
                // RFC 6935, RFC 7510: none.
                assert_eq!(header.checksum, 0);
                carried
            } else {
                rest
            };
            assert_eq!(carried, [&shim[..], &inner].concat());
            // And back: the label, or the VNI with the router's MAC, is one of ours.
            site.put([vni(20, 53), bridge(OVERLAY, UPLINK_MAC, 50, None)]);
            site.put([route(OVERLAY, "10.10.1.100/32", 21, None), label(20, 21)]);
            let out = site.through(FABRIC, &turned(sent), VIF4);
            assert_eq!(out[26..], inner[12..]);
            site.put([label(20, 20)]);
        }
    });
}

#[test]
fn the_flow_label_tells_flows_apart_where_there_are_no_ports() {
    each(|site| {
        with_ipv6_underlay(site);
        site.put([
            over_six(60, TunnelEncap::MplsOverGre),
            route(RED, "10.10.1.100/32", 60, Some(20)),
        ]);
        let labels = |site: &mut Site, packets: &[Vec<u8>]| -> Vec<u32> {
            let outcome = site.send(VIF3, packets);
            let label = |packet: &Vec<u8>| {
                u32::from_be_bytes(packet[14..18].try_into().unwrap()) & 0x000f_ffff
            };
            outcome.on(FABRIC).iter().map(label).collect()
        };
        let flows = flows();
        let first = labels(site, &flows);
        assert!(first.iter().collect::<BTreeSet<_>>().len() > 190, "{first:?}");
        assert_eq!(labels(site, &flows), first);
    });
}

#[test]
fn a_tree_has_neighbours_over_ipv6_and_knows_them_as_sources() {
    each(|site| {
        with_ipv6_underlay(site);
        let l2 = NhFamily::Bridge;
        site.put([
            over_six(60, TunnelEncap::MplsOverUdp),
            nh(61, l2, RED, composite(CompositeKind::Fabric, &[(60, Some(2001))])),
            nh(62, l2, RED, composite(CompositeKind::Encap, &[(30, None), (31, None)])),
            flagged(
                63,
                l2,
                RED,
                NhFlags::VALIDATE_MCAST_SOURCE,
                composite(CompositeKind::Multicast, &[(61, None), (62, None)]),
            ),
            bridge(RED, Mac::BROADCAST, 63, Some(7001)),
            label(2001, 63),
        ]);
        let broadcast = [&Mac::BROADCAST.0[..], &MAC3.0, &[0x88, 0xb5], &[7; 46]].concat();
        let outcome = site.exchange(&[(VIF3, &broadcast)]);
        assert_eq!(outcome.on(VIF4), std::slice::from_ref(&broadcast));
        let [sent] = outcome.on(FABRIC) else { panic!("{outcome:?}") };
        assert_eq!(sent[62..66], mpls_word(2001, 64));
        assert_eq!(sent[106..], broadcast);
        let back = turned(sent.clone());
        let outcome = site.exchange(&[(FABRIC, &back)]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len(), outcome.count()), (1, 1, 2));
        let mut stranger = back;
        stranger[37] = 9;
        site.exchange(&[(FABRIC, &stranger)]).expect_drops(&[(DropReason::InvalidMcastSource, 1)]);
    });
}
