//! A zone as a front-end sees it: a mirror of the newest commit, and per entity what encoding needs.
//!
//! A row is encoded once, when its page has changed, and every client gets the same bits. Whether a row changed is decided by its
//! encoding, so what is not synced, and differences below a quantum, cost nothing on the wire.

use ringfort_protocol::bits::{BitWriter, Row};
use ringfort_protocol::layout::WireColumn;
use ringfort_protocol::schema::{ColumnSchema, Sync, encode_row};
use ringfort_protocol::snapshot::SnapshotShape;
use ringfort_shm_state::layout::{EntityRow, EventRow, RootHead, ZoneMeta};
use ringfort_shm_state::memory::Page;
use ringfort_shm_state::mirror::{Mirror, MirrorError, Refreshed, row_in};
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;

use crate::game::Description;

/// One entity, as far as deciding who sees it goes.
#[derive(Clone, Copy, Debug)]
pub struct EntityView {
    /// Generation that lives here; 0 for nobody.
    pub generation: u32,
    /// Wire columns that it has.
    pub present: u32,
    /// The latest of its columns' changes.
    pub newest: u32,
    /// Its position; not a number when it has none.
    pub x: f32,
    /// See `x`.
    pub y: f32,
    /// Owning session.
    pub owner: u64,
}

const NOBODY: EntityView = EntityView { generation: 0, present: 0, newest: 0, x: f32::NAN, y: f32::NAN, owner: 0 };

/// Columns that are seen within a distance.
#[derive(Clone, Copy, Debug)]
pub struct NearClass {
    /// The distance, squared.
    pub distance_squared: f32,
    /// The columns.
    pub mask: u32,
}

/// An unreliable event of the newest tick, ready to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Cue {
    /// Who it is for.
    pub row: EventRow,
    /// Its encoding.
    pub words: [u64; 4],
    /// Bits of it.
    pub bits: u32,
}

/// A table's role for the view.
#[derive(Clone, Copy)]
enum Part {
    Entities,
    Column { wire: usize },
    Global { wire: usize },
    Sessions,
    Other,
}

/// The view of one zone.
pub struct ZoneView {
    mirror: Mirror,
    description: Description,
    /// Where each table begins, in order, with what it is.
    parts: Vec<(TableAt, Part)>,
    /// Widths of snapshots of this zone.
    pub shape: SnapshotShape,
    /// Columns for everybody.
    pub all_mask: u32,
    /// Columns for the owner.
    pub owner_mask: u32,
    /// Columns by distance.
    pub near: Vec<NearClass>,
    /// Weight of each wire column.
    pub priorities: Vec<f32>,
    /// The wire column and byte offset of the position, if the game has one and it is on the wire.
    position: Option<(u16, u32)>,
    entities: Vec<EntityView>,
    /// Tick of the last change, by entity and wire column.
    changed: Vec<u32>,
    /// Encoded rows, by entity: each wire column's words.
    rows: Vec<u64>,
    offsets: Vec<usize>,
    stride: usize,
    globals_changed: Vec<u32>,
    globals_rows: Vec<Vec<u64>>,
    cues: Vec<Cue>,
    sessions_changed: bool,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    bits: BitWriter,
    words: Vec<u64>,
}

impl ZoneView {
    /// An empty view of a zone slot.
    pub fn new(slot: usize, description: Description) -> Self {
        let wire = &description.wire;
        let columns = &description.schema.columns;
        let sync_mask = |want: fn(Sync) -> bool| {
            let synced = wire.columns.iter().enumerate().filter(|(_, c)| want(columns[usize::from(c.schema_index)].sync));
            synced.fold(0u32, |mask, (i, _)| mask | 1 << i)
        };
        let mut near: Vec<NearClass> = Vec::new();
        for (i, column) in wire.columns.iter().enumerate() {
            if let Sync::Near(distance) = columns[usize::from(column.schema_index)].sync {
                match near.iter_mut().find(|n| n.distance_squared == distance * distance) {
                    Some(class) => class.mask |= 1 << i,
                    None => near.push(NearClass { distance_squared: distance * distance, mask: 1 << i }),
                }
            }
        }
        let (mut offsets, mut stride) = (Vec::new(), 0);
        for column in &wire.columns {
            offsets.push(stride);
            stride += column.words as usize;
        }
        let priority = |c: &WireColumn| description.priorities[usize::from(c.schema_index)];
        Self {
            mirror: Mirror::new(slot),
            parts: parts(&description),
            shape: SnapshotShape::new(wire, description.limits.max_entities),
            all_mask: sync_mask(|s| s == Sync::All),
            owner_mask: sync_mask(|s| s != Sync::None),
            near,
            priorities: wire.columns.iter().map(priority).collect(),
            position: description.schema.position.map(|p| (p.column, p.offset)),
            entities: Vec::new(),
            changed: Vec::new(),
            rows: Vec::new(),
            offsets,
            stride,
            globals_changed: vec![0; wire.globals.len()],
            globals_rows: wire.globals.iter().map(|g| vec![0; g.words as usize]).collect(),
            cues: Vec::new(),
            sessions_changed: false,
            scratch: Scratch::default(),
            description,
        }
    }

