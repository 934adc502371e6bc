//! Reading what the tools print, the way an operator's script does.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Encapsulation, Namespace, Node};

/// A row of `rt --get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// The label, if valid.
    pub label: Option<u32>,
    /// The next hop's id.
    pub next_hop: u32,
}

impl Node {
    /// The rows of `mpls --dump`: label and next hop.
    ///
    /// # Errors
    /// The tool's own words.
    pub fn labels(&self) -> Result<Vec<(u32, u32)>> {
        Ok(self.ask("mpls", &["--dump"])?.lines().filter_map(pair).collect())
    }

    /// The next hop of a VNI, by `vxlan --get`.
    ///
    /// # Errors
    /// When there is none.
    pub fn vni_next_hop(&self, vni: &str) -> Result<u32> {
        let text = self.ask("vxlan", &["--get", vni])?;
        let row = text.lines().filter_map(pair).next();
        row.map(|(_, next_hop)| next_hop).with_context(|| format!("vxlan --get {vni}: {text}"))
    }

    /// The block of `nh --get`.
    ///
    /// # Errors
    /// The tool's own words.
    pub fn next_hop(&self, id: u32) -> Result<String> {
        self.ask("nh", &["--get", &id.to_string()])
    }

    /// The longest match of an IPv4 address, by `rt --get`.
    ///
    /// # Errors
    /// When the tool prints no row.
    pub fn route(&self, vrf: u32, address: &str) -> Result<RouteRow> {
        let text =
            self.ask("rt", &["--get", &format!("{address}/32"), "--vrf", &vrf.to_string()])?;
        text.lines()
            .last()
            .and_then(route_row)
            .with_context(|| format!("rt --get {address}: {text}"))
    }

    /// The VRF of the network that has this VNI: `vxlan --get`, then the `Vrf:` line of `nh --get`.
    ///
    /// # Errors
    /// When the VNI is not programmed.
    pub fn vrf_of_vni(&self, vni: &str) -> Result<u32> {
        let text = self.next_hop(self.vni_next_hop(vni)?)?;
        value_after(&text, "\n              Vrf:").with_context(|| format!("no target VRF: {text}"))
    }

    /// The label that means the workload with this address in the network of this VNI: its route's next hop, found in
    /// `mpls --dump`.
    ///
    /// # Errors
    /// When there is no such label.
    pub fn label_of(&self, vni: &str, address: &str) -> Result<u32> {
        let next_hop = self.route(self.vrf_of_vni(vni)?, address)?.next_hop;
        let labels = self.labels()?;
        let found = labels.iter().find(|(_, target)| *target == next_hop);
        found
            .map(|(label, _)| *label)
            .with_context(|| format!("no label points at next hop {next_hop}"))
    }

    /// The labels under which the workload with this address gets packets and frames: its L3 Encap's, and those that lead
    /// out of the same interface or to the network's bridge table (what is flooded).
    ///
    /// # Errors
    /// When it has none.
    pub fn labels_of(&self, vni: &str, address: &str) -> Result<Vec<u32>> {
        let mut labels = vec![self.label_of(vni, address)?];
        let interface = |text: &str| value_after(text, "Oif:");
        let own = self.next_hop(self.route(self.vrf_of_vni(vni)?, address)?.next_hop)?;
        let translate = self.vni_next_hop(vni)?;
        for (label, next_hop) in self.labels()? {
            let text = self.next_hop(next_hop)?;
            let bridged = text.contains("AF_BRIDGE");
            let same = interface(&text).is_some() && interface(&text) == interface(&own);
            if (bridged && same) || next_hop == translate {
                labels.push(label);
            }
        }
        Ok(labels)
    }

    /// The labels under which frames come.
    ///
    /// # Errors
    /// The tool's own words.
    pub fn frame_labels(&self) -> Result<Vec<u32>> {
        let mut labels = Vec::new();
        for (label, next_hop) in self.labels()? {
            if self.next_hop(next_hop)?.contains("AF_BRIDGE") {
                labels.push(label);
            }
        }
        Ok(labels)
    }

