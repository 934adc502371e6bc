//! Raw to [`Config`]: each value by itself, then what must hold between them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use proto::bgp::{Dialing, Encapsulation, RouteTarget};
use toml::Spanned;
use wire::{Mac, Prefix, PrefixError, Vni};

use super::error::{ConfigError, Source};
use super::{Bgp, Config, Neighbor, Network, Node, Subnet, Workload, raw};
use crate::desired::LARGEST_MTU;
use crate::stable;

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn check(source: &Source<'_>, file: raw::File) -> Result<Config> {
    let node = node(source, file.node)?;
    let bgp = file.bgp.map(|bgp| self::bgp(source, &node, bgp)).transpose()?;
    let networks = networks(source, bgp.as_ref().map(|bgp| bgp.as_number), file.network)?;
    let workloads = workloads(source, &networks, file.workload)?;
    Ok(Config { node, bgp, networks, workloads })
}

fn node(source: &Source<'_>, raw: raw::Node) -> Result<Node> {
    let router_id = unicast(source, "node.router_id", &raw.router_id)?;
    let tunnel_endpoint = match &raw.tunnel_endpoint {
        Some(text) => unicast(source, "node.tunnel_endpoint", text)?,
        None => router_id,
    };
    let router_mac =
        raw.router_mac.as_ref().map(|text| mac(source, "node.router_mac", text)).transpose()?;
    let path = |key, value: Option<Spanned<String>>, default: PathBuf| match value {
        Some(text) if text.get_ref().is_empty() => {
            Err(source.at(text.span(), key, "is empty; allowed is the path of a directory"))
        }
        Some(text) if text.get_ref().contains('\0') => {
            Err(source.at(text.span(), key, "has a NUL in it; allowed is the path of a directory"))
        }
        Some(text) => Ok(PathBuf::from(text.into_inner())),
        None => Ok(default),
    };
    Ok(Node {
        name: name(source, "node.name", &raw.name)?,
        router_id,
        tunnel_endpoint,
        uplink: device(source, "node.uplink", &raw.uplink)?,
        router_mac,
        encapsulations: encapsulations(source, raw.encapsulations.as_ref())?,
        sock_dir: path("node.sock_dir", raw.sock_dir, api::default_directory())?,
        state_dir: path("node.state_dir", raw.state_dir, PathBuf::from("/var/lib/vrouter"))?,
    })
}

fn encapsulations(
    source: &Source<'_>,
    raw: Option<&Spanned<Vec<Spanned<String>>>>,
) -> Result<Vec<Encapsulation>> {
    const KEY: &str = "node.encapsulations";
    const ALLOWED: &str = "allowed are mplsoudp, mplsogre and vxlan, each once";
    let all = [Encapsulation::MplsOverUdp, Encapsulation::MplsOverGre, Encapsulation::Vxlan];
    let Some(raw) = raw else { return Ok(all.to_vec()) };
    let mut list = Vec::new();
    for word in raw.get_ref() {
        let known = all.into_iter().find(|e| e.to_string() == *word.get_ref());
        let fresh = known.filter(|e| !list.contains(e)).ok_or_else(|| {
            let what = if known.is_some() { "is given twice" } else { "is not known" };
            source.at(word.span(), KEY, format!("\"{}\" {what}; {ALLOWED}", word.get_ref()))
        })?;
        list.push(fresh);
    }
    if list.is_empty() {
        return Err(source.at(raw.span(), KEY, format!("is empty; {ALLOWED}, at least one")));
    }
    Ok(list)
}

