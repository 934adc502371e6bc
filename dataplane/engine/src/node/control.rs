//! Control packets of workloads and of what trees bring: ARP and neighbour discovery are answered, DHCP, IGMP, MLD and
//! router discovery go to the agent where they should (reference dataplane.md sections 10.3a, 11, 12 and 13.1).
//!
//! The node gets what `bridge` and `next_hop` find marked. Replication asks [`in_tree`] for each packet.

use tables::{BridgeFlags, DropReason, FibVif, VifFlags};
use wire::{Ethernet, icmp6, protocol};

use super::bridge;
use super::flood::Source;
use super::next_hop::once_more;
use crate::graph::{Cx, Next, Node, NodeId};
use crate::neighbor::{self, Asker, Decision, Message, Question};
use crate::packet::{Addresses, Cast, Fragment, Layer, Marks, Outer, Packet, Protocol, Trap};
use crate::storm::Storm;
use crate::vrf_counts::VrfCount;

/// Has no state.
#[derive(Default)]
pub(crate) struct Control;

impl Node for Control {
    const ID: NodeId = NodeId::Control;
    const EDGES: &'static [NodeId] =
        &[NodeId::Bridge, NodeId::NextHop, NodeId::VifTx, NodeId::Punt, NodeId::Drop];

    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let kind = Kind::of(packet);
        if let Err(reason) = admit(cx, packet, kind) {
            return Next::Drop(reason);
        }
        let asker = Asker::of(packet);
        match look(cx, packet, kind, asker) {
            Verdict::Taken(next) => next,
            Verdict::Forward if packet.meta.marks.contains(Marks::DELIVERED) => {
                once_more(cx, packet)
            }
            // What the uplink or the host would tell each other, they tell each other in the kernel.
            Verdict::Forward if matches!(asker, Asker::Underlay | Asker::Host) => {
                Next::Drop(DropReason::InterfaceDrop)
            }
            Verdict::Forward => Next::Bridge,
        }
    }
}

/// Whether a frame to a group is one for `control`.
pub(crate) fn concerns(packet: &Packet<'_>) -> bool {
    packet.meta.marks.contains(Marks::CONTROL) || Kind::of(packet) != Kind::Other
}

/// What becomes of a packet in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeDecision {
    /// To all members.
    Flood,
    /// To all but local workloads: it asks in the gateway's name.
    SpareWorkloads,
    /// To none: it is answered, trapped or dropped.
    Instead(Next),
}

/// Looks at a packet about to be replicated.
pub(crate) fn in_tree(cx: &mut Cx<'_>, packet: &mut Packet<'_>, source: Source) -> TreeDecision {
    let kind = Kind::of(packet);
    if kind == Kind::Other {
        return TreeDecision::Flood;
    }
    let served = source == Source::Tor
        || source == Source::Ingress
            && source_flags(cx, packet).contains(BridgeFlags::EVPN_CONTROL_PROCESSING);
    let asker = if served { Asker::Tor } else { Asker::of(packet) };
    // What a local port brought was looked at in front of the tree.
    if !packet.meta.marks.contains(Marks::SEEN)
        && let Verdict::Taken(next) = look(cx, packet, kind, asker)
    {
        return TreeDecision::Instead(next);
    }
    match (kind, neighbor::read(packet)) {
        (Kind::Arp, Some(Message::Question(Question { sender, .. })))
            if neighbor::leads_to_gateway(cx.fib, packet.meta.vrf, sender) =>
        {
            TreeDecision::SpareWorkloads
        }
        _ => TreeDecision::Flood,
    }
}

/// What a control packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Arp,
    Solicitation,
    Advertisement,
    RouterSolicitation,
    /// Router advertisement, redirect: never acted upon.
    Discovery,
    /// From a client, IPv4.
    Dhcp,
    /// From a client, IPv6.
    Dhcp6,
    /// IGMP or MLD.
    Membership,
    Other,
}

