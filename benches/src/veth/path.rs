//! What is measured: two workloads and the underlay between them, whoever forwards.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Encapsulation, Namespace, eventually, ping};

/// The workloads' interface.
pub(super) const DEVICE: &str = "eth0";

/// A system's two workloads.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    /// The word in the rows.
    pub(super) system: &'static str,
    /// The tunnel between the nodes.
    pub(super) encapsulation: Encapsulation,
    /// The workload that sends.
    pub(super) near: &'a Namespace,
    /// Its address.
    pub(super) near_address: &'static str,
    /// The workload that receives.
    pub(super) far: &'a Namespace,
    /// Its address.
    pub(super) far_address: &'static str,
    /// Where the underlay can be captured: the bridge's namespace.
    pub(super) underlay: &'a Namespace,
    /// The bridge's port to the sender's node.
    pub(super) underlay_port: &'static str,
    /// The nodes of ours whose drops count; none for the kernel.
    pub(super) nodes: &'a [lab::Node],
}

impl Path<'_> {
    /// Waits until packets go through, so that no address is unresolved when a measurement begins.
    pub(super) fn settle(&self) -> Result<()> {
        eventually("the workloads to reach each other", Duration::from_secs(10), || {
            ping(self.near, self.far_address, 2, "0.01").is_ok_and(|result| result.lost == 0)
        })
    }

    /// The Ethernet addresses a packet of the sender to the receiver has: destination, source.
    pub(super) fn macs(&self) -> Result<([u8; 6], [u8; 6])> {
        let route = self.near.run(&format!("ip route get {}", self.far_address))?;
        let hop = word_after(&route, "via").unwrap_or(self.far_address);
        let neighbor = self.near.run(&format!("ip neigh show {hop} dev {DEVICE}"))?;
        let neighbor = word_after(&neighbor, "lladdr").context("the neighbour is not resolved")?;
        let own = self.near.run(&format!("cat /sys/class/net/{DEVICE}/address"))?;
        Ok((mac(neighbor)?, mac(own.trim())?))
    }

    /// What our nodes have dropped so far, for whatever reason.
    pub(super) fn drops(&self) -> Result<u64> {
        let mut sum = 0;
        for node in self.nodes {
            sum += node.drops()?.iter().map(|(_, count)| count).sum::<u64>();
        }
        Ok(sum)
    }
}

fn word_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_whitespace().skip_while(|word| *word != key).nth(1)
}

fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("`{text}` is no MAC"))?;
    <[u8; 6]>::try_from(bytes).ok().with_context(|| format!("`{text}` is no MAC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_addresses_are_read() {
        let text = "10.1.1.12 dev eth0 lladdr 00:00:5e:00:01:00 REACHABLE";
        assert_eq!(mac(word_after(text, "lladdr").unwrap()).unwrap(), [0, 0, 0x5e, 0, 1, 0]);
        assert_eq!(word_after(text, "via"), None);
        assert!(mac("00:00").is_err());
    }
}
