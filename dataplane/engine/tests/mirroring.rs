//! Mirrors (point 43) and what they never do.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::IpAddr;

use site::policy::*;
use site::*;
use tables::*;
use wire::{Mac, Vni, protocol};

const MIRROR: MirrorId = MirrorId(3);

fn mirror(next_hop: u32, vni: Option<u32>, flags: MirrorFlags) -> Object {
    let vni = vni.map(|vni| Vni::try_from(vni).unwrap());
    Object::Mirror(Mirror { id: MIRROR, next_hop: NhId(next_hop), vni, vlan: 0, flags })
}

fn mirrored(id: VifId, flags: VifFlags) -> Vif {
    let name = format!("tap{id}");
    let mut vif =
        Vif { vrf: RED, mac: Mac::GATEWAY, flags, ..Vif::new(id, name, VifKind::Virtual) };
    vif.mirror = Some(MIRROR);
    vif
}

fn analyser(id: u32, source: &str, destination: &str, flags: NhFlags, vrf: VrfId) -> Object {
    let kind = NextHopKind::Tunnel {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        encap: TunnelEncap::Udp { source: 8097, destination: 8099 },
        rewrite: Rewrite::Underlay,
    };
    flagged(id, NhFamily::Inet, vrf, flags, kind)
}

#[test]
fn point_43_what_is_received_is_mirrored_in_vxlan_as_it_came() {
    each(|site| {
        site.put([
            mirror(42, Some(7001), MirrorFlags(0)),
            Object::Vif(mirrored(VIF3, VifFlags::MIRROR_RX)),
        ]);
        let packet = ping(MAC3, 3, 4);
        let sent = site.exchange(&[(VIF3, &packet)]);
        let copy = &sent.on(FABRIC)[0];
        assert_eq!(copy[36..38], 4789u16.to_be_bytes());
        assert_eq!(copy[42..50], [8, 0, 0, 0, 0, 0x1b, 0x59, 0]);
        assert_eq!(copy[50..], packet, "with its TTL untouched");
        assert_eq!(sent.on(VIF4).len(), 1);
        sent.expect_drops(&[]);
        site.through(VIF4, &ping(MAC4, 4, 3), VIF3);
    });
}

#[test]
fn point_43_what_is_sent_is_mirrored_without_tunnel_headers() {
    each(|site| {
        site.put([
            mirror(42, Some(7001), MirrorFlags(0)),
            Object::Vif(mirrored(VIF3, VifFlags::MIRROR_TX)),
        ]);
        let sent = site.exchange(&[(FABRIC, &mpls_over_udp(20, 64, &ping(MAC9, 9, 3)[14..]))]);
        assert_eq!(sent.on(FABRIC)[0][50..], sent.on(VIF3)[0], "an Ethernet header was added");
        assert_eq!(sent.on(VIF3)[0][..6], MAC3.0);
    });
}

#[test]
fn point_43_a_mirror_is_never_mirrored() {
    each(|site| {
        let both = VifFlags::MIRROR_RX.with(VifFlags::MIRROR_TX);
        let uplink = Vif {
            mac: UPLINK_MAC,
            flags: both,
            mirror: Some(MIRROR),
            ..Vif::new(FABRIC, "eth0", VifKind::Physical)
        };
        site.put([mirror(42, Some(7001), MirrorFlags(0)), Object::Vif(uplink)]);
        site.put([Object::Vif(mirrored(VIF3, VifFlags::MIRROR_RX))]);
        let sent = site.exchange(&[(VIF3, &ping(MAC3, 3, 9))]);
        // The packet, the copy of what came in, the copy of what went out; no copies of copies.
        assert_eq!(sent.on(FABRIC).len(), 3);
        sent.expect_drops(&[]);
    });
}

#[test]
fn point_43_a_dynamic_mirror_puts_metadata_in_front_and_ff00_without() {
    each(|site| {
        let dynamic = mirror(24, None, MirrorFlags::DYNAMIC);
        let vif = mirrored(VIF3, VifFlags::MIRROR_RX);
        site.put([
            analyser(24, "192.0.2.1", "192.0.2.3", NhFlags(0), VrfId(0)),
            dynamic,
            Object::Vif(vif.clone()),
        ]);
        let packet = ping(MAC3, 3, 4);
        let sent = site.exchange(&[(VIF3, &packet)]);
        let [copy] = sent.on(FABRIC) else { panic!("{sent:?}") };
        assert_eq!(copy[..14], [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[8, 0]].concat());
        let (ip, _) = etherparse::Ipv4Header::from_slice(&copy[14..]).unwrap();
        assert_eq!((ip.source, ip.destination), ([192, 0, 2, 1], [192, 0, 2, 3]));
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        let (header, payload) = etherparse::UdpHeader::from_slice(&copy[34..]).unwrap();
        assert_eq!((header.source_port, header.destination_port), (8097, 8099));
        assert_eq!(header.checksum, header.calc_checksum_ipv4(&ip, payload).unwrap());
        assert_eq!(payload, [&[0xff, 0x00], &packet[..]].concat());

        let ingress_metadata = b"juniper header".to_vec();
        site.put([Object::Vif(Vif { ingress_metadata: ingress_metadata.clone(), ..vif })]);
        let sent = site.exchange(&[(VIF3, &packet)]);
        assert_eq!(sent.on(FABRIC)[0][42..], [&ingress_metadata[..], &packet].concat());
    });
}

