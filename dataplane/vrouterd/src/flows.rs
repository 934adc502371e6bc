//! Flows as they are shown and changed by hand: the slab as rows. Reading it disturbs nobody.

use std::net::Ipv4Addr;
use std::sync::Arc;

use api::{
    ApiError, Core, Cursor, ErrorCode, FlowAction, FlowChange, FlowHandle, FlowInfo, FlowTableInfo,
    FlowVerdict, Page, Rows,
};
use engine::{FlowLimits, Tick, WorkerId, flow_seconds};
use tables::MirrorId;
use tables::flow::{
    Action, Decision, Flow, FlowFlags, FlowId, FreeSlots, HoldLimits, Made, NatFlags, Session,
    SessionFlags, Sessions, State, TcpFlags, Undecidable,
};

use crate::verdicts;

/// Rows on a page.
const PAGE: usize = 1024;
/// Who ends sessions by hand, in their counts.
const BY_HAND: u8 = 0;

/// See the module.
pub(crate) struct Flows {
    sessions: Arc<Sessions>,
    workers: usize,
    limits: FlowLimits,
    /// For sessions that are made here.
    slots: FreeSlots,
    /// The worker that the last of them was given to.
    next: usize,
}

impl Flows {
    pub(crate) fn new(sessions: Arc<Sessions>, workers: usize, limits: FlowLimits) -> Flows {
        Flows { sessions, workers, limits, slots: FreeSlots::default(), next: 0 }
    }

    /// The sessions, and what the workers were told of how many an interface may have.
    pub(crate) fn shared(&self) -> (Arc<Sessions>, FlowLimits) {
        (Arc::clone(&self.sessions), self.limits)
    }

    /// A page of the living flows.
    pub(crate) fn page(&self, after: Option<Cursor>, now: Tick, generation: u64) -> Page {
        let from = match after {
            Some(Cursor::Index(index)) => index.saturating_add(1),
            _ => 0,
        };
        let mut rows: Vec<FlowInfo> = (from..self.entries())
            .filter_map(|index| self.row(index, now))
            .take(PAGE + 1)
            .collect();
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let next = rows.last().filter(|_| more).map(|row| Cursor::Index(row.index));
        Page { rows: Rows::Flow(rows), next, generation }
    }

    /// One flow.
    ///
    /// # Errors
    /// The index lies beyond the table, or there is no flow.
    pub(crate) fn get(&self, index: u32, now: Tick, generation: u64) -> Result<Page, ApiError> {
        self.within(index)?;
        let row = self.row(index, now).ok_or_else(|| missing(index))?;
        Ok(Page { rows: Rows::Flow(vec![row]), next: None, generation })
    }

    /// The table as a whole.
    pub(crate) fn table(&self) -> FlowTableInfo {
        let counts: Vec<_> = (0..self.workers).map(|worker| self.sessions.counts(worker)).collect();
        let sum = |of: fn(&tables::flow::FlowCounts) -> u64| counts.iter().map(of).sum();
        FlowTableInfo {
            entries: self.entries(),
            used: self.sessions.flows() as u64,
            created: sum(|counts| counts.created),
            added: sum(|counts| counts.created),
            deleted: sum(|counts| counts.ended),
            changed: sum(|counts| counts.judged_again),
            processed: sum(|counts| counts.created),
            created_by_core: counts.iter().map(|counts| counts.created).collect(),
            refused: sum(|counts| counts.refused),
            handed_over: sum(|counts| counts.handed_over),
            moved: sum(|counts| counts.moved),
            held: self.sessions.undecided().flows().into(),
            burst_tokens: self.sessions.undecided().tokens(),
            ..FlowTableInfo::default()
        }
    }

