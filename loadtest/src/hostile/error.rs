//! Why an attack or a measurement of attacks could not be made.

use std::io;
use std::path::PathBuf;

use ringfort_protocol::quic::TlsError;

use crate::peers::PeersError;

/// Why it could not be made; what the server does about an attack is no error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostileError {
    /// There is no such attack.
    #[error("there is no attack called \"{0}\"; `ringfort-loadtest attack` lists them")]
    NoSuchAttack(String),
    /// A socket or a process refuses.
    #[error("the attack cannot be made: {0}")]
    Io(#[from] io::Error),
    /// TLS refuses.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// quinn-proto refuses to connect.
    #[error("no connection can be begun: {0}")]
    Connect(#[from] quinn_proto::ConnectError),
    /// The server did not do what an attack needs before it can begin.
    #[error("the attack did not come to its point: {wanted} did not happen; it ended with {ended}")]
    Prelude {
        /// What was waited for.
        wanted: &'static str,
        /// How the connection stands.
        ended: String,
    },
    /// The server or the players of a measurement failed.
    #[error(transparent)]
    Costs(#[from] PeersError),
    /// A process of ours said nothing, or not what it should.
    #[error("the {0} process ended without its figures; see what it printed above")]
    Silent(&'static str),
    /// The players did not all play to the end.
    #[error("{0} players failed or were disconnected; the figures would be worth nothing")]
    Players(usize),
    /// A file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
