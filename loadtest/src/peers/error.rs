//! What can go wrong while Ringfort is measured beside its peers.

use std::io;
use std::path::PathBuf;

/// Why a measurement did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeersError {
    /// A socket or a pipe of ours failed.
    #[error("input or output failed: {0}")]
    Io(#[source] io::Error),
    /// The loop or the certificates of the echo peers failed.
    #[error(transparent)]
    Echo(#[from] ringfort_peers::PeerError),
    /// A line of a child could not be written or understood.
    #[error("a child's report: {0}")]
    Report(#[source] serde_json::Error),
    /// Not all clients got a connection, so a cost per client means nothing.
    #[error("only {connected} of {requested} clients connected")]
    NotConnected {
        /// How many did.
        connected: usize,
        /// How many were asked for.
        requested: usize,
    },
    /// A program could not be started.
    #[error("{program} could not be started: {source} (build it first: cargo build --release --workspace)")]
    Spawn {
        /// Which one.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server did not come up.
    #[error("the ringfort server did not come up in time; see {log}")]
    ServerStart {
        /// What it said.
        log: PathBuf,
    },
    /// A child ended or stayed silent where a line was expected.
    #[error("the {role} ended or said nothing in time")]
    ChildSilent {
        /// What it was for.
        role: &'static str,
    },
    /// The processor time of a server process could not be read: it has died.
    #[error("processor time of the {role} cannot be read; it has died: {source}")]
    ServerDied {
        /// What it was for.
        role: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The measured file could not be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Colyseus' packages could not be fetched.
    #[error("npm cannot fetch Colyseus into {folder}: {reason} (node and npm are needed, or leave it out: --subjects)")]
    Npm {
        /// Where to.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// A load cannot open a socket for each client.
    #[error("{wanted} open files are needed, and the limit cannot be raised to that: {source} (ulimit -n)")]
    Descriptors {
        /// How many.
        wanted: u64,
        /// Why.
        source: io::Error,
    },
}
