//! Flood: a copy for every member of a tree that is to have one (reference dataplane.md section 13).
//!
//! Trees are walked as they are, list by list: what a copy costs is the copy. The original ends here, which is no loss
//! (`ClonedOriginal`).

use std::net::Ipv4Addr;

use tables::{
    CompositeKind, DropReason, Endpoints, Fib, FibNextHop, FloodGroup, HopEntry, Member, NhFamily,
    NhFlags, NhId, TunnelEncap, TunnelHop, VifId,
};
use wire::{Ipv4, Udp, Vni, Vxlan, port, protocol};

use super::control::{self, TreeDecision};
use crate::flow_hash::{entropy_port, frame_hash};
use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Addresses, Cast, Layer, Marks, Meta, Outer, Packet};
use crate::vrf_counts::VrfCount;

/// Remembers what the last source was to the last tree: a burst mostly comes from one node.
#[derive(Default)]
pub(crate) struct Flood {
    last: Option<(NhId, Outer, Source)>,
}

/// What the sender of a packet is to a tree (section 13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// None of it: a workload here.
    Local,
    /// A node that sends each of the others a copy itself.
    Ingress,
    /// A neighbour in the edge-replicated tree, who relies on this node to pass it on.
    Edge,
    /// A top-of-rack switch.
    Tor,
}

impl Source {
    /// Whether a list of this kind gets what comes from here.
    fn reaches(self, list: CompositeKind) -> bool {
        match (list, self) {
            (CompositeKind::Encap | CompositeKind::Tor, _)
            | (CompositeKind::Fabric, Source::Local | Source::Edge | Source::Tor)
            | (CompositeKind::Evpn, Source::Local | Source::Tor) => true,
            (CompositeKind::Fabric, Source::Ingress)
            | (CompositeKind::Evpn, Source::Ingress | Source::Edge)
            // Neither is a list of members.
            | (CompositeKind::Multicast | CompositeKind::Ecmp(_), _) => false,
        }
    }
}

impl Node for Flood {
    const ID: NodeId = NodeId::Flood;
    const EDGES: &'static [NodeId] = &[NodeId::NextHop, NodeId::VifTx, NodeId::Punt, NodeId::Drop];

    fn begin(&mut self) {
        self.last = None;
    }

    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let fib = cx.fib;
        let entry = fib.next_hop_entry(packet.meta.nh);
        let FibNextHop::Flood(group) = &entry.hop else {
            return Next::Drop(DropReason::InvalidNh);
        };
        let source = match self.source(fib, packet.meta, entry, group) {
            Ok(source) => source,
            Err(reason) => return Next::Drop(reason),
        };
        if group.members.is_empty() {
            return Next::Drop(DropReason::Discard);
        }
        let mut to_workloads = true;
        if packet.meta.layer == Layer::L2 {
            match control::in_tree(cx, packet, source) {
                TreeDecision::Instead(next) => return next,
                TreeDecision::SpareWorkloads => to_workloads = false,
                TreeDecision::Flood => {}
            }
            if let Some(next) = to_owner(fib, packet) {
                return next;
            }
        }
        let mut copies = Copies { cx, packet, hash: None };
        for list in lists(fib, group) {
            if !source.reaches(list.kind) || list.kind == CompositeKind::Encap && !to_workloads {
                continue;
            }
            if group.kind == CompositeKind::Multicast {
                copies.cx.counters.met(copies.packet.meta.vrf, VrfCount::of_list(list.kind), 1);
            }
            for member in &list.members {
                if let Err(reason) = copies.send(list.kind, member) {
                    return Next::Drop(reason);
                }
            }
        }
        Next::Drop(DropReason::ClonedOriginal)
    }
}

impl Flood {
    fn source(
        &mut self,
        fib: &Fib,
        meta: &Meta,
        entry: &HopEntry,
        group: &FloodGroup,
    ) -> Result<Source, DropReason> {
        if !meta.is_from_fabric() {
            return Ok(Source::Local);
        }
        match self.last {
            Some((tree, outer, source)) if tree == meta.nh && outer == meta.outer => Ok(source),
            _ => {
                let found = source(fib, meta.outer, entry, group)?;
                self.last = Some((meta.nh, meta.outer, found));
                Ok(found)
            }
        }
    }
}

