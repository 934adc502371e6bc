//! Two compute nodes joined by an underlay bridge, with networks red and green on both.
//!
//! The networks have the same subnet and the same addresses: `.11` on node a, `.12` on node b; only green has `.20`,
//! on node b. The demo stands on it, and most end-to-end tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Encapsulation, Family, Namespace, Network, Node, NodeOptions, PortKind, Underlay, Workload,
    eventually, run,
};

/// Address of `red-a` and of `green-a`.
pub const A_ADDRESS: &str = "10.1.1.11";
/// Address of `red-b` and of `green-b`.
pub const B_ADDRESS: &str = "10.1.1.12";
/// An address that only green has (`green-only`, on node b).
pub const GREEN_ONLY_ADDRESS: &str = "10.1.1.20";
/// Both networks' subnet.
pub const SUBNET: &str = "10.1.1.0/24";
/// The tunnel endpoints of node a and node b.
pub const ENDPOINTS: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
/// The broadcast address of that subnet.
pub const BROADCAST: &str = "10.1.1.255";
/// The IPv6 addresses of `red-a` and `red-b`, after [`Site::make_red_dual_stack`].
pub const ADDRESSES6: [&str; 2] = ["2001:db8:1::11", "2001:db8:1::12"];
/// The tunnel endpoints of node a and node b in a site whose fabric is IPv6.
pub const ENDPOINTS6: [&str; 2] = ["2001:db8:ffff::1", "2001:db8:ffff::2"];
/// VNI of network red.
pub const RED_VNI: &str = "5001";
/// VNI of network green.
pub const GREEN_VNI: &str = "5002";

const WORKLOADS: [&[(&str, &str, &str)]; 2] = [
    &[("red-a", "red", A_ADDRESS), ("green-a", "green", A_ADDRESS)],
    &[
        ("red-b", "red", B_ADDRESS),
        ("green-b", "green", B_ADDRESS),
        ("green-only", "green", GREEN_ONLY_ADDRESS),
    ],
];
const NODES: [&str; 2] = ["node-a", "node-b"];
const UNDERLAY: &str = "underlay";
/// The workload of network blue, after [`Site::add_blue`].
const BLUE: &str = "blue-b";
/// Its address.
pub const BLUE_ADDRESS: &str = "10.1.3.12";
/// Network blue's subnet.
pub const BLUE_SUBNET: &str = "10.1.3.0/24";

/// How a site is built, and what its parts are called.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// In front of every namespace's name.
    pub prefix: String,
    /// A directory for each node is made in it.
    pub directory: PathBuf,
    /// Forwarding workers on each node, and queues of each uplink.
    pub workers: usize,
    /// Encapsulations of both nodes, best first.
    pub encapsulations: Vec<Encapsulation>,
    /// BGP neighbours of both nodes; empty: each other.
    pub reflectors: Vec<String>,
    /// What the nodes' own addresses are of; they have none of the other family.
    pub fabric: Family,
}

impl SiteOptions {
    /// Names of its own for a test: nothing collides with another run.
    pub fn for_test(name: &str) -> SiteOptions {
        let prefix = format!("{name}-{}-", std::process::id());
        let directory = std::env::temp_dir().join(format!("vrouter-{prefix}lab"));
        SiteOptions {
            prefix,
            directory,
            workers: 1,
            encapsulations: vec![Encapsulation::MplsOverUdp],
            reflectors: Vec::new(),
            fabric: Family::Inet,
        }
    }

    /// The namespace of a part (`node-a`, `red-b`, `underlay`, …).
    pub fn namespace(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    /// The sockets, state, configuration and logs of a node.
    pub fn node_directory(&self, node: &str) -> PathBuf {
        self.directory.join(node)
    }

    /// Takes everything of this name down, whatever state it is in: processes, namespaces, directories. Nothing
    /// standing is fine.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn clean(&self) -> Result<()> {
        let workloads = WORKLOADS.iter().copied().flatten().map(|(name, _, _)| *name);
        for part in workloads.chain([BLUE]).chain(NODES).chain([UNDERLAY]) {
            remove_namespace(&self.namespace(part))?;
        }
        for node in NODES {
            let directory = self.node_directory(node);
            if directory.exists() {
                fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
            }
        }
        Ok(())
    }
}

