//! A TAP device of our making, the kernel's stack at its other end.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use port::{
    Burst, Frame, FramePool, FramePools, Memory, Offloads, Port, PortMode, Segmentation, Tap,
    TapPort, Train,
};
use support::{Net, PATIENCE};

const MAC: [u8; 6] = [2, 0, 0, 0, 0xf0, 0x11];

struct Bench {
    net: Net,
    pools: FramePools,
    pool: FramePool,
    port: TapPort,
}

/// `None`, and a word why, where it cannot be tested.
fn bench() -> Option<Bench> {
    let net = Net::new()?;
    let tap = net.within(|| {
        Tap::create("vhost0", Offloads::TcpAndUdp).inspect(|_| {
            sys::device::set_mac("vhost0", MAC).unwrap();
            sys::device::set_mtu("vhost0", 1774).unwrap();
        })
    });
    let tap = match tap {
        Ok(tap) => tap,
        Err(error) => {
            println!("skipped: cannot make a TAP: {error}");
            return None;
        }
    };
    net.within(|| {
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/vhost0/disable_ipv6", "1");
    });
    net.ip("addr add 169.254.1.1/24 dev vhost0");
    net.ip("link set vhost0 up");
    net.ip("neigh add 169.254.1.2 lladdr 02:00:00:00:00:02 dev vhost0");
    let pools = FramePools::new(Memory::new(512, 2048, "port-test").unwrap(), 1);
    Some(Bench { net, pool: pools.pool(), pools, port: TapPort::new(tap) })
}

impl Bench {
    /// The next packet that comes in.
    fn next(&mut self) -> Frame {
        let (mut burst, start) = (Burst::new(), Instant::now());
        loop {
            for frame in burst.drain(..) {
                self.pool.give(frame);
            }
            if self.port.receive(&mut self.pool, &mut burst) == 1 {
                return burst.pop().unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "nothing came");
            std::thread::yield_now();
        }
    }
}

