//! TAP devices: a link of the kernel's whose far end is a descriptor, with a virtio-net header on every packet.
//!
//! The device lives as long as its descriptor. Devices are made in the network namespace of the calling thread.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Weak},
};

use rustix::fs::{Mode, OFlags, open};

/// Bytes of a virtio-net header (virtio 1.2, section 5.1.6) with its last field, the number of buffers.
const LONG: usize = 12;
/// Without it, as before virtio 1.0.
const SHORT: usize = 10;

/// Flag of the header: a checksum is unfinished.
const NEEDS_CHECKSUM: u8 = 1;

/// Offloads of `TUNSETOFFLOAD` that `libc` does not name (linux/if_tun.h).
const TUN_F_USO4: libc::c_uint = 0x20;
const TUN_F_USO6: libc::c_uint = 0x40;
const CHECKSUM: libc::c_uint = libc::TUN_F_CSUM;
const TCP: libc::c_uint = CHECKSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const TCP_AND_UDP: libc::c_uint = TCP | TUN_F_USO4 | TUN_F_USO6;

/// The far end of a TAP device. Reading and writing never wait.
#[derive(Debug)]
pub struct Tap {
    fd: Arc<OwnedFd>,
    name: String,
    header: usize,
    offloads: Offloads,
}

/// Tells whether a device is still there, wherever its link has been moved to; does not keep it.
#[derive(Clone, Debug)]
pub struct TapWatch(Weak<OwnedFd>);

impl TapWatch {
    /// Whether the far end is open and the link exists.
    pub fn is_there(&self) -> bool {
        let Some(fd) = self.0.upgrade() else { return false };
        // SAFETY: all zeros is a valid value of this plain C struct.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes an ifreq.
        checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF, &raw mut request) }).is_ok()
    }
}

/// What the kernel may leave to whoever reads from a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offloads {
    /// Checksums of single packets.
    Checksum,
    /// That, and cutting trains of TCP segments.
    Tcp,
    /// That, and cutting trains of UDP datagrams (Linux 6.2).
    TcpAndUdp,
}

/// A checksum that the sender left to be finished: the ones' complement sum of everything from `start` on belongs at
/// `start + offset`, where the sum of the pseudo-header is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Where the sum begins, in bytes from the start of the frame.
    pub start: u16,
    /// Where it belongs, in bytes from there.
    pub offset: u16,
}

/// How a train of segments is to be cut (virtio 1.2, section 5.1.6: `gso_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// TCP over IPv4.
    TcpV4 {
        /// The sender reports that it has reduced its window: CWR is set, and is for the first segment alone.
        congestion: bool,
    },
    /// TCP over IPv6.
    TcpV6 {
        /// As above.
        congestion: bool,
    },
    /// UDP, a datagram each.
    Udp,
}

impl Segmentation {
    const NONE: u8 = 0;
    const TCP_V4: u8 = 1;
    const TCP_V6: u8 = 4;
    const UDP: u8 = 5;
    const CONGESTION: u8 = 0x80;

    /// The number of the header field.
    pub fn code(self) -> u8 {
        let tcp =
            |code, congestion| if congestion { code | Segmentation::CONGESTION } else { code };
        match self {
            Segmentation::TcpV4 { congestion } => tcp(Segmentation::TCP_V4, congestion),
            Segmentation::TcpV6 { congestion } => tcp(Segmentation::TCP_V6, congestion),
            Segmentation::Udp => Segmentation::UDP,
        }
    }

    /// What a number of the header field means; `None` for no segmentation and for unknown ones.
    pub fn from_code(code: u8) -> Option<Segmentation> {
        let congestion = code & Segmentation::CONGESTION != 0;
        match code & !Segmentation::CONGESTION {
            Segmentation::TCP_V4 => Some(Segmentation::TcpV4 { congestion }),
            Segmentation::TCP_V6 => Some(Segmentation::TcpV6 { congestion }),
            Segmentation::UDP => Some(Segmentation::Udp),
            _ => None,
        }
    }
}

/// Whether a packet is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is one packet.
    Whole,
    /// It is a train.
    Train {
        /// How it is to be cut.
        segmentation: Segmentation,
        /// Payload of each segment in bytes.
        size: u16,
    },
    /// In a way we do not know and did not ask for.
    Unknown,
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the frame; more than the buffers have if it did not fit and is lost.
    pub length: usize,
    /// The checksum that is to be finished.
    pub unfinished: Option<Unfinished>,
    /// Whether it is a train of segments.
    pub cut: Cut,
}

