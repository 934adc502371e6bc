//! The control thread's loop: owner of the model, the ports and the underlay. Everything that changes them comes
//! through here, one thing after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use api::{
    ApiError, DropScope, DropStats, ErrorCode, FlowHandle, FlowVerdict, Lookup, NewFlow,
    PacketFilter, Reply, Request, Table, VrouterValue,
};
use engine::flow_moment;
use tables::flow::FlowId;
use tables::{MirrorId, ModelError, Op, Owner, VifId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::control::{
    Ask, Epochs, Publisher, View, Wanted, drop_log_page, refusal, refusal_by_hand, refuse_absent,
};
use crate::explain::{self, Tracer};
use crate::export::FlowLog;
use crate::flows::{Changed, Flows};
use crate::kernel::{Kernel, KernelEvent};
use crate::links::Links;
use crate::ports::{Facts as PortFacts, Outcome, Ports};
use crate::route_changes::RouteChanges;
use crate::settings::Settings;
use crate::stations::Stations;
use crate::underlay::Underlay;
use crate::verdicts;
use crate::worker::now_nanos;

/// How often barriers are looked at while somebody waits: workers turn in microseconds.
const BARRIER_POLL: Duration = Duration::from_millis(1);
/// How often hops that the kernel does not keep resolved are probed (ARP entries are trusted for 15 s and more).
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How often workers are asked for stations they have heard, while some interface learns.
const SIGHTING_POLL: Duration = Duration::from_millis(10);
/// How often stations are looked at that may have gone.
const AGING_POLL: Duration = Duration::from_secs(1);

/// What the process was started with, as [`Request::Info`] tells it.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) started: Instant,
    pub(crate) kernel_release: String,
    pub(crate) cores: Vec<usize>,
    pub(crate) busy: bool,
    /// Probe neighbours instead of having the kernel manage them.
    pub(crate) probe_neighbors: bool,
}

/// See the module.
pub(crate) struct Server {
    pub(crate) facts: Facts,
    pub(crate) publisher: Publisher<oneshot::Sender<Reply>>,
    pub(crate) epochs: Epochs,
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) kernel: Kernel,
    pub(crate) links: Links,
    pub(crate) underlay: Underlay,
    pub(crate) route_changes: RouteChanges,
    /// When to install deleted neighbour entries again.
    pub(crate) restore_at: Option<Instant>,
    pub(crate) stations: Stations,
    /// How long a learnt station may be silent.
    pub(crate) mac_aging: Option<Duration>,
    /// Some interface learns.
    pub(crate) learns: bool,
    pub(crate) flows: Flows,
    pub(crate) tracer: Tracer,
    pub(crate) flow_log: Arc<FlowLog>,
}

impl Server {
    /// Serves until `stop` completes.
    ///
    /// # Errors
    /// The kernel's notifications ended.
    pub(crate) async fn run(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut events: mpsc::UnboundedReceiver<KernelEvent>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
        stop: impl Future<Output = ()>,
    ) -> Result<()> {
        self.learn_kernel().await?;
        let mut barriers = interval(BARRIER_POLL);
        let mut probes = interval(PROBE_INTERVAL);
        let mut sightings = interval(SIGHTING_POLL);
        let mut ages = interval(AGING_POLL);
        for timer in [&mut barriers, &mut probes, &mut sightings, &mut ages] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        tokio::pin!(stop);
        loop {
            let publish_at = self.publisher.due();
            let retry_at = self.ports.retry_at();
            let settle_at = self.route_changes.due();
            let restore_at = self.restore_at;
            let trace_at = self.tracer.due();
            tokio::select! {
                () = &mut stop => return Ok(()),
                Some(ask) = asks.recv() => self.answer(ask).await,
                event = events.recv() => match event {
                    Some(event) => self.kernel_changed(event).await,
                    None => anyhow::bail!("the kernel's notifications ended"),
                },
                Some(outcome) = outcomes.recv() => self.port_opened(outcome).await,
                () = until(publish_at) => self.publisher.publish(),
                () = until(retry_at) => self.retry_ports().await,
                () = until(restore_at) => self.restore_neighbors().await,
                () = until(trace_at) => self.follow_packets(),
                () = until(settle_at) => self.routes_settled().await,
                _ = barriers.tick(), if self.publisher.is_waiting() => {}
                _ = probes.tick() => self.probe_unmanaged().await,
                _ = sightings.tick(), if self.learns => self.learn_stations(),
                _ = ages.tick(), if !self.stations.is_empty() => self.age_stations(),
            }
            self.answer_barriers();
            self.ports.take_events();
        }
    }

