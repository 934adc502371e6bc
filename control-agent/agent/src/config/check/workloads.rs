//! Workloads.

use std::collections::BTreeSet;
use std::net::IpAddr;

use toml::Spanned;
use wire::Address;

use super::super::error::Source;
use super::super::{FloatingIp, Host, Network, PortKind, SecurityGroup, Subnet, Workload, raw};
use super::values::{address, device, host_of, mac, name, number};
use super::{Result, flows, policies};
use crate::desired::LARGEST_MTU;
use crate::stable;

const ADDRESS: &str = "workload.address";
const ADDRESS6: &str = "workload.address6";

pub(super) fn workloads(
    source: &Source<'_>,
    networks: &[Network],
    groups: &[SecurityGroup],
    raw: Vec<raw::Workload>,
) -> Result<Vec<Workload>> {
    let mut workloads: Vec<Workload> = Vec::new();
    let mut floating = Vec::new();
    let mut places = BTreeSet::new();
    for raw in raw {
        let workload = workload(source, networks, groups, &raw)?;
        let fail = |span, key, problem: String| Err(source.at(span, key, problem));
        if workloads.iter().any(|other| other.name == workload.name) {
            let name = &workload.name;
            let problem = format!("\"{name}\" is given twice; allowed is one workload per name");
            return fail(raw.name.span(), "workload.name", problem);
        }
        let same_network = |other: &&Workload| other.network == workload.network;
        for address in workload.addresses() {
            let has = |other: &&Workload| other.addresses().any(|taken| taken == address);
            if let Some(other) = workloads.iter().filter(same_network).find(has) {
                let (network, name) = (&workload.network, &other.name);
                let problem = format!(
                    "{address} is the address of workload \"{name}\" in network \"{network}\" too; allowed is one not used yet"
                );
                let (key, text) = match address {
                    IpAddr::V4(_) => (ADDRESS, &raw.address),
                    IpAddr::V6(_) => (ADDRESS6, &raw.address6),
                };
                return fail(text.as_ref().map_or(raw.name.span(), Spanned::span), key, problem);
            }
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
        floating.push(raw.floating_ips.iter().map(|it| it.address.span()).collect::<Vec<_>>());
        workloads.push(workload);
    }
    for (workload, raw) in workloads.iter().zip(&floating) {
        for (floating, span) in workload.floating_ips.iter().zip(raw) {
            let taken = |other: &&Workload| {
                let own = other.network == floating.network
                    && other.addresses().any(|address| address == floating.address);
                let same = |it: &FloatingIp| {
                    (&it.network, it.address) == (&floating.network, floating.address)
                };
                own || other.name != workload.name && other.floating_ips.iter().any(same)
            };
            if let Some(other) = workloads.iter().find(taken) {
                let FloatingIp { network, address, .. } = floating;
                let problem = format!(
                    "{address} in network \"{network}\" is workload \"{}\"'s; allowed is one not used yet",
                    other.name
                );
                return Err(source.at(span.clone(), "workload.floating_ips.address", problem));
            }
        }
    }
    workloads.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(workloads)
}

fn workload(
    source: &Source<'_>,
    networks: &[Network],
    groups: &[SecurityGroup],
    raw: &raw::Workload,
) -> Result<Workload> {
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
    let inet = host(source, network, ADDRESS, raw.address.as_ref(), &network.subnets)?;
    let inet6 = host(source, network, ADDRESS6, raw.address6.as_ref(), &network.subnets6)?;
    if inet.is_none() && inet6.is_none() {
        let problem =
            "is missing; allowed are an IPv4 address here, an IPv6 address in address6, and both";
        return Err(source.at(raw.name.span(), ADDRESS, problem));
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
    // RFC 8200 section 5: no IPv6 over links that take less.
    let (smallest, unit) =
        if inet6.is_some() { (1280, "bytes, with IPv6") } else { (576, "bytes") };
    let mtu =
        |value: &Spanned<i64>| number(source, "workload.mtu", value, smallest..=LARGEST_MTU, unit);
    let has_family = |is_inet| if is_inet { inet.is_some() } else { inet6.is_some() };
    let floating_ip = |raw| policies::floating_ip(source, networks, network, has_family, raw);
    let limit = |key, value| number(source, key, value, 1..=u32::MAX, "flows");
    let max_flows = raw.max_flows.as_ref().map(|it| limit("workload.max_flows", it)).transpose()?;
    let max_new_flows =
        raw.max_new_flows.as_ref().map(|it| limit("workload.max_new_flows", it)).transpose()?;
    let excluded = flows::excluded(source, raw)?;
    let fat_flow = |raw| flows::fat_flow(source, raw);
    Ok(Workload {
        groups: members(source, groups, &raw.security_groups)?,
        floating_ips: raw.floating_ips.iter().map(floating_ip).collect::<Result<_>>()?,
        fat_flows: raw.fat_flows.iter().map(fat_flow).collect::<Result<_>>()?,
        fat_flow_exclude: excluded.inet,
        fat_flow_exclude6: excluded.inet6,
        max_flows,
        max_new_flows,
        mtu: raw.mtu.as_ref().map(mtu).transpose()?,
        network: network.name.clone(),
        name,
        namespace,
        interface,
        inet,
        inet6,
        mac,
        port: raw.port.as_ref().map_or(Ok(PortKind::default()), |word| port_kind(source, word))?,
    })
}

fn members(
    source: &Source<'_>,
    groups: &[SecurityGroup],
    raw: &[Spanned<String>],
) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in raw {
        if !groups.iter().any(|group| group.name == *name.get_ref()) {
            let problem = format!("\"{}\" is no security group of this file", name.get_ref());
            return Err(source.at(name.span(), "workload.security_groups", problem));
        }
        if !names.contains(name.get_ref()) {
            names.push(name.get_ref().clone());
        }
    }
    Ok(names)
}

fn port_kind(source: &Source<'_>, word: &Spanned<String>) -> Result<PortKind> {
    match word.get_ref().as_str() {
        "veth" => Ok(PortKind::Veth),
        "tap" => Ok(PortKind::Tap),
        other => {
            let problem = format!("\"{other}\" is not known; allowed are veth and tap");
            Err(source.at(word.span(), "workload.port", problem))
        }
    }
}

/// What a workload has of one family, if it has it.
fn host<A: Address>(
    source: &Source<'_>,
    network: &Network,
    key: &str,
    text: Option<&Spanned<String>>,
    subnets: &[Subnet<A>],
) -> Result<Option<Host<A>>> {
    let Some(text) = text else { return Ok(None) };
    let address: A = address(source, key, text)?;
    let Some(subnet) = subnets.iter().find(|subnet| host_of(&subnet.prefix, address)) else {
        let allowed: Vec<String> = subnets.iter().map(|s| s.prefix.to_string()).collect();
        let problem = format!(
            "{address} is no host address of network \"{}\"; allowed are those of {}",
            network.name,
            if allowed.is_empty() {
                "a subnet of this family: it has none".to_owned()
            } else {
                allowed.join(", ")
            }
        );
        return Err(source.at(text.span(), key, problem));
    };
    if subnet.gateway == address {
        let problem =
            format!("{address} is the subnet's gateway; allowed is any other host address");
        return Err(source.at(text.span(), key, problem));
    }
    Ok(Some(Host { address, subnet: *subnet }))
}
