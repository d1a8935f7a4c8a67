//! `compare`: whether a build of the server costs more than another, by pairs of runs in random order.
//!
//! All processes of the instance count: front-ends, sims, those that stand by, the supervisor. A machine's speed drifts by more than
//! what is looked for, so only the ratio within a pair counts; the median of the ratios is told with its 95 % interval.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::PeersError;
use super::plan::Plan;
use super::ringfort::{self, Build};
use super::sample::Sample;
use crate::bootstrap::{interval, median};
use crate::limits::PAIRS_MAX;
use crate::random::Random;
use crate::run::{parse_clients, parse_seconds};

/// What is compared, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The `ringfort` program to compare with
    #[arg(long, value_name = "BINARY")]
    before: PathBuf,
    /// The `ringfort` program that may have become slower
    #[arg(long, value_name = "BINARY")]
    after: PathBuf,
    /// Load generator for `before`, of the same sources, if the wire has changed since [default: this program]
    #[arg(long, value_name = "BINARY")]
    before_generator: Option<PathBuf>,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=PAIRS_MAX))]
    pairs: u64,
    /// Clients
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "300")]
    clients: usize,
    /// Inputs a second and client
    #[arg(long, value_name = "HZ", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=240))]
    rate: u32,
    /// Ticks a second
    #[arg(long, value_name = "HZ", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=240))]
    tick_hz: u32,
    /// Seconds of each measured window
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "6")]
    seconds: f64,
    /// Seconds between the last connect and the window
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "2")]
    settle: f64,
    /// Players in one match
    #[arg(long, value_name = "N", default_value_t = 50)]
    players: usize,
    /// What the order within the pairs is drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One run of each build, in microseconds of processor time per client and tick.
struct Pair {
    before: Sample,
    after: Sample,
}

/// Measures all pairs and tells.
pub(crate) fn run(args: &CompareArgs) -> Result<(), PeersError> {
    let mut random = Random::new(args.seed, 0);
    let mut pairs = Vec::new();
    for number in 1..=args.pairs {
        let before_first = random.below(2) == 0;
        let run = |is_before| ringfort::measure(&args.plan(), args.players, &args.build(is_before));
        let (first, second) = (run(before_first)?, run(!before_first)?);
        let pair = if before_first { Pair { before: first, after: second } } else { Pair { before: second, after: first } };
        eprintln!(
            "pair {number}: {:6.1} and {:6.1} us per client and tick, ratio {:.3}{}",
            pair.before.us_per_client_tick,
            pair.after.us_per_client_tick,
            pair.ratio(),
            if pair.kept_up() { "" } else { "  (did not keep up)" },
        );
        pairs.push(pair);
    }
    tell(args, &pairs, &mut random)
}

fn tell(args: &CompareArgs, pairs: &[Pair], random: &mut Random) -> Result<(), PeersError> {
    let ratios: Vec<f64> = pairs.iter().map(Pair::ratio).collect();
    let (ratio, (low, high)) = (median(&ratios), interval(&ratios, random));
    let [before, after] = [|pair: &Pair| pair.before.us_per_client_tick, |pair: &Pair| pair.after.us_per_client_tick]
        .map(|us| median(&pairs.iter().map(us).collect::<Vec<f64>>()));
    let kept_up = pairs.iter().all(Pair::kept_up);
    let json = json!({
        "pairs": pairs.len(),
        "clients": args.clients,
        "rate_hz": args.rate,
        "tick_hz": args.tick_hz,
        "window_s": args.seconds,
        "before_us": before,
        "after_us": after,
        "ratio": { "median": ratio, "low95": low, "high95": high },
        "ratios": ratios,
        "kept_up": kept_up,
    });
    if args.json.as_deref() != Some(Path::new("-")) {
        println!(
            "{} pairs of {} s, {} clients x {} Hz at {} Hz",
            pairs.len(),
            args.seconds,
            args.clients,
            args.rate,
            args.tick_hz
        );
        println!("us per client and tick   {before:.1} before, {after:.1} after (medians)");
        println!("ratio after / before     {ratio:.3}, 95 % interval {low:.3} .. {high:.3}");
        if !kept_up {
            println!("A server did not deliver a snapshot per client and tick: its cost is that of doing less.");
        }
    }
    match &args.json {
        Some(path) => write(path, &json),
        None => Ok(()),
    }
}

fn write(path: &Path, json: &Value) -> Result<(), PeersError> {
    let text = format!("{json:#}\n");
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    fs::write(path, text).map_err(|source| PeersError::Write { path: path.into(), source })
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.after.us_per_client_tick / self.before.us_per_client_tick
    }

    fn kept_up(&self) -> bool {
        self.before.kept_up() && self.after.kept_up()
    }
}

impl CompareArgs {
    fn plan(&self) -> Plan {
        Plan { clients: self.clients, hz: self.tick_hz, rate: self.rate, settle: self.settle, seconds: self.seconds }
    }

    fn build(&self, before: bool) -> Build {
        let program = if before { &self.before } else { &self.after };
        Build { server: Some(program.clone()), generator: self.before_generator.clone().filter(|_| before), battle: false }
    }
}
