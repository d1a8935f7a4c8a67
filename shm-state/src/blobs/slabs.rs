//! The pages of a blob space as their owner divides them: each has a size class while a blob lies in it, and is free for any class
//! when its last blob goes.
//!
//! Pages of a class that have room are a doubly linked list, free pages a list of their own, and a page's row knows its taken
//! slots: taking and giving a slot looks at a bounded number of rows, however many blobs there are. A row that contradicts
//! another ends the process: its next owner adopts the last commit, and `fsck` names the damage.

use std::rc::Rc;

use super::classes::{Class, first_free, is_taken};
use super::place::Place;
use crate::layout::{BlobMeta, BlobPageRow};
use crate::limits::PAGE_BYTES;
use crate::sheet::Sheet;
use crate::table::Table;
use zerocopy::FromZeros;

const DAMAGED: &str = "the rows of the blob space contradict each other: run `ringfort fsck`";

/// The divided pages of one blob space.
pub(crate) struct Slabs {
    pages: Rc<Sheet>,
    /// First logical page; the rows of `rows` are the pages behind it.
    base: u32,
    rows: Table<BlobPageRow>,
}

impl Slabs {
    /// The pages from `base` on, as many as `rows` has rows, which belong to the caller alone.
    pub(crate) fn new(pages: &Rc<Sheet>, base: u32, rows: Table<BlobPageRow>) -> Self {
        Self { pages: Rc::clone(pages), base, rows }
    }

    pub(crate) fn row(&self, page: u32) -> Option<BlobPageRow> {
        self.rows.get(page).copied()
    }

    #[cfg(test)]
    pub(crate) fn rows(&mut self) -> &mut Table<BlobPageRow> {
        &mut self.rows
    }

    fn row_mut(&mut self, page: u32) -> &mut BlobPageRow {
        self.rows.get_mut(page).expect(DAMAGED)
    }

    /// Whether [`Slabs::take`] would find a slot.
    pub(crate) fn has_room(&self, meta: &BlobMeta, class: Class) -> bool {
        meta.room[class.index()] != 0 || meta.page_free != 0 || meta.pages_used < self.rows.at().rows
    }

    /// Whether giving this slot back frees its page.
    pub(crate) fn is_last(&self, place: &Place) -> bool {
        self.row(place.page).is_some_and(|row| row.used == 1)
    }

    /// Takes a slot for so many bytes, which are zeros; `None` when no page has room and none is free.
    pub(crate) fn take(&mut self, meta: &mut BlobMeta, class: Class, bytes: usize) -> Option<Place> {
        let page = match meta.room[class.index()].checked_sub(1) {
            Some(page) => page,
            None => self.assign(meta, class)?,
        };
        let row = self.row_mut(page);
        let slot = first_free(&row.taken).filter(|slot| row.class == class.number() && *slot < class.slots()).expect(DAMAGED);
        row.taken[slot as usize / 64] |= 1 << (slot % 64);
        row.used += 1;
        if row.used == class.slots() {
            self.unlist(meta, class, page);
        }
        Some(Place { page, class, slot, bytes })
    }

    /// Gives a slot back and zeroes its bytes, so that equal worlds have equal pages.
    pub(crate) fn give(&mut self, meta: &mut BlobMeta, place: &Place) {
        self.write(place, &[]);
        let class = place.class;
        let row = self.row_mut(place.page);
        assert!(row.class == class.number() && is_taken(&row.taken, place.slot), "{DAMAGED}");
        row.taken[place.slot as usize / 64] &= !(1 << (place.slot % 64));
        let was_full = row.used == class.slots();
        row.used = row.used.checked_sub(1).expect(DAMAGED);
        let empty = row.used == 0;
        match (was_full, empty) {
            (false, true) => self.unlist(meta, class, place.page),
            (true, false) => self.list(meta, class, place.page),
            _ => {}
        }
        if empty {
            let next = std::mem::replace(&mut meta.page_free, place.page + 1);
            *self.row_mut(place.page) = BlobPageRow { next, ..BlobPageRow::new_zeroed() };
            meta.pages_held -= 1;
        }
    }

    /// Gives a free page to a class: the one freed last, or one that was never used.
    fn assign(&mut self, meta: &mut BlobMeta, class: Class) -> Option<u32> {
        let page = match meta.page_free.checked_sub(1) {
            Some(page) => {
                meta.page_free = self.row_mut(page).next;
                page
            }
            None if meta.pages_used < self.rows.at().rows => {
                meta.pages_used += 1;
                meta.pages_used - 1
            }
            None => return None,
        };
        self.rows.insert(page, BlobPageRow { class: class.number(), ..BlobPageRow::new_zeroed() });
        meta.pages_held += 1;
        self.list(meta, class, page);
        Some(page)
    }

    /// Puts a page at the head of its class's list.
    fn list(&mut self, meta: &mut BlobMeta, class: Class, page: u32) {
        let next = std::mem::replace(&mut meta.room[class.index()], page + 1);
        if let Some(next) = next.checked_sub(1) {
            self.row_mut(next).prev = page + 1;
        }
        let row = self.row_mut(page);
        (row.next, row.prev) = (next, 0);
    }

    /// Takes a page out of its class's list.
    fn unlist(&mut self, meta: &mut BlobMeta, class: Class, page: u32) {
        let row = self.row_mut(page);
        let (next, prev) = (std::mem::take(&mut row.next), std::mem::take(&mut row.prev));
        match prev.checked_sub(1) {
            Some(prev) => self.row_mut(prev).next = next,
            None => meta.room[class.index()] = next,
        }
        if let Some(next) = next.checked_sub(1) {
            self.row_mut(next).prev = prev;
        }
    }

    /// The bytes of a blob.
    pub(crate) fn bytes(&self, place: &Place) -> &[u8] {
        let range = self.range(place);
        let page = self.pages.read(self.base + place.page);
        // SAFETY: `read` gives a page of PAGE_BYTES, and `range` checked that the range lies inside it. The space's pages are
        // written only through `write`, which takes `&mut self`, and a commit or roll-back demands that no reference is alive.
        unsafe { std::slice::from_raw_parts(page.add(range.start), range.len()) }
    }

    /// Writes a slot: the blob's bytes, and zeros to its end.
    pub(crate) fn write(&mut self, place: &Place, bytes: &[u8]) {
        let range = place.class.slot(place.slot);
        assert!(range.end <= PAGE_BYTES && bytes.len() <= range.len() && place.page < self.rows.at().rows, "{DAMAGED}");
        let page = self.pages.write(self.base + place.page);
        // SAFETY: `write` gives a private page of PAGE_BYTES, and the slot was checked to lie inside it. `&mut self` excludes
        // references into the space's pages, and no other table has them (contract of `Blobs::bind`).
        let slot = unsafe { std::slice::from_raw_parts_mut(page.add(range.start), range.len()) };
        let (head, tail) = slot.split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        tail.fill(0);
    }

    fn range(&self, place: &Place) -> std::ops::Range<usize> {
        let range = place.range();
        assert!(range.end <= PAGE_BYTES && place.page < self.rows.at().rows, "{DAMAGED}");
        range
    }
}
