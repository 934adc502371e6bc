//! A packet that this worker knows no flow for: its flow is another worker's, or nobody's yet, or its session is new and
//! is judged here (reference control-plane.md section 4.3).

use tables::flow::{
    Claim, Count, FlowFlags, FlowId, FlowKey, NewFlow, NewSession, Packed, Quota, SessionFlags,
};
use tables::{DropReason, Fib, Verdict, VifFlags, VifId, VrfId};
use wire::protocol;

use super::plan::{Plan, is_mirrored, plan};
use super::{FlowTable, Moment, pass, source, stamp, undecided};
use crate::graph::{Cx, Next};
use crate::hand_off::WorkerId;
use crate::node::decap;
use crate::packet::{Packet, Spread};

/// What becomes of a packet without a flow of this worker's.
pub(crate) enum Outcome {
    /// It has one now.
    Met(FlowId),
    /// Another worker's, which this one may use for the packet without owning it.
    Guest(FlowId),
    /// It needs none.
    Without,
    /// It goes elsewhere.
    Elsewhere(Next),
}

/// Finds or makes the flow of a packet.
#[cold]
pub(crate) fn first(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    key: &FlowKey,
    packed: &Packed,
) -> Outcome {
    let worker = cx.workers.own();
    let Some(table) = cx.flows.as_deref_mut() else { return Outcome::Without };
    table.recall(packed);
    // Twice at most: who is found may end at this moment.
    for _ in 0..2 {
        let Some(id) = table.sessions.find(packed) else { break };
        match table.sessions.claim(id, packed, worker.0) {
            Claim::Own => return adopt(table, id, packed),
            Claim::Others(owner) => return to_owner(cx, packet, (id, packed), WorkerId(owner)),
            Claim::Gone => {}
        }
    }
    match plan(cx, packet, key).and_then(|plan| begin(cx, packet, packed, plan)) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::Elsewhere(Next::Drop(reason)),
    }
}

/// The first packet of a fat flow, whose coarser key is `coarse`. It is judged; what is denied is not remembered.
#[cold]
pub(crate) fn fat(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    key: &FlowKey,
    coarse: &FlowKey,
) -> Outcome {
    let drop = |reason| Outcome::Elsewhere(Next::Drop(reason));
    let plan = match plan(cx, packet, key) {
        Ok(Some(plan)) => plan,
        Ok(None) => return Outcome::Without,
        Err(reason) => return drop(reason),
    };
    let Some((forward, reverse)) = coarse_keys(cx.fib, &plan, coarse) else {
        let Some(table) = cx.flows.as_deref() else { return Outcome::Without };
        let packed = table.sessions.pack(key);
        return begin(cx, packet, &packed, Some(plan)).unwrap_or_else(drop);
    };
    // What is translated cannot share a flow (control-plane.md section 4: fat flow and NAT conflict).
    let denied = plan.judgement.verdict == Verdict::Deny;
    if !plan.is_agents() && (plan.translates() || denied) {
        return drop(DropReason::FlowActionDrop);
    }
    let flags = plan.flags.with(SessionFlags::FAT);
    let plan = Plan { forward, reverse, flags, ..plan };
    let Some(table) = cx.flows.as_deref() else { return Outcome::Without };
    let packed = table.sessions.pack(coarse);
    match begin(cx, packet, &packed, Some(plan)) {
        Ok(Outcome::Met(id) | Outcome::Guest(id)) => {
            if pass::state(cx, id).flags().contains(FlowFlags::HELD) {
                return Outcome::Met(id);
            }
            Outcome::Elsewhere(super::fat::pass(cx, packet, id, key))
        }
        Ok(other) => other,
        Err(reason) => drop(reason),
    }
}

/// The coarser keys of a session's directions. `None` where the other end is a workload of this node that does not make
/// them coarser in the same way: that session keeps its own keys.
fn coarse_keys(fib: &Fib, plan: &Plan, coarse: &FlowKey) -> Option<(FlowKey, FlowKey)> {
    let (own, other) = match plan.is_forward {
        true => (plan.vifs.0.or(plan.vifs.1), &plan.reverse),
        false => (plan.vifs.1.or(plan.vifs.0), &plan.forward),
    };
    let back = coarse.reversed(other.scope);
    let both_local = plan.vifs.0.is_some() && plan.vifs.1.is_some();
    if both_local {
        let peer = [plan.vifs.0, plan.vifs.1].into_iter().find(|vif| *vif != own).flatten()?;
        let peers = super::fat::coarse(fib.vif(peer)?, other, true);
        if peers != Some(back) {
            return None;
        }
    }
    Some(if plan.is_forward { (*coarse, back) } else { (back, *coarse) })
}

