//! A server of one tiny game, in the test's own thread: it answers by the book, and drops what it is told to drop.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use quinn_proto::ServerConfig;
use ringfort_client::udp::Udp;
use ringfort_protocol::bits::{BitReader, BitWriter, Row};
use ringfort_protocol::component::{ColumnId, Component, Input as _, Message as _, Wire};
use ringfort_protocol::control::{ClientMsg, Code, EndReason, Resume, ServerMsg};
use ringfort_protocol::driver::{Closed, Conn, ConnId, Driver, Handler};
use ringfort_protocol::input::InputDatagram;
use ringfort_protocol::limits::{MAX_PREDICTED, PROTOCOL_VERSION};
use ringfort_protocol::quic;
use ringfort_protocol::schema::{Coding, ColumnSchema, FieldKind, FieldSchema, Schema, Sync};
use ringfort_protocol::snapshot::{Lapse, SnapshotHeader, SnapshotShape, SnapshotWriter};
use ringfort_protocol::view::VIEW_BYTES;
use ringfort_protocol::{AckBits, DecodeError, Entity, ResumeToken, SessionId, TickNo, WireLayout, codec};

use std::sync::OnceLock;

/// The one row of an entity.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Count {
    /// Sum of all inputs.
    pub(crate) sum: u32,
}

/// By hand, because what the derive makes is a row of shared memory too.
impl Component for Count {
    const NAME: &'static str = "Count";

    fn fields() -> Vec<FieldSchema> {
        vec![FieldSchema { name: "sum".to_owned(), offset: 0, kind: FieldKind::U32, coding: Coding::Raw, synced: true }]
    }

    fn encode(&self, to: &mut BitWriter) {
        to.write(self.sum.into(), 32);
    }

    fn decode(from: &mut BitReader<'_>) -> Result<Count, DecodeError> {
        Ok(Count { sum: from.read(32)? as u32 })
    }

    fn quantise(&mut self) {}
}

/// What a player sends.
#[derive(ringfort_derive::Input, Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Step {
    /// Added to the sum.
    pub(crate) by: u16,
}

/// What a player asks.
#[derive(ringfort_derive::Message, Clone, Copy)]
pub(crate) enum Ask {
    /// Be told the sum by a reliable event.
    Tell,
}

/// What the game tells.
#[derive(ringfort_derive::Message, Clone, Copy, PartialEq, Debug)]
pub(crate) enum Told {
    /// The sum.
    #[reliable]
    Sum { sum: u32 },
    /// A tick has passed.
    Tick,
}

/// The game.
pub(crate) struct Counting;

impl Counting {
    pub(crate) const COUNT: ColumnId<Count> = ColumnId::new(0);
}

impl Wire for Counting {
    type Input = Step;
    type Command = Ask;
    type Event = Told;

    fn schema() -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Schema {
            game: "Counting".to_owned(),
            hz: 50,
            columns: vec![ColumnSchema {
                name: "count".to_owned(),
                component: Count::NAME.to_owned(),
                sync: Sync::All,
                once: false,
                rate: 0,
                row_bytes: 4,
                fields: Count::fields(),
            }],
            globals: Vec::new(),
            input: Step::fields(),
            commands: Ask::variants(),
            events: Told::variants(),
            position: None,
        })
    }
}

const MAX_ENTITIES: u32 = 16;
pub(crate) const AVATAR: Entity = Entity { index: 3, generation: 7 };

/// The server, and what the tests tell it to do.
pub(crate) struct Mock {
    udp: Udp,
    driver: Driver<()>,
    config: ServerConfig,
    pub(crate) state: State,
}

#[derive(Default)]
pub(crate) struct State {
    /// Its schema instead of the game's own.
    pub(crate) schema: Option<Schema>,
    /// Have no room for so many connections.
    pub(crate) full: u32,
    /// Refuse every join with this.
    pub(crate) refuse: Option<Code>,
    /// Answer so many joins with `Busy` first.
    pub(crate) busy: u32,
    /// Drop so many input datagrams.
    pub(crate) drop_inputs: u32,
    /// Never apply the input of this sequence.
    pub(crate) reject: u32,
    /// Do not acknowledge commands.
    pub(crate) mute: bool,
    pub(crate) applied: AckBits,
    pub(crate) sum: u32,
    pub(crate) inputs_seen: u32,
    /// Those of the newest datagram that had any, the newest first.
    pub(crate) inputs: Vec<(u32, Step)>,
    pub(crate) commands_seen: u32,
    /// Every command's number, as they came.
    pub(crate) commands: Vec<u32>,
    pub(crate) event_acked: u64,
    pub(crate) tick: u32,
    pub(crate) acked_ticks: AckBits,
    pub(crate) joined: Option<ConnId>,
    /// Tick rate and capacity that are said instead of 50 and 1.
    pub(crate) size: Option<(u32, u32)>,
    /// Whether the last join was one to watch.
    pub(crate) watched: bool,
    /// Answer no joins, and no resumes.
    pub(crate) silent: bool,
    /// Refuse every resume with this.
    pub(crate) refuse_resumes: Option<Code>,
    /// What was shown to resume the session.
    pub(crate) resumes: Vec<Resume>,
    /// The numbers of the connections that have said hello.
    pub(crate) attempts: Vec<u64>,
    /// The nonces of the joins.
    pub(crate) nonces: Vec<[u8; 16]>,
    /// Tokens given: the number is in all bytes of the secret.
    pub(crate) tokens: u8,
    /// Say that the session has had so many inputs and commands before.
    pub(crate) before: (u32, u32),
    /// Acknowledgements of events, as they came.
    pub(crate) event_acks: Vec<u64>,
}

