//! A zone's pages as its owner sees them: committed pages that are only read, private copies made on the first write, and the
//! commit that turns the copies into the next root.
//!
//! Which pages are free is private to the owner's process and never in shared memory: it is rebuilt by marking from the roots
//! ([`Pages::adopt`]), so no two counters have to agree after a crash. A page that a commit replaced is used again only after
//! the last root that names it has left the window.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::free_pages::{FreePages, PageSet};
use crate::layout::{RootFlags, RootHead};
use crate::limits::*;
use crate::memory::Page;
use crate::world::{PageHandle, Published, Root, RootError, World, owner_word};
use zerocopy::FromZeros;

/// What a missing page reads as.
static ZEROS: Page = [0; PAGE_WORDS];

/// Where a logical page lies now.
struct Slot {
    /// The committed page, or the private copy; [`ZEROS`] when there is none. Only a private one is ever written.
    at: Cell<*mut u8>,
    private: Cell<bool>,
}

/// The pages of one zone, for the one process that owns it.
pub struct Pages {
    world: Rc<World>,
    zone: usize,
    slots: Box<[Slot]>,
    writer: RefCell<Writer>,
}

struct Writer {
    incarnation: u64,
    first_sequence: u64,
    published: Published,
    /// Committed handles of all logical pages, in whole table pages.
    handles: Vec<PageHandle>,
    tables: [PageHandle; MAX_TABLES],
    /// Logical pages touched in this tick and the arena pages of their copies; `None` for a copy on the heap.
    touched: Vec<(u32, Option<u32>)>,
    /// Copies for which the arena had no room: the tick can end, but not be committed.
    overflow: Vec<Box<HeapPage>>,
    free: FreePages,
    /// Pages that stopped being part of the world with the root of this sequence.
    retired: VecDeque<(u64, Vec<u32>)>,
}

/// A page outside the arena, aligned for rows as the arena's pages are.
#[repr(align(4096))]
struct HeapPage(Page);

/// A commit was not published; the world is still the one before the tick.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum CommitError {
    /// The tick needs more pages than the arena has.
    #[error("the arena is full ({extents} extents in use): the tick is put off; end matches or raise arena_mib in ringfort.toml")]
    ArenaFull {
        /// Extents in use.
        extents: usize,
    },
    /// Another process was granted the zone.
    #[error("zone slot {zone} belongs to epoch {epoch} now: this process is fenced off")]
    Fenced {
        /// The slot.
        zone: usize,
        /// The epoch in the published word.
        epoch: u16,
    },
}

/// A zone could not be taken over.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum AdoptError {
    /// It has no readable root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Somebody else was granted it.
    #[error("zone slot {zone} belongs to epoch {epoch}, this process was granted {granted}: not taken")]
    Fenced {
        /// The slot.
        zone: usize,
        /// The epoch in the published word.
        epoch: u16,
        /// Our epoch.
        granted: u16,
    },
    /// The root is another match's.
    #[error("zone slot {zone} holds match {found}, not {wanted}: nothing to take over")]
    OtherMatch {
        /// The slot.
        zone: usize,
        /// The match in the root.
        found: u64,
        /// The match that was granted.
        wanted: u64,
    },
    /// A table names pages that are not the zone's.
    #[error("root {sequence} of zone slot {zone} names page {page}, which is not the zone's: run `ringfort fsck`")]
    Dangling {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
        /// The page's index.
        page: u32,
    },
    /// Its last owner died while it ended the match; that is done now, and the zone's memory is back in the arena.
    #[error("match {incarnation} of zone slot {zone} has ended: nothing to take over")]
    Ended {
        /// The slot.
        zone: usize,
        /// The match.
        incarnation: u64,
    },
    /// The zone's tables are not those of this binary's game.
    #[error("zone slot {zone} has {found} logical pages, this game lays out {expected}: it was made by another build")]
    OtherTables {
        /// The slot.
        zone: usize,
        /// In the root.
        found: u32,
        /// In this binary.
        expected: u32,
    },
}

fn zeros() -> *mut u8 {
    ZEROS.as_ptr().cast::<u8>().cast_mut()
}

