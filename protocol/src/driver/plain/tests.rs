//! Two plain drivers, and packets that are handed over at once.

use super::*;
use crate::codec;
use crate::control::ServerMsg;
use crate::driver::Closed;
use bytes::{Bytes, BytesMut};

#[derive(Default)]
struct Log {
    full: bool,
    connected: Vec<ConnId>,
    datagrams: Vec<Vec<u8>>,
    frames: Vec<ServerMsg>,
    closed: Vec<Closed>,
}

impl Handler<()> for Log {
    fn accepted(&mut self, _remote: SocketAddr) -> Option<()> {
        (!self.full).then_some(())
    }

    fn connected(&mut self, conn: &mut Conn<()>) {
        self.connected.push(conn.id());
    }

    fn datagram(&mut self, _conn: &mut Conn<()>, bytes: &[u8]) {
        self.datagrams.push(bytes.to_vec());
    }

    fn frame(&mut self, _conn: &mut Conn<()>, body: &[u8]) {
        self.frames.push(codec::decode(body).unwrap());
    }

    fn closed(&mut self, _conn: &mut Conn<()>, why: &Closed) {
        self.closed.push(why.clone());
    }
}

struct Pair {
    now: Instant,
    drivers: [Driver<()>; 2],
    logs: [Log; 2],
}

const ADDRESSES: [([u8; 4], u16); 2] = [([10, 0, 0, 1], 7777), ([10, 0, 0, 2], 50_000)];

impl Pair {
    fn new() -> Pair {
        let now = Instant::now();
        Pair { now, drivers: [Driver::plain_server(now, 300), Driver::plain_client(now)], logs: Default::default() }
    }

    fn connected() -> (Pair, ConnId, ConnId) {
        let mut pair = Pair::new();
        let client = pair.drivers[1].connect_plain(pair.now, ADDRESSES[0].into(), ());
        pair.run();
        let server = pair.logs[0].connected[0];
        (pair, server, client)
    }

    /// Hands packets to and fro until there are none.
    fn run(&mut self) {
        let mut under_way: Vec<(usize, Vec<u8>)> = Vec::new();
        loop {
            for side in [0, 1] {
                let mut out = |_: &Transmit, bytes: &[u8]| under_way.push((side, bytes.to_vec()));
                self.drivers[side].handle_timeouts(self.now);
                self.drivers[side].poll(self.now, &mut self.logs[side], &mut out);
            }
            if under_way.is_empty() {
                return;
            }
            for (from, packet) in std::mem::take(&mut under_way) {
                let to = 1 - from;
                let mut out = |_: &Transmit, bytes: &[u8]| under_way.push((to, bytes.to_vec()));
                self.drivers[to].handle_datagram(
                    self.now,
                    ADDRESSES[from].into(),
                    None,
                    None,
                    BytesMut::from(&packet[..]),
                    &mut out,
                );
            }
        }
    }
}

#[test]
fn plain_connections_carry_datagrams_and_frames_of_any_length() {
    let (mut pair, server, client) = Pair::connected();
    assert_eq!(pair.logs[1].connected, [client]);
    let conn = pair.drivers[0].connection(server).unwrap();
    assert_eq!(conn.max_datagram(), 300);
    conn.send_datagram(Bytes::copy_from_slice(&[7; 300])).unwrap();
    assert!(conn.send_datagram(Bytes::copy_from_slice(&[7; 301])).is_err());
    let long = ServerMsg::Event { number: 1, tick: crate::TickNo(2), payload: vec![3; 200] };
    (0..100).for_each(|_| conn.send_control(&long).unwrap());
    pair.run();
    assert_eq!(pair.logs[1].datagrams, [vec![7; 300]]);
    assert_eq!(pair.logs[1].frames, vec![long; 100]);
}

#[test]
fn the_end_of_a_plain_connection_is_told_once_and_its_place_used_again() {
    let (mut pair, server, client) = Pair::connected();
    pair.drivers[0].connection(server).unwrap().close(Code::Flooding, "too much");
    pair.run();
    let reason = Bytes::from_static(b"too much");
    assert_eq!(pair.logs[0].closed, [Closed::ByUs(Code::Flooding)]);
    assert_eq!(pair.logs[1].closed, [Closed::ByPeer { code: VarInt::from(Code::Flooding).into_inner(), reason }]);
    assert_eq!((pair.drivers[0].open_connections(), pair.drivers[1].open_connections()), (0, 0));
    let again = pair.drivers[1].connect_plain(pair.now, ADDRESSES[0].into(), ());
    pair.run();
    assert_eq!((again.index, again.generation), (client.index, client.generation + 1));
    assert_eq!(pair.logs[0].connected.len(), 2);
}

#[test]
fn a_server_that_was_replaced_or_is_full_says_so() {
    let (mut pair, _, client) = Pair::connected();
    pair.drivers[0] = Driver::plain_server(pair.now, 300);
    pair.drivers[1].connection(client).unwrap().send_datagram(Bytes::copy_from_slice(&[1])).unwrap();
    pair.run();
    assert_eq!(pair.logs[1].closed, [Closed::Reset]);
    pair.logs[0].full = true;
    pair.drivers[1].connect_plain(pair.now, ADDRESSES[0].into(), ());
    pair.run();
    assert_eq!(pair.logs[1].closed[1].code(), Some(Code::NoRoom));
}

#[test]
fn a_plain_connection_that_falls_silent_times_out() {
    let (mut pair, _, _) = Pair::connected();
    pair.now += Duration::from_secs(IDLE_SECONDS) + Duration::from_millis(2);
    pair.run();
    assert_eq!((&*pair.logs[0].closed, &*pair.logs[1].closed), (&[Closed::TimedOut][..], &[Closed::TimedOut][..]));
}
