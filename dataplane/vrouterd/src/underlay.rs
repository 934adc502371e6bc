//! How each tunnel destination is reached: the kernel's route gives a hop, the hop's neighbour entry gives the MAC,
//! and both become the destination's [`Adjacency`].
//!
//! A state machine without I/O: events in, [`Action`]s out. Its rules:
//!
//! - The kernel is asked to keep every hop resolved; when somebody deletes the entry it is asked again, though not at
//!   once: `ip neigh flush` deletes until nothing is left, and gives up when entries come back while it works.
//! - An adjacency once known is used until a *new* MAC is known or the destination has no route: while a neighbour is
//!   being resolved again the last MAC is the best guess, and no packet is lost to ARP.
//! - A hop that no destination uses any more is released.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use tables::{Adjacency, VifId};
use wire::Mac;

use crate::kernel::{Hop, IfIndex, Neighbor};

/// What has to be done outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask the kernel for the route, and answer with [`Underlay::routed`].
    Route(IpAddr),
    /// Have the kernel keep the hop resolved.
    Manage(Hop),
    /// The reverse.
    Release(Hop),
    /// The destination is reached so.
    Put(Adjacency),
    /// The destination is not reached.
    Delete(IpAddr),
}

/// A netdev that carries tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) vif: VifId,
    pub(crate) mac: Mac,
}

/// The state: what is wanted, and what the kernel said.
#[derive(Debug, Default)]
pub(crate) struct Underlay {
    destinations: BTreeMap<IpAddr, Destination>,
    neighbors: HashMap<Hop, Neighbor>,
    uplinks: BTreeMap<IfIndex, Uplink>,
    /// Destinations behind each hop; a hop is in here exactly while it is kept resolved.
    users: BTreeMap<Hop, BTreeSet<IpAddr>>,
    /// Hops in use whose entry was deleted.
    lost: BTreeSet<Hop>,
}

#[derive(Debug, Default)]
struct Destination {
    hop: Option<Hop>,
    installed: Option<Adjacency>,
}

impl Underlay {
    /// Tunnels lead to exactly these destinations now.
    pub(crate) fn want(&mut self, wanted: &BTreeSet<IpAddr>, actions: &mut Vec<Action>) {
        let gone: Vec<IpAddr> =
            self.destinations.keys().filter(|&to| !wanted.contains(to)).copied().collect();
        for destination in gone {
            self.forget(destination, actions);
        }
        for &destination in wanted {
            self.destinations.entry(destination).or_insert_with(|| {
                actions.push(Action::Route(destination));
                Destination::default()
            });
        }
    }

    /// The netdevs that carry tunnels, by index. A change makes all routes count anew.
    pub(crate) fn set_uplinks(
        &mut self,
        uplinks: BTreeMap<IfIndex, Uplink>,
        actions: &mut Vec<Action>,
    ) {
        if self.uplinks != uplinks {
            self.uplinks = uplinks;
            self.reroute(|_| true, actions);
        }
    }

    /// The kernel's answer to [`Action::Route`].
    pub(crate) fn routed(
        &mut self,
        destination: IpAddr,
        hop: Option<Hop>,
        actions: &mut Vec<Action>,
    ) {
        let hop = hop.filter(|hop| self.uplinks.contains_key(&hop.link));
        let Some(entry) = self.destinations.get_mut(&destination) else { return };
        let before = std::mem::replace(&mut entry.hop, hop);
        if before != hop {
            if let Some(hop) = hop {
                self.enter(hop, destination, actions);
            }
            if let Some(before) = before {
                self.leave(before, destination, actions);
            }
        }
        self.settle(destination, actions);
    }

    /// The kernel's routes inside this prefix changed.
    pub(crate) fn routes_changed(&mut self, prefix: IpAddr, length: u8, actions: &mut Vec<Action>) {
        self.reroute(|destination| covers(prefix, length, destination), actions);
    }

    /// A neighbour entry is there, new or changed.
    pub(crate) fn neighbor(&mut self, hop: Hop, neighbor: Neighbor, actions: &mut Vec<Action>) {
        self.neighbors.insert(hop, neighbor);
        self.lost.remove(&hop);
        self.settle_users(hop, actions);
    }

    /// A neighbour entry was deleted.
    pub(crate) fn neighbor_gone(&mut self, hop: Hop) {
        self.neighbors.remove(&hop);
        if self.users.contains_key(&hop) {
            self.lost.insert(hop);
        }
    }

