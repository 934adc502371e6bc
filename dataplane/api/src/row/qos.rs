//! Forwarding classes and QoS maps.

use serde::{Deserialize, Serialize};

/// What packets of a forwarding class are marked with (reference cli.md section 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingClassInfo {
    /// Its id.
    pub id: u8,
    /// DSCP, 6 bits.
    pub dscp: u8,
    /// MPLS experimental bits, 3 bits.
    pub mpls_qos: u8,
    /// 802.1p priority, 3 bits.
    pub dotonep: u8,
    /// Queue of the NIC.
    pub queue: u8,
}

/// Which forwarding class a packet's marking means. Each table lists (marking, forwarding class), ascending; markings
/// that mean class 0 are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QosMapInfo {
    /// Its index.
    pub index: u16,
    /// By DSCP.
    pub dscp: Vec<(u8, u8)>,
    /// By MPLS experimental bits.
    pub mpls_qos: Vec<(u8, u8)>,
    /// By 802.1p priority.
    pub dotonep: Vec<(u8, u8)>,
}
