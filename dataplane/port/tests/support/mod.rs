//! A network namespace with veth pairs, frames in a pool, and ports on them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use port::{
    Beat, Burst, Frame, FramePool, FramePools, Heartbeat, Memory, Port, Umem, XskConfig, XskDevice,
    XskPort,
};
use sys::{epoll::Epoll, netns, tsc::monotonic_ns};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace of this test alone, deleted at its end.
pub(crate) struct Net {
    pub(crate) name: String,
}

impl Net {
    /// `None`, and a word why, where this cannot be tested.
    pub(crate) fn new() -> Option<Net> {
        if let Err(missing) = sys::caps::check() {
            println!("skipped: {missing}");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("port-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        match made {
            Ok(output) if output.status.success() => {}
            other => {
                println!("skipped: cannot make a network namespace: {other:?}");
                return None;
            }
        }
        let net = Net { name };
        net.ip("link set lo up");
        Some(net)
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, arguments: &str) {
        let output = self.try_ip(arguments);
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }

    pub(crate) fn try_ip(&self, arguments: &str) -> std::process::Output {
        Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments.split_whitespace())
            .output()
            .unwrap()
    }

    /// A veth pair with one queue, both ends up, without chatter of their own.
    pub(crate) fn veth(&self, one: &str, other: &str) {
        self.veth_of(one, other, 1);
    }

    /// The same with more queues.
    pub(crate) fn veth_of(&self, one: &str, other: &str, queues: u32) {
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        self.ip(&format!("link add {one} {queues} type veth peer name {other} {queues}"));
        for end in [one, other] {
            self.within(|| {
                let file = format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6");
                // Without IPv6 there is no chatter to silence.
                let _ = std::fs::write(file, "1");
            });
            self.ip(&format!("link set {end} up"));
        }
    }

    /// Runs `work` inside.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::within(&self.name, work).unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Memory, its pools, and a worker that beats.
pub(crate) struct Bed {
    pub(crate) pools: FramePools,
    pub(crate) pool: FramePool,
    pub(crate) umem: Arc<Umem>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) beat: Beat,
}

impl Bed {
    pub(crate) fn new(frames: u32) -> Bed {
        Bed::on(FramePools::new(Memory::new(frames, 2048, "port-test").unwrap(), 1))
    }

    /// The same with large frames beside.
    pub(crate) fn with_large(frames: u32, large: u32) -> Bed {
        let memory = Memory::new(frames, 2048, "port-test").unwrap();
        let large = Memory::large(large, "port-test").unwrap();
        Bed::on(FramePools::with_large(memory, large, 1))
    }

    fn on(pools: FramePools) -> Bed {
        let heartbeat = Heartbeat::new().unwrap();
        let beat = heartbeat.beat(0).unwrap();
        beat.beat(monotonic_ns());
        Bed { pool: pools.pool(), umem: Umem::new(pools.memory()), pools, heartbeat, beat }
    }

    /// The bed of another worker on the same memory.
    pub(crate) fn another(&self, slot: u32) -> Bed {
        let beat = self.heartbeat.beat(slot).unwrap();
        beat.beat(monotonic_ns());
        Bed {
            pools: self.pools.clone(),
            pool: self.pools.pool(),
            umem: Arc::clone(&self.umem),
            heartbeat: self.heartbeat.clone(),
            beat,
        }
    }

    pub(crate) fn workload(
        &mut self,
        net: &Net,
        device: &str,
        config: XskConfig,
    ) -> (XskDevice, XskPort) {
        let (umem, heartbeat, pool) = (&self.umem, &self.heartbeat, &mut self.pool);
        net.within(|| {
            let taken = XskDevice::workload(device, heartbeat).unwrap();
            let port = taken.open(umem, config, 0, pool).unwrap();
            (taken, port)
        })
    }

    pub(crate) fn uplink(
        &mut self,
        net: &Net,
        device: &str,
        config: XskConfig,
    ) -> (XskDevice, XskPort) {
        let (umem, heartbeat, pool) = (&self.umem, &self.heartbeat, &mut self.pool);
        net.within(|| {
            let taken = XskDevice::uplink(device, heartbeat).unwrap();
            let port = taken.open(umem, config, 0, pool).unwrap();
            (taken, port)
        })
    }

    /// A frame of `length` bytes that carries `number`.
    pub(crate) fn numbered(&mut self, number: u32, length: usize) -> Frame {
        let mut frame = self.pool.take_for(length).expect("a free frame");
        frame.fill(&numbered(number, length)).unwrap();
        frame
    }

    /// Receives on `port` until `wanted` numbered packets are there or patience ends; the numbers.
    pub(crate) fn collect(&mut self, port: &mut XskPort, wanted: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        self.until(port, |packet| {
            numbers.extend(number_of(packet));
            numbers.len() >= wanted
        });
        numbers
    }

    /// Receives on `port` until `enough` says so; `false` if patience ended before.
    pub(crate) fn until(
        &mut self,
        port: &mut XskPort,
        mut enough: impl FnMut(&[u8]) -> bool,
    ) -> bool {
        let mut epoll = Epoll::new().unwrap();
        epoll.add(port.poll_fd().unwrap(), 0).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut done = false;
        while !done && Instant::now() < deadline {
            self.beat.beat(monotonic_ns());
            let mut burst = Burst::new();
            if port.receive(&mut self.pool, &mut burst) == 0 {
                let _ = epoll.wait(Duration::from_millis(20)).unwrap().count();
            }
            for frame in burst {
                done |= enough(frame.data());
                self.pool.give(frame);
            }
            port.flush(&mut self.pool);
        }
        done
    }

    /// Frames that are neither free nor held by one of `ports`.
    pub(crate) fn missing(&self, ports: &[&XskPort]) -> isize {
        let held: usize = ports.iter().map(|port| port.outstanding()).sum();
        isize::try_from(self.pools.capacity()).unwrap()
            - isize::try_from(self.pools.free_frames() + held).unwrap()
    }
}

const MARK: [u8; 4] = *b"numb";

pub(crate) fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut packet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &[0x88, 0xb5], &MARK].concat();
    packet.extend(number.to_be_bytes());
    let filling = (packet.len()..length.max(60)).map(|i| u8::try_from(i * 7 % 251).unwrap());
    let filling: Vec<u8> = filling.collect();
    packet.extend(filling);
    packet
}

pub(crate) fn number_of(packet: &[u8]) -> Option<u32> {
    let number = packet.get(18..22)?.try_into().ok()?;
    (packet.get(14..18)? == MARK).then(|| u32::from_be_bytes(number))
}
