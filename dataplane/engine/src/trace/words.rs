//! What nodes have done with a packet, as sentences for people, from what was known of it before and behind each.
#![allow(clippy::disallowed_macros, reason = "the control thread's, when packets have ended")]

use std::net::IpAddr;

use tables::flow::{FlowId, FlowKey, SessionFlags};
use tables::{
    CompositeKind, DropReason, Fib, FibNextHop, NhId, RouteHit, RuleId, TunnelEncap, TunnelHop,
    VifId,
};
use wire::{Gre, Ipv4, Mpls, Udp, Vxlan, ethernet_payload, ethertype, protocol};

use super::{Met, Record, Trace, Way};
use crate::graph::NodeId;
use crate::hand_off::WorkerId;
use crate::packet::{
    Addresses, Cast, Fragment, Marks, Meta, OutLabel, Outer, Protocol, Spread, Trap,
};

/// A packet that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Where it came in, or what it was made of.
    pub vif: VifId,
    /// A node has made it of another packet: a copy, a piece, an answer, an error.
    pub made: bool,
    /// Bytes it had.
    pub length: usize,
    /// The first of them.
    pub headers: Vec<u8>,
    /// What each node did, in this order.
    pub steps: Vec<Step>,
    /// What became of it.
    pub ending: Ending,
}

/// What a node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, which is its file's.
    pub node: &'static str,
    /// What it found, and why it decided so.
    pub says: Vec<String>,
    /// Where the packet went from here; `None`: it ended.
    pub next: Option<&'static str>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It left by an interface.
    Sent {
        /// This one.
        vif: VifId,
    },
    /// It was dropped.
    Dropped {
        /// For this.
        reason: DropReason,
    },
    /// The agent got it.
    Agent,
    /// Another worker got it.
    HandedOver {
        /// This one.
        worker: WorkerId,
    },
    /// A fragment that waits for its datagram's head.
    Held,
    /// The agent has to decide about its flow, and it waits for that.
    Undecided,
    /// Its way is longer than what is written down.
    TooLong,
}

/// Names of what packets know by numbers only.
pub trait Names {
    /// An interface's device.
    fn vif(&self, id: VifId) -> Option<String>;
    /// A rule: whose it is, and which.
    fn rule(&self, id: RuleId) -> Option<String>;
}

/// Nothing has a name.
impl Names for () {
    fn vif(&self, _: VifId) -> Option<String> {
        None
    }

    fn rule(&self, _: RuleId) -> Option<String> {
        None
    }
}

impl Trace {
    /// What was written down, in the words of the tables as they are now, in the order in which packets ended.
    pub fn tell(&self, fib: &Fib, names: &dyn Names) -> Vec<Followed> {
        self.done.iter().map(|way| way.tell(fib, names)).collect()
    }

    /// Generation of the tables that the last packets went by.
    pub fn generation(&self) -> tables::Generation {
        self.generation
    }
}

impl Way {
    fn tell(&self, fib: &Fib, names: &dyn Names) -> Followed {
        let mut before = &self.start;
        let mut steps = Vec::with_capacity(self.records.len());
        for record in &self.records {
            let mut says = self.says((fib, names), before, record);
            if record.to == Some(NodeId::Drop) {
                says.push(format!("to be dropped: {}", reason(record.meta.reason)));
            }
            let next = record.to.map(NodeId::name);
            steps.push(Step { node: record.node.name(), says, next });
            before = &record.meta;
        }
        Followed {
            vif: self.start.rx_vif,
            made: self.made,
            length: self.length,
            headers: self.headers.to_vec(),
            steps,
            ending: self.ending(),
        }
    }

    fn ending(&self) -> Ending {
        let Some(last) = self.records.last() else { return Ending::TooLong };
        match last.node {
            _ if last.to.is_some() => Ending::TooLong,
            NodeId::HandOff => Ending::HandedOver { worker: last.meta.worker },
            NodeId::Punt => Ending::Agent,
            NodeId::Hold => Ending::Held,
            NodeId::Undecided => Ending::Undecided,
            NodeId::Drop => Ending::Dropped { reason: last.meta.reason },
            _ => Ending::Sent { vif: last.meta.tx_vif },
        }
    }

