//! Everything that quinn-proto needs but a socket and a clock: connections, timers, the control stream and datagrams.
//!
//! Front-end, client and load generator are each one loop over a [`Driver`]: received UDP payloads go to
//! [`Driver::handle_datagram`], due timers to [`Driver::handle_timeouts`], and [`Driver::poll`] tells the [`Handler`] what
//! happened and hands out what is to be sent. Only connections that something happened to are touched.
//!
//! The control stream is the one stream of a connection: the client opens it, both ends write frames (see
//! [`crate::codec`]). The driver puts frames together and hands over whole ones.

mod addresses;
mod block;
mod conn;
mod link;
mod meter;
mod newcomers;
#[cfg(feature = "plain")]
pub mod plain;
mod report;
mod rounding;
mod wheel;

pub use block::Block;
pub use conn::{Conn, SendError, WriteError};
pub use meter::Limits;
pub use report::{Closed, DriverStats};

use crate::control::Code;
use crate::limits::{
    ACCEPTS_PER_POLL, MAX_CLIENT_FRAME, MAX_CONNECTIONS, MAX_FRAME, MAX_GSO_SEGMENTS, MAX_HANDSHAKES, MAX_NEWCOMERS, RETRY_SHARE,
};
use addresses::{Addresses, Origin, Verdict};
use bytes::BytesMut;
use conn::Event;
use link::Link;
use meter::Meter;
use newcomers::Newcomers;
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, Incoming, ServerConfig, Transmit,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use wheel::Wheel;

/// Names a connection of a driver; one that is over never names another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    /// Place in the driver's table; small, and used again.
    pub index: u32,
    /// How often the place was used.
    pub generation: u32,
}

/// What the application does about its connections.
///
/// It may write and send through the [`Conn`] it is given; what it wrote goes out before [`Driver::poll`] returns.
pub trait Handler<T> {
    /// Somebody wants to connect: the state to keep for the connection, or nothing to refuse. Clients are never asked.
    fn accepted(&mut self, remote: SocketAddr) -> Option<T> {
        let _ = remote;
        None
    }

    /// The handshake is done.
    fn connected(&mut self, conn: &mut Conn<T>);

    /// A datagram has arrived.
    fn datagram(&mut self, conn: &mut Conn<T>, bytes: &[u8]);

    /// The body of a control frame has arrived.
    fn frame(&mut self, conn: &mut Conn<T>, body: &[u8]);

    /// The connection is over, whoever ended it. Said once of each, also if its handshake failed; the connection is
    /// forgotten some time after. Not said where the first packet is broken, so that there is no connection: what
    /// [`Handler::accepted`] gave is dropped then.
    fn closed(&mut self, conn: &mut Conn<T>, why: &Closed);
}

/// Connections of one endpoint, server or client, each with a `T` of the application's.
pub struct Driver<T> {
    endpoint: Endpoint,
    slots: Vec<Slot<T>>,
    /// Places in `slots` of connections to look at, each at most once (`Conn::dirty`).
    dirty: Vec<u32>,
    dirty_spare: Vec<u32>,
    newcomers: Newcomers,
    addresses: Addresses,
    limits: Limits,
    /// The beginning of the microseconds that limits are counted in.
    epoch: Instant,
    wheel: Wheel,
    scratch: Vec<u8>,
    handshakes: usize,
    max_frame: usize,
    stats: DriverStats,
    #[cfg(feature = "plain")]
    plain: Option<plain::Table>,
}

struct Slot<T> {
    generation: u32,
    conn: Option<Box<Conn<T>>>,
}

impl<T> Driver<T> {
    /// Accepts connections, and makes none.
    pub fn server(now: Instant, endpoint: EndpointConfig, config: ServerConfig) -> Driver<T> {
        Driver::new(now, endpoint, Some(Arc::new(config)), MAX_CLIENT_FRAME)
    }

    /// Makes connections, and accepts none.
    pub fn client(now: Instant, endpoint: EndpointConfig) -> Driver<T> {
        Driver::new(now, endpoint, None, MAX_FRAME)
    }

