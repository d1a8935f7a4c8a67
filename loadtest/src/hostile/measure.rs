//! `hostile`: how long players wait for an answer with and without attackers in their match, in turns.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::HostileError;
use crate::children::Child;
use crate::limits::{
    ATTACKER_PACKETS_PER_SECOND, ATTACKERS_MAX, CONNECT_PATIENCE, CONNECTS_PER_SECOND, MOB_LEAD, PEER_PATIENCE, SERVER_QUIET,
};
use crate::peers::RingfortServer;

/// Connections that one address may have beyond the players'.
const CONNECTIONS_SPARE: usize = 20;

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HostileArgs {
    /// Players, all in one match
    #[arg(long, value_name = "N", default_value_t = 200)]
    players: usize,
    /// Attackers, who join the same match
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=ATTACKERS_MAX))]
    attackers: u32,
    /// Pairs of runs, one without and one with attackers
    #[arg(long, value_name = "N", default_value_t = 10)]
    pairs: usize,
    /// Seconds of each run
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// Inputs a second and player, and ticks of the match
    #[arg(long, value_name = "HZ", default_value_t = 20)]
    hz: u32,
    /// What players and attackers draw from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// The server's program; by default the one beside this program
    #[arg(long)]
    ringfort: Option<PathBuf>,
}

/// What one run found.
struct Run {
    p50_ms: f64,
    p99_ms: f64,
    /// Processor time of front-ends and sims, as a share of one core.
    server_percent: f64,
    /// What the server's limits have held back.
    limited: Vec<u64>,
}

/// Counters of limits, and how they are called in a line.
const LIMITS: [(&str, &str); 9] = [
    ("fe_packets_limited", "packets"),
    ("fe_strangers_limited", "strangers"),
    ("fe_handshakes_retried", "retries"),
    ("fe_handshakes_limited", "handshakes"),
    ("fe_addresses_full", "connections"),
    ("fe_commands_limited", "commands"),
    ("fe_joins_limited", "joins"),
    ("fe_floods", "floods closed"),
    ("sim_inputs_over_credit", "inputs"),
];

