//! Addresses and default routes of a workload's interface, in its own namespace.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::RouteMessageBuilder;
use wire::Address;

use super::link::Links;
use super::pair::AttachError;
use crate::config::Host;

/// What the interface has of one address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    address: IpAddr,
    length: u8,
    pub(super) gateway: IpAddr,
}

impl Side {
    pub(super) fn of<A: Address>(host: Host<A>, ip: fn(A) -> IpAddr) -> Side {
        let Host { address, subnet } = host;
        Side { address: ip(address), length: subnet.prefix.length(), gateway: ip(subnet.gateway) }
    }
}

/// Switches IPv6 on for an interface of the calling thread's namespace. Addresses count at once, the link-local one too:
/// nobody else can have them. Routers are not listened to: the default route is ours.
pub(super) fn prepare_ipv6(interface: &str) -> Result<(), AttachError> {
    let what = "switching IPv6 on in the workload";
    for (key, value) in
        [("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0"), ("dad_transmits", "0")]
    {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/{key}");
        let io = |error: io::Error| AttachError::Io { what, error };
        if fs::read_to_string(&path).map_err(io)?.trim() != value {
            fs::write(&path, value).map_err(io)?;
        }
    }
    Ok(())
}

/// Gives the interface these addresses and takes former ones of ours. With IPv4 that is any other one; with IPv6 any
/// other global one that was set without duplicate detection, which is how ours are marked.
pub(super) async fn set_addresses(
    links: &Links,
    index: u32,
    sides: [Option<Side>; 2],
) -> Result<(), AttachError> {
    let all: Vec<AddressMessage> =
        links.handle.address().get().set_link_index_filter(index).execute().try_collect().await?;
    let mut missing: Vec<Side> = sides.into_iter().flatten().collect();
    for message in all {
        let Some(address) = address_of(&message) else { continue };
        let length = message.header.prefix_len;
        let wanted =
            missing.iter().position(|side| (side.address, side.length) == (address, length));
        match wanted {
            Some(at) => {
                missing.swap_remove(at);
            }
            None if is_ours(&message, address) => {
                links.handle.address().del(message).execute().await?;
            }
            None => {}
        }
    }
    for side in missing {
        let mut request = links.handle.address().add(index, side.address, side.length);
        if side.address.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await?;
    }
    Ok(())
}

/// The interface's own address, which IPv6 has no attribute of its own for.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let find =
        |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn is_ours(message: &AddressMessage, address: IpAddr) -> bool {
    let marks = AddressFlags::Nodad | AddressFlags::Permanent;
    let marked = message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Flags(flags) => flags.contains(marks),
        _ => false,
    });
    address.is_ipv4() || (marked && message.header.scope == AddressScope::Universe)
}

pub(super) async fn set_default_route(
    links: &Links,
    index: u32,
    gateway: IpAddr,
) -> Result<(), AttachError> {
    let (all, hop) = match gateway {
        IpAddr::V4(gateway) => {
            (RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteAddress::Inet(gateway))
        }
        IpAddr::V6(gateway) => {
            (RouteMessageBuilder::<Ipv6Addr>::new().build(), RouteAddress::Inet6(gateway))
        }
    };
    let routes: Vec<RouteMessage> = links.handle.route().get(all).execute().try_collect().await?;
    let hop = RouteAttribute::Gateway(hop);
    let right = |route: &RouteMessage| {
        let has = |wanted: &RouteAttribute| route.attributes.contains(wanted);
        route.header.destination_prefix_length == 0 && has(&RouteAttribute::Oif(index)) && has(&hop)
    };
    if routes.iter().any(right) {
        return Ok(());
    }
    let route = match gateway {
        IpAddr::V4(gateway) => {
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build()
        }
        IpAddr::V6(gateway) => {
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(index).build()
        }
    };
    Ok(links.handle.route().add(route).replace().execute().await?)
}

/// Whether there is a route of this address' family to anywhere. Asked for one destination, since a tenant may have any
/// number of routes: IPv4's dummy address (RFC 7600) or one of IPv6's discard prefix (RFC 6666), which nobody routes alone.
pub(super) async fn has_default_route(links: &Links, family: IpAddr) -> Result<bool, AttachError> {
    let question = match family {
        IpAddr::V4(_) => {
            let nobody = Ipv4Addr::new(192, 0, 0, 8);
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(nobody, 32).build()
        }
        IpAddr::V6(_) => {
            let nobody = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(nobody, 128).build()
        }
    };
    match links.handle.route().get(question).execute().try_next().await {
        Ok(answer) => Ok(answer.is_some_and(|route| route.header.kind == RouteType::Unicast)),
        Err(rtnetlink::Error::NetlinkError(refusal)) if is_unreachable(&refusal.to_io()) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}
