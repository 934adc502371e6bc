//! Flows: sessions are judged once, remembered in both directions, and end (reference dataplane.md section 14,
//! control-plane.md section 4).
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::time::Duration;

use engine::FlowLimits;
use etherparse::PacketBuilder;
use site::policy::*;
use site::*;
use tables::flow::{FlowFlags, SessionFlags, Sessions, TcpFlags};
use tables::*;
use wire::{Mac, Tcp, protocol};

fn second(seconds: u64) -> u64 {
    u64::try_from(Duration::from_secs(seconds).as_nanos()).unwrap()
}

/// A TCP segment between tenants.
fn tcp(source: Mac, (from, to): (u8, u8), ports: (u16, u16), flags: u8, at: (u32, u32)) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(source.0, Mac::GATEWAY.0)
        .ipv4(tenant(from).octets(), tenant(to).octets(), 64)
        .tcp(ports.0, ports.1, at.0, 8192);
    let builder = if flags & Tcp::SYN != 0 { builder.syn() } else { builder };
    let builder = if flags & Tcp::FIN != 0 { builder.fin() } else { builder };
    let builder = if flags & Tcp::RST != 0 { builder.rst() } else { builder };
    let builder = if flags & Tcp::ACK != 0 { builder.ack(at.1) } else { builder };
    let mut out = Vec::new();
    builder.write(&mut out, &[]).unwrap();
    out
}

/// As it comes from the fabric for vif3.
fn from_far(packet: &[u8]) -> Vec<u8> {
    mpls_over_udp(20, 64, &packet[14..])
}

fn pass_all() -> Vec<Rule> {
    vec![rule(0xa, Verdict::Pass)]
}

#[test]
fn a_session_is_two_flows_and_each_counts_its_packets() {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        let there = udp(MAC3, 3, 9, (1000, 53), b"question");
        let back = from_far(&udp(MAC9, 9, 3, (53, 1000), b"answer"));
        for _ in 0..3 {
            site.through(VIF3, &there, FABRIC);
        }
        site.through(FABRIC, &back, VIF3);
        let [forward, reverse] = flows(sessions)[..] else { panic!("two flows") };
        assert_eq!(reverse.id, forward.id.other());
        assert!(forward.id.is_forward());
        assert_eq!((forward.packets, reverse.packets), (3, 1));
        assert_eq!(forward.key.scope, NhId(20), "the interface's next hop");
        assert_eq!(reverse.key, forward.key.reversed(NhId(20)));
        assert_eq!(forward.rules.0, RuleId(0xa));
    });
}

#[test]
fn point_04_what_a_workload_of_this_node_answers_is_the_same_session() {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        site.through(VIF3, &udp(MAC3, 3, 4, (1000, 53), b"?"), VIF4);
        site.through(VIF4, &udp(MAC4, 4, 3, (53, 1000), b"!"), VIF3);
        let [forward, reverse] = flows(sessions)[..] else { panic!("two flows") };
        assert_eq!((forward.packets, reverse.packets), (1, 1));
        assert_eq!((forward.key.scope, reverse.key.scope), (NhId(20), NhId(21)));
    });
}

#[test]
fn what_no_rule_lets_pass_is_dropped_and_remembered() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)]);
        let packets = vec![udp(MAC3, 3, 9, (1000, 54), b"no"); 3];
        site.send(VIF3, &packets).expect_drops(&[(DropReason::FlowActionDrop, 3)]);
        let [denied] = flows(sessions)[..] else { panic!("one flow: answers are judged apart") };
        assert_eq!(denied.packets, 3);
        assert!(denied.flags.contains(FlowFlags::DENIED));
        assert!(denied.session.contains(SessionFlags::ONE_SIDED));
        assert_eq!(denied.rules.0, RuleId::IMPLICIT_DENY);
        site.through(VIF3, &udp(MAC3, 3, 9, (1000, 53), b"yes"), FABRIC);
    });
}

