//! One worker between a replaying source and a sink, programmed for a scenario.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use engine::{Engine, FlowLimits, Rate, Seat, Seed, Tick, Wake, Worker, WorkerId};
use port::{Burst, Frame, FramePool, FramePools, Memory, MemoryPort, Port, PortInfo, ReplayPort};
use tables::flow::Sessions;
use tables::{Model, Op, Owner, Writer};

use super::once::{Nowhere, Once};
use super::scenario::Scenario;

/// Packets of a turn.
pub(crate) const BURST: u32 = 64;
const _: () = assert!(BURST as usize == port::BURST);

struct NeverAsleep;

impl Wake for NeverAsleep {
    fn wake(&self) {}
}

pub(crate) struct Site {
    engine: Engine,
    worker: Worker,
    pools: FramePools,
    pool: FramePool,
    source: ReplayPort,
    sink: ReplayPort,
    burst: Burst,
    capacity: usize,
    /// Whether the packets end here.
    drops: bool,
    /// Sessions begun a second.
    pub(crate) begun: Option<f64>,
    /// What the worker goes by; not here while somebody else changes it.
    pub(crate) tables: Option<(Model, Writer)>,
}

impl Site {
    pub(crate) fn new(scenario: &Scenario) -> Result<Site> {
        let packets = scenario.packets();
        let mut site = Site::with_packets(scenario, &packets, scenario.sessions().unwrap_or(0))?;
        site.begin_sessions(scenario, packets.len());
        Ok(site)
    }

    /// With other packets, which may begin so many sessions.
    pub(crate) fn with_packets(
        scenario: &Scenario,
        packets: &[Vec<u8>],
        sessions: u32,
    ) -> Result<Site> {
        // The worker's ports and the shim's have a set of frames each.
        let frames = u32::try_from(packets.len() * 2 + 512)?;
        let pools = FramePools::new(Memory::new(frames, 2048, "bench")?, 2);
        let mut pool = pools.pool();
        let (model, mut writer) = program(scenario)?;
        let seat =
            Seat { reader: writer.reader(), pool: pools.pool(), wake: Arc::new(NeverAsleep) };
        let (mut engine, mut workers) = Engine::new([seat], Seed(0x1234_5678_9abc_def1));
        add_flows(scenario, sessions, &mut workers)?;
        let worker = workers.pop().context("no worker")?;
        let [input, output] = scenario.ports();
        let source = ReplayPort::new("source", &mut pool, packets)?;
        let sink = Sink(source.sibling("sink"));
        let ports: [(_, Box<dyn Port>); 2] = [(input, Box::new(source)), (output, Box::new(sink))];
        for (vif, port) in ports {
            engine
                .add_port(WorkerId(0), vif, 0, port)
                .map_err(|(busy, _)| anyhow::anyhow!("{busy}"))?;
        }
        let source = ReplayPort::new("shim source", &mut pool, packets)?;
        let sink = source.sibling("shim sink");
        let burst = Burst::new();
        let capacity = usize::try_from(frames)?;
        let mut site = Site {
            engine,
            worker,
            pools,
            pool,
            source,
            sink,
            burst,
            capacity,
            drops: scenario.dropped().is_some(),
            tables: Some((model, writer)),
            begun: None,
        };
        // Ports are added by a turn's commands, before it looks for packets: that is the first burst.
        site.worker.turn(Tick(0));
        Ok(site)
    }

    /// Every packet once: its session begins.
    fn begin_sessions(&mut self, scenario: &Scenario, packets: usize) {
        let Some(sessions) = scenario.sessions() else { return };
        let start = Instant::now();
        for _ in 0..packets.div_ceil(BURST as usize) {
            self.turn();
        }
        self.begun = Some(f64::from(sessions) / start.elapsed().as_secs_f64());
    }

    /// One turn of the worker: packets received.
    pub(crate) fn turn(&mut self) -> usize {
        self.worker.turn(Tick(0)).received
    }

    /// The ports alone: take a burst, give it to the sink, or back to the pool where the packets are dropped. What the
    /// worker's turn costs without the packet path.
    pub(crate) fn shim(&mut self) -> usize {
        let count = self.source.receive(&mut self.pool, &mut self.burst);
        for frame in self.burst.drain(..) {
            if self.drops {
                self.pool.give(frame);
            } else if let Err(frame) = self.sink.transmit(frame) {
                self.pool.give(frame);
            }
        }
        self.sink.flush(&mut self.pool);
        count
    }

    /// That the work is done: one packet through memory ports, its bytes judged, nothing dropped.
    pub(crate) fn verify(&mut self, scenario: &Scenario) -> Result<()> {
        let counters = self.engine.counters();
        let before = counters.drops().total();
        for _ in 0..16 {
            self.turn();
        }
        let dropped = counters.drops().total() - before;
        if let Some(reason) = scenario.dropped() {
            let expected = counters.drops().get(reason);
            ensure!(dropped > 0 && expected >= dropped, "{:?}", counters.drops());
            return Ok(());
        }
        ensure!(dropped == 0, "{dropped} packets were dropped: {:?}", counters.drops());
        let probe = Probe::new(scenario)?;
        probe.judge(scenario)
    }

    /// # Errors
    /// Something was.
    pub(crate) fn nothing_was_dropped(&self) -> Result<()> {
        let drops = self.engine.counters().drops();
        ensure!(drops.total() == 0, "{} packets were dropped: {drops:?}", drops.total());
        Ok(())
    }

    /// Everything must come home.
    pub(crate) fn close(self) -> Result<()> {
        let Site { worker, pools, mut pool, mut source, mut sink, capacity, .. } = self;
        drop(worker.close());
        source.close(&mut pool);
        sink.close(&mut pool);
        ensure!(pools.free_frames() == capacity, "frames are missing");
        Ok(())
    }
}

