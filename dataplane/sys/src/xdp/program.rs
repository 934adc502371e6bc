//! One loaded instance of a steering program with its maps.

use std::{
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, Object, ObjectBuilder, ProgramInput, ProgramMut};

use super::{Heartbeat, said::listening};
use crate::xsk;

/// The compiled programs, aligned as ELF wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static UPLINK: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/uplink.o")));
static WORKLOAD: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/workload.o")));

/// Which program: what it steers, and what happens to what it cannot steer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes tunnel packets for local endpoints; the rest is the kernel's.
    Uplink,
    /// Takes every frame; none ever reaches the kernel's stack.
    Workload,
}

impl Role {
    /// Name of the program in the kernel; by it a later process knows the program is ours.
    pub(super) fn program_name(self) -> &'static str {
        match self {
            Role::Uplink => "vrouter_uplink",
            Role::Workload => "vrouter_tenant",
        }
    }
}

/// What a program decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ends here.
    Drop,
    /// It is the kernel's.
    Pass,
    /// It goes to the queue's socket.
    Socket,
    /// The program failed.
    Aborted,
}

/// The kernel refused a program or a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("eBPF {what}: {message}")]
pub struct LoadError {
    pub(super) what: &'static str,
    pub(super) message: String,
}

impl LoadError {
    pub(super) fn new(what: &'static str, source: &libbpf_rs::Error) -> LoadError {
        LoadError { what, message: format!("{source:#}") }
    }
}

/// A loaded steering program, for one device.
#[derive(Debug)]
pub struct Program {
    role: Role,
    object: Object,
    fd: OwnedFd,
    sockets: MapHandle,
    queue_slot: MapHandle,
    missed: MapHandle,
    uplink: Option<UplinkMaps>,
}

#[derive(Debug)]
struct UplinkMaps {
    endpoints4: MapHandle,
    endpoints6: MapHandle,
    device_mac: MapHandle,
}

