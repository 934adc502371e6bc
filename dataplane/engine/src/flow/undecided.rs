//! Flows that an agent decides about: told of on pkt0, held until its verdict (reference dataplane.md sections 14.4, 14.5).

use tables::flow::{Count, FlowFlags, FlowId, HoldRefused};
use tables::{DropReason, Fib, Judge, VifId};

use super::{FlowTable, Moment};
use crate::graph::{Cx, Next};
use crate::packet::{Packet, Trap};

/// Packets of a flow that wait at most.
pub(crate) const HELD_PACKETS: usize = 3;
/// Packets of all flows that wait on a worker at most.
pub(crate) const WAITING: usize = 1024;
/// Seconds an agent has for its verdict.
pub(crate) const PATIENCE: u32 = 5;
/// The same in nanoseconds, for packets.
pub(crate) const TIMEOUT: u64 = PATIENCE as u64 * 1_000_000_000;

/// What a packet waits for: a flow, and not the next one that its slot is used for.
pub(crate) type Awaited = (FlowId, u8);

impl FlowTable {
    /// What packets of a flow wait for, and its hash.
    pub(crate) fn waits_for(&self, id: FlowId) -> (Awaited, u32) {
        let generation = self.flow(id).map_or(0, |flow| flow.state().generation());
        ((id, generation), id.index())
    }
}

/// Whether an agent decides about a session between these interfaces.
pub(crate) fn is_agents(fib: &Fib, ends: (Option<VifId>, Option<VifId>)) -> bool {
    let asks = |id: VifId| {
        let settings = fib.vif(id).and_then(|vif| vif.flow.as_deref());
        settings.is_some_and(|settings| settings.policy.judge == Judge::Agent)
    };
    [ends.0, ends.1].into_iter().flatten().any(asks)
}

/// Lets one more flow wait, charged to an interface.
///
/// # Errors
/// `TrapNoIf` without an agent, `FlowUnusable` where as many wait as the node may have, `NewFlows` where as many as the
/// interface may.
pub(crate) fn admit(
    fib: &Fib,
    table: &FlowTable,
    vif: VifId,
    now: Moment,
) -> Result<(), DropReason> {
    if fib.agent().is_none() {
        return Err(DropReason::TrapNoIf);
    }
    table.sessions.undecided().admit(vif, now.0).map_err(|refused| {
        table.sessions.note(table.worker.0, Count::Refused);
        match refused {
            HoldRefused::Node => DropReason::FlowUnusable,
            HoldRefused::Vif => DropReason::NewFlows,
        }
    })
}

/// A packet of a flow that is held: it waits, and the agent is told of the first, and of one a second later, since what
/// it is told may be lost.
#[cold]
pub(crate) fn wait(cx: &mut Cx<'_>, packet: &mut Packet<'_>, id: FlowId) -> Next {
    packet.meta.flow = Some(id);
    let flow = cx.flows.as_deref().and_then(|table| table.flow(id));
    let Some(flow) = flow else { return Next::Drop(DropReason::FlowUnusable) };
    let now = Moment::of(cx.now);
    let again = now.since(flow.seen()) >= Moment::seconds(1);
    if !flow.state().flags().contains(FlowFlags::NEW) && !again {
        return Next::Undecided;
    }
    flow.clear(FlowFlags::NEW);
    flow.touch(now.0);
    if cx.trap_copy(packet, Trap::Flow) {
        return Next::Undecided;
    }
    // There is no frame for a copy: the agent gets the packet itself.
    packet.punt(Trap::Flow)
}

/// The agent could not be told of a flow: the next packet is its first.
#[cold]
pub(crate) fn untold(cx: &Cx<'_>, id: Option<FlowId>) {
    if let Some(flow) = id.and_then(|id| cx.flows.as_deref()?.flow(id)) {
        flow.set(FlowFlags::NEW);
    }
}
