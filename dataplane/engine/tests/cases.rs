//! The cases of the bug log, each with its own capture, with one worker and with two.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::collections::BTreeSet;

use engine::DropStatistics;
use site::*;
use tables::{
    CompositeKind, DropReason, Key, Member, NextHopKind, NhFamily, NhId, Op, Owner, TunnelEncap,
    VrfId,
};
use wire::Mac;

/// Packets of `mk-HNN-*.pcap` by their number in the file, from 1.
fn numbered(packets: &[Vec<u8>], number: usize) -> &[u8] {
    &packets[number - 1]
}

#[test]
fn h01_arp_with_odd_lengths_or_operation_is_invalid() {
    each(|site| {
        let packets = capture("mk-H01-arp-lengths.pcap");
        site.send(VIF3, &packets).expect_drops(&[(DropReason::InvalidArp, 4)]);
        site.send(VIF3, &capture("td-arp-hlen-14.pcap"))
            .expect_drops(&[(DropReason::InvalidArp, 1)]);
        site.still_forwards();
    });
}

#[test]
fn h02_an_inner_length_that_contradicts_the_frame_is_an_invalid_packet() {
    each(|site| {
        let packets = capture("mk-H02-inner-length.pcap");
        site.send(FABRIC, &packets).expect_drops(&[(DropReason::InvalidPacket, 4)]);
        let inner: Vec<&[u8]> = packets.iter().map(|packet| &packet[46..]).collect();
        let gre: Vec<_> = inner.iter().map(|inner| mpls_over_gre(20, 64, inner)).collect();
        site.send(FABRIC, &gre).expect_drops(&[(DropReason::InvalidPacket, 4)]);
        let vxlan: Vec<_> = inner
            .iter()
            .map(|inner| vxlan(5001, &[&MAC3.0, &MAC9.0, &[8, 0][..], inner].concat()))
            .collect();
        site.send(FABRIC, &vxlan).expect_drops(&[(DropReason::InvalidPacket, 4)]);
        site.still_forwards();
    });
}

#[test]
fn h03_padding_is_neither_summed_nor_forwarded() {
    each(|site| {
        let packets = capture("mk-H03-trailer-padding.pcap");
        let outcome = site.send(FABRIC, &packets);
        let [zeros, junk] = outcome.on(VIF3) else { panic!("{outcome:?}") };
        assert_eq!(zeros, junk);
        assert_eq!(junk.len(), 14 + 29);
        assert_sums(&junk[14..]);
        // An unfinished sum in a padded frame from a workload: the sum covers the datagram alone.
        let mut padded = udp(MAC3, 3, 9, (1000, 2000), b"x");
        let pseudo = wire::checksum::pseudo_v4(tenant(3), tenant(9), 17, 9).folded();
        padded[40..42].copy_from_slice(&pseudo.to_be_bytes());
        padded.resize(60, 0xa5);
        let sent = site.through(VIF3, &padded, FABRIC);
        assert_eq!(sent.len(), 46 + 29);
        assert_sums(&sent[46..]);
    });
}

#[test]
fn h05_runts_are_counted_drops() {
    each(|site| {
        let packets = capture("mk-H05-runts.pcap");
        let outcome = site.send(VIF3, &packets);
        outcome.expect_drops(&[
            (DropReason::InvalidPacket, 3),
            (DropReason::InterfaceDrop, 1),
            (DropReason::Pull, 1),
        ]);
        site.exchange(&[(VIF3, &[])]).expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        assert_eq!(site.counters.vif(VIF3).rx_errors, 2);
        site.still_forwards();
    });
}

#[test]
fn h07_all_24_bits_of_a_vni_choose_the_table() {
    each(|site| {
        // Three networks with the same workload address, each on another port or through another tunnel.
        for (number, vrf, next_hop) in
            [(11_158_251, 2u16, 30u32), (672_491, 3, 31), (16_777_215, 4, 42)]
        {
            let id = 100 + u32::from(vrf);
            site.put([
                nh(id, NhFamily::Bridge, VrfId(vrf), NextHopKind::Translate(VrfId(vrf))),
                bridge(VrfId(vrf), MAC3, next_hop, None),
                vni(number, id),
            ]);
        }
        let packets = capture("mk-H07-vni-24bit.pcap");
        let outcome = site.send(FABRIC, &packets);
        assert_eq!(outcome.on(VIF3), [packets[0][50..].to_vec()]);
        assert_eq!(outcome.on(VIF4), [packets[2][50..].to_vec()]);
        // A bridge entry that leads back into the fabric: no transit.
        outcome.expect_drops(&[(DropReason::InvalidSource, 1)]);
    });
}

