//! What can be asked of the dataplane and what it answers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use tables::{DropReason, Epoch, NhId, Op, VifId, VrfId};
use wire::Mac;

use crate::error::{ApiError, ErrorCode};
use crate::row::{
    BridgeInfo, Description, DropLogEntry, DropStats, Explanation, FlowChange, FlowHandle,
    FlowInfo, FlowRecord, FlowTableInfo, FlowVerdict, ForwardingClassInfo, LabelInfo, MemoryStats,
    MirrorInfo, NewFlow, NextHopInfo, PacketFilter, ProcessInfo, QosMapInfo, RouteChange,
    RouteInfo, VifInfo, VniInfo, VrfInfo, VrfStats, VrouterInfo, VrouterValue,
};

/// The versions this crate speaks.
pub const VERSIONS: VersionRange = VersionRange { min: 2, max: 2 };

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl VersionRange {
    /// The newest version in both ranges.
    ///
    /// # Errors
    /// [`ErrorCode::Version`] naming both ranges when they have none in common.
    pub fn agree(self, other: VersionRange) -> Result<u16, ApiError> {
        let newest = self.max.min(other.max);
        if newest < self.min.max(other.min) {
            let message = format!("vrouterd speaks control protocol {self}, the client {other}");
            return Err(ApiError::new(ErrorCode::Version, "hello", message));
        }
        Ok(newest)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "version {}", self.min)
        } else {
            write!(f, "versions {} to {}", self.min, self.max)
        }
    }
}

/// A worker, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Core(pub u32);

/// The first message of a client. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// What it speaks.
    pub versions: VersionRange,
    /// Who it is, for the log: as `vrouter-agent 0.1.0`.
    pub client: String,
}

/// The answer to [`ClientHello`]. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// The version both will use.
    pub version: u16,
    /// Who it is: as `vrouterd 0.1.0`.
    pub server: String,
    /// Differs for every start of the process, so that a client knows that nothing of its work is left.
    pub instance: u64,
    /// Generation of the tables.
    pub generation: u64,
}

/// Changes that are made all or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// In this order.
    pub ops: Vec<Op>,
}

