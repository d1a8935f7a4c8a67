//! What a game looks like in memory and on the wire for a match of a given size. Every process of the instance works it out for
//! itself from the same code, and the directory's hash of the tables tells when two differ.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use ringfort_protocol::layout::{WireColumn, WireLayout};
use ringfort_protocol::limits::{MAX_PREDICTED, MAX_SNAPSHOT_BYTES};
use ringfort_protocol::schema::{ColumnSchema, Schema, SchemaError, Sync, VariantSchema};
use ringfort_protocol::{Input, Message, TimerPayload};
use ringfort_shm_state::blobs::BlobsAt;
use ringfort_shm_state::layout::{
    EntityRow, EventRow, KickedRow, RefusalRow, SessionInput, SessionRejected, SessionRow, SessionVerdict, ZoneEntry, ZoneLife,
    ZoneMeta,
};
use ringfort_shm_state::limits::{
    MAX_ENTITIES, MAX_EVENT_BYTES, MAX_INPUT_BYTES, MAX_KICKED, MAX_PREDICTED_EVENTS, MAX_REFUSALS, MAX_SESSIONS, WINDOW,
};
use ringfort_shm_state::table::{TableAt, Tables, TooManyPages};

use serde::{Deserialize, Serialize};

use super::Game;
use super::check::RowCheck;
use super::input_bytes::InputBytes;
use super::interest::Interest;
use super::map::tables_hash;
use super::outbox::OutboxAt;
use super::state::{Declare, Declared, Place};
use crate::config;
use crate::limits::{CUES_MAX, CUES_MIN, EVENT_LOG_MAX, EVENT_LOG_MIN, SNAPSHOT_ROOM_BYTES, TIMERS_PER_ENTITY};

const _: () = assert!(MAX_PREDICTED == MAX_PREDICTED_EVENTS, "a session's row has a word for each predicted event");

/// The size of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneLimits {
    /// Sessions that fit.
    pub capacity: u32,
    /// Entities that fit.
    pub max_entities: u32,
    /// Spectators that fit beside them.
    pub spectators: u32,
}

impl ZoneLimits {
    /// The size of a match of a game with so many players.
    pub fn of<G: Game>(capacity: u32) -> Self {
        Self { capacity, max_entities: G::max_entities(capacity), spectators: 0 }
    }

    /// The same with room for so many spectators.
    #[must_use]
    pub fn with_spectators(self, spectators: u32) -> Self {
        Self { spectators, ..self }
    }

    /// The size of a match of the directory.
    pub fn of_entry(entry: &ZoneEntry) -> Self {
        let ZoneEntry { capacity, max_entities, spectators, .. } = *entry;
        Self { capacity, max_entities, spectators }
    }

    /// Whether a match may be of this size.
    pub fn fit(&self) -> bool {
        (1..=MAX_SESSIONS).contains(&self.capacity)
            && self.sessions() <= MAX_SESSIONS
            && (1..=MAX_ENTITIES).contains(&self.max_entities)
    }

    /// Rows of the session table: players first, then spectators.
    pub fn sessions(&self) -> u32 {
        self.capacity.saturating_add(self.spectators)
    }

    pub(super) fn max_timers(&self) -> u32 {
        self.max_entities * TIMERS_PER_ENTITY
    }
}

/// The engine's own tables, which come before the game's.
#[derive(Clone, Copy, Debug)]
pub struct EngineTables {
    /// One [`ZoneMeta`].
    pub meta: TableAt,
    /// [`EntityRow`]s by entity index.
    pub entities: TableAt,
    /// [`SessionRow`]s by session slot.
    pub sessions: TableAt,
    /// [`SessionInput`]s by session slot.
    pub inputs: TableAt,
    /// [`SessionVerdict`]s by session slot.
    pub verdicts: TableAt,
    /// [`SessionRejected`]s by session slot.
    pub rejected: TableAt,
    /// The log of reliable events: [`EventRow`]s by number modulo its length.
    pub events: TableAt,
    /// The unreliable events of the newest tick: the first rows.
    pub cues: TableAt,
    /// Requests to the world outside.
    pub outbox: OutboxAt,
    /// One [`ZoneLife`].
    pub life: TableAt,
    /// The newest [`RefusalRow`]s, by number modulo their length.
    pub refusals: TableAt,
    /// The newest [`KickedRow`]s, by number modulo their length.
    pub kicked: TableAt,
}

