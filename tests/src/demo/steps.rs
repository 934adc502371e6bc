//! What the demo shows, step by step. A step that does not come out as it must ends the demo with the reason.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{
    A_ADDRESS, ADDRESSES6, B_ADDRESS, BROADCAST, Capture, ENDPOINTS, Encapsulation,
    GREEN_ONLY_ADDRESS, Namespace, Node, PingResult, RED_VNI, Site, ping, ping_broadcast,
    send_frame, tcp, tcp_server, value_after,
};

use crate::policy;

/// Shows every step.
pub(crate) fn show(site: &mut Site) -> Result<()> {
    let start = Instant::now();
    let mut step = 0;
    let mut title = |text: &str| {
        step += 1;
        println!("\nStep {step}: {text}");
    };
    for encapsulation in Encapsulation::ALL {
        let name = encapsulation.flag();
        title(&format!("red-a and red-b over {name}, green beside them with the same addresses"));
        tunnel(site, encapsulation).with_context(|| format!("over {name}"))?;
    }
    title("a packet from red to an address that only green has");
    isolation(site)?;
    title("the operator's walk: from a VNI to the workload's interface");
    walk(&site.nodes[1])?;
    title("red becomes dual-stack: an IPv6 subnet in the file, read again by both agents");
    dual_stack(site)?;
    title("frames that are no IP and broadcast, bridged between the nodes over VXLAN and MPLS");
    for encapsulation in [Encapsulation::Vxlan, Encapsulation::MplsOverUdp] {
        let name = encapsulation.flag();
        bridging(site, encapsulation).with_context(|| format!("over {name}"))?;
    }
    title("policy between networks: red and blue may speak tcp/80");
    policy::between_networks(site)?;
    title("a floating IP of network blue for red-a");
    policy::floating_ip(site)?;
    title("both agents killed with -9 for ten seconds, while red-a pings red-b");
    headless(site)?;
    title("vrouterd of node-b killed with -9 while a TCP session is open, and started again");
    restart(site)?;
    println!("\nAll steps as expected, in {} s.", start.elapsed().as_secs());
    Ok(())
}

pub(crate) fn say(text: &str) {
    println!("  {text}");
}

// ------------------------------------------------------------------------------------------------ tunnels

fn switch_to(site: &mut Site, encapsulation: Encapsulation) -> Result<()> {
    for node in &mut site.nodes {
        if node.options().encapsulations != [encapsulation] {
            node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
        }
    }
    site.converge(encapsulation)
}

