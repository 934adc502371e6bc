//! One workload's pair: what exists, what is missing, and the missing made.

use std::fmt;
use std::fs::{self, File};
use std::io;

use rtnetlink::LinkUnspec;
use sys::ethtool::{Offload, switch_off};

use super::link::{Device, Links, alias};
use super::place::{NAMESPACES, Place};
use crate::config::Workload;
use crate::desired::Attachment;
use crate::stable;

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
    pub(super) fn occupied(workload: &Workload) -> AttachError {
        AttachError::Occupied {
            namespace: workload.namespace.clone(),
            interface: workload.interface.clone(),
        }
    }

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
    /// It is somebody else's to be made.
    Awaited,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Made::New => "attached",
            Made::Kept => "found attached",
            Made::Awaited => "waiting for the TAP of",
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
    let place = Place::of(workload)?;
    let inside = place.vacate(links, node, workload, attachment).await?;
    let host = links.find(&attachment.device).await?;
    let made = match (&host, &inside) {
        (Some(host), Some(inside)) if inside.peer == Some(host.index) => {
            links.change(mtu_difference(host, attachment.mtu)).await?;
            Made::Kept
        }
        (_, Some(_)) => return Err(AttachError::occupied(workload)),
        (Some(_), None) => {
            // Its other end went with a namespace that was made anew, or was renamed; or it is a TAP's successor.
            links.delete(&attachment.device).await?;
            Made::New
        }
        (None, None) => Made::New,
    };
    if made == Made::New {
        make(links, node, workload, attachment, place.namespace()).await?;
    }
    place.configure(workload, attachment.mtu).await?;
    Ok(made)
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

/// The host end drops what it takes for too long: it must not be left behind when a workload's MTU rises.
fn mtu_difference(host: &Device, mtu: u16) -> Option<rtnetlink::LinkMessageBuilder<LinkUnspec>> {
    let change = LinkUnspec::new_with_index(host.index).mtu(u32::from(mtu));
    (host.mtu != u32::from(mtu)).then_some(change)
}
