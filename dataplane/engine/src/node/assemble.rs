//! Fragments: the head of a datagram goes on, and with it whoever waited for it; a later fragment goes on when the head is
//! known, and waits otherwise (reference dataplane.md section 15.1).

use port::Frame;
use tables::DropReason;

use crate::assembler::{Datagram, onward};
use crate::graph::{Cx, End, Next, Node, NodeId};
use crate::packet::{Fragment, Meta, Packet};

/// Has no state: what is held is the worker's.
#[derive(Default)]
pub(crate) struct Assemble;

impl Node for Assemble {
    const ID: NodeId = NodeId::Assemble;
    const EDGES: &'static [NodeId] = &[NodeId::Bridge, NodeId::NextHop, NodeId::Hold];

    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let datagram = Datagram::of(packet);
        match packet.meta.fragment {
            Fragment::Whole => {}
            Fragment::Head => {
                cx.assembler.remember(datagram, packet, cx.now);
                cx.assembler.release(&datagram, cx.spawned, cx.counters, cx.pool);
            }
            Fragment::Later => {
                if cx.assembler.ports(&datagram, cx.now).is_none() {
                    return Next::Hold;
                }
            }
        }
        onward(packet.meta)
    }
}

/// Where later fragments wait.
#[derive(Default)]
pub(crate) struct Hold;

impl End for Hold {
    const ID: NodeId = NodeId::Hold;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        mut frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let mut meta = meta.clone();
        let datagram = Datagram::of(&Packet { frame: &mut frame, meta: &mut meta });
        // The head may have come in the same burst, behind it.
        if cx.assembler.ports(&datagram, cx.now).is_some() {
            let next = onward(&meta);
            return cx
                .spawned
                .push(frame, meta, next)
                .map_err(|frame| (frame, DropReason::NoMemory));
        }
        cx.assembler.hold(frame, &meta, datagram, cx.now)?;
        cx.counters.held();
        Ok(())
    }
}
