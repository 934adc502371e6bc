//! Import and decision over paths as peers tell them.

use std::net::Ipv4Addr;
use std::path::Path as FilePath;
use std::sync::Arc;

use proptest::prelude::*;
use proto::bgp::{
    Announcement, Attributes, Destination, Encapsulation, Family, FloodTunnel, IpPrefix, Mobility,
    Origin, Rd, RouteKey, Segment,
};
use wire::Mac;

use super::decision::select;
use super::import::{Beyond, Hop, Imported, Unusable, import};
use super::*;
use crate::config::Config;

fn config(encapsulations: &str) -> Config {
    let text = format!(
        "[node]\nname = \"n\"\nrouter_id = \"192.0.2.1\"\nuplink = \"eth1\"\nencapsulations = [{encapsulations}]\n\
         [bgp]\nas = 64512\n\
         [[network]]\nname = \"red\"\nvni = 5001\nroute_targets = [\"64512:1\"]\n\
         subnets = [{{ prefix = \"10.1.0.0/24\", gateway = \"10.1.0.1\" }}]\n\
         [[network]]\nname = \"both\"\nvni = 5002\nroute_targets = [\"64512:2\"]\nimport_targets = [\"64512:1\"]\n\
         subnets = [{{ prefix = \"10.1.0.0/24\", gateway = \"10.1.0.1\" }}]\n"
    );
    Config::parse(FilePath::new("test.toml"), &text).unwrap()
}

const ALL: &str = "\"mplsoudp\", \"mplsogre\", \"vxlan\"";

fn attributes(next_hop: u8) -> Attributes {
    Attributes {
        origin: Origin::Igp,
        as_path: vec![],
        next_hop: IpAddr::V4(Ipv4Addr::new(192, 0, 2, next_hop)),
        med: None,
        local_preference: None,
        targets: vec!["64512:1".parse().unwrap()],
        encapsulations: vec![Encapsulation::MplsOverGre, Encapsulation::MplsOverUdp],
        encapsulation_given: true,
        router_mac: None,
        mobility: None,
        membership: proto::bgp::Membership::default(),
        flood: None,
    }
}

fn told(family: Family, label: [u8; 3], attributes: Attributes) -> RouteUpdate {
    let destination = Destination::Prefix(IpPrefix::V4("10.1.0.12/32".parse().unwrap()));
    told_of(family, destination, label, attributes)
}

fn told_of(
    family: Family,
    destination: Destination,
    label: [u8; 3],
    attributes: Attributes,
) -> RouteUpdate {
    let IpAddr::V4(next_hop) = attributes.next_hop else { panic!() };
    let key = RouteKey { family, rd: Rd::from_address(next_hop, 1), tag: 0, destination };
    let attributes = Arc::new(attributes);
    let announced = vec![Announcement { key, raw_label: label, attributes }];
    RouteUpdate { announced, ..RouteUpdate::default() }
}

