//! A carrier without QUIC, for simulations of whole sessions: datagrams and one ordered stream go into packets as they are.
//!
//! The network in between tells by [`is_datagram`] what it may lose, double, reorder or damage; every other packet it delivers
//! once and in order, as QUIC would. What is left out with QUIC are handshake, encryption, congestion and flow control.

use super::link::Link;
use super::meter::Pass;
use super::{Conn, ConnId, Driver, Handler, Slot};
use crate::control::Code;
use crate::limits::{IDLE_SECONDS, MAX_CLIENT_FRAME, MAX_CONNECTIONS, MAX_FRAME, MAX_SNAPSHOT_BYTES};
use bytes::Bytes;
use quinn_proto::{
    ApplicationClose, ConnectionError, EndpointConfig, Event, SendDatagramError, Side, Transmit, VarInt, WriteError,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The client's first packet.
const OPEN: u8 = 1;
/// The server's answer to it.
const ACCEPTED: u8 = 2;
/// A datagram follows.
const DATAGRAM: u8 = 3;
/// Bytes of the control stream follow.
const STREAM: u8 = 4;
/// A code and a reason follow; the connection is over.
const CLOSED: u8 = 5;
/// The answer to a packet of no connection.
const RESET: u8 = 6;
/// The answer to a client that is not let in.
const REFUSED: u8 = 7;
/// A client's sign of life: in place of QUIC's retransmissions, by which it finds out that its server was replaced.
const PING: u8 = 8;
/// The answer to it.
const PONG: u8 = 9;
/// Time between two signs of life, and between two attempts to open a connection.
const PING_EVERY: Duration = Duration::from_millis(400);
/// Bytes of the control stream in one packet.
const STREAM_BYTES: usize = 1024;

/// Bytes of a packet before what it carries: its kind, and the number that the client has given to the connection.
pub const HEADER_BYTES: usize = 5;

/// Whether a packet carries a datagram, which a network may lose.
pub fn is_datagram(packet: &[u8]) -> bool {
    packet.first() == Some(&DATAGRAM)
}

/// A packet: kind, number, body.
fn split(packet: &[u8]) -> Option<(u8, u32, &[u8])> {
    let (header, body) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let [kind, number @ ..] = *header;
    Some((kind, u32::from_le_bytes(number), body))
}

fn packet(kind: u8, number: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], &number.to_le_bytes()[..], body].concat()
}

/// The plain half of a driver: which connection an address has.
pub(super) struct Table {
    by_remote: BTreeMap<(SocketAddr, u32), u32>,
    free: Vec<u32>,
    pub(super) incoming: Vec<(SocketAddr, u32)>,
    next_number: u32,
    max_datagram: usize,
}

impl Table {
    /// Connections that are not forgotten yet.
    pub(super) fn connections(&self) -> usize {
        self.by_remote.len()
    }
}

/// One plain connection.
pub(super) struct Plain {
    remote: SocketAddr,
    number: u32,
    max_datagram: usize,
    heard: Instant,
    packets_received: u64,
    events: VecDeque<Event>,
    datagrams: VecDeque<Bytes>,
    stream: Vec<u8>,
    packets: VecDeque<Vec<u8>>,
    open: bool,
    over: bool,
    /// When a client shows its next sign of life.
    ping_at: Option<Instant>,
}

impl Plain {
    fn new(now: Instant, side: Side, (remote, number): (SocketAddr, u32), max_datagram: usize) -> Plain {
        let mut plain = Plain {
            remote,
            number,
            max_datagram,
            heard: now,
            packets_received: 0,
            events: VecDeque::new(),
            datagrams: VecDeque::new(),
            stream: Vec::new(),
            packets: VecDeque::new(),
            open: side == Side::Server,
            over: false,
            ping_at: (side == Side::Client).then(|| now + PING_EVERY),
        };
        match side {
            Side::Client => plain.push(OPEN, &[]),
            Side::Server => {
                plain.push(ACCEPTED, &[]);
                plain.events.push_back(Event::Connected);
            }
        }
        plain
    }

