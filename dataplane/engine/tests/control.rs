//! Control packets: which questions are answered and how, what the agent gets, and what it may inject.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::{Ipv4Addr, Ipv6Addr};

use engine::{Sighting, WorkerId};
use site::*;
use tables::*;
use wire::{AgentHeader, Arp, ArpOperation, Ethernet, Mac, Vni, agent_command, ethertype};

const AGENT: VifId = VifId(5);
const AGENT_MAC: Mac = Mac([0, 0, 0x5e, 0, 1, 1]);
const HEADERS: usize = 44;
const PROXY: RouteFlags = RouteFlags::ARP_PROXY;
/// A host behind the remote node, in the bridged network.
const OUTSIDE: Mac = Mac([2, 0, 0, 0, 0xb0, 5]);

/// The bench with an agent, a tree, and a gateway of the agent's.
fn with_agent(test: impl Fn(&mut Site)) {
    each(|site| {
        add_tree(site);
        site.put([
            Object::Vif(Vif {
                transport: Transport::Socket,
                vrf: VrfId(u16::MAX),
                mac: AGENT_MAC,
                ..Vif::new(AGENT, "pkt0", VifKind::Agent)
            }),
            nh(60, NhFamily::Inet, RED, to_workload(AGENT, AGENT_MAC)),
            proxied(RED, "10.10.1.2/32", 60, None, PROXY),
            proxied(RED, "2001:db8:a:1::2/128", 60, None, PROXY),
        ]);
        site.open(AGENT, 0);
        site.turn_all();
        test(site);
    });
}

fn add_tree(site: &mut Site) {
    let composite = |kind, members: &[(u32, Option<u32>)]| NextHopKind::Composite {
        kind,
        members: members
            .iter()
            .map(|(id, label)| Some(Member { next_hop: NhId(*id), label: *label }))
            .collect(),
    };
    let l2 = NhFamily::Bridge;
    site.put([
        nh(81, l2, RED, composite(CompositeKind::Encap, &[(30, None), (31, None)])),
        nh(82, l2, RED, composite(CompositeKind::Evpn, &[(42, Some(5001))])),
        nh(80, l2, RED, composite(CompositeKind::Multicast, &[(81, None), (82, None)])),
        bridge(RED, Mac::BROADCAST, 80, None),
        bridge(RED, OUTSIDE, 42, Some(5001)),
    ]);
}

fn set_flags(site: &mut Site, vif: VifId, flags: VifFlags) {
    let mut vif = site.model.vif(vif).unwrap().clone();
    vif.flags = flags;
    site.put([Object::Vif(vif)]);
}

fn arp(to: Mac, operation: ArpOperation, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0; 42];
    Ethernet::new(to, sender.0, ethertype::ARP).emit(&mut frame).unwrap();
    Arp::new(operation, sender, (Mac::ZERO, target)).emit(&mut frame[14..]).unwrap();
    frame
}

fn ask(last: u8) -> Vec<u8> {
    arp(Mac::BROADCAST, ArpOperation::Request, (MAC3, tenant(3)), tenant(last))
}

/// Sender, target and MAC told of an ARP reply, and whom the frame is for.
#[track_caller]
fn told(reply: &[u8]) -> (Mac, Ipv4Addr) {
    let (arp, _) = Arp::parse(&reply[14..]).unwrap();
    assert_eq!(arp.operation(), Some(ArpOperation::Reply));
    assert_eq!(reply[..6], arp.target_mac().0);
    assert_eq!(reply[6..12], arp.sender_mac().0);
    (arp.sender_mac(), arp.sender_ip())
}

/// The command, and the frame behind the headers.
#[track_caller]
fn trapped(packet: &[u8]) -> (u16, &[u8]) {
    assert_eq!(packet[..14], [&AGENT_MAC.0[..], &AGENT_MAC.0, &[8, 0]].concat());
    let (header, frame) = AgentHeader::parse(&packet[14..]).unwrap();
    (header.command(), frame)
}

fn injected(vif: VifId, vrf: VrfId, command: u16, params: (u32, u32), frame: &[u8]) -> Vec<u8> {
    let header = AgentHeader::new(vif.0, vrf.0, command).with_params(params.0, params.1);
    [&[0; 12][..], &[8, 0], header.bytes(), frame].concat()
}

fn stitched(prefix: &str, next_hop: u32, mac: Mac, flags: RouteFlags) -> Object {
    match proxied(RED, prefix, next_hop, (next_hop == 40).then_some(33), flags) {
        Object::Inet(route) => Object::Inet(Route { mac: Some(mac), ..route }),
        Object::Inet6(route) => Object::Inet6(Route { mac: Some(mac), ..route }),
        other => other,
    }
}

