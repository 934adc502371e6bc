//! Act: one `match` on the compiled next hop (reference dataplane.md section 6).

use tables::flow::{FlowFlags, FlowId};
use tables::{
    DropReason, EcmpGroup, FibNextHop, LabelOf, Member, NhFamily, NhFlags, NhId, VifId, VifKind,
    VrfId,
};
use wire::{Ethernet, Ipv4, Ipv6, Mac, ethertype};

use super::bridge::goes_back_into_fabric;
use super::control;
use super::flood::put_control_word;
use super::fragment;
use super::tunnel_error::is_about_tunnel;
use crate::feature::marking;
use crate::flow::source;
use crate::flow_hash::{Fields, flow_hash_of};
use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Addresses, Cast, Hop, Layer, Marks, Meta, Outer, Packet, Protocol, Trap};
use crate::segment;
use crate::vrf_counts::VrfCount;

/// How often a packet may be looked up again before it is called a loop.
pub(super) const MAX_PASSES: u8 = 4;

/// Remembers the last next hop and the last interface, so that they are not looked up for each packet, and counts a run
/// of packets that meet the same next hop in the same VRF together.
#[derive(Default)]
pub(crate) struct NextHop {
    /// The next hop and the VRF in one word; no next hop has the default's.
    run: RunKey,
    packets: u64,
    /// It is a tunnel, for whose packets no flow is looked up.
    tunnel: bool,
    /// What it delivers has its flow looked up first.
    policy: bool,
    last: Option<Delivery>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct RunKey(u64);

impl RunKey {
    #[inline]
    fn new(nh: NhId, vrf: VrfId) -> RunKey {
        RunKey(u64::from(nh.0) << 16 | u64::from(vrf.0))
    }
}

impl Default for RunKey {
    fn default() -> RunKey {
        RunKey(u64::MAX)
    }
}

/// What delivering to an interface needs to know of it.
#[derive(Clone, Copy)]
struct Delivery {
    vif: VifId,
    /// L3 MTU in bytes; 0 of an uplink, so that what is to be done for one is done where a packet is too long.
    mtu: usize,
}

impl Node for NextHop {
    const ID: NodeId = NodeId::NextHop;
    const EDGES: &'static [NodeId] = &[
        NodeId::Flow,
        NodeId::NextHop,
        NodeId::Flood,
        NodeId::Encap,
        NodeId::Route,
        NodeId::Bridge,
        NodeId::Control,
        NodeId::VifTx,
        NodeId::Fragment,
        NodeId::Icmp,
        NodeId::Punt,
        NodeId::Drop,
    ];

    fn begin(&mut self) {
        (self.run, self.tunnel, self.policy) = (RunKey::default(), false, false);
        self.last = None;
    }

    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.count(cx);
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let id = packet.meta.nh;
        let key = RunKey::new(id, packet.meta.vrf);
        if key != self.run {
            self.turn_to(cx, key, id);
        }
        if self.tunnel {
            self.packets += 1;
            return into_tunnel(packet);
        }
        if self.policy && asks_flow(packet.meta) {
            return Next::Flow;
        }
        self.packets += 1;
        match cx.fib.next_hop(id) {
            FibNextHop::Encap { vif, rewrite, family, leaf } => {
                let to = self.delivery(cx, *vif);
                let result = match family {
                    NhFamily::Bridge if *leaf => deliver_to_leaf(cx, packet, to),
                    NhFamily::Bridge => deliver_frame(cx, packet, to),
                    NhFamily::Unspec | NhFamily::Inet | NhFamily::Inet6 => {
                        deliver_packet(cx, packet, to, rewrite)
                    }
                };
                result.unwrap_or_else(|other| other)
            }
            other => other_than_delivery(cx, packet, other),
        }
    }
}

impl NextHop {
    #[inline(never)]
    fn turn_to(&mut self, cx: &Cx<'_>, key: RunKey, nh: NhId) {
        self.count(cx);
        self.run = key;
        let entry = cx.fib.next_hop_entry(nh);
        let asks = entry.flags.0 & (NhFlags::POLICY.0 | NhFlags::FLOW_LOOKUP.0) != 0;
        self.policy = asks && cx.flows.is_some();
        self.tunnel = !self.policy && matches!(entry.hop, FibNextHop::Tunnel(_));
    }

    #[inline(never)]
    fn count(&mut self, cx: &Cx<'_>) {
        let (RunKey(key), packets) = (self.run, std::mem::take(&mut self.packets));
        let [v, w, a, b, c, d, _, _] = key.to_le_bytes();
        let (nh, vrf) = (NhId(u32::from_le_bytes([a, b, c, d])), VrfId(u16::from_le_bytes([v, w])));
        if packets != 0
            && let Some(what) = VrfCount::of(cx.fib.next_hop(nh))
        {
            cx.counters.met(vrf, what, packets);
        }
    }

