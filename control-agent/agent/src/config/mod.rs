//! The configuration file: checked as a whole, or refused with one message.
//!
//! | module | holds |
//! |---|---|
//! | `raw` | the file as TOML has it: names, types, positions |
//! | `check` | raw to [`Config`]: node and BGP |
//! | `check::networks`, `check::workloads` | theirs, and what must hold between them |
//! | `check::policies` | policies, security groups, and which networks they join |
//! | `check::flows` | mirrors, fat flows, timeouts |
//! | `check::values` | single values |
//! | `error` | the message: file, line, key, and what is allowed |
//!
//! [`Config`] cannot be wrong: nothing after this module checks again.

mod check;
mod error;
mod raw;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use proto::bgp::{Dialing, Encapsulation, RouteTarget};
use tables::{
    AnyPrefix, FatFlowRule, FloatingDirection, FlowTimeout, PortMapping, Ports, RuleFamily,
};
use wire::{Address, Mac, Prefix, Vni};

pub use error::ConfigError;

/// What an agent has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// BGP; without it the node is on its own.
    pub bgp: Option<Bgp>,
    /// Where queries about traffic are answered; `None`: nowhere.
    pub analytics: Option<SocketAddr>,
    /// Networks, by name.
    pub networks: Vec<Network>,
    /// Workloads, by name.
    pub workloads: Vec<Workload>,
    /// Network policies, by name.
    pub policies: Vec<Policy>,
    /// Security groups, by name.
    pub groups: Vec<SecurityGroup>,
    /// How long flows may be idle, by protocol and port.
    pub timeouts: Vec<FlowTimeout>,
    /// Where copies go that policies ask for, by name.
    pub mirrors: Vec<Mirror>,
}

/// An analyser: copies go to it through the fabric, as frames in VXLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its name.
    pub name: String,
    /// Its address on the underlay.
    pub address: IpAddr,
    /// What its copies carry.
    pub vni: Vni,
}

/// A network policy: rules for what passes between networks that it is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// In order.
    pub rules: Vec<PolicyRule>,
}

/// A rule of a network policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Whether it lets pass.
    pub pass: bool,
    /// IP protocol; `None` is any.
    pub protocol: Option<u8>,
    /// One side.
    pub source: PolicyEnd,
    /// The other.
    pub destination: PolicyEnd,
    /// The destination's ports.
    pub ports: Ports,
    /// Sessions may begin at either side, each to the other's `ports`.
    pub both_ways: bool,
    /// Whether sessions are logged.
    pub log: bool,
    /// The mirror that gets copies of their packets, by name.
    pub mirror: Option<String>,
}

/// A side of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyEnd {
    /// Anybody.
    Any,
    /// Everybody in a network.
    Network(String),
    /// Addresses.
    Prefix(AnyPrefix),
}

/// A security group: what its members may send and be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Its name.
    pub name: String,
    /// Its number, the same on all nodes.
    pub id: u32,
    /// What members may be sent.
    pub ingress: Vec<GroupRule>,
    /// What members may send.
    pub egress: Vec<GroupRule>,
}

/// A rule of a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRule {
    /// Address family.
    pub family: RuleFamily,
    /// IP protocol; `None` is any.
    pub protocol: Option<u8>,
    /// Destination ports.
    pub ports: Ports,
    /// Who the other side is.
    pub remote: Remote,
}

/// The other side of a group's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Anybody.
    Any,
    /// Members of a group.
    Group(String),
    /// Addresses.
    Prefix(AnyPrefix),
}

/// A second address of a workload, in another network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatingIp {
    /// The other network.
    pub network: String,
    /// The address there.
    pub address: IpAddr,
    /// Which way sessions may begin.
    pub direction: FloatingDirection,
    /// If any: only these ports.
    pub ports: Vec<PortMapping>,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its identifier in BGP and route distinguishers.
    pub router_id: Ipv4Addr,
    /// Outer source of its tunnels, and where others send theirs to.
    pub tunnel_endpoint: IpAddr,
    /// The device of the fabric.
    pub uplink: String,
    /// What others put as inner destination of routed VXLAN; the uplink's MAC when not given.
    pub router_mac: Option<Mac>,
    /// Encapsulations, best first.
    pub encapsulations: Vec<Encapsulation>,
    /// Where `vrouterd.sock` is.
    pub sock_dir: PathBuf,
    /// Where ids are remembered.
    pub state_dir: PathBuf,
}

/// BGP of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// Our AS.
    pub as_number: u32,
    /// Where we take calls: on the router id's address, and on the tunnel endpoint's from IPv6 neighbours.
    pub port: u16,
    /// Seconds that neighbours should keep our routes while we are away.
    pub restart_time: u16,
    /// Seconds after which routes that nobody told us again go, whether or not all neighbours have spoken.
    pub convergence_time: u16,
    /// The neighbours, by address.
    pub neighbors: Vec<Neighbor>,
}

/// A BGP neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address.
    pub address: IpAddr,
    /// Its AS.
    pub as_number: u32,
    /// Where it takes calls.
    pub port: u16,
    /// Whether we call.
    pub dialing: Dialing,
    /// Seconds.
    pub hold_time: u16,
}

