//! From options to a running process, and to its orderly end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use engine::{Engine, Seat, Seed, Worker};
use port::{FramePools, Heartbeat, Memory, Umem};
use sys::eventfd::EventFd;
use tables::flow::Sessions;
use tables::limits;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{Epochs, Publisher, serve};
use crate::explain::Tracer;
use crate::export::{Exporter, FlowLog};
use crate::flows::Flows;
use crate::kernel::Kernel;
use crate::links::Links;
use crate::options::Options;
use crate::ports::{Ground, Ports};
use crate::route_changes::RouteChanges;
use crate::server::{Facts, Server};
use crate::settings::{Log, Settings};
use crate::socket_dir::SocketDir;
use crate::stations::Stations;
use crate::underlay::Underlay;
use crate::worker::{Bell, Place, Polling};
use crate::{cores, preflight, worker};

/// Bytes of a packet buffer.
const CHUNK: u32 = 2048;
// What models may rely on fits behind the headroom, with an Ethernet header.
const _: () = assert!(limits::ONE_BUFFER_MTU as u32 + 14 + port::HEADROOM as u32 <= CHUNK);
/// Requests that wait for the control thread; clients beyond wait on their sockets.
const ASKS: usize = 64;
/// How long frames may take to come home in the end.
const HOMECOMING: Duration = Duration::from_secs(2);

/// Why the process ends badly.
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    pub(crate) code: u8,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { error, code: 1 }
    }
}

/// Runs until a signal ends it.
///
/// # Errors
/// Something it needs is missing; then nothing is left behind.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    let log = Log::start(&options.log).map_err(|error| Failure { error, code: 2 })?;
    let cores = worker_cores(&options).map_err(|error| Failure { error, code: 2 })?;
    let directory = SocketDir::claim(&options.sock_dir)?;
    let heartbeat = preflight::check()?;
    if let Some(uplink) = &options.uplink {
        preflight::check_device(uplink)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control thread's runtime")?;
    let _inside = runtime.enter();
    let (mut publisher, workforce, engine, flows) = make_engine(&options, &cores, &heartbeat)?;
    let ground = Ground {
        heartbeat,
        umem: Umem::new(workforce.pools.memory()),
        pools: workforce.pools.clone(),
        workers: u8::try_from(cores.len()).unwrap_or(u8::MAX),
        sock_dir: options.sock_dir.clone(),
    };
    let flow_log = Arc::new(FlowLog::default());
    let sessions = flows.shared().0;
    let exporter = Exporter::start(options.collector(), sessions, Arc::clone(&flow_log))?;
    publisher.publish();
    let (kernel, events) = Kernel::open()?;
    let (ports, outcomes) = Ports::new(ground, engine);
    let mut server = Server {
        facts: Facts {
            started: Instant::now(),
            kernel_release: preflight::release(),
            cores,
            busy: options.busy,
            probe_neighbors: options.probe_neighbors,
        },
        publisher,
        epochs: Epochs::default(),
        settings: Settings::new(log, options.settings().mss),
        ports,
        kernel,
        links: Links::default(),
        underlay: Underlay::default(),
        route_changes: RouteChanges::default(),
        restore_at: None,
        stations: Stations::default(),
        mac_aging: aging(options.mac_aging),
        learns: false,
        flows,
        tracer: Tracer::default(),
        flow_log,
    };
    let listener = directory.listen()?;
    let ended = runtime.block_on(async {
        let listener = UnixListener::from_std(listener).context("cannot listen")?;
        let (asks, questions) = mpsc::channel(ASKS);
        tokio::spawn(serve(listener, asks, instance()));
        let stop = stop_signal()?;
        tracing::info!("vrouterd {} is up", env!("CARGO_PKG_VERSION"));
        server.run(questions, events, outcomes, stop).await
    });
    drop(directory);
    workforce.end(&mut server);
    exporter.end();
    // Openings that still wait for the kernel are not waited for.
    runtime.shutdown_background();
    Ok(ended?)
}

