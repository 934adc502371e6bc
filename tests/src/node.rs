//! A compute node: `vrouterd` and `vrouter-agent` in a namespace.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Background, output, tool};
use crate::{Encapsulation, Namespace, Network, Workload, until};

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name, for the agent.
    pub name: String,
    /// The uplink device in its namespace.
    pub uplink: String,
    /// Its router id.
    pub router_id: String,
    /// Its tunnel endpoint.
    pub endpoint: String,
    /// BGP neighbours' addresses.
    pub neighbors: Vec<String>,
    /// Sockets, state, configuration and logs live here.
    pub directory: PathBuf,
    /// Forwarding workers.
    pub workers: usize,
    /// Encapsulations, best first.
    pub encapsulations: Vec<Encapsulation>,
    /// Its networks.
    pub networks: Vec<Network>,
    /// Its workloads.
    pub workloads: Vec<Workload>,
    /// Further parts of the agent's configuration: policies, security groups.
    pub extra: String,
}

/// A compute node with its two processes.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    options: NodeOptions,
    vrouterd: Option<Background>,
    agent: Option<Background>,
}

impl Node {
    /// Writes the configuration; starts nothing yet.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(namespace: Namespace, options: NodeOptions) -> Result<Node> {
        fs::create_dir_all(&options.directory)?;
        let node = Node { namespace, options, vrouterd: None, agent: None };
        node.write_configuration()?;
        Ok(node)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What it is made of.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// The directory of the sockets.
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// Process ids of what runs.
    pub fn processes(&self) -> Vec<u32> {
        [&self.vrouterd, &self.agent].into_iter().flatten().map(Background::id).collect()
    }

    /// Leaves namespace and processes standing when it is dropped.
    pub fn keep(&mut self) {
        self.namespace.keep();
        for process in [self.vrouterd.take(), self.agent.take()].into_iter().flatten() {
            std::mem::forget(process);
        }
    }

    /// Starts `vrouterd` and waits for its socket.
    ///
    /// # Errors
    /// When it does not come up: the end of its log.
    pub fn start_vrouterd(&mut self) -> Result<()> {
        let directory = self.options.directory.display().to_string();
        let workers = self.options.workers.to_string();
        let log = self.options.directory.join("vrouterd.log");
        let arguments = ["--sock-dir", &directory, "--workers", &workers];
        let mut process = self.namespace.start(&tool("vrouterd"), &arguments, &log)?;
        let up = until("vrouterd to answer", Duration::from_secs(10), || {
            (!process.running() || self.ask("vif", &["--list", "--json"]).is_ok()).then_some(())
        });
        up.with_context(|| last_lines(&log))?;
        ensure!(process.running(), "vrouterd ended: {}", last_lines(&log));
        self.vrouterd = Some(process);
        Ok(())
    }

    /// Starts the agent and waits until it runs: before that it is no process of its own to be signalled.
    ///
    /// # Errors
    /// When it does not: the end of its log.
    pub fn start_agent(&mut self) -> Result<()> {
        let log = self.options.directory.join("agent.log");
        let starts = || fs::read_to_string(&log).unwrap_or_default().matches(" starts").count();
        let before = starts();
        let configuration = self.configuration_file().display().to_string();
        let arguments = ["--config", &configuration];
        let mut process = self.namespace.start(&tool("vrouter-agent"), &arguments, &log)?;
        let up = until("vrouter-agent to run", Duration::from_secs(10), || {
            (!process.running() || starts() > before).then_some(())
        });
        up.with_context(|| last_lines(&log))?;
        ensure!(process.running(), "vrouter-agent ended: {}", last_lines(&log));
        self.agent = Some(process);
        Ok(())
    }

