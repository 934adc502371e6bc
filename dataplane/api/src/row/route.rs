//! Routes, bridge entries, labels and VNIs.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tables::{BridgeFlags, NhId, RouteFlags};
use wire::Mac;

/// A leaf of a VRF's prefix table, of either family (reference cli.md section 4.4). In the answer to a lookup it is
/// the route itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// Its network address.
    pub address: IpAddr,
    /// Its length in bits; of a leaf a multiple of 8.
    pub length: u8,
    /// Length of the real route that it comes from; 0 in the answer to a lookup.
    pub parent_length: u8,
    /// Flags; whether there is a label is said by `label`.
    pub flags: RouteFlags,
    /// Label or VNI.
    pub label: Option<u32>,
    /// Where to.
    pub next_hop: NhId,
    /// The MAC it is stitched to.
    pub stitched: Option<Stitched>,
}

/// A station in the bridge table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stitched {
    /// Its MAC.
    #[serde(with = "crate::readable::mac")]
    pub mac: Mac,
    /// Its slot.
    pub index: u32,
}

/// An entry of a VRF's bridge table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeInfo {
    /// Its slot; rows of a dump ascend by it.
    pub index: u32,
    /// The station.
    #[serde(with = "crate::readable::mac")]
    pub mac: Mac,
    /// Flags; whether there is a label is said by `label`.
    pub flags: BridgeFlags,
    /// Label or VNI.
    pub label: Option<u32>,
    /// Where to.
    pub next_hop: NhId,
    /// Packets that used it; 0 in the answer to a lookup.
    pub packets: u64,
}

/// An incoming MPLS label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelInfo {
    /// The label.
    pub label: u32,
    /// What it means here.
    pub next_hop: NhId,
}

/// An incoming VXLAN network identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VniInfo {
    /// The identifier.
    pub vni: u32,
    /// What it means here.
    pub next_hop: NhId,
}
