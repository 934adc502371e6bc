//! A packet that nobody has sent: what would become of it. It goes through the same graph, turned by the same worker, of a
//! copy of the node: the same tables, sessions copied when they are met, ports in memory. Nothing of the node changes: no
//! counter, no session, no frame, no log.
//!
//! What the copy does not have: fragments that wait, stations heard lately, and how full the buckets of storms and of new
//! sessions are.

use std::io;
use std::sync::Arc;

use port::{FramePool, FramePools, Memory, MemoryEnd, MemoryPort};
use tables::flow::Sessions;
use tables::{Generation, Reader, VifId, VifKind};

use super::words::{Followed, Names};
use super::{MOST_TRACED, Trace};
use crate::counters::CounterReader;
use crate::engine::{Engine, Seat};
use crate::flow::{self, FlowLimits};
use crate::hand_off::Wake;
use crate::worker::{Event, Tick, Worker};

/// Frames of the copy, small and large: what the largest tree may need.
const FRAMES: (u32, u32) = (8192, 16);
/// Bytes of a frame.
const CHUNK: u32 = 2048;

/// What a copy of the node is made from.
pub struct Original<'a> {
    /// The node's workers: their settings.
    pub engine: &'a Engine,
    /// A view of the tables, for the copy alone.
    pub reader: Reader,
    /// Its sessions, and how much of them one interface may have.
    pub sessions: Option<(Arc<Sessions>, FlowLimits)>,
    /// The interfaces that have a port, and whether that takes trains of segments.
    pub ports: Vec<(VifId, bool)>,
    /// The time that sessions are judged by.
    pub now: Tick,
    /// What things are called.
    pub names: &'a dyn Names,
}

/// What would become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Generation of the tables it went by.
    pub generation: Generation,
    /// The packet, and what nodes made of it.
    pub packets: Vec<Followed>,
    /// What nodes made and is not in `packets`.
    pub left_out: u64,
    /// What would have left, by interface, in order.
    pub sent: Vec<(VifId, Vec<u8>)>,
}

/// Why a packet cannot be tried.
#[derive(Debug)]
pub enum ExplainError {
    /// There is no such interface.
    NoVif,
    /// It has no port of its own: frames for it come in by its parent's.
    SubInterface {
        /// The parent, if it is known.
        parent: Option<VifId>,
    },
    /// The packet is empty, or larger than any port receives.
    Length,
    /// There is no memory for a copy of the node.
    Memory(io::Error),
}

impl From<io::Error> for ExplainError {
    fn from(error: io::Error) -> ExplainError {
        ExplainError::Memory(error)
    }
}

/// A copy is turned by whoever makes it.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// Tells what would become of a packet (an Ethernet frame as `vif`'s port would receive it).
///
/// # Errors
/// See [`ExplainError`].
pub fn explain(
    original: Original<'_>,
    vif: VifId,
    packet: &[u8],
) -> Result<Explanation, ExplainError> {
    let (now, names) = (original.now, original.names);
    let mut copy = Copy::of(original, vif)?;
    copy.receives_at(vif)?;
    let (_, end) = copy.ends.iter().find(|(id, _)| *id == vif).ok_or(ExplainError::NoVif)?;
    if packet.is_empty() || !end.inject(&mut copy.pool, packet) {
        return Err(ExplainError::Length);
    }
    let told = copy.engine.trace_all(MOST_TRACED);
    debug_assert!(told.is_ok(), "its ring is empty");
    copy.worker.turn(now);
    let told = copy.engine.stop_trace();
    debug_assert!(told.is_ok(), "its ring is empty");
    copy.worker.turn(now);
    Ok(copy.conclude(names))
}

/// A node of one worker.
struct Copy {
    engine: Engine,
    worker: Worker,
    pool: FramePool,
    ends: Vec<(VifId, MemoryEnd)>,
}

impl Copy {
    fn of(original: Original<'_>, vif: VifId) -> io::Result<Copy> {
        let (small, large) = FRAMES;
        let memory = Memory::new(small, CHUNK, "explain")?;
        let pools = FramePools::with_large(memory, Memory::large(large, "explain-large")?, 2);
        let (seed, settings) = original.engine.conditions();
        let seat = Seat { reader: original.reader, pool: pools.pool(), wake: Arc::new(Nobody) };
        let (engine, mut workers) = Engine::configured([seat], seed, settings);
        let mut worker = workers.pop().ok_or(io::ErrorKind::Other)?;
        if let Some((sessions, limits)) = original.sessions {
            let copies = Arc::new(sessions.like(flow::copy::SESSIONS)?);
            Engine::add_flows(std::slice::from_mut(&mut worker), &copies, limits)?;
            worker.flows.iter_mut().for_each(|table| table.copy_from(Arc::clone(&sessions)));
        }
        let mut ends = Vec::new();
        let has_port = original.ports.iter().any(|(id, _)| *id == vif);
        // Also one whose port is not there: it is only thought of.
        let own = (!has_port).then_some((vif, false));
        for (id, takes_trains) in original.ports.into_iter().chain(own) {
            let (port, end) = MemoryPort::new("explain");
            let port = if takes_trains { port.with_trains() } else { port };
            worker.ports.add(id, 0, Box::new(port));
            ends.push((id, end));
        }
        Ok(Copy { engine, worker, pool: pools.pool(), ends })
    }

    fn receives_at(&mut self, vif: VifId) -> Result<(), ExplainError> {
        let vif = self.worker.reader.enter().vif(vif).ok_or(ExplainError::NoVif)?;
        if vif.kind == VifKind::VirtualVlan {
            let parent = vif.extras.as_ref().and_then(|extras| extras.parent);
            return Err(ExplainError::SubInterface { parent: parent.map(|(id, _)| id) });
        }
        Ok(())
    }

    fn conclude(mut self, names: &dyn Names) -> Explanation {
        let counters: CounterReader = self.engine.counters();
        let mut trace: Option<Box<Trace>> = None;
        while let Some(event) = self.engine.event(crate::hand_off::WorkerId(0)) {
            if let Event::Traced { trace: told, .. } = event {
                trace.get_or_insert(told);
            }
        }
        let fib = self.worker.reader.enter();
        let packets = trace.as_ref().map_or_else(Vec::new, |trace| trace.tell(fib, names));
        let generation = fib.generation();
        let made = packets.iter().filter(|packet| packet.made).count() as u64;
        let mut sent = Vec::new();
        for (vif, end) in &self.ends {
            sent.extend(end.collect_all(&mut self.pool).into_iter().map(|bytes| (*vif, bytes)));
        }
        for mut port in self.worker.close() {
            port.close(&mut self.pool);
        }
        let left_out = counters.spawned().saturating_sub(made);
        Explanation { generation, packets, left_out, sent }
    }
}
