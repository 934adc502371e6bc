//! Unusual interfaces: sub-interfaces, service VLANs, monitoring, several uplinks, the gateway.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use site::*;
use tables::*;
use wire::Mac;

const SUB: VifId = VifId(6);
const OTHER_SUB: VifId = VifId(7);
const MONITOR: VifId = VifId(4000);
const BLUE: VrfId = VrfId(5);

/// A tag with a priority behind the MACs.
fn tagged(frame: &[u8], priority: u8, vlan: u16) -> Vec<u8> {
    let word = (u16::from(priority) << 13 | vlan).to_be_bytes();
    [&frame[..12], &[0x81, 0x00], &word, &frame[12..]].concat()
}

fn sub(id: VifId, parent: VifId, (rx_vlan, tx_vlan): (u16, u16), stations: &[Mac]) -> Vif {
    let sub = SubInterface { parent, rx_vlan, tx_vlan, stations: stations.to_vec() };
    let kind = VifKind::VirtualVlan;
    Vif { vrf: RED, mac: Mac::GATEWAY, sub: Some(sub), ..Vif::new(id, format!("sub{id}"), kind) }
}

/// A frame to a workload on a sub-interface: bridged by its MAC.
fn to_station(site: &mut Site, vif: VifId, next_hop: u32, mac: Mac) {
    let frame = NextHopKind::Encap { vif, rewrite: Vec::new() };
    site.put([nh(next_hop, NhFamily::Bridge, RED, frame), bridge(RED, mac, next_hop, None)]);
}

fn frame(to: Mac, from: Mac) -> Vec<u8> {
    [&to.0[..], &from.0, &[0x88, 0xb5], b"a frame of no known kind, longer than a runt"].concat()
}

const MAC6: Mac = Mac([2, 0, 0, 0, 0xa1, 6]);
const MAC7: Mac = Mac([2, 0, 0, 0, 0xa1, 7]);

#[test]
fn point_40_a_sub_interface_counts_and_its_parent_does_not() {
    each(|site| {
        site.put([Object::Vif(sub(SUB, VIF3, (101, 102), &[]))]);
        to_station(site, SUB, 60, MAC6);
        let plain = frame(MAC4, MAC6);
        assert_eq!(
            site.through(VIF3, &tagged(&plain, 3, 101), VIF4),
            plain,
            "one tag is taken off"
        );
        let (parent, child) = (site.counters.vif(VIF3), site.counters.vif(SUB));
        assert_eq!((parent.rx_packets, parent.rx_bytes), (0, 0));
        assert_eq!((child.rx_packets, child.rx_bytes), (1, plain.len() as u64 + 4));
        let back = frame(MAC6, MAC4);
        assert_eq!(site.through(VIF4, &back, VIF3), tagged(&back, 0, 102));
        let (parent, child) = (site.counters.vif(VIF3), site.counters.vif(SUB));
        assert_eq!((parent.tx_packets, child.tx_packets), (0, 1));
        assert_eq!(child.tx_bytes, back.len() as u64 + 4);
        // Untagged and of another VLAN: the parent's.
        site.through(VIF3, &frame(MAC4, MAC3), VIF4);
        site.through(VIF3, &tagged(&frame(MAC4, MAC3), 0, 9), VIF4);
        assert_eq!(site.counters.vif(VIF3).rx_packets, 2);
        site.still_forwards();
    });
}

#[test]
fn a_sub_interface_is_chosen_by_vlan_and_source_mac() {
    each(|site| {
        site.put([
            Object::Vif(Vif { vrf: BLUE, ..sub(SUB, VIF3, (101, 101), &[MAC6, MAC7]) }),
            Object::Vif(sub(OTHER_SUB, VIF3, (101, 101), &[])),
        ]);
        let sent = site.exchange(&[(VIF3, &tagged(&frame(MAC4, MAC7), 0, 101))]);
        sent.expect_drops(&[(DropReason::L2NoRoute, 1)]);
        assert_eq!(
            site.counters.vif_drops(SUB).total(),
            1,
            "the sub-interface is where it came in"
        );
        site.through(VIF3, &tagged(&frame(MAC4, MAC3), 0, 101), VIF4);
        assert_eq!(site.counters.vif(OTHER_SUB).rx_packets, 1);
    });
}

#[test]
fn point_40_with_two_tags_the_outer_one_selects_and_the_inner_one_stays() {
    each(|site| {
        site.put([Object::Vif(sub(SUB, VIF3, (13, 13), &[]))]);
        site.put([Object::Vif(sub(OTHER_SUB, VIF4, (14, 14), &[]))]);
        to_station(site, OTHER_SUB, 61, MAC7);
        let inner = tagged(&frame(MAC7, MAC6), 2, 10);
        let sent = site.through(VIF3, &tagged(&inner, 5, 13), VIF4);
        assert_eq!(sent, tagged(&inner, 5, 14), "double tag, the priority it came with");
    });
}

