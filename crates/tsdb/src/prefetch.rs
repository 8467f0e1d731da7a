//! A hint to the processor.

/// Has the processor fetch the cache line at an address that will be needed soon, without waiting for it.
///
/// With a million series, the slot and the end of the chunk that a sample goes to are in no cache; fetched some samples ahead,
/// they are by the time they are needed.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the processor's hint has no safe form"))]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing as far as a program can tell, and faults on no address; all processors of this
        // architecture have it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
