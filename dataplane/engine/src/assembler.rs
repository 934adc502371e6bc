//! Fragments in order (reference dataplane.md section 15.1): nothing is reassembled; a later fragment of a datagram waits
//! until the head, which alone has the transport header, has passed.
//!
//! The head goes at once and leaves its ports in a table of datagrams; what comes later goes at once while they are
//! there. What comes before waits here, with its frame, until the head comes or [`TIMEOUT`] is over, and is then dropped,
//! never forwarded. A worker has its own tables, so all fragments of a datagram have to meet on it: those of a workload
//! come in by one queue, those from tunnels are handed to the worker of their addresses (`decap`).
//!
//! Bounds, for each worker: [`Assembler::MOST`] frames wait, or a share of the pool if that is less; half of them for one
//! VRF, so that one tenant's flood leaves another's fragments alone; a few large frames, which are scarce. The table
//! remembers [`SETS`] * [`WAYS`] datagrams and forgets the one it heard of least recently.
//!
//! The table does not count what arrived, so it does not notice when a datagram is complete: a duplicate would make it
//! forget too early, and hold what is still to come. An entry ends by age.

use port::{Frame, FramePool};
use tables::{DropReason, VrfId};
use wire::protocol;

use crate::counters::Counters;
use crate::flow_hash::{Seed, datagram_hash};
use crate::graph::{Next, Spawned};
use crate::packet::{Addresses, Fragment, Meta, Packet, Protocol};
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

/// A datagram whose head has passed.
#[derive(Clone, Copy, Debug)]
struct Entry {
    datagram: Datagram,
    /// Source and destination port in one word; 0 where there are none.
    ports: u32,
    heard: Tick,
}

/// A fragment that waits for its head.
struct Held {
    datagram: Datagram,
    frame: Frame,
    meta: Meta,
    until: Tick,
}

/// One worker's fragments.
pub(crate) struct Assembler {
    seed: Seed,
    entries: Box<[[Option<Entry>; WAYS]]>,
    held: Box<[Option<Held>]>,
    /// The hash of each held fragment's datagram, beside them so that few lines are read for a search.
    hashes: Box<[u32]>,
    count: usize,
    /// How many may wait.
    limit: usize,
    /// No fragment has waited too long before this.
    due: Tick,
}

impl Assembler {
    /// How many fragments wait at most.
    const MOST: usize = 256;

    /// Empty. `frames` are there for `workers`.
    pub(crate) fn new(seed: Seed, frames: usize, workers: usize) -> Assembler {
        let limit = (frames / SHARE / workers.max(1)).min(Assembler::MOST);
        Assembler {
            seed,
            entries: std::iter::repeat_n([None; WAYS], SETS).collect(),
            held: std::iter::repeat_with(|| None).take(limit).collect(),
            hashes: std::iter::repeat_n(0, limit).collect(),
            count: 0,
            limit,
            due: Tick(u64::MAX),
        }
    }

    /// When something here may have waited too long; `Tick(u64::MAX)` while nothing waits.
    #[inline]
    pub(crate) fn due(&self) -> Tick {
        self.due
    }

    /// The ports that the head of a datagram had (source and destination in one word), while it is remembered.
    pub(crate) fn ports(&mut self, datagram: &Datagram, now: Tick) -> Option<u32> {
        let set = self.set(datagram)?;
        let entry = set.iter_mut().flatten().find(|entry| entry.datagram == *datagram)?;
        if now.0.saturating_sub(entry.heard.0) > TIMEOUT {
            return None;
        }
        entry.heard = now;
        Some(entry.ports)
    }

    fn set(&mut self, datagram: &Datagram) -> Option<&mut [Option<Entry>; WAYS]> {
        let index = datagram.hash(self.seed) as usize % SETS;
        self.entries.get_mut(index)
    }

    /// Remembers a datagram by its head: instead of itself, of none, or of the one heard of least recently.
    pub(crate) fn remember(&mut self, datagram: Datagram, packet: &Packet<'_>, now: Tick) {
        let ports = ports_of(packet);
        let Some(set) = self.set(&datagram) else { return };
        let known = set.iter().position(|e| e.is_some_and(|entry| entry.datagram == datagram));
        let place = match known {
            Some(place) => set.get_mut(place),
            None => set.iter_mut().min_by_key(|entry| entry.map_or(0, |entry| entry.heard.0)),
        };
        if let Some(place) = place {
            *place = Some(Entry { datagram, ports, heard: now });
        }
    }

