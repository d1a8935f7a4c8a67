//! `costs`: what a client and tick costs the server's processors, beside two baselines that know no game.
//!
//! Rounds are interleaved (Ringfort, tokio quinn, quinn-proto, Ringfort, ..), because a machine's speed drifts by
//! more than what is measured; the ratios of a round are comparable, figures of different runs are not.
//! Processor time comes from the kernel's accounts of the server's processes, over a window in which all clients
//! are connected and the load has settled.

mod bare_loop;
mod compare;
mod echo_client;
mod echo_server;
mod error;
mod report;
mod ringfort_server;
mod subject;
mod trust;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use compare::{CompareArgs, run as run_compare};
pub(crate) use echo_client::{EchoClientArgs, run as run_echo_client};
pub(crate) use echo_server::{Answer, EchoServerArgs, serve as run_echo_server};
pub(crate) use error::CostsError;
pub(crate) use ringfort_server::RingfortServer;

use report::Report;
use subject::{Sample, Subject};

const LOOPBACK: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Bytes that the baselines send down when Ringfort is left out and no size is given: a small match's snapshot.
const DOWN_BYTES_DEFAULT: usize = 300;

/// What is measured, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CostsArgs {
    /// Clients.
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Inputs a second and client, and ticks of the server.
    #[arg(long, default_value_t = 10)]
    hz: u32,
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measured window.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds between the last connect and the window.
    #[arg(long, default_value_t = 2.0)]
    settle: f64,
    /// Players in one match; Ringfort gets as many matches as the clients need.
    #[arg(long, default_value_t = 50)]
    players: usize,
    /// When the baselines answer.
    #[arg(long, value_enum, default_value = "tick")]
    answer: Answer,
    /// Bytes that the baselines send down, instead of Ringfort's measured mean.
    #[arg(long)]
    down_bytes: Option<usize>,
    /// Leave Ringfort out.
    #[arg(long)]
    baselines_only: bool,
    /// A smoke test: 20 clients, one round of 2 seconds. Its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// The server's program; by default the one beside this program.
    #[arg(long)]
    ringfort: Option<PathBuf>,
    /// The load generator's program, if it is not this one.
    #[arg(skip)]
    generator: Option<PathBuf>,
    /// Inputs a second and client, if they are not as many as ticks.
    #[arg(skip)]
    rate: Option<u32>,
    /// Whether the supervisor counts, too.
    #[arg(skip)]
    supervisor: bool,
    /// Write the figures to this file as JSON; `-` is the standard output.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures all rounds and prints the table.
pub(crate) fn run(mut args: CostsArgs) -> Result<(), CostsError> {
    if args.quick {
        (args.clients, args.rounds, args.seconds, args.settle, args.players) = (20, 1, 2.0, 0.5, 20);
    }
    let subjects: &[Subject] = if args.baselines_only { &Subject::ALL[1..] } else { &Subject::ALL };
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        rounds.push(measure_round(&args, subjects, round)?);
    }
    let report = Report::new(&args, subjects, &rounds);
    // Standard output is for one reader: a person, or a program that asked for JSON there.
    if args.json.as_deref() != Some(Path::new("-")) {
        println!("{report}");
    }
    match &args.json {
        Some(path) => report.write(path),
        None => Ok(()),
    }
}

/// One sample of each subject; the baselines send what Ringfort's snapshots weighed on average in this round.
fn measure_round(args: &CostsArgs, subjects: &[Subject], round: usize) -> Result<Vec<Sample>, CostsError> {
    let mut down_bytes = args.down_bytes.unwrap_or(DOWN_BYTES_DEFAULT);
    let mut samples: Vec<Sample> = Vec::new();
    for &subject in subjects {
        let sample = subject::measure(subject, args, down_bytes)?;
        eprintln!(
            "round {round}: {:<13} {:6.1} us per client and tick{}",
            subject.name(),
            sample.us_per_client_tick,
            if sample.kept_up() { "" } else { "  (did not keep up)" },
        );
        if subject == Subject::Ringfort && args.down_bytes.is_none() {
            down_bytes = sample.down_bytes;
        }
        samples.push(sample);
    }
    Ok(samples)
}

impl CostsArgs {
    fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.settle)
    }

    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long the load runs: it ends after the window, so that the window sees nothing but steady load.
    fn load_seconds(&self) -> f64 {
        self.settle + self.seconds + 0.5
    }
}
