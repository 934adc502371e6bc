//! Networks, peers, routes, and the dataplane that should follow.
//!
//! ```text
//!  file ──▶ config ─────────────┐                        ┌──▶ attach ──▶ namespaces
//!                               ▼                        │
//!  peers ◀─▶ peer::bgp ──▶ control (proto, rib) ──▶ desired ──▶ sync ──▶ dataplane ──▶ vrouterd.sock
//!                               │
//!                              ids (on disk)
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `config` | the TOML file, checked as a whole |
//! | `ids` | VRF, vif, next-hop ids and labels that outlive the process |
//! | `control` | the agent without sockets and clock: inputs in, outputs out |
//! | `rib` | paths of peers, import, decision; our exports |
//! | `desired` | the wanted model |
//! | `sync` | wanted minus acknowledged |
//! | `peer` | sockets of BGP |
//! | `dataplane` | the control socket of `vrouterd` |
//! | `attach` | interface pairs of workloads |
//! | `analytics` | what traffic was, and what policy said to it: kept, and asked over HTTP |
//! | `stable` | names and MACs derived from configuration |
//! | `run` | one process: signals, timers, and who hears of what |
//!
//! One thread, one `Control`; everything else is tasks that send it inputs. The agent never reads forwarding state back
//! as truth: it replays what it wants.
#![forbid(unsafe_code)]

mod analytics;
mod attach;
mod config;
mod control;
mod dataplane;
mod desired;
mod ids;
mod peer;
mod rib;
mod run;
mod stable;
mod sync;

pub use config::{Bridging, Config, ConfigError, PortKind};
pub use run::{EarlyHangups, RunError, run};