    #[inline]
    fn delivery(&mut self, cx: &Cx<'_>, vif: VifId) -> Delivery {
        match self.last {
            Some(last) if last.vif == vif => last,
            _ => *self.last.insert(delivery(cx, vif)),
        }
    }
}

/// Whether a packet that a next hop with policy delivers has to have its flow looked up: once (point 5).
#[inline]
fn asks_flow(meta: &Meta) -> bool {
    !meta.marks.contains(Marks::FLOWED)
        && matches!(meta.protocol, Protocol::Ipv4 | Protocol::Ipv6)
        && meta.cast == Cast::Unicast
}

/// Only workloads' interfaces have an MTU to keep here: what leaves by others without a tunnel is their device's to judge
/// (reference dataplane.md section 15.3).
#[inline(never)]
fn delivery(cx: &Cx<'_>, vif: VifId) -> Delivery {
    let mtu = match cx.fib.vif(vif) {
        Some(found) if matches!(found.kind, VifKind::Virtual | VifKind::VirtualVlan) => {
            usize::from(found.mtu)
        }
        Some(found) if found.kind == VifKind::Physical => 0,
        _ => usize::MAX,
    };
    Delivery { vif, mtu }
}

/// Whether the packet is no larger than the interface carries; a train is judged by its segments.
#[inline]
fn fits(cx: &Cx<'_>, packet: &mut Packet<'_>, to: Delivery) -> Result<(), Next> {
    match packet.frame.len() - usize::from(packet.meta.network) > to.mtu {
        false => Ok(()),
        true => longer(cx, packet, to.mtu),
    }
}

#[cold]
fn longer(cx: &Cx<'_>, packet: &mut Packet<'_>, mtu: usize) -> Result<(), Next> {
    if mtu == 0 {
        // A class marks what leaves by an uplink as it is; workloads get what was sent (section 9).
        marking::mark_native(cx.fib, packet);
        return Ok(());
    }
    let network = usize::from(packet.meta.network);
    if packet.frame.is_large() && segment::fit(packet.frame, network, mtu) {
        return Ok(());
    }
    Err(fragment::too_big(packet, mtu))
}

/// To its next hop, which has counted it already and will again.
#[cold]
pub(super) fn once_more(cx: &Cx<'_>, packet: &Packet<'_>) -> Next {
    if let Some(what) = VrfCount::of(cx.fib.next_hop(packet.meta.nh)) {
        cx.counters.met_again(packet.meta.vrf, what);
    }
    Next::NextHop
}

#[inline]
fn into_tunnel(packet: &mut Packet<'_>) -> Next {
    spend_hop(packet).map_or_else(|other| other, |()| Next::Encap)
}

/// Next hops that most packets do not meet, or only on their way to another.
#[inline(never)]
fn other_than_delivery(cx: &Cx<'_>, packet: &mut Packet<'_>, hop: &FibNextHop) -> Next {
    match hop {
        FibNextHop::L2Receive => receive_frame(cx, packet),
        FibNextHop::Ecmp(group) => choose(cx, packet, group),
        FibNextHop::Translate { vrf, family } => {
            if !another_pass(packet) {
                return Next::Drop(DropReason::PktLoop);
            }
            packet.meta.vrf = *vrf;
            match family {
                NhFamily::Bridge => Next::Bridge,
                NhFamily::Unspec | NhFamily::Inet | NhFamily::Inet6 => Next::Route,
            }
        }
        FibNextHop::Receive { vif } => receive_packet(cx, packet, *vif),
        FibNextHop::Discard => Next::Drop(DropReason::Discard),
        // Encap is not brought here.
        FibNextHop::Invalid | FibNextHop::Encap { .. } => Next::Drop(DropReason::InvalidNh),
        FibNextHop::Agent => {
            let trap = control::agent_trap(packet);
            packet.punt(trap)
        }
        FibNextHop::Resolve => packet.punt(Trap::Resolve),
        FibNextHop::Flood(_) => Next::Flood,
        FibNextHop::Tunnel(_) | FibNextHop::SpecialTunnel(_) | FibNextHop::UdpTunnel(_) => {
            into_tunnel(packet)
        }
        FibNextHop::EncapGroup { vif } => {
            deliver_to_group(cx, packet, *vif).unwrap_or_else(|other| other)
        }
    }
}

