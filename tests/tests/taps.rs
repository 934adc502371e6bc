//! Workloads on TAPs between two nodes: their stacks leave checksums and segmentation to the dataplane, and what crosses
//! the fabric is finished; interfaces that come back, and that change between pair and TAP.

use std::time::Duration;

use anyhow::Result;
use lab::{
    A_ADDRESS, ADDRESSES6, B_ADDRESS, Capture, Encapsulation, Namespace, PortKind, Site,
    SiteOptions, ping, tcp,
};

const RED: [&str; 2] = ["red-a", "red-b"];

fn site(name: &str, workers: usize) -> Result<Option<Site>> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "iperf3", "tshark"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(None);
    }
    let mut site = Site::build(SiteOptions { workers, ..SiteOptions::for_test(name) })?;
    site.start()?;
    site.converge(Encapsulation::MplsOverUdp)?;
    Ok(Some(site))
}

fn reaches(from: &Namespace, to: &str) -> Result<()> {
    lab::eventually(&format!("{to} to be reached"), Duration::from_secs(10), || {
        ping(from, to, 1, "0.1").is_ok_and(|result| result.lost == 0)
    })
}

/// What the kernel of a workload refused for a wrong checksum.
fn refused(workload: &Namespace) -> Result<u64> {
    let text = workload.run("nstat -asz IpInCsumErrors TcpInCsumErrors UdpInCsumErrors IcmpInCsumErrors Icmp6InCsumErrors")?;
    let counts =
        text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(counts.sum())
}

/// Red is on TAPs at both ends, green on a TAP at node a and on a pair at node b.
fn every_tunnel_carries_taps(name: &str, workers: usize) -> Result<()> {
    let Some(mut site) = site(name, workers)? else { return Ok(()) };
    site.make_red_dual_stack()?;
    site.attach_by(PortKind::Tap, &["red-a", "red-b", "green-a"])?;
    for encapsulation in Encapsulation::ALL {
        for node in &mut site.nodes {
            node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
        }
        site.converge(encapsulation)?;
        carries_taps(&site, encapsulation)?;
    }
    Ok(())
}

fn carries_taps(site: &Site, encapsulation: Encapsulation) -> Result<()> {
    let [a6, b6] = ADDRESSES6;
    let (red, green) = (["red-a", "red-b"], ["green-a", "green-b"]);
    let ways = [(red, A_ADDRESS, B_ADDRESS), (red, a6, b6), (green, A_ADDRESS, B_ADDRESS)];
    for ([a, b], a_address, b_address) in ways {
        reaches(site.workload(a)?, b_address)?;
        reaches(site.workload(b)?, a_address)?;
    }
    let drops =
        |site: &Site| -> Result<Vec<_>> { site.nodes.iter().map(lab::Node::drops).collect() };
    let before = drops(site)?;
    let file = site.file(0, "underlay.pcap");
    let capture = Capture::start(site.underlay.namespace(), "node-a", &file)?;
    for ([a, b], a_address, b_address) in ways {
        let (a, b) = (site.workload(a)?, site.workload(b)?);
        for (from, to) in [(a, b_address), (b, a_address)] {
            let lost = ping(from, to, 20, "0.01")?.lost;
            assert_eq!(lost, 0, "{encapsulation:?} to {to}");
        }
        for reverse in [&[][..], &["-R"]] {
            let rate = tcp(a, b, b_address, "20M", reverse)?;
            assert!(rate > 1e6, "TCP to {b_address} over {encapsulation:?}: {rate} bit/s");
        }
    }
    let (count, bad) = capture.finish_checksums("gre or mpls or vxlan")?;
    assert!(count > 1000 && bad.is_empty(), "{encapsulation:?}: of {count}\n{bad}");
    assert_eq!(drops(site)?, before, "{encapsulation:?}");
    // As fast as it goes a receiver's queue may fill up, as of any network card; nothing else may happen.
    for ([a, b], _, b_address) in ways {
        let rate = tcp(site.workload(a)?, site.workload(b)?, b_address, "0", &[])?;
        println!("{encapsulation:?}, {a} to {b_address}: {:.0} Mbit/s", rate * 1e-6);
    }
    let others = |rows: Vec<Vec<(String, u64)>>| -> Vec<_> {
        rows.into_iter().flatten().filter(|(label, _)| label != "IF Drop").collect()
    };
    assert_eq!(others(drops(site)?), others(before), "{encapsulation:?}");
    for name in ["red-a", "red-b", "green-a", "green-b"] {
        assert_eq!(
            refused(site.workload(name)?)?,
            0,
            "{name} refused what came in {encapsulation:?}"
        );
    }
    Ok(())
}