    /// What a node did.
    fn says(
        &self,
        (fib, names): (&Fib, &dyn Names),
        before: &Meta,
        record: &Record,
    ) -> Vec<String> {
        let meta = &record.meta;
        match record.node {
            NodeId::VifRx => entered(fib, names, meta),
            NodeId::Parse => parsed(meta),
            NodeId::Decap => self.decapsulated(fib, before, meta),
            // It ends without a session because its route says so.
            NodeId::Flow
                if (record.to, meta.reason) == (Some(NodeId::Drop), DropReason::Discard) =>
            {
                routed(fib, before)
            }
            NodeId::Flow => flowed(names, self.met.as_ref(), record.to),
            NodeId::Bridge => bridged(fib, before, record),
            NodeId::Control => controlled(meta, record.to),
            NodeId::Route => routed(fib, before),
            NodeId::NextHop => acted(fib, before, record),
            NodeId::Flood => vec![format!("next hop {}: {}", before.nh, hop(fib, before.nh))],
            NodeId::Encap => encapsulated(fib, before, meta),
            NodeId::VifTx => vec![format!("leaves by {}", named(names, before.tx_vif))],
            NodeId::Assemble => vec!["a fragment: it follows the head of its datagram".into()],
            NodeId::Hold => vec!["waits for the head of its datagram".into()],
            NodeId::Undecided => vec!["waits for the agent's verdict".into()],
            NodeId::Fragment => vec![trap(meta.trap)],
            NodeId::Icmp => vec![format!("its sender is told: {}", trap(before.trap))],
            NodeId::HandOff => vec![format!("to worker {}", meta.worker.0)],
            NodeId::Punt => vec![format!("to the agent: {}", trap(meta.trap))],
            NodeId::Drop => vec![
                reason(meta.reason),
                format!("charged to {} and VRF {}", vif(meta.rx_vif), meta.vrf),
            ],
        }
    }

    fn decapsulated(&self, fib: &Fib, before: &Meta, meta: &Meta) -> Vec<String> {
        let from = match meta.outer {
            Outer::V4(address) => format!(" from {address}"),
            Outer::V6(address) => format!(" from {address}"),
            Outer::None => String::new(),
        };
        let tunnel = tunnel(&self.headers).unwrap_or_else(|| "a tunnel".into());
        let mut says = vec![format!("{tunnel}{from}")];
        if meta.nh != before.nh {
            says.push(format!("next hop {}: {}", meta.nh, hop(fib, meta.nh)));
        }
        if meta.vrf != before.vrf {
            says.push(format!("in VRF {}", meta.vrf));
        }
        if meta.addresses != before.addresses {
            says.push(headers(meta));
        }
        says
    }
}

fn entered(fib: &Fib, names: &dyn Names, meta: &Meta) -> Vec<String> {
    let known = fib.vif(meta.rx_vif);
    let kind = known.map_or("not in the tables".into(), |known| format!("{:?}", known.kind));
    let mut says = format!("{} ({kind}), VRF {}", named(names, meta.rx_vif), meta.vrf);
    if meta.marks.contains(Marks::POLICY) {
        says += ", policy";
    }
    if meta.marks.contains(Marks::LEARN) {
        says += ", learns stations";
    }
    let mut says = vec![says];
    if meta.spread == Spread::Done {
        says.push("handed over by another worker".into());
    }
    says
}

fn parsed(meta: &Meta) -> Vec<String> {
    let group = if meta.cast == Cast::Group { " (a group)" } else { "" };
    vec![headers(meta), format!("for station {}{group}", meta.station)]
}

/// What a packet is.
fn headers(meta: &Meta) -> String {
    let (source, destination): (IpAddr, IpAddr) = match meta.addresses {
        Addresses::V4 { source, destination } => (source.into(), destination.into()),
        Addresses::V6 { source, destination } => (source.into(), destination.into()),
        Addresses::None | Addresses::Hashed(_) => {
            return match meta.protocol {
                Protocol::Arp => "ARP".into(),
                _ => "neither IP nor ARP".into(),
            };
        }
    };
    let part = match meta.fragment {
        Fragment::Whole => "",
        Fragment::Head => ", first fragment",
        Fragment::Later => ", later fragment",
    };
    let ends = ends(source, destination, meta.ip_protocol, meta.ports);
    format!("{ends}, TTL {}{part}", meta.ip_ttl)
}