/// Puts a flow that this worker has claimed into its index.
fn adopt(table: &mut FlowTable, id: FlowId, packed: &Packed) -> Outcome {
    if table.find(packed) == Some(id) {
        return Outcome::Met(id);
    }
    if table.index.insert(packed.hash(), id) {
        // Who had it before may have looked at it by older tables.
        table.flow(id).into_iter().for_each(|flow| flow.touch(table.changed.0));
        return Outcome::Met(id);
    }
    table.sessions.leave(id, table.worker.0);
    Outcome::Elsewhere(Next::Drop(DropReason::FlowTableFull))
}

/// One of so many packets that go to their flow's owner brings the flow here: packets that keep coming by another queue
/// than before take their flow along.
const STRAYS: u32 = 64;

/// To the worker that owns the flow, as it came in; once. What cannot go there is dealt with here.
fn to_owner(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    (id, packed): (FlowId, &Packed),
    owner: WorkerId,
) -> Outcome {
    let plain = cx.fib.vif(packet.meta.rx_vif).is_some_and(|vif| vif.features.0 == 0);
    let may = packet.meta.spread == Spread::Allowed
        && plain
        && owner.index() < usize::from(cx.workers.count());
    // What waits for an agent's verdict waits at the owner.
    let flags = pass::state(cx, id).flags();
    let held = flags.contains(FlowFlags::HELD);
    if flags.contains(FlowFlags::FAT) {
        return Outcome::Guest(id);
    }
    if may && let Some(table) = cx.flows.as_deref_mut() {
        table.strays = table.strays.wrapping_add(1);
        let worker = table.worker.0;
        if table.strays.is_multiple_of(STRAYS)
            && !held
            && table.sessions.take_over(id, owner.0, worker)
        {
            table.sessions.note(worker, Count::Moved);
            return adopt(table, id, packed);
        }
    }
    let whole = may && (packet.meta.is_from_workload() || decap::restore(packet).is_some());
    if !whole {
        return Outcome::Guest(id);
    }
    if let Some(table) = cx.flows.as_deref() {
        table.sessions.note(table.worker.0, Count::HandedOver);
    }
    Outcome::Elsewhere(Next::HandOff(owner))
}

/// Makes the session that is planned; its packet's key is `packed`.
fn begin(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    packed: &Packed,
    plan: Option<Plan>,
) -> Result<Outcome, DropReason> {
    let Some(plan) = plan else { return Ok(Outcome::Without) };
    if let Some(table) = cx.flows.as_deref() {
        table.sessions.prefetch(table.sessions.pack(&plan.reverse).hash());
    }
    let charged = match plan.vifs {
        (Some(vif), _) | (None, Some(vif)) => vif,
        (None, None) => packet.meta.rx_vif,
    };
    let settings = cx.fib.vif(charged).and_then(|vif| vif.flow.as_deref());
    let of_vif = settings.and_then(|settings| settings.policy.max_flows);
    let rate = settings.and_then(|settings| settings.policy.max_new_flows);
    let refuses = |id: Option<VifId>| {
        let vif = id.and_then(|id| cx.fib.vif(id));
        vif.is_some_and(|vif| vif.flags.contains(VifFlags::DROP_NEW_FLOWS))
    };
    if refuses(plan.vifs.0) || (plan.vifs.0.is_none() && refuses(plan.vifs.1)) {
        return Err(DropReason::NewFlows);
    }
    let vrf = own_vrf(cx, &plan);
    let of_vrf = cx.fib.vrf_settings(vrf).max_flows;
    let now = cx.now;
    let Some(table) = cx.flows.as_deref_mut() else { return Ok(Outcome::Without) };
    let worker = table.worker.0;
    if !table.admit(charged, rate, now) {
        table.sessions.note(worker, Count::Refused);
        return Err(DropReason::NewFlows);
    }
    let quota = Quota { vif: (charged, Some(table.share(of_vif))), vrf: (vrf, of_vrf) };
    if plan.is_agents() {
        undecided::admit(cx.fib, table, charged, now.into())?;
    }
    let new = new_session(&plan, now.into());
    let made = table.sessions.create(worker, &mut table.slots, &quota, &new);
    let forward = match made {
        Ok(forward) => forward,
        Err(Some(faster)) => {
            // Another worker has judged it at the same time.
            return match table.sessions.claim(faster, packed, worker) {
                Claim::Own => Ok(adopt(table, faster, packed)),
                Claim::Others(owner) => Ok(to_owner(cx, packet, (faster, packed), WorkerId(owner))),
                Claim::Gone => Err(DropReason::FlowUnusable),
            };
        }
        Err(None) => return Err(DropReason::FlowTableFull),
    };
    let id = if plan.is_forward { forward } else { forward.other() };
    let claimed = table.sessions.claim(id, packed, worker);
    // `create` held it until somebody owns a direction.
    table.sessions.let_go(forward);
    let outcome = match claimed {
        Claim::Own => adopt(table, id, packed),
        Claim::Others(_) | Claim::Gone => Outcome::Elsewhere(Next::Drop(DropReason::FlowUnusable)),
    };
    if let Outcome::Met(id) = outcome
        && !plan.is_agents()
        && !plan.flags.contains(SessionFlags::FAT)
    {
        settle(cx, packet, id, &plan);
    }
    Ok(outcome)
}

