//! Opening the socket of one queue, and sharing registrations of packet memory.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sys::{
    memory::{Chunk, Memory},
    xsk::{BindMode, MultiBuffer, Rings, Socket},
};

use crate::{FramePool, PortMode, PortStatistics};

use super::{XskPort, rx::Gathering, tx};

/// How long a queue may stay busy after its last socket was closed. The kernel takes 1 to 45 ms,
/// longer while packets sent by that socket wait in a queue of the device.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// Packets a send call is asked to take: a whole ring.
const BUDGET: u32 = 1024;

/// Bytes the kernel keeps for each chunk of packet memory and socket, shared registration or not
/// (measured, see README).
const KERNEL_BYTES_PER_CHUNK: usize = 128;

/// Whether to raise the number of packets a send call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendBudget {
    /// If the kernel has `XDP_MAX_TX_SKB_BUDGET`.
    IfPossible,
    /// Never: what an older kernel does.
    KernelDefault,
}

/// Whether packets may lie in several chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargePackets {
    /// If the kernel and the device can.
    IfPossible,
    /// Never: what an older kernel does. Packets larger than a chunk are dropped whole.
    Never,
}

/// What a port may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XskConfig {
    /// Queue of the device.
    pub queue: u32,
    /// Descriptors in each ring; a power of two.
    pub ring_size: u32,
    /// Frames the kernel has to receive into; at most `ring_size`.
    pub receive_frames: usize,
    /// Frames that may wait to be sent or completed; at most `ring_size`.
    pub send_frames: usize,
    /// Whether to raise the number of packets a send call takes.
    pub send_budget: SendBudget,
    /// Whether packets may lie in several chunks.
    pub large_packets: LargePackets,
}

impl XskConfig {
    /// Large rings: they ride out some milliseconds without the processor at full rate.
    pub fn uplink(queue: u32) -> XskConfig {
        XskConfig::with_rings(queue, 4096)
    }

    /// Smaller rings: there may be many workloads.
    pub fn workload(queue: u32) -> XskConfig {
        XskConfig::with_rings(queue, 1024)
    }

    /// Rings of `ring_size` descriptors, all of which may be used.
    pub fn with_rings(queue: u32, ring_size: u32) -> XskConfig {
        let frames = ring_size as usize;
        XskConfig {
            queue,
            ring_size,
            receive_frames: frames,
            send_frames: frames,
            send_budget: SendBudget::IfPossible,
            large_packets: LargePackets::IfPossible,
        }
    }
}

/// A port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{device} queue {queue}: {what}: {source}")]
pub struct OpenError {
    /// The device.
    pub device: String,
    /// Its queue.
    pub queue: u32,
    /// The step that failed, and what helps.
    pub what: &'static str,
    /// What the system answered.
    pub source: io::Error,
}

/// Packet memory as AF_XDP sockets register it.
///
/// Sockets of equal flags (all workloads) share one registration; a socket with flags of its own
/// (an uplink that may do zero-copy) registers the same memory again.
#[derive(Debug)]
pub struct Umem {
    memory: Arc<Memory>,
    /// Whoever binds to share, or closes a socket, holds the lock, so that a close is never delayed by a descriptor in
    /// use here.
    sharing: Mutex<Sharing>,
}

/// The shared registration.
#[derive(Debug)]
struct Sharing {
    /// Bound sockets.
    members: Vec<Weak<OwnedFd>>,
    /// What the first has bound with, and the others have inherited.
    multi_buffer: MultiBuffer,
}

impl Umem {
    /// For the memory of a pool.
    pub fn new(memory: &Arc<Memory>) -> Arc<Umem> {
        let sharing = Sharing { members: Vec::new(), multi_buffer: MultiBuffer::Off };
        Arc::new(Umem { memory: Arc::clone(memory), sharing: Mutex::new(sharing) })
    }

    /// Bytes of a chunk.
    pub(super) fn chunk_size(&self) -> usize {
        self.memory.chunk_size() as usize
    }

    /// Closes a socket; `back` gets the chunks the kernel still had. Returns how many did not
    /// come back.
    pub(super) fn close(&self, socket: Socket, back: impl FnMut(Chunk)) -> usize {
        let mut sharing = self.lock();
        let lost = socket.close(back);
        sharing.members.retain(|member| member.strong_count() > 0);
        lost
    }

    fn lock(&self) -> MutexGuard<'_, Sharing> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt to bind to share; the first of a group registers. Who wants no large packets does not join a group
    /// that takes them.
    fn bind_sharing(
        &self,
        to: &Queue<'_>,
        socket: &mut Socket,
        own: &mut bool,
        large_packets: LargePackets,
    ) -> io::Result<MultiBuffer> {
        let mut sharing = self.lock();
        let joins = !*own
            && (large_packets == LargePackets::IfPossible
                || sharing.multi_buffer == MultiBuffer::Off);
        let other = if joins { sharing.members.iter().find_map(Weak::upgrade) } else { None };
        if let Some(other) = &other {
            socket.bind_shared(to.ifindex, to.queue, other.as_fd())?;
            sharing.members.push(Arc::downgrade(socket.shared_fd()));
            return Ok(sharing.multi_buffer);
        }
        if !*own {
            socket.register()?;
            *own = true;
        }
        let first = sharing.members.iter().all(|member| member.strong_count() == 0);
        let multi_buffer = bind_own(to, socket, BindMode::Copy, large_packets)?;
        if first {
            sharing.multi_buffer = multi_buffer;
            sharing.members.push(Arc::downgrade(socket.shared_fd()));
        }
        Ok(multi_buffer)
    }
}

