//! What a game's client holds: one session with its own socket.
//!
//! ```no_run
//! # fn play<W: ringfort_client::Wire<Input: Default>>() -> Result<(), ringfort_client::Error> {
//! use ringfort_client::{Client, Join, Status, Trust};
//! use std::time::Instant;
//!
//! let mut client = Client::<W>::builder().name("ada").trust(Trust::Any).connect("quic://127.0.0.1:7777")?;
//! client.join(Join::Any);
//! loop {
//!     client.pump(Instant::now())?;
//!     for status in client.status() {
//!         if let Status::Ended(_) = status {
//!             return Ok(());
//!         }
//!     }
//!     for _ in 0..client.due(Instant::now()) {
//!         client.send(Default::default());
//!     }
//!     client.wait(None)?;
//! }
//! # }
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use ringfort_protocol::SessionId;
use ringfort_protocol::component::Wire;
use ringfort_protocol::control::{Code, Credential, JoinTarget};
use ringfort_protocol::quic::Trust;

use crate::error::{CommandError, Ended, Error};
use crate::hub::Hub;
use crate::limits;
use crate::session::{Event, Session, Status};
use crate::sessions::{Net, SessionKey};
use crate::view::View;

/// Which match to join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join<'a> {
    /// Any with a free place.
    Any,
    /// The one of this name.
    Named(&'a str),
    /// The private one of this code.
    Code(&'a str),
}

impl From<Join<'_>> for JoinTarget {
    fn from(join: Join<'_>) -> JoinTarget {
        match join {
            Join::Any => JoinTarget::Any,
            Join::Named(name) => JoinTarget::Named(name.to_owned()),
            Join::Code(code) => JoinTarget::Code(code.to_owned()),
        }
    }
}

/// How a client introduces itself, and whom it believes.
#[derive(Clone, Debug)]
pub struct Builder<W> {
    credential: Credential,
    trust: Trust,
    game: std::marker::PhantomData<fn() -> W>,
}

impl<W: Wire> Builder<W> {
    /// The player's name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Builder<W> {
        self.credential = Credential::Name(name.to_owned());
        self
    }

    /// The token that says who the player is, for a server that wants one. It takes the name's place.
    #[must_use]
    pub fn token(mut self, token: &str) -> Builder<W> {
        self.credential = Credential::Token(token.to_owned());
        self
    }

    /// Which servers to believe. Until this is said: none.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Builder<W> {
        self.trust = trust;
        self
    }

    /// Connects and waits for the server's welcome, at most [`limits::CONNECT_PATIENCE`]. `url` is `quic://host:port`
    /// or `host:port`.
    pub fn connect(self, url: &str) -> Result<Client<W>, Error> {
        let mut client = self.start(url)?;
        let patience = Instant::now() + limits::CONNECT_PATIENCE;
        while !client.session().is_welcomed() {
            let now = Instant::now();
            if now >= patience {
                let reason = format!("no answer within {} s", limits::CONNECT_PATIENCE.as_secs());
                return Err(Error::Ended(Ended::Lost { reason }));
            }
            client.hub.wait(Some(patience))?;
            client.pump(Instant::now())?;
            if let Some(ended) = client.session().ended() {
                return Err(ended.clone().into());
            }
        }
        Ok(client)
    }

    /// Starts to connect and returns at once; [`Client::status`] tells what becomes of it.
    pub fn start(self, url: &str) -> Result<Client<W>, Error> {
        let (host, server) = resolve(url)?;
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut hub = Hub::bind(local, self.trust)?;
        let key = hub.connect_with(Instant::now(), server, &host, self.credential)?;
        hub.flush(Instant::now());
        Ok(Client { hub, key, next_slot: None })
    }
}

/// One client of one server.
pub struct Client<W: Wire> {
    hub: Hub<W>,
    key: SessionKey,
    /// When the next input is due; nothing before we joined.
    next_slot: Option<Instant>,
}

impl<W: Wire> Client<W> {
    /// Says who we are before we connect.
    pub fn builder() -> Builder<W> {
        let trust = Trust::Roots(Vec::new());
        Builder { credential: Credential::Name("player".to_owned()), trust, game: std::marker::PhantomData }
    }

    /// Asks for a place in a match. [`Status::Joined`] or [`Status::Refused`] follows.
    pub fn join(&mut self, join: Join<'_>) {
        self.hub.join(self.key, join.into());
        self.hub.flush(Instant::now());
    }

    /// Asks for a place to watch from: without inputs, without commands, without an entity. The same statuses follow.
    pub fn spectate(&mut self, join: Join<'_>) {
        self.hub.spectate(self.key, join.into());
        self.hub.flush(Instant::now());
    }

