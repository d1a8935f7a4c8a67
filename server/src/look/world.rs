//! The entities and globals of a match at one commit: rows by name, decoded. `entities`, `inspect`, `history` and `diff` read through this.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use ringfort_protocol::Entity;
use ringfort_protocol::schema::{ColumnSchema, FieldKind};
use ringfort_shm_state::blobs::BlobId;
use ringfort_shm_state::layout::{EntityRow, RootFlags, RootHead, SessionRow};
use ringfort_shm_state::limits::WINDOW;
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::table::TableAt;
use serde::{Serialize, Serializer};

use super::names::{FieldAt, name_of};
use super::value::Value;
use super::{AskError, OneMatch};
use crate::attach::Attached;
use crate::game::{GameMap, MatchMap};

/// Fields by their names, in the schema's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub Vec<(Rc<str>, Value)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (&**name, value)))
    }
}

/// The names of all fields of columns or globals, made once: each is shown many times.
#[derive(Clone, Debug)]
pub struct Names(Vec<Vec<Rc<str>>>);

impl Names {
    /// Of these columns, or globals.
    pub fn of(columns: &[ColumnSchema]) -> Self {
        let of_column = |column: &ColumnSchema| column.fields.iter().map(|field| name_of(column, field).into()).collect();
        Self(columns.iter().map(of_column).collect())
    }

    /// The name of a field.
    pub fn field(&self, column: usize, field: usize) -> &Rc<str> {
        &self.0[column][field]
    }
}

/// The pages of some columns, with the content of texts and bytes.
pub fn pages_of(map: &MatchMap, columns: impl IntoIterator<Item = usize>) -> Vec<Range<u32>> {
    let mut pages = Vec::new();
    for column in columns {
        pages.extend(map.columns.get(column).map(TableAt::logical_pages));
        pages.extend(map.blobs.get(column).copied().flatten().map(|blobs| blobs.logical_pages()));
    }
    pages
}

/// The pages of an entity's rows in all columns, with the content of all texts and bytes: in which of their pages its own lie is known only
/// from the rows.
pub fn pages_of_entity(map: &MatchMap, index: u32) -> Vec<Range<u32>> {
    let page = |at: &TableAt| {
        let page = at.base + index.min(at.rows.saturating_sub(1)) / at.per_page.max(1);
        page..page + 1
    };
    let blobs = map.blobs.iter().flatten().map(|blobs| blobs.logical_pages());
    let rows = map.columns.iter().chain([&map.engine.entities]).map(page);
    rows.chain(blobs).chain([map.engine.sessions.logical_pages()]).collect()
}

/// The commits that can be looked at, the oldest first.
pub fn window(attached: &Attached, slot: usize, incarnation: u64) -> Vec<RootHead> {
    let newest = attached.world.published(slot).sequence;
    let oldest = newest.saturating_sub(WINDOW - 1).max(1);
    let roots = (oldest..=newest).filter_map(|sequence| attached.world.root(slot, sequence).ok());
    let of_match = |head: &RootHead| head.incarnation == incarnation && head.flags & RootFlags::ENDED == 0;
    roots.map(|root| root.head).filter(of_match).collect()
}

impl OneMatch {
    /// An entity's row in the engine's table.
    pub fn entity(&self, index: u32) -> Option<EntityRow> {
        self.mirror.get(&self.map.engine.entities, index)
    }

    /// Rows of entities, of the living and of the dead.
    pub fn entities(&self) -> impl Iterator<Item = (u32, EntityRow)> {
        self.mirror.iter::<EntityRow>(self.map.engine.entities)
    }

    /// Whether an entity has a row in a column.
    pub fn has(&self, column: usize, index: u32) -> bool {
        self.map.columns.get(column).is_some_and(|at| self.mirror.row(at, index).is_some())
    }

