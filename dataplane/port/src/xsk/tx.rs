//! To the kernel: frames are queued, sent by a call that takes a limited number, and completed.

use arrayvec::ArrayVec;
use sys::memory::Chunk;
use sys::xsk::{MultiBuffer, Socket};

use crate::{Frame, FramePool};

use super::XskPort;

/// Packets one call sends at least when it makes progress, whatever the budget.
const PER_CALL: u32 = 32;

/// What one send call came to.
enum Progress {
    /// The kernel has taken everything.
    Done,
    /// It took some and wants to be called again.
    More,
    /// It took nothing: no use calling again now.
    Stuck,
}

/// Frames that may wait for `flush` to copy them into chunks.
pub(super) const BACKLOG: usize = 64;

/// Chunks a packet may have: what the kernel can hang on one of its buffers.
const PARTS: usize = 17;

impl XskPort {
    /// Queues a frame if the port may hold another and the kernel has a slot for it.
    pub(super) fn queue(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.sending >= self.send_limit {
            return self.queue_behind(frame);
        }
        let Some(socket) = &mut self.socket else { return Err(frame) };
        let (chunk, start, length) = frame.into_parts();
        match socket.send(chunk, start, length) {
            Ok(()) => {
                self.sending += 1;
                Ok(())
            }
            Err(chunk) => self.queue_large(Frame::from_parts(chunk, start, length)),
        }
    }

    /// The port has as many as it may, or a large frame waits and what comes after it has to stay behind it.
    #[cold]
    fn queue_behind(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.backlog.is_empty() || self.backlog.len() >= BACKLOG {
            self.statistics.tx_refused += 1;
            return Err(frame);
        }
        if frame.is_large() {
            return self.queue_large(frame);
        }
        self.backlog.push_back(frame);
        Ok(())
    }

    /// What the socket does not take: the ring is full, or the frame lies elsewhere because it is large.
    #[cold]
    fn queue_large(&mut self, frame: Frame) -> Result<(), Frame> {
        if frame.train().is_some() {
            return Err(frame);
        }
        let most = match self.multi_buffer {
            MultiBuffer::On => PARTS.min(self.config.send_frames),
            MultiBuffer::Off => 1,
        };
        if !frame.is_large() || self.parts(&frame) > most || self.backlog.len() >= BACKLOG {
            self.statistics.tx_refused += 1;
            return Err(frame);
        }
        self.backlog.push_back(frame);
        self.send_limit = 0;
        Ok(())
    }

    /// Chunks that a frame's packet needs.
    fn parts(&self, frame: &Frame) -> usize {
        frame.len().div_ceil(self.umem.chunk_size()).max(1)
    }

    /// Copies large frames into chunks and queues them, and what waits behind them, as far as there is room.
    #[cold]
    fn send_backlog(&mut self, pool: &mut FramePool) {
        while let Some(frame) = self.backlog.pop_front() {
            let parts = self.parts(&frame);
            let Some(socket) = &mut self.socket else { return pool.give(frame) };
            let room = (socket.send_room() as usize)
                .min(self.config.send_frames.saturating_sub(self.sending));
            let sent = parts <= room && send_parts(socket, &frame, self.umem.chunk_size(), pool);
            if !sent {
                self.backlog.push_front(frame);
                return;
            }
            self.sending += parts;
            pool.give(frame);
        }
        self.send_limit = self.config.send_frames;
    }

    /// Sends what is queued and takes completed frames back.
    ///
    /// Calls again while the kernel makes progress, so a burst of any length leaves in one flush;
    /// when it makes none, the rest stays queued for the next.
    pub(super) fn send_queued(&mut self, pool: &mut FramePool) {
        if self.send_limit == 0 {
            self.take_completed(pool);
            self.send_backlog(pool);
        }
        if self.sending == 0 {
            return;
        }
        self.take_completed(pool);
        let Some(socket) = &mut self.socket else { return };
        socket.submit_send();
        let mut calls = socket.unsent() / PER_CALL + 2;
        while calls > 0 {
            let Some(socket) = &mut self.socket else { return };
            match send_some(socket) {
                Progress::Done => break,
                Progress::More => {}
                Progress::Stuck => {
                    self.statistics.tx_retries += 1;
                    break;
                }
            }
            calls -= 1;
            self.take_completed(pool);
        }
        self.take_completed(pool);
    }

    fn take_completed(&mut self, pool: &mut FramePool) {
        let Some(socket) = &mut self.socket else { return };
        let mut completed = 0;
        while let Some(chunk) = socket.complete() {
            pool.give(Frame::empty(chunk));
            completed += 1;
        }
        if completed > 0 {
            socket.release_completed();
            self.sending -= completed;
        }
    }
}

/// Queues the packet in chunks of its own, for which there is room; `false`, and nothing is queued, if the pool has not
/// as many.
fn send_parts(socket: &mut Socket, frame: &Frame, size: usize, pool: &mut FramePool) -> bool {
    let mut chunks = ArrayVec::<(Chunk, u16), PARTS>::new();
    for part in frame.data().chunks(size).take(PARTS) {
        let Some(copy) = pool.take() else { break };
        let mut chunk = copy.into_parts().0;
        if let Some(room) = chunk.bytes_mut().get_mut(..part.len()) {
            room.copy_from_slice(part);
        }
        chunks.push((chunk, u16::try_from(part.len()).unwrap_or(0)));
    }
    let whole = chunks.iter().map(|(_, length)| usize::from(*length)).sum::<usize>() == frame.len();
    let last = chunks.len().saturating_sub(1);
    for (index, (chunk, length)) in chunks.into_iter().enumerate() {
        let sent = match index {
            _ if !whole => Err(chunk),
            _ if index == last => socket.send(chunk, 0, length),
            _ => socket.send_part(chunk, 0, length),
        };
        if let Err(chunk) = sent {
            debug_assert!(!whole, "there was room");
            pool.give(Frame::empty(chunk));
        }
    }
    whole
}

/// One send call, judged by what the kernel took rather than by what it answered: `EAGAIN` means
/// "more left" as well as "no buffer", `EBUSY` and `ENOBUFS` may follow packets that did leave.
fn send_some(socket: &Socket) -> Progress {
    let before = socket.unsent();
    if before == 0 || !socket.send_needs_wakeup() {
        return Progress::Done;
    }
    let _ = socket.wake_send();
    let after = socket.unsent();
    match after {
        0 => Progress::Done,
        _ if after < before => Progress::More,
        _ => Progress::Stuck,
    }
}
