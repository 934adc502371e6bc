//! The bridge table: (VRF, MAC) to next hop, persistent.
//!
//! Entries lie in small buckets (four on average) behind a hash directory that doubles as it fills; a change copies
//! one bucket and a leaf of the directory. The slot index that tools show and stitched routes store is assigned by the
//! model and kept in a second array, slot to station, so that a route finds the MAC it answers ARP with.
//!
//! The hash is seeded per process: stations come from tenants.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use wire::Mac;

use crate::array::SparseArray;
use crate::{BridgeHit, BridgeSlot, Station, VrfId};

const PER_BUCKET: usize = 4;

#[derive(Clone, Debug, Default)]
pub(crate) struct BridgeTable {
    hash: RandomState,
    buckets: SparseArray<Arc<[(Station, BridgeHit)]>>,
    /// Number of buckets is two to this power.
    bits: u32,
    entries: usize,
    stations: SparseArray<Station>,
}

impl BridgeTable {
    /// The entry of a station.
    #[inline]
    pub(crate) fn get(&self, vrf: VrfId, mac: Mac) -> Option<BridgeHit> {
        let station = Station { vrf, mac };
        let bucket = self.buckets.get(self.bucket(&station))?;
        bucket.iter().find(|(key, _)| *key == station).map(|(_, hit)| *hit)
    }

    /// The station in a slot, while it has an entry.
    #[inline]
    pub(crate) fn station(&self, slot: BridgeSlot) -> Option<&Station> {
        self.stations.get(slot.index() as usize)
    }

    /// Creates or replaces an entry, in the slot that `hit` names.
    pub(crate) fn put(&mut self, station: Station, hit: BridgeHit) {
        self.delete(station);
        if self.entries >= PER_BUCKET << self.bits {
            self.grow();
        }
        self.insert(station, hit);
        self.stations.set(hit.slot.index() as usize, Some(station));
        self.entries += 1;
    }

    /// Removes an entry.
    pub(crate) fn delete(&mut self, station: Station) {
        let Some(hit) = self.get(station.vrf, station.mac) else { return };
        let index = self.bucket(&station);
        if let Some(bucket) = self.buckets.get(index) {
            let rest = bucket.iter().filter(|(key, _)| *key != station).copied().collect();
            self.buckets.set(index, Some(rest));
        }
        // The slot may meanwhile belong to another station whose entry came first.
        if self.station(hit.slot) == Some(&station) {
            self.stations.set(hit.slot.index() as usize, None);
        }
        self.entries -= 1;
    }

    fn insert(&mut self, station: Station, hit: BridgeHit) {
        let index = self.bucket(&station);
        let bucket = self.buckets.get_or_insert_with(index, || Arc::new([]));
        *bucket = bucket.iter().copied().chain([(station, hit)]).collect();
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.buckets);
        self.bits += 1;
        for (station, hit) in old.iter().flat_map(|(_, bucket)| bucket.iter()) {
            self.insert(*station, *hit);
        }
    }

    #[inline]
    fn bucket(&self, station: &Station) -> usize {
        let mask = (1u64 << self.bits) - 1;
        usize::try_from(self.hash.hash_one(station) & mask).unwrap_or(0)
    }
}
