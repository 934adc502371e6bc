//! Flows: a worker's part of what it remembers of the sessions it has judged (reference dataplane.md section 14, design
//! decisions 5 and 6).
//!
//! | module | holds |
//! |---|---|
//! | (here) | [`FlowTable`]: the shared sessions, the worker's own index, its rates |
//! | `key` | which flow a packet belongs to |
//! | `fat` | which packets share a flow, and what becomes of them |
//! | `first` | a packet that no flow is known for: found elsewhere, or judged and remembered |
//! | `plan` | a session to be: its ends, its translation, what policy says |
//! | `nowhere` | packets without a route, which need no flow |
//! | `pass` | a packet of a known flow: counted, translated, sent on or dropped |
//! | `nat` | translation |
//! | `source` | where packets may come from |
//! | `stamp` | what a flow was judged by, and judging it again |
//! | `tcp` | TCP's state |
//! | `undecided` | flows that an agent decides about |
//! | `age` | the end of sessions |
//! | `copy` | the sessions of another table, for what is tried on a copy of the node |
//!
//! Established traffic finds its flow by the index alone; what `first` does happens once a session and worker.

pub(crate) mod age;
pub(crate) mod copy;
pub(crate) mod fat;
pub(crate) mod first;
pub(crate) mod key;
pub(crate) mod nat;
pub(crate) mod nowhere;
pub(crate) mod pass;
pub(crate) mod plan;
pub(crate) mod source;
pub(crate) mod stamp;
pub(crate) mod tcp;
pub(crate) mod undecided;

use std::sync::Arc;
use std::time::Duration;

use tables::flow::{Flow, FlowId, FlowIndex, FreeSlots, Packed, Session, Sessions};
use tables::{Generation, VifId, limits};

use self::copy::Copied;
use self::undecided::Awaited;
use crate::hand_off::WorkerId;
use crate::storm::{Price, Rate};
use crate::waiting::Waiting;
use crate::worker::Tick;

/// How much of the flow table one interface may have where its own settings do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// New sessions a second and worker.
    pub rate: Rate,
    /// Flows, as a share of the table: one in so many.
    pub share: u32,
}

impl Default for FlowLimits {
    fn default() -> FlowLimits {
        FlowLimits { rate: Rate { per_second: 50_000, burst: 50_000 }, share: 2 }
    }
}

/// Time in flows: 2^20 ns, a little more than a millisecond; wraps after 52 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u32);

impl Moment {
    const SHIFT: u32 = 20;

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "moments wrap")]
    pub(crate) fn of(now: Tick) -> Moment {
        Moment((now.0 >> Moment::SHIFT) as u32)
    }

    /// So many seconds in its unit.
    pub(crate) fn seconds(seconds: u32) -> u32 {
        let units = (u64::from(seconds) * 1_000_000_000) >> Moment::SHIFT;
        u32::try_from(units).unwrap_or(u32::MAX >> 1)
    }

    /// Whether `then` is later; moments are less than half of what they wrap at apart.
    #[inline]
    pub(crate) fn is_before(self, then: u32) -> bool {
        (1..=u32::MAX >> 1).contains(&then.wrapping_sub(self.0))
    }

    /// How long ago `then` was.
    pub(crate) fn since(self, then: u32) -> u32 {
        let ago = self.0.wrapping_sub(then);
        // Another worker's turn may have begun later than this one's.
        if ago > u32::MAX >> 1 { 0 } else { ago }
    }
}

/// How long ago what a flow remembers as a time was.
pub fn flow_age(now: Tick, then: u32) -> Duration {
    Duration::from_nanos(u64::from(Moment::of(now).since(then)) << Moment::SHIFT)
}

/// What a flow remembers as this time.
pub fn flow_moment(now: Tick) -> u32 {
    Moment::of(now).0
}

