//! Mirrors.

use serde::{Deserialize, Serialize};
use tables::NhId;

/// A mirror as it is shown (reference cli.md section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorInfo {
    /// Its index, 0 to 254.
    pub index: u16,
    /// The next hop that takes the copies away.
    pub next_hop: NhId,
    /// Flags: [`MirrorInfo::DYNAMIC`], [`MirrorInfo::NIC_ASSISTED`]; unknown ones as given.
    pub flags: u32,
    /// VNI of the copies; `None` prints none.
    pub vni: Option<u32>,
    /// VLAN of copies that a NIC makes, 0 without.
    pub vlan: u16,
}

impl MirrorInfo {
    /// The copies carry a header of their own metadata.
    pub const DYNAMIC: u32 = 0x1;
    /// The copies are made by the NIC.
    pub const NIC_ASSISTED: u32 = 0x4;
}
