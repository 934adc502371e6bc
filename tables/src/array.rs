//! A persistent sparse array: three levels of 64, copied only where a snapshot still shares them.
//!
//! Next hops, labels, VNIs, vifs and the heads of the tables per VRF live in such arrays. A read is three dependent
//! loads, of which the first two stay in the cache; a change copies one leaf, one middle node and the root (a
//! pointer per 4096 indices, up to the highest index in use). Clones share everything. Nodes that no snapshot shares
//! are changed in place, so that a batch load copies nothing it has just made.
//!
//! Rejected: two levels (either the root or the chunk becomes tens of KiB to copy), a vector per snapshot.

use std::sync::Arc;

const BITS: usize = 6;
const WAYS: usize = 1 << BITS;
const MASK: usize = WAYS - 1;

type Leaf<T> = [Option<T>; WAYS];
type Middle<T> = [Option<Arc<Leaf<T>>>; WAYS];

/// See the module.
#[derive(Debug)]
pub(crate) struct SparseArray<T> {
    root: Arc<[Option<Arc<Middle<T>>>]>,
}

impl<T> Clone for SparseArray<T> {
    fn clone(&self) -> Self {
        SparseArray { root: Arc::clone(&self.root) }
    }
}

impl<T> Default for SparseArray<T> {
    fn default() -> Self {
        SparseArray { root: Arc::new([]) }
    }
}

impl<T: Clone> SparseArray<T> {
    /// What is at `index`.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let middle = self.root.get(index >> (2 * BITS))?.as_ref()?;
        let leaf = middle[(index >> BITS) & MASK].as_ref()?;
        leaf[index & MASK].as_ref()
    }

    /// Replaces what is at `index`.
    pub(crate) fn set(&mut self, index: usize, value: Option<T>) {
        match value {
            Some(value) => *self.slot(index) = Some(value),
            None if self.get(index).is_some() => *self.slot(index) = None,
            None => {}
        }
    }

    /// What is at `index`, to change, made from `empty` if there is nothing.
    pub(crate) fn get_or_insert_with(&mut self, index: usize, empty: impl FnOnce() -> T) -> &mut T {
        self.slot(index).get_or_insert_with(empty)
    }

    /// Every filled index with its value, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.root.iter().enumerate().filter_map(|(i, m)| Some((i, m.as_ref()?))).flat_map(
            |(i, middle)| {
                middle.iter().enumerate().filter_map(|(j, l)| Some((j, l.as_ref()?))).flat_map(
                    move |(j, leaf)| {
                        leaf.iter().enumerate().filter_map(move |(k, value)| {
                            Some((((i << BITS) | j) << BITS | k, value.as_ref()?))
                        })
                    },
                )
            },
        )
    }

    fn slot(&mut self, index: usize) -> &mut Option<T> {
        let top = index >> (2 * BITS);
        if top >= self.root.len() {
            let mut grown = self.root.to_vec();
            grown.resize_with(top + 1, || None);
            self.root = grown.into();
        }
        let middle = Arc::make_mut(&mut self.root)[top]
            .get_or_insert_with(|| Arc::new([const { None }; WAYS]));
        let leaf = Arc::make_mut(middle)[(index >> BITS) & MASK]
            .get_or_insert_with(|| Arc::new([const { None }; WAYS]));
        &mut Arc::make_mut(leaf)[index & MASK]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn array_answers_as_a_map_and_snapshots_keep_their_answers(
            ops in prop::collection::vec((0usize..20_000, prop::option::of(any::<u32>())), 1..200)
        ) {
            let mut array = SparseArray::default();
            let mut twin = BTreeMap::new();
            let mut snapshots = Vec::new();
            for (index, value) in ops {
                snapshots.push((array.clone(), twin.clone()));
                array.set(index, value);
                match value {
                    Some(value) => twin.insert(index, value),
                    None => twin.remove(&index),
                };
            }
            snapshots.push((array, twin));
            for (array, twin) in snapshots {
                let listed: Vec<_> = array.iter().map(|(i, v)| (i, *v)).collect();
                prop_assert_eq!(listed, twin.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
