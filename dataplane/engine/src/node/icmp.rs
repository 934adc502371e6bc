//! ICMP errors: a sender is told that its packet was too big or its TTL too small, by the gateway of its network
//! (RFC 1812 section 4.3, RFC 4443 section 2.4).
//!
//! The gateway is that of the workload's interface: of the sender, or of the receiver when the packet came through a
//! tunnel. Where the control plane names none, the packet goes to the agent, which then tells. What is quoted is what the
//! sender sent: the TTL it had is put back; whoever translates addresses before this must put them back too.

use std::net::{Ipv4Addr, Ipv6Addr};

use port::Frame;
use tables::{DropReason, FibNextHop, FibVif};
use wire::{Ethernet, IcmpError, Ipv4, Ipv6, Mac, protocol};

use super::bridge;
use super::flood::CONTROL_WORD;
use crate::flow::pass;
use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Addresses, Cast, Fragment, Hop, Layer, Meta, Packet, Protocol, Spread, Trap};
use crate::storm::Storm;

/// Has no state.
#[derive(Default)]
pub(crate) struct Icmp;

impl Node for Icmp {
    const ID: NodeId = NodeId::Icmp;
    const EDGES: &'static [NodeId] = &[NodeId::Punt, NodeId::Drop];

    /// The packet ends here; what is made of it follows the burst.
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let (error, reason) = match packet.meta.trap {
            Trap::HandleDf { mtu } => (IcmpError::TooBig { mtu }, DropReason::TooBig),
            Trap::ZeroTtl => (IcmpError::TimeExceeded, DropReason::TtlExceeded),
            // Nobody sends these here: what is to be told is the agent's to know.
            Trap::Arp
            | Trap::NextHop
            | Trap::Resolve
            | Trap::L3Protocols
            | Trap::Diag { .. }
            | Trap::IcmpError
            | Trap::TorControl
            | Trap::RouterAlert
            | Trap::MacLearn { .. }
            | Trap::MacMove { .. }
            | Trap::MacIpLearning
            | Trap::Bfd { .. }
            | Trap::Flow => return to_agent(packet),
        };
        if !may_be_told(packet) {
            return Next::Drop(reason);
        }
        // Its sender knows nothing of translation.
        pass::as_sent(cx, packet);
        let teller = speaker(cx, packet).and_then(|vif| Some((vif, addresses(vif, packet)?)));
        let Some((vif, addresses)) = teller else { return to_agent(packet) };
        if !cx.admit(vif.id, Storm::Icmp) {
            return Next::Drop(DropReason::StormIcmp);
        }
        let mac = vif.mac;
        restore_ttl(packet);
        if let Some(mut frame) = cx.pool.take() {
            let made = tell(cx, packet, &mut frame, (error, addresses, mac));
            let refused = match made {
                Some((meta, next)) => cx.spawn(frame, meta, next).err(),
                None => Some(frame),
            };
            if let Some(frame) = refused {
                cx.pool.give(frame);
            }
        }
        Next::Drop(reason)
    }
}

/// To the agent, as it came: without the control word that may be in front by now.
fn to_agent(packet: &mut Packet<'_>) -> Next {
    let word =
        l2_header(packet).map_or(0, |header| usize::from(packet.meta.network) - header.len());
    match u16::try_from(word).map_err(|_| DropReason::Pull).and_then(|word| packet.pull(word)) {
        Ok(()) => Next::Punt,
        Err(reason) => Next::Drop(reason),
    }
}

/// The interface whose gateway speaks.
fn speaker<'f>(cx: &Cx<'f>, packet: &Packet<'_>) -> Option<&'f FibVif> {
    if !packet.meta.is_from_fabric() {
        return cx.fib.vif(packet.meta.rx_vif);
    }
    match cx.fib.next_hop(packet.meta.nh) {
        FibNextHop::Encap { vif, .. } => cx.fib.vif(*vif),
        _ => None,
    }
}

/// From the gateway to the packet's sender; `None` when no gateway of the packet's family is known.
fn addresses(vif: &FibVif, packet: &Packet<'_>) -> Option<Addresses> {
    match packet.meta.addresses {
        Addresses::V4 { source: destination, .. } => {
            Some(Addresses::V4 { source: vif.gateway?, destination })
        }
        Addresses::V6 { source: destination, .. } => {
            Some(Addresses::V6 { source: vif.gateway6?, destination })
        }
        Addresses::None | Addresses::Hashed(_) => None,
    }
}