fn peer(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

const LABEL: [u8; 3] = [0, 1, 0x91];

/// The hops of 10.1.0.12/32 in a network, and why paths are not used.
fn hops(config: &Config, rib: &Rib, network: &str) -> (Vec<Hop>, Vec<Unusable>) {
    hops_of(config, rib, network, Beyond::Inet("10.1.0.12/32".parse().unwrap()))
}

fn hops_of(config: &Config, rib: &Rib, network: &str, of: Beyond) -> (Vec<Hop>, Vec<Unusable>) {
    let Imported { candidates, refusals, .. } = import(config, rib);
    let chosen = candidates.get(&(network, of)).map(|list| select(list)).unwrap_or_default();
    (chosen.into_iter().collect(), refusals.into_iter().map(|(_, why)| why).collect())
}

/// The last byte of each hop's IPv4 endpoint.
fn last_bytes(hops: &[Hop]) -> Vec<u8> {
    let last = |hop: &Hop| match hop.endpoint {
        IpAddr::V4(endpoint) => endpoint.octets()[3],
        IpAddr::V6(endpoint) => panic!("{endpoint}"),
    };
    hops.iter().map(last).collect()
}

fn one(list: &str, update: &RouteUpdate) -> (Vec<Hop>, Vec<Unusable>) {
    let mut rib = Rib::default();
    rib.update(peer(1), Relation::Internal, update);
    hops(&config(list), &rib, "red")
}

#[test]
fn the_first_encapsulation_of_our_list_that_is_offered_is_taken() {
    let update = told(Family::Vpn4, LABEL, attributes(2));
    for (list, expected) in [
        (ALL, Some(Encapsulation::MplsOverUdp)),
        ("\"mplsogre\", \"mplsoudp\"", Some(Encapsulation::MplsOverGre)),
        ("\"vxlan\"", None),
    ] {
        let (chosen, refusals) = one(list, &update);
        assert_eq!(chosen.first().map(|hop| hop.encapsulation), expected);
        assert_eq!(chosen.first().map(|hop| hop.label), expected.map(|_| 25));
        assert_eq!(refusals.is_empty(), expected.is_some());
    }
}

#[test]
fn without_a_community_l3vpn_means_gre_and_evpn_means_vxlan() {
    let bare = |next_hop| Attributes {
        encapsulations: vec![],
        encapsulation_given: false,
        router_mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        ..attributes(next_hop)
    };
    let (chosen, _) = one(ALL, &told(Family::Vpn4, LABEL, bare(2)));
    assert_eq!(chosen[0].encapsulation, Encapsulation::MplsOverGre);
    let (chosen, _) = one(ALL, &told(Family::Evpn, LABEL, bare(2)));
    assert_eq!((chosen[0].encapsulation, chosen[0].label), (Encapsulation::Vxlan, 0x191));
    let (chosen, refusals) = one("\"mplsoudp\"", &told(Family::Vpn4, LABEL, bare(2)));
    assert_eq!((chosen, refusals), (vec![], vec![Unusable::Encapsulation]));
    let unknown = Attributes { encapsulations: vec![], ..attributes(2) };
    let (_, refusals) = one(ALL, &told(Family::Vpn4, LABEL, unknown));
    assert_eq!(refusals, [Unusable::Encapsulation], "only foreign ones offered");
}

#[test]
fn paths_that_cannot_be_used_stay_in_the_rib_and_out_of_the_dataplane() {
    let vxlan = Attributes { encapsulations: vec![Encapsulation::Vxlan], ..attributes(2) };
    let (chosen, refusals) = one(ALL, &told(Family::Evpn, LABEL, vxlan.clone()));
    assert_eq!((chosen, refusals), (vec![], vec![Unusable::NoRouterMac]));
    let (_, refusals) = one(ALL, &told(Family::Vpn4, LABEL, vxlan));
    assert_eq!(refusals, [Unusable::Encapsulation], "VXLAN carries EVPN only");
    let (_, refusals) = one(ALL, &told(Family::Vpn4, [0, 0, 1], attributes(2)));
    assert_eq!(refusals, [Unusable::Label(0)], "what GoBGP sends as a PE");
    let (chosen, refusals) = one(ALL, &told(Family::Vpn4, LABEL, attributes(1)));
    assert_eq!((chosen, refusals), (vec![], vec![]), "our own, reflected");
}

#[test]
fn a_route_reaches_every_network_that_imports_one_of_its_targets() {
    let mut rib = Rib::default();
    rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(2)));
    let config = config(ALL);
    assert_eq!(hops(&config, &rib, "red").0.len(), 1);
    assert_eq!(hops(&config, &rib, "both").0.len(), 1);
    let other = Attributes { targets: vec!["64512:2".parse().unwrap()], ..attributes(2) };
    rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, other));
    assert_eq!(hops(&config, &rib, "red").0.len(), 0, "replaced");
    assert_eq!(hops(&config, &rib, "both").0.len(), 1);
}

#[test]
fn two_reflectors_make_one_hop_and_two_nodes_make_two() {
    let mut rib = Rib::default();
    for reflector in [1, 2] {
        rib.update(peer(reflector), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(2)));
    }
    assert_eq!(hops(&config(ALL), &rib, "red").0.len(), 1);
    rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(3)));
    assert_eq!(hops(&config(ALL), &rib, "red").0.len(), 2);
    rib.flush(peer(2), Family::Vpn4);
    assert_eq!(hops(&config(ALL), &rib, "red").0.len(), 2);
}

#[test]
fn stale_paths_are_used_until_swept() {
    let mut rib = Rib::default();
    for node in [2, 3] {
        rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(node)));
    }
    rib.mark_stale(peer(1), Family::Vpn4);
    rib.mark_stale(peer(2), Family::Vpn4);
    assert_eq!(hops(&config(ALL), &rib, "red").0.len(), 2);
    rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(3)));
    rib.sweep(peer(1), Family::Evpn);
    assert_eq!(hops(&config(ALL), &rib, "red").0.len(), 2);
    rib.sweep(peer(1), Family::Vpn4);
    let (left, _) = hops(&config(ALL), &rib, "red");
    assert_eq!(last_bytes(&left), [3]);
}

