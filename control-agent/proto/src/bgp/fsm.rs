//! A peer as a machine (RFC 4271 section 8): `(state, event, now) → (state, actions)`.
//!
//! The caller owns sockets and clock. It names each connection, hands in what happens to it, performs the actions in
//! their order, and calls with [`Event::Timer`] when [`Fsm::deadline`] has come.
//!
//! Several connections may live at once: our call and the peer's cross, or the peer has restarted and calls while its
//! former connection still looks alive. At most one is Established. Which survives:
//!
//! | other is | this one's OPEN arrives | survivor |
//! |---|---|---|
//! | OpenSent | – | both, until the other's OPEN arrives |
//! | OpenConfirm | other way | the one called by the speaker with the higher identifier (section 6.8) |
//! | OpenConfirm | same way | this one |
//! | Established | with R set, and the other is older than a few seconds | this one (RFC 4724 section 5) |
//! | Established | else | the other |

use std::time::Duration;

use crate::Time;

use super::connection::{Connection, Phase};
use super::encode::{AsWidth, Sender};
use super::event::{
    Action, ConnectionId, Dialing, Event, Negotiated, Report, Settings, StopReason, Way,
};
use super::family::Family;
use super::graceful::{Effect, Helper};
use super::message::{Message, MessageError, Notification, RouteRefresh, keepalive, take_message};
use super::open::{GracefulRestart, Open};
use super::route::Relation;
use super::update::{UpdateContext, decode_update};

/// First pause before calling again; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(4);
/// An Established connection younger than this is no leftover of a peer that restarted.
const LEFTOVER_AGE: Duration = Duration::from_secs(5);
/// Connections of one peer at once; more is an attack or a fault.
const MAX_CONNECTIONS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Not calling: passive, stopped, or a connection stands.
    None,
    /// Calling when this has come.
    At(Time),
    /// Waiting for the answer.
    Placed,
}

/// One peer.
#[derive(Debug)]
pub struct Fsm {
    settings: Settings,
    restarting: bool,
    running: bool,
    call: Call,
    pause: Duration,
    connections: Vec<Connection>,
    session: Option<(ConnectionId, Negotiated)>,
    helper: Helper,
}

impl Fsm {
    /// A peer that has not been started.
    pub fn new(settings: Settings) -> Fsm {
        Fsm {
            settings,
            restarting: false,
            running: false,
            call: Call::None,
            pause: FIRST_PAUSE,
            connections: Vec::new(),
            session: None,
            helper: Helper::default(),
        }
    }

    /// What is configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// OPENs to come have R set: we have restarted.
    pub fn restarted(&mut self) {
        self.restarting = true;
    }

