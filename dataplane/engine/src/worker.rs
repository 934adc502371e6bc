//! A worker: one thread's share of ports, and the turn that moves packets between them.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use port::{BURST, Burst, Frame, FramePool, Port, PortInfo};
use tables::flow::FlowId;
use tables::{NhId, Reader, VifId, VrfId};

use crate::assembler::Assembler;
use crate::counters::Counters;
use crate::feature::marking::Marking;
use crate::flow::{FlowTable, age};
use crate::flow_hash::Seed;
use crate::graph::{Cx, Graph, Spawned};
use crate::hand_off::{Parcel, Peers, Pillow, WorkerId, Workers};
use crate::learn::Learner;
use crate::merge::Merger;
use crate::mss::MssClamp;
use crate::packet::Spread;
use crate::ports::{Exit, Ports};
use crate::storm::Storms;
use crate::trace::Trace;
use crate::{merge, node};

/// Monotonic time in nanoseconds, taken by the caller once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// What the control thread asks of a worker. Ports come and go rarely, so these may allocate and make system calls.
pub(crate) enum Command {
    AddPort { vif: VifId, queue: u16, port: Box<dyn Port> },
    RemovePort { vif: VifId, queue: u16 },
    AddPeerPort { vif: VifId, queue: u16, worker: WorkerId },
    RemovePeerPort { vif: VifId, queue: u16 },
    Inspect { vif: VifId, queue: u16 },
    ClampMss(MssClamp),
    Release(FlowId),
    Adopt(FlowId),
    Trace(Box<Trace>),
    StopTrace,
}

/// What a worker tells the control thread.
pub enum Event {
    /// A port is no longer this worker's. It is still open, because closing may wait in the kernel: whoever gets this
    /// closes it, with a pool of the same frames.
    Removed {
        /// Of this interface.
        vif: VifId,
        /// This queue.
        queue: u16,
        /// The port, with the frames it holds.
        port: Box<dyn Port>,
    },
    /// What a port is and has counted.
    Info {
        /// Of this interface.
        vif: VifId,
        /// This queue.
        queue: u16,
        /// `None` when there is no such port here.
        info: Option<PortInfo>,
    },
    /// Packets that were followed: as many as were wanted, or those until it was stopped.
    Traced {
        /// By this worker.
        worker: WorkerId,
        /// What was written down.
        trace: Box<Trace>,
    },
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Packets taken from ports.
    pub received: usize,
    /// Packets taken from other workers.
    pub handed_over: usize,
    /// Commands obeyed.
    pub commands: usize,
    /// Frames that ports could not send yet.
    pub pending: usize,
}

impl Work {
    /// Nothing happened and nothing waits: a turn soon will find nothing either.
    pub fn is_idle(&self) -> bool {
        *self == Work::default()
    }
}

/// How many commands are waiting at most for one worker.
pub(crate) const COMMANDS: usize = 1024;

/// How many commands are obeyed in one turn.
pub(crate) const COMMANDS_PER_TURN: usize = 16;

/// All state of one forwarding thread: moved into it, shared with nobody.
pub struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) reader: Reader,
    pub(crate) pool: FramePool,
    pub(crate) ports: Ports,
    pub(crate) graph: Box<Graph>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) peers: Peers,
    pub(crate) inbox: Box<[rtrb::Consumer<Parcel>]>,
    pub(crate) commands: rtrb::Consumer<Command>,
    pub(crate) events: rtrb::Producer<Event>,
    pub(crate) pillow: Pillow,
    pub(crate) workers: Workers,
    pub(crate) seed: Seed,
    pub(crate) storms: Storms,
    pub(crate) learner: Learner,
    pub(crate) spawned: Spawned,
    pub(crate) merger: Merger,
    pub(crate) assembler: Assembler,
    pub(crate) mss: MssClamp,
    pub(crate) marking: Marking,
    pub(crate) flows: Option<FlowTable>,
    /// Flows whose packets have waited long enough.
    pub(crate) released: ArrayVec<FlowId, COMMANDS_PER_TURN>,
    pub(crate) trace: Option<Box<Trace>>,
    pub(crate) burst: Burst,
    pub(crate) origins: ArrayVec<VifId, BURST>,
}

