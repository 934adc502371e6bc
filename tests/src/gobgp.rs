//! A GoBGP daemon in a namespace of its own on the underlay: route reflector, or a router with routes of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::program::{Background, tool};
use crate::{ENDPOINTS, Namespace, Underlay, eventually};

/// A running gobgpd.
#[derive(Debug)]
pub struct Gobgp {
    namespace: Namespace,
    directory: PathBuf,
    _daemon: Background,
}

impl Gobgp {
    /// Starts it at `address` on the underlay, with both nodes as passive route-reflector clients of AS 64512.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(underlay: &Underlay, name: &str, address: &str) -> Result<Gobgp> {
        let namespace = Namespace::create(name)?;
        underlay.plug(&namespace, "eth0", "bgp", &format!("{address}/24"), 1)?;
        let directory = std::env::temp_dir().join(format!("vrouter-{name}"));
        fs::create_dir_all(&directory)?;
        let file = directory.join("gobgpd.toml");
        // Graceful restart stays off: GoBGP 3.10 dies with a peer's MAC mobility routes.
        let mut text = format!("[global.config]\nas = 64512\nrouter-id = \"{address}\"\n");
        for endpoint in ENDPOINTS {
            text += &format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{endpoint}\"\npeer-as = 64512\n\
                 [neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{address}\"\n\
                 [neighbors.transport.config]\npassive-mode = true\n\
                 [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"l3vpn-ipv4-unicast\"\n\
                 [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"l2vpn-evpn\"\n"
            );
        }
        fs::write(&file, text)?;
        let arguments = ["-f", &file.display().to_string(), "--log-plain"];
        let daemon = namespace.start(&tool("gobgpd"), &arguments, &directory.join("gobgpd.log"))?;
        eventually("gobgpd to answer", Duration::from_secs(10), || {
            namespace.output("gobgp", &["global"]).is_ok()
        })?;
        Ok(Gobgp { namespace, directory, _daemon: daemon })
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `gobgp` with a command line.
    ///
    /// # Errors
    /// What it said.
    pub fn run(&self, line: &str) -> Result<String> {
        self.namespace.run(&format!("gobgp {line}"))
    }

    /// The paths it holds of a family (`vpnv4`, `evpn`).
    ///
    /// # Errors
    /// When it does not answer in JSON.
    pub fn paths(&self, family: &str) -> Result<Vec<Value>> {
        let table: Value = serde_json::from_str(&self.run(&format!("global rib -a {family} -j"))?)?;
        let destinations =
            table.as_object().map(|object| object.values().cloned().collect::<Vec<_>>());
        let paths = |destination: Value| destination.as_array().cloned().unwrap_or_default();
        Ok(destinations.unwrap_or_default().into_iter().flat_map(paths).collect())
    }
}

impl Drop for Gobgp {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}
