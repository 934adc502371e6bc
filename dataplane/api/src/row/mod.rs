//! What dumps and gets answer: one row type per table, rich enough to print the text of the original byte by byte.
//!
//! Rows say what is, not what was asked: reference counts, kernel devices and counters are filled in by `vrouterd`.
//! A field the dataplane has no notion of yet (mirroring, fat flows, PBB) is simply empty in its rows.

mod drops;
mod next_hop;
mod port;
mod process;
mod route;
mod vif;

pub use drops::DropStats;
pub use next_hop::{NextHopDetail, NextHopInfo, Pbb, UnderlayHop};
pub use port::{Backend, CopyMode, PortRow, PortState, XdpMode, XdpStatistics};
pub use process::{ProcessInfo, TableSize, WorkerInfo};
pub use route::{BridgeInfo, LabelInfo, RouteInfo, Stitched, VniInfo};
pub use vif::{
    Aggregate, BondMember, Duplex, Fabric, FatFlowIgnore, FatFlowRule, LayerCounters, Layers,
    LinkState, Traffic, VifInfo, VlanStation, VlanTag, VlanVrf,
};
