//! IPFIX messages (RFC 7011): a template for each address family, and a record a session with both its directions (RFC 5103).

use std::net::IpAddr;

use tables::IdentityId;

/// Bytes of a message at most: what any path carries (RFC 7011 section 10.3.3).
pub(super) const MESSAGE: usize = 1400;

const VERSION: u16 = 10;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
const TEMPLATE_SET: u16 = 2;
/// Who observes: a node has one place.
const DOMAIN: u32 = 1;
/// Of the reverse direction's elements (RFC 5103 section 6.1).
const REVERSE: u32 = 29305;
const ENTERPRISE: u16 = 0x8000;

/// What happened to a session: `firewallEvent` (IANA element 233).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It began.
    Created = 1,
    /// It ended.
    Deleted = 2,
    /// It is denied.
    Denied = 3,
    /// It goes on.
    Update = 5,
}

/// Why a record was made: `flowEndReason` (136).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// Nothing was heard of it.
    Idle = 1,
    /// It is told of while it goes on.
    Active = 2,
    /// TCP has closed it.
    End = 3,
    /// Somebody ended it.
    Forced = 4,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// Addresses and ports of a direction; of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ports: (u16, u16),
}

/// A session, and what it did since its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Slot and the count of its uses.
    pub(super) id: u64,
    pub(super) ends: Ends,
    /// The same behind translation.
    pub(super) translated: Ends,
    pub(super) protocol: u8,
    pub(super) forward: Traffic,
    pub(super) reverse: Traffic,
    /// Milliseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) event: Event,
    pub(super) reason: EndReason,
    /// VRF of the first packet, and behind translation.
    pub(super) vrfs: (u16, u16),
    /// Where it came in, and where it goes; 0xffffffff: not a workload of this node.
    pub(super) vifs: (u32, u32),
    /// Rule of the network's policy, and of a group.
    pub(super) rules: (u128, u128),
    /// Why its packets are dropped, if they are: a code of reference cli.md section 7.5.
    pub(super) drop_reason: u8,
    /// What routes say of both ends.
    pub(super) identities: (Option<IdentityId>, Option<IdentityId>),
}

/// An element of a template: its number, its bytes, whose number it is if not IANA's.
type Element = (u16, u16, Option<u32>);

/// Makes messages of records.
pub(super) struct Encoder {
    /// Whose numbers the rules' elements have (1: network policy, 2: security group); without one they are left out.
    enterprise: Option<u32>,
    /// Records sent.
    sequence: u32,
    /// The data sets of the message being made, by family.
    sets: [Vec<u8>; 2],
    records: u32,
}

/// IPv4, IPv6.
const TEMPLATES: [u16; 2] = [256, 257];

impl Encoder {
    pub(super) fn new(enterprise: Option<u32>) -> Encoder {
        Encoder { enterprise, sequence: 0, sets: [Vec::new(), Vec::new()], records: 0 }
    }

    fn elements(&self, family: usize) -> Vec<Element> {
        let (address, source, destination, post_source, post_destination) =
            if family == 0 { (4, 8, 12, 225, 226) } else { (16, 27, 28, 281, 282) };
        let mut elements: Vec<Element> = vec![
            (148, 8, None),
            (source, address, None),
            (destination, address, None),
            (7, 2, None),
            (11, 2, None),
            (post_source, address, None),
            (post_destination, address, None),
            (227, 2, None),
            (228, 2, None),
            (4, 1, None),
            (2, 8, None),
            (1, 8, None),
            (2, 8, Some(REVERSE)),
            (1, 8, Some(REVERSE)),
            (152, 8, None),
            (153, 8, None),
            (233, 1, None),
            (136, 1, None),
            (234, 4, None),
            (235, 4, None),
            (10, 4, None),
            (14, 4, None),
        ];
        if let Some(enterprise) = self.enterprise {
            elements.extend([(1, 16, Some(enterprise)), (2, 16, Some(enterprise))]);
        }
        elements
    }

    /// A message that says what records look like; `now` in seconds since 1970.
    pub(super) fn templates(&self, now: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for (family, id) in TEMPLATES.into_iter().enumerate() {
            let elements = self.elements(family);
            body.extend(id.to_be_bytes());
            body.extend(length(elements.len()));
            for (number, bytes, enterprise) in elements {
                let bit = if enterprise.is_some() { ENTERPRISE } else { 0 };
                body.extend((number | bit).to_be_bytes());
                body.extend(bytes.to_be_bytes());
                body.extend(enterprise.into_iter().flat_map(u32::to_be_bytes));
            }
        }
        self.message(now, &[(TEMPLATE_SET, &body)])
    }

    /// Adds a record; gives a message when it would not fit into the one being made.
    pub(super) fn add(&mut self, record: &Record, now: u32) -> Option<Vec<u8>> {
        let family = usize::from(record.ends.source.is_ipv6());
        let bytes = self.record(record);
        let used: usize = self.sets.iter().map(Vec::len).sum();
        let full = HEADER + 2 * SET_HEADER + used + bytes.len() > MESSAGE;
        let message = if full { self.finish(now) } else { None };
        if let Some(set) = self.sets.get_mut(family) {
            set.extend(bytes);
            self.records += 1;
        }
        message
    }

