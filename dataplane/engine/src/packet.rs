//! A packet on its way through the graph: its frame, and what the nodes have found out about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use port::Frame;
use tables::flow::FlowId;
use tables::{BridgeSlot, DropReason, NhId, VifId, VifKind, VrfId};
use wire::{Mac, ethertype};

use crate::graph::Next;
use crate::hand_off::WorkerId;

/// A frame and its metadata, where they lie in the burst: packets are moved by index, never copied.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    /// The bytes.
    pub(crate) frame: &'a mut Frame,
    /// What is known about them.
    pub(crate) meta: &'a mut Meta,
}

/// Per-packet metadata (reference dataplane.md section 1).
///
/// In the order of declaration, so that what `arrive` sets lies together and is written with a few wide stores.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Meta {
    /// The next hop it was given to last.
    pub(crate) nh: NhId,
    /// Label or VNI to leave with; [`NO_LABEL`] for none, which saves a word.
    label: OutLabel,
    /// Its flow, once that is known.
    pub(crate) flow: Option<FlowId>,
    /// The VRF it is being forwarded in (`dvrf`).
    pub(crate) vrf: VrfId,
    /// Where the network header starts in the frame.
    pub(crate) network: u16,
    /// What is to be remembered until it leaves.
    pub(crate) marks: Marks,
    /// What the network header is.
    pub(crate) protocol: Protocol,
    /// Whether it is being bridged or routed.
    pub(crate) layer: Layer,
    /// Whether a hop is still to be taken off the TTL.
    pub(crate) hop: Hop,
    /// TTL tracker (section 8.4): becomes the label's TTL.
    pub(crate) ttl: u8,
    /// How often it went through `Translate`.
    pub(crate) passes: u8,
    /// Its forwarding class if it is marked `CLASSED`, else the 802.1p priority of the tag it came with (0 without).
    pub(crate) qos: u8,
    /// The outer source it was decapsulated from.
    pub(crate) outer: Outer,
    /// Whether another worker has already handed it over.
    pub(crate) spread: Spread,
    /// DSCP and ECN of an IP packet (TOS or traffic class); 0 of anything else.
    pub(crate) tos: u8,
    /// Where it came in; kept for the packet's whole life, also after decapsulation. Drops are charged here.
    pub(crate) rx_vif: VifId,
    /// What that is.
    pub(crate) rx_kind: VifKind,
    /// What the transport is, of an IP packet.
    pub(crate) ip_protocol: u8,
    /// Where it goes out, once that is decided.
    pub(crate) tx_vif: VifId,
    /// Where the transport header starts in the frame; meaningless for a later fragment.
    pub(crate) transport: u16,
    /// Identification of an IPv4 packet.
    pub(crate) id: u16,
    /// VLAN of the outermost tag.
    pub(crate) vlan: Option<NonZeroU16>,
    /// The flow: source and destination port in one word; 0 in a fragment and where there are none.
    pub(crate) ports: u32,
    /// The flow: addresses of an IP packet, as they are in its header.
    pub(crate) addresses: Addresses,
    /// Whom the Ethernet header addresses: the station, and whether it is a group.
    pub(crate) station: Mac,
    /// Derived from `station`.
    pub(crate) cast: Cast,
    /// Which part of a datagram it is.
    pub(crate) fragment: Fragment,
    /// TTL or hop limit the packet came with.
    pub(crate) ip_ttl: u8,
    /// The worker it is to be handed to, once that is decided.
    pub(crate) worker: WorkerId,
    /// Why it is being dropped, once that is decided.
    pub(crate) reason: DropReason,
    /// What the agent is told with it, once it is to go there.
    pub(crate) trap: Trap,
}

/// The label or VNI that a packet leaves with, or none, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutLabel(u32);

impl OutLabel {
    /// Neither: labels have 20 bits, VNIs 24.
    pub(crate) const NONE: OutLabel = OutLabel(u32::MAX);

    /// The word: of none, a number that is neither a label nor a VNI.
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

impl From<Option<u32>> for OutLabel {
    #[inline]
    fn from(label: Option<u32>) -> OutLabel {
        label.map_or(OutLabel::NONE, OutLabel)
    }
}

/// Why a packet goes to the agent: the command of the agent header and its parameter (reference dataplane.md section 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// An ARP message for the agent.
    Arp,
    /// Reached a next hop that leads to the agent.
    NextHop,
    /// The neighbour is not resolved.
    Resolve,
    /// DHCP, DHCPv6, IGMP, MLD, router solicitation, neighbour advertisement.
    L3Protocols,
    /// A diagnostic packet that would have left here.
    Diag {
        /// By this interface.
        vif: VifId,
    },
    /// Larger than the way it is to take carries, and not to be fragmented: the largest that would fit, in bytes.
    HandleDf {
        /// L3 bytes.
        mtu: u16,
    },
    /// The TTL or hop limit ran out.
    ZeroTtl,
    /// An ICMP error about a tunnel packet of ours.
    IcmpError,
    /// The same as [`Trap::L3Protocols`] from a station behind a ToR switch.
    TorControl,
    /// A VXLAN packet with the router-alert bit.
    RouterAlert,
    /// The first packet of a station.
    MacLearn {
        /// Where its bridge entry is.
        slot: BridgeSlot,
    },
    /// A packet of a station that was elsewhere before.
    MacMove {
        /// Where its bridge entry is.
        slot: BridgeSlot,
    },
    /// A (MAC, IP) binding that routes do not know.
    MacIpLearning,
    /// A BFD control packet for the agent.
    Bfd {
        /// The two state bits as they are in its second byte.
        state: u8,
    },
    /// The first packet of a flow that the agent has to decide about: `meta.flow`.
    Flow,
}

