//! The graph: which nodes there are, and the one loop that drives a burst through them.
//!
//! Each node has a set of places in the burst. The loop takes the first node that has work, steps all of its packets
//! and puts each place in the set of the node it goes to. Packets stay where they are (`line`). Nodes are numbered in the
//! order of the drawing in the README, so that a burst runs front to back and only what is looked up again goes round once
//! more; nodes bound that themselves (`PktLoop`).

mod line;

use std::collections::VecDeque;

use port::{Frame, FramePool};
use tables::{DropReason, Fib, NhId, VifFlags, VifId, VifKind, VrfId};

use crate::assembler::Assembler;
use crate::counters::Counters;
use crate::drop_log;
use crate::feature::marking::Marking;
use crate::flow::FlowTable;
use crate::flow_hash::Seed;
use crate::hand_off::{Peers, WorkerId, Workers};
use crate::learn::Learner;
use crate::merge::Merger;
use crate::mss::MssClamp;
use crate::node;
use crate::packet::{Meta, Packet, Spread, Trap};
use crate::ports::Ports;
use crate::storm::{Storm, Storms};
use crate::trace::Trace;
use crate::worker::Tick;
use line::Line;
pub(crate) use line::Places;

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
    /// This worker's buckets.
    pub(crate) storms: &'a mut Storms,
    /// What stations were told of.
    pub(crate) learner: &'a mut Learner,
    /// Packets that nodes have made.
    pub(crate) spawned: &'a mut Spawned,
    /// Segments that wait for others.
    pub(crate) merger: &'a mut Merger,
    /// This worker's fragments that wait, and the datagrams it knows.
    pub(crate) assembler: &'a mut Assembler,
    /// Which TCP SYNs are told what fits.
    pub(crate) mss: MssClamp,
    /// How DSCPs of tunnels and of what they carry go together.
    pub(crate) marking: Marking,
    /// This worker's flows; `None` when there are none to be.
    pub(crate) flows: Option<&'a mut FlowTable>,
    /// What is written down of packets that somebody follows.
    pub(crate) trace: Option<&'a mut Trace>,
    /// When the turn began.
    pub(crate) now: Tick,
}

