//! Encap: the tunnel's prebuilt header in front, then what differs per packet: lengths, id, entropy port, label.

use std::net::IpAddr;

use tables::{DropReason, Endpoints, FibNextHop, OuterHeader, TunnelEncap, TunnelHop, VifId};
use wire::{Ethernet, Ipv4, Ipv6, Label, Mac, Mpls, Udp, Vni, Vxlan, ethertype};

use crate::flow_hash::{entropy_port, flow_hash};
use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Cast, Layer, Outer, Packet, Protocol};

/// Remembers the uplink, and counts ids for outer headers whose payload has none to copy.
#[derive(Default)]
pub(crate) struct Encap {
    uplink: Option<Uplink>,
    id: u16,
}

#[derive(Clone, Copy)]
struct Uplink {
    vif: VifId,
    mtu: usize,
    mac: Mac,
}

impl Node for Encap {
    const ID: NodeId = NodeId::Encap;
    const EDGES: &'static [NodeId] = &[NodeId::VifTx, NodeId::Drop];

    fn begin(&mut self) {
        self.uplink = None;
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let fib = cx.fib;
        let FibNextHop::Tunnel(hop) = fib.next_hop(packet.meta.nh) else {
            return Next::Drop(DropReason::InvalidNh);
        };
        self.encapsulate(cx, packet, hop).map_or_else(Next::Drop, |()| Next::VifTx)
    }
}

impl Encap {
    #[inline]
    fn encapsulate(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
    ) -> Result<(), DropReason> {
        if !hop.ready {
            return Err(DropReason::InvalidNh);
        }
        if came_from(packet, hop) {
            return Err(DropReason::PktLoop);
        }
        let uplink = self.uplink(cx, hop.vif)?;
        let label = packet.meta.label.ok_or(DropReason::InvalidLabel)?;
        // What names the flow is read before the headers move.
        let port = match hop.encap {
            TunnelEncap::MplsOverGre => 0,
            _ => entropy_port(flow_hash(packet, cx.seed)),
        };
        let id = self.outer_id(packet);
        prepare_payload(packet, hop.encap, uplink)?;
        let length = hop.header.len() - OuterHeader::IP + packet.frame.len();
        if length > uplink.mtu {
            return Err(too_big(packet));
        }
        let varying = Varying { length, id, port, shim: shim(packet, hop.encap, label)? };
        push(packet, hop, &varying)?;
        packet.meta.tx_vif = hop.vif;
        Ok(())
    }

    #[inline]
    fn uplink(&mut self, cx: &Cx<'_>, vif: VifId) -> Result<Uplink, DropReason> {
        match self.uplink {
            Some(uplink) if uplink.vif == vif => Ok(uplink),
            _ => {
                let found = cx.fib.vif(vif).ok_or(DropReason::InvalidIf)?;
                let uplink = Uplink { vif, mtu: usize::from(found.mtu), mac: found.mac };
                self.uplink = Some(uplink);
                Ok(uplink)
            }
        }
    }

    /// The inner id where there is one (it helps whoever reads a capture), else a counter that skips 0.
    #[inline]
    fn outer_id(&mut self, packet: &Packet<'_>) -> u16 {
        if packet.meta.protocol == Protocol::Ipv4 {
            return packet.meta.id;
        }
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.id
    }
}

/// A tunnel back to where the packet came from.
#[inline]
fn came_from(packet: &Packet<'_>, hop: &TunnelHop) -> bool {
    match packet.meta.outer {
        Outer::None => false,
        Outer::V4(source) => hop.destination() == IpAddr::V4(source),
        Outer::V6(source) => hop.destination() == IpAddr::V6(source),
    }
}

/// Leaves in the frame exactly what the tunnel carries: an IP packet, or a frame.
#[inline]
fn prepare_payload(
    packet: &mut Packet<'_>,
    encap: TunnelEncap,
    uplink: Uplink,
) -> Result<(), DropReason> {
    match (encap, packet.meta.layer) {
        (TunnelEncap::MplsOverGre | TunnelEncap::MplsOverUdp, Layer::L3) => packet.strip(),
        (TunnelEncap::VxlanL3(mac), Layer::L3) => inner_ethernet(packet, mac, uplink),
        (TunnelEncap::VxlanL3(_), Layer::L2) => Err(DropReason::InvalidNh),
        (_, Layer::L2) => Ok(()),
        // A routed packet needs a router's MAC to travel in VXLAN.
        (TunnelEncap::Vxlan, Layer::L3) => Err(DropReason::InvalidNh),
    }
}

/// A routed packet in VXLAN: from the uplink's MAC to the far router's (section 7.3).
#[inline]
fn inner_ethernet(packet: &mut Packet<'_>, mac: Mac, uplink: Uplink) -> Result<(), DropReason> {
    if uplink.mac.is_zero() {
        return Err(DropReason::InterfaceDrop);
    }
    packet.strip()?;
    let ethertype = match packet.meta.protocol {
        Protocol::Ipv6 => ethertype::IPV6,
        _ => ethertype::IPV4,
    };
    let room = packet.frame.push(Ethernet::LEN).map_err(|_| DropReason::Push)?;
    Ethernet::new(mac, uplink.mac, ethertype).emit(room).ok_or(DropReason::Push)
}

