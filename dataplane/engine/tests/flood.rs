//! Trees: who gets a copy of what, and how it looks (reference dataplane.md section 13), with one worker and with two.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use site::*;
use tables::{
    BridgeEntry, BridgeFlags, CompositeKind, DropReason, NextHopKind, NhFamily, NhFlags, NhId,
    Object, SubInterface, TunnelEncap, VifFlags, VifId, VifKind,
};
use wire::Mac;

const VALIDATE: NhFlags = NhFlags::VALIDATE_MCAST_SOURCE;
const CONTROL_DATA: NhFlags = NhFlags::L2_CONTROL_DATA;
const VIF5: VifId = VifId(5);
const MAC5: Mac = Mac([2, 0, 0, 0, 0xa1, 5]);
/// What the broadcast entry says.
const VNI: u32 = 7001;
/// Labels of the tree here: for ingress replication, and for the edge tree.
const INGRESS_LABEL: u32 = 500;
const EDGE_LABEL: u32 = 1500;

/// The lists of a tree.
#[derive(Clone, Debug, Default)]
struct Tree {
    local: Vec<VifId>,
    edge: Vec<Far>,
    evpn: Vec<Far>,
    tor: Vec<Far>,
    validated: bool,
}

/// A tunnel to 192.0.2.`node`.
#[derive(Clone, Copy, Debug)]
struct Far {
    node: u8,
    encap: TunnelEncap,
    label: u32,
}

fn far(node: u8, encap: TunnelEncap, label: u32) -> Far {
    Far { node, encap, label }
}

impl Tree {
    /// Next hops 100 on, the tree 199; the VRF's broadcast entry, both labels and VNI 5001 lead there.
    fn plant(&self, site: &mut Site) {
        let mut objects = Vec::new();
        let mut lists = Vec::new();
        let mut id = 100;
        for (list, kind, members) in [
            (110, CompositeKind::Fabric, &self.edge),
            (111, CompositeKind::Evpn, &self.evpn),
            (112, CompositeKind::Tor, &self.tor),
        ] {
            if members.is_empty() {
                continue;
            }
            let mut slots = Vec::new();
            for far in members {
                id += 100;
                objects.push(tunnel(id, far.node, far.encap));
                slots.push((id, Some(far.label)));
            }
            objects.push(nh(list, NhFamily::Bridge, RED, composite(kind, &slots)));
            lists.push((list, None));
        }
        let local: Vec<_> = self.local.iter().map(|vif| (1000 + u32::from(vif.0), None)).collect();
        for vif in &self.local {
            let kind = NextHopKind::Encap { vif: *vif, rewrite: Vec::new() };
            objects.push(nh(1000 + u32::from(vif.0), NhFamily::Bridge, RED, kind));
        }
        if !local.is_empty() {
            let kind = composite(CompositeKind::Encap, &local);
            objects.push(nh(113, NhFamily::Bridge, RED, kind));
            lists.push((113, None));
        }
        let flags = if self.validated { VALIDATE } else { NhFlags(0) };
        let kind = composite(CompositeKind::Multicast, &lists);
        objects.push(flagged(199, NhFamily::Bridge, RED, flags, kind));
        objects.push(bridge(RED, Mac::BROADCAST, 199, Some(VNI)));
        objects.push(label(INGRESS_LABEL, 199));
        objects.push(label(EDGE_LABEL, 199));
        site.put(objects);
    }
}

fn with_vif5(site: &mut Site) {
    site.put([vif(VIF5, "tap5", VifKind::Virtual, RED, Mac::GATEWAY)]);
    site.open(VIF5, 0);
    site.turn_all();
}

/// A frame that no table knows more of than its addresses.
fn frame(to: Mac, from: Mac) -> Vec<u8> {
    [&to.0[..], &from.0, &[0x88, 0xb5], b"forty-six bytes of an experimental protocol at least"]
        .concat()
}

/// A tunnel packet as 192.0.2.`node` would send it.
fn sent_by(node: u8, mut packet: Vec<u8>) -> Vec<u8> {
    packet[29] = node;
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap();
    header.header_checksum = header.calc_header_checksum();
    packet[14..34].copy_from_slice(&header.to_bytes());
    packet
}

