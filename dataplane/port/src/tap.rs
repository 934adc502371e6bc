//! A TAP device: one call to the kernel for each packet, so for an interface with little traffic.
//!
//! The kernel says with each packet whether its checksum is unfinished; it is finished here, so that no packet leaves
//! this port that another port could not send. A train of segments stays one large frame ([`Train`]) with its checksum
//! unfinished: who cuts it finishes the segments', and a TAP that takes trains gets it as it is.

use std::{collections::VecDeque, os::fd::BorrowedFd};

use sys::tap::{Cut, Offloads, Received, Tap, Unfinished};

use crate::{
    Burst, Frame, FramePool, FramePools, HEADROOM, LARGE_HEADROOM, Port, PortInfo, PortMode,
    PortStatistics, Train,
};

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
    offloads: Offloads,
    trains: bool,
    statistics: PortStatistics,
}

impl TapPort {
    /// The largest L3 MTU whose frames, with a VLAN tag, fit into one of the pool's.
    pub fn largest_mtu(pools: &FramePools) -> u16 {
        const LINK_HEADER: u16 = 18;
        let most = if pools.large_capacity() > 0 {
            u16::MAX - LARGE_HEADROOM
        } else {
            u16::try_from(pools.memory().chunk_size()).unwrap_or(u16::MAX).saturating_sub(HEADROOM)
        };
        most.saturating_sub(LINK_HEADER)
    }

    /// The port of this device.
    pub fn new(tap: Tap) -> TapPort {
        TapPort {
            name: tap.name().to_owned(),
            queue: VecDeque::with_capacity(QUEUE),
            pause: 0,
            offloads: tap.offloads(),
            trains: tap.offloads() >= Offloads::Tcp,
            tap: Some(tap),
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
        let mut large = None;
        for _ in 0..TAKE.min(burst.remaining_capacity()) {
            let Some(mut frame) = pool.take() else { break };
            large = large.or_else(|| pool.take_large());
            match take(tap, &mut frame, &mut large) {
                Taken::Plain => burst.push(frame),
                Taken::Large(packet) => {
                    pool.give(frame);
                    burst.push(packet);
                }
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
        if let Some(large) = large {
            pool.give(large);
        }
        burst.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if !self.takes_trains() && frame.train().is_some() {
            return Err(frame);
        }
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
            match send(tap, &frame) {
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

    fn takes_trains(&self) -> bool {
        self.trains
    }

    fn info(&self) -> PortInfo {
        let mut features = vec!["vnet_hdr", "tx_checksum"];
        let mut missing = Vec::new();
        let tcp = self.offloads >= Offloads::Tcp;
        if tcp { &mut features } else { &mut missing }.push("tso");
        let udp = self.offloads >= Offloads::TcpAndUdp;
        if udp { &mut features } else { &mut missing }.push("uso");
        PortInfo {
            mode: PortMode::Tap,
            features,
            missing,
            frame_limit: QUEUE,
            held: self.outstanding(),
            memory: self.queue.capacity() * size_of::<Frame>(),
            statistics: self.statistics,
            ..PortInfo::default()
        }
    }
}

enum Taken {
    Plain,
    Large(Frame),
    Bad,
    Nothing,
}

/// Reads a packet into `frame`, or into `large` (which is then taken) if it is longer or a train.
fn take(tap: &Tap, frame: &mut Frame, large: &mut Option<Frame>) -> Taken {
    frame.clear();
    let plain = frame.tailroom();
    let Ok(buffer) = frame.extend(plain) else { return Taken::Bad };
    let mut rest: &mut [u8] = &mut [];
    let mut room = plain;
    if let Some(large) = large {
        large.clear();
        room = large.tailroom();
        let Ok(all) = large.extend(room) else { return Taken::Bad };
        rest = all.get_mut(plain..).unwrap_or_default();
    }
    let received = match tap.read(buffer, rest) {
        Ok(Some(received)) => received,
        // An error is a device that is gone: whoever owns the port hears of it from the kernel.
        Ok(None) | Err(_) => return Taken::Nothing,
    };
    if received.length > room {
        return Taken::Bad;
    }
    frame.trim(received.length);
    let train = match train(&received) {
        Ok(train) => train,
        Err(Strange) => return Taken::Bad,
    };
    if train.is_none() && received.length <= plain {
        return if finished(frame, &received) { Taken::Plain } else { Taken::Bad };
    }
    let Some(mut packet) = large.take() else { return Taken::Bad };
    packet.trim(received.length);
    if let Some(front) = packet.data_mut().get_mut(..frame.len()) {
        front.copy_from_slice(frame.data());
    }
    let good = match &train {
        Some(train) => packet.set_train(Some(train)),
        None => finished(&mut packet, &received),
    };
    if good {
        return Taken::Large(packet);
    }
    *large = Some(packet);
    Taken::Bad
}

/// A header that makes no sense.
struct Strange;

/// What the header says of a train; it is for who cuts it to see whether its network and transport headers agree.
fn train(received: &Received) -> Result<Option<Train>, Strange> {
    match (received.cut, received.unfinished) {
        (Cut::Whole, _) => Ok(None),
        (Cut::Train { segmentation, size: size @ 1.. }, Some(Unfinished { start, offset }))
            if usize::from(start) < received.length =>
        {
            Ok(Some(Train { segmentation, size, transport: start, sum: offset, network: None }))
        }
        _ => Err(Strange),
    }
}

/// Whether its checksum is finished now.
fn finished(frame: &mut Frame, received: &Received) -> bool {
    received.unfinished.is_none_or(|unfinished| finish(frame.data_mut(), unfinished))
}

fn send(tap: &Tap, frame: &Frame) -> std::io::Result<bool> {
    match frame.train() {
        None => tap.write(frame.data()),
        Some(train) => {
            let unfinished = Unfinished { start: train.transport, offset: train.sum };
            tap.write_train(frame.data(), train.segmentation, train.size, unfinished)
        }
    }
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
    use crate::Memory;

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
    fn frames_of_the_largest_mtu_fit_into_a_frame_of_the_pool() {
        let memory = || Memory::new(1, 2048, "port-test").unwrap();
        assert_eq!(TapPort::largest_mtu(&FramePools::new(memory(), 1)), 1774);
        let large = Memory::large(1, "port-test").unwrap();
        let pools = FramePools::with_large(memory(), large, 1);
        assert_eq!(TapPort::largest_mtu(&pools), 65389);
        let mut pool = pools.pool();
        let frame = pool.take_large().unwrap();
        assert_eq!(frame.tailroom(), 65389 + 18);
        pool.give(frame);
    }
}