impl Program {
    /// Loads an instance that reads the beats of `heartbeat`.
    ///
    /// # Errors
    /// [`LoadError`] naming the program or map and what the kernel answered.
    pub fn load(role: Role, heartbeat: &Heartbeat) -> Result<Program, LoadError> {
        let name = role.program_name();
        let (object, said) = listening(|| load_object(role, heartbeat));
        let object =
            object.map_err(|e| LoadError { what: name, message: format!("{e:#} ({said})") })?;
        let fd = program(&object, name)
            .ok_or_else(|| missing(name))?
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| LoadError { what: name, message: e.to_string() })?;
        let uplink = match role {
            Role::Workload => None,
            Role::Uplink => Some(UplinkMaps {
                endpoints4: map(&object, "endpoints4")?,
                endpoints6: map(&object, "endpoints6")?,
                device_mac: map(&object, "device_mac")?,
            }),
        };
        Ok(Program {
            role,
            fd,
            sockets: map(&object, "sockets")?,
            queue_slot: map(&object, "queue_slot")?,
            missed: map(&object, "missed")?,
            uplink,
            object,
        })
    }

    /// Which program it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Sends a queue's packets to `socket`, served by the worker with this heartbeat slot.
    ///
    /// The kernel takes the socket out again when it is closed.
    ///
    /// # Errors
    /// [`LoadError`] if there are fewer queues, or the socket is bound elsewhere.
    pub fn serve(&self, queue: u32, slot: u32, socket: &xsk::Socket) -> Result<(), LoadError> {
        use std::os::fd::AsRawFd;
        let fd = socket.as_fd().as_raw_fd();
        put(&self.queue_slot, "queue_slot", &queue.to_ne_bytes(), &(slot + 1).to_ne_bytes())?;
        put(&self.sockets, "sockets", &queue.to_ne_bytes(), &fd.to_ne_bytes())
    }

    /// Makes `endpoints` the addresses whose tunnel packets are taken. Nothing on a workload.
    ///
    /// # Errors
    /// [`LoadError`] if the kernel refuses one, for instance the 65th of a family.
    pub fn set_endpoints(&self, endpoints: &[IpAddr]) -> Result<(), LoadError> {
        let Some(maps) = &self.uplink else { return Ok(()) };
        let (mut wanted4, mut wanted6) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            match endpoint {
                IpAddr::V4(address) => wanted4.push(address.octets().to_vec()),
                IpAddr::V6(address) => wanted6.push(address.octets().to_vec()),
            }
        }
        replace_keys(&maps.endpoints4, "endpoints4", &wanted4)?;
        replace_keys(&maps.endpoints6, "endpoints6", &wanted6)
    }

    /// Takes only packets to this MAC; all zeros takes any. Nothing on a workload.
    ///
    /// # Errors
    /// [`LoadError`] with what the kernel answered.
    pub fn set_mac(&self, mac: [u8; 6]) -> Result<(), LoadError> {
        let Some(maps) = &self.uplink else { return Ok(()) };
        let mut value = [0; 8];
        value[..6].copy_from_slice(&mac);
        put(&maps.device_mac, "device_mac", &0u32.to_ne_bytes(), &value)
    }

    /// Packets that belonged to a socket and found none, or a worker that did not beat.
    ///
    /// # Errors
    /// [`LoadError`] with what the kernel answered.
    pub fn missed(&self) -> Result<u64, LoadError> {
        let counts = self
            .missed
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(|e| LoadError::new("missed", &e))?
            .unwrap_or_default();
        let number = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, u64::from_ne_bytes);
        Ok(counts.iter().map(number).sum())
    }

    /// Runs the program on one packet of at least 14 bytes, as if received on queue 0 of lo.
    ///
    /// # Errors
    /// [`LoadError`] with what the kernel answered.
    pub fn verdict(&self, packet: &[u8]) -> Result<Verdict, LoadError> {
        let name = self.role.program_name();
        let program = program(&self.object, name).ok_or_else(|| missing(name))?;
        let input = ProgramInput { data_in: Some(packet), ..ProgramInput::default() };
        let output = program.test_run(input).map_err(|e| LoadError::new("test run", &e))?;
        Ok(match output.return_value {
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            4 => Verdict::Socket,
            _ => Verdict::Aborted,
        })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn load_object(role: Role, heartbeat: &Heartbeat) -> libbpf_rs::Result<Object> {
    let image = match role {
        Role::Uplink => &UPLINK.0,
        Role::Workload => &WORKLOAD.0,
    };
    let mut object = ObjectBuilder::default().name(role.program_name())?.open_memory(image)?;
    for mut map in object.maps_mut() {
        if map.name() == "heartbeat" {
            map.reuse_fd(heartbeat.map())?;
        }
    }
    object.load()
}

fn program<'o>(object: &'o Object, name: &str) -> Option<ProgramMut<'o>> {
    object.progs_mut().find(|program| program.name() == name)
}

fn map(object: &Object, name: &'static str) -> Result<MapHandle, LoadError> {
    let map = object.maps().find(|map| map.name() == name).ok_or_else(|| missing(name))?;
    MapHandle::try_from(&map).map_err(|e| LoadError::new(name, &e))
}

fn missing(what: &'static str) -> LoadError {
    LoadError { what, message: "not in the compiled object".to_owned() }
}

fn put(map: &MapHandle, what: &'static str, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
    map.update(key, value, MapFlags::ANY).map_err(|e| LoadError::new(what, &e))
}

fn replace_keys(map: &MapHandle, what: &'static str, wanted: &[Vec<u8>]) -> Result<(), LoadError> {
    for key in wanted {
        put(map, what, key, &[1])?;
    }
    let surplus: Vec<_> = map.keys().filter(|key| !wanted.contains(key)).collect();
    for key in surplus {
        map.delete(&key).map_err(|e| LoadError::new(what, &e))?;
    }
    Ok(())
}
