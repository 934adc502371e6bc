//! Bridge: the destination MAC's entry in the VRF's bridge table (reference dataplane.md section 10.3).

use tables::{
    BridgeFlags, BridgeHit, BridgeSlot, DropReason, FibNextHop, NhFlags, NhId, VifFlags, VifKind,
    VrfId,
};
use wire::Mac;

use super::control;
use super::flood::put_control_word;
use crate::graph::{Cx, Next, Node, NodeId};
use crate::learn::{self, key};
use crate::packet::{Cast, Hop, Layer, Marks, OutLabel, Outer, Packet, Protocol};
use crate::storm::Storm;
use crate::vrf_counts::VrfCount;

/// Remembers the last station: most frames of a burst are for the gateway.
#[derive(Default)]
pub(crate) struct Bridge {
    last: Station,
    /// Packets for it that are not counted yet, and how many of them only its next hop knows what to do with.
    packets: u64,
    not_routed: u64,
}

/// Where frames for a station go.
#[derive(Clone, Copy)]
struct Station {
    key: u64,
    nh: NhId,
    label: OutLabel,
    way: Way,
    slot: Option<BridgeSlot>,
}

/// How frames for a station go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// IP is routed: it is the router's.
    Router,
    /// By its next hop.
    NextHop,
    /// By its next hop; under a label with a control word.
    ControlWord,
}

impl Default for Station {
    /// None: no station has a group's address.
    fn default() -> Station {
        let key = key(VrfId(0), Mac::BROADCAST);
        Station { key, nh: NhId(0), label: OutLabel::NONE, way: Way::NextHop, slot: None }
    }
}

impl Node for Bridge {
    const ID: NodeId = NodeId::Bridge;
    const EDGES: &'static [NodeId] =
        &[NodeId::Control, NodeId::Route, NodeId::NextHop, NodeId::Punt, NodeId::Drop];

    fn begin(&mut self) {
        self.last = Station::default();
    }

    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>) {
        if self.packets != 0 {
            self.count(cx);
        }
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let (station, cast) = (packet.meta.station, packet.meta.cast);
        packet.meta.layer = Layer::L2;
        if packet.meta.marks.meets(Marks::LOOKED_INTO)
            && let Some(next) = marked_frame(cx, packet)
        {
            return next;
        }
        if cast == Cast::Group {
            return to_group(cx, packet, station);
        }
        if self.last.key != key(packet.meta.vrf, station) {
            match look_up(cx, packet.meta.vrf, station) {
                Some(found) => {
                    self.count(cx);
                    self.last = found;
                }
                None => return unknown(cx, packet),
            }
        }
        self.packets += 1;
        if packet.meta.marks.contains(Marks::ROUTED) && self.last.way == Way::Router {
            return routed(packet);
        }
        packet.meta.nh = self.last.nh;
        packet.meta.set_label(self.last.label);
        match (self.last.way, packet.meta.protocol) {
            (Way::Router, Protocol::Ipv4 | Protocol::Ipv6) => Next::Route,
            (Way::Router, _) => {
                self.not_routed += 1;
                checked(cx, packet)
            }
            (Way::ControlWord, _) => with_control_word(cx, packet),
            _ if packet.meta.is_from_fabric() => checked(cx, packet),
            _ => Next::NextHop,
        }
    }
}

impl Bridge {
    #[inline(never)]
    fn count(&mut self, cx: &Cx<'_>) {
        let packets = std::mem::take(&mut self.packets);
        let routed = packets - std::mem::take(&mut self.not_routed);
        if let Some(slot) = self.last.slot.filter(|_| packets != 0) {
            cx.counters.bridged(slot, self.last.key, packets);
        }
        if self.last.way == Way::Router && routed != 0 {
            let vrf = (self.last.key >> 48) as u16;
            cx.counters.met(VrfId(vrf), VrfCount::L2Receives, routed);
        }
    }
}

