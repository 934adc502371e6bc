//! Wanted minus acknowledged, in an order in which references exist before use.
//!
//! After a reconnect nothing is known to be there: an epoch begins, everything wanted is put again, and what the
//! dataplane has besides is swept. The sweep waits until the caller allows it: after an agent's restart the routes of
//! peers come back only by and by, and until then those of the former life keep the traffic going. What is known to be
//! nobody's any more does not wait: it goes first of all, so that nothing leads to a workload that was removed or moved
//! to another network meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use tables::{Key, NextHopKind, Object, Op};

use crate::desired::Objects;

/// Operations of one transaction at most; large enough to be efficient, small enough to find a bad one in.
pub(crate) const BATCH: usize = 2_000;

/// What one connection to the dataplane has acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    acknowledged: Objects,
    /// What was refused, as it was: not tried again until it changes.
    refused: BTreeMap<Key, Object>,
    /// What was deleted, whether it was there or not.
    deleted: BTreeSet<Key>,
}

impl Sync {
    /// The next operations towards `wanted`; none when everything is there but for what was refused. `resting` is
    /// nobody's any more.
    pub(crate) fn next(&self, wanted: &Objects, resting: &BTreeSet<Key>) -> Vec<Op> {
        // What this connection put goes in its turn, below.
        let leftovers = resting.iter().filter(|key| {
            !self.deleted.contains(key)
                && !wanted.contains_key(key)
                && !self.acknowledged.contains_key(key)
        });
        let mut puts: Vec<&Object> = wanted
            .iter()
            .filter(|(key, object)| {
                self.acknowledged.get(key) != Some(object) && self.refused.get(key) != Some(object)
            })
            .map(|(_, object)| object)
            .collect();
        puts.sort_by_key(|object| put_order(object));
        let mut deletes: Vec<Key> =
            self.acknowledged.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        deletes.sort_by_key(|key| std::cmp::Reverse(delete_order(key, &self.acknowledged)));
        let puts = puts.into_iter().cloned().map(Op::Put);
        let leftovers = leftovers.copied().map(Op::Delete);
        leftovers.chain(puts).chain(deletes.into_iter().map(Op::Delete)).take(BATCH).collect()
    }

    /// These operations took effect.
    pub(crate) fn acknowledge(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Put(object) => {
                    self.refused.remove(&object.key());
                    self.deleted.remove(&object.key());
                    self.acknowledged.insert(object.key(), object.clone());
                }
                Op::Delete(key) => {
                    self.acknowledged.remove(key);
                    self.deleted.insert(*key);
                }
            }
        }
    }

    /// Whether something was refused.
    pub(crate) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Tries again what was refused: its reason may be gone.
    pub(crate) fn retry_refused(&mut self) {
        self.refused.clear();
    }

    /// This operation was refused when it stood alone.
    pub(crate) fn refuse(&mut self, op: &Op) {
        match op {
            Op::Put(object) => {
                self.refused.insert(object.key(), object.clone());
            }
            // Not there for us any more, whatever the dataplane makes of it; the next sweep asks again.
            Op::Delete(key) => {
                self.acknowledged.remove(key);
                self.deleted.insert(*key);
            }
        }
    }
}

/// Interfaces before next hops, simple next hops before groups, all before what points at them; bridge entries before
/// routes, which may be stitched to them.
pub(crate) fn put_order(object: &Object) -> u8 {
    match object {
        Object::NextHop(nh) if matches!(nh.kind, NextHopKind::Composite { .. }) => 3,
        _ => key_order(&object.key()),
    }
}

fn delete_order(key: &Key, known: &Objects) -> u8 {
    known.get(key).map_or_else(|| key_order(key), put_order)
}

