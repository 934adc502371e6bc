//! The control server: many clients on one socket, one owner of the tables behind it.
//!
//! | module | holds |
//! |---|---|
//! | `connection` | one client: framing, version, deadlines; sends an [`Ask`] a request and writes the answer |
//! | `drop_log` | the logs of dropped packets as rows |
//! | `dump` | pages and single rows of every table |
//! | `epochs` | in which epoch each connected client puts, and what a sweep keeps |
//! | `places` | who is served when more clients come than there are places |
//! | `publisher` | model and snapshots: what was asked for, what is published, who waits for it |
//! | `refusal` | errors of the model as refusals |
//! | `rows` | objects as rows |
//! | `route_log` | changes of routes while somebody watches |
//!
//! A connection is a task that owns nothing but its socket. Whatever a client does (garbage, half a message, not
//! reading) ends that task and nothing else.

mod connection;
mod drop_log;
mod dump;
mod epochs;
mod places;
mod publisher;
mod refusal;
#[cfg(test)]
mod requests_tests;
mod route_log;
mod rows;

pub(crate) use connection::{Ask, serve};
pub(crate) use drop_log::{Wanted, page as drop_log_page};
pub(crate) use dump::{View, VifFacts};
pub(crate) use epochs::Epochs;
pub(crate) use publisher::Publisher;
pub(crate) use refusal::{refusal, refusal_by_hand, refuse_absent};