/// What can be asked. New verbs are appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Agree on a version. Answer: [`Reply::Hello`].
    Hello(ClientHello),
    /// Change the model. Answer: [`Reply::Done`] with the generation that will contain it.
    Apply(Transaction),
    /// From now on remember what this client puts. Answer: [`Reply::Epoch`], the number to sweep with.
    BeginEpoch,
    /// Delete what agents own, but for what this client has put since it began this epoch, and what another client that
    /// is still connected has put in its own. Answer: [`Reply::Done`]; [`ErrorCode::Invalid`] when the epoch is not the
    /// one this client began last.
    Sweep {
        /// As [`Reply::Epoch`] gave it.
        epoch: Epoch,
    },
    /// Answer ([`Reply::Done`]) once every worker forwards by everything applied before.
    Barrier,
    /// A page of a table. Answer: [`Reply::Page`].
    Dump {
        /// Of which table.
        table: Table,
        /// What follows this; `None` starts.
        after: Option<Cursor>,
    },
    /// One row. Answer: [`Reply::Page`] with one row, or [`ErrorCode::NotFound`].
    Get(Lookup),
    /// Drop counters. Answer: [`Reply::Drops`].
    Drops {
        /// Of whom.
        scope: DropScope,
        /// Of one worker (one that does not exist has zeros); `None` is the sum.
        core: Option<Core>,
    },
    /// Set counters of interfaces to zero. Answer: [`Reply::Done`].
    ClearVifStats {
        /// Of one; `None` of all.
        vif: Option<VifId>,
        /// Of one worker; `None` of all.
        core: Option<Core>,
    },
    /// Set the drop counters to zero. Answer: [`Reply::Done`].
    ClearDrops,
    /// The process itself. Answer: [`Reply::Info`].
    Info,
    /// As [`Request::Apply`], by hand: what is put belongs to the operator, and no agent's sweep deletes it until the
    /// agent itself puts the object. Refusals are the original's (reference cli.md section 1.3): also what does not
    /// exist and cannot be missing is refused. Answer: [`Reply::Done`].
    Operate(Transaction),
    /// Limits and settings. Answer: [`Reply::Vrouter`].
    Vrouter,
    /// Change a setting. Answer: [`Reply::Done`].
    Set {
        /// Which.
        value: VrouterValue,
        /// To this.
        to: u32,
    },
    /// Objects in memory. Answer: [`Reply::Memory`].
    Memory,
    /// Empty the log of dropped packets. Answer: [`Reply::Done`].
    ClearDropLog,
    /// Text about the dataplane. Answer: [`Reply::Text`].
    Describe(Description),
    /// Changes of routes behind a place in their log; `None` starts at its end. They are kept while somebody asks at
    /// least every few seconds. Answer: [`Reply::RouteChanges`].
    RouteChanges {
        /// The place, as the last answer told it.
        after: Option<u64>,
    },
    /// The flow table as a whole. Answer: [`Reply::FlowTable`].
    FlowTable,
    /// Changes a flow by hand. Answer: [`Reply::Done`], or [`ErrorCode::NotFound`] when there is no such flow.
    SetFlow {
        /// Its index.
        index: u32,
        /// How.
        change: FlowChange,
        /// Where copies of its packets go from now on, both directions'; `None`: nowhere.
        mirror: Option<u8>,
    },
    /// Ends all flows. Answer: [`Reply::FlowTable`] as it was before.
    FlushFlows,
    /// What would become of a packet; nothing becomes of it. Answer: [`Reply::Explanation`].
    Explain {
        /// Where it would come in.
        vif: VifId,
        /// The packet from its Ethernet header on.
        packet: Vec<u8>,
    },
    /// Follow the next real packets that match. Answer: [`Reply::Explanation`], once there are so many or the time is over,
    /// or somebody else wants packets followed.
    Trace {
        /// Which.
        filter: PacketFilter,
        /// So many, [`Request::MOST_TRACED`] at most.
        count: u32,
        /// For so long at most, [`Request::LONGEST_TRACE`] at most.
        seconds: u32,
    },
    /// What sessions did behind a place in the log of that; `None` starts with the oldest there is. It is kept while somebody
    /// asks at least every minute. Answer: [`Reply::FlowRecords`].
    FlowRecords {
        /// The place, as the last answer told it.
        after: Option<u64>,
    },
    /// An agent decides about a flow. Answer: [`Reply::Done`]. Refused, with nothing changed: [`ErrorCode::NotFound`], there
    /// is no flow; [`ErrorCode::Busy`], it is about to end; [`ErrorCode::Stale`], the index is another flow's by now;
    /// [`ErrorCode::Mismatch`], its key is another; [`ErrorCode::Exists`], the answers are another flow's;
    /// [`ErrorCode::Invalid`], a field is wrong.
    FlowVerdict(FlowVerdict),
    /// An agent makes flows that no packet has asked for, [`Request::MOST_FLOWS`] at most, each by itself. Answer:
    /// [`Reply::Flows`]. Refused are, with nothing made: [`ErrorCode::Exists`], there is one of this key or of its answers';
    /// [`ErrorCode::NoMemory`], there is no room for it; [`ErrorCode::Busy`], no worker can take it now;
    /// [`ErrorCode::Invalid`], a field is wrong.
    MakeFlows(Vec<NewFlow>),
    /// An agent decides about flows, [`Request::MOST_FLOWS`] at most, about each by itself as with
    /// [`Request::FlowVerdict`]. Answer: [`Reply::Flows`].
    FlowVerdicts(Vec<FlowVerdict>),
}

impl Request {
    /// Packets that can be followed at a time.
    pub const MOST_TRACED: u32 = 256;
    /// Flows that can be made or decided about in one request.
    pub const MOST_FLOWS: usize = 64;
    /// Seconds for which packets can be followed.
    pub const LONGEST_TRACE: u32 = 3600;
}