/// A virtual network; it has a VRF of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// What its VXLAN packets carry.
    pub vni: Vni,
    /// Its IPv4 subnets.
    pub subnets: Vec<Subnet<Ipv4Addr>>,
    /// Its IPv6 subnets.
    pub subnets6: Vec<Subnet<Ipv6Addr>>,
    /// How frames that are not routed cross the fabric; `None`: they do not.
    pub bridging: Option<Bridging>,
    /// What becomes of frames to stations nobody knows.
    pub unknown_unicast: UnknownUnicast,
    /// Routes with one of these are imported; ascending.
    pub import: Vec<RouteTarget>,
    /// Routes exported carry all of these; ascending.
    pub export: Vec<RouteTarget>,
    /// Its number, the same on all nodes; its VNI when not given.
    pub id: u32,
    /// The policies attached to it, in order.
    pub policies: Vec<String>,
    /// Whether packets must come from where the route to their source leads.
    pub rpf: bool,
    /// At most so many flows.
    pub max_flows: Option<u32>,
    /// The networks that its policies let it speak with, ascending; their routes are its own, too.
    pub joined: Vec<String>,
}

/// What others send a network's bridged frames in; what they offer is taken in any way this node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bridging {
    /// Under an MPLS label.
    Mpls,
    /// In VXLAN, under the network's VNI.
    Vxlan,
}

impl Bridging {
    /// Which kind an encapsulation is.
    pub const fn of(encapsulation: Encapsulation) -> Bridging {
        match encapsulation {
            Encapsulation::MplsOverGre | Encapsulation::MplsOverUdp => Bridging::Mpls,
            Encapsulation::Vxlan => Bridging::Vxlan,
        }
    }
}

/// What becomes of frames to stations nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownUnicast {
    /// They are dropped: stations are told by their nodes.
    Dropped,
    /// They go where broadcast goes.
    Flooded,
}

/// A subnet of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet<A: Address> {
    /// Its prefix.
    pub prefix: Prefix<A>,
    /// What workloads have as default gateway.
    pub gateway: A,
}

/// What a workload has of one address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<A: Address> {
    /// Its address.
    pub address: A,
    /// The subnet the address is in.
    pub subnet: Subnet<A>,
}

/// A workload attached to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its network's name.
    pub network: String,
    /// The network namespace, as `ip netns` names it.
    pub namespace: String,
    /// The device inside.
    pub interface: String,
    /// Its IPv4 side. It has this or the other, or both.
    pub inet: Option<Host<Ipv4Addr>>,
    /// Its IPv6 side.
    pub inet6: Option<Host<Ipv6Addr>>,
    /// Its MAC; when not given one is derived from network and name, so that it stays the same.
    pub mac: Mac,
    /// L3 MTU in bytes; when not given what the largest encapsulation leaves of the uplink's.
    pub mtu: Option<u16>,
    /// What its interface is.
    pub port: PortKind,
    /// The security groups it is a member of, by name.
    pub groups: Vec<String>,
    /// Its floating IPs.
    pub floating_ips: Vec<FloatingIp>,
    /// Flows of its that are made coarser.
    pub fat_flows: Vec<FatFlowRule>,
    /// IPv4 addresses whose flows are not.
    pub fat_flow_exclude: Vec<Prefix<Ipv4Addr>>,
    /// IPv6 addresses whose flows are not.
    pub fat_flow_exclude6: Vec<Prefix<Ipv6Addr>>,
    /// At most so many flows.
    pub max_flows: Option<u32>,
    /// At most so many new sessions a second.
    pub max_new_flows: Option<u32>,
}

/// What a workload's interface is, and so who leaves checksums and segmentation to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortKind {
    /// One end of a pair that the agent makes; its stack finishes packets itself.
    #[default]
    Veth,
    /// A TAP that `vrouterd` makes; its stack leaves checksums and segmentation to `vrouterd`, and takes trains.
    Tap,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// One message that names file, line and key.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let bytes = std::fs::read(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        let text = str::from_utf8(&bytes).map_err(|error| {
            ConfigError::not_text(path, bytes.get(..error.valid_up_to()).unwrap_or_default())
        })?;
        Config::parse(path, text)
    }

    /// Reads text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let source = error::Source { path, text };
        let raw = raw::parse(&source)?;
        check::check(&source, raw)
    }

    /// Where connections with a neighbour end on this side.
    pub fn local_address(&self, neighbor: IpAddr) -> IpAddr {
        match neighbor {
            IpAddr::V4(_) => IpAddr::V4(self.node.router_id),
            IpAddr::V6(_) => self.node.tunnel_endpoint,
        }
    }

    /// The security group of this name.
    pub fn group(&self, name: &str) -> Option<&SecurityGroup> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The policy of this name.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// The network of this name.
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }
}

impl Workload {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let inet = self.inet.map(|host| IpAddr::V4(host.address));
        inet.into_iter().chain(self.inet6.map(|host| IpAddr::V6(host.address)))
    }
}
