//! Opening a device: everything that may wait in the kernel, away from the control thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::WorkerId;
use port::{
    FramePool, FramePools, Heartbeat, LargePackets, Offloads, Port, PortMode, SocketPort, Tap,
    TapPort, TapWatch, Umem, XskConfig, XskDevice,
};
use sys::ethtool::LinkSpeed;
use tables::{Transport, Vif, VifKind, limits};
use wire::Mac;

use crate::kernel::IfIndex;

/// What all openings have in common.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) umem: Arc<Umem>,
    pub(crate) pools: FramePools,
    pub(crate) workers: u8,
    /// Where the agent's sockets are.
    pub(crate) sock_dir: PathBuf,
}

/// What is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) device: String,
    pub(crate) kind: VifKind,
    pub(crate) origin: Origin,
    /// The worker of queue 0; further queues go to the workers after it, round and round.
    pub(crate) first: WorkerId,
    /// What a device that is made is to be.
    pub(crate) host: HostLink,
}

/// Where the device of a vif comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It has none.
    Nowhere,
    /// Somebody else makes it.
    Found,
    /// A TAP of our making that the host keeps: vhost0, and what a monitoring interface's copies come out of.
    Host,
    /// A TAP of our making whose link somebody gives to a workload. Until then it is down.
    Workload,
    /// The socket to the agent.
    Agent,
}

impl Origin {
    pub(crate) fn of(vif: &Vif) -> Origin {
        match (vif.kind, vif.transport) {
            (VifKind::Host, Transport::Virtual | Transport::Ethernet | Transport::Tap) => {
                Origin::Host
            }
            // Whoever captures listens on it.
            (VifKind::Monitoring, _) => Origin::Host,
            (VifKind::Virtual, Transport::Tap) => Origin::Workload,
            (VifKind::Agent, _) => Origin::Agent,
            (VifKind::Physical | VifKind::Virtual, Transport::Virtual | Transport::Ethernet) => {
                Origin::Found
            }
            _ => Origin::Nowhere,
        }
    }

    /// Whether the device is ours to make.
    pub(crate) fn makes(self) -> bool {
        matches!(self, Origin::Host | Origin::Workload | Origin::Agent)
    }
}

/// How the host's end of vhost0 is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostLink {
    pub(crate) mac: Mac,
    pub(crate) mtu: u16,
}

/// The device behind a port.
pub(crate) enum Device {
    /// One of the kernel's, with our program on it.
    Found(Box<XskDevice>),
    /// One we made, which goes when its port is closed.
    Made { name: String, ifindex: IfIndex, watch: TapWatch },
    /// The socket to the agent.
    Socket { name: String },
}

impl Device {
    pub(crate) fn name(&self) -> &str {
        match self {
            Device::Found(device) => device.name(),
            Device::Made { name, .. } | Device::Socket { name } => name,
        }
    }

    /// The kernel's device, if it is one.
    pub(crate) fn ifindex(&self) -> Option<IfIndex> {
        match self {
            Device::Found(device) => Some(device.ifindex()),
            Device::Made { ifindex, .. } => Some(*ifindex),
            Device::Socket { .. } => None,
        }
    }

    /// Whether it is still there, whatever was heard of it so far.
    pub(crate) fn is_there(&self) -> bool {
        match self {
            Device::Found(device) => {
                sys::device::index(device.name()).is_ok_and(|index| index == device.ifindex())
            }
            Device::Made { watch, .. } => watch.is_there(),
            Device::Socket { .. } => true,
        }
    }
}

/// An open device, and a port for each of its queues.
pub(crate) struct Opened {
    pub(crate) device: Device,
    pub(crate) queues: Vec<(u16, WorkerId, Box<dyn Port>)>,
    pub(crate) speed: Option<LinkSpeed>,
    pub(crate) driver: Option<String>,
}

impl Opened {
    /// Gives all frames back.
    pub(crate) fn close(self, pools: &FramePools) {
        let mut pool = pools.pool();
        for (_, _, mut port) in self.queues {
            port.close(&mut pool);
        }
    }
}

