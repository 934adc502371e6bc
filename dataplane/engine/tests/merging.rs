//! TCP segments for a port that takes trains: joined if the receiver can cut them into the same packets again, and in order
//! whatever they are.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use engine::VrfCount;
use port::{Segmentation, Train};
use site::*;
use tables::DropReason;
use wire::Mac;

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
const ECE: u8 = 64;

/// A segment on its way from 10.10.1.9 to vif3's workload.
#[derive(Clone)]
struct Tcp {
    port: u16,
    sequence: u32,
    flags: u8,
    ttl: u8,
    tos: u8,
    window: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Tcp {
    fn new(sequence: u32, length: usize) -> Tcp {
        let payload =
            (0..length).map(|i| u8::try_from((i * 13 + sequence as usize) % 251).unwrap());
        let options = Vec::new();
        let payload = payload.collect();
        Tcp { port: 80, sequence, flags: ACK, ttl: 60, tos: 0, window: 500, options, payload }
    }

    /// The IPv4 packet, by another library.
    fn packet(&self) -> Vec<u8> {
        let mut tcp = etherparse::TcpHeader::new(self.port, 40_000, self.sequence, self.window);
        tcp.set_options_raw(&self.options).unwrap();
        tcp.ack = self.flags & ACK != 0;
        tcp.psh = self.flags & PSH != 0;
        tcp.fin = self.flags & FIN != 0;
        tcp.syn = self.flags & SYN != 0;
        tcp.ece = self.flags & ECE != 0;
        let length = u16::try_from(tcp.header_len() + self.payload.len()).unwrap();
        let (from, to) = (tenant(9).octets(), tenant(3).octets());
        let protocol = etherparse::IpNumber::TCP;
        let mut ip = etherparse::Ipv4Header::new(length, self.ttl, protocol, from, to).unwrap();
        ip.dont_fragment = true;
        ip.dscp = (self.tos >> 2).try_into().unwrap();
        ip.ecn = (self.tos & 3).try_into().unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        tcp.checksum = tcp.calc_checksum_ipv4(&ip, &self.payload).unwrap();
        let mut packet = Vec::new();
        ip.write(&mut packet).unwrap();
        tcp.write(&mut packet).unwrap();
        packet.extend(&self.payload);
        packet
    }

    fn tunnelled(&self) -> Vec<u8> {
        mpls_over_udp(20, 64, &self.packet())
    }
}

/// A site whose vif3 takes trains.
fn taking_trains(test: impl Fn(&mut Site)) {
    each(|site| {
        let last = site.workers.len() - 1;
        site.open_as(VIF3, last, |port| port.with_trains());
        site.turn_all();
        test(site);
    });
}

fn receive(site: &mut Site, segments: &[Tcp]) -> Outcome {
    let packets: Vec<_> = segments.iter().map(Tcp::tunnelled).collect();
    site.send(FABRIC, &packets)
}

/// The payloads that came, in their order, by sequence number.
fn stream(outcome: &Outcome) -> Vec<(u32, usize)> {
    let frames = outcome.on(VIF3).iter();
    let number = |frame: &Vec<u8>| u32::from_be_bytes(frame[38..42].try_into().unwrap());
    let length = |frame: &Vec<u8>| frame.len() - 34 - usize::from(frame[46] >> 4) * 4;
    frames.map(|frame| (number(frame), length(frame))).collect()
}

#[test]
fn segments_in_sequence_become_one_train_that_says_how_they_were() {
    taking_trains(|site| {
        let segments: Vec<Tcp> = (0..20).map(|i| Tcp::new(1000 * i, 1000)).collect();
        let outcome = receive(site, &segments);
        assert_eq!(stream(&outcome), [(0, 20_000)]);
        let [(vif, train)] = outcome.trains[..] else { panic!("{:?}", outcome.trains) };
        let segmentation = Segmentation::TcpV4 { congestion: false };
        let expected =
            Train { segmentation, size: 1000, transport: 34, sum: 16, network: Some(14) };
        assert_eq!((vif, train), (VIF3, expected));
        let frame = &outcome.on(VIF3)[0];
        let payload: Vec<u8> = segments.iter().flat_map(|tcp| tcp.payload.clone()).collect();
        assert!(frame[54..] == payload);
        assert_eq!(u16::from_be_bytes([frame[16], frame[17]]), 20_040, "IP length");
        let header = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..34]).unwrap().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        // The unfinished sum: that of the pseudo-header alone.
        let words = frame[26..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum::<u32>() + 6 + 20_020;
        let folded = (sum & 0xffff) + (sum >> 16);
        assert_eq!(u32::from(u16::from_be_bytes([frame[50], frame[51]])), folded);
        assert_eq!(site.counters.vrf(Some(RED)).get(VrfCount::Gros) % 20, 0);
        let sent = site.counters.vif(VIF3);
        assert_eq!(sent.tx_packets % 20, 0, "counted as they came");
    });
}

