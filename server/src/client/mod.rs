//! A game's client, typed by the game's own state struct: prediction with the game's own function, interpolation, events, and an input
//! clock, in one loop of the program's own.
//!
//! There is no hidden thread and nothing blocks: everything happens in [`Client::pump`], and a program that has nothing to do sleeps in
//! [`Client::wait`].
//!
//! ```no_run
//! use ringfort::client::*;
//! use ringfort::prelude::*;
//! use ringfort::skirmish::{Cmd, Ev, Skirmish, drive};
//! use std::time::{Duration, Instant};
//!
//! fn main() -> Result<(), Error> {
//!     let mut c = Client::<Skirmish>::builder()
//!         .name("ada") // or .token(..)
//!         .trust(Trust::Any) // development: believe any certificate
//!         .interpolate(Delay::Auto) // as long as the jitter asks for
//!         .predict(|s| &s.body, drive) // the function that the server calls
//!         .on_correction(|s| &s.body, |k| {
//!             let far = (k.server.pos - k.predicted.pos).length() > 4.0;
//!             if far { Fix::Snap } else { Fix::Blend(Duration::from_millis(80)) }
//!         })
//!         .connect("quic://127.0.0.1:7777")?;
//!     c.join(Join::Any);
//!     let mut fired = false;
//!     loop {
//!         c.pump(Instant::now());
//!         for status in c.status() {
//!             match status {
//!                 Status::Stalled(silence) => println!("nothing for {silence:?}"),
//!                 Status::Resuming { attempt } => println!("reconnecting, attempt {attempt}"),
//!                 Status::Resumed { lost, .. } => println!("back, {lost} ticks lost"),
//!                 Status::Refused { reason, .. } => println!("{reason}"),
//!                 Status::MatchOver => c.join(Join::Any),
//!                 Status::Ended(why) => {
//!                     println!("{why}");
//!                     return Ok(());
//!                 }
//!                 _ => {}
//!             }
//!         }
//!         let mine = c.view().owned(c.me()).and_then(|e| Some((e, c.view().get(e, |s| &s.body)?)));
//!         for slot in c.due() {
//!             // 0..n inputs are due; a slot is used by `send`
//!             let cmd = Cmd { fire: Press::down(!fired), ..Cmd::default() };
//!             fired = !fired;
//!             if let (true, Some((by, body))) = (cmd.fire.pressed(), mine) {
//!                 slot.predict(Ev::Shot { by, at: body.pos, aim: cmd.aim });
//!             }
//!             slot.send(cmd);
//!         }
//!         for event in c.events() {
//!             match (event.what, event.sure) {
//!                 // Ours come once, as predicted; others' are confirmed.
//!                 (Ev::Shot { .. }, Sure::Predicted | Sure::Confirmed) => println!("bang"),
//!                 (Ev::Shot { .. }, Sure::Cancelled) => println!("it did not fire after all"),
//!                 (other, _) => println!("{other:?}"),
//!             }
//!         }
//!         let view = c.view();
//!         for (entity, body) in view.each(|s| &s.body) {
//!             // our own is predicted, others are between two snapshots
//!             println!("{entity} at {:?}, {:?}", body.pos, view.latest().score.get(entity));
//!         }
//!         if c.net().repeated > 0 { /* inputs came too late: show it, don't hide it */ }
//!         c.wait(None)?;
//!     }
//! }
//! ```
//!
//! **Time.** The newest snapshot is [`View::latest`]. Others are drawn a little behind it, so that there is nearly always a newer snapshot to
//! blend towards, and the two snapshots and the blend go with every input: a game that decides hits sees what its player saw. Our own entity
//! is drawn ahead of it, as it will be once the inputs on their way have been applied. Inputs leave so that they arrive shortly before their
//! tick; [`Net::input_margin`] tells, and [`Net::repeated`] counts the ticks that had none.
//!
//! **When the connection is lost.** It is made again by itself, with pauses that grow, and the session goes on: the same entity, inputs and
//! commands that the server lacks are sent again, events come once. [`Status::Resuming`] and [`Status::Resumed`] tell; until then the view
//! shows the last tick. A session waits for its client for the match's grace period; one that has ended meanwhile ends here, too.
//! [`Status::Joined`] and [`Status::Resumed`] bring a token with which a program that was started again goes on: keep the newest, give it to
//! [`Builder::resume`]. Who uses it while the first program still plays takes the session over, which ends there as
//! [`EndReason::TakenOver`].
//!
//! **When the game fails.** A server whose game has failed twice on a tick runs it without that tick's inputs and commands, and says so:
//! [`Status::Rejected`] names those of ours, each once. They are not sent again. The prediction goes on without them, which is shown as a
//! correction, and what was predicted of them comes as [`Sure::Cancelled`]. A program need do nothing, but should not send such a command again.
//!
//! **Without a socket.** [`Playing`] is everything but the socket, for simulations and for programs with a network of their own.

mod address;
mod arrivals;
mod connect;
mod drawn;
mod error;
mod forecasts;
mod input_clock;
mod playing;
mod predict;
mod rules;
mod slots;
mod status;
mod stay;
mod turns;
mod versions;
mod view;

