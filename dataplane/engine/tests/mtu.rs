//! What does not fit: the sender is told, or the packet is cut; TCP is told beforehand (reference dataplane.md sections
//! 15.2 to 15.4, cases H11 and H12, points 29, 30 and 32).
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use site::*;
use tables::{
    Adjacency, DropReason, NextHopKind, NhFamily, Object, Op, Owner, Rewrite, TunnelEncap, VifId,
    VrfId,
};
use wire::{Ipv4, Ipv6, Mac, checksum};

const FAR6: &str = "2001:db8:f::2";
const NEAR6: &str = "2001:db8:f::1";

/// A way out of the bench: how far it leads, and what it takes of 1500 bytes.
struct Way {
    name: &'static str,
    /// Last byte of the IPv4 and the IPv6 destination.
    to: u8,
    usable: u16,
    /// Bytes in front of the IPv4 packet on the wire.
    in_front: usize,
}

/// Every tunnel over IPv4 and over IPv6, to 10.10.1.100 and following.
fn ways(site: &mut Site) -> Vec<Way> {
    let mac = Mac([2, 0, 0, 0, 0xee, 1]);
    let mut ways = Vec::new();
    for (number, (name, encap, usable)) in [
        ("MPLSoUDP", TunnelEncap::MplsOverUdp, 1468),
        ("MPLSoGRE", TunnelEncap::MplsOverGre, 1472),
        ("VXLAN", TunnelEncap::VxlanL3(mac), 1450),
    ]
    .into_iter()
    .enumerate()
    {
        for v6 in [false, true] {
            let to = 100 + u8::try_from(number).unwrap() * 2 + u8::from(v6);
            let id = u32::from(to);
            let [source, destination] = if v6 {
                [NEAR6, FAR6].map(|text| text.parse().unwrap())
            } else {
                [1, 2].map(|last| IpAddr::V4(endpoint(last)))
            };
            let rewrite = Rewrite::Underlay;
            let kind = NextHopKind::Tunnel { source, destination, encap, rewrite };
            site.put([
                nh(id, NhFamily::Inet, VrfId(0), kind),
                route(RED, &format!("10.10.1.{to}/32"), id, Some(6000 + id)),
                route(RED, &format!("2001:db8:a:1::{to}/128"), id, Some(6000 + id)),
            ]);
            let usable = if v6 { usable - 20 } else { usable };
            ways.push(Way { name, to, usable, in_front: 14 + 1500 - usize::from(usable) });
        }
    }
    let adjacency = Adjacency {
        destination: FAR6.parse().unwrap(),
        vif: FABRIC,
        source: UPLINK_MAC,
        neighbor: REMOTE_MAC,
    };
    site.apply([Op::Put(Object::Adjacency(adjacency))], Owner::Vrouterd);
    ways
}

/// A UDP packet of so many bytes from its IP header on, in a frame of vif3's workload.
fn packet(to: u8, length: usize, flags: u8) -> Vec<u8> {
    let payload: Vec<u8> = (0..length - 28).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
    let mut frame = udp(MAC3, 3, to, (1000, 2000), &payload);
    frame[18..20].copy_from_slice(&[0x12, to]);
    frame[20] = flags;
    renew(&mut frame[14..34]);
    frame
}

fn renew(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = checksum::Sum::ZERO.bytes(header).checksum();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn workload6(last: u16) -> Ipv6Addr {
    format!("2001:db8:a:1::{last}").parse().unwrap()
}

fn packet6(to: u8, length: usize) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(MAC3.0, Mac::GATEWAY.0)
        .ipv6(workload6(3).octets(), workload6(to.into()).octets(), 64)
        .udp(1000, 2000);
    let mut out = Vec::new();
    builder.write(&mut out, &vec![7; length - 48]).unwrap();
    // The address in decimal digits, as the routes have it.
    out[14 + 24..14 + 40]
        .copy_from_slice(&format!("2001:db8:a:1::{to}").parse::<Ipv6Addr>().unwrap().octets());
    out
}