/// What a node says about a packet to a later one, a bit each; nearly all packets have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u16);

impl Marks {
    /// Under a label the frame is to travel behind a control word.
    pub(crate) const CONTROL_WORD: Marks = Marks(1);
    /// A message of address resolution or router discovery (ARP, ICMPv6 133 to 137), or of a DHCPv6 client to a server,
    /// that `control` has not seen: set by `inspect`.
    pub(crate) const CONTROL: Marks = Marks(2);
    /// `control` has seen it, and left it to be forwarded.
    pub(crate) const SEEN: Marks = Marks(4);
    /// About to be delivered to a workload when `control` got it.
    pub(crate) const DELIVERED: Marks = Marks(8);
    /// Its interface learns stations, and nobody has looked at its sender yet.
    pub(crate) const LEARN: Marks = Marks(0x20);
    /// What a frame is to be marked with not to be bridged like any other.
    pub(crate) const LOOKED_INTO: Marks = Marks::CONTROL.with(Marks::SEEN).with(Marks::LEARN);
    /// A diagnostic packet of the agent's.
    pub(crate) const DIAG: Marks = Marks(0x10);
    /// It is a copy for a mirror or a monitoring interface: never copied again.
    pub(crate) const COPY: Marks = Marks(0x80);
    /// `qos` is its forwarding class.
    pub(crate) const CLASSED: Marks = Marks(0x40);
    /// Its interface asks for flows.
    pub(crate) const POLICY: Marks = Marks(0x100);
    /// Its flow has been looked up, and lets it pass: that is done once (`FLOW_SET`).
    pub(crate) const FLOWED: Marks = Marks(0x200);
    /// Its flow knows what the route to its destination says: next hop and label are that.
    pub(crate) const ROUTED: Marks = Marks(0x400);

    /// Whether every bit of `other` is set.
    #[inline]
    pub(crate) const fn contains(self, other: Marks) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some bit of `other` is set.
    #[inline]
    pub(crate) const fn meets(self, other: Marks) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits that are in both, to be tested together with others.
    #[inline]
    pub(crate) const fn only(self, other: Marks) -> u16 {
        self.0 & other.0
    }

    /// Both sets together.
    #[must_use]
    pub(crate) const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    /// This set without `other`'s bits.
    #[must_use]
    pub(crate) const fn without(self, other: Marks) -> Marks {
        Marks(self.0 & !other.0)
    }
}

/// Network protocol behind the Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Protocol {
    /// Not looked into.
    Other,
    /// ARP.
    Arp,
    /// IPv4, checked.
    Ipv4,
    /// IPv6, checked.
    Ipv6,
}

impl Protocol {
    /// The EtherType of an IP packet.
    #[inline]
    pub(crate) fn ip_ethertype(self) -> Option<u16> {
        match self {
            Protocol::Ipv4 => Some(ethertype::IPV4),
            Protocol::Ipv6 => Some(ethertype::IPV6),
            Protocol::Arp | Protocol::Other => None,
        }
    }
}

/// Source and destination of an IP packet, or what stands for its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// It is none.
    None,
    /// A copy for the fabric: the hash that all copies share, in native order (an array, to keep the alignment at 1).
    Hashed([u8; 4]),
    /// IPv4.
    V4 { source: Ipv4Addr, destination: Ipv4Addr },
    /// IPv6.
    V6 { source: Ipv6Addr, destination: Ipv6Addr },
}

/// Which part of an IP datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fragment {
    /// All of it (an atomic IPv6 fragment too).
    Whole,
    /// The first part, with the transport header.
    Head,
    /// A later part, without.
    Later,
}

/// How a packet is being forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Layer {
    /// As a frame.
    L2,
    /// As an IP packet.
    L3,
}

/// Whom a frame addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cast {
    /// One station.
    Unicast,
    /// Many.
    Group,
}

/// Whether this routed packet still owes one TTL decrement: once per packet, however many tables are consulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Hop {
    /// Nothing to take off.
    Done,
    /// Take one off when it leaves for another node or workload.
    Due,
}

/// Whether a packet may be handed to another worker to spread the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Spread {
    /// It may.
    Allowed,
    /// It was: the worker that has it processes it.
    Done,
}

/// The outer source address of a tunnelled packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outer {
    /// It did not come through a tunnel.
    None,
    /// IPv4 underlay.
    V4(Ipv4Addr),
    /// IPv6 underlay.
    V6(Ipv6Addr),
}

