//! Flows that an agent decides about, by pkt0 and the control socket, with an agent that takes its time (cases H23 and H24).

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use api::{
    Client, ClientError, DropScope, ErrorCode, FlowAction, FlowDecision, FlowEnds, FlowVerdict,
    Request,
};
use support::model::{self, Tunnel};
use support::pair::{Pair, SECOND_ADDRESS, SECOND_MAC, wait_for_port};
use support::{privileged, traffic, wait_for};
use tables::{DropReason, LabelEntry, NhId, Object, Op};
use wire::{AgentHeader, Ethernet, Ipv4, Label, agent_command, protocol};

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 200);
/// Outer Ethernet, IP, UDP and label, of what a tunnel brought.
const TUNNEL: usize = 14 + 20 + 8 + 4;

/// Lets every flow pass that it is told of, each after a while, one after the other.
struct Agent {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<FlowVerdict>>,
}

impl Agent {
    fn start(pair: &Pair, delay: Duration) -> Agent {
        let path = pair.a.directory.join("agent_pkt0");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut client = pair.a.daemon().client();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (tick, ticks) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let _kept = tick;
            let mut told = Vec::new();
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let Some(verdict) = verdict(&buffer[..length]) else { continue };
                // Thinks.
                assert!(ticks.recv_timeout(delay).is_err());
                match client.done(&Request::FlowVerdict(verdict.clone())) {
                    Ok(_) => told.push(verdict),
                    Err(ClientError::Refused(error)) if is_late(error.code) => {}
                    // The test has failed and taken it down.
                    Err(error) => panic!("{error}"),
                }
            }
            told
        });
        Agent { stop, thread }
    }

    fn end(self) -> Vec<FlowVerdict> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The flow has ended meanwhile.
fn is_late(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotFound | ErrorCode::Busy | ErrorCode::Stale)
}

/// Forward what the trap is about.
fn verdict(trapped: &[u8]) -> Option<FlowVerdict> {
    let (header, frame) = AgentHeader::parse(&trapped[Ethernet::LEN..])?;
    if header.command() != agent_command::FLOW_MISS {
        return None;
    }
    let from_fabric = header.vif() == model::UPLINK.0;
    let packet = if from_fabric { &frame[TUNNEL..] } else { Ethernet::parse(frame)?.1 };
    let (ip, segment) = Ipv4::parse(packet)?;
    let word = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    let ports = match ip.protocol() {
        protocol::ICMP => (word(4), 0),
        _ => (word(0), word(2)),
    };
    Some(FlowVerdict {
        index: header.param(),
        generation: header.param_5(),
        key: FlowEnds {
            source: ip.source().into(),
            destination: ip.destination().into(),
            source_port: ports.0,
            destination_port: ports.1,
            protocol: ip.protocol(),
            key_next_hop: NhId(header.param_1()),
        },
        decision: FlowDecision::plain(FlowAction::Forward),
    })
}

fn start(workers: &str) -> Option<Pair> {
    if !privileged() {
        return None;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &["--workers", workers]);
    let mut client = pair.a.daemon().client();
    client.apply(model::agent(SERVICE)).unwrap();
    let (a, b) = (&pair.a.side, &pair.b.side);
    client.apply(model::undecided(model::program(a, b, Tunnel::MplsOverUdp))).unwrap();
    wait_for_port(&mut client, model::AGENT);
    Some(pair)
}

fn dropped(client: &mut Client, reason: DropReason) -> u64 {
    client.drops(DropScope::System, None).unwrap().count(reason)
}

#[test]
fn h23_first_packets_wait_for_a_slow_agent_and_none_is_lost() {
    for workers in ["1", "2"] {
        let Some(pair) = start(workers) else { return };
        let agent = Agent::start(&pair, Duration::from_millis(200));
        let began = Instant::now();
        // Two more come while the first waits.
        assert_eq!(pair.ping(5, "0.08"), 5, "{pair}");
        assert!(began.elapsed() >= Duration::from_millis(200));
        let back = traffic::ping(&pair.b.workload, pair.a.address(), 5, "0.08");
        assert_eq!(back, 5, "from the fabric: {pair}");
        pair.tcp(200_000);
        let verdicts = agent.end();
        assert_eq!(verdicts.len(), 4, "a flow each: {verdicts:?}");
        let mut client = pair.a.daemon().client();
        for reason in [DropReason::FlowUnusable, DropReason::FlowQueueLimitExceeded] {
            assert_eq!(dropped(&mut client, reason), 0, "{}", reason.label());
        }
        let table = client.flow_table().unwrap();
        assert_eq!((table.held, table.used), (0, 8));
    }
}

