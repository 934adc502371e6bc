//! Cases of the case book that flows, policy and translation decide, with their captures.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::{FlowLimits, Rate};
use etherparse::PacketBuilder;
use site::policy::*;
use site::*;
use tables::flow::{FlowFlags, FlowId, Sessions, TcpFlags};
use tables::*;
use wire::{Mac, protocol};

const OUTSIDE: VrfId = VrfId(7);

fn outside() -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 9)
}

fn public() -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 100)
}

/// vif3 has a floating IP, and the world is behind 192.0.2.2.
fn with_floating_ip(site: &mut Site) {
    let Object::Vif(vif) = policed(VIF3, VifPolicy::default()) else { panic!("a vif") };
    let floating_ips = vec![FloatingIp {
        address: public().into(),
        fixed: tenant(3).into(),
        vrf: OUTSIDE,
        direction: FloatingDirection::Both,
        ports: Vec::new(),
    }];
    site.put([
        route(OUTSIDE, "0.0.0.0/0", 40, Some(60)),
        route(OUTSIDE, "192.0.2.100/32", 20, Some(20)),
        Object::Vif(Vif { floating_ips, ..vif }),
    ]);
}

fn from_to(mac: Mac, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(mac.0, Mac::GATEWAY.0)
        .ipv4(from.octets(), to.octets(), 64)
        .udp(1111, 2222)
        .write(&mut out, payload)
        .unwrap();
    out
}

fn only(last: u8) -> Peer {
    Peer::Prefixes(vec![AnyPrefix::V4(format!("10.10.1.{last}/32").parse().unwrap())])
}

fn only6(last: u8) -> Peer {
    Peer::Prefixes(vec![AnyPrefix::V6(format!("2001:db8:a:1::{last}/128").parse().unwrap())])
}

#[test]
fn h06_policy_judges_what_is_behind_extension_headers() {
    each_with_flows(|site, sessions| {
        let telnet = to_port(rule(1, Verdict::Deny), protocol::TCP, 23);
        network_rules(site, vec![telnet, rule(2, Verdict::Pass)]);
        let packets = capture("mk-H06-v6-ext-headers.pcap");
        let reasons = [
            DropReason::FlowActionDrop,
            DropReason::FlowActionDrop,
            DropReason::InvalidPacket,
            DropReason::InvalidPacket,
        ];
        for (packet, reason) in packets.iter().zip(reasons) {
            site.exchange(&[(VIF3, packet)]).expect_drops(&[(reason, 1)]);
        }
        let mut keys: Vec<(u8, u16, u16)> = flows(sessions)
            .iter()
            .map(|flow| (flow.key.protocol, flow.key.source_port(), flow.key.destination_port()))
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, [(protocol::TCP, 40001, 23), (protocol::TCP, 40002, 23)]);
    });
}

#[test]
fn h11_who_is_translated_is_told_of_its_own_packet() {
    each_with_flows(|site, _| {
        with_floating_ip(site);
        let large = from_to(MAC3, tenant(3), outside(), &[0x71; 1472]);
        let outcome = site.exchange(&[(VIF3, &large)]);
        let [told] = outcome.on(VIF3) else { panic!("{outcome:?}") };
        outcome.expect_drops(&[(DropReason::TooBig, 1)]);
        let ip = &told[14..];
        assert_eq!((&ip[12..16], &ip[16..20]), (&tenant(1).octets()[..], &tenant(3).octets()[..]));
        assert_eq!((&ip[20..22], &ip[26..28]), (&[3, 4][..], &1468u16.to_be_bytes()[..]));
        let quoted = &ip[28..];
        assert_eq!(quoted[12..16], tenant(3).octets(), "the address that the workload used");
        assert_eq!(quoted[16..20], outside().octets());
        assert_eq!(wire::checksum::Sum::ZERO.bytes(&quoted[..20]).folded(), 0xffff);
        // One that fits goes, translated.
        let small = from_to(MAC3, tenant(3), outside(), &[0x71; 1440]);
        let sent = site.through(VIF3, &small, FABRIC);
        assert_eq!(sent[46 + 12..46 + 16], public().octets());
    });
}

