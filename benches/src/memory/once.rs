//! A port that plays packets once, each copied into a frame of the worker's as a network card or a capture file would, and
//! one that takes everything: for sessions that begin, whose packets come but once.

use std::os::fd::BorrowedFd;

use port::{Burst, Frame, FramePool, Port, PortInfo};

/// Offers the packets one after the other.
pub(super) struct Once {
    packets: Vec<Vec<u8>>,
    next: usize,
}

impl Once {
    pub(super) fn new(packets: Vec<Vec<u8>>) -> Once {
        Once { packets, next: 0 }
    }
}

impl Port for Once {
    fn name(&self) -> &str {
        "once"
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let due = self.packets.get(self.next..).unwrap_or_default();
        let mut received = 0;
        for packet in due.iter().take(burst.remaining_capacity()) {
            let Some(mut frame) = pool.take() else { break };
            if frame.fill(packet).is_err() {
                pool.give(frame);
                break;
            }
            burst.push(frame);
            received += 1;
        }
        self.next += received;
        received
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        Err(frame)
    }

    fn flush(&mut self, _pool: &mut FramePool) {}

    fn close(&mut self, _pool: &mut FramePool) {}

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn info(&self) -> PortInfo {
        PortInfo::default()
    }
}

/// Takes what is sent, and gives the frames back.
#[derive(Default)]
pub(super) struct Nowhere {
    sent: Vec<Frame>,
}

impl Port for Nowhere {
    fn name(&self) -> &str {
        "nowhere"
    }

    fn receive(&mut self, _pool: &mut FramePool, _burst: &mut Burst) -> usize {
        0
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        self.sent.push(frame);
        Ok(())
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.sent.drain(..).for_each(|frame| pool.give(frame));
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.flush(pool);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.sent.len()
    }

    fn info(&self) -> PortInfo {
        PortInfo::default()
    }
}
