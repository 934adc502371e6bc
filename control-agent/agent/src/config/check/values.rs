//! Single values: what each kind may be, and what is said when it is not.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use proto::bgp::RouteTarget;
use toml::Spanned;
use wire::{Address, Mac, Prefix};

use super::super::error::Source;
use super::Result;

pub(super) fn number<T: TryFrom<i64> + Copy + PartialOrd + std::fmt::Display>(
    source: &Source<'_>,
    key: &str,
    value: &Spanned<i64>,
    allowed: RangeInclusive<T>,
    unit: &str,
) -> Result<T> {
    T::try_from(*value.get_ref()).ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (low, high) = (allowed.start(), allowed.end());
        let problem = format!("{}; allowed are {low} to {high} ({unit})", value.get_ref());
        source.at(value.span(), key, problem)
    })
}

pub(super) fn as_number(source: &Source<'_>, key: &str, value: &Spanned<i64>) -> Result<u32> {
    number(source, key, value, 1..=u32::MAX - 1, "an AS number")
}

pub(super) fn port(
    source: &Source<'_>,
    key: &str,
    value: Option<&Spanned<i64>>,
    default: u16,
) -> Result<u16> {
    value.map_or(Ok(default), |value| number(source, key, value, 1..=u16::MAX, "a TCP port"))
}

pub(super) fn hold_time(
    source: &Source<'_>,
    key: &str,
    value: Option<&Spanned<i64>>,
    default: u16,
) -> Result<u16> {
    match value {
        None => Ok(default),
        Some(value) if *value.get_ref() == 0 => Ok(0),
        Some(value) => number(source, key, value, 3..=u16::MAX, "seconds; 0 switches it off"),
    }
}

pub(super) fn name(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = text.get_ref();
    if !(1..=64).contains(&name.len())
        || !name.chars().all(fits)
        || matches!(name.as_str(), "." | "..")
    {
        let problem = format!(
            "\"{name}\"; allowed are 1 to 64 letters, digits, dots, dashes and underscores"
        );
        return Err(source.at(text.span(), key, problem));
    }
    Ok(name.clone())
}

pub(super) fn device(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<String> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    let name = text.get_ref();
    if !(1..=15).contains(&name.len())
        || !name.chars().all(fits)
        || matches!(name.as_str(), "lo" | "." | "..")
    {
        let problem = format!(
            "\"{name}\"; allowed are device names of 1 to 15 characters without blank, /, : and %, but lo"
        );
        return Err(source.at(text.span(), key, problem));
    }
    Ok(name.clone())
}

pub(super) fn address<A: Address>(
    source: &Source<'_>,
    key: &str,
    text: &Spanned<String>,
) -> Result<A> {
    let such = match A::BITS {
        32 => "IPv4 addresses such as 10.1.0.2",
        _ => "IPv6 addresses such as 2001:db8::2",
    };
    let refuse =
        |_| source.at(text.span(), key, format!("\"{}\"; allowed are {such}", text.get_ref()));
    text.get_ref().parse().map_err(refuse)
}

/// Inside, and neither the network's address nor, with IPv4, its broadcast.
pub(super) fn host_of<A: Address>(prefix: &Prefix<A>, address: A) -> bool {
    let all = u128::MAX >> (128 - u32::from(A::BITS));
    let host_bits = all.checked_shr(u32::from(prefix.length())).unwrap_or(0);
    let host = address.to_bits128() & host_bits;
    prefix.contains(address) && host != 0 && (host != host_bits || A::BITS != 32)
}

pub(super) fn unicast(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<Ipv4Addr> {
    let address: Ipv4Addr = address(source, key, text)?;
    check_unicast(source, key, text, IpAddr::V4(address))?;
    Ok(address)
}

/// A unicast address of either family; IPv6 ones need no zone.
pub(super) fn any_unicast(
    source: &Source<'_>,
    key: &str,
    text: &Spanned<String>,
) -> Result<IpAddr> {
    let address = if text.get_ref().contains(':') {
        IpAddr::V6(address(source, key, text)?)
    } else {
        IpAddr::V4(address(source, key, text)?)
    };
    check_unicast(source, key, text, address)?;
    Ok(address)
}

fn check_unicast(
    source: &Source<'_>,
    key: &str,
    text: &Spanned<String>,
    address: IpAddr,
) -> Result<()> {
    let special = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.to_ipv4_mapped().is_some()
        }
    };
    if special || address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        let problem =
            format!("{address}; allowed are unicast addresses other than loopback and link-local");
        return Err(source.at(text.span(), key, problem));
    }
    Ok(())
}

pub(super) fn mac(source: &Source<'_>, key: &str, text: &Spanned<String>) -> Result<Mac> {
    let parsed = text.get_ref().parse::<Mac>().ok();
    parsed.filter(|mac| !mac.is_group() && !mac.is_zero() && *mac != Mac::GATEWAY).ok_or_else(
        || {
            let problem = format!(
                "\"{}\"; allowed are unicast MACs such as 02:00:00:00:00:01, but the gateway's {}",
                text.get_ref(),
                Mac::GATEWAY
            );
            source.at(text.span(), key, problem)
        },
    )
}

pub(super) fn targets(
    source: &Source<'_>,
    key: &str,
    list: &[Spanned<String>],
) -> Result<Vec<RouteTarget>> {
    list.iter()
        .map(|text| {
            text.get_ref().parse().map_err(|error| {
                source.at(text.span(), key, format!("\"{}\" is {error}", text.get_ref()))
            })
        })
        .collect()
}
