//! Fat flows: many packets share a flow, each is judged for itself (reference dataplane.md section 14.11).
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use site::policy::*;
use site::*;
use tables::flow::{Action, FlowFlags, Sessions, Undecidable};
use tables::*;
use wire::protocol;

fn dns() -> FatFlowRule {
    FatFlowRule { protocol: protocol::UDP, port: 53, ignore: None, source: None, destination: None }
}

fn only(last: u8) -> Peer {
    Peer::Prefixes(vec![AnyPrefix::V4(format!("10.10.1.{last}/32").parse().unwrap())])
}

fn fat(id: VifId, rules: Vec<FatFlowRule>, policy: VifPolicy) -> Object {
    match policed(id, policy) {
        Object::Vif(vif) => Object::Vif(Vif { fat_flow_rules: rules, ..vif }),
        other => other,
    }
}

fn put_fat(site: &mut Site, rules: Vec<FatFlowRule>) {
    let policy = VifPolicy { network: vec![NETWORK], ..VifPolicy::default() };
    site.put([fat(VIF3, rules, policy)]);
}

fn questions(to: u8, port: u16) -> Vec<Vec<u8>> {
    (2000..2040).map(|from| udp(MAC3, 3, to, (from, port), b"?")).collect()
}

fn answer(from: u8, ports: (u16, u16)) -> Vec<u8> {
    mpls_over_udp(20, 64, &udp(MAC9, from, 3, ports, b"!")[14..])
}

/// Source and destination, ports, packets of the living flows.
fn shown(sessions: &Sessions) -> Vec<(String, u16, u16, u64)> {
    let show = |flow: &Seen| {
        let addresses =
            format!("{} {}", flow.key.addresses.source(), flow.key.addresses.destination());
        (addresses, flow.key.source_port(), flow.key.destination_port(), flow.packets)
    };
    flows(sessions).iter().map(show).collect()
}

#[test]
fn packets_that_differ_in_the_clients_port_share_a_flow_and_answers_too() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)]);
        put_fat(site, vec![dns()]);
        let outcome = site.send(VIF3, &questions(9, 53));
        assert_eq!(outcome.on(FABRIC).len(), 40);
        outcome.expect_drops(&[]);
        let answers: Vec<_> = (2000..2040).map(|port| answer(9, (53, port))).collect();
        assert_eq!(site.send(FABRIC, &answers).on(VIF3).len(), 40, "what was asked is answered");
        let expected = [
            ("10.10.1.3 10.10.1.9".to_owned(), 0, 53, 40),
            ("10.10.1.9 10.10.1.3".to_owned(), 53, 0, 40),
        ];
        assert_eq!(shown(sessions), expected);
        assert!(flows(sessions).iter().all(|flow| flow.flags.contains(FlowFlags::FAT)));
        // Other ports have flows of their own, and their own verdict.
        site.send(VIF3, &questions(9, 54)[..2]).expect_drops(&[(DropReason::FlowActionDrop, 2)]);
        let unasked = answer(9, (54, 2000));
        site.send(FABRIC, &[unasked]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

#[test]
fn clients_of_a_service_share_a_flow_where_their_address_is_left_out() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)]);
        // As the workload sends: clients are its destination.
        let rule = FatFlowRule { ignore: Some(FatFlowIgnore::Destination), ..dns() };
        put_fat(site, vec![rule]);
        site.put([route(RED, "10.10.1.0/24", 40, Some(33))]);
        let asked: Vec<_> = (20..60)
            .map(|from| mpls_over_udp(20, 64, &udp(MAC9, from, 3, (1000, 53), b"?")[14..]))
            .collect();
        assert_eq!(site.send(FABRIC, &asked).on(VIF3).len(), 40);
        let answers: Vec<_> = (20..60).map(|to| udp(MAC3, 3, to, (53, 1000), b"!")).collect();
        assert_eq!(site.send(VIF3, &answers).on(FABRIC).len(), 40);
        let expected = [
            ("0.0.0.0 10.10.1.3".to_owned(), 0, 53, 40),
            ("10.10.1.3 0.0.0.0".to_owned(), 53, 0, 40),
        ];
        assert_eq!(shown(sessions), expected);
    });
}

#[test]
fn each_packet_is_judged_for_itself_by_the_rules_of_now() {
    each_with_flows(|site, sessions| {
        let to = |last: u8, verdict| Rule {
            destination: only(last),
            ..to_port(rule(last.into(), verdict), protocol::UDP, 53)
        };
        site.put([route(RED, "10.10.1.0/24", 40, Some(33))]);
        network_rules(site, vec![to(9, Verdict::Pass), to(10, Verdict::Pass)]);
        put_fat(site, vec![FatFlowRule { ignore: Some(FatFlowIgnore::Destination), ..dns() }]);
        let three = || [9, 10, 11].map(|to| udp(MAC3, 3, to, (1000, 53), b"?")).to_vec();
        let outcome = site.send(VIF3, &three());
        assert_eq!(outcome.on(FABRIC).len(), 2);
        outcome.expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        assert_eq!(flows(sessions).len(), 2, "one session for those who may");
        site.put([rule_set(NETWORK, vec![to(10, Verdict::Pass), to(11, Verdict::Pass)])]);
        let outcome = site.send(VIF3, &three());
        assert_eq!(outcome.on(FABRIC).len(), 2);
        outcome.expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        // Where it may not come from it is not taken from, whatever the flow.
        let stolen = udp(MAC3, 77, 10, (1000, 53), b"?");
        site.send(VIF3, &[stolen]).expect_drops(&[(DropReason::InvalidSource, 1)]);
    });
}

