//! Interface pairs of workloads: made, kept, removed.
//!
//! | module | does |
//! |---|---|
//! | (here) | the task that keeps the pairs as configured |
//! | `pair` | one pair: what exists, what is missing, and the missing made |
//! | `link` | the few requests to the kernel that both need |
//!
//! What is right already is left alone, so an agent's restart is not felt. The host end stays down until `vrouterd` has
//! it: its kernel stack never sees a tenant's frame.

mod link;
mod pair;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::{Config, Workload};
use crate::desired::{Attachment, Uplink, mtu_behind};
use crate::stable;

pub(crate) use link::{Links, uplink};
pub(crate) use pair::AttachError;

/// Namespaces come and go without telling.
const PERIOD: Duration = Duration::from_secs(1);

/// What the task tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// A pair stands.
    Attached(String, Attachment),
    /// A pair is gone.
    Detached(String),
    /// The uplink has another MAC or MTU.
    Uplink(Uplink),
    /// Every workload was tried once.
    FirstPass,
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
    let mut first = true;
    loop {
        let config = configs.borrow_and_update().clone();
        if let Err(error) = keeper.pass(&config).await {
            warn!("attach: {error}");
        }
        if std::mem::take(&mut first) {
            let _ = keeper.events.send(Event::FirstPass).await;
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
    attached: BTreeMap<String, (Workload, Attachment)>,
    /// The last complaint of each workload: said once.
    told: BTreeMap<String, String>,
}

impl Keeper {
    async fn pass(&mut self, config: &Config) -> Result<(), AttachError> {
        self.look_at_uplink().await;
        let node = &config.node.name;
        let devices = self.links.owned_by(node).await?;
        for (device, workload) in &devices {
            if !config.workloads.iter().any(|w| w.name == *workload) {
                self.links.delete(device).await?;
                info!("workload {workload}: detached");
            }
        }
        let gone: Vec<String> = self
            .attached
            .iter()
            .filter(|(name, (_, attachment))| {
                let configured = config.workloads.iter().any(|w| w.name == **name);
                !configured || !devices.contains_key(&attachment.device)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.attached.remove(&name);
            let _ = self.events.send(Event::Detached(name)).await;
        }
        for workload in &config.workloads {
            let attachment = self.attachment(node, workload);
            let known = self.attached.get(&workload.name);
            if known.is_some_and(|known| known.0 == *workload && known.1 == attachment) {
                continue;
            }
            self.attach(node, workload, attachment).await;
        }
        Ok(())
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

    fn attachment(&self, node: &str, workload: &Workload) -> Attachment {
        let device = stable::tap(node, &workload.name);
        Attachment { device, mtu: workload.mtu.unwrap_or(mtu_behind(&self.uplink)) }
    }

    async fn attach(&mut self, node: &str, workload: &Workload, attachment: Attachment) {
        let name = &workload.name;
        match pair::attach(&self.links, node, workload, &attachment).await {
            Ok(made) => {
                self.told.remove(name);
                let (device, namespace) = (&attachment.device, &workload.namespace);
                let (interface, address) = (&workload.interface, workload.address);
                info!("workload {name}: {made} {interface} in {namespace}, {address}, {device}");
                self.attached.insert(name.clone(), (workload.clone(), attachment.clone()));
                let _ = self.events.send(Event::Attached(name.clone(), attachment)).await;
            }
            Err(error) => {
                let text = error.to_string();
                if self.told.get(name) != Some(&text) {
                    warn!("workload {name}: {text}; trying on");
                    self.told.insert(name.clone(), text);
                }
            }
        }
    }
}
