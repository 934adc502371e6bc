//! What was asked for (`Model`), what packets read (`Fib`), and the one way from the first to the second.
//!
//! | module | holds |
//! |---|---|
//! | `object` | the typed objects of the model and their ids: plain data, shared with `api`, agent and tools |
//! | `model` | `Model`: all objects, validated; `Put` and `Delete` as transactions |
//! | `drop_reason` | the one list of drop reasons |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod drop_reason;
mod object;

pub use drop_reason::DropReason;
pub use object::*;
