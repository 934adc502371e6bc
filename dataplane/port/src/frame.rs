//! One packet in one chunk of packet memory.

use sys::memory::{Chunk, Window};

use crate::Train;

/// Bytes in front of a received packet, and of an empty frame from the pool.
///
/// This is what the kernel leaves in front of a packet it received for XDP, and more than the
/// largest encapsulation needs (inner Ethernet 14, MPLS or VXLAN 8, UDP 8, IPv6 40, outer
/// Ethernet 14).
pub const HEADROOM: u16 = 256;

/// Bytes in front of an empty large frame. Less, for what the kernel sends at most (64 KiB with all headers) is to fit
/// behind them.
pub const LARGE_HEADROOM: u16 = 128;

/// A frame has no room for what was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes asked of a frame that has room for {room}")]
pub struct NoRoom {
    /// Bytes that were asked for.
    pub asked: usize,
    /// Bytes there are.
    pub room: usize,
}

/// A packet: a window of bytes inside a chunk that nobody else holds.
///
/// It can neither be cloned nor dropped: it ends in a [`crate::FramePool`] or in a port.
#[derive(Debug)]
pub struct Frame {
    window: Window,
}

const _: () = assert!(size_of::<Option<Frame>>() == 16);

impl Frame {
    /// An empty frame with the usual headroom.
    #[inline]
    pub(crate) fn empty(chunk: Chunk) -> Frame {
        let mut frame = Frame::from_parts(chunk, HEADROOM, 0);
        frame.clear();
        frame
    }

    /// A frame of `length` bytes from `start` on, cut to what the chunk holds.
    #[inline]
    pub(crate) fn from_parts(chunk: Chunk, start: u16, length: u16) -> Frame {
        Frame { window: Window::new(chunk, start, length) }
    }

    /// The chunk, and where in it the packet starts and how long it is.
    #[inline]
    pub(crate) fn into_parts(self) -> (Chunk, u16, u16) {
        self.window.into_parts()
    }

    /// Makes it an empty frame with the usual headroom.
    #[inline]
    pub fn clear(&mut self) {
        if self.is_large() {
            self.window.empty::<LARGE_HEADROOM>();
        } else {
            self.clear_plain();
        }
    }

    /// The same for one that is known not to be large.
    #[inline]
    pub(crate) fn clear_plain(&mut self) {
        self.window.empty::<HEADROOM>();
    }

    /// The packet's bytes.
    #[inline]
    pub fn data(&self) -> &[u8] {
        self.window.bytes()
    }

