//! What a tick has written, kept to be compared with what the same tick writes when it runs again.

use super::Pages;
use crate::memory::Page;

/// Copies of the pages that a tick has written, by logical number.
pub struct Draft {
    pages: Vec<(u32, Box<Page>)>,
}

/// A page that came out in two ways.
pub struct Differing {
    /// The logical page.
    pub logical: u32,
    /// As it was in the draft.
    pub before: Box<Page>,
    /// As it is in this tick.
    pub now: Box<Page>,
}

impl Pages {
    /// Copies what the tick has written so far.
    ///
    /// # Safety
    /// No mutable reference into a table of this zone may be alive, and every table's rows have the form in which they are committed
    /// ([`Table::for_touched`](crate::table::Table::for_touched)), so that no byte is undefined.
    pub unsafe fn draft(&self) -> Draft {
        // SAFETY: passed on to our caller.
        let mut pages: Vec<_> = self.touched().map(|logical| (logical, unsafe { self.copy_of(logical) })).collect();
        pages.sort_unstable_by_key(|(logical, _)| *logical);
        Draft { pages }
    }

    /// Pages that differ between a draft of this tick and the tick as it is now, in the order of their numbers.
    ///
    /// # Safety
    /// As [`Pages::draft`].
    pub unsafe fn differing(&self, draft: &Draft) -> Vec<Differing> {
        let mut all: Vec<u32> = draft.pages.iter().map(|(logical, _)| *logical).chain(self.touched()).collect();
        all.sort_unstable();
        all.dedup();
        let compare = |logical: u32| {
            let drafted = draft.pages.binary_search_by_key(&logical, |(logical, _)| *logical);
            let before = drafted.map_or_else(|_| self.committed(logical), |at| draft.pages[at].1.clone());
            // SAFETY: passed on to our caller.
            let now = unsafe { self.copy_of(logical) };
            (before != now).then_some(Differing { logical, before, now })
        };
        all.into_iter().filter_map(compare).collect()
    }

    fn touched(&self) -> impl Iterator<Item = u32> {
        let touched: Vec<u32> = self.writer().borrow().touched.iter().map(|(logical, _)| *logical).collect();
        touched.into_iter()
    }

    /// A page as the tick has it now.
    ///
    /// # Safety
    /// As [`Pages::draft`].
    unsafe fn copy_of(&self, logical: u32) -> Box<Page> {
        // SAFETY: the sheet's pages are PAGE_BYTES long and aligned to words, and none of their bytes is undefined; nobody writes them
        // meanwhile: our caller's part.
        Box::new(unsafe { *self.sheet.read(logical).cast::<Page>() })
    }

    /// A page as the last commit left it.
    fn committed(&self, logical: u32) -> Box<Page> {
        let at = self.place(self.writer().borrow().handles()[logical as usize]);
        // SAFETY: a committed page of this zone, or the page of zeros; neither is written before it has left the window of roots, which
        // takes a commit.
        Box::new(unsafe { *at.cast_const().cast::<Page>() })
    }
}
