//! Saved files: the segments of an instance as they were at one moment, in one file that every reading command takes with `--from`.
//!
//! The file begins with a head of words, each field of which it says where and how long it is, and with which hash; then come the chunks,
//! 64 KiB of a segment each, compressed one by one, so that looking at one match of a large world expands only what is that match's.
//! Chunks of zeros are left out. Everything in such a file may be damaged: it is checked before it is used.

mod file;
mod memory;
mod moment;
mod save;
mod write;

pub use file::{SavedError, SavedFile};
pub use memory::{LookMemory, SavedMemory};
pub use moment::{Moment, SavedMoment, SeenProcess};
pub use save::{SaveArgs, SaveError, Saved, save};

use serde::{Deserialize, Serialize};

/// The first word of a saved file.
const MAGIC: u64 = u64::from_le_bytes(*b"RFSAVED\n");
/// Grows with every change of the format.
const FORMAT: u64 = 1;
/// Words of the head: magic, format, then offset, bytes and hash of what it was saved about and of the table of chunks, and its own hash.
const HEAD_WORDS: usize = 9;
/// Bytes of a segment that are compressed together: an extent of the arena.
const CHUNK_BYTES: usize = ringfort_shm_state::limits::EXTENT_BYTES;
/// Words of a row of the table of chunks: offset in the file (0 for zeros), bytes there, hash of those.
const ROW_WORDS: usize = 3;

/// What a saved file tells about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// Version of the program that wrote it.
    pub ringfort: String,
    /// Version of the shared layout.
    pub layout_version: u32,
    /// Hash of the shared layout.
    pub layout_hash: u64,
    /// Name of the instance.
    pub instance: String,
    /// The moment, and the processes at it.
    pub moment: SavedMoment,
    /// The segments, in the order of their chunks.
    pub segments: Vec<SavedSegment>,
    /// What could not be saved, or not whole; a sentence each.
    pub problems: Vec<String>,
}

/// A segment of a saved file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedSegment {
    /// What it is called behind the instance's name, as `inbox.net`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// The hash of a part of the file.
fn hash(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}