    /// The packet's bytes, to write.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.window.bytes_mut()
    }

    /// Length of the packet in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.window.length())
    }

    /// Whether the packet has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.window.length() == 0
    }

    /// Bytes that can still be pushed in front.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.window.start())
    }

    /// Bytes that can still be appended.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let end = (self.window.size() as usize).min(usize::from(u16::MAX));
        end - usize::from(self.window.start()) - usize::from(self.window.length())
    }

    /// Lowers the start by `n` and returns the `n` new bytes, whose content is arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the headroom is smaller; the frame is unchanged.
    #[inline]
    pub fn push(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let room = self.headroom();
        match u16::try_from(n) {
            Ok(more) if self.window.shift(0, more) => {
                Ok(self.data_mut().get_mut(..n).unwrap_or_default())
            }
            _ => Err(NoRoom { asked: n, room }),
        }
    }

    /// Raises the start by `n`: takes `n` bytes off the front.
    ///
    /// # Errors
    /// [`NoRoom`] if the packet is shorter; the frame is unchanged.
    #[inline]
    pub fn pull(&mut self, n: usize) -> Result<(), NoRoom> {
        match u16::try_from(n) {
            Ok(less) if self.window.shift(less, 0) => Ok(()),
            _ => Err(NoRoom { asked: n, room: self.len() }),
        }
    }

    /// Takes `less` bytes off the front and puts `N` new ones there, whose content is arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the packet or the headroom is smaller; the frame is unchanged.
    #[inline]
    pub fn replace<const N: usize>(&mut self, less: u16) -> Result<&mut [u8; N], NoRoom> {
        let room = self.headroom();
        let more = u16::try_from(N).unwrap_or(u16::MAX);
        let shifted = self.window.shift(less, more);
        match self.window.bytes_mut().first_chunk_mut() {
            Some(front) if shifted => Ok(front),
            _ => Err(NoRoom { asked: N, room }),
        }
    }

    /// Takes back what was pulled off the front since the packet was received; how many bytes that is. They are as they
    /// were unless something was pushed over them.
    pub fn rewind(&mut self) -> usize {
        let pulled = usize::from(self.pulled());
        if self.push(pulled).is_ok() { pulled } else { 0 }
    }

    /// Bytes between where an empty frame starts and where this one does.
    fn pulled(&self) -> u16 {
        let usual = if self.is_large() { LARGE_HEADROOM } else { HEADROOM };
        self.window.start().saturating_sub(usual)
    }

    /// Cuts the packet to at most `length` bytes.
    #[inline]
    pub fn trim(&mut self, length: usize) {
        if let Ok(length) = u16::try_from(length) {
            self.window.cut(length);
        }
    }

    /// Appends `n` bytes at the end and returns them; their content is arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the tailroom is smaller; the frame is unchanged.
    #[inline]
    pub fn extend(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let old = self.len();
        let room = self.tailroom();
        self.set_len(old + n).map_err(|_| NoRoom { asked: n, room })?;
        Ok(self.data_mut().get_mut(old..).unwrap_or_default())
    }

    /// Sets the length, cutting or appending at the end; appended bytes are arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the chunk ends before; the frame is unchanged.
    #[inline]
    pub fn set_len(&mut self, length: usize) -> Result<(), NoRoom> {
        match u16::try_from(length) {
            Ok(fitting) if self.window.set(self.window.start(), fitting) => Ok(()),
            _ => Err(NoRoom { asked: length, room: self.len() + self.tailroom() }),
        }
    }

    /// Makes the packet a copy of `bytes`, with the usual headroom.
    ///
    /// # Errors
    /// [`NoRoom`] if they do not fit; the frame is then empty.
    pub fn fill(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.clear();
        self.extend(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Makes the packet a copy of another, headroom, what [`Frame::rewind`] takes back and what is noted of a train
    /// included; `false` if its chunk is too small.
    pub(crate) fn imitate(&mut self, other: &Frame) -> bool {
        let fits = self.window.set(other.window.start(), other.window.length());
        if fits {
            self.data_mut().copy_from_slice(other.data());
            let pulled = other.pulled().min(self.pulled());
            if pulled != 0 {
                self.imitate_front(other, pulled);
            }
            if let (Some(to), Some(from)) = (self.window.note_mut(), other.window.note()) {
                *to = *from;
            }
        }
        fits
    }

    /// Copies the bytes in front of a packet that starts where this one does.
    #[inline(never)]
    fn imitate_front(&mut self, other: &Frame, pulled: u16) {
        let in_front = usize::from(pulled);
        if let Ok(front) = self.push(in_front) {
            front.copy_from_slice(other.window.in_front(pulled));
        }
        // They were there a moment ago.
        let restored = self.pull(in_front);
        debug_assert!(restored.is_ok());
    }

    /// Whether it lies in a large chunk: it has more bytes than a plain one holds, or is a [`Train`], or may become so.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.window.is_large()
    }

    /// What is known of it if it stands for many packets. Offsets count from where the packet starts now.
    pub fn train(&self) -> Option<Train> {
        Train::read(self.window.note()?, self.window.start())
    }

    /// Notes that it stands for many packets, or (with `None`) that it does not; `false` when it cannot: it is not in a
    /// large chunk.
    pub fn set_train(&mut self, train: Option<&Train>) -> bool {
        let start = self.window.start();
        match self.window.note_mut() {
            Some(note) => {
                *note = Train::note(train, start);
                true
            }
            None => train.is_none(),
        }
    }

    /// Number of the chunk the frame lies in: the same for the life of the memory.
    #[inline]
    pub(crate) fn chunk_index(&self) -> usize {
        self.window.index() as usize
    }

    /// What [`Frame::restore`] needs to undo changes to the packet's headers.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut head = [0; Snapshot::HEAD];
        for (to, from) in head.iter_mut().zip(self.data()) {
            *to = *from;
        }
        Snapshot { head, start: self.window.start(), length: self.window.length() }
    }

    /// Puts back where the packet starts, how long it is, and its first bytes.
    #[inline]
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        let fits = self.window.set(snapshot.start, snapshot.length);
        debug_assert!(fits, "it is a snapshot of this frame");
        let count = self.len().min(Snapshot::HEAD);
        if let (Some(to), Some(from)) =
            (self.data_mut().get_mut(..count), snapshot.head.get(..count))
        {
            to.copy_from_slice(from);
        }
    }

    /// Asks the processor for the first cache line of the packet.
    #[inline]
    pub fn prefetch(&self) {
        self.window.prefetch(self.window.start());
    }

    /// Asks the processor for the cache line in front of the packet, where a header is going to be pushed.
    #[inline]
    pub fn prefetch_headroom(&self) {
        self.window.prefetch(self.window.start().saturating_sub(64));
    }
}