    /// Whether the route to `remote`, in the network of this VNI, leaves through a tunnel of this encapsulation.
    pub fn reaches_through(&self, vni: &str, remote: &str, encapsulation: Encapsulation) -> bool {
        let next_hop = || self.next_hop(self.route(self.vrf_of_vni(vni)?, remote)?.next_hop);
        next_hop()
            .is_ok_and(|text| text.contains("Type:Tunnel") && text.contains(encapsulation.flag()))
    }

    /// The index of a workload's interface.
    ///
    /// # Errors
    /// When the workload has no interface here.
    pub fn vif_of(&self, vni: &str, address: &str) -> Result<u32> {
        let next_hop = self.next_hop(self.route(self.vrf_of_vni(vni)?, address)?.next_hop)?;
        value_after(&next_hop, "Oif:").with_context(|| format!("no interface: {next_hop}"))
    }

    /// The kernel device at the node's end of a workload: the `OS:` name of its vif.
    ///
    /// # Errors
    /// When the workload has no interface here.
    pub fn device_of(&self, vni: &str, address: &str) -> Result<String> {
        let vif = self.vif_of(vni, address)?;
        let text = self.ask("vif", &["--get", &vif.to_string()])?;
        let name = text.split_once("OS: ").and_then(|(_, rest)| rest.split_whitespace().next());
        name.map(str::to_owned).with_context(|| format!("no device: {text}"))
    }

    /// The rows that the node's agent answers a query with, asked by `from`, a namespace on the underlay.
    ///
    /// # Errors
    /// The refusal, or that there is no answer.
    pub fn query(&self, from: &Namespace, query: &Value) -> Result<Vec<Value>> {
        let program = "import sys, urllib.request, urllib.error\n\
            try:\n  print(urllib.request.urlopen(sys.argv[1], sys.argv[2].encode(), timeout=5).read().decode())\n\
            except urllib.error.HTTPError as e:\n  print(e.read().decode())";
        let url = format!("http://{}/analytics/query", self.options().analytics());
        let text = from.output("python3", &["-c", program, &url, &query.to_string()])?;
        let answer: Value = serde_json::from_str(&text)?;
        answer["value"].as_array().cloned().with_context(|| answer.to_string())
    }

    /// The non-zero drop counters, by label, as `dropstats` prints them.
    ///
    /// # Errors
    /// The tool's own words.
    pub fn drops(&self) -> Result<Vec<(String, u64)>> {
        let row = |line: &str| {
            let (label, value) = line.split_at_checked(30)?;
            Some((label.trim_end().to_owned(), value.trim().parse().ok()?))
        };
        Ok(self.ask("dropstats", &[])?.lines().filter_map(row).collect())
    }
}

/// The number right after the first occurrence of `key`.
pub fn value_after(text: &str, key: &str) -> Option<u32> {
    let rest = text.split_once(key)?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn pair(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    let pair = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(pair)
}

fn route_row(line: &str) -> Option<RouteRow> {
    let words: Vec<&str> = line.split_whitespace().collect();
    // Destination PPL [Flags] Label Nexthop StitchedMAC: flags may be missing, so count from the end.
    let [.., label, next_hop, _] = words.as_slice() else { return None };
    Some(RouteRow { label: label.parse().ok(), next_hop: next_hop.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_and_without_flags() {
        let row = route_row(
            "198.51.100.19/32       32           LP         33             17        2:0:5e:10:0:13(2)",
        );
        assert_eq!(row, Some(RouteRow { label: Some(33), next_hop: 17 }));
        let row =
            route_row("203.0.113.71/32        26                       -             90        -");
        assert_eq!(row, Some(RouteRow { label: None, next_hop: 90 }));
        assert_eq!(pair("      25        90"), Some((25, 90)));
        assert_eq!(value_after("Flags:\n              Vrf:12\n", "\n              Vrf:"), Some(12));
    }
}
