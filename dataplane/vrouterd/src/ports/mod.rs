//! Ports follow the model and the links: which vif has which device, in what state, on which workers.
//!
//! | module | holds |
//! |---|---|
//! | `open` | opening a device: what may wait in the kernel, in a thread of its own |
//! | `facts` | devices, ports and counters in the rows of interfaces |
//!
//! A host's vif, and a workload's whose transport is a TAP, has a device of our making, the agent's a socket: it is opened
//! without waiting for one, and made anew when somebody deletes it. A vif's port is missing (no such device), opening,
//! failed (tried again ever more rarely), or open. Everything else
//! is a change from one to the other, made by [`Ports::want`], [`Ports::links_changed`], [`Ports::opened`] and
//! [`Ports::retry`]. Closing never waits: the worker lets go of the port, it comes back as an event,
//! and is closed in a thread of its own.

mod facts;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use engine::{
    Busy, CounterReader, Engine, Event, MssClamp, Sighting, Trace, TraceFilter, WorkerId,
};
use port::{FramePools, Kept, PortInfo};
use sys::ethtool::LinkSpeed;
use tables::flow::FlowId;
use tables::{Vif, VifId, VifKind};
use tokio::sync::mpsc;

use crate::kernel::IfIndex;
use crate::links::Links;

pub(crate) use facts::Facts;
pub(crate) use open::Ground;
use open::{Device, HostLink, Opened, Order, Origin};

/// How long the first repetition of a failed opening waits, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often it is looked whether the TAPs of workloads are still there.
const LOOK: Duration = Duration::from_secs(1);
/// How long a worker is given that has no room for commands, or has not let go of a port yet.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// How long workers may take to say what a port is.
const INSPECT_DEADLINE: Duration = Duration::from_millis(100);

/// The outcome of an opening.
pub(crate) struct Outcome {
    vif: VifId,
    attempt: u64,
    result: Result<Opened, String>,
}

/// See the module.
pub(crate) struct Ports {
    ground: Ground,
    engine: Engine,
    counters: CounterReader,
    slots: BTreeMap<VifId, Slot>,
    /// Workload queues of each worker.
    loads: Vec<usize>,
    endpoints: Vec<IpAddr>,
    attempts: u64,
    outcomes: mpsc::UnboundedSender<Outcome>,
    /// Removals that a worker had no room for.
    overdue: Vec<(WorkerId, VifId, u16)>,
    /// Ports that workers are to let go of and have not yet.
    leaving: usize,
    /// Links to be set up.
    ready: Vec<(IfIndex, VifKind)>,
    /// Answers of workers still to come.
    unanswered: usize,
    /// When to look after the TAPs of workloads.
    look_at: Instant,
    /// What workers have followed.
    traced: Vec<(WorkerId, Box<Trace>)>,
}

struct Slot {
    device: String,
    kind: VifKind,
    origin: Origin,
    /// What a device of our making is to be.
    host: HostLink,
    state: State,
    /// How long the last failed opening was followed by waiting.
    pause: Duration,
}

enum State {
    /// This kind of vif has no device.
    Portless,
    /// No device of that name.
    Missing,
    /// A thread is at it.
    Opening { attempt: u64, first: WorkerId },
    /// It was refused; tried again at `retry`.
    Failed { message: String, retry: Instant },
    /// It carries packets.
    Open(Box<OpenDevice>),
}

struct OpenDevice {
    device: Device,
    queues: Vec<(u16, WorkerId)>,
    first: WorkerId,
    infos: BTreeMap<u16, PortInfo>,
    speed: Option<LinkSpeed>,
    driver: Option<String>,
}

impl Ports {
    /// No ports yet; what becomes of openings is told over the channel given back.
    pub(crate) fn new(ground: Ground, engine: Engine) -> (Ports, mpsc::UnboundedReceiver<Outcome>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        let ports = Ports {
            counters: engine.counters(),
            loads: vec![0; engine.workers()],
            ground,
            engine,
            slots: BTreeMap::new(),
            endpoints: Vec::new(),
            attempts: 0,
            outcomes,
            overdue: Vec::new(),
            leaving: 0,
            ready: Vec::new(),
            unanswered: 0,
            look_at: Instant::now(),
            traced: Vec::new(),
        };
        (ports, receiver)
    }

    pub(crate) fn counters(&self) -> &CounterReader {
        &self.counters
    }

    pub(crate) fn counters_mut(&mut self) -> &mut CounterReader {
        &mut self.counters
    }