/// Larger than the uplink carries. With DF, and always for IPv6, the sender is to be told, through the agent: there is
/// no interface to it. Without DF the packet is to be fragmented, which the graph does not do yet; the reference names
/// a failed fragmentation `InterfaceDrop`. (Section 15.)
#[cold]
fn too_big(packet: &Packet<'_>) -> DropReason {
    let network = match packet.meta.layer {
        Layer::L2 => packet.network(),
        Layer::L3 => packet.frame.data(),
    };
    let dont_fragment = match packet.meta.protocol {
        Protocol::Ipv4 => Ipv4::parse(network).is_some_and(|(ip, _)| ip.dont_fragment()),
        Protocol::Ipv6 => true,
        Protocol::Arp | Protocol::Other => false,
    };
    match (dont_fragment, packet.meta.cast) {
        (true, Cast::Group) => DropReason::McastDfBit,
        (true, Cast::Unicast) => DropReason::TrapNoIf,
        (false, _) => DropReason::InterfaceDrop,
    }
}

/// The last header before the payload.
#[inline]
fn shim(packet: &Packet<'_>, encap: TunnelEncap, label: u32) -> Result<Shim, DropReason> {
    match encap {
        TunnelEncap::MplsOverGre | TunnelEncap::MplsOverUdp => {
            let label = Label::try_from(label).map_err(|_| DropReason::InvalidLabel)?;
            let ttl = if packet.meta.ttl == 0 { 64 } else { packet.meta.ttl };
            Ok(Shim::Mpls(Mpls::bottom(label, ttl)))
        }
        TunnelEncap::Vxlan | TunnelEncap::VxlanL3(_) => {
            let vni = Vni::try_from(label).map_err(|_| DropReason::InvalidLabel)?;
            Ok(Shim::Vxlan(Vxlan::new(vni)))
        }
    }
}

enum Shim {
    Mpls(Mpls),
    Vxlan(Vxlan),
}

/// What differs between two packets of one tunnel.
struct Varying {
    /// From the outer IP header to the end.
    length: usize,
    id: u16,
    port: u16,
    shim: Shim,
}

/// The four headers over IPv4 have lengths known here, so that the copy is a few moves and no offset is checked.
#[inline]
fn push(packet: &mut Packet<'_>, hop: &TunnelHop, varying: &Varying) -> Result<(), DropReason> {
    match (&hop.endpoints, hop.encap) {
        (Endpoints::V4 { .. }, TunnelEncap::MplsOverUdp) => push_v4::<46>(packet, hop, varying),
        (Endpoints::V4 { .. }, TunnelEncap::MplsOverGre) => push_v4::<42>(packet, hop, varying),
        (Endpoints::V4 { .. }, _) => push_v4::<50>(packet, hop, varying),
        (Endpoints::V6 { .. }, _) => push_v6(packet, hop, varying),
    }
}

#[inline]
fn push_v4<const N: usize>(
    packet: &mut Packet<'_>,
    hop: &TunnelHop,
    varying: &Varying,
) -> Result<(), DropReason> {
    let template = hop.header.bytes().first_chunk::<N>().ok_or(DropReason::InvalidNh)?;
    let room = packet.frame.push(N).map_err(|_| DropReason::Push)?;
    let room = room.first_chunk_mut::<N>().ok_or(DropReason::Push)?;
    *room = *template;
    let (_, ip) = room.split_at_mut_checked(OuterHeader::IP).ok_or(DropReason::Push)?;
    let (ip, rest) = Ipv4::parse_mut(ip).ok_or(DropReason::Push)?;
    let length = u16::try_from(varying.length).map_err(|_| DropReason::InterfaceDrop)?;
    ip.complete(length, varying.id, hop.header.partial_checksum());
    finish(rest, hop.encap, length.saturating_sub(IPV4_HEADER), varying)
}

fn push_v6(packet: &mut Packet<'_>, hop: &TunnelHop, varying: &Varying) -> Result<(), DropReason> {
    let template = hop.header.bytes();
    let room = packet.frame.push(template.len()).map_err(|_| DropReason::Push)?;
    room.copy_from_slice(template);
    let ip = room.get_mut(OuterHeader::IP..).ok_or(DropReason::Push)?;
    let (ip, rest) = Ipv6::parse_mut(ip).ok_or(DropReason::Push)?;
    let length = varying.length.saturating_sub(Ipv6::LEN);
    let length = u16::try_from(length).map_err(|_| DropReason::InterfaceDrop)?;
    ip.set_payload_length(length);
    finish(rest, hop.encap, length, varying)
}

const IPV4_HEADER: u16 = 20;

/// From the UDP or GRE header on; `length` counts from there to the end of the packet.
#[inline]
fn finish(
    rest: &mut [u8],
    encap: TunnelEncap,
    length: u16,
    varying: &Varying,
) -> Result<(), DropReason> {
    let rest = match encap {
        TunnelEncap::MplsOverGre => {
            let (_, rest) = wire::Gre::parse_mut(rest).ok_or(DropReason::Push)?;
            rest
        }
        _ => {
            let (udp, rest) = Udp::parse_mut(rest).ok_or(DropReason::Push)?;
            udp.set_source_and_length(varying.port, length);
            rest
        }
    };
    let written = match &varying.shim {
        Shim::Mpls(mpls) => mpls.emit(rest),
        Shim::Vxlan(vxlan) => vxlan.emit(rest),
    };
    written.ok_or(DropReason::Push)
}
