//! Fat flows: what a workload's interface makes coarser, so that many clients of a service take one place in the table
//! (reference dataplane.md section 14.11).
//!
//! A fat flow saves table space, not the judging: each of its packets is judged for itself, by its own addresses and
//! ports, in the direction in which the session began. So it keeps nothing that depends on an address, and whoever gets a
//! packet of it deals with it: it is counted by atomic additions, and has an owner for its end alone.

use std::net::IpAddr;

use tables::flow::{FlowAddresses, FlowFlags, FlowId, FlowKey};
use tables::{Aggregate, DropReason, FatFlowIgnore, FatFlowRule, FibVif, FlowSettings, Verdict};
use wire::{Prefix, protocol};

use super::first::{self, Outcome};
use super::{Moment, pass, plan, undecided};
use crate::feature::mirror;
use crate::graph::{Cx, Next};
use crate::packet::Packet;

/// Whether an interface makes flows coarser.
pub(crate) fn is_fat(vif: &FibVif) -> bool {
    vif.flow.as_deref().is_some_and(|settings| !settings.fat_flows.is_empty())
}

/// The coarser key of what an interface's workload sends, or is sent; `None` where no rule is for it.
pub(crate) fn coarse(vif: &FibVif, key: &FlowKey, is_sent: bool) -> Option<FlowKey> {
    let settings = vif.flow.as_deref().filter(|settings| !settings.fat_flows.is_empty())?;
    // Rules are written as the workload sends.
    let sent = if is_sent { *key } else { key.reversed(key.scope) };
    let coarse = apply(settings, &sent)?;
    let coarse = if is_sent { coarse } else { coarse.reversed(key.scope) };
    (coarse != *key).then_some(coarse)
}

fn apply(settings: &FlowSettings, key: &FlowKey) -> Option<FlowKey> {
    let (source, destination) = (key.addresses.source(), key.addresses.destination());
    if [source, destination].into_iter().any(|address| is_excluded(settings, address)) {
        return None;
    }
    let rules = || settings.fat_flows.iter();
    let fits = |end: &Option<Aggregate>, address| end.is_some_and(|end| is_in(&end, address));
    let plain = |rule: &&FatFlowRule| rule.source.is_none() && rule.destination.is_none();
    let by_source = |rule: &&FatFlowRule| rule.destination.is_none() && fits(&rule.source, source);
    let by_destination =
        |rule: &&FatFlowRule| rule.source.is_none() && fits(&rule.destination, destination);
    let by_both =
        |rule: &&FatFlowRule| fits(&rule.source, source) && fits(&rule.destination, destination);
    let (rule, service) = best(rules().filter(plain), key)
        .or_else(|| best(rules().filter(by_source), key))
        .or_else(|| best(rules().filter(by_destination), key))
        .or_else(|| best(rules().filter(by_both), key))?;
    Some(FlowKey { ports: ports(key, service), addresses: addresses(rule, key)?, ..*key })
}

/// The rule for a key's protocol and ports: of two service ports the smaller, of a rule for one before a rule for all.
/// Gives that port, too.
fn best<'r>(
    rules: impl Iterator<Item = &'r FatFlowRule>,
    key: &FlowKey,
) -> Option<(&'r FatFlowRule, Option<u16>)> {
    let has_ports = matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let ends = [key.source_port(), key.destination_port()];
    let fitting = rules.filter_map(|rule| match (rule.protocol, rule.port) {
        // Protocols without ports are written in their place.
        (0, protocol) if protocol == u16::from(key.protocol) => Some((rule, None)),
        (protocol, _) if protocol != key.protocol => None,
        (_, 0) => Some((rule, None)),
        (_, port) => (has_ports && ends.contains(&port)).then_some((rule, Some(port))),
    });
    fitting.min_by_key(|(_, port)| port.map_or(u32::MAX, u32::from))
}

/// With the service's port alone, at whichever end it is.
fn ports(key: &FlowKey, service: Option<u16>) -> u32 {
    match service {
        None => 0,
        Some(port) if port == key.source_port() && port != key.destination_port() => {
            u32::from(port) << 16
        }
        Some(port) => u32::from(port),
    }
}

