//! Size classes: powers of two from the smallest slot to a whole page.

use crate::limits::{BLOB_CLASSES, BLOB_SLOT_WORDS, MAX_BLOB_BYTES, MIN_BLOB_SLOT, PAGE_BYTES};

/// The size of a page's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(usize);

const _: () = assert!(MIN_BLOB_SLOT << (BLOB_CLASSES - 1) == MAX_BLOB_BYTES, "the largest class is the longest blob");
const _: () = assert!(MAX_BLOB_BYTES == PAGE_BYTES && BLOB_SLOT_WORDS * 64 * MIN_BLOB_SLOT == PAGE_BYTES, "a bit a slot");

impl Class {
    /// Every class, the smallest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..BLOB_CLASSES).map(Self)
    }

    /// The smallest class that holds so many bytes; `None` beyond a page.
    pub(crate) fn of(bytes: usize) -> Option<Self> {
        let slot = bytes.max(MIN_BLOB_SLOT).checked_next_power_of_two()?;
        (slot <= MAX_BLOB_BYTES).then(|| Self((slot / MIN_BLOB_SLOT).ilog2() as usize))
    }

    /// The classes of blobs of at most so many bytes; `None` beyond a page.
    pub(crate) fn up_to(bytes: usize) -> Option<impl Iterator<Item = Self>> {
        Some((0..=Self::of(bytes)?.0).map(Self))
    }

    /// The class with a number from a page's row, where 0 is a free page.
    pub(crate) fn from_row(number: u32) -> Option<Self> {
        let index = (number as usize).checked_sub(1)?;
        (index < BLOB_CLASSES).then_some(Self(index))
    }

    /// What stands in the row of a page of this class.
    pub(crate) fn number(self) -> u32 {
        self.0 as u32 + 1
    }

    /// Its place in [`BlobMeta::room`](crate::layout::BlobMeta::room).
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// Bytes of a slot.
    pub(crate) fn bytes(self) -> usize {
        MIN_BLOB_SLOT << self.0
    }

    /// Slots of a page.
    pub(crate) fn slots(self) -> u32 {
        (PAGE_BYTES / self.bytes()) as u32
    }

    /// The slot that begins at a multiple of its size, as a range of the page's bytes.
    pub(crate) fn slot(self, slot: u32) -> std::ops::Range<usize> {
        let start = slot as usize * self.bytes();
        start..start + self.bytes()
    }
}

/// Whether a slot's bit is set; a slot that no page has is not taken.
pub(crate) fn is_taken(taken: &[u64; BLOB_SLOT_WORDS], slot: u32) -> bool {
    taken.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
}

/// The first slot whose bit is not set.
pub(crate) fn first_free(taken: &[u64; BLOB_SLOT_WORDS]) -> Option<u32> {
    let word = taken.iter().position(|word| *word != u64::MAX)?;
    Some(word as u32 * 64 + taken[word].trailing_ones())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_the_smallest_class_that_holds_it() {
        for bytes in 0..=MAX_BLOB_BYTES {
            let class = Class::of(bytes).expect("fits a page");
            let smaller = Class::all().take_while(|c| *c != class).last();
            assert!(class.bytes() >= bytes && smaller.is_none_or(|c| c.bytes() < bytes), "{bytes}");
        }
        assert_eq!((Class::of(MAX_BLOB_BYTES + 1), Class::of(usize::MAX)), (None, None));
    }

    #[test]
    fn slots_of_every_class_fill_the_page_and_numbers_lead_back() {
        for class in Class::all() {
            assert_eq!(class.slots() as usize * class.bytes(), PAGE_BYTES);
            assert_eq!(class.slot(class.slots() - 1).end, PAGE_BYTES);
            assert_eq!(Class::from_row(class.number()), Some(class));
        }
        assert_eq!((Class::from_row(0), Class::from_row(BLOB_CLASSES as u32 + 1)), (None, None));
    }

    #[test]
    fn the_first_free_slot_is_found_across_words() {
        assert_eq!(first_free(&[0; BLOB_SLOT_WORDS]), Some(0));
        assert_eq!(first_free(&[u64::MAX, 0b1011, 0, 0]), Some(66));
        assert_eq!(first_free(&[u64::MAX; BLOB_SLOT_WORDS]), None);
        assert!(is_taken(&[0, 0b1000, 0, 0], 67) && !is_taken(&[0, 0b1000, 0, 0], 66) && !is_taken(&[u64::MAX; 4], 256));
    }
}
