//! Many sessions in one loop: one UDP socket, one driver, and whatever the sessions have to say.
//!
//! [`Hub::pump`] is where everything happens: datagrams in, timers, sessions, datagrams out. It never blocks. A
//! program that has nothing to do sleeps in [`Hub::wait`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quinn_proto::ClientConfig;
use ringfort_protocol::WireLayout;
use ringfort_protocol::component::Wire;
use ringfort_protocol::control::{Code, JoinTarget};
use ringfort_protocol::driver::{Closed, Conn, ConnId, Driver, Handler};
use ringfort_protocol::limits::{IDLE_SECONDS, MAX_PLAYER_NAME_BYTES};
use ringfort_protocol::quic::{self, Trust};

use crate::error::{Ended, Error};
use crate::limits;
use crate::session::{Session, Snapshot};
use crate::udp::Udp;

/// Names a session of a hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionKey(u32);

impl SessionKey {
    /// Its place, from 0 on in the order of [`Hub::connect`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Told of every snapshot at the moment it is applied, for programs that measure. `()` watches nothing.
pub trait Watch<W: Wire> {
    /// `session` has just applied `snapshot`.
    fn snapshot(&mut self, key: SessionKey, session: &Session<W>, snapshot: &Snapshot);
}

impl<W: Wire> Watch<W> for () {
    fn snapshot(&mut self, _key: SessionKey, _session: &Session<W>, _snapshot: &Snapshot) {}
}

/// What is known of a connection's quality.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Net {
    /// Smoothed round trip without the wait for the tick; nothing before the first acknowledged input.
    pub rtt: Option<Duration>,
    /// Age of the newest snapshot; nothing before the first.
    pub snapshot_age: Option<Duration>,
    /// Share of our packets that were lost, 0.0 to 1.0.
    pub loss: f32,
}

/// One socket and its sessions. Sessions stay until the hub is dropped, ended ones too.
pub struct Hub<W: Wire> {
    udp: Udp,
    driver: Driver<SessionKey>,
    config: ClientConfig,
    layout: WireLayout,
    seats: Vec<Seat<W>>,
    /// Sessions that may have something to say, each at most once.
    touched: Vec<SessionKey>,
    timers: BinaryHeap<Reverse<(Instant, SessionKey)>>,
    scratch: Vec<u8>,
}

struct Seat<W: Wire> {
    session: Session<W>,
    connection: ConnId,
    touched: bool,
    armed: Option<Instant>,
}

impl<W: Wire> Hub<W> {
    /// A hub on a socket at `local`; port 0 lets the kernel choose.
    pub fn bind(local: SocketAddr, trust: Trust) -> Result<Hub<W>, Error> {
        Ok(Hub {
            udp: Udp::bind(local)?,
            driver: Driver::client(Instant::now(), quic::client_endpoint()),
            config: quic::client_config(trust)?,
            layout: WireLayout::new(W::schema())?,
            seats: Vec::new(),
            touched: Vec::new(),
            timers: BinaryHeap::new(),
            scratch: Vec::new(),
        })
    }

    /// Starts a session: connection and hello. `server_name` is what the server's certificate must be made out to.
    pub fn connect(&mut self, now: Instant, server: SocketAddr, server_name: &str, name: &str) -> Result<SessionKey, Error> {
        if name.len() > MAX_PLAYER_NAME_BYTES {
            return Err(Error::NameTooLong);
        }
        if self.seats.len() >= limits::SESSIONS_MAX {
            return Err(Error::TooManySessions);
        }
        let key = SessionKey(self.seats.len() as u32);
        let connection = self.driver.connect(now, self.config.clone(), server, server_name, key)?;
        let session = Session::new(name.to_owned(), self.layout.clone());
        self.seats.push(Seat { session, connection, touched: false, armed: None });
        Ok(key)
    }

    /// Asks for a place in a match, now or as soon as the server has welcomed the session.
    pub fn join(&mut self, key: SessionKey, target: JoinTarget) {
        let nonce = random_nonce();
        self.session_mut(key).join(target, nonce);
    }

    /// A session, to look at.
    pub fn session(&self, key: SessionKey) -> &Session<W> {
        &self.seats[key.index()].session
    }

