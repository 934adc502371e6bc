//! Fragments in order (reference dataplane.md section 15.1): nothing is reassembled; a later fragment of a datagram waits
//! until the head, which alone has the transport header, has passed.
//!
//! The head goes at once and is remembered; what comes later goes at once as long as it is. What comes before waits here,
//! with its frame, until the head comes or [`TIMEOUT`] is over, and is then dropped, never forwarded. A worker has its own
//! tables, so all fragments of a datagram have to meet on it: those of a workload come in by one queue, those from tunnels
//! are handed to the worker of their addresses (`decap`).
//!
//! Bounds, for each worker: [`Assembler::MOST`] frames wait, or a share of the pool if that is less; half of them for one
//! VRF and a quarter for one source ([`Source`]), so that a flood leaves the fragments of others alone; a few large frames,
//! which are scarce. The table remembers [`SETS`] * [`WAYS`] datagrams. Where a set is full, who has no less than others
//! there forgets one of its own, anybody else one of whoever has most.
//!
//! The table does not count what arrived, so it does not notice when a datagram is complete: a duplicate would make it
//! forget too early, and hold what is still to come. An entry ends by age.

use port::{Frame, FramePool};
use tables::{DropReason, Generation, VifId, VrfId, limits};

use crate::flow_hash::{Seed, datagram_hash};
use crate::packet::{Addresses, Meta, Packet, Protocol};
use crate::worker::Tick;

/// How long a datagram is remembered after its last fragment, and how long a fragment waits for its head.
const TIMEOUT: u64 = 2_000_000_000;
/// Looking for what waited too long is worth it at most this often.
const PACE: u64 = 50_000_000;
const SETS: usize = 256;
const WAYS: usize = 4;
/// Of the frames in the pool, all workers together hold at most one in so many.
const SHARE: usize = 8;

/// What names a datagram: its VRF, addresses as its sender wrote them, identification, and for IPv4 the protocol
/// (RFC 791, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    addresses: Addresses,
    id: u32,
    vrf: VrfId,
    protocol: u8,
}

impl Datagram {
    /// The datagram a fragment belongs to.
    pub(crate) fn of(packet: &Packet<'_>) -> Datagram {
        let meta = &*packet.meta;
        let (id, protocol) = match meta.protocol {
            Protocol::Ipv6 => {
                let found = wire::ipv6_payload(packet.network()).and_then(|found| found.fragment);
                (found.map_or(0, |fragment| fragment.id), 0)
            }
            _ => (u32::from(meta.id), meta.ip_protocol),
        };
        Datagram { addresses: meta.addresses, id, vrf: meta.vrf, protocol }
    }

    fn hash(&self, seed: Seed) -> u32 {
        datagram_hash(seed, self.vrf, self.addresses, self.protocol, self.id)
    }
}

/// Whom a fragment is charged to: the interface it came in by, or the VRF for whose workloads a tunnel brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Vif(VifId),
    Fabric(VrfId),
}

impl Source {
    fn of(meta: &Meta) -> Source {
        if meta.is_from_fabric() { Source::Fabric(meta.vrf) } else { Source::Vif(meta.rx_vif) }
    }
}

/// A datagram whose head has passed.
#[derive(Clone, Copy, Debug)]
struct Entry {
    datagram: Datagram,
    /// Source and destination port, or what stands for them in flows.
    ports: u32,
    source: Source,
    heard: Tick,
}

impl Entry {
    fn is_over(&self, now: Tick) -> bool {
        now.0.saturating_sub(self.heard.0) > TIMEOUT
    }
}

/// A fragment that waits for its head.
pub(crate) struct Held {
    datagram: Datagram,
    pub(crate) frame: Frame,
    pub(crate) meta: Meta,
    /// Of the tables that `meta` speaks of.
    pub(crate) generation: Generation,
    until: Tick,
}