impl Worker {
    /// Which worker this is.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Obeys commands, moves what other workers handed over and what the ports have received through the graph, and
    /// flushes. Never waits. `now` is when the turn began; it is what ages and limits are judged by.
    pub fn turn(&mut self, now: Tick) -> Work {
        let commands = if self.commands.is_empty() { 0 } else { self.obey() };
        let fib = self.reader.enter();
        self.ports.follow(fib);
        let mut cx = Cx {
            fib,
            counters: &self.counters,
            pool: &mut self.pool,
            ports: &mut self.ports,
            peers: &mut self.peers,
            workers: self.workers,
            seed: self.seed,
            storms: &mut self.storms,
            learner: &mut self.learner,
            spawned: &mut self.spawned,
            merger: &mut self.merger,
            assembler: &mut self.assembler,
            mss: self.mss,
            marking: self.marking,
            flows: self.flows.as_mut(),
            trace: self.trace.as_deref_mut(),
            now,
        };
        if let Some(trace) = cx.trace.as_deref_mut() {
            trace.begin(fib.generation(), now);
        }
        self.graph.begin();
        if cx.assembler.waiting.due() <= now {
            node::expire(&mut cx);
        }
        if let Some(flows) = cx.flows.as_deref_mut() {
            flows.begin(fib.generation(), now);
            if flows.sweep.is_due(now) {
                age::sweep(flows, fib, now);
            }
            if flows.waiting.due() <= now {
                node::give_up(&mut cx);
            }
        }
        if !self.released.is_empty() {
            self.released.drain(..).for_each(|id| node::release(&mut cx, id));
            self.graph.run(&mut cx, std::iter::empty(), Spread::Done);
        }
        let mut load = Load { burst: &mut self.burst, origins: &mut self.origins };
        let handed_over = take_parcels(&mut cx, &mut self.graph, &mut load, &mut self.inbox);
        let received = receive(&mut cx, &mut self.graph, &mut load);
        if !cx.merger.is_empty() {
            merge::flush(&mut cx);
        }
        let pending = self.ports.flush(&mut self.pool, now);
        self.peers.ring();
        if self.trace.as_ref().is_some_and(|trace| trace.is_full()) {
            self.hand_in();
        }
        Work { received, handed_over, commands, pending }
    }

    /// Announces that this thread is going to wait, and lets go of the tables, so that publishing need not wait for it.
    /// `true`: nothing waits here now, and whatever comes wakes one of [`Worker::poll_fds`] or the worker's `Wake`.
    /// `false`: there is work; take a turn instead. Either way the next turn ends the sleep.
    pub fn lie_down(&mut self) -> bool {
        self.ports.flush_all(&mut self.pool);
        self.reader.sleep();
        self.pillow.lie_down();
        let work = !self.commands.is_empty()
            || self.inbox.iter().any(|ring| !ring.is_empty())
            || self.ports.pending() != 0;
        if work {
            self.pillow.get_up();
        }
        !work
    }

    /// Ends the sleep. Needed only for a caller that does not take a turn at once.
    pub fn get_up(&mut self) {
        self.pillow.get_up();
    }

    /// What becomes readable when a port has received something. Changes with each command.
    pub fn poll_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ports.bound().filter_map(Port::poll_fd)
    }

    /// Whether some port can only be polled, or has no frames to receive into, so that the caller must not sleep for
    /// long.
    pub fn must_poll(&self) -> bool {
        self.ports.starved() || self.ports.bound().any(|port| port.poll_fd().is_none())
    }

    /// When a turn is due even if nothing comes, for what waits here and is then to be dropped.
    pub fn due(&self) -> Option<Tick> {
        let flows = self.flows.as_ref().filter(|flows| !flows.index.is_empty());
        let flows =
            flows.map_or(Tick(u64::MAX), |flows| flows.sweep.due().min(flows.waiting.due()));
        Some(self.assembler.waiting.due().min(flows)).filter(|due| *due != Tick(u64::MAX))
    }

    /// Gives every frame back and returns the closed ports. Call it after all workers have stopped taking turns: what a
    /// worker hands to one that has already closed is lost.
    pub fn close(mut self) -> Vec<Box<dyn Port>> {
        let mut ports = Vec::new();
        while let Ok(command) = self.commands.pop() {
            if let Command::AddPort { port, .. } = command {
                ports.push(port);
            }
        }
        while let Some(port) = self.ports.remove_any() {
            ports.push(port);
        }
        for port in &mut ports {
            port.close(&mut self.pool);
        }
        self.assembler.waiting.close(&mut self.pool);
        if let Some(flows) = &mut self.flows {
            flows.waiting.close(&mut self.pool);
        }
        for ring in &mut self.inbox {
            while let Ok(parcel) = ring.pop() {
                self.pool.give(parcel.into_frame());
            }
        }
        self.reader.sleep();
        ports
    }

    #[cold]
    fn obey(&mut self) -> usize {
        let mut obeyed = 0;
        while obeyed < COMMANDS_PER_TURN && self.events.slots() != 0 {
            let Ok(command) = self.commands.pop() else { break };
            obeyed += 1;
            let event = self.carry_out(command);
            // There is room for one: looked up above.
            if let Some(event) = event {
                let told = self.events.push(event);
                debug_assert!(told.is_ok());
            }
        }
        obeyed
    }

    /// Gives back what was written down, or in a later turn if there is no room.
    #[cold]
    fn hand_in(&mut self) {
        if self.events.slots() != 0
            && let Some(trace) = self.trace.take()
        {
            let told = self.events.push(Event::Traced { worker: self.id, trace });
            debug_assert!(told.is_ok());
        }
    }

    fn carry_out(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::AddPort { vif, queue, port } => {
                let port = self.ports.add(vif, queue, port)?;
                Some(Event::Removed { vif, queue, port })
            }
            Command::RemovePort { vif, queue } => {
                let port = self.ports.remove(vif, queue)?;
                Some(Event::Removed { vif, queue, port })
            }
            Command::AddPeerPort { vif, queue, worker } => {
                self.ports.add_elsewhere(vif, queue, worker);
                None
            }
            Command::RemovePeerPort { vif, queue } => {
                self.ports.remove_elsewhere(vif, queue);
                None
            }
            Command::ClampMss(mss) => {
                self.mss = mss;
                None
            }
            Command::Release(flow) => {
                // No more than commands a turn.
                let noted = self.released.try_push(flow);
                debug_assert!(noted.is_ok());
                None
            }
            Command::Adopt(flow) => {
                if let Some(flows) = &mut self.flows {
                    flows.adopt(flow);
                }
                None
            }
            Command::Trace(trace) => {
                let trace = self.trace.replace(trace)?;
                Some(Event::Traced { worker: self.id, trace })
            }
            Command::StopTrace => {
                let trace = self.trace.take()?;
                Some(Event::Traced { worker: self.id, trace })
            }
            Command::Inspect { vif, queue } => {
                Some(Event::Info { vif, queue, info: self.ports.info(vif, queue) })
            }
        }
    }
}

