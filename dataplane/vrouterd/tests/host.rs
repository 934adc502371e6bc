//! vhost0: a TAP that the daemon makes, with the host's own stack at its end.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use api::{Backend, Lookup, PortState, Rows, VifInfo};
use support::lab::{self, ip};
use support::model::{self, Tunnel};
use support::pair::Pair;
use support::{privileged, traffic, wait_for};
use tables::{Key, Op};
use wire::Mac;

const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 0x11]);
const WORKLOAD: Ipv4Addr = Ipv4Addr::new(169, 254, 10, 3);
const US: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Two nodes, of which the first has a host interface and a link-local address on its workload.
fn start(workers: &str) -> Option<Pair> {
    if !privileged() {
        return None;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &["--workers", workers]);
    let workload = pair.a.workload.clone();
    ip(&["-n", &workload, "addr", "add", &format!("{WORKLOAD}/32"), "dev", "eth0"]);
    ip(&[
        "-n",
        &workload,
        "route",
        "add",
        &format!("{US}/32"),
        "dev",
        "eth0",
        "src",
        &WORKLOAD.to_string(),
    ]);
    program(&pair);
    Some(pair)
}

/// Puts vhost0, waits for it, and gives it an address.
fn program(pair: &Pair) {
    let mut client = pair.a.daemon().client();
    client.apply(model::host(HOST_MAC, WORKLOAD, US)).unwrap();
    wait_up(pair);
    client.barrier().unwrap();
}

fn row(pair: &Pair) -> VifInfo {
    let lookup = Lookup::Vif { id: model::HOST, core: None };
    let Rows::Vif(mut rows) = pair.a.daemon().client().get(lookup).unwrap() else {
        panic!("a vif row");
    };
    rows.remove(0)
}

fn wait_up(pair: &Pair) {
    wait_for("vhost0 is up", Duration::from_secs(10), || {
        let up = row(pair).port.is_some_and(|port| port.state == PortState::Up);
        let output = lab::inside(&pair.a.namespace, "cat", &["/sys/class/net/vhost0/flags"]);
        let flags = String::from_utf8(output.stdout).unwrap();
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
        (up && flags & 1 == 1).then_some(())
    });
    let text = ip(&["-n", &pair.a.namespace, "addr", "show", "dev", "vhost0"]);
    assert!(!text.contains("inet"), "it has no address by itself: {text}");
    ip(&["-n", &pair.a.namespace, "addr", "add", &format!("{US}/16"), "dev", "vhost0"]);
}

#[track_caller]
fn expect_answers(pair: &Pair) {
    let (host, workload) = (&pair.a.namespace, &pair.a.workload);
    assert_eq!(traffic::ping(host, WORKLOAD.into(), 20, "0.01"), 20, "{pair}");
    assert_eq!(traffic::ping(workload, US.into(), 20, "0.01"), 20, "{pair}");
}

#[track_caller]
fn expect_frames_home(pair: &Pair) {
    let mut client = pair.a.daemon().client();
    wait_for("all frames are home", Duration::from_secs(5), || {
        let page = client.pages(api::Table::Vif { core: None }).next().unwrap().unwrap();
        let Rows::Vif(vifs) = page.rows else { return None };
        let held: u32 = vifs.iter().flat_map(|vif| &vif.port).map(|port| port.frames_held).sum();
        let info = client.info().unwrap();
        (info.frames_free + held == info.frames).then_some(())
    });
}

#[test]
fn the_host_and_a_workload_talk_over_vhost0_with_default_offloads() {
    for workers in ["1", "2"] {
        let Some(pair) = start(workers) else { return };
        assert_eq!(lab::mac(&pair.a.namespace, "vhost0"), HOST_MAC);
        expect_answers(&pair);
        let (host, workload) = (&pair.a.namespace, &pair.a.workload);
        let there = traffic::tcp(host, workload, WORKLOAD.into(), 8 << 20);
        let back = traffic::tcp(workload, host, US.into(), 8 << 20);
        println!("TCP over vhost0, {workers} worker(s): {there:.0} and {back:.0} bytes/s");
        expect_frames_home(&pair);
        assert_eq!(pair.ping(5, "0.01"), 5, "the tunnel forwards as before: {pair}");
    }
}

#[test]
fn the_row_of_vhost0_tells_its_device_and_what_is_behind_it() {
    let Some(pair) = start("1") else { return };
    let row = row(&pair);
    assert_eq!((row.os_name.as_deref(), row.mac), (Some("vhost0"), HOST_MAC));
    assert!(row.os_index > 0);
    assert_eq!(row.port.unwrap().backend, Backend::Tap);
}

#[test]
fn the_next_daemon_makes_vhost0_anew() {
    let Some(mut pair) = start("2") else { return };
    expect_answers(&pair);
    pair.a.daemon.take().unwrap().kill();
    pair.a.start();
    pair.program(Tunnel::MplsOverUdp);
    program(&pair);
    expect_answers(&pair);
    expect_frames_home(&pair);
}

#[test]
fn a_vhost0_that_somebody_deletes_comes_back_and_one_that_is_not_wanted_goes() {
    let Some(pair) = start("1") else { return };
    let before = row(&pair).os_index;
    ip(&["-n", &pair.a.namespace, "link", "del", "vhost0"]);
    wait_for("another vhost0", Duration::from_secs(10), || {
        let now = row(&pair).os_index;
        (now != 0 && now != before).then_some(())
    });
    wait_up(&pair);
    expect_answers(&pair);

    let mut client = pair.a.daemon().client();
    let vhost = Key::Vif(model::HOST);
    let back = Key::Inet(model::VRF, wire::Prefix::host(US));
    let gone = [back, Key::NextHop(model::TO_VHOST), vhost].map(Op::Delete);
    client.apply(gone.to_vec()).unwrap();
    wait_for("no vhost0", Duration::from_secs(10), || {
        let output = lab::inside(&pair.a.namespace, "cat", &["/sys/class/net/vhost0/flags"]);
        (!output.status.success()).then_some(())
    });
    expect_frames_home(&pair);
}

#[test]
fn a_new_mac_is_the_devices_at_once() {
    let Some(pair) = start("1") else { return };
    let other = Mac([2, 0, 0, 0, 0xf0, 0x22]);
    pair.a.daemon().client().apply(model::host(other, WORKLOAD, US)).unwrap();
    wait_for("the new MAC", Duration::from_secs(5), || {
        (lab::mac(&pair.a.namespace, "vhost0") == other).then_some(())
    });
    pair.a.daemon().client().barrier().unwrap();
    expect_answers(&pair);
}
