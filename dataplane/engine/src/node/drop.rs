//! End: count the reason, give the frame back. What was to go to the agent is held to its rate here, where every
//! such packet comes as long as the agent has no interface.

use port::Frame;
use tables::DropReason;

use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;
use crate::storm::Storm;

/// Has no state.
#[derive(Default)]
pub(crate) struct Drop;

impl End for Drop {
    const ID: NodeId = NodeId::Drop;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let reason = match meta.reason {
            DropReason::TrapNoIf if !cx.admit(meta.rx_vif, Storm::Punt) => DropReason::StormPunt,
            reason => reason,
        };
        cx.counters.dropped(meta.rx_vif, meta.vrf, reason);
        cx.pool.give(frame);
        Ok(())
    }
}
