//! `watchers`: whether a sim's tick costs more while many watch than while few do, by pairs of runs in random order.
//!
//! Both runs of a pair have the same players, which make the same moves, in a match with room for the same spectators. The cost is the
//! processor time of the sim that has the match, over its ticks: what front-ends do for spectators takes processor time from it, and no
//! more of its own. A machine's speed drifts, so only the ratio within a pair counts.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::summary::Summary;
use super::{RunError, crew, parse_clients, parse_processes, parse_seconds, phases, write_out};
use crate::bootstrap::{interval, median};
use crate::limits::{PAIRS_MAX, WORKER_SILENCE};
use crate::peers::{PeersError, RingfortServer};
use crate::random::Random;

/// Snapshots that spectators must have got, of those of all ticks, for a run to count as keeping up.
const KEPT_UP: f64 = 0.95;

/// What is compared, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WatchersArgs {
    /// Players of the battle: entities that move
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "1000")]
    entities: usize,
    /// Spectators of one run of a pair
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "100")]
    few: usize,
    /// Spectators of the other
    #[arg(long, value_name = "N", value_parser = parse_clients, default_value = "4000")]
    many: usize,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=PAIRS_MAX))]
    pairs: u64,
    /// Seconds of each run's measured time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "6")]
    seconds: f64,
    /// Ticks a second, and inputs a second and player
    #[arg(long, value_name = "HZ", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    tick_hz: u32,
    /// Generator processes
    #[arg(long, value_name = "P", value_parser = parse_processes, default_value = "1")]
    processes: usize,
    /// Exit code 1 when the upper end of the ratio's interval is above this
    #[arg(long, value_name = "RATIO", value_parser = parse_seconds)]
    limit: Option<f64>,
    /// What moves, and the order within the pairs, are drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// The server's binary [default: `ringfort` beside this program]
    #[arg(long, value_name = "BINARY")]
    server: Option<PathBuf>,
    /// Further flags of `ringfort up`, e.g. --up=--frontends=2; repeatable
    #[arg(long = "up", value_name = "FLAG", allow_hyphen_values = true)]
    up: Vec<String>,
    /// Write the figures to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Why a comparison did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchersError {
    /// A run's server.
    #[error(transparent)]
    Server(#[from] PeersError),
    /// A run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The kernel does not tell the processor time.
    #[error("the sim's processor time is not known: {reason}; this kernel must have /proc/PID/task/TID/schedstat")]
    Unknown {
        /// Why.
        reason: String,
    },
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    /// Processor time of the sim for each tick.
    tick_cpu_us: f64,
    /// From a tick's beginning to its commit, at the median: other processes may have had the processor in between.
    tick_us_p50: f64,
    /// Memory of all server processes.
    pss_bytes: f64,
    /// Whether all came, stayed, and were told of nearly every tick.
    kept_up: bool,
}

/// A run with few and one with many.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair {
    few: Cost,
    many: Cost,
}

/// Measures all pairs and tells; returns whether some kept up and their ratio is below the limit, if there is one.
pub(crate) fn run(args: &WatchersArgs) -> Result<bool, WatchersError> {
    let mut random = Random::new(args.seed, 0);
    let mut pairs = Vec::new();
    for number in 1..=args.pairs {
        let few_first = random.below(2) == 0;
        let run = |is_few| measure(args, if is_few { args.few } else { args.many });
        let (first, second) = (run(few_first)?, run(!few_first)?);
        let pair = if few_first { Pair { few: first, many: second } } else { Pair { few: second, many: first } };
        eprintln!(
            "pair {number}: {:7.1} and {:7.1} us of processor time a tick, ratio {:.3}{}",
            pair.few.tick_cpu_us,
            pair.many.tick_cpu_us,
            pair.ratio(),
            if pair.kept_up() { "" } else { "  (did not keep up)" },
        );
        pairs.push(pair);
    }
    let told = figures(args, &pairs, &mut random);
    if args.json.as_deref() != Some(Path::new("-")) {
        print!("{}", page(&told));
    }
    if let Some(path) = &args.json {
        write_out(path, &format!("{told:#}\n"))?;
    }
    let high = told["ratio"]["high95"].as_f64().unwrap_or(f64::INFINITY);
    Ok(args.limit.is_none_or(|limit| high <= limit && told["pairs_kept_up"] != 0))
}

