//! Enter: the port's interface gives the packet its kind and its VRF.

use tables::{DropReason, VifId, VifKind, VrfId};

use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::Packet;

/// Remembers the last interface: a burst mostly comes from one.
#[derive(Default)]
pub(crate) struct VifRx {
    last: Option<(VifId, VifKind, VrfId)>,
}

impl Node for VifRx {
    const ID: NodeId = NodeId::VifRx;
    const EDGES: &'static [NodeId] = &[NodeId::Parse, NodeId::Drop];

    fn begin(&mut self) {
        self.last = None;
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        // Nothing looks at the bytes here; by the time `parse` does, they are there.
        packet.frame.prefetch();
        packet.frame.prefetch_headroom();
        let id = packet.meta.rx_vif;
        let (kind, vrf) = match self.last {
            Some((last, kind, vrf)) if last == id => (kind, vrf),
            _ => match cx.fib.vif(id) {
                Some(vif) => {
                    self.last = Some((id, vif.kind, vif.vrf));
                    (vif.kind, vif.vrf)
                }
                // The port is open but the interface is not (or no longer) in the tables.
                None => return Next::Drop(DropReason::InterfaceRxDiscard),
            },
        };
        packet.meta.rx_kind = kind;
        packet.meta.vrf = vrf;
        Next::Parse
    }
}
