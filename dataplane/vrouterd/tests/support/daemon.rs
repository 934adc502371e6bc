//! A `vrouterd` under test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::Client;

use super::wait_for;

/// A running process; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    directory: PathBuf,
}

impl Daemon {
    /// Starts one in a namespace and waits until it answers.
    pub(crate) fn start(namespace: &str, directory: &Path, args: &[&str]) -> Daemon {
        let log = File::options().create(true).append(true).open(log_of(directory)).unwrap();
        let child = command(namespace, directory).args(args).stderr(log).spawn().unwrap();
        let mut daemon = Daemon { child, directory: directory.to_owned() };
        wait_for("vrouterd answers", Duration::from_secs(10), || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "vrouterd ended: {ended:?}");
            Client::connect(directory, "test").ok()
        });
        daemon
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.directory, "test").unwrap()
    }

    /// What it has written to its log, and those before it in the same place.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.directory)).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator does, and expects it to end well.
    pub(crate) fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status =
            wait_for("vrouterd ends", Duration::from_secs(10), || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(log_of(&self.directory)).unwrap_or_default());
        }
    }
}

/// Beside its sockets' place.
fn log_of(directory: &Path) -> PathBuf {
    directory.with_extension("log")
}

/// The command line of a `vrouterd` in a namespace. `ip netns exec` replaces itself, so its process is the daemon's.
pub(crate) fn command(namespace: &str, directory: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_vrouterd")]);
    command.arg("--sock-dir").arg(directory).args([
        "--frames",
        "8192",
        "--log",
        log_filter().as_str(),
    ]);
    command.stdin(Stdio::null());
    command
}

fn log_filter() -> String {
    std::env::var("VROUTERD_TEST_LOG").unwrap_or_else(|_| "warn,vrouterd::sessions=info".to_owned())
}
