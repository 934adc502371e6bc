//! `vif --list --rate` and `vif --get INDEX --rate`: what happens per second (reference cli.md section 2.10).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use api::{Client, ClientError, Core, LayerCounters, Layers, Lookup, Traffic, VifId, VifInfo};

use super::get::fetch;
use super::list::all;
use super::render::{self, ShownLayers, Style};
use super::terminal::{Event, Terminal};
use crate::tool::{Failure, Session};

const TITLE: &str = "Interface rate statistics\n-------------------------\n\n";
const KEYS: &str = "Key 'q' for quit, key 'k' for previous page, key 'j' for next page.\n";
const INTERVAL: Duration = Duration::from_secs(1);
/// Lines of the screen that a list does not fill with interfaces, and lines of one interface.
const FRAME_LINES: usize = 9;
const ROW_LINES: usize = 3;
const MOST_ROWS: usize = 32;

pub(super) fn list(core: Option<Core>, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = begin(session)?;
    let terminal = Terminal::open()?;
    let mut rates = Rates::default();
    let mut page = 0;
    loop {
        let size = MOST_ROWS.min(Terminal::rows().saturating_sub(FRAME_LINES) / ROW_LINES);
        if size == 0 {
            return Err(Failure::Ended("Size of terminal is too small.".to_owned(), 1));
        }
        let rows = rates.update(all(&mut client, core).map_err(gone)?, Instant::now());
        let last_page = rows.len().saturating_sub(1) / size;
        page = page.min(last_page);
        let shown: Vec<&VifInfo> = rows.iter().skip(page * size).take(size).collect();
        session.print(&format!("{}{}{KEYS}{}", Terminal::clear(), table(&shown), timestamp()))?;
        session.flush()?;
        match terminal.wait(INTERVAL) {
            Event::Key(b'q') | Event::End => return Ok(()),
            Event::Key(b'j') => page = (page + 1).min(last_page),
            Event::Key(b'k') => page = page.saturating_sub(1),
            Event::Key(_) | Event::Tick => {}
        }
    }
}

pub(super) fn get(
    lookup: Lookup,
    core: Option<Core>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut client = begin(session)?;
    let style = Style { layout: session.common.layout, core, layers: ShownLayers::All };
    let terminal = Terminal::open()?;
    let mut rates = Rates::default();
    loop {
        let row = fetch(&mut client, lookup).map_err(gone)?;
        let rows = rates.update(vec![row], Instant::now());
        let picture: String = rows.iter().map(|row| render::vif(row, style, "")).collect();
        let (clear, header) = (Terminal::clear(), render::header());
        session.print(&format!("{clear}{TITLE}{header}{picture}{}", timestamp()))?;
        session.flush()?;
        if terminal.wait(INTERVAL) == Event::End {
            return Ok(());
        }
    }
}

/// A picture that changes is no JSON.
fn begin(session: &Session<'_>) -> Result<Client, Failure> {
    if session.json() { Err(Failure::Usage) } else { session.connect() }
}

/// A refusal is shown as ever; anything else means that the daemon went away.
fn gone(error: ClientError) -> Failure {
    if matches!(error, ClientError::Refused(_)) {
        return error.into();
    }
    eprintln!("Communication problem with vRouter.\n");
    Failure::Said(1)
}

fn timestamp() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S %z \n").to_string()
}

/// The interfaces of one page.
fn table(rows: &[&VifInfo]) -> String {
    let columns = format!("{:<30}{:<30}{:<30}{:<30}\n", "Interface name", "VIF ID", "RX", "TX");
    let second = format!("{:54}{:<30}Errors   Packets\n\n", "", "Errors   Packets");
    let lines: String = rows.iter().map(|row| line(row)).collect();
    format!("{TITLE}{columns}{second}{lines}")
}

fn line(row: &VifInfo) -> String {
    let layers = &row.layers;
    let rx_errors =
        row.rx.errors + layers.rx_device.errors + layers.rx_port.errors + layers.rx_queue.errors;
    let tx_errors =
        row.tx.errors + layers.tx_device.errors + layers.tx_port.errors + layers.tx_queue.errors;
    let name = format!("{}: {}", render::kind(row.kind), row.name);
    let id = format!("vif0/{}", row.id);
    let rx = format!("{rx_errors:<7}  {:<7}", row.rx.packets);
    let tx = format!("{tx_errors:<7}  {:<7}", row.tx.packets);
    format!("{name:<30}{id:<24}{rx:<30}{tx:<25}\n\n\n")
}

