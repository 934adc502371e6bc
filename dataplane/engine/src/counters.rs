//! Counters: a page per worker, written by that worker alone, read by anyone.
//!
//! # Thread-safety
//! A counter is an `AtomicU64` that its worker changes by a relaxed load and a relaxed store (no locked instruction):
//! there is one writer, and readers need each value, not an order between values. Clearing does not write: the
//! [`CounterReader`] remembers what it saw as the new zero.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tables::{BridgeSlot, DropReason, Station, VifId, VrfId, limits};
use zerocopy::{FromZeros, KnownLayout};

use crate::drop_log::{DropLog, LogRule, LoggedDrop};
use crate::learn::key;
use crate::vrf_counts::{VrfCount, VrfStatistics};
use crate::worker::Tick;

/// One number with one writer.
#[derive(FromZeros, KnownLayout, Debug)]
#[repr(transparent)]
struct Counter(AtomicU64);

impl Counter {
    #[inline]
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(FromZeros, KnownLayout, Debug)]
#[repr(C)]
struct VifPage {
    rx_packets: Counter,
    rx_bytes: Counter,
    rx_errors: Counter,
    tx_packets: Counter,
    tx_bytes: Counter,
    tx_errors: Counter,
    drops: [Counter; DropReason::COUNT],
}

#[derive(FromZeros, KnownLayout, Debug)]
#[repr(C)]
struct VrfPage {
    counts: [Counter; VrfCount::COUNT],
    drops: [Counter; DropReason::COUNT],
}

/// Of a slot of the bridge table, for the station it was last used for: slots are used again.
#[derive(FromZeros, KnownLayout, Debug)]
#[repr(C)]
struct StationPage {
    key: Counter,
    packets: Counter,
}

/// The counters one worker writes.
#[derive(Debug)]
pub struct Counters {
    // Zeroed lazily by the system: rows never touched cost no memory.
    vifs: Box<[VifPage]>,
    // One more than there are: of packets whose VRF does not exist.
    vrfs: Box<[VrfPage]>,
    bridge: Box<[StationPage]>,
    drops: [Counter; DropReason::COUNT],
    spawned: Counter,
    merged: Counter,
    held: Counter,
    released: Counter,
    log: DropLog,
    /// By the slot of its bridge entry: when a learnt station was heard last, in ticks.
    heard: Box<[Counter]>,
}

impl Counters {
    /// All zero.
    pub(crate) fn new() -> Arc<Counters> {
        Arc::new(Counters {
            vifs: zeroed(limits::VIFS),
            vrfs: zeroed(limits::VRFS + 1),
            bridge: zeroed(BridgeSlot::LIMIT as usize),
            drops: FromZeros::new_zeroed(),
            spawned: FromZeros::new_zeroed(),
            merged: FromZeros::new_zeroed(),
            held: FromZeros::new_zeroed(),
            released: FromZeros::new_zeroed(),
            log: DropLog::new(),
            heard: zeroed(BridgeSlot::LIMIT as usize),
        })
    }

    /// Packets taken from a port.
    #[inline]
    pub(crate) fn received(&self, vif: VifId, packets: u64, bytes: u64) {
        if let Some(page) = self.vifs.get(vif.index()) {
            page.rx_packets.add(packets);
            page.rx_bytes.add(bytes);
        }
    }

    /// Takes back what [`Counters::received`] counted: it was another interface's.
    pub(crate) fn not_received(&self, vif: VifId, packets: u64, bytes: u64) {
        self.received(vif, packets.wrapping_neg(), bytes.wrapping_neg());
    }

    /// A packet that could not be told as a frame.
    pub(crate) fn receive_error(&self, vif: VifId) {
        if let Some(page) = self.vifs.get(vif.index()) {
            page.rx_errors.add(1);
        }
    }

    /// Packets given to a port.
    #[inline]
    pub(crate) fn sent(&self, vif: VifId, packets: u64, bytes: u64) {
        if let Some(page) = self.vifs.get(vif.index()) {
            page.tx_packets.add(packets);
            page.tx_bytes.add(bytes);
        }
    }

    /// A packet a port or a ring did not take.
    pub(crate) fn send_error(&self, vif: VifId) {
        if let Some(page) = self.vifs.get(vif.index()) {
            page.tx_errors.add(1);
        }
    }

    /// Packets that end here: charged to where they came in and to the VRF they were in.
    pub(crate) fn dropped(&self, vif: VifId, vrf: VrfId, reason: DropReason, packets: u64) {
        let vif = self.vifs.get(vif.index()).and_then(|page| page.drops.get(reason.index()));
        let vrf = self.vrfs.get(vrf.index()).and_then(|page| page.drops.get(reason.index()));
        for counter in [vif, vrf, self.drops.get(reason.index())].into_iter().flatten() {
            counter.add(packets);
        }
    }

