//! Storms: how much of what is copied, flooded or punted one interface may cause (design decision 13).
//!
//! A token bucket for each interface and [`Storm`], in the worker that receives from the interface; and one for each VRF,
//! for what tunnels bring for the agent: an uplink carries all tenants of all nodes, and the underlay's own. A bucket is one
//! word: the time at which it would be full again. A packet moves it on by the price of a token, and is one too many
//! when that lies further ahead than a full bucket's worth. So there is nothing to refill, an interface never heard of
//! costs no memory (the words are zero), and time is read once a turn.

use tables::{VifId, VrfId, limits};

use crate::worker::Tick;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Storm {
    /// Frames to groups, but for ARP and neighbour discovery.
    Broadcast,
    /// Frames to stations nobody knows.
    UnknownUnicast,
    /// ARP, and neighbour discovery to groups.
    Arp,
    /// Packets for the agent.
    Punt,
    /// ICMP errors about packets of its workload.
    Icmp,
    /// Stations told of.
    Learn,
}

const KINDS: usize = Storm::Learn as usize + 1;

/// How fast an interface may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets a second in the long run; 0: as many as there are.
    pub per_second: u32,
    /// Packets at once after a silence.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Rate = Rate { per_second: 0, burst: 0 };

    /// So many packets a second, and a fifth of a second's worth at once.
    pub const fn per_second(per_second: u32) -> Rate {
        let fifth = per_second / 5;
        Rate { per_second, burst: if fifth == 0 { 1 } else { fifth } }
    }
}

/// The rates of every interface. [`StormLimits::default`] is what no honest workload reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormLimits {
    /// Broadcast and multicast frames.
    pub broadcast: Rate,
    /// Frames to stations nobody knows.
    pub unknown_unicast: Rate,
    /// ARP and neighbour discovery.
    pub arp: Rate,
    /// Packets for the agent.
    pub punt: Rate,
    /// ICMP errors.
    pub icmp: Rate,
    /// Stations told of, where they are learnt.
    pub learn: Rate,
}

impl Default for StormLimits {
    fn default() -> StormLimits {
        StormLimits {
            broadcast: Rate::per_second(10_000),
            unknown_unicast: Rate::per_second(10_000),
            arp: Rate::per_second(1_000),
            punt: Rate::per_second(1_000),
            icmp: Rate::per_second(100),
            learn: Rate::per_second(1_000),
        }
    }
}

/// A rate in nanoseconds: the price of a packet, and how far ahead a bucket may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Price {
    packet: u64,
    ahead: u64,
}

impl Price {
    pub(crate) fn of(rate: Rate) -> Price {
        const SECOND: u64 = 1_000_000_000;
        let packet = SECOND.checked_div(u64::from(rate.per_second)).unwrap_or(0);
        Price { packet, ahead: packet.saturating_mul(u64::from(rate.burst.max(1))) }
    }
}

/// The buckets of one worker.
#[derive(Debug)]
pub(crate) struct Storms {
    prices: [Price; KINDS],
    /// When each bucket is full again, in ticks.
    full_at: Box<[[u64; KINDS]]>,
    /// The same of what tunnels bring for the agent, by VRF.
    punts: Box<[u64]>,
}

impl Storms {
    /// All buckets full.
    pub(crate) fn new(limits: StormLimits) -> Storms {
        let StormLimits { broadcast, unknown_unicast, arp, punt, icmp, learn } = limits;
        Storms {
            prices: [broadcast, unknown_unicast, arp, punt, icmp, learn].map(Price::of),
            full_at: std::iter::repeat_n([0; KINDS], limits::VIFS).collect(),
            punts: std::iter::repeat_n(0, limits::VRFS).collect(),
        }
    }

    /// Takes a token of the interface's bucket; `false` when there is none.
    pub(crate) fn admit(&mut self, vif: VifId, storm: Storm, now: Tick) -> bool {
        let kind = storm as usize;
        let Some(price) = self.prices.get(kind) else { return true };
        let full_at = self.full_at.get_mut(vif.index()).and_then(|row| row.get_mut(kind));
        full_at.is_none_or(|full_at| price.charge(full_at, now))
    }

    /// The same for a packet that a tunnel brought into a VRF, and that is for the agent.
    pub(crate) fn admit_punt(&mut self, vrf: VrfId, now: Tick) -> bool {
        let Some(price) = self.prices.get(Storm::Punt as usize) else { return true };
        let full_at = self.punts.get_mut(vrf.index());
        full_at.is_none_or(|full_at| price.charge(full_at, now))
    }
}

impl Price {
    /// Takes a token; `false` when there is none. A price of nothing is always paid.
    pub(crate) fn charge(&self, full_at: &mut u64, now: Tick) -> bool {
        if self.packet == 0 {
            return true;
        }
        let next = (*full_at).max(now.0).saturating_add(self.packet);
        let admitted = next - now.0 <= self.ahead;
        if admitted {
            *full_at = next;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIF: VifId = VifId(3);
    const MILLISECOND: u64 = 1_000_000;

    fn admitted(storms: &mut Storms, vif: VifId, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| storms.admit(vif, Storm::Arp, Tick(now))).count()
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut storms = Storms::new(StormLimits::default());
        assert_eq!(admitted(&mut storms, VIF, 0, 1000), 200);
        assert_eq!(admitted(&mut storms, VIF, MILLISECOND, 10), 1);
        assert_eq!(admitted(&mut storms, VIF, 11 * MILLISECOND, 100), 10);
        // After a silence there is a burst again, and no more than one.
        assert_eq!(admitted(&mut storms, VIF, 3_600_000 * MILLISECOND, 1000), 200);
    }

    #[test]
    fn buckets_of_interfaces_and_kinds_are_apart() {
        let mut storms = Storms::new(StormLimits::default());
        assert_eq!(admitted(&mut storms, VIF, 0, 1000), 200);
        assert!(!storms.admit(VIF, Storm::Arp, Tick(0)));
        assert!(storms.admit(VIF, Storm::Punt, Tick(0)));
        assert_eq!(admitted(&mut storms, VifId(4), 0, 1000), 200);
    }

    #[test]
    fn a_rate_of_zero_limits_nothing_and_a_small_one_lets_single_packets_through() {
        let limits = StormLimits { arp: Rate::UNLIMITED, ..StormLimits::default() };
        let mut storms = Storms::new(limits);
        assert_eq!(admitted(&mut storms, VIF, 0, 10_000), 10_000);
        let limits = StormLimits { arp: Rate::per_second(1), ..StormLimits::default() };
        let mut storms = Storms::new(limits);
        assert_eq!(admitted(&mut storms, VIF, 0, 10), 1);
        assert_eq!(admitted(&mut storms, VIF, 1000 * MILLISECOND, 10), 1);
    }
}