/// Removes a namespace of ours and ends whatever runs in it. None of this name is fine.
///
/// # Errors
/// When something in it does not end.
pub fn remove_namespace(namespace: &str) -> Result<()> {
    if !Path::new("/var/run/netns").join(namespace).exists() {
        return Ok(());
    }
    let inside = || -> Vec<i32> {
        let text = run(&format!("ip netns pids {namespace}")).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    };
    for pid in inside().into_iter().filter_map(Pid::from_raw) {
        kill_process(pid, Signal::KILL).ok();
    }
    eventually("the end of the processes in the namespace", Duration::from_secs(5), || {
        inside().is_empty()
    })?;
    let deleted = run(&format!("ip netns delete {namespace}"));
    // Another thread of an interrupted program may have been faster.
    if Path::new("/var/run/netns").join(namespace).exists() { deleted.map(|_| ()) } else { Ok(()) }
}

/// Everything that stands. Dropping it takes it down.
#[derive(Debug)]
pub struct Site {
    /// node-a and node-b. Before the workloads: dropped first.
    pub nodes: [Node; 2],
    workloads: Vec<Namespace>,
    /// The bridge between them; the nodes' ports there are named `node-a` and `node-b`.
    pub underlay: Underlay,
    options: SiteOptions,
    end: End,
}

/// What becomes of a site that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    TakenDown,
    LeftStanding,
}

impl Site {
    /// Makes namespaces, underlay, workloads and nodes. No process is started.
    ///
    /// # Errors
    /// What could not be made.
    pub fn build(options: SiteOptions) -> Result<Site> {
        let underlay = Underlay::create(&options.namespace(UNDERLAY), 1500)?;
        let mut workloads: Vec<Namespace> = Vec::new();
        for (name, _, _) in WORKLOADS.iter().copied().flatten() {
            let workload = Namespace::create(&options.namespace(name))?;
            // IPv4 only: no router solicitation may disturb the drop counters that are judged.
            workload.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
            workloads.push(workload);
        }
        let nodes = [node(&options, &underlay, 0)?, node(&options, &underlay, 1)?];
        Ok(Site { nodes, workloads, underlay, options, end: End::TakenDown })
    }

    /// Starts `vrouterd` and `vrouter-agent` on both nodes.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn start(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.start_vrouterd()?;
            node.start_agent()?;
        }
        Ok(())
    }

    /// Waits until both nodes reach each other's workloads in both networks through this encapsulation.
    ///
    /// # Errors
    /// Which node does not.
    pub fn converge(&self, encapsulation: Encapsulation) -> Result<()> {
        for (node, remote) in self.nodes.iter().zip([B_ADDRESS, A_ADDRESS]) {
            for vni in [RED_VNI, GREEN_VNI] {
                let what = format!("{} to reach {remote} of VNI {vni}", node.options().name);
                eventually(&what, Duration::from_secs(20), || {
                    node.reaches_through(vni, remote, encapsulation)
                })?;
            }
        }
        Ok(())
    }

    /// Gives network red an IPv6 subnet, and its two workloads addresses in it ([`ADDRESSES6`]).
    ///
    /// # Errors
    /// When an agent is not there to be told.
    pub fn make_red_dual_stack(&mut self) -> Result<()> {
        for (node, address6) in self.nodes.iter_mut().zip(ADDRESSES6) {
            node.reconfigure(|options| {
                for network in options.networks.iter_mut().filter(|n| n.name == "red") {
                    let subnet = ("2001:db8:1::/64".to_owned(), "2001:db8:1::1".to_owned());
                    network.inet6 = Some(subnet);
                }
                for workload in options.workloads.iter_mut().filter(|w| w.network == "red") {
                    workload.address6 = Some(address6.to_owned());
                }
            })?;
        }
        Ok(())
    }

    /// Adds a third network, blue, with a subnet of its own and one workload, `blue-b` on node b.
    ///
    /// # Errors
    /// What could not be made, or an agent is not there to be told.
    pub fn add_blue(&mut self) -> Result<()> {
        let workload = Namespace::create(&self.options.namespace(BLUE))?;
        workload.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
        self.workloads.push(workload);
        let namespace = self.options.namespace(BLUE);
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.reconfigure(|options| {
                options.networks.push(Network {
                    inet6: None,
                    name: "blue".to_owned(),
                    subnet: BLUE_SUBNET.to_owned(),
                    gateway: "10.1.3.1".to_owned(),
                    vni: "5003".to_owned(),
                    route_target: "64512:3".to_owned(),
                    policies: Vec::new(),
                });
                if index == 1 {
                    options.workloads.push(Workload {
                        name: BLUE.to_owned(),
                        namespace: namespace.clone(),
                        network: "blue".to_owned(),
                        address: BLUE_ADDRESS.to_owned(),
                        address6: None,
                        port: PortKind::Veth,
                        extra: String::new(),
                    });
                }
            })?;
        }
        let stands = || {
            let link = self.workload(BLUE).and_then(|it| it.run("ip link show eth0"));
            link.is_ok_and(|text| text.contains("LOWER_UP"))
        };
        eventually("blue-b", Duration::from_secs(10), stands)
    }

    /// Attaches these policies to these networks on both nodes; `text` defines them. None: all are taken away.
    ///
    /// # Errors
    /// When an agent is not there to be told.
    pub fn set_policy(&mut self, networks: &[&str], policies: &[&str], text: &str) -> Result<()> {
        for node in &mut self.nodes {
            node.reconfigure(|options| {
                for network in &mut options.networks {
                    network.policies = match networks.contains(&network.name.as_str()) {
                        true => policies.iter().map(|name| (*name).to_owned()).collect(),
                        false => Vec::new(),
                    };
                }
                options.extra = text.to_owned();
            })?;
        }
        Ok(())
    }

    /// Attaches the workloads of these names otherwise, and waits until their interfaces are so and up.
    ///
    /// # Errors
    /// When an agent is not there to be told, or an interface does not come.
    pub fn attach_by(&mut self, port: PortKind, names: &[&str]) -> Result<()> {
        for node in &mut self.nodes {
            node.reconfigure(|options| {
                let named = |workload: &&mut Workload| names.contains(&workload.name.as_str());
                options.workloads.iter_mut().filter(named).for_each(|w| w.port = port);
            })?;
        }
        let kind = match port {
            PortKind::Veth => "veth",
            PortKind::Tap => "tun type tap",
        };
        for name in names {
            let workload = self.workload(name)?;
            let stands = || {
                let link = workload.run("ip -d link show eth0");
                link.is_ok_and(|text| text.contains(kind) && text.contains("LOWER_UP"))
            };
            eventually(&format!("{name} on {}", port.word()), Duration::from_secs(10), stands)?;
        }
        Ok(())
    }

    /// A workload's namespace (`red-a`, …).
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn workload(&self, name: &str) -> Result<&Namespace> {
        let wanted = self.options.namespace(name);
        let found = self.workloads.iter().find(|workload| workload.name() == wanted);
        found.with_context(|| format!("no workload {name}"))
    }

    /// A file in the directory of a node (0 or 1).
    pub fn file(&self, node: usize, name: &str) -> PathBuf {
        self.options.node_directory(NODES[node]).join(name)
    }

    /// Leaves everything standing.
    pub fn keep(mut self) {
        self.end = End::LeftStanding;
        for namespace in self.workloads.drain(..) {
            namespace.keep();
        }
        for node in &mut self.nodes {
            node.keep();
        }
        self.underlay.keep();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.end == End::LeftStanding {
            return;
        }
        for node in &mut self.nodes {
            node.kill_agent().ok();
            node.kill_vrouterd().ok();
        }
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.options.directory).ok();
        }
    }
}

