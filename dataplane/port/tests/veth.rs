//! AF_XDP ports on real veth pairs: nothing stalls, nothing is lost, everything comes back.

mod support;

use port::{Port, PortMode, SendBudget, XskConfig, XskDevice, XskPort};
use support::{Bed, Net};

fn small(ring_size: u32) -> XskConfig {
    XskConfig::with_rings(0, ring_size)
}

#[test]
fn packets_cross_between_two_ports_both_ways() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(4096);
    let (_a, mut one) = bed.workload(&net, "va", small(512));
    let (_b, mut other) = bed.workload(&net, "vb", small(512));
    for round in 0..20 {
        for length in [60, 64, 1500, 1514] {
            let frame = bed.numbered(round, length);
            one.transmit(frame).unwrap();
            one.flush(&mut bed.pool);
            let mut seen = Vec::new();
            assert!(bed.until(&mut other, |packet| {
                seen = packet.to_vec();
                true
            }));
            assert_eq!(seen, support::numbered(round, length));
        }
        let frame = bed.numbered(round, 60);
        other.transmit(frame).unwrap();
        other.flush(&mut bed.pool);
        assert_eq!(bed.collect(&mut one, 1), [round]);
    }
    assert_eq!(bed.missing(&[&one, &other]), 0);
    let info = one.info();
    assert_eq!((info.mode, info.zero_copy), (PortMode::Native, false));
    assert_eq!((info.statistics.rx_dropped, info.statistics.tx_invalid), (0, 0));
    println!("{info:?}");
    one.close(&mut bed.pool);
    other.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
}

#[test]
fn a_burst_of_any_length_leaves_in_one_flush_with_and_without_a_larger_budget() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(16384);
    for send_budget in [SendBudget::IfPossible, SendBudget::KernelDefault] {
        let config = XskConfig { send_budget, ..small(4096) };
        let (_a, mut one) = bed.workload(&net, "va", config);
        let (_b, mut other) = bed.workload(&net, "vb", small(4096));
        for count in [1u32, 17, 33, 2048] {
            for number in 0..count {
                let frame = bed.numbered(number, 60);
                one.transmit(frame).unwrap();
            }
            one.flush(&mut bed.pool);
            assert_eq!(one.pending(), 0, "{count} packets, {send_budget:?}");
            let seen = bed.collect(&mut other, count as usize);
            assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{count} packets, {send_budget:?}");
            assert_eq!(bed.missing(&[&one, &other]), 0);
        }
        println!("{send_budget:?}: features {:?}", one.info().features);
        one.close(&mut bed.pool);
        other.close(&mut bed.pool);
        assert_eq!(bed.pools.free_frames(), 16384);
    }
}

#[test]
fn a_link_that_is_down_holds_no_more_frames_than_the_port_may_and_then_sends_them() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(4096);
    let config = XskConfig { send_frames: 100, ..small(512) };
    let (_a, mut one) = bed.workload(&net, "va", config);
    let (_b, mut other) = bed.workload(&net, "vb", small(512));
    net.ip("link set va down");
    let mut accepted = 0;
    for number in 0..300 {
        let frame = bed.numbered(number, 60);
        match one.transmit(frame) {
            Ok(()) => accepted += 1,
            Err(frame) => bed.pool.give(frame),
        }
        one.flush(&mut bed.pool);
    }
    assert_eq!(accepted, 100);
    assert_eq!(one.pending(), 100);
    assert_eq!(bed.missing(&[&one, &other]), 0);
    assert_eq!(one.info().statistics.tx_refused, 200);
    net.ip("link set va up");
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while one.pending() > 0 && std::time::Instant::now() < deadline {
        one.flush(&mut bed.pool);
        std::thread::yield_now();
    }
    assert_eq!(bed.collect(&mut other, 100), (0..100).collect::<Vec<_>>());
    one.close(&mut bed.pool);
    other.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
}

