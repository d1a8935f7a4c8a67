//! The owner's side of the commit: which arena page each logical page is, which it replaced, and when that may be used again.

use std::collections::{BTreeMap, VecDeque};

use crate::free_pages::{FreePages, PageSet};
use crate::hash::page_hash;
use crate::layout::RootHead;
use crate::limits::*;
use crate::memory::Page;
use crate::pages::{AdoptError, CommitError};
use crate::sheet::{Slot, zeros};
use crate::tree::{MAX_LEVELS, Named, Tree, walk};
use crate::world::{PageHandle, Published, Root, World, owner_word};

pub(crate) struct Writer {
    pub(crate) incarnation: u64,
    pub(crate) first_sequence: u64,
    pub(crate) published: Published,
    /// Whether somebody else was granted the zone.
    pub(crate) fenced: bool,
    tree: Tree,
    /// Committed handles by level: the logical pages', the table pages' and those of directory pages. In whole pages of handles, but
    /// for the level that the root names.
    pub(crate) levels: [Vec<PageHandle>; MAX_LEVELS + 1],
    /// Pages for the table pages that a commit may replace, by level and position; emptied by each commit.
    fresh: [Vec<Fresh>; MAX_LEVELS + 1],
    /// Positions of those, by level.
    replaced: [Vec<usize>; MAX_LEVELS + 1],
    /// Hashes of committed logical pages; 0 for one that this process has not worked out.
    hashes: Vec<u64>,
    state_hash: u64,
    /// Ticks of the roots in the ring.
    ticks: [u32; ROOT_RING as usize],
    /// Logical pages touched in this tick and the arena pages of their copies; `None` for a copy on the heap.
    pub(crate) touched: Vec<(u32, Option<u32>)>,
    /// Copies for which the arena had no room: the tick can end, but not be committed.
    pub(crate) overflow: Vec<Box<HeapPage>>,
    pub(crate) free: FreePages,
    /// Pages that stopped being part of the world with the root of this sequence.
    pub(crate) retired: VecDeque<(u64, Vec<u32>)>,
}

/// A page outside the arena, aligned for rows as the arena's pages are.
#[repr(align(4096))]
pub(crate) struct HeapPage(Page);

/// What becomes of a table page in a commit.
#[derive(Clone, Copy, Debug, Default)]
struct Fresh {
    /// The page that it may be written to.
    page: Option<u32>,
    /// Whether a handle in it changes.
    changed: bool,
}

impl Writer {
    pub(crate) fn new(zone: usize, incarnation: u64, logical_pages: u32, published: Published) -> Self {
        let tree = Tree::new(logical_pages as usize);
        let whole =
            |level: usize| if level < tree.top { tree.counts[level].next_multiple_of(PAGE_WORDS) } else { tree.counts[level] };
        Self {
            incarnation,
            first_sequence: published.sequence + 1,
            published,
            fenced: false,
            tree,
            levels: std::array::from_fn(|level| vec![PageHandle::NONE; whole(level)]),
            fresh: std::array::from_fn(|level| if level == 0 { Vec::new() } else { vec![Fresh::default(); tree.counts[level]] }),
            replaced: std::array::from_fn(|level| Vec::with_capacity(if level == 0 { 0 } else { tree.counts[level] })),
            hashes: vec![0; logical_pages as usize],
            state_hash: 0,
            ticks: [0; ROOT_RING as usize],
            touched: Vec::with_capacity(logical_pages as usize),
            overflow: Vec::new(),
            free: FreePages::new(owner_word(zone, incarnation), zone * 7),
            retired: VecDeque::with_capacity(WINDOW as usize + 2),
        }
    }

    /// Copies the page that `slot` shows to one that nobody else names, in the arena if it has room.
    pub(crate) fn copy(&mut self, world: &World, logical: u32, slot: &Slot) -> *mut u8 {
        let page = if self.fenced { None } else { self.free.take(world) };
        let to = match page {
            Some(index) => world.page_ptr(index),
            None => {
                self.overflow.push(Box::new(HeapPage([0; PAGE_WORDS])));
                self.overflow.last_mut().expect("just pushed").0.as_mut_ptr().cast()
            }
        };
        // SAFETY: the source is the page of zeros, a committed page of this zone or a heap page, all PAGE_BYTES long and not written
        // by anyone (only private pages are, and this slot has none); the target is a page that `free.take` just handed out
        // to this zone alone, or a heap page made above, so the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(slot.at.get().cast_const(), to, PAGE_BYTES) };
        self.touched.push((logical, page));
        to
    }

