//! What a game author writes: a state struct, an input, commands, events, timers, and these few functions.
//!
//! `step` sees the world, the players' inputs, the tick and the seed, and nothing else: no clock, no address, no arrival time.
//! All of it runs in a sim process, between the drain of the inbox and the commit.

mod blobs;
mod bound;
mod cells;
mod check;
mod column;
mod copy;
mod description;
mod entities;
mod global;
mod grid;
mod input_bytes;
mod interest;
mod life;
mod map;
mod name;
mod outbox;
mod outside;
mod rewind;
mod rng;
mod seats;
mod state;
#[cfg(test)]
mod tests;
mod tick;
mod timers;
mod whereabouts;

pub use blobs::{Blob, Blobs, SetError};
pub(crate) use bound::{Bound, SessionInputs};
pub use check::BadRow;
pub use column::{Cols, Column, Join, Joined, Mut};
pub(crate) use copy::{Copies, Version};
pub use description::{Description, DescriptionError, EngineTables, ZoneLimits};
pub use entities::Entities;
pub use global::Global;
pub use grid::{Grid, Near, Ray, SeenGrid};
pub(crate) use interest::Sights;
pub use interest::{Groups, Interest};
pub use life::Refusal;
pub use map::{GameMap, MapError, MatchMap, PlaceKind, PlaceRule};
pub(crate) use outbox::Outbox;
pub use outbox::{Ask, AskRules, OutboxAt};
pub use outside::{Answer, AnswerError, AskError, AskId, RESULT_TOPIC};
pub use rewind::{Rewind, ViewTime};
pub use rng::Rng;
pub use seats::Seats;
pub use state::{Binder, Declare, FieldOptions, Hook, Received, State, StateField};
pub(crate) use tick::{Applied, Outgoing};
pub use tick::{Arrival, Options, Player, Tick, To};
pub use timers::{TimerId, Timers};
pub(crate) use whereabouts::Whereabouts;

use ringfort_protocol::{Input, Message, SessionId, TimerPayload};

/// A row of a column: fields that have a place on the wire, and that mean the same in every process.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no component",
    label = "not a row of a column, a global or a seat",
    note = "write `#[derive(Component, Clone, Copy)]` above it"
)]
pub trait Component: ringfort_protocol::Component + ringfort_shm_state::Plain {}
impl<T: ringfort_protocol::Component + ringfort_shm_state::Plain> Component for T {}

/// Who wants to join.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// The player's name, at most 32 bytes: from its token, or in development what it says.
    pub name: &'a str,
    /// It wants to watch only.
    pub spectator: bool,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The client left.
    Quit,
    /// An operator, or a log of events that the client never acknowledged, ended it.
    Kicked,
    /// Its connection was lost.
    TimedOut,
}

impl Why {
    /// The number in a leave record.
    pub(crate) fn to_u64(self) -> u64 {
        match self {
            Self::Quit => 1,
            Self::Kicked => 2,
            Self::TimedOut => 3,
        }
    }

    /// The reason of a leave record; what no front-end writes counts as a lost connection.
    pub(crate) fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Quit,
            2 => Self::Kicked,
            _ => Self::TimedOut,
        }
    }
}

/// An option that a match of the game may be given.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// Its name in `--game-option NAME=VALUE` and in ringfort.toml.
    pub name: &'static str,
    /// What it does, its unit and its default, in a sentence.
    pub doc: &'static str,
    /// Which values it may have; a match with another is refused before it is made.
    pub kind: OptionKind,
}

impl OptionDoc {
    /// An option that is a number from `min` to `max`.
    pub const fn number(name: &'static str, doc: &'static str, min: f64, max: f64) -> Self {
        Self { name, doc, kind: OptionKind::Number { min, max, whole: false } }
    }

    /// An option that is a whole number from `min` to `max`.
    pub const fn whole(name: &'static str, doc: &'static str, min: i32, max: i32) -> Self {
        Self { name, doc, kind: OptionKind::Number { min: min as f64, max: max as f64, whole: true } }
    }

