//! What carries a connection: QUIC, or, for simulations, packets as they are.

#[cfg(feature = "plain")]
use super::plain::Plain;
use bytes::Bytes;
use quinn_proto::{Connection, FrameStats, SendDatagramError, StreamId, Transmit, VarInt, WriteError};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What carries a connection.
#[cfg_attr(
    feature = "plain",
    expect(clippy::large_enum_variant, reason = "a connection is boxed, and the larger one is the usual one")
)]
pub(super) enum Link {
    /// QUIC.
    Quic(Connection),
    /// Datagrams and an ordered stream as they are, for simulations.
    #[cfg(feature = "plain")]
    Plain(Plain),
}

/// Calls the same on either.
macro_rules! either {
    ($link:expr, $carrier:ident => $quic:expr, $plain:expr) => {
        match $link {
            Link::Quic($carrier) => $quic,
            #[cfg(feature = "plain")]
            Link::Plain($carrier) => $plain,
        }
    };
}

impl Link {
    pub(super) fn remote(&self) -> SocketAddr {
        either!(self, link => link.remote_address(), link.remote())
    }

    pub(super) fn rtt(&self) -> Duration {
        either!(self, link => link.rtt(), link.rtt())
    }

    pub(super) fn stats(&self) -> quinn_proto::ConnectionStats {
        either!(self, link => link.stats(), link.stats())
    }

    pub(super) fn packets_received(&self) -> u64 {
        either!(self, link => link.stats().udp_rx.datagrams, link.packets_received())
    }

    pub(super) fn ping(&mut self) {
        either!(self, link => link.ping(), link.ping());
    }

    /// We have another address: the peer is told by the next packet, which has another connection id, so that nobody can tell from the
    /// ids that both addresses are ours (RFC 9000, section 9.5).
    pub(super) fn address_changed(&mut self) {
        if let Some(quic) = self.quic() {
            quic.local_address_changed();
        }
    }

    pub(super) fn max_datagram(&mut self) -> usize {
        either!(self, link => link.datagrams().max_size().unwrap_or(0), link.max_datagram())
    }

    #[inline]
    pub(super) fn send_datagram(&mut self, bytes: Bytes) -> Result<(), SendDatagramError> {
        either!(self, link => link.datagrams().send(bytes, true), link.send_datagram(&bytes))
    }

    #[inline]
    pub(super) fn receive_datagram(&mut self) -> Option<Bytes> {
        either!(self, link => link.datagrams().recv(), link.receive_datagram())
    }

    /// Writes to the control stream; a stream that is not open yet takes nothing.
    pub(super) fn write_stream(&mut self, stream: Option<StreamId>, bytes: &[u8]) -> Result<usize, WriteError> {
        either!(self, link => stream.map_or(Err(WriteError::Blocked), |id| link.send_stream(id).write(bytes)), {
            let _ = stream;
            link.write_stream(bytes)
        })
    }

    #[inline]
    pub(super) fn quic(&mut self) -> Option<&mut Connection> {
        either!(self, link => Some(link), {
            let _ = link;
            None
        })
    }

    #[inline]
    pub(super) fn poll(&mut self) -> Option<quinn_proto::Event> {
        either!(self, link => link.poll(), link.poll())
    }

    pub(super) fn close(&mut self, now: Instant, code: VarInt, reason: Bytes) {
        either!(self, link => link.close(now, code, reason), {
            let _ = now;
            link.close(code, &reason);
        })
    }

    #[inline]
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        either!(self, link => link.poll_timeout(), link.poll_timeout())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        either!(self, link => link.handle_timeout(now), link.handle_timeout(now))
    }

    #[inline]
    pub(super) fn poll_transmit(&mut self, now: Instant, most: usize, to: &mut Vec<u8>) -> Option<Transmit> {
        either!(self, link => link.poll_transmit(now, most, to), {
            let _ = (now, most);
            link.poll_transmit(to)
        })
    }
}

/// Frames that a connection has received: each packet that is its peer's, and was not here before, has one at least.
pub(super) fn frames(stats: &FrameStats) -> u64 {
    let ours = [stats.datagram, stats.acks, stats.stream, stats.ping, stats.crypto, stats.max_data, stats.max_stream_data];
    let ids = [stats.new_connection_id, stats.retire_connection_id, stats.path_challenge, stats.path_response];
    let ends = [stats.connection_close, stats.reset_stream, stats.stop_sending, stats.new_token, stats.handshake_done.into()];
    let bounds = [stats.data_blocked, stats.stream_data_blocked, stats.streams_blocked_bidi, stats.streams_blocked_uni];
    let others = [stats.max_streams_bidi, stats.max_streams_uni, stats.ack_frequency, stats.immediate_ack];
    ours.iter().chain(&ids).chain(&ends).chain(&bounds).chain(&others).sum()
}