/// Addresses with what stands for ports, and the protocol.
fn ends(source: IpAddr, destination: IpAddr, number: u8, ports: u32) -> String {
    let [a, b, c, d] = ports.to_be_bytes();
    let has_ports = matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP);
    let with = |address: IpAddr, port: [u8; 2]| match has_ports && ports != 0 {
        true => std::net::SocketAddr::new(address, u16::from_be_bytes(port)).to_string(),
        false => address.to_string(),
    };
    format!("{} -> {} {}", with(source, [a, b]), with(destination, [c, d]), protocol_name(number))
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "TCP".into(),
        protocol::UDP => "UDP".into(),
        protocol::SCTP => "SCTP".into(),
        protocol::ICMP => "ICMP".into(),
        protocol::ICMPV6 => "ICMPv6".into(),
        other => format!("protocol {other}"),
    }
}

/// The tunnel that a packet from the fabric came in, by its outer headers.
fn tunnel(frame: &[u8]) -> Option<String> {
    let found = ethernet_payload(frame)?;
    let network = frame.get(found.offset..)?;
    let (number, transport) = match found.ethertype {
        ethertype::IPV4 => {
            let (ip, _) = Ipv4::parse(network)?;
            (ip.protocol(), network.get(ip.header_length()..)?)
        }
        ethertype::IPV6 => {
            let payload = wire::ipv6_payload(network)?;
            (payload.protocol, network.get(payload.offset..)?)
        }
        _ => return None,
    };
    let label = |rest: &[u8]| Mpls::parse(rest).map(|(mpls, _)| mpls.label());
    match number {
        protocol::GRE => {
            let length = Gre::parse(transport)?.0.length()?;
            Some(format!("MPLS over GRE, label {}", label(transport.get(length..)?)?))
        }
        protocol::UDP => {
            let (udp, rest) = Udp::parse(transport)?;
            if udp.destination() == wire::port::VXLAN {
                return Some(format!("VXLAN, VNI {}", Vxlan::parse(rest)?.0.vni()?));
            }
            Some(format!("MPLS over UDP, label {}", label(rest)?))
        }
        _ => None,
    }
}

fn flowed(names: &dyn Names, met: Option<&Met>, to: Option<NodeId>) -> Vec<String> {
    let Some(met) = met else {
        return vec![match to {
            Some(NodeId::Drop) => "may not begin a session".into(),
            Some(NodeId::HandOff) => "its session is another worker's".into(),
            _ => "needs no session".into(),
        }];
    };
    let mut says = vec![match met.id {
        Some(id) => {
            let young = if met.young { ", which has just begun" } else { "" };
            format!("of session {}, flow {}{young}", session(met, id), id.index())
        }
        None => "would begin a session".into(),
    }];
    says.push(format!("network policy: {}", rule(names, met.rules.0)));
    says.push(format!("security groups: {}", rule(names, met.rules.1)));
    if met.session.contains(SessionFlags::FAT) {
        says.push("a fat flow: those are its first packet's, and each is judged for itself".into());
    }
    if met.session.contains(SessionFlags::MIDSTREAM) {
        says.push("learnt in its middle: judged as an answer".into());
    }
    if met.denied {
        says.push(format!("denied by {}", who_denied(met.reason)));
    }
    if let Some(key) = &met.becomes {
        says.push(format!("becomes {}", key_words(key)));
    }
    says.extend(met.mirrors.iter().flatten().map(|mirror| format!("copied to mirror {mirror}")));
    says
}

/// Both flows of a session as `flow -l` shows them.
fn session(met: &Met, id: FlowId) -> String {
    match met.session.contains(SessionFlags::ONE_SIDED) {
        true => id.index().to_string(),
        false => format!("{}<=>{}", id.index(), id.other().index()),
    }
}

fn key_words(key: &FlowKey) -> String {
    ends(key.addresses.source(), key.addresses.destination(), key.protocol, key.ports)
}

fn rule(names: &dyn Names, id: RuleId) -> String {
    match id {
        RuleId::NOT_EVALUATED => "not asked".into(),
        RuleId::IMPLICIT_ALLOW => "nothing forbids it".into(),
        RuleId::IMPLICIT_DENY => "no rule allows it".into(),
        RuleId::GATEWAY => "ICMP with the gateway is always allowed".into(),
        RuleId::LINK_LOCAL => "a link-local service is always allowed".into(),
        RuleId::BGP_SERVICE => "BGP as a service is always allowed".into(),
        id => match names.rule(id) {
            Some(name) => format!("rule {id} {name}"),
            None => format!("rule {id}"),
        },
    }
}

