//! TAP devices: a link of the kernel's whose far end is a descriptor, with a virtio-net header on every packet.
//!
//! The device lives as long as its descriptor. Devices are made in the network namespace of the calling thread.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags, open};

/// Bytes of a virtio-net header (virtio 1.2, section 5.1.6) with its last field, the number of buffers.
const LONG: usize = 12;
/// Without it, as before virtio 1.0.
const SHORT: usize = 10;

/// Flag of the header: a checksum is unfinished.
const NEEDS_CHECKSUM: u8 = 1;
/// Kind of segmentation in the header: none.
const NO_SEGMENTATION: u8 = 0;

/// The far end of a TAP device. Reading and writing never wait.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    name: String,
    header: usize,
}

/// A checksum that the sender left to be finished: the ones' complement sum of everything from `start` on belongs at
/// `start + offset`, where the sum of the pseudo-header is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where the sum begins, in bytes from the start of the frame.
    pub start: u16,
    /// Where it belongs, in bytes from there.
    pub offset: u16,
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the frame; more than the buffer has if it did not fit and is lost.
    pub length: usize,
    /// The checksum that is to be finished.
    pub unfinished: Option<Unfinished>,
    /// It is a train of segments, which we did not ask for.
    pub segmented: bool,
}

impl Tap {
    /// Makes a device of this name, down, whose packets may have unfinished checksums but are never segment trains.
    ///
    /// # Errors
    /// What the kernel answers: `EBUSY` if another process has the device, `EINVAL` if a device of another type has the
    /// name, `ENOENT` or `EPERM` without `/dev/net/tun` or the right to use it.
    pub fn create(name: &str) -> io::Result<Tap> {
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
        let offloads = libc::c_ulong::from(libc::TUN_F_CSUM);
        // SAFETY: the argument of this request is a number.
        checked(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) })?;
        Ok(Tap { fd, name: name.to_owned(), header })
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a frame into the start of `buffer`; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel answers: the device is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut header = [0; LONG];
        // The kernel cuts silently: what reaches this byte did not fit.
        let mut beyond = [0];
        let mut parts = [
            IoSliceMut::new(&mut header[..self.header]),
            IoSliceMut::new(buffer),
            IoSliceMut::new(&mut beyond),
        ];
        let length = match rustix::io::readv(&self.fd, &mut parts) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A frame without a byte is none, and the kernel has none.
        let length = length.checked_sub(self.header).ok_or(io::ErrorKind::InvalidData)?;
        let [flags, segmentation, _, _, _, _, start0, start1, offset0, offset1, _, _] = header;
        let unfinished = (flags & NEEDS_CHECKSUM != 0).then(|| Unfinished {
            start: u16::from_ne_bytes([start0, start1]),
            offset: u16::from_ne_bytes([offset0, offset1]),
        });
        Ok(Some(Received { length, unfinished, segmented: segmentation != NO_SEGMENTATION }))
    }

    /// Writes a frame whose checksums are finished; `false` when the kernel has no room now.
    ///
    /// # Errors
    /// What the kernel answers: `EIO` while the device is down, `EINVAL` for a frame that is none.
    pub fn write(&self, frame: &[u8]) -> io::Result<bool> {
        let header = [0; LONG];
        let parts = [IoSlice::new(&header[..self.header]), IoSlice::new(frame)];
        match rustix::io::writev(&self.fd, &parts) {
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

fn checked(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