/// Attaches the program, then binds a socket to each queue. From the first step on, no frame of a workload's device
/// reaches the host's stack. May wait some seconds for a queue that was just closed.
///
/// # Errors
/// One line that says what was refused.
pub(crate) fn open(ground: &Ground, order: &Order) -> Result<Opened, String> {
    match order.origin {
        Origin::Host | Origin::Workload => return make(ground, order),
        Origin::Agent => return bind(ground, order),
        Origin::Found | Origin::Nowhere => {}
    }
    let name = order.device.as_str();
    let device = match order.kind {
        VifKind::Physical => XskDevice::uplink(name, &ground.heartbeat),
        _ => XskDevice::workload(name, &ground.heartbeat),
    };
    let device = device.map_err(|error| error.to_string())?;
    if order.kind != VifKind::Physical {
        silence_ipv6(name);
    }
    let speed = sys::ethtool::link_speed(name).ok();
    let driver = sys::ethtool::driver(name).ok();
    let mut pool = ground.pools.pool();
    let mode = device.mode();
    let queues = device.queues();
    let mut ports: Vec<(u16, WorkerId, Box<dyn Port>)> = Vec::new();
    let opened = (0..queues).try_for_each(|queue| {
        let worker = worker_of(order.first, queue, ground.workers);
        let port = open_queue(ground, order, &device, (queue, worker), &mut pool)?;
        ports.push((u16::try_from(queue).unwrap_or(u16::MAX), worker, port));
        Ok(())
    });
    let one_buffer = ports.iter().any(|(_, _, port)| port.info().missing.contains(&MULTI_BUFFER));
    if let Some(warning) = too_long(name, sys::device::mtu(name).unwrap_or(0), one_buffer) {
        tracing::warn!("{warning}");
    }
    let result = Opened { device: Device::Found(Box::new(device)), queues: ports, speed, driver };
    if let Err(message) = opened {
        result.close(&ground.pools);
        return Err(message);
    }
    if mode == PortMode::Generic {
        tracing::warn!("{name}: the driver has no native XDP; the slow generic mode is used");
    }
    Ok(result)
}

fn open_queue(
    ground: &Ground,
    order: &Order,
    device: &XskDevice,
    (queue, worker): (u32, WorkerId),
    pool: &mut FramePool,
) -> Result<Box<dyn Port>, String> {
    let mut config = match order.kind {
        VifKind::Physical => XskConfig::uplink(queue),
        _ => XskConfig::workload(queue),
    };
    if ground.pools.large_capacity() == 0 {
        config.large_packets = LargePackets::Never;
    }
    config.receive_frames = share(config.receive_frames, free_plain_frames(&ground.pools))
        .ok_or_else(|| {
            format!("{}: packet buffers are used up; start with more --frames", order.device)
        })?;
    let port = device.open(&ground.umem, config, u32::from(worker.0), pool);
    port.map(|port| Box::new(port) as Box<dyn Port>).map_err(|error| error.to_string())
}

/// Names of the sockets to and from the agent (reference sandesh.md section 1).
const OWN_SOCKET: &str = "dpdk_pkt0";
const AGENT_SOCKET: &str = "agent_pkt0";

/// Binds the socket that the agent sends to. Whether it receives is its own affair.
fn bind(ground: &Ground, order: &Order) -> Result<Opened, String> {
    let name = order.device.clone();
    let (own, agent) = (ground.sock_dir.join(OWN_SOCKET), ground.sock_dir.join(AGENT_SOCKET));
    let port = SocketPort::bind(&name, &own, &agent)
        .map_err(|error| format!("{name}: cannot bind {}: {error}", own.display()))?;
    let queues = vec![(0, order.first, Box::new(port) as Box<dyn Port>)];
    Ok(Opened { device: Device::Socket { name }, queues, speed: None, driver: None })
}

/// Makes a TAP that lives as long as its port. The kernel gives it no address by itself.
fn make(ground: &Ground, order: &Order) -> Result<Opened, String> {
    let name = order.device.as_str();
    let tap = Tap::create(name, Offloads::TcpAndUdp)
        .map_err(|error| format!("{name}: cannot make a TAP: {error}"))?;
    let ifindex = sys::device::index(name).map_err(|error| format!("{name}: {error}"))?;
    if order.kind == VifKind::Monitoring {
        // The host must not speak where it only listens.
        silence_ipv6(name);
    } else {
        without_link_local(name);
    }
    let set_up = match order.origin {
        Origin::Host => set_up_host(name, order.host, &ground.pools),
        // Its MAC is the workload's to choose.
        _ => set_mtu(name, order.host.mtu, &ground.pools),
    };
    match set_up {
        // Whoever waited for it has moved it to the workload already, and sets its MTU there.
        Err(error) if order.origin == Origin::Workload && is_absent(&error) => {}
        other => other.map_err(|error| format!("{name}: cannot set it up: {error}"))?,
    }
    let device = Device::Made { name: name.to_owned(), ifindex, watch: tap.watch() };
    let queues = vec![(0, order.first, Box::new(TapPort::new(tap)) as Box<dyn Port>)];
    Ok(Opened { device, queues, speed: None, driver: None })
}