#[test]
fn h08_what_is_taken_as_a_tunnel_without_a_host_interface() {
    each(|site| {
        let packets = capture("mk-H08-decap-variants.pcap");
        for number in [1, 3, 4, 5, 6, 7, 8, 9] {
            let out = site.through(FABRIC, numbered(&packets, number), VIF3);
            assert_eq!(out[..6], MAC3.0, "frame {number}");
        }
        for (number, reason) in [
            (2, DropReason::InvalidVnid),
            (10, DropReason::TrapNoIf),
            (11, DropReason::TrapNoIf),
            (12, DropReason::InvalidLabel),
            (13, DropReason::InvalidLabel),
            (14, DropReason::InvalidLabel),
        ] {
            let outcome = site.exchange(&[(FABRIC, numbered(&packets, number))]);
            outcome.expect_drops(&[(reason, 1)]);
        }
        // The label that means "what follows counts" is skipped.
        let stack =
            [&[0xff, 0xff, 0xf0, 0x40], &mpls_word(20, 64)[..], &ping(MAC9, 9, 3)[14..]].concat();
        let out = site.through(FABRIC, &outer_udp(6635, &stack), VIF3);
        assert_eq!(out[14..], ping(MAC9, 9, 3)[14..]);
    });
}

#[test]
fn h08_what_is_no_tunnel_of_ours_reaches_the_host_untouched() {
    each(|site| {
        site.add_host();
        let packets = capture("mk-H08-decap-variants.pcap");
        for number in [10, 11] {
            let out = site.through(FABRIC, numbered(&packets, number), HOST);
            assert_eq!(out, numbered(&packets, number));
        }
        let fragment = {
            let mut packet = numbered(&packets, 7).to_vec();
            packet[20] |= 0x20;
            packet
        };
        site.exchange(&[(FABRIC, &fragment)]).expect_drops(&[(DropReason::Fragments, 1)]);
    });
}

#[test]
fn h09_one_ttl_decrement_a_routed_packet_and_none_for_a_local_service() {
    each(|site| {
        let packets = capture("mk-H09-ttl.pcap");
        let expired = site.exchange(&[(VIF3, numbered(&packets, 2))]);
        expired.expect_drops(&[(DropReason::TtlExceeded, 1)]);
        let [told] = expired.on(VIF3) else { panic!("{expired:?}") };
        assert_eq!((&told[..6], &told[6..12]), (&MAC3.0[..], &Mac::GATEWAY.0[..]));
        assert_eq!(
            (&told[26..30], &told[30..34]),
            (&tenant(1).octets()[..], &tenant(3).octets()[..])
        );
        assert_eq!(told[34..36], [11, 0], "time exceeded");
        assert_eq!(told[42..], numbered(&packets, 2)[14..], "quotes what was sent, TTL and all");
        let two_tables = site.through(VIF3, numbered(&packets, 3), FABRIC);
        assert_eq!(ttl(&two_tables[46..]), 1);
        assert_eq!(two_tables[45], 1, "the label's TTL is the packet's");
        assert_sums(&two_tables[46..]);
        for number in [4, 5] {
            let outcome = site.exchange(&[(FABRIC, numbered(&packets, number))]);
            outcome.expect_drops(&[(DropReason::TtlExceeded, 1)]);
        }
        let mut dead = numbered(&packets, 3).to_vec();
        dead[22] = 0;
        site.exchange(&[(VIF3, &dead)]).expect_drops(&[(DropReason::TtlExceeded, 1)]);
        site.add_host();
        let service = site.through(VIF3, numbered(&packets, 1), HOST);
        assert_eq!(service[..6], HOST_MAC.0);
        assert_eq!(service[14..], numbered(&packets, 1)[14..], "TTL 1 arrives as 1");
        let bridged = [&MAC4.0[..], &numbered(&packets, 2)[6..]].concat();
        assert_eq!(site.through(VIF3, &bridged, VIF4), bridged, "bridging takes nothing off");
    });
}

