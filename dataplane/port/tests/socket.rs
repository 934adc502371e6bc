//! The agent's socket: datagrams both ways, a receiver that is absent, full, gone and back.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use port::{Burst, Frame, FramePool, FramePools, Memory, Port, SocketPort};

/// A directory of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("port-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn own(&self) -> PathBuf {
        self.0.join("dpdk_pkt0")
    }

    fn agent(&self) -> PathBuf {
        self.0.join("agent_pkt0")
    }

    fn port(&self) -> SocketPort {
        SocketPort::bind("pkt0", &self.own(), &self.agent()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn pools() -> FramePools {
    FramePools::new(Memory::new(1024, 2048, "port-socket").unwrap(), 1)
}

fn frame(pool: &mut FramePool, bytes: &[u8]) -> Frame {
    let mut frame = pool.take().unwrap();
    frame.fill(bytes).unwrap();
    frame
}

/// Whether the port took it.
fn send(port: &mut SocketPort, pool: &mut FramePool, bytes: &[u8]) -> bool {
    let frame = frame(pool, bytes);
    port.transmit(frame).map_err(|frame| pool.give(frame)).is_ok()
}

fn receive(port: &mut SocketPort, pool: &mut FramePool) -> Vec<Vec<u8>> {
    let mut burst = Burst::new();
    port.receive(pool, &mut burst);
    burst.drain(..).map(|frame| (frame.data().to_vec(), pool.give(frame)).0).collect()
}

#[test]
fn a_frame_is_a_datagram_both_ways_and_one_too_large_is_counted() {
    let (folder, pools) = (Folder::new("both"), pools());
    let (mut pool, mut port) = (pools.pool(), folder.port());
    let agent = UnixDatagram::bind(folder.agent()).unwrap();
    assert!(send(&mut port, &mut pool, b"to the agent"));
    let mut buffer = [0; 2048];
    let length = agent.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"to the agent");
    agent.send_to(b"from it", folder.own()).unwrap();
    agent.send_to(&[7; 1793], folder.own()).unwrap();
    agent.send_to(&[8; 1792], folder.own()).unwrap();
    assert_eq!(receive(&mut port, &mut pool), [b"from it".to_vec(), vec![8; 1792]]);
    assert_eq!(port.info().statistics.rx_dropped, 1);
    port.close(&mut pool);
    assert!(!folder.own().exists(), "a closed port leaves no path behind");
    assert_eq!(pools.free_frames(), pools.capacity());
}

#[test]
fn an_absent_receiver_is_told_of_at_once_and_one_that_comes_back_is_served() {
    let (folder, pools) = (Folder::new("absent"), pools());
    let (mut pool, mut port) = (pools.pool(), folder.port());
    assert!(!send(&mut port, &mut pool, b"nobody"), "no socket");
    let agent = UnixDatagram::bind(folder.agent()).unwrap();
    assert!(send(&mut port, &mut pool, b"1"));
    drop(agent);
    assert!(!send(&mut port, &mut pool, b"nobody"), "a socket file without a process");
    std::fs::remove_file(folder.agent()).unwrap();
    let agent = UnixDatagram::bind(folder.agent()).unwrap();
    assert!(send(&mut port, &mut pool, b"2"));
    let mut buffer = [0; 16];
    assert_eq!((agent.recv(&mut buffer).unwrap(), buffer[0]), (1, b'2'));
    assert_eq!(port.info().statistics.tx_refused, 2);
    port.close(&mut pool);
    assert_eq!(pools.free_frames(), pools.capacity());
}

#[test]
fn what_a_full_receiver_does_not_take_waits_bounded_and_in_order() {
    let (folder, pools) = (Folder::new("full"), pools());
    let (mut pool, mut port) = (pools.pool(), folder.port());
    let agent = UnixDatagram::bind(folder.agent()).unwrap();
    agent.set_nonblocking(true).unwrap();
    let mut taken = 0u32;
    while send(&mut port, &mut pool, &taken.to_be_bytes()) {
        taken += 1;
        port.flush(&mut pool);
        assert!(taken < 1024, "it never is full");
    }
    assert_eq!(port.pending(), 256);
    let mut seen = 0u32;
    let mut buffer = [0; 16];
    for _ in 0..2000 {
        while agent.recv(&mut buffer).is_ok() {
            assert_eq!(buffer[..4], seen.to_be_bytes());
            seen += 1;
        }
        port.flush(&mut pool);
    }
    assert_eq!((seen, port.pending()), (taken, 0));
    // A receiver that dies with a full queue holds nothing up.
    while send(&mut port, &mut pool, b"x") {
        port.flush(&mut pool);
    }
    drop(agent);
    (0..32).for_each(|_| port.flush(&mut pool));
    assert_eq!((port.pending(), port.info().statistics.tx_invalid), (0, 256));
    port.close(&mut pool);
    assert_eq!(pools.free_frames(), pools.capacity());
}

#[test]
fn a_path_that_another_port_has_taken_over_stays() {
    let (folder, pools) = (Folder::new("successor"), pools());
    let (mut pool, mut old) = (pools.pool(), folder.port());
    let mut new = folder.port();
    old.close(&mut pool);
    let agent = UnixDatagram::unbound().unwrap();
    agent.send_to(b"still there", folder.own()).unwrap();
    assert_eq!(receive(&mut new, &mut pool), [b"still there".to_vec()]);
    new.close(&mut pool);
}
