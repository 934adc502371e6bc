//! Open vSwitch in userspace on DPDK, as Debian packages it: one poll-mode thread on the last core, packets from memory to
//! nowhere. An instance of its own in a namespace, with sockets, database and huge pages of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Background, Namespace};
use pcap_file::pcap::{PcapPacket, PcapWriter};
use rustix::process::Signal;

/// Its place; everything of it is removed at the end.
const DIRECTORY: &str = "/run/vrouter-bench-ovs";
const NAMESPACE: &str = "bench-ovs";
const SWITCH: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const PAGES: &str = "/proc/sys/vm/nr_hugepages";
/// Of 2 MiB each: packet buffers and DPDK's own.
const WANTED_PAGES: u32 = 1024;
const MEGABYTES: &str = "1536";
const PACKETS: &str = "packets.pcap";
const LIMIT: Duration = Duration::from_secs(20);

/// How often packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replay {
    /// Once, each time [`Ovs::begin`] says so.
    Never,
    /// Again and again.
    Forever,
}

/// A running instance. Dropping it removes everything.
pub(super) struct Ovs {
    _database: Background,
    switch: Background,
    _namespace: Namespace,
    _pages: HugePages,
}

/// Whether it is there; else why not.
pub(super) fn missing() -> Option<String> {
    let absent = |path: &&str| !Path::new(path).exists();
    let file = [SWITCH, SCHEMA].into_iter().find(absent);
    file.map(|file| format!("no {file} (Debian: openvswitch-switch-dpdk)"))
}