impl Kind {
    /// Only untagged packets are control packets; of tagged ARP, what is malformed ends here (case H01).
    fn of(packet: &Packet<'_>) -> Kind {
        const DHCP_CLIENT: u32 = 68;
        const DHCP6_CLIENT: u32 = 546;
        let meta = &packet.meta;
        if meta.protocol == Protocol::Arp {
            return Kind::Arp;
        }
        if meta.vlan.is_some() || meta.fragment != Fragment::Whole {
            return Kind::Other;
        }
        match (meta.addresses, meta.ip_protocol) {
            (Addresses::V4 { .. }, protocol::UDP) if meta.ports >> 16 == DHCP_CLIENT => Kind::Dhcp,
            (Addresses::V4 { .. }, protocol::IGMP) => Kind::Membership,
            (Addresses::V6 { .. }, protocol::UDP) if meta.ports >> 16 == DHCP6_CLIENT => {
                Kind::Dhcp6
            }
            (Addresses::V6 { .. }, protocol::ICMPV6) => Kind::of_icmp6(packet),
            _ => Kind::Other,
        }
    }

    fn of_icmp6(packet: &Packet<'_>) -> Kind {
        match packet.frame.data().get(usize::from(packet.meta.transport)) {
            Some(&icmp6::NEIGHBOR_SOLICITATION) => Kind::Solicitation,
            Some(&icmp6::NEIGHBOR_ADVERTISEMENT) => Kind::Advertisement,
            Some(&icmp6::ROUTER_SOLICITATION) => Kind::RouterSolicitation,
            Some(icmp6::ROUTER_SOLICITATION..=icmp6::REDIRECT) => Kind::Discovery,
            Some(icmp6::LISTENER_QUERY..=icmp6::LISTENER_DONE | &icmp6::LISTENER_REPORT_2) => {
                Kind::Membership
            }
            _ => Kind::Other,
        }
    }
}

/// What comes through a tunnel was held to its rate where it began.
fn admit(cx: &mut Cx<'_>, packet: &Packet<'_>, kind: Kind) -> Result<(), DropReason> {
    if packet.meta.is_from_fabric() {
        return Ok(());
    }
    let (storm, reason) = match kind {
        Kind::Dhcp | Kind::Dhcp6 | Kind::Membership | Kind::Other => {
            (Storm::Broadcast, DropReason::StormBroadcast)
        }
        _ => (Storm::Arp, DropReason::StormArp),
    };
    if cx.admit(packet.meta.rx_vif, storm) { Ok(()) } else { Err(reason) }
}

enum Verdict {
    Taken(Next),
    Forward,
}

fn look(cx: &mut Cx<'_>, packet: &mut Packet<'_>, kind: Kind, asker: Asker) -> Verdict {
    packet.meta.marks = packet.meta.marks.without(Marks::CONTROL);
    packet.meta.marks = packet.meta.marks.with(Marks::SEEN);
    let Some(vif) = cx.fib.vif(packet.meta.rx_vif) else {
        return Verdict::Taken(Next::Drop(DropReason::InvalidIf));
    };
    match kind {
        Kind::Arp | Kind::Solicitation | Kind::Advertisement => match neighbor::read(packet) {
            Some(message) if is_unknown_binding(cx, packet, vif, &message) => {
                Verdict::Taken(packet.punt(Trap::MacIpLearning))
            }
            Some(message) => resolution(cx, packet, vif, asker, (kind, message)),
            None => Verdict::Taken(Next::Drop(DropReason::InvalidArp)),
        },
        _ if packet.meta.cast == Cast::Group && is_for_agent(cx, packet, vif, kind, asker) => {
            Verdict::Taken(packet.punt(l3_trap(asker)))
        }
        _ => Verdict::Forward,
    }
}

fn l3_trap(asker: Asker) -> Trap {
    if asker == Asker::Tor { Trap::TorControl } else { Trap::L3Protocols }
}

