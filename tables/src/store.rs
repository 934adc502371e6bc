//! The model's maps: one per type, ascending by key, each entry marked with who put it last and when.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::{Label, Mac, Prefix, Vni};

use crate::{
    Adjacency, BridgeEntry, ClassId, FlowTimeout, ForwardingClass, Identity, IdentityId, Key,
    LabelEntry, Mirror, MirrorId, NextHop, NhId, Object, QosMap, QosMapId, Route, RuleSet,
    RuleSetId, Vif, VifId, VniEntry, Vrf, VrfAssign, VrfId, VrfTable,
};

/// Who puts objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The control agent.
    Agent,
    /// `vrouterd` itself: adjacencies.
    Vrouterd,
    /// Somebody with the tools. Never swept.
    Operator,
}

/// A round of putting everything (design decision 7); 0 is what was put in none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

/// Who put an object last, and in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) owner: Owner,
    pub(crate) epoch: Epoch,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) value: T,
    mark: Mark,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) vifs: BTreeMap<VifId, Entry<Vif>>,
    pub(crate) vrfs: BTreeMap<VrfId, Entry<Vrf>>,
    pub(crate) next_hops: BTreeMap<NhId, Entry<NextHop>>,
    pub(crate) inet: BTreeMap<(VrfId, Prefix<Ipv4Addr>), Entry<Route<Ipv4Addr>>>,
    pub(crate) inet6: BTreeMap<(VrfId, Prefix<Ipv6Addr>), Entry<Route<Ipv6Addr>>>,
    pub(crate) bridge: BTreeMap<(VrfId, Mac), Entry<BridgeEntry>>,
    pub(crate) labels: BTreeMap<Label, Entry<LabelEntry>>,
    pub(crate) vnis: BTreeMap<Vni, Entry<VniEntry>>,
    pub(crate) adjacencies: BTreeMap<IpAddr, Entry<Adjacency>>,
    pub(crate) mirrors: BTreeMap<MirrorId, Entry<Mirror>>,
    pub(crate) qos_maps: BTreeMap<QosMapId, Entry<QosMap>>,
    pub(crate) classes: BTreeMap<ClassId, Entry<ForwardingClass>>,
    pub(crate) assignments: BTreeMap<(VifId, u16), Entry<VrfAssign>>,
    pub(crate) vrf_tables: BTreeMap<VrfId, Entry<VrfTable>>,
    pub(crate) rule_sets: BTreeMap<RuleSetId, Entry<RuleSet>>,
    pub(crate) identities: BTreeMap<IdentityId, Entry<Identity>>,
    pub(crate) timeouts: BTreeMap<(u8, u16), Entry<FlowTimeout>>,
}

impl Store {
    /// A copy of an object.
    pub(crate) fn get(&self, key: &Key) -> Option<Object> {
        Some(match key {
            Key::Vif(id) => Object::Vif(self.vifs.get(id)?.value.clone()),
            Key::Vrf(id) => Object::Vrf(self.vrfs.get(id)?.value.clone()),
            Key::NextHop(id) => Object::NextHop(self.next_hops.get(id)?.value.clone()),
            Key::Inet(vrf, prefix) => Object::Inet(self.inet.get(&(*vrf, *prefix))?.value),
            Key::Inet6(vrf, prefix) => Object::Inet6(self.inet6.get(&(*vrf, *prefix))?.value),
            Key::Bridge(vrf, mac) => Object::Bridge(self.bridge.get(&(*vrf, *mac))?.value),
            Key::Label(label) => Object::Label(self.labels.get(label)?.value),
            Key::Vni(vni) => Object::Vni(self.vnis.get(vni)?.value),
            Key::Adjacency(destination) => {
                Object::Adjacency(self.adjacencies.get(destination)?.value)
            }
            Key::Mirror(id) => Object::Mirror(self.mirrors.get(id)?.value),
            Key::QosMap(id) => Object::QosMap(self.qos_maps.get(id)?.value.clone()),
            Key::Class(id) => Object::Class(self.classes.get(id)?.value),
            Key::VrfAssign(vif, vlan) => {
                Object::VrfAssign(self.assignments.get(&(*vif, *vlan))?.value)
            }
            Key::VrfTable(vrf) => Object::VrfTable(self.vrf_tables.get(vrf)?.value),
            Key::RuleSet(id) => Object::RuleSet(self.rule_sets.get(id)?.value.clone()),
            Key::Identity(id) => Object::Identity(self.identities.get(id)?.value.clone()),
            Key::FlowTimeout(protocol, port) => {
                Object::FlowTimeout(self.timeouts.get(&(*protocol, *port))?.value)
            }
        })
    }

