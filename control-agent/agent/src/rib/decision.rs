//! Best path (RFC 4271 section 9.1.2.2), pure.
//!
//! Of the paths to one prefix of one network, in this order:
//!
//! 1. highest LOCAL_PREF (100 when absent);
//! 2. shortest AS path;
//! 3. lowest ORIGIN;
//! 4. lowest MED (0 when absent), compared between all paths, so that the result does not depend on their order;
//! 5. learnt from another AS before learnt from our own;
//! 6. the encapsulation that stands first in our list.
//!
//! What is equal up to here shares the traffic: one member for each different hop. Two reflectors telling the same
//! path make one member. Stale paths (their peer is restarting) count like others: that is what keeps traffic going.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::Path;
use super::import::Hop;

/// A path that can be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) path: &'a Path,
    /// The place of its encapsulation in our list.
    pub(crate) rank: usize,
    pub(crate) hop: Hop,
}

/// The hops to use, ascending; none only for no candidates.
pub(crate) fn select(candidates: &[Candidate<'_>]) -> BTreeSet<Hop> {
    let preference = |candidate: &Candidate<'_>| {
        let attributes = candidate.path.attributes();
        (
            Reverse(attributes.local_preference.unwrap_or(100)),
            attributes.as_path_length(),
            attributes.origin,
            attributes.med.unwrap_or(0),
            Reverse(candidate.path.external),
            candidate.rank,
        )
    };
    let Some(best) = candidates.iter().map(preference).min() else { return BTreeSet::new() };
    candidates.iter().filter(|c| preference(c) == best).map(|candidate| candidate.hop).collect()
}
