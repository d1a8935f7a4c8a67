//! Tables: fixed-size rows with a presence bitmap, in copy-on-write pages.
//!
//! A page holds its rows' presence bits first and the rows behind them, so one touched page is one change. A column of the
//! game, the entity table, sessions and timers are all tables; where each lies is a matter of declaring them in one order in
//! every process ([`Tables`]).

use std::marker::PhantomData;
use std::rc::Rc;

use crate::layout::hash_bytes;
use crate::limits::{MAX_LOGICAL_PAGES, PAGE_BYTES};
use crate::memory::Page;
use crate::mirror::row_in;
use crate::plain::{Plain, clear_padding};
use crate::sheet::{Rows, Sheet};

/// Alignment of the first row of a page; no row may ask for more.
pub(crate) const ROW_ALIGN: usize = 16;

/// Bytes of the largest row.
pub const MAX_ROW_BYTES: usize = PAGE_BYTES - ROW_ALIGN;

/// Rows of a given size that fit a page beside their presence bits.
pub const fn rows_per_page(row_bytes: usize) -> usize {
    let mut rows = PAGE_BYTES / row_bytes;
    while presence_bytes(rows) + rows * row_bytes > PAGE_BYTES {
        rows -= 1;
    }
    rows
}

/// Bytes of the presence bits of so many rows, and offset of the first row.
pub const fn presence_bytes(rows: usize) -> usize {
    rows.div_ceil(8).next_multiple_of(ROW_ALIGN)
}

/// Where a table lies in its zone's logical pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableAt {
    /// First logical page.
    pub base: u32,
    /// Rows that fit.
    pub rows: u32,
    /// Bytes of a row.
    pub row_bytes: u32,
    /// Rows in a page.
    pub per_page: u32,
    /// Byte offset of a page's first row.
    pub first_row: u32,
}

impl TableAt {
    /// Logical pages that it takes.
    pub fn pages(&self) -> u32 {
        self.rows.div_ceil(self.per_page)
    }

    /// The logical pages themselves.
    pub fn logical_pages(&self) -> std::ops::Range<u32> {
        self.base..self.base + self.pages()
    }

    /// Whether a logical page is one of its own.
    pub fn contains(&self, logical: u32) -> bool {
        self.logical_pages().contains(&logical)
    }
}

/// Declares a zone's tables. Every process that declares the same tables in the same order finds the same rows.
#[derive(Clone, Debug)]
pub struct Tables {
    pages: u32,
    hash: u64,
}

/// The zone's tables need more than a zone can have.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "the tables of the match need {pages} pages, a zone has at most {MAX_LOGICAL_PAGES}: lower its capacity or the size of its components"
)]
pub struct TooManyPages {
    /// Pages needed.
    pub pages: u32,
}

impl Default for Tables {
    fn default() -> Self {
        Self { pages: 0, hash: hash_bytes(b"tables") }
    }
}

impl Tables {
    /// Adds a table.
    ///
    /// # Panics
    /// When a row is larger than a page: a component that large is a mistake of the game.
    pub fn add(&mut self, rows: u32, row_bytes: usize) -> TableAt {
        assert!(row_bytes > 0 && row_bytes <= MAX_ROW_BYTES, "a row of {row_bytes} bytes does not fit a page");
        let per_page = rows_per_page(row_bytes);
        let (first_row, per_page) = (presence_bytes(per_page) as u32, per_page as u32);
        let at = TableAt { base: self.pages, rows, row_bytes: row_bytes as u32, per_page, first_row };
        self.pages += at.pages();
        self.hash = hash_bytes(format!("{} {rows} {row_bytes}", self.hash).as_bytes());
        at
    }

    /// Adds pages without rows, for what divides its pages itself; returns the first.
    pub(crate) fn add_pages(&mut self, pages: u32) -> u32 {
        let base = self.pages;
        self.pages += pages;
        self.hash = hash_bytes(format!("{} {pages} pages", self.hash).as_bytes());
        base
    }

    /// Logical pages of all tables.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// A hash of the order and sizes of the tables: processes that differ must not share a zone.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Refuses tables that no zone can hold.
    pub fn check(&self) -> Result<(), TooManyPages> {
        if self.pages as usize > MAX_LOGICAL_PAGES { Err(TooManyPages { pages: self.pages }) } else { Ok(()) }
    }
}

/// A table on a zone's pages, or on what reads like them: reads go to the committed page, the first write of a tick copies it.
pub struct Table<T> {
    pages: Rc<Sheet>,
    at: TableAt,
    rows: PhantomData<T>,
}

impl<T: Plain> Table<T> {
    const PER_PAGE: u32 = {
        assert!(align_of::<T>() <= ROW_ALIGN, "rows are aligned to at most 16 bytes");
        rows_per_page(size_of::<T>()) as u32
    };
    const FIRST_ROW: usize = presence_bytes(Self::PER_PAGE as usize);

