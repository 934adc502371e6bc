//! The steps of the graph, one a file. A node looks at a packet and says where it goes; it calls no other node.

mod assemble;
mod bridge;
mod control;
pub(crate) mod decap;
mod drop;
mod encap;
mod flood;
mod flow;
mod fragment;
mod hand_off;
mod icmp;
mod next_hop;
mod parse;
mod punt;
mod route;
mod tunnel_error;
mod undecided;
mod vif_rx;
mod vif_tx;

pub(crate) use assemble::{Assemble, Hold, expire};
pub(crate) use bridge::Bridge;
pub(crate) use control::Control;
pub(crate) use decap::Decap;
pub(crate) use drop::Drop;
pub(crate) use encap::Encap;
pub(crate) use flood::Flood;
pub(crate) use flow::Flow;
pub(crate) use fragment::Fragment;
pub(crate) use hand_off::HandOff;
pub(crate) use icmp::Icmp;
pub(crate) use next_hop::NextHop;
pub(crate) use parse::Parse;
pub(crate) use punt::Punt;
pub(crate) use route::Route;
pub(crate) use undecided::{Undecided, expire as give_up, release};
pub(crate) use vif_rx::{VifRx, marks};
pub(crate) use vif_tx::{VifTx, not_sent};

#[cfg(test)]
mod tests;
