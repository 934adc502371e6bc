//! The text of `rt` (reference cli.md sections 4.2 and 4.3).

use api::{BridgeInfo, RouteInfo, Rows, VrfId};

use super::Family;
use super::address::{Asked, masked};

const ROUTE_FLAGS: &[(u8, &str, &str)] = &[
    (0x1, "L", "Label Valid"),
    (0x2, "P", "Proxy ARP"),
    (0x4, "T", "Trap ARP"),
    (0x8, "F", "Flood ARP"),
    (0x10, "Ml", "MAC-IP learnt route"),
];

const BRIDGE_FLAGS: &[(u8, &str, &str)] = &[
    (0x02, "L", "Label Valid"),
    (0x04, "Df", "DHCP flood"),
    (0x08, "Mm", "Mac Moved"),
    (0x10, "L2c", "L2 Evpn Control Word"),
    (0x20, "N", "New Entry"),
    (0x40, "Ec", "EvpnControlProcessing"),
];

/// Bits that say that there is a label, in either table.
const ROUTE_LABEL: u8 = 0x1;
const BRIDGE_LABEL: u8 = 0x2;

/// What was asked for, of a get.
pub(super) fn title(asked: &Asked, vrf: VrfId) -> String {
    match *asked {
        Asked::Prefix(address, length) => {
            let family = if address.is_ipv4() { 4 } else { 6 };
            let address = masked(address, length);
            format!("Match {address}/{length} in vRouter inet{family} table 0/{vrf}/unicast\n\n")
        }
        Asked::Station(mac) => {
            format!("Match {} in vRouter bridge table 0/{vrf}/unicast\n\n", mac.unpadded())
        }
    }
}

/// Legend, title and columns.
pub(super) fn header(vrf: VrfId, family: Family) -> String {
    let (flags, title, columns) = match family {
        Family::Inet | Family::Inet6 => (
            ROUTE_FLAGS,
            format!(
                "vRouter {} routing table 0/{vrf}/unicast",
                if family == Family::Inet { "inet4" } else { "inet6" }
            ),
            "Destination           PPL        Flags        Label         Nexthop    Stitched MAC(Index)",
        ),
        Family::Bridge => (
            BRIDGE_FLAGS,
            format!("vRouter bridge table 0/{vrf}"),
            "Index       DestMac                  Flags           Label/VNID      Nexthop           Stats",
        ),
    };
    let legend: Vec<String> =
        flags.iter().map(|(_, letters, name)| format!("{letters}={name}")).collect();
    format!("Flags: {}\n{title}\n{columns}\n", legend.join(", "))
}

/// The rows of either table.
pub(super) fn rows(rows: &Rows) -> String {
    match rows {
        Rows::Route(rows) => rows.iter().map(route).collect(),
        Rows::Bridge(rows) => rows.iter().map(station).collect(),
        _ => String::new(),
    }
}

fn route(row: &RouteInfo) -> String {
    let destination = format!("{}/{:<2}", row.address, row.length);
    let flags = letters(ROUTE_FLAGS, with_label(row.flags.0, ROUTE_LABEL, row.label));
    let label = row.label.map_or("-".to_owned(), |label| label.to_string());
    let stitched =
        row.stitched.map_or("-".to_owned(), |it| format!("{}({})", it.mac.unpadded(), it.index));
    format!(
        "{destination:<21}{:4}        {flags:>5}      {label:>5}        {:>7}        {stitched}\n",
        row.parent_length, row.next_hop.0
    )
}

fn station(row: &BridgeInfo) -> String {
    let index = format!("{:<9}", row.index);
    let mac = row.mac.unpadded().to_string();
    let bits = with_label(row.flags.0, BRIDGE_LABEL, row.label);
    let mut flags = letters(BRIDGE_FLAGS, bits);
    if bits & 0x10 != 0 {
        // The original asks for a route's bit here, too.
        flags.push_str("Ml");
    }
    let label = row.label.map_or("-".to_owned(), |label| label.to_string());
    format!(
        "{index:<12}{mac:<20} {flags:>9}            {label:>9}      {:>7}    {:>12}\n",
        row.next_hop.0, row.packets
    )
}

fn with_label(bits: u8, bit: u8, label: Option<u32>) -> u8 {
    if label.is_some() { bits | bit } else { bits & !bit }
}

fn letters(table: &[(u8, &str, &str)], bits: u8) -> String {
    table.iter().filter(|(bit, ..)| bits & bit != 0).map(|(_, letters, _)| *letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Mac, NhId, RouteFlags, Stitched};

    #[test]
    fn long_destinations_push_the_rest_right() {
        let mut row = RouteInfo {
            address: "255.255.255.255".parse().unwrap(),
            length: 32,
            parent_length: 24,
            flags: RouteFlags(0x6),
            label: None,
            next_hop: NhId(1),
            stitched: None,
        };
        assert_eq!(
            route(&row),
            "255.255.255.255/32     24           PT          -              1        -\n"
        );
        row.address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().unwrap();
        (row.length, row.label) = (128, Some(1_000_000));
        row.stitched = Some(Stitched { mac: Mac([2, 0, 0, 0, 0, 10]), index: 7 });
        assert_eq!(
            route(&row),
            "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128  24          LPT      1000000              1        2:0:0:0:0:a(7)\n"
        );
    }
}
