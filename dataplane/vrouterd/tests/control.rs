//! The control socket, with clients of every kind of manners.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use api::{
    ClientHello, DropScope, ErrorCode, Lookup, Reply, Request, Rows, Table, VERSIONS, VersionRange,
    decode, encode,
};
use support::daemon::Daemon;
use support::lab::Lab;
use support::model::{self, Side, Tunnel};
use support::{privileged, wait_for};
use tables::{Key, NhId, Object, Op, Route, RouteFlags, VifId, VrfId};
use wire::Mac;

/// A daemon in an empty namespace, which ends before that; `None` where it may not be.
fn start() -> Option<(Lab, Daemon)> {
    if !privileged() {
        return None;
    }
    let mut lab = Lab::new();
    let namespace = lab.namespace("a");
    let daemon = Daemon::start(&namespace, &lab.directory("sockets"), &[]);
    Some((lab, daemon))
}

fn side(last: u8) -> Side {
    Side {
        uplink: "uplink".to_owned(),
        uplink_mac: Mac([2, 0, 0, 0, 7, last]),
        endpoint: std::net::IpAddr::from([10, 0, 0, last]),
        port: "port".to_owned(),
        workload: [10, 1, 1, last].into(),
        workload_mac: Mac([2, 0, 0, 0, 9, last]),
        router_mac: Mac([2, 0, 0, 0, 8, last]),
        label: 100 + u32::from(last),
        vni: 200 + u32::from(last),
    }
}

fn program() -> Vec<Op> {
    model::program(&side(1), &side(2), Tunnel::MplsOverUdp)
}

