//! Next hops (reference dataplane.md section 6).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wire::{Label, Mac};

use super::{NhId, VifId, VrfId, flags};

/// Address family of a next hop: what lies under its label (section 7.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NhFamily {
    /// 0.
    Unspec = 0,
    /// AF_INET: an IP packet.
    Inet = 2,
    /// AF_BRIDGE: an Ethernet frame.
    Bridge = 7,
    /// AF_INET6.
    Inet6 = 10,
}

flags!(
/// Next-hop flags (section 6). The bits that select behaviour are derived from [`NextHopKind`]; see
/// [`NextHop::wire_flags`].
NhFlags(u32) {
    /// Usable.
    VALID = 0x1;
    /// Flow lookup for what it delivers.
    POLICY = 0x2;
    /// MPLSoGRE tunnel (derived).
    TUNNEL_GRE = 0x8;
    /// Plain UDP tunnel (derived).
    TUNNEL_UDP = 0x10;
    /// Multicast.
    MULTICAST = 0x20;
    /// MPLSoUDP tunnel (derived).
    TUNNEL_UDP_MPLS = 0x40;
    /// VXLAN tunnel (derived), or a translate next hop that a VNI points at.
    TUNNEL_VXLAN = 0x80;
    /// Relaxed policy.
    RELAXED_POLICY = 0x100;
    /// Fabric tree composite (derived).
    COMPOSITE_FABRIC = 0x200;
    /// ECMP composite (derived).
    COMPOSITE_ECMP = 0x400;
    /// ECMP whose members keep the route's label.
    COMPOSITE_LU_ECMP = 0x800;
    /// EVPN flood list (derived).
    COMPOSITE_EVPN = 0x1000;
    /// Local flood list (derived).
    COMPOSITE_ENCAP = 0x2000;
    /// ToR flood list (derived).
    COMPOSITE_TOR = 0x4000;
    /// Look the route up again.
    ROUTE_LOOKUP = 0x8000;
    /// Flood unknown unicast arriving here.
    UNKNOWN_UNICAST_FLOOD = 0x1_0000;
    /// A plain UDP tunnel's source is the mirrored interface's address.
    TUNNEL_SIP_COPY = 0x2_0000;
    /// Flow lookup for what it delivers, but no new flows.
    FLOW_LOOKUP = 0x4_0000;
    /// Provider backbone bridging (derived).
    TUNNEL_PBB = 0x8_0000;
    /// Learn source MACs.
    MAC_LEARN = 0x10_0000;
    /// E-tree root.
    ETREE_ROOT = 0x20_0000;
    /// Goes on with another next hop (derived).
    INDIRECT = 0x40_0000;
    /// A control word lies between label and frame.
    L2_CONTROL_DATA = 0x80_0000;
    /// To be encrypted (derived).
    CRYPT_TRAFFIC = 0x100_0000;
    /// L3 payload in VXLAN (derived).
    L3_VXLAN = 0x200_0000;
    /// A transport label goes on top (derived).
    TUNNEL_MPLS_O_MPLS = 0x400_0000;
    /// Senders outside the tree are refused.
    VALIDATE_MCAST_SOURCE = 0x800_0000;
    /// Several uplinks (derived).
    TUNNEL_UNDERLAY_ECMP = 0x1000_0000;
});

/// Where a tunnel's outer Ethernet header comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rewrite {
    /// From the kernel's routes and neighbours: the [`Adjacency`] of the tunnel's destination.
    Underlay,
    /// As given by the control plane (14 bytes for Ethernet), out of the vif named beside it.
    Given(VifId, Vec<u8>),
    /// By the flow out of one of up to three uplinks; one that is absent or down is empty.
    Uplinks(Vec<Option<Uplink>>),
    /// As said, but handed to the interface that encrypts; `None` drops (`NoCryptPath`).
    Encrypted(Option<VifId>, Box<Rewrite>),
}

/// One of several ways out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// The physical interface.
    pub vif: VifId,
    /// The outer Ethernet header, 14 bytes.
    pub rewrite: Vec<u8>,
}

/// What a tunnel puts between the outer IP header and the payload (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TunnelEncap {
    /// MPLS over GRE (RFC 4023).
    MplsOverGre,
    /// MPLS over UDP (RFC 7510).
    MplsOverUdp,
    /// VXLAN (RFC 7348) with a bridged frame inside.
    Vxlan,
    /// VXLAN with a routed packet inside: the inner Ethernet header gets this destination MAC.
    VxlanL3(Mac),
    /// Plain UDP from and to these ports, routed in the packet's VRF: to an analyser.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// MPLS over GRE with this transport label on top of the packet's own.
    MplsOverMplsOverGre(Label),
    /// MPLS over UDP with this transport label on top of the packet's own.
    MplsOverMplsOverUdp(Label),
}

impl TunnelEncap {
    /// Whether labels have 24 bits: VNIs.
    pub const fn is_vxlan(self) -> bool {
        matches!(self, TunnelEncap::Vxlan | TunnelEncap::VxlanL3(_))
    }
}