/// Whether a message to a group that is no address resolution goes to the agent and nowhere else. From a workload that
/// is what its interface's flags say; from behind a ToR switch, what the station's bridge entry says.
fn is_for_agent(cx: &Cx<'_>, packet: &Packet<'_>, vif: &FibVif, kind: Kind, asker: Asker) -> bool {
    match (asker, kind) {
        (Asker::Workload, Kind::Dhcp) => vif.flags.dhcp4(),
        (Asker::Workload, Kind::Dhcp6) => vif.flags.dhcp6(),
        (Asker::Workload, Kind::Membership) => vif.flags.contains(VifFlags::IGMP),
        (Asker::Workload | Asker::Tor, Kind::RouterSolicitation) => true,
        (Asker::Tor, Kind::Dhcp | Kind::Dhcp6) => {
            !source_flags(cx, packet).contains(BridgeFlags::FLOOD_DHCP)
        }
        (Asker::Tor, Kind::Membership) => true,
        _ => false,
    }
}

fn source_flags(cx: &Cx<'_>, packet: &Packet<'_>) -> BridgeFlags {
    let source = Ethernet::parse(packet.frame.data()).map(|(ethernet, _)| ethernet.source());
    let entry = source.and_then(|mac| cx.fib.bridge(packet.meta.vrf, mac));
    entry.map_or(BridgeFlags::default(), |entry| entry.flags)
}

/// Whether a workload speaks for an address that its routes do not have at its MAC (section 2.7), and there is an agent to
/// be told; the interface of a bridged network alone wants to know of MACs only.
fn is_unknown_binding(cx: &Cx<'_>, packet: &Packet<'_>, vif: &FibVif, message: &Message) -> bool {
    let wanted = vif.flags.contains(VifFlags::MAC_IP_LEARNING) && packet.meta.is_from_workload();
    if !wanted || cx.fib.agent().is_none() {
        return false;
    }
    let source = Ethernet::parse(packet.frame.data()).map(|(ethernet, _)| ethernet.source());
    let (Some(mac), Some(sender)) = (source, message.sender()) else { return false };
    if !vif.flags.contains(VifFlags::L3) {
        return sender.is_ipv4() && cx.fib.bridge(packet.meta.vrf, mac).is_none();
    }
    !neighbor::has_binding(cx.fib, packet.meta.vrf, sender, mac)
}

/// ARP and neighbour discovery.
fn resolution(
    cx: &mut Cx<'_>,
    packet: &mut Packet<'_>,
    vif: &FibVif,
    asker: Asker,
    (kind, message): (Kind, Message),
) -> Verdict {
    let trap = if kind == Kind::Arp { Trap::Arp } else { l3_trap(asker) };
    match message {
        Message::Question(question) => {
            let decision = neighbor::decide(cx.fib, packet, vif, asker, &question);
            if let Some(what) = counted(&decision, asker) {
                cx.counters.met(packet.meta.vrf, what, 1);
            }
            match decision {
                Decision::Answer(answer) => {
                    if !neighbor::answer(packet, &question, answer) {
                        return Verdict::Taken(Next::Drop(DropReason::Push));
                    }
                    Verdict::Taken(send_answer(cx, packet, vif, asker, &question))
                }
                Decision::Flood => Verdict::Forward,
                Decision::Mirror => {
                    cx.trap_copy(packet, trap);
                    Verdict::Forward
                }
                Decision::TrapAndCrossConnect => {
                    cx.trap_copy(packet, trap);
                    Verdict::Taken(Next::Drop(DropReason::InterfaceDrop))
                }
                // The uplink's neighbours are the kernel's own: there is nobody to cross-connect to.
                Decision::CrossConnect => Verdict::Taken(Next::Drop(DropReason::InterfaceDrop)),
                Decision::Drop(reason) => Verdict::Taken(Next::Drop(reason)),
            }
        }
        // What is said in a workload's own VLAN is no news.
        Message::Reply { .. } if packet.meta.vlan.is_some() => Verdict::Forward,
        Message::Reply { .. } => reply(cx, packet, asker, trap),
        Message::Other => Verdict::Forward,
    }
}

