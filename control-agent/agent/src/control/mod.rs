//! The agent without sockets, files and clock but for the id file: what happens in, what to do out.
//!
//! | module | holds |
//! |---|---|
//! | (here) | `Control`: configuration, peers, RIB, what is wanted of the dataplane |
//! | `convergence` | since this start, has every peer told its routes? |

mod convergence;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::Time;
use proto::bgp::{
    Action, AdjOut, ConnectionId, Event, Family, Fsm, Negotiated, Settings, StopReason, Way,
    encode_end_of_rib,
};
use tables::Key;

use crate::config::{Bgp, Config, Neighbor, Workload};
use crate::desired::{
    Attachment, Desired, Inputs, Objects, Remote, Uplink, desired, place, router_mac,
};
use crate::ids::{Ids, IdsError};
use crate::rib::Rib;
use crate::rib::decision::select;
use crate::rib::export::{Exports, exports};
use crate::rib::import::{Imported, Refusal, import};

use convergence::Convergence;

/// The families every peer is offered.
const FAMILIES: [Family; 3] = [Family::Vpn4, Family::Vpn6, Family::Evpn];

/// What happens.
#[derive(Debug)]
pub(crate) enum Input {
    /// A connection of a peer stands.
    Connected(IpAddr, ConnectionId, Way),
    /// A call failed.
    DialFailed(IpAddr),
    /// Bytes came in.
    Received(IpAddr, ConnectionId, Vec<u8>),
    /// A connection broke.
    Closed(IpAddr, ConnectionId),
    /// A deadline may have come.
    Timer,
    /// A workload's interface pair stands.
    Attached(String, Attachment),
    /// A workload's interface pair is gone.
    Detached(String),
    /// The uplink has another MAC or MTU.
    Uplink(Uplink),
    /// Begin to talk to peers.
    Start,
    /// A new configuration.
    Configure(Box<Config>),
    /// End, to come back.
    Stop,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Call a peer at this port.
    Dial(IpAddr, u16),
    /// Send on a connection.
    Send(IpAddr, ConnectionId, Vec<u8>),
    /// Close a connection, after what was sent.
    Close(IpAddr, ConnectionId),
    /// Tell the operator.
    Log(String),
}

struct Peer {
    neighbor: Neighbor,
    fsm: Fsm,
    out: AdjOut,
}

/// See the module.
pub(crate) struct Control {
    config: Config,
    uplink: Uplink,
    ids: Ids,
    attached: BTreeMap<String, Attachment>,
    peers: BTreeMap<IpAddr, Peer>,
    rib: Rib,
    remote: Remote,
    exports: Exports,
    convergence: Convergence,
    started: bool,
    /// This start is a restart, and not everything is told yet.
    restarting: bool,
    /// The dataplane may have to be another.
    dirty: bool,
    /// Our routes may be others than peers were told.
    untold: bool,
    refusals: BTreeSet<Refusal>,
    left_out: Vec<String>,
}

impl Control {
    /// An agent that has not started to talk to peers.
    pub(crate) fn new(config: Config, uplink: Uplink, mut ids: Ids, now: Time) -> Control {
        // The configuration may have changed while no agent ran.
        free_others(&mut ids, &config);
        let patience = config.bgp.as_ref().map_or(0, |bgp| bgp.convergence_time);
        let deadline = now + Duration::from_secs(u64::from(patience));
        let peers = config.bgp.iter().flat_map(|bgp| &bgp.neighbors).map(|n| n.address);
        Control {
            convergence: Convergence::new(peers, deadline),
            restarting: ids.existed(),
            config,
            uplink,
            ids,
            attached: BTreeMap::new(),
            peers: BTreeMap::new(),
            rib: Rib::default(),
            remote: Remote::new(),
            exports: Exports::new(),
            started: false,
            dirty: true,
            untold: true,
            refusals: BTreeSet::new(),
            left_out: Vec::new(),
        }
    }

    /// What is configured now.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether what the dataplane has besides may be swept.
    pub(crate) fn may_sweep(&self) -> bool {
        self.convergence.is_reached()
    }

    /// What was somebody's once and is nobody's any more: the dataplane must not have it.
    pub(crate) fn resting(&self) -> BTreeSet<Key> {
        self.ids.resting()
    }