    /// Committed handles of the logical pages.
    pub(crate) fn handles(&self) -> &[PageHandle] {
        &self.levels[0]
    }

    /// Sequence of the next root.
    fn next(&self) -> u64 {
        self.published.sequence + 1
    }

    /// Oldest root of this match in the window.
    fn oldest(&self) -> u64 {
        self.published.sequence.saturating_sub(WINDOW - 1).max(self.first_sequence)
    }

    /// The tick of the newest root.
    pub(crate) fn newest_tick(&self) -> u32 {
        self.ticks[(self.published.sequence % ROOT_RING) as usize]
    }

    /// The root of the window that committed a tick.
    pub(crate) fn sequence_of(&self, tick: u32) -> Option<u64> {
        (self.oldest()..=self.published.sequence).rev().find(|s| self.ticks[(s % ROOT_RING) as usize] == tick)
    }

    /// Replaces changed pages' handles and writes their table pages. Returns what this root retires, or `None` without room.
    pub(crate) fn build(&mut self, world: &World, slots: &[Slot]) -> Option<Vec<u32>> {
        // Take the table pages first: without room for them nothing may change.
        if !self.overflow.is_empty() || !self.take_tables(world) {
            return None;
        }
        let mut retired = self.free.spare.pop().unwrap_or_default();
        for (logical, page) in &self.touched {
            let page = page.expect("overflow was checked above");
            let slot = &slots[*logical as usize];
            let old = self.levels[0][*logical as usize];
            let before = if old.is_some() { world.page_ptr(old.index()).cast_const() } else { zeros().cast_const() };
            // SAFETY: both are PAGE_BYTES long and aligned to words (arena pages, heap pages or the page of zeros), and nobody
            // writes them while these references live: this thread is the zone's only writer.
            let (before, after) = unsafe { (&*before.cast::<Page>(), &*slot.at.get().cast_const().cast::<Page>()) };
            let known = &mut self.hashes[*logical as usize];
            let hash = page_hash(*logical, after);
            // Another hash is another content: where the old one is known, the old page need not be read.
            let same_hash = if old.is_some() && *known == 0 { None } else { Some(hash == *known) };
            if same_hash != Some(false) && before == after {
                *known = hash;
                slot.at.set(before.as_ptr().cast::<u8>().cast_mut());
                self.free.put(page);
                continue;
            }
            let old_hash = if same_hash.is_none() { page_hash(*logical, before) } else { *known };
            *known = hash;
            self.state_hash = self.state_hash.wrapping_sub(old_hash).wrapping_add(hash);
            if old.is_some() {
                retired.push(old.index());
            }
            let handle = if hash == 0 { PageHandle::NONE } else { PageHandle::new(self.published.sequence + 1, page) };
            if hash == 0 {
                slot.at.set(zeros());
                self.free.put(page);
            }
            self.levels[0][*logical as usize] = handle;
            self.fresh[1][*logical as usize / PAGE_WORDS].changed = true;
        }
        for level in 1..=self.tree.top {
            self.write_tables(world, level, &mut retired);
        }
        Some(retired)
    }

    /// Takes a page for every table page above a touched page; gives all back and returns `false` when the arena has no room.
    fn take_tables(&mut self, world: &World) -> bool {
        let mut room = true;
        for (logical, _) in &self.touched {
            let mut position = *logical as usize;
            for level in 1..=self.tree.top {
                position /= PAGE_WORDS;
                let fresh = &mut self.fresh[level][position];
                if fresh.page.is_some() || !room {
                    break;
                }
                fresh.page = self.free.take(world);
                room = fresh.page.is_some();
                self.replaced[level].push(position);
            }
        }
        if !room {
            for (fresh, replaced) in self.fresh.iter_mut().zip(&mut self.replaced) {
                let taken = replaced.drain(..).filter_map(|position| std::mem::take(&mut fresh[position]).page);
                taken.for_each(|page| self.free.put(page));
            }
        }
        room
    }

