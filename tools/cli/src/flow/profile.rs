//! `flow -p`: how fast an agent makes flows, and decides about them (reference cli.md section 7.1).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use api::{
    ApiError, Client, ClientError, FlowAction, FlowDecision, FlowEnds, FlowHandle, FlowVerdict,
    NewFlow, NhId, VrfId,
};

use crate::tool::{Failure, Session};

/// Flows that may be made.
pub(super) const MOST: u32 = 4_000_000;
/// Flows a message may have.
pub(super) const BATCH: std::ops::RangeInclusive<u32> = 1..=15;

type Answers = Vec<Result<FlowHandle, ApiError>>;

pub(super) fn run(session: &mut Session<'_>, flows: u32, batch: u32) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let start = Instant::now();
    let batch = usize::try_from(batch).unwrap_or(1).max(1);
    let all: Vec<u32> = (0..flows).collect();
    let (held, failed) = in_batches(&mut client, &all, batch, |client, numbers| {
        client.make_flows(numbers.iter().map(|number| held(*number)).collect())
    })?;
    let took = start.elapsed().as_millis();
    session.text(&format!("Created {} HOLD entries in {took} msec\n", held.len()))?;
    if let Some(error) = failed {
        return Err(ClientError::Refused(error).into());
    }
    let all: Vec<(u32, FlowHandle)> = all.into_iter().zip(held).collect();
    let (forwarded, failed) = in_batches(&mut client, &all, batch, |client, flows| {
        client
            .decide_flows(flows.iter().map(|(number, handle)| forward(*number, *handle)).collect())
    })?;
    let took = start.elapsed().as_millis();
    let (held, forwarded) = (all.len(), forwarded.len());
    session.text(&format!("Created {held} HOLD and {forwarded} FWD entries in {took} msec\n"))?;
    match failed {
        Some(error) => Err(ClientError::Refused(error).into()),
        None => session.done(),
    }
}

/// Asks for some at a time. What came of them until one failed, and why that did.
fn in_batches<T>(
    client: &mut Client,
    all: &[T],
    batch: usize,
    ask: impl Fn(&mut Client, &[T]) -> Result<Answers, ClientError>,
) -> Result<(Vec<FlowHandle>, Option<ApiError>), Failure> {
    let mut done = Vec::with_capacity(all.len());
    for some in all.chunks(batch) {
        for answer in ask(client, some)? {
            match answer {
                Ok(handle) => done.push(handle),
                Err(error) => return Ok((done, Some(error))),
            }
        }
    }
    Ok((done, None))
}

/// Each another key, of addresses for benchmarks (RFC 2544) and of no interface's.
fn key(number: u32) -> FlowEnds {
    let source = Ipv4Addr::from_bits(0xc612_0000 + (number & 0x1_ffff));
    FlowEnds {
        source: IpAddr::V4(source),
        destination: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        source_port: 1024 + u16::try_from(number >> 17).unwrap_or(0),
        destination_port: 9,
        protocol: 17,
        key_next_hop: NhId(0),
    }
}

fn held(number: u32) -> NewFlow {
    NewFlow { key: key(number), vrf: VrfId(0), decision: FlowDecision::plain(FlowAction::Hold) }
}

fn forward(number: u32, handle: FlowHandle) -> FlowVerdict {
    FlowVerdict {
        index: handle.index,
        generation: handle.generation,
        key: key(number),
        decision: FlowDecision::plain(FlowAction::Forward),
    }
}
