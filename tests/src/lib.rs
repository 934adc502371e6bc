//! The lab: compute nodes and workloads in network namespaces, for the demo and for the end-to-end tests.
//!
//! | module | holds |
//! |---|---|
//! | `program` | running programs here and in a namespace, with deadlines |
//! | `netns` | a namespace that is removed when it is dropped |
//! | `underlay` | the bridge that joins the nodes |
//! | `node` | a compute node: `vrouterd` and `vrouter-agent` in a namespace |
//! | `network` | networks and workloads, and the agent's configuration file written from them |
//! | `capture` | tshark on an interface, decoded fields out |
//! | `inspect` | reading what the tools print |
//! | `site` | two nodes with networks red and green: what the demo and most tests stand on |
//! | `ping` | ping, counted |
//! | `verdict` | what a capture on the underlay must show |
//! | `frames` | single frames of any kind |
//! | `frr` | an FRR router with the kernel's VXLAN bridge as far end |
//! | `traffic` | TCP by iperf3 |
//! | `gobgp` | a GoBGP daemon as reflector or far end |
//! | `by_hand` | a node without an agent, programmed by the tools |
//! | `wait` | waiting for a condition with a deadline |
//!
//! Everything has names of its own (a prefix), cleans up when dropped, and ends only processes it started.
#![forbid(unsafe_code)]

mod by_hand;
mod capture;
mod frames;
mod frr;
mod gobgp;
mod inspect;
mod netns;
mod network;
mod node;
mod ping;
mod program;
mod site;
mod traffic;
mod underlay;
mod verdict;
mod wait;

pub use by_hand::{ByHand, ROUTER_MAC, Said, WORKLOAD_ADDRESSES, WORKLOAD_MACS};
pub use capture::{Capture, Packet};
pub use frames::send_frame;
pub use frr::Frr;
pub use gobgp::Gobgp;
pub use inspect::{RouteRow, value_after};
pub use netns::Namespace;
pub use network::{Encapsulation, Family, Network, PortKind, Workload};
pub use node::{Node, NodeOptions};
pub use ping::{PingResult, ping, ping_broadcast};
pub use program::{Background, have, missing_for_lab, output, run, tool};
pub use site::{
    A_ADDRESS, ADDRESSES6, B_ADDRESS, BLUE_ADDRESS, BLUE_SUBNET, BROADCAST, ENDPOINTS, ENDPOINTS6,
    GREEN_ONLY_ADDRESS, GREEN_VNI, RED_VNI, SUBNET, Site, SiteOptions, remove_namespace,
};
pub use traffic::{tcp, tcp_server};
pub use underlay::Underlay;
pub use verdict::Direction;
pub use wait::{eventually, pause, until};

/// Says that a test is skipped, and why; `xtask test` lists these lines.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}
