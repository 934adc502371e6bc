//! Every capture of the case book that goes through the dataplane, each a test of its own name and with its verdict:
//! put in on the bench as a node would get it, judged by what comes out byte for byte and by exactly the counters that
//! moved, with one worker and with two.
//!
//! `td-` and `mk-` captures are in `tests/captures`; the others are read from the folder that `VROUTER_SHARED` names
//! (or `../shared` beside the repository) and are reported as skipped where there is none. The captures with BGP in
//! them are tests of `proto`.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]
#![allow(clippy::disallowed_types, reason = "tests read files")]

mod bench;
mod cases;
mod fabric;
mod judge;
mod made;
mod malformed;
mod neighbors;
mod points;
mod read;
mod row;
mod services;
#[path = "../site/mod.rs"]
mod site;
mod tenant;

use libtest_mimic::{Arguments, Failed, Trial};
use row::Row;

fn main() {
    let rows: Vec<Row> = [
        fabric::rows(),
        tenant::rows(),
        malformed::rows(),
        neighbors::rows(),
        services::rows(),
        made::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut trials = vec![Trial::test("every capture of the case book has its row", {
        let names: Vec<&str> = rows.iter().map(|row| row.capture).collect();
        move || complete(&names)
    })];
    trials.extend(cases(&rows));
    trials.extend(points());
    trials.extend(rows.into_iter().map(trial));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Each point of reference section 24, with how many tests show it.
fn points() -> Vec<Trial> {
    let sources = cases::sources();
    let trial = |point: &(u8, &'static str, &'static [&'static str])| {
        let evidence = points::evidence(point, &sources);
        let tests = evidence.as_ref().copied().unwrap_or(0);
        let name = format!("point {:02}: {}: {tests} tests", point.0, point.1);
        Trial::test(name, move || evidence.map(drop).map_err(Failed::from))
    };
    points::POINTS.iter().map(trial).collect()
}

/// Each case by its number, with how many tests show it.
fn cases(rows: &[Row]) -> Vec<Trial> {
    let mut captures: Vec<&str> = rows.iter().map(|row| row.capture).collect();
    captures.extend(BGP_CASES);
    let sources = cases::sources();
    let trial = |case: &cases::Case| {
        let evidence = case.evidence(&captures, &sources);
        let partly = case.partly.map_or(String::new(), |rest| format!("; partly: {rest}"));
        let tests = evidence.as_ref().copied().unwrap_or(0);
        let name = format!("H{:02}: {}: {tests} tests{partly}", case.number, case.scenario);
        Trial::test(name, move || evidence.map(drop).map_err(Failed::from))
    };
    cases::CASES.iter().map(trial).collect()
}

fn trial(row: Row) -> Trial {
    let name = format!("{}: {}", row.capture, row.verdict);
    let Some(packets) = read::capture(row.capture) else {
        println!("skipped: {name}: a third party's capture (VROUTER_SHARED names the folder)");
        return Trial::test(name, || Ok(())).with_ignored_flag(true);
    };
    Trial::test(name, move || {
        check(&row, &packets);
        Ok(())
    })
}

/// Captures of cases whose rows are tests of `proto`.
const BGP_CASES: [&str; 4] =
    ["mk-H30-asn4", "mk-H31-evpn-label", "mk-H32-evpn-type5", "mk-H33-rtc"];

/// Runs a row, or prints what becomes of its packets.
fn check(row: &Row, packets: &[Vec<u8>]) {
    if std::env::var_os("CASE_BOOK_SHOW").is_some() {
        row.show(packets);
    } else {
        row.run(packets);
    }
}

/// The captures in the index are those of the rows and those with BGP in them.
fn complete(rows: &[&str]) -> Result<(), Failed> {
    for (number, row) in rows.iter().enumerate() {
        if rows[..number].contains(row) {
            return Err(format!("{row} has two rows").into());
        }
    }
    let mut missing: Vec<String> = read::in_this_folder();
    missing.extend(read::in_the_index());
    missing.retain(|name| !rows.contains(&name.as_str()));
    if missing.is_empty() { Ok(()) } else { Err(format!("no row for {missing:?}").into()) }
}
