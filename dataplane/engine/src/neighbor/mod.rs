//! Who has an address: ARP and IPv6 neighbour discovery (reference dataplane.md section 11), one decision for both.
//!
//! | module | holds |
//! |---|---|
//! | `arp`, `nd` | what a message says, and the answer made of it in place |
//! | `decide` | whether it is answered here, and with whose MAC |

mod arp;
mod decide;
mod nd;

use std::net::IpAddr;

use wire::Mac;

use crate::packet::{Outer, Packet, Protocol};

pub(crate) use decide::{Answer, Decision, decide, has_binding, leads_to_gateway};

/// What a message of either protocol wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Who has.
    Question(Question),
    /// Is at, asked for or not.
    Reply {
        /// Who says so.
        sender: IpAddr,
    },
    /// Neither: a question that nobody may answer but whoever has the address, or one that is not to be believed.
    Other,
}

impl Message {
    /// Whose address its sender speaks for, if for any.
    pub(crate) fn sender(&self) -> Option<IpAddr> {
        match self {
            Message::Question(Question { sender, .. }) | Message::Reply { sender } => {
                Some(*sender).filter(|sender| !sender.is_unspecified())
            }
            Message::Other => None,
        }
    }
}

/// Who has `target`?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The address asked for.
    pub(crate) target: IpAddr,
    /// The address of who asks.
    pub(crate) sender: IpAddr,
    /// Whom the answer goes to.
    pub(crate) station: Mac,
    /// A probe or an announcement (RFC 5227).
    pub(crate) gratuitous: bool,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A workload's port.
    Workload,
    /// The host's interface.
    Host,
    /// Through a tunnel.
    Overlay,
    /// Through a tunnel, from behind a ToR switch that this node serves.
    Tor,
    /// The uplink itself.
    Underlay,
    /// The agent.
    Agent,
}

impl Asker {
    pub(crate) fn of(packet: &Packet<'_>) -> Asker {
        let meta = &packet.meta;
        match meta.outer {
            _ if meta.is_from_workload() => Asker::Workload,
            _ if meta.is_from_host() => Asker::Host,
            _ if !meta.is_from_fabric() => Asker::Agent,
            Outer::None => Asker::Underlay,
            _ => Asker::Overlay,
        }
    }
}

/// What an ARP or neighbour discovery message says; `None` for ARP that is malformed (case H01). Malformed neighbour
/// discovery is [`Message::Other`]: it means nothing to us (case H19).
pub(crate) fn read(packet: &Packet<'_>) -> Option<Message> {
    match packet.meta.protocol {
        Protocol::Arp => arp::read(packet.network()),
        _ => Some(nd::read(packet)),
    }
}

/// Turns a question into its answer, addressed to who asked. `false` when the frame has no room for it.
pub(crate) fn answer(packet: &mut Packet<'_>, question: &Question, answer: Answer) -> bool {
    match packet.meta.protocol {
        Protocol::Arp => arp::answer(packet, answer.mac),
        _ => nd::answer(packet, question, answer),
    }
    .is_some()
}
