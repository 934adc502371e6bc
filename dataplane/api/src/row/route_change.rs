//! Changes of routes, as `rt --monitor` shows them.

use serde::{Deserialize, Serialize};
use tables::VrfId;

use super::RouteInfo;

/// A route or bridge entry came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChange {
    /// It went.
    pub deleted: bool,
    /// What it was.
    pub what: RouteChanged,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are routes; a box would only cost an allocation"
)]
pub enum RouteChanged {
    /// A route of either family.
    Route {
        /// Its table.
        vrf: VrfId,
        /// The route itself, not a leaf.
        route: RouteInfo,
    },
    /// A bridge entry, of which nothing is told.
    Bridge,
}
