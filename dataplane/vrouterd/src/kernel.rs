//! What the kernel knows of links, routes and neighbours, over rtnetlink. Translates and asks; decides nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use futures_util::stream::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType, RouteVia,
};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wire::Mac;

/// Index of a netdev in this process's network namespace.
pub(crate) type IfIndex = u32;

/// Marks neighbour entries as ours (`ip neigh` shows it as protocol): a successor releases those it has no use for.
const PROTOCOL: u8 = 0xc5;

/// A netdev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: IfIndex,
    pub(crate) name: String,
    pub(crate) mac: Mac,
    pub(crate) up: bool,
    /// Id of the XDP program it carries, 0 if none: a change is a reason to look.
    pub(crate) program: u32,
}

/// An address on a link: a neighbour, or the next router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    pub(crate) link: IfIndex,
    pub(crate) address: IpAddr,
}

/// What the kernel holds for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbor {
    /// Its MAC while the kernel trusts it.
    pub(crate) mac: Option<Mac>,
    /// Set by hand, never to be resolved.
    pub(crate) permanent: bool,
    /// The kernel keeps it resolved.
    pub(crate) managed: bool,
    /// Managed for a `vrouterd`.
    pub(crate) ours: bool,
}

/// A change in the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KernelEvent {
    /// A link is there, new or changed.
    Link(Link),
    /// A link is gone.
    LinkGone(IfIndex),
    /// A neighbour is known, new or changed.
    Neighbor(Hop, Neighbor),
    /// A neighbour was deleted.
    NeighborGone(Hop),
    /// Routes inside this prefix may lead elsewhere now.
    Routes(IpAddr, u8),
    /// Notifications were lost: all that was learnt is in doubt.
    Lost,
}

/// The two netlink sockets: one to ask with, one that listens.
#[derive(Debug)]
pub(crate) struct Kernel {
    handle: Handle,
}

impl Kernel {
    /// Opens both sockets in the current network namespace, and spawns the tasks that read them. Listening begins
    /// before anything can be asked, so what is read afterwards is never staler than the events.
    ///
    /// # Errors
    /// No netlink sockets.
    pub(crate) fn open() -> Result<(Kernel, UnboundedReceiver<KernelEvent>)> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (listener, _, mut messages) =
            rtnetlink::new_multicast_connection(&groups).context("cannot listen on netlink")?;
        let (asker, handle, _) = rtnetlink::new_connection().context("cannot open netlink")?;
        tokio::spawn(listener);
        tokio::spawn(asker);
        let (sender, events) = unbounded_channel();
        tokio::spawn(async move {
            while let Some((message, _)) = messages.next().await {
                if forward(message, &sender).is_none() {
                    break;
                }
            }
        });
        Ok((Kernel { handle }, events))
    }

    /// All links by index.
    pub(crate) async fn links(&self) -> Result<BTreeMap<IfIndex, Link>> {
        let mut links = BTreeMap::new();
        let mut stream = self.handle.link().get().execute();
        while let Some(message) = stream.try_next().await.context("cannot list the links")? {
            if let Some(link) = link_of(&message) {
                links.insert(link.index, link);
            }
        }
        Ok(links)
    }

    /// All neighbours of both families.
    pub(crate) async fn neighbors(&self) -> Result<Vec<(Hop, Neighbor)>> {
        let mut neighbors = Vec::new();
        let mut stream = self.handle.neighbours().get().execute();
        while let Some(message) = stream.try_next().await.context("cannot list the neighbours")? {
            neighbors.extend(neighbor_of(&message));
        }
        Ok(neighbors)
    }

    /// Where the kernel would send a packet to `destination`; `None` when nowhere, or to this host itself.
    pub(crate) async fn route(&self, destination: IpAddr) -> Option<Hop> {
        let length = if destination.is_ipv4() { 32 } else { 128 };
        let query = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination, length)
            .ok()?
            .build();
        let answer = self.handle.route().get(query).execute().try_next().await;
        match answer {
            Ok(Some(message)) => hop_of(destination, &message),
            Ok(None) => None,
            Err(error) => {
                tracing::debug!("no route to {destination}: {error}");
                None
            }
        }
    }

    /// Asks the kernel to keep a neighbour resolved from now on (`NTF_EXT_MANAGED`). A kernel that does not know the
    /// flag resolves it once.
    pub(crate) async fn manage(&self, hop: Hop) -> Result<()> {
        self.use_neighbor(hop, NeighbourExtFlags::Managed)
            .await
            .with_context(|| format!("cannot have the neighbour {} kept resolved", hop.address))
    }

    /// Asks the kernel to resolve a neighbour now, and takes back [`Kernel::manage`].
    pub(crate) async fn probe(&self, hop: Hop) -> Result<()> {
        self.use_neighbor(hop, NeighbourExtFlags::empty())
            .await
            .with_context(|| format!("cannot have the neighbour {} resolved", hop.address))
    }

    async fn use_neighbor(
        &self,
        hop: Hop,
        flags: NeighbourExtFlags,
    ) -> Result<(), rtnetlink::Error> {
        let mut request = self
            .handle
            .neighbours()
            .add(hop.link, hop.address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace();
        let attributes = &mut request.message_mut().attributes;
        attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
        if !flags.is_empty() {
            attributes.push(NeighbourAttribute::ExtFlags(flags));
        }
        request.execute().await
    }

    /// Sets a link up; `Quiet` links answer no ARP.
    pub(crate) async fn set_up(&self, link: IfIndex, manner: LinkManner) -> Result<()> {
        let message = LinkUnspec::new_with_index(link).up();
        let message = match manner {
            LinkManner::Quiet => message.arp(false),
            LinkManner::AsIs => message,
        };
        self.handle.link().set(message.build()).execute().await.context("cannot set the link up")
    }
}

