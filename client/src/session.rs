//! One client's stay, without a socket or a clock: hello, welcome, join, joined, live, ended.
//!
//! A program reads statuses, events and the view, and gives inputs and commands: that half is here. The other half is
//! what the hub does with it, in `steps`. What becomes of it when its connection is lost is in `resuming`.

mod resuming;
mod steps;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::component::{Message, Wire};
use ringfort_protocol::control::{ClientMsg, Code, Credential, JoinTarget};
use ringfort_protocol::limits::MAX_MESSAGE_BYTES;
use ringfort_protocol::{AckBits, Entity, ResumeToken, SessionId, TickNo, WireLayout};

use crate::error::{CommandError, Ended};
use crate::inputs::Inputs;
use crate::limits;
use crate::view::View;

pub(crate) use resuming::Silence;
use resuming::{Attempts, Heard};

/// A step of the stay, in the order in which they happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// The handshake runs.
    Connecting,
    /// A place in a match has been committed.
    Joined {
        /// Our session.
        session: SessionId,
        /// The match's name.
        match_name: String,
        /// Inputs that it takes a second.
        tick_hz: u32,
        /// With which another run of the program can have the session back: see [`Hub::resume`](crate::Hub::resume).
        token: ResumeToken,
    },
    /// The first snapshot is here.
    Live,
    /// The connection was lost, and is made again: the match goes on without us meanwhile, and shows what it showed last. Inputs and
    /// commands are taken and wait. [`Status::Resumed`] follows, or [`Status::MatchOver`] or [`Status::Ended`]; without a match, what
    /// would have followed anyway.
    Resuming {
        /// Which attempt begins, from 1 on.
        attempt: u32,
    },
    /// We have our session back: the same entity, and inputs, commands and events go on where they were. [`Status::Live`] follows with the
    /// first snapshot.
    Resumed {
        /// Takes the place of the token before, which is good no more.
        token: ResumeToken,
        /// Inputs that have waited, and are sent again: no more than one datagram carries.
        inputs: u32,
        /// Commands that have waited, and are sent again.
        commands: u32,
    },
    /// The join was refused; the connection stays, and another match may be tried.
    Refused {
        /// Why.
        code: Code,
        /// The server's words.
        reason: String,
    },
    /// The game failed on these inputs and commands of ours, and the server has given them up: they do not count, and are not sent
    /// again. Each is told once.
    Rejected {
        /// The inputs, by the sequences that they were sent with.
        inputs: AckBits,
        /// The commands, counted from 1 in this match.
        commands: AckBits,
    },
    /// The match is over; the connection stays, and another match may be joined. The view shows the last tick until then.
    MatchOver,
    /// It is over.
    Ended(Ended),
}

/// Something that the game told us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<E> {
    /// The tick that it happened in.
    pub tick: TickNo,
    /// What.
    pub what: E,
    /// Whether it was sent until we had it; else it came with a snapshot and others may have been lost.
    pub reliable: bool,
}

/// A snapshot that has just been applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The tick that it shows.
    pub tick: TickNo,
    /// When it was taken from the socket.
    pub arrived: Instant,
    /// Its size.
    pub bytes: usize,
    /// The inputs that its tick contains.
    pub inputs: AckBits,
    /// How long the highest of them lay at the server, if that is known.
    pub waited: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Until the QUIC handshake is done.
    Connecting,
    /// Hello sent.
    Greeting,
    /// Welcome received; no join asked for.
    Idle,
    /// Join sent.
    Joining,
    /// In a match, no snapshot yet.
    Joined,
    /// In a match.
    Live,
    /// In a match, or with the token of one, and without a connection that serves it.
    Resuming,
    /// Nothing more will come.
    Ended,
}

/// A place that the program wants.
struct Request {
    target: JoinTarget,
    nonce: [u8; 16],
    watches: bool,
}