/// What a node of the fabric is to a tree: by the list that has a tunnel to it (section 6.5). An unknown one is taken for
/// an edge unless the tree wants its sources validated.
fn source(
    fib: &Fib,
    outer: Outer,
    entry: &HopEntry,
    group: &FloodGroup,
) -> Result<Source, DropReason> {
    let of_kind = |kind| match kind {
        CompositeKind::Fabric => Some(Source::Edge),
        CompositeKind::Evpn => Some(Source::Ingress),
        CompositeKind::Tor => Some(Source::Tor),
        CompositeKind::Encap | CompositeKind::Multicast | CompositeKind::Ecmp(_) => None,
    };
    if group.kind != CompositeKind::Multicast {
        // A list by itself: what comes out of the fabric does not go back by ingress replication.
        return Ok(of_kind(group.kind).unwrap_or(Source::Ingress));
    }
    let has = |list: &&FloodGroup| {
        let mut tunnels =
            list.members.iter().filter_map(|member| fib.next_hop(member.next_hop).tunnel());
        tunnels.any(|hop| outer.is(hop.destination()))
    };
    let mut trees = lists(fib, group).filter(|list| list.kind != CompositeKind::Encap);
    match trees.find(has).and_then(|list| of_kind(list.kind)) {
        Some(source) => Ok(source),
        None if entry.flags.contains(NhFlags::VALIDATE_MCAST_SOURCE) => {
            Err(DropReason::InvalidMcastSource)
        }
        None => Ok(Source::Edge),
    }
}

/// The lists of a tree that exist; a list that is used as a tree is its own.
fn lists<'f>(fib: &'f Fib, group: &'f FloodGroup) -> impl Iterator<Item = &'f FloodGroup> {
    let is_tree = group.kind == CompositeKind::Multicast;
    let nested = group.members.iter().filter(move |_| is_tree);
    let nested = nested.filter_map(|member| match fib.next_hop(member.next_hop) {
        FibNextHop::Flood(list) => Some(&**list),
        _ => None,
    });
    (!is_tree).then_some(group).into_iter().chain(nested)
}

/// A frame that another node did not know the station of goes to its workload alone, if that is here.
fn to_owner(fib: &Fib, packet: &mut Packet<'_>) -> Option<Next> {
    let meta = &mut *packet.meta;
    if !meta.is_from_fabric() || meta.station.is_group() {
        return None;
    }
    let owner = fib.bridge(meta.vrf, meta.station)?;
    match fib.next_hop(owner.nh) {
        FibNextHop::Encap { family: NhFamily::Bridge, .. } => {
            meta.nh = owner.nh;
            meta.cast = Cast::Unicast;
            Some(Next::NextHop)
        }
        _ => None,
    }
}

/// The copies of one packet.
struct Copies<'a, 'c, 'p> {
    cx: &'a mut Cx<'c>,
    packet: &'a Packet<'p>,
    /// Of the frame as it is under all headers, once for all copies (section 7.5, case H10).
    hash: Option<u32>,
}

/// Bytes of the block in front of a frame in an edge-replicated tree (section 7.6).
pub(super) const EDGE_BLOCK: usize = Ipv4::LEN + Udp::LEN + Vxlan::LEN;
/// Bytes of the control word in front of a frame under a label (RFC 4385, all zero).
pub(super) const CONTROL_WORD: usize = 4;

