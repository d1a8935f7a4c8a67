//! One connection's state, from its hello to its last snapshot.

use std::time::{Duration, Instant};

use ringfort_protocol::baseline::Baselines;
use ringfort_protocol::control::ServerMsg;
use ringfort_protocol::token::SECRET_BYTES;
use ringfort_protocol::{AckBits, Vec2};

use super::meter::Meter;
use crate::auth::Pass;
use crate::limits::{IDLE_TIMEOUT_MS, MATCHLESS_TIMEOUT_MS};

/// Inputs whose time of receipt is remembered; a power of two above what a client resends.
const RECEIPTS: usize = 32;

/// What a front-end keeps for a connection.
pub struct App {
    /// Where the connection stands.
    pub stage: Stage,
    /// Which connection of its client it is: see [`ClientMsg::Hello`](ringfort_protocol::control::ClientMsg::Hello).
    pub attempt: u64,
    /// The client lets its timers wait for its datagrams, so ours may.
    pub rounds: bool,
    /// How often it has joined.
    pub joins: u8,
    /// Codes of private matches that it has got wrong.
    pub wrong_codes: u32,
    /// Since when it has been without a match.
    pub matchless_since: Instant,
    /// When the stage ends by itself; the client is told so with a code.
    pub deadline: Option<Instant>,
    /// What it may still ask for.
    pub meter: Meter,
}

impl App {
    /// When a connection without a match ends that asks for none from `now` on. However often it asks, it ends at last.
    pub fn idle_deadline(&self, now: Instant) -> Instant {
        let idle = now + Duration::from_millis(IDLE_TIMEOUT_MS);
        idle.min(self.matchless_since + Duration::from_millis(MATCHLESS_TIMEOUT_MS))
    }
}

/// Where a connection stands.
pub enum Stage {
    /// The handshake is under way, or the hello has not come.
    Hello,
    /// It plays another game: it was told which one is played here, and may do nothing but go.
    OtherGame,
    /// It may join.
    Welcomed {
        /// What its credential allows.
        pass: Pass,
    },
    /// Its join is in a zone's inbox.
    Joining(Box<Joining>),
    /// It plays.
    Live(Box<Live>),
    /// It has been closed; nothing counts any more.
    Closed,
}

/// A join that no root has answered yet.
pub struct Joining {
    /// What its credential allows.
    pub pass: Pass,
    /// First half of the hash of what the client chose; of a resume, of its new token's hash. The zone answers by it.
    pub nonce: [u8; 16],
    /// Of the token that the client is to be given.
    pub secret: [u8; SECRET_BYTES],
    /// That token's hash: the committed row that has it is this join's.
    pub token_hash: [u8; 32],
    /// The session that is to be resumed; a new one when there is none.
    pub resumes: Option<Resuming>,
    /// Slot of the zone.
    pub zone: usize,
    /// Any match will do: the next one with room is tried after a refusal.
    pub any: bool,
    /// It wants to watch only.
    pub spectate: bool,
    /// Zones that have refused.
    pub tried: Vec<usize>,
    /// Until when it waits for room, if any match will do.
    pub until: Instant,
}

/// What a client has shown to get its session back.
#[derive(Clone, Copy)]
pub struct Resuming {
    /// The session.
    pub session: u64,
    /// Hash of the token shown.
    pub shown_hash: [u8; 32],
    /// The highest reliable event that the client has.
    pub events: u64,
}

/// A session of this front-end.
pub struct Live {
    /// What its credential allows.
    pub pass: Pass,
    /// Which join of the connection this is.
    pub stay: u8,
    /// Slot of the zone.
    pub zone: usize,
    /// The session.
    pub session: u64,
    /// Its attachment.
    pub attachment: u32,
    /// Inputs that were handed to the inbox.
    pub appended: AckBits,
    /// What the client has of the world.
    pub baselines: Baselines,
    /// Where distances are measured from: its entity's position, or where that was when it lost it. Not-a-number until there was one, with
    /// which every comparison fails, so that nothing is near.
    pub viewpoint: Vec2,
    /// Events up to this number were looked at: told to the client, or not meant for it.
    pub event_sent: u64,
    /// The last event that the client was told.
    pub event_told: u64,
    /// The last event that the client has acknowledged.
    pub event_acked: u64,
    /// The last event that its zone was told to be done with.
    pub event_settled: u64,
    /// The highest command that was handed to the inbox.
    pub command_appended: u32,
    /// The highest command that the client knows to be committed.
    pub command_acked: u32,
    /// Inputs and commands that were given up because the game failed on them, by the newest root.
    pub rejected: [AckBits; 2],
    /// What the client was told of them.
    pub rejected_told: [AckBits; 2],
    /// It watches only.
    pub spectator: bool,
    /// It has yet to get the whole of what it sees.
    pub filling: bool,
    /// Snapshots that it was given all their room for meanwhile.
    pub filled: u32,
    /// The client has said that it has its token, and its zone was told.
    pub has_token: bool,
    /// The client has asked to leave.
    pub leaving: bool,
    /// Inputs taken since the last snapshot.
    pub inputs_since_snapshot: usize,
    /// Commands handed to the inbox since the last snapshot.
    pub commands_since_snapshot: u32,
    receipts: [(u32, u64); RECEIPTS],
}