/// A frame in an edge-replicated tree: control word, block, frame.
fn in_edge_tree(vni: u32, ends: (u8, u8), frame: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    let mut block = Vec::new();
    let vxlan = [&[8, 0, 0, 0, a, b, c, 0], frame].concat();
    etherparse::PacketBuilder::ipv4(endpoint(ends.0).octets(), endpoint(ends.1).octets(), 64)
        .udp(50000, 4789)
        .write(&mut block, &vxlan)
        .unwrap();
    [&[0; 4][..], &block].concat()
}

/// A packet on the fabric, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    node: u8,
    over: &'static str,
    label: u32,
    ttl: u8,
    /// Whether there is a control word, and the VNI of the block behind it.
    word: bool,
    block: Option<u32>,
    frame: Vec<u8>,
}

/// By the shape that the sender must have meant: a label from 1024 on has a block.
fn parse(packet: &[u8]) -> Copy {
    assert_eq!(packet[26..30], endpoint(1).octets());
    let node = packet[33];
    let number = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
    let (over, at) = match (packet[23], number(&packet[36..38])) {
        (47, _) => ("GRE", 38),
        (17, 6635) => ("UDP", 42),
        (17, 4789) => {
            let label = number(&packet[46..49]);
            let frame = packet[50..].to_vec();
            return Copy { node, over: "VXLAN", label, ttl: 0, word: false, block: None, frame };
        }
        other => panic!("{other:?}"),
    };
    let word = number(&packet[at..at + 4]);
    let (label, ttl) = (word >> 12, packet[at + 3]);
    assert_eq!(word & 0x100, 0x100, "the bottom of the stack");
    let rest = &packet[at + 4..];
    if label < 1024 {
        return Copy { node, over, label, ttl, word: false, block: None, frame: rest.to_vec() };
    }
    assert_eq!(rest[..4], [0; 4]);
    let block = &rest[4..40];
    let (ip, _) = etherparse::Ipv4Header::from_slice(block).unwrap();
    assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
    assert_eq!((ip.source, ip.destination), (endpoint(1).octets(), endpoint(node).octets()));
    assert_eq!(usize::from(ip.total_len), rest.len() - 4);
    assert_eq!((block[9], ip.time_to_live), (17, 64));
    assert_eq!(number(&block[22..24]), 4789);
    assert_eq!(number(&block[24..26]) as usize, rest.len() - 24);
    assert_eq!(block[26..32], [0, 0, 8, 0, 0, 0]);
    let vni = number(&block[32..35]);
    Copy { node, over, label, ttl, word: true, block: Some(vni), frame: rest[40..].to_vec() }
}

fn copies(outcome: &Outcome) -> Vec<Copy> {
    let mut all: Vec<_> = outcome.on(FABRIC).iter().map(|packet| parse(packet)).collect();
    all.sort();
    all
}

fn source_port(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[34], packet[35]])
}

const UDP: TunnelEncap = TunnelEncap::MplsOverUdp;
const GRE: TunnelEncap = TunnelEncap::MplsOverGre;
const VXLAN: TunnelEncap = TunnelEncap::Vxlan;

