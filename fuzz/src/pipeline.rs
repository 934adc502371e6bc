//! The engine with state: an arbitrary model changed at any time, arbitrary packets at every kind of port. Packets in
//! and made = packets out + drops after every exchange, and every frame comes home in the end; the bench asserts it.
//!
//! An input is a byte (how many workers, whether there are flows) and a list of records: a kind, a length of one byte
//! (times four for packets) and that many bytes. Some packets are thought of before they come.

use std::sync::Arc;

use engine::{ExplainError, FlowLimits, Original, Tick, explain};
use tables::flow::{Action, Decision, FlowFlags, Sessions};
use tables::{
    Judge, Key, NhFamily, Object, Op, Owner, Rule, Transport, Verdict, Vif, VifFlags, VifId,
    VifKind, VifPolicy, VrfId,
};
use wire::Mac;

use crate::dice::Dice;
use crate::site::*;

/// Records looked at in one input.
const RECORDS: usize = 64;

/// The agent's interface.
const AGENT: VifId = VifId(5);

/// Packets from the uplink.
pub fn fabric(bytes: &[u8]) {
    run(FABRIC, bytes);
}

/// Packets from a workload.
pub fn tenant(bytes: &[u8]) {
    run(VIF3, bytes);
}

/// Packets from the host's interface.
pub fn host(bytes: &[u8]) {
    run(HOST, bytes);
}

/// Packets from the agent's interface.
pub fn agent(bytes: &[u8]) {
    run(AGENT, bytes);
}

fn run(from: VifId, bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let first = dice.byte();
    let workers = 1 + usize::from(first & 1);
    let mut site = Site::with_frames(workers, 512);
    furnish(&mut site);
    // Few: the table is full at times.
    let flows = (first & 2 == 0).then(|| judged(&mut site));
    if first & 6 == 4 {
        let judge = VifPolicy { judge: Judge::Agent, ..VifPolicy::default() };
        site.put([policy::policed(VIF3, judge)]);
    }
    for _ in 0..RECORDS {
        if dice.is_empty() {
            break;
        }
        let kind = dice.byte();
        let length = usize::from(dice.byte());
        match kind % 8 {
            // The last kinds are for the other ports.
            0..=3 => {
                let packet = dice.take(length * 4);
                if kind >= 0xf0 {
                    think_of(&mut site, flows.as_ref(), from, packet);
                }
                exchange(&mut site, from, packet);
            }
            4 => {
                let vif = [FABRIC, HOST, VIF3, VIF4, AGENT][usize::from(kind / 8) % 5];
                exchange(&mut site, vif, dice.take(length * 4));
            }
            5 if kind >= 0x80 && flows.is_some() => {
                decide(&mut site, flows.as_ref(), usize::from(kind), length);
            }
            5 if flows.is_some() => {
                // Sessions age.
                site.pass(u64::try_from(length).unwrap_or(0) * 1_000_000_000);
                site.exchange(&[]);
            }
            _ => change(&mut site, &mut Dice::new(dice.take(length))),
        }
    }
    site.close();
}

fn exchange(site: &mut Site, vif: VifId, packet: &[u8]) {
    site.exchange(&[(vif, packet)]);
}

/// Flows for both workloads, under rules that let some pass.
fn judged(site: &mut Site) -> Arc<Sessions> {
    let sessions = policy::add_flows(site, 64, FlowLimits::default());
    let dns = policy::to_port(policy::rule(1, Verdict::Pass), wire::protocol::UDP, 53);
    let icmp = Rule { protocol: Some(wire::protocol::ICMP), ..policy::rule(2, Verdict::Pass) };
    policy::network_rules(site, vec![dns, icmp]);
    site.turn_all();
    sessions
}

