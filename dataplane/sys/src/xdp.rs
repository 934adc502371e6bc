//! The steering programs of `bpf/`: loading, attaching, and the maps they read.
//!
//! | file | is |
//! |---|---|
//! | `program.rs` | [`Program`]: one loaded instance with its maps |
//! | `attach.rs` | putting a program on a device, replacing ours, refusing a foreign one |
//! | `said.rs` | what libbpf says about a failure, kept for the error |
//! | `heartbeat.rs` | [`Heartbeat`]: the map workers beat into, shared by all programs |
//!
//! One instance is loaded for each device: a socket map entry works for one device alone.
//! Attachments are made over netlink, not as links: they outlive the process, and the next
//! process replaces them in one step.

mod attach;
mod heartbeat;
mod program;
mod said;

pub use attach::{AttachError, AttachMode, Kept, attach, detach, keep, zero_copy};
pub use heartbeat::{Beat, Heartbeat};
pub use program::{LoadError, Program, Role, Verdict};
