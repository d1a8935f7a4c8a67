//! The world segment: who owns which extent, what each zone has published, and where its pages lie.
//!
//! **Publishing is one compare-and-swap** from the exact previous {epoch, sequence} word. A reader copies, then looks at the
//! word again: a root that is still in the window was not written to meanwhile. Nothing read is used before that.

use std::sync::atomic::Ordering;

use crate::cell::Cell;
use crate::copy::LEFT;
use crate::layout::{AttemptEntry, FaultEntry, RootFlags, RootHead, SegmentKind, hash_bytes, world as at};
use crate::limits::*;
use crate::memory::{Fence, Memory, Page, Words};
use crate::segment::Segment;
use crate::tree::Tree;
use zerocopy::IntoBytes;

/// Names a page and when it was born. Equality means unchanged: a sequence is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct PageHandle(pub u64);

impl PageHandle {
    /// No page: reads as zeros.
    pub const NONE: Self = Self(0);

    pub(crate) fn new(birth: u64, index: u32) -> Self {
        Self(birth << PAGE_INDEX_BITS | u64::from(index))
    }

    /// Index of the page in the arena.
    pub fn index(self) -> u32 {
        (self.0 & ((1 << PAGE_INDEX_BITS) - 1)) as u32
    }

    /// Sequence of the root that it was born in.
    pub fn birth(self) -> u64 {
        self.0 >> PAGE_INDEX_BITS
    }

    /// Whether there is a page.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// A root as it was copied out and validated: its head and its table pages' handles.
#[derive(Clone, Debug)]
pub struct Root {
    /// The fixed part.
    pub head: RootHead,
    /// Handles of the table pages in use.
    pub tables: [PageHandle; MAX_TABLES],
}

/// Why a zone has no readable root.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum RootError {
    /// Nothing was ever published in this slot.
    #[error("zone slot {zone} has published nothing yet")]
    Nothing {
        /// The slot.
        zone: usize,
    },
    /// The descriptor is not what its owner writes.
    #[error("the root {sequence} of zone slot {zone} is torn or damaged (its checksum does not match)")]
    Damaged {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
    },
    /// No root of the window committed that tick.
    #[error("zone slot {zone} keeps no tick {tick}: the newest is {newest}, and the last {WINDOW} commits stay readable")]
    NotInWindow {
        /// The slot.
        zone: usize,
        /// The tick asked for.
        tick: u32,
        /// The newest tick.
        newest: u32,
    },
    /// The root was overwritten while it was copied.
    #[error("the root {sequence} of zone slot {zone} has left the ring")]
    Gone {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
    },
}

/// A published word taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Who may publish next.
    pub epoch: u16,
    /// The newest root; 0 when there is none.
    pub sequence: u64,
}

impl Published {
    pub(crate) fn from_word(word: u64) -> Self {
        Self { epoch: (word >> SEQUENCE_BITS) as u16, sequence: word & ((1 << SEQUENCE_BITS) - 1) }
    }

    pub(crate) fn word(self) -> u64 {
        u64::from(self.epoch) << SEQUENCE_BITS | self.sequence
    }
}

/// The world segment, or other memory laid out like it.
#[derive(Debug)]
pub struct World<M = Memory> {
    memory: M,
    extents: usize,
}

/// Owner word of an extent.
pub(crate) fn owner_word(zone: usize, incarnation: u64) -> u64 {
    incarnation << 16 | (zone as u64 + 1)
}

impl World {
    /// The world in an attached segment.
    pub fn new(segment: Segment) -> Self {
        assert_eq!(segment.header().kind, SegmentKind::World as u32, "the world's segment");
        let extents = segment.header().parameter as usize;
        Self { memory: segment.into_memory(), extents }
    }

    /// A world on the heap with so many extents, for tests and for games stepped without processes.
    pub fn heap(extents: usize) -> Self {
        Self { memory: Memory::heap(at::bytes(extents)), extents }
    }

    /// Brings a control block into this process's page table, for writing.
    pub fn populate_control(&self, zone: usize) {
        self.memory.populate(Self::control(zone), at::CONTROL_STRIDE);
    }

    /// Brings an extent into this process's page table, for writing.
    pub fn populate_extent(&self, extent: usize) {
        assert!(extent < self.extents, "extent of the arena");
        self.memory.populate(at::arena(self.extents) + extent * EXTENT_BYTES, EXTENT_BYTES);
    }

    pub(crate) fn page_ptr(&self, index: u32) -> *mut u8 {
        self.memory.page_ptr(at::arena(self.extents) + index as usize * PAGE_BYTES)
    }
}

impl<M: Words> World<M> {
    /// A world in any memory that is laid out for so many extents.
    pub fn over(memory: M, extents: usize) -> Self {
        assert!(memory.bytes() >= at::bytes(extents), "the memory holds the arena");
        Self { memory, extents }
    }