/// The burst being filled: frames from several ports, and where each came in.
struct Load<'a> {
    burst: &'a mut Burst,
    origins: &'a mut ArrayVec<VifId, BURST>,
}

impl Load<'_> {
    fn run(&mut self, cx: &mut Cx<'_>, graph: &mut Graph, spread: Spread) {
        let frames = self.burst.drain(..).zip(self.origins.drain(..));
        graph.run(cx, frames, spread);
    }

    fn note(&mut self, vif: VifId) {
        while self.origins.len() < self.burst.len() && self.origins.try_push(vif).is_ok() {}
    }
}

/// Each port is asked once a turn for as much as a burst has room for, so that none starves another.
fn receive(cx: &mut Cx<'_>, graph: &mut Graph, load: &mut Load<'_>) -> usize {
    let mut received = 0;
    let mut index = 0;
    while let Some(bound) = cx.ports.bound_mut().get_mut(index) {
        index += 1;
        let vif = bound.vif;
        let before = load.burst.len();
        let count = bound.receive(cx.pool, load.burst);
        if count == 0 {
            continue;
        }
        let bytes: usize = load.burst.iter().skip(before).map(Frame::len).sum();
        cx.counters.received(vif, count as u64, bytes as u64);
        load.note(vif);
        received += count;
        if load.burst.is_full() {
            load.run(cx, graph, Spread::Allowed);
        }
    }
    if !load.burst.is_empty() {
        load.run(cx, graph, Spread::Allowed);
    }
    received
}

/// A burst from each of the other workers.
fn take_parcels(
    cx: &mut Cx<'_>,
    graph: &mut Graph,
    load: &mut Load<'_>,
    inbox: &mut [rtrb::Consumer<Parcel>],
) -> usize {
    let mut taken = 0;
    for ring in inbox {
        for _ in 0..BURST {
            let Ok(parcel) = ring.pop() else { break };
            taken += 1;
            match parcel {
                Parcel::Transmit { frame, exit, rx_vif, vrf } => {
                    transmit(cx, frame, exit, (rx_vif, vrf));
                }
                Parcel::Process { frame, rx_vif } => match load.burst.try_push(frame) {
                    Ok(()) => load.note(rx_vif),
                    // A burst never holds more than one ring's worth: it is run below.
                    Err(full) => cx.pool.give(full.element()),
                },
            }
        }
        if !load.burst.is_empty() {
            load.run(cx, graph, Spread::Done);
        }
    }
    taken
}

/// Sends what another worker has decided to send here.
fn transmit(cx: &mut Cx<'_>, frame: Frame, exit: Exit, from: (VifId, VrfId)) {
    let bytes = frame.len();
    // A frame that comes over a ring goes to a port of ours or nowhere: it is not passed on again.
    match cx.ports.send_own(frame, exit.vif) {
        Ok(()) => cx.counters.sent(exit.counted, 1, bytes as u64),
        Err(refused) => {
            if let Err((frame, reason)) = node::not_sent(cx, refused, exit, from) {
                cx.drop_frame(frame, (from.0, from.1, NhId(0)), reason);
            }
        }
    }
}