    /// Whether there is something to restore.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Has deleted entries installed again, when whoever deleted them is done.
    pub(crate) fn restore(&mut self, actions: &mut Vec<Action>) {
        let lost = std::mem::take(&mut self.lost);
        actions.extend(
            lost.into_iter().filter(|hop| self.users.contains_key(hop)).map(Action::Manage),
        );
    }

    /// All neighbours anew, after notifications were lost; then every route is asked for again.
    pub(crate) fn resync(&mut self, neighbors: Vec<(Hop, Neighbor)>, actions: &mut Vec<Action>) {
        self.neighbors = neighbors.into_iter().collect();
        let hops: Vec<Hop> = self.users.keys().copied().collect();
        for hop in hops {
            if !self.neighbors.contains_key(&hop) {
                actions.push(Action::Manage(hop));
            }
            self.settle_users(hop, actions);
        }
        self.reroute(|_| true, actions);
    }

    /// Releases the entries that an earlier `vrouterd` left managed and nobody uses.
    pub(crate) fn release_strays(&self, actions: &mut Vec<Action>) {
        let strays = self.neighbors.iter().filter(|(hop, neighbor)| {
            neighbor.managed && neighbor.ours && !self.users.contains_key(hop)
        });
        actions.extend(strays.map(|(&hop, _)| Action::Release(hop)));
    }

    /// The hops in use that the kernel does not keep resolved by itself.
    pub(crate) fn unmanaged(&self) -> impl Iterator<Item = Hop> {
        self.users.keys().copied().filter(|hop| {
            self.neighbors.get(hop).is_none_or(|neighbor| !neighbor.managed && !neighbor.permanent)
        })
    }

    fn forget(&mut self, destination: IpAddr, actions: &mut Vec<Action>) {
        let Some(gone) = self.destinations.remove(&destination) else { return };
        if let Some(hop) = gone.hop {
            self.leave(hop, destination, actions);
        }
        if gone.installed.is_some() {
            actions.push(Action::Delete(destination));
        }
    }

    fn reroute(&self, concerns: impl Fn(IpAddr) -> bool, actions: &mut Vec<Action>) {
        let concerned = self.destinations.keys().copied().filter(|&address| concerns(address));
        actions.extend(concerned.map(Action::Route));
    }

    fn enter(&mut self, hop: Hop, destination: IpAddr, actions: &mut Vec<Action>) {
        let users = self.users.entry(hop).or_default();
        let permanent = self.neighbors.get(&hop).is_some_and(|neighbor| neighbor.permanent);
        if users.is_empty() && !permanent {
            actions.push(Action::Manage(hop));
        }
        users.insert(destination);
    }

    fn leave(&mut self, hop: Hop, destination: IpAddr, actions: &mut Vec<Action>) {
        let Some(users) = self.users.get_mut(&hop) else { return };
        users.remove(&destination);
        if users.is_empty() {
            self.users.remove(&hop);
            if self.neighbors.get(&hop).is_some_and(|neighbor| neighbor.managed) {
                actions.push(Action::Release(hop));
            }
        }
    }

    fn settle_users(&mut self, hop: Hop, actions: &mut Vec<Action>) {
        let users: Vec<IpAddr> = self.users.get(&hop).into_iter().flatten().copied().collect();
        for destination in users {
            self.settle(destination, actions);
        }
    }

    /// Brings the installed adjacency in line with what is known.
    fn settle(&mut self, destination: IpAddr, actions: &mut Vec<Action>) {
        let Some(entry) = self.destinations.get_mut(&destination) else { return };
        let Some(hop) = entry.hop else {
            if entry.installed.take().is_some() {
                actions.push(Action::Delete(destination));
            }
            return;
        };
        let mac = self.neighbors.get(&hop).and_then(|neighbor| neighbor.mac);
        let uplink = self.uplinks.get(&hop.link);
        let (Some(neighbor), Some(uplink)) = (mac, uplink) else { return };
        let wanted = Adjacency { destination, vif: uplink.vif, source: uplink.mac, neighbor };
        if entry.installed != Some(wanted) {
            entry.installed = Some(wanted);
            actions.push(Action::Put(wanted));
        }
    }
}

/// Whether a prefix of either family holds an address; length 0 holds all.
fn covers(prefix: IpAddr, length: u8, address: IpAddr) -> bool {
    if length == 0 {
        return true;
    }
    match (prefix, address) {
        (IpAddr::V4(prefix), IpAddr::V4(address)) => {
            wire::Prefix::new(prefix, length).is_ok_and(|prefix| prefix.contains(address))
        }
        (IpAddr::V6(prefix), IpAddr::V6(address)) => {
            wire::Prefix::new(prefix, length).is_ok_and(|prefix| prefix.contains(address))
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "underlay_tests.rs"]
mod tests;
