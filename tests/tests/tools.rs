//! The tools against a real `vrouterd`: programming by hand, dumps of all sizes, and arguments that make no sense.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{
    Client, Label, LabelEntry, NhId, Object, Op, Prefix, Route, RouteFlags, Vni, VniEntry, VrfId,
};
use lab::{ByHand, WORKLOAD_ADDRESSES, ping};

fn site(name: &str, options: &[&str]) -> Result<Option<ByHand>> {
    if let Some(reason) = lab::missing_for_lab(&["ping"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(None);
    }
    ByHand::start(name, options).map(Some)
}

fn client(site: &ByHand) -> Result<Client> {
    Ok(Client::connect(site.directory(), "test")?)
}

#[test]
fn a_ping_is_forwarded_with_nothing_but_the_tools() -> Result<()> {
    let Some(site) = site("ping", &["--workers", "2"])? else { return Ok(()) };
    site.program()?;
    lab::eventually("the first ping", Duration::from_secs(5), || {
        ping(site.workload(0), WORKLOAD_ADDRESSES[1], 1, "0.1").is_ok_and(|it| it.lost == 0)
    })?;
    let result = ping(site.workload(0), WORKLOAD_ADDRESSES[1], 10, "0.05")?;
    ensure!(result.lost == 0, "{result:?}");

    let met = site.say("vrfstats --get 1")?;
    let encaps = met.lines().find_map(|line| line.split(", Encaps ").nth(1));
    ensure!(
        encaps.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 20),
        "{met}"
    );
    ensure!(site.say("vrfstats --dump")?.contains("Vrf: 1\n"), "{met}");

    let vif = site.say("vif --get 3")?;
    ensure!(vif.contains("vif0/3      OS: tap0"), "{vif}");
    ensure!(!vif.contains("RX packets:0 "), "{vif}");
    let hop = site.say("nh --get 11")?;
    ensure!(hop.contains("EncapFmly:0806 Oif:3 Len:14"), "{hop}");
    let route = site.say("rt --get 10.1.1.11/32 --vrf 1")?;
    ensure!(
        route.contains("10.1.1.11/32            0            P          -             11"),
        "{route}"
    );

    // Counters are cleared on all cores, by interface and everywhere.
    site.say("vif --clear --id 3")?;
    for core in ["0", "1"] {
        let vif = site.say(&format!("vif --get 3 --core {core}"))?;
        for direction in ["RX", "TX"] {
            let counted = lab::value_after(&vif, &format!("Core {core} {direction} packets:"));
            // The workload's own stack may say something meanwhile, but no eleven pings.
            ensure!(counted.is_some_and(|count| count < 5), "{vif}");
        }
    }
    site.unprogram()?;
    let result = ping(site.workload(0), WORKLOAD_ADDRESSES[1], 2, "0.05")?;
    ensure!(result.lost == result.sent, "{result:?}");
    ensure!(!site.say("vif --list")?.contains("vif0/"), "nothing is left");
    ensure!(!site.say("rt --dump 1 --family bridge")?.contains("0:0:5e:0:1:0"), "nothing is left");
    Ok(())
}

#[test]
fn h38_drop_counters_are_cleared_on_all_cores() -> Result<()> {
    let Some(site) = site("clear", &["--workers", "2"])? else { return Ok(()) };
    site.program()?;
    // No route: dropped, and counted.
    let gateway = site.workload(0).run("ip route add default via 10.1.1.12");
    gateway?;
    ping(site.workload(0), "192.0.2.99", 3, "0.05")?;
    lab::eventually("a drop", Duration::from_secs(5), || {
        site.say("dropstats").is_ok_and(|text| text.contains("Discards"))
    })?;
    let text = site.say("dropstats --clear")?;
    assert_eq!(text, "\nDropstats counters cleared successfully on all cores \n\n");
    for core in ["0", "1"] {
        let text = site.say(&format!("dropstats --core {core}"))?;
        ensure!(!text.contains("Discards"), "{text}");
    }
    Ok(())
}

