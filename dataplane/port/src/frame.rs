//! One packet in one chunk of packet memory.

use sys::memory::Chunk;

/// Bytes in front of a received packet, and of an empty frame from the pool.
///
/// This is what the kernel leaves in front of a packet it received for XDP, and more than the
/// largest encapsulation needs (inner Ethernet 14, MPLS or VXLAN 8, UDP 8, IPv6 40, outer
/// Ethernet 14).
pub const HEADROOM: u16 = 256;

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
    chunk: Chunk,
    start: u16,
    length: u16,
}

const _: () = assert!(size_of::<Frame>() <= 24);
const _: () = assert!(size_of::<Option<Frame>>() <= 24);

impl Frame {
    /// An empty frame with the usual headroom.
    #[inline]
    pub(crate) fn empty(chunk: Chunk) -> Frame {
        Frame { chunk, start: HEADROOM, length: 0 }
    }

    /// A frame of `length` bytes from `start` on, cut to what the chunk holds.
    #[inline]
    pub(crate) fn from_parts(chunk: Chunk, start: u16, length: u16) -> Frame {
        let start = start.min(chunk.size());
        let length = length.min(chunk.size() - start);
        Frame { chunk, start, length }
    }

    /// The chunk, and where in it the packet starts and how long it is.
    #[inline]
    pub(crate) fn into_parts(self) -> (Chunk, u16, u16) {
        (self.chunk, self.start, self.length)
    }

    /// Makes it an empty frame with the usual headroom.
    #[inline]
    pub fn clear(&mut self) {
        self.start = HEADROOM;
        self.length = 0;
    }

    /// The packet's bytes.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let start = usize::from(self.start);
        self.chunk.bytes().get(start..start + usize::from(self.length)).unwrap_or_default()
    }

    /// The packet's bytes, to write.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let start = usize::from(self.start);
        let range = start..start + usize::from(self.length);
        self.chunk.bytes_mut().get_mut(range).unwrap_or_default()
    }

    /// Length of the packet in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether the packet has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that can still be pushed in front.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.start)
    }

    /// Bytes that can still be appended.
    #[inline]
    pub fn tailroom(&self) -> usize {
        usize::from(self.chunk.size() - self.start - self.length)
    }

    /// Lowers the start by `n` and returns the `n` new bytes, whose content is arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the headroom is smaller; the frame is unchanged.
    #[inline]
    pub fn push(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let room = self.headroom();
        let Some(add) = fits(n, room) else { return Err(NoRoom { asked: n, room }) };
        self.start -= add;
        self.length += add;
        Ok(self.data_mut().get_mut(..n).unwrap_or_default())
    }

    /// Raises the start by `n`: takes `n` bytes off the front.
    ///
    /// # Errors
    /// [`NoRoom`] if the packet is shorter; the frame is unchanged.
    #[inline]
    pub fn pull(&mut self, n: usize) -> Result<(), NoRoom> {
        let room = self.len();
        let Some(less) = fits(n, room) else { return Err(NoRoom { asked: n, room }) };
        self.start += less;
        self.length -= less;
        Ok(())
    }

    /// Cuts the packet to at most `length` bytes.
    #[inline]
    pub fn trim(&mut self, length: usize) {
        if let Some(length) = fits(length, self.len()) {
            self.length = length;
        }
    }

    /// Appends `n` bytes at the end and returns them; their content is arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the tailroom is smaller; the frame is unchanged.
    #[inline]
    pub fn extend(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let room = self.tailroom();
        let Some(add) = fits(n, room) else { return Err(NoRoom { asked: n, room }) };
        let old = self.len();
        self.length += add;
        Ok(self.data_mut().get_mut(old..).unwrap_or_default())
    }

    /// Sets the length, cutting or appending at the end; appended bytes are arbitrary.
    ///
    /// # Errors
    /// [`NoRoom`] if the chunk ends before; the frame is unchanged.
    #[inline]
    pub fn set_len(&mut self, length: usize) -> Result<(), NoRoom> {
        let room = self.len() + self.tailroom();
        let Some(length) = fits(length, room) else {
            return Err(NoRoom { asked: length, room });
        };
        self.length = length;
        Ok(())
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

    /// Makes the packet a copy of another, headroom included; `false` if its chunk is too small.
    pub(crate) fn imitate(&mut self, other: &Frame) -> bool {
        if other.start + other.length > self.chunk.size() {
            return false;
        }
        (self.start, self.length) = (other.start, other.length);
        self.data_mut().copy_from_slice(other.data());
        true
    }

    /// Number of the chunk the frame lies in: the same for the life of the memory.
    #[inline]
    pub(crate) fn chunk_index(&self) -> usize {
        self.chunk.index() as usize
    }

    /// What [`Frame::restore`] needs to undo changes to the packet's headers.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut head = [0; Snapshot::HEAD];
        for (to, from) in head.iter_mut().zip(self.data()) {
            *to = *from;
        }
        Snapshot { head, start: self.start, length: self.length }
    }

    /// Puts back where the packet starts, how long it is, and its first bytes.
    #[inline]
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        (self.start, self.length) = (snapshot.start, snapshot.length);
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
        self.chunk.prefetch(self.start);
    }

    /// Asks the processor for the cache line in front of the packet, where a header is going to be pushed.
    #[inline]
    pub fn prefetch_headroom(&self) {
        self.chunk.prefetch(self.start.saturating_sub(64));
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

/// `n` as a 16-bit length if it is no more than `room`; a chunk is at most 4096 bytes.
#[inline]
fn fits(n: usize, room: usize) -> Option<u16> {
    if n <= room { u16::try_from(n).ok() } else { None }
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
        pool.give(frame);
        assert_eq!(pool.free_frames(), 1);
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
