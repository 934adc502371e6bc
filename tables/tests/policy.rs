//! Rule sets, compiled, judged by a plain function over the rules; and what is counted when they change (reference
//! control-plane.md sections 4.3 and 4.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tables::*;
use wire::{Prefix, protocol};

fn vif(id: u16, policy: VifPolicy) -> Object {
    Object::Vif(Vif {
        policy,
        vrf: VrfId(1),
        ..Vif::new(VifId(id), format!("tap{id}"), VifKind::Virtual)
    })
}

fn set(id: u32, rules: Vec<Rule>) -> Object {
    Object::RuleSet(RuleSet { id: RuleSetId(id), name: String::new(), rules })
}

fn any(id: u128, verdict: Verdict) -> Rule {
    Rule {
        id: RuleId(id),
        family: RuleFamily::Any,
        protocol: None,
        source: Peer::Any,
        source_ports: Ports::ANY,
        destination: Peer::Any,
        destination_ports: Ports::ANY,
        verdict,
        log: false,
        mirror: None,
    }
}

fn inet(prefix: Prefix<Ipv4Addr>, next_hop: u32, identity: Option<IdentityId>) -> Object {
    Object::Inet(Route {
        vrf: VrfId(1),
        prefix,
        next_hop: NhId(next_hop),
        label: None,
        flags: RouteFlags(0),
        mac: None,
        identity,
    })
}

struct Tables {
    model: Model,
    writer: Writer,
}

impl Tables {
    fn new(objects: Vec<Object>) -> Tables {
        let mut tables = Tables { model: Model::new(), writer: Writer::new() };
        tables.put(objects);
        tables
    }

    fn put(&mut self, objects: Vec<Object>) {
        let ops: Vec<Op> = objects.into_iter().map(Op::Put).collect();
        let changes = self.model.apply(&ops, Owner::Agent).unwrap();
        self.writer.publish(&self.model, &changes);
    }

    fn judge(&self, subject: &Subject, from: Option<u16>, to: Option<u16>) -> Judgement {
        let fib = self.writer.fib();
        let vif = |id: Option<u16>| id.and_then(|id| fib.vif(VifId(id)));
        fib.judge(subject, vif(from), vif(to))
    }
}

// ------------------------------------------------------------------------------------------- the slow evaluator

/// What the reference says, one rule after the other.
fn judged(
    model: &Model,
    subject: &Subject,
    from: Option<&Vif>,
    to: Option<&Vif>,
) -> (Verdict, RuleId, RuleId, FlowDropReason) {
    let identity = |id: Option<IdentityId>| id.and_then(|id| model.identity(id));
    let identities = (identity(subject.source_identity), identity(subject.destination_identity));
    let first = |id: &RuleSetId| {
        let set = model.rule_set(*id)?;
        set.rules.iter().find(|rule| rule.matches(subject, identities))
    };
    let (mut network, mut group) = (RuleId::IMPLICIT_ALLOW, RuleId::IMPLICIT_ALLOW);
    for (vif, reason) in [(from, FlowDropReason::Policy), (to, FlowDropReason::OutPolicy)] {
        let Some(lists) = vif.map(|vif| &vif.policy.network).filter(|lists| !lists.is_empty())
        else {
            continue;
        };
        match lists.iter().find_map(first) {
            Some(rule) if rule.verdict == Verdict::Pass => network = rule.id,
            Some(rule) => return (Verdict::Deny, rule.id, group, reason),
            None => return (Verdict::Deny, RuleId::IMPLICIT_DENY, group, reason),
        }
    }
    let egress = from.map(|vif| (&vif.policy, &vif.policy.egress, FlowDropReason::Group));
    let ingress = to.map(|vif| (&vif.policy, &vif.policy.ingress, FlowDropReason::OutGroup));
    for (policy, lists, reason) in [egress, ingress].into_iter().flatten() {
        if !policy.grouped {
            continue;
        }
        match lists.iter().filter_map(first).find(|rule| rule.verdict == Verdict::Pass) {
            Some(rule) => group = rule.id,
            None => return (Verdict::Deny, network, RuleId::IMPLICIT_DENY, reason),
        }
    }
    (Verdict::Pass, network, group, FlowDropReason::Unknown)
}

