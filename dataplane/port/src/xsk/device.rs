//! A network device with our steering program on it.

use std::{io, net::IpAddr, sync::Arc};

use sys::xdp::{
    AttachError, AttachMode, Heartbeat, LoadError, Program, Role, attach, detach, zero_copy,
};

use super::{
    OpenError, Umem, XskConfig, XskPort,
    open::{Queue, Registration, open},
};
use crate::{FramePool, Kept, PortMode};

/// A device cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no such device, or it cannot be asked.
    #[error("{device}: {source}")]
    Absent {
        /// The device.
        device: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The kernel does not take the program.
    #[error("{device}: {source}")]
    Load {
        /// The device.
        device: String,
        /// What the kernel answered.
        source: LoadError,
    },
    /// The device carries a program of somebody else, which is left alone. The user has to
    /// remove it.
    #[error(
        "{device} carries the XDP program \"{name}\" (id {id}), which is not ours; \
         remove it (ip link set dev {device} xdp off) or use another device"
    )]
    Foreign {
        /// The device.
        device: String,
        /// Name of that program.
        name: String,
        /// Its id in the kernel.
        id: u32,
    },
    /// The program cannot be put on the device or taken off it.
    #[error("{device}: {source}")]
    Attach {
        /// The device.
        device: String,
        /// Why.
        source: AttachError,
    },
}

/// A device whose packets a steering program sends to our sockets.
///
/// Dropping it leaves the program in place: the attachment outlives the process on purpose, so
/// that no tenant frame enters the host's stack while nobody is there. [`XskDevice::release`]
/// takes it off.
#[derive(Debug)]
pub struct XskDevice {
    name: String,
    ifindex: u32,
    queues: u32,
    program: Program,
    mode: AttachMode,
}

impl XskDevice {
    /// Takes tunnel packets off `device`, in the driver if it can, else before the stack.
    ///
    /// Nothing is taken before [`XskDevice::set_endpoints`] and an open port. A program of ours
    /// that is there, of an earlier process, is replaced in one step.
    ///
    /// # Errors
    /// [`DeviceError`], naming the device; a foreign program is named too and left alone.
    pub fn uplink(device: &str, heartbeat: &Heartbeat) -> Result<XskDevice, DeviceError> {
        let mut taken = XskDevice::load(device, Role::Uplink, heartbeat)?;
        let mac = sys::device::mac(device).map_err(absent(device))?;
        taken.set_mac(mac)?;
        match taken.attach(AttachMode::Native) {
            Err(DeviceError::Attach { source: AttachError::Refused { .. }, .. }) => {
                taken.attach(AttachMode::Generic)?;
            }
            outcome => outcome?,
        }
        Ok(taken)
    }

    /// Takes every frame off the host end of a workload's interface, in the driver.
    ///
    /// On socket buffers a tenant's super-frames and half-done checksums could not be handled, so
    /// there is no fallback.
    ///
    /// # Errors
    /// As [`XskDevice::uplink`].
    pub fn workload(device: &str, heartbeat: &Heartbeat) -> Result<XskDevice, DeviceError> {
        let mut taken = XskDevice::load(device, Role::Workload, heartbeat)?;
        taken.attach(AttachMode::Native)?;
        Ok(taken)
    }

    fn load(device: &str, role: Role, heartbeat: &Heartbeat) -> Result<XskDevice, DeviceError> {
        let ifindex = sys::device::index(device).map_err(absent(device))?;
        let queues = sys::ethtool::receive_queues(device).map_err(absent(device))?;
        let program = Program::load(role, heartbeat).map_err(load(device))?;
        let name = device.to_owned();
        Ok(XskDevice { name, ifindex, queues, program, mode: AttachMode::Native })
    }

    fn attach(&mut self, mode: AttachMode) -> Result<(), DeviceError> {
        attach(&self.program, self.ifindex, mode).map_err(attaching(&self.name))?;
        self.mode = mode;
        Ok(())
    }

