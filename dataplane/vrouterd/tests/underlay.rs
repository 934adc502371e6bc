//! The underlay's next hops follow the kernel, and no packet is lost to ARP.

mod support;

use std::time::Duration;

use support::lab::ip;
use support::model::Tunnel;
use support::pair::{Pair, Underlay};
use support::{privileged, wait_for};

fn neighbor(namespace: &str) -> String {
    ip(&["-n", namespace, "neigh", "show", "dev", "uplink"])
}

fn first_packet_survives_a_flush(args: &[&str]) {
    if !privileged() {
        return;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, args);
    assert_eq!(pair.ping(3, "0.01"), 3);
    for _ in 0..3 {
        ip(&["-n", &pair.a.namespace, "neigh", "flush", "dev", "uplink"]);
        assert_eq!(pair.ping(1, "1"), 1, "the first packet after the flush");
    }
    wait_for("the neighbour is resolved again", Duration::from_secs(10), || {
        neighbor(&pair.a.namespace).contains("lladdr").then_some(())
    });
}

#[test]
fn the_first_packet_after_a_neighbor_flush_arrives() {
    first_packet_survives_a_flush(&[]);
}

#[test]
fn without_managed_neighbors_it_arrives_too() {
    first_packet_survives_a_flush(&["--probe-neighbors"]);
}

#[test]
fn the_kernel_keeps_the_tunnel_end_resolved_until_the_tunnel_goes() {
    if !privileged() {
        return;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &[]);
    assert!(neighbor(&pair.a.namespace).contains("managed"));
    let mut client = pair.a.daemon().client();
    let epoch = client.begin_epoch().unwrap();
    client.sweep(epoch).unwrap();
    wait_for("the entry is released", Duration::from_secs(5), || {
        (!neighbor(&pair.a.namespace).contains("managed")).then_some(())
    });
}

#[test]
fn a_neighbor_with_a_new_mac_is_followed() {
    if !privileged() {
        return;
    }
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &[]);
    assert_eq!(pair.ping(3, "0.01"), 3);
    ip(&["-n", &pair.b.namespace, "link", "set", "uplink", "address", "02:00:00:00:77:02"]);
    pair.b.side.uplink_mac = wire::Mac([2, 0, 0, 0, 0x77, 2]);
    pair.program(Tunnel::MplsOverUdp);
    let mut client = pair.a.daemon().client();
    // The kernel learns it from b's announcement or at the latest when its own entry fails.
    ip(&["-n", &pair.a.namespace, "neigh", "flush", "dev", "uplink"]);
    wait_for("the new MAC is in the tunnel's header", Duration::from_secs(10), || {
        let lookup = api::Lookup::NextHop(support::model::TO_PEER);
        let api::Rows::NextHop(rows) = client.get(lookup).unwrap() else { return None };
        let api::NextHopDetail::Tunnel { underlay, .. } = &rows[0].detail else { return None };
        underlay[0].rewrite.starts_with(&[2, 0, 0, 0, 0x77, 2]).then_some(())
    });
    assert_eq!(pair.ping(3, "0.01"), 3);
}

#[test]
fn a_gateway_is_used_where_the_route_says_so() {
    if !privileged() {
        return;
    }
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &[]);
    // b moves to an address behind itself as gateway.
    let far = std::net::Ipv4Addr::new(192, 0, 2, 2).into();
    ip(&["-n", &pair.b.namespace, "addr", "add", "192.0.2.2/32", "dev", "lo"]);
    ip(&["-n", &pair.a.namespace, "route", "add", "192.0.2.2/32", "via", "172.16.0.2"]);
    pair.b.side.endpoint = far;
    pair.program(Tunnel::MplsOverUdp);
    assert_eq!(pair.ping(3, "0.01"), 3);
    ip(&["-n", &pair.a.namespace, "route", "del", "192.0.2.2/32"]);
    let mut client = pair.a.daemon().client();
    wait_for("the tunnel is not usable without a route", Duration::from_secs(5), || {
        let lookup = api::Lookup::NextHop(support::model::TO_PEER);
        let api::Rows::NextHop(rows) = client.get(lookup).unwrap() else { return None };
        let api::NextHopDetail::Tunnel { underlay, .. } = &rows[0].detail else { return None };
        (!underlay[0].valid).then_some(())
    });
}

#[test]
fn an_ipv6_underlay_carries_tunnels_too() {
    if !privileged() {
        return;
    }
    for tunnel in [Tunnel::MplsOverUdp, Tunnel::Vxlan] {
        let pair = Pair::start_over(Underlay::V6, 1, tunnel, &[]);
        assert_eq!(pair.ping(20, "0.01"), 20, "{tunnel:?}: {pair}");
        ip(&["-n", &pair.a.namespace, "neigh", "flush", "dev", "uplink"]);
        assert_eq!(pair.ping(1, "1"), 1, "the first packet after the flush");
    }
}

#[test]
fn an_uplink_that_goes_down_and_up_is_followed() {
    if !privileged() {
        return;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &[]);
    let mut client = pair.a.daemon().client();
    for (state, usable) in [("down", false), ("up", true)] {
        ip(&["-n", &pair.a.namespace, "link", "set", "uplink", state]);
        wait_for(&format!("the tunnel follows the link {state}"), Duration::from_secs(5), || {
            let lookup = api::Lookup::NextHop(support::model::TO_PEER);
            let api::Rows::NextHop(rows) = client.get(lookup).unwrap() else { return None };
            let api::NextHopDetail::Tunnel { underlay, .. } = &rows[0].detail else { return None };
            (underlay[0].valid == usable).then_some(())
        });
    }
    client.barrier().unwrap();
    wait_for("ping is back", Duration::from_secs(5), || (pair.ping(1, "1") == 1).then_some(()));
}
