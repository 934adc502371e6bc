//! Flows that wait for an agent's decision: how many there are, and how many there may be (reference dataplane.md
//! section 14.4, case H24).
//!
//! Node and interface have a limit each, so that one workload's flood leaves the others room. Above the node's limit a few
//! more are let in by tokens, if there are any.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::{VifId, limits};

/// How many undecided flows there may be. Changed while packets move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// On the node; an interface may have a 64th of it, but one.
    pub flows: u32,
    /// So many more at once.
    pub tokens: u32,
    /// After so many milliseconds there are ...
    pub interval: u32,
    /// ... so many tokens more, up to `tokens`.
    pub step: u32,
}

impl Default for HoldLimits {
    fn default() -> HoldLimits {
        HoldLimits { flows: 8192, tokens: 0, interval: 10, step: 0 }
    }
}

/// Why a flow cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRefused {
    /// The node has as many as it may.
    Node,
    /// The interface has.
    Vif,
}

/// See the module.
#[derive(Debug)]
pub struct Undecided {
    all: AtomicU32,
    vifs: Box<[AtomicU32]>,
    flows: AtomicU32,
    most_tokens: AtomicU32,
    interval: AtomicU32,
    step: AtomicU32,
    tokens: AtomicU32,
    refilled: AtomicU32,
}

/// An interface may have one in so many: what it makes an agent wait for, others wait for behind it.
const SHARE: u32 = 64;

impl Undecided {
    pub(crate) fn new() -> Undecided {
        let zero = || AtomicU32::new(0);
        let undecided = Undecided {
            all: zero(),
            vifs: std::iter::repeat_with(zero).take(limits::VIFS).collect(),
            flows: zero(),
            most_tokens: zero(),
            interval: zero(),
            step: zero(),
            tokens: zero(),
            refilled: zero(),
        };
        undecided.limit(HoldLimits::default());
        undecided
    }

    /// Counts and limits as here.
    pub(crate) fn like(&self) -> Undecided {
        let copy = |count: &AtomicU32| AtomicU32::new(count.load(Relaxed));
        Undecided {
            all: copy(&self.all),
            vifs: self.vifs.iter().map(copy).collect(),
            flows: copy(&self.flows),
            most_tokens: copy(&self.most_tokens),
            interval: copy(&self.interval),
            step: copy(&self.step),
            tokens: copy(&self.tokens),
            refilled: copy(&self.refilled),
        }
    }

    /// Changes the limits; there are all tokens then.
    pub fn limit(&self, limits: HoldLimits) {
        self.flows.store(limits.flows, Relaxed);
        self.most_tokens.store(limits.tokens, Relaxed);
        self.interval.store(limits.interval, Relaxed);
        self.step.store(limits.step, Relaxed);
        self.tokens.store(limits.tokens, Relaxed);
    }

    /// Flows that wait.
    pub fn flows(&self) -> u32 {
        self.all.load(Relaxed)
    }

    /// Tokens that are left.
    pub fn tokens(&self) -> u32 {
        self.tokens.load(Relaxed)
    }

    /// Lets one more wait, charged to an interface. `now` is in milliseconds, and wraps.
    ///
    /// # Errors
    /// See [`HoldRefused`].
    pub fn admit(&self, vif: VifId, now: u32) -> Result<(), HoldRefused> {
        let most = self.flows.load(Relaxed);
        let of_vif = self.vifs.get(vif.index()).map_or(0, |count| count.load(Relaxed));
        if of_vif >= (most / SHARE).max(1).min(most) {
            return Err(HoldRefused::Vif);
        }
        if self.flows() >= most && !self.take_token(now) {
            return Err(HoldRefused::Node);
        }
        self.enter(vif);
        Ok(())
    }

    /// One more waits.
    pub(crate) fn enter(&self, vif: VifId) {
        for count in self.counts(vif) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// One waits no longer, or was not made after all.
    pub fn leave(&self, vif: VifId) {
        for count in self.counts(vif) {
            // Never below: each has entered.
            count.fetch_sub(1, Relaxed);
        }
    }

    fn counts(&self, vif: VifId) -> impl Iterator<Item = &AtomicU32> {
        [Some(&self.all), self.vifs.get(vif.index())].into_iter().flatten()
    }

    fn take_token(&self, now: u32) -> bool {
        let refilled = self.refilled.load(Acquire);
        let due = now.wrapping_sub(refilled) >= self.interval.load(Relaxed);
        let step = self.step.load(Relaxed);
        if due
            && step != 0
            && self.refilled.compare_exchange(refilled, now, AcqRel, Acquire).is_ok()
        {
            let most = self.most_tokens.load(Relaxed);
            // Nothing to fail: any value is replaced.
            let _ = self.tokens.fetch_update(AcqRel, Acquire, |tokens| {
                Some(tokens.saturating_add(step).min(most))
            });
        }
        self.tokens.fetch_update(AcqRel, Acquire, |tokens| tokens.checked_sub(1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undecided(flows: u32, tokens: u32, step: u32) -> Undecided {
        let undecided = Undecided::new();
        undecided.limit(HoldLimits { flows, tokens, interval: 10, step });
        undecided
    }

    #[test]
    fn an_interface_has_its_share_and_the_node_its_limit() {
        let undecided = undecided(128, 0, 0);
        let admitted = |vif: u16| undecided.admit(VifId(vif), 0);
        for vif in 0..64 {
            assert_eq!((admitted(vif), admitted(vif)), (Ok(()), Ok(())));
            assert_eq!(admitted(vif), Err(HoldRefused::Vif));
        }
        assert_eq!(admitted(64), Err(HoldRefused::Node));
        undecided.leave(VifId(3));
        assert_eq!((admitted(64), undecided.flows()), (Ok(()), 128));
    }

    #[test]
    fn tokens_let_more_in_and_come_back_by_steps() {
        let undecided = undecided(1, 3, 2);
        let admitted = |vif: std::ops::Range<u16>, now| {
            vif.filter(|vif| undecided.admit(VifId(*vif), now).is_ok()).count()
        };
        assert_eq!(admitted(0..1, 5), 1);
        assert_eq!(admitted(1..9, 5), 3, "all tokens");
        assert_eq!(admitted(9..19, 20), 2, "a step");
        assert_eq!(admitted(19..29, 29), 0, "not yet");
        assert_eq!(admitted(29..39, 30), 2);
    }

    #[test]
    fn a_limit_of_zero_lets_nothing_wait() {
        assert_eq!(undecided(0, 9, 9).admit(VifId(1), 0), Err(HoldRefused::Vif));
    }
}
