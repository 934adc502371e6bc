//! The slab: sessions in one shared mapping, without pointers.
//!
//! A slot is five cache lines: for each direction one that every packet needs and one that few need, and one for both.
//! Words of a slot are named in `entry` and `session`.

use std::fmt;
use std::io;
use std::num::NonZeroU32;

use super::words::{AtomicU64, Words};

use super::entry::Flow;
use super::session::Session;

/// A session's slot, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) NonZeroU32);

impl SessionId {
    /// The direction of its first packet.
    #[inline]
    pub fn forward(self) -> FlowId {
        FlowId(NonZeroU32::MIN.saturating_add((self.0.get() << 1) - 1))
    }
}

/// A direction of a session: the flow index that tools show. 0 and 1 are none, because tools cannot name 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub(crate) NonZeroU32);

impl FlowId {
    /// The flow of an index; whether the slab is that large is not looked at.
    #[inline]
    pub fn new(index: u32) -> Option<FlowId> {
        NonZeroU32::new(index).filter(|index| index.get() > 1).map(FlowId)
    }

    /// The index.
    #[inline]
    pub const fn index(self) -> u32 {
        self.0.get()
    }

    /// The session it is a direction of.
    #[inline]
    pub fn session(self) -> SessionId {
        // Not zero: the index is 2 at least.
        SessionId(NonZeroU32::new(self.0.get() >> 1).unwrap_or(NonZeroU32::MIN))
    }

    /// Whether it is the direction of the session's first packet.
    #[inline]
    pub const fn is_forward(self) -> bool {
        self.0.get() & 1 == 0
    }

    /// The other direction.
    #[inline]
    #[must_use]
    pub fn other(self) -> FlowId {
        FlowId(NonZeroU32::new(self.0.get() ^ 1).unwrap_or(self.0))
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Words of a flow: two cache lines.
pub(crate) const FLOW: usize = 16;
/// Words of what both directions share.
pub(crate) const SHARED: usize = 8;
/// Words of a cache line.
const LINE: usize = 8;
/// Words of a slot.
pub(crate) const SLOT: usize = 2 * FLOW + SHARED;

/// All sessions. See the module.
#[derive(Debug)]
pub struct FlowSlab {
    words: Words,
    sessions: u32,
}

impl FlowSlab {
    /// Most sessions there can be: a flow index is 32 bits.
    pub const MOST: u32 = (1 << 30) - 1;
    /// Bytes of a session's slot.
    pub const SLOT_BYTES: usize = SLOT * size_of::<AtomicU64>();

    /// Room for so many sessions, at least one.
    ///
    /// # Errors
    /// What the system answers, and `InvalidInput` above [`FlowSlab::MOST`].
    pub fn new(sessions: u32) -> io::Result<FlowSlab> {
        let sessions = sessions.max(1);
        if sessions > FlowSlab::MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sessions"));
        }
        // Slot 0 is never used.
        let words = Words::shared((sessions as usize + 1) * SLOT, "vrouter-flows")?;
        words.populate();
        Ok(FlowSlab { words, sessions })
    }

    /// How many sessions there is room for.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Asks for all lines of a session's slot.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        let slot = self.words.get(number as usize * SLOT..).unwrap_or_default();
        slot.iter().take(SLOT).step_by(LINE).for_each(sys::prefetch::prefetch_read);
    }

    /// The session with this number.
    pub fn session_id(&self, number: u32) -> Option<SessionId> {
        NonZeroU32::new(number).filter(|number| number.get() <= self.sessions).map(SessionId)
    }

    /// The words of a flow; `None` when the slab is smaller.
    #[inline]
    pub fn flow(&self, id: FlowId) -> Option<Flow<'_>> {
        let session = (id.index() >> 1) as usize;
        let at = session * SLOT + (id.index() & 1) as usize * FLOW;
        self.words.get(at..)?.first_chunk().map(Flow::new)
    }

    /// The words that both directions share; `None` when the slab is smaller.
    #[inline]
    pub fn session(&self, id: SessionId) -> Option<Session<'_>> {
        let at = id.0.get() as usize * SLOT + 2 * FLOW;
        self.words.get(at..)?.first_chunk().map(Session::new)
    }
}