impl Pages {
    fn empty(world: Rc<World>, zone: usize, incarnation: u64, logical_pages: u32, published: Published) -> Self {
        assert!(logical_pages as usize <= MAX_LOGICAL_PAGES, "the tables fit a zone");
        let slots = (0..logical_pages).map(|_| Slot { at: Cell::new(zeros()), private: Cell::new(false) }).collect();
        let whole = (logical_pages as usize).next_multiple_of(PAGE_WORDS);
        let writer = Writer {
            incarnation,
            first_sequence: published.sequence + 1,
            published,
            handles: vec![PageHandle::NONE; whole],
            tables: [PageHandle::NONE; MAX_TABLES],
            touched: Vec::with_capacity(logical_pages as usize),
            overflow: Vec::new(),
            free: FreePages::new(owner_word(zone, incarnation), zone * 7),
            retired: VecDeque::with_capacity(WINDOW as usize + 2),
        };
        Self { world, zone, slots, writer: RefCell::new(writer) }
    }

    fn claim(world: &World, zone: usize, granted: u16) -> Result<Published, AdoptError> {
        let mut seen = world.published(zone);
        loop {
            if seen.epoch != granted && granted.wrapping_sub(seen.epoch) > u16::MAX / 2 {
                return Err(AdoptError::Fenced { zone, epoch: seen.epoch, granted });
            }
            let mine = Published { epoch: granted, ..seen };
            match world.publish(zone, seen, mine) {
                Ok(()) => return Ok(mine),
                Err(now) => seen = now,
            }
        }
    }

    /// Opens a new match in a zone slot. What an earlier match or an earlier process left behind there is ended and given back
    /// first.
    pub fn open(world: Rc<World>, zone: usize, incarnation: u64, epoch: u16, logical_pages: u32) -> Result<Self, AdoptError> {
        let published = Self::claim(&world, zone, epoch)?;
        let published = clear_out(&world, zone, published)?;
        Ok(Self::empty(world, zone, incarnation, logical_pages, published))
    }

    /// Takes a zone over from its last root: claims the epoch, marks what the window's roots name, and finds all else free.
    pub fn adopt(
        world: Rc<World>,
        zone: usize,
        incarnation: u64,
        epoch: u16,
        logical_pages: u32,
    ) -> Result<(Self, RootHead), AdoptError> {
        let published = Self::claim(&world, zone, epoch)?;
        let newest = world.root(zone, published.sequence)?;
        if newest.head.incarnation != incarnation {
            return Err(AdoptError::OtherMatch { zone, found: newest.head.incarnation, wanted: incarnation });
        }
        if newest.head.flags & RootFlags::ENDED != 0 {
            clear_out(&world, zone, published)?;
            return Err(AdoptError::Ended { zone, incarnation });
        }
        if newest.head.logical_pages != logical_pages {
            return Err(AdoptError::OtherTables { zone, found: newest.head.logical_pages, expected: logical_pages });
        }
        let pages = Self::empty(world, zone, incarnation, logical_pages, published);
        let head = newest.head;
        {
            let mut writer = pages.writer.borrow_mut();
            writer.first_sequence = head.first_sequence;
            writer.mark(&pages.world, zone, &newest)?;
            for (slot, handle) in pages.slots.iter().zip(&writer.handles) {
                slot.at.set(if handle.is_some() { pages.world.page_ptr(handle.index()) } else { zeros() });
            }
        }
        Ok((pages, head))
    }

    /// Where a logical page may be read.
    #[inline]
    pub(crate) fn read(&self, logical: u32) -> *const u8 {
        self.slots[logical as usize].at.get()
    }

    /// Where a logical page may be written: the first call of a tick copies it.
    #[inline]
    pub(crate) fn write(&self, logical: u32) -> *mut u8 {
        let slot = &self.slots[logical as usize];
        if !slot.private.get() {
            self.copy(logical, slot);
        }
        slot.at.get()
    }

    #[cold]
    fn copy(&self, logical: u32, slot: &Slot) {
        let mut writer = self.writer.borrow_mut();
        let page = writer.free.take(&self.world);
        let to = match page {
            Some(index) => self.world.page_ptr(index),
            None => {
                writer.overflow.push(Box::new(HeapPage([0; PAGE_WORDS])));
                writer.overflow.last_mut().expect("just pushed").0.as_mut_ptr().cast()
            }
        };
        // SAFETY: the source is ZEROS, a committed page of this zone or a heap page, all PAGE_BYTES long and not written by
        // anyone (only private pages are, and this slot has none); the target is a page that `free.take` just handed out
        // to this zone alone, or a heap page made above, so the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(slot.at.get().cast_const(), to, PAGE_BYTES) };
        slot.at.set(to);
        slot.private.set(true);
        writer.touched.push((logical, page));
    }

