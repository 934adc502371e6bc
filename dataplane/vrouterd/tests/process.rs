//! `vrouterd` as a process: one clear line for each reason not to start, and an orderly end.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::daemon::{Daemon, command};
use support::lab::Lab;
use support::privileged;

/// Runs a command that must fail; gives its one line and its exit code.
fn refusal(command: &mut Command) -> (String, i32) {
    let output: Output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {text}");
    (lines[0].to_owned(), output.status.code().unwrap())
}

fn is_empty(directory: &Path) -> bool {
    !directory.join("vrouterd.sock").exists()
}

#[test]
fn a_second_one_on_the_same_directory_is_refused() {
    if !privileged() {
        return;
    }
    let mut lab = Lab::new();
    let namespace = lab.namespace("a");
    let directory = lab.directory("sockets");
    let first = Daemon::start(&namespace, &directory, &[]);
    let (line, code) = refusal(&mut command(&namespace, &directory));
    let text = directory.display();
    assert_eq!(
        line,
        format!("vrouterd: another vrouterd already runs on the socket directory {text}")
    );
    assert_eq!(code, 1);
    // The first one is none the worse for it.
    assert!(first.client().info().is_ok());
    first.terminate();
    assert!(is_empty(&directory));
}

#[test]
fn the_socket_of_a_killed_one_is_replaced() {
    if !privileged() {
        return;
    }
    let mut lab = Lab::new();
    let namespace = lab.namespace("a");
    let directory = lab.directory("sockets");
    Daemon::start(&namespace, &directory, &[]).kill();
    assert!(directory.join("vrouterd.sock").exists());
    let second = Daemon::start(&namespace, &directory, &[]);
    let mode = std::fs::metadata(directory.join("vrouterd.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    second.terminate();
}

#[test]
fn a_missing_capability_is_named() {
    if !privileged() {
        return;
    }
    let lab = Lab::new();
    let directory = lab.directory("sockets");
    for capability in ["net_admin", "net_raw", "bpf", "ipc_lock"] {
        let mut command = Command::new("setpriv");
        // In CAP_BPF's place the older CAP_SYS_ADMIN would do.
        command.arg(format!("--bounding-set=-{capability},-sys_admin"));
        command.arg(env!("CARGO_BIN_EXE_vrouterd")).arg("--sock-dir").arg(&directory);
        let (line, code) = refusal(&mut command);
        let name = format!("CAP_{}", capability.to_uppercase());
        assert!(line.starts_with("vrouterd: ") && line.contains(&name), "{line}");
        assert_eq!(code, 1);
        assert!(is_empty(&directory), "nothing is left half-made");
    }
}

#[test]
fn a_missing_device_is_named() {
    if !privileged() {
        return;
    }
    let mut lab = Lab::new();
    let namespace = lab.namespace("a");
    let directory = lab.directory("sockets");
    let (line, code) = refusal(command(&namespace, &directory).args(["--uplink", "eth77"]));
    assert_eq!(line, "vrouterd: --uplink: there is no device eth77");
    assert_eq!(code, 1);
    assert!(is_empty(&directory));
}

#[test]
fn a_directory_that_is_none_is_named() {
    let lab = Lab::new();
    let file = lab.directory("file");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vrouterd"));
    let (line, code) = refusal(command.arg("--sock-dir").arg(&file));
    assert!(line.contains("socket directory") && line.contains("file"), "{line}");
    assert_eq!(code, 1);
}

#[test]
fn wrong_options_exit_with_two() {
    for wrong in
        [&["--workers", "0"][..], &["--cores", "x"], &["--frames", "1"], &["--no-such-option"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_vrouterd")).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let lab = Lab::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vrouterd"));
    command.arg("--sock-dir").arg(lab.directory("sockets")).args(["--cores", "8000"]);
    let (line, code) = refusal(&mut command);
    assert!(line.contains("core 8000 is not available"), "{line}");
    assert_eq!(code, 2);
}

#[test]
fn a_log_filter_that_is_none_is_named() {
    let lab = Lab::new();
    let directory = lab.directory("sockets");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vrouterd"));
    command.arg("--sock-dir").arg(&directory).args(["--log", "[["]);
    let (line, code) = refusal(&mut command);
    assert!(line.starts_with("vrouterd: --log: `[[` is not a filter"), "{line}");
    assert_eq!(code, 2);
    assert!(is_empty(&directory));
}
