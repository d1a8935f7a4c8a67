//! The load on a Colyseus room: WebSocket clients in one loop that join, send inputs at fixed times, and read patches without decoding them.
//!
//! The SDK in JavaScript decodes what it is sent, and two thousand of it would leave the server no processor; a few clients on it
//! (`watch.mjs`) tell how fresh their world is, and these make the crowd.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringfort_peers::period;
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use super::error::PeersError;
use super::walker::Walker;
use crate::run::Latency;
use crate::schedule::Schedule;
use crate::{cpu, limits};

/// What the messages begin with that Colyseus' clients and servers send each other.
mod code {
    pub(super) const JOIN_ROOM: u8 = 10;
    pub(super) const ROOM_STATE: u8 = 14;
    pub(super) const ROOM_STATE_PATCH: u8 = 15;
    pub(super) const ROOM_DATA_BYTES: u8 = 17;
    pub(super) const PING: u8 = 18;
}

/// Bytes of an input's message: as many as an input's datagram has.
const INPUT_BYTES: usize = ringfort_protocol::limits::MIN_CLIENT_DATAGRAM;
/// The message type of an input, in Colyseus' encoding of numbers.
const INPUT_TYPE: u8 = 0;
/// Clients that measure the way to the server and back, and how often.
const PINGERS: usize = 64;
const PINGS_PER_SECOND: u32 = 2;
/// Bytes that a client reads at once.
const READ_BYTES: usize = 16 * 1024;
/// Sockets that are read in one turn, at most.
const READY_MAX: usize = 1024;

/// What the load of a room is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ColyseusLoadArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// The room that all join.
    #[arg(long)]
    room: String,
    /// How many clients.
    #[arg(long)]
    clients: usize,
    /// Inputs a second and client.
    #[arg(long)]
    hz: u32,
    /// Half a side of the square that is played in, in metres.
    #[arg(long)]
    half: f32,
    /// How long they send, in seconds.
    #[arg(long)]
    duration: f64,
}

/// What the load has to tell at its end. Counts are of the time in which it sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ColyseusReport {
    /// Clients that joined and stayed.
    pub(super) stayed: usize,
    /// Why others did not.
    pub(super) reasons: BTreeMap<String, u64>,
    /// How long it sent, in seconds.
    pub(super) seconds: f64,
    /// Patches received.
    pub(super) patches: u64,
    /// Their bytes.
    pub(super) patch_bytes: u64,
    /// From a ping to its answer: the median, in milliseconds.
    pub(super) ping_ms_p50: f64,
    /// The same at the 99th percentile.
    pub(super) ping_ms_p99: f64,
    /// How late inputs left, at the 99th percentile, in milliseconds.
    pub(super) late_ms_p99: f64,
    /// Use of one core.
    pub(super) cpu_percent: f64,
}

struct Client {
    socket: WebSocket<TcpStream>,
    walker: Walker,
    /// It has the room's state.
    in_room: bool,
    inputs: u32,
    pinged: Option<Instant>,
}

struct Crowd<'a> {
    args: &'a ColyseusLoadArgs,
    http: ureq::Agent,
    epoll: std::os::fd::OwnedFd,
    ready: Vec<epoll::Event>,
    /// By number; `None` when it is gone.
    clients: Vec<Option<Client>>,
    pings: Latency,
    report: ColyseusReport,
}

/// Joins, prints a line when all are there or have failed, sends for the duration, and prints a [`ColyseusReport`].
pub(crate) fn run(args: &ColyseusLoadArgs) -> Result<(), PeersError> {
    allow_descriptors(args.clients)?;
    let mut crowd = Crowd {
        args,
        http: ureq::Agent::new_with_defaults(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from).map_err(PeersError::Io)?,
        ready: Vec::with_capacity(READY_MAX),
        clients: Vec::with_capacity(args.clients),
        pings: Latency::default(),
        report: ColyseusReport::default(),
    };
    crowd.join_all().map_err(PeersError::Io)?;
    tell(crate::run::CONNECTED)?;
    crowd.play().map_err(PeersError::Io)?;
    tell(&serde_json::to_string(&crowd.report).map_err(PeersError::Report)?)
}

