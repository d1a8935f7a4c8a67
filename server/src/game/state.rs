//! The state struct: its fields declare themselves to the schema and bind themselves to a zone's memory, in order.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringfort_protocol::TickNo;
use ringfort_protocol::bits::BitReader;
use ringfort_protocol::schema::{Coding, ColumnSchema, FieldKind, FieldSchema, Sync};
use ringfort_shm_state::blobs::{BlobId, BlobsAt};
use ringfort_shm_state::entities::{EntityReader, EntityTable};
use ringfort_shm_state::layout::{TimerRow, ZoneMeta};
use ringfort_shm_state::limits::MAX_BLOB_BYTES;
use ringfort_shm_state::sheet::Sheet;
use ringfort_shm_state::table::{Table, TableAt, Tables};
use zerocopy::FromZeros;

use super::Component;
use super::check::RowCheck;
use super::description::{Description, ZoneLimits};
use super::grid::Grids;
use super::map::{PlaceKind, PlaceRule};

/// What the attributes of a field of the state struct say.
#[derive(Clone, Copy, Debug)]
pub struct FieldOptions {
    /// The field's name, which is the column's name.
    pub name: &'static str,
    /// Who may see it; `Sync::None` unless `#[sync(..)]` says otherwise.
    pub sync: Sync,
    /// Weight of the field's changes when a datagram has no room for all.
    pub priority: f32,
    /// `#[sync(.., once)]`: sent when a client begins to see the entity, and not again for a change.
    pub once: bool,
    /// `#[sync(.., rate = n)]`: changes are sent at most so often a second; 0 for every tick.
    pub rate: u32,
    /// `#[keep(ms)]`: so much of the past must be readable.
    pub keep_ms: u32,
    /// `#[predict(owner)]`: the owner's client may work it out ahead.
    pub predict: bool,
    /// `#[interp(lerp, snap_over = d)]`: clients blend it between two snapshots, unless they are further apart than this.
    pub interp: Option<f32>,
    /// `#[max(n)]`: bytes of the longest blob.
    pub max: usize,
}

impl FieldOptions {
    /// Those of a field without attributes.
    pub const fn new(name: &'static str) -> Self {
        Self { name, sync: Sync::None, priority: 1.0, once: false, rate: 0, keep_ms: 0, predict: false, interp: None, max: 0 }
    }
}

/// Implemented by `#[derive(State)]` alone.
#[diagnostic::on_unimplemented(message = "`{Self}` is no state", note = "write `#[derive(State)]` above the struct")]
pub trait State: Sized + 'static {
    /// The struct's name.
    const NAME: &'static str;
    /// Calls [`StateField::declare`] of every field, in order.
    fn declare(to: &mut Declare);
    /// Calls [`StateField::bind`] of every field, in order.
    fn bind(to: &mut Binder) -> Self;
    /// Calls [`StateField::hook`] of every field, in order, with its position.
    fn hook(&mut self, hook: Hook);
    /// Calls [`StateField::receive`] of every field.
    fn receive(&mut self, received: &Received<'_>);
}

