//! Devices, offloads and namespaces, on a veth pair in a namespace of its own.

use std::process::Command;

use sys::{
    device,
    ethtool::{self, Offload},
    netns,
};

struct Net(String);

impl Net {
    fn with_veth() -> Option<Net> {
        if let Err(missing) = sys::caps::check() {
            println!("skipped: {missing}");
            return None;
        }
        let net = Net(format!("sys-{}", std::process::id()));
        let ip = |arguments: &str| {
            let done = Command::new("ip").args(arguments.split_whitespace()).output();
            let done = done.is_ok_and(|output| output.status.success());
            if !done {
                println!("skipped: cannot do: ip {arguments}");
            }
            done
        };
        let pair = "type veth peer name vb numrxqueues 3 numtxqueues 3";
        let made = ip(&format!("netns add {}", net.0))
            && ip(&format!("-n {} link add va numrxqueues 3 numtxqueues 3 {pair}", net.0))
            && ip(&format!("-n {} link set va address 02:00:00:00:00:2a", net.0));
        made.then_some(net)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

#[test]
fn a_device_tells_what_it_is_and_lets_its_offloads_be_switched_off() {
    let Some(net) = Net::with_veth() else { return };
    netns::within(&net.0, || {
        assert!(device::index("va").unwrap() > 0);
        assert_eq!(device::mac("va").unwrap(), [2, 0, 0, 0, 0, 0x2a]);
        assert_eq!(ethtool::driver("va").unwrap(), "veth");
        assert_eq!(ethtool::receive_queues("va").unwrap(), 3);
        let speed = ethtool::link_speed("va").unwrap();
        assert_eq!((speed.megabits, speed.full_duplex), (Some(10_000), Some(true)));
        for offload in Offload::ALL {
            ethtool::switch_off("va", offload).unwrap();
        }
        let missing = device::index("no-such-device").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(19));
        assert!(ethtool::driver("a-name-that-is-far-too-long").is_err());
        assert_eq!(ethtool::receive_queues("lo").unwrap(), 1);
    })
    .unwrap();
    let listed = Command::new("ip").args(["netns", "exec", &net.0, "ethtool", "-k", "va"]).output();
    let Ok(listed) = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    else {
        println!("skipped: no ethtool to compare with");
        return;
    };
    for feature in [
        "tx-checksumming: off",
        "tx-vlan-offload: off",
        "tx-vlan-stag-hw-insert: off",
        "tcp-segmentation-offload: off",
        "generic-segmentation-offload: off",
    ] {
        assert!(listed.contains(feature), "{feature} expected in\n{listed}");
    }
}

#[test]
fn a_namespace_that_is_not_there_is_an_error_and_ours_is_left_as_it_was() {
    assert!(netns::within("no-such-namespace", || ()).is_err());
    assert!(device::index("lo").is_ok());
}

#[test]
fn a_thread_can_be_pinned_to_a_processor_it_may_use_and_to_no_other() {
    let processors = sys::affinity::allowed().unwrap();
    let first = *processors.first().unwrap();
    std::thread::spawn(move || {
        sys::affinity::pin(first).unwrap();
        assert_eq!(sys::affinity::allowed().unwrap(), [first]);
        assert!(sys::affinity::pin(1 << 20).is_err());
    })
    .join()
    .unwrap();
}
