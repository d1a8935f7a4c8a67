//! The messages of the control stream, and the codes with which either end closes a connection.
//!
//! The client speaks first: hello, then join. Everything here is rare; what is frequent goes by datagram.

use crate::schema::Schema;
use crate::token::ResumeToken;
use crate::{AckBits, SessionId, TickNo};
use serde::{Deserialize, Serialize};

/// From the client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ClientMsg {
    /// The first message.
    Hello {
        /// [`crate::limits::PROTOCOL_VERSION`] of the client.
        version: u16,
        /// [`Schema::hash`] of the client's game.
        schema_hash: u64,
        /// Who it is.
        credential: Credential,
        /// Grows from one connection of the client to the next, over its restarts, too: a join or a resume that was sent over an older
        /// connection and comes late takes nothing from a newer one. Milliseconds of the Unix epoch serve.
        attempt: u64,
        /// The session that it wants back, instead of a join.
        resume: Option<Resume>,
        /// It lets its timers wait for its datagrams while it is in a match, if the server does: see
        /// [`Conn::round_timers`](crate::driver::Conn::round_timers). One of a usual QUIC library says no.
        rounds: bool,
    },
    /// Asks for a place in a match.
    Join {
        /// Which match.
        target: JoinTarget,
        /// Chosen by the client at random; a join with the same nonce finds the same session.
        nonce: [u8; 16],
        /// To watch only: without an entity and without inputs.
        spectate: bool,
    },
    /// Gives the place up.
    Leave,
    /// A reliable command.
    Command {
        /// One more than the one before; the first is 1.
        number: u32,
        /// The command's encoding.
        payload: Vec<u8>,
    },
    /// All reliable events up to this number have arrived.
    EventAck {
        /// The highest of them.
        number: u64,
    },
}

/// Which session a client wants back. It is answered as a join is, with [`ServerMsg::Joined`] or [`ServerMsg::Error`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resume {
    /// The last token that it was given for it.
    pub token: ResumeToken,
    /// The highest reliable event of it that the client has, 0 for none.
    pub events: u64,
}

/// Who a client is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Credential {
    /// Any name, believed in development.
    Name(String),
    /// A token that the operator has signed; name, expiry and match are bound in it.
    Token(String),
}

/// Which match to join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JoinTarget {
    /// Any with room.
    Any,
    /// The one of this name.
    Named(String),
    /// The private one of this code.
    Code(String),
}

