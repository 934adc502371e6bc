//! Packets that wait for something, with their frames: fragments for the head of their datagram, packets of a flow for an
//! agent's verdict. In the order in which they came, for a while, and not too many.
//!
//! Bounds: so many frames as there are places; half of them for one VRF and a quarter for one source ([`Source`]), so that a
//! flood leaves those of others alone; a sixteenth for large frames, which are scarce.

use port::{Frame, FramePool};
use tables::{Generation, VifId, VrfId, limits};

use crate::packet::Meta;
use crate::worker::Tick;

/// Looking for what waited too long is worth it at most this often, in nanoseconds.
const PACE: u64 = 50_000_000;

/// Whom a packet that waits is charged to: the interface it came in by, or the VRF for whose workloads a tunnel brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Vif(VifId),
    Fabric(VrfId),
}

impl Source {
    pub(crate) fn of(meta: &Meta) -> Source {
        if meta.is_from_fabric() { Source::Fabric(meta.vrf) } else { Source::Vif(meta.rx_vif) }
    }
}

/// Why a packet cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many wait.
    All,
    /// Too many of its VRF or source.
    Share,
    /// Too many large ones.
    Large,
}

/// A packet that waits.
pub(crate) struct Held<K> {
    /// For this.
    key: K,
    pub(crate) frame: Frame,
    pub(crate) meta: Meta,
    /// Of the tables that `meta` speaks of.
    pub(crate) generation: Generation,
    until: Tick,
}

/// A place for a packet, and the place behind it in its list: that of its bucket, or of those that are free.
struct Place<K> {
    held: Option<Held<K>>,
    next: u16,
}

/// First and last place of a bucket's list.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u16,
    last: u16,
}

/// The end of a list.
const NONE: u16 = u16::MAX;

/// How many packets wait, by whom they are charged to.
struct Tally {
    vifs: Box<[u16]>,
    fabric: Box<[u16]>,
    vrfs: Box<[u16]>,
    all: usize,
    large: usize,
}

impl Tally {
    fn new() -> Tally {
        let zeros = |count| std::iter::repeat_n(0, count).collect();
        Tally {
            vifs: zeros(limits::VIFS),
            fabric: zeros(limits::VRFS),
            vrfs: zeros(limits::VRFS),
            all: 0,
            large: 0,
        }
    }

    fn of_source(&mut self, source: Source) -> Option<&mut u16> {
        match source {
            Source::Vif(vif) => self.vifs.get_mut(vif.index()),
            Source::Fabric(vrf) => self.fabric.get_mut(vrf.index()),
        }
    }

    /// Whether one more may wait of so many.
    fn check(&mut self, frame: &Frame, meta: &Meta, limit: usize) -> Result<(), Refused> {
        let of_source = self.of_source(Source::of(meta)).map_or(0, |count| usize::from(*count));
        let of_vrf = self.vrfs.get(meta.vrf.index()).map_or(0, |count| usize::from(*count));
        if self.all >= limit {
            Err(Refused::All)
        } else if of_vrf * 2 >= limit.max(2) || of_source * 4 >= limit.max(4) {
            Err(Refused::Share)
        } else if frame.is_large() && self.large * 16 >= limit {
            Err(Refused::Large)
        } else {
            Ok(())
        }
    }

    fn note<K>(&mut self, held: &Held<K>) {
        self.all += 1;
        self.large += usize::from(held.frame.is_large());
        self.of_source(Source::of(&held.meta)).into_iter().for_each(|count| *count += 1);
        self.vrfs.get_mut(held.meta.vrf.index()).into_iter().for_each(|count| *count += 1);
    }

    fn forget<K>(&mut self, held: &Held<K>) {
        self.all = self.all.saturating_sub(1);
        self.large = self.large.saturating_sub(usize::from(held.frame.is_large()));
        let less = |count: &mut u16| *count = count.saturating_sub(1);
        self.of_source(Source::of(&held.meta)).into_iter().for_each(less);
        self.vrfs.get_mut(held.meta.vrf.index()).into_iter().for_each(less);
    }
}

/// See the module. What is waited for is told by a `K` and its hash.
pub(crate) struct Waiting<K> {
    places: Box<[Place<K>]>,
    /// The first free place.
    free: u16,
    /// By the hash, what waits, in the order in which it came.
    buckets: Box<[List]>,
    tally: Tally,
    /// Nanoseconds that a packet waits at most.
    timeout: u64,
    /// None has waited too long before this.
    due: Tick,
}

/// Of the frames in the pool, those that wait on all workers together are at most one in so many.
const SHARE: usize = 8;
/// Lists of packets that wait.
pub(crate) const BUCKETS: usize = 256;

