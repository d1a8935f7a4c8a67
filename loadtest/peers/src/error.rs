//! What can go wrong in an echo peer.

use std::io;

/// Why an echo peer, or the load on one, could not go on.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A socket or the standard output failed.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    /// A certificate could not be made.
    #[error("no certificate for an echo peer: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was refused.
    #[error("TLS refuses the echo peer's certificate: {0}")]
    Tls(#[from] quinn::rustls::Error),
    /// What was given as the certificate is none.
    #[error("the certificate is not what an echo peer prints in its first line: pairs of hexadecimal digits")]
    CertificateHex,
    /// quinn-proto would not start a connection.
    #[error("a connection could not be started: {0}")]
    Connect(#[from] quinn_proto::ConnectError),
}
