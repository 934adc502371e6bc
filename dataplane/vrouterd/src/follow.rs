//! What follows from a change: of the model for ports, underlay and steering; of the kernel for the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Result;
use tables::{Key, NextHopKind, Object as ModelObject, Op, Owner, Vif, VifFlags, VifKind};

use crate::kernel::{KernelEvent, LinkManner};
use crate::ports::Outcome;
use crate::server::Server;
use crate::stations::Step;
use crate::touched::FABRIC;
use crate::underlay::{Action, Uplink};
use crate::worker::now_nanos as now;

/// How long a deleted neighbour entry stays away. Its last MAC is used meanwhile.
const RESTORE_AFTER: Duration = Duration::from_millis(100);

/// With length 0: all destinations.
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Server {
    /// Reads the kernel's tables once, after listening has begun.
    pub(crate) async fn learn_kernel(&mut self) -> Result<()> {
        let changed = self.links.replace(self.kernel.links().await?);
        let mut actions = Vec::new();
        self.underlay.resync(self.kernel.neighbors().await?, &mut actions);
        self.perform(actions).await;
        self.links_changed(changed).await;
        Ok(())
    }

    /// Follows the model after transactions.
    pub(crate) async fn follow(&mut self) {
        let touched = self.publisher.take_touched();
        if !touched.vifs.is_empty() {
            let learns = |vif: &Vif| vif.flags.contains(VifFlags::MAC_LEARN);
            self.learns = self.publisher.model().vifs(..).any(learns);
            self.age_stations();
        }
        for vif in touched.vifs {
            let wanted = self.publisher.model().vif(vif);
            self.ports.want(vif, wanted, &self.links);
        }
        self.ports_changed().await;
        if touched.tunnels {
            self.stations.look_again();
            let wanted: BTreeSet<IpAddr> = self.publisher.model().tunnel_destinations().collect();
            let mut actions = Vec::new();
            self.underlay.want(&wanted, &mut actions);
            self.perform(actions).await;
        }
        if touched.endpoints {
            self.ports.set_endpoints(self.endpoints());
        }
    }

    /// Puts the stations that workers have heard.
    pub(crate) fn learn_stations(&mut self) {
        while let Some(sighting) = self.ports.sighting() {
            let step = self.stations.heard(self.publisher.model(), sighting, now());
            let done = match step {
                Step::Nothing => Ok(()),
                Step::Put(entry) => {
                    let op = Op::Put(ModelObject::Bridge(entry));
                    self.publisher.apply(&[op], Owner::Vrouterd).map(|_| ())
                }
                Step::Moved(vrf, mac) => {
                    self.publisher.note_moved(vrf, mac);
                    Ok(())
                }
            };
            if let Err(error) = done {
                tracing::debug!("a station is not learnt: {error}");
            }
        }
    }

    /// Forgets stations that are silent, or whose interface learns no more.
    pub(crate) fn age_stations(&mut self) {
        if self.stations.is_empty() {
            return;
        }
        let (model, counters) = (self.publisher.model(), self.ports.counters());
        let gone = self.stations.stale(model, counters, now(), self.mac_aging);
        if let Err(error) = self.publisher.apply(&gone, Owner::Vrouterd) {
            tracing::debug!("stations are not forgotten: {error}");
        }
    }

    /// Follows the kernel.
    pub(crate) async fn kernel_changed(&mut self, event: KernelEvent) {
        let mut actions = Vec::new();
        match event {
            KernelEvent::Link(link) => {
                let changed = self.links.put(link);
                self.links_changed(changed).await;
            }
            KernelEvent::LinkGone(index) => {
                let changed = self.links.remove(index);
                self.links_changed(changed).await;
            }
            KernelEvent::Neighbor(hop, neighbor) => {
                self.underlay.neighbor(hop, neighbor, &mut actions);
            }
            KernelEvent::NeighborGone(hop) => {
                self.underlay.neighbor_gone(hop);
                if self.underlay.has_lost() {
                    self.restore_at.get_or_insert_with(|| Instant::now() + RESTORE_AFTER);
                }
            }
            KernelEvent::Routes(prefix, length) => self.route_changes.note(prefix, length),
            KernelEvent::Lost => {
                tracing::warn!("netlink notifications were lost; reading everything again");
                if let Err(error) = self.learn_kernel().await {
                    tracing::error!("{error:#}");
                }
            }
        }
        self.perform(actions).await;
    }

    /// Routes have changed and settled.
    pub(crate) async fn routes_settled(&mut self) {
        let mut actions = Vec::new();
        for (prefix, length) in self.route_changes.take() {
            self.underlay.routes_changed(prefix, length, &mut actions);
        }
        self.perform(actions).await;
    }

    /// Installs neighbour entries again that somebody deleted a while ago.
    pub(crate) async fn restore_neighbors(&mut self) {
        self.restore_at = None;
        let mut actions = Vec::new();
        self.underlay.restore(&mut actions);
        self.perform(actions).await;
    }

    /// Tries to open the ports that could not be opened before.
    pub(crate) async fn retry_ports(&mut self) {
        self.ports.retry(&self.links);
        self.ports_changed().await;
    }

    /// An opening has ended.
    pub(crate) async fn port_opened(&mut self, outcome: Outcome) {
        self.ports.opened(outcome, &self.links);
        self.ports_changed().await;
    }

    /// Has the kernel resolve, once more, every hop that it does not keep resolved by itself.
    pub(crate) async fn probe_unmanaged(&mut self) {
        let hops: Vec<_> = self.underlay.unmanaged().collect();
        for hop in hops {
            if let Err(error) = self.kernel.probe(hop).await {
                tracing::debug!("{error:#}");
            }
        }
    }

    /// Releases what a predecessor had the kernel keep resolved, and nobody needs.
    pub(crate) async fn release_strays(&mut self) {
        let mut actions = Vec::new();
        self.underlay.release_strays(&mut actions);
        self.perform(actions).await;
    }

    async fn links_changed(&mut self, names: BTreeSet<String>) {
        if names.is_empty() {
            return;
        }
        let uplink = |index| self.links.get(index).is_some_and(|link| names.contains(&link.name));
        if self.ports.uplinks().any(|(_, index)| uplink(index)) {
            // A link that goes down takes its routes along without a word.
            self.route_changes.note(EVERYWHERE, 0);
        }
        self.ports.links_changed(&names, &self.links);
        self.ports_changed().await;
    }

    /// Sets opened ports' links up, and tells the underlay of the uplinks there are.
    async fn ports_changed(&mut self) {
        for (link, kind) in self.ports.take_ready() {
            let manner = match kind {
                VifKind::Virtual | VifKind::Monitoring => LinkManner::Quiet,
                _ => LinkManner::AsIs,
            };
            if let Err(error) = self.kernel.set_up(link, manner).await {
                tracing::warn!("{error:#}");
            }
        }
        let uplinks = self.ports.uplinks().filter_map(|(vif, index)| {
            let mac = self.links.get(index)?.mac;
            Some((index, Uplink { vif, mac }))
        });
        let mut actions = Vec::new();
        self.underlay.set_uplinks(uplinks.collect(), &mut actions);
        self.perform(actions).await;
    }

    /// The addresses at which tunnels end here: the fabric's host routes to the host itself.
    fn endpoints(&self) -> BTreeSet<IpAddr> {
        let model = self.publisher.model();
        let here = |id| {
            let next_hop = model.next_hop(id);
            next_hop.is_some_and(|hop| matches!(hop.kind, NextHopKind::Receive(_)))
        };
        let inet = model.inet_routes(FABRIC, None);
        let inet = inet.filter(|route| route.prefix.length() == 32 && here(route.next_hop));
        let inet6 = model.inet6_routes(FABRIC, None);
        let inet6 = inet6.filter(|route| route.prefix.length() == 128 && here(route.next_hop));
        let inet = inet.map(|route| IpAddr::V4(route.prefix.address()));
        inet.chain(inet6.map(|route| IpAddr::V6(route.prefix.address()))).collect()
    }

    async fn perform(&mut self, mut actions: Vec<Action>) {
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                self.act(action, &mut actions).await;
            }
        }
    }

    async fn act(&mut self, action: Action, more: &mut Vec<Action>) {
        let result = match action {
            Action::Route(destination) => {
                let hop = self.kernel.route(destination).await;
                self.underlay.routed(destination, hop, more);
                Ok(())
            }
            Action::Manage(hop) if self.facts.probe_neighbors => self.kernel.probe(hop).await,
            Action::Manage(hop) => self.kernel.manage(hop).await,
            Action::Release(hop) => self.kernel.probe(hop).await,
            Action::Put(adjacency) => self.own(Op::Put(ModelObject::Adjacency(adjacency))),
            Action::Delete(destination) => self.own(Op::Delete(Key::Adjacency(destination))),
        };
        if let Err(error) = result {
            tracing::debug!("{action:?}: {error:#}");
        }
    }

    fn own(&mut self, op: Op) -> Result<()> {
        tracing::debug!("underlay: {op:?}");
        self.publisher.apply(std::slice::from_ref(&op), Owner::Vrouterd)?;
        Ok(())
    }
}
