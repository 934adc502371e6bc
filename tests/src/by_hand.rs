//! A node without an agent: `vrouterd`, two workloads on veth, and nothing but the tools to program it with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::program::{Background, run, tool};
use crate::{Namespace, until};

/// MACs of the two workloads, and of the router they see.
pub const WORKLOAD_MACS: [&str; 2] = ["02:00:00:00:a1:0a", "02:00:00:00:a1:0b"];
/// See [`WORKLOAD_MACS`].
pub const ROUTER_MAC: &str = "00:00:5e:00:01:00";
/// Addresses of the two workloads.
pub const WORKLOAD_ADDRESSES: [&str; 2] = ["10.1.1.11", "10.1.1.12"];

/// See the module. Everything is removed when it is dropped.
#[derive(Debug)]
pub struct ByHand {
    vrouterd: Option<Background>,
    node: Namespace,
    workloads: [Namespace; 2],
    directory: PathBuf,
}

/// What a tool said, and its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub text: String,
    /// Standard error.
    pub errors: String,
    /// Exit status; -1 for a signal.
    pub status: i32,
}

impl ByHand {
    /// Builds it and starts `vrouterd` with these options.
    ///
    /// # Errors
    /// What did not work, by its command line.
    pub fn start(name: &str, options: &[&str]) -> Result<ByHand> {
        let prefix = format!("bh{}{name}", std::process::id());
        let directory = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&directory)?;
        let node = Namespace::create(&format!("{prefix}-n"))?;
        let workloads = [
            Namespace::create(&format!("{prefix}-a"))?,
            Namespace::create(&format!("{prefix}-b"))?,
        ];
        for (index, workload) in workloads.iter().enumerate() {
            let (tap, mac) = (tap(index), WORKLOAD_MACS[index]);
            let (node, peer) = (node.name(), workload.name());
            run(&format!(
                "ip -n {node} link add {tap} type veth peer name eth0 netns {peer} address {mac}"
            ))?;
            run(&format!("ip -n {peer} addr add {}/24 dev eth0", WORKLOAD_ADDRESSES[index]))?;
            run(&format!("ip -n {peer} link set eth0 up"))?;
        }
        let mut site = ByHand { vrouterd: None, node, workloads, directory };
        let sockets = site.directory.display().to_string();
        let mut arguments = vec!["--sock-dir", &sockets, "--frames", "8192"];
        arguments.extend(options);
        let log = site.directory.join("vrouterd.log");
        site.vrouterd = Some(site.node.start(&tool("vrouterd"), &arguments, &log)?);
        until("vrouterd to answer", Duration::from_secs(10), || {
            (site.tool("vif", &["--list"]).ok()?.status == 0).then_some(())
        })?;
        Ok(site)
    }

    /// The directory of the socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The namespace of one of the two workloads.
    pub fn workload(&self, index: usize) -> &Namespace {
        &self.workloads[index]
    }

    /// The namespace of the node.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// Runs a tool on the node.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub fn tool(&self, name: &str, arguments: &[&str]) -> Result<Said> {
        let program = tool(name);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.node.name()]).arg(&program).args(arguments);
        command.env("VROUTER_SOCK_DIR", &self.directory).env("TZ", "UTC");
        let output = command.output().with_context(|| program.display().to_string())?;
        Ok(Said {
            text: String::from_utf8(output.stdout)?,
            errors: String::from_utf8(output.stderr)?,
            status: output.status.code().unwrap_or(-1),
        })
    }

    /// Runs a command line; gives what it printed.
    ///
    /// # Errors
    /// When it ends badly or says something on standard error.
    pub fn say(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, arguments) = words.split_first().context("an empty line")?;
        let said = self.tool(name, arguments)?;
        ensure!(said.status == 0 && said.errors.is_empty(), "{line}: {said:?}");
        Ok(said.text)
    }

    /// Runs a command line that changes something: it must be silent.
    ///
    /// # Errors
    /// When it is not.
    pub fn does(&self, line: &str) -> Result<()> {
        let text = self.say(line)?;
        ensure!(text.is_empty(), "{line}: {text}");
        Ok(())
    }

    /// Gives both workloads their interfaces, next hops and routes in VRF 1.
    ///
    /// # Errors
    /// What a tool said.
    pub fn program(&self) -> Result<()> {
        for index in 0..2 {
            let (tap, vif, nh) = (tap(index), 3 + index, 11 + index);
            let (mac, address) = (WORKLOAD_MACS[index], WORKLOAD_ADDRESSES[index]);
            self.does(&format!(
                "vif --add {tap} --mac {ROUTER_MAC} --vrf 1 --type virtual --id {vif}"
            ))?;
            self.does(&format!(
                "nh --create {nh} --type 2 --vrf 1 --oif {vif} --smac {ROUTER_MAC} --dmac {mac}"
            ))?;
            self.does(&format!("rt -c -v 1 -p {address} -l 32 -n {nh} -P"))?;
        }
        self.does("nh --create 13 --type 8 --vrf 1 --l2")?;
        self.does(&format!("rt -c -f 1 -v 1 -e {ROUTER_MAC} -n 13"))?;
        until("both ports to carry packets", Duration::from_secs(10), || {
            let up = |vif: &str| {
                self.say(&format!("vif --get {vif} --port"))
                    .ok()?
                    .contains("State:up")
                    .then_some(())
            };
            up("3").and(up("4"))
        })
    }

    /// Takes away again what [`ByHand::program`] gave.
    ///
    /// # Errors
    /// What a tool said.
    pub fn unprogram(&self) -> Result<()> {
        for (index, address) in WORKLOAD_ADDRESSES.iter().enumerate() {
            self.does(&format!("rt -d -v 1 -p {address} -l 32 -r 0"))?;
            self.does(&format!("nh --delete {}", 11 + index))?;
            self.does(&format!("vif --delete {}", 3 + index))?;
        }
        self.does(&format!("rt -d -f 1 -v 1 -e {ROUTER_MAC}"))?;
        self.does("nh --delete 13")
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        if let Some(vrouterd) = self.vrouterd.take() {
            vrouterd.stop(Duration::from_secs(5)).ok();
        }
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

fn tap(index: usize) -> String {
    format!("tap{index}")
}
