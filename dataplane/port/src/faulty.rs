//! Another port that loses and refuses on command: for tests of what happens then.

use std::os::fd::BorrowedFd;

use crate::{Burst, Frame, FramePool, Port, PortInfo};

/// What goes wrong, and how often; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Lose every n-th received frame.
    pub lose_received: u64,
    /// Lose every n-th frame to be sent.
    pub lose_sent: u64,
    /// Refuse every n-th frame to be sent.
    pub refuse: u64,
    /// Cut every n-th received frame to half its length.
    pub cut: u64,
}

/// A port around a port, with faults.
#[derive(Debug)]
pub struct FaultyPort<P> {
    inner: P,
    faults: Faults,
    received: u64,
    sent: u64,
    lost: Vec<Frame>,
    lost_total: u64,
}

impl<P: Port> FaultyPort<P> {
    /// Wraps `inner`.
    pub fn new(inner: P, faults: Faults) -> FaultyPort<P> {
        FaultyPort { inner, faults, received: 0, sent: 0, lost: Vec::new(), lost_total: 0 }
    }

    /// Frames lost on purpose so far.
    pub fn lost(&self) -> u64 {
        self.lost_total
    }

    fn survives(&mut self, frame: &mut Frame) -> bool {
        self.received += 1;
        if due(self.received, self.faults.cut) {
            frame.trim(frame.len() / 2);
        }
        !due(self.received, self.faults.lose_received)
    }

    fn lose(&mut self, frame: Frame) {
        self.lost_total += 1;
        self.lost.push(frame);
    }
}

impl<P: Port> Port for FaultyPort<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let before = burst.len();
        self.inner.receive(pool, burst);
        let mut whole = std::mem::take(burst);
        for (position, mut frame) in whole.drain(..).enumerate() {
            if position >= before && !self.survives(&mut frame) {
                self.lose(frame);
                continue;
            }
            burst.push(frame);
        }
        burst.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        self.sent += 1;
        if due(self.sent, self.faults.refuse) {
            return Err(frame);
        }
        if due(self.sent, self.faults.lose_sent) {
            self.lose(frame);
            return Ok(());
        }
        self.inner.transmit(frame)
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.lost.drain(..).for_each(|frame| pool.give(frame));
        self.inner.flush(pool);
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.lost.drain(..).for_each(|frame| pool.give(frame));
        self.inner.close(pool);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    fn outstanding(&self) -> usize {
        self.inner.outstanding() + self.lost.len()
    }

    fn pending(&self) -> usize {
        self.inner.pending()
    }

    fn takes_trains(&self) -> bool {
        self.inner.takes_trains()
    }

    fn starved(&self) -> bool {
        self.inner.starved()
    }

    fn info(&self) -> PortInfo {
        self.inner.info()
    }
}

fn due(count: u64, every: u64) -> bool {
    every != 0 && count.is_multiple_of(every)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FramePools, Memory, MemoryPort};

    #[test]
    fn faults_happen_as_often_as_asked_and_lose_no_frame() {
        let pools = FramePools::new(Memory::new(128, 2048, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let (port, end) = MemoryPort::new("memory");
        let faults = Faults { lose_received: 4, lose_sent: 3, refuse: 5, cut: 6 };
        let mut port = FaultyPort::new(port, faults);
        for _ in 0..60 {
            assert!(end.inject(&mut pool, &[1; 100]));
        }
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut pool, &mut burst), 45);
        assert_eq!(burst.iter().filter(|frame| frame.len() == 50).count(), 5);
        let mut refused = 0;
        for frame in burst {
            if let Err(frame) = port.transmit(frame) {
                pool.give(frame);
                refused += 1;
            }
        }
        assert_eq!(refused, 9);
        assert_eq!(port.outstanding() + pools.free_frames(), 128);
        port.flush(&mut pool);
        assert_eq!(end.collect_all(&mut pool).len(), 45 - 9 - 12);
        assert_eq!(port.lost(), 15 + 12);
        port.close(&mut pool);
        assert_eq!(pools.free_frames(), 128);
    }
}
