//! Which ICMP errors are about this node's own tunnels: what they tell is the agent's business, not the host's.

use wire::{Icmp, Ipv4, Ipv6, Udp, ipv6_payload, port, protocol};

use crate::packet::{Addresses, Fragment, Outer, Packet};

/// ICMP destination unreachable and time exceeded (RFC 792).
const V4: [u8; 2] = [3, 11];
/// ICMPv6 destination unreachable, packet too big and time exceeded (RFC 4443).
const V6: [u8; 3] = [1, 2, 3];

/// An error from the fabric itself, no tenant's, about a packet of the node it has been sent to: GRE, or UDP to a port of
/// MPLS (reference dataplane.md section 10.4).
#[inline]
pub(super) fn is_about_tunnel(packet: &Packet<'_>) -> bool {
    let meta = &packet.meta;
    meta.is_from_fabric()
        && meta.outer == Outer::None
        && matches!(meta.ip_protocol, protocol::ICMP | protocol::ICMPV6)
        && meta.fragment == Fragment::Whole
        && question(packet).is_some_and(is_tunnel)
}

/// What the error is about, if who gets the error has sent it: its protocol and what is there of its transport header.
fn question<'p>(packet: &'p Packet<'_>) -> Option<(u8, &'p [u8])> {
    let message = packet.frame.data().get(usize::from(packet.meta.transport)..)?;
    let (icmp, rest) = Icmp::parse(message)?;
    // Behind four bytes that depend on the kind (unused, or an MTU).
    let body = rest.get(4..)?;
    match packet.meta.addresses {
        Addresses::V4 { destination, .. } if V4.contains(&icmp.kind()) => {
            let (ip, _) = Ipv4::parse(body).filter(|(ip, _)| ip.source() == destination)?;
            Some((ip.protocol(), body.get(ip.header_length()..)?))
        }
        Addresses::V6 { destination, .. } if V6.contains(&icmp.kind()) => {
            Ipv6::parse(body).filter(|(ip, _)| ip.source() == destination)?;
            let found = ipv6_payload(body)?;
            Some((found.protocol, body.get(found.offset..)?))
        }
        Addresses::V4 { .. } | Addresses::V6 { .. } | Addresses::None | Addresses::Hashed(_) => {
            None
        }
    }
}

fn is_tunnel((protocol, transport): (u8, &[u8])) -> bool {
    match protocol {
        protocol::GRE => true,
        protocol::UDP => Udp::parse(transport).is_some_and(|(udp, _)| {
            matches!(udp.destination(), port::MPLS_OVER_UDP | port::MPLS_OVER_UDP_OLD)
        }),
        _ => false,
    }
}
