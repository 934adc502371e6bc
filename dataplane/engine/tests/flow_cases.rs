//! Cases of the case book that flows, policy and translation decide, with their captures.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::{FlowLimits, Rate};
use etherparse::PacketBuilder;
use site::policy::*;
use site::*;
use tables::flow::{Decision, FlowFlags, FlowId, Sessions, TcpFlags};
use tables::*;
use wire::{Mac, protocol};

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
        add_floating_ip(site, policed(VIF3, VifPolicy::default()));
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
        assert_eq!(sent[46 + 12..46 + 16], floating_ip().octets());
    });
}

#[test]
fn h16_no_udp_sum_stays_none_through_translation() {
    each_with_flows(|site, _| {
        add_floating_ip(site, policed(VIF3, VifPolicy::default()));
        let none = |mut packet: Vec<u8>| {
            packet[40..42].fill(0);
            packet
        };
        let sent = site.through(VIF3, &none(from_to(MAC3, tenant(3), outside(), b"?")), FABRIC);
        let inner = &sent[46..];
        assert_eq!((&inner[12..16], &inner[26..28]), (&floating_ip().octets()[..], &[0, 0][..]));
        let back = none(from_to(MAC9, outside(), floating_ip(), b"!"));
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

// ------------------------------------------------------------------------------------------ captures of third parties

/// The packets of a capture that is not ours to take along; `None`, and said so, where it is not on this machine.
fn shared(name: &str) -> Option<Vec<Vec<u8>>> {
    let Some(folder) = shared_captures() else {
        println!("skipped: {name}: no folder with captures of third parties");
        return None;
    };
    Some(packets_of(&folder.join(format!("{name}.pcap"))))
}

/// Addresses are the captures': everything is reachable, from anywhere.
fn anywhere(site: &mut Site, rules: Vec<Rule>) {
    let any = RouteFlags::default();
    site.put([
        Object::Vrf(Vrf { rpf: false, ..Vrf::new(RED, "red") }),
        route(RED, "0.0.0.0/0", 40, Some(33)),
        proxied(RED, "::/0", 40, Some(33), any),
    ]);
    network_rules(site, rules);
}

fn from_vif3(packet: &[u8]) -> Vec<u8> {
    [&Mac::GATEWAY.0, &MAC3.0, &packet[12..]].concat()
}

fn to_vif3(packet: &[u8]) -> Vec<u8> {
    mpls_over_udp(20, 64, &packet[14..])
}

fn keys(sessions: &Sessions) -> Vec<(u8, u16, u16)> {
    let key =
        |flow: &Seen| (flow.key.protocol, flow.key.source_port(), flow.key.destination_port());
    flows(sessions).iter().filter(|flow| flow.id.is_forward()).map(key).collect()
}

#[test]
fn zk_v4_frag_tiny_head_followers_belong_to_their_heads_flow() {
    let Some(packets) = shared("zk-v4-frag-tiny-head") else { return };
    each_with_flows(|site, sessions| {
        anywhere(site, vec![to_port(rule(1, Verdict::Pass), protocol::UDP, 137)]);
        for packet in &packets {
            site.through(FABRIC, &to_vif3(packet), VIF3);
        }
        assert_eq!(keys(sessions), [(protocol::UDP, 123, 137)]);
        assert_eq!(flows(sessions)[0].packets, 3);
    });
}

#[test]
fn zk_icmp6_too_big_reaches_the_sender_where_icmpv6_is_denied() {
    let Some(packets) = shared("zk-icmp6-too-big") else { return };
    each_with_flows(|site, sessions| {
        let icmp = Rule { protocol: Some(protocol::ICMPV6), ..rule(1, Verdict::Deny) };
        anywhere(site, vec![icmp, rule(2, Verdict::Pass)]);
        // Before there is such a session policy decides.
        let error = to_vif3(&packets[0]);
        site.exchange(&[(FABRIC, &error)]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        let quoted = &packets[0][14 + 40 + 8..];
        let address = |at: usize| -> [u8; 16] { quoted[at..at + 16].try_into().unwrap() };
        let port = |at: usize| u16::from_be_bytes([quoted[at], quoted[at + 1]]);
        let mut sent = Vec::new();
        PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv6(address(8), address(24), 64)
            .udp(port(40), port(42))
            .write(&mut sent, b"?")
            .unwrap();
        site.through(VIF3, &sent, FABRIC);
        let before = flows(sessions).len();
        site.through(FABRIC, &error, VIF3);
        assert_eq!(flows(sessions).len(), before, "no flow of its own");
    });
}

#[test]
fn zk_errors_without_enough_of_what_they_are_about_are_dropped() {
    for name in ["zk-icmp6-unreach-ext-cut", "zk-icmp-unreach-no-context"] {
        let Some(packets) = shared(name) else { return };
        each_with_flows(|site, sessions| {
            anywhere(site, vec![rule(1, Verdict::Pass)]);
            let outcome = site.exchange(&[(FABRIC, &to_vif3(&packets[0]))]);
            outcome.expect_drops(&[(DropReason::IcmpError, 1)]);
            assert!(flows(sessions).is_empty());
        });
    }
}

#[test]
fn sv_v6_evasion_frag_1_no_piece_upgrades_what_is_denied() {
    let Some(packets) = shared("sv-v6-evasion-frag-1") else { return };
    each_with_flows(|site, _| {
        let icmp = Rule { protocol: Some(protocol::ICMPV6), ..rule(1, Verdict::Deny) };
        anywhere(site, vec![icmp, rule(2, Verdict::Pass)]);
        let sent: Vec<_> = packets.iter().map(|packet| from_vif3(packet)).collect();
        let outcome = site.send(VIF3, &sent);
        let errands = |frame: &&Vec<u8>| frame[46 + 6] == 44 || frame[46 + 6] == 58;
        assert_eq!(outcome.on(FABRIC).iter().filter(errands).count(), 0, "{:?}", outcome.drops);
        assert!(outcome.drops.get(DropReason::FlowActionDrop) > 0);
        // What waits for a head that never comes ends.
        site.turn_at(0..5);
    });
}

#[test]
fn zk_syn_rst_is_a_pair_that_ends_early() {
    let Some(packets) = shared("zk-syn-rst") else { return };
    each_with_flows(|site, sessions| {
        anywhere(site, vec![rule(1, Verdict::Pass)]);
        for packet in &packets {
            site.through(VIF3, &from_vif3(packet), FABRIC);
        }
        let [forward, reverse] = flows(sessions)[..] else { panic!("a pair") };
        for flow in [forward, reverse] {
            assert!(sessions.flow(flow.id).unwrap().tcp().contains(TcpFlags::DEAD));
        }
        site.turn_at(0..6);
        assert!(flows(sessions).is_empty(), "both are gone");
    });
}

#[test]
fn sv_sctp_has_the_ports_of_its_header_in_its_key() {
    let Some(packets) = shared("sv-sctp") else { return };
    each_with_flows(|site, sessions| {
        anywhere(site, vec![rule(1, Verdict::Pass)]);
        site.through(VIF3, &from_vif3(&packets[0]), FABRIC);
        assert_eq!(keys(sessions), [(protocol::SCTP, 7, 7)]);
    });
}

#[test]
fn pp_icmp_types_have_keys_by_id_and_errors_none() {
    let Some(packets) = shared("pp-icmp-types") else { return };
    each_with_flows(|site, sessions| {
        anywhere(site, vec![rule(1, Verdict::Pass)]);
        for packet in packets.iter().filter(|packet| packet[0] & 1 == 0) {
            let before = flows(sessions).len();
            let outcome = site.exchange(&[(VIF3, &from_vif3(packet))]);
            let icmp = &packet[14 + 20..];
            let is_error = matches!(icmp[0], 3 | 4 | 5 | 11 | 12);
            assert!(!is_error || flows(sessions).len() == before, "an error has no flow");
            if matches!(icmp[0], 0 | 8) {
                let id = u16::from_be_bytes([icmp[4], icmp[5]]);
                assert!(keys(sessions).contains(&(protocol::ICMP, id, 0)), "{id}");
            } else if !is_error {
                assert!(keys(sessions).contains(&(protocol::ICMP, 0, icmp[0].into())));
            }
            assert_eq!(outcome.on(VIF3).len(), 0, "redirects are not acted upon");
        }
    });
}

// ------------------------------------------------------------------------- points of reference dataplane.md section 24

#[test]
fn point_06_a_next_hop_that_asks_for_known_flows_only_makes_none() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        site.put([flagged(20, NhFamily::Inet, RED, NhFlags::FLOW_LOOKUP, to_workload(VIF3, MAC3))]);
        let unasked = to_vif3(&udp(MAC9, 9, 3, (53, 1000), b"!"));
        site.through(FABRIC, &unasked, VIF3);
        assert!(flows(sessions).is_empty(), "it just goes on");
        site.through(VIF3, &udp(MAC3, 3, 9, (1000, 53), b"?"), FABRIC);
        site.through(FABRIC, &unasked, VIF3);
        let [_, reverse] = flows(sessions)[..] else { panic!("a pair") };
        assert_eq!(reverse.packets, 1, "one that is known is met");
    });
}

#[test]
fn point_08_a_reset_that_nobody_believes_is_forwarded_and_ends_nothing() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        let segment = |reset: bool, sequence| {
            let builder = PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
                .ipv4(tenant(3).octets(), tenant(9).octets(), 64)
                .tcp(1000, 80, sequence, 8192);
            let mut out = Vec::new();
            if reset { builder.rst() } else { builder.ack(501) }.write(&mut out, &[]).unwrap();
            out
        };
        let mut opening = Vec::new();
        PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
            .ipv4(tenant(3).octets(), tenant(9).octets(), 64)
            .tcp(1000, 80, 100, 8192)
            .syn()
            .write(&mut opening, &[])
            .unwrap();
        let mut answer = Vec::new();
        PacketBuilder::ethernet2(MAC9.0, Mac::GATEWAY.0)
            .ipv4(tenant(9).octets(), tenant(3).octets(), 64)
            .tcp(80, 1000, 500, 8192)
            .syn()
            .ack(101)
            .write(&mut answer, &[])
            .unwrap();
        site.through(VIF3, &opening, FABRIC);
        site.through(FABRIC, &to_vif3(&answer), VIF3);
        site.through(VIF3, &segment(false, 101), FABRIC);
        let dead = |sessions: &Sessions| {
            let flow = sessions.flow(flows(sessions)[0].id).unwrap();
            flow.tcp().contains(TcpFlags::DEAD)
        };
        site.through(VIF3, &segment(true, 7777), FABRIC);
        assert!(!dead(sessions), "out of the window");
        site.through(VIF3, &segment(true, 101), FABRIC);
        assert!(dead(sessions));
    });
}