fn bgp(source: &Source<'_>, node: &Node, raw: raw::Bgp) -> Result<Bgp> {
    let as_number = as_number(source, "bgp.as", &raw.as_number)?;
    let seconds = |key, value: Option<&Spanned<i64>>, default| match value {
        Some(value) => number(source, key, value, 1..=4095, "seconds"),
        None => Ok(default),
    };
    let port = port(source, "bgp.port", raw.port.as_ref(), 179)?;
    let hold_time = hold_time(source, "bgp.hold_time", raw.hold_time.as_ref(), 90)?;
    let restart_time = seconds("bgp.restart_time", raw.restart_time.as_ref(), 120)?;
    let convergence_time = seconds("bgp.convergence_time", raw.convergence_time.as_ref(), 120)?;
    let mut neighbors: Vec<Neighbor> = Vec::new();
    for raw in raw.neighbor {
        let neighbor = neighbor(source, node, raw, as_number, hold_time)?;
        neighbors.push(neighbor.0);
        let (address, span) = (neighbors[neighbors.len() - 1].address, neighbor.1);
        if neighbors.iter().filter(|other| other.address == address).count() > 1 {
            let problem = format!("{address} is given twice; allowed is one entry per neighbour");
            return Err(source.at(span, "bgp.neighbor.address", problem));
        }
    }
    neighbors.sort_by_key(|neighbor| neighbor.address);
    Ok(Bgp { as_number, port, restart_time, convergence_time, neighbors })
}

fn neighbor(
    source: &Source<'_>,
    node: &Node,
    raw: raw::Neighbor,
    local_as: u32,
    hold: u16,
) -> Result<(Neighbor, Range<usize>)> {
    const KEY: &str = "bgp.neighbor.address";
    let address = unicast(source, KEY, &raw.address)?;
    if address == node.router_id {
        let problem = format!("{address} is this node's own router_id; allowed is another node's");
        return Err(source.at(raw.address.span(), KEY, problem));
    }
    let as_number = match &raw.as_number {
        Some(value) => as_number(source, "bgp.neighbor.as", value)?,
        None => local_as,
    };
    let neighbor = Neighbor {
        address: IpAddr::V4(address),
        as_number,
        port: port(source, "bgp.neighbor.port", raw.port.as_ref(), 179)?,
        dialing: if raw.passive { Dialing::Passive } else { Dialing::Active },
        hold_time: hold_time(source, "bgp.neighbor.hold_time", raw.hold_time.as_ref(), hold)?,
    };
    Ok((neighbor, raw.address.span()))
}

