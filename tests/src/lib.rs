//! What the whole-system tests share: real processes of the built programs, real clients over real sockets, and strangers
//! that break the rules.
//!
//! Everything here waits for what it needs with a generous deadline and panics with a sentence when it doesn't come: this is
//! test code, and a panic is its way to say no.

#![forbid(unsafe_code)]

pub mod crowd;
pub mod instance;
pub mod programs;
pub mod stranger;
pub mod terminal;

pub use crowd::{Crowd, Game};
pub use instance::{Instance, json_lines, match_named, pid_of, processes, send_signal};
pub use stranger::Stranger;

use std::time::Duration;

/// How long anything may take on a busy machine. No test is about speed, so this is long.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How often something is looked at again that nobody announces.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);
