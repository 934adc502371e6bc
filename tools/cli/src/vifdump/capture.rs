//! `vifdump VIF`: a monitoring interface, tcpdump on it, and the end of both.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use api::{Client, Key, Lookup, Mac, Object, Op, Vif, VifId, VifKind};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::index;
use crate::vif::{all, fetch, first_line};

/// The index of the monitoring interface of vif 0; the others' go down from it.
const LAST: u16 = 4351;
const MONITOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0]);
/// How often and how long its device is waited for.
const POLLS: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn run(mut client: Client, vif: &str, arguments: &[&str]) -> Result<(), String> {
    // From here on a signal ends tcpdump, not this: somebody has to clean up.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGCHLD]);
    let mut signals = signals.map_err(|error| format!("cannot catch signals: {error}"))?;
    let invalid = || "Invalid Vif Id".to_owned();
    let vif = index(vif).ok_or_else(invalid)?;
    let row =
        fetch(&mut client, Lookup::Vif { id: vif, core: None }).map_err(|error| match error {
            api::ClientError::Refused(_) => invalid(),
            other => other.to_string(),
        })?;
    print!("{}", first_line(&row));
    let device = format!("mon{vif}");
    let monitor = free_index(&mut client, vif, &device)?;
    let wanted = Vif {
        mac: MONITOR_MAC,
        mtu: row.mtu,
        monitors: Some(vif),
        ..Vif::new(monitor, device.as_str(), VifKind::Monitoring)
    };
    let change =
        |client: &mut Client, op| client.operate(vec![op]).map_err(|error| error.to_string());
    change(&mut client, Op::Put(Object::Vif(wanted)))?;
    let captured = listen(&device, arguments, &mut signals);
    println!("vifdump: deleting vif {monitor}...");
    change(&mut client, Op::Delete(Key::Vif(monitor)))?;
    captured
}

/// The index the monitoring interface gets, unless the interface is monitored already.
fn free_index(client: &mut Client, vif: VifId, device: &str) -> Result<VifId, String> {
    let rows = all(client, None).map_err(|error| error.to_string())?;
    let known = rows.iter().any(|row| row.name == device);
    if known || is_there(device) {
        println!("monitoring interface {device} is already in use");
        return Err(if known {
            "Use 'vifdump stop <id>' command to force stop the monitoring.".to_owned()
        } else {
            "Use 'vif --list' and 'vifdump stop <id>' commands to force stop the monitoring."
                .to_owned()
        });
    }
    let usual = LAST.saturating_sub(vif.0);
    let mut candidates = (0..=usual).rev().map(VifId);
    let free = candidates.find(|id| rows.iter().all(|row| row.id != *id));
    free.ok_or_else(|| "no index is free".to_owned())
}

/// Runs tcpdump to its end.
fn listen(device: &str, arguments: &[&str], signals: &mut Signals) -> Result<(), String> {
    let there = (0..POLLS).any(|_| {
        is_there(device) || {
            std::thread::park_timeout(INTERVAL);
            false
        }
    });
    if !there {
        return Err(format!("no interface {device}"));
    }
    // What was printed must be out before tcpdump prints.
    let _ = std::io::stdout().flush();
    let tcpdump = Command::new("tcpdump").args(["-i", device]).args(arguments).spawn();
    let mut tcpdump = tcpdump.map_err(|error| format!("cannot run tcpdump: {error}"))?;
    for signal in signals.forever() {
        if signal != SIGCHLD {
            end(&tcpdump);
        }
        if tcpdump.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
    }
    Ok(())
}

/// Asks tcpdump to print its summary and end.
fn end(tcpdump: &Child) {
    let _ = kill_process(Pid::from_child(tcpdump), Signal::INT);
}

fn is_there(device: &str) -> bool {
    Path::new("/sys/class/net").join(device).exists()
}