/// The sum over a UDP packet and its pseudo-header, which is all ones when the checksum is right.
fn udp_sum(ip: &[u8]) -> u32 {
    let mut bytes = ip[12..].to_vec();
    let length = u16::try_from(ip.len() - 20).unwrap();
    bytes.extend([0, 17]);
    bytes.extend(length.to_be_bytes());
    if bytes.len() % 2 == 1 {
        // The odd byte stands before the two words that were appended.
        bytes.insert(bytes.len() - 4, 0);
    }
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn what_the_host_sends_arrives_with_its_checksum_finished() {
    let Some(mut bench) = bench() else { return };
    let socket = bench.net.within(|| UdpSocket::bind("169.254.1.1:1000").unwrap());
    for length in [1, 2, 1400, 1746] {
        let payload: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        socket.send_to(&payload, "169.254.1.2:2000").unwrap();
        let frame = bench.next();
        let data = frame.data();
        assert_eq!(data[..14], [&[2, 0, 0, 0, 0, 2][..], &MAC, &[8, 0]].concat());
        assert_eq!(data[42..], payload);
        assert_eq!(udp_sum(&data[14..]), 0xffff, "{length}");
        // And back: addresses and ports change places, which changes no sum.
        let mut reply = data.to_vec();
        reply[..6].copy_from_slice(&MAC);
        reply[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
        for (one, other, count) in [(26, 30, 4), (34, 36, 2)] {
            (0..count).for_each(|i| reply.swap(one + i, other + i));
        }
        let mut frame = frame;
        frame.fill(&reply).unwrap();
        assert!(bench.port.transmit(frame).is_ok());
        assert_eq!(bench.port.pending(), 1);
        bench.port.flush(&mut bench.pool);
        assert_eq!(bench.port.outstanding(), 0);
        let mut buffer = [0; 2048];
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (got, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..got], payload);
    }
    assert_eq!(bench.pools.free_frames(), bench.pools.capacity());
}

#[test]
fn a_packet_larger_than_a_frame_is_counted_and_the_next_arrives() {
    let Some(mut bench) = bench() else { return };
    bench.net.ip("link set vhost0 mtu 9000");
    let socket = bench.net.within(|| UdpSocket::bind("169.254.1.1:1000").unwrap());
    socket.send_to(&[7; 4000], "169.254.1.2:2000").unwrap();
    socket.send_to(&[7; 10], "169.254.1.2:2000").unwrap();
    let frame = bench.next();
    assert_eq!(frame.len(), 52);
    bench.pool.give(frame);
    let info = bench.port.info();
    assert_eq!((info.mode, info.statistics.rx_dropped), (PortMode::Tap, 1));
    assert_eq!(bench.pools.free_frames(), bench.pools.capacity());
}

#[test]
fn closing_gives_all_frames_back_and_takes_the_device_away() {
    let Some(mut bench) = bench() else { return };
    bench.net.ip("link set vhost0 down");
    for refused in [0, 1] {
        let frame = bench.pool.take().unwrap();
        assert!(bench.port.transmit(frame).is_ok());
        if refused == 0 {
            bench.port.flush(&mut bench.pool);
            assert_eq!(bench.port.info().statistics.tx_invalid, 1, "the device is down");
        }
    }
    bench.port.close(&mut bench.pool);
    assert_eq!(bench.pools.free_frames(), bench.pools.capacity());
    assert!(!bench.net.try_ip("link show vhost0").status.success());
    let frame = bench.pool.take().unwrap();
    let refused = bench.port.transmit(frame).unwrap_err();
    bench.pool.give(refused);
    assert!(bench.port.poll_fd().is_none());
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let Some(bench) = bench() else { return };
    let error = bench.net.within(|| Tap::create("vhost0", Offloads::TcpAndUdp).err());
    assert!(error.is_some(), "the device has an owner");
    let error = bench.net.within(|| Tap::create("lo", Offloads::Tcp).err());
    assert!(error.is_some(), "a device of another kind has the name");
    for name in ["", "a-name-that-is-too-long", "a\0b"] {
        assert!(Tap::create(name, Offloads::Tcp).is_err(), "{name:?}");
    }
}

/// A TAP in a namespace of its own, its stack with an address and a neighbour beside it.
fn station(pools: &FramePools, number: u8, offloads: Offloads) -> Option<(Net, TapPort)> {
    let net = Net::new()?;
    let made = net.within(|| {
        Tap::create("tap0", offloads).inspect(|_| {
            sys::device::set_mac("tap0", [2, 0, 0, 0, 0, number]).unwrap();
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/tap0/disable_ipv6", "1");
        })
    });
    let tap = match made {
        Ok(tap) => tap,
        Err(error) => {
            println!("skipped: cannot make a TAP: {error}");
            return None;
        }
    };
    let other = 3 - number;
    net.ip(&format!("addr add 10.0.0.{number}/24 dev tap0"));
    net.ip("link set tap0 up");
    net.ip(&format!("neigh add 10.0.0.{other} lladdr 02:00:00:00:00:0{other} dev tap0"));
    assert!(pools.large_capacity() > 0);
    Some((net, TapPort::new(tap)))
}

/// What crossed between two TAPs.
#[derive(Debug, Default)]
struct Crossed {
    packets: usize,
    trains: usize,
    refused: usize,
}

/// Sends a megabyte over TCP from the first to the second, through our ports.
fn stream_between(offloads: [Offloads; 2]) -> Option<[Crossed; 2]> {
    let memory = Memory::new(1024, 2048, "port-test").unwrap();
    let pools = FramePools::with_large(memory, Memory::large(64, "port-test").unwrap(), 1);
    let (net1, one) = station(&pools, 1, offloads[0])?;
    let (net2, two) = station(&pools, 2, offloads[1])?;
    let sent: Vec<u8> = (0..1_000_000u32).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
    let listener = net2.within(|| TcpListener::bind("10.0.0.2:5000").unwrap());
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let bytes = sent.clone();
    let sender = std::thread::spawn(move || {
        let stream =
            net1.within(|| TcpStream::connect_timeout(&"10.0.0.2:5000".parse().unwrap(), PATIENCE));
        stream.unwrap().write_all(&bytes).unwrap();
        net1
    });
    let (mut pool, start) = (pools.pool(), Instant::now());
    let mut ports = [one, two];
    let mut crossed = [Crossed::default(), Crossed::default()];
    while !receiver.is_finished() && start.elapsed() < PATIENCE {
        for from in [0, 1] {
            let mut burst = Burst::new();
            ports[from].receive(&mut pool, &mut burst);
            for frame in burst {
                crossed[from].packets += 1;
                crossed[from].trains += usize::from(frame.train().is_some());
                if let Err(frame) = ports[1 - from].transmit(frame) {
                    crossed[from].refused += 1;
                    pool.give(frame);
                }
            }
            ports[1 - from].flush(&mut pool);
        }
    }
    let net1 = sender.join().unwrap();
    assert!(receiver.join().unwrap() == sent, "what arrived is what was sent");
    ports.iter_mut().for_each(|port| port.close(&mut pool));
    assert_eq!(pools.free_frames(), pools.capacity());
    drop((net1, net2));
    Some(crossed)
}

#[test]
fn point_42_trains_cross_from_tap_to_tap_whole_with_their_sums_unfinished() {
    let Some(crossed) = stream_between([Offloads::TcpAndUdp; 2]) else { return };
    println!("{crossed:?}");
    let [there, _] = crossed;
    assert!(there.trains > 10 && there.refused == 0);
    assert!(there.packets < 400, "a megabyte is 690 segments");
}

#[test]
fn a_tap_without_segmentation_offload_sends_no_trains() {
    let Some(crossed) = stream_between([Offloads::Checksum; 2]) else { return };
    println!("{crossed:?}");
    let [there, _] = crossed;
    assert!(there.trains == 0 && there.packets >= 690);
}

#[test]
fn a_tap_without_segmentation_offload_refuses_trains_and_says_what_it_lacks() {
    let memory = Memory::new(64, 2048, "port-test").unwrap();
    let pools = FramePools::with_large(memory, Memory::large(2, "port-test").unwrap(), 1);
    let mut pool = pools.pool();
    for (offloads, takes) in [(Offloads::Checksum, false), (Offloads::Tcp, true)] {
        let Some((_net, mut port)) = station(&pools, 1, offloads) else { return };
        let segmentation = Segmentation::TcpV4 { congestion: false };
        let train = Train { segmentation, size: 1000, transport: 34, sum: 16, network: None };
        let mut frame = pool.take_large().unwrap();
        frame.fill(&[0; 3000]).unwrap();
        frame.set_train(Some(&train));
        assert_eq!(port.takes_trains(), takes);
        assert_eq!(port.info().features.contains(&"tso"), takes);
        assert_eq!(port.info().missing.contains(&"tso"), !takes);
        match port.transmit(frame) {
            Ok(()) => assert!(takes),
            Err(frame) => {
                assert!(!takes);
                pool.give(frame);
            }
        }
        port.close(&mut pool);
    }
    assert_eq!(pools.free_frames(), pools.capacity());
}

#[test]
fn h14_a_packet_larger_than_a_frame_arrives_in_a_large_one_with_its_sum_finished() {
    let memory = Memory::new(64, 2048, "port-test").unwrap();
    let pools = FramePools::with_large(memory, Memory::large(4, "port-test").unwrap(), 1);
    let Some((net, port)) = station(&pools, 1, Offloads::TcpAndUdp) else { return };
    net.ip("link set tap0 mtu 9000");
    let mut bench = Bench { net, pool: pools.pool(), pools, port };
    let socket = bench.net.within(|| UdpSocket::bind("10.0.0.1:1000").unwrap());
    for length in [1792, 1793, 3506, 4082, 9014] {
        let payload: Vec<u8> = (0..length - 42).map(|i| u8::try_from(i % 251).unwrap()).collect();
        socket.send_to(&payload, "10.0.0.2:2000").unwrap();
        let frame = bench.next();
        assert_eq!((frame.len(), frame.is_large()), (length, length > 1792));
        assert!(frame.data()[42..] == payload);
        assert_eq!(udp_sum(&frame.data()[14..]), 0xffff, "{length}");
        assert!(frame.train().is_none());
        bench.pool.give(frame);
    }
    assert_eq!(bench.pools.free_frames(), bench.pools.capacity());
}
