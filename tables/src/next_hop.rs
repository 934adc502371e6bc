//! Next hops as packets read them: references resolved, headers prebuilt, groups with their dense list beside them.

use std::net::IpAddr;
use std::sync::Arc;

use wire::Label;

use crate::fib::Endpoints;
use crate::{CompositeKind, Member, NhFamily, NhFlags, TunnelEncap, VifId, VrfId};

/// A compiled next hop and what lies around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopEntry {
    /// What it does.
    pub hop: FibNextHop,
    /// What lies under a label that points here (reference dataplane.md section 7.7).
    pub family: NhFamily,
    /// The VRF it belongs to: `dvrf` of what a label brings here (section 10.5).
    pub vrf: Option<VrfId>,
    /// All flag bits, derived ones included.
    pub flags: NhFlags,
}

impl HopEntry {
    /// What an unknown id yields.
    pub const INVALID: HopEntry = HopEntry {
        hop: FibNextHop::Invalid,
        family: NhFamily::Unspec,
        vrf: None,
        flags: NhFlags(0),
    };
    /// Next hop 0.
    pub const DISCARD: HopEntry = HopEntry {
        hop: FibNextHop::Discard,
        family: NhFamily::Inet,
        vrf: Some(VrfId(0)),
        flags: NhFlags::VALID,
    };
}

/// What a next hop does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FibNextHop {
    /// Drop as `InvalidNh`: no such next hop, a dead one, or one whose given flags lack `VALID`.
    Invalid,
    /// Drop as `Discard`.
    Discard,
    /// To the host.
    Receive {
        /// Through this vif.
        vif: VifId,
    },
    /// Out of a vif.
    Encap {
        /// Out of here.
        vif: VifId,
        /// Put in front for family Inet (the last two bytes by IP version); zero and unused for family Bridge.
        rewrite: [u8; 14],
        /// Inet or Bridge.
        family: NhFamily,
        /// Whether the vif is a leaf of an E-tree.
        leaf: bool,
    },
    /// To the agent: what `Encap` is when its vif is the agent's. The packet goes as it came in.
    Agent,
    /// Through the fabric.
    Tunnel(TunnelHop),
    /// One member per flow.
    Ecmp(Arc<EcmpGroup>),
    /// Look up again in another VRF: the route for family Inet, the bridge table for family Bridge.
    Translate {
        /// Where.
        vrf: VrfId,
        /// By what.
        family: NhFamily,
    },
    /// A frame for the router: route it.
    L2Receive,
    /// Ask the host to resolve.
    Resolve,
    /// Replicate to all members.
    Flood(Arc<FloodGroup>),
    /// Through the fabric, in a way that few packets go.
    SpecialTunnel(Arc<SpecialTunnel>),
    /// To an analyser.
    UdpTunnel(Arc<UdpTunnel>),
    /// An IPv4 packet for a group out of a vif, to the group's MAC (family Inet with `MULTICAST`).
    EncapGroup {
        /// Out of here.
        vif: VifId,
    },
}

impl FibNextHop {
    /// The tunnel that carries labels or VNIs, if it is one. Of several uplinks the first: they differ in the outer
    /// Ethernet header alone.
    pub fn tunnel(&self) -> Option<&TunnelHop> {
        match self {
            FibNextHop::Tunnel(hop) => Some(hop),
            FibNextHop::SpecialTunnel(special) => special.uplinks.iter().flatten().next(),
            FibNextHop::Invalid
            | FibNextHop::Discard
            | FibNextHop::Agent
            | FibNextHop::Receive { .. }
            | FibNextHop::Encap { .. }
            | FibNextHop::EncapGroup { .. }
            | FibNextHop::Ecmp(_)
            | FibNextHop::Translate { .. }
            | FibNextHop::L2Receive
            | FibNextHop::Resolve
            | FibNextHop::Flood(_)
            | FibNextHop::UdpTunnel(_) => None,
        }
    }
}

