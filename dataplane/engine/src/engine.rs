//! The control thread's side: makes the workers, gives them ports, reads their counters.

use std::sync::Arc;

use port::{Burst, FramePool, Port};
use tables::flow::{FlowId, Sessions};
use tables::{Reader, VifId};

use crate::assembler::Assembler;
use crate::counters::{CounterReader, Counters};
use crate::feature::marking::{DscpMode, Marking};
use crate::flow::{FlowLimits, FlowTable};
use crate::flow_hash::Seed;
use crate::graph::{Graph, Spawned};
use crate::hand_off::{Bell, Lane, Parcel, Peers, Pillow, RING, Wake, WorkerId, Workers};
use crate::learn::{Learner, SIGHTINGS, Sighting};
use crate::merge::Merger;
use crate::mss::MssClamp;
use crate::ports::Ports;
use crate::storm::{StormLimits, Storms};
use crate::trace::{Trace, TraceFilter};
use crate::worker::{COMMANDS, Command, Event, Worker};

/// What a worker is made of.
pub struct Seat {
    /// Its view of the tables.
    pub reader: Reader,
    /// Its frames.
    pub pool: FramePool,
    /// Ends its wait.
    pub wake: Arc<dyn Wake>,
}

/// A worker's command ring is full: try again after its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The worker.
    pub worker: WorkerId,
}

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {} has not taken its earlier commands yet", self.worker.0)
    }
}

impl std::error::Error for Busy {}

/// What all workers are told once. The default suits most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How much of what is flooded, punted or complained about one interface may cause.
    pub storms: StormLimits,
    /// Which TCP connections are told what fits into a tunnel.
    pub mss: MssClamp,
    /// How DSCPs of tunnels and of what they carry go together.
    pub dscp: DscpMode,
}

/// The handle on all workers.
pub struct Engine {
    lines: Box<[Line]>,
    seed: Seed,
    settings: Settings,
    /// Given out for traces.
    tickets: u64,
}

/// The rings to and from one worker.
struct Line {
    commands: rtrb::Producer<Command>,
    events: rtrb::Consumer<Event>,
    bell: Bell,
    sightings: rtrb::Consumer<Sighting>,
    counters: Arc<Counters>,
}

impl Engine {
    /// How many workers there can be.
    pub const MAX_WORKERS: usize = u8::MAX as usize;

    /// One worker a seat, each connected with all others, for the first [`Engine::MAX_WORKERS`] seats: further ones get
    /// none, so whoever offers more must look at how many workers came back. `seed` makes flow hashes unpredictable: one
    /// random number a process.
    pub fn new(seats: impl IntoIterator<Item = Seat>, seed: Seed) -> (Engine, Vec<Worker>) {
        Engine::configured(seats, seed, Settings::default())
    }

    /// The same with settings of its own.
    pub fn configured(
        seats: impl IntoIterator<Item = Seat>,
        seed: Seed,
        settings: Settings,
    ) -> (Engine, Vec<Worker>) {
        let seats: Vec<Seat> = seats.into_iter().take(Engine::MAX_WORKERS).collect();
        let count = u8::try_from(seats.len()).unwrap_or(u8::MAX);
        let pillows: Vec<Pillow> = seats.iter().map(|_| Pillow::new()).collect();
        let bells: Vec<Bell> = seats
            .iter()
            .zip(&pillows)
            .map(|(seat, pillow)| pillow.bell(seat.wake.clone()))
            .collect();
        let mut mesh = Mesh::new(&bells);
        let mut lines = Vec::new();
        let mut workers = Vec::new();
        for (index, ((seat, pillow), bell)) in
            (0..count).zip(seats.into_iter().zip(pillows).zip(&bells))
        {
            let id = WorkerId(index);
            let (commands, command_ring) = rtrb::RingBuffer::new(COMMANDS);
            let (event_ring, events) = rtrb::RingBuffer::new(COMMANDS);
            let (sighting_ring, sightings) = rtrb::RingBuffer::new(SIGHTINGS);
            let counters = Counters::new();
            let (peers, inbox) = mesh.take(id);
            lines.push(Line {
                commands,
                events,
                bell: bell.clone(),
                sightings,
                counters: Arc::clone(&counters),
            });
            let frames = seat.pool.capacity();
            workers.push(Worker {
                id,
                reader: seat.reader,
                pool: seat.pool,
                ports: Ports::new(),
                graph: Box::new(Graph::new()),
                counters,
                peers,
                inbox,
                commands: command_ring,
                events: event_ring,
                pillow,
                workers: Workers::new(id, count),
                seed,
                storms: Storms::new(settings.storms),
                assembler: Assembler::new(seed, frames, usize::from(count)),
                mss: settings.mss,
                learner: Learner::new(sighting_ring),
                spawned: Spawned::new(),
                merger: Merger::default(),
                marking: Marking::new(settings.dscp),
                flows: None,
                released: arrayvec::ArrayVec::new(),
                trace: None,
                burst: Burst::new(),
                origins: arrayvec::ArrayVec::new(),
            });
        }
        (Engine { lines: lines.into(), seed, settings, tickets: 0 }, workers)
    }

