//! Workloads that know nothing of tunnels: 1500 bytes in the workloads, 1500 below. What does not fit is told, cut, or
//! avoided beforehand, and their stacks understand it.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};

use support::lab::{inside, ip};
use support::model::{self, Tunnel};
use support::pair::Pair;
use support::{privileged, traffic};
use tables::{NhId, Object, Op, Route, RouteFlags, Vif};
use wire::{Mac, Prefix, Vni};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 254);
const GATEWAY6: &str = "fd00:1::fe";

fn address6(last: u8) -> Ipv6Addr {
    format!("fd00:1::{last}").parse().unwrap()
}

/// A pair whose underlay has no room to spare, with IPv6 in the workloads and gateways that speak.
fn tight(tunnel: Tunnel, workers: &str) -> Pair {
    let mut pair = Pair::start(tunnel, &["--workers", workers]);
    let ends = [(1, pair.b.side.clone()), (2, pair.a.side.clone())];
    for (node, (own, there)) in [&mut pair.a, &mut pair.b].into_iter().zip(ends) {
        ip(&["-n", &node.namespace, "link", "set", "uplink", "mtu", "1500"]);
        let program = model::program(&node.side, &there, tunnel);
        let label = program.iter().find_map(|op| match op {
            Op::Put(Object::Inet(route)) if route.next_hop == model::TO_PEER => route.label,
            _ => None,
        });
        let mut ops: Vec<Op> = program
            .into_iter()
            .filter_map(|op| match op {
                Op::Put(Object::Vif(vif)) => {
                    let (gateway, gateway6) = (Some(GATEWAY), Some(GATEWAY6.parse().unwrap()));
                    Some(Op::Put(Object::Vif(Vif { mtu: 1500, gateway, gateway6, ..vif })))
                }
                _ => None,
            })
            .collect();
        let far = there.workload.octets()[3];
        ops.push(route6(own, model::TO_WORKLOAD, None));
        ops.push(route6(far, model::TO_PEER, label));
        let mut client = node.daemon().client();
        client.apply(ops).unwrap();
        client.barrier().unwrap();
        let own = format!("{}/64", address6(own));
        ip(&["-n", &node.workload, "addr", "add", &own, "dev", "eth0", "nodad"]);
        let gateway = Mac::GATEWAY.to_string();
        for to in [address6(far).to_string(), GATEWAY6.to_owned()] {
            ip(&[
                "-n",
                &node.workload,
                "neigh",
                "replace",
                &to,
                "lladdr",
                &gateway,
                "dev",
                "eth0",
                "nud",
                "permanent",
            ]);
        }
    }
    pair
}

fn route6(last: u8, next_hop: NhId, label: Option<Vni>) -> Op {
    let (vrf, flags) = (model::VRF, RouteFlags::default());
    let prefix = Prefix::host(address6(last));
    Op::Put(Object::Inet6(Route { vrf, prefix, next_hop, label, flags, mac: None, identity: None }))
}

fn ping(pair: &Pair, arguments: &[&str]) -> String {
    let output = inside(&pair.a.workload, "ping", &[&["-n", "-W", "1"], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn fits(tunnel: Tunnel) -> u16 {
    match tunnel {
        Tunnel::MplsOverUdp => 1468,
        Tunnel::MplsOverGre => 1472,
        Tunnel::Vxlan => 1450,
    }
}

fn path_mtu_works(tunnel: Tunnel, workers: &str) {
    if !privileged() {
        return;
    }
    let pair = tight(tunnel, workers);
    // TCP first, while the stacks know nothing of the path: the clamp alone lets it run.
    pair.tcp(4 << 20);
    let far = pair.b.address().to_string();
    let whole = ping(&pair, &["-c", "5", "-i", "0.05", "-M", "dont", "-s", "1472", &far]);
    assert!(whole.contains("5 received"), "cut on the way and put together: {whole} {pair}");
    let large = ping(&pair, &["-c", "2", "-i", "0.1", "-M", "do", "-s", "1472", &far]);
    let mtu = fits(tunnel);
    assert!(large.contains(&format!("From {GATEWAY} icmp_seq=1 Frag needed")), "{large} {pair}");
    assert!(large.contains(&format!("mtu = {mtu}")), "{large}");
    let payload = (mtu - 28).to_string();
    let fitting = ping(&pair, &["-c", "5", "-i", "0.05", "-M", "do", "-s", &payload, &far]);
    assert!(fitting.contains("5 received"), "{fitting} {pair}");
    let route = ip(&["-n", &pair.a.workload, "route", "get", &far]);
    assert!(route.contains(&format!("mtu {mtu}")), "the sender's stack believed it: {route}");

    let far6 = address6(2).to_string();
    let first = ping(&pair, &["-6", "-c", "1", "-s", "1452", &far6]);
    assert!(first.contains("Packet too big") || first.contains("1 received"), "{first} {pair}");
    // The far stack learns by its first answer.
    ping(&pair, &["-6", "-c", "1", "-s", "1452", &far6]);
    let then = ping(&pair, &["-6", "-c", "5", "-i", "0.05", "-s", "1452", &far6]);
    assert!(then.contains("5 received"), "in fragments of the sender's own: {then} {pair}");
    let more = ping(&pair, &["-6", "-c", "5", "-i", "0.05", "-s", "8000", &far6]);
    assert!(more.contains("5 received"), "{more} {pair}");
    // One hop: the gateway.
    let hop = ping(&pair, &["-c", "1", "-t", "1", &far]);
    assert!(hop.contains(&format!("From {GATEWAY} icmp_seq=1 Time to live exceeded")), "{hop}");
    let hop = ping(&pair, &["-6", "-c", "1", "-t", "1", &far6]);
    assert!(hop.contains(&format!("From {GATEWAY6} icmp_seq=1 Time exceeded")), "{hop}");
    assert_eq!(traffic::ping(&pair.a.workload, pair.b.address(), 10, "0.01"), 10);
}

#[test]
fn path_mtu_over_mpls_over_udp_with_one_worker() {
    path_mtu_works(Tunnel::MplsOverUdp, "1");
}

#[test]
fn path_mtu_over_mpls_over_gre_with_two_workers() {
    path_mtu_works(Tunnel::MplsOverGre, "2");
}

#[test]
fn path_mtu_over_vxlan_with_one_worker() {
    path_mtu_works(Tunnel::Vxlan, "1");
}
