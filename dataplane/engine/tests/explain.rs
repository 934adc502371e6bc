//! What would become of a packet is told without anything becoming of it, and is what becomes of it; real packets are
//! followed the same way.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

#[path = "case_book/bench.rs"]
mod bench;
mod site;

use std::sync::Arc;

use engine::{
    Ending, Event, ExplainError, Explanation, FlowLimits, Followed, Original, Tick, TraceFilter,
    WorkerId, explain,
};
use site::policy::*;
use site::*;
use tables::flow::{FlowFlags, Sessions};
use tables::*;
use wire::{Mac, protocol};

fn think_of(
    site: &mut Site,
    sessions: Option<&Arc<Sessions>>,
    vif: VifId,
    packet: &[u8],
) -> Result<Explanation, ExplainError> {
    let original = Original {
        reader: site.writer.reader(),
        engine: &site.engine,
        sessions: sessions.map(|sessions| (Arc::clone(sessions), FlowLimits::default())),
        ports: [FABRIC, VIF3, VIF4].map(|vif| (vif, false)).to_vec(),
        now: Tick(1_000),
        names: &(),
    };
    explain(original, vif, packet)
}

fn told(site: &mut Site, sessions: &Arc<Sessions>, vif: VifId, packet: &[u8]) -> Followed {
    let explanation = think_of(site, Some(sessions), vif, packet).unwrap();
    explanation.packets.into_iter().next().unwrap()
}

/// What a node said, in one line.
fn at(followed: &Followed, node: &str) -> String {
    let steps = followed.steps.iter().filter(|step| step.node == node);
    steps.flat_map(|step| step.says.clone()).collect::<Vec<_>>().join("; ")
}

fn nodes(followed: &Followed) -> Vec<&'static str> {
    followed.steps.iter().map(|step| step.node).collect()
}

#[test]
fn what_is_told_is_what_becomes_of_the_packet_and_nothing_else_changes() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)]);
        let mut expired = ping(MAC3, 3, 9);
        expired[22] = 1;
        fix_sum(&mut expired);
        let frame =
            [&[0xff; 6], &MAC3.0[..], &[0x88, 0xb5], b"not IP at all, and long enough for a frame"];
        let packets = [
            (VIF3, udp(MAC3, 3, 9, (1000, 53), b"to another node")),
            (VIF3, udp(MAC3, 3, 4, (1000, 53), b"to a workload here")),
            (VIF3, udp(MAC3, 3, 9, (1000, 54), b"not allowed")),
            (VIF3, udp(MAC3, 3, 9, (1000, 53), &[7; 1460])),
            (VIF3, expired),
            (VIF3, frame.concat()),
            (FABRIC, mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (1001, 53), b"in")[14..])),
            (FABRIC, mpls_over_udp(9999, 64, &udp(MAC9, 9, 3, (1001, 53), b"no label")[14..])),
            (VIF3, vec![1, 2, 3]),
        ];
        for (vif, packet) in packets {
            let (drops, free) = (site.counters.drops(), site.pools.free_frames());
            let before = flows(sessions);
            let thought = think_of(site, Some(sessions), vif, &packet).unwrap();
            assert_eq!(site.counters.drops(), drops, "nothing is counted");
            assert_eq!((flows(sessions), site.pools.free_frames()), (before, free));
            let outcome = site.exchange(&[(vif, &packet)]);
            let really: Vec<(VifId, Vec<u8>)> = outcome
                .sent
                .iter()
                .flat_map(|(vif, sent)| sent.iter().map(|packet| (*vif, packet.clone())))
                .collect();
            assert_eq!(thought.sent, really, "{:?}", thought.packets);
            let dropped = thought.packets.iter().filter_map(|packet| match packet.ending {
                Ending::Dropped { reason } => Some(reason),
                _ => None,
            });
            let dropped: Vec<DropReason> = dropped.collect();
            let counted: u64 = dropped.iter().map(|reason| outcome.drops.get(*reason).min(1)).sum();
            assert_eq!(
                (dropped.len() as u64, counted),
                (outcome.drops.total(), dropped.len() as u64)
            );
            assert_eq!(thought.left_out, 0);
        }
    });
}

/// Without what an outer header counts.
fn comparable(sent: &[(VifId, Vec<u8>)]) -> Vec<(VifId, Vec<u8>)> {
    let mut sent = sent.to_vec();
    for (_, packet) in &mut sent {
        if packet.get(12..14) == Some(&[8, 0]) && packet.len() > 34 {
            packet[18..20].fill(0);
            packet[24..26].fill(0);
        }
    }
    sent
}