    pub(crate) fn is_private(&self, logical: u32) -> bool {
        self.slots[logical as usize].private.get()
    }

    /// Throws the tick away: every page is the committed one again.
    ///
    /// # Safety
    /// No reference into a table of this zone may be alive.
    pub unsafe fn roll_back(&self) {
        let mut writer = self.writer.borrow_mut();
        let writer = &mut *writer;
        for (logical, page) in writer.touched.drain(..) {
            let slot = &self.slots[logical as usize];
            let handle = writer.handles[logical as usize];
            slot.at.set(if handle.is_some() { self.world.page_ptr(handle.index()) } else { zeros() });
            slot.private.set(false);
            if let Some(index) = page {
                writer.free.put(index);
            }
        }
        writer.overflow.clear();
    }

    /// Publishes the tick: touched pages that differ from their predecessors become part of the next root. `head` brings tick,
    /// cursors, counts and times; the rest is filled in here. On [`CommitError::ArenaFull`] the tick is rolled back and may be
    /// tried again; after [`CommitError::Fenced`] the pages can only be dropped.
    ///
    /// # Safety
    /// No reference into a table of this zone may be alive.
    pub unsafe fn commit(&self, head: RootHead) -> Result<RootHead, CommitError> {
        self.check_fence()?;
        let built = self.writer.borrow_mut().build(&self.world, &self.slots);
        let Some(retired) = built else {
            let extents = self.world.extents_used();
            // SAFETY: passed on to our caller.
            unsafe { self.roll_back() };
            // What this tick took in vain may be what another zone needs.
            self.writer.borrow_mut().free.shrink(&self.world);
            return Err(CommitError::ArenaFull { extents });
        };
        let mut writer = self.writer.borrow_mut();
        let head = RootHead { logical_pages: self.slots.len() as u32, ..head };
        let head = writer.publish(&self.world, self.zone, head)?;
        for (logical, _) in writer.touched.drain(..) {
            self.slots[logical as usize].private.set(false);
        }
        writer.retired.push_back((head.sequence, retired));
        writer.reclaim(&self.world, head.sequence);
        Ok(head)
    }

    /// Ends the match: a last root without pages, out of every reader's window, and all extents back in the arena.
    ///
    /// # Safety
    /// No reference into a table of this zone may be alive; the tables must not be used again.
    pub unsafe fn end(&self, head: RootHead) -> Result<RootHead, CommitError> {
        // SAFETY: passed on to our caller.
        unsafe { self.roll_back() };
        self.check_fence()?;
        let mut writer = self.writer.borrow_mut();
        let head = RootHead { incarnation: writer.incarnation, first_sequence: writer.first_sequence, ..head };
        let (published, head) = vacate(&self.world, self.zone, writer.published, head)
            .map_err(|now| CommitError::Fenced { zone: self.zone, epoch: now.epoch })?;
        writer.published = published;
        writer.tables = [PageHandle::NONE; MAX_TABLES];
        writer.handles.fill(PageHandle::NONE);
        for slot in &self.slots {
            slot.at.set(zeros());
        }
        writer.retired.clear();
        for extent in std::mem::take(&mut writer.free.extents).into_keys() {
            self.world.give_extent(extent as usize);
        }
        Ok(head)
    }

    /// The compare-and-swap of the commit is what decides. This looks before anything is written, so that a process that was
    /// taken for dead does not write into pages and descriptors that are its successor's.
    fn check_fence(&self) -> Result<(), CommitError> {
        let now = self.world.published(self.zone);
        if now == self.writer.borrow().published {
            return Ok(());
        }
        Err(CommitError::Fenced { zone: self.zone, epoch: now.epoch })
    }

    /// Extents that the zone owns.
    pub fn extents(&self) -> usize {
        self.writer.borrow().free.extents.len()
    }
}