#[test]
fn point_40_without_a_tag_of_its_own_a_sub_interface_writes_the_priority_only() {
    each(|site| {
        site.put([Object::Vif(sub(SUB, VIF3, (13, 13), &[]))]);
        site.put([Object::Vif(sub(OTHER_SUB, VIF4, (14, 0), &[]))]);
        to_station(site, OTHER_SUB, 61, MAC7);
        let inner = tagged(&frame(MAC7, MAC6), 2, 10);
        let sent = site.through(VIF3, &tagged(&inner, 5, 13), VIF4);
        assert_eq!(sent, tagged(&frame(MAC7, MAC6), 5, 10));
        let bare = frame(MAC7, MAC6);
        assert_eq!(site.through(VIF3, &tagged(&bare, 5, 13), VIF4), bare);
    });
}

#[test]
fn what_is_routed_leaves_by_a_sub_interface_with_its_tag() {
    each(|site| {
        site.put([
            Object::Vif(sub(SUB, VIF3, (101, 101), &[])),
            nh(62, NhFamily::Inet, RED, to_workload(SUB, MAC6)),
            route(RED, "10.10.1.6/32", 62, None),
        ]);
        let sent = site.through(VIF4, &ping(MAC4, 4, 6), VIF3);
        assert_eq!(&sent[..18], &tagged(&[&MAC6.0[..], &Mac::GATEWAY.0, &[8, 0]].concat(), 0, 101));
        // A tagged packet of a workload behind it is routed as any.
        let sent = site.through(VIF3, &tagged(&ping(MAC6, 6, 9), 0, 101), FABRIC);
        assert_eq!(sent[42..46], mpls_word(33, 63));
    });
}

#[test]
fn a_sub_interface_without_its_parent_is_an_invalid_interface() {
    each(|site| {
        site.put([Object::Vif(sub(SUB, VIF3, (101, 101), &[]))]);
        to_station(site, SUB, 60, MAC6);
        site.apply([Op::Delete(Key::Vif(VIF3))], Owner::Agent);
        let sent = site.exchange(&[(VIF4, &frame(MAC6, MAC4))]);
        sent.expect_drops(&[(DropReason::InvalidIf, 1)]);
        // Point 46: drops on the way out are charged to where the packet came in.
        assert_eq!(site.counters.vif_drops(VIF4).get(DropReason::InvalidIf), 1);
        assert_eq!(site.counters.vif(SUB).tx_errors, 1);
        let sent = site.exchange(&[(VIF3, &frame(MAC4, MAC3))]);
        sent.expect_drops(&[(DropReason::InterfaceRxDiscard, 1)]);
    });
}

#[test]
fn the_uplink_has_sub_interfaces_too_and_native_packets_are_of_vlan_0() {
    each(|site| {
        let uplink = Vif { mac: UPLINK_MAC, ..Vif::new(FABRIC, "eth0", VifKind::Physical) };
        let native = uplink.flags.with(VifFlags::NATIVE_VLAN_TAG);
        site.put([Object::Vif(sub(SUB, FABRIC, (7, 7), &[]))]);
        site.through(FABRIC, &tagged(&frame(MAC4, MAC6), 0, 7), VIF4);
        site.still_forwards();
        site.put([
            Object::Vif(Vif { flags: native, ..uplink }),
            Object::Vif(sub(OTHER_SUB, FABRIC, (0, 0), &[])),
        ]);
        site.through(FABRIC, &frame(MAC4, MAC6), VIF4);
        assert_eq!(site.counters.vif(OTHER_SUB).rx_packets, 1);
        // A physical parent counts what its sub-interfaces receive.
        assert_eq!(site.counters.vif(FABRIC).rx_packets, 3);
    });
}

#[test]
fn a_service_interface_is_of_the_vrf_of_the_vlan() {
    each(|site| {
        let assign = |vlan| VrfAssign { vif: VIF3, vlan, vrf: BLUE, next_hop: None };
        site.put([Object::VrfAssign(assign(101)), bridge(BLUE, MAC9, 31, None)]);
        let to_blue = tagged(&frame(MAC9, MAC3), 0, 101);
        assert_eq!(site.through(VIF3, &to_blue, VIF4), to_blue, "bridged with its tag");
        // No assignment, no tag: the interface's own VRF.
        site.through(VIF3, &tagged(&frame(MAC4, MAC3), 0, 102), VIF4);
        site.through(VIF3, &frame(MAC4, MAC3), VIF4);
    });
}

#[test]
fn point_26_broadcast_from_a_service_interface_is_dropped() {
    each(|site| {
        let flags = VifFlags::SERVICE;
        let service =
            Vif { vrf: RED, mac: Mac::GATEWAY, flags, ..Vif::new(VIF3, "tap3", VifKind::Virtual) };
        let members = [(30, None), (31, None)];
        site.put([
            Object::Vif(service),
            nh(81, NhFamily::Bridge, RED, composite(CompositeKind::Encap, &members)),
            nh(80, NhFamily::Bridge, RED, composite(CompositeKind::Multicast, &[(81, None)])),
            bridge(RED, Mac::BROADCAST, 80, None),
        ]);
        let loud = frame(Mac::BROADCAST, MAC3);
        let sent = site.exchange(&[(VIF3, &loud), (VIF3, &tagged(&loud, 0, 9))]);
        sent.expect_drops(&[(DropReason::InterfaceDrop, 2)]);
        site.still_forwards();
    });
}