#[test]
fn a_workloads_broadcast_reaches_every_list_and_not_itself() {
    each(|site| {
        let tree = Tree {
            local: vec![VIF3, VIF4],
            edge: vec![far(2, UDP, 2001)],
            evpn: vec![far(3, GRE, 33), far(4, VXLAN, 5001)],
            ..Tree::default()
        };
        tree.plant(site);
        let broadcast = frame(Mac::BROADCAST, MAC3);
        let outcome = site.exchange(&[(VIF3, &broadcast)]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        assert_eq!(outcome.on(VIF4), std::slice::from_ref(&broadcast));
        assert_eq!(outcome.on(VIF3), [] as [Vec<u8>; 0]);
        let copy = |node, over, label, ttl, word, block| Copy {
            node,
            over,
            label,
            ttl,
            word,
            block,
            frame: broadcast.clone(),
        };
        assert_eq!(
            copies(&outcome),
            [
                copy(2, "UDP", 2001, 64, true, Some(VNI)),
                copy(3, "GRE", 33, 64, false, None),
                copy(4, "VXLAN", 5001, 0, false, None),
            ]
        );
        site.still_forwards();
    });
}

#[test]
fn point_02_the_block_is_taken_off_and_put_on_in_edge_trees_and_only_there() {
    each(|site| {
        let tree = Tree {
            local: vec![VIF3],
            edge: vec![far(2, UDP, 2001), far(3, UDP, 2002)],
            evpn: vec![far(4, UDP, 44)],
            validated: true,
            ..Tree::default()
        };
        tree.plant(site);
        let broadcast = frame(Mac::BROADCAST, MAC9);
        let inside = in_edge_tree(4242, (2, 1), &broadcast);
        for tunnel in [mpls_over_udp, mpls_over_gre] {
            let outcome = site.exchange(&[(FABRIC, &tunnel(EDGE_LABEL, 20, &inside))]);
            outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
            assert_eq!(outcome.on(VIF3), std::slice::from_ref(&broadcast));
            // On to the next neighbour with the VNI it came with and one hop less, never back.
            let [on] = &copies(&outcome)[..] else { panic!("{outcome:?}") };
            assert_eq!((on.node, on.label, on.ttl, on.block), (3, 2002, 19, Some(4242)));
            assert_eq!(on.frame, broadcast);
        }
        let plain = sent_by(4, mpls_over_udp(INGRESS_LABEL, 20, &broadcast));
        let outcome = site.exchange(&[(FABRIC, &plain)]);
        assert_eq!((outcome.on(VIF3), copies(&outcome)), (&[broadcast][..], vec![]));
    });
}

#[test]
fn a_control_word_that_is_not_zero_and_a_block_that_is_cut_are_invalid_packets() {
    each(|site| {
        Tree { local: vec![VIF3], ..Tree::default() }.plant(site);
        let good = in_edge_tree(4242, (2, 1), &frame(Mac::BROADCAST, MAC9));
        let mut bad = good.clone();
        bad[3] = 1;
        for inside in [&bad, &good[..3], &good[..30], &good[..40], &good[..53]] {
            let outcome = site.exchange(&[(FABRIC, &mpls_over_udp(EDGE_LABEL, 64, inside))]);
            outcome.expect_drops(&[(DropReason::InvalidPacket, 1)]);
        }
        site.exchange(&[(FABRIC, &mpls_over_udp(EDGE_LABEL, 64, &good[..54]))])
            .expect_drops(&[(DropReason::ClonedOriginal, 1)]);
    });
}

#[test]
fn a_label_whose_next_hop_has_control_data_carries_a_control_word() {
    each(|site| {
        let kind = NextHopKind::Encap { vif: VIF3, rewrite: Vec::new() };
        site.put([flagged(60, NhFamily::Bridge, RED, CONTROL_DATA, kind), label(60, 60)]);
        let frame = frame(MAC3, MAC9);
        let worded = [&[0; 4][..], &frame].concat();
        assert_eq!(site.through(FABRIC, &mpls_over_udp(60, 64, &worded), VIF3), frame);
        site.exchange(&[(FABRIC, &mpls_over_gre(60, 64, &frame))])
            .expect_drops(&[(DropReason::InvalidPacket, 1)]);
        // And a bridge entry with it sends one, to a station and to all.
        Tree { evpn: vec![far(2, UDP, 33), far(3, VXLAN, 34)], ..Tree::default() }.plant(site);
        let entry = |mac, next_hop, label| {
            Object::Bridge(BridgeEntry {
                vrf: RED,
                mac,
                next_hop: NhId(next_hop),
                label: Some(wire::Vni::try_from(label).unwrap()),
                flags: BridgeFlags::L2_CONTROL_DATA,
            })
        };
        site.put([
            entry(MAC9, 41, 35),
            entry(Mac::BROADCAST, 199, VNI),
            entry(MAC5, 70, 0),
            nh(70, NhFamily::Bridge, RED, composite(CompositeKind::Ecmp(0), &[(40, Some(36))])),
        ]);
        let unicast = [&MAC9.0[..], &frame[6..]].concat();
        let sent = site.through(VIF3, &unicast, FABRIC);
        assert_eq!(sent[38..], [&mpls_word(35, 64)[..], &[0; 4], &unicast].concat());
        let grouped = [&MAC5.0[..], &frame[6..]].concat();
        let sent = site.through(VIF3, &grouped, FABRIC);
        assert_eq!(sent[42..], [&mpls_word(36, 64)[..], &[0; 4], &grouped].concat());
        let broadcast = [&Mac::BROADCAST.0[..], &frame[6..]].concat();
        let outcome = site.exchange(&[(VIF3, &broadcast)]);
        let [over_udp, over_vxlan] = outcome.on(FABRIC) else { panic!("{outcome:?}") };
        assert_eq!(over_udp[42..], [&mpls_word(33, 64)[..], &[0; 4], &broadcast].concat());
        assert_eq!(over_vxlan[50..], broadcast);
    });
}

#[test]
fn point_27_unknown_unicast_from_a_tree_goes_to_the_owner_alone() {
    each(|site| {
        with_vif5(site);
        let tree = Tree {
            local: vec![VIF3, VIF4, VIF5],
            edge: vec![far(3, UDP, 2001)],
            evpn: vec![far(2, UDP, 33)],
            ..Tree::default()
        };
        tree.plant(site);
        let known = frame(MAC4, MAC9);
        let outcome = site.exchange(&[(FABRIC, &mpls_over_udp(INGRESS_LABEL, 64, &known))]);
        outcome.expect_drops(&[]);
        assert_eq!((outcome.on(VIF4), outcome.count()), (&[known][..], 1));
        // Nobody's: to all workloads, and never back to the fabric from an EVPN source.
        let unknown = frame(Mac([2, 7, 7, 7, 7, 7]), MAC9);
        let outcome = site.exchange(&[(FABRIC, &mpls_over_udp(INGRESS_LABEL, 64, &unknown))]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        for vif in [VIF3, VIF4, VIF5] {
            assert_eq!(outcome.on(vif), std::slice::from_ref(&unknown));
        }
        assert_eq!(outcome.count(), 3);
        // Through the VNI's table it is as known as that says.
        let vni_packet = vxlan(5001, &unknown);
        site.exchange(&[(FABRIC, &vni_packet)]).expect_drops(&[(DropReason::L2NoRoute, 1)]);
        let kind = NextHopKind::Translate(RED);
        site.put([flagged(51, NhFamily::Bridge, RED, NhFlags::UNKNOWN_UNICAST_FLOOD, kind)]);
        let outcome = site.exchange(&[(FABRIC, &vni_packet)]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        assert_eq!(outcome.count(), 3);
    });
}

#[test]
fn unknown_unicast_of_a_workload_is_flooded_where_its_interface_says_so() {
    each(|site| {
        Tree { local: vec![VIF3, VIF4], evpn: vec![far(2, UDP, 33)], ..Tree::default() }
            .plant(site);
        let unknown = frame(Mac([2, 7, 7, 7, 7, 7]), MAC3);
        site.exchange(&[(VIF3, &unknown)]).expect_drops(&[(DropReason::L2NoRoute, 1)]);
        let Object::Vif(mut flooding) = vif(VIF3, "tap3", VifKind::Virtual, RED, Mac::GATEWAY)
        else {
            unreachable!()
        };
        flooding.flags = VifFlags::UNKNOWN_UNICAST_FLOOD;
        site.put([Object::Vif(flooding)]);
        let outcome = site.exchange(&[(VIF3, &unknown)]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        assert_eq!((outcome.on(VIF4), copies(&outcome).len()), (&[unknown][..], 1));
    });
}

#[test]
fn point_28_nothing_goes_back_to_where_it_came_from() {
    each(|site| {
        let tree = Tree {
            local: vec![VIF3, VIF4],
            edge: vec![far(3, UDP, 2001)],
            tor: vec![far(2, VXLAN, 5001), far(4, VXLAN, 5001)],
            validated: true,
            ..Tree::default()
        };
        tree.plant(site);
        let broadcast = frame(Mac::BROADCAST, MAC9);
        let outcome = site.exchange(&[(FABRIC, &vxlan(5001, &broadcast))]);
        let nodes: Vec<_> = copies(&outcome).iter().map(|copy| copy.node).collect();
        assert_eq!((nodes, outcome.on(VIF3).len(), outcome.on(VIF4).len()), (vec![3, 4], 1, 1));
        let from_3 = sent_by(3, mpls_over_udp(EDGE_LABEL, 9, &in_edge_tree(9, (3, 1), &broadcast)));
        let outcome = site.exchange(&[(FABRIC, &from_3)]);
        let nodes: Vec<_> = copies(&outcome).iter().map(|copy| copy.node).collect();
        assert_eq!(nodes, [2, 4]);
        // Whom the tree does not know is not heard.
        let outcome = site.exchange(&[(FABRIC, &sent_by(7, vxlan(5001, &broadcast)))]);
        outcome.expect_drops(&[(DropReason::InvalidMcastSource, 1)]);
    });
}

#[test]
fn point_28_what_a_sub_interface_of_the_uplink_sends_is_not_for_the_uplinks_edge_tree() {
    each(|site| {
        let Object::Vif(mut sub) = vif(VIF5, "eth0.7", VifKind::VirtualVlan, RED, Mac::GATEWAY)
        else {
            unreachable!()
        };
        let inside = |parent| SubInterface { parent, rx_vlan: 7, tx_vlan: 7, stations: vec![] };
        sub.sub = Some(inside(VIF4));
        site.put([Object::Vif(sub.clone())]);
        site.open(VIF5, 0);
        site.turn_all();
        let tree =
            Tree { edge: vec![far(2, UDP, 2001)], evpn: vec![far(3, GRE, 33)], ..Tree::default() };
        tree.plant(site);
        let broadcast = frame(Mac::BROADCAST, MAC5);
        assert_eq!(copies(&site.exchange(&[(VIF5, &broadcast)])).len(), 2);
        sub.sub = Some(inside(FABRIC));
        site.put([Object::Vif(sub)]);
        let outcome = site.exchange(&[(VIF5, &broadcast)]);
        assert_eq!((copies(&outcome).len(), copies(&outcome)[0].node), (1, 3));
    });
}

#[test]
fn point_41_the_multicast_vrf_is_for_groups_alone() {
    each(|site| {
        Tree { local: vec![VIF4], ..Tree::default() }.plant(site);
        let Object::Vif(mut elsewhere) = vif(VIF3, "tap3", VifKind::Virtual, OVERLAY, Mac::GATEWAY)
        else {
            unreachable!()
        };
        elsewhere.mcast_vrf = Some(RED);
        site.put([Object::Vif(elsewhere)]);
        let broadcast = frame(Mac::BROADCAST, MAC3);
        assert_eq!(site.exchange(&[(VIF3, &broadcast)]).on(VIF4), [broadcast]);
        let unicast = frame(MAC4, MAC3);
        site.exchange(&[(VIF3, &unicast)]).expect_drops(&[(DropReason::L2NoRoute, 1)]);
    });
}

#[test]
fn a_group_has_its_own_tree_where_memberships_are_followed() {
    each(|site| {
        with_vif5(site);
        Tree { local: vec![VIF4, VIF5], ..Tree::default() }.plant(site);
        let group = Mac([1, 0, 0x5e, 1, 1, 1]);
        site.put([
            nh(120, NhFamily::Bridge, RED, composite(CompositeKind::Encap, &[(1005, None)])),
            nh(121, NhFamily::Bridge, RED, composite(CompositeKind::Multicast, &[(120, None)])),
            bridge(RED, group, 121, None),
        ]);
        let mut packet = udp(MAC3, 3, 9, (1, 2), b"to the group");
        packet[..6].copy_from_slice(&group.0);
        let outcome = site.exchange(&[(VIF3, &packet)]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(VIF5).len()), (1, 1));
        let Object::Vif(mut followed) = vif(VIF3, "tap3", VifKind::Virtual, RED, Mac::GATEWAY)
        else {
            unreachable!()
        };
        followed.flags = VifFlags::IGMP;
        site.put([Object::Vif(followed)]);
        let outcome = site.exchange(&[(VIF3, &packet)]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(VIF5).len()), (0, 1));
        let outcome = site.exchange(&[(FABRIC, &vxlan(5001, &packet))]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(VIF5).len()), (0, 1));
        packet[..6].copy_from_slice(&[1, 0, 0x5e, 1, 1, 2]);
        let outcome = site.exchange(&[(VIF3, &packet)]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(VIF5).len()), (1, 1));
    });
}

