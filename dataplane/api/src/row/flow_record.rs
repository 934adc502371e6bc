//! What sessions did, as it is kept for whoever asks for it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tables::{RuleId, VifId, VrfId};

/// What a session did since its last record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Tells the session from all others of this start of the dataplane.
    pub session: u64,
    /// Where its first packet came from.
    pub source: IpAddr,
    /// Where it went, before translation.
    pub destination: IpAddr,
    /// Source and destination port, 0 where there are none.
    pub ports: (u16, u16),
    /// IP protocol.
    pub protocol: u8,
    /// Packets of the first packet's direction, and of the other.
    pub packets: (u64, u64),
    /// Bytes likewise.
    pub bytes: (u64, u64),
    /// When it began, in milliseconds since 1970.
    pub start: u64,
    /// When its last packet came.
    pub end: u64,
    /// What happened.
    pub event: FlowEvent,
    /// VRF of the first packet, and behind translation.
    pub vrfs: (VrfId, VrfId),
    /// The workload of this node it came from, and the one it goes to.
    pub vifs: (Option<VifId>, Option<VifId>),
    /// The networks that the routes to both ends say they are in.
    pub networks: (Vec<u32>, Vec<u32>),
    /// The rule of the network's policy that decided, and that of a group.
    pub rules: (RuleId, RuleId),
    /// Why its packets are dropped, if they are: a code of reference cli.md section 7.5.
    pub drop_reason: u8,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowEvent {
    /// It began.
    Created,
    /// It goes on.
    Update,
    /// It ended.
    Deleted,
    /// Its packets are dropped.
    Denied,
}
