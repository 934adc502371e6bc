//! Flows.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use tables::{NhId, RuleId, VrfId};

use crate::message::Core;

/// What becomes of a flow's packets. The discriminant is the original's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowAction {
    /// Dropped.
    Drop = 0,
    /// Held until somebody decides.
    Hold = 1,
    /// Forwarded.
    Forward = 2,
    /// Translated and forwarded.
    Nat = 3,
    /// None of these.
    Unknown = 4,
}

/// A flow as it is shown: one direction of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowInfo {
    /// Its index.
    pub index: u32,
    /// Whether there is a flow: a place without one is listed where others hang off it.
    pub active: bool,
    /// The other direction, if there is one.
    pub reverse: Option<u32>,
    /// Counts uses of the index.
    pub generation: u8,
    /// Where its packets come from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// Source port, or the id of an ICMP echo.
    pub source_port: u16,
    /// Destination port, or an ICMP type.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Its VRF.
    pub vrf: VrfId,
    /// The VRF its packets are routed in, where that is another.
    pub destination_vrf: Option<VrfId>,
    /// The next hop that is part of its key.
    pub key_next_hop: NhId,
    /// The next hop its packets must come from.
    pub source_next_hop: NhId,
    /// What becomes of its packets.
    pub action: FlowAction,
    /// Flag bits (reference dataplane.md section 14.3).
    pub flags: u16,
    /// Further flag bits: 0x1000 and 0x2000 are the sides of a host-based service.
    pub flags1: u16,
    /// Why its packets are dropped (reference dataplane.md section 20, at the end).
    pub drop_reason: u8,
    /// What TCP has shown (section 14.8).
    pub tcp_flags: u16,
    /// The position of its member in an ECMP group.
    pub ecmp: Option<u8>,
    /// The uplink it takes.
    pub underlay_ecmp: Option<u8>,
    /// Its QoS map.
    pub qos_map: Option<u16>,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Where copies of its packets go.
    pub mirrors: [Option<u8>; 2],
    /// The outer source port of its packets, if known.
    pub udp_source_port: u16,
    /// The TTL its packets get; 0 leaves them theirs.
    pub ttl: u8,
    /// Where its packets come from: the outer source, or the interface, little-endian, as an address.
    pub source_info: Ipv4Addr,
    /// Flows in the chain that hangs off its place.
    pub overflow: Vec<u32>,
    /// The rule of the network's policy that decided.
    pub network_rule: RuleId,
    /// The rule of a security group that decided.
    pub group_rule: RuleId,
    /// Seconds since it began.
    pub age: u32,
    /// Seconds since its last packet.
    pub idle: u32,
    /// The worker its packets arrive at.
    pub owner: Option<Core>,
}

impl FlowInfo {
    /// There is a flow.
    pub const ACTIVE: u16 = 0x1;
    /// Its source address is translated.
    pub const SNAT: u16 = 0x2;
    /// Its source port is translated.
    pub const SPAT: u16 = 0x4;
    /// Its destination address is translated.
    pub const DNAT: u16 = 0x8;
    /// Its destination port is translated.
    pub const DPAT: u16 = 0x10;
    /// It is being deleted.
    pub const DELETE_MARKED: u16 = 0x40;
    /// BGP as a service.
    pub const BGP_SERVICE: u16 = 0x80;
    /// It was changed.
    pub const MODIFIED: u16 = 0x100;
    /// Nobody has been told of it.
    pub const NEW: u16 = 0x200;
    /// It is to be evicted.
    pub const EVICT_CANDIDATE: u16 = 0x400;
    /// It was evicted.
    pub const EVICTED: u16 = 0x800;
    /// It has another direction.
    pub const REVERSE_VALID: u16 = 0x1000;
    /// Its packets are mirrored.
    pub const MIRROR: u16 = 0x2000;
    /// Its VRF changes.
    pub const VRF_TRANSLATE: u16 = 0x4000;
    /// A link-local service.
    pub const LINK_LOCAL: u16 = 0x8000;
}

/// The flow table as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTableInfo {
    /// Places for flows.
    pub entries: u32,
    /// Flows there are.
    pub used: u64,
    /// Flows made by first packets.
    pub created: u64,
    /// Flows put by an agent, or judged.
    pub added: u64,
    /// Flows that have ended.
    pub deleted: u64,
    /// Flows changed, or judged again.
    pub changed: u64,
    /// Flows that packets have decided.
    pub processed: u64,
    /// Flows in chains.
    pub overflow: u64,
    /// Flows made, by worker.
    pub created_by_core: Vec<u64>,
    /// Held flows in chains.
    pub held_overflow: u64,
    /// Flows that are held.
    pub held: u64,
    /// First packets for which there was no room, no quota or no rate.
    pub refused: u64,
    /// Packets given to their flow's owner.
    pub handed_over: u64,
    /// Flows taken over from another worker.
    pub moved: u64,
    /// Flows that may be held above the limit now.
    pub burst_tokens: u32,
}

/// What packets of a flow have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowEnds {
    /// Where they come from.
    pub source: IpAddr,
    /// Where they go; of the same family.
    pub destination: IpAddr,
    /// Source port, or the id of an ICMP echo.
    pub source_port: u16,
    /// Destination port, or an ICMP type.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// The next hop that stands for the interface.
    pub key_next_hop: NhId,
}

/// What an agent decides about a flow (reference dataplane.md section 14.9). Both directions of a session are decided at
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowVerdict {
    /// Its index, as the trap told it.
    pub index: u32,
    /// The generation of the index, as the trap told it.
    pub generation: u8,
    /// Its key.
    pub key: FlowEnds,
    /// What becomes of it.
    pub decision: FlowDecision,
}

/// What is decided about a flow, and so about its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDecision {
    /// What becomes of its packets. [`FlowAction::Forward`] and [`FlowAction::Nat`] are one: whether packets are
    /// translated is told by the answers.
    pub action: FlowAction,
    /// Why they are dropped, if they are: a code of reference cli.md section 7.5.
    pub drop_reason: u8,
    /// The answers; `None`: as the tables have it, floating IPs and services included, or as they are already.
    pub answers: Option<FlowEnds>,
    /// The VRF its packets are routed in; `None`: likewise.
    pub destination_vrf: Option<VrfId>,
    /// Where copies of its packets go.
    pub mirrors: [Option<u8>; 2],
    /// The position of its member in an ECMP group, where it has none yet.
    pub ecmp: Option<u8>,
}

impl FlowDecision {
    /// This becomes of its packets, by the tables and by nothing else.
    pub const fn plain(action: FlowAction) -> FlowDecision {
        FlowDecision {
            action,
            drop_reason: 0,
            answers: None,
            destination_vrf: None,
            mirrors: [None; 2],
            ecmp: None,
        }
    }
}

/// A flow that an agent makes without a packet (reference dataplane.md section 14.9, index -1), and what it decides about
/// it. An interface that judges for itself judges it again with its first packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFlow {
    /// Its key.
    pub key: FlowEnds,
    /// The VRF of its packets.
    pub vrf: VrfId,
    /// What becomes of it. Without answers they are the other way round.
    pub decision: FlowDecision,
}

/// A flow by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowHandle {
    /// Its index.
    pub index: u32,
    /// How often the index was another's before.
    pub generation: u8,
}

/// What is to become of a flow by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowChange {
    /// Its packets are forwarded, until it is judged again.
    Forward,
    /// Its packets are dropped, until it is judged again.
    Drop,
    /// It ends, in both directions; its next packet begins a new session.
    Delete,
    /// It ends if TCP has closed it.
    Evict,
}
