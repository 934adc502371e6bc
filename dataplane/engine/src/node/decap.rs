//! Decap: MPLSoGRE, MPLSoUDP, VXLAN. The label or VNI names a next hop, and that next hop alone says what the payload
//! is (reference dataplane.md section 7.7): it is never guessed from the payload's first bits.

use tables::{DropReason, FibNextHop, HopEntry, NhFamily, NhFlags, NhId};
use wire::{Ethernet, Gre, Ipv4, Ipv6, Label, Mpls, Udp, Vxlan, ethertype, protocol};

use super::flood::{CONTROL_WORD, EDGE_BLOCK};
use crate::feature::marking;
use crate::flow_hash::inner_hash;
use crate::graph::{Cx, Next, Node, NodeId};
use crate::hand_off::WorkerId;
use crate::inspect;
use crate::mss;
use crate::packet::{Cast, Fragment, Layer, Outer, Packet, Spread, Trap};
use crate::vrf_counts::VrfCount;

/// Has no state.
#[derive(Default)]
pub(crate) struct Decap;

impl Node for Decap {
    const ID: NodeId = NodeId::Decap;
    const EDGES: &'static [NodeId] =
        &[NodeId::NextHop, NodeId::Assemble, NodeId::HandOff, NodeId::Punt, NodeId::Drop];

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let at = usize::from(packet.meta.transport);
        let Some(transport) = packet.frame.data().get(at..) else {
            return Next::Drop(DropReason::Pull);
        };
        let result = match packet.meta.ip_protocol {
            protocol::UDP => udp(cx, packet, Tunnel::of_udp(transport)),
            _ => match gre_payload(transport) {
                Some(length) => gre(cx, packet, at + length),
                None => return to_host(cx, packet),
            },
        };
        result.unwrap_or_else(Next::Drop)
    }
}

enum Tunnel {
    Mpls,
    Vxlan,
    None,
    Broken,
}

impl Tunnel {
    #[inline]
    fn of_udp(transport: &[u8]) -> Tunnel {
        let Some((udp, _)) = Udp::parse(transport) else { return Tunnel::Broken };
        let length = usize::from(udp.length());
        match udp.destination() {
            _ if length < Udp::LEN || length > transport.len() => Tunnel::Broken,
            wire::port::MPLS_OVER_UDP | wire::port::MPLS_OVER_UDP_OLD => Tunnel::Mpls,
            wire::port::VXLAN => Tunnel::Vxlan,
            _ => Tunnel::None,
        }
    }
}

#[inline]
fn udp(cx: &mut Cx<'_>, packet: &mut Packet<'_>, tunnel: Tunnel) -> Result<Next, DropReason> {
    let at = usize::from(packet.meta.transport) + Udp::LEN;
    match tunnel {
        Tunnel::Mpls => mpls(cx, packet, at),
        Tunnel::Vxlan => vxlan(cx, packet, at),
        Tunnel::None => Ok(to_host(cx, packet)),
        Tunnel::Broken => Err(DropReason::InvalidPacket),
    }
}

/// Not a tunnel of ours: the next hop of the outer destination takes the untouched packet to the host, and counts what
/// `parse` has counted.
#[cold]
fn to_host(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
    cx.counters.met_again(packet.meta.vrf, VrfCount::Receives);
    packet.meta.layer = Layer::L3;
    packet.meta.outer = Outer::None;
    Next::NextHop
}

/// Length of a GRE header that carries MPLS, with the options tolerated; `None` when it is not for us (case H08).
#[inline]
fn gre_payload(transport: &[u8]) -> Option<usize> {
    let (gre, _) = Gre::parse(transport)?;
    if gre.protocol() == ethertype::MPLS { gre.length() } else { None }
}

/// The network card cannot spread GRE, which has no ports: the inner flow chooses the worker (design decision 3).
#[inline]
fn gre(cx: &mut Cx<'_>, packet: &mut Packet<'_>, at: usize) -> Result<Next, DropReason> {
    if cx.workers.count() > 1 && packet.meta.spread == Spread::Allowed {
        let worker = worker_of(cx, packet, at);
        if worker != cx.workers.own() {
            return Ok(Next::HandOff(worker));
        }
    }
    mpls(cx, packet, at)
}

