//! Mirrors: where copies of packets go (reference dataplane.md section 18).

use serde::{Deserialize, Serialize};
use wire::Vni;

use super::{MirrorId, NhId, flags};

flags!(
/// Mirror flags (section 18).
MirrorFlags(u32) {
    /// Metadata goes in front of the copy.
    DYNAMIC = 0x1;
    /// No copy is made: the packet itself gets the mirror's VLAN where it leaves by the uplink.
    HW_ASSISTED = 0x4;
});

/// A mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Its index, 0 to 254.
    pub id: MirrorId,
    /// Where copies go: a VXLAN tunnel, or for a dynamic mirror a plain UDP tunnel.
    pub next_hop: NhId,
    /// The VNI of copies in VXLAN.
    pub vni: Option<Vni>,
    /// The VLAN of a hardware-assisted mirror; 0 is none.
    pub vlan: u16,
    /// Flags as given.
    pub flags: MirrorFlags,
}
