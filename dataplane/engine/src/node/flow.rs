//! Flow: established traffic finds the flow it belongs to and goes on; a first packet has its session judged (reference
//! dataplane.md section 14, control-plane.md section 4).
//!
//! From a workload it is looked up before anything else, because it may change where the packet goes; from elsewhere once
//! the next hop is known that delivers to an interface with policy. Either way once (point 5).

use arrayvec::ArrayVec;
use port::BURST;
use tables::flow::{FlowFlags, FlowId, FlowKey, Sessions, State};
use tables::{DropReason, Fib, NhId, VifId};

use crate::flow::first::{self, Outcome};
use crate::flow::key::{self, Keyed};
use crate::flow::nowhere::Nowhere;
use crate::flow::pass::{self, onward};
use crate::flow::stamp;
use crate::flow::tcp::Segment;
use crate::flow::{Moment, age, fat, source, undecided};
use crate::graph::{Cx, Next, Node, NodeId};
use crate::inspect;
use crate::packet::{Addresses, Cast, Marks, Meta, Packet, Protocol};

/// Looks all flows of a burst up together, so that the loads of index and slab overlap.
#[derive(Default)]
pub(crate) struct Flow {
    looks: ArrayVec<Option<Look>, BURST>,
    next: usize,
    /// [`FlowIndex::removals`](tables::flow::FlowIndex::removals) when they were looked up.
    removals: u32,
    nowhere: Nowhere,
    scope: Option<Scope>,
    policy: Option<Policy>,
}

/// What was found of a packet whose metadata alone tells its key.
#[derive(Clone, Copy)]
struct Look {
    hash: u64,
    scope: NhId,
    /// See [`Packed::needs_more`](tables::flow::Packed::needs_more).
    needs_more: bool,
    /// Nearly always its flow.
    guess: Option<FlowId>,
}

/// The last interface (above 32 bits), or the last next hop, and the scope of its flows.
#[derive(Clone, Copy)]
struct Scope {
    of: u64,
    scope: NhId,
}

/// The last ends of a session, and the stamp of their policy.
#[derive(Clone, Copy)]
struct Policy {
    ends: (Option<VifId>, Option<VifId>),
    stamp: u32,
}

/// What takes longer than to be counted and sent on.
const UNUSUAL: FlowFlags = FlowFlags::DEAD
    .with(FlowFlags::HELD)
    .with(FlowFlags::NAT)
    .with(FlowFlags::SPECIAL)
    .with(FlowFlags::MIRRORED)
    .with(FlowFlags::FAT);

/// What must not be set beside `DENIED` where nothing but that matters.
const DENIED_ALONE: FlowFlags = UNUSUAL.with(FlowFlags::DENIED);

impl Node for Flow {
    const ID: NodeId = NodeId::Flow;
    const EDGES: &'static [NodeId] = &[
        NodeId::Bridge,
        NodeId::NextHop,
        NodeId::HandOff,
        NodeId::Undecided,
        NodeId::Punt,
        NodeId::Drop,
    ];

    fn begin(&mut self) {
        (self.scope, self.policy) = (None, None);
        self.nowhere.begin();
    }

    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.nowhere.count(cx);
    }

    #[inline]
    fn gather<'a>(&mut self, cx: &Cx<'_>, metas: impl Iterator<Item = &'a Meta> + Clone) {
        self.looks.clear();
        self.next = 0;
        let Some(table) = cx.flows.as_deref() else { return };
        self.removals = table.index.removals();
        for meta in metas.clone() {
            let look = self.key(cx.fib, meta).map(|key| {
                let packed = table.sessions.pack(&key);
                table.index.prefetch(packed.hash());
                let needs_more = packed.needs_more();
                Look { hash: packed.hash(), scope: key.scope, needs_more, guess: None }
            });
            // No more packets than a burst has.
            let gathered = self.looks.try_push(look);
            debug_assert!(gathered.is_ok());
        }
        self.nowhere.clear();
        let mut unknown = false;
        for look in self.looks.iter_mut().flatten() {
            look.guess = table.index.guess(look.hash);
            unknown |= look.guess.is_none();
            if let Some(flow) = look.guess.and_then(|id| table.flow(id)) {
                flow.prefetch();
                if look.needs_more {
                    flow.prefetch_more();
                }
            }
        }
        if unknown {
            self.gather_unknown(cx.fib, &table.sessions, metas);
        }
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let place = self.next;
        self.next += 1;
        let look = self.looks.get(place).copied().flatten();
        let Some(Look { scope, guess, .. }) = look else { return self.unexpected(cx, packet) };
        let Some(id) = guess else {
            return match self.nowhere.by(place) {
                Some(nh) => self.nowhere.end(cx, packet, nh),
                None => self.unexpected(cx, packet),
            };
        };
        let Some(table) = cx.flows.as_deref() else { return onward(packet) };
        let flow = table.flow(id).filter(|_| table.index.removals() == self.removals);
        let Some((flow, key)) = flow.zip(key::of_ports(packet.meta, scope)) else {
            return self.unexpected(cx, packet);
        };
        match flow.state_of(&key) {
            None => self.unexpected(cx, packet),
            Some(state)
                if state.flags().0 & DENIED_ALONE.0 == FlowFlags::DENIED.0
                    && table.is_unchanged_since(flow.seen()) =>
            {
                flow.count(packet.frame.len() as u64, Moment::of(cx.now).0);
                packet.meta.flow = Some(id);
                Next::Drop(DropReason::FlowActionDrop)
            }
            Some(_) => {
                complete(packet);
                self.met(cx, packet, id)
            }
        }
    }
}

