//! What clients send: hello, join, inputs, commands, acknowledgements, leave. Everything ends up as records in a zone's inbox, or
//! with one clear answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ring::rand::SystemRandom;
use ringfort_protocol::control::{ClientMsg, Code, ServerMsg};
use ringfort_protocol::driver::{Block, Closed, Conn, ConnId, Driver, Handler};
use ringfort_protocol::input::InputDatagram;
use ringfort_protocol::limits::{MAX_SNAPSHOT_BYTES, PROTOCOL_VERSION};
use ringfort_protocol::{Inserted, Schema, WireLayout, codec};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{FlightKind, RecordKind, Role as SharedRole, Stopping, WorkerState, ZoneEntry};
use ringfort_shm_state::limits::MAX_RECORD_PAYLOAD;
use ringfort_shm_state::segment::Segment;
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use tracing::info;

use super::counters::{self as count, Counters};
use super::meter::{Meter, Metered};
use super::secrets::Secrets;
use super::session::{App, Live, Stage};
use super::shed::{self, Shed};
use super::snapshot::SnapshotBuilder;
use super::waiting::Waiting;
use super::zone_view::ZoneView;
use super::zones::ZoneLink;
use crate::auth::Auth;
use crate::cli::Role;
use crate::config::{Interest, Limits};
use crate::flight::{self, Note};
use crate::game::{Description, DescriptionError, Why, ZoneLimits};
use crate::limits::{ACK_AGE_MAX, COMMANDS_PER_TICK, HELLO_TIMEOUT_MS, INPUTS_PER_TICK, SNAPSHOT_BLOCK_BYTES};
use crate::log_level;
use crate::supervisor::place;
use crate::udp::UdpBatch;

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
    /// What is left of [`FILLING_BYTES`](crate::limits::FILLING_BYTES) in this look at the zones.
    pub(super) filling_left: usize,
    /// Slots of zones to be served, between two uses.
    pub(super) stale: Vec<usize>,
    /// Slots of zones with clients that are yet to be told of the newest commit; they take turns.
    pub(super) serving: VecDeque<usize>,
    /// Where snapshots are cut from.
    pub(super) block: Block,
    /// Clients that want any match, while all are full.
    pub(super) waiting: Waiting,
    pub(super) inbox: Rc<Segment>,
    own: Segment,
    pub(super) describe: fn(ZoneLimits) -> Result<Description, DescriptionError>,
    pub(super) schema_hash: u64,
    input_bytes: usize,
    pub(super) welcome: Vec<u8>,
    pub(super) auth: Auth,
    pub(super) limits: Limits,
    /// An operator's numbers for the game's interest.
    pub(super) interest: Interest,
    /// Bytes of the largest snapshot.
    pub(super) snapshot_bytes: usize,
    /// Sessions that were told of a commit since the simulator asked last.
    #[cfg(feature = "simulator")]
    pub(super) told: Vec<u64>,
    pub(super) secrets: Secrets,
    pub(super) shed: Shed,
    /// Commits that everybody was told of, or was not before the next one: when each was published, or its snapshots were to have left, and
    /// its zone's period.
    pub(super) served: Vec<(u64, u32)>,
    overdue_at: Instant,
    published_at: Instant,
}

/// In place of a slot while a join waits for room.
pub(super) const NO_ZONE: usize = usize::MAX;