/// Gives the host's end its MAC, and the MTU as far as packet buffers take it.
pub(crate) fn set_up_host(name: &str, link: HostLink, pools: &FramePools) -> io::Result<()> {
    sys::device::set_mac(name, link.mac.0)?;
    set_mtu(name, link.mtu, pools)
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn set_mtu(name: &str, mtu: u16, pools: &FramePools) -> io::Result<()> {
    sys::device::set_mtu(name, mtu.min(TapPort::largest_mtu(pools)))
}

/// No IPv6 address of the kernel's own making: vhost0 has none unless somebody gives it one.
fn without_link_local(device: &str) {
    const NONE: &str = "1";
    let path = Path::new("/proc/sys/net/ipv6/conf").join(device).join("addr_gen_mode");
    if path.exists()
        && let Err(error) = std::fs::write(&path, NONE)
    {
        tracing::warn!("{}: {error}; {device} gets a link-local address", path.display());
    }
}

fn free_plain_frames(pools: &FramePools) -> usize {
    pools.free_frames().saturating_sub(pools.free_large_frames())
}

/// How many of the free frames a queue gets to receive into: never more than a quarter, so that the last port of many
/// still gets some and frames are left to be on the way. `None` when it would get too few to be of use.
fn share(wish: usize, free: usize) -> Option<usize> {
    let share = wish.min(free / 4);
    (share >= port::BURST).then_some(share)
}

/// The feature of a port that takes packets of several buffers.
const MULTI_BUFFER: &str = "multi-buffer";

/// What to say of a device whose packets may be longer than its port takes: the kernel drops those, and only its own
/// counters tell.
fn too_long(device: &str, mtu: u32, one_buffer: bool) -> Option<String> {
    let most = u32::from(if one_buffer { limits::ONE_BUFFER_MTU } else { limits::MTU });
    (mtu > most).then(|| {
        format!(
            "{device}: its MTU is {mtu}; packets for the vRouter longer than {most} bytes may be dropped (rx_dropped)"
        )
    })
}

fn worker_of(first: WorkerId, queue: u32, workers: u8) -> WorkerId {
    let sum = u32::from(first.0) + queue;
    WorkerId(u8::try_from(sum % u32::from(workers.max(1))).unwrap_or(0))
}

/// The host must not speak IPv6 on a workload's link: not even neighbour discovery.
fn silence_ipv6(device: &str) {
    let path = Path::new("/proc/sys/net/ipv6/conf").join(device).join("disable_ipv6");
    if !path.exists() {
        return; // A kernel or namespace without IPv6.
    }
    if let Err(error) = std::fs::write(&path, "1") {
        tracing::warn!("{}: {error}; the host may speak IPv6 on {device}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_leaves_frames_for_the_next() {
        assert_eq!(share(4096, 32_768), Some(4096));
        assert_eq!(share(4096, 8192), Some(2048));
        assert_eq!(share(1024, 300), Some(75));
        assert_eq!(share(1024, 100), None);
    }

    #[test]
    fn a_device_with_packets_longer_than_a_buffer_is_warned_of() {
        assert_eq!(too_long("eth1", 1500, true), None);
        assert_eq!(too_long("eth1", 9000, false), None);
        let warning = too_long("eth1", 9000, true).unwrap();
        assert!(warning.contains("eth1: its MTU is 9000") && warning.contains("1778"), "{warning}");
    }

    #[test]
    fn queues_go_round_the_workers() {
        let workers: Vec<u8> = (0..5).map(|queue| worker_of(WorkerId(1), queue, 3).0).collect();
        assert_eq!(workers, [1, 2, 0, 1, 2]);
    }
}
