//! ARP (RFC 826).

use std::net::IpAddr;

use wire::{Arp, ArpOperation, Ethernet, Mac};

use super::{Message, Question};
use crate::packet::Packet;

/// What the message at the start of `bytes` says; `None` when it is malformed.
pub(super) fn read(bytes: &[u8]) -> Option<Message> {
    let (arp, _) = Arp::parse(bytes)?;
    if arp.sender_mac().is_group() {
        return None; // An answer would be for everybody.
    }
    Some(match arp.operation()? {
        ArpOperation::Request => Message::Question(Question {
            target: IpAddr::V4(arp.target_ip()),
            sender: IpAddr::V4(arp.sender_ip()),
            station: arp.sender_mac(),
            gratuitous: arp.is_gratuitous(),
        }),
        ArpOperation::Reply => Message::Reply { sender: IpAddr::V4(arp.sender_ip()) },
    })
}

/// "Is at this MAC", in place of the question.
pub(super) fn answer(packet: &mut Packet<'_>, mac: Mac) -> Option<()> {
    let (arp, _) = Arp::parse_mut(packet.network_mut())?;
    arp.answer(mac);
    let to = arp.target_mac();
    packet.frame.trim(usize::from(packet.meta.network) + Arp::LEN);
    let (ethernet, _) = Ethernet::parse_mut(packet.frame.data_mut())?;
    ethernet.set_destination(to);
    ethernet.set_source(mac);
    Some(())
}
