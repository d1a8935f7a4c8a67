//! What really was: a match's committed ticks, read from shared memory as front-ends read them, and kept for a while.

use std::collections::VecDeque;

use ringfort::attach::Attached;
use ringfort::game::{Description, ZoneLimits};
use ringfort::limits::INTEREST_KEEPS;
use ringfort::protocol::bits::{BitReader, BitWriter};
use ringfort::protocol::component::Component;
use ringfort::protocol::schema::{Sync, encode_row};
use ringfort::shm_state::directory::Directory;
use ringfort::shm_state::layout::EntityRow;
use ringfort::shm_state::mirror::Mirror;
use ringfort::shm_state::segment::unpadded;
use ringfort::shm_state::table::TableAt;
use ringfort::skirmish::{Body, Skirmish};
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::{Entity, Vec2};

use crate::limits::{COLUMNS_COMPARED, TICKS_REMEMBERED, VERIFY_MARGIN_M};

/// A match, tick by tick.
pub(super) struct Truth {
    attached: Attached,
    mirror: Mirror,
    description: Description,
    columns: Vec<Compared>,
    /// Which of them holds the positions, and where in a row.
    body: usize,
    offset: usize,
    /// How far a player sees.
    radius: f32,
    tick_hz: u32,
    ticks: VecDeque<Commit>,
    bits: BitWriter,
    words: Vec<u64>,
}

/// A column of which whoever sees it is sent each change at once.
struct Compared {
    wire: usize,
    sync: Sync,
    schema: usize,
    table: TableAt,
}

/// One committed tick.
pub(super) struct Commit {
    pub(super) tick: u32,
    /// By the entities' indices.
    pub(super) rows: Vec<Known>,
}

/// An entity in one committed tick, as the wire would say it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Known {
    /// 0 for nobody.
    pub(super) generation: u32,
    /// Which of the compared columns it has, a bit each.
    pub(super) present: u32,
    /// Their encodings.
    pub(super) words: [u64; COLUMNS_COMPARED],
    /// The position as it lies in memory, which is quantised; like all below not worked out of what a client has.
    pub(super) pos: Option<Vec2>,
    /// Where it was when it lost its position.
    pub(super) left: Option<Vec2>,
    /// The session that it belongs to.
    pub(super) owner: u64,
    /// The position's encoding does not say what lies in memory: the same code packs what clients are sent, so that they would agree in vain. What a client has
    /// never equals such a one.
    pub(super) is_rounded: bool,
}

pub(super) const NOBODY: Known =
    Known { generation: 0, present: 0, words: [0; COLUMNS_COMPARED], pos: None, left: None, owner: 0, is_rounded: false };

/// What of an entity a client must have, and what it may have, as columns.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Due {
    pub(super) least: u32,
    pub(super) most: u32,
}

impl Truth {
    /// Looks at a match of an instance of this machine; one sentence says why not.
    pub(super) fn open(instance: &str, match_name: &str) -> Result<Truth, String> {
        let attached = Attached::open(instance).map_err(|error| error.to_string())?;
        let found = Directory::new(&attached.directory).zones().find(|(_, entry)| unpadded(&entry.name) == match_name);
        let (slot, entry) = found.ok_or_else(|| format!("instance \"{instance}\" has no match \"{match_name}\""))?;
        let description = Description::of::<Skirmish>(ZoneLimits::of_entry(&entry)).map_err(|error| error.to_string())?;
        if description.tables_hash != entry.tables_hash {
            return Err(format!("instance \"{instance}\" runs another build of the game than this program was built with"));
        }
        let mut columns = Vec::new();
        let mut radius = 0f32;
        for (wire, column) in description.wire.columns.iter().enumerate() {
            let schema_index = usize::from(column.schema_index);
            let schema = &description.schema.columns[schema_index];
            let sync = schema.sync;
            if sync != Sync::None
                && schema.rate == 0
                && !schema.once
                && column.words == 1
                && column.blob.is_none()
                && columns.len() < COLUMNS_COMPARED
            {
                radius = radius.max(if let Sync::Near(distance) = sync { distance } else { 0.0 });
                columns.push(Compared { wire, sync, schema: schema_index, table: description.columns[schema_index] });
            }
        }
        let position = description.schema.position.map(|position| usize::from(position.column));
        let body = columns.iter().position(|column| Some(column.schema) == position);
        let body = body.ok_or("the game tells no positions")?;
        let offset = description.schema.position.map_or(0, |position| position.offset as usize);
        let tick_hz = entry.tick_hz;
        // Sessions, inputs and the rest change at every tick, too, and nothing here asks for them.
        let tables = std::iter::once(&description.engine.entities).chain(columns.iter().map(|column| &column.table));
        let only = tables.map(|table| table.base..table.base + table.pages()).collect();
        let (mirror, ticks) = (Mirror::of_pages(slot, only), VecDeque::with_capacity(TICKS_REMEMBERED));
        let (bits, words) = (BitWriter::new(Vec::new()), Vec::new());
        Ok(Truth { attached, mirror, description, columns, body, offset, radius, tick_hz, ticks, bits, words })
    }

    /// Ticks a second.
    pub(super) fn tick_hz(&self) -> u32 {
        self.tick_hz
    }

    /// How far a player sees.
    pub(super) fn radius(&self) -> f32 {
        self.radius
    }

