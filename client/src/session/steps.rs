//! The hub's half of a session: control messages and datagrams go in, and what it has to say comes out.
//!
//! Every message of the server is answered here by a step of the session, or by the end of it.

use std::time::{Duration, Instant};

use ringfort_protocol::client_world::{Applied, ClientWorld};
use ringfort_protocol::codec;
use ringfort_protocol::component::{Message, Wire};
use ringfort_protocol::control::{ClientMsg, Code, EndReason, Resume, ServerMsg};
use ringfort_protocol::limits::{MAX_CAPACITY, MAX_ENTITIES, MAX_TICK_HZ, PROTOCOL_VERSION};
use ringfort_protocol::schema::Schema;
use ringfort_protocol::{AckBits, Entity, ResumeToken, SessionId, TickNo, View};

use crate::error::Ended;
use crate::inputs::Inputs;
use crate::limits;

use super::{Event, Phase, Request, Session, Snapshot, Status};

const BEYOND_THE_LIMITS: &str = "a match beyond the limits";

/// A place in a match, as the server has told of it.
pub(super) struct Place {
    pub(super) session: SessionId,
    pub(super) stay: u8,
    match_name: String,
    pub(super) tick_hz: u32,
    pub(super) max_entities: u32,
    pub(super) capacity: u32,
    pub(super) spectator: bool,
    pub(super) token: ResumeToken,
    pub(super) grace: Duration,
    next_input: u32,
    pub(super) next_command: u32,
}

