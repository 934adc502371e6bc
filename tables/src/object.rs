//! The objects a control plane asks for. Names and numbers are OpenContrail's (reference dataplane.md sections 2 to 7).
//!
//! Behaviour is an enum case with its own fields; the remaining flag bits are kept as given, unknown ones too, so that
//! a foreign agent's bits can be shown again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::{Address, Label, Mac, Prefix, Vni};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl $name {
            /// The id as a table index.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// Index of a vRouter interface, 0 to 4354; 0 to 2 are for physical ones.
    VifId(u16));
id!(
    /// Index of a routing table; 0 is the fabric's (underlay).
    VrfId(u16));
id!(
    /// Index of a next hop; 0 always discards.
    NhId(u32));

/// Capacities of the tables (reference dataplane.md section 3).
pub mod limits {
    /// Interfaces.
    pub const VIFS: usize = 4355;
    /// Routing tables.
    pub const VRFS: usize = 4096;
    /// Next hops.
    pub const NEXT_HOPS: usize = 524_288;
    /// MPLS labels: the full 20 bits (the original's default is 5120).
    pub const LABELS: usize = 1 << 20;
    /// Bytes of the largest packet a port takes, without its Ethernet header (L3 MTU): a packet is one buffer.
    pub const MTU: u16 = 1778;
    /// Usable members of an ECMP group: the index in a flow is a signed byte (section 17).
    pub const ECMP_MEMBERS: usize = 127;
}

/// A set of flag bits that keeps the ones it does not know.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$fdoc:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$fdoc])* pub const $flag: $name = $name($value);)*

            /// Whether every bit of `other` is set.
            #[inline]
            pub const fn contains(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            /// Both sets together.
            #[must_use]
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// This set without `other`'s bits.
            #[must_use]
            pub const fn without(self, other: $name) -> $name {
                $name(self.0 & !other.0)
            }
        }
    };
}

// ---------------------------------------------------------------------------------------------- interfaces

/// What an interface is (section 2.1). The discriminant is the original's type number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VifKind {
    /// vhost0: the host's stack.
    Host = 0,
    /// pkt0: the agent's trap channel.
    Agent = 1,
    /// The uplink.
    Physical = 2,
    /// A workload's port.
    Virtual = 3,
    /// Like Host, destination MAC always overwritten.
    XenLl = 4,
    /// Simple gateway.
    Gateway = 5,
    /// A VLAN sub-interface of another vif.
    VirtualVlan = 6,
    /// Kernel GRO helper; shown only.
    Stats = 7,
    /// Copy target for captures.
    Monitoring = 9,
}

/// How frames reach the interface (section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// A kernel netdev: AF_XDP here.
    Virtual = 0,
    /// AF_PACKET style.
    Ethernet = 1,
    /// vhost-user.
    Pmd = 2,
    /// pkt0's socket.
    Socket = 3,
}

flags!(
/// Interface flags (section 2.2).
VifFlags(u32) {
    /// Flow lookup for what is received here.
    POLICY = 0x1;
    /// Cross-connect.
    XCONNECT = 0x2;
    /// Service-chain port.
    SERVICE = 0x4;
    /// Mirror what is received.
    MIRROR_RX = 0x8;
    /// Mirror what is sent.
    MIRROR_TX = 0x10;
    /// Checksum offload (capability: set by the dataplane).
    TX_CSUM_OFFLOAD = 0x20;
    /// Routing enabled.
    L3 = 0x40;
    /// Bridging enabled.
    L2 = 0x80;
    /// DHCP goes to the agent.
    DHCP = 0x100;
    /// Physical paired with a vhost.
    VHOST_PHYS = 0x200;
    /// Accept foreign destination MACs.
    PROMISCUOUS = 0x400;
    /// Answer ARP for the gateway only.
    NO_ARP_PROXY = 0x1000;
    /// Flood unknown unicast.
    UNKNOWN_UNICAST_FLOOD = 0x1_0000;
    /// Answer every ARP with the own MAC.
    MAC_PROXY = 0x10_0000;
    /// E-tree root.
    ETREE_ROOT = 0x20_0000;
});

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vif {
    /// Its index.
    pub id: VifId,
    /// The kernel device it is bound to, or a free name.
    pub name: String,
    /// What it is.
    pub kind: VifKind,
    /// How frames reach it.
    pub transport: Transport,
    /// Where its traffic is routed.
    pub vrf: VrfId,
    /// Where its broadcast is looked up, if elsewhere.
    pub mcast_vrf: Option<VrfId>,
    /// The MAC the vRouter has on it.
    pub mac: Mac,
    /// Its (workload's) IPv4 address, if any.
    pub ip: Option<Ipv4Addr>,
    /// Its (workload's) IPv6 address, if any.
    pub ip6: Option<Ipv6Addr>,
    /// L3 MTU in bytes.
    pub mtu: u16,
    /// Flags as given.
    pub flags: VifFlags,
    /// The next hop that identifies it in flow keys.
    pub next_hop: Option<NhId>,
}

