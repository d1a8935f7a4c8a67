//! Entity ids: an index and a generation, handed out by an allocator that is part of the committed world, so that a replay gives
//! the same ids. Freed indices are reused last-freed-first.

mod check;

pub use check::{EntityProblem, check};

use crate::layout::{EntityRow, ZoneMeta};
use crate::sheet::Rows;
use crate::table::{RawTable, Table, TableAt};

/// [`EntityRow::alive`] of an index that is on the free list.
const FREE: u32 = 0;
/// Of an entity that lives.
const ALIVE: u32 = 1;
/// Of an entity that was killed and whose index is not on the free list yet.
const KILLED: u32 = 2;

/// The entity table of a zone and the allocator's counters.
pub struct EntityTable {
    rows: Table<EntityRow>,
}

impl EntityTable {
    /// The allocator over its table.
    pub fn new(rows: Table<EntityRow>) -> Self {
        Self { rows }
    }

    /// A new entity: index and generation; `None` when the table is full.
    pub fn spawn(&mut self, meta: &mut ZoneMeta, owner: u64) -> Option<(u32, u32)> {
        let first = meta.entity_free.checked_sub(1);
        // A list that names a row that is not free was not left by an honest owner: what is on it is not used again.
        let free = first.and_then(|index| Some((index, *self.rows.get(index).filter(|row| row.alive == FREE)?)));
        let (index, generation) = match free {
            Some((index, row)) => {
                meta.entity_free = row.next_free;
                (index, row.generation.wrapping_add(1).max(1))
            }
            None => {
                meta.entity_free = 0;
                let index = meta.entity_used;
                if index >= self.rows.at().rows {
                    return None;
                }
                meta.entity_used += 1;
                (index, 1)
            }
        };
        self.rows.insert(index, row(owner, generation, ALIVE));
        meta.entities_alive = meta.entities_alive.saturating_add(1);
        Some((index, generation))
    }

    /// Ends an entity; `false` when it is not alive. Its index is not used again before [`EntityTable::free`].
    pub fn kill(&mut self, meta: &mut ZoneMeta, index: u32, generation: u32) -> bool {
        if !self.alive(index, generation) {
            return false;
        }
        meta.entities_alive = meta.entities_alive.saturating_sub(1);
        if let Some(row) = self.rows.get_mut(index) {
            // The owner stays until the index is freed: what the entity did in this tick is still its owner's doing.
            *row = EntityRow { alive: KILLED, ..*row };
        }
        true
    }

    /// Puts the index of a killed entity on the free list, once nothing of it is left in any column. An index
    /// that is not a killed entity's is left alone: on the list it would be handed out while it lives, or twice.
    pub fn free(&mut self, meta: &mut ZoneMeta, index: u32) {
        let Some(row) = self.rows.get_mut(index).filter(|row| row.alive == KILLED) else { return };
        (row.alive, row.owner) = (FREE, 0);
        row.next_free = std::mem::replace(&mut meta.entity_free, index + 1);
    }

    /// Notes an entity that lives elsewhere: a client's copy of the zone knows it by what it was sent.
    pub fn note(&mut self, index: u32, generation: u32, owner: u64) -> bool {
        self.rows.insert(index, row(owner, generation, ALIVE))
    }

    /// Says which groups of sessions are not told of an entity; `false` when it is not alive.
    pub fn hide(&mut self, index: u32, generation: u32, hidden_from: u32) -> bool {
        let alive = self.alive(index, generation);
        // A row that says so already is not written: that would copy its page.
        if alive && self.rows.get(index).is_some_and(|row| row.hidden_from != hidden_from) {
            self.rows.get_mut(index).into_iter().for_each(|row| row.hidden_from = hidden_from);
        }
        alive
    }

    /// Notes where an entity was that has lost its position.
    pub fn note_left(&mut self, index: u32, position: [f32; 2]) {
        if let Some(row) = self.rows.get_mut(index).filter(|row| row.alive == ALIVE) {
            row.left = position.map(|axis| !axis.to_bits());
        }
    }

    /// Forgets one that was noted.
    pub fn forget(&mut self, index: u32) {
        self.rows.remove(index);
    }

    /// Reads which entities live, beside the allocator.
    pub fn reader(&self) -> EntityReader {
        EntityReader { rows: self.rows.raw() }
    }

    /// Whether this very entity lives.
    #[inline]
    pub fn alive(&self, index: u32, generation: u32) -> bool {
        self.rows.get(index).is_some_and(|row| row.alive == ALIVE && row.generation == generation)
    }

    /// The session that owns an entity; 0 for none.
    pub fn owner(&self, index: u32, generation: u32) -> Option<u64> {
        self.rows.get(index).filter(|row| row.alive == ALIVE && row.generation == generation).map(|row| row.owner)
    }

    /// The session that owns an entity which lives, or was killed and whose index is not freed yet; 0 for none.
    pub fn owner_in_tick(&self, index: u32, generation: u32) -> Option<u64> {
        self.rows.get(index).filter(|row| row.alive != FREE && row.generation == generation).map(|row| row.owner)
    }

    /// The generation that lives at an index.
    #[inline]
    pub fn generation(&self, index: u32) -> Option<u32> {
        self.rows.get(index).filter(|row| row.alive == ALIVE).map(|row| row.generation)
    }
}

/// A row of an entity that everybody is told of.
fn row(owner: u64, generation: u32, alive: u32) -> EntityRow {
    EntityRow { owner, generation, alive, next_free: 0, hidden_from: 0, left: [0; 2] }
}

/// Reads which entities live. Columns hold one, to tell a stale entity from the one that lives at its index now.
pub struct EntityReader {
    rows: RawTable<EntityRow>,
}

impl EntityReader {
    /// Reads the entity table at a place.
    pub fn on(pages: &impl Rows, at: TableAt) -> Self {
        Self { rows: RawTable::on(pages, at) }
    }

    /// The generation that lives at an index.
    #[inline]
    pub fn generation(&self, index: u32) -> Option<u32> {
        let row = self.rows.read(index)?;
        // SAFETY: `read` gives the place of a present row, written as an `EntityRow`. [`EntityTable`] never lends a row out
        // and runs on this thread alone, so no reference to it is alive while its bytes are copied.
        let row = unsafe { *row };
        (row.alive == ALIVE).then_some(row.generation)
    }

    /// Whether this very entity lives.
    #[inline]
    pub fn alive(&self, index: u32, generation: u32) -> bool {
        self.generation(index) == Some(generation)
    }
}
