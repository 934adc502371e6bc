//! Whether a question is answered here, and with whose MAC (reference dataplane.md sections 11.1 and 11.2).

use std::net::IpAddr;

use tables::{
    DropReason, Fib, FibNextHop, FibVif, NhId, RouteFlags, RouteHit, VifFlags, VifKind, VrfId,
};
use wire::Mac;

use super::{Asker, Question};
use crate::packet::Packet;

/// What is to become of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is answered.
    Answer(Answer),
    /// Not ours to answer: to its station, or flooded.
    Flood,
    /// The same, and the agent gets a copy.
    Mirror,
    /// For neighbours at the uplink, which are the kernel's.
    CrossConnect,
    /// The same, and the agent gets a copy.
    TrapAndCrossConnect,
    /// Neither.
    Drop(DropReason),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// "Is at" this MAC.
    pub(crate) mac: Mac,
    /// It is the router's own.
    pub(crate) router: bool,
}

/// The decision on a question that came in by `vif`.
pub(crate) fn decide(
    fib: &Fib,
    packet: &Packet<'_>,
    vif: &FibVif,
    asker: Asker,
    question: &Question,
) -> Decision {
    let vm = || request(fib, packet, vif, asker, question);
    match asker {
        Asker::Host if question.gratuitous => Decision::CrossConnect,
        // Link-local addresses are all here, whatever routes say.
        Asker::Host if is_link_local(question.target) || vif.kind == VifKind::Gateway => {
            Decision::Answer(Answer { mac: vif.mac, router: true })
        }
        Asker::Underlay if vif.flags.contains(VifFlags::XCONNECT) => Decision::CrossConnect,
        Asker::Underlay if question.gratuitous => Decision::TrapAndCrossConnect,
        Asker::Host | Asker::Underlay => match vm() {
            Decision::Answer(answer) => Decision::Answer(answer),
            _ => Decision::CrossConnect,
        },
        Asker::Workload | Asker::Overlay | Asker::Tor => match vm() {
            // Service chains must not loop.
            Decision::Flood if vif.flags.contains(VifFlags::SERVICE) => {
                Decision::Drop(DropReason::InvalidArp)
            }
            other => other,
        },
        Asker::Agent => Decision::Flood,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_link_local())
}

/// Section 11.1. Probes and announcements are never answered (case H17).
fn request(
    fib: &Fib,
    packet: &Packet<'_>,
    vif: &FibVif,
    asker: Asker,
    question: &Question,
) -> Decision {
    let proxies_all = vif.flags.contains(VifFlags::MAC_PROXY) && asker == Asker::Workload;
    if packet.meta.vlan.is_some() {
        return Decision::Flood;
    }
    if question.gratuitous && packet.meta.is_from_fabric() {
        return Decision::Flood;
    }
    if question.gratuitous && proxies_all {
        return Decision::Drop(DropReason::InvalidArp);
    }
    let route = route(fib, packet.meta.vrf, question.target);
    if question.gratuitous {
        return match route.flags.contains(RouteFlags::ARP_TRAP) {
            true => Decision::Mirror,
            false => Decision::Flood,
        };
    }
    if proxies_all || route.flags.contains(RouteFlags::ARP_PROXY) {
        proxy(fib, packet, vif, asker, &route)
    } else {
        Decision::Flood
    }
}

/// Section 11.2.
fn proxy(fib: &Fib, packet: &Packet<'_>, vif: &FibVif, asker: Asker, route: &RouteHit) -> Decision {
    let stitched = fib.stitched_mac(route);
    let own = Answer { mac: vif.mac, router: true };
    let gateway = is_gateway(fib, route.nh);
    let (all, none) =
        (vif.flags.contains(VifFlags::MAC_PROXY), vif.flags.contains(VifFlags::NO_ARP_PROXY));
    if asker == Asker::Workload && none && !all && !gateway {
        return Decision::Drop(DropReason::InvalidArp);
    }
    let answer = stitched.map_or(own, |mac| Answer { mac, router: false });
    if route.flags.contains(RouteFlags::ARP_FLOOD) && stitched.is_none() && asker != Asker::Host {
        return Decision::Flood;
    }
    if asker == Asker::Workload {
        return Decision::Answer(if all { own } else { answer });
    }
    // A question from elsewhere is answered only by the node that has the workload (case H18), unless this is the node
    // that serves who asks.
    match asker {
        Asker::Host | Asker::Tor => Decision::Answer(answer),
        _ if gateway => Decision::Drop(DropReason::InvalidArp),
        _ if matches!(fib.next_hop(route.nh), FibNextHop::Resolve) => Decision::Answer(answer),
        Asker::Underlay if is_hosted(fib, route.nh) => Decision::Answer(answer),
        Asker::Overlay => match stitched.and_then(|mac| fib.bridge(packet.meta.vrf, mac)) {
            Some(hit) if is_hosted(fib, hit.nh) => Decision::Answer(answer),
            _ => Decision::Flood,
        },
        _ => Decision::Flood,
    }
}

/// Whether an address is one of the agent's or of the node's own: the gateway, the name server.
pub(crate) fn leads_to_gateway(fib: &Fib, vrf: VrfId, address: IpAddr) -> bool {
    is_gateway(fib, route(fib, vrf, address).nh)
}

/// Whether there is a host route for the address that leads to the MAC.
pub(crate) fn has_binding(fib: &Fib, vrf: VrfId, address: IpAddr, mac: Mac) -> bool {
    let hit = route(fib, vrf, address);
    let host = if address.is_ipv4() { 32 } else { 128 };
    let known = match (fib.stitched_mac(&hit), fib.next_hop(hit.nh)) {
        (Some(stitched), _) => stitched == mac,
        (None, FibNextHop::Encap { rewrite, .. }) => rewrite.starts_with(&mac.0),
        (None, _) => false,
    };
    hit.prefix_len == host && known
}

fn is_gateway(fib: &Fib, nh: NhId) -> bool {
    matches!(fib.next_hop(nh), FibNextHop::Agent | FibNextHop::Receive { .. })
}

fn is_hosted(fib: &Fib, nh: NhId) -> bool {
    let FibNextHop::Encap { vif, .. } = fib.next_hop(nh) else { return false };
    let kind = fib.vif(*vif).map(|vif| vif.kind);
    matches!(kind, Some(VifKind::Virtual | VifKind::VirtualVlan))
}

fn route(fib: &Fib, vrf: VrfId, address: IpAddr) -> RouteHit {
    match address {
        IpAddr::V4(address) => fib.route(vrf, address),
        IpAddr::V6(address) => fib.route(vrf, address),
    }
}
