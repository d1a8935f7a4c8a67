//! The load of the echo peers: clients in one loop that send a datagram each at fixed times, and what the answers say.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfort_peers::{Answer, App, LOOPBACK, OneLoop, PeerError, Question, Timers, period};
use serde::{Deserialize, Serialize};

use super::error::PeersError;
use crate::run::Latency;
use crate::schedule::Schedule;
use crate::{cpu, limits};

/// What the load of an echo peer is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EchoLoadArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// Its certificate, in hexadecimal digits.
    #[arg(long)]
    certificate: String,
    /// How many clients.
    #[arg(long)]
    clients: usize,
    /// Datagrams a second and client.
    #[arg(long)]
    hz: u32,
    /// Bytes of each.
    #[arg(long)]
    bytes: usize,
    /// How long they send, in seconds.
    #[arg(long)]
    duration: f64,
    /// Round timers to the tick, as the server does.
    #[arg(long)]
    rounded: bool,
}

/// What the load has to tell at its end. Counts are of the time in which it sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct EchoReport {
    /// How long it sent, in seconds.
    pub(super) seconds: f64,
    /// Datagrams sent.
    pub(super) sent: u64,
    /// Answers received.
    pub(super) received: u64,
    /// UDP packets sent.
    pub(super) packets_sent: u64,
    /// UDP packets received.
    pub(super) packets_received: u64,
    /// From the sending of a datagram to the first answer that names it, without its wait for the tick: the median, in milliseconds.
    pub(super) network_ms_p50: f64,
    /// The same at the 99th percentile.
    pub(super) network_ms_p99: f64,
    /// How late datagrams left, at the 99th percentile, in milliseconds.
    pub(super) late_ms_p99: f64,
    /// Use of one core.
    pub(super) cpu_percent: f64,
}

/// What is counted of all clients.
struct Crowd {
    epoch: Instant,
    connected: usize,
    lost: usize,
    received: u64,
    network: Latency,
}

/// What is kept of one client.
#[derive(Default)]
struct Client {
    /// Number of its newest datagram.
    sent: u32,
    /// Number of the newest that an answer has named.
    answered: u32,
}

impl App for Crowd {
    type Peer = Client;

    fn connected(&mut self, _client: &mut Client) {
        self.connected += 1;
    }

    fn datagram(&mut self, now: Instant, client: &mut Client, bytes: &[u8]) {
        self.received += 1;
        let Some(answer) = Answer::decode(bytes) else { return };
        if answer.question.number > client.answered {
            client.answered = answer.question.number;
            let whole = self.us_at(now).saturating_sub(answer.question.sent_us);
            self.network.record(Duration::from_micros(whole.saturating_sub(answer.waited_us.into())));
        }
    }

    fn lost(&mut self, _client: &mut Client) {
        self.lost += 1;
    }
}

impl Crowd {
    fn us_at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }
}

/// Connects, prints a line when all are there, sends for the duration, and prints an [`EchoReport`].
pub(crate) fn run(args: &EchoLoadArgs) -> Result<(), PeersError> {
    let mut crowd = Crowd { epoch: Instant::now(), connected: 0, lost: 0, received: 0, network: Latency::default() };
    let timers = if args.rounded { Timers::Rounded { tick: period(args.hz) } } else { Timers::Exact };
    let mut endpoint = OneLoop::bind(LOOPBACK, None, timers).map_err(PeersError::Io)?;
    connect_all(args, &mut endpoint, &mut crowd)?;
    tell(crate::run::CONNECTED)?;
    let report = send_all(args, &mut endpoint, &mut crowd)?;
    tell(&serde_json::to_string(&report).map_err(PeersError::Report)?)
}

fn connect_all(args: &EchoLoadArgs, endpoint: &mut OneLoop<Crowd>, crowd: &mut Crowd) -> Result<(), PeersError> {
    let config = ringfort_peers::client(&args.certificate)?;
    let patience =
        Instant::now() + limits::CONNECT_PATIENCE + Duration::from_secs_f64(args.clients as f64 / limits::CONNECTS_PER_SECOND);
    let mut started = 0;
    while crowd.connected + crowd.lost < args.clients && Instant::now() < patience {
        while started < args.clients && started - (crowd.connected + crowd.lost).min(started) < limits::HANDSHAKES_MAX {
            endpoint.connect(config.clone(), args.server).map_err(PeerError::Connect)?;
            started += 1;
        }
        endpoint.turn(crowd, patience).map_err(PeersError::Io)?;
    }
    all_there(args, crowd)
}

fn all_there(args: &EchoLoadArgs, crowd: &Crowd) -> Result<(), PeersError> {
    let connected = crowd.connected - crowd.lost.min(crowd.connected);
    if connected < args.clients {
        return Err(PeersError::NotConnected { connected, requested: args.clients });
    }
    Ok(())
}

fn send_all(args: &EchoLoadArgs, endpoint: &mut OneLoop<Crowd>, crowd: &mut Crowd) -> Result<EchoReport, PeersError> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.duration);
    let mut schedule = Schedule::new(start, period(args.hz), args.clients);
    let mut late = Latency::default();
    let (mut sent, before, packets) = (0, crowd.received, endpoint.packets());
    let used = cpu::used_by_self().map_err(PeersError::Io)?;
    while Instant::now() < end {
        endpoint.turn(crowd, schedule.next_due().min(end)).map_err(PeersError::Io)?;
        let now = Instant::now();
        while let Some((index, due)) = schedule.take_due(now) {
            late.record(now - due);
            let Some(client) = endpoint.peer(index) else { continue };
            client.sent += 1;
            let question = Question { number: client.sent, sent_us: crowd.us_at(now) };
            sent += u64::from(endpoint.send(index, question.encode(args.bytes)));
        }
    }
    let (used, seconds) = (cpu::used_by_self().map_err(PeersError::Io)? - used, start.elapsed().as_secs_f64());
    let packets_now = endpoint.packets();
    all_there(args, crowd)?;
    Ok(EchoReport {
        seconds,
        sent,
        received: crowd.received - before,
        packets_sent: packets_now.sent - packets.sent,
        packets_received: packets_now.received - packets.received,
        network_ms_p50: crowd.network.ms_at(0.5),
        network_ms_p99: crowd.network.ms_at(0.99),
        late_ms_p99: late.ms_at(0.99),
        cpu_percent: 100.0 * used.as_secs_f64() / seconds,
    })
}

fn tell(line: &str) -> Result<(), PeersError> {
    println!("{line}");
    io::stdout().flush().map_err(PeersError::Io)
}
