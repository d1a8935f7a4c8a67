//! Many sessions over one driver, without a socket or a clock: what arrives is given in, what is to be sent comes out.
//!
//! [`crate::Hub`] puts a socket under it; a simulation puts a network of its own there. A lost connection is made again here, as
//! [`crate::session`] decides.

mod lines;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{ClientConfig, EcnCodepoint, Transmit};
use ringfort_protocol::component::Wire;
use ringfort_protocol::control::{Code, Credential, JoinTarget};
use ringfort_protocol::driver::{Block, Closed, Conn, Driver, Handler};
use ringfort_protocol::limits::{IDLE_SECONDS, MAX_PLAYER_NAME_BYTES, MAX_TOKEN_BYTES};
use ringfort_protocol::{ResumeToken, View, WireLayout};

use crate::error::{Ended, Error};
use crate::limits;
use crate::session::{Session, Snapshot};

use lines::{Dice, Line, Numbers, Road};

/// Names a session of a hub.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionKey(u32);

impl SessionKey {
    /// Its place, from 0 on in the order of [`Hub::connect`](crate::Hub::connect).
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
    /// Inputs and commands that the server has given up because the game failed on them.
    pub rejected: u64,
}

/// What sessions cannot know by themselves: they look at no clock and roll no dice.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The time.
    pub now: Instant,
    /// The same, in milliseconds of the Unix epoch: a server tells the connections of a client apart by it, also over a restart of its program.
    pub unix_ms: u64,
    /// A random number. Of many clients that lose their connections at once each tries again at a time of its own.
    pub seed: u64,
}

/// A driver and its sessions. Sessions stay until this is dropped or they are forgotten, ended ones too.
pub struct Sessions<W: Wire> {
    driver: Driver<SessionKey>,
    layout: WireLayout,
    seats: Vec<Seat<W>>,
    /// Places of sessions that were forgotten.
    free: Vec<SessionKey>,
    /// Sessions that may have something to say, each at most once.
    touched: Vec<SessionKey>,
    timers: BinaryHeap<Reverse<(Instant, SessionKey)>>,
    scratch: Vec<u8>,
    block: Block,
    dice: Dice,
    numbers: Numbers,
    give_up_after: Duration,
}

struct Seat<W: Wire> {
    session: Session<W>,
    line: Line,
    touched: bool,
    armed: Option<Instant>,
}

impl<W: Wire> Sessions<W> {
    /// No sessions yet, over this driver.
    pub fn new(driver: Driver<SessionKey>, start: Start) -> Result<Sessions<W>, Error> {
        Ok(Sessions {
            driver,
            layout: WireLayout::new(W::schema())?,
            seats: Vec::new(),
            free: Vec::new(),
            touched: Vec::new(),
            timers: BinaryHeap::new(),
            scratch: Vec::new(),
            block: Block::new(limits::SEND_BLOCK_BYTES),
            dice: Dice::new(start.seed),
            numbers: Numbers::new(start),
            give_up_after: limits::RESUME_MAX,
        })
    }

    /// For how long sessions of from now on try to get a lost connection back; [`limits::RESUME_MAX`] unless this is said. When it is zero, a
    /// lost connection is the end of its session.
    pub fn give_up_after(&mut self, patience: Duration) {
        self.give_up_after = patience;
    }

    /// Starts a session: connection and hello. `server_name` is what the server's certificate must be made out to.
    pub fn connect(
        &mut self,
        now: Instant,
        config: ClientConfig,
        server: SocketAddr,
        server_name: &str,
        credential: Credential,
    ) -> Result<SessionKey, Error> {
        let road = Road::Quic { config: Box::new(config), server, server_name: server_name.into() };
        self.seat(now, road, credential, None)
    }

    /// Goes on with a session that an earlier run of the program was given this token for, instead of a join. It is told as joined when
    /// the server has given it back, and ends when the server does not.
    pub fn resume(
        &mut self,
        now: Instant,
        config: ClientConfig,
        server: SocketAddr,
        server_name: &str,
        credential: Credential,
        token: ResumeToken,
    ) -> Result<SessionKey, Error> {
        let road = Road::Quic { config: Box::new(config), server, server_name: server_name.into() };
        self.seat(now, road, credential, Some(token))
    }

    /// Starts a session over a plain connection, for simulations.
    #[cfg(feature = "plain")]
    pub fn connect_plain(&mut self, now: Instant, server: SocketAddr, name: &str) -> Result<SessionKey, Error> {
        self.seat(now, Road::Plain(server), Credential::Name(name.to_owned()), None)
    }

    fn seat(
        &mut self,
        now: Instant,
        road: Road,
        credential: Credential,
        token: Option<ResumeToken>,
    ) -> Result<SessionKey, Error> {
        let key = self.next_key(&credential)?;
        let connection = road.connect(&mut self.driver, now, key, None)?;
        let mut session = Session::new(now, self.numbers.next(now), credential, self.layout.clone());
        session.give_up_after(self.give_up_after);
        if let Some(token) = token {
            session.resume_from(token);
        }
        let line = Line { road, connection: Some(connection) };
        match self.free.pop() {
            Some(_) => {
                let seat = &mut self.seats[key.index()];
                (seat.session, seat.line, seat.armed) = (session, line, None);
            }
            None => self.seats.push(Seat { session, line, touched: false, armed: None }),
        }
        // Its connection may keep silent from the first packet on.
        self.session_mut(key);
        Ok(key)
    }

