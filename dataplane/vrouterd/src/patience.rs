//! When a worker that finds nothing to do stops polling and sleeps.

use std::time::Duration;

/// How long a worker polls in vain before it sleeps. Longer wastes the core, shorter pays a wake-up (some microseconds
/// and a system call) for packets that come in quick succession.
const SPIN: Duration = Duration::from_micros(40);

/// What to do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Turn again at once.
    None,
    /// Sleep until something comes.
    Sleep,
}

/// The memory of a worker's vain turns.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    idle_since: Option<Duration>,
}

impl Patience {
    /// Judges a turn that ended at `now` (on any steady clock) and did or did not find work.
    pub(crate) fn after(&mut self, work: usize, now: Duration) -> Rest {
        if work > 0 {
            self.idle_since = None;
            return Rest::None;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_sub(since) < SPIN { Rest::None } else { Rest::Sleep }
    }

    /// The worker slept and was woken: it polls again for a while.
    pub(crate) fn woken(&mut self) {
        self.idle_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_sleeps_only_after_a_while_without_work() {
        let mut patience = Patience::default();
        let at = |micros: u64| Duration::from_micros(1000 + micros);
        assert_eq!(patience.after(0, at(0)), Rest::None);
        assert_eq!(patience.after(0, at(39)), Rest::None);
        assert_eq!(patience.after(3, at(39)), Rest::None);
        assert_eq!(patience.after(0, at(50)), Rest::None);
        assert_eq!(patience.after(0, at(90)), Rest::Sleep);
        patience.woken();
        assert_eq!(patience.after(0, at(300)), Rest::None);
    }
}
