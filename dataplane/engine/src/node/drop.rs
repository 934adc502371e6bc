//! End: count the reason, log the packet, give the frame back.

use port::Frame;
use tables::{DropReason, VifId, VrfId};

use crate::graph::{Cx, End, NodeId};
use crate::packet::Meta;

/// Of packets in a row that are charged alike so many are logged: in a flood the log would hold no others' soon, and
/// writing each down costs as much as finding out that it is to be dropped.
const LOGGED: u64 = 8;

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
    /// Counts the run that ends.
    fn count(&mut self, cx: &Cx<'_>) {
        if let Some(Run { of: (vif, vrf, reason), packets, .. }) = self.run.take() {
            cx.counters.dropped(vif, vrf, reason, packets);
        }
    }
}

impl End for Drop {
    const ID: NodeId = NodeId::Drop;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let of = (meta.rx_vif, meta.vrf, meta.reason);
        let is_whole = match &mut self.run {
            Some(run) if run.of == of => {
                run.packets += 1;
                if run.packets > LOGGED {
                    cx.pool.give(frame);
                    return Ok(());
                }
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
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.count(cx);
    }
}