/// One run, against a server that is started for it.
fn measure(args: &WatchersArgs, spectators: usize) -> Result<Cost, WatchersError> {
    let instance = format!("watchers-{}", std::process::id());
    let room = args.few.max(args.many);
    let mut flags: Vec<String> =
        ["--matches=1".to_owned(), format!("--tick-hz={}", args.tick_hz), format!("--spectators={room}")].into();
    flags.extend(["--game-option".to_owned(), format!("capacity={}", args.entities)]);
    flags.extend_from_slice(&args.up);
    let server = RingfortServer::launch(args.server.as_deref(), &instance, &flags)?;
    let words = [
        format!("--server={}", server.address()),
        format!("--instance={instance}"),
        format!("--clients={}", args.entities),
        format!("--spectators={spectators}"),
        format!("--rate={}", args.tick_hz),
        format!("--duration={}", args.seconds),
        format!("--processes={}", args.processes),
        format!("--seed={}", args.seed),
        format!("--patience={}", WORKER_SILENCE.as_secs()),
        "--scenario=battle".to_owned(),
        "--freshness=0".to_owned(),
    ];
    let run = phases::flags(&words)?;
    let found = crew::conduct(&run)?;
    let summary = Summary::new(&run, &found);
    let report = summary.json();
    server.stop();
    cost(&report, summary.all_well(), f64::from(args.tick_hz))
}

fn cost(report: &Value, all_well: bool, tick_hz: f64) -> Result<Cost, WatchersError> {
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64);
    let unknown =
        || WatchersError::Unknown { reason: report["server_unknown"].as_str().unwrap_or("no tick was counted").to_owned() };
    let hz = number("/clients/spectators/snapshots/per_client_hz").unwrap_or(0.0);
    Ok(Cost {
        tick_cpu_us: number("/server/tick_cpu_us").ok_or_else(unknown)?,
        tick_us_p50: number("/server/tick_us/p50").ok_or_else(unknown)?,
        pss_bytes: number("/server/pss_bytes").ok_or_else(unknown)?,
        kept_up: all_well && hz >= KEPT_UP * tick_hz,
    })
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.many.tick_cpu_us / self.few.tick_cpu_us
    }

    fn kept_up(&self) -> bool {
        self.few.kept_up && self.many.kept_up
    }
}

fn figures(args: &WatchersArgs, pairs: &[Pair], random: &mut Random) -> Value {
    let kept_up: Vec<Pair> = pairs.iter().copied().filter(Pair::kept_up).collect();
    // Those of which none kept up say at least something, and `kept_up` that they are not what was asked for.
    let (asked, pairs) = (pairs.len(), if kept_up.is_empty() { pairs } else { kept_up.as_slice() });
    let ratios: Vec<f64> = pairs.iter().map(Pair::ratio).collect();
    let (low, high) = interval(&ratios, random);
    let of = |figure: fn(&Pair) -> f64| median(&pairs.iter().map(figure).collect::<Vec<f64>>());
    let more = args.many.abs_diff(args.few).max(1) as f64;
    json!({
        "pairs": asked,
        "pairs_kept_up": kept_up.len(),
        "entities": args.entities,
        "few": args.few,
        "many": args.many,
        "tick_hz": args.tick_hz,
        "window_s": args.seconds,
        "few_us": of(|pair| pair.few.tick_cpu_us),
        "many_us": of(|pair| pair.many.tick_cpu_us),
        "ratio": { "median": median(&ratios), "low95": low, "high95": high },
        "ratios": ratios,
        "tick_us_p50": { "few": of(|pair| pair.few.tick_us_p50), "many": of(|pair| pair.many.tick_us_p50) },
        "bytes_per_watcher": of(|pair| pair.many.pss_bytes - pair.few.pss_bytes) / more,
        "kept_up": kept_up.len() == asked,
    })
}