/// The one message that vif3's workload got, with right sums.
#[track_caller]
fn told(outcome: &Outcome) -> Vec<u8> {
    let [told] = outcome.on(VIF3) else { panic!("{outcome:?}") };
    assert_eq!((&told[..6], &told[6..12]), (&MAC3.0[..], &Mac::GATEWAY.0[..]));
    let ip = &told[14..];
    if ip[0] >> 4 == 4 {
        assert_eq!(checksum::Sum::ZERO.bytes(&ip[..20]).folded(), 0xffff);
        assert_eq!(checksum::Sum::ZERO.bytes(&ip[20..]).folded(), 0xffff);
    } else {
        let (header, message) = Ipv6::parse(ip).unwrap();
        let (from, to) = (header.source(), header.destination());
        let length = u32::try_from(message.len()).unwrap();
        assert_eq!(checksum::pseudo_v6(from, to, 58, length).bytes(message).folded(), 0xffff);
    }
    told.clone()
}

const TOO_BIG: [(DropReason, u64); 1] = [(DropReason::TooBig, 1)];

#[test]
fn h11_a_packet_with_df_is_told_what_each_tunnel_carries() {
    each(|site| {
        for Way { name, to, usable, .. } in ways(site) {
            let fits = packet(to, usize::from(usable), 0x40);
            assert_eq!(site.through(VIF3, &fits, FABRIC).len(), 14 + 1500, "{name}");
            let large = packet(to, usize::from(usable) + 1, 0x40);
            let outcome = site.exchange(&[(VIF3, &large)]);
            outcome.expect_drops(&TOO_BIG);
            let told = told(&outcome);
            assert_eq!(told[26..30], tenant(1).octets(), "from the gateway");
            assert_eq!(told[30..34], tenant(3).octets());
            assert_eq!(told[34..36], [3, 4], "fragmentation needed");
            assert_eq!(told[40..42], usable.to_be_bytes(), "{name}");
            assert_eq!(told.len(), 14 + 576);
            assert_eq!(told[42..], large[14..14 + 548], "as it was sent");
        }
    });
}

#[test]
fn h11_an_ipv6_packet_is_told_what_each_tunnel_carries() {
    each(|site| {
        for Way { name, to, usable, .. } in ways(site) {
            let fits = packet6(to, usize::from(usable));
            assert_eq!(site.through(VIF3, &fits, FABRIC).len(), 14 + 1500, "{name}");
            let large = packet6(to, usize::from(usable) + 1);
            let outcome = site.exchange(&[(VIF3, &large)]);
            outcome.expect_drops(&TOO_BIG);
            let told = told(&outcome);
            assert_eq!(told[14 + 8..14 + 24], workload6(1).octets(), "from the gateway");
            assert_eq!(told[14 + 24..14 + 40], workload6(3).octets());
            assert_eq!(told[54..56], [2, 0], "packet too big");
            assert_eq!(told[58..62], u32::from(usable).to_be_bytes(), "{name}");
            assert_eq!(told.len(), 14 + 1280);
            assert_eq!(told[62..], large[14..14 + 1232], "as it was sent, hop limit and all");
        }
    });
}

/// Payloads of the pieces by offset, and the id they share; every header's sum is right.
#[track_caller]
fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut parts = BTreeMap::new();
    let mut last = None;
    for ip in pieces {
        let (header, _) = Ipv4::parse(ip).unwrap();
        assert_eq!(usize::from(header.total_length()), ip.len());
        let length = header.header_length();
        assert_eq!(checksum::Sum::ZERO.bytes(&ip[..length]).folded(), 0xffff);
        let payload = ip[length..].to_vec();
        if header.more_fragments() {
            assert_eq!(payload.len() % 8, 0);
        } else {
            last = Some(header.fragment_offset());
        }
        assert!(parts.insert(header.fragment_offset(), payload).is_none());
    }
    assert_eq!(last, parts.keys().max().copied());
    let mut whole = Vec::new();
    for (offset, payload) in parts {
        assert_eq!(offset, whole.len(), "no gap");
        whole.extend(payload);
    }
    whole
}

