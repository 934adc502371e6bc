//! Storms: what one interface floods is limited and counted, and the others notice nothing.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use engine::Tick;
use site::*;
use tables::{DropReason, VifId};
use wire::Mac;

/// Much later than anything a site's own turns reach.
const LATER: u64 = 3_600_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn arp(from: Mac, last: u8) -> Vec<u8> {
    let (sender, target) = (tenant(last).octets(), tenant(50).octets());
    let header = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &from.0, &header, &from.0, &sender, &[0; 6], &target].concat()
}

fn group(to: Mac) -> Vec<u8> {
    [&to.0[..], &ping(MAC3, 3, 9)[6..]].concat()
}

/// How many of the packets put in at once, at that time, were dropped for the reason.
fn dropped(site: &mut Site, at: u64, input: &[(VifId, Vec<u8>)], reason: DropReason) -> u64 {
    let before = site.counters.drops().get(reason);
    for (vif, packet) in input {
        site.inject(*vif, std::slice::from_ref(packet));
    }
    for _ in 0..32 {
        site.workers.iter_mut().for_each(|worker| {
            worker.turn(Tick(at));
        });
    }
    site.collect();
    site.counters.drops().get(reason) - before
}

#[test]
fn a_flood_of_arp_is_limited_and_counted_and_the_neighbours_arp_is_answered() {
    each(|site| {
        let mut input: Vec<(VifId, Vec<u8>)> = vec![(VIF3, arp(MAC3, 3)); 1000];
        input.extend(vec![(VIF4, arp(MAC4, 4)); 100]);
        let borrowed: Vec<(VifId, &[u8])> =
            input.iter().map(|(vif, packet)| (*vif, packet.as_slice())).collect();
        let outcome = site.exchange(&borrowed);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len()), (200, 100));
        outcome.expect_drops(&[(DropReason::StormArp, 800)]);
        assert_eq!(site.counters.vif_drops(VIF3).get(DropReason::StormArp), 800);
        assert_eq!(site.counters.vif_drops(VIF4).total(), 0);
    });
}

#[test]
fn a_bucket_fills_with_time() {
    each(|site| {
        let flood = vec![(VIF3, arp(MAC3, 3)); 300];
        let reason = DropReason::StormArp;
        assert_eq!(dropped(site, LATER, &flood, reason), 100);
        assert_eq!(dropped(site, LATER, &flood, reason), 300);
        assert_eq!(dropped(site, LATER + 50 * MILLISECOND, &flood, reason), 250);
        assert_eq!(dropped(site, LATER + 2000 * MILLISECOND, &flood, reason), 100);
    });
}

#[test]
fn groups_unknown_stations_and_punts_have_buckets_of_their_own() {
    each(|site| {
        let many = |packet: Vec<u8>, count: usize| vec![(VIF3, packet); count];
        let unknown = group(Mac([2, 0, 0, 0, 0xee, 0xee]));
        let punted = ping(MAC3, 3, 99);
        let cases = [
            (group(Mac::BROADCAST), DropReason::StormBroadcast, 2000),
            (unknown, DropReason::StormUnicast, 2000),
            (punted, DropReason::StormPunt, 200),
        ];
        for (packet, reason, burst) in cases {
            let half = many(packet.clone(), burst / 2);
            assert_eq!(dropped(site, LATER, &half, reason), 0);
            assert_eq!(dropped(site, LATER, &half, reason), 0, "{reason:?}");
            assert_eq!(dropped(site, LATER, &many(packet, 7), reason), 7, "{reason:?}");
        }
        site.still_forwards();
    });
}

#[test]
fn neighbour_discovery_to_groups_counts_as_arp() {
    each(|site| {
        let solicitation = {
            let builder = etherparse::PacketBuilder::ethernet2(MAC3.0, [0x33, 0x33, 0xff, 0, 0, 9])
                .ipv6([0xfe; 16], [0xff; 16], 255)
                .icmpv6_raw(135, 0, [0; 4]);
            let mut out = Vec::new();
            builder.write(&mut out, &[0xfe; 16]).unwrap();
            out
        };
        let flood = vec![(VIF3, solicitation); 201];
        assert_eq!(dropped(site, LATER, &flood, DropReason::StormArp), 1);
        assert_eq!(site.counters.drops().get(DropReason::L2NoRoute), 200);
    });
}

#[test]
fn what_a_tunnel_brings_for_the_agent_is_charged_to_its_vrf_and_leaves_the_underlay_its_own() {
    each(|site| {
        // To an address that the host is asked to resolve, in one VRF and in another.
        site.put([
            nh(55, tables::NhFamily::Inet, RED, tables::NextHopKind::Translate(RED)),
            label(55, 55),
            route(OVERLAY, "10.10.1.99/32", 54, None),
        ]);
        let to_agent = |label| mpls_over_udp(label, 64, &ping(MAC9, 9, 99)[14..]);
        let flood = vec![(FABRIC, to_agent(55)); 300];
        let reason = DropReason::StormPunt;
        assert_eq!(dropped(site, LATER, &flood, reason), 100);
        assert_eq!(dropped(site, LATER, &flood, reason), 300);
        assert_eq!(dropped(site, LATER, &vec![(FABRIC, to_agent(52)); 200], reason), 0);
        // An ICMP error about a tunnel of this node.
        let mut about = mpls_over_gre(20, 64, b"inner")[14..42].to_vec();
        about[12..20].rotate_left(4);
        let mut error = Vec::new();
        let icmp = [&[3, 1, 0, 0, 0, 0, 0, 0], &about[..]].concat();
        etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0)
            .ipv4(endpoint(7).octets(), endpoint(1).octets(), 64)
            .write(&mut error, etherparse::IpNumber::ICMP, &icmp)
            .unwrap();
        let underlay = vec![(FABRIC, error); 201];
        assert_eq!(dropped(site, LATER, &underlay, reason), 1, "a bucket of its own");
    });
}

#[test]
fn what_comes_out_of_a_tunnel_was_limited_where_it_began() {
    each(|site| {
        let flood = vec![(FABRIC, vxlan(5001, &group(Mac::BROADCAST))); 1000];
        for _ in 0..3 {
            assert_eq!(dropped(site, LATER, &flood, DropReason::L2NoRoute), 1000);
        }
        assert_eq!(site.counters.drops().get(DropReason::StormBroadcast), 0);
    });
}
