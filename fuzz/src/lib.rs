//! Fuzz targets: functions over bytes that must neither panic nor lose a packet, and the inputs they start from.
//!
//! `targets` makes a test of each, for `cargo test` (the kept inputs and a few random ones) and for `make fuzz`
//! (libFuzzer, for as long as one likes). See README.md.
//!
//! | module | holds |
//! |---|---|
//! | `headers` | every header parser of `wire` |
//! | `pipeline` | the engine: an arbitrary model changed at any time, arbitrary packets at every kind of port |
//! | `messages` | the control socket's codec, and models made of its transactions |
//! | `bgp` | the BGP decoder and state machine |
//! | `dice` | any `Deserialize` type from bytes, so that random bytes are mostly meaningful |
//! | `seeds` | the first inputs: the case book's captures |
//! | `targets` | the tests |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bgp;
mod dice;
mod headers;
mod messages;
mod pipeline;
mod seeds;
#[path = "../../dataplane/engine/tests/site/mod.rs"]
#[allow(missing_docs, reason = "the engine's test bench")]
mod site;
#[cfg(test)]
mod targets;

pub use bgp::{bgp_messages, bgp_session};
pub use dice::Dice;
pub use headers::headers;
pub use messages::{codec, model};
pub use pipeline::{agent, fabric, host, tenant};
pub use seeds::seeds;
