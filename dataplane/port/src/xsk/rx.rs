//! From the kernel: descriptors become frames, and the kernel gets new ones to fill.

use crate::{Burst, Frame, FramePool};

use super::XskPort;

/// A packet of several chunks on its way into a large frame.
#[derive(Debug)]
pub(super) enum Gathering {
    /// The next chunk begins a packet.
    Nothing,
    /// Of the packet there is this so far.
    Some(Frame),
    /// The packet is lost: no large frame was free, or it is larger than one.
    Lost,
}

impl Gathering {
    /// Frames it holds.
    pub(super) fn held(&self) -> usize {
        usize::from(matches!(self, Gathering::Some(_)))
    }

    /// Ends the packet; what there is of it.
    pub(super) fn end(&mut self) -> Option<Frame> {
        match std::mem::replace(self, Gathering::Nothing) {
            Gathering::Some(frame) => Some(frame),
            Gathering::Nothing | Gathering::Lost => None,
        }
    }

    /// Puts the next part of the packet behind what there is.
    fn add(&mut self, part: &[u8], pool: &mut FramePool) {
        let frame = match std::mem::replace(self, Gathering::Lost) {
            Gathering::Nothing => pool.take_large(),
            Gathering::Some(frame) => Some(frame),
            Gathering::Lost => None,
        };
        let Some(mut frame) = frame else { return };
        match frame.extend(part.len()) {
            Ok(room) => {
                room.copy_from_slice(part);
                *self = Gathering::Some(frame);
            }
            Err(_) => pool.give(frame),
        }
    }
}

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
            if received.continued || !matches!(self.gathering, Gathering::Nothing) {
                self.gathering.add(frame.data(), pool);
                pool.give(frame);
                if !received.continued {
                    match self.gathering.end() {
                        Some(frame) => burst.push(frame),
                        None => self.statistics.rx_dropped += 1,
                    }
                }
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