impl Crowd<'_> {
    fn join_all(&mut self) -> io::Result<()> {
        let patience = Instant::now() + limits::COLYSEUS_JOIN_PATIENCE;
        for number in 0..self.args.clients {
            if Instant::now() > patience {
                break;
            }
            let client = match self.join(number) {
                Ok(client) => Some(client),
                Err(reason) => {
                    *self.report.reasons.entry(reason).or_default() += 1;
                    None
                }
            };
            if let Some(client) = &client {
                let data = epoll::EventData::new_u64(number as u64);
                epoll::add(&self.epoll, client.socket.get_ref(), data, epoll::EventFlags::IN)?;
            }
            self.clients.push(client);
            self.turn(Instant::now())?;
        }
        while self.clients.iter().flatten().any(|client| !client.in_room) && Instant::now() < patience {
            self.turn(patience)?;
        }
        Ok(())
    }

    /// Reserves a seat over HTTP and takes it over a WebSocket.
    fn join(&self, number: usize) -> Result<Client, String> {
        let walker = Walker::new(number as u64, self.args.half, self.args.hz);
        let (x, y) = walker.place();
        let url = format!("http://{}/matchmake/joinOrCreate/{}", self.args.server, self.args.room);
        let body = serde_json::json!({ "x": x, "y": y }).to_string();
        let answer = self.http.post(&url).header("content-type", "application/json").send(&body);
        let text =
            answer.and_then(|mut answer| answer.body_mut().read_to_string()).map_err(|error| format!("no seat: {error}"))?;
        let seat: serde_json::Value = serde_json::from_str(&text).map_err(|_| format!("no seat: {text}"))?;
        let part = |name: &str| seat[name].as_str().ok_or_else(|| format!("a seat without {name}: {text}"));
        let (process, room, session) = (part("processId")?, part("roomId")?, part("sessionId")?);
        let url = format!("ws://{}/{process}/{room}?sessionId={session}", self.args.server);
        let stream = TcpStream::connect(self.args.server).map_err(|error| format!("no connection: {error}"))?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        let connected = tungstenite::client::client_with_config(url, stream, Some(config));
        let (socket, _) = connected.map_err(|error| format!("no WebSocket: {error}"))?;
        let prepared = socket.get_ref().set_nodelay(true).and_then(|()| socket.get_ref().set_nonblocking(true));
        prepared.map_err(|error| format!("no WebSocket: {error}"))?;
        Ok(Client { socket, walker, in_room: false, inputs: 0, pinged: None })
    }

    fn play(&mut self) -> io::Result<()> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(self.args.duration);
        let mut schedule = Schedule::new(start, period(self.args.hz), self.clients.len());
        let mut late = Latency::default();
        (self.report.patches, self.report.patch_bytes, self.pings) = (0, 0, Latency::default());
        let used = cpu::used_by_self()?;
        while Instant::now() < end {
            self.turn(schedule.next_due().min(end))?;
            let now = Instant::now();
            while let Some((number, due)) = schedule.take_due(now) {
                late.record(now - due);
                self.send_input(number, now);
            }
        }
        self.report.seconds = start.elapsed().as_secs_f64();
        self.report.cpu_percent = 100.0 * (cpu::used_by_self()? - used).as_secs_f64() / self.report.seconds;
        self.report.stayed = self.clients.iter().flatten().filter(|client| client.in_room).count();
        (self.report.ping_ms_p50, self.report.ping_ms_p99) = (self.pings.ms_at(0.5), self.pings.ms_at(0.99));
        self.report.late_ms_p99 = late.ms_at(0.99);
        Ok(())
    }

    fn send_input(&mut self, number: usize, now: Instant) {
        let Some(Some(client)) = self.clients.get_mut(number) else { return };
        let mut input = vec![0; INPUT_BYTES];
        input[..2].copy_from_slice(&[code::ROOM_DATA_BYTES, INPUT_TYPE]);
        client.walker.step(&mut input[2..]);
        client.inputs = client.inputs.wrapping_add(1);
        let mut sent = client.send(input);
        let ping = number < PINGERS && client.inputs.is_multiple_of((self.args.hz / PINGS_PER_SECOND).max(1));
        if sent.is_ok() && ping && client.pinged.is_none() {
            client.pinged = Some(now);
            sent = client.send(vec![code::PING]);
        }
        if let Err(reason) = sent {
            self.lose(number, reason);
        }
    }

    /// Sleeps until something can be read or `until`, and reads what there is.
    fn turn(&mut self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        self.ready.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.ready), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for at in 0..self.ready.len() {
            let number = self.ready[at].data.u64() as usize;
            if let Err(reason) = self.read(number) {
                self.lose(number, reason);
            }
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> Result<(), String> {
        let Some(Some(client)) = self.clients.get_mut(number) else { return Ok(()) };
        loop {
            let message = match client.socket.read() {
                Ok(message) => message,
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            let Message::Binary(bytes) = message else { continue };
            match bytes.first() {
                Some(&code::JOIN_ROOM) => client.send(vec![code::JOIN_ROOM])?,
                Some(&code::ROOM_STATE) => client.in_room = true,
                Some(&code::ROOM_STATE_PATCH) => {
                    self.report.patches += 1;
                    self.report.patch_bytes += bytes.len() as u64;
                }
                Some(&code::PING) => {
                    if let Some(pinged) = client.pinged.take() {
                        self.pings.record(pinged.elapsed());
                    }
                }
                _ => {}
            }
        }
    }

    fn lose(&mut self, number: usize, reason: String) {
        // A closed socket leaves the epoll set by itself.
        self.clients[number] = None;
        *self.report.reasons.entry(reason).or_default() += 1;
    }
}

impl Client {
    /// Sends a message; what a full socket does not take now goes with the next.
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        match self.socket.send(Message::Binary(bytes.into())) {
            Ok(()) => Ok(()),
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Each client is an open file.
fn allow_descriptors(clients: usize) -> Result<(), PeersError> {
    let wanted = clients as u64 + limits::DESCRIPTORS_SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let limit = Rlimit { current: Some(wanted), maximum };
    setrlimit(Resource::Nofile, limit).map_err(|error| PeersError::Descriptors { wanted, source: error.into() })
}

fn tell(line: &str) -> Result<(), PeersError> {
    println!("{line}");
    io::stdout().flush().map_err(PeersError::Io)
}
