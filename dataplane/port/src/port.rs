//! What a worker asks of anything frames enter and leave by.

use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;

use crate::{Frame, FramePool};

/// Frames a worker takes from a port at once.
pub const BURST: usize = 64;

/// Up to [`BURST`] frames.
pub type Burst = ArrayVec<Frame, BURST>;

/// One queue of one device, owned by one worker.
///
/// Every frame a port accepts or holds comes back: received ones in a burst, sent ones to the
/// pool in a later `flush`, all others in `close`.
pub trait Port: Send {
    /// Name of the device.
    fn name(&self) -> &str;

    /// Appends received frames to `burst` up to its capacity; returns how many.
    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize;

    /// Queues a frame to be sent by the next `flush`.
    ///
    /// # Errors
    /// The frame itself, when the port holds as many as it may; the caller counts and drops it. A port that does not take
    /// trains refuses a [`crate::Train`] too; the caller cuts it and sends the segments.
    fn transmit(&mut self, frame: Frame) -> Result<(), Frame>;

    /// Sends what is queued, takes sent frames back, and makes room to receive.
    ///
    /// What cannot be sent now stays queued; call again while [`Port::pending`] is not 0, and now
    /// and then also when nothing happens, so that sent frames come back.
    fn flush(&mut self, pool: &mut FramePool);

    /// Stops, and gives back every frame the port holds, those in kernel hands included.
    ///
    /// May wait for the kernel for some tens of milliseconds: better done by another thread than
    /// the worker whose port it was. A closed port receives nothing and refuses to send.
    fn close(&mut self, pool: &mut FramePool);

    /// Becomes readable when `receive` would yield something; `None` if the port has to be polled.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Frames the port holds.
    fn outstanding(&self) -> usize;

    /// Frames accepted by `transmit` that have not left yet: while it is not 0 the worker keeps
    /// calling `flush` and does not sleep for long.
    fn pending(&self) -> usize {
        0
    }

    /// Whether it has no frame left to receive into, so that nothing can come in and nothing becomes readable until a
    /// `flush` finds frames in the pool: the worker keeps calling `flush` and does not sleep for long.
    fn starved(&self) -> bool {
        false
    }

    /// Whether it takes a [`crate::Train`] as it is.
    fn takes_trains(&self) -> bool {
        false
    }

    /// What the port is and has counted. Asks the kernel: not for the packet path.
    fn info(&self) -> PortInfo;
}

/// How a port is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortMode {
    /// Queues in memory.
    #[default]
    Memory,
    /// Capture files.
    File,
    /// AF_XDP behind a program in the driver.
    Native,
    /// AF_XDP behind a program on socket buffers.
    Generic,
    /// A TAP device.
    Tap,
    /// A UNIX datagram socket.
    Socket,
}

/// What a port is and has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortInfo {
    /// How it is attached.
    pub mode: PortMode,
    /// Whether frames reach the device without a copy by the kernel.
    pub zero_copy: bool,
    /// Which queue of the device.
    pub queue: u32,
    /// Kernel features asked for and got.
    pub features: Vec<&'static str>,
    /// Kernel features asked for and not got, or switched off.
    pub missing: Vec<&'static str>,
    /// Descriptors in each ring.
    pub ring_size: u32,
    /// Frames it may hold.
    pub frame_limit: usize,
    /// Frames it holds now.
    pub held: usize,
    /// Bytes of kernel and user memory this port costs beside the frames it holds.
    pub memory: usize,
    /// What it has counted.
    pub statistics: PortStatistics,
}

/// Packets that a port or the kernel behind it did not deliver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Received packets that were dropped (larger than a chunk, bad descriptor or header).
    pub rx_dropped: u64,
    /// Received packets dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times the kernel found no frame to receive into.
    pub rx_fill_ring_empty: u64,
    /// Fill descriptors the kernel called malformed.
    pub rx_invalid: u64,
    /// Frames the kernel refused to send: malformed, or the device is down.
    pub tx_invalid: u64,
    /// Times the kernel found nothing to send.
    pub tx_ring_empty: u64,
    /// Frames `transmit` refused.
    pub tx_refused: u64,
    /// Sends that were put off by the kernel and repeated.
    pub tx_retries: u64,
}