    /// Changes a flow by hand.
    ///
    /// # Errors
    /// The index lies beyond the table, or there is no flow; for [`FlowChange::Evict`] also: TCP has not closed it.
    pub(crate) fn set(
        &self,
        index: u32,
        change: FlowChange,
        mirror: Option<MirrorId>,
    ) -> Result<Changed, ApiError> {
        self.within(index)?;
        let id = FlowId::new(index).ok_or_else(|| missing(index))?;
        let flow = self.living(id).ok_or_else(|| missing(index))?;
        let is_held = flow.state().flags().contains(FlowFlags::HELD);
        match change {
            FlowChange::Forward if is_held => {
                let forward = Action::Forward { answers: None, behind: None };
                return self.decide_by_hand(id, forward, mirror);
            }
            FlowChange::Drop if is_held => {
                return self.decide_by_hand(id, Action::Drop(0), mirror);
            }
            FlowChange::Forward => {
                flow.clear(FlowFlags::DENIED);
                self.sessions.set_mirrors(id, [mirror, None]);
            }
            FlowChange::Drop => {
                flow.set(FlowFlags::DENIED);
                self.sessions.set_mirrors(id, [mirror, None]);
            }
            FlowChange::Delete => self.end(id),
            FlowChange::Evict if flow.tcp().contains(TcpFlags::DEAD) => self.end(id),
            FlowChange::Evict => {
                let why = "is no TCP flow that both sides have closed";
                return Err(ApiError::new(ErrorCode::Invalid, format!("flow {index}"), why));
            }
        }
        Ok(Changed::Decided)
    }

    fn decide_by_hand(
        &self,
        id: FlowId,
        action: Action,
        mirror: Option<MirrorId>,
    ) -> Result<Changed, ApiError> {
        let decision = Decision { action, mirrors: [mirror, None], ecmp: None };
        self.sessions.decide(id, &decision).map_err(|why| refusal(id, why))?;
        Ok(Changed::Decided)
    }

    /// Carries out an agent's verdict, which says `decision`.
    ///
    /// # Errors
    /// See [`api::Request::FlowVerdict`].
    pub(crate) fn decide(
        &self,
        verdict: &FlowVerdict,
        decision: &Decision,
    ) -> Result<Changed, ApiError> {
        let object = format!("flow {}", verdict.index);
        self.within(verdict.index)?;
        let id = FlowId::new(verdict.index).ok_or_else(|| missing(verdict.index))?;
        let flow = self.sessions.flow(id).ok_or_else(|| missing(verdict.index))?;
        let state = flow.state();
        if !state.flags().contains(FlowFlags::ALIVE) {
            return Err(missing(verdict.index));
        }
        if state.generation() != verdict.generation {
            let what = format!("is {}, not {}", state.generation(), verdict.generation);
            return Err(ApiError::new(ErrorCode::Stale, object, what).in_field("generation"));
        }
        let key = flow.key();
        if verdicts::key(&verdict.key) != Some(key) {
            let what = "is not that of the flow";
            return Err(ApiError::new(ErrorCode::Mismatch, object, what).in_field("key"));
        }
        if let Action::Forward { answers: Some(answers), .. } = decision.action
            && (answers.protocol != key.protocol
                || answers.addresses.is_ipv6() != key.addresses.is_ipv6())
        {
            let what = "are of another protocol or family than the flow";
            return Err(ApiError::new(ErrorCode::Invalid, object, what).in_field("answers"));
        }
        self.sessions.decide(id, decision).map_err(|why| refusal(id, why))?;
        Ok(Changed::of(decision.action))
    }

    /// Makes a session that no packet has asked for, for a worker that is then told of it.
    ///
    /// # Errors
    /// `Exists` and `NoMemory`, about `object`.
    pub(crate) fn make(
        &mut self,
        made: &Made,
        worker: WorkerId,
        object: &str,
    ) -> Result<FlowHandle, ApiError> {
        let refuse = |code, what: String| Err(ApiError::new(code, object.to_owned(), what));
        match self.sessions.make_for(worker.0, &mut self.slots, made) {
            Ok(id) => Ok(self.handle(id)),
            Err(Some(other)) => refuse(ErrorCode::Exists, format!("is flow {other}")),
            Err(None) => {
                refuse(ErrorCode::NoMemory, "there is no room for another session".to_owned())
            }
        }
    }

    /// Whom the next session that is made here is given to: each worker in turn.
    pub(crate) fn next_worker(&mut self) -> WorkerId {
        self.next = (self.next + 1) % self.workers.max(1);
        WorkerId(u8::try_from(self.next).unwrap_or(0))
    }

    fn handle(&self, id: FlowId) -> FlowHandle {
        let state = self.sessions.flow(id).map_or(State::NONE, |flow| flow.state());
        FlowHandle { index: id.index(), generation: state.generation() }
    }

    /// Carries out what was decided about a session that was made here; what cannot be is not there then.
    ///
    /// # Errors
    /// As [`Flows::decide`].
    pub(crate) fn decide_made(&self, id: FlowId, decision: &Decision) -> Result<Changed, ApiError> {
        self.sessions.decide(id, decision).map_err(|why| {
            self.end(id);
            refusal(id, why)
        })?;
        Ok(Changed::of(decision.action))
    }

