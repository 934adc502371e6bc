//! In steady state a turn allocates nothing.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::ops::Range;

use engine::Tick;
use port::ReplayPort;
use site::*;

/// Turns both workers many times over traffic of every kind and counts what this thread allocates meanwhile.
fn allocations(site: &mut Site, turns: Range<u64>) -> u64 {
    let info = allocation_counter::measure(|| {
        for turn in turns {
            for worker in &mut site.workers {
                // A second apart: no storm.
                worker.turn(Tick(turn * 1_000_000_000));
            }
        }
    });
    info.count_total
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
fn steady(site: &mut Site, from: tables::VifId, packets: &[Vec<u8>], to: &[tables::VifId]) {
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
