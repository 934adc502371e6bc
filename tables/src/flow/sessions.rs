//! Sessions: the slab, the directory from keys to flows, the free slots, quotas and counts. First packets and ends of
//! sessions come here; established traffic does not.

mod decide;

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use super::directory::Directory;
use super::entry::{Flow, FlowFlags};
use super::key::{FlowKey, Packed};
use super::session::{Session, SessionFlags};
use super::slab::{FlowId, FlowSlab, SessionId};
use super::undecided::Undecided;
use crate::{FlowDropReason, Judgement, MirrorId, RuleId, Verdict, VifId, VrfId, limits};

pub use decide::{Action, Decision, Made, Undecidable};

/// See the module.
pub struct Sessions {
    slab: FlowSlab,
    seed: u64,
    directory: Directory,
    free: ArrayQueue<u32>,
    vifs: Box<[AtomicU32]>,
    vrfs: Box<[AtomicU32]>,
    undecided: Undecided,
    /// Sessions so far that are to be logged.
    logged: AtomicU64,
    counts: Box<[Counts]>,
}

/// A worker's share of the counts, on lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Counts {
    created: AtomicU64,
    denied: AtomicU64,
    ended: AtomicU64,
    judged_again: AtomicU64,
    handed_over: AtomicU64,
    moved: AtomicU64,
    refused: AtomicU64,
}

/// What a worker has done with flows since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Sessions made.
    pub created: u64,
    /// Those of them that are denied.
    pub denied: u64,
    /// Sessions ended.
    pub ended: u64,
    /// Flows judged again after a change.
    pub judged_again: u64,
    /// Packets given to the flow's owner.
    pub handed_over: u64,
    /// Flows taken over from another worker.
    pub moved: u64,
    /// First packets for which there was no room, no quota or no rate.
    pub refused: u64,
}

/// One event to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A packet was given to the flow's owner.
    HandedOver,
    /// A flow was taken over.
    Moved,
    /// A flow was judged again.
    JudgedAgain,
    /// A first packet was refused.
    Refused,
}

/// Free slots a worker has at hand.
#[derive(Debug, Default)]
pub struct FreeSlots {
    slots: arrayvec::ArrayVec<u32, { FreeSlots::MOST }>,
}

impl FreeSlots {
    const MOST: usize = 64;
}

/// Who is charged for a session, and how much they may have.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// The interface, and the flows it may have.
    pub vif: (VifId, Option<u32>),
    /// The VRF, and the flows it may have.
    pub vrf: (VrfId, Option<u32>),
}

/// One direction to be.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// Its key.
    pub key: FlowKey,
    /// Beside `ALIVE`.
    pub flags: FlowFlags,
}

/// A session to be.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    /// The first packet's direction, and the other's if there is to be one. Of a session that is
    /// [`SessionFlags::ONE_SIDED`] the other is proposed only: it is there once somebody has decided so.
    pub flows: (NewFlow, Option<NewFlow>),
    /// Both.
    pub flags: SessionFlags,
    /// Local ends: where the first packet came from and where it went.
    pub ends: (Option<VifId>, Option<VifId>),
    /// VRF of the first packet, and behind translation.
    pub vrfs: (VrfId, VrfId),
    /// Why it is as it is.
    pub judgement: Judgement,
    /// Milliseconds.
    pub now: u32,
}

/// What asking for a flow answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the asker's from now on, or was already.
    Own,
    /// It is this worker's.
    Others(u8),
    /// It has ended.
    Gone,
}

impl Sessions {
    /// Room for so many sessions of so many workers. `seed` makes hashes unpredictable.
    ///
    /// # Errors
    /// What the system answers.
    pub fn new(sessions: u32, workers: usize, seed: u64) -> io::Result<Sessions> {
        let slab = FlowSlab::new(sessions)?;
        let free = ArrayQueue::new(sessions.max(1) as usize);
        (1..=slab.sessions()).for_each(|slot| {
            // There is room for all.
            let _ = free.push(slot);
        });
        let zeros = |count| std::iter::repeat_with(|| AtomicU32::new(0)).take(count).collect();
        Ok(Sessions {
            slab,
            seed,
            directory: Directory::new(sessions as usize * 2)?,
            free,
            vifs: zeros(limits::VIFS),
            vrfs: zeros(limits::VRFS),
            undecided: Undecided::new(),
            logged: AtomicU64::new(0),
            counts: std::iter::repeat_with(Counts::default).take(workers.max(1)).collect(),
        })
    }

