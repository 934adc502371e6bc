//! `vr_nexthop_req` as a row.

use std::net::{IpAddr, Ipv6Addr};

use api::{
    Mac, Member, NextHopDetail, NextHopInfo, NhFamily, NhFlags, NhId, Pbb, UnderlayHop, VifId,
    VrfId,
};

use crate::messages::{Fields, ipv4};

const UDP: u32 = 0x10;
const PBB: u32 = 0x8_0000;
const INDIRECT: u32 = 0x40_0000;
const L3_VXLAN: u32 = 0x200_0000;
const MPLS_OVER_MPLS: u32 = 0x400_0000;
const UNDERLAY_ECMP: u32 = 0x1000_0000;

pub(crate) fn row(fields: Fields<'_>) -> NextHopInfo {
    let flags: u32 = fields.get("nhr_flags");
    let members = members(fields);
    NextHopInfo {
        id: NhId(fields.get("nhr_id")),
        family: match fields.integer("nhr_family") {
            0 => Some(NhFamily::Unspec),
            2 => Some(NhFamily::Inet),
            7 => Some(NhFamily::Bridge),
            10 => Some(NhFamily::Inet6),
            _ => None,
        },
        vrf: fields.option("nhr_vrf", -1).map(VrfId),
        references: fields.get("nhr_ref_cnt"),
        flags: NhFlags(flags),
        direct: members.first().copied().flatten().filter(|_| flags & INDIRECT != 0),
        detail: detail(fields, flags, members),
    }
}

fn members(fields: Fields<'_>) -> Vec<Option<Member>> {
    let labels = fields.list("nhr_label_list");
    let ids = fields.list("nhr_nh_list");
    let slot = |(id, label): (&i64, &i64)| {
        let next_hop = NhId(u32::try_from(*id).ok()?);
        Some(Member { next_hop, label: u32::try_from(*label).ok() })
    };
    let mut members: Vec<_> = ids.iter().zip(&labels).map(slot).collect();
    // A dump holds the first 16 only and says how many there are.
    members.resize(members.len().max(fields.get("nhr_nh_count")), None);
    members
}

fn detail(fields: Fields<'_>, flags: u32, members: Vec<Option<Member>>) -> NextHopDetail {
    let vif =
        fields.list("nhr_encap_oif_id").first().and_then(|id| u16::try_from(*id).ok()).map(VifId);
    match fields.integer("nhr_type") {
        0 => NextHopDetail::Dead,
        1 => NextHopDetail::Receive { vif },
        2 => NextHopDetail::Encap {
            ether_type: fields.get("nhr_encap_family"),
            vif,
            rewrite: fields.bytes("nhr_encap"),
        },
        3 => tunnel(fields, flags),
        4 => NextHopDetail::Resolve,
        5 => NextHopDetail::Discard,
        6 => NextHopDetail::Composite { hash: fields.get("nhr_ecmp_config_hash"), members },
        7 => NextHopDetail::Translate { vrf: VrfId(fields.get("nhr_vrf")) },
        8 => NextHopDetail::L2Receive,
        other => NextHopDetail::Other(u8::try_from(other).expect("a byte")),
    }
}

fn tunnel(fields: Fields<'_>, flags: u32) -> NextHopDetail {
    let six = |name| {
        IpAddr::from(
            <[u8; 16]>::try_from(fields.bytes(name)).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from),
        )
    };
    let (source, destination) = if fields.integer("nhr_family") == 10 {
        (six("nhr_tun_sip6"), six("nhr_tun_dip6"))
    } else {
        let four = |name| IpAddr::from(ipv4(fields.unsigned(name)));
        (four("nhr_tun_sip"), four("nhr_tun_dip"))
    };
    let port = |name| {
        let [a, b, ..] = fields.integer(name).to_le_bytes();
        u16::from_be_bytes([a, b])
    };
    let label = |_: &Mac| {
        fields.list("nhr_label_list").first().and_then(|label| u32::try_from(*label).ok())
    };
    let mac = fields.mac("nhr_pbb_mac").filter(|_| flags & PBB != 0);
    NextHopDetail::Tunnel {
        source,
        destination,
        underlay: underlay(fields, flags),
        ports: (flags & UDP != 0).then(|| (port("nhr_tun_sport"), port("nhr_tun_dport"))),
        l3_vxlan_mac: fields.mac("nhr_rw_dst_mac").filter(|_| flags & L3_VXLAN != 0),
        pbb: mac.map(|mac| Pbb { mac, label: label(&mac) }),
        transport_label: (flags & MPLS_OVER_MPLS != 0).then(|| fields.get("nhr_transport_label")),
        crypt_vif: fields.option("nhr_encap_crypt_oif_id", 0).map(VifId),
    }
}

fn underlay(fields: Fields<'_>, flags: u32) -> Vec<UnderlayHop> {
    let vifs = fields.list("nhr_encap_oif_id");
    let bytes = fields.bytes("nhr_encap");
    let vif = |id: &i64| u16::try_from(*id).ok().map(VifId);
    if flags & UNDERLAY_ECMP == 0 {
        return vec![UnderlayHop { vif: vifs.first().and_then(vif), valid: true, rewrite: bytes }];
    }
    let valid = fields.list("nhr_encap_valid");
    let headers = bytes.chunks(fields.get("nhr_encap_len")).map(<[u8]>::to_vec);
    let ways = vifs.iter().zip(valid).zip(headers);
    ways.map(|((id, valid), rewrite)| UnderlayHop { vif: vif(id), valid: valid != 0, rewrite })
        .collect()
}
