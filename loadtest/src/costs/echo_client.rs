//! The load of the baselines: clients in one bare loop that send a datagram each at fixed times and count answers.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::bare_loop::{App, BareLoop};
use super::error::CostsError;
use super::trust;
use crate::schedule::Schedule;
use crate::{cpu, limits};

/// What the baseline's load is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EchoClientArgs {
    /// The server.
    #[arg(long)]
    pub(crate) server: SocketAddr,
    /// Its certificate, in hexadecimal digits.
    #[arg(long)]
    pub(crate) certificate: String,
    /// How many clients.
    #[arg(long)]
    pub(crate) clients: usize,
    /// Datagrams a second and client.
    #[arg(long)]
    pub(crate) hz: u32,
    /// Bytes of each.
    #[arg(long)]
    pub(crate) bytes: usize,
    /// How long they send, in seconds.
    #[arg(long)]
    pub(crate) duration: f64,
}

/// What the load has to tell at its end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct EchoReport {
    /// Clients that connected.
    pub(crate) connected: usize,
    /// Clients that could not connect or lost their connection.
    pub(crate) lost: usize,
    /// Datagrams sent while all were connected.
    pub(crate) sent: u64,
    /// Answers received in that time.
    pub(crate) received: u64,
    /// How late the generator itself was, at the 99th percentile.
    pub(crate) late_ms_p99: f64,
    /// Its own use of a core while it sent.
    pub(crate) cpu_percent: f64,
}

#[derive(Default)]
struct Counters {
    connected: usize,
    lost: usize,
    received: u64,
}

impl App for Counters {
    type Peer = ();

    fn connected(&mut self, _index: usize, _peer: &mut ()) {
        self.connected += 1;
    }

    fn datagram(&mut self, _peer: &mut (), _bytes: &[u8]) -> Option<Bytes> {
        self.received += 1;
        None
    }

    fn lost(&mut self, _peer: &mut ()) {
        self.lost += 1;
    }
}

/// Connects, prints a line when all are there, sends for the duration, and prints an [`EchoReport`].
pub(crate) fn run(args: &EchoClientArgs) -> Result<(), CostsError> {
    let mut app = Counters::default();
    let mut endpoint = BareLoop::bind(super::LOOPBACK, None).map_err(CostsError::Socket)?;
    connect_all(args, &mut endpoint, &mut app)?;
    tell(crate::run::CONNECTED)?;
    let report = send_all(args, &mut endpoint, &mut app)?;
    tell(&serde_json::to_string(&report).map_err(CostsError::Report)?)
}

fn connect_all(args: &EchoClientArgs, endpoint: &mut BareLoop<Counters>, app: &mut Counters) -> Result<(), CostsError> {
    let config = trust::client(&args.certificate)?;
    let patience =
        Instant::now() + limits::CONNECT_PATIENCE + Duration::from_secs_f64(args.clients as f64 / limits::CONNECTS_PER_SECOND);
    let mut started = 0;
    while app.connected + app.lost < args.clients && Instant::now() < patience {
        while started < args.clients && started - (app.connected + app.lost).min(started) < limits::HANDSHAKES_MAX {
            endpoint.connect(config.clone(), args.server)?;
            started += 1;
        }
        endpoint.turn(app, patience).map_err(CostsError::Socket)?;
    }
    if app.connected < args.clients {
        return Err(CostsError::NotConnected { connected: app.connected, requested: args.clients });
    }
    Ok(())
}

fn send_all(args: &EchoClientArgs, endpoint: &mut BareLoop<Counters>, app: &mut Counters) -> Result<EchoReport, CostsError> {
    let payload = Bytes::from(vec![0x02; args.bytes]);
    let period = Duration::from_secs(1) / args.hz.max(1);
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.duration);
    let mut schedule = Schedule::new(start, period, args.clients);
    let mut late_us = Histogram::<u64>::new_with_bounds(1, limits::LATENCY_US_MAX, 3)?;
    let (mut sent, before, used) = (0, app.received, cpu::used_by_self().map_err(CostsError::Socket)?);
    while Instant::now() < end {
        endpoint.turn(app, schedule.next_due().min(end)).map_err(CostsError::Socket)?;
        let now = Instant::now();
        while let Some((client, due)) = schedule.take_due(now) {
            late_us.saturating_record((now - due).as_micros() as u64);
            sent += u64::from(endpoint.send(client, payload.clone()));
        }
    }
    let used = cpu::used_by_self().map_err(CostsError::Socket)? - used;
    Ok(EchoReport {
        connected: app.connected,
        lost: app.lost,
        sent,
        received: app.received - before,
        late_ms_p99: late_us.value_at_quantile(0.99) as f64 / 1e3,
        cpu_percent: 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64(),
    })
}

fn tell(line: &str) -> Result<(), CostsError> {
    println!("{line}");
    io::stdout().flush().map_err(CostsError::Socket)
}
