//! The one look at a packet's headers: lengths checked against the frame, offsets noted, padding cut off.
//!
//! What passes here cannot surprise a later node: an `Ipv4` or `Ipv6` packet has its whole fixed header, the length
//! its header says, and, unless it is a later fragment, the fixed part of a known transport header.

use port::{Segmentation, Train};
use std::num::NonZeroU16;

use tables::DropReason;
use wire::{Ethernet, Icmp, Ipv4, Ipv6, checksum, ethertype, protocol};

use crate::packet::{Addresses, Cast, Fragment, Marks, Meta, Packet, Protocol};

/// Where the network header is in a frame without tags.
const UNTAGGED: u16 = 14;

/// Looks through an Ethernet frame. The frame is cut to what its IP header says.
///
/// # Errors
/// `short` when it ends within the Ethernet header; otherwise why the network header is not to be believed.
#[inline(always)]
pub(crate) fn ethernet(packet: &mut Packet<'_>, short: DropReason) -> Result<(), DropReason> {
    let (frame, meta) = (&mut *packet.frame, &mut *packet.meta);
    let data = frame.data();
    let Some((header, rest)) = Ethernet::parse(data) else { return Err(short) };
    meta.station = header.destination();
    meta.cast = if meta.station.is_group() { Cast::Group } else { Cast::Unicast };
    if header.ethertype() == ethertype::IPV4 {
        // Most packets: everything is where it always is.
        meta.vlan = None;
        meta.network = UNTAGGED;
        let length = ipv4(meta, rest)?;
        frame.trim(Ethernet::LEN + length);
        return Ok(());
    }
    let Some(found) = wire::ethernet_payload(data) else { return Err(short) };
    let Some(network) = data.get(found.offset..) else { return Err(short) };
    meta.vlan = found.vlan.and_then(NonZeroU16::new);
    meta.network = u16::try_from(found.offset).map_err(|_| short)?;
    let length = match found.ethertype {
        ethertype::IPV4 => tagged_ipv4(meta, network)?,
        ethertype::IPV6 => ipv6(meta, network)?,
        other => {
            meta.protocol = if other == ethertype::ARP { Protocol::Arp } else { Protocol::Other };
            if other == ethertype::ARP {
                meta.marks = meta.marks.with(Marks::CONTROL);
            }
            meta.addresses = Addresses::None;
            meta.fragment = Fragment::Whole;
            meta.tos = 0;
            return Ok(());
        }
    };
    frame.trim(found.offset + length);
    Ok(())
}

/// Looks at an IP packet of either version, at the start of the frame.
///
/// # Errors
/// `InvalidProtocol` when it is neither, otherwise as [`ethernet`].
#[inline(always)]
pub(crate) fn ip(packet: &mut Packet<'_>) -> Result<(), DropReason> {
    let (frame, meta) = (&mut *packet.frame, &mut *packet.meta);
    let data = frame.data();
    meta.network = 0;
    let length = match data.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(meta, data)?,
        Some(6) => ipv6(meta, data)?,
        Some(_) => return Err(DropReason::InvalidProtocol),
        None => return Err(DropReason::Pull),
    };
    frame.trim(length);
    Ok(())
}

/// Notes what an IPv4 header at `meta.network` says; the length of the packet.
#[inline]
fn ipv4(meta: &mut Meta, bytes: &[u8]) -> Result<usize, DropReason> {
    let Some((header, _)) = Ipv4::parse(bytes) else { return Err(DropReason::Pull) };
    if header.version() != 4 {
        return Err(DropReason::InvalidProtocol);
    }
    let (transport, length) = (header.header_length(), usize::from(header.total_length()));
    if transport < Ipv4::LEN {
        return Err(DropReason::InvalidPacket);
    }
    let segment = bytes.get(transport..length).ok_or(DropReason::InvalidPacket)?;
    let fragment = match (header.is_fragment(), header.fragment_offset()) {
        (false, _) => Fragment::Whole,
        (true, 0) => Fragment::Head,
        (true, _) => Fragment::Later,
    };
    let transport_header = TransportHeader::of(header.protocol());
    if fragment != Fragment::Later && segment.len() < transport_header.least_length() {
        return Err(DropReason::InvalidPacket);
    }
    meta.protocol = Protocol::Ipv4;
    meta.addresses = Addresses::V4 { source: header.source(), destination: header.destination() };
    meta.ports = transport_header.ports(segment, fragment);
    meta.id = header.id();
    meta.ip_ttl = header.ttl();
    meta.tos = header.tos();
    meta.ip_protocol = header.protocol();
    meta.fragment = fragment;
    meta.transport = meta.network.wrapping_add(u16::try_from(transport).unwrap_or(0));
    Ok(length)
}

#[inline(never)]
fn tagged_ipv4(meta: &mut Meta, bytes: &[u8]) -> Result<usize, DropReason> {
    ipv4(meta, bytes)
}

