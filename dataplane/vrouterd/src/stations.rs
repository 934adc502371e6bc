//! Stations that workers have heard on interfaces that learn: entries of the bridge table that nobody programmed.
//!
//! They are the daemon's own, marked new until an agent puts its own in their place. What one interface or one network
//! may fill is bounded, what is not heard for a while goes, and so does what an interface learnt that learns no more.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{CounterReader, Sighting};
use tables::{
    BridgeEntry, BridgeFlags, Key, Model, NextHopKind, NhFamily, NhId, Op, VifFlags, VifId, VrfId,
};
use wire::Mac;

/// Stations of one interface at most.
const OF_VIF: usize = 1024;
/// Stations of one VRF at most.
const OF_VRF: usize = 16_384;

/// What to do about a sighting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: it is known there, or there is no room, or no way to it.
    Nothing,
    /// Put this entry.
    Put(BridgeEntry),
    /// Mark the agent's entry.
    Moved(VrfId, Mac),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Stations {
    learnt: BTreeMap<(VrfId, Mac), Learnt>,
    of_vif: BTreeMap<VifId, usize>,
    of_vrf: BTreeMap<VrfId, usize>,
    /// Where frames for an interface's stations go, as it was found last: by no next hop of their own, if that is `None`.
    ways: BTreeMap<(VifId, VrfId), Option<NhId>>,
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    vif: VifId,
    /// When it was learnt, in nanoseconds of the monotonic clock.
    at: u64,
}

impl Stations {
    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.learnt.is_empty()
    }

    /// What a worker has heard at `now`, in nanoseconds of the monotonic clock.
    pub(crate) fn heard(&mut self, model: &Model, sighting: Sighting, now: u64) -> Step {
        let Sighting { vif, vrf, mac } = sighting;
        if !learns(model, vif) {
            return Step::Nothing;
        }
        let entry = model.bridge_entry(vrf, mac);
        if let Some(entry) = entry
            && !entry.flags.contains(BridgeFlags::MAC_NEW)
        {
            let known = entry.flags.contains(BridgeFlags::MAC_MOVED);
            return if known { Step::Nothing } else { Step::Moved(vrf, mac) };
        }
        let Some((next_hop, label)) = self.way(model, vif, vrf) else { return Step::Nothing };
        if !self.has_room(vif, vrf, mac) {
            // An entry that is there stays, and is still accounted for and aged where it was learnt.
            return Step::Nothing;
        }
        self.forget((vrf, mac));
        *self.of_vif.entry(vif).or_default() += 1;
        *self.of_vrf.entry(vrf).or_default() += 1;
        self.learnt.insert((vrf, mac), Learnt { vif, at: now });
        let flags = BridgeFlags::MAC_NEW;
        Step::Put(BridgeEntry { vrf, mac, next_hop, label, flags })
    }

    /// The entries to delete: of interfaces that learn no more, and of stations silent for `aging`.
    pub(crate) fn stale(
        &mut self,
        model: &Model,
        counters: &CounterReader,
        now: u64,
        aging: Option<Duration>,
    ) -> Vec<Op> {
        let aging = aging.map(|aging| u64::try_from(aging.as_nanos()).unwrap_or(u64::MAX));
        let mut gone = Vec::new();
        for (&(vrf, mac), learnt) in &self.learnt {
            let heard = model.bridge_slot(vrf, mac).map_or(0, |slot| counters.heard(slot).0);
            let silent = now.saturating_sub(heard.max(learnt.at));
            if !is_ours(model, vrf, mac)
                || !learns(model, learnt.vif)
                || aging.is_some_and(|aging| silent >= aging)
            {
                gone.push((vrf, mac));
            }
        }
        gone.iter().for_each(|station| self.forget(*station));
        let ours = gone.into_iter().filter(|(vrf, mac)| is_ours(model, *vrf, *mac));
        ours.map(|(vrf, mac)| Op::Delete(Key::Bridge(vrf, mac))).collect()
    }

    /// Whether a station fits that takes the place of what was learnt of it before.
    fn has_room(&self, vif: VifId, vrf: VrfId, mac: Mac) -> bool {
        let before = self.learnt.get(&(vrf, mac));
        let of_vif = self.of_vif.get(&vif).copied().unwrap_or(0)
            - usize::from(before.is_some_and(|before| before.vif == vif));
        let of_vrf = self.of_vrf.get(&vrf).copied().unwrap_or(0) - usize::from(before.is_some());
        of_vif < OF_VIF && of_vrf < OF_VRF
    }

    /// Next hops came, went or changed: what was found not to be there may be.
    pub(crate) fn look_again(&mut self) {
        self.ways.retain(|_, way| way.is_some());
    }

    fn forget(&mut self, station: (VrfId, Mac)) {
        let Some(learnt) = self.learnt.remove(&station) else { return };
        let counts = [self.of_vif.get_mut(&learnt.vif), self.of_vrf.get_mut(&station.0)];
        counts.into_iter().flatten().for_each(|count| *count = count.saturating_sub(1));
    }

    /// Where frames for a station behind an interface go: out of that, by a next hop that bridges; without one, to all.
    fn way(&mut self, model: &Model, vif: VifId, vrf: VrfId) -> Option<(NhId, Option<wire::Vni>)> {
        let leads = |id: NhId| {
            model.next_hop(id).is_some_and(|nh| {
                let out = matches!(nh.kind, NextHopKind::Encap { vif: out, .. } if out == vif);
                out && nh.family == NhFamily::Bridge && nh.vrf == Some(vrf)
            })
        };
        let known = self.ways.get(&(vif, vrf)).copied();
        let found = match known {
            Some(way) if way.is_none_or(leads) => way,
            _ => {
                let found = model.next_hops(NhId(0)..).map(|nh| nh.id).find(|id| leads(*id));
                self.ways.insert((vif, vrf), found);
                found
            }
        };
        match found {
            Some(way) => Some((way, None)),
            None => {
                let all = model.bridge_entry(vrf, Mac::BROADCAST)?;
                Some((all.next_hop, all.label))
            }
        }
    }
}