/// A table that can be dumped; rows come in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Table {
    /// Interfaces, with the counters of one worker or the sum.
    Vif {
        /// Of one worker (one that does not exist has zeros); `None` is the sum.
        core: Option<Core>,
    },
    /// Next hops.
    NextHop,
    /// Leaves of a VRF's IPv4 table (reference cli.md section 4.4); of an unknown VRF none.
    Inet {
        /// The VRF.
        vrf: VrfId,
    },
    /// Leaves of a VRF's IPv6 table.
    Inet6 {
        /// The VRF.
        vrf: VrfId,
    },
    /// Bridge entries of a VRF.
    Bridge {
        /// The VRF.
        vrf: VrfId,
    },
    /// Incoming labels.
    Label,
    /// Incoming VNIs.
    Vni,
    /// Mirrors.
    Mirror,
    /// Forwarding classes.
    ForwardingClass,
    /// QoS maps.
    QosMap,
    /// VRFs.
    Vrf,
    /// What packets met, by VRF: those that counted something, VRF -1 last.
    VrfStats,
    /// Dropped packets that are still in the log, the oldest first, worker after worker.
    DropLog {
        /// Of one worker; `None` of all.
        core: Option<Core>,
        /// For this reason only.
        reason: Option<DropReason>,
    },
    /// Flows.
    Flow,
}

/// Where a dump goes on: the last row of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cursor {
    /// Vif, next hop, bridge slot, label, VNI or flow.
    Index(u32),
    /// A leaf of an IPv4 table: address and length.
    Inet(Ipv4Addr, u8),
    /// A leaf of an IPv6 table: address and length.
    Inet6(Ipv6Addr, u8),
    /// An entry of a worker's drop log, by its number since the start.
    Logged(Core, u64),
}

/// What one row is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    /// An interface by its index.
    Vif {
        /// The index.
        id: VifId,
        /// Counters of one worker; `None` is the sum.
        core: Option<Core>,
    },
    /// An interface by the index of its kernel device.
    VifByOsIndex {
        /// The kernel's index.
        os_index: u32,
        /// Counters of one worker; `None` is the sum.
        core: Option<Core>,
    },
    /// A next hop. An id beyond the table is [`ErrorCode::NoDevice`].
    NextHop(NhId),
    /// The longest match of an IPv4 prefix: the longest route that covers it. The row is the route, its
    /// `parent_length` 0. In a VRF without routes: the asked prefix with label 0, next hop 0, MAC zero, slot 0
    /// (reference cli.md section 4.4). Covered by no route: 0.0.0.0/0, next hop 0.
    Inet {
        /// The VRF.
        vrf: VrfId,
        /// The asked address, as given.
        address: Ipv4Addr,
        /// The asked length.
        length: u8,
    },
    /// The longest match of an IPv6 prefix.
    Inet6 {
        /// The VRF.
        vrf: VrfId,
        /// The asked address, as given.
        address: Ipv6Addr,
        /// The asked length.
        length: u8,
    },
    /// A bridge entry.
    Bridge {
        /// The VRF.
        vrf: VrfId,
        /// The station.
        mac: Mac,
    },
    /// A label. One beyond the table is [`ErrorCode::Invalid`].
    Label(u32),
    /// A VNI. One beyond 24 bits is [`ErrorCode::Invalid`].
    Vni(u32),
    /// A mirror. One beyond the table is [`ErrorCode::NoDevice`].
    Mirror(u32),
    /// A forwarding class.
    ForwardingClass(u32),
    /// A QoS map.
    QosMap(u32),
    /// A VRF. One beyond the table is [`ErrorCode::NoDevice`].
    Vrf(u32),
    /// What packets of a VRF met, also if nothing. One beyond the table is [`ErrorCode::Invalid`].
    VrfStats(u32),
    /// A flow. One beyond the table is [`ErrorCode::NoDevice`].
    Flow(u32),
}

/// Whose drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DropScope {
    /// Everybody's.
    System,
    /// An interface's.
    Vif(VifId),
    /// A VRF's.
    Vrf(VrfId),
}