#[test]
fn h11_point_30_without_df_the_inner_packet_is_cut_and_each_piece_encapsulated() {
    each(|site| {
        for Way { name, to, usable, in_front } in ways(site) {
            for length in [usize::from(usable) + 1, 1500, 3000, 7000] {
                let large = packet(to, length, 0);
                let outcome = site.exchange(&[(VIF3, &large)]);
                outcome.expect_drops(&[]);
                let pieces = outcome.on(FABRIC);
                assert!(pieces.iter().all(|piece| piece.len() <= 1514), "{name}");
                assert_eq!(pieces.len(), length.div_ceil(usize::from(usable) - 28), "{name}");
                let inner = pieces.iter().map(|piece| &piece[in_front..]);
                assert_eq!(join(inner.clone()), large[34..], "{name} {length}");
                assert!(inner.clone().all(|ip| ip[8] == 63), "one hop each");
                assert!(inner.clone().all(|ip| ip[4..6] == large[18..20]), "one id");
                if pieces[0][12..14] == [8, 0] {
                    for piece in pieces {
                        assert_eq!(piece[18..20], large[18..20], "outer id is the inner one");
                    }
                }
                // Point 32: of the same flow, so with the same source port as a packet that is not cut.
                let ports = if pieces[0][12..14] == [8, 0] { 34 } else { 54 };
                if name != "MPLSoGRE" {
                    let whole = site.through(VIF3, &packet(to, 100, 0), FABRIC);
                    assert!(pieces.iter().all(|p| p[ports..ports + 2] == whole[ports..ports + 2]));
                }
            }
            let outcome = site.exchange(&[(VIF3, &packet(to, 12_000, 0))]);
            outcome.expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        }
    });
}

#[test]
fn a_piece_that_is_too_big_is_cut_again() {
    each(|site| {
        let mut middle = packet(9, 1500, 0x20);
        middle[21] = 100;
        middle[20] = 0x20;
        renew(&mut middle[14..34]);
        let mut head = middle.clone();
        head[20..22].copy_from_slice(&[0x20, 0]);
        renew(&mut head[14..34]);
        let outcome = site.exchange(&[(VIF3, &head), (VIF3, &middle)]);
        outcome.expect_drops(&[]);
        let offsets: Vec<_> = outcome
            .on(FABRIC)
            .iter()
            .map(|piece| u16::from_be_bytes([piece[52], piece[53]]))
            .collect();
        assert_eq!(offsets.len(), 4);
        for expected in [0x2000, 0x2000 + 181, 0x2000 + 100, 0x2000 + 281] {
            assert!(offsets.contains(&expected), "{offsets:x?}");
        }
    });
}