// ---------------------------------------------------------------------------------------------- next hops

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
    /// E-tree root.
    ETREE_ROOT = 0x20_0000;
    /// L3 payload in VXLAN (derived).
    L3_VXLAN = 0x200_0000;
});

/// Where a tunnel's outer Ethernet header comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rewrite {
    /// From the kernel's routes and neighbours: the [`Adjacency`] of the tunnel's destination.
    Underlay,
    /// As given by the control plane (14 bytes for Ethernet), out of the vif named beside it.
    Given(VifId, Vec<u8>),
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
            NextHopKind::Tunnel { .. } => 3,
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
            NextHopKind::Tunnel { encap, .. } => match encap {
                TunnelEncap::MplsOverGre => NhFlags::TUNNEL_GRE,
                TunnelEncap::MplsOverUdp => NhFlags::TUNNEL_UDP_MPLS,
                TunnelEncap::Vxlan => NhFlags::TUNNEL_VXLAN,
                TunnelEncap::VxlanL3(_) => NhFlags::TUNNEL_VXLAN.with(NhFlags::L3_VXLAN),
            },
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

// ---------------------------------------------------------------------------------------------- routes and labels

/// Name of a routing table. Tables exist from the first route on; this only names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vrf {
    /// Its index.
    pub id: VrfId,
    /// Its name, as `default-domain:demo:red:red`.
    pub name: String,
}

flags!(
/// Route flags (section 4). `LABEL_VALID` is derived from the label.
RouteFlags(u8) {
    /// A label is given (derived).
    LABEL_VALID = 0x1;
    /// The vRouter answers ARP for it.
    ARP_PROXY = 0x2;
    /// Gratuitous ARP goes to the agent.
    ARP_TRAP = 0x4;
    /// ARP without a stitched MAC is flooded.
    ARP_FLOOD = 0x8;
    /// Learnt from a (MAC, IP) binding.
    MAC_IP_LEARNT = 0x10;
});

/// A unicast route of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "A: Address + Serialize",
    deserialize = "A: Address + Deserialize<'de>"
))]
pub struct Route<A: Address> {
    /// Its table.
    pub vrf: VrfId,
    /// Its prefix.
    pub prefix: Prefix<A>,
    /// Where to.
    pub next_hop: NhId,
    /// MPLS label, or VNI when the next hop is a VXLAN tunnel (24 bits).
    pub label: Option<Vni>,
    /// Flags without `LABEL_VALID`.
    pub flags: RouteFlags,
    /// Stitched MAC: what ARP for this address is answered with. Must be in the VRF's bridge table.
    pub mac: Option<Mac>,
}

flags!(
/// Bridge entry flags (section 5). `VALID` and `LABEL_VALID` are derived.
BridgeFlags(u8) {
    /// Internal (derived).
    VALID = 0x1;
    /// A label is given (derived).
    LABEL_VALID = 0x2;
    /// DHCP from it is flooded.
    FLOOD_DHCP = 0x4;
    /// Station moved.
    MAC_MOVED = 0x8;
    /// Control word.
    L2_CONTROL_DATA = 0x10;
    /// Learnt, not confirmed.
    MAC_NEW = 0x20;
    /// Behind an EVPN ToR.
    EVPN_CONTROL_PROCESSING = 0x40;
});