    fn new(now: Instant, endpoint: EndpointConfig, server: Option<Arc<ServerConfig>>, max_frame: usize) -> Driver<T> {
        Driver {
            endpoint: Endpoint::new(Arc::new(endpoint), server, true, None),
            slots: Vec::new(),
            dirty: Vec::new(),
            dirty_spare: Vec::new(),
            newcomers: Newcomers::new(),
            addresses: Addresses::default(),
            limits: Limits::NONE,
            epoch: now,
            wheel: Wheel::new(now),
            scratch: Vec::with_capacity(MAX_GSO_SEGMENTS * 1500),
            handshakes: 0,
            max_frame,
            stats: DriverStats::default(),
            #[cfg(feature = "plain")]
            plain: None,
        }
    }

    /// Holds peers to these limits from now on; there are none before.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Begins a connection.
    pub fn connect(
        &mut self,
        now: Instant,
        config: ClientConfig,
        remote: SocketAddr,
        server_name: &str,
        app: T,
    ) -> Result<ConnId, quinn_proto::ConnectError> {
        let (handle, quic) = self.endpoint.connect(now, config, remote, server_name)?;
        Ok(self.insert(now, handle, quic, app, None))
    }

    /// Takes in one UDP payload. What it calls for is done by the next [`Driver::poll`], except for answers to packets of
    /// no connection.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        data: BytesMut,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) {
        self.stats.udp_in += 1;
        self.stats.bytes_in += data.len() as u64;
        #[cfg(feature = "plain")]
        if self.plain.is_some() {
            return self.handle_plain(now, from, &data, out);
        }
        self.scratch.clear();
        let (now_us, bytes) = (self.micros(now), data.len() as u32);
        // A first packet costs a key derivation before it can be seen whose it is.
        if is_initial(&data) && !self.addresses.hears_stranger(&self.limits, from.ip(), now_us) {
            self.stats.strangers_limited += 1;
            return;
        }
        match self.endpoint.handle(now, from, local_ip, ecn, data, &mut self.scratch) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let Some(conn) = self.slots.get_mut(handle.0).and_then(|slot| slot.conn.as_mut()) else { return };
                let pass = conn.meter.packet(&self.limits, from == conn.remote(), now_us, bytes);
                self.stats.packets_limited += u64::from(pass != meter::Pass::Yes);
                if pass == meter::Pass::Dropped {
                    return;
                }
                let was_open = conn.is_open();
                let was_used = conn.take_packet(event);
                self.stats.packets_unusable += u64::from(was_open && !was_used);
                if was_used && !conn.meter.testify(&self.limits, pass, now_us, bytes) {
                    conn.close(Code::Flooding, "more packets than a client may send");
                }
                conn.make_dirty(&mut self.dirty);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.consider(now, incoming, out),
            Some(DatagramEvent::Response(transmit)) => {
                if self.addresses.hears_stranger(&self.limits, from.ip(), now_us) {
                    self.respond(&transmit, out);
                } else {
                    self.stats.strangers_limited += 1;
                }
            }
            None => self.stats.packets_unusable += 1,
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }

    /// Lets timers go off that are due.
    pub fn handle_timeouts(&mut self, now: Instant) {
        while let Some((due, index)) = self.wheel.next_due(now) {
            let Some(conn) = self.slots.get_mut(index as usize).and_then(|slot| slot.conn.as_mut()) else { continue };
            if conn.armed == 0 || conn.armed > due {
                continue;
            }
            conn.armed = 0;
            match conn.next_timeout() {
                Some(deadline) if deadline <= now => {
                    self.stats.timeouts += 1;
                    conn.link.handle_timeout(now);
                    conn.outbound = true;
                    conn.make_dirty(&mut self.dirty);
                }
                Some(deadline) => self.wheel.arm(index, &mut conn.armed, deadline),
                None => {}
            }
        }
    }

    /// When [`Driver::handle_timeouts`] is next to be called; it may be early, never late.
    pub fn next_timeout(&self) -> Option<Instant> {
        // Handshakes that wait for their turn are due at once.
        if self.has_newcomers() { Some(self.epoch) } else { self.wheel.next() }
    }

    /// Whether [`Driver::poll`] has something to do.
    pub fn has_work(&self) -> bool {
        #[cfg(feature = "plain")]
        if self.plain.as_ref().is_some_and(|plain| !plain.incoming.is_empty()) {
            return true;
        }
        !self.dirty.is_empty() || self.has_newcomers()
    }

    /// Tells the handler what happened and hands out everything that is to be sent. A transmission of several segments
    /// says their size in `segment_size`; the last may be shorter.
    pub fn poll(&mut self, now: Instant, handler: &mut impl Handler<T>, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.forget_stale(now);
        for _ in 0..ACCEPTS_PER_POLL {
            if !self.has_newcomers() {
                break;
            }
            if let Some((incoming, origin)) = self.newcomers.next() {
                self.accept(now, incoming, origin, handler, out);
            }
        }
        self.poll_known(now, handler, out);
    }

    /// Whether handshakes wait that [`Driver::poll`] may begin. Those beyond [`MAX_HANDSHAKES`] under way wait for one to end.
    pub fn has_newcomers(&self) -> bool {
        !self.newcomers.is_empty() && self.handshakes < MAX_HANDSHAKES
    }

    /// Handshakes that wait to be begun.
    pub fn newcomers(&self) -> usize {
        self.newcomers.len()
    }

    /// As [`Driver::poll`], but begins no handshake: for what must not wait for newcomers.
    pub fn poll_known(&mut self, now: Instant, handler: &mut impl Handler<T>, out: &mut impl FnMut(&Transmit, &[u8])) {
        #[cfg(feature = "plain")]
        self.accept_plain(now, handler, out);
        let spare = std::mem::take(&mut self.dirty_spare);
        let mut dirty = std::mem::replace(&mut self.dirty, spare);
        for index in dirty.drain(..) {
            // The connection is taken out of its place, so that the endpoint and the wheel can be used meanwhile.
            let Some(mut conn) = self.slots[index as usize].conn.take() else { continue };
            conn.dirty = false;
            if self.drive(now, &mut conn, handler, out) {
                self.addresses.release(conn.origin);
                continue;
            }
            if let Some(deadline) = conn.next_timeout() {
                self.wheel.arm(index, &mut conn.armed, deadline);
            }
            self.slots[index as usize].conn = Some(conn);
        }
        self.dirty_spare = dirty;
    }

    /// A connection to write to; the next [`Driver::poll`] sends what was written.
    pub fn connection(&mut self, id: ConnId) -> Option<&mut Conn<T>> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let conn = slot.conn.as_mut()?;
        conn.make_dirty(&mut self.dirty);
        Some(conn)
    }

    /// A connection to look at only.
    pub fn get(&self, id: ConnId) -> Option<&Conn<T>> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.conn.as_deref()
    }

    /// Says that our socket has another address from now on, so that every peer is told.
    pub fn address_changed(&mut self) {
        for conn in self.slots.iter_mut().filter_map(|slot| slot.conn.as_mut()).filter(|conn| conn.is_open()) {
            conn.link.address_changed();
            conn.outbound = true;
            conn.make_dirty(&mut self.dirty);
        }
    }

    /// Makes the next [`Driver::poll`] look at a connection.
    pub fn mark_dirty(&mut self, id: ConnId) {
        let _ = self.connection(id);
    }

    /// All connections that aren't forgotten yet, to look at.
    pub fn connections(&self) -> impl Iterator<Item = &Conn<T>> {
        self.slots.iter().filter_map(|slot| slot.conn.as_deref())
    }

    /// Closes all connections.
    pub fn close_all(&mut self, code: Code, reason: &str) {
        for conn in self.slots.iter_mut().filter_map(|slot| slot.conn.as_mut()) {
            conn.close(code, reason);
            conn.make_dirty(&mut self.dirty);
        }
    }

    /// Connections that aren't forgotten yet, closed ones included.
    pub fn open_connections(&self) -> usize {
        #[cfg(feature = "plain")]
        if let Some(plain) = &self.plain {
            return plain.connections();
        }
        self.endpoint.open_connections()
    }

    /// What was counted so far.
    pub fn stats(&self) -> DriverStats {
        self.stats
    }

    /// Lets a newcomer wait for its turn, and asks it to prove its address when it is needed to tell who it is: many handshakes are under
    /// way, or from that address. When many wait already it is to come again, and it is refused when there is no room for its connection.
    fn consider(&mut self, now: Instant, incoming: Incoming, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.forget_stale(now);
        let handshakes = self.handshakes + self.newcomers.len();
        if self.endpoint.open_connections() + self.newcomers.len() >= MAX_CONNECTIONS {
            self.stats.refused_full += 1;
            return self.refuse(incoming, out);
        }
        let proven = incoming.remote_address_validated() || !incoming.may_retry();
        // The answer also tells an honest peer that there is somebody, so that it keeps trying.
        if handshakes >= MAX_NEWCOMERS / RETRY_SHARE && !proven {
            return self.retry(incoming, out);
        }
        if self.newcomers.is_full() {
            self.stats.handshakes_put_off += 1;
            return self.endpoint.ignore(incoming);
        }
        match self.addresses.admit(&self.limits, incoming.remote_address().ip(), proven, self.micros(now)) {
            Verdict::Admit(origin) => self.newcomers.add(now, (incoming, origin)),
            Verdict::Prove => self.retry(incoming, out),
            Verdict::TooFast => {
                self.stats.handshakes_limited += 1;
                self.endpoint.ignore(incoming);
            }
            Verdict::TooMany => {
                self.stats.addresses_full += 1;
                self.refuse(incoming, out);
            }
        }
    }

    /// Forgets the newcomers that have waited so long that their packets come again, or that their peers have given up.
    fn forget_stale(&mut self, now: Instant) {
        while let Some((incoming, origin)) = self.newcomers.next_stale(now) {
            self.stats.handshakes_put_off += 1;
            self.addresses.release(origin);
            self.endpoint.ignore(incoming);
        }
    }

    fn refuse(&mut self, incoming: Incoming, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.scratch.clear();
        let transmit = self.endpoint.refuse(incoming, &mut self.scratch);
        self.respond(&transmit, out);
    }

    fn retry(&mut self, incoming: Incoming, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.scratch.clear();
        self.stats.retried += 1;
        match self.endpoint.retry(incoming, &mut self.scratch) {
            Ok(transmit) => self.respond(&transmit, out),
            Err(error) => self.endpoint.ignore(error.into_incoming()),
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        incoming: Incoming,
        origin: Option<Origin>,
        handler: &mut impl Handler<T>,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) {
        let Some(app) = handler.accepted(incoming.remote_address()) else {
            self.stats.refused_by_handler += 1;
            self.addresses.release(origin);
            return self.refuse(incoming, out);
        };
        self.scratch.clear();
        // Counted before it can fail: what is accepted less what failed or was closed is what is there.
        self.stats.accepted += 1;
        match self.endpoint.accept(incoming, now, &mut self.scratch, None) {
            Ok((handle, quic)) => {
                self.insert(now, handle, quic, app, origin);
            }
            Err(error) => {
                self.stats.handshake_failed += 1;
                self.addresses.release(origin);
                if let Some(transmit) = error.response {
                    self.respond(&transmit, out);
                }
            }
        }
    }

    fn insert(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
        app: T,
        origin: Option<Origin>,
    ) -> ConnId {
        while self.slots.len() <= handle.0 {
            self.slots.push(Slot { generation: 0, conn: None });
        }
        self.fill(now, handle.0 as u32, Link::Quic(quic), app, origin)
    }

    /// Puts a new connection into its place.
    fn fill(&mut self, now: Instant, index: u32, link: Link, app: T, origin: Option<Origin>) -> ConnId {
        let meter = Meter::new(&self.limits, self.micros(now));
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let id = ConnId { index, generation: slot.generation };
        let conn = slot.conn.insert(Box::new(Conn::new(id, link, app, meter, origin)));
        conn.make_dirty(&mut self.dirty);
        self.handshakes += 1;
        id
    }

    fn respond(&mut self, transmit: &Transmit, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.stats.responses += 1;
        self.stats.udp_out += 1;
        self.stats.bytes_out += transmit.size as u64;
        out(transmit, &self.scratch[..transmit.size]);
    }

    /// Does everything that there is to do for one connection; true if it is to be forgotten.
    fn drive(
        &mut self,
        now: Instant,
        conn: &mut Conn<T>,
        handler: &mut impl Handler<T>,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) -> bool {
        let handle = ConnectionHandle(conn.id().index as usize);
        loop {
            while let Some(event) = conn.next_event(self.max_frame, &mut self.stats) {
                self.tell(conn, event, handler);
            }
            conn.flush_control(&mut self.stats);
            if let Some(why) = conn.take_close(now) {
                self.tell(conn, Event::Closed(why), handler);
            }
            if conn.may_transmit() {
                self.transmit(now, conn, out);
                self.catch_up(now, conn, out);
                (conn.outbound, conn.waits_since) = (false, None);
            } else {
                conn.waits_since.get_or_insert(now);
            }
            #[cfg(feature = "plain")]
            if self.forget_plain(conn) {
                return true;
            }
            let mut again = false;
            while let Some((quic, event)) =
                conn.link.quic().and_then(|quic| quic.poll_endpoint_events().map(|event| (quic, event)))
            {
                let drained = event.is_drained();
                let answer = self.endpoint.handle_event(handle, event);
                if drained {
                    return true;
                }
                if let Some(answer) = answer {
                    quic.handle_event(answer);
                    again = true;
                }
            }
            if !again {
                return false;
            }
        }
    }

    fn tell(&mut self, conn: &mut Conn<T>, event: Event, handler: &mut impl Handler<T>) {
        match event {
            Event::Connected => {
                self.stats.connected += 1;
                self.handshakes -= 1;
                handler.connected(conn);
            }
            Event::Datagram(bytes) => handler.datagram(conn, &bytes),
            Event::Frames(frames) => {
                let rest = frames.each(self.max_frame, |body| {
                    self.stats.frames_in += 1;
                    handler.frame(conn, body);
                    conn.is_open()
                });
                conn.return_frames(rest, &mut self.stats);
            }
            Event::Closed(why) => {
                if !conn.was_connected() {
                    self.handshakes -= 1;
                    self.stats.handshake_failed += 1;
                } else if matches!(why, Closed::ByUs(_)) {
                    self.stats.closed_by_us += 1;
                } else {
                    self.stats.closed_by_peer += 1;
                }
                handler.closed(conn, &why);
            }
        }
    }

    /// Lets a timer go off that has waited for this send. What was just sent has settled most of them.
    fn catch_up(&mut self, now: Instant, conn: &mut Conn<T>, out: &mut impl FnMut(&Transmit, &[u8])) {
        if !conn.rounding.is_exact() && conn.link.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.stats.timeouts += 1;
            conn.link.handle_timeout(now);
            self.transmit(now, conn, out);
        }
    }

    fn transmit(&mut self, now: Instant, conn: &mut Conn<T>, out: &mut impl FnMut(&Transmit, &[u8])) {
        loop {
            self.scratch.clear();
            let Some(transmit) = conn.link.poll_transmit(now, MAX_GSO_SEGMENTS, &mut self.scratch) else { return };
            let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
            self.stats.udp_out += transmit.size.div_ceil(segment) as u64;
            self.stats.bytes_out += transmit.size as u64;
            out(&transmit, &self.scratch[..transmit.size]);
        }
    }
}

/// Whether a packet looks like the first of a connection (RFC 9000, section 17.2.2).
fn is_initial(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0b1011_0000 == 0b1000_0000)
}

#[cfg(test)]
mod tests;
