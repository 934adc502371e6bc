//! A rule set, compiled. Each thing a rule asks about has its own way to the set of rules content with it; the first
//! rule that is in all those sets is the first that matches.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use wire::{Address, Prefix, protocol};

use super::bits::{AnyOf, Bits, first_in_all};
use super::judge::Subject;
use super::ranges::Ranges;
use crate::{AnyPrefix, GroupId, Identity, NetworkId, Peer, Ports, Rule, RuleFamily, RuleSet};

/// See the module.
#[derive(Debug)]
pub(crate) struct Classifier {
    rules: Box<[Rule]>,
    inet: Bits,
    inet6: Bits,
    any_protocol: Bits,
    protocols: HashMap<u8, Bits>,
    source: End,
    destination: End,
    source_ports: Ranges<u16>,
    destination_ports: Ranges<u16>,
}

/// What rules ask of one end.
#[derive(Debug)]
struct End {
    /// Nothing.
    any: Bits,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    networks: HashMap<NetworkId, Bits>,
    groups: HashMap<GroupId, Bits>,
}

impl Classifier {
    pub(crate) fn new(set: &RuleSet) -> Classifier {
        let rules = &set.rules;
        let those = |wanted: &dyn Fn(&Rule) -> bool| {
            Bits::of(rules.iter().enumerate().filter(|(_, rule)| wanted(rule)).map(|(at, _)| at))
        };
        let protocols =
            rules.iter().enumerate().filter_map(|(at, rule)| Some((rule.protocol?, at)));
        let ports = |ports: fn(&Rule) -> Ports| {
            let wants = rules.iter().enumerate().map(|(at, rule)| (at, ports(rule)));
            Ranges::new(wants.map(|(at, ports)| (at, ports.first, ports.last)), |port: u16| {
                port.checked_add(1)
            })
        };
        Classifier {
            inet: those(&|rule| rule.family != RuleFamily::Inet6),
            inet6: those(&|rule| rule.family != RuleFamily::Inet),
            any_protocol: those(&|rule| rule.protocol.is_none()),
            protocols: by_key(protocols),
            source: End::new(rules, |rule| &rule.source),
            destination: End::new(rules, |rule| &rule.destination),
            source_ports: ports(|rule| rule.source_ports),
            destination_ports: ports(|rule| rule.destination_ports),
            rules: rules.as_slice().into(),
        }
    }

    /// The first rule that matches. `identities` are those of the subject's ends.
    pub(crate) fn find(
        &self,
        subject: &Subject,
        identities: (Option<&Identity>, Option<&Identity>),
    ) -> Option<&Rule> {
        let Some(all) = self.candidates(subject, identities) else {
            // More groups than there is room for: one after the other.
            return self.rules.iter().find(|rule| rule.matches(subject, identities));
        };
        self.rules.get(first_in_all(&all)?)
    }

    fn candidates<'s>(
        &'s self,
        subject: &Subject,
        (source, destination): (Option<&Identity>, Option<&Identity>),
    ) -> Option<arrayvec::ArrayVec<AnyOf<'s>, 6>> {
        let mut all = arrayvec::ArrayVec::new();
        let mut one = |sets: &[Option<&'s Bits>]| {
            let mut any = AnyOf::new();
            let added = sets.iter().flatten().all(|set| any.add(set));
            debug_assert!(added);
            all.push(any);
        };
        one(&[Some(if subject.source.is_ipv4() { &self.inet } else { &self.inet6 })]);
        one(&[Some(&self.any_protocol), self.protocols.get(&subject.protocol)]);
        if !is_icmp(subject.protocol) {
            one(&[self.destination_ports.of(subject.destination_port)]);
            one(&[self.source_ports.of(subject.source_port)]);
        }
        all.push(self.destination.candidates(subject.destination, destination)?);
        all.push(self.source.candidates(subject.source, source)?);
        Some(all)
    }

    /// Bytes the tables hold, beside the rules.
    pub(crate) fn bytes(&self) -> usize {
        let sets = [&self.inet, &self.inet6, &self.any_protocol].into_iter();
        sets.chain(self.protocols.values()).map(Bits::bytes).sum::<usize>()
            + self.source.bytes()
            + self.destination.bytes()
            + self.source_ports.bytes()
            + self.destination_ports.bytes()
    }
}

