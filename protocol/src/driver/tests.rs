//! Two drivers, a lossy reordering network between them, and a clock that only the test moves.

use super::*;
use crate::control::{ClientMsg, ServerMsg};
use crate::quic::{self, KEY_BYTES, Trust};
use crate::{codec, limits};
use bytes::Bytes;
use rustls::pki_types::PrivateKeyDer;
use std::collections::VecDeque;
use std::time::Duration;

mod limits_of_peers;
mod rounding;

#[derive(Default)]
struct Log {
    refuse: bool,
    connected: Vec<ConnId>,
    datagrams: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
    closed: Vec<Closed>,
    echo: bool,
}

impl Handler<u32> for Log {
    fn accepted(&mut self, _remote: SocketAddr) -> Option<u32> {
        (!self.refuse).then_some(7)
    }

    fn connected(&mut self, conn: &mut Conn<u32>) {
        self.connected.push(conn.id());
    }

    fn datagram(&mut self, _conn: &mut Conn<u32>, bytes: &[u8]) {
        self.datagrams.push(bytes.to_vec());
    }

    fn frame(&mut self, conn: &mut Conn<u32>, body: &[u8]) {
        self.frames.push(body.to_vec());
        if self.echo {
            let _ = conn.send_control(&ServerMsg::CommandAck { number: self.frames.len() as u32 });
        }
    }

    fn closed(&mut self, _conn: &mut Conn<u32>, why: &Closed) {
        self.closed.push(why.clone());
    }
}

struct Pair {
    now: Instant,
    server: Driver<u32>,
    client: Driver<u32>,
    at_server: Log,
    at_client: Log,
    up: VecDeque<(Instant, Vec<u8>)>,
    down: VecDeque<(Instant, Vec<u8>)>,
    random: u64,
    loss_percent: u64,
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7777))
}

fn client_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 50_000))
}

fn server_driver(now: Instant) -> Driver<u32> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = quic::server_config(vec![made.cert.der().clone()], key, &[2; KEY_BYTES], &[3; KEY_BYTES]).unwrap();
    Driver::server(now, quic::server_endpoint(3, &[1; KEY_BYTES]), config)
}

impl Pair {
    fn new(loss_percent: u64) -> Pair {
        let now = Instant::now();
        Pair {
            now,
            server: server_driver(now),
            client: Driver::client(now, quic::client_endpoint()),
            at_server: Log::default(),
            at_client: Log::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            loss_percent,
        }
    }

    fn connect(&mut self) -> ConnId {
        let config = quic::client_config(Trust::Any).unwrap();
        self.client.connect(self.now, config, server_address(), "localhost", 1).unwrap()
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// One millisecond: deliver, let timers go off, poll, put what comes out on the wire.
    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        let now = self.now;
        let mut sent_up = Vec::new();
        let mut sent_down = Vec::new();
        let mut down = |transmit: &Transmit, bytes: &[u8]| segments(transmit, bytes, &mut sent_down);
        for bytes in due(&mut self.up, now) {
            let data = BytesMut::from(&bytes[..]);
            self.server.handle_datagram(now, client_address(), None, None, data, &mut down);
        }
        self.server.handle_timeouts(now);
        self.server.poll(now, &mut self.at_server, &mut down);
        let mut up = |transmit: &Transmit, bytes: &[u8]| segments(transmit, bytes, &mut sent_up);
        for bytes in due(&mut self.down, now) {
            let data = BytesMut::from(&bytes[..]);
            self.client.handle_datagram(now, server_address(), None, None, data, &mut up);
        }
        self.client.handle_timeouts(now);
        self.client.poll(now, &mut self.at_client, &mut up);
        for (sent, is_up) in [(sent_up, true), (sent_down, false)] {
            for bytes in sent {
                let dice = self.random();
                if dice % 100 < self.loss_percent {
                    continue;
                }
                let arrives = now + Duration::from_millis(1 + if self.loss_percent > 0 { dice >> 32 & 7 } else { 0 });
                let wire = if is_up { &mut self.up } else { &mut self.down };
                wire.push_back((arrives, bytes));
            }
        }
    }