impl Outer {
    /// Whether it is this address.
    #[inline]
    pub(crate) fn is(self, address: IpAddr) -> bool {
        match self {
            Outer::None => false,
            Outer::V4(own) => address == IpAddr::V4(own),
            Outer::V6(own) => address == IpAddr::V6(own),
        }
    }
}

// With its frame it fills two cache lines.
const _: () = assert!(size_of::<Meta>() + size_of::<Frame>() <= 128);

impl Meta {
    /// What is known on arrival: the port. Everything a node may read before `inspect` has looked at the packet.
    #[inline]
    pub(crate) fn arriving(rx_vif: VifId, spread: Spread) -> Meta {
        Meta {
            rx_vif,
            rx_kind: VifKind::Virtual,
            vrf: VrfId(0),
            nh: NhId(0),
            label: OutLabel::NONE,
            flow: None,
            tx_vif: VifId(0),
            protocol: Protocol::Other,
            network: 0,
            transport: 0,
            ip_protocol: 0,
            fragment: Fragment::Whole,
            layer: Layer::L2,
            station: Mac::ZERO,
            cast: Cast::Unicast,
            addresses: Addresses::None,
            ports: 0,
            id: 0,
            ip_ttl: 0,
            tos: 0,
            hop: Hop::Done,
            vlan: None,
            ttl: 64,
            passes: 0,
            marks: Marks::default(),
            qos: 0,
            outer: Outer::None,
            spread,
            worker: WorkerId(0),
            reason: DropReason::Invalid,
            trap: Trap::Arp,
        }
    }

    /// The same, in place: the fields that only `inspect` or a later node reads after it has set them stay as they are.
    #[inline]
    pub(crate) fn arrive(&mut self, rx_vif: VifId, spread: Spread) {
        self.rx_vif = rx_vif;
        self.vrf = VrfId(0);
        self.nh = NhId(0);
        self.label = OutLabel::NONE;
        self.flow = None;
        self.protocol = Protocol::Other;
        self.network = 0;
        self.layer = Layer::L2;
        self.hop = Hop::Done;
        self.ttl = 64;
        self.passes = 0;
        self.marks = Marks::default();
        self.qos = 0;
        self.outer = Outer::None;
        self.spread = spread;
    }

    /// Label or VNI to leave with.
    #[inline]
    pub(crate) fn label(&self) -> OutLabel {
        self.label
    }

    /// It leaves with this label or VNI, or with none.
    #[inline]
    pub(crate) fn set_label(&mut self, label: impl Into<OutLabel>) {
        self.label = label.into();
    }

    /// Came in through a workload's port.
    #[inline]
    pub(crate) fn is_from_workload(&self) -> bool {
        matches!(self.rx_kind, VifKind::Virtual | VifKind::VirtualVlan)
    }

    /// Came in through the host's interface.
    #[inline]
    pub(crate) fn is_from_host(&self) -> bool {
        matches!(self.rx_kind, VifKind::Host | VifKind::XenLl | VifKind::Gateway)
    }

    /// Came in through the uplink.
    #[inline]
    pub(crate) fn is_from_fabric(&self) -> bool {
        self.rx_kind == VifKind::Physical
    }
}

impl Packet<'_> {
    /// To the agent, and why.
    #[inline]
    pub(crate) fn punt(&mut self, trap: Trap) -> Next {
        self.meta.trap = trap;
        Next::Punt
    }

    /// The bytes from the network header on.
    #[inline]
    pub(crate) fn network(&self) -> &[u8] {
        self.frame.data().get(usize::from(self.meta.network)..).unwrap_or_default()
    }

    /// The bytes from the network header on, to write.
    #[inline]
    pub(crate) fn network_mut(&mut self) -> &mut [u8] {
        let at = usize::from(self.meta.network);
        self.frame.data_mut().get_mut(at..).unwrap_or_default()
    }

    /// Puts `n` bytes in front and returns them, their content arbitrary; offsets follow.
    ///
    /// # Errors
    /// `Push` when there is no room.
    pub(crate) fn push(&mut self, n: usize) -> Result<&mut [u8], DropReason> {
        let more = u16::try_from(n).map_err(|_| DropReason::Push)?;
        let room = self.frame.push(n).map_err(|_| DropReason::Push)?;
        self.meta.network = self.meta.network.saturating_add(more);
        self.meta.transport = self.meta.transport.saturating_add(more);
        Ok(room)
    }

    /// Takes `n` bytes off the front; offsets follow.
    ///
    /// # Errors
    /// `Pull` when the frame is shorter.
    #[inline]
    pub(crate) fn pull(&mut self, n: u16) -> Result<(), DropReason> {
        self.frame.pull(usize::from(n)).map_err(|_| DropReason::Pull)?;
        self.meta.network = self.meta.network.saturating_sub(n);
        self.meta.transport = self.meta.transport.saturating_sub(n);
        Ok(())
    }
}
