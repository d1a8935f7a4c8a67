//! The world as one client has it: snapshots are applied here, and rows decoded when they are asked for.
//!
//! Snapshots are applied in the order of their ticks; an older one is dropped and not acknowledged, because the server
//! reckons with exactly that.
//!
//! What is kept grows with what is visible, not with the match: entities stand in the order of their indices, and rows in places that are used
//! again.

use crate::bits::BitReader;
use crate::component::{ColumnId, Component, GlobalId};
use crate::layout::{WireBlob, WireColumn, WireLayout};
use crate::schema::length_bits;
use crate::snapshot::{Item, SnapshotError, SnapshotHeader, SnapshotReader};
use crate::{AckBits, Entity, TickNo};

/// Everything that snapshots have said so far.
#[derive(Debug)]
pub struct ClientWorld {
    layout: WireLayout,
    max_entities: u32,
    slots: Slots,
    columns: Vec<Rows>,
    globals: Vec<Vec<u8>>,
    globals_known: u32,
    acks: AckBits,
    header: Option<SnapshotHeader>,
    touched: Vec<Touched>,
    globals_touched: u32,
}

/// A record of the newest snapshot, for whoever keeps a copy of the world in another form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touched {
    /// The entity's index.
    pub index: u32,
    /// The wire columns that may differ from before, a bit each; all when the entity itself came or went.
    pub columns: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u32,
    /// Not 0.
    generation: u32,
    /// Which row of each column is its own.
    place: u32,
    present: u32,
    mine: bool,
}

/// The visible entities in the order of their indices, and the places of rows that nobody has.
#[derive(Default, Debug)]
struct Slots {
    sorted: Vec<Slot>,
    /// Where the last one that was looked for stands: records come in the order of the indices, so the next is near.
    cursor: usize,
    free: Vec<u32>,
    places: u32,
}

impl Slots {
    /// Where the entity at an index stands, or would. Where all are visible it stands at its own index.
    fn find(&self, index: u32) -> Result<usize, usize> {
        match self.sorted.get(index as usize) {
            Some(slot) if slot.index == index => Ok(index as usize),
            _ => self.sorted.binary_search_by_key(&index, |slot| slot.index),
        }
    }

    fn get(&self, index: u32) -> Option<&Slot> {
        self.find(index).ok().map(|at| &self.sorted[at])
    }

    fn seek(&mut self, index: u32) -> Option<&mut Slot> {
        let is_it = |at: &usize| self.sorted.get(*at).is_some_and(|slot| slot.index == index);
        let near = [self.cursor, self.cursor + 1].into_iter().find(is_it);
        self.cursor = near.or_else(|| self.find(index).ok())?;
        self.sorted.get_mut(self.cursor)
    }

    /// Puts an entity in, in the place of whichever had its index.
    fn put(&mut self, index: u32, generation: u32, mine: bool) {
        match self.find(index) {
            Ok(at) => {
                let place = self.sorted[at].place;
                self.sorted[at] = Slot { index, generation, place, present: 0, mine };
                self.cursor = at;
            }
            Err(at) => {
                let place = self.free.pop().unwrap_or_else(|| {
                    self.places += 1;
                    self.places - 1
                });
                self.sorted.insert(at, Slot { index, generation, place, present: 0, mine });
                self.cursor = at;
            }
        }
    }

    /// Takes the entity at an index out; whether there was one.
    fn remove(&mut self, index: u32) -> bool {
        let Ok(at) = self.find(index) else { return false };
        self.free.push(self.sorted.remove(at).place);
        true
    }
}

/// The encoded rows of one column, a whole number of bytes each; of a text or bytes the length in two bytes and the content.
#[derive(Debug)]
struct Rows {
    stride: usize,
    blob: Option<WireBlob>,
    bytes: Vec<u8>,
}

/// Bytes of a blob's length in front of its content.
const LENGTH_BYTES: usize = 2;

/// What became of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The world is now that of this tick.
    Newer(TickNo),
    /// It was older than the world, or the same; nothing happened.
    Older(TickNo),
}

impl ClientWorld {
    /// An empty world of a match that said `max_entities` when we joined.
    pub fn new(layout: WireLayout, max_entities: u32) -> ClientWorld {
        let rows = |column: &WireColumn| {
            let stride = column.blob.map_or(column.bytes as usize, |blob| LENGTH_BYTES + usize::from(blob.max));
            Rows { stride, blob: column.blob, bytes: Vec::new() }
        };
        ClientWorld {
            columns: layout.columns.iter().map(rows).collect(),
            globals: layout.globals.iter().map(|global| vec![0; global.bytes as usize]).collect(),
            globals_known: 0,
            slots: Slots::default(),
            acks: AckBits::NONE,
            header: None,
            touched: Vec::new(),
            globals_touched: 0,
            max_entities,
            layout,
        }
    }

