//! What leaves by an unusual interface (reference dataplane.md section 2.4).

use port::Frame;
use tables::{DropReason, FibVif, VifFeatures, VifId};
use wire::{Ethernet, Ipv4, ethernet_payload, ethertype};

use super::mirror::{self, Direction};
use super::{marking, tag};
use crate::graph::Cx;
use crate::node::not_sent;
use crate::packet::{Marks, Meta};
use crate::ports::{Exit, Sent};

/// Sends a frame that has no direct way out, because its interface is unusual.
///
/// # Errors
/// The frame and the reason: `InterfaceTxDiscard` for an interface that has no port, `InvalidIf` for a sub-interface
/// without its parent.
#[cold]
#[inline(never)]
pub(crate) fn send(
    cx: &mut Cx<'_>,
    mut frame: Frame,
    meta: &Meta,
) -> Result<(), (Frame, DropReason)> {
    let fib = cx.fib;
    let Some(vif) = fib.vif(meta.tx_vif) else {
        return Err((frame, DropReason::InterfaceTxDiscard));
    };
    let by = match prepare(cx, &mut frame, meta, vif) {
        Ok(by) => by,
        Err(reason) => {
            cx.counters.send_error(vif.id);
            return Err((frame, reason));
        }
    };
    let bytes = frame.len() as u64;
    let exit = Exit { vif: by, counted: vif.id };
    match cx.ports.send_by(frame, exit, (meta.rx_vif, meta.vrf), cx.peers) {
        Ok(Sent::Port) => cx.counters.sent(vif.id, 1, bytes),
        Ok(Sent::Peer) => {}
        Err(refused) => not_sent(cx, refused, exit, (meta.rx_vif, meta.vrf))?,
    }
    Ok(())
}

/// Makes the frame what goes out, gives the interface its copies, and says whose port it goes to.
fn prepare(
    cx: &mut Cx<'_>,
    frame: &mut Frame,
    meta: &Meta,
    vif: &FibVif,
) -> Result<VifId, DropReason> {
    if vif.features.contains(VifFeatures::READDRESS) {
        readdress(frame, vif);
    }
    let Some((parent, vlan)) = vif.extras.as_ref().and_then(|extras| extras.parent) else {
        copies(cx, frame, meta, vif);
        return Ok(vif.id);
    };
    let parent = cx.fib.vif(parent).ok_or(DropReason::InvalidIf)?;
    let priority = match meta.marks.contains(Marks::CLASSED) {
        true => marking::class(cx.fib, meta).map_or(0, |class| class.dot1p),
        false => meta.qos,
    };
    // What already has a tag came with it, so the own one goes in front: QinQ.
    match vlan {
        0 => tag::set_priority(frame, priority),
        vlan => tag::push(frame, vlan, priority)?,
    }
    copies(cx, frame, meta, vif);
    copies(cx, frame, meta, parent);
    Ok(parent.id)
}

fn copies(cx: &mut Cx<'_>, frame: &Frame, meta: &Meta, vif: &FibVif) {
    mirror::mirror(cx, frame, meta, vif, Direction::Sent);
    mirror::monitor(cx, frame, meta, vif);
}

/// The interface's MAC as destination; of a vhost with a loopback address only of packets to that.
fn readdress(frame: &mut Frame, vif: &FibVif) {
    if let Some(loopback) = vif.extras.as_ref().and_then(|extras| extras.loopback) {
        let data = frame.data();
        let found = ethernet_payload(data).filter(|found| found.ethertype == ethertype::IPV4);
        let ip = found.and_then(|found| Ipv4::parse(data.get(found.offset..)?));
        if ip.is_none_or(|(ip, _)| ip.destination() != loopback) {
            return;
        }
    }
    if let Some((header, _)) = Ethernet::parse_mut(frame.data_mut()) {
        header.set_destination(vif.mac);
    }
}
