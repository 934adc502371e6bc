//! The host's interface: what reaches the host, what the host may send, and which of its questions are answered.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::Ipv4Addr;

use site::*;
use tables::{DropReason, RouteFlags, VrfId};
use wire::{Mac, checksum};

const WORKLOAD: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 3);
const US: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const VRF_0: VrfId = VrfId(0);

/// The bench with a host, a link-local route to the workload of vif 3, and one back.
fn with_host(test: impl Fn(&mut Site)) {
    each(|site| {
        site.add_host();
        site.put([
            route(VRF_0, "169.254.10.3/32", 20, None),
            route(VRF_0, "10.9.9.0/24", 40, Some(33)),
            proxied(VRF_0, "10.8.8.8/32", 20, None, RouteFlags::ARP_PROXY),
            route(RED, "169.254.1.1/32", 10, None),
        ]);
        test(site);
    });
}

fn packet(to: Mac, from: Mac, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(from.0, to.0)
        .ipv4(source.octets(), destination.octets(), 64)
        .udp(7, 8);
    let mut out = Vec::new();
    builder.write(&mut out, b"payload").unwrap();
    out
}

fn from_host(destination: Ipv4Addr) -> Vec<u8> {
    packet(HOST_MAC, HOST_MAC, US, destination)
}

fn to_host() -> Vec<u8> {
    packet(Mac::GATEWAY, MAC3, WORKLOAD, US)
}

fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    [
        &[0xff; 6][..],
        &HOST_MAC.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation],
        &HOST_MAC.0,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

#[test]
fn the_host_reaches_a_workload_by_a_route_of_the_fabric_vrf_and_gets_its_answer() {
    with_host(|site| {
        let out = site.through(HOST, &from_host(WORKLOAD), VIF3);
        assert_eq!((&out[..6], &out[6..12]), (&MAC3.0[..], &Mac::GATEWAY.0[..]));
        assert_eq!(ttl(&out[14..]), 63);
        assert_sums(&out[14..]);
        let back = site.through(VIF3, &to_host(), HOST);
        assert_eq!((&back[..6], &back[6..12]), (&HOST_MAC.0[..], &MAC3.0[..]));
        assert_eq!(
            back[14..],
            to_host()[14..],
            "nothing is taken off on the way to a local service"
        );
    });
}

#[test]
fn what_a_workload_left_unfinished_or_tagged_reaches_the_host_complete_and_plain() {
    with_host(|site| {
        let mut unfinished = to_host();
        let length = u16::try_from(unfinished.len() - 34).unwrap();
        let pseudo = checksum::pseudo_v4(WORKLOAD, US, wire::protocol::UDP, length);
        unfinished[40..42].copy_from_slice(&pseudo.folded().to_be_bytes());
        assert_sums(&site.through(VIF3, &unfinished, HOST)[14..]);

        let tagged = [&to_host()[..12], &[0x81, 0, 0, 5], &to_host()[12..]].concat();
        let out = site.through(VIF3, &tagged, HOST);
        assert_eq!(out[..6], HOST_MAC.0);
        assert_eq!(out[6..], to_host()[6..]);
    });
}

#[test]
fn the_host_may_use_the_fabric_and_nobody_else_passes_through() {
    with_host(|site| {
        let far = Ipv4Addr::new(10, 9, 9, 9);
        let out = site.through(HOST, &from_host(far), FABRIC);
        assert_eq!(out[..6], REMOTE_MAC.0);
        let transit = packet(UPLINK_MAC, REMOTE_MAC, endpoint(2), far);
        site.exchange(&[(FABRIC, &transit)]).expect_drops(&[(DropReason::InvalidSource, 1)]);
    });
}

#[test]
fn the_hosts_questions_are_answered_for_link_local_and_for_proxied_routes_alone() {
    with_host(|site| {
        for target in [Ipv4Addr::new(169, 254, 169, 254), WORKLOAD, Ipv4Addr::new(10, 8, 8, 8)] {
            let answer = site.through(HOST, &arp(1, US, target), HOST);
            assert_eq!((&answer[..6], &answer[6..12]), (&HOST_MAC.0[..], &HOST_MAC.0[..]));
            assert_eq!((answer[21], &answer[22..28]), (2, &HOST_MAC.0[..]), "is at");
            assert_eq!(answer[28..32], target.octets());
        }
        let neighbour = endpoint(2);
        for (operation, sender, target) in [
            (1, endpoint(1), neighbour), // the uplink's, which the kernel asks for itself
            (1, US, US),                 // an announcement
            (1, Ipv4Addr::UNSPECIFIED, WORKLOAD), // a probe
            (2, US, neighbour),
        ] {
            let outcome = site.exchange(&[(HOST, &arp(operation, sender, target))]);
            outcome.expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        }
        let outcome = site.exchange(&[(HOST, &arp(3, US, WORKLOAD))]);
        outcome.expect_drops(&[(DropReason::InvalidArp, 1)]);
    });
}

#[test]
fn what_the_host_sends_to_groups_or_without_a_route_is_dropped() {
    with_host(|site| {
        let group = packet(Mac::BROADCAST, HOST_MAC, US, WORKLOAD);
        site.exchange(&[(HOST, &group)]).expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        let mut other = from_host(WORKLOAD);
        other[12..14].copy_from_slice(&[0x88, 0xcc]);
        site.exchange(&[(HOST, &other)]).expect_drops(&[(DropReason::InterfaceDrop, 1)]);
        let nowhere = from_host(Ipv4Addr::new(203, 0, 113, 1));
        site.exchange(&[(HOST, &nowhere)]).expect_drops(&[(DropReason::Discard, 1)]);
    });
}
