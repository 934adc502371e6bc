//! Flows that an agent decides about: told of, held, released with its verdict (reference dataplane.md sections 14.4, 14.5
//! and 14.9; cases H23 and H24).
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::Ipv4Addr;
use std::sync::Arc;

use engine::WorkerId;
use etherparse::PacketBuilder;
use site::policy::*;
use site::*;
use tables::flow::{
    Action, FlowAddresses, FlowId, FlowKey, FreeSlots, HoldLimits, Made, Sessions, Undecidable,
};
use tables::*;
use wire::{AgentHeader, Mac, agent_command, protocol};

/// The bench with flows, and an agent that decides about those of vif3.
fn each_undecided(test: impl Fn(&mut Site, &Arc<Sessions>)) {
    each_with_flows(|site, sessions| {
        add_deciding_agent(site);
        test(site, sessions);
    });
}

/// What the agent is told of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    command: u16,
    vif: u16,
    vrf: u16,
    id: FlowId,
    next_hop: u32,
    generation: u8,
    frame: Vec<u8>,
}

#[track_caller]
fn told(outcome: &Outcome) -> Vec<Told> {
    let parse = |packet: &Vec<u8>| {
        assert_eq!(packet[..14], [&PKT0_MAC.0[..], &PKT0_MAC.0, &[8, 0]].concat());
        let (header, frame) = AgentHeader::parse(&packet[14..]).unwrap();
        Told {
            command: header.command(),
            vif: header.vif(),
            vrf: header.vrf(),
            id: FlowId::new(header.param()).unwrap(),
            next_hop: header.param_1(),
            generation: header.param_5(),
            frame: frame.to_vec(),
        }
    };
    outcome.on(PKT0).iter().map(parse).collect()
}

#[track_caller]
fn the_one(outcome: &Outcome) -> Told {
    let [told] = &told(outcome)[..] else { panic!("{outcome:?}") };
    told.clone()
}

fn numbered(from: u8, to: u8, ports: (u16, u16), count: u8) -> Vec<Vec<u8>> {
    let mac = if from == 3 { MAC3 } else { MAC4 };
    (0..count).map(|number| udp(mac, from, to, ports, &[number; 8])).collect()
}

/// The last byte of each: which it is.
fn order(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().map(|frame| *frame.last().unwrap()).collect()
}

#[test]
fn the_agent_is_told_once_with_index_generation_and_the_packet_as_it_came_in() {
    each_undecided(|site, sessions| {
        let packets = numbered(3, 9, (1000, 53), 2);
        let outcome = site.send(VIF3, &packets);
        let told = the_one(&outcome);
        assert_eq!((told.command, told.vif, told.vrf), (agent_command::FLOW_MISS, 3, RED.0));
        assert_eq!((told.next_hop, &told.frame), (20, &packets[0]));
        let [flow] = flows(sessions)[..] else { panic!("one flow") };
        assert_eq!((flow.id, flow.packets), (told.id, 0));
        let state = sessions.flow(told.id).unwrap().state();
        assert_eq!(state.generation(), told.generation);
        outcome.expect_drops(&[]);
        assert_eq!(outcome.on(FABRIC).len(), 0);
        // What the fabric brings for it is its own, too, with the tunnel it came in.
        let from_far = mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (7, 8), b"x")[14..]);
        let outcome = site.send(FABRIC, std::slice::from_ref(&from_far));
        assert_eq!(the_one(&outcome).frame, from_far);
    });
}

