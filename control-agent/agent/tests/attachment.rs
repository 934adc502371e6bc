//! The real agent in namespaces, without a dataplane: interface pairs and BGP sessions between two agents.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end; its output, or `None` if it failed.
fn run(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next()?).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn must(line: &str) -> String {
    run(line).unwrap_or_else(|| panic!("failed: {line}"))
}

/// Waits until `probe` gives something.
fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Two nodes and their workloads' namespaces; removed at the end.
struct Site {
    prefix: String,
    directory: PathBuf,
    agents: Vec<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        for name in ["a", "b", "red-a", "red-b", "late"] {
            run(&format!("ip netns del {}-{name}", self.prefix));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Site {
    fn new(name: &str) -> Option<Site> {
        let prefix = format!("vra{}{name}", std::process::id());
        if run(&format!("ip netns add {prefix}-a")).is_none() {
            eprintln!("skipped: network namespaces cannot be made here (not root?)");
            return None;
        }
        let directory = std::env::temp_dir().join(&prefix);
        let site = Site { prefix: prefix.clone(), directory, agents: Vec::new() };
        for name in ["b", "red-a", "red-b"] {
            must(&format!("ip netns add {prefix}-{name}"));
        }
        must(&format!("ip -n {prefix}-a link add eth1 type veth peer name eth1 netns {prefix}-b"));
        for (node, last) in [("a", 1), ("b", 2)] {
            must(&format!("ip -n {prefix}-{node} addr add 192.0.2.{last}/24 dev eth1"));
            must(&format!("ip -n {prefix}-{node} link set eth1 up"));
            fs::create_dir_all(site.directory.join(node)).unwrap();
        }
        Some(site)
    }

    fn file(&self, node: &str, name: &str) -> PathBuf {
        self.directory.join(node).join(name)
    }

    fn configure(&self, node: &str, more: &str) {
        let (own, other) = if node == "a" { (1, 2) } else { (2, 1) };
        let directory = self.directory.join(node);
        let text = format!(
            "[node]\nname = \"node-{node}\"\nrouter_id = \"192.0.2.{own}\"\nuplink = \"eth1\"\n\
             sock_dir = \"{0}\"\nstate_dir = \"{0}/state\"\n[bgp]\nas = 64512\n\
             [[bgp.neighbor]]\naddress = \"192.0.2.{other}\"\n\
             [[network]]\nname = \"red\"\nvni = 5001\nroute_targets = [\"64512:5001\"]\n\
             subnets = [{{ prefix = \"10.1.0.0/24\", gateway = \"10.1.0.1\" }}]\n\
             [[workload]]\nname = \"red-{node}\"\nnetwork = \"red\"\nnamespace = \"{1}-red-{node}\"\n\
             address = \"10.1.0.1{own}\"\n{more}",
            directory.display(),
            self.prefix
        );
        fs::write(self.file(node, "agent.toml"), text).unwrap();
    }

    fn start(&mut self, node: &str) -> usize {
        let log = File::options().create(true).append(true).open(self.file(node, "log")).unwrap();
        let namespace = format!("{}-{node}", self.prefix);
        let child = Command::new("ip")
            .args(["netns", "exec", &namespace, env!("CARGO_BIN_EXE_vrouter-agent"), "--config"])
            .arg(self.file(node, "agent.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agents.push(child);
        self.agents.len() - 1
    }

    fn kill(&mut self, which: usize) {
        self.agents[which].kill().unwrap();
        self.agents[which].wait().unwrap();
    }

    fn log(&self, node: &str) -> String {
        fs::read_to_string(self.file(node, "log")).unwrap_or_default()
    }

    fn inside(&self, workload: &str, line: &str) -> Option<String> {
        run(&format!("ip -n {}-{workload} {line}", self.prefix))
    }

    fn taps(&self, node: &str) -> Vec<String> {
        let links = must(&format!("ip -n {}-{node} -o link", self.prefix));
        links.lines().filter(|line| line.contains(": tap")).map(str::to_owned).collect()
    }
}

fn exists(path: &Path) -> Option<()> {
    path.exists().then_some(())
}

#[test]
fn a_workload_gets_its_interface_once_and_keeps_it_over_restarts() {
    let Some(mut site) = Site::new("w") else { return };
    site.configure("a", "");
    let first = site.start("a");
    until("the default route", || {
        site.inside("red-a", "route").filter(|text| text.contains("default via 10.1.0.1"))
    });
    let link = site.inside("red-a", "link show eth0").unwrap();
    assert!(link.contains("mtu 1450") && link.contains("UP"), "{link}");
    assert!(site.inside("red-a", "addr").unwrap().contains("inet 10.1.0.11/24"));
    let [tap] = site.taps("a").try_into().unwrap_or_else(|taps| panic!("{taps:?}"));
    assert!(tap.contains("NOARP") && !tap.contains(",UP"), "vrouterd brings it up: {tap}");
    let offloads = run(&format!("ip netns exec {}-red-a ethtool -k eth0", site.prefix));
    if let Some(offloads) = offloads {
        assert!(offloads.contains("tx-checksumming: off"), "{offloads}");
        assert!(offloads.contains("tx-vlan-offload: off"), "{offloads}");
    }
    until("the ids", || exists(&site.file("a", "state/ids.json")));
    let ids = fs::read_to_string(site.file("a", "state/ids.json")).unwrap();

    site.kill(first);
    let again = site.start("a");
    until("the restarted agent", || site.log("a").contains("found attached").then_some(()));
    assert_eq!(site.inside("red-a", "link show eth0").unwrap(), link, "untouched");
    assert_eq!(site.taps("a"), [tap]);
    assert_eq!(fs::read_to_string(site.file("a", "state/ids.json")).unwrap(), ids);

    // A second agent is told so, and a workload whose namespace comes later is attached then.
    let second = site.start("a");
    let code = site.agents[second].wait().unwrap().code();
    assert_eq!(code, Some(1));
    assert!(site.log("a").contains("another vrouter-agent uses this state directory"));
    let late = format!("{}-late", site.prefix);
    site.configure(
        "a",
        &format!(
            "[[workload]]\nname = \"late\"\nnetwork = \"red\"\nnamespace = \"{late}\"\naddress = \"10.1.0.99\"\n"
        ),
    );
    let pid = site.agents[again].id();
    must(&format!("kill -HUP {pid}"));
    until("the complaint", || site.log("a").contains("is not there").then_some(()));
    must(&format!("ip netns add {late}"));
    until("the late workload", || {
        site.inside("late", "addr").filter(|text| text.contains("10.1.0.99/24"))
    });
    assert_eq!(site.taps("a").len(), 2);

    // An error changes nothing; what is not configured any more goes.
    let good = fs::read_to_string(site.file("a", "agent.toml")).unwrap();
    fs::write(site.file("a", "agent.toml"), good.replace("vni = 5001", "vni = 0")).unwrap();
    must(&format!("kill -HUP {pid}"));
    until("the refusal", || site.log("a").contains("stays as it was").then_some(()));
    assert_eq!(site.taps("a").len(), 2);
    site.configure("a", "");
    must(&format!("kill -HUP {pid}"));
    until("the detachment", || (site.taps("a").len() == 1).then_some(()));
}

#[test]
fn two_agents_that_call_each_other_have_one_session_and_converge() {
    let Some(mut site) = Site::new("s") else { return };
    for node in ["a", "b"] {
        site.configure(node, "");
        site.start(node);
    }
    for node in ["a", "b"] {
        until("convergence", || site.log(node).contains("all peers have told").then_some(()));
        // The far end's tunnel has an id: its route was imported.
        let far =
            if node == "a" { "tunnel:192.0.2.2:mplsoudp" } else { "tunnel:192.0.2.1:mplsoudp" };
        until("the imported route", || {
            let ids = fs::read_to_string(site.file(node, "state/ids.json")).ok()?;
            ids.contains(far).then_some(())
        });
    }
}

#[test]
fn a_new_mtu_reaches_both_ends_of_a_pair() {
    let Some(mut site) = Site::new("m") else { return };
    site.configure("a", "mtu = 1000\n");
    let agent = site.start("a");
    let inner = |site: &Site, mtu: &str| {
        site.inside("red-a", "link show eth0").filter(|text| text.contains(mtu)).map(drop)
    };
    let outer =
        |site: &Site, mtu: &str| site.taps("a").iter().all(|tap| tap.contains(mtu)).then_some(());
    until("the first MTU", || inner(&site, "mtu 1000 "));
    assert_eq!(outer(&site, "mtu 1000 "), Some(()));
    site.configure("a", "mtu = 1450\n");
    must(&format!("kill -HUP {}", site.agents[agent].id()));
    until("the new MTU inside", || inner(&site, "mtu 1450 "));
    until("the new MTU of the host end, else it drops", || outer(&site, "mtu 1450 "));
}

#[test]
fn behind_a_jumbo_uplink_workloads_get_what_tunnels_leave_of_it_if_packet_buffers_take_it() {
    let Some(mut site) = Site::new("j") else { return };
    for node in ["a", "b"] {
        must(&format!("ip -n {}-{node} link set eth1 mtu 9000", site.prefix));
    }
    site.configure("a", "");
    site.start("a");
    let link = until("the workload", || {
        site.inside("red-a", "link show eth0").filter(|text| text.contains("UP"))
    });
    let several = sys::xsk::knows_multi_buffer().unwrap();
    let mtu = if several { "mtu 8950 " } else { "mtu 1728 " };
    assert!(link.contains(mtu), "{link}");
}

#[test]
fn workloads_whose_namespaces_are_exchanged_are_attached_anew() {
    let Some(mut site) = Site::new("x") else { return };
    let (prefix, file) = (site.prefix.clone(), site.file("a", "agent.toml"));
    let second = |namespace: &str| {
        format!(
            "[[workload]]\nname = \"other\"\nnetwork = \"red\"\nnamespace = \"{prefix}-{namespace}\"\n\
             address = \"10.1.0.99\"\n"
        )
    };
    site.configure("a", &second("red-b"));
    let agent = site.start("a");
    let has = |site: &Site, namespace: &str, address: &str| {
        site.inside(namespace, "addr").filter(|text| text.contains(address)).map(drop)
    };
    until("the first workload", || has(&site, "red-a", "10.1.0.11/24"));
    until("the second workload", || has(&site, "red-b", "10.1.0.99/24"));
    site.configure("a", &second("red-a"));
    let first = format!("name = \"red-a\"\nnetwork = \"red\"\nnamespace = \"{prefix}-red-a\"");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&first), "{text}");
    fs::write(&file, text.replace(&first, &first.replace("-red-a\"", "-red-b\""))).unwrap();
    must(&format!("kill -HUP {}", site.agents[agent].id()));
    until("the first workload in the other's place", || has(&site, "red-b", "10.1.0.11/24"));
    until("the second workload in the other's place", || has(&site, "red-a", "10.1.0.99/24"));
    assert_eq!(site.taps("a").len(), 2);
}

#[test]
fn ids_that_could_not_be_written_are_written_as_soon_as_they_can_be() {
    let Some(mut site) = Site::new("d") else { return };
    site.configure("a", "");
    // Where the new file is written aside.
    let obstacle = site.file("a", "state/ids.json.new");
    fs::create_dir_all(&obstacle).unwrap();
    site.start("a");
    until("the complaint", || site.log("a").contains("Is a directory").then_some(()));
    assert!(!site.file("a", "state/ids.json").exists());
    fs::remove_dir(&obstacle).unwrap();
    until("the ids", || exists(&site.file("a", "state/ids.json")));
    assert_eq!(site.log("a").matches("ids.json: ").count(), 1, "{}", site.log("a"));
}

#[test]
fn workloads_follow_a_new_mtu_of_the_uplink() {
    let Some(mut site) = Site::new("u") else { return };
    site.configure("a", "");
    site.start("a");
    let has = |site: &Site, mtu: &str| {
        site.inside("red-a", "link show eth0").filter(|text| text.contains(mtu)).map(drop)
    };
    until("the workload", || has(&site, "mtu 1450 "));
    must(&format!("ip -n {}-a link set eth1 mtu 1400", site.prefix));
    until("the workload's new MTU", || has(&site, "mtu 1350 "));
}

#[test]
fn a_dual_stack_workload_has_both_addresses_and_routes_at_once_and_gets_them_back() {
    let Some(mut site) = Site::new("6") else { return };
    site.configure("a", "address6 = \"2001:db8:1::11\"\n");
    let file = site.file("a", "agent.toml");
    let text = fs::read_to_string(&file).unwrap();
    let subnet = "gateway = \"10.1.0.1\" }";
    let both = format!("{subnet}, {{ prefix = \"2001:db8:1::/64\", gateway = \"2001:db8:1::1\" }}");
    fs::write(&file, text.replace(subnet, &both)).unwrap();
    let agent = site.start("a");
    let whole = |site: &Site| {
        let addresses = site.inside("red-a", "addr")?;
        let routes = site.inside("red-a", "route")? + &site.inside("red-a", "-6 route")?;
        (addresses.contains("10.1.0.11/24")
            && addresses.contains("2001:db8:1::11/64 scope global nodad")
            && routes.contains("default via 10.1.0.1")
            && routes.contains("default via 2001:db8:1::1"))
        .then_some(())
    };
    until("both families", || whole(&site));
    let addresses = site.inside("red-a", "addr").unwrap();
    assert!(!addresses.contains("tentative"), "{addresses}");

    // As vrouterd does; then as a tenant does.
    let tap = site.taps("a")[0].split([':', '@']).nth(1).unwrap().trim().to_owned();
    must(&format!("ip -n {}-a link set {tap} up", site.prefix));
    site.inside("red-a", "addr add 2001:db8:1::77/64 dev eth0").unwrap();
    site.inside("red-a", "link set eth0 down").unwrap();
    let down = Instant::now() + Duration::from_millis(1500);
    until("more than a pass", || (Instant::now() > down).then_some(()));
    let link = site.inside("red-a", "link show eth0").unwrap();
    assert!(link.contains("state DOWN"), "that is the tenant's affair: {link}");
    assert!(!site.inside("red-a", "route").unwrap().contains("default"));
    site.inside("red-a", "link set eth0 up").unwrap();
    until("both families again", || whole(&site));

    // Gone from the file, gone from the interface; what the tenant set stays.
    site.inside("red-a", "addr add 2001:db8:1::77/64 dev eth0").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("address6 = \"2001:db8:1::11\"\n", "")).unwrap();
    must(&format!("kill -HUP {}", site.agents[agent].id()));
    until("the address to go", || {
        let addresses = site.inside("red-a", "addr")?;
        (!addresses.contains("2001:db8:1::11") && addresses.contains("2001:db8:1::77"))
            .then_some(())
    });
}

#[test]
fn sessions_and_routes_between_nodes_whose_endpoints_are_ipv6() {
    let Some(mut site) = Site::new("v") else { return };
    for (node, own, other) in [("a", 1, 2), ("b", 2, 1)] {
        must(&format!(
            "ip -n {}-{node} addr add 2001:db8:ffff::{own}/64 dev eth1 nodad",
            site.prefix
        ));
        must(&format!("ip -n {}-{node} addr del 192.0.2.{own}/24 dev eth1", site.prefix));
        site.configure(node, "");
        let file = site.file(node, "agent.toml");
        let text = fs::read_to_string(&file).unwrap();
        let endpoint = format!("tunnel_endpoint = \"2001:db8:ffff::{own}\"\nuplink");
        let text = text.replacen("uplink", &endpoint, 1).replacen(
            &format!("address = \"192.0.2.{other}\""),
            &format!("address = \"2001:db8:ffff::{other}\""),
            1,
        );
        fs::write(&file, text).unwrap();
        site.start(node);
    }
    for (node, far) in [("a", 2), ("b", 1)] {
        until("convergence", || site.log(node).contains("all peers have told").then_some(()));
        let tunnel = format!("tunnel:2001:db8:ffff::{far}:mplsoudp");
        until("the imported route", || {
            let ids = fs::read_to_string(site.file(node, "state/ids.json")).ok()?;
            ids.contains(&tunnel).then_some(())
        });
        let link = site.inside(&format!("red-{node}"), "link show eth0").unwrap();
        assert!(link.contains("mtu 1430 "), "the longer header: {link}");
        assert!(!site.log(node).contains("cannot listen"), "{}", site.log(node));
    }
}

#[test]
fn without_its_capabilities_the_agent_ends_with_one_line() {
    let Some(site) = Site::new("c") else { return };
    site.configure("a", "");
    let arguments = ["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    let output = Command::new("setpriv")
        .args(arguments)
        .args([env!("CARGO_BIN_EXE_vrouter-agent"), "--config"])
        .arg(site.file("a", "agent.toml"))
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: no setpriv here");
        return;
    };
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("vrouter-agent: missing CAP_NET_ADMIN"), "{told}");
}