/// What is answered. New answers are appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "one reply at a time is alive; a box would only cost an allocation"
)]
pub enum Reply {
    /// The version to use.
    Hello(ServerHello),
    /// It is done.
    Done {
        /// The generation that contains it.
        generation: u64,
    },
    /// It is refused, and nothing was changed.
    Error(ApiError),
    /// Rows.
    Page(Page),
    /// Drop counters.
    Drops(DropStats),
    /// The process itself.
    Info(ProcessInfo),
    /// The epoch that began.
    Epoch(Epoch),
    /// Limits and settings.
    Vrouter(VrouterInfo),
    /// Objects in memory.
    Memory(MemoryStats),
    /// Text.
    Text(String),
    /// Changes of routes.
    RouteChanges {
        /// In the order they were made.
        changes: Vec<RouteChange>,
        /// The place to go on from.
        last: u64,
    },
    /// The flow table as a whole.
    FlowTable(FlowTableInfo),
    /// What became of packets.
    Explanation(Explanation),
    /// What sessions did.
    FlowRecords {
        /// In the order it was seen.
        records: Vec<FlowRecord>,
        /// The place to go on from.
        last: u64,
        /// Whether there are more behind it by now.
        more: bool,
    },
    /// What became of each flow, in the order in which they were asked for.
    Flows(Vec<Result<FlowHandle, ApiError>>),
}

impl Reply {
    /// Its name, for messages about a reply that was not expected.
    pub const fn name(&self) -> &'static str {
        match self {
            Reply::Hello(_) => "hello",
            Reply::Done { .. } => "done",
            Reply::Error(_) => "error",
            Reply::Page(_) => "page",
            Reply::Drops(_) => "drops",
            Reply::Info(_) => "info",
            Reply::Epoch(_) => "epoch",
            Reply::Vrouter(_) => "vrouter",
            Reply::Memory(_) => "memory",
            Reply::Text(_) => "text",
            Reply::RouteChanges { .. } => "route changes",
            Reply::FlowTable(_) => "flow table",
            Reply::Explanation(_) => "explanation",
            Reply::FlowRecords { .. } => "flow records",
            Reply::Flows(_) => "flows",
        }
    }
}

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The rows.
    pub rows: Rows,
    /// Where to go on; `None` after the last.
    pub next: Option<Cursor>,
    /// Generation of the tables when the page was made.
    pub generation: u64,
}

/// Rows of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rows {
    /// Interfaces.
    Vif(Vec<VifInfo>),
    /// Next hops.
    NextHop(Vec<NextHopInfo>),
    /// Leaves or routes of either family.
    Route(Vec<RouteInfo>),
    /// Bridge entries.
    Bridge(Vec<BridgeInfo>),
    /// Labels.
    Label(Vec<LabelInfo>),
    /// VNIs.
    Vni(Vec<VniInfo>),
    /// Mirrors.
    Mirror(Vec<MirrorInfo>),
    /// Forwarding classes.
    ForwardingClass(Vec<ForwardingClassInfo>),
    /// QoS maps.
    QosMap(Vec<QosMapInfo>),
    /// VRFs.
    Vrf(Vec<VrfInfo>),
    /// What packets met, by VRF.
    VrfStats(Vec<VrfStats>),
    /// Dropped packets.
    DropLog(Vec<DropLogEntry>),
    /// Flows.
    Flow(Vec<FlowInfo>),
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Rows::Vif(rows) => rows.len(),
            Rows::NextHop(rows) => rows.len(),
            Rows::Route(rows) => rows.len(),
            Rows::Bridge(rows) => rows.len(),
            Rows::Label(rows) => rows.len(),
            Rows::Vni(rows) => rows.len(),
            Rows::Mirror(rows) => rows.len(),
            Rows::ForwardingClass(rows) => rows.len(),
            Rows::QosMap(rows) => rows.len(),
            Rows::Vrf(rows) => rows.len(),
            Rows::VrfStats(rows) => rows.len(),
            Rows::DropLog(rows) => rows.len(),
            Rows::Flow(rows) => rows.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_agreed_on() {
        let server = VersionRange { min: 2, max: 5 };
        assert_eq!(server.agree(VersionRange { min: 1, max: 3 }), Ok(3));
        assert_eq!(server.agree(VersionRange { min: 5, max: 9 }), Ok(5));
        let refusal = server.agree(VersionRange { min: 1, max: 1 }).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Version);
        assert_eq!(
            refusal.message,
            "vrouterd speaks control protocol versions 2 to 5, the client version 1"
        );
    }
}
