//! What a port costs beside its frames: measured, printed, and held to what `info` says.

mod support;

use port::{Port, XskConfig};
use support::{Bed, Net};

/// What the kernel has mapped for itself in bytes: with this many chunks, where it keeps what it
/// knows of them. Moves little with other processes, unlike free memory.
fn used() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmallocUsed")).unwrap();
    let kilobytes: i64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
#[ignore = "other processes move the figure: run it alone, on a quiet machine"]
fn a_port_costs_about_what_its_info_says() {
    const FRAMES: u32 = 65536;
    let Some(net) = Net::new() else { return };
    for pair in 0..8 {
        net.veth(&format!("a{pair}"), &format!("b{pair}"));
    }
    let mut bed = Bed::new(FRAMES);
    let config = || XskConfig::with_rings(0, 1024);
    // The first registration also populates the packet memory.
    let first = bed.workload(&net, "a0", config());
    let before = used();
    let mut ports = vec![first];
    for pair in 1..8 {
        ports.push(bed.workload(&net, &format!("a{pair}"), config()));
    }
    let shared = (used() - before) / 7;
    let before = used();
    ports.push(bed.uplink(&net, "b1", config()));
    ports.push(bed.uplink(&net, "b2", config()));
    let own = (used() - before) / 2;
    let said = ports[0].1.info().memory;
    println!("packet memory: {FRAMES} chunks; rings: 1024");
    println!("a port sharing a registration: {shared} bytes measured, {said} said");
    println!("a port registering itself:     {own} bytes measured");
    let before = used();
    for _ in 0..10 {
        let (_uplink, mut port) = bed.uplink(&net, "b3", config());
        port.close(&mut bed.pool);
    }
    println!("left behind by ten ports that were closed: {} bytes", used() - before);
    for (_, port) in &mut ports {
        port.close(&mut bed.pool);
    }
    assert_eq!(bed.pools.free_frames(), FRAMES as usize);
    let said = i64::try_from(said).unwrap();
    assert!((shared - said).abs() < said / 2, "{shared} measured, {said} said");
}
