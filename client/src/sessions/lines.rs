//! The connection under each session: where it goes, and what is done when the session needs another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quinn_proto::{ClientConfig, ConnectError};
use ringfort_protocol::component::Wire;
use ringfort_protocol::control::Code;
use ringfort_protocol::driver::{Conn, ConnId, Driver};
use ringfort_protocol::quic;

use super::{Seat, SessionKey, Start};
use crate::session::Silence;

/// A session's connection, and the way to the next one.
pub(super) struct Line {
    pub(super) road: Road,
    /// Whatever another connection of the session has to say is not heard any more.
    pub(super) connection: Option<ConnId>,
}

/// What it takes to connect.
pub(super) enum Road {
    Quic {
        config: Box<ClientConfig>,
        server: SocketAddr,
        server_name: Box<str>,
    },
    #[cfg(feature = "plain")]
    Plain(SocketAddr),
}

impl Road {
    /// Begins a connection, over which this round trip is expected if one is known.
    pub(super) fn connect(
        &self,
        driver: &mut Driver<SessionKey>,
        now: Instant,
        key: SessionKey,
        rtt: Option<Duration>,
    ) -> Result<ConnId, ConnectError> {
        match self {
            Road::Quic { config, server, server_name } => {
                let mut config = ClientConfig::clone(config);
                if let Some(rtt) = rtt {
                    quic::expect_rtt(&mut config, rtt);
                }
                driver.connect(now, config, *server, server_name, key)
            }
            #[cfg(feature = "plain")]
            Road::Plain(server) => Ok(driver.connect_plain(now, *server, key)),
        }
    }
}

/// A random sequence (SplitMix64), for times that are not to be alike.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// Numbers of connections: milliseconds of the Unix epoch, or one more than the last.
pub(super) struct Numbers {
    start: Start,
    last: u64,
}

impl Numbers {
    pub(super) fn new(start: Start) -> Numbers {
        Numbers { start, last: 0 }
    }

    pub(super) fn next(&mut self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start.now).as_millis() as u64;
        self.last = (self.start.unix_ms + since).max(self.last + 1);
        self.last
    }
}

/// The round trip of a connection, if it has come so far.
pub(super) fn rtt(conn: &Conn<SessionKey>) -> Option<Duration> {
    conn.was_connected().then(|| conn.rtt())
}

/// Gives a session's connection up when it has been silent for too long, and begins the next when it is time.
pub(super) fn keep<W: Wire>(
    driver: &mut Driver<SessionKey>,
    dice: &mut Dice,
    numbers: &mut Numbers,
    seat: &mut Seat<W>,
    key: SessionKey,
    now: Instant,
) {
    let Seat { session, line, .. } = seat;
    if session.look_due(now)
        && let Some(connection) = line.connection.and_then(|id| driver.connection(id))
    {
        match session.look(now, connection.packets_received()) {
            Silence::Short => {}
            Silence::Probe => connection.ping(),
            Silence::TooLong => {
                connection.close(Code::Reconnect, "silent for too long");
                line.connection = None;
                session.handle_silence(now, rtt(connection), dice.roll());
            }
        }
    }
    if session.connection_due(now) {
        let expected = session.begin_attempt(now, numbers.next(now));
        match line.road.connect(driver, now, key, expected) {
            Ok(connection) => line.connection = Some(connection),
            Err(error) => session.handle_no_connection(error.to_string()),
        }
    }
}