impl Cx<'_> {
    /// Asks for a next hop that a later node will read.
    #[inline]
    pub(crate) fn prefetch_next_hop(&self, nh: NhId) {
        sys::prefetch::prefetch_read(self.fib.next_hop_entry(nh));
    }

    /// Sends the agent a copy of a packet as it came in, unless there is no interface to it; `false` when it gets none.
    /// The copy is held to the punt rate like everything that goes there.
    pub(crate) fn trap_copy(&mut self, packet: &mut Packet<'_>, trap: Trap) -> bool {
        if self.fib.agent().is_none() {
            return false;
        }
        // A copy has only the bytes in the window: those of the tunnel are in front of it.
        let stripped = if packet.meta.is_from_fabric() { packet.frame.rewind() } else { 0 };
        let kept = std::mem::replace(&mut packet.meta.trap, trap);
        let copied = self.spawn_copy(packet, Next::Punt);
        packet.meta.trap = kept;
        // They were there a moment ago.
        let pulled = packet.frame.pull(stripped);
        debug_assert!(pulled.is_ok());
        copied
    }

    /// Whether what an uplink receives may go back into the fabric.
    pub(crate) fn is_fabric_gateway(&self, uplink: VifId) -> bool {
        self.fib.vif(uplink).is_some_and(|vif| vif.flags.contains(VifFlags::FABRIC_GATEWAY))
    }

    /// Ends a packet: counts it where it came in and in its VRF, logs it, and gives the frame back.
    pub(crate) fn drop_frame(
        &mut self,
        frame: Frame,
        from: (VifId, VrfId, NhId),
        reason: DropReason,
    ) {
        self.counters.dropped(from.0, from.1, reason, 1);
        self.end_frame(frame, from, reason, self.is_whole(from.0));
    }

    /// The same without counting; whether [whole](Cx::is_whole) was asked before.
    #[inline]
    pub(crate) fn end_frame(
        &mut self,
        mut frame: Frame,
        from: (VifId, VrfId, NhId),
        reason: DropReason,
        is_whole: bool,
    ) {
        // What was taken off in front is of interest, too.
        if is_whole {
            frame.rewind();
        }
        self.log_drop(&frame, from, reason);
        self.pool.give(frame);
    }

    /// Whether what was taken off packets of this interface is still there: the tag of a sub-interface was overwritten.
    pub(crate) fn is_whole(&self, vif: VifId) -> bool {
        self.fib.vif(vif).is_none_or(|vif| vif.kind != VifKind::VirtualVlan)
    }

    /// The same for a packet that has no frame of its own, or not yet: `frame` shows what it was part of.
    pub(crate) fn drop_part(&self, frame: &Frame, (vif, vrf): (VifId, VrfId), reason: DropReason) {
        self.counters.dropped(vif, vrf, reason, 1);
        self.log_drop(frame, (vif, vrf, NhId(0)), reason);
    }

    #[inline]
    fn log_drop(
        &self,
        frame: &Frame,
        (vif, vrf, next_hop): (VifId, VrfId, NhId),
        reason: DropReason,
    ) {
        let (at, generation) = (self.now, self.fib.generation());
        let drop = drop_log::Drop { at, generation, reason, vif, vrf, next_hop };
        self.counters.log().write(drop, frame.data());
    }

    /// Whether an interface may cause one more of these now.
    pub(crate) fn admit(&mut self, vif: VifId, storm: Storm) -> bool {
        self.storms.admit(vif, storm, self.now)
    }

    /// Puts a packet that a node has made (a copy, an answer, an error) into the graph, behind this burst.
    ///
    /// # Errors
    /// The frame, when too many wait already: the caller counts what is lost by that.
    pub(crate) fn spawn(&mut self, frame: Frame, meta: Meta, next: Next) -> Result<(), Frame> {
        self.spawned.push(frame, meta, next)?;
        self.counters.spawned();
        Ok(())
    }

    /// Puts a copy of a packet into the graph at `next`, behind this burst; `false` when there is no frame or no room
    /// for it.
    pub(crate) fn spawn_copy(&mut self, packet: &Packet<'_>, next: Next) -> bool {
        let Some(copy) = self.pool.copy(packet.frame) else { return false };
        match self.spawn(copy, packet.meta.clone(), next) {
            Ok(()) => true,
            Err(frame) => {
                self.pool.give(frame);
                false
            }
        }
    }
}

/// Packets that nodes have made and that are to follow the burst through the graph, in the order in which they were
/// made.
pub(crate) struct Spawned {
    waiting: VecDeque<(Frame, Meta, Next)>,
}

impl Spawned {
    /// How many wait at most.
    const MOST: usize = Spawned::FLOODED + Spawned::RESERVE;
    /// With so many waiting trees get no more copies: replication to all members of a large tree, for a few packets of a
    /// burst.
    const FLOODED: usize = 4096;
    /// What is left to all else: fragments, traps and errors of the other packets of the burst.
    const RESERVE: usize = 1024;

    pub(crate) fn new() -> Spawned {
        Spawned { waiting: VecDeque::with_capacity(Spawned::MOST) }
    }

    /// Whether there is no room for another copy of a tree's.
    pub(crate) fn is_flooded(&self) -> bool {
        self.waiting.len() >= Spawned::FLOODED
    }

    /// How many more may wait.
    pub(crate) fn room(&self) -> usize {
        Spawned::MOST - self.waiting.len()
    }

    /// Puts a packet that was received, and waited elsewhere, into the graph: it does not count as made.
    ///
    /// # Errors
    /// The frame, when too many wait already.
    pub(crate) fn push(&mut self, frame: Frame, meta: Meta, next: Next) -> Result<(), Frame> {
        if self.waiting.len() == Spawned::MOST {
            return Err(frame);
        }
        self.waiting.push_back((frame, meta, next));
        Ok(())
    }
}

