//! Which pages of its extents a zone may write: private to the owner's process, rebuilt by marking when another takes over.

use std::collections::BTreeMap;

use crate::limits::{EXTENT_PAGES, KEEP_FREE_PAGES};
use crate::world::World;

/// A set of the arena's pages, a bit each.
pub(crate) struct PageSet(Vec<u64>);

impl PageSet {
    pub(crate) fn new(pages: usize) -> Self {
        Self(vec![0; pages.div_ceil(64)])
    }

    pub(crate) fn insert(&mut self, page: u32) -> bool {
        let (word, bit) = (&mut self.0[page as usize / 64], 1 << (page % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(crate) fn contains(&self, page: u32) -> bool {
        self.0[page as usize / 64] >> (page % 64) & 1 == 1
    }
}

/// Pages that the zone owns and no root of the window names, by extent.
pub(crate) struct FreePages {
    owner: u64,
    /// Where the search for another extent begins: behind the one taken last, or at the first that was given back since. Memory that was touched
    /// once is used again before more of the arena is, of which the machine would never get a page back.
    hint: usize,
    /// Owned extents and their free pages, a bit each.
    pub(crate) extents: BTreeMap<u32, u16>,
    /// Extents that may have free pages, the one used last on top: its pages are still in the cache.
    partial: Vec<u32>,
    /// How many pages are free.
    pub(crate) count: usize,
    /// Emptied lists of retired pages.
    pub(crate) spare: Vec<Vec<u32>>,
}

const _: () = assert!(EXTENT_PAGES == u16::BITS as usize, "an extent's free pages are the bits of a u16");

impl FreePages {
    pub(crate) fn new(owner: u64, hint: usize) -> Self {
        Self { owner, hint, extents: BTreeMap::new(), partial: Vec::new(), count: 0, spare: Vec::new() }
    }

    pub(crate) fn take(&mut self, world: &World) -> Option<u32> {
        loop {
            let Some(extent) = self.partial.last().copied() else {
                let extent = world.take_extent(&mut self.hint, self.owner)? as u32;
                self.extents.insert(extent, u16::MAX);
                self.partial.push(extent);
                self.count += EXTENT_PAGES;
                continue;
            };
            match self.extents.get_mut(&extent) {
                Some(free) if *free != 0 => {
                    let bit = free.trailing_zeros();
                    *free &= *free - 1;
                    if *free == 0 {
                        self.partial.pop();
                    }
                    self.count -= 1;
                    return Some(extent * EXTENT_PAGES as u32 + bit);
                }
                _ => self.partial.pop(),
            };
        }
    }

    pub(crate) fn put(&mut self, page: u32) {
        let extent = page / EXTENT_PAGES as u32;
        let free = self.extents.get_mut(&extent).expect("pages come from owned extents");
        if *free == 0 {
            self.partial.push(extent);
        }
        *free |= 1 << (page % EXTENT_PAGES as u32);
        self.count += 1;
    }

    /// After marking: everything in the owned extents that was not seen is free.
    pub(crate) fn fill(&mut self, seen: &PageSet) {
        for (extent, free) in &mut self.extents {
            let first = extent * EXTENT_PAGES as u32;
            *free = (0..EXTENT_PAGES as u32).filter(|i| !seen.contains(first + i)).fold(0, |bits, i| bits | 1 << i);
            if *free != 0 {
                self.partial.push(*extent);
            }
            self.count += free.count_ones() as usize;
        }
    }

    /// Gives wholly free extents back beyond what the zone keeps.
    pub(crate) fn shrink(&mut self, world: &World) {
        if self.count <= 2 * KEEP_FREE_PAGES {
            return;
        }
        let mut surplus = (self.count - KEEP_FREE_PAGES) / EXTENT_PAGES;
        // The last first, so that what is used lies close together.
        let whole: Vec<u32> = self.extents.iter().rev().filter(|(_, free)| **free == u16::MAX).map(|(e, _)| *e).collect();
        for extent in whole {
            if surplus == 0 {
                break;
            }
            self.extents.remove(&extent);
            self.count -= EXTENT_PAGES;
            surplus -= 1;
            world.give_extent(extent as usize);
            self.hint = self.hint.min(extent as usize);
        }
        self.partial.retain(|e| self.extents.contains_key(e));
    }
}
