//! `sweep`: more and more clients at one rate after the other, each against a server of its own, until it breaks.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::scenario::Scenario;
use super::summary::Summary;
use super::{FlagError, RunError, crew, parse_clients, parse_processes, parse_rate, parse_seconds, phases, write_out};
use crate::limits::{UNACKNOWLEDGED_MAX_PERCENT, WORKER_SILENCE};
use crate::peers::{PeersError, RingfortServer};

/// What is swept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// Numbers of clients, from few to many
    #[arg(long, value_name = "N,N,..", value_parser = parse_clients, value_delimiter = ',', default_value = "500,1000,2000")]
    clients: Vec<usize>,
    /// Inputs a second and client, which are the server's ticks a second
    #[arg(long, value_name = "HZ,HZ,..", value_parser = parse_tick_rate, value_delimiter = ',', default_value = "10")]
    rates: Vec<f64>,
    /// Seconds of each step
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "20")]
    duration: f64,
    /// What the clients do
    #[arg(long, value_enum, default_value_t = Scenario::Battle)]
    scenario: Scenario,
    /// Milliseconds of network latency, at the 99th percentile, above which a step counts as broken
    #[arg(long, value_name = "MS", value_parser = parse_seconds, default_value = "100")]
    limit: f64,
    /// Generator processes
    #[arg(long, value_name = "P", value_parser = parse_processes, default_value = "1")]
    processes: usize,
    /// The server's binary [default: `ringfort` beside this program]
    #[arg(long, value_name = "BINARY")]
    server: Option<PathBuf>,
    /// Further flags of `ringfort up`, e.g. --up=--arena-mib=256; repeatable
    #[arg(long = "up", value_name = "FLAG", allow_hyphen_values = true)]
    up: Vec<String>,
    /// Write steps and knees to this file as JSON; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Why a sweep did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SweepError {
    /// A step's server.
    #[error(transparent)]
    Server(#[from] PeersError),
    /// A step's run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// One number of clients at one rate.
struct Step {
    rate: f64,
    clients: usize,
    report: Value,
    /// Why it does not hold; nothing if it does.
    broken: Vec<String>,
}

/// Runs all steps, up to the first at each rate that breaks; returns whether at least one held at each rate.
pub(crate) fn run(args: &SweepArgs) -> Result<bool, SweepError> {
    let sorted = |mut numbers: Vec<usize>| {
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let (mut rates, clients) = (args.rates.clone(), sorted(args.clients.clone()));
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let mut steps = Vec::new();
    for &rate in &rates {
        for &clients in &clients {
            eprintln!("{clients} clients x {rate} Hz");
            let report = step(args, rate, clients)?;
            let broken = broken(&report, rate, args.limit);
            let is_broken = !broken.is_empty();
            steps.push(Step { rate, clients, report, broken });
            if is_broken {
                break;
            }
        }
    }
    let knees: Vec<Knee> = rates.iter().map(|rate| Knee::of(*rate, &steps)).collect();
    if let Some(path) = &args.json {
        let steps: Vec<Value> = steps.iter().map(Step::json).collect();
        let knees: Vec<Value> = knees.iter().map(Knee::json).collect();
        write_out(path, &format!("{:#}\n", json!({ "steps": steps, "knees": knees })))?;
    }
    if args.json.as_deref() != Some(std::path::Path::new("-")) {
        print!("{}", table(&steps, &knees));
    }
    Ok(knees.iter().all(|knee| knee.holds.is_some()))
}

/// The report of one step, against a server that is started for it.
fn step(args: &SweepArgs, rate: f64, clients: usize) -> Result<Value, SweepError> {
    let instance = format!("sweep-{}", std::process::id());
    let hz = rate.to_string();
    let mut flags: Vec<String> = ["--matches", "1", "--tick-hz", &hz, "--game-option"].map(str::to_owned).into();
    flags.push(format!("capacity={clients}"));
    flags.extend_from_slice(&args.up);
    let server = RingfortServer::launch(args.server.as_deref(), &instance, &flags)?;
    let words = [
        format!("--server={}", server.address()),
        format!("--instance={instance}"),
        format!("--clients={clients}"),
        format!("--rate={rate}"),
        format!("--duration={}", args.duration),
        format!("--processes={}", args.processes),
        format!("--patience={}", WORKER_SILENCE.as_secs()),
        format!("--scenario={}", args.scenario.name()),
        "--freshness=0".to_owned(),
    ];
    let run = phases::flags(&words)?;
    let found = crew::conduct(&run)?;
    let report = Summary::new(&run, &found).json();
    server.stop();
    Ok(report)
}

/// A rate that a server can tick at, too.
fn parse_tick_rate(text: &str) -> Result<f64, FlagError> {
    let rate = parse_rate(text)?;
    if rate.fract() == 0.0 { Ok(rate) } else { Err(FlagError::Whole) }
}

/// Why a step does not hold.
fn broken(report: &Value, rate: f64, limit_ms: f64) -> Vec<String> {
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64);
    let mut reasons = Vec::new();
    for what in ["failed", "disconnected"] {
        let count = number(&format!("/clients/{what}")).unwrap_or(0.0);
        if count > 0.0 {
            reasons.push(format!("{count} {what}"));
        }
    }
    let unacknowledged = unacknowledged_percent(report);
    if unacknowledged > UNACKNOWLEDGED_MAX_PERCENT {
        reasons.push(format!("{unacknowledged:.2} % unacknowledged"));
    }
    // What is not known holds nothing.
    match number("/latency_ms/network/p99") {
        Some(p99) if p99 > limit_ms => reasons.push(format!("p99 {p99:.0} ms")),
        Some(_) => {}
        None => reasons.push("p99 unknown".to_owned()),
    }
    match number("/server/tick_late_us/max").map(|late_us| late_us / 1e3) {
        Some(late_ms) if late_ms > 1e3 / rate => reasons.push(format!("tick {late_ms:.0} ms late")),
        Some(_) => {}
        None => reasons.push("lateness of ticks unknown".to_owned()),
    }
    reasons
}

fn unacknowledged_percent(report: &Value) -> f64 {
    let count = |what: &str| report["inputs"][what].as_f64().unwrap_or(0.0);
    let lost = count("sent") - count("acknowledged") - count("rejected") - count("abandoned");
    if count("sent") > 0.0 { 100.0 * lost.max(0.0) / count("sent") } else { 100.0 }
}

impl Step {
    fn json(&self) -> Value {
        json!({ "rate_hz": self.rate, "clients": self.clients, "holds": self.broken.is_empty(), "broken": self.broken, "report": self.report })
    }
}

/// Where it breaks at one rate.
struct Knee {
    rate: f64,
    /// The most clients that held.
    holds: Option<usize>,
    /// The fewest that did not, if it came to that.
    breaks: Option<usize>,
}

impl Knee {
    fn of(rate: f64, steps: &[Step]) -> Knee {
        let of_rate = || steps.iter().filter(|step| step.rate == rate);
        let holds = of_rate().filter(|step| step.broken.is_empty()).map(|step| step.clients).max();
        let breaks = of_rate().filter(|step| !step.broken.is_empty()).map(|step| step.clients).min();
        Knee { rate, holds, breaks }
    }

    fn json(&self) -> Value {
        json!({ "rate_hz": self.rate, "holds": self.holds, "breaks": self.breaks })
    }
}

fn table(steps: &[Step], knees: &[Knee]) -> String {
    let mut text = format!(
        "{:>6} {:>8} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9}  \n",
        "Hz", "clients", "p50 ms", "p99 ms", "lost %", "server", "generator", "late ms"
    );
    for step in steps {
        let number = |path: &str| step.report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let saturated = step.report["generator"]["saturated"] == true;
        let verdict = if step.broken.is_empty() { "holds".to_owned() } else { step.broken.join(", ") };
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{:>6} {:>8} {:>9.1} {:>9.1} {:>9.3} {:>6.0} % {:>7.0} % {:>9.1}  {verdict}{}",
            step.rate,
            step.clients,
            number("/latency_ms/network/p50"),
            number("/latency_ms/network/p99"),
            unacknowledged_percent(&step.report),
            number("/server/cpu_percent/total"),
            number("/generator/cpu_percent"),
            number("/server/tick_late_us/max") / 1e3,
            if saturated { "; the generator was late" } else { "" }
        );
    }
    for Knee { rate, holds, breaks } in knees {
        let _ = match (holds, breaks) {
            (Some(holds), Some(breaks)) => writeln!(text, "knee at {rate} Hz: {holds} clients hold, {breaks} do not"),
            (Some(holds), None) => writeln!(text, "knee at {rate} Hz: beyond {holds} clients"),
            (None, breaks) => writeln!(text, "knee at {rate} Hz: below {} clients", breaks.unwrap_or(0)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(p99: f64, acknowledged: u64, late_us: u64) -> Value {
        json!({
            "clients": { "failed": 0, "disconnected": 0 },
            "inputs": { "sent": 10_000, "acknowledged": acknowledged, "rejected": 0, "abandoned": 0 },
            "latency_ms": { "network": { "p50": 3.0, "p99": p99 } },
            "server": { "tick_late_us": { "max": late_us } },
        })
    }

    #[test]
    fn a_step_breaks_for_each_reason_and_says_which() {
        assert!(broken(&report(99.0, 9_990, 100_000), 10.0, 100.0).is_empty());
        assert_eq!(
            broken(&report(101.0, 9_989, 100_001), 10.0, 100.0),
            ["0.11 % unacknowledged", "p99 101 ms", "tick 100 ms late"]
        );
        let mut gone = report(1.0, 10_000, 0);
        gone["clients"] = json!({ "failed": 2, "disconnected": 1 });
        assert_eq!(broken(&gone, 10.0, 100.0), ["2 failed", "1 disconnected"]);
        assert_eq!(unacknowledged_percent(&json!({})), 100.0, "who sent nothing holds nothing");
        let mut unknown = report(1.0, 10_000, 0);
        (unknown["server"], unknown["latency_ms"]["network"]["p99"]) = (Value::Null, Value::Null);
        assert_eq!(broken(&unknown, 10.0, 100.0), ["p99 unknown", "lateness of ticks unknown"]);
    }

    #[test]
    fn a_server_ticks_at_whole_rates() {
        assert_eq!(
            ["10", "2.5", "0.5", "241", "nan"].map(|text| parse_tick_rate(text).ok()),
            [Some(10.0), None, None, None, None]
        );
    }

    #[test]
    fn the_knee_is_between_the_last_that_held_and_the_first_that_did_not() {
        let step = |rate, clients, broken: &[&str]| Step {
            rate,
            clients,
            report: report(5.0, 10_000, 0),
            broken: broken.iter().map(|why| (*why).to_owned()).collect(),
        };
        let steps = [
            step(4.0, 10, &[]),
            step(4.0, 20, &[]),
            step(10.0, 10, &[]),
            step(10.0, 20, &["p99 200 ms"]),
            step(20.0, 10, &["x"]),
        ];
        let knees: Vec<Knee> = [4.0, 10.0, 20.0].iter().map(|rate| Knee::of(*rate, &steps)).collect();
        let table = table(&steps, &knees);
        for line in
            ["knee at 4 Hz: beyond 20 clients", "knee at 10 Hz: 10 clients hold, 20 do not", "knee at 20 Hz: below 10 clients"]
        {
            assert!(table.contains(line), "{table}");
        }
        assert_eq!(table.lines().count(), 1 + 5 + 3);
        assert_eq!(knees[1].json(), json!({ "rate_hz": 10.0, "holds": 10, "breaks": 20 }));
    }
}
