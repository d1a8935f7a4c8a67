//! The commands that look into a match's world, and what can be wrong with what they are asked.

use clap::{Args, Subcommand};

use super::diff::{DiffArgs, diff};
use super::entities::{EntitiesArgs, entities};
use super::events::{EventsArgs, events, follow};
use super::history::{HistoryArgs, history};
use super::inspect::{InspectArgs, inspect};
use super::roots::{RootsArgs, roots};
use super::schema::schema;
use super::{FilterError, LookError, NameError, Reading, WrongValue, read};

/// What is asked for makes no sense of this game or this match.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A name that the game does not have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A condition that was not understood.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// There is nothing to measure from.
    #[error("the game has no position of entities, a Vec2 field called `pos`, so nothing is near: leave --near away")]
    NoPosition,
    /// It is no entity at all.
    #[error(
        "\"{asked}\" is no entity: name one by its index, 7, or by index and generation, 7.1, as `ringfort entities` shows it"
    )]
    NotAnEntity {
        /// What was asked for.
        asked: String,
    },
    /// The index was never given out.
    #[error("match \"{of}\" has had no entity {asked} by tick {tick}; `ringfort entities {of}` lists those that it has")]
    NoEntity {
        /// Which match.
        of: String,
        /// What was asked for.
        asked: String,
        /// At which tick.
        tick: u32,
    },
    /// Another entity has the index.
    #[error("match \"{of}\" has no entity {asked} at tick {tick}: its index is that of {lives}")]
    OtherGeneration {
        /// Which match.
        of: String,
        /// What was asked for.
        asked: String,
        /// Who has the index.
        lives: String,
        /// At which tick.
        tick: u32,
    },
    /// The entity has died.
    #[error("entity {asked} of match \"{of}\" is not alive at tick {tick}")]
    NotAlive {
        /// Which match.
        of: String,
        /// What was asked for.
        asked: String,
        /// At which tick.
        tick: u32,
    },
    /// The entity has not the column.
    #[error("entity {asked} of match \"{of}\" has no {column} at tick {tick}; `ringfort inspect {of} {asked}` shows what it has")]
    NoRow {
        /// Which match.
        of: String,
        /// What was asked for.
        asked: String,
        /// The column.
        column: String,
        /// At which tick.
        tick: u32,
    },
    /// A vector is set as a whole.
    #[error("a vector is set as a whole: set {field} as X,Y")]
    Half {
        /// The vector.
        field: String,
    },
    /// What was typed is no value of the field.
    #[error("{field} is not set: {source}")]
    Value {
        /// The field.
        field: String,
        /// Why.
        source: WrongValue,
    },
    /// Neither an entity nor --globals.
    #[error("name an entity, or say --globals")]
    NothingAsked,
}

/// The commands that look into a match's world.
#[derive(Debug, Clone, Subcommand)]
pub enum WorldCommand {
    /// List a match's entities: all, those that meet a condition, or those near a point
    Entities(EntitiesArgs),
    /// Show all of an entity, or the globals of a match
    Inspect(InspectArgs),
    /// Show how an entity has changed in the last 32 commits, field by field
    History(HistoryArgs),
    /// Compare a match's world at two ticks of its last 32 commits
    Diff(DiffArgs),
    /// Show the commits of a match that can be looked at
    Roots(RootsArgs),
    /// Show the events of a match: the reliable ones of its log, and those of its newest tick
    Events(EventsArgs),
    /// Show what the game consists of: columns, globals, input, commands, events
    Schema(SchemaArgs),
}

/// Flags of `schema`.
#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// Carries one of them out; whether what was shown is alarming.
pub fn carry_out(instance: &str, command: &WorldCommand) -> Result<bool, LookError> {
    match command {
        WorldCommand::Entities(args) => read(instance, &args.reading, |attached| entities(attached, args)),
        WorldCommand::Inspect(args) => read(instance, &args.reading, |attached| inspect(attached, args)),
        WorldCommand::History(args) => read(instance, &args.reading, |attached| history(attached, args)),
        WorldCommand::Diff(args) => read(instance, &args.reading, |attached| diff(attached, args)),
        WorldCommand::Roots(args) => read(instance, &args.reading, |attached| roots(attached, args)),
        WorldCommand::Events(args) if args.follow => follow(instance, args),
        WorldCommand::Events(args) => read(instance, &args.reading, |attached| events(attached, args)),
        WorldCommand::Schema(args) => read(instance, &args.reading, schema),
    }
}
