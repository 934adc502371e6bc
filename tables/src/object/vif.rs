//! Interfaces (reference dataplane.md section 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::{Mac, Prefix};

use super::{FloatingIp, MirrorId, NhId, QosMapId, ServiceAddress, VifId, VifPolicy, VrfId, flags};

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
    /// A TAP that the dataplane makes, with the virtio-net header: its link is the workload's, and takes and leaves
    /// checksums and segmentation. Not a value of the original's.
    Tap = 4,
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
    /// What comes untagged is of VLAN 0 where sub-interfaces are chosen.
    NATIVE_VLAN_TAG = 0x800;
    /// Answer ARP for the gateway only.
    NO_ARP_PROXY = 0x1000;
    /// Userspace NIC.
    PMD = 0x2000;
    /// The NIC steers by label.
    FILTERING_OFFLOAD = 0x4000;
    /// Everything is copied to a monitoring interface (derived).
    MONITORED = 0x8000;
    /// Flood unknown unicast.
    UNKNOWN_UNICAST_FLOOD = 0x1_0000;
    /// VLAN offload (capability).
    VLAN_OFFLOAD = 0x2_0000;
    /// No new flows.
    DROP_NEW_FLOWS = 0x4_0000;
    /// Learn source MACs.
    MAC_LEARN = 0x8_0000;
    /// Answer every ARP with the own MAC.
    MAC_PROXY = 0x10_0000;
    /// E-tree root.
    ETREE_ROOT = 0x20_0000;
    /// The guest takes merged segments (capability).
    GRO_NEEDED = 0x40_0000;
    /// The guest has mergeable buffers (capability).
    MERGEABLE_BUFFERS = 0x80_0000;
    /// A sub-interface is mirrored without its tag.
    MIRROR_NO_TAG = 0x100_0000;
    /// IGMP goes to the agent.
    IGMP = 0x200_0000;
    /// Test device.
    MOCK = 0x400_0000;
    /// Left side of a host-based service.
    HBS_LEFT = 0x800_0000;
    /// Right side of a host-based service.
    HBS_RIGHT = 0x1000_0000;
    /// From the fabric back to the fabric is allowed.
    FABRIC_GATEWAY = 0x2000_0000;
    /// Unknown (MAC, IP) bindings go to the agent.
    MAC_IP_LEARNING = 0x4000_0000;
    /// For DHCPv6 the opposite of `DHCP` holds (a bit the original does not use: there one flag is for both families).
    DHCP6_DIFFERS = 0x8000_0000;
    /// What the dataplane says of a port; an agent can neither set nor clear these.
    CAPABILITIES = 0x20 | 0x2_0000 | 0x40_0000 | 0x80_0000;
});

impl VifFlags {
    /// Whether DHCP of IPv4 goes to the agent.
    pub const fn dhcp4(self) -> bool {
        self.contains(VifFlags::DHCP)
    }

    /// Whether DHCPv6 goes to the agent.
    pub const fn dhcp6(self) -> bool {
        self.contains(VifFlags::DHCP) != self.contains(VifFlags::DHCP6_DIFFERS)
    }

    /// What is in effect of `self` as given, with a port's capabilities: those replace the given ones, and an
    /// interface that is neither L3 nor L2 is both.
    #[must_use]
    pub const fn effective(self, capabilities: VifFlags) -> VifFlags {
        let flags = self
            .without(VifFlags::CAPABILITIES)
            .with(VifFlags(capabilities.0 & VifFlags::CAPABILITIES.0));
        let layers = VifFlags::L3.with(VifFlags::L2);
        if flags.0 & layers.0 == 0 { flags.with(layers) } else { flags }
    }
}

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
    /// The IPv4 gateway of its workload's network: who tells the workload that a packet was too big or its TTL ran out.
    /// Without one such packets go to the agent.
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 gateway, likewise.
    pub gateway6: Option<Ipv6Addr>,
    /// L3 MTU in bytes.
    pub mtu: u16,
    /// Flags as given.
    pub flags: VifFlags,
    /// The next hop that identifies it in flow keys.
    pub next_hop: Option<NhId>,
    /// What makes it a VLAN sub-interface; needed for that kind, and for no other.
    pub sub: Option<SubInterface>,
    /// The interface whose packets a monitoring one is given copies of; needed for that kind, and for no other.
    pub monitors: Option<VifId>,
    /// The interfaces a cross-connected one is paired with. Recorded.
    pub xconnect: Vec<VifId>,
    /// Where [`VifFlags::MIRROR_RX`] and [`VifFlags::MIRROR_TX`] send copies.
    pub mirror: Option<MirrorId>,
    /// Put in front of a dynamic mirror's copies of what came in, at most 255 bytes.
    pub ingress_metadata: Vec<u8>,
    /// Put in front of a dynamic mirror's copies of what went out, at most 255 bytes.
    pub egress_metadata: Vec<u8>,
    /// How what it receives is classed.
    pub qos_map: Option<QosMapId>,
    /// Provider backbone bridging: service id, 24 bits; 0 without. Recorded.
    pub isid: u32,
    /// Provider backbone bridging: MAC. Recorded.
    pub bmac: Option<Mac>,
    /// Of a vhost with several uplinks: packets to it keep the host's MAC as destination.
    pub loopback: Option<Ipv4Addr>,
    /// Flows that are made coarser.
    pub fat_flow_rules: Vec<FatFlowRule>,
    /// Addresses that fat-flow rules do not touch, at most 3.
    pub fat_flow_exclude: Vec<Prefix<Ipv4Addr>>,
    /// Addresses that fat-flow rules do not touch, at most 3.
    pub fat_flow_exclude6: Vec<Prefix<Ipv6Addr>>,
    /// How its flows are judged, where [`VifFlags::POLICY`] asks for it.
    pub policy: VifPolicy,
    /// Its floating IPs.
    pub floating_ips: Vec<FloatingIp>,
    /// Services it reaches under addresses of its own.
    pub services: Vec<ServiceAddress>,
}

