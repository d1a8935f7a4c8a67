//! The logical `fsck` of a blob space: follows ids, pages and lists of a mirrored commit, and names what contradicts what.
//!
//! Reads a mirror and nothing else. Every walk visits a row at most once, so damaged lists end it.

use super::classes::{Class, is_taken};
use super::place::Place;
use super::{BlobId, BlobsAt};
use crate::layout::{BlobMeta, BlobPageRow, BlobRow};
use crate::limits::BLOB_SLOT_WORDS;
use crate::mirror::Mirror;
use zerocopy::{FromZeros, IntoBytes};

/// A list of a blob space's allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobList {
    /// Indices of dead ids.
    FreeIds,
    /// Pages without a size class.
    FreePages,
    /// Pages with slots of so many bytes, one of them free.
    Room(usize),
}

impl std::fmt::Display for BlobList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FreeIds => write!(f, "the list of free ids"),
            Self::FreePages => write!(f, "the list of free pages"),
            Self::Room(bytes) => write!(f, "the list of pages with room for {bytes} bytes"),
        }
    }
}

/// Something that no commit may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobProblem {
    /// An id names a page without a class, beyond the space, or a slot that is not taken.
    #[error("dangling: blob {id} names slot {slot} of blob page {page}, which is not taken")]
    Dangling {
        /// The blob.
        id: BlobId,
        /// The page of the space.
        page: u32,
        /// The slot.
        slot: u32,
    },
    /// Two ids name one slot.
    #[error("doubly owned: slot {slot} of blob page {page} belongs to blob {id} and to another")]
    DoublyOwned {
        /// The second that names it.
        id: BlobId,
        /// The page of the space.
        page: u32,
        /// The slot.
        slot: u32,
    },
    /// A slot is taken and no id names it.
    #[error("leaked: slot {slot} of blob page {page} is taken and belongs to no blob")]
    Leaked {
        /// The page of the space.
        page: u32,
        /// The slot.
        slot: u32,
    },
    /// A blob's length does not belong into its slot.
    #[error("wrong length: blob {id} has {bytes} bytes in a slot for {slot_bytes}")]
    WrongLength {
        /// The blob.
        id: BlobId,
        /// Its length.
        bytes: u16,
        /// Bytes of the slot.
        slot_bytes: usize,
    },
    /// A page has a size class that does not exist.
    #[error("wrong class: blob page {page} has size class {class}")]
    WrongClass {
        /// The page of the space.
        page: u32,
        /// What its row says.
        class: u32,
    },
    /// A page's taken slots are not what it counts, reach beyond its slots, or leave it empty and yet not free.
    #[error("wrong use: blob page {page} counts {used} slots, its bits say {taken}, its class has {slots}")]
    WrongUse {
        /// The page of the space.
        page: u32,
        /// What its row counts.
        used: u32,
        /// Bits set.
        taken: u32,
        /// Slots of its class, 0 when it is free.
        slots: u32,
    },
    /// A list names a row that is not its own, or one twice, or a page whose way back leads elsewhere.
    #[error("broken list: {list} names row {row}, which is not its next")]
    BrokenList {
        /// The list.
        list: BlobList,
        /// The row that it names.
        row: u32,
    },
    /// A row belongs to a list that does not name it: it is lost to the allocator.
    #[error("lost: row {row} is missing from {list}")]
    Unlisted {
        /// The list.
        list: BlobList,
        /// The row.
        row: u32,
    },
    /// A row of ids or pages is missing among those that were used, or stands where none was used, or is neither dead nor alive.
    #[error("wrong row: row {row} of the blobs' {table} table is not what the allocator writes")]
    WrongRow {
        /// `id` or `page`.
        table: &'static str,
        /// The row.
        row: u32,
    },
    /// A counter is not what there is.
    #[error("wrong count: the blob space counts {counted} {what}, there are {found}")]
    WrongCount {
        /// What is counted.
        what: &'static str,
        /// What the counter says.
        counted: u64,
        /// What there is.
        found: u64,
    },
    /// A byte that belongs to no blob is not zero.
    #[error("not zero: slot {slot} of blob page {page} has bytes that belong to no blob")]
    NotZero {
        /// The page of the space.
        page: u32,
        /// The slot, in a free page the first of the page.
        slot: u32,
    },
}

