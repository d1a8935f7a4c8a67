//! The steps of a client's stay, and what it knows of its connection.

use std::time::Duration;

use ringfort_client::{Code, Ended, ResumeToken};
use ringfort_protocol::{AckBits, SessionId};

/// A step of the stay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// The handshake runs.
    Connecting,
    /// A place in a match is ours: the server has committed it.
    Joined {
        /// Our session.
        session: SessionId,
        /// The match's name.
        match_name: String,
        /// Ticks a second, and inputs.
        hz: u32,
        /// With which another run of the program can have the session back: see [`Builder::resume`](super::Builder::resume). Whoever has it
        /// can play in our place, so keep it where nobody else reads it.
        resume: ResumeToken,
    },
    /// Snapshots come: the first of the match, or the first again after [`Status::Stalled`].
    Live,
    /// No snapshot has come for so long. It is said again and again while that lasts.
    Stalled(Duration),
    /// The connection was lost, and is made again. The view shows the last tick meanwhile, and our own entity goes on to be predicted for as
    /// many inputs as may wait. [`Status::Resumed`] follows, or [`Status::MatchOver`] or [`Status::Ended`].
    Resuming {
        /// Which attempt begins, from 1 on.
        attempt: u32,
    },
    /// We have our session back, and its first snapshot: the same entity, and inputs, commands and events have gone on where they were.
    Resumed {
        /// Ticks that we have no snapshots of.
        lost: u32,
        /// Takes the place of the token before, which is good no more.
        resume: ResumeToken,
    },
    /// The join was refused. The connection stays, and another match may be tried.
    Refused {
        /// Why.
        code: Code,
        /// The server's words, or the game's.
        reason: String,
    },
    /// The game failed on these inputs and commands of ours, and the server has given them up: they do not count, and are not sent again.
    /// The prediction goes on without them, and the events that were predicted of them come as [`Sure::Cancelled`](super::Sure::Cancelled).
    Rejected {
        /// The inputs, counted from 1 in this match.
        inputs: AckBits,
        /// The commands, counted from 1 in this match.
        commands: AckBits,
    },
    /// The match is over. The connection stays, and another match may be joined; the view shows the last tick until then.
    MatchOver,
    /// It is over.
    Ended(Ended),
}

/// What is known of the connection and of the two clocks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Net {
    /// Smoothed round trip, without the wait for the tick; nothing before the first acknowledged input.
    pub rtt: Option<Duration>,
    /// Share of our packets that were lost, 0.0 to 1.0.
    pub loss: f32,
    /// How long before their ticks our inputs arrive at the server, in ticks, smoothed. 0.25 to 1 is healthy. It is never
    /// below 0: an input that came too late is not in it, [`Net::repeated`] counts the ticks that lacked one.
    /// Before anything is known it is the margin that the client aims at.
    pub input_margin: f32,
    /// The margin that the client aims at, in ticks: more when the way is uneven.
    pub input_margin_target: f32,
    /// Ticks for which the server had no new input of ours and repeated the last, in this match.
    pub repeated: u32,
    /// Age of the newest snapshot; nothing before the first.
    pub snapshot_age: Option<Duration>,
    /// How late snapshots come by the clock of the earliest, but for the latest few.
    pub jitter: Duration,
    /// How far behind the newest snapshot other entities are drawn now.
    pub delay: Duration,
    /// Inputs on their way: sent, and in no snapshot yet.
    pub unacknowledged: u32,
    /// Predictions that the server did not share, in this match.
    pub corrections: u64,
    /// Inputs and commands that the server has given up because the game failed on them.
    pub rejected: u64,
    /// Input slots that the program did not use in time, in this match.
    pub slots_dropped: u64,
    /// Events that the program did not take in time.
    pub events_dropped: u64,
}