/// A place for a fragment, and the place behind it in its list: that of its bucket, or of those that are free.
struct Place {
    held: Option<Held>,
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

/// How many fragments wait, by whom they are charged to.
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
    fn check(&mut self, frame: &Frame, meta: &Meta, limit: usize) -> Result<(), DropReason> {
        let of_source = self.of_source(Source::of(meta)).map_or(0, |count| usize::from(*count));
        let of_vrf = self.vrfs.get(meta.vrf.index()).map_or(0, |count| usize::from(*count));
        if self.all >= limit {
            Err(DropReason::Fragments)
        } else if of_vrf * 2 >= limit.max(2) || of_source * 4 >= limit.max(4) {
            Err(DropReason::FragmentQueueFail)
        } else if frame.is_large() && self.large * 16 >= limit {
            Err(DropReason::NoMemory)
        } else {
            Ok(())
        }
    }

    fn note(&mut self, held: &Held) {
        self.all += 1;
        self.large += usize::from(held.frame.is_large());
        self.of_source(Source::of(&held.meta)).into_iter().for_each(|count| *count += 1);
        self.vrfs.get_mut(held.meta.vrf.index()).into_iter().for_each(|count| *count += 1);
    }

    fn forget(&mut self, held: &Held) {
        self.all = self.all.saturating_sub(1);
        self.large = self.large.saturating_sub(usize::from(held.frame.is_large()));
        let less = |count: &mut u16| *count = count.saturating_sub(1);
        self.of_source(Source::of(&held.meta)).into_iter().for_each(less);
        self.vrfs.get_mut(held.meta.vrf.index()).into_iter().for_each(less);
    }
}

/// One worker's fragments.
pub(crate) struct Assembler {
    seed: Seed,
    entries: Box<[[Option<Entry>; WAYS]]>,
    places: Box<[Place]>,
    /// The first free place.
    free: u16,
    /// By the hash of the datagram, what waits, in the order in which it came.
    buckets: Box<[List]>,
    waiting: Tally,
    /// No fragment has waited too long before this.
    due: Tick,
}

impl Assembler {
    /// How many fragments wait at most.
    const MOST: usize = 256;
    /// Lists of fragments that wait.
    pub(crate) const BUCKETS: usize = 256;

    /// Empty. `frames` are there for `workers`.
    pub(crate) fn new(seed: Seed, frames: usize, workers: usize) -> Assembler {
        let limit = (frames / SHARE / workers.max(1)).min(Assembler::MOST);
        let mut assembler = Assembler {
            seed,
            entries: std::iter::repeat_n([None; WAYS], SETS).collect(),
            places: std::iter::repeat_with(|| Place { held: None, next: NONE })
                .take(limit)
                .collect(),
            free: NONE,
            buckets: std::iter::repeat_n(List { first: NONE, last: NONE }, Assembler::BUCKETS)
                .collect(),
            waiting: Tally::new(),
            due: Tick(u64::MAX),
        };
        (0..limit)
            .filter_map(|place| u16::try_from(place).ok())
            .for_each(|place| assembler.put_free(place));
        assembler
    }

    /// When something here may have waited too long; `Tick(u64::MAX)` while nothing waits.
    #[inline]
    pub(crate) fn due(&self) -> Tick {
        self.due
    }

    /// Whether the head of a datagram has passed, and is remembered.
    pub(crate) fn knows(&mut self, datagram: &Datagram, now: Tick) -> bool {
        let entry = self.set(datagram).and_then(|set| {
            set.iter_mut()
                .flatten()
                .find(|entry| entry.datagram == *datagram && !entry.is_over(now))
        });
        entry.map(|entry| entry.heard = now).is_some()
    }

    /// What the head of a datagram that is remembered said about its ports.
    pub(crate) fn ports(&self, datagram: &Datagram) -> Option<u32> {
        let set = self.entries.get(datagram.hash(self.seed) as usize % SETS)?;
        let mut entries = set.iter().flatten();
        entries.find(|entry| entry.datagram == *datagram).map(|entry| entry.ports)
    }

    fn set(&mut self, datagram: &Datagram) -> Option<&mut [Option<Entry>; WAYS]> {
        let index = datagram.hash(self.seed) as usize % SETS;
        self.entries.get_mut(index)
    }