    /// The message being made, if there is anything in it.
    pub(super) fn finish(&mut self, now: u32) -> Option<Vec<u8>> {
        if self.records == 0 {
            return None;
        }
        let sets: Vec<(u16, &[u8])> = TEMPLATES
            .into_iter()
            .zip(&self.sets)
            .filter(|(_, set)| !set.is_empty())
            .map(|(id, set)| (id, set.as_slice()))
            .collect();
        let message = self.message(now, &sets);
        self.sequence = self.sequence.wrapping_add(self.records);
        self.records = 0;
        self.sets.iter_mut().for_each(Vec::clear);
        Some(message)
    }

    fn message(&self, now: u32, sets: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = Vec::with_capacity(MESSAGE);
        let all: usize = sets.iter().map(|(_, set)| SET_HEADER + set.len()).sum();
        message.extend(VERSION.to_be_bytes());
        message.extend(length(HEADER + all));
        message.extend(now.to_be_bytes());
        message.extend(self.sequence.to_be_bytes());
        message.extend(DOMAIN.to_be_bytes());
        for (id, set) in sets {
            message.extend(id.to_be_bytes());
            message.extend(length(SET_HEADER + set.len()));
            message.extend(*set);
        }
        message
    }

    fn record(&self, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(record.id.to_be_bytes());
        for ends in [&record.ends, &record.translated] {
            address(&mut out, ends.source);
            address(&mut out, ends.destination);
            out.extend(ends.ports.0.to_be_bytes());
            out.extend(ends.ports.1.to_be_bytes());
        }
        out.push(record.protocol);
        for traffic in [record.forward, record.reverse] {
            out.extend(traffic.packets.to_be_bytes());
            out.extend(traffic.bytes.to_be_bytes());
        }
        out.extend(record.start.to_be_bytes());
        out.extend(record.end.to_be_bytes());
        out.extend([record.event as u8, record.reason as u8]);
        out.extend(u32::from(record.vrfs.0).to_be_bytes());
        out.extend(u32::from(record.vrfs.1).to_be_bytes());
        out.extend(record.vifs.0.to_be_bytes());
        out.extend(record.vifs.1.to_be_bytes());
        if self.enterprise.is_some() {
            out.extend(record.rules.0.to_be_bytes());
            out.extend(record.rules.1.to_be_bytes());
        }
        out
    }
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
}

/// Nothing here is longer than a message.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(source: &str, destination: &str) -> Record {
        let ends = Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ports: (40_000, 80),
        };
        Record {
            id: 7,
            ends,
            translated: ends,
            protocol: 6,
            forward: Traffic { packets: 3, bytes: 180 },
            reverse: Traffic { packets: 2, bytes: 120 },
            start: 1_000,
            end: 2_000,
            event: Event::Created,
            reason: EndReason::Active,
            vrfs: (2, 3),
            vifs: (4, u32::MAX),
            rules: (0xa, 0xb),
            drop_reason: 0,
            identities: (None, None),
        }
    }

    #[test]
    fn a_record_is_as_long_as_its_template_says() {
        for enterprise in [None, Some(32473)] {
            for (family, record) in
                [record("10.0.0.1", "10.0.0.2"), record("fd00::1", "fd00::2")].iter().enumerate()
            {
                let encoder = Encoder::new(enterprise);
                let said: usize =
                    encoder.elements(family).iter().map(|(_, bytes, _)| usize::from(*bytes)).sum();
                assert_eq!(encoder.record(record).len(), said);
            }
        }
    }

    #[test]
    fn messages_are_full_count_their_records_and_lose_none() {
        let mut encoder = Encoder::new(None);
        let mut messages = Vec::new();
        for at in 0..40 {
            let record = match at % 3 {
                0 => record("fd00::1", "fd00::2"),
                _ => record("10.0.0.1", "10.0.0.2"),
            };
            messages.extend(encoder.add(&record, 9));
        }
        messages.extend(encoder.finish(9));
        assert!(encoder.finish(9).is_none());
        let mut sequence = 0;
        for message in &messages {
            let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
            assert_eq!((message[..2].to_vec(), length), (vec![0, 10], message.len()));
            assert!(message.len() <= MESSAGE);
            assert_eq!(message[8..12], u32::to_be_bytes(sequence));
            let mut at = 16;
            while at < message.len() {
                let id = u16::from_be_bytes([message[at], message[at + 1]]);
                let set = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
                let one = if id == 256 { 99 } else { 147 };
                assert_eq!((set - 4) % one, 0);
                sequence += u32::try_from((set - 4) / one).unwrap();
                at += set;
            }
        }
        assert_eq!(sequence, 40);
    }
}