/// As many flows as asked for, held and then forwarded; a flush takes them away.
#[test]
fn flow_p_makes_flows_as_an_agent_does() -> Result<()> {
    let Some(site) = site("profile", &["--workers", "2"])? else { return Ok(()) };
    let text = site.say("flow -p 1000 -b 15")?;
    let lines: Vec<&str> = text.lines().collect();
    let [held, both] = lines[..] else { anyhow::bail!("two lines: {text}") };
    let number = |line: &str| line.chars().filter(char::is_ascii_digit).count();
    ensure!(held.starts_with("Created 1000 HOLD entries in ") && held.ends_with(" msec"), "{text}");
    ensure!(both.starts_with("Created 1000 HOLD and 1000 FWD entries in "), "{text}");
    ensure!(both.ends_with(" msec") && number(both) > 8, "{text}");
    let list = site.say("flow -l")?;
    ensure!(list.matches("(Gen:").count() == 2000, "both directions of each");
    let held = || client(&site).and_then(|mut it| Ok(it.flow_table()?.held));
    lab::eventually("the workers have heard of it", Duration::from_secs(5), || {
        held().is_ok_and(|held| held == 0)
    })?;
    // The same keys again: they are there.
    let again = site.tool("flow", &["-p", "1"])?;
    let lines: Vec<&str> = again.text.lines().collect();
    ensure!(again.status == 254 && lines.len() == 2, "{again:?}");
    ensure!(lines[0].starts_with("Created 0 HOLD entries in "), "{again:?}");
    ensure!(lines[1] == "response_process: File exists", "{again:?}");
    ensure!(site.say("flow -F")?.contains("Deleted 2000 entries in "));
    ensure!(site.say("flow -p 1")?.contains("Created 1 HOLD and 1 FWD entries in "));
    for wrong in ["flow -p 4000001", "flow -p 1 -b 16", "flow -p 1 -b 0"] {
        ensure!(site.say(wrong).is_err(), "{wrong}");
    }
    Ok(())
}

/// Hosts, and the default route.
fn routes(vrf: VrfId, count: u32) -> Vec<Op> {
    let route = |address: u32, length| {
        Op::Put(Object::Inet(Route {
            vrf,
            prefix: Prefix::new(Ipv4Addr::from(address), length).expect("a prefix"),
            next_hop: NhId(0),
            label: None,
            flags: RouteFlags::default(),
            mac: None,
            identity: None,
        }))
    };
    let hosts = (1..count).map(|host| route(0x0a00_0000 + host * 7, 32));
    std::iter::once(route(0, 0)).chain(hosts).collect()
}

#[test]
fn h38_dumps_of_any_size_list_each_entry_once() -> Result<()> {
    let Some(site) = site("sizes", &[])? else { return Ok(()) };
    let mut client = client(&site)?;
    for (number, count) in [1u32, 32, 33, 64, 65, 10_000].into_iter().enumerate() {
        let vrf = VrfId(u16::try_from(number)? + 1);
        client.operate(routes(vrf, count))?;
        let text = site.say(&format!("rt --dump {vrf}"))?;
        let mut rows = BTreeMap::new();
        for line in text.lines().skip(3) {
            let destination = line.split_whitespace().next().context("a row")?;
            *rows.entry(destination).or_insert(0) += 1;
        }
        ensure!(rows.values().all(|times| *times == 1), "{count}: a row came twice");
        for host in 1..count {
            let address = Ipv4Addr::from(0x0a00_0000 + host * 7);
            ensure!(rows.contains_key(format!("{address}/32").as_str()), "{count}: {address}");
        }
        if count == 1 {
            ensure!(rows.contains_key("0.0.0.0/0") && rows.len() == 1, "{rows:?}");
        } else {
            ensure!(rows.contains_key("255.0.0.0/8"), "{count}: what the default route covers");
        }
    }
    Ok(())
}

fn labels(range: std::ops::Range<u32>) -> impl Iterator<Item = Label> {
    range.filter_map(|label| Label::try_from(label).ok())
}

