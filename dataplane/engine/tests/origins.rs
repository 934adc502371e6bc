//! Where a packet came from decides what may become of it: what goes round, what is copied again, whose errors count, and
//! how answers find their way.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use site::*;
use tables::*;
use wire::{AgentHeader, Arp, ArpOperation, Ethernet, Mac, Vni, agent_command, ethertype};

const AGENT: VifId = VifId(5);
const AGENT_MAC: Mac = Mac([0, 0, 0x5e, 0, 1, 1]);
const MONITOR: VifId = VifId(4000);
const UPLINK2: VifId = VifId(2);
const UPLINK2_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 3]);
/// A station behind the remote node, in the bridged network.
const OUTSIDE: Mac = Mac([2, 0, 0, 0, 0xb0, 5]);

fn add_agent(site: &mut Site) {
    site.put([
        Object::Vif(Vif {
            transport: Transport::Socket,
            vrf: VrfId(u16::MAX),
            mac: AGENT_MAC,
            ..Vif::new(AGENT, "pkt0", VifKind::Agent)
        }),
        nh(60, NhFamily::Inet, RED, to_workload(AGENT, AGENT_MAC)),
        route(RED, "10.10.1.2/32", 60, None),
    ]);
    site.open(AGENT, 0);
    site.turn_all();
}

fn add_monitor(site: &mut Site, monitored: VifId) {
    let monitor =
        Vif { monitors: Some(monitored), ..Vif::new(MONITOR, "mon", VifKind::Monitoring) };
    site.put([Object::Vif(monitor)]);
    site.open(MONITOR, 0);
    site.turn_all();
}

/// The command, and the frame behind the headers.
#[track_caller]
fn trapped(packet: &[u8]) -> (u16, &[u8]) {
    let (header, frame) = AgentHeader::parse(&packet[14..]).unwrap();
    (header.command(), frame)
}

/// A bridge entry whose frames go behind a control word.
fn worded(mac: Mac, next_hop: u32, label: u32) -> Object {
    Object::Bridge(BridgeEntry {
        vrf: RED,
        mac,
        next_hop: NhId(next_hop),
        label: Some(Vni::try_from(label).unwrap()),
        flags: BridgeFlags::L2_CONTROL_DATA,
    })
}

/// ICMP "host unreachable" about a GRE packet.
fn unreachable(to: [u8; 4], quoted_source: [u8; 4]) -> Vec<u8> {
    let quoted = etherparse::PacketBuilder::ipv4(quoted_source, endpoint(9).octets(), 64);
    let mut body = vec![3, 1, 0, 0, 0, 0, 0, 0];
    let mut quote = Vec::new();
    quoted.write(&mut quote, etherparse::IpNumber::GRE, &[0, 0, 0x88, 0x47, 0, 0, 0, 0]).unwrap();
    body.extend(quote);
    let builder = etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0).ipv4(
        endpoint(9).octets(),
        to,
        64,
    );
    let mut out = Vec::new();
    builder.write(&mut out, etherparse::IpNumber::ICMP, &body).unwrap();
    out
}

#[test]
fn a_route_to_the_routers_own_next_hop_ends_as_a_loop() {
    each(|site| {
        site.put([route(RED, "10.10.1.77/32", 50, None), route(RED, "2001:db8::/32", 50, None)]);
        site.send(VIF3, &[ping(MAC3, 3, 77)]).expect_drops(&[(DropReason::PktLoop, 1)]);
        site.still_forwards();
    });
}

#[test]
fn a_mirrors_copy_is_not_copied_to_a_monitor() {
    each(|site| {
        add_monitor(site, VIF4);
        let flags = VifFlags::MIRROR_RX;
        let (id, vni, vlan) = (MirrorId(3), None, 0);
        site.put([
            Object::Mirror(Mirror { id, next_hop: NhId(31), vni, vlan, flags: MirrorFlags(0) }),
            Object::Vif(Vif {
                vrf: RED,
                mac: Mac::GATEWAY,
                flags,
                mirror: Some(id),
                ..Vif::new(VIF3, "tap3", VifKind::Virtual)
            }),
        ]);
        let sent = site.send(VIF3, &[ping(MAC3, 3, 9)]);
        assert_eq!((sent.on(FABRIC).len(), sent.on(VIF4).len(), sent.on(MONITOR).len()), (1, 1, 0));
    });
}

#[test]
fn a_monitored_agents_interface_still_gets_its_traps() {
    each(|site| {
        add_agent(site);
        add_monitor(site, AGENT);
        let packet = ping(MAC3, 3, 2);
        let sent = site.send(VIF3, std::slice::from_ref(&packet));
        sent.expect_drops(&[]);
        assert_eq!(trapped(&sent.on(AGENT)[0]), (agent_command::NEXTHOP, &packet[..]));
        assert_eq!(sent.on(MONITOR), sent.on(AGENT));
        assert_eq!(site.counters.vif(AGENT).tx_packets, 1);
    });
}

#[test]
fn errors_about_tunnels_are_the_underlays_about_packets_of_ours() {
    each(|site| {
        site.add_host();
        add_agent(site);
        let us = endpoint(1).octets();
        let ours = unreachable(us, us);
        let out = site.through(FABRIC, &ours, AGENT);
        assert_eq!(trapped(&out), (agent_command::ICMP_ERROR, &ours[..]));
        let others = unreachable(us, endpoint(7).octets());
        assert_eq!(site.through(FABRIC, &others, HOST), others);
        // A tenant may say what it likes: it is the host's.
        site.put([label(61, 61), nh(61, NhFamily::Inet, RED, NextHopKind::Translate(RED))]);
        let gateway = tenant(1).octets();
        for forged in [unreachable(gateway, us), unreachable(gateway, gateway)] {
            let out = site.through(FABRIC, &mpls_over_udp(61, 64, &forged[14..]), HOST);
            assert_eq!(out[14..], forged[14..]);
        }
    });
}