#[test]
fn point_43_sessions_that_policy_mirrors_are_copied_both_ways_without_tunnel_headers() {
    each_with_flows(|site, sessions| {
        site.put([mirror(42, Some(7001), MirrorFlags(0))]);
        let dns = to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53);
        let mirrored = Rule { mirror: Some(MIRROR), ..dns.clone() };
        network_rules(site, vec![mirrored, rule(0xb, Verdict::Pass)]);
        let there = udp(MAC3, 3, 9, (1000, 53), b"question");
        for _ in 0..2 {
            let sent = site.send(VIF3, std::slice::from_ref(&there));
            let [copy, packet] = sent.on(FABRIC) else { panic!("a copy beside it: {sent:?}") };
            let (copy, packet) =
                if copy[36..38] == [0x12, 0xb5] { (copy, packet) } else { (packet, copy) };
            assert_eq!(copy[42..50], [8, 0, 0, 0, 0, 0x1b, 0x59, 0]);
            assert_eq!(copy[50..], there, "from its Ethernet header on, as it came");
            assert_eq!(packet[36..38], 6635u16.to_be_bytes());
            sent.expect_drops(&[]);
        }
        let back = udp(MAC9, 9, 3, (53, 1000), b"answer");
        let sent = site.send(FABRIC, &[mpls_over_udp(20, 64, &back[14..])]);
        let ([copy], [delivered]) = (sent.on(FABRIC), sent.on(VIF3)) else { panic!("{sent:?}") };
        assert_eq!(copy[50..64], delivered[..14], "the header it is delivered with");
        assert_eq!(copy[64..], back[14..], "before a hop was taken off");
        let [forward, _] = flows(sessions)[..] else { panic!("two flows") };
        assert_eq!(forward.packets, 2, "copies are not counted");

        let other = site.send(VIF3, &[udp(MAC3, 3, 9, (1000, 54), b"not mirrored")]);
        assert_eq!(other.on(FABRIC).len(), 1);
        // With the next packet after its change.
        network_rules(site, vec![dns.clone(), rule(0xb, Verdict::Pass)]);
        assert_eq!(site.send(VIF3, std::slice::from_ref(&there)).on(FABRIC).len(), 1);
        network_rules(site, vec![Rule { mirror: Some(MIRROR), ..dns }]);
        assert_eq!(site.send(VIF3, std::slice::from_ref(&there)).on(FABRIC).len(), 2);
    });
}

#[test]
fn point_43_a_translated_session_is_mirrored_before_its_translation() {
    each_with_flows(|site, _| {
        site.put([
            analyser(24, "192.0.2.1", "192.0.2.3", NhFlags(0), VrfId(0)),
            mirror(24, None, MirrorFlags::DYNAMIC),
        ]);
        site.put([rule_set(
            NETWORK,
            vec![Rule { mirror: Some(MIRROR), ..rule(0xa, Verdict::Pass) }],
        )]);
        let policy = VifPolicy { network: vec![NETWORK], ..VifPolicy::default() };
        let Object::Vif(vif) = policed(VIF3, policy) else { panic!("a vif") };
        let public = VrfId(7);
        let floating_ips = vec![FloatingIp {
            address: "192.0.2.100".parse().unwrap(),
            fixed: tenant(3).into(),
            vrf: public,
            direction: FloatingDirection::Both,
            ports: Vec::new(),
        }];
        site.put([
            route(public, "0.0.0.0/0", 40, Some(60)),
            route(public, "192.0.2.100/32", 20, Some(20)),
            Object::Vif(Vif { floating_ips, ..vif }),
        ]);
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv4(tenant(3).octets(), [198, 51, 100, 9], 64)
            .udp(1000, 53)
            .write(&mut packet, b"question")
            .unwrap();
        let sent = site.send(VIF3, std::slice::from_ref(&packet));
        let copy = sent.on(FABRIC).iter().find(|sent| sent[42..44] == [0xff, 0]);
        assert_eq!(copy.expect("a copy")[44..], packet, "{sent:?}");
        let translated = sent.on(FABRIC).iter().find(|sent| sent[36..38] == 6635u16.to_be_bytes());
        assert_eq!(translated.expect("the packet")[58..62], [192, 0, 2, 100]);
    });
}