#[test]
fn h11_a_bridged_frame_is_told_or_cut_as_a_routed_one() {
    each(|site| {
        let station = |mut frame: Vec<u8>| {
            frame[..6].copy_from_slice(&MAC9.0);
            frame
        };
        let fits = station(packet(9, 1450, 0x40));
        assert_eq!(site.through(VIF3, &fits, FABRIC).len(), 14 + 1500);
        let large = station(packet(9, 1451, 0x40));
        let outcome = site.exchange(&[(VIF3, &large)]);
        outcome.expect_drops(&TOO_BIG);
        let told4 = told(&outcome);
        assert_eq!(told4[40..42], 1450u16.to_be_bytes());
        assert_eq!(told4[42..], large[14..14 + 548]);
        // With a tag less fits, and the answer has the tag.
        let tagged = [&large[..12], &[0x81, 0, 0, 5], &packet(9, 1450, 0x40)[12..]].concat();
        let outcome = site.exchange(&[(VIF3, &tagged)]);
        outcome.expect_drops(&TOO_BIG);
        let [told6] = outcome.on(VIF3) else { panic!("{outcome:?}") };
        assert_eq!(told6[12..18], [0x81, 0, 0, 5, 8, 0]);
        assert_eq!(told6[44..46], 1446u16.to_be_bytes());
        let outcome = site.exchange(&[(VIF3, &station(packet6(9, 1451)))]);
        outcome.expect_drops(&TOO_BIG);
        assert_eq!(told(&outcome)[58..62], 1450u32.to_be_bytes());
        let large = station(packet(9, 1500, 0));
        let outcome = site.exchange(&[(VIF3, &large)]);
        outcome.expect_drops(&[]);
        let pieces = outcome.on(FABRIC);
        assert!(pieces.iter().all(|piece| piece[50..62] == large[..12]), "the frame's own header");
        assert_eq!(join(pieces.iter().map(|piece| &piece[64..])), large[34..]);
    });
}

#[test]
fn point_29_a_group_that_is_too_big_is_not_asked() {
    each(|site| {
        site.put([bridge(RED, Mac::BROADCAST, 42, Some(5001))]);
        let mut group = packet(9, 1500, 0x40);
        group[..6].copy_from_slice(&[1, 0, 0x5e, 1, 2, 3]);
        group[30..34].copy_from_slice(&[239, 1, 2, 3]);
        site.exchange(&[(VIF3, &group)]).expect_drops(&[(DropReason::McastDfBit, 1)]);
        group[20] = 0;
        assert_eq!(site.exchange(&[(VIF3, &group)]).on(FABRIC).len(), 2);
    });
}

/// A smaller uplink: `mtu` bytes.
fn set_mtu(site: &mut Site, id: VifId, mtu: u16) {
    let mut vif = site.model.vifs(id..).next().unwrap().clone();
    vif.mtu = mtu;
    site.put([Object::Vif(vif)]);
}

#[test]
fn an_ipv6_sender_is_never_told_of_less_than_1280_and_its_packets_are_cut_for_it() {
    each(|site| {
        set_mtu(site, FABRIC, 1280);
        let large = packet6(9, 1281);
        let outcome = site.exchange(&[(VIF3, &large)]);
        outcome.expect_drops(&TOO_BIG);
        assert_eq!(told(&outcome)[58..62], 1280u32.to_be_bytes());
        for length in [1249, 1280] {
            let packet = packet6(9, length);
            let outcome = site.exchange(&[(VIF3, &packet)]);
            outcome.expect_drops(&[]);
            let pieces: Vec<&[u8]> = outcome.on(FABRIC).iter().map(|p| &p[46..]).collect();
            assert_eq!(pieces.len(), 2);
            assert!(outcome.on(FABRIC).iter().all(|piece| piece.len() <= 14 + 1280));
            assert!(pieces.iter().all(|ip| ip[6] == 44 && ip[40] == 17 && ip[7] == 63));
            assert_eq!(pieces[0][44..48], pieces[1][44..48], "one id");
            let mut parts: Vec<_> =
                pieces.iter().map(|ip| (u16::from_be_bytes([ip[42], ip[43]]), &ip[48..])).collect();
            parts.sort_unstable();
            assert_eq!((parts[0].0, parts[1].0 & 7), (1, 0), "more follow, then none");
            assert_eq!(usize::from(parts[1].0), parts[0].1.len());
            assert_eq!([parts[0].1, parts[1].1].concat(), packet[54..]);
            let again = site.exchange(&[(VIF3, &packet)]);
            assert_ne!(again.on(FABRIC)[0][46 + 44..46 + 48], pieces[0][44..48], "another id");
        }
        // IPv4 is told what there is.
        let outcome = site.exchange(&[(VIF3, &packet(9, 1280, 0x40))]);
        assert_eq!(told(&outcome)[40..42], 1248u16.to_be_bytes());
    });
}