impl Site {
    /// The name under which the agent of node a waits for a TAP.
    fn awaited(&self) -> String {
        until("the agent to wait for a TAP", || {
            let log = self.log("a");
            let line = log.lines().rev().find(|line| line.contains("waiting for the TAP"))?;
            line.rsplit(' ').next().map(str::to_owned)
        })
    }

    /// Makes a TAP as `vrouterd` does.
    fn make_tap(&self, name: &str) {
        must(&format!("ip -n {}-a tuntap add mode tap name {name}", self.prefix));
    }

    fn kind_of(&self, workload: &str) -> Option<&'static str> {
        let link = self.inside(workload, "-d link show eth0")?;
        ["veth", "tun type tap"].into_iter().find(|kind| link.contains(kind))
    }

    fn whole(&self, workload: &str) -> Option<()> {
        let addresses = self.inside(workload, "addr show eth0")?;
        let routes = self.inside(workload, "route")?;
        (addresses.contains("inet 10.1.0.") && routes.contains("default via 10.1.0.1"))
            .then_some(())
    }
}

#[test]
fn a_tap_is_brought_to_its_workload_and_so_is_each_that_vrouterd_makes_after_it() {
    let Some(mut site) = Site::new("t") else { return };
    site.configure("a", "port = \"tap\"\nmac = \"02:00:00:00:01:11\"\n");
    let first = site.start("a");
    let tap = site.awaited();
    assert_eq!(site.kind_of("red-a"), None);
    site.make_tap(&tap);
    until("the TAP in its place", || site.whole("red-a"));
    let link = site.inside("red-a", "-d link show eth0").unwrap();
    for part in ["mtu 1450 ", "02:00:00:00:01:11", "tun type tap", "UP"] {
        assert!(link.contains(part), "{part}: {link}");
    }
    assert_eq!(site.taps("a").len(), 0, "moved");

    // A restarted agent finds it.
    site.kill(first);
    let agent = site.start("a");
    until("the restarted agent", || site.log("a").contains("found attached").then_some(()));
    assert_eq!(site.inside("red-a", "-d link show eth0").unwrap(), link, "untouched");

    // As with a pair: down is the tenant's affair, up again it has its routes back.
    site.inside("red-a", "link set eth0 down").unwrap();
    site.inside("red-a", "link set eth0 up").unwrap();
    until("the default route again", || site.whole("red-a"));
    site.configure("a", "port = \"tap\"\nmac = \"02:00:00:00:01:11\"\nmtu = 1300\n");
    must(&format!("kill -HUP {}", site.agents[agent].id()));
    until("the new MTU", || {
        site.inside("red-a", "link show eth0").filter(|text| text.contains("mtu 1300 "))
    });

    // As when vrouterd restarts; and when it has made another while the former is still closing.
    site.inside("red-a", "link del eth0").unwrap();
    site.make_tap(&tap);
    until("the next TAP", || site.whole("red-a"));
    let before = site.inside("red-a", "link show eth0").unwrap();
    site.make_tap(&tap);
    until("the TAP after it", || {
        let link = site.inside("red-a", "link show eth0")?;
        (link != before).then_some(()).and(site.whole("red-a"))
    });

    // With the namespace it is over until there is one again.
    let name = format!("{}-red-a", site.prefix);
    must(&format!("ip netns del {name}"));
    until("the complaint", || site.log("a").contains("is not there").then_some(()));
    site.make_tap(&tap);
    must(&format!("ip netns add {name}"));
    until("the TAP in the new namespace", || site.whole("red-a"));

    // Another name inside: the TAP that bears the former one is given up for a fresh one.
    let text = fs::read_to_string(site.file("a", "agent.toml")).unwrap();
    let other = text.replacen("port = \"tap\"", "port = \"tap\"\ninterface = \"net0\"", 1);
    fs::write(site.file("a", "agent.toml"), other).unwrap();
    must(&format!("kill -HUP {}", site.agents[agent].id()));
    until("the former TAP to go", || {
        site.inside("red-a", "link show eth0").is_none().then_some(())
    });
    site.make_tap(&tap);
    until("the TAP of the new name", || site.inside("red-a", "link show net0").map(drop));
}

