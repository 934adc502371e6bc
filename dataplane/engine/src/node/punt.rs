//! To the agent, held to the rate of the interface the packet came in by. There is no interface to the agent, so all of
//! it is dropped.

use port::Frame;
use tables::DropReason;

use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;
use crate::storm::Storm;

/// Has no state.
#[derive(Default)]
pub(crate) struct Punt;

impl End for Punt {
    const ID: NodeId = NodeId::Punt;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        if !cx.admit(meta.rx_vif, Storm::Punt) {
            return Err((frame, DropReason::StormPunt));
        }
        Err((frame, DropReason::TrapNoIf))
    }
}