fn aging(seconds: u32) -> Option<Duration> {
    (seconds != 0).then(|| Duration::from_secs(seconds.into()))
}

/// The workers' threads and their packet memory.
struct Workforce {
    threads: Vec<JoinHandle<Worker>>,
    stop: Arc<AtomicBool>,
    bells: Vec<EventFd>,
    pools: FramePools,
}

impl Workforce {
    /// Stops the workers, closes all ports, and says whether every frame came home.
    fn end(self, server: &mut Server) {
        self.stop.store(true, Ordering::Relaxed);
        self.bells.iter().for_each(EventFd::ring);
        let workers: Vec<Worker> = self.threads.into_iter().filter_map(|t| t.join().ok()).collect();
        for worker in workers {
            drop(worker.close());
        }
        server.ports.close_returned();
        let deadline = Instant::now() + HOMECOMING;
        while self.pools.free_frames() < self.pools.capacity() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let dropped = server.ports.counters().drops().total();
        let (free, all) = (self.pools.free_frames(), self.pools.capacity());
        tracing::info!("ended: {free} of {all} frames are home, {dropped} packets were dropped");
        let lost = sys::memory::lost_chunks();
        if lost != 0 {
            tracing::error!("{lost} packet buffers were lost: a bug");
        }
    }
}

type Engines = (Publisher<tokio::sync::oneshot::Sender<api::Reply>>, Workforce, Engine, Flows);

fn make_engine(options: &Options, cores: &[usize], heartbeat: &Heartbeat) -> Result<Engines> {
    let memory = Memory::new(options.frames, CHUNK, "vrouterd")
        .with_context(|| format!("--frames: cannot map {} packet buffers", options.frames))?;
    let large = match options.large_frames {
        0 => None,
        count => Some(Memory::large(count, "vrouterd-large").with_context(|| {
            format!("--large-frames: cannot map {count} packet buffers of 64 KiB")
        })?),
    };
    let pools = match large {
        Some(large) => FramePools::with_large(memory, large, cores.len() + 1),
        None => FramePools::new(memory, cores.len() + 1),
    };
    let mut publisher = Publisher::new();
    let mut bells = Vec::new();
    let mut seats = Vec::new();
    for _ in cores {
        let bell = EventFd::new().context("cannot make an eventfd")?;
        let wake = Arc::new(Bell(bell.clone()));
        seats.push(Seat { reader: publisher.reader(), pool: pools.pool(), wake });
        bells.push(bell);
    }
    let (engine, mut workers) = Engine::configured(seats, Seed(random()), options.settings());
    let sessions = Sessions::new(options.sessions, workers.len(), random()).with_context(|| {
        format!("--sessions: cannot map memory for {} sessions", options.sessions)
    })?;
    let sessions = Arc::new(sessions);
    Engine::add_flows(&mut workers, &sessions, options.flow_limits())
        .context("--sessions: cannot map memory for the workers' indexes")?;
    let flows = Flows::new(sessions, workers.len(), options.flow_limits());
    let stop = Arc::new(AtomicBool::new(false));
    let polling = if options.busy { Polling::Busy } else { Polling::Adaptive };
    let mut threads = Vec::new();
    for ((worker, &core), bell) in workers.into_iter().zip(cores).zip(&bells) {
        let slot = u32::from(worker.id().0);
        let beat = heartbeat.beat(slot).context("--workers: more than the heartbeat map holds")?;
        let (bell, stop) = (bell.clone(), Arc::clone(&stop));
        threads.push(worker::spawn(worker, Place { core, polling, beat, bell, stop })?);
    }
    Ok((publisher, Workforce { threads, stop, bells, pools }, engine, flows))
}

fn worker_cores(options: &Options) -> Result<Vec<usize>> {
    let available = sys::affinity::allowed().context("cannot ask for the available cores")?;
    let wish = options.cores.as_ref().map(|list| list.0.as_slice());
    cores::assign(usize::from(options.workers), wish, &available)
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Tells this start of the process from any other.
fn instance() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One random number: the hasher's keys are.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(instance())
}
