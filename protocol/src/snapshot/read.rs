//! Unpacking, with every bound checked: the bytes come from outside.

use super::{COUNTS_AT, GENERATION_BITS, HEADER_BYTES, NEAR_BITS, OP_BITS, OP_FRESH, OP_GONE, OP_UPDATE};
use super::{Lapse, SNAPSHOT_TAG, SnapshotHeader, SnapshotShape};
use crate::bits::{BitReader, Truncated};
use crate::layout::{WireBlob, WireColumn};
use crate::limits::MAX_PREDICTED;
use crate::schema::{TAG_BITS, length_bits};
use crate::snapshot::write::set_bits;
use crate::{AckBits, TickNo, WireLayout};

/// Bytes that are no snapshot of this game. The client closes with `BadMessage`: the world is no longer what the server
/// believes it to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another first byte.
    #[error("the datagram is no snapshot")]
    Tag,
    /// The bytes end in the middle.
    #[error("the snapshot ends in the middle")]
    Truncated,
    /// An entity beyond the zone's bound.
    #[error("the snapshot names entity {0}, beyond the zone's bound")]
    Index(u32),
    /// An operation that doesn't exist.
    #[error("the snapshot has an unknown kind of record")]
    Op,
    /// An entity of generation 0.
    #[error("the snapshot names an entity that can't be alive")]
    Generation,
    /// A cue with the tag of no event.
    #[error("the snapshot has an unknown event")]
    Cue,
    /// More than padding after the last cue.
    #[error("there is something behind the snapshot")]
    Trailing,
    /// A text or bytes longer than its column allows, or a text that is no UTF-8.
    #[error("the snapshot has a text or bytes for entity {0} that its column does not allow")]
    Blob(u32),
    /// An update of an entity that the client doesn't have; only [`crate::client_world`] can tell.
    #[error("the snapshot changes entity {0}, which was never sent")]
    Unknown(u32),
}

impl From<Truncated> for SnapshotError {
    fn from(_: Truncated) -> SnapshotError {
        SnapshotError::Truncated
    }
}

/// One thing that a snapshot says. A record is followed by its columns.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// The row of a global.
    Global {
        /// Position among the synced globals.
        global: usize,
        /// Exactly the row's bits.
        row: BitReader<'a>,
    },
    /// An entity that the client knows changes; what isn't named stays.
    Update {
        /// The entity's index.
        index: u32,
    },
    /// An entity appears; whatever the client held of the index is dropped.
    Fresh {
        /// The entity's index.
        index: u32,
        /// The entity's generation.
        generation: u32,
        /// Whether it belongs to the client's own session.
        mine: bool,
    },
    /// An entity disappears, if the client has it.
    Gone {
        /// The entity's index.
        index: u32,
    },
    /// A column of the entity named last.
    Column {
        /// The entity's index.
        index: u32,
        /// Position among the synced columns.
        column: usize,
        /// Exactly the row's bits; nothing if the entity has no such row now.
        row: Option<BitReader<'a>>,
    },
    /// An unreliable event.
    Cue {
        /// The event's encoding, tag included.
        event: BitReader<'a>,
    },
}

/// A snapshot whose header has been read.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotReader<'a> {
    /// The header.
    pub header: SnapshotHeader,
    layout: &'a WireLayout,
    records: u16,
    cues: u8,
    body: &'a [u8],
}

