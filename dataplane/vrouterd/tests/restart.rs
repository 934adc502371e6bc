//! What a node does while its `vrouterd` is dead, and how the next one takes over.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::lab::ip;
use support::model::Tunnel;
use support::pair::Pair;
use support::{privileged, traffic, wait_for};

fn start() -> Option<Pair> {
    privileged().then(|| Pair::start(Tunnel::MplsOverUdp, &["--workers", "2"]))
}

fn host_packets(namespace: &str, link: &str) -> u64 {
    let path = format!("/sys/class/net/{link}/statistics/rx_packets");
    let text = support::lab::inside(namespace, "cat", &[&path]).stdout;
    String::from_utf8(text).unwrap().trim().parse().unwrap()
}

#[test]
fn a_dead_daemon_leaves_the_node_reachable_and_tenants_out() {
    let Some(mut pair) = start() else { return };
    assert_eq!(pair.ping(5, "0.01"), 5);
    pair.a.daemon.take().unwrap().kill();

    // The node's own address answers.
    let own = pair.a.side.endpoint;
    wait_for("the node's own address answers", Duration::from_secs(5), || {
        (traffic::ping(&pair.b.namespace, own, 1, "1") == 1).then_some(())
    });

    // The host sees no tenant frame: not one reaches a packet socket or the stack behind the program.
    let before = host_packets(&pair.a.namespace, "port");
    let seen = {
        let mut capture = Command::new("ip")
            .args([
                "netns",
                "exec",
                &pair.a.namespace,
                "tcpdump",
                "-i",
                "port",
                "-c",
                "1",
                "-Q",
                "in",
            ])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_for_line(&mut capture, "listening on");
        assert_eq!(traffic::ping(&pair.a.workload, pair.b.address(), 5, "0.05"), 0);
        let seen = capture.try_wait().unwrap().is_some();
        capture.kill().unwrap();
        capture.wait().unwrap();
        seen
    };
    assert!(!seen, "a tenant frame reached the host ({before} frames before)");
}

fn wait_for_line(child: &mut std::process::Child, text: &str) {
    use std::io::{BufRead, BufReader};
    let reader = BufReader::new(child.stderr.take().unwrap());
    let line = reader.lines().map_while(Result::ok).find(|line| line.contains(text));
    assert!(line.is_some(), "{text}");
}

#[test]
fn the_next_daemon_takes_over_within_a_second() {
    let Some(mut pair) = start() else { return };
    assert_eq!(pair.ping(5, "0.01"), 5);
    pair.a.daemon.take().unwrap().kill();
    let killed = Instant::now();
    pair.a.start();
    pair.program(Tunnel::MplsOverUdp);
    let programmed = killed.elapsed();
    wait_for("ping is back", Duration::from_secs(3), || (pair.ping(1, "1") == 1).then_some(()));
    println!("programmed after {programmed:?}, forwarding after {:?}", killed.elapsed());
    assert_eq!(pair.ping(50, "0.01"), 50);
}

#[test]
fn tcp_goes_on_over_a_restart() {
    let Some(mut pair) = start() else { return };
    let (from, to) = (pair.a.workload.clone(), pair.b.workload.clone());
    let address = pair.b.address();
    let transfer = std::thread::spawn(move || traffic::tcp(&from, &to, address, 64 << 20));
    wait_for("the transfer runs", Duration::from_secs(5), || {
        let api::Rows::Vif(rows) = pair
            .a
            .daemon()
            .client()
            .get(api::Lookup::Vif { id: support::model::PORT, core: None })
            .unwrap()
        else {
            return None;
        };
        (rows[0].rx.packets > 500).then_some(())
    });
    pair.a.daemon.take().unwrap().kill();
    pair.a.start();
    pair.program(Tunnel::MplsOverUdp);
    transfer.join().expect("every byte arrived");
}

#[test]
fn an_orderly_end_leaves_the_node_reachable_too() {
    let Some(mut pair) = start() else { return };
    pair.a.daemon.take().unwrap().terminate();
    let own = pair.a.side.endpoint;
    wait_for("the node's own address answers", Duration::from_secs(5), || {
        (traffic::ping(&pair.b.namespace, own, 1, "1") == 1).then_some(())
    });
    assert_eq!(traffic::ping(&pair.a.workload, pair.b.address(), 2, "0.05"), 0);
    pair.a.start();
    pair.program(Tunnel::MplsOverUdp);
    wait_for("ping is back", Duration::from_secs(3), || (pair.ping(1, "1") == 1).then_some(()));
}

#[test]
fn host_ends_of_workloads_are_mute() {
    let Some(pair) = start() else { return };
    let text = ip(&["-n", &pair.a.namespace, "link", "show", "dev", "port"]);
    assert!(text.contains("NOARP") && text.contains(",UP"), "{text}");
    let text = ip(&["-n", &pair.a.namespace, "-6", "addr", "show", "dev", "port"]);
    assert!(text.trim().is_empty(), "no IPv6 on the host's end: {text}");
}
