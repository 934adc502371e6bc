//! The demo must come out as it says, every step.

use anyhow::Result;

#[test]
fn the_demo_shows_every_step_and_cleans_up() -> Result<()> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "iperf3", "tshark"]) {
        lab::skip(&format!("demo: {reason}"));
        return Ok(());
    }
    if std::path::Path::new("/var/run/netns/node-a").exists() {
        lab::skip("demo: one is standing (make demo-clean removes it)");
        return Ok(());
    }
    let shown = lab::output(env!("CARGO_BIN_EXE_demo"), &["run"])?;
    assert!(shown.contains("All steps as expected"), "{shown}");
    assert!(!std::path::Path::new("/var/run/netns/node-a").exists());
    assert!(!std::path::Path::new("/run/vrouter/node-a").exists());
    Ok(())
}
