//! `nh --create ID`: a next hop of any type (reference cli.md section 3.1). What is missing or left over is usage.

use std::net::IpAddr;

use api::{
    CompositeKind, Mac, Member, NextHop, NextHopKind, NhFamily, NhFlags, NhId, Object, Op, Rewrite,
    TunnelEncap, Uplink, VifId, VrfId,
};

use super::Id;
use crate::options::Given;
use crate::tool::{Failure, Session};

/// Ether types of a rewrite.
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// Members of a composite.
const MEMBERS: usize = 32;
/// Interfaces of a tunnel.
const UPLINKS: usize = 3;

/// What any next hop can be told.
const COMMON: &[Id] = &[
    Id::Create,
    Id::Type,
    Id::Vrf,
    Id::Policy,
    Id::RelaxedPolicy,
    Id::Bridge,
    Id::Multicast,
    Id::Indirect,
    Id::RouteLookup,
    Id::MacLearn,
    Id::EtreeRoot,
];
const COMPOSITES: &[(Id, CompositeKind)] = &[
    (Id::Mcast, CompositeKind::Multicast),
    (Id::Fabric, CompositeKind::Fabric),
    (Id::Encap, CompositeKind::Encap),
    (Id::Evpn, CompositeKind::Evpn),
    (Id::Tor, CompositeKind::Tor),
    (Id::Ecmp, CompositeKind::Ecmp(0)),
];

pub(super) fn run(id: NhId, given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let next_hop = read(id, given).ok_or(Failure::Usage)?;
    session.operate(vec![Op::Put(Object::NextHop(next_hop))])
}

fn read(id: NhId, given: &Given<Id>) -> Option<NextHop> {
    let vrf = VrfId(given.number(Id::Vrf)?.index());
    let (kind, own, flags): (NextHopKind, &[Id], NhFlags) = match given.number(Id::Type)?.value {
        1 => (NextHopKind::Receive(vif(given.last(Id::Oif)?)), &[Id::Oif], NhFlags::default()),
        2 => {
            let own = &[Id::Oif, Id::SourceMac, Id::DestinationMac, Id::L3Vxlan];
            (encap(given)?, own, flag(given, Id::L3Vxlan, NhFlags::L3_VXLAN))
        }
        3 if given.has(Id::Pbb) => (
            pbb(given)?,
            &[Id::Pbb, Id::Component, Id::Label, Id::DestinationMac],
            NhFlags::default(),
        ),
        3 => {
            const OWN: &[Id] = &[
                Id::Oif,
                Id::SourceMac,
                Id::DestinationMac,
                Id::Source,
                Id::Destination,
                Id::Udp,
                Id::Vxlan,
                Id::SourcePort,
                Id::DestinationPort,
                Id::L3Vxlan,
            ];
            (tunnel(given)?, OWN, NhFlags::default())
        }
        4 => (NextHopKind::Resolve, &[], NhFlags::default()),
        5 => (NextHopKind::Discard, &[], NhFlags::default()),
        6 => {
            const OWN: &[Id] = &[
                Id::Component,
                Id::Label,
                Id::Mcast,
                Id::Fabric,
                Id::Encap,
                Id::Evpn,
                Id::Tor,
                Id::Ecmp,
            ];
            (composite(given)?, OWN, NhFlags::default())
        }
        7 => {
            let flood = flag(given, Id::UnicastFlood, NhFlags::UNKNOWN_UNICAST_FLOOD);
            let flags = flood.with(flag(given, Id::Vxlan, NhFlags::TUNNEL_VXLAN));
            (NextHopKind::Translate(vrf), &[Id::UnicastFlood, Id::Vxlan], flags)
        }
        8 => (NextHopKind::L2Receive, &[], NhFlags::default()),
        _ => return None,
    };
    if !given.0.iter().all(|(id, _)| COMMON.contains(id) || own.contains(id)) {
        return None;
    }
    let flags = common_flags(given).with(flags);
    Some(NextHop { id, family: family(given, &kind), vrf: Some(vrf), flags, kind })
}

/// What lies under a label that points here.
fn family(given: &Given<Id>, kind: &NextHopKind) -> NhFamily {
    match kind {
        _ if given.has(Id::Bridge) => NhFamily::Bridge,
        NextHopKind::Pbb { .. } => NhFamily::Bridge,
        NextHopKind::Tunnel { source: IpAddr::V6(_), .. } => NhFamily::Inet6,
        _ => NhFamily::Inet,
    }
}