    fn answer_barriers(&mut self) {
        for (generation, answer) in self.publisher.reached() {
            // A client that is gone needs no answer.
            let _ = answer.send(Reply::Done { generation: generation.0 });
        }
        self.publisher.collect();
    }

    async fn answer(&mut self, ask: Ask) {
        let reply = match ask.request {
            Request::Barrier => {
                self.publisher.publish();
                return self.publisher.wait(ask.answer);
            }
            Request::Apply(transaction) => {
                self.publisher.set_epoch(Owner::Agent, self.epochs.of(&ask.client));
                let applied = self.publisher.apply(&transaction.ops, Owner::Agent);
                self.follow().await;
                done(applied)
            }
            Request::Operate(transaction) => answered(self.operate(&transaction.ops).await),
            Request::BeginEpoch => Reply::Epoch(self.epochs.begin(&ask.client)),
            Request::Sweep { epoch } if epoch != self.epochs.of(&ask.client) || epoch.0 == 0 => {
                let what = format!("{} is not the one this client began last", epoch.0);
                Reply::Error(ApiError::new(ErrorCode::Invalid, "epoch", what))
            }
            Request::Sweep { .. } => {
                let swept = self.publisher.sweep(Owner::Agent, |epoch| self.epochs.is_kept(epoch));
                self.follow().await;
                self.release_strays().await;
                done(swept)
            }
            Request::Dump { table: Table::DropLog { core, reason }, after } => {
                let wanted = Wanted { core, reason, after };
                let generation = self.publisher.pending().0;
                Reply::Page(drop_log_page(self.ports.counters(), wanted, generation))
            }
            Request::Dump { table: Table::Flow, after } => {
                Reply::Page(self.flows.page(after, now(), self.publisher.pending().0))
            }
            Request::Get(Lookup::Flow(index)) => {
                match self.flows.get(index, now(), self.publisher.pending().0) {
                    Ok(page) => Reply::Page(page),
                    Err(refusal) => Reply::Error(refusal),
                }
            }
            Request::FlowTable => Reply::FlowTable(self.flows.table()),
            Request::FlushFlows => Reply::FlowTable(self.flows.flush()),
            Request::SetFlow { index, change, mirror } => {
                let mirror = mirror.map(MirrorId);
                let object = format!("flow {index}");
                let check = verdicts::check_mirror(&object, mirror, self.publisher.model());
                answered(check.and_then(|()| {
                    self.change_flow(index, |flows| flows.set(index, change, mirror))
                }))
            }
            Request::FlowVerdict(verdict) => {
                let decided = self.decide_flow(&verdict).map(|_| self.publisher.pending());
                answered(decided)
            }
            Request::FlowVerdicts(verdicts) => match too_many(verdicts.len()) {
                Some(refusal) => Reply::Error(refusal),
                None => Reply::Flows(self.patiently(&verdicts, Server::decide_flow).await),
            },
            Request::MakeFlows(flows) => match too_many(flows.len()) {
                Some(refusal) => Reply::Error(refusal),
                None => Reply::Flows(self.patiently(&flows, Server::make_flow).await),
            },
            Request::Dump { table, after } => {
                if matches!(table, Table::Vif { .. }) && after.is_none() {
                    self.ports.inspect(None).await;
                }
                Reply::Page(self.view().page(table, after))
            }
            Request::Get(lookup) => {
                if let Lookup::Vif { id, .. } = lookup {
                    self.ports.inspect(Some(id)).await;
                }
                match self.view().get(lookup) {
                    Ok(page) => Reply::Page(page),
                    Err(refusal) => Reply::Error(refusal),
                }
            }
            Request::Drops { scope, core } => Reply::Drops(self.drops(scope, core)),
            Request::ClearVifStats { vif, core } => {
                self.clear_vif_stats(vif, core);
                done(Ok(self.publisher.pending()))
            }
            Request::ClearDrops => {
                self.ports.counters_mut().clear_drops();
                done(Ok(self.publisher.pending()))
            }
            Request::Info => Reply::Info(self.info()),
            Request::Vrouter => Reply::Vrouter(self.vrouter()),
            Request::Memory => Reply::Memory(self.memory()),
            Request::Set { value, to } => {
                let set = self.set(value, to);
                answered(set.map(|()| self.publisher.pending()))
            }
            Request::ClearDropLog => {
                self.ports.counters_mut().clear_drop_log();
                done(Ok(self.publisher.pending()))
            }
            Request::Describe(what) => Reply::Text(self.describe(what)),
            Request::Explain { vif, packet } => match self.explain(vif, &packet) {
                Ok(explanation) => Reply::Explanation(explanation),
                Err(refusal) => Reply::Error(refusal),
            },
            Request::Trace { filter, count, seconds } => match self.trace(filter, count, seconds) {
                Ok((ticket, workers)) => {
                    let (limits, tables) = ((count, seconds), self.publisher.tables());
                    return self.tracer.begin(ticket, limits, workers, ask.answer, tables);
                }
                Err(refusal) => Reply::Error(refusal),
            },
            Request::FlowRecords { after } => {
                let (records, last, more) = self.flow_log.after(after, self.publisher.fib());
                Reply::FlowRecords { records, last, more }
            }
            Request::RouteChanges { after } => {
                let (changes, last) = self.publisher.route_changes(after);
                Reply::RouteChanges { changes, last }
            }
            Request::Hello(_) => {
                Reply::Error(ApiError::new(ErrorCode::Invalid, "hello", "was said already"))
            }
        };
        let _ = ask.answer.send(reply);
    }