    fn run(&mut self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.step();
        }
    }

    fn connected(loss_percent: u64) -> (Pair, ConnId, ConnId) {
        let mut pair = Pair::new(loss_percent);
        let client = pair.connect();
        for _ in 0..20_000 {
            pair.step();
            // The client knows first; the server's handshake is done when the client's last flight has arrived.
            if !pair.at_client.connected.is_empty() && !pair.at_server.connected.is_empty() {
                let server = pair.at_server.connected[0];
                return (pair, client, server);
            }
        }
        panic!("no connection");
    }
}

fn due(wire: &mut VecDeque<(Instant, Vec<u8>)>, now: Instant) -> Vec<Vec<u8>> {
    let (arrived, later): (Vec<_>, Vec<_>) = wire.drain(..).partition(|(at, _)| *at <= now);
    wire.extend(later);
    arrived.into_iter().map(|(_, bytes)| bytes).collect()
}

fn segments(transmit: &Transmit, bytes: &[u8], to: &mut Vec<Vec<u8>>) {
    let segment = transmit.segment_size.unwrap_or(transmit.size);
    to.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
}

fn command(number: u32) -> ClientMsg {
    ClientMsg::Command { number, payload: vec![number as u8; 40] }
}

#[test]
fn frames_and_datagrams_pass_both_ways() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.at_server.echo = true;
    let conn = pair.client.connection(client).unwrap();
    assert!(conn.max_datagram() >= limits::MAX_SNAPSHOT_BYTES, "{}", conn.max_datagram());
    conn.send_control(&command(1)).unwrap();
    conn.send_datagram(Bytes::copy_from_slice(&[5; 40])).unwrap();
    pair.run(20);
    let conn = pair.server.connection(server).unwrap();
    assert!(conn.max_datagram() >= limits::MAX_SNAPSHOT_BYTES, "{}", conn.max_datagram());
    conn.send_datagram(Bytes::copy_from_slice(&[6; limits::MAX_SNAPSHOT_BYTES])).unwrap();
    pair.run(20);
    assert_eq!(codec::decode::<ClientMsg>(&pair.at_server.frames[0]).unwrap(), command(1));
    assert_eq!(pair.at_server.datagrams, [vec![5; 40]]);
    let answer: ServerMsg = codec::decode(&pair.at_client.frames[0]).unwrap();
    assert_eq!(answer, ServerMsg::CommandAck { number: 1 });
    assert_eq!(pair.at_client.datagrams, [vec![6; limits::MAX_SNAPSHOT_BYTES]]);
}

#[test]
fn the_control_stream_survives_loss_and_reordering() {
    let (mut pair, client, server) = Pair::connected(15);
    for number in 1..=200 {
        pair.client.connection(client).unwrap().send_control(&command(number)).unwrap();
        let event = ServerMsg::CommandAck { number };
        pair.server.connection(server).unwrap().send_control(&event).unwrap();
        pair.run(5);
    }
    pair.run(5000);
    let got: Vec<ClientMsg> = pair.at_server.frames.iter().map(|frame| codec::decode(frame).unwrap()).collect();
    assert_eq!(got, (1..=200).map(command).collect::<Vec<_>>());
    assert_eq!(pair.at_client.frames.len(), 200);
}

#[test]
fn a_large_frame_arrives_in_one_piece() {
    let (mut pair, client, server) = Pair::connected(0);
    // The stream exists for the server once the client has written to it.
    pair.client.connection(client).unwrap().send_control(&ClientMsg::Leave).unwrap();
    pair.run(20);
    let payload = vec![9; limits::MAX_FRAME - 100];
    let event = ServerMsg::Event { number: 1, tick: crate::TickNo(1), payload };
    pair.server.connection(server).unwrap().send_control(&event).unwrap();
    pair.run(500);
    assert_eq!(codec::decode::<ServerMsg>(&pair.at_client.frames[0]).unwrap(), event);
}