#[test]
fn groups_let_answers_in_to_what_they_let_out() {
    each_with_flows(|site, _| {
        let policy = VifPolicy {
            egress: vec![EGRESS],
            ingress: vec![INGRESS],
            grouped: true,
            ..VifPolicy::default()
        };
        site.put([
            rule_set(EGRESS, pass_all()),
            rule_set(INGRESS, Vec::new()),
            policed(VIF3, policy),
        ]);
        let unasked = from_far(&udp(MAC9, 9, 3, (53, 1001), b"unasked"));
        site.send(FABRIC, &[unasked]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        site.through(VIF3, &udp(MAC3, 3, 9, (1000, 53), b"?"), FABRIC);
        site.through(FABRIC, &from_far(&udp(MAC9, 9, 3, (53, 1000), b"!")), VIF3);
    });
}

#[test]
fn h25_a_rule_for_ipv4_says_nothing_about_ipv6() {
    let shown = |packets: &[Vec<u8>], family: RuleFamily, passes: usize| {
        each_with_flows(|site, _| {
            let group = Peer::Group(GroupId(7));
            let only = Rule {
                family,
                source: group,
                protocol: Some(protocol::TCP),
                ..rule(1, Verdict::Pass)
            };
            let grouped = VifPolicy {
                ingress: vec![INGRESS],
                egress: vec![EGRESS],
                grouped: true,
                ..VifPolicy::default()
            };
            site.put([
                identity(1, &[], &[7]),
                known("10.10.1.3/32", 20, Some(20), 1),
                known("10.10.1.4/32", 21, Some(21), 1),
                known("2001:db8:a:1::3/128", 20, None, 1),
                known("2001:db8:a:1::4/128", 21, None, 1),
                rule_set(INGRESS, vec![only]),
                rule_set(EGRESS, pass_all()),
                policed(VIF4, grouped),
            ]);
            for (at, packet) in packets.iter().enumerate() {
                let outcome = site.exchange(&[(VIF3, packet)]);
                if at == passes {
                    assert_eq!(outcome.on(VIF4).len(), 1, "{:?}", outcome.drops);
                } else {
                    outcome.expect_drops(&[(DropReason::FlowActionDrop, 1)]);
                }
            }
        });
    };
    // Frame 1 is IPv6, frame 2 IPv4.
    let packets = capture("mk-H25-v6-under-v4-rule.pcap");
    shown(&packets, RuleFamily::Inet, 1);
    shown(&packets, RuleFamily::Inet6, 0);
}

#[test]
fn h26_a_revoked_permission_stops_the_session_with_the_next_packet() {
    each_with_flows(|site, sessions| {
        let port = |port| to_port(rule(u128::from(port), Verdict::Pass), protocol::TCP, port);
        network_rules(site, vec![port(80), port(81)]);
        let data = |to_port| tcp(MAC3, (3, 4), (2000, to_port), Tcp::ACK, (1, 1));
        let answer = |from_port| tcp(MAC4, (4, 3), (from_port, 2000), Tcp::ACK, (1, 1));
        for wanted in [80, 81] {
            site.through(VIF3, &tcp(MAC3, (3, 4), (2000, wanted), Tcp::SYN, (0, 0)), VIF4);
            site.through(VIF4, &answer(wanted), VIF3);
            site.through(VIF3, &data(wanted), VIF4);
        }
        site.put([rule_set(NETWORK, vec![port(81)])]);
        site.send(VIF3, &[data(80)]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        site.send(VIF4, &[answer(80)]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        site.through(VIF3, &data(81), VIF4);
        site.through(VIF4, &answer(81), VIF3);
        assert_eq!(flows(sessions).len(), 4);
        // And back.
        site.put([rule_set(NETWORK, vec![port(80), port(81)])]);
        site.through(VIF3, &data(80), VIF4);
        site.through(VIF4, &answer(80), VIF3);
    });
}

#[test]
fn what_was_denied_may_pass_once_the_rules_say_so() {
    each_with_flows(|site, sessions| {
        network_rules(site, Vec::new());
        let there = udp(MAC3, 3, 9, (1000, 53), b"?");
        site.send(VIF3, std::slice::from_ref(&there))
            .expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        network_rules(site, pass_all());
        site.through(VIF3, &there, FABRIC);
        site.through(FABRIC, &from_far(&udp(MAC9, 9, 3, (53, 1000), b"!")), VIF3);
        assert_eq!(flows(sessions).len(), 2);
    });
}

#[test]
fn h22_a_closed_connection_makes_room_for_one_with_the_same_ports() {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        let packets = capture("mk-H22-tcp-reuse.pcap");
        let mut ids = Vec::new();
        for packet in &packets {
            let from = if packet[6..12] == MAC3.0 { VIF3 } else { VIF4 };
            let outcome = site.exchange(&[(from, packet)]);
            outcome.expect_drops(&[]);
            ids.push(flows(sessions).iter().map(|flow| flow.id).collect::<Vec<_>>());
        }
        let (first, last) = (&ids[0], &ids[ids.len() - 1]);
        assert_eq!((first.len(), last.len()), (2, 2));
        let state: Vec<_> = flows(sessions).iter().map(|flow| flow.packets).collect();
        assert_eq!(state, [1, 0], "a fresh pair for the last SYN");
    });
}

#[test]
fn idle_sessions_end_in_both_directions_and_their_slots_are_free() {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        site.through(VIF3, &udp(MAC3, 3, 4, (1000, 53), b"?"), VIF4);
        site.through(VIF4, &udp(MAC4, 4, 3, (53, 1000), b"!"), VIF3);
        let mut clock = 0;
        let mut rest = |site: &mut Site, seconds: u64| {
            for _ in 0..seconds * 4 {
                site.pass(second(1) / 4);
                clock += 1;
                site.turn_all();
            }
        };
        rest(site, 170);
        assert_eq!(flows(sessions).len(), 2, "180 s");
        site.through(VIF4, &udp(MAC4, 4, 3, (53, 1000), b"!"), VIF3);
        rest(site, 170);
        assert_eq!(flows(sessions).len(), 2, "one direction is enough");
        rest(site, 20);
        assert_eq!(flows(sessions).len(), 0);
        assert_eq!(sessions.flows(), 0);
        assert_eq!((sessions.of_vif(VIF3), sessions.of_vrf(RED)), (0, 0));
    });
}

