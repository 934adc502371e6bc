//! Plain UDP to an analyser (reference dataplane.md sections 6.3 and 18).

use tables::{DropReason, Endpoints, UdpTunnel};
use wire::checksum::{self, Transport};
use wire::{Ethernet, Ipv4, Ipv6, Udp, protocol};

use crate::graph::{Cx, Next};
use crate::node::next_hop::MAX_PASSES;
use crate::packet::{Addresses, Cast, Fragment, Layer, Packet, Protocol};

/// UDP and IP in front of everything, then routed in the packet's VRF. What the VRF has no route for leaves by the
/// underlay's way, if that is known: VRF 0's routes are the kernel's.
#[cold]
pub(super) fn to_analyser(
    cx: &Cx<'_>,
    packet: &mut Packet<'_>,
    tunnel: &UdpTunnel,
) -> Result<Next, Next> {
    packet.meta.passes += 1;
    if packet.meta.passes > MAX_PASSES {
        return Err(Next::Drop(DropReason::PktLoop));
    }
    let addresses = addresses(cx, packet, tunnel);
    let (source, destination) = tunnel.ports;
    let too_long = |_| DropReason::InterfaceDrop;
    let length = u16::try_from(packet.frame.len() + Udp::LEN).map_err(too_long)?;
    let room = packet.frame.push(Udp::LEN).map_err(|_| DropReason::Push)?;
    Udp::new(source, destination, length, 0).emit(room).ok_or(DropReason::Push)?;
    let (route, header) = match addresses {
        Addresses::V4 { source, destination } => {
            let pseudo = checksum::pseudo_v4(source, destination, protocol::UDP, length);
            checksum::write(Transport::Udp, pseudo, packet.frame.data_mut());
            let total = u16::try_from(packet.frame.len() + Ipv4::LEN).map_err(too_long)?;
            let room = packet.frame.push(Ipv4::LEN).map_err(|_| DropReason::Push)?;
            let ip = Ipv4::new(source, destination, protocol::UDP, 64, total);
            ip.emit(room).ok_or(DropReason::Push)?;
            packet.meta.protocol = Protocol::Ipv4;
            (cx.fib.route(packet.meta.vrf, destination), Ipv4::LEN)
        }
        Addresses::V6 { source, destination } => {
            let pseudo = checksum::pseudo_v6(source, destination, protocol::UDP, length.into());
            checksum::write(Transport::Udp, pseudo, packet.frame.data_mut());
            let room = packet.frame.push(Ipv6::LEN).map_err(|_| DropReason::Push)?;
            let ip = Ipv6::new(source, destination, protocol::UDP, 64, length);
            ip.emit(room).ok_or(DropReason::Push)?;
            packet.meta.protocol = Protocol::Ipv6;
            (cx.fib.route(packet.meta.vrf, destination), Ipv6::LEN)
        }
        Addresses::None | Addresses::Hashed(_) => return Err(Next::Drop(DropReason::InvalidNh)),
    };
    let meta = &mut *packet.meta;
    meta.addresses = addresses;
    meta.ports = u32::from(source) << 16 | u32::from(destination);
    meta.ip_protocol = protocol::UDP;
    meta.fragment = Fragment::Whole;
    (meta.network, meta.transport) = (0, u16::try_from(header).unwrap_or(0));
    (meta.layer, meta.cast, meta.tos, meta.id, meta.ip_ttl) = (Layer::L3, Cast::Unicast, 0, 0, 64);
    if let (0, Some((vif, ethernet))) = (route.nh.0, tunnel.underlay) {
        let room = packet.frame.push(Ethernet::LEN).map_err(|_| DropReason::Push)?;
        room.copy_from_slice(&ethernet);
        packet.meta.tx_vif = vif;
        return Ok(Next::VifTx);
    }
    packet.meta.nh = route.nh;
    packet.meta.set_label(route.label);
    Ok(Next::NextHop)
}

/// The outer addresses; the source is the interface's own where the tunnel says so and there is one.
fn addresses(cx: &Cx<'_>, packet: &Packet<'_>, tunnel: &UdpTunnel) -> Addresses {
    let vif = cx.fib.vif(packet.meta.rx_vif).filter(|_| tunnel.copy_source);
    match tunnel.endpoints {
        Endpoints::V4 { source, destination } => {
            let source = vif.and_then(|vif| vif.ip).unwrap_or(source);
            Addresses::V4 { source, destination }
        }
        Endpoints::V6 { source, destination } => {
            let source = vif.and_then(|vif| vif.ip6).unwrap_or(source);
            Addresses::V6 { source, destination }
        }
    }
}