    /// An option that is a text, which the game judges.
    pub const fn text(name: &'static str, doc: &'static str) -> Self {
        Self { name, doc, kind: OptionKind::Text }
    }
}

/// Which values an option may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    /// Any text: the game judges it.
    Text,
    /// A number in a range.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// Whether it has no fraction.
        whole: bool,
    },
}

/// A game: its rules over its state.
///
/// Functions are called in this order within a tick: answers from outside, joins, leaves and commands as they stand in the inbox, then
/// due timers, then `step`. A panic ends the process, not the match: its sim is started again from the last commit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no game",
    note = "a game is a struct with `#[derive(State)]` and an `impl Game`"
)]
pub trait Game: State {
    /// Ticks a second, unless the operator says otherwise.
    const HZ: u32;
    /// Sessions that fit a match, unless its option `capacity` says otherwise.
    const CAPACITY: u32 = 16;
    /// Milliseconds of the match's time for which a session stays whose connection was lost, unless the operator says otherwise; 0 for
    /// not at all.
    const GRACE_MS: u32 = 30_000;
    /// Of which entities a client is told; the columns' own rules hold within that. An operator may say otherwise.
    const INTEREST: Interest = Interest::WHOLE;
    /// Options beside `capacity`.
    const OPTIONS: &'static [OptionDoc] = &[];
    /// What each player sends every tick.
    type Input: Input;
    /// What players ask for, reliably and in order; `()` for none.
    type Command: Message;
    /// What players are told; `()` for none.
    type Event: Message;
    /// What timers carry; `()` for none.
    type Timer: TimerPayload;

    /// Entities that a match of this capacity may have at the same time.
    fn max_entities(capacity: u32) -> u32 {
        capacity * 2 + 64
    }
    /// The match begins.
    fn open(&mut self, t: &Tick<Self>);
    /// Whether somebody may come in: asked of each join for which there is room, before [`Game::join`] or [`Game::spectate`]. The
    /// words of a refusal reach the client.
    fn admit(&self, _t: &Tick<Self>, _hello: &Hello<'_>) -> Result<(), Refusal> {
        Ok(())
    }
    /// A player comes.
    fn join(&mut self, t: &Tick<Self>, who: SessionId, hello: &Hello<'_>);
    /// A spectator comes: it has no inputs and no commands, is not among [`Tick::players`], and sees what a player sees who owns
    /// nothing, from where [`Tick::follow`] puts it.
    fn spectate(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
    /// A session's connection was lost. Its client may resume it within the grace period; if it does not, [`Game::leave`] follows.
    fn dropped(&mut self, _t: &Tick<Self>, _who: SessionId) {}
    /// A session's client is there again, over another connection: after [`Game::dropped`], and only then.
    fn resumed(&mut self, _t: &Tick<Self>, _who: SessionId) {}
    /// A player or a spectator goes.
    fn leave(&mut self, t: &Tick<Self>, who: SessionId, why: Why);
    /// A player asks for something.
    fn command(&mut self, _t: &Tick<Self>, _who: SessionId, _command: &Self::Command) {}
    /// A timer is due.
    fn timer(&mut self, _t: &Tick<Self>, _what: Self::Timer) {}
    /// The world outside has answered a request, or will not: see [`Tick::ask`].
    fn answer(&mut self, _t: &Tick<Self>, _answer: &Answer<'_>) {}
    /// One tick.
    fn step(&mut self, t: &Tick<Self>);
}

/// The game as sessions see it, which know only its wire: `ringfort_client::Hub<Played<MyGame>>`. A program that plays uses
/// [`Client`](crate::client::Client).
#[derive(Debug)]
pub struct Played<G>(std::marker::PhantomData<G>);

impl<G: Game> ringfort_protocol::Wire for Played<G> {
    type Input = G::Input;
    type Command = G::Command;
    type Event = G::Event;

    fn schema() -> &'static ringfort_protocol::schema::Schema {
        Description::schema_of::<G>()
    }
}
