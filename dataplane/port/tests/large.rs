//! Packets larger than a chunk on real veth pairs: delivered byte by byte as they were, or dropped whole and counted.

mod support;

use port::{LargePackets, Port, XskConfig, XskPort};
use support::{Bed, Net, numbered};

/// Frame lengths of case H14; 1514 alone fits into a chunk.
const LENGTHS: [usize; 5] = [1514, 2034, 3506, 4082, 9014];

fn config(large_packets: LargePackets) -> XskConfig {
    XskConfig { large_packets, ..XskConfig::with_rings(0, 512) }
}

/// A pair with an MTU of 9000, a port on one end, and the kernel's stack at the other.
fn jumbo(net: &Net) {
    net.veth("va", "vb");
    net.ip("link set va mtu 9000");
    net.ip("link set vb mtu 9000");
}

/// Whether the kernel can; says so if not.
fn can(port: &XskPort) -> bool {
    let can = port.info().features.contains(&"multi-buffer");
    if !can {
        println!("skipped: this kernel has no packets of several buffers");
    }
    can
}

#[test]
fn h14_packets_of_any_length_arrive_as_they_were_in_both_directions() {
    let Some(net) = Net::new() else { return };
    jumbo(&net);
    let mut bed = Bed::with_large(4096, 8);
    let (_a, mut one) = bed.workload(&net, "va", config(LargePackets::IfPossible));
    let (_b, mut other) = bed.workload(&net, "vb", config(LargePackets::IfPossible));
    if !can(&one) {
        return;
    }
    for (number, length) in (0..40).zip(LENGTHS.into_iter().cycle()) {
        for back in [false, true] {
            let (from, to) = if back { (&mut other, &mut one) } else { (&mut one, &mut other) };
            let frame = bed.numbered(number, length);
            from.transmit(frame).unwrap();
            from.flush(&mut bed.pool);
            let mut seen = Vec::new();
            assert!(
                bed.until(to, |packet| {
                    seen = packet.to_vec();
                    true
                }),
                "{length} bytes"
            );
            assert!(seen == numbered(number, length), "{length} bytes: {} came", seen.len());
        }
    }
    for port in [&mut one, &mut other] {
        let info = port.info();
        assert_eq!((info.statistics.rx_dropped, info.statistics.tx_invalid), (0, 0));
        port.close(&mut bed.pool);
    }
    assert_eq!(bed.pools.free_frames(), 4096 + 8);
}

#[test]
fn h14_what_a_stack_sends_arrives_whole_from_its_first_byte_to_its_last() {
    let Some(net) = Net::new() else { return };
    jumbo(&net);
    net.ip("addr add 10.0.0.2/24 dev vb");
    net.ip("neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev vb");
    let mut bed = Bed::with_large(4096, 8);
    let (_a, mut port) = bed.workload(&net, "va", config(LargePackets::IfPossible));
    if !can(&port) {
        return;
    }
    let socket = net.within(|| std::net::UdpSocket::bind("10.0.0.2:0").unwrap());
    for length in LENGTHS {
        let payload: Vec<u8> =
            (0..length - 42).map(|i| u8::try_from(i * 11 % 253).unwrap()).collect();
        socket.send_to(&payload, "10.0.0.1:9").unwrap();
        let mut seen = Vec::new();
        assert!(bed.until(&mut port, |packet| {
            let ours = packet.len() == length;
            if ours {
                seen = packet[42..].to_vec();
            }
            ours
        }));
        assert!(seen == payload, "{length} bytes");
    }
    port.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096 + 8);
}

