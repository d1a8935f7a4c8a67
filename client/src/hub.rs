//! Many sessions in one loop: one UDP socket, one driver, and whatever the sessions have to say.
//!
//! [`Hub::pump`] is where everything happens: datagrams in, timers, sessions, datagrams out. It never blocks. A
//! program that has nothing to do sleeps in [`Hub::wait`].

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn_proto::{ClientConfig, Transmit};
use ringfort_protocol::component::Wire;
use ringfort_protocol::control::{Credential, JoinTarget};
use ringfort_protocol::driver::Driver;
use ringfort_protocol::quic::{self, Trust};
use ringfort_protocol::{ResumeToken, View};

use crate::error::Error;
use crate::session::Session;
use crate::sessions::{Net, SessionKey, Sessions, Start, Watch};
use crate::udp::Udp;

/// One socket and its sessions. Sessions stay until the hub is dropped or they are forgotten, ended ones too.
pub struct Hub<W: Wire> {
    udp: Udp,
    config: ClientConfig,
    sessions: Sessions<W>,
}

impl<W: Wire> Hub<W> {
    /// A hub on a socket at `local`; port 0 lets the kernel choose.
    pub fn bind(local: SocketAddr, trust: Trust) -> Result<Hub<W>, Error> {
        let now = Instant::now();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let start = Start { now, unix_ms, seed: u64::from_ne_bytes(random()) };
        Ok(Hub {
            udp: Udp::bind(local)?,
            config: quic::client_config(trust)?,
            sessions: Sessions::new(Driver::client(now, quic::client_endpoint()), start)?,
        })
    }

    /// [`Sessions::give_up_after`].
    pub fn give_up_after(&mut self, patience: Duration) {
        self.sessions.give_up_after(patience);
    }

    /// Goes on behind a new socket of the same address and another port, as a machine does that comes from one network into another:
    /// connections stay.
    pub fn rebind(&mut self) -> Result<(), Error> {
        let mut local = self.local_addr()?;
        local.set_port(0);
        self.udp = Udp::bind(local)?;
        self.sessions.address_changed();
        Ok(())
    }

    /// Starts a session: connection and hello. `server_name` is what the server's certificate must be made out to.
    pub fn connect(&mut self, now: Instant, server: SocketAddr, server_name: &str, name: &str) -> Result<SessionKey, Error> {
        self.connect_with(now, server, server_name, Credential::Name(name.to_owned()))
    }

    /// [`Hub::connect`] with a credential of any kind.
    pub fn connect_with(
        &mut self,
        now: Instant,
        server: SocketAddr,
        server_name: &str,
        credential: Credential,
    ) -> Result<SessionKey, Error> {
        self.sessions.connect(now, self.config.clone(), server, server_name, credential)
    }

    /// Goes on with a session that an earlier run of the program was given `token` for: see [`Session::resume_token`]. It is told as
    /// [`Status::Joined`](crate::Status::Joined), or ends when the server does not give it back.
    pub fn resume(
        &mut self,
        now: Instant,
        server: SocketAddr,
        server_name: &str,
        credential: Credential,
        token: ResumeToken,
    ) -> Result<SessionKey, Error> {
        self.sessions.resume(now, self.config.clone(), server, server_name, credential, token)
    }

    /// [`Sessions::forget`].
    pub fn forget(&mut self, key: SessionKey) {
        self.sessions.forget(key);
    }

    /// Closes all connections and keeps the places in their matches: whoever has their tokens can have them back.
    pub fn detach(mut self) {
        let link = self.udp.link();
        self.sessions.detach_all(Instant::now(), &mut |transmit, bytes| link.send(transmit, bytes));
    }

    /// Asks for a place in a match, now or as soon as the server has welcomed the session.
    pub fn join(&mut self, key: SessionKey, target: JoinTarget) {
        self.sessions.join(key, target, random());
    }

    /// Asks for a place to watch a match from.
    pub fn spectate(&mut self, key: SessionKey, target: JoinTarget) {
        self.sessions.spectate(key, target, random());
    }

    /// A session, to look at.
    pub fn session(&self, key: SessionKey) -> &Session<W> {
        self.sessions.session(key)
    }

    /// A session, to take its events or tell it something; what it has to say goes out with the next pump or flush.
    pub fn session_mut(&mut self, key: SessionKey) -> &mut Session<W> {
        self.sessions.session_mut(key)
    }

    /// Sends a session's next input, with those before it that the server lacks. It leaves with the next pump or flush.
    /// Returns its sequence; nothing when the session is in no match.
    pub fn send(&mut self, now: Instant, key: SessionKey, input: W::Input) -> Option<u32> {
        self.sessions.send(now, key, input)
    }

    /// [`Sessions::send_seen`].
    pub fn send_seen(&mut self, now: Instant, key: SessionKey, input: W::Input, seen: View) -> Option<(u32, W::Input)> {
        self.sessions.send_seen(now, key, input, seen)
    }

    /// Handles everything that has arrived or is due and sends what there is to send. Never blocks.
    pub fn pump(&mut self, now: Instant, watch: &mut impl Watch<W>) -> Result<(), Error> {
        let Hub { udp, sessions, .. } = self;
        udp.receive(|link, datagram| {
            let mut out = |transmit: &_, bytes: &[u8]| link.send(transmit, bytes);
            sessions.handle_datagram(now, datagram.from, datagram.local_ip, datagram.ecn, datagram.data, &mut out);
        })?;
        let link = udp.link();
        sessions.poll(now, watch, &mut |transmit, bytes| link.send(transmit, bytes));
        Ok(())
    }

    /// Sends what was given since the last pump, without looking for what has arrived.
    pub fn flush(&mut self, now: Instant) {
        let link = self.udp.link();
        self.sessions.flush(now, &mut (), &mut |transmit, bytes| link.send(transmit, bytes));
    }

    /// When the next pump is due although nothing arrives.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.sessions.next_timeout()
    }

    /// Sleeps until something arrives, a timer is due, or `until`; returns whether something has arrived.
    pub fn wait(&self, until: Option<Instant>) -> io::Result<bool> {
        let until = until.into_iter().chain(self.next_timeout()).min();
        self.udp.wait(until.map(|until| until.saturating_duration_since(Instant::now())))
    }

    /// Figures of a session's connection.
    pub fn net(&self, now: Instant, key: SessionKey) -> Net {
        self.sessions.net(now, key)
    }

    /// Where our socket is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.link().local_addr()
    }
}

/// Servers need not wait for the idle time-out of a client that just goes away. One that panics may be started again, and its places are kept.
impl<W: Wire> Drop for Hub<W> {
    fn drop(&mut self) {
        let link = self.udp.link();
        let (now, mut out) = (Instant::now(), |transmit: &Transmit, bytes: &[u8]| link.send(transmit, bytes));
        match std::thread::panicking() {
            true => self.sessions.detach_all(now, &mut out),
            false => self.sessions.close_all(now, &mut out),
        }
    }
}

fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    // Without randomness of the system there is no TLS either, so this is no new way to fail.
    random.fill(&mut bytes).expect("the system has no random bytes");
    bytes
}