/// Cycles a packet of these, each of which begins a session, from a port that copies it to one that takes everything. The
/// first half has them all touch their memory for the first time, the second is measured.
///
/// # Errors
/// One was dropped, or began none.
pub(crate) fn begin(scenario: &Scenario, packets: &[Vec<u8>]) -> Result<f64> {
    let pools = FramePools::new(Memory::new(2048, 2048, "bench")?, 2);
    let (_, mut writer) = program(scenario)?;
    let seat = Seat { reader: writer.reader(), pool: pools.pool(), wake: Arc::new(NeverAsleep) };
    let (mut engine, mut workers) = Engine::new([seat], Seed(0x1234_5678_9abc_def1));
    let sessions = add_flows(scenario, u32::try_from(packets.len())?, &mut workers)?;
    let mut worker = workers.pop().context("no worker")?;
    let [input, output] = scenario.ports();
    let ports: [(_, Box<dyn Port>); 2] =
        [(input, Box::new(Once::new(packets.to_vec()))), (output, Box::new(Nowhere::default()))];
    for (vif, port) in ports {
        engine
            .add_port(WorkerId(0), vif, 0, port)
            .map_err(|(busy, _)| anyhow::anyhow!("{busy}"))?;
    }
    let mut received = 0;
    let mut until = |count: usize| {
        let (start, before) = (sys::tsc::cycles(), received);
        while received < count {
            let burst = worker.turn(Tick(0)).received;
            ensure!(burst > 0, "the source ran dry");
            received += burst;
        }
        Ok((sys::tsc::cycles() - start, received - before))
    };
    until(packets.len() / 2)?;
    let (cycles, measured) = until(packets.len())?;
    let drops = engine.counters().drops();
    ensure!(drops.total() == 0, "{} packets were dropped: {drops:?}", drops.total());
    let flows = sessions.map_or(0, |sessions| sessions.flows());
    ensure!(flows == packets.len() * 2, "{flows} flows of {} sessions", packets.len());
    drop(worker.close());
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    Ok(cycles as f64 / measured as f64)
}

/// Room for the scenario's sessions, if it has some.
fn add_flows(
    scenario: &Scenario,
    sessions: u32,
    workers: &mut [Worker],
) -> Result<Option<Arc<Sessions>>> {
    if scenario.sessions().is_none() {
        return Ok(None);
    }
    let sessions = Arc::new(Sessions::new(sessions.max(64), workers.len(), 0x5eed)?);
    let limits = FlowLimits { rate: Rate::UNLIMITED, share: 1 };
    Engine::add_flows(workers, &sessions, limits)?;
    Ok(Some(sessions))
}

/// The scenario's tables, published.
fn program(scenario: &Scenario) -> Result<(Model, Writer)> {
    let (mut model, mut writer) = (Model::new(), Writer::new());
    let puts: Vec<Op> = scenario.objects().into_iter().map(Op::Put).collect();
    let changes = model.apply(&puts, Owner::Agent)?;
    writer.publish(&model, &changes);
    let changes = model.apply(&[Op::Put(Scenario::adjacency())], Owner::Vrouterd)?;
    writer.publish(&model, &changes);
    Ok((model, writer))
}

/// Takes what is sent and offers nothing.
struct Sink(ReplayPort);

impl Port for Sink {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn receive(&mut self, _pool: &mut FramePool, _burst: &mut Burst) -> usize {
        0
    }

    fn transmit(&mut self, frame: Frame) -> std::result::Result<(), Frame> {
        self.0.transmit(frame)
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.0.flush(pool);
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.0.close(pool);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.0.outstanding()
    }

    fn info(&self) -> PortInfo {
        self.0.info()
    }
}

/// The same tables between memory ports whose far ends can be read.
struct Probe {
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Probe {
    fn new(scenario: &Scenario) -> Result<Probe> {
        let pools = FramePools::new(Memory::new(256, 2048, "probe")?, 2);
        let mut pool = pools.pool();
        let (_, mut writer) = program(scenario)?;
        let seat =
            Seat { reader: writer.reader(), pool: pools.pool(), wake: Arc::new(NeverAsleep) };
        let (mut engine, mut workers) = Engine::new([seat], Seed(1));
        add_flows(scenario, 64, &mut workers)?;
        let mut worker = workers.pop().context("no worker")?;
        let (near, near_end) = MemoryPort::new("near");
        let (far, far_end) = MemoryPort::new("far");
        let [input, output] = scenario.ports();
        for (vif, port) in [(input, near), (output, far)] {
            engine
                .add_port(WorkerId(0), vif, 0, Box::new(port))
                .map_err(|(busy, _)| anyhow::anyhow!("{busy}"))?;
        }
        worker.turn(Tick(0));
        let sent = scenario.packets().swap_remove(0);
        ensure!(near_end.inject(&mut pool, &sent), "no frame");
        worker.turn(Tick(0));
        let received = far_end.collect_all(&mut pool).pop().context("nothing came out")?;
        drop(worker.close());
        Ok(Probe { sent, received })
    }

    fn judge(&self, scenario: &Scenario) -> Result<()> {
        let (at, mark) = scenario.mark();
        let found = self.received.get(at..at + mark.len());
        ensure!(found == Some(&mark), "{:02x?} is not {mark:02x?} at {at}", found);
        // The payload goes through as it is.
        ensure!(self.received.ends_with(&[0x5a; 22]), "the payload is {:02x?}", self.received);
        ensure!(
            self.received.len() != self.sent.len() || self.received != self.sent,
            "nothing was changed"
        );
        Ok(())
    }
}
