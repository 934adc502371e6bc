//! Which crate may use which of ours. Anything absent from the list is forbidden.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// (crate, what it may use). `tests`, `fuzz` and `benches` may use all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("sys", &[]),
    ("port", &["sys"]),
    ("tables", &["wire", "sys"]),
    ("proto", &["wire"]),
    ("engine", &["wire", "port", "tables", "sys"]),
    ("api", &["tables", "wire"]),
    ("vrouterd", &["engine", "port", "api", "tables", "wire", "sys"]),
    ("agent", &["proto", "api", "tables", "wire", "sys"]),
    ("cli", &["api"]),
    ("xtask", &[]),
];
const MAY_USE_ALL: &[&str] = &["benches", "fuzz", "tests"];

/// Every direction that the workspace takes and the list does not allow.
pub(crate) fn violations() -> Result<Vec<String>> {
    let metadata = command::output("cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut violations = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if MAY_USE_ALL.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(krate, _)| *krate == name) else {
            violations.push(format!(
                "crate {name} is not on the direction list (tools/xtask/src/direction.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            // A test of a crate may stand on what lies below it, and on itself.
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if ours.contains(&used) && !allowed.contains(&used) && !for_tests {
                violations.push(format!("{name} uses {used}: not on the direction list"));
            }
        }
    }
    Ok(violations)
}
