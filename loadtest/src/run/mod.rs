//! `run`: real clients that play the bundled game, and what they saw.
//!
//! This process measures nothing itself. It starts `--processes` workers with a share of the clients each, tells them when the measured time
//! begins, shows their progress, adds up what they report, and tells.

mod bot;
mod compare_watchers;
mod crew;
mod error;
mod figures;
mod footprint;
mod freshness;
mod net;
mod partial;
mod phases;
mod player;
mod scenario;
mod series;
mod server;
mod summary;
mod sweep;
mod ticker;
mod truth;
mod verify;
mod watchers;
mod worker;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) use compare_watchers::{WatchersArgs, run as run_watchers};
pub(crate) use error::RunError;
pub(crate) use partial::{Latency, Partial};
pub(crate) use sweep::{SweepArgs, run as run_sweep};
pub(crate) use worker::{WorkerArgs, run as run_worker};

use crate::assertion::{Assertion, Outcome};
use crate::limits;
use crate::netem::Conditions;
use crate::report;
use phases::Phase;
pub(crate) use scenario::Scenario;
use summary::Summary;

/// The line by which a worker says that its clients are in their matches, or have failed.
pub(crate) const CONNECTED: &str = "connected";
/// The line by which a worker says that its measured time is over.
const PLAYED: &str = "played";
/// What a worker's progress lines begin with.
const PROGRESS: &str = "progress ";

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The server's address, e.g. 127.0.0.1:7777
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7777")]
    server: SocketAddr,
    /// What the clients do
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// How many clients; of a storm, how many come at once
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "100")]
    clients: usize,
    /// Clients beside them that only watch
    #[arg(long, value_name = "N", value_parser = parse_watchers, default_value = "0")]
    spectators: usize,
    /// Clients that play already when the storm comes
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "100")]
    playing: usize,
    /// Clients that leave and come again, a second, in the scenario churn
    #[arg(long, value_name = "N", value_parser = parse_churn, default_value = "10")]
    churn_rate: f64,
    /// Inputs a second and client
    #[arg(long, value_name = "HZ", value_parser = parse_rate, default_value = "10")]
    rate: f64,
    /// Seconds of sending inputs
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "30")]
    duration: f64,
    /// Seconds over which the clients connect [default: as fast as 500 a second]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    ramp: Option<f64>,
    /// Seconds that clients may take to get a place, after the ramp
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value_t = limits::CONNECT_PATIENCE.as_secs_f64())]
    patience: f64,
    /// The match that they join, or "any"
    #[arg(long = "match", value_name = "NAME", default_value = "any")]
    match_name: String,
    /// The server's instance, if it runs on this machine: its processes are looked at
    #[arg(long, value_name = "NAME", default_value = "default")]
    instance: String,
    /// Clients whose snapshots are compared with the committed world, to tell how old what they see is; 0 for none
    #[arg(long, value_name = "N", default_value_t = limits::FRESHNESS_CLIENTS)]
    freshness: usize,
    /// Compare what every client has at every tick that it applies with the committed world; exit code 1 if anything differs
    #[arg(long)]
    verify: bool,
    /// Generator processes
    #[arg(long, value_name = "P", value_parser = parse_processes, default_value = "1")]
    processes: usize,
    #[command(flatten)]
    network: Conditions,
    /// What the bots' moves and the network's luck are drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What a figure of the JSON must be, e.g. latency_ms.network.p99<50; repeatable, exit code 1 if it is not so
    #[arg(long = "assert", value_name = "FIGURE<NUMBER")]
    assertions: Vec<Assertion>,
    /// Take flags from this file, for one run or for several phases; flags of the command line count more
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl RunArgs {
    /// Seconds over which so many clients connect.
    fn ramp_of(&self, clients: usize) -> f64 {
        self.ramp.unwrap_or(clients as f64 / limits::CONNECTS_PER_SECOND)
    }
}