/// The state of one client.
pub struct Session<W: Wire> {
    phase: Phase,
    credential: Credential,
    /// The place to ask for as soon as we may ask.
    wanted: Option<Request>,
    /// The place that was asked for, until the server has answered.
    asked: Option<Request>,
    /// The match that we are in is only watched: the server says so.
    watches: bool,
    id: SessionId,
    tick_hz: u32,
    /// The server lets its timers wait, too.
    rounds: bool,
    capacity: u32,
    layout: WireLayout,
    /// What is shown.
    world: Option<ClientWorld>,
    /// The world of a session that has just been resumed, until its first snapshot: then it takes the place of the other.
    fresh: Option<ClientWorld>,
    mine: Entity,
    inputs: Inputs<W::Input>,
    /// The number of the first command that is ours.
    first_command: u32,
    next_command: u32,
    /// Encoded, from the oldest unacknowledged on.
    commands: VecDeque<(u32, Vec<u8>)>,
    commands_rejected: AckBits,
    /// Inputs and commands that were rejected, in all matches.
    rejected: u64,
    events: VecDeque<Event<W::Event>>,
    events_seen: u64,
    events_acked: u64,
    cues_dropped: u64,
    statuses: VecDeque<Status>,
    ended: Option<Ended>,
    /// Frames for the control stream.
    control: Vec<u8>,
    /// They are to leave at once.
    urgent: bool,
    /// When a message that the server had no room for is sent again.
    retry_at: Option<Instant>,
    /// How often in a row it had no room.
    busy: u32,
    /// When the newest snapshot is acknowledged even without an input.
    ack_at: Option<Instant>,
    snapshot_at: Option<Instant>,
    rtt: Option<Duration>,
    /// Why we want the connection closed.
    closing: Option<(Code, String)>,
    /// Matches that we have joined.
    joins: u32,
    /// How often we have had our place in this match given back.
    resumes: u32,
    token: Option<ResumeToken>,
    grace: Duration,
    /// The program has given its place up, and the server has not answered that yet.
    leaving: bool,
    /// The server has welcomed us at some time.
    was_welcomed: bool,
    /// How a connection is got, until the server has answered over it.
    attempts: Option<Attempts>,
    /// When it has.
    answered_at: Option<Instant>,
    /// Connections in a row that were lost soon after that.
    brief: u32,
    /// Number of the connection: it grows from one to the next, also from one run of the program to another.
    connection: u64,
    heard: Heard,
    /// Why nothing is to be expected of the connection any more, although it stands.
    hopeless: Option<String>,
    /// The round trip of the connection before.
    known_rtt: Option<Duration>,
    give_up_after: Duration,
}

impl<W: Wire> Session<W> {
    /// A session that says hello with `credential` when its connection stands, which has this number and is being made.
    pub(crate) fn new(now: Instant, connection: u64, credential: Credential, layout: WireLayout) -> Session<W> {
        Session {
            phase: Phase::Connecting,
            credential,
            wanted: None,
            asked: None,
            watches: false,
            id: SessionId::NOBODY,
            tick_hz: 0,
            rounds: false,
            capacity: 0,
            inputs: Inputs::new(0, layout.input_bytes, 1),
            layout,
            world: None,
            fresh: None,
            mine: Entity::NONE,
            first_command: 1,
            next_command: 1,
            commands: VecDeque::new(),
            commands_rejected: AckBits::NONE,
            rejected: 0,
            events: VecDeque::new(),
            events_seen: 0,
            events_acked: 0,
            cues_dropped: 0,
            statuses: VecDeque::from([Status::Connecting]),
            ended: None,
            control: Vec::new(),
            urgent: false,
            retry_at: None,
            busy: 0,
            ack_at: None,
            snapshot_at: None,
            rtt: None,
            closing: None,
            joins: 0,
            resumes: 0,
            token: None,
            grace: Duration::ZERO,
            leaving: false,
            was_welcomed: false,
            attempts: Some(Attempts::first(now)),
            answered_at: None,
            brief: 0,
            connection,
            heard: Heard::nothing(now),
            hopeless: None,
            known_rtt: None,
            give_up_after: limits::RESUME_MAX,
        }
    }

    /// Asks for a place, now or as soon as the server has welcomed us; in a match, when it is over, and while another join is under
    /// way, after that. Of several that wait the last counts. `nonce` is random: with the same one, the server finds the same session.
    pub fn join(&mut self, target: JoinTarget, nonce: [u8; 16]) {
        self.ask(target, nonce, false);
    }

    /// Asks for a place to watch from: without inputs, without commands, without an entity.
    pub fn spectate(&mut self, target: JoinTarget, nonce: [u8; 16]) {
        self.ask(target, nonce, true);
    }

    /// Whether we watch only.
    pub fn is_spectator(&self) -> bool {
        self.watches && self.is_joined()
    }

    fn ask(&mut self, target: JoinTarget, nonce: [u8; 16], watches: bool) {
        if let JoinTarget::Named(text) | JoinTarget::Code(text) = &target
            && text.len() > limits::TARGET_BYTES_MAX
        {
            let reason = format!("a match's name or code has at most {} bytes", limits::TARGET_BYTES_MAX);
            return self.tell(Status::Refused { code: Code::NoSuchMatch, reason });
        }
        self.wanted = Some(Request { target, nonce, watches });
        if self.phase == Phase::Idle {
            self.send_wanted();
        }
    }

    /// Gives the place up; `Status::Ended` follows.
    pub fn leave(&mut self) {
        if !self.is_joined() {
            return self.close(Code::Left, "left");
        }
        // Kept until the answer: the connection may be lost before it.
        self.leaving = true;
        if self.is_attached() {
            self.write(&ClientMsg::Leave);
        }
    }

