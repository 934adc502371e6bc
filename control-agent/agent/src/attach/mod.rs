//! Interfaces of workloads: made, kept, removed.
//!
//! | module | does |
//! |---|---|
//! | (here) | the task that keeps them as configured |
//! | `pair` | one pair: what exists, what is missing, and the missing made |
//! | `tap` | one TAP of `vrouterd`'s making, brought to its workload |
//! | `place` | where an interface belongs: what stands there, and its set-up |
//! | `addresses` | addresses and default routes inside |
//! | `link` | the few requests to the kernel that both need |
//!
//! What is right already is left alone, so an agent's restart is not felt. The host end stays down until `vrouterd` has
//! it: its kernel stack never sees a tenant's frame.

mod addresses;
mod link;
mod pair;
mod place;
mod tap;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::config::{Config, Node, PortKind, Workload};
use crate::desired::{Attachment, Uplink, mtu_behind};
use crate::stable;

use link::Device;
use pair::Made;
use place::{Place, Seen, namespace_of};

pub(crate) use link::{Links, uplink};
pub(crate) use pair::AttachError;

/// Namespaces come and go without telling.
const PERIOD: Duration = Duration::from_secs(1);

/// While `vrouterd` is to make a TAP.
const AWAITING: Duration = Duration::from_millis(100);

/// What complaints about no single device are kept under: no name is empty.
const ALL: &str = "";

/// What the task tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// A pair stands, or a TAP has a place to come to.
    Attached(String, Attachment),
    /// It is gone.
    Detached(String),
    /// The uplink has another MAC or MTU.
    Uplink(Uplink),
    /// Every workload was tried, one that failed for what may pass a second time.
    FirstPass,
}

/// What a pass that saw the devices came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// Each workload is attached or has to be waited for.
    Whole,
    /// The kernel refused something of a workload that may well be right the next time.
    Lacking,
}

/// On the way to [`Event::FirstPass`]. A workload missing then is missing in what peers are told first, and is swept
/// from the dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Not yet; so many passes may still lack something.
    Waiting {
        retries: u8,
    },
    /// To be told now.
    Due,
    Told,
}

impl Start {
    fn after(self, outcome: &Result<Passed, AttachError>) -> Start {
        match (self, outcome) {
            (Start::Waiting { retries: retries @ 1.. }, Ok(Passed::Lacking)) => {
                Start::Waiting { retries: retries - 1 }
            }
            (Start::Waiting { .. }, Ok(_)) => Start::Due,
            (start, _) => start,
        }
    }
}

/// Keeps the pairs as configured until the configuration's sender is gone.
pub(crate) async fn keep(
    links: Links,
    uplink: Uplink,
    mut configs: watch::Receiver<Config>,
    events: mpsc::Sender<Event>,
) {
    let mut keeper =
        Keeper { links, uplink, events, attached: BTreeMap::new(), told: BTreeMap::new() };
    let mut start = Start::Waiting { retries: 1 };
    loop {
        let config = configs.borrow_and_update().clone();
        let outcome = keeper.pass(&config).await;
        match &outcome {
            Ok(_) => keeper.says_no_more(ALL),
            Err(error) => keeper.complain(ALL, &format!("attach: {error}")),
        }
        start = start.after(&outcome);
        if start == Start::Due {
            let _ = keeper.events.send(Event::FirstPass).await;
            start = Start::Told;
        }
        tokio::select! {
            changed = configs.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(keeper.pause()) => {}
        }
    }
}

struct Keeper {
    links: Links,
    uplink: Uplink,
    events: mpsc::Sender<Event>,
    attached: BTreeMap<String, Standing>,
    /// The last complaint of each workload, host end, and of all: said once.
    told: BTreeMap<String, String>,
}

/// An interface that stands, or a TAP that is waited for.
struct Standing {
    workload: Workload,
    attachment: Attachment,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A pair, and how often the host end's carrier had changed: with an interface that a tenant takes down go its routes,
    /// and IPv6 addresses.
    Pair { carrier_changes: u32 },
    /// The workload has its TAP.
    Tap,
    /// `vrouterd` has not made it yet.
    AwaitedTap,
}

/// The devices of the node's namespace, by name.
type Devices = BTreeMap<String, Device>;

impl Keeper {
    /// Until the next pass.
    fn pause(&self) -> Duration {
        let awaits = self.attached.values().any(|standing| standing.state == State::AwaitedTap);
        if awaits { AWAITING } else { PERIOD }
    }

    async fn pass(&mut self, config: &Config) -> Result<Passed, AttachError> {
        self.look_at_uplink().await;
        let node = &config.node.name;
        let all = self.links.all().await?;
        let devices: Devices =
            all.into_iter().map(|device| (device.name.clone(), device)).collect();
        self.remove_unwanted(config, &devices).await;
        self.tell_detached(config, &devices).await;
        let mut passed = Passed::Whole;
        for workload in &config.workloads {
            let attachment = self.attachment(&config.node, workload);
            if self.stands(node, workload, &attachment, &devices).await {
                continue;
            }
            let carrier = devices.get(&attachment.device).map(|device| device.carrier);
            let carrier_changes = carrier.map_or(0, |carrier| carrier.changes);
            if self.attach(node, workload, attachment, carrier_changes).await == Passed::Lacking {
                passed = Passed::Lacking;
            }
        }
        Ok(passed)
    }

    /// Deletes the pairs of workloads that are configured no more. Their TAPs go with their vifs.
    async fn remove_unwanted(&mut self, config: &Config, devices: &Devices) {
        for (name, device) in devices {
            let Some(workload) = device.workload(&config.node.name) else { continue };
            if config.workloads.iter().any(|w| w.name == workload) {
                continue;
            }
            match self.links.delete(name).await {
                Ok(()) => {
                    self.says_no_more(name);
                    info!("workload {workload}: detached");
                }
                // The others shall not suffer from it.
                Err(error) => {
                    let text = format!("workload {workload}: removing {name}: {error}");
                    self.complain(name, &text);
                }
            }
        }
    }