/// Takes the hop off that routing owes. At 0 its sender is told ("time exceeded", section 6.1). The original leaves the
/// IPv6 hop limit alone; RFC 8200 does not.
#[inline]
fn spend_hop(packet: &mut Packet<'_>) -> Result<(), Next> {
    if packet.meta.hop == Hop::Done {
        return Ok(());
    }
    packet.meta.hop = Hop::Done;
    let at = usize::from(packet.meta.network);
    let Some(bytes) = packet.frame.data_mut().get_mut(at..) else {
        return Err(Next::Drop(DropReason::Pull));
    };
    let ttl = match packet.meta.protocol {
        Protocol::Ipv4 => Ipv4::parse_mut(bytes).map(|(ip, _)| ip.decrement_ttl()),
        Protocol::Ipv6 => Ipv6::parse_mut(bytes).map(|(ip, _)| ip.decrement_hop_limit()),
        Protocol::Arp | Protocol::Other => None,
    };
    match ttl {
        Some(0) => Err(expired(packet)),
        Some(ttl) => {
            packet.meta.ttl = ttl;
            Ok(())
        }
        None => Err(Next::Drop(DropReason::InvalidProtocol)),
    }
}

#[cold]
fn expired(packet: &mut Packet<'_>) -> Next {
    packet.meta.trap = Trap::ZeroTtl;
    Next::Icmp
}

fn another_pass(packet: &mut Packet<'_>) -> bool {
    packet.meta.passes += 1;
    packet.meta.passes <= MAX_PASSES
}

/// Encap, family Bridge, to a leaf of an E-tree: not from another leaf.
#[cold]
fn deliver_to_leaf(cx: &Cx<'_>, packet: &mut Packet<'_>, to: Delivery) -> Result<Next, Next> {
    let from = cx.fib.vif(packet.meta.rx_vif).filter(|_| packet.meta.is_from_workload());
    match from.is_some_and(|from| from.flags.is_leaf()) {
        true => Err(Next::Drop(DropReason::LeafToLeaf)),
        false => deliver_frame(cx, packet, to),
    }
}

/// Encap, family Bridge: the frame as it is.
#[inline]
fn deliver_frame(cx: &Cx<'_>, packet: &mut Packet<'_>, to: Delivery) -> Result<Next, Next> {
    if packet.meta.layer == Layer::L3 {
        // Only a frame can be bridged; what a label or a route brought here has no Ethernet header of its own.
        return Err(Next::Drop(DropReason::InvalidProtocol));
    }
    // A question that a tunnel brought for one station: if it is answered here, the workload need not be asked, nor does
    // it learn the asker's MAC by it (section 11.4).
    if packet.meta.marks.contains(Marks::CONTROL) && packet.meta.cast == Cast::Unicast {
        packet.meta.marks = packet.meta.marks.with(Marks::DELIVERED);
        return Ok(Next::Control);
    }
    fits(cx, packet, to)?;
    packet.meta.tx_vif = to.vif;
    Ok(Next::VifTx)
}

/// Encap, family Inet: the rewrite in front, its EtherType by IP version.
#[inline]
fn deliver_packet(
    cx: &Cx<'_>,
    packet: &mut Packet<'_>,
    to: Delivery,
    rewrite: &[u8; 14],
) -> Result<Next, Next> {
    let Some(ethertype) = packet.meta.protocol.ip_ethertype() else {
        return Err(Next::Drop(DropReason::InvalidProtocol));
    };
    spend_hop(packet)?;
    if packet.meta.marks.contains(Marks::DIAG) {
        return Err(packet.punt(Trap::Diag { vif: to.vif }));
    }
    fits(cx, packet, to)?;
    // The header in place of what is in front of the packet; no node reads offsets after this.
    let header = packet.frame.replace(packet.meta.network).map_err(|_| DropReason::Push)?;
    *header = *rewrite;
    let [.., high, low] = header;
    [*high, *low] = ethertype.to_be_bytes();
    packet.meta.tx_vif = to.vif;
    Ok(Next::VifTx)
}

/// Encap, family Inet, to the members of an IPv4 group: their MAC follows from the group (RFC 1112 section 6.4).
fn deliver_to_group(cx: &Cx<'_>, packet: &mut Packet<'_>, vif: VifId) -> Result<Next, Next> {
    let Addresses::V4 { destination, .. } = packet.meta.addresses else {
        return Err(Next::Drop(DropReason::InvalidProtocol));
    };
    let Some(out) = cx.fib.vif(vif) else { return Err(Next::Drop(DropReason::InvalidIf)) };
    spend_hop(packet)?;
    let [_, b, c, d] = destination.octets();
    let group = Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d]);
    packet.pull(packet.meta.network)?;
    let header = Ethernet::new(group, out.mac, ethertype::IPV4);
    header.emit(packet.push(Ethernet::LEN)?).ok_or(DropReason::Push)?;
    packet.meta.tx_vif = vif;
    Ok(Next::VifTx)
}

