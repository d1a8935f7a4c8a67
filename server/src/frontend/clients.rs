//! What clients send: hello, join, inputs, commands, acknowledgements, leave. Everything ends up as records in a zone's inbox, or
//! with one clear answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringfort_protocol::control::{ClientMsg, Code, Credential, JoinTarget, ServerMsg};
use ringfort_protocol::driver::{Closed, Conn, ConnId, Driver, DriverStats, Handler};
use ringfort_protocol::input::InputDatagram;
use ringfort_protocol::limits::{MAX_CONNECTIONS, PROTOCOL_VERSION};
use ringfort_protocol::{Inserted, Schema, WireLayout, codec};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{JoinRecord, RecordKind, RootFlags, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{JOIN_CODE_BYTES, MAX_RECORD_PAYLOAD};
use ringfort_shm_state::segment::{Segment, padded, unpadded};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use zerocopy::IntoBytes;

use super::counters::{self as count, Counters};
use super::meter::{Meter, Metered};
use super::session::{App, Joining, Live, Stage};
use super::snapshot::SnapshotBuilder;
use super::zone_view::ZoneView;
use super::zones::ZoneLink;
use crate::auth::{self, Auth, Pass, TokenError};
use crate::config::Limits;
use crate::game::{Description, DescriptionError, Why, ZoneLimits};
use crate::limits::{
    COMMANDS_PER_TICK, HELLO_TIMEOUT_MS, IDLE_TIMEOUT_MS, INPUTS_PER_TICK, JOIN_TIMEOUT_MS, JOIN_TRIES_MAX, JOIN_WAIT_MS,
    WRONG_CODES_MAX,
};
use crate::udp::UdpCounters;

/// All clients of this front-end, and the zones that they play in.
pub(super) struct Clients {
    pub(super) slot: u32,
    pub(super) incarnation: u32,
    pub(super) world: Rc<World>,
    pub(super) zones: BTreeMap<usize, ZoneLink>,
    pub(super) counts: Counters,
    pub(super) builder: SnapshotBuilder,
    pub(super) now: Instant,
    pub(super) now_us: u64,
    pub(super) directory: Rc<Segment>,
    pub(super) generation: u64,
    pub(super) refreshed_at: Instant,
    /// Slots of zones to be served, between two uses.
    pub(super) stale: Vec<usize>,
    /// Clients that want any match, while all are full.
    waiting: VecDeque<(ConnId, Instant)>,
    inbox: Rc<Segment>,
    own: Segment,
    describe: fn(ZoneLimits) -> Result<Description, DescriptionError>,
    schema_hash: u64,
    input_bytes: usize,
    welcome: Vec<u8>,
    auth: Auth,
    pub(super) limits: Limits,
    overdue_at: Instant,
    published_at: Instant,
}

/// In place of a slot while a join waits for room.
const NO_ZONE: usize = usize::MAX;

/// What was wrong with a message; the connection is closed with the code.
struct Refusal(Code, Cow<'static, str>);

type Handled = Result<(), Refusal>;

impl Refusal {
    const fn new(code: Code, reason: &'static str) -> Self {
        Self(code, Cow::Borrowed(reason))
    }
}

impl Clients {
    #[expect(clippy::too_many_arguments, reason = "made once, from a process's descriptors")]
    pub(super) fn new(
        slot: u32,
        incarnation: u32,
        world: Rc<World>,
        directory: Rc<Segment>,
        inbox: Rc<Segment>,
        own: Segment,
        describe: fn(ZoneLimits) -> Result<Description, DescriptionError>,
        schema: &Schema,
        now: Instant,
        auth: Auth,
    ) -> Self {
        let welcome = ServerMsg::Welcome { version: PROTOCOL_VERSION, resume_token: [0; 32], schema: schema.clone() };
        let mut frame = Vec::new();
        codec::encode_frame(&welcome, &mut frame).expect("the supervisor checked that the schema fits");
        Self {
            slot,
            incarnation,
            world,
            zones: BTreeMap::new(),
            counts: Counters::default(),
            builder: SnapshotBuilder::new(),
            now,
            now_us: 0,
            generation: 0,
            refreshed_at: now,
            stale: Vec::new(),
            waiting: VecDeque::new(),
            directory,
            inbox,
            own,
            describe,
            schema_hash: schema.hash(),
            input_bytes: WireLayout::new(schema).expect("the supervisor checked the schema").input_bytes,
            welcome: frame,
            auth,
            limits: Limits::default(),
            overdue_at: now,
            published_at: now,
        }
    }

    fn after(&self, ms: u64) -> Option<Instant> {
        Some(self.now + Duration::from_millis(ms))
    }

    /// Appends to the inboxes what has been queued for them.
    pub(super) fn flush(&mut self) {
        for zone in self.zones.values_mut() {
            zone.flush(self.inbox.memory(), &self.world, &mut self.counts);
        }
    }

    /// Whether records wait for an inbox that was full or locked.
    pub(super) fn has_backlog(&self) -> bool {
        self.zones.values().any(ZoneLink::has_backlog)
    }

    /// Closes connections whose stage has taken too long.
    pub(super) fn end_overdue(&mut self, driver: &mut Driver<App>) {
        if self.now < self.overdue_at {
            return;
        }
        self.overdue_at = self.now + Duration::from_millis(250);
        let overdue: Vec<ConnId> = driver
            .connections()
            .filter(|c| c.is_open() && c.app.deadline.is_some_and(|at| at <= self.now))
            .map(|c| c.id())
            .collect();
        for id in overdue {
            if let Some(conn) = driver.connection(id) {
                self.counts.one(count::OVERDUE);
                conn.close(Code::TimedOut, "this step of the connection took too long");
            }
        }
    }

    /// Copies the counters to this process's segment, a few times a second.
    pub(super) fn publish_counters(&mut self, driver: DriverStats, udp: UdpCounters) {
        self.counts.one(count::LOOPS);
        if self.now < self.published_at {
            return;
        }
        self.published_at = self.now + Duration::from_millis(50);
        super::copy_driver(&mut self.counts, driver, udp);
        self.counts.0[count::SESSIONS] = self.zones.values().map(|z| z.sessions.len() as u64).sum();
        self.counts.0[count::CONNECTIONS] =
            driver.accepted.saturating_sub(driver.handshake_failed + driver.closed_by_us + driver.closed_by_peer);
        let page = WorkerPage::new(&self.own);
        page.beat(self.now_us);
        for (counter, n) in self.counts.0.iter().enumerate() {
            page.set_counter(counter, *n);
        }
    }

    /// Says that zones closed up to this generation are not touched any more.
    pub(super) fn saw_generation(&self, generation: u64) {
        WorkerPage::new(&self.own).saw_generation(generation);
    }

    /// The link to a zone, made when its first player comes.
    fn link(&mut self, slot: usize, entry: ZoneEntry) -> Option<&mut ZoneLink> {
        if !self.zones.contains_key(&slot) {
            let limits = ZoneLimits::of_entry(&entry);
            let description = (self.describe)(limits).ok().filter(|d| d.tables_hash == entry.tables_hash)?;
            let link = ZoneLink::new(self.inbox.memory(), slot, entry, ZoneView::new(slot, description, entry.tick_hz))?;
            self.zones.insert(slot, link);
        }
        self.zones.get_mut(&slot).filter(|z| z.entry.incarnation == entry.incarnation)
    }

    fn hello(&mut self, conn: &mut Conn<App>, version: u16, schema_hash: u64, credential: Credential) -> Handled {
        if version != PROTOCOL_VERSION {
            self.counts.one(count::HELLOS_REFUSED);
            return Err(Refusal::new(
                Code::VersionMismatch,
                "the protocol's version is another one here: update the older of the two",
            ));
        }
        let pass = match self.auth.judge(&credential) {
            Ok(pass) => pass,
            Err(refused) => {
                self.counts.one(count::HELLOS_REFUSED);
                self.count_refused(refused);
                return Err(Refusal(Code::Refused, refused.to_string().into()));
            }
        };
        if conn.write_control(&self.welcome).is_err() {
            return Err(Refusal::new(Code::Internal, "the welcome could not be sent"));
        }
        if schema_hash != self.schema_hash {
            // The welcome's schema lets the client say which field differs. It may do nothing else.
            self.counts.one(count::HELLOS_REFUSED);
            conn.app.deadline = self.after(HELLO_TIMEOUT_MS);
            let reason = format!("the games differ: schema {:016x} here, {schema_hash:016x} there", self.schema_hash);
            let _ = conn.send_control(&ServerMsg::Error { code: Code::SchemaMismatch.into(), reason });
            return Ok(());
        }
        conn.app.stage = Stage::Welcomed { pass };
        conn.app.deadline = self.after(IDLE_TIMEOUT_MS);
        Ok(())
    }

    fn count_refused(&mut self, refused: auth::Refused) {
        match refused {
            auth::Refused::Name | auth::Refused::NameWanted => {}
            auth::Refused::TokenWanted => self.counts.one(count::TOKENS_MISSING),
            auth::Refused::Token(TokenError::Expired) => self.counts.one(count::TOKENS_EXPIRED),
            auth::Refused::Token(_) => self.counts.one(count::TOKENS_BAD),
        }
    }

    fn join(&mut self, conn: &mut Conn<App>, target: JoinTarget, nonce: [u8; 16], spectate: bool) -> Handled {
        // Looked at before it is taken: the session of a client that joins twice must still be there to be ended.
        let Stage::Welcomed { pass } = &mut conn.app.stage else {
            return Err(Refusal::new(Code::BadMessage, "a join out of its order"));
        };
        let pass = std::mem::take(pass);
        if pass.has_expired(auth::unix_s) {
            self.counts.one(count::TOKENS_EXPIRED);
            return Err(Refusal(Code::Refused, TokenError::Expired.to_string().into()));
        }
        // A token for one match means that one when its player does not care.
        let target = match (target, &pass.only) {
            (JoinTarget::Any, Some(only)) => JoinTarget::Named(only.clone()),
            (target, _) => target,
        };
        let metered = conn.app.meter.join(&self.limits, self.now_us);
        if metered != Metered::Yes {
            self.counts.one(count::JOINS_LIMITED);
            if metered == Metered::Flood {
                return Err(Refusal::new(Code::Flooding, "more joins than a client may ask for"));
            }
            self.refuse_join(conn, pass, Code::Busy);
            return Ok(());
        }
        let mut joining = Joining {
            pass,
            nonce,
            zone: 0,
            any: target == JoinTarget::Any,
            spectate,
            tried: Vec::new(),
            until: self.now + Duration::from_millis(JOIN_WAIT_MS),
        };
        let found = match &target {
            JoinTarget::Any => self.any_zone(&joining),
            JoinTarget::Named(wanted) => self.open_zones().find(|(_, z)| is_named(z, wanted)).ok_or(Code::NoSuchMatch),
            JoinTarget::Code(code) => self.zone_of_code(conn, code)?,
        };
        let found = found.and_then(|(slot, entry)| match &joining.pass.only {
            Some(only) if *only != unpadded(&entry.name) => {
                self.counts.one(count::TOKENS_WRONG_MATCH);
                Err(Code::Refused)
            }
            _ => Ok((slot, entry)),
        });
        match found {
            Err(Code::Refused) => self.refuse_join_saying(conn, joining.pass, Code::Refused, "the token is for another match"),
            Ok((slot, entry)) => {
                joining.zone = slot;
                self.begin_join(conn, joining, entry);
            }
            Err(Code::MatchFull) if joining.any => self.await_room(conn, joining),
            Err(code) => self.refuse_join(conn, joining.pass, code),
        }
        Ok(())
    }

    /// No match has room just now, as far as this front-end knows. Joins on their way through another one may come to nothing, so
    /// the client waits a little before it is refused.
    fn await_room(&mut self, conn: &mut Conn<App>, mut joining: Joining) {
        joining.zone = NO_ZONE;
        joining.tried.clear();
        if self.waiting.len() < MAX_CONNECTIONS {
            self.waiting.push_back((conn.id(), joining.until));
        }
        conn.app.stage = Stage::Joining(Box::new(joining));
        conn.app.deadline = self.after(JOIN_TIMEOUT_MS);
    }

    /// Gives those who wait for room in any match another try, in the order in which they came.
    pub(super) fn retry_waiting(&mut self, driver: &mut Driver<App>) {
        while let Some((id, until)) = self.waiting.front().copied() {
            let waits = |conn: &Conn<App>| match &conn.app.stage {
                Stage::Joining(joining) if conn.is_open() && joining.zone == NO_ZONE => Some(self.any_zone(joining)),
                _ => None,
            };
            let Some(found) = driver.get(id).and_then(waits) else {
                self.waiting.pop_front();
                continue;
            };
            if found.is_err() && self.now < until {
                return;
            }
            self.waiting.pop_front();
            let Some(conn) = driver.connection(id) else { continue };
            let Stage::Joining(mut joining) = std::mem::replace(&mut conn.app.stage, Stage::Closed) else { continue };
            match found {
                Ok((slot, entry)) => {
                    joining.zone = slot;
                    self.begin_join(conn, *joining, entry);
                }
                Err(code) => self.refuse_join(conn, joining.pass, code),
            }
        }
    }

    /// The private match of a code. Who gets many wrong is guessing, and is closed.
    fn zone_of_code(&mut self, conn: &mut Conn<App>, code: &str) -> Result<Result<(usize, ZoneEntry), Code>, Refusal> {
        let found = self.open_zones().find(|(_, z)| is_private(z) && code.as_bytes().eq_ignore_ascii_case(&z.code));
        if found.is_none() {
            self.counts.one(count::CODES_WRONG);
            conn.app.wrong_codes += 1;
            if conn.app.wrong_codes > WRONG_CODES_MAX {
                return Err(Refusal::new(Code::Flooding, "too many codes of no match: ask whoever made the match for its code"));
            }
        }
        Ok(found.ok_or(Code::NoSuchMatch))
    }

    fn open_zones(&self) -> impl Iterator<Item = (usize, ZoneEntry)> {
        Directory::new(&self.directory).zones().filter(|(_, z)| z.state == ZoneState::Open as u32)
    }

    /// The fullest zone that has room: matches fill one after the other. Whether there really is room its commit decides.
    pub(super) fn any_zone(&self, joining: &Joining) -> Result<(usize, ZoneEntry), Code> {
        let mut any = false;
        let with_room = self.open_zones().filter(|(_, z)| !is_private(z)).filter_map(|(slot, z)| {
            any = true;
            // A match that has not committed its opening yet has all its room; the join waits for it.
            let head = self.world.newest(slot).ok().map(|r| r.head).filter(|h| h.incarnation == z.incarnation);
            let (sessions, spectators, flags) = head.map_or((0, 0, 0), |h| (h.sessions, h.spectators, h.flags));
            let under_way = self.zones.get(&slot).map_or(0, |link| link.joins.len() as u32);
            let taken = sessions.saturating_sub(spectators) + under_way;
            let has_room = if joining.spectate { spectators < z.spectators } else { taken < z.capacity };
            let shut = RootFlags::CLOSING | if joining.spectate { 0 } else { RootFlags::LOCKED };
            (flags & shut == 0 && has_room && !joining.tried.contains(&slot)).then_some((taken, slot, z))
        });
        let found = with_room.max_by_key(|(taken, slot, _)| (*taken, std::cmp::Reverse(*slot)));
        found.map(|(_, slot, z)| (slot, z)).ok_or(if any { Code::MatchFull } else { Code::NoSuchMatch })
    }

    /// Puts the join into the zone's inbox; its next commit answers.
    pub(super) fn begin_join(&mut self, conn: &mut Conn<App>, joining: Joining, entry: ZoneEntry) {
        let record = JoinRecord {
            nonce: joining.nonce,
            connection: u64::from(conn.id().generation) << 32 | u64::from(conn.id().index),
            frontend: self.slot,
            incarnation: self.incarnation,
            spectate: u32::from(joining.spectate),
            reserved: 0,
            name: padded(&joining.pass.name),
        };
        let id = conn.id();
        let Some(link) = self.link(joining.zone, entry).filter(|l| !l.is_backed_up()) else {
            self.refuse_join(conn, joining.pass, Code::Busy);
            return;
        };
        link.push(RecordKind::Join, 0, 0, 0, record.as_bytes());
        link.joins.push((id, None));
        self.counts.one(count::JOINS);
        conn.app.stage = Stage::Joining(Box::new(joining));
        conn.app.deadline = self.after(JOIN_TIMEOUT_MS);
    }

    /// Tells a client that its join came to nothing; it may try another match.
    pub(super) fn refuse_join(&mut self, conn: &mut Conn<App>, pass: Pass, code: Code) {
        let reason = match code {
            Code::MatchFull => "the match is full",
            Code::NoSuchMatch => "there is no such match",
            Code::MatchOver => "the match is over",
            Code::MatchStarted => "the match has begun and takes no new players",
            Code::Kicked => "an operator has ended this player's session here",
            Code::Busy => "the match takes no more requests just now: try again",
            _ => "the match did not admit the player",
        };
        self.refuse_join_saying(conn, pass, code, reason);
    }

    fn refuse_join_saying(&mut self, conn: &mut Conn<App>, pass: Pass, code: Code, reason: &str) {
        self.counts.one(count::JOINS_REFUSED);
        let _ = conn.send_control(&ServerMsg::Error { code: code.into(), reason: reason.to_owned() });
        conn.app.stage = Stage::Welcomed { pass };
        conn.app.deadline = self.after(IDLE_TIMEOUT_MS);
    }

    /// After a refusal: the next match with room for a client that wants any, or the answer, in the game's words if it has some.
    pub(super) fn try_next(&mut self, conn: &mut Conn<App>, mut joining: Joining, code: Code, words: Option<&str>) {
        joining.tried.push(joining.zone);
        let again = joining.any && joining.tried.len() < JOIN_TRIES_MAX;
        match self.any_zone(&joining) {
            Ok((slot, entry)) if again => {
                joining.zone = slot;
                self.begin_join(conn, joining, entry);
            }
            _ if joining.any && code == Code::MatchFull && self.now < joining.until => self.await_room(conn, joining),
            _ => match words {
                Some(words) => self.refuse_join_saying(conn, joining.pass, code, words),
                None => self.refuse_join(conn, joining.pass, code),
            },
        }
    }

    fn leave(&mut self, conn: &mut Conn<App>) -> Handled {
        let Stage::Live(live) = &mut conn.app.stage else {
            return Err(Refusal::new(Code::NotJoined, "only who has joined can leave"));
        };
        if live.leaving {
            return Ok(());
        }
        if let Some(link) = self.zones.get_mut(&live.zone) {
            link.push_leave(live.session, live.attachment, Why::Quit);
        }
        live.leaving = true;
        Ok(())
    }

    fn command(&mut self, conn: &mut Conn<App>, number: u32, payload: &[u8]) -> Handled {
        let Stage::Live(live) = &mut conn.app.stage else {
            return Err(Refusal::new(Code::NotJoined, "commands are for those who have joined"));
        };
        if live.spectator {
            self.counts.one(count::SPECTATORS_REFUSED);
            return Err(Refusal::new(Code::Refused, "who watches has no commands"));
        }
        if payload.len() > MAX_RECORD_PAYLOAD {
            return Err(Refusal::new(Code::BadMessage, "a command longer than any can be"));
        }
        // A client repeats what it does not know to be committed: that is no fault, however long the commit takes.
        if number <= live.command_appended {
            return Ok(());
        }
        // Only the next one goes on: one behind a command that was not taken would be refused by the sim.
        let next = number == live.command_appended + 1 && live.commands_since_snapshot < COMMANDS_PER_TICK;
        let pass = if next { conn.app.meter.command(&self.limits, self.now_us) } else { Metered::Later };
        if next && pass != Metered::Yes {
            self.counts.one(count::COMMANDS_LIMITED);
        }
        if pass == Metered::Flood {
            return Err(Refusal::new(Code::Flooding, "more commands than a client may send"));
        }
        let takes = pass == Metered::Yes;
        let Some(link) = self.zones.get_mut(&live.zone).filter(|l| takes && !l.is_backed_up()) else {
            let reason = "the match takes no more requests just now: send the command again".to_owned();
            let _ = conn.send_control(&ServerMsg::Error { code: Code::Busy.into(), reason });
            return Ok(());
        };
        link.push(RecordKind::Command, live.session, live.attachment, number, payload);
        live.command_appended = number;
        live.commands_since_snapshot += 1;
        self.counts.one(count::COMMANDS);
        Ok(())
    }

    fn event_ack(&mut self, conn: &mut Conn<App>, number: u64) -> Handled {
        let Stage::Live(live) = &mut conn.app.stage else {
            return Err(Refusal::new(Code::NotJoined, "acknowledgements are for those who have joined"));
        };
        // Told to the zone with its next commit, so that one record a tick is enough.
        live.event_acked = live.event_acked.max(number.min(live.event_told));
        self.counts.add(count::ACKS_FORGED, u64::from(number > live.event_told));
        Ok(())
    }

    fn message(&mut self, conn: &mut Conn<App>, body: &[u8]) -> Handled {
        match codec::decode::<ClientMsg>(body) {
            Err(_) => Err(Refusal::new(Code::BadMessage, "a control message that cannot be read")),
            Ok(ClientMsg::Hello { version, schema_hash, credential }) if matches!(conn.app.stage, Stage::Hello) => {
                self.hello(conn, version, schema_hash, credential)
            }
            Ok(ClientMsg::Hello { .. }) => Err(Refusal::new(Code::BadMessage, "a second hello")),
            Ok(ClientMsg::Join { target, nonce, spectate }) => self.join(conn, target, nonce, spectate),
            // The session may have ended while these were under way.
            Ok(_) if matches!(conn.app.stage, Stage::Welcomed { .. }) => Ok(()),
            Ok(ClientMsg::Leave) => self.leave(conn),
            Ok(ClientMsg::Command { number, payload }) => self.command(conn, number, &payload),
            Ok(ClientMsg::EventAck { number }) => self.event_ack(conn, number),
        }
    }

    /// The inputs of a datagram that the inbox does not have yet, oldest first.
    fn inputs(&mut self, live: &mut Live, datagram: &InputDatagram<'_>) -> Handled {
        if datagram.stay != live.stay {
            self.counts.one(count::DATAGRAMS_STALE);
            return Ok(());
        }
        if datagram.acked.highest > live.baselines.newest() {
            self.counts.one(count::ACKS_FORGED);
            return Err(Refusal::new(Code::BadMessage, "an acknowledgement of a snapshot that was never sent"));
        }
        live.baselines.acked(datagram.acked);
        let Some(link) = self.zones.get_mut(&live.zone) else { return Ok(()) };
        for (sequence, encoded) in datagram.inputs().rev() {
            if live.appended.contains(sequence) {
                self.counts.one(count::INPUTS_REPEATED);
                continue;
            }
            if live.spectator {
                self.counts.one(count::SPECTATORS_REFUSED);
                continue;
            }
            // What is not taken here is not marked either, so the client's next datagram brings it again.
            if live.inputs_since_snapshot >= INPUTS_PER_TICK || link.is_backed_up() {
                self.counts.one(count::INPUTS_REFUSED);
                continue;
            }
            if live.appended.insert(sequence) == Inserted::New {
                live.inputs_since_snapshot += 1;
                live.received(sequence, self.now_us);
                link.push(RecordKind::Input, live.session, live.attachment, sequence, encoded);
                self.counts.one(count::INPUTS);
            }
        }
        Ok(())
    }
}

/// Whether a match is the one of a name. A private one has no name for those who join.
fn is_named(entry: &ZoneEntry, name: &str) -> bool {
    !is_private(entry) && unpadded(&entry.name) == name
}

/// Whether a match is joined by its code only.
fn is_private(entry: &ZoneEntry) -> bool {
    entry.code != [0; JOIN_CODE_BYTES]
}

impl Handler<App> for Clients {
    fn accepted(&mut self, _remote: std::net::SocketAddr) -> Option<App> {
        Some(App {
            stage: Stage::Hello,
            joins: 0,
            wrong_codes: 0,
            deadline: self.after(HELLO_TIMEOUT_MS),
            meter: Meter::new(&self.limits, self.now_us),
        })
    }

    fn connected(&mut self, conn: &mut Conn<App>) {
        conn.app.deadline = self.after(HELLO_TIMEOUT_MS);
    }

    fn datagram(&mut self, conn: &mut Conn<App>, bytes: &[u8]) {
        let Ok(datagram) = InputDatagram::parse(bytes, self.input_bytes) else {
            self.counts.one(count::BAD_DATAGRAMS);
            conn.close(Code::BadMessage, "a datagram that is no input");
            return;
        };
        // A datagram that overtook the answer to its join, or outlived its session, is no fault.
        if let Stage::Live(live) = &mut conn.app.stage
            && let Err(Refusal(code, reason)) = self.inputs(live, &datagram)
        {
            conn.close(code, &reason);
        }
    }

    fn frame(&mut self, conn: &mut Conn<App>, body: &[u8]) {
        let handled = match conn.app.meter.control(&self.limits, self.now_us) {
            Metered::Yes => self.message(conn, body),
            _ => Err(Refusal::new(Code::Flooding, "more control messages than a client may send")),
        };
        if let Err(Refusal(code, reason)) = handled {
            self.counts.one(count::BAD_MESSAGES);
            conn.close(code, &reason);
        }
    }

    fn closed(&mut self, conn: &mut Conn<App>, why: &Closed) {
        let stage = std::mem::replace(&mut conn.app.stage, Stage::Closed);
        conn.app.deadline = None;
        self.counts.add(count::FLOODS, u64::from(*why == Closed::ByUs(Code::Flooding)));
        if let Stage::Live(live) = stage {
            let why = if why.code() == Some(Code::Left) { Why::Quit } else { Why::TimedOut };
            if let Some(link) = self.zones.get_mut(&live.zone) {
                // Unless another connection has taken the session over.
                if link.sessions.get(&(live.session as u32)) == Some(&conn.id()) {
                    link.sessions.remove(&(live.session as u32));
                }
                link.push_leave(live.session, live.attachment, why);
            }
        }
        // A join under way needs nothing: when its row appears without a connection, `serve` lets it leave.
    }
}
