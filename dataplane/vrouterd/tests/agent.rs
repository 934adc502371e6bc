//! pkt0: a stand-in for the agent at its socket, with kernel stacks as workloads.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use api::{Backend, DropScope, Lookup, PortState, Rows};
use support::lab::{self, ip};
use support::model::{self, Tunnel};
use support::pair::{Pair, port_state, wait_for_port};
use support::{privileged, traffic, wait_for};
use tables::DropReason;
use wire::{AgentHeader, Ethernet, Icmp, Ipv4, Mac, agent_command, checksum, ethertype};

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 200);
const HEADERS: usize = Ethernet::LEN + AgentHeader::LEN;

fn start(workers: &str) -> Option<Pair> {
    if !privileged() {
        return None;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &["--workers", workers]);
    let mut client = pair.a.daemon().client();
    client.apply(model::agent(SERVICE)).unwrap();
    wait_for_port(&mut client, model::AGENT);
    let neighbour = Mac::GATEWAY.to_string();
    let service = SERVICE.to_string();
    ip(&[
        "-n",
        &pair.a.workload,
        "neigh",
        "replace",
        &service,
        "lladdr",
        &neighbour,
        "dev",
        "eth0",
    ]);
    Some(pair)
}

/// Binds the agent's end.
fn bind(directory: &Path) -> UnixDatagram {
    let path = directory.join("agent_pkt0");
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket
}

/// Answers echo requests until it is told to stop; gives how many. Answers leave by the interface the request came in by,
/// or are routed in its VRF.
struct Agent {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Agent {
    fn start(directory: &Path, command: u16) -> Agent {
        let (socket, to) = (bind(directory), directory.join("dpdk_pkt0"));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut answered = 0;
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                if let Some(answer) = answer(&buffer[..length], command) {
                    socket.send_to(&answer, &to).unwrap();
                    answered += 1;
                }
            }
            answered
        });
        Agent { stop, thread }
    }

    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The answer to a trapped echo request, behind the headers of an injected packet.
fn answer(trapped: &[u8], command: u16) -> Option<Vec<u8>> {
    let (header, _) = AgentHeader::parse(&trapped[Ethernet::LEN..])?;
    if header.command() != agent_command::NEXTHOP {
        return None;
    }
    assert_eq!((header.vif(), header.vrf()), (model::PORT.0, model::VRF.0));
    let frame = &trapped[HEADERS..];
    let (ethernet, packet) = Ethernet::parse(frame)?;
    let (ip, _) = Ipv4::parse(packet)?;
    assert_eq!(ip.ttl(), 64, "a service of the node's is no hop");
    let mut out = trapped.to_vec();
    AgentHeader::new(header.vif(), header.vrf(), command).emit(&mut out[Ethernet::LEN..])?;
    let reply = &mut out[HEADERS..];
    let to = if command == agent_command::SWITCH { ethernet.source() } else { Mac::GATEWAY };
    Ethernet::new(to, Mac::GATEWAY, ethertype::IPV4).emit(reply)?;
    let length = ip.total_length();
    Ipv4::new(ip.destination(), ip.source(), ip.protocol(), 64, length)
        .emit(&mut reply[Ethernet::LEN..])?;
    let (_, message) = Ipv4::parse_mut(&mut reply[Ethernet::LEN..])?;
    message[0] = 0;
    Icmp::parse_mut(message)?.0.set_checksum(0);
    let sum = checksum::Sum::ZERO.bytes(message).checksum();
    Icmp::parse_mut(message)?.0.set_checksum(sum);
    Some(out)
}

fn dropped(pair: &Pair, reason: DropReason) -> u64 {
    pair.a.daemon().client().drops(DropScope::Vif(model::PORT), None).unwrap().count(reason)
}

#[test]
fn a_service_of_the_agents_answers_by_either_way_and_survives_the_agents_death() {
    for workers in ["1", "2"] {
        let Some(pair) = start(workers) else { return };
        let directory = pair.a.directory.clone();
        let ping = |count| traffic::ping(&pair.a.workload, SERVICE.into(), count, "0.02");
        for command in [agent_command::SWITCH, agent_command::ROUTE] {
            let agent = Agent::start(&directory, command);
            assert_eq!(ping(20), 20, "command {command}: {pair}");
            assert_eq!(agent.end(), 20);
            // Its file is still there, and nobody behind it.
            let before = dropped(&pair, DropReason::InterfaceDrop);
            assert_eq!(ping(5), 0);
            // The workload's stack asks for a router, too.
            assert!(dropped(&pair, DropReason::InterfaceDrop) >= before + 5);
        }
        let lookup = Lookup::Vif { id: model::AGENT, core: None };
        let Rows::Vif(rows) = pair.a.daemon().client().get(lookup).unwrap() else { panic!() };
        assert_eq!(rows[0].rx.packets, 40);
        assert!(rows[0].tx.packets >= 40);
        assert_eq!(rows[0].tx.errors, 0, "an absent agent is no fault of its interface");
        assert_eq!(rows[0].port.as_ref().unwrap().backend, Backend::Socket);
    }
}

