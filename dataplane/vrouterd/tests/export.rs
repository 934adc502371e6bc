//! Sessions told to a collector: what arrives is IPFIX as Wireshark reads it, and adds up.

mod support;

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use api::{Client, Rows, Table};
use etherparse::PacketBuilder;
use pcap_file::pcap::{PcapPacket, PcapWriter};
use support::model::{self, Tunnel};
use support::pair::Pair;
use support::{privileged, traffic, wait_for};
use tables::Rule;
use wire::protocol;

/// The address of node b on the underlay, where the collector is.
const COLLECTOR: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
const EXPORTER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const PORT: u16 = 4739;

/// Takes what node a sends, until it is told to stop and nothing waits any longer.
fn collect(socket: &UdpSocket, stop: &Receiver<()>) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut messages = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        // Asked first: what was sent before the stop is taken, too.
        let stopped = stop.try_recv().is_ok();
        let mut received = socket.recv_from(&mut buffer);
        while let Ok((length, from)) = received {
            if from.ip() == IpAddr::V4(EXPORTER) {
                messages.push(buffer[..length].to_vec());
            }
            received = socket.recv_from(&mut buffer);
        }
        if stopped {
            return messages;
        }
    }
}

fn write(file: &Path, messages: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(file).unwrap()).unwrap();
    for message in messages {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(EXPORTER.octets(), COLLECTOR.octets(), 64)
            .udp(PORT, PORT)
            .write(&mut frame, message)
            .unwrap();
        let length = u32::try_from(frame.len()).unwrap();
        writer.write_packet(&PcapPacket::new(Duration::ZERO, length, &frame)).unwrap();
    }
}

/// Everything Wireshark reads out of the messages.
fn read(file: &Path) -> String {
    let output = Command::new("tshark")
        .args(["-r", file.to_str().unwrap(), "-d", "udp.port==4739,cflow", "-V"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A record as `name: value` lines.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records: Vec<Vec<String>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Flow Id:") {
            records.push(Vec::new());
        }
        if let Some(record) = records.last_mut() {
            record.push(line.to_owned());
        }
    }
    records
}

fn of<'r>(records: &'r [Vec<String>], wanted: &[&str]) -> Vec<&'r Vec<String>> {
    let has = |record: &&Vec<String>| {
        wanted.iter().all(|words| record.iter().any(|line| line.contains(words)))
    };
    records.iter().filter(has).collect()
}

/// The sum of a counter, which comes forward and, the second time in a record, in reverse.
fn sum(records: &[&Vec<String>], name: &str, nth: usize) -> u64 {
    let value = |record: &&Vec<String>| {
        let line = record.iter().filter(|line| line.starts_with(name)).nth(nth)?;
        line.split_once(": ")?.1.split(' ').next()?.parse::<u64>().ok()
    };
    records.iter().filter_map(value).sum()
}

fn tcp_sessions(client: &mut Client) -> bool {
    client.pages(Table::Flow).any(|page| match page.unwrap().rows {
        Rows::Flow(flows) => flows.iter().any(|flow| flow.protocol == protocol::TCP),
        other => panic!("flows: {other:?}"),
    })
}

#[test]
fn sessions_are_told_when_they_begin_go_on_are_denied_and_end() {
    if !privileged() {
        return;
    }
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: needs tshark");
        return;
    }
    let to = format!("{COLLECTOR}:{PORT}");
    let args = [
        "--ipfix",
        &to,
        "--ipfix-interval",
        "1",
        "--ipfix-enterprise",
        "32473",
        "--sessions",
        "1024",
    ];
    let mut pair = Pair::start(Tunnel::MplsOverUdp, &args);
    let (stop, stopped) = channel();
    let (ready, is_ready) = channel();
    let collector = traffic::within(&pair.b.namespace, move || {
        let socket = UdpSocket::bind((COLLECTOR, PORT)).unwrap();
        ready.send(()).unwrap();
        collect(&socket, &stopped)
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    // Templates come first, and the collector was not there.
    pair.a.daemon.take().unwrap().terminate();
    pair.a.start();
    pair.program(Tunnel::MplsOverUdp);
    let log = |rule| Rule { log: true, ..rule };
    let rules = vec![model::pass(0xa11, protocol::ICMP), log(model::pass(0xa22, protocol::TCP))];
    let mut client = pair.a.daemon().client();
    client.apply(model::policed(&pair.a.side, rules)).unwrap();
    client.barrier().unwrap();

    assert_eq!(pair.ping(8, "0.3"), 8);
    pair.tcp(100_000);
    let address = pair.b.address();
    traffic::within(&pair.a.workload, move || {
        let socket = UdpSocket::bind("0.0.0.0:5005").unwrap();
        for _ in 0..3 {
            socket.send_to(b"not allowed", (address, 54)).unwrap();
        }
    })
    .join()
    .unwrap();
    // Closed connections end after two seconds.
    wait_for("the connections have ended", Duration::from_secs(10), || {
        (!tcp_sessions(&mut client)).then_some(())
    });
    let daemon = pair.a.daemon.take().unwrap();
    wait_for("the end of a connection is logged", Duration::from_secs(5), || {
        daemon.log().contains("session ends, being closed").then_some(())
    });
    let lines = daemon.log();
    daemon.terminate();
    stop.send(()).unwrap();
    let logged: Vec<&str> = lines.lines().filter(|line| line.contains("session ")).collect();
    assert!(logged.iter().all(|line| line.contains("protocol 6 10.1.1.")), "{logged:?}");
    assert!(logged.iter().all(|line| line.contains("0000-000000000a22")), "{logged:?}");
    let messages = collector.join().unwrap();

    let file = pair.lab().directory("capture").with_extension("pcap");
    write(&file, &messages);
    let text = read(&file);
    std::fs::remove_file(&file).unwrap();
    for wrong in ["Malformed", "No template found", "Expert Info"] {
        assert!(!text.contains(wrong), "{wrong}: {text}");
    }
    assert!(text.contains("00 00 00 0a 11"), "the rule that lets pings pass: {text}");
    let records = records(&text);
    let pings = of(&records, &["SrcAddr: 10.1.1.1", "Protocol: ICMP (1)"]);
    assert!(pings.len() >= 2, "it went on longer than an interval: {pings:?}");
    assert_eq!((sum(&pings, "Packets:", 0), sum(&pings, "Packets:", 1)), (8, 8));
    let denied = of(&records, &["DstPort: 54", "Firewall Event: Flow denied (3)"]);
    assert_eq!((sum(&denied, "Packets:", 0), sum(&denied, "Packets:", 1)), (3, 0));
    let ended = of(&records, &["Protocol: TCP (6)", "Firewall Event: Flow deleted (2)"]);
    assert_eq!(ended.len(), 2, "a connection each way: {text}");
    assert_eq!(of(&records, &["Flow End Reason: End of Flow detected (3)"]).len(), 2);
    let there = of(&records, &["SrcAddr: 10.1.1.1", "Protocol: TCP (6)"]);
    assert!(sum(&there, "Octets:", 0) > 100_000, "{there:?}");
}
