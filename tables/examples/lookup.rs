//! Prefix tables at three sizes: time to load and to change, bytes a route, time a lookup.
//! `cargo run --release -p tables --example lookup`

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tables::{
    Fib, Model, NhFamily, NhFlags, NhId, Object, Op, Owner, Route, RouteFlags, VrfId, Writer,
};
use tables::{NextHop, NextHopKind};
use wire::{Prefix, Vni};

const VRF: VrfId = VrfId(1);
const QUERIES: usize = 1 << 20;

/// A generator good enough to spread addresses (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }
}

/// Where the routes of a table lie.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// As in the Internet: 60 % /24, the rest /16 to /23, anywhere.
    Internet,
    /// Host routes, 200 to a subnet of 256, as a large virtual network has.
    Hosts,
    /// Host routes anywhere: the worst case.
    Scattered,
}

fn routes(shape: Shape, count: usize) -> Vec<Prefix<Ipv4Addr>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen = std::collections::HashSet::new();
    let mut subnet = 0;
    while seen.len() < count {
        let (address, length) = match shape {
            Shape::Internet if random.next() % 10 < 6 => (random.next(), 24),
            Shape::Internet => (random.next(), 16 + u8::try_from(random.next() % 8).unwrap_or(0)),
            Shape::Hosts => {
                if seen.len() % 200 == 0 {
                    subnet = random.next() & !0xff;
                }
                (subnet | random.next() & 0xff, 32)
            }
            Shape::Scattered => (random.next(), 32),
        };
        seen.extend(Prefix::new(Ipv4Addr::from_bits(address), length));
    }
    seen.into_iter().collect()
}

fn put(prefix: Prefix<Ipv4Addr>, label: u32) -> Op {
    let label = Vni::try_from(label & 0xf_ffff).ok();
    Op::Put(Object::Inet(Route {
        vrf: VRF,
        prefix,
        next_hop: NhId(1),
        label,
        flags: RouteFlags(0),
        mac: None,
        identity: None,
    }))
}

fn best(mut run: impl FnMut() -> Duration) -> f64 {
    let fastest = (0..7).map(|_| run()).min().unwrap_or_default();
    fastest.as_nanos() as f64 / QUERIES as f64
}

fn single(fib: &Fib, queries: &[(VrfId, Ipv4Addr)]) -> Duration {
    let start = Instant::now();
    let mut sum = 0u32;
    for (vrf, address) in queries {
        sum = sum.wrapping_add(fib.route(*vrf, *address).label.unwrap_or(0));
    }
    std::hint::black_box(sum);
    start.elapsed()
}

fn bursts(fib: &Fib, queries: &[(VrfId, Ipv4Addr)]) -> Duration {
    let start = Instant::now();
    fib.route_burst(queries, |hit| {
        std::hint::black_box(hit);
    });
    start.elapsed()
}

fn main() {
    println!("shape      routes   load s  bytes/route  lookup ns  in bursts ns  change us");
    for shape in [Shape::Internet, Shape::Hosts, Shape::Scattered] {
        for count in [1_000, 100_000, 1_000_000] {
            let routes = routes(shape, count);
            let hop = NextHop {
                id: NhId(1),
                family: NhFamily::Inet,
                vrf: None,
                flags: NhFlags::VALID,
                kind: NextHopKind::Resolve,
            };
            let (mut model, mut writer) = (Model::new(), Writer::new());
            let mut ops = vec![Op::Put(Object::NextHop(hop))];
            ops.extend((0..).zip(&routes).map(|(label, prefix)| put(*prefix, label)));
            let start = Instant::now();
            let Ok(changes) = model.apply(&ops, Owner::Agent) else { return };
            writer.publish(&model, &changes);
            let load = start.elapsed().as_secs_f64();

            let mut random = Random(7);
            let queries: Vec<_> = (0..QUERIES)
                .map(|_| {
                    let prefix = routes[random.next() as usize % routes.len()];
                    let host = random.next().checked_shr(u32::from(prefix.length())).unwrap_or(0);
                    (VRF, Ipv4Addr::from_bits(prefix.address().to_bits() | host))
                })
                .collect();
            let fib = writer.fib().clone();
            let bytes = fib.table_bytes(VRF) as f64 / count as f64;
            let (one, many) = (best(|| single(&fib, &queries)), best(|| bursts(&fib, &queries)));

            let start = Instant::now();
            for (label, prefix) in (7..).zip(routes.iter().take(1000)) {
                if let Ok(changes) = model.apply(&[put(*prefix, label)], Owner::Agent) {
                    writer.publish(&model, &changes);
                }
            }
            let change = start.elapsed().as_micros() as f64 / 1000.0;
            let shape = format!("{shape:?}");
            println!(
                "{shape:<10} {count:>7} {load:>7.2} {bytes:>12.1} {one:>10.1} {many:>13.1} {change:>10.2}"
            );
        }
    }
}
