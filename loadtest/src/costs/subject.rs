//! One sample: a server and its load in processes of their own, and the server's processor time over the window.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringfort_protocol::limits::MIN_CLIENT_DATAGRAM;

use super::echo_client::EchoReport;
use super::ringfort_server::RingfortServer;
use super::{CostsArgs, CostsError};
use crate::children::Child;
use crate::run::Partial;
use crate::{cpu, limits};

/// Share of the expected datagrams that must arrive for a sample to count.
const KEPT_UP_SHARE: f64 = 0.95;

/// A server whose cost is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Ringfort: front-ends and sims.
    Ringfort,
    /// The echo on tokio quinn.
    TokioQuinn,
    /// The echo on a bare quinn-proto loop.
    QuinnProto,
}

impl Subject {
    /// In the order of a round: Ringfort first, because it gives the others their datagram's size.
    pub(super) const ALL: [Subject; 3] = [Subject::Ringfort, Subject::TokioQuinn, Subject::QuinnProto];

    pub(super) fn name(self) -> &'static str {
        match self {
            Subject::Ringfort => "ringfort",
            Subject::TokioQuinn => "tokio_quinn",
            Subject::QuinnProto => "quinn_proto",
        }
    }
}

/// What one subject cost in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Processor time of the server's processes.
    pub(super) us_per_client_tick: f64,
    /// The same as a share of one core.
    pub(super) cpu_percent: f64,
    /// Mean bytes of a datagram down.
    pub(super) down_bytes: usize,
    /// Datagrams that came down, as a share of one per client and tick.
    pub(super) delivered: f64,
    /// The load generator's own use of a core.
    pub(super) generator_cpu_percent: f64,
}

impl Sample {
    /// Whether the server delivered what it should; if not, its cost is that of doing less.
    pub(super) fn kept_up(&self) -> bool {
        self.delivered >= KEPT_UP_SHARE
    }
}

/// Starts the subject and its load, and measures.
pub(super) fn measure(subject: Subject, args: &CostsArgs, down_bytes: usize) -> Result<Sample, CostsError> {
    match subject {
        Subject::Ringfort => measure_ringfort(args),
        Subject::TokioQuinn => measure_echo("tokio-quinn", args, down_bytes),
        Subject::QuinnProto => measure_echo("quinn-proto", args, down_bytes),
    }
}

fn measure_echo(stack: &str, args: &CostsArgs, down_bytes: usize) -> Result<Sample, CostsError> {
    let mut command = ourselves("echo-server")?;
    command.args(["--stack", stack, "--answer", args.answer.flag()]);
    command.args(["--hz", &args.hz.to_string(), "--bytes", &down_bytes.to_string()]);
    let server = spawn(command)?;
    let line = server.line(limits::SERVER_START).ok_or(CostsError::ChildSilent { role: "baseline server" })?;
    let (port, certificate) = line.split_once(' ').ok_or(CostsError::ChildSilent { role: "baseline server" })?;

    let mut command = ourselves("echo-client")?;
    command.args(["--server", &format!("127.0.0.1:{port}"), "--certificate", certificate]);
    command.args(["--clients", &args.clients.to_string()]);
    command.args(["--hz", &args.hz.to_string(), "--bytes", &MIN_CLIENT_DATAGRAM.to_string()]);
    command.args(["--duration", &args.load_seconds().to_string()]);
    let (load, role) = (spawn(command)?, "baseline load");
    let used = used_in_window(args, &load, role, || Ok(vec![server.pid()]))?;
    let report: EchoReport = last_line(args, &load, role)?;
    Ok(sample(args, used, down_bytes, report.received, report.cpu_percent))
}

fn measure_ringfort(args: &CostsArgs) -> Result<Sample, CostsError> {
    let server = RingfortServer::start(args)?;
    let mut command = match &args.generator {
        Some(generator) => Command::new(generator),
        None => Command::new(std::env::current_exe().map_err(CostsError::Socket)?),
    };
    command.args(["worker", "--server", &server.address().to_string(), "--clients", &args.clients.to_string()]);
    command.args(["--rate", &args.rate.unwrap_or(args.hz).to_string(), "--duration", &args.load_seconds().to_string()]);
    let (load, role) = (spawn(command)?, "load generator");
    let used = used_in_window(args, &load, role, || server.counted(args.supervisor))?;
    let partial: Partial = last_line(args, &load, role)?;
    for (reason, count) in &partial.reasons {
        eprintln!("{count} x {reason}");
    }
    if partial.connected < args.clients {
        return Err(CostsError::NotConnected { connected: partial.connected, requested: args.clients });
    }
    server.stop();
    let mean = partial.snapshot_bytes / partial.snapshots.max(1);
    Ok(sample(args, used, mean as usize, partial.snapshots, partial.cpu_percent))
}

/// Waits until the load says that all are connected and has settled; returns the time used within the window.
fn used_in_window(
    args: &CostsArgs,
    load: &Child,
    role: &'static str,
    workers: impl FnOnce() -> Result<Vec<u32>, CostsError>,
) -> Result<(Duration, Duration), CostsError> {
    let connect = Duration::from_secs_f64(args.clients as f64 / limits::CONNECTS_PER_SECOND);
    let patience = limits::CONNECT_PATIENCE + 2 * connect;
    if load.line(patience).as_deref() != Some(crate::run::CONNECTED) {
        return Err(CostsError::ChildSilent { role });
    }
    thread::sleep(args.settle());
    let workers = workers()?;
    let sum = || {
        let used = workers.iter().map(|&pid| cpu::used(pid)).sum::<std::io::Result<Duration>>();
        used.map_err(|source| CostsError::ServerDied { role: "server", source })
    };
    let (before, start) = (sum()?, Instant::now());
    thread::sleep(args.window());
    Ok((sum()? - before, start.elapsed()))
}

fn sample(
    args: &CostsArgs,
    (used, window): (Duration, Duration),
    down_bytes: usize,
    received: u64,
    generator_cpu_percent: f64,
) -> Sample {
    let per_second = args.clients as f64 * f64::from(args.hz);
    Sample {
        us_per_client_tick: used.as_secs_f64() * 1e6 / (per_second * window.as_secs_f64()),
        cpu_percent: 100.0 * used.as_secs_f64() / window.as_secs_f64(),
        down_bytes,
        delivered: received as f64 / (per_second * args.load_seconds()),
        generator_cpu_percent,
    }
}

fn last_line<T: serde::de::DeserializeOwned>(args: &CostsArgs, load: &Child, role: &'static str) -> Result<T, CostsError> {
    let patience = Duration::from_secs_f64(args.load_seconds()) + limits::GRACE + limits::CONNECT_PATIENCE;
    let line = load.line(patience).ok_or(CostsError::ChildSilent { role })?;
    serde_json::from_str(&line).map_err(CostsError::Report)
}

fn ourselves(role: &str) -> Result<Command, CostsError> {
    let mut command = Command::new(std::env::current_exe().map_err(CostsError::Socket)?);
    command.arg(role);
    Ok(command)
}

pub(super) fn spawn(command: Command) -> Result<Child, CostsError> {
    let program = command.get_program().into();
    Child::spawn(command).map_err(|source| CostsError::Spawn { program, source })
}