fn address(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, last)
}

/// An ICMPv6 message with a right checksum.
fn icmp6(to: Mac, from: Mac, addresses: (Ipv6Addr, Ipv6Addr), kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0];
    body.extend(rest);
    let length = u32::try_from(body.len()).unwrap();
    let sum = wire::checksum::pseudo_v6(addresses.0, addresses.1, 58, length).bytes(&body);
    body[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    let mut frame = vec![0; 54];
    Ethernet::new(to, from, ethertype::IPV6).emit(&mut frame).unwrap();
    let length = u16::try_from(body.len()).unwrap();
    wire::Ipv6::new(addresses.0, addresses.1, 58, 255, length).emit(&mut frame[14..]).unwrap();
    frame.extend(body);
    frame
}

fn solicit(from: Mac, sender: u16, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let rest = [&[0; 4][..], &target.octets(), &[1, 1], &from.0].concat();
    icmp6(Mac([0x33, 0x33, 0xff, a, b, c]), from, (address(sender), group), 135, &rest)
}

fn advertise(to: Mac, target: u16) -> Vec<u8> {
    let rest = [&[0x20, 0, 0, 0][..], &address(target).octets(), &[2, 1], &MAC3.0].concat();
    let all = "ff02::1".parse().unwrap();
    icmp6(to, MAC3, (address(3), all), 136, &rest)
}

// ----------------------------------------------------------------------------------------------------- answers

#[test]
fn point_22_a_route_that_floods_without_a_mac_is_not_answered_and_service_ports_never_flood() {
    with_agent(|site| {
        let flood = PROXY.with(RouteFlags::ARP_FLOOD);
        site.put([
            proxied(RED, "10.10.1.70/32", 40, Some(33), flood),
            stitched("10.10.1.71/32", 40, MAC9, flood),
        ]);
        let outcome = site.send(VIF3, &[ask(70)]);
        assert_eq!(
            (outcome.on(VIF3).len(), outcome.on(VIF4).len(), outcome.on(FABRIC).len()),
            (0, 1, 1)
        );
        assert_eq!(told(&site.through(VIF3, &ask(71), VIF3)), (MAC9, tenant(71)));
        set_flags(site, VIF3, VifFlags::SERVICE);
        site.send(VIF3, &[ask(70)]).expect_drops(&[(DropReason::InvalidArp, 1)]);
        assert_eq!(told(&site.through(VIF3, &ask(71), VIF3)), (MAC9, tenant(71)));
    });
}

#[test]
fn point_22_the_gateway_is_not_answered_for_to_the_fabric_and_a_workload_not_asked_alone() {
    with_agent(|site| {
        site.put([stitched("10.10.1.3/32", 20, MAC3, PROXY)]);
        let sender = (OUTSIDE, tenant(200));
        let gateway = arp(Mac::BROADCAST, ArpOperation::Request, sender, tenant(2));
        let outcome = site.send(FABRIC, &[vxlan(5001, &gateway)]);
        outcome.expect_drops(&[(DropReason::InvalidArp, 1)]);
        // Asked by its MAC: the answer goes back through the tunnel, and the workload hears nothing.
        let alone = arp(MAC3, ArpOperation::Request, sender, tenant(3));
        let out = site.through(FABRIC, &vxlan(5001, &alone), FABRIC);
        assert_eq!(told(&out[50..]), (MAC3, tenant(3)));
        // What is not answered is the workload's.
        let other = arp(MAC3, ArpOperation::Request, sender, tenant(210));
        assert_eq!(site.through(FABRIC, &vxlan(5001, &other), VIF3), other);
    });
}

#[test]
fn point_23_an_answer_leaves_by_the_workloads_port_or_by_the_askers_bridge_entry() {
    with_agent(|site| {
        site.put([stitched("10.10.1.3/32", 20, MAC3, PROXY)]);
        let stranger = (Mac([2, 0, 0, 0, 9, 9]), tenant(99));
        let local = arp(Mac::BROADCAST, ArpOperation::Request, stranger, tenant(2));
        assert_eq!(told(&site.through(VIF3, &local, VIF3)), (Mac::GATEWAY, tenant(2)));
        let remote = arp(Mac::BROADCAST, ArpOperation::Request, stranger, tenant(3));
        let outcome = site.send(FABRIC, &[vxlan(5001, &remote)]);
        outcome.expect_drops(&[(DropReason::InvalidNh, 1)]);
    });
}

