//! DSCP and ECN: classes, and tunnels in and out (RFC 6040) of both families.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use engine::{DscpMode, Settings};
use site::*;
use tables::*;
use wire::Mac;

/// Sets DSCP and ECN of the IPv4 header behind an Ethernet header.
fn with_tos(mut packet: Vec<u8>, tos: u8) -> Vec<u8> {
    packet[15] = tos;
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap();
    header.header_checksum = header.calc_header_checksum();
    packet[14..34].copy_from_slice(&header.to_bytes());
    packet
}

fn right_checksum(ip: &[u8]) -> bool {
    let (header, _) = etherparse::Ipv4Header::from_slice(ip).unwrap();
    header.header_checksum == header.calc_header_checksum()
}

/// An IPv6 packet to a workload's gateway.
fn udp6(source: Mac, from: u16, to: u16, class: u8) -> Vec<u8> {
    let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, last).octets();
    let builder = etherparse::PacketBuilder::ethernet2(source.0, Mac::GATEWAY.0)
        .ipv6(address(from), address(to), 64)
        .udp(1, 2);
    let mut out = Vec::new();
    builder.write(&mut out, b"six").unwrap();
    out[14] |= class >> 4;
    out[15] |= class << 4;
    out
}

fn class_of_v6(ip: &[u8]) -> u8 {
    ip[0] << 4 | ip[1] >> 4
}

fn classes(site: &mut Site) {
    let class = ForwardingClass { id: ClassId(2), dscp: 46, exp: 5, dot1p: 6, queue: 3 };
    let map = QosMap {
        dscp: BTreeMap::from([(10, ClassId(2))]),
        dot1p: BTreeMap::from([(5, ClassId(2))]),
        ..QosMap::new(QosMapId(1))
    };
    let vif = Vif { vrf: RED, mac: Mac::GATEWAY, ..Vif::new(VIF3, "tap3", VifKind::Virtual) };
    site.put([
        Object::Class(class),
        Object::QosMap(map),
        Object::Vif(Vif { qos_map: Some(QosMapId(1)), ..vif }),
    ]);
}

#[test]
fn a_class_marks_tunnels_by_dscp_and_traffic_class_and_leaves_the_packet_alone() {
    each(|site| {
        classes(site);
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 9), 10 << 2), FABRIC);
        assert_eq!(sent[15], 46 << 2);
        assert!(right_checksum(&sent[14..]));
        assert_eq!(sent[44], mpls_word(33, 63)[2] | 5 << 1);
        assert_eq!(sent[47], 10 << 2, "inside as it was");
        // Another DSCP has no class: class 0 does not exist.
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 9), 11 << 2), FABRIC);
        assert_eq!((sent[15], sent[44]), (0, mpls_word(33, 63)[2]));
        let sent = site.through(VIF3, &udp6(MAC3, 3, 9, 10 << 2), FABRIC);
        assert_eq!(sent[15], 46 << 2);
        // To a workload: as it was sent.
        assert_eq!(site.through(VIF3, &with_tos(ping(MAC3, 3, 4), 10 << 2), VIF4)[15], 10 << 2);
    });
}

#[test]
fn what_is_no_ip_is_classed_by_priority() {
    each(|site| {
        classes(site);
        let frame = [&MAC9.0[..], &MAC3.0, &[0x81, 0, 5 << 5, 9, 0x88, 0xb5], &[7; 50]].concat();
        assert_eq!(site.through(VIF3, &frame, FABRIC)[15], 46 << 2);
        let mut other = frame.clone();
        other[14] = 4 << 5;
        assert_eq!(site.through(VIF3, &other, FABRIC)[15], 0);
    });
}

#[test]
fn what_leaves_the_fabric_side_as_it_is_gets_its_class_written_in() {
    each(|site| {
        classes(site);
        site.add_host();
        let rewrite = [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[8, 0]].concat();
        site.put([
            nh(70, NhFamily::Inet, VrfId(0), NextHopKind::Encap { vif: FABRIC, rewrite }),
            route(RED, "10.10.1.70/32", 70, None),
            route(RED, "2001:db8:a:1::70/128", 70, None),
        ]);
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 70), 10 << 2 | 1), FABRIC);
        assert_eq!(sent[15], 46 << 2 | 1, "ECN is the packet's");
        assert!(right_checksum(&sent[14..]));
        let sent = site.through(VIF3, &udp6(MAC3, 3, 0x70, 10 << 2), FABRIC);
        assert_eq!(class_of_v6(&sent[14..]), 46 << 2);
        // The host as well.
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 1), 10 << 2), HOST);
        assert_eq!(sent[15], 46 << 2);
    });
}

#[test]
fn a_sub_interface_writes_the_priority_of_the_class() {
    each(|site| {
        classes(site);
        let sub = SubInterface { parent: VIF4, rx_vlan: 9, tx_vlan: 9, stations: vec![] };
        let vif = Vif { vrf: RED, ..Vif::new(VifId(6), "sub", VifKind::VirtualVlan) };
        site.put([
            Object::Vif(Vif { sub: Some(sub), ..vif }),
            nh(60, NhFamily::Inet, RED, to_workload(VifId(6), MAC4)),
            route(RED, "10.10.1.60/32", 60, None),
        ]);
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 60), 10 << 2), VIF4);
        assert_eq!(sent[12..16], [0x81, 0x00, 6 << 5, 9]);
    });
}

