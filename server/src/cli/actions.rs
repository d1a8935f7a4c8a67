//! The second word of a command: what is done with matches, sessions, sims and the rest.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Output, parse_game_option};
use crate::config::OptionValue;
use crate::limits::TOKEN_MINUTES_MAX;
use crate::look::Reading;
use crate::look::sessions::SessionArgs;

/// What `matches` does.
#[derive(Debug, Clone, Subcommand)]
pub enum MatchesAction {
    /// List the matches
    List(Reading),
    /// Create a match
    Create {
        /// The match's name
        name: String,
        /// An option for the game, for this match; repeatable
        #[arg(long = "game-option", value_name = "KEY=VALUE", value_parser = parse_game_option)]
        game_options: Vec<(String, OptionValue)>,
        /// Let only those join who have its code, which is printed
        #[arg(long)]
        private: bool,
        /// Room for so many spectators [default: the configuration's]
        #[arg(long, value_name = "N")]
        spectators: Option<u32>,
        /// End it after so many minutes without anybody in it, 0 for never [default: the configuration's]
        #[arg(long, value_name = "N")]
        idle_minutes: Option<u32>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Show everything about a match
    Show {
        /// The match's name
        name: String,
        /// Tell the code of a private match, too
        #[arg(long)]
        code: bool,
        /// How to look.
        #[command(flatten)]
        reading: Reading,
    },
    /// Let a paused match go on: the tick that it was paused at is tried anew
    Resume {
        /// The match's name
        name: String,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// End a match; its players are told
    End {
        /// The match's name
        name: String,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `sessions` does.
#[derive(Debug, Clone, Subcommand)]
pub enum SessionsAction {
    /// List the sessions of all matches
    List(Reading),
    /// Show everything about a session
    Show(SessionArgs),
    /// End a session; its client is told, and may not come back as the same one
    Kick {
        /// The match's name
        #[arg(value_name = "MATCH")]
        of: String,
        /// The player's name, or the session's id as `matches show` tells it
        #[arg(value_name = "SESSION|NAME")]
        who: String,
        /// Take it for an id, also if a player is called so
        #[arg(long)]
        id: bool,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `dead-letters` does. It reads the instance's file, and the instance need not run.
#[derive(Debug, Clone, Subcommand)]
pub enum DeadLettersAction {
    /// List them, the oldest first
    List {
        /// Only those of the matches of this name
        #[arg(long = "match", value_name = "MATCH")]
        only: Option<String>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Show everything about one of them
    Show {
        /// Its number in the list
        #[arg(value_name = "N")]
        number: usize,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `zones` does.
#[derive(Debug, Clone, Subcommand)]
pub enum ZonesAction {
    /// List the matches by the sims that have them
    List(Reading),
    /// Have a match handed over to another sim, between two ticks
    Move {
        /// The match's name
        #[arg(value_name = "MATCH")]
        of: String,
        /// The sim's slot, as `status` shows it
        #[arg(long, value_name = "SLOT")]
        to: u32,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `sims` does.
#[derive(Debug, Clone, Subcommand)]
pub enum SimsAction {
    /// Have N sims at work, beside the one that stands by, and spread the matches over them
    Scale {
        /// How many
        #[arg(value_name = "N")]
        sims: u32,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `frontends` does.
#[derive(Debug, Clone, Subcommand)]
pub enum FrontendsAction {
    /// Have N front-ends, beside the one that stands by; clients of those that end go to the others and resume there
    Scale {
        /// How many
        #[arg(value_name = "N")]
        frontends: u32,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `drain` empties.
#[derive(Debug, Clone, Subcommand)]
pub enum DrainWhat {
    /// Move all matches away from a sim, then replace its process by a new one
    Sim {
        /// Its slot, as `status` shows it
        slot: u32,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Send all clients of a front-end to the others, where they resume, then have who stands by take its place
    Frontend {
        /// Its slot, as `status` shows it
        slot: u32,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// What `token` does.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenAction {
    /// Print a token that says who a player is
    Issue {
        /// The player's name
        #[arg(long)]
        name: String,
        /// The only match that the player may join [default: any]
        #[arg(long = "match", value_name = "MATCH")]
        only: Option<String>,
        /// For how many minutes the player may join with it
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(TOKEN_MINUTES_MAX)))]
        minutes: u32,
        /// File with the key that signs [default: `auth.key` of the configuration, if that is a secret]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Make a key: the half that signs in FILE, the half that verifies in FILE.pub
    Key {
        /// Where to put it; a file that is there already stays
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Make one secret that signs and verifies instead of two halves
        #[arg(long)]
        hs256: bool,
    },
}
