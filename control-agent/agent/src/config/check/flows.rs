//! What is done with flows: where copies of them go, which are made coarser, how long they may be idle.

use std::net::{Ipv4Addr, Ipv6Addr};

use tables::{Aggregate, AnyPrefix, FatFlowIgnore, FatFlowRule, FlowTimeout};
use wire::{Prefix, Vni, protocol};

use super::super::error::Source;
use super::super::{Mirror, Node, raw};
use super::Result;
use super::policies::{prefix, protocol_of};
use super::values::{any_unicast, name, number};

/// Prefixes of a family that fat flows leave alone (reference dataplane.md section 14.11).
const EXCLUDED: usize = 3;

pub(super) fn mirrors(
    source: &Source<'_>,
    node: &Node,
    raw: Vec<raw::Mirror>,
) -> Result<Vec<Mirror>> {
    const NAME: &str = "mirror.name";
    const ADDRESS: &str = "mirror.address";
    let mut mirrors: Vec<Mirror> = Vec::new();
    for raw in raw {
        let name = name(source, NAME, &raw.name)?;
        if mirrors.iter().any(|other| other.name == name) {
            let problem = format!("\"{name}\" is given twice; allowed is one mirror per name");
            return Err(source.at(raw.name.span(), NAME, problem));
        }
        let address = any_unicast(source, ADDRESS, &raw.address)?;
        let endpoint = node.tunnel_endpoint;
        if address == endpoint || address.is_ipv4() != endpoint.is_ipv4() {
            let problem = format!(
                "{address}; allowed are other addresses of the family of this node's tunnel endpoint {endpoint}"
            );
            return Err(source.at(raw.address.span(), ADDRESS, problem));
        }
        let unit = "a VNI of the analyser's";
        let vni = number(source, "mirror.vni", &raw.vni, 1..=0x00ff_ffff_u32, unit)?;
        let vni = Vni::try_from(vni)
            .map_err(|error| source.at(raw.vni.span(), "mirror.vni", error.to_string()))?;
        mirrors.push(Mirror { name, address, vni });
    }
    mirrors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mirrors)
}

pub(super) fn fat_flow(source: &Source<'_>, raw: &raw::FatFlow) -> Result<FatFlowRule> {
    const PROTOCOL: &str = "workload.fat_flows.protocol";
    const PORT: &str = "workload.fat_flows.port";
    let protocol = protocol_of(source, PROTOCOL, Some(&raw.protocol))?.ok_or_else(|| {
        source.at(raw.protocol.span(), PROTOCOL, "\"any\"; allowed is one protocol")
    })?;
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let port = match &raw.port {
        Some(port) if !has_ports => {
            let problem =
                "has no meaning: the protocol has no ports; allowed with tcp, udp and sctp";
            return Err(source.at(port.span(), PORT, problem));
        }
        Some(port) => number(source, PORT, port, 0..=u16::MAX, "a port; 0 is any")?,
        None => 0,
    };
    let ignore = match raw.ignore.as_ref().map(|word| (word.get_ref().as_str(), word)) {
        None => None,
        Some(("source", _)) => Some(FatFlowIgnore::Source),
        Some(("destination", _)) => Some(FatFlowIgnore::Destination),
        Some((other, word)) => {
            let problem = format!("\"{other}\" is not known; allowed are source and destination");
            return Err(source.at(word.span(), "workload.fat_flows.ignore", problem));
        }
    };
    let end = |key, raw: &Option<raw::Aggregate>| {
        raw.as_ref().map(|raw| aggregate(source, key, raw)).transpose()
    };
    // A protocol without ports is written in their place.
    let (protocol, port) = if has_ports { (protocol, port) } else { (0, u16::from(protocol)) };
    Ok(FatFlowRule {
        protocol,
        port,
        ignore,
        source: end("workload.fat_flows.source", &raw.source)?,
        destination: end("workload.fat_flows.destination", &raw.destination)?,
    })
}

fn aggregate(source: &Source<'_>, key: &str, raw: &raw::Aggregate) -> Result<Aggregate> {
    let key = |field: &str| format!("{key}.{field}");
    let (address, length, bits) = match prefix(source, &key("prefix"), &raw.prefix)? {
        AnyPrefix::V4(prefix) => (prefix.address().into(), prefix.length(), 32),
        AnyPrefix::V6(prefix) => (prefix.address().into(), prefix.length(), 128),
    };
    let unit = "bits of an address that its flows keep";
    let aggregate_length = number(source, &key("length"), &raw.length, length..=bits, unit)?;
    Ok(Aggregate { prefix: address, length, aggregate_length })
}

/// The prefixes that a workload's fat flows leave alone, at most three of a family.
pub(super) fn excluded(source: &Source<'_>, raw: &raw::Workload) -> Result<Excluded> {
    const KEY: &str = "workload.fat_flow_exclude";
    let mut excluded = Excluded::default();
    for text in &raw.fat_flow_exclude {
        let count = match prefix(source, KEY, text)? {
            AnyPrefix::V4(prefix) => {
                excluded.inet.push(prefix);
                excluded.inet.len()
            }
            AnyPrefix::V6(prefix) => {
                excluded.inet6.push(prefix);
                excluded.inet6.len()
            }
        };
        if count > EXCLUDED {
            let problem = format!(
                "\"{}\" is one too many; allowed are {EXCLUDED} prefixes of a family",
                text.get_ref()
            );
            return Err(source.at(text.span(), KEY, problem));
        }
    }
    Ok(excluded)
}

/// What fat flows leave alone.
#[derive(Default)]
pub(super) struct Excluded {
    pub(super) inet: Vec<Prefix<Ipv4Addr>>,
    pub(super) inet6: Vec<Prefix<Ipv6Addr>>,
}

pub(super) fn timeouts(
    source: &Source<'_>,
    raw: Vec<raw::FlowTimeout>,
) -> Result<Vec<FlowTimeout>> {
    const PORT: &str = "flow_timeout.port";
    let mut timeouts: Vec<FlowTimeout> = Vec::new();
    for raw in raw {
        const KEY: &str = "flow_timeout.protocol";
        let protocol = protocol_of(source, KEY, Some(&raw.protocol))?;
        let protocol = protocol.ok_or_else(|| {
            source.at(raw.protocol.span(), KEY, "\"any\"; allowed is one protocol")
        })?;
        let port = match &raw.port {
            Some(port) => number(source, PORT, port, 0..=u16::MAX, "a port; 0 is any")?,
            None => 0,
        };
        let allowed = 1..=86_400;
        let seconds = number(source, "flow_timeout.seconds", &raw.seconds, allowed, "seconds")?;
        if timeouts.iter().any(|other| (other.protocol, other.port) == (protocol, port)) {
            let problem = "is given twice for this protocol and port; allowed is one timeout";
            return Err(source.at(raw.protocol.span(), KEY, problem));
        }
        timeouts.push(FlowTimeout { protocol, port, seconds });
    }
    timeouts.sort_by_key(|timeout| (timeout.protocol, timeout.port));
    Ok(timeouts)
}
