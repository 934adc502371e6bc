//! A worker's own index: from a key's hash to the flows it owns.
//!
//! Entries are words, a tag (the hash's low half) above a flow index, in buckets of a cache line. A bucket that is full
//! goes on in the next; where an entry is taken out, those behind it move up, so that a look-up ends at the first bucket
//! with a free place and nothing has ever to be cleaned.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sys::words::Words;

use super::slab::FlowId;

const WAYS: usize = 8;

/// See the module. Words are atomics because the mapping's are; nobody else reads them.
#[derive(Debug)]
pub struct FlowIndex {
    words: Words,
    /// Number of buckets less one: a power of two less one.
    mask: usize,
    count: usize,
    limit: usize,
    /// How often a flow was taken out; wraps.
    removals: u32,
}

impl FlowIndex {
    /// Empty, with room for `flows`.
    ///
    /// # Errors
    /// What the system answers.
    pub fn new(flows: usize) -> io::Result<FlowIndex> {
        // Two thirds full at most, so that chains stay short.
        let buckets = (flows.max(1) * 3 / (2 * WAYS) + 1).next_power_of_two();
        let words = Words::private(buckets * WAYS)?;
        let limit = buckets * WAYS * 7 / 8;
        Ok(FlowIndex { words, mask: buckets - 1, count: 0, limit, removals: 0 })
    }

    /// How many flows are in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of buckets.
    pub fn buckets(&self) -> usize {
        self.mask + 1
    }

