//! Two nodes joined by an underlay link, each with one workload: `ta` behind node `a`, `tb` behind node `b`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use api::{Lookup, PortState, Rows};
use tables::{Op, VifId};
use wire::Mac;

use super::daemon::Daemon;
use super::lab::{self, Lab, ip};
use super::model::{self, Side, Tunnel};
use super::{traffic, wait_for};

/// Address family of the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Underlay {
    V4,
    V6,
}

/// The second workload of node `a`, where there is one.
pub(crate) const SECOND_MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
pub(crate) const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 9);

/// The pair, with its daemons running.
pub(crate) struct Pair {
    pub(crate) a: Node,
    pub(crate) b: Node,
    lab: Lab,
}

/// One node.
pub(crate) struct Node {
    pub(crate) namespace: String,
    pub(crate) workload: String,
    pub(crate) side: Side,
    pub(crate) directory: PathBuf,
    pub(crate) daemon: Option<Daemon>,
    args: Vec<String>,
}

impl Pair {
    /// Builds everything, starts both daemons with these options, and programs the tunnel.
    pub(crate) fn start(tunnel: Tunnel, args: &[&str]) -> Pair {
        Pair::start_over(Underlay::V4, 1, tunnel, args)
    }

    /// The same over an underlay of either family, whose link has so many queues.
    pub(crate) fn start_over(
        underlay: Underlay,
        queues: u8,
        tunnel: Tunnel,
        args: &[&str],
    ) -> Pair {
        let mut pair = Pair::build(underlay, queues, args);
        for node in [&mut pair.a, &mut pair.b] {
            node.start();
        }
        pair.program(tunnel);
        pair
    }

    fn build(underlay: Underlay, queues: u8, args: &[&str]) -> Pair {
        let mut lab = Lab::new();
        let mut a = Node::build(&mut lab, "a", 1, args);
        let mut b = Node::build(&mut lab, "b", 2, args);
        lab::veth((&a.namespace, "uplink"), (&b.namespace, "uplink"), queues);
        for node in [&mut a, &mut b] {
            node.side.uplink_mac = lab::mac(&node.namespace, "uplink");
            let address = match underlay {
                Underlay::V4 => format!("{}/24", node.side.endpoint),
                Underlay::V6 => {
                    let last = node.side.workload.octets()[3];
                    node.side.endpoint = format!("fd00:5::{last}").parse().unwrap();
                    format!("{}/64", node.side.endpoint)
                }
            };
            let mut arguments =
                vec!["-n", &node.namespace, "addr", "add", &address, "dev", "uplink"];
            if underlay == Underlay::V6 {
                arguments.push("nodad");
            }
            ip(&arguments);
            ip(&["-n", &node.namespace, "link", "set", "uplink", "mtu", "1600", "up"]);
        }
        Pair { a, b, lab }
    }

    /// Programs both sides and waits until they can forward.
    pub(crate) fn program(&mut self, tunnel: Tunnel) {
        let (a, b) = (self.a.side.clone(), self.b.side.clone());
        self.a.program(&b, tunnel);
        self.b.program(&a, tunnel);
    }

    /// Pings from the workload of `a` to that of `b`; gives how many of `count` were answered.
    pub(crate) fn ping(&self, count: u32, interval: &str) -> u32 {
        traffic::ping(&self.a.workload, self.b.address(), count, interval)
    }

    /// TCP from the workload of `a` to that of `b`, and back; every byte is checked. Gives bytes a second.
    pub(crate) fn tcp(&self, bytes: usize) -> (f64, f64) {
        let both = std::panic::catch_unwind(|| {
            let there = traffic::tcp(&self.a.workload, &self.b.workload, self.b.address(), bytes);
            let back = traffic::tcp(&self.b.workload, &self.a.workload, self.a.address(), bytes);
            (there, back)
        });
        both.unwrap_or_else(|_| panic!("TCP does not get through: {self}"))
    }

    /// Gives node `a` a second workload, [`SECOND_MAC`] at [`SECOND_ADDRESS`] behind `port2`, by these objects; returns its
    /// namespace.
    pub(crate) fn second_workload(&mut self, objects: Vec<Op>) -> String {
        let workload = self.namespace("tc");
        lab::veth((&self.a.namespace, "port2"), (&workload, "eth0"), 1);
        let mac = SECOND_MAC.to_string();
        ip(&["-n", &workload, "link", "set", "eth0", "address", &mac, "up"]);
        ip(&["-n", &workload, "addr", "add", &format!("{SECOND_ADDRESS}/24"), "dev", "eth0"]);
        let mut client = self.a.daemon().client();
        client.apply(objects).unwrap();
        wait_for_port(&mut client, model::SECOND);
        workload
    }

