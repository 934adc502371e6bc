//! The judgement of a session's first packet (reference control-plane.md section 4.3): the lists of both ends' networks,
//! then what their groups let out and in.

use std::net::IpAddr;

use crate::{Fib, FibVif, Identity, IdentityId, MirrorId, Rule, RuleId, RuleSetId, Verdict};

/// A session's first packet, as policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes; of the same family.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// 0 where there are none.
    pub source_port: u16,
    /// 0 where there are none.
    pub destination_port: u16,
    /// What the route to the source says it is.
    pub source_identity: Option<IdentityId>,
    /// What the route to the destination says it is.
    pub destination_identity: Option<IdentityId>,
}

/// A verdict and what it is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the session may be.
    pub verdict: Verdict,
    /// What the network's policy said: the rule that denied, or that let it pass last.
    pub network_rule: RuleId,
    /// What the groups said, likewise.
    pub group_rule: RuleId,
    /// Some rule that matched asks for a log.
    pub log: bool,
    /// Where the rules that matched send copies.
    pub mirrors: [Option<MirrorId>; 2],
    /// Why it is denied, if it is.
    pub reason: FlowDropReason,
}

/// Why a flow's packets are dropped, as tools show it (reference dataplane.md section 20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowDropReason {
    /// They are not, or nobody said.
    #[default]
    Unknown = 0,
    /// The policy of the network it comes from.
    Policy = 21,
    /// The policy of the network it goes to.
    OutPolicy = 22,
    /// The groups of where it comes from.
    Group = 23,
    /// The groups of where it goes.
    OutGroup = 24,
}

impl Judgement {
    /// Nobody has anything against it.
    const OPEN: Judgement = Judgement {
        verdict: Verdict::Pass,
        network_rule: RuleId::IMPLICIT_ALLOW,
        group_rule: RuleId::IMPLICIT_ALLOW,
        log: false,
        mirrors: [None; 2],
        reason: FlowDropReason::Unknown,
    };

    fn note(&mut self, rule: &Rule) {
        self.log |= rule.log;
        if let Some(mirror) = rule.mirror
            && !self.mirrors.contains(&Some(mirror))
            && let Some(free) = self.mirrors.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(mirror);
        }
    }

    fn deny(mut self, reason: FlowDropReason) -> Judgement {
        self.verdict = Verdict::Deny;
        self.reason = reason;
        self
    }
}

impl Fib {
    /// Judges a session: `from` and `to` are the local interfaces at its ends. An interface that names a rule set that is
    /// not there lets nothing pass by it.
    pub fn judge(
        &self,
        subject: &Subject,
        from: Option<&FibVif>,
        to: Option<&FibVif>,
    ) -> Judgement {
        let identity = |id: Option<IdentityId>| id.and_then(|id| self.identity_of(id));
        let identities =
            (identity(subject.source_identity), identity(subject.destination_identity));
        let asked = Asked { fib: self, subject, identities };
        let [from, to] = [from, to].map(|vif| vif.and_then(|vif| Some(&vif.flow.as_ref()?.policy)));
        let mut judgement = Judgement::OPEN;
        for (policy, reason) in [(from, FlowDropReason::Policy), (to, FlowDropReason::OutPolicy)] {
            let Some(policy) = policy.filter(|policy| !policy.network.is_empty()) else { continue };
            let rule = policy.network.iter().find_map(|id| asked.find(*id));
            judgement.network_rule = rule.map_or(RuleId::IMPLICIT_DENY, |rule| rule.id);
            rule.into_iter().for_each(|rule| judgement.note(rule));
            if rule.is_none_or(|rule| rule.verdict == Verdict::Deny) {
                return judgement.deny(reason);
            }
        }
        let egress = from.map(|policy| (policy, &policy.egress, FlowDropReason::Group));
        let ingress = to.map(|policy| (policy, &policy.ingress, FlowDropReason::OutGroup));
        for (policy, lists, reason) in [egress, ingress].into_iter().flatten() {
            if !policy.grouped {
                continue;
            }
            let rules = lists.iter().filter_map(|id| asked.find(*id));
            let passing = rules.into_iter().find(|rule| rule.verdict == Verdict::Pass);
            judgement.group_rule = passing.map_or(RuleId::IMPLICIT_DENY, |rule| rule.id);
            match passing {
                Some(rule) => judgement.note(rule),
                None => return judgement.deny(reason),
            }
        }
        judgement
    }
}

/// A subject, with what is known of its ends.
struct Asked<'a> {
    fib: &'a Fib,
    subject: &'a Subject,
    identities: (Option<&'a Identity>, Option<&'a Identity>),
}

impl<'a> Asked<'a> {
    fn find(&self, id: RuleSetId) -> Option<&'a Rule> {
        self.fib.rule_set(id)?.find(self.subject, self.identities)
    }
}
