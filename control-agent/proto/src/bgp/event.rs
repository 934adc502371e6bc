//! The vocabulary of a peer's machine: what happens to it, and what it asks for.

use std::fmt;
use std::net::Ipv4Addr;

use super::encode::Sender;
use super::family::Family;
use super::message::Notification;
use super::open::Open;
use super::route::{Problem, Relation, RouteUpdate};
use super::update::UpdateContext;

/// The caller's name for a connection; never used twice for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// We did.
    Out,
    /// The peer did.
    In,
}

/// Whether we call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialing {
    /// We call, and take calls.
    Active,
    /// We only take calls.
    Passive,
}

/// What is configured for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our AS.
    pub local_as: u32,
    /// Our identifier.
    pub router_id: Ipv4Addr,
    /// The peer's AS.
    pub peer_as: u32,
    /// Seconds offered; 0 or from 3.
    pub hold_time: u16,
    /// Families offered.
    pub families: Vec<Family>,
    /// Whether we call.
    pub dialing: Dialing,
    /// Seconds the peer should keep our routes when we are gone; 0 to 4095.
    pub restart_time: u16,
}

/// Why a peer is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It is not configured any more: told so, its routes flushed.
    Deconfigured,
    /// We end and come back: connections close without a word, so that the peer keeps our routes.
    Restart,
}

/// What happens to a peer.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Begin.
    Start,
    /// End.
    Stop(StopReason),
    /// A connection stands.
    Connected(ConnectionId, Way),
    /// The call asked for by [`Action::Dial`] failed.
    DialFailed,
    /// Bytes came in.
    Received(ConnectionId, &'a [u8]),
    /// The other side closed, or the connection broke.
    Closed(ConnectionId),
    /// A deadline may have come.
    Timer,
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The families both speak.
    pub families: Vec<Family>,
    /// How to write to this peer.
    pub sender: Sender,
    /// What the peer said of itself.
    pub peer: Open,
    pub(crate) context: UpdateContext,
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Call the peer.
    Dial,
    /// Send bytes.
    Send(ConnectionId, Vec<u8>),
    /// Close, after what was sent is out.
    Close(ConnectionId),
    /// The session is up on this connection: tell it our routes.
    Up(ConnectionId, Box<Negotiated>),
    /// The session is down.
    Down,
    /// Routes came in, from a peer that is there.
    Routes(RouteUpdate, Relation),
    /// The peer wants a family again.
    Refresh(Family),
    /// The peer's routes of this family are stale.
    Stale(Family),
    /// The peer's stale routes of this family go.
    Sweep(Family),
    /// All of the peer's routes of this family go.
    Flush(Family),
    /// For the log.
    Report(Report),
}

/// Something an operator wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// We ended a connection.
    Sent(Notification, String),
    /// The peer ended a connection.
    Received(Notification),
    /// The peer closed without a word.
    Closed,
    /// An UPDATE was not in order, but the session goes on.
    Update(Problem),
    /// The AS field of OPEN contradicts the capability.
    OddAsField(u16),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Sent(notification, why) => write!(f, "closed with {notification}: {why}"),
            Report::Received(notification) => write!(f, "peer closed with {notification}"),
            Report::Closed => write!(f, "peer closed the connection"),
            Report::Update(problem) => write!(f, "UPDATE: {problem}"),
            Report::OddAsField(field) => {
                write!(f, "OPEN has {field} in its AS field, the capability counts")
            }
        }
    }
}