#[test]
fn point_24_an_announcement_on_the_uplink_reaches_the_agent_and_the_kernel_has_its_own() {
    with_agent(|site| {
        let us = (REMOTE_MAC, endpoint(2));
        let announcement = arp(Mac::BROADCAST, ArpOperation::Request, us, endpoint(2));
        let reply = arp(UPLINK_MAC, ArpOperation::Reply, us, endpoint(1));
        for packet in [announcement, reply] {
            let outcome = site.send(FABRIC, std::slice::from_ref(&packet));
            assert_eq!(trapped(&outcome.on(AGENT)[0]), (agent_command::ARP, &packet[..]));
            outcome.expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        }
        let question = arp(Mac::BROADCAST, ArpOperation::Request, us, endpoint(1));
        site.send(FABRIC, &[question]).expect_drops(&[(DropReason::InterfaceDrop, 1)]);
    });
}

#[test]
fn point_39_an_uplink_in_cross_connect_answers_nothing_and_workloads_go_on() {
    with_agent(|site| {
        site.put([proxied(VrfId(0), "192.0.2.99/32", 20, None, PROXY)]);
        let us = (REMOTE_MAC, endpoint(2));
        let question = arp(Mac::BROADCAST, ArpOperation::Request, us, endpoint(99));
        assert_eq!(told(&site.through(FABRIC, &question, FABRIC)), (UPLINK_MAC, endpoint(99)));
        set_flags(site, FABRIC, VifFlags::XCONNECT);
        site.send(FABRIC, &[question]).expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        site.apply([Op::Delete(Key::Vif(AGENT))], Owner::Agent);
        site.still_forwards();
    });
}

#[test]
fn an_interface_that_proxies_all_answers_all_and_one_that_proxies_none_the_gateway_alone() {
    with_agent(|site| {
        set_flags(site, VIF3, VifFlags::MAC_PROXY);
        for last in [2, 9, 200] {
            assert_eq!(told(&site.through(VIF3, &ask(last), VIF3)), (Mac::GATEWAY, tenant(last)));
        }
        let announcement = arp(Mac::BROADCAST, ArpOperation::Request, (MAC3, tenant(3)), tenant(3));
        site.send(VIF3, &[announcement]).expect_drops(&[(DropReason::InvalidArp, 1)]);
        set_flags(site, VIF3, VifFlags::NO_ARP_PROXY);
        assert_eq!(told(&site.through(VIF3, &ask(2), VIF3)), (Mac::GATEWAY, tenant(2)));
        site.send(VIF3, &[ask(9)]).expect_drops(&[(DropReason::InvalidArp, 1)]);
        // Nor does it ask by a flood.
        let flood = PROXY.with(RouteFlags::ARP_FLOOD);
        site.put([proxied(RED, "10.10.1.70/32", 40, Some(33), flood)]);
        site.send(VIF3, &[ask(70)]).expect_drops(&[(DropReason::InvalidArp, 1)]);
    });
}

#[test]
fn an_announcement_that_the_agent_waits_for_is_flooded_and_copied_to_it() {
    with_agent(|site| {
        site.put([proxied(RED, "10.10.1.3/32", 20, Some(20), RouteFlags::ARP_TRAP)]);
        let announcement = arp(Mac::BROADCAST, ArpOperation::Request, (MAC3, tenant(3)), tenant(3));
        let outcome = site.send(VIF3, std::slice::from_ref(&announcement));
        assert_eq!(trapped(&outcome.on(AGENT)[0]), (agent_command::ARP, &announcement[..]));
        assert_eq!(outcome.on(VIF4), [announcement]);
        outcome.expect_drops(&[(DropReason::ClonedOriginal, 1)]);
    });
}

#[test]
fn replies_to_the_router_are_the_agents_those_to_all_are_copied_and_those_to_a_station_bridged() {
    with_agent(|site| {
        let reply = |to| arp(to, ArpOperation::Reply, (MAC3, tenant(3)), tenant(2));
        let out = site.through(VIF3, &reply(Mac::GATEWAY), AGENT);
        assert_eq!(trapped(&out), (agent_command::ARP, &reply(Mac::GATEWAY)[..]));
        let outcome = site.send(VIF3, &[reply(Mac::BROADCAST)]);
        assert_eq!((outcome.on(AGENT).len(), outcome.on(VIF4).len()), (1, 1));
        assert_eq!(site.through(VIF3, &reply(MAC4), VIF4), reply(MAC4));
        // From elsewhere nobody's answer is news for our agent (case H18).
        let remote = arp(Mac::GATEWAY, ArpOperation::Reply, (OUTSIDE, tenant(200)), tenant(2));
        let outcome = site.send(FABRIC, &[vxlan(5001, &remote)]);
        outcome.expect_drops(&[(DropReason::NowhereToGo, 1)]);
    });
}