impl Copies<'_, '_, '_> {
    /// The member's copy, if it is to have one.
    ///
    /// # Errors
    /// `McastCloneFail` when there is no frame or no room for it.
    fn send(&mut self, list: CompositeKind, member: &Member) -> Result<(), DropReason> {
        let fib = self.cx.fib;
        match (list, fib.next_hop(member.next_hop)) {
            (
                CompositeKind::Encap,
                FibNextHop::Encap { vif, .. } | FibNextHop::EncapGroup { vif },
            ) => {
                if *vif == self.packet.meta.rx_vif {
                    return Ok(());
                }
                let vrf = fib.vif(*vif).map(|vif| vif.vrf);
                self.copy(Next::NextHop, |copy| {
                    copy.meta.nh = member.next_hop;
                    copy.meta.set_label(None);
                    copy.meta.vrf = vrf.unwrap_or(copy.meta.vrf);
                    Ok(())
                })
            }
            (CompositeKind::Encap, _) => Ok(()),
            (_, hop) => hop.tunnel().map_or(Ok(()), |hop| self.send_through(list, member, hop)),
        }
    }

    fn send_through(
        &mut self,
        list: CompositeKind,
        member: &Member,
        hop: &TunnelHop,
    ) -> Result<(), DropReason> {
        let edge = list == CompositeKind::Fabric;
        if edge && self.came_through(hop.vif) {
            return Ok(());
        }
        // Split horizon. Ingress replication needs none: what came out of the fabric is not sent there.
        if list != CompositeKind::Evpn && self.packet.meta.outer.is(hop.destination()) {
            return Ok(());
        }
        let over_mpls = is_over_mpls(hop.encap);
        if edge != over_mpls && list != CompositeKind::Evpn {
            return self.copy(Next::Drop(DropReason::InvalidNh), |_| Ok(()));
        }
        let is_frame = self.packet.meta.layer == Layer::L2;
        let word = self.packet.meta.marks.contains(Marks::CONTROL_WORD);
        let hash = self.hash();
        self.copy(Next::NextHop, |copy| {
            if edge && is_frame {
                push_edge_block(copy, &hop.endpoints, hash)?;
            }
            if is_frame && over_mpls && (edge || word) {
                push_control_word(copy)?;
            }
            copy.meta.marks = copy.meta.marks.without(Marks::CONTROL_WORD);
            copy.meta.nh = member.next_hop;
            copy.meta.set_label(member.label);
            copy.meta.addresses = Addresses::Hashed(hash.to_ne_bytes());
            copy.meta.cast = Cast::Group;
            Ok(())
        })
    }

    /// Whether it came from a sub-interface of the uplink: it would go back to where it came from.
    fn came_through(&self, uplink: VifId) -> bool {
        let rx = self.cx.fib.vif(self.packet.meta.rx_vif);
        let parent = rx.and_then(|vif| vif.extras.as_ref()?.parent);
        parent.is_some_and(|(parent, _)| parent == uplink)
    }

    fn hash(&mut self) -> u32 {
        let (packet, seed) = (self.packet, self.cx.seed);
        *self.hash.get_or_insert_with(|| frame_hash(packet, seed))
    }

    /// A copy that `prepare` makes ready for `next`, or says why it cannot go there.
    fn copy(
        &mut self,
        next: Next,
        prepare: impl FnOnce(&mut Packet<'_>) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        if self.cx.spawned.is_flooded() {
            return Err(DropReason::McastCloneFail);
        }
        let Some(mut frame) = self.cx.pool.copy(self.packet.frame) else {
            return Err(DropReason::McastCloneFail);
        };
        let mut meta = self.packet.meta.clone();
        let prepared = prepare(&mut Packet { frame: &mut frame, meta: &mut meta });
        let next = prepared.map_or_else(Next::Drop, |()| next);
        self.cx.spawn(frame, meta, next).map_err(|frame| {
            self.cx.pool.give(frame);
            DropReason::McastCloneFail
        })
    }
}

/// IPv4, UDP and VXLAN header in front of a frame: the far edge may strip the rest and has a VXLAN packet. The addresses
/// are the tunnel's; an IPv6 underlay has none that fit, and nobody reads them.
fn push_edge_block(
    copy: &mut Packet<'_>,
    endpoints: &Endpoints,
    hash: u32,
) -> Result<(), DropReason> {
    let vni = Vni::try_from(copy.meta.label().number()).ok();
    let vxlan = Vxlan::new(vni.ok_or(DropReason::InvalidLabel)?);
    let length = u16::try_from(EDGE_BLOCK + copy.frame.len()).map_err(|_| DropReason::Push)?;
    let (source, destination) = match *endpoints {
        Endpoints::V4 { source, destination } => (source, destination),
        Endpoints::V6 { .. } => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
    };
    let ip = Ipv4::new(source, destination, protocol::UDP, 64, length);
    let udp_length = length.saturating_sub(IPV4_HEADER);
    let udp = Udp::new(entropy_port(hash), port::VXLAN, udp_length, 0);
    let room = copy.push(EDGE_BLOCK)?;
    let (front, room) = room.split_at_mut_checked(Ipv4::LEN).ok_or(DropReason::Push)?;
    let (middle, back) = room.split_at_mut_checked(Udp::LEN).ok_or(DropReason::Push)?;
    let written = ip.emit(front).and_then(|()| udp.emit(middle)).and_then(|()| vxlan.emit(back));
    written.ok_or(DropReason::Push)
}

const IPV4_HEADER: u16 = 20;

/// The control word of a frame under a label: zero (section 7.7).
fn push_control_word(packet: &mut Packet<'_>) -> Result<(), DropReason> {
    packet.push(CONTROL_WORD)?.fill(0);
    Ok(())
}

/// Gives a frame that is marked for it its control word, once it is known that it goes under a label.
///
/// # Errors
/// `Push` when there is no room.
pub(super) fn put_control_word(fib: &Fib, packet: &mut Packet<'_>) -> Result<(), DropReason> {
    match fib.next_hop(packet.meta.nh).tunnel() {
        Some(hop) if is_over_mpls(hop.encap) => {
            packet.meta.marks = packet.meta.marks.without(Marks::CONTROL_WORD);
            push_control_word(packet)
        }
        _ => Ok(()),
    }
}

fn is_over_mpls(encap: TunnelEncap) -> bool {
    match encap {
        TunnelEncap::MplsOverGre
        | TunnelEncap::MplsOverUdp
        | TunnelEncap::MplsOverMplsOverGre(_)
        | TunnelEncap::MplsOverMplsOverUdp(_) => true,
        TunnelEncap::Vxlan | TunnelEncap::VxlanL3(_) | TunnelEncap::Udp { .. } => false,
    }
}