    /// The commit that it shows.
    pub fn head(&self) -> Option<&RootHead> {
        self.mirror.head()
    }

    /// The match's memory and wire.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The mirrored rows.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Entities by index.
    pub fn entities(&self) -> &[EntityView] {
        &self.entities
    }

    /// Ticks in which an entity's wire columns changed last.
    #[inline]
    pub fn changed(&self, index: usize) -> &[u32] {
        let columns = self.offsets.len();
        &self.changed[index * columns..(index + 1) * columns]
    }

    /// Ticks in which the globals changed last.
    pub fn globals_changed(&self) -> &[u32] {
        &self.globals_changed
    }

    /// An encoded row.
    #[inline]
    pub fn row(&self, index: usize, wire: usize) -> Row<'_> {
        let at = index * self.stride + self.offsets[wire];
        let column = &self.description.wire.columns[wire];
        Row { words: &self.rows[at..at + column.words as usize], bits: column.bits }
    }

    /// An encoded global.
    pub fn global(&self, wire: usize) -> Row<'_> {
        Row { words: &self.globals_rows[wire], bits: self.description.wire.globals[wire].bits }
    }

    /// Unreliable events of the newest tick.
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    /// Whether the last refresh changed the session table.
    pub fn sessions_changed(&self) -> bool {
        self.sessions_changed
    }

    /// The engine's counters of the newest commit.
    pub fn meta(&self) -> Option<ZoneMeta> {
        self.mirror.get(&self.description.engine.meta, 0)
    }

    /// The reliable event with a number, if it is still in the log.
    pub fn event(&self, number: u64) -> Option<EventRow> {
        let table = &self.description.engine.events;
        let row: EventRow = self.mirror.get(table, (number % u64::from(table.rows)) as u32)?;
        (row.number == number).then_some(row)
    }

    /// Brings the view to the newest commit.
    pub fn refresh(&mut self, world: &World) -> Result<Refreshed, MirrorError> {
        self.sessions_changed = false;
        let refreshed = self.mirror.refresh(world)?;
        if refreshed == Refreshed::OtherMatch {
            self.entities.clear();
            self.changed.clear();
            self.rows.clear();
            self.globals_changed.fill(0);
        }
        if refreshed != Refreshed::Same {
            let tick = self.mirror.head().map_or(0, |h| h.tick);
            self.apply_changes(tick);
            self.collect_cues();
        }
        Ok(refreshed)
    }

    fn apply_changes(&mut self, tick: u32) {
        // The mirror is set aside so that its pages can be read while the rest of the view is written.
        let mirror = std::mem::replace(&mut self.mirror, Mirror::new(0));
        for change in mirror.changes() {
            let part = self.parts.partition_point(|(at, _)| at.base <= change.logical) - 1;
            let (table, part) = self.parts[part];
            if !table.contains(change.logical) {
                continue;
            }
            let (before, after) = (change.before.as_deref().unwrap_or(&ZEROS), mirror.page(change.logical));
            let first = (change.logical - table.base) * table.per_page;
            let rows = table.per_page.min(table.rows - first);
            match part {
                Part::Entities => self.entities_page(&table, first, rows, after),
                Part::Column { wire } => self.column_page(&table, wire, first, rows, before, after, tick),
                Part::Global { wire } => self.global_page(&table, wire, after, tick),
                Part::Sessions => self.sessions_changed = true,
                Part::Other => {}
            }
        }
        self.mirror = mirror;
    }

    fn reserve(&mut self, entities: usize) {
        if self.entities.len() < entities {
            self.entities.resize(entities, NOBODY);
            self.changed.resize(entities * self.offsets.len(), 0);
            self.rows.resize(entities * self.stride, 0);
        }
    }

    fn entities_page(&mut self, table: &TableAt, first: u32, rows: u32, page: &Page) {
        use zerocopy::FromBytes;
        for i in 0..rows {
            let Some(Ok(row)) = row_in(page, table, i).map(EntityRow::read_from_bytes) else { continue };
            let index = (first + i) as usize;
            self.reserve(index + 1);
            let entity = &mut self.entities[index];
            let generation = if row.alive == 1 { row.generation } else { 0 };
            (entity.generation, entity.owner) = (generation, row.owner);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, and each is another thing")]
    fn column_page(&mut self, table: &TableAt, wire: usize, first: u32, rows: u32, before: &Page, after: &Page, tick: u32) {
        let schema_index = self.description.wire.columns[wire].schema_index;
        let position = self.position.filter(|(column, _)| *column == schema_index).map(|(_, offset)| offset as usize);
        for i in 0..rows {
            let (old, new) = (row_in(before, table, i), row_in(after, table, i));
            if old == new {
                continue;
            }
            let index = (first + i) as usize;
            self.reserve(index + 1);
            let was = self.entities[index].present >> wire & 1 == 1;
            let differs = match new {
                Some(row) => self.encode(index, wire, row) || !was,
                None => was,
            };
            let entity = &mut self.entities[index];
            if let Some(at) = position {
                (entity.x, entity.y) = new.and_then(|row| read_position(row, at)).unwrap_or((f32::NAN, f32::NAN));
            }
            if differs {
                entity.present = entity.present & !(1 << wire) | u32::from(new.is_some()) << wire;
                entity.newest = tick;
                let columns = self.offsets.len();
                self.changed[index * columns + wire] = tick;
            }
        }
    }

    /// Encodes a row into its place; `true` when the bits are others than before.
    fn encode(&mut self, index: usize, wire: usize, row: &[u8]) -> bool {
        let column = &self.description.wire.columns[wire];
        let schema = &self.description.schema.columns[usize::from(column.schema_index)];
        let words = self.scratch.encode(schema, row);
        let at = index * self.stride + self.offsets[wire];
        let place = &mut self.rows[at..at + column.words as usize];
        let differs = *place != *words;
        place.copy_from_slice(words);
        differs
    }

    fn global_page(&mut self, table: &TableAt, wire: usize, after: &Page, tick: u32) {
        let Some(row) = row_in(after, table, 0) else { return };
        let schema = &self.description.schema.globals[usize::from(self.description.wire.globals[wire].schema_index)];
        let words = self.scratch.encode(schema, row);
        if self.globals_changed[wire] == 0 || *self.globals_rows[wire] != *words {
            self.globals_rows[wire].copy_from_slice(words);
            self.globals_changed[wire] = tick;
        }
    }

    fn collect_cues(&mut self) {
        self.cues.clear();
        let count = self.meta().map_or(0, |m| m.cues);
        let table = self.description.engine.cues;
        for i in 0..count.min(table.rows) {
            let Some(row) = self.mirror.get::<EventRow>(&table, i) else { continue };
            let bits = self.description.wire.event_bits.get(usize::from(row.payload[0])).copied().unwrap_or(0);
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(row.payload.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
            }
            if bits > 0 && bits <= 256 {
                self.cues.push(Cue { row, words, bits });
            }
        }
    }
}

static ZEROS: Page = [0; ringfort_shm_state::limits::PAGE_WORDS];

impl Scratch {
    fn encode(&mut self, schema: &ColumnSchema, row: &[u8]) -> &[u64] {
        self.bits.clear();
        encode_row(schema, row, &mut self.bits);
        self.words.clear();
        self.bits.copy_words(&mut self.words);
        &self.words
    }
}

fn read_position(row: &[u8], at: usize) -> Option<(f32, f32)> {
    let axis = |at: usize| Some(f32::from_ne_bytes(row.get(at..at + 4)?.try_into().ok()?));
    Some((axis(at)?, axis(at + 4)?))
}

fn parts(description: &Description) -> Vec<(TableAt, Part)> {
    let engine = &description.engine;
    let mut parts = vec![
        (engine.meta, Part::Other),
        (engine.entities, Part::Entities),
        (engine.sessions, Part::Sessions),
        (engine.inputs, Part::Other),
        (engine.events, Part::Other),
        (engine.cues, Part::Other),
    ];
    for (i, at) in description.columns.iter().enumerate() {
        let wire = description.wire.wire_column(i as u16);
        parts.push((*at, wire.map_or(Part::Other, |wire| Part::Column { wire })));
    }
    for (i, at) in description.globals.iter().enumerate() {
        let wire = description.wire.wire_global(i as u16);
        parts.push((*at, wire.map_or(Part::Other, |wire| Part::Global { wire })));
    }
    parts.sort_by_key(|(at, _)| at.base);
    parts
}
