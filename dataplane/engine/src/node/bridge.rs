//! Bridge: the destination MAC's entry in the VRF's bridge table (reference dataplane.md section 10.3).

use tables::{BridgeHit, DropReason, FibNextHop, NhId, VifFlags, VrfId};
use wire::Mac;

use crate::graph::{Cx, Next, Node, NodeId};
use crate::inspect;
use crate::packet::{ArpStage, Cast, Layer, Packet, Protocol};
use crate::storm::Storm;

/// Remembers the last station: most frames of a burst are for the gateway.
#[derive(Default)]
pub(crate) struct Bridge {
    last: Station,
}

/// Where frames for a station go.
#[derive(Clone, Copy)]
struct Station {
    key: u64,
    nh: NhId,
    label: Option<u32>,
    /// What its next hop would say to an IP packet, where that needs no more than knowing its kind.
    next: Next,
}

impl Default for Station {
    /// None: no station has a group's address.
    fn default() -> Station {
        let next = Next::Drop(DropReason::L2NoRoute);
        Station { key: key(VrfId(0), Mac::BROADCAST), nh: NhId(0), label: None, next }
    }
}

/// MAC and VRF in one word.
#[inline]
fn key(vrf: VrfId, mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(vrf.0) << 48
}

impl Node for Bridge {
    const ID: NodeId = NodeId::Bridge;
    const EDGES: &'static [NodeId] = &[NodeId::Arp, NodeId::Route, NodeId::NextHop, NodeId::Drop];

    fn begin(&mut self) {
        self.last = Station::default();
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let (station, cast) = (packet.meta.station, packet.meta.cast);
        if packet.meta.protocol == Protocol::Arp
            && packet.meta.arp == ArpStage::Unseen
            && (packet.meta.is_from_workload() || cast == Cast::Group)
        {
            return Next::Arp;
        }
        packet.meta.layer = Layer::L2;
        if cast == Cast::Group {
            return to_group(cx, packet, station);
        }
        if self.last.key != key(packet.meta.vrf, station) {
            match look_up(cx, packet.meta.vrf, station) {
                Some(found) => self.last = found,
                None => return Next::Drop(unknown(cx, packet)),
            }
        }
        (packet.meta.nh, packet.meta.label) = (self.last.nh, self.last.label);
        match (self.last.next, packet.meta.protocol) {
            (Next::Route, Protocol::Ipv4 | Protocol::Ipv6) => Next::Route,
            _ if packet.meta.is_from_fabric() => checked(cx, packet),
            _ => Next::NextHop,
        }
    }
}

#[inline(never)]
fn look_up(cx: &Cx<'_>, vrf: VrfId, mac: Mac) -> Option<Station> {
    let hit = cx.fib.bridge(vrf, mac)?;
    let next = match cx.fib.next_hop(hit.nh) {
        FibNextHop::Discard => return None,
        FibNextHop::L2Receive => Next::Route,
        _ => Next::NextHop,
    };
    Some(Station { key: key(vrf, mac), nh: hit.nh, label: hit.label, next })
}

fn to_group(cx: &mut Cx<'_>, packet: &mut Packet<'_>, station: Mac) -> Next {
    if let Err(reason) = admit_group(cx, packet) {
        return Next::Drop(reason);
    }
    // Nobody wants the group, and there is no tree to flood.
    let Some(hit) = group(cx, packet, station) else {
        return Next::Drop(DropReason::L2NoRoute);
    };
    (packet.meta.nh, packet.meta.label) = (hit.nh, hit.label);
    checked(cx, packet)
}

/// Holds an interface to its rate of frames to groups. ARP has paid before it comes here; what comes through a tunnel
/// was held to its rate where it began.
fn admit_group(cx: &mut Cx<'_>, packet: &Packet<'_>) -> Result<(), DropReason> {
    if packet.meta.is_from_fabric() || packet.meta.arp == ArpStage::Seen {
        return Ok(());
    }
    let (storm, reason) = match inspect::is_neighbor_discovery(packet) {
        true => (Storm::Arp, DropReason::StormArp),
        false => (Storm::Broadcast, DropReason::StormBroadcast),
    };
    if cx.admit(packet.meta.rx_vif, storm) { Ok(()) } else { Err(reason) }
}

/// Why a frame to a station that nobody knows is dropped.
#[cold]
fn unknown(cx: &mut Cx<'_>, packet: &Packet<'_>) -> DropReason {
    if !packet.meta.is_from_fabric() && !cx.admit(packet.meta.rx_vif, Storm::UnknownUnicast) {
        return DropReason::StormUnicast;
    }
    DropReason::L2NoRoute
}

/// A group's own entry for IPv4, else the VRF's broadcast tree.
fn group(cx: &Cx<'_>, packet: &Packet<'_>, mac: Mac) -> Option<BridgeHit> {
    let elsewhere = cx.fib.vif(packet.meta.rx_vif).and_then(|vif| vif.mcast_vrf);
    let vrf = elsewhere.unwrap_or(packet.meta.vrf);
    let own = match packet.meta.protocol {
        Protocol::Ipv4 => cx.fib.bridge(vrf, mac),
        _ => None,
    };
    own.or_else(|| cx.fib.bridge(vrf, Mac::BROADCAST))
}

/// From the fabric a frame does not go back into it (unless the node is a gateway), and a tree entry that discards
/// counts as none.
fn checked(cx: &Cx<'_>, packet: &Packet<'_>) -> Next {
    const GATEWAY_MODE: VifFlags = VifFlags(0x2000_0000);
    match cx.fib.next_hop(packet.meta.nh) {
        FibNextHop::Discard => Next::Drop(DropReason::L2NoRoute),
        FibNextHop::Tunnel(_)
            if packet.meta.is_from_fabric() && packet.meta.cast == Cast::Unicast =>
        {
            let vif = cx.fib.vif(packet.meta.rx_vif);
            if vif.is_some_and(|vif| vif.flags.contains(GATEWAY_MODE)) {
                Next::NextHop
            } else {
                Next::Drop(DropReason::InvalidSource)
            }
        }
        _ => Next::NextHop,
    }
}