/// Where a packet goes from a node.
#[expect(clippy::enum_variant_names, reason = "a next hop is called so")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Parse,
    Decap,
    /// To have its flow looked up, or judged.
    Flow,
    Bridge,
    Control,
    Route,
    NextHop,
    /// To every member of the tree that is its next hop.
    Flood,
    Encap,
    /// Out of `meta.tx_vif`.
    VifTx,
    /// A fragment, to be brought behind its datagram's head.
    Assemble,
    /// A later fragment, until the head comes.
    Hold,
    /// A packet of a flow that an agent has to decide about, until it does.
    Undecided,
    /// To be cut into pieces that fit: `meta.trap` says what does.
    Fragment,
    /// Its sender is to be told why it ends here: `meta.trap`.
    Icmp,
    /// To another worker.
    HandOff(WorkerId),
    /// To the agent, for the reason in `meta.trap` (see [`Packet::punt`]): a way is two bytes, which a register holds.
    Punt,
    /// Nowhere, for this reason.
    Drop(DropReason),
}

impl From<DropReason> for Next {
    fn from(reason: DropReason) -> Next {
        Next::Drop(reason)
    }
}

// See `Next::Punt`.
const _: () = assert!(size_of::<Next>() == 2);

impl Next {
    #[inline]
    pub(crate) const fn node(self) -> NodeId {
        match self {
            Next::Parse => NodeId::Parse,
            Next::Decap => NodeId::Decap,
            Next::Flow => NodeId::Flow,
            Next::Bridge => NodeId::Bridge,
            Next::Control => NodeId::Control,
            Next::Route => NodeId::Route,
            Next::NextHop => NodeId::NextHop,
            Next::Flood => NodeId::Flood,
            Next::Encap => NodeId::Encap,
            Next::VifTx => NodeId::VifTx,
            Next::Assemble => NodeId::Assemble,
            Next::Hold => NodeId::Hold,
            Next::Undecided => NodeId::Undecided,
            Next::Fragment => NodeId::Fragment,
            Next::Icmp => NodeId::Icmp,
            Next::HandOff(_) => NodeId::HandOff,
            Next::Punt => NodeId::Punt,
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
    Flow,
    Bridge,
    Control,
    Route,
    NextHop,
    Flood,
    Encap,
    VifTx,
    Assemble,
    Hold,
    Undecided,
    Fragment,
    Icmp,
    HandOff,
    Punt,
    Drop,
}

impl NodeId {
    const COUNT: usize = NodeId::Drop as usize + 1;

    /// As its file is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            NodeId::VifRx => "vif_rx",
            NodeId::Parse => "parse",
            NodeId::Decap => "decap",
            NodeId::Flow => "flow",
            NodeId::Bridge => "bridge",
            NodeId::Control => "control",
            NodeId::Route => "route",
            NodeId::NextHop => "next_hop",
            NodeId::Flood => "flood",
            NodeId::Encap => "encap",
            NodeId::VifTx => "vif_tx",
            NodeId::Assemble => "assemble",
            NodeId::Hold => "hold",
            NodeId::Undecided => "undecided",
            NodeId::Fragment => "fragment",
            NodeId::Icmp => "icmp",
            NodeId::HandOff => "hand_off",
            NodeId::Punt => "punt",
            NodeId::Drop => "drop",
        }
    }

    const ORDER: [NodeId; NodeId::COUNT] = [
        NodeId::VifRx,
        NodeId::Parse,
        NodeId::Decap,
        NodeId::Flow,
        NodeId::Bridge,
        NodeId::Control,
        NodeId::Route,
        NodeId::NextHop,
        NodeId::Flood,
        NodeId::Encap,
        NodeId::VifTx,
        NodeId::Assemble,
        NodeId::Hold,
        NodeId::Undecided,
        NodeId::Fragment,
        NodeId::Icmp,
        NodeId::HandOff,
        NodeId::Punt,
        NodeId::Drop,
    ];
}

/// One step of the graph: look at a packet, say where it goes.
pub(crate) trait Node {
    /// Which one it is.
    const ID: NodeId;
    /// Every edge it may take; drawn in the README, checked in debug builds.
    const EDGES: &'static [NodeId];

    /// A new snapshot may be in use: forget what was remembered of the last one.
    fn begin(&mut self) {}

