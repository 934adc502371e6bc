//! Frames, their pool, and the ports they enter and leave by.
//!
//! | file | is |
//! |---|---|
//! | `frame.rs` | [`Frame`]: one packet in one chunk of packet memory, owned |
//! | `pool.rs` | [`FramePools`], [`FramePool`]: where frames are while nobody uses them |
//! | `port.rs` | [`Port`]: what a worker asks of anything frames enter and leave by |
//! | `xsk/` | [`XskDevice`], [`XskPort`]: one queue of a network device through AF_XDP |
//! | `train.rs` | [`Train`]: what is known of a frame that stands for many packets |
//! | `tap.rs` | [`TapPort`]: a TAP device with the virtio-net header |
//! | `socket.rs` | [`SocketPort`]: UNIX datagrams, for the agent's interface |
//! | `memory.rs` | [`MemoryPort`]: queues in memory, with a handle for tests |
//! | `replay.rs` | [`ReplayPort`]: offers the same frames again and again, for benches |
//! | `pcap.rs` | [`PcapPort`]: frames from one capture file, to another |
//! | `faulty.rs` | [`FaultyPort`]: another port that loses and refuses on command |
//!
//! The invariant of this crate: a frame is always in exactly one place, a pool, a port, or a
//! variable of a worker. A frame that is dropped instead is lost memory; debug builds panic.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod faulty;
mod frame;
mod memory;
mod pcap;
mod pool;
mod port;
mod replay;
mod socket;
mod tap;
mod train;
mod xsk;

pub use faulty::{Faults, FaultyPort};
pub use frame::{Frame, HEADROOM, LARGE_HEADROOM, NoRoom};
pub use memory::{MemoryEnd, MemoryPort};
pub use pcap::{PcapError, PcapPort, read_capture};
pub use pool::{FramePool, FramePools};
pub use port::{BURST, Burst, Port, PortInfo, PortMode, PortStatistics};
pub use replay::ReplayPort;
pub use socket::SocketPort;
pub use sys::memory::Memory;
pub use sys::tap::{Offloads, Tap, TapWatch};
pub use sys::xdp::{Beat, Heartbeat, Kept};
pub use tap::TapPort;
pub use train::{Segmentation, Train};
pub use xsk::{
    DeviceError, LargePackets, OpenError, SendBudget, Umem, XskConfig, XskDevice, XskPort,
};