    /// Adds a namespace.
    pub(crate) fn namespace(&mut self, name: &str) -> String {
        self.lab.namespace(name)
    }

    /// The place of the pair's files.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }
}

impl Node {
    fn build(lab: &mut Lab, name: &str, last: u8, args: &[&str]) -> Node {
        let namespace = lab.namespace(name);
        let workload = lab.namespace(&format!("t{name}"));
        let side = Side {
            uplink: "uplink".to_owned(),
            uplink_mac: Mac::ZERO,
            endpoint: Ipv4Addr::new(172, 16, 0, last).into(),
            port: "port".to_owned(),
            workload: Ipv4Addr::new(10, 1, 1, last),
            workload_mac: Mac([2, 0, 0, 0, 9, last]),
            router_mac: Mac([2, 0, 0, 0, 8, last]),
            label: 100 + u32::from(last),
            vni: 200 + u32::from(last),
        };
        lab::veth((&namespace, "port"), (&workload, "eth0"), 1);
        let mac = side.workload_mac.to_string();
        ip(&["-n", &workload, "link", "set", "eth0", "address", &mac, "mtu", "1500", "up"]);
        let address = format!("{}/24", side.workload);
        ip(&["-n", &workload, "addr", "add", &address, "dev", "eth0"]);
        let directory = lab.directory(name);
        let args = args.iter().map(|text| (*text).to_owned()).collect();
        Node { namespace, workload, side, directory, daemon: None, args }
    }

    /// The workload's address.
    pub(crate) fn address(&self) -> IpAddr {
        IpAddr::V4(self.side.workload)
    }

    pub(crate) fn start(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.daemon = Some(Daemon::start(&self.namespace, &self.directory, &args));
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Puts the tables and waits for ports and adjacency.
    pub(crate) fn program(&mut self, there: &Side, tunnel: Tunnel) {
        let mut client = self.daemon().client();
        client.apply(model::program(&self.side, there, tunnel)).unwrap();
        wait_for("the ports are open", Duration::from_secs(10), || {
            client.barrier().unwrap();
            let mut up = |id| port_state(&mut client, id) == PortState::Up;
            (up(model::UPLINK) && up(model::PORT)).then_some(())
        });
        wait_for("the tunnel's neighbour is known", Duration::from_secs(10), || {
            let Rows::NextHop(rows) = client.get(Lookup::NextHop(model::TO_PEER)).unwrap() else {
                return None;
            };
            match &rows.first()?.detail {
                api::NextHopDetail::Tunnel { underlay, .. } => {
                    underlay.first()?.valid.then_some(())
                }
                _ => None,
            }
        });
        client.barrier().unwrap();
    }

    /// Packets dropped for any reason.
    pub(crate) fn drops(&self) -> api::DropStats {
        self.daemon().client().drops(api::DropScope::System, None).unwrap()
    }
}

/// Waits until a vif's port is open, and every worker knows it.
pub(crate) fn wait_for_port(client: &mut api::Client, id: VifId) {
    wait_for("the port is open", Duration::from_secs(10), || {
        (port_state(client, id) == PortState::Up).then_some(())
    });
    client.barrier().unwrap();
}

/// State of a vif's port.
pub(crate) fn port_state(client: &mut api::Client, id: VifId) -> PortState {
    let Rows::Vif(rows) = client.get(Lookup::Vif { id, core: None }).unwrap() else {
        panic!("a vif row");
    };
    rows[0].port.as_ref().map_or(PortState::None, |port| port.state.clone())
}

impl std::fmt::Display for Pair {
    /// What went where, for messages of tests that fail.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, node) in [("a", &self.a), ("b", &self.b)] {
            let Some(daemon) = &node.daemon else { continue };
            let mut client = daemon.client();
            let page = client.pages(api::Table::Vif { core: None }).next().unwrap().unwrap();
            let Rows::Vif(rows) = page.rows else { continue };
            for row in rows {
                let (rx, tx) = (row.rx.packets, row.tx.packets);
                write!(f, "\n{name} vif {}: rx {rx} tx {tx} {:?}", row.id, row.port)?;
            }
            let drops = node.drops();
            for reason in tables::DropReason::ALL {
                if drops.count(*reason) > 0 {
                    write!(f, "\n{name} {}: {}", reason.label(), drops.count(*reason))?;
                }
            }
        }
        Ok(())
    }
}
