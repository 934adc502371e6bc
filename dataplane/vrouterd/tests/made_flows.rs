//! Flows that an agent makes without a packet (reference dataplane.md section 14.9): used by the packets that come, and by
//! nobody else; what cannot be made is refused alone.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use api::{
    Client, ClientError, DropScope, ErrorCode, FlowAction, FlowDecision, FlowEnds, FlowInfo,
    NewFlow, Request, Rows, Table,
};
use support::model::{self, Tunnel};
use support::pair::{Pair, wait_for_port};
use support::{privileged, traffic, wait_for};
use tables::DropReason;
use wire::protocol;

const PORTS: (u16, u16) = (4000, 5000);

/// A node whose workload's flows an agent decides about, and an agent that never does.
fn start(args: &[&str]) -> Option<(Pair, UnixDatagram)> {
    if !privileged() {
        return None;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, args);
    let mut client = pair.a.daemon().client();
    client.apply(model::agent(std::net::Ipv4Addr::new(10, 1, 1, 200))).unwrap();
    let (a, b) = (&pair.a.side, &pair.b.side);
    client.apply(model::undecided(model::program(a, b, Tunnel::MplsOverUdp))).unwrap();
    wait_for_port(&mut client, model::AGENT);
    let agent = UnixDatagram::bind(pair.a.directory.join("agent_pkt0")).unwrap();
    agent.set_nonblocking(true).unwrap();
    Some((pair, agent))
}

fn new(pair: &Pair, action: FlowAction) -> NewFlow {
    NewFlow {
        key: FlowEnds {
            source: pair.a.address(),
            destination: pair.b.address(),
            source_port: PORTS.0,
            destination_port: PORTS.1,
            protocol: protocol::UDP,
            key_next_hop: model::TO_WORKLOAD,
        },
        vrf: model::VRF,
        decision: FlowDecision::plain(action),
    }
}

fn flows(client: &mut Client) -> Vec<FlowInfo> {
    match client.call(&Request::Dump { table: Table::Flow, after: None }).unwrap() {
        api::Reply::Page(api::Page { rows: Rows::Flow(rows), .. }) => rows,
        other => panic!("{other:?}"),
    }
}

