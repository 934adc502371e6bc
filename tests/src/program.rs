//! Running programs, here and in a namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::until;

/// The path of one of our programs: beside the program that asks (`target/release`, or `target/debug` for tests).
pub fn tool(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let near = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    near.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

/// Whether a program is on the path.
pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Why the lab cannot run here, if it cannot: the reason to skip with.
pub fn missing_for_lab(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root for network namespaces and AF_XDP".to_owned());
    }
    let missing: Vec<&str> =
        ["ip", "ethtool"].iter().chain(programs).copied().filter(|p| !have(p)).collect();
    (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
}

/// Runs a program to its end; its standard output.
///
/// # Errors
/// When it cannot start or does not succeed: the command line and what it said.
pub fn output(program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let line = || format!("{} {}", program.display(), arguments.join(" "));
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(line)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {} {}{}", line(), output.status, stdout, stderr);
    Ok(stdout)
}

/// Runs a command line split at blanks.
///
/// # Errors
/// As [`output`].
pub fn run(line: &str) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((program, arguments)) = words.split_first() else { bail!("an empty command line") };
    output(program, arguments)
}

/// A program in the background. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    name: String,
}

impl Background {
    /// Starts it with its output going to a file.
    ///
    /// # Errors
    /// When the program or the file cannot be opened.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str], log: &Path) -> Result<Background> {
        let program = program.as_ref();
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| log.display().to_string())?;
        let err = out.try_clone()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Background { child, name: program.display().to_string() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kill it, no chance to say goodbye.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill_hard(mut self) -> Result<()> {
        self.child.kill().ok();
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, signal).with_context(|| format!("{}: signal", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = format!("the end of {}", self.name);
        until(&name, limit, || self.child.try_wait().ok().flatten())
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
