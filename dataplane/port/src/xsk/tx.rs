//! To the kernel: frames are queued, sent by a call that takes a limited number, and completed.

use sys::xsk::Socket;

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

impl XskPort {
    /// Queues a frame if the port may hold another and the kernel has a slot for it.
    pub(super) fn queue(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.sending >= self.config.send_frames {
            self.statistics.tx_refused += 1;
            return Err(frame);
        }
        let Some(socket) = &mut self.socket else { return Err(frame) };
        let (chunk, start, length) = frame.into_parts();
        match socket.send(chunk, start, length) {
            Ok(()) => {
                self.sending += 1;
                Ok(())
            }
            Err(chunk) => {
                self.statistics.tx_refused += 1;
                Err(Frame::from_parts(chunk, start, length))
            }
        }
    }

    /// Sends what is queued and takes completed frames back.
    ///
    /// Calls again while the kernel makes progress, so a burst of any length leaves in one flush;
    /// when it makes none, the rest stays queued for the next.
    pub(super) fn send_queued(&mut self, pool: &mut FramePool) {
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