#[test]
fn a_tree_without_members_discards_and_a_copy_that_cannot_be_sent_is_counted() {
    each(|site| {
        Tree::default().plant(site);
        let broadcast = frame(Mac::BROADCAST, MAC3);
        site.exchange(&[(VIF3, &broadcast)]).expect_drops(&[(DropReason::Discard, 1)]);
        // An edge tree needs the VNI of the broadcast entry, and labels; the next list is served nevertheless.
        let tree = Tree {
            edge: vec![far(2, UDP, 2001), far(3, VXLAN, 5)],
            local: vec![VIF4],
            ..Tree::default()
        };
        tree.plant(site);
        site.put([bridge(RED, Mac::BROADCAST, 199, None)]);
        let outcome = site.exchange(&[(VIF3, &broadcast)]);
        outcome.expect_drops(&[
            (DropReason::InvalidNh, 1),
            (DropReason::InvalidLabel, 1),
            (DropReason::ClonedOriginal, 1),
        ]);
        assert_eq!(outcome.on(VIF4), [broadcast]);
        // Nobody's next hop is nobody.
        site.put([nh(113, NhFamily::Bridge, RED, composite(CompositeKind::Encap, &[]))]);
        site.put([nh(
            199,
            NhFamily::Bridge,
            RED,
            composite(CompositeKind::Multicast, &[(113, None)]),
        )]);
        let outcome = site.exchange(&[(VIF3, &frame(Mac::BROADCAST, MAC3))]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        // One list as a broadcast entry's next hop.
        site.put([bridge(RED, Mac::BROADCAST, 110, Some(VNI))]);
        let outcome = site.exchange(&[(VIF3, &frame(Mac::BROADCAST, MAC3))]);
        assert_eq!(copies(&outcome).len(), 1);
    });
}

#[test]
fn without_frames_for_the_copies_the_original_is_what_is_lost() {
    for workers in [1, 2] {
        let mut site = Site::with_frames(workers, 256);
        let many: Vec<Far> = (0..40).map(|n| far(2 + n % 3, UDP, 100 + u32::from(n))).collect();
        Tree { evpn: many, ..Tree::default() }.plant(&mut site);
        let burst = vec![frame(Mac::BROADCAST, MAC3); 32];
        let outcome = site.send(VIF3, &burst);
        assert!(outcome.drops.get(DropReason::McastCloneFail) > 0, "{:?}", outcome.drops);
        let sum = outcome.drops.get(DropReason::McastCloneFail)
            + outcome.drops.get(DropReason::ClonedOriginal);
        assert_eq!(sum, 32);
        site.still_forwards();
        site.close();
    }
}

#[test]
fn broadcasts_into_a_large_tree_leave_room_for_what_others_cause_in_the_same_burst() {
    let mut site = Site::with_frames(1, 8192);
    let many: Vec<Far> = (0..100).map(|n| far(2 + n % 3, UDP, 100 + u32::from(n))).collect();
    Tree { evpn: many, ..Tree::default() }.plant(&mut site);
    // The other's fragment waits for its head, which comes behind the broadcasts.
    let piece = |more: bool, offset: u8| {
        let mut packet = udp(MAC4, 4, 3, (1, 2), &[7; 40]);
        packet[20..22].copy_from_slice(&[if more { 0x20 } else { 0 }, offset]);
        let (mut header, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap();
        header.header_checksum = header.calc_header_checksum();
        packet[14..34].copy_from_slice(&header.to_bytes());
        packet
    };
    assert_eq!(site.exchange(&[(VIF4, &piece(false, 6))]).count(), 0);
    assert_eq!(site.counters.held(), 1);
    let broadcast = frame(Mac::BROADCAST, MAC3);
    let mut burst: Vec<(VifId, &[u8])> = vec![(VIF3, &broadcast); 60];
    let head = piece(true, 0);
    burst.push((VIF4, &head));
    let outcome = site.exchange(&burst);
    let lost = outcome.drops.get(DropReason::McastCloneFail);
    assert!(lost > 0, "more than may wait: {:?}", outcome.drops);
    assert_eq!(lost + outcome.drops.get(DropReason::ClonedOriginal), 60);
    assert_eq!(outcome.drops.total(), 60, "nothing of the other's: {:?}", outcome.drops);
    assert_eq!((outcome.on(VIF3).len(), site.counters.held()), (2, 0));
    site.close();
}

#[test]
fn h10_all_copies_have_one_source_port_that_the_inner_frame_decides() {
    each(|site| {
        let tree = Tree {
            tor: vec![far(2, VXLAN, 5001), far(3, VXLAN, 5001), far(4, VXLAN, 5002)],
            edge: vec![far(4, UDP, 2001)],
            ..Tree::default()
        };
        tree.plant(site);
        let ports = |site: &mut Site, packet: &[u8]| -> BTreeSet<u16> {
            let outcome = site.exchange(&[(FABRIC, packet)]);
            assert_eq!(outcome.on(FABRIC).len(), 3);
            outcome.on(FABRIC).iter().map(|packet| source_port(packet)).collect()
        };
        let mut all = BTreeSet::new();
        for station in 0..16 {
            let mut packet = udp(Mac([2, 0, 0, 0, 7, station]), 9, 3, (1, 2), b"broadcast");
            packet[..6].copy_from_slice(&Mac::BROADCAST.0);
            let first = ports(site, &vxlan(5001, &packet));
            assert_eq!(first.len(), 1);
            let mut again = vxlan(5001, &packet);
            again[34] ^= 0x15;
            assert_eq!(ports(site, &again), first, "the outer port has no part in it");
            packet[40] ^= 0xff;
            assert_eq!(ports(site, &vxlan(5001, &packet)), first, "the packet has no part in it");
            all.extend(first);
        }
        assert!(all.len() >= 8 && all.iter().all(|port| *port >= 49152), "{all:?}");
    });
}

#[test]
fn h18_a_question_about_somebody_elsewhere_is_flooded_and_not_answered() {
    each(|site| {
        Tree { local: vec![VIF3, VIF4], ..Tree::default() }.plant(site);
        let packets = capture("mk-H18-arp-for-others.pcap");
        let outcome = site.exchange(&[(FABRIC, &packets[0])]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
        let question = packets[0][50..].to_vec();
        assert_eq!(
            (outcome.on(VIF3), outcome.on(VIF4)),
            (&[question.clone()][..], &[question][..])
        );
        // The same under a label that leads straight to the tree.
        let labelled = mpls_over_gre(INGRESS_LABEL, 64, &packets[0][50..]);
        assert_eq!(site.exchange(&[(FABRIC, &labelled)]).count(), 2);
    });
}

#[test]
fn a_question_by_the_gateway_does_not_reach_workloads() {
    each(|site| {
        Tree { local: vec![VIF4], evpn: vec![far(2, UDP, 33)], ..Tree::default() }.plant(site);
        let mut question = vec![0; 42];
        wire::Ethernet::new(Mac::BROADCAST, MAC3, wire::ethertype::ARP)
            .emit(&mut question)
            .unwrap();
        let asker = |sender| {
            wire::Arp::new(
                wire::ArpOperation::Request,
                (MAC3, tenant(sender)),
                (Mac::ZERO, tenant(77)),
            )
        };
        site.put([route(RED, "10.10.1.77/32", 40, Some(9))]);
        asker(3).emit(&mut question[14..]).unwrap();
        let outcome = site.exchange(&[(VIF3, &question)]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(FABRIC).len()), (1, 1));
        asker(1).emit(&mut question[14..]).unwrap();
        let outcome = site.exchange(&[(VIF3, &question)]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(FABRIC).len()), (0, 1));
    });
}

#[test]
fn a_copy_that_is_too_big_with_df_is_dropped() {
    each(|site| {
        Tree { local: vec![VIF4], evpn: vec![far(2, UDP, 33)], ..Tree::default() }.plant(site);
        let mut packet = udp(MAC3, 3, 9, (1, 2), &[7; 1460]);
        packet[..6].copy_from_slice(&Mac::BROADCAST.0);
        packet[20] = 0x40;
        let outcome = site.exchange(&[(VIF3, &packet)]);
        outcome.expect_drops(&[(DropReason::McastDfBit, 1), (DropReason::ClonedOriginal, 1)]);
        assert_eq!(outcome.on(VIF4), [packet]);
    });
}

// -------------------------------------------------------------------------------- any tree, judged by the table

#[derive(Clone, Copy, Debug)]
enum From {
    Workload(VifId),
    /// A node, by the ingress label, by the edge label, by the VNI.
    Ingress(u8),
    Edge(u8),
    Vni(u8),
}

/// What leaves: interface, far node, label, VNI of the block.
type Leaving = (VifId, u8, u32, Option<u32>);

/// Section 13.1, read aloud: what leaves, and why the original ends.
fn expected(tree: &Tree, from: From) -> (Vec<Leaving>, DropReason) {
    let node = match from {
        From::Workload(_) => None,
        From::Ingress(node) | From::Edge(node) | From::Vni(node) => Some(node),
    };
    let is_in = |list: &[Far]| list.iter().any(|far| Some(far.node) == node);
    let kind = match node {
        None => "VM",
        _ if is_in(&tree.edge) => "EDGE",
        _ if is_in(&tree.evpn) => "INGRESS",
        _ if is_in(&tree.tor) => "TOR",
        _ if tree.validated => return (Vec::new(), DropReason::InvalidMcastSource),
        _ => "EDGE",
    };
    if tree.local.is_empty() && tree.edge.is_empty() && tree.evpn.is_empty() && tree.tor.is_empty()
    {
        return (Vec::new(), DropReason::Discard);
    }
    let vni = match from {
        From::Workload(_) | From::Vni(_) => Some(VNI),
        From::Edge(_) => Some(4242),
        From::Ingress(_) => None,
    };
    let mut out = Vec::new();
    for vif in &tree.local {
        if !matches!(from, From::Workload(own) if own == *vif) {
            out.push((*vif, 0, 0, None));
        }
    }
    if ["VM", "TOR", "EDGE"].contains(&kind) && vni.is_some() {
        let others = tree.edge.iter().filter(|far| Some(far.node) != node);
        out.extend(others.map(|far| (FABRIC, far.node, far.label, vni)));
    }
    if ["VM", "TOR"].contains(&kind) {
        // But for the loop guard of tunnels themselves (section 6.3).
        let others = tree.evpn.iter().filter(|far| Some(far.node) != node);
        out.extend(others.map(|far| (FABRIC, far.node, far.label, None)));
    }
    let others = tree.tor.iter().filter(|far| Some(far.node) != node);
    out.extend(others.map(|far| (FABRIC, far.node, far.label, None)));
    out.sort();
    (out, DropReason::ClonedOriginal)
}

fn any_tree() -> impl Strategy<Value = (Tree, From)> {
    let mpls = |labels: std::ops::Range<u32>| {
        let encap = prop_oneof![Just(UDP), Just(GRE)];
        proptest::collection::vec(
            (2..5u8, encap, labels).prop_map(|(node, encap, label)| far(node, encap, label)),
            0..4,
        )
    };
    let tor = proptest::collection::vec(
        (2..5u8, 1..0xff_ffffu32).prop_map(|(node, vni)| far(node, VXLAN, vni)),
        0..3,
    );
    let local = proptest::sample::subsequence(vec![VIF3, VIF4, VIF5], 0..=3);
    let tree = (local, mpls(1024..0x10_0000), mpls(16..1024), tor, any::<bool>())
        .prop_map(|(local, edge, evpn, tor, validated)| Tree { local, edge, evpn, tor, validated });
    let from = prop_oneof![
        Just(From::Workload(VIF3)),
        Just(From::Workload(VIF4)),
        (2..7u8).prop_map(From::Ingress),
        (2..7u8).prop_map(From::Edge),
        (2..7u8).prop_map(From::Vni),
    ];
    (tree, from)
}

#[test]
fn any_tree_copies_what_the_table_says() {
    let config = ProptestConfig::with_cases(150);
    let mut runner = TestRunner::new(config);
    runner
        .run(&any_tree(), |(tree, from)| {
            each(|site| {
                with_vif5(site);
                tree.plant(site);
                let broadcast = frame(Mac::BROADCAST, MAC9);
                let (at, packet) = match from {
                    From::Workload(vif) => (vif, broadcast.clone()),
                    From::Ingress(node) => {
                        (FABRIC, sent_by(node, mpls_over_udp(INGRESS_LABEL, 64, &broadcast)))
                    }
                    From::Edge(node) => {
                        let inside = in_edge_tree(4242, (node, 1), &broadcast);
                        (FABRIC, sent_by(node, mpls_over_gre(EDGE_LABEL, 64, &inside)))
                    }
                    From::Vni(node) => (FABRIC, sent_by(node, vxlan(5001, &broadcast))),
                };
                let outcome = site.exchange(&[(at, &packet)]);
                let (wanted, reason) = expected(&tree, from);
                let mut got: Vec<_> = copies(&outcome)
                    .into_iter()
                    .map(|copy| {
                        assert_eq!(copy.frame, broadcast);
                        (FABRIC, copy.node, copy.label, copy.block)
                    })
                    .collect();
                for vif in [VIF3, VIF4, VIF5] {
                    for copy in outcome.on(vif) {
                        assert_eq!(*copy, broadcast);
                        got.push((vif, 0, 0, None));
                    }
                }
                got.sort();
                assert_eq!(got, wanted);
                assert_eq!(outcome.drops.get(reason), 1, "{:?}", outcome.drops);
            });
            Ok(())
        })
        .unwrap();
}
