//! The process itself.

use serde::{Deserialize, Serialize};

/// `vrouterd` as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its version, as `0.1.0`.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The kernel it runs on, as `uname -r` says.
    pub kernel: String,
    /// Generation of the tables that were published last.
    pub generation: u64,
    /// Its workers.
    pub workers: Vec<WorkerInfo>,
    /// Packet buffers in all.
    pub frames: u32,
    /// Packet buffers that nobody holds.
    pub frames_free: u32,
    /// Bytes of packet memory.
    pub packet_memory_bytes: u64,
    /// Objects by table.
    pub tables: Vec<TableSize>,
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The processor it is pinned to.
    pub cpu: Option<u32>,
    /// Whether it polls without ever sleeping.
    pub busy: bool,
    /// Packets it received.
    pub packets: u64,
}

/// How full a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// Its name, as `vif`.
    pub name: String,
    /// Objects in it.
    pub used: u64,
    /// Objects it can hold.
    pub capacity: u64,
}
