//! Changed kernel routes, gathered: they come in flocks, and each costs a question about every destination inside.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// How long changes are gathered.
const SETTLE: Duration = Duration::from_millis(10);
/// More changed prefixes than this count as all.
const MANY: usize = 256;

/// Prefixes inside which routes changed.
#[derive(Debug, Default)]
pub(crate) struct RouteChanges {
    prefixes: BTreeSet<(IpAddr, u8)>,
    since: Option<Instant>,
}

impl RouteChanges {
    /// Takes note of one.
    pub(crate) fn note(&mut self, prefix: IpAddr, length: u8) {
        self.since.get_or_insert_with(Instant::now);
        if self.prefixes.len() < MANY {
            self.prefixes.insert((prefix, length));
        }
    }

    /// When to look at them.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + SETTLE)
    }

    /// All of them; the default route stands for everything.
    pub(crate) fn take(&mut self) -> Vec<(IpAddr, u8)> {
        self.since = None;
        let prefixes = std::mem::take(&mut self.prefixes);
        if prefixes.len() < MANY {
            prefixes.into_iter().collect()
        } else {
            vec![(Ipv4Addr::UNSPECIFIED.into(), 0)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flock_counts_as_everything() {
        let mut changes = RouteChanges::default();
        assert!(changes.due().is_none());
        changes.note(Ipv4Addr::new(10, 0, 0, 0).into(), 24);
        changes.note(Ipv4Addr::new(10, 0, 0, 0).into(), 24);
        assert!(changes.due().is_some());
        assert_eq!(changes.take(), [(IpAddr::from([10, 0, 0, 0]), 24)]);
        for last in 0..2000u32 {
            changes.note(Ipv4Addr::from_bits(last).into(), 32);
        }
        assert_eq!(changes.take(), [(IpAddr::from([0, 0, 0, 0]), 0)]);
        assert!(changes.due().is_none());
    }
}
