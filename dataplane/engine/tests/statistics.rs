//! What is counted beside interfaces and drops: what packets of a VRF met, and stations of the bridge table.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use engine::VrfCount;
use site::policy::*;
use site::*;
use tables::*;
use wire::Mac;

/// Exactly these counts of a VRF, no more.
#[track_caller]
fn expect(site: &Site, vrf: VrfId, expected: &[(VrfCount, u64)]) {
    let stats = site.counters.vrf(Some(vrf));
    let met = VrfCount::ALL.iter().map(|count| (*count, stats.get(*count)));
    let met: Vec<_> = met.filter(|(_, packets)| *packets != 0).collect();
    let mut expected = expected.to_vec();
    expected.sort_by_key(|(count, _)| *count as u8);
    assert_eq!(met, expected);
}

/// An IPv6 packet between tenants.
fn datagram_v6(to: u8) -> Vec<u8> {
    let at = |host| [0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 1, 0, 0, 0, 0, 0, 0, 0, host];
    let mut out = Vec::new();
    let builder = etherparse::PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0);
    builder.ipv6(at(3), at(to), 64).udp(1000, 53).write(&mut out, b"?").unwrap();
    out
}

#[test]
fn packets_without_a_route_begin_no_session_and_are_counted_as_any() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(0xa, Verdict::Pass)]);
        let slot = site.model.bridge_slot(RED, Mac::GATEWAY).unwrap();
        let station = Station { vrf: RED, mac: Mac::GATEWAY };
        // Of different kinds, and between them packets that lead somewhere.
        let mut packets: Vec<_> =
            (0..40).map(|n| udp(MAC3, 3, 70 + n % 3, (1000, 53), b"?")).collect();
        packets.extend((0..4).map(|_| datagram_v6(0x77)));
        packets.insert(7, udp(MAC3, 3, 9, (1000, 53), b"far"));
        packets.push(udp(MAC3, 3, 4, (1000, 53), b"near"));
        let outcome = site.send(VIF3, &packets);
        outcome.expect_drops(&[(DropReason::Discard, 44)]);
        assert_eq!((outcome.on(FABRIC).len(), outcome.on(VIF4).len()), (1, 1));
        assert_eq!(flows(sessions).len(), 4, "of the two that lead somewhere");
        expect(
            site,
            RED,
            &[
                (VrfCount::L2Receives, 46),
                (VrfCount::Discards, 44),
                (VrfCount::UdpMplsTunnels, 1),
                (VrfCount::Encaps, 1),
            ],
        );
        assert_eq!(site.counters.station(slot, station), 46);
        // What a table says of a moment ago is forgotten with it.
        site.put([route(RED, "10.10.1.70/32", 40, Some(60))]);
        let outcome = site.send(VIF3, &packets[..1]);
        assert_eq!(outcome.on(FABRIC).len(), 1);
    });
}

#[test]
fn a_packet_without_a_route_here_may_have_one_where_it_is_translated_to() {
    each_with_flows(|site, _| {
        network_rules(site, vec![rule(0xa, Verdict::Pass)]);
        let lost = || {
            let mut packet = udp(MAC3, 3, 77, (1000, 53), b"?");
            packet[30..34].copy_from_slice(&outside().octets());
            fix_sum(&mut packet);
            packet[40..42].fill(0);
            packet
        };
        site.send(VIF3, &[lost()]).expect_drops(&[(DropReason::Discard, 1)]);
        let network = vec![NETWORK];
        add_floating_ip(site, policed(VIF3, VifPolicy { network, ..VifPolicy::default() }));
        assert_eq!(site.send(VIF3, &[lost()]).on(FABRIC).len(), 1);
    });
}

#[test]
fn each_next_hop_is_counted_in_the_vrf_the_packet_is_in() {
    each(|site| {
        let there = |to, count| vec![ping(MAC3, 3, to); count];
        site.send(VIF3, &there(9, 100));
        site.send(VIF3, &there(10, 3));
        site.send(VIF3, &there(11, 4));
        site.send(VIF3, &there(4, 5));
        site.send(VIF3, &there(77, 6));
        let mut frame = ping(MAC3, 3, 4);
        frame[..6].copy_from_slice(&MAC4.0);
        site.send(VIF3, &vec![frame; 7]);
        expect(
            site,
            RED,
            &[
                (VrfCount::L2Receives, 118),
                (VrfCount::UdpMplsTunnels, 100),
                (VrfCount::GreMplsTunnels, 3),
                (VrfCount::VxlanTunnels, 4),
                (VrfCount::Encaps, 5),
                (VrfCount::Discards, 6),
                (VrfCount::L2Encaps, 7),
            ],
        );
    });
}

#[test]
fn tunnel_packets_are_received_in_the_fabrics_vrf_and_delivered_in_the_workloads() {
    each(|site| {
        let packet = mpls_over_udp(20, 64, &ping(MAC9, 9, 3)[14..]);
        site.send(FABRIC, &vec![packet; 70]);
        expect(site, VrfId(0), &[(VrfCount::Receives, 70)]);
        expect(site, RED, &[(VrfCount::Encaps, 70)]);
    });
}

