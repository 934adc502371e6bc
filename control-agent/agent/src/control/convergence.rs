//! Since this start, has every configured peer told its routes? Until then the dataplane keeps what it has.
//!
//! A peer that knows graceful restart says so with End-of-RIB. Whether it has restarted itself (R) makes no
//! difference here: our own End-of-RIB never waits for anybody, so nobody waits in a circle. A peer without graceful
//! restart counts once it has been up and silent for a while. A deadline bounds it all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use proto::Time;
use proto::bgp::{Family, Negotiated};

/// How long a peer without End-of-RIB has to be silent.
const SILENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// No session yet.
    Away,
    /// These families lack their End-of-RIB.
    Telling(BTreeSet<Family>),
    /// Counts as told when this has come.
    SilentUntil(Time),
}

#[derive(Debug)]
pub(super) struct Convergence {
    waiting: BTreeMap<IpAddr, Progress>,
    deadline: Time,
    reached: bool,
}

impl Convergence {
    pub(super) fn new(peers: impl Iterator<Item = IpAddr>, deadline: Time) -> Convergence {
        let waiting = peers.map(|peer| (peer, Progress::Away)).collect();
        Convergence { waiting, deadline, reached: false }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.reached
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let silences = self.waiting.values().filter_map(|progress| match progress {
            Progress::SilentUntil(time) => Some(*time),
            Progress::Away | Progress::Telling(_) => None,
        });
        (!self.reached).then(|| silences.chain([self.deadline]).min()).flatten()
    }

    pub(super) fn up(&mut self, peer: IpAddr, negotiated: &Negotiated, now: Time) {
        let Some(progress) = self.waiting.get_mut(&peer) else { return };
        let offered = negotiated.peer.graceful_restart.iter().flat_map(|gr| &gr.families);
        let telling: BTreeSet<Family> = offered
            .map(|(family, _)| *family)
            .filter(|family| negotiated.families.contains(family))
            .collect();
        *progress = if telling.is_empty() {
            Progress::SilentUntil(now + SILENCE)
        } else {
            Progress::Telling(telling)
        };
    }

    pub(super) fn down(&mut self, peer: IpAddr) {
        if let Some(progress) = self.waiting.get_mut(&peer) {
            *progress = Progress::Away;
        }
    }

    /// An UPDATE came, perhaps an End-of-RIB.
    pub(super) fn heard(&mut self, peer: IpAddr, end_of_rib: Option<Family>, now: Time) {
        match self.waiting.get_mut(&peer) {
            Some(Progress::SilentUntil(time)) => *time = now + SILENCE,
            Some(Progress::Telling(families)) => {
                if let Some(family) = end_of_rib {
                    families.remove(&family);
                }
                if families.is_empty() {
                    self.waiting.remove(&peer);
                }
            }
            Some(Progress::Away) | None => {}
        }
    }

    pub(super) fn forget(&mut self, peer: IpAddr) {
        self.waiting.remove(&peer);
    }

    /// Whether it is reached just now.
    pub(super) fn check(&mut self, now: Time) -> bool {
        if self.reached {
            return false;
        }
        self.waiting.retain(|_, progress| match progress {
            Progress::SilentUntil(time) => now < *time,
            Progress::Away | Progress::Telling(_) => true,
        });
        self.reached = self.waiting.is_empty() || now >= self.deadline;
        self.reached
    }
}
