//! Cycles per packet (TSC) of the graph on replay ports: encapsulation and decapsulation of each tunnel, one flow and
//! ten thousand, beside the port shim alone. `cargo run --release -p engine --example cycles [TURNS [NAME]]`; with few turns it
//! is what to run under `valgrind --tool=callgrind`.
#![allow(
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a measurement prints; it is no packet path"
)]

#[path = "../tests/site/mod.rs"]
mod site;

use engine::Tick;
use port::{Burst, Port, ReplayPort};
use site::*;
use tables::{Op, Owner};

const FRAMES: u32 = 16_384;

/// Per packet: tenth percentile and median over bursts of 32 packets and more.
fn summary(mut samples: Vec<f64>) -> (f64, f64) {
    samples.sort_by(f64::total_cmp);
    (samples[samples.len() / 10], samples[samples.len() / 2])
}

fn shim(packets: &[Vec<u8>], turns: usize) -> (f64, f64) {
    let site = Site::with_frames(1, FRAMES);
    let mut pool = site.pools.pool();
    let mut port = ReplayPort::new("shim", &mut pool, packets).unwrap();
    let mut samples = Vec::new();
    for _ in 0..turns {
        let start = sys::tsc::cycles();
        let mut burst = Burst::new();
        let count = port.receive(&mut pool, &mut burst);
        for frame in burst {
            port.transmit(frame).unwrap();
        }
        port.flush(&mut pool);
        samples.push((sys::tsc::cycles() - start) as f64 / count.max(1) as f64);
    }
    port.close(&mut pool);
    summary(samples)
}

fn measure(name: &str, from: tables::VifId, to: tables::VifId, packets: &[Vec<u8>], flows: usize) {
    let mut arguments = std::env::args().skip(1);
    let turns = arguments.next().and_then(|turns| turns.parse().ok()).unwrap_or(100_000);
    if arguments.next().is_some_and(|only| name != only) {
        return;
    }
    let mut site = Site::with_frames(1, FRAMES);
    for chunk in (0..flows).collect::<Vec<_>>().chunks(1000) {
        let ops: Vec<Op> = chunk.iter().flat_map(|flow| routes(*flow)).map(Op::Put).collect();
        site.apply(ops, Owner::Agent);
    }
    let mut pool = site.pools.pool();
    let port = ReplayPort::new("from", &mut pool, packets).unwrap();
    site.add_port(to, 0, Box::new(SendOnly(port.sibling("to"))));
    site.add_port(from, 0, Box::new(port));
    site.workers[0].turn(Tick(0));
    let mut samples = Vec::new();
    for turn in 0..turns {
        let start = sys::tsc::cycles();
        let work = site.workers[0].turn(Tick(turn as u64));
        let cycles = sys::tsc::cycles() - start;
        if work.received >= 32 {
            samples.push(cycles as f64 / work.received as f64);
        }
    }
    let sent = site.counters.vif(to).tx_packets;
    let drops = site.counters.drops().total();
    assert!(sent > (turns * 31) as u64 && drops == 0, "{name}: sent {sent}, dropped {drops}");
    let (p10, median) = summary(samples);
    let (shim10, shim50) = shim(packets, turns);
    println!(
        "{name:<32} with shim {p10:>6.1} {median:>6.1}   shim {shim10:>5.1} {shim50:>5.1}   net {:>6.1} {:>6.1}",
        p10 - shim10,
        median - shim50
    );
    drop(pool);
}

/// One host route for each flow beyond the first.
fn routes(flow: usize) -> Vec<tables::Object> {
    let [_, _, high, low] = u32::try_from(flow).unwrap().to_be_bytes();
    [(40, 11), (41, 12), (43, 13)]
        .map(|(next_hop, net)| route(RED, &format!("10.{net}.{high}.{low}/32"), next_hop, Some(33)))
        .to_vec()
}

fn tenant_packets(net: u8, flows: usize) -> Vec<Vec<u8>> {
    (0..flows.max(256))
        .map(|index| {
            let flow = (index * 7919) % flows;
            let [_, _, high, low] = u32::try_from(flow).unwrap().to_be_bytes();
            let ports = (u16::try_from(1024 + flow % 60_000).unwrap(), 53);
            let mut packet = udp(MAC3, 3, 9, ports, b"twenty-two byte payload");
            packet[30..34].copy_from_slice(&[10, net, high, low]);
            let (mut ip, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).unwrap();
            ip.header_checksum = ip.calc_header_checksum();
            packet[14..34].copy_from_slice(&ip.to_bytes());
            packet
        })
        .collect()
}

fn main() {
    println!("TSC cycles a packet, p10 and median over bursts of 64; 65-byte packets");
    for flows in [1, 10_000] {
        for (name, net) in [("mplsoudp-encap", 11), ("mplsogre-encap", 12), ("vxlan-l3-encap", 13)]
        {
            measure(&format!("{name}/{flows}"), VIF3, FABRIC, &tenant_packets(net, flows), flows);
        }
    }
    let inner = |flow: u16| udp(MAC9, 9, 3, (flow, 53), b"twenty-two byte payload");
    let packets = |make: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Vec<u8>> {
        (0..256).map(|flow| make(&inner(flow))).collect()
    };
    let udp = packets(&|inner| mpls_over_udp(20, 64, &inner[14..]));
    let gre = packets(&|inner| mpls_over_gre(20, 64, &inner[14..]));
    let routed = packets(&|inner| vxlan(6001, inner));
    let bridged = packets(&|inner| vxlan(5001, &[&MAC3.0, &inner[6..]].concat()));
    measure("mplsoudp-decap/1", FABRIC, VIF3, &udp, 0);
    measure("mplsogre-decap/1", FABRIC, VIF3, &gre, 0);
    measure("vxlan-l3-decap/1", FABRIC, VIF3, &routed, 0);
    measure("vxlan-l2-decap/1", FABRIC, VIF3, &bridged, 0);
}