fn networks(
    source: &Source<'_>,
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
        networks.push(Network {
            name,
            vni,
            subnets: subnets(source, &raw.subnets)?,
            import,
            export,
        });
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

/// What other speakers derive too (reference control-plane.md section 7.4).
fn default_target(local_as: Option<u32>, vni: Vni) -> Option<RouteTarget> {
    format!("{}:{vni}", local_as?).parse().ok()
}

fn subnets(source: &Source<'_>, raw: &Spanned<Vec<raw::Subnet>>) -> Result<Vec<Subnet>> {
    const PREFIX: &str = "network.subnets.prefix";
    const GATEWAY: &str = "network.subnets.gateway";
    if raw.get_ref().is_empty() {
        let problem = "is empty; allowed are tables of prefix and gateway, at least one";
        return Err(source.at(raw.span(), "network.subnets", problem));
    }
    let mut list: Vec<Subnet> = Vec::new();
    for subnet in raw.get_ref() {
        let text = subnet.prefix.get_ref();
        let fail = |problem: String| Err(source.at(subnet.prefix.span(), PREFIX, problem));
        let prefix: Prefix<Ipv4Addr> = match text.parse() {
            Ok(prefix) => prefix,
            Err(PrefixError::Length | PrefixError::Address | PrefixError::Mac) => {
                return fail(format!("\"{text}\"; allowed are IPv4 prefixes such as 10.1.0.0/24"));
            }
        };
        if !(1..=30).contains(&prefix.length()) || prefix.address().is_multicast() {
            return fail(format!("{prefix}; allowed are unicast prefixes from /1 to /30"));
        }
        if prefix.to_string() != *text {
            return fail(format!("{text} has host bits; allowed is {prefix}"));
        }
        if let Some(other) =
            list.iter().find(|o| o.prefix.covers(&prefix) || prefix.covers(&o.prefix))
        {
            let other = other.prefix;
            return fail(format!(
                "{prefix} overlaps {other}; allowed are disjoint subnets within a network"
            ));
        }
        let gateway = address(source, GATEWAY, &subnet.gateway)?;
        if !host_of(&prefix, gateway) {
            let problem = format!("{gateway} is no host address of {prefix}; allowed are those");
            return Err(source.at(subnet.gateway.span(), GATEWAY, problem));
        }
        list.push(Subnet { prefix, gateway });
    }
    Ok(list)
}

fn workloads(
    source: &Source<'_>,
    networks: &[Network],
    raw: Vec<raw::Workload>,
) -> Result<Vec<Workload>> {
    let mut workloads: Vec<Workload> = Vec::new();
    let mut places = BTreeSet::new();
    for raw in raw {
        let workload = workload(source, networks, &raw)?;
        let fail = |span, key, problem: String| Err(source.at(span, key, problem));
        if workloads.iter().any(|other| other.name == workload.name) {
            let name = &workload.name;
            let problem = format!("\"{name}\" is given twice; allowed is one workload per name");
            return fail(raw.name.span(), "workload.name", problem);
        }
        let same_network = |other: &&Workload| other.network == workload.network;
        if let Some(other) =
            workloads.iter().filter(same_network).find(|o| o.address == workload.address)
        {
            let (address, network, name) = (workload.address, &workload.network, &other.name);
            let problem = format!(
                "{address} is the address of workload \"{name}\" in network \"{network}\" too; allowed is one not used yet"
            );
            return fail(raw.address.span(), "workload.address", problem);
        }
        if let Some(other) = workloads.iter().filter(same_network).find(|o| o.mac == workload.mac) {
            let problem = format!(
                "{} is the MAC of workload \"{}\" too; allowed is one not used in the network yet",
                workload.mac, other.name
            );
            let span = raw.mac.as_ref().map_or(raw.name.span(), Spanned::span);
            return fail(span, "workload.mac", problem);
        }
        if !places.insert((workload.namespace.clone(), workload.interface.clone())) {
            let problem = format!(
                "\"{}\" in namespace \"{}\" is taken by another workload; allowed is a free name",
                workload.interface, workload.namespace
            );
            let span = raw.interface.as_ref().map_or(raw.name.span(), Spanned::span);
            return fail(span, "workload.interface", problem);
        }
        workloads.push(workload);
    }
    workloads.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workloads)
}

fn workload(source: &Source<'_>, networks: &[Network], raw: &raw::Workload) -> Result<Workload> {
    const ADDRESS: &str = "workload.address";
    let name = name(source, "workload.name", &raw.name)?;
    let Some(network) = networks.iter().find(|network| network.name == *raw.network.get_ref())
    else {
        let known: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
        let problem = format!(
            "\"{}\" is no network of this file; allowed are: {}",
            raw.network.get_ref(),
            if known.is_empty() { "none is defined".to_owned() } else { known.join(", ") }
        );
        return Err(source.at(raw.network.span(), "workload.network", problem));
    };
    let address = address(source, ADDRESS, &raw.address)?;
    let Some(subnet) = network.subnets.iter().find(|subnet| host_of(&subnet.prefix, address))
    else {
        let allowed: Vec<String> = network.subnets.iter().map(|s| s.prefix.to_string()).collect();
        let problem = format!(
            "{address} is no host address of network \"{}\"; allowed are those of {}",
            network.name,
            allowed.join(", ")
        );
        return Err(source.at(raw.address.span(), ADDRESS, problem));
    };
    if subnet.gateway == address {
        let problem =
            format!("{address} is the subnet's gateway; allowed is any other host address");
        return Err(source.at(raw.address.span(), ADDRESS, problem));
    }
    let mac = match &raw.mac {
        Some(text) => mac(source, "workload.mac", text)?,
        None => stable::mac(&network.name, &name),
    };
    let namespace = match &raw.namespace {
        Some(text) => self::name(source, "workload.namespace", text)?,
        None => name.clone(),
    };
    let interface = match &raw.interface {
        Some(text) => device(source, "workload.interface", text)?,
        None => "eth0".to_owned(),
    };
    let mtu =
        |value: &Spanned<i64>| number(source, "workload.mtu", value, 576..=LARGEST_MTU, "bytes");
    Ok(Workload {
        mtu: raw.mtu.as_ref().map(mtu).transpose()?,
        network: network.name.clone(),
        subnet: *subnet,
        name,
        namespace,
        interface,
        address,
        mac,
    })
}