#[test]
fn every_capture_is_told_as_it_goes_at_every_port() {
    let mut site = Site::new(1);
    let site = &mut site;
    bench::furnish(site);
    let ports = [FABRIC, VIF3, HOST, bench::AGENT];
    let mut told = 0;
    for path in captures_here() {
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let packets = packets_of(&path);
        for packet in packets.iter().filter(|it| !it.is_empty() && it.len() < 1700).take(3) {
            for vif in ports {
                // Buckets are full again, and nothing waits.
                site.pass(10_000_000_000);
                site.turn_all();
                let original = Original {
                    reader: site.writer.reader(),
                    engine: &site.engine,
                    sessions: None,
                    ports: [FABRIC, HOST, VIF3, VIF4, bench::AGENT]
                        .map(|vif| (vif, false))
                        .to_vec(),
                    now: Tick(1_000),
                    names: &(),
                };
                let thought = explain(original, vif, packet).unwrap();
                let outcome = site.exchange(&[(vif, packet)]);
                let really: Vec<(VifId, Vec<u8>)> = outcome
                    .sent
                    .iter()
                    .flat_map(|(vif, sent)| sent.iter().map(|packet| (*vif, packet.clone())))
                    .collect();
                let name = path.file_name().unwrap();
                assert_eq!(comparable(&thought.sent), comparable(&really), "{name:?} at vif {vif}");
                let is_dropped =
                    |packet: &&Followed| matches!(packet.ending, Ending::Dropped { .. });
                let dropped = thought.packets.iter().filter(is_dropped).count() as u64;
                assert_eq!(dropped, outcome.drops.total(), "{name:?} at vif {vif}: {thought:?}");
                for packet in &thought.packets {
                    assert_ne!(packet.ending, Ending::TooLong, "{packet:?}");
                    assert!(packet.steps.iter().all(|step| !step.says.is_empty()), "{packet:?}");
                }
                told += 1;
            }
        }
    }
    assert!(told > 200, "{told} packets");
}

#[test]
fn an_allowed_packet_is_told_with_rule_session_route_and_tunnel() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)]);
        let packet = udp(MAC3, 3, 9, (1000, 53), b"?");
        let first = told(site, sessions, VIF3, &packet);
        assert_eq!(nodes(&first)[..3], ["vif_rx", "parse", "flow"]);
        assert!(
            at(&first, "parse").contains("10.10.1.3:1000 -> 10.10.1.9:53 UDP, TTL 64"),
            "{first:?}"
        );
        assert!(at(&first, "flow").contains("would begin a session"), "{first:?}");
        assert!(
            at(&first, "flow")
                .contains("network policy: rule 00000000-0000-0000-0000-00000000000a"),
            "{first:?}"
        );
        assert!(
            at(&first, "encap").contains("MPLS over UDP tunnel 192.0.2.1 -> 192.0.2.2"),
            "{first:?}"
        );
        assert_eq!(first.ending, Ending::Sent { vif: FABRIC });

        site.through(VIF3, &packet, FABRIC);
        let [forward, _] = flows(sessions)[..] else { panic!("two flows") };
        let known = told(site, sessions, VIF3, &packet);
        let index = forward.id.index();
        assert!(
            at(&known, "flow").contains(&format!("of session {index}<=>{}", index + 1)),
            "{known:?}"
        );
        let answer = mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (53, 1000), b"!")[14..]);
        let answer = told(site, sessions, FABRIC, &answer);
        assert!(
            at(&answer, "decap").contains("MPLS over UDP, label 20 from 192.0.2.2"),
            "{answer:?}"
        );
        assert!(at(&answer, "flow").contains(&format!("flow {}", index + 1)), "{answer:?}");
        assert_eq!(answer.ending, Ending::Sent { vif: VIF3 });
    });
}

#[test]
fn a_denied_packet_is_told_with_the_list_and_the_rule() {
    each_with_flows(|site, sessions| {
        let deny = to_port(rule(0xd, Verdict::Deny), protocol::UDP, 54);
        network_rules(site, vec![deny, rule(0xa, Verdict::Pass)]);
        let denied = told(site, sessions, VIF3, &udp(MAC3, 3, 9, (1000, 54), b"no"));
        let flow = at(&denied, "flow");
        assert!(
            flow.contains("network policy: rule 00000000-0000-0000-0000-00000000000d"),
            "{flow}"
        );
        assert!(flow.contains("denied by the policy of the network it comes from"), "{flow}");
        assert_eq!(denied.ending, Ending::Dropped { reason: DropReason::FlowActionDrop });
        assert!(
            at(&denied, "drop").contains("Flow Action Drop (VP_DROP_FLOW_ACTION_DROP)"),
            "{denied:?}"
        );

        network_rules(site, Vec::new());
        let nobody = told(site, sessions, VIF3, &udp(MAC3, 3, 9, (1000, 53), b"no"));
        assert!(at(&nobody, "flow").contains("no rule allows it"), "{nobody:?}");
    });
}