    /// Sends a command reliably and in order; it is kept until the server has committed it.
    pub fn command(&mut self, command: &W::Command) -> Result<(), CommandError> {
        if !self.is_joined() {
            return Err(CommandError::NotJoined);
        }
        if self.is_spectator() {
            return Err(CommandError::Watching);
        }
        if self.commands.len() >= limits::COMMANDS_MAX {
            return Err(CommandError::Full);
        }
        let mut payload = Vec::new();
        command.to_wire(&mut payload);
        if payload.len() > MAX_MESSAGE_BYTES {
            return Err(CommandError::TooLong);
        }
        let number = self.next_command;
        self.next_command += 1;
        if self.is_attached() {
            self.write(&ClientMsg::Command { number, payload: payload.clone() });
        }
        self.commands.push_back((number, payload));
        Ok(())
    }

    /// Whether there is a step to take.
    pub fn has_status(&self) -> bool {
        !self.statuses.is_empty()
    }

    /// Takes the steps that have happened.
    pub fn statuses(&mut self) -> impl Iterator<Item = Status> {
        self.statuses.drain(..)
    }

    /// Takes the events that have arrived, reliable ones in their order.
    pub fn events(&mut self) -> impl Iterator<Item = Event<W::Event>> {
        self.events.drain(..)
    }

    /// The world as of the newest snapshot.
    pub fn view(&self) -> View<'_> {
        View::new(self.world.as_ref(), self.mine)
    }

    /// The same, encoded; nothing before we joined. After a match its last snapshot stays until the next join.
    pub fn world(&self) -> Option<&ClientWorld> {
        self.world.as_ref()
    }

    /// Ends the session over bytes of the server that make no sense to the program.
    pub fn refuse(&mut self, reason: &str) {
        self.close(Code::BadMessage, reason);
    }

    /// Our session; nobody before we joined.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Which join of the connection the present or last match is.
    pub fn stay(&self) -> u8 {
        self.inputs.stay()
    }

    /// Players that the match may have; 0 before we joined.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Which match it is, counted from 1 on; 0 before we joined. A session that is resumed stays in its match.
    pub fn joins(&self) -> u32 {
        self.joins
    }

    /// How often the session was resumed in this match.
    pub fn resumes(&self) -> u32 {
        self.resumes
    }

    /// Whether we have a place in a match, also while the connection to it is being made again.
    pub fn is_joined(&self) -> bool {
        self.is_attached() || self.is_resuming() && self.world.is_some()
    }

    /// Whether the connection was lost and is being made again, to get our place back.
    pub fn is_resuming(&self) -> bool {
        self.phase == Phase::Resuming
    }

    /// Whether a next input would be taken. While a session is being resumed no more are than one datagram carries.
    pub fn takes_inputs(&self) -> bool {
        let is_back = !self.is_resuming() && self.fresh.is_none();
        self.is_joined() && !self.watches && (is_back || !self.inputs.is_full())
    }

    /// What another run of the program needs to have the session back; nothing before we joined. It changes whenever the session is resumed.
    /// Whoever has it can play in our place.
    pub fn resume_token(&self) -> Option<ResumeToken> {
        self.token.filter(|_| self.is_joined())
    }

    /// For how long the server keeps the place of a client whose connection was lost.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.phase, Phase::Joined | Phase::Live)
    }

    /// Whether snapshots arrive.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether the server has welcomed us.
    pub fn is_welcomed(&self) -> bool {
        match self.phase {
            Phase::Connecting | Phase::Greeting | Phase::Ended => false,
            Phase::Resuming => self.is_joined(),
            Phase::Idle | Phase::Joining | Phase::Joined | Phase::Live => true,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Inputs that the match takes a second; 0 before we joined.
    pub fn tick_hz(&self) -> u32 {
        self.tick_hz
    }

    /// Smoothed round trip without the wait for the tick, from the echo of our own inputs.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// When the newest snapshot arrived.
    pub fn snapshot_at(&self) -> Option<Instant> {
        self.snapshot_at
    }

    /// Inputs and commands that the server has given up because the game failed on them, in all matches.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Commands of ours that the server has not said to be committed, or to have given up.
    pub fn commands_waiting(&self) -> usize {
        self.commands.len()
    }

    /// The inputs of the present or last match that the server has given up: the highest, and those of the 32 below it.
    pub fn inputs_rejected(&self) -> AckBits {
        self.inputs.all_rejected()
    }

    /// Cues that were dropped because the program had not taken those before.
    pub fn cues_dropped(&self) -> u64 {
        self.cues_dropped
    }
}
