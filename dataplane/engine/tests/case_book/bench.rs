//! What the bench has for captures from elsewhere: the host and the agent, a way for every tenant address, the labels
//! and networks they name, and a broadcast tree.

use tables::*;
use wire::Mac;

use crate::site::*;

/// The agent's interface.
pub(crate) const AGENT: VifId = VifId(5);

/// Adds it all to a site.
pub(crate) fn furnish(site: &mut Site) {
    site.add_host();
    site.put([Object::Vif(Vif {
        transport: Transport::Socket,
        mac: Mac::GATEWAY,
        ..Vif::new(AGENT, "pkt0", VifKind::Agent)
    })]);
    site.open(AGENT, 0);
    let composite = |kind, members: &[(u32, Option<u32>)]| NextHopKind::Composite {
        kind,
        members: members
            .iter()
            .map(|(id, label)| Some(Member { next_hop: NhId(*id), label: *label }))
            .collect(),
    };
    let l2 = NhFamily::Bridge;
    site.put([
        nh(81, l2, RED, composite(CompositeKind::Encap, &[(30, None), (31, None)])),
        nh(82, l2, RED, composite(CompositeKind::Evpn, &[(42, Some(5001))])),
        nh(80, l2, RED, composite(CompositeKind::Multicast, &[(81, None), (82, None)])),
        bridge(RED, Mac::BROADCAST, 80, None),
        route(RED, "0.0.0.0/0", 40, Some(33)),
        route(RED, "::/0", 40, Some(33)),
        label(46, 20),
        label(48, 20),
    ]);
    site.put([1, 11, 42, 48, 100, 123, 4242, 3_000_001].map(|number| vni(number, 51)));
    site.turn_all();
}