impl Vif {
    /// L3 MTU of [`Vif::new`], in bytes.
    pub const MTU: u16 = 1500;

    /// A plain interface of VRF 0: L2 and L3, without addresses or anything optional. The rest is filled in by struct
    /// update.
    pub fn new(id: VifId, name: impl Into<String>, kind: VifKind) -> Vif {
        Vif {
            id,
            name: name.into(),
            kind,
            transport: Transport::Virtual,
            vrf: VrfId(0),
            mcast_vrf: None,
            mac: Mac::ZERO,
            ip: None,
            ip6: None,
            gateway: None,
            gateway6: None,
            mtu: Vif::MTU,
            flags: VifFlags::L3.with(VifFlags::L2),
            next_hop: None,
            sub: None,
            monitors: None,
            xconnect: Vec::new(),
            mirror: None,
            ingress_metadata: Vec::new(),
            egress_metadata: Vec::new(),
            qos_map: None,
            isid: 0,
            bmac: None,
            loopback: None,
            fat_flow_rules: Vec::new(),
            fat_flow_exclude: Vec::new(),
            fat_flow_exclude6: Vec::new(),
            policy: VifPolicy::default(),
            floating_ips: Vec::new(),
            services: Vec::new(),
        }
    }
}

/// What a VLAN sub-interface takes from its parent, and what it sends there (section 2.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubInterface {
    /// The virtual or physical interface it belongs to.
    pub parent: VifId,
    /// VLAN id of what it receives: the outer tag's.
    pub rx_vlan: u16,
    /// VLAN id it sends with; 0 leaves tags as they are and writes the priority only.
    pub tx_vlan: u16,
    /// If any: only what these send is its own, at most 4.
    pub stations: Vec<Mac>,
}

impl VifFlags {
    /// Whether the interface is a leaf of an E-tree: it learns, and is no root (reference dataplane.md section 2.2).
    #[inline]
    pub const fn is_leaf(self) -> bool {
        self.contains(VifFlags::MAC_LEARN) && !self.contains(VifFlags::ETREE_ROOT)
    }
}

/// What a service interface's VLAN belongs to (section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrfAssign {
    /// The service interface: whatever has an assignment is one.
    pub vif: VifId,
    /// VLAN id, 0 to 1023.
    pub vlan: u16,
    /// Where its traffic is routed.
    pub vrf: VrfId,
    /// The next hop that identifies it in flow keys.
    pub next_hop: Option<NhId>,
}

/// Flows that are made coarser (section 14.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FatFlowRule {
    /// IP protocol; 0 shows `port` in its place.
    pub protocol: u8,
    /// Port; 0 is any.
    pub port: u16,
    /// Address left out of the key.
    pub ignore: Option<FatFlowIgnore>,
    /// Sources merged into prefixes.
    pub source: Option<Aggregate>,
    /// Destinations merged into prefixes.
    pub destination: Option<Aggregate>,
}

/// The address that a fat-flow rule leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FatFlowIgnore {
    /// The source.
    Source,
    /// The destination.
    Destination,
}

/// Addresses of a prefix that are merged to a shorter length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The prefix.
    pub prefix: IpAddr,
    /// Its length.
    pub length: u8,
    /// Length that addresses in it are cut to.
    pub aggregate_length: u8,
}
