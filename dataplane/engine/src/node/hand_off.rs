//! Hand over: the packet, untouched, to the worker its inner flow belongs to.

use port::Frame;
use tables::DropReason;

use crate::graph::{Cx, End, NodeId};
use crate::hand_off::Parcel;
use crate::packet::Meta;

/// Has no state.
#[derive(Default)]
pub(crate) struct HandOff;

impl End for HandOff {
    const ID: NodeId = NodeId::HandOff;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let parcel = Parcel::Process { frame, rx_vif: meta.rx_vif };
        let pushed = cx.peers.push(meta.worker, parcel);
        pushed.map_err(|parcel| (parcel.into_frame(), DropReason::InterfaceDrop))
    }
}