fn learns(model: &Model, vif: VifId) -> bool {
    model.vif(vif).is_some_and(|vif| vif.flags.contains(VifFlags::MAC_LEARN))
}

/// Whether the entry is one of those learnt: an agent may have put its own since.
fn is_ours(model: &Model, vrf: VrfId, mac: Mac) -> bool {
    let entry = model.bridge_entry(vrf, mac);
    entry.is_some_and(|entry| entry.flags.contains(BridgeFlags::MAC_NEW))
}

#[cfg(test)]
mod tests {
    use tables::{NextHop, NhFlags, Object, Owner, Vif, VifKind};

    use super::*;

    const VRF: VrfId = VrfId(2);
    const SECOND: u64 = 1_000_000_000;

    fn mac(last: u16) -> Mac {
        let [high, low] = last.to_be_bytes();
        Mac([2, 0, 0, 0, high, low])
    }

    fn model() -> Model {
        let mut model = Model::new();
        let vif = |id| {
            let flags = VifFlags::MAC_LEARN;
            Object::Vif(Vif { vrf: VRF, flags, ..Vif::new(VifId(id), "tap", VifKind::Virtual) })
        };
        let nh = |id, out| {
            let kind = NextHopKind::Encap { vif: VifId(out), rewrite: Vec::new() };
            let (family, flags) = (NhFamily::Bridge, NhFlags::VALID);
            Object::NextHop(NextHop { id: NhId(id), family, vrf: Some(VRF), flags, kind })
        };
        put(&mut model, [vif(3), vif(4), nh(30, 3), nh(31, 4)]);
        model
    }

    fn put(model: &mut Model, objects: impl IntoIterator<Item = Object>) {
        let ops: Vec<Op> = objects.into_iter().map(Op::Put).collect();
        model.apply(&ops, Owner::Agent).unwrap();
    }

    fn hear(stations: &mut Stations, model: &mut Model, vif: u16, mac: Mac, now: u64) -> Step {
        let sighting = Sighting { vif: VifId(vif), vrf: VRF, mac };
        let step = stations.heard(model, sighting, now);
        if let Step::Put(entry) = step {
            model.apply(&[Op::Put(Object::Bridge(entry))], Owner::Vrouterd).unwrap();
        }
        step
    }

    fn next_hop(model: &Model, mac: Mac) -> Option<NhId> {
        model.bridge_entry(VRF, mac).map(|entry| entry.next_hop)
    }

    #[test]
    fn a_station_is_learnt_where_it_is_heard_and_follows_when_it_moves() {
        let (mut model, mut stations) = (model(), Stations::default());
        hear(&mut stations, &mut model, 3, mac(1), 0);
        assert_eq!(next_hop(&model, mac(1)), Some(NhId(30)));
        hear(&mut stations, &mut model, 4, mac(1), 1);
        assert_eq!(next_hop(&model, mac(1)), Some(NhId(31)));
        assert_eq!((stations.of_vif[&VifId(3)], stations.of_vif[&VifId(4)]), (0, 1));
        let unknown = hear(&mut stations, &mut model, 7, mac(2), 2);
        assert_eq!(unknown, Step::Nothing, "no interface");
    }

