//! Peers on the network: sockets, and nothing else.
//!
//! | module | speaks |
//! |---|---|
//! | `bgp` | BGP over TCP |

pub(crate) mod bgp;