    /// The directions of a flow's session whose packets wait, and the workers they wait at.
    pub(crate) fn held(&self, index: u32) -> Vec<(WorkerId, FlowId)> {
        let Some(id) = FlowId::new(index).filter(|_| index < self.entries()) else {
            return Vec::new();
        };
        let held = [id, id.other()].into_iter().filter_map(|id| {
            let state = self.sessions.flow(id)?.state();
            let held = FlowFlags::ALIVE.with(FlowFlags::HELD);
            state.flags().contains(held).then_some((id, state))
        });
        let workers = u8::try_from(self.workers).unwrap_or(u8::MAX);
        let at = |(id, state): (FlowId, State)| {
            // Packets of a fat flow wait wherever they came in.
            let everywhere = state.flags().contains(FlowFlags::FAT);
            let is_there = move |worker: &u8| everywhere || state.owner() == Some(*worker);
            (0..workers).filter(is_there).map(move |worker| (WorkerId(worker), id))
        };
        held.flat_map(at).collect()
    }

    /// How many flows may wait for an agent's verdict.
    pub(crate) fn limit_held(&self, limits: HoldLimits) {
        self.sessions.undecided().limit(limits);
    }

    /// Ends all flows.
    pub(crate) fn flush(&self) -> FlowTableInfo {
        let before = self.table();
        let sessions = (1..=self.sessions.slab().sessions())
            .filter_map(|number| self.sessions.slab().session_id(number));
        sessions
            .map(|id| id.forward())
            .filter(|id| self.living(*id).is_some())
            .for_each(|id| self.end(id));
        before
    }

    fn end(&self, id: FlowId) {
        if self.sessions.hold(id) {
            self.sessions.end(id, BY_HAND);
            self.sessions.let_go(id);
        }
    }

    /// Indexes there are, 0 and 1 included, which are never used.
    fn entries(&self) -> u32 {
        (self.sessions.slab().sessions() + 1) * 2
    }

    fn within(&self, index: u32) -> Result<(), ApiError> {
        if index < self.entries() {
            return Ok(());
        }
        let what = format!("flow {index}");
        Err(ApiError::new(ErrorCode::NoDevice, what, "lies beyond the table"))
    }

    fn living(&self, id: FlowId) -> Option<Flow<'_>> {
        let alive = |flow: &Flow<'_>| {
            let flags = flow.state().flags();
            flags.contains(FlowFlags::ALIVE) && !flags.contains(FlowFlags::DEAD)
        };
        self.sessions.flow(id).filter(alive)
    }

    fn row(&self, index: u32, now: Tick) -> Option<FlowInfo> {
        let id = FlowId::new(index)?;
        let (flow, session) = (self.living(id)?, self.sessions.session(id)?);
        let two_sided = !session.flags().contains(SessionFlags::ONE_SIDED);
        let key = flow.key();
        let state = flow.state();
        let (packets, bytes) = flow.counts();
        let (first, behind) = session.vrfs();
        let (vrf, destination_vrf) =
            if id.is_forward() { (first, behind) } else { (behind, first) };
        let (network_rule, group_rule) = session.rules();
        let denied = state.flags().contains(FlowFlags::DENIED);
        Some(FlowInfo {
            index,
            active: true,
            reverse: two_sided.then(|| id.other().index()),
            generation: state.generation(),
            source: key.addresses.source(),
            destination: key.addresses.destination(),
            source_port: key.source_port(),
            destination_port: key.destination_port(),
            protocol: key.protocol,
            vrf,
            destination_vrf: (destination_vrf != vrf).then_some(destination_vrf),
            key_next_hop: key.scope,
            source_next_hop: flow.source(),
            action: action(state.flags()),
            flags: flags(id, state.flags(), session, two_sided),
            flags1: 0,
            drop_reason: if denied { session.reason() } else { 0 },
            tcp_flags: flow.tcp().0,
            ecmp: state.ecmp(),
            underlay_ecmp: None,
            qos_map: None,
            packets,
            bytes,
            mirrors: session.mirrors().map(|mirror| mirror.map(|id| id.0)),
            udp_source_port: 0,
            ttl: 0,
            source_info: source_info(flow),
            overflow: Vec::new(),
            network_rule,
            group_rule,
            age: flow_seconds(now, session.created()),
            idle: flow_seconds(now, flow.seen()),
            owner: state.owner().map(|worker| Core(worker.into())),
        })
    }
}

