//! The trie judged by a naive twin (a map searched from the longest length down) and by `prefix-trie`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use prefix_trie::PrefixMap;
use proptest::prelude::*;

use super::*;

/// The identity that goes with a next hop here.
fn identity(hit: &RouteHit) -> Option<IdentityId> {
    let id = hit.nh.0.wrapping_mul(7919) % NO_IDENTITY;
    (hit.nh.0 != 0 && !hit.nh.0.is_multiple_of(5)).then_some(IdentityId(id))
}

/// Exact routes beside the trie, as the model keeps them.
#[derive(Clone)]
struct Twin<A> {
    trie: Lpm<A>,
    routes: BTreeMap<Prefix<A>, RouteHit>,
}

impl<A: Address> Twin<A> {
    fn new() -> Self {
        Twin { trie: Lpm::default(), routes: BTreeMap::new() }
    }

    fn put(&mut self, prefix: Prefix<A>, nh: u32) {
        let nh = nh % NH;
        let label = (!nh.is_multiple_of(3)).then_some(nh & 0xff_ffff);
        let bridge =
            if nh.is_multiple_of(2) { BridgeSlot::new(nh % BridgeSlot::LIMIT) } else { None };
        let flags = if label.is_some() { RouteFlags::LABEL_VALID } else { RouteFlags::ARP_PROXY };
        let hit = RouteHit { nh: NhId(nh), label, bridge, flags, prefix_len: prefix.length() };
        self.trie.put(&prefix, Leaf::new(&hit, identity(&hit)));
        self.routes.insert(prefix, hit);
    }

    fn delete(&mut self, prefix: Prefix<A>) {
        self.routes.remove(&prefix);
        let beside = lengths_beside(prefix.length()).rev();
        let cover = beside
            .filter_map(|length| self.routes.get(&Prefix::new(prefix.address(), length).unwrap()))
            .next();
        self.trie.delete(&prefix, cover.map(|hit| Leaf::new(hit, identity(hit))));
    }

    fn longest(&self, address: A) -> RouteHit {
        let mut lengths = (0..=A::BITS).rev();
        let found = lengths.find_map(|l| self.routes.get(&Prefix::new(address, l).unwrap()));
        found.copied().unwrap_or(RouteHit::MISS)
    }

    /// The dump of cli.md section 4.4, straight from its definition.
    fn rows(&self) -> Vec<(Prefix<A>, RouteHit)> {
        let mut rows = Vec::new();
        self.walk(Prefix::new(A::from_bits128(0), 0).unwrap(), &mut rows);
        rows
    }

    fn walk(&self, at: Prefix<A>, rows: &mut Vec<(Prefix<A>, RouteHit)>) {
        if self.routes.keys().any(|p| at.covers(p) && p.length() > at.length()) {
            for octet in 0..=255u128 {
                let bits = at.address().to_bits128() | octet << (A::BITS - at.length() - 8);
                self.walk(Prefix::new(A::from_bits128(bits), at.length() + 8).unwrap(), rows);
            }
        } else {
            let covering = self.routes.iter().filter(|(p, _)| p.covers(&at));
            let best = covering.max_by_key(|(p, _)| p.length());
            rows.push((at, best.map_or(RouteHit::MISS, |(_, hit)| *hit)));
        }
    }

    fn check(&self, addresses: &[A]) {
        let answers: Vec<_> = addresses.iter().map(|a| self.trie.lookup(*a)).collect();
        let expected: Vec<_> = addresses.iter().map(|a| self.longest(*a)).collect();
        assert_eq!(answers, expected);
        for (address, hit) in addresses.iter().zip(&expected) {
            assert_eq!(self.trie.identity(*address), identity(hit));
        }
        for addresses in addresses.chunks(BURST) {
            let mut hits = Vec::new();
            burst(addresses.iter().map(|a| (Some(&self.trie), *a)), |hit| hits.push(hit));
            let expected: Vec<_> = addresses.iter().map(|a| self.longest(*a)).collect();
            assert_eq!(hits, expected);
        }
    }
}

