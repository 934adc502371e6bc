//! Everything that was asked for. The one door to it is [`Model::apply`]: a transaction takes effect as a whole, or
//! not at all and names what is wrong.
//!
//! - The operations of a transaction may come in any order; what they refer to must exist when it is over.
//! - `Put` of what is already there and `Delete` of what is not change nothing.
//! - Deleting is never refused, not even what others still refer to (a foreign agent's deletes come in any order).
//!   What refers to a next hop that is gone drops as `InvalidNh`, to a vif that is gone as `InvalidIf`; a route
//!   stitched to a bridge entry that is gone has no MAC until the entry returns. It heals when the object returns.
//! - A next hop may be replaced by one of another type: snapshots never show a half-written one, which is what the
//!   original's refusal guards against. What already refers to it is not checked again.
//! - Next hop 0 discards. It is always there and cannot be replaced or deleted.
//! - Each object belongs to whom put it last, and remembers the owner's epoch of that moment. [`Model::sweep`]
//!   names what the owner has put in no epoch that is kept.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Bound, RangeBounds};

use wire::{Address, Label, Mac, Prefix, Vni};

use crate::check;
use crate::error::ModelError;
use crate::references::{self, References};
use crate::store::{Epoch, Mark, Owner, Store};
use crate::{
    Adjacency, BridgeEntry, BridgeFlags, BridgeSlot, ClassId, FlowTimeout, ForwardingClass,
    Identity, IdentityId, Key, LabelEntry, Mirror, MirrorId, NextHop, NextHopKind, NhFamily,
    NhFlags, NhId, Object, Op, QosMap, QosMapId, Route, RuleSet, RuleSetId, Station, Vif, VifFlags,
    VifId, VifKind, VniEntry, Vrf, VrfAssign, VrfId, VrfTable,
};

const DISCARD: NhId = NhId(0);

/// See the module.
#[derive(Clone, Debug)]
pub struct Model {
    store: Store,
    references: References,
    /// By interface, of those that have any.
    capabilities: BTreeMap<VifId, VifFlags>,
    agent: Epoch,
    vrouterd: Epoch,
    operator: Epoch,
}

impl Default for Model {
    fn default() -> Self {
        Model::new()
    }
}

/// What transactions touched: input of [`crate::Writer::publish`].
#[derive(Clone, Debug, Default)]
pub struct Changes {
    keys: Vec<Key>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The objects that changed, and those whose compiled form depends on them.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    fn note_dependents(&mut self, object: &Object) {
        self.keys.extend(references::dependents(object).map(Key::Vif));
    }

    /// Adds a later transaction's changes.
    pub fn merge(&mut self, later: Changes) {
        if self.keys.is_empty() {
            self.keys = later.keys;
        } else {
            self.keys.extend(later.keys);
        }
    }
}

/// How to take one step of a transaction back.
enum Undo {
    /// Put this back.
    Restore(Box<(Object, Mark)>),
    /// Remove what was created.
    Remove(Key),
    /// Only the mark changed.
    Mark(Key, Mark),
}

impl Model {
    /// A model with nothing but next hop 0.
    pub fn new() -> Model {
        let mut store = Store::default();
        let discard = NextHop {
            id: DISCARD,
            family: NhFamily::Inet,
            vrf: Some(VrfId(0)),
            flags: NhFlags::VALID,
            kind: NextHopKind::Discard,
        };
        store.put(Object::NextHop(discard), Mark { owner: Owner::Vrouterd, epoch: Epoch(0) });
        Model {
            store,
            references: References::default(),
            capabilities: BTreeMap::new(),
            agent: Epoch(0),
            vrouterd: Epoch(0),
            operator: Epoch(0),
        }
    }

    /// Carries a transaction out.
    ///
    /// # Errors
    /// The first thing wrong with it; then the model is as it was.
    pub fn apply(&mut self, ops: &[Op], owner: Owner) -> Result<Changes, ModelError> {
        let mut undo = Vec::new();
        let mut changes = Changes::default();
        let result = self.apply_all(ops, owner, &mut undo, &mut changes);
        if result.is_err() {
            undo.into_iter().rev().for_each(|step| self.take_back(step));
        }
        self.references.settle();
        result?;
        self.capabilities.retain(|id, _| self.store.vifs.contains_key(id));
        Ok(changes)
    }