#[test]
fn each_step_of_the_decision_beats_those_after_it() {
    type Change = fn(&mut Attributes);
    // Better first; everything after the step is made worse.
    let steps: [(&str, Change, Change); 4] = [
        ("local preference", |a| a.local_preference = Some(200), |_| {}),
        ("AS path", |_| {}, |a| a.as_path = vec![Segment::Sequence(vec![65001])]),
        ("origin", |_| {}, |a| a.origin = Origin::Incomplete),
        ("MED", |_| {}, |a| a.med = Some(10)),
    ];
    for step in 0..steps.len() {
        let mut rib = Rib::default();
        let (mut better, mut worse) = (attributes(2), attributes(3));
        for (at, (_, good, bad)) in steps.iter().enumerate() {
            if at == step {
                good(&mut better);
                bad(&mut worse);
            } else if at > step {
                good(&mut worse);
                bad(&mut better);
            }
        }
        rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, better));
        rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, worse));
        let (chosen, _) = hops(&config(ALL), &rib, "red");
        assert_eq!(last_bytes(&chosen), [2], "{}", steps[step].0);
    }
    let mut rib = Rib::default();
    rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(2)));
    rib.update(peer(2), Relation::External, &told(Family::Vpn4, LABEL, attributes(3)));
    assert_eq!(last_bytes(&hops(&config(ALL), &rib, "red").0), [3], "external first");
}

const STATION: Mac = Mac([2, 0, 0, 0, 0xa1, 9]);

fn station(address: Option<&str>) -> Destination {
    Destination::Station { mac: STATION, address: address.map(|text| text.parse().unwrap()) }
}

fn l2(next_hop: u8, encapsulations: &[Encapsulation]) -> Attributes {
    Attributes { encapsulations: encapsulations.to_vec(), ..attributes(next_hop) }
}

#[test]
fn h31_a_station_gets_the_vni_or_the_label_its_route_has() {
    for (encapsulation, label, expected) in [
        (Encapsulation::Vxlan, [0, 0x13, 0x89], 5001),
        (Encapsulation::MplsOverUdp, [1, 0x38, 0x91], 5001),
        (Encapsulation::Vxlan, [1, 0x38, 0x91], 80017),
    ] {
        let mut rib = Rib::default();
        let update = told_of(Family::Evpn, station(None), label, l2(2, &[encapsulation]));
        rib.update(peer(1), Relation::Internal, &update);
        let (chosen, refusals) = hops_of(&config(ALL), &rib, "red", Beyond::Station(STATION));
        assert_eq!(refusals, []);
        let [hop] = chosen.as_slice() else { panic!("{chosen:?}") };
        assert_eq!((hop.encapsulation, hop.label), (encapsulation, expected));
        assert_eq!(hop.router_mac, None, "bridged, not routed");
    }
}

#[test]
fn the_latest_announcement_of_a_station_counts_and_a_sticky_one_before_all() {
    let at = |node: u8, sticky: bool, sequence: u32| {
        let mobility = Some(Mobility { sticky, sequence });
        let attributes = Attributes { mobility, ..l2(node, &[Encapsulation::Vxlan]) };
        told_of(Family::Evpn, station(None), [0, 0x13, 0x89], attributes)
    };
    let place = |updates: &[RouteUpdate]| {
        let mut rib = Rib::default();
        for update in updates {
            rib.update(peer(1), Relation::Internal, update);
        }
        last_bytes(&hops_of(&config(ALL), &rib, "red", Beyond::Station(STATION)).0)
    };
    let none =
        told_of(Family::Evpn, station(None), [0, 0x13, 0x89], l2(4, &[Encapsulation::Vxlan]));
    assert_eq!(place(&[at(2, false, 1), none.clone()]), [2], "no community is sequence 0");
    assert_eq!(place(&[at(2, false, 1), at(3, false, 2)]), [3]);
    assert_eq!(place(&[at(2, true, 0), at(3, false, 9)]), [2]);
    assert_eq!(place(&[at(3, false, 1), at(2, false, 1)]), [2], "the lower endpoint");
}