    /// OPENs to come have R clear: we know all routes again.
    pub fn converged(&mut self) {
        self.restarting = false;
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<(ConnectionId, &Negotiated)> {
        self.session.as_ref().map(|(id, negotiated)| (*id, negotiated))
    }

    /// When [`Event::Timer`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let call = match self.call {
            Call::At(time) => Some(time),
            Call::None | Call::Placed => None,
        };
        self.connections
            .iter()
            .flat_map(|connection| [connection.hold, connection.keepalive])
            .chain([call, self.helper.deadline()])
            .flatten()
            .min()
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event<'_>, now: Time) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Start => {
                self.running = true;
                self.pause = FIRST_PAUSE;
                self.plan_call(now);
            }
            Event::Stop(reason) => self.stop(reason, now, &mut out),
            Event::Connected(id, way) => self.connected(id, way, now, &mut out),
            Event::DialFailed => {
                if self.call == Call::Placed {
                    self.call = Call::None;
                    self.call_later(now);
                }
            }
            Event::Received(id, bytes) => self.received(id, bytes, now, &mut out),
            Event::Closed(id) => {
                if self.forget(id).is_some() {
                    out.push(Action::Report(Report::Closed));
                    self.ended(id, EndedBy::Silence, now, &mut out);
                }
            }
            Event::Timer => self.timer(now, &mut out),
        }
        out
    }

    /// Takes other settings. Where they show in OPEN, the session ends without a word, as with a restart, and comes back
    /// at once: either side keeps the other's routes meanwhile, if it promised to. For another AS make another machine.
    pub fn reconfigure(&mut self, settings: Settings, now: Time) -> Vec<Action> {
        let mut out = Vec::new();
        let mut as_before = settings.clone();
        as_before.dialing = self.settings.dialing;
        let reopen = as_before != self.settings;
        self.settings = settings;
        if reopen {
            for connection in std::mem::take(&mut self.connections) {
                out.push(Action::Close(connection.id));
            }
            if let Some((_, negotiated)) = self.session.take() {
                out.push(Action::Down);
                let promise = negotiated.peer.graceful_restart.as_ref();
                let effects = self.helper.session_down(&negotiated.families, promise, now);
                push_effects(effects, &mut out);
            }
            self.pause = FIRST_PAUSE;
        }
        if self.settings.dialing == Dialing::Passive && matches!(self.call, Call::At(_)) {
            self.call = Call::None;
        }
        self.plan_call(now);
        out
    }

    fn stop(&mut self, reason: StopReason, now: Time, out: &mut Vec<Action>) {
        self.running = false;
        self.call = Call::None;
        let hard =
            self.session.as_ref().is_some_and(|(_, negotiated)| self.both_notify(negotiated));
        for connection in std::mem::take(&mut self.connections) {
            if reason == StopReason::Deconfigured {
                let last = if hard { Notification::HARD_RESET } else { Notification::DECONFIGURED };
                out.push(Action::Send(connection.id, last.encode()));
            }
            out.push(Action::Close(connection.id));
        }
        if self.session.take().is_some() {
            out.push(Action::Down);
        }
        if reason == StopReason::Deconfigured {
            let effects = self.helper.session_down(&self.settings.families, None, now);
            push_effects(effects, out);
        }
    }

    fn connected(&mut self, id: ConnectionId, way: Way, now: Time, out: &mut Vec<Action>) {
        if way == Way::Out {
            self.call = Call::None;
        }
        if !self.running || self.connections.len() >= MAX_CONNECTIONS {
            out.push(Action::Close(id));
            return;
        }
        self.connections.push(Connection::new(id, way, now));
        out.push(Action::Send(id, self.our_open().encode()));
    }

    fn our_open(&self) -> Open {
        Open {
            as_number: self.settings.local_as,
            hold_time: self.settings.hold_time,
            router_id: self.settings.router_id,
            families: self.settings.families.clone(),
            four_octet_as: true,
            route_refresh: true,
            extended_next_hop: self.settings.families.contains(&Family::Vpn4),
            graceful_restart: Some(GracefulRestart {
                restarting: self.restarting,
                notification: true,
                time: self.settings.restart_time,
                // The dataplane outlives the agent, so forwarding always went on.
                families: self.settings.families.iter().map(|family| (*family, true)).collect(),
            }),
            odd_as_field: None,
        }
    }

    fn received(&mut self, id: ConnectionId, bytes: &[u8], now: Time, out: &mut Vec<Action>) {
        let Some(connection) = self.connection(id) else { return };
        connection.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut connection.inbox);
        let mut rest = inbox.as_slice();
        loop {
            let taken = match take_message(rest) {
                Ok(Some((message, length))) => {
                    rest = rest.get(length..).unwrap_or_default();
                    self.message(id, message, now, out)
                }
                Ok(None) => break,
                Err(error) => Err(error.into()),
            };
            if let Err(end) = taken {
                self.end(id, end, now, out);
            }
            // The message may have ended its own connection.
            if self.connection(id).is_none() {
                return;
            }
        }
        if let Some(connection) = self.connection(id) {
            connection.inbox = rest.to_vec();
        }
    }

    fn message(
        &mut self,
        id: ConnectionId,
        message: Message<'_>,
        now: Time,
        out: &mut Vec<Action>,
    ) -> Result<(), End> {
        let Some(connection) = self.connection(id) else { return Ok(()) };
        if connection.phase != Phase::OpenSent {
            connection.heard(now);
        }
        match (message, &connection.phase) {
            (Message::Notification(notification), _) => Err(End::Peer(notification)),
            (Message::Open(open), Phase::OpenSent) => self.open(id, open, now, out),
            (Message::KeepAlive, Phase::OpenConfirm(_)) => {
                self.established(id, now, out);
                Ok(())
            }
            (Message::KeepAlive, Phase::Established { .. }) => Ok(()),
            (Message::Update(body), Phase::Established { .. }) => self.update(body, out),
            (Message::RouteRefresh(refresh), Phase::Established { .. }) => {
                if let RouteRefresh::Ours(family) = refresh {
                    out.push(Action::Refresh(family));
                }
                Ok(())
            }
            (_, phase) => {
                let (subcode, when) = match phase {
                    Phase::OpenSent => (1, "OpenSent"),
                    Phase::OpenConfirm(_) => (2, "OpenConfirm"),
                    Phase::Established { .. } => (3, "Established"),
                };
                let why = format!("unexpected message in state {when}");
                Err(End::Us(Notification::new(5, subcode), why))
            }
        }
    }

    fn open(
        &mut self,
        id: ConnectionId,
        open: Open,
        now: Time,
        out: &mut Vec<Action>,
    ) -> Result<(), End> {
        self.check_open(&open)?;
        if let Some(field) = open.odd_as_field {
            out.push(Action::Report(Report::OddAsField(field)));
        }
        let others: Vec<ConnectionId> =
            self.connections.iter().map(|c| c.id).filter(|other| *other != id).collect();
        for other in others {
            match self.collide(id, other, &open, now) {
                None => {}
                Some(loser) if loser == id => return Err(End::collision()),
                Some(loser) => self.end(loser, End::Leftover, now, out),
            }
        }
        let hold_time = open.hold_time.min(self.settings.hold_time);
        if let Some(connection) = self.connection(id) {
            connection.phase = Phase::OpenConfirm(open);
            connection.agree_on_hold_time(hold_time, now);
            out.push(Action::Send(id, keepalive()));
        }
        Ok(())
    }

    fn check_open(&self, open: &Open) -> Result<(), End> {
        let refuse = |subcode, why| Err(End::Us(Notification::new(2, subcode), why));
        if open.as_number != self.settings.peer_as {
            let why = format!("AS {}, configured {}", open.as_number, self.settings.peer_as);
            return refuse(2, why);
        }
        if open.router_id == self.settings.router_id && open.as_number == self.settings.local_as {
            return refuse(3, format!("the peer has our own identifier {}", open.router_id));
        }
        if !open.families.iter().any(|family| self.settings.families.contains(family)) {
            return refuse(7, "no address family in common".to_owned());
        }
        Ok(())
    }

    /// Which of two connections has to go now that `open` arrived on `this`; see the table above.
    fn collide(
        &self,
        this: ConnectionId,
        other: ConnectionId,
        open: &Open,
        now: Time,
    ) -> Option<ConnectionId> {
        let way = |id| self.connections.iter().find(|c| c.id == id).map(|c| c.way);
        let connection = self.connections.iter().find(|c| c.id == other)?;
        match &connection.phase {
            Phase::OpenSent => None,
            Phase::Established { since } => {
                let restarted = open.graceful_restart.as_ref().is_some_and(|gr| gr.restarting);
                let leftover = restarted && now.since(*since) >= LEFTOVER_AGE;
                Some(if leftover { other } else { this })
            }
            Phase::OpenConfirm(_) => {
                let survivor = if (self.settings.router_id, self.settings.local_as)
                    > (open.router_id, open.as_number)
                {
                    Way::Out
                } else {
                    Way::In
                };
                let this_stays = way(this) == Some(survivor) || way(this) == way(other);
                Some(if this_stays { other } else { this })
            }
        }
    }

    fn established(&mut self, id: ConnectionId, now: Time, out: &mut Vec<Action>) {
        let Some(connection) = self.connection(id) else { return };
        let phase = std::mem::replace(&mut connection.phase, Phase::Established { since: now });
        let Phase::OpenConfirm(open) = phase else { return };
        let others: Vec<ConnectionId> =
            self.connections.iter().map(|c| c.id).filter(|other| *other != id).collect();
        for other in others {
            self.end(other, End::collision(), now, out);
        }
        let negotiated = self.negotiate(open);
        self.pause = FIRST_PAUSE;
        let effects = self.helper.session_up(negotiated.peer.graceful_restart.as_ref(), now);
        self.session = Some((id, negotiated.clone()));
        out.push(Action::Up(id, Box::new(negotiated)));
        push_effects(effects, out);
    }

    fn negotiate(&self, peer: Open) -> Negotiated {
        let families: Vec<Family> =
            self.settings.families.iter().filter(|f| peer.families.contains(f)).copied().collect();
        let as_width = if peer.four_octet_as { AsWidth::Four } else { AsWidth::Two };
        let relation = if peer.as_number == self.settings.local_as {
            Relation::Internal
        } else {
            Relation::External
        };
        Negotiated {
            sender: Sender {
                local_as: self.settings.local_as,
                relation,
                as_width,
                extended_next_hop: peer.extended_next_hop,
            },
            context: UpdateContext {
                local_as: self.settings.local_as,
                router_id: self.settings.router_id,
                families: families.clone(),
                as_width,
                relation,
            },
            families,
            peer,
        }
    }

    fn update(&mut self, body: &[u8], out: &mut Vec<Action>) -> Result<(), End> {
        let Some((_, negotiated)) = &self.session else { return Ok(()) };
        let relation = negotiated.context.relation;
        let update = decode_update(body, &negotiated.context)?;
        let reports = update.problems.iter().cloned().map(Report::Update).map(Action::Report);
        out.extend(reports);
        let swept = update.end_of_rib.and_then(|family| self.helper.end_of_rib(family));
        out.push(Action::Routes(update, relation));
        push_effects(swept, out);
        Ok(())
    }

    /// Ends a connection from our side.
    fn end(&mut self, id: ConnectionId, end: End, now: Time, out: &mut Vec<Action>) {
        if self.forget(id).is_none() {
            return;
        }
        let by = match end {
            End::Us(notification, why) => {
                out.push(Action::Send(id, notification.encode()));
                out.push(Action::Report(Report::Sent(notification, why)));
                EndedBy::Notification
            }
            End::Peer(notification) => {
                let hard = notification.is_hard_reset();
                out.push(Action::Report(Report::Received(notification)));
                if hard { EndedBy::HardReset } else { EndedBy::Notification }
            }
            End::Leftover => EndedBy::Silence,
        };
        out.push(Action::Close(id));
        self.ended(id, by, now, out);
    }

    /// A connection is gone: the session with it, if it was its own.
    fn ended(&mut self, id: ConnectionId, by: EndedBy, now: Time, out: &mut Vec<Action>) {
        if self.session.as_ref().is_some_and(|(session, _)| *session == id)
            && let Some((_, negotiated)) = self.session.take()
        {
            out.push(Action::Down);
            let graceful = match by {
                EndedBy::Silence => true,
                EndedBy::Notification => self.both_notify(&negotiated),
                EndedBy::HardReset => false,
            };
            let promise = negotiated.peer.graceful_restart.as_ref().filter(|_| graceful);
            let effects = self.helper.session_down(&negotiated.families, promise, now);
            push_effects(effects, out);
        }
        if self.connections.is_empty() {
            self.call_later(now);
        }
    }

    /// RFC 8538: both set N, so a NOTIFICATION does not end graceful restart. We always set it.
    fn both_notify(&self, negotiated: &Negotiated) -> bool {
        negotiated.peer.graceful_restart.as_ref().is_some_and(|gr| gr.notification)
    }

    fn timer(&mut self, now: Time, out: &mut Vec<Action>) {
        let due = |time: Option<Time>| time.is_some_and(|time| time <= now);
        let dead: Vec<ConnectionId> =
            self.connections.iter().filter(|c| due(c.hold)).map(|c| c.id).collect();
        for id in dead {
            let why = "nothing heard from the peer".to_owned();
            self.end(id, End::Us(Notification::HOLD_TIMER, why), now, out);
        }
        for connection in self.connections.iter_mut().filter(|c| due(c.keepalive)) {
            out.push(Action::Send(connection.id, keepalive()));
            connection.keepalive_sent(now);
        }
        if matches!(self.call, Call::At(time) if time <= now) {
            // The peer may have called meanwhile; a second connection would only collide.
            let quiet = self.connections.is_empty();
            self.call = if quiet { Call::Placed } else { Call::None };
            out.extend(quiet.then_some(Action::Dial));
        }
        let effects = self.helper.timer(now);
        push_effects(effects, out);
    }

    fn plan_call(&mut self, at: Time) {
        let quiet = self.connections.is_empty() && self.call == Call::None;
        if self.running && quiet && self.settings.dialing == Dialing::Active {
            self.call = Call::At(at);
        }
    }

    fn call_later(&mut self, now: Time) {
        self.plan_call(now + self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    fn forget(&mut self, id: ConnectionId) -> Option<Connection> {
        let index = self.connections.iter().position(|connection| connection.id == id)?;
        Some(self.connections.swap_remove(index))
    }
}

/// How a connection ends.
enum End {
    /// We say why.
    Us(Notification, String),
    /// The peer said why.
    Peer(Notification),
    /// It is what a peer left behind when it restarted: RFC 4724 section 5 asks to close it without a word.
    Leftover,
}

impl End {
    fn collision() -> End {
        End::Us(Notification::COLLISION, "two connections crossed".to_owned())
    }
}

impl From<MessageError> for End {
    fn from(error: MessageError) -> End {
        End::Us(error.notification(), error.to_string())
    }
}

/// What the end means for graceful restart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndedBy {
    Silence,
    Notification,
    HardReset,
}

fn push_effects(effects: impl IntoIterator<Item = Effect>, out: &mut Vec<Action>) {
    out.extend(effects.into_iter().map(|effect| match effect {
        Effect::Stale(family) => Action::Stale(family),
        Effect::Sweep(family) => Action::Sweep(family),
        Effect::Flush(family) => Action::Flush(family),
    }));
}
