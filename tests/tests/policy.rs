//! Policy between networks, security groups and floating IPs on two real nodes: applied, changed and removed while
//! everything runs (reference control-plane.md sections 8.3 and 8.4).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{
    A_ADDRESS, BLUE_ADDRESS, Capture, Encapsulation, Namespace, Site, SiteOptions, eventually, ping,
};

/// A rule of red and blue: TCP to this port.
fn web(port: u16) -> String {
    format!(
        "\n[[policy]]\nname = \"web\"\nrules = [{{ action = \"pass\", protocol = \"tcp\", source = \"red\", \
         destination = \"blue\", ports = \"{port}\" }}]\n"
    )
}

fn site(name: &str, workers: usize) -> Result<Option<Site>> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "python3"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(None);
    }
    let mut site = Site::build(SiteOptions { workers, ..SiteOptions::for_test(name) })?;
    site.start()?;
    site.converge(Encapsulation::MplsOverUdp)?;
    site.add_blue()?;
    Ok(Some(site))
}

/// A Python program in a workload, and what it says.
struct Talker {
    _process: lab::Background,
    log: PathBuf,
}

impl Talker {
    fn start(site: &Site, workload: &str, arguments: &[&str]) -> Result<Talker> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = site.file(0, &format!("python-{number}.log"));
        let arguments = [&["-u"], arguments].concat();
        let process = site.workload(workload)?.start(Path::new("python3"), &arguments, &log)?;
        let talker = Talker { _process: process, log };
        talker.wait_for("ready", Duration::from_secs(10))?;
        Ok(talker)
    }

    /// The first line with these words.
    fn wait_for(&self, words: &str, patience: Duration) -> Result<String> {
        let line = || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            text.lines().find(|line| line.contains(words)).map(str::to_owned)
        };
        eventually(words, patience, || line().is_some())?;
        line().context("it was there")
    }
}

/// Answers each connection to these ports with what it hears, until it is dropped.
fn serve(site: &Site, workload: &str, ports: &[u16]) -> Result<Talker> {
    let program = "import socket, sys, threading\n\
        def serve(port):\n\
        \x20 s = socket.create_server(('', port))\n\
        \x20 while True:\n\
        \x20   c, _ = s.accept()\n\
        \x20   threading.Thread(target=lambda: [c.sendall(d) for d in iter(lambda: c.recv(64), b'')]).start()\n\
        [threading.Thread(target=serve, args=(int(p),)).start() for p in sys.argv[1:]]\n\
        print('ready', flush=True)";
    let words: Vec<String> = ports.iter().map(u16::to_string).collect();
    let mut arguments = vec!["-c", program];
    arguments.extend(words.iter().map(String::as_str));
    Talker::start(site, workload, &arguments)
}

/// Whether a connection says something and hears it back within a second.
fn connects(namespace: &Namespace, address: &str, port: u16) -> bool {
    let program = format!(
        "import socket; s = socket.create_connection(('{address}', {port}), 1); s.sendall(b'x'); \
         assert s.recv(1) == b'x'"
    );
    namespace.output("python3", &["-c", &program]).is_ok()
}

fn within_a_second(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    eventually(what, Duration::from_secs(5), &holds)?;
    // The look itself may take a second, where nothing answers.
    ensure!(start.elapsed() < Duration::from_millis(2500), "{what}: {:?}", start.elapsed());
    Ok(())
}

