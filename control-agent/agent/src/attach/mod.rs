//! Interface pairs of workloads: made, kept, removed.
//!
//! | module | does |
//! |---|---|
//! | (here) | the task that keeps the pairs as configured |
//! | `pair` | one pair: what exists, what is missing, and the missing made |
//! | `addresses` | addresses and default routes inside |
//! | `link` | the few requests to the kernel that both need |
//!
//! What is right already is left alone, so an agent's restart is not felt. The host end stays down until `vrouterd` has
//! it: its kernel stack never sees a tenant's frame.

mod addresses;
mod link;
mod pair;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::config::{Config, Node, Workload};
use crate::desired::{Attachment, Uplink, mtu_behind};
use crate::stable;

use link::Owned;

pub(crate) use link::{Links, uplink};
pub(crate) use pair::AttachError;

/// Namespaces come and go without telling.
const PERIOD: Duration = Duration::from_secs(1);

/// What complaints about no single device are kept under: no name is empty.
const ALL: &str = "";

/// What the task tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// A pair stands.
    Attached(String, Attachment),
    /// A pair is gone.
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
            () = tokio::time::sleep(PERIOD) => {}
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

/// A pair that stands.
struct Standing {
    workload: Workload,
    attachment: Attachment,
    /// How often the host end's carrier had changed: with an interface that a tenant takes down go its routes, and IPv6
    /// addresses.
    carrier_changes: u32,
}

impl Keeper {
    async fn pass(&mut self, config: &Config) -> Result<Passed, AttachError> {
        self.look_at_uplink().await;
        let node = &config.node.name;
        let devices = self.links.owned_by(node).await?;
        for (device, Owned { workload, .. }) in &devices {
            if !config.workloads.iter().any(|w| w.name == *workload) {
                match self.links.delete(device).await {
                    Ok(()) => {
                        self.says_no_more(device);
                        info!("workload {workload}: detached");
                    }
                    // The others shall not suffer from it.
                    Err(error) => {
                        let text = format!("workload {workload}: removing {device}: {error}");
                        self.complain(device, &text);
                    }
                }
            }
        }
        let gone: Vec<String> = self
            .attached
            .iter()
            .filter(|(name, standing)| {
                let configured = config.workloads.iter().any(|w| w.name == **name);
                !configured || !devices.contains_key(&standing.attachment.device)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.attached.remove(&name);
            let _ = self.events.send(Event::Detached(name)).await;
        }
        let mut passed = Passed::Whole;
        for workload in &config.workloads {
            let attachment = self.attachment(&config.node, workload);
            let carrier = devices.get(&attachment.device).map(|device| device.carrier);
            let stands = self.attached.get(&workload.name).is_some_and(|standing| {
                let same = standing.workload == *workload && standing.attachment == attachment;
                // One that is down is left so: that is the tenant's own affair.
                let back = carrier.is_some_and(|carrier| {
                    carrier.is_up && carrier.changes != standing.carrier_changes
                });
                same && !back
            });
            if stands {
                continue;
            }
            let changes = carrier.map_or(0, |carrier| carrier.changes);
            if self.attach(node, workload, attachment, changes).await == Passed::Lacking {
                passed = Passed::Lacking;
            }
        }
        Ok(passed)
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
        Attachment { device, mtu: workload.mtu.unwrap_or(most) }
    }

    async fn attach(
        &mut self,
        node: &str,
        workload: &Workload,
        attachment: Attachment,
        carrier_changes: u32,
    ) -> Passed {
        let name = &workload.name;
        match pair::attach(&self.links, node, workload, &attachment).await {
            Ok(made) => {
                self.says_no_more(name);
                let (workload, device) = (workload.clone(), attachment.device.clone());
                let standing = Standing { workload, attachment, carrier_changes };
                let before = self.attached.insert(name.clone(), standing);
                let Some(Standing { workload, attachment, .. }) = self.attached.get(name) else {
                    return Passed::Lacking;
                };
                let known = before.is_some_and(|before| {
                    before.workload == *workload && before.attachment == *attachment
                });
                if known {
                    debug!("workload {name}: {device} is up again");
                    return Passed::Whole;
                }
                let (namespace, interface) = (&workload.namespace, &workload.interface);
                let addresses: Vec<String> =
                    workload.addresses().map(|address| address.to_string()).collect();
                let addresses = addresses.join(" and ");
                info!("workload {name}: {made} {interface} in {namespace}, {addresses}, {device}");
                let event = Event::Attached(name.clone(), attachment.clone());
                let _ = self.events.send(event).await;
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