#[test]
fn h23_what_waited_arrives_once_and_before_what_came_later() {
    each_undecided(|site, sessions| {
        let far = numbered(3, 9, (1000, 53), 4);
        let id = the_one(&site.send(VIF3, &far[..3])).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        // The verdict and the next packet are there in the same turn.
        let outcome = site.send(VIF3, &far[3..]);
        outcome.expect_drops(&[]);
        assert_eq!(order(outcome.on(FABRIC)), [0, 1, 2, 3]);
        assert!(outcome.on(FABRIC).iter().all(|sent| ttl(&sent[46..]) == 63), "one hop each");
        let [forward, reverse] = flows(sessions)[..] else { panic!("both directions") };
        assert_eq!((forward.packets, reverse.key), (4, forward.key.reversed(NhId(20))));
        // To a workload of this node, and answers from it.
        let near = numbered(3, 4, (1000, 53), 2);
        let id = the_one(&site.send(VIF3, &near[..1])).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        assert_eq!(order(site.send(VIF3, &near[1..]).on(VIF4)), [0, 1]);
        let answer = udp(MAC4, 4, 3, (53, 1000), &[9]);
        let outcome = site.send(VIF4, &[answer]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(PKT0).len()), (1, 0));
    });
}

#[test]
fn h23_without_a_further_packet_what_waited_leaves_at_once() {
    each_undecided(|site, sessions| {
        let from_far = mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (7, 8), b"x")[14..]);
        let id = the_one(&site.send(FABRIC, &[from_far])).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        let outcome = site.exchange(&[]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(PKT0).len()), (1, 0));
    });
}

#[test]
fn h23_what_waited_goes_by_the_tables_as_they_are_with_the_verdict() {
    each_undecided(|site, sessions| {
        let id = the_one(&site.send(VIF3, &numbered(3, 9, (1000, 53), 1))).id;
        site.put([route(RED, "10.10.1.9/32", 40, Some(777))]);
        decide(site, sessions, id, &decision(PASS)).unwrap();
        let outcome = site.exchange(&[]);
        let sent = &outcome.on(FABRIC)[0];
        assert_eq!(u32::from_be_bytes(sent[42..46].try_into().unwrap()) >> 12, 777);
        // The label that brought a packet is another's by now.
        let from_far = mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (7, 8), b"x")[14..]);
        let id = the_one(&site.send(FABRIC, &[from_far])).id;
        site.put([label(20, 21)]);
        decide(site, sessions, id, &decision(PASS)).unwrap();
        let outcome = site.exchange(&[]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len()), (0, 1));
    });
}

fn syn(mac: Mac, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(mac.0, Mac::GATEWAY.0)
        .ipv4(from.octets(), to.octets(), 64)
        .tcp(1000, 80, 1, 8192)
        .syn()
        .write(&mut out, &[])
        .unwrap();
    out
}

fn ends(ip: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    assert_sums(ip);
    let (ip, _) = wire::Ipv4::parse(ip).unwrap();
    (ip.source(), ip.destination())
}

#[test]
fn h23_a_syn_to_a_floating_ip_waits_and_is_translated() {
    each_undecided(|site, sessions| {
        add_floating_ip(site, policed(VIF3, judged_by(Judge::Agent)));
        let opening = mpls_over_udp(20, 64, &syn(MAC9, outside(), floating_ip())[14..]);
        let id = the_one(&site.send(FABRIC, &[opening])).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        let outcome = site.exchange(&[]);
        assert_eq!(ends(&outcome.on(VIF3)[0][14..]), (outside(), tenant(3)));
        // The other way out, with answers that the agent names.
        let id = the_one(&site.send(VIF3, &[syn(MAC3, tenant(3), outside())])).id;
        let addresses =
            FlowAddresses::V4 { source: outside(), destination: Ipv4Addr::new(192, 0, 2, 77) };
        let answers =
            FlowKey { scope: NhId(20), protocol: protocol::TCP, ports: 80 << 16 | 1000, addresses };
        let named = Action::Forward { answers: Some(answers), behind: Some(WORLD) };
        decide(site, sessions, id, &decision(named)).unwrap();
        let outcome = site.exchange(&[]);
        assert_eq!(ends(&outcome.on(FABRIC)[0][46..]), (Ipv4Addr::new(192, 0, 2, 77), outside()));
        let answer =
            mpls_over_udp(20, 64, &syn(MAC9, outside(), Ipv4Addr::new(192, 0, 2, 77))[14..]);
        let answer = [&answer[..46 + 20], &[0, 80, 3, 0xe8], &answer[46 + 24..]].concat();
        let outcome = site.send(FABRIC, &[answer]);
        assert_eq!(ends_of_any(&outcome.on(VIF3)[0][14..]), (outside(), tenant(3)));
    });
}

