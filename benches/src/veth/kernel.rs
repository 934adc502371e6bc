//! The peer: the same namespaces, with a bridge and a VXLAN device of the kernel on each node.

use anyhow::Result;
use lab::{
    A_ADDRESS, B_ADDRESS, ENDPOINTS, Encapsulation, Namespace, RED_VNI, Underlay, remove_namespace,
};

use super::MTU;
use super::offloads;
use super::path::{DEVICE, Path};

const UNDERLAY: &str = "bench-kernel-underlay";
const NODES: [&str; 2] = ["bench-kernel-node-a", "bench-kernel-node-b"];
const WORKLOADS: [&str; 2] = ["bench-kernel-red-a", "bench-kernel-red-b"];
const PORTS: [&str; 2] = ["node-a", "node-b"];
const ADDRESSES: [&str; 2] = [A_ADDRESS, B_ADDRESS];

/// Two nodes of the kernel. Dropping it removes the namespaces and with them everything.
pub(super) struct Kernel {
    workloads: [Namespace; 2],
    _nodes: [Namespace; 2],
    underlay: Underlay,
}

/// Removes what a killed run left.
pub(super) fn clean() -> Result<()> {
    WORKLOADS.into_iter().chain(NODES).chain([UNDERLAY]).try_for_each(remove_namespace)
}

impl Kernel {
    /// Builds it; the error says what this kernel lacks.
    pub(super) fn build() -> Result<Kernel> {
        let underlay = Underlay::create(UNDERLAY, 1500)?;
        let workloads = [workload(0)?, workload(1)?];
        let nodes = [node(&underlay, &workloads, 0)?, node(&underlay, &workloads, 1)?];
        Ok(Kernel { workloads, _nodes: nodes, underlay })
    }

    /// The path between its workloads.
    pub(super) fn path(&self) -> Result<Path<'_>> {
        let [near, far] = &self.workloads;
        Ok(Path {
            system: "kernel",
            encapsulation: Encapsulation::Vxlan,
            near,
            near_address: A_ADDRESS,
            far,
            far_address: B_ADDRESS,
            underlay: self.underlay.namespace(),
            underlay_port: PORTS[0],
            nodes: &[],
        })
    }
}

fn workload(index: usize) -> Result<Namespace> {
    let namespace = Namespace::create(WORKLOADS[index])?;
    namespace.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
    Ok(namespace)
}

fn node(underlay: &Underlay, workloads: &[Namespace; 2], index: usize) -> Result<Namespace> {
    let (node, workload) = (Namespace::create(NODES[index])?, &workloads[index]);
    let (local, remote) = (ENDPOINTS[index], ENDPOINTS[1 - index]);
    node.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
    underlay.plug(&node, "uplink0", PORTS[index], &format!("{local}/24"), 1)?;
    node.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
    node.run(&format!(
        "ip link add vxlan0 mtu {MTU} type vxlan id {RED_VNI} local {local} remote {remote} dstport 4789 dev uplink0"
    ))?;
    node.run(&format!(
        "ip link add tap0 mtu {MTU} type veth peer name {DEVICE} mtu {MTU} netns {}",
        workload.name()
    ))?;
    workload.run(&format!("ip address add {}/24 dev {DEVICE}", ADDRESSES[index]))?;
    workload.run(&format!("ip link set {DEVICE} up"))?;
    for port in ["vxlan0", "tap0"] {
        node.run(&format!("ip link set {port} master br0 up"))?;
    }
    node.run("ip link set br0 up")?;
    offloads::switch_off(workload, DEVICE);
    for device in ["tap0", "vxlan0", "br0", "uplink0"] {
        offloads::switch_off(&node, device);
    }
    offloads::switch_off(underlay.namespace(), PORTS[index]);
    Ok(node)
}
