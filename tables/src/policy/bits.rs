//! Sets of rules. A rule set has at most 16384 rules: 256 words, of which a summary says which are not zero; only those
//! are kept.

use crate::limits;

/// Words of the largest rule set.
pub(super) const WORDS: usize = limits::RULES / 64;
const SUMMARY: usize = WORDS / 64;

/// A set of rules, by their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bits {
    summary: [u64; SUMMARY],
    words: Box<[u64]>,
}

impl Bits {
    /// The set whose words these are.
    pub(super) fn new(all: &[u64; WORDS]) -> Bits {
        let mut summary = [0; SUMMARY];
        let used = all.iter().enumerate().filter(|(_, word)| **word != 0);
        for (at, _) in used {
            if let Some(part) = summary.get_mut(at / 64) {
                *part |= 1 << (at % 64);
            }
        }
        Bits { summary, words: all.iter().copied().filter(|word| *word != 0).collect() }
    }

    /// The set of these.
    pub(super) fn of(rules: impl IntoIterator<Item = usize>) -> Bits {
        let mut all = [0; WORDS];
        rules.into_iter().for_each(|rule| insert(&mut all, rule));
        Bits::new(&all)
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        let (part, bit) = (at / 64, at % 64);
        let Some(summary) = self.summary.get(part) else { return 0 };
        if summary >> bit & 1 == 0 {
            return 0;
        }
        let before: u32 = self.summary.iter().take(part).map(|part| part.count_ones()).sum();
        let rank = before + (summary & ((1 << bit) - 1)).count_ones();
        self.words.get(rank as usize).copied().unwrap_or(0)
    }

    /// Bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Bits>() + size_of_val(&*self.words)
    }
}

/// Puts a rule into the words of a set.
pub(super) fn insert(all: &mut [u64; WORDS], rule: usize) {
    if let Some(word) = all.get_mut(rule / 64) {
        *word |= 1 << (rule % 64);
    }
}

/// Takes it out.
pub(super) fn remove(all: &mut [u64; WORDS], rule: usize) {
    if let Some(word) = all.get_mut(rule / 64) {
        *word &= !(1 << (rule % 64));
    }
}

/// Rules that are in some of these sets.
pub(super) struct AnyOf<'s> {
    sets: arrayvec::ArrayVec<&'s Bits, { AnyOf::MOST }>,
}

impl<'s> AnyOf<'s> {
    /// Of so many at most.
    const MOST: usize = 32;

    pub(super) fn new() -> AnyOf<'s> {
        AnyOf { sets: arrayvec::ArrayVec::new() }
    }

    /// One more; `false` when there are too many.
    pub(super) fn add(&mut self, set: &'s Bits) -> bool {
        set.words.is_empty() || self.sets.try_push(set).is_ok()
    }

    fn summary(&self, part: usize) -> u64 {
        self.sets.iter().fold(0, |all, set| all | set.summary.get(part).copied().unwrap_or(0))
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.sets.iter().fold(0, |all, set| all | set.word(at))
    }
}

/// The first rule that is in all.
pub(super) fn first_in_all(all: &[AnyOf<'_>]) -> Option<usize> {
    for part in 0..SUMMARY {
        let mut candidates = all.iter().fold(u64::MAX, |both, any| both & any.summary(part));
        while candidates != 0 {
            let at = part * 64 + candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            let mut word = u64::MAX;
            for any in all {
                word &= any.word(at);
                if word == 0 {
                    break;
                }
            }
            if word != 0 {
                return Some(at * 64 + word.trailing_zeros() as usize);
            }
        }
    }
    None
}