/// Where a packet started, how long it was, and its first bytes.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    head: [u8; Snapshot::HEAD],
    start: u16,
    length: u16,
}

impl Snapshot {
    /// Bytes that are kept: an outer Ethernet, IPv4, UDP and MPLS header and the inner headers
    /// the packet path changes.
    pub(crate) const HEAD: usize = 124;
}

#[cfg(test)]
mod tests {
    use crate::{FramePools, HEADROOM, Memory, NoRoom};

    #[test]
    fn pushing_and_pulling_move_the_start_only_within_the_chunk() {
        let mut pool = FramePools::new(Memory::new(1, 2048, "port-test").unwrap(), 1).pool();
        let mut frame = pool.take().unwrap();
        frame.fill(b"payload").unwrap();
        assert_eq!(frame.headroom(), usize::from(HEADROOM));
        frame.push(3).unwrap().copy_from_slice(b"hdr");
        assert_eq!(frame.data(), b"hdrpayload");
        assert_eq!(frame.pull(11), Err(NoRoom { asked: 11, room: 10 }));
        frame.pull(3).unwrap();
        frame.trim(3);
        frame.trim(9);
        assert_eq!(frame.data(), b"pay");
        assert!(frame.push(257).is_err());
        assert_eq!(frame.push(256).unwrap().len(), 256);
        assert_eq!(frame.headroom(), 0);
        assert_eq!(frame.tailroom(), 2048 - 259);
        assert!(frame.set_len(2049).is_err());
        frame.set_len(2048).unwrap();
        assert_eq!((frame.len(), frame.tailroom()), (2048, 0));
        assert!(frame.extend(1).is_err());
        frame.set_len(30).unwrap();
        assert!(frame.replace::<8>(7).is_err());
        assert!(frame.replace::<8>(31).is_err());
        assert_eq!(frame.replace::<8>(10).unwrap().len(), 8);
        assert_eq!((frame.headroom(), frame.len()), (2, 28));
        pool.give(frame);
        assert_eq!(pool.free_frames(), 1);
    }

    #[test]
    fn what_was_pulled_off_the_front_can_be_taken_back() {
        let mut pool = FramePools::new(Memory::new(1, 2048, "port-test").unwrap(), 1).pool();
        let mut frame = pool.take().unwrap();
        frame.fill(b"outerinner").unwrap();
        frame.pull(5).unwrap();
        frame.trim(3);
        assert_eq!((frame.rewind(), frame.data()), (5, &b"outerinn"[..]));
        assert_eq!(frame.rewind(), 0);
        frame.push(2).unwrap();
        assert_eq!(
            (frame.rewind(), frame.len()),
            (0, 10),
            "in front of where it began nothing was pulled"
        );
        pool.give(frame);
    }

    #[test]
    fn a_copy_takes_back_what_its_original_would() {
        let memory = Memory::new(4, 2048, "port-test").unwrap();
        let large = Memory::large(2, "port-test").unwrap();
        let mut pool = FramePools::with_large(memory, large, 1).pool();
        let mut stale: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        stale.extend(std::iter::from_fn(|| pool.take_large()));
        for mut frame in stale {
            frame.fill(&[0xee; 64]).unwrap();
            pool.give(frame);
        }
        let originals = [pool.take().unwrap(), pool.take_large().unwrap()];
        for mut frame in originals {
            frame.fill(b"outerinner").unwrap();
            frame.pull(5).unwrap();
            let mut copy = pool.copy(&frame).unwrap();
            assert_eq!((copy.data(), copy.headroom()), (&b"inner"[..], frame.headroom()));
            let back = copy.rewind();
            // A large packet that fits a plain frame is copied into one, which has more headroom: there is nothing.
            assert!(copy.data() == b"outerinner" || back == 0, "{:?}", copy.data());
            assert_eq!((frame.rewind(), frame.data()), (5, &b"outerinner"[..]));
            pool.give(copy);
            pool.give(frame);
        }
    }

    #[test]
    fn a_packet_larger_than_the_chunk_is_refused() {
        let mut pool = FramePools::new(Memory::new(1, 2048, "port-test").unwrap(), 1).pool();
        let mut frame = pool.take().unwrap();
        assert!(frame.fill(&[0; 1793]).is_err());
        assert!(frame.is_empty());
        assert!(frame.fill(&[0; 1792]).is_ok());
        pool.give(frame);
    }
}
