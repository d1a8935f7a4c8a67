//! A reader's private copy of a zone: refreshed page by page, only what changed, and never seen between two commits.
//!
//! Readers write nothing, so none can hold back a tick. A refresh copies the changed pages aside, validates that their root is
//! still in the window, and only then takes them over; what was copied from a root that has left is thrown away and the copy
//! starts over from the newest. The previous contents of changed pages stay available until the next refresh, so that a
//! front-end can tell which rows changed.

use std::ops::Range;

use crate::hash::page_hash;
use crate::layout::RootHead;
use crate::limits::{MAX_REFRESH_ATTEMPTS, PAGE_WORDS};
use crate::memory::{Page, Shared, Words};
use crate::table::TableAt;
use crate::tree::{MAX_LEVELS, Named, Tree};
use crate::world::{PageHandle, Root, RootError, World};
use zerocopy::IntoBytes;

/// Words of a cache line.
const LINE_WORDS: usize = 8;

static ZEROS: Page = [0; PAGE_WORDS];

/// A zone as it was at one commit.
pub struct Mirror {
    zone: usize,
    /// The logical pages that it copies; empty for all.
    only: Vec<Range<u32>>,
    head: Option<RootHead>,
    /// Table pages and directory pages, by level; level 0 is empty.
    tables: [Vec<Option<Held>>; MAX_LEVELS + 1],
    pages: Vec<Option<Box<Page>>>,
    changes: Vec<Change>,
    staged_tables: Vec<(Named, Box<Page>)>,
    staged: Vec<(u32, Option<Box<Page>>)>,
    spare: Vec<Box<Page>>,
}

/// A table page: which it is, and a copy.
type Held = (PageHandle, Box<Page>);

/// A logical page that the last refresh replaced.
#[derive(Debug)]
pub struct Change {
    /// Which.
    pub logical: u32,
    /// What it was before; `None` when it was zeros.
    pub before: Option<Box<Page>>,
}

/// What a refresh found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The mirror is the newest commit already.
    Same,
    /// The mirror is another commit now, a newer one unless an earlier tick was asked for; [`Mirror::changes`] tells the pages.
    Newer,
    /// The slot holds another match now; the mirror starts from it, and every page is a change.
    OtherMatch,
}

/// A zone could not be mirrored; the mirror still is the commit that it was.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum MirrorError {
    /// There is no readable root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A committed table names a page that the arena does not have.
    #[error("root {sequence} of zone slot {zone} names page {page} beyond the arena: run `ringfort fsck`")]
    Dangling {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
        /// The page's index.
        page: u32,
    },
    /// A root names more pages than the arena has, so it names some twice.
    #[error("root {sequence} of zone slot {zone} names more pages than the arena has: run `ringfort fsck`")]
    TooMany {
        /// The slot.
        zone: usize,
        /// The root's sequence.
        sequence: u64,
    },
    /// Every copy was overtaken by the writer.
    #[error("zone slot {zone} commits faster than this process copies: it is starved of CPU")]
    Overtaken {
        /// The slot.
        zone: usize,
    },
}

/// Why a root cannot be followed, if it still is the one that was committed.
enum Refused {
    /// A handle names a page that the arena does not have.
    Beyond(u32),
    /// More pages than the arena has were copied: no memory of a reader's is worth a root that lies.
    TooMany,
}

