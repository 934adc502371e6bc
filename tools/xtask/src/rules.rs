//! House rules on the text of the sources. `violations` fail the check; `hints` are places for a reader to look at.

use std::fs;

use anyhow::Result;

use crate::command;

/// A source file git knows: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

fn sources() -> Result<Vec<Source>> {
    let listed =
        command::output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let wanted =
        |path: &&str| [".rs", ".c", ".h", ".py", ".sh"].iter().any(|end| path.ends_with(end));
    let read = |path: &str| {
        let text = fs::read_to_string(command::root().join(path)).ok()?;
        Some(Source { path: path.to_owned(), text })
    };
    Ok(listed.lines().filter(wanted).filter_map(read).collect())
}

/// What breaks a rule that holds without exception.
pub(crate) fn violations() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for source in sources()? {
        let Source { path, text } = &source;
        found.extend(
            lines_with(path, text, unfinished_mark).map(|at| format!("{at}: unfinished mark")),
        );
        if path.starts_with("tests/") || path.contains("/tests/") {
            found.extend(
                lines_with(path, text, sleeps)
                    .map(|at| format!("{at}: a test sleeps; wait for an event")),
            );
        }
        if path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") {
            let forbids = text.contains("#![forbid(unsafe_code)]");
            if !forbids && !path.starts_with("dataplane/sys/") {
                found.push(format!("{path}: does not forbid unsafe code"));
            }
        }
        let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if ["util", "utils", "common", "misc", "types", "helper", "helpers"].contains(&stem) {
            found.push(format!("{path}: a name without a meaning"));
        }
    }
    let manifests = command::output("git", &["ls-files", "*Cargo.toml"])?;
    for path in manifests.lines().filter(|path| *path != "Cargo.toml") {
        let text = fs::read_to_string(command::root().join(path))?;
        if !text.contains("[lints]\nworkspace = true") {
            found.push(format!("{path}: does not inherit the workspace lints"));
        }
    }
    Ok(found)
}

/// What a reader should look at.
pub(crate) fn hints() -> Result<Vec<String>> {
    let long = |source: &Source| {
        let before_tests = source.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = before_tests.lines().count();
        (lines > 600).then(|| format!("{}: {lines} lines without tests", source.path))
    };
    Ok(sources()?.iter().filter(|source| source.path.ends_with(".rs")).filter_map(long).collect())
}

fn lines_with(path: &str, text: &str, matches: fn(&str) -> bool) -> impl Iterator<Item = String> {
    let path = path.to_owned();
    let hits: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| matches(line)).map(|(n, _)| n + 1).collect();
    hits.into_iter().map(move |line| format!("{path}:{line}"))
}

fn unfinished_mark(line: &str) -> bool {
    // Put together here so that this file does not match itself.
    ["TO", "FIX", "XX", "HA"]
        .iter()
        .zip(["DO", "ME", "X", "CK"])
        .any(|(a, b)| line.contains(&format!("{a}{b}")))
}

fn sleeps(line: &str) -> bool {
    line.contains(concat!("thread::", "sleep")) || line.contains(concat!("time::", "sleep("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_sleeps_are_seen() {
        assert!(unfinished_mark(concat!("// TO", "DO: later")));
        assert!(!unfinished_mark("// to do a thing"));
        assert!(sleeps(concat!("std::thread::", "sleep(d)")));
    }
}