/// Part of a snapshot on its way into a client's copy of the state.
#[derive(Clone, Copy, Debug)]
pub enum Received<'a> {
    /// A row of a column came, or went.
    Row {
        /// Index of the column in the schema.
        column: u16,
        /// Index of the entity.
        entity: u32,
        /// The row's bits; nothing when the entity has no such row any more.
        row: Option<BitReader<'a>>,
    },
    /// A global came.
    Global {
        /// Index of the global in the schema.
        global: u16,
        /// Its bits.
        row: BitReader<'a>,
    },
    /// What the entity at this index had is gone.
    Gone(u32),
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a field of a state",
    label = "not part of a world",
    note = "fields are `Entities`, `Column<T>`, `Global<T>`, `Blobs<str>`, `Blobs<[u8]>`, `Grid`, `Seats<T>` and `Timers<T>`"
)]
pub trait StateField: Sized {
    /// Adds the field to the schema and to the zone's layout.
    fn declare(to: &mut Declare, options: FieldOptions);
    /// Takes the field's memory in a zone.
    fn bind(to: &mut Binder, options: FieldOptions) -> Self;
    /// Does what the engine asks. `position` is the field's in the struct.
    fn hook(&mut self, _position: usize, _hook: Hook) {}
    /// Takes what is the field's of a snapshot; bits that are no value of it are left out.
    fn receive(&mut self, _received: &Received<'_>) {}
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
    /// Whether clients blend it between two snapshots.
    pub blended: bool,
    /// Whether the owner's client works it out ahead.
    pub predicted: bool,
    /// Where the bytes lie, if the rows name blobs.
    pub blobs: Option<BlobsAt>,
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
    pub(super) unlisted: Vec<ColumnSchema>,
    /// The longest time that a field keeps.
    pub(super) keep_ms: u32,
    /// What is looked at before another process's match is taken over.
    pub(super) checks: Vec<RowCheck>,
    /// Fields that are timers, and what they carry.
    pub(super) timers: Vec<(&'static str, TypeId)>,
    /// How the fields' memory follows from a match's size, in order.
    pub(super) rules: Vec<PlaceRule>,
}

/// The memory of one field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) at: Option<TableAt>,
    pub(super) blobs: Option<BlobsAt>,
}

impl Declare {
    pub(super) fn new(limits: ZoneLimits, tables: Tables) -> Self {
        let (columns, globals, places, unlisted, checks, timers, rules) = Default::default();
        Self { limits, tables, columns, globals, places, unlisted, keep_ms: 0, checks, timers, rules }
    }

    pub(super) fn column<T: Component>(&mut self, options: FieldOptions) {
        let declared = self.declared::<T>(options, PlaceKind::Column);
        self.columns.push(declared);
    }

    pub(super) fn global<T: Component>(&mut self, options: FieldOptions) {
        let declared = self.declared::<T>(options, PlaceKind::Global);
        self.globals.push(declared);
    }

    fn declared<T: Component>(&mut self, options: FieldOptions, kind: PlaceKind) -> Declared {
        let (at, _) = self.place(options.name, kind, size_of::<T>());
        self.checks.extend(RowCheck::of::<T>(options.name, at, 0));
        let schema = column_schema(options, T::NAME, size_of::<T>(), T::fields());
        self.keep_ms = self.keep_ms.max(options.keep_ms);
        Declared {
            schema,
            at,
            priority: options.priority,
            blended: options.interp.is_some(),
            predicted: options.predict,
            blobs: None,
        }
    }

    /// A column whose rows name blobs of at most `options.max` bytes.
    pub(super) fn blob_column(&mut self, options: FieldOptions, component: &str, kind: FieldKind) {
        let fits = options.max <= MAX_BLOB_BYTES;
        assert!(fits, "field `{}`: a blob has at most {MAX_BLOB_BYTES} bytes", options.name);
        let (at, blobs) = self.place(options.name, PlaceKind::Blobs { longest: options.max as u32 }, size_of::<BlobId>());
        let field = FieldSchema { name: "value".to_owned(), offset: 0, kind, coding: Coding::Raw, synced: true };
        let schema = column_schema(options, component, 0, vec![field]);
        self.keep_ms = self.keep_ms.max(options.keep_ms);
        self.columns.push(Declared { schema, at, priority: options.priority, blended: false, predicted: false, blobs });
    }

    /// Sets rows of a type with a name aside that are not part of the schema; `of` has the type's name and fields.
    pub(super) fn unlisted(
        &mut self,
        options: FieldOptions,
        kind: PlaceKind,
        row_bytes: usize,
        of: (&str, Vec<FieldSchema>),
    ) -> TableAt {
        self.unlisted.push(column_schema(options, of.0, row_bytes, of.1));
        self.place(options.name, kind, row_bytes).0
    }

    fn place(&mut self, name: &'static str, kind: PlaceKind, row_bytes: usize) -> (TableAt, Option<BlobsAt>) {
        let rule = PlaceRule { name: name.to_owned(), kind, row_bytes: row_bytes as u32 };
        let (at, blobs) = rule.lay_out(&self.limits, &mut self.tables).expect("a blob's length was looked at");
        self.rules.push(rule);
        self.places.push(Place { name, at: Some(at), blobs });
        (at, blobs)
    }