impl EngineTables {
    /// The engine's tables of a match of the directory, which may be damaged; `None` when no match has such a size.
    pub fn of_entry(entry: &ZoneEntry) -> Option<Self> {
        let limits = ZoneLimits::of_entry(entry);
        limits.fit().then(|| Self::of(&limits, &mut Tables::default()))
    }

    /// Sets the engine's tables of a match aside. They are the same for every game, so that who does not know the game can read them.
    pub fn of(limits: &ZoneLimits, tables: &mut Tables) -> Self {
        let ZoneLimits { capacity, max_entities, .. } = *limits;
        Self {
            meta: tables.add(1, size_of::<ZoneMeta>()),
            entities: tables.add(max_entities, size_of::<EntityRow>()),
            sessions: tables.add(limits.sessions(), size_of::<SessionRow>()),
            inputs: tables.add(capacity, size_of::<SessionInput>()),
            verdicts: tables.add(capacity, size_of::<SessionVerdict>()),
            rejected: tables.add(capacity, size_of::<SessionRejected>()),
            events: tables.add((capacity * 4).clamp(EVENT_LOG_MIN, EVENT_LOG_MAX), size_of::<EventRow>()),
            cues: tables.add((capacity * 2).clamp(CUES_MIN, CUES_MAX), size_of::<EventRow>()),
            outbox: OutboxAt::declare(tables, capacity),
            life: tables.add(1, size_of::<ZoneLife>()),
            refusals: tables.add(MAX_REFUSALS, size_of::<RefusalRow>()),
            kicked: tables.add(MAX_KICKED, size_of::<KickedRow>()),
        }
    }
}

/// A match's memory and wire.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its size.
    pub limits: ZoneLimits,
    /// The game's schema.
    pub schema: Schema,
    /// The schema's sizes on the wire.
    pub wire: WireLayout,
    /// The engine's tables.
    pub engine: EngineTables,
    /// The bytes of the sessions' inputs, by session slot: the one applied last, and the one that waits.
    pub input_bytes: TableAt,
    /// Where each column of the schema lies.
    pub columns: Vec<TableAt>,
    /// Where each global of the schema lies.
    pub globals: Vec<TableAt>,
    /// Where the bytes of each column of blobs lie.
    pub blobs: Vec<Option<BlobsAt>>,
    /// The rows that never leave the server and are no columns: seats, and timers.
    pub unlisted: Vec<ColumnSchema>,
    /// Milliseconds of the past that the game wants to look back to.
    pub keep_ms: u32,
    /// Weight of each column's changes.
    pub priorities: Vec<f32>,
    /// Which columns clients blend between two snapshots.
    pub blended: Vec<bool>,
    /// Which columns owners' clients work out ahead.
    pub predicted: Vec<bool>,
    /// Of which entities a client is told.
    pub interest: Interest,
    /// Logical pages of the zone.
    pub pages: u32,
    /// What two processes must agree upon to share the zone.
    pub tables_hash: u64,
    pub(super) places: Vec<Place>,
    pub(super) checks: Vec<RowCheck>,
}