impl End {
    fn new(rules: &[Rule], peer: fn(&Rule) -> &Peer) -> End {
        let peers = || rules.iter().map(peer).enumerate();
        let any = Bits::of(peers().filter(|(_, peer)| **peer == Peer::Any).map(|(at, _)| at));
        let prefixes = peers().filter_map(|(at, peer)| match peer {
            Peer::Prefixes(prefixes) => Some(prefixes.iter().map(move |prefix| (at, *prefix))),
            _ => None,
        });
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (at, prefix) in prefixes.flatten() {
            match prefix {
                AnyPrefix::V4(prefix) => {
                    let (first, last) = bounds(&prefix);
                    let low = |bits: u128| u32::try_from(bits).unwrap_or(u32::MAX);
                    v4.push((at, low(first), low(last)));
                }
                AnyPrefix::V6(prefix) => {
                    let (first, last) = bounds(&prefix);
                    v6.push((at, first, last));
                }
            }
        }
        let networks = peers().filter_map(|(at, peer)| match peer {
            Peer::Network(id) => Some((*id, at)),
            _ => None,
        });
        let groups = peers().filter_map(|(at, peer)| match peer {
            Peer::Group(id) => Some((*id, at)),
            _ => None,
        });
        End {
            any,
            v4: Ranges::new(v4, |address: u32| address.checked_add(1)),
            v6: Ranges::new(v6, |address: u128| address.checked_add(1)),
            networks: by_key(networks),
            groups: by_key(groups),
        }
    }

    /// The rules content with an address of this identity; `None` when it has too many networks and groups.
    fn candidates(&self, address: IpAddr, identity: Option<&Identity>) -> Option<AnyOf<'_>> {
        let mut any = AnyOf::new();
        let by_address = match address {
            IpAddr::V4(address) => self.v4.of(address.to_bits()),
            IpAddr::V6(address) => self.v6.of(address.to_bits()),
        };
        let mut added = any.add(&self.any);
        added &= by_address.is_none_or(|set| any.add(set));
        if let Some(identity) = identity {
            let networks = identity.networks.iter().filter_map(|id| self.networks.get(id));
            let groups = identity.groups.iter().filter_map(|id| self.groups.get(id));
            added &= networks.chain(groups).all(|set| any.add(set));
        }
        added.then_some(any)
    }

    fn bytes(&self) -> usize {
        let named = self.networks.values().chain(self.groups.values());
        self.v4.bytes() + self.v6.bytes() + self.any.bytes() + named.map(Bits::bytes).sum::<usize>()
    }
}

/// The first and the last address.
fn bounds<A: Address>(prefix: &Prefix<A>) -> (u128, u128) {
    let hosts = u32::from(A::BITS - prefix.length().min(A::BITS));
    let rest = 1u128.checked_shl(hosts).map_or(u128::MAX, |next| next - 1);
    let first = prefix.address().to_bits128() & !rest;
    (first, first | rest)
}

fn by_key<K: Eq + Hash>(rules: impl Iterator<Item = (K, usize)>) -> HashMap<K, Bits> {
    let mut sets: HashMap<K, Vec<usize>> = HashMap::new();
    rules.for_each(|(key, at)| sets.entry(key).or_default().push(at));
    sets.into_iter().map(|(key, rules)| (key, Bits::of(rules))).collect()
}

fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6)
}

impl Rule {
    /// Whether it matches, asked one field after the other: what compiled rule sets are judged by.
    pub fn matches(
        &self,
        subject: &Subject,
        (source, destination): (Option<&Identity>, Option<&Identity>),
    ) -> bool {
        let family = match self.family {
            RuleFamily::Any => true,
            RuleFamily::Inet => subject.source.is_ipv4(),
            RuleFamily::Inet6 => subject.source.is_ipv6(),
        };
        let ports = is_icmp(subject.protocol)
            || self.source_ports.contain(subject.source_port)
                && self.destination_ports.contain(subject.destination_port);
        family
            && self.protocol.is_none_or(|protocol| protocol == subject.protocol)
            && ports
            && self.source.is(subject.source, source)
            && self.destination.is(subject.destination, destination)
    }
}

impl Peer {
    /// Whether an end is what is asked for.
    pub fn is(&self, address: IpAddr, identity: Option<&Identity>) -> bool {
        match self {
            Peer::Any => true,
            Peer::Prefixes(prefixes) => prefixes.iter().any(|prefix| match (prefix, address) {
                (AnyPrefix::V4(prefix), IpAddr::V4(address)) => prefix.contains(address),
                (AnyPrefix::V6(prefix), IpAddr::V6(address)) => prefix.contains(address),
                _ => false,
            }),
            Peer::Network(id) => identity.is_some_and(|identity| identity.networks.contains(id)),
            Peer::Group(id) => identity.is_some_and(|identity| identity.groups.contains(id)),
        }
    }
}