#[test]
fn h38_a_dump_is_exact_while_the_table_changes() -> Result<()> {
    let Some(site) = site("changing", &[])? else { return Ok(()) };
    let put = |label| Op::Put(Object::Label(LabelEntry { label, next_hop: NhId(0) }));
    let stable: Vec<Label> = labels(16..20_016).filter(|label| label.get() % 2 == 0).collect();
    client(&site)?.operate(stable.iter().copied().map(put).collect())?;
    let wanted: BTreeSet<u32> = stable.iter().map(|label| label.get()).collect();
    static ENDED: AtomicBool = AtomicBool::new(false);
    let mut other = client(&site)?;
    std::thread::scope(|scope| {
        let churn = scope.spawn(move || -> Result<()> {
            let odd: Vec<Label> = labels(16..20_016).filter(|label| label.get() % 2 == 1).collect();
            while !ENDED.load(Ordering::Relaxed) {
                for part in odd.chunks(500) {
                    other.operate(part.iter().copied().map(put).collect())?;
                }
                for part in odd.chunks(500) {
                    other
                        .operate(part.iter().map(|l| Op::Delete(api::Key::Label(*l))).collect())?;
                }
            }
            Ok(())
        });
        let dumped = (0..10).try_for_each(|_| {
            let text = site.say("mpls --dump")?;
            let numbers = text.lines().skip(4).filter_map(|line| line.split_whitespace().next());
            let rows: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
            let even: Vec<u32> = rows.iter().copied().filter(|label| label % 2 == 0).collect();
            ensure!(rows.windows(2).all(|pair| pair[0] < pair[1]), "ascending, none twice");
            ensure!(even.len() == wanted.len(), "{} of {}", even.len(), wanted.len());
            Ok(())
        });
        ENDED.store(true, Ordering::Relaxed);
        dumped.and(churn.join().map_err(|_| anyhow::anyhow!("the changes panicked"))?)
    })
}

#[test]
fn h38_an_output_of_exactly_4096_bytes_is_whole() -> Result<()> {
    let Some(site) = site("4096", &[])? else { return Ok(()) };
    // A header of 47 bytes, 305 rows of 13 and 6 of 14.
    site.does("nh --create 10 --type 5 --vrf 0")?;
    site.does("nh --create 9 --type 5 --vrf 0")?;
    let entry = |number: u32| {
        let next_hop = NhId(if number <= 305 { 9 } else { 10 });
        Some(Op::Put(Object::Vni(VniEntry { vni: Vni::try_from(number).ok()?, next_hop })))
    };
    client(&site)?.operate((1..=311).filter_map(entry).collect())?;
    let text = site.say("vxlan --dump")?;
    assert_eq!((text.len(), text.lines().count()), (4096, 4 + 311));
    assert!(text.ends_with("    311    10\n"));
    Ok(())
}

