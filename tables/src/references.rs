//! Who refers to whom: counts for the tools, the reverse indexes that keep compiling incremental, and the slots of
//! the bridge table's stations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use wire::{Address, Mac};

use crate::{
    BridgeSlot, CompositeKind, Key, NextHop, NextHopKind, NhId, Object, Rewrite, Route, RuleSetId,
    Station, VifId, VifPolicy,
};

/// Calls `visit` with every object that `object` refers to, by field. A vif's next hop is no reference (it is an
/// identity in flow keys, and next hops refer to vifs); nor is a VRF, which needs no object; nor is a mirror that an
/// interface or a rule names: without it there is no copy.
pub(crate) fn each(object: &Object, mut visit: impl FnMut(&'static str, Key)) {
    match object {
        Object::Vif(vif) => {
            vif.sub.iter().for_each(|sub| visit("sub.parent", Key::Vif(sub.parent)));
            vif.monitors.iter().for_each(|id| visit("monitors", Key::Vif(*id)));
            each_rule_set(&vif.policy, |field, id| visit(field, Key::RuleSet(id)));
        }
        Object::Vrf(_)
        | Object::RuleSet(_)
        | Object::QosMap(_)
        | Object::Class(_)
        | Object::Identity(_)
        | Object::FlowTimeout(_) => {}
        Object::Mirror(mirror) => visit("next_hop", Key::NextHop(mirror.next_hop)),
        Object::VrfAssign(assign) => visit("vif", Key::Vif(assign.vif)),
        Object::VrfTable(table) => {
            table.hbs_left.iter().for_each(|id| visit("hbs_left", Key::Vif(*id)));
            table.hbs_right.iter().for_each(|id| visit("hbs_right", Key::Vif(*id)));
        }
        Object::NextHop(nh) => each_of_next_hop(nh, visit),
        Object::Inet(route) => each_of_route(route, visit),
        Object::Inet6(route) => each_of_route(route, visit),
        Object::Bridge(entry) => visit("next_hop", Key::NextHop(entry.next_hop)),
        Object::Label(entry) => visit("next_hop", Key::NextHop(entry.next_hop)),
        Object::Vni(entry) => visit("next_hop", Key::NextHop(entry.next_hop)),
        Object::Adjacency(adjacency) => visit("vif", Key::Vif(adjacency.vif)),
    }
}

fn each_of_next_hop(nh: &NextHop, mut visit: impl FnMut(&'static str, Key)) {
    match &nh.kind {
        NextHopKind::Receive(vif) | NextHopKind::Encap { vif, .. } => visit("vif", Key::Vif(*vif)),
        NextHopKind::Tunnel { rewrite, .. } => each_of_rewrite(rewrite, &mut visit),
        NextHopKind::Pbb { direct, .. } => visit("direct", Key::NextHop(direct.next_hop)),
        NextHopKind::Composite { members, .. } => {
            members
                .iter()
                .flatten()
                .for_each(|member| visit(MEMBERS, Key::NextHop(member.next_hop)));
        }
        _ => {}
    }
}

fn each_rule_set(policy: &VifPolicy, mut visit: impl FnMut(&'static str, RuleSetId)) {
    let VifPolicy { network, ingress, egress, .. } = policy;
    network.iter().for_each(|id| visit("policy.network", *id));
    ingress.iter().for_each(|id| visit("policy.ingress", *id));
    egress.iter().for_each(|id| visit("policy.egress", *id));
}

fn each_of_rewrite(rewrite: &Rewrite, visit: &mut impl FnMut(&'static str, Key)) {
    match rewrite {
        Rewrite::Underlay => {}
        Rewrite::Given(vif, _) => visit("rewrite", Key::Vif(*vif)),
        Rewrite::Uplinks(uplinks) => {
            uplinks.iter().flatten().for_each(|uplink| visit("rewrite", Key::Vif(uplink.vif)));
        }
        Rewrite::Encrypted(vif, plain) => {
            vif.iter().for_each(|vif| visit("rewrite", Key::Vif(*vif)));
            each_of_rewrite(plain, visit);
        }
    }
}

/// Interfaces whose compiled form depends on an object: the parent of a sub-interface, who is monitored, whose VLANs are
/// assigned.
pub(crate) fn dependents(object: &Object) -> impl Iterator<Item = VifId> {
    let vifs = match object {
        Object::Vif(vif) => [vif.sub.as_ref().map(|sub| sub.parent), vif.monitors],
        Object::VrfAssign(assign) => [Some(assign.vif), None],
        _ => [None, None],
    };
    vifs.into_iter().flatten()
}

/// The one field whose references need not exist: such positions stay empty.
pub(crate) const MEMBERS: &str = "members";

fn each_of_route<A: Address>(route: &Route<A>, mut visit: impl FnMut(&'static str, Key)) {
    visit("next_hop", Key::NextHop(route.next_hop));
    if let Some(mac) = stitched(route) {
        visit("mac", Key::Bridge(route.vrf, mac));
    }
    route.identity.iter().for_each(|id| visit("identity", Key::Identity(*id)));
}

/// The MAC stitched to a route; all zeros means none.
fn stitched<A: Address>(route: &Route<A>) -> Option<Mac> {
    route.mac.filter(|mac| !mac.is_zero())
}

/// The station an object keeps the slot of.
fn station(object: &Object) -> Option<Station> {
    match object {
        Object::Bridge(entry) => Some(Station { vrf: entry.vrf, mac: entry.mac }),
        Object::Inet(route) => Some(Station { vrf: route.vrf, mac: stitched(route)? }),
        Object::Inet6(route) => Some(Station { vrf: route.vrf, mac: stitched(route)? }),
        _ => None,
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    next_hops: HashMap<NhId, u32>,
    vifs: HashMap<VifId, u32>,
    /// Tunnels that take their outer Ethernet from the destination's adjacency.
    tunnels: BTreeMap<IpAddr, BTreeSet<NhId>>,
    /// Composites that name a next hop.
    composites: HashMap<NhId, BTreeSet<NhId>>,
    /// Sub-interfaces of an interface.
    subs: BTreeSet<(VifId, VifId)>,
    /// Interfaces and who monitors them.
    monitors: BTreeSet<(VifId, VifId)>,
    /// Rule sets and the interfaces judged by them.
    judged: BTreeSet<(RuleSetId, VifId)>,
    stations: HashMap<Station, (BridgeSlot, u32)>,
    /// Stations whose last holder went: freed when the transaction ends, so that undoing it restores the same slots.
    unheld: Vec<Station>,
    free: BTreeSet<u32>,
    /// Slots handed out so far.
    slots: u32,
}

impl References {
    /// Whether the bridge table has a slot for what `object` needs one for.
    pub(crate) fn has_room(&self, object: &Object) -> bool {
        station(object).is_none_or(|station| {
            self.stations.contains_key(&station)
                || !self.free.is_empty()
                || self.slots < BridgeSlot::LIMIT
        })
    }

    /// Counts what `object` refers to. Of an object that is replaced, unlink the old one first.
    pub(crate) fn link(&mut self, object: &Object) {
        if let Some(station) = station(object) {
            self.hold(station);
        }
        each(object, |_, key| match key {
            Key::NextHop(id) => *self.next_hops.entry(id).or_default() += 1,
            Key::Vif(id) => *self.vifs.entry(id).or_default() += 1,
            _ => {}
        });
        if let Object::Vif(vif) = object {
            self.subs.extend(vif.sub.as_ref().map(|sub| (sub.parent, vif.id)));
            self.monitors.extend(vif.monitors.map(|id| (id, vif.id)));
            each_rule_set(&vif.policy, |_, id| {
                self.judged.insert((id, vif.id));
            });
        }
        if let Object::NextHop(nh) = object {
            if let Some(destination) = underlay(nh) {
                self.tunnels.entry(destination).or_default().insert(nh.id);
            }
            each_member(nh, |member| {
                self.composites.entry(member).or_default().insert(nh.id);
            });
        }
    }

    /// The reverse of [`References::link`].
    pub(crate) fn unlink(&mut self, object: &Object) {
        if let Some(station) = station(object) {
            self.release(station);
        }
        each(object, |_, key| match key {
            Key::NextHop(id) => decrement(&mut self.next_hops, id),
            Key::Vif(id) => decrement(&mut self.vifs, id),
            _ => {}
        });
        if let Object::Vif(vif) = object {
            vif.sub.iter().for_each(|sub| {
                self.subs.remove(&(sub.parent, vif.id));
            });
            vif.monitors.iter().for_each(|id| {
                self.monitors.remove(&(*id, vif.id));
            });
            each_rule_set(&vif.policy, |_, id| {
                self.judged.remove(&(id, vif.id));
            });
        }
        if let Object::NextHop(nh) = object {
            if let Some(destination) = underlay(nh)
                && let Some(ids) = self.tunnels.get_mut(&destination)
            {
                ids.remove(&nh.id);
                if ids.is_empty() {
                    self.tunnels.remove(&destination);
                }
            }
            each_member(nh, |member| {
                if let Some(ids) = self.composites.get_mut(&member) {
                    ids.remove(&nh.id);
                    if ids.is_empty() {
                        self.composites.remove(&member);
                    }
                }
            });
        }
    }

    /// Frees the slots of stations that nothing holds. Called once a transaction is over, either way.
    pub(crate) fn settle(&mut self) {
        for station in std::mem::take(&mut self.unheld) {
            if let Some((slot, 0)) = self.stations.get(&station) {
                self.free.insert(slot.index());
                self.stations.remove(&station);
            }
        }
    }

    pub(crate) fn of_next_hop(&self, id: NhId) -> u32 {
        self.next_hops.get(&id).copied().unwrap_or(0)
    }

    pub(crate) fn of_vif(&self, id: VifId) -> u32 {
        self.vifs.get(&id).copied().unwrap_or(0)
    }

    pub(crate) fn slot(&self, station: &Station) -> Option<BridgeSlot> {
        self.stations.get(station).map(|(slot, _)| *slot)
    }

    pub(crate) fn tunnels_to(&self, destination: IpAddr) -> impl Iterator<Item = NhId> + '_ {
        self.tunnels.get(&destination).into_iter().flatten().copied()
    }

    pub(crate) fn destinations(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.tunnels.keys().copied()
    }

    pub(crate) fn composites_of(&self, member: NhId) -> impl Iterator<Item = NhId> + '_ {
        self.composites.get(&member).into_iter().flatten().copied()
    }

    /// An interface's sub-interfaces, ascending.
    pub(crate) fn subs_of(&self, parent: VifId) -> impl Iterator<Item = VifId> + '_ {
        self.subs.range((parent, VifId(0))..=(parent, VifId(u16::MAX))).map(|(_, sub)| *sub)
    }

    /// Who monitors an interface, ascending.
    pub(crate) fn monitors_of(&self, vif: VifId) -> impl Iterator<Item = VifId> + '_ {
        self.monitors.range((vif, VifId(0))..=(vif, VifId(u16::MAX))).map(|(_, by)| *by)
    }

    /// Interfaces judged by a rule set, ascending.
    pub(crate) fn judged_by(&self, set: RuleSetId) -> impl Iterator<Item = VifId> + '_ {
        self.judged.range((set, VifId(0))..=(set, VifId(u16::MAX))).map(|(_, vif)| *vif)
    }

    fn hold(&mut self, station: Station) {
        if let Some((_, held)) = self.stations.get_mut(&station) {
            *held += 1;
            return;
        }
        let index = self.free.pop_first().unwrap_or(self.slots);
        // `has_room` was asked.
        if let Some(slot) = BridgeSlot::new(index) {
            self.slots = self.slots.max(index + 1);
            self.stations.insert(station, (slot, 1));
        }
    }

    fn release(&mut self, station: Station) {
        if let Some((_, held)) = self.stations.get_mut(&station) {
            *held -= 1;
            if *held == 0 {
                self.unheld.push(station);
            }
        }
    }
}

fn decrement<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn underlay(nh: &NextHop) -> Option<IpAddr> {
    match &nh.kind {
        NextHopKind::Tunnel { destination, rewrite, .. } => {
            let plain = match rewrite {
                Rewrite::Encrypted(_, plain) => plain,
                rewrite => rewrite,
            };
            (*plain == Rewrite::Underlay).then_some(*destination)
        }
        _ => None,
    }
}

fn each_member(nh: &NextHop, mut visit: impl FnMut(NhId)) {
    if let NextHopKind::Composite { members, .. } = &nh.kind {
        members.iter().flatten().for_each(|member| visit(member.next_hop));
    }
}

/// Whether this is a group of which one member is chosen.
pub(crate) fn is_ecmp(kind: &CompositeKind) -> bool {
    matches!(kind, CompositeKind::Ecmp(_))
}