#[test]
fn a_packet_from_elsewhere_than_its_source_is_dropped() {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        // vif3 speaks with vif4's address; a far node with one that another has.
        site.send(VIF3, &[udp(MAC3, 4, 9, (1, 2), b"")])
            .expect_drops(&[(DropReason::InvalidSource, 1)]);
        let moved =
            [route(RED, "10.10.1.9/32", 44, Some(33)), tunnel(44, 3, TunnelEncap::MplsOverUdp)];
        site.put(moved.into_iter().rev());
        site.send(FABRIC, &[from_far(&udp(MAC9, 9, 3, (1, 2), b""))])
            .expect_drops(&[(DropReason::InvalidSource, 1)]);
        assert_eq!(flows(sessions).len(), 0);
        // A network may do without.
        site.put([Object::Vrf(Vrf { rpf: false, ..Vrf::new(RED, "red") })]);
        site.through(FABRIC, &from_far(&udp(MAC9, 9, 3, (1, 2), b"")), VIF3);
        site.put([Object::Vrf(Vrf::new(RED, "red"))]);
        site.send(FABRIC, &[from_far(&udp(MAC9, 9, 3, (1, 2), b""))])
            .expect_drops(&[(DropReason::InvalidSource, 1)]);
    });
}

#[test]
fn an_established_session_follows_its_route() {
    each_with_flows(|site, _| {
        network_rules(site, pass_all());
        let there = udp(MAC3, 3, 9, (1000, 53), b"?");
        let before = site.through(VIF3, &there, FABRIC);
        site.put([
            tunnel(44, 3, TunnelEncap::MplsOverUdp),
            route(RED, "10.10.1.9/32", 44, Some(77)),
        ]);
        let after = site.through(VIF3, &there, FABRIC);
        assert_eq!((&before[30..34], &after[30..34]), (&[192, 0, 2, 2][..], &[192, 0, 2, 3][..]));
        assert_eq!(after[42..46], mpls_word(77, 63));
        site.apply([Op::Delete(Key::Inet(RED, "10.10.1.9/32".parse().unwrap()))], Owner::Agent);
        site.send(VIF3, &[there]).expect_drops(&[(DropReason::Discard, 1)]);
    });
}

