//! What can go wrong with a chaos run as a whole. What is lost or doubled is counted, not an error.

use std::io;
use std::path::PathBuf;

use ringfort::attach::AttachError;

/// Why a chaos run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChaosError {
    /// A socket, a pipe or a process of ours failed.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    /// The client library could not be set up.
    #[error(transparent)]
    Client(#[from] ringfort_client::Error),
    /// The instance did not come up.
    #[error("the instance did not start; see {log}")]
    NotStarted {
        /// What it said.
        log: PathBuf,
    },
    /// The instance cannot be looked at.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Not all clients got a place before anything was killed.
    #[error("only {joined} of {clients} clients have a place in a match, before anything was killed: {reason}")]
    NotJoined {
        /// How many have.
        joined: usize,
        /// How many were to have.
        clients: usize,
        /// One of the reasons.
        reason: String,
    },
    /// The thread that kills has panicked.
    #[error("the thread that kills has ended early")]
    KillerDied,
    /// The figures could not be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
