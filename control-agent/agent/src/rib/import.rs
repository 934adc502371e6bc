//! Route targets to networks, VPN routes to plain ones.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use proto::bgp::{Encapsulation, Family, IpPrefix};
use wire::{Mac, Prefix};

use super::decision::Candidate;
use super::{Path, Rib};
use crate::config::Config;

/// Where a route sends its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    /// The tunnel's far end.
    pub(crate) endpoint: Ipv4Addr,
    /// How.
    pub(crate) encapsulation: Encapsulation,
    /// Label, or VNI with VXLAN.
    pub(crate) label: u32,
    /// Inner destination; VXLAN only.
    pub(crate) router_mac: Option<Mac>,
}

/// Why a path cannot be used. It stays in the RIB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unusable {
    /// It is an IPv6 route.
    Ipv6,
    /// It leads to ourselves.
    Own,
    /// Its next hop is IPv6; tunnels here have IPv4 endpoints.
    Ipv6NextHop,
    /// None of its encapsulations is in our list.
    Encapsulation,
    /// VXLAN without the far router's MAC.
    NoRouterMac,
    /// A label from 0 to 15, or VNI 0.
    Label(u32),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Ipv6 => f.write_str("IPv6 routes are not forwarded yet"),
            Unusable::Own => f.write_str("its next hop is this node"),
            Unusable::Ipv6NextHop => f.write_str("its next hop is IPv6"),
            Unusable::Encapsulation => f.write_str("it offers no encapsulation of our list"),
            Unusable::NoRouterMac => f.write_str("VXLAN without Router's MAC"),
            Unusable::Label(label) => write!(f, "label or VNI {label} cannot be sent to"),
        }
    }
}

/// The candidates of each network and prefix.
pub(crate) type Candidates<'a> = BTreeMap<(&'a str, Prefix<Ipv4Addr>), Vec<Candidate<'a>>>;

/// A path that matches a network but cannot be used, for the log.
pub(crate) type Refusal = (proto::bgp::RouteKey, Unusable);

/// Sorts the RIB's paths to the networks that import them.
pub(crate) fn import<'a>(config: &'a Config, rib: &'a Rib) -> (Candidates<'a>, Vec<Refusal>) {
    let mut candidates = Candidates::new();
    let mut refusals = Vec::new();
    for path in rib.paths() {
        let targets = &path.attributes().targets;
        let matching = |network: &&crate::config::Network| {
            network.import.iter().any(|target| targets.binary_search(target).is_ok())
        };
        let mut networks = config.networks.iter().filter(matching).peekable();
        if networks.peek().is_none() {
            continue;
        }
        match candidate(config, path) {
            Ok((prefix, candidate)) => {
                for network in networks {
                    candidates.entry((&network.name, prefix)).or_default().push(candidate);
                }
            }
            // Our own routes come back from every reflector; nobody needs to hear of that.
            Err(Unusable::Own) => {}
            Err(why) => refusals.push((path.announcement.key, why)),
        }
    }
    (candidates, refusals)
}

fn candidate<'a>(
    config: &Config,
    path: &'a Path,
) -> Result<(Prefix<Ipv4Addr>, Candidate<'a>), Unusable> {
    let IpPrefix::V4(prefix) = path.announcement.key.prefix else { return Err(Unusable::Ipv6) };
    let IpAddr::V4(endpoint) = path.attributes().next_hop else {
        return Err(Unusable::Ipv6NextHop);
    };
    if endpoint == config.node.tunnel_endpoint {
        return Err(Unusable::Own);
    }
    let (rank, encapsulation) = choose(&config.node.encapsulations, path)?;
    let label = path.announcement.label(encapsulation);
    let router_mac = match encapsulation {
        Encapsulation::Vxlan => {
            if label == 0 {
                return Err(Unusable::Label(label));
            }
            Some(path.attributes().router_mac.ok_or(Unusable::NoRouterMac)?)
        }
        Encapsulation::MplsOverGre | Encapsulation::MplsOverUdp => {
            // GoBGP as a PE sends 0, which means "underlay"; the others below 16 are reserved.
            if label < 16 {
                return Err(Unusable::Label(label));
            }
            None
        }
    };
    let hop = Hop { endpoint, encapsulation, label, router_mac };
    Ok((prefix, Candidate { path, rank, hop }))
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
