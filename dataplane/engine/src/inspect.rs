//! The one look at a packet's headers: lengths checked against the frame, offsets noted, padding cut off.
//!
//! What passes here cannot surprise a later node: an `Ipv4` or `Ipv6` packet has its whole fixed header, the length
//! its header says, and, unless it is a later fragment, the fixed part of a known transport header.

use tables::DropReason;
use wire::{Ethernet, Icmp, Ipv4, Ipv6, Mac, checksum, ethertype, protocol};

use crate::packet::{Addresses, Cast, Fragment, Packet, Protocol};

/// Looks through an Ethernet frame. The frame is cut to what its IP header says.
///
/// # Errors
/// `short` when it ends within the Ethernet header; otherwise why the network header is not to be believed.
#[inline]
pub(crate) fn ethernet(packet: &mut Packet<'_>, short: DropReason) -> Result<(), DropReason> {
    let data = packet.frame.data();
    let Some(found) = wire::ethernet_payload(data) else { return Err(short) };
    let station = Ethernet::parse(data).map_or(Mac::ZERO, |(ethernet, _)| ethernet.destination());
    let network = data.get(found.offset..).unwrap_or_default();
    let seen = match found.ethertype {
        ethertype::IPV4 => Some(ipv4(network)?),
        ethertype::IPV6 => Some(ipv6(network)?),
        _ => None,
    };
    packet.meta.station = station;
    packet.meta.cast = if station.is_group() { Cast::Group } else { Cast::Unicast };
    packet.meta.vlan = found.vlan;
    packet.meta.network = u16::try_from(found.offset).map_err(|_| short)?;
    match seen {
        Some(seen) => settle(packet, &seen),
        None => {
            let arp = found.ethertype == ethertype::ARP;
            packet.meta.protocol = if arp { Protocol::Arp } else { Protocol::Other };
            packet.meta.addresses = Addresses::None;
            Ok(())
        }
    }
}

/// Looks at an IP packet of either version, at the start of the frame.
///
/// # Errors
/// `InvalidProtocol` when it is neither, otherwise as [`ethernet`].
#[inline]
pub(crate) fn ip(packet: &mut Packet<'_>) -> Result<(), DropReason> {
    let data = packet.frame.data();
    let seen = match data.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(data)?,
        Some(6) => ipv6(data)?,
        Some(_) => return Err(DropReason::InvalidProtocol),
        None => return Err(DropReason::Pull),
    };
    packet.meta.network = 0;
    settle(packet, &seen)
}

/// What an IP header says, lengths from its own start.
struct Seen {
    protocol: Protocol,
    addresses: Addresses,
    ports: u32,
    id: u16,
    ttl: u8,
    length: usize,
    transport: usize,
    ip_protocol: u8,
    fragment: Fragment,
}

#[inline]
fn ipv4(bytes: &[u8]) -> Result<Seen, DropReason> {
    let Some((header, _)) = Ipv4::parse(bytes) else { return Err(DropReason::Pull) };
    if header.version() != 4 {
        return Err(DropReason::InvalidProtocol);
    }
    let (transport, length) = (header.header_length(), usize::from(header.total_length()));
    if transport < Ipv4::LEN || length < transport || length > bytes.len() {
        return Err(DropReason::InvalidPacket);
    }
    let fragment = match (header.is_fragment(), header.fragment_offset()) {
        (false, _) => Fragment::Whole,
        (true, 0) => Fragment::Head,
        (true, _) => Fragment::Later,
    };
    let ip_protocol = header.protocol();
    if fragment != Fragment::Later && length - transport < least_length(ip_protocol) {
        return Err(DropReason::InvalidPacket);
    }
    Ok(Seen {
        protocol: Protocol::Ipv4,
        addresses: Addresses::V4 { source: header.source(), destination: header.destination() },
        ports: ports(bytes.get(transport..), ip_protocol, fragment),
        id: header.id(),
        ttl: header.ttl(),
        length,
        transport,
        ip_protocol,
        fragment,
    })
}

