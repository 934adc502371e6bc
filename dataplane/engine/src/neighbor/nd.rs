//! IPv6 neighbour discovery (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use wire::{Ethernet, Icmp, Ipv6, NeighborMessage, checksum, icmp6, protocol};

use super::{Answer, Message, Question};
use crate::packet::{Addresses, Packet};

const HOP_LIMIT: u8 = 255;

/// What the ICMPv6 message of a packet says. Only a solicitation that RFC 4861 section 7.1.1 calls valid, with a source
/// address and a link-layer address, is a question: one without a source asks whether an address is free, and only who
/// has it may answer.
pub(super) fn read(packet: &Packet<'_>) -> Message {
    let Addresses::V6 { source, destination } = packet.meta.addresses else {
        return Message::Other;
    };
    let at = usize::from(packet.meta.transport);
    let message = packet.frame.data().get(at..).unwrap_or_default();
    let valid = packet.meta.ip_ttl == HOP_LIMIT && has_right_sum(source, destination, message);
    match NeighborMessage::parse(message) {
        Some((head, options)) if valid && head.code() == 0 => match head.kind() {
            icmp6::NEIGHBOR_SOLICITATION => solicitation(packet, source, head.target(), options),
            icmp6::NEIGHBOR_ADVERTISEMENT => Message::Reply { sender: IpAddr::V6(source) },
            _ => Message::Other,
        },
        _ => Message::Other,
    }
}

fn solicitation(
    packet: &Packet<'_>,
    source: Ipv6Addr,
    target: Ipv6Addr,
    options: &[u8],
) -> Message {
    if source.is_unspecified() || target.is_multicast() {
        return Message::Other;
    }
    let station = match icmp6::link_layer_address(options, icmp6::SOURCE_LINK_LAYER) {
        Ok(Some(mac)) if !mac.is_group() && !mac.is_zero() => mac,
        // A unicast question may leave it out: whoever asks one has sent us frames before.
        Ok(None) if !packet.meta.station.is_group() => match Ethernet::parse(packet.frame.data()) {
            Some((ethernet, _)) if !ethernet.source().is_group() => ethernet.source(),
            _ => return Message::Other,
        },
        _ => return Message::Other,
    };
    Message::Question(Question {
        target: IpAddr::V6(target),
        sender: IpAddr::V6(source),
        station,
        gratuitous: source == target,
    })
}

fn has_right_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> bool {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let sum = checksum::pseudo_v6(source, destination, protocol::ICMPV6, length).bytes(message);
    sum.checksum() == 0
}

/// The advertisement in place of the question: solicited, override, router if the MAC is the router's.
pub(super) fn answer(packet: &mut Packet<'_>, question: &Question, answer: Answer) -> Option<()> {
    let (IpAddr::V6(target), IpAddr::V6(asker)) = (question.target, question.sender) else {
        return None;
    };
    const OPTION: usize = 8;
    const LENGTH: usize = NeighborMessage::LEN + OPTION;
    let network = usize::from(packet.meta.network);
    packet.frame.set_len(network + Ipv6::LEN + LENGTH).ok()?;
    let Answer { mac, router } = answer;
    let length = u16::try_from(LENGTH).ok()?;
    let header = Ipv6::new(target, asker, protocol::ICMPV6, HOP_LIMIT, length);
    let bytes = packet.network_mut();
    header.emit(bytes)?;
    let message = bytes.get_mut(Ipv6::LEN..)?;
    NeighborMessage::advertisement(target, router).emit(message)?;
    let option = message.get_mut(NeighborMessage::LEN..)?;
    option.copy_from_slice(&icmp6::link_layer_option(icmp6::TARGET_LINK_LAYER, mac));
    let sum = checksum::pseudo_v6(target, asker, protocol::ICMPV6, u32::from(length));
    let sum = sum.bytes(message).checksum();
    Icmp::parse_mut(message)?.0.set_checksum(sum);
    let (ethernet, _) = Ethernet::parse_mut(packet.frame.data_mut())?;
    ethernet.set_destination(question.station);
    ethernet.set_source(mac);
    Some(())
}
