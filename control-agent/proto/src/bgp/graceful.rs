//! Graceful restart, helper side (RFC 4724 section 4.2): which of a peer's routes are stale, and when they go.
//!
//! The restarting side has no state here. It sets R and F in its OPEN, and since its own routes depend on nobody
//! else's, it tells them with End-of-RIB as soon as a session is up. So two speakers that restarted together never
//! wait for each other; what waits, bounded by a timer, is only the sweep of the dataplane in the agent.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Time;

use super::family::Family;
use super::open::GracefulRestart;

/// How long a peer that has come back may take until End-of-RIB.
const STALE_PATH_TIME: Duration = Duration::from_secs(180);

/// What has to happen to a peer's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// All of the family are stale from now on.
    Stale(Family),
    /// Those of the family that are stale go.
    Sweep(Family),
    /// All of the family go.
    Flush(Family),
}

/// The helper's memory of one peer.
#[derive(Debug, Default)]
pub(crate) struct Helper {
    stale: BTreeSet<Family>,
    deadline: Option<Time>,
}

impl Helper {
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// The session is gone. `promise` is what the peer promised in its OPEN; `None` when the way the session ended
    /// ends that too.
    pub(crate) fn session_down(
        &mut self,
        families: &[Family],
        promise: Option<&GracefulRestart>,
        now: Time,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for family in families {
            // What is still stale from the restart before must not live through another one.
            if self.stale.remove(family) {
                effects.push(Effect::Sweep(*family));
            }
            let kept = promise.is_some_and(|gr| gr.families.iter().any(|(f, _)| f == family));
            if kept {
                self.stale.insert(*family);
                effects.push(Effect::Stale(*family));
            } else {
                effects.push(Effect::Flush(*family));
            }
        }
        self.deadline = promise
            .filter(|_| !self.stale.is_empty())
            .map(|gr| now + Duration::from_secs(u64::from(gr.time)));
        effects
    }

    /// The session is back. Families whose forwarding the peer did not keep lose their stale routes at once.
    pub(crate) fn session_up(&mut self, offer: Option<&GracefulRestart>, now: Time) -> Vec<Effect> {
        let kept = |family: &Family| {
            offer.is_some_and(|gr| {
                gr.families.iter().any(|(f, forwarding)| f == family && *forwarding)
            })
        };
        let lost: Vec<Family> = self.stale.iter().filter(|f| !kept(f)).copied().collect();
        self.stale.retain(kept);
        self.deadline = (!self.stale.is_empty()).then(|| now + STALE_PATH_TIME);
        lost.into_iter().map(Effect::Sweep).collect()
    }

    /// The peer has told everything of a family.
    pub(crate) fn end_of_rib(&mut self, family: Family) -> Option<Effect> {
        let was_stale = self.stale.remove(&family);
        if self.stale.is_empty() {
            self.deadline = None;
        }
        was_stale.then_some(Effect::Sweep(family))
    }

    /// The time has come.
    pub(crate) fn timer(&mut self, now: Time) -> Vec<Effect> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        self.deadline = None;
        std::mem::take(&mut self.stale).into_iter().map(Effect::Sweep).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(families: &[(Family, bool)]) -> GracefulRestart {
        GracefulRestart {
            restarting: false,
            notification: false,
            time: 120,
            families: families.to_vec(),
        }
    }

    const BOTH: [Family; 2] = [Family::Vpn4, Family::Evpn];

    #[test]
    fn stale_routes_go_at_end_of_rib_family_by_family() {
        let mut helper = Helper::default();
        let gr = promise(&[(Family::Vpn4, true), (Family::Evpn, true)]);
        let effects = helper.session_down(&BOTH, Some(&gr), Time(0));
        assert_eq!(effects, [Effect::Stale(Family::Vpn4), Effect::Stale(Family::Evpn)]);
        assert_eq!(helper.session_up(Some(&gr), Time(5_000)), []);
        assert_eq!(helper.end_of_rib(Family::Vpn4), Some(Effect::Sweep(Family::Vpn4)));
        assert_eq!(helper.end_of_rib(Family::Vpn4), None);
        assert_eq!(helper.deadline(), Some(Time(185_000)));
        assert_eq!(helper.end_of_rib(Family::Evpn), Some(Effect::Sweep(Family::Evpn)));
        assert_eq!(helper.deadline(), None);
    }

    #[test]
    fn a_peer_that_stays_away_loses_its_routes_after_the_restart_time() {
        let mut helper = Helper::default();
        let gr = promise(&[(Family::Vpn4, true)]);
        let effects = helper.session_down(&BOTH, Some(&gr), Time(1_000));
        assert_eq!(effects, [Effect::Stale(Family::Vpn4), Effect::Flush(Family::Evpn)]);
        assert_eq!(helper.timer(Time(120_999)), []);
        assert_eq!(helper.timer(Time(121_000)), [Effect::Sweep(Family::Vpn4)]);
        assert_eq!(helper.deadline(), None);
    }

    #[test]
    fn a_peer_back_without_the_capability_or_the_f_bit_is_swept_at_once() {
        let gr = promise(&[(Family::Vpn4, true), (Family::Evpn, true)]);
        let mut helper = Helper::default();
        helper.session_down(&BOTH, Some(&gr), Time(0));
        let lost = promise(&[(Family::Vpn4, true), (Family::Evpn, false)]);
        assert_eq!(helper.session_up(Some(&lost), Time(1)), [Effect::Sweep(Family::Evpn)]);
        assert_eq!(helper.end_of_rib(Family::Vpn4), Some(Effect::Sweep(Family::Vpn4)));
        helper.session_down(&BOTH, Some(&gr), Time(2));
        let swept = helper.session_up(None, Time(3));
        assert_eq!(swept, [Effect::Sweep(Family::Vpn4), Effect::Sweep(Family::Evpn)]);
    }

    #[test]
    fn a_second_restart_before_end_of_rib_drops_what_the_first_left() {
        let gr = promise(&[(Family::Vpn4, true)]);
        let mut helper = Helper::default();
        helper.session_down(&[Family::Vpn4], Some(&gr), Time(0));
        helper.session_up(Some(&gr), Time(1));
        let effects = helper.session_down(&[Family::Vpn4], Some(&gr), Time(2));
        assert_eq!(effects, [Effect::Sweep(Family::Vpn4), Effect::Stale(Family::Vpn4)]);
        assert_eq!(
            helper.session_down(&[Family::Vpn4], None, Time(3)),
            [Effect::Sweep(Family::Vpn4), Effect::Flush(Family::Vpn4)]
        );
        assert_eq!(helper.deadline(), None);
    }
}
