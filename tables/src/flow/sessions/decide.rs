//! What an agent decides about sessions, and those that it makes.

use wire::protocol;

use super::super::entry::FlowFlags;
use super::super::key::FlowKey;
use super::super::session::{NatFlags, SessionFlags};
use super::super::slab::FlowId;
use super::{FreeSlots, NOT_JUDGED, NewFlow, NewSession, Quota, Sessions, is_there};
use crate::{MirrorId, VifId, VrfId};

/// What an agent decides about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of its packets.
    pub action: Action,
    /// Where copies of them go.
    pub mirrors: [Option<MirrorId>; 2],
    /// The position of their member in an ECMP group, where the flow has none yet.
    pub ecmp: Option<u8>,
}

/// What becomes of a session's packets by an agent's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They wait.
    Hold,
    /// They are dropped, for this: one of reference cli.md section 7.5.
    Drop(u8),
    /// They go on, translated if the answers are not simply the other way round.
    Forward {
        /// The key of the answers; `None` leaves what they are, or would be by the tables.
        answers: Option<FlowKey>,
        /// The VRF the packets are routed in; `None` leaves it.
        behind: Option<VrfId>,
    },
}

/// Why a decision is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecidable {
    /// The session has ended, or is about to (EBUSY).
    Gone,
    /// Its answers have another key, which cannot be changed (EINVAL): they are there already, or it is a fat flow.
    Answered,
    /// The key of the answers is this flow's, if that is still there (EEXIST).
    Exists(Option<FlowId>),
}

/// A session that an agent makes without a packet.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The key of its first direction.
    pub key: FlowKey,
    /// The key of its answers.
    pub answers: FlowKey,
    /// Local ends: where packets of the first direction come from and where they go.
    pub ends: (Option<VifId>, Option<VifId>),
    /// Their VRF, and that behind translation.
    pub vrfs: (VrfId, VrfId),
    /// Milliseconds.
    pub now: u32,
}

impl Sessions {
    /// Makes a session that no packet has asked for: an agent has to decide about it ([`Sessions::decide`]). This worker owns
    /// its first direction, if no packet was faster, and is to be told so: it sees to the session's end.
    ///
    /// # Errors
    /// `Err(Some)`: there is a flow of the key. `Err(None)`: no slot, or one of the keys is another session's.
    pub fn make_for(
        &self,
        worker: u8,
        slots: &mut FreeSlots,
        made: &Made,
    ) -> Result<FlowId, Option<FlowId>> {
        let charged = made.ends.0.or(made.ends.1).unwrap_or(VifId(0));
        let kind = match made.key.protocol {
            protocol::TCP => FlowFlags::TCP,
            _ => FlowFlags::default(),
        };
        let flags = kind.with(FlowFlags::HELD).with(FlowFlags::NEW);
        let new = NewSession {
            flows: (
                NewFlow { key: made.key, flags },
                Some(NewFlow { key: made.answers, flags: kind }),
            ),
            flags: SessionFlags::AGENT.with(SessionFlags::ONE_SIDED),
            ends: made.ends,
            vrfs: made.vrfs,
            judgement: NOT_JUDGED,
            now: made.now,
        };
        self.undecided.enter(charged);
        let quota = Quota { vif: (charged, None), vrf: (made.vrfs.0, None) };
        let id = self.create(worker, slots, &quota, &new)?;
        // Where a packet was faster, its worker sees to it.
        let _ = self.claim(id, &self.pack(&made.key), worker);
        self.let_go(id);
        Ok(id)
    }

    /// Makes it what an agent has decided, but for [`Sessions::settle`], which lets its packets go on: whoever owns it does
    /// that, and sends on what has waited.
    ///
    /// # Errors
    /// See [`Undecidable`]; nothing has changed then.
    pub fn decide(&self, id: FlowId, decision: &Decision) -> Result<(), Undecidable> {
        if !self.hold(id) {
            return Err(Undecidable::Gone);
        }
        let decided = self.decide_held(id, decision);
        self.let_go(id);
        decided
    }