#[test]
fn h26_what_is_thought_of_a_session_leaves_it_as_it_is() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(0xa, Verdict::Pass)]);
        let packet = udp(MAC3, 3, 9, (1000, 53), b"?");
        site.through(VIF3, &packet, FABRIC);
        network_rules(site, Vec::new());
        let denied = told(site, sessions, VIF3, &packet);
        assert_eq!(denied.ending, Ending::Dropped { reason: DropReason::FlowActionDrop });
        assert!(flows(sessions).iter().all(|flow| !flow.flags.contains(FlowFlags::DENIED)));
        site.send(VIF3, std::slice::from_ref(&packet))
            .expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

#[test]
fn what_was_denied_and_may_pass_now_would_begin_anew() {
    each_with_flows(|site, sessions| {
        network_rules(site, Vec::new());
        let packet = udp(MAC3, 3, 9, (1000, 53), b"?");
        site.send(VIF3, std::slice::from_ref(&packet));
        network_rules(site, vec![rule(0xb, Verdict::Pass)]);
        let before = flows(sessions);
        let allowed = told(site, sessions, VIF3, &packet);
        assert_eq!(allowed.ending, Ending::Sent { vif: FABRIC });
        assert!(at(&allowed, "flow").contains("would begin a session"), "{allowed:?}");
        assert_eq!(flows(sessions), before);
    });
}

#[test]
fn quotas_are_those_of_the_node() {
    each_with_flows(|site, sessions| {
        site.put([rule_set(NETWORK, vec![rule(0xa, Verdict::Pass)])]);
        let policy =
            VifPolicy { network: vec![NETWORK], max_flows: Some(2), ..VifPolicy::default() };
        site.put([policed(VIF3, policy)]);
        let packet = udp(MAC3, 3, 9, (1000, 53), b"?");
        site.through(VIF3, &packet, FABRIC);
        let known = told(site, sessions, VIF3, &packet);
        assert_eq!(known.ending, Ending::Sent { vif: FABRIC });
        let refused = told(site, sessions, VIF3, &udp(MAC3, 3, 9, (1001, 53), b"?"));
        assert_eq!(refused.ending, Ending::Dropped { reason: DropReason::FlowTableFull });
        assert!(at(&refused, "flow").contains("may not begin a session"), "{refused:?}");
    });
}

#[test]
fn what_cannot_be_tried_is_refused() {
    each(|site| {
        let packet = ping(MAC3, 3, 9);
        let refused = think_of(site, None, VifId(99), &packet).unwrap_err();
        assert!(matches!(refused, ExplainError::NoVif));
        assert!(matches!(think_of(site, None, VIF3, &[]), Err(ExplainError::Length)));
        assert!(matches!(think_of(site, None, VIF3, &[0; 70_000]), Err(ExplainError::Length)));
        let sub = Vif {
            sub: Some(SubInterface { parent: VIF3, rx_vlan: 7, tx_vlan: 7, stations: Vec::new() }),
            ..Vif::new(VifId(9), "tap3.7", VifKind::VirtualVlan)
        };
        site.put([Object::Vif(sub)]);
        let refused = think_of(site, None, VifId(9), &packet).unwrap_err();
        assert!(matches!(refused, ExplainError::SubInterface { parent: Some(VIF3) }));
        let thought = think_of(site, None, VIF3, &packet).unwrap();
        assert_eq!(thought.packets[0].ending, Ending::Sent { vif: FABRIC }, "without flows, too");
        site.still_forwards();
    });
}

#[test]
fn copies_are_told_as_packets_of_their_own() {
    each(|site| {
        let mut arp = vec![0; 42];
        wire::Ethernet::new(Mac::BROADCAST, MAC3, wire::ethertype::ARP).emit(&mut arp).unwrap();
        let request = wire::ArpOperation::Request;
        wire::Arp::new(request, (MAC3, tenant(3)), (Mac::ZERO, tenant(1)))
            .emit(&mut arp[14..])
            .unwrap();
        let answered = think_of(site, None, VIF3, &arp).unwrap();
        assert_eq!(answered.sent.len(), 1);
        assert_eq!(at(&answered.packets[0], "control"), "answered");
        let really = site.exchange(&[(VIF3, &arp)]);
        assert_eq!(really.on(VIF3), [answered.sent[0].1.clone()]);
    });
}