/// Publishes roots without pages until every root that names one has left the window. One by one: each descriptor replaces one
/// that has left already, so that the newest root is whole whenever the owner dies, and the next owner goes on.
fn vacate(world: &World, zone: usize, from: Published, head: RootHead) -> Result<(Published, RootHead), Published> {
    let flags = head.flags | RootFlags::ENDED;
    let head = RootHead { flags, logical_pages: 0, tables: 0, pages_used: 0, sessions: 0, entities: 0, ..head };
    let mut root = Root { head, tables: [PageHandle::NONE; MAX_TABLES] };
    let mut published = from;
    for _ in 0..WINDOW {
        let to = Published { sequence: published.sequence + 1, ..published };
        root.head.sequence = to.sequence;
        world.write_root(zone, &mut root);
        crate::kill_point!("end:root_written");
        world.publish(zone, published, to)?;
        crate::kill_point!("end:published");
        published = to;
    }
    Ok((published, root.head))
}

impl World {
    /// Whether a match has published its end. If so, what its owner did not live to do is done: the roots with pages leave the
    /// window, and only then the extents go back. Only for a process that was granted the zone.
    pub fn finish_ended(&self, zone: usize, incarnation: u64) -> bool {
        let ended = self.newest(zone).is_ok_and(|r| r.head.incarnation == incarnation && r.head.flags & RootFlags::ENDED != 0);
        if ended && self.owns_memory(zone, incarnation) {
            // It fails only when somebody else was granted the zone meanwhile, who does the same.
            let _ = clear_out(self, zone, self.published(zone));
        }
        ended
    }

    /// Ends a match that cannot be stepped, whatever it has published, and gives its memory back. Only for a process that was
    /// granted the zone with this epoch.
    pub fn abandon(&self, zone: usize, epoch: u16) -> Result<(), AdoptError> {
        let claimed = Pages::claim(self, zone, epoch)?;
        clear_out(self, zone, claimed).map(drop)
    }

    /// Whether a match owns extents.
    pub fn owns_memory(&self, zone: usize, incarnation: u64) -> bool {
        (0..self.extents()).any(|extent| self.owner(extent) == Some((zone, incarnation)))
    }
}

/// Gives back what an earlier match left in a slot whose epoch was just claimed: its owner died before it was done with that.
fn clear_out(world: &World, zone: usize, claimed: Published) -> Result<Published, AdoptError> {
    if world.extents_of(zone).next().is_none() {
        return Ok(claimed);
    }
    let mut published = claimed;
    if claimed.sequence != 0 {
        let head = world.root(zone, claimed.sequence).map_or(RootHead::new_zeroed(), |root| root.head);
        let fenced = |now: Published| AdoptError::Fenced { zone, epoch: now.epoch, granted: claimed.epoch };
        (published, _) = vacate(world, zone, claimed, head).map_err(fenced)?;
    }
    world.extents_of(zone).for_each(|extent| world.give_extent(extent));
    Ok(published)
}

impl Writer {
    /// Sequence of the next root.
    fn next(&self) -> u64 {
        self.published.sequence + 1
    }

    /// Replaces changed pages' handles and writes their table pages. Returns what this root retires, or `None` without room.
    fn build(&mut self, world: &World, slots: &[Slot]) -> Option<Vec<u32>> {
        if !self.overflow.is_empty() {
            return None;
        }
        let next = self.next();
        let mut tables = [None; MAX_TABLES];
        // Take the table pages first: without room for them nothing may change.
        for (logical, _) in &self.touched {
            let group = *logical as usize / PAGE_WORDS;
            if tables[group].is_none() {
                tables[group] = self.free.take(world);
            }
            if tables[group].is_none() {
                tables.iter().flatten().for_each(|page| self.free.put(*page));
                return None;
            }
        }
        let mut retired = self.recycled_list();
        let mut changed = [false; MAX_TABLES];
        for (logical, page) in &self.touched {
            let page = page.expect("overflow was checked above");
            let old = &mut self.handles[*logical as usize];
            let slot = &slots[*logical as usize];
            let before = if old.is_some() { world.page_ptr(old.index()) } else { zeros() };
            if same_page(before, slot.at.get()) {
                slot.at.set(before);
                self.free.put(page);
                continue;
            }
            if old.is_some() {
                retired.push(old.index());
            }
            *old = PageHandle::new(next, page);
            changed[*logical as usize / PAGE_WORDS] = true;
        }
        for (group, page) in tables.into_iter().enumerate().filter_map(|(group, page)| Some((group, page?))) {
            if !changed[group] {
                self.free.put(page);
                continue;
            }
            let handles = &self.handles[group * PAGE_WORDS..(group + 1) * PAGE_WORDS];
            // SAFETY: `page` was just handed out to this zone alone and is PAGE_BYTES long; a group is PAGE_WORDS handles
            // of one word each (repr of a single u64 field), kept whole by `Pages::empty`.
            unsafe { std::ptr::copy_nonoverlapping(handles.as_ptr().cast::<u8>(), world.page_ptr(page), PAGE_BYTES) };
            if self.tables[group].is_some() {
                retired.push(self.tables[group].index());
            }
            self.tables[group] = PageHandle::new(next, page);
        }
        Some(retired)
    }