/// What a workload left to its network card, which nobody needs of a packet that is dropped.
#[inline]
fn complete(packet: &mut Packet<'_>) {
    if packet.meta.is_from_workload() {
        inspect::complete_checksum(packet);
    }
}

/// A packet whose own key is a fat flow's.
#[cold]
fn fat(cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId) -> Next {
    let scope = key::scope(cx.fib, packet);
    match key::of(cx, packet, scope) {
        Ok(Keyed::Flow(key)) => fat::pass(cx, packet, id, &key),
        // It is about a session that exists.
        Ok(Keyed::Error(_)) => onward(packet),
        Err(reason) => Next::Drop(reason),
    }
}

/// What is no session's: control packets, groups, all but IP.
#[inline]
fn is_exempt(meta: &Meta) -> bool {
    meta.cast == Cast::Group
        || !matches!(meta.protocol, Protocol::Ipv4 | Protocol::Ipv6)
        || meta.marks.contains(Marks::CONTROL)
}

impl Flow {
    /// The scope, remembered for the next packet; `None` where the frame has to be looked at.
    #[inline]
    fn scope(&mut self, fib: &Fib, meta: &Meta) -> Option<NhId> {
        let of = match meta.is_from_workload() {
            true => 1 << 32 | u64::from(meta.rx_vif.0),
            false => u64::from(meta.nh.0),
        };
        match self.scope {
            Some(last) if last.of == of => Some(last.scope),
            _ => {
                let scope = key::plain_scope(fib, meta)?;
                self.scope = Some(Scope { of, scope });
                Some(scope)
            }
        }
    }

    /// The key of a packet whose metadata alone tells it, if it is to be looked up at all.
    #[inline]
    fn key(&mut self, fib: &Fib, meta: &Meta) -> Option<FlowKey> {
        if is_exempt(meta) {
            return None;
        }
        let scope = self.scope(fib, meta)?;
        key::plain(meta, scope)
    }