/// What a change means for packets that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// They go on, or end.
    Decided,
    /// They wait on.
    Held,
}

impl Changed {
    fn of(action: Action) -> Changed {
        match action {
            Action::Hold => Changed::Held,
            Action::Drop(_) | Action::Forward { .. } => Changed::Decided,
        }
    }
}

fn refusal(id: FlowId, why: Undecidable) -> ApiError {
    let object = format!("flow {}", id.index());
    match why {
        Undecidable::Gone => ApiError::new(ErrorCode::Busy, object, "has ended"),
        Undecidable::Answered => {
            let what = "are others already; delete the flow to change them";
            ApiError::new(ErrorCode::Invalid, object, what).in_field("answers")
        }
        Undecidable::Exists(other) => {
            let what = other.map_or_else(
                || "are those of a flow that is ending".to_owned(),
                |other| format!("are those of flow {}", other.index()),
            );
            ApiError::new(ErrorCode::Exists, object, what).in_field("answers")
        }
    }
}

fn missing(index: u32) -> ApiError {
    ApiError::not_found(format!("flow {index}"))
}

fn action(flags: FlowFlags) -> FlowAction {
    if flags.contains(FlowFlags::DENIED) {
        FlowAction::Drop
    } else if flags.contains(FlowFlags::HELD) {
        FlowAction::Hold
    } else if flags.contains(FlowFlags::NAT) {
        FlowAction::Nat
    } else {
        FlowAction::Forward
    }
}

/// The original's bits. Of the answers' direction source and destination are the other way round.
fn flags(id: FlowId, flow: FlowFlags, session: Session<'_>, two_sided: bool) -> u16 {
    let nat = session.nat();
    let turned = [
        (NatFlags::SOURCE, FlowInfo::SNAT, FlowInfo::DNAT),
        (NatFlags::SOURCE_PORT, FlowInfo::SPAT, FlowInfo::DPAT),
        (NatFlags::DESTINATION, FlowInfo::DNAT, FlowInfo::SNAT),
        (NatFlags::DESTINATION_PORT, FlowInfo::DPAT, FlowInfo::SPAT),
    ];
    let mut bits = FlowInfo::ACTIVE;
    for (flag, forward, reverse) in turned {
        if nat.contains(flag) {
            bits |= if id.is_forward() { forward } else { reverse };
        }
    }
    let has = |flag| session.flags().contains(flag);
    let others = [
        (two_sided, FlowInfo::REVERSE_VALID),
        (flow.contains(FlowFlags::NEW), FlowInfo::NEW),
        (has(SessionFlags::BGP_SERVICE), FlowInfo::BGP_SERVICE),
        (has(SessionFlags::LINK_LOCAL), FlowInfo::LINK_LOCAL),
        (has(SessionFlags::TRANSLATED), FlowInfo::VRF_TRANSLATE),
        (session.mirrors()[0].is_some(), FlowInfo::MIRROR),
    ];
    others.iter().filter(|(is, _)| *is).fold(bits, |bits, (_, bit)| bits | bit)
}

