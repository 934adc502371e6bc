//! 64-byte packets out of a workload: an AF_XDP socket on its interface that only sends, the same for every system.
//!
//! In copy mode the kernel makes a socket buffer of each packet, so both systems are handed what a local stack would
//! hand over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use port::{FramePool, FramePools, Heartbeat, Memory, Port, Umem, XskConfig, XskDevice, XskPort};

use super::path::{DEVICE, Path};

/// Packets handed to the kernel at once.
const BURST: u64 = 32;
const FRAMES: u32 = 2048;
/// Discard protocol: nobody listens.
const PORT: u16 = 9;

/// How fast to send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As fast as the kernel takes them.
    Flat,
    /// This many packets a second, in bursts.
    Rate(f64),
}

/// A sender in a workload. While it is open the workload receives nothing.
pub(super) struct Generator {
    device: XskDevice,
    port: XskPort,
    pool: FramePool,
    pools: FramePools,
    packet: Vec<u8>,
    namespace: String,
}

impl Generator {
    /// Opens it on the sending workload.
    pub(super) fn open(path: &Path<'_>) -> Result<Generator> {
        let packet = packet(path)?;
        ensure!(packet.len() == 64, "a packet of {} bytes", packet.len());
        let pools = FramePools::new(Memory::new(FRAMES, 2048, "generator")?, 1);
        let mut pool = pools.pool();
        let umem = Umem::new(pools.memory());
        let config = XskConfig { receive_frames: 64, ..XskConfig::with_rings(0, 1024) };
        let (device, port) = sys::netns::within(path.near.name(), || -> Result<_> {
            let device = XskDevice::workload(DEVICE, &Heartbeat::new()?)?;
            let port = device.open(&Arc::clone(&umem), config, 0, &mut pool)?;
            Ok((device, port))
        })??;
        Ok(Generator { device, port, pool, pools, packet, namespace: path.near.name().to_owned() })
    }

    /// Sends until told to stop; how many the kernel took.
    pub(super) fn run(&mut self, pace: Pace, stop: &AtomicBool) -> u64 {
        let start = Instant::now();
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            if let Pace::Rate(rate) = pace {
                #[expect(clippy::cast_precision_loss, reason = "seconds of packets")]
                let due = start + Duration::from_secs_f64(sent as f64 / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            sent += self.burst(BURST);
        }
        self.port.flush(&mut self.pool);
        sent - self.port.pending() as u64
    }

    /// Sends a few packets.
    pub(super) fn send(&mut self, packets: u64) -> u64 {
        self.burst(packets)
    }

    fn burst(&mut self, packets: u64) -> u64 {
        let mut sent = 0;
        for _ in 0..packets {
            let Some(mut frame) = self.pool.take() else { break };
            let filled = frame.fill(&self.packet).is_ok();
            match self.port.transmit(frame) {
                Ok(()) => sent += u64::from(filled),
                Err(frame) => {
                    self.pool.give(frame);
                    break;
                }
            }
        }
        self.port.flush(&mut self.pool);
        sent
    }

    /// Gives the interface back to the workload.
    pub(super) fn close(self) -> Result<()> {
        let Generator { device, mut port, mut pool, pools, namespace, .. } = self;
        port.close(&mut pool);
        drop(port);
        drop(pool);
        sys::netns::within(&namespace, || device.release())?.context("the generator")?;
        drop(pools);
        Ok(())
    }
}

fn packet(path: &Path<'_>) -> Result<Vec<u8>> {
    let (to, from) = path.macs()?;
    let address = |text: &str| -> Result<[u8; 4]> {
        Ok(text.parse::<std::net::Ipv4Addr>().context("an address")?.octets())
    };
    let builder = PacketBuilder::ethernet2(from, to)
        .ipv4(address(path.near_address)?, address(path.far_address)?, 64)
        .udp(10_000, PORT);
    let payload = [0x5a; 22];
    let mut packet = Vec::with_capacity(64);
    builder.write(&mut packet, &payload)?;
    Ok(packet)
}
