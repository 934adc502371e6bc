//! Next hops.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use tables::{Member, NhFamily, NhFlags, NhId, VifId, VrfId};
use wire::Mac;

/// A next hop as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopInfo {
    /// Its id.
    pub id: NhId,
    /// Its family; `None` for a number without a name.
    pub family: Option<NhFamily>,
    /// The VRF it belongs to; `None` is shown as -1.
    pub vrf: Option<VrfId>,
    /// How many objects use it, itself included.
    pub references: u32,
    /// All flag bits, the implied ones too (`NextHop::wire_flags`).
    pub flags: NhFlags,
    /// The child of an indirect next hop.
    pub direct: Option<Member>,
    /// What it does.
    pub detail: NextHopDetail,
}

/// What a next hop does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NextHopDetail {
    /// Type 0.
    Dead,
    /// Type 1.
    Receive {
        /// To here.
        vif: Option<VifId>,
    },
    /// Type 2.
    Encap {
        /// Shown family; the original's agent always says 0x0806.
        ether_type: u16,
        /// Out of here.
        vif: Option<VifId>,
        /// The Ethernet header in front.
        #[serde(with = "crate::readable::hex")]
        rewrite: Vec<u8>,
    },
    /// Type 3.
    Tunnel {
        /// Outer source.
        source: IpAddr,
        /// Outer destination.
        destination: IpAddr,
        /// The ways out: one, or three with underlay ECMP.
        underlay: Vec<UnderlayHop>,
        /// Source and destination port of a plain UDP tunnel.
        ports: Option<(u16, u16)>,
        /// Inner destination MAC of routed VXLAN.
        #[serde(with = "crate::readable::mac_option")]
        l3_vxlan_mac: Option<Mac>,
        /// Provider backbone bridging, instead of addresses.
        pbb: Option<Pbb>,
        /// Outer label of MPLS over MPLS.
        transport_label: Option<u32>,
        /// Where encrypted traffic leaves.
        crypt_vif: Option<VifId>,
    },
    /// Type 4.
    Resolve,
    /// Type 5.
    Discard,
    /// Type 6.
    Composite {
        /// Fields hashed by an ECMP composite (reference cli.md section 3.3); 0 prints none.
        hash: u8,
        /// The slots.
        members: Vec<Option<Member>>,
    },
    /// Type 7.
    Translate {
        /// To this VRF.
        vrf: VrfId,
    },
    /// Type 8.
    L2Receive,
    /// A type without a name.
    Other(u8),
}

impl NextHopDetail {
    /// A tunnel with one way out and nothing unusual.
    pub fn tunnel(source: IpAddr, destination: IpAddr, hop: UnderlayHop) -> NextHopDetail {
        NextHopDetail::Tunnel {
            source,
            destination,
            underlay: vec![hop],
            ports: None,
            l3_vxlan_mac: None,
            pbb: None,
            transport_label: None,
            crypt_vif: None,
        }
    }

    /// A tunnel that goes nowhere, as the original shows an invalid one.
    pub fn no_tunnel() -> NextHopDetail {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        NextHopDetail::tunnel(nowhere, nowhere, UnderlayHop::default())
    }
}

/// One way out of a tunnel next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderlayHop {
    /// The uplink; `None` is shown as -1.
    pub vif: Option<VifId>,
    /// Whether it can be used.
    pub valid: bool,
    /// Outer Ethernet header; empty while the neighbour is unknown.
    #[serde(with = "crate::readable::hex")]
    pub rewrite: Vec<u8>,
}

/// Provider backbone bridging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pbb {
    /// Backbone MAC.
    #[serde(with = "crate::readable::mac")]
    pub mac: Mac,
    /// Label; `None` is shown as -1.
    pub label: Option<u32>,
}
