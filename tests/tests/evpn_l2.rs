//! Frames between nodes, bridged: by label and by VNI between two nodes of ours, and with FRR and the kernel's VXLAN
//! bridge as a far end of which nothing is ours.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{
    A_ADDRESS, B_ADDRESS, BROADCAST, Capture, Encapsulation, Frr, Namespace, Site, SiteOptions,
    ping, ping_broadcast, send_frame,
};

/// For experiments (IEEE Std 802): nobody routes it.
const LOCAL_EXPERIMENT: u16 = 0x88b5;
const ROUTER: &str = "192.0.2.77";
const HOST: &str = "10.1.1.77";
const HOST_MAC: &str = "02:00:00:00:77:01";
/// Every station.
const ALL: &str = "ff:ff:ff:ff:ff:ff";

/// The MAC of a workload's or host's interface.
fn mac_of(namespace: &Namespace) -> Result<String> {
    Ok(namespace.run("cat /sys/class/net/eth0/address")?.trim().to_owned())
}

/// Frames between two namespaces, to each other and to all, arrive once and whole. `deaf` gets none of them.
fn frames_cross(site: &Site, one: &Namespace, other: &Namespace, deaf: &Namespace) -> Result<()> {
    const TEXT: &str = "hello from the other side";
    let listen =
        |at: &Namespace| Capture::start(at, "eth0", &site.file(0, &format!("{}.pcap", at.name())));
    let captures = [(listen(one)?, one, other), (listen(other)?, other, one)];
    let nothing = listen(deaf)?;
    for (from, to) in [(one, other), (other, one)] {
        for destination in [mac_of(to)?.as_str(), ALL] {
            send_frame(from, "eth0", destination, LOCAL_EXPERIMENT, TEXT)?;
        }
    }
    lab::pause(Duration::from_millis(300));
    for (capture, at, from) in captures {
        let filter = format!(
            "eth.type == 0x88b5 && eth.src == {} && frame contains \"{TEXT}\"",
            mac_of(from)?
        );
        let seen = capture.finish(&filter)?.len();
        ensure!(seen == 2, "{seen} frames of {} at {}, sent were 2", from.name(), at.name());
    }
    let heard = nothing.finish("eth.type == 0x88b5")?.len();
    ensure!(heard == 0, "{heard} of the frames were heard in another network");
    Ok(())
}

fn answer_broadcast(workload: &Namespace) -> Result<()> {
    workload.run("sysctl -qw net.ipv4.icmp_echo_ignore_broadcasts=0").map(|_| ())
}

fn two_nodes_bridge(name: &str, workers: usize) -> Result<()> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "tshark", "python3"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(());
    }
    let mut site = Site::build(SiteOptions { workers, ..SiteOptions::for_test(name) })?;
    site.start()?;
    for encapsulation in Encapsulation::ALL {
        for node in &mut site.nodes {
            node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
        }
        site.converge(encapsulation)?;
        let (red_a, red_b) = (site.workload("red-a")?, site.workload("red-b")?);
        lab::eventually("red's broadcast to cross", Duration::from_secs(10), || {
            answer_broadcast(red_b).is_ok()
                && ping_broadcast(red_a, BROADCAST).is_ok_and(|who| who == [B_ADDRESS])
        })?;
        frames_cross(&site, red_a, red_b, site.workload("green-b")?)?;
        assert_eq!(ping(red_a, B_ADDRESS, 5, "0.05")?.lost, 0, "{encapsulation:?}");
    }
    Ok(())
}

#[test]
fn frames_and_broadcast_cross_in_every_tunnel_with_one_worker() -> Result<()> {
    two_nodes_bridge("l2one", 1)
}

#[test]
fn frames_and_broadcast_cross_in_every_tunnel_with_two_workers() -> Result<()> {
    two_nodes_bridge("l2two", 2)
}

#[test]
fn frr_and_the_kernels_vxlan_bridge_are_reached_and_reach_by_types_2_and_3() -> Result<()> {
    let missing = lab::missing_for_lab(&["ping", "tshark", "python3"]);
    if let Some(reason) = missing.or_else(Frr::missing) {
        lab::skip(&format!("EVPN with FRR: {reason}"));
        return Ok(());
    }
    let options = SiteOptions {
        encapsulations: vec![Encapsulation::Vxlan],
        reflectors: vec![ROUTER.to_owned()],
        ..SiteOptions::for_test("frr")
    };
    let name = options.namespace("frr");
    let mut site = Site::build(options)?;
    let router = Frr::start(&site.underlay, &name, ROUTER, &format!("{HOST}/24"), HOST_MAC)?;
    site.start()?;
    let (host, red_a, red_b) = (router.host(), site.workload("red-a")?, site.workload("red-b")?);
    for workload in [red_a, red_b] {
        answer_broadcast(workload)?;
    }
    site.converge(Encapsulation::Vxlan)?;
    // Types 3 and 2 at the far end: the kernel has both nodes as places to flood to, and red-a's MAC at node-a.
    let mac_a = mac_of(red_a)?;
    lab::eventually("FRR to know both nodes and red-a", Duration::from_secs(20), || {
        router.entries().is_ok_and(|text| {
            let at = |mac: &str, node: &str| {
                text.lines()
                    .any(|line| line.starts_with(mac) && line.contains(&format!("dst {node}")))
            };
            at("00:00:00:00:00:00", lab::ENDPOINTS[0])
                && at("00:00:00:00:00:00", lab::ENDPOINTS[1])
                && at(&mac_a, lab::ENDPOINTS[0])
        })
    })?;
    // And here, where the host's first frame makes it known.
    assert_eq!(ping(host, A_ADDRESS, 5, "0.1")?.lost, 0, "the far host asks and is answered");
    assert_eq!(ping(red_a, HOST, 5, "0.1")?.lost, 0, "and the other way");
    assert_eq!(ping(red_b, HOST, 5, "0.1")?.lost, 0);
    for from in [host, red_a, red_b] {
        // The one that asks answers itself too.
        assert_eq!(ping_broadcast(from, BROADCAST)?, [A_ADDRESS, B_ADDRESS, HOST]);
    }
    frames_cross(&site, red_a, host, site.workload("green-a")?)
}
