//! Policies, security groups, floating IPs, and which networks speak with each other.

use std::net::IpAddr;

use tables::{AnyPrefix, FloatingDirection, PortMapping, Ports, RuleFamily};
use toml::Spanned;
use wire::protocol;

use super::super::error::Source;
use super::super::{
    FloatingIp, GroupRule, Mirror, Network, Policy, PolicyEnd, PolicyRule, Remote, SecurityGroup,
    raw,
};
use super::Result;
use super::values::{address, host_of, name, number};

pub(super) fn policies(
    source: &Source<'_>,
    networks: &[Network],
    mirrors: &[Mirror],
    raw: Vec<raw::Policy>,
) -> Result<Vec<Policy>> {
    let mut policies: Vec<Policy> = Vec::new();
    for raw in raw {
        let name = name(source, "policy.name", &raw.name)?;
        if policies.iter().any(|other| other.name == name) {
            let problem = format!("\"{name}\" is given twice; allowed is one policy per name");
            return Err(source.at(raw.name.span(), "policy.name", problem));
        }
        let rules = raw.rules.iter().map(|rule| policy_rule(source, networks, mirrors, rule));
        policies.push(Policy { name, rules: rules.collect::<Result<_>>()? });
    }
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(policies)
}

fn policy_rule(
    source: &Source<'_>,
    networks: &[Network],
    mirrors: &[Mirror],
    raw: &raw::PolicyRule,
) -> Result<PolicyRule> {
    let pass = match raw.action.get_ref().as_str() {
        "pass" => true,
        "deny" => false,
        other => {
            let problem = format!("\"{other}\" is not known; allowed are pass and deny");
            return Err(source.at(raw.action.span(), "policy.rules.action", problem));
        }
    };
    let both_ways = match raw.direction.as_ref().map(|word| (word.get_ref().as_str(), word)) {
        None | Some(("<>", _)) => true,
        Some((">", _)) => false,
        Some((other, word)) => {
            let problem = format!("\"{other}\" is not known; allowed are \"<>\" and \">\"");
            return Err(source.at(word.span(), "policy.rules.direction", problem));
        }
    };
    let end = |key, text: Option<&Spanned<String>>| policy_end(source, networks, key, text);
    Ok(PolicyRule {
        pass,
        protocol: protocol_of(source, "policy.rules.protocol", raw.protocol.as_ref())?,
        source: end("policy.rules.source", raw.source.as_ref())?,
        destination: end("policy.rules.destination", raw.destination.as_ref())?,
        ports: ports(source, "policy.rules.ports", raw.ports.as_ref())?,
        both_ways,
        log: raw.log,
        mirror: raw.mirror.as_ref().map(|text| mirror(source, mirrors, text)).transpose()?,
    })
}

fn mirror(source: &Source<'_>, mirrors: &[Mirror], text: &Spanned<String>) -> Result<String> {
    let word = text.get_ref();
    if mirrors.iter().any(|mirror| mirror.name == *word) {
        return Ok(word.clone());
    }
    let problem = format!(
        "\"{word}\" is no mirror of this file; allowed are: {}",
        list(mirrors.iter().map(|mirror| mirror.name.as_str()))
    );
    Err(source.at(text.span(), "policy.rules.mirror", problem))
}

fn policy_end(
    source: &Source<'_>,
    networks: &[Network],
    key: &str,
    text: Option<&Spanned<String>>,
) -> Result<PolicyEnd> {
    let Some(text) = text else { return Ok(PolicyEnd::Any) };
    let word = text.get_ref().as_str();
    if word == "any" {
        return Ok(PolicyEnd::Any);
    }
    if word.contains('/') {
        return prefix(source, key, text).map(PolicyEnd::Prefix);
    }
    if networks.iter().any(|network| network.name == word) {
        return Ok(PolicyEnd::Network(word.to_owned()));
    }
    let problem = format!(
        "\"{word}\" is no network of this file; allowed are: any, a prefix, {}",
        list(networks.iter().map(|network| network.name.as_str()))
    );
    Err(source.at(text.span(), key, problem))
}

