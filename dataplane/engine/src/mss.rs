//! MSS clamp: a TCP connection that is going to pass a tunnel is told at its beginning what fits into one packet
//! (reference dataplane.md section 15.4, case H12).
//!
//! Both ends are told: a SYN on its way into a tunnel by what that tunnel carries, one that came out of a tunnel by what
//! the way back to its sender carries. Only downwards, and only SYNs that have the option.

use tables::{FibNextHop, OuterHeader, TunnelEncap, TunnelHop};
use wire::{Ethernet, Ipv4, Ipv6, Tcp, protocol};

use crate::graph::Cx;
use crate::packet::{Addresses, Fragment, Layer, Packet, Protocol};

/// What a label on top of the packet's own takes, in bytes.
pub(crate) const TRANSPORT_LABEL: u16 = 4;

/// Which SYNs are clamped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssClamp {
    /// Those from workloads into tunnels, and those from tunnels to workloads.
    #[default]
    Both,
    /// Those into tunnels alone.
    FromWorkloads,
    /// Those out of tunnels alone.
    ToWorkloads,
    /// None.
    Off,
}

impl MssClamp {
    fn clamps_into_tunnels(self) -> bool {
        matches!(self, MssClamp::Both | MssClamp::FromWorkloads)
    }

    fn clamps_out_of_tunnels(self) -> bool {
        matches!(self, MssClamp::Both | MssClamp::ToWorkloads)
    }
}

/// Whether it may be a TCP SYN. A guess that costs two compares: the clamp looks again.
#[inline]
pub(crate) fn may_be_syn(packet: &Packet<'_>) -> bool {
    const FLAGS: usize = 13;
    const SYN: u8 = 2;
    packet.meta.ip_protocol == protocol::TCP
        && packet
            .frame
            .data()
            .get(usize::from(packet.meta.transport) + FLAGS)
            .is_some_and(|flags| flags & SYN != 0)
}

/// On its way into this tunnel, whose uplink has this MTU.
#[cold]
pub(crate) fn into_tunnel(cx: &Cx<'_>, packet: &mut Packet<'_>, hop: &TunnelHop, mtu: u16) {
    if cx.mss.clamps_into_tunnels() {
        let carried = carried(packet, hop);
        clamp(packet, usable(hop, mtu, carried));
    }
}

/// Out of a tunnel: by the bridge entry of its sender's MAC or the route of its address.
#[cold]
pub(crate) fn out_of_tunnel(cx: &Cx<'_>, packet: &mut Packet<'_>) {
    if !cx.mss.clamps_out_of_tunnels() {
        return;
    }
    let vrf = packet.meta.vrf;
    let mac = Ethernet::parse(packet.frame.data()).map(|(ethernet, _)| ethernet.source());
    let bridged = mac.filter(|_| packet.meta.layer == Layer::L2).and_then(|mac| {
        let hit = cx.fib.bridge(vrf, mac)?;
        way_back(cx, packet, cx.fib.next_hop(hit.nh))
    });
    let usable = bridged.or_else(|| {
        let hit = match packet.meta.addresses {
            Addresses::V4 { source, .. } => cx.fib.route(vrf, source),
            Addresses::V6 { source, .. } => cx.fib.route(vrf, source),
            Addresses::None | Addresses::Hashed(_) => return None,
        };
        way_back(cx, packet, cx.fib.next_hop(hit.nh))
    });
    if let Some(usable) = usable {
        clamp(packet, usable);
    }
}

/// What the way through a next hop carries: of a group, its narrowest member; `None` when it is no tunnel.
fn way_back(cx: &Cx<'_>, packet: &Packet<'_>, hop: &FibNextHop) -> Option<usize> {
    let through = |hop: &FibNextHop| match hop {
        FibNextHop::Tunnel(hop) => {
            let mtu = cx.fib.vif(hop.vif)?.mtu;
            Some(usable(hop, mtu, carried(packet, hop)))
        }
        FibNextHop::SpecialTunnel(special) => {
            let label = special.transport.map_or(0, |_| TRANSPORT_LABEL);
            let uplinks = special.uplinks.iter().flatten().filter_map(|hop| {
                let mtu = cx.fib.vif(hop.vif)?.mtu.saturating_sub(label);
                Some(usable(hop, mtu, carried(packet, hop)))
            });
            uplinks.min()
        }
        FibNextHop::Invalid
        | FibNextHop::Discard
        | FibNextHop::Receive { .. }
        | FibNextHop::Encap { .. }
        | FibNextHop::EncapGroup { .. }
        | FibNextHop::Agent
        | FibNextHop::Ecmp(_)
        | FibNextHop::Translate { .. }
        | FibNextHop::L2Receive
        | FibNextHop::Resolve
        | FibNextHop::Flood(_)
        | FibNextHop::UdpTunnel(_) => None,
    };
    match hop {
        FibNextHop::Ecmp(group) => {
            let members = group.slots.iter().flatten();
            members.filter_map(|member| through(cx.fib.next_hop(member.next_hop))).min()
        }
        hop => through(hop),
    }
}

/// Bytes between the tunnel's headers and the IP header: the inner Ethernet header, with its tags, of a frame.
fn carried(packet: &Packet<'_>, hop: &TunnelHop) -> usize {
    match (hop.encap, packet.meta.layer) {
        (TunnelEncap::VxlanL3(_), _) => Ethernet::LEN,
        (_, Layer::L2) => usize::from(packet.meta.network),
        (_, Layer::L3) => 0,
    }
}

/// The largest IP packet the tunnel carries, in bytes.
fn usable(hop: &TunnelHop, mtu: u16, carried: usize) -> usize {
    let outer = hop.header.len() - OuterHeader::IP.min(hop.header.len());
    usize::from(mtu).saturating_sub(outer + carried)
}

/// Lowers the MSS to what a packet of so many bytes carries.
fn clamp(packet: &mut Packet<'_>, usable: usize) {
    let headers = match packet.meta.protocol {
        Protocol::Ipv4 => Ipv4::LEN + Tcp::LEN,
        Protocol::Ipv6 => Ipv6::LEN + Tcp::LEN,
        Protocol::Arp | Protocol::Other => return,
    };
    if packet.meta.fragment == Fragment::Later {
        return;
    }
    let at = usize::from(packet.meta.transport);
    let most = u16::try_from(usable.saturating_sub(headers)).unwrap_or(u16::MAX);
    if let Some(segment) = packet.frame.data_mut().get_mut(at..) {
        wire::clamp_mss(segment, most);
    }
}