/// Measures all pairs and prints them; whether the median is within a tenth is for the reader.
pub(crate) fn run(args: &HostileArgs) -> Result<(), HostileError> {
    let server = start(args)?;
    let attackers = args.attackers;
    println!("pair   without ms p50 / p99   server   with {attackers} attackers p50 / p99   server   ratio of p99");
    let mut ratios = Vec::new();
    for pair in 0..args.pairs {
        // The order changes from pair to pair, so that a machine that becomes slower favours neither.
        let order = if pair % 2 == 0 { [false, true] } else { [true, false] };
        let mut runs = [None, None];
        for hostile in order {
            runs[usize::from(hostile)] = Some(measure(args, &server, pair as u64, hostile)?);
        }
        let [Some(without), Some(with)] = runs else { continue };
        let ratio = with.p99_ms / without.p99_ms;
        println!(
            "{:>4}   {:>10.1} / {:<10.1} {:>4.0} %   {:>21.1} / {:<8.1} {:>4.0} %   {ratio:.3}",
            pair + 1,
            without.p50_ms,
            without.p99_ms,
            without.server_percent,
            with.p50_ms,
            with.p99_ms,
            with.server_percent
        );
        let held = LIMITS.iter().zip(&with.limited).map(|((_, name), count)| format!("{count} {name}"));
        println!("       held back: {}", held.collect::<Vec<_>>().join(", "));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (Some(least), Some(greatest)) = (ratios.first(), ratios.last()) else { return Ok(()) };
    let median = (ratios[(ratios.len() - 1) / 2] + ratios[ratios.len() / 2]) / 2.0;
    println!("ratio of p99 with attackers to without: median {median:.3} ({least:.3} .. {greatest:.3})");
    let [slow, limit, fast] = ATTACKER_PACKETS_PER_SECOND;
    println!("attackers send at most {slow}, {limit} and {fast} packets a second, in turns, one attack after the other");
    server.stop();
    Ok(())
}

/// An instance in which addresses of this machine count as any others do: attackers have one each.
fn start(args: &HostileArgs) -> Result<RingfortServer, HostileError> {
    let file = std::env::temp_dir().join(format!("ringfort-hostile-{}.toml", std::process::id()));
    // So many connections are the players', who have one address.
    let text = format!("[limits]\nexempt_loopback = false\nconnections = {}\n", args.players + CONNECTIONS_SPARE);
    fs::write(&file, text).map_err(|source| HostileError::Write { path: file.clone(), source })?;
    let capacity = args.players + args.attackers as usize * 2;
    let flags = ["--tick-hz", &args.hz.to_string(), "--game-option", &format!("capacity={capacity}"), "--config"];
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(file.display().to_string());
    let server = RingfortServer::launch(args.ringfort.as_deref(), &format!("hostile-{}", std::process::id()), &flags);
    // It was read when the server was up; one that is left does no harm.
    let _ = fs::remove_file(&file);
    Ok(server?)
}

fn limits_of(server: &RingfortServer) -> Vec<u64> {
    let status = server.status().unwrap_or(Value::Null);
    LIMITS.iter().map(|(counter, _)| status["counters"][counter].as_u64().unwrap_or(0)).collect()
}

fn measure(args: &HostileArgs, server: &RingfortServer, pair: u64, hostile: bool) -> Result<Run, HostileError> {
    let ramp = args.players as f64 / CONNECTS_PER_SECOND;
    let limited = limits_of(server);
    let mob = if hostile { Some(mob(args, server, pair, ramp)?) } else { None };
    let (before, began) = (server.cpu()?, Instant::now());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "--server", &server.address().to_string(), "--clients", &args.players.to_string(), "--json", "-"]);
    command.args(["--rate", &args.hz.to_string(), "--duration", &args.seconds.to_string()]);
    command.args(["--seed", &(args.seed + pair).to_string()]).stderr(std::process::Stdio::null());
    let report: Value = serde_json::from_slice(&command.output()?.stdout).map_err(|_| HostileError::Silent("players'"))?;
    let server_percent = 100.0 * (server.cpu()? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let lost = |what: &str| report["clients"][what].as_u64().unwrap_or(0) as usize;
    if lost("failed") + lost("disconnected") > 0 {
        return Err(HostileError::Players(lost("failed") + lost("disconnected")));
    }
    if let Some(mob) = mob {
        let patience = Duration::from_secs_f64(args.seconds + ramp) + CONNECT_PATIENCE + PEER_PATIENCE;
        let told = mob.line(patience).ok_or(HostileError::Silent("attackers'"))?;
        eprintln!("  {told}");
    }
    let limited = limits_of(server).iter().zip(limited).map(|(after, before)| after.saturating_sub(before)).collect();
    wait_until_quiet(server)?;
    let latency = |quantile: &str| report["latency_ms"]["input_to_snapshot"][quantile].as_f64().unwrap_or(f64::NAN);
    Ok(Run { limited, p50_ms: latency("p50"), p99_ms: latency("p99"), server_percent })
}

/// The attackers, from a moment before the players come until a moment after they have gone.
fn mob(args: &HostileArgs, server: &RingfortServer, pair: u64, ramp: f64) -> Result<Child, HostileError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["mob", "--server", &server.address().to_string(), "--attackers", &args.attackers.to_string()]);
    command.args(["--seconds", &(args.seconds + ramp + 2.0 * MOB_LEAD.as_secs_f64() + 1.0).to_string()]);
    command.args(["--seed", &(args.seed + pair).to_string()]);
    let mob = Child::spawn(command)?;
    std::thread::sleep(MOB_LEAD);
    Ok(mob)
}

/// Waits until the connections of a run are over, those of attackers that went without a word included.
fn wait_until_quiet(server: &RingfortServer) -> Result<(), HostileError> {
    let until = Instant::now() + SERVER_QUIET;
    while Instant::now() < until {
        let status = server.status().unwrap_or(Value::Null);
        if status["counters"]["fe_connections"].as_u64() == Some(0) && status["sessions"].as_u64() == Some(0) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(HostileError::Silent("server's"))
}