#[test]
fn a_receiver_that_stopped_receives_again_and_frames_are_conserved() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(2048);
    let (_a, mut one) = bed.workload(&net, "va", small(256));
    let (_b, mut other) = bed.workload(&net, "vb", small(256));
    // Ten times as many as the receiver has frames for, while it does nothing.
    for number in 0..2560 {
        let frame = bed.numbered(number, 60);
        one.transmit(frame).unwrap();
        one.flush(&mut bed.pool);
    }
    assert_eq!(bed.missing(&[&one, &other]), 0);
    let kept = bed.collect(&mut other, 256);
    assert_eq!(kept, (0..256).collect::<Vec<_>>());
    let lost = other.info().statistics;
    println!("{lost:?}");
    assert!(lost.rx_ring_full + lost.rx_fill_ring_empty + lost.rx_dropped > 0);
    for number in 5000..5100 {
        let frame = bed.numbered(number, 60);
        one.transmit(frame).unwrap();
    }
    one.flush(&mut bed.pool);
    assert_eq!(bed.collect(&mut other, 100), (5000..5100).collect::<Vec<_>>());
    one.close(&mut bed.pool);
    other.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 2048);
}

#[test]
fn a_port_closed_and_opened_twenty_times_gives_every_frame_back() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(4096);
    let (_b, mut other) = bed.workload(&net, "vb", small(512));
    let held = other.outstanding();
    for round in 0..20 {
        let (_a, mut one) = bed.workload(&net, "va", small(512));
        for number in 0..50 {
            let frame = bed.numbered(round * 100 + number, 60);
            other.transmit(frame).unwrap();
            let frame = bed.numbered(round * 100 + number, 60);
            one.transmit(frame).unwrap();
        }
        other.flush(&mut bed.pool);
        if round % 2 == 0 {
            one.flush(&mut bed.pool);
            assert_eq!(bed.collect(&mut other, 50).len(), 50);
            assert_eq!(bed.collect(&mut one, 50).len(), 50);
        }
        // In odd rounds packets are received but not read, and queued but not sent.
        one.close(&mut bed.pool);
        assert_eq!(one.outstanding(), 0);
        assert_eq!(bed.pools.free_frames(), 4096 - held, "round {round}");
    }
    other.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
}

#[test]
fn workloads_share_a_registration_and_an_uplink_registers_the_same_memory_again() {
    let Some(net) = Net::new() else { return };
    for pair in ["a", "b", "u"] {
        net.veth(&format!("{pair}0"), &format!("{pair}1"));
    }
    let mut bed = Bed::new(8192);
    let (_a0, mut a0) = bed.workload(&net, "a0", small(512));
    let (_a1, mut a1) = bed.workload(&net, "a1", small(512));
    let (_b0, mut b0) = bed.workload(&net, "b0", small(512));
    let (_b1, mut b1) = bed.workload(&net, "b1", small(512));
    let (_u0, mut u0) = bed.uplink(&net, "u0", XskConfig::uplink(0));
    let (_u1, mut u1) = bed.workload(&net, "u1", small(512));
    // The first of the group goes; the others go on, and a new one joins.
    a0.close(&mut bed.pool);
    let (_a0, mut a0) = bed.workload(&net, "a0", small(512));
    // A packet moves a1 → a0 ⇒ b0 → b1, then b1 ⇒ u0 → u1, each ⇒ in the same frame.
    let frame = bed.numbered(7, 200);
    a1.transmit(frame).unwrap();
    a1.flush(&mut bed.pool);
    let mut hop = |from: &mut XskPort, to: &mut XskPort| {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        let mut burst = port::Burst::new();
        while burst.is_empty() && std::time::Instant::now() < deadline {
            bed.beat.beat(sys::tsc::monotonic_ns());
            from.receive(&mut bed.pool, &mut burst);
            std::thread::yield_now();
        }
        let mut frame = burst.pop().expect("the packet");
        frame.push(8).unwrap().fill(0xab);
        frame.pull(8).unwrap();
        to.transmit(frame).unwrap();
        to.flush(&mut bed.pool);
    };
    hop(&mut a0, &mut b0);
    hop(&mut b1, &mut u0);
    assert_eq!(bed.collect(&mut u1, 1), [7]);
    for port in [&mut a0, &mut a1, &mut b0, &mut b1, &mut u0, &mut u1] {
        port.close(&mut bed.pool);
    }
    assert_eq!(bed.pools.free_frames(), 8192);
}