/// Everything that is wrong with a blob space as it was at a mirror's commit.
pub fn check(at: &BlobsAt, mirror: &Mirror) -> Vec<BlobProblem> {
    let mut check = Check::read(at, mirror);
    check.rows();
    check.blobs();
    check.uses();
    check.bytes();
    check.id_list();
    check.page_lists();
    check.counts();
    check.problems
}

/// Slots of the page that has most.
const SLOTS: usize = BLOB_SLOT_WORDS * 64;

struct Check<'m> {
    at: &'m BlobsAt,
    mirror: &'m Mirror,
    meta: BlobMeta,
    ids: Vec<Option<BlobRow>>,
    /// Rows of all pages, zeros where there is none.
    pages: Vec<BlobPageRow>,
    /// Slots that ids name, and how many bytes of each.
    named: Vec<Vec<(u32, usize)>>,
    problems: Vec<BlobProblem>,
}

impl<'m> Check<'m> {
    fn read(at: &'m BlobsAt, mirror: &'m Mirror) -> Self {
        let page = |row| mirror.get(&at.pages, row).unwrap_or(BlobPageRow::new_zeroed());
        Self {
            at,
            mirror,
            meta: mirror.get(&at.meta, 0).unwrap_or(BlobMeta::new_zeroed()),
            ids: (0..at.ids.rows).map(|row| mirror.get(&at.ids, row)).collect(),
            pages: (0..at.pages.rows).map(page).collect(),
            named: vec![Vec::new(); at.pages.rows as usize],
            problems: Vec::new(),
        }
    }

    /// Rows stand exactly where the counters say that they were used.
    fn rows(&mut self) {
        for (table, at, used) in [("id", self.at.ids, self.meta.ids_used), ("page", self.at.pages, self.meta.pages_used)] {
            let wrong = |row: &u32| self.mirror.row(&at, *row).is_some() != (*row < used);
            self.problems.extend((0..at.rows).filter(wrong).map(|row| BlobProblem::WrongRow { table, row }));
            if used > at.rows {
                self.problems.push(BlobProblem::WrongRow { table, row: used - 1 });
            }
        }
        for (index, row) in self.ids.iter().enumerate() {
            let whole = |row: BlobRow| match row.page {
                0 => row.slot == 0 && row.bytes == 0,
                _ => row.next_free == 0,
            };
            if row.is_some_and(|row| row.generation == 0 || !whole(row)) {
                self.problems.push(BlobProblem::WrongRow { table: "id", row: index as u32 });
            }
        }
    }

