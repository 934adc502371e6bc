//! The directory: from the hash of a key to the flow of that key, for all workers. First packets and ends of sessions come
//! here.

#[cfg(not(loom))]
pub(super) use shards::Directory;
#[cfg(loom)]
pub(super) use single::Directory;

#[cfg(not(loom))]
mod shards {
    use std::io;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use crate::flow::{FlowId, FlowIndex};

    /// How many locks there are: more than workers that begin sessions at the same time.
    const SHARDS: usize = 16;

    /// See the module. A worker's index for each of some parts of all hashes: a bucket is a line, so a session takes two
    /// lines here, and they can be asked for beforehand.
    pub(crate) struct Directory(Box<[Mutex<FlowIndex>]>);

    impl Directory {
        /// Empty, with room for so many flows.
        ///
        /// # Errors
        /// What the system answers.
        pub(crate) fn new(flows: usize) -> io::Result<Directory> {
            // Shards fill unevenly.
            let each = flows / SHARDS;
            let room = each + each / 8 + 64;
            let shards = (0..SHARDS).map(|_| FlowIndex::new(room).map(Mutex::new));
            Ok(Directory(shards.collect::<io::Result<_>>()?))
        }

        /// By the hash's highest bits, which a shard does not use.
        fn shard(&self, hash: u64) -> Option<MutexGuard<'_, FlowIndex>> {
            const SHIFT: u32 = u64::BITS - SHARDS.ilog2();
            let shard = self.0.get(usize::try_from(hash >> SHIFT).ok()?)?;
            // An index is whole between any two of its changes.
            Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// Asks for the line of a hash.
        pub(crate) fn prefetch(&self, hash: u64) {
            if let Some(shard) = self.shard(hash) {
                shard.prefetch(hash);
            }
        }

        /// The flow of a hash that `is` true of.
        pub(crate) fn get(&self, hash: u64, is: impl FnMut(FlowId) -> bool) -> Option<FlowId> {
            self.shard(hash)?.find(hash, is)
        }

        /// Puts a flow in if there is none of this hash that `is` true of, once `fill` has made it one that may be found;
        /// whether it did.
        pub(crate) fn insert(
            &self,
            hash: u64,
            id: FlowId,
            is: impl FnMut(FlowId) -> bool,
            fill: impl FnOnce(),
        ) -> bool {
            let Some(mut shard) = self.shard(hash) else { return false };
            if shard.find(hash, is).is_some() {
                return false;
            }
            fill();
            shard.insert(hash, id)
        }

        /// Takes a flow out, if it is there.
        pub(crate) fn remove(&self, hash: u64, id: FlowId) {
            if let Some(mut shard) = self.shard(hash) {
                shard.remove(hash, id);
            }
        }

        /// How many flows there are.
        pub(crate) fn len(&self) -> usize {
            let of = |shard: &Mutex<FlowIndex>| {
                shard.lock().unwrap_or_else(PoisonError::into_inner).len()
            };
            self.0.iter().map(of).sum()
        }
    }
}

/// The same with one lock that the model checker knows.
#[cfg(loom)]
mod single {
    use std::io;

    use loom::sync::Mutex;

    use crate::flow::FlowId;

    pub(crate) struct Directory(Mutex<Vec<(u64, FlowId)>>);

    impl Directory {
        #[expect(clippy::unnecessary_wraps, reason = "as the other")]
        pub(crate) fn new(_: usize) -> io::Result<Directory> {
            Ok(Directory(Mutex::new(Vec::new())))
        }

        pub(crate) fn prefetch(&self, _: u64) {}

        pub(crate) fn get(&self, hash: u64, mut is: impl FnMut(FlowId) -> bool) -> Option<FlowId> {
            let all = self.0.lock().expect("nobody panics");
            all.iter().find(|entry| entry.0 == hash && is(entry.1)).map(|entry| entry.1)
        }

        pub(crate) fn insert(
            &self,
            hash: u64,
            id: FlowId,
            mut is: impl FnMut(FlowId) -> bool,
            fill: impl FnOnce(),
        ) -> bool {
            let mut all = self.0.lock().expect("nobody panics");
            let vacant = !all.iter().any(|entry| entry.0 == hash && is(entry.1));
            if vacant {
                fill();
                all.push((hash, id));
            }
            vacant
        }

        pub(crate) fn remove(&self, hash: u64, id: FlowId) {
            let mut all = self.0.lock().expect("nobody panics");
            all.retain(|entry| *entry != (hash, id));
        }

        pub(crate) fn len(&self) -> usize {
            self.0.lock().expect("nobody panics").len()
        }
    }
}
