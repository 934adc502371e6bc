//! `dropstats --log N --pcap FILE`: the logged packets as a capture that Wireshark and tcpdump read (pcapng, draft
//! ietf-opsawg-pcapng). Each interface is one of the capture's; reason, VRF and generation are a packet's comment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};

use api::{Client, DropLogEntry, Rows, Table};

use crate::tool::{Failure, Session};

/// Types of blocks and options.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const TIME_UNIT: u16 = 9;
const NANOSECONDS: u8 = 9;
const ETHERNET: u16 = 1;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

pub(super) fn write(
    client: &mut Client,
    table: Table,
    file: &str,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    if file == "-" {
        return capture(client, table, session.out());
    }
    let failed = |error: std::io::Error| Failure::Ended(format!("{file}: {error}"), 1);
    let mut out = BufWriter::new(File::create(file).map_err(failed)?);
    capture(client, table, &mut out)?;
    out.flush().map_err(failed)
}

fn capture(client: &mut Client, table: Table, out: &mut dyn Write) -> Result<(), Failure> {
    out.write_all(&section())?;
    let mut interfaces = BTreeMap::new();
    for page in client.pages(table) {
        let Rows::DropLog(rows) = page?.rows else { continue };
        for row in &rows {
            let next = u32::try_from(interfaces.len()).unwrap_or(u32::MAX);
            let number = *interfaces.entry(row.vif).or_insert(next);
            if number == next {
                let name = row.vif.map_or("none".to_owned(), |vif| format!("vif0/{vif}"));
                out.write_all(&interface(&name))?;
            }
            out.write_all(&packet(number, row))?;
        }
    }
    Ok(())
}

fn section() -> Vec<u8> {
    let mut body = BYTE_ORDER.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    // The length of the section is not told.
    body.extend(u64::MAX.to_le_bytes());
    block(SECTION, &body)
}

fn interface(name: &str) -> Vec<u8> {
    let mut body = ETHERNET.to_le_bytes().to_vec();
    body.extend([0; 6]);
    option(&mut body, NAME, name.as_bytes());
    option(&mut body, TIME_UNIT, &[NANOSECONDS]);
    body.extend([0; 4]);
    block(INTERFACE, &body)
}

fn packet(interface: u32, row: &DropLogEntry) -> Vec<u8> {
    let captured = u32::try_from(row.bytes.len()).unwrap_or(u32::MAX);
    let halves = row.time.to_be_bytes();
    let (high, low) = halves.split_at(4);
    let mut body = interface.to_le_bytes().to_vec();
    body.extend(high.iter().rev());
    body.extend(low.iter().rev());
    body.extend(captured.to_le_bytes());
    body.extend(row.length.max(captured).to_le_bytes());
    padded(&mut body, &row.bytes);
    option(&mut body, COMMENT, comment(row).as_bytes());
    body.extend([0; 4]);
    block(PACKET, &body)
}

/// What a capture has no field for.
fn comment(row: &DropLogEntry) -> String {
    let vrf = row.vrf.map_or(String::new(), |vrf| format!(", vrf {vrf}"));
    let next_hop = row.next_hop.map_or(String::new(), |id| format!(", nh {id}"));
    format!(
        "dropped by core {}: {} ({}){vrf}{next_hop}, generation {}",
        row.core.0,
        row.reason.label(),
        row.reason.name(),
        row.generation
    )
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    padded(body, value);
}

/// Bytes up to the next word.
fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}