fn traced(site: &mut Site) -> Vec<Followed> {
    let workers: Vec<WorkerId> = site.workers.iter().map(|worker| worker.id()).collect();
    let mut told = Vec::new();
    for worker in workers {
        while let Some(event) = site.engine.event(worker) {
            if let Event::Traced { trace, .. } = event {
                told.extend(trace.tell(site.writer.fib(), &()));
            }
        }
    }
    told
}

#[test]
fn real_packets_are_followed_that_match() {
    each_with_flows(|site, _| {
        network_rules(site, vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)]);
        let filter = TraceFilter {
            protocol: Some(protocol::UDP),
            destination: Some(tenant(9).into()),
            destination_port: Some(53),
            ..TraceFilter::default()
        };
        site.engine.trace(filter, 2).unwrap();
        let good = udp(MAC3, 3, 9, (1000, 53), b"?");
        let others = [
            ping(MAC3, 3, 9),
            udp(MAC3, 3, 9, (1000, 54), b"no"),
            udp(MAC3, 3, 4, (1, 53), b"here"),
        ];
        site.send(VIF3, &others);
        assert_eq!(traced(site), [], "none matches");
        site.send(VIF3, &vec![good; 5]);
        let told = traced(site);
        assert_eq!(told.len(), 2, "as many as were wanted");
        for packet in &told {
            assert_eq!(packet.ending, Ending::Sent { vif: FABRIC });
            assert!(packet.steps.len() >= 5 && packet.headers.len() <= packet.length);
        }
        assert!(at(&told[0], "flow").contains(", which has just begun"), "{:?}", told[0]);
        site.engine.stop_trace().unwrap();
        site.turn_all();
        assert!(traced(site).is_empty(), "the other worker had none");
    });
}

#[test]
fn packets_match_by_what_is_in_their_tunnel_and_what_is_dropped_is_followed_to_its_end() {
    each_with_flows(|site, _| {
        network_rules(site, Vec::new());
        let filter = TraceFilter { source: Some(tenant(9).into()), ..TraceFilter::default() };
        site.engine.trace(filter, 10).unwrap();
        let packet = mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (1001, 53), b"in")[14..]);
        site.send(FABRIC, &[packet]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        site.engine.stop_trace().unwrap();
        site.turn_all();
        let [packet] = &traced(site)[..] else { panic!("one") };
        assert_eq!(packet.vif, FABRIC);
        assert_eq!(packet.ending, Ending::Dropped { reason: DropReason::FlowActionDrop });
        assert!(at(packet, "decap").contains("label 20"), "{packet:?}");
        site.send(VIF3, &[ping(MAC3, 3, 9)]);
        assert!(traced(site).is_empty(), "it was stopped");
    });
}

#[test]
fn following_packets_allocates_nothing_while_they_move() {
    each(|site| {
        let filter = TraceFilter { source: Some(tenant(9).into()), ..TraceFilter::default() };
        let packets: Vec<_> = (0..64).map(|port| udp(MAC3, 3, 9, (port, 53), b"flow")).collect();
        let train = None;
        let last = site.workers.len() - 1;
        site.add_port(VIF3, last, Box::new(Mill::new(packets.clone(), train, false)));
        site.add_port(FABRIC, 0, Box::new(Mill::new(Vec::new(), None, false)));
        site.engine.trace(filter, 5).unwrap();
        site.turn_at(0..200);
        let allocated = allocation_counter::measure(|| site.turn_at(200..400)).count_total;
        assert_eq!(allocated, 0, "packets that do not match");
        let matching = TraceFilter { source: Some(tenant(3).into()), ..TraceFilter::default() };
        site.engine.trace(matching, 200).unwrap();
        site.turn_at(400..401);
        // The command is obeyed in the turn before, which may allocate; the rest is written down without.
        let allocated = allocation_counter::measure(|| site.turn_at(401..420)).count_total;
        assert_eq!(allocated, 0, "packets that match");
        assert!(traced(site).len() >= 200);
    });
}

#[test]
fn a_packet_that_no_route_leads_anywhere_is_told_so_where_it_ends() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(0xa, Verdict::Pass)]);
        let lost = told(site, sessions, VIF3, &udp(MAC3, 3, 77, (1000, 53), b"?"));
        assert_eq!(nodes(&lost), ["vif_rx", "parse", "flow", "drop"]);
        let said = at(&lost, "flow");
        let expected = "10.10.1.77 in VRF 2: 10.10.1.0/24, next hop 0; to be dropped: Discards (VP_DROP_DISCARD)";
        assert_eq!(said, expected);
    });
}