#[test]
fn point_11_an_agent_does_not_move_a_flow_that_has_chosen_its_member() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(1, Verdict::Pass)]);
        let members = composite(CompositeKind::Ecmp(0), &[(40, Some(33)), (44, Some(34))]);
        site.put([tunnel(44, 3, TunnelEncap::MplsOverUdp), nh(60, NhFamily::Inet, RED, members)]);
        site.put([route(RED, "10.10.1.100/32", 60, None)]);
        let packet = udp(MAC3, 3, 100, (1000, 7), b"");
        let far = site.through(VIF3, &packet, FABRIC)[33];
        let id = flows(sessions)[0].id;
        let chosen = sessions.flow(id).unwrap().state().ecmp().unwrap();
        let other = Decision { ecmp: Some(1 - chosen), ..decision(PASS) };
        decide(site, sessions, id, &other).unwrap();
        assert_eq!(site.through(VIF3, &packet, FABRIC)[33], far);
        assert_eq!(sessions.flow(id).unwrap().state().ecmp(), Some(chosen));
    });
}

#[test]
fn point_19_a_held_packet_of_an_interface_that_was_replaced_is_dropped() {
    each_with_flows(|site, sessions| {
        add_deciding_agent(site);
        site.send(VIF3, &[udp(MAC3, 3, 9, (1000, 53), b"?")]);
        let id = flows(sessions)[0].id;
        let keys = [Key::NextHop(NhId(20)), Key::NextHop(NhId(30)), Key::Vif(VIF3)];
        site.apply(keys.map(Op::Delete), Owner::Agent);
        site.put([
            policed(VIF3, judged_by(Judge::Agent)),
            flagged(20, NhFamily::Inet, RED, NhFlags::POLICY, to_workload(VIF3, MAC3)),
        ]);
        decide(site, sessions, id, &decision(PASS)).unwrap();
        site.exchange(&[]).expect_drops(&[(DropReason::InvalidIf, 1)]);
    });
}