/// Remembers the last poll.
#[derive(Default)]
struct Rates {
    before: HashMap<VifId, VifInfo>,
    at: Option<Instant>,
}

impl Rates {
    /// The rows with rates instead of counters; zero the first time an interface is seen.
    fn update(&mut self, rows: Vec<VifInfo>, now: Instant) -> Vec<VifInfo> {
        let elapsed = self.at.map_or(INTERVAL, |at| now.duration_since(at));
        let rates = rows
            .iter()
            .map(|row| per_second(row, self.before.get(&row.id).unwrap_or(row), elapsed))
            .collect();
        self.before = rows.into_iter().map(|row| (row.id, row)).collect();
        self.at = Some(now);
        rates
    }
}

fn per_second(now: &VifInfo, before: &VifInfo, elapsed: Duration) -> VifInfo {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    // A counter that went backwards was cleared: no change.
    let rate =
        |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1000) / milliseconds;
    let traffic = |now: Traffic, before: Traffic| Traffic {
        packets: rate(now.packets, before.packets),
        bytes: rate(now.bytes, before.bytes),
        errors: rate(now.errors, before.errors),
    };
    let layer = |now: LayerCounters, before: LayerCounters| LayerCounters {
        packets: rate(now.packets, before.packets),
        bytes: rate(now.bytes, before.bytes),
        errors: rate(now.errors, before.errors),
        no_buffers: rate(now.no_buffers, before.no_buffers),
        syscalls: rate(now.syscalls, before.syscalls),
    };
    let (old, new) = (&before.layers, &now.layers);
    let to_lcore = new.rx_queue_errors_to_lcore.iter().enumerate();
    let to_lcore = to_lcore.map(|(core, errors)| {
        rate(*errors, old.rx_queue_errors_to_lcore.get(core).copied().unwrap_or(0))
    });
    VifInfo {
        rx: traffic(now.rx, before.rx),
        tx: traffic(now.tx, before.tx),
        layers: Layers {
            rx_device: layer(new.rx_device, old.rx_device),
            rx_port: layer(new.rx_port, old.rx_port),
            rx_queue: layer(new.rx_queue, old.rx_queue),
            rx_queue_errors_to_lcore: to_lcore.collect(),
            tx_queue: layer(new.tx_queue, old.tx_queue),
            tx_port: layer(new.tx_port, old.tx_port),
            tx_device: layer(new.tx_device, old.tx_device),
        },
        ..now.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::VifKind;

    fn row(packets: u64) -> VifInfo {
        let mut row = VifInfo::new(VifId(37), "tapc0ffee00-53", VifKind::Virtual);
        row.rx = Traffic { packets, bytes: packets * 100, errors: 2 * packets };
        row.layers.rx_port.errors = packets;
        row
    }

    #[test]
    fn rates_are_differences_per_second() {
        let mut rates = Rates::default();
        let start = Instant::now();
        assert_eq!(rates.update(vec![row(1000)], start)[0].rx, Traffic::default());
        let second = rates.update(vec![row(1500)], start + Duration::from_secs(2));
        assert_eq!(second[0].rx, Traffic { packets: 250, bytes: 25_000, errors: 500 });
        assert_eq!(second[0].layers.rx_port.errors, 250);
        let cleared = rates.update(vec![row(3)], start + Duration::from_secs(3));
        assert_eq!(cleared[0].rx, Traffic::default());
    }

    #[test]
    fn the_picture_is_the_originals() {
        let mut uplink = VifInfo::new(VifId(0), "eth0", VifKind::Physical);
        (uplink.rx.packets, uplink.tx.packets) = (118_204, 96_511);
        let mut port = VifInfo::new(VifId(37), "tapc0ffee00-53", VifKind::Virtual);
        (port.rx.packets, port.tx.packets) = (48_210, 51_007);
        (port.rx.errors, port.layers.rx_queue.errors) = (1, 1);
        let wanted = "\
Interface rate statistics
-------------------------

Interface name                VIF ID                        RX                            TX                            
                                                      Errors   Packets              Errors   Packets

Physical: eth0                vif0/0                  0        118204               0        96511           


Virtual: tapc0ffee00-53       vif0/37                 2        48210                0        51007           


";
        let got = table(&[&uplink, &port]);
        let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trimmed(&got), trimmed(wanted));
        let widths: Vec<usize> = got.lines().map(str::len).filter(|width| *width > 0).collect();
        assert_eq!(widths, [25, 25, 120, 100, 109, 109]);
    }
}
