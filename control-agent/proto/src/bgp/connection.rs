//! One TCP connection of a peer: what was received but not read yet, its phase and its deadlines.

use std::time::Duration;

use crate::Time;

use super::event::{ConnectionId, Way};
use super::open::Open;

/// Until OPEN has arrived there is no hold time; RFC 4271 section 8.2.2 suggests four minutes for our own calls.
const OPEN_WAIT_OUT: Duration = Duration::from_secs(240);
/// A stranger that calls and says nothing is not kept that long.
const OPEN_WAIT_IN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Our OPEN is out.
    OpenSent,
    /// The peer's OPEN was taken.
    OpenConfirm(Open),
    /// Routes may flow.
    Established { since: Time },
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) way: Way,
    pub(crate) phase: Phase,
    pub(crate) inbox: Vec<u8>,
    /// When the peer counts as dead; `None` with hold time 0.
    pub(crate) hold: Option<Time>,
    /// When the next KEEPALIVE is due.
    pub(crate) keepalive: Option<Time>,
    /// Seconds agreed on.
    hold_time: u16,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, way: Way, now: Time) -> Self {
        let wait = match way {
            Way::Out => OPEN_WAIT_OUT,
            Way::In => OPEN_WAIT_IN,
        };
        Connection {
            id,
            way,
            phase: Phase::OpenSent,
            inbox: Vec::new(),
            hold: Some(now + wait),
            keepalive: None,
            hold_time: 0,
        }
    }

    pub(crate) fn agree_on_hold_time(&mut self, seconds: u16, now: Time) {
        self.hold_time = seconds;
        self.heard(now);
        self.keepalive_sent(now);
    }

    pub(crate) fn heard(&mut self, now: Time) {
        let hold = Duration::from_secs(u64::from(self.hold_time));
        self.hold = (self.hold_time != 0).then(|| now + hold);
    }

    pub(crate) fn keepalive_sent(&mut self, now: Time) {
        let third = Duration::from_millis(u64::from(self.hold_time) * 1000 / 3);
        self.keepalive = (self.hold_time != 0).then(|| now + third);
    }
}
