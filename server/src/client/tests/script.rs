//! A server that says what the test writes, and the client's half: sessions without QUIC, so that time is the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::Transmit;
use ringfort_client::{SessionKey, Sessions, Start};
use ringfort_protocol::bits::{BitWriter, Row};
use ringfort_protocol::control::{ClientMsg, Code, JoinTarget, ServerMsg};
use ringfort_protocol::driver::{Closed, Conn, ConnId, Driver, Handler};
use ringfort_protocol::input::InputDatagram;
use ringfort_protocol::limits::{MAX_PREDICTED, PROTOCOL_VERSION};
use ringfort_protocol::snapshot::{Lapse, SnapshotHeader, SnapshotShape, SnapshotWriter};
use ringfort_protocol::{
    AckBits, Component, Entity, Input, Message, ResumeToken, SessionId, TickNo, Vec2, View as Seen, WireLayout, codec,
};

use super::arena::{Arena, Body, Ev, Go, Health, Rules, drive};
use crate::client::{Delay, Fix, Playing, Settings, Status};
use crate::game::{Game, Played};

pub(super) const MAX_ENTITIES: u32 = 64;
pub(super) const ME: SessionId = SessionId(0x1_0000_0003);
/// Our own entity, and another's.
pub(super) const MINE: Entity = Entity { index: 2, generation: 1 };
pub(super) const OTHER: Entity = Entity { index: 5, generation: 1 };
pub(super) const TICK: Duration = Duration::from_millis(50);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 7777);
const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 2], 50_000);

/// One record of a snapshot.
#[derive(Clone, Debug)]
pub(super) enum Record {
    /// The entity appears, with these rows.
    Fresh(Entity, Rows),
    /// These rows changed.
    Update(Entity, Rows),
    /// It has no body any more.
    Bodiless(Entity),
    /// It is gone.
    Gone(Entity),
}

/// Rows of an entity: body, health, slow, name.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) body: Option<Vec2>,
    pub(super) hp: Option<u8>,
    pub(super) slow: Option<Vec2>,
    pub(super) name: Option<&'static str>,
}

pub(super) fn body(x: f32, y: f32) -> Rows {
    Rows { body: Some(Vec2::new(x, y)), ..Rows::default() }
}

/// What the server heard, and how it answers.
#[derive(Default)]
pub(super) struct Host {
    conn: Option<ConnId>,
    stay: u8,
    pub(super) inputs: BTreeMap<u32, (Go, Seen)>,
    pub(super) newest_tick: u32,
    pub(super) refuse: Option<Code>,
    pub(super) watches: bool,
    pub(super) resumes: u8,
    pub(super) refuse_resumes: Option<Code>,
}

impl Host {
    /// The session is the connection's.
    fn joined(&mut self) -> ServerMsg {
        self.stay += 1;
        ServerMsg::Joined {
            session: ME,
            stay: self.stay,
            match_id: 1,
            name: "arena".to_owned(),
            tick_hz: Arena::HZ,
            max_entities: MAX_ENTITIES,
            capacity: 16,
            spectator: self.watches,
            tick: TickNo(99),
            token: ResumeToken::new(1, ME, &[7 + self.resumes; 16]),
            grace_ms: 30_000,
            next_input: 1,
            next_command: 1,
        }
    }
}

pub(super) struct Pair {
    pub(super) now: Instant,
    sessions: Sessions<Played<Arena>>,
    key: SessionKey,
    pub(super) playing: Playing<Arena>,
    driver: Driver<()>,
    pub(super) host: Host,
    pub(super) header: SnapshotHeader,
    to_server: Vec<Vec<u8>>,
    to_client: Vec<Vec<u8>>,
    is_cut: bool,
}

impl Pair {
    /// A client that has asked for a match, and predicts its body with corrections that snap.
    pub(super) fn new() -> Pair {
        let mut settings = Settings::<Arena>::new();
        settings.predict(|s| &s.body, drive);
        settings.on_correction(|s| &s.body, |_| Fix::Snap);
        settings.interpolate(Delay::Fixed(TICK * 2));
        Pair::with(settings)
    }

    pub(super) fn with(settings: Settings<Arena>) -> Pair {
        let now = Instant::now();
        let mut sessions = Sessions::new(Driver::plain_client(now), Start { now, unix_ms: 0, seed: 0 }).expect("a sound schema");
        let key = sessions.connect_plain(now, SERVER.into(), "ada").expect("a start");
        let mut pair = Pair {
            now,
            sessions,
            key,
            playing: Playing::new(now, settings).expect("a sound game"),
            driver: Driver::plain_server(now, 1200),
            host: Host::default(),
            header: SnapshotHeader {
                stay: 0,
                tick: TickNo(0),
                inputs: AckBits::NONE,
                waited: Lapse::UNKNOWN,
                early: Lapse::UNKNOWN,
                repeated: 0,
                verdicts: [0; MAX_PREDICTED],
            },
            to_server: Vec::new(),
            to_client: Vec::new(),
            is_cut: false,
        };
        pair.join();
        pair
    }

