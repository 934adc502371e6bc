//! Ports follow the model and the devices.

mod support;

use std::time::Duration;

use api::PortState;
use support::lab::{self, ip};
use support::model::{self, Tunnel};
use support::pair::{Pair, port_state};
use support::{privileged, wait_for};
use tables::{Key, Op};

fn start() -> Option<Pair> {
    privileged().then(|| Pair::start(Tunnel::MplsOverUdp, &[]))
}

fn expect(pair: &Pair, wanted: &PortState) {
    let mut client = pair.a.daemon().client();
    wait_for(&format!("the port is {wanted:?}"), Duration::from_secs(10), || {
        (port_state(&mut client, model::PORT) == *wanted).then_some(())
    });
}

#[test]
fn a_device_that_goes_and_comes_back_is_opened_again() {
    let Some(pair) = start() else { return };
    ip(&["-n", &pair.a.namespace, "link", "del", "port"]);
    expect(&pair, &PortState::DeviceMissing);

    lab::veth((&pair.a.namespace, "port"), (&pair.a.workload, "eth0"), 1);
    let mac = pair.a.side.workload_mac.to_string();
    ip(&["-n", &pair.a.workload, "link", "set", "eth0", "address", &mac, "up"]);
    let address = format!("{}/24", pair.a.side.workload);
    ip(&["-n", &pair.a.workload, "addr", "add", &address, "dev", "eth0"]);
    expect(&pair, &PortState::Up);
    assert_eq!(pair.ping(5, "0.05"), 5);
}

#[test]
fn a_deleted_vif_gives_its_frames_back_and_a_new_one_works() {
    let Some(mut pair) = start() else { return };
    let mut client = pair.a.daemon().client();
    client.apply(vec![Op::Delete(Key::Vif(model::PORT))]).unwrap();
    client.barrier().unwrap();
    wait_for("its frames are home", Duration::from_secs(5), || {
        let info = client.info().unwrap();
        let api::Rows::Vif(vifs) =
            client.pages(api::Table::Vif { core: None }).next().unwrap().unwrap().rows
        else {
            return None;
        };
        let held: u32 = vifs.iter().flat_map(|vif| &vif.port).map(|port| port.frames_held).sum();
        (vifs.len() == 1 && info.frames_free + held == info.frames).then_some(())
    });
    let there = pair.b.side.clone();
    pair.a.program(&there, Tunnel::MplsOverUdp);
    assert_eq!(pair.ping(5, "0.05"), 5);
}

#[test]
fn a_replay_does_not_touch_the_ports() {
    let Some(pair) = start() else { return };
    let sockets = || {
        let directory = format!("/proc/{}/fd", pair.a.daemon().pid());
        let mut links: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|path| path.display().to_string())
            .filter(|path| path.starts_with("socket:"))
            .collect();
        links.sort();
        links
    };
    let mut client = pair.a.daemon().client();
    let before = sockets();
    let epoch = client.begin_epoch().unwrap();
    let there = pair.b.side.clone();
    client.apply(model::program(&pair.a.side, &there, Tunnel::MplsOverUdp)).unwrap();
    client.sweep(epoch).unwrap();
    client.barrier().unwrap();
    assert_eq!(sockets(), before);
    assert_eq!(pair.ping(20, "0.01"), 20);
}

#[test]
fn counters_count_and_are_cleared() {
    let Some(pair) = start() else { return };
    assert_eq!(pair.ping(20, "0.01"), 20);
    let mut client = pair.a.daemon().client();
    let mut count = |core: Option<u32>| {
        let lookup = api::Lookup::Vif { id: model::PORT, core: core.map(api::Core) };
        let api::Rows::Vif(rows) = client.get(lookup).unwrap() else { panic!("a vif row") };
        (rows[0].rx.packets, rows[0].tx.packets)
    };
    let (rx, tx) = count(None);
    assert!(rx >= 20 && tx >= 20, "{rx} {tx}");
    assert_eq!(count(Some(7)), (0, 0), "there is no such worker");
    let mut other = pair.a.daemon().client();
    let clear = |core| api::Request::ClearVifStats { vif: Some(model::PORT), core };
    other.done(&clear(Some(api::Core(7)))).unwrap();
    assert!(count(None).0 >= 20, "nothing was cleared on the worker there is");
    other.done(&clear(Some(api::Core(0)))).unwrap();
    // The workload's own kernel may speak at any moment.
    assert!(count(None).0 < 20 && count(None).1 < 20);
}

#[test]
fn a_program_that_somebody_takes_off_is_put_back() {
    let Some(pair) = start() else { return };
    assert_eq!(pair.ping(1, "1"), 1);
    for device in ["port", "uplink"] {
        ip(&["-n", &pair.a.namespace, "link", "set", device, "xdp", "off"]);
        wait_for(&format!("the program is back on {device}"), Duration::from_secs(5), || {
            let link = ip(&["-n", &pair.a.namespace, "link", "show", device]);
            link.contains("prog/xdp").then_some(())
        });
        assert_eq!(pair.ping(5, "0.05"), 5, "after the program of {device} was taken off");
    }
}
