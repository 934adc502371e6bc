//! Flows: what workers remember of the sessions they have judged (design decision 5).
//!
//! | module | holds |
//! |---|---|
//! | `key` | [`FlowKey`]: what packets of one direction of a session have in common |
//! | `slab` | [`FlowSlab`]: all sessions, in memory that workers (and a successor process) share |
//! | `entry`, `session` | [`Flow`] and [`Session`]: the words of one direction, and of both |
//! | `sessions` | [`Sessions`]: the slab with the directory of keys, free slots, quotas and counts |
//! | `sessions::decide` | what an agent decides about them, and those that it makes |
//! | `directory` | from keys to flows, for all workers |
//! | `words` | what the slab is made of |
//! | `undecided` | [`Undecided`]: how many flows wait for an agent's decision, and may |
//! | `index` | [`FlowIndex`]: a worker's own way from a key to a slot |
//!
//! A session is one slot, its two directions are flows. A flow is owned by the worker on which its packets arrive: only
//! that one writes its counters, its last-seen time and what it caches of the tables. The other direction's worker sets
//! single bits (TCP flags, the end of the session) by atomic or. What is found in an index is checked against the words
//! of the slot, which say whether it is alive, so an entry of a session that has ended is never used.
//!
//! # Thread-safety
//! A slot is filled before its keys are put into the directory, whose locks order the two. A flow is held by its owner; a
//! slot is reused when its session has ended and nobody holds it (the lifecycle word of `session`).

mod directory;
mod entry;
mod index;
mod key;
mod session;
mod sessions;
mod slab;
mod undecided;
mod words;

pub use entry::{Flow, FlowFlags, State, TcpFlags};
pub use index::FlowIndex;
pub use key::{FlowAddresses, FlowKey, Packed};
pub use session::{NatFlags, Session, SessionFlags};
pub use sessions::{
    Action, Claim, Count, Decision, FlowCounts, FreeSlots, Made, NewFlow, NewSession, Quota,
    Sessions, Undecidable,
};
pub use slab::{FlowId, FlowSlab, SessionId};
pub use undecided::{HoldLimits, HoldRefused, Undecided};
