//! End: count the reason, log the packet, give the frame back.

use port::Frame;
use tables::DropReason;

use crate::drop_log;
use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;

/// Has no state.
#[derive(Default)]
pub(crate) struct Drop;

impl End for Drop {
    const ID: NodeId = NodeId::Drop;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        mut frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        cx.counters.dropped(meta.rx_vif, meta.vrf, meta.reason);
        // What was taken off in front is of interest, too.
        frame.rewind();
        let drop = drop_log::Drop {
            at: cx.now,
            generation: cx.fib.generation(),
            reason: meta.reason,
            vif: meta.rx_vif,
            vrf: meta.vrf,
            next_hop: meta.nh,
        };
        cx.counters.log().write(drop, frame.data());
        cx.pool.give(frame);
        Ok(())
    }
}
