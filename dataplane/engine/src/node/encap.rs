//! Encap: the tunnel's prebuilt header in front, then what differs per packet: lengths, id, entropy port, label.

mod special;
mod udp;

use tables::{DropReason, Fib, FibNextHop, OuterHeader, TunnelEncap, TunnelForm, TunnelHop, VifId};
use wire::{Ethernet, Gre, Ipv4, Ipv6, Label, Mac, Mpls, Udp, Vni, Vxlan};

use super::fragment;
use crate::feature::marking;
use crate::flow_hash::{entropy_port, flow_hash};
use crate::graph::{Cx, Next, Node, NodeId};
use crate::mss;
use crate::packet::{Addresses, Layer, Marks, OutLabel, Outer, Packet, Protocol};
use crate::segment;

/// Remembers the uplink, and counts ids for outer headers whose payload has none to copy.
#[derive(Default)]
pub(crate) struct Encap {
    uplink: Option<Uplink>,
    id: u16,
}

#[derive(Clone, Copy)]
struct Uplink {
    vif: VifId,
    mtu: u16,
    mac: Mac,
}

impl Node for Encap {
    const ID: NodeId = NodeId::Encap;
    const EDGES: &'static [NodeId] =
        &[NodeId::VifTx, NodeId::NextHop, NodeId::Fragment, NodeId::Icmp, NodeId::Drop];

    fn begin(&mut self) {
        self.uplink = None;
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let fib = cx.fib;
        let result = match fib.next_hop(packet.meta.nh) {
            FibNextHop::Tunnel(hop) => self.encapsulate(cx, packet, hop),
            _ => return self.other_tunnel(cx, packet),
        };
        result.map_or_else(|other| otherwise(fib, packet, other), |()| Next::VifTx)
    }
}

impl Encap {
    // Into both of its callers, so that the plain way stays one function.
    #[inline(always)]
    fn encapsulate(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
    ) -> Result<(), Next> {
        self.put_headers(cx, packet, hop)?;
        mark(cx, packet, hop);
        Ok(())
    }

    #[inline]
    fn put_headers(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
    ) -> Result<(), Next> {
        let mtu = self.way_out(cx, packet, hop)?;
        if mss::may_be_syn(packet) {
            mss::into_tunnel(cx, packet, hop, mtu);
        }
        match hop.form {
            TunnelForm::MplsOverUdpV4 => self.over_v4::<MplsOverUdp, 46>(cx, packet, hop, mtu),
            TunnelForm::MplsOverGreV4 => self.over_v4::<MplsOverGre, 42>(cx, packet, hop, mtu),
            TunnelForm::VxlanV4 => self.over_v4::<VxlanOverUdp, 50>(cx, packet, hop, mtu),
            TunnelForm::VxlanL3V4 => {
                inner_ethernet(packet, hop, self.uplink(cx, hop.vif)?, VXLAN_OVER_V4)?;
                self.over_v4::<VxlanOverUdp, 50>(cx, packet, hop, mtu)
            }
            TunnelForm::MplsOverUdpV6 => self.over_v6::<MplsOverUdp>(cx, packet, hop, mtu),
            TunnelForm::MplsOverGreV6 => self.over_v6::<MplsOverGre>(cx, packet, hop, mtu),
            TunnelForm::VxlanV6 => self.over_v6::<VxlanOverUdp>(cx, packet, hop, mtu),
            TunnelForm::VxlanL3V6 => {
                inner_ethernet(packet, hop, self.uplink(cx, hop.vif)?, VXLAN_OVER_V6)?;
                self.over_v6::<VxlanOverUdp>(cx, packet, hop, mtu)
            }
        }
    }

    /// Chooses the tunnel's uplink; its MTU.
    #[inline]
    fn way_out(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
    ) -> Result<u16, Next> {
        if !hop.ready {
            return Err(Next::Drop(DropReason::InvalidNh));
        }
        if packet.meta.outer != Outer::None && packet.meta.outer.is(hop.destination()) {
            return Err(Next::Drop(DropReason::PktLoop));
        }
        let mtu = self.uplink(cx, hop.vif)?.mtu;
        packet.meta.tx_vif = hop.vif;
        Ok(mtu)
    }

