//! Where a packet may come from: where the route to its source leads (reference dataplane.md section 6.5).

use std::net::IpAddr;

use tables::{EcmpGroup, Fib, FibNextHop, NhId, VrfId};

use super::stamp::route;
use crate::packet::{Meta, Outer};

/// What stands for where a packet comes from, in a word: the outer source of a tunnel, else the interface. Outer
/// addresses of IPv6 are folded.
#[inline]
pub(crate) fn origin(meta: &Meta) -> u32 {
    match meta.outer {
        Outer::None => u32::from(meta.rx_vif.0),
        Outer::V4(address) => address.to_bits(),
        Outer::V6(address) => fold(address.to_bits()),
    }
}

#[cold]
#[expect(clippy::cast_possible_truncation, reason = "folded to its lowest word")]
fn fold(bits: u128) -> u32 {
    (bits ^ bits >> 32 ^ bits >> 64 ^ bits >> 96) as u32
}

/// The next hop of the route to a packet's source, if it may come from there; `None` when it may not.
pub(crate) fn check(fib: &Fib, vrf: VrfId, source: IpAddr, meta: &Meta) -> Option<NhId> {
    let hit = route(fib, vrf, source);
    let unchecked = !fib.vrf_settings(vrf).rpf || is_link_local(source);
    (unchecked || comes_from(fib, hit.nh, meta)).then_some(hit.nh)
}

/// Addresses that no VRF has routes to.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether a packet comes from where a next hop leads; of a group, from one of its members.
fn comes_from(fib: &Fib, next_hop: NhId, meta: &Meta) -> bool {
    match fib.next_hop(next_hop) {
        FibNextHop::Encap { vif, .. } => *vif == meta.rx_vif,
        FibNextHop::Tunnel(_) | FibNextHop::SpecialTunnel(_) => {
            let tunnel = fib.next_hop(next_hop).tunnel();
            tunnel.is_some_and(|tunnel| meta.outer.is(tunnel.destination()))
        }
        FibNextHop::Ecmp(group) => {
            group.slots.iter().flatten().any(|member| comes_from(fib, member.next_hop, meta))
        }
        // Nobody is known there.
        FibNextHop::Discard | FibNextHop::Invalid => false,
        FibNextHop::Agent
        | FibNextHop::Receive { .. }
        | FibNextHop::EncapGroup { .. }
        | FibNextHop::Translate { .. }
        | FibNextHop::L2Receive
        | FibNextHop::Resolve
        | FibNextHop::Flood(_)
        | FibNextHop::UdpTunnel(_) => true,
    }
}

/// The position of the member of a group that what came from `origin` came from; of several, `chosen` if it is one.
pub(crate) fn member_from(
    fib: &Fib,
    group: &EcmpGroup,
    origin: u32,
    chosen: Option<u8>,
) -> Option<u8> {
    let leads_back = |position: &u8| {
        let member = group.member(*position);
        member.is_some_and(|member| is_from(fib, member.next_hop, origin))
    };
    chosen.into_iter().chain(group.active.iter().copied()).find(leads_back)
}

/// Whether what came from `origin` came from where a next hop leads.
fn is_from(fib: &Fib, next_hop: NhId, origin: u32) -> bool {
    match fib.next_hop(next_hop) {
        FibNextHop::Encap { vif, .. } => u32::from(vif.0) == origin,
        hop => hop.tunnel().is_some_and(|tunnel| match tunnel.destination() {
            IpAddr::V4(address) => address.to_bits() == origin,
            IpAddr::V6(address) => fold(address.to_bits()) == origin,
        }),
    }
}