fn policy_is_applied_changed_and_removed(name: &str, workers: usize) -> Result<()> {
    let Some(mut site) = site(name, workers)? else { return Ok(()) };
    let _server = serve(&site, "blue-b", &[80, 81])?;
    ensure!(!connects(site.workload("red-a")?, BLUE_ADDRESS, 80), "no policy, no route");

    site.set_policy(&["red", "blue"], &["web"], &web(80))?;
    let red = site.workload("red-a")?;
    within_a_second("port 80", || connects(red, BLUE_ADDRESS, 80))?;
    ensure!(!connects(red, BLUE_ADDRESS, 81), "port 81 is not allowed");
    ensure!(ping(red, BLUE_ADDRESS, 2, "0.2")?.lost == 2, "nor is ICMP");
    ensure!(ping(red, lab::B_ADDRESS, 3, "0.1")?.lost == 0, "within a network all passes");
    let green = site.workload("green-a")?;
    ensure!(!connects(green, BLUE_ADDRESS, 80), "green has nothing to do with it");

    let list = site.nodes[1].ask("flow", &["-l"])?;
    ensure!(list.contains(&format!("{BLUE_ADDRESS}:80")) && list.contains("Action:F"), "{list}");
    // What is denied ends where it begins.
    let list = site.nodes[0].ask("flow", &["-l"])?;
    ensure!(list.contains("Action:D(") && list.contains("Policy)"), "{list}");

    site.set_policy(&["red", "blue"], &["web"], &web(81))?;
    let red = site.workload("red-a")?;
    within_a_second("port 81", || connects(red, BLUE_ADDRESS, 81))?;
    ensure!(!connects(red, BLUE_ADDRESS, 80), "port 80 is not allowed any longer");

    site.set_policy(&[], &[], "")?;
    let red = site.workload("red-a")?;
    within_a_second("no policy", || !connects(red, BLUE_ADDRESS, 81))?;
    ensure!(ping(red, lab::B_ADDRESS, 3, "0.1")?.lost == 0);
    Ok(())
}

#[test]
fn policy_is_applied_changed_and_removed_with_one_worker() -> Result<()> {
    policy_is_applied_changed_and_removed("pol1", 1)
}

#[test]
fn policy_is_applied_changed_and_removed_with_two_workers() -> Result<()> {
    policy_is_applied_changed_and_removed("pol2", 2)
}

#[test]
fn explain_says_what_packets_do_and_trace_follows_them() -> Result<()> {
    let Some(mut site) = site("explain", 2)? else { return Ok(()) };
    let _server = serve(&site, "blue-b", &[80])?;
    site.set_policy(&["red", "blue"], &["web"], &web(80))?;
    let red = site.workload("red-a")?;
    within_a_second("port 80", || connects(red, BLUE_ADDRESS, 80))?;
    let node = &site.nodes[0];
    let vif = node.vif_of(lab::RED_VNI, A_ADDRESS)?.to_string();
    let ask = |port: &str| {
        let to = ["--dst", BLUE_ADDRESS, "--proto", "tcp", "--dport", port];
        node.ask("vrouter", &[&["explain", "--vif", &vif][..], &to].concat())
    };
    let sessions = || node.ask("flow", &["-l"]).map(|list| list.matches("Action:").count());
    let before = (sessions()?, node.drops()?);
    let allowed = ask("80")?;
    let sayings = [
        "would begin a session",
        "network policy: rule ",
        "MPLS over UDP tunnel",
        "=> sent by vif0/0",
    ];
    for words in sayings {
        ensure!(allowed.contains(words), "`{words}` is missing: {allowed}");
    }
    let denied = ask("81")?;
    let sayings = [
        "no rule allows it",
        "denied by the policy of the network it comes from",
        "=> dropped: Flow Action Drop",
    ];
    for words in sayings {
        ensure!(denied.contains(words), "`{words}` is missing: {denied}");
    }
    ensure!((sessions()?, node.drops()?) == before, "something has changed");

    // What it says is what happens: the real packet is followed from workload to uplink, and on the other node on from
    // there.
    let trace = |index: usize, vif: &str| -> Result<(lab::Background, PathBuf)> {
        let log = site.file(index, "trace.log");
        let directory = site.nodes[index].directory().display().to_string();
        let to = ["--dst", BLUE_ADDRESS, "--proto", "tcp", "--dport", "80"];
        let wanted = ["trace", "--sock-dir", &directory, "--vif", vif];
        let all = [&wanted[..], &to].concat();
        Ok((lab::Background::start(lab::tool("vrouter"), &all, &log)?, log))
    };
    let (mut here, at_here) = trace(0, &vif)?;
    let (mut there, at_there) = trace(1, "0")?;
    eventually("a packet to be followed", Duration::from_secs(8), || {
        connects(red, BLUE_ADDRESS, 80);
        !here.running() && !there.running()
    })?;
    let (here, there) = (std::fs::read_to_string(at_here)?, std::fs::read_to_string(at_there)?);
    ensure!(here.contains("of session ") && here.contains("=> sent by vif0/0"), "{here}");
    ensure!(
        there.contains("MPLS over UDP, label ") && there.contains("=> sent by vif0/"),
        "{there}"
    );
    let none = node.ask("vrouter", &["trace", "--dst", "203.0.113.77", "--seconds", "1"]);
    ensure!(none.is_err(), "nothing goes there: {none:?}");
    Ok(())
}

