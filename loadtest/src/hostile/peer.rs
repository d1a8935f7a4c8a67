//! One hostile connection: a UDP socket, quinn-proto's state machine, and no idea of what is proper.
//!
//! Its loop is whoever calls [`Peer::pump`]. Packets that it sends are kept, so that they can be sent again; it sends as fast as it
//! is told to, reads only if it is told to, and writes what it likes to the control stream.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, DatagramEvent, Dir, Endpoint, Event, IdleTimeout, StreamEvent, StreamId,
    TransportConfig, VarInt,
};
use ringfort::game::Played;
use ringfort::skirmish::Skirmish;
use ringfort_protocol::codec;
use ringfort_protocol::control::{ClientMsg, Code, Credential, JoinTarget, ServerMsg};
use ringfort_protocol::limits::{MAX_FRAME, PROTOCOL_VERSION};
use ringfort_protocol::quic::{Trust, client_config, client_endpoint};
use ringfort_protocol::{Wire, WireLayout};

use super::HostileError;
use super::reckless::Reckless;
use crate::limits::{PACKETS_KEPT, PEER_IDLE, PEER_PATIENCE};

/// Who attacks whom: what an attack is made from.
pub(crate) struct Attacker {
    pub(crate) server: SocketAddr,
    from: IpAddr,
    random: u64,
    /// UDP packets that it has sent, over all its connections.
    pub(crate) packets: u64,
    /// UDP bytes that it has sent.
    pub(crate) bytes: u64,
    /// Most packets a second, and when the next one may leave; without one it is as fast as it can.
    pace: Option<(Duration, Instant)>,
    /// When the attack must have ended.
    pub(crate) until: Option<Instant>,
}

/// How an attack ended, seen from the attacker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The server closed the connection with a code.
    Closed(Code),
    /// The server refused the connection.
    Refused,
    /// The connection is as it was.
    Open,
    /// There was no connection, or nobody waited for its end.
    None,
    /// It ended in another way.
    Other(String),
}

impl Attacker {
    pub(crate) fn new(server: SocketAddr, from: IpAddr, seed: u64) -> Attacker {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Attacker { server, from, random, packets: 0, bytes: 0, pace: None, until: None }
    }

    /// Sends no more than so many packets a second from now on.
    pub(super) fn keep_pace(&mut self, packets_per_second: u32) {
        self.pace = Some((Duration::from_secs(1) / packets_per_second, Instant::now()));
    }

    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    pub(super) fn random_bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random() as u8).collect()
    }

    pub(super) fn socket(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((self.from, 0))?;
        socket.connect(self.server)?;
        Ok(socket)
    }

    /// Sends one packet, at its pace. What the network refuses is lost.
    pub(super) fn send(&mut self, socket: &UdpSocket, packet: &[u8]) {
        if let Some((gap, next)) = &mut self.pace {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            *next = (*next + *gap).max(Instant::now() - 20 * *gap);
        }
        self.packets += 1;
        self.bytes += packet.len() as u64;
        let _ = socket.send(packet);
    }

    /// Whether there is time left.
    pub(super) fn goes_on(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// A connection whose handshake is done.
    pub(super) fn connected(&mut self) -> Result<Peer, HostileError> {
        let mut peer = Peer::begin(self, None)?;
        peer.expect(self, "the handshake", |peer| peer.connected)?;
        Ok(peer)
    }

    /// One that was welcomed.
    pub(super) fn welcomed(&mut self) -> Result<Peer, HostileError> {
        self.welcomed_with(None)
    }

    fn welcomed_with(&mut self, window: Option<u32>) -> Result<Peer, HostileError> {
        let mut peer = Peer::begin(self, window)?;
        peer.expect(self, "the handshake", |peer| peer.connected)?;
        peer.hello();
        peer.expect(self, "the welcome", |peer| peer.welcomed)?;
        Ok(peer)
    }

    /// One that plays.
    pub(super) fn joined(&mut self) -> Result<Peer, HostileError> {
        self.joined_with(None)
    }

    /// One that plays and takes no more than so many bytes of its control stream.
    pub(super) fn joined_with(&mut self, window: Option<u32>) -> Result<Peer, HostileError> {
        let mut peer = self.welcomed_with(window)?;
        let nonce = self.random_bytes(16).try_into().unwrap_or_default();
        peer.say(&ClientMsg::Join { target: JoinTarget::Any, nonce, spectate: false });
        peer.expect(self, "the join", |peer| peer.stay.is_some() && peer.newest_tick > 0)?;
        Ok(peer)
    }
}

