//! A workload that floods is held to its rates, and its neighbours notice nothing.

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use api::DropScope;
use support::lab::ip;
use support::model::{self, Tunnel};
use support::pair::{Pair, SECOND_ADDRESS, SECOND_MAC};
use support::{privileged, traffic, wait_for};
use tables::{DropReason, VifId};
use wire::Mac;

/// Gives node `a` a second workload; returns its namespace.
fn second_workload(pair: &mut Pair) -> String {
    pair.second_workload(model::second("port2", SECOND_MAC, SECOND_ADDRESS))
}

fn storm(pair: &Pair, vif: VifId) -> u64 {
    let drops = pair.a.daemon().client().drops(DropScope::Vif(vif), None).unwrap();
    drops.count(DropReason::StormArp)
}

#[test]
fn a_flood_of_arp_from_one_workload_leaves_anothers_answered() {
    if !privileged() {
        return;
    }
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &["--storm-arp", "20"]);
    let workload = second_workload(&mut pair);
    // One question for each address, as fast as the kernel asks.
    let flood = traffic::within(&pair.a.workload, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for last in 20..=250 {
            socket.send_to(b"where are you", (Ipv4Addr::new(10, 1, 1, last), 9)).unwrap();
        }
    });
    flood.join().unwrap();
    wait_for("the flood is limited", Duration::from_secs(5), || {
        (storm(&pair, model::PORT) > 100).then_some(())
    });
    // It goes on: the kernel asks for each address three times, a second apart.
    for _ in 0..3 {
        ip(&["-n", &workload, "neigh", "flush", "dev", "eth0"]);
        let to = pair.b.address();
        traffic::within(&workload, move || {
            UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"hello", (to, 9)).unwrap();
        })
        .join()
        .unwrap();
        wait_for("the neighbour's ARP is answered", Duration::from_secs(5), || {
            let neighbours = ip(&["-n", &workload, "neigh", "show", "dev", "eth0"]);
            neighbours.contains(&Mac::GATEWAY.to_string()).then_some(())
        });
    }
    assert_eq!(storm(&pair, model::SECOND), 0);
}
