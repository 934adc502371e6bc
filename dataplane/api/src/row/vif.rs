//! Interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use tables::{FatFlowRule, NhId, Transport, VifFlags, VifId, VifKind, VrfId};
use wire::Mac;

use super::port::PortRow;

/// An interface as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VifInfo {
    /// Its index.
    pub id: VifId,
    /// Its name in the model.
    pub name: String,
    /// Index of its kernel device, or a PCI address where the dpdk layout prints one; 0 without.
    pub os_index: u32,
    /// The name that kernel device has now; `None` if it is gone.
    pub os_name: Option<String>,
    /// What it is.
    pub kind: VifKind,
    /// How frames reach it.
    pub transport: Transport,
    /// Line speed in Mbit/s, if known.
    pub speed_mbps: Option<u32>,
    /// Duplex, if known.
    pub duplex: Option<Duplex>,
    /// Tags of a VLAN sub-interface.
    pub vlan: Option<VlanTag>,
    /// The vif whose traffic a monitoring interface copies.
    pub monitors: Option<VifId>,
    /// The vif that a sub-interface belongs to.
    pub parent: Option<VifId>,
    /// The next hop that identifies it in flow keys.
    pub next_hop: Option<NhId>,
    /// The MAC the vRouter has on it.
    #[serde(with = "crate::readable::mac")]
    pub mac: Mac,
    /// Its (workload's) IPv4 address.
    pub ip: Option<Ipv4Addr>,
    /// Its (workload's) IPv6 address.
    pub ip6: Option<Ipv6Addr>,
    /// Where its traffic is routed; `None` is shown as 65535.
    pub vrf: Option<VrfId>,
    /// Where its broadcast is looked up; `None` is shown as 65535.
    pub mcast_vrf: Option<VrfId>,
    /// L3 MTU in bytes.
    pub mtu: u16,
    /// All flag bits, the dataplane's own too.
    pub flags: VifFlags,
    /// QoS map, if any.
    pub qos_map: Option<u16>,
    /// How many objects use it, itself included.
    pub references: u32,
    /// Mirror index; `None` is shown as 255.
    pub mirror: Option<u16>,
    /// Packets in and out of the vRouter.
    pub rx: Traffic,
    /// See `rx`.
    pub tx: Traffic,
    /// Sum of its drop counters.
    pub drops: u64,
    /// The layers below, as the dpdk layout shows them.
    pub layers: Layers,
    /// The physical device below an uplink, as the dpdk layout shows it.
    pub fabric: Option<Fabric>,
    /// Provider backbone bridging: service id, 0 without.
    pub isid: u32,
    /// Provider backbone bridging: MAC.
    #[serde(with = "crate::readable::mac_option")]
    pub bmac: Option<Mac>,
    /// Metadata put in front of mirrored packets that came in.
    #[serde(with = "crate::readable::hex")]
    pub ingress_mirror_metadata: Vec<u8>,
    /// Metadata put in front of mirrored packets that went out.
    #[serde(with = "crate::readable::hex")]
    pub egress_mirror_metadata: Vec<u8>,
    /// Fat-flow rules.
    pub fat_flow_rules: Vec<FatFlowRule>,
    /// Addresses that fat-flow rules do not touch.
    pub fat_flow_exclude: Vec<Ipv4Addr>,
    /// Addresses that fat-flow rules do not touch.
    pub fat_flow_exclude6: Vec<Ipv6Addr>,
    /// VRF by VLAN of a service interface.
    pub vlan_vrfs: Vec<VlanVrf>,
    /// What its port got from the kernel.
    pub port: Option<PortRow>,
}

impl VifInfo {
    /// A row without anything optional; the rest is filled in by struct update.
    pub fn new(id: VifId, name: impl Into<String>, kind: VifKind) -> VifInfo {
        VifInfo {
            id,
            name: name.into(),
            os_index: 0,
            os_name: None,
            kind,
            transport: Transport::Virtual,
            speed_mbps: None,
            duplex: None,
            vlan: None,
            monitors: None,
            parent: None,
            next_hop: None,
            mac: Mac::ZERO,
            ip: None,
            ip6: None,
            vrf: None,
            mcast_vrf: None,
            mtu: 0,
            flags: VifFlags::default(),
            qos_map: None,
            references: 1,
            mirror: None,
            rx: Traffic::default(),
            tx: Traffic::default(),
            drops: 0,
            layers: Layers::default(),
            fabric: None,
            isid: 0,
            bmac: None,
            ingress_mirror_metadata: Vec::new(),
            egress_mirror_metadata: Vec::new(),
            fat_flow_rules: Vec::new(),
            fat_flow_exclude: Vec::new(),
            fat_flow_exclude6: Vec::new(),
            vlan_vrfs: Vec::new(),
            port: None,
        }
    }
}

/// Duplex of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Duplex {
    /// One direction at a time.
    Half,
    /// Both.
    Full,
}

/// Tags of a VLAN sub-interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanTag {
    /// Outer tag.
    pub outer: u16,
    /// Inner tag.
    pub inner: u16,
    /// Source MACs that belong to it (at most 4).
    pub stations: Vec<VlanStation>,
}

/// A source MAC of a VLAN sub-interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanStation {
    /// The MAC.
    #[serde(with = "crate::readable::mac")]
    pub mac: Mac,
    /// Its slot in the bridge table.
    pub bridge_index: u32,
}

/// Packets, bytes and errors of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Errors.
    pub errors: u64,
}

/// Counters of one layer below the vRouter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes, where the layer counts them.
    pub bytes: u64,
    /// Errors.
    pub errors: u64,
    /// Times no buffer was there.
    pub no_buffers: u64,
    /// System calls: wake-ups.
    pub syscalls: u64,
}

/// The layers below the vRouter (reference cli.md sections 1.5 and 2.5 step 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Driver.
    pub rx_device: LayerCounters,
    /// Receive rings of the sockets.
    pub rx_port: LayerCounters,
    /// Hand-over rings between workers.
    pub rx_queue: LayerCounters,
    /// Packets that could not be handed over, by the worker they were meant for.
    pub rx_queue_errors_to_lcore: Vec<u64>,
    /// Hand-over rings between workers.
    pub tx_queue: LayerCounters,
    /// Transmit rings of the sockets.
    pub tx_port: LayerCounters,
    /// Driver.
    pub tx_device: LayerCounters,
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LinkState {
    /// No carrier.
    Down,
    /// Carrier.
    Up,
}

/// The physical device below an uplink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fabric {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: LinkState,
    /// Its driver.
    pub driver: String,
    /// Members, if it is a bond.
    pub members: Vec<BondMember>,
    /// VLAN of the fabric, if tagged.
    pub vlan: Option<u16>,
    /// Kernel interface of that VLAN; empty without.
    pub vlan_interface: String,
}

/// A member of a bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondMember {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: LinkState,
    /// Its driver.
    pub driver: String,
}

/// A mapping of a service interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanVrf {
    /// VLAN id.
    pub vlan: u16,
    /// Its VRF.
    pub vrf: VrfId,
}