/// For the router, and its flow knows the route.
#[inline]
fn routed(packet: &mut Packet<'_>) -> Next {
    if packet.meta.ip_ttl == 0 {
        return Next::Drop(DropReason::TtlExceeded);
    }
    packet.meta.layer = Layer::L3;
    packet.meta.hop = Hop::Due;
    Next::NextHop
}

#[inline(never)]
fn look_up(cx: &Cx<'_>, vrf: VrfId, mac: Mac) -> Option<Station> {
    let hit = cx.fib.bridge(vrf, mac)?;
    let way = match cx.fib.next_hop(hit.nh) {
        FibNextHop::Discard => return None,
        FibNextHop::L2Receive => Way::Router,
        _ if hit.flags.contains(BridgeFlags::L2_CONTROL_DATA) => Way::ControlWord,
        _ => Way::NextHop,
    };
    let (label, slot) = (hit.label.into(), Some(hit.slot));
    Some(Station { key: key(vrf, mac), nh: hit.nh, label, way, slot })
}

#[cold]
fn with_control_word(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
    match checked(cx, packet) {
        Next::NextHop => behind_control_word(cx, packet),
        other => other,
    }
}

/// On, with a control word where its next hop puts a label in front.
fn behind_control_word(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
    packet.meta.marks = packet.meta.marks.with(Marks::CONTROL_WORD);
    put_control_word(cx.fib, packet).map_or_else(Next::Drop, |()| Next::NextHop)
}

