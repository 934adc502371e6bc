//! IPv6 between two nodes: workloads of both families in every tunnel, and tunnels over an IPv6 fabric.

use std::time::Duration;

use anyhow::Result;
use lab::{
    A_ADDRESS, ADDRESSES6, B_ADDRESS, Capture, Encapsulation, Family, Site, SiteOptions, ping, tcp,
};

fn site(options: SiteOptions) -> Result<Option<Site>> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "iperf3", "tshark"]) {
        lab::skip(&format!("{}: {reason}", options.prefix));
        return Ok(None);
    }
    let mut site = Site::build(options)?;
    site.start()?;
    Ok(Some(site))
}

fn carries_both_families(site: &mut Site, encapsulation: Encapsulation) -> Result<()> {
    for node in &mut site.nodes {
        node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
    }
    site.converge(encapsulation)?;
    let (red_a, red_b) = (site.workload("red-a")?, site.workload("red-b")?);
    let [a6, b6] = ADDRESSES6;
    for (from, to) in [(red_a, b6), (red_b, a6)] {
        lab::eventually("IPv6 to cross", Duration::from_secs(20), || {
            ping(from, to, 1, "0.1").is_ok_and(|result| result.lost == 0)
        })?;
    }
    let drops =
        |site: &Site| -> Result<Vec<_>> { site.nodes.iter().map(lab::Node::drops).collect() };
    let before = drops(site)?;
    let file = site.file(0, "underlay.pcap");
    let capture = Capture::start(site.underlay.namespace(), "node-a", &file)?;
    for (from, to) in [(red_a, b6), (red_b, a6), (red_a, B_ADDRESS), (red_b, A_ADDRESS)] {
        let lost = ping(from, to, 20, "0.02")?.lost;
        let dropped = if lost == 0 { Vec::new() } else { drops(site)? };
        assert_eq!(lost, 0, "{encapsulation:?} to {to}; dropped {before:?} then {dropped:?}");
    }
    for (from, to) in [("green-a", B_ADDRESS), ("green-b", A_ADDRESS)] {
        assert_eq!(ping(site.workload(from)?, to, 5, "0.02")?.lost, 0);
    }
    for address in [b6, B_ADDRESS] {
        let rate = tcp(red_a, red_b, address, "20M", &[])?;
        assert!(rate > 1e6, "TCP to {address} over {encapsulation:?}: {rate} bit/s");
    }
    let packets = site.decode(capture)?;
    site.judge(encapsulation, &packets)?;
    for (from, to) in [(a6, b6), (b6, a6)] {
        let inside = packets.iter().filter(|p| p.inner_source == from && p.inner_destination == to);
        assert!(inside.count() >= 20, "IPv6 from {from} in {encapsulation:?}");
    }
    Ok(())
}

fn dual_stack(name: &str, workers: usize, fabric: Family) -> Result<()> {
    let options = SiteOptions { workers, fabric, ..SiteOptions::for_test(name) };
    let Some(mut site) = site(options)? else { return Ok(()) };
    site.make_red_dual_stack()?;
    for encapsulation in Encapsulation::ALL {
        carries_both_families(&mut site, encapsulation)?;
    }
    Ok(())
}

#[test]
fn workloads_of_both_families_talk_through_every_tunnel_with_one_worker() -> Result<()> {
    dual_stack("dual1", 1, Family::Inet)
}

#[test]
fn workloads_of_both_families_talk_through_every_tunnel_with_two_workers() -> Result<()> {
    dual_stack("dual2", 2, Family::Inet)
}

#[test]
fn every_tunnel_crosses_an_ipv6_fabric_with_one_worker() -> Result<()> {
    dual_stack("fab1", 1, Family::Inet6)
}

#[test]
fn every_tunnel_crosses_an_ipv6_fabric_with_two_workers() -> Result<()> {
    dual_stack("fab2", 2, Family::Inet6)
}