/// Where its packets come from, as the original keeps it: the outer source, or the interface's index little-endian.
fn source_info(flow: Flow<'_>) -> Ipv4Addr {
    let (_, origin) = flow.stamp();
    let (from, to) = flow.ends();
    let is_vif = [from, to].into_iter().flatten().any(|vif| u32::from(vif.0) == origin);
    if is_vif { Ipv4Addr::from(origin.to_le_bytes()) } else { Ipv4Addr::from_bits(origin) }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tables::flow::{FlowAddresses, FlowKey, FreeSlots, NewFlow, NewSession, Quota};
    use tables::{FlowDropReason, Judgement, NhId, RuleId, Verdict, VifId, VrfId};

    use super::*;

    fn key(port: u16) -> FlowKey {
        let addresses = FlowAddresses::V4 {
            source: Ipv4Addr::new(10, 1, 1, 11),
            destination: Ipv4Addr::new(10, 1, 2, 12),
        };
        FlowKey { scope: NhId(15), protocol: 6, ports: u32::from(port) << 16 | 80, addresses }
    }

    fn begin(flows: &Flows, port: u16, denied: bool) -> FlowId {
        begin_from(flows, &mut FreeSlots::default(), port, denied)
    }

    fn begin_from(flows: &Flows, slots: &mut FreeSlots, port: u16, denied: bool) -> FlowId {
        let flags = if denied { FlowFlags::DENIED } else { FlowFlags::default() };
        let flow = |key| NewFlow { key, flags };
        let reason = if denied { FlowDropReason::Policy } else { FlowDropReason::Unknown };
        let one_sided = if denied { SessionFlags::ONE_SIDED } else { SessionFlags::default() };
        let new = NewSession {
            flows: (flow(key(port)), (!denied).then(|| flow(key(port).reversed(NhId(15))))),
            flags: one_sided,
            ends: (Some(VifId(3)), None),
            vrfs: (VrfId(2), VrfId(2)),
            judgement: Judgement {
                verdict: if denied { Verdict::Deny } else { Verdict::Pass },
                network_rule: RuleId(7),
                group_rule: RuleId::IMPLICIT_ALLOW,
                log: false,
                mirrors: [None; 2],
                reason,
            },
            now: 0,
        };
        let quota = Quota { vif: (VifId(3), None), vrf: (VrfId(2), None) };
        let id = flows.sessions.create(0, slots, &quota, &new).unwrap();
        flows.sessions.let_go(id);
        id
    }

    fn flows() -> Flows {
        Flows::new(Arc::new(Sessions::new(3000, 2, 1).unwrap()), 2, FlowLimits::default())
    }

    #[test]
    fn pages_hold_each_flow_once() {
        let flows = flows();
        let mut slots = FreeSlots::default();
        for port in 1..=1500 {
            begin_from(&flows, &mut slots, port, port % 3 == 0);
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = flows.page(after, Tick(5_000_000_000), 1);
            let Rows::Flow(rows) = page.rows else { panic!("flows") };
            seen.extend(rows.into_iter().map(|row| row.index));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 1000 * 2 + 500);
        assert!(seen.is_sorted());
    }

    #[test]
    fn rows_say_what_was_judged() {
        let flows = flows();
        let (good, bad) = (begin(&flows, 1, false), begin(&flows, 2, true));
        let row = |id: FlowId| match flows.get(id.index(), Tick(5_000_000_000), 1).unwrap().rows {
            Rows::Flow(rows) => rows[0].clone(),
            other => panic!("{other:?}"),
        };
        let (good_row, bad_row) = (row(good), row(bad));
        assert_eq!(good_row.reverse, Some(good.other().index()));
        assert_eq!(
            (good_row.action, good_row.vrf, good_row.age),
            (FlowAction::Forward, VrfId(2), 5)
        );
        assert_eq!(
            (bad_row.action, bad_row.drop_reason, bad_row.reverse),
            (FlowAction::Drop, 21, None)
        );
        assert_eq!(row(good.other()).source, IpAddr::from(Ipv4Addr::new(10, 1, 2, 12)));
        assert!(flows.get(99, Tick(0), 1).is_err() && flows.get(0, Tick(0), 1).is_err());
        assert_eq!(flows.get(6002, Tick(0), 1).unwrap_err().code, ErrorCode::NoDevice);
    }

    #[test]
    fn flows_are_changed_and_ended_by_hand() {
        let flows = flows();
        let id = begin(&flows, 1, false);
        flows.set(id.index(), FlowChange::Drop, None).unwrap();
        assert!(flows.living(id).unwrap().state().flags().contains(FlowFlags::DENIED));
        flows.set(id.index(), FlowChange::Forward, Some(MirrorId(4))).unwrap();
        let mirrored = |id: FlowId| {
            let flags = flows.sessions.flow(id).unwrap().state().flags();
            flags.contains(FlowFlags::MIRRORED)
        };
        assert!(mirrored(id) && mirrored(id.other()));
        let row = flows.row(id.index(), Tick(0)).unwrap();
        assert_eq!((row.mirrors, row.action), ([Some(4), None], FlowAction::Forward));
        flows.set(id.index(), FlowChange::Forward, None).unwrap();
        assert!(!mirrored(id), "without one there are no copies");
        assert!(flows.set(id.index(), FlowChange::Evict, None).is_err(), "not closed");
        flows.set(id.other().index(), FlowChange::Delete, None).unwrap();
        assert!(
            flows.set(id.index(), FlowChange::Delete, None).is_err(),
            "both directions are gone"
        );
        for port in 1..=5 {
            begin(&flows, port, false);
        }
        assert_eq!(flows.flush().used, 10);
        let after = flows.table();
        assert_eq!((after.used, after.created, after.deleted), (0, 6, 6));
    }
}
