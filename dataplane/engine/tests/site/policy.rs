//! The bench with flows: its workloads' interfaces ask for policy.

use std::net::Ipv4Addr;
use std::sync::Arc;

use engine::{Engine, FlowLimits, WorkerId};
use tables::flow::{
    Action, Decision, Flow, FlowFlags, FlowId, FlowKey, Session, SessionFlags, Sessions,
    Undecidable,
};
use tables::*;
use wire::Mac;

use super::{
    MAC3, MAC4, RED, Site, VIF3, VIF4, flagged, label, proxied, route, tenant, to_workload,
};

pub const SESSIONS: u32 = 1024;
/// The lists of the bench.
pub const NETWORK: RuleSetId = RuleSetId(1);
pub const INGRESS: RuleSetId = RuleSetId(2);
pub const EGRESS: RuleSetId = RuleSetId(3);

/// Runs a test with flows, with one worker and with two.
pub fn each_with_flows(test: impl Fn(&mut Site, &Arc<Sessions>)) {
    for workers in [1, 2] {
        let mut site = Site::new(workers);
        let sessions = add_flows(&mut site, SESSIONS, FlowLimits::default());
        test(&mut site, &sessions);
        site.close();
    }
}

pub fn add_flows(site: &mut Site, sessions: u32, limits: FlowLimits) -> Arc<Sessions> {
    let sessions = Arc::new(Sessions::new(sessions, site.workers.len(), 0x5eed).unwrap());
    Engine::add_flows(&mut site.workers, &sessions, limits).unwrap();
    site.put([policed(VIF3, VifPolicy::default()), policed(VIF4, VifPolicy::default())]);
    let hops = [(20, VIF3, MAC3), (21, VIF4, MAC4)];
    site.put(hops.map(|(id, vif, mac)| {
        flagged(id, NhFamily::Inet, RED, NhFlags::POLICY, to_workload(vif, mac))
    }));
    site.put([label(20, 20), label(21, 21)]);
    sessions
}

/// An interface that asks for policy.
pub fn policed(id: VifId, policy: VifPolicy) -> Object {
    let next_hop = Some(NhId(if id == VIF3 { 20 } else { 21 }));
    let flags = VifFlags::L3.with(VifFlags::L2).with(VifFlags::POLICY);
    let name = format!("tap{id}");
    Object::Vif(Vif {
        vrf: RED,
        mac: Mac::GATEWAY,
        gateway: Some(tenant(1)),
        gateway6: Some("2001:db8:a:1::1".parse().unwrap()),
        flags,
        next_hop,
        policy,
        ..Vif::new(id, name, VifKind::Virtual)
    })
}

/// A rule that lets everything pass or nothing, to be narrowed by struct update.
pub fn rule(id: u128, verdict: Verdict) -> Rule {
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

pub fn to_port(rule: Rule, protocol: u8, port: u16) -> Rule {
    Rule { protocol: Some(protocol), destination_ports: Ports { first: port, last: port }, ..rule }
}

pub fn rule_set(id: RuleSetId, rules: Vec<Rule>) -> Object {
    Object::RuleSet(RuleSet { id, name: format!("rules {id}"), rules })
}

/// Puts both workloads' network under these rules.
pub fn network_rules(site: &mut Site, rules: Vec<Rule>) {
    let policy = VifPolicy { network: vec![NETWORK], ..VifPolicy::default() };
    site.put([rule_set(NETWORK, rules), policed(VIF3, policy.clone()), policed(VIF4, policy)]);
}

/// What a session is, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: FlowId,
    pub key: FlowKey,
    pub flags: FlowFlags,
    pub session: SessionFlags,
    pub packets: u64,
    pub rules: (RuleId, RuleId),
}

/// All living flows, by index.
pub fn flows(sessions: &Sessions) -> Vec<Seen> {
    let ids = (2..=sessions.slab().sessions() * 2 + 1).filter_map(FlowId::new);
    let alive = |flow: &Flow<'_>| {
        let flags = flow.state().flags();
        flags.contains(FlowFlags::ALIVE) && !flags.contains(FlowFlags::DEAD)
    };
    let seen = |id: FlowId| {
        let flow = sessions.flow(id).filter(alive)?;
        let session: Session<'_> = sessions.session(id)?;
        Some(Seen {
            id,
            key: flow.key(),
            flags: flow.state().flags(),
            session: session.flags(),
            packets: flow.counts().0,
            rules: session.rules(),
        })
    };
    ids.filter_map(seen).collect()
}

/// A route with an identity.
pub fn known(prefix: &str, next_hop: u32, label: Option<u32>, identity: u32) -> Object {
    let identity = Some(IdentityId(identity));
    match proxied(RED, prefix, next_hop, label, RouteFlags::default()) {
        Object::Inet(route) => Object::Inet(Route { identity, ..route }),
        Object::Inet6(route) => Object::Inet6(Route { identity, ..route }),
        other => other,
    }
}

pub fn identity(id: u32, networks: &[u32], groups: &[u32]) -> Object {
    Object::Identity(Identity {
        id: IdentityId(id),
        networks: networks.iter().map(|id| NetworkId(*id)).collect(),
        groups: groups.iter().map(|id| GroupId(*id)).collect(),
    })
}

/// The interface to an agent.
pub const PKT0: VifId = VifId(5);
pub const PKT0_MAC: Mac = Mac([0, 0, 0x5e, 0, 1, 1]);

/// An agent, which decides about the flows of vif3.
pub fn add_deciding_agent(site: &mut Site) {
    site.put([
        Object::Vif(Vif {
            transport: Transport::Socket,
            vrf: VrfId(u16::MAX),
            mac: PKT0_MAC,
            ..Vif::new(PKT0, "pkt0", VifKind::Agent)
        }),
        policed(VIF3, judged_by(Judge::Agent)),
    ]);
    site.open(PKT0, 0);
    site.turn_all();
}

/// What an agent decides about a flow: the session is told, and the worker that has its packets.
///
/// # Errors
/// As [`Sessions::decide`].
pub fn decide(
    site: &mut Site,
    sessions: &Sessions,
    id: FlowId,
    decision: &Decision,
) -> Result<(), Undecidable> {
    let owner = sessions.flow(id).and_then(|flow| flow.state().owner());
    sessions.decide(id, decision)?;
    if decision.action != Action::Hold
        && let Some(owner) = owner
    {
        site.engine.release(WorkerId(owner), id).unwrap();
    }
    Ok(())
}

pub fn decision(action: Action) -> Decision {
    Decision { action, mirrors: [None; 2], ecmp: None }
}

/// On, as the tables have it.
pub const PASS: Action = Action::Forward { answers: None, behind: None };

pub fn judged_by(judge: Judge) -> VifPolicy {
    VifPolicy { judge, ..VifPolicy::default() }
}

/// The VRF of the world, which is behind 192.0.2.2.
pub const WORLD: VrfId = VrfId(7);

pub fn floating_ip() -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 100)
}

/// Somebody in the world.
pub fn outside() -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 9)
}

/// Gives vif3 a floating IP in the world.
pub fn add_floating_ip(site: &mut Site, vif: Object) {
    let Object::Vif(vif) = vif else { panic!("a vif") };
    let floating_ips = vec![FloatingIp {
        address: floating_ip().into(),
        fixed: tenant(3).into(),
        vrf: WORLD,
        direction: FloatingDirection::Both,
        ports: Vec::new(),
    }];
    site.put([
        route(WORLD, "0.0.0.0/0", 40, Some(60)),
        route(WORLD, "192.0.2.100/32", 20, Some(20)),
        Object::Vif(Vif { floating_ips, ..vif }),
    ]);
}
