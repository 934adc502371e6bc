//! Address families (RFC 4760).

use std::fmt;

use netgauze_iana::address_family::AddressType;

/// A family of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Labelled VPN-IPv4, AFI 1 SAFI 128 (RFC 4364).
    Vpn4,
    /// Labelled VPN-IPv6, AFI 2 SAFI 128 (RFC 4659).
    Vpn6,
    /// EVPN, AFI 25 SAFI 70 (RFC 7432).
    Evpn,
}

impl Family {
    /// The numbers on the wire.
    pub const fn numbers(self) -> (u16, u8) {
        match self {
            Family::Vpn4 => (1, 128),
            Family::Vpn6 => (2, 128),
            Family::Evpn => (25, 70),
        }
    }

    /// The family of these numbers, if it is one of ours.
    pub const fn from_numbers(afi: u16, safi: u8) -> Option<Family> {
        match (afi, safi) {
            (1, 128) => Some(Family::Vpn4),
            (2, 128) => Some(Family::Vpn6),
            (25, 70) => Some(Family::Evpn),
            _ => None,
        }
    }

    pub(crate) const fn address_type(self) -> AddressType {
        match self {
            Family::Vpn4 => AddressType::Ipv4MplsLabeledVpn,
            Family::Vpn6 => AddressType::Ipv6MplsLabeledVpn,
            Family::Evpn => AddressType::L2VpnBgpEvpn,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Vpn4 => "vpnv4",
            Family::Vpn6 => "vpnv6",
            Family::Evpn => "evpn",
        })
    }
}