fn page(told: &Value) -> String {
    let number = |path: &str| told.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let mut text = format!(
        "{} pairs of {} s, {} players at {} Hz, {} and {} spectators\n",
        told["pairs"], told["window_s"], told["entities"], told["tick_hz"], told["few"], told["many"]
    );
    text += &format!(
        "sim's us a tick          {:.1} with few, {:.1} with many (processor time, medians)\n",
        number("/few_us"),
        number("/many_us")
    );
    text += &format!(
        "ratio many / few         {:.3}, 95 % interval {:.3} .. {:.3}\n",
        number("/ratio/median"),
        number("/ratio/low95"),
        number("/ratio/high95")
    );
    text += &format!(
        "from begin to commit, us {:.0} with few, {:.0} with many (medians of the p50)\n",
        number("/tick_us_p50/few"),
        number("/tick_us_p50/many")
    );
    text += &format!("memory a spectator       {:.1} KB over all server processes\n", number("/bytes_per_watcher") / 1e3);
    let kept_up = told["pairs_kept_up"].as_u64().unwrap_or(0);
    if kept_up == 0 {
        text += "In no pair did all come, stay and hear of every tick: who comes late or comes back costs ticks, too. Take fewer, or fewer ticks.\n";
    } else if told["kept_up"] != true {
        text += &format!("Only the {kept_up} pairs count in which all came, stayed and heard of every tick.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Flags {
        #[command(flatten)]
        args: WatchersArgs,
    }

    fn report(tick_cpu_us: f64, hz: f64) -> Value {
        json!({
            "clients": { "spectators": { "snapshots": { "per_client_hz": hz } } },
            "server": { "tick_cpu_us": tick_cpu_us, "tick_us": { "p50": 9 }, "pss_bytes": 1_000_000 },
        })
    }

    #[test]
    fn the_ratio_is_that_of_the_pairs_and_says_who_did_not_keep_up() {
        let args = Flags::try_parse_from(["--few", "100", "--many", "200"]).expect("flags").args;
        let of = |us, hz| cost(&report(us, hz), true, 5.0).expect("all figures");
        let mut pairs = vec![Pair { few: of(100.0, 5.0), many: of(104.0, 4.9) }; 3];
        pairs[0].many.pss_bytes += 400_000.0;
        pairs[1].many.pss_bytes += 400_000.0;
        let told = figures(&args, &pairs, &mut Random::new(1, 0));
        assert_eq!(
            (&told["ratio"]["median"], &told["ratio"]["high95"], &told["kept_up"]),
            (&json!(1.04), &json!(1.04), &json!(true))
        );
        assert!(
            page(&told).contains("ratio many / few         1.040") && page(&told).contains("4.0 KB over all"),
            "{}",
            page(&told)
        );
        pairs[2].many = of(900.0, 2.0);
        let told = figures(&args, &pairs, &mut Random::new(1, 0));
        assert_eq!(
            (&told["ratio"]["high95"], &told["kept_up"], &told["pairs_kept_up"]),
            (&json!(1.04), &json!(false), &json!(2))
        );
        assert!(page(&told).contains("Only the 2 pairs count"), "{}", page(&told));
        let told = figures(&args, &pairs[2..], &mut Random::new(1, 0));
        assert!(told["ratio"]["median"] == 9.0 && page(&told).contains("In no pair"), "{}", page(&told));
    }

    #[test]
    fn a_cost_that_is_not_known_says_why() {
        let error = cost(&json!({ "server": null, "server_unknown": "another port" }), true, 5.0).expect_err("no figures");
        assert!(error.to_string().contains("another port"), "{error}");
    }
}