/// What was wrong with a message; the connection is closed with the code.
pub(super) struct Refusal(pub(super) Code, pub(super) Cow<'static, str>);

pub(super) type Handled = Result<(), Refusal>;

impl Refusal {
    pub(super) const fn new(code: Code, reason: &'static str) -> Self {
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
        let welcome = ServerMsg::Welcome { version: PROTOCOL_VERSION, schema: schema.clone(), rounds: true };
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
            filling_left: 0,
            stale: Vec::new(),
            serving: VecDeque::new(),
            block: Block::new(SNAPSHOT_BLOCK_BYTES),
            waiting: Waiting::default(),
            directory,
            inbox,
            own,
            describe,
            schema_hash: schema.hash(),
            input_bytes: WireLayout::new(schema).expect("the supervisor checked the schema").input_bytes,
            welcome: frame,
            auth,
            limits: Limits::default(),
            interest: Interest::default(),
            snapshot_bytes: MAX_SNAPSHOT_BYTES,
            secrets: Secrets::System(SystemRandom::new()),
            shed: Shed::new(now),
            #[cfg(feature = "simulator")]
            told: Vec::new(),
            served: Vec::new(),
            overdue_at: now,
            published_at: now,
        }
    }

    pub(super) fn after(&self, ms: u64) -> Option<Instant> {
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
    pub(super) fn publish_counters(&mut self, connections: &Driver<App>, udp: &UdpBatch) {
        self.counts.one(count::LOOPS);
        if self.now < self.published_at {
            return;
        }
        self.published_at = self.now + Duration::from_millis(50);
        let driver = connections.stats();
        super::copy_driver(&mut self.counts, driver, udp.counters());
        self.counts.0[count::UDP_OVERRUN] = udp.overrun();
        self.counts.0[count::HANDSHAKES_WAITING] = connections.newcomers() as u64;
        self.counts.0[count::SHED_LEVEL] = self.shed.level();
        self.counts.0[count::SESSIONS] = self.zones.values().map(|z| z.sessions.len() as u64).sum();
        self.counts.0[count::CONNECTIONS] =
            driver.accepted.saturating_sub(driver.handshake_failed + driver.closed_by_us + driver.closed_by_peer);
        let page = WorkerPage::new(&self.own);
        page.beat(self.now_us);
        for (counter, n) in self.counts.0.iter().enumerate() {
            page.set_counter(counter, *n);
        }
    }

    /// Notes that what the zones were served has left, and does without more, or less, when it is time to judge that.
    pub(super) fn note_sent(&mut self, now_us: u64) {
        for (published_us, period_us) in self.served.drain(..) {
            self.shed.observe(now_us.saturating_sub(published_us) as f64 / f64::from(period_us.max(1)));
        }
        let before = self.shed.level();
        if self.shed.judge(self.now) {
            self.counts.add(count::SHEDS, u64::from(self.shed.level() > before));
            let words = shed::in_words(self.shed.level());
            let words = words.as_deref().unwrap_or("every snapshot again");
            info!("clients are sent {words}");
            flight::note(FlightKind::Shed, Note { a: self.shed.level(), b: before, text: words, ..Note::default() });
        }
    }

    /// Whether the supervisor wants this process's clients to go elsewhere.
    pub(super) fn is_to_drain(&self) -> bool {
        let entry = Directory::new(&self.directory).worker(place(Role::Frontend, self.slot));
        entry.is_some_and(|entry| entry.incarnation == self.incarnation && entry.state == WorkerState::Draining as u32)
    }

    /// The clients are no longer asked to go elsewhere: who was and has not resumed there is detached.
    pub(super) fn end_drain(&mut self) {
        self.zones.values_mut().for_each(ZoneLink::detach_parting);
    }

    /// Whether no new session may start.
    pub(super) fn is_closing_down(&self) -> bool {
        Directory::new(&self.directory).instance().is_some_and(|instance| instance.stopping != Stopping::No as u32)
    }

    /// Says that this process serves its slot.
    pub(super) fn set_ready(&self) {
        WorkerPage::new(&self.own).set_ready(true);
    }

    /// Logs from the level on that the directory tells front-ends.
    pub(super) fn follow_log_level(&self) {
        let instance = Directory::new(&self.directory).instance();
        log_level::follow_in(instance.as_ref(), SharedRole::Frontend, &WorkerPage::new(&self.own));
    }

    /// Says that zones closed up to this generation are not touched any more.
    pub(super) fn saw_generation(&self, generation: u64) {
        WorkerPage::new(&self.own).saw_generation(generation);
    }

    /// The link to a zone, made when its first player comes.
    pub(super) fn link(&mut self, slot: usize, entry: ZoneEntry) -> Option<&mut ZoneLink> {
        if !self.zones.contains_key(&slot) {
            let limits = ZoneLimits::of_entry(&entry);
            let description = (self.describe)(limits).ok().filter(|d| d.tables_hash == entry.tables_hash)?;
            let view = ZoneView::new(slot, description.with_interest(self.interest), entry.tick_hz);
            let link = ZoneLink::new(self.inbox.memory(), slot, entry, view)?;
            self.zones.insert(slot, link);
        }
        self.zones.get_mut(&slot).filter(|z| z.entry.incarnation == entry.incarnation)
    }

    fn leave(&mut self, conn: &mut Conn<App>) -> Handled {
        let Stage::Live(live) = &mut conn.app.stage else {
            return Err(Refusal::new(Code::NotJoined, "only who has joined can leave"));
        };
        if live.leaving {
            self.counts.one(count::LEAVES_LATE);
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
        let repair_soon = live.event_acked < live.event_told;
        self.counts.add(count::ACKS_FORGED, u64::from(number > live.event_told));
        // The first one says that the client has its token, and so that the one before it is to open nothing any more.
        if !std::mem::replace(&mut live.has_token, true)
            && let Some(link) = self.zones.get_mut(&live.zone)
        {
            link.push(RecordKind::EventAck, live.session, live.attachment, 0, &live.event_acked.to_ne_bytes());
            kill_point!("attach:proved");
        }
        conn.repair_soon(repair_soon);
        Ok(())
    }

    fn message(&mut self, conn: &mut Conn<App>, body: &[u8]) -> Handled {
        match codec::decode::<ClientMsg>(body) {
            Err(_) => Err(Refusal::new(Code::BadMessage, "a control message that cannot be read")),
            Ok(ClientMsg::Hello { version, schema_hash, credential, attempt, resume, rounds })
                if matches!(conn.app.stage, Stage::Hello) =>
            {
                (conn.app.attempt, conn.app.rounds) = (attempt, rounds);
                self.hello(conn, version, schema_hash, credential, resume)
            }
            Ok(ClientMsg::Hello { .. }) => Err(Refusal::new(Code::BadMessage, "a second hello")),
            Ok(ClientMsg::Join { target, nonce, spectate }) => self.join(conn, target, nonce, spectate),
            // The session may have ended while these were under way.
            Ok(message) if matches!(conn.app.stage, Stage::Welcomed { .. }) => {
                self.counts.add(count::LEAVES_LATE, u64::from(message == ClientMsg::Leave));
                Ok(())
            }
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
        let age = live.baselines.newest() - datagram.acked.highest;
        self.counts.add(count::ACKS_STALE, u64::from(datagram.acked.highest != 0 && age > ACK_AGE_MAX));
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
            if live.appended.insert(sequence) != Inserted::New {
                self.counts.one(count::INPUTS_LATE);
                continue;
            }
            live.inputs_since_snapshot += 1;
            live.received(sequence, self.now_us);
            link.push(RecordKind::Input, live.session, live.attachment, sequence, encoded);
            self.counts.one(count::INPUTS);
        }
        Ok(())
    }
}

/// What a closed connection means for its session.
enum Parting {
    /// The client will not come back, or is not to.
    ForGood(Why),
    /// The client may come back.
    Lost,
    /// The client was asked to come back at once, over another front-end: the session need not know.
    Elsewhere,
}

fn parting(why: &Closed) -> Parting {
    match why {
        Closed::ByUs(Code::Reconnect) => Parting::Elsewhere,
        Closed::ByUs(Code::TimedOut | Code::ServerStopping | Code::Internal) => Parting::Lost,
        Closed::ByPeer { .. } if why.code() == Some(Code::Left) => Parting::ForGood(Why::Quit),
        // A client that has heard nothing of us for long, or whose program is to be started again.
        Closed::ByPeer { .. } if why.code() == Some(Code::Reconnect) => Parting::Lost,
        // Whoever breaks the rules, or gives up because we seem to, ends its session with its connection.
        Closed::ByUs(_) | Closed::ByPeer { .. } => Parting::ForGood(Why::TimedOut),
        Closed::Refused | Closed::TimedOut | Closed::Reset | Closed::Broken(_) => Parting::Lost,
    }
}

impl Handler<App> for Clients {
    fn accepted(&mut self, _remote: std::net::SocketAddr) -> Option<App> {
        Some(App {
            stage: Stage::Hello,
            attempt: 0,
            rounds: false,
            joins: 0,
            wrong_codes: 0,
            matchless_since: self.now,
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
        self.counts.one(count::DATAGRAMS);
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
        self.counts.add(count::CONNECTIONS_LOST, u64::from(conn.was_connected() && *why == Closed::TimedOut));
        match stage {
            Stage::Live(live) => {
                let Some(link) = self.zones.get_mut(&live.zone) else { return };
                // Unless another connection has taken the session over.
                let plays = link.sessions.get(&(live.session as u32)) == Some(&conn.id());
                if plays {
                    link.sessions.remove(&(live.session as u32));
                }
                match parting(why) {
                    Parting::ForGood(why) => link.push_leave(live.session, live.attachment, why),
                    Parting::Lost => {
                        link.push_detach(live.session, live.attachment);
                        kill_point!("detach:queued");
                    }
                    Parting::Elsewhere if plays => drop(link.parting.insert((live.session, live.attachment))),
                    Parting::Elsewhere => {}
                }
            }
            // When its row appears without a connection, `serve` tells the zone.
            Stage::Joining(joining) if matches!(parting(why), Parting::ForGood(_)) => {
                if let Some(link) = self.zones.get_mut(&joining.zone) {
                    link.quits.insert(joining.token_hash, conn.id());
                }
            }
            _ => {}
        }
    }
}
