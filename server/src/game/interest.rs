//! Of which entities a client is told: how far away they may be, how many, and which the game shows to whom.
//!
//! What the game says of it lies in the committed rows of entities and sessions, and front-ends go by those alone: no code of the game
//! runs there.

use std::cell::RefCell;
use std::ops::{BitAnd, BitOr, Not};

use ringfort_protocol::{Entity, SessionId};

use super::{Game, Tick};
use crate::config;
use crate::limits::INTEREST_ENTITIES;

/// Of which entities each client is told, before the columns' own rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interest {
    radius: f32,
    entities: u32,
}

impl Interest {
    /// Of all entities of the match.
    pub const WHOLE: Self = Self { radius: f32::INFINITY, entities: u32::MAX };

    /// Of those within a distance of its own entity, at most 256 of them, the nearest. Of its own ones, of the one that it follows and
    /// of those that never had a position it is always told; one that has lost its position counts as where it was last.
    pub const fn within(radius: f32) -> Self {
        Self { radius, entities: INTEREST_ENTITIES }
    }

    /// At most so many, the nearest. In a match that can't have more entities than that, everybody is told of all of them.
    #[must_use]
    pub const fn at_most(self, entities: u32) -> Self {
        Self { entities, ..self }
    }

    /// With an operator's numbers in place of the game's; a number of entities alone means nothing where there is no radius.
    #[must_use]
    pub(crate) fn overridden(self, operator: config::Interest) -> Self {
        let game = match operator.radius {
            Some(radius) if self == Self::WHOLE => Self::within(radius as f32),
            Some(radius) => Self { radius: radius as f32, ..self },
            None => self,
        };
        match operator.entities {
            Some(entities) if game != Self::WHOLE => game.at_most(entities),
            _ => game,
        }
    }

    /// Radius and number of entities in a match that may have `max_entities`; nothing when everybody is told of all of them.
    pub fn in_match(self, max_entities: u32) -> Option<(f32, usize)> {
        let bounded = self.radius.is_finite() && self.entities < max_entities;
        bounded.then_some((self.radius.max(0.0), self.entities as usize))
    }

    /// Whether it goes by distance.
    pub(crate) fn has_radius(self) -> bool {
        self.radius.is_finite()
    }
}

/// A set of the 32 groups of a match: an entity is told only to sessions that share a group with it. Whoever the game says nothing of
/// is in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Groups(u32);

impl Groups {
    /// All groups: what an entity and a session begin with.
    pub const ALL: Self = Self(u32::MAX);
    /// No group: of an entity, only its owner is told.
    pub const NONE: Self = Self(0);

    /// One group.
    ///
    /// # Panics
    /// When the number is above 31: there are 32 groups.
    pub const fn only(group: u32) -> Self {
        assert!(group < u32::BITS, "there are 32 groups, 0 to 31");
        Self(1 << group)
    }

    /// From a bit each, the lowest being group 0.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// A bit each, the lowest being group 0.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for Groups {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Groups {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Groups {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// What a tick says of who is told what, in the order in which it was said.
#[derive(Default)]
pub(crate) struct Sights {
    pub(crate) shown: RefCell<Vec<(Entity, Groups)>>,
    pub(crate) sees: RefCell<Vec<(SessionId, Groups)>>,
    pub(crate) reach: RefCell<Vec<(SessionId, f32)>>,
}

impl<G: Game> Tick<G> {
    /// Has an entity told only to sessions that share one of these groups with it, until the next such call. Its owner is told of it in
    /// any case.
    pub fn show(&self, entity: Entity, groups: Groups) {
        self.sights.shown.borrow_mut().push((entity, groups));
    }

    /// Has a session told only of entities that share one of these groups with it, and of its own, until the next such call.
    pub fn sees(&self, who: SessionId, groups: Groups) {
        self.sights.sees.borrow_mut().push((who, groups));
    }

    /// Has a session told of entities up to this distance instead of the game's ([`Game::INTEREST`]), until the next such call; 0 for
    /// the game's again. How many they are at most stays the same, and columns that are `near` keep their own distance.
    pub fn reach(&self, who: SessionId, distance: f32) {
        let distance = if distance.is_finite() { distance.max(0.0) } else { 0.0 };
        self.sights.reach.borrow_mut().push((who, distance));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_changes_the_game_s_numbers_and_no_others() {
        let game = Interest::within(80.0).at_most(128);
        let operator = |radius, entities| config::Interest { radius, entities };
        assert_eq!(game.overridden(operator(None, None)), game);
        assert_eq!(game.overridden(operator(Some(50), None)), Interest::within(50.0).at_most(128));
        assert_eq!(game.overridden(operator(None, Some(9))), Interest::within(80.0).at_most(9));
        assert_eq!(Interest::WHOLE.overridden(operator(Some(50), None)), Interest::within(50.0));
        assert_eq!(Interest::WHOLE.overridden(operator(None, Some(9))), Interest::WHOLE);
    }

    #[test]
    fn a_small_match_is_told_whole() {
        let game = Interest::within(80.0).at_most(128);
        assert_eq!(game.in_match(128), None);
        assert_eq!(game.in_match(129), Some((80.0, 128)));
        assert_eq!(Interest::WHOLE.in_match(1 << 20), None);
    }
}