#[test]
fn what_is_too_big_for_the_receivers_interface_is_told_or_cut_too() {
    each(|site| {
        set_mtu(site, VIF4, 1300);
        // From a neighbour, routed and bridged.
        for mac in [Mac::GATEWAY, MAC4] {
            let mut large = packet(4, 1400, 0x40);
            large[..6].copy_from_slice(&mac.0);
            let outcome = site.exchange(&[(VIF3, &large)]);
            outcome.expect_drops(&TOO_BIG);
            assert_eq!(told(&outcome)[40..42], 1300u16.to_be_bytes());
            large[20] = 0;
            renew(&mut large[14..34]);
            let outcome = site.exchange(&[(VIF3, &large)]);
            assert_eq!(outcome.on(VIF4).len(), 2);
            assert_eq!(join(outcome.on(VIF4).iter().map(|frame| &frame[14..])), large[34..]);
        }
        // From afar: the error takes a route, or for a frame the bridge entry of its sender.
        let far = |flags: u8| {
            let mut ip = packet(4, 1400, flags)[14..].to_vec();
            ip[12..20].copy_from_slice(&[tenant(9).octets(), tenant(4).octets()].concat());
            renew(&mut ip[..20]);
            ip
        };
        let outcome = site.exchange(&[(FABRIC, &mpls_over_udp(21, 64, &far(0x40)))]);
        outcome.expect_drops(&TOO_BIG);
        let [told] = outcome.on(FABRIC) else { panic!("{outcome:?}") };
        assert_eq!(told[42..45], mpls_word(33, 0)[..3]);
        assert_eq!(told[46 + 12..46 + 20], [tenant(1).octets(), tenant(9).octets()].concat());
        assert_eq!(told[66..68], [3, 4]);
        assert_eq!(told[72..74], 1300u16.to_be_bytes());
        assert_eq!(told[74..], far(0x40)[..548]);
        let frame = [&MAC4.0[..], &MAC9.0, &[8, 0], &far(0x40)].concat();
        let outcome = site.exchange(&[(FABRIC, &vxlan(5001, &frame))]);
        outcome.expect_drops(&TOO_BIG);
        let [told] = outcome.on(FABRIC) else { panic!("{outcome:?}") };
        assert_eq!(told[50..64], [&MAC9.0[..], &Mac::GATEWAY.0, &[8, 0]].concat());
        assert_eq!(told[64 + 20..64 + 22], [3, 4]);
        let outcome = site.exchange(&[(FABRIC, &mpls_over_udp(21, 64, &far(0)))]);
        outcome.expect_drops(&[]);
        assert_eq!(join(outcome.on(VIF4).iter().map(|frame| &frame[14..])), far(0)[20..]);
    });
}

#[test]
fn nobody_is_told_about_errors_groups_later_fragments_or_senders_that_are_no_host() {
    each(|site| {
        let silent = |site: &mut Site, packet: &[u8], reason: DropReason| {
            let outcome = site.exchange(&[(VIF3, packet)]);
            outcome.expect_drops(&[(reason, 1)]);
            assert_eq!(outcome.count(), 0, "{outcome:?}");
        };
        for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [240, 0, 0, 1]] {
            let mut packet = packet(9, 1500, 0x40);
            packet[26..30].copy_from_slice(&source);
            silent(site, &packet, DropReason::TooBig);
        }
        for kind in [3, 4, 5, 11, 12] {
            let mut error = packet(9, 1500, 0x40);
            error[23] = 1;
            error[34] = kind;
            silent(site, &error, DropReason::TooBig);
            error[22] = 1;
            silent(site, &error, DropReason::TtlExceeded);
        }
        let mut echo = packet(9, 1500, 0x40);
        echo[23] = 1;
        echo[34] = 8;
        assert_eq!(site.exchange(&[(VIF3, &echo)]).on(VIF3).len(), 1);
        for kind in [1, 2, 3, 4, 127] {
            let mut error = packet6(9, 1500);
            error[20] = 58;
            error[54] = kind;
            silent(site, &error, DropReason::TooBig);
        }
        for source in ["::", "ff02::1", "::1"] {
            let mut packet = packet6(9, 1500);
            packet[22..38].copy_from_slice(&source.parse::<Ipv6Addr>().unwrap().octets());
            silent(site, &packet, DropReason::TooBig);
        }
        let mut head = packet(9, 100, 0x20);
        head[20] = 0x60;
        site.exchange(&[(VIF3, &head)]).expect_drops(&[]);
        let mut later = packet(9, 1500, 0x40);
        later[21] = 10;
        silent(site, &later, DropReason::TooBig);
        head[20..22].copy_from_slice(&[0, 10]);
        head[22] = 1;
        silent(site, &head, DropReason::TtlExceeded);
    });
}