    /// `N` bytes go in front: known here, so that their copy is a few moves and no offset in them is checked.
    #[inline(always)]
    fn over_v4<E: Payload, const N: usize>(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
        mtu: u16,
    ) -> Result<(), Next> {
        // What names the flow is read before the headers move.
        let port = E::port(cx, packet);
        let id = self.outer_id(packet);
        let shim = E::shim(packet)?;
        let less = E::in_front(packet)?;
        let length = outer_length(packet, N - OuterHeader::IP, less, mtu)?;
        let front = packet.frame.replace::<N>(less).map_err(|_| DropReason::Push)?;
        *front = *hop.header.front();
        let (_, ip) =
            front.split_first_chunk_mut::<{ OuterHeader::IP }>().ok_or(DropReason::Push)?;
        let (ip, rest) = Ipv4::parse_mut(ip).ok_or(DropReason::Push)?;
        ip.complete(length, id, hop.header.partial_checksum());
        E::finish(rest, port, length.wrapping_sub(IPV4_HEADER), &shim)
            .ok_or(Next::Drop(DropReason::Push))
    }

    #[inline(never)]
    fn over_v6<E: Payload>(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
        mtu: u16,
    ) -> Result<(), Next> {
        let hash = flow_hash(packet, cx.seed);
        let shim = E::shim(packet)?;
        let less = E::in_front(packet)?;
        let template = hop.header.bytes();
        let length = outer_length(packet, template.len() - OuterHeader::IP, less, mtu)?;
        packet.frame.pull(usize::from(less)).map_err(|_| DropReason::Pull)?;
        let front = packet.frame.push(template.len()).map_err(|_| DropReason::Push)?;
        front.copy_from_slice(template);
        let ip = front.get_mut(OuterHeader::IP..).ok_or(DropReason::Push)?;
        let (ip, rest) = Ipv6::parse_mut(ip).ok_or(DropReason::Push)?;
        let length = length.wrapping_sub(IPV6_HEADER);
        ip.set_payload_length(length);
        // Routers tell flows by it, those of GRE too, which has no ports (RFC 6438); never 0, which means none.
        ip.set_flow_label((hash >> 12).max(1));
        E::finish(rest, entropy_port(hash), length, &shim).ok_or(Next::Drop(DropReason::Push))
    }

