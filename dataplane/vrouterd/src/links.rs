//! The netdevs of this network namespace, as last heard.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::{IfIndex, Link};

/// All links by index.
#[derive(Debug, Default)]
pub(crate) struct Links {
    by_index: BTreeMap<IfIndex, Link>,
}

impl Links {
    /// The link of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.by_index.values().find(|link| link.name == name)
    }

    /// The link with that index.
    pub(crate) fn get(&self, index: IfIndex) -> Option<&Link> {
        self.by_index.get(&index)
    }

    /// A link is new or changed; gives the names to look at again.
    pub(crate) fn put(&mut self, link: Link) -> BTreeSet<String> {
        let before = self.by_index.insert(link.index, link.clone());
        match before {
            Some(before) if before == link => BTreeSet::new(),
            before => before.into_iter().chain([link]).map(|link| link.name).collect(),
        }
    }

    /// A link is gone; gives the name to look at again.
    pub(crate) fn remove(&mut self, index: IfIndex) -> BTreeSet<String> {
        self.by_index.remove(&index).map(|link| link.name).into_iter().collect()
    }

    /// All links anew; gives the names to look at again.
    pub(crate) fn replace(&mut self, links: BTreeMap<IfIndex, Link>) -> BTreeSet<String> {
        let before = std::mem::replace(&mut self.by_index, links);
        let differs = |link: &&Link| self.by_index.get(&link.index) != before.get(&link.index);
        let changed = self.by_index.values().chain(before.values()).filter(differs);
        changed.map(|link| link.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use wire::Mac;

    use super::*;

    fn link(index: IfIndex, name: &str) -> Link {
        Link { index, name: name.to_owned(), mac: Mac::ZERO, up: true, program: 0 }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_changes_are_reported() {
        let mut links = Links::default();
        assert_eq!(links.put(link(3, "tap3")), names(&["tap3"]));
        assert_eq!(links.put(link(3, "tap3")), names(&[]));
        assert_eq!(links.put(link(3, "tap4")), names(&["tap3", "tap4"]));
        assert_eq!(links.remove(3), names(&["tap4"]));
        assert_eq!(links.remove(3), names(&[]));
    }

    #[test]
    fn a_resync_reports_what_came_went_and_changed() {
        let mut links = Links::default();
        for (index, name) in [(1, "a"), (2, "b"), (3, "c")] {
            links.put(link(index, name));
        }
        let now = BTreeMap::from([(1, link(1, "a")), (2, link(2, "x")), (4, link(4, "d"))]);
        assert_eq!(links.replace(now), names(&["b", "x", "c", "d"]));
    }
}
