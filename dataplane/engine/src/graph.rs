//! The graph: which nodes there are, and the one loop that drives a burst through them.
//!
//! Each node has a queue of packet indices. The loop takes the first node that has work, steps all of its packets
//! (touching the next ones ahead of time), and puts each index in the queue of the node it goes to. Packets stay where
//! they are. Nodes are numbered in the order of the drawing in the README, so that a burst runs front to back and only
//! what is looked up again goes round once more; nodes bound that themselves (`PktLoop`).

use arrayvec::ArrayVec;
use port::{BURST, Frame, FramePool};
use tables::{DropReason, Fib, NhId, VifId};

use crate::counters::Counters;
use crate::flow_hash::Seed;
use crate::hand_off::{Peers, WorkerId, Workers};
use crate::node;
use crate::packet::{Meta, Packet, Spread};
use crate::ports::Ports;

/// What a step may use beside its packet. Made once a burst.
pub(crate) struct Cx<'a> {
    /// The tables, one snapshot for the whole burst.
    pub(crate) fib: &'a Fib,
    /// This worker's counters.
    pub(crate) counters: &'a Counters,
    /// This worker's frames.
    pub(crate) pool: &'a mut FramePool,
    /// Where packets can be sent.
    pub(crate) ports: &'a mut Ports,
    /// The rings to the other workers.
    pub(crate) peers: &'a mut Peers,
    /// Who they are.
    pub(crate) workers: Workers,
    /// Of flow hashes.
    pub(crate) seed: Seed,
}

impl Cx<'_> {
    /// Asks for a next hop that a later node will read.
    #[inline]
    pub(crate) fn prefetch_next_hop(&self, nh: NhId) {
        sys::prefetch::prefetch_read(self.fib.next_hop_entry(nh));
    }
}

/// Where a packet goes from a node.
#[expect(clippy::enum_variant_names, reason = "a next hop is called so")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Parse,
    Decap,
    Bridge,
    Arp,
    Route,
    NextHop,
    Encap,
    /// Out of `meta.tx_vif`.
    VifTx,
    /// To another worker.
    HandOff(WorkerId),
    /// Nowhere, for this reason.
    Drop(DropReason),
}

impl Next {
    #[inline]
    pub(crate) const fn node(self) -> NodeId {
        match self {
            Next::Parse => NodeId::Parse,
            Next::Decap => NodeId::Decap,
            Next::Bridge => NodeId::Bridge,
            Next::Arp => NodeId::Arp,
            Next::Route => NodeId::Route,
            Next::NextHop => NodeId::NextHop,
            Next::Encap => NodeId::Encap,
            Next::VifTx => NodeId::VifTx,
            Next::HandOff(_) => NodeId::HandOff,
            Next::Drop(_) => NodeId::Drop,
        }
    }
}

/// The nodes, in the order the loop prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NodeId {
    VifRx,
    Parse,
    Decap,
    Bridge,
    Arp,
    Route,
    NextHop,
    Encap,
    VifTx,
    HandOff,
    Drop,
}

impl NodeId {
    const COUNT: usize = NodeId::Drop as usize + 1;

    #[inline]
    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// One step of the graph: look at a packet, say where it goes.
pub(crate) trait Node {
    /// Which one it is.
    const ID: NodeId;
    /// Every edge it may take; drawn in the README, checked in debug builds.
    const EDGES: &'static [NodeId];

    /// A new snapshot may be in use: forget what was remembered of the last one.
    fn begin(&mut self) {}

    /// A packet that will be stepped a few packets later.
    #[inline]
    fn ahead(&self, _frame: &Frame) {}

    /// All packets that are going to be stepped, in their order: what can be looked up for them together.
    #[inline]
    fn gather<'a>(&mut self, _cx: &Cx<'_>, _metas: impl Iterator<Item = &'a Meta>) {}

    /// The decision.
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next;
}

/// A node where packets leave the graph.
pub(crate) trait End {
    /// Which one it is.
    const ID: NodeId;

    /// Takes the frame.
    ///
    /// # Errors
    /// The frame again, and why it is to be dropped.
    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)>;
}

/// How many packets ahead a node may touch.
const AHEAD: usize = 4;

/// The nodes' state and the packets on their way.
pub(crate) struct Graph {
    nodes: Nodes,
    line: Line,
}

#[derive(Default)]
struct Nodes {
    vif_rx: node::VifRx,
    parse: node::Parse,
    decap: node::Decap,
    bridge: node::Bridge,
    arp: node::Arp,
    route: node::Route,
    next_hop: node::NextHop,
    encap: node::Encap,
    vif_tx: node::VifTx,
    hand_off: node::HandOff,
    drop: node::Drop,
}

impl Graph {
    pub(crate) fn new() -> Graph {
        Graph { nodes: Nodes::default(), line: Line::new() }
    }

    /// Before the first burst of a snapshot.
    pub(crate) fn begin(&mut self) {
        let nodes = &mut self.nodes;
        nodes.vif_rx.begin();
        nodes.parse.begin();
        nodes.decap.begin();
        nodes.bridge.begin();
        nodes.arp.begin();
        nodes.route.begin();
        nodes.next_hop.begin();
        nodes.encap.begin();
    }