    /// Keeps a fragment until its head comes.
    ///
    /// # Errors
    /// The frame again, and why it cannot wait: too many wait (`Fragments`), too many of its VRF
    /// (`FragmentQueueFail`), too many large ones (`NoMemory`).
    pub(crate) fn hold(
        &mut self,
        frame: Frame,
        meta: &Meta,
        datagram: Datagram,
        now: Tick,
    ) -> Result<(), (Frame, DropReason)> {
        if self.count == self.limit {
            return Err((frame, DropReason::Fragments));
        }
        let of_vrf = self.held.iter().flatten().filter(|held| held.meta.vrf == meta.vrf).count();
        if of_vrf * 2 >= self.limit.max(2) {
            return Err((frame, DropReason::FragmentQueueFail));
        }
        let large = |held: &&Held| held.frame.is_large();
        if frame.is_large() && self.held.iter().flatten().filter(large).count() * 16 >= self.limit {
            return Err((frame, DropReason::NoMemory));
        }
        let hash = datagram.hash(self.seed);
        let until = Tick(now.0.saturating_add(TIMEOUT));
        for (place, known) in self.held.iter_mut().zip(&mut self.hashes) {
            if place.is_none() {
                *place = Some(Held { datagram, frame, meta: meta.clone(), until });
                *known = hash;
                self.count += 1;
                self.due = self.due.min(until);
                return Ok(());
            }
        }
        // Not reached: there are as many places as the limit says.
        Err((frame, DropReason::Fragments))
    }

    /// Sends what waits for this datagram on, behind the burst, in the order in which it came.
    pub(crate) fn release(
        &mut self,
        datagram: &Datagram,
        spawned: &mut Spawned,
        counters: &Counters,
        pool: &mut FramePool,
    ) {
        if self.count == 0 {
            return;
        }
        let hash = datagram.hash(self.seed);
        loop {
            let places = self.held.iter_mut().zip(&self.hashes);
            let waiting = places
                .filter(|(held, known)| {
                    **known == hash && held.as_ref().is_some_and(|held| held.datagram == *datagram)
                })
                .map(|(held, _)| held)
                .min_by_key(|held| held.as_ref().map(|held| held.until));
            let Some(held) = waiting.and_then(Option::take) else { return };
            self.count -= 1;
            counters.released();
            let next = onward(&held.meta);
            if let Err(frame) = spawned.push(held.frame, held.meta.clone(), next) {
                counters.dropped(held.meta.rx_vif, held.meta.vrf, DropReason::NoMemory);
                pool.give(frame);
            }
        }
    }

    /// Drops what has waited too long.
    #[cold]
    pub(crate) fn expire(&mut self, counters: &Counters, pool: &mut FramePool, now: Tick) {
        let mut next = Tick(u64::MAX);
        for place in &mut self.held {
            match place.take_if(|held| held.until <= now) {
                Some(Held { frame, meta, .. }) => {
                    self.count -= 1;
                    counters.released();
                    counters.dropped(meta.rx_vif, meta.vrf, DropReason::NoFragEntry);
                    pool.give(frame);
                }
                None => next = next.min(place.as_ref().map_or(next, |held| held.until)),
            }
        }
        self.due = if self.count == 0 { next } else { next.max(Tick(now.0.saturating_add(PACE))) };
    }

    /// Gives all frames home.
    pub(crate) fn close(&mut self, pool: &mut FramePool) {
        for held in self.held.iter_mut().filter_map(Option::take) {
            pool.give(held.frame);
        }
        (self.count, self.due) = (0, Tick(u64::MAX));
    }
}

/// Where a fragment goes that need not wait (any longer).
pub(crate) fn onward(meta: &Meta) -> Next {
    if meta.is_from_fabric() { Next::NextHop } else { Next::Bridge }
}

/// Source and destination port of a head in one word; 0 where there are none.
fn ports_of(packet: &Packet<'_>) -> u32 {
    let has_ports =
        matches!(packet.meta.ip_protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let transport = packet.frame.data().get(usize::from(packet.meta.transport)..);
    match transport.and_then(|bytes| bytes.first_chunk()) {
        Some(ports) if has_ports && packet.meta.fragment == Fragment::Head => {
            u32::from_be_bytes(*ports)
        }
        _ => 0,
    }
}
