//! What comes in by an unusual interface (reference dataplane.md section 2.3).

use tables::{DropReason, FibVif, VifExtras, VifFeatures, VifFlags, VifKind};
use wire::{Ethernet, ethernet_payload, ethertype};

use super::mirror::{self, Direction};
use super::{marking, tag};
use crate::graph::Cx;
use crate::node;
use crate::packet::{Marks, Packet, Spread};

/// Gives a packet its interface and its VRF, and the interface its copies.
///
/// # Errors
/// Why the packet goes no further.
#[inline(never)]
pub(crate) fn receive(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    vif: &FibVif,
) -> Result<(), DropReason> {
    enter(cx, packet, vif);
    if vif.features.contains(VifFeatures::MONITORING) {
        return Err(DropReason::InterfaceDrop);
    }
    let Some(extras) = &vif.extras else { return Ok(()) };
    // What another worker handed over has been copied there.
    let first = packet.meta.spread == Spread::Allowed;
    if first {
        mirror::monitor(cx, packet.frame, packet.meta, vif);
        mirror::mirror(cx, packet.frame, packet.meta, vif, Direction::Received);
    }
    let tagged = tag::outer(packet.frame.data());
    let native = vif.kind == VifKind::Physical && vif.flags.contains(VifFlags::NATIVE_VLAN_TAG);
    if let Some(vlan) = tagged.map(|(vlan, _)| vlan).or(native.then_some(0))
        && let Some((header, _)) = Ethernet::parse(packet.frame.data())
        && let Some(id) = extras.sub(vlan, header.source())
    {
        let sub = cx.fib.vif(id).ok_or(DropReason::InvalidIf)?;
        return receive_by_sub(cx, packet, vif, sub);
    }
    settle(cx, packet, vif, extras, tagged.map(|(_, priority)| priority))
}

/// What a sub-interface has received: counted there, and not at a virtual parent. One tag is taken off, the outer one, so
/// that of two the inner one stays where it is.
fn receive_by_sub(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    parent: &FibVif,
    sub: &FibVif,
) -> Result<(), DropReason> {
    let bytes = packet.frame.len() as u64;
    if parent.kind == VifKind::Virtual {
        cx.counters.not_received(parent.id, 1, bytes);
    }
    cx.counters.received(sub.id, 1, bytes);
    enter(cx, packet, sub);
    packet.meta.rx_vif = sub.id;
    mirror::monitor(cx, packet.frame, packet.meta, sub);
    let bare = sub.flags.contains(VifFlags::MIRROR_NO_TAG);
    if !bare {
        mirror::mirror(cx, packet.frame, packet.meta, sub, Direction::Received);
    }
    let tagged = tag::outer(packet.frame.data());
    if let Some((_, priority)) = tagged {
        packet.meta.qos = priority;
        tag::pop(packet.frame)?;
    }
    if bare {
        mirror::mirror(cx, packet.frame, packet.meta, sub, Direction::Received);
    }
    match &sub.extras {
        Some(extras) => settle(cx, packet, sub, extras, tagged.map(|(_, priority)| priority)),
        None => Ok(()),
    }
}

fn enter(cx: &Cx<'_>, packet: &mut Packet<'_>, vif: &FibVif) {
    packet.meta.rx_kind = vif.kind;
    packet.meta.vrf = vif.vrf;
    let asked = Marks::LEARN.with(Marks::POLICY);
    packet.meta.marks = packet.meta.marks.without(asked).with(node::marks(vif, cx.flows.is_some()));
}

/// The VRF of the VLAN, and the class.
fn settle(
    cx: &Cx<'_>,
    packet: &mut Packet<'_>,
    vif: &FibVif,
    extras: &VifExtras,
    priority: Option<u8>,
) -> Result<(), DropReason> {
    if vif.features.contains(VifFeatures::SERVICE) {
        let data = packet.frame.data();
        if let Some((vlan, _)) = tag::outer(data)
            && let Some(assigned) = extras.assignment(vlan)
        {
            packet.meta.vrf = assigned.vrf;
        }
        // What a service chain floods would come round (point 26).
        if is_group_but_arp(data) {
            return Err(DropReason::InterfaceDrop);
        }
    }
    if let Some(map) = extras.qos_map {
        marking::classify(cx.fib, packet, map, priority);
    }
    Ok(())
}

fn is_group_but_arp(data: &[u8]) -> bool {
    let to_group = Ethernet::parse(data).is_some_and(|(header, _)| header.destination().is_group());
    let payload = ethernet_payload(data).map(|found| found.ethertype);
    to_group && payload.is_some_and(|found| found != ethertype::ARP)
}