impl<'a> SnapshotReader<'a> {
    /// Reads the header, which is enough to drop a snapshot that is out of date.
    pub fn new(datagram: &'a [u8], layout: &'a WireLayout) -> Result<SnapshotReader<'a>, SnapshotError> {
        let (header, rest) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(SnapshotError::Truncated)?;
        if header[0] != SNAPSHOT_TAG {
            return Err(SnapshotError::Tag);
        }
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (words, body) = rest.split_at_checked(4 * layout.predicted as usize).ok_or(SnapshotError::Truncated)?;
        let mut verdicts = [0; MAX_PREDICTED];
        for (to, word) in verdicts.iter_mut().zip(words.as_chunks::<4>().0) {
            *to = u32::from_le_bytes(*word);
        }
        Ok(SnapshotReader {
            header: SnapshotHeader {
                stay: header[1],
                tick: TickNo(word(2)),
                inputs: AckBits { highest: word(6), bits: word(10) },
                waited: Lapse(half(14)),
                early: Lapse(half(16)),
                repeated: header[18],
                verdicts,
            },
            layout,
            records: half(COUNTS_AT),
            cues: header[COUNTS_AT + 2],
            body,
        })
    }

    /// Hands out everything in order. `each` may refuse an item; the first error ends it, and what was handed out
    /// before is then not to be trusted.
    pub fn read(
        &self,
        max_entities: u32,
        mut each: impl FnMut(Item<'a>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let layout = self.layout;
        let shape = SnapshotShape::new(layout, max_entities);
        let mut from = BitReader::new(self.body);
        if from.read_bool()? {
            let mask = from.read(shape.globals)? as u32;
            for global in set_bits(mask) {
                let row = from.split(layout.globals[global].bits)?;
                each(Item::Global { global, row })?;
            }
        }
        let (mut next, mut usual) = (0, None);
        for _ in 0..self.records {
            let index = index(&mut from, next, shape.index_bits)?;
            if index >= max_entities {
                return Err(SnapshotError::Index(index));
            }
            next = index + 1;
            record(&mut from, index, &layout.columns, &mut usual, &mut each)?;
        }
        for _ in 0..self.cues {
            each(Item::Cue { event: cue(&mut from, layout)? })?;
        }
        if from.only_padding_left() { Ok(()) } else { Err(SnapshotError::Trailing) }
    }
}

/// Which entity a record is of; `next` is one more than that of the record before.
fn index(from: &mut BitReader<'_>, next: u32, index_bits: u32) -> Result<u32, Truncated> {
    match (from.read_bool()?, next) {
        (false, next) => Ok(next),
        (true, next) if !from.read_bool()? => Ok(next + 1 + from.read(NEAR_BITS)? as u32),
        (true, _) => Ok(from.read(index_bits)? as u32),
    }
}

/// `usual` has the columns of the last full update record.
fn record<'a>(
    from: &mut BitReader<'a>,
    index: u32,
    columns: &[WireColumn],
    usual: &mut Option<u32>,
    each: &mut impl FnMut(Item<'a>) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mask_bits = columns.len() as u32;
    if from.read_bool()? {
        each(Item::Update { index })?;
        for column in set_bits(usual.ok_or(SnapshotError::Op)?) {
            let row = Some(row(from, index, &columns[column])?);
            each(Item::Column { index, column, row })?;
        }
        return Ok(());
    }
    match from.read(OP_BITS)? {
        OP_UPDATE => {
            each(Item::Update { index })?;
            let mask = from.read(mask_bits)? as u32;
            let mut full = true;
            for column in set_bits(mask) {
                let row = if from.read_bool()? { Some(row(from, index, &columns[column])?) } else { None };
                full &= row.is_some();
                each(Item::Column { index, column, row })?;
            }
            if full {
                *usual = Some(mask);
            }
        }
        OP_FRESH => {
            let generation = from.read(GENERATION_BITS)? as u32;
            if generation == 0 {
                return Err(SnapshotError::Generation);
            }
            each(Item::Fresh { index, generation, mine: from.read_bool()? })?;
            for column in set_bits(from.read(mask_bits)? as u32) {
                let row = Some(row(from, index, &columns[column])?);
                each(Item::Column { index, column, row })?;
            }
        }
        OP_GONE => each(Item::Gone { index })?,
        _ => return Err(SnapshotError::Op),
    }
    Ok(())
}

fn row<'a>(from: &mut BitReader<'a>, index: u32, column: &WireColumn) -> Result<BitReader<'a>, SnapshotError> {
    let Some(WireBlob { max, .. }) = column.blob else { return Ok(from.split(column.bits)?) };
    let length = { *from }.read(length_bits(max))?;
    if length > u64::from(max) {
        return Err(SnapshotError::Blob(index));
    }
    Ok(from.split(length_bits(max) + 8 * length as u32)?)
}

fn cue<'a>(from: &mut BitReader<'a>, layout: &WireLayout) -> Result<BitReader<'a>, SnapshotError> {
    let tag = { *from }.read(TAG_BITS)? as usize;
    let bits = *layout.event_bits.get(tag).ok_or(SnapshotError::Cue)?;
    Ok(from.split(bits)?)
}
