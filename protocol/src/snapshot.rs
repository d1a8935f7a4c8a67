//! The datagram down: what has changed in the world, as one client sees it.
//!
//! ```text
//! [0x01][stay u8][tick u32][input ack highest u32][bits u32][waited_us u32][records u16][cues u8] then bits:
//!   globals: 1 bit; when set a bit per synced global, then for each set the row
//!   each record: entity index (bits_for(max_entities)), op 2 bits:
//!     0 update: a bit per synced column; for each set: 1 bit present, if present the row
//!     1 fresh: generation 32 bits, 1 bit mine, a bit per synced column; for each set the row
//!     2 gone
//!   each cue: the event's encoding
//! zero bits up to a whole byte
//! ```
//! The writer appends rows that are encoded already and knows no types; neither does the reader, which hands out rows as
//! bit strings. [`crate::baseline`] decides what is written, [`crate::client_world`] applies what is read.

mod read;
mod write;

pub use read::{Item, SnapshotError, SnapshotReader};
pub use write::SnapshotWriter;

use crate::{AckBits, TickNo, WireLayout, bits::bits_for};

/// First byte of the datagram.
pub const SNAPSHOT_TAG: u8 = 0x01;
/// Bytes before the bits.
pub const HEADER_BYTES: usize = 1 + 1 + 4 + 4 + 4 + 4 + 2 + 1;
/// `waited_us` if nothing is known.
pub const WAITED_UNKNOWN: u32 = u32::MAX;

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
    /// Microseconds between the receipt of the highest of them at the front-end and the sending of this snapshot;
    /// [`WAITED_UNKNOWN`] if unknown.
    pub waited_us: u32,
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
}

impl SnapshotShape {
    /// The shape of a zone with room for `max_entities`.
    pub fn new(layout: &WireLayout, max_entities: u32) -> SnapshotShape {
        SnapshotShape {
            index_bits: bits_for(u64::from(max_entities)),
            columns: layout.columns.len() as u32,
            globals: layout.globals.len() as u32,
        }
    }
}