    /// What the last [`Control::settle`] left out for want of ids; the next one tries again.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// When [`Input::Timer`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let peers = self.peers.values().filter_map(|peer| peer.fsm.deadline());
        let convergence = self.convergence.deadline().filter(|_| self.started);
        peers.chain(convergence).min()
    }

    /// Takes one input. What follows from it for routes and dataplane is done by [`Control::settle`].
    pub(crate) fn handle(&mut self, input: Input, now: Time) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Connected(address, id, way) => {
                if self.peers.contains_key(&address) {
                    self.event(address, Event::Connected(id, way), now, &mut out);
                } else {
                    out.push(Output::Close(address, id));
                }
            }
            Input::DialFailed(address) => self.event(address, Event::DialFailed, now, &mut out),
            Input::Received(address, id, bytes) => {
                self.event(address, Event::Received(id, &bytes), now, &mut out);
            }
            Input::Closed(address, id) => self.event(address, Event::Closed(id), now, &mut out),
            Input::Timer => {
                let addresses: Vec<IpAddr> = self.peers.keys().copied().collect();
                for address in addresses {
                    self.event(address, Event::Timer, now, &mut out);
                }
            }
            Input::Attached(workload, attachment) => {
                self.attached.insert(workload, attachment);
                self.workloads_changed();
            }
            Input::Detached(workload) => {
                self.attached.remove(&workload);
                self.workloads_changed();
            }
            Input::Uplink(uplink) => {
                self.uplink = uplink;
                self.workloads_changed();
            }
            Input::Start => {
                self.started = true;
                self.match_peers(now, &mut out);
            }
            Input::Configure(config) => self.configure(*config, now, &mut out),
            Input::Stop => {
                let addresses: Vec<IpAddr> = self.peers.keys().copied().collect();
                for address in addresses {
                    self.event(address, Event::Stop(StopReason::Restart), now, &mut out);
                }
            }
        }
        if self.started && self.convergence.check(now) {
            self.restarting = false;
            self.peers.values_mut().for_each(|peer| peer.fsm.converged());
            out.push(Output::Log(
                "all peers have told their routes, or had the time to".to_owned(),
            ));
            self.dirty = true;
        }
        out
    }

    /// Tells peers what changed of our routes, and gives what the dataplane should have, if that may have changed since
    /// the last call. New ids are on disk before either.
    ///
    /// # Errors
    /// [`IdsError`] when ids cannot be written; the next call tries again.
    pub(crate) fn settle(
        &mut self,
        out: &mut Vec<Output>,
    ) -> Result<Option<Arc<Objects>>, IdsError> {
        if self.untold {
            self.export(out)?;
        }
        if !self.dirty {
            return Ok(None);
        }
        let Imported { candidates, bindings, refusals, origins } = import(&self.config, &self.rib);
        let mut remote = Remote::new();
        for ((network, beyond), candidates) in candidates {
            let key = (network.to_owned(), beyond);
            let before = self.remote.get(&key).map_or(&[][..], Vec::as_slice);
            let slots = place(before, &select(&candidates));
            remote.insert(key, slots);
        }
        self.remote = remote;
        let inputs = Inputs {
            config: &self.config,
            uplink: &self.uplink,
            attached: &self.attached,
            remote: &self.remote,
            bindings: &bindings,
            origins: &origins,
        };
        let Desired { objects, next_hops, left_out } = desired(&inputs, &mut self.ids);
        if self.convergence.is_reached() {
            self.ids.keep_next_hops(|name| next_hops.contains(name));
        }
        self.ids.save()?;
        // What has no id now may have one once others have rested.
        self.dirty = !left_out.is_empty();
        self.untold = self.dirty;
        self.left_out = left_out;
        let refusals: BTreeSet<Refusal> = refusals.into_iter().collect();
        for (key, why) in refusals.difference(&self.refusals) {
            let (family, rd, what) = (key.family, key.rd, key.destination);
            out.push(Output::Log(format!("route {what} ({family}, RD {rd}) is not used: {why}")));
        }
        self.refusals = refusals;
        Ok(Some(Arc::new(objects)))
    }

    fn configure(&mut self, config: Config, now: Time, out: &mut Vec<Output>) {
        // What is attached stays so until it is told to be gone: a workload that is removed and comes back before
        // anybody touched its pair is attached, and nobody would tell so again.
        self.config = config;
        free_others(&mut self.ids, &self.config);
        self.workloads_changed();
        if self.started {
            self.match_peers(now, out);
        }
    }

    /// Starts, stops and reconfigures peers until they are those of the configuration. What changed of a peer costs no
    /// route, unless it is an AS.
    fn match_peers(&mut self, now: Time, out: &mut Vec<Output>) {
        let wanted: BTreeMap<IpAddr, (Neighbor, Settings)> = self
            .config
            .bgp
            .iter()
            .flat_map(|bgp| bgp.neighbors.iter().map(move |neighbor| (bgp, neighbor)))
            .map(|(bgp, n)| (n.address, (n.clone(), self.settings(bgp, n))))
            .collect();
        let obsolete: Vec<IpAddr> = self
            .peers
            .iter()
            .filter(|(address, peer)| {
                wanted.get(address).is_none_or(|(_, settings)| {
                    let known = peer.fsm.settings();
                    (settings.local_as, settings.peer_as) != (known.local_as, known.peer_as)
                })
            })
            .map(|(address, _)| *address)
            .collect();
        for address in obsolete {
            self.event(address, Event::Stop(StopReason::Deconfigured), now, out);
            self.peers.remove(&address);
            if !wanted.contains_key(&address) {
                self.convergence.forget(address);
            }
        }
        for (address, (neighbor, settings)) in wanted {
            if let Some(peer) = self.peers.get_mut(&address) {
                peer.neighbor = neighbor;
                if *peer.fsm.settings() != settings {
                    let actions = peer.fsm.reconfigure(settings, now);
                    self.act_all(address, actions, now, out);
                }
                continue;
            }
            let mut fsm = Fsm::new(settings);
            if self.restarting {
                fsm.restarted();
            }
            self.peers.insert(address, Peer { neighbor, fsm, out: AdjOut::default() });
            self.event(address, Event::Start, now, out);
        }
    }

    fn settings(&self, bgp: &Bgp, neighbor: &Neighbor) -> Settings {
        Settings {
            local_as: bgp.as_number,
            router_id: self.config.node.router_id,
            peer_as: neighbor.as_number,
            hold_time: neighbor.hold_time,
            families: FAMILIES.to_vec(),
            dialing: neighbor.dialing,
            restart_time: bgp.restart_time,
        }
    }

    /// Workloads, networks or encapsulations are others: so are our routes.
    fn workloads_changed(&mut self) {
        self.dirty = true;
        self.untold = true;
    }

    fn export(&mut self, out: &mut Vec<Output>) -> Result<(), IdsError> {
        let attached = |workload: &Workload| self.attached.contains_key(&workload.name);
        let router_mac = router_mac(&self.config, &self.uplink);
        self.exports = exports(&self.config, &mut self.ids, router_mac, attached);
        self.ids.save()?;
        self.untold = false;
        let addresses: Vec<IpAddr> = self.peers.keys().copied().collect();
        addresses.into_iter().for_each(|address| self.tell(address, out));
        Ok(())
    }

    /// Sends a peer what it does not know yet.
    fn tell(&mut self, address: IpAddr, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let Some((id, negotiated)) = peer.fsm.session() else { return };
        let (sender, families) = (negotiated.sender, &negotiated.families);
        let messages = peer.out.difference(sender, families, &self.exports);
        out.extend(messages.into_iter().map(|bytes| Output::Send(address, id, bytes)));
    }

    fn event(&mut self, address: IpAddr, event: Event<'_>, now: Time, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let actions = peer.fsm.handle(event, now);
        self.act_all(address, actions, now, out);
    }

    fn act_all(&mut self, address: IpAddr, actions: Vec<Action>, now: Time, out: &mut Vec<Output>) {
        for action in actions {
            self.act(address, action, now, out);
        }
    }

    fn act(&mut self, address: IpAddr, action: Action, now: Time, out: &mut Vec<Output>) {
        match action {
            Action::Dial => {
                let port = self.peers.get(&address).map_or(179, |peer| peer.neighbor.port);
                out.push(Output::Dial(address, port));
            }
            Action::Send(id, bytes) => out.push(Output::Send(address, id, bytes)),
            Action::Close(id) => out.push(Output::Close(address, id)),
            Action::Up(id, negotiated) => self.session_up(address, id, &negotiated, now, out),
            Action::Down => {
                self.convergence.down(address);
                out.push(Output::Log(format!("peer {address}: session down")));
            }
            Action::Routes(update, relation) => {
                self.convergence.heard(address, update.end_of_rib, now);
                self.rib.update(address, relation, &update);
                self.dirty = true;
            }
            Action::Refresh(family) => {
                if let Some(peer) = self.peers.get_mut(&address) {
                    peer.out.forget(family);
                }
                self.tell(address, out);
            }
            Action::Stale(family) => self.rib.mark_stale(address, family),
            Action::Sweep(family) => {
                self.rib.sweep(address, family);
                self.dirty = true;
            }
            Action::Flush(family) => {
                self.rib.flush(address, family);
                self.dirty = true;
            }
            Action::Report(report) => out.push(Output::Log(format!("peer {address}: {report}"))),
        }
    }

    /// Our routes depend on nobody else's: they and End-of-RIB go out at once, restarted or not.
    fn session_up(
        &mut self,
        address: IpAddr,
        id: ConnectionId,
        negotiated: &Negotiated,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let families: Vec<String> = negotiated.families.iter().map(Family::to_string).collect();
        let peer_as = negotiated.peer.as_number;
        let text = format!("peer {address}: session up, AS {peer_as}, {}", families.join(" "));
        out.push(Output::Log(text));
        self.convergence.up(address, negotiated, now);
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.out.reset();
        }
        self.tell(address, out);
        let ends = negotiated.families.iter().map(|family| encode_end_of_rib(*family));
        out.extend(ends.map(|bytes| Output::Send(address, id, bytes)));
    }
}

/// Frees the ids of what is not configured.
fn free_others(ids: &mut Ids, config: &Config) {
    let networks: Vec<&str> = config.networks.iter().map(|n| n.name.as_str()).collect();
    let workloads = config.workloads.iter().map(|w| (w.name.as_str(), w.network.as_str()));
    let mirrors: Vec<&str> = config.mirrors.iter().map(|m| m.name.as_str()).collect();
    ids.keep_configured(&networks, &workloads.collect::<Vec<_>>(), &mirrors);
}

#[cfg(test)]
mod tests;