// ------------------------------------------------------------------------------------------------- random rules

/// Few values, so that rules overlap and subjects meet them.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    (0u8..3, 0u8..3, 0u8..4).prop_map(|(a, b, c)| Ipv4Addr::new(10, a, b * 85, c * 64))
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    (0u16..3, 0u16..3).prop_map(|(a, b)| Ipv6Addr::new(0x2001, 0xdb8, a, 0, 0, 0, 0, b))
}

fn prefix() -> impl Strategy<Value = AnyPrefix> {
    prop_oneof![
        (v4(), prop_oneof![Just(0u8), Just(8), 15u8..=32])
            .prop_map(|(a, l)| AnyPrefix::V4(Prefix::new(a, l).unwrap())),
        (v6(), prop_oneof![Just(0u8), 30u8..=49, Just(127), Just(128)])
            .prop_map(|(a, l)| AnyPrefix::V6(Prefix::new(a, l).unwrap())),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        2 => Just(Peer::Any),
        4 => prop::collection::vec(prefix(), 1..4).prop_map(Peer::Prefixes),
        2 => (0u32..3).prop_map(|id| Peer::Network(NetworkId(id))),
        2 => (0u32..3).prop_map(|id| Peer::Group(GroupId(id))),
    ]
}

fn ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        2 => Just(Ports::ANY),
        1 => Just(Ports { first: 65_535, last: 65_535 }),
        3 => (0u16..6, 0u16..6).prop_map(|(a, b)| Ports { first: a.min(b), last: a.max(b) }),
    ]
}