    /// Asks for the bucket of a hash.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(word) = self.words.get(self.home(hash) * WAYS) {
            sys::prefetch::prefetch_read(word);
        }
    }

    /// How often a flow was taken out so far, wrapping. As long as it stays the same, what was found here still is here.
    #[inline]
    pub fn removals(&self) -> u32 {
        self.removals
    }

    /// The first flow of this hash in its home bucket: what to prefetch. It may be another key's.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<FlowId> {
        let bucket = self.bucket(self.home(hash))?;
        let entry = bucket.iter().map(|word| word.load(Relaxed)).find(|entry| is(*entry, hash))?;
        flow(entry)
    }

    /// The flow of this hash for which `holds` is true.
    #[inline]
    pub fn find(&self, hash: u64, mut holds: impl FnMut(FlowId) -> bool) -> Option<FlowId> {
        let mut at = self.home(hash);
        loop {
            let mut full = true;
            for word in self.bucket(at)? {
                let entry = word.load(Relaxed);
                if is(entry, hash)
                    && let Some(flow) = flow(entry)
                    && holds(flow)
                {
                    return Some(flow);
                }
                full &= entry != 0;
            }
            if !full {
                return None;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Puts a flow in; `false` when there is no room.
    pub fn insert(&mut self, hash: u64, flow: FlowId) -> bool {
        if self.count >= self.limit {
            return false;
        }
        let mut at = self.home(hash);
        loop {
            let Some(bucket) = self.bucket(at) else { return false };
            if let Some(free) = bucket.iter().find(|word| word.load(Relaxed) == 0) {
                free.store((hash & TAG) << 32 | u64::from(flow.index()), Relaxed);
                self.count += 1;
                return true;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Takes a flow out; whether it was there.
    pub fn remove(&mut self, hash: u64, flow: FlowId) -> bool {
        let entry = (hash & TAG) << 32 | u64::from(flow.index());
        let mut at = self.home(hash);
        loop {
            let Some(bucket) = self.bucket(at) else { return false };
            let full = bucket.iter().all(|word| word.load(Relaxed) != 0);
            if let Some(place) = bucket.iter().position(|word| word.load(Relaxed) == entry) {
                self.clear(at, place, full);
                self.count -= 1;
                self.removals = self.removals.wrapping_add(1);
                return true;
            }
            if !full {
                return false;
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The flows in a bucket, with the tag (low half of the hash) each was put in under.
    pub fn in_bucket(&self, bucket: usize) -> impl Iterator<Item = (u64, FlowId)> + '_ {
        let words = self.bucket(bucket & self.mask).into_iter().flatten();
        words.filter_map(|word| {
            let entry = word.load(Relaxed);
            Some((entry >> 32, flow(entry)?))
        })
    }

    /// Empties a place. If its bucket was full, chains may go on behind it: the last entry of the chain that may lie here
    /// moves up, and so on from where that was.
    fn clear(&self, mut at: usize, mut place: usize, mut full: bool) {
        loop {
            self.store(at, place, 0);
            if !full {
                return;
            }
            let (mut from, mut moved) = ((at + 1) & self.mask, None);
            loop {
                let Some(bucket) = self.bucket(from) else { return };
                let entries = bucket.iter().map(|word| word.load(Relaxed)).enumerate();
                let mut next_full = true;
                for (position, entry) in entries {
                    next_full &= entry != 0;
                    // It may lie anywhere from its home on.
                    if entry != 0 && self.distance(entry, from) >= self.distance_between(at, from) {
                        moved = Some((position, entry));
                    }
                }
                if let Some((position, entry)) = moved {
                    self.store(at, place, entry);
                    (at, place, full) = (from, position, next_full);
                    break;
                }
                if !next_full {
                    return;
                }
                from = (from + 1) & self.mask;
            }
        }
    }

    fn store(&self, bucket: usize, place: usize, entry: u64) {
        if let Some(word) = self.words.get(bucket * WAYS + place) {
            word.store(entry, Relaxed);
        }
    }

    /// How many buckets behind its home an entry lies.
    fn distance(&self, entry: u64, at: usize) -> usize {
        self.distance_between(self.home(entry >> 32), at)
    }

    fn distance_between(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    #[inline]
    fn bucket(&self, at: usize) -> Option<&[AtomicU64; WAYS]> {
        self.words.get(at * WAYS..)?.first_chunk()
    }
}

const TAG: u64 = 0xffff_ffff;

#[inline]
fn is(entry: u64, hash: u64) -> bool {
    entry >> 32 == hash & TAG
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
fn flow(entry: u64) -> Option<FlowId> {
    FlowId::new(entry as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(index: u32) -> FlowId {
        FlowId::new(index + 2).unwrap()
    }

    proptest! {
        /// Few homes, so that chains over several buckets are the rule.
        #[test]
        fn an_index_answers_as_a_set_while_flows_come_and_go(
            ops in prop::collection::vec((any::<bool>(), 0u64..5, 0u32..60), 1..400),
        ) {
            let mut index = FlowIndex::new(64).unwrap();
            let mut twin = BTreeSet::new();
            for (put, home, flow) in ops {
                // Homes at the end of the table wrap.
                let hash = (home + index.buckets() as u64 - 2) | u64::from(flow) << 20;
                let there = twin.contains(&(hash, flow));
                if put && !there {
                    let room = twin.len() < index.limit;
                    prop_assert_eq!(index.insert(hash, id(flow)), room);
                    if room {
                        twin.insert((hash, flow));
                    }
                } else if !put {
                    prop_assert_eq!(index.remove(hash, id(flow)), there);
                    twin.remove(&(hash, flow));
                }
                for (hash, flow) in &twin {
                    prop_assert_eq!(index.find(*hash, |found| found == id(*flow)), Some(id(*flow)));
                }
                prop_assert_eq!(index.len(), twin.len());
                let listed: usize = (0..index.buckets()).map(|at| index.in_bucket(at).count()).sum();
                prop_assert_eq!(listed, twin.len());
            }
        }
    }

    #[test]
    fn a_full_index_refuses_and_loses_nothing() {
        let mut index = FlowIndex::new(8).unwrap();
        let mut put = 0;
        while index.insert(u64::from(put) * 3, id(put)) {
            put += 1;
        }
        assert!(put >= 8);
        assert!((0..put).all(|n| index.find(u64::from(n) * 3, |found| found == id(n)).is_some()));
        assert!(index.find(1, |_| true).is_none());
    }
}