    /// A session, to take its events or tell it something; what it has to say goes out with the next pump or flush.
    pub fn session_mut(&mut self, key: SessionKey) -> &mut Session<W> {
        let seat = &mut self.seats[key.index()];
        touch(&mut self.touched, seat, key);
        &mut seat.session
    }

    /// Sends a session's next input, with those before it that the server lacks. It leaves with the next pump or flush.
    /// Returns its sequence; nothing when the session is in no match.
    pub fn send(&mut self, now: Instant, key: SessionKey, input: W::Input) -> Option<u32> {
        let seat = &mut self.seats[key.index()];
        let sequence = seat.session.push_input(now, input)?;
        send_datagram(&mut self.driver, &mut self.scratch, seat, now);
        touch(&mut self.touched, seat, key);
        Some(sequence)
    }

    /// Handles everything that has arrived or is due and sends what there is to send. Never blocks.
    pub fn pump(&mut self, now: Instant, watch: &mut impl Watch<W>) -> Result<(), Error> {
        let Hub { udp, driver, .. } = self;
        udp.receive(|link, datagram| {
            let mut out = |transmit: &_, bytes: &[u8]| link.send(transmit, bytes);
            driver.handle_datagram(now, datagram.from, datagram.local_ip, datagram.ecn, datagram.data, &mut out);
        })?;
        self.driver.handle_timeouts(now);
        self.poll(now, watch);
        self.fire_timers(now);
        self.flush_to(now, watch);
        Ok(())
    }

    /// Sends what was given since the last pump, without looking for what has arrived.
    pub fn flush(&mut self, now: Instant) {
        self.flush_to(now, &mut ());
    }

    /// When the next pump is due although nothing arrives.
    pub fn next_timeout(&self) -> Option<Instant> {
        let own = self.timers.peek().map(|Reverse((at, _))| *at);
        own.into_iter().chain(self.driver.next_timeout()).min()
    }

    /// Sleeps until something arrives, a timer is due, or `until`; returns whether something has arrived.
    pub fn wait(&self, until: Option<Instant>) -> io::Result<bool> {
        let until = until.into_iter().chain(self.next_timeout()).min();
        self.udp.wait(until.map(|until| until.saturating_duration_since(Instant::now())))
    }

    /// Figures of a session's connection.
    pub fn net(&self, now: Instant, key: SessionKey) -> Net {
        let seat = &self.seats[key.index()];
        let path = self.driver.get(seat.connection).map(|connection| connection.stats().path);
        let age = seat.session.snapshot_at().map(|at| now.saturating_duration_since(at));
        Net {
            rtt: seat.session.rtt(),
            snapshot_age: age,
            loss: path.map_or(0.0, |path| path.lost_packets as f32 / path.sent_packets.max(1) as f32),
        }
    }

    /// Where our socket is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.link().local_addr()
    }

    fn flush_to(&mut self, now: Instant, watch: &mut impl Watch<W>) {
        self.settle(now);
        if self.driver.has_work() {
            self.poll(now, watch);
        }
    }

    fn poll(&mut self, now: Instant, watch: &mut impl Watch<W>) {
        let Hub { udp, driver, seats, touched, .. } = self;
        let link = udp.link();
        let mut router = Router { now, seats, touched, watch };
        driver.poll(now, &mut router, &mut |transmit, bytes| link.send(transmit, bytes));
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let seat = &mut self.seats[key.index()];
            if seat.armed == Some(at) {
                seat.armed = None;
                touch(&mut self.touched, seat, key);
            }
        }
    }

    /// Hands the driver what the touched sessions have to say.
    fn settle(&mut self, now: Instant) {
        while let Some(key) = self.touched.pop() {
            let seat = &mut self.seats[key.index()];
            seat.touched = false;
            seat.session.handle_timeout(now);
            if seat.session.datagram_due(now) {
                send_datagram(&mut self.driver, &mut self.scratch, seat, now);
            }
            write_control(&mut self.driver, seat);
            if let Some(at) = seat.session.next_timeout()
                && seat.armed.is_none_or(|armed| at < armed)
            {
                seat.armed = Some(at);
                self.timers.push(Reverse((at, key)));
            }
        }
    }
}