#[test]
fn analytics_tell_what_policy_let_pass_and_denied_from_network_to_network() -> Result<()> {
    let Some(mut site) = site("analytics", 2)? else { return Ok(()) };
    let _server = serve(&site, "blue-b", &[80])?;
    site.set_policy(&["red", "blue"], &["web"], &web(80))?;
    let red = site.workload("red-a")?;
    within_a_second("port 80", || connects(red, BLUE_ADDRESS, 80))?;
    ensure!(!connects(red, BLUE_ADDRESS, 81), "port 81 is not allowed");
    ensure!(ping(red, lab::B_ADDRESS, 5, "0.2")?.lost == 0, "within a network all passes");
    let node = &site.nodes[0];
    let from = site.nodes[1].namespace();
    let allowed = serde_json::json!({
        "table": "FlowSeriesTable",
        "start_time": "now-1h",
        "select_fields": ["sourcevn", "destvn", "action", "dport", "nw_policy_rule", "sum(packets)", "sum(bytes)"],
        "where": [[{"name": "protocol", "value": 6, "op": 1}, {"name": "dport", "value": "80", "op": 3, "value2": "81"}]],
        "dir": 1,
        "sort_fields": ["dport"],
    });
    let rows = lab::until("both ports are told of", Duration::from_secs(15), || {
        let rows = node.query(from, &allowed).ok()?;
        let ports: Vec<_> = rows.iter().filter_map(|row| row["dport"].as_u64()).collect();
        (ports == [80, 81]).then_some(rows)
    })?;
    for (row, action, rule) in
        [(&rows[0], "pass", "web rule 1"), (&rows[1], "deny", "no rule allows it")]
    {
        let told = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        ensure!((told("sourcevn"), told("destvn")) == ("red".into(), "blue".into()), "{row}");
        ensure!((told("action"), told("nw_policy_rule")) == (action.into(), rule.into()), "{row}");
        ensure!(row["sum(packets)"].as_u64() > Some(0) && row["sum(bytes)"].as_u64() > Some(50));
    }
    // The same as its client sees it.
    let sessions = serde_json::json!({
        "table": "SessionSeriesTable",
        "start_time": "now-1h",
        "session_type": "client",
        "select_fields": ["vmi", "vn", "remote_vn", "server_port", "forward_action", "SUM(forward_sampled_pkts)"],
        "where": [[{"name": "remote_vn", "value": "^bl.e$", "op": 8}, {"name": "protocol", "value": 6, "op": 1}]],
        "sort_fields": ["server_port"],
    });
    let rows = node.query(from, &sessions)?;
    for (row, port, action) in [(&rows[0], 80, "pass"), (&rows[1], 81, "deny")] {
        let told = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        ensure!((told("vmi"), told("vn")) == ("red-a".into(), "red".into()), "{row}");
        ensure!(row["server_port"] == port && row["forward_action"] == action, "{row}");
        ensure!(row["SUM(forward_sampled_pkts)"].as_u64() > Some(0), "{row}");
    }
    let pings = serde_json::json!({
        "table": "FlowRecordTable",
        "select_fields": ["sourcevn", "sourceip", "destvn", "destip", "agg-packets", "direction_ing"],
        "where": [[{"name": "protocol", "value": 1, "op": 1}, {"name": "sourcevn", "value": "red", "op": 1},
                   {"name": "destvn", "value": "red", "op": 1}]],
        "sort_fields": ["direction_ing"],
    });
    lab::until("the pings both ways", Duration::from_secs(20), || {
        let rows = node.query(from, &pings).ok()?;
        let packets: Vec<_> = rows.iter().filter_map(|row| row["agg-packets"].as_u64()).collect();
        (packets == [5, 5]).then_some(())
    })?;
    let wrong = node.query(from, &serde_json::json!({"table": "Flows", "select_fields": ["T"]}));
    let words = wrong.unwrap_err().to_string();
    ensure!(words.contains("table: \\\"Flows\\\" is none of FlowRecordTable"), "{words}");
    Ok(())
}

