//! Fragments: the head of a datagram goes on, and with it whoever waited for it; a later fragment goes on when the head is
//! known, and waits otherwise (reference dataplane.md section 15.1).

use port::Frame;
use tables::{DropReason, Generation};

use super::decap;
use crate::assembler::Datagram;
use crate::flow::key;
use crate::graph::{Cx, End, Next, Node, NodeId};
use crate::inspect;
use crate::packet::{Fragment, Marks, Meta, Packet, Spread};
use crate::waiting::{BUCKETS, Held};

/// Has no state: what is held is the worker's.
#[derive(Default)]
pub(crate) struct Assemble;

impl Node for Assemble {
    const ID: NodeId = NodeId::Assemble;
    const EDGES: &'static [NodeId] = &[NodeId::Flow, NodeId::Bridge, NodeId::NextHop, NodeId::Hold];

    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let datagram = Datagram::of(packet);
        match packet.meta.fragment {
            Fragment::Whole => {}
            Fragment::Head => {
                let at = usize::from(packet.meta.transport);
                let segment = packet.frame.data().get(at..).unwrap_or_default();
                let ports = key::ports(packet.meta.ip_protocol, segment);
                cx.assembler.remember(datagram, packet.meta, ports, cx.now);
                while let Some(held) = cx.assembler.release(&datagram) {
                    go_on(cx, held, onward);
                }
            }
            Fragment::Later => {
                if !cx.assembler.knows(&datagram, cx.now) {
                    return Next::Hold;
                }
            }
        }
        onward(packet.meta)
    }
}

/// Where a fragment goes that need not wait (any longer).
fn onward(meta: &Meta) -> Next {
    match meta.is_from_fabric() {
        true => Next::NextHop,
        false if meta.marks.contains(Marks::POLICY) => Next::Flow,
        false => Next::Bridge,
    }
}

/// Sends what has waited on, behind the burst.
pub(super) fn go_on<K>(cx: &mut Cx<'_>, held: Held<K>, onward: fn(&Meta) -> Next) {
    let Held { mut frame, mut meta, generation, .. } = held;
    cx.counters.released();
    let next = if generation == cx.fib.generation() {
        Ok(onward(&meta))
    } else {
        let mut packet = Packet { frame: &mut frame, meta: &mut meta };
        look_again(cx, &mut packet, generation, onward)
    };
    let from = (meta.rx_vif, meta.vrf, meta.nh);
    let sent = match next {
        Ok(next) => cx.spawned.push(frame, meta, next).map_err(|it| (it, DropReason::NoMemory)),
        Err(reason) => Err((frame, reason)),
    };
    if let Err((frame, reason)) = sent {
        cx.drop_frame(frame, from, reason);
    }
}

/// Where a packet goes that waited while the tables changed: what its label or VNI named then may be another tenant's
/// by now, so it is decapsulated once more (points 18 and 19).
///
/// # Errors
/// `InvalidIf` when its interface is gone, was replaced, or belongs elsewhere; `InvalidNh` when the outer headers are not
/// there any longer.
#[cold]
fn look_again(
    cx: &Cx<'_>,
    packet: &mut Packet<'_>,
    generation: Generation,
    onward: fn(&Meta) -> Next,
) -> Result<Next, DropReason> {
    let vif = cx.fib.vif(packet.meta.rx_vif).filter(|vif| vif.since <= generation);
    let vif = vif.ok_or(DropReason::InvalidIf)?;
    if !packet.meta.is_from_fabric() {
        // A VRF by VLAN is not looked for again.
        return if vif.vrf == packet.meta.vrf {
            Ok(onward(packet.meta))
        } else {
            Err(DropReason::InvalidIf)
        };
    }
    decap::restore(packet).ok_or(DropReason::InvalidNh)?;
    packet.meta.vrf = vif.vrf;
    packet.meta.network = 0;
    packet.meta.spread = Spread::Done;
    inspect::ethernet(packet, DropReason::InvalidNh)?;
    Ok(Next::Decap)
}

/// Drops what has waited for too long.
#[cold]
pub(crate) fn expire(cx: &mut Cx<'_>) {
    for bucket in 0..BUCKETS {
        while let Some(Held { frame, meta, .. }) = cx.assembler.waiting.expire(bucket, cx.now) {
            cx.counters.released();
            cx.drop_frame(frame, (meta.rx_vif, meta.vrf, meta.nh), DropReason::NoFragEntry);
        }
    }
    cx.assembler.waiting.plan(cx.now);
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
        if cx.assembler.knows(&datagram, cx.now) {
            let next = onward(&meta);
            return cx
                .spawned
                .push(frame, meta, next)
                .map_err(|frame| (frame, DropReason::NoMemory));
        }
        cx.assembler.hold(frame, &meta, datagram, (cx.now, cx.fib.generation()))?;
        cx.counters.held();
        Ok(())
    }
}
