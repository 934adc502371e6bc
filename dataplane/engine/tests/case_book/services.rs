//! Captures of DHCP and DNS: what goes to the agent, and what is a tenant's own business.

use Expect::{All, Each};
use Is::*;
use tables::{DropReason, NextHopKind, NhFamily, Object, VifFlags};

use crate::bench::AGENT;
use crate::row::{Expect, Is, Row, address_to_gateway};
use crate::site::*;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        dhcp(
            "td-dhcp-dora",
            Each(&[Trap(7), Routed, Trap(7), Routed]),
            "requests to the agent; a tenant's replies are its own",
        ),
        dhcp(
            "td-dhcpv6-ia-na",
            Each(&[Trap(7), Routed, Trap(7), Routed]),
            "requests to the agent; a tenant's replies are its own",
        ),
        dhcp("td-dhcp-cut", All(Drop(DropReason::InvalidPacket)), "counted"),
        dhcp(
            "sv-dhcp-option-overload",
            Each(&[Trap(7), Trap(7), Flooded, Flooded, Trap(7), Trap(7), Flooded, Flooded]),
            "requests to the agent, replies flooded; partly: the options with the DHCP service",
        ),
        dhcp(
            "sv-dhcp-request-ack",
            Each(&[Trap(4), Routed]),
            "a renewal reaches the agent by its address",
        ),
        Row::tenant("td-dns-edns", All(Routed), "routed; partly: served with the DNS service"),
        Row::tenant(
            "td-dns-pointer-loop",
            All(Routed),
            "routed; partly: refused by the DNS service",
        ),
        Row::tenant(
            "zk-dns-deep-compression",
            All(Routed),
            "routed; partly: bounded in the DNS service",
        )
        .with(|_, packets| {
            packets
                .iter_mut()
                .for_each(|packet| packet[..6].copy_from_slice(&wire::Mac::GATEWAY.0));
        }),
    ]
}

/// The interface asks for DHCP, and the server's address is the agent's.
fn dhcp(capture: &'static str, expect: Expect, verdict: &'static str) -> Row {
    Row::tenant(capture, expect, verdict).with(|site, packets| {
        packets.iter_mut().for_each(|packet| address_to_gateway(packet));
        let Some(vif) = site.model.vifs(VIF3..).next() else { panic!("the bench has vif3") };
        let mut vif = vif.clone();
        vif.flags = vif.flags.with(VifFlags::DHCP);
        let rewrite = [&wire::Mac::GATEWAY.0[..], &wire::Mac::GATEWAY.0, &[8, 0]].concat();
        site.put([
            Object::Vif(vif),
            nh(90, NhFamily::Inet, RED, NextHopKind::Encap { vif: AGENT, rewrite }),
            route(RED, "10.16.1.1/32", 90, None),
        ]);
    })
}