#[test]
fn a_train_ends_with_a_shorter_segment_and_with_a_push() {
    taking_trains(|site| {
        let short = [Tcp::new(0, 1000), Tcp::new(1000, 400), Tcp::new(1400, 400)];
        assert_eq!(stream(&receive(site, &short)), [(0, 1400), (1400, 400)]);
        let push = Tcp { flags: ACK | PSH, ..Tcp::new(1000, 1000) };
        let outcome = receive(site, &[Tcp::new(0, 1000), push, Tcp::new(2000, 1000)]);
        assert_eq!(stream(&outcome), [(0, 2000), (2000, 1000)]);
        assert_eq!(outcome.on(VIF3)[0][47], ACK | PSH);
        assert_eq!(outcome.on(VIF3)[1][47], ACK);
        let longer = [Tcp::new(0, 400), Tcp::new(400, 1000), Tcp::new(1400, 1000)];
        assert_eq!(stream(&receive(site, &longer)), [(0, 400), (400, 2000)]);
    });
}

#[test]
fn what_cannot_be_joined_leaves_alone_behind_what_waited() {
    taking_trains(|site| {
        let next = || Tcp::new(2000, 1000);
        let timestamp = |value: u8| vec![1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, 9];
        let others = [
            Tcp { flags: ACK | FIN, ..next() },
            Tcp { flags: ACK | ECE, ..next() },
            Tcp { flags: SYN, ..next() },
            Tcp { ttl: 59, ..next() },
            Tcp { tos: 3, ..next() },
            Tcp { window: 501, ..next() },
            Tcp { options: timestamp(1), ..next() },
            Tcp { options: vec![5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0], ..next() },
            Tcp { sequence: 2001, ..next() },
            Tcp { sequence: 1000, ..next() },
            Tcp { payload: Vec::new(), ..next() },
        ];
        for other in others {
            let segments = [Tcp::new(0, 1000), Tcp::new(1000, 1000), other.clone()];
            let outcome = receive(site, &segments);
            let expected = [(0, 2000), (other.sequence, other.payload.len())];
            assert_eq!(stream(&outcome), expected);
            // As it came but for the hop.
            let got = &outcome.on(VIF3)[1][14..];
            assert_eq!(got[20..], other.packet()[20..]);
            assert_sums(got);
        }
        let stamped: Vec<Tcp> =
            (0..4).map(|i| Tcp { options: timestamp(7), ..Tcp::new(i * 1000, 1000) }).collect();
        assert_eq!(stream(&receive(site, &stamped)), [(0, 4000)]);
    });
}

#[test]
fn flows_are_joined_apart_and_more_than_wait_at_once_lose_nothing() {
    taking_trains(|site| {
        for flows in [2u16, 16, 40] {
            let segments: Vec<Tcp> = (0..5)
                .flat_map(|i| (0..flows).map(move |port| Tcp { port, ..Tcp::new(i * 500, 500) }))
                .collect();
            let outcome = receive(site, &segments);
            for port in 0..flows {
                let mut next = 0;
                for frame in outcome.on(VIF3) {
                    if u16::from_be_bytes([frame[34], frame[35]]) == port {
                        let sequence = u32::from_be_bytes(frame[38..42].try_into().unwrap());
                        assert_eq!(sequence, next, "flow {port}");
                        next += u32::try_from(frame.len() - 54).unwrap();
                    }
                }
                assert_eq!(next, 2500);
            }
            if flows <= 8 {
                assert_eq!(outcome.on(VIF3).len(), usize::from(flows));
            }
        }
    });
}

#[test]
fn a_segment_with_a_wrong_sum_is_dropped_and_counted_where_it_would_be_joined() {
    taking_trains(|site| {
        for wrong in [0, 1, 2] {
            let mut packets: Vec<_> =
                (0..3).map(|i| Tcp::new(i * 1000, 1000).tunnelled()).collect();
            *packets[wrong].last_mut().unwrap() ^= 1;
            let outcome = site.send(FABRIC, &packets);
            outcome.expect_drops(&[(DropReason::CksumErr, 1)]);
            let expected = match wrong {
                0 => vec![(1000, 2000)],
                1 => vec![(0, 1000), (2000, 1000)],
                _ => vec![(0, 2000)],
            };
            assert_eq!(stream(&outcome), expected, "{wrong}");
        }
        // Alone it is the receiver's to judge.
        let mut packet = Tcp::new(0, 1000).tunnelled();
        *packet.last_mut().unwrap() ^= 1;
        let outcome = site.send(FABRIC, &[packet]);
        assert_eq!(stream(&outcome), [(0, 1000)]);
    });
}