    fn push(&mut self, kind: u8, body: &[u8]) {
        self.packets.push_back(packet(kind, self.number, body));
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(super) fn rtt(&self) -> Duration {
        Duration::ZERO
    }

    pub(super) fn stats(&self) -> quinn_proto::ConnectionStats {
        quinn_proto::ConnectionStats::default()
    }

    pub(super) fn packets_received(&self) -> u64 {
        self.packets_received
    }

    pub(super) fn ping(&mut self) {
        self.push(PING, &[]);
    }

    pub(super) fn max_datagram(&self) -> usize {
        self.max_datagram
    }

    pub(super) fn send_datagram(&mut self, bytes: &[u8]) -> Result<(), SendDatagramError> {
        if bytes.len() > self.max_datagram {
            return Err(SendDatagramError::TooLarge);
        }
        self.push(DATAGRAM, bytes);
        Ok(())
    }

    pub(super) fn receive_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.pop_front()
    }

    pub(super) fn write_stream(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        if !self.open {
            return Err(WriteError::Blocked);
        }
        bytes.chunks(STREAM_BYTES).for_each(|part| self.push(STREAM, part));
        Ok(bytes.len())
    }

    pub(super) fn read_stream(&mut self, to: &mut Vec<u8>, room: usize) {
        let bytes = self.stream.len().min(room.saturating_sub(to.len()));
        to.extend(self.stream.drain(..bytes));
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn close(&mut self, code: VarInt, reason: &[u8]) {
        self.over = true;
        self.push(CLOSED, &[&code.into_inner().to_le_bytes()[..], reason].concat());
    }

    /// The connection is over, and the other end did not hear it from us.
    pub(super) fn lose(&mut self, reason: ConnectionError) {
        if !self.over {
            self.over = true;
            self.events.push_back(Event::ConnectionLost { reason });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.heard + Duration::from_secs(IDLE_SECONDS);
        (!self.over).then(|| self.ping_at.map_or(idle, |ping| ping.min(idle)))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.heard + Duration::from_secs(IDLE_SECONDS) <= now {
            return self.lose(ConnectionError::TimedOut);
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + PING_EVERY);
            self.push(if self.open { PING } else { OPEN }, &[]);
        }
    }

    pub(super) fn poll_transmit(&mut self, to: &mut Vec<u8>) -> Option<Transmit> {
        to.extend(self.packets.pop_front()?);
        Some(transmit(self.remote, to.len()))
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_done(&self) -> bool {
        self.over && self.events.is_empty() && self.packets.is_empty()
    }

    fn handle(&mut self, now: Instant, kind: u8, body: &[u8]) {
        if self.over {
            return;
        }
        self.heard = now;
        self.packets_received += 1;
        match kind {
            // Its first answer is on its way to it.
            OPEN => {}
            PING => self.push(PONG, &[]),
            ACCEPTED if !self.open => {
                self.open = true;
                self.events.push_back(Event::Connected);
            }
            DATAGRAM => self.datagrams.push_back(Bytes::copy_from_slice(body)),
            STREAM => self.stream.extend_from_slice(body),
            CLOSED => {
                let (code, reason) = body.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
                let error_code = VarInt::from_u64(u64::from_le_bytes(*code)).unwrap_or(VarInt::MAX);
                let close = ApplicationClose { error_code, reason: Bytes::copy_from_slice(reason) };
                self.lose(ConnectionError::ApplicationClosed(close));
            }
            RESET => self.lose(ConnectionError::Reset),
            REFUSED => self.lose(ConnectionError::ApplicationClosed(ApplicationClose {
                error_code: Code::NoRoom.into(),
                reason: Bytes::from_static(b"no room"),
            })),
            _ => {}
        }
    }
}

fn transmit(destination: SocketAddr, size: usize) -> Transmit {
    Transmit { destination, ecn: None, size, segment_size: None, src_ip: None }
}

impl<T> Driver<T> {
    /// A server of plain connections, whose datagrams hold at most so many bytes.
    pub fn plain_server(now: Instant, max_datagram: usize) -> Driver<T> {
        Driver::plain(now, MAX_CLIENT_FRAME, max_datagram)
    }

    /// A client that makes plain connections.
    pub fn plain_client(now: Instant) -> Driver<T> {
        Driver::plain(now, MAX_FRAME, MAX_SNAPSHOT_BYTES)
    }

    fn plain(now: Instant, max_frame: usize, max_datagram: usize) -> Driver<T> {
        let mut driver = Driver::new(now, EndpointConfig::default(), None, max_frame);
        let table = Table { by_remote: BTreeMap::new(), free: Vec::new(), incoming: Vec::new(), next_number: 1, max_datagram };
        driver.plain = Some(table);
        driver
    }

    /// Begins a plain connection.
    ///
    /// # Panics
    /// When the driver is one of QUIC.
    pub fn connect_plain(&mut self, now: Instant, remote: SocketAddr, app: T) -> ConnId {
        let table = self.plain.as_mut().expect("a driver of plain connections");
        let number = table.next_number;
        table.next_number += 1;
        self.insert_plain(now, Side::Client, (remote, number), app)
    }

    fn insert_plain(&mut self, now: Instant, side: Side, end: (SocketAddr, u32), app: T) -> ConnId {
        let table = self.plain.as_mut().expect("a driver of plain connections");
        let index = table.free.pop().unwrap_or(self.slots.len() as u32);
        table.by_remote.insert(end, index);
        let plain = Plain::new(now, side, end, table.max_datagram);
        if index as usize == self.slots.len() {
            self.slots.push(Slot { generation: 0, conn: None });
        }
        self.fill(now, index, Link::Plain(plain), app, None)
    }

    /// A packet of a plain connection, or one that begins one.
    pub(super) fn handle_plain(&mut self, now: Instant, from: SocketAddr, packet: &[u8], out: &mut impl FnMut(&Transmit, &[u8])) {
        let now_us = self.micros(now);
        let Some(table) = &mut self.plain else { return };
        let Some((kind, number, body)) = split(packet) else { return };
        let end = (from, number);
        let known = table.by_remote.get(&end).copied();
        let conn = known.and_then(|index| self.slots[index as usize].conn.as_mut());
        if let Some(conn) = conn {
            let pass = conn.meter.packet(&self.limits, true, now_us, packet.len() as u32);
            let is_flood = pass != Pass::Dropped && !conn.meter.testify(&self.limits, pass, now_us, packet.len() as u32);
            if pass != Pass::Yes && is_datagram(packet) {
                self.stats.packets_limited += 1;
                if is_flood {
                    conn.close(Code::Flooding, "more packets than a client may send");
                    conn.make_dirty(&mut self.dirty);
                }
                return;
            }
            if let Link::Plain(plain) = &mut conn.link {
                plain.handle(now, kind, body);
                conn.readable = true;
            }
            return conn.make_dirty(&mut self.dirty);
        }
        let answer = match kind {
            OPEN if table.incoming.contains(&end) => return,
            OPEN if table.by_remote.len() + table.incoming.len() < MAX_CONNECTIONS => return table.incoming.push(end),
            OPEN => REFUSED,
            ACCEPTED | RESET | REFUSED | CLOSED | PONG => return,
            _ => RESET,
        };
        self.answer_plain(answer, end, out);
    }

    /// Lets those in who have come since the last poll.
    pub(super) fn accept_plain(&mut self, now: Instant, handler: &mut impl Handler<T>, out: &mut impl FnMut(&Transmit, &[u8])) {
        let Some(table) = &mut self.plain else { return };
        for end in std::mem::take(&mut table.incoming) {
            if let Some(app) = handler.accepted(end.0) {
                self.stats.accepted += 1;
                self.insert_plain(now, Side::Server, end, app);
                continue;
            }
            self.stats.refused_by_handler += 1;
            self.answer_plain(REFUSED, end, out);
        }
    }

    fn answer_plain(&mut self, kind: u8, (to, number): (SocketAddr, u32), out: &mut impl FnMut(&Transmit, &[u8])) {
        self.scratch.clear();
        self.scratch.extend(packet(kind, number, &[]));
        self.respond(&transmit(to, HEADER_BYTES), out);
    }

    /// Forgets a plain connection that is over.
    pub(super) fn forget_plain(&mut self, conn: &Conn<T>) -> bool {
        let (Some(table), Link::Plain(plain)) = (&mut self.plain, &conn.link) else { return false };
        let done = plain.is_done();
        if done {
            let index = table.by_remote.remove(&(plain.remote, plain.number));
            table.free.extend(index);
        }
        done
    }
}

#[cfg(test)]
mod tests;
