//! Which flow a packet belongs to (reference dataplane.md section 14.1).

use tables::flow::{FlowAddresses, FlowKey};
use tables::{DropReason, Fib, FibNextHop, FibVif, NhId, VifFeatures, VifId};
use wire::{Icmp, IcmpError, Ipv4, Ipv6, protocol};

use super::fat;
use crate::assembler::Datagram;
use crate::feature::tag;
use crate::graph::Cx;
use crate::packet::{Addresses, Fragment, Meta, Packet};

/// A packet's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// It belongs to this one.
    Flow(FlowKey),
    /// It is an ICMP error about a packet that the *other* direction of this one sent.
    Error(FlowKey),
}

/// The scope of a packet's flow, if its metadata alone tells: not where it depends on a VLAN, or flows are made coarser.
#[inline(never)]
pub(crate) fn plain_scope(fib: &Fib, meta: &Meta) -> Option<NhId> {
    if !meta.is_from_workload() {
        let is_fat = of_workload(fib, meta).is_some_and(fat::is_fat);
        return (!is_fat).then(|| of_receiver(fib, meta.nh));
    }
    let vif = fib.vif(meta.rx_vif)?;
    let by_vlan = vif.features.contains(VifFeatures::SERVICE);
    (!by_vlan && !fat::is_fat(vif)).then(|| vif.next_hop.unwrap_or(NhId(0)))
}

/// The interface whose flow it is: where it came in, or where it is about to be delivered.
fn of_workload<'f>(fib: &'f Fib, meta: &Meta) -> Option<&'f FibVif> {
    match fib.next_hop(meta.nh) {
        _ if meta.is_from_workload() => fib.vif(meta.rx_vif),
        FibNextHop::Encap { vif, .. } => fib.vif(*vif),
        _ => None,
    }
}

/// The coarser key of a packet, where its interface asks for one.
#[inline]
pub(crate) fn coarse(fib: &Fib, meta: &Meta, key: &FlowKey) -> Option<FlowKey> {
    fat::coarse(of_workload(fib, meta)?, key, meta.is_from_workload())
}

/// The next hop that stands for the interface whose flow it is: of what a workload sends its interface's, of what goes to
/// a workload that one's, else the next hop itself.
#[inline]
pub(crate) fn scope(fib: &Fib, packet: &Packet<'_>) -> NhId {
    match packet.meta.is_from_workload() {
        true => of_sender(fib, packet),
        false => of_receiver(fib, packet.meta.nh),
    }
}

fn of_sender(fib: &Fib, packet: &Packet<'_>) -> NhId {
    let Some(vif) = fib.vif(packet.meta.rx_vif) else { return NhId(0) };
    if vif.features.contains(VifFeatures::SERVICE)
        && let Some((vlan, _)) = tag::outer(packet.frame.data())
        && let Some(assigned) = vif.extras.as_ref().and_then(|extras| extras.assignment(vlan))
        && let Some(next_hop) = assigned.next_hop
    {
        return next_hop;
    }
    vif.next_hop.unwrap_or(NhId(0))
}

/// The scope of flows to what a next hop leads to.
pub(crate) fn of_receiver(fib: &Fib, next_hop: NhId) -> NhId {
    let of_vif = |vif: VifId| fib.vif(vif)?.next_hop;
    match fib.next_hop(next_hop) {
        FibNextHop::Encap { vif, .. } => of_vif(*vif).unwrap_or(next_hop),
        _ => next_hop,
    }
}

