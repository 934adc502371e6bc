//! A packet whose flow is known: counted, translated, sent on or dropped; and looked at again when the tables have
//! changed since the flow was judged.

use tables::flow::{FlowFlags, FlowId, FlowKey, SessionFlags, State, TcpFlags};
use tables::{DropReason, Fib, FibNextHop, NhId};
use wire::{Ipv4, Ipv6};

use super::first::{self, Outcome};
use super::stamp::{self, Ends, Stamp};
use super::tcp::{self, Segment};
use super::{Moment, age, nat, plan, source};
use crate::feature::mirror;
use crate::graph::{Cx, Next};
use crate::packet::{Hop, Layer, Marks, Packet, Protocol};

/// On, whoever decided that it may.
#[inline]
pub(crate) fn onward(packet: &mut Packet<'_>) -> Next {
    packet.meta.marks = packet.meta.marks.with(Marks::FLOWED);
    if packet.meta.is_from_workload() { Next::Bridge } else { Next::NextHop }
}

/// The flow's state now.
pub(crate) fn state(cx: &Cx<'_>, id: FlowId) -> State {
    let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
    flow.map_or(State::NONE, |flow| flow.state())
}

/// Both sides of a TCP session have closed, or one has reset it: its ports may be used anew (case H22).
#[cold]
pub(crate) fn is_closed(cx: &Cx<'_>, id: FlowId) -> bool {
    let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
    flow.is_some_and(|flow| flow.tcp().contains(TcpFlags::DEAD))
}

/// Counts a packet of a flow of this worker's and follows TCP; `Err` if it may not pass.
#[inline]
fn count(
    cx: &Cx<'_>,
    packet: &Packet<'_>,
    id: FlowId,
    flags: FlowFlags,
    segment: Option<Segment>,
) -> Result<(), DropReason> {
    let table = cx.flows.as_deref().ok_or(DropReason::FlowUnusable)?;
    let flow = table.flow(id).ok_or(DropReason::FlowUnusable)?;
    flow.count(packet.frame.len() as u64, Moment::of(cx.now).0);
    if flags.contains(FlowFlags::DENIED) {
        return Err(DropReason::FlowActionDrop);
    }
    if let Some(segment) = segment
        && let Some(other) = table.flow(id.other())
    {
        tcp::follow(flow, other, segment);
    }
    Ok(())
}

/// A packet of a plain flow of this worker's.
#[inline]
pub(crate) fn pass(
    cx: &Cx<'_>,
    packet: &mut Packet<'_>,
    (id, state): (FlowId, State),
    segment: Option<Segment>,
) -> Next {
    let flags = state.flags();
    packet.meta.flow = Some(id);
    if let Err(reason) = count(cx, packet, id, flags, segment) {
        return Next::Drop(reason);
    }
    if flags.contains(FlowFlags::ROUTED) {
        route(cx, packet, id);
    }
    onward(packet)
}

/// Next hop and label as the flow knows them.
#[inline]
fn route(cx: &Cx<'_>, packet: &mut Packet<'_>, id: FlowId) {
    if let Some(flow) = cx.flows.as_deref().and_then(|table| table.flow(id)) {
        let (next_hop, label) = flow.target();
        packet.meta.nh = next_hop;
        packet.meta.set_label(label);
        packet.meta.marks = packet.meta.marks.with(Marks::ROUTED);
    }
}

/// Copies a packet that may pass, if its session is mirrored.
pub(crate) fn mirror(cx: &mut Cx<'_>, packet: &Packet<'_>, id: FlowId) {
    if !state(cx, id).flags().contains(FlowFlags::MIRRORED) {
        return;
    }
    let session = cx.flows.as_deref().and_then(|table| table.session(id));
    if let Some(mirrors) = session.map(|session| session.mirrors()) {
        mirror::of_session(cx, packet, mirrors);
    }
}

/// The keys of a session and what lies around them.
struct Whole {
    own: FlowKey,
    answers: FlowKey,
    ends: Ends,
    session: SessionFlags,
}

fn whole(cx: &Cx<'_>, id: FlowId) -> Option<Whole> {
    let table = cx.flows.as_deref()?;
    let (own, other, session) = (table.flow(id)?, table.flow(id.other())?, table.session(id)?);
    let (own, flags) = (own.key(), session.flags());
    let answers = match flags.contains(SessionFlags::ONE_SIDED) {
        true => own.reversed(own.scope),
        false => other.key(),
    };
    let (forward, reverse) = if id.is_forward() { (&own, &answers) } else { (&answers, &own) };
    let ends = Ends::of(session.vrfs(), forward, reverse);
    Some(Whole { own, answers, ends, session: flags })
}