#[test]
fn a_flood_of_sessions_leaves_the_others_theirs() {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        let mine = udp(MAC4, 4, 9, (5000, 53), b"?");
        site.through(VIF4, &mine, FABRIC);
        let flood = |port| udp(MAC3, 3, 9, (port, 7), b"");
        let packets: Vec<_> = (1..2000).map(flood).collect();
        let outcome = site.send(VIF3, &packets);
        let half = u64::from(SESSIONS / 2);
        outcome.expect_drops(&[(DropReason::FlowTableFull, 1999 - half)]);
        assert_eq!(u64::from(sessions.of_vif(VIF3)), 2 * half);
        site.through(VIF4, &mine, FABRIC);
        site.through(VIF4, &udp(MAC4, 4, 9, (5001, 53), b"?"), FABRIC);
    });
}

#[test]
fn an_interfaces_own_limits_hold() {
    each_with_flows(|site, _| {
        let policy = VifPolicy { max_flows: Some(6), ..VifPolicy::default() };
        site.put([policed(VIF3, policy)]);
        let packets: Vec<_> = (1..=5).map(|port| udp(MAC3, 3, 9, (port, 7), b"")).collect();
        site.send(VIF3, &packets).expect_drops(&[(DropReason::FlowTableFull, 2)]);
        let policy = VifPolicy { max_new_flows: Some(2), ..VifPolicy::default() };
        site.put([policed(VIF3, policy)]);
        site.pass(second(1));
        let packets: Vec<_> = (11..=15).map(|port| udp(MAC3, 3, 9, (port, 7), b"")).collect();
        site.send(VIF3, &packets).expect_drops(&[(DropReason::NewFlows, 3)]);
        site.pass(second(1));
        site.through(VIF3, &packets[4], FABRIC);
        let Object::Vif(vif) = policed(VIF3, VifPolicy::default()) else { unreachable!() };
        let flags = vif.flags.with(VifFlags::DROP_NEW_FLOWS);
        site.put([Object::Vif(Vif { flags, ..vif })]);
        site.send(VIF3, &[udp(MAC3, 3, 9, (99, 7), b"")])
            .expect_drops(&[(DropReason::NewFlows, 1)]);
        site.through(VIF3, &packets[4], FABRIC);
    });
}

#[test]
fn h21_icmp_errors_belong_to_the_session_they_are_about() {
    each_with_flows(|site, sessions| {
        let icmp = |id| Rule { protocol: Some(id), ..rule(2, Verdict::Deny) };
        network_rules(
            site,
            vec![icmp(protocol::ICMP), icmp(protocol::ICMPV6), rule(1, Verdict::Pass)],
        );
        site.through(VIF3, &udp(MAC3, 3, 9, (1500, 53), b"?"), FABRIC);
        site.through(VIF3, &tcp(MAC3, (3, 9), (40009, 443), Tcp::SYN, (0, 0)), FABRIC);
        let before = flows(sessions).len();
        let packets = capture("mk-H21-icmp-errors.pcap");
        let far: Vec<usize> = (0..packets.len()).collect();
        for at in far {
            let outcome = site.exchange(&[(FABRIC, &packets[at])]);
            match at + 1 {
                // About UDP, and TCP cut to eight bytes.
                1 | 4 | 5 => assert_eq!(outcome.on(VIF3).len(), 1, "{at}: {:?}", outcome.drops),
                3 | 6 => outcome.expect_drops(&[(DropReason::IcmpError, 1)]),
                // The echo and IPv6 sessions were not opened here.
                _ => outcome.expect_drops(&[(DropReason::FlowActionDrop, 1)]),
            }
        }
        assert_eq!(flows(sessions).len(), before, "no new flows");
    });
}

