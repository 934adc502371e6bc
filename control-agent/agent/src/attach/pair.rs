//! One workload's pair: what exists, what is missing, and the missing made.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rtnetlink::LinkUnspec;
use sys::ethtool::{Offload, switch_off};
use sys::netns;

use super::addresses::{Side, prepare_ipv6, set_addresses, set_default_route};
use super::link::{Device, Links, alias};
use crate::config::Workload;
use crate::desired::Attachment;
use crate::stable;

/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";

/// Why a pair does not stand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// The workload is not there yet.
    #[error("network namespace \"{0}\" is not there ({NAMESPACES}/{0})")]
    NoNamespace(String),
    /// The name inside is taken.
    #[error("\"{interface}\" in namespace \"{namespace}\" is a device of somebody else")]
    Occupied {
        /// Where.
        namespace: String,
        /// Which.
        interface: String,
    },
    /// The configured uplink is not there.
    #[error("uplink \"{0}\" is not there (node.uplink)")]
    NoUplink(String),
    /// The configured uplink has no MAC.
    #[error("uplink \"{0}\" is no Ethernet device (node.uplink)")]
    NotEthernet(String),
    /// A device was there a moment ago.
    #[error("device \"{0}\" has vanished")]
    Vanished(String),
    /// The kernel refuses.
    #[error("kernel: {0}")]
    Netlink(#[from] rtnetlink::Error),
    /// The kernel refuses.
    #[error("{what}: {error}")]
    Io {
        /// To do what.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl AttachError {
    /// Whether the next try may well succeed, with nobody doing anything about it.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            AttachError::Vanished(_) | AttachError::Netlink(_) | AttachError::Io { .. } => true,
            AttachError::NoNamespace(_)
            | AttachError::Occupied { .. }
            | AttachError::NoUplink(_)
            | AttachError::NotEthernet(_) => false,
        }
    }
}

/// What had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// Nothing existed.
    New,
    /// It stood already.
    Kept,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Made::New => "attached",
            Made::Kept => "found attached",
        })
    }
}

/// Makes what is missing of a workload's pair and sets what differs.
pub(crate) async fn attach(
    links: &Links,
    node: &str,
    workload: &Workload,
    attachment: &Attachment,
) -> Result<Made, AttachError> {
    let path = Path::new(NAMESPACES).join(&workload.namespace);
    let Ok(namespace) = File::open(&path) else {
        return Err(AttachError::NoNamespace(workload.namespace.clone()));
    };
    let host = links.find(&attachment.device).await?;
    let mut inside = {
        let interface = workload.interface.clone();
        within(&path, move |links| Box::pin(async move { links.find(&interface).await })).await?
    };
    if let Some(other) = misplaced(links, node, attachment, inside.as_ref()).await? {
        links.delete(&other).await?;
        inside = None;
    }
    let made = match (&host, &inside) {
        (Some(host), Some(inside)) if inside.peer == Some(host.index) => {
            links.change(mtu_difference(host, attachment.mtu)).await?;
            Made::Kept
        }
        (_, Some(_)) => {
            return Err(AttachError::Occupied {
                namespace: workload.namespace.clone(),
                interface: workload.interface.clone(),
            });
        }
        (Some(_), None) => {
            // Its other end went with a namespace that was made anew, or was renamed.
            links.delete(&attachment.device).await?;
            Made::New
        }
        (None, None) => Made::New,
    };
    if made == Made::New {
        make(links, node, workload, attachment, &namespace).await?;
    }
    let (workload, mtu) = (workload.clone(), attachment.mtu);
    within(&path, move |links| Box::pin(configure(links, workload, mtu))).await?;
    Ok(made)
}

/// The host end of another workload's pair whose inner end is where this workload's belongs: a place has one workload,
/// so the other was moved elsewhere by the configuration.
async fn misplaced(
    links: &Links,
    node: &str,
    attachment: &Attachment,
    inside: Option<&Device>,
) -> Result<Option<String>, AttachError> {
    let Some(peer) = inside.and_then(|inside| inside.peer) else { return Ok(None) };
    let owned = links.owned_by(node).await?;
    let host = links.all().await?.into_iter().find(|device| device.index == peer);
    let other = host.map(|device| device.name).filter(|name| *name != attachment.device);
    Ok(other.filter(|name| owned.contains_key(name)))
}

