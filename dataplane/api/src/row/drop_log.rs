//! The log of dropped packets.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tables::{DropReason, NhId, VifId, VrfId};

use crate::message::Core;

/// A packet that was dropped (reference cli.md section 8.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropLogEntry {
    /// The worker that dropped it.
    pub core: Core,
    /// Its place in that worker's log, 0 the oldest.
    pub slot: u32,
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// Why.
    pub reason: DropReason,
    /// What it was.
    pub kind: PacketKind,
    /// Where it came in.
    pub vif: Option<VifId>,
    /// Where it was routed.
    pub vrf: Option<VrfId>,
    /// The next hop it met.
    pub next_hop: Option<NhId>,
    /// Generation of the tables it was forwarded by.
    pub generation: u64,
    /// Source and destination address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Source and destination port, 0 without.
    pub ports: (u16, u16),
    /// The module that dropped it, as `VR_NEXTHOP_C`; empty if unknown.
    pub file: String,
    /// The line in it, 0 if unknown.
    pub line: u32,
    /// Bytes of the whole packet.
    pub length: u32,
    /// Its first bytes.
    #[serde(with = "crate::readable::hex")]
    pub bytes: Vec<u8>,
}

/// What a dropped packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PacketKind {
    /// ARP.
    Arp,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 in IP.
    IpOverIp,
    /// IPv6 in IP.
    Ip6OverIp,
    /// From or to the agent.
    Agent,
    /// Provider backbone bridging.
    Pbb,
    /// Something else.
    Unknown,
}
