//! The configuration file: checked as a whole, or refused with one message.
//!
//! | module | holds |
//! |---|---|
//! | `raw` | the file as TOML has it: names, types, positions |
//! | `check` | raw to [`Config`]: what must hold between the values |
//! | `error` | the message: file, line, key, and what is allowed |
//!
//! [`Config`] cannot be wrong: nothing after this module checks again.

mod check;
mod error;
mod raw;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use proto::bgp::{Dialing, Encapsulation, RouteTarget};
use wire::{Mac, Prefix, Vni};

pub use error::ConfigError;

/// What an agent has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// BGP; without it the node is on its own.
    pub bgp: Option<Bgp>,
    /// Networks, by name.
    pub networks: Vec<Network>,
    /// Workloads, by name.
    pub workloads: Vec<Workload>,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its identifier in BGP and route distinguishers.
    pub router_id: Ipv4Addr,
    /// Outer source of its tunnels, and where others send theirs to.
    pub tunnel_endpoint: Ipv4Addr,
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
    /// Where we take calls, on the router id's address.
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
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Routes with one of these are imported; ascending.
    pub import: Vec<RouteTarget>,
    /// Routes exported carry all of these; ascending.
    pub export: Vec<RouteTarget>,
}

/// A subnet of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its prefix.
    pub prefix: Prefix<Ipv4Addr>,
    /// What workloads have as default gateway.
    pub gateway: Ipv4Addr,
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
    /// Its address.
    pub address: Ipv4Addr,
    /// The subnet the address is in.
    pub subnet: Subnet,
    /// Its MAC; when not given one is derived from network and name, so that it stays the same.
    pub mac: Mac,
    /// L3 MTU in bytes; when not given what the largest encapsulation leaves of the uplink's.
    pub mtu: Option<u16>,
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

    /// The network of this name.
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }
}
