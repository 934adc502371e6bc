//! Every header parser of `wire`, at every offset that another parser would look at.

use std::hint::black_box;

use wire::{
    Arp, Cut, Ethernet, Gre, Icmp, IcmpError, Ipv4, Ipv6, Mpls, Tcp, Udp, Vxlan, checksum,
    ethernet_payload, ipv6_payload,
};

/// Parses the bytes as everything, and what an Ethernet frame leads to as what it says it is.
pub fn headers(bytes: &[u8]) {
    each(bytes);
    if let Some(found) = ethernet_payload(bytes) {
        assert!(found.offset <= bytes.len());
        each(&bytes[found.offset..]);
    }
    if let Some(found) = ipv6_payload(bytes) {
        assert!(found.offset <= bytes.len());
        each(&bytes[found.offset..]);
    }
}

fn each(bytes: &[u8]) {
    if let Some((ethernet, rest)) = Ethernet::parse(bytes) {
        black_box((ethernet.destination(), ethernet.source(), ethernet.ethertype(), rest));
    }
    if let Some((arp, _)) = Arp::parse(bytes) {
        black_box((arp.operation(), arp.is_gratuitous(), arp.sender_mac(), arp.target_ip()));
        let mut copy = bytes.to_vec();
        if let Some((arp, _)) = Arp::parse_mut(&mut copy) {
            arp.answer(wire::Mac::GATEWAY);
        }
    }
    if let Some((ip, _)) = Ipv4::parse(bytes) {
        black_box((ip.header_length(), ip.total_length(), ip.is_fragment(), ip.fragment_offset()));
        let mut copy = bytes.to_vec();
        if let Some((ip, _)) = Ipv4::parse_mut(&mut copy)
            && ip.ttl() != 0
        {
            // A decrement keeps a right sum right and a wrong one wrong.
            let before = Sum::of(&bytes[..Ipv4::LEN]);
            ip.decrement_ttl();
            assert_eq!(before, Sum::of(&copy[..Ipv4::LEN]));
        }
    }
    if let Some((ip, _)) = Ipv6::parse(bytes) {
        black_box((ip.traffic_class(), ip.flow_label(), ip.payload_length(), ip.hop_limit()));
    }
    if let Some((udp, _)) = Udp::parse(bytes) {
        black_box((udp.source(), udp.destination(), udp.length(), udp.checksum()));
    }
    if let Some((tcp, _)) = Tcp::parse(bytes) {
        black_box((tcp.header_length(), tcp.flags(), tcp.sequence(), tcp.acknowledgment()));
    }
    if let Some((icmp, _)) = Icmp::parse(bytes) {
        black_box((icmp.kind(), icmp.code(), icmp.least_length_v6()));
    }
    if let Some((gre, _)) = Gre::parse(bytes) {
        black_box((gre.protocol(), gre.length()));
    }
    if let Some((word, _)) = Mpls::parse(bytes) {
        assert!(word.label() <= wire::Label::MAX);
        black_box((word.is_bottom(), word.ttl(), word.traffic_class()));
    }
    if let Some((vxlan, _)) = Vxlan::parse(bytes) {
        black_box((vxlan.vni(), vxlan.router_alert()));
    }
    for transport in [6, 17].into_iter().filter_map(checksum::Transport::from_protocol) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let pseudo = checksum::pseudo_v4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 17, length);
        let mut segment = bytes.to_vec();
        checksum::write(transport, pseudo, &mut segment);
        if checksum::is_right(transport, pseudo, bytes) {
            let again = checksum::is_right(transport, pseudo, &segment);
            assert!(again, "a right sum written again is right");
        }
        black_box(checksum::is_unfinished(transport, pseudo, bytes));
    }
    for mtu in [68, 576, 1280, 1468] {
        for cut in [Cut::v4(bytes, mtu), Cut::v6(bytes, mtu, 7)].into_iter().flatten() {
            whole(&cut, mtu, bytes.len());
        }
    }
    let mut out = [0; 1500];
    for error in [IcmpError::TooBig { mtu: 1280 }, IcmpError::TimeExceeded] {
        let v4 = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert!(error.emit_v4(v4, bytes, &mut out).is_some());
        let v6 = (std::net::Ipv6Addr::LOCALHOST, std::net::Ipv6Addr::LOCALHOST);
        assert!(error.emit_v6(v6, bytes, &mut out).is_some());
    }
}

/// The pieces follow each other without gap to the packet's end, none is larger than allowed, and each has headers.
fn whole(cut: &Cut, mtu: u16, length: usize) {
    let mut next = cut.payload(0).start;
    for piece in 0..cut.pieces() {
        let payload = cut.payload(piece);
        assert_eq!(payload.start, next, "{cut:?}");
        next = payload.end;
        let size = cut.header_length(piece) + payload.len();
        assert!(size <= usize::from(mtu), "{cut:?}");
        // A piece beyond what an offset can say is refused, not wrapped.
        black_box(cut.emit(piece, &mut vec![0; size]));
    }
    assert_eq!(next, length, "{cut:?}");
}

/// The one's complement sum of a header, 0 and all ones being the same.
#[derive(Debug, PartialEq)]
struct Sum(u32);

impl Sum {
    fn of(bytes: &[u8]) -> Sum {
        let words =
            bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)));
        Sum(words.sum::<u32>() % 0xffff)
    }
}
