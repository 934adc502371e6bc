//! The socket: set-up, exchange of chunks, close.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
        socket_with, sockopt,
        xdp::{
            SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
            XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc,
            XdpDescOptions, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
        },
    },
};

use super::ring::{Consumer, Producer};
use crate::memory::{Chunk, Memory};

const SOL_XDP: libc::c_int = 283;
/// Packets one send call may take in copy mode; since Linux 6.17.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Descriptors in each ring; powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Fill and receive ring.
    pub receive: u32,
    /// Send and completion ring.
    pub send: u32,
}

/// How the kernel is to move packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// It copies between packet memory and its own buffers.
    Copy,
    /// The device reads and writes packet memory.
    ZeroCopy,
}

/// Whether a packet may lie in several chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiBuffer {
    /// In one only: the kernel drops what is larger.
    Off,
    /// In as many as it needs (`XDP_USE_SG`, Linux 6.6).
    On,
}

/// A received packet, or a part of one: its chunk and where in it the packet lies.
#[derive(Debug)]
pub struct Received {
    /// The chunk, ours again.
    pub chunk: Chunk,
    /// First byte of the packet within the chunk.
    pub offset: u16,
    /// Length of the packet in bytes; offset + length never exceeds the chunk.
    pub length: u16,
    /// Whether the packet goes on in the next chunk.
    pub continued: bool,
}

/// What the kernel counts per socket (`XDP_STATISTICS`); `None` where it is too old to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Received packets dropped: larger than a chunk, or no room.
    pub rx_dropped: u64,
    /// Fill descriptors refused.
    pub rx_invalid: u64,
    /// Send descriptors refused.
    pub tx_invalid: u64,
    /// Received packets dropped as the receive ring was full.
    pub rx_ring_full: Option<u64>,
    /// Times the fill ring was empty.
    pub rx_fill_ring_empty: Option<u64>,
    /// Times the send ring was empty.
    pub tx_ring_empty: Option<u64>,
}

/// An AF_XDP socket with its rings.
#[derive(Debug)]
pub struct Socket {
    fd: Arc<OwnedFd>,
    memory: Arc<Memory>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    receive: Consumer<XdpDesc>,
    send: Producer<XdpDesc>,
    lent: Lent,
    zero_copy: bool,
}

