//! The file of dead letters: inputs and commands that were given up because the game failed on them, one JSON line each.
//!
//! **Invariant**: a letter is on disk before the tick runs that gives it up. A sim that dies in between leaves it there for the next
//! one to write again, so that readers drop what is there twice. One whose tick was never committed is no proof that it was given up.

use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::jsonl::append;
use crate::limits::DEAD_LETTERS_BYTES_MAX;

/// An input or a command that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The match.
    pub match_id: u64,
    /// Its name.
    #[serde(rename = "match")]
    pub name: String,
    /// The tick that the game failed on.
    pub tick: u32,
    /// The sender's session.
    pub session: u64,
    /// The sender's name.
    pub player: String,
    /// What it is.
    pub kind: Kind,
    /// The input's sequence or the command's number in its session.
    pub sequence: u32,
    /// What was sent, as the game's type encodes it, in hexadecimal digits.
    pub bytes: String,
    /// What the player saw when it gave the input, as it is on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<u32>,
    /// What the game failed of.
    pub reason: String,
    /// The match's slot.
    pub zone: usize,
}

/// What a letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An input.
    Input,
    /// A command.
    Command,
}

impl Kind {
    /// As it is written and shown.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Input => "input",
            Kind::Command => "command",
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a String takes everything"));
    text
}

/// Writes letters to the file. What cannot be written goes to the log, and the match goes on.
pub(super) fn write(file: Option<&Path>, zone: usize, letters: &[Letter]) {
    let Some(first) = letters.first() else { return };
    let line = |letter: &Letter| serde_json::to_string(letter).expect("numbers and strings") + "\n";
    let lines: String = letters.iter().map(line).collect();
    let (name, tick, count) = (&first.name, first.tick, letters.len());
    let Some(file) = file else {
        warn!(
            zone,
            "match {name}: {count} inputs and commands of tick {tick} are given up, and there is no file for them: {lines}"
        );
        return;
    };
    match append(file, &lines, DEAD_LETTERS_BYTES_MAX) {
        Ok(()) => {
            let file = file.display();
            warn!(zone, "match {name}: {count} inputs and commands of tick {tick} are given up, and are in {file}");
        }
        Err(problem) => {
            let file = file.display();
            error!(
                zone,
                "match {name}: {count} inputs and commands of tick {tick} are given up and cannot be written to {file} ({problem}); \
                 make room there: {lines}"
            );
        }
    }
}
