//! The last packets a worker dropped: a ring that the worker writes and the control thread reads (reference cli.md
//! section 8.3).
//!
//! # Thread-safety
//! A slot is a seqlock of plain words. Its one writer makes the slot's sequence odd, writes the words, and makes it even
//! again, with the number of the packet in it; a reader that finds the sequence odd, or another behind its copy, leaves
//! the slot out: it has just been taken by a newer packet. Nobody waits for anybody. The rule of what is written is one
//! word that the control thread stores and the worker loads.

mod summary;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use tables::{DropReason, Generation, NhId, VifId, VrfId};

use crate::worker::Tick;

pub use summary::DropSummary;

/// Packets one worker's log holds.
pub const LOGGED_DROPS: usize = 200;
/// Bytes of a packet that are kept at most.
const KEPT: usize = 104;
const DATA_WORDS: usize = KEPT / size_of::<u64>();
/// Time, generation, where and why, next hop and lengths.
const FACTS: usize = 4;
const WORDS: usize = FACTS + DATA_WORDS;

/// What is written into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// For this reason only; `None` for all.
    pub reason: Option<DropReason>,
    /// Whether the packets' first bytes are kept.
    pub bytes: bool,
}

impl LogRule {
    /// Everything, with bytes.
    pub const ALL: LogRule = LogRule { reason: None, bytes: true };

    const ON: u32 = 1 << 16;
    const BYTES: u32 = 1 << 17;
    const ONE_REASON: u32 = 1 << 18;

    /// As the word both threads share; `None` writes nothing.
    fn pack(rule: Option<LogRule>) -> u32 {
        let Some(rule) = rule else { return 0 };
        let bytes = if rule.bytes { LogRule::BYTES } else { 0 };
        let reason = rule.reason.map_or(0, |reason| LogRule::ONE_REASON | reason as u32);
        LogRule::ON | bytes | reason
    }
}

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedDrop {
    /// Its number among all the worker has logged.
    pub number: u64,
    /// When: the turn's time.
    pub at: Tick,
    /// Of the tables it was forwarded by.
    pub generation: Generation,
    /// Why.
    pub reason: DropReason,
    /// Where it came in.
    pub vif: VifId,
    /// Where it was routed.
    pub vrf: VrfId,
    /// The next hop it met; 0 for none.
    pub next_hop: NhId,
    /// Its bytes in all.
    pub length: u16,
    /// The first of them: as they came in, as far as nothing was written over them.
    pub bytes: Vec<u8>,
}

/// What the drop node knows of a packet beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drop {
    pub(crate) at: Tick,
    pub(crate) generation: Generation,
    pub(crate) reason: DropReason,
    pub(crate) vif: VifId,
    pub(crate) vrf: VrfId,
    pub(crate) next_hop: NhId,
}