#[test]
fn a_tagged_reply_is_no_news_for_the_agent() {
    with_agent(|site| {
        let reply = arp(Mac::BROADCAST, ArpOperation::Reply, (MAC3, tenant(3)), tenant(2));
        let tagged = [&reply[..12], &[0x81, 0, 0, 9], &reply[12..]].concat();
        let outcome = site.send(VIF3, std::slice::from_ref(&tagged));
        assert_eq!((outcome.on(AGENT).len(), outcome.on(VIF4)), (0, &[tagged][..]));
    });
}

#[test]
fn solicitations_follow_the_table_of_arp_and_say_who_is_a_router() {
    with_agent(|site| {
        site.put([
            stitched("2001:db8:a:1::9/128", 40, MAC9, PROXY),
            stitched("2001:db8:a:1::4/128", 21, MAC4, PROXY),
        ]);
        for (target, mac, flags) in [(2, Mac::GATEWAY, 0xe0), (9, MAC9, 0x60)] {
            let out = site.through(VIF3, &solicit(MAC3, 3, address(target)), VIF3);
            assert_eq!((&out[..6], &out[6..12]), (&MAC3.0[..], &mac.0[..]));
            assert_eq!((out[21], out[54], out[58]), (255, 136, flags));
            assert_eq!(out[62..78], address(target).octets());
            assert_eq!(out[78..], [&[2, 1][..], &mac.0].concat());
        }
        // From the fabric only for a workload of this node (case H18); the answer takes the tunnel back.
        let asked = vxlan(5001, &solicit(OUTSIDE, 200, address(4)));
        let out = site.through(FABRIC, &asked, FABRIC);
        assert_eq!((&out[50..56], out[104]), (&OUTSIDE.0[..], 136));
        let elsewhere = site.send(FABRIC, &[vxlan(5001, &solicit(OUTSIDE, 200, address(9)))]);
        assert_eq!((elsewhere.on(VIF3).len(), elsewhere.on(VIF4).len()), (1, 1));
    });
}

#[test]
fn point_25_duplicate_address_detection_is_bridged() {
    with_agent(|site| {
        let group = "ff02::1:ff00:2".parse().unwrap();
        let rest = [&[0; 4][..], &address(2).octets()].concat();
        let mac = Mac([0x33, 0x33, 0xff, 0, 0, 2]);
        let probe = icmp6(mac, MAC3, (Ipv6Addr::UNSPECIFIED, group), 135, &rest);
        assert_eq!(site.send(VIF3, std::slice::from_ref(&probe)).on(VIF4), [probe]);
    });
}

#[test]
fn advertisements_and_router_solicitations_reach_the_agent_and_others_act_on_nothing() {
    with_agent(|site| {
        let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
        let outcome = site.send(VIF3, &[advertise(all, 3)]);
        let copy = trapped(&outcome.on(AGENT)[0]);
        assert_eq!(copy, (agent_command::L3_PROTOCOLS, &advertise(all, 3)[..]));
        assert_eq!(outcome.on(VIF4), [advertise(all, 3)]);
        let out = site.through(VIF3, &advertise(Mac::GATEWAY, 3), AGENT);
        assert_eq!(trapped(&out).0, agent_command::L3_PROTOCOLS);

        let routers: Ipv6Addr = "ff02::2".parse().unwrap();
        for to in [Mac([0x33, 0x33, 0, 0, 0, 2]), Mac::GATEWAY] {
            let solicitation = icmp6(to, MAC3, (address(3), routers), 133, &[0; 4]);
            let out = site.through(VIF3, &solicitation, AGENT);
            assert_eq!(trapped(&out), (agent_command::L3_PROTOCOLS, &solicitation[..]));
        }
        let redirect = icmp6(Mac::GATEWAY, MAC3, (address(3), address(2)), 137, &[0; 36]);
        site.send(VIF3, &[redirect]).expect_drops(&[(DropReason::NowhereToGo, 1)]);
    });
}

// -------------------------------------------------------------------------------------------------- DHCP, IGMP

fn dhcp(source: Mac) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(source.0, [0xff; 6])
        .ipv4([0; 4], [255; 4], 64)
        .udp(68, 67);
    let mut out = Vec::new();
    builder.write(&mut out, &[1; 240]).unwrap();
    out
}