/// The worker of the inner flow; this one for what is no IP packet under its label.
fn worker_of(cx: &Cx<'_>, packet: &Packet<'_>, at: usize) -> WorkerId {
    let hash = bottom(packet, at).ok().and_then(|(entry, payload)| {
        let nh = cx.fib.label(entry.label())?;
        match cx.fib.next_hop_entry(nh).family {
            NhFamily::Bridge => None,
            NhFamily::Unspec | NhFamily::Inet | NhFamily::Inet6 => {
                inner_hash(packet.frame.data().get(payload..)?, cx.seed)
            }
        }
    });
    hash.map_or(cx.workers.own(), |hash| cx.workers.for_hash(hash))
}

/// The entry that counts: a leading 0xfffff with more below it is skipped (section 10.5). Nothing else may be stacked:
/// a label that is not at the bottom is an `InvalidLabel`.
#[inline]
fn bottom(packet: &Packet<'_>, mut at: usize) -> Result<(Mpls, usize), DropReason> {
    let read = |at: usize| {
        let bytes = packet.frame.data().get(at..)?;
        Mpls::parse(bytes).map(|(entry, _)| *entry)
    };
    let mut entry = read(at).ok_or(DropReason::Pull)?;
    if entry.label() == Label::MAX && !entry.is_bottom() {
        at += Mpls::LEN;
        entry = read(at).ok_or(DropReason::Pull)?;
    }
    Ok((entry, at + Mpls::LEN))
}

#[inline]
fn mpls(cx: &mut Cx<'_>, packet: &mut Packet<'_>, at: usize) -> Result<Next, DropReason> {
    let (entry, payload) = bottom(packet, at)?;
    let ttl = entry.ttl().saturating_sub(1);
    if ttl == 0 {
        return Err(DropReason::TtlExceeded);
    }
    let nh = cx.fib.label(entry.label()).ok_or(DropReason::InvalidLabel)?;
    if !entry.is_bottom() {
        return Err(DropReason::InvalidLabel);
    }
    packet.meta.ttl = ttl;
    packet.meta.set_label(None);
    let payload = u16::try_from(payload).map_err(|_| DropReason::Pull)?;
    enter(cx, packet, nh, payload, Under::Label(entry.label()))
}

#[inline]
fn vxlan(cx: &mut Cx<'_>, packet: &mut Packet<'_>, at: usize) -> Result<Next, DropReason> {
    let header = packet.frame.data().get(at..).and_then(Vxlan::parse);
    let (header, _) = header.ok_or(DropReason::Pull)?;
    let vni = header.vni().ok_or(DropReason::InvalidVnid)?;
    if header.router_alert() {
        return Ok(packet.punt(Trap::RouterAlert));
    }
    let nh = cx.fib.vni(vni).ok_or(DropReason::InvalidVnid)?;
    packet.meta.set_label(Some(vni));
    let payload = u16::try_from(at + Vxlan::LEN).map_err(|_| DropReason::Pull)?;
    enter(cx, packet, nh, payload, Under::Vni)
}

/// Takes the outer headers off and looks at what the next hop says is inside.
#[inline]
fn enter(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    nh: NhId,
    payload: u16,
    under: Under,
) -> Result<Next, DropReason> {
    let entry = cx.fib.next_hop_entry(nh);
    let outer_tos = packet.meta.tos;
    packet.meta.nh = nh;
    packet.meta.vrf = vrf_of(cx, packet, entry);
    packet.pull(payload)?;
    packet.meta.network = 0;
    let label = match under {
        Under::Vni => None,
        Under::Label(label) if payload_family(cx, entry) == NhFamily::Bridge => Some(label),
        Under::Label(_) => {
            packet.meta.layer = Layer::L3;
            packet.meta.cast = Cast::Unicast;
            inspect::ip(packet)?;
            take_marks(cx, packet, outer_tos)?;
            return Ok(inside(cx, packet));
        }
    };
    if let Some(label) = label {
        in_front_of_frame(packet, entry, label)?;
    }
    packet.meta.layer = Layer::L2;
    inspect::ethernet(packet, DropReason::InvalidPacket)?;
    take_marks(cx, packet, outer_tos)?;
    Ok(inside(cx, packet))
}

/// What was inside goes to its next hop, but for fragments, which go in order.
#[inline]
fn inside(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
    if mss::may_be_syn(packet) {
        mss::out_of_tunnel(cx, packet);
    }
    match packet.meta.fragment {
        Fragment::Whole => Next::NextHop,
        Fragment::Head | Fragment::Later => fragment(cx, packet),
    }
}

