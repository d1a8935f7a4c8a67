//! The datagram down: what has changed in the world, as one client sees it.
//!
//! ```text
//! [0x01][stay u8][tick u32][input ack highest u32][bits u32][waited u16][early u16][repeated u8][records u16][cues u8]
//! [verdicts u32 for each #[predicted] event] then bits:
//!   globals: 1 bit; when set a bit per synced global, then for each set the row
//!   each record: which entity, after that of the record before it (-1 before the first):
//!       0 the next index; 10 and 4 bits n: n + 2 further; 11: the index (bits_for(max_entities))
//!     then what of it: 1 the columns of the last full update record, all present: their rows; else 0 and op 2 bits:
//!       0 update: a bit per synced column; for each set: 1 bit present, if present the row
//!       1 fresh: generation 32 bits, 1 bit mine, a bit per synced column; for each set the row
//!       2 gone
//!   each cue: the event's encoding
//! zero bits up to a whole byte
//! ```
//! An update record is full when each of its columns is present. In a crowd where everybody moves, a record costs two bits beside
//! its rows; records are best written in the order of the indices.
//!
//! A row is as wide as the schema says; one of a text or bytes is its length in `bits_for(max + 1)` bits and then so many bytes.
//!
//! The writer appends rows that are encoded already and knows no types; neither does the reader, which hands out rows as
//! bit strings. [`crate::baseline`] decides what is written, [`crate::client_world`] applies what is read.

mod read;
mod write;

pub use read::{Item, SnapshotError, SnapshotReader};
pub use write::SnapshotWriter;

use crate::limits::{MAX_PREDICTED, TIME_UNIT_US};
use crate::{AckBits, TickNo, WireLayout, bits::bits_for};
use std::time::Duration;

/// First byte of the datagram.
pub const SNAPSHOT_TAG: u8 = 0x01;
/// Bytes before the verdicts.
pub const HEADER_BYTES: usize = 1 + 1 + 4 + 4 + 4 + 2 + 2 + 1 + 2 + 1;
/// Where the counts of records and cues stand in the header.
const COUNTS_AT: usize = HEADER_BYTES - 3;

/// Bits of a step to an index a little further on.
const NEAR_BITS: u32 = 4;
const OP_BITS: u32 = 2;
const OP_UPDATE: u64 = 0;
const OP_FRESH: u64 = 1;
const OP_GONE: u64 = 2;
const GENERATION_BITS: u32 = 32;

/// What every snapshot says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotHeader {
    /// Which join of the connection it belongs to ([`ServerMsg::Joined`](crate::control::ServerMsg::Joined)); one of an
    /// earlier match that comes late is dropped.
    pub stay: u8,
    /// The committed tick that it shows.
    pub tick: TickNo,
    /// The client's inputs that this tick's root contains.
    pub inputs: AckBits,
    /// From the receipt of the highest of them at the front-end to the sending of this snapshot.
    pub waited: Lapse,
    /// From the receipt of the highest of them to the beginning of the tick that is shown; nothing if it came after that.
    pub early: Lapse,
    /// Ticks in a row, up to the one that is shown, for which the last input was applied again as no new one was there.
    pub repeated: u8,
    /// For each `#[predicted]` event, in the order of their tags: bit 0 stands for the highest input, bit `1 + i` for the input
    /// `highest - 1 - i`, and is set when the tick that applied it sent such an event of the client's own.
    pub verdicts: [u32; MAX_PREDICTED],
}

/// A short time on the wire: in units of 10 microseconds, or unknown, which a time too long for 16 bits is too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lapse(u16);

impl Lapse {
    /// Not known.
    pub const UNKNOWN: Lapse = Lapse(u16::MAX);
    /// No time at all.
    pub const ZERO: Lapse = Lapse(0);

    /// So many microseconds, rounded down to a unit.
    pub fn from_us(us: u64) -> Lapse {
        Lapse(u16::try_from(us / TIME_UNIT_US).unwrap_or(u16::MAX))
    }

    /// The time, if it is known.
    pub fn duration(self) -> Option<Duration> {
        (self != Lapse::UNKNOWN).then(|| Duration::from_micros(u64::from(self.0) * TIME_UNIT_US))
    }
}

/// The widths that writer and reader must agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotShape {
    /// Bits of an entity's index.
    pub index_bits: u32,
    /// Number of synced columns: bits of a column mask.
    pub columns: u32,
    /// Number of synced globals: bits of a global mask.
    pub globals: u32,
    /// Number of `#[predicted]` events: words of verdicts in the header.
    pub predicted: u32,
}

impl SnapshotShape {
    /// The shape of a zone with room for `max_entities`.
    pub fn new(layout: &WireLayout, max_entities: u32) -> SnapshotShape {
        SnapshotShape {
            index_bits: bits_for(u64::from(max_entities)),
            columns: layout.columns.len() as u32,
            globals: layout.globals.len() as u32,
            predicted: layout.predicted,
        }
    }

    /// Bits that a record takes at most beside generation, mask and rows.
    pub fn record_bits(&self) -> usize {
        (2 + self.index_bits + 1 + OP_BITS) as usize
    }

    /// Bytes of a header with its verdicts.
    pub fn header_bytes(&self) -> usize {
        HEADER_BYTES + 4 * self.predicted as usize
    }
}
