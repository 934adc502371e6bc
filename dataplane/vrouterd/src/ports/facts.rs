//! What an interface's row shows of its device, its port and its counters.

use api::{
    Backend, CopyMode, Core, Duplex, Fabric, LayerCounters, LinkState, PortRow, PortState, Traffic,
    VifInfo, XdpMode, XdpStatistics,
};
use engine::{CounterReader, VifStatistics};
use port::{PortInfo, PortMode};
use tables::{VifId, VifKind};

use super::{OpenDevice, Ports, State};
use crate::control::VifFacts;
use crate::links::Links;

/// The facts there are.
pub(crate) struct Facts<'a> {
    pub(crate) ports: &'a Ports,
    pub(crate) links: &'a Links,
}

impl VifFacts for Facts<'_> {
    fn counters(&self) -> Option<&CounterReader> {
        Some(self.ports.counters())
    }

    fn complete(&self, row: &mut VifInfo, core: Option<Core>) {
        self.count(row, core);
        let link = self.links.named(&row.name);
        if let Some(link) = link {
            row.os_index = link.index;
            row.os_name = Some(link.name.clone());
        }
        let Some(slot) = self.ports.slots.get(&row.id) else { return };
        row.port = Some(port_row(&slot.state));
        let State::Open(open) = &slot.state else { return };
        row.layers.rx_port = rx_port(open);
        if slot.kind == VifKind::Physical {
            let speed = open.speed;
            row.speed_mbps = speed.and_then(|speed| speed.megabits);
            row.duplex = speed
                .and_then(|speed| speed.full_duplex)
                .map(|full| if full { Duplex::Full } else { Duplex::Half });
            row.fabric = Some(Fabric {
                name: row.name.clone(),
                state: match link {
                    Some(link) if link.up => LinkState::Up,
                    _ => LinkState::Down,
                },
                driver: open.driver.clone().unwrap_or_default(),
                members: Vec::new(),
                vlan: None,
                vlan_interface: String::new(),
            });
        }
    }

    fn by_os_index(&self, os_index: u32) -> Option<VifId> {
        let link = self.links.get(os_index)?;
        let mut slots = self.ports.slots.iter();
        slots.find(|(_, slot)| slot.device == link.name).map(|(&vif, _)| vif)
    }
}

impl Ports {
    /// Which worker (counted from 0) serves which queue of which device, by vif and queue.
    pub(crate) fn queues(&self) -> Vec<(usize, String, u16)> {
        let open = self.slots.values().filter_map(|slot| match &slot.state {
            State::Open(open) => Some((slot.device.clone(), open)),
            _ => None,
        });
        open.flat_map(|(device, open)| {
            let queue = |(queue, worker): &(u16, engine::WorkerId)| {
                (usize::from(worker.0), device.clone(), *queue)
            };
            open.queues.iter().map(queue).collect::<Vec<_>>()
        })
        .collect()
    }
}

impl Facts<'_> {
    fn count(&self, row: &mut VifInfo, core: Option<Core>) {
        let counters = self.ports.counters();
        let (traffic, drops) = match core {
            None => (counters.vif(row.id), counters.vif_drops(row.id)),
            Some(Core(core)) => {
                let worker = core as usize;
                (counters.vif_on(worker, row.id), counters.vif_drops_on(worker, row.id))
            }
        };
        let VifStatistics { rx_packets, rx_bytes, rx_errors, tx_packets, tx_bytes, tx_errors } =
            traffic;
        row.rx = Traffic { packets: rx_packets, bytes: rx_bytes, errors: rx_errors };
        row.tx = Traffic { packets: tx_packets, bytes: tx_bytes, errors: tx_errors };
        row.drops = drops.total();
    }
}

fn port_row(state: &State) -> PortRow {
    let mut row = PortRow {
        state: match state {
            State::Missing => PortState::DeviceMissing,
            State::Portless | State::Opening { .. } => PortState::None,
            State::Failed { message, .. } => PortState::Failed(message.clone()),
            State::Open(_) => PortState::Up,
        },
        backend: Backend::None,
        queues: 0,
        features: Vec::new(),
        memory_bytes: 0,
        frames_held: 0,
        xdp: XdpStatistics::default(),
    };
    if let State::Open(open) = state {
        row.queues = u16::try_from(open.queues.len()).unwrap_or(u16::MAX);
        for info in open.infos.values() {
            add(&mut row, info);
        }
    }
    row
}

fn add(row: &mut PortRow, info: &PortInfo) {
    let copy = if info.zero_copy { CopyMode::ZeroCopy } else { CopyMode::Copy };
    row.backend = match info.mode {
        PortMode::Native => Backend::AfXdp { mode: XdpMode::Native, copy },
        PortMode::Generic => Backend::AfXdp { mode: XdpMode::Generic, copy },
        PortMode::Tap => Backend::Tap,
        PortMode::Socket => Backend::Socket,
        PortMode::Memory => Backend::Memory,
        PortMode::File => Backend::Pcap,
    };
    if row.features.is_empty() {
        row.features = info.features.iter().map(|name| (*name).to_owned()).collect();
    }
    row.memory_bytes += info.memory as u64;
    row.frames_held += u32::try_from(info.held).unwrap_or(u32::MAX);
    let statistics = &info.statistics;
    row.xdp.rx_dropped += statistics.rx_dropped;
    row.xdp.rx_invalid_descriptors += statistics.rx_invalid;
    row.xdp.rx_ring_full += statistics.rx_ring_full;
    row.xdp.rx_fill_ring_empty += statistics.rx_fill_ring_empty;
    row.xdp.tx_invalid_descriptors += statistics.tx_invalid;
    row.xdp.tx_ring_empty += statistics.tx_ring_empty;
}

/// What the dpdk layout shows of the sockets: packets the kernel had no room for.
fn rx_port(open: &OpenDevice) -> LayerCounters {
    let lost = |info: &PortInfo| info.statistics.rx_ring_full + info.statistics.rx_dropped;
    LayerCounters { errors: open.infos.values().map(lost).sum(), ..LayerCounters::default() }
}
