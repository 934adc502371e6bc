//! A UNIX datagram socket whose datagrams are frames: the agent's interface (reference sandesh.md section 9).
//!
//! Like a TAP one call to the kernel for each packet, so for an interface with little traffic. A packet is offered to the
//! receiver when it is queued, so that the sender hears at once when nobody is there; while the receiver's queue is full
//! some packets wait here. The receiver may come and go.

use std::{collections::VecDeque, io, os::fd::BorrowedFd, path::Path};

use sys::datagram::{Datagram, Sent};

use crate::{Burst, Frame, FramePool, Port, PortInfo, PortMode, PortStatistics};

/// Frames that may wait for the receiver, and as many that were sent in this turn.
const QUEUE: usize = 256;
/// Packets taken in one go, so that an agent that sends much does not hold up the worker's other ports.
const TAKE: usize = 32;
/// How many times `receive` does not ask the kernel after it had nothing, and `flush` not after it had no room: asking
/// costs a system call, and a worker turns much faster than an agent answers. A worker that goes to sleep flushes.
const PAUSE: u8 = 15;

/// A socket and where it sends.
#[derive(Debug)]
pub struct SocketPort {
    name: String,
    /// `None` once closed.
    socket: Option<Datagram>,
    waiting: VecDeque<Frame>,
    sent: Vec<Frame>,
    /// Calls of `receive` and `flush` left that do not ask.
    pause: (u8, u8),
    statistics: PortStatistics,
}

impl SocketPort {
    /// Binds `own`, to send to `peer`.
    ///
    /// # Errors
    /// As [`Datagram::bind`].
    pub fn bind(name: &str, own: &Path, peer: &Path) -> io::Result<SocketPort> {
        Ok(SocketPort {
            name: name.to_owned(),
            socket: Some(Datagram::bind(own, peer)?),
            waiting: VecDeque::with_capacity(QUEUE),
            sent: Vec::with_capacity(QUEUE),
            pause: (0, 0),
            statistics: PortStatistics::default(),
        })
    }
}

impl Port for SocketPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        if self.pause.0 > 0 {
            self.pause.0 -= 1;
            return 0;
        }
        let before = burst.len();
        for _ in 0..TAKE.min(burst.remaining_capacity()) {
            let Some(mut frame) = pool.take() else { break };
            let room = frame.tailroom();
            let buffer = frame.extend(room).unwrap_or_default();
            match socket.receive(buffer) {
                Ok(Some(length)) if length <= room => {
                    frame.trim(length);
                    burst.push(frame);
                }
                Ok(Some(_)) => {
                    self.statistics.rx_dropped += 1;
                    pool.give(frame);
                }
                Ok(None) | Err(_) => {
                    self.pause.0 = PAUSE;
                    pool.give(frame);
                    break;
                }
            }
        }
        burst.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        let sent = match &self.socket {
            Some(socket) if self.waiting.is_empty() && self.sent.len() < QUEUE => {
                socket.send(frame.data()).ok()
            }
            Some(_) if self.waiting.len() < QUEUE => Some(Sent::Full),
            _ => None,
        };
        match sent {
            Some(Sent::Queued) => self.sent.push(frame),
            Some(Sent::Full) if self.waiting.len() < QUEUE => self.waiting.push_back(frame),
            _ => {
                self.statistics.tx_refused += 1;
                return Err(frame);
            }
        }
        Ok(())
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.sent.drain(..).for_each(|frame| pool.give(frame));
        let Some(socket) = &self.socket else { return };
        if self.waiting.is_empty() {
            self.pause.0 = 0;
            return;
        }
        if self.pause.1 > 0 {
            self.pause.1 -= 1;
            return;
        }
        while let Some(frame) = self.waiting.pop_front() {
            match socket.send(frame.data()) {
                Ok(Sent::Queued) => {}
                Ok(Sent::Full) => {
                    self.statistics.tx_retries += 1;
                    self.pause.1 = PAUSE;
                    self.waiting.push_front(frame);
                    return;
                }
                // The receiver died with a full queue.
                Ok(Sent::Absent) | Err(_) => self.statistics.tx_invalid += 1,
            }
            pool.give(frame);
        }
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.sent.drain(..).chain(self.waiting.drain(..)).for_each(|frame| pool.give(frame));
        self.socket = None;
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    fn outstanding(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    fn pending(&self) -> usize {
        self.waiting.len()
    }

    fn info(&self) -> PortInfo {
        PortInfo {
            mode: PortMode::Socket,
            frame_limit: 2 * QUEUE,
            held: self.outstanding(),
            memory: 2 * QUEUE * size_of::<Frame>(),
            statistics: self.statistics,
            ..PortInfo::default()
        }
    }
}
