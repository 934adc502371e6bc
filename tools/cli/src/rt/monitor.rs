//! `rt --monitor`: route changes as JSON, one object a line, until killed.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use api::{RouteChange, RouteChanged};

use crate::tool::{Failure, Session};

/// How often it is asked for news.
const INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let mut after = None;
    loop {
        let (changes, last) = client.route_changes(after)?;
        for change in &changes {
            session.print(&line(change))?;
        }
        session.flush()?;
        after = Some(last);
        std::thread::park_timeout(INTERVAL);
    }
}

/// Keys and spaces are the original's.
fn line(change: &RouteChange) -> String {
    let operation = if change.deleted { "delete" } else { "add" };
    let mut text = format!("{{\"operation\":\"{operation}\",\"family\":");
    let RouteChanged::Route { vrf, route } = &change.what else {
        return format!("{text}\"AF_BRIDGE\"}}\n");
    };
    let family = if matches!(route.address, IpAddr::V4(_)) { "AF_INET" } else { "AF_INET6" };
    let bit = |bit: u8| route.flags.0 & bit != 0;
    let _ = write!(
        text,
        "\"{family}\",\"vrf_id\":{vrf},\"prefix\":{},\"address\":\"{}\",\"nh_id\":{},\
         \"flags\":{{\"label_valid\":{}, \"arp_proxy\":{}, \"arp_trap\":{},\"arp_flood\":{}, \"macip_learnt\":{}}}",
        route.length,
        route.address,
        route.next_hop,
        route.label.is_some(),
        bit(0x2),
        bit(0x4),
        bit(0x8),
        bit(0x10),
    );
    if let Some(label) = route.label {
        let _ = write!(text, ",\"label\":{label}");
    }
    if let Some(stitched) = route.stitched {
        let (mac, index) = (stitched.mac.unpadded(), stitched.index);
        let _ = write!(text, ",\"mac_address\":\"{mac}\",\"mac_index\":{index}");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Mac, NhId, RouteFlags, RouteInfo, Stitched, VrfId};

    #[test]
    fn lines_are_the_originals() {
        let mut route = RouteInfo {
            address: "198.51.100.18".parse().unwrap(),
            length: 32,
            parent_length: 0,
            flags: RouteFlags(0x2),
            label: None,
            next_hop: NhId(90),
            stitched: Some(Stitched { mac: Mac([2, 0, 0x5e, 0x10, 0, 0x12]), index: 231_688 }),
        };
        let vrf = VrfId(1);
        let what = RouteChanged::Route { vrf, route: route.clone() };
        assert_eq!(
            line(&RouteChange { deleted: false, what }),
            "{\"operation\":\"add\",\"family\":\"AF_INET\",\"vrf_id\":1,\"prefix\":32,\
             \"address\":\"198.51.100.18\",\"nh_id\":90,\"flags\":{\"label_valid\":false, \"arp_proxy\":true, \
             \"arp_trap\":false,\"arp_flood\":false, \"macip_learnt\":false},\
             \"mac_address\":\"2:0:5e:10:0:12\",\"mac_index\":231688}\n"
        );
        (route.address, route.length) = ("203.0.113.96".parse().unwrap(), 27);
        (route.next_hop, route.label, route.stitched) = (NhId(17), Some(33), None);
        let what = RouteChanged::Route { vrf, route };
        assert_eq!(
            line(&RouteChange { deleted: true, what }),
            "{\"operation\":\"delete\",\"family\":\"AF_INET\",\"vrf_id\":1,\"prefix\":27,\
             \"address\":\"203.0.113.96\",\"nh_id\":17,\"flags\":{\"label_valid\":true, \"arp_proxy\":true, \
             \"arp_trap\":false,\"arp_flood\":false, \"macip_learnt\":false},\"label\":33}\n"
        );
        let bridge = RouteChange { deleted: false, what: RouteChanged::Bridge };
        assert_eq!(line(&bridge), "{\"operation\":\"add\",\"family\":\"AF_BRIDGE\"}\n");
    }
}
