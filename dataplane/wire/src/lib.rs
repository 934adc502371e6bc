//! What is on the wire: addresses, labels, header views and values, checksums.
//!
//! Nothing here allocates on the packet path, does I/O or knows the time. Network byte order never leaves this
//! crate: accessors take and return host-order integers, `std::net` addresses and the newtypes below.
//!
//! | module | holds |
//! |---|---|
//! | `address` | `Mac`, `Prefix<A>`, the `Address` trait over both families |
//! | `label` | `Label` (20 bits), `Vni` (24 bits) |
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod address;
mod label;

pub use address::{Address, Mac, Prefix, PrefixError};
pub use label::{Label, LabelError, Vni};
