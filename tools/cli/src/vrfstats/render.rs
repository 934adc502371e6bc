//! The text of `vrfstats`, the original's spelling included.

use api::{Rows, VrfStats};

pub(super) fn rows(rows: &Rows) -> String {
    let Rows::VrfStats(rows) = rows else { return String::new() };
    rows.iter().map(row).collect()
}

fn row(it: &VrfStats) -> String {
    let vrf = it.vrf.map_or(-1, |vrf| i32::from(vrf.0));
    let lines: [&[(&str, u64)]; 6] = [
        &[
            ("Discards", it.discards),
            ("Resolves", it.resolves),
            ("Receives", it.receives),
            ("L2 Receives", it.l2_receives),
            ("Vrf Translates", it.vrf_translates),
            ("Unknown Unicast Floods", it.unknown_unicast_floods),
        ],
        &[
            ("Ecmp Composites", it.ecmp_composites),
            ("L2 Mcast Composites", it.l2_mcast_composites),
            ("Fabric Composites", it.fabric_composites),
            ("Encap Composites", it.encap_composites),
            ("Evpn Composites", it.evpn_composites),
        ],
        &[
            ("Udp Tunnels", it.udp_tunnels),
            ("Udp Mpls Tunnels", it.udp_mpls_tunnels),
            ("Gre Mpls Tunnels", it.gre_mpls_tunnels),
            ("Vxlan Tunnels", it.vxlan_tunnels),
            ("Pbb Tunnels", it.pbb_tunnels),
            ("Mpls over Mpls Tunnels", it.mpls_over_mpls_tunnels),
        ],
        &[("L2 Encaps", it.l2_encaps), ("Encaps", it.encaps)],
        &[("GROs", it.gros), ("Diags", it.diags)],
        &[
            ("Arp Virtual Proxys", it.arp_virtual_proxys),
            ("Arp Virtual Stitchs", it.arp_virtual_stitchs),
            ("Arp Virtual Floods", it.arp_virtual_floods),
            ("Arp Physical Stitchs", it.arp_physical_stitchs),
            ("Arp Tor Proxys", it.arp_tor_proxys),
            ("Arp Physical Floods", it.arp_physical_floods),
        ],
    ];
    let line = |counters: &&[(&str, u64)]| {
        let parts: Vec<String> =
            counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        format!("{}\n", parts.join(", "))
    };
    format!("Vrf: {vrf}\n{}\n", lines.iter().map(line).collect::<String>())
}