/// From the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ServerMsg {
    /// The answer to the hello.
    Welcome {
        /// [`crate::limits::PROTOCOL_VERSION`] of the server.
        version: u16,
        /// The server's schema.
        schema: Schema,
        /// It lets its timers wait for its datagrams while the client is in a match, if the client does.
        rounds: bool,
    },
    /// The answer to the join, or to a hello that resumes: the session is committed. The client acknowledges its events at once, were it
    /// none: that says that it has the token.
    Joined {
        /// The client's session.
        session: SessionId,
        /// Which join of the connection this is; every datagram of the session carries it, both ways.
        stay: u8,
        /// The match's id.
        match_id: u64,
        /// The match's name.
        name: String,
        /// Ticks a second.
        tick_hz: u32,
        /// Entities that the match may have; snapshots pack an index in `bits_for(max_entities)` bits.
        max_entities: u32,
        /// Players that the match may have.
        capacity: u32,
        /// Whether the client only watches.
        spectator: bool,
        /// The tick that committed the join.
        tick: TickNo,
        /// With which the session can be resumed over another connection. It takes the place of the one before.
        token: ResumeToken,
        /// For how long the session waits for that, in milliseconds.
        grace_ms: u32,
        /// The lowest sequence that an input has which the server does not know; 1 at first.
        next_input: u32,
        /// The number of the next command; 1 at first.
        next_command: u32,
    },
    /// All commands up to this number are committed, but for those that were told as [`ServerMsg::Rejected`] before.
    CommandAck {
        /// The highest of them.
        number: u32,
    },
    /// A reliable event.
    Event {
        /// Grows from one to the next; the numbers left out are events for others.
        number: u64,
        /// The tick that sent it.
        tick: TickNo,
        /// The event's encoding.
        payload: Vec<u8>,
    },
    /// The session has ended; the connection may join again.
    Left {
        /// Why.
        reason: EndReason,
    },
    /// Something was refused; what follows depends on the code.
    Error {
        /// A [`Code`].
        code: u16,
        /// For people; of a join that the game did not admit, the game's own words.
        reason: String,
    },
    /// The game failed on these inputs and commands of the session, twice, and they were given up: they are not applied, and are never
    /// acknowledged. Comes before the acknowledgement of a later command, with all that were given up so far, and may come twice.
    Rejected {
        /// The inputs, by their sequences.
        inputs: AckBits,
        /// The commands, by their numbers.
        commands: AckBits,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EndReason {
    /// The client asked for it.
    Left,
    /// The match is over.
    MatchOver,
    /// An operator ended it.
    Kicked,
    /// Nothing was heard of the client for too long.
    TimedOut,
    /// The client did not acknowledge its events.
    EventOverflow,
    /// The server is going down.
    ServerStopping,
    /// The session was resumed over another connection.
    TakenOver,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Application error codes: of a closed connection, a reset stream and [`ServerMsg::Error`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The code's name, for metrics and messages.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$name => stringify!($name),)*
                }
            }
        }
    };
}
codes! {
    /// The peer left on purpose: nothing to do.
    Left = 0,
    /// The server stops: a client may try again later.
    ServerStopping = 1,
    /// The match has ended: a client may join another.
    MatchOver = 2,
    /// The match has no free place: the join is refused, the connection stays.
    MatchFull = 3,
    /// There is no match of that name: the join is refused, the connection stays.
    NoSuchMatch = 4,
    /// The server takes no more connections: a client may try again later.
    NoRoom = 5,
    /// The games differ: the hello is answered with the schema, so that the client can name the first difference, and refused;
    /// a client that does not close is closed after the time that a hello may take.
    SchemaMismatch = 6,
    /// The protocol versions differ: the hello is refused and the connection closed.
    VersionMismatch = 7,
    /// Bytes that are no message of this state of the connection: counted, and the connection closed.
    BadMessage = 8,
    /// The credential is not accepted, or the game admits no such player: the connection is closed.
    Refused = 9,
    /// A state of the connection took too long: it is closed.
    TimedOut = 10,
    /// The client left its events unacknowledged until the log was full: its session has ended.
    EventOverflow = 11,
    /// More than the limits allow, or a peer that doesn't read what it is sent: counted, and the connection closed.
    Flooding = 12,
    /// A message that only a joined client may send: counted, and the connection closed.
    NotJoined = 13,
    /// A mistake of the server's own: logged there, and the connection closed.
    Internal = 14,
    /// The zone's inbox is full: the message was not taken, the client may send it again.
    Busy = 15,
    /// An operator ended the session.
    Kicked = 16,
    /// A stream that the protocol doesn't have: the stream is reset and counted.
    StrayStream = 17,
    /// The match has begun and takes no new players: the join is refused, the connection stays.
    MatchStarted = 18,
    /// The session cannot be resumed: it has ended, the token is an old one or none of the server's, or it is another player's. The
    /// connection stays, and the client may join.
    ResumeRefused = 19,
    /// The front-end gives way to another one: the client is to connect again at once, and to resume. From a client: it will do so.
    Reconnect = 20,
}

impl Code {
    /// The code of this number, if there is one.
    pub fn from_u64(number: u64) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| u64::from(*code as u16) == number)
    }
}

impl From<Code> for u16 {
    fn from(code: Code) -> u16 {
        code as u16
    }
}

impl From<Code> for quinn_proto::VarInt {
    fn from(code: Code) -> quinn_proto::VarInt {
        quinn_proto::VarInt::from_u32(u32::from(code as u16))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