#[test]
fn a_workload_changes_between_pair_and_tap() {
    let Some(mut site) = Site::new("k") else { return };
    site.configure("a", "");
    let agent = site.start("a");
    let pid = site.agents[agent].id();
    until("the pair", || site.whole("red-a"));
    site.configure("a", "port = \"tap\"\n");
    must(&format!("kill -HUP {pid}"));
    let tap = site.awaited();
    assert_eq!((site.kind_of("red-a"), site.taps("a").len()), (None, 0), "the pair is gone");
    site.make_tap(&tap);
    until("the TAP", || site.whole("red-a"));
    assert_eq!(site.kind_of("red-a"), Some("tun type tap"));
    site.configure("a", "");
    must(&format!("kill -HUP {pid}"));
    until("the pair again", || (site.kind_of("red-a") == Some("veth")).then_some(()));
    until("its set-up", || site.whole("red-a"));

    // A device of somebody else is told by name and left alone.
    site.configure("a", "port = \"tap\"\ninterface = \"own0\"\n");
    site.inside("red-a", "tuntap add mode tap name own0").unwrap();
    must(&format!("kill -HUP {pid}"));
    until("the complaint", || site.log("a").contains("device of somebody else").then_some(()));
    assert!(site.inside("red-a", "link show own0").is_some());
}
