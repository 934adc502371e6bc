//! Captures of packets that are cut or contradict themselves: each is counted once, at the layer that is broken.

use Expect::{All, Each};
use Is::*;
use tables::DropReason::{InvalidArp, InvalidPacket, InvalidProtocol, Pull};

use crate::row::{Expect, Is, Row};

pub(crate) fn rows() -> Vec<Row> {
    let invalid = || All(Drop(InvalidPacket));
    vec![
        Row::tenant("zk-ipv4-total-length-0", invalid(), "Invalid Packets"),
        Row::tenant("zk-ipv4-ihl-60-in-20", invalid(), "Invalid Packets"),
        Row::tenant("zk-ipv4-truncated-broken", invalid(), "Invalid Packets"),
        Row::tenant("zk-ipv4-short-header", All(Drop(Pull)), "Pull Fails"),
        Row::tenant("zk-ipv6-short-header", All(Drop(Pull)), "Pull Fails"),
        Row::tenant("zk-ipv6-hbh-cut", invalid(), "Invalid Packets"),
        Row::tenant("sv-ipv4-total-65028-in-1530", invalid(), "Invalid Packets"),
        Row::tenant("sv-l4-headers-too-small", invalid(), "Invalid Packets, eight times"),
        Row::tenant("sv-sctp-short", invalid(), "Invalid Packets"),
        Row::tenant(
            "pp-ipv4-malformed",
            Each(&[Drop(InvalidPacket), Drop(InvalidProtocol)]),
            "a length of 11: Invalid Packets; version 5: Invalid Protocol",
        ),
        Row::tenant(
            "pp-ipv4-total-length-0-tso",
            invalid(),
            "Invalid Packets: nothing says that it is a large segment",
        ),
        Row::tenant("td-ethertype-v4-version-6", All(Drop(InvalidProtocol)), "Invalid Protocol"),
        Row::tenant(
            "td-ethertype-v6-bad-version",
            Each(&[Flooded, Drop(InvalidProtocol), Flooded, Drop(InvalidProtocol)]),
            "good solicitations flooded as duplicate address detection, the others Invalid Protocol",
        ),
        Row::tenant("td-tcp-cut", invalid(), "Invalid Packets"),
        Row::tenant("td-v6-frag-junk", invalid(), "Invalid Packets, no fragment entry"),
        Row::tenant("td-arp-hlen-14", All(Drop(InvalidArp)), "Invalid ARP"),
    ]
}