/// A connection.
pub(crate) struct Peer {
    pub(super) socket: UdpSocket,
    endpoint: Endpoint,
    pub(super) quic: Connection,
    pub(super) stream: Option<StreamId>,
    pub(super) connected: bool,
    pub(super) welcomed: bool,
    /// The number of its join, once it plays.
    pub(super) stay: Option<u8>,
    /// Error messages that it was told.
    pub(super) errors: u64,
    /// The highest number of its commands that the server has acknowledged.
    pub(super) commands: u32,
    /// The newest tick of which it got a snapshot.
    pub(super) newest_tick: u32,
    /// Inputs that snapshots acknowledged last.
    pub(super) acked: u32,
    /// Whether it reads its control stream.
    pub(super) reads: bool,
    /// Packets that it sent, the newest last.
    pub(super) kept: Vec<Vec<u8>>,
    pub(super) ended: Option<Outcome>,
    unwritten: Vec<u8>,
    heard: Vec<u8>,
    scratch: Vec<u8>,
}

impl Peer {
    /// Begins a handshake and sends nothing yet.
    pub(super) fn begin(attacker: &Attacker, window: Option<u32>) -> Result<Peer, HostileError> {
        let socket = attacker.socket()?;
        let mut endpoint = Endpoint::new(Arc::new(client_endpoint()), None, true, None);
        let (_, quic) = endpoint.connect(Instant::now(), config(window)?, attacker.server, "localhost")?;
        Ok(Peer {
            socket,
            endpoint,
            quic,
            stream: None,
            connected: false,
            welcomed: false,
            stay: None,
            errors: 0,
            commands: 0,
            newest_tick: 0,
            acked: 0,
            reads: true,
            kept: Vec::new(),
            ended: None,
            unwritten: Vec::new(),
            heard: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Writes bytes to the control stream, with the next pump.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.unwritten.extend_from_slice(bytes);
    }

    pub(super) fn say(&mut self, message: &ClientMsg) {
        // Every message that an attack makes has less than a frame's length.
        let _ = codec::encode_frame(message, &mut self.unwritten);
    }

    pub(super) fn hello(&mut self) {
        let schema_hash = Played::<Skirmish>::schema().hash();
        let credential = Credential::Name("mallory".to_owned());
        self.say(&ClientMsg::Hello {
            version: PROTOCOL_VERSION,
            schema_hash,
            credential,
            attempt: 0,
            resume: None,
            rounds: false,
        });
    }

    /// Queues a datagram; too long a one, or one before the handshake, goes nowhere.
    pub(super) fn datagram(&mut self, bytes: &[u8]) {
        let _ = self.quic.datagrams().send(Bytes::copy_from_slice(bytes), true);
    }

    /// Pumps until something is so, which is a condition for the attack to begin.
    pub(super) fn expect(
        &mut self,
        attacker: &mut Attacker,
        wanted: &'static str,
        is_so: impl Fn(&Peer) -> bool,
    ) -> Result<(), HostileError> {
        if self.pump(attacker, PEER_PATIENCE, &is_so) && is_so(self) {
            return Ok(());
        }
        Err(HostileError::Prelude { wanted, ended: format!("{:?}", self.ended) })
    }

    /// How the server ends it, within the patience.
    pub(super) fn outcome(mut self, attacker: &mut Attacker, patience: Duration) -> Outcome {
        self.pump(attacker, patience, |_| false);
        self.ended.clone().unwrap_or(Outcome::Open)
    }

    /// Sends and receives until something is so, the connection is over or the attack must end (`true`), or the time is over (`false`).
    pub(super) fn pump(&mut self, attacker: &mut Attacker, time: Duration, done: impl Fn(&Peer) -> bool) -> bool {
        let until = Instant::now() + time;
        loop {
            self.flush(attacker);
            if self.ended.is_some() || done(self) || !attacker.goes_on() {
                return true;
            }
            let now = Instant::now();
            if now >= until {
                return false;
            }
            let timer = self.quic.poll_timeout().unwrap_or(until).min(until);
            self.receive(timer.saturating_duration_since(now).clamp(Duration::from_millis(1), PEER_IDLE));
        }
    }

    /// Sends what is to be sent, and looks at what has happened.
    pub(super) fn flush(&mut self, attacker: &mut Attacker) {
        let now = Instant::now();
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        self.look();
        if let Some(stream) = self.stream
            && !self.unwritten.is_empty()
            && let Ok(written) = self.quic.send_stream(stream).write(&self.unwritten)
        {
            self.unwritten.drain(..written);
        }
        self.transmit(attacker);
        while let Some(event) = self.quic.poll_endpoint_events() {
            let handle = quinn_proto::ConnectionHandle(0);
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                self.quic.handle_event(event);
            }
        }
    }

    fn transmit(&mut self, attacker: &mut Attacker) {
        loop {
            self.scratch.clear();
            let Some(transmit) = self.quic.poll_transmit(Instant::now(), 1, &mut self.scratch) else { return };
            let packet = &self.scratch[..transmit.size];
            attacker.send(&self.socket, packet);
            if self.kept.len() == PACKETS_KEPT {
                self.kept.remove(0);
            }
            self.kept.push(packet.to_vec());
        }
    }

    /// The packet with which the handshake would begin; it does not leave.
    pub(super) fn first_packet(&mut self) -> Option<Vec<u8>> {
        self.scratch.clear();
        let transmit = self.quic.poll_transmit(Instant::now(), 1, &mut self.scratch)?;
        Some(self.scratch[..transmit.size].to_vec())
    }

    /// Waits for packets and takes in all that are there.
    fn receive(&mut self, patience: Duration) {
        let mut buffer = [0; 2048];
        let _ = self.socket.set_read_timeout(Some(patience));
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let (now, data) = (Instant::now(), BytesMut::from(&buffer[..length]));
            self.scratch.clear();
            let remote = self.quic.remote_address();
            if let Some(DatagramEvent::ConnectionEvent(_, event)) =
                self.endpoint.handle(now, remote, None, None, data, &mut self.scratch)
            {
                self.quic.handle_event(event);
            }
            let _ = self.socket.set_read_timeout(Some(Duration::from_micros(1)));
        }
    }

