//! `chaos`: an instance whose sims are killed while clients play, and whether anything got lost, looked at from outside.
//!
//! The instance runs the game [`tally`](crate::tally). Every client keeps books of its inputs, commands and events, and at the end they are
//! held against the game's accounts. [`gaps`] tells how silences are counted.

mod crowd;
mod error;
mod gaps;
mod host;
mod killer;
mod ledger;
mod report;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use error::ChaosError;
pub(crate) use host::{HostArgs, run_host};
#[cfg(test)]
pub(crate) use ledger::Ledger;

use ringfort::status::Status;

use crate::limits;
use crate::tally::Tally;
use crowd::{Crowd, Shown};
use gaps::{Kind, Windows, micros};
use host::Host;
use killer::{Done, Plan};
use report::Report;

/// How often a line of progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What is done to whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChaosArgs {
    /// How many clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "100")]
    clients: usize,
    /// Inputs a second and client
    #[arg(long, value_name = "HZ", value_parser = crate::run::parse_rate, default_value = "20")]
    rate: f64,
    /// Ticks a second
    #[arg(long, value_name = "HZ", default_value_t = 20)]
    tick_hz: u32,
    /// Seconds of killing; the clients play a few seconds longer
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration, default_value = "30")]
    duration: Duration,
    /// Which processes are killed; without it none are
    #[arg(long, value_name = "ROLES", value_delimiter = ',', value_parser = parse_role)]
    kill: Vec<&'static str>,
    /// Milliseconds between two kills
    #[arg(long, value_name = "MS", value_parser = parse_ms, default_value = "500")]
    every: Duration,
    /// How they are killed: at once, by a stop that the instance has to find, or now so and now so
    #[arg(long, value_enum, default_value = "kill")]
    signal: Signals,
    /// What the victims are drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Matches that the clients are spread over
    #[arg(long, value_name = "M", default_value_t = 2, value_parser = parse_small)]
    matches: usize,
    /// Sims of the instance
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_small)]
    sims: usize,
    /// Move a match to another sim every so many milliseconds
    #[arg(long, value_name = "MS", alias = "moves-every", value_parser = parse_ms)]
    move_every: Option<Duration>,
    /// Replace the sims by those of this program, in the middle of the time
    #[arg(long, value_name = "PATH")]
    upgrade: Option<String>,
    /// The instance's name [default: chaos- and our process's id]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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

/// Runs it all and tells; returns whether nothing was lost, missing, doubled or damaged.
pub(crate) fn run(args: &ChaosArgs) -> Result<bool, ChaosError> {
    let instance = args.instance.clone().unwrap_or_else(|| format!("chaos-{}", std::process::id()));
    let flags = [
        ("--sims", args.sims.to_string()),
        ("--matches", args.matches.to_string()),
        ("--tick-hz", args.tick_hz.to_string()),
        ("--game-option", format!("capacity={}", args.clients.div_ceil(args.matches))),
    ];
    let flags: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    let host = Host::start(&instance, &flags)?;
    let directory = host.directory().to_owned();
    let ok = measure(args, &host);
    let keep = !matches!(ok, Ok(true));
    host.stop(keep)?;
    if keep {
        eprintln!("ringfort-loadtest: the instance's logs stay in {}", directory.display());
    }
    ok
}

fn measure(args: &ChaosArgs, host: &Host) -> Result<bool, ChaosError> {
    let mut crowd = Crowd::join(args, host.address())?;
    let start = Instant::now();
    let begin = start + limits::CHAOS_CALM;
    let end = begin + args.duration;
    let (instance, directory) = (host.instance().to_owned(), host.directory().to_owned());
    let plan = Plan { instance, directory, start, begin, end };
    let (done, shown) = (Done::default(), Shown::default());
    let over = end + limits::GAP_WINDOW;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        if !args.kill.is_empty() {
            workers.push(scope.spawn(|| plan.kill(args, &done)));
        }
        if let Some(every) = args.move_every {
            let (plan, done) = (&plan, &done);
            workers.push(scope.spawn(move || plan.move_matches(every, args, done)));
        }
        if let Some(binary) = &args.upgrade {
            let (plan, done) = (&plan, &done);
            workers.push(scope.spawn(move || plan.upgrade(binary, args, done)));
        }
        scope.spawn(|| show_progress(start, over, &done, &shown));
        let played = crowd.play(args.rate, start, over, &shown);
        let ended: Result<(), ChaosError> =
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| ChaosError::KillerDied));
        played.and(ended)
    })?;
    let end_of_play = micros(over.saturating_duration_since(start));
    crowd.settle()?;
    let fsck = ringfort::fsck::check::<Tally>(host.instance())?.problems.iter().map(ToString::to_string).collect();
    let mut counters = Status::of(host.instance())?.counters;
    counters.retain(|_, count| *count > 0);
    let windows = Windows::new(&done.hits(), args.matches);
    let (inputs_sent, inputs_acknowledged) = crowd.inputs();
    let report = Report {
        args,
        counts: Kind::ALL.map(|kind| done.count(kind)),
        spared: done.spared.load(Ordering::Relaxed),
        moves_refused: done.refusals(Kind::Move),
        upgrades_refused: done.refusals(Kind::Upgrade),
        lost: crowd.lost(),
        inputs_sent,
        inputs_acknowledged,
        audit: crowd.audit(),
        gaps: Kind::ALL.map(|kind| windows.gaps(kind, crowd.arrivals(), end_of_play)),
        fsck,
        counters,
        late_ms_p99: crowd.late().ms_at(0.99),
    };
    tell(args, &report)?;
    let ok = report.ok();
    crowd.leave()?;
    Ok(ok)
}

fn tell(args: &ChaosArgs, report: &Report<'_>) -> Result<(), ChaosError> {
    let json = format!("{:#}\n", report.json());
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => print!("{json}"),
        path => {
            if let Some(path) = path {
                fs::write(path, json).map_err(|source| ChaosError::Write { path: path.into(), source })?;
            }
            print!("{report}");
        }
    }
    Ok(())
}

/// Once a second a line: written over itself on a terminal.
fn show_progress(start: Instant, end: Instant, done: &Done, shown: &Shown) {
    let overwrite = std::io::stderr().is_terminal();
    let (before, after) = if overwrite { ("\r\x1b[2K", "") } else { ("", "\n") };
    while Instant::now() + PROGRESS_EVERY < end {
        thread::sleep(PROGRESS_EVERY);
        let number = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
        let [kills, stops, moves, _] = Kind::ALL.map(|kind| done.count(kind));
        // A terminal that is gone shows nothing, and the run goes on.
        let _ = write!(
            std::io::stderr(),
            "{before}{:4.0} s  {kills} kills, {stops} stops, {moves} moves  {} lost  {} inputs, {} acknowledged  silent for {:.0} ms{after}",
            start.elapsed().as_secs_f64(),
            number(&shown.lost),
            number(&shown.sent),
            number(&shown.acknowledged),
            number(&shown.silence_us) as f64 / 1e3,
        );
    }
    if overwrite {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
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
    /// A role that cannot be killed yet.
    #[error("only the role `sim` can be killed so far; a front-end's clients do not come back yet")]
    Role,
}

fn parse_role(text: &str) -> Result<&'static str, FlagError> {
    if text == "sim" { Ok("sim") } else { Err(FlagError::Role) }
}

fn parse_clients(text: &str) -> Result<usize, FlagError> {
    whole(text, 1, limits::CHAOS_CLIENTS_MAX as u64).map(|clients| clients as usize)
}

fn parse_small(text: &str) -> Result<usize, FlagError> {
    whole(text, 1, 16).map(|count| count as usize)
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