#[test]
fn what_takes_a_detour_is_counted_once() {
    each(|site| {
        // By another worker, for half of the flows.
        let flow = |port| udp(MAC9, 9, 3, (port, 53), b"flow")[14..].to_vec();
        let flows: Vec<_> = (0..70).map(|port| mpls_over_gre(20, 64, &flow(port))).collect();
        site.send(FABRIC, &flows);
        expect(site, VrfId(0), &[(VrfCount::Receives, 70)]);
        expect(site, RED, &[(VrfCount::Encaps, 70)]);
        // No tunnel's, for the host.
        site.add_host();
        site.send(FABRIC, &[outer_udp(53, b"a name server's answer")]);
        expect(site, VrfId(0), &[(VrfCount::Receives, 71)]);
        // In two pieces.
        let mut large = udp(MAC3, 3, 9, (1, 2), &[7; 1472]);
        large[20] = 0;
        assert_eq!(site.send(VIF3, &[large]).on(FABRIC).len(), 2);
        // A question that `control` leaves to the workload.
        let sender = [&MAC9.0[..], &tenant(9).octets()].concat();
        let head = [&MAC3.0[..], &MAC9.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        let question = [&head[..], &sender, &[0; 6], &tenant(3).octets()].concat();
        site.through(FABRIC, &vxlan(5001, &question), VIF3);
        let stats = site.counters.vrf(Some(RED));
        assert_eq!(stats.get(VrfCount::UdpMplsTunnels), 2);
        assert_eq!(stats.get(VrfCount::L2Encaps), 1);
    });
}

#[test]
fn groups_trees_translations_and_unknown_stations_are_counted() {
    each(|site| {
        let group = composite(CompositeKind::Ecmp(0), &[(40, Some(33)), (41, Some(34))]);
        let local = composite(CompositeKind::Encap, &[(30, None), (31, None)]);
        let remote = composite(CompositeKind::Evpn, &[(42, Some(5001))]);
        let tree = composite(CompositeKind::Multicast, &[(81, None), (82, None)]);
        let floods = VifFlags::UNKNOWN_UNICAST_FLOOD;
        site.put([
            nh(80, NhFamily::Bridge, RED, tree),
            nh(81, NhFamily::Bridge, RED, local),
            nh(82, NhFamily::Bridge, RED, remote),
            nh(90, NhFamily::Inet, RED, group),
            bridge(RED, Mac::BROADCAST, 80, None),
            route(RED, "10.10.1.90/32", 90, None),
            Object::Vif(Vif {
                vrf: RED,
                mac: Mac::GATEWAY,
                flags: floods,
                ..Vif::new(VIF3, "tap3", VifKind::Virtual)
            }),
        ]);
        let frame = |to: Mac| [&to.0[..], &MAC3.0, &[0x88, 0xb5], &[0; 50]].concat();
        let unknown = Mac([2, 0, 0, 0, 0, 0x77]);
        let input = [frame(Mac::BROADCAST), frame(unknown), ping(MAC3, 3, 90)];
        site.send(VIF3, &input);
        // From the network's VRF to the overlay's.
        let mut to_overlay = ping(MAC3, 3, 9);
        to_overlay[32] = 2;
        to_overlay = ping_to(&to_overlay);
        site.send(VIF3, &[to_overlay]);
        let stats = site.counters.vrf(Some(RED));
        for (count, packets) in [
            (VrfCount::McastComposites, 2),
            (VrfCount::EncapComposites, 2),
            (VrfCount::EvpnComposites, 2),
            (VrfCount::UnknownUnicastFloods, 1),
            (VrfCount::EcmpComposites, 1),
            (VrfCount::VrfTranslates, 1),
        ] {
            assert_eq!(stats.get(count), packets, "{count:?}");
        }
        assert_eq!(site.counters.vrf(Some(OVERLAY)).get(VrfCount::UdpMplsTunnels), 1);
    });
}

/// The same packet with a right IPv4 header checksum.
fn ping_to(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap();
    header.header_checksum = header.calc_header_checksum();
    packet[14..34].copy_from_slice(&header.to_bytes());
    packet
}

#[test]
fn stations_count_the_packets_that_found_them_and_a_new_station_starts_at_0() {
    each(|site| {
        let of = |site: &Site, mac| {
            let slot = site.model.bridge_slot(RED, mac).unwrap();
            site.counters.station(slot, Station { vrf: RED, mac })
        };
        let mut frame = ping(MAC3, 3, 4);
        frame[..6].copy_from_slice(&MAC4.0);
        site.send(VIF3, &vec![frame; 70]);
        site.send(VIF3, &vec![ping(MAC3, 3, 9); 2]);
        assert_eq!((of(site, MAC4), of(site, Mac::GATEWAY), of(site, MAC3)), (70, 2, 0));
        let old = site.model.bridge_slot(RED, MAC4).unwrap();
        site.apply([Op::Delete(Key::Bridge(RED, MAC4))], Owner::Agent);
        let other = Mac([2, 0, 0, 0, 0, 0x55]);
        site.put([bridge(RED, other, 31, None)]);
        assert_eq!(site.model.bridge_slot(RED, other), Some(old), "the slot is used again");
        assert_eq!(of(site, other), 0);
    });
}

#[test]
fn arp_decisions_are_counted_for_workloads() {
    each(|site| {
        let request = |target: u8| {
            let mut arp = vec![0xff; 6];
            arp.extend(MAC3.0);
            arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            arp.extend(MAC3.0);
            arp.extend(tenant(3).octets());
            arp.extend([0; 6]);
            arp.extend(tenant(target).octets());
            arp
        };
        let mut stitched = match proxied(RED, "10.10.1.44/32", 21, Some(21), RouteFlags::ARP_PROXY)
        {
            Object::Inet(route) => route,
            other => panic!("{other:?}"),
        };
        stitched.mac = Some(MAC4);
        site.put([Object::Inet(stitched)]);
        site.send(VIF3, &[request(50), request(44), request(4)]);
        let stats = site.counters.vrf(Some(RED));
        assert_eq!(stats.get(VrfCount::ArpVirtualProxys), 1);
        assert_eq!(stats.get(VrfCount::ArpVirtualStitchs), 1);
        assert_eq!(stats.get(VrfCount::ArpVirtualFloods), 1);
    });
}