#[test]
fn a_close_tells_both_ends_and_frees_the_place() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.server.connection(server).unwrap().close(Code::MatchOver, "it was fun");
    pair.run(50);
    assert_eq!(pair.at_server.closed, [Closed::ByUs(Code::MatchOver)]);
    assert_eq!(pair.at_client.closed[0].code(), Some(Code::MatchOver));
    pair.run(5000);
    assert!(pair.server.get(server).is_none() && pair.client.get(client).is_none());
    assert_eq!((pair.server.open_connections(), pair.client.open_connections()), (0, 0));
    assert_eq!(pair.server.next_timeout(), None);
    // The place is used again, under another name.
    let again = pair.connect();
    pair.run(100);
    assert!(again.index == client.index && again != client);
    assert!(pair.client.get(client).is_none() && pair.client.get(again).is_some());
}

#[test]
fn a_silent_peer_times_out_and_a_quiet_one_does_not() {
    let (mut pair, client, _) = Pair::connected(0);
    pair.run(15_000);
    assert!(pair.at_server.closed.is_empty(), "keep-alive");
    pair.loss_percent = 100;
    // The client is given another ten seconds from the keep-alive that it sends into the void.
    pair.run(13_000);
    assert_eq!(pair.at_server.closed, [Closed::TimedOut]);
    assert_eq!(pair.at_client.closed, [Closed::TimedOut]);
    assert!(pair.client.get(client).is_none());
}

#[test]
fn another_process_with_the_same_keys_resets_the_connection() {
    let (mut pair, client, _) = Pair::connected(0);
    pair.server = server_driver(pair.now);
    pair.client.connection(client).unwrap().send_datagram(Bytes::copy_from_slice(&[1; 40])).unwrap();
    pair.run(50);
    assert_eq!(pair.at_client.closed, [Closed::Reset]);
}

#[test]
fn a_refusal_reaches_the_client() {
    let mut pair = Pair::new(0);
    pair.at_server.refuse = true;
    pair.connect();
    pair.run(50);
    assert_eq!(pair.at_client.closed, [Closed::Refused]);
    assert_eq!(pair.server.stats().refused_by_handler, 1);
    assert_eq!(pair.server.open_connections(), 0);
}

#[test]
fn a_frame_longer_than_allowed_closes_the_connection() {
    let (mut pair, client, _) = Pair::connected(0);
    let long = ClientMsg::Command { number: 1, payload: vec![0; limits::MAX_CLIENT_FRAME] };
    pair.client.connection(client).unwrap().send_control(&long).unwrap();
    pair.run(100);
    assert_eq!(pair.at_client.closed[0].code(), Some(Code::BadMessage));
    assert_eq!(pair.server.stats().bad_control, 1);
    assert!(pair.at_server.frames.is_empty());
}

#[test]
fn a_peer_that_does_not_read_is_closed() {
    let (mut pair, client, server) = Pair::connected(0);
    pair.client.connection(client).unwrap().send_control(&ClientMsg::Leave).unwrap();
    pair.run(20);
    pair.loss_percent = 100;
    let event = ServerMsg::Event { number: 1, tick: crate::TickNo(1), payload: vec![0; 10_000] };
    let mut refused = None;
    for _ in 0..100 {
        let Some(conn) = pair.server.connection(server) else { break };
        if let Err(error) = conn.send_control(&event) {
            refused = Some(error);
            break;
        }
        pair.step();
    }
    assert_eq!(refused, Some(WriteError::Backlog));
    pair.step();
    assert_eq!(pair.at_server.closed, [Closed::ByUs(Code::Flooding)]);
    assert_eq!(pair.server.stats().backlog_overflow, 1);
}

#[test]
fn sequential_connections_leave_nothing_behind() {
    let mut pair = Pair::new(0);
    for _ in 0..20 {
        let id = pair.connect();
        pair.run(30);
        pair.client.connection(id).unwrap().close(Code::Left, "");
        pair.run(30);
    }
    pair.run(5000);
    assert_eq!(pair.server.stats().connected, 20);
    assert_eq!(pair.server.open_connections() + pair.client.open_connections(), 0);
    assert_eq!(pair.server.handshakes, 0);
    assert!(pair.server.slots.len() <= 20);
}
