//! Stations that an interface learns: they appear in the bridge table, and go when they are silent.

mod support;

use std::time::Duration;

use api::{BridgeInfo, Client, Rows, Table};
use support::model::{self, Tunnel};
use support::pair::Pair;
use support::{privileged, traffic, wait_for};
use tables::{BridgeFlags, VifFlags};

/// The workload's entry.
fn entry(client: &mut Client, pair: &Pair) -> Option<BridgeInfo> {
    let mac = pair.a.side.workload_mac;
    let rows =
        client.pages(Table::Bridge { vrf: model::VRF }).flat_map(|page| match page.unwrap().rows {
            Rows::Bridge(rows) => rows,
            _ => Vec::new(),
        });
    rows.into_iter().find(|row| row.mac == mac)
}

#[test]
fn a_station_is_learnt_where_that_is_wanted_and_forgotten_when_it_is_silent() {
    if !privileged() {
        return;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &["--mac-aging", "2"]);
    let mut client = pair.a.daemon().client();
    assert_eq!(pair.ping(5, "0.01"), 5, "{pair}");
    assert!(entry(&mut client, &pair).is_none(), "nobody asked for it");
    let port = pair.a.side.port.clone();
    client.apply(model::bridged(&port, VifFlags::MAC_LEARN)).unwrap();
    client.barrier().unwrap();
    let row = wait_for("the station is learnt", Duration::from_secs(5), || {
        traffic::ping(&pair.a.workload, pair.b.address(), 1, "0.01");
        entry(&mut client, &pair)
    });
    assert_eq!(row.next_hop, model::BRIDGED);
    assert!(row.flags.contains(BridgeFlags::MAC_NEW));
    // It stays as long as it is heard, which is longer than it would be remembered.
    assert!(pair.ping(35, "0.1") >= 34, "{pair}");
    assert!(entry(&mut client, &pair).is_some());
    // Its stack asks for neighbours now and then, but not every two seconds for long.
    wait_for("a silent station is forgotten", Duration::from_secs(30), || {
        entry(&mut client, &pair).is_none().then_some(())
    });
    wait_for("it is learnt again", Duration::from_secs(5), || {
        traffic::ping(&pair.a.workload, pair.b.address(), 1, "0.01");
        entry(&mut client, &pair)
    });
    client.apply(model::bridged(&port, VifFlags::default())).unwrap();
    wait_for("an interface that learns no more has none", Duration::from_secs(1), || {
        entry(&mut client, &pair).is_none().then_some(())
    });
}
