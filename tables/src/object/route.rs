//! Routes, bridge entries, labels, VNIs, and how tunnel destinations are reached.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wire::{Address, Label, Mac, Prefix, Vni};

use super::{IdentityId, NhId, VifId, VrfId, flags};

/// Name of a routing table. Tables exist from the first route on; this only names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vrf {
    /// Its index.
    pub id: VrfId,
    /// Its name, as `default-domain:demo:red:red`.
    pub name: String,
    /// Whether packets must come from where the route to their source leads.
    pub rpf: bool,
    /// At most so many flows of it at a time.
    pub max_flows: Option<u32>,
}

impl Vrf {
    /// A table that checks where packets come from, without limits.
    pub fn new(id: VrfId, name: impl Into<String>) -> Vrf {
        Vrf { id, name: name.into(), rpf: true, max_flows: None }
    }
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
    /// What whoever is there is to policy.
    pub identity: Option<IdentityId>,
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

/// The host-based service (container firewall) of a VRF: the interfaces its two sides are on (section 14.10). Recorded
/// and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrfTable {
    /// Of this VRF.
    pub vrf: VrfId,
    /// The left side.
    pub hbs_left: Option<VifId>,
    /// The right side.
    pub hbs_right: Option<VifId>,
}
