//! Quality of service: maps from a packet's marks to forwarding classes (reference dataplane.md section 9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClassId, QosMapId};

/// A map. What it does not name is of class 0, as in the original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QosMap {
    /// Its index, 0 to 4095.
    pub id: QosMapId,
    /// By DSCP, 0 to 63: what IP packets are judged by.
    pub dscp: BTreeMap<u8, ClassId>,
    /// By MPLS traffic class, 0 to 7; kept and shown, no packet is judged by it.
    pub exp: BTreeMap<u8, ClassId>,
    /// By 802.1p priority, 0 to 7: what other frames are judged by.
    pub dot1p: BTreeMap<u8, ClassId>,
}

impl QosMap {
    /// One that names nothing.
    pub fn new(id: QosMapId) -> QosMap {
        QosMap { id, dscp: BTreeMap::new(), exp: BTreeMap::new(), dot1p: BTreeMap::new() }
    }
}

/// What a packet of a class is marked with where it leaves by the uplink or for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingClass {
    /// Its index, 0 to 255.
    pub id: ClassId,
    /// DSCP, 0 to 63.
    pub dscp: u8,
    /// MPLS traffic class, 0 to 7.
    pub exp: u8,
    /// 802.1p priority, 0 to 7.
    pub dot1p: u8,
    /// Transmit queue.
    pub queue: u8,
}
