//! Following packets through the graph: what was known of each behind every node, and what that means.
//!
//! | module | holds |
//! |---|---|
//! | (here) | [`Trace`]: which packets are followed, and what is written down |
//! | `explain` | a packet that nobody has sent, through the same graph over a copy of the node |
//! | `words` | what was written down, as sentences |
//!
//! A worker that is told to follow packets writes down every packet until enough have matched: what a packet is can be seen
//! by any node, so it matches by its headers in a tunnel as well as by those within. Nothing allocates meanwhile, but
//! packets take longer.

mod explain;
mod words;

use std::net::IpAddr;

use arrayvec::ArrayVec;
use port::{BURST, Frame};
use tables::flow::{FlowFlags, FlowId, FlowKey, SessionFlags};
use tables::{Generation, MirrorId, RuleId, VifId};

use crate::flow::{FlowTable, Moment};
use crate::graph::NodeId;
use crate::packet::{Addresses, Meta, Spread};
use crate::worker::Tick;

pub use explain::{ExplainError, Explanation, Original, explain};
pub use words::{Ending, Followed, Names, Step};

/// How many packets can be followed at a time.
pub const MOST_TRACED: usize = 256;
/// Steps that are written down of a packet: more than the longest way has.
const STEPS: usize = 48;
/// Bytes that are written down of a packet as it came in.
const HEADERS: usize = 128;

/// Which packets are followed: those that meet all that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Came in by it.
    pub vif: Option<VifId>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Source address, in a tunnel's header or within.
    pub source: Option<IpAddr>,
    /// Destination address, likewise.
    pub destination: Option<IpAddr>,
    /// Source port of TCP, UDP and SCTP.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
}

impl TraceFilter {
    fn meets(&self, meta: &Meta) -> bool {
        let (source, destination): (Option<IpAddr>, Option<IpAddr>) = match meta.addresses {
            Addresses::V4 { source, destination } => {
                (Some(source.into()), Some(destination.into()))
            }
            Addresses::V6 { source, destination } => {
                (Some(source.into()), Some(destination.into()))
            }
            Addresses::None | Addresses::Hashed(_) => (None, None),
        };
        let [a, b, c, d] = meta.ports.to_be_bytes();
        let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        self.protocol.is_none_or(|wanted| meta.ip_protocol == wanted && source.is_some())
            && self.source.is_none_or(|wanted| source == Some(wanted))
            && self.destination.is_none_or(|wanted| destination == Some(wanted))
            && self.source_port.is_none_or(|wanted| ports.0 == wanted)
            && self.destination_port.is_none_or(|wanted| ports.1 == wanted)
    }
}

/// A packet's session as it was when the packet had met it.
#[derive(Clone, Copy, Debug)]
struct Met {
    /// `None`: a copy of the node has it, and the node has not.
    id: Option<FlowId>,
    /// It is no older than the packet.
    young: bool,
    denied: bool,
    reason: u8,
    session: SessionFlags,
    rules: (RuleId, RuleId),
    mirrors: [Option<MirrorId>; 2],
    /// What the packet's addresses and ports become.
    becomes: Option<FlowKey>,
}

/// What was known of a packet behind a node, and where it went.
#[derive(Clone, Debug)]
struct Record {
    node: NodeId,
    to: Option<NodeId>,
    meta: Meta,
}

/// A packet's way.
#[derive(Clone, Debug)]
struct Way {
    /// The packet is on its way.
    open: bool,
    /// A node has made it.
    made: bool,
    start: Meta,
    records: ArrayVec<Record, STEPS>,
    length: usize,
    headers: ArrayVec<u8, HEADERS>,
    met: Option<Met>,
}

/// What a worker writes down of the packets it is told to follow. See the module.
pub struct Trace {
    ticket: u64,
    /// `None`: all, those made by nodes too.
    filter: Option<TraceFilter>,
    wanted: usize,
    ways: Box<[Way]>,
    done: Vec<Way>,
    /// Of the tables, when the last of them ended.
    generation: Generation,
    /// When the turn began.
    now: Moment,
}

impl Trace {
    /// Follows the next packets that match, [`MOST_TRACED`] at most.
    pub(crate) fn new(ticket: u64, filter: Option<TraceFilter>, wanted: usize) -> Trace {
        let wanted = wanted.clamp(1, MOST_TRACED);
        let nothing = Way {
            open: false,
            made: false,
            start: Meta::arriving(VifId(0), Spread::Allowed),
            records: ArrayVec::new(),
            length: 0,
            headers: ArrayVec::new(),
            met: None,
        };
        Trace {
            ticket,
            filter,
            wanted,
            ways: std::iter::repeat_n(nothing, BURST).collect(),
            done: Vec::with_capacity(wanted),
            generation: Generation(0),
            now: Moment(0),
        }
    }

    /// What [`Engine::trace`](crate::Engine::trace) answered.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// How many packets have been followed to their ends.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Whether no more are wanted.
    pub(crate) fn is_full(&self) -> bool {
        self.done.len() >= self.wanted
    }

    /// A turn begins, by these tables.
    pub(crate) fn begin(&mut self, generation: Generation, now: Tick) {
        (self.generation, self.now) = (generation, Moment::of(now));
    }

    /// A packet is about to be looked at by a node.
    pub(crate) fn before(&mut self, place: usize, node: NodeId, frame: &Frame, meta: &Meta) {
        let full = self.is_full();
        let Some(way) = self.ways.get_mut(place) else { return };
        if way.open || full {
            return;
        }
        let arrives = node == NodeId::VifRx;
        let wanted = match &self.filter {
            None => true,
            Some(filter) => arrives && filter.vif.is_none_or(|vif| vif == meta.rx_vif),
        };
        if !wanted {
            return;
        }
        way.open = true;
        way.made = !arrives;
        way.start = meta.clone();
        way.records.clear();
        way.length = frame.len();
        way.headers = frame.data().iter().copied().take(HEADERS).collect();
        way.met = None;
    }

    /// A node has looked at it.
    pub(crate) fn after(
        &mut self,
        place: usize,
        (node, to): (NodeId, Option<NodeId>),
        meta: &Meta,
        flows: Option<&FlowTable>,
    ) {
        let Some(way) = self.ways.get_mut(place).filter(|way| way.open) else { return };
        // What does not fit any more is the end of a way that has been long enough.
        let _ = way.records.try_push(Record { node, to, meta: meta.clone() });
        if node == NodeId::Flow
            && let (Some(table), Some(id)) = (flows, meta.flow)
        {
            way.met = Met::of(table, id, self.now);
        }
        if to.is_some() {
            return;
        }
        way.open = false;
        let meets = |filter: &TraceFilter| way.records.iter().any(|at| filter.meets(&at.meta));
        if self.filter.as_ref().is_none_or(meets) && self.done.len() < self.wanted {
            self.done.push(way.clone());
        }
    }
}

impl Met {
    fn of(table: &FlowTable, id: FlowId, now: Moment) -> Option<Met> {
        let (flow, other) = (table.flow(id)?, table.flow(id.other())?);
        let (session, flags) = (table.session(id)?, flow.state().flags());
        let becomes = flags.contains(FlowFlags::NAT).then(|| other.key());
        Some(Met {
            id: table.original(id),
            young: session.created() == now.0,
            denied: flags.contains(FlowFlags::DENIED),
            reason: session.reason(),
            session: session.flags(),
            rules: session.rules(),
            mirrors: session.mirrors(),
            becomes: becomes.map(|answers| answers.reversed(answers.scope)),
        })
    }
}
