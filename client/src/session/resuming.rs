//! Getting a lost connection back: when the next attempt begins, when one is given up, and how the session goes on.
//!
//! A session that is in a match, or has asked for one, outlives its connection. What the server may not have, inputs and commands, is kept
//! and sent again under the next connection; what it sends again, events, is known by its number.

use std::time::{Duration, Instant};

use quinn_proto::{ConnectionError, TransportErrorCode};
use ringfort_protocol::ResumeToken;
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::component::Wire;
use ringfort_protocol::control::{Code, EndReason};
use ringfort_protocol::driver::Closed;

use super::steps::Place;
use super::{Phase, Session, Status};
use crate::error::Ended;
use crate::limits;

/// What QUIC says of an application that closes a connection before its handshake is done.
const APPLICATION_ERROR: TransportErrorCode = TransportErrorCode::APPLICATION_ERROR;

/// How a connection is got, from the first attempt to the one that the server answers over.
pub(super) struct Attempts {
    since: Instant,
    /// Those that have begun.
    count: u32,
    /// When the next one begins; nothing while one is under way.
    next_at: Option<Instant>,
}

impl Attempts {
    /// The first one begins with the session.
    pub(super) fn first(now: Instant) -> Attempts {
        Attempts { since: now, count: 1, next_at: None }
    }

    /// How long the next one waits: twice as long as the one before, up to a bound, give or take a half. So many connections in a row were
    /// `brief`: a server that takes us only to lose us again is not to be asked as if each of them were the first.
    fn delay(&self, brief: u32, dice: u64) -> Duration {
        let share = (dice >> 11) as f64 / (1u64 << 53) as f64;
        let Some(doublings) = self.count.saturating_add(brief.saturating_sub(1)).checked_sub(1) else {
            return limits::RECONNECT_SPREAD.mul_f64(share);
        };
        let whole = limits::RECONNECT_DELAY.saturating_mul(1 << doublings.min(u32::BITS / 2));
        whole.min(limits::RECONNECT_DELAY_MAX).mul_f64(0.5 + share)
    }
}

/// When something was last heard over the connection.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    at: Instant,
    /// When the server was last asked for a sign of life, if it was since then.
    probed_at: Option<Instant>,
    /// Packets that had arrived by then.
    packets: u64,
}

impl Heard {
    /// Of a connection that has just begun.
    pub(super) fn nothing(now: Instant) -> Heard {
        Heard { at: now, packets: 0, probed_at: None }
    }

    fn something(&mut self, now: Instant) {
        (self.at, self.probed_at) = (now, None);
    }
}

/// What is to be done about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// Nothing.
    Short,
    /// Ask the server for a sign of life.
    Probe,
    /// Give it up.
    TooLong,
}

impl<W: Wire> Session<W> {
    /// A session that goes on where an earlier run of the program was.
    pub(crate) fn resume_from(&mut self, token: ResumeToken) {
        (self.phase, self.token) = (Phase::Resuming, Some(token));
    }

    /// For how long a lost connection is tried to get back; not at all when it is zero.
    pub(crate) fn give_up_after(&mut self, patience: Duration) {
        self.give_up_after = patience;
    }

    /// The connection is over. `rtt` is its round trip, `dice` a random number.
    pub(crate) fn handle_closed(&mut self, now: Instant, why: &Closed, ended: Ended, rtt: Option<Duration>, dice: u64) {
        if !self.is_worth_another(why) {
            return self.end(ended);
        }
        self.known_rtt = rtt.or(self.known_rtt);
        self.try_again(now, ended, dice);
    }

    /// Nothing is to be expected of the connection any more: it is to be closed, and another one tried.
    pub(crate) fn handle_silence(&mut self, now: Instant, rtt: Option<Duration>, dice: u64) {
        self.known_rtt = rtt.or(self.known_rtt);
        let silence = now.saturating_duration_since(self.heard.at).as_secs_f32();
        let unheard = || format!("nothing was heard for {silence:.1} s");
        let reason = self.hopeless.take().unwrap_or_else(unheard);
        self.try_again(now, Ended::Lost { reason }, dice);
    }

