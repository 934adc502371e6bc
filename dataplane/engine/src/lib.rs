//! Nodes, the graph and the worker: what happens to a packet.
//!
//! | module | holds |
//! |---|---|
//! | `worker` | `Worker`: one thread's ports, and the turn |
//! | `graph` | the nodes' order, `Next`, and the loop that drives a burst |
//! | `node` | one file a node: `vif_rx`, `parse`, `decap`, `flow`, `bridge`, `control`, `route`, `next_hop`, `encap`, `vif_tx`, `hand_off`, `punt`, `drop` |
//! | `packet`, `inspect` | a packet's metadata, and the one look at its headers that fills it |
//! | `neighbor` | ARP and neighbour discovery: what is answered, and the answer |
//! | `learn` | which stations an interface hears |
//! | `inject` | what the agent asks to be done with a packet |
//! | `feature` | what unusual interfaces do: sub-interfaces, service VLANs, mirrors, monitoring, marking |
//! | `flow_hash` | entropy ports, ECMP members, workers by flow |
//! | `ports`, `hand_off` | where frames leave, here or on another worker |
//! | `merge` | segments, joined again for a port that takes trains |
//! | `segment` | trains of segments, cut where a port does not take them whole |
//! | `assembler` | fragments that wait for the head of their datagram |
//! | `waiting` | packets that wait, with their frames, and how many may |
//! | `mss` | what TCP connections through a tunnel are told |
//! | `flow` | what is known of sessions: finding, judging, ageing |
//! | `storm` | how much of what is flooded or punted an interface may cause |
//! | `trace` | packets followed from node to node, and packets that are only thought of |
//! | `vrf_counts` | what packets of a VRF met |
//! | `counters` | pages that workers write and anyone reads |
//! | `drop_log` | the last dropped packets |
//! | `engine` | the control thread's handle on all workers |
//!
//! A worker neither waits, allocates, locks, logs nor asks for the time while packets move. Every packet ends once:
//! sent, handed over, or dropped with a reason. Atomics are in `counters`, `drop_log` and `hand_off` only, and in the words
//! of flows (`tables::flow`). The drawing of the graph is in the README.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod assembler;
mod counters;
mod drop_log;
mod engine;
mod feature;
mod flow;
mod flow_hash;
mod graph;
mod hand_off;
mod inject;
mod inspect;
mod learn;
mod merge;
mod mss;
mod neighbor;
mod node;
mod packet;
mod ports;
mod segment;
mod storm;
mod trace;
mod vrf_counts;
mod waiting;
mod worker;

pub use counters::{CounterReader, Counters, DropStatistics, VifStatistics};
pub use drop_log::{DropSummary, LOGGED_DROPS, LogRule, LoggedDrop};
pub use engine::{Busy, Engine, Seat, Settings};
pub use feature::marking::DscpMode;
pub use flow::{FlowLimits, flow_age, flow_moment, flow_seconds};
pub use flow_hash::Seed;
pub use hand_off::{Wake, WorkerId};
pub use learn::Sighting;
pub use mss::MssClamp;
pub use storm::{Rate, StormLimits};
pub use trace::{
    Ending, ExplainError, Explanation, Followed, MOST_TRACED, Names, Original, Step, Trace,
    TraceFilter, explain,
};
pub use vrf_counts::{VrfCount, VrfStatistics};
pub use worker::{Event, Tick, Work, Worker};