    #[test]
    fn the_agents_entries_are_marked_and_never_changed() {
        let (mut model, mut stations) = (model(), Stations::default());
        let entry = |flags| {
            let (next_hop, label) = (NhId(31), None);
            Object::Bridge(BridgeEntry { vrf: VRF, mac: mac(1), next_hop, label, flags })
        };
        put(&mut model, [entry(BridgeFlags::default())]);
        assert_eq!(hear(&mut stations, &mut model, 3, mac(1), 0), Step::Moved(VRF, mac(1)));
        let changes = model.note_moved(VRF, mac(1));
        assert!(!changes.is_empty());
        assert_eq!(hear(&mut stations, &mut model, 3, mac(1), 0), Step::Nothing);
        assert_eq!(next_hop(&model, mac(1)), Some(NhId(31)));
        assert!(stations.is_empty());
    }

    #[test]
    fn one_interface_fills_its_share_and_no_more() {
        let (mut model, mut stations) = (model(), Stations::default());
        for last in 0..2000 {
            hear(&mut stations, &mut model, 3, mac(last), 0);
        }
        assert_eq!(model.bridge_entries(..).count(), OF_VIF);
        assert!(matches!(hear(&mut stations, &mut model, 4, mac(3000), 0), Step::Put(_)));
    }

    #[test]
    fn a_station_that_finds_no_room_where_it_is_heard_stays_tracked_where_it_was_learnt() {
        let (mut model, mut stations) = (model(), Stations::default());
        let of_vif = u16::try_from(OF_VIF).unwrap();
        for last in 0..of_vif {
            hear(&mut stations, &mut model, 4, mac(last), 0);
        }
        // Whoever has two interfaces and lets its stations wander between them has no more than the two may have.
        for round in 1..4 {
            for last in round * of_vif..(round + 1) * of_vif {
                hear(&mut stations, &mut model, 3, mac(last), 0);
                hear(&mut stations, &mut model, 4, mac(last), 0);
            }
        }
        assert_eq!(model.bridge_entries(..).count(), 2 * OF_VIF);
        assert_eq!(stations.learnt.len(), 2 * OF_VIF);
        assert_eq!((stations.of_vif[&VifId(3)], stations.of_vif[&VifId(4)]), (OF_VIF, OF_VIF));
        assert_eq!(next_hop(&model, mac(of_vif)), Some(NhId(30)), "as it was");
    }

    #[test]
    fn next_hops_are_searched_once_for_an_interface_without_a_way_of_its_own() {
        let (mut model, mut stations) = (model(), Stations::default());
        model.apply(&[Op::Delete(Key::NextHop(NhId(30)))], Owner::Agent).unwrap();
        let all = BridgeEntry {
            vrf: VRF,
            mac: Mac::BROADCAST,
            next_hop: NhId(31),
            label: None,
            flags: BridgeFlags::default(),
        };
        put(&mut model, [Object::Bridge(all)]);
        for last in 0..10 {
            hear(&mut stations, &mut model, 3, mac(last), 0);
        }
        assert_eq!(next_hop(&model, mac(9)), Some(NhId(31)), "to all");
        assert_eq!(stations.ways[&(VifId(3), VRF)], None, "found once, and remembered");
        let kind = NextHopKind::Encap { vif: VifId(3), rewrite: Vec::new() };
        let (family, flags) = (NhFamily::Bridge, NhFlags::VALID);
        put(
            &mut model,
            [Object::NextHop(NextHop { id: NhId(33), family, vrf: Some(VRF), flags, kind })],
        );
        stations.look_again();
        hear(&mut stations, &mut model, 3, mac(100), 0);
        assert_eq!(next_hop(&model, mac(100)), Some(NhId(33)));
    }

    #[test]
    fn silent_stations_go_and_those_of_an_interface_that_learns_no_more() {
        let (mut model, mut stations) = (model(), Stations::default());
        let (engine, _) = engine::Engine::new([], engine::Seed(1));
        let counters = engine.counters();
        hear(&mut stations, &mut model, 3, mac(1), 0);
        hear(&mut stations, &mut model, 4, mac(2), 10 * SECOND);
        let aging = Some(Duration::from_secs(5));
        let stale = |stations: &mut Stations, model: &Model, now, aging| {
            stations.stale(model, &counters, now, aging)
        };
        assert_eq!(stale(&mut stations, &model, 11 * SECOND, None), []);
        let gone = stale(&mut stations, &model, 11 * SECOND, aging);
        assert_eq!(gone, [Op::Delete(Key::Bridge(VRF, mac(1)))]);
        model.apply(&gone, Owner::Vrouterd).unwrap();
        let flags = VifFlags::default();
        let vif = Vif { vrf: VRF, flags, ..Vif::new(VifId(4), "tap", VifKind::Virtual) };
        put(&mut model, [Object::Vif(vif)]);
        let gone = stale(&mut stations, &model, 11 * SECOND, None);
        assert_eq!(gone, [Op::Delete(Key::Bridge(VRF, mac(2)))]);
        assert!(stations.is_empty());
    }
}