impl Socket {
    /// A socket in the network namespace of this thread, with its rings, not yet bound.
    ///
    /// # Errors
    /// What the kernel answers: no AF_XDP, ring sizes that are no powers of two, no memory.
    pub fn new(memory: &Arc<Memory>, rings: Rings) -> io::Result<Socket> {
        let fd = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        sockopt::set_xdp_umem_fill_ring_size(&fd, rings.receive)?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, rings.send)?;
        sockopt::set_xdp_rx_ring_size(&fd, rings.receive)?;
        sockopt::set_xdp_tx_ring_size(&fd, rings.send)?;
        let at = sockopt::xdp_mmap_offsets(&fd)?;
        let ring = fd.as_fd();
        Ok(Socket {
            fill: Producer::map(ring, XDP_UMEM_PGOFF_FILL_RING, &at.fr, rings.receive)?,
            completion: Consumer::map(ring, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, rings.send)?,
            receive: Consumer::map(ring, XDP_PGOFF_RX_RING, &at.rx, rings.receive)?,
            send: Producer::map(ring, XDP_PGOFF_TX_RING, &at.tx, rings.send)?,
            lent: Lent::new(memory.chunks()),
            memory: Arc::clone(memory),
            fd: Arc::new(fd),
            zero_copy: false,
        })
    }

    /// Registers the packet memory for this socket (and those that bind to share it).
    ///
    /// # Errors
    /// `ENOBUFS` or `ENOMEM` when locked memory is limited; otherwise what the kernel answers.
    pub fn register(&self) -> io::Result<()> {
        let registration = XdpUmemReg {
            addr: self.memory.address(),
            len: self.memory.used() as u64,
            chunk_size: self.memory.chunk_size(),
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        Ok(sockopt::set_xdp_umem_reg(&*self.fd, registration)?)
    }

    /// Binds to a queue of a device, with the registration of this socket.
    ///
    /// # Errors
    /// `EBUSY` while the queue belongs to another socket, for some milliseconds also after that
    /// one was closed; `EOPNOTSUPP` if the device cannot do zero-copy, or not with several buffers; `EINVAL` also from a
    /// kernel that does not know several buffers.
    pub fn bind(
        &mut self,
        ifindex: u32,
        queue: u32,
        mode: BindMode,
        multi_buffer: MultiBuffer,
    ) -> io::Result<()> {
        let mode = match mode {
            BindMode::Copy => SocketAddrXdpFlags::XDP_COPY,
            BindMode::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
        };
        let several = match multi_buffer {
            MultiBuffer::Off => SocketAddrXdpFlags::empty(),
            MultiBuffer::On => SocketAddrXdpFlags::XDP_USE_SG,
        };
        let flags = mode | several | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        bind(&*self.fd, &SocketAddrXdp::new(flags, ifindex, queue))?;
        self.learn_mode()
    }

    /// Binds to a queue of a device, sharing the registration of a bound socket and its flags.
    ///
    /// # Errors
    /// As for [`Socket::bind`]; `EBADF` if `other` is not bound.
    pub fn bind_shared(
        &mut self,
        ifindex: u32,
        queue: u32,
        other: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, ifindex, queue);
        bind(&*self.fd, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd: other })?;
        self.learn_mode()
    }

    fn learn_mode(&mut self) -> io::Result<()> {
        let options = sockopt::xdp_options(&*self.fd)?;
        self.zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        Ok(())
    }

    /// Asks for `packets` per send call in copy mode.
    ///
    /// # Errors
    /// `ENOPROTOOPT` where the kernel does not know the option; the limit is then 32.
    pub fn set_send_budget(&self, packets: u32) -> io::Result<()> {
        let (value, length) = (&raw const packets, size_of::<u32>());
        let length = libc::socklen_t::try_from(length).map_err(io::Error::other)?;
        let (fd, option) = (self.fd.as_raw_fd(), XDP_MAX_TX_SKB_BUDGET);
        // SAFETY: `value` points to `length` readable bytes for the duration of the call.
        let answer = unsafe { libc::setsockopt(fd, SOL_XDP, option, value.cast(), length) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether packets move without a copy (`XDP_OPTIONS`).
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Chunks the kernel has.
    pub fn lent(&self) -> usize {
        self.lent.count
    }

    /// Bytes of the four ring mappings.
    pub fn ring_bytes(&self) -> usize {
        self.fill.bytes() + self.completion.bytes() + self.receive.bytes() + self.send.bytes()
    }

    /// Counters of the kernel.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn statistics(&self) -> io::Result<Statistics> {
        let counted = sockopt::xdp_statistics(&*self.fd)?;
        Ok(Statistics {
            rx_dropped: counted.rx_dropped,
            rx_invalid: counted.rx_invalid_descs,
            tx_invalid: counted.tx_invalid_descs,
            rx_ring_full: counted.rx_ring_full,
            rx_fill_ring_empty: counted.rx_fill_ring_empty_descs,
            tx_ring_empty: counted.tx_ring_empty_descs,
        })
    }

    /// The descriptor, for maps, polling, and other sockets that share the registration.
    ///
    /// [`Socket::close`] closes it only if nobody else keeps it.
    pub fn shared_fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Gives the kernel a chunk to receive into, visible after [`Socket::submit_fill`].
    ///
    /// # Errors
    /// The chunk, if the ring is full or the chunk is of another memory.
    #[inline]
    pub fn fill(&mut self, chunk: Chunk) -> Result<(), Chunk> {
        let offset = self.memory.offset(&chunk);
        if offset >= self.memory.used() || !self.fill.write(offset as u64) {
            return Err(chunk);
        }
        self.lent.lend(chunk);
        Ok(())
    }

    /// Shows the kernel the chunks given by [`Socket::fill`].
    #[inline]
    pub fn submit_fill(&mut self) {
        self.fill.submit();
    }

    /// The next received packet. Slots are freed by [`Socket::release_received`].
    #[inline]
    pub fn receive(&mut self) -> Option<Received> {
        loop {
            let descriptor = self.receive.read()?;
            // The kernel keeps to what it was given; should it not, the descriptor is passed by.
            let Some((chunk, offset)) = self.lent.take_back(&self.memory, descriptor.addr) else {
                continue;
            };
            let room = u16::try_from(chunk.size()).unwrap_or(u16::MAX) - offset;
            return Some(Received {
                length: u16::try_from(descriptor.len).unwrap_or(room).min(room),
                continued: descriptor.options.contains(XdpDescOptions::XDP_PKT_CONTD),
                chunk,
                offset,
            });
        }
    }

    /// Frees the slots of the packets received so far.
    #[inline]
    pub fn release_received(&mut self) {
        self.receive.release();
    }

    /// Queues the `length` bytes at `offset` of `chunk`, visible after [`Socket::submit_send`].
    ///
    /// # Errors
    /// The chunk, if the ring is full, the bytes do not lie within the chunk, or it is of another
    /// memory.
    #[inline]
    pub fn send(&mut self, chunk: Chunk, offset: u16, length: u16) -> Result<(), Chunk> {
        self.send_with(chunk, offset, length, XdpDescOptions::empty())
    }

    /// The same for a part of a packet that goes on in the next chunk. Look at [`Socket::send_room`] first: a packet
    /// begun is to be ended before [`Socket::submit_send`].
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_part(&mut self, chunk: Chunk, offset: u16, length: u16) -> Result<(), Chunk> {
        self.send_with(chunk, offset, length, XdpDescOptions::XDP_PKT_CONTD)
    }

    /// How many chunks can be queued now.
    pub fn send_room(&mut self) -> u32 {
        self.send.room()
    }

    #[inline]
    fn send_with(
        &mut self,
        chunk: Chunk,
        offset: u16,
        length: u16,
        options: XdpDescOptions,
    ) -> Result<(), Chunk> {
        let base = self.memory.offset(&chunk);
        let end = u32::from(offset) + u32::from(length);
        if base >= self.memory.used() || end > chunk.size() {
            return Err(chunk);
        }
        let addr = base as u64 + u64::from(offset);
        if !self.send.write(XdpDesc { addr, len: u32::from(length), options }) {
            return Err(chunk);
        }
        self.lent.lend(chunk);
        Ok(())
    }

    /// Shows the kernel the packets queued by [`Socket::send`].
    #[inline]
    pub fn submit_send(&mut self) {
        self.send.submit();
    }

    /// Packets queued that the kernel has not taken yet.
    #[inline]
    pub fn unsent(&self) -> u32 {
        self.send.unread()
    }

    /// The next chunk whose packet has left. Slots are freed by [`Socket::release_completed`].
    #[inline]
    pub fn complete(&mut self) -> Option<Chunk> {
        loop {
            let addr = self.completion.read()?;
            if let Some((chunk, _)) = self.lent.take_back(&self.memory, addr) {
                return Some(chunk);
            }
        }
    }

    /// Frees the slots of the chunks completed so far.
    #[inline]
    pub fn release_completed(&mut self) {
        self.completion.release();
    }

    /// Whether sending needs [`Socket::wake_send`].
    pub fn send_needs_wakeup(&self) -> bool {
        self.send.needs_wakeup()
    }

    /// Whether receiving needs [`Socket::wake_receive`].
    pub fn fill_needs_wakeup(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// Makes the kernel send; in copy mode nothing moves without.
    ///
    /// # Errors
    /// `EAGAIN`: some were sent, call again. `EBUSY`, `ENOBUFS`: later. `ENETDOWN`: link is down.
    pub fn wake_send(&self) -> Result<(), Errno> {
        send(&*self.fd, &[], SendFlags::DONTWAIT).map(|_| ())
    }

    /// Makes the kernel look at the fill ring.
    ///
    /// # Errors
    /// What the kernel answers; nothing is lost by it.
    pub fn wake_receive(&self) -> Result<(), Errno> {
        let mut nothing = [0u8; 0];
        recv(&*self.fd, &mut nothing, RecvFlags::DONTWAIT).map(|_| ())
    }

    /// Closes the socket and calls `back` with every chunk the kernel still had.
    ///
    /// The descriptor must not be kept elsewhere: if it is, the kernel may still write, so the
    /// chunks stay lost and the count of them is returned.
    pub fn close(self, mut back: impl FnMut(Chunk)) -> usize {
        let Socket { fd, memory, fill, completion, receive, send, lent, zero_copy } = self;
        // A mapped ring keeps the socket open, so the rings go first.
        drop((fill, completion, receive, send));
        if Arc::into_inner(fd).is_none() {
            return lent.count;
        }
        // Copying ends with the close (the kernel waits for running receivers in it). A device
        // doing zero-copy is stopped by a work item a little later.
        if zero_copy {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        lent.into_indices().for_each(|index| back(memory.chunk(index)));
        0
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the kernel knows packets of several buffers (Linux 6.6). Devices in the driver's mode need not.
///
/// # Errors
/// What it answers to a socket.
pub fn knows_multi_buffer() -> io::Result<bool> {
    let fd = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // Flags are looked at before the device, and there is no device 0.
    let flags = SocketAddrXdpFlags::XDP_COPY | SocketAddrXdpFlags::XDP_USE_SG;
    Ok(bind(&fd, &SocketAddrXdp::new(flags, 0, 0)) != Err(Errno::INVAL))
}

/// Which chunks the kernel has: one bit each.
#[derive(Debug)]
struct Lent {
    bits: Vec<u64>,
    count: usize,
}

impl Lent {
    fn new(chunks: u32) -> Lent {
        Lent { bits: vec![0; (chunks as usize).div_ceil(64)], count: 0 }
    }

    /// The token ends here; the bit stands for it.
    #[inline]
    fn lend(&mut self, chunk: Chunk) {
        let index = chunk.index() as usize;
        std::mem::forget(chunk);
        self.bits[index / 64] |= 1 << (index % 64);
        self.count += 1;
    }

    /// The token of the chunk at `addr` and the offset within, if the kernel has that chunk.
    #[inline]
    fn take_back(&mut self, memory: &Memory, addr: u64) -> Option<(Chunk, u16)> {
        // A chunk size is a power of two of at most 4096.
        let size = u64::from(memory.chunk_size());
        let index = u32::try_from(addr >> size.trailing_zeros()).ok()?;
        let offset = u16::try_from(addr & (size - 1)).ok()?;
        let word = self.bits.get_mut(index as usize / 64)?;
        let bit = 1u64 << (index % 64);
        if *word & bit == 0 {
            return None;
        }
        *word &= !bit;
        self.count -= 1;
        Some((memory.chunk(index), offset))
    }

    fn into_indices(self) -> impl Iterator<Item = u32> {
        self.bits.into_iter().zip(0u32..).flat_map(|(word, number)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| number * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_the_kernel_was_not_given_never_becomes_a_chunk() {
        let memory = Memory::new(100, 2048, "sys-test").unwrap();
        let mut lent = Lent::new(100);
        for chunk in memory.hand_out() {
            if chunk.index() == 99 { lent.lend(chunk) } else { memory.take_home(chunk) }
        }
        assert!(lent.take_back(&memory, 98 * 2048).is_none());
        assert!(lent.take_back(&memory, 100 * 2048).is_none());
        assert!(lent.take_back(&memory, u64::MAX).is_none());
        let (chunk, offset) = lent.take_back(&memory, 99 * 2048 + 256).unwrap();
        assert_eq!((chunk.index(), offset), (99, 256));
        assert!(lent.take_back(&memory, 99 * 2048).is_none());
        lent.lend(chunk);
        assert_eq!(lent.into_indices().collect::<Vec<_>>(), [99]);
        memory.take_home(memory.chunk(99));
    }
}
