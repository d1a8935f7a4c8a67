//! What can go wrong, and how a stay in a match ends.

use std::io;

use ringfort_protocol::control::{Code, EndReason};

/// Why a client or a hub could not be set up, or its socket failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not of the form `quic://127.0.0.1:7777` or `127.0.0.1:7777`.
    #[error("{url:?} is no address: write it as quic://127.0.0.1:7777")]
    Url {
        /// What was given.
        url: String,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// What was looked up.
        host: String,
    },
    /// The name is too long for the wire.
    #[error("a player's name may have {} bytes", ringfort_protocol::limits::MAX_PLAYER_NAME_BYTES)]
    NameTooLong,
    /// The token is too long for the wire.
    #[error("a token may have {} bytes", ringfort_protocol::limits::MAX_TOKEN_BYTES)]
    TokenTooLong,
    /// The game's own schema breaks a bound of the wire.
    #[error("the game's schema cannot be sent: {0}")]
    Schema(#[from] ringfort_protocol::schema::SchemaError),
    /// The certificates to trust could not be used.
    #[error("TLS: {0}")]
    Tls(#[from] ringfort_protocol::quic::TlsError),
    /// The connection could not be started.
    #[error("the connection could not be started: {0}")]
    Connect(#[from] quinn_proto::ConnectError),
    /// The hub holds as many sessions as it may.
    #[error("a hub holds at most {} sessions", crate::limits::SESSIONS_MAX)]
    TooManySessions,
    /// The games differ: the server runs another version of it, or another game.
    #[error("the server's game differs from ours: {first}")]
    SchemaMismatch {
        /// The first difference, as in `Body.aim: angle in 10 bits here, 12 there`.
        first: String,
    },
    /// The server refused us.
    #[error("refused by the server ({code}): {reason}")]
    Refused {
        /// Which refusal.
        code: Code,
        /// The server's words.
        reason: String,
    },
    /// The session ended before it could be used.
    #[error("{0}")]
    Ended(Ended),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ended {
    /// The server's zone ended the session.
    #[error("the session has ended: {0:?}")]
    Session(EndReason),
    /// Either end closed the connection with a code.
    #[error("the connection was closed ({code}): {reason}")]
    Closed {
        /// Which.
        code: Code,
        /// For people.
        reason: String,
    },
    /// The games differ, and nothing can be read.
    #[error("the server's game differs from ours: {first}")]
    SchemaMismatch {
        /// The first difference.
        first: String,
    },
    /// The connection was lost, and the server does not give the session back: it has ended meanwhile, another program has it, or the token
    /// is an old one.
    #[error("the session cannot be resumed ({code}): {reason}")]
    NotResumed {
        /// Which refusal.
        code: Code,
        /// The server's words.
        reason: String,
    },
    /// The connection broke, and could not be made again: nothing was heard, or the server's process has gone.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// In QUIC's words.
        reason: String,
    },
}

impl From<Ended> for Error {
    fn from(ended: Ended) -> Error {
        match ended {
            Ended::SchemaMismatch { first } => Error::SchemaMismatch { first },
            Ended::Closed { code, reason } => Error::Refused { code, reason },
            other => Error::Ended(other),
        }
    }
}

/// A command that was not taken. The program tries again later, or drops it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no session to send it in.
    #[error("commands can be sent in a match only")]
    NotJoined,
    /// Who watches only has no commands.
    #[error("a spectator has no commands")]
    Watching,
    /// As many commands as may wait are unacknowledged.
    #[error("{} commands wait for the server already", crate::limits::COMMANDS_MAX)]
    Full,
    /// Its encoding is longer than the wire allows.
    #[error("the command is longer than {} bytes", ringfort_protocol::limits::MAX_MESSAGE_BYTES)]
    TooLong,
}
