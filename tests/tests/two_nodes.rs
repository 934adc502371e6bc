//! Two compute nodes, real AF_XDP sockets, real tunnels; with one and with two workers.

use std::time::Duration;

use anyhow::Result;
use lab::{
    A_ADDRESS, B_ADDRESS, Capture, Encapsulation, GREEN_ONLY_ADDRESS, Site, SiteOptions, ping,
};

fn site(name: &str, workers: usize) -> Result<Option<Site>> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "iperf3", "tshark"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(None);
    }
    let mut site = Site::build(SiteOptions { workers, ..SiteOptions::for_test(name) })?;
    site.start()?;
    Ok(Some(site))
}

fn every_tunnel_carries_both_networks(name: &str, workers: usize) -> Result<()> {
    let Some(mut site) = site(name, workers)? else { return Ok(()) };
    for encapsulation in Encapsulation::ALL {
        for node in &mut site.nodes {
            node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
        }
        site.converge(encapsulation)?;
        let capture =
            Capture::start(site.underlay.namespace(), "node-a", &site.file(0, "underlay.pcap"))?;
        for (from, to) in [
            ("red-a", B_ADDRESS),
            ("red-b", A_ADDRESS),
            ("green-a", B_ADDRESS),
            ("green-b", A_ADDRESS),
        ] {
            let result = ping(site.workload(from)?, to, 20, "0.01")?;
            assert_eq!(result.lost, 0, "{from} over {encapsulation:?}: {result:?}");
        }
        for reverse in [&[][..], &["-R"]] {
            let rate = lab::tcp(
                site.workload("red-a")?,
                site.workload("red-b")?,
                B_ADDRESS,
                "50M",
                reverse,
            )?;
            assert!(rate > 1e6, "TCP over {encapsulation:?}: {rate} bit/s");
        }
        let packets = site.decode(capture)?;
        site.judge(encapsulation, &packets)?;
        if encapsulation != Encapsulation::MplsOverGre {
            let odd = packets.iter().find(|p| p.source_port.is_none_or(|port| port < 49152));
            assert_eq!(odd, None, "an entropy port out of range");
        }
    }
    Ok(())
}

#[test]
fn every_tunnel_carries_both_networks_with_one_worker() -> Result<()> {
    every_tunnel_carries_both_networks("one", 1)
}

#[test]
fn every_tunnel_carries_both_networks_with_two_workers() -> Result<()> {
    every_tunnel_carries_both_networks("two", 2)
}

#[test]
fn two_hundred_pings_in_two_seconds_are_all_answered() -> Result<()> {
    let Some(site) = site("burst", 1)? else { return Ok(()) };
    site.converge(Encapsulation::MplsOverUdp)?;
    let result = ping(site.workload("red-a")?, B_ADDRESS, 200, "0.01")?;
    assert_eq!(result.lost, 0);
    Ok(())
}

#[test]
fn an_address_of_the_other_network_is_dropped_once_and_for_one_reason() -> Result<()> {
    let Some(site) = site("apart", 1)? else { return Ok(()) };
    site.converge(Encapsulation::MplsOverUdp)?;
    let (red, green) = (site.workload("red-a")?, site.workload("green-a")?);
    assert_eq!(ping(green, GREEN_ONLY_ADDRESS, 3, "0.01")?.lost, 0);
    red.run(&format!("ip neigh replace {GREEN_ONLY_ADDRESS} lladdr 00:00:5e:00:01:00 dev eth0"))?;
    let before = site.nodes[0].drops()?;
    assert_eq!(ping(red, GREEN_ONLY_ADDRESS, 1, "1")?.lost, 1);
    let after = site.nodes[0].drops()?;
    let moved: Vec<_> = after.iter().filter(|row| !before.contains(row)).collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    let old = before.iter().find(|(label, _)| *label == moved[0].0).map_or(0, |(_, value)| *value);
    assert_eq!((moved[0].0.as_str(), moved[0].1 - old), ("Discards", 1));
    Ok(())
}

#[test]
fn the_first_packet_after_a_neighbor_flush_arrives() -> Result<()> {
    let Some(site) = site("flush", 1)? else { return Ok(()) };
    site.converge(Encapsulation::MplsOverUdp)?;
    for _ in 0..5 {
        site.nodes[0].namespace().run("ip neigh flush dev uplink0")?;
        assert_eq!(ping(site.workload("red-a")?, B_ADDRESS, 1, "1")?.lost, 0);
    }
    Ok(())
}

#[test]
fn the_nodes_keep_their_own_addresses_and_services() -> Result<()> {
    let Some(site) = site("own", 1)? else { return Ok(()) };
    site.converge(Encapsulation::MplsOverUdp)?;
    let [a, b] = &site.nodes;
    assert_eq!(ping(a.namespace(), &b.options().endpoint, 5, "0.05")?.lost, 0);
    assert_eq!(ping(b.namespace(), &a.options().endpoint, 5, "0.05")?.lost, 0);
    // Stopped in order, nothing is left that would hold the uplink.
    let mut site = site;
    for node in &mut site.nodes {
        node.stop()?;
    }
    let [a, b] = &site.nodes;
    lab::eventually("the nodes to reach each other", Duration::from_secs(5), || {
        ping(a.namespace(), &b.options().endpoint, 1, "1").is_ok_and(|result| result.lost == 0)
    })
}