    /// The table at a place.
    ///
    /// # Panics
    /// When the place was declared for rows of another size.
    ///
    /// # Safety
    /// No other `Table` for the same place of the same pages may be used in this process, through other pages of the same zone
    /// neither, but for those of its past; the rows there were written as `T` by this program (or not at all); and nobody stores into
    /// the zone's pages by way of their memory.
    pub unsafe fn bind(pages: &impl Rows, at: TableAt) -> Self {
        assert_eq!(at.row_bytes as usize, size_of::<T>(), "the table was declared for rows of this size");
        Self { pages: Rc::clone(pages.sheet()), at, rows: PhantomData }
    }

    /// Where it lies.
    pub fn at(&self) -> TableAt {
        self.at
    }

    #[inline]
    fn place(&self, row: u32) -> Option<(u32, u32)> {
        (row < self.at.rows).then(|| (self.at.base + row / Self::PER_PAGE, row % Self::PER_PAGE))
    }

    #[inline]
    fn present_in(page: *const u8, index: u32) -> bool {
        // SAFETY: `page` is a page of this table (PAGE_BYTES long, word-aligned) and `index < PER_PAGE`, whose presence bit
        // lies within FIRST_ROW bytes; only this thread writes the page.
        let word = unsafe { *page.cast::<u64>().add(index as usize / 64) };
        word >> (index % 64) & 1 == 1
    }

    #[inline]
    fn row_in(page: *const u8, index: u32) -> *const T {
        page.wrapping_add(Self::FIRST_ROW + index as usize * size_of::<T>()).cast()
    }

    /// A present row.
    #[inline]
    pub fn get(&self, row: u32) -> Option<&T> {
        let (page, index) = self.place(row)?;
        let page = self.pages.read(page);
        // SAFETY: the row is present, so it was written as a `T` (contract of `bind`); it lies inside the page and is
        // aligned (`rows_per_page`, ROW_ALIGN). It is not written while `&self` is borrowed: writing takes `&mut self`, and
        // a commit or roll-back demands that no reference is alive.
        Self::present_in(page, index).then(|| unsafe { &*Self::row_in(page, index) })
    }

    /// A present row, for writing; copies its page at the first write of the tick.
    #[inline]
    pub fn get_mut(&mut self, row: u32) -> Option<&mut T> {
        let (page, index) = self.place(row)?;
        if !Self::present_in(self.pages.read(page), index) {
            return None;
        }
        let page = self.pages.write(page);
        // SAFETY: as in `get`; the page is private to this tick now, and `&mut self` excludes other references to its rows.
        Some(unsafe { &mut *Self::row_in(page, index).cast_mut() })
    }

    /// Two different present rows, for writing both.
    ///
    /// # Panics
    /// When they are one row.
    pub fn pair_mut(&mut self, a: u32, b: u32) -> Option<[&mut T; 2]> {
        assert_ne!(a, b, "two rows");
        self.get_mut(a)?;
        self.get_mut(b)?;
        let place = |row: u32| {
            let (page, index) = self.place(row)?;
            Some(Self::row_in(self.pages.write(page), index).cast_mut())
        };
        let (a, b) = (place(a)?, place(b)?);
        // SAFETY: both are present rows of private pages (`get_mut` above), different ones, so they do not overlap, and `&mut self`
        // excludes other references to them.
        Some(unsafe { [&mut *a, &mut *b] })
    }

    /// Puts a row in place; its padding is undefined until [`Table::for_touched`]. `false` when the index is beyond the table.
    pub fn insert(&mut self, row: u32, value: T) -> bool {
        let Some((page, index)) = self.place(row) else { return false };
        let page = self.pages.write(page);
        // SAFETY: the page is private to this tick, row and presence word lie inside it, and `&mut self` excludes references.
        unsafe {
            Self::row_in(page, index).cast_mut().write(value);
            *page.cast::<u64>().add(index as usize / 64) |= 1 << (index % 64);
        }
        true
    }

    /// Takes a row out, and zeroes its bytes so that equal worlds have equal pages.
    pub fn remove(&mut self, row: u32) -> Option<T> {
        let value = *self.get(row)?;
        let (page, index) = self.place(row)?;
        let page = self.pages.write(page);
        // SAFETY: as in `insert`.
        unsafe {
            std::ptr::write_bytes(Self::row_in(page, index).cast_mut().cast::<u8>(), 0, size_of::<T>());
            *page.cast::<u64>().add(index as usize / 64) &= !(1 << (index % 64));
        }
        Some(value)
    }

    /// The first present row at or after an index.
    pub fn next_present(&self, from: u32) -> Option<u32> {
        let mut row = from;
        while row < self.at.rows {
            let (page, index) = self.place(row)?;
            // SAFETY: as in `present_in`.
            let word = unsafe { *self.pages.read(page).cast::<u64>().add(index as usize / 64) } >> (index % 64);
            let in_word = (64 - index % 64).min(Self::PER_PAGE - index);
            let skip = word.trailing_zeros().min(in_word);
            if skip < in_word {
                row += skip;
                return (row < self.at.rows).then_some(row);
            }
            row += in_word;
        }
        None
    }

