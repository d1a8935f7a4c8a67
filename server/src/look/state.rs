//! The reading commands that tell how an instance is: its processes, rings, locks, memory and counters.

use clap::Subcommand;

use super::arena::{ArenaArgs, arena};
use super::counters::{CountersArgs, counters};
use super::{LookError, Reading, explain, locks, processes, read, rings};
use crate::fsck;

/// These commands.
#[derive(Debug, Clone, Subcommand)]
pub enum StateCommand {
    /// Say in words what is wrong, the worst first, and what to do; exits with 1 when something is
    Explain(Reading),
    /// Show the processes, and what each sim is in the middle of
    Processes(Reading),
    /// Show the inboxes of the matches: how full they are, and what waits in them
    Rings(Reading),
    /// Show who holds which lock
    Locks(Reading),
    /// Show whose the arena is, as a map and by match
    Arena(ArenaArgs),
    /// Show the counters of the workers
    Counters(CountersArgs),
    /// Check the shared memory of an instance for damage; exits with 1 when there is some
    Fsck(Reading),
}

/// Carries one of them out; whether what was shown is alarming.
pub fn carry_out(instance: &str, command: &StateCommand) -> Result<bool, LookError> {
    match command {
        StateCommand::Explain(reading) => explain::carry_out(instance, reading),
        StateCommand::Processes(reading) => read(instance, reading, |attached| Ok(processes::processes(attached))),
        StateCommand::Rings(reading) => read(instance, reading, |attached| Ok(rings::rings(attached))),
        StateCommand::Locks(reading) => read(instance, reading, |attached| Ok(locks::locks(attached))),
        StateCommand::Arena(args) => read(instance, &args.reading, |attached| arena(attached, args.only.as_deref())),
        StateCommand::Counters(args) => read(instance, &args.reading, |attached| Ok(counters(attached, args))),
        StateCommand::Fsck(reading) => read(instance, reading, |attached| Ok(fsck::check(attached))),
    }
}