#[cfg(test)]
mod tests;

pub use connect::Builder;
pub use drawn::Delay;
pub use error::Error;
pub use forecasts::Sure;
pub use playing::{Event, Playing, Settings};
pub use predict::{Correction, Fix};
pub use ringfort_client::{Code, CommandError, EndReason, Ended, ResumeToken, Trust};
pub use rules::{ColumnOf, Drive, OnCorrection};
pub use slots::{Slot, Slots};
pub use status::{Net, Status};
pub use view::View;

use std::io;
use std::time::Instant;

use ringfort_client::{Hub, Session, SessionKey};
use ringfort_protocol::SessionId;
use ringfort_protocol::control::JoinTarget;

use crate::game::{Game, Played};
use crate::limits::FAREWELL;

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

/// One client of one server, with its own socket.
pub struct Client<G: Game> {
    hub: Hub<Played<G>>,
    key: SessionKey,
    playing: Playing<G>,
    /// The time of the last pump, which all that is looked at is of.
    now: Instant,
}

impl<G: Game> Client<G> {
    /// Says who we are, whom we believe and what we predict, before we connect.
    pub fn builder() -> Builder<G> {
        Builder::new()
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

    /// Handles everything that has arrived or is due, and moves the view on to `now`. Never blocks. A socket that fails ends the
    /// session, as [`Client::status`] tells.
    pub fn pump(&mut self, now: Instant) {
        self.now = now;
        if let Err(error) = self.hub.pump(now, &mut self.playing) {
            self.playing.fail(error.to_string());
        }
        self.playing.settle(now, self.hub.session_mut(self.key));
        self.hub.flush(now);
    }

    /// Sleeps until something arrives, an input is due, a timer runs out, or `until`. An input slot that was due at the last pump and was
    /// not taken wakes nobody.
    pub fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let until = until.into_iter().chain(self.playing.wake_at()).min();
        self.hub.wait(until).map(drop)
    }

    /// Takes the steps that have happened.
    pub fn status(&mut self) -> impl Iterator<Item = Status> + use<G> {
        self.playing.statuses()
    }

    /// The inputs that are due, at the match's tick rate: none before we joined.
    pub fn due(&mut self) -> Slots<'_, G> {
        Slots::new(self)
    }

    /// Takes the events that have come, in their order.
    pub fn events(&mut self) -> impl Iterator<Item = Event<G::Event>> + use<G> {
        self.playing.events()
    }

    /// The world as it is to be drawn at the time of the last pump.
    pub fn view(&self) -> View<'_, G> {
        self.playing.view()
    }

    /// Sends a command reliably and in order.
    pub fn command(&mut self, command: &G::Command) -> Result<(), CommandError> {
        let taken = self.hub.session_mut(self.key).command(command);
        self.hub.flush(Instant::now());
        taken
    }

    /// Our session; nobody before we joined.
    pub fn me(&self) -> SessionId {
        self.playing.me()
    }

    /// What another run of the program needs to have the session back, see [`Builder::resume`]; nothing before we joined.
    pub fn resume_token(&self) -> Option<ResumeToken> {
        self.session().resume_token()
    }

    /// Closes the connection and keeps our place: for as long as the match waits, whoever has the token can have it back.
    pub fn detach(self) {
        self.hub.detach();
    }

    /// Goes on behind another socket, as a machine does that comes from one network into another: the connection stays. Without this, too,
    /// a client that hears nothing for a while makes its connection anew.
    pub fn rebind(&mut self) -> Result<(), Error> {
        self.hub.rebind()?;
        self.hub.flush(Instant::now());
        Ok(())
    }

    /// Figures of the connection.
    pub fn net(&self) -> Net {
        self.playing.net(&self.hub.net(self.now, self.key))
    }

    /// Gives the place up, waits shortly for the server to say so, and closes the connection.
    pub fn leave(mut self) -> Result<(), Error> {
        self.hub.session_mut(self.key).leave();
        self.hub.flush(Instant::now());
        let patience = Instant::now() + FAREWELL;
        while !self.session().is_ended() && Instant::now() < patience {
            self.hub.wait(Some(patience))?;
            self.pump(Instant::now());
        }
        match self.session().ended() {
            None | Some(Ended::Session(_) | Ended::Closed { code: Code::Left, .. }) => Ok(()),
            Some(other) => Err(ringfort_client::Error::from(other.clone()).into()),
        }
    }

    fn session(&self) -> &Session<Played<G>> {
        self.hub.session(self.key)
    }

    fn playing(&self) -> &Playing<G> {
        &self.playing
    }

    fn take_slot(&mut self) -> bool {
        self.playing.take_slot(self.now)
    }

    fn send(&mut self, input: G::Input, predicted: &[G::Event]) {
        let (now, seen) = (Instant::now(), self.playing.seen());
        if let Some((sequence, input)) = self.hub.send_seen(now, self.key, input, seen) {
            self.playing.sent(sequence, input, predicted);
            self.hub.flush(now);
        }
    }
}
