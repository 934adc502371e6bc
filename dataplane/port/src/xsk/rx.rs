//! From the kernel: descriptors become frames, and the kernel gets new ones to fill.

use crate::{Burst, Frame, FramePool};

use super::XskPort;

impl XskPort {
    /// Appends received frames up to the capacity of `burst`.
    pub(super) fn take_received(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let Some(socket) = &mut self.socket else { return 0 };
        let before = burst.len();
        let mut taken = 0;
        while !burst.is_full() {
            let Some(received) = socket.receive() else { break };
            taken += 1;
            let frame = Frame::from_parts(received.chunk, received.offset, received.length);
            // Packets in several chunks were not asked for; one that comes is dropped whole.
            if received.continued || self.in_oversize {
                self.in_oversize = received.continued;
                self.statistics.rx_dropped += u64::from(!received.continued);
                pool.give(frame);
                continue;
            }
            burst.push(frame);
        }
        if taken > 0 {
            socket.release_received();
            self.receiving -= taken;
        }
        burst.len() - before
    }

    /// Gives the kernel frames to receive into, up to the number it is to have.
    pub(super) fn refill(&mut self, pool: &mut FramePool) {
        let Some(socket) = &mut self.socket else { return };
        let before = self.receiving;
        while self.receiving < self.config.receive_frames {
            let Some(frame) = pool.take() else { break };
            match socket.fill(frame.into_parts().0) {
                Ok(()) => self.receiving += 1,
                Err(chunk) => {
                    pool.give(Frame::empty(chunk));
                    break;
                }
            }
        }
        if self.receiving == before {
            return;
        }
        socket.submit_fill();
        if socket.fill_needs_wakeup() {
            // Whatever it answers, the frames stay in the ring and the next refill asks again.
            let _ = socket.wake_receive();
        }
    }
}