/// All fragments of a datagram meet on one worker, that of its addresses; the frame is handed to it as it came in.
#[inline(never)]
fn fragment(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
    if cx.workers.count() > 1 && packet.meta.spread == Spread::Allowed {
        let hash = inner_hash(packet.network(), cx.seed);
        let worker = hash.map_or(cx.workers.own(), |hash| cx.workers.for_hash(hash));
        if worker != cx.workers.own() {
            return match restore(packet) {
                Some(()) => Next::HandOff(worker),
                None => Next::Drop(DropReason::Fragments),
            };
        }
    }
    Next::Assemble
}

/// Puts the outer headers back, which are still in front, and what was cut off as padding behind.
pub(crate) fn restore(packet: &mut Packet<'_>) -> Option<()> {
    packet.frame.rewind();
    let outer = packet.frame.data().get(Ethernet::LEN..)?;
    let length = match outer.first()? >> 4 {
        6 => Ipv6::LEN + usize::from(Ipv6::parse(outer)?.0.payload_length()),
        _ => usize::from(Ipv4::parse(outer)?.0.total_length()),
    };
    packet.frame.set_len(Ethernet::LEN + length).ok()
}

/// What the outer header said about the packet: mostly nothing.
#[inline]
fn take_marks(cx: &Cx<'_>, packet: &mut Packet<'_>, outer: u8) -> Result<(), DropReason> {
    if cx.marking.is_news(outer) {
        return marking::merge(packet, outer, cx.marking);
    }
    Ok(())
}

/// What named the next hop.
#[derive(Clone, Copy)]
enum Under {
    Label(u32),
    /// Always a frame.
    Vni,
}

/// Labels from here on are those of edge-replicated trees, where they name one (section 3).
const FIRST_TREE_LABEL: u32 = 1024;

/// Takes off what lies between a bridge label and the frame (section 7.7): nothing, a control word, or in an
/// edge-replicated tree a control word and the block whose VNI is the tree's.
#[inline]
fn in_front_of_frame(
    packet: &mut Packet<'_>,
    entry: &HopEntry,
    label: u32,
) -> Result<(), DropReason> {
    match &entry.hop {
        FibNextHop::Flood(_) if label >= FIRST_TREE_LABEL => {
            control_word(packet)?;
            let block = packet.frame.data().get(..EDGE_BLOCK).ok_or(DropReason::InvalidPacket)?;
            let vxlan = block.get(Ipv4::LEN + Udp::LEN..).and_then(Vxlan::parse);
            packet.meta.set_label(vxlan.and_then(|(vxlan, _)| vxlan.vni()));
            packet.frame.pull(EDGE_BLOCK).map_err(|_| DropReason::InvalidPacket)
        }
        _ if entry.flags.contains(NhFlags::L2_CONTROL_DATA) => control_word(packet),
        _ => Ok(()),
    }
}

/// # Errors
/// `InvalidPacket` when it is not there or not zero.
#[cold]
fn control_word(packet: &mut Packet<'_>) -> Result<(), DropReason> {
    match packet.frame.data().first_chunk::<CONTROL_WORD>() {
        Some([0, 0, 0, 0]) => {
            packet.frame.pull(CONTROL_WORD).map_err(|_| DropReason::InvalidPacket)
        }
        _ => Err(DropReason::InvalidPacket),
    }
}

/// What lies under a label: the next hop's family; a group without one is what its first member is.
#[inline]
fn payload_family(cx: &Cx<'_>, entry: &HopEntry) -> NhFamily {
    match (&entry.family, &entry.hop) {
        (NhFamily::Unspec, FibNextHop::Ecmp(group)) => {
            let member = group.active.first().and_then(|position| group.member(*position));
            member.map_or(NhFamily::Inet, |member| cx.fib.next_hop_entry(member.next_hop).family)
        }
        (family, _) => *family,
    }
}

/// The next hop's VRF, else that of its interface, else where the packet came in (section 10.5).
#[inline]
fn vrf_of(cx: &Cx<'_>, packet: &Packet<'_>, entry: &HopEntry) -> tables::VrfId {
    if let Some(vrf) = entry.vrf {
        return vrf;
    }
    match &entry.hop {
        FibNextHop::Encap { vif, .. } => cx.fib.vif(*vif).map_or(packet.meta.vrf, |vif| vif.vrf),
        _ => packet.meta.vrf,
    }
}