    /// Gives all workers flows: interfaces and next hops with policy have their packets judged from now on.
    ///
    /// # Errors
    /// What the system answers: there is no memory for a worker's index.
    pub fn add_flows(
        workers: &mut [Worker],
        sessions: &Arc<Sessions>,
        limits: FlowLimits,
    ) -> std::io::Result<()> {
        let count = workers.len();
        workers.iter_mut().try_for_each(|worker| {
            let frames = worker.pool.capacity();
            let table = FlowTable::new(Arc::clone(sessions), worker.id, count, frames, limits)?;
            worker.flows = Some(table);
            Ok(())
        })
    }

    /// Gives a worker one queue of an interface, and tells the others. A port that is there already is replaced and
    /// comes back as [`Event::Removed`].
    ///
    /// # Errors
    /// The port again, when a worker is [`Busy`] or there is no such worker; nothing has changed then.
    pub fn add_port(
        &mut self,
        worker: WorkerId,
        vif: VifId,
        queue: u16,
        port: Box<dyn Port>,
    ) -> Result<(), (Busy, Box<dyn Port>)> {
        if let Err(busy) = self.room(worker) {
            return Err((busy, port));
        }
        let mut port = Some(port);
        self.tell(worker, |own| match own {
            Some(()) => port.take().map(|port| Command::AddPort { vif, queue, port }),
            None => Some(Command::AddPeerPort { vif, queue, worker }),
        });
        Ok(())
    }

    /// Takes it away again: it comes back, still open, as [`Event::Removed`].
    ///
    /// # Errors
    /// [`Busy`], and nothing has changed.
    pub fn remove_port(&mut self, worker: WorkerId, vif: VifId, queue: u16) -> Result<(), Busy> {
        self.room(worker)?;
        self.tell(worker, |own| match own {
            Some(()) => Some(Command::RemovePort { vif, queue }),
            None => Some(Command::RemovePeerPort { vif, queue }),
        });
        Ok(())
    }

    /// Asks what a port is and has counted; answered as [`Event::Info`].
    ///
    /// # Errors
    /// [`Busy`].
    pub fn inspect(&mut self, worker: WorkerId, vif: VifId, queue: u16) -> Result<(), Busy> {
        let line = self.lines.get_mut(worker.index()).ok_or(Busy { worker })?;
        line.commands.push(Command::Inspect { vif, queue }).map_err(|_| Busy { worker })?;
        line.bell.ring();
        Ok(())
    }

    /// Which TCP connections are told what fits into a tunnel from now on.
    ///
    /// # Errors
    /// [`Busy`], and nothing has changed.
    pub fn clamp_mss(&mut self, mss: MssClamp) -> Result<(), Busy> {
        self.tell_all(|| Command::ClampMss(mss))?;
        self.settings.mss = mss;
        Ok(())
    }

