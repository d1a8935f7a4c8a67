//! What a binary is, so that another can tell whether it may go on with its matches: `ringfort describe`, which only a supervisor calls.

mod difference;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use ringfort_protocol::TimerPayload;
use ringfort_protocol::limits::PROTOCOL_VERSION;
use ringfort_protocol::schema::{ColumnSchema, Schema, VariantSchema};
use ringfort_shm_state::layout::{VERSION, layout_hash};
use serde::{Deserialize, Serialize};

use crate::game::{Description, Game, ZoneLimits};
use crate::limits::DESCRIBE_BYTES_MAX;
pub use difference::first_difference;

/// A server's binary, as far as it has to agree with another one to step the same matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// Version of the shared memory's layout.
    pub layout_version: u32,
    /// Hash of that layout.
    pub layout_hash: u64,
    /// Version of the protocol that clients speak.
    pub protocol_version: u16,
    /// The game's schema.
    pub schema: Schema,
    /// Rows that never leave the server and are no columns.
    pub unlisted: Vec<ColumnSchema>,
    /// What the game's timers carry.
    pub timers: Vec<VariantSchema>,
    /// The matches that were asked about.
    pub matches: Vec<DescribedMatch>,
}

/// A match of a size that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedMatch {
    /// Its size.
    pub size: ZoneLimits,
    /// What its memory looks like, or why the game can have none of that size.
    pub tables: Result<DescribedTables, String>,
}

/// The memory of a match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedTables {
    /// What two processes must agree upon to share it.
    pub hash: u64,
    /// Name, rows and bytes of a row of each table.
    pub tables: Vec<(String, u32, u32)>,
}

/// Describes this binary with matches of some sizes.
pub fn describe<G: Game>(sizes: &[ZoneLimits]) -> Described {
    let smallest = Description::of::<G>(ZoneLimits { capacity: 1, max_entities: 1, spectators: 0 });
    Described {
        layout_version: VERSION,
        layout_hash: layout_hash(),
        protocol_version: PROTOCOL_VERSION,
        schema: Description::schema_of::<G>().clone(),
        unlisted: smallest.map(|is| is.unlisted).unwrap_or_default(),
        timers: G::Timer::variants(),
        matches: sizes.iter().map(|size| DescribedMatch { size: *size, tables: tables::<G>(*size) }).collect(),
    }
}

fn tables<G: Game>(size: ZoneLimits) -> Result<DescribedTables, String> {
    let is = Description::of::<G>(size).map_err(|error| error.to_string())?;
    let tables = is.tables().map(|(name, rows, row_bytes)| (name.to_owned(), rows, row_bytes)).collect();
    Ok(DescribedTables { hash: is.tables_hash, tables })
}

/// The sizes that are asked about cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SizesError {
    /// No input.
    #[error("the sizes of matches cannot be read from the standard input ({0}); `ringfort upgrade` writes them there")]
    Read(#[from] io::Error),
    /// Other input.
    #[error("the standard input is no JSON list of sizes of matches ({0}); `ringfort upgrade` writes them there")]
    Parse(#[from] serde_json::Error),
}

/// Reads the sizes that are asked about.
pub fn read_sizes(from: impl Read) -> Result<Vec<ZoneLimits>, SizesError> {
    let mut text = Vec::new();
    from.take(DESCRIBE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
