//! Two daemons, two workloads, real tunnels between them.

mod support;

use support::model::Tunnel;
use support::pair::{Pair, Underlay};
use support::privileged;

const MEGABYTE: usize = 1 << 20;

fn carries_ping_and_tcp(tunnel: Tunnel, workers: &str) {
    if !privileged() {
        return;
    }
    let pair = Pair::start(tunnel, &["--workers", workers]);
    assert_eq!(pair.ping(50, "0.01"), 50, "no ping is lost, the first included: {pair}");
    let (there, back) = pair.tcp(16 * MEGABYTE);
    println!("{tunnel:?}, {workers} workers: {:.0} and {:.0} Mbit/s", there * 8e-6, back * 8e-6);
    frames_come_home(&pair);
}

/// What is free now and what the ports hold is all there is.
fn frames_come_home(pair: &Pair) {
    for node in [&pair.a, &pair.b] {
        let mut client = node.daemon().client();
        support::wait_for(
            "all frames are accounted for",
            std::time::Duration::from_secs(5),
            || {
                let info = client.info().unwrap();
                let pages = client.pages(api::Table::Vif { core: None }).next().unwrap().unwrap();
                let api::Rows::Vif(vifs) = pages.rows else { panic!("vif rows") };
                let held: u32 =
                    vifs.iter().flat_map(|vif| &vif.port).map(|port| port.frames_held).sum();
                (info.frames_free + held == info.frames).then_some(())
            },
        );
    }
}

#[test]
fn mpls_over_udp_with_one_worker() {
    carries_ping_and_tcp(Tunnel::MplsOverUdp, "1");
}

#[test]
fn mpls_over_udp_with_two_workers() {
    carries_ping_and_tcp(Tunnel::MplsOverUdp, "2");
}

#[test]
fn mpls_over_gre_with_one_worker() {
    carries_ping_and_tcp(Tunnel::MplsOverGre, "1");
}

#[test]
fn mpls_over_gre_with_two_workers() {
    carries_ping_and_tcp(Tunnel::MplsOverGre, "2");
}

#[test]
fn vxlan_with_one_worker() {
    carries_ping_and_tcp(Tunnel::Vxlan, "1");
}

#[test]
fn vxlan_with_two_workers() {
    carries_ping_and_tcp(Tunnel::Vxlan, "2");
}

#[test]
fn the_encapsulation_changes_under_way() {
    if !privileged() {
        return;
    }
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &[]);
    for tunnel in [Tunnel::MplsOverGre, Tunnel::Vxlan, Tunnel::MplsOverUdp] {
        pair.program(tunnel);
        assert_eq!(pair.ping(20, "0.01"), 20, "{tunnel:?}");
    }
}

#[test]
fn busy_workers_forward_too() {
    if !privileged() {
        return;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &["--busy"]);
    assert_eq!(pair.ping(20, "0.01"), 20);
}

#[test]
fn an_uplink_with_two_queues_is_served_by_two_workers() {
    if !privileged() {
        return;
    }
    for tunnel in [Tunnel::MplsOverUdp, Tunnel::MplsOverGre] {
        let pair = Pair::start_over(Underlay::V4, 2, tunnel, &["--workers", "2"]);
        assert_eq!(pair.ping(50, "0.01"), 50, "{pair}");
        pair.tcp(4 * MEGABYTE);
        frames_come_home(&pair);
    }
}