fn common_flags(given: &Given<Id>) -> NhFlags {
    let bits = [
        (Id::Policy, NhFlags::POLICY),
        (Id::RelaxedPolicy, NhFlags::RELAXED_POLICY),
        (Id::Multicast, NhFlags::MULTICAST),
        (Id::Indirect, NhFlags::INDIRECT),
        (Id::RouteLookup, NhFlags::ROUTE_LOOKUP),
        (Id::MacLearn, NhFlags::MAC_LEARN),
        (Id::EtreeRoot, NhFlags::ETREE_ROOT),
    ];
    bits.iter().fold(NhFlags::VALID, |flags, (id, bit)| flags.with(flag(given, *id, *bit)))
}

fn flag(given: &Given<Id>, id: Id, bit: NhFlags) -> NhFlags {
    if given.has(id) { bit } else { NhFlags::default() }
}

fn vif(text: &str) -> VifId {
    VifId(crate::options::Number::read(text).index())
}

fn header(destination: &str, source: &str, ether_type: [u8; 2]) -> Option<Vec<u8>> {
    let (to, from): (Mac, Mac) = (destination.parse().ok()?, source.parse().ok()?);
    Some([&to.0[..], &from.0, &ether_type].concat())
}

fn encap(given: &Given<Id>) -> Option<NextHopKind> {
    if let Some(text) = given.last(Id::L3Vxlan) {
        text.parse::<Mac>().ok()?;
    }
    let (to, from) = (given.last(Id::DestinationMac)?, given.last(Id::SourceMac)?);
    Some(NextHopKind::Encap { vif: vif(given.last(Id::Oif)?), rewrite: header(to, from, IPV4)? })
}

fn pbb(given: &Given<Id>) -> Option<NextHopKind> {
    let direct = Member {
        next_hop: NhId(given.number(Id::Component)?.index()),
        label: Some(given.number(Id::Label)?.index()),
    };
    Some(NextHopKind::Pbb { mac: given.last(Id::DestinationMac)?.parse().ok()?, direct })
}

fn tunnel(given: &Given<Id>) -> Option<NextHopKind> {
    let source: IpAddr = given.last(Id::Source)?.parse().ok()?;
    let destination: IpAddr = given.last(Id::Destination)?.parse().ok()?;
    let ether_type = if source.is_ipv4() { IPV4 } else { IPV6 };
    let list = |id| given.last(id).map(|text| text.split(',').collect::<Vec<_>>());
    let (vifs, to, from) = (list(Id::Oif)?, list(Id::DestinationMac)?, list(Id::SourceMac)?);
    if vifs.len() != to.len() || vifs.len() != from.len() || vifs.len() > UPLINKS {
        return None;
    }
    let uplinks = vifs.iter().zip(to.iter().zip(&from)).map(|(out, (to, from))| {
        Some(Uplink { vif: vif(out), rewrite: header(to, from, ether_type)? })
    });
    let mut uplinks = uplinks.collect::<Option<Vec<Uplink>>>()?;
    let rewrite = match (uplinks.len(), uplinks.pop()?) {
        (1, only) => Rewrite::Given(only.vif, only.rewrite),
        (_, last) => Rewrite::Uplinks(uplinks.into_iter().chain([last]).map(Some).collect()),
    };
    Some(NextHopKind::Tunnel { source, destination, encap: encapsulation(given)?, rewrite })
}

fn encapsulation(given: &Given<Id>) -> Option<TunnelEncap> {
    let ports = match (given.number(Id::SourcePort), given.number(Id::DestinationPort)) {
        (None, None) => None,
        (Some(source), Some(destination)) => Some((source.index(), destination.index())),
        _ => return None,
    };
    let mac = given.last(Id::L3Vxlan).map(|text| text.parse::<Mac>().ok());
    match (given.has(Id::Udp), given.has(Id::Vxlan), mac) {
        (true, false, None) => Some(match ports {
            Some((source, destination)) => TunnelEncap::Udp { source, destination },
            None => TunnelEncap::MplsOverUdp,
        }),
        // The ports are given for form's sake: they are the flow's and the standard's.
        (false, true, None) => Some(TunnelEncap::Vxlan),
        (false, true, Some(mac)) => Some(TunnelEncap::VxlanL3(mac?)),
        (false, false, None) if ports.is_none() => Some(TunnelEncap::MplsOverGre),
        _ => None,
    }
}

