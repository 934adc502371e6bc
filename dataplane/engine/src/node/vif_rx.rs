//! Enter: the port's interface gives the packet its kind and its VRF.

use tables::{DropReason, FibVif, VifFeatures, VifFlags, VifId, VifKind, VrfId};

use crate::feature::rx;
use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Marks, Packet};

/// Remembers the last interface: a burst mostly comes from one.
#[derive(Default)]
pub(crate) struct VifRx {
    last: Option<(VifId, VifKind, VrfId, Marks)>,
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
        let (kind, vrf, marks) = match self.last {
            Some((last, kind, vrf, marks)) if last == id => (kind, vrf, marks),
            _ => match cx.fib.vif(id) {
                Some(vif) if vif.features.intersects(VifFeatures::RX) => {
                    return rx::receive(cx, packet, vif).map_or_else(Next::Drop, |()| Next::Parse);
                }
                Some(vif) => {
                    let marks = marks(vif, cx.flows.is_some());
                    self.last = Some((id, vif.kind, vif.vrf, marks));
                    (vif.kind, vif.vrf, marks)
                }
                // The port is open but the interface is not (or no longer) in the tables.
                None => return Next::Drop(DropReason::InterfaceRxDiscard),
            },
        };
        packet.meta.rx_kind = kind;
        packet.meta.vrf = vrf;
        packet.meta.marks = marks;
        Next::Parse
    }
}

/// What an interface asks for: that stations are learnt, that flows are looked up.
pub(crate) fn marks(vif: &FibVif, flows: bool) -> Marks {
    let mut marks = Marks::default();
    if vif.flags.contains(VifFlags::MAC_LEARN) {
        marks = marks.with(Marks::LEARN);
    }
    if flows && vif.flags.contains(VifFlags::POLICY) {
        marks = marks.with(Marks::POLICY);
    }
    marks
}