    /// Writes a level's table pages whose handles have changed, and gives the pages of the others back.
    fn write_tables(&mut self, world: &World, level: usize, retired: &mut Vec<u32>) {
        let birth = self.next();
        let mut replaced = std::mem::take(&mut self.replaced[level]);
        for position in replaced.drain(..) {
            let Fresh { page: Some(page), changed } = std::mem::take(&mut self.fresh[level][position]) else { continue };
            if !changed {
                self.free.put(page);
                continue;
            }
            let handles = &self.levels[level - 1][position * PAGE_WORDS..][..PAGE_WORDS];
            // SAFETY: `page` was just handed out to this zone alone and is PAGE_BYTES long; a chunk is PAGE_WORDS handles of one
            // word each, as levels below the root are kept in whole pages.
            unsafe { std::ptr::copy_nonoverlapping(handles.as_ptr().cast::<u8>(), world.page_ptr(page), PAGE_BYTES) };
            crate::kill_point!("commit:table_written");
            let table = &mut self.levels[level][position];
            if table.is_some() {
                retired.push(table.index());
            }
            *table = PageHandle::new(birth, page);
            if level < self.tree.top {
                self.fresh[level + 1][position / PAGE_WORDS].changed = true;
            }
        }
        self.replaced[level] = replaced;
    }

    pub(crate) fn publish(&mut self, world: &World, zone: usize, head: RootHead) -> Result<RootHead, CommitError> {
        crate::kill_point!("commit:built");
        let used = self.free.extents.len() * EXTENT_PAGES - self.free.count;
        let head = RootHead {
            sequence: self.next(),
            incarnation: self.incarnation,
            first_sequence: self.first_sequence,
            pages_used: used as u32,
            tables: self.tree.roots() as u32,
            state_hash: self.state_hash,
            ..head
        };
        let mut root = Root { head, tables: [PageHandle::NONE; MAX_TABLES] };
        root.tables[..self.tree.roots()].copy_from_slice(&self.levels[self.tree.top]);
        world.write_root(zone, &mut root);
        crate::kill_point!("commit:root_written");
        let to = Published { sequence: self.next(), ..self.published };
        if let Err(now) = world.publish(zone, self.published, to) {
            return Err(CommitError::Fenced { zone, epoch: now.epoch });
        }
        crate::kill_point!("commit:published");
        self.published = to;
        self.ticks[(to.sequence % ROOT_RING) as usize] = head.tick;
        Ok(root.head)
    }

    /// Frees what no root of the window names any more, and gives extents back that are not needed.
    pub(crate) fn reclaim(&mut self, world: &World, newest: u64) {
        while self.retired.front().is_some_and(|(sequence, _)| sequence + WINDOW <= newest + 1) {
            let (_, mut pages) = self.retired.pop_front().expect("just seen");
            pages.iter().for_each(|page| self.free.put(*page));
            pages.clear();
            self.free.spare.push(pages);
        }
        self.free.shrink(world);
    }

    /// Rebuilds handles, free pages and retirements from the roots of the window.
    pub(crate) fn mark(&mut self, world: &World, zone: usize, newest: &Root) -> Result<(), AdoptError> {
        let owner = owner_word(zone, self.incarnation);
        for extent in (0..world.extents()).filter(|e| world.owner(*e).is_some_and(|(z, i)| owner_word(z, i) == owner)) {
            self.free.extents.insert(extent as u32, 0);
        }
        self.first_sequence = newest.head.first_sequence;
        self.state_hash = newest.head.state_hash;
        let mut seen = PageSet::new(world.pages());
        let mut retired: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for sequence in (self.oldest()..=self.published.sequence).rev() {
            let is_newest = sequence == self.published.sequence;
            let root = if is_newest { newest.clone() } else { world.root(zone, sequence)? };
            self.ticks[(sequence % ROOT_RING) as usize] = root.head.tick;
            let (extents, levels) = (&self.free.extents, &mut self.levels);
            walk(world, &root, &mut |Named { handle, level, position }| {
                let page = handle.index();
                if !extents.contains_key(&(page / EXTENT_PAGES as u32)) {
                    return Err(AdoptError::Dangling { zone, sequence, page });
                }
                // A page has one life in the window: a table page seen before names what it named there.
                let new = seen.insert(page);
                if is_newest {
                    if !new || handle.birth() > sequence {
                        return Err(AdoptError::Unsound { zone, sequence, page });
                    }
                    levels[level][position] = handle;
                } else if new {
                    retired.entry(sequence + 1).or_default().push(page);
                }
                Ok(new)
            })?;
        }
        self.retired = retired.into_iter().collect();
        self.free.fill(&seen);
        Ok(())
    }

    /// After the end of the match: no page is the zone's any more.
    pub(crate) fn forget(&mut self, published: Published) {
        self.published = published;
        // None of its ticks is left.
        self.first_sequence = published.sequence + 1;
        self.levels.iter_mut().for_each(|level| level.fill(PageHandle::NONE));
        self.hashes.fill(0);
        self.state_hash = 0;
        self.retired.clear();
        self.free.extents.clear();
    }
}
