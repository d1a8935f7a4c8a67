//! The command line's grammar: what can be typed, not what it does.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 usage (clap's own).

mod actions;

pub use actions::{
    DeadLettersAction, DrainWhat, FrontendsAction, MatchesAction, SessionsAction, SimsAction, TokenAction, ZonesAction,
};

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::audit::AuditArgs;
use crate::config::{OptionValue, Options, check_instance, check_option_key};
use crate::limits::DOWN_DRAIN_S_MAX;
use crate::log_level::LogLevelArgs;
use crate::look::state::StateCommand;
use crate::look::tail::TailArgs;
use crate::look::{Reading, WorldCommand};
use crate::manual::{CompletionsArgs, ManArgs};
use crate::metrics::MetricsArgs;
use crate::saved::SaveArgs;
use crate::set::SetArgs;
use crate::top::TopArgs;

/// The command was carried out.
pub const EXIT_DONE: u8 = 0;
/// The command was refused or failed; stderr has a sentence.
pub const EXIT_FAILED: u8 = 1;
/// The command line could not be understood.
pub const EXIT_USAGE: u8 = 2;

/// Game and session server over shared memory
#[derive(Debug, Clone, Parser)]
#[command(name = "ringfort", version, arg_required_else_help = true)]
pub struct Cli {
    /// Which instance on this machine is meant [default: `instance` of the configuration, else "default"]
    #[arg(long, global = true, value_name = "NAME", value_parser = parse_instance)]
    pub instance: Option<String>,
    /// Configuration file [default: ./ringfort.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Start the instance and stay until it is told to stop
    Up(UpArgs),
    /// Stop the running instance
    Down(DownArgs),
    /// Show processes, matches and counters
    Status(Reading),
    /// Watch processes, matches and what is in them on a screen of its own; Enter drills in, `?` tells the keys
    Top(TopArgs),
    /// List, create or end matches
    #[command(args_conflicts_with_subcommands = true)]
    Matches {
        /// What to do with them; they are listed if nothing is said.
        #[command(subcommand)]
        action: Option<MatchesAction>,
        /// How to list.
        #[command(flatten)]
        reading: Reading,
    },
    /// Follow what happens in all processes: joins, refusals, deaths, recoveries, commands; what is kept is there after their death, too
    Tail(TailArgs),
    /// Show who has commanded what, by the audit log that the supervisor keeps
    Audit(AuditArgs),
    /// Change what running processes log
    LogLevel(LogLevelArgs),
    /// Print the instance's numbers as OpenMetrics text
    Metrics(MetricsArgs),
    /// Print a script that completes commands in a shell
    Completions(CompletionsArgs),
    /// Write manual pages, one a command, into a directory
    Man(ManArgs),
    /// List, show or end sessions
    #[command(args_conflicts_with_subcommands = true)]
    Sessions {
        /// What to do with them; they are listed if nothing is said.
        #[command(subcommand)]
        action: Option<SessionsAction>,
        /// How to list.
        #[command(flatten)]
        reading: Reading,
    },
    /// Show inputs and commands that were given up because the game failed on them
    DeadLetters {
        /// What to do with them.
        #[command(subcommand)]
        action: DeadLettersAction,
    },
    /// Show which sim has which match, or move one
    Zones {
        /// What to do with them.
        #[command(subcommand)]
        action: ZonesAction,
    },
    /// Change how many sims are at work
    Sims {
        /// What to do with them.
        #[command(subcommand)]
        action: SimsAction,
    },
    /// Change how many front-ends there are
    Frontends {
        /// What to do with them.
        #[command(subcommand)]
        action: FrontendsAction,
    },
    /// Move everything away from a process, and start it anew
    Drain {
        /// Which kind of process.
        #[command(subcommand)]
        what: DrainWhat,
    },
    /// Have the sims and front-ends of a running instance go on as processes of another binary of the same game; no session is lost
    Upgrade {
        /// The binary; its game may have other rules, but the same fields, messages and tick rate
        #[arg(long, value_name = "PATH")]
        binary: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Look into a match's world.
    #[command(flatten)]
    World(WorldCommand),
    /// Give a field of an entity, or of a global, a value: the match's sim sets it at the start of its next tick
    Set(SetArgs),
    /// Make keys and tokens for players
    Token {
        /// What to make.
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Make a crate with a small game that builds and runs, in a new directory
    New {
        /// The crate's name, which is the directory's
        name: String,
        /// Ringfort's source tree, which the crate depends on [default: the one that this program was built from, if it is there]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Show the configuration's keys
    Config(ConfigArgs),
    /// How the instance is.
    #[command(flatten)]
    State(StateCommand),
    /// Save the shared memory of an instance to a file, while it runs or after it died, for every reading command's `--from`
    Save(SaveArgs),
    /// Say what this binary is; only the supervisor of an instance that is to be upgraded asks.
    #[command(hide = true)]
    Describe(Output),
    /// A process of the instance; only the supervisor starts it.
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// Flags of `up`; each overrides the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Address that clients connect to, e.g. 127.0.0.1:7777
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Number of front-end processes
    #[arg(long, value_name = "N")]
    pub frontends: Option<u32>,
    /// Number of sim processes
    #[arg(long, value_name = "N")]
    pub sims: Option<u32>,
    /// Start with N matches, match-1 and up, instead of those that the file names
    #[arg(long, value_name = "N")]
    pub matches: Option<u32>,
    /// Ticks a second, instead of the game's own rate
    #[arg(long, value_name = "HZ")]
    pub tick_hz: Option<u32>,
    /// An option for the game, for every match; repeatable
    #[arg(long = "game-option", value_name = "KEY=VALUE", value_parser = parse_game_option)]
    pub game_options: Vec<(String, OptionValue)>,
    /// Room for so many spectators in every match that says nothing else
    #[arg(long, value_name = "N")]
    pub spectators: Option<u32>,
    /// Size of the world's memory in MiB
    #[arg(long, value_name = "MIB")]
    pub arena_mib: Option<u32>,
    /// Milliseconds without a sign of life after which a sim counts as hung
    #[arg(long, value_name = "MS")]
    pub hang_ms: Option<u32>,
    /// Run every tick twice and log where it came out otherwise: for finding what a game looks at beside its state
    #[arg(long)]
    pub check_determinism: bool,
    /// Answer monitors there: a port of this machine, or ADDRESS:PORT, which needs `admin.token_file` in the configuration
    #[arg(long, value_name = "ADDRESS|PORT")]
    pub admin: Option<String>,
    /// Throw away what an earlier run left in shared memory, instead of going on with it
    #[arg(long)]
    pub fresh: bool,
}

/// Flags of `down`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct DownArgs {
    /// Take no new players, and stop when all have gone; Ctrl-C leaves it at that, and `ringfort down` stops it at once
    #[arg(long)]
    pub drain: bool,
    /// Stop after so many seconds, whoever is left
    #[arg(long, value_name = "S", requires = "drain", value_parser = clap::value_parser!(u32).range(0..=i64::from(DOWN_DRAIN_S_MAX)))]
    pub timeout: Option<u32>,
}

/// How a command prints what came of it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `config`.
#[derive(Debug, Clone, Copy, Args)]
pub struct ConfigArgs {
    /// Print a configuration file with every key, its default and what it means
    #[arg(long, required = true)]
    pub defaults: bool,
}

/// Flags of the hidden `worker`.
#[derive(Debug, Clone, Copy, Args)]
pub struct WorkerArgs {
    /// What the process does.
    #[arg(long)]
    pub role: Role,
    /// Which of its kind it is.
    #[arg(long)]
    pub slot: u32,
}

/// What a worker process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Accepts clients, appends their inputs and builds their snapshots.
    Frontend,
    /// Steps zones.
    Sim,
    /// Carries the games' requests to the author's hook, and its answers back.
    Hook,
    /// Tells monitors how the instance is.
    Admin,
}

impl Role {
    /// The role as it is typed, logged and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Frontend => "frontend",
            Role::Sim => "sim",
            Role::Hook => "hook",
            Role::Admin => "admin",
        }
    }

    /// Whether its process ends with its supervisor, and is handed nothing of the inside: what it does is begun anew by the next.
    pub const fn ends_with_supervisor(self) -> bool {
        matches!(self, Role::Hook | Role::Admin)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Collects repeated `--game-option` flags; of one key the last counts.
pub fn collect_options(pairs: &[(String, OptionValue)]) -> Options {
    pairs.iter().cloned().collect()
}

fn parse_instance(text: &str) -> Result<String, crate::config::ConfigError> {
    check_instance(text)?;
    Ok(text.to_owned())
}

/// Why a `--game-option` was not understood.
#[derive(Debug, thiserror::Error)]
enum GameOptionError {
    /// There is no `=`.
    #[error("write it as KEY=VALUE, for example capacity=32")]
    NoEquals,
    /// The key breaks a rule.
    #[error(transparent)]
    Key(#[from] crate::config::ConfigError),
}

fn parse_game_option(text: &str) -> Result<(String, OptionValue), GameOptionError> {
    let (key, value) = text.split_once('=').ok_or(GameOptionError::NoEquals)?;
    let value = match value.parse() {
        Ok(number) => OptionValue::Number(number),
        Err(_) => OptionValue::Text(value.to_owned()),
    };
    check_option_key(key)?;
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn up_takes_every_flag() {
        let cli = parse(
            "ringfort up --instance a --config f.toml --listen [::1]:0 --frontends 3 --sims 2 --matches 4 --tick-hz 60 \
             --game-option capacity=32 --game-option map=hills --spectators 9 --arena-mib 64 --fresh --check-determinism",
        )
        .unwrap();
        assert_eq!(cli.instance.as_deref(), Some("a"));
        let Command::Up(up) = cli.command else { panic!("not up") };
        assert_eq!((up.frontends, up.spectators), (Some(3), Some(9)));
        assert!(up.fresh && up.check_determinism);
        let options = collect_options(&up.game_options);
        assert_eq!(options["capacity"], OptionValue::Number(32));
        assert_eq!(options["map"], OptionValue::Text("hills".into()));
    }

    #[test]
    fn other_commands_parse() {
        for line in [
            "ringfort down --instance a",
            "ringfort --instance a down",
            "ringfort status --json",
            "ringfort matches list --json",
            "ringfort audit --limit 5 --json",
            "ringfort log-level debug --role sim --json",
            "ringfort metrics",
            "ringfort up --admin 9464",
            "ringfort completions bash",
            "ringfort man pages",
            "ringfort tail --match arena --kind join,commit --since 5 --commits --no-follow --json",
            "ringfort matches create arena --game-option capacity=8",
            "ringfort matches create arena --private --spectators 4 --idle-minutes 10 --json",
            "ringfort matches show arena --code --json",
            "ringfort sessions kick arena ada",
            "ringfort sessions kick arena 4294967296 --id",
            "ringfort matches end arena --json --instance a",
            "ringfort matches resume arena --json",
            "ringfort zones list --json",
            "ringfort zones move arena --to 2 --json",
            "ringfort sims scale 4 --json",
            "ringfort drain sim 1",
            "ringfort drain frontend 1 --json",
            "ringfort frontends scale 4 --json",
            "ringfort down --drain --timeout 60",
            "ringfort upgrade --binary ./server --json",
            "ringfort config --defaults",
            "ringfort new my-game --path ../ringfort",
            "ringfort token key --out tokens.key --hs256",
            "ringfort token issue --name ada --match arena --minutes 5 --key tokens.key",
            "ringfort fsck --json",
            "ringfort dead-letters list --match arena --json",
            "ringfort dead-letters show 3 --instance a",
            "ringfort describe --json",
            "ringfort worker --role frontend --slot 1",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn usage_errors_exit_with_two() {
        for line in [
            "ringfort",
            "ringfort nonsense",
            "ringfort config",
            "ringfort dead-letters show",
            "ringfort token issue",
            "ringfort token issue --name ada --minutes 0",
            "ringfort down --instance Upper",
            "ringfort down --timeout 60",
            "ringfort up --game-option capacity",
            "ringfort up --listen nowhere",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{line}");
        }
    }
}
