//! Packets that were followed through the graph, thought of or real.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tables::{DropReason, VifId};

use crate::message::Core;

/// What became, or would become, of packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Generation of the tables that the packets went by.
    pub generation: u64,
    /// The packets, each followed by what nodes made of it.
    pub packets: Vec<ExplainedPacket>,
    /// Packets that nodes made and that are not in `packets`: copies into a large tree.
    pub left_out: u64,
    /// What a packet that was thought of would have sent, by interface.
    pub sent: Vec<SentPacket>,
}

/// A packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedPacket {
    /// The worker that had it; `None` for one that was thought of.
    pub core: Option<Core>,
    /// Where it came in.
    pub vif: VifId,
    /// A node has made it: a copy, a piece, an answer, an error.
    pub made: bool,
    /// Bytes it came in with.
    pub length: u32,
    /// The first of them.
    #[serde(with = "crate::readable::hex")]
    pub bytes: Vec<u8>,
    /// What each node did, in this order.
    pub steps: Vec<ExplainedStep>,
    /// What became of it.
    pub ending: PacketEnding,
}

/// What a node of the graph did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// The node.
    pub node: String,
    /// What it found and decided, a sentence each.
    pub says: Vec<String>,
    /// The node the packet went to; `None`: it ended here.
    pub next: Option<String>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PacketEnding {
    /// It left by an interface.
    Sent {
        /// This one.
        vif: VifId,
    },
    /// It was dropped.
    Dropped {
        /// For this.
        reason: DropReason,
    },
    /// The agent got it.
    ToAgent,
    /// Another worker got it, and goes on with it.
    HandedOver {
        /// This one.
        core: Core,
    },
    /// It waits for the head of its datagram.
    Held,
    /// It was followed no further: its way is too long.
    Unfinished,
    /// The agent has to decide about its flow: it waits for the verdict.
    Undecided,
}

/// A packet that would have been sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentPacket {
    /// By this interface.
    pub vif: VifId,
    /// All of it.
    #[serde(with = "crate::readable::hex")]
    pub bytes: Vec<u8>,
}

/// Which packets are followed: those that meet all that is given. A packet in a tunnel is met by what it carries as well
/// as by its outer headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketFilter {
    /// Came in by it.
    pub vif: Option<VifId>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// Source port of TCP, UDP or SCTP.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
}
