//! The workers' logs of dropped packets as rows.

use std::time::{SystemTime, UNIX_EPOCH};

use api::{Core, Cursor, DropLogEntry, PacketKind, Page, Rows};
use engine::{CounterReader, LoggedDrop};
use tables::DropReason;
use wire::ethertype;

/// Rows on a page.
const PAGE: usize = 100;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) core: Option<Core>,
    pub(crate) reason: Option<DropReason>,
    pub(crate) after: Option<Cursor>,
}

/// A page of the logs, worker after worker.
pub(crate) fn page(counters: &CounterReader, wanted: Wanted, generation: u64) -> Page {
    let clock = Clock::now();
    let workers = (0..counters.workers())
        .filter(|worker| wanted.core.is_none_or(|core| core.0 as usize == *worker));
    let all = workers.flat_map(|worker| {
        let entries = counters.drop_log(worker).into_iter().enumerate();
        entries.map(move |(slot, entry)| (worker, slot, entry))
    });
    let after = match wanted.after {
        Some(Cursor::Logged(core, number)) => Some((core.0 as usize, number)),
        _ => None,
    };
    let rest =
        all.filter(|(worker, _, entry)| after.is_none_or(|after| (*worker, entry.number) > after));
    let mut rest =
        rest.filter(|(_, _, entry)| wanted.reason.is_none_or(|reason| entry.reason == reason));
    let entries: Vec<_> = rest.by_ref().take(PAGE).collect();
    let last = entries.last().map(|(worker, _, entry)| Cursor::Logged(core(*worker), entry.number));
    let next = rest.next().and(last);
    let rows = entries.iter().map(|(worker, slot, entry)| row(*worker, *slot, entry, clock));
    Page { rows: Rows::DropLog(rows.collect()), next, generation }
}

fn core(worker: usize) -> Core {
    Core(u32::try_from(worker).unwrap_or(u32::MAX))
}

/// Turns the workers' monotonic time into that of day.
#[derive(Clone, Copy)]
struct Clock {
    /// Nanoseconds since 1970 when the monotonic clock stood at 0.
    origin: u64,
}

impl Clock {
    fn now() -> Clock {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let day = u64::try_from(day.as_nanos()).unwrap_or(u64::MAX);
        Clock { origin: day.saturating_sub(crate::worker::nanos(crate::worker::now())) }
    }
}

fn row(worker: usize, slot: usize, entry: &LoggedDrop, clock: Clock) -> DropLogEntry {
    let summary = entry.summary();
    DropLogEntry {
        core: core(worker),
        slot: u32::try_from(slot).unwrap_or(u32::MAX),
        time: clock.origin.saturating_add(entry.at.0),
        reason: entry.reason,
        kind: match summary.ethertype {
            Some(ethertype::ARP) => PacketKind::Arp,
            Some(ethertype::IPV4) => PacketKind::Ip,
            Some(ethertype::IPV6) => PacketKind::Ip6,
            _ => PacketKind::Unknown,
        },
        vif: Some(entry.vif).filter(|vif| vif.index() < tables::limits::VIFS),
        vrf: Some(entry.vrf).filter(|vrf| vrf.index() < tables::limits::VRFS),
        next_hop: Some(entry.next_hop).filter(|id| id.0 != 0),
        generation: entry.generation.0,
        addresses: summary.addresses,
        ports: summary.ports,
        file: String::new(),
        line: 0,
        length: entry.length.into(),
        bytes: entry.bytes.clone(),
    }
}
