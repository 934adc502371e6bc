//! Who gets a packet when processes die, hang, start again, or find somebody else's program.

mod support;

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use port::{Burst, DeviceError, Port, PortMode, XskConfig, XskDevice};
use support::{Bed, Net};
use sys::tsc::monotonic_ns;

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const TUNNEL: u16 = 6635;

/// A node with an underlay: `ul` (NODE) joined to `far` (PEER) in a namespace of its own, and a
/// workload `wl` joined to `tn` in a third.
struct Site {
    node: Net,
    peer: Net,
    tenant: Net,
}

fn site() -> Option<Site> {
    let (node, peer, tenant) = (Net::new()?, Net::new()?, Net::new()?);
    node.veth("ul", "far");
    node.veth("wl", "tn");
    node.ip(&format!("link set far netns {}", peer.name));
    node.ip(&format!("link set tn netns {}", tenant.name));
    node.ip(&format!("addr add {NODE}/24 dev ul"));
    peer.ip(&format!("addr add {PEER}/24 dev far"));
    peer.ip("link set far up");
    // A host address on the workload's own end shows whether its frames reach the stack.
    node.ip("addr add 198.51.100.1/24 dev wl");
    tenant.ip("addr add 198.51.100.2/24 dev tn");
    tenant.ip("link set tn up");
    Some(Site { node, peer, tenant })
}

impl Site {
    fn listen(&self, address: &str) -> UdpSocket {
        let socket = self.node.within(|| UdpSocket::bind(address)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket
    }

    fn tunnel_listener(&self) -> UdpSocket {
        self.listen(&format!("{NODE}:{TUNNEL}"))
    }

    /// Sends a tunnel packet to the node until it is heard, or for the listener's patience.
    fn tunnel_packet_reaches(&self, listener: &UdpSocket) -> bool {
        let sender = self.peer.within(|| UdpSocket::bind((PEER, 0))).unwrap();
        (0..3).any(|_| {
            sender.send_to(b"tunnelled", (NODE, TUNNEL)).unwrap();
            listener.recv(&mut [0; 64]).is_ok()
        })
    }

    /// Whether a tenant reaches the node's own address on its link.
    fn tenant_packet_reaches(&self, listener: &UdpSocket) -> bool {
        // The neighbour is set by hand: ARP, too, is taken from the tenant.
        let mac = self.node.within(|| sys::device::mac("wl")).unwrap();
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        self.tenant.ip(&format!("neigh replace 198.51.100.1 lladdr {mac} dev tn"));
        let sender = self.tenant.within(|| UdpSocket::bind("198.51.100.2:0")).unwrap();
        (0..3).any(|_| {
            sender.send_to(b"tenant", "198.51.100.1:9999").unwrap();
            listener.recv(&mut [0; 64]).is_ok()
        })
    }
}

/// The process that holds the ports: this same test binary, told to by the environment.
const CHILD: &str = "PORT_TEST_HOLD_PORTS_IN";

#[test]
fn holds_ports_when_told_to() {
    let Ok(namespace) = std::env::var(CHILD) else { return };
    let net = Net { name: namespace };
    let mut bed = Bed::new(4096);
    let (up, mut uplink) = bed.uplink(&net, "ul", XskConfig::with_rings(0, 512));
    up.set_endpoints(&[IpAddr::from(NODE)]).unwrap();
    let (_wl, mut workload) = bed.workload(&net, "wl", XskConfig::with_rings(0, 512));
    // The namespace is the parent's to delete.
    std::mem::forget(net);
    println!("ready");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        bed.beat.beat(monotonic_ns());
        for port in [&mut uplink, &mut workload] {
            let mut burst = Burst::new();
            port.receive(&mut bed.pool, &mut burst);
            burst.drain(..).for_each(|frame| bed.pool.give(frame));
            port.flush(&mut bed.pool);
        }
        std::thread::yield_now();
    }
}

fn hold_ports(net: &Net) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_ports_when_told_to", "--nocapture"])
        .env(CHILD, &net.name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let ready = output.lines().map_while(Result::ok).any(|line| line.contains("ready"));
    assert!(ready, "the child ended before its ports were open");
    child
}

