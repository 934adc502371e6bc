//! Translation: floating IPs, services under addresses of a workload's own (reference dataplane.md section 14.7,
//! control-plane.md sections 4.8, 4.9 and 5.5).
//!
//! What a packet of one direction becomes is written in the key of the other: its source where the answers go, its
//! destination where they come from. So nothing about translation is stored beside the keys.

use std::net::IpAddr;

use tables::flow::{FlowAddresses, FlowKey, NatFlags, SessionFlags};
use tables::{
    Fib, FibVif, FloatingDirection, FloatingIp, FlowSettings, PortMapping, ServiceAddress,
    ServiceKind, VrfId,
};
use wire::{Carried, Translation, checksum, protocol};

use super::key::QUOTE;
use super::stamp::route;
use crate::packet::{Addresses, Fragment, Packet, Protocol};

/// How a session's first packet is translated, and where it goes then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Source and destination after translation.
    pub(crate) addresses: FlowAddresses,
    /// The ports after translation.
    pub(crate) ports: u32,
    /// Where the translated destination is.
    pub(crate) behind: VrfId,
    /// What is translated, and the kind of service.
    pub(crate) flags: SessionFlags,
    /// It may use any of these source ports; the one in `ports` is the first to try.
    pub(crate) choice: Option<tables::Ports>,
}

impl Plan {
    /// Of nothing.
    pub(crate) fn none(key: &FlowKey, vrf: VrfId) -> Plan {
        Plan {
            addresses: key.addresses,
            ports: key.ports,
            behind: vrf,
            flags: SessionFlags::default(),
            choice: None,
        }
    }

    /// Whether anything is.
    pub(crate) fn translates(&self) -> bool {
        self.flags.0 & 0xff != 0
    }

    /// Chooses the source port of a service's session.
    pub(crate) fn choose(&mut self, port: u16, before: &FlowKey) {
        let (source, destination) = (self.addresses.source(), self.addresses.destination());
        let to = (self.ports & 0xffff) as u16;
        self.change(source, destination, (port, to), before);
    }

    fn change(&mut self, source: IpAddr, destination: IpAddr, ports: (u16, u16), before: &FlowKey) {
        let Some(addresses) = FlowAddresses::new(source, destination) else { return };
        let changed = [
            (source != before.addresses.source(), NatFlags::SOURCE),
            (ports.0 != before.source_port(), NatFlags::SOURCE_PORT),
            (destination != before.addresses.destination(), NatFlags::DESTINATION),
            (ports.1 != before.destination_port(), NatFlags::DESTINATION_PORT),
        ];
        let nat = changed.iter().filter(|(is, _)| *is).fold(0, |all, (_, flag)| all | flag.0);
        self.addresses = addresses;
        self.ports = u32::from(ports.0) << 16 | u32::from(ports.1);
        self.flags = SessionFlags(self.flags.0 & !0xff | u32::from(nat));
    }
}

/// What a workload sends: to a service, or by a floating IP to where only that leads.
pub(crate) fn from_workload(fib: &Fib, vif: &FibVif, key: &FlowKey, vrf: VrfId) -> Plan {
    let mut plan = Plan::none(key, vrf);
    let Some(settings) = &vif.flow else { return plan };
    let ports = (key.source_port(), key.destination_port());
    if let Some(service) = service(settings, key) {
        plan.behind = service.vrf;
        plan.flags = match service.kind {
            ServiceKind::LinkLocal => SessionFlags::LINK_LOCAL,
            ServiceKind::Bgp => SessionFlags::BGP_SERVICE,
        };
        plan.choice = Some(service.source_ports);
        let first = service.source_ports.first;
        plan.change(service.source, service.server, (first, service.server_port), key);
        return plan;
    }
    let (source, destination) = (key.addresses.source(), key.addresses.destination());
    if let Some(floating) = leaving(fib, settings, key, vrf) {
        plan.behind = floating.vrf;
        let port = mapped(floating, key.protocol, |it| it.fixed == ports.0, |it| it.floating);
        plan.change(floating.address, destination, (port.unwrap_or(ports.0), ports.1), key);
    }
    // To another's floating IP on this node: both are translated at once.
    let hit = route(fib, plan.behind, destination);
    if let tables::FibNextHop::Encap { vif, .. } = fib.next_hop(hit.nh)
        && let Some(to) = fib.vif(*vif)
        && let Some((fixed, port)) = arriving(to, key, Some(plan.behind))
    {
        let now = plan.addresses.source();
        let source_port = (plan.ports >> 16) as u16;
        plan.behind = to.vrf;
        plan.change(now, fixed, (source_port, port), key);
        debug_assert!(source.is_ipv4() == fixed.is_ipv4());
    }
    plan
}

