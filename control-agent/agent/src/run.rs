//! One process: signals, timers, and who hears of what.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::Time;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use crate::analytics;
use crate::attach::{self, AttachError, Links};
use crate::config::{Config, Node};
use crate::control::{Control, Input, Output};
use crate::dataplane::{self, Wish};
use crate::ids::{Ids, IdsError};
use crate::peer::bgp;

/// Changes that come within this are computed together.
const COALESCE: Duration = Duration::from_millis(5);

/// How long what could not be settled waits.
const UNSETTLED: Duration = Duration::from_secs(1);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("{0}")]
    Ids(#[from] IdsError),
    /// The process may not do its work.
    #[error("{0}")]
    Capabilities(#[from] sys::caps::Missing),
    /// The uplink cannot be used.
    #[error("{0}")]
    Uplink(String),
    /// The address of analytics cannot be had.
    #[error("{0}")]
    Analytics(String),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<AttachError> for RunError {
    fn from(error: AttachError) -> RunError {
        RunError::Uplink(error.to_string())
    }
}

/// Notes the SIGHUPs that come before [`run`] listens: they must neither end the process nor be lost.
pub struct EarlyHangups(Arc<AtomicBool>);

impl EarlyHangups {
    /// From now on. Take it before the configuration is read.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn note() -> io::Result<EarlyHangups> {
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&came))?;
        Ok(EarlyHangups(came))
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`] when it cannot start.
pub fn run(file: PathBuf, config: Config, early: &EarlyHangups) -> Result<(), RunError> {
    sys::caps::check_agent()?;
    // First: it says whether another agent runs here.
    let ids = Ids::open(&config.node.state_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut process = Process::start(file, config, ids).await?;
        if early.0.load(Ordering::Relaxed) {
            process.reload();
        }
        process.turn().await;
        Ok(())
    })
}

struct Process {
    file: PathBuf,
    control: Control,
    connections: bgp::Connections,
    /// Where calls are taken.
    listening: BTreeSet<IpAddr>,
    network: mpsc::Receiver<bgp::Event>,
    workloads: mpsc::Receiver<attach::Event>,
    configs: watch::Sender<Config>,
    wishes: watch::Sender<Option<Wish>>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    began: Instant,
    /// When to try again what could not be settled (a full disk, say), and why it could not.
    unsettled: Option<Instant>,
    problem: Option<String>,
}

impl Process {
    async fn start(file: PathBuf, config: Config, ids: Ids) -> Result<Process, RunError> {
        let links = Links::open()?;
        let uplink = attach::uplink(&links, &config.node.uplink).await?;
        let (network_events, network) = mpsc::channel(256);
        let (workload_events, workloads) = mpsc::channel(16);
        let (configs, configs_seen) = watch::channel(config.clone());
        let (wishes, wishes_seen) = watch::channel(None);
        tokio::spawn(dataplane::serve(config.node.sock_dir.clone(), wishes_seen));
        if let Some(listen) = config.analytics {
            let (directory, seen) = (config.node.sock_dir.clone(), configs_seen.clone());
            analytics::start(listen, directory, seen).await.map_err(|error| {
                RunError::Analytics(format!("analytics.listen: {listen}: {error}"))
            })?;
        }
        tokio::spawn(attach::keep(links, uplink.clone(), configs_seen, workload_events));
        info!("node {} starts, ids in {}", config.node.name, config.node.state_dir.display());
        let mut process = Process {
            file,
            control: Control::new(config, uplink, ids, Time(0)),
            connections: bgp::Connections::new(network_events),
            listening: BTreeSet::new(),
            network,
            workloads,
            configs,
            wishes,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            began: Instant::now(),
            unsettled: None,
            problem: None,
        };
        process.listen();
        Ok(process)
    }

    /// Takes calls wherever neighbours may call; once begun, for ever.
    fn listen(&mut self) {
        let config = self.control.config();
        let Some(bgp) = &config.bgp else { return };
        for neighbor in &bgp.neighbors {
            let local = config.local_address(neighbor.address);
            if self.listening.insert(local) {
                self.connections.listen(local, bgp.port);
            }
        }
    }

    async fn turn(&mut self) {
        loop {
            let deadline =
                self.control.deadline().map(|time| self.began + Duration::from_millis(time.0));
            let deadline = deadline.into_iter().chain(self.unsettled).min();
            let timer = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = self.network.recv() => {
                    let input = self.connections.input(event);
                    self.take(input);
                    self.drain().await;
                }
                Some(event) = self.workloads.recv() => self.workload(event),
                () = timer => self.take(Input::Timer),
                Some(()) = self.hangup.recv() => self.reload(),
                Some(()) = self.terminate.recv() => break,
                Some(()) = self.interrupt.recv() => break,
            }
            self.settle();
        }
        // Connections close without a word, so that peers keep our routes: the dataplane forwards on.
        self.take(Input::Stop);
        info!("ends; the dataplane forwards on");
    }

    /// Takes what else has come in, so that a thousand updates are one computation.
    async fn drain(&mut self) {
        let until = Instant::now() + COALESCE;
        while let Ok(Some(event)) = tokio::time::timeout_at(until.into(), self.network.recv()).await
        {
            let input = self.connections.input(event);
            self.take(input);
        }
    }

    fn workload(&mut self, event: attach::Event) {
        match event {
            attach::Event::Attached(name, attachment) => {
                self.take(Input::Attached(name, attachment));
            }
            attach::Event::Uplink(uplink) => self.take(Input::Uplink(uplink)),
            attach::Event::Detached(name) => self.take(Input::Detached(name)),
            // Only now peers may be told that we have told everything.
            attach::Event::FirstPass => self.take(Input::Start),
        }
    }

    fn reload(&mut self) {
        let config = match Config::load(&self.file) {
            Ok(config) => config,
            Err(refusal) => {
                error!("{refusal}; the configuration stays as it was");
                return;
            }
        };
        if let Some(what) = needs_restart(self.control.config(), &config) {
            let file = self.file.display();
            error!(
                "{file}: {what} cannot change while the agent runs; the configuration stays as it was"
            );
            return;
        }
        info!("configuration read again from {}", self.file.display());
        self.take(Input::Configure(Box::new(config.clone())));
        self.listen();
        self.settle();
        self.configs.send_replace(config);
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        let outputs = self.control.handle(input, now);
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Dial(peer, port) => {
                    let local = self.control.config().local_address(peer);
                    self.connections.dial(local, peer, port);
                }
                Output::Send(peer, id, bytes) => self.connections.send(peer, id, bytes),
                Output::Close(peer, id) => self.connections.close(peer, id),
                Output::Log(text) => info!("{text}"),
            }
        }
    }

    /// Tells peers and dataplane what follows from what was taken.
    fn settle(&mut self) {
        let mut outputs = Vec::new();
        let mut problem = None;
        match self.control.settle(&mut outputs) {
            Ok(Some(objects)) => {
                let may_sweep = self.control.may_sweep();
                let new = Wish { objects, resting: self.control.resting(), may_sweep };
                self.wishes.send_if_modified(|wish| {
                    let same = wish.as_ref() == Some(&new);
                    *wish = Some(new);
                    !same
                });
            }
            Ok(None) => {}
            Err(refusal) => problem = Some(refusal.to_string()),
        }
        if problem.is_none()
            && let [first, others @ ..] = self.control.left_out()
        {
            problem = Some(match others.len() {
                0 => first.clone(),
                count => format!("{first}; so are {count} others"),
            });
        }
        self.unsettled = problem.as_ref().map(|_| Instant::now() + UNSETTLED);
        if problem != self.problem {
            match &problem {
                Some(text) => error!("{text}; trying on"),
                None => info!("ids can be had and written again"),
            }
            self.problem = problem;
        }
        self.perform(outputs);
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The first key that differs and is used once, at the start.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let node = |what: fn(&Node) -> &Path| what(&old.node) != what(&new.node);
    let port = |config: &Config| config.bgp.as_ref().map(|bgp| bgp.port);
    if old.node.name != new.node.name {
        Some("node.name")
    } else if old.node.uplink != new.node.uplink {
        Some("node.uplink")
    } else if old.node.router_id != new.node.router_id {
        Some("node.router_id")
    } else if node(|node| &node.sock_dir) {
        Some("node.sock_dir")
    } else if node(|node| &node.state_dir) {
        Some("node.state_dir")
    } else if old.analytics != new.analytics {
        Some("analytics.listen")
    } else if port(old) != port(new) {
        Some("bgp.port")
    } else {
        None
    }
}