    /// Notes what the dataplane found an interface's port to be capable of: bits of [`VifFlags::CAPABILITIES`]. Who puts
    /// the interface can neither set nor clear them. Nothing for an interface that is not there.
    pub fn set_capabilities(&mut self, id: VifId, capabilities: VifFlags) -> Changes {
        let mut changes = Changes::default();
        if self.vif(id).is_some()
            && self.capabilities.insert(id, capabilities) != Some(capabilities)
        {
            changes.keys.push(Key::Vif(id));
        }
        changes
    }

    fn apply_all(
        &mut self,
        ops: &[Op],
        owner: Owner,
        undo: &mut Vec<Undo>,
        changes: &mut Changes,
    ) -> Result<(), ModelError> {
        let mark = Mark { owner, epoch: *self.epoch(owner) };
        let mut put = Vec::new();
        for op in ops {
            match op {
                Op::Put(object) if self.store.holds(object) => {
                    let key = object.key();
                    undo.extend(self.store.set_mark(&key, mark).map(|old| Undo::Mark(key, old)));
                }
                Op::Put(object) => {
                    self.put(object, mark, undo, changes)?;
                    put.push(object);
                }
                Op::Delete(key) => self.delete(key, undo, changes)?,
            }
        }
        // What a later operation of the same transaction replaced or deleted is not asked about.
        put.into_iter()
            .filter(|object| self.store.holds(object))
            .try_for_each(|o| check::references(&self.store, o))
    }

    fn put(
        &mut self,
        object: &Object,
        mark: Mark,
        undo: &mut Vec<Undo>,
        changes: &mut Changes,
    ) -> Result<(), ModelError> {
        let key = object.key();
        refuse_implicit(&key)?;
        check::shape(object)?;
        if !self.references.has_room(object) {
            return Err(ModelError::BridgeFull { object: key, limit: BridgeSlot::LIMIT });
        }
        let old = self.store.put(object.clone(), mark);
        let created = old.is_none();
        changes.note_dependents(object);
        old.iter().for_each(|(old, _)| changes.note_dependents(old));
        self.note_out_of(&key, old.as_ref().map(|(old, _)| old), Some(object), changes);
        // The old one's references go first: the indexes are sets.
        undo.push(match old {
            Some(old) => {
                self.references.unlink(&old.0);
                Undo::Restore(Box::new(old))
            }
            None => Undo::Remove(key),
        });
        self.references.link(object);
        self.note(key, changes);
        if created {
            self.note_existence(&key, changes);
        }
        Ok(())
    }

