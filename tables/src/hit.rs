//! What a lookup answers: plain data, decoded from the tables' packed form.

use std::num::NonZeroU32;

use wire::Mac;

use crate::{BridgeFlags, NhId, RouteFlags, VrfId};

/// Index of a station (VRF and MAC) in the bridge table. It stays while the entry or a route stitched to it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeSlot(NonZeroU32);

impl BridgeSlot {
    /// How many stations there can be (reference dataplane.md section 3: 262144 and 20 % overflow).
    pub const LIMIT: u32 = 262_144 + 53_248;

    /// The slot with this index, if the table is that large.
    pub fn new(index: u32) -> Option<BridgeSlot> {
        if index < BridgeSlot::LIMIT { NonZeroU32::new(index + 1).map(BridgeSlot) } else { None }
    }

    /// The index tools show, from 0.
    #[inline]
    pub const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// The answer of a route lookup. A miss is [`RouteHit::MISS`]: next hop 0, which discards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteHit {
    /// Where to.
    pub nh: NhId,
    /// MPLS label, or VNI under a VXLAN tunnel.
    pub label: Option<u32>,
    /// The stitched station; [`crate::Fib::station`] tells its MAC while the bridge table has it.
    pub bridge: Option<BridgeSlot>,
    /// Flags, `LABEL_VALID` included.
    pub flags: RouteFlags,
    /// Length of the route that matched.
    pub prefix_len: u8,
}

const _: () = assert!(size_of::<RouteHit>() <= 20);

impl RouteHit {
    /// No route.
    pub const MISS: RouteHit =
        RouteHit { nh: NhId(0), label: None, bridge: None, flags: RouteFlags(0), prefix_len: 0 };
}

/// The answer of a bridge lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeHit {
    /// Where to.
    pub nh: NhId,
    /// Label or VNI.
    pub label: Option<u32>,
    /// Flags, the derived ones included.
    pub flags: BridgeFlags,
    /// Where the entry is.
    pub slot: BridgeSlot,
}

/// A station of the bridge table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Station {
    /// Its table.
    pub vrf: VrfId,
    /// Its address.
    pub mac: Mac,
}
