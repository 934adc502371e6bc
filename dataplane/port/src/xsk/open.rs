//! Opening the socket of one queue, and sharing registrations of packet memory.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sys::{
    memory::{Chunk, Memory},
    xsk::{BindMode, Rings, Socket},
};

use crate::{FramePool, PortMode, PortStatistics};

use super::XskPort;

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
    /// Bound sockets of the shared registration. Whoever binds to share, or closes a socket,
    /// holds the lock, so that a close is never delayed by a descriptor in use here.
    sharing: Mutex<Vec<Weak<OwnedFd>>>,
}

impl Umem {
    /// For the memory of a pool.
    pub fn new(memory: &Arc<Memory>) -> Arc<Umem> {
        Arc::new(Umem { memory: Arc::clone(memory), sharing: Mutex::default() })
    }

    /// Closes a socket; `back` gets the chunks the kernel still had. Returns how many did not
    /// come back.
    pub(super) fn close(&self, socket: Socket, back: impl FnMut(Chunk)) -> usize {
        let mut sharing = self.lock();
        let lost = socket.close(back);
        sharing.retain(|member| member.strong_count() > 0);
        lost
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<OwnedFd>>> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt to bind to share; the first of a group registers.
    fn bind_sharing(&self, to: &Queue<'_>, socket: &mut Socket, own: &mut bool) -> io::Result<()> {
        let mut sharing = self.lock();
        let other = if *own { None } else { sharing.iter().find_map(Weak::upgrade) };
        match &other {
            Some(other) => socket.bind_shared(to.ifindex, to.queue, other.as_fd())?,
            None => {
                if !*own {
                    socket.register()?;
                    *own = true;
                }
                socket.bind(to.ifindex, to.queue, BindMode::Copy)?;
            }
        }
        sharing.push(Arc::downgrade(socket.shared_fd()));
        Ok(())
    }
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
        config,
        mode: to.mode,
        features: Vec::new(),
        missing: Vec::new(),
        receiving: 0,
        sending: 0,
        in_oversize: false,
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
        match to.registration {
            Registration::Shared => {
                let mut own = false;
                let umem = &self.umem;
                patiently(|| umem.bind_sharing(to, socket, &mut own))
            }
            Registration::OwnCopy => {
                socket.register()?;
                patiently(|| socket.bind(to.ifindex, to.queue, BindMode::Copy))
            }
            Registration::OwnZeroCopy => {
                socket.register()?;
                let (index, queue) = (to.ifindex, to.queue);
                match patiently(|| socket.bind(index, queue, BindMode::ZeroCopy)) {
                    Err(error) if matches!(error.raw_os_error(), Some(EOPNOTSUPP | EINVAL)) => {
                        patiently(|| socket.bind(index, queue, BindMode::Copy))
                    }
                    outcome => outcome,
                }
            }
        }
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
    }
}

/// Repeats `attempt` while it answers that the queue is busy, for up to [`BUSY_FOR`].
fn patiently(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
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
