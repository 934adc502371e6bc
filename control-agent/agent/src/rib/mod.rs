//! Routes learnt from peers.
//!
//! | module | does |
//! |---|---|
//! | (here) | `Rib`: every path of every peer, with its stale mark |
//! | `import` | route targets to networks; what a network reaches; which paths can be used at all, and by which encapsulation |
//! | `decision` | pure best path over what can be used |
//! | `export` | our own routes, as peers are told them |

pub(crate) mod decision;
pub(crate) mod export;
pub(crate) mod import;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use proto::bgp::{Announcement, Attributes, Family, Relation, RouteKey, RouteUpdate};

/// One peer's offer of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Label field and attributes.
    pub(crate) announcement: Announcement,
    /// Where the peer is.
    pub(crate) relation: Relation,
    /// Its peer is away; it is used until it is told again or swept.
    pub(crate) stale: bool,
}

impl Path {
    pub(crate) fn attributes(&self) -> &Arc<Attributes> {
        &self.announcement.attributes
    }
}

/// All paths, by route and peer.
#[derive(Debug, Default)]
pub(crate) struct Rib {
    paths: BTreeMap<RouteKey, BTreeMap<IpAddr, Path>>,
}

impl Rib {
    /// Takes in what a peer says.
    pub(crate) fn update(&mut self, peer: IpAddr, relation: Relation, update: &RouteUpdate) {
        for key in &update.withdrawn {
            self.remove(peer, key);
        }
        for announcement in &update.announced {
            let path = Path { announcement: announcement.clone(), relation, stale: false };
            self.paths.entry(announcement.key).or_default().insert(peer, path);
        }
    }

    /// Marks a peer's routes of a family.
    pub(crate) fn mark_stale(&mut self, peer: IpAddr, family: Family) {
        self.of_family(family).for_each(|(_, paths)| {
            if let Some(path) = paths.get_mut(&peer) {
                path.stale = true;
            }
        });
    }

    /// Removes a peer's stale routes of a family.
    pub(crate) fn sweep(&mut self, peer: IpAddr, family: Family) {
        self.retain(peer, family, |path| !path.stale);
    }

    /// Removes a peer's routes of a family.
    pub(crate) fn flush(&mut self, peer: IpAddr, family: Family) {
        self.retain(peer, family, |_| false);
    }

    /// Every path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.values().flat_map(BTreeMap::values)
    }

    fn retain(&mut self, peer: IpAddr, family: Family, keep: impl Fn(&Path) -> bool) {
        self.of_family(family).for_each(|(_, paths)| {
            if paths.get(&peer).is_some_and(|path| !keep(path)) {
                paths.remove(&peer);
            }
        });
        self.paths.retain(|_, paths| !paths.is_empty());
    }

    fn of_family(
        &mut self,
        family: Family,
    ) -> impl Iterator<Item = (&RouteKey, &mut BTreeMap<IpAddr, Path>)> {
        self.paths.iter_mut().filter(move |(key, _)| key.family == family)
    }

    fn remove(&mut self, peer: IpAddr, key: &RouteKey) {
        if let Some(paths) = self.paths.get_mut(key) {
            paths.remove(&peer);
            if paths.is_empty() {
                self.paths.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