#[test]
fn an_analyser_in_a_network_is_reached_by_its_routes_over_either_family() {
    each(|site| {
        let vif = Vif { ip: Some(tenant(3)), ..mirrored(VIF3, VifFlags::MIRROR_RX) };
        // A workload of the same network, and one behind a tunnel.
        for (id, source, destination, to) in [
            (25, "192.0.2.1", "10.10.1.4", VIF4),
            (26, "2001:db8::1", "2001:db8:a:1::4", VIF4),
            (27, "192.0.2.1", "10.10.1.9", FABRIC),
        ] {
            site.put([
                analyser(id, source, destination, NhFlags::TUNNEL_SIP_COPY, RED),
                mirror(id, None, MirrorFlags::DYNAMIC),
                Object::Vif(vif.clone()),
            ]);
            let packet = ping(MAC3, 3, 3);
            let sent = site.exchange(&[(VIF3, &packet)]);
            let [copy] = sent.on(to) else { panic!("{sent:?}") };
            match destination.parse().unwrap() {
                IpAddr::V4(_) if to == VIF4 => assert_eq!(copy[26..30], tenant(3).octets()),
                IpAddr::V4(_) => assert_eq!(copy[42..46], mpls_word(33, 64)),
                IpAddr::V6(_) => {
                    let (ip, rest) = etherparse::Ipv6Header::from_slice(&copy[14..]).unwrap();
                    let (udp, payload) = etherparse::UdpHeader::from_slice(rest).unwrap();
                    assert_eq!(udp.checksum, udp.calc_checksum_ipv6(&ip, payload).unwrap());
                }
            }
            assert!(copy.ends_with(&packet));
        }
    });
}

#[test]
fn a_sub_interface_is_mirrored_with_its_tag_unless_it_says_not() {
    each(|site| {
        let sub = SubInterface { parent: VIF3, rx_vlan: 101, tx_vlan: 101, stations: vec![] };
        let with = |flags| {
            let vif = mirrored(VifId(6), VifFlags::MIRROR_RX.with(flags));
            Object::Vif(Vif { kind: VifKind::VirtualVlan, sub: Some(sub.clone()), ..vif })
        };
        let bare = ping(MAC3, 3, 4);
        let tagged = [&bare[..12], &[0x81, 0, 0, 101], &bare[12..]].concat();
        site.put([mirror(42, Some(7001), MirrorFlags(0)), with(VifFlags(0))]);
        assert_eq!(site.exchange(&[(VIF3, &tagged)]).on(FABRIC)[0][50..], tagged);
        site.put([with(VifFlags::MIRROR_NO_TAG)]);
        assert_eq!(site.exchange(&[(VIF3, &tagged)]).on(FABRIC)[0][50..], bare);
    });
}

#[test]
fn a_mirror_that_is_gone_or_hardware_assisted_copies_nothing() {
    each(|site| {
        site.put([
            mirror(42, None, MirrorFlags::HW_ASSISTED),
            Object::Vif(mirrored(VIF3, VifFlags::MIRROR_RX)),
        ]);
        assert_eq!(site.exchange(&[(VIF3, &ping(MAC3, 3, 4))]).on(FABRIC).len(), 0);
        site.apply([Op::Delete(Key::Mirror(MIRROR))], Owner::Agent);
        assert_eq!(site.exchange(&[(VIF3, &ping(MAC3, 3, 4))]).on(FABRIC).len(), 0);
        site.still_forwards();
    });
}

#[test]
fn the_longest_metadata_fits_in_front_in_every_tunnel() {
    each(|site| {
        let ingress_metadata = vec![7; 255];
        let vif = mirrored(VIF3, VifFlags::MIRROR_RX);
        site.put([
            analyser(27, "192.0.2.1", "10.10.1.11", NhFlags(0), RED),
            mirror(27, None, MirrorFlags::DYNAMIC),
            Object::Vif(Vif { ingress_metadata: ingress_metadata.clone(), ..vif }),
        ]);
        let packet = ping(MAC3, 3, 4);
        let sent = site.exchange(&[(VIF3, &packet)]);
        assert!(sent.on(FABRIC)[0].ends_with(&[&ingress_metadata[..], &packet].concat()));
    });
}

#[test]
fn without_frames_for_copies_the_packets_go_on_and_the_copies_are_counted_as_lost() {
    for workers in [1, 2] {
        let mut site = Site::with_frames(workers, 256);
        site.put([
            mirror(42, Some(7001), MirrorFlags(0)),
            Object::Vif(mirrored(VIF3, VifFlags::MIRROR_RX)),
        ]);
        let sent = site.send(VIF3, &vec![ping(MAC3, 3, 4); 200]);
        assert_eq!(sent.on(VIF4).len(), 200);
        let lost = sent.drops.get(DropReason::CloneFail);
        assert!(lost > 0, "{:?}", sent.drops);
        assert_eq!(sent.on(FABRIC).len() as u64 + lost, 200);
        site.close();
    }
}

#[test]
fn a_copy_too_big_for_the_fabric_is_dropped_and_nobody_told() {
    each(|site| {
        site.put([
            mirror(42, Some(7001), MirrorFlags(0)),
            Object::Vif(mirrored(VIF3, VifFlags::MIRROR_RX)),
        ]);
        let sent = site.exchange(&[(VIF3, &udp(MAC3, 3, 4, (1, 2), &[0; 1460]))]);
        assert_eq!(sent.on(VIF4).len(), 1);
        sent.expect_drops(&[(DropReason::InterfaceDrop, 1)]);
    });
}
