//! What is known of a network device: index, MAC and MTU.
//!
//! Devices are named as seen in the network namespace of the calling thread.

use std::{io, os::fd::AsRawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

/// Index of the device with this name.
///
/// # Errors
/// `ENODEV` if there is none.
pub fn index(device: &str) -> io::Result<u32> {
    Ok(netdevice::name_to_index(socket()?, device)?)
}

/// MAC of the device with this name.
///
/// # Errors
/// `ENODEV` if there is none.
pub fn mac(device: &str) -> io::Result<[u8; 6]> {
    let answer = ioctl(device, libc::SIOCGIFHWADDR, |_| ())?;
    // SAFETY: this is the member that the request fills, and any bytes are valid in it.
    let address = unsafe { answer.ifr_ifru.ifru_hwaddr };
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        *to = from.cast_unsigned();
    }
    Ok(mac)
}

/// L3 MTU of the device with this name, in bytes.
///
/// # Errors
/// `ENODEV` if there is none.
pub fn mtu(device: &str) -> io::Result<u32> {
    let answer = ioctl(device, libc::SIOCGIFMTU, |_| ())?;
    // SAFETY: this is the member that the request fills, and any bytes are valid in it.
    let mtu = unsafe { answer.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(io::Error::other)
}

/// Gives the device with this name a MAC.
///
/// # Errors
/// What the kernel answers.
pub fn set_mac(device: &str, mac: [u8; 6]) -> io::Result<()> {
    ioctl(device, libc::SIOCSIFHWADDR, |request| {
        let mut address =
            libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: Default::default() };
        for (to, from) in address.sa_data.iter_mut().zip(mac) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_hwaddr = address;
    })
    .map(|_| ())
}

/// Gives the device with this name an MTU in bytes.
///
/// # Errors
/// What the kernel answers; `EINVAL` for one that the device does not take.
pub fn set_mtu(device: &str, mtu: u16) -> io::Result<()> {
    ioctl(device, libc::SIOCSIFMTU, |request| request.ifr_ifru.ifru_mtu = mtu.into()).map(|_| ())
}

/// A request about a device. `fill` sets its argument, which must suit the request; what a
/// pointer in it refers to must be as large as the request demands.
pub(crate) fn ioctl(
    device: &str,
    request: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros is a valid value of this plain C struct.
    let mut argument: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= argument.ifr_name.len() || device.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in argument.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    fill(&mut argument);
    let socket = socket()?;
    // SAFETY: the kernel reads and writes an ifreq, and what `fill` pointed it to.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(argument) }
}

fn socket() -> io::Result<impl std::os::fd::AsFd + AsRawFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}