    fn delete(
        &mut self,
        key: &Key,
        undo: &mut Vec<Undo>,
        changes: &mut Changes,
    ) -> Result<(), ModelError> {
        refuse_implicit(key)?;
        if let Key::Vif(id) = key {
            // Its assignments are part of it.
            let assigned: Vec<Key> =
                self.assignments(*id).map(|a| Key::VrfAssign(a.vif, a.vlan)).collect();
            assigned.iter().try_for_each(|key| self.delete(key, undo, changes))?;
        }
        if let Some(old) = self.store.remove(key) {
            self.references.unlink(&old.0);
            changes.note_dependents(&old.0);
            self.note_out_of(key, Some(&old.0), None, changes);
            undo.push(Undo::Restore(Box::new(old)));
            self.note(*key, changes);
            self.note_existence(key, changes);
        }
        Ok(())
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Mark(key, mark) => {
                self.store.set_mark(&key, mark);
            }
            Undo::Remove(key) => {
                if let Some((object, _)) = self.store.remove(&key) {
                    self.references.unlink(&object);
                }
            }
            Undo::Restore(old) => {
                let (object, mark) = *old;
                // Its slot is still there: nothing is freed before the transaction is over.
                if let Some((newer, _)) = self.store.put(object.clone(), mark) {
                    self.references.unlink(&newer);
                }
                self.references.link(&object);
            }
        }
    }

    fn note(&self, key: Key, changes: &mut Changes) {
        changes.keys.push(key);
        if let Key::Adjacency(destination) = key {
            changes.keys.extend(self.references.tunnels_to(destination).map(Key::NextHop));
        }
        if let Key::RuleSet(id) = key {
            changes.keys.extend(self.references.judged_by(id).map(Key::Vif));
        }
    }

    /// A next hop came or went: positions of composites fill or empty.
    fn note_existence(&self, key: &Key, changes: &mut Changes) {
        if let Key::NextHop(id) = key {
            changes.keys.extend(self.references.composites_of(*id).map(Key::NextHop));
        }
    }

    /// Sets `MAC_MOVED` in a station's entry, which stays whose it is. Whoever puts it again says whether it stays set.
    pub fn note_moved(&mut self, vrf: VrfId, mac: Mac) -> Changes {
        let mut changes = Changes::default();
        if let Some(entry) = self.store.bridge.get_mut(&(vrf, mac)) {
            entry.value.flags = entry.value.flags.with(BridgeFlags::MAC_MOVED);
            changes.keys.push(Key::Bridge(vrf, mac));
        }
        changes
    }

    /// A vif became or ceased to be the agent's or a leaf: next hops out of it are compiled otherwise.
    fn note_out_of(
        &self,
        key: &Key,
        old: Option<&Object>,
        new: Option<&Object>,
        changes: &mut Changes,
    ) {
        let nature = |object: Option<&Object>| match object {
            Some(Object::Vif(vif)) => (vif.kind == VifKind::Agent, vif.flags.is_leaf()),
            _ => (false, false),
        };
        if let Key::Vif(id) = *key
            && nature(old) != nature(new)
        {
            let out_of =
                |nh: &&NextHop| matches!(nh.kind, NextHopKind::Encap { vif, .. } if vif == id);
            changes.keys.extend(self.next_hops(..).filter(out_of).map(|nh| Key::NextHop(nh.id)));
        }
    }

    /// What `owner` puts from now on is marked with this epoch.
    pub fn set_epoch(&mut self, owner: Owner, epoch: Epoch) {
        *self.epoch(owner) = epoch;
    }

    /// Deletes for everything of `owner` whose epoch `is_kept` denies. They are not yet carried out.
    pub fn sweep(&self, owner: Owner, is_kept: impl Fn(Epoch) -> bool) -> Vec<Op> {
        let stale = self.store.keys_where(|mark| mark.owner == owner && !is_kept(mark.epoch));
        stale.into_iter().filter(|key| *key != Key::NextHop(DISCARD)).map(Op::Delete).collect()
    }

    fn epoch(&mut self, owner: Owner) -> &mut Epoch {
        match owner {
            Owner::Agent => &mut self.agent,
            Owner::Vrouterd => &mut self.vrouterd,
            Owner::Operator => &mut self.operator,
        }
    }
}

fn refuse_implicit(key: &Key) -> Result<(), ModelError> {
    if *key == Key::NextHop(DISCARD) { Err(ModelError::Implicit { object: *key }) } else { Ok(()) }
}

/// Where the routes of a VRF begin, or go on.
fn from<A: Address>(vrf: VrfId, after: Option<Prefix<A>>) -> Bound<(VrfId, Prefix<A>)> {
    match after {
        Some(prefix) => Bound::Excluded((vrf, prefix)),
        None => Prefix::new(A::from_bits128(0), 0)
            .map_or(Bound::Unbounded, |all| Bound::Included((vrf, all))),
    }
}

/// Reading.
impl Model {
    /// A copy of an object.
    pub fn get(&self, key: &Key) -> Option<Object> {
        self.store.get(key)
    }

    /// An interface.
    pub fn vif(&self, id: VifId) -> Option<&Vif> {
        self.store.vifs.get(&id).map(|entry| &entry.value)
    }

    /// A table's name.
    pub fn vrf(&self, id: VrfId) -> Option<&Vrf> {
        self.store.vrfs.get(&id).map(|entry| &entry.value)
    }

    /// A next hop.
    pub fn next_hop(&self, id: NhId) -> Option<&NextHop> {
        self.store.next_hops.get(&id).map(|entry| &entry.value)
    }

    /// The IPv4 route of exactly this prefix.
    pub fn inet_route(&self, vrf: VrfId, prefix: &Prefix<Ipv4Addr>) -> Option<&Route<Ipv4Addr>> {
        self.store.inet.get(&(vrf, *prefix)).map(|entry| &entry.value)
    }

    /// The IPv6 route of exactly this prefix.
    pub fn inet6_route(&self, vrf: VrfId, prefix: &Prefix<Ipv6Addr>) -> Option<&Route<Ipv6Addr>> {
        self.store.inet6.get(&(vrf, *prefix)).map(|entry| &entry.value)
    }

