//! What `rt --get` is asked: `ADDRESS/LENGTH` or a MAC, with the original's complaints (reference cli.md section 4.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{Mac, Prefix};

use super::Family;
use crate::options::{Number, Quality};
use crate::tool::Failure;

/// Exit status of a text of the right shape with wrong values.
const BAD_VALUE: u8 = 22;

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An address and a length.
    Prefix(IpAddr, u8),
    /// A station.
    Station(Mac),
}

/// Reads the operand of `--get`.
pub(super) fn read(text: &str, family: Family) -> Result<Asked, Failure> {
    if family == Family::Bridge {
        let bad =
            || Failure::Ended(format!("validate_options: ether_aton fails on {text}"), BAD_VALUE);
        return text.parse().map(Asked::Station).map_err(|_| bad());
    }
    let (address, length) = text.split_once('/').ok_or(Failure::Usage)?;
    let (shaped, name) = match family {
        Family::Inet6 => (looks_like_inet6(address), "ipv6"),
        Family::Inet | Family::Bridge => (looks_like_inet(address), "ipv4"),
    };
    if !shaped {
        let line = format!("match: \"{address}\" is not a valid {name} address format");
        return Err(Failure::Explained(line));
    }
    let bad =
        || Failure::Ended(format!("validate_options: inet_pton fails for {address}"), BAD_VALUE);
    let address: IpAddr = match family {
        Family::Inet6 => address.parse::<Ipv6Addr>().map_err(|_| bad())?.into(),
        Family::Inet | Family::Bridge => address.parse::<Ipv4Addr>().map_err(|_| bad())?.into(),
    };
    let number = Number::read(length);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = u8::try_from(number.value).ok().filter(|length| *length <= longest);
    let length = length.filter(|_| number.quality == Quality::Clean).ok_or(Failure::Usage)?;
    Ok(Asked::Prefix(address, length))
}

/// Three dots, groups of one to three digits.
fn looks_like_inet(text: &str) -> bool {
    let group =
        |group: &str| (1..=3).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_digit());
    text.split('.').count() == 4 && text.split('.').all(group)
}

/// Groups of up to four hex digits between colons, at least two of these; the last may be an IPv4 address.
fn looks_like_inet6(text: &str) -> bool {
    let group = |group: &str| group.len() <= 4 && group.bytes().all(|b| b.is_ascii_hexdigit());
    let (groups, last) = match text.rsplit_once(':') {
        Some((groups, last)) => (groups, last),
        None => return false,
    };
    groups.contains(':') && groups.split(':').all(group) && (group(last) || looks_like_inet(last))
}

/// The address without the bits behind the length.
pub(crate) fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => Prefix::new(ip, length).map_or(address, |prefix| prefix.address().into()),
        IpAddr::V6(ip) => Prefix::new(ip, length).map_or(address, |prefix| prefix.address().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_are_read() {
        let v4 = Asked::Prefix("198.51.100.18".parse().unwrap(), 24);
        assert_eq!(read("198.51.100.18/24", Family::Inet).unwrap(), v4);
        let v6 = Asked::Prefix("2001:db8::1".parse().unwrap(), 128);
        assert_eq!(read("2001:db8::1/128", Family::Inet6).unwrap(), v6);
        let mac = Asked::Station(Mac([2, 0, 0x5e, 0x10, 0, 0x12]));
        assert_eq!(read("2:0:5e:10:0:12", Family::Bridge).unwrap(), mac);
    }

    #[test]
    fn shape_value_and_length_fail_differently() {
        let explained = |text, family| matches!(read(text, family), Err(Failure::Explained(_)));
        assert!(explained("1.2.3/24", Family::Inet));
        assert!(explained("a.b.c.d/24", Family::Inet));
        assert!(explained("1.2.3.4444/24", Family::Inet));
        assert!(explained("1.2.3.4/24", Family::Inet6));
        assert!(explained("2001:xyz::/24", Family::Inet6));
        let ended = |text, family| matches!(read(text, family), Err(Failure::Ended(_, 22)));
        assert!(ended("1.2.3.400/24", Family::Inet));
        assert!(ended("2001::1::2/24", Family::Inet6));
        assert!(ended("02:00:00", Family::Bridge));
        let usage = |text, family| matches!(read(text, family), Err(Failure::Usage));
        assert!(usage("1.2.3.4", Family::Inet));
        assert!(usage("1.2.3.4/33", Family::Inet));
        assert!(usage("1.2.3.4/x", Family::Inet));
    }
}
