//! Reads roots as a process would that knows nothing but the layout: from the descriptor over the table pages to the pages,
//! beside the crate's own readers.

use ringfort_shm_state::limits::PAGE_WORDS;
use ringfort_shm_state::memory::Page;
use ringfort_shm_state::world::{PageHandle, Root, World};

/// The arena of a world segment.
pub struct Arena<'w> {
    world: &'w World,
}

impl<'w> Arena<'w> {
    /// The arena of a world.
    pub fn new(world: &'w World) -> Self {
        Self { world }
    }

    /// Copies a page.
    pub fn page(&self, index: u32, to: &mut Page) {
        assert!(self.world.copy_page(PageHandle(index.into()), to), "a page of the arena");
    }

    /// The handles of a root's logical pages, in order. The zone is small: its root names table pages.
    pub fn handles(&self, root: &Root, to: &mut Vec<PageHandle>) {
        to.clear();
        let mut words: Page = [0; PAGE_WORDS];
        for table in &root.tables[..root.head.tables as usize] {
            words.fill(0);
            if table.is_some() {
                self.page(table.index(), &mut words);
            }
            to.extend(words.iter().map(|word| PageHandle(*word)));
        }
    }
}
