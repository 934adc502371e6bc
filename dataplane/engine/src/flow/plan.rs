//! A session to be: who speaks to whom, by which interfaces, VRFs and translation, and what policy says about it (reference
//! control-plane.md sections 4.3 and 8.4).

use tables::flow::{Count, FlowFlags, FlowId, FlowKey, SessionFlags};
use tables::{
    DropReason, Fib, FibNextHop, FibVif, FlowDropReason, Judgement, NhFlags, NhId, RuleId, Subject,
    Verdict, VifId, VifKind, VrfId,
};
use wire::protocol;

use super::stamp::{self, Ends, Identities};
use super::tcp::Segment;
use super::{nat, source, undecided};
use crate::graph::Cx;
use crate::packet::Packet;

/// A session to be, seen by its first packet.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) forward: FlowKey,
    pub(super) reverse: FlowKey,
    /// The packet is of the session's first direction.
    pub(super) is_forward: bool,
    pub(super) vifs: (Option<VifId>, Option<VifId>),
    pub(super) vrfs: (VrfId, VrfId),
    pub(super) judgement: Judgement,
    pub(super) flags: SessionFlags,
    /// Where the packet's source is.
    pub(super) source: NhId,
    /// What its ends are to policy.
    pub(super) identities: Identities,
}

impl Plan {
    /// Nobody has judged it here: an agent decides.
    pub(super) fn is_agents(&self) -> bool {
        self.flags.contains(SessionFlags::AGENT)
    }

    /// Whether its packets are translated.
    pub(super) fn translates(&self) -> bool {
        self.flags.nat().0 != 0
    }

    pub(super) fn ends(&self) -> Ends {
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
            identities: (self.identities.1, self.identities.0),
            ..*self
        }
    }

    /// What policy says about it.
    fn judged(&self, cx: &Cx<'_>) -> Judgement {
        judge(cx, self.flags, (&self.forward, &self.reverse), self.vrfs, self.vifs, self.identities)
    }
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
    if plan.translates() {
        return Err(DropReason::FlowActionDrop);
    }
    let plan = if is_forward { plan } else { plan.turned() };
    Ok(Some(plan.judged(cx)))
}

/// Who speaks to whom, and whether they may. `None`: no flow is needed, because the packet goes nowhere, or to the agent
/// or the host.
///
/// # Errors
/// `InvalidSource` when the source is elsewhere, `FlowTableFull` when a service has no port left.
pub(super) fn plan(
    cx: &Cx<'_>,
    packet: &Packet<'_>,
    key: &FlowKey,
) -> Result<Option<Plan>, DropReason> {
    let Some(mut plan) = survey(cx, packet, key)? else { return Ok(None) };
    if plan.is_agents() {
        return Ok(Some(plan));
    }
    plan.judgement = plan.judged(cx);
    let denied = plan.judgement.verdict == Verdict::Deny;
    if denied && !plan.translates() && is_mid_stream(packet, key) {
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
        identities: (None, None),
    };
    plan.identities = plan.ends().identities(fib);
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
    (source_identity, destination_identity): Identities,
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

pub(super) fn is_mirrored(judgement: &Judgement) -> bool {
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
    let identities = Ends::of(vrfs, &forward, &reverse).identities(cx.fib);
    let judgement = judge(cx, flags, (&forward, &reverse), vrfs, flow.ends(), identities);
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
    let answers = key.reversed(key.scope);
    let judgement = judge(
        cx,
        SessionFlags::default(),
        (&key, &answers),
        (vrf, vrf),
        (from, to),
        Ends::of((vrf, vrf), &key, &answers).identities(cx.fib),
    );
    judgement.verdict == Verdict::Pass
}
