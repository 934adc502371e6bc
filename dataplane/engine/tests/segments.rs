//! Trains of segments: cut on the way out like a slow reference cuts them, or passed on whole.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use port::{Segmentation, Train};
use proptest::prelude::*;
use site::*;
use tables::DropReason;
use wire::Mac;

const FIN: u8 = 1;
const PSH: u8 = 8;
const ACK: u8 = 16;
const CWR: u8 = 128;
/// What a network card is told of TCP over IPv4 without tags and options.
const TCP4: Train = Train {
    segmentation: Segmentation::TcpV4 { congestion: false },
    size: 1000,
    transport: 34,
    sum: 16,
    network: None,
};

/// A packet as a stack leaves it to its network card: the sum of the pseudo-header is where the checksum belongs.
struct Sent {
    frame: Vec<u8>,
    train: Train,
}

fn tcp4(to: u8, flags: u8, dont_fragment: bool, payload: &[u8], size: u16) -> Sent {
    let length = 20 + 20 + payload.len();
    let mut frame = [&Mac::GATEWAY.0[..], &MAC3.0, &[8, 0, 0x45, 0]].concat();
    frame.extend(u16::try_from(length).unwrap().to_be_bytes());
    // The identification is about to wrap.
    frame.extend([0xff, 0xfe, if dont_fragment { 0x40 } else { 0 }, 0, 64, 6, 0, 0]);
    frame.extend([10, 10, 1, 3, 10, 10, 1, to]);
    put_sum(&mut frame[14..34], 10, 0);
    frame.extend(tcp(flags, payload));
    let pseudo = sum(&frame[26..34]) + 6 + u64::try_from(length - 20).unwrap();
    frame[50..52].copy_from_slice(&fold(pseudo).to_be_bytes());
    Sent { frame, train: Train { size, ..TCP4 } }
}

fn tcp6(flags: u8, payload: &[u8], size: u16) -> Sent {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut frame = [&Mac::GATEWAY.0[..], &MAC3.0, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend(length.to_be_bytes());
    frame.extend([6, 64]);
    for last in [3, 9] {
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 1, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    frame.extend(tcp(flags, payload));
    let pseudo = sum(&frame[22..54]) + 6 + u64::from(length);
    frame[70..72].copy_from_slice(&fold(pseudo).to_be_bytes());
    let segmentation = Segmentation::TcpV6 { congestion: flags & CWR != 0 };
    Sent { frame, train: Train { segmentation, size, transport: 54, ..TCP4 } }
}

/// Sequence numbers are about to wrap.
fn tcp(flags: u8, payload: &[u8]) -> Vec<u8> {
    let header =
        [0x9c, 0x48, 0, 80, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0];
    [&header[..], payload].concat()
}

fn udp4(payload: &[u8], size: u16) -> Sent {
    let mut frame = udp(MAC3, 3, 9, (1111, 2222), payload);
    let pseudo = sum(&frame[26..34]) + 17 + u64::try_from(frame.len() - 34).unwrap();
    frame[40..42].copy_from_slice(&fold(pseudo).to_be_bytes());
    Sent { frame, train: Train { segmentation: Segmentation::Udp, size, sum: 6, ..TCP4 } }
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low)));
    words.sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