/// What comes for a workload: for a floating IP of its, or for itself.
pub(crate) fn to_workload(vif: &FibVif, key: &FlowKey, vrf: VrfId) -> (Plan, VrfId) {
    let mut plan = Plan::none(key, vrf);
    let Some((fixed, port)) = arriving(vif, key, None) else { return (plan, vrf) };
    let floating = vif.flow.as_ref().and_then(|settings| {
        let wanted = key.addresses.destination();
        settings.floating_ips.iter().find(|floating| floating.address == wanted)
    });
    plan.behind = vif.vrf;
    plan.change(key.addresses.source(), fixed, (key.source_port(), port), key);
    (plan, floating.map_or(vrf, |floating| floating.vrf))
}

fn service<'s>(settings: &'s FlowSettings, key: &FlowKey) -> Option<&'s ServiceAddress> {
    settings.services.iter().find(|service| {
        service.protocol == key.protocol
            && service.port == key.destination_port()
            && service.address == key.addresses.destination()
    })
}

/// The floating IP by which a workload reaches a destination: there the route is longer than in its own VRF. Of several
/// the longest, then the lowest VRF, then the lowest address (control-plane.md section 4.8).
fn leaving<'s>(
    fib: &Fib,
    settings: &'s FlowSettings,
    key: &FlowKey,
    vrf: VrfId,
) -> Option<&'s FloatingIp> {
    let (source, destination) = (key.addresses.source(), key.addresses.destination());
    let length = |vrf| {
        let hit = route(fib, vrf, destination);
        let leads = !matches!(
            fib.next_hop(hit.nh),
            tables::FibNextHop::Discard | tables::FibNextHop::Invalid
        );
        if leads { u32::from(hit.prefix_len) + 1 } else { 0 }
    };
    let own = length(vrf);
    let usable = |floating: &&FloatingIp| {
        floating.fixed == source
            && floating.direction != FloatingDirection::Ingress
            && maps(floating, key.protocol, |it| it.fixed == key.source_port())
    };
    let candidates = settings.floating_ips.iter().filter(usable);
    let lengths = candidates.map(|floating| (length(floating.vrf), floating));
    let better = lengths.filter(|(length, _)| *length > own);
    better
        .min_by_key(|(length, floating)| (u32::MAX - length, floating.vrf, floating.address))
        .map(|(_, floating)| floating)
}

/// The workload's own address and port behind a floating IP of its.
fn arriving(vif: &FibVif, key: &FlowKey, vrf: Option<VrfId>) -> Option<(IpAddr, u16)> {
    let (wanted, port) = (key.addresses.destination(), key.destination_port());
    let floating = vif.flow.as_ref()?.floating_ips.iter().find(|floating| {
        floating.address == wanted
            && vrf.is_none_or(|vrf| vrf == floating.vrf)
            && floating.direction != FloatingDirection::Egress
            && maps(floating, key.protocol, |it| it.floating == port)
    })?;
    let port =
        mapped(floating, key.protocol, |it| it.floating == port, |it| it.fixed).unwrap_or(port);
    Some((floating.fixed, port))
}

/// Whether a floating IP is for all ports, or for this one.
fn maps(floating: &FloatingIp, protocol: u8, is: impl Fn(&PortMapping) -> bool) -> bool {
    floating.ports.is_empty()
        || floating.ports.iter().any(|mapping| mapping.protocol == protocol && is(mapping))
}

