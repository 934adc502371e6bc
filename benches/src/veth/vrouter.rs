//! Two nodes of ours, each with `vrouterd` and `vrouter-agent`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lab::{A_ADDRESS, B_ADDRESS, Encapsulation, Family, Site, SiteOptions};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::MTU;
use super::offloads;
use super::path::{DEVICE, Path};

/// The site of the lab, forwarding through one of its tunnels.
pub(super) struct Vrouter {
    site: Site,
    encapsulation: Encapsulation,
}

/// Names of its own, always the same, so that a run finds what a killed one left.
pub(super) fn options() -> SiteOptions {
    SiteOptions {
        prefix: "bench-".to_owned(),
        directory: PathBuf::from("/run/vrouter-bench"),
        workers: 1,
        encapsulations: vec![Encapsulation::MplsOverUdp],
        reflectors: Vec::new(),
        fabric: Family::Inet,
    }
}

impl Vrouter {
    /// Builds it and waits until the nodes know each other's workloads.
    pub(super) fn build() -> Result<Vrouter> {
        let mut site = Site::build(options())?;
        site.start()?;
        let encapsulation = Encapsulation::MplsOverUdp;
        site.converge(encapsulation)?;
        place_workers(&site)?;
        for workload in ["red-a", "red-b"] {
            let namespace = site.workload(workload)?;
            let mtu = namespace.run(&format!("cat /sys/class/net/{DEVICE}/mtu"))?;
            ensure!(mtu.trim() == MTU.to_string(), "{workload} has MTU {}", mtu.trim());
            offloads::switch_off(namespace, DEVICE);
        }
        for port in ["node-a", "node-b"] {
            offloads::switch_off(site.underlay.namespace(), port);
        }
        for node in &site.nodes {
            offloads::switch_off(node.namespace(), "uplink0");
        }
        Ok(Vrouter { site, encapsulation })
    }

    /// Has both nodes use this tunnel, and waits until they do.
    pub(super) fn switch(&mut self, encapsulation: Encapsulation) -> Result<()> {
        for node in &mut self.site.nodes {
            node.reconfigure(|options| options.encapsulations = vec![encapsulation])?;
        }
        self.site.converge(encapsulation)?;
        self.encapsulation = encapsulation;
        Ok(())
    }

    /// The path between its workloads of network red.
    pub(super) fn path(&self) -> Result<Path<'_>> {
        Ok(Path {
            system: "vrouter-xdp",
            encapsulation: self.encapsulation,
            near: self.site.workload("red-a")?,
            near_address: A_ADDRESS,
            far: self.site.workload("red-b")?,
            far_address: B_ADDRESS,
            underlay: self.site.underlay.namespace(),
            underlay_port: "node-a",
            nodes: &self.site.nodes,
        })
    }

    /// Process ids of `vrouterd` and `vrouter-agent` of the first node.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.site.nodes[0].processes()
    }
}

/// Workers of the two nodes on cores of their own, as on two machines; by themselves both would take the last core.
fn place_workers(site: &Site) -> Result<()> {
    let cores = sys::affinity::allowed()?;
    let places = [cores.last(), cores.first()];
    for (node, core) in site.nodes.iter().zip(places) {
        let mut set = CpuSet::new();
        set.set(*core.context("no core")?);
        for process in node.processes() {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let task = task?;
                if fs::read_to_string(task.path().join("comm"))?.starts_with("worker-") {
                    let thread = task.file_name().to_string_lossy().parse().ok();
                    sched_setaffinity(thread.and_then(Pid::from_raw), &set)?;
                }
            }
        }
    }
    Ok(())
}
