//! A piece of memory that several processes may map: words, pages, and nothing that pretends to own them.
//!
//! Everything above goes through this file and [`Words`], so the core runs unchanged on heap memory under tests. Other processes'
//! bytes are copied out word by word with relaxed loads and validated afterwards; no `&[u8]` over live memory exists.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use memmap2::{MmapMut, MmapRaw};

use crate::limits::{PAGE_BYTES, PAGE_WORDS};
pub use crate::words::{Fence, Shared, Words};

/// A private copy of one page.
pub type Page = [u64; PAGE_WORDS];

/// Mapped memory, shared or anonymous, in 64-bit words.
pub struct Memory {
    base: *const AtomicU64,
    words: usize,
    writable: bool,
    _map: MmapRaw,
}

// SAFETY: `base` points to memory that `_map` owns for as long as this value lives, and every access through the safe
// methods is atomic; the unsafe page methods pass the duty of exclusiveness on to their callers.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Wraps a mapping. `writable` must say whether it was made writable.
    pub(crate) fn mapped(map: MmapRaw, writable: bool) -> Self {
        let base = map.as_mut_ptr().cast::<AtomicU64>().cast_const();
        assert!(base.is_aligned(), "mappings start at page boundaries");
        Self { base, words: map.len() / 8, writable, _map: map }
    }

    /// Zeroed memory of this process alone, for tests and for worlds without processes. The system hands its pages out when
    /// they are first touched, so a world with room for every zone costs what its one zone uses.
    ///
    /// # Panics
    /// When the system has no room for it, as any allocation.
    pub fn heap(bytes: usize) -> Self {
        Self::try_heap(bytes).expect("the system has memory for the world")
    }

    /// As [`Memory::heap`], of a length that somebody else has said.
    pub fn try_heap(bytes: usize) -> std::io::Result<Self> {
        let map = MmapMut::map_anon(bytes.next_multiple_of(8))?;
        Ok(Self::mapped(MmapRaw::from(map), true))
    }

    /// The atomic word at a byte offset, for writing.
    ///
    /// # Panics
    /// When the memory was attached read-only: storing there would be a fault, and asking for it is a mistake of ours.
    #[inline]
    pub fn atomic(&self, offset: usize) -> &AtomicU64 {
        assert!(self.writable, "this segment was attached read-only");
        self.word(offset)
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset / 8 < self.words, "word offset inside the segment");
        // SAFETY: the index was checked against `words` just above, the base is aligned, and the memory lives as long as
        // `self`. Of a read-only mapping it is only loaded, relaxed (`load` puts the fence behind it), which Rust permits there;
        // `atomic` refuses to hand the word out for stores.
        unsafe { &*self.base.add(offset / 8) }
    }

    #[inline]
    fn slice(&self, offset: usize, words: usize) -> &[AtomicU64] {
        let first = offset / 8;
        let fits = offset.is_multiple_of(8) && first <= self.words && words <= self.words - first;
        assert!(fits, "range inside the segment");
        // SAFETY: `first + words <= self.words` was checked just above; alignment and lifetime as in `word`.
        unsafe { std::slice::from_raw_parts(self.base.add(first), words) }
    }

    /// The address of so many bytes that something else than words lies in: pthread's mutex.
    pub(crate) fn raw(&self, offset: usize, bytes: usize) -> *mut u8 {
        assert!(self.writable, "this segment was attached read-only");
        let fits = offset <= self.bytes() && bytes <= self.bytes() - offset;
        assert!(fits, "range inside the segment");
        self.base.cast::<u8>().wrapping_add(offset).cast_mut()
    }

    /// Brings a range into this process's page table, for writing if that may be, so that touching it later is no fault. No more than a
    /// wish: kernels before 5.14 do not know it.
    pub(crate) fn populate(&self, offset: usize, bytes: usize) {
        let from = offset / PAGE_BYTES * PAGE_BYTES;
        let bytes = (offset + bytes).min(self.bytes()).saturating_sub(from);
        assert!(from <= self.bytes(), "range inside the segment");
        let advice = if self.writable { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
        let start = self.base.cast::<u8>().wrapping_add(from).cast_mut();
        // SAFETY: the range was checked to be of this mapping, and starts at a page as the mapping does; nothing in it is changed.
        unsafe { libc::madvise(start.cast(), bytes, advice) };
    }

    /// The address of a page, for the one process that owns it.
    ///
    /// The pointer is valid for `PAGE_BYTES` for as long as this memory lives. Whoever writes through it must own the page
    /// (its extent and the zone), and may not write while another process is granted the same zone.
    pub(crate) fn page_ptr(&self, offset: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(PAGE_BYTES), "pages begin at multiples of their size");
        self.raw(offset, PAGE_BYTES)
    }
}

impl Words for Memory {
    fn bytes(&self) -> usize {
        self.words * 8
    }

    #[inline]
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        match order {
            // On memory that is mapped read-only Rust vouches for relaxed loads alone; with a fence behind it, such a load acquires.
            Ordering::Acquire => {
                let value = self.word(offset).load(Ordering::Relaxed);
                fence(Ordering::Acquire);
                value
            }
            order => self.word(offset).load(order),
        }
    }

    #[inline]
    fn store(&self, offset: usize, value: u64, order: Ordering) {
        self.atomic(offset).store(value, order);
    }

    #[inline]
    fn compare_exchange(&self, offset: usize, from: u64, to: u64) -> Result<u64, u64> {
        self.atomic(offset).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    #[inline]
    fn fetch_add(&self, offset: usize, n: u64) {
        self.atomic(offset).fetch_add(n, Ordering::Relaxed);
    }

    #[inline]
    fn copy_out(&self, offset: usize, to: &mut [u64]) {
        let from = self.slice(offset, to.len());
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.load(Ordering::Relaxed);
        }
    }

    #[inline]
    fn copy_in(&self, offset: usize, from: &[u64]) {
        assert!(self.writable, "this segment was attached read-only");
        let to = self.slice(offset, from.len());
        for (to, from) in to.iter().zip(from) {
            to.store(*from, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("bytes", &self.bytes()).field("writable", &self.writable).finish()
    }
}