fn put_sum(header: &mut [u8], at: usize, pseudo: u64) {
    header[at..at + 2].fill(0);
    let checksum = !fold(pseudo + sum(header));
    header[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// What RFC 9293 makes of it: the inner packets (without Ethernet headers) that must arrive, cut byte by byte.
fn reference(sent: &Sent) -> Vec<Vec<u8>> {
    let ip = &sent.frame[14..];
    let v6 = ip[0] >> 4 == 6;
    let transport = if v6 { 40 } else { 20 };
    let protocol = if v6 { ip[6] } else { ip[9] };
    let payload_at = transport + if protocol == 6 { 20 } else { 8 };
    let parts: Vec<&[u8]> = ip[payload_at..].chunks(usize::from(sent.train.size)).collect();
    let mut packets = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let mut packet = [&ip[..payload_at], part].concat();
        let length = packet.len() - transport;
        if v6 {
            packet[4..6].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            packet[7] = 63;
        } else {
            let total = u16::try_from(packet.len()).unwrap();
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            let id =
                u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(u16::try_from(number).unwrap());
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            packet[8] = 63;
            put_sum(&mut packet[..20], 10, 0);
        }
        let addresses = if v6 { 8..40 } else { 12..20 };
        let pseudo = sum(&packet[addresses]) + u64::from(protocol) + u64::try_from(length).unwrap();
        if protocol == 6 {
            let sequence = u32::from_be_bytes(ip[transport + 4..transport + 8].try_into().unwrap());
            let before: usize = parts[..number].iter().map(|part| part.len()).sum();
            let sequence = sequence.wrapping_add(u32::try_from(before).unwrap());
            packet[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
            if number != 0 {
                packet[transport + 13] &= !CWR;
            }
            if number + 1 != parts.len() {
                packet[transport + 13] &= !(FIN | PSH);
            }
            put_sum(&mut packet[transport..], 16, pseudo);
        } else {
            let field = u16::try_from(length).unwrap().to_be_bytes();
            packet[transport + 4..transport + 6].copy_from_slice(&field);
            put_sum(&mut packet[transport..], 6, pseudo);
            if packet[transport + 6..transport + 8] == [0, 0] {
                packet[transport + 6..transport + 8].fill(0xff);
            }
        }
        packets.push(packet);
    }
    packets
}

fn exchange(site: &mut Site, sent: &Sent) -> Outcome {
    site.exchange_trains(&[(VIF3, &sent.frame, sent.train)])
}

/// Takes the tunnel off, whose lengths and sums must be right; the id of its IPv4 header and what is inside.
#[track_caller]
fn decapsulated(frame: &[u8]) -> (u16, Vec<u8>) {
    assert_eq!(frame[12..14], [8, 0]);
    let ip = &frame[14..];
    assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len(), "outer length");
    assert_eq!(fold(sum(&ip[..20])), 0xffff, "outer header sum");
    let inner = match ip[9] {
        47 => ip[28..].to_vec(),
        17 => {
            let udp = &ip[20..];
            assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len(), "UDP length");
            assert_eq!(udp[6..8], [0, 0], "no UDP checksum over IPv4");
            match u16::from_be_bytes([udp[2], udp[3]]) {
                6635 => udp[12..].to_vec(),
                4789 => udp[16 + 14..].to_vec(),
                other => panic!("port {other}"),
            }
        }
        other => panic!("protocol {other}"),
    };
    (u16::from_be_bytes([ip[4], ip[5]]), inner)
}

#[track_caller]
fn assert_cut(outcome: &Outcome, sent: &Sent) {
    let expected = reference(sent);
    let got: Vec<(u16, Vec<u8>)> = outcome.on(FABRIC).iter().map(|f| decapsulated(f)).collect();
    assert_eq!(got.len(), expected.len(), "{:?}", outcome.drops);
    for (number, ((id, inner), expected)) in got.iter().zip(&expected).enumerate() {
        assert_eq!(inner, expected, "segment {number}");
        assert_eq!(id.wrapping_sub(got[0].0), u16::try_from(number).unwrap(), "outer ids go on");
    }
    outcome.expect_drops(&[]);
    assert!(outcome.trains.is_empty());
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i * 7919 % 251).unwrap()).collect()
}

#[test]
fn a_train_leaves_by_each_tunnel_as_segments_with_full_headers_of_their_own() {
    each(|site| {
        // MPLSoUDP, MPLSoGRE, VXLAN with the far router's MAC.
        for to in [9, 10, 11] {
            for length in [1, 999, 1000, 1001, 60_000] {
                let sent = tcp4(to, FIN | PSH | ACK | CWR, true, &payload(length), 1000);
                let outcome = exchange(site, &sent);
                assert_cut(&outcome, &sent);
            }
        }
        let sent = tcp6(PSH | ACK | CWR, &payload(50_000), 1380);
        let outcome = exchange(site, &sent);
        assert_cut(&outcome, &sent);
        let sent = udp4(&payload(20_000), 1200);
        let outcome = exchange(site, &sent);
        assert_cut(&outcome, &sent);
        site.still_forwards();
    });
}

#[test]
fn segments_of_a_bridged_train_keep_their_inner_frame() {
    each(|site| {
        let mut sent = tcp4(9, ACK, true, &payload(9000), 1300);
        sent.frame[..6].copy_from_slice(&MAC9.0);
        let outcome = exchange(site, &sent);
        let got: Vec<_> = outcome.on(FABRIC).iter().map(|f| decapsulated(f).1).collect();
        // Bridged: no hop is taken off.
        let mut expected = reference(&sent);
        for packet in &mut expected {
            packet[8] = 64;
            put_sum(&mut packet[..20], 10, 0);
        }
        assert_eq!(got, expected);
        assert_eq!(outcome.on(FABRIC)[0][50..56], MAC9.0);
    });
}

#[test]
fn a_train_for_a_port_that_takes_trains_is_delivered_whole_with_its_sum_unfinished() {
    each(|site| {
        site.open_as(VIF4, 0, |port| port.with_trains());
        let sent = tcp4(4, PSH | ACK, true, &payload(40_000), 1400);
        let outcome = exchange(site, &sent);
        let [whole] = outcome.on(VIF4) else { panic!("{:?}", outcome.drops) };
        assert_eq!(
            whole[34..],
            sent.frame[34..],
            "as it was sent, the sum of the pseudo-header too"
        );
        let train = Train { network: Some(14), ..sent.train };
        assert_eq!(outcome.trains, [(VIF4, train)]);
    });
}