/// Notes what an IPv6 header at `meta.network` and its extensions say; the length of the packet.
#[inline(never)]
fn ipv6(meta: &mut Meta, bytes: &[u8]) -> Result<usize, DropReason> {
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
    let transport_header = TransportHeader::of(found.protocol);
    let least = match found.protocol {
        protocol::ICMPV6 => {
            Icmp::parse(segment).map_or(Icmp::LEN, |(icmp, _)| icmp.least_length_v6())
        }
        _ => transport_header.least_length(),
    };
    if fragment != Fragment::Later && segment.len() < least {
        return Err(DropReason::InvalidPacket);
    }
    let transport = usize::from(meta.network) + found.offset;
    meta.transport = u16::try_from(transport).map_err(|_| DropReason::InvalidPacket)?;
    meta.protocol = Protocol::Ipv6;
    meta.addresses = Addresses::V6 { source: header.source(), destination: header.destination() };
    meta.ports = transport_header.ports(segment, fragment);
    meta.id = 0;
    meta.ip_ttl = header.hop_limit();
    meta.tos = header.traffic_class();
    meta.ip_protocol = found.protocol;
    meta.fragment = fragment;
    if is_control(meta, segment) {
        meta.marks = meta.marks.with(Marks::CONTROL);
    }
    Ok(length)
}

/// Whether it is a message of neighbour discovery (RFC 4861: ICMPv6 types 133 to 137) or of a DHCPv6 client to a server.
fn is_control(meta: &Meta, segment: &[u8]) -> bool {
    const CLIENT_TO_SERVER: u32 = 546 << 16 | 547;
    match meta.ip_protocol {
        protocol::ICMPV6 if meta.fragment == Fragment::Whole => {
            segment.first().is_some_and(|kind| (133..=137).contains(kind))
        }
        protocol::UDP => meta.ports == CLIENT_TO_SERVER,
        _ => false,
    }
}

/// What is known of a transport protocol, in a byte: the length of its header's fixed part (0 for what is not looked
/// into), and whether it starts with two ports.
#[derive(Clone, Copy)]
struct TransportHeader(u8);

impl TransportHeader {
    const PORTS: u8 = 0x80;

    #[allow(clippy::indexing_slicing, reason = "checked when the constant is made")]
    const ALL: [TransportHeader; 256] = {
        let mut all = [TransportHeader(0); 256];
        all[protocol::TCP as usize] = TransportHeader(20 | TransportHeader::PORTS);
        all[protocol::UDP as usize] = TransportHeader(8 | TransportHeader::PORTS);
        all[protocol::SCTP as usize] = TransportHeader(12 | TransportHeader::PORTS);
        all[protocol::ICMP as usize] = TransportHeader(8);
        all[protocol::GRE as usize] = TransportHeader(4);
        all
    };

    #[inline]
    fn of(protocol: u8) -> TransportHeader {
        TransportHeader::ALL.get(usize::from(protocol)).copied().unwrap_or(TransportHeader(0))
    }

    #[inline]
    fn least_length(self) -> usize {
        usize::from(self.0 & !TransportHeader::PORTS)
    }

    /// Source and destination port in one word; none in a fragment, so that all pieces of a datagram look alike.
    #[inline]
    fn ports(self, segment: &[u8], fragment: Fragment) -> u32 {
        if self.0 & TransportHeader::PORTS == 0 || fragment != Fragment::Whole {
            return 0;
        }
        segment.first_chunk().map_or(0, |ports| u32::from_be_bytes(*ports))
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
    let at = usize::from(packet.meta.transport);
    let Some(segment) = packet.frame.data().get(at..) else { return };
    let protocol = packet.meta.ip_protocol;
    let pseudo = match packet.meta.addresses {
        Addresses::V4 { source, destination } => {
            let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
            checksum::pseudo_v4(source, destination, protocol, length)
        }
        Addresses::V6 { source, destination } => {
            let length = u32::try_from(segment.len()).unwrap_or(u32::MAX);
            checksum::pseudo_v6(source, destination, protocol, length)
        }
        Addresses::None | Addresses::Hashed(_) => return,
    };
    if checksum::is_unfinished(transport, pseudo, segment) {
        finish_checksum(packet, transport);
    }
}

/// A train's is finished in its segments; a TAP that takes it whole gets it as it is.
#[inline(never)]
fn finish_checksum(packet: &mut Packet<'_>, transport: checksum::Transport) {
    if packet.frame.is_large() && note_train(packet) {
        return;
    }
    let at = usize::from(packet.meta.transport);
    if let Some(segment) = packet.frame.data_mut().get_mut(at..) {
        checksum::finish(transport, segment);
    }
}

/// Notes where the network header of a train is, if what its port said of it and its headers agree: without, nobody cuts
/// it. Whether it is a train.
pub(crate) fn note_train(packet: &mut Packet<'_>) -> bool {
    let (frame, meta) = (&mut *packet.frame, &*packet.meta);
    let Some(train) = frame.train() else { return false };
    let (protocol, ip_protocol, sum) = match train.segmentation {
        Segmentation::TcpV4 { .. } => (Protocol::Ipv4, protocol::TCP, TCP_SUM),
        Segmentation::TcpV6 { .. } => (Protocol::Ipv6, protocol::TCP, TCP_SUM),
        Segmentation::Udp => (meta.protocol, protocol::UDP, UDP_SUM),
    };
    if meta.protocol == protocol
        && meta.ip_protocol == ip_protocol
        && meta.fragment == Fragment::Whole
        && (train.transport, train.sum) == (meta.transport, sum)
    {
        frame.set_train(Some(&Train { network: Some(meta.network), ..train }));
    }
    true
}

/// Where a checksum is in a TCP header, and in a UDP header.
const TCP_SUM: u16 = 16;
const UDP_SUM: u16 = 6;