#[test]
fn complaints_are_held_to_a_rate_for_each_interface_and_without_a_gateway_go_to_the_agent() {
    each(|site| {
        let large = packet(9, 1500, 0x40);
        let flood: Vec<_> = (0..200).map(|_| (VIF3, large.as_slice())).collect();
        let outcome = site.exchange(&flood);
        assert_eq!(outcome.on(VIF3).len(), 20);
        outcome.expect_drops(&[(DropReason::TooBig, 20), (DropReason::StormIcmp, 180)]);
        assert_eq!(site.counters.vif_drops(VIF3).get(DropReason::StormIcmp), 180);
        // Another interface has its own.
        let other: Vec<u8> =
            [&large[..6], &MAC4.0, &large[12..26], &tenant(4).octets(), &large[30..]].concat();
        assert_eq!(site.exchange(&[(VIF4, &other)]).on(VIF4).len(), 1);
        let mut vif = site.model.vifs(VIF3..).next().unwrap().clone();
        (vif.gateway, vif.gateway6) = (None, None);
        site.put([Object::Vif(vif)]);
        site.exchange(&[(VIF3, &large)]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
        site.exchange(&[(VIF3, &packet6(9, 1500))]).expect_drops(&[(DropReason::TrapNoIf, 1)]);
    });
}

#[test]
fn a_hop_limit_that_ends_is_told_as_a_ttl_is() {
    each(|site| {
        let mut last = packet6(9, 100);
        last[21] = 1;
        let outcome = site.exchange(&[(VIF3, &last)]);
        outcome.expect_drops(&[(DropReason::TtlExceeded, 1)]);
        let told = told(&outcome);
        assert_eq!(told[14 + 8..14 + 24], workload6(1).octets());
        assert_eq!(told[54..56], [3, 0]);
        assert_eq!(told[62..], last[14..]);
    });
}

/// A SYN with an MSS of 8960 from `from` to `to`, as an IP packet with a right sum.
fn syn(from: IpAddr, to: IpAddr, flags: u8) -> Vec<u8> {
    let mut tcp =
        vec![0x9c, 0x44, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, flags, 0x20, 0, 0, 0, 0, 0, 2, 4];
    tcp.extend(8960u16.to_be_bytes());
    let mut out = Vec::new();
    let pseudo = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend(Ipv4::new(from, to, 6, 64, 44).bytes());
            checksum::pseudo_v4(from, to, 6, 24)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            out.extend(Ipv6::new(from, to, 6, 64, 24).bytes());
            checksum::pseudo_v6(from, to, 6, 24)
        }
        _ => panic!("of one family"),
    };
    let sum = pseudo.bytes(&tcp).checksum();
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    out.extend(tcp);
    out
}

