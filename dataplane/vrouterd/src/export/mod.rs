//! What sessions do, told to a collector by IPFIX over UDP and kept for whoever asks: each session when it begins or is
//! denied, every interval while it goes on, and when it ends. What a rule says is to be logged is: its beginning and its end.
//!
//! | module | holds |
//! |---|---|
//! | (here) | the thread that walks the slab once a second |
//! | `ipfix` | the messages |
//! | `log` | the last records, for the control socket |
//! | `journal` | sessions of rules that log, in the process's log |
//!
//! Workers know nothing of it. The thread holds every session it has told of, so that what a session did last is still
//! there when it has ended; its slot is used again a second later than without.

mod ipfix;
mod journal;
mod log;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use engine::{Tick, flow_age};
use tables::VifId;
use tables::flow::{Flow, FlowFlags, FlowId, FlowKey, SessionFlags, SessionId, Sessions, TcpFlags};

use crate::worker::now_nanos;
use ipfix::{Encoder, EndReason, Ends, Event, Record, Traffic};
use journal::Journal;
pub(crate) use log::FlowLog;

/// How often the slab is looked through.
const LOOK: Duration = Duration::from_secs(1);
/// Between records of a session that goes on, for whoever asks.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often a collector is told again what records look like (RFC 7011 section 8.4).
const TEMPLATES: Duration = Duration::from_secs(60);
/// How often it is said that the collector cannot be reached.
const COMPLAINT: Duration = Duration::from_secs(60);
/// A session that was silent for so long has ended by that.
const IDLE: Duration = Duration::from_secs(10);
/// In place of an interface that is no workload's.
const ELSEWHERE: u32 = u32::MAX;

/// Whom to tell, and what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    /// Between records of a session that goes on.
    pub(crate) interval: Duration,
    /// Whose numbers the rules' elements have.
    pub(crate) enterprise: Option<u32>,
}

/// The running thread.
pub(crate) struct Exporter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Exporter {
    /// Starts it.
    ///
    /// # Errors
    /// No socket to the collector, or no thread.
    pub(crate) fn start(
        collector: Option<Collector>,
        sessions: Arc<Sessions>,
        log: Arc<FlowLog>,
    ) -> Result<Exporter> {
        let target = collector.map(Target::open).transpose()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (told, journal) = (Vec::new(), Journal::default());
        let mut walk = Walk { target, log, journal, sessions, told, held: 0 };
        let asked = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("flow-export".to_owned())
            .spawn(move || {
                while !asked.load(Ordering::Relaxed) {
                    walk.once();
                    std::thread::park_timeout(LOOK);
                }
                // What began or ended since the last look is told, too.
                walk.once();
                walk.rest();
            })
            .context("cannot start the thread that exports flows")?;
        Ok(Exporter { stop, thread })
    }

    /// Ends it, and tells of all sessions a last time.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread that exports flows has failed");
        }
    }
}

/// A session that was told of, and is held.
#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    generation: u8,
    forward: Traffic,
    reverse: Traffic,
}

/// A collector and the way to it.
struct Target {
    collector: Collector,
    socket: UdpSocket,
    encoder: Encoder,
    templates_at: Option<Instant>,
    complained_at: Option<Instant>,
    lost: u64,
}

impl Target {
    fn open(collector: Collector) -> Result<Target> {
        let to = collector.address;
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
        let socket = UdpSocket::bind(any).context("--ipfix: cannot make a socket")?;
        socket.connect(to).with_context(|| format!("--ipfix: there is no way to {to}"))?;
        // A collector that does not take it loses it; the thread goes on.
        socket.set_nonblocking(true).context("--ipfix: cannot set up the socket")?;
        let encoder = Encoder::new(collector.enterprise);
        let (templates_at, complained_at) = (None, None);
        Ok(Target { collector, socket, encoder, templates_at, complained_at, lost: 0 })
    }

    /// Says what records look like, when that is due.
    fn introduce(&mut self, now: Instant) {
        if self.templates_at.is_none_or(|at| now >= at + TEMPLATES) {
            self.templates_at = Some(now);
            let message = self.encoder.templates(seconds());
            self.send(&message);
        }
    }

    fn add(&mut self, record: &Record) {
        if let Some(message) = self.encoder.add(record, seconds()) {
            self.send(&message);
        }
    }

    fn flush(&mut self) {
        if let Some(message) = self.encoder.finish(seconds()) {
            self.send(&message);
        }
    }