/// Never about errors, groups and later fragments of IPv4, and only to a single host (RFC 1122 section 3.2.2, RFC 4443
/// section 2.4 e).
fn may_be_told(packet: &Packet<'_>) -> bool {
    let meta = &*packet.meta;
    // Of a later fragment's message nobody knows.
    let known = meta.fragment != Fragment::Later;
    let kind = packet.frame.data().get(usize::from(meta.transport)).copied().filter(|_| known);
    let (hosts, is_error) = match meta.addresses {
        Addresses::V4 { source, destination } => (
            is_host(source) && is_host(destination),
            meta.ip_protocol == protocol::ICMP && kind.is_none_or(IcmpError::is_error_v4),
        ),
        Addresses::V6 { source, destination } => (
            is_host6(source) && is_host6(destination),
            meta.ip_protocol == protocol::ICMPV6 && kind.is_none_or(IcmpError::is_error_v6),
        ),
        Addresses::None | Addresses::Hashed(_) => (false, false),
    };
    let later = meta.fragment == Fragment::Later && meta.protocol != Protocol::Ipv6;
    hosts && !is_error && meta.cast == Cast::Unicast && !later
}

fn is_host(address: Ipv4Addr) -> bool {
    let [class, ..] = address.octets();
    !address.is_unspecified() && !address.is_loopback() && class < 224
}

fn is_host6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// The Ethernet header and tags the packet came with: a control word may be in front of them by now.
fn l2_header<'p>(packet: &'p Packet<'_>) -> Option<&'p [u8]> {
    let in_front = packet.frame.data().get(..usize::from(packet.meta.network))?;
    let station = &packet.meta.station.0;
    let behind_word = in_front.get(CONTROL_WORD..).filter(|header| header.starts_with(station));
    Some(behind_word.filter(|_| !in_front.starts_with(station)).unwrap_or(in_front))
}

fn restore_ttl(packet: &mut Packet<'_>) {
    let (ttl, protocol) = (packet.meta.ip_ttl, packet.meta.protocol);
    let network = packet.network_mut();
    if protocol == Protocol::Ipv6 {
        if let Some((ip, _)) = Ipv6::parse_mut(network) {
            ip.set_hop_limit(ttl);
        }
    } else if let Some((ip, _)) = Ipv4::parse_mut(network) {
        ip.set_ttl(ttl);
    }
}

/// Makes an empty frame the message. A sender here gets it out of its own port, in a frame that is its own turned round,
/// tags and all; one behind a tunnel by a route or, if it sent a frame, by the bridge entry of its MAC.
fn tell(
    cx: &Cx<'_>,
    packet: &Packet<'_>,
    frame: &mut Frame,
    (error, addresses, mac): (IcmpError, Addresses, Mac),
) -> Option<(Meta, Next)> {
    let from_fabric = packet.meta.is_from_fabric();
    let l2 = if from_fabric && packet.meta.layer == Layer::L3 { &[] } else { l2_header(packet)? };
    let longest = l2.len() + IcmpError::LONGEST_V6;
    let (front, room) = frame.extend(longest).ok()?.split_at_mut_checked(l2.len())?;
    front.copy_from_slice(l2);
    let mut to = Mac::ZERO;
    if let Some((ethernet, _)) = Ethernet::parse_mut(front) {
        to = ethernet.source();
        ethernet.set_destination(to);
        ethernet.set_source(mac);
    }
    let (length, header, protocol) = match addresses {
        Addresses::V4 { source, destination } => (
            error.emit_v4((source, destination), packet.network(), room)?,
            Ipv4::LEN,
            protocol::ICMP,
        ),
        Addresses::V6 { source, destination } => {
            let length = error.emit_v6((source, destination), packet.network(), room)?;
            (length, Ipv6::LEN, protocol::ICMPV6)
        }
        Addresses::None | Addresses::Hashed(_) => return None,
    };
    frame.trim(l2.len() + length);
    let mut meta = Meta::arriving(packet.meta.rx_vif, Spread::Done);
    meta.rx_kind = packet.meta.rx_kind;
    meta.vrf = packet.meta.vrf;
    meta.protocol = packet.meta.protocol;
    meta.addresses = addresses;
    meta.ip_protocol = protocol;
    meta.ip_ttl = 64;
    meta.hop = Hop::Done;
    meta.layer = packet.meta.layer;
    meta.network = u16::try_from(l2.len()).ok()?;
    meta.transport = u16::try_from(l2.len() + header).ok()?;
    meta.station = to;
    let next = if !from_fabric {
        meta.tx_vif = packet.meta.rx_vif;
        Next::VifTx
    } else if l2.is_empty() {
        Next::Route
    } else {
        let hit = cx.fib.bridge(meta.vrf, to)?;
        match bridge::back_to(cx, &mut Packet { frame, meta: &mut meta }, &hit) {
            Next::Drop(_) => return None,
            next => next,
        }
    };
    Some((meta, next))
}
