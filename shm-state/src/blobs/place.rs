//! Where a blob lies, worked out from rows that may be damaged: the one check that owner, readers and fsck share.

use super::classes::{Class, is_taken};
use super::{BlobId, BlobProblem};
use crate::layout::{BlobPageRow, BlobRow};

/// A blob's bytes: a page of its space, the page's class, a slot that the page has, and a length that fits the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) page: u32,
    pub(crate) class: Class,
    pub(crate) slot: u32,
    pub(crate) bytes: usize,
}

impl Place {
    /// Where the blob in a row of the id table lies; `pages` reads the row of a page, `None` beyond the space.
    pub(crate) fn of(id: BlobId, row: &BlobRow, pages: impl Fn(u32) -> Option<BlobPageRow>) -> Result<Self, BlobProblem> {
        let (page, slot, bytes) = (row.page.wrapping_sub(1), u32::from(row.slot), usize::from(row.bytes));
        let dangling = BlobProblem::Dangling { id, page, slot };
        let held = pages(page).filter(|p| p.class != 0).ok_or(dangling)?;
        let class = Class::from_row(held.class).ok_or(BlobProblem::WrongClass { page, class: held.class })?;
        if slot >= class.slots() || !is_taken(&held.taken, slot) {
            return Err(dangling);
        }
        if Class::of(bytes) != Some(class) {
            return Err(BlobProblem::WrongLength { id, bytes: row.bytes, slot_bytes: class.bytes() });
        }
        Ok(Self { page, class, slot, bytes })
    }

    /// Its bytes as a range of the page's.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        let start = self.class.slot(self.slot).start;
        start..start + self.bytes
    }
}
