//! A virtual machine that stops reading: what its TAP drops is gone, but no frame is, and it is
//! served again when it reads.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

use port::{Port, XskConfig};
use support::{Bed, Net};

/// Opens a TAP and reads nothing until told to; then counts what it reads.
const GUEST: &str = r#"
import fcntl, os, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"guest", 0x1002))
print("open", flush=True)
sys.stdin.readline()
while True:
    packet = os.read(tap, 2048)
    if packet[14:18] == b"numb":
        print(int.from_bytes(packet[18:22], "big"), flush=True)
"#;

struct Guest {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

fn guest(net: &Net) -> Option<Guest> {
    let child = Command::new("ip")
        .args(["netns", "exec", &net.name, "python3", "-c", GUEST])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    if line.trim() != "open" {
        println!("skipped: no python3 or no TAP");
        let _ = child.kill();
        let _ = child.wait();
        return None;
    }
    Some(Guest { child, input, output })
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_guest_that_reads_nothing_costs_a_bounded_number_of_frames_and_is_served_when_it_reads() {
    let Some(net) = Net::new() else { return };
    let Some(mut guest) = guest(&net) else { return };
    net.ip("link set guest txqueuelen 16");
    net.ip("link set guest up");
    let mut bed = Bed::new(2048);
    let config = XskConfig { send_frames: 200, ..XskConfig::with_rings(0, 256) };
    let (_guest, mut port) = bed.workload(&net, "guest", config);
    let mut refused = 0;
    for number in 0..1000 {
        let frame = bed.numbered(number, 60);
        if let Err(frame) = port.transmit(frame) {
            bed.pool.give(frame);
            refused += 1;
        }
        port.flush(&mut bed.pool);
        assert_eq!(bed.missing(&[&port]), 0);
    }
    println!("refused {refused}, pending {}, {:?}", port.pending(), port.info().statistics);
    assert!(bed.pools.free_frames() >= 2048 - 200 - 256, "the rest of the pool is free");
    // The guest reads again: what was accepted and not dropped by the device arrives, and the
    // port serves it as before.
    writeln!(guest.input).unwrap();
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while port.pending() > 0 && std::time::Instant::now() < deadline {
        port.flush(&mut bed.pool);
        std::thread::yield_now();
    }
    assert_eq!(port.pending(), 0);
    // Once it has read a packet there is room for one.
    let mut arrived = 0;
    let mut line = String::new();
    while line.trim() != "4242" {
        line.clear();
        assert!(guest.output.read_line(&mut line).unwrap() > 0, "the guest ended");
        if arrived == 0 {
            let frame = bed.numbered(4242, 60);
            port.transmit(frame).unwrap();
            port.flush(&mut bed.pool);
        }
        arrived += 1;
    }
    println!("{arrived} packets arrived");
    port.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 2048);
}