    fn decide_held(&self, id: FlowId, decision: &Decision) -> Result<(), Undecidable> {
        let gone = Undecidable::Gone;
        let session = self.session(id).ok_or(gone)?;
        let (flow, other) = (self.flow(id).ok_or(gone)?, self.flow(id.other()).ok_or(gone)?);
        if !is_there(flow) {
            return Err(gone);
        }
        let both = [flow, other];
        let there = || both.into_iter().filter(|flow| is_there(*flow));
        let mut vrfs = session.vrfs();
        let mut reason = 0;
        let mut nat = session.flags().nat();
        match decision.action {
            Action::Hold => {
                let held = FlowFlags::HELD;
                for flow in there() {
                    if flow.gain(held) {
                        flow.set(FlowFlags::NEW);
                        self.undecided.enter(session.charged().0);
                    }
                }
            }
            Action::Drop(why) => {
                reason = why;
                there().for_each(|flow| flow.set(FlowFlags::DENIED));
            }
            Action::Forward { answers, behind } => {
                let one_sided = session.flags().contains(SessionFlags::ONE_SIDED);
                let known = (!one_sided || session.is_proposed()).then(|| other.key());
                let own = flow.key();
                let key = answers.or(known).unwrap_or_else(|| own.reversed(own.scope));
                // What others share is not translated for one.
                let fixed = !one_sided || session.flags().contains(SessionFlags::FAT);
                if fixed && known != Some(key) {
                    return Err(Undecidable::Answered);
                }
                let (first, last) = if id.is_forward() { (own, key) } else { (key, own) };
                nat = NatFlags::between(&first, &last);
                if let Some(behind) = behind {
                    vrfs = if id.is_forward() { (vrfs.0, behind) } else { (behind, vrfs.1) };
                }
                if one_sided {
                    self.answer(id, &key)?;
                }
                for flow in [flow, other] {
                    flow.clear(FlowFlags::DENIED);
                    flow.assign(FlowFlags::NAT, nat.0 != 0);
                }
                if flow.state().ecmp().is_none() {
                    flow.set_ecmp(decision.ecmp);
                }
            }
        }
        let rules = session.rules();
        session.set_judgement(vrfs, reason, decision.mirrors, rules);
        self.set_mirrors(id, decision.mirrors);
        let moves = if vrfs.0 == vrfs.1 { 0 } else { SessionFlags::TRANSLATED.0 };
        let kept = SessionFlags(0xff).with(SessionFlags::TRANSLATED);
        let set = SessionFlags(u32::from(nat.0) | moves).with(SessionFlags::DECIDED);
        session.change_flags(kept, set);
        Ok(())
    }

    /// Gives a session its other direction.
    fn answer(&self, id: FlowId, key: &FlowKey) -> Result<(), Undecidable> {
        let gone = Undecidable::Gone;
        let (flow, other) = (self.flow(id).ok_or(gone)?, self.flow(id.other()).ok_or(gone)?);
        let session = self.session(id).ok_or(gone)?;
        let (vif, vrf) = session.charged();
        let packed = self.pack(key);
        let state = flow.state();
        let kind = FlowFlags(state.flags().0 & (FlowFlags::TCP.0 | FlowFlags::FAT.0));
        let now = session.created();
        let fill = || {
            let flags = kind.with(FlowFlags::ALIVE);
            other.fill(&packed, flags, state.generation(), flow.ends(), now);
        };
        let is = |other| self.is(other, &packed);
        if !self.directory.insert(packed.hash(), id.other(), is, fill) {
            return Err(Undecidable::Exists(self.find(&packed)));
        }
        // Without limits there is nothing to refuse: the session has its place.
        self.charge(&Quota { vif: (vif, None), vrf: (vrf, None) }, 1);
        session.change_flags(SessionFlags::ONE_SIDED, SessionFlags::default());
        // It may have ended meanwhile, without this direction.
        if session.has_ended() {
            other.set(FlowFlags::DEAD);
            self.withdraw(id.other(), other);
            return Err(gone);
        }
        Ok(())
    }
}
