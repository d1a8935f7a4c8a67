//! The logical `fsck` of a zone's entities: which live, which wait to be used again, and whose component rows are left.
//!
//! Reads a mirror and nothing else. The walk of the free list visits a row at most once, so a damaged list ends it.

use super::{ALIVE, FREE};
use crate::layout::{EntityRow, ZoneMeta};
use crate::mirror::Mirror;
use crate::table::TableAt;

/// Something that no commit may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntityProblem {
    /// The zone's counters are missing.
    #[error("the zone's own row is missing")]
    NoMeta,
    /// A row is missing among the indices that were used, or stands beyond them.
    #[error("wrong row: the row of entity {index} is {found}, {used} indices were ever used")]
    WrongRow {
        /// The index.
        index: u32,
        /// `missing` or `there`.
        found: &'static str,
        /// Indices ever used.
        used: u32,
    },
    /// A row is neither that of a living entity nor on the free list: nobody will use it again.
    #[error("leaked: entity index {index} is dead and not on the free list")]
    Leaked {
        /// The index.
        index: u32,
    },
    /// The free list names an index that is not free, or one twice.
    #[error("broken list: the free list names entity index {index}, which is not free, or twice")]
    BrokenList {
        /// The index.
        index: u32,
    },
    /// The counter of living entities is wrong.
    #[error("wrong count: the zone counts {counted} entities, {found} are alive")]
    WrongCount {
        /// What the counter says.
        counted: u32,
        /// What there is.
        found: u32,
    },
    /// A column has a row of an entity that does not live.
    #[error("leaked: column {column} has a row for entity index {index}, where no entity lives")]
    LeftBehind {
        /// Its place in the schema.
        column: usize,
        /// The index.
        index: u32,
    },
}

/// Everything that is wrong with the entities of a zone as they were at a mirror's commit. `columns` are the tables that are indexed
/// by entity, in the schema's order.
pub fn check(mirror: &Mirror, meta: &TableAt, entities: &TableAt, columns: &[TableAt]) -> Vec<EntityProblem> {
    let Some(meta) = mirror.get::<ZoneMeta>(meta, 0) else { return vec![EntityProblem::NoMeta] };
    let mut problems = Vec::new();
    let rows: Vec<Option<EntityRow>> = (0..entities.rows).map(|index| mirror.get(entities, index)).collect();
    let used = meta.entity_used;
    for (index, row) in rows.iter().enumerate() {
        let (index, expected) = (index as u32, (index as u32) < used);
        if row.is_some() != expected {
            problems.push(EntityProblem::WrongRow { index, found: if row.is_some() { "there" } else { "missing" }, used });
        }
    }
    let mut listed = vec![false; rows.len()];
    let mut next = meta.entity_free;
    while let Some(index) = next.checked_sub(1) {
        let free = rows.get(index as usize).copied().flatten().filter(|row| row.alive == FREE);
        let (Some(row), false) = (free, listed.get(index as usize).copied().unwrap_or(true)) else {
            problems.push(EntityProblem::BrokenList { index });
            break;
        };
        listed[index as usize] = true;
        next = row.next_free;
    }
    let lives = |index: usize| rows[index].is_some_and(|row| row.alive == ALIVE);
    let lost = (0..rows.len()).filter(|index| rows[*index].is_some() && !lives(*index) && !listed[*index]);
    problems.extend(lost.map(|index| EntityProblem::Leaked { index: index as u32 }));
    let found = (0..rows.len()).filter(|index| lives(*index)).count() as u32;
    if found != meta.entities_alive {
        problems.push(EntityProblem::WrongCount { counted: meta.entities_alive, found });
    }
    for (column, at) in columns.iter().enumerate() {
        let left = (0..at.rows)
            .filter(|row| mirror.row(at, *row).is_some() && !rows.get(*row as usize).is_some_and(|_| lives(*row as usize)));
        problems.extend(left.map(|index| EntityProblem::LeftBehind { column, index }));
    }
    problems
}
