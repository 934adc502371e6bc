//! Sessions of rules that log, a line each when they begin, are denied and end; so many a second.

use std::fmt;
use std::net::IpAddr;

use super::ipfix::{EndReason, Event, Record};
use super::{ELSEWHERE, Ends};
use tables::RuleId;

/// Lines between two flushes, which come once a second.
const MOST: usize = 100;

/// How many lines were written, and how many were too many.
#[derive(Debug, Default)]
pub(super) struct Journal {
    written: usize,
    left_out: usize,
}

impl Journal {
    /// Writes what a session does.
    pub(super) fn write(&mut self, record: &Record) {
        if self.written == MOST {
            self.left_out += 1;
            return;
        }
        self.written += 1;
        tracing::info!(target: "vrouterd::sessions", "{}", Line(record));
    }

    /// Says how many there were beyond those, and begins anew.
    pub(super) fn flush(&mut self) {
        if self.left_out != 0 {
            let left_out = self.left_out;
            tracing::info!(target: "vrouterd::sessions", "and {left_out} lines more in this second");
        }
        *self = Journal::default();
    }
}

struct Line<'r>(&'r Record);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        let does = match (record.event, record.reason) {
            (Event::Created, _) => "begins",
            (Event::Denied, _) => "is denied",
            (Event::Update, _) => "goes on",
            (Event::Deleted, EndReason::Idle) => "ends, being idle",
            (Event::Deleted, EndReason::End) => "ends, being closed",
            (Event::Deleted, _) => "ends",
        };
        write!(f, "session {does}: protocol {} {}", record.protocol, Between(&record.ends))?;
        if record.translated != record.ends {
            write!(f, ", translated to {}", Between(&record.translated))?;
        }
        write!(f, ", VRF {}", record.vrfs.0)?;
        if record.vrfs.0 != record.vrfs.1 {
            write!(f, " to {}", record.vrfs.1)?;
        }
        for (word, vif) in [("from", record.vifs.0), ("to", record.vifs.1)] {
            if vif != ELSEWHERE {
                write!(f, ", {word} vif {vif}")?;
            }
        }
        let (network, group) = record.rules;
        write!(f, ", network rule {}, group rule {}", RuleId(network), RuleId(group))?;
        if record.event == Event::Deleted {
            let (there, back) = (record.forward, record.reverse);
            let seconds = record.end.saturating_sub(record.start) / 1000;
            write!(f, ", {} packets {} bytes there, ", there.packets, there.bytes)?;
            write!(f, "{} packets {} bytes back, {seconds} s", back.packets, back.bytes)?;
        }
        Ok(())
    }
}

/// Source and destination, with ports where there are any.
struct Between<'r>(&'r Ends);

impl fmt::Display for Between<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |address: IpAddr, port: u16| match (self.0.ports, address) {
            ((0, 0), address) => address.to_string(),
            (_, IpAddr::V4(address)) => format!("{address}:{port}"),
            (_, IpAddr::V6(address)) => format!("[{address}]:{port}"),
        };
        let (from, to) = self.0.ports;
        write!(f, "{} -> {}", end(self.0.source, from), end(self.0.destination, to))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ipfix::Traffic;
    use super::*;

    fn ends(source: &str, destination: &str, ports: (u16, u16)) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap(), ports }
    }

    fn record(event: Event) -> Record {
        let ends = ends("10.1.1.11", "10.1.2.12", (1000, 80));
        Record {
            id: 1,
            ends,
            translated: ends,
            protocol: 6,
            forward: Traffic { packets: 12, bytes: 1054 },
            reverse: Traffic { packets: 10, bytes: 5210 },
            start: 1000,
            end: 4500,
            event,
            reason: EndReason::End,
            vrfs: (2, 2),
            vifs: (3, ELSEWHERE),
            rules: (0xa11, 2),
            drop_reason: 0,
            identities: (None, None),
        }
    }

    #[test]
    fn a_line_tells_who_to_whom_where_and_by_which_rule() {
        let rules = "network rule 00000000-0000-0000-0000-000000000a11, \
                     group rule 00000000-0000-0000-0000-000000000002";
        let between = "protocol 6 10.1.1.11:1000 -> 10.1.2.12:80";
        assert_eq!(
            Line(&record(Event::Denied)).to_string(),
            format!("session is denied: {between}, VRF 2, from vif 3, {rules}")
        );
        assert_eq!(
            Line(&record(Event::Deleted)).to_string(),
            format!(
                "session ends, being closed: {between}, VRF 2, from vif 3, {rules}, \
                 12 packets 1054 bytes there, 10 packets 5210 bytes back, 3 s"
            )
        );
        let translated = ends("2001:db8::1", "2001:db8::2", (0, 0));
        let record = Record { translated, vrfs: (2, 7), ..record(Event::Created) };
        let line = Line(&record).to_string();
        let says = "80, translated to 2001:db8::1 -> 2001:db8::2, VRF 2 to 7, from vif 3";
        assert!(line.contains(says), "{line}");
    }

    #[test]
    fn so_many_lines_a_second_and_the_rest_is_counted() {
        let mut journal = Journal::default();
        for _ in 0..MOST + 7 {
            journal.write(&record(Event::Created));
        }
        assert_eq!((journal.written, journal.left_out), (MOST, 7));
        journal.flush();
        assert_eq!((journal.written, journal.left_out), (0, 0));
    }
}
