//! A packet that this worker knows no flow for: its flow is another worker's, or nobody's yet, or its session is new and
//! is judged here (reference control-plane.md section 4.3).

use tables::flow::{
    Claim, Count, FlowFlags, FlowId, FlowKey, NewFlow, NewSession, Packed, Quota, SessionFlags,
};
use tables::{
    DropReason, Fib, FibNextHop, FibVif, FlowDropReason, Judgement, NhFlags, NhId, RuleId, Subject,
    Verdict, VifFlags, VifId, VifKind, VrfId,
};
use wire::protocol;

use super::source;
use super::stamp::{self, Ends};
use super::tcp::Segment;
use super::{FlowTable, Moment, nat, pass, undecided};
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
    let translated = plan.flags.nat().0 != 0;
    if !plan.is_agents() && (translated || plan.judgement.verdict == Verdict::Deny) {
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

/// What policy says of a packet of a fat flow, of the session's first direction or the other. `None`: it needs no flow.
///
/// # Errors
/// As `plan`; `FlowActionDrop` for what is translated.
pub(crate) fn judge_for_itself(
    cx: &Cx<'_>,
    packet: &Packet<'_>,
    key: &FlowKey,
    is_forward: bool,
) -> Result<Option<Judgement>, DropReason> {
    let Some(plan) = survey(cx, packet, key)? else { return Ok(None) };
    if plan.is_agents() {
        return Ok(Some(passing(RuleId::NOT_EVALUATED)));
    }
    if plan.flags.nat().0 != 0 {
        return Err(DropReason::FlowActionDrop);
    }
    let plan = if is_forward { plan } else { plan.turned() };
    Ok(Some(plan.judged(cx)))
}

/// Puts a flow that this worker has claimed into its index.
fn adopt(table: &mut FlowTable, id: FlowId, packed: &Packed) -> Outcome {
    if table.find(packed) == Some(id) || table.index.insert(packed.hash(), id) {
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

/// A session to be, seen by its first packet.
#[derive(Clone, Copy)]
struct Plan {
    forward: FlowKey,
    reverse: FlowKey,
    /// The packet is of the session's first direction.
    is_forward: bool,
    vifs: (Option<VifId>, Option<VifId>),
    vrfs: (VrfId, VrfId),
    judgement: Judgement,
    flags: SessionFlags,
    /// Where the packet's source is.
    source: NhId,
}

impl Plan {
    /// Nobody has judged it here: an agent decides.
    fn is_agents(&self) -> bool {
        self.flags.contains(SessionFlags::AGENT)
    }

    fn ends(&self) -> Ends {
        Ends::of(self.vrfs, &self.forward, &self.reverse)
    }

    /// The same session, begun by the other end.
    fn turned(&self) -> Plan {
        Plan {
            forward: self.reverse,
            reverse: self.forward,
            is_forward: !self.is_forward,
            vifs: (self.vifs.1, self.vifs.0),
            vrfs: (self.vrfs.1, self.vrfs.0),
            ..*self
        }
    }

    /// What policy says about it.
    fn judged(&self, cx: &Cx<'_>) -> Judgement {
        judge(cx, self.flags, (&self.forward, &self.reverse), self.vrfs, self.vifs)
    }
}

/// Makes the session that is planned; its packet's key is `packed`.
fn begin(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    packed: &Packed,
    plan: Option<Plan>,
) -> Result<Outcome, DropReason> {
    let Some(plan) = plan else { return Ok(Outcome::Without) };
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
    if made.is_err() && plan.is_agents() {
        table.sessions.undecided().leave(charged);
    }
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
    if plan.flags.0 & 0xff != 0 {
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
    let identities = ends.identities(cx.fib);
    let stamp = ends.stamp(cx.fib, plan.vifs);
    let (vrf, destination) = ends.destination(plan.is_forward);
    let target = stamp::route(cx.fib, vrf, destination);
    let Some(flow) = cx.flows.as_deref().and_then(|table| table.flow(id)) else { return };
    flow.set_source(plan.source, identities);
    stamp.keep(flow, source::origin(packet.meta));
    if packet.meta.is_from_workload() {
        flow.set_target(target.nh, target.label);
        flow.set(FlowFlags::ROUTED);
    }
}

/// Who speaks to whom, and whether they may. `None`: no flow is needed, because the packet goes nowhere, or to the agent
/// or the host.
///
/// # Errors
/// `InvalidSource` when the source is elsewhere, `FlowTableFull` when a service has no port left.
fn plan(cx: &Cx<'_>, packet: &Packet<'_>, key: &FlowKey) -> Result<Option<Plan>, DropReason> {
    let Some(mut plan) = survey(cx, packet, key)? else { return Ok(None) };
    if plan.is_agents() {
        return Ok(Some(plan));
    }
    plan.judgement = plan.judged(cx);
    let translates = plan.flags.nat().0 != 0;
    if plan.judgement.verdict == Verdict::Deny && !translates && is_mid_stream(packet, key) {
        // Who began it is not known: that may have been the other end.
        let turned = plan.turned();
        let judgement = turned.judged(cx);
        if judgement.verdict == Verdict::Pass {
            let flags = turned.flags.with(SessionFlags::MIDSTREAM);
            plan = Plan { judgement, flags, ..turned };
        }
    }
    Ok(Some(plan))
}

/// The same but for the judgement.
fn survey(cx: &Cx<'_>, packet: &Packet<'_>, key: &FlowKey) -> Result<Option<Plan>, DropReason> {
    let (fib, meta) = (cx.fib, &*packet.meta);
    let from = meta.is_from_workload().then_some(meta.rx_vif).and_then(|id| fib.vif(id));
    let (mut nat, first) = match (from, fib.next_hop(meta.nh)) {
        (Some(vif), _) => (nat::from_workload(fib, vif, key, meta.vrf), meta.vrf),
        (None, FibNextHop::Encap { vif, .. }) => match fib.vif(*vif) {
            Some(vif) => nat::to_workload(vif, key, meta.vrf),
            None => (nat::Plan::none(key, meta.vrf), meta.vrf),
        },
        (None, _) => (nat::Plan::none(key, meta.vrf), meta.vrf),
    };
    let next_hop = match from {
        Some(_) if nat.translates() => {
            stamp::route(fib, nat.behind, nat.addresses.destination()).nh
        }
        Some(_) => leads_to(cx, packet, key),
        None => meta.nh,
    };
    let Some(to) = receiver(fib, next_hop) else { return Ok(None) };
    if from.is_none() && asks_for_known_flows_only(cx, meta.nh) {
        return Ok(None);
    }
    // To the host without translation: its own affair.
    if matches!(fib.next_hop(next_hop), FibNextHop::Receive { .. }) && !nat.translates() {
        return Ok(None);
    }
    let checked = from.is_some() || meta.is_from_fabric();
    let source = match source::check(fib, first, key.addresses.source(), meta) {
        Some(source) => source,
        None if checked => return Err(DropReason::InvalidSource),
        None => NhId(0),
    };
    let scope = to.and_then(|to| fib.vif(to)?.next_hop).unwrap_or(key.scope);
    let reverse = answers(cx, &mut nat, key, scope)?;
    let mut flags = nat.flags;
    if meta.is_from_fabric() {
        flags = flags.with(SessionFlags::FROM_FABRIC);
    }
    if first != nat.behind {
        flags = flags.with(SessionFlags::TRANSLATED);
    }
    // Ordinary eBGP and that with TTL security (control-plane.md section 4.9).
    if flags.contains(SessionFlags::BGP_SERVICE) && matches!(meta.ip_ttl, 1 | 255) {
        flags = flags.with(SessionFlags::TTL);
    }
    let mut plan = Plan {
        forward: *key,
        reverse,
        is_forward: true,
        vifs: (from.map(|vif| vif.id), to),
        vrfs: (first, nat.behind),
        judgement: passing(RuleId::NOT_EVALUATED),
        flags,
        source,
    };
    if undecided::is_agents(fib, plan.vifs) {
        plan.flags = plan.flags.with(SessionFlags::AGENT);
    }
    Ok(Some(plan))
}

/// Whom a next hop leads to: a workload of this node or somebody beyond; `None` for where no flow goes.
fn receiver(fib: &Fib, next_hop: NhId) -> Option<Option<VifId>> {
    match fib.next_hop(next_hop) {
        FibNextHop::Encap { vif, .. } => Some(workload(fib.vif(*vif))),
        FibNextHop::Tunnel(_)
        | FibNextHop::SpecialTunnel(_)
        | FibNextHop::Ecmp(_)
        | FibNextHop::Translate { .. }
        | FibNextHop::Receive { .. } => Some(None),
        FibNextHop::Discard
        | FibNextHop::Invalid
        | FibNextHop::Agent
        | FibNextHop::Resolve
        | FibNextHop::L2Receive
        | FibNextHop::Flood(_)
        | FibNextHop::EncapGroup { .. }
        | FibNextHop::UdpTunnel(_) => None,
    }
}

/// The key of the answers. Where a service may see one of several source ports, one whose answers nobody waits for.
fn answers(
    cx: &Cx<'_>,
    nat: &mut nat::Plan,
    key: &FlowKey,
    scope: NhId,
) -> Result<FlowKey, DropReason> {
    let answers = |nat: &nat::Plan| {
        FlowKey { scope, ports: nat.ports, addresses: nat.addresses, ..*key }.reversed(scope)
    };
    let Some(choice) = nat.choice.filter(|choice| choice.first != choice.last) else {
        return Ok(answers(nat));
    };
    let Some(table) = cx.flows.as_deref() else { return Ok(answers(nat)) };
    let count = u32::from(choice.last - choice.first) + 1;
    let start = u32::from(key.source_port()) % count;
    for step in 0..count.min(CHOICES) {
        let offset = u16::try_from((start + step) % count).unwrap_or(0);
        let port = choice.first.saturating_add(offset);
        if TUNNEL_PORTS.contains(&port) {
            continue;
        }
        nat.choose(port, key);
        let answers = answers(nat);
        if table.sessions.find(&table.sessions.pack(&answers)).is_none() {
            return Ok(answers);
        }
    }
    Err(DropReason::FlowTableFull)
}

/// How many ports of a service are tried for a session.
const CHOICES: u32 = 256;
/// Never chosen: answers to them would be taken for tunnels (case H40).
const TUNNEL_PORTS: [u16; 3] =
    [wire::port::VXLAN, wire::port::MPLS_OVER_UDP, wire::port::MPLS_OVER_UDP_OLD];

/// A next hop with relaxed policy: what has no flow goes on without one (point 6).
fn asks_for_known_flows_only(cx: &Cx<'_>, next_hop: NhId) -> bool {
    !cx.fib.next_hop_entry(next_hop).flags.contains(NhFlags::POLICY)
}

fn workload(vif: Option<&FibVif>) -> Option<VifId> {
    let vif = vif?;
    matches!(vif.kind, VifKind::Virtual | VifKind::VirtualVlan).then_some(vif.id)
}

/// The next hop that a workload's packet will meet: by its route if it is for the router, else by its station.
fn leads_to(cx: &Cx<'_>, packet: &Packet<'_>, key: &FlowKey) -> NhId {
    let vrf = packet.meta.vrf;
    let station = cx.fib.bridge(vrf, packet.meta.station);
    match station.map(|hit| (hit.nh, cx.fib.next_hop(hit.nh))) {
        Some((_, FibNextHop::L2Receive)) => {
            stamp::route(cx.fib, vrf, key.addresses.destination()).nh
        }
        Some((next_hop, _)) => next_hop,
        // To somebody nobody knows: flooded or dropped.
        None => NhId(0),
    }
}

/// A TCP segment that only a session has that began before: its answers count as well as itself, so that sessions outlive
/// a restart.
fn is_mid_stream(packet: &Packet<'_>, key: &FlowKey) -> bool {
    key.protocol == protocol::TCP
        && Segment::of(packet)
            .is_some_and(|segment| segment.has(wire::Tcp::ACK) && !segment.has(wire::Tcp::SYN))
}

/// What policy says about a session, told by its keys: of the first packet, and of the answers. Judged are the addresses
/// that workloads have, behind translation (control-plane.md section 8.4).
fn judge(
    cx: &Cx<'_>,
    flags: SessionFlags,
    (forward, reverse): (&FlowKey, &FlowKey),
    vrfs: (VrfId, VrfId),
    vifs: (Option<VifId>, Option<VifId>),
) -> Judgement {
    if flags.contains(SessionFlags::LINK_LOCAL) {
        return passing(RuleId::LINK_LOCAL);
    }
    if flags.contains(SessionFlags::BGP_SERVICE) {
        return passing(RuleId::BGP_SERVICE);
    }
    let fib = cx.fib;
    let [from, to] = [vifs.0, vifs.1].map(|id| id.and_then(|id| fib.vif(id)));
    let ends = Ends::of(vrfs, forward, reverse);
    let (source, destination) = (ends.first.1, ends.last.1);
    if is_gateways(from, destination, forward) || is_gateways(to, source, forward) {
        return passing(RuleId::GATEWAY);
    }
    let (source_identity, destination_identity) = ends.identities(fib);
    let is_icmp = matches!(forward.protocol, protocol::ICMP | protocol::ICMPV6);
    let subject = Subject {
        source,
        destination,
        protocol: forward.protocol,
        source_port: forward.source_port(),
        destination_port: if is_icmp { 0 } else { reverse.source_port() },
        source_identity,
        destination_identity,
    };
    fib.judge(&subject, from, to)
}

/// ICMP between a workload and its gateway: nobody else is concerned.
fn is_gateways(workload: Option<&FibVif>, peer: std::net::IpAddr, key: &FlowKey) -> bool {
    let gateway = workload.is_some_and(|vif| match peer {
        std::net::IpAddr::V4(peer) => vif.gateway == Some(peer),
        std::net::IpAddr::V6(peer) => vif.gateway6 == Some(peer),
    });
    gateway && matches!(key.protocol, protocol::ICMP | protocol::ICMPV6)
}

fn is_mirrored(judgement: &Judgement) -> bool {
    judgement.mirrors.iter().any(Option::is_some)
}

fn passing(rule: RuleId) -> Judgement {
    Judgement {
        verdict: Verdict::Pass,
        network_rule: rule,
        group_rule: rule,
        log: false,
        mirrors: [None; 2],
        reason: FlowDropReason::Unknown,
    }
}

/// Judges a session again, in the direction of its first packet, and says so in `id`'s words; what the other direction
/// keeps is its owner's to look at. `false`: it may pass now, and has to begin anew, with answers.
pub(crate) fn judge_again(cx: &Cx<'_>, id: FlowId) -> bool {
    let Some(table) = cx.flows.as_deref() else { return true };
    let forward = id.session().forward();
    let (Some(flow), Some(first), Some(last), Some(session)) =
        (table.flow(id), table.flow(forward), table.flow(forward.other()), table.session(id))
    else {
        return true;
    };
    let (vrfs, flags) = (session.vrfs(), session.flags());
    if undecided::is_agents(cx.fib, flow.ends()) {
        return true;
    }
    let forward = first.key();
    // Without answers there is no translation either.
    let reverse = match flags.contains(SessionFlags::ONE_SIDED) {
        true => forward.reversed(forward.scope),
        false => last.key(),
    };
    let judgement = judge(cx, flags, (&forward, &reverse), vrfs, flow.ends());
    table.sessions.note(table.worker.0, Count::JudgedAgain);
    if judgement.verdict == Verdict::Pass && session.flags().contains(SessionFlags::ONE_SIDED) {
        return false;
    }
    let denied = judgement.verdict == Verdict::Deny;
    flow.assign(FlowFlags::DENIED, denied);
    flow.assign(FlowFlags::MIRRORED, !denied && is_mirrored(&judgement));
    table.sessions.set_log(id, judgement.log);
    let rules = (judgement.network_rule, judgement.group_rule);
    session.set_judgement(vrfs, judgement.reason as u8, judgement.mirrors, rules);
    true
}

/// Whether policy lets a packet pass that begins no session: an ICMP error about what nobody knows.
pub(crate) fn may_pass(cx: &Cx<'_>, packet: &Packet<'_>) -> bool {
    let Some(addresses) = super::key::addresses(packet.meta) else { return false };
    let protocol = packet.meta.ip_protocol;
    let key = FlowKey { scope: NhId(0), protocol, ports: 0, addresses };
    let from = packet.meta.is_from_workload().then_some(packet.meta.rx_vif);
    let to = match cx.fib.next_hop(packet.meta.nh) {
        FibNextHop::Encap { vif, .. } if from.is_none() => workload(cx.fib.vif(*vif)),
        _ => None,
    };
    let vrf = packet.meta.vrf;
    let judgement = judge(
        cx,
        SessionFlags::default(),
        (&key, &key.reversed(key.scope)),
        (vrf, vrf),
        (from, to),
    );
    judgement.verdict == Verdict::Pass
}

impl From<crate::worker::Tick> for Moment {
    fn from(now: crate::worker::Tick) -> Moment {
        Moment::of(now)
    }
}
