//! MAC addresses, and IP prefixes generic over the address family.

use std::fmt;
use std::net::{AddrParseError, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address. Shown padded (`00:00:5e:00:01:00`); tools that want the unpadded form use [`Mac::unpadded`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// All zero: "none" in the messages of the original.
    pub const ZERO: Mac = Mac([0; 6]);
    /// The MAC every gateway address and every vif shows to workloads (reference dataplane.md section 10.3).
    pub const GATEWAY: Mac = Mac([0x00, 0x00, 0x5e, 0x00, 0x01, 0x00]);

    /// Multicast or broadcast: the group bit (IEEE 802) is set.
    pub fn is_group(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// All bits zero.
    pub fn is_zero(self) -> bool {
        self == Mac::ZERO
    }

    /// The form `rt` and `flow` print: no leading zeros in a group (reference cli.md section 1.4).
    pub fn unpadded(self) -> impl fmt::Display {
        Unpadded(self)
    }
}

struct Unpadded(Mac);

impl fmt::Display for Unpadded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0.0;
        write!(f, "{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{g:x}")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let mut octets = [0u8; 6];
        let mut groups = text.split(':');
        for octet in &mut octets {
            let group =
                groups.next().filter(|g| (1..=2).contains(&g.len())).ok_or(PrefixError::Mac)?;
            *octet = u8::from_str_radix(group, 16).map_err(|_| PrefixError::Mac)?;
        }
        if groups.next().is_some() { Err(PrefixError::Mac) } else { Ok(Mac(octets)) }
    }
}

/// What a prefix table needs to know of an address family. Implemented by `Ipv4Addr` and `Ipv6Addr` only.
pub trait Address:
    Copy
    + Ord
    + std::hash::Hash
    + fmt::Debug
    + fmt::Display
    + FromStr<Err = AddrParseError>
    + Send
    + Sync
    + 'static
{
    /// Address length in bits: 32 or 128.
    const BITS: u8;

    /// The address as the low `BITS` bits of an integer.
    fn to_bits128(self) -> u128;

    /// The reverse of [`Address::to_bits128`]; higher bits are ignored.
    fn from_bits128(bits: u128) -> Self;

    /// The `level`-th octet from the most significant; 0 past the end.
    fn octet(self, level: usize) -> u8;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;

    fn to_bits128(self) -> u128 {
        u128::from(self.to_bits())
    }

    fn from_bits128(bits: u128) -> Self {
        Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32)
    }

    #[inline]
    fn octet(self, level: usize) -> u8 {
        self.octets().get(level).copied().unwrap_or(0)
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;

    fn to_bits128(self) -> u128 {
        self.to_bits()
    }

    fn from_bits128(bits: u128) -> Self {
        Ipv6Addr::from_bits(bits)
    }

    #[inline]
    fn octet(self, level: usize) -> u8 {
        self.octets().get(level).copied().unwrap_or(0)
    }
}

/// Why a text or a number is not an address, a prefix or a MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// Not six groups of one or two hex digits.
    Mac,
    /// Not an address of the family.
    Address,
    /// No `/length`, or one that is not a number up to the family's.
    Length,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrefixError::Mac => {
                "not a MAC address (six groups of hex digits, as 02:00:00:00:00:01)"
            }
            PrefixError::Address => "not an IP address of this family",
            PrefixError::Length => "prefix length missing or out of range",
        })
    }
}

impl std::error::Error for PrefixError {}

/// An IP prefix with its host bits cleared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(A, u8)", into = "(A, u8)")]
#[serde(bound(
    serialize = "A: Address + Serialize",
    deserialize = "A: Address + Deserialize<'de>"
))]
pub struct Prefix<A> {
    address: A,
    length: u8,
}

impl<A: Address> Prefix<A> {
    /// The prefix of `address` with `length` bits; bits past the length are cleared.
    ///
    /// # Errors
    /// [`PrefixError::Length`] when `length` exceeds the family's.
    pub fn new(address: A, length: u8) -> Result<Self, PrefixError> {
        if length > A::BITS {
            return Err(PrefixError::Length);
        }
        Ok(Prefix { address: A::from_bits128(address.to_bits128() & Self::mask(length)), length })
    }

    /// The host prefix (/32 or /128) of an address.
    pub fn host(address: A) -> Self {
        Prefix { address, length: A::BITS }
    }

    /// The network address.
    pub fn address(&self) -> A {
        self.address
    }

    /// The length in bits.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` lies inside.
    pub fn contains(&self, address: A) -> bool {
        address.to_bits128() & Self::mask(self.length) == self.address.to_bits128()
    }

    /// Whether `other` lies inside or is equal.
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    fn mask(length: u8) -> u128 {
        let host_bits = u32::from(A::BITS - length);
        u128::MAX.checked_shl(host_bits).unwrap_or(0)
    }
}

impl<A: Address> TryFrom<(A, u8)> for Prefix<A> {
    type Error = PrefixError;

    fn try_from((address, length): (A, u8)) -> Result<Self, PrefixError> {
        Prefix::new(address, length)
    }
}

impl<A> From<Prefix<A>> for (A, u8) {
    fn from(prefix: Prefix<A>) -> (A, u8) {
        (prefix.address, prefix.length)
    }
}

impl<A: Address> fmt::Display for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl<A: Address> fmt::Debug for Prefix<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<A: Address> FromStr for Prefix<A> {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = text.split_once('/').ok_or(PrefixError::Length)?;
        let address = address.parse().map_err(|_| PrefixError::Address)?;
        let length = length.parse().map_err(|_| PrefixError::Length)?;
        Prefix::new(address, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_clears_host_bits_and_refuses_long_lengths() {
        let p: Prefix<Ipv4Addr> = "10.0.0.5/24".parse().unwrap();
        assert_eq!(p.to_string(), "10.0.0.0/24");
        assert_eq!("10.0.0.0/33".parse::<Prefix<Ipv4Addr>>(), Err(PrefixError::Length));
        assert_eq!("::/129".parse::<Prefix<Ipv6Addr>>(), Err(PrefixError::Length));
        let all: Prefix<Ipv6Addr> = "2001:db8::1/0".parse().unwrap();
        assert_eq!(all.to_string(), "::/0");
        assert!(all.contains("ffff::".parse().unwrap()));
    }

    #[test]
    fn mac_prints_padded_and_unpadded_and_parses_both() {
        let mac: Mac = "2:0:5e:10:0:12".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:12");
        assert_eq!(mac.unpadded().to_string(), "2:0:5e:10:0:12");
        assert!("02:00:00:00:00".parse::<Mac>().is_err());
        assert!("02:00:00:00:00:00:00".parse::<Mac>().is_err());
        assert!("02:00:00:00:00:0g".parse::<Mac>().is_err());
    }
}
