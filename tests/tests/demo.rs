//! The demo must come out as it says, every step.

use std::process::Command;

use anyhow::Result;
use lab::PingResult;

#[test]
fn the_demo_shows_every_step_stays_when_asked_to_and_cleans_up() -> Result<()> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "iperf3", "tshark", "python3"]) {
        lab::skip(&format!("demo: {reason}"));
        return Ok(());
    }
    if std::path::Path::new("/var/run/netns/node-a").exists() {
        lab::skip("demo: one is standing (make demo-clean removes it)");
        return Ok(());
    }
    let demo = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command.arg(verb).env("KEEP", "1").output()
    };
    let shown = demo("run")?;
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{text}{}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.contains("All steps as expected"), "{text}");
    // What it says one can try works.
    let standing = || -> Result<()> {
        for (tool, arguments) in
            [("vif", &["--list"][..]), ("rt", &["--dump", "1"]), ("nh", &["--list"])]
        {
            let mut all = vec!["--sock-dir", "/run/vrouter/node-a"];
            all.extend(arguments);
            assert!(lab::output(lab::tool(tool), &all)?.lines().count() > 5, "{tool}");
        }
        let pings = lab::run("ip netns exec red-a ping -q -c 200 -i 0.01 10.1.1.12")?;
        assert_eq!(PingResult::read(&pings)?.lost, 0, "{pings}");
        Ok(())
    };
    let stood = standing();
    assert!(demo("clean")?.status.success());
    stood?;
    for left in ["/var/run/netns/node-a", "/var/run/netns/red-a", "/run/vrouter/node-a"] {
        assert!(!std::path::Path::new(left).exists(), "{left} was left behind");
    }
    Ok(())
}
