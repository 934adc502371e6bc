//! In steady state a turn allocates nothing and makes no system call, whatever comes in.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

#[path = "case_book/bench.rs"]
mod bench;
mod site;

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Command, Stdio};

use port::ReplayPort;
use site::*;
use tables::VifId;

/// Turns both workers many times over traffic of every kind and counts what this thread allocates meanwhile.
fn allocations(site: &mut Site, turns: Range<u64>) -> u64 {
    // A second apart: no storm.
    allocation_counter::measure(|| site.turn_at(turns)).count_total
}

#[test]
fn turns_over_traffic_of_every_kind_allocate_nothing() {
    each(|site| {
        let mut arp = vec![0; 42];
        wire::Ethernet::new(wire::Mac::BROADCAST, MAC3, wire::ethertype::ARP)
            .emit(&mut arp)
            .unwrap();
        wire::Arp::new(
            wire::ArpOperation::Request,
            (MAC3, tenant(3)),
            (wire::Mac::ZERO, tenant(1)),
        )
        .emit(&mut arp[14..])
        .unwrap();
        let mut tenant_packets: Vec<_> = (0..200)
            .map(|flow| udp(MAC3, 3, [4, 9, 10, 11][usize::from(flow % 4)], (flow, 53), b"flow"))
            .collect();
        tenant_packets.push(arp);
        let fabric_packets: Vec<_> = (0..200u16)
            .map(|flow| {
                let inner = udp(MAC9, 9, 3, (flow, 53), b"flow");
                match flow % 3 {
                    0 => mpls_over_udp(20, 64, &inner[14..]),
                    1 => mpls_over_gre(20, 64, &inner[14..]),
                    _ => vxlan(6001, &inner),
                }
            })
            .collect();
        steady(site, VIF3, &tenant_packets, &[FABRIC, VIF4]);
        steady(site, FABRIC, &fabric_packets, &[VIF3, VIF4]);
    });
}

/// Everything that comes in at `from` comes in there again once it has left, by any of the ports.
fn steady(site: &mut Site, from: VifId, packets: &[Vec<u8>], to: &[VifId]) {
    let on = |site: &Site, vif| if vif == VIF3 { site.workers.len() - 1 } else { 0 };
    let mut pool = site.pools.pool();
    let port = ReplayPort::new("from", &mut pool, packets).unwrap();
    for vif in to {
        let worker = on(site, *vif);
        site.add_port(*vif, worker, Box::new(SendOnly(port.sibling("to"))));
    }
    let worker = on(site, from);
    site.add_port(from, worker, Box::new(port));
    // The first turns obey the commands and move frames into place.
    allocations(site, 0..200);
    let (before, drops) = (site.counters.vif(from).rx_packets, site.counters.drops());
    assert_eq!(allocations(site, 200..1200), 0);
    assert!(site.counters.vif(from).rx_packets > before + 10_000);
    assert_eq!(site.counters.drops(), drops, "nothing is dropped meanwhile");
}

/// What a node gets: the traffic of its tunnels, and every capture that is part of the project, at every port.
fn traffic() -> Vec<(VifId, Vec<Vec<u8>>)> {
    let mut traffic = vec![(VIF3, from_a_workload()), (FABRIC, from_the_fabric())];
    for path in captures_here() {
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let packets = packets_of(&path);
        for vif in [FABRIC, VIF3, HOST, bench::AGENT] {
            traffic.push((vif, packets.clone()));
        }
    }
    traffic
}

/// Routed and bridged, through each tunnel, to the neighbour, to groups and to nobody; too big, dying, and in pieces.
fn from_a_workload() -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> =
        [4, 9, 10, 11, 99, 200].map(|to| udp(MAC3, 3, to, (1000, 53), b"payload")).into();
    for station in [MAC4, MAC9, wire::Mac::BROADCAST, wire::Mac([2, 0, 0, 0, 0xee, 0xee])] {
        packets.push([&station.0[..], &packets[1][6..]].concat());
    }
    let large = udp(MAC3, 3, 9, (1, 2), &[7; 1472]);
    let mut whole = large.clone();
    whole[20] |= 0x40;
    let mut dying = udp(MAC3, 3, 9, (1, 2), b"TTL 1");
    dying[22] = 1;
    packets.extend([large, whole, dying]);
    packets
}

/// Through each tunnel, to one station and to a group; what is no tunnel.
fn from_the_fabric() -> Vec<Vec<u8>> {
    let inner = udp(MAC9, 9, 3, (1000, 53), b"payload");
    let frame = [&MAC3.0[..], &inner[6..]].concat();
    let group = [&[0xff; 6], &inner[6..]].concat();
    vec![
        mpls_over_udp(20, 64, &inner[14..]),
        mpls_over_gre(20, 64, &inner[14..]),
        mpls_over_udp(30, 64, &frame),
        vxlan(5001, &frame),
        vxlan(5001, &group),
        vxlan(6001, &inner),
        mpls_over_udp(52, 1, &inner[14..]),
        outer_udp(9999, b"for the host"),
    ]
}

#[test]
fn whatever_comes_in_a_turn_allocates_nothing() {
    each(|site| {
        bench::furnish(site);
        for (vif, packets) in traffic() {
            let packets: Vec<_> =
                packets.into_iter().filter(|packet| packet.len() < 1700).collect();
            // The memory ports' queues grow once.
            site.inject(vif, &packets);
            site.turn_all();
            site.collect();
            site.inject(vif, &packets);
            let turns = allocation_counter::measure(|| site.turn_all());
            assert_eq!(turns.count_total, 0, "vif {vif}: {packets:02x?}");
            site.collect();
        }
    });
}

/// Set in the process that is not allowed system calls.
const CONFINED: &str = "VROUTER_TEST_CONFINED";

/// The turns are taken under seccomp's strict mode, in which the kernel kills a thread for any system call but reading
/// and writing open files: in a process of its own, which says so when it got through.
#[test]
fn whatever_comes_in_a_turn_makes_no_system_call() {
    if std::env::var_os(CONFINED).is_some() {
        return confined();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "whatever_comes_in_a_turn_makes_no_system_call", "--nocapture"])
        .env(CONFINED, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    // Ends with what is waited for, or with the process.
    while !output.contains(THROUGH) && lines.read_line(&mut output).unwrap() > 0 {}
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(output.contains(THROUGH), "a turn makes system calls: {output}");
}

const THROUGH: &str = "no system call in ";

fn confined() {
    // One message: in strict mode it must be ready, and a pipe is all that may be used.
    let mut site = Site::new(2);
    bench::furnish(&mut site);
    let traffic = traffic();
    let mut packets_in = 0;
    for round in 0..2 {
        for (vif, packets) in &traffic {
            let packets: Vec<_> =
                packets.iter().filter(|packet| packet.len() < 1700).cloned().collect();
            site.inject(*vif, &packets);
            packets_in += packets.len();
            if round == 0 {
                site.turn_all();
                site.collect();
            }
        }
    }
    let message = format!("{THROUGH}{packets_in} packets\n");
    #[allow(clippy::disallowed_methods, reason = "the parent reads it")]
    let stdout = std::io::stdout();
    rustix::thread::set_secure_computing_mode(rustix::thread::SecureComputingMode::Strict).unwrap();
    site.turn_all();
    // What is open may be written to; then this thread ends where it next wants something of the kernel.
    rustix::io::write(&stdout, message.as_bytes()).unwrap();
    std::mem::forget(site);
}
