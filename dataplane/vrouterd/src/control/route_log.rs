//! Changes of routes for `rt --monitor`: kept only while somebody asks for them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use api::{RouteChange, RouteChanged, RouteInfo, Stitched};
use tables::{BridgeSlot, Changes, Family, Key, Model, Object, Op, Route};
use wire::Vni;

/// How long changes are kept for somebody who has asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many are kept; who asks too rarely misses the oldest.
const KEPT: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RouteLog {
    changes: VecDeque<RouteChange>,
    /// Number of the change behind the last.
    next: u64,
    asked: Option<Instant>,
}

impl RouteLog {
    /// What was there of the routes that a transaction deletes; nothing while nobody wants to know.
    pub(crate) fn before(&self, model: &Model, ops: &[Op]) -> Option<Vec<Option<Object>>> {
        self.asked.filter(|asked| asked.elapsed() < PATIENCE)?;
        let old = ops.iter().map(|op| match op {
            Op::Delete(key @ (Key::Inet(..) | Key::Inet6(..) | Key::Bridge(..))) => model.get(key),
            _ => None,
        });
        Some(old.collect())
    }

    /// Takes note of a transaction that was carried out.
    pub(crate) fn note(
        &mut self,
        model: &Model,
        ops: &[Op],
        before: Vec<Option<Object>>,
        changes: &Changes,
    ) {
        let changed: HashSet<&Key> = changes.keys().iter().collect();
        for (op, old) in ops.iter().zip(before) {
            let (deleted, object) = match op {
                Op::Put(object) if changed.contains(&object.key()) => (false, Some(object.clone())),
                Op::Put(_) => continue,
                Op::Delete(_) => (true, old),
            };
            let what = object.and_then(|object| changed_route(model, &object));
            self.changes.extend(what.map(|what| RouteChange { deleted, what }));
        }
        let surplus = self.changes.len().saturating_sub(KEPT);
        self.changes.drain(..surplus);
        self.next = self.next.wrapping_add(u64::try_from(surplus).unwrap_or_default());
    }

    /// The changes behind a place, and the place behind them.
    pub(crate) fn after(&mut self, place: Option<u64>) -> (Vec<RouteChange>, u64) {
        if self.asked.is_none_or(|asked| asked.elapsed() >= PATIENCE) {
            self.next = self.end();
            self.changes.clear();
        }
        self.asked = Some(Instant::now());
        let end = self.end();
        let missed = place.map_or(self.changes.len(), |place| {
            usize::try_from(place.saturating_sub(self.next)).unwrap_or(usize::MAX)
        });
        (self.changes.iter().skip(missed).cloned().collect(), end)
    }

    fn end(&self) -> u64 {
        self.next + self.changes.len() as u64
    }
}

fn changed_route(model: &Model, object: &Object) -> Option<RouteChanged> {
    match object {
        Object::Inet(route) => {
            Some(RouteChanged::Route { vrf: route.vrf, route: route_row(model, route) })
        }
        Object::Inet6(route) => {
            Some(RouteChanged::Route { vrf: route.vrf, route: route_row(model, route) })
        }
        Object::Bridge(_) => Some(RouteChanged::Bridge),
        _ => None,
    }
}

/// A route itself, as a lookup answers it.
pub(crate) fn route_row<A: Family + Into<std::net::IpAddr>>(
    model: &Model,
    route: &Route<A>,
) -> RouteInfo {
    let stitched = route.mac.map(|mac| {
        let index = model.bridge_slot(route.vrf, mac).map_or(0, BridgeSlot::index);
        Stitched { mac, index }
    });
    RouteInfo {
        address: route.prefix.address().into(),
        length: route.prefix.length(),
        parent_length: 0,
        flags: route.flags,
        label: route.label.map(Vni::get),
        next_hop: route.next_hop,
        stitched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tables::{NhId, Owner, RouteFlags, VrfId};

    fn put(last: u8) -> Op {
        Op::Put(Object::Inet(Route {
            vrf: VrfId(1),
            prefix: format!("10.0.0.{last}/32").parse().unwrap(),
            next_hop: NhId(0),
            label: None,
            flags: RouteFlags::default(),
            mac: None,
            identity: None,
        }))
    }

    fn apply(log: &mut RouteLog, model: &mut Model, ops: &[Op]) {
        let before = log.before(model, ops);
        let changes = model.apply(ops, Owner::Operator).unwrap();
        if let Some(before) = before {
            log.note(model, ops, before, &changes);
        }
    }

    #[test]
    fn who_asks_is_told_what_changed_since_and_nothing_twice() {
        let (mut log, mut model) = (RouteLog::default(), Model::new());
        apply(&mut log, &mut model, &[put(1)]);
        let (changes, place) = log.after(None);
        assert!(changes.is_empty(), "nobody had asked");
        apply(&mut log, &mut model, &[put(1), put(2)]);
        let (changes, place) = log.after(Some(place));
        assert_eq!(changes.len(), 1, "one was there already");
        let gone = Key::Inet(VrfId(1), "10.0.0.2/32".parse().unwrap());
        let absent = Key::Inet(VrfId(1), "10.0.0.9/32".parse().unwrap());
        apply(&mut log, &mut model, &[Op::Delete(gone), Op::Delete(absent)]);
        let (changes, place) = log.after(Some(place));
        assert_eq!((changes.len(), changes[0].deleted), (1, true));
        assert!(log.after(Some(place)).0.is_empty());
    }
}
