//! Route targets to networks, VPN and EVPN routes to what a network reaches.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proto::bgp::{Destination, Encapsulation, Family, IpPrefix, RouteKey};
use wire::{Mac, Prefix};

use super::decision::Candidate;
use super::{Path, Rib};
use crate::config::{Config, Network};

/// What of a network lies beyond the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Beyond {
    /// IPv4 addresses.
    Inet(Prefix<Ipv4Addr>),
    /// IPv6 addresses.
    Inet6(Prefix<Ipv6Addr>),
    /// A station, for frames.
    Station(Mac),
    /// A router that takes copies of what is flooded.
    Flood(IpAddr),
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Beyond::Inet(prefix) => write!(f, "route {prefix}"),
            Beyond::Inet6(prefix) => write!(f, "route {prefix}"),
            Beyond::Station(mac) => write!(f, "station {mac}"),
            Beyond::Flood(router) => write!(f, "flood list member {router}"),
        }
    }
}

/// Where a route sends its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    /// The tunnel's far end.
    pub(crate) endpoint: IpAddr,
    /// How.
    pub(crate) encapsulation: Encapsulation,
    /// Label, or VNI with VXLAN.
    pub(crate) label: u32,
    /// Inner destination; routed VXLAN only.
    pub(crate) router_mac: Option<Mac>,
}

/// Why a path cannot be used. It stays in the RIB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unusable {
    /// It leads to ourselves.
    Own,
    /// Its next hop is of the other family than our tunnel endpoint.
    NextHopFamily,
    /// None of its encapsulations is in our list.
    Encapsulation,
    /// Routed VXLAN without the far router's MAC.
    NoRouterMac,
    /// A label from 0 to 15, or VNI 0.
    Label(u32),
    /// A group's MAC or none.
    Station(Mac),
    /// A route for flooding whose tunnel is none for ingress replication.
    NoFloodTunnel,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Own => f.write_str("its next hop is this node"),
            Unusable::NextHopFamily => {
                f.write_str("its next hop is of another address family than our tunnel endpoint")
            }
            Unusable::Encapsulation => f.write_str("it offers no encapsulation of our list"),
            Unusable::NoRouterMac => f.write_str("VXLAN without Router's MAC"),
            Unusable::Label(label) => write!(f, "label or VNI {label} cannot be sent to"),
            Unusable::Station(mac) => write!(f, "{mac} is no station's MAC"),
            Unusable::NoFloodTunnel => f.write_str("it has no tunnel for ingress replication"),
        }
    }
}

/// The candidates of what each network reaches.
pub(crate) type Candidates<'a> = BTreeMap<(&'a str, Beyond), Vec<Candidate<'a>>>;

/// The stations that have told an address, by network and address: the MACs that ARP and ND may be answered with.
pub(crate) type Bindings = BTreeMap<(String, IpAddr), Mac>;

/// A path that matches a network but cannot be used, for the log.
pub(crate) type Refusal = (RouteKey, Unusable);

/// What the RIB's paths come to.
#[derive(Debug, Default)]
pub(crate) struct Imported<'a> {
    pub(crate) candidates: Candidates<'a>,
    pub(crate) bindings: Bindings,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) origins: Origins,
}

/// The network that whoever is beyond belongs to, and its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The network's number.
    pub(crate) network: Option<u32>,
    /// The groups' numbers, ascending.
    pub(crate) groups: Vec<u32>,
}

/// Origins of what each network reaches.
pub(crate) type Origins = BTreeMap<(String, Beyond), Origin>;

/// As the route says; without a word of the network, by whose target it has.
fn origin(config: &Config, path: &Path) -> Origin {
    let attributes = path.attributes();
    let exports = |network: &&Network| {
        network.export.iter().any(|target| attributes.targets.binary_search(target).is_ok())
    };
    let by_target = || config.networks.iter().find(exports).map(|network| network.id);
    Origin {
        network: attributes.membership.network.or_else(by_target),
        groups: attributes.membership.groups.clone(),
    }
}

