//! A table whose rows are bytes, as many as it was declared with: for what has its size from the game and no type in the engine.

use std::rc::Rc;

use zerocopy::IntoBytes;

use crate::memory::Page;
use crate::mirror::row_in;
use crate::sheet::{Rows, Sheet};
use crate::table::TableAt;

/// Rows of bytes on a zone's pages: reads go to the committed page, the first write of a tick copies it.
pub struct ByteTable {
    pages: Rc<Sheet>,
    at: TableAt,
}

impl ByteTable {
    /// The table at a place.
    ///
    /// # Safety
    /// No other table for the same place of the same pages may be used in this process, through other pages of the same zone neither,
    /// but for those of its past; and nobody stores into the zone's pages by way of their memory.
    pub unsafe fn bind(pages: &impl Rows, at: TableAt) -> Self {
        Self { pages: Rc::clone(pages.sheet()), at }
    }

    fn place(&self, row: u32) -> Option<(u32, u32)> {
        (row < self.at.rows).then(|| (self.at.base + row / self.at.per_page, row % self.at.per_page))
    }

    /// A present row.
    pub fn get(&self, row: u32) -> Option<&[u8]> {
        let (page, index) = self.place(row)?;
        let page = self.pages.read(page).cast::<Page>();
        // SAFETY: `read` gives the place of a whole page, aligned to words. This thread alone writes pages of this place, by this table alone
        // (contract of `bind`), and writing takes `&mut self`; a commit or roll-back demands that no reference is alive.
        row_in(unsafe { &*page }, &self.at, index)
    }

    /// A page of its own, for writing; copies it at the first write of the tick.
    fn page_mut(&mut self, page: u32) -> &mut Page {
        let page = self.pages.write(page).cast::<Page>();
        // SAFETY: `write` gives the place of a whole page, aligned to words and private to this tick. It is one of this table's, which no
        // other table lies on (contract of `bind`), and `&mut self` excludes other references to its rows.
        unsafe { &mut *page }
    }

    /// A present row, for writing; copies its page at the first write of the tick.
    pub fn get_mut(&mut self, row: u32) -> Option<&mut [u8]> {
        self.get(row)?;
        let (page, index) = self.place(row)?;
        let (start, bytes) = ((self.at.first_row + index * self.at.row_bytes) as usize, self.at.row_bytes as usize);
        self.page_mut(page).as_mut_bytes().get_mut(start..start + bytes)
    }

    /// Puts a row of zeros in place. `false` when the index is beyond the table.
    pub fn insert(&mut self, row: u32) -> bool {
        let Some((page, index)) = self.place(row) else { return false };
        self.page_mut(page)[index as usize / 64] |= 1 << (index % 64);
        if let Some(bytes) = self.get_mut(row) {
            bytes.fill(0);
        }
        true
    }

    /// Takes a row out, and zeroes its bytes so that equal worlds have equal pages. `false` when there is none.
    pub fn remove(&mut self, row: u32) -> bool {
        let Some((page, index)) = self.place(row) else { return false };
        let Some(bytes) = self.get_mut(row) else { return false };
        bytes.fill(0);
        self.page_mut(page)[index as usize / 64] &= !(1 << (index % 64));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap_pages::HeapPages;
    use crate::table::Tables;

    #[test]
    fn rows_of_bytes_are_written_beside_each_other_and_leave_zeros() {
        for row_bytes in [1, 8, 24, 64, 4000] {
            let at = Tables::default().add(600, row_bytes);
            let pages = HeapPages::new(at.pages());
            // SAFETY: the only table of these pages.
            let mut table = unsafe { ByteTable::bind(&pages, at) };
            for row in 0..600 {
                assert!(table.get(row).is_none() && table.get_mut(row).is_none());
                assert!(table.insert(row));
                table.get_mut(row).expect("just put there").fill(row as u8 | 1);
            }
            assert!(!table.insert(600) && table.get(600).is_none(), "there are 600");
            for row in 0..600 {
                assert_eq!(table.get(row), Some(&*vec![row as u8 | 1; row_bytes]));
            }
            assert!(table.remove(7) && !table.remove(7) && table.get(7).is_none());
            assert_eq!(table.get(6), Some(&*vec![7; row_bytes]));
            assert!(table.insert(7));
            assert_eq!(table.get(7), Some(&*vec![0; row_bytes]));
        }
    }
}
