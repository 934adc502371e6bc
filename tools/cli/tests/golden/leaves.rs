//! The dump of a prefix table from the routes in it, as the original sends it (reference cli.md section 4.4).

use std::net::{IpAddr, Ipv4Addr};

use api::{Mac, NhId, RouteFlags, RouteInfo, Stitched};
use serde_json::Value;

use crate::messages::Fields;

/// Rows in one message of the original.
const PAGE: usize = 33;

/// The leaves; one of length 8 at the end of a page comes again on the next, a slip of the original.
pub(crate) fn dump(installed: &[Value]) -> Vec<RouteInfo> {
    let routes: Vec<RouteInfo> = installed.iter().map(|route| real(Fields(route))).collect();
    let mut leaves = Vec::new();
    walk(&routes, 0, 0, &mut leaves);
    let mut sent: Vec<RouteInfo> = Vec::new();
    for leaf in leaves {
        let again =
            sent.last().filter(|last| sent.len().is_multiple_of(PAGE) && last.length == 8).cloned();
        sent.extend(again);
        sent.push(leaf);
    }
    // The marker of the last page is a leaf of length 8, too.
    sent
}

fn real(fields: Fields<'_>) -> RouteInfo {
    let (address, length) = fields.text("prefix").split_once('/').expect("a prefix");
    let flags: u8 = fields.get("label_flags");
    let mac = fields.has("mac").then(|| fields.text("mac").parse::<Mac>().expect("a MAC"));
    RouteInfo {
        address: address.parse().expect("an address"),
        length: length.parse().expect("a length"),
        parent_length: 0,
        flags: RouteFlags(flags),
        label: (flags & 1 != 0).then(|| fields.get("label")),
        next_hop: NhId(fields.get("nexthop")),
        stitched: mac.map(|mac| Stitched { mac, index: fields.get("bridge_index") }),
    }
}

fn bits(route: &RouteInfo) -> u64 {
    match route.address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(_) => panic!("IPv4 only"),
    }
}

fn walk(routes: &[RouteInfo], base: u64, length: u8, leaves: &mut Vec<RouteInfo>) {
    let size = 1u64 << (32 - length);
    let inside = |route: &&RouteInfo| route.length > length && bits(route) & !(size - 1) == base;
    if routes.iter().any(|route| inside(&route)) {
        for child in 0..256 {
            walk(routes, base + child * (size >> 8), length + 8, leaves);
        }
        return;
    }
    let covers =
        |route: &&RouteInfo| base >> (32 - route.length) == bits(route) >> (32 - route.length);
    let best = routes
        .iter()
        .filter(|route| route.length <= length)
        .filter(covers)
        .max_by_key(|it| it.length);
    let best = best.expect("there is a default route");
    let address = Ipv4Addr::from_bits(u32::try_from(base).expect("32 bits"));
    leaves.push(RouteInfo {
        address: address.into(),
        length,
        parent_length: best.length,
        ..best.clone()
    });
}
