//! The last records, for whoever asks for them over the control socket.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::{FlowEvent, FlowRecord};
use tables::{Fib, IdentityId, RuleId, VifId, VrfId};

use super::ipfix::{Event, Record};

/// Records that are kept.
const KEPT: usize = 65_536;
/// Records in an answer.
const PAGE: usize = 4096;
/// How long they are kept up for somebody who does not ask.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shared by the thread that looks at sessions and the control thread; neither holds it for long.
#[derive(Default)]
pub(crate) struct FlowLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    records: VecDeque<Record>,
    /// How many were taken out in front.
    gone: u64,
    asked: Option<Instant>,
}

impl FlowLog {
    /// Whether somebody wants records.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().asked.is_some_and(|at| at.elapsed() < PATIENCE)
    }

    pub(super) fn push(&self, record: Record) {
        let mut inner = self.lock();
        if inner.records.len() == KEPT {
            inner.records.pop_front();
            inner.gone += 1;
        }
        inner.records.push_back(record);
    }

    /// What is behind a place: the records, the place to go on from, whether there are more.
    pub(crate) fn after(&self, after: Option<u64>, fib: &Fib) -> (Vec<FlowRecord>, u64, bool) {
        let mut inner = self.lock();
        inner.asked = Some(Instant::now());
        let end = inner.gone + inner.records.len() as u64;
        // A place of another start of this process is none.
        let from = after.filter(|after| *after <= end).unwrap_or(0).max(inner.gone);
        let skip = usize::try_from(from - inner.gone).unwrap_or(usize::MAX);
        let records: Vec<FlowRecord> =
            inner.records.iter().skip(skip).take(PAGE).map(|record| row(record, fib)).collect();
        let last = from + records.len() as u64;
        (records, last, last < end)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn row(record: &Record, fib: &Fib) -> FlowRecord {
    let networks = |id: Option<IdentityId>| {
        let identity = id.and_then(|id| fib.identity_of(id));
        identity.map_or_else(Vec::new, |identity| {
            identity.networks.iter().map(|network| network.0).collect()
        })
    };
    let vif = |id: u32| u16::try_from(id).ok().map(VifId);
    FlowRecord {
        session: record.id,
        source: record.ends.source,
        destination: record.ends.destination,
        ports: record.ends.ports,
        protocol: record.protocol,
        packets: (record.forward.packets, record.reverse.packets),
        bytes: (record.forward.bytes, record.reverse.bytes),
        start: record.start,
        end: record.end,
        event: match record.event {
            Event::Created => FlowEvent::Created,
            Event::Update => FlowEvent::Update,
            Event::Deleted => FlowEvent::Deleted,
            Event::Denied => FlowEvent::Denied,
        },
        vrfs: (VrfId(record.vrfs.0), VrfId(record.vrfs.1)),
        vifs: (vif(record.vifs.0), vif(record.vifs.1)),
        networks: (networks(record.identities.0), networks(record.identities.1)),
        rules: (RuleId(record.rules.0), RuleId(record.rules.1)),
        drop_reason: record.drop_reason,
    }
}