/// Addresses that collide often: few octet values, borders among them.
fn address<A: Address>() -> impl Strategy<Value = A> {
    let octet = prop_oneof![
        Just(0u8),
        Just(1),
        Just(10),
        Just(127),
        Just(128),
        Just(254),
        Just(255),
        any::<u8>()
    ];
    prop::collection::vec(octet, usize::from(A::BITS / 8)).prop_map(|octets| {
        A::from_bits128(octets.iter().fold(0, |bits, octet| bits << 8 | u128::from(*octet)))
    })
}

fn prefix<A: Address>() -> impl Strategy<Value = Prefix<A>> {
    (address::<A>(), 0..=A::BITS)
        .prop_map(|(address, length)| Prefix::new(address, length).unwrap())
}

#[derive(Clone, Debug)]
enum Step<A: Address> {
    Put(Prefix<A>, u32),
    Delete(Prefix<A>),
    /// Delete one of the routes there are.
    DeleteSome(usize),
    /// Put a shorter or longer cousin of one of the routes there are.
    PutNear(usize, u8, u32),
}

fn step<A: Address>() -> impl Strategy<Value = Step<A>> {
    prop_oneof![
        3 => (prefix(), any::<u32>()).prop_map(|(p, nh)| Step::Put(p, nh)),
        1 => prefix().prop_map(Step::Delete),
        2 => any::<usize>().prop_map(Step::DeleteSome),
        2 => (any::<usize>(), 0..=A::BITS, any::<u32>()).prop_map(|(i, l, nh)| Step::PutNear(i, l, nh)),
    ]
}

fn run<A: Address>(steps: Vec<Step<A>>, addresses: &[A]) {
    let mut twin = Twin::new();
    let mut snapshots = Vec::new();
    for (turn, step) in steps.into_iter().enumerate() {
        if turn % 7 == 0 {
            snapshots.push(twin.clone());
        }
        let some = |index: usize| twin.routes.keys().nth(index % twin.routes.len().max(1)).copied();
        match step {
            Step::Put(prefix, nh) => twin.put(prefix, nh),
            Step::Delete(prefix) => twin.delete(prefix),
            Step::DeleteSome(index) => some(index).into_iter().for_each(|p| twin.delete(p)),
            Step::PutNear(index, length, nh) => some(index)
                .into_iter()
                .for_each(|p| twin.put(Prefix::new(p.address(), length).unwrap(), nh)),
        }
    }
    // Borders of every route there ever was, beside the random addresses.
    let mut all = addresses.to_vec();
    for prefix in snapshots.iter().chain([&twin]).flat_map(|t| t.routes.keys()) {
        let last = u128::MAX.checked_shr(u32::from(128 - A::BITS + prefix.length())).unwrap_or(0);
        let first = prefix.address().to_bits128();
        for bits in [first, first | last, first.wrapping_sub(1), (first | last).wrapping_add(1)] {
            all.push(A::from_bits128(bits));
        }
    }
    for twin in snapshots.iter().chain([&twin]) {
        twin.check(&all);
    }
    // A table from which everything was deleted is as a fresh one.
    for prefix in twin.routes.keys().copied().collect::<Vec<_>>() {
        twin.delete(prefix);
    }
    assert_eq!(twin.trie.bytes(), Lpm::<A>::default().bytes());
    snapshots.iter().for_each(|twin| twin.check(&all));
}

fn dump<A: Address>(steps: Vec<(Prefix<A>, u32)>, stop: usize) {
    let mut twin = Twin::new();
    steps.into_iter().for_each(|(prefix, nh)| twin.put(prefix, nh));
    let rows = twin.rows();
    let all: Vec<_> = twin.trie.leaves(None).collect();
    assert_eq!(all, rows);
    let after = rows[stop % rows.len()].0;
    let rest: Vec<_> = twin.trie.leaves(Some(after)).collect();
    assert_eq!(rest, rows[stop % rows.len() + 1..]);
}