    #[inline]
    fn uplink(&mut self, cx: &Cx<'_>, vif: VifId) -> Result<&Uplink, DropReason> {
        if self.uplink.is_none_or(|uplink| uplink.vif != vif) {
            let found = cx.fib.vif(vif).ok_or(DropReason::InvalidIf)?;
            self.uplink = Some(Uplink { vif, mtu: found.mtu, mac: found.mac });
        }
        self.uplink.as_ref().ok_or(DropReason::InvalidIf)
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

/// A routed packet without a label is looked up again for it: its route may have one by now (section 6.3). All else
/// stays as it was decided.
#[cold]
fn otherwise(fib: &Fib, packet: &mut Packet<'_>, decided: Next) -> Next {
    if decided != Next::Drop(DropReason::InvalidLabel) {
        return decided;
    }
    let meta = &mut *packet.meta;
    let hit = match (meta.layer, meta.label(), meta.addresses) {
        (Layer::L3, OutLabel::NONE, Addresses::V4 { destination, .. }) => {
            fib.route(meta.vrf, destination)
        }
        (Layer::L3, OutLabel::NONE, Addresses::V6 { destination, .. }) => {
            fib.route(meta.vrf, destination)
        }
        _ => return Next::Drop(DropReason::InvalidLabel),
    };
    if hit.label.is_none() {
        return Next::Drop(DropReason::InvalidLabel);
    }
    meta.nh = hit.nh;
    meta.set_label(hit.label);
    Next::NextHop
}

/// Marks the headers that were just put in front, where class or ECN say something, or the packet is a diagnostic one:
/// mostly they do not.
#[inline]
fn mark(cx: &Cx<'_>, packet: &mut Packet<'_>, hop: &TunnelHop) {
    const MARKED: Marks = Marks::CLASSED.with(Marks::DIAG);
    if u16::from(packet.meta.tos & cx.marking.outward) | packet.meta.marks.only(MARKED) != 0 {
        let label = (!hop.encap.is_vxlan()).then(|| hop.header.shim());
        marking::mark_outer(cx.fib, packet, cx.marking, label);
    }
}

/// Outer IP, UDP and VXLAN header.
const VXLAN_OVER_V4: usize = Ipv4::LEN + Udp::LEN + Vxlan::LEN;
const VXLAN_OVER_V6: usize = Ipv6::LEN + Udp::LEN + Vxlan::LEN;

const IPV4_HEADER: u16 = 20;
const IPV6_HEADER: u16 = 40;

/// What a tunnel carries and how: all that differs between encapsulations.
trait Payload {
    /// The last header before the payload.
    type Shim;

    /// Source port of the outer UDP header; 0 where there is none.
    fn port(cx: &Cx<'_>, packet: &Packet<'_>) -> u16;

    /// Made of the packet's label.
    fn shim(packet: &Packet<'_>) -> Result<Self::Shim, DropReason>;

    /// How many bytes of the frame are in front of what is carried: a packet or a frame.
    fn in_front(packet: &Packet<'_>) -> Result<u16, DropReason>;

    /// Completes the headers behind the outer IP header; `length` counts from there to the end of the packet.
    fn finish(rest: &mut [u8], port: u16, length: u16, shim: &Self::Shim) -> Option<()>;
}

struct MplsOverUdp;
struct MplsOverGre;
struct VxlanOverUdp;

impl Payload for MplsOverUdp {
    type Shim = Mpls;

    #[inline]
    fn port(cx: &Cx<'_>, packet: &Packet<'_>) -> u16 {
        entropy_port(flow_hash(packet, cx.seed))
    }

    #[inline]
    fn shim(packet: &Packet<'_>) -> Result<Mpls, DropReason> {
        let label = packet.meta.label().number();
        let label = Label::try_from(label).map_err(|_| DropReason::InvalidLabel)?;
        Ok(Mpls::bottom(label, if packet.meta.ttl == 0 { 64 } else { packet.meta.ttl }))
    }

    #[inline]
    fn in_front(packet: &Packet<'_>) -> Result<u16, DropReason> {
        Ok(match packet.meta.layer {
            Layer::L2 => 0,
            Layer::L3 => packet.meta.network,
        })
    }

    #[inline]
    fn finish(rest: &mut [u8], port: u16, length: u16, shim: &Mpls) -> Option<()> {
        let (udp, rest) = Udp::parse_mut(rest)?;
        udp.set_source_and_length(port, length);
        shim.emit(rest)
    }
}

impl Payload for MplsOverGre {
    type Shim = Mpls;

    #[inline]
    fn port(_cx: &Cx<'_>, _packet: &Packet<'_>) -> u16 {
        0
    }

    #[inline]
    fn shim(packet: &Packet<'_>) -> Result<Mpls, DropReason> {
        MplsOverUdp::shim(packet)
    }

    #[inline]
    fn in_front(packet: &Packet<'_>) -> Result<u16, DropReason> {
        MplsOverUdp::in_front(packet)
    }

    #[inline]
    fn finish(rest: &mut [u8], _port: u16, _length: u16, shim: &Mpls) -> Option<()> {
        let (_, rest) = Gre::parse_mut(rest)?;
        shim.emit(rest)
    }
}

impl Payload for VxlanOverUdp {
    type Shim = Vxlan;

    #[inline]
    fn port(cx: &Cx<'_>, packet: &Packet<'_>) -> u16 {
        MplsOverUdp::port(cx, packet)
    }

    #[inline]
    fn shim(packet: &Packet<'_>) -> Result<Vxlan, DropReason> {
        let vni = packet.meta.label().number();
        let vni = Vni::try_from(vni).map_err(|_| DropReason::InvalidLabel)?;
        Ok(Vxlan::new(vni))
    }

    /// A frame, whole. A routed packet needs a router's MAC to travel in VXLAN.
    #[inline]
    fn in_front(packet: &Packet<'_>) -> Result<u16, DropReason> {
        match packet.meta.layer {
            Layer::L2 => Ok(0),
            Layer::L3 => Err(DropReason::InvalidNh),
        }
    }

    #[inline]
    fn finish(rest: &mut [u8], port: u16, length: u16, shim: &Vxlan) -> Option<()> {
        let (udp, rest) = Udp::parse_mut(rest)?;
        udp.set_source_and_length(port, length);
        shim.emit(rest)
    }
}

/// Length of the outer packet: `headers` and what is carried.
#[inline]
fn outer_length(packet: &mut Packet<'_>, headers: usize, less: u16, mtu: u16) -> Result<u16, Next> {
    match u16::try_from(headers + packet.frame.len() - usize::from(less)) {
        Ok(length) if length <= mtu => Ok(length),
        _ => longer(packet, headers, less, mtu),
    }
}

/// A train is judged by its segments: they get their lengths when it is cut, on its way out of the uplink.
#[cold]
fn longer(packet: &mut Packet<'_>, headers: usize, less: u16, mtu: u16) -> Result<u16, Next> {
    let room = usize::from(mtu).saturating_sub(headers);
    if packet.frame.is_large() && segment::fit(packet.frame, usize::from(less), room) {
        return Ok(mtu);
    }
    Err(too_big(packet, headers, less, mtu))
}

/// Makes a routed packet a frame to travel in VXLAN: from the uplink's MAC to the far router's (section 7.3).
#[inline]
fn inner_ethernet(
    packet: &mut Packet<'_>,
    hop: &TunnelHop,
    uplink: &Uplink,
    headers: usize,
) -> Result<(), Next> {
    let TunnelEncap::VxlanL3(mac) = hop.encap else {
        return Err(Next::Drop(DropReason::InvalidNh));
    };
    if packet.meta.layer == Layer::L2 {
        return Err(Next::Drop(DropReason::InvalidNh));
    }
    if uplink.mac.is_zero() {
        return Err(Next::Drop(DropReason::InterfaceDrop));
    }
    // Before its own Ethernet header goes, with which it may have to be answered.
    let (headers, less) = (headers + Ethernet::LEN, packet.meta.network);
    if headers + packet.frame.len() - usize::from(less) > usize::from(uplink.mtu) {
        longer(packet, headers, less, uplink.mtu)?;
    }
    let Some(ethertype) = packet.meta.protocol.ip_ethertype() else {
        return Err(Next::Drop(DropReason::InvalidProtocol));
    };
    let room = packet.frame.replace::<{ Ethernet::LEN }>(packet.meta.network);
    let room = room.map_err(|_| DropReason::Push)?;
    packet.meta.network = INNER_NETWORK;
    packet.meta.layer = Layer::L2;
    Ethernet::new(mac, uplink.mac, ethertype).emit(room).ok_or(Next::Drop(DropReason::Push))
}

/// Where the network header is behind a new inner Ethernet header.
const INNER_NETWORK: u16 = 14;

/// Larger than the uplink carries: what would fit is the uplink's MTU without `headers` and without what is carried in
/// front of the IP header (section 15.2).
#[cold]
fn too_big(packet: &mut Packet<'_>, headers: usize, less: u16, mtu: u16) -> Next {
    let carried = headers + usize::from(packet.meta.network.saturating_sub(less));
    if packet.meta.marks.contains(Marks::COPY) && packet.meta.protocol != Protocol::Ipv4 {
        // Nobody is to be told of a mirror's.
        return Next::Drop(DropReason::InterfaceDrop);
    }
    fragment::too_big(packet, usize::from(mtu).saturating_sub(carried))
}