    /// All packets that are going to be stepped, in their order: what can be looked up for them together.
    #[inline]
    fn gather<'a>(&mut self, _cx: &Cx<'_>, _metas: impl Iterator<Item = &'a Meta> + Clone) {}

    /// All that were waiting have been stepped.
    #[inline]
    fn finish(&mut self, _cx: &mut Cx<'_>) {}

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

    /// All that were waiting have been taken.
    #[inline]
    fn finish(&mut self, _cx: &mut Cx<'_>) {}
}

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
    flow: node::Flow,
    bridge: node::Bridge,
    control: node::Control,
    route: node::Route,
    next_hop: node::NextHop,
    flood: node::Flood,
    encap: node::Encap,
    vif_tx: node::VifTx,
    assemble: node::Assemble,
    hold: node::Hold,
    undecided: node::Undecided,
    fragment: node::Fragment,
    icmp: node::Icmp,
    hand_off: node::HandOff,
    punt: node::Punt,
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
        nodes.flow.begin();
        nodes.bridge.begin();
        nodes.control.begin();
        nodes.route.begin();
        nodes.next_hop.begin();
        nodes.flood.begin();
        nodes.encap.begin();
    }

    /// Drives up to [`BURST`] packets from `vif_rx` to their ends, and what the nodes make of them.
    pub(crate) fn run(
        &mut self,
        cx: &mut Cx<'_>,
        frames: impl Iterator<Item = (Frame, VifId)>,
        spread: Spread,
    ) {
        self.line.fill(NodeId::VifRx, frames, spread);
        self.drive(cx);
        while self.line.admit(cx.spawned) {
            self.drive(cx);
        }
    }

    /// Drives all packets of the burst to their ends.
    fn drive(&mut self, cx: &mut Cx<'_>) {
        let Graph { nodes, line } = self;
        while let Some(id) = line.next() {
            let watched = cx.trace.is_some().then(|| before(cx, line, id));
            match id {
                NodeId::VifRx => line.step(cx, &mut nodes.vif_rx),
                NodeId::Parse => line.step(cx, &mut nodes.parse),
                NodeId::Decap => line.step(cx, &mut nodes.decap),
                NodeId::Flow => line.step(cx, &mut nodes.flow),
                NodeId::Bridge => line.step(cx, &mut nodes.bridge),
                NodeId::Control => line.step(cx, &mut nodes.control),
                NodeId::Route => line.step(cx, &mut nodes.route),
                NodeId::NextHop => line.step(cx, &mut nodes.next_hop),
                NodeId::Flood => line.step(cx, &mut nodes.flood),
                NodeId::Encap => line.step(cx, &mut nodes.encap),
                NodeId::VifTx => line.end(cx, &mut nodes.vif_tx),
                NodeId::Assemble => line.step(cx, &mut nodes.assemble),
                NodeId::Hold => line.end(cx, &mut nodes.hold),
                NodeId::Undecided => line.end(cx, &mut nodes.undecided),
                NodeId::Fragment => line.step(cx, &mut nodes.fragment),
                NodeId::Icmp => line.step(cx, &mut nodes.icmp),
                NodeId::HandOff => line.end(cx, &mut nodes.hand_off),
                NodeId::Punt => line.end(cx, &mut nodes.punt),
                NodeId::Drop => line.end(cx, &mut nodes.drop),
            }
            if let Some(places) = watched {
                after(cx, line, id, places);
            }
        }
    }
}

/// Somebody follows packets: what is known of those that wait at a node.
#[cold]
fn before(cx: &mut Cx<'_>, line: &Line, id: NodeId) -> Places {
    let places = line.waiting(id);
    if let Some(trace) = cx.trace.as_deref_mut() {
        line.packets(places).for_each(|(place, frame, meta)| trace.before(place, id, frame, meta));
    }
    places
}

/// What became of them there.
#[cold]
fn after(cx: &mut Cx<'_>, line: &Line, id: NodeId, places: Places) {
    let Some(trace) = cx.trace.as_deref_mut() else { return };
    for (place, meta, to) in line.moved(places) {
        trace.after(place, (id, to), meta, cx.flows.as_deref());
    }
}
