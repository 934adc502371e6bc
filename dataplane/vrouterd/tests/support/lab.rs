//! Network namespaces and the links between them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Namespaces with names of their own, and a directory.
pub(crate) struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    directory: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let prefix = format!("vd{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&directory).unwrap();
        Lab { prefix, namespaces: Vec::new(), directory }
    }

    /// Makes a namespace; gives its full name.
    pub(crate) fn namespace(&mut self, name: &str) -> String {
        let full = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &full]);
        self.namespaces.push(full.clone());
        ip(&["-n", &full, "link", "set", "lo", "up"]);
        full
    }

    /// A directory that is removed with the lab.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs `ip`.
///
/// # Panics
/// When it fails.
pub(crate) fn ip(args: &[&str]) -> String {
    run("ip", args)
}

/// Runs a program inside a namespace.
pub(crate) fn inside(namespace: &str, program: &str, args: &[&str]) -> Output {
    let output = Command::new("ip").args(["netns", "exec", namespace, program]).args(args).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs a program that must succeed; gives its output.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A veth pair between two namespaces, with so many queues; both ends down.
pub(crate) fn veth(left: (&str, &str), right: (&str, &str), queues: u8) {
    let queues = queues.to_string();
    ip(&[
        "-n",
        left.0,
        "link",
        "add",
        left.1,
        "numrxqueues",
        &queues,
        "numtxqueues",
        &queues,
        "type",
        "veth",
        "peer",
        "name",
        right.1,
        "netns",
        right.0,
        "numrxqueues",
        &queues,
        "numtxqueues",
        &queues,
    ]);
}

/// The MAC of a link.
pub(crate) fn mac(namespace: &str, link: &str) -> wire::Mac {
    let text = ip(&["-n", namespace, "-o", "link", "show", "dev", link]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").unwrap();
    words[at + 1].parse().unwrap()
}

/// The namespace's file, for threads that enter it.
pub(crate) fn path(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}