/// See [`tables::FlowDropReason`].
fn who_denied(reason: u8) -> &'static str {
    match reason {
        21 => "the policy of the network it comes from",
        22 => "the policy of the network it goes to",
        23 => "the groups of where it comes from",
        24 => "the groups of where it goes",
        _ => "hand",
    }
}

fn bridged(fib: &Fib, before: &Meta, record: &Record) -> Vec<String> {
    let (vrf, station) = (before.vrf, before.station);
    if record.to == Some(NodeId::Control) {
        return vec!["a control packet".into()];
    }
    if record.to == Some(NodeId::NextHop) && before.marks.contains(Marks::ROUTED) {
        let label = label(record.meta.label());
        let known = format!("for the router; its flow knows next hop {}{label}", record.meta.nh);
        return std::iter::once(known).chain(routed(fib, before)).collect();
    }
    vec![match fib.bridge(vrf, station) {
        Some(hit) if record.to == Some(NodeId::Route) => {
            format!("station {station} in VRF {vrf} is the router (next hop {})", hit.nh)
        }
        Some(hit) => {
            let label = hit.label.map_or(String::new(), |label| format!(", label {label}"));
            format!("station {station} in VRF {vrf}: next hop {}{label}", hit.nh)
        }
        None => format!("station {station} is not known in VRF {vrf}"),
    }]
}

fn controlled(meta: &Meta, to: Option<NodeId>) -> Vec<String> {
    vec![match to {
        Some(NodeId::VifTx) => "answered".into(),
        Some(NodeId::Punt) => format!("for the agent: {}", trap(meta.trap)),
        Some(NodeId::Drop) => "nobody is to see it".into(),
        _ => "left to be forwarded".into(),
    }]
}

fn routed(fib: &Fib, before: &Meta) -> Vec<String> {
    let vrf = before.vrf;
    let (destination, hit): (IpAddr, RouteHit) = match before.addresses {
        Addresses::V4 { destination, .. } => (destination.into(), fib.route(vrf, destination)),
        Addresses::V6 { destination, .. } => (destination.into(), fib.route(vrf, destination)),
        Addresses::None | Addresses::Hashed(_) => return vec!["nothing that can be routed".into()],
    };
    if hit == RouteHit::MISS {
        return vec![format!("{destination} in VRF {vrf}: no route")];
    }
    let prefix = network(destination, hit.prefix_len);
    let label = hit.label.map_or(String::new(), |label| format!(", label {label}"));
    vec![format!("{destination} in VRF {vrf}: {prefix}, next hop {}{label}", hit.nh)]
}

