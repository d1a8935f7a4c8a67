//! How a root names its zone's pages: through table pages of 512 handles each, and in a large zone through directory pages that
//! name the table pages.
//!
//! Level 0 are the zone's own pages, level 1 its table pages, level 2 its directory pages. A root has room for [`MAX_TABLES`]
//! handles of the topmost level, so a small zone pays for one level only.

use crate::limits::{MAX_LOGICAL_PAGES, MAX_TABLES, PAGE_WORDS};
use crate::memory::{Page, Words};
use crate::world::{PageHandle, Root, World};

/// Levels of pages above a zone's own, at most.
pub(crate) const MAX_LEVELS: usize = 2;
const _: () = assert!(MAX_LOGICAL_PAGES <= MAX_TABLES * PAGE_WORDS * PAGE_WORDS, "two levels name every page");

/// The shape of a zone's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Pages at each level; a level that the zone does not have is empty.
    pub(crate) counts: [usize; MAX_LEVELS + 1],
    /// The level that the root names.
    pub(crate) top: usize,
}

impl Tree {
    /// The tree of a zone with so many logical pages.
    pub(crate) const fn new(logical_pages: usize) -> Self {
        let tables = logical_pages.div_ceil(PAGE_WORDS);
        if tables <= MAX_TABLES {
            Self { counts: [logical_pages, tables, 0], top: 1 }
        } else {
            Self { counts: [logical_pages, tables, tables.div_ceil(PAGE_WORDS)], top: 2 }
        }
    }

    /// Handles in the root.
    pub(crate) const fn roots(&self) -> usize {
        self.counts[self.top]
    }
}

/// A handle on the way from a root to a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// What is named.
    pub(crate) handle: PageHandle,
    /// Its level; 0 for a logical page.
    pub(crate) level: usize,
    /// Which of its level.
    pub(crate) position: usize,
}

/// Visits every handle of a root from the top; `visit` says whether to look into a table page. The pages' words are copied and
/// unvalidated: whether the root was still in the window is the caller's to ask.
pub(crate) fn walk<M: Words, E>(
    world: &World<M>,
    root: &Root,
    visit: &mut impl FnMut(Named) -> Result<bool, E>,
) -> Result<(), E> {
    let tree = Tree::new(root.head.logical_pages as usize);
    for (position, handle) in root.tables[..tree.roots()].iter().enumerate().filter(|(_, h)| h.is_some()) {
        descend(world, &tree, Named { handle: *handle, level: tree.top, position }, visit)?;
    }
    Ok(())
}

fn descend<M: Words, E>(
    world: &World<M>,
    tree: &Tree,
    named: Named,
    visit: &mut impl FnMut(Named) -> Result<bool, E>,
) -> Result<(), E> {
    if !visit(named)? || named.level == 0 {
        return Ok(());
    }
    let mut words: Page = [0; PAGE_WORDS];
    if !world.copy_page(named.handle, &mut words) {
        return Ok(());
    }
    let (level, first) = (named.level - 1, named.position * PAGE_WORDS);
    for (i, handle) in words.into_iter().map(PageHandle).enumerate().take(tree.counts[level] - first) {
        if handle.is_some() {
            descend(world, tree, Named { handle, level, position: first + i }, visit)?;
        }
    }
    Ok(())
}