#[test]
fn an_encapsulation_in_the_headroom_of_a_received_frame_leaves_whole() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(4096);
    let (_a, mut one) = bed.workload(&net, "va", small(512));
    let (_b, mut other) = bed.workload(&net, "vb", small(512));
    let frame = bed.numbered(1, 1000);
    one.transmit(frame).unwrap();
    one.flush(&mut bed.pool);
    let mut burst = port::Burst::new();
    while burst.is_empty() {
        bed.beat.beat(sys::tsc::monotonic_ns());
        other.receive(&mut bed.pool, &mut burst);
        std::thread::yield_now();
    }
    let mut frame = burst.pop().unwrap();
    assert!(frame.headroom() >= 88, "{}", frame.headroom());
    frame.push(88).unwrap().fill(0xcd);
    other.transmit(frame).unwrap();
    other.flush(&mut bed.pool);
    let mut seen = Vec::new();
    assert!(bed.until(&mut one, |packet| {
        seen = packet.to_vec();
        true
    }));
    assert_eq!(seen, [&[0xcd; 88][..], &support::numbered(1, 1000)].concat());
    one.close(&mut bed.pool);
    other.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
}

/// Sends `count` numbered packets and receives as many, on one queue of each end.
fn worker(mut bed: Bed, mut one: XskPort, mut other: XskPort, count: u32) {
    let mut next = 0;
    let mut seen = Vec::new();
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while seen.len() < count as usize && std::time::Instant::now() < deadline {
        bed.beat.beat(sys::tsc::monotonic_ns());
        // No more on the way than the far end has frames for.
        while next < count && next as usize - seen.len() < 128 {
            let frame = bed.numbered(next, 60);
            one.transmit(frame).unwrap();
            next += 1;
        }
        one.flush(&mut bed.pool);
        let mut burst = port::Burst::new();
        other.receive(&mut bed.pool, &mut burst);
        for frame in burst {
            seen.extend(support::number_of(frame.data()));
            bed.pool.give(frame);
        }
        other.flush(&mut bed.pool);
    }
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
    one.close(&mut bed.pool);
    other.close(&mut bed.pool);
}

#[test]
fn two_workers_each_serve_a_queue_of_one_device_from_one_pool() {
    let Some(net) = Net::new() else { return };
    net.veth_of("va", "vb", 2);
    let bed = Bed::new(8192);
    let (first, second) = net.within(|| {
        let a = XskDevice::uplink("va", &bed.heartbeat).unwrap();
        let b = XskDevice::workload("vb", &bed.heartbeat).unwrap();
        assert_eq!((a.queues(), b.queues()), (2, 2));
        let open = |queue: u32| {
            let mut bed = bed.another(queue);
            let config = || XskConfig::with_rings(queue, 512);
            let one = a.open(&bed.umem, config(), queue, &mut bed.pool).unwrap();
            let other = b.open(&bed.umem, config(), queue, &mut bed.pool).unwrap();
            (bed, one, other)
        };
        (open(0), open(1))
    });
    std::thread::scope(|scope| {
        for (bed, one, other) in [first, second] {
            scope.spawn(|| worker(bed, one, other, 20_000));
        }
    });
    assert_eq!(bed.pools.free_frames(), 8192);
}

#[test]
fn a_port_whose_pool_ran_empty_says_so_and_receives_again_after_a_flush() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(1024);
    let (_a, mut one) = bed.workload(&net, "va", small(256));
    let (_b, mut other) = bed.workload(&net, "vb", small(64));
    let mut frames: Vec<_> = (0..65).map(|number| bed.numbered(number, 60)).collect();
    let last = frames.pop().unwrap();
    let hoard: Vec<_> = std::iter::from_fn(|| bed.pool.take()).collect();
    for frame in frames {
        one.transmit(frame).unwrap();
    }
    // What was sent goes to a pool of its own and stays in it: 64 frames, so the receiver's stays empty.
    let mut sink = bed.pools.pool();
    one.flush(&mut sink);
    let mut kept = port::Burst::new();
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while !kept.is_full() && std::time::Instant::now() < deadline {
        other.receive(&mut bed.pool, &mut kept);
    }
    other.flush(&mut bed.pool);
    assert!(kept.is_full() && other.starved(), "received into all it had: {}", kept.len());
    kept.into_iter().chain(hoard).for_each(|frame| bed.pool.give(frame));
    other.flush(&mut bed.pool);
    assert!(!other.starved());
    one.transmit(last).unwrap();
    one.flush(&mut bed.pool);
    assert_eq!(bed.collect(&mut other, 1), [64]);
    one.close(&mut bed.pool);
    other.close(&mut bed.pool);
    assert!(!other.starved(), "a closed port wants nothing");
    drop(sink);
    assert_eq!(bed.pools.free_frames(), 1024);
}
