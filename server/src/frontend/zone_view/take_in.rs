//! How a view takes a commit in: what each page that has changed means for the entities, and the encoding of their rows.

use std::ops::Range;

use ringfort_protocol::schema::{ColumnSchema, FieldKind, encode_row, length_bits};
use ringfort_shm_state::blobs::BlobId;
use ringfort_shm_state::layout::{EntityRow, EventRow};
use ringfort_shm_state::memory::Page;
use ringfort_shm_state::mirror::{Mirror, row_in};
use ringfort_shm_state::table::TableAt;

use super::{Part, Scratch, ZoneView, words_of};
use crate::frontend::cues::Cue;
use crate::frontend::entity_view::NOBODY;

static ZEROS: Page = [0; ringfort_shm_state::limits::PAGE_WORDS];

impl ZoneView {
    pub(super) fn apply_changes(&mut self, since: u32, tick: u32) {
        self.reborn.clear();
        self.touched.clear();
        self.entities_changed = false;
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
                Part::Column { wire } => {
                    self.column_page(&mirror, &table, wire, first..first + rows, (before, after), (since, tick))
                }
                Part::Global { wire } => self.global_page(&table, wire, after, (since, tick)),
                Part::Sessions => self.sessions_changed = true,
                Part::Other => {}
            }
        }
        self.let_pass(&mirror, since, tick);
        self.mirror = mirror;
    }

    /// Sends what was held back and is not any longer, and all of an entity that took over the index of another.
    fn let_pass(&mut self, mirror: &Mirror, since: u32, tick: u32) {
        let mut paces = std::mem::take(&mut self.paces);
        for (wire, pace) in paces.iter_mut().enumerate().filter(|(_, pace)| !pace.is_free()) {
            pace.release(since, tick, |entity| self.send_late(mirror, entity, wire, tick));
            for at in 0..self.reborn.len() {
                self.send_late(mirror, self.reborn[at], wire, tick);
            }
        }
        self.paces = paces;
        let mut paces = std::mem::take(&mut self.globals_paces);
        for (wire, pace) in paces.iter_mut().enumerate().filter(|(_, pace)| !pace.is_free()) {
            pace.release(since, tick, |_| {
                let table = self.description.globals[usize::from(self.description.wire.globals[wire].schema_index)];
                self.send_global(wire, row_in(mirror.page(table.base), &table, 0), tick);
            });
        }
        self.globals_paces = paces;
    }

    /// Brings the encoding of one row to what the mirror has now.
    fn send_late(&mut self, mirror: &Mirror, entity: u32, wire: usize, tick: u32) {
        let table = self.description.columns[usize::from(self.description.wire.columns[wire].schema_index)];
        let page = mirror.page(table.base + entity / table.per_page);
        let row = row_in(page, &table, entity % table.per_page);
        self.late[entity as usize] &= !(1 << wire);
        let present = self.entities[entity as usize].present >> wire & 1 == 1;
        if let Some(row) = row.filter(|_| present)
            && self.encode(mirror, entity as usize, wire, row)
        {
            self.note_change(entity as usize, wire, tick);
        }
    }

    fn note_change(&mut self, index: usize, wire: usize, tick: u32) {
        self.entities[index].changes.note(wire, tick);
        self.touch(index);
        let columns = self.offsets.len();
        self.changed[index * columns + wire] = tick;
    }

    fn touch(&mut self, index: usize) {
        if self.touched.last() != Some(&(index as u32)) {
            self.touched.push(index as u32);
        }
    }

    /// Works out what follows from an entity's rows and is asked for often: where it is, and the body of its usual record.
    pub(super) fn finish_touched(&mut self) {
        for at in 0..self.touched.len() {
            let index = self.touched[at] as usize;
            let mut entity = self.entities[index];
            let [position, left] = [self.positions[index], self.left[index]];
            entity.has_left = position[0].is_nan();
            [entity.x, entity.y] = if entity.has_left { left } else { position };
            entity.set_body(|wire| self.row(index, wire));
            self.entities[index] = entity;
        }
    }

    fn reserve(&mut self, entities: usize) {
        if self.entities.len() < entities {
            self.entities.resize(entities, NOBODY);
            self.late.resize(entities, 0);
            self.positions.resize(entities, [f32::NAN; 2]);
            self.left.resize(entities, [f32::NAN; 2]);
            self.changed.resize(entities * self.offsets.len(), 0);
            self.rows.resize(entities * self.stride, 0);
        }
    }

    fn entities_page(&mut self, table: &TableAt, first: u32, rows: u32, page: &Page) {
        use zerocopy::FromBytes;
        self.entities_changed = true;
        for i in 0..rows {
            let Some(Ok(row)) = row_in(page, table, i).map(EntityRow::read_from_bytes) else { continue };
            let index = (first + i) as usize;
            self.reserve(index + 1);
            let entity = &mut self.entities[index];
            let generation = if row.alive == 1 { row.generation } else { 0 };
            if generation != 0 && entity.generation != 0 && generation != entity.generation {
                self.reborn.push(index as u32);
            }
            (entity.generation, entity.owner, entity.hidden_from) = (generation, row.owner, row.hidden_from);
            self.left[index] = finite(row.left.map(|axis| f32::from_bits(!axis)));
            self.touch(index);
        }
    }

    /// Takes in a page of a column: `rows` is which rows it holds, and the pair what it was and is.
    fn column_page(
        &mut self,
        mirror: &Mirror,
        table: &TableAt,
        wire: usize,
        rows: Range<u32>,
        (before, after): (&Page, &Page),
        (since, tick): (u32, u32),
    ) {
        let schema_index = self.description.wire.columns[wire].schema_index;
        let position = self.position.filter(|(column, _)| *column == schema_index).map(|(_, offset)| offset as usize);
        let free = self.paces[wire].is_free();
        for i in 0..rows.end - rows.start {
            let (old, new) = (row_in(before, table, i), row_in(after, table, i));
            if old == new {
                continue;
            }
            let index = (rows.start + i) as usize;
            self.reserve(index + 1);
            if let Some(at) = position {
                self.positions[index] = new.and_then(|row| read_position(row, at)).unwrap_or([f32::NAN; 2]);
                self.touch(index);
            }
            let was = self.entities[index].present >> wire & 1 == 1;
            if let (false, true, Some(row)) = (free, was, new)
                && !self.paces[wire].passes(index as u32, since, tick)
            {
                if self.paces[wire].is_once() {
                    // Who comes to see the entity from now on is sent what it is now; to the others it is no change.
                    self.encode(mirror, index, wire, row);
                    self.touch(index);
                } else {
                    self.hold_back(index, wire);
                }
                continue;
            }
            let differs = match new {
                Some(row) => self.encode(mirror, index, wire, row) || !was,
                None => was,
            };
            let entity = &mut self.entities[index];
            if differs {
                entity.present = entity.present & !(1 << wire) | u32::from(new.is_some()) << wire;
                self.note_change(index, wire, tick);
            }
        }
    }

    fn hold_back(&mut self, index: usize, wire: usize) {
        if self.late[index] >> wire & 1 == 0 {
            self.late[index] |= 1 << wire;
            self.paces[wire].hold(index as u32);
        }
    }

    /// Encodes a row into its place; `true` when the bits are others than before. The row of a blob column names the blob; one that cannot
    /// be found is sent as an empty one.
    fn encode(&mut self, mirror: &Mirror, index: usize, wire: usize, row: &[u8]) -> bool {
        let column = &self.description.wire.columns[wire];
        let schema = &self.description.schema.columns[usize::from(column.schema_index)];
        let blob = self.description.blobs[usize::from(column.schema_index)];
        let at = index * self.stride + self.offsets[wire];
        let place = &mut self.rows[at..at + words_of(column)];
        let Some(blobs) = blob else {
            let words = self.scratch.encode(schema, row);
            let differs = *place != *words;
            place.copy_from_slice(words);
            return differs;
        };
        let content = BlobId::from_row(row).and_then(|id| blobs.get(mirror, id).ok().flatten()).unwrap_or_default();
        let words = self.scratch.encode(schema, content);
        let bits = blob_bits(schema, content);
        let (length, rest) = place.split_at_mut(1);
        let differs = length[0] != bits || rest[..words.len()] != *words;
        length[0] = bits;
        rest[..words.len()].copy_from_slice(words);
        rest[words.len()..].fill(0);
        differs
    }

    fn global_page(&mut self, table: &TableAt, wire: usize, after: &Page, (since, tick): (u32, u32)) {
        let pace = &mut self.globals_paces[wire];
        if !pace.is_free() && self.globals_changed[wire] != 0 && !pace.passes(0, since, tick) {
            pace.clear();
            // A global is seen from the first snapshot on: one that is sent once is sent as it is when a client comes.
            return if pace.is_once() { self.encode_global(wire, row_in(after, table, 0)) } else { pace.hold(0) };
        }
        self.send_global(wire, row_in(after, table, 0), tick);
    }

    fn encode_global(&mut self, wire: usize, row: Option<&[u8]>) {
        let Some(row) = row else { return };
        let schema = &self.description.schema.globals[usize::from(self.description.wire.globals[wire].schema_index)];
        let words = self.scratch.encode(schema, row);
        self.globals_rows[wire].copy_from_slice(words);
    }

    fn send_global(&mut self, wire: usize, row: Option<&[u8]>, tick: u32) {
        let Some(row) = row else { return };
        let schema = &self.description.schema.globals[usize::from(self.description.wire.globals[wire].schema_index)];
        let words = self.scratch.encode(schema, row);
        if self.globals_changed[wire] == 0 || *self.globals_rows[wire] != *words {
            self.globals_rows[wire].copy_from_slice(words);
            self.globals_changed[wire] = tick;
        }
    }

    pub(super) fn collect_cues(&mut self) {
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

impl Scratch {
    fn encode(&mut self, schema: &ColumnSchema, row: &[u8]) -> &[u64] {
        self.bits.clear();
        encode_row(schema, row, &mut self.bits);
        self.words.clear();
        self.bits.copy_words(&mut self.words);
        &self.words
    }
}

/// Bits of a text or bytes on the wire.
fn blob_bits(schema: &ColumnSchema, content: &[u8]) -> u64 {
    let max = schema.blob().and_then(FieldKind::blob_max).unwrap_or(0);
    u64::from(length_bits(max)) + 8 * content.len().min(max.into()) as u64
}

fn read_position(row: &[u8], at: usize) -> Option<[f32; 2]> {
    let axis = |at: usize| Some(f32::from_ne_bytes(row.get(at..at + 4)?.try_into().ok()?));
    Some(finite([axis(at)?, axis(at + 4)?]))
}

/// A position from which distances can be measured; one that is infinite or not a number counts as none.
fn finite(position: [f32; 2]) -> [f32; 2] {
    if position.iter().all(|axis| axis.is_finite()) { position } else { [f32::NAN; 2] }
}