    /// Which TCP connections are told what fits into a tunnel.
    ///
    /// # Errors
    /// A worker is busy; nothing has changed.
    pub(crate) fn clamp_mss(&mut self, mss: MssClamp) -> Result<(), Busy> {
        self.engine.clamp_mss(mss)
    }

    pub(crate) fn pools(&self) -> &FramePools {
        &self.ground.pools
    }

    /// A vif is wanted so, or not at all. One whose device and kind did not change is left alone.
    pub(crate) fn want(&mut self, vif: VifId, wanted: Option<&Vif>, links: &Links) {
        let Some(wanted) = wanted else {
            self.close(vif);
            self.slots.remove(&vif);
            return;
        };
        let host = HostLink { mac: wanted.mac, mtu: wanted.mtu };
        let origin = Origin::of(wanted);
        let known = self.slots.get_mut(&vif);
        if let Some(slot) = known
            && slot.device == wanted.name
            && slot.kind == wanted.kind
            && slot.origin == origin
        {
            if std::mem::replace(&mut slot.host, host) != host {
                change_host(slot, &self.ground.pools);
            }
            return;
        }
        let known = self.slots.get(&vif);
        if known.is_none() {
            self.counters.clear_vif(vif);
        }
        self.close(vif);
        let state = if origin == Origin::Nowhere { State::Portless } else { State::Missing };
        let (device, kind, pause) = (wanted.name.clone(), wanted.kind, Duration::ZERO);
        self.slots.insert(vif, Slot { device, kind, origin, host, state, pause });
        self.begin(vif, links);
    }

    /// Links of these names came, went or changed.
    pub(crate) fn links_changed(&mut self, names: &BTreeSet<String>, links: &Links) {
        let concerned: Vec<VifId> = self
            .slots
            .iter()
            .filter(|(_, slot)| names.contains(&slot.device))
            .map(|(&vif, _)| vif)
            .collect();
        for vif in concerned {
            self.link_changed(vif, links);
        }
    }

    fn link_changed(&mut self, vif: VifId, links: &Links) {
        let Some(slot) = self.slots.get(&vif) else { return };
        let link = links.named(&slot.device);
        match (&slot.state, link) {
            (State::Open(open), link) => match (&open.device, link) {
                (Device::Found(device), Some(link)) if device.ifindex() == link.index => {
                    if let Err(error) = device.set_mac(link.mac.0) {
                        tracing::warn!("{error}");
                    }
                    match device.keep() {
                        Ok(Kept::There) => {}
                        Ok(Kept::Restored) => {
                            tracing::warn!(
                                "{}: its XDP program was taken off; it is back",
                                link.name
                            );
                        }
                        // Opening it again fails for the same reason, which its row then shows.
                        Err(error) => {
                            tracing::error!("{error}");
                            self.close(vif);
                            self.begin(vif, links);
                        }
                    }
                }
                // What was heard may be of a predecessor's.
                (made @ (Device::Made { .. } | Device::Socket { .. }), _) if made.is_there() => {}
                _ => {
                    self.close(vif);
                    self.begin(vif, links);
                }
            },
            // Its outcome is judged by the links as they are then.
            (State::Portless | State::Opening { .. }, _) => {}
            _ => {
                self.close(vif);
                self.begin(vif, links);
            }
        }
    }

