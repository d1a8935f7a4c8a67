//! The map of a game: its schema, and how the memory of a match follows from the match's size, both as data.
//!
//! It stands in the directory, so that any `ringfort` reads any game's matches, without the game's code and while no process of the
//! instance answers. What it works out for a match is what the game's own binary works out ([`Description`]); the hash of the tables,
//! which the directory has of every match, says so.

use ringfort_protocol::schema::{ColumnSchema, Schema, SchemaError, VariantSchema};
use ringfort_protocol::{Input, TimerPayload};
use ringfort_shm_state::blobs::BlobsAt;
use ringfort_shm_state::layout::{ZoneEntry, hash_bytes};
use ringfort_shm_state::limits::MAX_LOGICAL_PAGES;
use ringfort_shm_state::table::{MAX_ROW_BYTES, TableAt, Tables};
use serde::{Deserialize, Serialize};

use super::Game;
use super::description::{Description, EngineTables, ZoneLimits};
use super::input_bytes::InputBytes;
use super::state::Declare;
use crate::limits::MAP_PLACES_MAX;

/// A game as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GameMap {
    /// What clients see of it, and what its columns, globals and messages consist of.
    pub schema: Schema,
    /// Bytes of a row of the players' inputs: two places as long as the game's input.
    pub input_row_bytes: u32,
    /// The memory of the state's fields, in their order.
    pub places: Vec<PlaceRule>,
    /// The rows that never leave the server and are no columns: seats, and timers, in their order.
    pub unlisted: Vec<ColumnSchema>,
    /// What the game's timers carry.
    pub timers: Vec<VariantSchema>,
}

/// The memory of one field of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceRule {
    /// The field's name.
    pub name: String,
    /// What it is, and so how many rows it has.
    pub kind: PlaceKind,
    /// Bytes of a row.
    pub row_bytes: u32,
}

/// What a field of the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum PlaceKind {
    /// A row an entity.
    Column,
    /// A blob an entity: its id in a row, its bytes in pages before the rows.
    Blobs {
        /// Bytes of the longest.
        longest: u32,
    },
    /// One row.
    Global,
    /// A row a session: the session's id, and the value behind it.
    Seats {
        /// Where in the row the value begins.
        value_at: u32,
    },
    /// Pending timers.
    Timers,
}

/// The map does not fit a match of the directory.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum MapError {
    /// Numbers that no match has.
    #[error("the directory's entry of the match, or its map of the game, has sizes that no match has; run `ringfort fsck`")]
    Sizes,
    /// The match was laid out by another build of the game.
    #[error(
        "the match was laid out by another game than the directory's map tells of (tables {found:#x}, expected {expected:#x})"
    )]
    Tables {
        /// The match's.
        found: u64,
        /// The map's.
        expected: u64,
    },
}

/// Where everything of a match lies.
#[derive(Clone, Debug)]
pub struct MatchMap {
    /// Its size.
    pub limits: ZoneLimits,
    /// The engine's tables.
    pub engine: EngineTables,
    /// The bytes of the players' inputs, by session slot.
    pub input_bytes: TableAt,
    /// The columns of the schema.
    pub columns: Vec<TableAt>,
    /// Where the bytes of each column of blobs lie.
    pub blobs: Vec<Option<BlobsAt>>,
    /// The globals of the schema.
    pub globals: Vec<TableAt>,
    /// Rows of seats, with the index of what they are in [`GameMap::unlisted`] and where in a row their value begins.
    pub seats: Vec<(TableAt, usize, u32)>,
    /// Logical pages of the match.
    pub pages: u32,
    /// What two processes must agree upon to share it.
    pub tables_hash: u64,
}

impl PlaceRule {
    /// Sets the memory aside; `None` for blobs longer than any may be.
    pub(super) fn lay_out(&self, limits: &ZoneLimits, tables: &mut Tables) -> Option<(TableAt, Option<BlobsAt>)> {
        let entities = limits.max_entities;
        let blobs = match self.kind {
            PlaceKind::Blobs { longest } => {
                Some(BlobsAt::declare(tables, entities, BlobsAt::bytes_for(entities, longest as usize)?))
            }
            _ => None,
        };
        let rows = match self.kind {
            PlaceKind::Column | PlaceKind::Blobs { .. } => entities,
            PlaceKind::Global => 1,
            PlaceKind::Seats { .. } => limits.sessions(),
            PlaceKind::Timers => limits.max_timers(),
        };
        Some((tables.add(rows, self.row_bytes as usize), blobs))
    }
}

