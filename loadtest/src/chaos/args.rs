//! What the commands `chaos`, `failover`, `supervise`, `rebind` and `rolling` are told, and the run that each of them means.

use std::path::PathBuf;
use std::time::Duration;

use super::gaps::Kind;
use super::killer::Done;
use crate::limits;

/// What all of them are told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Inputs a second and client
    #[arg(long, value_name = "HZ", value_parser = crate::run::parse_rate, default_value = "20")]
    pub(super) rate: f64,
    /// Ticks a second
    #[arg(long, value_name = "HZ", default_value_t = 20)]
    pub(super) tick_hz: u32,
    /// What the victims are drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(super) seed: u64,
    /// Matches that the clients are spread over
    #[arg(long, value_name = "M", default_value_t = 2, value_parser = parse_small)]
    pub(super) matches: usize,
    /// Sims of the instance
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_small)]
    pub(super) sims: usize,
    /// Front-ends of the instance
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_small)]
    pub(super) frontends: usize,
    /// Seconds of play before anything is done, to know how it is normally
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration, default_value = "5")]
    pub(super) calm: Duration,
    /// The instance's name [default: chaos- and our process's id]
    #[arg(long, value_name = "NAME")]
    pub(super) instance: Option<String>,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// What is done to whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChaosArgs {
    #[command(flatten)]
    common: Common,
    /// How many clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "100")]
    clients: usize,
    /// Seconds of killing; the clients play a few seconds longer
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration, default_value = "30")]
    duration: Duration,
    /// Which processes are killed, each time one of these by lot; without it none are
    #[arg(long, value_enum, value_name = "ROLES", value_delimiter = ',')]
    kill: Vec<Role>,
    /// Milliseconds between two kills
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value = "500")]
    every: Duration,
    /// How they are killed: at once, by a stop that the instance has to find, or now so and now so
    #[arg(long, value_enum, default_value = "kill")]
    signal: Signals,
    /// Kill so many times at most
    #[arg(long, value_name = "N", value_parser = parse_count)]
    hits: Option<usize>,
    /// Move a match to another sim every so many milliseconds
    #[arg(long, value_name = "MS", alias = "moves-every", value_parser = parse_ms)]
    move_every: Option<Duration>,
    /// Replace the workers by those of this program, in the middle of the time
    #[arg(long, value_name = "PATH")]
    upgrade: Option<String>,
}

/// Kills one front-end after the other.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    common: Common,
    /// How many clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "300")]
    clients: usize,
    /// How often a front-end is killed
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "10")]
    rounds: usize,
    /// Milliseconds between two kills
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value = "4000")]
    every: Duration,
}

/// Kills the supervisor, which is started again at once.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SuperviseArgs {
    #[command(flatten)]
    common: Common,
    /// How many clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "300")]
    clients: usize,
    /// How often it is killed
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "20")]
    kills: usize,
    /// Milliseconds between two kills
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value = "1500")]
    every: Duration,
}

/// Gives clients another address, again and again.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RebindArgs {
    #[command(flatten)]
    common: Common,
    /// How many clients, each behind a socket of its own
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "50")]
    clients: usize,
    /// Milliseconds between two addresses of a client
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value = "1000")]
    every: Duration,
    /// Seconds of it
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration, default_value = "60")]
    duration: Duration,
}

/// Changes the number of front-ends and replaces them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RollingArgs {
    #[command(flatten)]
    common: Common,
    /// How many clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "300")]
    clients: usize,
    /// Numbers of front-ends that it is changed to, one after the other
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_small, default_value = "1,4,2")]
    scale: Vec<usize>,
    /// The program that the workers are replaced by at last [default: this one]
    #[arg(long, value_name = "PATH")]
    upgrade: Option<String>,
    /// Milliseconds between two steps
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value = "5000")]
    every: Duration,
}

/// Whose processes are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// A sim that has matches.
    Sim,
    /// A front-end.
    Frontend,
    /// A process that stands by, for sims or for front-ends.
    Standby,
    /// The supervisor.
    Supervisor,
    /// Every process, the supervisor first.
    All,
}

/// How processes are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Signals {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// Either, by lot.
    Mix,
}

impl Role {
    /// What a kill or a stop of it is. The supervisor is watched by nobody who could find it stopped, so it is killed only.
    pub(super) fn kind(self, stops: bool) -> Kind {
        match (self, stops) {
            (Role::Sim, false) => Kind::Kill,
            (Role::Sim, true) => Kind::Stop,
            (Role::Frontend, false) => Kind::FrontendKill,
            (Role::Frontend, true) => Kind::FrontendStop,
            (Role::Standby, false) => Kind::StandbyKill,
            (Role::Standby, true) => Kind::StandbyStop,
            (Role::Supervisor, _) => Kind::SupervisorKill,
            (Role::All, _) => Kind::AllKill,
        }
    }

    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Sim => "sim",
            Role::Frontend => "frontend",
            Role::Standby => "standby",
            Role::Supervisor => "supervisor",
            Role::All => "all",
        }
    }
}