#[test]
fn h38_arguments_that_make_no_sense_hurt_nobody() -> Result<()> {
    let Some(site) = site("odd", &[])? else { return Ok(()) };
    let not_found = "vRouter(Response): No such file or directory (2)\n";
    let no_device = "vRouter(Response): No such device (19)\n";
    let invalid = "vRouter(Response): Invalid argument (22)\n";
    let said = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        site.tool(words[0], &words[1..])
    };
    for (line, status, ending) in [
        ("vif -list", 0, "Invalid arguments for vif add --id \n"),
        ("vif --get x", 0, "Invalid arguments for vif --get \n"),
        ("vif --get -1", 0, "Invalid arguments for vif --get \n"),
        ("vif --get 99", 0, not_found),
        ("vif --get 99999999999999999999999", 0, not_found),
        ("vif --get 4294967299", 0, not_found),
        ("vif --delete 99", 0, no_device),
        ("vif --delete nobody", 0, no_device),
        ("vif --add nobody --mac 2:0:0:0:0:1 --vrf 1 --type virtual --id 5000", 0, no_device),
        ("vif --add nobody --mac 2:0:0:0:0:1 --vrf 9999 --type virtual --id 5", 0, invalid),
        ("vif --set 99 --vlan 10 --vrf 1", 0, no_device),
        ("nh --get 99999999", 0, no_device),
        ("nh --get 77", 0, not_found),
        ("nh --delete 999", 0, invalid),
        ("nh --delete 0", 0, invalid),
        ("flow -f 77", 254, "response_process: No such file or directory\n"),
        ("flow -i 0", 234, "--help            this text\n"),
        ("nh --create 600000 --type 5 --vrf 0", 0, no_device),
        (
            "nh --create 7 --type 2 --vrf 1 --oif 99 --smac 2:0:0:0:0:1 --dmac 2:0:0:0:0:2",
            0,
            no_device,
        ),
        ("rt -c -v 1 -p 10.0.0.0 -l 8 -n 77", 0, not_found),
        ("rt -c -v 1 -p 10.0.0.0 -l 8 -n 0 -e 2:0:0:0:0:1", 0, not_found),
        ("mpls --get 26", 0, not_found),
        ("mpls --get 1048576", 0, invalid),
        ("mpls --create 1048576 --nh 0", 0, invalid),
        ("mpls --create 50 --nh 31", 0, invalid),
        ("mpls --delete 50", 0, ""),
        ("vxlan --get 9", 0, not_found),
        ("vxlan --create 16777216 --nh 0", 0, invalid),
        ("vxlan --delete 9", 0, ""),
        ("mirror --get 9", 0, not_found),
        ("mirror --get 255", 0, no_device),
        ("mirror --create 1 --nh 77", 0, invalid),
        ("mirror --delete 9", 0, invalid),
        ("vrftable --get 5", 0, not_found),
        ("vrftable --get 5000", 0, no_device),
        ("vrfstats --get 70000", 0, invalid),
        ("qosmap --get-qos 9", 0, not_found),
        ("qosmap --get-fc 300", 0, not_found),
    ] {
        let said = said(line)?;
        ensure!(said.status == status && said.text.ends_with(ending), "{line}: {said:?}");
    }
    for (line, status) in [
        ("vif --get", 0),
        ("nh", 234),
        ("nh --get", 234),
        ("rt --dump", 1),
        ("rt --get 10.0.0.1 --vrf 1", 1),
        ("mpls --dump --get 1", 1),
        ("dropstats --core x", 234),
        ("dropstats --drop-type VP_DROP_NOTHING", 234),
        ("vrouter", 1),
        ("qosmap", 22),
    ] {
        let said = said(line)?;
        let explained = said.text.contains("Usage: ") || said.text.contains("VP_DROP_MISC\n");
        ensure!(said.status == status && explained, "{line}: {said:?}");
    }
    ensure!(site.say("vif --list")?.starts_with("Vrouter Interface Table\n"), "the daemon is well");
    Ok(())
}

#[test]
fn h07_all_24_bits_of_a_vni_are_programmed_and_shown() -> Result<()> {
    let Some(site) = site("vni", &[])? else { return Ok(()) };
    site.does("nh --create 5 --type 7 --vrf 2 --l2 --vxlan")?;
    for vni in ["11158251", "672491", "16777215"] {
        site.does(&format!("vxlan --create {vni} --nh 5"))?;
        let text = site.say(&format!("vxlan --get {vni}"))?;
        ensure!(text.ends_with(&format!("{vni:>7}    5\n")), "{text}");
        let json = site.say(&format!("vxlan --get {vni} --json"))?;
        ensure!(json.contains(&format!("\"vni\":{vni}")), "{json}");
    }
    let tunnel =
        "--vrf 0 --oif 0 --smac 2:0:0:0:0:1 --dmac 2:0:0:0:0:2 --sip 192.0.2.1 --dip 192.0.2.2";
    site.does("vif --add uplink --mac 2:0:0:0:0:1 --vrf 0 --type physical --id 0")?;
    site.does(&format!("nh --create 6 --type 3 {tunnel} --vxlan"))?;
    site.does(&format!("nh --create 7 --type 3 {tunnel} --udp"))?;
    site.does("rt -c -v 2 -p 10.9.0.0 -l 16 -n 6 -t 11158251")?;
    ensure!(site.say("rt --get 10.9.0.0/16 --vrf 2")?.contains("11158251"));
    let refused = site.say("rt -c -v 2 -p 10.8.0.0 -l 16 -n 7 -t 11158251")?;
    assert_eq!(refused, "vRouter(Response): Invalid argument (22)\n");
    Ok(())
}