    /// So many packets met something in a VRF.
    #[inline(never)]
    pub(crate) fn met(&self, vrf: VrfId, what: VrfCount, packets: u64) {
        let page = self.vrfs.get(vrf.index()).or(self.vrfs.last());
        if let Some(counter) = page.and_then(|page| page.counts.get(what as usize)) {
            counter.add(packets);
        }
    }

    /// A packet is about to meet something for the second time: it counts once.
    pub(crate) fn met_again(&self, vrf: VrfId, what: VrfCount) {
        self.met(vrf, what, u64::MAX);
    }

    /// So many packets found a station: `key` names it.
    #[inline(never)]
    pub(crate) fn bridged(&self, slot: BridgeSlot, key: u64, packets: u64) {
        let Some(page) = self.bridge.get(slot.index() as usize) else { return };
        if page.key.get() != key {
            page.packets.0.store(0, Ordering::Relaxed);
            page.key.0.store(key, Ordering::Relaxed);
        }
        page.packets.add(packets);
    }

    /// The packets that ended here last.
    pub(crate) fn log(&self) -> &DropLog {
        &self.log
    }

    /// A learnt station was heard.
    pub(crate) fn heard(&self, slot: BridgeSlot, now: Tick) {
        if let Some(heard) = self.heard.get(slot.index() as usize) {
            heard.0.store(now.0, Ordering::Relaxed);
        }
    }

    /// A packet that was made here: a copy, an answer, an error.
    pub(crate) fn spawned(&self) {
        self.spawned.add(1);
    }

    /// So many segments that have become one train: all but one of them ended here.
    pub(crate) fn merged(&self, vrf: VrfId, segments: u64) {
        self.met(vrf, VrfCount::Gros, segments);
        self.merged.add(segments.saturating_sub(1));
    }

    /// A train that has become so many segments: all but one of them were made here.
    pub(crate) fn cut(&self, segments: u64) {
        self.spawned.add(segments.saturating_sub(1));
    }

    /// A packet that waits for another one.
    pub(crate) fn held(&self) {
        self.held.add(1);
    }

    /// One that waits no longer: it goes on or is dropped.
    pub(crate) fn released(&self) {
        self.released.add(1);
    }

    fn vif(&self, vif: VifId) -> VifStatistics {
        self.vifs.get(vif.index()).map_or_else(VifStatistics::default, |page| VifStatistics {
            rx_packets: page.rx_packets.get(),
            rx_bytes: page.rx_bytes.get(),
            rx_errors: page.rx_errors.get(),
            tx_packets: page.tx_packets.get(),
            tx_bytes: page.tx_bytes.get(),
            tx_errors: page.tx_errors.get(),
        })
    }

    fn vif_drops(&self, vif: VifId) -> DropStatistics {
        self.vifs.get(vif.index()).map_or_else(DropStatistics::default, |page| read(&page.drops))
    }

    fn vrf_drops(&self, vrf: VrfId) -> DropStatistics {
        self.vrfs.get(vrf.index()).map_or_else(DropStatistics::default, |page| read(&page.drops))
    }
}

fn zeroed<T: FromZeros + KnownLayout<PointerMetadata = ()>>(count: usize) -> Box<[T]> {
    <[T]>::new_box_zeroed_with_elems(count).unwrap_or_default()
}

fn read(drops: &[Counter; DropReason::COUNT]) -> DropStatistics {
    DropStatistics(std::array::from_fn(|reason| drops.get(reason).map_or(0, Counter::get)))
}

/// What went through an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VifStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes of them.
    pub rx_bytes: u64,
    /// Packets received that were no frames.
    pub rx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes of them.
    pub tx_bytes: u64,
    /// Packets the port did not take.
    pub tx_errors: u64,
}

impl VifStatistics {
    fn combine(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        VifStatistics {
            rx_packets: with(self.rx_packets, other.rx_packets),
            rx_bytes: with(self.rx_bytes, other.rx_bytes),
            rx_errors: with(self.rx_errors, other.rx_errors),
            tx_packets: with(self.tx_packets, other.tx_packets),
            tx_bytes: with(self.tx_bytes, other.tx_bytes),
            tx_errors: with(self.tx_errors, other.tx_errors),
        }
    }
}

/// How many packets were dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropStatistics(pub [u64; DropReason::COUNT]);

impl Default for DropStatistics {
    fn default() -> Self {
        DropStatistics([0; DropReason::COUNT])
    }
}

