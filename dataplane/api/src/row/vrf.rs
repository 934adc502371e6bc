//! Routing tables as objects, and what their packets met.

use serde::{Deserialize, Serialize};
use tables::{VifId, VrfId};

/// A VRF as it is shown (reference cli.md section 11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrfInfo {
    /// Its index.
    pub id: VrfId,
    /// Its name; empty when nobody named it.
    pub name: String,
    /// Left interface of its host-based service.
    pub hbs_left: Option<VifId>,
    /// Right interface of its host-based service.
    pub hbs_right: Option<VifId>,
}

/// Packets of a VRF by the kind of next hop (or ARP decision) they met (reference cli.md section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrfStats {
    /// The VRF; `None`, shown as -1, is for packets of VRFs that do not exist.
    pub vrf: Option<VrfId>,
    /// Discard next hops.
    pub discards: u64,
    /// Resolve next hops.
    pub resolves: u64,
    /// Receive next hops.
    pub receives: u64,
    /// L2 receive next hops.
    pub l2_receives: u64,
    /// VRF translations.
    pub vrf_translates: u64,
    /// Floods to unknown stations.
    pub unknown_unicast_floods: u64,
    /// ECMP composites.
    pub ecmp_composites: u64,
    /// Tops of L2 multicast trees.
    pub l2_mcast_composites: u64,
    /// Fabric composites.
    pub fabric_composites: u64,
    /// Encap composites.
    pub encap_composites: u64,
    /// EVPN composites.
    pub evpn_composites: u64,
    /// Plain UDP tunnels.
    pub udp_tunnels: u64,
    /// MPLS over UDP tunnels.
    pub udp_mpls_tunnels: u64,
    /// MPLS over GRE tunnels.
    pub gre_mpls_tunnels: u64,
    /// VXLAN tunnels.
    pub vxlan_tunnels: u64,
    /// PBB tunnels.
    pub pbb_tunnels: u64,
    /// MPLS over MPLS tunnels.
    pub mpls_over_mpls_tunnels: u64,
    /// Encap next hops of family bridge.
    pub l2_encaps: u64,
    /// Encap next hops.
    pub encaps: u64,
    /// Packets that were merged.
    pub gros: u64,
    /// Diagnostic packets.
    pub diags: u64,
    /// ARP from workloads answered with the vRouter's MAC.
    pub arp_virtual_proxys: u64,
    /// ARP from workloads answered with a stitched MAC.
    pub arp_virtual_stitchs: u64,
    /// ARP from workloads that was flooded.
    pub arp_virtual_floods: u64,
    /// ARP from the fabric answered with a stitched MAC.
    pub arp_physical_stitchs: u64,
    /// ARP from ToR switches answered with the vRouter's MAC.
    pub arp_tor_proxys: u64,
    /// ARP from the fabric that was flooded.
    pub arp_physical_floods: u64,
}

impl VrfStats {
    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == VrfStats { vrf: self.vrf, ..VrfStats::default() }
    }
}