    /// Remembers a datagram by its head.
    pub(crate) fn remember(&mut self, datagram: Datagram, meta: &Meta, ports: u32, now: Tick) {
        let source = Source::of(meta);
        let Some(set) = self.set(&datagram) else { return };
        let place = place_for(set, &datagram, source, now).and_then(|place| set.get_mut(place));
        if let Some(place) = place {
            *place = Some(Entry { datagram, ports, source, heard: now });
        }
    }

    /// Keeps a fragment, of which `meta` says what the tables of this generation do, until its head comes.
    ///
    /// # Errors
    /// The frame again, and why it cannot wait: too many wait (`Fragments`), too many of its VRF or source
    /// (`FragmentQueueFail`), too many large ones (`NoMemory`).
    pub(crate) fn hold(
        &mut self,
        frame: Frame,
        meta: &Meta,
        datagram: Datagram,
        (now, generation): (Tick, Generation),
    ) -> Result<(), (Frame, DropReason)> {
        if let Err(reason) = self.waiting.check(&frame, meta, self.places.len()) {
            return Err((frame, reason));
        }
        let until = Tick(now.0.saturating_add(TIMEOUT));
        let free = self.free;
        let Some(place) = self.places.get_mut(usize::from(free)) else {
            return Err((frame, DropReason::Fragments));
        };
        let held = Held { datagram, frame, meta: meta.clone(), generation, until };
        self.waiting.note(&held);
        self.free = std::mem::replace(&mut place.next, NONE);
        place.held = Some(held);
        self.append(free, datagram.hash(self.seed) as usize % Assembler::BUCKETS);
        self.due = self.due.min(until);
        Ok(())
    }

    /// The first that waits for this datagram, no longer here.
    pub(crate) fn release(&mut self, datagram: &Datagram) -> Option<Held> {
        if self.waiting.all == 0 {
            return None;
        }
        let bucket = datagram.hash(self.seed) as usize % Assembler::BUCKETS;
        self.take(bucket, |held| held.datagram == *datagram)
    }

    /// One of a bucket that has waited too long, no longer here.
    pub(crate) fn expire(&mut self, bucket: usize, now: Tick) -> Option<Held> {
        self.take(bucket, |held| held.until <= now)
    }

    /// Notes when there is something to expire, once all buckets have been asked.
    pub(crate) fn plan(&mut self, now: Tick) {
        let left = self.places.iter().filter_map(|place| Some(place.held.as_ref()?.until)).min();
        let pace = Tick(now.0.saturating_add(PACE));
        self.due = left.map_or(Tick(u64::MAX), |until| until.max(pace));
    }

    /// Gives all frames home.
    pub(crate) fn close(&mut self, pool: &mut FramePool) {
        for bucket in 0..self.buckets.len() {
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
    fn take(&mut self, bucket: usize, wanted: impl Fn(&Held) -> bool) -> Option<Held> {
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
        self.waiting.forget(&held);
        Some(held)
    }
}

/// Where in its set a datagram is remembered: where it is already, in a place that is free, or instead of one of its own
/// source if that has no less than others, else of the source that has most; of those the one heard of least recently.
fn place_for(
    set: &[Option<Entry>; WAYS],
    datagram: &Datagram,
    source: Source,
    now: Tick,
) -> Option<usize> {
    let known = |entry: &Option<Entry>| entry.is_some_and(|entry| entry.datagram == *datagram);
    let free = |entry: &Option<Entry>| entry.is_none_or(|entry| entry.is_over(now));
    if let Some(place) = set.iter().position(known).or_else(|| set.iter().position(free)) {
        return Some(place);
    }
    let of = |source: Source| set.iter().flatten().filter(|entry| entry.source == source).count();
    let most = set.iter().flatten().map(|entry| of(entry.source)).max()?;
    // Taking one of another's would leave that one with less than its taker.
    let own = of(source) != 0 && of(source) + 1 >= most;
    let loses = |entry: &Entry| {
        if own { entry.source == source } else { of(entry.source) == most }
    };
    let places = set.iter().enumerate().filter_map(|(place, entry)| Some((place, (*entry)?)));
    let losers = places.filter(|(_, entry)| loses(entry));
    losers.min_by_key(|(_, entry)| entry.heard.0).map(|(place, _)| place)
}