#[test]
fn an_agent_that_does_not_read_stalls_nobody() {
    let Some(pair) = start("1") else { return };
    let agent = bind(&pair.a.directory);
    let before = dropped(&pair, DropReason::InterfaceDrop);
    // More than its queue and the port's.
    wait_for("the socket is full", Duration::from_secs(20), || {
        traffic::ping(&pair.a.workload, SERVICE.into(), 200, "0.001");
        (dropped(&pair, DropReason::InterfaceDrop) > before).then_some(())
    });
    assert_eq!(pair.ping(50, "0.01"), 50, "{pair}");
    // It wakes up, and gets what waited.
    let mut buffer = [0; 2048];
    let mut waited = 0;
    while agent.recv(&mut buffer).is_ok() {
        waited += 1;
    }
    assert!(waited > 256, "{waited}");
    drop(agent);
    let agent = Agent::start(&pair.a.directory, agent_command::SWITCH);
    assert_eq!(traffic::ping(&pair.a.workload, SERVICE.into(), 20, "0.02"), 20, "{pair}");
    agent.end();
}

#[test]
fn without_the_agents_interface_its_packets_are_counted_as_such() {
    let Some(pair) = start("1") else { return };
    let mut client = pair.a.daemon().client();
    client.apply(vec![tables::Op::Delete(tables::Key::Vif(model::AGENT))]).unwrap();
    client.barrier().unwrap();
    wait_for("its socket is gone", Duration::from_secs(5), || {
        (!pair.a.directory.join("dpdk_pkt0").exists()).then_some(())
    });
    assert_eq!(traffic::ping(&pair.a.workload, SERVICE.into(), 3, "0.02"), 0);
    assert_eq!(pair.ping(10, "0.01"), 10, "{pair}");
}

#[test]
fn neighbours_of_both_families_are_found_by_the_kernels_own_stack() {
    if !privileged() {
        return;
    }
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &["--workers", "2"]);
    let second = pair.namespace("tc");
    let mac = Mac([2, 0, 0, 0, 9, 9]);
    lab::veth((&pair.a.namespace, "port2"), (&second, "eth0"), 1);
    ip(&["-n", &second, "link", "set", "eth0", "address", &mac.to_string(), "up"]);
    ip(&["-n", &second, "addr", "add", "10.1.1.9/24", "dev", "eth0"]);
    let mut client = pair.a.daemon().client();
    client.apply(model::second("port2", mac, Ipv4Addr::new(10, 1, 1, 9))).unwrap();
    let address = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, last);
    let gateways = [address(1), "fe80::1".parse().unwrap()];
    let hosts = [(model::TO_WORKLOAD, address(3)), (model::TO_SECOND, address(9))];
    client.apply(model::v6(hosts, &gateways)).unwrap();
    wait_for("the second port is open", Duration::from_secs(10), || {
        (port_state(&mut client, model::SECOND) == PortState::Up).then_some(())
    });
    client.barrier().unwrap();
    for (namespace, last) in [(&pair.a.workload, 3), (&second, 9)] {
        let own = format!("{}/128", address(last));
        ip(&["-n", namespace, "addr", "add", &own, "dev", "eth0", "nodad"]);
        let via = if last == 3 { "fe80::1".to_owned() } else { address(1).to_string() };
        ip(&[
            "-n",
            namespace,
            "-6",
            "route",
            "add",
            "2001:db8:a:1::/64",
            "via",
            &via,
            "dev",
            "eth0",
            "onlink",
        ]);
    }
    let there = traffic::ping(&pair.a.workload, IpAddr::V6(address(9)), 20, "0.02");
    assert_eq!(there, 20, "{pair}");
    for namespace in [&pair.a.workload, &second] {
        let neighbours = ip(&["-n", namespace, "-6", "neigh", "show", "dev", "eth0"]);
        let gateway = Mac::GATEWAY.to_string();
        let known =
            neighbours.lines().any(|line| line.contains(&gateway) && line.contains("router"));
        assert!(known, "the gateway is a router: {neighbours}");
    }
    let there = traffic::ping(&pair.a.workload, Ipv4Addr::new(10, 1, 1, 9).into(), 20, "0.02");
    assert_eq!(there, 20, "{pair}");
}
