//! Best path (RFC 4271 section 9.1.2.2), pure.
//!
//! Of the paths to one prefix, station or flooding router of one network, in this order:
//!
//! 0. for stations the latest: one that does not move, then the highest MAC mobility sequence (RFC 7432 section 15);
//! 1. highest LOCAL_PREF (100 when absent);
//! 2. shortest AS path;
//! 3. lowest ORIGIN;
//! 4. lowest MED (0 when absent), compared between all paths, so that the result does not depend on their order;
//! 5. learnt from another AS before learnt from our own;
//! 6. the encapsulation that stands first in our list.
//!
//! What is equal up to here shares the traffic: one member for each different hop. Two reflectors telling the same
//! path make one member. A station is at one place: of equal hops to it the lowest counts. Stale paths (their peer is restarting) count like others: that is what keeps traffic going.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proto::bgp::Destination;

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

impl Candidate<'_> {
    fn is_station(&self) -> bool {
        matches!(self.path.announcement.key.destination, Destination::Station { .. })
    }

    /// Whether equal paths are used side by side: packets of a flow find their member, frames do not.
    fn shares_traffic(&self) -> bool {
        matches!(self.path.announcement.key.destination, Destination::Prefix(_))
    }
}

/// The hops to use, ascending; none only for no candidates.
pub(crate) fn select(candidates: &[Candidate<'_>]) -> BTreeSet<Hop> {
    let preference = |candidate: &Candidate<'_>| {
        let attributes = candidate.path.attributes();
        let mobility = attributes.mobility.unwrap_or_default();
        (
            Reverse(candidate.is_station().then_some(mobility)),
            Reverse(attributes.local_preference.unwrap_or(100)),
            attributes.as_path_length(),
            attributes.origin,
            attributes.med.unwrap_or(0),
            Reverse(candidate.path.relation),
            candidate.rank,
        )
    };
    let Some(best) = candidates.iter().map(preference).min() else { return BTreeSet::new() };
    let equals = candidates.iter().filter(|c| preference(c) == best);
    let hops: BTreeSet<Hop> = equals.clone().map(|candidate| candidate.hop).collect();
    match equals.clone().any(Candidate::shares_traffic) {
        true => hops,
        false => hops.into_iter().take(1).collect(),
    }
}