#[test]
fn point_42_a_train_for_a_port_that_does_not_take_trains_is_cut_and_its_sums_are_finished() {
    each(|site| {
        let sent = tcp4(4, PSH | ACK, true, &payload(40_000), 1400);
        let outcome = exchange(site, &sent);
        let got: Vec<_> = outcome.on(VIF4).iter().map(|frame| frame[14..].to_vec()).collect();
        assert_eq!(got, reference(&sent));
        got.iter().for_each(|packet| assert_sums(packet));
    });
}

#[test]
fn the_host_sends_and_receives_trains_like_a_workload() {
    each(|site| {
        site.add_host();
        site.open_as(HOST, 0, |port| port.with_trains());
        site.put([route(tables::VrfId(0), "10.10.1.9/32", 40, Some(33))]);
        site.turn_all();
        let sent = tcp4(9, ACK, true, &payload(30_000), 1000);
        let outcome = site.exchange_trains(&[(HOST, &sent.frame, sent.train)]);
        assert_cut(&outcome, &sent);
        // To the gateway's address: the host takes it whole, with the sum as it was.
        let sent = tcp4(1, ACK, true, &payload(30_000), 1000);
        let outcome = exchange(site, &sent);
        assert_eq!(outcome.on(HOST).len(), 1, "{:?}", outcome.drops);
        assert_eq!(outcome.trains.len(), 1);
    });
}

#[test]
fn what_is_too_big_is_judged_by_the_segments() {
    each(|site| {
        // The uplink's MTU is 1500: MPLSoUDP adds 32.
        let fits = tcp4(9, ACK, true, &payload(20_000), 1500 - 32 - 40);
        let outcome = exchange(site, &fits);
        assert_cut(&outcome, &fits);
        let large = tcp4(9, ACK, true, &payload(20_000), 1500 - 32 - 40 + 1);
        let outcome = exchange(site, &large);
        assert!(outcome.on(FABRIC).is_empty(), "the sender wants them so");
        // What may be fragmented is cut smaller.
        let sent = tcp4(9, ACK, false, &payload(20_000), 8000);
        let outcome = exchange(site, &sent);
        let smaller = Sent { train: Train { size: 1428, ..sent.train }, ..sent };
        assert_cut(&outcome, &smaller);
    });
}

#[test]
fn a_train_of_more_than_256_segments_is_dropped_whole() {
    each(|site| {
        let most = tcp4(9, ACK, true, &payload(25_600), 100);
        let outcome = exchange(site, &most);
        assert_cut(&outcome, &most);
        let more = tcp4(9, ACK, true, &payload(25_601), 100);
        let outcome = exchange(site, &more);
        assert!(outcome.on(FABRIC).is_empty());
        outcome.expect_drops(&[(DropReason::InvalidPacket, 1)]);
        site.still_forwards();
    });
}

#[test]
fn a_train_whose_headers_are_not_what_its_port_says_is_dropped_whole() {
    each(|site| {
        let sent = || tcp4(9, ACK, true, &payload(3000), 1000);
        let told = [
            Train { segmentation: Segmentation::TcpV6 { congestion: false }, ..TCP4 },
            Train { segmentation: Segmentation::Udp, ..TCP4 },
            Train { transport: 30, ..TCP4 },
            Train { transport: 3050, ..TCP4 },
            Train { sum: 6, ..TCP4 },
        ];
        for train in told {
            let outcome = exchange(site, &Sent { train, ..sent() });
            assert!(outcome.on(FABRIC).is_empty(), "{train:?}");
            assert_eq!(outcome.drops.total(), 1, "{train:?}");
        }
        // A sum that is no pseudo-header's, a TCP header longer than the packet.
        let mut frame = sent().frame;
        frame[50] ^= 1;
        let outcome = exchange(site, &Sent { frame, ..sent() });
        outcome.expect_drops(&[(DropReason::InvalidPacket, 1)]);
        let mut short = tcp4(9, ACK, true, &[], 1000);
        short.frame[46] = 0xf0;
        let outcome = exchange(site, &short);
        assert!(outcome.on(FABRIC).iter().all(|frame| decapsulated(frame).1[32] != 0xf0));
        site.still_forwards();
    });
}

