//! Policy: rule sets of networks and groups, what routes are to them, and who asks for flows (reference control-plane.md
//! section 4).
//!
//! | object | content |
//! |---|---|
//! | rule set of a network | the rules of its policies in order, each way they allow; then: within the network everything |
//! | rule sets of a group | what members may be sent, and send |
//! | identity | a network and groups, shared by all routes of the same |
//! | mirror | a VXLAN tunnel to the analyser |
//!
//! An interface asks for flows when its network has a policy or a limit, or itself groups, floating IPs, fat flows or
//! limits.

use std::net::IpAddr;

use proto::bgp::Encapsulation;
use tables::{
    GroupId, Identity, IdentityId, Judge, MirrorFlags, NetworkId, Object, Peer, Ports, Rule,
    RuleFamily, RuleId, RuleSet, RuleSetId, Verdict, VifPolicy,
};

use super::Build;
use crate::config::{
    GroupRule, Mirror, Network, PolicyEnd, PolicyRule, Remote, SecurityGroup, Workload,
};
use crate::ids::IdsError;
use crate::rib::import::{Hop, Origin};
use crate::stable;

impl Build<'_> {
    /// The rule sets of a network and of the groups that the configuration has.
    pub(super) fn rule_sets(&mut self) -> Result<(), IdsError> {
        for network in &self.inputs.config.networks {
            if !network.policies.is_empty() {
                let id = RuleSetId(self.ids.number("rules", &network_rules(&network.name)));
                let name = format!("network-policy {}", network.name);
                let rules = self.network_rules(network)?;
                self.put(Object::RuleSet(RuleSet { id, name, rules }));
            }
        }
        for group in &self.inputs.config.groups {
            for ingress in [true, false] {
                let way = if ingress { "ingress" } else { "egress" };
                let id = self.group_rules(group, ingress);
                let given = if ingress { &group.ingress } else { &group.egress };
                let rules = given.iter().enumerate().map(|(at, rule)| {
                    self.group_rule(&format!("{}/{way}/{at}", group.name), rule, ingress)
                });
                let rules = rules.collect();
                let name = format!("security-group {} {way}", group.name);
                self.put(Object::RuleSet(RuleSet { id, name, rules }));
            }
        }
        for timeout in &self.inputs.config.timeouts {
            self.put(Object::FlowTimeout(*timeout));
        }
        Ok(())
    }

    /// A mirror and the way to its analyser.
    pub(super) fn mirror(&mut self, mirror: &Mirror) -> Result<(), IdsError> {
        let id = self.ids.mirror(&mirror.name)?;
        let next_hop = self.tunnel(&Hop {
            endpoint: mirror.address,
            encapsulation: Encapsulation::Vxlan,
            label: mirror.vni.into(),
            router_mac: None,
        })?;
        let (vni, flags) = (Some(mirror.vni), MirrorFlags::default());
        self.put(Object::Mirror(tables::Mirror { id, next_hop, vni, vlan: 0, flags }));
        Ok(())
    }

    fn network_rules(&mut self, network: &Network) -> Result<Vec<Rule>, IdsError> {
        let config = self.inputs.config;
        let policies = network.policies.iter().filter_map(|name| config.policy(name));
        let mut rules = Vec::new();
        for policy in policies {
            for (at, rule) in policy.rules.iter().enumerate() {
                let id = stable::uuid(&["policy", &policy.name, &at.to_string()]);
                let mirror = rule.mirror.as_ref().map(|name| self.ids.mirror(name)).transpose()?;
                let one = |ends| Rule { mirror, ..self.policy_rule(id, rule, ends) };
                rules.push(one((&rule.source, &rule.destination)));
                if rule.both_ways {
                    rules.push(one((&rule.destination, &rule.source)));
                }
            }
        }
        let own = Peer::Network(NetworkId(network.id));
        rules.push(Rule { source: own.clone(), destination: own, ..open(RuleId::IMPLICIT_ALLOW) });
        Ok(rules)
    }

    fn policy_rule(
        &self,
        id: RuleId,
        rule: &PolicyRule,
        (source, destination): (&PolicyEnd, &PolicyEnd),
    ) -> Rule {
        let end = |end: &PolicyEnd| match end {
            PolicyEnd::Any => Peer::Any,
            PolicyEnd::Prefix(prefix) => Peer::Prefixes(vec![*prefix]),
            PolicyEnd::Network(name) => {
                let network = self.inputs.config.network(name);
                network.map_or(Peer::Any, |network| Peer::Network(NetworkId(network.id)))
            }
        };
        Rule {
            protocol: rule.protocol,
            source: end(source),
            destination: end(destination),
            destination_ports: rule.ports,
            verdict: if rule.pass { Verdict::Pass } else { Verdict::Deny },
            log: rule.log,
            ..open(id)
        }
    }

    fn group_rule(&self, name: &str, rule: &GroupRule, ingress: bool) -> Rule {
        let remote = match &rule.remote {
            Remote::Any => Peer::Any,
            Remote::Prefix(prefix) => Peer::Prefixes(vec![*prefix]),
            Remote::Group(name) => {
                let group = self.inputs.config.group(name);
                group.map_or(Peer::Any, |group| Peer::Group(GroupId(group.id)))
            }
        };
        let (source, destination) = if ingress { (remote, Peer::Any) } else { (Peer::Any, remote) };
        Rule {
            family: rule.family,
            protocol: rule.protocol,
            source,
            destination,
            destination_ports: rule.ports,
            ..open(stable::uuid(&["group", name]))
        }
    }

    fn group_rules(&mut self, group: &SecurityGroup, ingress: bool) -> RuleSetId {
        let way = if ingress { "ingress" } else { "egress" };
        RuleSetId(self.ids.number("rules", &format!("group:{}:{way}", group.name)))
    }

    /// How a workload's flows are judged; `None` when nothing asks for flows.
    pub(super) fn policy_of(&mut self, workload: &Workload) -> Option<VifPolicy> {
        let config = self.inputs.config;
        let network = config.network(&workload.network)?;
        let groups: Vec<&SecurityGroup> =
            workload.groups.iter().filter_map(|name| config.group(name)).collect();
        let policy = VifPolicy {
            network: match network.policies.is_empty() {
                true => Vec::new(),
                false => vec![RuleSetId(self.ids.number("rules", &network_rules(&network.name)))],
            },
            ingress: groups.iter().map(|group| self.group_rules(group, true)).collect(),
            egress: groups.iter().map(|group| self.group_rules(group, false)).collect(),
            grouped: !groups.is_empty(),
            judge: Judge::Dataplane,
            max_flows: workload.max_flows,
            max_new_flows: workload.max_new_flows,
        };
        let asks = policy != VifPolicy::default()
            || !workload.floating_ips.is_empty()
            || !workload.fat_flows.is_empty()
            || network.max_flows.is_some();
        asks.then_some(policy)
    }

    /// What a workload of a network is to policy.
    pub(super) fn identity_of(&mut self, network: &str, workload: &Workload) -> Option<IdentityId> {
        let config = self.inputs.config;
        let network = config.network(network)?;
        let mut groups: Vec<u32> =
            workload.groups.iter().filter_map(|name| config.group(name)).map(|it| it.id).collect();
        groups.sort_unstable();
        self.identity(&Origin { network: Some(network.id), groups })
    }

    /// The identity of a network and groups; `None` of neither.
    pub(super) fn identity(&mut self, origin: &Origin) -> Option<IdentityId> {
        if origin.network.is_none() && origin.groups.is_empty() {
            return None;
        }
        let id = IdentityId(self.ids.number("identity", &format!("{origin:?}")));
        let networks = origin.network.into_iter().map(NetworkId).collect();
        let groups = origin.groups.iter().copied().map(GroupId).collect();
        self.put(Object::Identity(Identity { id, networks, groups }));
        Some(id)
    }

    /// What a subnet of a network is to policy, beyond its workloads.
    pub(super) fn identity_of_network(&mut self, network: &Network) -> Option<IdentityId> {
        self.identity(&Origin { network: Some(network.id), groups: Vec::new() })
    }

    /// The floating IPs of a workload as its interface has them.
    pub(super) fn floating_ips(
        &mut self,
        workload: &Workload,
    ) -> Result<Vec<tables::FloatingIp>, IdsError> {
        let mut floating_ips = Vec::new();
        for floating in &workload.floating_ips {
            let fixed = match floating.address {
                IpAddr::V4(_) => workload.inet.map(|host| IpAddr::V4(host.address)),
                IpAddr::V6(_) => workload.inet6.map(|host| IpAddr::V6(host.address)),
            };
            // The configuration has checked that there is one.
            let Some(fixed) = fixed else { continue };
            floating_ips.push(tables::FloatingIp {
                address: floating.address,
                fixed,
                vrf: self.ids.vrf(&floating.network)?,
                direction: floating.direction,
                ports: floating.ports.clone(),
            });
        }
        Ok(floating_ips)
    }
}

fn network_rules(network: &str) -> String {
    format!("network:{network}")
}

fn open(id: RuleId) -> Rule {
    Rule {
        id,
        family: RuleFamily::Any,
        protocol: None,
        source: Peer::Any,
        source_ports: Ports::ANY,
        destination: Peer::Any,
        destination_ports: Ports::ANY,
        verdict: Verdict::Pass,
        log: false,
        mirror: None,
    }
}