    fn send(&mut self, message: &[u8]) {
        let Err(error) = self.socket.send(message) else { return };
        self.lost += 1;
        let now = Instant::now();
        if self.complained_at.is_none_or(|at| now >= at + COMPLAINT) {
            self.complained_at = Some(now);
            let (to, lost) = (self.collector.address, self.lost);
            tracing::warn!("collector {to}: {error}; {lost} messages were lost so far");
        }
    }
}

/// What the thread knows.
struct Walk {
    target: Option<Target>,
    log: Arc<FlowLog>,
    journal: Journal,
    sessions: Arc<Sessions>,
    /// By slot; empty while nobody wants to know.
    told: Vec<Option<Told>>,
    /// How many of them are held.
    held: usize,
}

impl Walk {
    /// Looks at every session, if somebody wants to know and there are any.
    fn once(&mut self) {
        let now = Instant::now();
        if !self.is_all_wanted() && self.sessions.logged() == 0 {
            return self.rest();
        }
        self.target.iter_mut().for_each(|target| target.introduce(now));
        if self.held == 0 && self.sessions.flows() == 0 {
            return;
        }
        self.told.resize(self.sessions.slab().sessions() as usize + 1, None);
        for number in 1..=self.sessions.slab().sessions() {
            if let Some(id) = self.sessions.slab().session_id(number) {
                self.look_at(id, number, now);
            }
        }
        self.target.iter_mut().for_each(Target::flush);
        self.journal.flush();
    }

    /// Whether somebody wants to know of all sessions, and not only of those that are logged.
    fn is_all_wanted(&self) -> bool {
        self.target.is_some() || self.log.is_wanted()
    }

    fn is_logged(&self, id: SessionId) -> bool {
        let session = self.sessions.session(id.forward());
        session.is_some_and(|session| session.flags().contains(SessionFlags::LOG))
    }

    /// Tells of all sessions that were told of, and holds none of them any longer.
    fn rest(&mut self) {
        let told = std::mem::take(&mut self.told);
        for (number, told) in (0..).zip(told) {
            let id = self.sessions.slab().session_id(number);
            if let (Some(told), Some(id)) = (told, id) {
                self.tell(id, &told, Event::Update, EndReason::Active);
                self.sessions.let_go(id.forward());
            }
        }
        self.held = 0;
        self.target.iter_mut().for_each(Target::flush);
    }

    /// Between records of a session that goes on.
    fn interval(&self) -> Duration {
        self.target.as_ref().map_or(INTERVAL, |target| target.collector.interval)
    }

    fn look_at(&mut self, id: SessionId, number: u32, now: Instant) {
        let forward = id.forward();
        let known = self.told.get(number as usize).copied().flatten();
        let Some(told) = known else { return self.meet(id, number, now) };
        if self.sessions.session(forward).is_none_or(|session| session.has_ended()) {
            let reason = self.why_ended(forward);
            self.tell(id, &told, Event::Deleted, reason);
            self.log(id, Event::Deleted, reason);
            self.sessions.let_go(forward);
            return self.note(number, None);
        }
        if now >= told.at + self.interval() {
            let (forward, reverse) = self.traffic(id);
            if (forward, reverse) != (told.forward, told.reverse) {
                let event = if self.denied(id) { Event::Denied } else { Event::Update };
                self.tell(id, &told, event, EndReason::Active);
            }
            self.note(number, Some(Told { at: now, forward, reverse, ..told }));
        }
    }

