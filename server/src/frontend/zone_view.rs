//! A zone as a front-end sees it: a mirror of the newest commit, and per entity what encoding needs.
//!
//! A row is encoded once, when its page has changed, and every client gets the same bits. Whether a row changed is decided by its
//! encoding, so what is not synced, and differences below a quantum, cost nothing on the wire.

mod take_in;

use ringfort_protocol::bits::{BitWriter, Row};
use ringfort_protocol::layout::WireColumn;
use ringfort_protocol::schema::{ColumnSchema, Sync};
use ringfort_protocol::snapshot::SnapshotShape;
use ringfort_shm_state::layout::{EventRow, RootHead, ZoneMeta};
use ringfort_shm_state::mirror::{Mirror, MirrorError, Refreshed};
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;

use super::cues::Cues;
use super::entity_view::{EntityView, NearClass};
use super::field::Field;
use super::owned::Owned;
use super::pace::Pace;
use crate::game::Description;

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
    /// Bytes that a snapshot of this zone may always have.
    pub least_bytes: usize,
    /// Columns for everybody.
    pub all_mask: u32,
    /// Columns for the owner.
    pub owner_mask: u32,
    /// Columns that owners' clients work out ahead.
    pub predicted_mask: u32,
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
    cues: Cues,
    sessions_changed: bool,
    /// When changes of each wire column and of each synced global are sent.
    paces: Vec<Pace>,
    globals_paces: Vec<Pace>,
    /// Where entities are, in a match in which clients are told only of what is around them.
    field: Option<Field>,
    owned: Owned,
    /// Whether the last refresh changed the entity table.
    entities_changed: bool,
    /// By entity: its wire columns with a change that is held back.
    late: Vec<u32>,
    /// By entity: its position; not a number when it has none.
    positions: Vec<[f32; 2]>,
    /// By entity: where it was when it lost its position; not a number when it never did.
    left: Vec<[f32; 2]>,
    /// Entities with something that this commit has changed, perhaps more than once.
    touched: Vec<u32>,
    /// Entities that took an index over from another since the view was refreshed last.
    reborn: Vec<u32>,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    bits: BitWriter,
    words: Vec<u64>,
}

impl ZoneView {
    /// An empty view of a zone slot that makes so many ticks a second.
    pub fn new(slot: usize, description: Description, hz: u32) -> Self {
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
        let field = description.interest.in_match(description.limits.max_entities);
        let (mut offsets, mut stride) = (Vec::new(), 0);
        for column in &wire.columns {
            offsets.push(stride);
            stride += words_of(column);
        }
        let pace = |c: &WireColumn, all: &[ColumnSchema]| Pace::new(&all[usize::from(c.schema_index)], hz);
        let paces = wire.columns.iter().map(|c| pace(c, columns)).collect();
        let globals_paces = wire.globals.iter().map(|g| pace(g, &description.schema.globals)).collect();
        let predicted = |(i, c): (usize, &WireColumn)| u32::from(description.predicted[usize::from(c.schema_index)]) << i;
        let predicted_mask = wire.columns.iter().enumerate().map(predicted).sum();
        let priority = |c: &WireColumn| description.priorities[usize::from(c.schema_index)];
        Self {
            mirror: Mirror::new(slot),
            parts: parts(&description),
            shape: SnapshotShape::new(wire, description.limits.max_entities),
            least_bytes: description.least_snapshot_bytes(),
            all_mask: sync_mask(|s| s == Sync::All),
            owner_mask: sync_mask(|s| s != Sync::None),
            predicted_mask,
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
            cues: Cues::default(),
            sessions_changed: false,
            paces,
            globals_paces,
            field: field.map(|(radius, entities)| Field::new(radius, entities)),
            owned: Owned::default(),
            entities_changed: false,
            late: Vec::new(),
            positions: Vec::new(),
            left: Vec::new(),
            touched: Vec::new(),
            reborn: Vec::new(),
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

    /// Where entities are, in a match in which clients are told only of what is around them.
    pub fn field(&self) -> Option<&Field> {
        self.field.as_ref()
    }

    /// The entities that a session owns, in such a match; in others nobody asks.
    pub fn owned_by(&self, session: u64) -> impl Iterator<Item = u32> {
        self.owned.by(session, &self.entities)
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
        let words = &self.rows[at..at + words_of(column)];
        match words.split_first() {
            Some((bits, words)) if column.blob.is_some() => Row { words, bits: *bits as u32 },
            _ => Row { words, bits: column.bits },
        }
    }

    /// An encoded global.
    pub fn global(&self, wire: usize) -> Row<'_> {
        Row { words: &self.globals_rows[wire], bits: self.description.wire.globals[wire].bits }
    }

    /// Unreliable events of the newest tick.
    pub fn cues(&self) -> &Cues {
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
        let since = self.mirror.head().map_or(0, |h| h.tick);
        let refreshed = self.mirror.refresh(world)?;
        if refreshed == Refreshed::OtherMatch {
            self.entities.clear();
            self.late.clear();
            self.positions.clear();
            self.left.clear();
            self.changed.clear();
            self.rows.clear();
            self.globals_changed.fill(0);
            self.paces.iter_mut().chain(&mut self.globals_paces).for_each(Pace::clear);
        }
        if refreshed != Refreshed::Same {
            let tick = self.mirror.head().map_or(0, |h| h.tick);
            let since = if refreshed == Refreshed::OtherMatch { 0 } else { since };
            self.apply_changes(since, tick);
            self.collect_cues();
            self.finish_touched();
            if let Some(field) = &mut self.field {
                field.rebuild(&self.entities);
                if self.entities_changed {
                    self.owned.rebuild(&self.entities, self.description.limits.sessions());
                }
            }
        }
        Ok(refreshed)
    }
}

/// Words of a row's place; before a text or bytes stands how many bits it has.
fn words_of(column: &WireColumn) -> usize {
    column.words as usize + usize::from(column.blob.is_some())
}

fn parts(description: &Description) -> Vec<(TableAt, Part)> {
    let engine = &description.engine;
    let mut parts = vec![
        (engine.meta, Part::Other),
        (engine.entities, Part::Entities),
        (engine.sessions, Part::Sessions),
        (engine.inputs, Part::Other),
        (engine.verdicts, Part::Other),
        (engine.rejected, Part::Other),
        (description.input_bytes, Part::Other),
        (engine.events, Part::Other),
        (engine.cues, Part::Other),
        (engine.life, Part::Other),
        (engine.refusals, Part::Other),
        (engine.kicked, Part::Other),
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