/// Inside, and neither the network's address nor its broadcast.
fn host_of(prefix: &Prefix<Ipv4Addr>, address: Ipv4Addr) -> bool {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix.length())).unwrap_or(0);
    let host = address.to_bits() & host_bits;
    prefix.contains(address) && host != 0 && host != host_bits
}

// ------------------------------------------------------------------------------------------------ single values

fn number<T: TryFrom<i64> + Copy + PartialOrd + std::fmt::Display>(
    source: &Source<'_>,
    key: &str,
    value: &Spanned<i64>,
    allowed: RangeInclusive<T>,
    unit: &str,
) -> Result<T> {
    T::try_from(*value.get_ref()).ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (low, high) = (allowed.start(), allowed.end());
        let problem = format!("{}; allowed are {low} to {high} ({unit})", value.get_ref());
        source.at(value.span(), key, problem)
    })
}

fn as_number(source: &Source<'_>, key: &str, value: &Spanned<i64>) -> Result<u32> {
    number(source, key, value, 1..=u32::MAX - 1, "an AS number")
}

fn port(source: &Source<'_>, key: &str, value: Option<&Spanned<i64>>, default: u16) -> Result<u16> {
    value.map_or(Ok(default), |value| number(source, key, value, 1..=u16::MAX, "a TCP port"))
}

fn hold_time(
    source: &Source<'_>,
    key: &str,
    value: Option<&Spanned<i64>>,
    default: u16,
) -> Result<u16> {
    match value {
        None => Ok(default),
        Some(value) if *value.get_ref() == 0 => Ok(0),
        Some(value) => number(source, key, value, 3..=u16::MAX, "seconds; 0 switches it off"),
    }
}

fn name(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = text.get_ref();
    if !(1..=64).contains(&name.len())
        || !name.chars().all(fits)
        || matches!(name.as_str(), "." | "..")
    {
        let problem = format!(
            "\"{name}\"; allowed are 1 to 64 letters, digits, dots, dashes and underscores"
        );
        return Err(source.at(text.span(), key, problem));
    }
    Ok(name.clone())
}

fn device(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<String> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    let name = text.get_ref();
    if !(1..=15).contains(&name.len())
        || !name.chars().all(fits)
        || matches!(name.as_str(), "lo" | "." | "..")
    {
        let problem = format!(
            "\"{name}\"; allowed are device names of 1 to 15 characters without blank, /, : and %, but lo"
        );
        return Err(source.at(text.span(), key, problem));
    }
    Ok(name.clone())
}

fn address(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<Ipv4Addr> {
    text.get_ref().parse().map_err(|_| {
        let problem =
            format!("\"{}\"; allowed are IPv4 addresses such as 10.1.0.2", text.get_ref());
        source.at(text.span(), key, problem)
    })
}

fn unicast(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<Ipv4Addr> {
    let address = address(source, key, text)?;
    if address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_loopback()
    {
        let problem = format!("{address}; allowed are unicast addresses other than loopback");
        return Err(source.at(text.span(), key, problem));
    }
    Ok(address)
}

fn mac(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<Mac> {
    let parsed = text.get_ref().parse::<Mac>().ok();
    parsed.filter(|mac| !mac.is_group() && !mac.is_zero() && *mac != Mac::GATEWAY).ok_or_else(
        || {
            let problem = format!(
                "\"{}\"; allowed are unicast MACs such as 02:00:00:00:00:01, but the gateway's {}",
                text.get_ref(),
                Mac::GATEWAY
            );
            source.at(text.span(), key, problem)
        },
    )
}

fn targets(source: &Source<'_>, key: &str, list: &[Spanned<String>]) -> Result<Vec<RouteTarget>> {
    list.iter()
        .map(|text| {
            text.get_ref().parse().map_err(|error| {
                source.at(text.span(), key, format!("\"{}\" is {error}", text.get_ref()))
            })
        })
        .collect()
}