/// The MSS of a SYN whose sum is right.
#[track_caller]
fn mss(ip: &[u8]) -> u16 {
    let (tcp, sum) = if ip[0] >> 4 == 4 {
        let (header, tcp) = Ipv4::parse(ip).unwrap();
        (tcp, checksum::pseudo_v4(header.source(), header.destination(), 6, 24))
    } else {
        let (header, tcp) = Ipv6::parse(ip).unwrap();
        (tcp, checksum::pseudo_v6(header.source(), header.destination(), 6, 24))
    };
    assert_eq!(sum.bytes(tcp).folded(), 0xffff, "the sum is right");
    u16::from_be_bytes([tcp[22], tcp[23]])
}

fn framed(to: Mac, from: Mac, ip: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if ip[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&to.0[..], &from.0, &kind, ip].concat()
}

#[test]
fn h12_a_syn_into_a_tunnel_learns_what_that_tunnel_carries() {
    each(|site| {
        for Way { name, to, usable, in_front } in ways(site) {
            let v6 =
                |last: u8| IpAddr::V6(format!("2001:db8:a:1::{last}").parse::<Ipv6Addr>().unwrap());
            for (from, far, headers) in
                [(IpAddr::V4(tenant(3)), IpAddr::V4(tenant(to)), 40), (v6(3), v6(to), 60)]
            {
                for flags in [2, 0x12] {
                    let frame = framed(Mac::GATEWAY, MAC3, &syn(from, far, flags));
                    let out = site.through(VIF3, &frame, FABRIC);
                    assert_eq!(mss(&out[in_front..]), usable - headers, "{name}");
                }
                let ack = framed(Mac::GATEWAY, MAC3, &syn(from, far, 0x10));
                let out = site.through(VIF3, &ack, FABRIC);
                assert_eq!(mss(&out[in_front..]), 8960, "not a SYN");
            }
        }
        let bridged = framed(MAC9, MAC3, &syn(tenant(3).into(), tenant(9).into(), 2));
        assert_eq!(mss(&site.through(VIF3, &bridged, FABRIC)[64..]), 1410);
        let neighbour = framed(Mac::GATEWAY, MAC3, &syn(tenant(3).into(), tenant(4).into(), 2));
        assert_eq!(mss(&site.through(VIF3, &neighbour, VIF4)[14..]), 8960, "no tunnel");
    });
}

#[test]
fn h12_the_clamp_can_be_changed_while_packets_move() {
    each(|site| {
        let Way { to, usable, in_front, .. } = ways(site).into_iter().next().unwrap();
        let ip = syn(tenant(3).into(), tenant(to).into(), 2);
        let frame = framed(Mac::GATEWAY, MAC3, &ip);
        for (clamp, wanted) in [
            (engine::MssClamp::ToWorkloads, 8960),
            (engine::MssClamp::FromWorkloads, usable - 40),
            (engine::MssClamp::Off, 8960),
            (engine::MssClamp::Both, usable - 40),
        ] {
            site.engine.clamp_mss(clamp).unwrap();
            let out = site.through(VIF3, &frame, FABRIC);
            assert_eq!(mss(&out[in_front..]), wanted, "{clamp:?}");
        }
    });
}

#[test]
fn h12_a_syn_out_of_a_tunnel_learns_what_the_way_back_carries() {
    each(|site| {
        for Way { name, to, usable, .. } in ways(site) {
            let ip = syn(tenant(to).into(), tenant(3).into(), 2);
            let out = site.through(FABRIC, &mpls_over_udp(20, 64, &ip), VIF3);
            assert_eq!(mss(&out[14..]), usable - 40, "{name}");
        }
        let ip = syn(tenant(9).into(), tenant(3).into(), 0x12);
        let bridged = framed(MAC3, MAC9, &ip);
        assert_eq!(mss(&site.through(FABRIC, &vxlan(5001, &bridged), VIF3)[14..]), 1410);
        assert_eq!(mss(&site.through(FABRIC, &mpls_over_gre(20, 64, &ip), VIF3)[14..]), 1428);
    });
}
