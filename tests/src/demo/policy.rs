//! The steps about policy: a third network, what may pass between two of them, and a floating IP.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{
    A_ADDRESS, B_ADDRESS, BLUE_ADDRESS, Background, Namespace, RED_VNI, Site, eventually, ping,
};

use crate::steps::say;

const FLOATING: &str = "10.1.3.100";

/// Policy "tcp/80 only" between red and blue: applied, changed and removed.
pub(crate) fn between_networks(site: &mut Site) -> Result<()> {
    site.add_blue()?;
    say("network blue has a subnet of its own, and blue-b on node-b");
    let _servers = [serve(site, "80")?, serve(site, "81")?];
    ensure!(!fetches(site.workload("red-a")?, 80), "red-a reaches blue-b without a policy");
    say("red-a does not reach blue-b: there is no route");
    let took = apply(site, "80", |red| fetches(red, 80))?;
    say(&format!(
        "policy \"web\" for red and blue, tcp/80 only: red-a fetches from blue-b after {took} ms"
    ));
    let red = site.workload("red-a")?;
    ensure!(!fetches(red, 81), "port 81 passes");
    ensure!(ping(red, BLUE_ADDRESS, 1, "0.2")?.lost == 1, "ICMP passes");
    ensure!(ping(red, B_ADDRESS, 3, "0.1")?.lost == 0, "red-a does not reach red-b");
    say("port 81 and ping do not pass; within red everything does");
    show_flows(site)?;
    explain(site)?;
    analytics(site)?;
    let took = apply(site, "81", |red| fetches(red, 81) && !fetches(red, 80))?;
    say(&format!(
        "the rule changed to tcp/81: port 81 passes and port 80 does not, after {took} ms"
    ));
    let start = Instant::now();
    site.set_policy(&[], &[], "")?;
    let red = site.workload("red-a")?;
    eventually("the end of the policy", Duration::from_secs(5), || !fetches(red, 81))?;
    let took = start.elapsed().as_millis();
    say(&format!(
        "the policy removed: nothing passes any more, after {took} ms (a second of it waiting for an answer)"
    ));
    overlap(site)
}

/// Networks with the same addresses are refused.
fn overlap(site: &mut Site) -> Result<()> {
    let rule = "action = \"pass\", source = \"red\", destination = \"green\"";
    let text = format!("\n[[policy]]\nname = \"all\"\nrules = [{{ {rule} }}]\n");
    site.set_policy(&["red", "green"], &["all"], &text)?;
    let log = site.file(0, "agent.log");
    let told = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().find(|line| line.contains("would join")).map(str::to_owned)
    };
    eventually("the refusal", Duration::from_secs(5), || told().is_some())?;
    let line = told().unwrap_or_default();
    let line = line.split("network.policies: ").nth(1).unwrap_or(&line);
    say(&format!("a policy for red and green, which overlap, is refused: {line}"));
    site.set_policy(&[], &[], "")
}

/// A floating IP of network blue for red-a.
pub(crate) fn floating_ip(site: &mut Site) -> Result<()> {
    let floats = format!("floating_ips = [{{ network = \"blue\", address = \"{FLOATING}\" }}]\n");
    site.nodes[0].reconfigure(|options| {
        for workload in options.workloads.iter_mut().filter(|it| it.name == "red-a") {
            workload.extra = floats.clone();
        }
    })?;
    let blue = site.workload("blue-b")?;
    let reached = || ping(blue, FLOATING, 1, "0.2").is_ok_and(|result| result.lost == 0);
    eventually("the floating IP", Duration::from_secs(10), reached)?;
    let result = ping(blue, FLOATING, 10, "0.05")?;
    ensure!(result.lost == 0, "blue-b lost {} of {} pings", result.lost, result.sent);
    say(&format!("blue-b pings {FLOATING}, a floating IP of red-a: {} sent, 0 lost", result.sent));
    let list = site.nodes[0].ask("flow", &["--match", &format!("{FLOATING} & proto icmp")])?;
    let record = list.lines().skip_while(|line| !line.contains("<=>")).take(8);
    say("on node-a:");
    say(&format!("$ flow --match \"{FLOATING} & proto icmp\""));
    record.for_each(|line| say(&format!("  {line}")));
    site.nodes[0].reconfigure(|options| {
        for workload in options.workloads.iter_mut().filter(|it| it.name == "red-a") {
            workload.extra.clear();
        }
    })
}