#[test]
fn after_kill_9_the_uplink_is_the_kernel_s_and_no_tenant_frame_is_and_the_next_process_takes_over()
{
    let Some(site) = site() else { return };
    let tunnel = site.tunnel_listener();
    let host = site.listen("198.51.100.1:9999");
    assert!(site.tunnel_packet_reaches(&tunnel), "without a vRouter the kernel gets all");
    assert!(site.tenant_packet_reaches(&host), "without a vRouter the kernel gets all");

    let mut child = hold_ports(&site.node);
    assert!(!site.tunnel_packet_reaches(&tunnel), "tunnel packets are the vRouter's");
    assert!(!site.tenant_packet_reaches(&host), "tenant frames are the vRouter's");

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(site.tunnel_packet_reaches(&tunnel), "the node goes on");
    assert!(!site.tenant_packet_reaches(&host), "tenant frames end here");

    let mut bed = Bed::new(4096);
    let (up, mut uplink) = bed.uplink(&site.node, "ul", XskConfig::with_rings(0, 512));
    up.set_endpoints(&[IpAddr::from(NODE)]).unwrap();
    let (_wl, mut workload) = bed.workload(&site.node, "wl", XskConfig::with_rings(0, 512));
    bed.beat.beat(monotonic_ns());
    let sender = site.peer.within(|| UdpSocket::bind((PEER, 0))).unwrap();
    sender.send_to(b"tunnelled again", (NODE, TUNNEL)).unwrap();
    assert!(bed.until(&mut uplink, |packet| packet.ends_with(b"tunnelled again")));
    assert!(tunnel.recv(&mut [0; 64]).is_err());
    uplink.close(&mut bed.pool);
    workload.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);

    site.node.within(|| up.release()).unwrap();
    assert!(site.tunnel_packet_reaches(&tunnel), "released, the device is the kernel's");
}

#[test]
fn a_worker_that_hangs_loses_the_uplink_to_the_kernel_and_gets_it_back() {
    let Some(site) = site() else { return };
    let tunnel = site.tunnel_listener();
    let host = site.listen("198.51.100.1:9999");
    let mut bed = Bed::new(4096);
    let (up, mut uplink) = bed.uplink(&site.node, "ul", XskConfig::with_rings(0, 512));
    up.set_endpoints(&[IpAddr::from(NODE)]).unwrap();
    let (wl, mut workload) = bed.workload(&site.node, "wl", XskConfig::with_rings(0, 512));
    bed.beat.beat(monotonic_ns() - 2_000_000_000);
    assert!(site.tunnel_packet_reaches(&tunnel), "a stale worker takes nothing");
    assert!(!site.tenant_packet_reaches(&host), "and tenant frames end");
    assert!(up.missed().unwrap() >= 1 && wl.missed().unwrap() >= 3);
    let sender = site.peer.within(|| UdpSocket::bind((PEER, 0))).unwrap();
    bed.beat.beat(monotonic_ns());
    sender.send_to(b"beating", (NODE, TUNNEL)).unwrap();
    assert!(bed.until(&mut uplink, |packet| packet.ends_with(b"beating")));
    uplink.close(&mut bed.pool);
    workload.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
}

#[test]
fn what_is_not_a_tunnel_packet_stays_the_kernel_s() {
    let Some(site) = site() else { return };
    let mut bed = Bed::new(4096);
    let (up, mut uplink) = bed.uplink(&site.node, "ul", XskConfig::with_rings(0, 512));
    up.set_endpoints(&[IpAddr::from(NODE)]).unwrap();
    bed.beat.beat(monotonic_ns());
    // ARP and ICMP both have to work for this.
    let ping = site.peer.within(|| {
        Command::new("ip")
            .args(["netns", "exec", &site.peer.name, "ping", "-c", "2", "-i", "0.1", "-W", "2"])
            .arg(NODE.to_string())
            .output()
    });
    match ping {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => println!("skipped: no ping: {error}"),
    }
    let other = site.listen(&format!("{NODE}:5353"));
    let sender = site.peer.within(|| UdpSocket::bind((PEER, 0))).unwrap();
    sender.send_to(b"other", (NODE, 5353)).unwrap();
    other.recv(&mut [0; 64]).unwrap();
    let mut burst = Burst::new();
    assert_eq!(uplink.receive(&mut bed.pool, &mut burst), 0);
    uplink.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
}

