//! What can go wrong while costs are measured.

use std::io;
use std::path::PathBuf;

/// Why a measurement of costs did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CostsError {
    /// A socket or a pipe of ours failed.
    #[error("input or output failed: {0}")]
    Socket(#[source] io::Error),
    /// A certificate could not be made.
    #[error("no certificate for the baseline servers: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was refused.
    #[error("TLS refuses the baselines' certificate: {0}")]
    Tls(#[from] quinn::rustls::Error),
    /// The certificate that a baseline server told is none.
    #[error("a baseline server's certificate cannot be read")]
    CertificateHex,
    /// quinn-proto would not start a connection.
    #[error("a connection could not be started: {0}")]
    Connect(#[from] quinn_proto::ConnectError),
    /// The histogram's bounds are wrong, which is an error of this program.
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
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
    #[error("{program} could not be started: {source} (build it first: cargo build --release)")]
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
}