/// An agent decides about some flow, whether that waits for it or not.
fn decide(site: &mut Site, sessions: Option<&Arc<Sessions>>, how: usize, which: usize) {
    let Some(sessions) = sessions else { return };
    let flows = policy::flows(sessions);
    let Some(flow) = flows.get(which % flows.len().max(1)) else { return };
    let answers = flows.get(how % flows.len()).map(|flow| flow.key);
    let action = match how / 8 % 4 {
        0 => Action::Hold,
        1 => Action::Drop(0x17),
        2 => Action::Forward { answers: None, behind: None },
        _ => Action::Forward { answers, behind: Some(RED) },
    };
    let decision = Decision { ecmp: Some(1), ..policy::decision(action) };
    // It may be refused.
    let _ = policy::decide(site, sessions, flow.id, &decision);
    site.exchange(&[]);
    let waiting =
        policy::flows(sessions).iter().filter(|flow| flow.flags.contains(FlowFlags::HELD)).count();
    assert_eq!(sessions.undecided().flows() as usize, waiting);
}

/// What would become of a packet, told, leaves counters, sessions and frames as they are.
fn think_of(site: &mut Site, sessions: Option<&Arc<Sessions>>, vif: VifId, packet: &[u8]) {
    let before = (site.counters.drops(), site.pools.free_frames());
    let known = sessions.map(|sessions| policy::flows(sessions));
    let original = Original {
        reader: site.writer.reader(),
        engine: &site.engine,
        sessions: sessions.map(|it| (Arc::clone(it), FlowLimits::default())),
        ports: [FABRIC, HOST, VIF3, VIF4, AGENT].map(|vif| (vif, false)).to_vec(),
        now: Tick(1),
        names: &(),
    };
    match explain(original, vif, packet) {
        Ok(told) => assert!(!told.packets.is_empty(), "{packet:02x?}"),
        // The model may say of an interface what it likes.
        Err(ExplainError::NoVif | ExplainError::SubInterface { .. }) => {}
        Err(ExplainError::Length) => assert!(packet.is_empty()),
        Err(error @ ExplainError::Memory(_)) => panic!("{error:?}"),
    }
    assert_eq!((site.counters.drops(), site.pools.free_frames()), before);
    assert_eq!(sessions.map(|sessions| policy::flows(sessions)), known);
}

/// A transaction of a few operations. A refused one changes nothing. The ports' own interfaces stay: the bench sends
/// through them.
fn change(site: &mut Site, dice: &mut Dice<'_>) {
    let mut ops = Vec::new();
    while !dice.is_empty() && ops.len() < 8 {
        match dice.roll::<Op>() {
            Some(Op::Delete(Key::Vif(_))) | None => {}
            Some(op) => ops.push(op),
        }
    }
    let owner = if dice.byte() & 1 == 0 { Owner::Agent } else { Owner::Vrouterd };
    if let Ok(changes) = site.model.apply(&ops, owner) {
        site.writer.publish(&site.model, &changes);
    }
}

/// The host's and the agent's interfaces, and a broadcast tree.
fn furnish(site: &mut Site) {
    site.add_host();
    let Some(Object::Vif(host)) = site.model.get(&Key::Vif(HOST)) else { return };
    let agent = Vif {
        id: AGENT,
        name: "pkt0".to_owned(),
        kind: VifKind::Agent,
        transport: Transport::Socket,
        vrf: VrfId(0),
        mac: Mac::GATEWAY,
        flags: VifFlags::default(),
        ..host
    };
    site.put([Object::Vif(agent)]);
    site.open(AGENT, 0);
    let member =
        |next_hop: u32, label| Some(tables::Member { next_hop: tables::NhId(next_hop), label });
    let composite = |kind, members| tables::NextHopKind::Composite { kind, members };
    let l2 = NhFamily::Bridge;
    site.put([
        nh(
            81,
            l2,
            RED,
            composite(tables::CompositeKind::Encap, vec![member(30, None), member(31, None)]),
        ),
        nh(82, l2, RED, composite(tables::CompositeKind::Evpn, vec![member(42, Some(5001))])),
        nh(
            80,
            l2,
            RED,
            composite(tables::CompositeKind::Multicast, vec![member(81, None), member(82, None)]),
        ),
        bridge(RED, Mac::BROADCAST, 80, None),
    ]);
    site.turn_all();
}