    /// Puts the program back if somebody took it off the device: without it a workload's frames would enter the
    /// host's stack, and tunnel packets too. Sockets and ports stay as they are.
    ///
    /// # Errors
    /// [`DeviceError`], naming the device; a foreign program in its place is named too.
    pub fn keep(&self) -> Result<Kept, DeviceError> {
        sys::xdp::keep(&self.program, self.ifindex, self.mode).map_err(attaching(&self.name))
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Index of the device in its network namespace.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Receive queues in use: each needs a port, or its packets are not taken.
    pub fn queues(&self) -> u32 {
        self.queues
    }

    /// Where the program runs.
    pub fn mode(&self) -> PortMode {
        match self.mode {
            AttachMode::Native => PortMode::Native,
            AttachMode::Generic => PortMode::Generic,
        }
    }

    /// Makes `endpoints` the addresses whose tunnel packets are taken.
    ///
    /// # Errors
    /// [`DeviceError::Load`] if the kernel refuses one: there is room for 64 of each family.
    pub fn set_endpoints(&self, endpoints: &[IpAddr]) -> Result<(), DeviceError> {
        self.program.set_endpoints(endpoints).map_err(load(&self.name))
    }

    /// Takes only packets to this MAC; to be called when the device's MAC changes.
    ///
    /// # Errors
    /// [`DeviceError::Load`] with what the kernel answered.
    pub fn set_mac(&self, mac: [u8; 6]) -> Result<(), DeviceError> {
        self.program.set_mac(mac).map_err(load(&self.name))
    }

    /// Packets that belonged to a port and found none, or a worker that did not beat.
    ///
    /// # Errors
    /// [`DeviceError::Load`] with what the kernel answered.
    pub fn missed(&self) -> Result<u64, DeviceError> {
        self.program.missed().map_err(load(&self.name))
    }

    /// Opens the port of a queue, served by the worker with heartbeat slot `slot`.
    ///
    /// Waits up to some seconds for the queue if its last socket was closed just before. Frames
    /// to receive into come from `pool`.
    ///
    /// # Errors
    /// [`OpenError`], naming device, queue and step; every frame is then back in `pool`.
    pub fn open(
        &self,
        umem: &Arc<Umem>,
        config: XskConfig,
        slot: u32,
        pool: &mut FramePool,
    ) -> Result<XskPort, OpenError> {
        let queue = config.queue;
        let to = Queue {
            device: &self.name,
            ifindex: self.ifindex,
            queue,
            mode: self.mode(),
            registration: self.registration(),
        };
        let mut port = open(&to, umem, config, pool)?;
        let Some(socket) = &port.socket else { return Ok(port) };
        if let Err(error) = self.program.serve(queue, slot, socket) {
            port.close_socket(pool);
            let what = "cannot steer packets to the socket";
            let source = io::Error::other(error);
            return Err(OpenError { device: self.name.clone(), queue, what, source });
        }
        Ok(port)
    }

    /// An uplink has flags of its own. Zero-copy is tried only where the driver may have it: a
    /// refused bind leaves kernel memory behind for good (seen on 6.18: what it knows of chunks).
    fn registration(&self) -> Registration {
        match self.program.role() {
            Role::Workload => Registration::Shared,
            Role::Uplink if self.mode == AttachMode::Generic => Registration::OwnCopy,
            Role::Uplink => match zero_copy(self.ifindex) {
                Ok(Some(false)) => Registration::OwnCopy,
                _ => Registration::OwnZeroCopy,
            },
        }
    }

    /// Takes our program off the device: its packets are the kernel's again.
    ///
    /// # Errors
    /// [`DeviceError::Foreign`] if meanwhile somebody else's program is there.
    pub fn release(self) -> Result<(), DeviceError> {
        detach(self.ifindex).map_err(attaching(&self.name))
    }
}

fn absent(device: &str) -> impl Fn(io::Error) -> DeviceError {
    move |source| DeviceError::Absent { device: device.to_owned(), source }
}

fn attaching(device: &str) -> impl Fn(AttachError) -> DeviceError {
    move |source| match source {
        AttachError::Foreign { name, id } => {
            DeviceError::Foreign { device: device.to_owned(), name, id }
        }
        source => DeviceError::Attach { device: device.to_owned(), source },
    }
}

fn load(device: &str) -> impl Fn(LoadError) -> DeviceError {
    move |source| DeviceError::Load { device: device.to_owned(), source }
}