/// Servers need not wait for the idle time-out of a client that just goes away.
impl<W: Wire> Drop for Hub<W> {
    fn drop(&mut self) {
        self.driver.close_all(Code::Left, "");
        self.poll(Instant::now(), &mut ());
    }
}

/// Brings what the driver tells to the session that it concerns.
struct Router<'a, W: Wire, V> {
    now: Instant,
    seats: &'a mut [Seat<W>],
    touched: &'a mut Vec<SessionKey>,
    watch: &'a mut V,
}

impl<W: Wire, V> Router<'_, W, V> {
    fn session(&mut self, key: SessionKey) -> &mut Session<W> {
        let seat = &mut self.seats[key.index()];
        touch(self.touched, seat, key);
        &mut seat.session
    }
}

impl<W: Wire, V: Watch<W>> Handler<SessionKey> for Router<'_, W, V> {
    fn connected(&mut self, conn: &mut Conn<SessionKey>) {
        self.session(conn.app).handle_connected();
    }

    fn datagram(&mut self, conn: &mut Conn<SessionKey>, bytes: &[u8]) {
        let now = self.now;
        if let Some(snapshot) = self.session(conn.app).handle_datagram(now, bytes) {
            self.watch.snapshot(conn.app, &self.seats[conn.app.index()].session, &snapshot);
        }
    }

    fn frame(&mut self, conn: &mut Conn<SessionKey>, body: &[u8]) {
        let now = self.now;
        self.session(conn.app).handle_control(now, body);
    }

    fn closed(&mut self, conn: &mut Conn<SessionKey>, why: &Closed) {
        self.session(conn.app).handle_closed(ended(why));
    }
}

fn touch<W: Wire>(touched: &mut Vec<SessionKey>, seat: &mut Seat<W>, key: SessionKey) {
    if !seat.touched {
        seat.touched = true;
        touched.push(key);
    }
}

/// A datagram that the connection does not take is lost as on the wire: the next one repeats its inputs.
fn send_datagram<W: Wire>(driver: &mut Driver<SessionKey>, scratch: &mut Vec<u8>, seat: &mut Seat<W>, now: Instant) {
    seat.session.write_datagram(now, scratch);
    if let Some(connection) = driver.connection(seat.connection) {
        let _ = connection.send_datagram(scratch);
    }
}

/// Frames, then the close; both only if there is something, because looking up a connection makes the driver poll it.
fn write_control<W: Wire>(driver: &mut Driver<SessionKey>, seat: &mut Seat<W>) {
    let closing = seat.session.poll_close();
    if seat.session.control().is_empty() && closing.is_none() {
        return;
    }
    if let Some(connection) = driver.connection(seat.connection) {
        // An overflow closes the connection by itself, and `closed` tells.
        let _ = connection.write_control(seat.session.control());
        if let Some((code, reason)) = closing {
            connection.close(code, &reason);
        }
    }
    seat.session.control().clear();
}

fn ended(why: &Closed) -> Ended {
    let lost = |reason: String| Ended::Lost { reason };
    match why {
        Closed::ByUs(code) => Ended::Closed { code: *code, reason: "closed by us".to_owned() },
        Closed::ByPeer { code, reason } => {
            let reason = String::from_utf8_lossy(reason).into_owned();
            match Code::from_u64(*code) {
                Some(Code::SchemaMismatch) => Ended::SchemaMismatch { first: reason },
                Some(code) => Ended::Closed { code, reason },
                None => lost(format!("closed with the unknown code {code}")),
            }
        }
        Closed::Refused => Ended::Closed { code: Code::NoRoom, reason: "the server takes no more connections".to_owned() },
        Closed::TimedOut => lost(format!("nothing was heard for {IDLE_SECONDS} s")),
        Closed::Reset => lost("the server has forgotten the connection".to_owned()),
        Closed::Broken(error) => lost(error.to_string()),
    }
}

fn random_nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    let random = rustls::crypto::ring::default_provider().secure_random;
    // Without randomness of the system there is no TLS either, so this is no new way to fail.
    random.fill(&mut nonce).expect("the system has no random bytes");
    nonce
}
