//! A server's driver against a network that may do anything, and a client that says anything.
//!
//! Packets of QUIC are sealed, so arbitrary bytes alone come no further than its first checks. A real client shakes hands too: the
//! input says what it writes to its control stream and into its datagrams, and which of its packets are bent, doubled or lost.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{ServerConfig, Transmit};
use rustls::pki_types::PrivateKeyDer;

use super::parts;
use crate::control::{ClientMsg, Code};
use crate::driver::{Closed, Conn, ConnId, Driver, Handler};
use crate::input::InputDatagram;
use crate::limits::{MAX_CLIENT_FRAME, MAX_CONNECTIONS};
use crate::quic::{self, KEY_BYTES, Trust};
use crate::{Inserted, codec};

/// Bytes of an input in the game that is played.
const INPUT_BYTES: usize = 5;
/// Packets that a connection may answer to one part of the input.
const PACKETS_MAX: usize = 4_096;

/// A server as strict as a front-end.
#[derive(Default)]
struct Strict {
    seen: crate::AckBits,
    accepted: usize,
    closed: usize,
}

impl Handler<()> for Strict {
    fn accepted(&mut self, _remote: SocketAddr) -> Option<()> {
        self.accepted += 1;
        Some(())
    }

    fn connected(&mut self, _conn: &mut Conn<()>) {}

    fn datagram(&mut self, conn: &mut Conn<()>, bytes: &[u8]) {
        match InputDatagram::parse(bytes, INPUT_BYTES) {
            Ok(read) => read.inputs().for_each(|(sequence, _)| {
                let known = self.seen.contains(sequence);
                assert_eq!(known, self.seen.insert(sequence) == Inserted::Duplicate && known);
            }),
            Err(_) => conn.close(Code::BadMessage, "no input"),
        }
    }

    fn frame(&mut self, conn: &mut Conn<()>, body: &[u8]) {
        assert!(body.len() <= MAX_CLIENT_FRAME, "the driver has looked at the length");
        match codec::decode::<ClientMsg>(body) {
            // The answer is as long as a peer can make it, so that one that does not read is noticed.
            Ok(message) => drop(conn.send_control(&message)),
            Err(_) => conn.close(Code::BadMessage, "no message"),
        }
    }

    fn closed(&mut self, _conn: &mut Conn<()>, _why: &Closed) {
        self.closed += 1;
    }
}

/// A client that hears nothing.
struct Deaf;

impl Handler<()> for Deaf {
    fn connected(&mut self, _conn: &mut Conn<()>) {}
    fn datagram(&mut self, _conn: &mut Conn<()>, _bytes: &[u8]) {}
    fn frame(&mut self, _conn: &mut Conn<()>, _body: &[u8]) {}
    fn closed(&mut self, _conn: &mut Conn<()>, _why: &Closed) {}
}

/// What is done with a part; its first byte says it.
pub fn driver(data: &[u8]) {
    let mut world = World::new();
    for part in parts(data) {
        let Some((kind, bytes)) = part.split_first() else { continue };
        match kind % 8 {
            0 => world.inject(*kind, bytes),
            1 => world.write(bytes),
            2 => world.send(bytes),
            3 => world.bend.extend_from_slice(bytes),
            4 => world.pass(u64::from(bytes.first().copied().unwrap_or_default()) * 20),
            5 => world.lose = bytes.first().copied().unwrap_or_default() % 8,
            6 => world.connect(),
            // Frames in order, whatever their bytes: with a length in front.
            _ => world.write(&frame(bytes)),
        }
        world.turn();
        world.check();
    }
    world.pass(60_000);
    world.check();
    assert_eq!(world.server.open_connections(), 0, "whoever is silent is forgotten");
    let unsaid = world.at_server.accepted - world.at_server.closed;
    assert!(unsaid as u64 <= world.server.stats().handshake_failed, "and that is said of each that became a connection");
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as u16).to_le_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

