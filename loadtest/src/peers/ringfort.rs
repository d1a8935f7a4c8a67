//! Ringfort itself: a private instance, and our own generator as its load.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::plan::Plan;
use super::sample::{Freshness, Sample};
use super::server::RingfortServer;
use super::{PeersError, last_line, spawn, window};
use crate::limits;
use crate::run::Partial;

/// Which programs are run.
#[derive(Clone, Debug, Default)]
pub(super) struct Build {
    /// The server; by default the one beside this program.
    pub(super) server: Option<PathBuf>,
    /// The load generator; by default this program.
    pub(super) generator: Option<PathBuf>,
    /// Whether the players keep to the square of a battle, which older generators do not know.
    pub(super) battle: bool,
}

/// Measures one build, with `players` to a match.
pub(super) fn measure(plan: &Plan, players: usize, build: &Build) -> Result<Sample, PeersError> {
    let server = RingfortServer::start(plan, players, build.server.as_deref())?;
    let mut command = match &build.generator {
        Some(generator) => Command::new(generator),
        None => Command::new(std::env::current_exe().map_err(PeersError::Io)?),
    };
    command.args(["worker", "--server", &server.address().to_string(), "--clients", &plan.clients.to_string()]);
    command.args(["--rate", &plan.rate.to_string(), "--duration", &plan.load_seconds().to_string()]);
    if build.battle {
        let watched = limits::FRESHNESS_CLIENTS.min(plan.clients).to_string();
        command.args(["--home", &plan.half().to_string(), "--instance", server.instance(), "--freshness", &watched]);
    }
    let (load, role) = (spawn(command)?, "load generator");
    let mut before = None;
    let window = window::measure(plan, plan.connect_patience(), &load, role, || {
        before = Packets::read(&server);
        server.processes()
    })?;
    let packets = before.zip(Packets::read(&server)).map(|(before, after)| after.since(&before));
    let partial: Partial = last_line(plan, &load, role)?;
    for (reason, count) in &partial.reasons {
        eprintln!("{count} x {reason}");
    }
    let stayed = partial.connected - partial.disconnected.min(partial.connected);
    if stayed < plan.clients {
        return Err(PeersError::NotConnected { connected: stayed, requested: plan.clients });
    }
    server.stop();
    let per_second = partial.snapshots as f64 / partial.seconds;
    let down_bytes = partial.snapshot_bytes as f64 / partial.snapshots.max(1) as f64;
    Ok(Sample {
        down_bytes,
        down_kb_per_s: per_second * down_bytes / plan.clients as f64 / 1e3,
        delivered: per_second / plan.answers_per_second(),
        network_ms_p50: Some(partial.network.ms_at(0.5)),
        network_ms_p99: Some(partial.network.ms_at(0.99)),
        packets_out: packets.map(|(sent, snapshots, ..)| sent / snapshots.max(1.0)),
        packets_in: packets.map(|(_, _, received, seconds)| received / (plan.inputs_per_second() * seconds)),
        freshness: freshness(&partial),
        generator_cpu_percent: partial.cpu_percent,
        generator_late_ms_p99: partial.late.ms_at(0.99),
        ..window.sample(plan)
    })
}

fn freshness(partial: &Partial) -> Option<Freshness> {
    let json = partial.freshness.json()?;
    let figure = |path: &str| json.pointer(path).and_then(Value::as_f64);
    Some(Freshness {
        near_ticks_p50: figure("/nearest/age_ticks/p50")?,
        near_ticks_p99: figure("/nearest/age_ticks/p99")?,
        all_ticks_p50: figure("/within_sight/age_ticks/p50")?,
        all_ticks_p99: figure("/within_sight/age_ticks/p99")?,
        within_sight: figure("/within_sight_mean")?,
        missing_percent: figure("/within_sight/missing_percent"),
    })
}

/// The front-ends' counts at one moment.
struct Packets {
    at: Instant,
    status: Value,
}

impl Packets {
    fn read(server: &RingfortServer) -> Option<Packets> {
        server.status().map(|status| Packets { at: Instant::now(), status })
    }

    fn count(&self, name: &str) -> f64 {
        self.status["counters"][name].as_f64().unwrap_or(0.0)
    }

    /// Packets sent, snapshots, packets received, and seconds since `before`.
    fn since(&self, before: &Packets) -> (f64, f64, f64, f64) {
        let grown = |name| self.count(name) - before.count(name);
        (grown("fe_udp_out"), grown("fe_snapshots"), grown("fe_udp_in"), (self.at - before.at).as_secs_f64())
    }
}