/// One attempt to bind with a registration of its own, with several buffers to a packet if that is wanted and can be.
fn bind_own(
    to: &Queue<'_>,
    socket: &mut Socket,
    mode: BindMode,
    large_packets: LargePackets,
) -> io::Result<MultiBuffer> {
    if large_packets == LargePackets::IfPossible {
        match socket.bind(to.ifindex, to.queue, mode, MultiBuffer::On) {
            Ok(()) => return Ok(MultiBuffer::On),
            Err(error) if matches!(error.raw_os_error(), Some(EOPNOTSUPP | EINVAL)) => {}
            Err(error) => return Err(error),
        }
    }
    socket.bind(to.ifindex, to.queue, mode, MultiBuffer::Off)?;
    Ok(MultiBuffer::Off)
}

/// Which queue, and whether its socket has flags of its own.
pub(super) struct Queue<'a> {
    pub(super) device: &'a str,
    pub(super) ifindex: u32,
    pub(super) queue: u32,
    pub(super) mode: PortMode,
    pub(super) registration: Registration,
}

/// How a socket comes to its packet memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// One for all; copy mode.
    Shared,
    /// One of its own; copy mode.
    OwnCopy,
    /// One of its own; zero-copy if the device can.
    OwnZeroCopy,
}

/// Opens the socket of a queue, with frames for the kernel to receive into.
pub(super) fn open(
    to: &Queue<'_>,
    umem: &Arc<Umem>,
    config: XskConfig,
    pool: &mut FramePool,
) -> Result<XskPort, OpenError> {
    let failed = |what| {
        move |source| OpenError { device: to.device.to_owned(), queue: to.queue, what, source }
    };
    let size = config.ring_size;
    let config = XskConfig {
        receive_frames: config.receive_frames.min(size as usize),
        send_frames: config.send_frames.min(size as usize),
        ..config
    };
    let socket = Socket::new(&umem.memory, Rings { receive: size, send: size })
        .map_err(failed("cannot make an AF_XDP socket (ring size a power of two?)"))?;
    let mut port = XskPort {
        name: to.device.to_owned(),
        memory: socket.ring_bytes() + umem.memory.chunks() as usize * KERNEL_BYTES_PER_CHUNK,
        socket: Some(socket),
        umem: Arc::clone(umem),
        mode: to.mode,
        features: Vec::new(),
        missing: Vec::new(),
        receiving: 0,
        sending: 0,
        multi_buffer: MultiBuffer::Off,
        gathering: Gathering::Nothing,
        send_limit: config.send_frames,
        backlog: VecDeque::with_capacity(tx::BACKLOG),
        config,
        statistics: PortStatistics::default(),
    };
    port.refill(pool);
    match port.bind(to) {
        Ok(()) => {
            port.probe();
            Ok(port)
        }
        Err(source) => {
            port.close_socket(pool);
            let what = match source.raw_os_error() {
                Some(EBUSY) => "still belongs to another socket",
                Some(ENOBUFS | ENOMEM) => "no memory to register (locked memory limit?)",
                Some(EINVAL) => "no such queue, or the link cannot carry AF_XDP",
                _ => "cannot bind an AF_XDP socket",
            };
            Err(failed(what)(source))
        }
    }
}

const EINVAL: i32 = 22;
const EBUSY: i32 = 16;
const ENOMEM: i32 = 12;
const ENOBUFS: i32 = 105;
const EOPNOTSUPP: i32 = 95;

impl XskPort {
    fn bind(&mut self, to: &Queue<'_>) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let large = self.config.large_packets;
        self.multi_buffer = match to.registration {
            Registration::Shared => {
                let mut own = false;
                let umem = &self.umem;
                patiently(|| umem.bind_sharing(to, socket, &mut own, large))?
            }
            Registration::OwnCopy => {
                socket.register()?;
                patiently(|| bind_own(to, socket, BindMode::Copy, large))?
            }
            Registration::OwnZeroCopy => {
                socket.register()?;
                match patiently(|| bind_own(to, socket, BindMode::ZeroCopy, large)) {
                    Err(error) if matches!(error.raw_os_error(), Some(EOPNOTSUPP | EINVAL)) => {
                        patiently(|| bind_own(to, socket, BindMode::Copy, large))?
                    }
                    outcome => outcome?,
                }
            }
        };
        Ok(())
    }

    /// Asks for what not every kernel or device has.
    fn probe(&mut self) {
        let Some(socket) = &self.socket else { return };
        self.features.push("need-wakeup");
        if socket.zero_copy() { &mut self.features } else { &mut self.missing }.push("zero-copy");
        let budget = match self.config.send_budget {
            SendBudget::IfPossible => {
                socket.set_send_budget(BUDGET.min(self.config.ring_size)).is_ok()
            }
            SendBudget::KernelDefault => false,
        };
        if budget { &mut self.features } else { &mut self.missing }.push("send-budget");
        let large = self.multi_buffer == MultiBuffer::On;
        if large { &mut self.features } else { &mut self.missing }.push("multi-buffer");
    }
}

/// Repeats `attempt` while it answers that the queue is busy, for up to [`BUSY_FOR`].
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + BUSY_FOR;
    loop {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome,
        }
    }
}
