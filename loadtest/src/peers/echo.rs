//! The echo peers: started from their programs, loaded by [`super::echo_load`].

use std::process::Command;

use ringfort_peers::ANSWER_BYTES_MIN;
use ringfort_protocol::limits::MIN_CLIENT_DATAGRAM;

use super::echo_load::EchoReport;
use super::plan::Plan;
use super::sample::Sample;
use super::{PeersError, last_line, ourselves, spawn, window};
use crate::limits;

/// One of the echo peers.
#[derive(Clone, Copy)]
pub(super) struct Echo {
    /// Its program, which lies beside ours.
    pub(super) program: &'static str,
    /// What it is told beside rate and size.
    pub(super) flags: &'static [&'static str],
    /// Whether both ends round their timers.
    pub(super) rounded: bool,
}

/// Measures one of them, with answers of `down_bytes` bytes.
pub(super) fn measure(echo: Echo, plan: &Plan, down_bytes: usize) -> Result<Sample, PeersError> {
    let program = std::env::current_exe().map_err(PeersError::Io)?.with_file_name(echo.program);
    let (hz, bytes) = (plan.hz.to_string(), down_bytes.max(ANSWER_BYTES_MIN).to_string());
    let mut command = Command::new(program);
    command.args(["--until-input-ends", "--hz", &hz, "--bytes", &bytes]).args(echo.flags);
    let server = spawn(command)?;
    let line = server.line(limits::SERVER_START).ok_or(PeersError::ChildSilent { role: "echo peer" })?;
    let (port, certificate) = line.split_once(' ').ok_or(PeersError::ChildSilent { role: "echo peer" })?;

    let mut command = ourselves("echo-load")?;
    command.args(["--server", &format!("127.0.0.1:{port}"), "--certificate", certificate]);
    command.args(["--clients", &plan.clients.to_string(), "--hz", &plan.rate.to_string()]);
    command.args(["--bytes", &MIN_CLIENT_DATAGRAM.to_string(), "--duration", &plan.load_seconds().to_string()]);
    command.args(echo.rounded.then_some("--rounded"));
    let (load, role) = (spawn(command)?, "echo peer's load");
    let window = window::measure(plan, plan.connect_patience(), &load, role, || Ok(vec![server.pid()]))?;
    let report: EchoReport = last_line(plan, &load, role)?;
    let per_second = report.received as f64 / report.seconds;
    Ok(Sample {
        down_bytes: down_bytes as f64,
        down_kb_per_s: per_second * down_bytes as f64 / plan.clients as f64 / 1e3,
        delivered: per_second / plan.answers_per_second(),
        network_ms_p50: Some(report.network_ms_p50),
        network_ms_p99: Some(report.network_ms_p99),
        // What the load receives is what the server has sent.
        packets_out: Some(report.packets_received as f64 / report.received.max(1) as f64),
        packets_in: Some(report.packets_sent as f64 / report.sent.max(1) as f64),
        generator_cpu_percent: report.cpu_percent,
        generator_late_ms_p99: report.late_ms_p99,
        ..window.sample(plan)
    })
}
