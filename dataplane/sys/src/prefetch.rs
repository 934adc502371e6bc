//! Hints to load memory before it is read.

/// Asks for the cache line `value` starts in.
#[inline]
pub fn prefetch_read<T>(value: &T) {
    prefetch_address(std::ptr::from_ref(value).cast());
}

/// Asks for the line at `address`, which need not be valid: a hint never faults.
#[inline]
pub(crate) fn prefetch_address(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address, mapped or not, has no effect that can be observed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