#[test]
fn a_tcp_session_is_learnt_in_its_middle_from_either_side() {
    each_with_flows(|site, sessions| {
        // vif3 may open connections to port 80 and nobody else any.
        network_rules(site, vec![to_port(rule(7, Verdict::Pass), protocol::TCP, 80)]);
        let answer = from_far(&tcp(MAC9, (9, 3), (80, 2000), Tcp::ACK, (5, 5)));
        site.through(FABRIC, &answer, VIF3);
        let [forward, reverse] = flows(sessions)[..] else { panic!("two flows") };
        assert_eq!(forward.key.destination_port(), 80, "the true initiator's direction");
        assert_eq!((forward.packets, reverse.packets), (0, 1));
        assert!(forward.session.contains(SessionFlags::MIDSTREAM));
        site.through(VIF3, &tcp(MAC3, (3, 9), (2000, 80), Tcp::ACK, (5, 5)), FABRIC);
        // A first segment is judged as what it is.
        let syn = from_far(&tcp(MAC9, (9, 3), (80, 2001), Tcp::SYN, (5, 5)));
        site.send(FABRIC, &[syn]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

#[test]
fn fragments_belong_to_the_session_of_their_head() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![to_port(rule(7, Verdict::Pass), protocol::UDP, 53)]);
        let whole = udp(MAC3, 3, 9, (1000, 53), &[7; 64]);
        let [head, later] = halves(&whole);
        // The later one waits for its head.
        let outcome = site.exchange(&[(VIF3, &later), (VIF3, &head)]);
        assert_eq!(outcome.on(FABRIC).len(), 2, "{:?}", outcome.drops);
        assert_eq!(flows(sessions)[0].packets, 2);
        let other = udp(MAC3, 3, 9, (1000, 54), &[7; 64]);
        let [head, later] = halves(&other).map(|mut packet| {
            packet[19] ^= 1;
            fix_sum(&mut packet);
            packet
        });
        site.exchange(&[(VIF3, &head), (VIF3, &later)])
            .expect_drops(&[(DropReason::FlowActionDrop, 2)]);
    });
}

/// A packet in two fragments.
fn halves(packet: &[u8]) -> [Vec<u8>; 2] {
    let (header, payload) = packet.split_at(34);
    let (first, second) = payload.split_at(40);
    let piece = |payload: &[u8], fragment: u16| {
        let mut piece = [header, payload].concat();
        let length = u16::try_from(20 + payload.len()).unwrap();
        piece[16..18].copy_from_slice(&length.to_be_bytes());
        piece[20..22].copy_from_slice(&fragment.to_be_bytes());
        fix_sum(&mut piece);
        piece
    };
    [piece(first, 0x2000), piece(second, 5)]
}

#[test]
fn what_the_second_worker_receives_of_a_session_goes_to_the_first() {
    let mut site = Site::new(2);
    let sessions = add_flows(&mut site, SESSIONS, FlowLimits::default());
    network_rules(&mut site, pass_all());
    let there = udp(MAC3, 3, 9, (1000, 53), b"?");
    site.through(VIF3, &there, FABRIC);
    // The interface's queue moves to the other worker: the flow does not.
    site.open(VIF3, 0);
    site.turn_all();
    site.through(VIF3, &there, FABRIC);
    let [forward, _] = flows(&sessions)[..] else { panic!("two flows") };
    assert_eq!(forward.packets, 2);
    site.close();
}