    /// A session that was not told of.
    fn meet(&mut self, id: SessionId, number: u32, now: Instant) {
        let forward = id.forward();
        let is_alive = |flow: Flow<'_>| {
            let flags = flow.state().flags();
            flags.contains(FlowFlags::ALIVE) && !flags.contains(FlowFlags::DEAD)
        };
        let wanted = self.is_all_wanted() || self.is_logged(id);
        if !wanted
            || !self.sessions.flow(forward).is_some_and(is_alive)
            || !self.sessions.hold(forward)
        {
            return;
        }
        let generation = self.sessions.flow(forward).map_or(0, |flow| flow.state().generation());
        let nothing =
            Told { at: now, generation, forward: Traffic::default(), reverse: Traffic::default() };
        let (forward, reverse) = self.traffic(id);
        let event = if self.denied(id) { Event::Denied } else { Event::Created };
        self.tell(id, &nothing, event, EndReason::Active);
        self.log(id, event, EndReason::Active);
        self.note(number, Some(Told { forward, reverse, ..nothing }));
    }

    fn note(&mut self, number: u32, told: Option<Told>) {
        if let Some(place) = self.told.get_mut(number as usize) {
            self.held += usize::from(told.is_some());
            self.held -= usize::from(place.is_some());
            *place = told;
        }
    }

    fn denied(&self, id: SessionId) -> bool {
        let flow = self.sessions.flow(id.forward());
        flow.is_some_and(|flow| flow.state().flags().contains(FlowFlags::DENIED))
    }

    /// What both directions have carried.
    fn traffic(&self, id: SessionId) -> (Traffic, Traffic) {
        let of = |id: FlowId| {
            let (packets, bytes) = self.sessions.flow(id).map_or((0, 0), |flow| flow.counts());
            Traffic { packets, bytes }
        };
        let reverse =
            if self.is_two_sided(id) { of(id.forward().other()) } else { Traffic::default() };
        (of(id.forward()), reverse)
    }

    fn is_two_sided(&self, id: SessionId) -> bool {
        let session = self.sessions.session(id.forward());
        session.is_some_and(|session| !session.flags().contains(SessionFlags::ONE_SIDED))
    }

    fn why_ended(&self, forward: FlowId) -> EndReason {
        let Some(flow) = self.sessions.flow(forward) else { return EndReason::Forced };
        if flow.tcp().contains(TcpFlags::DEAD) {
            return EndReason::End;
        }
        let other = self.sessions.flow(forward.other());
        let now = Tick(now_nanos());
        let silent = |flow: Flow<'_>| flow_age(now, flow.seen()) >= IDLE;
        match silent(flow) && other.is_none_or(silent) {
            true => EndReason::Idle,
            false => EndReason::Forced,
        }
    }

    /// Makes a record of what a session did since `told`.
    fn tell(&mut self, id: SessionId, told: &Told, event: Event, reason: EndReason) {
        let Some(record) = self.record(id, told, event, reason) else { return };
        if let Some(target) = &mut self.target {
            target.add(&record);
        }
        if self.log.is_wanted() {
            self.log.push(record);
        }
    }

    /// Logs a session that begins or ends, if its rule says so.
    fn log(&mut self, id: SessionId, event: Event, reason: EndReason) {
        if !self.is_logged(id) {
            return;
        }
        let generation =
            self.sessions.flow(id.forward()).map_or(0, |flow| flow.state().generation());
        let (forward, reverse) = (Traffic::default(), Traffic::default());
        let whole = Told { at: Instant::now(), generation, forward, reverse };
        if let Some(record) = self.record(id, &whole, event, reason) {
            self.journal.write(&record);
        }
    }

    fn record(
        &self,
        id: SessionId,
        told: &Told,
        event: Event,
        reason: EndReason,
    ) -> Option<Record> {
        let first = id.forward();
        let (flow, session) = (self.sessions.flow(first)?, self.sessions.session(first)?);
        let key = flow.key();
        let translated = match self.is_two_sided(id) {
            true => self.sessions.flow(first.other())?.key(),
            false => key.reversed(key.scope),
        };
        let (forward, reverse) = self.traffic(id);
        let since = |now: Traffic, then: Traffic| Traffic {
            packets: now.packets.saturating_sub(then.packets),
            bytes: now.bytes.saturating_sub(then.bytes),
        };
        let (now, wall) = (Tick(now_nanos()), milliseconds());
        let ago = |then: u32| {
            let age = u64::try_from(flow_age(now, then).as_millis()).unwrap_or(u64::MAX);
            wall.saturating_sub(age)
        };
        let (from, to) = flow.ends();
        let vif = |id: Option<VifId>| id.map_or(ELSEWHERE, |id| id.0.into());
        let (vrf, behind) = session.vrfs();
        let (network, group) = session.rules();
        Some(Record {
            id: u64::from(told.generation) << 32 | u64::from(first.index()),
            ends: ends(&key),
            translated: ends(&translated.reversed(translated.scope)),
            protocol: key.protocol,
            forward: since(forward, told.forward),
            reverse: since(reverse, told.reverse),
            start: ago(session.created()),
            end: ago(flow.seen()),
            event,
            reason,
            vrfs: (vrf.0, behind.0),
            vifs: (vif(from), vif(to)),
            rules: (network.0, group.0),
            drop_reason: session.reason(),
            identities: flow.identities(),
        })
    }
}

/// Addresses, and ports where there are any.
fn ends(key: &FlowKey) -> Ends {
    use wire::protocol::{SCTP, TCP, UDP};
    let has_ports = matches!(key.protocol, TCP | UDP | SCTP);
    Ends {
        source: key.addresses.source(),
        destination: key.addresses.destination(),
        ports: if has_ports { (key.source_port(), key.destination_port()) } else { (0, 0) },
    }
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Wraps in 2106.
fn seconds() -> u32 {
    u32::try_from(milliseconds() / 1000).unwrap_or(u32::MAX)
}