    /// Applies a snapshot; `cue` gets the encoding of each unreliable event. After an error the world is half changed and
    /// the connection must be closed.
    pub fn apply(&mut self, datagram: &[u8], mut cue: impl FnMut(BitReader<'_>)) -> Result<Applied, SnapshotError> {
        let newest = self.tick();
        let ClientWorld { layout, slots, columns, globals, globals_known, touched, globals_touched, .. } = self;
        let snapshot = SnapshotReader::new(datagram, layout)?;
        let SnapshotHeader { tick, .. } = snapshot.header;
        if tick <= newest {
            return Ok(Applied::Older(tick));
        }
        touched.clear();
        *globals_touched = 0;
        snapshot.read(self.max_entities, |item| {
            match item {
                Item::Global { global, row } => {
                    row.copy_to(&mut globals[global]);
                    *globals_known |= 1 << global;
                    *globals_touched |= 1 << global;
                }
                Item::Update { index } => {
                    // An update is only of an entity that the server knows us to have.
                    slots.seek(index).ok_or(SnapshotError::Unknown(index))?;
                    touched.push(Touched { index, columns: 0 });
                }
                Item::Fresh { index, generation, mine } => {
                    slots.put(index, generation, mine);
                    columns.iter_mut().for_each(|rows| rows.grow(slots.places));
                    touched.push(Touched { index, columns: u32::MAX });
                }
                Item::Gone { index } => {
                    if slots.remove(index) {
                        touched.push(Touched { index, columns: u32::MAX });
                    }
                }
                Item::Column { index, column, row } => {
                    let slot = slots.seek(index).ok_or(SnapshotError::Unknown(index))?;
                    if let Some(touched) = touched.last_mut() {
                        touched.columns |= 1 << column;
                    }
                    match row {
                        Some(row) => {
                            columns[column].store(slot.place, index, row)?;
                            slot.present |= 1 << column;
                        }
                        None => slot.present &= !(1 << column),
                    }
                }
                Item::Cue { event } => cue(event),
            }
            Ok(())
        })?;
        self.acks.insert(tick.0);
        self.header = Some(snapshot.header);
        Ok(Applied::Newer(tick))
    }

    /// Takes the place of another world of the same match, which was told over another connection. Whatever is or was in one of the two
    /// counts as touched by the newest snapshot.
    pub fn replace(&mut self, other: &ClientWorld) {
        self.touched.clear();
        let others = other.slots.sorted.iter().filter(|slot| self.slots.get(slot.index).is_none());
        let all = self.slots.sorted.iter().chain(others).map(|slot| Touched { index: slot.index, columns: u32::MAX });
        self.touched.extend(all);
        self.touched.sort_unstable_by_key(|touched| touched.index);
        self.globals_touched = self.globals_known;
    }

    /// The tick of the newest snapshot; 0 before the first.
    pub fn tick(&self) -> TickNo {
        self.header.map_or(TickNo(0), |header| header.tick)
    }

    /// What the newest snapshot had records of.
    pub fn touched(&self) -> &[Touched] {
        &self.touched
    }

    /// The wire globals that the newest snapshot had, a bit each.
    pub fn globals_touched(&self) -> u32 {
        self.globals_touched
    }

    /// The visible entity at an index, and whether it belongs to our own session.
    pub fn entity_at(&self, index: u32) -> Option<(Entity, bool)> {
        let slot = self.slots.get(index)?;
        Some((Entity { index, generation: slot.generation }, slot.mine))
    }

    /// The encoded row of a wire global, once the server has sent it.
    pub fn encoded_global(&self, wire: usize) -> Option<&[u8]> {
        (self.globals_known >> wire & 1 == 1).then(|| &self.globals[wire][..])
    }

    /// Entities that the match may have.
    pub fn max_entities(&self) -> u32 {
        self.max_entities
    }

    /// The ticks to acknowledge: exactly those that were applied.
    pub fn acks(&self) -> AckBits {
        self.acks
    }

    /// The header of the newest snapshot: input acknowledgement and how long the input waited.
    pub fn header(&self) -> Option<SnapshotHeader> {
        self.header
    }

    /// Sizes of everything on the wire.
    pub fn layout(&self) -> &WireLayout {
        &self.layout
    }

    /// The row of a visible entity; nothing if it has none, or if the server's bits are no value of the type.
    pub fn get<T: Component>(&self, entity: Entity, column: ColumnId<T>) -> Option<T> {
        let slot = self.slots.get(entity.index).filter(|slot| slot.generation == entity.generation)?;
        self.row(slot, self.layout.wire_column(column.index)?)
    }

    /// All visible rows of a column, in the order of the entities' indices.
    pub fn iter<T: Component>(&self, column: ColumnId<T>) -> impl Iterator<Item = (Entity, T)> {
        let wire = self.layout.wire_column(column.index);
        self.alive().filter_map(move |(entity, slot)| Some((entity, self.row(slot, wire?)?)))
    }

    /// A global, once the server has sent it.
    pub fn global<T: Component>(&self, global: GlobalId<T>) -> Option<T> {
        let wire = self.layout.wire_global(global.index)?;
        if self.globals_known >> wire & 1 == 0 {
            return None;
        }
        T::decode(&mut BitReader::new(&self.globals[wire])).ok()
    }

    /// The visible entities, in the order of their indices.
    pub fn entities(&self) -> impl Iterator<Item = Entity> {
        self.alive().map(|(entity, _)| entity)
    }

    /// The visible entities that belong to our own session.
    pub fn mine(&self) -> impl Iterator<Item = Entity> {
        self.alive().filter(|(_, slot)| slot.mine).map(|(entity, _)| entity)
    }

    /// Whether we see this very entity now.
    pub fn sees(&self, entity: Entity) -> bool {
        self.slots.get(entity.index).is_some_and(|slot| slot.generation == entity.generation)
    }

    /// The content of a visible entity's row in a column of text or bytes, by the column's place in the schema.
    pub fn blob(&self, entity: Entity, schema_index: u16) -> Option<&[u8]> {
        let wire = self.layout.wire_column(schema_index)?;
        self.columns[wire].blob?;
        self.encoded(entity, wire)
    }

    /// The encoded row of an entity in a wire column, for whoever knows the schema but not the types; of a text or bytes the
    /// content.
    pub fn encoded(&self, entity: Entity, wire: usize) -> Option<&[u8]> {
        let slot = self.slots.get(entity.index).filter(|slot| slot.generation == entity.generation)?;
        (slot.present >> wire & 1 == 1).then(|| self.columns[wire].content(slot.place))
    }

    fn alive(&self) -> impl Iterator<Item = (Entity, &Slot)> {
        self.slots.sorted.iter().map(|slot| (Entity { index: slot.index, generation: slot.generation }, slot))
    }

    fn row<T: Component>(&self, slot: &Slot, wire: usize) -> Option<T> {
        if slot.present >> wire & 1 == 0 {
            return None;
        }
        T::decode(&mut BitReader::new(self.columns[wire].row(slot.place))).ok()
    }
}

impl Rows {
    /// Room for so many places.
    fn grow(&mut self, places: u32) {
        let bytes = places as usize * self.stride;
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
    }

