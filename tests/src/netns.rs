//! A network namespace that is removed when it is dropped.

use std::cell::Cell;
use std::path::Path;

use anyhow::Result;

use crate::program::{Background, output, run};

/// A named network namespace of ours.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    keep: Cell<bool>,
}

impl Namespace {
    /// Makes it, with its loopback up. One left over from a killed run of the same name is removed first.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn create(name: &str) -> Result<Namespace> {
        if Path::new("/var/run/netns").join(name).exists() {
            run(&format!("ip netns delete {name}"))?;
        }
        run(&format!("ip netns add {name}"))?;
        let namespace = Namespace { name: name.to_owned(), keep: Cell::new(false) };
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves it standing: dropping then does nothing.
    pub fn keep(&self) {
        self.keep.set(true);
    }

    /// Runs a command line inside.
    ///
    /// # Errors
    /// The command line and what it said.
    pub fn run(&self, line: &str) -> Result<String> {
        run(&format!("ip netns exec {} {line}", self.name))
    }

    /// Runs a program inside, arguments given one by one.
    ///
    /// # Errors
    /// The command line and what it said.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(arguments);
        output("ip", &all)
    }

    /// Starts a program inside, in the background.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn start(&self, program: &Path, arguments: &[&str], log: &Path) -> Result<Background> {
        let program = program.display().to_string();
        let mut all = vec!["netns", "exec", &self.name, &program];
        all.extend(arguments);
        // `ip netns exec` becomes the program: the process id is the program's.
        Background::start("ip", &all, log)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.keep.get() {
            run(&format!("ip netns delete {}", self.name)).ok();
        }
    }
}