/// The game and a match's size do not go together.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// Too many players.
    #[error("a match of {capacity} players is not possible: between 1 and {MAX_SESSIONS}")]
    Capacity {
        /// What was asked for.
        capacity: u32,
    },
    /// Too many spectators.
    #[error("a match of {capacity} players and {spectators} spectators is not possible: at most {MAX_SESSIONS} together")]
    Spectators {
        /// For so many players.
        capacity: u32,
        /// What was asked for.
        spectators: u32,
    },
    /// Too many entities.
    #[error("the game asks for {max_entities} entities in a match of {capacity} players: between 1 and {MAX_ENTITIES}")]
    Entities {
        /// What the game asks for.
        max_entities: u32,
        /// For so many players.
        capacity: u32,
    },
    /// An input does not fit a session's row.
    #[error("the game's input takes {bytes} bytes on the wire, at most {MAX_INPUT_BYTES} fit: give its fields #[q]")]
    Input {
        /// Bytes of the input.
        bytes: usize,
    },
    /// An event does not fit a row of the log.
    #[error(
        "the game's event {event} takes {bytes} bytes on the wire, at most {MAX_EVENT_BYTES} fit: give its fields #[q], or send less"
    )]
    Event {
        /// Which.
        event: String,
        /// Bytes of it.
        bytes: usize,
    },
    /// A field carries other timers than those that the game gets.
    #[error("field `{field}` carries another type than the game's `type Timer`: they have to be the same")]
    Timers {
        /// The field.
        field: &'static str,
    },
    /// What a client is sent at once does not fit a snapshot.
    #[error(
        "the {what} that clients are sent take up to {bytes} bytes together, at most {SNAPSHOT_ROOM_BYTES} fit a snapshot: give fields #[q], \
         lower a #[max], or send less"
    )]
    TooWide {
        /// All columns of an entity, or all globals.
        what: &'static str,
        /// Bytes of them.
        bytes: u32,
    },
    /// A command could carry a number that is none.
    #[error(
        "the game's command {command} has a float that could be NaN: give it #[q(range = a..=b, step = s)] or #[q(angle, bits = n)]"
    )]
    Nan {
        /// Which.
        command: String,
    },
    /// There is nothing to measure distances from.
    #[error("column {column} is #[sync(near)], but no synced column has a Vec2 field called `pos` to measure from: add one")]
    NoPosition {
        /// The column.
        column: String,
    },
    /// There is nothing to measure the distances of interest from.
    #[error("the game's INTEREST has a radius, but no synced column has a Vec2 field called `pos` to measure from: add one")]
    NoPlace,
    /// The schema breaks a bound.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Too much memory for one zone.
    #[error(transparent)]
    Pages(#[from] TooManyPages),
}

impl Description {
    /// Works out a match of a game.
    pub fn of<G: Game>(limits: ZoneLimits) -> Result<Self, DescriptionError> {
        let ZoneLimits { capacity, max_entities, spectators } = limits;
        if !(1..=MAX_SESSIONS).contains(&capacity) {
            return Err(DescriptionError::Capacity { capacity });
        }
        if limits.sessions() > MAX_SESSIONS {
            return Err(DescriptionError::Spectators { capacity, spectators });
        }
        if !(1..=MAX_ENTITIES).contains(&max_entities) {
            return Err(DescriptionError::Entities { max_entities, capacity });
        }
        let bytes = G::Input::wire_bytes();
        if bytes > MAX_INPUT_BYTES {
            return Err(DescriptionError::Input { bytes });
        }
        let bytes_of = |event: &VariantSchema| event.wire_bits().div_ceil(8) as usize;
        if let Some(event) = G::Event::variants().iter().find(|event| bytes_of(event) > MAX_EVENT_BYTES) {
            return Err(DescriptionError::Event { event: event.name.clone(), bytes: bytes_of(event) });
        }
        let mut tables = Tables::default();
        let engine = EngineTables::of(&limits, &mut tables);
        let input_bytes = tables.add(capacity, InputBytes::row_bytes(bytes));
        let mut declare = Declare::new(limits, tables);
        G::declare(&mut declare);
        declare.tables.check()?;
        let schema = schema::<G>(&declare);
        let wire = WireLayout::new(&schema)?;
        if let Some((field, _)) = declare.timers.iter().find(|(_, carried)| *carried != TypeId::of::<G::Timer>()) {
            return Err(DescriptionError::Timers { field });
        }
        check_width("columns of an entity", &wire.columns)?;
        check_width("globals", &wire.globals)?;
        let could_be_nan = |variant: &&VariantSchema| variant.fields.iter().any(|f| f.kind.may_be_nan(f.coding));
        if let Some(variant) = schema.commands.iter().find(could_be_nan) {
            return Err(DescriptionError::Nan { command: variant.name.clone() });
        }
        let measurable = schema.position.is_some_and(|p| wire.wire_column(p.column).is_some());
        if let Some(column) = schema.columns.iter().find(|c| !measurable && matches!(c.sync, Sync::Near(_))) {
            return Err(DescriptionError::NoPosition { column: column.name.clone() });
        }
        if G::INTEREST.has_radius() && !measurable {
            return Err(DescriptionError::NoPlace);
        }
        let at = |list: &[Declared]| list.iter().map(|d| d.at).collect::<Vec<_>>();
        let tables_hash =
            tables_hash(&declare.tables, &schema.columns, &schema.globals, &declare.unlisted, &G::Timer::variants());
        Ok(Self {
            limits,
            wire,
            engine,
            input_bytes,
            columns: at(&declare.columns),
            globals: at(&declare.globals),
            blobs: declare.columns.iter().map(|d| d.blobs).collect(),
            unlisted: declare.unlisted,
            keep_ms: declare.keep_ms,
            priorities: declare.columns.iter().map(|d| d.priority).collect(),
            blended: declare.columns.iter().map(|d| d.blended).collect(),
            predicted: declare.columns.iter().map(|d| d.predicted).collect(),
            interest: G::INTEREST,
            pages: declare.tables.pages(),
            tables_hash,
            places: declare.places,
            checks: declare.checks,
            schema,
        })
    }

