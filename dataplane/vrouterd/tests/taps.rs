//! Workloads on TAPs that the daemon makes: checksums and segmentation are left to it, and every mix arrives right.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use api::{Backend, Lookup, PortState, Rows, VifInfo};
use support::lab::{self, ip};
use support::model::{self, Tunnel};
use support::pair::{Node, Pair};
use support::{privileged, traffic, wait_for};
use wire::Mac;

const TAP_A: Tenant = Tenant { last: 11, label: 311 };
const TAP_B: Tenant = Tenant { last: 12, label: 312 };

/// A workload on a TAP.
#[derive(Clone, Copy)]
struct Tenant {
    last: u8,
    label: u32,
}

impl Tenant {
    fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, 7, self.last])
    }

    fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 1, self.last)
    }
}

fn row(node: &Node) -> VifInfo {
    let lookup = Lookup::Vif { id: model::SECOND, core: None };
    let Rows::Vif(mut rows) = node.daemon().client().get(lookup).unwrap() else {
        panic!("a vif row");
    };
    rows.remove(0)
}

/// Puts the workload on a node, waits for its TAP, and gives the link to a namespace.
fn attach(node: &Node, namespace: &str, tenant: Tenant) {
    let (mac, address) = (tenant.mac(), tenant.address());
    let ops = model::second_by_tap("tap-w", mac, address, tenant.label);
    node.daemon().client().apply(ops).unwrap();
    wait_for("the TAP", Duration::from_secs(10), || {
        row(node).port.is_some_and(|port| port.state == PortState::Up).then_some(())
    });
    let link = ip(&["-n", &node.namespace, "link", "show", "tap-w"]);
    assert!(!link.contains(",UP"), "nobody uses it before it is given to the workload: {link}");
    ip(&["-n", &node.namespace, "link", "set", "tap-w", "netns", namespace]);
    ip(&["-n", namespace, "link", "set", "tap-w", "address", &mac.to_string(), "up"]);
    ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "tap-w"]);
}

/// Two nodes, each with a workload on veth (`ta`, `tb`) and one on a TAP, all in one network.
fn start(workers: &str) -> Option<(Pair, [String; 2])> {
    if !privileged() {
        return None;
    }
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &["--workers", workers]);
    let namespaces = [pair.namespace("tap-a"), pair.namespace("tap-b")];
    attach(&pair.a, &namespaces[0], TAP_A);
    attach(&pair.b, &namespaces[1], TAP_B);
    for (node, beyond) in [(&pair.a, TAP_B), (&pair.b, TAP_A)] {
        let mut client = node.daemon().client();
        client.apply(model::beyond(beyond.address(), beyond.label)).unwrap();
        client.barrier().unwrap();
    }
    Some((pair, namespaces))
}

#[track_caller]
fn expect_frames_home(node: &Node) {
    let mut client = node.daemon().client();
    wait_for("all frames are home", Duration::from_secs(5), || {
        let page = client.pages(api::Table::Vif { core: None }).next().unwrap().unwrap();
        let Rows::Vif(vifs) = page.rows else { return None };
        let held: u32 = vifs.iter().flat_map(|vif| &vif.port).map(|port| port.frames_held).sum();
        let info = client.info().unwrap();
        (info.frames_free + held == info.frames).then_some(())
    });
}

#[test]
fn point_42_tcp_gets_through_between_every_mix_of_taps_and_veths_here_and_through_a_tunnel() {
    for workers in ["1", "2"] {
        let Some((pair, [tap_a, tap_b])) = start(workers) else { return };
        let (veth_a, veth_b) = (pair.a.workload.clone(), pair.b.workload.clone());
        let (a, b) = (TAP_A.address().into(), TAP_B.address().into());
        let ways = [
            ("TAP to TAP through the tunnel", &tap_a, &tap_b, b),
            ("TAP to veth through the tunnel", &tap_a, &veth_b, pair.b.address()),
            ("veth to TAP through the tunnel", &veth_a, &tap_b, b),
            ("veth to veth through the tunnel", &veth_a, &veth_b, pair.b.address()),
            ("TAP to veth on a node", &tap_a, &veth_a, pair.a.address()),
            ("veth to TAP on a node", &veth_a, &tap_a, a),
        ];
        for (way, from, to, address) in ways {
            let outcome = std::panic::catch_unwind(|| traffic::tcp(from, to, address, 8 << 20));
            match outcome {
                Ok(rate) => println!("{way}, {workers} worker(s): {:.0} Mbit/s", rate * 8e-6),
                Err(_) => panic!("{way}: {pair}"),
            }
        }
        for node in [&pair.a, &pair.b] {
            let drops = node.drops();
            assert_eq!(drops.count(tables::DropReason::CksumErr), 0);
            assert_eq!(drops.count(tables::DropReason::InvalidPacket), 0);
            expect_frames_home(node);
        }
    }
}

#[test]
fn the_row_of_a_workload_on_a_tap_tells_so_wherever_its_link_is() {
    let Some((pair, _)) = start("1") else { return };
    let row = row(&pair.a);
    assert_eq!(row.transport, tables::Transport::Tap);
    let port = row.port.unwrap();
    assert_eq!((port.backend, port.state), (Backend::Tap, PortState::Up));
    assert!(port.features.iter().any(|name| name == "tso"), "{:?}", port.features);
}

#[test]
fn a_tap_that_its_workload_deletes_comes_back_for_the_next() {
    let Some((pair, [tap_a, _])) = start("1") else { return };
    ip(&["-n", &tap_a, "link", "del", "tap-w"]);
    wait_for("another TAP", Duration::from_secs(10), || {
        lab::inside(&pair.a.namespace, "cat", &["/sys/class/net/tap-w/flags"])
            .status
            .success()
            .then_some(())
    });
    attach(&pair.a, &tap_a, TAP_A);
    let got = traffic::ping(&tap_a, TAP_B.address().into(), 10, "0.01");
    assert_eq!(got, 10, "{pair}");
    expect_frames_home(&pair.a);
}