/// Of a packet whose transport checksum the test has spoilt.
fn ends_of_any(ip: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let (ip, _) = wire::Ipv4::parse(ip).unwrap();
    (ip.source(), ip.destination())
}

#[test]
fn a_fourth_packet_does_not_wait() {
    each_undecided(|site, _| {
        let outcome = site.send(VIF3, &numbered(3, 9, (1000, 53), 6));
        outcome.expect_drops(&[(DropReason::FlowQueueLimitExceeded, 3)]);
        assert_eq!(told(&outcome).len(), 1);
    });
}

#[test]
fn what_the_agent_is_told_is_told_again_a_second_later() {
    each_undecided(|site, _| {
        let packets = numbered(3, 9, (1000, 53), 3);
        let first = the_one(&site.send(VIF3, &packets[..1]));
        site.pass(500_000_000);
        assert_eq!(told(&site.send(VIF3, &packets[1..2])).len(), 0);
        site.pass(600_000_000);
        let again = the_one(&site.send(VIF3, &packets[2..]));
        assert_eq!((again.command, again.id), (agent_command::FLOW_MISS, first.id));
    });
}

#[test]
fn a_verdict_of_drop_ends_what_waited_and_both_directions() {
    each_undecided(|site, sessions| {
        let packets = numbered(3, 9, (1000, 53), 2);
        let id = the_one(&site.send(VIF3, &packets)).id;
        decide(site, sessions, id, &decision(Action::Drop(0x17))).unwrap();
        site.exchange(&[]).expect_drops(&[(DropReason::FlowActionDrop, 2)]);
        site.send(VIF3, &packets).expect_drops(&[(DropReason::FlowActionDrop, 2)]);
        assert_eq!(sessions.session(id).unwrap().reason(), 0x17);
        // The agent thinks again, and again.
        decide(site, sessions, id, &decision(PASS)).unwrap();
        assert_eq!(site.send(VIF3, &packets).on(FABRIC).len(), 2);
        let answer = mpls_over_udp(20, 64, &udp(MAC9, 9, 3, (53, 1000), b"!")[14..]);
        site.through(FABRIC, &answer, VIF3);
        decide(site, sessions, id, &decision(Action::Drop(0x18))).unwrap();
        site.send(VIF3, &packets).expect_drops(&[(DropReason::FlowActionDrop, 2)]);
        site.send(FABRIC, &[answer]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

#[test]
fn a_flow_that_is_made_to_wait_again_is_told_of_as_that() {
    each_undecided(|site, sessions| {
        let packets = numbered(3, 9, (1000, 53), 3);
        let id = the_one(&site.send(VIF3, &packets[..1])).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        assert_eq!(site.exchange(&[]).on(FABRIC).len(), 1);
        decide(site, sessions, id, &decision(Action::Hold)).unwrap();
        let outcome = site.send(VIF3, &packets[1..]);
        let told = the_one(&outcome);
        assert_eq!((told.command, told.id), (agent_command::FLOW_ACTION_HOLD, id));
        assert_eq!(outcome.on(FABRIC).len(), 0);
        decide(site, sessions, id, &decision(PASS)).unwrap();
        assert_eq!(order(site.exchange(&[]).on(FABRIC)), [1, 2]);
        assert_eq!(sessions.undecided().flows(), 0);
    });
}

#[test]
fn verdicts_that_cannot_be_are_refused_and_change_nothing() {
    each_undecided(|site, sessions| {
        let first = the_one(&site.send(VIF3, &numbered(3, 9, (1000, 53), 1))).id;
        let second = the_one(&site.send(VIF3, &numbered(3, 9, (1001, 53), 1))).id;
        let key = sessions.flow(first).unwrap().key();
        let answers = |answers| Action::Forward { answers: Some(answers), behind: None };
        decide(site, sessions, first, &decision(PASS)).unwrap();
        site.exchange(&[]);
        // The answers of the first are taken.
        let taken = decision(answers(key.reversed(key.scope)));
        let refused = sessions.decide(second, &taken);
        assert_eq!(refused, Err(Undecidable::Exists(Some(first.other()))));
        // And cannot become others.
        let other = FlowKey { ports: 1, ..key.reversed(key.scope) };
        assert_eq!(sessions.decide(first, &decision(answers(other))), Err(Undecidable::Answered));
        assert_eq!(site.send(VIF3, &numbered(3, 9, (1000, 53), 1)).on(FABRIC).len(), 1);
        decide(site, sessions, second, &decision(PASS)).unwrap();
        assert_eq!(site.exchange(&[]).on(FABRIC).len(), 1);
        let nobody = FlowId::new(900).unwrap();
        assert_eq!(sessions.decide(nobody, &decision(PASS)), Err(Undecidable::Gone));
    });
}

#[test]
fn without_an_agent_nothing_waits() {
    each_with_flows(|site, sessions| {
        site.put([policed(VIF3, judged_by(Judge::Agent))]);
        let outcome = site.send(VIF3, &numbered(3, 9, (1000, 53), 2));
        outcome.expect_drops(&[(DropReason::TrapNoIf, 2)]);
        assert_eq!((flows(sessions).len(), sessions.undecided().flows()), (0, 0));
    });
}

#[test]
fn what_others_decide_stays_theirs() {
    each_undecided(|site, sessions| {
        let packets = numbered(3, 9, (1000, 53), 1);
        let id = the_one(&site.send(VIF3, &packets)).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        site.exchange(&[]);
        // Rules that deny all: not the agent's concern.
        site.put([rule_set(NETWORK, vec![rule(0xd, Verdict::Deny)])]);
        let policy = VifPolicy { network: vec![NETWORK], ..judged_by(Judge::Agent) };
        site.put([policed(VIF3, policy.clone())]);
        assert_eq!(site.send(VIF3, &packets).on(FABRIC).len(), 1);
        // They are the worker's once it judges again.
        site.put([policed(VIF3, VifPolicy { judge: Judge::Dataplane, ..policy })]);
        site.send(VIF3, &packets).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

#[test]
fn h24_undecided_flows_are_bounded_counted_and_end() {
    each_undecided(|site, sessions| {
        sessions.undecided().limit(HoldLimits { flows: 512, ..HoldLimits::default() });
        site.put([policed(VIF4, judged_by(Judge::Agent))]);
        // An established flow of the flooder's.
        let steady = numbered(3, 9, (9, 9), 1);
        let id = the_one(&site.send(VIF3, &steady)).id;
        decide(site, sessions, id, &decision(PASS)).unwrap();
        site.exchange(&[]);
        let scan: Vec<_> = (1000..1200).map(|port| udp(MAC3, 3, 9, (port, 53), b"scan")).collect();
        let outcome = site.send(VIF3, &scan);
        outcome.expect_drops(&[(DropReason::NewFlows, 192)]);
        assert_eq!((told(&outcome).len(), sessions.undecided().flows()), (8, 8));
        assert_eq!(site.send(VIF3, &steady).on(FABRIC).len(), 1, "it goes on");
        // Others find room.
        let other = the_one(&site.send(VIF4, &numbered(4, 9, (1, 1), 1))).id;
        decide(site, sessions, other, &decision(PASS)).unwrap();
        assert_eq!(site.exchange(&[]).on(FABRIC).len(), 1);
        // Verdicts make room.
        let verdicts = told(&outcome);
        decide(site, sessions, verdicts[0].id, &decision(PASS)).unwrap();
        assert_eq!(site.exchange(&[]).on(FABRIC).len(), 1);
        assert_eq!(told(&site.send(VIF3, &scan[100..110])).len(), 1);
        // Without a verdict they end, and what waited with them.
        let before = site.counters.drops();
        site.turn_at(1..30);
        let dropped = site.counters.drops().get(DropReason::FlowUnusable)
            - before.get(DropReason::FlowUnusable);
        assert_eq!((dropped, sessions.undecided().flows()), (8, 0));
        assert_eq!(told(&site.send(VIF3, &scan[..20])).len(), 8);
    });
}

/// A session that the agent makes is one worker's, packets of another reach it, and it ends when it is idle.
#[test]
fn a_session_made_without_a_packet_is_used_and_ends_like_others() {
    each_undecided(|site, sessions| {
        let (source, destination) = (Ipv4Addr::new(10, 10, 1, 3), Ipv4Addr::new(10, 10, 1, 4));
        let key = FlowKey {
            scope: NhId(20),
            protocol: protocol::UDP,
            ports: 1000 << 16 | 53,
            addresses: FlowAddresses::V4 { source, destination },
        };
        let answers = key.reversed(NhId(21));
        let made = Made { key, answers, ends: (Some(VIF3), Some(VIF4)), vrfs: (RED, RED), now: 0 };
        let mut slots = FreeSlots::default();
        for worker in 0..site.workers.len() {
            let worker = WorkerId(u8::try_from(worker).unwrap());
            let id = sessions.make_for(worker.0, &mut slots, &made).unwrap();
            let again = sessions.make_for(worker.0, &mut slots, &made);
            assert_eq!(again, Err(Some(id)), "there is one");
            site.engine.adopt(worker, id).unwrap();
            sessions.decide(id, &decision(PASS)).unwrap();
            site.engine.release(worker, id).unwrap();
            site.turn_all();
            assert_eq!((sessions.undecided().flows(), sessions.flows()), (0, 2));
            let outcome = site.send(VIF3, &numbered(3, 4, (1000, 53), 2));
            assert_eq!((outcome.on(VIF4).len(), outcome.on(PKT0).len()), (2, 0));
            let outcome = site.send(VIF4, &[udp(MAC4, 4, 3, (53, 1000), &[9])]);
            assert_eq!((outcome.on(VIF3).len(), outcome.on(PKT0).len()), (1, 0));
            let [forward, reverse] = flows(sessions)[..] else { panic!("both directions") };
            assert_eq!((forward.packets, reverse.packets), (2, 1));
            for _ in 0..200 * 4 {
                site.pass(250_000_000);
                site.turn_all();
            }
            assert_eq!((sessions.flows(), sessions.of_vif(VIF3), sessions.of_vrf(RED)), (0, 0, 0));
        }
    });
}

#[test]
fn h24_a_node_that_is_full_says_so() {
    each_undecided(|site, sessions| {
        site.put([policed(VIF4, judged_by(Judge::Agent))]);
        sessions.undecided().limit(HoldLimits { flows: 1, ..HoldLimits::default() });
        assert_eq!(told(&site.send(VIF3, &numbered(3, 9, (1, 1), 1))).len(), 1);
        let outcome = site.send(VIF4, &numbered(4, 9, (1, 1), 1));
        outcome.expect_drops(&[(DropReason::FlowUnusable, 1)]);
        // Tokens let a few more in.
        sessions.undecided().limit(HoldLimits { flows: 1, tokens: 1, ..HoldLimits::default() });
        let scan: Vec<_> = (2..5).map(|port| udp(MAC4, 4, 9, (port, 1), b"scan")).collect();
        let outcome = site.send(VIF4, &scan);
        outcome.expect_drops(&[(DropReason::NewFlows, 2)]);
        assert_eq!(told(&outcome).len(), 1);
    });
}

#[test]
fn what_waits_when_the_workers_close_goes_home() {
    each_undecided(|site, _| {
        site.send(VIF3, &numbered(3, 9, (1000, 53), 3));
    });
}
