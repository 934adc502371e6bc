//! What is on the wire: addresses, labels, header views and values, checksums.
//!
//! Nothing here allocates on the packet path, does I/O or knows the time. Network byte order never leaves this
//! crate: accessors take and return host-order integers, `std::net` addresses and the newtypes below.
//!
//! A header type is at once view and value: `&Ipv4` inside a frame is the view (one length check in `parse`, after
//! which no accessor can fail), an owned `Ipv4` is the value, `emit` writes it.
//!
//! | module | holds |
//! |---|---|
//! | `address` | `Mac`, `Prefix<A>`, the `Address` trait over both families |
//! | `label` | `Label` (20 bits), `Vni` (24 bits) |
//! | `header` | how a header type is declared |
//! | `ethernet` | `Ethernet`, `VlanTag`, the walk over tags |
//! | `agent` | `AgentHeader`: packets to and from the agent |
//! | `arp` | `Arp` for IPv4 over Ethernet |
//! | `neighbor` | `NeighborMessage`: neighbour discovery |
//! | `ipv4`, `ipv6` | `Ipv4`, `Ipv6`, the walk over extension headers |
//! | `fragment` | `Cut`: a packet in pieces |
//! | `icmp` | `IcmpError`: the message to a sender |
//! | `mss` | the MSS option of TCP |
//! | `transport` | `Udp`, `Tcp`, `Icmp` |
//! | `tunnel` | `Gre`, `Mpls`, `Vxlan` |
//! | [`checksum`] | sums, incremental updates, pseudo headers, completing unfinished checksums |
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_types, reason = "tests may allocate"))]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod address;
mod agent;
mod arp;
pub mod checksum;
mod ethernet;
mod fragment;
mod header;
mod icmp;
mod ipv4;
mod ipv6;
mod label;
mod mss;
mod neighbor;
mod translate;
mod transport;
mod tunnel;

pub use address::{Address, Mac, Prefix, PrefixError};
pub use agent::{AgentHeader, agent_command};
pub use arp::{Arp, ArpOperation};
pub use ethernet::{Ethernet, EthernetPayload, MAX_TAGS, VlanTag, ethernet_payload, ethertype};
pub use fragment::Cut;
pub use icmp::IcmpError;
pub use ipv4::{Ipv4, protocol};
pub use ipv6::{Ipv6, Ipv6Fragment, Ipv6Payload, MAX_EXTENSIONS, ipv6_payload};
pub use label::{Label, LabelError, Vni};
pub use mss::clamp_mss;
pub use neighbor::{NeighborMessage, icmp6};
pub use translate::{Carried, Translation, translate};
pub use transport::{Icmp, Tcp, Udp, port};
pub use tunnel::{Gre, Mpls, Vxlan};