/// The key of a whole packet with ports, which metadata alone tells: what nearly all are.
#[inline]
pub(crate) fn plain(meta: &Meta, scope: NhId) -> Option<FlowKey> {
    let has_ports = matches!(meta.ip_protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    if !has_ports || meta.fragment != Fragment::Whole {
        return None;
    }
    of_ports(meta, scope)
}

/// The same of a packet that is known to be one.
#[inline]
pub(crate) fn of_ports(meta: &Meta, scope: NhId) -> Option<FlowKey> {
    let addresses = addresses(meta)?;
    Some(FlowKey { scope, protocol: meta.ip_protocol, ports: meta.ports, addresses })
}

#[inline]
pub(crate) fn addresses(meta: &Meta) -> Option<FlowAddresses> {
    match meta.addresses {
        Addresses::V4 { source, destination } => Some(FlowAddresses::V4 { source, destination }),
        Addresses::V6 { source, destination } => Some(FlowAddresses::V6 { source, destination }),
        Addresses::None | Addresses::Hashed(_) => None,
    }
}

/// The key of any packet.
///
/// # Errors
/// `FlowUnusable` for a later fragment whose head is not known and for what is no IP, `IcmpError` for an error about an
/// error or about too
/// little to tell.
pub(crate) fn of(cx: &Cx<'_>, packet: &mut Packet<'_>, scope: NhId) -> Result<Keyed, DropReason> {
    if let Some(key) = plain(packet.meta, scope) {
        return Ok(Keyed::Flow(key));
    }
    let addresses = addresses(packet.meta).ok_or(DropReason::FlowUnusable)?;
    let protocol = packet.meta.ip_protocol;
    let key = |ports| Keyed::Flow(FlowKey { scope, protocol, ports, addresses });
    if packet.meta.fragment == Fragment::Later {
        let datagram = Datagram::of(packet);
        let ports = cx.assembler.ports(&datagram).ok_or(DropReason::FlowUnusable)?;
        return Ok(key(ports));
    }
    let at = usize::from(packet.meta.transport);
    let segment = packet.frame.data().get(at..).unwrap_or_default();
    match protocol {
        protocol::ICMP | protocol::ICMPV6 => match error(packet.meta, segment) {
            Some(quoted) => {
                quoted_key(quoted, scope).map(Keyed::Error).ok_or(DropReason::IcmpError)
            }
            None => Ok(key(ports(protocol, segment))),
        },
        _ => Ok(key(ports(protocol, segment))),
    }
}

/// Source and destination port of a transport header, or what stands for them.
pub(crate) fn ports(protocol: u8, segment: &[u8]) -> u32 {
    match (protocol, segment) {
        (protocol::TCP | protocol::UDP | protocol::SCTP, [a, b, c, d, ..]) => {
            u32::from_be_bytes([*a, *b, *c, *d])
        }
        (protocol::ICMP, [0 | 8, _, _, _, high, low, ..])
        | (protocol::ICMPV6, [128 | 129, _, _, _, high, low, ..]) => {
            u32::from_be_bytes([*high, *low, 0, 0])
        }
        (protocol::ICMP | protocol::ICMPV6, [kind, ..]) => u32::from(*kind),
        _ => 0,
    }
}

/// Where an ICMP error's quote begins (RFC 792, RFC 4443 section 3).
pub(crate) const QUOTE: usize = 8;

/// What an ICMP error quotes.
fn error<'p>(meta: &Meta, segment: &'p [u8]) -> Option<&'p [u8]> {
    let kind = Icmp::parse(segment)?.0.kind();
    let is_error = match meta.ip_protocol {
        protocol::ICMP => IcmpError::is_error_v4(kind),
        // Redirects are neighbour discovery.
        _ => kind < 128,
    };
    is_error.then(|| segment.get(QUOTE..).unwrap_or_default())
}

/// The key of packets that travel as the error does: the quoted one's turned round. `None` when it is an error itself, or
/// cut before its ports.
fn quoted_key(quoted: &[u8], scope: NhId) -> Option<FlowKey> {
    let (protocol, addresses, rest, first) = if quoted.first()? >> 4 == 6 {
        let (ip, _) = Ipv6::parse(quoted)?;
        let found = wire::ipv6_payload(quoted)?;
        let first = found.fragment.is_none_or(|fragment| fragment.offset == 0);
        let addresses = FlowAddresses::V6 { source: ip.source(), destination: ip.destination() };
        (found.protocol, addresses, quoted.get(found.offset..)?, first)
    } else {
        let (ip, _) = Ipv4::parse(quoted)?;
        let first = ip.fragment_offset() == 0;
        let addresses = FlowAddresses::V4 { source: ip.source(), destination: ip.destination() };
        (ip.protocol(), addresses, quoted.get(ip.header_length()..)?, first)
    };
    let is_error = match (protocol, rest.first()) {
        (protocol::ICMP, Some(kind)) => IcmpError::is_error_v4(*kind),
        (protocol::ICMPV6, Some(kind)) => *kind < 128,
        _ => false,
    };
    // Eight bytes are what has to be quoted (RFC 792).
    if !first || is_error || rest.len() < 8 {
        return None;
    }
    Some(FlowKey { scope, protocol, ports: ports(protocol, rest), addresses }.reversed(scope))
}