/// Seconds between what a flow remembers as a time and now.
pub fn flow_seconds(now: Tick, then: u32) -> u32 {
    // A whole second is 953.67 units: what is cut off must not make it less.
    let units = u64::from(Moment::of(now).since(then)) + 1;
    u32::try_from((units << Moment::SHIFT) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// A worker's part. See the module.
pub(crate) struct FlowTable {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) index: FlowIndex,
    pub(crate) slots: FreeSlots,
    pub(crate) worker: WorkerId,
    pub(crate) sweep: age::Sweep,
    limits: FlowLimits,
    /// The tables of the last turn, and when they were new here.
    generation: Option<Generation>,
    pub(crate) changed: Moment,
    /// When each interface's bucket of new sessions is full again.
    rates: Box<[u64]>,
    /// Packets that were given to their flows' owners.
    pub(crate) strays: u32,
    /// Packets of flows that an agent decides about.
    pub(crate) waiting: Waiting<Awaited>,
    /// Where sessions are copied from that are not known here, if this is a copy.
    copied: Option<Copied>,
}

impl FlowTable {
    /// Empty. The flows are spread over so many workers, each of which has so many frames.
    ///
    /// # Errors
    /// What the system answers: there is no memory for the index.
    pub(crate) fn new(
        sessions: Arc<Sessions>,
        worker: WorkerId,
        workers: usize,
        frames: usize,
        limits: FlowLimits,
    ) -> std::io::Result<FlowTable> {
        let flows = sessions.slab().sessions() as usize * 2;
        // Flows do not spread evenly.
        let own = flows.min(flows * 2 / workers.max(1));
        Ok(FlowTable {
            index: FlowIndex::new(own)?,
            sessions,
            slots: FreeSlots::default(),
            worker,
            sweep: age::Sweep::default(),
            limits,
            generation: None,
            changed: Moment::default(),
            rates: std::iter::repeat_n(0, limits::VIFS).collect(),
            strays: 0,
            waiting: Waiting::new(undecided::WAITING, frames, workers, undecided::TIMEOUT),
            copied: None,
        })
    }

    /// A turn begins, with these tables.
    #[inline]
    pub(crate) fn begin(&mut self, generation: Generation, now: Tick) {
        if self.generation != Some(generation) {
            let now = Moment::of(now);
            // Nothing here is older than the first.
            self.changed = match self.generation.replace(generation) {
                None => Moment(now.0.wrapping_sub(1)),
                Some(_) => now,
            };
        }
    }

    /// Whether the tables are still those by which a denied flow was looked at then.
    #[inline]
    pub(crate) fn is_unchanged_since(&self, seen: u32) -> bool {
        // Copied sessions were looked at elsewhere.
        self.changed.is_before(seen) && self.copied.is_none()
    }

    /// The worker's own flow of a key.
    #[inline]
    pub(crate) fn find(&self, key: &Packed) -> Option<FlowId> {
        self.index.find(key.hash(), |id| self.sessions.flow(id).is_some_and(|flow| flow.is(key)))
    }

    /// The words of a flow.
    #[inline]
    pub(crate) fn flow(&self, id: FlowId) -> Option<Flow<'_>> {
        self.sessions.flow(id)
    }

    /// The words of its session.
    #[inline]
    pub(crate) fn session(&self, id: FlowId) -> Option<Session<'_>> {
        self.sessions.session(id)
    }

    /// Takes a flow in that somebody has made it the owner of.
    pub(crate) fn adopt(&mut self, id: FlowId) {
        let own = |flow: &Flow<'_>| flow.state().owner() == Some(self.worker.0);
        let Some(flow) = self.flow(id).filter(own) else { return };
        let packed = self.sessions.pack(&flow.key());
        if self.find(&packed) != Some(id) && !self.index.insert(packed.hash(), id) {
            self.sessions.leave(id, self.worker.0);
        }
    }

    /// Forgets a flow of its own.
    pub(crate) fn forget(&mut self, id: FlowId, hash: u64) {
        if self.index.remove(hash, id) {
            self.sessions.leave(id, self.worker.0);
        }
    }

    /// The hash of a flow's key.
    pub(crate) fn hash_of(&self, id: FlowId) -> Option<u64> {
        Some(self.sessions.pack(&self.flow(id)?.key()).hash())
    }

    /// Whether an interface may begin one more session now.
    fn admit(&mut self, vif: VifId, own: Option<u32>, now: Tick) -> bool {
        let rate = own.map_or(self.limits.rate, |per_second| Rate {
            per_second: per_second.max(1),
            burst: per_second.max(1),
        });
        let bucket = self.rates.get_mut(vif.index());
        bucket.is_none_or(|full_at| Price::of(rate).charge(full_at, now))
    }

    /// How many flows an interface may have.
    fn share(&self, own: Option<u32>) -> u32 {
        let flows = self.sessions.slab().sessions().saturating_mul(2);
        own.unwrap_or(flows / self.limits.share.max(1)).max(2)
    }
}
