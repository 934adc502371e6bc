//! What was asked for (`Model`), what packets read (`Fib`), and the one way from the first to the second.
//!
//! | module | holds |
//! |---|---|
//! | `object` | the typed objects of the model and their ids, by topic: plain data, shared with `api`, agent and tools |
//! | `model` | `Model`: all objects, validated; `Put` and `Delete` as transactions; epochs |
//! | `store`, `references`, `check`, `error` | its maps, its reverse indexes, its rules, and what breaking one answers |
//! | `fib`, `next_hop`, `hit` | `Fib`: what packets read; compiled next hops; what look-ups answer |
//! | `policy` | rule sets, compiled, and the judgement of sessions |
//! | `stamps` | what has changed since something was looked up or judged |
//! | `flow` | the sessions that workers remember |
//! | `lpm`, `bridge`, `array` | the persistent structures a `Fib` is made of |
//! | `compile` | from `Model` to `Fib`, incrementally: the only file that knows both |
//! | `publish`, `writer` | snapshots by generation, one writer and many readers |
//! | `drop_reason` | the one list of drop reasons |
//!
//! Atomics are in `publish` and in `flow`, nowhere else.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod array;
mod bridge;
mod check;
mod compile;
mod drop_reason;
mod error;
mod fib;
pub mod flow;
mod hit;
mod lpm;
mod model;
mod next_hop;
mod object;
mod policy;
mod publish;
mod references;
mod stamps;
mod store;
mod writer;

pub use drop_reason::DropReason;
pub use error::{ErrorCode, ModelError};
pub use fib::{
    Endpoints, Family, Fib, FibVif, FlowSettings, Generation, QosTable, SubEntry, VifExtras,
    VifFeatures, VrfSettings,
};
pub use hit::{BridgeHit, BridgeSlot, RouteHit, Station};
pub use model::{Changes, Model};
pub use next_hop::{
    Crypt, EcmpGroup, FibNextHop, FloodGroup, HopEntry, LabelOf, OuterHeader, SpecialTunnel,
    TunnelForm, TunnelHop, UdpTunnel,
};
pub use object::*;
pub use policy::{FlowDropReason, Judgement, Subject};
pub use store::{Epoch, Owner};
pub use writer::{Reader, Writer};
