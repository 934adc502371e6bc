//! Queues in memory: a port for tests, with a handle at the far end.

use std::{
    collections::VecDeque,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Burst, Frame, FramePool, Port, PortInfo, Train};

/// A port whose wire is a pair of queues; the far end is a [`MemoryEnd`] or another port.
#[derive(Debug)]
pub struct MemoryPort {
    name: String,
    inward: Queue,
    outward: Queue,
    limit: usize,
    trains: bool,
    refused: u64,
}

/// The far end of a [`MemoryPort`]: puts packets in, takes packets out.
#[derive(Clone, Debug)]
pub struct MemoryEnd {
    inward: Queue,
    outward: Queue,
}

type Queue = Arc<Mutex<VecDeque<Frame>>>;

/// Frames a port lets wait in its outward queue, unless told otherwise.
const LIMIT: usize = 4096;

impl MemoryPort {
    /// A port and its far end.
    pub fn new(name: &str) -> (MemoryPort, MemoryEnd) {
        let (inward, outward) = (Queue::default(), Queue::default());
        let end = MemoryEnd { inward: Arc::clone(&inward), outward: Arc::clone(&outward) };
        let name = name.to_owned();
        (MemoryPort { name, inward, outward, limit: LIMIT, trains: false, refused: 0 }, end)
    }

    /// Two ports joined by a wire: what one sends the other receives.
    pub fn pair(first: &str, second: &str) -> (MemoryPort, MemoryPort) {
        let (port, end) = MemoryPort::new(first);
        let other = MemoryPort {
            name: second.to_owned(),
            inward: end.outward,
            outward: end.inward,
            limit: LIMIT,
            trains: false,
            refused: 0,
        };
        (port, other)
    }

    /// Lets at most `limit` frames wait in the outward queue.
    pub fn with_limit(mut self, limit: usize) -> MemoryPort {
        self.limit = limit;
        self
    }

    /// Takes trains as they are.
    pub fn with_trains(mut self) -> MemoryPort {
        self.trains = true;
        self
    }
}

impl Port for MemoryPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, _pool: &mut FramePool, burst: &mut Burst) -> usize {
        let mut queue = lock(&self.inward);
        let count = queue.len().min(burst.remaining_capacity());
        burst.extend(queue.drain(..count));
        count
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if !self.trains && frame.train().is_some() {
            return Err(frame);
        }
        let mut queue = lock(&self.outward);
        if queue.len() >= self.limit {
            self.refused += 1;
            return Err(frame);
        }
        queue.push_back(frame);
        Ok(())
    }

    fn flush(&mut self, _pool: &mut FramePool) {}

    fn close(&mut self, pool: &mut FramePool) {
        for queue in [&self.inward, &self.outward] {
            lock(queue).drain(..).for_each(|frame| pool.give(frame));
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        lock(&self.inward).len() + lock(&self.outward).len()
    }

    fn takes_trains(&self) -> bool {
        self.trains
    }

    fn info(&self) -> PortInfo {
        let mut info =
            PortInfo { frame_limit: self.limit, held: self.outstanding(), ..PortInfo::default() };
        info.statistics.tx_refused = self.refused;
        info
    }
}

impl MemoryEnd {
    /// Puts a packet into the port, in a frame of `pool`; `false` if there is none or it is too
    /// large.
    pub fn inject(&self, pool: &mut FramePool, packet: &[u8]) -> bool {
        pool.take_for(packet.len()).is_some_and(|frame| self.put(pool, frame, packet, None))
    }

    /// The same with a train; `false` also if there is no large frame for it.
    pub fn inject_train(&self, pool: &mut FramePool, packet: &[u8], train: &Train) -> bool {
        pool.take_large().is_some_and(|frame| self.put(pool, frame, packet, Some(train)))
    }

    fn put(
        &self,
        pool: &mut FramePool,
        mut frame: Frame,
        packet: &[u8],
        train: Option<&Train>,
    ) -> bool {
        if frame.fill(packet).is_err() || !frame.set_train(train) {
            pool.give(frame);
            return false;
        }
        lock(&self.inward).push_back(frame);
        true
    }

    /// The oldest packet the port has sent; its frame goes to `pool`.
    pub fn collect(&self, pool: &mut FramePool) -> Option<Vec<u8>> {
        let frame = lock(&self.outward).pop_front()?;
        let packet = frame.data().to_vec();
        pool.give(frame);
        Some(packet)
    }

    /// The same with what is known of it if it is a train.
    pub fn collect_train(&self, pool: &mut FramePool) -> Option<(Vec<u8>, Option<Train>)> {
        let frame = lock(&self.outward).pop_front()?;
        let packet = (frame.data().to_vec(), frame.train());
        pool.give(frame);
        Some(packet)
    }

    /// Every packet the port has sent, oldest first; their frames go to `pool`.
    pub fn collect_all(&self, pool: &mut FramePool) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.collect(pool)).collect()
    }

    /// Packets the port has sent and nobody collected.
    pub fn waiting(&self) -> usize {
        lock(&self.outward).len()
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<Frame>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FramePools, Memory};

    #[test]
    fn packets_cross_a_memory_port_both_ways_and_no_frame_is_lost() {
        let pools = FramePools::new(Memory::new(128, 2048, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let (mut port, end) = MemoryPort::new("memory");
        let mut port = {
            port = port.with_limit(2);
            port
        };
        assert!(end.inject(&mut pool, b"one"));
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut pool, &mut burst), 1);
        for frame in burst.drain(..) {
            port.transmit(frame).unwrap();
        }
        assert_eq!(end.collect_all(&mut pool), [b"one"]);
        assert!(!end.inject(&mut pool, &[0; 5000]));
        for number in 0..3 {
            let frame = pool.take().unwrap();
            match port.transmit(frame) {
                Ok(()) => assert!(number < 2),
                Err(frame) => pool.give(frame),
            }
        }
        assert_eq!(port.info().statistics.tx_refused, 1);
        assert_eq!(port.outstanding() + pools.free_frames(), 128);
        port.close(&mut pool);
        assert_eq!(pools.free_frames(), 128);
    }
}
