//! Every golden file of the tools in `tests/cli-golden`: NAME.json holds the exchange in the original's messages,
//! NAME.txt what the original printed. The messages are turned into rows, a daemon in a thread answers with them, and
//! the real binary must print the same bytes and end with the same status. Each file is a test of its own name.

#[path = "../fake/mod.rs"]
mod fake;
mod flow;
mod leaves;
mod messages;
mod next_hop;
mod vif;
mod whole;

use std::path::{Path, PathBuf};

use fake::{Daemon, fresh_directory};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli-golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(files.len() > 100, "{} golden files in {}", files.len(), folder.display());
    let trials = files.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(file: PathBuf) -> Trial {
    let name = file.file_stem().expect("it has a name").to_string_lossy().into_owned();
    Trial::test(name, move || check(&file))
}

fn check(file: &Path) -> Result<(), Failed> {
    let golden: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let wanted = String::from_utf8(std::fs::read(file.with_extension("txt"))?)?;
    let command = golden["command"].as_str().ok_or("no command")?;
    let words = words(command);
    let mut words = words.iter().map(String::as_str);
    let tool = words.next().ok_or("empty command")?;
    let platform = golden["platform"].as_str().ok_or("no platform")?;
    let mut arguments: Vec<&str> = words.collect();
    arguments.extend(["--layout", platform]);

    let daemon = Daemon::start(messages::content(&golden));
    let output = daemon.run(tool, &arguments);
    let got = String::from_utf8(output.stdout)?;
    if got != wanted {
        return Err(difference(command, &wanted, &got).into());
    }
    if !output.stderr.is_empty() {
        return Err(format!("stderr: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    // Where the original's status is not to be relied on, the files have none: then it is 0.
    let status = golden["exit_status"].as_i64().unwrap_or(0);
    if output.status.code().map(i64::from) != Some(status) {
        return Err(format!("{command}: ends with {}, not {status}", output.status).into());
    }
    if daemon.requests().is_empty() {
        return Err(format!("{command}: nothing was asked").into());
    }
    // Nobody listens here: only the connection may make a difference.
    drop(daemon);
    let lonely = fresh_directory();
    let alone = fake::run(tool, &lonely, &arguments);
    std::fs::remove_dir_all(lonely)?;
    let lost = match tool {
        "vif" | "flow" => 244,
        "dropstats" | "vrinfo" | "dpdkinfo" => 255,
        _ => 1,
    };
    if alone.status.code() != Some(lost) {
        return Err(
            format!("{command}: without a daemon ends with {}, not {lost}", alone.status).into()
        );
    }
    Ok(())
}

/// As a shell splits: what is in quotes is one word.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in command.split('"').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn difference(command: &str, wanted: &str, got: &str) -> String {
    let (mut wanted_lines, mut got_lines) = (wanted.split('\n'), got.split('\n'));
    let mut line = 0;
    loop {
        line += 1;
        let (wanted, got) = (wanted_lines.next(), got_lines.next());
        if wanted != got || wanted.is_none() {
            return format!("{command}: line {line}\nwanted {wanted:?}\n   got {got:?}");
        }
    }
}
