//! Networks and their subnets.

use std::net::{Ipv4Addr, Ipv6Addr};

use proto::bgp::{Encapsulation, RouteTarget};
use toml::Spanned;
use wire::{Address, Prefix, PrefixError, Vni};

use super::super::error::Source;
use super::super::{Bridging, Network, Node, Subnet, UnknownUnicast, raw};
use super::Result;
use super::values::{address, host_of, name, number, targets};

pub(super) fn networks(
    source: &Source<'_>,
    node: &Node,
    local_as: Option<u32>,
    raw: Vec<raw::Network>,
) -> Result<Vec<Network>> {
    let mut networks: Vec<Network> = Vec::new();
    for raw in raw {
        let name = name(source, "network.name", &raw.name)?;
        if networks.iter().any(|other| other.name == name) {
            let problem = format!("\"{name}\" is given twice; allowed is one network per name");
            return Err(source.at(raw.name.span(), "network.name", problem));
        }
        let vni = number(source, "network.vni", &raw.vni, 1..=Vni::MAX, "the 24 bits of a VNI")?;
        let vni = Vni::try_from(vni)
            .map_err(|error| source.at(raw.vni.span(), "network.vni", error.to_string()))?;
        if let Some(other) = networks.iter().find(|other| other.vni == vni) {
            let problem = format!(
                "{vni} is the VNI of network \"{}\" too; allowed is one not used yet",
                other.name
            );
            return Err(source.at(raw.vni.span(), "network.vni", problem));
        }
        let mut both = targets(source, "network.route_targets", &raw.route_targets)?;
        if both.is_empty() && raw.import_targets.is_empty() && raw.export_targets.is_empty() {
            both.extend(default_target(local_as, vni));
        }
        let list = |key, extra: &[Spanned<String>]| -> Result<Vec<RouteTarget>> {
            let mut list = targets(source, key, extra)?;
            list.extend(&both);
            list.sort_unstable();
            list.dedup();
            Ok(list)
        };
        let import = list("network.import_targets", &raw.import_targets)?;
        let export = list("network.export_targets", &raw.export_targets)?;
        let (subnets, subnets6) = subnets(source, &raw.subnets)?;
        let id = match &raw.id {
            Some(id) => number(source, "network.id", id, 1..=u32::MAX, "the same on all nodes")?,
            None => vni.get(),
        };
        if let Some(other) = networks.iter().find(|other| other.id == id) {
            let problem = format!(
                "{id} is the id of network \"{}\" too; allowed is one not used yet",
                other.name
            );
            let span = raw.id.as_ref().map_or(raw.name.span(), Spanned::span);
            return Err(source.at(span, "network.id", problem));
        }
        let max_flows = |value| number(source, "network.max_flows", value, 2..=u32::MAX, "flows");
        networks.push(Network {
            name,
            vni,
            subnets,
            subnets6,
            bridging: bridging(source, node, raw.bridging.as_ref())?,
            unknown_unicast: if raw.flood_unknown_unicast {
                UnknownUnicast::Flooded
            } else {
                UnknownUnicast::Dropped
            },
            import,
            export,
            id,
            policies: raw.policies.iter().map(|name| name.get_ref().clone()).collect(),
            rpf: raw.rpf.unwrap_or(true),
            max_flows: raw.max_flows.as_ref().map(max_flows).transpose()?,
            joined: Vec::new(),
        });
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

/// What other speakers derive too (reference control-plane.md section 7.4).
fn default_target(local_as: Option<u32>, vni: Vni) -> Option<RouteTarget> {
    format!("{}:{vni}", local_as?).parse().ok()
}

/// How frames cross the fabric: as told, or in the kind of the node's best encapsulation.
fn bridging(
    source: &Source<'_>,
    node: &Node,
    raw: Option<&Spanned<String>>,
) -> Result<Option<Bridging>> {
    const KEY: &str = "network.bridging";
    let Some(word) = raw else {
        return Ok(node.encapsulations.first().copied().map(Bridging::of));
    };
    let fail = |problem: String| Err(source.at(word.span(), KEY, problem));
    let (kind, needs) = match word.get_ref().as_str() {
        "off" => return Ok(None),
        "mpls" => (Bridging::Mpls, "mplsoudp or mplsogre"),
        "vxlan" => (Bridging::Vxlan, "vxlan"),
        other => return fail(format!("\"{other}\" is not known; allowed are mpls, vxlan and off")),
    };
    let has = |encapsulation: &Encapsulation| Bridging::of(*encapsulation) == kind;
    if !node.encapsulations.iter().any(has) {
        return fail(format!(
            "\"{}\" needs {needs} among node.encapsulations; allowed are kinds that are there, and off",
            word.get_ref()
        ));
    }
    Ok(Some(kind))
}

type Subnets = (Vec<Subnet<Ipv4Addr>>, Vec<Subnet<Ipv6Addr>>);

fn subnets(source: &Source<'_>, raw: &Spanned<Vec<raw::Subnet>>) -> Result<Subnets> {
    if raw.get_ref().is_empty() {
        let problem = "is empty; allowed are tables of prefix and gateway, at least one";
        return Err(source.at(raw.span(), "network.subnets", problem));
    }
    let (mut inet, mut inet6) = (Vec::new(), Vec::new());
    for subnet in raw.get_ref() {
        if subnet.prefix.get_ref().contains(':') {
            let fits = |prefix: &Prefix<Ipv6Addr>| {
                let address = prefix.address();
                (16..=126).contains(&prefix.length())
                    && !address.is_multicast()
                    && !address.is_unicast_link_local()
            };
            let allowed =
                ("IPv6 prefixes such as 2001:db8:1::/64", "from /16 to /126, not link-local");
            inet6.push(self::subnet(source, subnet, &inet6, allowed, fits)?);
        } else {
            let fits = |prefix: &Prefix<Ipv4Addr>| {
                (1..=30).contains(&prefix.length()) && !prefix.address().is_multicast()
            };
            let allowed = ("IPv4 prefixes such as 10.1.0.0/24", "from /1 to /30");
            inet.push(self::subnet(source, subnet, &inet, allowed, fits)?);
        }
    }
    Ok((inet, inet6))
}

fn subnet<A: Address>(
    source: &Source<'_>,
    raw: &raw::Subnet,
    others: &[Subnet<A>],
    (such, range): (&str, &str),
    fits: impl Fn(&Prefix<A>) -> bool,
) -> Result<Subnet<A>> {
    const PREFIX: &str = "network.subnets.prefix";
    const GATEWAY: &str = "network.subnets.gateway";
    let text = raw.prefix.get_ref();
    let fail = |problem: String| Err(source.at(raw.prefix.span(), PREFIX, problem));
    let prefix: Prefix<A> = match text.parse() {
        Ok(prefix) => prefix,
        Err(PrefixError::Length | PrefixError::Address | PrefixError::Mac) => {
            return fail(format!("\"{text}\"; allowed are {such}"));
        }
    };
    if !fits(&prefix) {
        return fail(format!("{prefix}; allowed are unicast prefixes {range}"));
    }
    let given: Option<A> = text.split('/').next().and_then(|address| address.parse().ok());
    if given != Some(prefix.address()) {
        return fail(format!("{text} has host bits; allowed is {prefix}"));
    }
    if let Some(other) =
        others.iter().find(|o| o.prefix.covers(&prefix) || prefix.covers(&o.prefix))
    {
        let other = other.prefix;
        return fail(format!(
            "{prefix} overlaps {other}; allowed are disjoint subnets within a network"
        ));
    }
    let gateway = address(source, GATEWAY, &raw.gateway)?;
    if !host_of(&prefix, gateway) {
        let problem = format!("{gateway} is no host address of {prefix}; allowed are those");
        return Err(source.at(raw.gateway.span(), GATEWAY, problem));
    }
    Ok(Subnet { prefix, gateway })
}
