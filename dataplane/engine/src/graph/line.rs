//! The packets of a burst, and who waits where: places instead of packets are moved.

use std::num::NonZeroU64;

use port::{BURST, Frame};
use tables::VifId;

use super::{Cx, End, Next, Node, NodeId, Spawned};
use crate::packet::{Meta, Packet, Spread};

impl Meta {
    /// Keeps what the way says beside where it leads.
    #[inline]
    fn note(&mut self, next: Next) {
        match next {
            Next::Drop(reason) => self.reason = reason,
            Next::HandOff(worker) => self.worker = worker,
            Next::Parse
            | Next::Decap
            | Next::Flow
            | Next::Bridge
            | Next::Control
            | Next::Route
            | Next::NextHop
            | Next::Flood
            | Next::Encap
            | Next::VifTx
            | Next::Assemble
            | Next::Hold
            | Next::Undecided
            | Next::Fragment
            | Next::Icmp
            | Next::Punt => {}
        }
    }
}

/// A packet's place in the burst, and what is known of it: two cache lines of its own.
#[repr(align(64))]
struct Slot {
    frame: Option<Frame>,
    meta: Meta,
}

/// Places in the burst, a bit each: where packets wait. They leave in the order in which they came in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Places(u64);

const _: () = assert!(BURST == u64::BITS as usize);

impl Places {
    pub(crate) const NONE: Places = Places(0);

    #[inline]
    pub(crate) fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    #[inline]
    pub(crate) fn contains(self, place: usize) -> bool {
        self.0 >> place & 1 != 0
    }
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let place = NonZeroU64::new(self.0)?.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(place as usize)
    }
}

/// The packets of a burst, and who waits where. A packet waits at one node at a time.
pub(super) struct Line {
    slots: [Slot; BURST],
    waiting: [Places; NodeId::COUNT],
}

impl Line {
    pub(super) fn new() -> Line {
        let slot = |_| Slot { frame: None, meta: Meta::arriving(VifId(0), Spread::Allowed) };
        Line { slots: std::array::from_fn(slot), waiting: [Places::NONE; NodeId::COUNT] }
    }

    #[inline]
    pub(super) fn fill(
        &mut self,
        at: NodeId,
        frames: impl Iterator<Item = (Frame, VifId)>,
        spread: Spread,
    ) {
        let mut filled = Places::NONE;
        for (place, (slot, (frame, rx_vif))) in self.slots.iter_mut().zip(frames).enumerate() {
            debug_assert!(slot.frame.is_none(), "the last burst has not ended");
            slot.frame = Some(frame);
            slot.meta.arrive(rx_vif, spread);
            filled.insert(place);
        }
        self.put(at, filled);
    }

    /// Fills an empty burst with packets that nodes have made; whether there were any.
    #[inline]
    pub(super) fn admit(&mut self, spawned: &mut Spawned) -> bool {
        if spawned.waiting.is_empty() {
            return false;
        }
        self.fill_spawned(spawned);
        true
    }

    #[inline(never)]
    fn fill_spawned(&mut self, spawned: &mut Spawned) {
        for place in 0..BURST.min(spawned.waiting.len()) {
            let Some(slot) = self.slots.get_mut(place) else { break };
            let Some((frame, meta, next)) = spawned.waiting.pop_front() else { break };
            debug_assert!(slot.frame.is_none(), "the last burst has not ended");
            slot.frame = Some(frame);
            slot.meta = meta;
            slot.meta.note(next);
            let mut places = Places::NONE;
            places.insert(place);
            self.put(next.node(), places);
        }
    }

    /// The first node in the order of the drawing that has work.
    #[inline]
    pub(super) fn next(&self) -> Option<NodeId> {
        NodeId::ORDER
            .into_iter()
            .zip(self.waiting)
            .find(|(_, places)| places.0 != 0)
            .map(|(id, _)| id)
    }

    /// The places at a node.
    pub(super) fn waiting(&self, id: NodeId) -> Places {
        self.waiting.get(id as usize).copied().unwrap_or_default()
    }

    /// The packets at some places.
    pub(super) fn packets(&self, places: Places) -> impl Iterator<Item = (usize, &Frame, &Meta)> {
        places.filter_map(|place| {
            let slot = self.slots.get(place)?;
            Some((place, slot.frame.as_ref()?, &slot.meta))
        })
    }

    /// What is known of those that were at some places, and where they are now: nowhere if they have ended.
    pub(super) fn moved(
        &self,
        places: Places,
    ) -> impl Iterator<Item = (usize, &Meta, Option<NodeId>)> {
        places.filter_map(|place| {
            let waits = |id: &NodeId| self.waiting(*id).contains(place);
            Some((place, &self.slots.get(place)?.meta, NodeId::ORDER.into_iter().find(waits)))
        })
    }

    #[inline]
    fn take(&mut self, id: NodeId) -> Places {
        self.waiting.get_mut(id as usize).map(std::mem::take).unwrap_or_default()
    }

    #[inline]
    fn put(&mut self, id: NodeId, places: Places) {
        if let Some(waiting) = self.waiting.get_mut(id as usize) {
            waiting.0 |= places.0;
        }
    }

    // A function for each node, so that each gets the registers for itself.
    #[inline(never)]
    pub(super) fn step<N: Node>(&mut self, cx: &mut Cx<'_>, node: &mut N) {
        let work = self.take(N::ID);
        node.gather(cx, work.filter_map(|place| self.slots.get(place).map(|slot| &slot.meta)));
        // Most packets of a burst go the same way: they are put there together.
        let (mut way, mut along) = (NodeId::Drop, Places::NONE);
        for place in work {
            let Some(Slot { frame: Some(frame), meta }) = self.slots.get_mut(place) else {
                continue;
            };
            let next = node.step(cx, &mut Packet { frame, meta });
            debug_assert!(
                N::EDGES.contains(&next.node()),
                "{:?} has no edge to {:?}",
                N::ID,
                next.node()
            );
            meta.note(next);
            if next.node() != way {
                self.put(way, along);
                (way, along) = (next.node(), Places::NONE);
            }
            along.insert(place);
        }
        node.finish(cx);
        self.put(way, along);
    }

    #[inline(never)]
    pub(super) fn end<E: End>(&mut self, cx: &mut Cx<'_>, end: &mut E) {
        let mut refused = Places::NONE;
        for place in self.take(E::ID) {
            let Some(slot) = self.slots.get_mut(place) else { continue };
            let Some(frame) = slot.frame.take() else { continue };
            if let Err((frame, reason)) = end.take(cx, frame, &slot.meta) {
                slot.meta.reason = reason;
                slot.frame = Some(frame);
                refused.insert(place);
            }
        }
        end.finish(cx);
        self.put(NodeId::Drop, refused);
    }
}