pub(super) fn groups(
    source: &Source<'_>,
    raw: Vec<raw::SecurityGroup>,
) -> Result<Vec<SecurityGroup>> {
    const NAME: &str = "security_group.name";
    const ID: &str = "security_group.id";
    let mut names = Vec::new();
    for raw in &raw {
        let name = name(source, NAME, &raw.name)?;
        if names.contains(&name) {
            let problem = format!("\"{name}\" is given twice; allowed is one group per name");
            return Err(source.at(raw.name.span(), NAME, problem));
        }
        names.push(name);
    }
    let mut groups: Vec<SecurityGroup> = Vec::new();
    for (raw, name) in raw.iter().zip(&names) {
        let id = number(source, ID, &raw.id, 1..=u32::MAX, "a number the same on all nodes")?;
        if let Some(other) = groups.iter().find(|other| other.id == id) {
            let problem = format!(
                "{id} is the id of group \"{}\" too; allowed is one not used yet",
                other.name
            );
            return Err(source.at(raw.id.span(), ID, problem));
        }
        let rules = |rules: &[raw::GroupRule], key: &str| -> Result<Vec<GroupRule>> {
            rules.iter().map(|rule| group_rule(source, &names, key, rule)).collect()
        };
        // Nothing said about what goes out: everything may, as in OpenContrail's default group.
        let open = GroupRule {
            family: RuleFamily::Any,
            protocol: None,
            ports: Ports::ANY,
            remote: Remote::Any,
        };
        groups.push(SecurityGroup {
            name: name.clone(),
            id,
            ingress: rules(&raw.ingress, "security_group.ingress")?,
            egress: match &raw.egress {
                Some(given) => rules(given, "security_group.egress")?,
                None => vec![open],
            },
        });
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

fn group_rule(
    source: &Source<'_>,
    names: &[String],
    key: &str,
    raw: &raw::GroupRule,
) -> Result<GroupRule> {
    let family = match raw.ethertype.as_ref().map(|word| (word.get_ref().as_str(), word)) {
        None => RuleFamily::Any,
        Some(("ipv4", _)) => RuleFamily::Inet,
        Some(("ipv6", _)) => RuleFamily::Inet6,
        Some((other, word)) => {
            let problem = format!("\"{other}\" is not known; allowed are ipv4 and ipv6");
            return Err(source.at(word.span(), &format!("{key}.ethertype"), problem));
        }
    };
    let remote = match &raw.remote {
        None => Remote::Any,
        Some(text) => remote(source, names, &format!("{key}.remote"), text)?,
    };
    Ok(GroupRule {
        family,
        protocol: protocol_of(source, &format!("{key}.protocol"), raw.protocol.as_ref())?,
        ports: ports(source, &format!("{key}.ports"), raw.ports.as_ref())?,
        remote,
    })
}

fn remote(
    source: &Source<'_>,
    names: &[String],
    key: &str,
    text: &Spanned<String>,
) -> Result<Remote> {
    let word = text.get_ref().as_str();
    match word {
        "any" => Ok(Remote::Any),
        _ if word.contains('/') => prefix(source, key, text).map(Remote::Prefix),
        _ if names.iter().any(|name| name == word) => Ok(Remote::Group(word.to_owned())),
        _ => {
            let problem = format!(
                "\"{word}\" is no security group of this file; allowed are: any, a prefix, {}",
                list(names.iter().map(String::as_str))
            );
            Err(source.at(text.span(), key, problem))
        }
    }
}

/// The policies a network names must exist. Networks that a policy of both lets speak with each other share routes, which
/// they cannot where their addresses overlap.
pub(super) fn join(
    source: &Source<'_>,
    networks: &mut [Network],
    policies: &[Policy],
    named: &[(String, Vec<Spanned<String>>)],
) -> Result<()> {
    const KEY: &str = "network.policies";
    for (network, names) in named {
        for policy in names {
            if policies.iter().any(|known| known.name == *policy.get_ref()) {
                continue;
            }
            let problem = format!(
                "\"{}\" of network \"{network}\" is no policy of this file; allowed are: {}",
                policy.get_ref(),
                list(policies.iter().map(|policy| policy.name.as_str()))
            );
            return Err(source.at(policy.span(), KEY, problem));
        }
    }
    for at in 0..networks.len() {
        let mut joined = Vec::new();
        for other in networks.iter() {
            let Some(own) = networks.get(at).filter(|own| own.name != other.name) else { continue };
            let Some(policy) = shared(own, other, policies) else { continue };
            if let Some((a, b)) = overlap(own, other) {
                let span = named
                    .iter()
                    .find(|(network, _)| *network == own.name)
                    .and_then(|(_, names)| names.iter().find(|name| *name.get_ref() == *policy))
                    .map_or(0..0, Spanned::span);
                let problem = format!(
                    "\"{policy}\" would join networks \"{}\" and \"{}\", whose subnets {a} and {b} overlap; allowed are \
                     networks with addresses of their own",
                    own.name, other.name
                );
                return Err(source.at(span, KEY, problem));
            }
            joined.push(other.name.clone());
        }
        if let Some(network) = networks.get_mut(at) {
            network.joined = joined;
        }
    }
    Ok(())
}

/// A policy of both networks with a rule that lets them speak.
fn shared<'p>(own: &Network, other: &Network, policies: &'p [Policy]) -> Option<&'p String> {
    let attached = |policy: &&Policy| {
        own.policies.contains(&policy.name) && other.policies.contains(&policy.name)
    };
    let names = |end: &PolicyEnd, network: &Network| matches!(end, PolicyEnd::Network(name) if *name == network.name);
    let lets_speak = |rule: &PolicyRule| {
        rule.pass
            && (names(&rule.source, own) && names(&rule.destination, other)
                || names(&rule.source, other) && names(&rule.destination, own))
    };
    let mut both = policies.iter().filter(attached);
    both.find(|policy| policy.rules.iter().any(lets_speak)).map(|policy| &policy.name)
}