#[test]
fn a_program_of_somebody_else_is_named_and_left_alone() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    if !attach_foreign(&net, "va") {
        return;
    }
    let bed = Bed::new(64);
    let error = net.within(|| XskDevice::workload("va", &bed.heartbeat)).unwrap_err();
    let DeviceError::Foreign { name, .. } = &error else { panic!("{error}") };
    assert_eq!(name, "somebody_elses");
    let message = error.to_string();
    assert!(message.starts_with("va carries") && message.contains("somebody_elses"), "{message}");
    println!("{message}");
    let error = net.within(|| XskDevice::uplink("va", &bed.heartbeat)).unwrap_err();
    assert!(error.to_string().contains("somebody_elses"), "{error}");
    let link = net.try_ip("-d link show va");
    assert!(String::from_utf8_lossy(&link.stdout).contains("somebody_elses"), "{link:?}");
}

/// Puts a program of another name on a device, by other tools.
fn attach_foreign(net: &Net, device: &str) -> bool {
    let base = std::env::temp_dir().join(&net.name);
    let (source, object) = (base.with_extension("c"), base.with_extension("o"));
    let text = "__attribute__((section(\"xdp\"), used)) int somebody_elses(void *ctx) \
                { return 2; }\nchar _license[] __attribute__((section(\"license\"), used)) = \
                \"GPL\";\n";
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .output();
    let attached = match compiled {
        Ok(output) if output.status.success() => {
            let object = object.display();
            net.try_ip(&format!("link set dev {device} xdp obj {object} sec xdp"))
        }
        other => {
            println!("skipped: cannot compile a program: {other:?}");
            return false;
        }
    };
    let _ = std::fs::remove_file(source);
    let _ = std::fs::remove_file(object);
    if !attached.status.success() {
        println!("skipped: cannot attach a program with ip: {attached:?}");
    }
    attached.status.success()
}

#[test]
fn a_device_that_is_not_there_or_a_queue_it_has_not_is_one_clear_error() {
    let Some(net) = Net::new() else { return };
    net.veth("va", "vb");
    let mut bed = Bed::new(64);
    let error = net.within(|| XskDevice::uplink("nowhere", &bed.heartbeat)).unwrap_err();
    assert!(error.to_string().starts_with("nowhere: "), "{error}");
    let taken = net.within(|| XskDevice::workload("va", &bed.heartbeat)).unwrap();
    assert_eq!(taken.queues(), 1);
    let (umem, pool) = (&bed.umem, &mut bed.pool);
    let config = XskConfig::with_rings(5, 64);
    let error = net.within(|| taken.open(umem, config, 0, pool)).err().unwrap();
    assert!(error.to_string().starts_with("va queue 5: no such queue"), "{error}");
    let config = XskConfig::with_rings(0, 100);
    let error = net.within(|| taken.open(umem, config, 0, pool)).err().unwrap();
    assert!(error.to_string().contains("power of two"), "{error}");
    assert_eq!(bed.pools.free_frames(), 64);
}

#[test]
fn an_uplink_whose_driver_has_no_xdp_is_served_before_the_stack_and_says_so() {
    let Some(net) = Net::new() else { return };
    let mut bed = Bed::new(4096);
    let (device, mut port) = bed.uplink(&net, "lo", XskConfig::with_rings(0, 512));
    let node = Ipv4Addr::LOCALHOST;
    device.set_endpoints(&[IpAddr::from(node)]).unwrap();
    assert_eq!(port.info().mode, PortMode::Generic);
    bed.beat.beat(monotonic_ns());
    let sender = net.within(|| UdpSocket::bind((node, 0))).unwrap();
    sender.send_to(b"generic", (node, TUNNEL)).unwrap();
    assert!(bed.until(&mut port, |packet| packet.ends_with(b"generic")));
    port.close(&mut bed.pool);
    assert_eq!(bed.pools.free_frames(), 4096);
    // The next process finds it there and replaces it.
    let (device, mut port) = bed.uplink(&net, "lo", XskConfig::with_rings(0, 512));
    port.close(&mut bed.pool);
    net.within(|| device.release()).unwrap();
}
