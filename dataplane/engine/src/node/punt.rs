//! To the agent: the frame as it came in, behind an agent header (reference dataplane.md section 19), held to the rate of
//! the interface the packet came in by, or of the VRF a tunnel brought it into.

use port::Frame;
use tables::DropReason;
use wire::{AgentHeader, Ethernet, Mac, agent_command, ethertype};

use crate::feature::tx;
use crate::flow::undecided;
use crate::graph::{Cx, End, NodeId};
use crate::packet::{Meta, Trap};
use crate::ports::Sent;
use crate::storm::Storm;
use crate::vrf_counts::VrfCount;

/// Has no state.
#[derive(Default)]
pub(crate) struct Punt;

impl End for Punt {
    const ID: NodeId = NodeId::Punt;

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        // So many flows may wait, and none is told of twice.
        if meta.trap == Trap::Flow {
            return self.tell(cx, frame, meta).inspect_err(|_| undecided::untold(cx, meta.flow));
        }
        if !admit(cx, meta) {
            return Err((frame, DropReason::StormPunt));
        }
        self.tell(cx, frame, meta)
    }
}

impl Punt {
    fn tell(
        &mut self,
        cx: &mut Cx<'_>,
        mut frame: Frame,
        meta: &Meta,
    ) -> Result<(), (Frame, DropReason)> {
        let Some(agent) = cx.fib.agent().and_then(|agent| cx.fib.vif(agent)) else {
            return Err((frame, DropReason::TrapNoIf));
        };
        if matches!(meta.trap, Trap::Diag { .. }) {
            cx.counters.met(meta.vrf, VrfCount::Diags, 1);
        }
        let header = match meta.trap {
            Trap::Flow => of_flow(cx, meta, frame.len()),
            trap => trap.header(meta),
        };
        if wrap(&mut frame, meta, agent.mac, &header).is_none() {
            return Err((frame, DropReason::Push));
        }
        let bytes = frame.len() as u64;
        match cx.ports.send(frame, agent.id, meta, cx.peers) {
            Ok(Sent::Port) => cx.counters.sent(agent.id, 1, bytes),
            // Counted by the worker that has the port.
            Ok(Sent::Peer) => {}
            // It is mirrored or monitored.
            Err((frame, _)) if cx.ports.is_indirect(agent.id) => {
                let mut meta = meta.clone();
                meta.tx_vif = agent.id;
                return tx::send(cx, frame, &meta);
            }
            Err(refused) => return Err(refused),
        }
        Ok(())
    }
}

/// What came out of tunnels is charged to its VRF, so that it leaves the uplink's bucket to the underlay.
fn admit(cx: &mut Cx<'_>, meta: &Meta) -> bool {
    let underlay = cx.fib.vif(meta.rx_vif).map(|vif| vif.vrf);
    if meta.is_from_fabric() && underlay != Some(meta.vrf) {
        cx.storms.admit_punt(meta.vrf, cx.now)
    } else {
        cx.admit(meta.rx_vif, Storm::Punt)
    }
}

/// What the agent is told of a flow that it has to decide about: index and generation, by which its verdict names it, the
/// next hop that is part of its key, and what it has carried.
fn of_flow(cx: &Cx<'_>, meta: &Meta, length: usize) -> AgentHeader {
    let table = cx.flows.as_deref();
    let flow = meta.flow.and_then(|id| table?.flow(id));
    let session = meta.flow.and_then(|id| table?.session(id));
    let decided = session.is_some_and(|session| session.is_decided());
    let command = if decided { agent_command::FLOW_ACTION_HOLD } else { agent_command::FLOW_MISS };
    let header = AgentHeader::new(meta.rx_vif.0, meta.vrf.0, command);
    let (Some(id), Some(flow)) = (meta.flow, flow) else { return header };
    let (packets, bytes) = flow.counts();
    // This one is counted when it goes on.
    let (packets, bytes) = (packets + 1, bytes + length as u64);
    header.with_flow(id.index(), flow.key().scope.0, (packets, bytes), flow.state().generation())
}

/// How much the agent gets of a packet that it needs only the headers of.
const HEADERS: usize = 190;

/// Puts Ethernet and agent header in front. `None` without room, when the frame may have changed.
fn wrap(frame: &mut Frame, meta: &Meta, agent: Mac, header: &AgentHeader) -> Option<()> {
    if meta.is_from_fabric() {
        // From the outer header on: the agent learns from it which node has sent the packet.
        frame.rewind();
    } else if meta.network == 0 {
        let ethertype = meta.protocol.ip_ethertype().unwrap_or(ethertype::IPV4);
        Ethernet::new(agent, agent, ethertype).emit(frame.push(Ethernet::LEN).ok()?)?;
    }
    if meta.trap.needs_headers_alone() || frame.is_large() && meta.trap.may_be_cut() {
        frame.trim(HEADERS);
    }
    header.emit(frame.push(AgentHeader::LEN).ok()?)?;
    Ethernet::new(agent, agent, ethertype::IPV4).emit(frame.push(Ethernet::LEN).ok()?)
}

impl Trap {
    fn needs_headers_alone(self) -> bool {
        matches!(
            self,
            Trap::HandleDf { .. } | Trap::ZeroTtl | Trap::MacLearn { .. } | Trap::MacMove { .. }
        )
    }

    fn may_be_cut(self) -> bool {
        self.needs_headers_alone() || matches!(self, Trap::NextHop | Trap::Resolve | Trap::Flow)
    }

    fn header(self, meta: &Meta) -> AgentHeader {
        /// In place of the index of a flow: there is none.
        const NO_FLOW: u32 = u32::MAX;
        let (command, param, param_1) = match self {
            Trap::Arp => (agent_command::ARP, 0, 0),
            Trap::NextHop => (agent_command::NEXTHOP, 0, 0),
            Trap::Resolve => (agent_command::RESOLVE, 0, 0),
            Trap::L3Protocols => (agent_command::L3_PROTOCOLS, 0, 0),
            Trap::Diag { vif } => (agent_command::DIAG, u32::from(vif.0), 0),
            Trap::HandleDf { mtu } => (agent_command::HANDLE_DF, u32::from(mtu), NO_FLOW),
            Trap::ZeroTtl => (agent_command::ZERO_TTL, 0, 0),
            Trap::IcmpError => (agent_command::ICMP_ERROR, 0, 0),
            Trap::TorControl => (agent_command::TOR_CONTROL_PKT, 0, 0),
            Trap::RouterAlert => (agent_command::ROUTER_ALERT, 0, 0),
            Trap::MacLearn { slot } => (agent_command::MAC_LEARN, slot.index(), 0),
            Trap::MacMove { slot } => (agent_command::MAC_MOVE, slot.index(), 0),
            Trap::MacIpLearning => (agent_command::MAC_IP_LEARNING, 0, 0),
            Trap::Bfd { state } => (agent_command::BFD, u32::from(state), 0),
            // Told by what the flow is: see `of_flow`.
            Trap::Flow => (agent_command::FLOW_MISS, NO_FLOW, 0),
        };
        AgentHeader::new(meta.rx_vif.0, meta.vrf.0, command).with_params(param, param_1)
    }
}
