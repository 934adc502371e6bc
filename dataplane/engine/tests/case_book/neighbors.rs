//! Captures of ARP and neighbour discovery.

use Expect::{All, Own};
use Is::*;
use tables::DropReason::NowhereToGo;
use tables::RouteFlags;
use wire::Mac;

use crate::judge::judge;
use crate::row::{Expect, Is, Row, address_to_gateway};
use crate::site::*;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::tenant(
            "sv-arp-normal",
            Own(answered),
            "answered for the gateway and for a stitched address",
        )
        .with(|site, packets| {
            packets.iter_mut().for_each(|packet| address_to_gateway(packet));
            let proxy = RouteFlags::ARP_PROXY;
            site.put([
                proxied(RED, "10.10.10.1/32", 10, None, proxy),
                proxied(RED, "10.10.10.2/32", 40, Some(33), proxy),
            ]);
        }),
        Row::tenant("sv-arp-target-zero", All(Drop(NowhereToGo)), "no answer for 0.0.0.0"),
        Row::tenant(
            "td-icmpv6-ra-mld",
            All(Flooded),
            "a tenant's router advertisement tells nobody here anything; flooded",
        ),
        Row::tenant("zk-nd-options", All(Ignored), "no address of ours is asked for: no answer"),
        Row::tenant(
            "zk-nd-short-options",
            All(Ignored),
            "options of length 0 or cut: ignored, no loop",
        ),
        Row::tenant("zk-nd-redirect", All(Ignored), "not acted upon"),
        Row::tenant(
            "pp-icmp-types",
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    let is = if packet[0] & 1 == 0 { Routed } else { Flooded };
                    judge(site, VIF3, number + 1, packet, is);
                }
            }),
            "routed or flooded, redirects not acted upon; flow keys: `flow_cases`",
        ),
    ]
}

fn answered(site: &mut Site, packets: &[Vec<u8>]) {
    for number in [1, 5] {
        let reply = site.through(VIF3, &packets[number - 1], VIF3);
        assert_eq!(reply[6..12], Mac::GATEWAY.0);
        assert_eq!(reply[20..22], [0, 2], "a reply");
        assert_eq!(reply[22..28], Mac::GATEWAY.0);
        assert_eq!(reply[28..32], packets[number - 1][38..42], "for what was asked");
        assert_eq!(reply.len(), 42, "without padding");
    }
    for number in [2, 6] {
        judge(site, VIF3, number, &packets[number - 1], Trap(2));
    }
    let echo = site.through(VIF3, &packets[2], HOST);
    assert_eq!(echo[14..], packets[2][14..]);
    judge(site, VIF3, 4, &packets[3], Routed);
}
