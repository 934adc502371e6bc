//! Counts of changes, by what they may matter to. What was judged or looked up keeps the sum of the counts it depends on,
//! and is old once the sum is another; nothing has to be found and told.
//!
//! Counts are publications and only grow, so a sum of some is the same only while all are.

use std::sync::Arc;

use wire::{Address, Prefix};

const BUCKETS: usize = 4096;

/// Changes of a VRF's routes: by the first bits of the prefix, in one of many buckets, and of shorter prefixes for all.
#[derive(Clone, Debug)]
pub(crate) struct RouteStamps {
    all: u32,
    buckets: Arc<[u32; BUCKETS]>,
}

impl Default for RouteStamps {
    fn default() -> RouteStamps {
        RouteStamps { all: 0, buckets: Arc::new([0; BUCKETS]) }
    }
}

impl RouteStamps {
    /// A route has changed by publication `now`.
    pub(crate) fn touch<A: Stamped>(&mut self, prefix: &Prefix<A>, now: u32) {
        if prefix.length() < A::FIRST {
            self.all = now;
        } else if let Some(bucket) =
            Arc::make_mut(&mut self.buckets).get_mut(prefix.address().bucket())
        {
            *bucket = now;
        }
    }

    /// The sum of what may matter to an address.
    #[inline]
    pub(crate) fn of<A: Stamped>(&self, address: A) -> u32 {
        self.all.wrapping_add(self.buckets.get(address.bucket()).copied().unwrap_or(0))
    }
}

/// An address whose first bits choose a bucket.
pub trait Stamped: Address {
    /// How many bits.
    const FIRST: u8;

    /// The bucket.
    fn bucket(self) -> usize;
}

/// Spreads neighbours over the buckets.
#[inline]
const fn spread(bits: u64) -> usize {
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
}

const _: () = assert!(BUCKETS == 1 << (64 - 52));

impl Stamped for std::net::Ipv4Addr {
    const FIRST: u8 = 20;

    #[inline]
    fn bucket(self) -> usize {
        spread(u64::from(self.to_bits() >> 12))
    }
}

impl Stamped for std::net::Ipv6Addr {
    const FIRST: u8 = 56;

    #[inline]
    fn bucket(self) -> usize {
        spread((self.to_bits() >> 72) as u64)
    }
}

/// Changes of what interfaces are judged by.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyStamps {
    /// Of identities: they matter to all.
    pub(crate) all: u32,
    vifs: Arc<Vec<u32>>,
}

impl PolicyStamps {
    pub(crate) fn touch(&mut self, vif: usize, now: u32) {
        let vifs = Arc::make_mut(&mut self.vifs);
        if vifs.len() <= vif {
            vifs.resize(vif + 1, 0);
        }
        if let Some(stamp) = vifs.get_mut(vif) {
            *stamp = now;
        }
    }

    #[inline]
    pub(crate) fn of(&self, vif: usize) -> u32 {
        self.all.wrapping_add(self.vifs.get(vif).copied().unwrap_or(0))
    }
}
