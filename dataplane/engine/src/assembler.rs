//! Fragments in order (reference dataplane.md section 15.1): nothing is reassembled; a later fragment of a datagram waits
//! until the head, which alone has the transport header, has passed.
//!
//! The head goes at once and is remembered; what comes later goes at once as long as it is. What comes before waits here,
//! with its frame, until the head comes or [`TIMEOUT`] is over, and is then dropped, never forwarded. A worker has its own
//! tables, so all fragments of a datagram have to meet on it: those of a workload come in by one queue, those from tunnels
//! are handed to the worker of their addresses (`decap`).
//!
//! Bounds, for each worker: [`Assembler::MOST`] frames wait ([`Waiting`]), or a share of the pool if that is less. The
//! table remembers [`SETS`] * [`WAYS`] datagrams. Where a set is full, who has no less than others
//! there forgets one of its own, anybody else one of whoever has most.
//!
//! The table does not count what arrived, so it does not notice when a datagram is complete: a duplicate would make it
//! forget too early, and hold what is still to come. An entry ends by age.

use port::Frame;
use tables::{DropReason, Generation, VrfId};

use crate::flow_hash::{Seed, datagram_hash};
use crate::packet::{Addresses, Meta, Packet, Protocol};
use crate::waiting::{Held, Refused, Source, Waiting};
use crate::worker::Tick;

/// How long a datagram is remembered after its last fragment, and how long a fragment waits for its head.
const TIMEOUT: u64 = 2_000_000_000;
const SETS: usize = 256;
const WAYS: usize = 4;

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

/// One worker's fragments.
pub(crate) struct Assembler {
    seed: Seed,
    entries: Box<[[Option<Entry>; WAYS]]>,
    pub(crate) waiting: Waiting<Datagram>,
}

impl Assembler {
    /// How many fragments wait at most.
    const MOST: usize = 256;

    /// Empty. `frames` are there for `workers`.
    pub(crate) fn new(seed: Seed, frames: usize, workers: usize) -> Assembler {
        Assembler {
            seed,
            entries: std::iter::repeat_n([None; WAYS], SETS).collect(),
            waiting: Waiting::new(Assembler::MOST, frames, workers, TIMEOUT),
        }
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
        since: (Tick, Generation),
    ) -> Result<(), (Frame, DropReason)> {
        let hash = datagram.hash(self.seed);
        self.waiting.hold(frame, meta, (datagram, hash), since).map_err(|(frame, why)| {
            let reason = match why {
                Refused::All => DropReason::Fragments,
                Refused::Share => DropReason::FragmentQueueFail,
                Refused::Large => DropReason::NoMemory,
            };
            (frame, reason)
        })
    }

    /// The first that waits for this datagram, no longer here.
    pub(crate) fn release(&mut self, datagram: &Datagram) -> Option<Held<Datagram>> {
        self.waiting.release(datagram, datagram.hash(self.seed))
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
