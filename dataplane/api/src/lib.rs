//! The control socket of `vrouterd`: what can be asked, how it is framed, and a blocking client.
//!
//! One Unix stream, `vrouterd.sock` in the socket directory. Each message is a little-endian `u32` length and that many
//! bytes of postcard. The client speaks first: `Hello` with the range of versions it knows; the server answers with the
//! version both will use. After that every request gets exactly one reply, in order. A request that the server cannot
//! decode (a verb it does not know yet) is answered by an error and the connection goes on.
//!
//! Compatibility: enums are only appended to, `Hello` never changes, and a field may be added to a row only together
//! with a new version.
//!
//! | module | holds |
//! |---|---|
//! | `message` | `Request`, `Reply` and what they are made of |
//! | `row` | what dumps and gets answer: rich enough for the text of every tool |
//! | `error` | `ApiError`: a refusal that names object and field |
//! | `codec` | bytes to messages and back, without I/O |
//! | `client` | `Client`: blocking, for tools and tests |
//! | `readable` | MACs and bytes as text where the format is read by people |
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod client;
mod codec;
mod error;
mod message;
mod readable;
mod row;

pub use client::{Client, ClientError, Pages, SOCKET_NAME, default_directory};
pub use codec::{CodecError, Decoder, MAX_MESSAGE, decode, encode};
pub use error::{ApiError, ErrorCode};
pub use message::{
    ClientHello, Core, Cursor, DropScope, Lookup, Page, Reply, Request, Rows, ServerHello, Table,
    Transaction, VERSIONS, VersionRange,
};
pub use row::{
    Backend, BondMember, BridgeInfo, BuildInfo, CopyMode, Description, DropLogEntry, DropStats,
    Duplex, ExplainedPacket, ExplainedStep, Explanation, Fabric, FlowAction, FlowChange,
    FlowDecision, FlowEnds, FlowEvent, FlowHandle, FlowInfo, FlowRecord, FlowTableInfo,
    FlowVerdict, ForwardingClassInfo, LabelInfo, LayerCounters, Layers, LinkState, MemoryStats,
    MirrorInfo, NewFlow, NextHopDetail, NextHopInfo, PacketEnding, PacketFilter, PacketKind, Pbb,
    PortRow, PortState, ProcessInfo, QosMapInfo, RouteChange, RouteChanged, RouteInfo, SentPacket,
    Stitched, TableSize, Traffic, UnderlayHop, VifInfo, VlanStation, VlanTag, VlanVrf, VniInfo,
    VrfInfo, VrfStats, VrouterInfo, VrouterValue, WorkerInfo, XdpMode, XdpStatistics,
};
// The vocabulary the messages are written in, so that tools need no other crate.
pub use tables::{
    Adjacency, Aggregate, BridgeEntry, BridgeFlags, ClassId, CompositeKind, DropReason, Epoch,
    FatFlowIgnore, FatFlowRule, ForwardingClass, Key, LabelEntry, Member, Mirror, MirrorFlags,
    MirrorId, NextHop, NextHopKind, NhFamily, NhFlags, NhId, Object, Op, QosMap, QosMapId, Rewrite,
    Route, RouteFlags, RuleId, SubInterface, Transport, TunnelEncap, Uplink, Vif, VifFlags, VifId,
    VifKind, VniEntry, Vrf, VrfAssign, VrfId, VrfTable,
};
pub use wire::{Label, Mac, Prefix, Vni};