async fn make(
    links: &Links,
    node: &str,
    workload: &Workload,
    attachment: &Attachment,
    namespace: &File,
) -> Result<(), AttachError> {
    let host = &attachment.device;
    let passing = stable::passing(host);
    links.delete(&passing).await?;
    links.make_pair(host, &passing, attachment.mtu, alias(node, &workload.name)).await?;
    let result = finish(links, host, &passing, workload, namespace).await;
    if result.is_err() {
        // Nothing half-made stays.
        links.delete(host).await?;
    }
    result
}

async fn finish(
    links: &Links,
    host: &str,
    passing: &str,
    workload: &Workload,
    namespace: &File,
) -> Result<(), AttachError> {
    disable_ipv6(host)?;
    // What a sender leaves unfinished cannot be seen by AF_XDP. Set before the move: settings survive it.
    for offload in Offload::ALL {
        match switch_off(passing, offload) {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(AttachError::Io { what: "switching offloads off", error });
            }
            _ => {}
        }
    }
    let device = links.find(passing).await?;
    let device = device.ok_or_else(|| AttachError::Vanished(passing.to_owned()))?;
    links.hand_over(&device, namespace, &workload.interface).await
}

/// The host's stack shall not speak on a workload's port. No such file: the kernel has no IPv6.
fn disable_ipv6(device: &str) -> Result<(), AttachError> {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    match fs::write(path, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AttachError::Io { what: "switching IPv6 off on the host end", error })
        }
        _ => Ok(()),
    }
}

/// Sets MAC, MTU, addresses and default routes of the inner end, as far as they differ.
async fn configure(links: Links, workload: Workload, mtu: u16) -> Result<(), AttachError> {
    let name = &workload.interface;
    let device = links.find(name).await?;
    let device = device.ok_or_else(|| AttachError::Vanished(name.clone()))?;
    if workload.inet6.is_some() {
        prepare_ipv6(name)?;
    }
    links.change(difference(&device, &workload, mtu)).await?;
    let inet = workload.inet.map(|host| Side::of(host, IpAddr::V4));
    let inet6 = workload.inet6.map(|host| Side::of(host, IpAddr::V6));
    set_addresses(&links, device.index, [inet, inet6]).await?;
    for side in [inet, inet6].into_iter().flatten() {
        set_default_route(&links, device.index, side.gateway).await?;
    }
    Ok(())
}

fn difference(
    device: &Device,
    workload: &Workload,
    mtu: u16,
) -> Option<rtnetlink::LinkMessageBuilder<LinkUnspec>> {
    let right = device.mac == Some(workload.mac) && device.mtu == u32::from(mtu) && device.up;
    let change = LinkUnspec::new_with_index(device.index)
        .address(workload.mac.0.to_vec())
        .mtu(u32::from(mtu))
        .up();
    (!right).then_some(change)
}

/// The host end drops what it takes for too long: it must not be left behind when a workload's MTU rises.
fn mtu_difference(host: &Device, mtu: u16) -> Option<rtnetlink::LinkMessageBuilder<LinkUnspec>> {
    let change = LinkUnspec::new_with_index(host.index).mtu(u32::from(mtu));
    (host.mtu != u32::from(mtu)).then_some(change)
}

type Work<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, AttachError>>>>;

/// Runs `work` over the devices of a namespace, in a thread that lives there.
async fn within<T: Send + 'static>(
    namespace: &Path,
    work: impl FnOnce(Links) -> Work<T> + Send + 'static,
) -> Result<T, AttachError> {
    let namespace: PathBuf = namespace.to_owned();
    let what = "entering the network namespace";
    let outcome = tokio::task::spawn_blocking(move || {
        netns::within_path(&namespace, || -> Result<T, AttachError> {
            let io = |error| AttachError::Io { what: "opening a netlink socket", error };
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(io)?;
            runtime.block_on(async { work(Links::open().map_err(io)?).await })
        })
    });
    match outcome.await {
        Ok(inside) => inside.map_err(|error| AttachError::Io { what, error })?,
        Err(error) => Err(AttachError::Io { what, error: io::Error::other(error) }),
    }
}