fn composite(given: &Given<Id>) -> Option<NextHopKind> {
    let mut kinds = COMPOSITES.iter().filter(|(id, _)| given.has(*id));
    let (Some((id, kind)), None) = (kinds.next(), kinds.next()) else { return None };
    let read = |id| given.each(id).map(|text| crate::options::Number::read(text).index::<u32>());
    let labels: Vec<u32> = read(Id::Label).collect();
    let members: Vec<Option<Member>> = read(Id::Component)
        .enumerate()
        .map(|(place, next_hop)| {
            Some(Member { next_hop: NhId(next_hop), label: labels.get(place).copied() })
        })
        .collect();
    let needs_labels = matches!(id, Id::Evpn | Id::Tor);
    if members.len() > MEMBERS
        || labels.len() > members.len()
        || (needs_labels && labels.len() != members.len())
    {
        return None;
    }
    Some(NextHopKind::Composite { kind: *kind, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(line: &str) -> Option<NextHop> {
        let words = line.split_whitespace().map(std::ffi::OsString::from);
        let (_, given) = crate::options::parse(words, super::super::TOOL.options, "").unwrap();
        read(NhId(given.number(Id::Create)?.index()), &given)
    }

    #[test]
    fn every_type_is_made_of_its_options() {
        let macs = "--smac 2:0:0:0:0:1 --dmac 2:0:0:0:0:2";
        let hop = made(&format!("--create 9 --type 2 --vrf 1 --oif 3 {macs} --pol")).unwrap();
        assert_eq!(hop.flags, NhFlags::VALID.with(NhFlags::POLICY));
        let rewrite = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        assert_eq!(hop.kind, NextHopKind::Encap { vif: VifId(3), rewrite });

        let ends = "--sip 2001:db8::1 --dip 2001:db8::2";
        let hop =
            made(&format!("--create 9 --type 3 --vrf 0 --oif 0 {macs} {ends} --udp")).unwrap();
        assert_eq!(hop.family, NhFamily::Inet6);
        let NextHopKind::Tunnel { encap, rewrite: Rewrite::Given(_, bytes), .. } = &hop.kind else {
            panic!("{hop:?}")
        };
        assert_eq!((*encap, &bytes[12..]), (TunnelEncap::MplsOverUdp, &[0x86, 0xdd][..]));

        let line = "--create 9 --type 3 --vrf 0 --oif 0,1 --smac 2:0:0:0:0:1,2:0:0:0:0:3 \
                    --dmac 2:0:0:0:0:2,2:0:0:0:0:4 --sip 192.0.2.1 --dip 192.0.2.2";
        let NextHopKind::Tunnel { rewrite: Rewrite::Uplinks(uplinks), .. } =
            made(line).unwrap().kind
        else {
            panic!("two uplinks")
        };
        assert_eq!(uplinks.len(), 2);

        let hop =
            made("--create 9 --type 6 --vrf 1 --cni 4 --lbl 7 --cni 5 --lbl 8 --cevpn").unwrap();
        let member =
            |next_hop, label| Some(Member { next_hop: NhId(next_hop), label: Some(label) });
        let members = vec![member(4, 7), member(5, 8)];
        assert_eq!(hop.kind, NextHopKind::Composite { kind: CompositeKind::Evpn, members });

        let hop = made("--create 9 --type 7 --vrf 4 --l2 --uucf").unwrap();
        assert_eq!((hop.family, hop.kind), (NhFamily::Bridge, NextHopKind::Translate(VrfId(4))));
        assert!(
            made("--create 9 --type 3 --vrf 1 --pbb --cni 17 --lbl 40 --dmac 2:0:0:0:0:2")
                .is_some()
        );
        assert!(made("--create 9 --type 1 --vrf 1 --oif 1").is_some());
        for plain in [4, 5, 8] {
            assert!(made(&format!("--create 9 --type {plain} --vrf 1")).is_some());
        }
    }

    #[test]
    fn what_is_missing_or_left_over_is_refused() {
        for line in [
            "--create 9 --type 2 --vrf 1 --oif 3",
            "--create 9 --type 5",
            "--create 9 --vrf 1",
            "--create 9 --type 5 --vrf 1 --oif 3",
            "--create 9 --type 6 --vrf 1 --cni 4 --cevpn",
            "--create 9 --type 6 --vrf 1 --cni 4 --ecmp --cfa",
            "--create 9 --type 6 --vrf 1 --cni 4",
            "--create 9 --type 9 --vrf 1",
            "--create 9 --type 8 --vrf 1 --list",
            "--create 9 --type 3 --vrf 0 --oif 0,1 --smac 2:0:0:0:0:1 --dmac 2:0:0:0:0:2 --sip 1.1.1.1 --dip 1.1.1.2",
            "--create 9 --type 3 --vrf 0 --oif 0 --smac 2:0:0:0:0:1 --dmac 2:0:0:0:0:2 --sip 1.1.1.1 --dip x",
        ] {
            assert!(made(line).is_none(), "{line}");
        }
    }
}
