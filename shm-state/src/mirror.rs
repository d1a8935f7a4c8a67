//! A reader's private copy of a zone: refreshed page by page, only what changed, and never seen between two commits.
//!
//! Readers write nothing, so none can hold back a tick. A refresh copies the changed pages aside, validates that their root is
//! still in the window, and only then takes them over; what was copied from a root that has left is thrown away and the copy
//! starts over from the newest. The previous contents of changed pages stay available until the next refresh, so that a
//! front-end can tell which rows changed.

use crate::layout::RootHead;
use crate::limits::{MAX_LOGICAL_PAGES, MAX_REFRESH_ATTEMPTS, MAX_TABLES, PAGE_WORDS};
use crate::memory::{Page, Shared};
use crate::table::TableAt;
use crate::world::{PageHandle, Root, RootError, World};
use zerocopy::IntoBytes;

static ZEROS: Page = [0; PAGE_WORDS];

/// A zone as it was at one commit.
pub struct Mirror {
    zone: usize,
    head: Option<RootHead>,
    tables: Vec<(PageHandle, Box<Page>)>,
    pages: Vec<Option<Box<Page>>>,
    changes: Vec<Change>,
    staged_tables: Vec<(usize, PageHandle, Box<Page>)>,
    staged: Vec<(u32, Option<Box<Page>>)>,
    spare: Vec<Box<Page>>,
}

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
    /// The mirror is a newer commit now; [`Mirror::changes`] tells the pages.
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
    /// Every copy was overtaken by the writer.
    #[error("zone slot {zone} commits faster than this process copies: it is starved of CPU")]
    Overtaken {
        /// The slot.
        zone: usize,
    },
}

enum Staged {
    Valid,
    Left,
    Dangling(u32),
}

impl Mirror {
    /// An empty mirror of a zone slot.
    pub fn new(zone: usize) -> Self {
        Self {
            zone,
            head: None,
            tables: Vec::new(),
            pages: Vec::new(),
            changes: Vec::new(),
            staged_tables: Vec::new(),
            staged: Vec::new(),
            spare: Vec::new(),
        }
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
        self.pages.iter().flatten().count() + self.tables.len() + self.spare.len() + self.changes.len()
    }

    /// Brings the mirror to the newest commit.
    pub fn refresh(&mut self, world: &World) -> Result<Refreshed, MirrorError> {
        let published = world.published(self.zone);
        if self.head.is_some_and(|h| h.sequence == published.sequence) {
            self.forget_changes();
            return Ok(Refreshed::Same);
        }
        for _ in 0..MAX_REFRESH_ATTEMPTS {
            let root = world.newest(self.zone)?;
            let other = self.head.is_none_or(|h| h.incarnation != root.head.incarnation);
            self.drop_staged();
            match self.stage(world, &root, other) {
                Staged::Valid => {
                    self.take_over(&root, other);
                    return Ok(if other { Refreshed::OtherMatch } else { Refreshed::Newer });
                }
                Staged::Dangling(page) => {
                    return Err(MirrorError::Dangling { zone: self.zone, sequence: root.head.sequence, page });
                }
                Staged::Left => {}
            }
        }
        Err(MirrorError::Overtaken { zone: self.zone })
    }

    fn stage(&mut self, world: &World, root: &Root, other: bool) -> Staged {
        let in_use = (root.head.tables as usize).min(MAX_TABLES);
        let held = if other { 0 } else { self.tables.len() };
        for group in 0..in_use.max(held) {
            let handle = if group < in_use { root.tables[group] } else { PageHandle::NONE };
            let have = if other { PageHandle::NONE } else { self.tables.get(group).map_or(PageHandle::NONE, |t| t.0) };
            if handle == have {
                continue;
            }
            let mut table = self.blank();
            if handle.is_some() {
                if !world.copy_page(handle, &mut table) {
                    return self.refuse(world, root, handle.index());
                }
            } else {
                table.fill(0);
            }
            for i in 0..PAGE_WORDS {
                let new = PageHandle(table[i]);
                let old = if have.is_some() { PageHandle(self.tables[group].1[i]) } else { PageHandle::NONE };
                if new == old {
                    continue;
                }
                let logical = group * PAGE_WORDS + i;
                if logical >= MAX_LOGICAL_PAGES {
                    break;
                }
                let mut page = None;
                if new.is_some() {
                    let mut copy = self.blank();
                    if !world.copy_page(new, &mut copy) {
                        return self.refuse(world, root, new.index());
                    }
                    page = Some(copy);
                }
                self.staged.push((logical as u32, page));
            }
            self.staged_tables.push((group, handle, table));
        }
        if world.in_window(self.zone, root.head.sequence) { Staged::Valid } else { Staged::Left }
    }

    /// An index beyond the arena is damage only if the table page that holds it is what was committed.
    fn refuse(&self, world: &World, root: &Root, page: u32) -> Staged {
        if world.in_window(self.zone, root.head.sequence) { Staged::Dangling(page) } else { Staged::Left }
    }

    fn take_over(&mut self, root: &Root, other: bool) {
        self.forget_changes();
        if other {
            self.spare.extend(self.pages.drain(..).flatten());
            self.spare.extend(self.tables.drain(..).map(|t| t.1));
        }
        for (group, handle, table) in self.staged_tables.drain(..) {
            while self.tables.len() <= group {
                let page = self.spare.pop().unwrap_or_else(|| Box::new(ZEROS));
                self.tables.push((PageHandle::NONE, page));
            }
            let old = std::mem::replace(&mut self.tables[group], (handle, table));
            self.spare.push(old.1);
        }
        for (logical, page) in self.staged.drain(..) {
            if self.pages.len() <= logical as usize {
                self.pages.resize_with(logical as usize + 1, || None);
            }
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
        self.spare.extend(self.staged_tables.drain(..).map(|s| s.2));
    }

    fn blank(&mut self) -> Box<Page> {
        self.spare.pop().unwrap_or_else(|| Box::new(ZEROS))
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