/// A frame for the router: routed by what is inside.
#[inline]
fn receive_frame(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
    if packet.meta.marks.contains(Marks::CONTROL) {
        return Next::Control;
    }
    if packet.meta.marks.contains(Marks::SEEN)
        && let Some(next) = control::to_router(cx, packet)
    {
        return next;
    }
    match packet.meta.protocol {
        // A route may lead here, too.
        Protocol::Ipv4 | Protocol::Ipv6 => match another_pass(packet) {
            true => Next::Route,
            false => Next::Drop(DropReason::PktLoop),
        },
        Protocol::Arp => Next::Drop(DropReason::NowhereToGo),
        Protocol::Other => Next::Drop(DropReason::InvalidProtocol),
    }
}

/// To the host, if it has an interface here: the frame as it came from the fabric; from a workload, the host itself or
/// out of a tunnel readdressed to the host's MAC and without tags (reference dataplane.md section 2.4).
fn receive_packet(cx: &Cx<'_>, packet: &mut Packet<'_>, id: VifId) -> Next {
    if is_about_tunnel(packet) {
        return packet.punt(Trap::IcmpError);
    }
    let host = cx
        .fib
        .vif(id)
        .filter(|vif| matches!(vif.kind, VifKind::Host | VifKind::XenLl | VifKind::Gateway));
    let Some(host) = host else { return Next::Drop(DropReason::TrapNoIf) };
    if !cx.ports.reaches(id) {
        return Next::Drop(DropReason::TrapNoIf);
    }
    if packet.meta.marks.contains(Marks::CLASSED) {
        marking::mark_native(cx.fib, packet);
    }
    if (!packet.meta.is_from_fabric() || packet.meta.outer != Outer::None)
        && let Err(reason) = readdress(packet, host.mac)
    {
        return Next::Drop(reason);
    }
    packet.meta.tx_vif = id;
    Next::VifTx
}

/// Puts an Ethernet header without tags, to this station, in place of the one there is, if there is one.
fn readdress(packet: &mut Packet<'_>, to: Mac) -> Result<(), DropReason> {
    let in_front = packet.frame.data().get(..usize::from(packet.meta.network));
    let source = in_front.and_then(Ethernet::parse).map(|(ethernet, _)| ethernet.source());
    let ethertype = packet.meta.protocol.ip_ethertype().ok_or(DropReason::InvalidProtocol)?;
    packet.pull(packet.meta.network)?;
    let header = Ethernet::new(to, source.unwrap_or(Mac::GATEWAY), ethertype);
    let room = packet.frame.push(Ethernet::LEN).map_err(|_| DropReason::Push)?;
    header.emit(room).ok_or(DropReason::Push)
}

/// The member a flow remembers, while it is there; else, once, the one that its answers come from, or that of the hash.
fn of_flow(cx: &Cx<'_>, id: FlowId, group: &EcmpGroup, hash: u32) -> Option<Member> {
    let table = cx.flows.as_deref()?;
    // Its packets go to many.
    let flow = table.flow(id).filter(|flow| !flow.state().flags().contains(FlowFlags::FAT))?;
    if let Some(member) = flow.state().ecmp().and_then(|position| group.member(position)) {
        return Some(member);
    }
    let back = table.flow(id.other()).filter(|other| other.counts().0 != 0).and_then(|other| {
        let (_, origin) = other.stamp();
        source::member_from(cx.fib, group, origin, None)
    });
    let (position, member) = match back {
        Some(position) => (position, group.member(position)?),
        None => group.select(hash)?,
    };
    flow.set_ecmp(Some(position));
    Some(member)
}

/// One member by the flow's hash; positions are stable, so only flows of a member that goes away move (case H28).
#[inline]
fn choose(cx: &Cx<'_>, packet: &mut Packet<'_>, group: &EcmpGroup) -> Next {
    if !another_pass(packet) {
        return Next::Drop(DropReason::PktLoop);
    }
    // In a group within a group another part of the hash decides, or some members would never be chosen.
    let hash = flow_hash_of(packet, cx.seed, Fields(group.fields));
    let hash = hash.rotate_left(8 * u32::from(packet.meta.passes - 1));
    let member = match packet.meta.flow.filter(|_| packet.meta.passes == 1) {
        Some(flow) => of_flow(cx, flow, group, hash),
        None => None,
    };
    let member = member.or_else(|| group.select(hash).map(|(_, member)| member));
    let Some(member) = member else { return Next::Drop(DropReason::InvalidNh) };
    packet.meta.nh = member.next_hop;
    if packet.meta.layer == Layer::L2 && goes_back_into_fabric(cx, packet) {
        return Next::Drop(DropReason::InvalidSource);
    }
    if group.label == LabelOf::Member {
        packet.meta.set_label(member.label);
    }
    if packet.meta.marks.contains(Marks::CONTROL_WORD)
        && let Err(reason) = put_control_word(cx.fib, packet)
    {
        return Next::Drop(reason);
    }
    Next::NextHop
}
