//! `peers`: what a client and tick costs Ringfort, beside bare echo servers on the same QUIC and beside Colyseus, under the same load.
//!
//! Rounds are interleaved (Ringfort, tokio quinn, one loop, Ringfort, ..), because a machine's speed drifts by more than what is measured; the
//! ratios of a round are comparable, figures of different runs are not. Processor time comes from the kernel's accounts of all the server's
//! processes, over a window in which all clients are connected and the load has settled. `loadtest/peers/README.md` says what the peers are.

mod colyseus;
mod colyseus_load;
mod compare;
mod echo;
mod echo_load;
mod error;
mod plan;
mod report;
mod ringfort;
mod sample;
mod server;
mod spread;
mod subject;
mod walker;
mod window;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::de::DeserializeOwned;

pub(crate) use colyseus_load::{ColyseusLoadArgs, run as run_colyseus_load};
pub(crate) use compare::{CompareArgs, run as run_compare};
pub(crate) use echo_load::{EchoLoadArgs, run as run_echo_load};
pub(crate) use error::PeersError;
pub(crate) use server::RingfortServer;

use crate::children::Child;
use crate::limits;
use crate::run::{parse_clients, parse_seconds};
use plan::Plan;
use report::Report;
use sample::Sample;
use subject::Subject;

/// Bytes that the echo peers send when Ringfort is left out and no size is given: a small match's snapshot.
const DOWN_BYTES_DEFAULT: usize = 300;

/// What is measured, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PeersArgs {
    /// Clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "2000")]
    clients: usize,
    /// Inputs a second and client, and ticks of the server
    #[arg(long, value_name = "HZ", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=240))]
    hz: u32,
    /// Rounds; each measures every subject once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=limits::PAIRS_MAX))]
    rounds: u64,
    /// Seconds of each measured window
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "10")]
    seconds: f64,
    /// Seconds between the last connect and the window
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "3")]
    settle: f64,
    /// Who is measured, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values = Subject::DEFAULT.map(Subject::name))]
    subjects: Vec<Subject>,
    /// Players in one of Ringfort's matches [default: all in one]
    #[arg(long, value_name = "N")]
    players: Option<usize>,
    /// Bytes that the echo peers send to a client, instead of Ringfort's measured mean
    #[arg(long, value_name = "BYTES", value_parser = ringfort_peers::parse_bytes)]
    down_bytes: Option<usize>,
    /// The folder of Colyseus' server; its packages are fetched there at the first use
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/colyseus"), hide_default_value = true)]
    colyseus: PathBuf,
    /// A smoke test: 20 clients, one round of 2 seconds, no Colyseus where there is no node. Its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// The server's program; by default the one beside this program
    #[arg(long, value_name = "BINARY")]
    ringfort: Option<PathBuf>,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures all rounds and prints the table.
pub(crate) fn run(mut args: PeersArgs) -> Result<(), PeersError> {
    if args.quick {
        (args.clients, args.rounds, args.seconds, args.settle) = (20, 1, 2.0, 0.5);
        let node = colyseus::available();
        args.subjects.retain(|subject| node || !subject.needs_node());
    }
    args.subjects.sort_unstable();
    args.subjects.dedup();
    let rounds = (1..=args.rounds).map(|round| measure_round(&args, round)).collect::<Result<Vec<_>, _>>()?;
    let report = Report::new(&args, &rounds);
    // Standard output is for one reader: a person, or a program that asked for JSON there.
    if args.json.as_deref() != Some(Path::new("-")) {
        println!("{report}");
    }
    match &args.json {
        Some(path) => report.write(path),
        None => Ok(()),
    }
}

/// One sample of each subject; the echo peers send what Ringfort's snapshots weighed on average in this round.
fn measure_round(args: &PeersArgs, round: u64) -> Result<Vec<Sample>, PeersError> {
    let mut down_bytes = args.down_bytes.unwrap_or(DOWN_BYTES_DEFAULT);
    let mut samples: Vec<Sample> = Vec::new();
    for &subject in &args.subjects {
        let sample = subject.measure(args, down_bytes)?;
        eprintln!(
            "round {round}: {:<20} {:6.1} us per client and tick{}",
            subject.name(),
            sample.us_per_client_tick,
            if sample.kept_up() { "" } else { "  (did not keep up)" },
        );
        if subject == Subject::Ringfort && args.down_bytes.is_none() {
            down_bytes = sample.down_bytes.round() as usize;
        }
        samples.push(sample);
    }
    Ok(samples)
}

impl PeersArgs {
    fn plan(&self) -> Plan {
        Plan { clients: self.clients, hz: self.hz, rate: self.hz, settle: self.settle, seconds: self.seconds }
    }
}

/// The report that a load prints at its end.
fn last_line<T: DeserializeOwned>(plan: &Plan, load: &Child, role: &'static str) -> Result<T, PeersError> {
    let line = load.line(plan.report_patience()).ok_or(PeersError::ChildSilent { role })?;
    serde_json::from_str(&line).map_err(PeersError::Report)
}

/// This program in another role.
fn ourselves(role: &str) -> Result<Command, PeersError> {
    let mut command = Command::new(std::env::current_exe().map_err(PeersError::Io)?);
    command.arg(role);
    Ok(command)
}

fn spawn(command: Command) -> Result<Child, PeersError> {
    let program = command.get_program().into();
    Child::spawn(command).map_err(|source| PeersError::Spawn { program, source })
}
