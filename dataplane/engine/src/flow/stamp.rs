//! What a flow was judged by. The tables count the changes that may matter to an address or an interface; a flow keeps
//! the sum over its own, and is looked at again when the sum is another: nothing is touched for it when tables change.
//!
//! The counts only grow, so a sum is the same only while all of them are.

use std::net::IpAddr;

use tables::flow::{Flow, FlowKey};
use tables::{Fib, IdentityId, RouteHit, VifId, VrfId};

/// What the ends of a session are to policy.
pub(crate) type Identities = (Option<IdentityId>, Option<IdentityId>);

/// Both parts of the stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Of the routes to both ends.
    pub(crate) routes: u32,
    /// Of the policy of both local ends.
    pub(crate) policy: u32,
}

impl Stamp {
    /// The sum that flows keep.
    #[inline]
    pub(crate) fn sum(self) -> u32 {
        self.routes.wrapping_add(self.policy)
    }

    /// What the tables say now of the ends of a session, each in its VRF, and of its local interfaces.
    pub(crate) fn of(
        fib: &Fib,
        first: (VrfId, IpAddr),
        last: (VrfId, IpAddr),
        ends: (Option<VifId>, Option<VifId>),
    ) -> Stamp {
        let of = |(vrf, address): (VrfId, IpAddr)| match address {
            IpAddr::V4(address) => fib.route_stamp(vrf, address),
            IpAddr::V6(address) => fib.route_stamp(vrf, address),
        };
        Stamp { routes: of(first).wrapping_add(of(last)), policy: policy(fib, ends) }
    }

    /// What a flow keeps.
    pub(crate) fn kept(flow: Flow<'_>) -> Stamp {
        let (routes, policy) = flow.detail();
        Stamp { routes, policy }
    }

    /// Keeps it in a flow whose packets come from `origin`.
    pub(crate) fn keep(self, flow: Flow<'_>, origin: u32) {
        flow.set_detail(self.routes, self.policy);
        flow.set_stamp(self.sum(), origin);
    }
}

#[inline]
pub(crate) fn policy(fib: &Fib, (from, to): (Option<VifId>, Option<VifId>)) -> u32 {
    let of = |vif: Option<VifId>| vif.map_or(0, |vif| fib.policy_stamp(vif));
    of(from).wrapping_add(of(to))
}

/// The route to an address of either family.
pub(crate) fn route(fib: &Fib, vrf: VrfId, address: IpAddr) -> RouteHit {
    match address {
        IpAddr::V4(address) => fib.route(vrf, address),
        IpAddr::V6(address) => fib.route(vrf, address),
    }
}

/// What whoever has an address is to policy.
pub(crate) fn identity(fib: &Fib, vrf: VrfId, address: IpAddr) -> Option<IdentityId> {
    match address {
        IpAddr::V4(address) => fib.identity(vrf, address),
        IpAddr::V6(address) => fib.identity(vrf, address),
    }
}

/// The ends of a session: where its first packet came from, and where it went behind translation, each in its VRF. Told by
/// its keys: of the first packet, and of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) first: (VrfId, IpAddr),
    pub(crate) last: (VrfId, IpAddr),
}

impl Ends {
    pub(crate) fn of(vrfs: (VrfId, VrfId), forward: &FlowKey, reverse: &FlowKey) -> Ends {
        Ends {
            first: (vrfs.0, forward.addresses.source()),
            last: (vrfs.1, reverse.addresses.source()),
        }
    }

    /// Where packets of a direction go.
    pub(crate) fn destination(&self, is_forward: bool) -> (VrfId, IpAddr) {
        if is_forward { self.last } else { self.first }
    }

    /// Where they come from.
    pub(crate) fn source(&self, is_forward: bool) -> (VrfId, IpAddr) {
        self.destination(!is_forward)
    }

    /// What they are to policy.
    pub(crate) fn identities(&self, fib: &Fib) -> Identities {
        (identity(fib, self.first.0, self.first.1), identity(fib, self.last.0, self.last.1))
    }

    pub(crate) fn stamp(&self, fib: &Fib, vifs: (Option<VifId>, Option<VifId>)) -> Stamp {
        Stamp::of(fib, self.first, self.last, vifs)
    }
}
