//! Packing: one writer per front-end, used for one client after the other.

use super::{
    COUNTS_AT, GENERATION_BITS, NEAR_BITS, OP_BITS, OP_FRESH, OP_GONE, OP_UPDATE, SNAPSHOT_TAG, SnapshotHeader, SnapshotShape,
};
use crate::bits::{BitWriter, Mark, Row};
use crate::limits::MAX_SNAPSHOT_BYTES;

/// Builds snapshots in one buffer that is used again and again.
///
/// After [`start`](SnapshotWriter::start) come the globals, then records, then cues; each call says whether it fitted
/// and leaves the snapshot as it was if not.
#[derive(Debug)]
pub struct SnapshotWriter {
    bits: BitWriter,
    shape: SnapshotShape,
    budget_bits: usize,
    records: u16,
    cues: u8,
    globals_written: bool,
    /// One more than the index of the record before.
    next_index: u32,
    /// Columns of the last full update record.
    usual: Option<u32>,
}

/// A record that may yet be taken back.
#[derive(Clone, Copy)]
struct Begun {
    mark: Mark,
    index: u32,
}

impl SnapshotWriter {
    /// A writer with a buffer for the largest snapshot.
    pub fn new() -> SnapshotWriter {
        SnapshotWriter {
            bits: BitWriter::new(Vec::with_capacity(MAX_SNAPSHOT_BYTES + 64)),
            shape: SnapshotShape { index_bits: 0, columns: 0, globals: 0, predicted: 0 },
            budget_bits: 0,
            records: 0,
            cues: 0,
            globals_written: false,
            next_index: 0,
            usual: None,
        }
    }

    /// Begins a snapshot of at most `budget_bytes`.
    pub fn start(&mut self, header: &SnapshotHeader, shape: SnapshotShape, budget_bytes: usize) {
        self.shape = shape;
        self.budget_bits = budget_bytes.min(MAX_SNAPSHOT_BYTES) * 8;
        self.records = 0;
        self.cues = 0;
        self.globals_written = false;
        (self.next_index, self.usual) = (0, None);
        self.bits.clear();
        self.bits.write(u64::from(SNAPSHOT_TAG), 8);
        self.bits.write(u64::from(header.stay), 8);
        self.bits.write(u64::from(header.tick.0), 32);
        self.bits.write(u64::from(header.inputs.highest), 32);
        self.bits.write(u64::from(header.inputs.bits), 32);
        self.bits.write(u64::from(header.waited.0), 16);
        self.bits.write(u64::from(header.early.0), 16);
        self.bits.write(u64::from(header.repeated), 8);
        debug_assert_eq!(self.bits.bit_len(), COUNTS_AT * 8);
        // The counts of records and cues are patched in at the end.
        self.bits.write(0, 24);
        for verdicts in &header.verdicts[..shape.predicted as usize] {
            self.bits.write(u64::from(*verdicts), 32);
        }
        debug_assert_eq!(self.bits.bit_len(), shape.header_bytes() * 8);
    }