    /// The memory that it lies in. Not for others: storing there is safe, and rows that the owner has lent out lie there.
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Extents of the arena.
    pub fn extents(&self) -> usize {
        self.extents
    }

    /// Pages of the arena.
    pub fn pages(&self) -> usize {
        self.extents * EXTENT_PAGES
    }

    /// Owner of an extent: zone slot and incarnation; `None` when it is free. Words that no zone writes count as owned by a
    /// slot that does not exist, and `fsck` reports them.
    pub fn owner(&self, extent: usize) -> Option<(usize, u64)> {
        match self.memory.load(at::OWNERS + extent * 8, Ordering::Acquire) {
            0 => None,
            word => Some((((word & 0xffff) as usize).checked_sub(1).unwrap_or(MAX_ZONES), word >> 16)),
        }
    }

    /// Extents that some zone owns.
    pub fn extents_used(&self) -> usize {
        (0..self.extents).filter(|e| self.owner(*e).is_some()).count()
    }

    pub(crate) fn take_extent(&self, hint: &mut usize, owner: u64) -> Option<usize> {
        for i in 0..self.extents {
            let extent = (*hint + i) % self.extents;
            let word = at::OWNERS + extent * 8;
            // SYNC POINT: extent-owner. Whoever gave it back had moved its window beyond every root that names it.
            if self.memory.load(word, Ordering::Relaxed) == 0 && self.memory.compare_exchange(word, 0, owner).is_ok() {
                crate::kill_point!("extent:taken");
                // The fence of an extent taken in mid-tick: a reader that sees what we write into it also sees that the
                // previous owner's root has left its window.
                self.memory.fence(Fence::ExtentTaken);
                *hint = extent + 1;
                return Some(extent);
            }
        }
        None
    }

    pub(crate) fn give_extent(&self, extent: usize) {
        // SYNC POINT: extent-owner
        self.memory.store(at::OWNERS + extent * 8, 0, Ordering::Release);
        crate::kill_point!("extent:given");
    }

    /// The extents of a zone slot, of whatever match.
    pub(crate) fn extents_of(&self, zone: usize) -> impl Iterator<Item = usize> {
        (0..self.extents).filter(move |e| self.owner(*e).is_some_and(|(owner, _)| owner == zone))
    }

    pub(crate) fn control(zone: usize) -> usize {
        assert!(zone < MAX_ZONES, "zone slot within the table");
        at::CONTROLS + zone * at::CONTROL_STRIDE
    }

    /// What a zone slot has published.
    pub fn published(&self, zone: usize) -> Published {
        // SYNC POINT: root-publish
        Published::from_word(self.memory.load(Self::control(zone) + at::PUBLISHED, Ordering::Acquire))
    }

    /// Replaces the published word if it still is `from`.
    pub(crate) fn publish(&self, zone: usize, from: Published, to: Published) -> Result<(), Published> {
        // SYNC POINT: root-publish
        let result = self.memory.compare_exchange(Self::control(zone) + at::PUBLISHED, from.word(), to.word());
        // SYNC POINT: page-reuse. Whatever is written into pages after this fence is seen by a reader only together with
        // the word just published.
        self.memory.fence(Fence::PageReuse);
        result.map(|_| ()).map_err(Published::from_word)
    }

    fn root_offset(zone: usize, sequence: u64) -> usize {
        Self::control(zone) + at::ROOTS + (sequence % ROOT_RING) as usize * at::ROOT_STRIDE
    }

    pub(crate) fn write_root(&self, zone: usize, root: &mut Root) {
        root.head.checksum = 0;
        root.head.checksum = checksum(root);
        let offset = Self::root_offset(zone, root.head.sequence);
        self.memory.write(offset, &root.head);
        for (i, handle) in root.tables.iter().enumerate() {
            self.memory.copy_in(offset + size_of::<RootHead>() + i * 8, &[handle.0]);
        }
    }

    /// Copies the root with a sequence, validated against the ring; it says nothing about the root's pages yet.
    pub fn root(&self, zone: usize, sequence: u64) -> Result<Root, RootError> {
        if sequence == 0 {
            return Err(RootError::Nothing { zone });
        }
        let offset = Self::root_offset(zone, sequence);
        let head: RootHead = self.memory.read(offset);
        let mut words = [0; MAX_TABLES];
        self.memory.copy_out(offset + size_of::<RootHead>(), &mut words);
        // SYNC POINT: page-reuse
        self.memory.fence(Fence::RootCheck);
        let newest = self.published(zone).sequence;
        if newest.wrapping_sub(sequence) >= ROOT_RING - 1 {
            return Err(RootError::Gone { zone, sequence });
        }
        if head.sequence == sequence | LEFT {
            return Err(RootError::Gone { zone, sequence });
        }
        let mut root = Root { head, tables: words.map(PageHandle) };
        root.head.checksum = 0;
        let logical_pages = root.head.logical_pages as usize;
        let fits = logical_pages <= MAX_LOGICAL_PAGES && root.head.tables as usize == Tree::new(logical_pages).roots();
        let fits = fits && head.first_sequence <= sequence;
        if head.sequence != sequence || !fits || head.checksum != checksum(&root) {
            return Err(RootError::Damaged { zone, sequence });
        }
        root.head.checksum = head.checksum;
        Ok(root)
    }