#[test]
fn h14_without_several_buffers_a_larger_packet_is_dropped_whole_and_counted() {
    let Some(net) = Net::new() else { return };
    jumbo(&net);
    let mut bed = Bed::with_large(4096, 8);
    let (_a, mut one) = bed.workload(&net, "va", config(LargePackets::Never));
    let (_b, mut other) = bed.workload(&net, "vb", config(LargePackets::IfPossible));
    assert!(one.info().missing.contains(&"multi-buffer"));
    if !can(&other) {
        return;
    }
    // In: the kernel counts.
    for (number, length) in (0..).zip(LENGTHS) {
        let frame = bed.numbered(number, length);
        other.transmit(frame).unwrap();
    }
    let frame = bed.numbered(99, 100);
    other.transmit(frame).unwrap();
    other.flush(&mut bed.pool);
    let mut seen = Vec::new();
    assert!(bed.until(&mut one, |packet| {
        seen.push(packet.to_vec());
        seen.len() == 2
    }));
    assert_eq!(seen, [numbered(0, 1514), numbered(99, 100)]);
    assert_eq!(one.info().statistics.rx_dropped, 4);
    // Out: the frame comes back, to be counted by who sent it. One that is no longer large leaves.
    for (number, length) in (0..).zip(&LENGTHS[2..]) {
        let frame = bed.numbered(number, *length);
        let mut frame = one.transmit(frame).unwrap_err();
        frame.trim(2000);
        one.transmit(frame).unwrap();
        one.flush(&mut bed.pool);
        let mut seen = Vec::new();
        assert!(bed.until(&mut other, |packet| {
            seen = packet.to_vec();
            true
        }));
        assert_eq!(seen, numbered(number, *length)[..2000]);
    }
    assert_eq!(one.info().statistics.tx_refused, 3);
    for mut port in [one, other] {
        port.close(&mut bed.pool);
    }
    assert_eq!(bed.pools.free_frames(), 4096 + 8);
}

#[test]
fn order_is_kept_between_large_packets_and_others() {
    let Some(net) = Net::new() else { return };
    jumbo(&net);
    let mut bed = Bed::with_large(4096, 64);
    let (_a, mut one) = bed.workload(&net, "va", config(LargePackets::IfPossible));
    let (_b, mut other) = bed.workload(&net, "vb", config(LargePackets::IfPossible));
    if !can(&one) {
        return;
    }
    for round in 0..10 {
        for number in 0..30 {
            let length = if number % 3 == 1 { 5000 } else { 60 };
            let frame = bed.numbered(round * 30 + number, length);
            one.transmit(frame).unwrap();
        }
        assert_eq!(bed.missing(&[&one, &other]), 0);
        one.flush(&mut bed.pool);
        let seen = bed.collect(&mut other, 30);
        assert_eq!(seen, (round * 30..round * 30 + 30).collect::<Vec<_>>());
    }
    for mut port in [one, other] {
        port.close(&mut bed.pool);
    }
    assert_eq!(bed.pools.free_frames(), 4096 + 64);
}

#[test]
fn more_than_the_port_may_hold_is_refused_and_what_waits_at_the_end_comes_home() {
    let Some(net) = Net::new() else { return };
    jumbo(&net);
    let mut bed = Bed::with_large(2048, 100);
    let config = XskConfig { send_frames: 20, ..config(LargePackets::IfPossible) };
    let (_a, mut one) = bed.workload(&net, "va", config);
    if !can(&one) {
        return;
    }
    net.ip("link set va down");
    let mut accepted = 0;
    for number in 0..100 {
        let frame = bed.numbered(number, 9014);
        match one.transmit(frame) {
            Ok(()) => accepted += 1,
            Err(frame) => bed.pool.give(frame),
        }
        if number == 50 {
            one.flush(&mut bed.pool);
        }
        assert_eq!(bed.missing(&[&one]), 0);
    }
    // Four of five chunks each wait in the ring, the others in front of it.
    assert_eq!(accepted, 4 + 64);
    one.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 2048 + 100);
}

#[test]
fn without_a_free_large_frame_a_packet_is_lost_whole_and_the_next_ones_arrive() {
    let Some(net) = Net::new() else { return };
    jumbo(&net);
    let mut bed = Bed::with_large(4096, 2);
    let (_a, mut one) = bed.workload(&net, "va", config(LargePackets::IfPossible));
    let (_b, mut other) = bed.workload(&net, "vb", config(LargePackets::IfPossible));
    if !can(&one) {
        return;
    }
    let send = |bed: &mut Bed, one: &mut XskPort, frame| {
        one.transmit(frame).unwrap();
        one.flush(&mut bed.pool);
    };
    let frame = bed.numbered(1, 9014);
    send(&mut bed, &mut one, frame);
    let held = [bed.pool.take_large().unwrap(), bed.pool.take_large().unwrap()];
    let frame = bed.numbered(2, 60);
    send(&mut bed, &mut one, frame);
    assert_eq!(bed.collect(&mut other, 1), [2]);
    assert_eq!(other.info().statistics.rx_dropped, 1);
    held.into_iter().for_each(|frame| bed.pool.give(frame));
    let frame = bed.numbered(3, 9014);
    send(&mut bed, &mut one, frame);
    assert_eq!(bed.collect(&mut other, 1), [3]);
    for mut port in [one, other] {
        port.close(&mut bed.pool);
    }
    assert_eq!(bed.pools.free_frames(), 4096 + 2);
}