#[test]
fn a_flood_route_leads_to_the_endpoint_of_its_tunnel() {
    let router = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    let flood = Destination::Flood { router };
    let tunnel = |raw_label, last| {
        Some(FloodTunnel { raw_label, endpoint: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)) })
    };
    let with = |flood_tunnel: Option<FloodTunnel>| {
        let attributes = Attributes { flood: flood_tunnel, ..l2(2, &[Encapsulation::Vxlan]) };
        let label = flood_tunnel.map_or([0; 3], |tunnel| tunnel.raw_label);
        let mut rib = Rib::default();
        let update = told_of(Family::Evpn, flood, label, attributes);
        rib.update(peer(1), Relation::Internal, &update);
        hops_of(&config(ALL), &rib, "red", Beyond::Flood(router))
    };
    let (chosen, _) = with(tunnel([0, 0x13, 0x89], 7));
    assert_eq!((last_bytes(&chosen), chosen[0].label), (vec![7], 5001));
    assert_eq!(with(None), (vec![], vec![Unusable::NoFloodTunnel]));
    assert_eq!(with(tunnel([0; 3], 7)).1, [Unusable::Label(0)]);
    assert_eq!(with(tunnel([0, 0, 9], 1)), (vec![], vec![]), "our own");
}

#[test]
fn a_groups_mac_is_no_station_and_a_network_without_bridging_has_none() {
    let mut rib = Rib::default();
    let group = Destination::Station { mac: Mac::BROADCAST, address: None };
    let vxlan = l2(2, &[Encapsulation::Vxlan]);
    let update = told_of(Family::Evpn, group, [0, 0x13, 0x89], vxlan.clone());
    rib.update(peer(1), Relation::Internal, &update);
    let (chosen, refusals) = hops_of(&config(ALL), &rib, "red", Beyond::Station(Mac::BROADCAST));
    assert_eq!((chosen, refusals), (vec![], vec![Unusable::Station(Mac::BROADCAST)]));
    let mut off = config(ALL);
    for network in &mut off.networks {
        network.bridging = None;
    }
    let update = told_of(Family::Evpn, station(Some("10.1.0.12")), [0, 0x13, 0x89], vxlan);
    rib.update(peer(1), Relation::Internal, &update);
    let imported = import(&off, &rib);
    assert!(imported.candidates.is_empty() && imported.bindings.is_empty());
    assert!(imported.refusals.is_empty(), "not meant for it");
    let bindings = import(&config(ALL), &rib).bindings;
    assert_eq!(bindings.get(&("red".to_owned(), "10.1.0.12".parse().unwrap())), Some(&STATION));
}

#[test]
fn next_hops_are_of_the_family_of_our_own_endpoint() {
    let v6 = Attributes { next_hop: "2001:db8::2".parse().unwrap(), ..attributes(2) };
    let key = told(Family::Vpn4, LABEL, attributes(2)).announced[0].key;
    let announced = vec![Announcement { key, raw_label: LABEL, attributes: Arc::new(v6) }];
    let update = RouteUpdate { announced, ..RouteUpdate::default() };
    assert_eq!(one(ALL, &update), (vec![], vec![Unusable::NextHopFamily]));
    let mut config = config(ALL);
    config.node.tunnel_endpoint = "2001:db8::1".parse().unwrap();
    let mut rib = Rib::default();
    rib.update(peer(1), Relation::Internal, &update);
    assert_eq!(hops(&config, &rib, "red").0.len(), 1);
    rib.update(peer(1), Relation::Internal, &told(Family::Vpn4, LABEL, attributes(2)));
    assert_eq!(hops(&config, &rib, "red").1, [Unusable::NextHopFamily]);
}

proptest! {
    /// The order in which paths arrive, and who told them first, does not matter.
    #[test]
    fn the_decision_does_not_depend_on_order(
        paths in proptest::collection::vec((2u8..6, 1u8..4, 0u32..3, 0u32..3, any::<bool>()), 1..12),
        seed in any::<u64>(),
    ) {
        let config = config(ALL);
        let build = |order: Vec<usize>| {
            let mut rib = Rib::default();
            // One path a peer and node: the last one of the input counts in any order.
            let mut seen = std::collections::BTreeSet::new();
            for at in order {
                let (node, from, preference, med, external) = paths[at];
                let last = paths.iter().rposition(|p| (p.0, p.1) == (node, from));
                if last == Some(at) && seen.insert((node, from)) {
                    let attributes = Attributes {
                        local_preference: Some(preference),
                        med: Some(med),
                        ..attributes(node)
                    };
                    let relation =
                        if external { Relation::External } else { Relation::Internal };
                    rib.update(peer(from), relation, &told(Family::Vpn4, LABEL, attributes));
                }
            }
            hops(&config, &rib, "red").0
        };
        let forward: Vec<usize> = (0..paths.len()).collect();
        let mut mixed = forward.clone();
        let mut state = seed;
        for at in (1..mixed.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let other = usize::try_from(state >> 33).unwrap() % (at + 1);
            mixed.swap(at, other);
        }
        let chosen = build(forward);
        prop_assert!(!chosen.is_empty());
        prop_assert_eq!(chosen, build(mixed));
    }
}