    /// Copies a zone's newest root.
    pub fn newest(&self, zone: usize) -> Result<Root, RootError> {
        let mut result = Err(RootError::Nothing { zone });
        for _ in 0..MAX_REFRESH_ATTEMPTS {
            let sequence = self.published(zone).sequence;
            if sequence == 0 {
                return Err(RootError::Nothing { zone });
            }
            result = self.root(zone, sequence);
            if !matches!(result, Err(RootError::Gone { .. })) {
                break;
            }
        }
        result
    }

    /// Whether everything copied from a root so far is what was committed: the root is still in the window.
    pub fn in_window(&self, zone: usize, sequence: u64) -> bool {
        // SYNC POINT: page-reuse
        self.memory.fence(Fence::RootCheck);
        self.published(zone).sequence.wrapping_sub(sequence) < WINDOW
    }

    /// The net cursor of a zone's last commit, for producers: everything before it may be overwritten.
    pub fn consumed(&self, zone: usize, incarnation: u64) -> Option<u64> {
        let root = self.newest(zone).ok()?;
        (root.head.incarnation == incarnation).then_some(root.head.net_cursor)
    }

    /// Copies some words of a page out; as [`World::copy_page`].
    pub(crate) fn copy_words(&self, handle: PageHandle, first: usize, to: &mut [u64]) -> bool {
        let index = handle.index() as usize;
        if index >= self.pages() || first + to.len() > PAGE_WORDS {
            return false;
        }
        self.memory.copy_out(at::arena(self.extents) + index * PAGE_BYTES + first * 8, to);
        true
    }

    /// The root of the window that committed a tick.
    pub fn root_at(&self, zone: usize, tick: u32) -> Result<Root, RootError> {
        let newest = self.newest(zone)?;
        let oldest = newest.head.sequence.saturating_sub(WINDOW - 1).max(newest.head.first_sequence);
        for sequence in (oldest..=newest.head.sequence).rev() {
            match self.root(zone, sequence) {
                // The roots with which a match leaves have its last tick, and nothing else of it.
                Ok(root) if root.head.flags & RootFlags::ENDED != 0 => {}
                Ok(root) if root.head.tick == tick => return Ok(root),
                Ok(root) if root.head.tick < tick => break,
                Ok(_) => {}
                Err(RootError::Gone { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Err(RootError::NotInWindow { zone, tick, newest: newest.head.tick })
    }

    /// Copies a page out; unvalidated until [`World::in_window`] says so. `false` when the handle is no page of this arena.
    pub fn copy_page(&self, handle: PageHandle, to: &mut Page) -> bool {
        self.copy_words(handle, 0, to)
    }

    /// Says what the owner is about to run.
    pub fn publish_attempt(&self, zone: usize, attempt: &AttemptEntry) {
        Cell::<AttemptEntry>::at(Self::control(zone) + at::ATTEMPT).publish(&self.memory, attempt);
    }

    /// What the owner was about to run last.
    pub fn attempt(&self, zone: usize) -> Option<AttemptEntry> {
        Cell::<AttemptEntry>::at(Self::control(zone) + at::ATTEMPT).read(&self.memory)
    }

    /// What an owner has died of last.
    pub fn fault(&self, zone: usize) -> Option<FaultEntry> {
        // SYNC POINT: fault-key
        let key = self.memory.load(Self::control(zone) + at::FAULT, Ordering::Acquire);
        let fault: FaultEntry = self.memory.read(Self::control(zone) + at::FAULT);
        (key != 0 && fault.key == key).then_some(fault)
    }

    /// Says what this process dies of. It allocates nothing and calls nothing, so that a handler of a signal may do it.
    pub fn record_fault(&self, zone: usize, fault: &FaultEntry) {
        let place = Self::control(zone) + at::FAULT;
        self.memory.store(place, 0, Ordering::Relaxed);
        self.memory.fence(Fence::CellReuse);
        self.memory.write(place, &FaultEntry { key: 0, ..*fault });
        // SYNC POINT: fault-key
        self.memory.store(place, fault.key, Ordering::Release);
    }
}

fn checksum(root: &Root) -> u64 {
    let tables = &root.tables[..(root.head.tables as usize).min(MAX_TABLES)];
    let words = root.head.as_bytes().chunks_exact(8).map(|c| u64::from_ne_bytes(c.try_into().expect("chunks of eight")));
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    words.chain(tables.iter().map(|h| h.0)).fold(hash_bytes(b"root"), mix)
}