fn proto() -> impl Strategy<Value = u8> {
    prop_oneof![
        Just(protocol::TCP),
        Just(protocol::UDP),
        Just(protocol::ICMP),
        Just(protocol::ICMPV6)
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let family = prop_oneof![
        3 => Just(RuleFamily::Any), 1 => Just(RuleFamily::Inet), 1 => Just(RuleFamily::Inet6)
    ];
    let rule = (family, prop::option::of(proto()), peer(), ports(), peer(), ports(), any_verdict());
    let rule =
        rule.prop_map(|(family, protocol, source, sports, destination, dports, verdict)| Rule {
            family,
            protocol,
            source,
            source_ports: sports,
            destination,
            destination_ports: dports,
            ..any(0, verdict)
        });
    // Beyond one word of a set, with the same rule again and again.
    (prop::collection::vec(rule, 0..20), 1usize..9).prop_map(|(rules, times)| {
        let count = rules.len() * times;
        let all = rules.into_iter().cycle().take(count);
        all.enumerate().map(|(at, rule)| Rule { id: RuleId(100 + at as u128), ..rule }).collect()
    })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![2 => Just(Verdict::Pass), 1 => Just(Verdict::Deny)]
}

fn subject() -> impl Strategy<Value = Subject> {
    let pair = prop_oneof![
        (v4(), v4()).prop_map(|(a, b)| (IpAddr::V4(a), IpAddr::V4(b))),
        (v6(), v6()).prop_map(|(a, b)| (IpAddr::V6(a), IpAddr::V6(b))),
    ];
    let port = || prop_oneof![4 => 0u16..7, 1 => Just(65_535u16)];
    let identity = || prop::option::of((0u32..4).prop_map(IdentityId));
    (pair, proto(), port(), port(), identity(), identity()).prop_map(
        |((source, destination), protocol, source_port, destination_port, from, to)| Subject {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            source_identity: from,
            destination_identity: to,
        },
    )
}

fn identities() -> Vec<Object> {
    let identity = |id, networks: &[u32], groups: &[u32]| {
        Object::Identity(Identity {
            id: IdentityId(id),
            networks: networks.iter().map(|id| NetworkId(*id)).collect(),
            groups: groups.iter().map(|id| GroupId(*id)).collect(),
        })
    };
    // The last has more groups than are asked for together.
    let many: Vec<u32> = (0..60).collect();
    vec![
        identity(0, &[0], &[]),
        identity(1, &[1], &[0, 1]),
        identity(2, &[], &[2]),
        identity(3, &[2], &many),
    ]
}

fn policy() -> impl Strategy<Value = VifPolicy> {
    let lists = || prop::collection::vec((1u32..5).prop_map(RuleSetId), 0..3);
    (lists(), lists(), lists(), any_bool()).prop_map(|(network, ingress, egress, grouped)| {
        VifPolicy { network, ingress, egress, grouped, ..VifPolicy::default() }
    })
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop::bool::ANY
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_classifier_says_what_the_rules_say(
        sets in prop::collection::vec(rules(), 4),
        policies in prop::collection::vec(policy(), 2),
        subjects in prop::collection::vec(subject(), 40),
        local in (any_bool(), any_bool()),
    ) {
        let mut objects = identities();
        objects.extend((1u32..).zip(sets).map(|(id, rules)| set(id, rules)));
        objects.extend((3u16..).zip(policies).map(|(id, policy)| vif(id, policy)));
        let tables = Tables::new(objects);
        let (from, to) = (local.0.then_some(3), local.1.then_some(4));
        let model = |id: Option<u16>| id.and_then(|id| tables.model.vif(VifId(id)));
        for subject in subjects {
            let got = tables.judge(&subject, from, to);
            let expected = judged(&tables.model, &subject, model(from), model(to));
            prop_assert_eq!(
                (got.verdict, got.network_rule, got.group_rule, got.reason), expected, "{:?}", subject
            );
        }
    }

    /// Whatever may change an answer changes its stamp.
    #[test]
    fn another_answer_means_another_stamp(
        steps in prop::collection::vec((v4(), prop_oneof![Just(0u8), 8u8..=32], any_bool(), 1u32..4), 1..40),
        addresses in prop::collection::vec(v4(), 12),
    ) {
        let next_hop = |id| Object::NextHop(NextHop {
            id: NhId(id), family: NhFamily::Inet, vrf: Some(VrfId(1)), flags: NhFlags::VALID, kind: NextHopKind::Discard,
        });
        let mut objects = identities();
        objects.extend((1..4).map(next_hop));
        let mut tables = Tables::new(objects);
        let answers = |tables: &Tables| -> Vec<_> {
            let fib = tables.writer.fib();
            let of = |a: &Ipv4Addr| (fib.route(VrfId(1), *a), fib.identity(VrfId(1), *a));
            addresses.iter().map(of).collect()
        };
        let stamps = |tables: &Tables| -> Vec<_> {
            addresses.iter().map(|a| tables.writer.fib().route_stamp(VrfId(1), *a)).collect()
        };
        for (address, length, put, nh) in steps {
            let (before, old) = (answers(&tables), stamps(&tables));
            let prefix = Prefix::new(address, length).unwrap();
            if put {
                let identity = Some(IdentityId(nh));
                tables.put(vec![inet(prefix, nh, identity)]);
            } else {
                let changes = tables.model.apply(&[Op::Delete(Key::Inet(VrfId(1), prefix))], Owner::Agent).unwrap();
                tables.writer.publish(&tables.model, &changes);
            }
            let (after, new) = (answers(&tables), stamps(&tables));
            for at in 0..addresses.len() {
                prop_assert!(before[at] == after[at] || old[at] != new[at], "{}", addresses[at]);
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------ by name

fn tcp_to(destination: &str, port: u16) -> Subject {
    let destination: IpAddr = destination.parse().unwrap();
    let source = if destination.is_ipv4() { "10.0.0.1" } else { "2001:db8::1" };
    Subject {
        source: source.parse().unwrap(),
        destination,
        protocol: protocol::TCP,
        source_port: 1000,
        destination_port: port,
        source_identity: None,
        destination_identity: None,
    }
}

#[test]
fn h25_families_are_told_apart_and_all_of_ipv6_is_a_prefix() {
    let only = |family| set(1, vec![Rule { family, ..any(1, Verdict::Pass) }]);
    let policy = VifPolicy { network: vec![RuleSetId(1)], ..VifPolicy::default() };
    let mut tables = Tables::new(vec![only(RuleFamily::Inet), vif(3, policy)]);
    let verdicts = |tables: &Tables| {
        ["10.0.0.2", "2001:db8::2"].map(|to| tables.judge(&tcp_to(to, 80), Some(3), None).verdict)
    };
    assert_eq!(verdicts(&tables), [Verdict::Pass, Verdict::Deny]);
    tables.put(vec![only(RuleFamily::Inet6)]);
    assert_eq!(verdicts(&tables), [Verdict::Deny, Verdict::Pass]);
    let all = AnyPrefix::V6("::/0".parse().unwrap());
    tables.put(vec![set(
        1,
        vec![Rule { destination: Peer::Prefixes(vec![all]), ..any(1, Verdict::Pass) }],
    )]);
    assert_eq!(verdicts(&tables), [Verdict::Deny, Verdict::Pass]);
}

#[test]
fn h26_a_replaced_rule_set_is_counted_where_it_matters_and_nowhere_else() {
    let policy = |set| VifPolicy { network: vec![RuleSetId(set)], ..VifPolicy::default() };
    let port = |port| Rule {
        destination_ports: Ports { first: port, last: port },
        ..any(1, Verdict::Pass)
    };
    let mut tables = Tables::new(vec![
        set(1, vec![port(80)]),
        set(2, vec![port(81)]),
        vif(3, policy(1)),
        vif(4, policy(2)),
    ]);
    let stamps = |tables: &Tables| [3, 4].map(|id| tables.writer.fib().policy_stamp(VifId(id)));
    let [three, four] = stamps(&tables);
    tables.put(vec![set(1, vec![port(81)])]);
    let now = stamps(&tables);
    assert!(now[0] != three && now[1] == four);
    assert_eq!(tables.judge(&tcp_to("10.0.0.2", 80), Some(3), None).verdict, Verdict::Deny);
    assert_eq!(tables.judge(&tcp_to("10.0.0.2", 81), Some(3), None).network_rule, RuleId(1));
    // An identity may matter to all.
    tables.put(identities());
    let after = stamps(&tables);
    assert!(after[0] != now[0] && after[1] != now[1]);
}

#[test]
fn an_interface_whose_rule_set_is_gone_lets_nothing_pass() {
    let policy = VifPolicy { network: vec![RuleSetId(1)], ..VifPolicy::default() };
    let mut tables = Tables::new(vec![set(1, vec![any(1, Verdict::Pass)]), vif(3, policy.clone())]);
    let changes =
        tables.model.apply(&[Op::Delete(Key::RuleSet(RuleSetId(1)))], Owner::Agent).unwrap();
    tables.writer.publish(&tables.model, &changes);
    assert_eq!(tables.judge(&tcp_to("10.0.0.2", 80), Some(3), None).verdict, Verdict::Deny);
    let refused = tables.model.apply(&[Op::Put(vif(4, policy))], Owner::Agent).unwrap_err();
    assert!(refused.to_string().contains("policy.network"), "{refused}");
}

#[test]
fn a_change_of_one_prefix_leaves_flows_of_others_alone() {
    let mut tables = Tables::new(vec![inet("10.0.0.0/24".parse().unwrap(), 0, None)]);
    let stamp = |tables: &Tables, address: &str| {
        tables.writer.fib().route_stamp(VrfId(1), address.parse::<Ipv4Addr>().unwrap())
    };
    let before = ["10.0.0.1", "10.9.0.1"].map(|address| stamp(&tables, address));
    tables.put(vec![inet("10.9.0.0/24".parse().unwrap(), 0, None)]);
    let after = ["10.0.0.1", "10.9.0.1"].map(|address| stamp(&tables, address));
    assert!(before[0] == after[0] && before[1] != after[1]);
}