    /// An empty table of so many sessions, for one worker, in which keys have the same hashes, and whoever is charged for
    /// sessions has as many as here: what is tried there goes as it would here.
    ///
    /// # Errors
    /// What the system answers.
    pub fn like(&self, sessions: u32) -> io::Result<Sessions> {
        let copy = |counts: &[AtomicU32]| {
            counts.iter().map(|count| AtomicU32::new(count.load(Relaxed))).collect()
        };
        let (vifs, vrfs) = (copy(&self.vifs), copy(&self.vrfs));
        let undecided = self.undecided.like();
        Ok(Sessions { vifs, vrfs, undecided, ..Sessions::new(sessions, 1, self.seed)? })
    }

    /// Makes a session as the table has it that this one is [like](Sessions::like), and the caller holds it. `None` when it
    /// has ended, or there is no room.
    pub fn copy(&self, from: &Sessions, id: FlowId, slots: &mut FreeSlots) -> Option<FlowId> {
        let forward = id.session().forward();
        let (first, last) = (from.flow(forward)?, from.flow(forward.other())?);
        let session = from.session(forward)?;
        let one_sided = session.flags().contains(SessionFlags::ONE_SIDED);
        let new = |flow: Flow<'_>| NewFlow { key: flow.key(), flags: flow.state().flags() };
        let made = NewSession {
            flows: (new(first), (!one_sided || session.is_proposed()).then(|| new(last))),
            flags: session.flags(),
            ends: first.ends(),
            vrfs: session.vrfs(),
            // It was judged: see below.
            judgement: NOT_JUDGED,
            now: session.created(),
        };
        let (vif, vrf) = session.charged();
        let id =
            self.create(0, slots, &Quota { vif: (vif, None), vrf: (vrf, None) }, &made).ok()?;
        // A table that is like the other has charged for it already.
        self.refund(vif, vrf, flows(&made));
        self.session(id)?.copy(session);
        self.flow(id)?.copy(first);
        self.flow(id.other())?.copy(last);
        Some(id)
    }

    /// The words.
    #[inline]
    pub fn slab(&self) -> &FlowSlab {
        &self.slab
    }

    /// A key's words and hash.
    #[inline]
    pub fn pack(&self, key: &FlowKey) -> Packed {
        key.packed(self.seed)
    }