fn addresses(rule: &FatFlowRule, key: &FlowKey) -> Option<FlowAddresses> {
    let cut = |address: IpAddr, aggregate: Option<Aggregate>, ignore: FatFlowIgnore| match (
        rule.ignore == Some(ignore),
        aggregate,
    ) {
        (true, _) => masked(address, 0),
        (false, Some(aggregate)) => masked(address, aggregate.aggregate_length),
        (false, None) => address,
    };
    FlowAddresses::new(
        cut(key.addresses.source(), rule.source, FatFlowIgnore::Source),
        cut(key.addresses.destination(), rule.destination, FatFlowIgnore::Destination),
    )
}

/// Without the bits past a length; a longer one than there are leaves all.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            Prefix::new(address, length).map_or(address, |prefix| prefix.address()).into()
        }
        IpAddr::V6(address) => {
            Prefix::new(address, length).map_or(address, |prefix| prefix.address()).into()
        }
    }
}

fn is_in(aggregate: &Aggregate, address: IpAddr) -> bool {
    aggregate.prefix.is_ipv4() == address.is_ipv4()
        && masked(address, aggregate.length) == masked(aggregate.prefix, aggregate.length)
}

fn is_excluded(settings: &FlowSettings, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => settings.fat_flow_exclude.iter().any(|it| it.contains(address)),
        IpAddr::V6(address) => settings.fat_flow_exclude6.iter().any(|it| it.contains(address)),
    }
}

/// A packet of an interface that makes flows coarser, whose own key is `raw` and coarser one `coarse`.
#[cold]
pub(crate) fn step(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    raw: &FlowKey,
    coarse: &FlowKey,
) -> Outcome {
    let Some(table) = cx.flows.as_deref_mut() else { return Outcome::Without };
    // A workload of this node that does not make them coarser has sessions of its own with this one.
    let exact = table.sessions.pack(raw);
    table.recall(&exact);
    if let Some(id) = table.find(&exact) {
        return Outcome::Met(id);
    }
    if table.sessions.find(&exact).is_some() {
        return first::first(cx, packet, raw, &exact);
    }
    let packed = table.sessions.pack(coarse);
    table.recall(&packed);
    let known = table.find(&packed).or_else(|| table.sessions.find(&packed));
    match known {
        Some(id) => Outcome::Elsewhere(pass(cx, packet, id, raw)),
        None => first::fat(cx, packet, raw, coarse),
    }
}

/// A packet of a fat flow.
#[cold]
pub(crate) fn pass(cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId, raw: &FlowKey) -> Next {
    let state = pass::state(cx, id);
    if state.flags().contains(FlowFlags::HELD) {
        return undecided::wait(cx, packet, id);
    }
    packet.meta.flow = Some(id);
    let judged = match plan::judge_for_itself(cx, packet, raw, id.is_forward()) {
        Ok(Some(judgement)) => judgement,
        Ok(None) => return pass::onward(packet),
        Err(reason) => return Next::Drop(reason),
    };
    let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
    let Some(flow) = flow.filter(|_| !state.flags().contains(FlowFlags::DEAD)) else {
        return Next::Drop(DropReason::FlowUnusable);
    };
    flow.count_shared(packet.frame.len() as u64, Moment::of(cx.now).0);
    if judged.verdict == Verdict::Deny || state.flags().contains(FlowFlags::DENIED) {
        return Next::Drop(DropReason::FlowActionDrop);
    }
    if plan::is_mirrored(&judged) {
        mirror::of_session(cx, packet, judged.mirrors);
    }
    pass::onward(packet)
}

#[cfg(test)]
#[allow(clippy::disallowed_macros, reason = "tests may allocate and print")]
mod tests {
    use tables::NhId;

    use super::*;

    const UDP: u8 = protocol::UDP;

    fn settings(rules: Vec<FatFlowRule>) -> FlowSettings {
        FlowSettings {
            policy: tables::VifPolicy::default(),
            floating_ips: [].into(),
            services: [].into(),
            fat_flows: rules.into(),
            fat_flow_exclude: ["10.9.0.0/16".parse().unwrap()].into(),
            fat_flow_exclude6: ["2001:db8:9::/48".parse().unwrap()].into(),
        }
    }

    fn rule(protocol: u8, port: u16) -> FatFlowRule {
        FatFlowRule { protocol, port, ignore: None, source: None, destination: None }
    }