#[test]
fn what_an_operator_puts_survives_an_agents_sweep() -> Result<()> {
    let Some(site) = site("sweep", &[])? else { return Ok(()) };
    let mut agent = client(&site)?;
    agent.begin_epoch()?;
    site.does("mpls --create 100 --nh 0")?;
    let label = Label::try_from(101)?;
    agent.apply(vec![Op::Put(Object::Label(LabelEntry { label, next_hop: NhId(0) }))])?;
    let epoch = agent.begin_epoch()?;
    agent.sweep(epoch)?;
    let text = site.say("mpls --dump")?;
    ensure!(text.contains("     100         0\n") && !text.contains("     101 "), "{text}");
    Ok(())
}

#[test]
fn every_object_can_be_made_shown_and_taken_away() -> Result<()> {
    let Some(site) = site("objects", &[])? else { return Ok(()) };
    site.does("vif --add tap0 --mac 2:0:0:0:0:1 --vrf 1 --type virtual --id 3")?;
    site.does("vif --add tap1 --mac 2:0:0:0:0:1 --vrf 1 --type virtual --id 4")?;
    site.does("vif --set 3 --vlan 101 --vrf 2")?;
    ensure!(site.say("vif --get 3")?.ends_with("VRF table(vlan:vrf):\n101:2, "));
    site.does("qosmap --set-fc 2 --dscp 10 --mpls_qos 1 --dotonep 1 --queue 3")?;
    site.does("qosmap --set-qos 1 --dscp 10 --fc 2")?;
    site.does("qosmap --set-qos 1 --dotonep 5 --fc 2")?;
    let classes = site.say("qosmap --dump-fc")?;
    ensure!(classes.ends_with("  2              10    1    1        3\n"), "{classes}");
    let wanted = "QOS Map 0/1\n    DSCP              FC\n      10               2\n\n     EXP              FC\n\n \
                  DOTONEP              FC\n       5               2\n\n\n";
    assert_eq!(site.say("qosmap --get-qos 1")?, wanted);
    site.does("qosmap --delete-qos 1")?;

    let macs = "--smac 2:0:0:0:0:1 --dmac 2:0:0:0:0:2 --sip 192.0.2.1 --dip 192.0.2.2";
    site.does("vif --add uplink --mac 2:0:0:0:0:1 --vrf 0 --type physical --id 0")?;
    site.does(&format!(
        "nh --create 24 --type 3 --vrf 0 --oif 0 {macs} --udp --sport 8097 --dport 8099"
    ))?;
    ensure!(site.say("nh --get 24")?.contains("Sport:8097 Dport:8099\n\n\n"));
    site.does("mirror --create 3 --nh 24 --dyn")?;
    ensure!(site.say("mirror --get 3")?.ends_with("    3         24       D       0\n"));
    site.does("mirror --delete 3")?;
    site.does("vrftable --create 1 --hbs-l 3 --hbs-r 4")?;
    ensure!(site.say("vrftable --get 1")?.ends_with("    1    VHlHr          3       4\n"));
    site.does("vrftable --delete 1")?;

    site.does("vrouter --from_vm_mss_adj 0")?;
    let info = site.say("vrouter --info")?;
    ensure!(info.contains("    TCP MSS on packets from VM           0\n"), "{info}");
    ensure!(info.contains("    NextHops limit                       524288\n"), "{info}");
    assert_eq!(site.say("vrouter --layout dpdk --set-log-level debug")?, "");
    assert_eq!(
        site.say("vrouter --layout dpdk --get-log-level")?,
        "Current log level                        debug\n"
    );
    let memory = site.say("vrmemstats")?;
    ensure!(memory.contains("\nInterface                       3\n"), "{memory}");
    ensure!(site.say("vrinfo --version")?.starts_with("Kernel version: {"));
    ensure!(
        site.say("dpdkinfo --layout dpdk --lcore")?.starts_with("No. of forwarding lcores: 1 \n")
    );
    Ok(())
}