#[test]
fn a_session_whose_packets_keep_coming_elsewhere_moves_there_and_ends_there() {
    let mut site = Site::new(2);
    let sessions = add_flows(&mut site, SESSIONS, FlowLimits::default());
    network_rules(&mut site, pass_all());
    let there = udp(MAC3, 3, 9, (1000, 53), b"?");
    site.through(VIF3, &there, FABRIC);
    let owner = |sessions: &Sessions| {
        let [forward, _] = flows(sessions)[..] else { panic!("two flows") };
        sessions.flow(forward.id).unwrap().state().owner()
    };
    assert_eq!(owner(&sessions), Some(1));
    // As if the card hashed to other queues from now on.
    site.open(VIF3, 0);
    site.turn_all();
    for _ in 0..100 {
        site.through(VIF3, &there, FABRIC);
    }
    assert_eq!(owner(&sessions), Some(0));
    let counts = sessions.counts(0);
    assert_eq!((counts.moved, counts.handed_over), (1, 63), "then none is handed over any longer");
    let [forward, _] = flows(&sessions)[..] else { panic!("two flows") };
    assert_eq!(forward.packets, 101, "each was counted once");
    // The former owner forgets it, the new one ends it; its slot and those of many others can be used again.
    for round in 0..4 {
        site.turn_at(round * 400 + 1..round * 400 + 400);
        site.pass(second(400));
        assert_eq!(flows(&sessions).len(), 0, "round {round}");
        assert_eq!(sessions.flows(), 0);
        let packets: Vec<_> =
            (0..500).map(|port| udp(MAC3, 3, 9, (2000 + port, 53), b"?")).collect();
        assert_eq!(site.send(VIF3, &packets).on(FABRIC).len(), 500);
        site.turn_at((round + 1) * 400..(round + 1) * 400 + 1);
    }
    site.close();
}

#[test]
fn a_flow_chooses_a_member_once_and_keeps_it() {
    each_with_flows(|site, _| {
        network_rules(site, pass_all());
        site.put([
            tunnel(44, 3, TunnelEncap::MplsOverUdp),
            tunnel(45, 4, TunnelEncap::MplsOverUdp),
        ]);
        let group = |members: &[(u32, Option<u32>)]| {
            nh(60, NhFamily::Inet, RED, composite(CompositeKind::Ecmp(0), members))
        };
        site.put([
            group(&[(40, Some(33)), (44, Some(34)), (45, Some(35))]),
            route(RED, "10.10.1.100/32", 60, None),
        ]);
        let packets: Vec<_> = (1..=60).map(|port| udp(MAC3, 3, 100, (port, 7), b"")).collect();
        let chosen = |site: &mut Site| -> Vec<u8> {
            let sent = packets.iter().map(|packet| site.through(VIF3, packet, FABRIC)[33]);
            sent.collect()
        };
        let before = chosen(site);
        // One more member: nobody moves.
        site.put([tunnel(46, 2, TunnelEncap::MplsOverGre)]);
        site.put([group(&[(40, Some(33)), (44, Some(34)), (45, Some(35)), (46, Some(36))])]);
        assert_eq!(chosen(site), before);
        // The second goes: only its flows move.
        site.apply([Op::Delete(Key::NextHop(NhId(44)))], Owner::Agent);
        let after = chosen(site);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == 3, "{before} {after}");
            assert_ne!(*after, 3);
        }
        // An answer comes from one member: the session goes there.
        let answer = |far: u8, port| {
            let mut packet = from_far(&udp(MAC9, 100, 3, (7, port), b""));
            packet[29] = far;
            packet[24..26].fill(0);
            let sum = wire::checksum::Sum::ZERO.bytes(&packet[14..34]).checksum();
            packet[24..26].copy_from_slice(&sum.to_be_bytes());
            packet
        };
        for (far, port) in [(2, 1000), (4, 1001)] {
            site.through(FABRIC, &answer(far, port), VIF3);
            let back = site.through(VIF3, &udp(MAC3, 3, 100, (port, 7), b""), FABRIC);
            assert_eq!(back[33], far, "steered back");
        }
    });
}