    fn next_key(&self, credential: &Credential) -> Result<SessionKey, Error> {
        match credential {
            Credential::Name(name) if name.len() > MAX_PLAYER_NAME_BYTES => return Err(Error::NameTooLong),
            Credential::Token(token) if token.len() > MAX_TOKEN_BYTES => return Err(Error::TokenTooLong),
            Credential::Name(_) | Credential::Token(_) => {}
        }
        if let Some(key) = self.free.last() {
            return Ok(*key);
        }
        if self.seats.len() >= limits::SESSIONS_MAX {
            return Err(Error::TooManySessions);
        }
        Ok(SessionKey(self.seats.len() as u32))
    }

    /// Gives up the place of a session that has ended, so that a later one may have its key. One that has not ended stays.
    pub fn forget(&mut self, key: SessionKey) {
        if self.session(key).is_ended() && !self.free.contains(&key) {
            let seat = &mut self.seats[key.index()];
            write_control(&mut self.driver, seat);
            seat.line.connection = None;
            self.free.push(key);
        }
    }

    /// Asks for a place in a match, now or as soon as the server has welcomed the session. `nonce` is random.
    pub fn join(&mut self, key: SessionKey, target: JoinTarget, nonce: [u8; 16]) {
        self.session_mut(key).join(target, nonce);
    }

    /// [`Sessions::join`] to watch only.
    pub fn spectate(&mut self, key: SessionKey, target: JoinTarget, nonce: [u8; 16]) {
        self.session_mut(key).spectate(target, nonce);
    }

    /// A session, to look at.
    pub fn session(&self, key: SessionKey) -> &Session<W> {
        &self.seats[key.index()].session
    }

    /// A session, to take its events or tell it something; what it has to say goes out with the next poll or flush.
    pub fn session_mut(&mut self, key: SessionKey) -> &mut Session<W> {
        let seat = &mut self.seats[key.index()];
        touch(&mut self.touched, seat, key);
        &mut seat.session
    }

    /// Sends a session's next input, with those before it that the server lacks. It leaves with the next poll or flush.
    /// Returns its sequence; nothing when the session is in no match.
    pub fn send(&mut self, now: Instant, key: SessionKey, input: W::Input) -> Option<u32> {
        let seen = View { tick: self.session(key).view().tick(), span: 0, alpha: 0 };
        self.send_seen(now, key, input, seen).map(|(sequence, _)| sequence)
    }

    /// [`Sessions::send`] of an input that was given at the sight of a moment other than the newest snapshot. Returns the input, too,
    /// as it is sent: rounded, and a button that was held before without its edge.
    pub fn send_seen(&mut self, now: Instant, key: SessionKey, input: W::Input, seen: View) -> Option<(u32, W::Input)> {
        let seat = &mut self.seats[key.index()];
        let sent = seat.session.push_input(now, input, seen)?;
        send_datagram(&mut self.driver, &mut self.scratch, &mut self.block, seat, now);
        touch(&mut self.touched, seat, key);
        Some(sent)
    }