#[test]
fn h16_no_udp_sum_stays_none_through_translation() {
    each_with_flows(|site, _| {
        with_floating_ip(site);
        let none = |mut packet: Vec<u8>| {
            packet[40..42].fill(0);
            packet
        };
        let sent = site.through(VIF3, &none(from_to(MAC3, tenant(3), outside(), b"?")), FABRIC);
        let inner = &sent[46..];
        assert_eq!((&inner[12..16], &inner[26..28]), (&public().octets()[..], &[0, 0][..]));
        let back = none(from_to(MAC9, outside(), public(), b"!"));
        // The answers' ports are the other way round.
        let back = [&back[..34], &back[36..38], &back[34..36], &back[38..]].concat();
        let got = site.through(FABRIC, &mpls_over_udp(20, 64, &back[14..]), VIF3);
        assert_eq!((&got[30..34], &got[40..42]), (&tenant(3).octets()[..], &[0, 0][..]));
    });
}

#[test]
fn h21_errors_of_every_kind_reach_the_session_they_are_about() {
    each_with_flows(|site, sessions| {
        let to_vif3 = |protocol, destination| Rule {
            protocol: Some(protocol),
            destination,
            ..rule(1, Verdict::Deny)
        };
        network_rules(
            site,
            vec![
                to_vif3(protocol::ICMP, only(3)),
                to_vif3(protocol::ICMPV6, only6(3)),
                rule(2, Verdict::Pass),
            ],
        );
        site.through(VIF3, &udp(MAC3, 3, 9, (1500, 53), b"?"), FABRIC);
        let ip = || {
            PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0).ipv4(
                tenant(3).octets(),
                tenant(9).octets(),
                64,
            )
        };
        let mut packets = vec![Vec::new(), Vec::new(), Vec::new()];
        ip().icmpv4_echo_request(0x42, 3).write(&mut packets[0], b"").unwrap();
        ip().tcp(40009, 443, 1, 8192).syn().write(&mut packets[1], b"").unwrap();
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, last).octets();
        let errors = capture("mk-H21-icmp-errors.pcap");
        let quoted = &errors[6][46 + 48..];
        let ports = [40, 42].map(|at| u16::from_be_bytes([quoted[at], quoted[at + 1]]));
        PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv6(address(3), address(9), 64)
            .udp(ports[0], ports[1])
            .write(&mut packets[2], b"?")
            .unwrap();
        for packet in &packets {
            site.through(VIF3, packet, FABRIC);
        }
        let before = flows(sessions).len();
        assert_eq!(before, 8);
        for (number, error) in (1..).zip(&errors) {
            let outcome = site.exchange(&[(FABRIC, error)]);
            match number {
                3 | 6 => outcome.expect_drops(&[(DropReason::IcmpError, 1)]),
                _ => assert_eq!(outcome.on(VIF3).len(), 1, "{number}: {:?}", outcome.drops),
            }
        }
        assert_eq!(flows(sessions).len(), before, "no new flows");
    });
}

#[test]
fn h22_a_syn_with_the_ports_of_a_closed_connection_is_a_fresh_pair() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        let segments = capture("mk-H22-tcp-reuse.pcap");
        let mut first = None;
        for (number, segment) in (1..).zip(&segments) {
            let (from, to) = if segment[6..12] == MAC3.0 { (VIF3, VIF4) } else { (VIF4, VIF3) };
            site.through(from, segment, to);
            if number == 1 {
                first = Some(life(sessions));
            }
        }
        assert_eq!(flows(sessions).len(), 2, "the old pair is gone in both directions");
        assert_ne!(Some(life(sessions)), first);
        let forward = sessions.flow(flows(sessions)[0].id).unwrap();
        assert_eq!(forward.tcp(), TcpFlags::SYN);
        assert_eq!(forward.counts().0, 1);
    });
}

/// Which use of which slot the first flow is.
fn life(sessions: &Sessions) -> (FlowId, u8) {
    let id = flows(sessions)[0].id;
    (id, sessions.flow(id).unwrap().state().generation())
}

