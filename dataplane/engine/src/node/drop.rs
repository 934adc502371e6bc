//! End: count the reason, log the packet, give the frame back.

use port::Frame;
use tables::DropReason;

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
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        cx.drop_frame(frame, (meta.rx_vif, meta.vrf, meta.nh), meta.reason);
        Ok(())
    }
}
