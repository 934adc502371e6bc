//! Routing protocols as replayable machines: bytes and ticks in, bytes and events out.
//!
//! Nothing here holds a socket, a timer or a thread, or asks for the time: every call that depends on time is given
//! a [`Time`]. What arrives is hostile, so no input may panic.
//!
//! | module | holds |
//! |---|---|
//! | `time` | `Time`: milliseconds on the caller's clock |
//! | `bgp` | BGP-4 (RFC 4271) for VPN and EVPN routes |
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

pub mod bgp;
mod time;

pub use time::Time;
