//! DSCP and ECN: what a packet's class marks it with (reference dataplane.md section 9), and what tunnels do with the
//! marks of what they carry (RFC 6040, RFC 2983).

use tables::{ClassId, DropReason, Fib, ForwardingClass, OuterHeader, QosMapId};
use wire::{Ipv4, Ipv6, ethernet_payload, ethertype};

use crate::packet::{Marks, Meta, Packet, Protocol};

/// How the DSCP of a packet and that of the tunnel it is in go together (RFC 2983). ECN is always carried (RFC 6040).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DscpMode {
    /// They do not: the outer one is that of the packet's class, else 0, and ends with the tunnel.
    #[default]
    Pipe,
    /// They are one: out and in again.
    Uniform,
}

/// A [`DscpMode`] as packets are judged by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marking {
    /// The bits of a packet's TOS that its tunnel header begins with.
    pub(crate) outward: u8,
    /// 1 where the tunnel header's DSCP is the packet's, 0 where it ends with the tunnel.
    inward: u8,
}

impl Marking {
    pub(crate) fn new(mode: DscpMode) -> Marking {
        match mode {
            DscpMode::Pipe => Marking { outward: ECN, inward: 0 },
            DscpMode::Uniform => Marking { outward: 0xff, inward: 1 },
        }
    }

    /// Whether what is in a tunnel packet with this TOS is to be looked at: ECT(0) and not-ECT change nothing.
    #[inline]
    pub(crate) fn is_news(self, outer: u8) -> bool {
        (outer | self.inward) & 1 != 0
    }
}

const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// Notes the class that a map gives to a packet that has just come in: by its DSCP, or without one by its priority, if it
/// has that.
pub(super) fn classify(fib: &Fib, packet: &mut Packet<'_>, map: QosMapId, priority: Option<u8>) {
    let class = match dscp(packet.frame.data()) {
        Some(dscp) => fib.class_of_dscp(map, dscp),
        None => priority.and_then(|priority| fib.class_of_dot1p(map, priority)),
    };
    if let Some(class) = class {
        packet.meta.marks = packet.meta.marks.with(Marks::CLASSED);
        packet.meta.qos = class.id.0;
    }
}

/// DSCP of the IP packet in a frame.
fn dscp(data: &[u8]) -> Option<u8> {
    let found = ethernet_payload(data)?;
    let network = data.get(found.offset..)?;
    let tos = match found.ethertype {
        ethertype::IPV4 => Ipv4::parse(network).map(|(ip, _)| ip.tos()),
        ethertype::IPV6 => Ipv6::parse(network).map(|(ip, _)| ip.traffic_class()),
        _ => None,
    };
    tos.map(|tos| tos >> 2)
}

/// The class a packet is marked with, while it exists.
pub(crate) fn class<'f>(fib: &'f Fib, meta: &Meta) -> Option<&'f ForwardingClass> {
    let classed = meta.marks.contains(Marks::CLASSED);
    classed.then(|| fib.class(ClassId(meta.qos))).flatten()
}

/// Marks the tunnel header that was just put in front: ECN as inside, DSCP by class or as inside, and the label's traffic
/// class by class. `shim` is where the label is, if there is one. Diagnostic packets keep their TTL outside, so that a trace
/// through the overlay meets the routers of the underlay (reference dataplane.md section 8).
#[cold]
#[inline(never)]
pub(crate) fn mark_outer(
    fib: &Fib,
    packet: &mut Packet<'_>,
    marking: Marking,
    shim: Option<usize>,
) {
    let mut tos = packet.meta.tos & marking.outward;
    let class = class(fib, packet.meta);
    if let Some(class) = class {
        tos = tos & ECN | class.dscp << 2;
    }
    let ttl = packet.meta.ttl;
    let data = packet.frame.data_mut();
    set_tos(data.get_mut(OuterHeader::IP..).unwrap_or_default(), tos);
    if packet.meta.marks.contains(Marks::DIAG) && ttl != 0 {
        set_ttl(data.get_mut(OuterHeader::IP..).unwrap_or_default(), ttl);
    }
    if let Some(class) = class
        && let Some(label) = shim.and_then(|at| data.get_mut(at + 2))
    {
        *label = *label & !0b1110 | class.exp << 1;
    }
}

/// Writes the DSCP of its class into a packet that leaves as it is, for the fabric or the host (section 9).
#[cold]
#[inline(never)]
pub(crate) fn mark_native(fib: &Fib, packet: &mut Packet<'_>) {
    let is_ip = matches!(packet.meta.protocol, Protocol::Ipv4 | Protocol::Ipv6);
    if let Some(class) = class(fib, packet.meta)
        && is_ip
    {
        let tos = packet.meta.tos & ECN | class.dscp << 2;
        packet.meta.tos = tos;
        set_tos(packet.network_mut(), tos);
    }
}

/// What the tunnel header said about what was in it: congestion (RFC 6040 section 4.2), and in uniform mode the DSCP.
///
/// # Errors
/// `InvalidPacket` for congestion that the sender cannot be told of (not-ECT inside).
#[cold]
#[inline(never)]
pub(crate) fn merge(
    packet: &mut Packet<'_>,
    outer: u8,
    marking: Marking,
) -> Result<(), DropReason> {
    if !matches!(packet.meta.protocol, Protocol::Ipv4 | Protocol::Ipv6) {
        return Ok(());
    }
    let inner = packet.meta.tos;
    let ecn = merged_ecn(outer & ECN, inner & ECN).ok_or(DropReason::InvalidPacket)?;
    let dscp = if marking.inward == 0 { inner & !ECN } else { outer & !ECN };
    if dscp | ecn != inner {
        packet.meta.tos = dscp | ecn;
        set_tos(packet.network_mut(), dscp | ecn);
    }
    Ok(())
}

/// RFC 6040 figure 4; `None` is a drop.
fn merged_ecn(outer: u8, inner: u8) -> Option<u8> {
    match (outer, inner) {
        (CE, NOT_ECT) => None,
        (_, NOT_ECT) => Some(NOT_ECT),
        (CE, _) | (_, CE) => Some(CE),
        (ECT_1, _) => Some(ECT_1),
        (_, inner) => Some(inner),
    }
}

fn set_tos(network: &mut [u8], tos: u8) {
    match network.first().map(|byte| byte >> 4) {
        Some(4) => Ipv4::parse_mut(network).iter_mut().for_each(|(ip, _)| ip.set_tos(tos)),
        Some(6) => {
            Ipv6::parse_mut(network).iter_mut().for_each(|(ip, _)| ip.set_traffic_class(tos))
        }
        _ => {}
    }
}

fn set_ttl(network: &mut [u8], ttl: u8) {
    match network.first().map(|byte| byte >> 4) {
        Some(4) => Ipv4::parse_mut(network).iter_mut().for_each(|(ip, _)| ip.set_ttl(ttl)),
        Some(6) => Ipv6::parse_mut(network).iter_mut().for_each(|(ip, _)| ip.set_hop_limit(ttl)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECT_0: u8 = 0b10;

    #[test]
    fn ecn_is_merged_as_the_table_of_rfc_6040_says() {
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, expected) in table {
            for (outer, expected) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(expected) {
                assert_eq!(merged_ecn(outer, inner), expected, "{outer:02b} around {inner:02b}");
            }
        }
    }
}