/// The token that the mock has given as its n-th.
pub(crate) fn token(number: u8) -> ResumeToken {
    ResumeToken::new(1, SessionId::new(1, 2), &[number; 16])
}

impl Mock {
    pub(crate) fn start() -> Mock {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let config = quic::server_config(vec![made.cert.der().clone()], key, &[1; 64], &[3; 64]).expect("a configuration");
        Mock {
            udp: Udp::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket"),
            driver: driver(&config),
            config,
            state: State::default(),
        }
    }

    /// The process dies, and another one has its socket and its keys, and the match as it was.
    pub(crate) fn restart(&mut self) {
        self.driver = driver(&self.config);
        self.state.joined = None;
    }

    /// Closes the client's connection.
    pub(crate) fn close(&mut self, code: Code) {
        let id = self.state.joined.expect("a client");
        self.driver.connection(id).expect("a connection").close(code, "as the test says");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.udp.link().local_addr().expect("an address")
    }

    /// Handles what has arrived; with `tick`, sends a snapshot too.
    pub(crate) fn turn(&mut self, tick: bool) {
        let now = Instant::now();
        let Mock { udp, driver, state, .. } = self;
        udp.receive(|link, datagram| {
            let mut out = |transmit: &_, bytes: &[u8]| link.send(transmit, bytes);
            driver.handle_datagram(now, datagram.from, datagram.local_ip, datagram.ecn, datagram.data, &mut out);
        })
        .expect("a socket that works");
        driver.handle_timeouts(now);
        driver.poll(now, state, &mut |transmit, bytes| udp.link().send(transmit, bytes));
        if tick && let Some(conn) = state.joined.and_then(|id| driver.connection(id)) {
            let snapshot = state.snapshot();
            let _ = conn.send_datagram(snapshot.into());
            driver.poll(now, state, &mut |transmit, bytes| udp.link().send(transmit, bytes));
        }
    }

    pub(crate) fn wait(&self) {
        self.udp.wait(Some(std::time::Duration::from_millis(1))).expect("a socket that works");
    }

    /// Sends a control message to the client.
    pub(crate) fn say(&mut self, message: &ServerMsg) {
        let id = self.state.joined.expect("a client");
        self.driver.connection(id).expect("a connection").send_control(message).expect("room");
    }
}

fn driver(config: &ServerConfig) -> Driver<()> {
    Driver::server(Instant::now(), quic::server_endpoint(0, &[2; 64]), config.clone())
}

impl State {
    fn snapshot(&mut self) -> Vec<u8> {
        self.tick += 1;
        let layout = WireLayout::new(Counting::schema()).expect("a sound schema");
        let header = SnapshotHeader {
            stay: 1,
            tick: TickNo(self.tick),
            inputs: self.applied,
            waited: Lapse::ZERO,
            early: Lapse::ZERO,
            repeated: 0,
            verdicts: [0; MAX_PREDICTED],
        };
        let mut writer = SnapshotWriter::new();
        writer.start(&header, SnapshotShape::new(&layout, MAX_ENTITIES), 1_000);
        let (mut words, mut cue) = (Vec::new(), Vec::new());
        let row = row(&mut words, |to| Count { sum: self.sum }.encode(to));
        assert!(writer.fresh(AVATAR.index, AVATAR.generation, true, 1, |_| row));
        assert!(writer.cue(self::row(&mut cue, |to| Told::Tick.encode(to))));
        writer.finish().to_vec()
    }