fn overlap(own: &Network, other: &Network) -> Option<(String, String)> {
    let inet =
        own.subnets.iter().flat_map(|a| other.subnets.iter().map(move |b| (a.prefix, b.prefix)));
    let mut inet = inet.filter(|(a, b)| a.covers(b) || b.covers(a));
    if let Some((a, b)) = inet.next() {
        return Some((a.to_string(), b.to_string()));
    }
    let inet6 =
        own.subnets6.iter().flat_map(|a| other.subnets6.iter().map(move |b| (a.prefix, b.prefix)));
    let mut inet6 = inet6.filter(|(a, b)| a.covers(b) || b.covers(a));
    inet6.next().map(|(a, b)| (a.to_string(), b.to_string()))
}

pub(super) fn floating_ip(
    source: &Source<'_>,
    networks: &[Network],
    own: &Network,
    has_family: impl Fn(bool) -> bool,
    raw: &raw::FloatingIp,
) -> Result<FloatingIp> {
    const NETWORK: &str = "workload.floating_ips.network";
    const ADDRESS: &str = "workload.floating_ips.address";
    let wanted = raw.network.get_ref();
    let network =
        networks.iter().find(|network| network.name == *wanted && network.name != own.name);
    let Some(network) = network else {
        let problem = format!("\"{wanted}\"; allowed are the names of other networks of this file");
        return Err(source.at(raw.network.span(), NETWORK, problem));
    };
    let is_inet = !raw.address.get_ref().contains(':');
    let address = match is_inet {
        true => IpAddr::V4(address(source, ADDRESS, &raw.address)?),
        false => IpAddr::V6(address(source, ADDRESS, &raw.address)?),
    };
    let is_host = match address {
        IpAddr::V4(address) => network
            .subnets
            .iter()
            .any(|subnet| host_of(&subnet.prefix, address) && subnet.gateway != address),
        IpAddr::V6(address) => network
            .subnets6
            .iter()
            .any(|subnet| host_of(&subnet.prefix, address) && subnet.gateway != address),
    };
    if !is_host {
        let problem = format!(
            "{address} is no host address of network \"{}\"; allowed are those",
            network.name
        );
        return Err(source.at(raw.address.span(), ADDRESS, problem));
    }
    if !has_family(is_inet) {
        let problem = format!("{address} is of a family the workload has no address of");
        return Err(source.at(raw.address.span(), ADDRESS, problem));
    }
    let direction = match raw.direction.as_ref().map(|word| (word.get_ref().as_str(), word)) {
        None | Some(("both", _)) => FloatingDirection::Both,
        Some(("ingress", _)) => FloatingDirection::Ingress,
        Some(("egress", _)) => FloatingDirection::Egress,
        Some((other, word)) => {
            let problem = format!("\"{other}\" is not known; allowed are both, ingress and egress");
            return Err(source.at(word.span(), "workload.floating_ips.direction", problem));
        }
    };
    let ports = raw.ports.iter().map(|raw| mapping(source, raw)).collect::<Result<_>>()?;
    Ok(FloatingIp { network: network.name.clone(), address, direction, ports })
}