proptest! {
    #[test]
    fn inet_answers_as_the_naive_twin_before_and_after_changes(
        steps in prop::collection::vec(step::<Ipv4Addr>(), 1..120),
        addresses in prop::collection::vec(address(), 32),
    ) {
        run(steps, &addresses);
    }

    #[test]
    fn inet6_answers_as_the_naive_twin_before_and_after_changes(
        steps in prop::collection::vec(step::<Ipv6Addr>(), 1..60),
        addresses in prop::collection::vec(address(), 32),
    ) {
        run(steps, &addresses);
    }

    #[test]
    fn inet_dump_is_the_walk_of_the_original_and_resumes_anywhere(
        routes in prop::collection::vec((prefix::<Ipv4Addr>(), any::<u32>()), 0..12),
        stop in any::<usize>(),
    ) {
        dump(routes, stop);
    }

    #[test]
    fn inet6_dump_is_the_walk_of_the_original_and_resumes_anywhere(
        routes in prop::collection::vec((prefix::<Ipv6Addr>(), any::<u32>()), 0..3),
        stop in any::<usize>(),
    ) {
        dump(routes, stop);
    }

    #[test]
    fn inet_answers_as_prefix_trie(
        routes in prop::collection::vec((any::<u32>(), 1u8..=32, any::<u32>()), 1..300),
        addresses in prop::collection::vec(any::<u32>(), 64),
    ) {
        let mut twin = Twin::new();
        let mut oracle = PrefixMap::<(u32, u8), u32>::new();
        for (address, length, nh) in &routes {
            let nh = &(nh % NH);
            let prefix = Prefix::new(Ipv4Addr::from_bits(*address), *length).unwrap();
            twin.put(prefix, *nh);
            oracle.insert((prefix.address().to_bits(), *length), *nh);
        }
        for address in addresses.into_iter().chain(routes.iter().map(|(address, ..)| *address)) {
            let found = oracle.get_lpm(&(address, 32)).map_or((0, 0), |((_, length), nh)| (length, *nh));
            let hit = twin.trie.lookup(Ipv4Addr::from_bits(address));
            prop_assert_eq!((hit.prefix_len, hit.nh.0), found);
        }
    }
}

fn p<A: Address>(text: &str) -> Prefix<A> {
    text.parse().unwrap()
}

fn matched(twin: &Twin<Ipv4Addr>, address: &str) -> (u32, u8) {
    let hit = twin.trie.lookup(address.parse().unwrap());
    (hit.nh.0, hit.prefix_len)
}

#[test]
fn deleting_a_route_re_exposes_the_one_that_covers_it() {
    let mut twin = Twin::<Ipv4Addr>::new();
    let routes = ["22.5.6.0/29", "22.5.6.1/32", "22.5.6.2/32", "169.254.169.254/32", "0.0.0.0/0"];
    (1..).zip(routes).for_each(|(nh, route)| twin.put(p(route), nh));
    assert_eq!(matched(&twin, "22.5.6.1"), (2, 32));
    twin.delete(p("22.5.6.1/32"));
    twin.delete(p("22.5.6.2/32"));
    assert_eq!(matched(&twin, "22.5.6.1"), (1, 29));
    assert_eq!(matched(&twin, "22.5.6.2"), (1, 29));
    twin.delete(p("22.5.6.0/29"));
    assert_eq!(matched(&twin, "22.5.6.1"), (5, 0));
    twin.delete(p("169.254.169.254/32"));
    assert_eq!(matched(&twin, "169.254.169.254"), (5, 0));
    twin.delete(p("0.0.0.0/0"));
    assert_eq!(twin.trie.lookup("22.5.6.1".parse().unwrap()), RouteHit::MISS);
    assert_eq!(twin.trie.bytes(), Lpm::<Ipv4Addr>::default().bytes());
}

#[test]
fn a_cover_deleted_first_leaves_the_host_route_and_then_an_empty_table() {
    let mut twin = Twin::<Ipv4Addr>::new();
    twin.put(p("1.1.1.0/24"), 1);
    twin.put(p("1.1.1.1/32"), 2);
    twin.delete(p("1.1.1.0/24"));
    assert_eq!(matched(&twin, "1.1.1.1"), (2, 32));
    assert_eq!(matched(&twin, "1.1.1.2"), (0, 0));
    twin.delete(p("1.1.1.1/32"));
    assert_eq!(twin.trie.bytes(), Lpm::<Ipv4Addr>::default().bytes());
}