    /// The session is given to a connection.
    fn place(&mut self, conn: &Conn<()>) -> ServerMsg {
        self.joined = Some(conn.id());
        self.tokens += 1;
        let (tick_hz, capacity) = self.size.unwrap_or((50, 1));
        ServerMsg::Joined {
            session: SessionId::new(1, 2),
            stay: 1,
            match_id: 1,
            name: "arena".to_owned(),
            tick_hz,
            max_entities: MAX_ENTITIES,
            capacity,
            spectator: self.watched,
            tick: TickNo(self.tick),
            token: token(self.tokens),
            grace_ms: 30_000,
            next_input: self.before.0.max(self.applied.highest) + 1,
            next_command: self.before.1.max(self.commands_seen) + 1,
        }
    }

    fn resume(&mut self, conn: &Conn<()>, resume: Resume) -> Option<ServerMsg> {
        self.resumes.push(resume);
        match self.refuse_resumes {
            _ if self.silent => None,
            Some(code) => Some(ServerMsg::Error { code: code.into(), reason: "no".to_owned() }),
            None => Some(self.place(conn)),
        }
    }

    fn message(&mut self, conn: &mut Conn<()>, message: ClientMsg) -> Option<ServerMsg> {
        match message {
            ClientMsg::Hello { version, attempt, resume, .. } => {
                self.attempts.push(attempt);
                assert_eq!(version, PROTOCOL_VERSION);
                let schema = self.schema.clone().unwrap_or_else(|| Counting::schema().clone());
                conn.send_control(&ServerMsg::Welcome { version, schema, rounds: false }).expect("room");
                self.resume(conn, resume?)
            }
            ClientMsg::Join { spectate, nonce, .. } => {
                self.nonces.push(nonce);
                if self.silent {
                    return None;
                }
                if self.busy > 0 {
                    self.busy -= 1;
                    return Some(ServerMsg::Error { code: Code::Busy.into(), reason: "full inbox".to_owned() });
                }
                if let Some(code) = self.refuse {
                    return Some(ServerMsg::Error { code: code.into(), reason: "no".to_owned() });
                }
                self.watched = spectate;
                Some(self.place(conn))
            }
            ClientMsg::Leave => Some(ServerMsg::Left { reason: EndReason::Left }),
            ClientMsg::Command { number, payload } => {
                assert!(Ask::from_wire(&payload).is_ok());
                self.commands_seen = number;
                self.commands.push(number);
                (!self.mute).then_some(ServerMsg::CommandAck { number })
            }
            ClientMsg::EventAck { number } => {
                self.event_acks.push(number);
                self.event_acked = number;
                None
            }
        }
    }
}

impl Handler<()> for State {
    fn accepted(&mut self, _remote: SocketAddr) -> Option<()> {
        if let Some(left) = self.full.checked_sub(1) {
            self.full = left;
            return None;
        }
        Some(())
    }

    fn connected(&mut self, _conn: &mut Conn<()>) {}

    fn datagram(&mut self, conn: &mut Conn<()>, bytes: &[u8]) {
        assert_eq!(self.joined, Some(conn.id()), "a datagram before the session was given over this connection");
        if self.drop_inputs > 0 {
            self.drop_inputs -= 1;
            return;
        }
        let datagram = InputDatagram::parse(bytes, Step::wire_bytes()).expect("a sound datagram");
        self.acked_ticks = datagram.acked;
        let input = |given: &[u8]| {
            let (encoded, _view) = given.split_last_chunk::<VIEW_BYTES>().expect("an input with its view");
            Step::from_wire(encoded).expect("a sound input")
        };
        let inputs: Vec<(u32, Step)> = datagram.inputs().map(|(sequence, given)| (sequence, input(given))).collect();
        for (sequence, step) in inputs.iter().rev().copied().filter(|(sequence, _)| *sequence != self.reject) {
            if self.applied.insert(sequence) == ringfort_protocol::Inserted::New {
                self.inputs_seen += 1;
                self.sum += u32::from(step.by);
            }
        }
        if !inputs.is_empty() {
            self.inputs = inputs;
        }
    }

    fn frame(&mut self, conn: &mut Conn<()>, body: &[u8]) {
        let message = codec::decode(body).expect("a sound message");
        if let Some(answer) = self.message(conn, message) {
            conn.send_control(&answer).expect("room");
        }
    }

    fn closed(&mut self, conn: &mut Conn<()>, _why: &Closed) {
        self.joined = self.joined.filter(|id| *id != conn.id());
    }
}

fn row<'w>(words: &'w mut Vec<u64>, encode: impl FnOnce(&mut BitWriter)) -> Row<'w> {
    let mut writer = BitWriter::new(Vec::new());
    encode(&mut writer);
    let bits = writer.copy_words(words);
    Row { words, bits }
}