#[test]
fn h22_a_session_that_is_ended_by_hand_under_way_loses_nothing() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        let packets = vec![udp(MAC3, 3, 9, (1000, 53), b"on and on"); 10];
        for _ in 0..100 {
            assert_eq!(site.send(VIF3, &packets).on(FABRIC).len(), 10);
            let id = flows(sessions)[0].id;
            assert!(sessions.hold(id));
            sessions.end(id, 0);
            sessions.let_go(id);
        }
    });
}

#[test]
fn h22_a_busy_flow_follows_its_destination_to_another_node() {
    each_with_flows(|site, _| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        let packet = udp(MAC3, 3, 4, (1000, 8125), b"tick");
        for _ in 0..10 {
            site.through(VIF3, &packet, VIF4);
        }
        // The workload is gone, and another with its address began elsewhere.
        site.put([route(RED, "10.10.1.4/32", 40, Some(99))]);
        let sent = site.through(VIF3, &packet, FABRIC);
        assert_eq!(u32::from_be_bytes(sent[42..46].try_into().unwrap()) >> 12, 99);
    });
}

#[test]
fn h25_a_prefix_of_all_of_ipv6_lets_it_pass_both_ways() {
    each_with_flows(|site, _| {
        let all = Rule {
            source: Peer::Prefixes(vec![AnyPrefix::V6("::/0".parse().unwrap())]),
            ..rule(1, Verdict::Pass)
        };
        network_rules(site, vec![all]);
        let packets = capture("mk-H25-v6-under-v4-rule.pcap");
        site.through(VIF3, &packets[0], VIF4);
        let back = |frame: &[u8]| {
            let ends = [&frame[6..12], &frame[..6], &frame[12..22], &frame[38..54], &frame[22..38]];
            [&ends.concat()[..], &frame[56..58], &frame[54..56], &frame[58..]].concat()
        };
        site.through(VIF4, &back(&packets[0]), VIF3);
        site.send(VIF3, &packets[1..]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

/// From another endpoint than the bench's own.
fn from_endpoint(far: u8, packet: &[u8]) -> Vec<u8> {
    let mut packet = mpls_over_udp(20, 64, &packet[14..]);
    packet[29] = far;
    packet[24..26].fill(0);
    let sum = wire::checksum::Sum::ZERO.bytes(&packet[14..34]).checksum();
    packet[24..26].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn h28_flows_keep_their_members_and_answers_move_them() {
    each_with_flows(|site, _| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        let group = |members: &[(u32, Option<u32>)]| {
            nh(60, NhFamily::Inet, RED, composite(CompositeKind::Ecmp(0), members))
        };
        let all = [(40, Some(33)), (44, Some(34)), (45, Some(35))];
        let tunnels = [(44, 3), (45, 4)].map(|(id, far)| tunnel(id, far, TunnelEncap::MplsOverUdp));
        site.put(tunnels);
        site.put([group(&all), route(RED, "10.10.1.100/32", 60, None)]);
        let packets: Vec<_> = (1..=300).map(|port| udp(MAC3, 3, 100, (port, 7), b"")).collect();
        let chosen = |site: &mut Site| -> Vec<u8> {
            packets.iter().map(|packet| site.through(VIF3, packet, FABRIC)[33]).collect()
        };
        let before = chosen(site);
        site.apply([Op::Delete(Key::NextHop(NhId(44)))], Owner::Agent);
        let without = chosen(site);
        for (before, after) in before.iter().zip(&without) {
            assert!(*after != 3 && (before == after || *before == 3), "{before} {after}");
        }
        // The slot is filled again: nobody moves.
        site.put([tunnel(44, 3, TunnelEncap::MplsOverUdp), group(&all)]);
        assert_eq!(chosen(site), without);
        // An answer from another member than the one chosen is taken, and moves the flow there.
        let port = 1 + u16::try_from(without.iter().position(|far| *far == 2).unwrap()).unwrap();
        let answer = udp(MAC9, 100, 3, (7, port), b"");
        site.through(FABRIC, &from_endpoint(4, &answer), VIF3);
        let question = udp(MAC3, 3, 100, (port, 7), b"");
        assert_eq!(site.through(VIF3, &question, FABRIC)[33], 4, "pinned anew");
        site.through(FABRIC, &from_endpoint(4, &answer), VIF3);
        // From somebody who is no member it is not.
        let outcome = site.send(FABRIC, &[from_endpoint(9, &answer)]);
        outcome.expect_drops(&[(DropReason::InvalidSource, 1)]);
        assert_eq!(site.through(VIF3, &question, FABRIC)[33], 4, "and moves nothing");
    });
}

fn service(address: &str) -> ServiceAddress {
    ServiceAddress {
        kind: ServiceKind::LinkLocal,
        protocol: protocol::UDP,
        address: address.parse().unwrap(),
        port: 53,
        server: Ipv4Addr::new(192, 0, 2, 254).into(),
        server_port: 53,
        source: IpAddr::from(Ipv4Addr::new(169, 254, 0, 3)),
        source_ports: Ports { first: 1024, last: 65_535 },
        vrf: VrfId(0),
    }
}

fn with_services(site: &mut Site) {
    site.add_host();
    let Object::Vif(vif) = policed(VIF3, VifPolicy::default()) else { panic!("a vif") };
    let services = vec![service("169.254.169.254"), service("10.10.1.2")];
    site.put([
        Object::Vif(Vif { services, ..vif }),
        nh(10, NhFamily::Inet, VrfId(0), NextHopKind::Receive(HOST)),
        route(VrfId(0), "192.0.2.254/32", 10, None),
        route(VrfId(0), "169.254.0.3/32", 20, None),
    ]);
}

#[test]
fn h40_queries_reach_the_server_once_and_other_ports_are_plain_traffic() {
    each_with_flows(|site, _| {
        with_services(site);
        let packets = capture("mk-H40-dns-linklocal.pcap");
        for query in &packets[..2] {
            let outcome = site.exchange(&[(VIF3, query)]);
            let [got] = outcome.on(HOST) else { panic!("{outcome:?}") };
            assert_eq!((&got[30..34], &got[36..38]), (&[192, 0, 2, 254][..], &[0, 53][..]));
        }
        // Bytes of the port swapped: nobody's service, and nobody has the address.
        site.send(VIF3, &packets[2..]).expect_drops(&[(DropReason::Discard, 1)]);
        let server = Key::Inet(VrfId(0), "192.0.2.254/32".parse().unwrap());
        site.apply([Op::Delete(server)], Owner::Agent);
        let outcome = site.send(VIF3, &packets[..1]);
        assert_eq!((outcome.count(), outcome.drops.total()), (0, 1), "{:?}", outcome.drops);
    });
}

#[test]
fn h40_no_query_takes_a_tunnels_port() {
    let mut site = Site::new(1);
    let limits = FlowLimits { rate: Rate::UNLIMITED, share: 1 };
    let sessions = add_flows(&mut site, 70_000, limits);
    with_services(&mut site);
    let address = Ipv4Addr::new(169, 254, 169, 254);
    let query = |port: u16| {
        let mut out = Vec::new();
        PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv4(tenant(3).octets(), address.octets(), 64)
            .udp(port, 53)
            .write(&mut out, b"?")
            .unwrap();
        out
    };
    let queries: Vec<_> = (1..=60_000).map(query).collect();
    let outcome = site.send(VIF3, &queries);
    outcome.expect_drops(&[]);
    let mut ports: Vec<u16> =
        outcome.on(HOST).iter().map(|got| u16::from_be_bytes([got[34], got[35]])).collect();
    assert_eq!(ports.len(), 60_000);
    for tunnel in [wire::port::VXLAN, wire::port::MPLS_OVER_UDP, wire::port::MPLS_OVER_UDP_OLD] {
        assert!(!ports.contains(&tunnel), "{tunnel}");
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 60_000, "each has its own");
    assert!(flows(&sessions).iter().all(|flow| flow.flags.contains(FlowFlags::NAT)));
    site.close();
}
