//! The bridge that joins the nodes, in a namespace of its own.

use anyhow::Result;

use crate::Namespace;

/// A namespace with a bridge; nodes plug their uplink in.
#[derive(Debug)]
pub struct Underlay {
    namespace: Namespace,
    mtu: u16,
}

impl Underlay {
    /// Makes the namespace and the bridge `br0`.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn create(name: &str, mtu: u16) -> Result<Underlay> {
        let namespace = Namespace::create(name)?;
        namespace.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        namespace.run(&format!("ip link set br0 mtu {mtu} up"))?;
        Ok(Underlay { namespace, mtu })
    }

    /// The namespace the bridge is in; captures are taken there.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Leaves it standing.
    pub fn keep(&self) {
        self.namespace.keep();
    }

    /// Joins a namespace: `device` there with the address (`192.0.2.11/24`), `port` at the bridge. `queues` receive
    /// and send queues at both ends.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn plug(
        &self,
        node: &Namespace,
        device: &str,
        port: &str,
        address: &str,
        queues: usize,
    ) -> Result<()> {
        let (node_name, mtu) = (node.name(), self.mtu);
        let count = format!("numtxqueues {queues} numrxqueues {queues}");
        self.namespace.run(&format!(
            "ip link add {port} {count} mtu {mtu} type veth peer name {device} {count} mtu {mtu} netns {node_name}"
        ))?;
        self.namespace.run(&format!("ip link set {port} master br0 up"))?;
        let at_once = if address.contains(':') { "nodad" } else { "" };
        node.run(&format!("ip address add {address} dev {device} {at_once}"))?;
        node.run(&format!("ip link set {device} up"))?;
        Ok(())
    }
}
