//! From a number (an address, a port) to the set of rules that want it: the numbers at which the set changes, ascending,
//! and the sets between them. Equal sets are kept once.

use std::collections::{BTreeMap, HashMap};

use super::bits::{Bits, WORDS, insert, remove};

/// See the module. From the last start on there is no end.
#[derive(Clone, Debug)]
pub(super) struct Ranges<K> {
    starts: Box<[K]>,
    /// By start, which of `sets`.
    which: Box<[u32]>,
    sets: Box<[Bits]>,
}

impl<K: Copy + Ord> Ranges<K> {
    /// Of rules and the numbers they want, both included. `next` is the number after another, `None` after the last.
    pub(super) fn new(
        wants: impl IntoIterator<Item = (usize, K, K)>,
        next: impl Fn(K) -> Option<K>,
    ) -> Ranges<K> {
        // By number: rules that begin there, and that have ended before it.
        let mut changes: BTreeMap<K, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for (rule, first, last) in wants {
            changes.entry(first).or_default().0.push(rule);
            if let Some(after) = next(last) {
                changes.entry(after).or_default().1.push(rule);
            }
        }
        let mut all = [0; WORDS];
        // A rule may want a number twice.
        let mut counts: HashMap<usize, u32> = HashMap::new();
        let (mut starts, mut which, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        let mut known: HashMap<Bits, u32> = HashMap::new();
        for (start, (begin, end)) in changes {
            for rule in begin {
                let count = counts.entry(rule).or_default();
                *count += 1;
                insert(&mut all, rule);
            }
            for rule in end {
                if let Some(count) = counts.get_mut(&rule) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(&rule);
                        remove(&mut all, rule);
                    }
                }
            }
            let bits = Bits::new(&all);
            let number = u32::try_from(sets.len()).unwrap_or(u32::MAX);
            let set = *known.entry(bits.clone()).or_insert(number);
            if set == number {
                sets.push(bits);
            }
            starts.push(start);
            which.push(set);
        }
        Ranges { starts: starts.into(), which: which.into(), sets: sets.into() }
    }

    /// The rules that want a number; `None` when none does.
    pub(super) fn of(&self, number: K) -> Option<&Bits> {
        let at = self.starts.partition_point(|start| *start <= number).checked_sub(1)?;
        self.sets.get(*self.which.get(at)? as usize)
    }

    /// Bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.starts)
            + size_of_val(&*self.which)
            + self.sets.iter().map(Bits::bytes).sum::<usize>()
    }
}
