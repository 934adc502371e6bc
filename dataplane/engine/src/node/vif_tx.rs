//! Send: to the interface's port on this worker, or to the worker that has it.

use port::Frame;
use tables::DropReason;

use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;
use crate::ports::Sent;

/// Has no state.
#[derive(Default)]
pub(crate) struct VifTx;

impl End for VifTx {
    const ID: NodeId = NodeId::VifTx;

    #[inline]
    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let (bytes, vif) = (frame.len(), meta.tx_vif);
        match cx.ports.send(frame, vif, meta, cx.peers) {
            Ok(Sent::Port) => {
                cx.counters.sent(vif, bytes);
                Ok(())
            }
            Ok(Sent::Peer) => Ok(()),
            Err(refused) => {
                cx.counters.send_error(vif);
                Err(refused)
            }
        }
    }
}