    /// Whether there is an object of this name.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.mark(key).is_some()
    }

    /// Whether exactly this object is there.
    pub(crate) fn holds(&self, object: &Object) -> bool {
        fn same<K: Ord, T: PartialEq>(map: &BTreeMap<K, Entry<T>>, key: &K, value: &T) -> bool {
            map.get(key).is_some_and(|entry| entry.value == *value)
        }
        match object {
            Object::Vif(vif) => same(&self.vifs, &vif.id, vif),
            Object::Vrf(vrf) => same(&self.vrfs, &vrf.id, vrf),
            Object::NextHop(nh) => same(&self.next_hops, &nh.id, nh),
            Object::Inet(route) => same(&self.inet, &(route.vrf, route.prefix), route),
            Object::Inet6(route) => same(&self.inet6, &(route.vrf, route.prefix), route),
            Object::Bridge(entry) => same(&self.bridge, &(entry.vrf, entry.mac), entry),
            Object::Label(entry) => same(&self.labels, &entry.label, entry),
            Object::Vni(entry) => same(&self.vnis, &entry.vni, entry),
            Object::Adjacency(adjacency) => {
                same(&self.adjacencies, &adjacency.destination, adjacency)
            }
            Object::Mirror(mirror) => same(&self.mirrors, &mirror.id, mirror),
            Object::QosMap(map) => same(&self.qos_maps, &map.id, map),
            Object::Class(class) => same(&self.classes, &class.id, class),
            Object::VrfAssign(a) => same(&self.assignments, &(a.vif, a.vlan), a),
            Object::VrfTable(table) => same(&self.vrf_tables, &table.vrf, table),
            Object::RuleSet(set) => same(&self.rule_sets, &set.id, set),
            Object::Identity(identity) => same(&self.identities, &identity.id, identity),
            Object::FlowTimeout(t) => same(&self.timeouts, &(t.protocol, t.port), t),
        }
    }

    /// Creates or replaces; returns what was there.
    pub(crate) fn put(&mut self, object: Object, mark: Mark) -> Option<(Object, Mark)> {
        fn into<K: Ord, T>(
            map: &mut BTreeMap<K, Entry<T>>,
            key: K,
            value: T,
            mark: Mark,
            wrap: fn(T) -> Object,
        ) -> Option<(Object, Mark)> {
            map.insert(key, Entry { value, mark }).map(|old| (wrap(old.value), old.mark))
        }
        match object {
            Object::Vif(vif) => into(&mut self.vifs, vif.id, vif, mark, Object::Vif),
            Object::Vrf(vrf) => into(&mut self.vrfs, vrf.id, vrf, mark, Object::Vrf),
            Object::NextHop(nh) => into(&mut self.next_hops, nh.id, nh, mark, Object::NextHop),
            Object::Inet(r) => into(&mut self.inet, (r.vrf, r.prefix), r, mark, Object::Inet),
            Object::Inet6(r) => into(&mut self.inet6, (r.vrf, r.prefix), r, mark, Object::Inet6),
            Object::Bridge(e) => into(&mut self.bridge, (e.vrf, e.mac), e, mark, Object::Bridge),
            Object::Label(e) => into(&mut self.labels, e.label, e, mark, Object::Label),
            Object::Vni(e) => into(&mut self.vnis, e.vni, e, mark, Object::Vni),
            Object::Adjacency(a) => {
                into(&mut self.adjacencies, a.destination, a, mark, Object::Adjacency)
            }
            Object::Mirror(m) => into(&mut self.mirrors, m.id, m, mark, Object::Mirror),
            Object::QosMap(map) => into(&mut self.qos_maps, map.id, map, mark, Object::QosMap),
            Object::Class(c) => into(&mut self.classes, c.id, c, mark, Object::Class),
            Object::VrfAssign(a) => {
                into(&mut self.assignments, (a.vif, a.vlan), a, mark, Object::VrfAssign)
            }
            Object::VrfTable(t) => into(&mut self.vrf_tables, t.vrf, t, mark, Object::VrfTable),
            Object::RuleSet(s) => into(&mut self.rule_sets, s.id, s, mark, Object::RuleSet),
            Object::Identity(i) => into(&mut self.identities, i.id, i, mark, Object::Identity),
            Object::FlowTimeout(t) => {
                into(&mut self.timeouts, (t.protocol, t.port), t, mark, Object::FlowTimeout)
            }
        }
    }

    /// Removes; returns what was there.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<(Object, Mark)> {
        fn out_of<K: Ord, T>(
            map: &mut BTreeMap<K, Entry<T>>,
            key: &K,
            wrap: fn(T) -> Object,
        ) -> Option<(Object, Mark)> {
            map.remove(key).map(|old| (wrap(old.value), old.mark))
        }
        match key {
            Key::Vif(id) => out_of(&mut self.vifs, id, Object::Vif),
            Key::Vrf(id) => out_of(&mut self.vrfs, id, Object::Vrf),
            Key::NextHop(id) => out_of(&mut self.next_hops, id, Object::NextHop),
            Key::Inet(vrf, prefix) => out_of(&mut self.inet, &(*vrf, *prefix), Object::Inet),
            Key::Inet6(vrf, prefix) => out_of(&mut self.inet6, &(*vrf, *prefix), Object::Inet6),
            Key::Bridge(vrf, mac) => out_of(&mut self.bridge, &(*vrf, *mac), Object::Bridge),
            Key::Label(label) => out_of(&mut self.labels, label, Object::Label),
            Key::Vni(vni) => out_of(&mut self.vnis, vni, Object::Vni),
            Key::Adjacency(destination) => {
                out_of(&mut self.adjacencies, destination, Object::Adjacency)
            }
            Key::Mirror(id) => out_of(&mut self.mirrors, id, Object::Mirror),
            Key::QosMap(id) => out_of(&mut self.qos_maps, id, Object::QosMap),
            Key::Class(id) => out_of(&mut self.classes, id, Object::Class),
            Key::VrfAssign(vif, vlan) => {
                out_of(&mut self.assignments, &(*vif, *vlan), Object::VrfAssign)
            }
            Key::VrfTable(vrf) => out_of(&mut self.vrf_tables, vrf, Object::VrfTable),
            Key::RuleSet(id) => out_of(&mut self.rule_sets, id, Object::RuleSet),
            Key::Identity(id) => out_of(&mut self.identities, id, Object::Identity),
            Key::FlowTimeout(protocol, port) => {
                out_of(&mut self.timeouts, &(*protocol, *port), Object::FlowTimeout)
            }
        }
    }

    /// An object's mark.
    pub(crate) fn mark(&self, key: &Key) -> Option<Mark> {
        match key {
            Key::Vif(id) => self.vifs.get(id).map(|e| e.mark),
            Key::Vrf(id) => self.vrfs.get(id).map(|e| e.mark),
            Key::NextHop(id) => self.next_hops.get(id).map(|e| e.mark),
            Key::Inet(vrf, prefix) => self.inet.get(&(*vrf, *prefix)).map(|e| e.mark),
            Key::Inet6(vrf, prefix) => self.inet6.get(&(*vrf, *prefix)).map(|e| e.mark),
            Key::Bridge(vrf, mac) => self.bridge.get(&(*vrf, *mac)).map(|e| e.mark),
            Key::Label(label) => self.labels.get(label).map(|e| e.mark),
            Key::Vni(vni) => self.vnis.get(vni).map(|e| e.mark),
            Key::Adjacency(destination) => self.adjacencies.get(destination).map(|e| e.mark),
            Key::Mirror(id) => self.mirrors.get(id).map(|e| e.mark),
            Key::QosMap(id) => self.qos_maps.get(id).map(|e| e.mark),
            Key::Class(id) => self.classes.get(id).map(|e| e.mark),
            Key::VrfAssign(vif, vlan) => self.assignments.get(&(*vif, *vlan)).map(|e| e.mark),
            Key::VrfTable(vrf) => self.vrf_tables.get(vrf).map(|e| e.mark),
            Key::RuleSet(id) => self.rule_sets.get(id).map(|e| e.mark),
            Key::Identity(id) => self.identities.get(id).map(|e| e.mark),
            Key::FlowTimeout(protocol, port) => {
                self.timeouts.get(&(*protocol, *port)).map(|e| e.mark)
            }
        }
    }

    /// Replaces an object's mark; returns the one before.
    pub(crate) fn set_mark(&mut self, key: &Key, mark: Mark) -> Option<Mark> {
        let place = match key {
            Key::Vif(id) => self.vifs.get_mut(id).map(|e| &mut e.mark),
            Key::Vrf(id) => self.vrfs.get_mut(id).map(|e| &mut e.mark),
            Key::NextHop(id) => self.next_hops.get_mut(id).map(|e| &mut e.mark),
            Key::Inet(vrf, prefix) => self.inet.get_mut(&(*vrf, *prefix)).map(|e| &mut e.mark),
            Key::Inet6(vrf, prefix) => self.inet6.get_mut(&(*vrf, *prefix)).map(|e| &mut e.mark),
            Key::Bridge(vrf, mac) => self.bridge.get_mut(&(*vrf, *mac)).map(|e| &mut e.mark),
            Key::Label(label) => self.labels.get_mut(label).map(|e| &mut e.mark),
            Key::Vni(vni) => self.vnis.get_mut(vni).map(|e| &mut e.mark),
            Key::Adjacency(destination) => {
                self.adjacencies.get_mut(destination).map(|e| &mut e.mark)
            }
            Key::Mirror(id) => self.mirrors.get_mut(id).map(|e| &mut e.mark),
            Key::QosMap(id) => self.qos_maps.get_mut(id).map(|e| &mut e.mark),
            Key::Class(id) => self.classes.get_mut(id).map(|e| &mut e.mark),
            Key::VrfAssign(vif, vlan) => {
                self.assignments.get_mut(&(*vif, *vlan)).map(|e| &mut e.mark)
            }
            Key::VrfTable(vrf) => self.vrf_tables.get_mut(vrf).map(|e| &mut e.mark),
            Key::RuleSet(id) => self.rule_sets.get_mut(id).map(|e| &mut e.mark),
            Key::Identity(id) => self.identities.get_mut(id).map(|e| &mut e.mark),
            Key::FlowTimeout(protocol, port) => {
                self.timeouts.get_mut(&(*protocol, *port)).map(|e| &mut e.mark)
            }
        };
        place.map(|place| std::mem::replace(place, mark))
    }

    /// The names of all objects whose mark satisfies `which`: referrers before what they refer to.
    pub(crate) fn keys_where(&self, which: impl Fn(Mark) -> bool) -> Vec<Key> {
        fn matching<'a, K: Copy, T>(
            map: &'a BTreeMap<K, Entry<T>>,
            which: &'a impl Fn(Mark) -> bool,
            name: impl Fn(K) -> Key + 'a,
        ) -> impl Iterator<Item = Key> + 'a {
            map.iter().filter(|(_, entry)| which(entry.mark)).map(move |(key, _)| name(*key))
        }
        let mut keys = Vec::new();
        keys.extend(matching(&self.inet, &which, |(vrf, prefix)| Key::Inet(vrf, prefix)));
        keys.extend(matching(&self.inet6, &which, |(vrf, prefix)| Key::Inet6(vrf, prefix)));
        keys.extend(matching(&self.labels, &which, Key::Label));
        keys.extend(matching(&self.vnis, &which, Key::Vni));
        keys.extend(matching(&self.bridge, &which, |(vrf, mac)| Key::Bridge(vrf, mac)));
        keys.extend(matching(&self.adjacencies, &which, Key::Adjacency));
        keys.extend(matching(&self.mirrors, &which, Key::Mirror));
        keys.extend(matching(&self.next_hops, &which, Key::NextHop));
        keys.extend(matching(&self.qos_maps, &which, Key::QosMap));
        keys.extend(matching(&self.classes, &which, Key::Class));
        keys.extend(matching(&self.assignments, &which, |(vif, vlan)| Key::VrfAssign(vif, vlan)));
        keys.extend(matching(&self.vrf_tables, &which, Key::VrfTable));
        keys.extend(matching(&self.vifs, &which, Key::Vif));
        keys.extend(matching(&self.vrfs, &which, Key::Vrf));
        keys.extend(matching(&self.rule_sets, &which, Key::RuleSet));
        keys.extend(matching(&self.identities, &which, Key::Identity));
        keys.extend(matching(&self.timeouts, &which, |(protocol, port)| {
            Key::FlowTimeout(protocol, port)
        }));
        keys
    }
}