    async fn tell_detached(&mut self, config: &Config, devices: &Devices) {
        let is_gone = |name: &str, standing: &Standing| {
            let configured = config.workloads.iter().find(|w| w.name == *name);
            let Some(workload) = configured else { return true };
            match standing.state {
                State::Pair { .. } => devices
                    .get(&standing.attachment.device)
                    .is_none_or(|device| device.workload(&config.node.name).is_none()),
                // Were its vif left standing, `vrouterd` would make another when a pair takes its place.
                State::Tap | State::AwaitedTap => {
                    workload.port != PortKind::Tap || !namespace_of(&standing.workload).exists()
                }
            }
        };
        let gone = self.attached.iter().filter(|(name, standing)| is_gone(name, standing));
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.attached.remove(&name);
            let _ = self.events.send(Event::Detached(name)).await;
        }
    }

    /// Whether nothing is to be done for a workload, or nothing can be done yet.
    async fn stands(
        &mut self,
        node: &str,
        workload: &Workload,
        attachment: &Attachment,
        devices: &Devices,
    ) -> bool {
        let Some(standing) = self.attached.get_mut(&workload.name) else { return false };
        if standing.workload != *workload || standing.attachment != *attachment {
            return false;
        }
        let host = devices.get(&attachment.device);
        match (standing.state, host) {
            // One that is down is left so: that is the tenant's own affair.
            (State::Pair { carrier_changes }, host) => !host
                .is_some_and(|host| host.carrier.is_up && host.carrier.changes != carrier_changes),
            // A new one, wherever the former went.
            (State::Tap | State::AwaitedTap, Some(_)) => false,
            (State::AwaitedTap, None) => true,
            (State::Tap, None) => match Place::of(workload) {
                Ok(place) => matches!(place.look(node, workload).await, Ok(Seen::Right)),
                Err(_) => false,
            },
        }
    }

    fn complain(&mut self, about: &str, text: &str) {
        if self.told.get(about).map(String::as_str) != Some(text) {
            warn!("{text}; trying on");
            self.told.insert(about.to_owned(), text.to_owned());
        }
    }

    fn says_no_more(&mut self, about: &str) {
        self.told.remove(about);
    }

    /// One that is away (a device being replaced) counts as it was.
    async fn look_at_uplink(&mut self) {
        let Ok(uplink) = uplink(&self.links, &self.uplink.name).await else { return };
        if uplink != self.uplink {
            info!("uplink {}: MAC {}, MTU {}", uplink.name, uplink.mac, uplink.mtu);
            self.uplink = uplink.clone();
            let _ = self.events.send(Event::Uplink(uplink)).await;
        }
    }

    fn attachment(&self, node: &Node, workload: &Workload) -> Attachment {
        let device = stable::tap(&node.name, &workload.name);
        let most = mtu_behind(&self.uplink, node.tunnel_endpoint);
        Attachment { device, port: workload.port, mtu: workload.mtu.unwrap_or(most) }
    }

    async fn attach(
        &mut self,
        node: &str,
        workload: &Workload,
        attachment: Attachment,
        carrier_changes: u32,
    ) -> Passed {
        let name = &workload.name;
        let outcome = match workload.port {
            PortKind::Veth => pair::attach(&self.links, node, workload, &attachment).await,
            PortKind::Tap => tap::attach(&self.links, node, workload, &attachment).await,
        };
        match outcome {
            Ok(made) => {
                self.says_no_more(name);
                let state = match (workload.port, made) {
                    (PortKind::Veth, _) => State::Pair { carrier_changes },
                    (PortKind::Tap, Made::Awaited) => State::AwaitedTap,
                    (PortKind::Tap, _) => State::Tap,
                };
                let (workload, device) = (workload.clone(), attachment.device.clone());
                let (namespace, interface) = (&workload.namespace, &workload.interface);
                let addresses: Vec<String> =
                    workload.addresses().map(|address| address.to_string()).collect();
                let addresses = addresses.join(" and ");
                let text = format!("{made} {interface} in {namespace}, {addresses}, {device}");
                let before = self.attached.get(name).filter(|before| {
                    before.workload == workload && before.attachment == attachment
                });
                if before.is_some() && made == Made::Kept {
                    debug!("workload {name}: {device} is up again");
                } else {
                    info!("workload {name}: {text}");
                }
                if before.is_none() {
                    let event = Event::Attached(name.clone(), attachment.clone());
                    let _ = self.events.send(event).await;
                }
                self.attached.insert(name.clone(), Standing { workload, attachment, state });
                Passed::Whole
            }
            Err(error) => {
                self.complain(name, &format!("workload {name}: {error}"));
                if error.may_pass() { Passed::Lacking } else { Passed::Whole }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pass_is_one_that_saw_the_devices_and_had_a_second_try() {
        let unseen = || Err(AttachError::Vanished("eth0".to_owned()));
        let start = Start::Waiting { retries: 1 };
        assert_eq!(start.after(&Ok(Passed::Whole)), Start::Due);
        assert_eq!(start.after(&unseen()), start);
        let again = start.after(&Ok(Passed::Lacking));
        assert_ne!(again, Start::Due);
        assert_eq!(again.after(&unseen()), again);
        assert_eq!(again.after(&Ok(Passed::Lacking)), Start::Due, "nobody waits for ever");
        assert_eq!(Start::Told.after(&Ok(Passed::Whole)), Start::Told);
    }
}