/// Takes down what a killed run left.
pub(super) fn clean() -> Result<()> {
    for name in ["switch.pid", "database.pid"] {
        let pid = fs::read_to_string(place(name)).ok().and_then(|text| text.trim().parse().ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { continue };
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        // The number may be another process's by now.
        if line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(DIRECTORY)) {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
    lab::remove_namespace(NAMESPACE)?;
    let pages = place("pages");
    if let Ok(before) = fs::read_to_string(&pages) {
        fs::write(PAGES, before).context(PAGES)?;
    }
    if Path::new(DIRECTORY).exists() {
        fs::remove_dir_all(DIRECTORY).context(DIRECTORY)?;
    }
    Ok(())
}

fn place(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn at(name: &str) -> String {
    place(name).display().to_string()
}

/// The pages the kernel is asked for, and those it had.
struct HugePages;

impl HugePages {
    fn take() -> Result<HugePages> {
        let before = fs::read_to_string(PAGES).context(PAGES)?;
        fs::write(place("pages"), &before)?;
        fs::write(PAGES, WANTED_PAGES.to_string()).context(PAGES)?;
        let got: u32 = fs::read_to_string(PAGES)?.trim().parse()?;
        ensure!(got >= WANTED_PAGES, "{got} huge pages instead of {WANTED_PAGES}");
        Ok(HugePages)
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        // A stopped process does not end.
        self.switch.signal(Signal::CONT).ok();
        if let Err(error) = clean() {
            println!("left behind: {error:#}");
        }
    }
}

impl Ovs {
    /// Starts it, with its poll-mode thread on `core` and all else on `other`.
    ///
    /// # Errors
    /// No huge pages, or it does not come up: its log's end.
    pub(super) fn start(core: usize, other: usize) -> Result<Ovs> {
        clean()?;
        fs::create_dir_all(DIRECTORY)?;
        let pages = HugePages::take()?;
        let namespace = Namespace::create(NAMESPACE)?;
        lab::output("ovsdb-tool", &["create", &at("db"), SCHEMA])?;
        let database = Background::start(
            "ovsdb-server",
            &[&at("db"), &format!("--remote=punix:{}", at("db.sock")), &unixctl("database")],
            &place("database.log"),
        )?;
        fs::write(place("database.pid"), database.id().to_string())?;
        lab::eventually("the database answers", LIMIT, || place("db.sock").exists())?;
        vsctl("--no-wait init")?;
        let masks = [("pmd-cpu-mask", 1_u64 << core), ("dpdk-lcore-mask", 1 << other)];
        for (name, mask) in masks {
            vsctl(&format!("--no-wait set Open_vSwitch . other_config:{name}={mask:#x}"))?;
        }
        vsctl("--no-wait set Open_vSwitch . other_config:dpdk-init=true")?;
        let extra = format!("--in-memory --no-pci -m {MEGABYTES}");
        lab::output(
            "ovs-vsctl",
            &[
                &format!("--db=unix:{}", at("db.sock")),
                "--no-wait",
                "set",
                "Open_vSwitch",
                ".",
                &format!("other_config:dpdk-extra=\"{extra}\""),
            ],
        )?;
        let switch = Background::start(
            "ip",
            &[
                "netns",
                "exec",
                NAMESPACE,
                "env",
                &format!("OVS_RUNDIR={DIRECTORY}"),
                SWITCH,
                &format!("unix:{}", at("db.sock")),
                &unixctl("switch"),
            ],
            &place("switch.log"),
        )?;
        fs::write(place("switch.pid"), switch.id().to_string())?;
        let started = lab::eventually("Open vSwitch answers", LIMIT, || {
            place("switch.ctl").exists() && appctl("version").is_ok()
        });
        started.with_context(log_end)?;
        Ok(Ovs { _database: database, switch, _namespace: namespace, _pages: pages })
    }

    /// Connection tracking, then so many routes, then VXLAN: what comes nearest to a vRouter's encapsulation under policy.
    ///
    /// # Errors
    /// It refuses something.
    pub(super) fn track_route_and_encapsulate(
        &self,
        packets: &[Vec<u8>],
        routes: impl Iterator<Item = String>,
        replay: Replay,
    ) -> Result<()> {
        self.switch.signal(Signal::CONT)?;
        for bridge in vsctl("list-br")?.split_whitespace() {
            vsctl(&format!("del-br {bridge}"))?;
        }
        // The first time there is nothing to flush.
        appctl("dpctl/flush-conntrack").ok();
        write(&place(PACKETS), packets)?;
        bridge("underlay")?;
        vsctl("set bridge underlay other_config:hwaddr=02:00:00:00:00:02")?;
        sink("underlay", "out")?;
        lab::run(&format!("ip -n {NAMESPACE} addr replace 172.16.0.1/24 dev underlay"))?;
        lab::run(&format!("ip -n {NAMESPACE} link set underlay up"))?;
        appctl("tnl/neigh/set underlay 172.16.0.2 02:00:00:00:00:99")?;
        // There already, from the address.
        appctl("ovs/route/add 172.16.0.0/24 underlay").ok();
        flows("underlay", ["in_port=LOCAL,actions=output:out".to_owned()].into_iter())?;
        bridge("tenants")?;
        if replay == Replay::Forever {
            self.play(replay)?;
        }
        vsctl(
            "add-port tenants tunnel -- set interface tunnel type=vxlan options:remote_ip=flow options:key=flow",
        )?;
        let tracking = [
            "priority=0,actions=drop",
            "table=0,priority=10,ip,ct_state=-trk,actions=ct(table=1,zone=5)",
            "table=1,priority=10,ip,ct_state=+trk+new,actions=ct(commit,zone=5),resubmit(,2)",
            "table=1,priority=10,ip,ct_state=+trk+est,actions=resubmit(,2)",
        ];
        let routed = routes.enumerate().map(|(number, prefix)| {
            format!(
                "table=2,priority=24,ip,nw_dst={prefix},actions=mod_dl_dst:02:00:00:00:00:bb,dec_ttl,\
                 set_field:{}->tun_id,set_field:172.16.0.2->tun_dst,output:tunnel",
                number + 1
            )
        });
        flows("tenants", tracking.iter().map(|rule| (*rule).to_owned()).chain(routed))
    }

    /// Opens the port that plays the packets.
    fn play(&self, replay: Replay) -> Result<()> {
        let infinite = u8::from(replay == Replay::Forever);
        let options = format!(
            "options:dpdk-devargs=net_pcap0,rx_pcap={},infinite_rx={infinite}",
            place(PACKETS).display()
        );
        vsctl(&format!(
            "add-port tenants in -- set interface in type=dpdk {options} options:n_rxq=1 options:n_rxq_desc=2048"
        ))?;
        Ok(())
    }

    /// Forgets all connections and plays the packets once: TSC cycles for each connection that is tracked then, ports
    /// included. Packets that come while it learns the rules are lost, and their cycles are the others'.
    ///
    /// # Errors
    /// Most are.
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    pub(super) fn begin(&self, connections: usize) -> Result<f64> {
        self.switch.signal(Signal::CONT)?;
        vsctl("--if-exists del-port tenants in")?;
        appctl("dpctl/flush-conntrack").ok();
        appctl("dpif-netdev/pmd-stats-clear")?;
        self.play(Replay::Never)?;
        let received = format!("packets received: {connections}");
        lab::eventually("every packet has come", LIMIT, || {
            appctl("dpif-netdev/pmd-stats-show").is_ok_and(|text| text.contains(&received))
        })?;
        lab::pause(Duration::from_millis(200));
        let tracked = appctl("dpctl/ct-get-nconns")?;
        let cycles = self.cycles();
        self.stand_still()?;
        let tracked: usize = tracked.trim().parse().context("the number of connections")?;
        ensure!(tracked > connections / 2, "of {connections} connections {tracked} are tracked");
        Ok(cycles? * connections as f64 / tracked as f64)
    }

    /// TSC cycles a packet since the counts were cleared.
    fn cycles(&self) -> Result<f64> {
        let text = appctl("dpif-netdev/pmd-stats-show")?;
        // avg processing cycles per packet: 195.11 (123/456)
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("avg processing cycles per packet: "))
            .with_context(|| format!("no packets: {text}"))?;
        let cycles = line.split(' ').next().and_then(|word| word.parse().ok());
        cycles.with_context(|| line.to_owned())
    }

    /// That it does what it is measured for: every flow is tracked, and packets leave encapsulated.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn verify(&self, connections: usize) -> Result<()> {
        self.switch.signal(Signal::CONT)?;
        lab::pause(Duration::from_millis(100));
        let tracked = appctl("dpctl/ct-get-nconns")?;
        ensure!(tracked.trim() == connections.to_string(), "{tracked} connections are tracked");
        let datapath = appctl("dpctl/dump-flows")?;
        self.stand_still()?;
        for action in ["ct(", "tnl_push("] {
            ensure!(datapath.contains(action), "nothing does {action}: {datapath}");
        }
        Ok(())
    }

    /// Lets it run, warm up, and be measured; it stands still before and after. TSC cycles a packet, ports included.
    ///
    /// # Errors
    /// It has forwarded nothing.
    pub(super) fn window(&self, warm: Duration, length: Duration) -> Result<f64> {
        self.switch.signal(Signal::CONT)?;
        lab::pause(warm);
        appctl("dpif-netdev/pmd-stats-clear")?;
        lab::pause(length);
        let cycles = self.cycles();
        self.stand_still()?;
        cycles
    }

    /// Its poll-mode thread would take the core.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn stand_still(&self) -> Result<()> {
        self.switch.signal(Signal::STOP)
    }
}