/// A tunnel with its outer header prebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelHop {
    /// The uplink; meaningful when `ready`.
    pub vif: VifId,
    /// What it puts between the outer IP header and the payload.
    pub encap: TunnelEncap,
    /// The same, with the family of the outer addresses, in a byte: what each packet is told by.
    pub form: TunnelForm,
    /// The outer addresses.
    pub endpoints: Endpoints,
    /// Whether the outer Ethernet header is known: the destination's adjacency, or a given rewrite. A packet for a
    /// tunnel that is not ready is dropped as `InvalidNh`.
    pub ready: bool,
    /// The headers to put in front.
    pub header: OuterHeader,
}

/// The headers of a tunnel, each form with offsets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TunnelForm {
    /// MPLS over UDP over IPv4.
    MplsOverUdpV4,
    /// MPLS over GRE over IPv4.
    MplsOverGreV4,
    /// VXLAN over IPv4, a bridged frame inside.
    VxlanV4,
    /// VXLAN over IPv4, a routed packet inside.
    VxlanL3V4,
    /// MPLS over UDP over IPv6.
    MplsOverUdpV6,
    /// MPLS over GRE over IPv6.
    MplsOverGreV6,
    /// VXLAN over IPv6, a bridged frame inside.
    VxlanV6,
    /// VXLAN over IPv6, a routed packet inside.
    VxlanL3V6,
}

impl TunnelForm {
    /// The form of an encapsulation; below a transport label it is that of the label's. `None` for plain UDP, which has
    /// no label or VNI.
    pub const fn new(endpoints: &Endpoints, encap: TunnelEncap) -> Option<TunnelForm> {
        let (v4, v6) = match encap {
            TunnelEncap::MplsOverUdp | TunnelEncap::MplsOverMplsOverUdp(_) => {
                (TunnelForm::MplsOverUdpV4, TunnelForm::MplsOverUdpV6)
            }
            TunnelEncap::MplsOverGre | TunnelEncap::MplsOverMplsOverGre(_) => {
                (TunnelForm::MplsOverGreV4, TunnelForm::MplsOverGreV6)
            }
            TunnelEncap::Vxlan => (TunnelForm::VxlanV4, TunnelForm::VxlanV6),
            TunnelEncap::VxlanL3(_) => (TunnelForm::VxlanL3V4, TunnelForm::VxlanL3V6),
            TunnelEncap::Udp { .. } => return None,
        };
        match endpoints {
            Endpoints::V4 { .. } => Some(v4),
            Endpoints::V6 { .. } => Some(v6),
        }
    }
}

impl TunnelHop {
    /// Outer source.
    pub fn source(&self) -> IpAddr {
        self.endpoints.source()
    }

    /// Outer destination.
    pub fn destination(&self) -> IpAddr {
        self.endpoints.destination()
    }
}

/// A tunnel with several uplinks, a transport label, or encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTunnel {
    /// The ways out, each with its own outer header: one, or up to three of which those that are absent are empty.
    /// Their encapsulation is the plain one.
    pub uplinks: Vec<Option<TunnelHop>>,
    /// The label that goes on top of the packet's own.
    pub transport: Option<Label>,
    /// What encrypts it, if it is to be encrypted.
    pub crypt: Option<Crypt>,
}

/// Where packets to be encrypted go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crypt {
    /// To this interface.
    Vif(VifId),
    /// Nowhere: they drop as `NoCryptPath`.
    Missing,
}

/// A plain UDP tunnel: routed in the VRF the copy is in, so it has no Ethernet header of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpTunnel {
    /// The outer addresses.
    pub endpoints: Endpoints,
    /// Source and destination port.
    pub ports: (u16, u16),
    /// Whether the source is the mirrored interface's address, if it has one.
    pub copy_source: bool,
    /// Where it leaves when the VRF has no route to the destination: the uplink and outer Ethernet, once known.
    pub underlay: Option<(VifId, [u8; 14])>,
}

