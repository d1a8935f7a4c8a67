//! Entity ids: an index and a generation, handed out by an allocator that is part of the committed world, so that a replay gives
//! the same ids. Freed indices are reused last-freed-first.

use crate::layout::{EntityRow, ZoneMeta};
use crate::table::Table;

// SAFETY: integers without padding (zerocopy's IntoBytes), no pointer, every bit pattern valid (FromBytes).
unsafe impl crate::Plain for EntityRow {}
// SAFETY: as above.
unsafe impl crate::Plain for ZoneMeta {}

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
        let (index, generation) = match meta.entity_free.checked_sub(1) {
            Some(index) => {
                let row = self.rows.get(index)?;
                meta.entity_free = row.next_free;
                (index, row.generation.wrapping_add(1).max(1))
            }
            None => {
                let index = meta.entity_used;
                if index >= self.rows.at().rows {
                    return None;
                }
                meta.entity_used += 1;
                (index, 1)
            }
        };
        self.rows.insert(index, EntityRow { owner, generation, alive: 1, next_free: 0, reserved: 0 });
        meta.entities_alive += 1;
        Some((index, generation))
    }

    /// Ends an entity; `false` when it is not alive.
    pub fn despawn(&mut self, meta: &mut ZoneMeta, index: u32, generation: u32) -> bool {
        if !self.alive(index, generation) {
            return false;
        }
        let next_free = std::mem::replace(&mut meta.entity_free, index + 1);
        meta.entities_alive -= 1;
        if let Some(row) = self.rows.get_mut(index) {
            *row = EntityRow { owner: 0, generation, alive: 0, next_free, reserved: 0 };
        }
        true
    }

    /// Whether this very entity lives.
    #[inline]
    pub fn alive(&self, index: u32, generation: u32) -> bool {
        self.rows.get(index).is_some_and(|row| row.alive == 1 && row.generation == generation)
    }

    /// The session that owns an entity; 0 for none.
    pub fn owner(&self, index: u32, generation: u32) -> Option<u64> {
        self.rows.get(index).filter(|row| row.alive == 1 && row.generation == generation).map(|row| row.owner)
    }

    /// The generation that lives at an index.
    #[inline]
    pub fn generation(&self, index: u32) -> Option<u32> {
        self.rows.get(index).filter(|row| row.alive == 1).map(|row| row.generation)
    }
}