    /// Carries out what an operator asks for.
    async fn operate(&mut self, ops: &[Op]) -> Result<tables::Generation, ApiError> {
        refuse_absent(self.publisher.model(), ops)?;
        let applied = self.publisher.apply(ops, Owner::Operator);
        self.follow().await;
        applied.map_err(|error| refusal_by_hand(&error))
    }

    /// Changes a setting, and has the workers obey it.
    fn set(&mut self, value: VrouterValue, to: u32) -> Result<(), ApiError> {
        let before = self.settings.get(value);
        self.settings.set(value, to)?;
        self.ports.counters().set_drop_log(self.settings.log_rule());
        self.flows.limit_held(self.settings.hold_limits());
        let mss = matches!(value, VrouterValue::FromVmMssAdjust | VrouterValue::ToVmMssAdjust);
        if mss && let Err(busy) = self.ports.clamp_mss(self.settings.mss()) {
            self.settings.set(value, before)?;
            return Err(ApiError::new(ErrorCode::Busy, format!("{value:?}"), busy.to_string()));
        }
        Ok(())
    }

    /// Changes a flow, and has its packets go on if they have waited for that.
    fn change_flow(
        &mut self,
        index: u32,
        change: impl FnOnce(&Flows) -> Result<Changed, ApiError>,
    ) -> Result<tables::Generation, ApiError> {
        let busy = |busy: engine::Busy| {
            ApiError::new(ErrorCode::Busy, format!("flow {index}"), busy.to_string())
        };
        // Nothing is changed that could not be told.
        let held = self.flows.held(index);
        held.iter().try_for_each(|(worker, _)| self.ports.has_room(*worker, 1)).map_err(busy)?;
        if change(&self.flows)? == Changed::Decided {
            held.iter()
                .try_for_each(|(worker, id)| self.ports.release(*worker, *id))
                .map_err(busy)?;
        }
        Ok(self.publisher.pending())
    }