fn mapped(
    floating: &FloatingIp,
    protocol: u8,
    is: impl Fn(&PortMapping) -> bool,
    port: impl Fn(&PortMapping) -> u16,
) -> Option<u16> {
    let mapping = floating.ports.iter().find(|mapping| mapping.protocol == protocol && is(mapping));
    mapping.map(port)
}

/// Makes of a packet what the key of its answers says; `None` when its headers do not allow it.
pub(crate) fn translate(packet: &mut Packet<'_>, answers: &FlowKey) -> Option<()> {
    let (source, destination) = (answers.addresses.destination(), answers.addresses.source());
    let has_ports = matches!(packet.meta.ip_protocol, protocol::TCP | protocol::UDP);
    let ports = (answers.destination_port(), answers.source_port());
    rewrite(packet, &Translation { source, destination, ports: has_ports.then_some(ports) })
}

fn rewrite(packet: &mut Packet<'_>, to: &Translation) -> Option<()> {
    let first = packet.meta.fragment != Fragment::Later;
    let transport = usize::from(packet.meta.transport - packet.meta.network);
    let carried = Carried {
        protocol: packet.meta.ip_protocol,
        transport: first.then_some(transport),
        unfinished: packet.frame.train().is_some(),
    };
    wire::translate(packet.network_mut(), carried, to)?;
    packet.meta.addresses = match (to.source, to.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Addresses::V4 { source, destination },
        (IpAddr::V6(source), IpAddr::V6(destination)) => Addresses::V6 { source, destination },
        _ => return None,
    };
    if let Some((source, destination)) =
        to.ports.filter(|_| packet.meta.fragment == Fragment::Whole)
    {
        packet.meta.ports = u32::from(source) << 16 | u32::from(destination);
    }
    Some(())
}

/// Translates an ICMP error that travels as the packets of `flow` do: its destination as theirs, its source only if it is
/// theirs (a router's is its own), and what it quotes back to what the receiver sent, which is the key of the answers.
pub(crate) fn translate_error(
    packet: &mut Packet<'_>,
    flow: &FlowKey,
    answers: &FlowKey,
) -> Option<()> {
    let own = match packet.meta.addresses {
        Addresses::V4 { source, .. } => IpAddr::V4(source),
        Addresses::V6 { source, .. } => IpAddr::V6(source),
        Addresses::None | Addresses::Hashed(_) => return None,
    };
    let is_peer = own == flow.addresses.source();
    let source = if is_peer { answers.addresses.destination() } else { own };
    let destination = answers.addresses.source();
    quote(packet, answers)?;
    rewrite(packet, &Translation { source, destination, ports: None })?;
    finish(packet)
}

fn quote(packet: &mut Packet<'_>, sent: &FlowKey) -> Option<()> {
    let at = usize::from(packet.meta.transport) + QUOTE;
    let quoted = packet.frame.data_mut().get_mut(at..)?;
    let transport = match quoted.first()? >> 4 {
        6 => wire::ipv6_payload(quoted)?.offset,
        _ => wire::Ipv4::parse(quoted)?.0.header_length(),
    };
    let has_ports = matches!(sent.protocol, protocol::TCP | protocol::UDP);
    // The quote may end before the transport's sum, which nobody checks.
    let carried =
        Carried { protocol: protocol::GRE, transport: Some(transport), unfinished: false };
    let ports = (sent.source_port(), sent.destination_port());
    let to = Translation {
        source: sent.addresses.source(),
        destination: sent.addresses.destination(),
        ports: has_ports.then_some(ports),
    };
    wire::translate(quoted, carried, &to)
}

/// The error's own sum, over all of it.
fn finish(packet: &mut Packet<'_>) -> Option<()> {
    let at = usize::from(packet.meta.transport);
    let pseudo = match (packet.meta.addresses, packet.meta.protocol) {
        (Addresses::V6 { source, destination }, Protocol::Ipv6) => {
            let length = u32::try_from(packet.frame.len().checked_sub(at)?).ok()?;
            checksum::pseudo_v6(source, destination, protocol::ICMPV6, length)
        }
        _ => checksum::Sum::ZERO,
    };
    let message = packet.frame.data_mut().get_mut(at..)?;
    message.get_mut(2..4)?.fill(0);
    let sum = pseudo.bytes(message).checksum();
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}