/// What a decision counts as in the packet's VRF.
fn counted(decision: &Decision, asker: Asker) -> Option<VrfCount> {
    Some(match (asker, decision) {
        (Asker::Workload, Decision::Answer(answer)) if answer.router => VrfCount::ArpVirtualProxys,
        (Asker::Workload, Decision::Answer(_)) => VrfCount::ArpVirtualStitchs,
        (Asker::Workload, Decision::Flood | Decision::Mirror) => VrfCount::ArpVirtualFloods,
        (Asker::Tor, Decision::Answer(_)) => VrfCount::ArpTorProxys,
        (Asker::Overlay | Asker::Underlay, Decision::Answer(answer)) if !answer.router => {
            VrfCount::ArpPhysicalStitchs
        }
        (Asker::Overlay | Asker::Underlay | Asker::Tor, Decision::Flood | Decision::Mirror) => {
            VrfCount::ArpPhysicalFloods
        }
        _ => return None,
    })
}

/// Section 11.3. To the router: `bridge` sees to that.
fn reply(cx: &mut Cx<'_>, packet: &mut Packet<'_>, asker: Asker, trap: Trap) -> Verdict {
    match asker {
        Asker::Host => Verdict::Taken(Next::Drop(DropReason::InterfaceDrop)),
        Asker::Underlay => {
            cx.trap_copy(packet, trap);
            Verdict::Taken(Next::Drop(DropReason::InterfaceDrop))
        }
        Asker::Workload | Asker::Tor if packet.meta.cast == Cast::Group => {
            cx.trap_copy(packet, trap);
            Verdict::Forward
        }
        _ => Verdict::Forward,
    }
}

/// Section 11.5. To a workload or the host the answer leaves where the question came in; elsewhere it takes the way of
/// the asker's bridge entry.
fn send_answer(
    cx: &Cx<'_>,
    packet: &mut Packet<'_>,
    vif: &FibVif,
    asker: Asker,
    question: &Question,
) -> Next {
    if matches!(asker, Asker::Workload | Asker::Host | Asker::Underlay) {
        packet.meta.tx_vif = vif.id;
        return Next::VifTx;
    }
    let Some(hit) = cx.fib.bridge(packet.meta.vrf, question.station) else {
        return Next::Drop(DropReason::InvalidNh);
    };
    packet.meta.station = question.station;
    packet.meta.cast = Cast::Unicast;
    packet.meta.layer = Layer::L2;
    packet.meta.marks = packet.meta.marks.without(Marks::DELIVERED);
    // The answer goes back through the tunnel the question came by: that is no loop.
    packet.meta.outer = Outer::None;
    bridge::back_to(cx, packet, &hit)
}

/// What a frame to the router that `control` has left alone means: for the agent, or nothing.
pub(crate) fn to_router(cx: &Cx<'_>, packet: &mut Packet<'_>) -> Option<Next> {
    let from_workload = packet.meta.is_from_workload();
    let flags = cx.fib.vif(packet.meta.rx_vif).map_or(VifFlags::default(), |vif| vif.flags);
    match Kind::of(packet) {
        Kind::Arp => Some(match neighbor::read(packet) {
            // An answer to a question of the agent's.
            Some(Message::Reply { .. }) if from_workload && packet.meta.vlan.is_none() => {
                packet.punt(Trap::Arp)
            }
            _ => Next::Drop(DropReason::NowhereToGo),
        }),
        Kind::Advertisement | Kind::RouterSolicitation if from_workload => {
            Some(packet.punt(Trap::L3Protocols))
        }
        Kind::Dhcp6 if from_workload && flags.dhcp6() => Some(packet.punt(Trap::L3Protocols)),
        Kind::Solicitation | Kind::Advertisement | Kind::RouterSolicitation | Kind::Discovery => {
            Some(Next::Drop(DropReason::NowhereToGo))
        }
        _ => None,
    }
}

/// Goes to the agent: where the next hop that leads there was reached (section 12 on BFD).
pub(crate) fn agent_trap(packet: &Packet<'_>) -> Trap {
    const BFD: u32 = 3784;
    const STATE: u8 = 0xc0;
    let meta = &packet.meta;
    let state = usize::from(meta.transport) + wire::Udp::LEN + 1;
    match packet.frame.data().get(state) {
        Some(byte)
            if meta.ip_protocol == protocol::UDP
                && meta.addresses != Addresses::None
                && meta.ports & 0xffff == BFD =>
        {
            Trap::Bfd { state: byte & STATE }
        }
        _ => Trap::NextHop,
    }
}