/// Copies of what a rule says, and of nothing else, reach an analyser on the underlay; live, both ways.
#[test]
fn a_rules_mirror_copies_its_sessions_to_an_analyser() -> Result<()> {
    let Some(mut site) = site("mirror", 1)? else { return Ok(()) };
    let _server = serve(&site, "blue-b", &[80])?;
    site.set_policy(&["red", "blue"], &["web"], &web(80))?;
    let red = site.workload("red-a")?;
    within_a_second("port 80", || connects(red, BLUE_ADDRESS, 80))?;

    let analyser = Namespace::create("vrx-mirror-analyser")?;
    site.underlay.plug(&analyser, "eth0", "analyser", "192.0.2.99/24", 1)?;
    let mirrored = web(80).replace(" }]", ", mirror = \"probe\" }]")
        + "[[mirror]]\nname = \"probe\"\naddress = \"192.0.2.99\"\nvni = 99\n";
    site.set_policy(&["red", "blue"], &["web"], &mirrored)?;
    let node = &site.nodes[0];
    eventually("the mirror", Duration::from_secs(5), || {
        node.ask("mirror", &["--dump"]).is_ok_and(|text| text.contains("99"))
    })?;
    let capture = Capture::start(&analyser, "eth0", &site.file(0, "analyser.pcap"))?;
    let red = site.workload("red-a")?;
    // Until the changed rules are in.
    eventually("a mirrored session", Duration::from_secs(5), || {
        let list = connects(red, BLUE_ADDRESS, 80).then(|| node.ask("flow", &["-l"]));
        list.and_then(Result::ok).is_some_and(|list| list.contains("Mirror Index :"))
    })?;
    ensure!(connects(red, BLUE_ADDRESS, 80) && ping(red, lab::B_ADDRESS, 3, "0.1")?.lost == 0);
    let copies = capture.finish("vxlan")?;
    let of = |from: &str, to: &str| {
        let same =
            |copy: &&lab::Packet| (&*copy.inner_source, &*copy.inner_destination) == (from, to);
        copies.iter().filter(same).count()
    };
    ensure!(of(A_ADDRESS, BLUE_ADDRESS) >= 4 && of(BLUE_ADDRESS, A_ADDRESS) >= 3, "{copies:?}");
    ensure!(of(A_ADDRESS, lab::B_ADDRESS) == 0, "no rule asks for what stays in red");
    ensure!(copies.iter().all(|copy| copy.label == Some(99)), "{copies:?}");
    Ok(())
}