/// How a link is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkManner {
    /// The host's end of a workload's link: the host must not speak on it.
    Quiet,
    /// The node's own.
    AsIs,
}

fn forward(
    message: NetlinkMessage<RouteNetlinkMessage>,
    sender: &UnboundedSender<KernelEvent>,
) -> Option<()> {
    let event = match message.payload {
        NetlinkPayload::Overrun(_) => Some(KernelEvent::Lost),
        NetlinkPayload::InnerMessage(inner) => event_of(&inner),
        _ => None,
    };
    match event {
        Some(event) => sender.send(event).ok(),
        None => Some(()),
    }
}

fn event_of(message: &RouteNetlinkMessage) -> Option<KernelEvent> {
    match message {
        RouteNetlinkMessage::NewLink(link) => link_of(link).map(KernelEvent::Link),
        RouteNetlinkMessage::DelLink(link) => Some(KernelEvent::LinkGone(link.header.index)),
        RouteNetlinkMessage::NewNeighbour(neighbor) => {
            neighbor_of(neighbor).map(|(hop, neighbor)| KernelEvent::Neighbor(hop, neighbor))
        }
        RouteNetlinkMessage::DelNeighbour(neighbor) => {
            neighbor_of(neighbor).map(|(hop, _)| KernelEvent::NeighborGone(hop))
        }
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            Some(routes_of(route))
        }
        // An address brings and takes routes, some of which the kernel does not announce one by one.
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {
            Some(KernelEvent::Routes(Ipv4Addr::UNSPECIFIED.into(), 0))
        }
        _ => None,
    }
}

fn link_of(message: &LinkMessage) -> Option<Link> {
    let mut name = None;
    let mut mac = Mac::ZERO;
    let mut program = 0;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Xdp(facts) => {
                program = facts.iter().find_map(program_of).unwrap_or(0);
            }
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = mac_of(bytes).unwrap_or(Mac::ZERO),
            _ => {}
        }
    }
    let up = message.header.flags.contains(LinkFlags::Up);
    Some(Link { index: message.header.index, name: name?, mac, up, program })
}

fn program_of(fact: &LinkXdp) -> Option<u32> {
    match fact {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    }
}

fn mac_of(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn neighbor_of(message: &NeighbourMessage) -> Option<(Hop, Neighbor)> {
    let mut address = None;
    let mut mac = None;
    let mut managed = false;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::V6(*ip));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = mac_of(bytes),
            NeighbourAttribute::ExtFlags(flags) => {
                managed = flags.contains(NeighbourExtFlags::Managed);
            }
            NeighbourAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    let state = &message.header.state;
    let trusted = !matches!(
        state,
        NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed
    );
    let hop = Hop { link: message.header.ifindex, address: address? };
    let permanent = matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
    let mac = mac.filter(|mac| trusted && !mac.is_zero());
    Some((hop, Neighbor { mac, permanent, managed, ours }))
}

fn hop_of(destination: IpAddr, message: &RouteMessage) -> Option<Hop> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut link = None;
    let mut address = destination;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => address = IpAddr::V4(*ip),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => address = IpAddr::V6(*ip),
            RouteAttribute::Via(RouteVia::Inet(ip)) => address = IpAddr::V4(*ip),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => address = IpAddr::V6(*ip),
            _ => {}
        }
    }
    Some(Hop { link: link?, address })
}

fn routes_of(message: &RouteMessage) -> KernelEvent {
    let length = message.header.destination_prefix_length;
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    // A default route carries no destination, nor its family in an address: length 0 stands for all.
    KernelEvent::Routes(destination.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), length)
}