impl GameMap {
    /// The map of a game.
    pub fn of<G: Game>() -> Self {
        let mut declare = Declare::new(ZoneLimits { capacity: 1, max_entities: 1, spectators: 0 }, Tables::default());
        G::declare(&mut declare);
        Self {
            schema: Description::schema_of::<G>().clone(),
            input_row_bytes: InputBytes::row_bytes(G::Input::wire_bytes()) as u32,
            places: declare.rules,
            unlisted: declare.unlisted,
            timers: G::Timer::variants(),
        }
    }

    /// Checks every bound of the schema, so that nothing is decoded by one that makes no sense. What is not part of it is only ever read by its
    /// offsets, each of which is looked at then.
    pub fn check(&self) -> Result<(), SchemaError> {
        self.schema.validate()?;
        let fields =
            |of: &'_ ColumnSchema| of.fields.iter().map(|field| field.name.clone()).chain([of.name.clone()]).collect::<Vec<_>>();
        let columns = self.schema.columns.iter().chain(&self.schema.globals).chain(&self.unlisted).flat_map(fields);
        let variants = self.schema.events.iter().chain(&self.schema.commands);
        let messages = variants.flat_map(|of| of.fields.iter().map(|field| field.name.clone()).chain([of.name.clone()]));
        let input = self.schema.input.iter().map(|field| field.name.clone());
        // A name moves no cursor.
        match columns.chain(messages).chain(input).chain([self.schema.game.clone()]).find(|name| name.contains(char::is_control))
        {
            Some(name) => Err(SchemaError::Name(name.escape_debug().to_string())),
            None => Ok(()),
        }
    }

    /// Where everything of a match of the directory lies. All of both may be damaged.
    pub fn lay_out(&self, entry: &ZoneEntry) -> Result<MatchMap, MapError> {
        let limits = ZoneLimits::of_entry(entry);
        let fits = limits.fit()
            && self.places.len() <= MAP_PLACES_MAX
            && self
                .places
                .iter()
                .map(|place| place.row_bytes)
                .chain([self.input_row_bytes])
                .all(|row| (1..=MAX_ROW_BYTES as u32).contains(&row));
        if !fits {
            return Err(MapError::Sizes);
        }
        let mut tables = Tables::default();
        let engine = EngineTables::of(&limits, &mut tables);
        let input_bytes = tables.add(limits.capacity, self.input_row_bytes as usize);
        let (mut columns, mut blobs, mut globals, mut seats, mut unlisted) = (vec![], vec![], vec![], vec![], 0);
        for place in &self.places {
            let (at, bytes) = place.lay_out(&limits, &mut tables).ok_or(MapError::Sizes)?;
            match place.kind {
                PlaceKind::Column | PlaceKind::Blobs { .. } => {
                    columns.push(at);
                    blobs.push(bytes);
                }
                PlaceKind::Global => globals.push(at),
                PlaceKind::Seats { value_at } => seats.push((at, unlisted, value_at)),
                PlaceKind::Timers => {}
            }
            unlisted += usize::from(matches!(place.kind, PlaceKind::Seats { .. } | PlaceKind::Timers));
            if tables.pages() as usize > MAX_LOGICAL_PAGES {
                return Err(MapError::Sizes);
            }
        }
        let counts = (columns.len(), globals.len(), unlisted);
        if counts != (self.schema.columns.len(), self.schema.globals.len(), self.unlisted.len()) {
            return Err(MapError::Sizes);
        }
        let tables_hash = tables_hash(&tables, &self.schema.columns, &self.schema.globals, &self.unlisted, &self.timers);
        if tables_hash != entry.tables_hash {
            return Err(MapError::Tables { found: entry.tables_hash, expected: tables_hash });
        }
        Ok(MatchMap { limits, engine, input_bytes, columns, blobs, globals, seats, pages: tables.pages(), tables_hash })
    }
}