fn dhcp6() -> Vec<u8> {
    let servers: Ipv6Addr = "ff02::1:2".parse().unwrap();
    let builder = etherparse::PacketBuilder::ethernet2(MAC3.0, [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(address(3).octets(), servers.octets(), 64)
        .udp(546, 547);
    let mut out = Vec::new();
    builder.write(&mut out, &[1; 20]).unwrap();
    out
}

fn igmp() -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(MAC3.0, [1, 0, 0x5e, 0, 0, 22]).ipv4(
        tenant(3).octets(),
        [224, 0, 0, 22],
        1,
    );
    let mut out = Vec::new();
    builder.write(&mut out, etherparse::IpNumber::IGMP, &[0x22, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    out
}

#[test]
fn point_50_dhcp_of_each_family_and_igmp_go_to_the_agent_by_the_interfaces_flags() {
    with_agent(|site| {
        let differs = VifFlags::DHCP6_DIFFERS;
        for (flags, v4, v6, membership) in [
            (VifFlags::default(), false, false, false),
            (VifFlags::DHCP, true, true, false),
            (VifFlags::DHCP.with(differs), true, false, false),
            (differs, false, true, false),
            (VifFlags::IGMP, false, false, true),
        ] {
            set_flags(site, VIF3, flags);
            for (packet, to_agent) in [(dhcp(MAC3), v4), (dhcp6(), v6), (igmp(), membership)] {
                let outcome = site.send(VIF3, std::slice::from_ref(&packet));
                let (agent, flooded) = (outcome.on(AGENT), outcome.on(VIF4));
                assert_eq!((agent.len(), flooded.len()), if to_agent { (1, 0) } else { (0, 1) });
                if to_agent {
                    assert_eq!(trapped(&agent[0]), (agent_command::L3_PROTOCOLS, &packet[..]));
                }
            }
        }
    });
}

#[test]
fn point_50_from_behind_a_tor_dhcp_goes_to_the_agent_unless_its_stations_entry_floods_it() {
    with_agent(|site| {
        let entry = |flags| {
            let (next_hop, label) = (NhId(42), Some(Vni::try_from(5001).unwrap()));
            Object::Bridge(BridgeEntry { vrf: RED, mac: OUTSIDE, next_hop, label, flags })
        };
        let packet = vxlan(5001, &dhcp(OUTSIDE));
        let plain = site.send(FABRIC, std::slice::from_ref(&packet));
        assert_eq!((plain.on(AGENT).len(), plain.on(VIF3).len()), (0, 1), "of another node");
        let control = BridgeFlags::EVPN_CONTROL_PROCESSING;
        site.put([entry(control)]);
        let out = site.through(FABRIC, &packet, AGENT);
        assert_eq!(trapped(&out), (agent_command::TOR_CONTROL_PKT, &packet[..]));
        site.put([entry(control.with(BridgeFlags::FLOOD_DHCP))]);
        assert_eq!(site.send(FABRIC, &[packet]).on(VIF3).len(), 1);
        // A node that serves a ToR answers for the gateway.
        let sender = (OUTSIDE, tenant(200));
        let gateway = arp(Mac::BROADCAST, ArpOperation::Request, sender, tenant(2));
        let out = site.through(FABRIC, &vxlan(5001, &gateway), FABRIC);
        assert_eq!(told(&out[50..]), (UPLINK_MAC, tenant(2)));
    });
}

// ------------------------------------------------------------------------------------------------ to the agent

#[test]
fn a_packet_for_the_agent_is_the_frame_as_it_came_in_behind_the_recorded_header() {
    with_agent(|site| {
        let packet = ping(MAC3, 3, 2);
        let out = site.through(VIF3, &packet, AGENT);
        let header = [0, 3, 0, 2, 0, 4].into_iter().chain([0; 24]).collect::<Vec<u8>>();
        assert_eq!(out[14..HEADERS], header);
        assert_eq!(trapped(&out), (agent_command::NEXTHOP, &packet[..]));
        // Out of a tunnel it starts with the outer headers.
        site.put([label(61, 60)]);
        let packet = mpls_over_udp(61, 64, &ping(MAC9, 9, 2)[14..]);
        let out = site.through(FABRIC, &packet, AGENT);
        assert_eq!(trapped(&out), (agent_command::NEXTHOP, &packet[..]));
        assert_eq!(out[14..20], [0, 0, 0, 2, 0, 4], "received on the uplink, in the tenant's VRF");
        let stats = site.counters.vif(AGENT);
        assert_eq!((stats.tx_packets, stats.tx_errors), (2, 0));
    });
}

#[test]
fn bfd_for_the_agent_says_its_state() {
    with_agent(|site| {
        let packet = udp(MAC3, 3, 2, (49152, 3784), &[0x20, 0xc8, 3, 24]);
        let out = site.through(VIF3, &packet, AGENT);
        assert_eq!((trapped(&out).0, &out[20..24]), (agent_command::BFD, &[0, 0, 0, 0xc0][..]));
    });
}

#[test]
fn without_an_agent_traps_are_counted_and_no_copies_made() {
    each(|site| {
        add_tree(site);
        site.put([proxied(RED, "10.10.1.3/32", 20, Some(20), RouteFlags::ARP_TRAP)]);
        let made = site.counters.spawned();
        let announcement = arp(Mac::BROADCAST, ArpOperation::Request, (MAC3, tenant(3)), tenant(3));
        let outcome = site.send(VIF3, std::slice::from_ref(&announcement));
        assert_eq!(outcome.on(VIF4), [announcement]);
        assert_eq!(site.counters.spawned() - made, 2, "for the tree alone");
        site.send(VIF3, &[ping(MAC3, 3, 99)]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
        set_flags(site, VIF3, VifFlags::DHCP);
        site.send(VIF3, &[dhcp(MAC3)]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
    });
}

#[test]
fn a_next_hop_is_the_agents_while_its_interface_is() {
    with_agent(|site| {
        let packet = ping(MAC3, 3, 2);
        site.through(VIF3, &packet, AGENT);
        site.apply([Op::Delete(Key::Vif(AGENT))], Owner::Agent);
        let outcome = site.send(VIF3, std::slice::from_ref(&packet));
        assert_eq!((outcome.count(), outcome.drops.total()), (1, 0), "a device like any other");
        assert_eq!(outcome.on(AGENT)[0][..12], [AGENT_MAC.0, Mac::GATEWAY.0].concat());
    });
}

// ---------------------------------------------------------------------------------------------- from the agent

#[test]
fn what_the_agent_switches_leaves_as_it_is() {
    with_agent(|site| {
        let frame = ping(MAC4, 4, 3);
        let send = |vif, frame: &[u8]| {
            injected(vif, VrfId(u16::MAX), agent_command::SWITCH, (0, 0), frame)
        };
        for vif in [VIF3, FABRIC] {
            assert_eq!(site.through(AGENT, &send(vif, &frame), vif), frame);
        }
        for (packet, reason) in [
            (send(VifId(99), &frame), DropReason::InvalidIf),
            (send(VIF3, &frame[..13]), DropReason::Pull),
            (send(VIF3, &[])[..43].to_vec(), DropReason::Pull),
            (injected(VIF3, RED, 7, (0, 0), &frame), DropReason::InvalidPacket),
        ] {
            site.send(AGENT, &[packet]).expect_drops(&[(reason, 1)]);
        }
    });
}

#[test]
fn what_the_agent_routes_is_a_packet_of_the_interface_it_names() {
    with_agent(|site| {
        let route =
            |vif, vrf, frame: &[u8]| injected(vif, vrf, agent_command::ROUTE, (0, 0), frame);
        let frame = ping(MAC3, 3, 4);
        let out = site.through(AGENT, &route(VIF3, RED, &frame), VIF4);
        assert_eq!((&out[..6], ttl(&out[14..])), (&MAC4.0[..], 63));
        // Flooded as if vif 3 had sent it: not back to it. In the name of the uplink or of nobody it is the agent's own.
        let question = arp(Mac::BROADCAST, ArpOperation::Request, (MAC3, tenant(3)), tenant(77));
        site.apply([Op::Delete(Key::Inet(RED, "10.10.1.0/24".parse().unwrap()))], Owner::Agent);
        let outcome = site.send(AGENT, &[route(VIF3, RED, &question)]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len()), (0, 1));
        for vif in [FABRIC, VifId(999)] {
            let outcome = site.send(AGENT, &[route(vif, RED, &question)]);
            assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len()), (1, 1));
        }
        let lost = route(VIF3, RED, &udp(MAC3, 3, 77, (1, 2), b""));
        site.send(AGENT, &[lost]).expect_drops(&[(DropReason::Discard, 1)]);
        assert_eq!(site.counters.vif_drops(VIF3).get(DropReason::Discard), 1);
    });
}

#[test]
fn a_diagnostic_packet_comes_back_instead_of_being_delivered() {
    with_agent(|site| {
        let frame = ping(MAC3, 3, 4);
        let packet = injected(VIF3, RED, agent_command::ROUTE, (1, 1), &frame);
        let out = site.through(AGENT, &packet, AGENT);
        assert_eq!((trapped(&out).0, &out[20..24]), (agent_command::DIAG, &[0, 0, 0, 4][..]));
    });
}

#[test]
fn a_diagnostic_packet_keeps_its_ttl_outside_its_tunnel() {
    with_agent(|site| {
        for (marked, outside) in [(0, 64), (1, 7)] {
            let mut frame = udp(MAC3, 3, 9, (1, 2), b"");
            wire::Ipv4::parse_mut(&mut frame[14..]).unwrap().0.set_ttl(8);
            let packet = injected(VIF3, RED, agent_command::ROUTE, (1, marked), &frame);
            let out = site.through(AGENT, &packet, FABRIC);
            let outer = wire::Ipv4::parse(&out[14..]).unwrap().0;
            let sum = wire::checksum::Sum::ZERO.bytes(&out[14..34]).checksum();
            assert_eq!((outer.ttl(), sum), (outside, 0));
        }
    });
}

// ---------------------------------------------------------------------------------------------------- learning

fn sightings(site: &mut Site) -> Vec<Sighting> {
    let workers: Vec<WorkerId> = site.workers.iter().map(engine::Worker::id).collect();
    let all = workers
        .into_iter()
        .flat_map(|worker| std::iter::from_fn(|| site.engine.sighting(worker)).collect::<Vec<_>>());
    all.collect()
}

const NEW: Mac = Mac([2, 0, 0, 0, 7, 7]);

fn learnt(next_hop: u32) -> Object {
    let (vrf, mac, next_hop, label) = (RED, NEW, NhId(next_hop), None);
    Object::Bridge(BridgeEntry { vrf, mac, next_hop, label, flags: BridgeFlags::MAC_NEW })
}

#[test]
fn a_station_is_told_of_once_and_known_to_the_agent_once_it_is_learnt() {
    with_agent(|site| {
        let frame = [&MAC4.0[..], &NEW.0, &ping(MAC3, 3, 4)[12..]].concat();
        site.send(VIF3, std::slice::from_ref(&frame));
        assert_eq!(sightings(site), [], "only where it is asked for");
        set_flags(site, VIF3, VifFlags::MAC_LEARN);
        for _ in 0..3 {
            assert_eq!(site.send(VIF3, std::slice::from_ref(&frame)).on(VIF4).len(), 1);
        }
        assert_eq!(sightings(site), [Sighting { vif: VIF3, vrf: RED, mac: NEW }]);
        site.put([learnt(30)]);
        let outcome = site.send(VIF3, &vec![frame.clone(); 3]);
        assert_eq!((outcome.on(VIF4).len(), outcome.on(AGENT).len()), (3, 1));
        assert_eq!(trapped(&outcome.on(AGENT)[0]), (agent_command::MAC_LEARN, &frame[..]));
        let slot = site.model.bridge_slot(RED, NEW).unwrap();
        assert_eq!(outcome.on(AGENT)[0][20..24], slot.index().to_be_bytes());
        let late = engine::Tick(7_000);
        site.inject(VIF3, std::slice::from_ref(&frame));
        for _ in 0..4 {
            site.workers.iter_mut().for_each(|worker| {
                worker.turn(late);
            });
        }
        site.collect();
        assert_eq!(site.counters.heard(slot), late);
        let back = [&NEW.0[..], &MAC4.0, &ping(MAC4, 4, 3)[12..]].concat();
        assert_eq!(site.through(VIF4, &back, VIF3), back, "not flooded any more");
        assert_eq!(sightings(site), []);
    });
}

#[test]
fn a_sub_interface_learns_by_its_own_flag_and_not_by_its_parents() {
    with_agent(|site| {
        set_flags(site, VIF3, VifFlags::MAC_LEARN);
        let put = |site: &mut Site, flags| {
            let sub = SubInterface { parent: VIF3, rx_vlan: 9, tx_vlan: 9, stations: Vec::new() };
            let (kind, sub) = (VifKind::VirtualVlan, Some(sub));
            let vif = Vif::new(VifId(6), "sub6", kind);
            site.put([Object::Vif(Vif { vrf: RED, mac: Mac::GATEWAY, flags, sub, ..vif })]);
        };
        let tagged = [&MAC4.0[..], &NEW.0, &[0x81, 0, 0, 9], &ping(MAC3, 3, 4)[12..]].concat();
        put(site, VifFlags(0));
        assert_eq!(site.send(VIF3, std::slice::from_ref(&tagged)).on(VIF4).len(), 1);
        assert_eq!(sightings(site), []);
        set_flags(site, VIF3, VifFlags(0));
        put(site, VifFlags::MAC_LEARN);
        site.send(VIF3, &[tagged]);
        assert_eq!(sightings(site), [Sighting { vif: VifId(6), vrf: RED, mac: NEW }]);
    });
}

#[test]
fn a_station_that_moves_is_told_of_and_neither_groups_nor_malformed_arp_are_stations() {
    with_agent(|site| {
        set_flags(site, VIF3, VifFlags::MAC_LEARN);
        site.put([learnt(31)]);
        let frame = [&MAC4.0[..], &NEW.0, &ping(MAC3, 3, 4)[12..]].concat();
        let outcome = site.send(VIF3, std::slice::from_ref(&frame));
        assert_eq!(trapped(&outcome.on(AGENT)[0]).0, agent_command::MAC_MOVE);
        assert_eq!(sightings(site), [Sighting { vif: VIF3, vrf: RED, mac: NEW }]);
        // The router's MAC belongs to no interface.
        let odd = [
            [&MAC4.0[..], &Mac::GATEWAY.0, &ping(MAC3, 3, 4)[12..]].concat(),
            [&MAC4.0[..], &Mac::BROADCAST.0, &ping(MAC3, 3, 4)[12..]].concat(),
        ];
        site.send(VIF3, &odd);
        site.send(VIF3, &capture("mk-H01-arp-lengths.pcap"))
            .expect_drops(&[(DropReason::InvalidArp, 4)]);
        assert_eq!(sightings(site), []);
    });
}

#[test]
fn a_station_known_behind_a_special_tunnel_moves_when_it_is_heard_here() {
    with_agent(|site| {
        set_flags(site, VIF3, VifFlags::MAC_LEARN);
        let transport = wire::Label::try_from(9999).unwrap();
        site.put([
            tunnel(60, 2, TunnelEncap::MplsOverMplsOverUdp(transport)),
            bridge(RED, NEW, 60, Some(78)),
        ]);
        let frame = [&MAC4.0[..], &NEW.0, &ping(MAC3, 3, 4)[12..]].concat();
        let outcome = site.send(VIF3, std::slice::from_ref(&frame));
        assert_eq!(trapped(&outcome.on(AGENT)[0]).0, agent_command::MAC_MOVE);
        assert_eq!(sightings(site), [Sighting { vif: VIF3, vrf: RED, mac: NEW }]);
    });
}

#[test]
fn one_interface_tells_of_so_many_stations_at_once() {
    with_agent(|site| {
        set_flags(site, VIF3, VifFlags::MAC_LEARN);
        let frames: Vec<Vec<u8>> = (0..250u8)
            .flat_map(|last| [(last, 1), (last, 2)])
            .map(|(last, row)| {
                let source = [2, 0, 0, 7, row, last];
                [&MAC4.0[..], &source, &ping(MAC3, 3, 4)[12..]].concat()
            })
            .collect();
        assert_eq!(site.send(VIF3, &frames).on(VIF4).len(), 500, "forwarded all the same");
        assert_eq!(sightings(site).len(), 200);
    });
}

#[test]
fn unknown_bindings_go_to_the_agent_and_known_ones_on() {
    with_agent(|site| {
        let learning = VifFlags::MAC_IP_LEARNING;
        set_flags(site, VIF3, learning);
        site.put([route(RED, "2001:db8:a:1::33/128", 20, None)]);
        assert_eq!(told(&site.through(VIF3, &ask(2), VIF3)).0, Mac::GATEWAY, "of its own MAC");
        let unknown = [
            arp(Mac::BROADCAST, ArpOperation::Request, (MAC3, tenant(30)), tenant(2)),
            arp(Mac::BROADCAST, ArpOperation::Request, (NEW, tenant(3)), tenant(2)),
            solicit(MAC3, 30, address(2)),
        ];
        for packet in &unknown {
            let out = site.through(VIF3, packet, AGENT);
            assert_eq!(trapped(&out), (agent_command::MAC_IP_LEARNING, &packet[..]));
        }
        let out = site.through(VIF3, &solicit(MAC3, 0x33, address(2)), VIF3);
        assert_eq!(out[54], 136);
        // A bridged network's interface wants to know of MACs.
        set_flags(site, VIF3, learning.with(VifFlags::L2));
        assert_eq!(told(&site.through(VIF3, &unknown[0], VIF3)).0, Mac::GATEWAY);
        assert_eq!(
            trapped(&site.through(VIF3, &unknown[1], AGENT)).0,
            agent_command::MAC_IP_LEARNING
        );
        // Without an agent there is nobody to ask, so nothing waits for one.
        site.apply([Op::Delete(Key::Vif(AGENT))], Owner::Agent);
        assert_eq!(told(&site.through(VIF3, &unknown[1], VIF3)).0, Mac::GATEWAY);
    });
}
