use super::*;

const UPLINK: IfIndex = 7;
const SOURCE: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hop(text: &str) -> Hop {
    Hop { link: UPLINK, address: ip(text) }
}

fn resolved(last: u8) -> Neighbor {
    Neighbor { mac: Some(Mac([2, 0, 0, 0, 1, last])), permanent: false, managed: true, ours: true }
}

fn failed() -> Neighbor {
    Neighbor { mac: None, ..resolved(0) }
}

fn adjacency(destination: &str, last: u8) -> Adjacency {
    let neighbor = Mac([2, 0, 0, 0, 1, last]);
    Adjacency { destination: ip(destination), vif: VifId(0), source: SOURCE, neighbor }
}

fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

fn acts(run: impl FnOnce(&mut Vec<Action>)) -> Vec<Action> {
    let mut actions = Vec::new();
    run(&mut actions);
    actions
}

/// An underlay with one uplink.
fn underlay() -> Underlay {
    let mut underlay = Underlay::default();
    let uplinks = BTreeMap::from([(UPLINK, Uplink { vif: VifId(0), mac: SOURCE })]);
    underlay.set_uplinks(uplinks, &mut Vec::new());
    underlay
}

/// One whose destination 10.0.0.2 is a resolved neighbour.
fn with_neighbor() -> Underlay {
    let mut underlay = underlay();
    let ignored = &mut Vec::new();
    underlay.want(&set(&["10.0.0.2"]), ignored);
    underlay.routed(ip("10.0.0.2"), Some(hop("10.0.0.2")), ignored);
    underlay.neighbor(hop("10.0.0.2"), resolved(2), ignored);
    underlay
}

#[test]
fn a_destination_becomes_an_adjacency_step_by_step() {
    let mut u = underlay();
    let to = ip("10.0.0.2");
    assert_eq!(acts(|a| u.want(&set(&["10.0.0.2"]), a)), [Action::Route(to)]);
    assert_eq!(acts(|a| u.want(&set(&["10.0.0.2"]), a)), []);
    let managed = acts(|a| u.routed(to, Some(hop("10.0.0.2")), a));
    assert_eq!(managed, [Action::Manage(hop("10.0.0.2"))]);
    let put = acts(|a| u.neighbor(hop("10.0.0.2"), resolved(2), a));
    assert_eq!(put, [Action::Put(adjacency("10.0.0.2", 2))]);
    assert_eq!(acts(|a| u.neighbor(hop("10.0.0.2"), resolved(2), a)), []);
}

#[test]
fn a_flush_keeps_the_last_mac_and_asks_for_the_neighbor_again() {
    let mut u = with_neighbor();
    assert_eq!(acts(|a| u.neighbor(hop("10.0.0.2"), failed(), a)), []);
    u.neighbor_gone(hop("10.0.0.2"));
    assert!(u.has_lost());
    assert_eq!(acts(|a| u.restore(a)), [Action::Manage(hop("10.0.0.2"))]);
    assert!(!u.has_lost());
    assert_eq!(acts(|a| u.neighbor(hop("10.0.0.2"), resolved(2), a)), []);
    let moved = acts(|a| u.neighbor(hop("10.0.0.2"), resolved(3), a));
    assert_eq!(moved, [Action::Put(adjacency("10.0.0.2", 3))]);
}

#[test]
fn a_lost_route_takes_the_adjacency_away() {
    let mut u = with_neighbor();
    let to = ip("10.0.0.2");
    assert_eq!(acts(|a| u.routes_changed(ip("10.0.0.0"), 24, a)), [Action::Route(to)]);
    assert_eq!(acts(|a| u.routes_changed(ip("10.9.0.0"), 24, a)), []);
    let gone = acts(|a| u.routed(to, None, a));
    assert_eq!(gone, [Action::Release(hop("10.0.0.2")), Action::Delete(to)]);
}

