//! The clients' sessions over one socket, with a bad network in between if one is asked for.
//!
//! [`ringfort_client::Hub`] with a seam between sessions and socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quinn_proto::{ClientConfig, EcnCodepoint, Transmit};
use ringfort_client::udp::{Link, Received, Udp};
use ringfort_client::{Credential, Error, JoinTarget, Session, SessionKey, Sessions, Start, Trust, Watch, Wire};
use ringfort_protocol::driver::Driver;
use ringfort_protocol::quic;

use super::bot::Game;
use crate::netem::{Conditions, Lane};
use crate::random::Random;

/// Of the random numbers: what the lanes draw from, and the clients' nonces.
const UP: u64 = 0xA0;
const DOWN: u64 = 0xA1;

/// One socket and its sessions.
pub(super) struct Net {
    udp: Udp,
    config: ClientConfig,
    sessions: Sessions<Game>,
    random: Random,
    bad: Option<Bad>,
}

/// The network's two directions.
struct Bad {
    up: Lane<Sent>,
    down: Lane<Received>,
}

/// A packet on its way out.
struct Sent {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    bytes: Box<[u8]>,
}

impl Net {
    /// Sessions on a socket at `local`, behind a network like this.
    pub(super) fn bind(local: SocketAddr, conditions: Conditions, seed: u64) -> Result<Net, Error> {
        let now = Instant::now();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Nonces and connections of one run differ from those of the next; the network's luck does not.
        let mut random = Random::new(since.as_nanos() as u64, u64::from(std::process::id()));
        let start = Start { now, unix_ms: since.as_millis() as u64, seed: random.next() };
        let bad = || Bad { up: Lane::new(conditions, seed, UP), down: Lane::new(conditions, seed, DOWN) };
        Ok(Net {
            udp: Udp::bind(local)?,
            config: quic::client_config(Trust::Any)?,
            sessions: Sessions::new(Driver::client(now, quic::client_endpoint()), start)?,
            random,
            bad: conditions.are_bad().then(bad),
        })
    }

    /// Starts a session that asks for a place: to play, or to watch.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        server: SocketAddr,
        name: &str,
        target: JoinTarget,
        watches: bool,
    ) -> Result<SessionKey, Error> {
        let credential = Credential::Name(name.to_owned());
        let key = self.sessions.connect(now, self.config.clone(), server, "localhost", credential)?;
        self.join(key, target, watches);
        Ok(key)
    }

    /// Asks for a place.
    pub(super) fn join(&mut self, key: SessionKey, target: JoinTarget, watches: bool) {
        let mut nonce = [0; 16];
        nonce.chunks_exact_mut(8).for_each(|half| half.copy_from_slice(&self.random.next().to_le_bytes()));
        if watches {
            self.sessions.spectate(key, target, nonce);
        } else {
            self.sessions.join(key, target, nonce);
        }
    }

    /// A session, to look at.
    pub(super) fn session(&self, key: SessionKey) -> &Session<Game> {
        self.sessions.session(key)
    }

    /// A session, to take its events or tell it something.
    pub(super) fn session_mut(&mut self, key: SessionKey) -> &mut Session<Game> {
        self.sessions.session_mut(key)
    }

    /// Gives up the place of a session that has ended.
    pub(super) fn forget(&mut self, key: SessionKey) {
        self.sessions.forget(key);
    }

    /// Sends a session's next input; nothing when the session is in no match.
    pub(super) fn send(&mut self, now: Instant, key: SessionKey, input: <Game as Wire>::Input) -> Option<u32> {
        self.sessions.send(now, key, input)
    }

    /// Handles what has arrived or is due and sends what there is to send.
    pub(super) fn pump(&mut self, now: Instant, watch: &mut impl Watch<Game>) -> Result<(), Error> {
        let Net { udp, sessions, bad, .. } = self;
        udp.receive(|link, received| match bad {
            Some(bad) => bad.down.push(now, received),
            None => take_in(sessions, now, received, &mut out(link, now, None)),
        })?;
        while let Some(received) = bad.as_mut().and_then(|bad| bad.down.take_due(now)) {
            take_in(sessions, now, received, &mut out(udp.link(), now, bad.as_mut()));
        }
        sessions.poll(now, watch, &mut out(udp.link(), now, bad.as_mut()));
        self.send_due(now);
        Ok(())
    }

    /// Sends what was given since the last pump.
    pub(super) fn flush(&mut self, now: Instant) {
        self.sessions.flush(now, &mut (), &mut out(self.udp.link(), now, self.bad.as_mut()));
        self.send_due(now);
    }

    /// Sleeps until something arrives, a timer or a packet is due, or `until`.
    pub(super) fn wait(&self, until: Instant) -> io::Result<bool> {
        let delayed = self.bad.iter().flat_map(|bad| [bad.up.next_due(), bad.down.next_due()]).flatten();
        let until = self.sessions.next_timeout().into_iter().chain(delayed).fold(until, Instant::min);
        self.udp.wait(Some(until.saturating_duration_since(Instant::now())))
    }

    /// Packets that went through the bad network, and those of them that it lost.
    pub(super) fn injected(&self) -> (u64, u64) {
        let lanes = self.bad.as_ref().map_or([(0, 0); 2], |bad| [bad.up.counts(), bad.down.counts()]);
        (lanes[0].0 + lanes[1].0, lanes[0].1 + lanes[1].1)
    }

    fn send_due(&mut self, now: Instant) {
        let Net { udp, bad: Some(bad), .. } = self else { return };
        while let Some(Sent { destination, ecn, src_ip, bytes }) = bad.up.take_due(now) {
            udp.link().send(&Transmit { destination, ecn, size: bytes.len(), segment_size: None, src_ip }, &bytes);
        }
    }
}

/// Servers need not wait for the time-out of clients that just go away, whatever network they are behind.
impl Drop for Net {
    fn drop(&mut self) {
        let link = self.udp.link();
        self.sessions.close_all(Instant::now(), &mut |transmit, bytes| link.send(transmit, bytes));
    }
}

fn take_in(sessions: &mut Sessions<Game>, now: Instant, received: Received, out: &mut impl FnMut(&Transmit, &[u8])) {
    let Received { from, local_ip, ecn, data } = received;
    sessions.handle_datagram(now, from, local_ip, ecn, data, out);
}

/// Where packets go: into the socket, or on their way through a bad network, one by one.
fn out<'a>(link: &'a Link, now: Instant, mut bad: Option<&'a mut Bad>) -> impl FnMut(&Transmit, &[u8]) + 'a {
    move |transmit, bytes| {
        let Some(bad) = &mut bad else { return link.send(transmit, bytes) };
        for piece in bytes[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size).max(1)) {
            let Transmit { destination, ecn, src_ip, .. } = *transmit;
            bad.up.push(now, Sent { destination, ecn, src_ip, bytes: piece.into() });
        }
    }
}