    /// The same match with an operator's numbers for its interest.
    #[must_use]
    pub fn with_interest(mut self, operator: config::Interest) -> Self {
        let measurable = self.schema.position.is_some_and(|p| self.wire.wire_column(p.column).is_some());
        if measurable {
            self.interest = self.interest.overridden(operator);
        }
        self
    }

    /// Bytes of a snapshot in which any entity has room beside the globals and the client's own: with less, a wide one would never be sent.
    pub(crate) fn least_snapshot_bytes(&self) -> usize {
        let room = 2 * width(&self.wire.columns) + width(&self.wire.globals);
        (MAX_SNAPSHOT_BYTES - SNAPSHOT_ROOM_BYTES + room as usize).min(MAX_SNAPSHOT_BYTES)
    }

    /// Milliseconds of the past that can be looked back to at a tick rate, where the game wants more.
    pub fn keeps_less(&self, hz: u32) -> Option<u32> {
        let window_ms = (WINDOW as u32 - 1) * 1000 / hz.max(1);
        (self.keep_ms > window_ms).then_some(window_ms)
    }

    /// Every table by its name, with its rows and the bytes of one: the engine's, then the game's, in the order in which they lie.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, u32, u32)> {
        let EngineTables { meta, entities, sessions, inputs, verdicts, rejected, events, cues, outbox, life, refusals, kicked } =
            self.engine;
        let engine = [
            ("the engine's own row", meta),
            ("the engine's entities", entities),
            ("the engine's sessions", sessions),
            ("the engine's inputs", inputs),
            ("the engine's verdicts", verdicts),
            ("the engine's rejections", rejected),
            ("the engine's events", events),
            ("the engine's cues", cues),
            ("the engine's outbox", outbox.meta),
            ("the engine's requests", outbox.rows),
            ("the engine's life", life),
            ("the engine's refusals", refusals),
            ("the engine's kicked players", kicked),
            ("the engine's bytes of inputs", self.input_bytes),
        ];
        let game = self.places.iter().filter_map(|place| Some((place.name, place.at?)));
        engine.into_iter().chain(game.collect::<Vec<_>>()).map(|(name, at)| (name, at.rows, at.row_bytes))
    }

    /// A game's schema, made once.
    pub fn schema_of<G: Game>() -> &'static Schema {
        static SCHEMAS: LazyLock<Mutex<HashMap<TypeId, &'static Schema>>> = LazyLock::new(Mutex::default);
        let mut schemas = SCHEMAS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        schemas.entry(TypeId::of::<G>()).or_insert_with(|| {
            let limits = ZoneLimits { capacity: 1, max_entities: 1, spectators: 0 };
            let tables = Tables::default();
            let mut declare = Declare::new(limits, tables);
            G::declare(&mut declare);
            Box::leak(Box::new(schema::<G>(&declare)))
        })
    }
}

/// Bytes that rows of all these take together: for each a bit in the mask, and one in front of it.
fn width(rows: &[WireColumn]) -> u32 {
    rows.iter().map(|row| row.bits + 2).sum::<u32>().div_ceil(8)
}

/// All of them must fit one snapshot: an entity that a client begins to see is sent whole.
fn check_width(what: &'static str, rows: &[WireColumn]) -> Result<(), DescriptionError> {
    let bytes = width(rows);
    if bytes as usize > SNAPSHOT_ROOM_BYTES { Err(DescriptionError::TooWide { what, bytes }) } else { Ok(()) }
}

fn schema<G: Game>(declare: &Declare) -> Schema {
    let columns: Vec<_> = declare.columns.iter().map(|d| d.schema.clone()).collect();
    Schema {
        game: G::NAME.to_owned(),
        hz: G::HZ,
        position: Schema::find_position(&columns),
        columns,
        globals: declare.globals.iter().map(|d| d.schema.clone()).collect(),
        input: G::Input::fields(),
        commands: G::Command::variants(),
        events: G::Event::variants(),
    }
}
