//! A client's first words: who it is, whom it believes, what it predicts; then the connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ringfort_client::limits::RESUME_MAX;
use ringfort_client::{Credential, Ended, Hub, ResumeToken, Trust};

use super::drawn::Delay;
use super::error::Error;
use super::playing::{Playing, Settings};
use super::rules::{ColumnOf, Drive, OnCorrection};
use super::{Client, address};
use crate::game::{Component, Game};
use crate::limits::CONNECT_PATIENCE;

/// How a client introduces itself, and how it plays.
#[must_use = "nothing happens until it connects"]
pub struct Builder<G: Game> {
    credential: Credential,
    trust: Trust,
    settings: Settings<G>,
    resume: Option<ResumeToken>,
    give_up_after: Duration,
}

impl<G: Game> Builder<G> {
    pub(super) fn new() -> Builder<G> {
        let credential = Credential::Name("player".to_owned());
        Builder {
            credential,
            trust: Trust::Roots(Vec::new()),
            settings: Settings::new(),
            resume: None,
            give_up_after: RESUME_MAX,
        }
    }

    /// The player's name, for a server that believes any (development).
    pub fn name(mut self, name: &str) -> Builder<G> {
        self.credential = Credential::Name(name.to_owned());
        self
    }

    /// The token that says who the player is, for a server that demands one. It takes the name's place.
    pub fn token(mut self, token: &str) -> Builder<G> {
        self.credential = Credential::Token(token.to_owned());
        self
    }

    /// Which servers to believe. Until this is said: none.
    pub fn trust(mut self, trust: Trust) -> Builder<G> {
        self.trust = trust;
        self
    }

    /// Goes on with a session that an earlier run of the program was given this token for, by [`Status::Joined`](super::Status::Joined) or
    /// [`Status::Resumed`](super::Status::Resumed). It is there without a join, and is told as joined; when the server does not give it
    /// back, [`Builder::connect`] fails.
    pub fn resume(mut self, token: ResumeToken) -> Builder<G> {
        self.resume = Some(token);
        self
    }

    /// For how long a lost connection is tried to get back; a minute unless this is said. When it is zero, a lost connection is the end.
    pub fn give_up_after(mut self, patience: Duration) -> Builder<G> {
        self.give_up_after = patience;
        self
    }

    /// How far behind the newest snapshot others are drawn; [`Delay::Auto`] unless this is said.
    pub fn interpolate(mut self, delay: Delay) -> Builder<G> {
        self.settings.interpolate(delay);
        self
    }

    /// Predicts a column of our own entity: `drive` is the function that the server calls for each input, with the row, the input
    /// and the tick's seconds. The column must be `#[predict(owner)]`. It is predicted for the first of our entities that has the row.
    pub fn predict<T: Component>(mut self, column: ColumnOf<G, T>, drive: Drive<T, G::Input>) -> Builder<G> {
        self.settings.predict(column, drive);
        self
    }

    /// Decides how a correction of a predicted column is shown; unless this is said, it fades within a tenth of a second.
    pub fn on_correction<T: Component>(mut self, column: ColumnOf<G, T>, rule: OnCorrection<T>) -> Builder<G> {
        self.settings.on_correction(column, rule);
        self
    }

    /// Connects and waits for the server's welcome, or for the session that it is to resume, at most [`CONNECT_PATIENCE`]. `url` is `quic://host:port` or `host:port`.
    pub fn connect(self, url: &str) -> Result<Client<G>, Error> {
        let mut client = self.start(url)?;
        let patience = Instant::now() + CONNECT_PATIENCE;
        while !client.session().is_welcomed() {
            let now = Instant::now();
            if now >= patience {
                let reason = format!("no answer within {} s", CONNECT_PATIENCE.as_secs());
                return Err(ringfort_client::Error::Ended(Ended::Lost { reason }).into());
            }
            client.wait(Some(patience)).map_err(ringfort_client::Error::from)?;
            client.pump(Instant::now());
            if let Some(ended) = client.session().ended() {
                return Err(ringfort_client::Error::from(ended.clone()).into());
            }
        }
        Ok(client)
    }

    /// Starts to connect and returns at once; [`Client::status`] tells what becomes of it.
    pub fn start(self, url: &str) -> Result<Client<G>, Error> {
        let now = Instant::now();
        let playing = Playing::new(now, self.settings)?;
        let (host, server) = address::resolve(url)?;
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut hub = Hub::bind(local, self.trust)?;
        hub.give_up_after(self.give_up_after);
        let key = match self.resume {
            Some(token) => hub.resume(now, server, &host, self.credential, token)?,
            None => hub.connect_with(now, server, &host, self.credential)?,
        };
        hub.flush(now);
        Ok(Client { hub, key, playing, now })
    }
}