#[test]
fn segments_that_a_full_port_or_an_empty_pool_has_no_room_for_are_counted() {
    for workers in [1, 2] {
        let mut site = Site::new(workers);
        site.open_as(FABRIC, 0, |port| port.with_limit(10));
        site.turn_all();
        let sent = tcp4(9, ACK, true, &payload(30_000), 1000);
        let outcome = exchange(&mut site, &sent);
        assert_eq!(outcome.on(FABRIC).len(), 10);
        outcome.expect_drops(&[(DropReason::InterfaceDrop, 20)]);
        site.close();

        let mut site = Site::with_large_frames(workers, 64, 2);
        let outcome = exchange(&mut site, &tcp4(9, ACK, true, &payload(60_000), 300));
        let lost = u64::try_from(200 - outcome.on(FABRIC).len()).unwrap();
        assert!(lost > 0);
        outcome.expect_drops(&[(DropReason::NoMemory, lost)]);
        site.close();
    }
}

#[test]
fn cutting_trains_allocates_nothing() {
    each(|site| {
        let last = site.workers.len() - 1;
        let sent = tcp4(9, ACK, true, &payload(30_000), 1000);
        let source = Mill::new(vec![sent.frame.clone(); 4], Some(sent.train), false);
        site.add_port(VIF3, last, Box::new(source));
        site.add_port(FABRIC, 0, Box::new(Mill::new(Vec::new(), None, false)));
        // The first turns move frames into place.
        site.turn_at(0..100);
        let measured = allocation_counter::measure(|| site.turn_at(100..400));
        assert_eq!(measured.count_total, 0);
        let sent = site.counters.vif(FABRIC).tx_packets;
        assert!(sent > 30 * 4 * 300, "{sent}");
        assert_eq!(site.counters.drops().total(), 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_train_is_cut_like_the_reference_cuts_it(
        length in 1usize..60_000,
        size in 300u16..1400,
        flags in any::<u8>(),
        kind in 0..3,
        to in 9u8..12,
    ) {
        let mut site = Site::new(1);
        let sent = match kind {
            0 => tcp4(to, flags, true, &payload(length), size),
            1 => tcp6(flags, &payload(length), size),
            _ => udp4(&payload(length), size),
        };
        let outcome = exchange(&mut site, &sent);
        assert_cut(&outcome, &sent);
        site.close();
    }

    #[test]
    fn no_train_however_it_is_described_is_lost_uncounted(
        frame in proptest::collection::vec(any::<u8>(), 0..400),
        cut in 0usize..3200,
        (kind, size, transport, sum) in any::<(u8, u16, u16, u16)>(),
    ) {
        let mut site = Site::new(1);
        let segmentation = match kind % 3 {
            0 => Segmentation::TcpV4 { congestion: false },
            1 => Segmentation::TcpV6 { congestion: true },
            _ => Segmentation::Udp,
        };
        let train = Train { segmentation, size: size.max(1), transport, sum, network: None };
        for to in [4, 9] {
            let mut real = tcp4(to, ACK, true, &payload(3000), 1000).frame;
            real.truncate(cut);
            for bytes in [&frame, &real] {
                exchange(&mut site, &Sent { frame: bytes.clone(), train });
                exchange(&mut site, &Sent { frame: bytes.clone(), train: TCP4 });
            }
        }
        site.close();
    }
}

#[test]
fn h15_an_unfinished_sum_is_finished_and_h16_a_udp_sum_of_zero_is_written_as_all_ones() {
    each(|site| {
        let frame = hex(
            "00005e00010002000000a10308004500002c00280000400664850a0a01030a0a01099c480050000000000000000060022000163e0000020405b4",
        );
        let out = site.through(VIF3, &frame, FABRIC);
        assert_sums(&out[46..]);
        let absent = hex(
            "00005e00010002000000a10308004500001e00290000401164870a0a01030a0a0109045708ae000a0000dcb5",
        );
        let out = site.through(VIF3, &absent, FABRIC);
        assert_eq!(out[46 + 26..46 + 28], [0, 0]);
        let mut finished = absent.clone();
        finished[40..42].fill(0xff);
        let out = site.through(VIF3, &finished, FABRIC);
        assert_eq!(out[46 + 26..46 + 28], [0xff, 0xff]);
        let from_fabric = hex(
            "02000000f00102000000f002080045000043000100004011f6a5c0000202c0000201cf0919eb002f00000001414045000023002a0000401164810a0a01090a0a0103045708ae000f00006e6f636865636b",
        );
        let out = site.through(FABRIC, &from_fabric, VIF3);
        assert_eq!(out[40..42], [0, 0]);
        // The node itself has to compute it: the field holds the pseudo-header's sum.
        let mut unfinished = absent;
        let pseudo = fold(sum(&unfinished[26..34]) + 17 + 10);
        unfinished[40..42].copy_from_slice(&pseudo.to_be_bytes());
        let out = site.through(VIF3, &unfinished, FABRIC);
        assert_eq!(out[46 + 26..46 + 28], [0xff, 0xff]);
    });
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