impl Tap {
    /// Makes a device of this name, down, whose packets come with as much left undone as `offloads` says, or less if the
    /// kernel does not know that: see [`Tap::offloads`].
    ///
    /// # Errors
    /// What the kernel answers: `EBUSY` if another process has the device, `EINVAL` if a device of another type has the
    /// name, `ENOENT` or `EPERM` without `/dev/net/tun` or the right to use it.
    pub fn create(name: &str, offloads: Offloads) -> io::Result<Tap> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open("/dev/net/tun", flags, Mode::empty())?;
        // SAFETY: all zeros is a valid value of this plain C struct.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        let mode = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = i16::try_from(mode).map_err(io::Error::other)?;
        // SAFETY: the kernel reads and writes an ifreq.
        checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
        let header = header_size(&fd)?;
        let offloads = offload(&fd, offloads)?;
        Ok(Tap { fd: Arc::new(fd), name: name.to_owned(), header, offloads })
    }

    /// Who asks whether the device is still there.
    pub fn watch(&self) -> TapWatch {
        TapWatch(Arc::downgrade(&self.fd))
    }

    /// What the kernel leaves to the reader.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a frame into `buffer` and what does not fit there into `rest`; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel answers: the device is gone.
    pub fn read(&self, buffer: &mut [u8], rest: &mut [u8]) -> io::Result<Option<Received>> {
        let mut header = [0; LONG];
        // The kernel cuts silently: what reaches this byte did not fit.
        let mut beyond = [0];
        let mut parts = [
            IoSliceMut::new(&mut header[..self.header]),
            IoSliceMut::new(buffer),
            IoSliceMut::new(rest),
            IoSliceMut::new(&mut beyond),
        ];
        let length = match rustix::io::readv(&*self.fd, &mut parts) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A frame without a byte is none, and the kernel has none.
        let length = length.checked_sub(self.header).ok_or(io::ErrorKind::InvalidData)?;
        let [flags, kind, _, _, size0, size1, start0, start1, offset0, offset1, _, _] = header;
        let unfinished = (flags & NEEDS_CHECKSUM != 0).then(|| Unfinished {
            start: u16::from_ne_bytes([start0, start1]),
            offset: u16::from_ne_bytes([offset0, offset1]),
        });
        let cut = match (Segmentation::from_code(kind), kind) {
            (Some(segmentation), _) => {
                Cut::Train { segmentation, size: u16::from_ne_bytes([size0, size1]) }
            }
            (None, Segmentation::NONE) => Cut::Whole,
            (None, _) => Cut::Unknown,
        };
        Ok(Some(Received { length, unfinished, cut }))
    }

    /// Writes a frame whose checksums are finished; `false` when the kernel has no room now.
    ///
    /// # Errors
    /// What the kernel answers: `EIO` while the device is down, `EINVAL` for a frame that is none.
    pub fn write(&self, frame: &[u8]) -> io::Result<bool> {
        self.write_with([0; LONG], frame)
    }

    /// Writes a train of segments with `size` bytes of payload each and a checksum that is to be finished; `false` when
    /// the kernel has no room now.
    ///
    /// # Errors
    /// As [`Tap::write`].
    pub fn write_train(
        &self,
        frame: &[u8],
        segmentation: Segmentation,
        size: u16,
        unfinished: Unfinished,
    ) -> io::Result<bool> {
        // How far the headers reach is a hint that the kernel does not need.
        let [size0, size1] = size.to_ne_bytes();
        let [start0, start1] = unfinished.start.to_ne_bytes();
        let [offset0, offset1] = unfinished.offset.to_ne_bytes();
        let kind = segmentation.code();
        let fields = [0, 0, size0, size1, start0, start1, offset0, offset1, 0, 0];
        let mut header = [0; LONG];
        let (front, back) = header.split_at_mut(2);
        front.copy_from_slice(&[NEEDS_CHECKSUM, kind]);
        back.copy_from_slice(&fields);
        self.write_with(header, frame)
    }

    fn write_with(&self, header: [u8; LONG], frame: &[u8]) -> io::Result<bool> {
        let parts = [IoSlice::new(&header[..self.header]), IoSlice::new(frame)];
        match rustix::io::writev(&*self.fd, &parts) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Asks for the long header, and takes the short one from a kernel that has no other.
fn header_size(fd: &OwnedFd) -> io::Result<usize> {
    for size in [LONG, SHORT] {
        let mut argument = libc::c_int::try_from(size).map_err(io::Error::other)?;
        let request = libc::TUNSETVNETHDRSZ;
        // SAFETY: the kernel reads an int.
        let answer = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut argument) };
        if answer == 0 {
            return Ok(size);
        }
    }
    Err(io::Error::last_os_error())
}

/// Asks for as much of this as the kernel knows.
fn offload(fd: &OwnedFd, most: Offloads) -> io::Result<Offloads> {
    let steps =
        [(Offloads::TcpAndUdp, TCP_AND_UDP), (Offloads::Tcp, TCP), (Offloads::Checksum, CHECKSUM)];
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for (offloads, flags) in steps.into_iter().filter(|(offloads, _)| *offloads <= most) {
        let flags = libc::c_ulong::from(flags);
        // SAFETY: the argument of this request is a number.
        match checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, flags) }) {
            Ok(()) => return Ok(offloads),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn checked(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
