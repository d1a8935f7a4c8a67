//! What the core asks of its memory: words to load and store, a compare-and-swap, and fences that have names.
//!
//! The protocols of this crate are written against [`Words`]. In production that is [`Memory`](crate::memory::Memory), a mapping; the
//! models under loom bring memory of their own, in which chosen words are loom's and any one fence can be left out.

use std::sync::atomic::{Ordering, fence};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// A fixed layout that may be copied out of and into shared memory.
pub trait Shared: FromBytes + FromZeros + IntoBytes + Immutable + KnownLayout + Copy {}
impl<T: FromBytes + FromZeros + IntoBytes + Immutable + KnownLayout + Copy> Shared for T {}

/// Every fence of the core, by what it keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Writer of a cell: the last version is published before the slot that it left is written again.
    CellReuse,
    /// Reader of a cell: its words are copied before the version is looked at again.
    CellCheck,
    /// Writer of a flight record: its sequence is cleared before its words are written again.
    FlightReuse,
    /// Reader of a flight record: its words are copied before the sequence is looked at again.
    FlightCheck,
    /// Owner of a zone: the root is published before pages and descriptors that left the window are written again.
    PageReuse,
    /// Owner of a zone: a page that was free is written only after the extent was seen to be free.
    ExtentTaken,
    /// Reader of a zone: roots and pages are copied before the published word is looked at again.
    RootCheck,
}

impl Fence {
    /// The order that it needs.
    pub const fn order(self) -> Ordering {
        match self {
            Self::CellReuse | Self::FlightReuse => Ordering::Release,
            Self::CellCheck | Self::FlightCheck | Self::RootCheck => Ordering::Acquire,
            Self::PageReuse | Self::ExtentTaken => Ordering::SeqCst,
        }
    }
}

/// Memory in 64-bit words, at byte offsets, that several processes may map.
pub trait Words {
    /// Its length in bytes.
    fn bytes(&self) -> usize;

    /// Loads a word.
    fn load(&self, offset: usize, order: Ordering) -> u64;

    /// Stores a word.
    fn store(&self, offset: usize, value: u64, order: Ordering);

    /// Replaces a word that still is `from`: AcqRel when it is, Acquire when it is not.
    fn compare_exchange(&self, offset: usize, from: u64, to: u64) -> Result<u64, u64>;

    /// Adds to a word, relaxed: for counters.
    fn fetch_add(&self, offset: usize, n: u64);

    /// Keeps what comes before apart from what comes after.
    #[inline]
    fn fence(&self, at: Fence) {
        fence(at.order());
    }

    /// Copies words out, relaxed. What comes back is unvalidated: another process may have been writing it.
    #[inline]
    fn copy_out(&self, offset: usize, to: &mut [u64]) {
        for (i, to) in to.iter_mut().enumerate() {
            *to = self.load(offset + i * 8, Ordering::Relaxed);
        }
    }

    /// Copies words in, relaxed.
    #[inline]
    fn copy_in(&self, offset: usize, from: &[u64]) {
        for (i, from) in from.iter().enumerate() {
            self.store(offset + i * 8, *from, Ordering::Relaxed);
        }
    }

    /// Copies a fixed layout out, relaxed and unvalidated.
    fn read<T: Shared>(&self, offset: usize) -> T {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        assert!(bytes.len().is_multiple_of(8), "shared layouts are whole words");
        for (i, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&self.load(offset + i * 8, Ordering::Relaxed).to_ne_bytes());
        }
        value
    }

    /// Copies a fixed layout in, relaxed.
    fn write<T: Shared>(&self, offset: usize, value: &T) {
        let bytes = value.as_bytes();
        assert!(bytes.len().is_multiple_of(8), "shared layouts are whole words");
        for (i, chunk) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_ne_bytes(chunk.try_into().expect("chunks of eight"));
            self.store(offset + i * 8, word, Ordering::Relaxed);
        }
    }
}
