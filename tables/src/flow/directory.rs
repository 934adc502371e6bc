//! The directory: from the hash of a key to the flow of that key, for all workers. First packets and ends of sessions come
//! here.

#[cfg(not(loom))]
pub(super) use shards::Directory;
#[cfg(loom)]
pub(super) use single::Directory;

#[cfg(not(loom))]
mod shards {
    use std::hash::{BuildHasherDefault, Hasher};

    use dashmap::{DashMap, Entry};

    use crate::flow::FlowId;

    /// Keys are hashes already.
    #[derive(Default)]
    pub(crate) struct Already(u64);

    impl Hasher for Already {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
        }

        fn write_u64(&mut self, hash: u64) {
            self.0 = hash;
        }
    }

    /// See the module.
    pub(crate) struct Directory(DashMap<u64, u32, BuildHasherDefault<Already>>);

    impl Directory {
        /// Empty, with room for so many flows.
        pub(crate) fn new(flows: usize) -> Directory {
            // Shards fill unevenly, and none may grow while packets move.
            let room = flows + flows / 8 + 4096;
            Directory(DashMap::with_capacity_and_hasher(room, BuildHasherDefault::default()))
        }

        /// The flow of a hash.
        pub(crate) fn get(&self, hash: u64) -> Option<FlowId> {
            FlowId::new(*self.0.get(&hash)?)
        }

        /// Puts a flow in if there is none of this hash, once `fill` has made it one that may be found; whether it did.
        pub(crate) fn insert(&self, hash: u64, id: FlowId, fill: impl FnOnce()) -> bool {
            match self.0.entry(hash) {
                Entry::Vacant(vacant) => {
                    fill();
                    vacant.insert(id.index());
                    true
                }
                Entry::Occupied(_) => false,
            }
        }

        /// Takes a flow out, if it is the one of this hash.
        pub(crate) fn remove(&self, hash: u64, id: FlowId) {
            self.0.remove_if(&hash, |_, found| *found == id.index());
        }

        /// How many flows there are.
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }
    }
}

/// The same with one lock that the model checker knows.
#[cfg(loom)]
mod single {
    use std::collections::BTreeMap;

    use loom::sync::Mutex;

    use crate::flow::FlowId;

    pub(crate) struct Directory(Mutex<BTreeMap<u64, FlowId>>);

    impl Directory {
        pub(crate) fn new(_: usize) -> Directory {
            Directory(Mutex::new(BTreeMap::new()))
        }

        pub(crate) fn get(&self, hash: u64) -> Option<FlowId> {
            self.0.lock().expect("nobody panics").get(&hash).copied()
        }

        pub(crate) fn insert(&self, hash: u64, id: FlowId, fill: impl FnOnce()) -> bool {
            let mut all = self.0.lock().expect("nobody panics");
            let vacant = !all.contains_key(&hash);
            if vacant {
                fill();
                all.insert(hash, id);
            }
            vacant
        }

        pub(crate) fn remove(&self, hash: u64, id: FlowId) {
            let mut all = self.0.lock().expect("nobody panics");
            if all.get(&hash) == Some(&id) {
                all.remove(&hash);
            }
        }

        pub(crate) fn len(&self) -> usize {
            self.0.lock().expect("nobody panics").len()
        }
    }
}
