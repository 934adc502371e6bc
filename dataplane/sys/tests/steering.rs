//! The steering programs judged packet by packet: the kernel runs them on bytes
//! (`BPF_PROG_TEST_RUN`) and tells the verdict. Nothing is attached to any device.

use std::{net::IpAddr, sync::Arc};

use sys::{
    memory::Memory,
    tsc::monotonic_ns,
    xdp::{Beat, Heartbeat, Program, Role, Verdict},
    xsk::{Rings, Socket},
};

const NODE: [u8; 4] = [192, 0, 2, 1];
const OTHER: [u8; 4] = [192, 0, 2, 2];
const NODE6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const OTHER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A loaded program whose queue 0 has a socket and a worker that just beat.
struct Bench {
    program: Program,
    beat: Beat,
    socket: Option<Socket>,
    _heartbeat: Heartbeat,
}

/// `None` (and a word why) where programs cannot be loaded.
fn bench(role: Role) -> Option<Bench> {
    if let Err(missing) = sys::caps::check() {
        println!("skipped: {missing}");
        return None;
    }
    let heartbeat = Heartbeat::new().unwrap();
    let program = Program::load(role, &heartbeat).unwrap();
    let memory = Arc::new(Memory::new(1, 2048, "steering-test").unwrap());
    let socket = match Socket::new(&memory, Rings { receive: 64, send: 64 }) {
        Ok(socket) => socket,
        Err(error) => {
            println!("skipped: no AF_XDP: {error}");
            return None;
        }
    };
    program.serve(0, 3, &socket).unwrap();
    let endpoints = [IpAddr::from(NODE), IpAddr::from(NODE6)];
    program.set_endpoints(&endpoints).unwrap();
    program.set_mac(MAC).unwrap();
    let beat = heartbeat.beat(3).unwrap();
    beat.beat(monotonic_ns());
    Some(Bench { program, beat, socket: Some(socket), _heartbeat: heartbeat })
}

impl Bench {
    fn judge(&self, packet: &[u8]) -> Verdict {
        self.beat.beat(monotonic_ns());
        self.program.verdict(packet).unwrap()
    }
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&MAC[..], &[2, 0, 0, 0, 0, 9], &kind.to_be_bytes(), payload].concat()
}

/// IPv4 with these flags-and-offset bits and this many words of options.
fn ipv4_with(protocol: u8, to: [u8; 4], fragment: u16, options: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + 4 * usize::from(options);
    let length = u16::try_from(header + payload.len()).unwrap().to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let mut packet =
        vec![0x45 + options, 0, length[0], length[1], 0, 0, high, low, 64, protocol, 0, 0];
    packet.extend([OTHER, to].concat());
    packet.resize(header, 1);
    packet.extend(payload);
    ethernet(0x0800, &packet)
}

fn ipv4(protocol: u8, to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    ipv4_with(protocol, to, 0, 0, payload)
}

fn ipv6(next: u8, to: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    packet.extend(OTHER6);
    packet.extend(to);
    packet.extend(payload);
    ethernet(0x86dd, &packet)
}

fn udp(port: u16) -> Vec<u8> {
    let mut segment = vec![0xc0, 1];
    segment.extend(port.to_be_bytes());
    segment.extend([0, 48, 0, 0]);
    segment.resize(48, 0x55);
    segment
}

fn gre(flags: u16, protocol: u16) -> Vec<u8> {
    let mut packet = [flags.to_be_bytes(), protocol.to_be_bytes()].concat();
    packet.resize(48, 0x55);
    packet
}

const UDP: u8 = 17;
const GRE: u8 = 47;
const MPLS: u16 = 0x8847;