#[test]
fn h10_source_ports_follow_the_flow_and_fragments_keep_together() {
    each(|site| {
        let packets = capture("mk-H10-hash-inputs.pcap");
        let port = |packet: &Vec<u8>| u16::from_be_bytes([packet[34], packet[35]]);
        let outcome = site.send(VIF3, &packets);
        let ports: Vec<u16> = outcome.on(FABRIC).iter().map(port).collect();
        assert_eq!(ports.len(), 19);
        assert!(ports.iter().all(|port| *port >= 49152));
        assert!(ports[..16].iter().collect::<BTreeSet<_>>().len() >= 8, "{ports:?}");
        assert_eq!(ports[16..].iter().collect::<BTreeSet<_>>().len(), 1, "{ports:?}");
        let again: Vec<u16> = site.send(VIF3, &packets).on(FABRIC).iter().map(port).collect();
        assert_eq!(again, ports);
    });
}

#[test]
fn h15_an_unfinished_sum_is_completed_for_a_tunnel_and_for_a_neighbour() {
    each(|site| {
        let packets = capture("mk-H15-partial-checksum.pcap");
        let outcome = site.send(VIF3, &packets);
        let [unfinished, finished] = outcome.on(FABRIC) else { panic!("{outcome:?}") };
        assert_sums(&unfinished[46..]);
        assert_sums(&finished[46..]);
        let local = {
            let mut packet = udp(MAC3, 3, 4, (1, 2), b"to the neighbour");
            let pseudo = wire::checksum::pseudo_v4(tenant(3), tenant(4), 17, 24).folded();
            packet[40..42].copy_from_slice(&pseudo.to_be_bytes());
            packet
        };
        assert_sums(&site.through(VIF3, &local, VIF4)[14..]);
        // What comes from the fabric is never judged, let alone repaired.
        let mut wrong = udp(MAC9, 9, 3, (1, 2), b"from afar");
        let pseudo = wire::checksum::pseudo_v4(tenant(9), tenant(3), 17, 17).folded();
        wrong[40..42].copy_from_slice(&pseudo.to_be_bytes());
        let out = site.through(FABRIC, &mpls_over_udp(20, 64, &wrong[14..]), VIF3);
        assert_eq!(out[14..], wrong[14..]);
        let mut broken = udp(MAC3, 3, 9, (1, 2), b"a wrong sum");
        broken[40] ^= 0x55;
        let out = site.through(VIF3, &broken, FABRIC);
        assert_eq!(out[46 + 20..], broken[34..]);
    });
}

#[test]
fn h16_a_udp_sum_of_zero_means_none_and_stays_none() {
    each(|site| {
        let packets = capture("mk-H16-udp-zero-checksum.pcap");
        let field = |ip: &[u8]| [ip[26], ip[27]];
        let none = site.through(VIF3, numbered(&packets, 1), FABRIC);
        assert_eq!(field(&none[46..]), [0, 0]);
        let ones = site.through(VIF3, numbered(&packets, 2), FABRIC);
        assert_eq!(field(&ones[46..]), [0xff, 0xff]);
        let delivered = site.through(FABRIC, numbered(&packets, 3), VIF3);
        assert_eq!(delivered[14..], numbered(&packets, 3)[46..]);
        let v6 = site.through(FABRIC, numbered(&packets, 4), VIF3);
        assert_eq!(v6[14..], numbered(&packets, 4)[46..]);
        // Unfinished, and comes to zero: sent as ones.
        let mut unfinished = numbered(&packets, 1).to_vec();
        let pseudo = wire::checksum::pseudo_v4(tenant(3), tenant(9), 17, 10).folded();
        unfinished[40..42].copy_from_slice(&pseudo.to_be_bytes());
        assert_eq!(field(&site.through(VIF3, &unfinished, FABRIC)[46..]), [0xff, 0xff]);
        assert_eq!(none[40..42], [0, 0], "the outer sum is none");
    });
}

#[test]
fn h17_probes_and_announcements_are_not_answered() {
    each(|site| {
        let packets = capture("mk-H17-arp-probe.pcap");
        // No broadcast tree: what would be flooded has no way.
        site.send(VIF3, &packets).expect_drops(&[(DropReason::L2NoRoute, 2)]);
        let request = arp_request(50);
        let reply = site.through(VIF3, &request, VIF3);
        assert_eq!(reply[..6], MAC3.0);
        assert_eq!(reply[6..12], Mac::GATEWAY.0);
        assert_eq!(reply[20..22], [0, 2]);
        assert_eq!(reply[28..32], tenant(50).octets());
    });
}