    fn look(&mut self) {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => {
                    self.connected = true;
                    self.stream = self.quic.streams().open(Dir::Bi);
                }
                Event::ConnectionLost { reason } => self.ended = Some(outcome_of(&reason)),
                Event::Stream(StreamEvent::Readable { .. }) if self.reads => self.read(),
                _ => {}
            }
        }
        while let Some(snapshot) = self.quic.datagrams().recv() {
            let word = |at: usize| snapshot.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            self.newest_tick = self.newest_tick.max(word(2).unwrap_or(0));
            self.acked = self.acked.max(word(6).unwrap_or(0));
        }
    }

    fn read(&mut self) {
        let Some(stream) = self.stream else { return };
        let mut receive = self.quic.recv_stream(stream);
        let Ok(mut chunks) = receive.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            self.heard.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
        while let Ok(Some((body, length))) = codec::split_frame(&self.heard, MAX_FRAME) {
            match codec::decode(body) {
                Ok(ServerMsg::Welcome { .. }) => self.welcomed = true,
                Ok(ServerMsg::Joined { stay, .. }) => self.stay = Some(stay),
                Ok(ServerMsg::Left { .. }) => self.stay = None,
                Ok(ServerMsg::Error { .. }) => self.errors += 1,
                Ok(ServerMsg::CommandAck { number }) => self.commands = self.commands.max(number),
                _ => {}
            }
            self.heard.drain(..length);
        }
    }
}

/// Bytes of an input of the game on the wire.
pub(super) fn input_bytes() -> usize {
    WireLayout::new(Played::<Skirmish>::schema()).map_or(0, |wire| wire.input_bytes)
}

fn outcome_of(error: &ConnectionError) -> Outcome {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = close.error_code.into_inner();
            Code::from_u64(code).map_or_else(|| Outcome::Other(format!("code {code}")), Outcome::Closed)
        }
        ConnectionError::ConnectionClosed(close) if close.error_code == quinn_proto::TransportErrorCode::CONNECTION_REFUSED => {
            Outcome::Refused
        }
        other => Outcome::Other(other.to_string()),
    }
}

/// A client's configuration with a reckless sender, and a window of its own for the control stream.
pub(super) fn config(window: Option<u32>) -> Result<ClientConfig, HostileError> {
    let mut config = client_config(Trust::Any)?;
    let mut transport = TransportConfig::default();
    transport
        .congestion_controller_factory(Arc::new(Reckless))
        .initial_mtu(1200)
        .mtu_discovery_config(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(30_000))))
        .datagram_receive_buffer_size(Some(64 << 10))
        .datagram_send_buffer_size(1 << 20);
    if let Some(window) = window {
        transport.stream_receive_window(VarInt::from_u32(window)).receive_window(VarInt::from_u32(window));
    }
    config.transport_config(Arc::new(transport));
    Ok(config)
}