/// Where a control packet goes if it is not to be bridged like others: to be looked at, the first time, if it comes from
/// a workload or is for the router; for the router the second time.
#[inline(never)]
fn marked_frame(cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Option<Next> {
    if packet.meta.marks.contains(Marks::LEARN) && packet.meta.is_from_workload() {
        learn::learn(cx, packet);
    }
    if !packet.meta.marks.meets(Marks::CONTROL.with(Marks::SEEN)) {
        return None;
    }
    let is_new = packet.meta.marks.contains(Marks::CONTROL);
    if packet.meta.cast == Cast::Group {
        // `to_group` sees to it.
        return None;
    }
    if is_new && packet.meta.is_from_workload() {
        return Some(Next::Control);
    }
    let found = look_up(cx, packet.meta.vrf, packet.meta.station)?;
    match found.way {
        Way::Router if is_new => Some(Next::Control),
        Way::Router => control::to_router(cx, packet),
        _ => None,
    }
}

fn to_group(cx: &mut Cx<'_>, packet: &mut Packet<'_>, station: Mac) -> Next {
    let is_new = !packet.meta.marks.contains(Marks::SEEN);
    if is_new && packet.meta.is_from_workload() && control::concerns(packet) {
        return Next::Control;
    }
    if let Err(reason) = admit_group(cx, packet) {
        return Next::Drop(reason);
    }
    let hit = group(cx, packet, station);
    // A tree looks at control packets itself, by where they entered it.
    let floods = |hit: BridgeHit| matches!(cx.fib.next_hop(hit.nh), FibNextHop::Flood(_));
    if is_new && packet.meta.marks.contains(Marks::CONTROL) && !hit.is_some_and(floods) {
        return Next::Control;
    }
    // Nobody wants the group, and there is no tree to flood.
    hit.map_or(Next::Drop(DropReason::L2NoRoute), |hit| into_tree(cx, packet, &hit))
}

fn into_tree(cx: &Cx<'_>, packet: &mut Packet<'_>, hit: &BridgeHit) -> Next {
    if let Some(station) = cx.fib.station(hit.slot) {
        cx.counters.bridged(hit.slot, key(station.vrf, station.mac), 1);
    }
    packet.meta.nh = hit.nh;
    packet.meta.set_label(hit.label);
    if hit.flags.contains(BridgeFlags::L2_CONTROL_DATA) {
        return with_control_word(cx, packet);
    }
    checked(cx, packet)
}

/// What this node answers takes the way of the asker's bridge entry: also back into the fabric.
pub(super) fn back_to(cx: &Cx<'_>, packet: &mut Packet<'_>, hit: &BridgeHit) -> Next {
    packet.meta.nh = hit.nh;
    packet.meta.set_label(hit.label);
    match hit.flags.contains(BridgeFlags::L2_CONTROL_DATA) {
        true => behind_control_word(cx, packet),
        false => Next::NextHop,
    }
}

/// Holds an interface to its rate of frames to groups. Control packets have paid before they come here; what comes
/// through a tunnel was held to its rate where it began.
fn admit_group(cx: &mut Cx<'_>, packet: &Packet<'_>) -> Result<(), DropReason> {
    let paid = packet.meta.is_from_fabric() || packet.meta.marks.contains(Marks::SEEN);
    if paid || cx.admit(packet.meta.rx_vif, Storm::Broadcast) {
        Ok(())
    } else {
        Err(DropReason::StormBroadcast)
    }
}

/// A frame to a station that nobody knows: to everybody, where that is wanted (section 10.3). Where it came out of a
/// tunnel, the next hop of its label or VNI says so.
#[cold]
fn unknown(cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
    let fib = cx.fib;
    let flooded = if packet.meta.is_from_fabric() {
        fib.next_hop_entry(packet.meta.nh).flags.contains(NhFlags::UNKNOWN_UNICAST_FLOOD)
    } else if cx.admit(packet.meta.rx_vif, Storm::UnknownUnicast) {
        let vif = fib.vif(packet.meta.rx_vif);
        vif.is_some_and(|vif| vif.flags.contains(VifFlags::UNKNOWN_UNICAST_FLOOD))
    } else {
        return Next::Drop(DropReason::StormUnicast);
    };
    let everybody = fib.bridge(packet.meta.vrf, Mac::BROADCAST).filter(|_| flooded);
    let Some(hit) = everybody else { return Next::Drop(DropReason::L2NoRoute) };
    cx.counters.met(packet.meta.vrf, VrfCount::UnknownUnicastFloods, 1);
    packet.meta.cast = Cast::Group;
    into_tree(cx, packet, &hit)
}

/// A group's own entry for IPv4, else the VRF's broadcast tree. A workload whose memberships nobody follows (no IGMP)
/// speaks to all. (Section 10.3.)
fn group(cx: &Cx<'_>, packet: &mut Packet<'_>, mac: Mac) -> Option<BridgeHit> {
    let fib = cx.fib;
    let vif = fib.vif(packet.meta.rx_vif)?;
    if let Some(elsewhere) = vif.mcast_vrf {
        packet.meta.vrf = elsewhere;
    }
    let vrf = packet.meta.vrf;
    let followed = match vif.kind {
        VifKind::Virtual | VifKind::VirtualVlan | VifKind::Agent => {
            vif.flags.contains(VifFlags::IGMP)
        }
        _ => true,
    };
    let own = match packet.meta.protocol {
        Protocol::Ipv4 if followed => fib.bridge(vrf, mac),
        _ => None,
    };
    own.or_else(|| fib.bridge(vrf, Mac::BROADCAST))
}

/// From the fabric a frame does not go back into it (unless the node is a gateway), and a tree entry that discards
/// counts as none.
fn checked(cx: &Cx<'_>, packet: &Packet<'_>) -> Next {
    match cx.fib.next_hop(packet.meta.nh) {
        FibNextHop::Discard => Next::Drop(DropReason::L2NoRoute),
        _ if goes_back_into_fabric(cx, packet) => Next::Drop(DropReason::InvalidSource),
        _ => Next::NextHop,
    }
}

/// Whether a frame that a tunnel brought for one station is about to enter another, which only a gateway may let it. Of a
/// group of tunnels, that is known when its member is chosen.
pub(super) fn goes_back_into_fabric(cx: &Cx<'_>, packet: &Packet<'_>) -> bool {
    packet.meta.is_from_fabric()
        && packet.meta.outer != Outer::None
        && packet.meta.cast == Cast::Unicast
        && cx.fib.next_hop(packet.meta.nh).tunnel().is_some()
        && !cx.is_fabric_gateway(packet.meta.rx_vif)
}
