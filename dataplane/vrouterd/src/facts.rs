//! The process, its limits and what is in use, as the tools show them.

use api::{BuildInfo, MemoryStats, ProcessInfo, TableSize, VrouterInfo, VrouterValue, WorkerInfo};
use tables::{NhId, VrfId, limits};
use wire::{Label, Vni};

use crate::server::Server;

/// Workers beyond what a number can say do not exist.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Server {
    /// The process itself.
    pub(crate) fn info(&self) -> ProcessInfo {
        let counters = self.ports.counters();
        let model = self.publisher.model();
        let worker = |(index, cpu): (usize, &usize)| WorkerInfo {
            cpu: u32::try_from(*cpu).ok(),
            busy: self.facts.busy,
            packets: model.vifs(..).map(|vif| counters.vif_on(index, vif.id).rx_packets).sum(),
        };
        let size = |name: &str, used: usize, capacity: usize| TableSize {
            name: name.to_owned(),
            used: used as u64,
            capacity: capacity as u64,
        };
        let pools = self.ports.pools();
        let frames = u32::try_from(pools.capacity()).unwrap_or(u32::MAX);
        ProcessInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.facts.started.elapsed().as_secs(),
            kernel: self.facts.kernel_release.clone(),
            generation: self.publisher.pending().0,
            workers: self.facts.cores.iter().enumerate().map(worker).collect(),
            frames,
            frames_free: u32::try_from(pools.free_frames()).unwrap_or(u32::MAX),
            packet_memory_bytes: u64::from(pools.memory().chunks())
                * u64::from(pools.memory().chunk_size())
                + pools.large_capacity() as u64 * u64::from(sys::memory::LARGE_CHUNK),
            tables: vec![
                size("vif", model.vifs(..).count(), limits::VIFS),
                size("nexthop", model.next_hops(NhId(0)..).count(), limits::NEXT_HOPS),
                size("mpls", model.labels(..).count(), Label::MAX as usize + 1),
                size("vxlan", model.vnis(..).count(), Vni::MAX as usize + 1),
            ],
        }
    }

    /// Limits, settings and what is in use.
    pub(crate) fn vrouter(&self) -> VrouterInfo {
        let model = self.publisher.model();
        let mut values = vec![
            (VrouterValue::Interfaces, number(limits::VIFS)),
            (VrouterValue::Vrfs, number(limits::VRFS)),
            (VrouterValue::NextHops, number(limits::NEXT_HOPS)),
            (VrouterValue::Labels, number(limits::LABELS)),
            (VrouterValue::BridgeEntries, tables::BridgeSlot::LIMIT),
            (VrouterValue::Mirrors, number(limits::MIRRORS)),
            (VrouterValue::Segmentation, 1),
            (VrouterValue::DropLogEntries, number(engine::LOGGED_DROPS)),
            (VrouterValue::DropLogSupport, 1),
            (VrouterValue::DropLogCores, number(self.facts.cores.len())),
            (VrouterValue::BridgeUsed, number(model.bridge_entries(..).count())),
        ];
        values.extend(self.settings.all());
        values.sort_unstable();
        let build =
            BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), ..BuildInfo::default() };
        VrouterInfo { build, values }
    }

    /// Objects in memory, by the original's names where they fit.
    pub(crate) fn memory(&self) -> MemoryStats {
        let model = self.publisher.model();
        let pools = self.ports.pools();
        let all = self.vrfs();
        let vrfs = all.len() as u64;
        let routes =
            |vrf| model.inet_routes(vrf, None).count() + model.inet6_routes(vrf, None).count();
        let routes: usize = all.into_iter().map(routes).sum();
        let frames = (pools.capacity() - pools.free_frames()) as u64;
        let objects = [
            ("Bridge MAC", model.bridge_entries(..).count() as u64),
            ("Host Packet Pool", frames),
            ("Interface", model.vifs(..).count() as u64),
            ("Mirror", model.mirrors(..).count() as u64),
            ("QOS Map Objects", model.qos_maps(..).count() as u64),
            ("Forwarding Class Objects", model.classes(..).count() as u64),
            ("Nexthop", model.next_hops(NhId(0)..).count() as u64),
            ("MTRIE", routes as u64),
            ("Mtrie Table", vrfs),
            ("VRF Table", vrfs),
        ];
        let objects: Vec<_> = objects.map(|(name, count)| (name.to_owned(), count)).into();
        let alive: u64 = objects.iter().map(|(_, count)| count).sum();
        MemoryStats { allocated: alive, freed: 0, objects }
    }

    /// The VRFs that somebody named, or that have a route.
    pub(crate) fn vrfs(&self) -> Vec<VrfId> {
        let model = self.publisher.model();
        let fib = self.publisher.fib();
        let all = (0..u16::try_from(limits::VRFS).unwrap_or(u16::MAX)).map(VrfId);
        all.filter(|vrf| {
            model.vrf(*vrf).is_some()
                || fib.has_table::<std::net::Ipv4Addr>(*vrf)
                || fib.has_table::<std::net::Ipv6Addr>(*vrf)
        })
        .collect()
    }
}