#[test]
fn the_uplink_takes_tunnel_packets_for_a_local_endpoint_and_nothing_else() {
    let Some(bench) = bench(Role::Uplink) else { return };
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.resize(46, 0);
    let mut foreign_mac = ipv4(UDP, NODE, &udp(6635));
    foreign_mac[5] = 0x77;
    let mut broadcast = ipv4(UDP, NODE, &udp(4789));
    broadcast[..6].fill(0xff);
    let tagged = {
        let mut packet = ipv4(UDP, NODE, &udp(6635));
        packet.splice(12..12, [0x81, 0, 0, 7]);
        packet
    };
    let mut version = ipv4(UDP, NODE, &udp(6635));
    version[14] = 0x65;
    let mut header_length = ipv4(UDP, NODE, &udp(6635));
    header_length[14] = 0x44;
    let table: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("ARP", ethernet(0x0806, &arp), Verdict::Pass),
        ("TCP to the node", ipv4(6, NODE, &[0; 40]), Verdict::Pass),
        ("ICMP to the node", ipv4(1, NODE, &[8; 40]), Verdict::Pass),
        ("other UDP to the node", ipv4(UDP, NODE, &udp(53)), Verdict::Pass),
        ("MPLSoUDP", ipv4(UDP, NODE, &udp(6635)), Verdict::Socket),
        ("MPLSoUDP, old port", ipv4(UDP, NODE, &udp(51234)), Verdict::Socket),
        ("VXLAN", ipv4(UDP, NODE, &udp(4789)), Verdict::Socket),
        ("MPLSoUDP to another address", ipv4(UDP, OTHER, &udp(6635)), Verdict::Pass),
        ("VXLAN to another address", ipv4(UDP, OTHER, &udp(4789)), Verdict::Pass),
        ("MPLSoGRE", ipv4(GRE, NODE, &gre(0, MPLS)), Verdict::Socket),
        ("MPLSoGRE with key", ipv4(GRE, NODE, &gre(0x2000, MPLS)), Verdict::Socket),
        ("MPLSoGRE with checksum", ipv4(GRE, NODE, &gre(0x8000, MPLS)), Verdict::Socket),
        ("MPLSoGRE with both", ipv4(GRE, NODE, &gre(0xa000, MPLS)), Verdict::Socket),
        ("MPLSoGRE with sequence", ipv4(GRE, NODE, &gre(0x1000, MPLS)), Verdict::Pass),
        ("MPLSoGRE with routing", ipv4(GRE, NODE, &gre(0x4000, MPLS)), Verdict::Pass),
        ("GRE version 1", ipv4(GRE, NODE, &gre(1, MPLS)), Verdict::Pass),
        ("GRE with reserved bits", ipv4(GRE, NODE, &gre(0x0008, MPLS)), Verdict::Pass),
        ("GRE with IPv4", ipv4(GRE, NODE, &gre(0, 0x0800)), Verdict::Pass),
        ("GRE with Ethernet", ipv4(GRE, NODE, &gre(0, 0x6558)), Verdict::Pass),
        ("MPLSoGRE to another address", ipv4(GRE, OTHER, &gre(0, MPLS)), Verdict::Pass),
        ("first fragment", ipv4_with(UDP, NODE, 0x2000, 0, &udp(6635)), Verdict::Pass),
        ("later fragment", ipv4_with(UDP, NODE, 0x0010, 0, &udp(6635)), Verdict::Pass),
        ("don't fragment", ipv4_with(UDP, NODE, 0x4000, 0, &udp(6635)), Verdict::Socket),
        ("IPv4 options", ipv4_with(UDP, NODE, 0, 10, &udp(6635)), Verdict::Socket),
        ("IPv4 options, other port", ipv4_with(UDP, NODE, 0, 1, &udp(80)), Verdict::Pass),
        ("IPv4 version 6", version, Verdict::Pass),
        ("IPv4 header of 16 bytes", header_length, Verdict::Pass),
        ("MPLSoUDP over IPv6", ipv6(UDP, NODE6, &udp(6635)), Verdict::Socket),
        ("VXLAN over IPv6", ipv6(UDP, NODE6, &udp(4789)), Verdict::Socket),
        ("MPLSoGRE over IPv6", ipv6(GRE, NODE6, &gre(0, MPLS)), Verdict::Socket),
        ("GRE with sequence, IPv6", ipv6(GRE, NODE6, &gre(0x1000, MPLS)), Verdict::Pass),
        ("MPLSoUDP to another IPv6", ipv6(UDP, OTHER6, &udp(6635)), Verdict::Pass),
        ("IPv6 fragment", ipv6(44, NODE6, &udp(6635)), Verdict::Pass),
        ("neighbour solicitation", ipv6(58, NODE6, &[135; 32]), Verdict::Pass),
        ("another MAC", foreign_mac, Verdict::Pass),
        ("broadcast", broadcast, Verdict::Pass),
        ("VLAN tag", tagged, Verdict::Pass),
        ("bare MPLS", ethernet(MPLS, &[0; 50]), Verdict::Pass),
    ];
    for (what, packet, verdict) in table {
        assert_eq!(bench.judge(&packet), verdict, "{what}");
    }
    assert_eq!(bench.program.missed().unwrap(), 0);
}

