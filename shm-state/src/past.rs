//! A zone as it was at an earlier tick of the window, for its owner: nothing is copied.

use crate::layout::RootHead;
use crate::limits::PAGE_WORDS;
use crate::pages::Pages;
use crate::tree::Tree;
use crate::world::{PageHandle, Root};

/// The zone at an earlier commit. A page leaves the window with a commit only, and [`Pages::commit`] demands that no such moment is
/// held then: what it would read next may be another page by then.
pub struct Past<'p> {
    pages: &'p Pages,
    root: Root,
    tree: Tree,
}

impl<'p> Past<'p> {
    pub(crate) fn new(pages: &'p Pages, root: Root) -> Option<Self> {
        let tree = Tree::new(root.head.logical_pages as usize);
        (root.head.logical_pages == pages.logical_pages()).then_some(Self { pages, root, tree })
    }

    /// The commit.
    pub fn head(&self) -> &RootHead {
        &self.root.head
    }

    /// Whether it is a moment of these pages.
    pub(crate) fn is_of(&self, pages: &Pages) -> bool {
        std::ptr::eq(self.pages, pages)
    }

    /// Where a logical page may be read.
    pub(crate) fn read(&self, logical: u32) -> *const u8 {
        let group = logical as usize / PAGE_WORDS;
        let table = if self.tree.top == 1 {
            self.root.tables[group]
        } else {
            self.entry(self.root.tables[group / PAGE_WORDS], group % PAGE_WORDS)
        };
        self.pages.place_in_past(self.entry(table, logical as usize % PAGE_WORDS))
    }

    fn entry(&self, table: PageHandle, place: usize) -> PageHandle {
        let mut word = [0];
        if table.is_some() {
            self.pages.world().copy_words(table, place, &mut word);
        }
        PageHandle(word[0])
    }
}