/// Many clients of a service are one flow of the workload whose file says so.
#[test]
fn fat_flows_of_the_file_take_many_sessions_together() -> Result<()> {
    let Some(mut site) = site("fat", 1)? else { return Ok(()) };
    site.nodes[1].reconfigure(|options| {
        for workload in options.workloads.iter_mut().filter(|workload| workload.name == "red-b") {
            workload.extra =
                "fat_flows = [{ protocol = \"udp\", port = 5300 }, { protocol = \"icmp\" }]\n"
                    .to_owned();
        }
    })?;
    let node = &site.nodes[1];
    let vif = node.vif_of(lab::RED_VNI, lab::B_ADDRESS)?.to_string();
    eventually("the interface has them", Duration::from_secs(5), || {
        node.ask("vif", &["--get", &vif]).is_ok_and(|text| text.contains("FatFlow rules"))
    })?;
    let red = site.workload("red-a")?;
    let program = format!(
        "import socket\n\
         for port in range(20000, 20050):\n\
         \x20 s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         \x20 s.bind(('', port))\n\
         \x20 s.sendto(b'x', ('{}', 5300))\n",
        lab::B_ADDRESS
    );
    red.output("python3", &["-c", &program])?;
    for _ in 0..3 {
        ensure!(ping(red, lab::B_ADDRESS, 2, "0.1")?.lost == 0);
    }
    let list = node.ask("flow", &["--match", "proto udp"])?;
    ensure!(list.matches("(Gen:").count() == 2, "one session, both ways: {list}");
    ensure!(list.contains(":5300"), "{list}");
    let list = node.ask("flow", &["--match", "proto icmp"])?;
    ensure!(list.matches("(Gen:").count() == 2, "three pings, one session: {list}");
    Ok(())
}

#[test]
fn h26_a_running_connection_ends_with_its_permission_and_another_goes_on() -> Result<()> {
    let Some(mut site) = site("revoke", 1)? else { return Ok(()) };
    let both = "\n[[policy]]\nname = \"web\"\nrules = [{ action = \"pass\", protocol = \"tcp\", source = \"red\", \
                destination = \"blue\", ports = \"80-81\" }]\n";
    let _server = serve(&site, "blue-b", &[80, 81])?;
    site.set_policy(&["red", "blue"], &["web"], both)?;
    let red = site.workload("red-a")?;
    within_a_second("port 80", || connects(red, BLUE_ADDRESS, 80))?;
    // Says a word ten times a second on both, and each second how many it has heard.
    let program = format!(
        "import socket, time\n\
         s = [socket.create_connection(('{BLUE_ADDRESS}', p), 1) for p in (80, 81)]\n\
         [x.settimeout(0.05) for x in s]\n\
         print('ready', flush=True)\n\
         n = [0, 0]\n\
         for turn in range(80):\n\
         \x20 for i, x in enumerate(s):\n\
         \x20   try:\n\
         \x20     x.send(b'x'); n[i] += len(x.recv(64))\n\
         \x20   except OSError: pass\n\
         \x20 time.sleep(0.05)\n\
         \x20 if turn == 39: print('half', n, flush=True); n = [0, 0]\n\
         print('end', n, flush=True)"
    );
    let talker = Talker::start(&site, "red-a", &["-c", &program])?;
    talker.wait_for("half", Duration::from_secs(20))?;
    site.set_policy(&["red", "blue"], &["web"], &web(81))?;
    let end = talker.wait_for("end", Duration::from_secs(30))?;
    let heard: Vec<u32> =
        end.split(['[', ',', ']']).filter_map(|word| word.trim().parse().ok()).collect();
    // A second of forty turns may be over before the agent has read the file.
    ensure!(heard[0] <= 20 && heard[1] >= 39, "{end}");
    Ok(())
}

#[test]
fn security_groups_cross_nodes_and_let_answers_in() -> Result<()> {
    let Some(mut site) = site("groups", 1)? else { return Ok(()) };
    let groups = "\n[[security_group]]\nname = \"clients\"\nid = 11\n\
                  \n[[security_group]]\nname = \"servers\"\nid = 12\n\
                  ingress = [{ protocol = \"tcp\", ports = \"80\", remote = \"clients\" }]\n";
    let member = |site: &mut Site, node: usize, name: &str, group: &str| {
        site.nodes[node].reconfigure(|options| {
            for workload in options.workloads.iter_mut().filter(|it| it.name == name) {
                workload.extra = format!("security_groups = [\"{group}\"]\n");
            }
        })
    };
    site.set_policy(&[], &[], groups)?;
    member(&mut site, 1, "red-b", "servers")?;
    let _server = serve(&site, "red-b", &[80, 81])?;
    within_a_second("nobody is a client", || {
        site.workload("red-a").is_ok_and(|red| !connects(red, lab::B_ADDRESS, 80))
    })?;
    member(&mut site, 0, "red-a", "clients")?;
    let red = site.workload("red-a")?;
    within_a_second("a client on the other node", || connects(red, lab::B_ADDRESS, 80))?;
    ensure!(!connects(red, lab::B_ADDRESS, 81), "one port only");
    // What a server begins is answered.
    let server = site.workload("red-b")?;
    let _other = serve(&site, "red-a", &[90])?;
    ensure!(!connects(server, A_ADDRESS, 90), "clients let nothing in");
    Ok(())
}