#[test]
fn overlapping_inet6_routes_match_at_their_borders() {
    let mut twin = Twin::<Ipv6Addr>::new();
    for (nh, length) in (1..).zip([61, 62, 127, 128]) {
        twin.put(p(&format!("2001:db8::/{length}")), nh);
    }
    for (address, length) in [
        ("2001:db8::", 128),
        ("2001:db8::1", 127),
        ("2001:db8::2", 62),
        ("2001:db8:0:3:ffff:ffff:ffff:ffff", 62),
        ("2001:db8:0:4::", 61),
        ("2001:db8:0:7:ffff:ffff:ffff:ffff", 61),
        ("2001:db8:0:8::", 0),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 0),
    ] {
        assert_eq!(twin.trie.lookup(address.parse().unwrap()).prefix_len, length, "{address}");
    }
}

#[test]
fn a_default_route_alone_dumps_as_one_row_and_a_host_route_opens_four_levels() {
    let mut twin = Twin::<Ipv4Addr>::new();
    twin.put(p("0.0.0.0/0"), 7);
    let rows: Vec<_> =
        twin.trie.leaves(None).map(|(prefix, hit)| (prefix.to_string(), hit.nh.0)).collect();
    assert_eq!(rows, [("0.0.0.0/0".to_string(), 7)]);
    twin.put(p("10.1.2.3/32"), 8);
    assert_eq!(twin.trie.leaves(None).count(), 255 * 3 + 256);
}

#[test]
fn a_burst_over_several_tables_answers_each_from_its_own() {
    let (mut red, mut blue) = (Twin::<Ipv4Addr>::new(), Twin::<Ipv4Addr>::new());
    red.put(p("10.1.0.0/16"), 1);
    red.put(p("10.1.2.3/32"), 2);
    blue.put(p("10.1.2.0/24"), 3);
    blue.put(p("0.0.0.0/0"), 4);
    let keys = [
        (Some(&red.trie), "10.1.2.3"),
        (Some(&blue.trie), "10.1.2.3"),
        (Some(&blue.trie), "10.1.3.3"),
        (None, "10.1.3.3"),
        (None, "10.1.2.3"),
        (Some(&red.trie), "10.1.3.3"),
        (Some(&red.trie), "10.2.3.3"),
        (Some(&red.trie), "10.1.2.3"),
    ];
    let mut found = Vec::new();
    let addresses = keys.iter().map(|(table, address)| (*table, address.parse().unwrap()));
    burst::<Ipv4Addr>(addresses, |hit| found.push(hit.nh.0));
    assert_eq!(found, [2, 3, 4, 0, 0, 1, 0, 2]);
}

#[test]
fn small_tables_are_small() {
    let mut twin = Twin::<Ipv4Addr>::new();
    assert!(twin.trie.bytes() <= 128);
    twin.put(p("10.1.2.3/32"), 1);
    assert!(twin.trie.bytes() <= 1024);
    let mut twin = Twin::<Ipv6Addr>::new();
    twin.put(p("2001:db8::1/128"), 1);
    assert!(twin.trie.bytes() <= 3072);
}

#[test]
fn a_change_shares_everything_off_its_path_with_the_snapshot_before() {
    let mut twin = Twin::<Ipv4Addr>::new();
    (0..20_000u32)
        .for_each(|i| twin.put(Prefix::new(Ipv4Addr::from_bits(i << 13), 24).unwrap(), i));
    let before = twin.trie.clone();
    twin.put(p("0.0.0.0/0"), 9);
    twin.put(p("10.0.0.0/24"), 9);
    fn nodes(node: &Arc<Node>, found: &mut Vec<*const Node>) {
        found.push(Arc::as_ptr(node));
        node.slots
            .iter()
            .filter_map(|slot| slot.child.as_ref())
            .for_each(|child| nodes(child, found));
    }
    let (mut old, mut new) = (Vec::new(), Vec::new());
    nodes(&before.root, &mut old);
    nodes(&twin.trie.root, &mut new);
    let old: std::collections::HashSet<_> = old.into_iter().collect();
    assert_eq!(new.iter().filter(|node| !old.contains(*node)).count(), 3);
}
