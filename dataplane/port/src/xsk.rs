//! AF_XDP ports.
//!
//! | file | is |
//! |---|---|
//! | `device.rs` | [`XskDevice`]: a network device with our steering program on it |
//! | `open.rs` | opening the socket of one queue, sharing registrations of packet memory |
//! | `rx.rs`, `tx.rs` | the two directions of [`XskPort`] |
//!
//! Invariant: every frame a port took from a pool or accepted for sending is either in the
//! kernel's hands (the socket remembers which) or was given back; after `close` none is left.

mod device;
mod open;
mod rx;
mod tx;

use std::{collections::VecDeque, os::fd::BorrowedFd, sync::Arc};

use sys::xsk::{MultiBuffer, Socket};

pub use device::{DeviceError, XskDevice};
pub use open::{LargePackets, OpenError, SendBudget, Umem, XskConfig};

use rx::Gathering;

use crate::{Burst, Frame, FramePool, Port, PortInfo, PortMode, PortStatistics};

/// One queue of a network device.
pub struct XskPort {
    name: String,
    /// `None` once closed.
    socket: Option<Socket>,
    umem: Arc<Umem>,
    config: XskConfig,
    mode: PortMode,
    features: Vec<&'static str>,
    missing: Vec<&'static str>,
    memory: usize,
    /// Frames the kernel has to receive into; those sent and not completed.
    receiving: usize,
    sending: usize,
    /// Whether packets may lie in several chunks.
    multi_buffer: MultiBuffer,
    /// The packet larger than a chunk that is being received.
    gathering: Gathering,
    /// Chunks that may wait to be sent or completed: none while frames wait in `backlog`, so that none overtakes them.
    send_limit: usize,
    /// Frames larger than a chunk, which `flush` copies into chunks, and those behind them.
    backlog: VecDeque<Frame>,
    /// Counted here; the kernel's counters are added in `info`.
    statistics: PortStatistics,
}

impl XskPort {
    /// Frames `close` could not give back because something else kept the socket open.
    fn close_socket(&mut self, pool: &mut FramePool) -> usize {
        self.backlog.drain(..).for_each(|frame| pool.give(frame));
        self.send_limit = self.config.send_frames;
        if let Some(frame) = self.gathering.end() {
            pool.give(frame);
        }
        let Some(socket) = self.socket.take() else { return 0 };
        let lost = self.umem.close(socket, |chunk| pool.give(Frame::empty(chunk)));
        (self.receiving, self.sending) = (0, 0);
        lost
    }
}

impl Port for XskPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        self.take_received(pool, burst)
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        self.queue(frame)
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.send_queued(pool);
        self.refill(pool);
    }

    fn close(&mut self, pool: &mut FramePool) {
        let lost = self.close_socket(pool);
        debug_assert_eq!(lost, 0, "{}: the socket was kept open elsewhere", self.name);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    fn outstanding(&self) -> usize {
        self.receiving + self.sending + self.backlog.len() + self.gathering.held()
    }

    fn pending(&self) -> usize {
        let unsent = self.socket.as_ref().map_or(0, |socket| socket.unsent() as usize);
        unsent + self.backlog.len()
    }

    fn starved(&self) -> bool {
        self.receiving == 0 && self.socket.is_some()
    }

    fn info(&self) -> PortInfo {
        let mut statistics = self.statistics;
        if let Some(Ok(kernel)) = self.socket.as_ref().map(Socket::statistics) {
            statistics.rx_dropped += kernel.rx_dropped;
            statistics.rx_invalid = kernel.rx_invalid;
            statistics.tx_invalid = kernel.tx_invalid;
            statistics.rx_ring_full = kernel.rx_ring_full.unwrap_or(0);
            statistics.rx_fill_ring_empty = kernel.rx_fill_ring_empty.unwrap_or(0);
            statistics.tx_ring_empty = kernel.tx_ring_empty.unwrap_or(0);
        }
        PortInfo {
            mode: self.mode,
            zero_copy: self.socket.as_ref().is_some_and(Socket::zero_copy),
            queue: self.config.queue,
            features: self.features.clone(),
            missing: self.missing.clone(),
            ring_size: self.config.ring_size,
            frame_limit: self.config.receive_frames + self.config.send_frames,
            held: self.outstanding(),
            memory: self.memory,
            statistics,
        }
    }
}