#[test]
fn every_tunnel_carries_taps_with_right_checksums_and_without_a_drop_with_one_worker() -> Result<()>
{
    every_tunnel_carries_taps("taps1", 1)
}

#[test]
fn every_tunnel_carries_taps_with_right_checksums_and_without_a_drop_with_two_workers() -> Result<()>
{
    every_tunnel_carries_taps("taps2", 2)
}

#[test]
fn taps_come_back_after_either_process_and_their_tenant() -> Result<()> {
    let Some(mut site) = site("tapback", 1)? else { return Ok(()) };
    site.attach_by(PortKind::Tap, &RED)?;
    reaches(site.workload("red-a")?, B_ADDRESS)?;

    // The agent: nothing is felt.
    let link = site.workload("red-b")?.run("ip -d link show eth0")?;
    site.nodes[1].kill_agent()?;
    assert_eq!(ping(site.workload("red-a")?, B_ADDRESS, 20, "0.01")?.lost, 0);
    site.nodes[1].start_agent()?;
    assert_eq!(ping(site.workload("red-a")?, B_ADDRESS, 100, "0.02")?.lost, 0);
    assert_eq!(site.workload("red-b")?.run("ip -d link show eth0")?, link, "untouched");

    // vrouterd: its TAPs go with it, and the agent brings the new ones.
    for _ in 0..3 {
        site.nodes[1].kill_vrouterd()?;
        assert!(site.workload("red-b")?.run("ip link show eth0").is_err(), "gone with vrouterd");
        site.nodes[1].start_vrouterd()?;
        reaches(site.workload("red-a")?, B_ADDRESS)?;
    }

    // Both at once, and the workload's own doing.
    site.nodes[1].stop()?;
    site.nodes[1].start_vrouterd()?;
    site.nodes[1].start_agent()?;
    reaches(site.workload("red-a")?, B_ADDRESS)?;
    site.workload("red-b")?.run("ip link del eth0")?;
    reaches(site.workload("red-a")?, B_ADDRESS)?;
    site.workload("red-b")?.run("ip link set eth0 down")?;
    site.workload("red-b")?.run("ip link set eth0 up")?;
    reaches(site.workload("red-b")?, A_ADDRESS)?;
    let restored = || {
        let routes = site.workload("red-b").and_then(|workload| workload.run("ip route"));
        routes.is_ok_and(|text| text.contains("default via 10.1.1.1"))
    };
    lab::eventually("the default route", Duration::from_secs(5), restored)
}

#[test]
fn a_workload_changes_between_pair_and_tap_while_everything_runs() -> Result<()> {
    let Some(mut site) = site("tapchange", 2)? else { return Ok(()) };
    reaches(site.workload("green-a")?, B_ADDRESS)?;
    for port in [PortKind::Tap, PortKind::Veth, PortKind::Tap, PortKind::Veth] {
        site.attach_by(port, &RED)?;
        reaches(site.workload("red-a")?, B_ADDRESS)?;
        reaches(site.workload("red-b")?, A_ADDRESS)?;
        assert_eq!(ping(site.workload("green-a")?, B_ADDRESS, 5, "0.01")?.lost, 0, "green stays");
    }
    Ok(())
}
