//! Requests to the kernel about devices, over rtnetlink.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

use futures_util::TryStreamExt;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, new_connection};
use tables::limits;
use tokio::task::JoinHandle;
use wire::Mac;

use super::pair::AttachError;
use crate::desired::Uplink;

/// What the alias of a host end and of a TAP begins with; the node's and the workload's names follow.
const ALIAS: &str = "vrouter-agent";

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) carrier: Carrier,
    /// Index of the other end of a pair.
    pub(crate) peer: Option<u32>,
    /// Whether it is a TAP.
    pub(crate) is_tap: bool,
    pub(crate) alias: String,
}

impl Device {
    /// The workload of this node that it was made or moved for.
    pub(crate) fn workload(&self, node: &str) -> Option<&str> {
        self.alias.strip_prefix(&alias(node, ""))
    }
}

/// Whether the other end is there, and how often that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carrier {
    pub(crate) is_up: bool,
    pub(crate) changes: u32,
}

/// The devices of the network namespace this was opened in.
pub(crate) struct Links {
    pub(crate) handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Links {
    /// Opens a socket in the namespace of the calling thread. Needs a tokio runtime.
    pub(crate) fn open() -> io::Result<Links> {
        let (connection, handle, _) = new_connection()?;
        Ok(Links { handle, connection: tokio::spawn(connection) })
    }

    pub(crate) async fn all(&self) -> Result<Vec<Device>, AttachError> {
        let messages: Vec<LinkMessage> = self.handle.link().get().execute().try_collect().await?;
        Ok(messages.into_iter().map(device).collect())
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Device>, AttachError> {
        Ok(self.all().await?.into_iter().find(|device| device.name == name))
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), AttachError> {
        match self.find(name).await? {
            Some(device) => self.remove(&device).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn remove(&self, device: &Device) -> Result<(), AttachError> {
        Ok(self.handle.link().del(device.index).execute().await?)
    }

    /// Writes down whose a device is: wherever it is moved to, that can be read.
    pub(crate) async fn mark(&self, device: &Device, mark: String) -> Result<(), AttachError> {
        let marked = LinkUnspec::new_with_index(device.index)
            .append_extra_attribute(LinkAttribute::IfAlias(mark));
        Ok(self.handle.link().set(marked.build()).execute().await?)
    }

    /// Makes a pair of one queue each: AF_XDP wants as many as the other side sends on. The host end is marked.
    pub(crate) async fn make_pair(
        &self,
        host: &str,
        other: &str,
        mtu: u16,
        mark: String,
    ) -> Result<(), AttachError> {
        let end = |name: &str| {
            [
                LinkAttribute::IfName(name.to_owned()),
                LinkAttribute::Mtu(u32::from(mtu)),
                LinkAttribute::NumTxQueues(1),
                LinkAttribute::NumRxQueues(1),
            ]
        };
        let mut peer = LinkMessage::default();
        peer.attributes.extend(end(other));
        let mut pair = LinkVeth::new(host, other)
            .mtu(u32::from(mtu))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .arp(false);
        for attribute in [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)] {
            pair = pair.append_extra_attribute(attribute);
        }
        self.handle.link().add(pair.build()).execute().await?;
        let Some(device) = self.find(host).await? else {
            return Err(AttachError::Vanished(host.to_owned()));
        };
        // Again, since not every kernel takes flags and alias when a device is made.
        let marked = LinkUnspec::new_with_index(device.index)
            .arp(false)
            .append_extra_attribute(LinkAttribute::IfAlias(mark));
        Ok(self.handle.link().set(marked.build()).execute().await?)
    }

    /// Moves a device to a namespace under another name.
    pub(crate) async fn hand_over(
        &self,
        device: &Device,
        namespace: impl AsFd,
        name: &str,
    ) -> Result<(), AttachError> {
        let message = LinkUnspec::new_with_index(device.index)
            .name(name)
            .setns_by_fd(namespace.as_fd().as_raw_fd())
            .build();
        Ok(self.handle.link().set(message).execute().await?)
    }

    /// Changes a device; nothing is sent when there is nothing to change.
    pub(crate) async fn change(
        &self,
        change: Option<LinkMessageBuilder<LinkUnspec>>,
    ) -> Result<(), AttachError> {
        match change {
            Some(change) => Ok(self.handle.link().set(change.build()).execute().await?),
            None => Ok(()),
        }
    }
}

/// The mark of a host end, and of a TAP.
pub(crate) fn alias(node: &str, workload: &str) -> String {
    format!("{ALIAS} {node} {workload}")
}

/// The node as it stands in the mark of a TAP: with the number of its network namespace, since TAPs are looked for in all
/// namespaces, and a machine may have several nodes of one name. To be asked in the node's own namespace.
pub(crate) fn tap_owner(node: &str) -> Result<String, AttachError> {
    let own = std::fs::metadata("/proc/thread-self/ns/net");
    let what = "asking for the node's network namespace";
    let own = own.map_err(|error| AttachError::Io { what, error })?;
    Ok(format!("{node}@{}", own.ino()))
}

/// The device of the fabric.
pub(crate) async fn uplink(links: &Links, name: &str) -> Result<Uplink, AttachError> {
    let device = links.find(name).await?;
    let device = device.ok_or_else(|| AttachError::NoUplink(name.to_owned()))?;
    let mac = device.mac.ok_or_else(|| AttachError::NotEthernet(name.to_owned()))?;
    let mtu = u16::try_from(device.mtu).unwrap_or(u16::MAX);
    let buffers = if sys::xsk::knows_multi_buffer().unwrap_or(false) {
        limits::MTU
    } else {
        limits::ONE_BUFFER_MTU
    };
    Ok(Uplink { name: name.to_owned(), mac, mtu, buffers })
}

fn device(message: LinkMessage) -> Device {
    let mut device = Device {
        index: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: Carrier { is_up: message.header.flags.contains(LinkFlags::LowerUp), changes: 0 },
        peer: None,
        is_tap: false,
        alias: String::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name = name,
            LinkAttribute::Address(bytes) => device.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => device.mtu = mtu,
            LinkAttribute::CarrierChanges(count) => device.carrier.changes = count,
            LinkAttribute::Link(index) => device.peer = Some(index),
            LinkAttribute::LinkInfo(info) => {
                device.is_tap = info.contains(&LinkInfo::Kind(InfoKind::Tun));
            }
            LinkAttribute::IfAlias(alias) => device.alias = alias,
            _ => {}
        }
    }
    device
}
