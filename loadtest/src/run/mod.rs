//! `run`: real clients that play the bundled game, and what they saw.
//!
//! This process measures nothing itself. It starts `--processes` workers with a share of the clients each, shows
//! their progress, adds up what they report, and tells.

mod bot;
mod error;
mod figures;
mod partial;
mod summary;
mod worker;

use std::fs;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use error::RunError;
pub(crate) use partial::{Latency, Partial};
pub(crate) use worker::{WorkerArgs, run as run_worker};

use crate::children::Child;
use crate::limits;
use partial::Progress;
use summary::Summary;

/// The line by which a worker says that its clients are in their matches, or have failed.
pub(crate) const CONNECTED: &str = "connected";
/// What a worker's progress lines begin with.
const PROGRESS: &str = "progress ";
/// How often a line of progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The server's address, e.g. 127.0.0.1:7777
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7777")]
    server: SocketAddr,
    /// How many clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "100")]
    clients: usize,
    /// Inputs a second and client
    #[arg(long, value_name = "HZ", value_parser = parse_rate, default_value = "10")]
    rate: f64,
    /// Seconds of sending inputs
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "30")]
    duration: f64,
    /// Seconds over which the clients connect [default: as fast as 500 a second]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    ramp: Option<f64>,
    /// The match that they join, or "any"
    #[arg(long = "match", value_name = "NAME", default_value = "any")]
    match_name: String,
    /// Generator processes
    #[arg(long, value_name = "P", value_parser = parse_processes, default_value = "1")]
    processes: usize,
    /// What the bots' moves are drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs all workers and prints the summary; returns whether every client joined and stayed.
pub(crate) fn run(args: &RunArgs) -> Result<bool, RunError> {
    let processes = args.processes.min(args.clients);
    let workers: Vec<Child> = (0..processes).map(|index| spawn_worker(args, index, processes)).collect::<Result<_, _>>()?;
    let total = collect(args, &workers)?;
    let summary = Summary::new(args, &total);
    if let Some(path) = &args.json {
        write_json(path, &format!("{:#}\n", summary.json()))?;
    }
    if args.json.as_deref() != Some(Path::new("-")) {
        print!("{summary}");
    }
    Ok(summary.all_well())
}

/// Worker `index` of `processes`, with its share of the clients.
fn spawn_worker(args: &RunArgs, index: usize, processes: usize) -> Result<Child, RunError> {
    let first = args.clients * index / processes;
    let clients = args.clients * (index + 1) / processes - first;
    // The shares connect side by side, so each gets its part of the whole rate.
    let ramp = args.ramp.unwrap_or(args.clients as f64 / limits::CONNECTS_PER_SECOND);
    let mut command = Command::new(std::env::current_exe().map_err(RunError::Io)?);
    command.args(["worker", "--progress", "--server", &args.server.to_string(), "--match", &args.match_name]);
    command.args(["--clients", &clients.to_string(), "--first", &first.to_string(), "--seed", &args.seed.to_string()]);
    command.args(["--rate", &args.rate.to_string(), "--duration", &args.duration.to_string()]);
    command.args(["--ramp", &ramp.to_string()]);
    Child::spawn(command).map_err(RunError::Io)
}

/// Shows progress until every worker has reported, and adds up the reports.
fn collect(args: &RunArgs, workers: &[Child]) -> Result<Partial, RunError> {
    let ramp = args.ramp.unwrap_or(args.clients as f64 / limits::CONNECTS_PER_SECOND);
    let patience = Duration::from_secs_f64(ramp + args.duration) + limits::WORKER_PATIENCE;
    let deadline = Instant::now() + patience;
    let mut total = Partial::default();
    let mut ticker = Ticker::new(workers.len());
    let mut waiting: Vec<usize> = (0..workers.len()).collect();
    while let Some(&index) = waiting.first() {
        // Workers speak once a second each; taking them in turn keeps up with all.
        let Some(line) = workers[index].line(limits::WORKER_SILENCE) else { return Err(RunError::WorkerSilent) };
        if Instant::now() > deadline {
            return Err(RunError::WorkerSilent);
        }
        if let Some(progress) = line.strip_prefix(PROGRESS) {
            ticker.note(index, serde_json::from_str(progress).map_err(RunError::Report)?);
            waiting.rotate_left(1);
        } else if line != CONNECTED {
            total.merge(&serde_json::from_str(&line).map_err(RunError::Report)?);
            waiting.remove(0);
        }
    }
    ticker.finish();
    Ok(total)
}

/// The line of progress: written over itself on a terminal, else one line a second.
struct Ticker {
    latest: Vec<Progress>,
    started: Instant,
    shown: Instant,
    overwrite: bool,
}

impl Ticker {
    fn new(workers: usize) -> Ticker {
        let now = Instant::now();
        let overwrite = std::io::stderr().is_terminal();
        Ticker { latest: vec![Progress::default(); workers], started: now, shown: now, overwrite }
    }

    fn note(&mut self, worker: usize, progress: Progress) {
        self.latest[worker] = progress;
        if self.shown.elapsed() < PROGRESS_EVERY * 9 / 10 {
            return;
        }
        self.shown = Instant::now();
        let mut sum = Progress::default();
        self.latest.iter().for_each(|progress| sum.merge(progress));
        let (start, end) = if self.overwrite { ("\r\x1b[2K", "") } else { ("", "\n") };
        // A terminal that is gone shows nothing, and the run goes on.
        let _ = write!(
            std::io::stderr(),
            "{start}{:4.0} s  {} live, {} gone  {} inputs, {} snapshots  latency p50 {:.1} p99 {:.1} ms  generator {:.0} %{end}",
            self.started.elapsed().as_secs_f64(),
            sum.live,
            sum.gone,
            sum.sent,
            sum.snapshots,
            sum.p50_ms,
            sum.p99_ms,
            sum.cpu_percent,
        );
    }

    fn finish(&self) {
        if self.overwrite {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

fn write_json(path: &Path, text: &str) -> Result<(), RunError> {
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    fs::write(path, text).map_err(|source| RunError::Write { path: path.into(), source })
}

/// A flag's value that makes no sense. The sentence goes to the user as a usage error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlagError {
    /// Not a whole number within its bounds.
    #[error("a whole number from 1 to {max} is expected")]
    Count {
        /// The bound.
        max: usize,
    },
    /// Not a number, negative, or endless.
    #[error("a number above 0 is expected")]
    Positive,
    /// Higher than any tick rate.
    #[error("at most {} a second are possible", limits::RATE_HZ_MAX)]
    Rate,
}

fn parse_clients(text: &str) -> Result<usize, FlagError> {
    parse_count(text, limits::CLIENTS_MAX)
}

fn parse_processes(text: &str) -> Result<usize, FlagError> {
    parse_count(text, limits::PROCESSES_MAX)
}

fn parse_count(text: &str, max: usize) -> Result<usize, FlagError> {
    text.parse().ok().filter(|count| (1..=max).contains(count)).ok_or(FlagError::Count { max })
}

pub(crate) fn parse_rate(text: &str) -> Result<f64, FlagError> {
    let rate = parse_seconds(text)?;
    if rate > limits::RATE_HZ_MAX { Err(FlagError::Rate) } else { Ok(rate) }
}

fn parse_seconds(text: &str) -> Result<f64, FlagError> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0).ok_or(FlagError::Positive)
}
