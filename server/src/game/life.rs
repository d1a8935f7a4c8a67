//! A match's life as the game leads it: whom it admits, when it starts, what it is about, what its spectators see.

use std::cell::{Cell, RefCell};

use ringfort_protocol::{Entity, SessionId};
use ringfort_shm_state::layout::ZoneLife;
use ringfort_shm_state::limits::{LABEL_BYTES, REFUSAL_BYTES};
use ringfort_shm_state::segment::{cut, padded, unpadded};
use zerocopy::FromZeros;

use super::{Game, Tick};

/// Why a game does not admit somebody, in its own words: they reach the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal with a sentence for the player, cut to 96 bytes.
    pub fn new(words: impl Into<String>) -> Self {
        let mut words = words.into();
        words.truncate(cut(&words, REFUSAL_BYTES).len());
        Self(words)
    }

    /// The sentence.
    pub fn words(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Refusal {
    fn from(words: &str) -> Self {
        Self::new(words)
    }
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Self::new(words)
    }
}

/// What a tick has of its zone's life.
pub(crate) struct Life {
    /// As it will be committed.
    pub(crate) row: Cell<ZoneLife>,
    /// Where sessions want to look from: session, entity.
    pub(crate) follows: RefCell<Vec<(SessionId, Entity)>>,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self { row: Cell::new(ZoneLife::new_zeroed()), follows: RefCell::default() }
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut ZoneLife) -> R) -> R {
        let mut row = self.row.get();
        let result = change(&mut row);
        self.row.set(row);
        result
    }
}

impl<G: Game> Tick<G> {
    /// Lets no new players in from here on, as when a round has begun: their joins are refused with `MatchStarted`, and whoever
    /// wants any match gets another. Players and spectators that are in stay, and spectators still come.
    pub fn lock(&self) {
        self.life.change(|life| life.locked = 1);
    }

    /// Lets new players in again.
    pub fn unlock(&self) {
        self.life.change(|life| life.locked = 0);
    }

    /// Whether no new players are let in.
    pub fn is_locked(&self) -> bool {
        self.life.row.get().locked != 0
    }

    /// Says what the match is about, as in `round 3, 2:1`: `ringfort matches list` shows it. Cut to 64 bytes.
    pub fn set_label(&self, label: &str) {
        self.life.change(|life| life.label = padded(cut(label, LABEL_BYTES)));
    }

    /// What the match is about, as set last; empty before.
    pub fn label(&self) -> String {
        unpadded(&self.life.row.get().label)
    }

    /// Moves where a session looks from to an entity, until the next such call: what is `near` that is what it sees. For a
    /// spectator it is the only way to see what is near something; a player looks from its own first entity otherwise.
    pub fn follow(&self, who: SessionId, entity: Entity) {
        self.life.follows.borrow_mut().push((who, entity));
    }
}