impl DropStatistics {
    /// How many for this reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason.index()).copied().unwrap_or(0)
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn combine(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let mut result = self;
        for (mine, other) in result.0.iter_mut().zip(other.0) {
            *mine = with(*mine, other);
        }
        result
    }
}

/// Reads the pages of all workers. Belongs to the control thread; clearing moves this reader's zero.
#[derive(Debug)]
pub struct CounterReader {
    workers: Box<[Zeroed]>,
}

/// A worker's page and what counts as zero in it.
#[derive(Debug)]
struct Zeroed {
    page: Arc<Counters>,
    vifs: BTreeMap<VifId, VifStatistics>,
    vif_drops: BTreeMap<VifId, DropStatistics>,
    drops: DropStatistics,
    /// Number of the first logged packet that was not cleared.
    logged: u64,
}

impl CounterReader {
    pub(crate) fn new(pages: impl IntoIterator<Item = Arc<Counters>>) -> CounterReader {
        let zeroed = |page| Zeroed {
            page,
            vifs: BTreeMap::new(),
            vif_drops: BTreeMap::new(),
            drops: DropStatistics::default(),
            logged: 0,
        };
        CounterReader { workers: pages.into_iter().map(zeroed).collect() }
    }

    /// When the station in a slot of the bridge table was heard last, by any worker; 0 if never.
    pub fn heard(&self, slot: BridgeSlot) -> Tick {
        let heard =
            |worker: &Zeroed| worker.page.heard.get(slot.index() as usize).map(Counter::get);
        Tick(self.workers.iter().filter_map(heard).max().unwrap_or(0))
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// An interface's traffic over all workers.
    pub fn vif(&self, vif: VifId) -> VifStatistics {
        let each = self.workers.iter().map(|worker| worker.vif(vif));
        each.fold(VifStatistics::default(), |sum, part| sum.combine(part, u64::wrapping_add))
    }

    /// An interface's traffic on one worker; nothing for a worker that does not exist.
    pub fn vif_on(&self, worker: usize, vif: VifId) -> VifStatistics {
        self.workers.get(worker).map_or_else(VifStatistics::default, |worker| worker.vif(vif))
    }

    /// Packets dropped that came in here.
    pub fn vif_drops(&self, vif: VifId) -> DropStatistics {
        sum(self.workers.iter().map(|worker| worker.vif_drops(vif)))
    }

    /// Packets dropped on one worker that came in here.
    pub fn vif_drops_on(&self, worker: usize, vif: VifId) -> DropStatistics {
        self.workers.get(worker).map_or_else(DropStatistics::default, |w| w.vif_drops(vif))
    }

    /// Packets dropped while being forwarded in this VRF.
    pub fn vrf_drops(&self, vrf: VrfId) -> DropStatistics {
        sum(self.workers.iter().map(|worker| worker.page.vrf_drops(vrf)))
    }

    /// All packets dropped.
    pub fn drops(&self) -> DropStatistics {
        sum(self.workers.iter().map(Zeroed::drops))
    }

    /// All packets dropped on one worker.
    pub fn drops_on(&self, worker: usize) -> DropStatistics {
        self.workers.get(worker).map_or_else(DropStatistics::default, Zeroed::drops)
    }

    /// The last packets a worker dropped, oldest first; none for a worker that does not exist.
    pub fn drop_log(&self, worker: usize) -> Vec<LoggedDrop> {
        let worker = self.workers.get(worker);
        worker.map_or_else(Vec::new, |worker| worker.page.log.read(worker.logged))
    }

    /// Empties the logs, for this reader.
    pub fn clear_drop_log(&mut self) {
        for worker in &mut self.workers {
            worker.logged = worker.page.log.written();
        }
    }

    /// What all workers log from now on; `None` is nothing.
    pub fn set_drop_log(&self, rule: Option<LogRule>) {
        self.workers.iter().for_each(|worker| worker.page.log.set_rule(rule));
    }

    /// Packets made by the workers (copies, answers, errors, segments of trains) since they began: packets received and
    /// made are packets sent, dropped, merged ([`CounterReader::merged`]) and held ([`CounterReader::held`]).
    pub fn spawned(&self) -> u64 {
        self.workers.iter().map(|worker| worker.page.spawned.get()).fold(0, u64::wrapping_add)
    }

    /// Packets that have become part of another since the workers began.
    pub fn merged(&self) -> u64 {
        self.workers.iter().map(|worker| worker.page.merged.get()).fold(0, u64::wrapping_add)
    }

    /// What packets of a VRF met; `None` is for VRFs that do not exist.
    pub fn vrf(&self, vrf: Option<VrfId>) -> VrfStatistics {
        let index = vrf.map_or(limits::VRFS, VrfId::index);
        let mut sum = VrfStatistics::ZERO;
        for page in self.workers.iter().filter_map(|worker| worker.page.vrfs.get(index)) {
            for (sum, counter) in sum.0.iter_mut().zip(&page.counts) {
                *sum = sum.wrapping_add(counter.get());
            }
        }
        sum
    }

    /// Packets that found a station in the bridge table since it has its slot.
    pub fn station(&self, slot: BridgeSlot, station: Station) -> u64 {
        let key = key(station.vrf, station.mac);
        let pages = self.workers.iter().filter_map(|w| w.page.bridge.get(slot.index() as usize));
        pages.filter(|page| page.key.get() == key).map(|page| page.packets.get()).sum()
    }

    /// Packets that wait in the workers now, for the head of their datagram: neither sent nor dropped yet.
    pub fn held(&self) -> u64 {
        let each = self.workers.iter().map(|worker| {
            let released = worker.page.released.get();
            worker.page.held.get().saturating_sub(released)
        });
        each.sum()
    }

    /// Makes now the zero of an interface: its traffic and its drops. Also for a new interface under a used id.
    pub fn clear_vif(&mut self, vif: VifId) {
        for worker in 0..self.workers.len() {
            self.clear_vif_on(worker, vif);
        }
    }

    /// Makes now the zero of an interface on one worker; nothing for a worker that does not exist.
    pub fn clear_vif_on(&mut self, worker: usize, vif: VifId) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.vifs.insert(vif, worker.page.vif(vif));
            worker.vif_drops.insert(vif, worker.page.vif_drops(vif));
        }
    }

    /// Makes now the zero of the drop totals.
    pub fn clear_drops(&mut self) {
        for worker in &mut self.workers {
            worker.drops = read(&worker.page.drops);
        }
    }
}