    /// Writes the globals in `mask`; `row` gives the row of a wire global. Called at most once, before all records; not
    /// at all means none.
    pub fn globals<'r>(&mut self, mask: u32, mut row: impl FnMut(usize) -> Row<'r>) -> bool {
        debug_assert!(!self.globals_written && self.records == 0 && self.cues == 0);
        let mark = self.bits.mark();
        self.bits.write_bool(mask != 0);
        if mask != 0 {
            self.bits.write(u64::from(mask), self.shape.globals);
            for global in set_bits(mask) {
                self.bits.append(row(global));
            }
        }
        self.globals_written = self.fits(mark);
        self.globals_written
    }

    /// Writes what changed of an entity that the client knows: for each wire column in `mask` its row, or that it has
    /// none.
    pub fn update<'r>(&mut self, index: u32, mask: u32, mut row: impl FnMut(usize) -> Option<Row<'r>>) -> bool {
        let begun = self.begin(index);
        let full = set_bits(mask).all(|column| row(column).is_some());
        if full && self.usual == Some(mask) {
            self.bits.write_bool(true);
            for row in set_bits(mask).filter_map(row) {
                self.bits.append(row);
            }
            return self.record_fits(begun);
        }
        self.op(OP_UPDATE);
        self.bits.write(u64::from(mask), self.shape.columns);
        for column in set_bits(mask) {
            let row = row(column);
            self.bits.write_bool(row.is_some());
            row.into_iter().for_each(|row| self.bits.append(row));
        }
        let fits = self.record_fits(begun);
        if fits && full {
            self.usual = Some(mask);
        }
        fits
    }

    /// Whether a full record with these columns takes the least: [`SnapshotWriter::usual`] writes it.
    #[inline]
    pub fn is_usual(&self, mask: u32) -> bool {
        self.usual == Some(mask)
    }

    /// Writes a full record with the columns of the last one: `body` is their rows, one behind the other.
    #[inline]
    pub fn usual(&mut self, index: u32, body: Row<'_>) -> bool {
        let begun = self.begin(index);
        self.bits.write_bool(true);
        self.bits.append(body);
        self.record_fits(begun)
    }

    /// Writes an entity that the client may not know, with the rows of all wire columns in `mask`; it has no others.
    pub fn fresh<'r>(
        &mut self,
        index: u32,
        generation: u32,
        mine: bool,
        mask: u32,
        mut row: impl FnMut(usize) -> Row<'r>,
    ) -> bool {
        let begun = self.begin(index);
        self.op(OP_FRESH);
        self.bits.write(u64::from(generation), GENERATION_BITS);
        self.bits.write_bool(mine);
        self.bits.write(u64::from(mask), self.shape.columns);
        for column in set_bits(mask) {
            self.bits.append(row(column));
        }
        self.record_fits(begun)
    }

    /// Writes that the client no longer sees an entity.
    pub fn gone(&mut self, index: u32) -> bool {
        let begun = self.begin(index);
        self.op(OP_GONE);
        self.record_fits(begun)
    }

    /// Writes an unreliable event of this tick. No record may follow.
    pub fn cue(&mut self, event: Row<'_>) -> bool {
        self.close_globals();
        let mark = self.bits.mark();
        self.bits.append(event);
        let fits = self.cues < u8::MAX && self.fits(mark);
        if fits {
            self.cues += 1;
        } else {
            self.bits.rollback(mark);
        }
        fits
    }

    /// Bits that are left of the budget.
    pub fn remaining_bits(&self) -> usize {
        self.budget_bits.saturating_sub(self.bits.bit_len())
    }

    /// Number of records so far.
    pub fn records(&self) -> u16 {
        self.records
    }

    /// Number of cues so far.
    pub fn cues(&self) -> u8 {
        self.cues
    }

    /// Completes the snapshot.
    pub fn finish(&mut self) -> &[u8] {
        self.close_globals();
        let (records, cues) = (self.records, self.cues);
        let bytes = self.bits.flush();
        bytes[COUNTS_AT..COUNTS_AT + 2].copy_from_slice(&records.to_le_bytes());
        bytes[COUNTS_AT + 2] = cues;
        bytes
    }

    fn close_globals(&mut self) {
        if !self.globals_written {
            self.bits.write_bool(false);
            self.globals_written = true;
        }
    }

    /// Begins a record and says of which entity it is.
    #[inline]
    fn begin(&mut self, index: u32) -> Begun {
        debug_assert!(self.cues == 0, "records come before cues");
        self.close_globals();
        let begun = Begun { mark: self.bits.mark(), index };
        let further = index.wrapping_sub(self.next_index);
        if further == 0 {
            self.bits.write_bool(false);
        } else if further <= 1 << NEAR_BITS {
            self.bits.write(0b01, 2);
            self.bits.write(u64::from(further - 1), NEAR_BITS);
        } else {
            self.bits.write(0b11, 2);
            self.bits.write(u64::from(index), self.shape.index_bits);
        }
        begun
    }

    #[inline]
    fn op(&mut self, op: u64) {
        self.bits.write_bool(false);
        self.bits.write(op, OP_BITS);
    }

    #[inline]
    fn record_fits(&mut self, begun: Begun) -> bool {
        let fits = self.records < u16::MAX && self.fits(begun.mark);
        if fits {
            self.records += 1;
            self.next_index = begun.index.wrapping_add(1);
        }
        fits
    }

    #[inline]
    fn fits(&mut self, mark: Mark) -> bool {
        let fits = self.bits.bit_len() <= self.budget_bits;
        if !fits {
            self.bits.rollback(mark);
        }
        fits
    }
}

impl Default for SnapshotWriter {
    fn default() -> SnapshotWriter {
        SnapshotWriter::new()
    }
}

/// Positions of the set bits, lowest first.
#[inline]
pub(crate) fn set_bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < 32).then_some(bit as usize)
    })
}