    /// Present rows in index order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let row = self.next_present(from)?;
            from = row + 1;
            Some((row, self.get(row)?))
        })
    }

    /// The first absent row at or after an index.
    pub fn first_absent(&self, from: u32) -> Option<u32> {
        (from..self.at.rows).find(|row| self.get(*row).is_none())
    }

    /// How many rows are present.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Whether a row's page was copied in this tick.
    pub fn touched(&self, row: u32) -> bool {
        self.place(row).is_some_and(|(page, _)| self.pages.is_private(page))
    }

    /// Calls `change` on every present row of the pages that this tick touched, and zeroes the row's padding: the last that
    /// happens to rows before a commit. Absent rows are zeroes already, so no byte of a page is undefined after it.
    pub fn for_touched(&mut self, mut change: impl FnMut(&mut T)) {
        let (mut next, last) = (self.at.base, self.at.base + self.at.pages());
        while let Some(page) = self.pages.next_private(next, last) {
            next = page + 1;
            let first = (page - self.at.base) * Self::PER_PAGE;
            let end = (first + Self::PER_PAGE).min(self.at.rows);
            let mut from = first;
            while let Some(row) = self.next_present(from).filter(|r| *r < end) {
                from = row + 1;
                if let Some(value) = self.get_mut(row) {
                    change(value);
                    clear_padding(value);
                }
            }
        }
    }

    /// Copies of rows, for lazily written joins: pointers stay valid until the end of the tick.
    ///
    /// Reads the row where it lies now; the returned place must be asked for again after any write.
    pub fn raw(&self) -> RawTable<T> {
        RawTable { table: Self { pages: Rc::clone(&self.pages), at: self.at, rows: PhantomData } }
    }
}

/// Replaces some bytes of a present row; `false`, and nothing is done, when the row is absent or shorter.
///
/// # Safety
/// The place is that of a [`Table`] on these pages, and its rows are still values of its type with these bytes at that offset. No reference
/// to a row of the place is alive.
pub unsafe fn patch_row(pages: &impl Rows, at: TableAt, row: u32, offset: usize, bytes: &[u8]) -> bool {
    let fits = row < at.rows && offset.checked_add(bytes.len()).is_some_and(|end| end <= at.row_bytes as usize);
    if !fits {
        return false;
    }
    let (page, index) = (at.base + row / at.per_page, row % at.per_page);
    // SAFETY: `read` gives the place of a whole page, aligned to words; `index` is below the rows of a page, whose presence bits stand
    // in its first words. Only this thread writes the page.
    let word = unsafe { *pages.sheet().read(page).cast::<u64>().add(index as usize / 64) };
    if word >> (index % 64) & 1 == 0 {
        return false;
    }
    let first = (at.first_row + index * at.row_bytes) as usize + offset;
    // SAFETY: `write` gives the place of a whole page that is private to this tick; the row lies within the page and the bytes within the
    // row (looked at above), and our caller vouches that no reference to it is alive.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pages.sheet().write(page).add(first), bytes.len()) };
    true
}

/// The first present row of a place that `sound` refuses by its bytes. It is asked of what another process has written, before a
/// [`Table`] takes the rows for values of its type, and before anything is written here: padding is undefined in between.
pub fn first_refused(pages: &impl Rows, at: TableAt, sound: impl Fn(&[u8]) -> bool) -> Option<u32> {
    (0..at.rows).find(|row| {
        let page = pages.sheet().read(at.base + row / at.per_page).cast::<Page>();
        // SAFETY: `read` gives the place of a whole page, aligned to words. Only this thread writes pages of the sheet, and it does not
        // while `sound` runs, which knows nothing of them.
        let page = unsafe { &*page };
        row_in(page, &at, row % at.per_page).is_some_and(|row| !sound(row))
    })
}

/// A table for joins and indices: hands out places row by row, without borrowing the table.
pub struct RawTable<T> {
    table: Table<T>,
}

impl<T: Plain> RawTable<T> {
    /// The rows at a place.
    ///
    /// # Panics
    /// When the place was declared for rows of another size.
    pub fn on(pages: &impl Rows, at: TableAt) -> Self {
        assert_eq!(at.row_bytes as usize, size_of::<T>(), "the table was declared for rows of this size");
        Self { table: Table { pages: Rc::clone(pages.sheet()), at, rows: PhantomData } }
    }

    /// Where a present row may be read now.
    #[inline]
    pub fn read(&self, row: u32) -> Option<*const T> {
        let (page, index) = self.table.place(row)?;
        let page = self.table.pages.read(page);
        Table::<T>::present_in(page, index).then(|| Table::<T>::row_in(page, index))
    }

    /// Where a present row may be written; copies its page at the first write of the tick.
    pub fn write(&self, row: u32) -> Option<*mut T> {
        self.read(row)?;
        let (page, index) = self.table.place(row)?;
        Some(Table::<T>::row_in(self.table.pages.write(page), index).cast_mut())
    }

    /// The first present row at or after an index.
    pub fn next_present(&self, from: u32) -> Option<u32> {
        self.table.next_present(from)
    }
}
