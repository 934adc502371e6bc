//! The end of sessions: idle for too long, closed, or ended by somebody else.
//!
//! A worker walks its own index, a few buckets a millisecond, and looks at what it owns. The owner of the first packet's
//! direction ends the session for both; where nobody owns that, the owner of the other does. What has ended is forgotten
//! by each owner when it comes by, or when a packet meets it; the slot is free after the last.

use tables::Fib;
use tables::flow::{Flow, FlowFlags, FlowId, FlowKey, SessionFlags, TcpFlags};
use wire::protocol;

use super::{FlowTable, Moment, undecided};
use crate::worker::Tick;

/// Where the walk is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    bucket: usize,
    next: Tick,
}

/// Between two steps.
const STEP: u64 = 1 << 20;
/// A sleeping worker with flows looks at them so often.
const NAP: u64 = 1 << 28;
/// A walk over a large index takes so many steps (16 s).
const STEPS: usize = 1 << 14;
/// Buckets a step at least.
const LEAST: usize = 8;
/// Buckets a turn at most, whatever was missed.
const MOST: usize = 512;

/// Idle sessions end after so many seconds (reference control-plane.md section 4.6), and others sooner: nobody has
/// answered, the handshake is not over, it is denied, both sides have closed.
const IDLE: u32 = 180;
const UNANSWERED: u32 = 30;
const DENIED: u32 = 10;
const CLOSED: u32 = 2;

impl Sweep {
    /// When the next step is due for a worker that sleeps.
    pub(crate) fn due(&self) -> Tick {
        Tick(self.next.0.saturating_add(NAP))
    }

    pub(crate) fn is_due(&self, now: Tick) -> bool {
        self.next <= now
    }
}

/// Walks on. Called once a turn when a step is due.
#[inline(never)]
pub(crate) fn sweep(table: &mut FlowTable, fib: &Fib, now: Tick) {
    let missed = (now.0.saturating_sub(table.sweep.next.0) / STEP).clamp(1, NAP / STEP);
    table.sweep.next = Tick(now.0.saturating_add(STEP));
    if table.index.is_empty() {
        return;
    }
    let pace = (table.index.buckets() / STEPS).max(LEAST);
    let missed = usize::try_from(missed).unwrap_or(1);
    let buckets = (pace * missed).min(MOST).min(table.index.buckets());
    let now = Moment::of(now);
    let mut over: arrayvec::ArrayVec<FlowId, 64> = arrayvec::ArrayVec::new();
    let mut gone: arrayvec::ArrayVec<(u64, FlowId), 64> = arrayvec::ArrayVec::new();
    let own = Some(table.worker.0);
    for _ in 0..buckets {
        let bucket = table.sweep.bucket;
        table.sweep.bucket = (bucket + 1) % table.index.buckets();
        over.clear();
        gone.clear();
        for (hash, id) in table.index.in_bucket(bucket) {
            // No more than a bucket has.
            if table.flow(id).is_none_or(|flow| flow.state().owner() != own) {
                let _ = gone.try_push((hash, id));
            } else if is_over(table, fib, id, now) {
                let _ = over.try_push(id);
            }
        }
        // Another worker has taken them over.
        for (hash, id) in &gone {
            table.index.remove(*hash, *id);
        }
        for id in &over {
            end(table, *id);
        }
    }
}

/// Ends a session of which a flow is owned here, and forgets that flow; the other, too, if it is owned here.
pub(crate) fn end(table: &mut FlowTable, id: FlowId) {
    let hashes = [id, id.other()].map(|id| (id, table.hash_of(id)));
    table.sessions.end(id, table.worker.0);
    for (id, hash) in hashes {
        if let Some(hash) = hash {
            table.forget(id, hash);
        }
    }
}

fn is_over(table: &FlowTable, fib: &Fib, id: FlowId, now: Moment) -> bool {
    let (Some(flow), Some(other)) = (table.flow(id), table.flow(id.other())) else { return true };
    let state = flow.state();
    if state.flags().contains(FlowFlags::DEAD) {
        return true;
    }
    let held = state.flags().contains(FlowFlags::HELD);
    if held && let Some(session) = table.session(id).filter(|session| !session.is_decided()) {
        return now.since(session.created()) >= Moment::seconds(undecided::PATIENCE);
    }
    let others_watch = !id.is_forward() && other.state().owner().is_some();
    if others_watch {
        return false;
    }
    let idle = now.since(flow.seen()).min(now.since(other.seen()));
    // Nearly all are not.
    if idle < Moment::seconds(1) {
        return false;
    }
    timeout(table, fib, id, flow, other).is_some_and(|seconds| idle >= Moment::seconds(seconds))
}

/// Seconds a session may be idle; `None`: for ever.
fn timeout(
    table: &FlowTable,
    fib: &Fib,
    id: FlowId,
    flow: Flow<'_>,
    other: Flow<'_>,
) -> Option<u32> {
    let session = table.session(id)?;
    if session.flags().contains(SessionFlags::BGP_SERVICE) {
        return None;
    }
    if flow.state().flags().contains(FlowFlags::DENIED) {
        return Some(DENIED);
    }
    let key = table.flow(id.session().forward())?.key();
    let idle = of_kind(fib, &key);
    let tcp = flow.tcp();
    Some(if key.protocol == protocol::TCP && flow.state().flags().contains(FlowFlags::TCP) {
        if tcp.contains(TcpFlags::DEAD) {
            CLOSED
        } else if tcp.0 & (TcpFlags::SYN.0 | TcpFlags::SYN_REVERSE.0) != 0
            && !tcp.contains(TcpFlags::ESTABLISHED.with(TcpFlags::ESTABLISHED_REVERSE))
        {
            idle.min(UNANSWERED)
        } else {
            idle
        }
    } else if flow.counts().0 == 0 || other.counts().0 == 0 {
        idle.min(UNANSWERED)
    } else {
        idle
    })
}

fn of_kind(fib: &Fib, key: &FlowKey) -> u32 {
    fib.flow_timeout(key.protocol, key.destination_port()).filter(|it| *it != 0).unwrap_or(IDLE)
}
