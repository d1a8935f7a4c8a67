//! The state struct: its fields declare themselves to the schema and bind themselves to a zone's memory, in order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringfort_protocol::TickNo;
use ringfort_protocol::schema::{ColumnSchema, Sync};
use ringfort_shm_state::entities::{EntityReader, EntityTable};
use ringfort_shm_state::layout::{TimerRow, ZoneMeta};
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::table::{TableAt, Tables};

use super::Component;
use super::description::ZoneLimits;

/// What the attributes of a field of the state struct say.
#[derive(Clone, Copy, Debug)]
pub struct FieldOptions {
    /// The field's name, which is the column's name.
    pub name: &'static str,
    /// Who may see it; `Sync::None` unless `#[sync(..)]` says otherwise.
    pub sync: Sync,
    /// Weight of the field's changes when a datagram has no room for all.
    pub priority: f32,
}

/// Implemented by `#[derive(State)]` alone.
pub trait State: Sized + 'static {
    /// The struct's name.
    const NAME: &'static str;
    /// Calls [`StateField::declare`] of every field, in order.
    fn declare(to: &mut Declare);
    /// Calls [`StateField::bind`] of every field, in order.
    fn bind(to: &mut Binder) -> Self;
    /// Calls [`StateField::hook`] of every field, in order, with its position.
    fn hook(&mut self, hook: Hook);
}

/// What the engine tells the fields between the game's own functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The entity at this index was despawned in this tick: forget what is left of it.
    Despawned(u32),
    /// Hand over what is due at this tick.
    CollectTimers(TickNo),
    /// Bring the rows that the tick touched into the form that is committed.
    BeforeCommit,
}

/// A type that may be a field of a state struct.
pub trait StateField: Sized {
    /// Adds the field to the schema and to the zone's layout.
    fn declare(to: &mut Declare, options: FieldOptions);
    /// Takes the field's memory in a zone.
    fn bind(to: &mut Binder) -> Self;
    /// Does what the engine asks. `position` is the field's in the struct.
    fn hook(&mut self, _position: usize, _hook: Hook) {}
}

/// A column or global that was declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its schema.
    pub schema: ColumnSchema,
    /// Where its rows lie.
    pub at: TableAt,
    /// Weight of its changes.
    pub priority: f32,
}

/// Collects the declarations.
#[derive(Debug)]
pub struct Declare {
    pub(super) limits: ZoneLimits,
    pub(super) tables: Tables,
    pub(super) columns: Vec<Declared>,
    pub(super) globals: Vec<Declared>,
    pub(super) places: Vec<Place>,
    /// What the rows are that no schema describes: two processes that differ there must not share a zone either.
    pub(super) unlisted: Vec<String>,
}

/// The memory of one field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: Option<TableAt>,
}

impl Declare {
    pub(super) fn column<T: Component>(&mut self, options: FieldOptions) {
        let rows = self.limits.max_entities;
        let declared = self.declared::<T>(options, rows);
        self.columns.push(declared);
    }

    pub(super) fn global<T: Component>(&mut self, options: FieldOptions) {
        let declared = self.declared::<T>(options, 1);
        self.globals.push(declared);
    }

    fn declared<T: Component>(&mut self, options: FieldOptions, rows: u32) -> Declared {
        let at = self.place(rows, size_of::<T>());
        let schema = ColumnSchema {
            name: options.name.to_owned(),
            component: T::NAME.to_owned(),
            sync: options.sync,
            once: false,
            rate: 0,
            row_bytes: size_of::<T>() as u32,
            fields: T::fields(),
        };
        Declared { schema, at, priority: options.priority }
    }

    /// Sets rows aside that are not part of the schema; `what` names their type and its fields.
    pub(super) fn unlisted(&mut self, rows: u32, row_bytes: usize, what: String) {
        self.unlisted.push(what);
        self.place(rows, row_bytes);
    }

    fn place(&mut self, rows: u32, row_bytes: usize) -> TableAt {
        let at = self.tables.add(rows, row_bytes);
        self.places.push(Place { at: Some(at) });
        at
    }

    /// Notes a field without rows of its own.
    pub(super) fn nothing(&mut self) {
        self.places.push(Place { at: None });
    }
}

/// What the fields of one zone's state share, and the engine with them.
pub(crate) struct ZoneShared {
    pub(crate) pages: Rc<Pages>,
    /// The engine's counters, copied from their row when the zone is bound and written back at each commit.
    pub(crate) meta: Cell<ZoneMeta>,
    pub(crate) entities: RefCell<EntityTable>,
    pub(crate) reader: EntityReader,
    /// Entities that were despawned in this tick; their rows are cleared after it.
    pub(crate) despawned: RefCell<Vec<u32>>,
    /// Timers that are due in this tick.
    pub(crate) due: RefCell<Vec<TimerRow>>,
    /// First entity of each session that got one in this tick: session, index, generation.
    pub(crate) spawned_for: RefCell<Vec<(u64, u32, u32)>>,
}

impl ZoneShared {
    pub(crate) fn with_meta<R>(&self, change: impl FnOnce(&mut ZoneMeta) -> R) -> R {
        let mut meta = self.meta.get();
        let result = change(&mut meta);
        self.meta.set(meta);
        result
    }
}

/// Hands out memory.
pub struct Binder {
    pub(super) shared: Rc<ZoneShared>,
    places: std::vec::IntoIter<Place>,
    position: usize,
}

impl Binder {
    pub(super) fn new(shared: Rc<ZoneShared>, places: Vec<Place>) -> Self {
        Self { shared, places: places.into_iter(), position: 0 }
    }

    /// The next field's rows and its position in the struct.
    pub(super) fn next(&mut self) -> (Option<TableAt>, usize) {
        let place = self.places.next().expect("fields are bound as they were declared");
        self.position += 1;
        (place.at, self.position - 1)
    }

    pub(super) fn next_rows(&mut self) -> (TableAt, usize) {
        let (at, position) = self.next();
        (at.expect("the field was declared with rows"), position)
    }
}