/// Ethernet, IP, UDP or GRE, and the MPLS label word or VXLAN header: everything in front of the payload, complete
/// but for what differs per packet.
///
/// The engine patches: IPv4 total length, id and checksum (or IPv6 payload length); UDP source port and length; the
/// label word or VNI. All of these are zero here, but for the IPv4 checksum, which is that of the rest. UDP checksum
/// stays zero (RFC 7510, RFC 6935).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    bytes: [u8; OuterHeader::MAX],
    length: u8,
    transport: u8,
    shim: u8,
    checksum: u16,
}

impl OuterHeader {
    /// Longest: Ethernet 14, IPv6 40, UDP 8, VXLAN 8.
    pub const MAX: usize = 70;
    /// Where the outer IP header starts.
    pub const IP: usize = 14;

    pub(crate) fn new(parts: [&[u8]; 4], checksum: u16) -> OuterHeader {
        let mut bytes = [0; OuterHeader::MAX];
        let mut ends = [0u8; 4];
        let mut length = 0usize;
        for (part, end) in parts.iter().zip(&mut ends) {
            if let Some(room) = bytes.get_mut(length..length + part.len()) {
                room.copy_from_slice(part);
                length += part.len();
            }
            *end = u8::try_from(length).unwrap_or(u8::MAX);
        }
        let [_, transport, shim, length] = ends;
        OuterHeader { bytes, length, transport, shim, checksum }
    }

    /// The bytes to put in front of the payload.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// The first `N` of the bytes: all of them for whoever knows how many they are.
    ///
    /// `N` must be no more than [`OuterHeader::MAX`]; that is checked when the call is compiled.
    #[inline]
    pub fn front<const N: usize>(&self) -> &[u8; N] {
        const { assert!(N <= OuterHeader::MAX) };
        debug_assert_eq!(N, self.len());
        self.bytes.first_chunk().unwrap_or(&[0; N])
    }

    /// How many they are.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Never: there is always an Ethernet header.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the UDP or GRE header starts.
    #[inline]
    pub fn transport(&self) -> usize {
        usize::from(self.transport)
    }

    /// Where the MPLS label word or the VXLAN header starts.
    #[inline]
    pub fn shim(&self) -> usize {
        usize::from(self.shim)
    }

    /// One's complement sum of the IPv4 header with length, id and checksum zero, folded, not inverted; 0 for IPv6.
    /// The packet's checksum is the inverted fold of this, total length, id and (if not 0) TOS.
    #[inline]
    pub fn partial_checksum(&self) -> u16 {
        self.checksum
    }
}

/// Members with stable positions (reference dataplane.md section 17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcmpGroup {
    /// By position; positions of absent members are empty.
    pub slots: Vec<Option<Member>>,
    /// The positions that are filled.
    pub active: Vec<u8>,
    /// The fields hashed: 1 protocol, 2 source IP, 4 source port, 8 destination IP, 0x10 destination port; 0 all.
    pub fields: u8,
    /// Whose label goes on the packet.
    pub label: LabelOf,
}

/// Whose label an ECMP group uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelOf {
    /// The member's.
    Member,
    /// The route's (`COMPOSITE_LU_ECMP`).
    Route,
}

impl EcmpGroup {
    /// The member for a flow's hash, and its position: by position if filled, else by the dense list.
    #[inline]
    pub fn select(&self, hash: u32) -> Option<(u8, Member)> {
        let position = (hash as usize).checked_rem(self.slots.len())?;
        if let Some(Some(member)) = self.slots.get(position) {
            return Some((u8::try_from(position).ok()?, *member));
        }
        let position = *self.active.get((hash as usize).checked_rem(self.active.len())?)?;
        Some((position, self.member(position)?))
    }

    /// The member at a position that a flow remembers, while it is filled.
    #[inline]
    pub fn member(&self, position: u8) -> Option<Member> {
        *self.slots.get(usize::from(position))?
    }
}

/// Members that all get a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloodGroup {
    /// Which kind of list.
    pub kind: CompositeKind,
    /// The members that exist, in order.
    pub members: Vec<Member>,
}