/// Runs all phases and prints their summaries; returns whether every client joined and stayed and every assertion holds.
pub(crate) fn run(args: &RunArgs) -> Result<bool, RunError> {
    let phases = match &args.file {
        Some(path) => phases::read(path, &phases::command_line())?,
        None => vec![Phase { name: String::new(), args: args.clone() }],
    };
    // They stand on the command line or above all phases, so each phase has the same.
    let (to_json, to_page) = phases.first().map_or((None, None), |first| (first.args.json.clone(), first.args.report.clone()));
    let to_stdout = to_json.as_deref() == Some(Path::new("-"));
    let mut well = true;
    let mut reports = Vec::new();
    for Phase { name, args } in &phases {
        if args.file.is_none() && phases.len() > 1 {
            eprintln!("phase {name}");
        }
        let found = crew::conduct(args)?;
        let summary = Summary::new(args, &found);
        well &= summary.all_well();
        let mut report = summary.json();
        report["phase"] = name.as_str().into();
        reports.push(report);
        if !to_stdout {
            print!("{summary}");
        }
    }
    let all = match reports.as_slice() {
        [one] => one.clone(),
        several => serde_json::json!({ "phases": several }),
    };
    if let Some(path) = &to_json {
        write_out(path, &format!("{all:#}\n"))?;
    }
    if let Some(path) = &to_page {
        write_out(path, &report::html(&all))?;
    }
    for (phase, report) in phases.iter().zip(&reports) {
        for assertion in &phase.args.assertions {
            well &= holds(assertion, report)?;
        }
    }
    Ok(well)
}

fn holds(assertion: &Assertion, report: &serde_json::Value) -> Result<bool, RunError> {
    match assertion.check(report) {
        Outcome::Holds => return Ok(true),
        Outcome::Fails(Some(figure)) => eprintln!("ringfort-loadtest: not so: {assertion}; it was {figure}"),
        Outcome::Fails(None) => eprintln!("ringfort-loadtest: not so: {assertion}; it is not known"),
        Outcome::NoSuchFigure => return Err(RunError::NoSuchFigure { assertion: assertion.to_string() }),
    }
    Ok(false)
}

fn write_out(path: &Path, text: &str) -> Result<(), RunError> {
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
    #[error("a number above 0 and up to {max} is expected")]
    Positive {
        /// The bound.
        max: f64,
    },
    /// Not a whole number of ticks.
    #[error("a whole number is expected: the server ticks at the same rate")]
    Whole,
    /// Higher than any tick rate, or next to nothing.
    #[error("from {} to {max} a second are possible", limits::RATE_HZ_MIN)]
    Rate {
        /// The bound.
        max: f64,
    },
}

pub(crate) fn parse_clients(text: &str) -> Result<usize, FlagError> {
    parse_count(text, limits::CLIENTS_MAX)
}

fn parse_watchers(text: &str) -> Result<usize, FlagError> {
    if text == "0" { Ok(0) } else { parse_clients(text) }
}

fn parse_processes(text: &str) -> Result<usize, FlagError> {
    parse_count(text, limits::PROCESSES_MAX)
}

fn parse_count(text: &str, max: usize) -> Result<usize, FlagError> {
    text.parse().ok().filter(|count| (1..=max).contains(count)).ok_or(FlagError::Count { max })
}

pub(crate) fn parse_rate(text: &str) -> Result<f64, FlagError> {
    parse_a_second(text, limits::RATE_HZ_MAX)
}

fn parse_churn(text: &str) -> Result<f64, FlagError> {
    parse_a_second(text, limits::CHURN_MAX)
}

fn parse_a_second(text: &str, max: f64) -> Result<f64, FlagError> {
    text.parse().ok().filter(|rate| (limits::RATE_HZ_MIN..=max).contains(rate)).ok_or(FlagError::Rate { max })
}

/// Also of milliseconds.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, FlagError> {
    let max = limits::SECONDS_MAX;
    text.parse().ok().filter(|value| *value > 0.0 && *value <= max).ok_or(FlagError::Positive { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_run_could_have_are_refused() {
        for text in ["", "x", "nan", "inf", "-1", "0", "1e300"] {
            assert!(parse_seconds(text).is_err() && parse_rate(text).is_err() && parse_churn(text).is_err(), "{text}");
        }
        // What is said each so often is turned into the time between two.
        assert!(parse_rate("1e-300").is_err() && parse_rate("241").is_err() && parse_churn("1e-9").is_err());
        assert_eq!(
            (parse_rate("0.5").ok(), parse_churn("200").ok(), parse_seconds("0.05").ok()),
            (Some(0.5), Some(200.0), Some(0.05))
        );
        assert!(parse_clients("0").is_err() && parse_processes("65").is_err() && parse_clients("7000").is_ok());
    }
}
