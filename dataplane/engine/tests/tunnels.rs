//! Tunnels byte for byte, against headers that another library built or that stand here in full.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::{IpAddr, Ipv6Addr};

use site::*;
use tables::{
    Adjacency, DropReason, NextHopKind, NhFamily, NhId, Object, Op, Owner, Rewrite, TunnelEncap,
    VrfId,
};
use wire::Mac;

/// The outer Ethernet and IPv4 header from here to 192.0.2.2, by another library.
fn outer(protocol: etherparse::IpNumber, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut ip = etherparse::Ipv4Header::new(
        u16::try_from(payload.len()).unwrap(),
        64,
        protocol,
        endpoint(1).octets(),
        endpoint(2).octets(),
    )
    .unwrap();
    ip.dont_fragment = false;
    ip.identification = id;
    ip.header_checksum = ip.calc_header_checksum();
    [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[8, 0], &ip.to_bytes(), payload].concat()
}

/// A workload's packet as it looks after one hop.
fn routed(packet: &[u8]) -> Vec<u8> {
    let mut ip = packet[14..].to_vec();
    ip[8] -= 1;
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&ip).unwrap();
    header.header_checksum = header.calc_header_checksum();
    ip[..20].copy_from_slice(&header.to_bytes());
    ip
}

fn with_id(mut packet: Vec<u8>, id: u16) -> Vec<u8> {
    packet[18..20].copy_from_slice(&id.to_be_bytes());
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap();
    header.header_checksum = header.calc_header_checksum();
    packet[14..34].copy_from_slice(&header.to_bytes());
    packet
}

fn udp_header(sent: &[u8], port: u16, payload: usize) -> Vec<u8> {
    let length = u16::try_from(8 + payload).unwrap();
    [&sent[34..36], &port.to_be_bytes(), &length.to_be_bytes(), &[0, 0]].concat()
}

#[test]
fn mpls_over_udp_is_ip_udp_label_payload() {
    each(|site| {
        let packet = with_id(udp(MAC3, 3, 9, (4000, 5000), b"over UDP"), 0x1234);
        let sent = site.through(VIF3, &packet, FABRIC);
        let inner = routed(&packet);
        let payload =
            [udp_header(&sent, 6635, 4 + inner.len()), mpls_word(33, 63).to_vec(), inner].concat();
        assert_eq!(sent, outer(etherparse::IpNumber::UDP, 0x1234, &payload));
    });
}

#[test]
fn mpls_over_gre_is_ip_gre_label_payload() {
    each(|site| {
        let packet = with_id(ping(MAC3, 3, 10), 7);
        let sent = site.through(VIF3, &packet, FABRIC);
        let payload = [&[0, 0, 0x88, 0x47][..], &mpls_word(34, 63), &routed(&packet)].concat();
        assert_eq!(sent, outer(etherparse::IpNumber::GRE, 7, &payload));
    });
}

#[test]
fn vxlan_carries_a_bridged_frame_as_it_is() {
    each(|site| {
        let mut packet = with_id(udp(MAC3, 3, 9, (4000, 5000), b"bridged"), 9);
        packet[..6].copy_from_slice(&MAC9.0);
        let sent = site.through(VIF3, &packet, FABRIC);
        let payload = [
            udp_header(&sent, 4789, 8 + packet.len()),
            [&[8, 0, 0, 0], &(5001u32 << 8).to_be_bytes()[..]].concat(),
            packet,
        ]
        .concat();
        assert_eq!(sent, outer(etherparse::IpNumber::UDP, 9, &payload));
    });
}

#[test]
fn vxlan_carries_a_routed_packet_between_the_routers_macs() {
    each(|site| {
        let packet = with_id(udp(MAC3, 3, 11, (4000, 5000), b"routed"), 11);
        let sent = site.through(VIF3, &packet, FABRIC);
        let inner = [&ROUTER_MAC.0[..], &UPLINK_MAC.0, &[8, 0], &routed(&packet)].concat();
        let payload = [
            udp_header(&sent, 4789, 8 + inner.len()),
            [&[8, 0, 0, 0], &(6009u32 << 8).to_be_bytes()[..]].concat(),
            inner,
        ]
        .concat();
        assert_eq!(sent, outer(etherparse::IpNumber::UDP, 11, &payload));
    });
}

#[test]
fn an_ipv6_packet_travels_under_its_label_with_one_hop_less() {
    each(|site| {
        let [from, to] = ["2001:db8:a:1::3", "2001:db8:a:1::9"]
            .map(|address| address.parse::<Ipv6Addr>().unwrap().octets());
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv6(from, to, 64)
            .udp(1000, 2000)
            .write(&mut packet, b"six")
            .unwrap();
        let sent = site.through(VIF3, &packet, FABRIC);
        let mut inner = packet[14..].to_vec();
        inner[7] = 63;
        assert_eq!(sent[42..46], mpls_word(33, 63));
        assert_eq!(sent[46..], inner);
        // And back, by the label's next hop, with the EtherType of its version.
        let out = site.through(FABRIC, &mpls_over_udp(20, 64, &inner), VIF3);
        assert_eq!(out, [&MAC3.0[..], &Mac::GATEWAY.0, &[0x86, 0xdd], &inner].concat());
    });
}