    /// Whether it is time to begin another attempt.
    pub(crate) fn connection_due(&self, now: Instant) -> bool {
        self.attempts.as_ref().and_then(|attempts| attempts.next_at).is_some_and(|at| at <= now)
    }

    /// Another attempt begins, over the connection of this number. Returns the round trip to expect, if one is known.
    pub(crate) fn begin_attempt(&mut self, now: Instant, connection: u64) -> Option<Duration> {
        let attempts = self.attempts.as_mut()?;
        attempts.count += 1;
        attempts.next_at = None;
        let attempt = attempts.count;
        (self.connection, self.heard) = (connection, Heard::nothing(now));
        if self.was_welcomed {
            self.tell(Status::Resuming { attempt });
        }
        self.known_rtt
    }

    /// An attempt could not even begin.
    pub(crate) fn handle_no_connection(&mut self, reason: String) {
        self.end(Ended::Lost { reason });
    }

    /// The server has answered over the connection: it is got.
    pub(super) fn answered(&mut self, now: Instant) {
        self.attempts = None;
        self.answered_at = Some(now);
    }

    /// Notes that something came over the connection.
    pub(super) fn heard_something(&mut self, now: Instant) {
        self.heard.something(now);
    }

    /// Whether it is time to [`Session::look`] at the connection.
    pub(crate) fn look_due(&self, now: Instant) -> bool {
        self.look_at().is_some_and(|at| at <= now)
    }

    /// Judges the silence of the connection, over which so many packets have come. It is too long only after the server was asked for a sign
    /// of life in vain: a program that does not look for a while has heard nothing either.
    pub(crate) fn look(&mut self, now: Instant, packets: u64) -> Silence {
        if self.hopeless.is_some() {
            return Silence::TooLong;
        }
        if self.heard.probed_at.is_some() && packets > self.heard.packets {
            self.heard.something(now);
        }
        if !self.look_due(now) {
            return Silence::Short;
        }
        if self.heard.probed_at.is_some() && now >= self.heard.at + self.patience() {
            return Silence::TooLong;
        }
        (self.heard.packets, self.heard.probed_at) = (packets, Some(now));
        Silence::Probe
    }

    /// When there is something to do about the connection.
    pub(super) fn connection_timeout(&self) -> Option<Instant> {
        match &self.attempts {
            Some(Attempts { next_at: Some(at), .. }) => Some(*at),
            _ => self.look_at(),
        }
    }

    /// The session has its place back.
    pub(super) fn resumed(&mut self, now: Instant, place: Place) {
        if place.session != self.id {
            return self.close(Code::BadMessage, "another session than the one that was asked for");
        }
        self.phase = Phase::Joined;
        self.resumes += 1;
        self.fresh = Some(ClientWorld::new(self.layout.clone(), place.max_entities));
        self.inputs.move_to(place.stay);
        while self.commands.front().is_some_and(|(number, _)| *number < place.next_command) {
            self.commands.pop_front();
        }
        self.send_commands();
        self.ack_at = Some(now);
        let (inputs, commands) = (self.inputs.waiting(), self.commands.len() as u32);
        self.tell(Status::Resumed { token: place.token, inputs, commands });
    }

    /// The server does not give the session back, or not now.
    pub(super) fn not_resumed(&mut self, code: Code, reason: String) {
        match code {
            Code::MatchOver if self.is_joined() => self.match_over(),
            // Another attempt may find more room; the connection is of no use until then.
            Code::Busy | Code::NoRoom | Code::TimedOut => self.hopeless = Some(reason),
            Code::ServerStopping => self.close(code, &reason),
            // What we asked for was done, and the answer got lost.
            _ if self.leaving => {
                self.closing = Some((Code::Left, "left".to_owned()));
                self.end(Ended::Session(EndReason::Left));
            }
            _ => {
                self.closing = Some((Code::Left, "the session has ended".to_owned()));
                self.end(Ended::NotResumed { code, reason });
            }
        }
    }