fn tunnel(site: &mut Site, encapsulation: Encapsulation) -> Result<()> {
    switch_to(site, encapsulation)?;
    let file = site.file(0, "underlay.pcap");
    let capture = Capture::start(site.underlay.namespace(), "node-a", &file)?;
    let green = site.workload("green-a")?.start(
        Path::new("ping"),
        &["-q", "-i", "0.05", "-c", "60", "-W", "2", B_ADDRESS],
        &site.file(0, "green-ping.log"),
    );
    let mut green = green?;
    let lost = ping(site.workload("red-a")?, B_ADDRESS, 20, "0.05")?;
    ensure!(lost.lost == 0, "red-a lost {} of {} pings", lost.lost, lost.sent);
    say(&format!(
        "red-a pings red-b: {} sent, {} lost, round trip {} ms",
        lost.sent, lost.lost, lost.average
    ));
    for (direction, arguments) in [("red-a to red-b", &[][..]), ("red-b to red-a", &["-R"])] {
        let (red_a, red_b) = (site.workload("red-a")?, site.workload("red-b")?);
        let rate = tcp(red_a, red_b, B_ADDRESS, "100M", arguments)?;
        ensure!(rate > 1e6, "TCP hardly moves: {rate} bit/s");
        let mbits = rate / 1e6;
        say(&format!("TCP {direction}: {mbits:.0} Mbit/s (held at 100 while the capture runs)"));
    }
    let status = green.wait(Duration::from_secs(15))?;
    ensure!(status.success(), "green-a lost pings to green-b meanwhile");
    say("green-a pings green-b meanwhile: 60 sent, 0 lost");
    let packets = site.decode(capture)?;
    let (kind, table) = match encapsulation {
        Encapsulation::Vxlan => ("VNI", "vxlan --dump"),
        _ => ("label", "mpls --dump"),
    };
    for direction in site.judge(encapsulation, &packets)? {
        let [red, green] = direction.labels;
        say(&format!(
            "underlay {} -> {}: {} packets, all {}, {kind} {red} (red) and {green} (green) as `{table}` on {} says",
            direction.from,
            direction.to,
            direction.packets,
            encapsulation.flag(),
            direction.receiver,
        ));
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------ isolation

fn isolation(site: &Site) -> Result<()> {
    site.workload("red-a")?
        .run(&format!("ip neigh replace {GREEN_ONLY_ADDRESS} lladdr 00:00:5e:00:01:00 dev eth0"))?;
    let green = ping(site.workload("green-a")?, GREEN_ONLY_ADDRESS, 1, "1")?;
    ensure!(green.lost == 0, "green-a does not reach {GREEN_ONLY_ADDRESS}");
    let before = site.nodes[0].drops()?;
    let red = ping(site.workload("red-a")?, GREEN_ONLY_ADDRESS, 1, "1")?;
    ensure!(red.lost == 1, "red-a reached an address of green");
    let moved = moved(&before, &site.nodes[0].drops()?);
    ensure!(moved.len() == 1 && moved[0].1 == 1, "not one counter by one: {moved:?}");
    say(&format!(
        "green-a reaches {GREEN_ONLY_ADDRESS}; red-a's packet is dropped, `dropstats` on node-a says why:"
    ));
    say(&format!("{} +1, nothing else", moved[0].0));
    Ok(())
}

fn moved(before: &[(String, u64)], after: &[(String, u64)]) -> Vec<(String, u64)> {
    let old =
        |label: &str| before.iter().find(|(name, _)| name == label).map_or(0, |(_, value)| *value);
    let difference = |(label, value): &(String, u64)| (label.clone(), value - old(label));
    after.iter().map(difference).filter(|(_, difference)| *difference > 0).collect()
}

// ------------------------------------------------------------------------------------------------ walk

fn walk(node: &Node) -> Result<()> {
    let show = |name: &str, arguments: &[&str]| -> Result<String> {
        println!("  $ {name} {}", arguments.join(" "));
        let text = node.ask(name, arguments)?;
        for line in text.lines() {
            println!("    {line}");
        }
        Ok(text)
    };
    say("on node-b:");
    show("vxlan", &["--get", RED_VNI])?;
    let translate = node.vni_next_hop(RED_VNI)?.to_string();
    show("nh", &["--get", &translate])?;
    let vrf = node.vrf_of_vni(RED_VNI)?.to_string();
    let dump = node.ask("rt", &["--dump", &vrf])?;
    let row = dump
        .lines()
        .find(|line| line.starts_with(&format!("{B_ADDRESS}/32")))
        .context("no route to red-b")?;
    println!("  $ rt --dump {vrf} | grep '^{B_ADDRESS}/32'\n    {row}");
    let next_hop = node.route(vrf.parse()?, B_ADDRESS)?.next_hop.to_string();
    let encap = show("nh", &["--get", &next_hop])?;
    let vif = value_after(&encap, "Oif:").context("the next hop has no interface")?;
    println!("  $ vif --get {vif}");
    let text = node.ask("vif", &["--get", &vif.to_string()])?;
    ensure!(
        text.contains(&format!("IPaddr:{B_ADDRESS}")),
        "the walk does not end at red-b: {text}"
    );
    for line in text.lines().skip_while(|line| !line.starts_with("vif0/")) {
        println!("    {line}");
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------ IPv6 and frames

fn dual_stack(site: &mut Site) -> Result<()> {
    site.make_red_dual_stack()?;
    let [a6, b6] = ADDRESSES6;
    let (red_a, red_b) = (site.workload("red-a")?, site.workload("red-b")?);
    for (from, to) in [(red_a, b6), (red_b, a6)] {
        lab::eventually("IPv6 to cross", Duration::from_secs(20), || {
            ping(from, to, 1, "0.1").is_ok_and(|result| result.lost == 0)
        })?;
    }
    say(&format!("red-a has {A_ADDRESS} and {a6}, red-b {B_ADDRESS} and {b6}"));
    let file = site.file(0, "underlay.pcap");
    let capture = Capture::start(site.underlay.namespace(), "node-a", &file)?;
    for to in [B_ADDRESS, b6] {
        let result = ping(red_a, to, 20, "0.05")?;
        ensure!(result.lost == 0, "red-a lost {} of {} pings to {to}", result.lost, result.sent);
        say(&format!(
            "red-a pings {to}: {} sent, 0 lost, round trip {} ms",
            result.sent, result.average
        ));
    }
    let rate = tcp(red_a, red_b, b6, "100M", &[])?;
    ensure!(rate > 1e6, "TCP hardly moves: {rate} bit/s");
    say(&format!("TCP to {b6}: {:.0} Mbit/s (held at 100 while the capture runs)", rate / 1e6));
    let packets = site.decode(capture)?;
    for (from, to) in [(A_ADDRESS, B_ADDRESS), (a6, b6)] {
        let inside = packets.iter().filter(|p| p.inner_source == from && p.inner_destination == to);
        let count = inside.count();
        ensure!(count >= 20, "{count} packets of {from} on the underlay");
        say(&format!("underlay: {count} packets {from} -> {to} in the tunnel"));
    }
    Ok(())
}

fn bridging(site: &mut Site, encapsulation: Encapsulation) -> Result<()> {
    const EXPERIMENTAL: u16 = 0x88b5;
    const ALL: &str = "ff:ff:ff:ff:ff:ff";
    switch_to(site, encapsulation)?;
    let (red_a, red_b) = (site.workload("red-a")?, site.workload("red-b")?);
    red_b.run("sysctl -qw net.ipv4.icmp_echo_ignore_broadcasts=0")?;
    lab::eventually("broadcast to cross", Duration::from_secs(10), || {
        ping_broadcast(red_a, BROADCAST).is_ok_and(|who| who == [B_ADDRESS])
    })?;
    let mac = red_b.run("cat /sys/class/net/eth0/address")?.trim().to_owned();
    let at_b = Capture::start(red_b, "eth0", &site.file(1, "red-b.pcap"))?;
    let at_green =
        Capture::start(site.workload("green-b")?, "eth0", &site.file(1, "green-b.pcap"))?;
    let file = site.file(0, "underlay.pcap");
    let underlay = Capture::start(site.underlay.namespace(), "node-a", &file)?;
    for destination in [mac.as_str(), ALL] {
        send_frame(red_a, "eth0", destination, EXPERIMENTAL, "neither IPv4 nor IPv6")?;
    }
    let who = ping_broadcast(red_a, BROADCAST)?;
    ensure!(who == [B_ADDRESS], "broadcast was answered by {who:?}");
    let whole = "eth.type == 0x88b5 && frame contains \"neither IPv4 nor IPv6\"";
    let (heard, leaked) = (at_b.finish(whole)?.len(), at_green.finish(whole)?.len());
    ensure!(heard == 2, "red-b got {heard} of 2 frames");
    ensure!(leaked == 0, "green-b got {leaked} of red's frames");
    let name = encapsulation.flag();
    say(&format!(
        "{name}: frames of EtherType 0x88b5 from red-a to {mac} and to {ALL}: red-b got both, green-b none"
    ));
    say(&format!("{name}: red-a pings {BROADCAST}: {} answers", who.join(" ")));
    let packets = site.decode(underlay)?;
    let frames: Vec<u32> = packets
        .iter()
        .filter(|packet| packet.ethertypes.last() == Some(&EXPERIMENTAL))
        .filter_map(|packet| packet.label)
        .collect();
    let [station, flooded] = frames.as_slice() else {
        anyhow::bail!("{} frames on the underlay, expected were 2", frames.len());
    };
    say(&match encapsulation {
        Encapsulation::Vxlan => format!("underlay: both under VNI {station}"),
        _ => format!(
            "underlay: under labels {station} (red-b's for frames) and {flooded} (red's for what is flooded)"
        ),
    });
    Ok(())
}

// ------------------------------------------------------------------------------------------------ restarts

fn headless(site: &mut Site) -> Result<()> {
    let log = site.file(0, "headless-ping.log");
    fs::remove_file(&log).ok();
    let mut pings = site.workload("red-a")?.start(
        Path::new("ping"),
        &["-i", "0.1", "-c", "160", "-W", "2", B_ADDRESS],
        &log,
    )?;
    for node in &mut site.nodes {
        node.kill_agent()?;
    }
    say("both agents are dead");
    lab::pause(Duration::from_secs(10));
    for node in &mut site.nodes {
        node.start_agent()?;
    }
    say("both agents are started again");
    pings.wait(Duration::from_secs(30))?;
    let result = PingResult::read(&fs::read_to_string(&log)?)?;
    ensure!(result.lost == 0, "{} of {} pings lost", result.lost, result.sent);
    say(&format!("{} pings sent all the while, {} lost", result.sent, result.lost));
    Ok(())
}

fn restart(site: &mut Site) -> Result<()> {
    let _server = tcp_server(site.workload("red-b")?)?;
    let log = site.file(0, "session.json");
    fs::remove_file(&log).ok();
    let session = ["-c", B_ADDRESS, "-p", "5202", "-b", "5M", "-t", "14", "-J"];
    let mut client = site.workload("red-a")?.start(Path::new("iperf3"), &session, &log)?;
    let red_a = site.workload("red-a")?;
    lab::eventually("the TCP session to flow", Duration::from_secs(5), || established(red_a))?;
    let device = site.nodes[1].device_of(RED_VNI, B_ADDRESS)?;
    site.nodes[1].kill_vrouterd()?;
    say("vrouterd of node-b is dead");
    let underlay = ping(site.nodes[0].namespace(), ENDPOINTS[1], 5, "0.1")?;
    ensure!(underlay.lost == 0, "node-b's own address does not answer");
    say(&format!("node-b's own address {} still answers: 5 sent, 0 lost", ENDPOINTS[1]));
    no_tenant_frame(site, &device)?;
    let started = Instant::now();
    site.nodes[1].start_vrouterd()?;
    let red_a = site.workload("red-a")?;
    lab::eventually("red-a to reach red-b again", Duration::from_secs(3), || {
        ping(red_a, B_ADDRESS, 1, "0.1").is_ok_and(|result| result.lost == 0)
    })?;
    say(&format!("started again: ping is back after {:.1} s", started.elapsed().as_secs_f32()));
    let status = client.wait(Duration::from_secs(40))?;
    ensure!(status.success(), "the TCP session broke: {}", fs::read_to_string(&log)?);
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(&log)?)?;
    let intervals = report["intervals"].as_array().context("iperf3 shows no intervals")?;
    let last = intervals
        .last()
        .and_then(|interval| interval["sum"]["bits_per_second"].as_f64())
        .unwrap_or(0.0);
    ensure!(last > 0.0, "the TCP session stands still");
    say(&format!(
        "the TCP session of before the kill goes on: {:.1} Mbit/s in its last second",
        last / 1e6
    ));
    Ok(())
}

/// While the dataplane is dead a workload's frames must not enter the node's own stack.
fn no_tenant_frame(site: &Site, device: &str) -> Result<()> {
    let file = site.file(1, "tap.pcap");
    let capture = Capture::start(site.nodes[1].namespace(), device, &file)?;
    ping(site.workload("red-b")?, A_ADDRESS, 3, "0.1")?;
    let leaked = capture.finish(&format!("ip.addr == {B_ADDRESS} or arp"))?;
    ensure!(leaked.is_empty(), "{} tenant frames entered the host", leaked.len());
    say(&format!("red-b keeps sending; node-b's stack sees 0 of its frames on {device}"));
    Ok(())
}

fn established(namespace: &Namespace) -> bool {
    // iperf3 opens a control and a data connection.
    let text = namespace.run("ss -Htn state established dport = 5202").unwrap_or_default();
    text.lines().count() >= 2
}
