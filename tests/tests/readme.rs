//! The README names files and commands: they must be there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `a/{b,c}.rs` names two files.
fn expand(path: &str) -> Vec<String> {
    match (path.split_once('{'), path.split_once('}')) {
        (Some((before, _)), Some((list, after))) => {
            let inside = list.rsplit('{').next().unwrap_or_default();
            inside.split(',').map(|one| format!("{before}{one}{after}")).collect()
        }
        _ => vec![path.to_owned()],
    }
}

#[test]
fn every_file_the_readme_names_exists() -> Result<()> {
    let text = fs::read_to_string(root().join("README.md"))?;
    let folders = ["dataplane", "tables", "control-agent", "tools", "bpf", "benches", "tests"];
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| folders.iter().any(|f| word.starts_with(&format!("{f}/"))));
    let mut count = 0;
    for path in paths.flat_map(expand) {
        assert!(root().join(&path).exists(), "README.md names {path}");
        count += 1;
    }
    assert!(count > 20, "only {count} paths were found");
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http")) {
        assert!(root().join(link).exists(), "README.md links to {link}");
    }
    Ok(())
}

#[test]
fn every_make_target_the_readme_names_exists() -> Result<()> {
    let text = fs::read_to_string(root().join("README.md"))?;
    let makefile = fs::read_to_string(root().join("Makefile"))?;
    let targets =
        text.split("make ").skip(1).filter_map(|rest| rest.split([' ', '`', ';', '\n']).next());
    for target in ["demo", "test", "check", "bench", "demo-clean"] {
        assert!(text.contains(&format!("make {target}")), "README.md does not name make {target}");
        assert!(makefile.contains(&format!("\n{target}:")), "no target {target}");
    }
    let known = |target: &str| makefile.contains(&format!("\n{target}:"));
    let named = targets
        .filter(|t| t.chars().all(|c| c.is_ascii_lowercase() || c == '-') && known(t))
        .count();
    assert!(named >= 5, "the README names {named} targets");
    Ok(())
}

#[test]
fn the_readme_shows_a_configuration_the_agent_accepts() -> Result<()> {
    let text = fs::read_to_string(root().join("README.md"))?;
    let toml = text.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
    let toml = toml.context("no configuration in the README")?.0;
    let file = std::env::temp_dir().join(format!("readme-{}.toml", std::process::id()));
    fs::write(&file, toml)?;
    let checked = lab::output(
        lab::tool("vrouter-agent"),
        &["--config", &file.display().to_string(), "--check"],
    );
    fs::remove_file(&file)?;
    checked.map(|_| ())
}