#[test]
fn a_monitored_interface_is_copied_both_ways() {
    each(|site| {
        let monitor =
            Vif { monitors: Some(VIF3), ..Vif::new(MONITOR, "mon3", VifKind::Monitoring) };
        site.put([Object::Vif(monitor)]);
        site.open(MONITOR, 0);
        site.turn_all();
        let there = ping(MAC3, 3, 9);
        let sent = site.exchange(&[(VIF3, &there)]);
        assert_eq!(sent.on(MONITOR), std::slice::from_ref(&there), "as it came");
        assert_eq!(sent.on(FABRIC).len(), 1);
        let back = mpls_over_udp(20, 64, &ping(MAC9, 9, 3)[14..]);
        let sent = site.exchange(&[(FABRIC, &back)]);
        assert_eq!(sent.on(MONITOR), sent.on(VIF3), "as it went, without tunnel headers");
        assert_eq!(site.counters.vif(MONITOR).tx_packets, 2);
        // It never receives.
        let sent = site.exchange(&[(MONITOR, &there)]);
        sent.expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        // What the monitor does not take is its own loss.
        site.apply([Op::Delete(Key::Vif(MONITOR))], Owner::Agent);
        site.still_forwards();
    });
}

#[test]
fn h27_transit_is_dropped_unless_the_node_is_a_gateway() {
    each(|site| {
        let rewrite = [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[8, 0]].concat();
        site.put([
            nh(70, NhFamily::Inet, VrfId(0), NextHopKind::Encap { vif: FABRIC, rewrite }),
            route(VrfId(0), "198.51.100.0/24", 70, None),
        ]);
        let passing = {
            let builder = etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0)
                .ipv4([198, 51, 99, 7], [198, 51, 100, 50], 64)
                .udp(1, 2);
            let mut out = Vec::new();
            builder.write(&mut out, b"transit").unwrap();
            out
        };
        let sent = site.exchange(&[(FABRIC, &passing)]);
        sent.expect_drops(&[(DropReason::InvalidSource, 1)]);
        // The host's own traffic is not transit.
        site.add_host();
        let mut own = passing.clone();
        own[..6].copy_from_slice(&HOST_MAC.0);
        site.through(HOST, &own, FABRIC);
        let flags = VifFlags::FABRIC_GATEWAY;
        site.put([Object::Vif(Vif {
            flags,
            mac: UPLINK_MAC,
            ..Vif::new(FABRIC, "eth0", VifKind::Physical)
        })]);
        let sent = site.through(FABRIC, &passing, FABRIC);
        assert_eq!(sent[..12], [REMOTE_MAC.0, UPLINK_MAC.0].concat());
        assert_eq!(sent[22], 63, "a hop was taken off");
        site.through(HOST, &own, FABRIC);
    });
}

#[test]
fn underlay_ecmp_spreads_flows_over_the_uplinks_that_are_there() {
    each(|site| {
        let second = VifId(1);
        site.put([vif(second, "eth1", VifKind::Physical, VrfId(0), Mac([2, 0, 0, 0, 0xf0, 3]))]);
        site.open(second, 0);
        site.turn_all();
        let uplink = |vif, last| {
            let rewrite = [&REMOTE_MAC.0[..], &[2, 0, 0, 0, 0xf0, last], &[8, 0]].concat();
            Some(Uplink { vif, rewrite })
        };
        let over = |uplinks| {
            let kind = NextHopKind::Tunnel {
                source: endpoint(1).into(),
                destination: endpoint(2).into(),
                encap: TunnelEncap::MplsOverUdp,
                rewrite: Rewrite::Uplinks(uplinks),
            };
            [nh(71, NhFamily::Inet, VrfId(0), kind), route(RED, "10.10.1.20/32", 71, Some(40))]
        };
        site.put(over(vec![uplink(FABRIC, 1), uplink(second, 3)]));
        let flows: Vec<_> = (0..200).map(|port| udp(MAC3, 3, 20, (port, 80), b"x")).collect();
        let sent = site.send(VIF3, &flows);
        let (here, there) = (sent.on(FABRIC).len(), sent.on(second).len());
        assert_eq!(here + there, flows.len());
        assert!(here > 60 && there > 60, "{here} and {there}");
        assert_eq!(sent.on(second)[0][6..12], [2, 0, 0, 0, 0xf0, 3]);
        // The same flow, the same uplink.
        assert_eq!(site.send(VIF3, &flows).on(second).len(), there);
        site.put(over(vec![None, uplink(second, 3), None]));
        assert_eq!(site.send(VIF3, &flows).on(second).len(), flows.len());
        site.apply([Op::Delete(Key::Vif(second))], Owner::Agent);
        let lost = site.send(VIF3, &flows);
        lost.expect_drops(&[(DropReason::InvalidUnderlayEcmp, 200)]);
    });
}
