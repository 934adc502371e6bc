//! `flow -s` and `flow -r`: twice a second until killed (reference cli.md section 7.8).

use std::time::Duration;

use api::{FlowAction, FlowInfo, FlowTableInfo, Rows, Table};
use jiff::Zoned;

use crate::tool::{Failure, Session};

const INTERVAL: Duration = Duration::from_millis(500);

/// One line for each interval in which something happened.
pub(super) fn rate(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let mut before = FlowTableInfo::default();
    loop {
        let now = client.flow_table()?;
        let [forward, reverse, deleted] = [
            now.processed - before.processed.min(now.processed),
            now.added - before.added.min(now.added),
            now.deleted - before.deleted.min(now.deleted),
        ];
        if forward + reverse + deleted != 0 {
            let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S.%3f").to_string();
            let per_second = (forward + reverse + deleted) * 2;
            session.print(&format!(
                "{time}:  Entries = {:8} Rate = {per_second:6} (Fwd = {forward:8} Rev = {reverse:8} Del = {deleted:8}) \
                 Hold = {:8} Free Burst Tokens = {:8} Total Hold Entries {:8}\n",
                now.used, now.held, now.burst_tokens, now.held
            ))?;
            session.flush()?;
        }
        before = now;
        std::thread::sleep(INTERVAL);
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    total: i64,
    active: i64,
    held: i64,
    forward: i64,
    drop: i64,
    nat: i64,
}

/// A screen for each interval.
pub(super) fn statistics(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let mut before: Option<Tally> = None;
    loop {
        let mut now = Tally::default();
        for page in client.pages(Table::Flow) {
            let Rows::Flow(rows) = page?.rows else { continue };
            rows.iter().for_each(|flow| now.add(flow));
        }
        let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S %z").to_string();
        session.print("\u{1b}[H\u{1b}[2J")?;
        session.print(&screen(&time, &now, &before.unwrap_or(now)))?;
        session.flush()?;
        before = Some(now);
        std::thread::sleep(INTERVAL);
    }
}

impl Tally {
    fn add(&mut self, flow: &FlowInfo) {
        if !flow.active || flow.flags & FlowInfo::EVICTED != 0 {
            return;
        }
        self.total += 1;
        let held = flow.action == FlowAction::Hold;
        self.held += i64::from(held);
        self.active += i64::from(!held);
        self.forward += i64::from(flow.action == FlowAction::Forward);
        self.drop += i64::from(flow.action == FlowAction::Drop);
        self.nat += i64::from(flow.action == FlowAction::Nat);
    }
}

fn screen(time: &str, now: &Tally, before: &Tally) -> String {
    let (total, active) = (now.total - before.total, now.active - before.active);
    format!(
        "{time}\nFlow Statistics\n---------------\n\
         \x20   Total  Entries  --- Total = {:7}, new = {total:7} \n\
         \x20   Active Entries  --- Total = {:7}, new = {active:7} \n\
         \x20   Hold   Entries  --- Total = {:7}, new = {:7} \n\
         \x20   Fwd flow Entries  - Total = {:7}\n\
         \x20   drop flow Entries - Total = {:7}\n\
         \x20   NAT flow Entries  - Total = {:7}\n\n\
         \x20   Rate of change of Active Entries\n    --------------------------------\n\
         \x20       current rate      = {:8}\n        Avg setup rate    = {:8}\n        Avg teardown rate = {:8}\n\
         \x20   Rate of change of Flow Entries\n    ------------------------------\n\
         \x20       current rate      = {:8}\n",
        now.total,
        now.active,
        now.held,
        now.held - before.held,
        now.forward,
        now.drop,
        now.nat,
        active * 2,
        0,
        0,
        total * 2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_the_originals_columns() {
        let now = Tally { total: 1208, active: 1201, held: 7, forward: 1100, drop: 61, nat: 40 };
        let before = Tally { total: 1194, active: 1189, held: 5, ..now };
        let text = screen("2022-03-14 10:12:09 +0000", &now, &before);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3], "    Total  Entries  --- Total =    1208, new =      14 ");
        assert_eq!(lines[5], "    Hold   Entries  --- Total =       7, new =       2 ");
        assert_eq!(lines[7], "    drop flow Entries - Total =      61");
        assert_eq!(lines[12], "        current rate      =       24");
    }
}