/// A packet of a flow that is translated, or whose TTL is forced.
#[inline(never)]
pub(crate) fn translated(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    id: FlowId,
    segment: Option<Segment>,
) -> Next {
    let Some(found) = whole(cx, id) else { return Next::Drop(DropReason::FlowNatNoRflow) };
    let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
    let Some(flow) = flow else { return Next::Drop(DropReason::FlowNatNoRflow) };
    let now = found.ends.stamp(cx.fib, flow.ends()).sum();
    if flow.stamp() != (now, source::origin(packet.meta))
        && let Err(next) = refresh(cx, packet, id)
    {
        return next;
    }
    packet.meta.flow = Some(id);
    if let Err(reason) = count(cx, packet, id, state(cx, id).flags(), segment) {
        return Next::Drop(reason);
    }
    mirror(cx, packet, id);
    if found.session.contains(SessionFlags::TTL) {
        set_ttl(packet, if id.is_forward() { 255 } else { 2 });
    }
    if nat::translate(packet, &found.answers).is_none() {
        return Next::Drop(DropReason::FlowNatNoRflow);
    }
    behind(cx, packet, id, &found)
}

/// A translated packet of a workload's is routed where its destination is; any other goes on to its next hop.
fn behind(cx: &Cx<'_>, packet: &mut Packet<'_>, id: FlowId, found: &Whole) -> Next {
    packet.meta.marks = packet.meta.marks.with(Marks::FLOWED);
    if !packet.meta.is_from_workload() {
        return Next::NextHop;
    }
    packet.meta.vrf = found.ends.destination(id.is_forward()).0;
    if packet.meta.ip_ttl == 0 {
        return Next::Drop(DropReason::TtlExceeded);
    }
    route(cx, packet, id);
    packet.meta.layer = Layer::L3;
    packet.meta.hop = Hop::Due;
    Next::NextHop
}

fn set_ttl(packet: &mut Packet<'_>, ttl: u8) {
    match packet.meta.protocol {
        Protocol::Ipv4 => {
            Ipv4::parse_mut(packet.network_mut()).into_iter().for_each(|(ip, _)| ip.set_ttl(ttl));
        }
        Protocol::Ipv6 => {
            Ipv6::parse_mut(packet.network_mut())
                .into_iter()
                .for_each(|(ip, _)| ip.set_hop_limit(ttl));
        }
        Protocol::Arp | Protocol::Other => {}
    }
    packet.meta.ip_ttl = ttl;
}

/// Makes of a packet that may have been translated what its sender sent.
pub(crate) fn as_sent(cx: &Cx<'_>, packet: &mut Packet<'_>) {
    let Some(id) = packet.meta.flow else { return };
    let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
    let translated = flow.filter(|flow| flow.state().flags().contains(FlowFlags::NAT));
    if let Some(key) = translated.map(|flow| flow.key()) {
        // It has been translated, so its headers allow that; if it has not, nothing changes.
        let undone = nat::translate(packet, &key.reversed(key.scope));
        debug_assert!(undone.is_some());
    }
}

/// A packet of another worker's flow: it may pass or not as its owner's packets may.
#[cold]
pub(crate) fn as_guest(cx: &Cx<'_>, packet: &mut Packet<'_>, id: FlowId) -> Next {
    let flags = state(cx, id).flags();
    packet.meta.flow = Some(id);
    if flags.contains(FlowFlags::DENIED) {
        return Next::Drop(DropReason::FlowActionDrop);
    }
    if flags.contains(FlowFlags::DEAD) || flags.contains(FlowFlags::HELD) {
        return Next::Drop(DropReason::FlowUnusable);
    }
    if flags.contains(FlowFlags::FAT) {
        return onward(packet);
    }
    if !flags.contains(FlowFlags::NAT) {
        return onward(packet);
    }
    let found = whole(cx, id).filter(|found| nat::translate(packet, &found.answers).is_some());
    match found {
        Some(found) => behind(cx, packet, id, &found),
        None => Next::Drop(DropReason::FlowNatNoRflow),
    }
}