#[test]
fn a_train_is_no_longer_than_an_ip_packet_and_no_more_than_256_segments() {
    taking_trains(|site| {
        let segments: Vec<Tcp> = (0..60).map(|i| Tcp::new(i * 1400, 1400)).collect();
        let outcome = receive(site, &segments);
        assert!(outcome.on(VIF3).iter().all(|frame| frame.len() < 65_500));
        let total: usize = stream(&outcome).iter().map(|(_, length)| length).sum();
        assert_eq!(total, 60 * 1400);
    });
}

#[test]
fn segments_between_workloads_are_joined_too_and_other_ports_get_them_as_they_are() {
    taking_trains(|site| {
        let segments: Vec<Vec<u8>> = (0..5)
            .map(|i| {
                let mut packet = Tcp::new(i * 700, 700).packet();
                // From vif4's workload, whose addresses sum to what they did: 4 for 9, and 5 more elsewhere.
                packet[15] = 4;
                let builder = [&Mac::GATEWAY.0[..], &MAC4.0, &[8, 0]].concat();
                let mut frame = [builder, packet].concat();
                rewrite_sums(&mut frame[14..]);
                frame
            })
            .collect();
        let outcome = site.send(VIF4, &segments);
        assert_eq!(stream(&outcome), [(0, 3500)]);
        let back: Vec<Vec<u8>> =
            (0..5).map(|i| mpls_over_udp(21, 64, &Tcp::new(i, 700).packet())).collect();
        assert_eq!(site.send(FABRIC, &back).on(VIF4).len(), 5);
    });
}

fn rewrite_sums(ip: &mut [u8]) {
    let (mut header, _) = etherparse::Ipv4Header::from_slice(ip).unwrap();
    header.header_checksum = header.calc_header_checksum();
    ip[..20].copy_from_slice(&header.to_bytes());
    let (mut tcp, payload) = etherparse::TcpHeader::from_slice(&ip[20..]).unwrap();
    tcp.checksum = tcp.calc_checksum_ipv4(&header, payload).unwrap();
    let bytes = tcp.to_bytes();
    ip[20..20 + bytes.len()].copy_from_slice(&bytes);
}

#[test]
fn without_large_frames_every_segment_leaves_alone() {
    for workers in [1, 2] {
        let mut site = Site::with_frames(workers, 512);
        site.open_as(VIF3, 0, |port| port.with_trains());
        site.turn_all();
        let segments: Vec<Tcp> = (0..10).map(|i| Tcp::new(1000 * i, 1000)).collect();
        let outcome = receive(&mut site, &segments);
        assert_eq!(outcome.on(VIF3).len(), 10);
        assert_eq!(stream(&outcome)[9], (9000, 1000));
        site.close();
    }
}

#[test]
fn a_train_that_a_full_port_refuses_is_counted_as_the_segments_it_was() {
    for workers in [1, 2] {
        let mut site = Site::new(workers);
        site.open_as(VIF3, 0, |port| port.with_trains().with_limit(0));
        site.turn_all();
        let segments: Vec<Tcp> = (0..10).map(|i| Tcp::new(1000 * i, 1000)).collect();
        let outcome = receive(&mut site, &segments);
        outcome.expect_drops(&[(DropReason::InterfaceDrop, 10)]);
        site.close();
    }
}

#[test]
fn joining_segments_allocates_nothing() {
    each(|site| {
        let last = site.workers.len() - 1;
        let packets = (0..40).map(|i| Tcp::new(1000 * i, 1000).tunnelled()).collect();
        site.add_port(FABRIC, 0, Box::new(Mill::new(packets, None, false)));
        site.add_port(VIF3, last, Box::new(Mill::new(Vec::new(), None, true)));
        // The first turns move frames into place.
        site.turn_at(0..100);
        let measured = allocation_counter::measure(|| site.turn_at(100..400));
        assert_eq!(measured.count_total, 0);
        let joined = site.counters.vrf(Some(RED)).get(VrfCount::Gros);
        assert!(joined >= 40 * 300, "{joined}");
        assert_eq!(site.counters.drops().total(), 0);
    });
}
