//! Either process dies; traffic, tables and the node's own address.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lab::{
    A_ADDRESS, B_ADDRESS, Capture, ENDPOINTS, Encapsulation, PingResult, RED_VNI, Site,
    SiteOptions, ping,
};

fn site(name: &str, workers: usize) -> Result<Option<Site>> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "tshark"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(None);
    }
    let mut site = Site::build(SiteOptions { workers, ..SiteOptions::for_test(name) })?;
    site.start()?;
    site.converge(Encapsulation::MplsOverUdp)?;
    Ok(Some(site))
}

#[test]
fn both_agents_die_and_come_back_without_a_lost_packet() -> Result<()> {
    let Some(mut site) = site("agents", 1)? else { return Ok(()) };
    let log = site.file(0, "ping.log");
    let arguments = ["-i", "0.05", "-c", "200", "-W", "2", B_ADDRESS];
    let mut pings = site.workload("red-a")?.start(Path::new("ping"), &arguments, &log)?;
    let labels = [site.nodes[0].labels()?, site.nodes[1].labels()?];
    for node in &mut site.nodes {
        node.kill_agent()?;
    }
    // The kernel of each node knows the death of the other's session; nothing else may change.
    lab::eventually("the BGP session to be gone", Duration::from_secs(5), || {
        let line = "ss -Htn state established sport = 179 or dport = 179";
        site.nodes[0].namespace().run(line).is_ok_and(|text| text.trim().is_empty())
    })?;
    for node in &mut site.nodes {
        node.start_agent()?;
    }
    pings.wait(Duration::from_secs(30))?;
    let result = PingResult::read(&fs::read_to_string(&log)?)?;
    assert_eq!((result.sent, result.lost), (200, 0));
    site.converge(Encapsulation::MplsOverUdp)?;
    assert_eq!([site.nodes[0].labels()?, site.nodes[1].labels()?], labels, "labels changed");
    Ok(())
}

fn a_killed_vrouterd(name: &str, workers: usize) -> Result<()> {
    let Some(mut site) = site(name, workers)? else { return Ok(()) };
    let device = site.nodes[1].device_of(RED_VNI, B_ADDRESS)?;
    for _ in 0..3 {
        site.nodes[1].kill_vrouterd()?;
        assert_eq!(ping(site.nodes[0].namespace(), ENDPOINTS[1], 3, "0.05")?.lost, 0);
        let file = site.file(1, "tap.pcap");
        let capture = Capture::start(site.nodes[1].namespace(), &device, &file)?;
        ping(site.workload("red-b")?, A_ADDRESS, 3, "0.05")?;
        let leaked = capture.finish(&format!("ip.addr == {B_ADDRESS} or arp"))?;
        assert!(leaked.is_empty(), "tenant frames entered the host: {leaked:?}");
        site.nodes[1].start_vrouterd()?;
        let red_a = site.workload("red-a")?;
        lab::eventually("red-a to reach red-b again", Duration::from_secs(3), || {
            ping(red_a, B_ADDRESS, 1, "0.1").is_ok_and(|result| result.lost == 0)
        })?;
    }
    Ok(())
}

#[test]
fn a_killed_vrouterd_leaves_the_node_reachable_and_the_host_free_of_tenants_with_one_worker()
-> Result<()> {
    a_killed_vrouterd("kill1", 1)
}

#[test]
fn a_killed_vrouterd_leaves_the_node_reachable_and_the_host_free_of_tenants_with_two_workers()
-> Result<()> {
    a_killed_vrouterd("kill2", 2)
}

#[test]
fn labels_and_ids_are_the_same_after_both_processes_restart() -> Result<()> {
    let Some(mut site) = site("ids", 1)? else { return Ok(()) };
    let tables = |site: &Site| -> Result<Vec<String>> {
        let node = &site.nodes[1];
        ["mpls", "vxlan"].iter().map(|tool| node.ask(tool, &["--dump"])).collect()
    };
    let before = tables(&site)?;
    site.nodes[1].stop()?;
    site.nodes[1].start_vrouterd()?;
    site.nodes[1].start_agent()?;
    site.converge(Encapsulation::MplsOverUdp)?;
    assert_eq!(tables(&site)?, before);
    Ok(())
}