#[test]
fn truncated_packets_of_every_length_pass_until_the_tunnel_header_is_whole() {
    let Some(bench) = bench(Role::Uplink) else { return };
    // Whole from: Ethernet 14, IPv4 20 or IPv6 40, and UDP 8 or GRE 4.
    let table = [
        ("MPLSoUDP", ipv4(UDP, NODE, &udp(6635)), 42),
        ("MPLSoGRE", ipv4(GRE, NODE, &gre(0, MPLS)), 38),
        ("options", ipv4_with(UDP, NODE, 0, 3, &udp(4789)), 54),
        ("IPv6", ipv6(UDP, NODE6, &udp(6635)), 62),
        ("IPv6 GRE", ipv6(GRE, NODE6, &gre(0, MPLS)), 58),
    ];
    // The kernel runs programs on nothing shorter than an Ethernet header.
    assert!(bench.program.verdict(&[0; 13]).is_err());
    for (what, packet, whole) in table {
        for length in 14..=64 {
            let wanted = if length < whole { Verdict::Pass } else { Verdict::Socket };
            assert_eq!(bench.judge(&packet[..length]), wanted, "{what} of {length} bytes");
        }
    }
}

#[test]
fn a_workload_s_frames_go_to_the_socket_whatever_they_are() {
    let Some(bench) = bench(Role::Workload) else { return };
    for length in 14..=64 {
        assert_eq!(bench.judge(&vec![0xff; length]), Verdict::Socket);
    }
    assert_eq!(bench.judge(&ipv4(6, NODE, &[0; 1000])), Verdict::Socket);
}

#[test]
fn without_a_beating_worker_the_uplink_passes_and_a_workload_drops() {
    for (role, fallback) in [(Role::Uplink, Verdict::Pass), (Role::Workload, Verdict::Drop)] {
        let Some(bench) = bench(role) else { return };
        let packet = ipv4(UDP, NODE, &udp(6635));
        let second = 1_000_000_000;
        let judge = |beat: u64| {
            bench.beat.beat(beat);
            bench.program.verdict(&packet).unwrap()
        };
        assert_eq!(judge(monotonic_ns()), Verdict::Socket, "{role:?}, just beaten");
        assert_eq!(judge(monotonic_ns() - second / 2), Verdict::Socket, "{role:?}, half a second");
        assert_eq!(judge(monotonic_ns() + second / 2), Verdict::Socket, "{role:?}, ahead");
        assert_eq!(judge(monotonic_ns() - second), fallback, "{role:?}, a second ago");
        assert_eq!(judge(0), fallback, "{role:?}, never");
        assert_eq!(bench.program.missed().unwrap(), 2);
        assert_eq!(judge(monotonic_ns()), Verdict::Socket, "{role:?}, back again");
    }
}

#[test]
fn without_a_socket_the_uplink_passes_and_a_workload_drops() {
    for (role, fallback) in [(Role::Uplink, Verdict::Pass), (Role::Workload, Verdict::Drop)] {
        let Some(mut bench) = bench(role) else { return };
        let packet = ipv4(GRE, NODE, &gre(0, MPLS));
        assert_eq!(bench.judge(&packet), Verdict::Socket);
        bench.socket.take().unwrap().close(|_| ());
        assert_eq!(bench.judge(&packet), fallback, "{role:?}");
        assert_eq!(bench.program.missed().unwrap(), 1);
    }
}

#[test]
fn endpoints_are_exactly_those_last_set() {
    let Some(bench) = bench(Role::Uplink) else { return };
    let (node, other) = (ipv4(UDP, NODE, &udp(6635)), ipv4(UDP, OTHER, &udp(6635)));
    bench.program.set_endpoints(&[IpAddr::from(OTHER)]).unwrap();
    assert_eq!(bench.judge(&node), Verdict::Pass);
    assert_eq!(bench.judge(&other), Verdict::Socket);
    assert_eq!(bench.judge(&ipv6(UDP, NODE6, &udp(6635))), Verdict::Pass);
    bench.program.set_endpoints(&[]).unwrap();
    assert_eq!(bench.judge(&other), Verdict::Pass);
}