    /// The value of an entity's field; nothing when it has no row in the column.
    pub fn value(&self, game: &GameMap, at: FieldAt, index: u32) -> Option<Value> {
        let column = game.schema.columns.get(at.column)?;
        let row = self.mirror.row(self.map.columns.get(at.column)?, index)?;
        let field = column.fields.get(at.field)?;
        let value = match field.kind {
            FieldKind::Text { .. } | FieldKind::Bytes { .. } => self.blob(at.column, field.kind, row),
            _ => Value::of_memory(field, row),
        };
        Some(match (at.half, value) {
            (Some(0), Value::Pair(x, _)) => Value::Float(x),
            (Some(_), Value::Pair(_, y)) => Value::Float(y),
            (_, value) => value,
        })
    }

    fn blob(&self, column: usize, kind: FieldKind, row: &[u8]) -> Value {
        let (Some(Some(blobs)), Some(id)) = (self.map.blobs.get(column), BlobId::from_row(row)) else {
            return Value::Bad("its content is nowhere".to_owned());
        };
        match blobs.get(&self.mirror, id) {
            Ok(Some(content)) => Value::of_blob(kind, content),
            Ok(None) => Value::Bad("its content is gone".to_owned()),
            Err(problem) => Value::Bad(problem.to_string()),
        }
    }

    /// All fields of an entity, of the columns that it has.
    pub fn fields(&self, game: &GameMap, names: &Names, index: u32) -> Fields {
        let mut fields = Fields::default();
        for (column, schema) in game.schema.columns.iter().enumerate() {
            for field in 0..schema.fields.len() {
                let value = self.value(game, FieldAt { column, field, half: None }, index);
                fields.0.extend(value.map(|value| (Rc::clone(names.field(column, field)), value)));
            }
        }
        fields
    }

    /// The value of a global's field.
    pub fn global(&self, game: &GameMap, at: FieldAt) -> Option<Value> {
        let field = game.schema.globals.get(at.column)?.fields.get(at.field)?;
        Some(Value::of_memory(field, self.mirror.row(self.map.globals.get(at.column)?, 0)?))
    }

    /// All fields of the globals.
    pub fn globals(&self, game: &GameMap, names: &Names) -> Fields {
        let mut fields = Fields::default();
        for (global, (schema, at)) in game.schema.globals.iter().zip(&self.map.globals).enumerate() {
            let Some(row) = self.mirror.row(at, 0) else { continue };
            let values = schema
                .fields
                .iter()
                .enumerate()
                .map(|(field, schema)| (Rc::clone(names.field(global, field)), Value::of_memory(schema, row)));
            fields.0.extend(values);
        }
        fields
    }

    /// The names of the players by the ids of their sessions.
    pub fn players(&self) -> BTreeMap<u64, String> {
        self.mirror.iter::<SessionRow>(self.map.engine.sessions).map(|(_, row)| (row.id, unpadded(&row.name))).collect()
    }

    /// The entity that is meant by an index or by `INDEX.GENERATION`. One that has died and left its index to nobody is found, too.
    pub fn meant(&self, of: &str, text: &str) -> Result<(Entity, EntityRow), AskError> {
        let (index, generation) = parse_index(text).ok_or_else(|| AskError::NotAnEntity { asked: text.to_owned() })?;
        let none = || AskError::NoEntity { of: of.to_owned(), asked: text.to_owned(), tick: self.head().tick };
        let row = self.entity(index).ok_or_else(none)?;
        match generation {
            Some(generation) if generation != row.generation => Err(AskError::OtherGeneration {
                of: of.to_owned(),
                asked: text.to_owned(),
                lives: format!("{index}.{}", row.generation),
                tick: self.head().tick,
            }),
            _ => Ok((Entity { index, generation: row.generation }, row)),
        }
    }
}

/// An index, and maybe a generation, as they are typed.
pub fn parse_index(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once('.') {
        None => Some((text.parse().ok()?, None)),
        Some((index, generation)) => Some((index.parse().ok()?, Some(generation.parse().ok()?))),
    }
}

/// Whether an entity lives.
pub fn lives(row: &EntityRow) -> bool {
    row.alive == 1
}

/// The groups of a mask, from 0.
pub fn groups(mask: u32) -> Vec<u32> {
    (0..u32::BITS).filter(|group| mask >> group & 1 == 1).collect()
}