#[test]
fn route_changes_are_told_as_they_happen() -> Result<()> {
    let Some(site) = site("monitor", &[])? else { return Ok(()) };
    let log = site.directory().join("monitor.log");
    let directory = site.directory().display().to_string();
    let monitor = site.node().start(&lab::tool("rt"), &["--monitor", "-u", &directory], &log)?;
    let seen = || std::fs::read_to_string(&log).unwrap_or_default();
    lab::eventually("the first change", Duration::from_secs(5), || {
        site.does("rt -c -v 1 -p 10.0.0.0 -l 8 -n 0 -P").is_ok()
            && site.does("rt -d -v 1 -p 10.0.0.0 -l 8 -r 0").is_ok()
            && seen().contains("\"delete\"")
    })?;
    let add = "{\"operation\":\"add\",\"family\":\"AF_INET\",\"vrf_id\":1,\"prefix\":8,\"address\":\"10.0.0.0\",\
               \"nh_id\":0,\"flags\":{\"label_valid\":false, \"arp_proxy\":true, \"arp_trap\":false,\
               \"arp_flood\":false, \"macip_learnt\":false}}\n";
    ensure!(seen().contains(add), "{}", seen());
    monitor.kill_hard()
}

#[test]
fn what_was_dropped_is_logged_and_can_be_captured() -> Result<()> {
    let Some(site) = site("log", &["--workers", "2"])? else { return Ok(()) };
    site.program()?;
    site.workload(0).run("ip route add default via 10.1.1.12")?;
    let drops = || -> Result<String> {
        ping(site.workload(0), "192.0.2.99", 2, "0.05")?;
        site.say("dropstats --log 0 --show VP_DROP_DISCARD")
    };
    lab::eventually("a drop in the log", Duration::from_secs(10), || {
        drops().is_ok_and(|text| text.contains("Drop reason: Discards"))
    })?;
    let text = site.say("dropstats --log 0 --show VP_DROP_DISCARD")?;
    ensure!(text.starts_with("**********PKT DROP LOG**********\nTotal No. of CPU's 2\n"), "{text}");
    let wanted = " Packet Type: IP  Drop reason: Discards  Vif idx: 3  Src IP: 10.1.1.11  Dst IP: 192.0.2.99  \
                  line no: 0  Packet Length: 98  Packet Data: 00  00  5E  00  01  00  02  00  00  00  A1  0A  08  00  45  ";
    ensure!(text.contains(wanted), "{text}");
    // The time is the day's.
    let epoch = text
        .split("Epoch Time: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .context("a time")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    ensure!(now.abs_diff(epoch.parse()?) < 60, "{epoch} is not about {now}");

    let file = site.directory().join("drops.pcapng").display().to_string();
    site.does(&format!("dropstats --log 0 --pcap {file}"))?;
    if lab::have("tshark") {
        let line = format!(
            "tshark -r {file} -T fields -e frame.interface_name -e ip.dst -e frame.comment"
        );
        let text = lab::run(&line)?;
        let wanted = "vif0/3\t192.0.2.99\tdropped by core";
        ensure!(
            text.contains(wanted) && text.contains("Discards (VP_DROP_DISCARD), vrf 1"),
            "{text}"
        );
    }

    site.say("dropstats --clear-drop-log")?;
    // The workload's own neighbour discovery may have been dropped since.
    let text = site.say("dropstats --log 0 --show VP_DROP_DISCARD")?;
    ensure!(text.is_empty(), "the log was cleared: {text}");
    assert_eq!(
        site.say("dropstats --drop-type VP_DROP_MISC")?,
        "\nDropstats log type set successfully VP_DROP_MISC\n\n"
    );
    assert_eq!(
        site.say("dropstats --drop-type VP_DROP_MISC")?,
        "Pkt drop type already set to VP_DROP_MISC \n"
    );
    ensure!(drops()?.is_empty(), "only that reason is logged");
    site.say("dropstats --drop-type VP_DROP_MAX")?;
    site.does("dropstats --min-log 1")?;
    let text = drops()?;
    ensure!(text.contains("Drop reason: Discards") && !text.contains("Packet Data"), "{text}");
    Ok(())
}
