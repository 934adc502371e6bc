//! Packets of flows that an agent decides about: the first few wait for its verdict, and go on with it as if they came in
//! then (reference dataplane.md section 14.5, case H23).

use port::Frame;
use tables::DropReason;
use tables::flow::{FlowFlags, FlowId};

use super::assemble::go_on;
use crate::flow::undecided::HELD_PACKETS;
use crate::graph::{Cx, End, Next, NodeId};
use crate::packet::Meta;
use crate::waiting::{BUCKETS, Held, Refused};

/// Has no state: what waits is the worker's.
#[derive(Default)]
pub(crate) struct Undecided;

impl End for Undecided {
    const ID: NodeId = NodeId::Undecided;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let since = (cx.now, cx.fib.generation());
        let Some((table, id)) = cx.flows.as_deref_mut().zip(meta.flow) else {
            return Err((frame, DropReason::FlowUnusable));
        };
        let (key, hash) = table.waits_for(id);
        if table.waiting.count(&key, hash) >= HELD_PACKETS {
            return Err((frame, DropReason::FlowQueueLimitExceeded));
        }
        table.waiting.hold(frame, meta, (key, hash), since).map_err(|(frame, why)| match why {
            Refused::All | Refused::Share => (frame, DropReason::FlowQueueLimitExceeded),
            Refused::Large => (frame, DropReason::NoMemory),
        })?;
        cx.counters.held();
        Ok(())
    }
}

/// The verdict is there, or the flow has ended: what waits goes on, in its order and before whatever comes in now.
#[cold]
pub(crate) fn release(cx: &mut Cx<'_>, id: FlowId) {
    let Some(table) = cx.flows.as_deref_mut() else { return };
    let Some(state) = table.flow(id).map(|flow| flow.state()) else { return };
    let (key, hash) = table.waits_for(id);
    let is_alive =
        state.flags().contains(FlowFlags::ALIVE) && !state.flags().contains(FlowFlags::DEAD);
    if is_alive {
        table.sessions.settle(id);
    }
    while let Some(held) = cx.flows.as_deref_mut().and_then(|it| it.waiting.release(&key, hash)) {
        match is_alive {
            true => go_on(cx, held, onward),
            false => give_up(cx, held),
        }
    }
}

/// With its flow, as it was about to be.
fn onward(_: &Meta) -> Next {
    Next::Flow
}

fn give_up<K>(cx: &mut Cx<'_>, held: Held<K>) {
    let Held { frame, meta, .. } = held;
    cx.counters.released();
    cx.drop_frame(frame, (meta.rx_vif, meta.vrf, meta.nh), DropReason::FlowUnusable);
}

/// Drops what has waited for too long.
#[cold]
pub(crate) fn expire(cx: &mut Cx<'_>) {
    for bucket in 0..BUCKETS {
        while let Some(held) =
            cx.flows.as_deref_mut().and_then(|table| table.waiting.expire(bucket, cx.now))
        {
            give_up(cx, held);
        }
    }
    if let Some(table) = cx.flows.as_deref_mut() {
        table.waiting.plan(cx.now);
    }
}