    /// An emptied list of an earlier commit, so that a steady zone does not allocate.
    fn recycled_list(&mut self) -> Vec<u32> {
        self.free.spare.pop().unwrap_or_default()
    }

    fn publish(&mut self, world: &World, zone: usize, head: RootHead) -> Result<RootHead, CommitError> {
        let used = self.free.extents.len() * EXTENT_PAGES - self.free.count;
        let head = RootHead {
            sequence: self.next(),
            incarnation: self.incarnation,
            first_sequence: self.first_sequence,
            pages_used: used as u32,
            tables: self.handles.len().div_ceil(PAGE_WORDS) as u32,
            ..head
        };
        let mut root = Root { head, tables: self.tables };
        world.write_root(zone, &mut root);
        crate::kill_point!("commit:root_written");
        let to = Published { sequence: self.next(), ..self.published };
        if let Err(now) = world.publish(zone, self.published, to) {
            return Err(CommitError::Fenced { zone, epoch: now.epoch });
        }
        crate::kill_point!("commit:published");
        self.published = to;
        Ok(root.head)
    }

    /// Frees what no root of the window names any more, and gives extents back that are not needed.
    fn reclaim(&mut self, world: &World, newest: u64) {
        while self.retired.front().is_some_and(|(sequence, _)| sequence + WINDOW <= newest + 1) {
            let (_, mut pages) = self.retired.pop_front().expect("just seen");
            pages.iter().for_each(|page| self.free.put(*page));
            pages.clear();
            self.free.spare.push(pages);
        }
        self.free.shrink(world);
    }

    /// Rebuilds handles, free pages and retirements from the roots of the window.
    fn mark(&mut self, world: &World, zone: usize, newest: &Root) -> Result<(), AdoptError> {
        let owner = owner_word(zone, self.incarnation);
        for extent in (0..world.extents()).filter(|e| world.owner(*e).is_some_and(|(z, i)| owner_word(z, i) == owner)) {
            self.free.extents.insert(extent as u32, 0);
        }
        let mut seen = PageSet::new(world.pages());
        let mut retired: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let oldest = self.published.sequence.saturating_sub(WINDOW - 1).max(self.first_sequence);
        for sequence in (oldest..=self.published.sequence).rev() {
            let is_newest = sequence == self.published.sequence;
            let root = if is_newest { newest.clone() } else { world.root(zone, sequence)? };
            // Whether the page was not seen in a younger root.
            let mut keep = |index: u32| -> Result<bool, AdoptError> {
                if !self.free.extents.contains_key(&(index / EXTENT_PAGES as u32)) {
                    return Err(AdoptError::Dangling { zone, sequence, page: index });
                }
                let new = seen.insert(index);
                if new && !is_newest {
                    retired.entry(sequence + 1).or_default().push(index);
                }
                Ok(new)
            };
            for (group, table) in root.tables[..root.head.tables as usize].iter().enumerate().filter(|(_, t)| t.is_some()) {
                // A page has one life in the window: a table page seen before names what it named there.
                if !keep(table.index())? {
                    continue;
                }
                let mut words: Page = [0; PAGE_WORDS];
                world.copy_page(*table, &mut words);
                for (i, handle) in words.iter().map(|w| PageHandle(*w)).enumerate().filter(|(_, h)| h.is_some()) {
                    keep(handle.index())?;
                    if is_newest {
                        self.handles[group * PAGE_WORDS + i] = handle;
                    }
                }
            }
        }
        self.tables = newest.tables;
        self.retired = retired.into_iter().collect();
        self.free.fill(&seen);
        Ok(())
    }
}

fn same_page(a: *const u8, b: *const u8) -> bool {
    // SAFETY: both are PAGE_BYTES long and aligned to words (arena pages, heap pages or ZEROS), and nobody writes them during
    // the comparison: this thread is the zone's only writer.
    unsafe { *a.cast::<Page>() == *b.cast::<Page>() }
}