    /// A bridge entry.
    pub fn bridge_entry(&self, vrf: VrfId, mac: Mac) -> Option<&BridgeEntry> {
        self.store.bridge.get(&(vrf, mac)).map(|entry| &entry.value)
    }

    /// The index of a station: assigned with its bridge entry, kept while that or a route stitched to it exists.
    pub fn bridge_slot(&self, vrf: VrfId, mac: Mac) -> Option<BridgeSlot> {
        self.references.slot(&Station { vrf, mac })
    }

    /// A label.
    pub fn label(&self, label: Label) -> Option<&LabelEntry> {
        self.store.labels.get(&label).map(|entry| &entry.value)
    }

    /// A VNI.
    pub fn vni(&self, vni: Vni) -> Option<&VniEntry> {
        self.store.vnis.get(&vni).map(|entry| &entry.value)
    }

    /// How a tunnel destination is reached.
    pub fn adjacency(&self, destination: IpAddr) -> Option<&Adjacency> {
        self.store.adjacencies.get(&destination).map(|entry| &entry.value)
    }

    /// Interfaces with ids in `range`, ascending.
    pub fn vifs(&self, range: impl RangeBounds<VifId>) -> impl Iterator<Item = &Vif> {
        self.store.vifs.range(range).map(|(_, entry)| &entry.value)
    }

    /// Names of tables with ids in `range`, ascending.
    pub fn vrfs(&self, range: impl RangeBounds<VrfId>) -> impl Iterator<Item = &Vrf> {
        self.store.vrfs.range(range).map(|(_, entry)| &entry.value)
    }

    /// Next hops with ids in `range`, ascending; next hop 0 is one.
    pub fn next_hops(&self, range: impl RangeBounds<NhId>) -> impl Iterator<Item = &NextHop> {
        self.store.next_hops.range(range).map(|(_, entry)| &entry.value)
    }

    /// IPv4 routes of a VRF, ascending by address then length, from the first or after a prefix.
    pub fn inet_routes(
        &self,
        vrf: VrfId,
        after: Option<Prefix<Ipv4Addr>>,
    ) -> impl Iterator<Item = &Route<Ipv4Addr>> {
        let rest = self.store.inet.range((from(vrf, after), Bound::Unbounded));
        rest.map(|(_, entry)| &entry.value).take_while(move |route| route.vrf == vrf)
    }

    /// IPv6 routes of a VRF, ascending by address then length, from the first or after a prefix.
    pub fn inet6_routes(
        &self,
        vrf: VrfId,
        after: Option<Prefix<Ipv6Addr>>,
    ) -> impl Iterator<Item = &Route<Ipv6Addr>> {
        let rest = self.store.inet6.range((from(vrf, after), Bound::Unbounded));
        rest.map(|(_, entry)| &entry.value).take_while(move |route| route.vrf == vrf)
    }

    /// Bridge entries with keys in `range`, ascending.
    pub fn bridge_entries(
        &self,
        range: impl RangeBounds<(VrfId, Mac)>,
    ) -> impl Iterator<Item = &BridgeEntry> {
        self.store.bridge.range(range).map(|(_, entry)| &entry.value)
    }

    /// Labels in `range`, ascending.
    pub fn labels(&self, range: impl RangeBounds<Label>) -> impl Iterator<Item = &LabelEntry> {
        self.store.labels.range(range).map(|(_, entry)| &entry.value)
    }

    /// VNIs in `range`, ascending.
    pub fn vnis(&self, range: impl RangeBounds<Vni>) -> impl Iterator<Item = &VniEntry> {
        self.store.vnis.range(range).map(|(_, entry)| &entry.value)
    }

    /// All adjacencies, ascending by destination.
    pub fn adjacencies(&self) -> impl Iterator<Item = &Adjacency> {
        self.store.adjacencies.values().map(|entry| &entry.value)
    }

    /// A mirror.
    pub fn mirror(&self, id: MirrorId) -> Option<&Mirror> {
        self.store.mirrors.get(&id).map(|entry| &entry.value)
    }

    /// A QoS map.
    pub fn qos_map(&self, id: QosMapId) -> Option<&QosMap> {
        self.store.qos_maps.get(&id).map(|entry| &entry.value)
    }