/// What two processes must agree upon to share a match: the tables' order and sizes, and what their rows are.
pub(super) fn tables_hash(
    tables: &Tables,
    columns: &[ColumnSchema],
    globals: &[ColumnSchema],
    unlisted: &[ColumnSchema],
    timers: &[VariantSchema],
) -> u64 {
    let names: Vec<_> = columns.iter().chain(globals).map(|c| (&c.name, &c.component, &c.fields)).collect();
    tables.hash() ^ hash_bytes(format!("{names:?}{unlisted:?}{timers:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skirmish::Skirmish;
    use ringfort_protocol::schema::Coding;
    use zerocopy::FromZeros;

    fn entry(limits: ZoneLimits) -> (ZoneEntry, Description) {
        let is = Description::of::<Skirmish>(limits).unwrap();
        let ZoneLimits { capacity, max_entities, spectators } = limits;
        let entry = ZoneEntry {
            capacity,
            max_entities,
            spectators,
            tables_hash: is.tables_hash,
            incarnation: 1,
            ..ZoneEntry::new_zeroed()
        };
        (entry, is)
    }

    #[test]
    fn a_map_of_data_lays_a_match_out_as_the_code_of_its_game_does() {
        let json = serde_json::to_vec(&GameMap::of::<Skirmish>()).unwrap();
        let map: GameMap = serde_json::from_slice(&json).unwrap();
        for (capacity, max_entities, spectators) in [(1, 1, 0), (16, 40, 3), (700, 5000, 100)] {
            let (entry, is) = entry(ZoneLimits { capacity, max_entities, spectators });
            let found = map.lay_out(&entry).unwrap();
            assert_eq!((found.columns, found.globals, found.pages), (is.columns, is.globals, is.pages));
            let bases = |blobs: &[Option<BlobsAt>]| blobs.iter().map(|b| b.map(|b| b.logical_pages())).collect::<Vec<_>>();
            assert_eq!((bases(&found.blobs), found.engine.kicked), (bases(&is.blobs), is.engine.kicked));
            assert_eq!(found.input_bytes, is.input_bytes);
        }
    }

    #[test]
    fn a_map_that_makes_no_sense_is_refused_before_anything_is_decoded_by_it() {
        let map = GameMap::of::<Skirmish>();
        map.check().unwrap();
        let mut coded = map.clone();
        coded.schema.columns[0].fields[2].coding = Coding::Angle { bits: 200 };
        assert!(matches!(coded.check(), Err(SchemaError::Coding(_))));
        let mut far = map.clone();
        far.schema.columns[0].fields[0].offset = u32::MAX;
        assert!(matches!(far.check(), Err(SchemaError::Offset(_))));
        let mut loud = [map.clone(), map];
        loud[0].unlisted[0].fields[0].name = "\u{1b}[2J".to_owned();
        loud[1].schema.input[0].name = "\u{1b}[2J".to_owned();
        for map in loud {
            assert!(matches!(map.check(), Err(SchemaError::Name(name)) if !name.contains('\u{1b}')));
        }
    }

    #[test]
    fn sizes_that_no_match_has_and_other_games_are_refused() {
        let map = GameMap::of::<Skirmish>();
        let (good, _) = entry(ZoneLimits { capacity: 4, max_entities: 4, spectators: 0 });
        assert!(map.lay_out(&good).is_ok());
        for (capacity, max_entities, spectators) in [(0, 4, 0), (u32::MAX, 4, 0), (4, u32::MAX, 0), (4, 0, 0), (4, 4, u32::MAX)] {
            let bad = ZoneEntry { capacity, max_entities, spectators, ..good };
            assert_eq!(map.lay_out(&bad).unwrap_err(), MapError::Sizes, "{capacity} {max_entities} {spectators}");
        }
        let mut other = map.clone();
        other.schema.columns[0].fields[0].offset += 4;
        assert!(matches!(other.lay_out(&good), Err(MapError::Tables { .. })));
        let mut wide = map.clone();
        wide.places[1].row_bytes = u32::MAX;
        assert_eq!(wide.lay_out(&good).unwrap_err(), MapError::Sizes);
        let endless = GameMap { input_row_bytes: 0, ..map.clone() };
        assert_eq!(endless.lay_out(&good).unwrap_err(), MapError::Sizes);
        let mut long = map;
        long.places[1].kind = PlaceKind::Blobs { longest: u32::MAX };
        assert_eq!(long.lay_out(&good).unwrap_err(), MapError::Sizes);
    }
}