    /// Kills `vrouterd` (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill_vrouterd(&mut self) -> Result<()> {
        self.vrouterd.take().map_or(Ok(()), Background::kill_hard)
    }

    /// Kills the agent (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.agent.take().map_or(Ok(()), Background::kill_hard)
    }

    /// Ends both in order (SIGTERM).
    ///
    /// # Errors
    /// When one does not end.
    pub fn stop(&mut self) -> Result<()> {
        for process in [self.agent.take(), self.vrouterd.take()].into_iter().flatten() {
            process.stop(Duration::from_secs(10))?;
        }
        Ok(())
    }

    /// Changes the options, writes the configuration and has the agent read it (SIGHUP).
    ///
    /// # Errors
    /// When the file cannot be written or the agent is gone.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut NodeOptions)) -> Result<()> {
        change(&mut self.options);
        self.write_configuration()?;
        self.agent.as_ref().context("the agent does not run")?.signal(Signal::HUP)
    }

    /// Runs one of the tools against this node.
    ///
    /// # Errors
    /// The tool's own words.
    pub fn ask(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let directory = self.options.directory.display().to_string();
        let mut all = vec!["--sock-dir", &directory];
        all.extend(arguments);
        output(tool(name), &all)
    }

    /// The same with `--json`, parsed.
    ///
    /// # Errors
    /// The tool's own words, or output that is not JSON.
    pub fn ask_json(&self, name: &str, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.push("--json");
        let text = self.ask(name, &all)?;
        serde_json::from_str(&text).with_context(|| format!("{name} --json printed: {text}"))
    }

    fn configuration_file(&self) -> PathBuf {
        self.options.directory.join("agent.toml")
    }

    fn write_configuration(&self) -> Result<()> {
        // Written aside and renamed, as an operator's editor does.
        let (file, aside) =
            (self.configuration_file(), self.options.directory.join("agent.toml.new"));
        fs::write(&aside, self.options.toml())?;
        Ok(fs::rename(aside, file)?)
    }
}

impl NodeOptions {
    /// Where the agent answers queries about traffic.
    pub fn analytics(&self) -> String {
        match self.endpoint.contains(':') {
            true => format!("[{}]:8081", self.endpoint),
            false => format!("{}:8081", self.endpoint),
        }
    }

    /// The agent's configuration file.
    pub fn toml(&self) -> String {
        let directory = self.directory.display();
        let words: Vec<String> =
            self.encapsulations.iter().map(|e| format!("\"{}\"", e.word())).collect();
        let mut text = format!(
            "[node]\nname = \"{}\"\nrouter_id = \"{}\"\ntunnel_endpoint = \"{}\"\nuplink = \"{}\"\nsock_dir = \"{directory}\"\n\
             state_dir = \"{directory}/state\"\nencapsulations = [{}]\n\n[bgp]\nas = 64512\n",
            self.name,
            self.router_id,
            self.endpoint,
            self.uplink,
            words.join(", ")
        );
        writeln!(text, "\n[analytics]\nlisten = \"{}\"", self.analytics()).ok();
        for neighbor in &self.neighbors {
            write!(text, "\n[[bgp.neighbor]]\naddress = \"{neighbor}\"\n").ok();
        }
        for network in &self.networks {
            let Network { name, subnet, gateway, inet6, vni, route_target, policies } = network;
            let mut subnets = vec![(subnet, gateway)];
            subnets.extend(inet6.as_ref().map(|(subnet, gateway)| (subnet, gateway)));
            let table = |(subnet, gateway): &(&String, &String)| {
                format!("{{ prefix = \"{subnet}\", gateway = \"{gateway}\" }}")
            };
            let subnets: Vec<String> = subnets.iter().map(table).collect();
            write!(
                text,
                "\n[[network]]\nname = \"{name}\"\nvni = {vni}\nroute_targets = [\"{route_target}\"]\n\
                 subnets = [{}]\n",
                subnets.join(", ")
            )
            .ok();
            if !policies.is_empty() {
                writeln!(text, "policies = {policies:?}").ok();
            }
        }
        for workload in &self.workloads {
            let Workload { name, namespace, network, address, address6, port, extra } = workload;
            let port = port.word();
            write!(
                text,
                "\n[[workload]]\nname = \"{name}\"\nnetwork = \"{network}\"\nnamespace = \"{namespace}\"\n\
                 interface = \"eth0\"\naddress = \"{address}\"\nport = \"{port}\"\n"
            )
            .ok();
            if let Some(address6) = address6 {
                writeln!(text, "address6 = \"{address6}\"").ok();
            }
            text.push_str(extra);
        }
        text.push_str(&self.extra);
        text
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