impl Mirror {
    /// An empty mirror of a zone slot.
    pub fn new(zone: usize) -> Self {
        Self {
            zone,
            only: Vec::new(),
            head: None,
            tables: Default::default(),
            pages: Vec::new(),
            changes: Vec::new(),
            staged_tables: Vec::new(),
            staged: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// An empty mirror of some logical pages of a zone slot; all others stay zeros, and [`Mirror::state_hash`] means nothing.
    pub fn of_pages(zone: usize, only: Vec<Range<u32>>) -> Self {
        Self { only, ..Self::new(zone) }
    }

    /// The commit that it shows.
    pub fn head(&self) -> Option<&RootHead> {
        self.head.as_ref()
    }

    /// The zone slot.
    pub fn zone(&self) -> usize {
        self.zone
    }

    /// Pages that the last refresh replaced, in logical order within a table page.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// A logical page.
    #[inline]
    pub fn page(&self, logical: u32) -> &Page {
        self.pages.get(logical as usize).and_then(|p| p.as_deref()).unwrap_or(&ZEROS)
    }

    /// Pages that it holds, for accounts of memory.
    pub fn held_pages(&self) -> usize {
        let tables: usize = self.tables.iter().map(|level| level.iter().flatten().count()).sum();
        self.pages.iter().flatten().count() + tables + self.spare.len() + self.changes.len()
    }

    /// Brings the mirror to the newest commit.
    pub fn refresh(&mut self, world: &World<impl Words>) -> Result<Refreshed, MirrorError> {
        if self.head.is_some_and(|held| held.sequence == world.published(self.zone).sequence) {
            self.forget_changes();
            return Ok(Refreshed::Same);
        }
        self.follow(world, |world, zone| world.newest(zone))
    }

    /// Brings the mirror to the commit of a tick, an earlier or a later one, while that is in the window.
    pub fn refresh_at(&mut self, world: &World<impl Words>, tick: u32) -> Result<Refreshed, MirrorError> {
        self.follow(world, |world, zone| world.root_at(zone, tick))
    }

    pub(crate) fn follow<M: Words>(
        &mut self,
        world: &World<M>,
        choose: impl Fn(&World<M>, usize) -> Result<Root, RootError>,
    ) -> Result<Refreshed, MirrorError> {
        for _ in 0..MAX_REFRESH_ATTEMPTS {
            let root = choose(world, self.zone)?;
            if self.head.is_some_and(|held| held.sequence == root.head.sequence) {
                self.forget_changes();
                return Ok(Refreshed::Same);
            }
            let tree = Tree::new(root.head.logical_pages as usize);
            let other = self
                .head
                .is_none_or(|held| held.incarnation != root.head.incarnation || Tree::new(held.logical_pages as usize) != tree);
            self.drop_staged();
            let staged = self.stage(world, &root, &tree, other);
            // What was read of a root that has left may be anything; only of one in the window it is what was committed.
            if !world.in_window(self.zone, root.head.sequence) {
                continue;
            }
            if let Err(refused) = staged {
                let (zone, sequence) = (self.zone, root.head.sequence);
                return Err(match refused {
                    Refused::Beyond(page) => MirrorError::Dangling { zone, sequence, page },
                    Refused::TooMany => MirrorError::TooMany { zone, sequence },
                });
            }
            self.take_over(&root, &tree, other);
            return Ok(if other { Refreshed::OtherMatch } else { Refreshed::Newer });
        }
        Err(MirrorError::Overtaken { zone: self.zone })
    }

    fn stage<M: Words>(&mut self, world: &World<M>, root: &Root, tree: &Tree, other: bool) -> Result<(), Refused> {
        for (position, handle) in root.tables[..tree.roots()].iter().enumerate() {
            let have = if other { PageHandle::NONE } else { self.held(tree.top, position) };
            self.stage_page(world, tree, Named { handle: *handle, level: tree.top, position }, have)?;
        }
        Ok(())
    }

    /// The handle of the table page that the mirror holds.
    fn held(&self, level: usize, position: usize) -> PageHandle {
        self.tables[level].get(position).and_then(Option::as_ref).map_or(PageHandle::NONE, |held| held.0)
    }

    /// Copies a page aside whose handle is not the one that the mirror has, and of a table page all below that has changed.
    fn stage_page<M: Words>(&mut self, world: &World<M>, tree: &Tree, named: Named, have: PageHandle) -> Result<(), Refused> {
        if named.handle == have || !self.wants(&named) {
            return Ok(());
        }
        let mut copy = None;
        if named.handle.is_some() {
            if self.staged.len() + self.staged_tables.len() >= 2 * world.pages() {
                return Err(Refused::TooMany);
            }
            let mut page = self.blank();
            if !world.copy_page(named.handle, &mut page) {
                self.spare.push(page);
                return Err(Refused::Beyond(named.handle.index()));
            }
            copy = Some(page);
        }
        if named.level == 0 {
            self.staged.push((named.position as u32, copy));
            return Ok(());
        }
        let table = copy.unwrap_or_else(|| Box::new(ZEROS));
        let (level, first) = (named.level - 1, named.position * PAGE_WORDS);
        // Lent out, so that it is not copied; it goes back whatever is found.
        let held = if have.is_some() { self.tables[named.level][named.position].take() } else { None };
        let old = held.as_ref().map_or(&ZEROS, |held| &*held.1);
        let below = PAGE_WORDS.min(tree.counts[level] - first);
        // Nearly all handles are the same: they are compared a line at a time.
        let lines = table.as_chunks::<LINE_WORDS>().0.iter().zip(old.as_chunks::<LINE_WORDS>().0).enumerate();
        let lines = lines.filter(|(_, (new, old))| new != old).map(|(line, _)| line * LINE_WORDS);
        let changed = lines.flat_map(|from| from..from + LINE_WORDS).filter(|i| *i < below && table[*i] != old[*i]);
        let staged = changed.map(|i| (Named { handle: PageHandle(table[i]), level, position: first + i }, PageHandle(old[i])));
        let result = staged.into_iter().try_for_each(|(named, have)| self.stage_page(world, tree, named, have));
        if have.is_some() {
            self.tables[named.level][named.position] = held;
        }
        result?;
        self.staged_tables.push((named, table));
        Ok(())
    }

    /// Whether a page, or some of those below a table page, are among the ones to be copied.
    fn wants(&self, named: &Named) -> bool {
        let span = PAGE_WORDS.pow(named.level as u32);
        let (from, to) = (named.position * span, (named.position + 1) * span);
        self.only.is_empty() || self.only.iter().any(|only| (only.start as usize) < to && from < only.end as usize)
    }

    fn take_over(&mut self, root: &Root, tree: &Tree, other: bool) {
        self.forget_changes();
        if other {
            self.spare.extend(self.pages.drain(..).flatten());
            for (level, held) in self.tables.iter_mut().enumerate() {
                self.spare.extend(held.drain(..).flatten().map(|table| table.1));
                held.resize_with(if level == 0 { 0 } else { tree.counts[level] }, || None);
            }
            self.pages.resize_with(tree.counts[0], || None);
        }
        for (Named { handle, level, position }, table) in self.staged_tables.drain(..) {
            let table = if handle.is_some() { Some((handle, table)) } else { None };
            let old = std::mem::replace(&mut self.tables[level][position], table);
            self.spare.extend(old.map(|table| table.1));
        }
        for (logical, page) in self.staged.drain(..) {
            let before = std::mem::replace(&mut self.pages[logical as usize], page);
            self.changes.push(Change { logical, before });
        }
        self.head = Some(root.head);
    }

    fn forget_changes(&mut self) {
        self.spare.extend(self.changes.drain(..).filter_map(|c| c.before));
    }

    fn drop_staged(&mut self) {
        self.spare.extend(self.staged.drain(..).filter_map(|s| s.1));
        self.spare.extend(self.staged_tables.drain(..).map(|s| s.1));
    }

    fn blank(&mut self) -> Box<Page> {
        self.spare.pop().unwrap_or_else(|| Box::new(ZEROS))
    }

    /// The state hash of what the mirror holds. That of its commit is in [`Mirror::head`], and the two are equal.
    pub fn state_hash(&self) -> u64 {
        let pages = self.pages.iter().enumerate().filter_map(|(logical, page)| Some(page_hash(logical as u32, page.as_deref()?)));
        pages.fold(0, u64::wrapping_add)
    }

    /// A present row's bytes.
    #[inline]
    pub fn row(&self, table: &TableAt, row: u32) -> Option<&[u8]> {
        if row >= table.rows {
            return None;
        }
        row_in(self.page(table.base + row / table.per_page), table, row % table.per_page)
    }

    /// A present row as a shared struct.
    pub fn get<T: Shared>(&self, table: &TableAt, row: u32) -> Option<T> {
        T::read_from_bytes(self.row(table, row)?).ok()
    }

    /// Present rows of a table as shared structs, in index order.
    pub fn iter<T: Shared>(&self, table: TableAt) -> impl Iterator<Item = (u32, T)> {
        (0..table.rows).filter_map(move |row| Some((row, self.get::<T>(&table, row)?)))
    }
}

/// A present row's bytes in a page.
#[inline]
pub fn row_in<'p>(page: &'p Page, table: &TableAt, index: u32) -> Option<&'p [u8]> {
    if page[index as usize / 64] >> (index % 64) & 1 == 0 {
        return None;
    }
    let start = (table.first_row + index * table.row_bytes) as usize;
    page.as_bytes().get(start..start + table.row_bytes as usize)
}
