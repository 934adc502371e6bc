//! Parse: one walk over the headers. From a workload everything goes on to be bridged; from the fabric only tunnel
//! packets for a local endpoint go on to be decapsulated; what the host sends is answered (ARP) or routed.

use tables::{DropReason, FibNextHop, NhId, VifFlags, VifId, VifKind, VrfId};
use wire::{Mac, protocol};

use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Addresses, Cast, Fragment, Marks, Outer, Packet, Protocol, Spread};
use crate::vrf_counts::VrfCount;
use crate::{inject, inspect};

/// Remembers the last uplink, and the last local endpoint it received for: most tunnel packets are for the same.
#[derive(Default)]
pub(crate) struct Parse {
    endpoint: Option<Endpoint>,
    uplink: Option<Uplink>,
    /// Tunnel packets for this node that came in by it and are not counted yet.
    received: u64,
}

#[derive(Clone, Copy)]
struct Endpoint {
    address: Outer,
    nh: NhId,
    /// What happens to packets for it that is no local endpoint.
    elsewhere: Option<Next>,
}

#[derive(Clone, Copy)]
struct Uplink {
    vif: VifId,
    mac: Mac,
    promiscuous: bool,
    vrf: VrfId,
}

impl Node for Parse {
    const ID: NodeId = NodeId::Parse;
    const EDGES: &'static [NodeId] = &[
        NodeId::Flow,
        NodeId::Bridge,
        NodeId::Control,
        NodeId::Route,
        NodeId::Decap,
        NodeId::NextHop,
        NodeId::VifTx,
        NodeId::Assemble,
        NodeId::Drop,
    ];

    fn begin(&mut self) {
        self.endpoint = None;
        self.uplink = None;
    }

    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.count(cx);
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        if let Err(reason) = inspect::ethernet(packet, DropReason::InterfaceDrop) {
            // What is behind its Ethernet header is none of the headers looked for.
            if packet.meta.rx_kind == VifKind::Agent {
                return inject::obey(cx, packet);
            }
            if reason == DropReason::InterfaceDrop {
                cx.counters.receive_error(packet.meta.rx_vif);
            }
            return Next::Drop(reason);
        }
        match packet.meta.rx_kind {
            VifKind::Virtual | VifKind::VirtualVlan => {
                if packet.meta.fragment != Fragment::Whole {
                    return Next::Assemble;
                }
                if packet.meta.marks.contains(Marks::POLICY) {
                    // There the checksum is completed, if the packet is not dropped.
                    return Next::Flow;
                }
                inspect::complete_checksum(packet);
                Next::Bridge
            }
            VifKind::Physical => self.fabric(cx, packet),
            VifKind::Host | VifKind::XenLl | VifKind::Gateway => host(packet),
            VifKind::Agent => inject::obey(cx, packet),
            // These receive nothing.
            VifKind::Stats | VifKind::Monitoring => Next::Drop(DropReason::InterfaceDrop),
        }
    }
}

/// Input from the host (reference dataplane.md sections 2.3 and 10.1): ARP is answered or not, IP to one station is
/// routed in the interface's VRF. All else would be cross-connected to the uplink, which the kernel has for itself.
fn host(packet: &mut Packet<'_>) -> Next {
    inspect::note_train(packet);
    match (packet.meta.protocol, packet.meta.cast) {
        (Protocol::Arp, _) => Next::Control,
        (Protocol::Ipv4 | Protocol::Ipv6, Cast::Unicast) => Next::Route,
        _ => Next::Drop(DropReason::InterfaceDrop),
    }
}

impl Parse {
    #[inline(never)]
    fn count(&mut self, cx: &Cx<'_>) {
        let received = std::mem::take(&mut self.received);
        if let Some(uplink) = self.uplink.filter(|_| received != 0) {
            cx.counters.met(uplink.vrf, VrfCount::Receives, received);
        }
    }

    /// Fabric input (reference dataplane.md section 10.1). What is not a tunnel packet for us would be cross-connected
    /// to the host, which has no interface here: its traffic stays in the kernel. So it ends as `InterfaceDrop`.
    fn fabric(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        if packet.meta.protocol == Protocol::Arp && packet.meta.vlan.is_none() {
            return Next::Control;
        }
        if packet.meta.cast == Cast::Group
            || packet.meta.vlan.is_some()
            || !self.is_ours(cx, packet)
        {
            return Next::Drop(DropReason::InterfaceDrop);
        }
        let (source, destination) = match outer_addresses(packet) {
            Some(addresses) => addresses,
            None => return Next::Drop(DropReason::InterfaceDrop),
        };
        let endpoint = match self.endpoint {
            Some(last) if last.address == destination => last,
            _ => *self.endpoint.insert(endpoint(cx, packet, destination)),
        };
        packet.meta.nh = endpoint.nh;
        if let Some(next) = endpoint.elsewhere {
            return next;
        }
        match (packet.meta.ip_protocol, packet.meta.fragment) {
            (protocol::UDP | protocol::GRE, Fragment::Whole) => {
                // What another worker handed over has been counted there.
                self.received += u64::from(packet.meta.spread == Spread::Allowed);
                packet.meta.outer = source;
                Next::Decap
            }
            // A fragmented tunnel packet would have to be reassembled first; it is never parsed (case H08).
            (protocol::UDP | protocol::GRE, _) => Next::Drop(DropReason::Fragments),
            _ => Next::NextHop,
        }
    }

    /// Whether the frame is addressed to the uplink itself (case H20).
    #[inline]
    fn is_ours(&mut self, cx: &Cx<'_>, packet: &Packet<'_>) -> bool {
        let uplink = match self.uplink {
            Some(uplink) if uplink.vif == packet.meta.rx_vif => uplink,
            _ => {
                let Some(vif) = cx.fib.vif(packet.meta.rx_vif) else { return false };
                self.count(cx);
                let promiscuous = vif.flags.contains(VifFlags::PROMISCUOUS);
                // Which has tables and a role of its own.
                self.endpoint = None;
                *self.uplink.insert(Uplink { vif: vif.id, mac: vif.mac, promiscuous, vrf: vif.vrf })
            }
        };
        packet.meta.station == uplink.mac || uplink.promiscuous
    }
}

#[inline]
fn outer_addresses(packet: &Packet<'_>) -> Option<(Outer, Outer)> {
    match packet.meta.addresses {
        Addresses::V4 { source, destination } => Some((Outer::V4(source), Outer::V4(destination))),
        Addresses::V6 { source, destination } => Some((Outer::V6(source), Outer::V6(destination))),
        Addresses::None | Addresses::Hashed(_) => None,
    }
}

#[inline(never)]
fn endpoint(cx: &Cx<'_>, packet: &Packet<'_>, address: Outer) -> Endpoint {
    let nh = match address {
        Outer::V4(address) => cx.fib.route(packet.meta.vrf, address).nh,
        Outer::V6(address) => cx.fib.route(packet.meta.vrf, address).nh,
        Outer::None => NhId(0),
    };
    let elsewhere = match cx.fib.next_hop(nh) {
        FibNextHop::Receive { .. } => None,
        FibNextHop::Discard => Some(Next::Drop(DropReason::Discard)),
        // Fabric to fabric: a node is no transit router (case H27), but for a gateway.
        _ if cx.is_fabric_gateway(packet.meta.rx_vif) => Some(Next::Route),
        _ => Some(Next::Drop(DropReason::InvalidSource)),
    };
    Endpoint { address, nh, elsewhere }
}
