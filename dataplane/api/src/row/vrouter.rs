//! Limits, settings and memory of the dataplane as a whole.

use serde::{Deserialize, Serialize};

/// The dataplane as `vrouter --info` shows it (reference cli.md section 12). A number that is not listed is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrouterInfo {
    /// Who built it.
    pub build: BuildInfo,
    /// Sizes of tables, settings and how much is used.
    pub values: Vec<(VrouterValue, u32)>,
}

impl VrouterInfo {
    /// A number.
    pub fn value(&self, wanted: VrouterValue) -> u32 {
        self.values.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, value)| *value)
    }
}

/// Who built it, when and where; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInfo {
    /// The version.
    pub version: String,
    /// The user.
    pub user: String,
    /// The host.
    pub host: String,
    /// The time, as `2022-03-14 10:12:09`.
    pub time: String,
}

/// A number of the dataplane as a whole. Those that can be set are so marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VrouterValue {
    /// Most interfaces.
    Interfaces,
    /// Most VRFs.
    Vrfs,
    /// Most next hops.
    NextHops,
    /// Most labels.
    Labels,
    /// Most stations in the bridge table.
    BridgeEntries,
    /// Of these in the overflow part.
    BridgeOverflow,
    /// Most flows.
    FlowEntries,
    /// Of these in the overflow part.
    FlowOverflow,
    /// Most mirrors.
    Mirrors,
    /// Memory allocations are checked.
    MemoryChecks,
    /// Most stations of one interface.
    VifBridgeEntries,
    /// Of these in the overflow part.
    VifBridgeOverflow,
    /// Entries in one worker's drop log.
    DropLogEntries,
    /// There is a drop log.
    DropLogSupport,
    /// Workers that have a drop log.
    DropLogCores,
    /// Packets are merged (settable).
    Gro,
    /// Packets are segmented in software (settable).
    Segmentation,
    /// MSS of TCP from workloads is lowered (settable).
    FromVmMssAdjust,
    /// MSS of TCP to workloads is lowered (settable).
    ToVmMssAdjust,
    /// Packets are spread by inner headers (settable).
    Perfr1,
    /// Packets are spread after merging (settable).
    Perfr2,
    /// Packets are spread on reception (settable).
    Perfr3,
    /// Inner headers are pulled quickly (settable).
    Perfp,
    /// Processor for `Perfr1` (settable).
    Perfq1,
    /// Processor for `Perfr2` (settable).
    Perfq2,
    /// Processor for `Perfr3` (settable).
    Perfq3,
    /// Outer UDP checksums are left to the NIC (settable).
    UdpChecksumOffload,
    /// Most flows on hold (settable).
    FlowHoldLimit,
    /// MPLS over UDP instead of GRE everywhere (settable).
    MplsOverUdp,
    /// Flows.
    FlowUsed,
    /// Flows in the overflow part.
    FlowOverflowUsed,
    /// Stations.
    BridgeUsed,
    /// Stations in the overflow part.
    BridgeOverflowUsed,
    /// Tokens for bursts of new flows (settable).
    BurstTokens,
    /// Milliseconds between tokens (settable).
    BurstInterval,
    /// Tokens added at once (settable).
    BurstStep,
    /// Priority tags on the wire (settable).
    PriorityTagging,
    /// Packets are logged (settable).
    PacketDump,
    /// Dropped packets are logged (settable).
    DropLog,
    /// Of dropped packets only what costs nothing is logged (settable).
    DropLogMinimum,
    /// The only drop reason that is logged, by its number; [`VrouterValue::EVERY_REASON`] for all (settable).
    DropLogReason,
    /// A flow ends with any RST.
    CloseOnReset,
    /// What is logged: 1 emergency to 8 debug (settable).
    LogLevel,
    /// What is logged in detail: the bits of [`VrouterValue::LOG_TYPES`] (settable).
    LogTypes,
}

impl VrouterValue {
    /// Names of the bits of [`VrouterValue::LogTypes`], the lowest first.
    pub const LOG_TYPES: [&'static str; 4] = ["vrouter", "usock", "uvhost", "dpcore"];
    /// Names of the values of [`VrouterValue::LogLevel`], from 1.
    pub const LOG_LEVELS: [&'static str; 8] =
        ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];
    /// [`VrouterValue::DropLogReason`] for all reasons: `VP_DROP_MAX`. (The original's 55 is a reason of our own.)
    pub const EVERY_REASON: u32 = 255;
}

/// Text that the dataplane composes about itself (reference cli.md section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Description {
    /// What was built, and the kernel below.
    Version,
    /// The same as the dpdk platform shows it.
    EngineVersion,
    /// Which worker serves which queue of which interface.
    Lcores,
    /// Counters of the uplinks.
    EthernetStatistics,
}

/// How many objects are alive (reference cli.md section 13).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// Objects made; of a dataplane that does not count those, the ones alive.
    pub allocated: u64,
    /// Objects freed; 0 where they are not counted.
    pub freed: u64,
    /// Alive, by the kind's name as `vrmemstats` prints it; those that are missing are 0.
    pub objects: Vec<(String, u64)>,
}

impl MemoryStats {
    /// How many of a kind are alive.
    pub fn count(&self, kind: &str) -> u64 {
        self.objects.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count)
    }
}