fn key_order(key: &Key) -> u8 {
    match key {
        Key::Vrf(_)
        | Key::Class(_)
        | Key::QosMap(_)
        | Key::RuleSet(_)
        | Key::Identity(_)
        | Key::FlowTimeout(..) => 0,
        Key::Vif(_) => 1,
        Key::NextHop(_) | Key::VrfAssign(..) | Key::VrfTable(_) => 2,
        Key::Bridge(..) => 4,
        Key::Label(_) | Key::Vni(_) | Key::Mirror(_) => 5,
        Key::Inet(..) | Key::Inet6(..) => 6,
        Key::Adjacency(_) => 7,
    }
}

#[cfg(test)]
mod tests {
    use tables::{NextHop, NhFamily, NhFlags, NhId, Route, RouteFlags, Vrf, VrfId};

    use super::*;

    fn objects(list: Vec<Object>) -> Objects {
        list.into_iter().map(|object| (object.key(), object)).collect()
    }

    fn next_hop(id: u32, kind: NextHopKind) -> Object {
        let (family, flags) = (NhFamily::Inet, NhFlags::VALID);
        Object::NextHop(NextHop { id: NhId(id), family, vrf: None, flags, kind })
    }

    fn route(last: u8, next_hop: u32) -> Object {
        Object::Inet(Route {
            vrf: VrfId(1),
            prefix: wire::Prefix::host([10, 0, 0, last].into()),
            next_hop: NhId(next_hop),
            label: None,
            flags: RouteFlags::default(),
            mac: None,
            identity: None,
        })
    }

    #[test]
    fn references_exist_before_use_and_go_after_it() {
        let group =
            NextHopKind::Composite { kind: tables::CompositeKind::Ecmp(0), members: vec![] };
        let all = objects(vec![
            next_hop(1, group),
            next_hop(2, NextHopKind::L2Receive),
            route(1, 1),
            Object::Vrf(Vrf::new(VrfId(1), "red")),
        ]);
        let mut sync = Sync::default();
        let ops = sync.next(&all, &BTreeSet::new());
        let keys: Vec<Key> = ops
            .iter()
            .map(|op| match op {
                Op::Put(object) => object.key(),
                Op::Delete(key) => *key,
            })
            .collect();
        let kinds: Vec<u8> = keys.iter().map(key_order).collect();
        assert_eq!(kinds, [0, 2, 2, 6]);
        assert_eq!(keys[1], Key::NextHop(NhId(2)), "groups come after their members");
        sync.acknowledge(&ops);
        assert_eq!(sync.next(&all, &BTreeSet::new()), []);
        let ops = sync.next(&Objects::new(), &BTreeSet::new());
        assert_eq!(ops.first(), Some(&Op::Delete(route(1, 1).key())));
        assert_eq!(ops.last(), Some(&Op::Delete(Key::Vrf(VrfId(1)))));
        sync.acknowledge(&ops);
        assert_eq!(sync.next(&Objects::new(), &BTreeSet::new()), []);
    }

    #[test]
    fn what_is_nobodys_goes_first_and_once() {
        let mut sync = Sync::default();
        let wanted = objects(vec![route(1, 0)]);
        let resting = BTreeSet::from([Key::NextHop(NhId(7)), route(1, 0).key()]);
        let ops = sync.next(&wanted, &resting);
        assert_eq!(ops, [Op::Delete(Key::NextHop(NhId(7))), Op::Put(route(1, 0))]);
        sync.acknowledge(&ops);
        assert_eq!(sync.next(&wanted, &resting), []);
    }

    #[test]
    fn only_what_differs_is_sent_and_a_refused_object_waits_for_its_change() {
        let mut sync = Sync::default();
        let first = objects(vec![route(1, 0), route(2, 0)]);
        sync.acknowledge(&sync.next(&first, &BTreeSet::new()));
        let changed = objects(vec![route(1, 0), route(2, 5)]);
        assert_eq!(sync.next(&changed, &BTreeSet::new()), [Op::Put(route(2, 5))]);
        sync.refuse(&Op::Put(route(2, 5)));
        assert_eq!(sync.next(&changed, &BTreeSet::new()), []);
        let again = objects(vec![route(1, 0), route(2, 6)]);
        assert_eq!(sync.next(&again, &BTreeSet::new()), [Op::Put(route(2, 6))]);
    }
}