    /// Every living id names a slot of its own.
    fn blobs(&mut self) {
        let mut owned = vec![[0u64; BLOB_SLOT_WORDS]; self.pages.len()];
        for (index, row) in self.ids.iter().enumerate() {
            let Some(row) = row.filter(|row| row.page != 0) else { continue };
            let id = BlobId { index: index as u32, generation: row.generation };
            match Place::of(id, &row, |page| self.pages.get(page as usize).copied()) {
                Ok(place) => {
                    let owned = &mut owned[place.page as usize];
                    if is_taken(owned, place.slot) {
                        self.problems.push(BlobProblem::DoublyOwned { id, page: place.page, slot: place.slot });
                    }
                    owned[place.slot as usize / 64] |= 1 << (place.slot % 64);
                    self.named[place.page as usize].push((place.slot, place.bytes));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        for (page, (row, owned)) in self.pages.iter().zip(&owned).enumerate() {
            let slots = Class::from_row(row.class).map_or(0, Class::slots);
            let leaked = (0..slots).filter(|slot| is_taken(&row.taken, *slot) && !is_taken(owned, *slot));
            self.problems.extend(leaked.map(|slot| BlobProblem::Leaked { page: page as u32, slot }));
        }
    }

    /// Every page's class exists, and its count is that of its bits.
    fn uses(&mut self) {
        for (page, row) in self.pages.iter().enumerate() {
            let (page, class) = (page as u32, Class::from_row(row.class));
            if row.class != 0 && class.is_none() {
                self.problems.push(BlobProblem::WrongClass { page, class: row.class });
                continue;
            }
            let slots = class.map_or(0, Class::slots);
            let taken = count(row);
            let beyond = (slots..SLOTS as u32).any(|slot| is_taken(&row.taken, slot));
            if row.used != taken || beyond || (class.is_some() && taken == 0) {
                self.problems.push(BlobProblem::WrongUse { page, used: row.used, taken, slots });
            }
        }
    }

    /// What no blob owns is zero.
    fn bytes(&mut self) {
        for (page, row) in self.pages.iter().enumerate() {
            let mut bytes = *self.mirror.page(self.at.base + page as u32);
            let bytes = bytes.as_mut_bytes();
            let class = Class::from_row(row.class);
            if let Some(class) = class {
                // A slot that leaked is reported as that.
                let mut lengths = [0; SLOTS];
                let taken = (0..class.slots()).filter(|slot| is_taken(&row.taken, *slot));
                taken.for_each(|slot| lengths[slot as usize] = class.bytes());
                self.named[page].iter().for_each(|(slot, length)| lengths[*slot as usize] = *length);
                (0..class.slots()).for_each(|slot| bytes[class.slot(slot)][..lengths[slot as usize]].fill(0));
            }
            if let Some(first) = bytes.iter().position(|byte| *byte != 0) {
                let slot = class.map_or(0, |class| (first / class.bytes()) as u32);
                self.problems.push(BlobProblem::NotZero { page: page as u32, slot });
            }
        }
    }

    /// The free ids are exactly the dead ones.
    fn id_list(&mut self) {
        let free = |row: u32| self.ids.get(row as usize).copied().flatten().filter(|r| r.page == 0);
        let mut seen = vec![false; self.ids.len()];
        let broken = walk(self.meta.id_free, &mut seen, |row, _| Some(free(row)?.next_free));
        let lost = |row: &u32| !seen[*row as usize] && free(*row).is_some();
        let list = BlobList::FreeIds;
        self.problems.extend(broken.map(|row| BlobProblem::BrokenList { list, row }));
        self.problems.extend((0..self.at.ids.rows).filter(lost).map(|row| BlobProblem::Unlisted { list, row }));
    }

    /// Every page that is free or has room is in its list, which leads back as it leads forth.
    fn page_lists(&mut self) {
        let list_of = |row: u32, page: &BlobPageRow| match Class::from_row(page.class) {
            Some(class) => (count(page) < class.slots()).then(|| BlobList::Room(class.bytes())),
            None => (page.class == 0 && row < self.meta.pages_used).then_some(BlobList::FreePages),
        };
        let mut seen = vec![false; self.pages.len()];
        let rooms = Class::all().map(|class| (BlobList::Room(class.bytes()), self.meta.room[class.index()]));
        for (list, head) in std::iter::once((BlobList::FreePages, self.meta.page_free)).chain(rooms) {
            let broken = walk(head, &mut seen, |row, before| {
                let page = self.pages.get(row as usize).filter(|page| list_of(row, page) == Some(list))?;
                let before = if list == BlobList::FreePages { 0 } else { before };
                (page.prev == before).then_some(page.next)
            });
            self.problems.extend(broken.map(|row| BlobProblem::BrokenList { list, row }));
        }
        for (row, page) in self.pages.iter().enumerate().filter(|(row, _)| !seen[*row]) {
            let row = row as u32;
            self.problems.extend(list_of(row, page).map(|list| BlobProblem::Unlisted { list, row }));
        }
    }

    fn counts(&mut self) {
        let alive = || self.ids.iter().flatten().filter(|row| row.page != 0);
        let bytes = alive().map(|row| u64::from(row.bytes)).sum();
        let held = self.pages.iter().filter(|page| page.class != 0).count() as u64;
        for (what, counted, found) in [
            ("blobs", self.meta.blobs.into(), alive().count() as u64),
            ("bytes", self.meta.bytes, bytes),
            ("pages in use", self.meta.pages_held.into(), held),
        ] {
            if counted != found {
                self.problems.push(BlobProblem::WrongCount { what, counted, found });
            }
        }
    }
}

fn count(page: &BlobPageRow) -> u32 {
    page.taken.iter().map(|word| word.count_ones()).sum()
}

/// Follows a list of row numbers + 1, marking what it sees; `next` is asked with a row and the one before it + 1, and gives `None` for
/// a row that is not the list's. Returns the first row that the list may not name.
fn walk(head: u32, seen: &mut [bool], next: impl Fn(u32, u32) -> Option<u32>) -> Option<u32> {
    let (mut before, mut at) = (0, head);
    while let Some(row) = at.checked_sub(1) {
        match (seen.get(row as usize), next(row, before)) {
            (Some(false), Some(next)) => {
                seen[row as usize] = true;
                (before, at) = (at, next);
            }
            _ => return Some(row),
        }
    }
    None
}
