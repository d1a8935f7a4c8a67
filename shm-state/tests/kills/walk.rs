//! Reads roots as a process would that knows nothing but the layout: from the descriptor over the table pages to the pages,
//! beside the crate's own readers.

use ringfort_shm_state::layout::world as at;
use ringfort_shm_state::limits::{PAGE_BYTES, PAGE_WORDS};
use ringfort_shm_state::memory::{Memory, Page, Words};
use ringfort_shm_state::world::{PageHandle, Root, World};

/// The arena of a world segment.
pub struct Arena<'m> {
    memory: &'m Memory,
    extents: usize,
}

impl<'m> Arena<'m> {
    /// The arena of a world.
    pub fn new(world: &'m World) -> Self {
        Self { memory: world.memory(), extents: world.extents() }
    }

    /// Copies a page.
    pub fn page(&self, index: u32, to: &mut Page) {
        self.memory.copy_out(at::arena(self.extents) + index as usize * PAGE_BYTES, to);
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