    /// Handles everything that has arrived or is due. Never blocks.
    pub fn pump(&mut self, now: Instant) -> Result<(), Error> {
        self.hub.pump(now, &mut ())
    }

    /// Sleeps until something arrives, an input is due, a timer runs out, or `until`.
    pub fn wait(&self, until: Option<Instant>) -> Result<(), Error> {
        let until = until.into_iter().chain(self.next_slot).min();
        self.hub.wait(until)?;
        Ok(())
    }

    /// Takes the steps that have happened.
    pub fn status(&mut self) -> impl Iterator<Item = Status> {
        self.hub.session_mut(self.key).statuses()
    }

    /// How many inputs are due by now, at the match's tick rate: send as many. A program that fell behind gets at most
    /// [`limits::SLOTS_DUE_MAX`]; what it missed beyond that, it missed.
    pub fn due(&mut self, now: Instant) -> u32 {
        if !self.session().is_joined() {
            self.next_slot = None;
            return 0;
        }
        let period = Duration::from_secs(1) / self.session().tick_hz();
        let next = self.next_slot.unwrap_or(now);
        if next > now {
            return 0;
        }
        let owed = u32::try_from((now - next).as_nanos() / period.as_nanos()).unwrap_or(u32::MAX).saturating_add(1);
        let due = owed.min(limits::SLOTS_DUE_MAX);
        self.next_slot = Some(if due < owed { now + period } else { next + period * due });
        due
    }

    /// Sends the next input at once. Returns its sequence; nothing when we are in no match.
    pub fn send(&mut self, input: W::Input) -> Option<u32> {
        let now = Instant::now();
        let sequence = self.hub.send(now, self.key, input);
        self.hub.flush(now);
        sequence
    }

    /// Sends a command reliably and in order.
    pub fn command(&mut self, command: &W::Command) -> Result<(), CommandError> {
        let taken = self.hub.session_mut(self.key).command(command);
        self.hub.flush(Instant::now());
        taken
    }

    /// Takes the events that have arrived.
    pub fn events(&mut self) -> impl Iterator<Item = Event<W::Event>> {
        self.hub.session_mut(self.key).events()
    }

    /// The world as of the newest snapshot.
    pub fn view(&self) -> View<'_> {
        self.session().view()
    }

    /// Our session; nobody before we joined.
    pub fn me(&self) -> SessionId {
        self.session().id()
    }

    /// The session itself.
    pub fn session(&self) -> &Session<W> {
        self.hub.session(self.key)
    }

    /// Figures of the connection.
    pub fn net(&self) -> Net {
        self.hub.net(Instant::now(), self.key)
    }

    /// Gives the place up, waits shortly for the server to say so, and closes the connection.
    pub fn leave(mut self) -> Result<(), Error> {
        self.hub.session_mut(self.key).leave();
        self.hub.flush(Instant::now());
        let patience = Instant::now() + limits::FAREWELL;
        while !self.session().is_ended() && Instant::now() < patience {
            self.hub.wait(Some(patience))?;
            self.pump(Instant::now())?;
        }
        match self.session().ended() {
            None | Some(Ended::Session(_) | Ended::Closed { code: Code::Left, .. }) => Ok(()),
            Some(other) => Err(other.clone().into()),
        }
    }
}

/// Host and address of `quic://host:port`; the scheme may be left out.
fn resolve(url: &str) -> Result<(String, SocketAddr), Error> {
    let authority = url.strip_prefix("quic://").unwrap_or(url).trim_end_matches('/');
    let wrong = || Error::Url { url: url.to_owned() };
    let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(wrong());
    }
    let mut found = (host, port).to_socket_addrs()?;
    let server = found.next().ok_or_else(|| Error::NoAddress { host: host.to_owned() })?;
    Ok((host.to_owned(), server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_and_without_a_scheme() {
        for url in ["quic://127.0.0.1:7777", "127.0.0.1:7777", "quic://127.0.0.1:7777/"] {
            let (host, server) = resolve(url).expect(url);
            assert_eq!((host.as_str(), server), ("127.0.0.1", SocketAddr::from(([127, 0, 0, 1], 7777))));
        }
        assert_eq!(resolve("quic://[::1]:9").expect("IPv6").1, "[::1]:9".parse().expect("an address"));
        for url in ["", "quic://", "127.0.0.1", ":7777", "127.0.0.1:port"] {
            assert!(matches!(resolve(url), Err(Error::Url { .. })), "{url}");
        }
    }
}