impl<K: PartialEq> Waiting<K> {
    /// Room for `most`, or a share of a worker's `frames` if that is less, for so many nanoseconds.
    pub(crate) fn new(most: usize, frames: usize, workers: usize, timeout: u64) -> Waiting<K> {
        let limit = (frames / SHARE / workers.max(1)).min(most);
        let mut waiting = Waiting {
            places: std::iter::repeat_with(|| Place { held: None, next: NONE })
                .take(limit)
                .collect(),
            free: NONE,
            buckets: std::iter::repeat_n(List { first: NONE, last: NONE }, BUCKETS).collect(),
            tally: Tally::new(),
            timeout,
            due: Tick(u64::MAX),
        };
        (0..limit)
            .filter_map(|place| u16::try_from(place).ok())
            .for_each(|place| waiting.put_free(place));
        waiting
    }

    /// When something here may have waited too long; `Tick(u64::MAX)` while nothing waits.
    #[inline]
    pub(crate) fn due(&self) -> Tick {
        self.due
    }

    /// Keeps a packet, of which `meta` says what the tables of this generation do.
    ///
    /// # Errors
    /// The frame again, and why it cannot wait.
    pub(crate) fn hold(
        &mut self,
        frame: Frame,
        meta: &Meta,
        (key, hash): (K, u32),
        (now, generation): (Tick, Generation),
    ) -> Result<(), (Frame, Refused)> {
        if let Err(why) = self.tally.check(&frame, meta, self.places.len()) {
            return Err((frame, why));
        }
        let until = Tick(now.0.saturating_add(self.timeout));
        let free = self.free;
        let Some(place) = self.places.get_mut(usize::from(free)) else {
            return Err((frame, Refused::All));
        };
        let held = Held { key, frame, meta: meta.clone(), generation, until };
        self.tally.note(&held);
        self.free = std::mem::replace(&mut place.next, NONE);
        place.held = Some(held);
        self.append(free, bucket_of(hash));
        self.due = self.due.min(until);
        Ok(())
    }

    /// How many wait for this.
    pub(crate) fn count(&self, key: &K, hash: u32) -> usize {
        let mut count = 0;
        let mut at = self.buckets.get(bucket_of(hash)).map_or(NONE, |list| list.first);
        while let Some(place) = self.places.get(usize::from(at)) {
            count += usize::from(place.held.as_ref().is_some_and(|held| held.key == *key));
            at = place.next;
        }
        count
    }

    /// The first that waits for this, no longer here.
    pub(crate) fn release(&mut self, key: &K, hash: u32) -> Option<Held<K>> {
        if self.tally.all == 0 {
            return None;
        }
        self.take(bucket_of(hash), |held| held.key == *key)
    }

    /// One of a bucket that has waited too long, no longer here.
    pub(crate) fn expire(&mut self, bucket: usize, now: Tick) -> Option<Held<K>> {
        self.take(bucket, |held| held.until <= now)
    }

    /// Notes when there is something to expire, once all [`BUCKETS`] have been asked.
    pub(crate) fn plan(&mut self, now: Tick) {
        let left = self.places.iter().filter_map(|place| Some(place.held.as_ref()?.until)).min();
        let pace = Tick(now.0.saturating_add(PACE));
        self.due = left.map_or(Tick(u64::MAX), |until| until.max(pace));
    }

    /// Gives all frames home.
    pub(crate) fn close(&mut self, pool: &mut FramePool) {
        for bucket in 0..BUCKETS {
            while let Some(held) = self.take(bucket, |_| true) {
                pool.give(held.frame);
            }
        }
        self.due = Tick(u64::MAX);
    }

    fn put_free(&mut self, place: u16) {
        if let Some(freed) = self.places.get_mut(usize::from(place)) {
            freed.next = std::mem::replace(&mut self.free, place);
        }
    }

    /// Puts a place at the end of a bucket's list.
    fn append(&mut self, place: u16, bucket: usize) {
        let Some(list) = self.buckets.get_mut(bucket) else { return };
        let last = std::mem::replace(&mut list.last, place);
        match self.places.get_mut(usize::from(last)) {
            Some(before) => before.next = place,
            None => list.first = place,
        }
    }

    /// Takes the first of a bucket that is wanted.
    fn take(&mut self, bucket: usize, wanted: impl Fn(&Held<K>) -> bool) -> Option<Held<K>> {
        let list = self.buckets.get_mut(bucket)?;
        let (mut before, mut at) = (NONE, list.first);
        let (held, next) = loop {
            let place = self.places.get_mut(usize::from(at))?;
            if let Some(held) = place.held.take_if(|held| wanted(held)) {
                break (held, place.next);
            }
            (before, at) = (at, place.next);
        };
        match self.places.get_mut(usize::from(before)) {
            Some(before) => before.next = next,
            None => list.first = next,
        }
        if next == NONE {
            list.last = before;
        }
        self.put_free(at);
        self.tally.forget(&held);
        Some(held)
    }
}

fn bucket_of(hash: u32) -> usize {
    hash as usize % BUCKETS
}
