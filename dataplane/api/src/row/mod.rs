//! What dumps and gets answer: one row type per table, rich enough to print the text of the original byte by byte.
//!
//! Rows say what is, not what was asked: reference counts, kernel devices and counters are filled in by `vrouterd`.
//! A field the dataplane has no notion of yet (mirroring, fat flows, PBB) is simply empty in its rows.

mod drop_log;
mod drops;
mod explain;
mod flow;
mod flow_record;
mod mirror;
mod next_hop;
mod port;
mod process;
mod qos;
mod route;
mod route_change;
mod vif;
mod vrf;
mod vrouter;

pub use drop_log::{DropLogEntry, PacketKind};
pub use drops::DropStats;
pub use explain::{
    ExplainedPacket, ExplainedStep, Explanation, PacketEnding, PacketFilter, SentPacket,
};
pub use flow::{
    FlowAction, FlowChange, FlowDecision, FlowEnds, FlowHandle, FlowInfo, FlowTableInfo,
    FlowVerdict, NewFlow,
};
pub use flow_record::{FlowEvent, FlowRecord};
pub use mirror::MirrorInfo;
pub use next_hop::{NextHopDetail, NextHopInfo, Pbb, UnderlayHop};
pub use port::{Backend, CopyMode, PortRow, PortState, XdpMode, XdpStatistics};
pub use process::{ProcessInfo, TableSize, WorkerInfo};
pub use qos::{ForwardingClassInfo, QosMapInfo};
pub use route::{BridgeInfo, LabelInfo, RouteInfo, Stitched, VniInfo};
pub use route_change::{RouteChange, RouteChanged};
pub use vif::{
    BondMember, Duplex, Fabric, LayerCounters, Layers, LinkState, Traffic, VifInfo, VlanStation,
    VlanTag, VlanVrf,
};
pub use vrf::{VrfInfo, VrfStats};
pub use vrouter::{BuildInfo, Description, MemoryStats, VrouterInfo, VrouterValue};