fn unixctl(name: &str) -> String {
    format!("--unixctl={}", at(&format!("{name}.ctl")))
}

fn vsctl(line: &str) -> Result<String> {
    lab::run(&format!("ovs-vsctl --db=unix:{} --timeout=30 {line}", at("db.sock")))
}

fn appctl(line: &str) -> Result<String> {
    lab::run(&format!("ovs-appctl -T 30 -t {} {line}", at("switch.ctl")))
}

fn bridge(name: &str) -> Result<()> {
    vsctl(&format!(
        "add-br {name} -- set bridge {name} datapath_type=netdev fail-mode=secure protocols=OpenFlow13,OpenFlow15"
    ))?;
    Ok(())
}

/// A port that takes everything, and sources nothing.
fn sink(bridge: &str, name: &str) -> Result<()> {
    let device = "options:dpdk-devargs=net_null1,size=64,copy=0,no-rx=1";
    vsctl(&format!("add-port {bridge} {name} -- set interface {name} type=dpdk {device}"))?;
    Ok(())
}

fn flows(bridge: &str, flows: impl Iterator<Item = String>) -> Result<()> {
    let file = place("flows");
    let text: Vec<String> = flows.collect();
    fs::write(&file, text.join("\n") + "\n")?;
    let target = format!("unix:{}", at(&format!("{bridge}.mgmt")));
    lab::run(&format!("ovs-ofctl -O OpenFlow15 del-flows {target}"))?;
    lab::run(&format!("ovs-ofctl -O OpenFlow15 add-flows {target} {}", file.display()))?;
    Ok(())
}

fn write(file: &Path, packets: &[Vec<u8>]) -> Result<()> {
    let mut writer = PcapWriter::new(std::io::BufWriter::new(fs::File::create(file)?))?;
    for packet in packets {
        let length = u32::try_from(packet.len())?;
        writer.write_packet(&PcapPacket::new(Duration::ZERO, length, packet))?;
    }
    Ok(())
}

/// The end of its log.
pub(super) fn log_end() -> String {
    let log = fs::read_to_string(place("switch.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<&str>>().join("\n")
}
