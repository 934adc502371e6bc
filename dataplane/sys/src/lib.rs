//! What the system or the processor asks for, behind safe functions.
//!
//! | module | is |
//! |---|---|
//! | [`memory`] | packet memory: one mapping, handed out as owned [`memory::Chunk`]s |
//! | [`words`] | words that threads and processes share |
//! | [`xsk`] | AF_XDP sockets: chunks to the kernel and back |
//! | [`xdp`] | the steering programs: load, attach, maps, heartbeat |
//! | [`device`], [`ethtool`] | index, MAC, offloads, speed, driver, queues of a device |
//! | [`tap`] | TAP devices with a virtio-net header on every packet |
//! | [`datagram`] | UNIX datagram sockets at a path |
//! | [`netns`] | running inside another network namespace |
//! | [`affinity`] | pinning threads to processors |
//! | [`eventfd`], [`epoll`] | waking and waiting |
//! | [`caps`] | what the process is allowed to do |
//! | [`prefetch`], [`tsc`] | cache hints, cycle counter, monotonic clock |
//!
//! Nothing here decides anything: each function does what its caller says and reports what the
//! system answered. This is the only crate that may contain `unsafe`; each block holds one
//! unsafe operation and says why it is sound. Atomics are in `xsk/ring.rs` (rings shared with the
//! kernel), `xdp/heartbeat.rs` (words shared with programs), `words.rs` and `memory.rs` (counts).
#![allow(unsafe_code, reason = "this crate is where the unsafe code of the product lives")]
#![warn(missing_docs)]

pub mod affinity;
pub mod caps;
pub mod datagram;
pub mod device;
pub mod epoll;
pub mod ethtool;
pub mod eventfd;
pub mod memory;
pub mod netns;
pub mod prefetch;
pub mod tap;
pub mod tsc;
pub mod words;
pub mod xdp;
pub mod xsk;