#[test]
fn workloads_of_one_node_share_where_both_make_flows_coarser_and_else_do_not() {
    each_with_flows(|site, sessions| {
        let rules = vec![to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53)];
        network_rules(site, rules);
        let policy = VifPolicy { network: vec![NETWORK], ..VifPolicy::default() };
        let answers = |count: u16| -> Vec<Vec<u8>> {
            (2000..2000 + count).map(|port| udp(MAC4, 4, 3, (53, port), b"!")).collect()
        };
        // One of them, whichever it is.
        for (one, from) in [(VIF3, 0), (VIF4, 300)] {
            site.put([policed(VIF3, policy.clone()), policed(VIF4, policy.clone())]);
            site.put([fat(one, vec![dns()], policy.clone())]);
            assert_eq!(site.send(VIF3, &questions(4, 53)).on(VIF4).len(), 40);
            let outcome = site.send(VIF4, &answers(40));
            assert_eq!(outcome.on(VIF3).len(), 40, "{:?}", outcome.drops);
            assert_eq!(flows(sessions).len(), 80, "as if there were no rule");
            site.turn_at(from..from + 300);
            assert_eq!(flows(sessions).len(), 0);
        }
        site.put([fat(VIF3, vec![dns()], policy.clone()), fat(VIF4, vec![dns()], policy.clone())]);
        assert_eq!(site.send(VIF3, &questions(4, 53)).on(VIF4).len(), 40);
        assert_eq!(site.send(VIF4, &answers(40)).on(VIF3).len(), 40);
        assert_eq!(flows(sessions).len(), 2);
    });
}

#[test]
fn a_fat_flow_ends_when_it_is_idle_and_begins_anew() {
    each_with_flows(|site, sessions| {
        network_rules(site, vec![rule(0xa, Verdict::Pass)]);
        put_fat(site, vec![dns()]);
        site.send(VIF3, &questions(9, 53));
        assert_eq!(flows(sessions).len(), 2);
        site.turn_at(0..60);
        assert_eq!(flows(sessions).len(), 0, "nobody has answered");
        assert_eq!(site.send(VIF3, &questions(9, 53)).on(FABRIC).len(), 40);
    });
}

#[test]
fn what_is_translated_does_not_share() {
    each_with_flows(|site, sessions| {
        add_floating_ip(site, fat(VIF3, vec![dns()], VifPolicy::default()));
        let mut frame = udp(MAC3, 3, 9, (1000, 53), b"?");
        frame[30..34].copy_from_slice(&outside().octets());
        wire::Ipv4::parse_mut(&mut frame[14..]).unwrap().0.set_ttl(64);
        let sum = wire::checksum::Sum::ZERO.bytes(&frame[14..24]).bytes(&frame[26..34]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        site.send(VIF3, &[frame]).expect_drops(&[(DropReason::FlowActionDrop, 1)]);
        assert_eq!(flows(sessions).len(), 0);
        // Within its network nothing is translated.
        assert_eq!(site.send(VIF3, &questions(9, 53)).on(FABRIC).len(), 40);
    });
}

#[test]
fn echoes_share_and_errors_about_fat_flows_pass() {
    each_with_flows(|site, sessions| {
        let rules = [
            to_port(rule(0xa, Verdict::Pass), protocol::UDP, 53),
            Rule {
                protocol: Some(protocol::ICMP),
                destination: only(9),
                ..rule(0xb, Verdict::Pass)
            },
        ];
        network_rules(site, rules.to_vec());
        let echo = FatFlowRule { protocol: protocol::ICMP, port: 0, ..dns() };
        put_fat(site, vec![dns(), echo]);
        assert_eq!(site.send(VIF3, &[ping(MAC3, 3, 9)]).on(FABRIC).len(), 1);
        site.send(VIF3, &questions(9, 53)[..1]);
        assert_eq!(flows(sessions).len(), 4);
        // A router tells of the question; about what nobody knows, rules decide.
        let mut quoted = udp(MAC3, 3, 9, (2000, 53), b"?")[14..].to_vec();
        quoted.truncate(28);
        let about = |quoted: &[u8]| {
            let mut error = Vec::new();
            etherparse::PacketBuilder::ipv4(tenant(9).octets(), tenant(3).octets(), 64)
                .icmpv4_raw(3, 1, [0; 4])
                .write(&mut error, quoted)
                .unwrap();
            mpls_over_udp(20, 64, &error)
        };
        site.through(FABRIC, &about(&quoted), VIF3);
        quoted[22..24].copy_from_slice(&54_u16.to_be_bytes());
        let outcome = site.send(FABRIC, &[about(&quoted)]);
        outcome.expect_drops(&[(DropReason::FlowActionDrop, 1)]);
    });
}

#[test]
fn an_agent_decides_about_a_fat_flow_once() {
    each_with_flows(|site, sessions| {
        add_deciding_agent(site);
        site.put([fat(VIF3, vec![dns()], judged_by(Judge::Agent))]);
        let outcome = site.send(VIF3, &questions(9, 53)[..3]);
        assert_eq!(outcome.on(PKT0).len(), 1);
        let [flow] = flows(sessions)[..] else { panic!("one flow") };
        // Whom it is shared by cannot be translated.
        let others = flow.key.reversed(NhId(99));
        let named = decision(Action::Forward { answers: Some(others), behind: None });
        let refused = decide(site, sessions, flow.id, &named);
        assert_eq!(refused, Err(Undecidable::Answered));
        decide(site, sessions, flow.id, &decision(PASS)).unwrap();
        assert_eq!(site.send(VIF3, &questions(9, 53)[3..]).on(FABRIC).len(), 40);
        let answers: Vec<_> = (2000..2040).map(|port| answer(9, (53, port))).collect();
        assert_eq!(site.send(FABRIC, &answers).on(VIF3).len(), 40);
        assert_eq!(flows(sessions).len(), 2);
    });
}