fn connect(directory: &Path) -> UnixStream {
    let stream = UnixStream::connect(directory.join("vrouterd.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn say(stream: &mut UnixStream, request: &Request) -> Reply {
    let mut bytes = Vec::new();
    encode(request, &mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
    hear(stream)
}

fn hear(stream: &mut UnixStream) -> Reply {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0u8; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    decode(&body).unwrap()
}

fn is_closed(stream: &mut UnixStream) -> bool {
    matches!(stream.read(&mut [0u8; 64]), Ok(0) | Err(_))
}

fn hello(versions: VersionRange) -> Request {
    Request::Hello(ClientHello { versions, client: "test".to_owned() })
}

#[test]
fn point_17_a_prefix_that_is_only_covered_is_got_by_its_longest_match() {
    let Some((_lab, daemon)) = start() else { return };
    let mut client = daemon.client();
    client.apply(program()).unwrap();
    let route = |prefix: &str, next_hop| {
        Op::Put(Object::Inet(Route {
            vrf: VrfId(1),
            prefix: prefix.parse().unwrap(),
            next_hop: NhId(next_hop),
            label: Some(wire::Vni::try_from(5).unwrap()),
            mac: None,
            flags: RouteFlags::default(),
            identity: None,
        }))
    };
    client.apply(vec![route("10.9.0.0/16", 12), route("10.9.1.0/24", 11)]).unwrap();
    let mut got = |address: &str, length| {
        let address = address.parse().unwrap();
        let rows = client.get(Lookup::Inet { vrf: VrfId(1), address, length }).unwrap();
        let Rows::Route(routes) = rows else { panic!("routes") };
        (routes[0].address.to_string(), routes[0].length, routes[0].next_hop)
    };
    assert_eq!(got("10.9.1.77", 32), ("10.9.1.0".to_owned(), 24, NhId(11)));
    assert_eq!(got("10.9.1.0", 23), ("10.9.0.0".to_owned(), 16, NhId(12)));
    assert_eq!(got("10.9.0.0", 15), ("0.0.0.0".to_owned(), 0, NhId(0)), "covered by none");
}

#[test]
fn what_is_applied_is_dumped() {
    let Some((_lab, daemon)) = start() else { return };
    let mut client = daemon.client();
    let applied = client.apply(program()).unwrap();
    assert!(client.barrier().unwrap() >= applied);

    let Rows::Vif(vifs) = client.pages(Table::Vif { core: None }).next().unwrap().unwrap().rows
    else {
        panic!("vif rows");
    };
    let ids: Vec<VifId> = vifs.iter().map(|vif| vif.id).collect();
    assert_eq!(ids, [VifId(0), VifId(3)]);
    for vif in &vifs {
        assert_eq!(vif.port.as_ref().unwrap().state, api::PortState::DeviceMissing);
        assert_eq!(vif.os_index, 0);
    }

    let Rows::NextHop(hops) = client.get(Lookup::NextHop(NhId(12))).unwrap() else { panic!() };
    assert_eq!(hops[0].references, 2, "itself and one route");

    let table = Table::Inet { vrf: VrfId(1) };
    let leaves: usize = client.pages(table).map(|page| page.unwrap().rows.len()).sum();
    assert_eq!(leaves, 4 * 256 - 3, "two host routes in one /24");

    let Rows::Label(labels) = client.get(Lookup::Label(101)).unwrap() else { panic!() };
    assert_eq!(labels[0].next_hop, NhId(11));
    let missing = client.get(Lookup::Vni(7)).unwrap_err();
    assert!(matches!(missing, api::ClientError::Refused(e) if e.code == ErrorCode::NotFound));
    assert_eq!(client.drops(DropScope::System, None).unwrap().total(), 0);
}

#[test]
fn a_transaction_is_made_all_or_not_at_all() {
    let Some((_lab, daemon)) = start() else { return };
    let mut client = daemon.client();
    let mut ops = program();
    ops.push(Op::Delete(Key::NextHop(NhId(12))));
    let refusal = client.apply(ops).unwrap_err();
    let api::ClientError::Refused(refusal) = refusal else { panic!("{refusal}") };
    assert!(!refusal.object.is_empty(), "{refusal}");
    let pages = client.pages(Table::Vif { core: None }).next().unwrap().unwrap();
    assert!(pages.rows.is_empty());
}

#[test]
fn an_epoch_sweeps_what_was_not_put_again() {
    let Some((_lab, daemon)) = start() else { return };
    let mut client = daemon.client();
    client.apply(program()).unwrap();
    let epoch = client.begin_epoch().unwrap();
    let vifs: Vec<Op> =
        program().into_iter().filter(|op| matches!(op, Op::Put(Object::Vif(_)))).collect();
    client.apply(vifs).unwrap();
    client.sweep(epoch).unwrap();
    client.barrier().unwrap();
    assert_eq!(client.pages(Table::Label).next().unwrap().unwrap().rows.len(), 0);
    assert_eq!(client.pages(Table::Vif { core: None }).next().unwrap().unwrap().rows.len(), 2);
}

#[test]
fn a_sweep_keeps_what_another_connected_client_put_in_its_epoch() {
    let Some((_lab, daemon)) = start() else { return };
    let mut first = daemon.client();
    first.begin_epoch().unwrap();
    first.apply(program()).unwrap();
    let labels =
        |client: &mut api::Client| client.pages(Table::Label).next().unwrap().unwrap().rows.len();
    let there = labels(&mut first);
    assert!(there > 0);

    let mut second = daemon.client();
    let epoch = second.begin_epoch().unwrap();
    second.sweep(epoch).unwrap();
    assert_eq!(labels(&mut second), there, "the first one is connected");

    let stolen = first.sweep(epoch).unwrap_err();
    assert!(stolen.to_string().contains("epoch"), "{stolen}");
    assert_eq!(labels(&mut first), there);

    // Gone, as an agent that was killed: what it left is swept by the next.
    drop(first);
    let gone = std::time::Instant::now() + Duration::from_secs(5);
    while labels(&mut second) > 0 && std::time::Instant::now() < gone {
        second.sweep(epoch).unwrap();
    }
    assert_eq!(labels(&mut second), 0);
}

#[test]
fn garbage_closes_only_the_client_that_sent_it() {
    let Some((lab, daemon)) = start() else { return };
    let directory = lab.directory("sockets");
    let mut good = daemon.client();

    let mut oversized = connect(&directory);
    oversized.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(is_closed(&mut oversized));

    let mut text = connect(&directory);
    text.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(is_closed(&mut text));

    let mut impolite = connect(&directory);
    let mut bytes = Vec::new();
    encode(&Request::Info, &mut bytes).unwrap();
    impolite.write_all(&bytes).unwrap();
    assert!(is_closed(&mut impolite), "hello comes first");

    let mut half = connect(&directory);
    half.write_all(&[200, 0, 0, 0, 1]).unwrap();
    drop(half);

    assert!(good.info().is_ok());
}

#[test]
fn an_unknown_request_is_refused_and_the_connection_goes_on() {
    let Some((lab, _daemon)) = start() else { return };
    let mut stream = connect(&lab.directory("sockets"));
    assert!(matches!(say(&mut stream, &hello(VERSIONS)), Reply::Hello(_)));
    stream.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0x03]).unwrap();
    let Reply::Error(refusal) = hear(&mut stream) else { panic!("an error") };
    assert_eq!(refusal.code, ErrorCode::Unsupported);
    assert!(matches!(say(&mut stream, &Request::Info), Reply::Info(_)));
}

#[test]
fn versions_without_overlap_are_refused_by_name() {
    let Some((lab, _daemon)) = start() else { return };
    let mut stream = connect(&lab.directory("sockets"));
    let reply = say(&mut stream, &hello(VersionRange { min: 900, max: 901 }));
    let Reply::Error(refusal) = reply else { panic!("{reply:?}") };
    assert_eq!(refusal.code, ErrorCode::Version);
    assert!(is_closed(&mut stream));
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_blocks_nobody() {
    let Some((lab, daemon)) = start() else { return };
    let mut good = daemon.client();
    good.apply(program()).unwrap();
    let mut deaf = connect(&lab.directory("sockets"));
    assert!(matches!(say(&mut deaf, &hello(VERSIONS)), Reply::Hello(_)));
    let mut dump = Vec::new();
    let table = Table::Inet { vrf: VrfId(1) };
    encode(&Request::Dump { table, after: None }, &mut dump).unwrap();
    deaf.set_nonblocking(true).unwrap();
    // Its questions fill both directions of the socket, then it is put out.
    wait_for("the deaf client is dropped", Duration::from_secs(30), || {
        assert!(good.info().is_ok(), "others are served meanwhile");
        match deaf.write(&dump) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Some(()),
            _ => None,
        }
    });
}

#[test]
fn many_clients_are_served_at_once() {
    let Some((_lab, daemon)) = start() else { return };
    let mut clients: Vec<_> = (0..32).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert!(client.barrier().is_ok());
    }
}

#[test]
fn clients_that_only_sit_there_give_way_and_the_one_that_programs_does_not() {
    let Some((lab, daemon)) = start() else { return };
    let mut agent = daemon.client();
    agent.apply(program()).unwrap();
    let silent: Vec<_> = (0..150).map(|_| connect(&lab.directory("sockets"))).collect();
    let served = || {
        let mut stream = connect(&lab.directory("sockets"));
        let mut bytes = Vec::new();
        encode(&hello(VERSIONS), &mut bytes).unwrap();
        (stream.write_all(&bytes).is_ok() && !is_closed(&mut stream)).then_some(stream)
    };
    // As many that said hello and then ask nothing.
    let greeted: Vec<_> = (0..150)
        .map(|_| wait_for("a place among the silent", Duration::from_secs(10), served))
        .collect();
    wait_for("a place among the idle", Duration::from_secs(10), served);
    assert!(agent.barrier().is_ok(), "the client that programs was put out");
    drop((silent, greeted));
}