    /// Brings what is known up to a tick that is committed. False if that tick cannot be had any more.
    pub(super) fn know(&mut self, tick: u32) -> bool {
        let newest = self.ticks.back().map_or(0, |commit| commit.tick);
        let first = if newest == 0 { tick } else { newest + 1 };
        for next in first.max(tick.saturating_sub(TICKS_REMEMBERED as u32))..=tick {
            // One that has left the window is missing in between.
            if self.mirror.refresh_at(&self.attached.world, next).is_ok() {
                self.take_in(next);
            }
        }
        self.at(tick).is_some()
    }

    /// A tick that is known.
    pub(super) fn at(&self, tick: u32) -> Option<&Commit> {
        let at = self.ticks.binary_search_by_key(&tick, |commit| commit.tick).ok()?;
        Some(&self.ticks[at])
    }

    fn take_in(&mut self, tick: u32) {
        let oldest = if self.ticks.len() == TICKS_REMEMBERED { self.ticks.pop_front() } else { None };
        let mut rows = oldest.map_or_else(Vec::new, |commit| commit.rows);
        rows.clear();
        let entities = self.description.engine.entities;
        for index in 0..entities.rows {
            let row = self.mirror.get::<EntityRow>(&entities, index).filter(|row| row.alive == 1);
            rows.push(row.map_or(NOBODY, |row| {
                let left = row.left.map(|axis| f32::from_bits(!axis));
                let left = left.iter().all(|axis| axis.is_finite()).then(|| Vec2::new(left[0], left[1]));
                Known { generation: row.generation, owner: row.owner, left, ..NOBODY }
            }));
        }
        for (at, column) in self.columns.iter().enumerate() {
            let schema = &self.description.schema.columns[column.schema];
            for (index, known) in rows.iter_mut().enumerate().filter(|(_, known)| known.generation != 0) {
                let Some(row) = self.mirror.row(&column.table, index as u32) else { continue };
                self.bits.clear();
                self.words.clear();
                encode_row(schema, row, &mut self.bits);
                self.bits.copy_words(&mut self.words);
                known.present |= 1 << at;
                known.words[at] = self.words.first().copied().unwrap_or(0);
                if at == self.body {
                    known.pos = lies_at(row, self.offset);
                    known.is_rounded = position(known.words[at]) != known.pos;
                }
            }
        }
        self.ticks.push_back(Commit { tick, rows });
    }

    /// An entity as a client has it; its position is [`Truth::position`].
    pub(super) fn as_seen(&self, world: &ClientWorld, entity: Entity) -> Known {
        let mut known = Known { generation: entity.generation, ..NOBODY };
        for (at, column) in self.columns.iter().enumerate() {
            let Some(bytes) = world.encoded(entity, column.wire) else { continue };
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            known.present |= 1 << at;
            known.words[at] = u64::from_le_bytes(word);
        }
        known
    }

    /// Up to which distance clients are told of others, and of how many; nothing where they are told of all.
    pub(super) fn interest(&self) -> Option<(f32, usize)> {
        self.description.interest.in_match(self.description.limits.max_entities)
    }

    /// What a client must and may have of an entity that is not its own and is so far away; without a position nothing is near.
    pub(super) fn due(&self, away: Option<f32>) -> Due {
        due(self.columns.iter().map(|column| column.sync), away)
    }

    /// Where a client has an entity.
    pub(super) fn position(&self, seen: &Known) -> Option<Vec2> {
        if seen.present >> self.body & 1 == 1 { position(seen.words[self.body]) } else { None }
    }
}

/// Of columns with these rules.
fn due(rules: impl Iterator<Item = Sync>, away: Option<f32>) -> Due {
    rules.enumerate().fold(Due::default(), |Due { least, most }, (at, sync)| {
        let (must, may) = match (sync, away) {
            (Sync::All, _) => (true, true),
            (Sync::Near(near), Some(away)) => (away < near - VERIFY_MARGIN_M, away <= near * INTEREST_KEEPS + VERIFY_MARGIN_M),
            (Sync::Near(_), None) | (Sync::Owner | Sync::None, _) => (false, false),
        };
        Due { least: least | u32::from(must) << at, most: most | u32::from(may) << at }
    })
}

impl Known {
    /// Where it is, or was when it lost its position.
    pub(super) fn place(&self) -> Option<Vec2> {
        self.pos.or(self.left)
    }
}

impl Commit {
    /// An entity, if this very one lives.
    pub(super) fn get(&self, entity: Entity) -> Option<&Known> {
        self.rows.get(entity.index as usize).filter(|known| known.generation == entity.generation)
    }
}

/// The position that lies in a row of memory.
fn lies_at(row: &[u8], offset: usize) -> Option<Vec2> {
    let (x, rest) = row.get(offset..)?.split_first_chunk::<4>()?;
    Some(Vec2::new(f32::from_ne_bytes(*x), f32::from_ne_bytes(*rest.first_chunk::<4>()?)))
}

/// The position that an encoded body says.
fn position(word: u64) -> Option<Vec2> {
    Body::decode(&mut BitReader::new(&word.to_le_bytes())).ok().map(|body| body.pos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_must_be_had_and_may_be_kept_a_little_longer_and_what_is_the_owner_s_is_nobody_else_s() {
        let rules = || [Sync::Near(80.0), Sync::Owner, Sync::All, Sync::Near(20.0)].into_iter();
        let at = |away| due(rules(), away);
        assert_eq!(at(Some(3.0)), Due { least: 0b1101, most: 0b1101 });
        assert_eq!(at(Some(21.0)), Due { least: 0b0101, most: 0b1101 });
        assert_eq!(at(Some(87.0)), Due { least: 0b0100, most: 0b0101 });
        assert_eq!(at(Some(89.0)), Due { least: 0b0100, most: 0b0100 });
        assert_eq!(at(None), Due { least: 0b0100, most: 0b0100 });
    }
}
