//! Captures of interfaces by `vifdump`, with the real tcpdump.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Background, ByHand, WORKLOAD_ADDRESSES, ping};
use rustix::process::Signal;

fn site(name: &str) -> Result<Option<ByHand>> {
    if let Some(reason) = lab::missing_for_lab(&["ping", "tcpdump"]) {
        lab::skip(&format!("{name}: {reason}"));
        return Ok(None);
    }
    let site = ByHand::start(name, &[])?;
    site.program()?;
    Ok(Some(site))
}

fn start(site: &ByHand, name: &str, arguments: &[&str]) -> Result<(Background, PathBuf)> {
    let log = site.directory().join(name);
    let directory = site.directory().display().to_string();
    let all = [&["--sock-dir", &directory], arguments].concat();
    let capture = site.node().start(&lab::tool("vifdump"), &all, &log)?;
    let listening =
        || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on mon"));
    lab::eventually("tcpdump to listen", Duration::from_secs(10), listening)?;
    Ok((capture, log))
}

#[test]
fn a_capture_sees_both_directions_and_leaves_nothing_behind() -> Result<()> {
    let Some(site) = site("vd")? else { return Ok(()) };
    let (mut capture, log) = start(&site, "one", &["-i", "vif0/3", "-nl", "-c", "4", "icmp"])?;
    let list = site.say("vif --list")?;
    ensure!(list.contains("vif0/4348   OS: mon3"), "{list}");
    ensure!(list.contains("Flags:L3L2Mon "), "{list}");
    let result = ping(site.workload(0), WORKLOAD_ADDRESSES[1], 5, "0.1")?;
    ensure!(result.lost == 0, "being watched changes nothing: {result:?}");
    let status = capture.wait(Duration::from_secs(10))?;
    let text = std::fs::read_to_string(&log)?;
    ensure!(status.success(), "{text}");
    ensure!(text.contains("10.1.1.11 > 10.1.1.12: ICMP echo request"), "{text}");
    ensure!(text.contains("10.1.1.12 > 10.1.1.11: ICMP echo reply"), "{text}");
    ensure!(text.contains("vif0/3      OS: tap0\n"), "{text}");
    ensure!(text.ends_with("vifdump: deleting vif 4348...\n"), "{text}");
    ensure!(!site.say("vif --list")?.contains("mon3"), "nothing is left");
    ensure!(site.say("vif --get 3")?.contains("Flags:L3L2 "), "nothing is left");
    Ok(())
}

#[test]
fn several_captures_run_at_once_and_end_by_a_signal() -> Result<()> {
    let Some(site) = site("vs")? else { return Ok(()) };
    let (first, one) = start(&site, "one", &["3", "-nl", "icmp"])?;
    let (second, two) = start(&site, "two", &["vif0/4", "-nl", "icmp"])?;
    let again = site.tool("vifdump", &["3"])?;
    assert_eq!(again.status, 1);
    ensure!(again.text.ends_with(
        "monitoring interface mon3 is already in use\n\
         vifdump error: Use 'vifdump stop <id>' command to force stop the monitoring.\n"
    ));
    let seen = |log: &PathBuf| {
        std::fs::read_to_string(log).is_ok_and(|text| text.contains("ICMP echo reply"))
    };
    lab::eventually("both to see a ping", Duration::from_secs(10), || {
        ping(site.workload(0), WORKLOAD_ADDRESSES[1], 1, "0.1").is_ok_and(|it| it.lost == 0)
            && seen(&one)
            && seen(&two)
    })?;
    for (mut capture, signal) in [(first, Signal::INT), (second, Signal::TERM)] {
        capture.signal(signal)?;
        ensure!(capture.wait(Duration::from_secs(10))?.success());
    }
    ensure!(!site.say("vif --list")?.contains("mon"), "nothing is left");
    Ok(())
}

#[test]
fn what_a_killed_capture_left_is_stopped() -> Result<()> {
    let Some(site) = site("vk")? else { return Ok(()) };
    let (capture, _) = start(&site, "one", &["3", "-n"])?;
    capture.kill_hard()?;
    let said = site.tool("vifdump", &["stop", "vif0/3"])?;
    assert_eq!(
        (said.status, said.text.as_str()),
        (1, "vifdump error: Invalid Monitoring Interface Id\n")
    );
    assert_eq!(site.say("vifdump stop mon3")?, "vif0/4348   OS: mon3\nDeleting vif 4348...\n");
    for (arguments, words) in [
        (&["-i", "vif0/99"][..], "vifdump error: Invalid Vif Id\n"),
        (&["nobody"], "vifdump error: Invalid Vif Id\n"),
        (&["stop", "4348"], "vifdump error: Invalid Monitoring Interface Id\n"),
    ] {
        let said = site.tool("vifdump", arguments)?;
        assert_eq!((said.status, said.text.as_str()), (1, words));
    }
    let usage = site.tool("vifdump", &[])?;
    ensure!(usage.status == 1 && usage.text.starts_with("Usage: vifdump "), "{usage:?}");
    Ok(())
}
