//! Drop counters by reason.

use serde::{Deserialize, Serialize};
use tables::DropReason;

/// Drop counters of the system, an interface or a VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropStats {
    /// Packets by reason: indexed by [`DropReason::index`]; missing ones at the end are 0.
    pub packets: Vec<u64>,
    /// Per-core storage of this interface is missing, so the numbers are no sums.
    pub per_core_missing: bool,
}

impl DropStats {
    /// Packets dropped for this reason.
    pub fn count(&self, reason: DropReason) -> u64 {
        self.packets.get(reason.index()).copied().unwrap_or(0)
    }

    /// Sets the packets dropped for this reason.
    pub fn set(&mut self, reason: DropReason, packets: u64) {
        if self.packets.len() <= reason.index() {
            self.packets.resize(DropReason::COUNT, 0);
        }
        if let Some(slot) = self.packets.get_mut(reason.index()) {
            *slot = packets;
        }
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.packets.iter().fold(0, |sum, packets| sum.wrapping_add(*packets))
    }
}