    /// Has each worker follow the next packets that match, [`MOST_TRACED`](crate::MOST_TRACED) at most; each answers with
    /// [`Event::Traced`] when it has so many, or at [`Engine::stop_trace`]. What was followed before is answered at once.
    /// Gives what tells these answers from earlier ones.
    ///
    /// # Errors
    /// [`Busy`], and nothing has changed.
    pub fn trace(&mut self, filter: TraceFilter, count: usize) -> Result<u64, Busy> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.tell_all(|| Command::Trace(Box::new(Trace::new(ticket, Some(filter), count))))?;
        Ok(ticket)
    }

    /// Has each worker that still follows packets answer with those it has.
    ///
    /// # Errors
    /// [`Busy`], and nothing has changed.
    pub fn stop_trace(&mut self) -> Result<(), Busy> {
        self.tell_all(|| Command::StopTrace)
    }

    /// Has the worker that a flow's packets arrive at let them go on, because an agent has decided about it
    /// ([`Sessions::decide`]), or it has ended: those first that have waited.
    ///
    /// # Errors
    /// [`Busy`], and nothing has changed.
    pub fn release(&mut self, worker: WorkerId, flow: FlowId) -> Result<(), Busy> {
        self.tell_one(worker, Command::Release(flow))
    }

    /// Has a worker take in a flow that it was made the owner of ([`Sessions::make_for`]).
    ///
    /// # Errors
    /// [`Busy`], and nothing has changed.
    pub fn adopt(&mut self, worker: WorkerId, flow: FlowId) -> Result<(), Busy> {
        self.tell_one(worker, Command::Adopt(flow))
    }

    fn tell_one(&mut self, worker: WorkerId, command: Command) -> Result<(), Busy> {
        let line = self.lines.get_mut(worker.index()).ok_or(Busy { worker })?;
        line.commands.push(command).map_err(|_| Busy { worker })?;
        line.bell.ring();
        Ok(())
    }

    /// Whether a worker can be told so many things now.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn has_room(&self, worker: WorkerId, things: usize) -> Result<(), Busy> {
        let line = self.lines.get(worker.index()).filter(|line| line.commands.slots() >= things);
        line.map(|_| ()).ok_or(Busy { worker })
    }

    /// Tells one worker to follow all packets, those made by nodes too.
    pub(crate) fn trace_all(&mut self, count: usize) -> Result<(), Busy> {
        self.tell_all(|| Command::Trace(Box::new(Trace::new(0, None, count))))
    }

    /// What flow hashes are made with, and what the workers were told.
    pub(crate) fn conditions(&self) -> (Seed, Settings) {
        (self.seed, self.settings)
    }

    /// What a worker has told since the last call, oldest first.
    pub fn event(&mut self, worker: WorkerId) -> Option<Event> {
        self.lines.get_mut(worker.index())?.events.pop().ok()
    }

    /// A station that a worker has heard and the tables do not know, oldest first.
    pub fn sighting(&mut self, worker: WorkerId) -> Option<Sighting> {
        self.lines.get_mut(worker.index())?.sightings.pop().ok()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.lines.len()
    }

    /// Ends the sleep of a worker that sleeps: after a publication that somebody waits for, or to stop it.
    pub fn wake(&self, worker: WorkerId) {
        if let Some(line) = self.lines.get(worker.index()) {
            line.bell.ring();
        }
    }

    /// A reader of all workers' counters, starting at zero as of the workers' start.
    pub fn counters(&self) -> CounterReader {
        CounterReader::new(self.lines.iter().map(|line| Arc::clone(&line.counters)))
    }

    fn tell_all(&mut self, command: impl Fn() -> Command) -> Result<(), Busy> {
        let first = WorkerId(0);
        self.room(first)?;
        self.tell(first, |_| Some(command()));
        Ok(())
    }

    fn room(&self, worker: WorkerId) -> Result<(), Busy> {
        if worker.index() >= self.lines.len() {
            return Err(Busy { worker });
        }
        for (index, line) in (0u8..).zip(&self.lines) {
            if line.commands.slots() == 0 {
                return Err(Busy { worker: WorkerId(index) });
            }
        }
        Ok(())
    }

    /// One command for each worker; `Some` is passed for `worker` itself. There is room: looked up before.
    fn tell(&mut self, worker: WorkerId, mut command: impl FnMut(Option<()>) -> Option<Command>) {
        for (index, line) in self.lines.iter_mut().enumerate() {
            let own = (index == worker.index()).then_some(());
            if let Some(command) = command(own) {
                let told = line.commands.push(command);
                debug_assert!(told.is_ok(), "there was room");
                line.bell.ring();
            }
        }
    }
}

/// What a worker has of the mesh: the rings to the others by their index, and those from them.
type Ends = (Vec<Option<Lane>>, Vec<rtrb::Consumer<Parcel>>);

/// A ring for every ordered pair of workers.
struct Mesh {
    ends: Vec<Ends>,
}

impl Mesh {
    fn new(bells: &[Bell]) -> Mesh {
        let mut ends: Vec<Ends> = bells.iter().map(|_| (Vec::new(), Vec::new())).collect();
        for (to, bell) in bells.iter().enumerate() {
            let mut incoming = Vec::new();
            for (from, (lanes, _)) in ends.iter_mut().enumerate() {
                lanes.push((from != to).then(|| {
                    let (producer, consumer) = rtrb::RingBuffer::new(RING);
                    incoming.push(consumer);
                    Lane::new(producer, bell.clone())
                }));
            }
            if let Some((_, inbox)) = ends.get_mut(to) {
                *inbox = incoming;
            }
        }
        Mesh { ends }
    }

    fn take(&mut self, worker: WorkerId) -> (Peers, Box<[rtrb::Consumer<Parcel>]>) {
        let (lanes, inbox) =
            self.ends.get_mut(worker.index()).map(std::mem::take).unwrap_or_default();
        (Peers::new(lanes), inbox.into())
    }
}