/// A run: what is done to an instance while clients play.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(super) common: Common,
    pub(super) clients: usize,
    pub(super) duration: Duration,
    pub(super) kill: Vec<Role>,
    pub(super) every: Duration,
    pub(super) signal: Signals,
    pub(super) hits: Option<usize>,
    pub(super) move_every: Option<Duration>,
    /// Numbers of front-ends, one after the other.
    pub(super) scale: Vec<usize>,
    pub(super) upgrade: Option<String>,
    /// How often a client gets another address.
    pub(super) rebind: Option<Duration>,
    /// Whether no connection may break.
    pub(super) connections_stay: bool,
}

impl Scenario {
    /// Nothing is done in it yet.
    fn calm(common: Common, clients: usize, duration: Duration) -> Scenario {
        Scenario {
            common,
            clients,
            duration,
            kill: Vec::new(),
            every: duration,
            signal: Signals::Kill,
            hits: None,
            move_every: None,
            scale: Vec::new(),
            upgrade: None,
            rebind: None,
            connections_stay: true,
        }
    }

    /// What is asked for and was never done, so that this run says nothing about it. Of several roles one is drawn each time, so that not
    /// each of them must have been hit.
    pub(super) fn undone(&self, done: &Done, rebound: u64) -> Vec<&'static str> {
        let never = |kinds: &[Kind]| kinds.iter().all(|kind| done.count(*kind) == 0);
        let kinds = |role: &Role| [role.kind(false), role.kind(true)];
        let asked = [
            ("kill", !self.kill.is_empty() && self.kill.iter().all(|role| never(&kinds(role)))),
            ("move", self.move_every.is_some() && never(&[Kind::Move])),
            ("upgrade", self.upgrade.is_some() && never(&[Kind::Upgrade])),
            ("scale", done.count(Kind::Scale) < self.scale.len()),
            ("rebind", self.rebind.is_some() && rebound == 0),
        ];
        asked.into_iter().filter(|(_, is_undone)| *is_undone).map(|(what, _)| what).collect()
    }

    /// One step takes place at the beginning of each period.
    fn steps(common: Common, clients: usize, steps: usize, every: Duration) -> Scenario {
        Scenario { every, ..Scenario::calm(common, clients, every * u32::try_from(steps).unwrap_or(u32::MAX)) }
    }
}

impl From<ChaosArgs> for Scenario {
    fn from(args: ChaosArgs) -> Scenario {
        let ChaosArgs { common, clients, duration, kill, every, signal, hits, move_every, upgrade } = args;
        let connections_stay =
            kill.iter().all(|role| matches!(role, Role::Sim | Role::Standby | Role::Supervisor)) && upgrade.is_none();
        let calm = Scenario::calm(common, clients, duration);
        Scenario { kill, every, signal, hits, move_every, upgrade, connections_stay, ..calm }
    }
}

impl From<FailoverArgs> for Scenario {
    fn from(FailoverArgs { common, clients, rounds, every }: FailoverArgs) -> Scenario {
        let steps = Scenario::steps(common, clients, rounds, every);
        Scenario { kill: vec![Role::Frontend], hits: Some(rounds), connections_stay: false, ..steps }
    }
}

impl From<SuperviseArgs> for Scenario {
    fn from(SuperviseArgs { common, clients, kills, every }: SuperviseArgs) -> Scenario {
        Scenario { kill: vec![Role::Supervisor], hits: Some(kills), ..Scenario::steps(common, clients, kills, every) }
    }
}

impl From<RebindArgs> for Scenario {
    fn from(RebindArgs { common, clients, every, duration }: RebindArgs) -> Scenario {
        Scenario { rebind: Some(every), ..Scenario::calm(common, clients, duration) }
    }
}

impl From<RollingArgs> for Scenario {
    fn from(RollingArgs { common, clients, scale, upgrade, every }: RollingArgs) -> Scenario {
        let own = || std::env::current_exe().map(|path| path.display().to_string()).ok();
        let upgrade = upgrade.or_else(own);
        let steps = Scenario::steps(common, clients, scale.len() + 1, every);
        Scenario { scale, upgrade, connections_stay: false, ..steps }
    }
}

/// A flag's value that makes no sense. The sentence goes to the user as a usage error.
#[derive(Debug, thiserror::Error)]
enum FlagError {
    /// Not a whole number within its bounds.
    #[error("a whole number from {min} to {max} is expected")]
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Not a number of seconds within its bounds.
    #[error("a number of seconds above 0, at most {}, is expected", limits::CHAOS_SECONDS_MAX)]
    Seconds,
}

fn parse_clients(text: &str) -> Result<usize, FlagError> {
    whole(text, 1, limits::CHAOS_CLIENTS_MAX as u64).map(|clients| clients as usize)
}

fn parse_small(text: &str) -> Result<usize, FlagError> {
    whole(text, 1, 16).map(|count| count as usize)
}

fn parse_count(text: &str) -> Result<usize, FlagError> {
    whole(text, 1, limits::CHAOS_HITS_MAX).map(|count| count as usize)
}

fn parse_ms(text: &str) -> Result<Duration, FlagError> {
    whole(text, 1, 60_000).map(Duration::from_millis)
}

fn parse_duration(text: &str) -> Result<Duration, FlagError> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0 && *seconds <= limits::CHAOS_SECONDS_MAX);
    seconds.map(Duration::from_secs_f64).ok_or(FlagError::Seconds)
}

fn whole(text: &str, min: u64, max: u64) -> Result<u64, FlagError> {
    text.parse().ok().filter(|number| (min..=max).contains(number)).ok_or(FlagError::Whole { min, max })
}