#[test]
fn a_floating_ip_is_reached_from_its_network_and_leaves_with_it() -> Result<()> {
    let Some(mut site) = site("floating", 1)? else { return Ok(()) };
    site.nodes[0].reconfigure(|options| {
        for workload in options.workloads.iter_mut().filter(|it| it.name == "red-a") {
            workload.extra =
                "floating_ips = [{ network = \"blue\", address = \"10.1.3.100\" }]\n".to_owned();
        }
    })?;
    let blue = site.workload("blue-b")?;
    let reached = || ping(blue, "10.1.3.100", 1, "0.2").is_ok_and(|result| result.lost == 0);
    eventually("the floating IP", Duration::from_secs(10), reached)?;
    ensure!(ping(blue, "10.1.3.100", 20, "0.05")?.lost == 0);
    // Who is it that speaks?
    let program = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7000)); \
                   print('ready', flush=True); print('from', s.recvfrom(64)[1][0], flush=True)";
    let listener = Talker::start(&site, "blue-b", &["-c", program])?;
    let send = format!(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('{BLUE_ADDRESS}', 7000))"
    );
    site.workload("red-a")?.output("python3", &["-c", &send])?;
    let from = listener.wait_for("from", Duration::from_secs(5))?;
    ensure!(from.contains("10.1.3.100"), "{from}");
    let list = site.nodes[0].ask("flow", &["-l"])?;
    ensure!(list.contains("Action:N(") && list.contains("->"), "{list}");
    Ok(())
}

#[test]
fn networks_with_the_same_addresses_are_refused_and_all_goes_on() -> Result<()> {
    let Some(mut site) = site("overlap", 1)? else { return Ok(()) };
    let text = "\n[[policy]]\nname = \"all\"\nrules = [{ action = \"pass\", source = \"red\", destination = \"green\" }]\n";
    site.set_policy(&["red", "green"], &["all"], text)?;
    let told = || {
        let log = std::fs::read_to_string(site.file(0, "agent.log")).unwrap_or_default();
        log.contains("would join networks \"green\" and \"red\"")
    };
    eventually("the refusal", Duration::from_secs(5), told)?;
    ensure!(ping(site.workload("red-a")?, lab::B_ADDRESS, 5, "0.05")?.lost == 0);
    Ok(())
}

#[test]
fn a_tcp_session_under_policy_outlives_a_restart_of_vrouterd() -> Result<()> {
    let Some(mut site) = site("restart", 1)? else { return Ok(()) };
    let _server = serve(&site, "blue-b", &[80])?;
    site.set_policy(&["red", "blue"], &["web"], &web(80))?;
    let red = site.workload("red-a")?;
    within_a_second("port 80", || connects(red, BLUE_ADDRESS, 80))?;
    let program = format!(
        "import socket, time\n\
         s = socket.create_connection(('{BLUE_ADDRESS}', 80), 1); s.settimeout(40)\n\
         s.sendall(b'a'); assert s.recv(1) == b'a'; print('ready', flush=True)\n\
         time.sleep(6)\n\
         s.sendall(b'b'); assert s.recv(1) == b'b'; print('went on', flush=True)"
    );
    let talker = Talker::start(&site, "red-a", &["-c", &program])?;
    for node in &mut site.nodes {
        node.kill_vrouterd()?;
        node.start_vrouterd()?;
    }
    talker.wait_for("went on", Duration::from_secs(60))?;
    Ok(())
}