/// Sorts the RIB's paths to the networks that import them. Stations and flooding are for networks that bridge.
pub(crate) fn import<'a>(config: &'a Config, rib: &'a Rib) -> Imported<'a> {
    let mut imported = Imported::default();
    for path in rib.paths() {
        let targets = &path.attributes().targets;
        let key = path.announcement.key;
        let bridged = !matches!(key.destination, Destination::Prefix(_));
        let wants = |network: &Network| {
            network.import.iter().any(|target| targets.binary_search(target).is_ok())
        };
        let matching = |network: &&Network| {
            // What is routed is for networks that speak with one another, too.
            let joined = network.joined.iter().filter_map(|name| config.network(name));
            match bridged {
                true => wants(network) && network.bridging.is_some(),
                false => wants(network) || joined.into_iter().any(wants),
            }
        };
        let mut networks = config.networks.iter().filter(matching).peekable();
        if networks.peek().is_none() {
            continue;
        }
        match candidate(config, path) {
            Ok((beyond, candidate)) => {
                for network in networks {
                    if let Destination::Station { mac, address: Some(address) } = key.destination {
                        imported.bindings.insert((network.name.clone(), address), mac);
                    }
                    if !bridged {
                        let key = (network.name.clone(), beyond);
                        imported.origins.insert(key, origin(config, path));
                    }
                    imported.candidates.entry((&network.name, beyond)).or_default().push(candidate);
                }
            }
            // Our own routes come back from every reflector; nobody needs to hear of that.
            Err(Unusable::Own) => {}
            Err(why) => imported.refusals.push((key, why)),
        }
    }
    imported
}

fn candidate<'a>(config: &Config, path: &'a Path) -> Result<(Beyond, Candidate<'a>), Unusable> {
    let attributes = path.attributes();
    let own = config.node.tunnel_endpoint;
    let (beyond, endpoint) = match path.announcement.key.destination {
        Destination::Prefix(IpPrefix::V4(prefix)) => (Beyond::Inet(prefix), attributes.next_hop),
        Destination::Prefix(IpPrefix::V6(prefix)) => (Beyond::Inet6(prefix), attributes.next_hop),
        Destination::Station { mac, .. } if mac.is_group() || mac.is_zero() => {
            return Err(Unusable::Station(mac));
        }
        Destination::Station { mac, .. } => (Beyond::Station(mac), attributes.next_hop),
        Destination::Flood { router } => {
            let tunnel = attributes.flood.ok_or(Unusable::NoFloodTunnel)?;
            (Beyond::Flood(router), tunnel.endpoint)
        }
    };
    if endpoint == own {
        return Err(Unusable::Own);
    }
    if endpoint.is_ipv4() != own.is_ipv4() {
        return Err(Unusable::NextHopFamily);
    }
    let (rank, encapsulation) = choose(&config.node.encapsulations, path)?;
    let label = path.announcement.label(encapsulation);
    let routed = matches!(beyond, Beyond::Inet(_) | Beyond::Inet6(_));
    let router_mac = match encapsulation {
        Encapsulation::Vxlan if label == 0 => return Err(Unusable::Label(label)),
        Encapsulation::Vxlan if routed => Some(attributes.router_mac.ok_or(Unusable::NoRouterMac)?),
        // GoBGP as a PE sends 0, which means "underlay"; the others below 16 are reserved.
        Encapsulation::MplsOverGre | Encapsulation::MplsOverUdp if label < 16 => {
            return Err(Unusable::Label(label));
        }
        _ => None,
    };
    let hop = Hop { endpoint, encapsulation, label, router_mac };
    Ok((beyond, Candidate { path, rank, hop }))
}

/// The first encapsulation of our list that the path offers, and its place in the list. Without a community: MPLS over
/// GRE for L3VPN, which is what routers mean by it, and VXLAN for EVPN (reference control-plane.md section 7.3).
fn choose(priorities: &[Encapsulation], path: &Path) -> Result<(usize, Encapsulation), Unusable> {
    let attributes = path.attributes();
    let family = path.announcement.key.family;
    let default = match family {
        Family::Vpn4 | Family::Vpn6 => Encapsulation::MplsOverGre,
        Family::Evpn => Encapsulation::Vxlan,
    };
    let offered = |encapsulation: &Encapsulation| {
        if !attributes.encapsulation_given {
            return *encapsulation == default;
        }
        // VXLAN carries EVPN routes only.
        attributes.encapsulations.contains(encapsulation)
            && (family == Family::Evpn || *encapsulation != Encapsulation::Vxlan)
    };
    let found = priorities.iter().enumerate().find(|(_, encapsulation)| offered(encapsulation));
    found.map(|(rank, encapsulation)| (rank, *encapsulation)).ok_or(Unusable::Encapsulation)
}
