//! Send: to the interface's port on this worker, or to the worker that has it.
//!
//! What was sent is counted once for a run of packets that leave by one interface.

use port::Frame;
use tables::{DropReason, VifId, VrfId};

use crate::feature::tx;
use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;
use crate::ports::{Exit, Sent};
use crate::{merge, segment};

/// Remembers what was sent by the last interface and is not counted yet.
#[derive(Default)]
pub(crate) struct VifTx {
    sent: Sum,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    vif: VifId,
    packets: u64,
    bytes: u64,
}

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
                if vif != self.sent.vif {
                    self.finish(cx);
                    self.sent.vif = vif;
                }
                self.sent.packets += 1;
                self.sent.bytes += bytes as u64;
                Ok(())
            }
            Ok(Sent::Peer) => Ok(()),
            // Something is to be done first.
            Err((frame, _)) if cx.ports.is_indirect(vif) => tx::send(cx, frame, meta),
            Err(refused) => not_sent(cx, refused, Exit::own(vif), (meta.rx_vif, meta.vrf)),
        }
    }

    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>) {
        let Sum { vif, packets, bytes } = std::mem::take(&mut self.sent);
        if packets != 0 {
            cx.counters.sent(vif, packets, bytes);
        }
    }
}

/// What `Ports` does not send by itself: segments to be joined, trains to be cut, and what is not sent at all.
#[inline(never)]
pub(crate) fn not_sent(
    cx: &mut Cx<'_>,
    refused: (Frame, DropReason),
    exit: Exit,
    from: (VifId, VrfId),
) -> Result<(), (Frame, DropReason)> {
    if cx.ports.joins(exit.vif) {
        merge::send(cx, refused.0, exit, from);
        return Ok(());
    }
    segment::refused(cx, refused, exit, from).inspect_err(|_| {
        // What does not reach the agent is no fault of its interface.
        if cx.fib.agent() != Some(exit.vif) {
            cx.counters.send_error(exit.counted);
        }
    })
}