    /// Notes a field without rows of its own.
    pub(super) fn nothing(&mut self, options: FieldOptions) {
        self.keep_ms = self.keep_ms.max(options.keep_ms);
        self.places.push(Place { name: options.name, at: None, blobs: None });
    }
}

fn column_schema(options: FieldOptions, component: &str, row_bytes: usize, fields: Vec<FieldSchema>) -> ColumnSchema {
    ColumnSchema {
        name: options.name.to_owned(),
        component: component.to_owned(),
        sync: options.sync,
        once: options.once,
        rate: options.rate,
        row_bytes: row_bytes as u32,
        fields,
    }
}

/// Where a state struct is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoundOn {
    /// On a zone's pages, to be stepped.
    Zone,
    /// On what they were at an earlier tick.
    Past,
    /// On a client's copy.
    Client,
}

/// What the fields of one state struct share, and the engine with them.
pub(crate) struct ZoneShared {
    pub(crate) on: BoundOn,
    pub(crate) sheet: Rc<Sheet>,
    /// Where the last commit is read, while the next is made; elsewhere the same as `sheet`.
    pub(crate) committed: Rc<Sheet>,
    /// The tick that `committed` shows.
    pub(crate) committed_tick: Cell<u32>,
    /// Indices by place, of the ticks that are remembered.
    pub(crate) grids: Rc<Grids>,
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
    /// On a sheet that no state struct is bound on yet.
    pub(crate) fn new(on: BoundOn, sheet: &Rc<Sheet>, committed: &Rc<Sheet>, is: &Description, grids: Rc<Grids>) -> Rc<Self> {
        // SAFETY: the engine's table is bound once on each sheet, here (our callers' sheets are new), and its rows are written as this
        // type by the engine alone; the directory's hash of tables refuses another layout.
        let entities = EntityTable::new(unsafe { Table::bind(sheet, is.engine.entities) });
        Rc::new(Self {
            on,
            sheet: Rc::clone(sheet),
            committed: Rc::clone(committed),
            committed_tick: Cell::new(0),
            grids,
            meta: Cell::new(ZoneMeta::new_zeroed()),
            reader: entities.reader(),
            entities: RefCell::new(entities),
            despawned: RefCell::default(),
            due: RefCell::default(),
            spawned_for: RefCell::default(),
        })
    }

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
    pub(super) entities: TableAt,
    places: Vec<Place>,
    /// The column of the schema with the position of entities, and where in its rows that stands.
    entity_position: Option<(u16, usize)>,
    position: usize,
    columns: u16,
    globals: u16,
}

impl Binder {
    pub(crate) fn new(shared: Rc<ZoneShared>, is: &Description) -> Self {
        let entity_position = is.schema.position.map(|p| (p.column, p.offset as usize));
        Self {
            shared,
            entities: is.engine.entities,
            places: is.places.clone(),
            entity_position,
            position: 0,
            columns: 0,
            globals: 0,
        }
    }

    /// The next field's place and its position in the struct.
    pub(super) fn next(&mut self) -> (Place, usize) {
        let place = *self.places.get(self.position).expect("fields are bound as they were declared");
        self.position += 1;
        (place, self.position - 1)
    }

    pub(super) fn next_rows(&mut self) -> (TableAt, usize) {
        let (place, position) = self.next();
        (place.at.expect("the field was declared with rows"), position)
    }

    /// The rows of the field at a position of the struct.
    pub(super) fn rows_of(&self, position: usize) -> TableAt {
        let place = self.places.get(position).and_then(|place| place.at);
        place.expect("an index is of a column")
    }

    /// Where in a column's rows the position of entities stands, on pages that are stepped.
    pub(super) fn place_in(&self, column: u16) -> Option<usize> {
        let at = self.entity_position.filter(|(of, _)| *of == column && self.shared.on == BoundOn::Zone)?;
        Some(at.1)
    }

    /// Index in the schema of the column that is being bound.
    pub(super) fn next_column(&mut self) -> u16 {
        self.columns += 1;
        self.columns - 1
    }

    /// Index in the schema of the global that is being bound.
    pub(super) fn next_global(&mut self) -> u16 {
        self.globals += 1;
        self.globals - 1
    }
}