fn mapping(source: &Source<'_>, raw: &raw::PortMapping) -> Result<PortMapping> {
    const KEY: &str = "workload.floating_ips.ports";
    let protocol = match raw.protocol.get_ref().as_str() {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        other => {
            let problem = format!("\"{other}\" is not known; allowed are tcp and udp");
            return Err(source.at(raw.protocol.span(), KEY, problem));
        }
    };
    let port = |value| number(source, KEY, value, 1..=u16::MAX, "a port");
    Ok(PortMapping { protocol, floating: port(&raw.floating)?, fixed: port(&raw.fixed)? })
}

pub(super) fn protocol_of(
    source: &Source<'_>,
    key: &str,
    text: Option<&Spanned<String>>,
) -> Result<Option<u8>> {
    let Some(text) = text else { return Ok(None) };
    match text.get_ref().as_str() {
        "any" => Ok(None),
        "tcp" => Ok(Some(protocol::TCP)),
        "udp" => Ok(Some(protocol::UDP)),
        "icmp" => Ok(Some(protocol::ICMP)),
        "icmp6" => Ok(Some(protocol::ICMPV6)),
        "sctp" => Ok(Some(protocol::SCTP)),
        other => other.parse().map(Some).map_err(|_| {
            let problem = format!(
                "\"{other}\" is not known; allowed are any, tcp, udp, icmp, icmp6, sctp and numbers to 255"
            );
            source.at(text.span(), key, problem)
        }),
    }
}

/// A port, or two with a dash between.
fn ports(source: &Source<'_>, key: &str, text: Option<&Spanned<String>>) -> Result<Ports> {
    let Some(text) = text else { return Ok(Ports::ANY) };
    let word = text.get_ref().as_str();
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let read = |word: &str| word.trim().parse::<u16>().ok();
    match (read(first), read(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Ports { first, last }),
        _ => {
            let problem =
                format!("\"{word}\"; allowed are a port such as 80, and ranges such as 8000-8080");
            Err(source.at(text.span(), key, problem))
        }
    }
}

pub(super) fn prefix(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<AnyPrefix> {
    let word = text.get_ref();
    let inet = word.parse().map(AnyPrefix::V4);
    inet.or_else(|_| word.parse().map(AnyPrefix::V6)).map_err(|_| {
        let problem =
            format!("\"{word}\"; allowed are prefixes such as 10.1.0.0/24 and 2001:db8::/64");
        source.at(text.span(), key, problem)
    })
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none is defined".to_owned() } else { names.join(", ") }
}