    pub(super) fn spectate(&mut self) {
        self.sessions.session_mut(self.key).spectate(JoinTarget::Any, [8; 16]);
        self.exchange();
        self.header = SnapshotHeader { stay: self.host.stay, tick: TickNo(0), inputs: AckBits::NONE, ..self.header };
    }

    pub(super) fn join(&mut self) {
        self.sessions.join(self.key, JoinTarget::Any, [7; 16]);
        self.exchange();
        self.header = SnapshotHeader { stay: self.host.stay, tick: TickNo(0), inputs: AckBits::NONE, ..self.header };
    }

    /// A client in a match, which sees itself and another at (0, 0) in the snapshot of tick 100.
    pub(super) fn live() -> Pair {
        let mut pair = Pair::new();
        pair.begin();
        pair
    }

    pub(super) fn begin(&mut self) {
        self.header.tick = TickNo(99);
        self.snapshot(&[Record::Fresh(MINE, body(0.0, 0.0)), Record::Fresh(OTHER, body(0.0, 0.0))]);
        self.playing.statuses().for_each(drop);
    }

    /// Hands everything over that is under way, until nothing is.
    pub(super) fn exchange(&mut self) {
        loop {
            let Pair { now, sessions, driver, host, playing, to_server, to_client, .. } = self;
            sessions.poll(*now, playing, &mut |_, bytes| to_server.push(bytes.to_vec()));
            driver.handle_timeouts(*now);
            driver.poll(*now, host, &mut |_, bytes| to_client.push(bytes.to_vec()));
            if self.is_cut {
                to_server.clear();
            }
            if to_server.is_empty() && to_client.is_empty() {
                break;
            }
            let mut nothing = |_: &Transmit, _: &[u8]| {};
            for packet in to_server.drain(..) {
                driver.handle_datagram(*now, CLIENT.into(), None, None, BytesMut::from(&packet[..]), &mut nothing);
            }
            for packet in to_client.drain(..) {
                sessions.handle_datagram(*now, SERVER.into(), None, None, BytesMut::from(&packet[..]), &mut nothing);
            }
        }
        self.playing.settle(self.now, self.sessions.session_mut(self.key));
        let Pair { now, sessions, playing, to_server, .. } = self;
        sessions.flush(*now, playing, &mut |_, bytes| to_server.push(bytes.to_vec()));
    }

    /// The server's process dies, and another takes its place; the client has heard of it when time has passed.
    pub(super) fn restart(&mut self) {
        self.driver = Driver::plain_server(self.now, 1200);
        self.host.conn = None;
    }

    /// Whatever the client sends is lost.
    pub(super) fn silence(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
    }

    /// The client has its session back over another connection.
    pub(super) fn until_resumed(&mut self) {
        let resumes = self.host.resumes;
        while self.host.resumes == resumes {
            self.pass(Duration::from_millis(10));
        }
        self.header.stay = self.host.stay;
    }

    /// Time passes, and nothing arrives.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.exchange();
    }

    /// A tick passes, and its snapshot arrives with these records.
    pub(super) fn tick(&mut self, records: &[Record]) {
        self.now += TICK;
        self.snapshot(records);
    }

    /// The next tick's snapshot arrives now.
    pub(super) fn snapshot(&mut self, records: &[Record]) {
        self.snapshot_with(records, &[]);
    }

    pub(super) fn snapshot_with(&mut self, records: &[Record], cues: &[Ev]) {
        self.header.tick = self.header.tick + 1;
        let bytes = write(&self.header, records, cues);
        self.datagram(&bytes);
    }

    /// The server sends these bytes.
    pub(super) fn datagram(&mut self, bytes: &[u8]) {
        let conn = self.host.conn.and_then(|id| self.driver.connection(id)).expect("a connection");
        conn.send_datagram(bytes::Bytes::copy_from_slice(bytes)).expect("room");
        self.exchange();
    }

    pub(super) fn say(&mut self, message: &ServerMsg) {
        let conn = self.host.conn.and_then(|id| self.driver.connection(id)).expect("a connection");
        conn.send_control(message).expect("room");
        self.exchange();
    }

    /// The player gives an input for a slot, with what is predicted of it. Returns its sequence.
    pub(super) fn send(&mut self, to: Vec2, predicted: &[Ev]) -> u32 {
        let seen = self.playing.seen();
        let input = Go { to, fire: Default::default() };
        let (sequence, input) = self.sessions.send_seen(self.now, self.key, input, seen).expect("in a match");
        self.playing.sent(sequence, input, predicted);
        self.exchange();
        sequence
    }

    pub(super) fn send_times(&mut self, times: u32, to: Vec2) {
        for _ in 0..times {
            self.send(to, &[]);
        }
    }

    /// The server says that it has applied all inputs up to this one.
    pub(super) fn applied(&mut self, highest: u32) {
        self.header.inputs = AckBits { highest, bits: u32::MAX };
    }

    pub(super) fn statuses(&mut self) -> Vec<Status> {
        self.playing.statuses().collect()
    }

    /// Where an entity is drawn.
    pub(super) fn drawn(&self, entity: Entity) -> Option<Vec2> {
        self.playing.view().get(entity, |s| &s.body).map(|body| body.pos)
    }
}