impl<W: Wire> Session<W> {
    /// The connection stands: we speak first.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.heard_something(now);
        let token = self.token.filter(|_| self.phase == Phase::Resuming);
        if token.is_none() {
            self.phase = Phase::Greeting;
        }
        let (version, schema_hash, credential) = (PROTOCOL_VERSION, W::schema().hash(), self.credential.clone());
        let resume = token.map(|token| Resume { token, events: self.events_seen });
        self.write(&ClientMsg::Hello { version, schema_hash, credential, attempt: self.connection, resume, rounds: true });
    }

    /// One frame of the control stream, without its length.
    pub(crate) fn handle_control(&mut self, now: Instant, frame: &[u8]) {
        self.heard_something(now);
        match codec::decode::<ServerMsg>(frame) {
            Ok(message) => self.handle_message(now, message),
            Err(error) => self.close(Code::BadMessage, &error.to_string()),
        }
    }

    fn handle_message(&mut self, now: Instant, message: ServerMsg) {
        match message {
            ServerMsg::Welcome { version, schema, rounds } if matches!(self.phase, Phase::Greeting | Phase::Resuming) => {
                self.rounds = rounds;
                self.welcome(now, version, &schema);
            }
            ServerMsg::Joined {
                session,
                stay,
                name: match_name,
                tick_hz,
                max_entities,
                capacity,
                spectator,
                token,
                grace_ms,
                next_input,
                next_command,
                match_id: _,
                tick: _,
            } if matches!(self.phase, Phase::Joining | Phase::Resuming) => {
                let (grace, next_input) = (Duration::from_millis(grace_ms.into()), next_input.max(1));
                let next_command = next_command.max(1);
                self.placed(
                    now,
                    Place {
                        session,
                        stay,
                        match_name,
                        tick_hz,
                        max_entities,
                        capacity,
                        spectator,
                        token,
                        grace,
                        next_input,
                        next_command,
                    },
                );
            }
            // Acknowledgements and events of a session that has just ended may still be on their way.
            ServerMsg::CommandAck { number } => {
                self.busy = 0;
                while self.commands.front().is_some_and(|(first, _)| *first <= number) {
                    self.commands.pop_front();
                }
            }
            ServerMsg::Rejected { inputs, commands } => {
                if self.is_attached() {
                    self.reject(inputs, commands);
                }
            }
            ServerMsg::Event { number, tick, payload } => {
                if self.is_attached() {
                    self.event(number, tick, &payload);
                }
            }
            ServerMsg::Left { reason } => self.left(reason),
            ServerMsg::Error { code, reason } => self.refused(now, code, reason),
            ServerMsg::Welcome { .. } | ServerMsg::Joined { .. } => {
                self.close(Code::BadMessage, "a message out of its order");
            }
        }
    }

    /// A datagram; `Some` when it was a snapshot newer than all before.
    pub(crate) fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) -> Option<Snapshot> {
        self.heard_something(now);
        // A snapshot may overtake the message that tells of the join. It isn't acknowledged, so nothing of it is lost.
        if !self.is_attached() {
            return None;
        }
        // One of the match before, late: it says nothing of this one.
        if bytes.get(1).is_some_and(|stay| *stay != self.inputs.stay()) {
            return None;
        }
        // Another front-end may lag behind the one before: its first ticks may be older than the one that is shown.
        let shown = self.world.as_ref().filter(|_| self.fresh.is_some()).map_or(TickNo(0), ClientWorld::tick);
        let Session { world, fresh, events, cues_dropped, .. } = self;
        let world = fresh.as_mut().or(world.as_mut())?;
        let events_before = events.len();
        let applied = world.apply(bytes, |mut cue| match W::Event::decode(&mut cue) {
            Ok(what) if events.len() < limits::EVENTS_MAX => {
                events.push_back(Event { tick: TickNo(0), what, reliable: false });
            }
            _ => *cues_dropped += 1,
        });
        match applied {
            Ok(Applied::Newer(tick)) if tick <= shown => {
                // Its cues were told before.
                events.truncate(events_before);
                self.ack_at.get_or_insert(now + self.ack_delay());
                None
            }
            Ok(Applied::Newer(tick)) => {
                events.range_mut(events_before..).for_each(|event| event.tick = tick);
                self.applied(now, bytes.len())
            }
            Ok(Applied::Older(_)) => None,
            Err(error) => {
                self.close(Code::BadMessage, &error.to_string());
                None
            }
        }
    }

    /// Takes the next input, given at the sight of `seen`; [`Session::write_datagram`] must follow. Returns its sequence and the
    /// input as it is sent, or nothing when there is no match to play in.
    pub(crate) fn push_input(&mut self, now: Instant, input: W::Input, seen: View) -> Option<(u32, W::Input)> {
        self.takes_inputs().then(|| self.inputs.push(now, input, seen))
    }

    /// Whether a datagram must go out although the program gives no input.
    pub(crate) fn datagram_due(&self, now: Instant) -> bool {
        self.is_attached() && self.ack_at.is_some_and(|at| at <= now)
    }

    /// Writes the datagram: acknowledged ticks and unacknowledged inputs.
    pub(crate) fn write_datagram(&mut self, now: Instant, to: &mut Vec<u8>) {
        let ticks = self.fresh.as_ref().or(self.world.as_ref()).map_or(AckBits::NONE, ClientWorld::acks);
        self.inputs.write(ticks, to);
        // Inputs that stay unacknowledged go out again even if no snapshot comes to be acknowledged.
        self.ack_at = self.inputs.outstanding().then(|| now + self.ack_delay());
    }

    /// Brings what is due into the control frames: acknowledged events once a pump, and what the server had no room for.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.events_acked < self.events_seen && self.is_attached() {
            self.events_acked = self.events_seen;
            // It rides along with the next input, and if none is given soon with what is sent in its place.
            self.add(&ClientMsg::EventAck { number: self.events_seen });
            let delay = self.ack_delay();
            self.ack_at.get_or_insert(now + delay);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.retry();
        }
    }

    /// Frames for the control stream; whoever writes them clears them.
    pub(crate) fn control(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    /// Whether they are to leave at once; asked when they do.
    pub(crate) fn is_urgent(&mut self) -> bool {
        std::mem::take(&mut self.urgent)
    }

    /// Whether the server has yet to say that it has something reliable of ours.
    pub(crate) fn awaits(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The code to close the connection with, once.
    pub(crate) fn poll_close(&mut self) -> Option<(Code, String)> {
        self.closing.take()
    }

    /// When the hub should look again even if nothing arrives.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.ack_at.into_iter().chain(self.retry_at).chain(self.connection_timeout()).min()
    }

    /// The time between two sends, if QUIC's timers may wait for them: while a match goes on in which both ends send once a tick.
    pub(crate) fn rounds_by(&self) -> Option<Duration> {
        (self.rounds && self.is_attached()).then(|| self.tick_period())
    }

    fn tick_period(&self) -> Duration {
        Duration::from_secs(1) / self.tick_hz.max(1)
    }

    /// How long a snapshot waits for an input to carry its acknowledgement: longer than a tick, so that one given every tick always does.
    fn ack_delay(&self) -> Duration {
        limits::ACK_DELAY.max(self.tick_period() * 3 / 2)
    }

    fn welcome(&mut self, now: Instant, version: u16, schema: &Schema) {
        if version != PROTOCOL_VERSION {
            let reason = format!("protocol version {PROTOCOL_VERSION} here, {version} there");
            return self.close(Code::VersionMismatch, &reason);
        }
        if let Some(first) = W::schema().first_difference(schema) {
            self.closing = Some((Code::SchemaMismatch, first.clone()));
            return self.end(Ended::SchemaMismatch { first });
        }
        self.was_welcomed = true;
        if self.phase == Phase::Resuming {
            return;
        }
        self.answered(now);
        self.phase = Phase::Idle;
        match self.asked {
            // Asked over the connection before: the server knows by the nonce whether it has given us the place already.
            Some(_) => self.send_asked(),
            None => self.send_wanted(),
        }
    }

    /// Asks for the place that the program wants, if there is one.
    pub(super) fn send_wanted(&mut self) {
        if let Some(request) = self.wanted.take() {
            self.asked = Some(request);
            self.send_asked();
        }
    }

    fn send_asked(&mut self) {
        let Some(Request { target, nonce, watches }) = &self.asked else { return };
        let message = ClientMsg::Join { target: target.clone(), nonce: *nonce, spectate: *watches };
        self.phase = Phase::Joining;
        self.write(&message);
    }

    fn placed(&mut self, now: Instant, place: Place) {
        let sound =
            (1..=MAX_TICK_HZ).contains(&place.tick_hz) && place.max_entities <= MAX_ENTITIES && place.capacity <= MAX_CAPACITY;
        if !sound {
            return self.close(Code::BadMessage, BEYOND_THE_LIMITS);
        }
        self.answered(now);
        (self.capacity, self.watches, self.tick_hz) = (place.capacity, place.spectator, place.tick_hz);
        (self.token, self.grace, self.busy) = (Some(place.token), place.grace, 0);
        if self.is_joined() {
            self.resumed(now, place);
        } else {
            self.joined(place);
        }
        // Says that we have the token, whatever else there is to acknowledge.
        self.events_acked = self.events_seen;
        self.write(&ClientMsg::EventAck { number: self.events_seen });
        if self.leaving {
            self.write(&ClientMsg::Leave);
        }
    }

    /// A match begins for us: by a join, or because this run of the program has the token of an earlier one.
    fn joined(&mut self, place: Place) {
        let Place { session, stay, match_name, tick_hz, max_entities, token, next_input, next_command, .. } = place;
        self.phase = Phase::Joined;
        (self.asked, self.leaving) = (None, false);
        (self.joins, self.resumes) = (self.joins + 1, 0);
        self.id = session;
        (self.world, self.fresh) = (Some(ClientWorld::new(self.layout.clone(), max_entities)), None);
        self.mine = Entity::NONE;
        self.inputs = Inputs::new(stay, self.layout.input_bytes, next_input);
        (self.first_command, self.next_command) = (next_command, next_command);
        self.commands.clear();
        self.commands_rejected = AckBits::NONE;
        self.events_seen = 0;
        self.tell(Status::Joined { session, match_name, tick_hz, token });
    }

    fn applied(&mut self, now: Instant, bytes: usize) -> Option<Snapshot> {
        if let Some(mut fresh) = self.fresh.take() {
            self.world.iter().for_each(|old| fresh.replace(old));
            self.world = Some(fresh);
            self.mine = Entity::NONE;
        }
        let world = self.world.as_ref()?;
        let header = world.header()?;
        // Looking for our entity walks over all, so it is done only while we have none.
        if !world.sees(self.mine) {
            self.mine = world.mine().next().unwrap_or(Entity::NONE);
        }
        if let Some(sample) = self.inputs.acknowledged(now, &header) {
            // An eighth of each new sample, as TCP smooths it (RFC 6298).
            self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        }
        self.snapshot_at = Some(now);
        self.ack_at.get_or_insert(now + self.ack_delay());
        if self.phase == Phase::Joined {
            self.phase = Phase::Live;
            self.tell(Status::Live);
        }
        Some(Snapshot { tick: header.tick, arrived: now, bytes, inputs: header.inputs, waited: header.waited.duration() })
    }

    /// The server tells all that it has given up so far, and another front-end may tell it again.
    fn reject(&mut self, inputs: AckBits, commands: AckBits) {
        let inputs = self.inputs.rejected(inputs);
        let known = self.commands_rejected;
        let ours = self.first_command..self.next_command;
        let commands = AckBits::of(commands.without(known).filter(|number| !known.contains(*number) && ours.contains(number)));
        for number in commands.iter() {
            self.commands_rejected.insert(number);
        }
        self.commands.retain(|(number, _)| !commands.contains(*number));
        let news = inputs.iter().chain(commands.iter()).count();
        if news > 0 {
            self.rejected += news as u64;
            self.tell(Status::Rejected { inputs, commands });
        }
    }

    /// Numbers are those of the match's log, so a session's own ascend with gaps.
    fn event(&mut self, number: u64, tick: TickNo, payload: &[u8]) {
        if number <= self.events_seen {
            return;
        }
        let Ok(what) = W::Event::from_wire(payload) else {
            return self.close(Code::BadMessage, "an event that cannot be read");
        };
        if self.events.len() >= limits::EVENTS_MAX {
            return self.close(Code::EventOverflow, "the program did not take its events");
        }
        self.events_seen = number;
        self.events.push_back(Event { tick, what, reliable: true });
    }

    fn left(&mut self, reason: EndReason) {
        if !self.is_joined() {
            return;
        }
        if reason == EndReason::MatchOver {
            return self.match_over();
        }
        self.closing = Some((Code::Left, "the session has ended".to_owned()));
        self.end(Ended::Session(reason));
    }

    pub(super) fn match_over(&mut self) {
        self.phase = Phase::Idle;
        self.id = SessionId::NOBODY;
        (self.ack_at, self.retry_at, self.attempts, self.token) = (None, None, None, None);
        self.leaving = false;
        self.tell(Status::MatchOver);
        self.send_wanted();
    }

    /// A refused join leaves the connection as it is; anything else that is refused is the end of it.
    fn refused(&mut self, now: Instant, code: u16, reason: String) {
        let code = Code::from_u64(code.into()).unwrap_or(Code::Internal);
        match (code, self.phase) {
            (Code::SchemaMismatch, _) => self.end(Ended::SchemaMismatch { first: reason }),
            (_, Phase::Resuming) => self.not_resumed(code, reason),
            (Code::Busy, _) => self.retry_later(now),
            (_, Phase::Joining) => {
                self.phase = Phase::Idle;
                self.asked = None;
                self.tell(Status::Refused { code, reason });
                self.send_wanted();
            }
            _ => self.close(code, &reason),
        }
    }

    /// The server has no room for a message now.
    fn retry_later(&mut self, now: Instant) {
        // The nonce of the join is the one random thing that a session has: whom the server has told at the same time come apart by it.
        let dice = self.asked.as_ref().map_or(128, |request| request.nonce[self.busy as usize % request.nonce.len()]);
        let delay = limits::RETRY_DELAY * (1 << self.busy.min(limits::RETRY_DOUBLINGS));
        self.busy = self.busy.saturating_add(1);
        self.retry_at = Some(now + delay.mul_f64(0.5 + f64::from(dice) / 256.0));
    }

    /// The server had no room for a message: what it has not answered is sent again, and it knows doubles by their numbers.
    fn retry(&mut self) {
        match self.phase {
            Phase::Joining => self.send_asked(),
            Phase::Joined | Phase::Live => self.send_commands(),
            _ => {}
        }
    }

    /// Sends every command that is not acknowledged.
    pub(super) fn send_commands(&mut self) {
        let commands = std::mem::take(&mut self.commands);
        for (number, payload) in &commands {
            self.write(&ClientMsg::Command { number: *number, payload: payload.clone() });
        }
        self.commands = commands;
    }

    pub(super) fn close(&mut self, code: Code, reason: &str) {
        self.closing = Some((code, reason.to_owned()));
        self.end(Ended::Closed { code, reason: reason.to_owned() });
    }

    pub(super) fn end(&mut self, ended: Ended) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Ended;
        (self.ack_at, self.retry_at, self.attempts) = (None, None, None);
        self.ended = Some(ended.clone());
        self.tell(Status::Ended(ended));
    }

    pub(super) fn tell(&mut self, status: Status) {
        if self.statuses.len() >= limits::STATUSES_MAX {
            self.statuses.pop_front();
        }
        self.statuses.push_back(status);
    }

    /// Every message of ours is within the frame's bound: names, commands and targets are checked where they come in.
    pub(super) fn write(&mut self, message: &ClientMsg) {
        self.urgent = true;
        self.add(message);
    }

    /// Adds a message to the control frames that is no hurry.
    fn add(&mut self, message: &ClientMsg) {
        if let Err(error) = codec::encode_frame(message, &mut self.control) {
            self.close(Code::Internal, &error.to_string());
        }
    }
}