struct World {
    now: Instant,
    server: Driver<()>,
    client: Driver<()>,
    at_server: Strict,
    id: Option<ConnId>,
    up: Vec<Vec<u8>>,
    /// Bytes that the packets to come are bent by: position and value in turn.
    bend: Vec<u8>,
    /// One packet in so many is lost; 0 is none.
    lose: u8,
    packets: usize,
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let server = Driver::server(now, quic::server_endpoint(3, &[1; KEY_BYTES]), server_config());
        let client = Driver::client(now, quic::client_endpoint());
        let (up, bend) = (Vec::new(), Vec::new());
        let mut world = World { now, server, client, at_server: Strict::default(), id: None, up, bend, lose: 0, packets: 0 };
        world.connect();
        world.turn();
        world
    }

    fn connect(&mut self) {
        let config = quic::client_config(Trust::Any).expect("a client's configuration");
        self.id = self.client.connect(self.now, config, address(7777), "localhost", ()).ok();
    }

    fn inject(&mut self, from: u8, bytes: &[u8]) {
        let mut down = Vec::new();
        let mut out = |transmit: &Transmit, bytes: &[u8]| segments(transmit, bytes, &mut down);
        let from = address(1_000 + u16::from(from));
        self.server.handle_datagram(self.now, from, None, None, BytesMut::from(bytes), &mut out);
        assert!(down.iter().map(Vec::len).sum::<usize>() <= bytes.len().max(1) * 3, "a stranger is no amplifier");
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(conn) = self.id.and_then(|id| self.client.connection(id)) {
            let _ = conn.write_control(bytes);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some(conn) = self.id.and_then(|id| self.client.connection(id)) {
            let _ = conn.send_datagram(bytes::Bytes::copy_from_slice(bytes));
        }
    }

    /// Lets time pass until there is nothing more under way.
    fn pass(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        while self.now < until {
            let next = self.server.next_timeout().into_iter().chain(self.client.next_timeout()).min();
            self.now = next.unwrap_or(until).clamp(self.now + Duration::from_millis(1), until);
            // Nobody hears a client in the long end: what was open has to time out.
            if milliseconds > 10_000 {
                self.lose = 1;
            }
            self.turn();
        }
    }

    /// Carries packets to and fro until both are quiet.
    fn turn(&mut self) {
        for _ in 0..32 {
            let now = self.now;
            self.client.handle_timeouts(now);
            let mut to_server = std::mem::take(&mut self.up);
            self.client.poll(now, &mut Deaf, &mut |transmit, bytes| segments(transmit, bytes, &mut to_server));
            let mut to_client = Vec::new();
            let quiet = to_server.is_empty();
            for packet in to_server {
                if let Some(packet) = self.carry(packet) {
                    let mut out = |transmit: &Transmit, bytes: &[u8]| segments(transmit, bytes, &mut to_client);
                    self.server.handle_datagram(now, address(50_000), None, None, BytesMut::from(&packet[..]), &mut out);
                }
            }
            self.server.handle_timeouts(now);
            self.server.poll(now, &mut self.at_server, &mut |transmit, bytes| segments(transmit, bytes, &mut to_client));
            let quiet = quiet && to_client.is_empty();
            let mut answers = Vec::new();
            for packet in to_client {
                let mut out = |transmit: &Transmit, bytes: &[u8]| segments(transmit, bytes, &mut answers);
                self.client.handle_datagram(now, address(7777), None, None, BytesMut::from(&packet[..]), &mut out);
            }
            self.up = answers;
            if quiet && !self.client.has_work() && !self.server.has_work() {
                return;
            }
        }
    }

    /// The packet as it arrives, if it does.
    fn carry(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        self.packets += 1;
        if self.lose > 0 && self.packets.is_multiple_of(usize::from(self.lose)) {
            return None;
        }
        if let Some(at) = self.bend.pop() {
            let by = self.bend.pop().unwrap_or(1);
            let at = usize::from(at) % packet.len();
            packet[at] ^= by;
        }
        Some(packet)
    }

    fn check(&mut self) {
        assert!(self.server.open_connections() <= MAX_CONNECTIONS);
        assert!(self.at_server.closed <= self.at_server.accepted);
        assert!(self.up.len() <= PACKETS_MAX);
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Made once: a key takes longer than all else here.
fn server_config() -> ServerConfig {
    static CONFIG: OnceLock<ServerConfig> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        quic::server_config(vec![made.cert.der().clone()], key, &[2; KEY_BYTES], &[3; KEY_BYTES])
            .expect("a server's configuration")
    };
    CONFIG.get_or_init(make).clone()
}

fn segments(transmit: &Transmit, bytes: &[u8], to: &mut Vec<Vec<u8>>) {
    let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
    to.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
}
