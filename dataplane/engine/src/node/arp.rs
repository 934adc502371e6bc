//! ARP: what is answered here, and what is left to be bridged (reference dataplane.md section 11).

use std::net::Ipv4Addr;

use tables::{DropReason, FibNextHop, FibVif, RouteFlags, RouteHit, VifFlags, VifKind};
use wire::{ArpOperation, Ethernet, Mac};

use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{ArpStage, Packet};
use crate::storm::Storm;

/// Has no state.
#[derive(Default)]
pub(crate) struct Arp;

impl Node for Arp {
    const ID: NodeId = NodeId::Arp;
    const EDGES: &'static [NodeId] =
        &[NodeId::Bridge, NodeId::NextHop, NodeId::VifTx, NodeId::Drop];

    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        packet.meta.arp = ArpStage::Seen;
        // What comes through a tunnel was held to its rate where it began.
        if !packet.meta.is_from_fabric() && !cx.admit(packet.meta.rx_vif, Storm::Arp) {
            return Next::Drop(DropReason::StormArp);
        }
        let arp = wire::Arp::parse(packet.network()).map(|(arp, _)| *arp);
        let Some((arp, operation)) = arp.and_then(|arp| Some((arp, arp.operation()?))) else {
            return Next::Drop(DropReason::InvalidArp);
        };
        let Some(vif) = cx.fib.vif(packet.meta.rx_vif) else {
            return Next::Drop(DropReason::InvalidIf);
        };
        let decision = match operation {
            _ if packet.meta.is_from_host() => from_host(cx, packet, vif, &arp, operation),
            ArpOperation::Request => request(cx, packet, vif, &arp),
            ArpOperation::Reply => Decision::Bridge,
        };
        match decision {
            Decision::Answer(mac) => answer(cx, packet, vif, &arp, mac),
            Decision::Bridge if vif.flags.contains(VifFlags::SERVICE) => {
                Next::Drop(DropReason::InvalidArp)
            }
            // A label led it straight to its tree.
            Decision::Bridge if in_tree(cx, packet) => Next::NextHop,
            Decision::Bridge => Next::Bridge,
            Decision::Drop => Next::Drop(DropReason::InvalidArp),
            // The uplink's ARP is the kernel's own: there is nobody to cross-connect to.
            Decision::CrossConnect => Next::Drop(DropReason::InterfaceDrop),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// "Is at" this MAC.
    Answer(Mac),
    /// Not ours to answer: to its station, or flooded.
    Bridge,
    /// Neither.
    Drop,
    /// For the host's other neighbours, at the uplink.
    CrossConnect,
}

/// Section 11.1. Probes and announcements are never answered (case H17).
fn request(cx: &Cx<'_>, packet: &Packet<'_>, vif: &FibVif, arp: &wire::Arp) -> Decision {
    if packet.meta.vlan.is_some() {
        return Decision::Bridge;
    }
    if arp.is_gratuitous() {
        return match vif.flags.contains(VifFlags::MAC_PROXY) && packet.meta.is_from_workload() {
            true => Decision::Drop,
            false => Decision::Bridge,
        };
    }
    let route = cx.fib.route(packet.meta.vrf, arp.target_ip());
    if vif.flags.contains(VifFlags::MAC_PROXY) || route.flags.contains(RouteFlags::ARP_PROXY) {
        proxy(cx, packet, vif, &route)
    } else {
        Decision::Bridge
    }
}

/// The same for the host's interface: link-local addresses are all here, whatever routes say, and what a route answers
/// for is answered; the rest is no business of ours.
fn from_host(
    cx: &Cx<'_>,
    packet: &Packet<'_>,
    vif: &FibVif,
    arp: &wire::Arp,
    operation: ArpOperation,
) -> Decision {
    if operation == ArpOperation::Reply || arp.is_gratuitous() {
        return Decision::CrossConnect;
    }
    if arp.target_ip().is_link_local() || vif.kind == VifKind::Gateway {
        return Decision::Answer(vif.mac);
    }
    match request(cx, packet, vif, arp) {
        Decision::Answer(mac) => Decision::Answer(mac),
        _ => Decision::CrossConnect,
    }
}

/// Section 11.2.
fn proxy(cx: &Cx<'_>, packet: &Packet<'_>, vif: &FibVif, route: &RouteHit) -> Decision {
    let stitched = cx.fib.stitched_mac(route);
    if route.flags.contains(RouteFlags::ARP_FLOOD) && stitched.is_none() {
        return Decision::Bridge;
    }
    if vif.flags.contains(VifFlags::MAC_PROXY) {
        return Decision::Answer(vif.mac);
    }
    let gateway = is_gateway(cx, route);
    if vif.flags.contains(VifFlags::NO_ARP_PROXY) && !gateway {
        return Decision::Drop;
    }
    let mac = stitched.unwrap_or(vif.mac);
    if packet.meta.is_from_workload() || packet.meta.is_from_host() {
        return Decision::Answer(mac);
    }
    // A question from elsewhere is answered only by the node that has the workload (case H18).
    if gateway {
        return Decision::Drop;
    }
    match stitched {
        Some(mac) if is_hosted(cx, packet, mac) => Decision::Answer(mac),
        _ => Decision::Bridge,
    }
}

fn in_tree(cx: &Cx<'_>, packet: &Packet<'_>) -> bool {
    matches!(cx.fib.next_hop(packet.meta.nh), FibNextHop::Flood(_))
}

/// Whether a route leads to the gateway: the agent, or this node.
pub(super) fn is_gateway(cx: &Cx<'_>, route: &RouteHit) -> bool {
    match cx.fib.next_hop(route.nh) {
        FibNextHop::Encap { vif, .. } => kind_is(cx, *vif, |kind| kind == VifKind::Agent),
        FibNextHop::Receive { .. } => true,
        _ => false,
    }
}

fn is_hosted(cx: &Cx<'_>, packet: &Packet<'_>, mac: Mac) -> bool {
    let Some(hit) = cx.fib.bridge(packet.meta.vrf, mac) else { return false };
    match cx.fib.next_hop(hit.nh) {
        FibNextHop::Encap { vif, .. } => {
            kind_is(cx, *vif, |kind| matches!(kind, VifKind::Virtual | VifKind::VirtualVlan))
        }
        _ => false,
    }
}

fn kind_is(cx: &Cx<'_>, vif: tables::VifId, is: impl Fn(VifKind) -> bool) -> bool {
    cx.fib.vif(vif).is_some_and(|vif| is(vif.kind))
}

/// Section 11.5: the reply is made in place. To a workload or the host it leaves where the question came in; elsewhere it takes
/// the way of the asker's bridge entry.
fn answer(cx: &Cx<'_>, packet: &mut Packet<'_>, vif: &FibVif, arp: &wire::Arp, mac: Mac) -> Next {
    debug_assert_ne!(arp.target_ip(), Ipv4Addr::UNSPECIFIED, "no route is answered for 0.0.0.0");
    if let Some((reply, _)) = wire::Arp::parse_mut(packet.network_mut()) {
        reply.answer(mac);
    }
    let network = usize::from(packet.meta.network);
    packet.frame.trim(network + wire::Arp::LEN);
    if let Some((ethernet, _)) = Ethernet::parse_mut(packet.frame.data_mut()) {
        ethernet.set_destination(arp.sender_mac());
        ethernet.set_source(mac);
    }
    if packet.meta.is_from_workload() || packet.meta.is_from_host() {
        packet.meta.tx_vif = vif.id;
        return Next::VifTx;
    }
    let Some(hit) = cx.fib.bridge(packet.meta.vrf, arp.sender_mac()) else {
        return Next::Drop(DropReason::InvalidNh);
    };
    packet.meta.nh = hit.nh;
    packet.meta.label = hit.label;
    // The answer goes back through the tunnel the question came by: that is no loop.
    packet.meta.outer = crate::packet::Outer::None;
    packet.meta.cast = crate::packet::Cast::Unicast;
    Next::NextHop
}