#[test]
fn each_uplink_has_its_own_say_about_transit() {
    each(|site| {
        let rewrite = [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[8, 0]].concat();
        let uplink = |id, mac, flags| {
            Object::Vif(Vif { mac, flags, ..Vif::new(id, format!("eth{id}"), VifKind::Physical) })
        };
        site.put([
            uplink(FABRIC, UPLINK_MAC, VifFlags::FABRIC_GATEWAY),
            uplink(UPLINK2, UPLINK2_MAC, VifFlags(0)),
            nh(70, NhFamily::Inet, VrfId(0), NextHopKind::Encap { vif: FABRIC, rewrite }),
            route(VrfId(0), "198.51.100.0/24", 70, None),
        ]);
        site.open(UPLINK2, 0);
        site.turn_all();
        let passing = |to: Mac| {
            let builder = etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, to.0)
                .ipv4([198, 51, 99, 7], [198, 51, 100, 50], 64)
                .udp(1, 2);
            let mut out = Vec::new();
            builder.write(&mut out, b"transit").unwrap();
            out
        };
        let (first, second) = (passing(UPLINK_MAC), passing(UPLINK2_MAC));
        for _ in 0..2 {
            let sent = site.exchange(&[(FABRIC, &first), (UPLINK2, &second)]);
            assert_eq!(sent.on(FABRIC).len(), 1);
            sent.expect_drops(&[(DropReason::InvalidSource, 1)]);
        }
    });
}

#[test]
fn answers_go_behind_a_control_word_where_the_askers_entry_says_so() {
    each(|site| {
        let Object::Inet(known) = proxied(RED, "10.10.1.3/32", 20, Some(20), RouteFlags::ARP_PROXY)
        else {
            panic!("an IPv4 route")
        };
        site.put([Object::Inet(Route { mac: Some(MAC3), ..known }), worded(OUTSIDE, 40, 44)]);
        let mut question = vec![0; 42];
        Ethernet::new(MAC3, OUTSIDE, ethertype::ARP).emit(&mut question).unwrap();
        let target = (Mac::ZERO, tenant(3));
        Arp::new(ArpOperation::Request, (OUTSIDE, tenant(200)), target)
            .emit(&mut question[14..])
            .unwrap();
        // A packet that the workload's interface does not take.
        let mut large = udp(OUTSIDE, 200, 3, (1, 2), &[7; 1500]);
        large[..6].copy_from_slice(&MAC3.0);
        large[20] = 0x40;
        for asked in [question, large] {
            let out = site.exchange(&[(FABRIC, &vxlan(5001, &asked))]);
            let [out] = out.on(FABRIC) else { panic!("{out:?}") };
            assert_eq!(out[42..50], [&mpls_word(44, 64)[..], &[0; 4]].concat());
            assert_eq!(out[50..56], OUTSIDE.0);
        }
    });
}

#[test]
fn what_a_tunnel_brought_reaches_the_host_under_the_hosts_mac() {
    each(|site| {
        site.add_host();
        let l2 = nh(62, NhFamily::Bridge, OVERLAY, NextHopKind::Translate(OVERLAY));
        site.put([route(OVERLAY, "10.10.1.1/32", 10, None), l2, label(62, 62)]);
        let frame = ping(MAC9, 9, 1);
        for packet in [vxlan(6001, &frame), mpls_over_udp(62, 64, &frame)] {
            let out = site.through(FABRIC, &packet, HOST);
            assert_eq!((&out[..6], &out[6..]), (&HOST_MAC.0[..], &frame[6..]));
        }
    });
}

#[test]
fn from_the_fabric_no_group_of_tunnels_leads_back_into_it() {
    each(|site| {
        let members = [(60, Some(5003)), (60, Some(5004))];
        site.put([
            tunnel(60, 3, TunnelEncap::Vxlan),
            nh(70, NhFamily::Bridge, RED, composite(CompositeKind::Ecmp(0), &members)),
            bridge(RED, OUTSIDE, 70, None),
        ]);
        let frame = [&OUTSIDE.0[..], &ping(MAC9, 9, 3)[6..]].concat();
        site.send(FABRIC, &[vxlan(5001, &frame)]).expect_drops(&[(DropReason::InvalidSource, 1)]);
        site.through(VIF3, &[&OUTSIDE.0[..], &ping(MAC3, 3, 9)[6..]].concat(), FABRIC);
    });
}

#[test]
fn the_agent_gets_a_frame_that_is_too_big_without_the_control_word() {
    each(|site| {
        add_agent(site);
        let plain = Vif { vrf: RED, mac: Mac::GATEWAY, ..Vif::new(VIF3, "tap3", VifKind::Virtual) };
        site.put([worded(MAC9, 40, 35), Object::Vif(plain)]);
        let mut large = udp(MAC3, 3, 9, (1, 2), &[7; 1472]);
        large[..6].copy_from_slice(&MAC9.0);
        large[20] = 0x40;
        let out = site.through(VIF3, &large, AGENT);
        let (command, frame) = trapped(&out);
        assert_eq!(command, agent_command::HANDLE_DF);
        assert_eq!(frame, &large[..frame.len()]);
    });
}