#[test]
fn a_route_off_the_uplinks_counts_as_none() {
    let mut u = with_neighbor();
    let elsewhere = Hop { link: UPLINK + 1, address: ip("10.0.0.2") };
    let gone = acts(|a| u.routed(ip("10.0.0.2"), Some(elsewhere), a));
    assert!(gone.contains(&Action::Delete(ip("10.0.0.2"))), "{gone:?}");
}

#[test]
fn a_new_gateway_is_used_once_it_is_resolved() {
    let mut u = with_neighbor();
    let to = ip("10.0.0.2");
    let turned = acts(|a| u.routed(to, Some(hop("10.0.0.254")), a));
    assert_eq!(turned, [Action::Manage(hop("10.0.0.254")), Action::Release(hop("10.0.0.2"))]);
    let put = acts(|a| u.neighbor(hop("10.0.0.254"), resolved(9), a));
    assert_eq!(put, [Action::Put(adjacency("10.0.0.2", 9))]);
}

#[test]
fn a_gateway_is_released_with_its_last_destination() {
    let mut u = underlay();
    let gateway = hop("10.0.0.254");
    let ignored = &mut Vec::new();
    u.want(&set(&["10.1.0.1", "10.1.0.2"]), ignored);
    for destination in ["10.1.0.1", "10.1.0.2"] {
        u.routed(ip(destination), Some(gateway), ignored);
    }
    u.neighbor(gateway, resolved(9), ignored);
    let first = acts(|a| u.want(&set(&["10.1.0.2"]), a));
    assert_eq!(first, [Action::Delete(ip("10.1.0.1"))]);
    let last = acts(|a| u.want(&set(&[]), a));
    assert_eq!(last, [Action::Release(gateway), Action::Delete(ip("10.1.0.2"))]);
}

#[test]
fn an_entry_set_by_hand_is_used_and_left_alone() {
    let mut u = underlay();
    let by_hand = Neighbor { permanent: true, managed: false, ours: false, ..resolved(5) };
    let ignored = &mut Vec::new();
    u.neighbor(hop("10.0.0.2"), by_hand, ignored);
    u.want(&set(&["10.0.0.2"]), ignored);
    let put = acts(|a| u.routed(ip("10.0.0.2"), Some(hop("10.0.0.2")), a));
    assert_eq!(put, [Action::Put(adjacency("10.0.0.2", 5))]);
    assert_eq!(u.unmanaged().count(), 0);
    assert_eq!(acts(|a| u.want(&set(&[]), a)), [Action::Delete(ip("10.0.0.2"))]);
}

#[test]
fn a_resync_asks_for_everything_in_doubt() {
    let mut u = with_neighbor();
    let asked = acts(|a| u.resync(Vec::new(), a));
    assert_eq!(asked, [Action::Manage(hop("10.0.0.2")), Action::Route(ip("10.0.0.2"))]);
}

#[test]
fn entries_left_by_a_predecessor_are_released() {
    let mut u = with_neighbor();
    u.neighbor(hop("10.0.0.9"), resolved(9), &mut Vec::new());
    let foreign = Neighbor { ours: false, ..resolved(8) };
    u.neighbor(hop("10.0.0.8"), foreign, &mut Vec::new());
    assert_eq!(acts(|a| u.release_strays(a)), [Action::Release(hop("10.0.0.9"))]);
}

#[test]
fn an_uplink_that_changes_its_mac_changes_the_adjacency() {
    let mut u = with_neighbor();
    let mac = Mac([2, 0, 0, 0, 0, 99]);
    let uplinks = BTreeMap::from([(UPLINK, Uplink { vif: VifId(0), mac })]);
    let to = ip("10.0.0.2");
    assert_eq!(acts(|a| u.set_uplinks(uplinks, a)), [Action::Route(to)]);
    let put = acts(|a| u.routed(to, Some(hop("10.0.0.2")), a));
    assert_eq!(put, [Action::Put(Adjacency { source: mac, ..adjacency("10.0.0.2", 2) })]);
}
