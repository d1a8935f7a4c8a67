//! The reading commands: what lies in an instance's shared memory, shown without asking any of its processes and without its game's code.
//!
//! Each command is a function from [`Attached`](crate::attach::Attached) to something [`Shown`]; `reading.rs` opens the source, prints
//! text or JSON, and repeats it. Whatever is read may be damaged, or change meanwhile: it is copied out, checked, then used.

pub mod arena;
mod ask;
pub mod counters;
mod diff;
mod entities;
mod events;
pub mod explain;
mod filter;
pub mod flights;
mod history;
pub mod ills;
mod inspect;
pub mod locks;
mod names;
mod of_match;
mod paper;
pub mod processes;
mod reading;
pub mod rings;
mod roots;
mod schema;
pub mod sessions;
#[cfg(test)]
pub(crate) mod stage;
pub mod state;
pub mod tail;
mod value;
mod world;

pub use ask::{AskError, WorldCommand, carry_out};
pub use entities::{EntitiesArgs, EntitiesShown, EntityShown, entities};
pub use filter::{Filter, FilterError, Left, Op, Subject};
pub use names::{Among, FieldAt, NameError, name_of};
pub use of_match::OneMatch;
pub use paper::{Paper, duration, printable, table};
pub use reading::{Reading, Shown, complain, print, print_json, read, tell_damage};
pub use value::{Value, WrongValue, entity_text, parse_entity};
pub use world::{Fields, Names, groups, lives, pages_of, pages_of_entity, window};

use ringfort_shm_state::mirror::MirrorError;
use ringfort_shm_state::world::RootError;

use crate::attach::AttachError;
use crate::game::MapError;
use crate::status::ShowError;

/// Why something cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The instance can't.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The match, or its session, is not there.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// What was asked for makes no sense of this game or this match.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The directory's map of the game is damaged.
    #[error(
        "the map of the game in the directory of instance \"{instance}\" cannot be read ({why}), so its worlds cannot be decoded"
    )]
    NoMap {
        /// Which instance.
        instance: String,
        /// What is wrong with it.
        why: String,
    },
    /// The match does not fit the map.
    #[error("match \"{of}\" cannot be decoded: {source}")]
    Map {
        /// Which match.
        of: String,
        /// Why.
        source: MapError,
    },
    /// The match has no such commit, or a damaged one.
    #[error("match \"{of}\" cannot be read: {source}")]
    Mirror {
        /// Which match.
        of: String,
        /// Why.
        source: MirrorError,
    },
    /// The slot has another match's world.
    #[error("match \"{of}\" has committed nothing yet, or is over and its memory is given back")]
    NoWorld {
        /// Which match.
        of: String,
    },
}

impl LookError {
    /// Whether what was to be looked at has left the window meanwhile, as every commit does.
    pub fn has_left(&self) -> bool {
        let Self::Mirror { source, .. } = self else { return false };
        matches!(source, MirrorError::Root(RootError::NotInWindow { .. }) | MirrorError::Overtaken { .. })
    }
}