impl Live {
    /// A session whose client has nothing yet but the events up to a number.
    pub fn new(pass: Pass, zone: usize, session: u64, attachment: u32, event_cursor: u64, baselines: Baselines) -> Self {
        Self {
            pass,
            stay: 0,
            zone,
            session,
            attachment,
            appended: AckBits::NONE,
            baselines,
            viewpoint: Vec2 { x: f32::NAN, y: f32::NAN },
            event_sent: event_cursor,
            event_told: event_cursor,
            event_acked: event_cursor,
            event_settled: event_cursor,
            command_appended: 0,
            command_acked: 0,
            rejected: [AckBits::NONE; 2],
            rejected_told: [AckBits::NONE; 2],
            spectator: false,
            filling: true,
            filled: 0,
            has_token: false,
            leaving: false,
            inputs_since_snapshot: 0,
            commands_since_snapshot: 0,
            receipts: [(0, 0); RECEIPTS],
        }
    }

    /// What the client is to be told of inputs and commands that were given up, and how many of them are news.
    pub fn tell_rejected(&mut self) -> Option<(ServerMsg, u64)> {
        if self.rejected == self.rejected_told {
            return None;
        }
        let [inputs, commands] = self.rejected;
        let [inputs_told, commands_told] = std::mem::replace(&mut self.rejected_told, self.rejected);
        let news = inputs.without(inputs_told).count() + commands.without(commands_told).count();
        Some((ServerMsg::Rejected { inputs, commands }, news as u64))
    }

    /// Notes when an input came.
    pub fn received(&mut self, sequence: u32, now_us: u64) {
        self.receipts[sequence as usize % RECEIPTS] = (sequence, now_us);
    }

    /// When an input came, if that is still known.
    pub fn receipt(&self, sequence: u32) -> Option<u64> {
        let (of, at) = self.receipts[sequence as usize % RECEIPTS];
        (of == sequence && sequence != 0).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_told_once_and_counted_once() {
        let mut live = Live::new(Pass::default(), 0, 1, 0, 0, Baselines::new(1, 0));
        assert_eq!(live.tell_rejected(), None);
        let first = AckBits { highest: 7, bits: 0 };
        live.rejected = [first, AckBits::NONE];
        assert_eq!(live.tell_rejected(), Some((ServerMsg::Rejected { inputs: first, commands: AckBits::NONE }, 1)));
        assert_eq!(live.tell_rejected(), None);
        let (inputs, commands) = (AckBits { highest: 9, bits: 0b11 }, AckBits { highest: 2, bits: 0 });
        live.rejected = [inputs, commands];
        assert_eq!(live.tell_rejected(), Some((ServerMsg::Rejected { inputs, commands }, 3)), "9, 8 and a command");
    }

    #[test]
    fn a_connection_that_asks_again_and_again_for_no_match_ends() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let limits = crate::config::LIMITS_DEFAULT;
        let mut app = App {
            stage: Stage::Hello,
            attempt: 0,
            rounds: false,
            joins: 0,
            wrong_codes: 0,
            matchless_since: start,
            deadline: None,
            meter: Meter::new(&limits, 0),
        };
        assert_eq!(app.idle_deadline(start), at(IDLE_TIMEOUT_MS));
        let late = MATCHLESS_TIMEOUT_MS - 1_000;
        assert_eq!(app.idle_deadline(at(late)), at(MATCHLESS_TIMEOUT_MS));
        assert_eq!(app.idle_deadline(at(MATCHLESS_TIMEOUT_MS + 5)), at(MATCHLESS_TIMEOUT_MS));
        // Who has played meanwhile begins anew.
        app.matchless_since = at(late);
        assert_eq!(app.idle_deadline(at(late)), at(late + IDLE_TIMEOUT_MS));
    }
}