    /// Takes in one UDP payload; [`Sessions::poll`] must follow.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<EcnCodepoint>,
        data: BytesMut,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) {
        self.driver.handle_datagram(now, from, local_ip, ecn, data, out);
    }

    /// Handles everything that has arrived or is due, and hands out what there is to send.
    pub fn poll(&mut self, now: Instant, watch: &mut impl Watch<W>, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.driver.handle_timeouts(now);
        self.drive(now, watch, out);
        self.fire_timers(now);
        self.flush(now, watch, out);
    }

    /// Hands out what there is to send since the last poll.
    pub fn flush(&mut self, now: Instant, watch: &mut impl Watch<W>, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.settle(now);
        if self.driver.has_work() {
            self.drive(now, watch, out);
        }
    }

    /// When the next poll is due although nothing arrives.
    pub fn next_timeout(&self) -> Option<Instant> {
        let own = self.timers.peek().map(|Reverse((at, _))| *at);
        own.into_iter().chain(self.driver.next_timeout()).min()
    }

    /// Closes all connections, so that the server need not wait for their time-out.
    pub fn close_all(&mut self, now: Instant, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.driver.close_all(Code::Left, "");
        self.drive(now, &mut (), out);
    }

    /// Closes all connections and keeps the places in their matches: whoever has their tokens can have them back.
    pub fn detach_all(&mut self, now: Instant, out: &mut impl FnMut(&Transmit, &[u8])) {
        self.driver.close_all(Code::Reconnect, "");
        self.drive(now, &mut (), out);
    }

    /// Our socket has another address from now on: connections stay, and their peers are told with the next poll or flush.
    pub fn address_changed(&mut self) {
        self.driver.address_changed();
    }

    /// Figures of a session's connection.
    pub fn net(&self, now: Instant, key: SessionKey) -> Net {
        let seat = &self.seats[key.index()];
        let path = seat.line.connection.and_then(|id| self.driver.get(id)).map(|connection| connection.stats().path);
        let age = seat.session.snapshot_at().map(|at| now.saturating_duration_since(at));
        Net {
            rtt: seat.session.rtt(),
            snapshot_age: age,
            loss: path.map_or(0.0, |path| path.lost_packets as f32 / path.sent_packets.max(1) as f32),
            rejected: seat.session.rejected(),
        }
    }

    fn drive(&mut self, now: Instant, watch: &mut impl Watch<W>, out: &mut impl FnMut(&Transmit, &[u8])) {
        let Sessions { driver, seats, touched, dice, .. } = self;
        driver.poll(now, &mut Router { now, seats, touched, dice, watch }, out);
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
            lines::keep(&mut self.driver, &mut self.dice, &mut self.numbers, seat, key, now);
            seat.session.handle_timeout(now);
            if seat.session.datagram_due(now) {
                send_datagram(&mut self.driver, &mut self.scratch, &mut self.block, seat, now);
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

/// Brings what the driver tells to the session that it concerns.
struct Router<'a, W: Wire, V> {
    now: Instant,
    seats: &'a mut [Seat<W>],
    touched: &'a mut Vec<SessionKey>,
    dice: &'a mut Dice,
    watch: &'a mut V,
}

impl<W: Wire, V> Router<'_, W, V> {
    /// The session of a connection, unless it has another one by now.
    fn session(&mut self, conn: &Conn<SessionKey>) -> Option<&mut Session<W>> {
        let seat = &mut self.seats[conn.app.index()];
        if seat.line.connection != Some(conn.id()) {
            return None;
        }
        touch(self.touched, seat, conn.app);
        Some(&mut seat.session)
    }
}

impl<W: Wire, V: Watch<W>> Handler<SessionKey> for Router<'_, W, V> {
    fn connected(&mut self, conn: &mut Conn<SessionKey>) {
        let now = self.now;
        if let Some(session) = self.session(conn) {
            session.handle_connected(now);
        }
    }

    fn datagram(&mut self, conn: &mut Conn<SessionKey>, bytes: &[u8]) {
        let now = self.now;
        if let Some(snapshot) = self.session(conn).and_then(|session| session.handle_datagram(now, bytes)) {
            self.watch.snapshot(conn.app, &self.seats[conn.app.index()].session, &snapshot);
        }
    }

    fn frame(&mut self, conn: &mut Conn<SessionKey>, body: &[u8]) {
        let now = self.now;
        if let Some(session) = self.session(conn) {
            session.handle_control(now, body);
            match session.rounds_by() {
                Some(period) => conn.round_timers(period),
                None => conn.exact_timers(),
            }
            conn.repair_soon(session.awaits());
        }
    }

    fn closed(&mut self, conn: &mut Conn<SessionKey>, why: &Closed) {
        let (now, dice, rtt) = (self.now, self.dice.roll(), lines::rtt(conn));
        if let Some(session) = self.session(conn) {
            session.handle_closed(now, why, ended(why), rtt, dice);
            self.seats[conn.app.index()].line.connection = None;
        }
    }
}

fn touch<W: Wire>(touched: &mut Vec<SessionKey>, seat: &mut Seat<W>, key: SessionKey) {
    if !seat.touched {
        seat.touched = true;
        touched.push(key);
    }
}

/// A datagram that the connection does not take is lost as on the wire: the next one repeats its inputs.
fn send_datagram<W: Wire>(
    driver: &mut Driver<SessionKey>,
    scratch: &mut Vec<u8>,
    block: &mut Block,
    seat: &mut Seat<W>,
    now: Instant,
) {
    // What it would acknowledge was heard over the connection before: a server that has given the session back, and has not been heard to
    // say so yet, would take it for snapshots of its own.
    if !seat.session.is_attached() {
        return;
    }
    let Some(connection) = seat.line.connection.and_then(|id| driver.connection(id)) else { return };
    seat.session.write_datagram(now, scratch);
    let _ = connection.send_datagram(block.cut_frozen(scratch));
}

/// Frames, then the close; both only if there is something, because looking up a connection makes the driver poll it.
fn write_control<W: Wire>(driver: &mut Driver<SessionKey>, seat: &mut Seat<W>) {
    let closing = seat.session.poll_close();
    if seat.session.control().is_empty() && closing.is_none() {
        return;
    }
    if let Some(connection) = seat.line.connection.and_then(|id| driver.connection(id)) {
        // An overflow closes the connection by itself, and `closed` tells.
        let _ = match seat.session.is_urgent() {
            true => connection.write_control(seat.session.control()),
            false => connection.add_control(seat.session.control()),
        };
        connection.repair_soon(seat.session.awaits());
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