/// Kinds of composite (section 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompositeKind {
    /// One member per flow. The byte holds the fields hashed (section 17): 1 protocol, 2 source IP, 4 source port,
    /// 8 destination IP, 0x10 destination port; 0 means all.
    Ecmp(u8),
    /// Replication tree through the fabric.
    Fabric,
    /// Ingress replication.
    Evpn,
    /// Local ports.
    Encap,
    /// ToR switches.
    Tor,
    /// Top of a broadcast or multicast tree.
    Multicast,
}

/// A filled slot of a composite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The next hop.
    pub next_hop: NhId,
    /// The label (or VNI) to use with it.
    pub label: Option<u32>,
}

/// What a next hop does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NextHopKind {
    /// Never forwards (type 0).
    Dead,
    /// To the host, through this vif (type 1).
    Receive(VifId),
    /// Out of a vif: with the 14-byte rewrite for family Inet, unchanged for family Bridge (type 2).
    Encap {
        /// Out of here.
        vif: VifId,
        /// The Ethernet header to put in front.
        rewrite: Vec<u8>,
    },
    /// Through the fabric (type 3).
    Tunnel {
        /// Outer source: a local endpoint.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
        /// What goes in between.
        encap: TunnelEncap,
        /// Outer Ethernet.
        rewrite: Rewrite,
    },
    /// Ask the host to resolve (type 4).
    Resolve,
    /// Drop (type 5).
    Discard,
    /// Several (type 6). Empty slots keep the others' positions.
    Composite {
        /// Which kind.
        kind: CompositeKind,
        /// The slots.
        members: Vec<Option<Member>>,
    },
    /// Look up again in another VRF (type 7): the route for family Inet, the bridge table for family Bridge.
    Translate(VrfId),
    /// A frame for the router: route it (type 8).
    L2Receive,
    /// Provider backbone bridging (type 3), then another next hop. Recorded and shown; packets drop as `InvalidNh`.
    Pbb {
        /// Destination in the backbone.
        mac: Mac,
        /// Where it goes on, and the label to use there.
        direct: Member,
    },
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Its id.
    pub id: NhId,
    /// What lies under a label that points here.
    pub family: NhFamily,
    /// The VRF it belongs to; `None` is shown as -1.
    pub vrf: Option<VrfId>,
    /// Flags that `kind` does not imply, unknown bits included.
    pub flags: NhFlags,
    /// What it does.
    pub kind: NextHopKind,
}

impl NextHop {
    /// The type number of the original (section 6).
    pub fn type_number(&self) -> u8 {
        match self.kind {
            NextHopKind::Dead => 0,
            NextHopKind::Receive(_) => 1,
            NextHopKind::Encap { .. } => 2,
            NextHopKind::Tunnel { .. } | NextHopKind::Pbb { .. } => 3,
            NextHopKind::Resolve => 4,
            NextHopKind::Discard => 5,
            NextHopKind::Composite { .. } => 6,
            NextHopKind::Translate(_) => 7,
            NextHopKind::L2Receive => 8,
        }
    }

    /// All flag bits as the original shows them: the given ones and those `kind` implies.
    pub fn wire_flags(&self) -> NhFlags {
        let derived = match &self.kind {
            NextHopKind::Tunnel { encap, rewrite, .. } => encap.flags().with(rewrite.flags()),
            NextHopKind::Pbb { .. } => NhFlags::TUNNEL_PBB.with(NhFlags::INDIRECT),
            NextHopKind::Composite { kind, .. } => match kind {
                CompositeKind::Ecmp(_) => NhFlags::COMPOSITE_ECMP,
                CompositeKind::Fabric => NhFlags::COMPOSITE_FABRIC,
                CompositeKind::Evpn => NhFlags::COMPOSITE_EVPN,
                CompositeKind::Encap => NhFlags::COMPOSITE_ENCAP,
                CompositeKind::Tor => NhFlags::COMPOSITE_TOR,
                CompositeKind::Multicast => NhFlags::MULTICAST,
            },
            _ => NhFlags::default(),
        };
        self.flags.with(derived)
    }
}

impl TunnelEncap {
    fn flags(self) -> NhFlags {
        let stacked = NhFlags::TUNNEL_MPLS_O_MPLS;
        match self {
            TunnelEncap::MplsOverGre => NhFlags::TUNNEL_GRE,
            TunnelEncap::MplsOverUdp => NhFlags::TUNNEL_UDP_MPLS,
            TunnelEncap::Vxlan => NhFlags::TUNNEL_VXLAN,
            TunnelEncap::VxlanL3(_) => NhFlags::TUNNEL_VXLAN.with(NhFlags::L3_VXLAN),
            TunnelEncap::Udp { .. } => NhFlags::TUNNEL_UDP,
            TunnelEncap::MplsOverMplsOverGre(_) => NhFlags::TUNNEL_GRE.with(stacked),
            TunnelEncap::MplsOverMplsOverUdp(_) => NhFlags::TUNNEL_UDP_MPLS.with(stacked),
        }
    }
}

impl Rewrite {
    fn flags(&self) -> NhFlags {
        match self {
            Rewrite::Underlay | Rewrite::Given(..) => NhFlags::default(),
            Rewrite::Uplinks(_) => NhFlags::TUNNEL_UNDERLAY_ECMP,
            Rewrite::Encrypted(_, plain) => NhFlags::CRYPT_TRAFFIC.with(plain.flags()),
        }
    }
}