/// An ICMP error: it passes where the session's packets do that it is about, and is no session of its own. About what
/// nobody knows, policy decides as about any ICMP packet.
#[cold]
pub(crate) fn error(cx: &mut Cx<'_>, packet: &mut Packet<'_>, about: Option<FlowId>) -> Next {
    let Some(id) = about else {
        return match plan::may_pass(cx, packet) {
            true => onward(packet),
            false => Next::Drop(DropReason::FlowActionDrop),
        };
    };
    let flags = state(cx, id).flags();
    if !flags.contains(FlowFlags::NAT) || flags.contains(FlowFlags::DENIED) {
        return as_guest(cx, packet, id);
    }
    let found = whole(cx, id)
        .filter(|found| nat::translate_error(packet, &found.own, &found.answers).is_some());
    match found {
        Some(found) => {
            packet.meta.flow = Some(id);
            behind(cx, packet, id, &found)
        }
        None => Next::Drop(DropReason::IcmpError),
    }
}

/// The tables have changed, or the packet comes from elsewhere than the last.
///
/// # Errors
/// Where it goes instead: it may not come from there, or its session has to begin anew.
#[cold]
pub(crate) fn refresh(cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId) -> Result<(), Next> {
    let fib = cx.fib;
    let unusable = Next::Drop(DropReason::FlowUnusable);
    let found = whole(cx, id).ok_or(unusable)?;
    let (vifs, kept, known) = {
        let flow = cx.flows.as_deref().and_then(|table| table.flow(id)).ok_or(unusable)?;
        (flow.ends(), Stamp::kept(flow), flow.identities())
    };
    let mut from = NhId(0);
    if packet.meta.is_from_workload() || packet.meta.is_from_fabric() {
        let (vrf, source) = found.ends.source(id.is_forward());
        let checked = source::check(fib, vrf, source, packet.meta);
        from = checked.ok_or(Next::Drop(DropReason::InvalidSource))?;
    }
    let now = found.ends.stamp(fib, vifs);
    let identities = found.ends.identities(fib);
    if (now.policy != kept.policy || identities != known) && !plan::judge_again(cx, id) {
        return Err(anew(cx, packet, id, &found.own));
    }
    let table = cx.flows.as_deref().ok_or(unusable)?;
    let flow = table.flow(id).ok_or(unusable)?;
    if packet.meta.is_from_workload() {
        let (vrf, destination) = found.ends.destination(id.is_forward());
        let hit = stamp::route(fib, vrf, destination);
        flow.set_target(hit.nh, hit.label);
        flow.set(FlowFlags::ROUTED);
        let member = flow.state().ecmp();
        if member.is_some_and(|member| !is_member(fib, hit.nh, member)) {
            flow.set_ecmp(None);
        }
    }
    flow.set_source(from, identities);
    now.keep(flow, source::origin(packet.meta));
    if packet.meta.is_from_fabric() {
        steer(cx, packet, id, from);
    }
    Ok(())
}

/// An answer comes from another member of the group than the one its flow goes to: from now on it goes there (reference
/// dataplane.md section 14.6, case H28).
fn steer(cx: &Cx<'_>, packet: &Packet<'_>, id: FlowId, from: NhId) {
    let FibNextHop::Ecmp(group) = cx.fib.next_hop(from) else { return };
    let other = cx.flows.as_deref().and_then(|table| table.flow(id.other()));
    let Some((other, chosen)) = other.and_then(|other| Some((other, other.state().ecmp()?))) else {
        return;
    };
    let from = source::member_from(cx.fib, group, source::origin(packet.meta), Some(chosen));
    if from.is_some_and(|from| from != chosen) {
        other.set_ecmp(from);
    }
}

/// A session that was denied may pass now: it begins with this packet, and gets answers.
fn anew(cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId, key: &FlowKey) -> Next {
    let Some(table) = cx.flows.as_deref_mut() else { return onward(packet) };
    age::end(table, id);
    let packed = table.sessions.pack(key);
    match first::first(cx, packet, key, &packed) {
        Outcome::Met(id) => {
            let state = state(cx, id);
            if state.flags().contains(FlowFlags::NAT) {
                translated(cx, packet, id, None)
            } else {
                mirror(cx, packet, id);
                pass(cx, packet, (id, state), None)
            }
        }
        Outcome::Guest(id) => as_guest(cx, packet, id),
        Outcome::Without => onward(packet),
        Outcome::Elsewhere(next) => next,
    }
}

fn is_member(fib: &Fib, group: NhId, position: u8) -> bool {
    matches!(fib.next_hop(group), FibNextHop::Ecmp(group) if group.member(position).is_some())
}
