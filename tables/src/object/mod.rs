//! The objects a control plane asks for. Names and numbers are OpenContrail's (reference dataplane.md sections 2 to 7).
//!
//! Behaviour is an enum case with its own fields; the remaining flag bits are kept as given, unknown ones too, so that
//! a foreign agent's bits can be shown again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::{Label, Mac, Prefix, Vni};

mod mirror;
mod next_hop;
mod policy;
mod qos;
mod route;
mod vif;

pub use mirror::{Mirror, MirrorFlags};
pub use next_hop::{
    CompositeKind, Member, NextHop, NextHopKind, NhFamily, NhFlags, Rewrite, TunnelEncap, Uplink,
};
pub use policy::{
    AnyPrefix, FloatingDirection, FloatingIp, FlowTimeout, Identity, Judge, Peer, PortMapping,
    Ports, Rule, RuleFamily, RuleId, RuleSet, ServiceAddress, ServiceKind, Verdict, VifPolicy,
};
pub use qos::{ForwardingClass, QosMap};
pub use route::{
    Adjacency, BridgeEntry, BridgeFlags, LabelEntry, Route, RouteFlags, VniEntry, Vrf, VrfTable,
};
pub use vif::{
    Aggregate, FatFlowIgnore, FatFlowRule, SubInterface, Transport, Vif, VifFlags, VifKind,
    VrfAssign,
};

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
id!(
    /// Index of a mirror, 0 to 254.
    MirrorId(u8));
id!(
    /// Index of a QoS map, 0 to 4095.
    QosMapId(u16));
id!(
    /// Index of a forwarding class, 0 to 255.
    ClassId(u8));
id!(
    /// Index of a rule set, 0 to 65535.
    RuleSetId(u32));
id!(
    /// Index of an identity, 0 to 1048574.
    IdentityId(u32));
id!(
    /// Number of a virtual network, the same on all nodes.
    NetworkId(u32));
id!(
    /// Number of a security group, the same on all nodes.
    GroupId(u32));

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
    /// Bytes of the largest packet an interface may carry, without its Ethernet header (L3 MTU).
    pub const MTU: u16 = 9216;
    /// The same where a packet has to lie in one buffer: the kernel is too old for more, or there are no large frames.
    pub const ONE_BUFFER_MTU: u16 = 1778;
    /// Mirrors.
    pub const MIRRORS: usize = 255;
    /// QoS maps.
    pub const QOS_MAPS: usize = 4096;
    /// VLANs of a service interface that can have a VRF of their own.
    pub const ASSIGNED_VLANS: usize = 1024;
    /// Physical interfaces; they have the first ids.
    pub const UPLINKS: usize = 3;
    /// Usable members of an ECMP group: the index in a flow is a signed byte (section 17).
    pub const ECMP_MEMBERS: usize = 127;
    /// Rule sets.
    pub const RULE_SETS: usize = 65_536;
    /// Rules of a rule set.
    pub const RULES: usize = 16_384;
    /// Identities: what a route has room for.
    pub const IDENTITIES: usize = (1 << 20) - 1;
}

/// A set of flag bits that keeps the ones it does not know.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$fdoc:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
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
pub(crate) use flags;

// ---------------------------------------------------------------------------------------------- operations

/// An object of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "only a transaction holds objects of all kinds; the model stores each kind apart"
)]
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
    /// A mirror.
    Mirror(Mirror),
    /// A QoS map.
    QosMap(QosMap),
    /// A forwarding class.
    Class(ForwardingClass),
    /// The VRF of a service interface's VLAN.
    VrfAssign(VrfAssign),
    /// A VRF's host-based service.
    VrfTable(VrfTable),
    /// Rules.
    RuleSet(RuleSet),
    /// What routes are to policy.
    Identity(Identity),
    /// How long flows may be idle.
    FlowTimeout(FlowTimeout),
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
    /// A mirror.
    Mirror(MirrorId),
    /// A QoS map.
    QosMap(QosMapId),
    /// A forwarding class.
    Class(ClassId),
    /// A service interface's VLAN.
    VrfAssign(VifId, u16),
    /// A VRF's host-based service.
    VrfTable(VrfId),
    /// Rules.
    RuleSet(RuleSetId),
    /// What routes are to policy.
    Identity(IdentityId),
    /// The timeout of flows of this protocol and port.
    FlowTimeout(u8, u16),
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
            Object::Mirror(mirror) => Key::Mirror(mirror.id),
            Object::QosMap(map) => Key::QosMap(map.id),
            Object::Class(class) => Key::Class(class.id),
            Object::VrfAssign(assign) => Key::VrfAssign(assign.vif, assign.vlan),
            Object::VrfTable(table) => Key::VrfTable(table.vrf),
            Object::RuleSet(set) => Key::RuleSet(set.id),
            Object::Identity(identity) => Key::Identity(identity.id),
            Object::FlowTimeout(timeout) => Key::FlowTimeout(timeout.protocol, timeout.port),
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
            Key::Mirror(id) => write!(f, "mirror {id}"),
            Key::QosMap(id) => write!(f, "qos map {id}"),
            Key::Class(id) => write!(f, "forwarding class {id}"),
            Key::VrfAssign(vif, vlan) => write!(f, "vlan {vlan} of vif {vif}"),
            Key::VrfTable(vrf) => write!(f, "table of vrf {vrf}"),
            Key::RuleSet(id) => write!(f, "rule set {id}"),
            Key::Identity(id) => write!(f, "identity {id}"),
            Key::FlowTimeout(protocol, port) => {
                write!(f, "flow timeout of protocol {protocol} port {port}")
            }
        }
    }
}

/// One change. A `Put` of what is already there and a `Delete` of what is not are harmless, so replays are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "as an object's: it lives as long as its transaction")]
pub enum Op {
    /// Create or replace.
    Put(Object),
    /// Remove.
    Delete(Key),
}