/// An entry of the bridge table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeEntry {
    /// Its table.
    pub vrf: VrfId,
    /// The station.
    pub mac: Mac,
    /// Where to.
    pub next_hop: NhId,
    /// Label or VNI.
    pub label: Option<Vni>,
    /// Flags without the derived ones.
    pub flags: BridgeFlags,
}

/// An incoming MPLS label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelEntry {
    /// The label.
    pub label: Label,
    /// What it means here.
    pub next_hop: NhId,
}

/// An incoming VXLAN network identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VniEntry {
    /// The identifier.
    pub vni: Vni,
    /// What it means here: normally a bridge-family `Translate`.
    pub next_hop: NhId,
}

/// How a tunnel destination is reached, as the kernel's routes and neighbours say. Written by `vrouterd` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjacency {
    /// The tunnel's outer destination.
    pub destination: IpAddr,
    /// The uplink.
    pub vif: VifId,
    /// The uplink's MAC.
    pub source: Mac,
    /// The neighbour's MAC.
    pub neighbor: Mac,
}

// ---------------------------------------------------------------------------------------------- operations

/// An object of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// An interface.
    Vif(Vif),
    /// A table's name.
    Vrf(Vrf),
    /// A next hop.
    NextHop(NextHop),
    /// An IPv4 route.
    Inet(Route<Ipv4Addr>),
    /// An IPv6 route.
    Inet6(Route<Ipv6Addr>),
    /// A bridge entry.
    Bridge(BridgeEntry),
    /// A label.
    Label(LabelEntry),
    /// A VNI.
    Vni(VniEntry),
    /// A tunnel destination's outer Ethernet.
    Adjacency(Adjacency),
}

/// What names an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// An interface.
    Vif(VifId),
    /// A table.
    Vrf(VrfId),
    /// A next hop.
    NextHop(NhId),
    /// An IPv4 route.
    Inet(VrfId, Prefix<Ipv4Addr>),
    /// An IPv6 route.
    Inet6(VrfId, Prefix<Ipv6Addr>),
    /// A bridge entry.
    Bridge(VrfId, Mac),
    /// A label.
    Label(Label),
    /// A VNI.
    Vni(Vni),
    /// A tunnel destination.
    Adjacency(IpAddr),
}

impl Object {
    /// The object's name.
    pub fn key(&self) -> Key {
        match self {
            Object::Vif(vif) => Key::Vif(vif.id),
            Object::Vrf(vrf) => Key::Vrf(vrf.id),
            Object::NextHop(nh) => Key::NextHop(nh.id),
            Object::Inet(route) => Key::Inet(route.vrf, route.prefix),
            Object::Inet6(route) => Key::Inet6(route.vrf, route.prefix),
            Object::Bridge(entry) => Key::Bridge(entry.vrf, entry.mac),
            Object::Label(entry) => Key::Label(entry.label),
            Object::Vni(entry) => Key::Vni(entry.vni),
            Object::Adjacency(adjacency) => Key::Adjacency(adjacency.destination),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Vif(id) => write!(f, "vif {id}"),
            Key::Vrf(id) => write!(f, "vrf {id}"),
            Key::NextHop(id) => write!(f, "next hop {id}"),
            Key::Inet(vrf, prefix) => write!(f, "route {prefix} in vrf {vrf}"),
            Key::Inet6(vrf, prefix) => write!(f, "route {prefix} in vrf {vrf}"),
            Key::Bridge(vrf, mac) => write!(f, "bridge entry {mac} in vrf {vrf}"),
            Key::Label(label) => write!(f, "label {label}"),
            Key::Vni(vni) => write!(f, "vni {vni}"),
            Key::Adjacency(destination) => write!(f, "adjacency of {destination}"),
        }
    }
}

/// One change. A `Put` of what is already there and a `Delete` of what is not are harmless, so replays are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Create or replace.
    Put(Object),
    /// Remove.
    Delete(Key),
}