    fn row(&self, place: u32) -> &[u8] {
        let start = place as usize * self.stride;
        &self.bytes[start..start + self.stride]
    }

    /// The row, or what it holds if it is a text or bytes.
    fn content(&self, place: u32) -> &[u8] {
        let row = self.row(place);
        let Some((length, content)) = row.split_first_chunk::<LENGTH_BYTES>().filter(|_| self.blob.is_some()) else { return row };
        &content[..usize::from(u16::from_le_bytes(*length))]
    }

    /// Takes in the row of the entity at `index`, which has the width of one of this column.
    fn store(&mut self, place: u32, index: u32, mut row: BitReader<'_>) -> Result<(), SnapshotError> {
        let blob = self.blob;
        let to = self.row_mut(place);
        let Some(WireBlob { max, text }) = blob else {
            row.copy_to(to);
            return Ok(());
        };
        let length = row.read(length_bits(max))? as u16;
        let (head, content) = to.split_at_mut(LENGTH_BYTES);
        head.copy_from_slice(&length.to_le_bytes());
        row.copy_to(content);
        let sound = !text || std::str::from_utf8(&content[..usize::from(length)]).is_ok();
        if sound { Ok(()) } else { Err(SnapshotError::Blob(index)) }
    }

    fn row_mut(&mut self, place: u32) -> &mut [u8] {
        let start = place as usize * self.stride;
        &mut self.bytes[start..start + self.stride]
    }
}

#[cfg(test)]
mod tests;