#[test]
fn verdicts_are_checked_against_the_flow_they_name() {
    let Some(pair) = start("1") else { return };
    let path = pair.a.directory.join("agent_pkt0");
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(pair.ping(1, "0.1"), 0, "nobody decides");
    let mut buffer = [0; 2048];
    let right = std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|n| verdict(&buffer[..n])))
        .flatten()
        .find(|verdict| verdict.key.protocol == protocol::ICMP)
        .unwrap();
    let mut client = pair.a.daemon().client();
    let mut refused = |wrong: FlowVerdict| match client.done(&Request::FlowVerdict(wrong)) {
        Err(ClientError::Refused(error)) => (error.code, error.field),
        other => panic!("{other:?}"),
    };
    let key = right.key;
    let wrong = |change: &dyn Fn(&mut FlowVerdict)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    let text = |field: &str| field.to_owned();
    let stale = wrong(&|it| it.generation = it.generation.wrapping_add(1));
    assert_eq!(refused(stale), (ErrorCode::Stale, text("generation")));
    let other = wrong(&|it| it.key.source_port += 1);
    assert_eq!(refused(other), (ErrorCode::Mismatch, text("key")));
    assert_eq!(refused(wrong(&|it| it.index = 77_777)), (ErrorCode::NotFound, text("")));
    assert_eq!(refused(wrong(&|it| it.index = u32::MAX)), (ErrorCode::NoDevice, text("")));
    assert_eq!(
        refused(wrong(&|it| it.decision.mirrors = [Some(9), None])),
        (ErrorCode::Invalid, text("mirrors"))
    );
    let reason =
        wrong(&|it| (it.decision.action, it.decision.drop_reason) = (FlowAction::Drop, 0x23));
    assert_eq!(refused(reason), (ErrorCode::Invalid, text("drop_reason")));
    let vrf = wrong(&|it| it.decision.destination_vrf = Some(tables::VrfId(u16::MAX)));
    assert_eq!(refused(vrf), (ErrorCode::Invalid, text("destination_vrf")));
    let family = FlowEnds { source: "2001:db8::1".parse().unwrap(), ..key };
    let mixed = wrong(&|it| it.decision.answers = Some(family));
    assert_eq!(refused(mixed), (ErrorCode::Invalid, text("answers")));
    let none = wrong(&|it| it.decision.action = FlowAction::Unknown);
    assert_eq!(refused(none), (ErrorCode::Invalid, text("action")));
    assert_eq!(client.flow_table().unwrap().held, 1, "nothing has changed");
    client.done(&Request::FlowVerdict(right)).unwrap();
    let mut limits = |value, to| client.done(&Request::Set { value, to }).unwrap();
    limits(api::VrouterValue::FlowHoldLimit, 0);
    assert_eq!(pair.ping(1, "0.1"), 0);
    assert_eq!(dropped(&mut pair.a.daemon().client(), DropReason::NewFlows), 1);
}

const LABEL: u32 = 177;

/// A second workload whose flows the agent decides about too.
fn second_workload(pair: &mut Pair) -> String {
    let mut ops = model::undecided(model::second("port2", SECOND_MAC, SECOND_ADDRESS));
    let label = Label::try_from(LABEL).unwrap();
    ops.push(Op::Put(Object::Label(LabelEntry { label, next_hop: model::TO_SECOND })));
    pair.second_workload(ops)
}

#[test]
fn h24_a_scan_leaves_others_their_connections_and_the_table_bounded() {
    if !privileged() {
        return;
    }
    let Some(mut pair) = start("1") else { return };
    let workload = second_workload(&mut pair);
    let mut far = pair.b.daemon().client();
    far.apply(model::beyond(SECOND_ADDRESS, LABEL)).unwrap();
    far.barrier().unwrap();
    let mut client = pair.a.daemon().client();
    let agent = Agent::start(&pair, Duration::from_millis(1));
    let to = pair.b.address();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let scan = traffic::within(&pair.a.workload, move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let mut sent = 0_u64;
        for port in (1..=u16::MAX).cycle() {
            if stopped.load(Ordering::Relaxed) {
                return sent;
            }
            // The kernel's queue may be full.
            sent += u64::from(socket.send_to(b"scan", (to, port)).is_ok());
        }
        sent
    });
    wait_for("the scan is limited", Duration::from_secs(5), || {
        (dropped(&mut client, DropReason::NewFlows) > 1000).then_some(())
    });
    let ping = traffic::ping(&workload, to, 10, "0.2");
    let most = client.flow_table().unwrap().held;
    stop.store(true, Ordering::Relaxed);
    let sent = scan.join().unwrap();
    assert!(ping >= 9, "{ping} of 10 answered while {sent} packets were sent: {pair}");
    assert!(most <= 8192, "{most}");
    wait_for("all have ended or are decided", Duration::from_secs(10), || {
        (client.flow_table().unwrap().held == 0).then_some(())
    });
    assert!(agent.end().len() > 100);
}