#[test]
fn a_label_delivers_straight_to_its_workload() {
    each(|site| {
        let packet = ping(MAC9, 9, 3);
        let expected = [&MAC3.0[..], &Mac::GATEWAY.0, &[8, 0], &packet[14..]].concat();
        for tunnel in [mpls_over_udp, mpls_over_gre] {
            assert_eq!(site.through(FABRIC, &tunnel(20, 2, &packet[14..]), VIF3), expected);
        }
        // A bridge label carries frames.
        assert_eq!(site.through(FABRIC, &mpls_over_udp(30, 64, &packet), VIF3), packet);
        // A label of a translate next hop is routed, and that costs a hop.
        let out = site.through(FABRIC, &mpls_over_udp(52, 64, &packet[14..]), VIF3);
        assert_eq!(out[14..], routed(&packet));
    });
}

#[test]
fn a_vni_is_bridged_or_routed_by_the_inner_mac() {
    each(|site| {
        let mut packet = ping(MAC9, 9, 3);
        let routed_out = site.through(FABRIC, &vxlan(6001, &packet), VIF3);
        assert_eq!(routed_out[14..], routed(&packet));
        packet[..6].copy_from_slice(&MAC4.0);
        assert_eq!(site.through(FABRIC, &vxlan(5001, &packet), VIF4), packet);
        site.exchange(&[(FABRIC, &vxlan(5002, &packet))])
            .expect_drops(&[(DropReason::InvalidVnid, 1)]);
        let mut alert = vxlan(5001, &packet);
        alert[42] = 9;
        site.exchange(&[(FABRIC, &alert)]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
    });
}

#[test]
fn the_payload_is_what_the_label_says_and_never_guessed() {
    each(|site| {
        // A frame whose first byte looks like IPv4, under a bridge label; and junk under a packet label.
        let mut frame = ping(MAC9, 9, 3);
        frame[0] = 0x46;
        assert_eq!(site.through(FABRIC, &mpls_over_udp(30, 64, &frame), VIF3), frame);
        site.exchange(&[(FABRIC, &mpls_over_udp(20, 64, &[0x56; 40]))])
            .expect_drops(&[(DropReason::InvalidProtocol, 1)]);
        site.exchange(&[(FABRIC, &mpls_over_udp(30, 64, &[0x45; 13]))])
            .expect_drops(&[(DropReason::InvalidPacket, 1)]);
    });
}

#[test]
fn only_a_local_endpoint_decapsulates() {
    each(|site| {
        let foreign = |last| {
            let mut packet = mpls_over_udp(20, 64, &ping(MAC9, 9, 3)[14..]);
            packet[33] = last;
            packet
        };
        site.exchange(&[(FABRIC, &foreign(7))]).expect_drops(&[(DropReason::Discard, 1)]);
        site.put([nh(90, NhFamily::Inet, VrfId(0), to_workload(FABRIC, REMOTE_MAC))]);
        site.put([route(VrfId(0), "192.0.2.0/24", 90, None)]);
        site.exchange(&[(FABRIC, &foreign(7))]).expect_drops(&[(DropReason::InvalidSource, 1)]);
        let other_port = outer_udp(6081, b"geneve, say");
        site.exchange(&[(FABRIC, &other_port)]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
    });
}

#[test]
fn a_packet_is_not_tunnelled_back_to_where_it_came_from() {
    each(|site| {
        site.put([label(99, 99), nh(99, NhFamily::Inet, RED, NextHopKind::Translate(RED))]);
        let back = mpls_over_udp(99, 64, &ping(MAC3, 3, 9)[14..]);
        site.exchange(&[(FABRIC, &back)]).expect_drops(&[(DropReason::PktLoop, 1)]);
        // Two tables that point at each other.
        site.put([
            nh(80, NhFamily::Inet, VrfId(20), NextHopKind::Translate(VrfId(21))),
            nh(81, NhFamily::Inet, VrfId(21), NextHopKind::Translate(VrfId(20))),
            route(VrfId(20), "0.0.0.0/0", 80, None),
            route(VrfId(21), "0.0.0.0/0", 81, None),
            route(RED, "10.99.0.0/16", 81, None),
        ]);
        let mut packet = ping(MAC3, 3, 9);
        packet[30..34].copy_from_slice(&[10, 99, 0, 1]);
        site.exchange(&[(VIF3, &packet)]).expect_drops(&[(DropReason::PktLoop, 1)]);
    });
}

#[test]
fn a_tunnel_without_a_neighbour_or_a_label_is_unusable() {
    each(|site| {
        site.put([
            tunnel(44, 99, TunnelEncap::MplsOverUdp),
            route(RED, "10.10.3.0/24", 44, Some(50)),
        ]);
        let mut packet = ping(MAC3, 3, 9);
        packet[30..34].copy_from_slice(&[10, 10, 3, 1]);
        site.exchange(&[(VIF3, &packet)]).expect_drops(&[(DropReason::InvalidNh, 1)]);
        let mut bridged = ping(MAC3, 3, 9);
        bridged[..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
        site.put([bridge(RED, Mac([2, 9, 9, 9, 9, 9]), 42, None)]);
        site.exchange(&[(VIF3, &bridged)]).expect_drops(&[(DropReason::InvalidLabel, 1)]);
    });
}

#[test]
fn an_ipv6_underlay_carries_and_is_decapsulated() {
    each(|site| {
        let [here, there]: [Ipv6Addr; 2] =
            ["2001:db8:f::1", "2001:db8:f::2"].map(|address| address.parse().unwrap());
        let kind = NextHopKind::Tunnel {
            source: IpAddr::V6(here),
            destination: IpAddr::V6(there),
            encap: TunnelEncap::MplsOverUdp,
            rewrite: Rewrite::Underlay,
        };
        site.put([
            nh(45, NhFamily::Inet, VrfId(0), kind),
            route(RED, "10.10.1.12/32", 45, Some(36)),
            route(VrfId(0), "2001:db8:f::1/128", 10, None),
        ]);
        let adjacency = Adjacency {
            destination: IpAddr::V6(there),
            vif: FABRIC,
            source: UPLINK_MAC,
            neighbor: REMOTE_MAC,
        };
        site.apply([Op::Put(Object::Adjacency(adjacency))], Owner::Vrouterd);
        let packet = udp(MAC3, 3, 12, (1, 2), b"six outside");
        let sent = site.through(VIF3, &packet, FABRIC);
        let inner = routed(&packet);
        let length = u16::try_from(12 + inner.len()).unwrap();
        let expected = [
            &REMOTE_MAC.0[..],
            &UPLINK_MAC.0,
            &[0x86, 0xdd],
            // The flow label is judged with the other next hops.
            &[0x60, sent[15], sent[16], sent[17]],
            &length.to_be_bytes(),
            &[17, 64],
            &here.octets(),
            &there.octets(),
            &sent[54..56],
            &6635u16.to_be_bytes(),
            &length.to_be_bytes(),
            &[0, 0],
            &mpls_word(36, 63),
            &inner,
        ]
        .concat();
        assert_eq!(sent, expected);
        // Turned round, with a label of ours, it is delivered.
        let mut back = sent;
        back[..6].copy_from_slice(&UPLINK_MAC.0);
        back[6..12].copy_from_slice(&REMOTE_MAC.0);
        back[22..38].copy_from_slice(&there.octets());
        back[38..54].copy_from_slice(&here.octets());
        back[62..66].copy_from_slice(&mpls_word(20, 64));
        assert_eq!(site.through(FABRIC, &back, VIF3)[14..], inner);
    });
}

#[test]
fn a_routed_packet_reaches_a_local_neighbour_with_its_rewrite() {
    each(|site| {
        let packet = udp(MAC3, 3, 4, (1, 2), b"next door");
        let out = site.through(VIF3, &packet, VIF4);
        assert_eq!(out, [&MAC4.0[..], &Mac::GATEWAY.0, &[8, 0], &routed(&packet)].concat());
        let gone = NhId(21);
        site.apply(
            [Op::Put(Object::NextHop(tables::NextHop {
                id: gone,
                family: NhFamily::Inet,
                vrf: Some(RED),
                flags: tables::NhFlags::default(),
                kind: to_workload(VIF4, MAC4),
            }))],
            Owner::Agent,
        );
        site.exchange(&[(VIF3, &packet)]).expect_drops(&[(DropReason::InvalidNh, 1)]);
        let mut unresolved = packet;
        unresolved[30..34].copy_from_slice(&tenant(99).octets());
        site.exchange(&[(VIF3, &unresolved)]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
    });
}

#[test]
fn point_34_a_label_whose_ttl_ends_delivers_nothing_and_a_frame_starts_with_64() {
    each(|site| {
        let packet = |ttl| mpls_over_udp(20, ttl, &udp(MAC9, 9, 3, (1, 2), b"x")[14..]);
        for ttl in [0, 1] {
            site.send(FABRIC, &[packet(ttl)]).expect_drops(&[(DropReason::TtlExceeded, 1)]);
        }
        site.through(FABRIC, &packet(2), VIF3);
        // A routed packet's label has the packet's, a bridged frame's has none to copy.
        let sent = site.through(VIF3, &udp(MAC3, 3, 9, (1, 2), b"x"), FABRIC);
        assert_eq!((sent[45], ttl(&sent[46..])), (63, 63));
        site.put([bridge(RED, MAC9, 40, Some(30))]);
        let mut frame = udp(MAC3, 3, 9, (1, 2), b"x");
        frame[..6].copy_from_slice(&MAC9.0);
        let sent = site.through(VIF3, &frame, FABRIC);
        assert_eq!((sent[45], ttl(&sent[60..])), (64, 64));
    });
}