    /// Whether another connection may do better than the one that has ended.
    fn is_worth_another(&self, why: &Closed) -> bool {
        if self.phase == Phase::Ended || self.give_up_after.is_zero() {
            return false;
        }
        match why {
            Closed::Reset | Closed::TimedOut => true,
            // The server was stopped, or had waited too long for the rest of our handshake; its reason is not told before that is done.
            Closed::Broken(ConnectionError::ConnectionClosed(close)) if close.error_code == APPLICATION_ERROR => true,
            // A certificate that we do not believe gets no better. Of a server that we have known the network broke something.
            Closed::Broken(_) => self.was_welcomed,
            // There was no room. When others have gone there is.
            Closed::Refused => self.attempts.is_some(),
            Closed::ByUs(_) => false,
            Closed::ByPeer { .. } => match why.code() {
                Some(Code::Reconnect) => true,
                Some(Code::NoRoom | Code::TimedOut) => self.was_welcomed && self.attempts.is_some(),
                _ => false,
            },
        }
    }

    fn try_again(&mut self, now: Instant, ended: Ended, dice: u64) {
        let most = if self.was_welcomed { self.give_up_after } else { limits::CONNECT_MAX.min(self.give_up_after) };
        if let Some(at) = self.answered_at.take() {
            let was_brief = now.saturating_duration_since(at) < limits::STEADY_AFTER;
            self.brief = if was_brief { self.brief.saturating_add(1) } else { 0 };
        }
        let attempts = self.attempts.get_or_insert(Attempts { since: now, count: 0, next_at: None });
        let next_at = now + attempts.delay(self.brief, dice);
        if next_at.saturating_duration_since(attempts.since) > most {
            return self.end(ended);
        }
        attempts.next_at = Some(next_at);
        self.phase = match self.phase {
            Phase::Joined | Phase::Live | Phase::Resuming => Phase::Resuming,
            _ => Phase::Connecting,
        };
        (self.ack_at, self.retry_at, self.closing, self.hopeless) = (None, None, None, None);
        self.control.clear();
    }

    /// Whether silence of the server means more than that nothing happens: QUIC has acknowledged what we said, and may itself stay silent
    /// for as long as we do.
    fn is_owed_an_answer(&self) -> bool {
        matches!(self.phase, Phase::Greeting | Phase::Joining | Phase::Resuming)
    }

    /// How long a silence may last.
    fn patience(&self) -> Duration {
        if matches!(self.phase, Phase::Idle | Phase::Joined | Phase::Live) {
            return limits::SILENCE_MAX;
        }
        let count = self.attempts.as_ref().map_or(1, |attempts| attempts.count);
        let doublings = count.saturating_sub(1).min(limits::ATTEMPT_DOUBLINGS);
        let known = |rtt: Duration| {
            let first = (rtt * limits::ATTEMPT_ROUND_TRIPS).clamp(limits::ATTEMPT_PATIENCE, limits::ATTEMPT_PATIENCE_UNKNOWN);
            first * (1 << doublings)
        };
        self.rtt.or(self.known_rtt).map_or(limits::ATTEMPT_PATIENCE_UNKNOWN * (1 << doublings), known)
    }

    fn look_at(&self) -> Option<Instant> {
        let waits = self.attempts.as_ref().is_some_and(|attempts| attempts.next_at.is_some());
        if self.phase == Phase::Ended || waits || self.give_up_after.is_zero() {
            return None;
        }
        let quiet =
            if self.is_owed_an_answer() { Duration::ZERO } else { self.patience().saturating_sub(limits::PROBE_EVERY * 3) };
        let unasked = self.heard.at + quiet;
        let at = self.heard.probed_at.unwrap_or(unasked) + limits::PROBE_EVERY;
        Some(if self.hopeless.is_some() { self.heard.at } else { at })
    }
}
