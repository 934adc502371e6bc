//! Raw to [`Config`]: each value by itself, then what must hold between them.

mod flows;
mod networks;
mod policies;
mod values;
mod workloads;

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use proto::bgp::{Dialing, Encapsulation};
use toml::Spanned;

use super::error::{ConfigError, Source};
use super::{Bgp, Config, Neighbor, Node, raw};

use values::{any_unicast, as_number, device, hold_time, mac, name, number, port, unicast};

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn check(source: &Source<'_>, file: raw::File) -> Result<Config> {
    let node = node(source, file.node)?;
    let bgp = file.bgp.map(|bgp| self::bgp(source, &node, bgp)).transpose()?;
    let local_as = bgp.as_ref().map(|bgp| bgp.as_number);
    let named: Vec<_> = file
        .network
        .iter()
        .map(|network| (network.name.get_ref().clone(), network.policies.clone()))
        .collect();
    let mut networks = networks::networks(source, &node, local_as, file.network)?;
    let mirrors = flows::mirrors(source, &node, file.mirror)?;
    let policies = policies::policies(source, &networks, &mirrors, file.policy)?;
    policies::join(source, &mut networks, &policies, &named)?;
    let groups = policies::groups(source, file.security_group)?;
    let timeouts = flows::timeouts(source, file.flow_timeout)?;
    let workloads = workloads::workloads(source, &networks, &groups, file.workload)?;
    let analytics = file.analytics.map(|raw| listen(source, &raw.listen)).transpose()?;
    Ok(Config { node, bgp, analytics, networks, workloads, policies, groups, timeouts, mirrors })
}

fn listen(source: &Source<'_>, text: &Spanned<String>) -> Result<SocketAddr> {
    let word = text.get_ref();
    word.parse().ok().filter(|address: &SocketAddr| address.port() != 0).ok_or_else(|| {
        let allowed = "allowed are an address and a port such as 127.0.0.1:8081 and [::1]:8081";
        source.at(text.span(), "analytics.listen", format!("\"{word}\"; {allowed}"))
    })
}

fn node(source: &Source<'_>, raw: raw::Node) -> Result<Node> {
    let router_id = unicast(source, "node.router_id", &raw.router_id)?;
    let tunnel_endpoint = match &raw.tunnel_endpoint {
        Some(text) => any_unicast(source, "node.tunnel_endpoint", text)?,
        None => IpAddr::V4(router_id),
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
    let address = any_unicast(source, KEY, &raw.address)?;
    let fail = |problem: String| Err(source.at(raw.address.span(), KEY, problem));
    if address == node.router_id {
        return fail(format!("{address} is this node's own router_id; allowed is another node's"));
    }
    if address == node.tunnel_endpoint {
        return fail(format!(
            "{address} is this node's own tunnel_endpoint; allowed is another node's"
        ));
    }
    if address.is_ipv6() && node.tunnel_endpoint.is_ipv4() {
        return fail(format!(
            "{address} is IPv6 and node.tunnel_endpoint is not; allowed are IPv4 addresses, or give an IPv6 endpoint"
        ));
    }
    let as_number = match &raw.as_number {
        Some(value) => as_number(source, "bgp.neighbor.as", value)?,
        None => local_as,
    };
    let neighbor = Neighbor {
        address,
        as_number,
        port: port(source, "bgp.neighbor.port", raw.port.as_ref(), 179)?,
        dialing: if raw.passive { Dialing::Passive } else { Dialing::Active },
        hold_time: hold_time(source, "bgp.neighbor.hold_time", raw.hold_time.as_ref(), hold)?,
    };
    Ok((neighbor, raw.address.span()))
}