/// Vif3 to a server far away, and back.
struct Connection<'s> {
    site: &'s mut Site,
    sessions: &'s Sessions,
}

impl Connection<'_> {
    fn sends(&mut self, flags: u8, at: (u32, u32)) {
        let segment = tcp(MAC3, (3, 9), (40_000, 80), flags, at);
        self.site.through(VIF3, &segment, FABRIC);
    }

    fn gets(&mut self, flags: u8, at: (u32, u32)) {
        let segment = from_far(&tcp(MAC9, (9, 3), (80, 40_000), flags, at));
        self.site.through(FABRIC, &segment, VIF3);
    }

    /// What each direction has shown.
    fn shows(&self) -> (TcpFlags, TcpFlags) {
        let [forward, reverse] = flows(self.sessions)[..] else { panic!("one connection") };
        let shown = |flow: Seen| self.sessions.flow(flow.id).unwrap().tcp();
        (shown(forward), shown(reverse))
    }

    fn opens(&mut self) {
        self.sends(Tcp::SYN, (100, 0));
        self.gets(Tcp::SYN | Tcp::ACK, (500, 101));
        self.sends(Tcp::ACK, (101, 501));
        let established = TcpFlags::ESTABLISHED.with(TcpFlags::ESTABLISHED_REVERSE);
        assert!(self.shows().0.contains(established) && self.shows().1.contains(established));
    }

    fn is_over(&self) -> bool {
        let (forward, reverse) = self.shows();
        assert_eq!(forward.contains(TcpFlags::DEAD), reverse.contains(TcpFlags::DEAD));
        forward.contains(TcpFlags::DEAD)
    }
}

fn connection(test: impl Fn(&mut Connection<'_>)) {
    each_with_flows(|site, sessions| {
        network_rules(site, pass_all());
        test(&mut Connection { site, sessions });
    });
}

#[test]
fn a_connection_that_one_side_has_closed_goes_on_until_the_other_has_too() {
    connection(|it| {
        it.opens();
        it.sends(Tcp::FIN | Tcp::ACK, (101, 501));
        it.gets(Tcp::ACK, (501, 102));
        assert!(it.shows().0.contains(TcpFlags::HALF_CLOSE) && !it.is_over());
        for _ in 0..10 {
            it.site.pass(second(20));
            it.site.turn_all();
            it.gets(Tcp::ACK, (501, 102));
            it.sends(Tcp::ACK, (102, 501));
            assert!(!it.is_over(), "its other half carries on");
        }
        it.gets(Tcp::FIN | Tcp::ACK, (501, 102));
        it.sends(Tcp::ACK, (102, 502));
        assert!(it.is_over());
    });
}

#[test]
fn both_sides_may_open_at_once() {
    connection(|it| {
        it.sends(Tcp::SYN, (100, 0));
        it.gets(Tcp::SYN, (500, 0));
        it.sends(Tcp::SYN | Tcp::ACK, (100, 501));
        it.gets(Tcp::SYN | Tcp::ACK, (500, 101));
        let established = TcpFlags::ESTABLISHED.with(TcpFlags::ESTABLISHED_REVERSE);
        assert!(it.shows().0.contains(established), "{:?}", it.shows());
        assert_eq!(flows(it.sessions).len(), 2, "one session");
    });
}

#[test]
fn a_refusal_is_believed_if_it_acknowledges_the_syn_and_only_then() {
    connection(|it| {
        it.sends(Tcp::SYN, (100, 0));
        it.gets(Tcp::RST | Tcp::ACK, (0, 4711));
        assert!(!it.is_over(), "it is forwarded, and means nothing");
        it.gets(Tcp::RST | Tcp::ACK, (0, 101));
        assert!(it.is_over());
        // A new attempt begins at once.
        it.sends(Tcp::SYN, (900, 0));
        assert!(!it.is_over());
        assert_eq!(flows(it.sessions)[0].packets, 1);
    });
}
