//! End: count the reason, log the packet, give the frame back.

use port::Frame;
use tables::{DropReason, VifId, VrfId};

use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;

/// Of packets in a row that are charged alike so many are logged: in a flood the log would hold no others' soon, and
/// writing each down costs as much as finding out that it is to be dropped.
const LOGGED: u64 = 4;

/// Packets in a row that are charged alike are counted together.
#[derive(Default)]
pub(crate) struct Drop {
    run: Option<Run>,
}

struct Run {
    of: (VifId, VrfId, DropReason),
    packets: u64,
    /// See [`Cx::is_whole`].
    is_whole: bool,
}

impl Drop {
    /// A packet that is charged otherwise than the one before, or one of the first that are charged so.
    #[inline(never)]
    fn note(&mut self, cx: &mut Cx<'_>, frame: Frame, meta: &Meta) {
        let of = (meta.rx_vif, meta.vrf, meta.reason);
        let is_whole = match &mut self.run {
            Some(run) if run.of == of => {
                run.packets += 1;
                run.is_whole
            }
            _ => {
                self.count(cx);
                let is_whole = cx.is_whole(meta.rx_vif);
                self.run = Some(Run { of, packets: 1, is_whole });
                is_whole
            }
        };
        cx.end_frame(frame, (meta.rx_vif, meta.vrf, meta.nh), meta.reason, is_whole);
    }

    /// Counts the run that ends.
    fn count(&mut self, cx: &Cx<'_>) {
        if let Some(Run { of: (vif, vrf, reason), packets, .. }) = self.run.take() {
            cx.counters.dropped(vif, vrf, reason, packets);
        }
    }
}

impl End for Drop {
    const ID: NodeId = NodeId::Drop;

    #[inline]
    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let of = (meta.rx_vif, meta.vrf, meta.reason);
        match &mut self.run {
            Some(run) if run.packets >= LOGGED && run.of == of => {
                run.packets += 1;
                cx.pool.give(frame);
            }
            _ => self.note(cx, frame, meta),
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.count(cx);
    }
}
