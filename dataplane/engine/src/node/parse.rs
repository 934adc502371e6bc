//! Parse: one walk over the headers. From a workload everything goes on to be bridged; from the fabric only tunnel
//! packets for a local endpoint go on to be decapsulated.

use tables::{DropReason, FibNextHop, NhId, VifFlags, VifKind};
use wire::protocol;

use crate::graph::{Cx, Next, Node, NodeId};
use crate::inspect;
use crate::packet::{Addresses, Cast, Fragment, Outer, Packet};

/// Remembers the last local endpoint: most tunnel packets are for the same.
#[derive(Default)]
pub(crate) struct Parse {
    endpoint: Option<(Outer, NhId)>,
}

impl Node for Parse {
    const ID: NodeId = NodeId::Parse;
    const EDGES: &'static [NodeId] =
        &[NodeId::Bridge, NodeId::Decap, NodeId::NextHop, NodeId::Drop];

    fn begin(&mut self) {
        self.endpoint = None;
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        if let Err(reason) = inspect::ethernet(packet, DropReason::InterfaceDrop) {
            if reason == DropReason::InterfaceDrop {
                cx.counters.receive_error(packet.meta.rx_vif);
            }
            return Next::Drop(reason);
        }
        match packet.meta.rx_kind {
            VifKind::Virtual | VifKind::VirtualVlan => {
                inspect::complete_checksum(packet);
                Next::Bridge
            }
            VifKind::Physical => self.fabric(cx, packet),
            // What the host sends enters with vhost0's own handling; until then it is no source of tenant traffic.
            _ => Next::Drop(DropReason::InterfaceDrop),
        }
    }
}

impl Parse {
    /// Fabric input (reference dataplane.md section 10.1). What is not a tunnel packet for us would be cross-connected
    /// to the host, which has no interface here: its traffic stays in the kernel. So it ends as `InterfaceDrop`.
    fn fabric(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        if packet.meta.cast == Cast::Group || packet.meta.vlan.is_some() || !is_ours(cx, packet) {
            return Next::Drop(DropReason::InterfaceDrop);
        }
        let (source, destination) = match outer_addresses(packet) {
            Some(addresses) => addresses,
            None => return Next::Drop(DropReason::InterfaceDrop),
        };
        let nh = match self.endpoint {
            Some((last, nh)) if last == destination => nh,
            _ => {
                let nh = route(cx, packet, destination);
                self.endpoint = Some((destination, nh));
                nh
            }
        };
        packet.meta.nh = nh;
        match cx.fib.next_hop(nh) {
            FibNextHop::Receive { .. } => {}
            FibNextHop::Discard => return Next::Drop(DropReason::Discard),
            // Fabric to fabric: a node is no transit router (case H27).
            _ => return Next::Drop(DropReason::InvalidSource),
        }
        packet.meta.outer = source;
        match (packet.meta.ip_protocol, packet.meta.fragment) {
            (protocol::UDP | protocol::GRE, Fragment::Whole) => Next::Decap,
            // A fragmented tunnel packet would have to be reassembled first; it is never parsed (case H08).
            (protocol::UDP | protocol::GRE, _) => Next::Drop(DropReason::Fragments),
            _ => Next::NextHop,
        }
    }
}

/// Whether the frame is addressed to the uplink itself (case H20).
fn is_ours(cx: &Cx<'_>, packet: &Packet<'_>) -> bool {
    let Some(vif) = cx.fib.vif(packet.meta.rx_vif) else { return false };
    packet.meta.station == vif.mac || vif.flags.contains(VifFlags::PROMISCUOUS)
}

fn outer_addresses(packet: &Packet<'_>) -> Option<(Outer, Outer)> {
    match packet.meta.addresses {
        Addresses::V4 { source, destination } => Some((Outer::V4(source), Outer::V4(destination))),
        Addresses::V6 { source, destination } => Some((Outer::V6(source), Outer::V6(destination))),
        Addresses::None => None,
    }
}

fn route(cx: &Cx<'_>, packet: &Packet<'_>, destination: Outer) -> NhId {
    match destination {
        Outer::V4(address) => cx.fib.route(packet.meta.vrf, address).nh,
        Outer::V6(address) => cx.fib.route(packet.meta.vrf, address).nh,
        Outer::None => NhId(0),
    }
}