impl Zeroed {
    fn vif(&self, vif: VifId) -> VifStatistics {
        let zero = self.vifs.get(&vif).copied().unwrap_or_default();
        self.page.vif(vif).combine(zero, u64::wrapping_sub)
    }

    fn vif_drops(&self, vif: VifId) -> DropStatistics {
        let zero = self.vif_drops.get(&vif).copied().unwrap_or_default();
        self.page.vif_drops(vif).combine(zero, u64::wrapping_sub)
    }

    fn drops(&self) -> DropStatistics {
        read(&self.page.drops).combine(self.drops, u64::wrapping_sub)
    }
}

fn sum(parts: impl Iterator<Item = DropStatistics>) -> DropStatistics {
    parts.fold(DropStatistics::default(), |sum, part| sum.combine(part, u64::wrapping_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sums_workers_and_clearing_moves_its_zero_only() {
        let pages = [Counters::new(), Counters::new()];
        let mut reader = CounterReader::new(pages.clone());
        for page in &pages {
            page.received(VifId(3), 2, 100);
            page.sent(VifId(3), 1, 60);
            page.send_error(VifId(3));
            page.receive_error(VifId(3));
            page.dropped(VifId(3), VrfId(2), DropReason::Discard, 1);
        }
        let twice = VifStatistics {
            rx_packets: 4,
            rx_bytes: 200,
            rx_errors: 2,
            tx_packets: 2,
            tx_bytes: 120,
            tx_errors: 2,
        };
        assert_eq!(reader.vif(VifId(3)), twice);
        assert_eq!(reader.vif_on(1, VifId(3)).rx_packets, 2);
        assert_eq!(reader.vif_drops(VifId(3)).get(DropReason::Discard), 2);
        assert_eq!(reader.vrf_drops(VrfId(2)).total(), 2);
        assert_eq!(reader.drops_on(0).total(), 1);
        reader.clear_vif(VifId(3));
        assert_eq!(reader.vif(VifId(3)), VifStatistics::default());
        assert_eq!((reader.vif_drops(VifId(3)).total(), reader.drops().total()), (0, 2));
        reader.clear_drops();
        pages.iter().for_each(|page| page.dropped(VifId(3), VrfId(2), DropReason::Discard, 1));
        assert_eq!(reader.drops().total(), 2);
        assert_eq!(reader.vrf_drops(VrfId(2)).total(), 4);
        assert_eq!(reader.vif_drops(VifId(3)).total(), 2);
    }

    #[test]
    fn ids_beyond_the_tables_are_ignored() {
        let page = Counters::new();
        page.received(VifId(u16::MAX), 1, 1);
        page.dropped(VifId(u16::MAX), VrfId(u16::MAX), DropReason::Misc, 1);
        let reader = CounterReader::new([page]);
        assert_eq!(reader.vif(VifId(u16::MAX)), VifStatistics::default());
        assert_eq!(reader.drops().get(DropReason::Misc), 1);
    }
}
