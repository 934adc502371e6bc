//! Where a workload's interface belongs: a name in a network namespace, what stands there, and how it is set up.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rtnetlink::LinkUnspec;
use sys::netns;

use super::addresses::{Side, has_default_route, prepare_ipv6, set_addresses, set_default_route};
use super::link::{Device, Links, alias, tap_owner};
use super::pair::AttachError;
use crate::config::{PortKind, Workload};
use crate::desired::Attachment;

/// Where `ip netns` keeps its namespaces.
pub(super) const NAMESPACES: &str = "/run/netns";

/// The place of a workload's interface.
pub(super) struct Place {
    path: PathBuf,
    namespace: File,
    interface: String,
}

impl Place {
    pub(super) fn of(workload: &Workload) -> Result<Place, AttachError> {
        let path = namespace_of(workload);
        let Ok(namespace) = File::open(&path) else {
            return Err(AttachError::NoNamespace(workload.namespace.clone()));
        };
        Ok(Place { path, namespace, interface: workload.interface.clone() })
    }

    pub(super) fn namespace(&self) -> &File {
        &self.namespace
    }

    /// What stands there, after anything of ours is gone that is another workload's, or of the other kind: a place has one
    /// workload, so the configuration has moved the other elsewhere.
    pub(super) async fn vacate(
        &self,
        links: &Links,
        node: &str,
        workload: &Workload,
        attachment: &Attachment,
    ) -> Result<Option<Device>, AttachError> {
        let interface = self.interface.clone();
        let find = move |links: Links| -> Work<_> {
            Box::pin(async move { links.find(&interface).await })
        };
        let Some(inside) = within(&self.path, find).await? else { return Ok(None) };
        if inside.is_tap {
            let owner = tap_owner(node)?;
            let right = attachment.port == PortKind::Tap
                && inside.workload(&owner) == Some(workload.name.as_str());
            if inside.workload(&owner).is_none() || right {
                return Ok(Some(inside));
            }
            self.remove(inside).await?;
            return Ok(None);
        }
        let all = links.all().await?;
        let host = all.into_iter().find(|device| Some(device.index) == inside.peer);
        let misplaced = host.filter(|host| {
            let right = attachment.port == PortKind::Veth && host.name == attachment.device;
            host.workload(node).is_some() && !right
        });
        match misplaced {
            Some(host) => {
                links.remove(&host).await?;
                Ok(None)
            }
            None => Ok(Some(inside)),
        }
    }

    /// Deletes a device that is in the namespace.
    pub(super) async fn remove(&self, device: Device) -> Result<(), AttachError> {
        within(&self.path, move |links| Box::pin(async move { links.remove(&device).await })).await
    }

    /// Sets MAC, MTU, addresses and default routes of the interface, as far as they differ.
    pub(super) async fn configure(&self, workload: &Workload, mtu: u16) -> Result<(), AttachError> {
        let workload = workload.clone();
        within(&self.path, move |links| Box::pin(configure(links, workload, mtu))).await
    }

    /// Whether the interface is as it was set up, as far as taking it down and up again changes that.
    pub(super) async fn look(&self, node: &str, workload: &Workload) -> Result<Seen, AttachError> {
        let (mark, workload) = (alias(&tap_owner(node)?, &workload.name), workload.clone());
        within(&self.path, move |links| Box::pin(look(links, mark, workload))).await
    }
}

/// What became of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is not there any more.
    Gone,
    /// It was down, and has lost its routes.
    Bare,
    /// It is as it should be, or down, which is the tenant's own affair.
    Right,
}

pub(super) fn namespace_of(workload: &Workload) -> PathBuf {
    Path::new(NAMESPACES).join(&workload.namespace)
}

/// Deletes the TAP with this mark in whatever namespace it is. One that cannot be looked into does not have it.
pub(super) async fn remove_wherever(mark: &str) -> Result<(), AttachError> {
    let io = |error| AttachError::Io { what: "listing network namespaces", error };
    for entry in fs::read_dir(NAMESPACES).map_err(io)? {
        let (path, mark) = (entry.map_err(io)?.path(), mark.to_owned());
        let remove = move |links: Links| -> Work<_> {
            Box::pin(async move {
                let all = links.all().await?;
                match all.into_iter().find(|device| device.is_tap && device.alias == mark) {
                    Some(device) => links.remove(&device).await,
                    None => Ok(()),
                }
            })
        };
        if let Err(error) = within(&path, remove).await {
            tracing::debug!("{}: {error}", path.display());
        }
    }
    Ok(())
}

async fn look(links: Links, mark: String, workload: Workload) -> Result<Seen, AttachError> {
    let device = links.find(&workload.interface).await?;
    let Some(device) = device.filter(|device| device.is_tap && device.alias == mark) else {
        return Ok(Seen::Gone);
    };
    if device.up {
        for address in workload.addresses() {
            if !has_default_route(&links, address).await? {
                return Ok(Seen::Bare);
            }
        }
    }
    Ok(Seen::Right)
}

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