/// The VRF that is charged: that of the local workload.
fn own_vrf(cx: &Cx<'_>, plan: &Plan) -> VrfId {
    let vif = plan.vifs.0.or(plan.vifs.1).and_then(|id| cx.fib.vif(id));
    vif.map_or(plan.vrfs.0, |vif| vif.vrf)
}

fn new_session(plan: &Plan, now: Moment) -> NewSession {
    let denied = plan.judgement.verdict == Verdict::Deny;
    let mut flags = FlowFlags::default();
    if plan.flags.contains(SessionFlags::FAT) {
        flags = flags.with(FlowFlags::FAT);
    } else if plan.forward.protocol == protocol::TCP {
        flags = flags.with(FlowFlags::TCP);
    }
    if plan.translates() {
        flags = flags.with(FlowFlags::NAT);
    }
    if plan.flags.contains(SessionFlags::TTL) {
        flags = flags.with(FlowFlags::SPECIAL);
    }
    let kind = flags;
    if plan.is_agents() {
        flags = flags.with(FlowFlags::HELD).with(FlowFlags::NEW);
    } else if denied {
        flags = flags.with(FlowFlags::DENIED);
    } else if is_mirrored(&plan.judgement) {
        flags = flags.with(FlowFlags::MIRRORED);
    }
    // What is denied says nothing about sessions that the other end begins. What the agent decides about is proposed to it.
    let reverse = (!denied).then_some(NewFlow {
        key: plan.reverse,
        flags: if plan.is_agents() { kind } else { flags },
    });
    let one_sided = match denied || plan.is_agents() {
        true => SessionFlags::ONE_SIDED,
        false => SessionFlags::default(),
    };
    let log = if plan.judgement.log { SessionFlags::LOG } else { SessionFlags::default() };
    NewSession {
        flows: (NewFlow { key: plan.forward, flags }, reverse),
        flags: plan.flags.with(one_sided).with(log),
        ends: plan.vifs,
        vrfs: plan.vrfs,
        judgement: plan.judgement,
        now: now.0,
    }
}

/// What the packet's own flow keeps of the tables.
fn settle(cx: &mut Cx<'_>, packet: &Packet<'_>, id: FlowId, plan: &Plan) {
    let ends = plan.ends();
    let stamp = ends.stamp(cx.fib, plan.vifs);
    let (vrf, destination) = ends.destination(plan.is_forward);
    let target = stamp::route(cx.fib, vrf, destination);
    let Some(flow) = cx.flows.as_deref().and_then(|table| table.flow(id)) else { return };
    flow.set_source(plan.source, plan.identities);
    stamp.keep(flow, source::origin(packet.meta));
    if packet.meta.is_from_workload() {
        flow.set_target(target.nh, target.label);
        flow.set(FlowFlags::ROUTED);
    }
}

impl From<crate::worker::Tick> for Moment {
    fn from(now: crate::worker::Tick) -> Moment {
        Moment::of(now)
    }
}