#[derive(Debug)]
struct Slot {
    /// Twice the number of the packet in it, and two; one less while it is written; 0 before the first.
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DropLog {
    slots: Box<[Slot]>,
    /// How many packets were logged since the start.
    written: AtomicU64,
    rule: AtomicU32,
}

impl DropLog {
    pub(crate) fn new() -> DropLog {
        let slot = || Slot {
            sequence: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        DropLog {
            slots: (0..LOGGED_DROPS).map(|_| slot()).collect(),
            written: AtomicU64::new(0),
            rule: AtomicU32::new(LogRule::pack(Some(LogRule::ALL))),
        }
    }

    /// What is written from now on; `None` is nothing.
    pub(crate) fn set_rule(&self, rule: Option<LogRule>) {
        self.rule.store(LogRule::pack(rule), Ordering::Relaxed);
    }

    /// Writes a packet, if the rule says so. For the ring's one writer.
    pub(crate) fn write(&self, drop: Drop, packet: &[u8]) {
        let rule = self.rule.load(Ordering::Relaxed);
        let other = rule & LogRule::ONE_REASON != 0 && rule & 0xff != drop.reason as u32;
        if rule & LogRule::ON == 0 || other {
            return;
        }
        let kept = if rule & LogRule::BYTES == 0 { &[] } else { packet };
        let kept = kept.get(..KEPT).unwrap_or(kept);
        let number = self.written.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(place(number)) else { return };
        slot.sequence.store(number.wrapping_mul(2).wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        let ids = u64::from(drop.vif.0) << 32 | u64::from(drop.vrf.0) << 16;
        let facts = [
            drop.at.0,
            drop.generation.0,
            ids | u64::from(drop.reason as u8),
            u64::from(drop.next_hop.0) << 32 | u64::from(length) << 16 | kept.len() as u64,
        ];
        let (front, data) = slot.words.split_at(FACTS);
        for (place, word) in front.iter().zip(facts) {
            place.store(word, Ordering::Relaxed);
        }
        let (whole, rest) = kept.as_chunks();
        for (place, chunk) in data.iter().zip(whole) {
            place.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        if let Some(place) = data.get(whole.len()) {
            let mut last = [0; size_of::<u64>()];
            last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            place.store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
        slot.sequence.store(number.wrapping_mul(2).wrapping_add(2), Ordering::Release);
        self.written.store(number.wrapping_add(1), Ordering::Release);
    }

    /// How many packets were logged since the start.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The packets that are still there, from this number on, oldest first.
    pub(crate) fn read(&self, from: u64) -> Vec<LoggedDrop> {
        let written = self.written();
        let oldest = written.saturating_sub(LOGGED_DROPS as u64).max(from);
        (oldest..written).filter_map(|number| self.read_one(number)).collect()
    }

    fn read_one(&self, number: u64) -> Option<LoggedDrop> {
        let slot = self.slots.get(place(number))?;
        let whole = number.wrapping_mul(2).wrapping_add(2);
        if slot.sequence.load(Ordering::Acquire) != whole {
            return None;
        }
        let words: [u64; WORDS] = std::array::from_fn(|place| {
            slot.words.get(place).map_or(0, |word| word.load(Ordering::Relaxed))
        });
        fence(Ordering::Acquire);
        if slot.sequence.load(Ordering::Relaxed) != whole {
            return None;
        }
        let [at, generation, ids, rest, ref data @ ..] = words;
        let reason =
            DropReason::ALL.iter().find(|reason| u64::from(**reason as u8) == ids & 0xff)?;
        let bytes = data.iter().flat_map(|word| word.to_ne_bytes());
        Some(LoggedDrop {
            number,
            at: Tick(at),
            generation: Generation(generation),
            reason: *reason,
            vif: VifId(part(ids, 32)),
            vrf: VrfId(part(ids, 16)),
            next_hop: NhId(u32::try_from(rest >> 32).unwrap_or(0)),
            length: part(rest, 16),
            bytes: bytes.take(usize::from(part(rest, 0))).collect(),
        })
    }
}

/// Sixteen bits of a word.
fn part(word: u64, shift: u32) -> u16 {
    u16::try_from(word >> shift & 0xffff).unwrap_or(0)
}

fn place(number: u64) -> usize {
    usize::try_from(number % LOGGED_DROPS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn drop(number: u64) -> Drop {
        Drop {
            at: Tick(number),
            generation: Generation(number),
            reason: if number.is_multiple_of(2) {
                DropReason::Discard
            } else {
                DropReason::InvalidNh
            },
            vif: VifId(u16::try_from(number % 4000).unwrap()),
            vrf: VrfId(7),
            next_hop: NhId(u32::try_from(number % 1000).unwrap()),
        }
    }

    #[test]
    fn the_last_packets_are_kept_with_their_first_bytes() {
        let log = DropLog::new();
        assert!(log.read(0).is_empty());
        let packet: Vec<u8> = (0..=255).collect();
        for number in 0..250 {
            log.write(drop(number), &packet[..usize::from(number.to_le_bytes()[0])]);
        }
        let kept = log.read(0);
        assert_eq!((kept.len(), kept[0].number, kept[199].number), (200, 50, 249));
        let last = &kept[199];
        assert_eq!(
            (last.reason, last.vif, last.vrf),
            (DropReason::InvalidNh, VifId(249), VrfId(7))
        );
        assert_eq!((last.next_hop, last.length, last.at), (NhId(249), 249, Tick(249)));
        assert_eq!(last.bytes, packet[..KEPT]);
        assert_eq!(kept[6].bytes.len(), 56, "a short packet is kept whole");
        assert_eq!(log.read(240).len(), 10);
    }

    #[test]
    fn the_rule_says_what_is_written() {
        let log = DropLog::new();
        log.set_rule(Some(LogRule { reason: Some(DropReason::Discard), bytes: false }));
        (0..10).for_each(|number| log.write(drop(number), &[1, 2, 3]));
        let kept = log.read(0);
        assert_eq!(kept.len(), 5);
        assert!(kept.iter().all(|it| it.reason == DropReason::Discard && it.bytes.is_empty()));
        assert_eq!(kept[0].length, 3, "its length is no secret");
        log.set_rule(None);
        log.write(drop(0), &[]);
        assert_eq!(log.written(), 5);
    }

    #[test]
    fn a_reader_never_sees_half_a_packet() {
        let log = Arc::new(DropLog::new());
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (writer, stopped) = (Arc::clone(&log), Arc::clone(&stop));
        #[allow(clippy::disallowed_methods, reason = "the other thread of this test")]
        let thread = std::thread::spawn(move || {
            for number in (0..u64::MAX).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                writer.write(drop(number), &[number.to_le_bytes()[0]; KEPT]);
            }
        });
        let mut seen = 0;
        while seen < 20_000 {
            for entry in log.read(0) {
                assert_eq!((entry.at.0, entry.generation.0), (entry.number, entry.number));
                let byte = entry.number.to_le_bytes()[0];
                assert!(entry.bytes.iter().all(|it| *it == byte), "{entry:?}");
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        assert_eq!(log.read(0).len(), LOGGED_DROPS);
    }
}