    /// Where those of a burst lead whose flows this worker does not know; those that lead somewhere may be known to others.
    #[inline(never)]
    fn gather_unknown<'a>(
        &mut self,
        fib: &Fib,
        sessions: &Sessions,
        metas: impl Iterator<Item = &'a Meta>,
    ) {
        for (place, (look, meta)) in self.looks.iter().zip(metas).enumerate() {
            if let Some(Look { guess: None, hash, .. }) = look
                && !self.nowhere.ask(fib, place, meta)
            {
                sessions.prefetch(*hash);
            }
        }
        self.nowhere.look_up(fib, |place| {
            if let Some(Some(look)) = self.looks.get(place) {
                sessions.prefetch(look.hash);
            }
        });
    }

    /// A packet whose flow is not where it was looked for first, or whose metadata alone does not tell its key, or that
    /// has none.
    #[inline(never)]
    fn unexpected(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        complete(packet);
        match is_exempt(packet.meta) {
            true => onward(packet),
            false => self.look_up(cx, packet),
        }
    }

    /// A packet of an established session.
    #[inline]
    fn met(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId) -> Next {
        let Some(table) = cx.flows.as_deref() else { return onward(packet) };
        let Some(flow) = table.flow(id) else { return Next::Drop(DropReason::FlowUnusable) };
        let mut state = flow.state();
        let segment = state.flags().contains(FlowFlags::TCP).then(|| Segment::of(packet)).flatten();
        if let Some(segment) = segment
            && segment.opens()
            && pass::is_closed(cx, id)
        {
            return self.again(cx, packet, id);
        }
        if state.flags().0 & UNUSUAL.0 != 0 {
            return self.unusual(cx, packet, (id, state), segment);
        }
        let stamp = self.stamp(cx.fib, packet.meta, flow);
        if flow.stamp() != (stamp, source::origin(packet.meta)) {
            match pass::refresh(cx, packet, id) {
                Ok(()) => {
                    state = pass::state(cx, id);
                    pass::mirror(cx, packet, id);
                }
                Err(next) => return next,
            }
        }
        pass::pass(cx, packet, (id, state), segment)
    }

    /// What the tables say of the flow's addresses and interfaces now.
    #[inline]
    fn stamp(&mut self, fib: &Fib, meta: &Meta, flow: tables::flow::Flow<'_>) -> u32 {
        let ends = flow.ends();
        let policy = match self.policy {
            Some(last) if last.ends == ends => last.stamp,
            _ => {
                let stamp = stamp::policy(fib, ends);
                self.policy = Some(Policy { ends, stamp });
                stamp
            }
        };
        let routes = match meta.addresses {
            Addresses::V4 { source, destination } => fib
                .route_stamp(meta.vrf, source)
                .wrapping_add(fib.route_stamp(meta.vrf, destination)),
            Addresses::V6 { source, destination } => fib
                .route_stamp(meta.vrf, source)
                .wrapping_add(fib.route_stamp(meta.vrf, destination)),
            Addresses::None | Addresses::Hashed(_) => 0,
        };
        routes.wrapping_add(policy)
    }

    /// A session that has ended, waits, or is translated.
    #[inline(never)]
    fn unusual(
        &mut self,
        cx: &mut Cx<'_>,
        packet: &mut Packet<'_>,
        (id, state): (FlowId, State),
        segment: Option<Segment>,
    ) -> Next {
        if state.flags().contains(FlowFlags::DEAD) {
            return self.again(cx, packet, id);
        }
        if state.flags().contains(FlowFlags::HELD) {
            return undecided::wait(cx, packet, id);
        }
        if state.flags().contains(FlowFlags::FAT) {
            return fat(cx, packet, id);
        }
        if state.flags().0 & (FlowFlags::NAT.0 | FlowFlags::SPECIAL.0) == 0 {
            return self.mirrored(cx, packet, id, segment);
        }
        pass::translated(cx, packet, id, segment)
    }

    /// A session that is mirrored, and nothing else.
    fn mirrored(
        &mut self,
        cx: &mut Cx<'_>,
        packet: &mut Packet<'_>,
        id: FlowId,
        segment: Option<Segment>,
    ) -> Next {
        let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
        let Some(flow) = flow else { return Next::Drop(DropReason::FlowUnusable) };
        let stamp = self.stamp(cx.fib, packet.meta, flow);
        if flow.stamp() != (stamp, source::origin(packet.meta))
            && let Err(next) = pass::refresh(cx, packet, id)
        {
            return next;
        }
        pass::mirror(cx, packet, id);
        pass::pass(cx, packet, (id, pass::state(cx, id)), segment)
    }

    /// Forgets a session and begins a new one with this packet.
    #[cold]
    fn again(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId) -> Next {
        if let Some(table) = cx.flows.as_deref_mut() {
            age::end(table, id);
        }
        self.look_up(cx, packet)
    }

    fn follow(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Met(id) => self.met(cx, packet, id),
            Outcome::Guest(id) if pass::state(cx, id).flags().contains(FlowFlags::FAT) => {
                fat(cx, packet, id)
            }
            Outcome::Guest(id) => pass::as_guest(cx, packet, id),
            Outcome::Without => onward(packet),
            Outcome::Elsewhere(next) => next,
        }
    }

    /// Any packet: a session's first one, ICMP, fragments, protocols without ports.
    fn look_up(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let scope = key::scope(cx.fib, packet);
        let keyed = match key::of(cx, packet, scope) {
            Ok(keyed) => keyed,
            Err(reason) => return Next::Drop(reason),
        };
        let Some(table) = cx.flows.as_deref_mut() else { return onward(packet) };
        match keyed {
            Keyed::Flow(key) => {
                if let Some(coarse) = key::coarse(cx.fib, packet.meta, &key) {
                    let outcome = fat::step(cx, packet, &key, &coarse);
                    return self.follow(cx, packet, outcome);
                }
                let packed = table.sessions.pack(&key);
                match table.find(&packed) {
                    Some(id) => self.met(cx, packet, id),
                    None => {
                        let outcome = first::first(cx, packet, &key, &packed);
                        self.follow(cx, packet, outcome)
                    }
                }
            }
            Keyed::Error(key) => {
                let key = key::coarse(cx.fib, packet.meta, &key).unwrap_or(key);
                let packed = table.sessions.pack(&key);
                table.recall(&packed);
                let id = table.find(&packed).or_else(|| table.sessions.find(&packed));
                pass::error(cx, packet, id)
            }
        }
    }
}