fn node(options: &SiteOptions, underlay: &Underlay, index: usize) -> Result<Node> {
    let name = NODES[index];
    let namespace = Namespace::create(&options.namespace(name))?;
    let (endpoints, length) = match options.fabric {
        Family::Inet => (ENDPOINTS, 24),
        Family::Inet6 => (ENDPOINTS6, 64),
    };
    let address = format!("{}/{length}", endpoints[index]);
    underlay.plug(&namespace, "uplink0", name, &address, options.workers)?;
    let network = |name: &str, vni: &str, route_target: &str| Network {
        inet6: None,
        name: name.to_owned(),
        subnet: SUBNET.to_owned(),
        gateway: "10.1.1.1".to_owned(),
        vni: vni.to_owned(),
        route_target: route_target.to_owned(),
        policies: Vec::new(),
    };
    let workload = |(name, network, address): &(&str, &str, &str)| Workload {
        name: (*name).to_owned(),
        namespace: options.namespace(name),
        network: (*network).to_owned(),
        address: (*address).to_owned(),
        address6: None,
        port: PortKind::Veth,
        extra: String::new(),
    };
    let peer = endpoints[1 - index].to_owned();
    let neighbors =
        if options.reflectors.is_empty() { vec![peer] } else { options.reflectors.clone() };
    let node = NodeOptions {
        name: name.to_owned(),
        uplink: "uplink0".to_owned(),
        router_id: ENDPOINTS[index].to_owned(),
        endpoint: endpoints[index].to_owned(),
        neighbors,
        directory: options.node_directory(name),
        workers: options.workers,
        encapsulations: options.encapsulations.clone(),
        networks: vec![network("red", RED_VNI, "64512:1"), network("green", GREEN_VNI, "64512:2")],
        workloads: WORKLOADS[index].iter().map(workload).collect(),
        extra: String::new(),
    };
    Node::new(namespace, node)
}
