//! What a driver tells of itself: why connections ended, and what it has counted.

use crate::control::Code;
use bytes::Bytes;
use quinn_proto::ConnectionError;

/// Why a connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// We closed it.
    ByUs(Code),
    /// The peer closed it.
    ByPeer {
        /// The application error code, usually a [`Code`].
        code: u64,
        /// What the peer said about it.
        reason: Bytes,
    },
    /// The peer takes no more connections.
    Refused,
    /// Nothing was heard for too long.
    TimedOut,
    /// The peer has forgotten the connection: its process was replaced.
    Reset,
    /// The peer or the network broke the protocol.
    Broken(ConnectionError),
}

impl Closed {
    /// The code that one of the ends gave.
    pub fn code(&self) -> Option<Code> {
        match self {
            Closed::ByUs(code) => Some(*code),
            Closed::ByPeer { code, .. } => Code::from_u64(*code),
            _ => None,
        }
    }
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Closed {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Closed::ByPeer { code: close.error_code.into_inner(), reason: close.reason }
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == quinn_proto::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Closed::Refused
            }
            ConnectionError::TimedOut => Closed::TimedOut,
            ConnectionError::Reset => Closed::Reset,
            error => Closed::Broken(error),
        }
    }
}

/// What a driver has counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DriverStats {
    /// UDP payloads taken in.
    pub udp_in: u64,
    /// UDP payloads handed out, each segment counted.
    pub udp_out: u64,
    /// Bytes of those taken in.
    pub bytes_in: u64,
    /// Bytes of those handed out.
    pub bytes_out: u64,
    /// Answers to packets of no connection: resets, retries, refusals, version negotiations.
    pub responses: u64,
    /// Handshakes begun by peers and let in.
    pub accepted: u64,
    /// Handshakes refused because there were as many connections as there may be.
    pub refused_full: u64,
    /// First packets that were forgotten because too many newcomers waited, or for too long.
    pub handshakes_put_off: u64,
    /// Handshakes refused by the handler.
    pub refused_by_handler: u64,
    /// Addresses asked to prove themselves because many handshakes were under way.
    pub retried: u64,
    /// Handshakes not answered because their address begins too many.
    pub handshakes_limited: u64,
    /// Handshakes refused because their address has too many connections.
    pub addresses_full: u64,
    /// Packets of no connection that were dropped because their address sends too many.
    pub strangers_limited: u64,
    /// Packets above what their connection may be sent; of them few are decrypted.
    pub packets_limited: u64,
    /// Packets that brought nothing: no packet of ours, not to be decrypted, or here before.
    pub packets_unusable: u64,
    /// Handshakes that succeeded.
    pub connected: u64,
    /// Handshakes that failed.
    pub handshake_failed: u64,
    /// Connections closed by us.
    pub closed_by_us: u64,
    /// Connections that ended otherwise after their handshake.
    pub closed_by_peer: u64,
    /// Control frames handed to the handler.
    pub frames_in: u64,
    /// Connections closed because of a frame longer than allowed or a broken control stream.
    pub bad_control: u64,
    /// Control streams that ended within a frame.
    pub cut_frames: u64,
    /// Connections closed because the peer did not read what it was sent.
    pub backlog_overflow: u64,
    /// Streams that the protocol doesn't have.
    pub stray_streams: u64,
    /// Timers that went off.
    pub timeouts: u64,
}
