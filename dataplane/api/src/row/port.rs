//! What an interface's port got from the kernel.

use serde::{Deserialize, Serialize};

/// The port behind a vif.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRow {
    /// Whether it carries packets.
    pub state: PortState,
    /// What it is made of.
    pub backend: Backend,
    /// Queues in use.
    pub queues: u16,
    /// Kernel features that were found and are used, as `need_wakeup`.
    pub features: Vec<String>,
    /// Memory of its rings and registrations, in bytes.
    pub memory_bytes: u64,
    /// Frames it holds now.
    pub frames_held: u32,
    /// Statistics of its AF_XDP sockets, summed over queues.
    pub xdp: XdpStatistics,
}

/// Whether a port carries packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortState {
    /// It does.
    Up,
    /// The device of that name does not exist; it is opened when it appears.
    DeviceMissing,
    /// Opening it failed with these words.
    Failed(String),
    /// The vif needs no port (or has none yet).
    None,
}

/// What a port is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// Nothing.
    None,
    /// AF_XDP sockets.
    AfXdp {
        /// Where the program runs.
        mode: XdpMode,
        /// How packets get into our memory.
        copy: CopyMode,
    },
    /// A TAP device.
    Tap,
    /// vhost-user.
    VhostUser,
    /// In memory, for tests.
    Memory,
    /// Capture files.
    Pcap,
    /// A UNIX datagram socket.
    Socket,
}

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack's fallback (slow).
    Generic,
}

/// How packets get into packet memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CopyMode {
    /// The driver writes there.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

/// `XDP_STATISTICS` (if_xdp.h), in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpStatistics {
    /// Dropped for other reasons.
    pub rx_dropped: u64,
    /// Dropped because of a bad descriptor in the fill ring.
    pub rx_invalid_descriptors: u64,
    /// Dropped because our receive ring was full.
    pub rx_ring_full: u64,
    /// Not received because the fill ring was empty.
    pub rx_fill_ring_empty: u64,
    /// Not sent because of a bad descriptor.
    pub tx_invalid_descriptors: u64,
    /// Times the transmit ring was found empty.
    pub tx_ring_empty: u64,
}
