//! A port for benches: offers the same packets again and again without copying them.

use std::{
    collections::VecDeque,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Burst, Frame, FramePool, NoRoom, Port, PortInfo, frame::Snapshot};

/// Offers its frames in turn; a frame sent through it, or through a sibling, comes round again.
///
/// The packet path changes packets in place (headers pushed and pulled, TTL lowered), so each
/// frame is put back before it is offered: first byte, length, and the first
/// [`Snapshot::HEAD`] bytes. Nothing else is copied. Frames that a worker drops go to its pool
/// and are fetched from there when no others are left.
#[derive(Debug)]
pub struct ReplayPort {
    name: String,
    sent: Vec<Frame>,
    wheel: Arc<Mutex<Wheel>>,
}

#[derive(Debug, Default)]
struct Wheel {
    ready: VecDeque<Frame>,
    /// By chunk number.
    originals: Vec<Option<Snapshot>>,
}

impl ReplayPort {
    /// A port that offers `packets`, each in a frame of `pool`, which is filled once.
    ///
    /// # Errors
    /// [`NoRoom`] if a packet is larger than a frame, or if the pool has too few frames.
    pub fn new(
        name: &str,
        pool: &mut FramePool,
        packets: &[Vec<u8>],
    ) -> Result<ReplayPort, NoRoom> {
        let mut wheel =
            Wheel { ready: VecDeque::with_capacity(packets.len()), originals: Vec::new() };
        for packet in packets {
            if let Err(error) = wheel.add(pool, packet) {
                wheel.ready.drain(..).for_each(|frame| pool.give(frame));
                return Err(error);
            }
        }
        let sent = Vec::with_capacity(packets.len());
        Ok(ReplayPort { name: name.to_owned(), sent, wheel: Arc::new(Mutex::new(wheel)) })
    }

    /// Another port on the same wheel: what is sent there is offered here again.
    pub fn sibling(&self, name: &str) -> ReplayPort {
        let capacity = lock(&self.wheel).ready.capacity();
        let sent = Vec::with_capacity(capacity);
        ReplayPort { name: name.to_owned(), sent, wheel: Arc::clone(&self.wheel) }
    }
}

impl Wheel {
    fn add(&mut self, pool: &mut FramePool, packet: &[u8]) -> Result<(), NoRoom> {
        let Some(mut frame) = pool.take() else {
            return Err(NoRoom { asked: packet.len(), room: 0 });
        };
        if let Err(error) = frame.fill(packet) {
            pool.give(frame);
            return Err(error);
        }
        let index = frame.chunk_index();
        if self.originals.len() <= index {
            self.originals.resize_with(index + 1, || None);
        }
        if let Some(original) = self.originals.get_mut(index) {
            *original = Some(frame.snapshot());
        }
        self.ready.push_back(frame);
        Ok(())
    }

    /// Takes frames of its own back that were dropped: at most `count`.
    fn fetch(&mut self, pool: &mut FramePool, count: usize) {
        let mut others = Burst::new();
        while self.ready.len() < count && !others.is_full() {
            let Some(frame) = pool.take() else { break };
            match self.originals.get(frame.chunk_index()) {
                Some(Some(_)) => self.ready.push_back(frame),
                _ => others.push(frame),
            }
        }
        others.drain(..).for_each(|frame| pool.give(frame));
    }
}

impl Port for ReplayPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let wheel = &mut *lock(&self.wheel);
        if wheel.ready.is_empty() {
            wheel.fetch(pool, burst.remaining_capacity());
        }
        let count = wheel.ready.len().min(burst.remaining_capacity());
        for mut frame in wheel.ready.drain(..count) {
            if let Some(Some(original)) = wheel.originals.get(frame.chunk_index()) {
                frame.restore(original);
            }
            burst.push(frame);
        }
        count
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        self.sent.push(frame);
        Ok(())
    }

    fn flush(&mut self, _pool: &mut FramePool) {
        if !self.sent.is_empty() {
            lock(&self.wheel).ready.extend(self.sent.drain(..));
        }
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.sent.drain(..).for_each(|frame| pool.give(frame));
        lock(&self.wheel).ready.drain(..).for_each(|frame| pool.give(frame));
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.sent.len() + lock(&self.wheel).ready.len()
    }

    fn info(&self) -> PortInfo {
        PortInfo { frame_limit: lock(&self.wheel).originals.len(), ..PortInfo::default() }
    }
}

fn lock(wheel: &Mutex<Wheel>) -> MutexGuard<'_, Wheel> {
    wheel.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FramePools, Memory};

    #[test]
    fn dropped_packets_come_round_again() {
        let pools = FramePools::new(Memory::new(64, 2048, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let mut source = ReplayPort::new("source", &mut pool, &[vec![7; 60], vec![8; 61]]).unwrap();
        for _ in 0..3 {
            let mut burst = Burst::new();
            assert_eq!(source.receive(&mut pool, &mut burst), 2);
            let mut lengths: Vec<usize> = burst.iter().map(Frame::len).collect();
            lengths.sort_unstable();
            assert_eq!(lengths, [60, 61]);
            burst.drain(..).for_each(|frame| pool.give(frame));
        }
        source.close(&mut pool);
        drop(pool);
        assert_eq!(pools.free_frames(), 64);
    }

    #[test]
    fn a_replayed_packet_is_the_same_in_every_round() {
        let pools = FramePools::new(Memory::new(128, 2048, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let packets: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 60 + usize::from(n)]).collect();
        let mut source = ReplayPort::new("source", &mut pool, &packets).unwrap();
        let mut sink = source.sibling("sink");
        for _ in 0..3 {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                let mut burst = Burst::new();
                source.receive(&mut pool, &mut burst);
                for mut frame in burst {
                    seen.push(frame.data().to_vec());
                    frame.data_mut()[7] = 0xee;
                    frame.push(40).unwrap().fill(0xff);
                    sink.transmit(frame).unwrap();
                }
            }
            sink.flush(&mut pool);
            assert_eq!(seen, packets);
        }
        source.close(&mut pool);
        assert_eq!(pools.free_frames(), 128);
    }
}
