//! From which level on a process logs, and how that is changed while it runs: the directory says it for each role, and each worker follows.

use std::sync::atomic::{AtomicU8, Ordering};

use clap::{Args, ValueEnum};
use ringfort_shm_state::layout::{InstanceEntry, Role};
use ringfort_shm_state::worker::WorkerPage;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::cli::Output;
use crate::config::LogLevel;
use crate::logging;

/// Flags of `log-level`.
#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = "Examples:\n  ringfort log-level debug --role sim\n  ringfort log-level info")]
pub struct LogLevelArgs {
    /// What is logged: this level and all that are graver
    pub level: LogLevel,
    /// Only the processes of this role [default: all]
    #[arg(long)]
    pub role: Option<LogRole>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// Whose level is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogRole {
    /// The supervisor.
    Supervisor,
    /// The front-ends, also the one that stands by.
    Frontend,
    /// The sims, also the one that stands by.
    Sim,
    /// The hook process.
    Hook,
    /// The admin process.
    Admin,
}

impl LogRole {
    /// As the directory has it.
    pub fn shared(self) -> Role {
        match self {
            LogRole::Supervisor => Role::Supervisor,
            LogRole::Frontend => Role::Frontend,
            LogRole::Sim => Role::Sim,
            LogRole::Hook => Role::Hook,
            LogRole::Admin => Role::Admin,
        }
    }
}

impl LogLevel {
    const ALL: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// As it stands in shared memory: 1 error to 5 trace.
    pub fn number(self) -> u8 {
        1 + Self::ALL.iter().position(|level| *level == self).unwrap_or(0) as u8
    }

    /// The level with a number from shared memory.
    pub fn from_number(number: u8) -> Option<LogLevel> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// What this process logs, 0 before it logs at all.
static IN_FORCE: AtomicU8 = AtomicU8::new(0);

/// Notes what this process logs from here on.
pub(crate) fn set(level: LogLevel) {
    IN_FORCE.store(level.number(), Ordering::Relaxed);
}

/// Levels of all roles, all the same.
pub(crate) fn of_all(level: LogLevel) -> [u8; 8] {
    [level.number(); 8]
}

/// The directory's levels with one role's changed, or all.
pub(crate) fn changed(mut levels: [u8; 8], role: Option<LogRole>, level: LogLevel) -> [u8; 8] {
    match role {
        Some(role) => levels[role.shared() as usize] = level.number(),
        None => levels = of_all(level),
    }
    levels
}

/// Logs as the directory says for a role. One that says nothing, or what no supervisor writes, changes nothing.
pub(crate) fn follow(instance: Option<&InstanceEntry>, role: Role) {
    let wanted = instance.and_then(|instance| LogLevel::from_number(*instance.log_levels.get(role as usize)?));
    let Some(level) = wanted.filter(|level| level.number() != IN_FORCE.load(Ordering::Relaxed)) else { return };
    if logging::set_level(level) {
        info!("{} and graver is logged from here on", level.name());
    }
}

/// The same for a worker, which says in its segment what it logs.
pub(crate) fn follow_in(instance: Option<&InstanceEntry>, role: Role, page: &WorkerPage<'_>) {
    follow(instance, role);
    page.set_log_level(IN_FORCE.load(Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_its_own_level_until_all_are_set() {
        let info = of_all(LogLevel::Info);
        let debug_sims = changed(info, Some(LogRole::Sim), LogLevel::Debug);
        let level = |levels: [u8; 8], role: Role| LogLevel::from_number(levels[role as usize]);
        assert_eq!(level(debug_sims, Role::Sim), Some(LogLevel::Debug));
        assert_eq!(level(debug_sims, Role::Frontend), Some(LogLevel::Info));
        assert_eq!(changed(debug_sims, None, LogLevel::Warn), of_all(LogLevel::Warn));
        assert_eq!((LogLevel::from_number(0), LogLevel::from_number(6)), (None, None));
        assert!(LogLevel::ALL.iter().all(|level| LogLevel::from_number(level.number()) == Some(*level)));
    }
}
