//! The state hash: a sum over a zone's pages, so that a commit updates it for the pages that it changed.

use twox_hash::XxHash3_64;
use zerocopy::IntoBytes;

use crate::memory::Page;

/// Spreads a page's place over the hash; an odd constant without structure.
const PLACE: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
thread_local! {
    /// Whether every page that is not zeros has the same hash in this thread, so that collisions can be tested.
    pub(crate) static ALL_ALIKE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What a logical page adds to the state hash. A page of zeros adds 0, as a page that is not there: the two read alike.
pub(crate) fn page_hash(logical: u32, page: &Page) -> u64 {
    if page.iter().all(|word| *word == 0) {
        return 0;
    }
    #[cfg(test)]
    if ALL_ALIKE.get() {
        return 1;
    }
    let place = (u64::from(logical) + 1).wrapping_mul(PLACE);
    let mixed = u128::from(XxHash3_64::oneshot(page.as_bytes()) ^ place) * u128::from(PLACE);
    // 0 means a page of zeros, here and in the owner's cache.
    ((mixed >> 64) as u64 ^ mixed as u64).max(1)
}