/// A snapshot's bytes.
fn write(header: &SnapshotHeader, records: &[Record], cues: &[Ev]) -> Vec<u8> {
    let layout = WireLayout::new(<Played<Arena> as ringfort_protocol::Wire>::schema()).expect("a sound schema");
    let mut writer = SnapshotWriter::new();
    writer.start(header, SnapshotShape::new(&layout, MAX_ENTITIES), 1_000);
    let rules = words(|to| Rules { goal: 20 }.encode(to));
    assert!(writer.globals(1, |_| row(&rules)));
    for record in records {
        assert!(match record {
            Record::Fresh(e, rows) => {
                let rows = encoded(rows);
                writer
                    .fresh(e.index, e.generation, *e == MINE, mask(&rows), |wire| row(rows[wire].as_ref().expect("in the mask")))
            }
            Record::Update(e, rows) => {
                let rows = encoded(rows);
                writer.update(e.index, mask(&rows), |wire| rows[wire].as_ref().map(row))
            }
            Record::Bodiless(e) => writer.update(e.index, 1, |_| None),
            Record::Gone(e) => writer.gone(e.index),
        });
    }
    for cue in cues {
        assert!(writer.cue(row(&words(|to| cue.encode(to)))));
    }
    writer.finish().to_vec()
}

type Words = (Vec<u64>, u32);

fn encoded(rows: &Rows) -> [Option<Words>; 4] {
    let place = |pos: Option<Vec2>| pos.map(|pos| words(|to| Body { pos }.encode(to)));
    let name = |text: &'static str| {
        words(|to| {
            to.write(text.len() as u64, 5);
            text.bytes().for_each(|byte| to.write(byte.into(), 8));
        })
    };
    [place(rows.body), rows.hp.map(|hp| words(|to| Health { hp }.encode(to))), place(rows.slow), rows.name.map(name)]
}

fn mask(rows: &[Option<Words>; 4]) -> u32 {
    rows.iter().enumerate().map(|(wire, row)| u32::from(row.is_some()) << wire).sum()
}

fn words(encode: impl FnOnce(&mut BitWriter)) -> Words {
    let (mut writer, mut words) = (BitWriter::default(), Vec::new());
    encode(&mut writer);
    let bits = writer.copy_words(&mut words);
    (words, bits)
}

fn row((words, bits): &Words) -> Row<'_> {
    Row { words, bits: *bits }
}

impl Handler<()> for Host {
    fn accepted(&mut self, _remote: SocketAddr) -> Option<()> {
        Some(())
    }

    fn connected(&mut self, conn: &mut Conn<()>) {
        self.conn = Some(conn.id());
    }

    fn datagram(&mut self, _conn: &mut Conn<()>, bytes: &[u8]) {
        let datagram = InputDatagram::parse(bytes, Go::wire_bytes()).expect("a sound datagram");
        self.newest_tick = datagram.acked.highest;
        for (sequence, bytes) in datagram.inputs() {
            let (input, view) = bytes.split_at(Go::wire_bytes());
            let seen = Seen::from_bytes(view.try_into().expect("four bytes"), TickNo(u16::MAX.into()));
            self.inputs.insert(sequence, (Go::from_wire(input).expect("a sound input"), seen));
        }
    }

    fn frame(&mut self, conn: &mut Conn<()>, body: &[u8]) {
        let answer = match codec::decode(body).expect("a sound message") {
            ClientMsg::Hello { resume, .. } => {
                let schema = <Played<Arena> as ringfort_protocol::Wire>::schema().clone();
                conn.send_control(&ServerMsg::Welcome { version: PROTOCOL_VERSION, schema, rounds: false }).expect("room");
                if resume.is_none() {
                    return;
                }
                self.resumes += 1;
                match self.refuse_resumes {
                    Some(code) => ServerMsg::Error { code: code.into(), reason: "not today".to_owned() },
                    None => self.joined(),
                }
            }
            ClientMsg::Join { .. } if self.refuse.is_some() => {
                let code = self.refuse.map_or(0, u16::from);
                ServerMsg::Error { code, reason: "not today".to_owned() }
            }
            ClientMsg::Join { spectate, .. } => {
                self.watches = spectate;
                self.joined()
            }
            ClientMsg::Leave | ClientMsg::Command { .. } | ClientMsg::EventAck { .. } => return,
        };
        conn.send_control(&answer).expect("room");
    }

    fn closed(&mut self, _conn: &mut Conn<()>, _why: &Closed) {
        self.conn = None;
    }
}