    /// Each after the other; where a worker has not caught up with what it was told, it gets a moment to.
    async fn patiently<T>(
        &mut self,
        all: &[T],
        each: impl Fn(&mut Server, &T) -> Result<FlowHandle, ApiError>,
    ) -> Vec<Result<FlowHandle, ApiError>> {
        const MOMENTS: usize = 20;
        let mut outcomes = Vec::with_capacity(all.len());
        for one in all {
            let mut outcome = each(self, one);
            for _ in 0..MOMENTS {
                if !outcome.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::Busy) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                outcome = each(self, one);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// An agent decides about a flow.
    fn decide_flow(&mut self, verdict: &FlowVerdict) -> Result<FlowHandle, ApiError> {
        let decision = verdicts::check(verdict, self.publisher.model())?;
        self.change_flow(verdict.index, |flows| flows.decide(verdict, &decision))?;
        Ok(FlowHandle { index: verdict.index, generation: verdict.generation })
    }

    /// An agent makes a flow that no packet has asked for.
    fn make_flow(&mut self, flow: &NewFlow) -> Result<FlowHandle, ApiError> {
        let (made, decision) =
            verdicts::check_new(flow, self.publisher.model(), flow_moment(now()))?;
        let object = verdicts::named(&flow.key);
        let busy =
            |busy: engine::Busy| ApiError::new(ErrorCode::Busy, object.clone(), busy.to_string());
        // Nothing is made that its worker cannot be told of, both times.
        let worker = self.flows.next_worker();
        self.ports.has_room(worker, 2).map_err(busy)?;
        let handle = self.flows.make(&made, worker, &object)?;
        let id = FlowId::new(handle.index)
            .ok_or_else(|| ApiError::new(ErrorCode::NoMemory, object.clone(), "has no index"))?;
        self.ports.adopt(worker, id).map_err(busy)?;
        let decided = self.flows.decide_made(id, &decision).map_err(|refusal| ApiError {
            // Its index is nobody's any more.
            object: object.clone(),
            ..refusal
        })?;
        if decided == Changed::Decided {
            for (worker, id) in self.flows.held(handle.index) {
                self.ports.release(worker, id).map_err(busy)?;
            }
        }
        Ok(handle)
    }

    /// What would become of a packet.
    fn explain(&mut self, vif: VifId, packet: &[u8]) -> Result<api::Explanation, ApiError> {
        self.publisher.publish();
        let reader = self.publisher.reader();
        let original = engine::Original {
            reader,
            engine: self.ports.engine(),
            sessions: Some(self.flows.shared()),
            ports: self.ports.open_ports(),
            now: now(),
            names: &explain::NamesOf(self.publisher.model()),
        };
        let explained = engine::explain(original, vif, packet);
        explained.map(explain::shown).map_err(|error| explain::refusal(error, vif))
    }

    /// Has real packets followed.
    fn trace(
        &mut self,
        filter: PacketFilter,
        count: u32,
        seconds: u32,
    ) -> Result<(u64, usize), ApiError> {
        explain::check(count, seconds)?;
        let told = self.ports.trace(explain::filter(filter), count as usize);
        told.map_err(|busy| ApiError::new(ErrorCode::Busy, "trace", busy.to_string()))
    }

    /// Looks whether workers have followed what was wanted.
    fn follow_packets(&mut self) {
        let traced = self.ports.take_traced();
        if self.tracer.take(traced.into_iter(), self.publisher.tables())
            && let Err(busy) = self.ports.stop_trace()
        {
            // They end by themselves when they are asked for the next, or are answered without.
            tracing::warn!("trace: {busy}");
        }
    }

    /// The tables as they are now: what is pending is published first, so that a client sees what it applied.
    fn view(&mut self) -> View<'_, PortFacts<'_>> {
        self.publisher.publish();
        View {
            model: self.publisher.model(),
            fib: self.publisher.fib(),
            facts: PortFacts { ports: &self.ports, links: &self.links },
        }
    }

    fn drops(&self, scope: DropScope, core: Option<api::Core>) -> DropStats {
        let counters = self.ports.counters();
        let worker = core.map(|core| core.0 as usize);
        let statistics = match (scope, worker) {
            (DropScope::System, None) => counters.drops(),
            (DropScope::System, Some(worker)) => counters.drops_on(worker),
            (DropScope::Vif(vif), None) => counters.vif_drops(vif),
            (DropScope::Vif(vif), Some(worker)) => counters.vif_drops_on(worker, vif),
            // Not kept by worker.
            (DropScope::Vrf(vrf), _) => counters.vrf_drops(vrf),
        };
        DropStats { packets: statistics.0.to_vec(), per_core_missing: false }
    }

    fn clear_vif_stats(&mut self, vif: Option<VifId>, core: Option<api::Core>) {
        let vifs: Vec<VifId> = match vif {
            Some(vif) => vec![vif],
            None => self.publisher.model().vifs(..).map(|vif| vif.id).collect(),
        };
        let counters = self.ports.counters_mut();
        for vif in vifs {
            match core {
                Some(core) => counters.clear_vif_on(core.0 as usize, vif),
                None => counters.clear_vif(vif),
            }
        }
    }
}

/// Never, or at that time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn done(result: Result<tables::Generation, ModelError>) -> Reply {
    answered(result.map_err(|error| refusal(&error)))
}

/// More flows than a request may name.
fn too_many(flows: usize) -> Option<ApiError> {
    (flows > Request::MOST_FLOWS).then(|| {
        let what = format!("{flows} in one request; allowed are {}", Request::MOST_FLOWS);
        ApiError::new(ErrorCode::Invalid, "flows", what)
    })
}

fn answered(result: Result<tables::Generation, ApiError>) -> Reply {
    match result {
        Ok(generation) => Reply::Done { generation: generation.0 },
        Err(refusal) => Reply::Error(refusal),
    }
}

/// The workers' time.
fn now() -> engine::Tick {
    engine::Tick(now_nanos())
}
