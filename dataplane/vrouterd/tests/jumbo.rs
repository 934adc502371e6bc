//! Workloads and uplinks with an MTU of 9000: large packets over every encapsulation, or dropped whole and counted.

mod support;

use support::lab::{self, ip};
use support::model::{self, Tunnel};
use support::pair::Pair;
use support::{privileged, traffic};

/// Two nodes whose links carry 9000 bytes and whose workloads may use 8950 of them.
fn start(tunnel: Tunnel, args: &[&str]) -> Option<Pair> {
    if !privileged() {
        return None;
    }
    if !sys::xsk::knows_multi_buffer().unwrap_or(false) {
        println!("skipped: this kernel has no packets of several buffers");
        return None;
    }
    let pair = Pair::start(tunnel, args);
    for node in [&pair.a, &pair.b] {
        for link in ["uplink", "port"] {
            ip(&["-n", &node.namespace, "link", "set", link, "mtu", "9000"]);
        }
        ip(&["-n", &node.workload, "link", "set", "eth0", "mtu", "8950"]);
        let mut client = node.daemon().client();
        client.apply(model::mtus(&node.side, 9000, 8950)).unwrap();
        client.barrier().unwrap();
    }
    Some(pair)
}

/// Pings with so many bytes of payload that must not be fragmented; how many of 10 are answered.
fn ping(pair: &Pair, payload: usize) -> bool {
    let (to, size) = (pair.b.address().to_string(), payload.to_string());
    let args = ["-n", "-q", "-c", "10", "-i", "0.02", "-W", "1", "-M", "do", "-s", &size, &to];
    let output = lab::inside(&pair.a.workload, "ping", &args);
    String::from_utf8_lossy(&output.stdout).contains(" 10 received")
}

#[test]
fn h14_large_packets_cross_between_veths_through_every_tunnel() {
    for tunnel in [Tunnel::MplsOverUdp, Tunnel::MplsOverGre, Tunnel::Vxlan] {
        let Some(pair) = start(tunnel, &["--workers", "2"]) else { return };
        // Without the headers of ICMP and IPv4.
        for packet in [1500, 1778, 1779, 2034, 3506, 4082, 8950] {
            assert!(ping(&pair, packet - 28), "{packet} bytes, {tunnel:?}: {pair}");
        }
        let (there, back) = pair.tcp(8 << 20);
        println!("{tunnel:?}: {:.0} and {:.0} Mbit/s", there * 8e-6, back * 8e-6);
    }
}

#[test]
fn h14_without_large_frames_what_is_larger_is_dropped_whole_and_the_rest_arrives() {
    let Some(pair) = start(Tunnel::MplsOverUdp, &["--large-frames", "0"]) else { return };
    assert!(ping(&pair, 1400 - 28), "{pair}");
    assert!(!ping(&pair, 4000 - 28), "{pair}");
    let lookup = api::Lookup::Vif { id: model::PORT, core: None };
    let api::Rows::Vif(rows) = pair.a.daemon().client().get(lookup).unwrap() else {
        panic!("a vif row");
    };
    let port = rows[0].port.as_ref().unwrap();
    assert!(!port.features.iter().any(|name| name == "multi-buffer"), "{:?}", port.features);
    assert!(port.xdp.rx_dropped >= 10, "{pair}");
    assert_eq!(traffic::ping(&pair.a.workload, pair.b.address(), 5, "0.02"), 5);
}
