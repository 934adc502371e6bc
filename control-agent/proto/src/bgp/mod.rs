//! BGP-4 for VPN and EVPN routes.
//!
//! | module | holds |
//! |---|---|
//! | `family` | the address families spoken |
//! | `route` | what a route is: RD, targets, key, attributes, `RouteUpdate` |
//! | `message` | framing, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH |
//! | `open` | OPEN and its capabilities |
//! | `update` | UPDATE to `RouteUpdate`, with the error handling of RFC 7606 |
//! | `attribute`, `nlri`, `cursor` | the parts of an UPDATE |
//! | `encode` | routes to UPDATEs of at most 4096 bytes |
//! | `adj_out` | what a peer was told, and the difference to what it should be told |
//! | `graceful` | which of a peer's routes are stale, and when they go (RFC 4724, helper side) |
//! | `event` | what happens to a peer, and what it asks for |
//! | `connection` | one TCP connection of a peer |
//! | `fsm` | a peer: `(state, event, now) → (state, actions)` |
//!
//! OPENs and UPDATEs are written by `netgauze-bgp-pkt` and read by our own walk: RFC 7606 decides per attribute what an
//! error means, where the library rejects a message as a whole, and one odd capability must not shift the others. So
//! every round-trip test has two independent implementations.

mod adj_out;
mod attribute;
mod connection;
mod cursor;
mod encode;
mod event;
mod family;
mod fsm;
mod graceful;
mod message;
mod nlri;
mod open;
mod route;
mod update;

pub use adj_out::AdjOut;
pub use encode::{AsWidth, Sender, encode_announcements, encode_end_of_rib, encode_withdrawals};
pub use event::{
    Action, ConnectionId, Dialing, Event, Negotiated, Report, Settings, StopReason, Way,
};
pub use family::Family;
pub use fsm::Fsm;
pub use message::{MAX_MESSAGE, Message, MessageError, Notification, RouteRefresh, take_message};
pub use open::{GracefulRestart, Open};
pub use route::{
    Announcement, Attributes, Destination, Encapsulation, FloodTunnel, IpPrefix, Membership,
    Mobility, Origin, Problem, Rd, Relation, RouteKey, RouteTarget, RouteTargetError, RouteUpdate,
    Segment,
};
pub use update::{UpdateContext, decode_update};