#[test]
fn ecn_goes_into_every_tunnel_and_dscp_does_not() {
    each(|site| {
        for ecn in 0..4u8 {
            for to in [9, 10, 11] {
                let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, to), 8 << 2 | ecn), FABRIC);
                assert_eq!(sent[15], ecn, "to {to}");
                assert!(right_checksum(&sent[14..]));
            }
            let sent = site.through(VIF3, &udp6(MAC3, 3, 9, 8 << 2 | ecn), FABRIC);
            assert_eq!(sent[15], ecn);
            // Bridged.
            let mut frame = with_tos(ping(MAC3, 3, 9), ecn);
            frame[..6].copy_from_slice(&MAC9.0);
            assert_eq!(site.through(VIF3, &frame, FABRIC)[15], ecn);
        }
    });
}

#[test]
fn ecn_comes_out_of_tunnels_merged() {
    // Outer, inner, what is delivered: RFC 6040 figure 4.
    let table = [
        (0b11, 0b10, Some(0b11)),
        (0b11, 0b01, Some(0b11)),
        (0b11, 0b11, Some(0b11)),
        (0b01, 0b10, Some(0b01)),
        (0b10, 0b01, Some(0b01)),
        (0b00, 0b10, Some(0b10)),
        (0b01, 0b00, Some(0b00)),
        (0b11, 0b00, None),
    ];
    each(|site| {
        for (outer, inner, expected) in table {
            let inside = with_tos(ping(MAC9, 9, 3), 8 << 2 | inner);
            let mut bridged = inside.clone();
            bridged[..6].copy_from_slice(&MAC3.0);
            let vxlan = [&[8, 0, 0, 0, 0, 0x13, 0x89, 0], &bridged[..]].concat();
            for packet in [
                mpls_over_udp(20, 64, &inside[14..]),
                mpls_over_gre(20, 64, &inside[14..]),
                outer_udp(4789, &vxlan),
            ] {
                let sent = site.exchange(&[(FABRIC, &with_tos(packet, 46 << 2 | outer))]);
                match expected {
                    Some(ecn) => {
                        assert_eq!(sent.on(VIF3)[0][15], 8 << 2 | ecn, "{outer:02b} {inner:02b}");
                        assert!(right_checksum(&sent.on(VIF3)[0][14..]));
                    }
                    None => sent.expect_drops(&[(DropReason::InvalidPacket, 1)]),
                }
            }
            let six = mpls_over_udp(20, 64, &udp6(MAC9, 9, 3, inner)[14..]);
            let sent = site.exchange(&[(FABRIC, &with_tos(six, outer))]);
            let delivered = sent.on(VIF3).first().map(|frame| class_of_v6(&frame[14..]));
            assert_eq!(delivered, expected);
        }
    });
}

#[test]
fn an_ipv6_underlay_carries_ecn_both_ways() {
    each(|site| {
        let [here, there]: [Ipv6Addr; 2] =
            ["2001:db8:f::1", "2001:db8:f::2"].map(|address| address.parse().unwrap());
        let kind = NextHopKind::Tunnel {
            source: IpAddr::V6(here),
            destination: IpAddr::V6(there),
            encap: TunnelEncap::MplsOverUdp,
            rewrite: Rewrite::Given(
                FABRIC,
                [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[0x86, 0xdd]].concat(),
            ),
        };
        site.put([
            nh(45, NhFamily::Inet, VrfId(0), kind),
            route(RED, "10.10.1.12/32", 45, Some(36)),
            route(VrfId(0), "2001:db8:f::1/128", 10, None),
        ]);
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 12), 0b10), FABRIC);
        assert_eq!(class_of_v6(&sent[14..]), 0b10);
        let payload = [&mpls_word(20, 64)[..], &with_tos(ping(MAC9, 9, 3), 0b10)[14..]].concat();
        let builder = etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0)
            .ipv6(there.octets(), here.octets(), 64)
            .udp(53001, 6635);
        let mut out = Vec::new();
        builder.write(&mut out, &payload).unwrap();
        out[15] |= 0b11 << 4;
        assert_eq!(site.through(FABRIC, &out, VIF3)[15], 0b11);
    });
}

#[test]
fn in_uniform_mode_the_dscp_goes_in_and_comes_out() {
    for workers in [1, 2] {
        let options = Settings { dscp: DscpMode::Uniform, ..Settings::default() };
        let mut site = Site::with_options(workers, options);
        let sent = site.through(VIF3, &with_tos(ping(MAC3, 3, 9), 46 << 2 | 1), FABRIC);
        assert_eq!(sent[15], 46 << 2 | 1);
        for dscp in [0, 46] {
            let inside = with_tos(ping(MAC9, 9, 3), 8 << 2 | 2);
            let packet = with_tos(mpls_over_udp(20, 64, &inside[14..]), dscp << 2);
            assert_eq!(site.through(FABRIC, &packet, VIF3)[15], dscp << 2 | 2);
        }
        site.close();
    }
}