/// What the far workload echoes of a datagram; `None`: nothing within a second.
fn echoed(pair: &Pair) -> Option<Vec<u8>> {
    let to: SocketAddr = (pair.b.address(), PORTS.1).into();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let far = traffic::within(&pair.b.workload, move || {
        let socket = UdpSocket::bind(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 64];
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    let near = traffic::within(&pair.a.workload, move || {
        let socket = UdpSocket::bind(("0.0.0.0", PORTS.0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.send_to(b"made", to).unwrap();
        let mut buffer = [0; 64];
        socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
    });
    far.join().unwrap();
    near.join().unwrap()
}

fn told(agent: &UnixDatagram) -> usize {
    std::iter::from_fn(|| agent.recv(&mut [0; 2048]).ok()).count()
}

#[test]
fn packets_use_a_made_flow_both_ways_and_nobody_is_asked() {
    for workers in ["1", "2"] {
        let Some((pair, agent)) = start(&["--workers", workers]) else { return };
        let mut client = pair.a.daemon().client();
        let made = client.make_flows(vec![new(&pair, FlowAction::Forward)]).unwrap();
        let handle = *made[0].as_ref().unwrap();
        assert_eq!(echoed(&pair), Some(b"made".to_vec()));
        let found = flows(&mut client);
        let mine: Vec<_> = found.iter().filter(|flow| flow.protocol == protocol::UDP).collect();
        let [forward, reverse] = mine[..] else { panic!("{found:?}") };
        assert_eq!((forward.index, forward.generation), (handle.index, handle.generation));
        assert_eq!((forward.packets, reverse.packets), (1, 1), "{found:?}");
        assert_eq!((reverse.source_port, reverse.reverse), (PORTS.1, Some(handle.index)));
        assert_eq!(told(&agent), 0, "nothing was asked");
        client.flush_flows().unwrap();
        wait_for("it has ended", Duration::from_secs(5), || {
            (client.flow_table().unwrap().used == 0).then_some(())
        });
    }
}

#[test]
fn a_made_flow_may_wait_for_its_verdict_or_drop() {
    let Some((pair, agent)) = start(&["--workers", "2"]) else { return };
    let mut client = pair.a.daemon().client();
    let made = client.make_flows(vec![new(&pair, FlowAction::Hold)]).unwrap();
    let index = made[0].as_ref().unwrap().index;
    assert_eq!(client.flow_table().unwrap().held, 1);
    assert_eq!(echoed(&pair), None, "it waits");
    assert!(told(&agent) >= 1, "the agent is told that packets wait");
    let forward = api::FlowChange::Forward;
    client.done(&Request::SetFlow { index, change: forward, mirror: None }).unwrap();
    assert_eq!(echoed(&pair), Some(b"made".to_vec()));
    assert_eq!(client.flow_table().unwrap().held, 0);

    client.flush_flows().unwrap();
    let mut drop = new(&pair, FlowAction::Drop);
    drop.decision.drop_reason = 4;
    let made = client.make_flows(vec![drop]).unwrap();
    assert!(made[0].is_ok(), "{made:?}");
    assert_eq!(echoed(&pair), None);
    let dropped = client.drops(DropScope::System, None).unwrap();
    assert_eq!(dropped.count(DropReason::FlowActionDrop), 1);
}

#[test]
fn what_cannot_be_made_is_refused_alone() {
    let Some((pair, _agent)) = start(&["--workers", "1", "--sessions", "64"]) else { return };
    let mut client = pair.a.daemon().client();
    let good = new(&pair, FlowAction::Forward);
    let wrong = |change: &dyn Fn(&mut NewFlow)| {
        let mut flow = good.clone();
        change(&mut flow);
        flow
    };
    let family = FlowEnds { source: "2001:db8::1".parse().unwrap(), ..good.key };
    let all = vec![
        wrong(&|it| it.decision.action = FlowAction::Unknown),
        wrong(&|it| it.key = family),
        wrong(&|it| it.decision.answers = Some(family)),
        wrong(&|it| it.decision.answers = Some(it.key)),
        wrong(&|it| it.vrf = tables::VrfId(u16::MAX)),
        wrong(&|it| it.decision.mirrors = [Some(9), None]),
        good.clone(),
        good.clone(),
        // Somebody's answers are these.
        wrong(&|it| (it.key.source_port, it.decision.answers) = (1, Some(good.key))),
    ];
    let made = client.make_flows(all).unwrap();
    let told: Vec<_> = made
        .iter()
        .map(|one| one.as_ref().map_err(|error| (error.code, error.field.as_str())).err())
        .collect();
    let invalid = |field| Some((ErrorCode::Invalid, field));
    assert_eq!(
        told,
        [
            invalid("action"),
            invalid("key"),
            invalid("answers"),
            invalid("answers"),
            invalid("vrf"),
            invalid("mirrors"),
            None,
            Some((ErrorCode::Exists, "")),
            Some((ErrorCode::Exists, "answers")),
        ],
        "{made:?}"
    );
    let text = made[7].as_ref().unwrap_err().to_string();
    assert!(text.contains(":4000 to 10.1.1."), "{text}");
    assert_eq!(client.flow_table().unwrap().used, 2, "one session");

    let many = |count: u16| {
        (0..count).map(|n| wrong(&|it| it.key.source_port = 10_000 + n)).collect::<Vec<_>>()
    };
    match client.make_flows(many(65)) {
        Err(ClientError::Refused(error)) => assert_eq!(error.code, ErrorCode::Invalid),
        other => panic!("{other:?}"),
    }
    let made = client.make_flows(many(64)).unwrap();
    let full = made.iter().filter_map(|one| one.as_ref().err()).collect::<Vec<_>>();
    assert!(full.iter().all(|error| error.code == ErrorCode::NoMemory), "{full:?}");
    assert!(!full.is_empty());
    let table = client.flow_table().unwrap();
    assert_eq!(table.used, 2 + 2 * (64 - full.len() as u64), "those that fit are there");
}
