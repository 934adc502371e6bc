//! A TAP device: one call to the kernel for each packet, so for an interface with little traffic.
//!
//! The kernel says with each packet whether its checksum is unfinished; it is finished here, so that no packet leaves
//! this port that another port could not send. Trains of segments are not asked for.

use std::{collections::VecDeque, os::fd::BorrowedFd};

use sys::tap::{Received, Tap, Unfinished};

use crate::{Burst, Frame, FramePool, HEADROOM, Port, PortInfo, PortMode, PortStatistics};

/// Frames that may wait to be sent.
const QUEUE: usize = 256;
/// Packets taken from the kernel in one go, so that a host that sends much does not hold up the worker's other ports.
const TAKE: usize = 32;
/// How many times `receive` does not ask the kernel after it had nothing: asking costs a system call, and an idle
/// worker turns much faster than packets come. `flush` ends it, so a worker that wakes up asks at once.
const PAUSE: u8 = 15;

/// A TAP device.
#[derive(Debug)]
pub struct TapPort {
    name: String,
    /// `None` once closed.
    tap: Option<Tap>,
    queue: VecDeque<Frame>,
    /// Calls of `receive` left that do not ask.
    pause: u8,
    statistics: PortStatistics,
}

impl TapPort {
    /// The largest L3 MTU whose frames fit into a chunk of so many bytes, with a VLAN tag.
    pub const fn largest_mtu(chunk_size: u16) -> u16 {
        const LINK_HEADER: u16 = 18;
        chunk_size.saturating_sub(HEADROOM + LINK_HEADER)
    }

    /// The port of this device.
    pub fn new(tap: Tap) -> TapPort {
        TapPort {
            name: tap.name().to_owned(),
            tap: Some(tap),
            queue: VecDeque::with_capacity(QUEUE),
            pause: 0,
            statistics: PortStatistics::default(),
        }
    }
}

impl Port for TapPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let Some(tap) = &self.tap else { return 0 };
        if self.pause > 0 {
            self.pause -= 1;
            return 0;
        }
        let before = burst.len();
        for _ in 0..TAKE.min(burst.remaining_capacity()) {
            let Some(mut frame) = pool.take() else { break };
            match take(tap, &mut frame) {
                Taken::Packet => burst.push(frame),
                Taken::Bad => {
                    self.statistics.rx_dropped += 1;
                    pool.give(frame);
                }
                Taken::Nothing => {
                    self.pause = PAUSE;
                    pool.give(frame);
                    break;
                }
            }
        }
        burst.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.tap.is_none() || self.queue.len() >= QUEUE {
            self.statistics.tx_refused += 1;
            return Err(frame);
        }
        self.queue.push_back(frame);
        Ok(())
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.pause = 0;
        let Some(tap) = &self.tap else { return };
        while let Some(frame) = self.queue.pop_front() {
            match tap.write(frame.data()) {
                Ok(true) => {}
                Ok(false) => {
                    self.statistics.tx_retries += 1;
                    self.queue.push_front(frame);
                    return;
                }
                Err(_) => self.statistics.tx_invalid += 1,
            }
            pool.give(frame);
        }
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.queue.drain(..).for_each(|frame| pool.give(frame));
        self.tap = None;
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.tap.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    fn outstanding(&self) -> usize {
        self.queue.len()
    }

    fn pending(&self) -> usize {
        self.queue.len()
    }

    fn info(&self) -> PortInfo {
        PortInfo {
            mode: PortMode::Tap,
            features: vec!["vnet_hdr", "tx_checksum"],
            frame_limit: QUEUE,
            held: self.outstanding(),
            memory: self.queue.capacity() * size_of::<Frame>(),
            statistics: self.statistics,
            ..PortInfo::default()
        }
    }
}

enum Taken {
    Packet,
    Bad,
    Nothing,
}

fn take(tap: &Tap, frame: &mut Frame) -> Taken {
    frame.clear();
    let room = frame.tailroom();
    let Ok(buffer) = frame.extend(room) else { return Taken::Bad };
    match tap.read(buffer) {
        Ok(Some(received)) if fits(&received, room) => {
            frame.trim(received.length);
            match received.unfinished {
                Some(unfinished) if !finish(frame.data_mut(), unfinished) => Taken::Bad,
                _ => Taken::Packet,
            }
        }
        Ok(Some(_)) => Taken::Bad,
        // An error is a device that is gone: whoever owns the port hears of it from the kernel.
        Ok(None) | Err(_) => Taken::Nothing,
    }
}

fn fits(received: &Received, room: usize) -> bool {
    !received.segmented && received.length <= room
}

/// Finishes the checksum; `false` if it would lie outside of the frame.
fn finish(frame: &mut [u8], unfinished: Unfinished) -> bool {
    let (start, offset) = (usize::from(unfinished.start), usize::from(unfinished.offset));
    let Some(part) = frame.get_mut(start..) else { return false };
    let sum = ones_complement(part);
    let Some(field) = part.get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<2>()) else {
        return false;
    };
    // 0 is "no checksum" to UDP; all ones says the same number.
    *field = if sum == u16::MAX { sum } else { !sum }.to_be_bytes();
    true
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn ones_complement(bytes: &[u8]) -> u16 {
    let mut pairs = bytes.chunks_exact(2);
    let words = pairs.by_ref().filter_map(|pair| pair.first_chunk::<2>());
    let mut sum: u64 = words.map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    if let [last] = pairs.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_checksum_is_finished_and_one_outside_of_the_frame_refused() {
        // The pseudo-header's sum 0x1234 is in the field; the words are 0x0001 and 0x1234 and an odd byte.
        let mut frame = [0xff, 0xff, 0x00, 0x01, 0x12, 0x34, 0x80];
        assert!(finish(&mut frame, Unfinished { start: 2, offset: 2 }));
        assert_eq!(frame, [0xff, 0xff, 0x00, 0x01, 0x6d, 0xca, 0x80]);
        for (start, offset) in [(8, 0), (2, 4), (6, 0), (u16::MAX, u16::MAX)] {
            assert!(!finish(&mut frame, Unfinished { start, offset }), "{start} {offset}");
        }
    }

    #[test]
    fn a_sum_of_all_ones_is_not_written_as_none() {
        let mut frame = [0xff, 0xff, 0, 0];
        assert!(finish(&mut frame, Unfinished { start: 0, offset: 2 }));
        assert_eq!(frame, [0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn frames_of_the_largest_mtu_fit_into_a_chunk() {
        assert_eq!(TapPort::largest_mtu(2048), 1774);
        assert_eq!(TapPort::largest_mtu(0), 0);
    }
}