    /// Tries again what is due.
    pub(crate) fn retry(&mut self, links: &Links) {
        for (worker, vif, queue) in std::mem::take(&mut self.overdue) {
            self.remove(worker, vif, queue);
        }
        let now = Instant::now();
        let due: Vec<VifId> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.state, State::Failed { retry, .. } if retry <= now))
            .map(|(&vif, _)| vif)
            .collect();
        for vif in due {
            self.begin(vif, links);
        }
        self.look_after_taps(links);
    }

    /// A workload's TAP goes with its network namespace, or is deleted in there: nobody tells, so it is looked at.
    fn look_after_taps(&mut self, links: &Links) {
        self.look_at = Instant::now() + LOOK;
        let gone = |slot: &Slot| match &slot.state {
            State::Open(open) => slot.origin == Origin::Workload && !open.device.is_there(),
            _ => false,
        };
        let gone: Vec<VifId> =
            self.slots.iter().filter(|(_, slot)| gone(slot)).map(|(&vif, _)| vif).collect();
        for vif in gone {
            self.close(vif);
            self.begin(vif, links);
        }
    }

    /// When to call [`Ports::retry`].
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        let failed = self.slots.values().filter_map(|slot| match slot.state {
            State::Failed { retry, .. } => Some(retry),
            _ => None,
        });
        let waits = !self.overdue.is_empty() || self.leaving > 0;
        let overdue = waits.then(|| Instant::now() + BUSY_PAUSE);
        let has_taps = self.slots.values().any(|slot| slot.origin == Origin::Workload);
        let look = has_taps.then_some(self.look_at);
        failed.chain(overdue).chain(look).min()
    }

    /// An opening has ended.
    pub(crate) fn opened(&mut self, outcome: Outcome, links: &Links) {
        let Outcome { vif, attempt, result } = outcome;
        let current = self.slots.get(&vif).is_some_and(
            |slot| matches!(slot.state, State::Opening { attempt: at, .. } if at == attempt),
        );
        let index =
            self.slots.get(&vif).and_then(|slot| links.named(&slot.device)).map(|l| l.index);
        match result {
            Ok(opened) if current && is_current(&opened.device, index) => {
                self.take_over(vif, opened);
            }
            Ok(opened) => {
                opened.close(&self.ground.pools);
                if current {
                    // The device was replaced meanwhile.
                    self.close(vif);
                    self.begin(vif, links);
                }
            }
            Err(message) if current => self.fail(vif, message, links),
            Err(_) => {}
        }
    }

    /// Links that are to be set up, once each.
    pub(crate) fn take_ready(&mut self) -> Vec<(IfIndex, VifKind)> {
        std::mem::take(&mut self.ready)
    }

    /// The open uplinks.
    pub(crate) fn uplinks(&self) -> impl Iterator<Item = (VifId, IfIndex)> {
        self.slots.iter().filter_map(|(&vif, slot)| match &slot.state {
            State::Open(open) if slot.kind == VifKind::Physical => {
                Some((vif, open.device.ifindex()?))
            }
            _ => None,
        })
    }

    /// The addresses whose tunnel packets the uplinks take.
    pub(crate) fn set_endpoints(&mut self, endpoints: BTreeSet<IpAddr>) {
        let endpoints: Vec<IpAddr> = endpoints.into_iter().collect();
        if self.endpoints == endpoints {
            return;
        }
        self.endpoints = endpoints;
        for slot in self.slots.values() {
            if let State::Open(open) = &slot.state
                && let Device::Found(device) = &open.device
            {
                steer(device, &self.endpoints);
            }
        }
    }

    /// Asks workers what the ports of a vif (or of all) are, and waits for their answers, though not for long.
    pub(crate) async fn inspect(&mut self, vif: Option<VifId>) {
        self.take_events();
        let mut asked = Vec::new();
        for (&id, slot) in &self.slots {
            if let State::Open(open) = &slot.state
                && vif.is_none_or(|vif| vif == id)
            {
                asked.extend(open.queues.iter().map(|&(queue, worker)| (worker, id, queue)));
            }
        }
        for (worker, vif, queue) in asked {
            self.unanswered += usize::from(self.engine.inspect(worker, vif, queue).is_ok());
        }
        let deadline = Instant::now() + INSPECT_DEADLINE;
        while self.unanswered > 0 && Instant::now() < deadline {
            self.take_events();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.unanswered = 0;
    }

    /// A station that some worker has heard and the tables do not know.
    pub(crate) fn sighting(&mut self) -> Option<Sighting> {
        let workers = 0..u8::try_from(self.engine.workers()).unwrap_or(u8::MAX);
        workers.into_iter().find_map(|worker| self.engine.sighting(WorkerId(worker)))
    }

    /// The interfaces that have an open port, and whether that takes trains.
    pub(crate) fn open_ports(&self) -> Vec<(VifId, bool)> {
        let open = |(&vif, slot): (&VifId, &Slot)| match &slot.state {
            State::Open(open) => Some((vif, matches!(open.device, Device::Made { .. }))),
            _ => None,
        };
        self.slots.iter().filter_map(open).collect()
    }

    /// The workers.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Has the workers follow packets; gives the ticket of the answers, and how many there will be.
    ///
    /// # Errors
    /// A worker is busy; nothing has changed.
    pub(crate) fn trace(
        &mut self,
        filter: TraceFilter,
        count: usize,
    ) -> Result<(u64, usize), Busy> {
        Ok((self.engine.trace(filter, count)?, self.engine.workers()))
    }

    /// Whether a worker can be told so many things now.
    pub(crate) fn has_room(&self, worker: WorkerId, things: usize) -> Result<(), Busy> {
        self.engine.has_room(worker, things)
    }

    /// Has a worker take in a flow that it was made the owner of.
    pub(crate) fn adopt(&mut self, worker: WorkerId, flow: FlowId) -> Result<(), Busy> {
        self.engine.adopt(worker, flow)
    }

    /// Has a worker let a flow's packets go on.
    pub(crate) fn release(&mut self, worker: WorkerId, flow: FlowId) -> Result<(), Busy> {
        self.engine.release(worker, flow)
    }

    /// Has them hand in what they have.
    ///
    /// # Errors
    /// A worker is busy; nothing has changed.
    pub(crate) fn stop_trace(&mut self) -> Result<(), Busy> {
        self.engine.stop_trace()
    }

    /// What workers have followed since the last call.
    pub(crate) fn take_traced(&mut self) -> Vec<(WorkerId, Box<Trace>)> {
        self.take_events();
        std::mem::take(&mut self.traced)
    }

    /// Takes what workers have told.
    pub(crate) fn take_events(&mut self) {
        for worker in 0..self.engine.workers() {
            let worker = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
            while let Some(event) = self.engine.event(worker) {
                match event {
                    Event::Removed { mut port, .. } => {
                        self.leaving = self.leaving.saturating_sub(1);
                        let pools = self.ground.pools.clone();
                        tokio::task::spawn_blocking(move || port.close(&mut pools.pool()));
                    }
                    Event::Info { vif, queue, info } => {
                        self.unanswered = self.unanswered.saturating_sub(1);
                        self.note_info(vif, queue, info);
                    }
                    Event::Traced { worker, trace } => self.traced.push((worker, trace)),
                }
            }
        }
    }

    /// Closes what workers that have ended let go of before, here and now.
    pub(crate) fn close_returned(&mut self) {
        let mut pool = self.ground.pools.pool();
        for worker in 0..self.engine.workers() {
            let worker = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
            while let Some(event) = self.engine.event(worker) {
                if let Event::Removed { mut port, .. } = event {
                    port.close(&mut pool);
                }
            }
        }
    }

    fn note_info(&mut self, vif: VifId, queue: u16, info: Option<PortInfo>) {
        let slot = self.slots.get_mut(&vif);
        if let (Some(Slot { state: State::Open(open), .. }), Some(info)) = (slot, info) {
            open.infos.insert(queue, info);
        }
    }

    /// Starts an opening, if there is a device.
    fn begin(&mut self, vif: VifId, links: &Links) {
        let Some(slot) = self.slots.get(&vif) else { return };
        if matches!(slot.state, State::Portless | State::Open(_) | State::Opening { .. }) {
            return;
        }
        let (device, kind, origin, host) = (slot.device.clone(), slot.kind, slot.origin, slot.host);
        if links.named(&device).is_none() && !origin.makes() {
            tracing::info!("vif {vif}: there is no device {device} yet");
            return self.set(vif, State::Missing);
        }
        let first = if kind == VifKind::Physical { WorkerId(0) } else { self.least_loaded() };
        self.attempts += 1;
        let attempt = self.attempts;
        tracing::debug!("vif {vif}: opening {device}");
        self.set(vif, State::Opening { attempt, first });
        self.load(first, kind, 1);
        let (ground, outcomes) = (self.ground.clone(), self.outcomes.clone());
        tokio::task::spawn_blocking(move || {
            let order = Order { device, kind, origin, first, host };
            let result = open::open(&ground, &order);
            if let Err(lost) = outcomes.send(Outcome { vif, attempt, result })
                && let Ok(opened) = lost.0.result
            {
                opened.close(&ground.pools);
            }
        });
    }

    fn take_over(&mut self, vif: VifId, opened: Opened) {
        let Opened { device, queues, speed, driver } = opened;
        let Some(slot) = self.slots.get_mut(&vif) else { return };
        let State::Opening { first, .. } = slot.state else { return };
        if let Device::Found(device) = &device {
            steer(device, &self.endpoints);
        }
        let mut open = OpenDevice {
            queues: queues.iter().map(|(queue, worker, _)| (*queue, *worker)).collect(),
            infos: BTreeMap::new(),
            device,
            first,
            speed,
            driver,
        };
        let mut pool = self.ground.pools.pool();
        for (queue, worker, port) in queues {
            open.infos.insert(queue, port.info());
            // What it replaces, if that is still to be removed, comes back by itself.
            self.overdue.retain(|other| *other != (worker, vif, queue));
            if let Err((busy, mut port)) = self.engine.add_port(worker, vif, queue, port) {
                tracing::error!("vif {vif} queue {queue}: {busy}; it carries nothing");
                port.close(&mut pool);
                open.queues.retain(|(other, _)| *other != queue);
            }
        }
        tracing::info!(
            "vif {vif}: {} is open, {} queue(s) from worker {}",
            open.device.name(),
            open.queues.len(),
            first.0
        );
        if slot.origin != Origin::Workload {
            self.ready.extend(open.device.ifindex().map(|link| (link, slot.kind)));
        }
        slot.pause = Duration::ZERO;
        slot.state = State::Open(Box::new(open));
        // It may be wanted otherwise than when its opening began.
        change_host(slot, &self.ground.pools);
    }

    fn fail(&mut self, vif: VifId, message: String, links: &Links) {
        let Some(slot) = self.slots.get(&vif) else { return };
        let (kind, origin, device) = (slot.kind, slot.origin, slot.device.clone());
        if let State::Opening { first, .. } = slot.state {
            self.load(first, kind, -1);
        }
        if links.named(&device).is_none() && !origin.makes() {
            return self.set(vif, State::Missing);
        }
        tracing::warn!("vif {vif}: {message}");
        if let Some(slot) = self.slots.get_mut(&vif) {
            slot.pause = (slot.pause * 2).clamp(RETRY.0, RETRY.1);
            slot.state = State::Failed { message, retry: Instant::now() + slot.pause };
        }
    }

    /// Closes a vif's port, if it has one; its slot is then as if there were no device.
    fn close(&mut self, vif: VifId) {
        let Some(slot) = self.slots.get_mut(&vif) else { return };
        let kind = slot.kind;
        match std::mem::replace(&mut slot.state, State::Missing) {
            State::Portless => slot.state = State::Portless,
            State::Opening { first, .. } => self.load(first, kind, -1),
            State::Missing | State::Failed { .. } => {}
            State::Open(open) => {
                let OpenDevice { device, queues, first, .. } = *open;
                tracing::info!("vif {vif}: {} is closed", device.name());
                self.load(first, kind, -1);
                for (queue, worker) in queues {
                    self.remove(worker, vif, queue);
                }
                leave(device, kind);
            }
        }
    }

    fn remove(&mut self, worker: WorkerId, vif: VifId, queue: u16) {
        match self.engine.remove_port(worker, vif, queue) {
            Ok(()) => self.leaving += 1,
            Err(Busy { .. }) => self.overdue.push((worker, vif, queue)),
        }
    }

    fn set(&mut self, vif: VifId, state: State) {
        if let Some(slot) = self.slots.get_mut(&vif) {
            slot.state = state;
        }
    }

    fn least_loaded(&self) -> WorkerId {
        let least = self.loads.iter().enumerate().min_by_key(|(_, load)| **load);
        WorkerId(least.and_then(|(index, _)| u8::try_from(index).ok()).unwrap_or(0))
    }

    fn load(&mut self, worker: WorkerId, kind: VifKind, by: isize) {
        if kind != VifKind::Physical
            && let Some(load) = self.loads.get_mut(worker.index())
        {
            *load = load.saturating_add_signed(by);
        }
    }
}

/// Whether an opened device is the one of that name now. One we made is: nobody else can have it.
fn is_current(device: &Device, index: Option<IfIndex>) -> bool {
    !matches!(device, Device::Found(_)) || index == device.ifindex()
}

/// Makes the host's end, where it is open, as it is wanted now.
fn change_host(slot: &Slot, pools: &FramePools) {
    if slot.origin == Origin::Host
        && let State::Open(open) = &slot.state
        && let Device::Made { name, .. } = &open.device
        && let Err(error) = open::set_up_host(name, slot.host, pools)
    {
        tracing::warn!("{name}: {error}");
    }
}

fn steer(device: &port::XskDevice, endpoints: &[IpAddr]) {
    if let Err(error) = device.set_endpoints(endpoints) {
        tracing::error!("{error}");
    }
}

/// Takes the program off an uplink, for its packets are the kernel's again. On a workload's device it stays: a tenant's
/// frame must never enter the host's stack.
fn leave(device: Device, kind: VifKind) {
    if kind == VifKind::Physical
        && let Device::Found(device) = device
        && let Err(error) = device.release()
    {
        tracing::debug!("{error}");
    }
}