    fn cut(prefix: &str, length: u8, aggregate_length: u8) -> Option<Aggregate> {
        Some(Aggregate { prefix: prefix.parse().unwrap(), length, aggregate_length })
    }

    fn key(protocol: u8, source: &str, destination: &str, ports: (u16, u16)) -> FlowKey {
        let addresses =
            FlowAddresses::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap();
        let ports = u32::from(ports.0) << 16 | u32::from(ports.1);
        FlowKey { scope: NhId(20), protocol, ports, addresses }
    }

    fn udp(ports: (u16, u16)) -> FlowKey {
        key(UDP, "10.1.1.3", "10.1.1.9", ports)
    }

    #[test]
    fn the_service_port_stays_and_the_other_goes() {
        let rules = settings(vec![rule(UDP, 53), rule(UDP, 123), rule(protocol::TCP, 0)]);
        let ports = |key: &FlowKey| apply(&rules, key).map(|coarse| coarse.ports);
        assert_eq!(ports(&udp((1000, 53))), Some(53));
        assert_eq!(ports(&udp((53, 1000))), Some(53 << 16));
        assert_eq!(ports(&udp((123, 53))), Some(53), "the smaller of two services");
        assert_eq!(ports(&udp((53, 53))), Some(53));
        assert_eq!(ports(&udp((1000, 54))), None);
        let tcp = key(protocol::TCP, "10.1.1.3", "10.1.1.9", (1000, 80));
        assert_eq!(ports(&tcp), Some(0), "any port");
    }

    #[test]
    fn protocols_without_ports_are_named_by_their_number_in_either_place() {
        let icmp = key(protocol::ICMP, "10.1.1.3", "10.1.1.9", (77, 0));
        for rule in [rule(protocol::ICMP, 0), rule(0, u16::from(protocol::ICMP))] {
            assert_eq!(apply(&settings(vec![rule]), &icmp).unwrap().ports, 0);
        }
        assert_eq!(apply(&settings(vec![rule(0, 47)]), &icmp), None);
    }

    #[test]
    fn addresses_are_left_out_or_cut_and_specific_rules_come_first() {
        let ignoring = FatFlowRule { ignore: Some(FatFlowIgnore::Destination), ..rule(UDP, 53) };
        let by_source = FatFlowRule { source: cut("10.1.0.0", 16, 24), ..rule(UDP, 0) };
        let by_destination = FatFlowRule { destination: cut("10.1.0.0", 16, 28), ..rule(UDP, 0) };
        let by_both = FatFlowRule { destination: cut("10.1.0.0", 16, 8), ..by_source };
        let ends = |rules: &[FatFlowRule], key: &FlowKey| {
            let coarse = apply(&settings(rules.to_vec()), key)?;
            let both = (coarse.addresses.source(), coarse.addresses.destination());
            Some(format!("{} {}", both.0, both.1))
        };
        let says = |text: &str| Some(text.to_owned());
        let all = [by_both, by_destination, by_source, ignoring];
        assert_eq!(ends(&all, &udp((1, 53))), says("10.1.1.3 0.0.0.0"));
        assert_eq!(ends(&all[..3], &udp((1, 53))), says("10.1.1.0 10.1.1.9"));
        assert_eq!(ends(&all[..2], &udp((1, 53))), says("10.1.1.3 10.1.1.0"));
        assert_eq!(ends(&all[..1], &udp((1, 53))), says("10.1.1.0 10.0.0.0"));
        let elsewhere = key(UDP, "10.2.1.3", "10.1.1.9", (1, 53));
        assert_eq!(ends(&all[..1], &elsewhere), None);
        let wide = FatFlowRule { source: cut("2001:db8::", 32, 64), ..rule(UDP, 0) };
        let sixth = key(UDP, "2001:db8:1:2:3::1", "2001:db8::9", (1, 53));
        assert_eq!(ends(&[wide], &sixth), says("2001:db8:1:2:: 2001:db8::9"));
    }

    #[test]
    fn excluded_addresses_keep_their_flows_at_either_end() {
        let rules = settings(vec![rule(UDP, 53)]);
        for (source, destination) in
            [("10.9.1.1", "10.1.1.9"), ("10.1.1.3", "10.9.1.1"), ("2001:db8:9::1", "2001:db8::9")]
        {
            assert_eq!(apply(&rules, &key(UDP, source, destination, (1, 53))), None);
        }
    }
}