#[test]
fn h20_frames_for_others_are_neither_decapsulated_nor_routed() {
    each(|site| {
        let packets = capture("mk-H20-foreign-dmac.pcap");
        let outcome = site.send(FABRIC, &packets);
        outcome.expect_drops(&[(DropReason::InterfaceDrop, 3)]);
        assert_eq!(site.counters.vif_drops(FABRIC).total(), 3);
    });
}

#[test]
fn h28_a_group_keeps_its_members_places() {
    each(|site| {
        let member = |id| Some(Member { next_hop: NhId(id), label: Some(id - 27) });
        let group = |members: Vec<Option<Member>>| {
            let kind = NextHopKind::Composite { kind: CompositeKind::Ecmp(0), members };
            nh(70, NhFamily::Inet, RED, kind)
        };
        site.put((60..=62u8).map(|id| tunnel(u32::from(id), id - 58, TunnelEncap::MplsOverUdp)));
        site.put([
            group(vec![member(60), member(61), member(62)]),
            route(RED, "10.10.1.100/32", 70, None),
        ]);
        let flows: Vec<Vec<u8>> =
            (0..300).map(|flow| udp(MAC3, 3, 100, (10_000 + flow, 53), b"flow")).collect();
        let tunnels = |site: &mut Site| -> Vec<(u8, u32)> {
            let outcome = site.send(VIF3, &flows);
            let far = |packet: &Vec<u8>| {
                let word = u32::from_be_bytes(packet[42..46].try_into().unwrap());
                (packet[33], word >> 12)
            };
            outcome.on(FABRIC).iter().map(far).collect()
        };
        let all = tunnels(site);
        let to = |far: u8| all.iter().filter(|(end, _)| *end == far).count();
        assert!((2..=4).all(|far| to(far) > 60), "{} {} {}", to(2), to(3), to(4));
        assert!(all.iter().all(|(far, label)| *label == u32::from(*far) + 31));
        site.put([group(vec![member(60), None, member(62)])]);
        let without = tunnels(site);
        for (before, after) in all.iter().zip(&without) {
            assert!(before.0 == 3 && after.0 != 3 || before == after);
        }
        site.put([group(vec![member(60), member(61), member(62)])]);
        assert_eq!(tunnels(site), all);
        site.put([group(vec![None, None, None])]);
        site.send(VIF3, &flows).expect_drops(&[(DropReason::InvalidNh, 300)]);
        site.apply([Op::Delete(Key::Inet(RED, "10.10.1.100/32".parse().unwrap()))], Owner::Agent);
        site.send(VIF3, &flows[..1]).expect_drops(&[(DropReason::Discard, 1)]);
    });
}

#[test]
fn drops_are_charged_to_where_the_packet_came_in_and_to_its_vrf() {
    each(|site| {
        let lost = udp(MAC3, 3, 77, (1, 2), b"no such neighbour");
        site.exchange(&[(VIF3, &lost)]).expect_drops(&[(DropReason::Discard, 1)]);
        assert_eq!(site.counters.vif_drops(VIF3).get(DropReason::Discard), 1);
        assert_eq!(site.counters.vrf_drops(RED).get(DropReason::Discard), 1);
        assert_eq!(site.counters.vif_drops(FABRIC), DropStatistics::default());
        site.through(VIF3, &ping(MAC3, 3, 9), FABRIC);
        let (rx, tx) = (site.counters.vif(VIF3), site.counters.vif(FABRIC));
        assert_eq!((rx.rx_packets, rx.rx_bytes), (2, (lost.len() + 59) as u64));
        assert_eq!((tx.tx_packets, tx.tx_bytes), (1, 59 + 32));
    });
}

fn arp_request(target: u8) -> Vec<u8> {
    let mut frame = vec![0; 42];
    wire::Ethernet::new(Mac::BROADCAST, MAC3, wire::ethertype::ARP).emit(&mut frame).unwrap();
    wire::Arp::new(wire::ArpOperation::Request, (MAC3, tenant(3)), (Mac::ZERO, tenant(target)))
        .emit(&mut frame[14..])
        .unwrap();
    frame
}