    /// Drives up to [`BURST`] packets from `vif_rx` to their ends.
    pub(crate) fn run(
        &mut self,
        cx: &mut Cx<'_>,
        frames: impl Iterator<Item = (Frame, VifId)>,
        spread: Spread,
    ) {
        self.line.fill(NodeId::VifRx, frames, spread);
        let Graph { nodes, line } = self;
        while let Some(id) = line.next() {
            match id {
                NodeId::VifRx => line.step(cx, &mut nodes.vif_rx),
                NodeId::Parse => line.step(cx, &mut nodes.parse),
                NodeId::Decap => line.step(cx, &mut nodes.decap),
                NodeId::Bridge => line.step(cx, &mut nodes.bridge),
                NodeId::Arp => line.step(cx, &mut nodes.arp),
                NodeId::Route => line.step(cx, &mut nodes.route),
                NodeId::NextHop => line.step(cx, &mut nodes.next_hop),
                NodeId::Encap => line.step(cx, &mut nodes.encap),
                NodeId::VifTx => line.end(cx, &mut nodes.vif_tx),
                NodeId::HandOff => line.end(cx, &mut nodes.hand_off),
                NodeId::Drop => line.end(cx, &mut nodes.drop),
            }
        }
    }
}

type Queue = ArrayVec<u8, BURST>;

/// The packets of a burst, and who waits where.
struct Line {
    frames: [Option<Frame>; BURST],
    metas: [Meta; BURST],
    queues: [Queue; NodeId::COUNT],
    /// Which queues are not empty, by [`NodeId::bit`].
    busy: u16,
}

impl Line {
    fn new() -> Line {
        Line {
            frames: [const { None }; BURST],
            metas: std::array::from_fn(|_| Meta::arriving(VifId(0), Spread::Allowed)),
            queues: [const { Queue::new_const() }; NodeId::COUNT],
            busy: 0,
        }
    }

    fn fill(&mut self, at: NodeId, frames: impl Iterator<Item = (Frame, VifId)>, spread: Spread) {
        let slots = self.frames.iter_mut().zip(&mut self.metas);
        for (index, ((slot, meta), (frame, rx_vif))) in (0u8..).zip(slots.zip(frames)) {
            debug_assert!(slot.is_none(), "the last burst has not ended");
            *slot = Some(frame);
            meta.arrive(rx_vif, spread);
            push(&mut self.queues, at, index);
            self.busy |= at.bit();
        }
    }

    #[inline]
    fn next(&self) -> Option<NodeId> {
        const ORDER: [NodeId; NodeId::COUNT] = [
            NodeId::VifRx,
            NodeId::Parse,
            NodeId::Decap,
            NodeId::Bridge,
            NodeId::Arp,
            NodeId::Route,
            NodeId::NextHop,
            NodeId::Encap,
            NodeId::VifTx,
            NodeId::HandOff,
            NodeId::Drop,
        ];
        ORDER.get(self.busy.trailing_zeros() as usize).copied()
    }

    #[inline]
    fn take(&mut self, id: NodeId) -> Queue {
        self.busy &= !id.bit();
        self.queues.get_mut(id as usize).map(std::mem::take).unwrap_or_default()
    }

    #[inline]
    fn packet(&mut self, index: u8) -> Option<Packet<'_>> {
        let index = usize::from(index);
        let frame = self.frames.get_mut(index)?.as_mut()?;
        Some(Packet { frame, meta: self.metas.get_mut(index)? })
    }

    #[inline]
    fn step<N: Node>(&mut self, cx: &mut Cx<'_>, node: &mut N) {
        let work = self.take(N::ID);
        node.gather(cx, work.iter().filter_map(|index| self.metas.get(usize::from(*index))));
        let mut busy = 0;
        for (position, &index) in work.iter().enumerate() {
            if let Some(&ahead) = work.get(position + AHEAD)
                && let Some(Some(frame)) = self.frames.get(usize::from(ahead))
            {
                node.ahead(frame);
            }
            let Some(mut packet) = self.packet(index) else { continue };
            let next = node.step(cx, &mut packet);
            debug_assert!(
                N::EDGES.contains(&next.node()),
                "{:?} has no edge to {:?}",
                N::ID,
                next.node()
            );
            match next {
                Next::Drop(reason) => packet.meta.reason = reason,
                Next::HandOff(worker) => packet.meta.worker = worker,
                _ => {}
            }
            push(&mut self.queues, next.node(), index);
            busy |= next.node().bit();
        }
        self.busy |= busy;
    }

    #[inline]
    fn end<E: End>(&mut self, cx: &mut Cx<'_>, end: &mut E) {
        for index in self.take(E::ID) {
            let slot = usize::from(index);
            let Some(frame) = self.frames.get_mut(slot).and_then(Option::take) else { continue };
            let Some(meta) = self.metas.get_mut(slot) else { continue };
            if let Err((frame, reason)) = end.take(cx, frame, meta) {
                meta.reason = reason;
                if let Some(slot) = self.frames.get_mut(slot) {
                    *slot = Some(frame);
                }
                push(&mut self.queues, NodeId::Drop, index);
                self.busy |= NodeId::Drop.bit();
            }
        }
    }
}

/// A packet is in one queue at a time, so none can overflow.
#[inline]
fn push(queues: &mut [Queue; NodeId::COUNT], to: NodeId, index: u8) {
    if let Some(queue) = queues.get_mut(to as usize) {
        let pushed = queue.try_push(index);
        debug_assert!(pushed.is_ok(), "a packet waits twice");
    }
}