fn ipv6(bytes: &[u8]) -> Result<Seen, DropReason> {
    let Some((header, _)) = Ipv6::parse(bytes) else { return Err(DropReason::Pull) };
    if header.version() != 6 {
        return Err(DropReason::InvalidProtocol);
    }
    let length = Ipv6::LEN + usize::from(header.payload_length());
    let whole = bytes.get(..length).ok_or(DropReason::InvalidPacket)?;
    let found = wire::ipv6_payload(whole).ok_or(DropReason::InvalidPacket)?;
    let fragment = match found.fragment {
        None => Fragment::Whole,
        Some(fragment) if fragment.is_atomic() => Fragment::Whole,
        Some(fragment) if fragment.offset == 0 => Fragment::Head,
        Some(_) => Fragment::Later,
    };
    let segment = whole.get(found.offset..).unwrap_or_default();
    let least = match found.protocol {
        protocol::ICMPV6 => {
            Icmp::parse(segment).map_or(Icmp::LEN, |(icmp, _)| icmp.least_length_v6())
        }
        other => least_length(other),
    };
    if fragment != Fragment::Later && segment.len() < least {
        return Err(DropReason::InvalidPacket);
    }
    Ok(Seen {
        protocol: Protocol::Ipv6,
        addresses: Addresses::V6 { source: header.source(), destination: header.destination() },
        ports: ports(Some(segment), found.protocol, fragment),
        id: 0,
        ttl: header.hop_limit(),
        length,
        transport: found.offset,
        ip_protocol: found.protocol,
        fragment,
    })
}

/// Source and destination port in one word; none in a fragment, so that all pieces of a datagram look alike.
#[inline]
fn ports(segment: Option<&[u8]>, ip_protocol: u8, fragment: Fragment) -> u32 {
    match ip_protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP if fragment == Fragment::Whole => {
            let ports = segment.and_then(|segment| segment.first_chunk::<4>());
            ports.map_or(0, |ports| u32::from_be_bytes(*ports))
        }
        _ => 0,
    }
}

/// Notes what was seen, and cuts off what lies behind the IP packet.
#[inline]
fn settle(packet: &mut Packet<'_>, seen: &Seen) -> Result<(), DropReason> {
    let network = usize::from(packet.meta.network);
    packet.frame.trim(network + seen.length);
    packet.meta.transport =
        u16::try_from(network + seen.transport).map_err(|_| DropReason::InvalidPacket)?;
    packet.meta.protocol = seen.protocol;
    packet.meta.addresses = seen.addresses;
    packet.meta.ports = seen.ports;
    packet.meta.id = seen.id;
    packet.meta.ip_ttl = seen.ttl;
    packet.meta.ip_protocol = seen.ip_protocol;
    packet.meta.fragment = seen.fragment;
    Ok(())
}

/// The fixed part of the transport header: 0 for transports that are not looked into.
#[inline]
fn least_length(ip_protocol: u8) -> usize {
    match ip_protocol {
        protocol::TCP => wire::Tcp::LEN,
        protocol::UDP | protocol::ICMP => wire::Udp::LEN,
        protocol::GRE => wire::Gre::LEN,
        protocol::SCTP => 12,
        _ => 0,
    }
}

/// Completes a TCP or UDP checksum that a local stack left for its network card to finish. Right and wrong ones stay.
#[inline]
pub(crate) fn complete_checksum(packet: &mut Packet<'_>) {
    if packet.meta.fragment != Fragment::Whole {
        return;
    }
    let Some(transport) = checksum::Transport::from_protocol(packet.meta.ip_protocol) else {
        return;
    };
    let Some(pseudo) = pseudo(packet) else { return };
    let at = usize::from(packet.meta.transport);
    if let Some(segment) = packet.frame.data_mut().get_mut(at..) {
        checksum::complete(transport, pseudo, segment);
    }
}

#[inline]
fn pseudo(packet: &Packet<'_>) -> Option<checksum::Sum> {
    let length = packet.frame.len().checked_sub(usize::from(packet.meta.transport))?;
    let protocol = packet.meta.ip_protocol;
    match packet.meta.addresses {
        Addresses::V4 { source, destination } => {
            let length = u16::try_from(length).ok()?;
            Some(checksum::pseudo_v4(source, destination, protocol, length))
        }
        Addresses::V6 { source, destination } => {
            let length = u32::try_from(length).ok()?;
            Some(checksum::pseudo_v6(source, destination, protocol, length))
        }
        Addresses::None => None,
    }
}