    /// A forwarding class.
    pub fn class(&self, id: ClassId) -> Option<&ForwardingClass> {
        self.store.classes.get(&id).map(|entry| &entry.value)
    }

    /// A rule set.
    pub fn rule_set(&self, id: RuleSetId) -> Option<&RuleSet> {
        self.store.rule_sets.get(&id).map(|entry| &entry.value)
    }

    /// All of them, by id.
    pub fn rule_sets(&self) -> impl Iterator<Item = &RuleSet> {
        self.store.rule_sets.values().map(|entry| &entry.value)
    }

    /// What routes are to policy.
    pub fn identity(&self, id: IdentityId) -> Option<&Identity> {
        self.store.identities.get(&id).map(|entry| &entry.value)
    }

    /// How long flows may be idle.
    pub fn flow_timeout(&self, protocol: u8, port: u16) -> Option<&FlowTimeout> {
        self.store.timeouts.get(&(protocol, port)).map(|entry| &entry.value)
    }

    /// A VRF's host-based service.
    pub fn vrf_table(&self, vrf: VrfId) -> Option<&VrfTable> {
        self.store.vrf_tables.get(&vrf).map(|entry| &entry.value)
    }

    /// Mirrors with ids in `range`, ascending.
    pub fn mirrors(&self, range: impl RangeBounds<MirrorId>) -> impl Iterator<Item = &Mirror> {
        self.store.mirrors.range(range).map(|(_, entry)| &entry.value)
    }

    /// QoS maps with ids in `range`, ascending.
    pub fn qos_maps(&self, range: impl RangeBounds<QosMapId>) -> impl Iterator<Item = &QosMap> {
        self.store.qos_maps.range(range).map(|(_, entry)| &entry.value)
    }

    /// Forwarding classes with ids in `range`, ascending.
    pub fn classes(
        &self,
        range: impl RangeBounds<ClassId>,
    ) -> impl Iterator<Item = &ForwardingClass> {
        self.store.classes.range(range).map(|(_, entry)| &entry.value)
    }

    /// The VLANs of a service interface, ascending.
    pub fn assignments(&self, vif: VifId) -> impl Iterator<Item = &VrfAssign> {
        self.store.assignments.range((vif, 0)..=(vif, u16::MAX)).map(|(_, entry)| &entry.value)
    }

    /// Host-based services of VRFs in `range`, ascending.
    pub fn vrf_tables(&self, range: impl RangeBounds<VrfId>) -> impl Iterator<Item = &VrfTable> {
        self.store.vrf_tables.range(range).map(|(_, entry)| &entry.value)
    }

    /// The sub-interfaces of an interface, ascending.
    pub fn subs(&self, parent: VifId) -> impl Iterator<Item = &Vif> {
        self.references.subs_of(parent).filter_map(|id| self.vif(id))
    }

    /// Who is given copies of an interface's packets: the first, if there are several.
    pub fn monitor_of(&self, vif: VifId) -> Option<VifId> {
        self.references.monitors_of(vif).next()
    }

    /// The flags of an interface that are in effect: [`VifFlags::effective`], with what is derived from other objects.
    pub fn vif_flags(&self, vif: &Vif) -> VifFlags {
        let capabilities = self.capabilities.get(&vif.id).copied().unwrap_or_default();
        let mut flags = vif.flags.effective(capabilities);
        if self.monitor_of(vif.id).is_some() {
            flags = flags.with(VifFlags::MONITORED);
        }
        if self.assignments(vif.id).next().is_some() {
            flags = flags.with(VifFlags::SERVICE);
        }
        flags
    }

    /// The destinations of all tunnels that need an adjacency, ascending: what the underlay has to keep resolved.
    pub fn tunnel_destinations(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.references.destinations()
    }

    /// `Ref_cnt` of a next hop: routes, labels, VNIs, bridge entries, mirrors and composites that name it, and itself.
    pub fn next_hop_references(&self, id: NhId) -> u32 {
        self.references.of_next_hop(id) + u32::from(self.next_hop(id).is_some())
    }

    /// `Ref` of a vif: next hops, adjacencies, sub-interfaces, assignments and what else names it, and itself.
    pub fn vif_references(&self, id: VifId) -> u32 {
        self.references.of_vif(id) + u32::from(self.vif(id).is_some())
    }
}