    /// The words of a flow.
    #[inline]
    pub fn flow(&self, id: FlowId) -> Option<Flow<'_>> {
        self.slab.flow(id)
    }

    /// The words of its session.
    #[inline]
    pub fn session(&self, id: FlowId) -> Option<Session<'_>> {
        self.slab.session(id.session())
    }

    /// The living flow of a key, whoever owns it.
    pub fn find(&self, key: &Packed) -> Option<FlowId> {
        self.directory.get(key.hash(), |id| self.is(id, key))
    }

    /// Makes a session and puts its keys into the directory. The caller holds it: it claims a direction and then calls
    /// [`Sessions::let_go`]. A session that is to wait for an agent has been [admitted](Undecided::admit); that ends with it,
    /// or here.
    ///
    /// # Errors
    /// `Err(Some)`: another worker was faster, and this is its flow of the first packet's key. `Err(None)`: no slot, no
    /// quota, or one of the keys is another session's.
    pub fn create(
        &self,
        worker: u8,
        slots: &mut FreeSlots,
        quota: &Quota,
        new: &NewSession,
    ) -> Result<FlowId, Option<FlowId>> {
        let refuse = || {
            if new.flows.0.flags.contains(FlowFlags::HELD) {
                self.undecided.leave(quota.vif.0);
            }
            self.count(worker, |counts| &counts.refused);
            Err(None)
        };
        if !self.charge(quota, flows(new)) {
            return refuse();
        }
        let Some(session) = self.take_slot(slots) else {
            self.refund(quota.vif.0, quota.vrf.0, flows(new));
            return refuse();
        };
        let forward = session.forward();
        let first = self.fill(forward, quota, new);
        let placed = match first {
            Some(keys) => self.publish(forward, &keys),
            None => Err(None),
        };
        if placed.is_err() {
            // Somebody may have found the one key that was there for a moment.
            self.end(forward, worker);
            self.let_go(forward);
            return placed.map(|()| forward);
        }
        // Whoever found it by the key that was there first may have ended it, before the other one was.
        if self.session(forward).is_some_and(|session| session.has_ended()) {
            self.withdraw_both(forward);
        }
        self.count(worker, |counts| &counts.created);
        if new.flags.contains(SessionFlags::LOG) {
            self.logged.fetch_add(1, Relaxed);
        }
        if new.flows.0.flags.contains(FlowFlags::DENIED) {
            self.count(worker, |counts| &counts.denied);
        }
        Ok(forward)
    }

    /// Makes `worker` the owner of a flow if nobody is, and it holds the session then. Since it was found by its key, its
    /// slot may have become another session's: that is `Gone`.
    pub fn claim(&self, id: FlowId, key: &Packed, worker: u8) -> Claim {
        let (Some(flow), Some(session)) = (self.flow(id), self.session(id)) else {
            return Claim::Gone;
        };
        if !session.hold() {
            return Claim::Gone;
        }
        if !flow.is(key) {
            self.let_go(id);
            return Claim::Gone;
        }
        match flow.own(worker) {
            Ok(()) => Claim::Own,
            Err(owner) => {
                self.let_go(id);
                if owner == worker { Claim::Own } else { Claim::Others(owner) }
            }
        }
    }

    /// Takes a flow over from its owner, with its hold; `false`: it has another owner by now, or none. The former one, who
    /// need not be asked, finds out by [`State::owner`](super::State::owner).
    pub fn take_over(&self, id: FlowId, owner: u8, worker: u8) -> bool {
        self.flow(id).is_some_and(|flow| flow.disown(owner, Some(worker)))
    }

    /// The owner has forgotten a flow.
    pub fn leave(&self, id: FlowId, worker: u8) {
        if self.flow(id).is_some_and(|flow| flow.disown(worker, None)) {
            self.let_go(id);
        }
    }

    /// Holds a session, so that its slot is not used again; `false` when it has ended.
    pub fn hold(&self, id: FlowId) -> bool {
        self.session(id).is_some_and(|session| session.hold())
    }

    /// The reverse.
    pub fn let_go(&self, id: FlowId) {
        if self.session(id).is_some_and(|session| session.release()) {
            self.free_slot(id.session());
        }
    }

    /// Ends a session that the caller holds; `true` for the one who did. Its packets find it no more.
    pub fn end(&self, id: FlowId, worker: u8) -> bool {
        let Some(session) = self.session(id) else { return false };
        if !session.end() {
            return false;
        }
        let forward = id.session().forward();
        self.withdraw_both(forward);
        self.settle(forward);
        self.count(worker, |counts| &counts.ended);
        true
    }

    /// Says where copies of a session's packets go.
    pub fn set_mirrors(&self, id: FlowId, mirrors: [Option<MirrorId>; 2]) {
        let Some(session) = self.session(id) else { return };
        session.set_mirrors(mirrors);
        for id in [id, id.other()] {
            if let Some(flow) = self.flow(id).filter(|flow| is_there(*flow)) {
                flow.assign(FlowFlags::MIRRORED, mirrors.iter().any(Option::is_some));
            }
        }
    }

    /// Says whether a session is to be logged.
    pub fn set_log(&self, id: FlowId, log: bool) {
        let Some(session) = self.session(id) else { return };
        let (none, flag) = (SessionFlags::default(), SessionFlags::LOG);
        if session.flags().contains(flag) != log {
            let (clear, set) = if log { (none, flag) } else { (flag, none) };
            session.change_flags(clear, set);
            self.logged.fetch_add(u64::from(log), Relaxed);
        }
    }

    /// How many sessions there were to be logged.
    pub fn logged(&self) -> u64 {
        self.logged.load(Relaxed)
    }

    /// Counts an event.
    pub fn note(&self, worker: u8, what: Count) {
        self.count(worker, |counts| match what {
            Count::HandedOver => &counts.handed_over,
            Count::Moved => &counts.moved,
            Count::JudgedAgain => &counts.judged_again,
            Count::Refused => &counts.refused,
        });
    }

    /// What a worker has done; zeros for one that there is not.
    pub fn counts(&self, worker: usize) -> FlowCounts {
        self.counts.get(worker).map_or(FlowCounts::default(), |counts| FlowCounts {
            created: counts.created.load(Relaxed),
            denied: counts.denied.load(Relaxed),
            ended: counts.ended.load(Relaxed),
            judged_again: counts.judged_again.load(Relaxed),
            handed_over: counts.handed_over.load(Relaxed),
            moved: counts.moved.load(Relaxed),
            refused: counts.refused.load(Relaxed),
        })
    }

    /// Flows for which an agent has to decide, and how many there may be.
    pub fn undecided(&self) -> &Undecided {
        &self.undecided
    }

    /// An agent has decided about a session, or it has ended: its packets wait no longer.
    pub fn settle(&self, id: FlowId) {
        let (forward, Some(session)) = (id.session().forward(), self.session(id)) else { return };
        for id in [forward, forward.other()] {
            let there = self.flow(id).filter(|flow| is_there(*flow));
            if there.is_some_and(|flow| flow.lose(FlowFlags::HELD)) {
                self.undecided.leave(session.charged().0);
            }
        }
    }

    /// Flows charged to an interface.
    pub fn of_vif(&self, vif: VifId) -> u32 {
        self.vifs.get(vif.index()).map_or(0, |count| count.load(Relaxed))
    }

    /// Flows charged to a VRF.
    pub fn of_vrf(&self, vrf: VrfId) -> u32 {
        self.vrfs.get(vrf.index()).map_or(0, |count| count.load(Relaxed))
    }

    /// How many keys there are.
    pub fn flows(&self) -> usize {
        self.directory.len()
    }

    /// Whether a flow is a living one of this key.
    fn is(&self, id: FlowId, key: &Packed) -> bool {
        self.flow(id).is_some_and(|flow| flow.is(key))
    }

    /// Asks for what [`Sessions::find`] looks at, of the key of this hash.
    pub fn prefetch(&self, hash: u64) {
        self.directory.prefetch(hash);
    }

    /// Both directions of a session that has ended are dead, and their keys go out of the directory.
    fn withdraw_both(&self, forward: FlowId) {
        for id in [forward, forward.other()] {
            if let Some(flow) = self.flow(id).filter(|flow| is_there(*flow)) {
                flow.set(FlowFlags::DEAD);
                self.withdraw(id, flow);
            }
        }
    }

    /// Takes a flow's key out of the directory.
    fn withdraw(&self, id: FlowId, flow: Flow<'_>) {
        let hash = flow.key().packed(self.seed).hash();
        self.directory.remove(hash, id);
    }

    fn count(&self, worker: u8, which: impl FnOnce(&Counts) -> &AtomicU64) {
        if let Some(counts) = self.counts.get(usize::from(worker)) {
            which(counts).fetch_add(1, Relaxed);
        }
    }

    fn take_slot(&self, slots: &mut FreeSlots) -> Option<SessionId> {
        if slots.slots.is_empty() {
            // Not the last ones of a small table: other workers need some, too.
            let few = (self.free.len() / (2 * self.counts.len())).clamp(1, FreeSlots::MOST);
            for _ in 0..few {
                let Some(slot) = self.free.pop() else { break };
                slots.slots.push(slot);
            }
        }
        let slot = slots.slots.pop()?;
        // By the time the next session begins its slot is there.
        if let Some(next) = slots.slots.last() {
            self.slab.prefetch(*next);
        }
        self.slab.session_id(slot)
    }

    /// The words of a new session; the keys of its flows.
    fn fill(
        &self,
        forward: FlowId,
        quota: &Quota,
        new: &NewSession,
    ) -> Option<(Packed, Option<Packed>)> {
        let session = self.session(forward)?;
        let generation = session.begin();
        session.set_born(new.flags, new.now);
        let Judgement { reason, mirrors, network_rule, group_rule, .. } = new.judgement;
        session.set_judgement(new.vrfs, reason as u8, mirrors, (network_rule, group_rule));
        session.set_charged(quota.vif.0, quota.vrf.0);
        let fill = |id: FlowId, flow: &NewFlow, life: FlowFlags| {
            let key = self.pack(&flow.key);
            self.flow(id)?.fill(&key, flow.flags.with(life), generation, new.ends, new.now);
            Some(key)
        };
        let (first, second) = &new.flows;
        let first = fill(forward, first, FlowFlags::ALIVE)?;
        let second = match second {
            Some(flow) if new.flags.contains(SessionFlags::ONE_SIDED) => {
                fill(forward.other(), flow, FlowFlags::default())?;
                None
            }
            Some(flow) => Some(fill(forward.other(), flow, FlowFlags::ALIVE)?),
            None => {
                self.flow(forward.other())?.bury();
                None
            }
        };
        Some((first, second))
    }

    /// Puts the keys into the directory: that with the lower hash first, so that of two workers that make the same
    /// session at once one gives way.
    fn publish(
        &self,
        forward: FlowId,
        (first, second): &(Packed, Option<Packed>),
    ) -> Result<(), Option<FlowId>> {
        let all = [Some((first, forward)), second.as_ref().map(|key| (key, forward.other()))];
        let [lower, higher] = match all {
            [Some(a), Some(b)] if a.0.hash() > b.0.hash() => [Some(b), Some(a)],
            all => all,
        };
        let mut done: Option<(u64, FlowId)> = None;
        for (key, id) in [lower, higher].into_iter().flatten() {
            let is = |other| self.is(other, key);
            if !self.directory.insert(key.hash(), id, is, || ()) {
                if let Some((hash, id)) = done {
                    // It may be another session's by now, if this one was found and ended.
                    self.directory.remove(hash, id);
                }
                return Err(self.find(first));
            }
            done = Some((key.hash(), id));
        }
        Ok(())
    }

    fn charge(&self, quota: &Quota, flows: u32) -> bool {
        let ((vif, of_vif), (vrf, of_vrf)) = (quota.vif, quota.vrf);
        let add = |count: Option<&AtomicU32>, limit: Option<u32>| {
            let Some(count) = count else { return true };
            let before = count.fetch_add(flows, Relaxed);
            let fits = limit.is_none_or(|limit| before.saturating_add(flows) <= limit);
            if !fits {
                count.fetch_sub(flows, Relaxed);
            }
            fits
        };
        if !add(self.vifs.get(vif.index()), of_vif) {
            return false;
        }
        let fits = add(self.vrfs.get(vrf.index()), of_vrf);
        if !fits && let Some(count) = self.vifs.get(vif.index()) {
            count.fetch_sub(flows, Relaxed);
        }
        fits
    }

    fn refund(&self, vif: VifId, vrf: VrfId, flows: u32) {
        for count in [self.vifs.get(vif.index()), self.vrfs.get(vrf.index())].into_iter().flatten()
        {
            count.fetch_sub(flows, Relaxed);
        }
    }

    fn free_slot(&self, id: SessionId) {
        let Some(session) = self.slab.session(id) else { return };
        let (vif, vrf) = session.charged();
        let flows = [id.forward(), id.forward().other()];
        let there = flows.iter().filter_map(|id| self.flow(*id)).filter(|flow| is_there(*flow));
        let count = u32::try_from(there.count()).unwrap_or(0);
        let nothing = Quota { vif: (vif, None), vrf: (vrf, None) };
        self.bury(id, &nothing, count);
        if self.free.push(id.0.get()).is_err() {
            debug_assert!(false, "there is room for all slots");
        }
    }

    fn bury(&self, id: SessionId, quota: &Quota, flows: u32) {
        for id in [id.forward(), id.forward().other()] {
            self.flow(id).into_iter().for_each(|flow| flow.bury());
        }
        self.refund(quota.vif.0, quota.vrf.0, flows);
    }
}

/// What policy says where nobody has asked it.
const NOT_JUDGED: Judgement = Judgement {
    verdict: Verdict::Pass,
    network_rule: RuleId::NOT_EVALUATED,
    group_rule: RuleId::NOT_EVALUATED,
    log: false,
    mirrors: [None; 2],
    reason: FlowDropReason::Unknown,
};

fn is_there(flow: Flow<'_>) -> bool {
    flow.state().flags().contains(FlowFlags::ALIVE)
}

fn flows(new: &NewSession) -> u32 {
    1 + u32::from(new.flows.1.is_some() && !new.flags.contains(SessionFlags::ONE_SIDED))
}

#[cfg(all(test, loom))]
mod tests;
