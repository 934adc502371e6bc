//! Packets followed through the graph, for `vrouter explain` and `vrouter trace`: the engine's words as rows, and who waits
//! for real packets.

use std::time::{Duration, Instant};

use api::{
    ApiError, Core, ErrorCode, ExplainedPacket, ExplainedStep, PacketEnding, PacketFilter, Reply,
    Request, SentPacket,
};
use engine::{Ending, ExplainError, Followed, Names, Trace, TraceFilter, WorkerId};
use tables::{Fib, Model, RuleId, VifId};
use tokio::sync::oneshot;

const _: () = assert!(Request::MOST_TRACED as usize == engine::MOST_TRACED);

/// How often it is looked whether workers have followed what was wanted.
const LOOK: Duration = Duration::from_millis(10);
/// How long workers may take to hand in what they have: a turn, or to wake up.
const GRACE: Duration = Duration::from_millis(500);

/// Who waits for real packets. One at a time: whoever comes later takes the place.
#[derive(Default)]
pub(crate) struct Tracer {
    waiting: Option<Waiting>,
}

struct Waiting {
    ticket: u64,
    wanted: usize,
    until: Instant,
    /// Workers that still follow packets.
    following: usize,
    stopped: bool,
    told: Vec<(WorkerId, Box<Trace>)>,
    answer: oneshot::Sender<Reply>,
}

impl Tracer {
    /// Somebody waits for what `workers` workers follow under `ticket`; `tables` are for whoever waited before.
    pub(crate) fn begin(
        &mut self,
        ticket: u64,
        (wanted, seconds): (u32, u32),
        workers: usize,
        answer: oneshot::Sender<Reply>,
        tables: (&Fib, &Model),
    ) {
        self.conclude(tables);
        self.waiting = Some(Waiting {
            ticket,
            wanted: wanted as usize,
            until: Instant::now() + Duration::from_secs(seconds.into()),
            following: workers,
            stopped: false,
            told: Vec::new(),
            answer,
        });
    }

    /// When to look again; `None` while nobody waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|_| Instant::now() + LOOK)
    }

    /// Takes what workers have followed. `true`: they are to be stopped now.
    pub(crate) fn take(
        &mut self,
        traced: impl Iterator<Item = (WorkerId, Box<Trace>)>,
        tables: (&Fib, &Model),
    ) -> bool {
        let Some(waiting) = self.waiting.as_mut() else {
            traced.for_each(drop);
            return false;
        };
        for (worker, trace) in traced.filter(|(_, trace)| trace.ticket() == waiting.ticket) {
            waiting.following = waiting.following.saturating_sub(1);
            waiting.told.push((worker, trace));
        }
        let now = Instant::now();
        let so_many: usize = waiting.told.iter().map(|(_, trace)| trace.len()).sum();
        let enough = so_many >= waiting.wanted || now >= waiting.until;
        let over = enough || waiting.answer.is_closed();
        if waiting.following == 0 || waiting.stopped && now >= waiting.until + GRACE {
            self.conclude(tables);
            return false;
        }
        if over && !waiting.stopped {
            waiting.stopped = true;
            waiting.until = waiting.until.min(now);
            return true;
        }
        false
    }

    fn conclude(&mut self, (fib, model): (&Fib, &Model)) {
        let Some(waiting) = self.waiting.take() else { return };
        let generation = waiting.told.iter().map(|(_, trace)| trace.generation().0).max();
        let all = waiting.told.iter().flat_map(|(worker, trace)| {
            let core = Core(worker.0.into());
            trace.tell(fib, &NamesOf(model)).into_iter().map(move |packet| row(packet, Some(core)))
        });
        let _ = waiting.answer.send(Reply::Explanation(api::Explanation {
            generation: generation.unwrap_or_else(|| fib.generation().0),
            packets: all.take(waiting.wanted).collect(),
            left_out: 0,
            sent: Vec::new(),
        }));
    }
}

/// Devices, and rules by the set they are in.
pub(crate) struct NamesOf<'a>(pub(crate) &'a Model);

impl Names for NamesOf<'_> {
    fn vif(&self, id: VifId) -> Option<String> {
        Some(self.0.vif(id)?.name.clone())
    }

    fn rule(&self, id: RuleId) -> Option<String> {
        // The two networks that a policy joins have the same rule.
        let sets = self.0.rule_sets().filter(|set| set.rules.iter().any(|rule| rule.id == id));
        let names: Vec<&str> = sets.map(|set| set.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("of {}", names.join(" and ")))
    }
}

/// Whether what is asked for can be followed.
///
/// # Errors
/// The number or the time is none that can be.
pub(crate) fn check(count: u32, seconds: u32) -> Result<(), ApiError> {
    let checks =
        [("count", count, Request::MOST_TRACED), ("seconds", seconds, Request::LONGEST_TRACE)];
    for (field, value, most) in checks {
        if !(1..=most).contains(&value) {
            let message = format!("{field}: {value} is not between 1 and {most}");
            return Err(ApiError::new(ErrorCode::Invalid, "trace", message));
        }
    }
    Ok(())
}

/// As the engine takes it.
pub(crate) fn filter(wanted: PacketFilter) -> TraceFilter {
    let PacketFilter { vif, protocol, source, destination, source_port, destination_port } = wanted;
    TraceFilter { vif, protocol, source, destination, source_port, destination_port }
}

/// What was thought of, as it is shown.
pub(crate) fn shown(explanation: engine::Explanation) -> api::Explanation {
    let sent = explanation.sent.into_iter().map(|(vif, bytes)| SentPacket { vif, bytes });
    api::Explanation {
        generation: explanation.generation.0,
        packets: explanation.packets.into_iter().map(|packet| row(packet, None)).collect(),
        left_out: explanation.left_out,
        sent: sent.collect(),
    }
}

/// Why a packet for an interface cannot be thought of.
pub(crate) fn refusal(error: ExplainError, vif: VifId) -> ApiError {
    let name = format!("vif {vif}");
    match error {
        ExplainError::NoVif => ApiError::not_found(name),
        ExplainError::SubInterface { parent } => {
            let parent = parent.map_or("its parent".into(), |parent| format!("vif {parent}"));
            let why = format!("gets its frames by {parent}: give that, and a tagged frame");
            ApiError::new(ErrorCode::Invalid, name, why)
        }
        ExplainError::Length => {
            ApiError::new(ErrorCode::Invalid, "packet", "is empty or larger than any port receives")
        }
        ExplainError::Memory(error) => {
            ApiError::new(ErrorCode::NoMemory, "explain", format!("no copy of the node: {error}"))
        }
    }
}

fn row(packet: Followed, core: Option<Core>) -> ExplainedPacket {
    let steps = packet.steps.into_iter().map(|step| ExplainedStep {
        node: step.node.to_owned(),
        says: step.says,
        next: step.next.map(str::to_owned),
    });
    ExplainedPacket {
        core,
        vif: packet.vif,
        made: packet.made,
        length: u32::try_from(packet.length).unwrap_or(u32::MAX),
        bytes: packet.headers,
        steps: steps.collect(),
        ending: match packet.ending {
            Ending::Sent { vif } => PacketEnding::Sent { vif },
            Ending::Dropped { reason } => PacketEnding::Dropped { reason },
            Ending::Agent => PacketEnding::ToAgent,
            Ending::HandedOver { worker } => {
                PacketEnding::HandedOver { core: Core(worker.0.into()) }
            }
            Ending::Held => PacketEnding::Held,
            Ending::Undecided => PacketEnding::Undecided,
            Ending::TooLong => PacketEnding::Unfinished,
        },
    }
}