/// The prefix of this length that an address is in.
fn network(address: IpAddr, length: u8) -> String {
    let less = |bits: u32| bits.saturating_sub(length.into());
    let base: IpAddr = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(less(32)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(less(128)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    };
    format!("{base}/{length}")
}

fn acted(fib: &Fib, before: &Meta, record: &Record) -> Vec<String> {
    let meta = &record.meta;
    let mut says = vec![format!("next hop {}: {}", before.nh, hop(fib, before.nh))];
    match record.to {
        Some(NodeId::Flow) => says.push("asks for policy first".into()),
        Some(NodeId::NextHop) if meta.nh != before.nh => {
            says.push(format!("its member for this flow: {}{}", meta.nh, label(meta.label())));
        }
        Some(NodeId::Fragment | NodeId::Icmp) => says.push(trap(meta.trap)),
        _ => {}
    }
    if meta.vrf != before.vrf {
        says.push(format!("looked up again in VRF {}", meta.vrf));
    }
    says
}

/// What a next hop does.
fn hop(fib: &Fib, id: NhId) -> String {
    match fib.next_hop(id) {
        FibNextHop::Invalid => "there is none, or it is not valid".into(),
        FibNextHop::Discard => "discard".into(),
        FibNextHop::Receive { vif: to } => format!("to the host by {}", vif(*to)),
        FibNextHop::Encap { vif: to, .. } | FibNextHop::EncapGroup { vif: to } => {
            format!("to {}", vif(*to))
        }
        FibNextHop::Agent => "to the agent".into(),
        FibNextHop::Tunnel(tunnel) => tunnel_words(tunnel),
        FibNextHop::SpecialTunnel(special) => match special.uplinks.iter().flatten().next() {
            Some(tunnel) => tunnel_words(tunnel),
            None => "a tunnel without an uplink".into(),
        },
        FibNextHop::Ecmp(group) => format!("one of {} members", group.active.len()),
        FibNextHop::Translate { vrf, .. } => format!("look up again in VRF {vrf}"),
        FibNextHop::L2Receive => "the router".into(),
        FibNextHop::Resolve => "resolve the neighbour".into(),
        FibNextHop::Flood(group) => {
            let kind = match group.kind {
                CompositeKind::Fabric => "a tree's fabric list",
                CompositeKind::Evpn => "an EVPN list",
                CompositeKind::Encap => "local interfaces",
                CompositeKind::Tor => "top-of-rack switches",
                CompositeKind::Multicast => "a tree",
                CompositeKind::Ecmp(_) => "a group",
            };
            format!("{kind} with {} members", group.members.len())
        }
        FibNextHop::UdpTunnel(tunnel) => {
            let (from, to) = (tunnel.endpoints.source(), tunnel.endpoints.destination());
            format!("UDP to an analyser, {from} -> {to}")
        }
    }
}

fn tunnel_words(tunnel: &TunnelHop) -> String {
    let encap = match tunnel.encap {
        TunnelEncap::MplsOverGre | TunnelEncap::MplsOverMplsOverGre(_) => "MPLS over GRE",
        TunnelEncap::MplsOverUdp | TunnelEncap::MplsOverMplsOverUdp(_) => "MPLS over UDP",
        TunnelEncap::Vxlan => "VXLAN",
        TunnelEncap::VxlanL3(_) => "VXLAN (routed)",
        TunnelEncap::Udp { .. } => "UDP",
    };
    let unready = if tunnel.ready { "" } else { ", whose neighbour is not resolved" };
    format!("{encap} tunnel {} -> {}{unready}", tunnel.source(), tunnel.destination())
}

fn encapsulated(fib: &Fib, before: &Meta, meta: &Meta) -> Vec<String> {
    let name = match fib.next_hop(before.nh).tunnel() {
        Some(tunnel) if tunnel.encap.is_vxlan() => "VNI",
        _ => "label",
    };
    let label = match before.label() {
        OutLabel::NONE => String::new(),
        label => format!(", {name} {}", label.number()),
    };
    let mut says = vec![format!("{}{label}", hop(fib, before.nh))];
    if matches!(meta.trap, Trap::HandleDf { .. }) && meta.trap != before.trap {
        says.push(trap(meta.trap));
    }
    says
}

fn label(label: OutLabel) -> String {
    match label {
        OutLabel::NONE => String::new(),
        label => format!(", label {}", label.number()),
    }
}

fn trap(trap: Trap) -> String {
    match trap {
        Trap::Arp => "ARP".into(),
        Trap::NextHop => "the next hop leads there".into(),
        Trap::Resolve => "the neighbour is not resolved".into(),
        Trap::L3Protocols => "a protocol that is the agent's (DHCP, IGMP, MLD, discovery)".into(),
        Trap::Diag { vif: at } => format!("a diagnostic packet that would leave by {}", vif(at)),
        Trap::HandleDf { mtu } => format!("larger than what fits, {mtu} bytes"),
        Trap::ZeroTtl => "the TTL ran out".into(),
        Trap::IcmpError => "an ICMP error about a tunnel of this node".into(),
        Trap::TorControl => "a control packet from behind a top-of-rack switch".into(),
        Trap::RouterAlert => "VXLAN with the router-alert bit".into(),
        Trap::MacLearn { slot } => {
            format!("first packet of a station (bridge entry {})", slot.index())
        }
        Trap::MacMove { slot } => format!("a station has moved (bridge entry {})", slot.index()),
        Trap::MacIpLearning => "a new pair of MAC and IP address".into(),
        Trap::Bfd { .. } => "BFD".into(),
        Trap::Flow => "a flow that it has to decide about".into(),
    }
}

fn reason(reason: DropReason) -> String {
    format!("{} ({})", reason.label(), reason.name())
}

/// With its device.
fn named(names: &dyn Names, id: VifId) -> String {
    match names.vif(id) {
        Some(name) => format!("{} {name}", vif(id)),
        None => vif(id),
    }
}

fn vif(id: VifId) -> String {
    format!("vif0/{id}")
}