fn apply(site: &mut Site, port: &str, holds: impl Fn(&Namespace) -> bool) -> Result<u128> {
    let start = Instant::now();
    let rule = format!(
        "action = \"pass\", protocol = \"tcp\", source = \"red\", destination = \"blue\", ports = \"{port}\""
    );
    let text = format!("\n[[policy]]\nname = \"web\"\nrules = [{{ {rule} }}]\n");
    site.set_policy(&["red", "blue"], &["web"], &text)?;
    let red = site.workload("red-a")?;
    eventually("the policy", Duration::from_secs(5), || holds(red))?;
    Ok(start.elapsed().as_millis())
}

fn serve(site: &Site, port: &str) -> Result<Background> {
    let blue = site.workload("blue-b")?;
    let log = site.file(1, &format!("http-{port}.log"));
    let server = blue.start(Path::new("python3"), &["-m", "http.server", port], &log)?;
    eventually("the web server", Duration::from_secs(10), || {
        let sockets = blue.run(&format!("ss -Htln sport = {port}"));
        sockets.is_ok_and(|text| !text.trim().is_empty())
    })?;
    Ok(server)
}

/// Whether a page comes within a second.
fn fetches(from: &Namespace, port: u16) -> bool {
    let program = format!(
        "import urllib.request; urllib.request.urlopen('http://{BLUE_ADDRESS}:{port}/', timeout=1).read()"
    );
    from.output("python3", &["-c", &program]).is_ok()
}

/// The flows to blue-b as the operator sees them: one that passes, one that is denied.
fn show_flows(site: &Site) -> Result<()> {
    // A connection is forgotten two seconds after both sides have closed it.
    ensure!(fetches(site.workload("red-a")?, 80), "a page");
    let list = site.nodes[0].ask("flow", &["-l"])?;
    let records: Vec<&str> = list.split("\n\n").collect();
    let one = |wanted: &str| {
        let mut found =
            records.iter().filter(|record| record.contains(&format!("{BLUE_ADDRESS}:")));
        found.find(|record| record.contains(wanted)).copied()
    };
    let (passes, denied) = (one("Action:F"), one("Action:D("));
    ensure!(passes.is_some() && denied.is_some(), "{list}");
    say("on node-a:");
    say("$ flow -l");
    for line in passes.into_iter().chain(denied).flat_map(str::lines) {
        say(&format!("  {line}"));
    }
    Ok(())
}

/// What node-a would do with a packet that policy lets pass, and with one that it does not.
fn explain(site: &Site) -> Result<()> {
    let vif = site.nodes[0].vif_of(RED_VNI, A_ADDRESS)?.to_string();
    for (port, ending) in [("80", "=> sent by vif0/0"), ("81", "=> dropped: Flow Action Drop")] {
        let wanted =
            ["explain", "--vif", &vif, "--dst", BLUE_ADDRESS, "--proto", "tcp", "--dport", port];
        let told = site.nodes[0].ask("vrouter", &wanted)?;
        ensure!(told.contains(ending), "{told}");
        say(&format!("$ vrouter {}", wanted.join(" ")));
        told.lines().for_each(|line| say(&format!("  {line}")));
    }
    Ok(())
}

/// What policy let pass and denied so far, as node-a's agent tells it.
fn analytics(site: &Site) -> Result<()> {
    let query = serde_json::json!({
        "table": "FlowSeriesTable",
        "select_fields": ["sourcevn", "destvn", "action", "nw_policy_rule", "sum(packets)", "sum(bytes)"],
        "where": [[{ "name": "destvn", "value": "blue", "op": 1 }]],
        "dir": 1,
        "sort": 2,
        "sort_fields": ["action"],
    });
    let from = site.nodes[1].namespace();
    let rows = lab::until("what policy did to be told", Duration::from_secs(15), || {
        let rows = site.nodes[0].query(from, &query).ok()?;
        let actions: Vec<_> = rows.iter().filter_map(|row| row["action"].as_str()).collect();
        (actions.contains(&"pass") && actions.contains(&"deny")).then_some(rows)
    })?;
    say(&format!(
        "$ curl http://{}/analytics/query -d '{query}'",
        site.nodes[0].options().analytics()
    ));
    rows.iter().for_each(|row| say(&format!("  {row}")));
    Ok(())
}
