//! The world as it is drawn: our own entity predicted, others between two snapshots, the rest as of the newest.

use std::time::Instant;

use ringfort_protocol::{Entity, SessionId, TickNo, View as Seen};

use super::predict::Prediction;
use super::stay::Stay;
use super::turns::Turns;
use crate::game::{Column, Component, Game};

/// The world at one moment, to look at.
///
/// Which value a column gives: where our own entity is predicted, the predicted one; else, if the column is `#[interp(..)]` in the
/// game's state, one between the two snapshots that are drawn, by the rule of [`Rewind`](crate::game::Rewind), so that the server sees
/// what we see; else that of the newest snapshot.
pub struct View<'c, G: Game> {
    latest: &'c G,
    tick: TickNo,
    older: &'c G,
    newer: &'c G,
    seen: Seen,
    now: Instant,
    stay: Option<&'c Stay<G>>,
}

impl<G: Game> Clone for View<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G: Game> Copy for View<'_, G> {}

impl<'c, G: Game> View<'c, G> {
    pub(crate) fn new(nothing: &'c G, stay: Option<&'c Stay<G>>, now: Instant) -> View<'c, G> {
        let latest = stay.and_then(|stay| stay.versions.latest()).unwrap_or(nothing);
        let seen = stay.map_or(Seen::default(), Stay::seen);
        let at = |tick: u32| stay.and_then(|stay| stay.versions.at(tick)).unwrap_or(latest);
        View {
            latest,
            tick: stay.map_or(TickNo(0), Stay::tick),
            older: at(seen.tick.0),
            newer: at(seen.tick.0 + u32::from(seen.span)),
            seen,
            now,
            stay,
        }
    }

    /// The newest snapshot's world: the game's own struct, with nothing predicted or blended, and nothing in it that the server keeps
    /// to itself. Empty before the first snapshot.
    pub fn latest(&self) -> &'c G {
        self.latest
    }

    /// The tick of the newest snapshot; 0 before the first.
    pub fn tick(&self) -> TickNo {
        self.tick
    }

    /// The two snapshots that others are drawn between, as our inputs say it.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// An entity's row as it is drawn; nothing when it is not.
    pub fn get<T: Component>(&self, entity: Entity, column: impl Fn(&G) -> &Column<T>) -> Option<T> {
        match self.own(column(self.latest)).row(entity) {
            Drawn::Row(value) => Some(value),
            Drawn::Not => None,
            Drawn::AsOthers => self.others(&column).0.row(entity),
        }
    }

    /// All rows of a column as they are drawn, in the order of the entities' indices; our own comes last if others are drawn at a moment
    /// that did not have it yet.
    pub fn each<T: Component, C: Fn(&G) -> &Column<T>>(&self, column: C) -> impl Iterator<Item = (Entity, T)> + use<'c, G, T, C> {
        let own = self.own(column(self.latest));
        let (others, older) = self.others(column);
        let late = own.value.filter(|(entity, _)| older.get(*entity).is_none());
        let drawn = older.iter().filter_map(move |(entity, _)| match own.row(entity) {
            Drawn::Row(value) => Some((entity, value)),
            Drawn::Not => None,
            Drawn::AsOthers => Some((entity, others.row(entity)?)),
        });
        drawn.chain(late)
    }

    /// The first entity that a session owns. Only our own session's entities are known.
    pub fn owned(&self, session: SessionId) -> Option<Entity> {
        self.all_owned(session).next()
    }

    /// All entities that a session owns, in the order of their indices. Only our own session's entities are known.
    pub fn all_owned(&self, session: SessionId) -> impl Iterator<Item = Entity> + use<'c, G> {
        let mine = self.stay.filter(|stay| stay.session == session).map_or(&[][..], |stay| stay.versions.mine());
        mine.iter().copied()
    }

    /// What a column has of our own entities, if it is predicted.
    fn own<T: Component>(&self, latest: &'c Column<T>) -> Own<'c, T> {
        let prediction = |stay: &'c Stay<G>| {
            let predicting = stay.predictions.iter().find(|prediction| prediction.column() == latest.index())?;
            let prediction = predicting.prediction().downcast_ref::<Prediction<T, G::Input>>()?;
            let value = prediction.drawn(self.now).map(|value| (prediction.entity(), value));
            Some(Own { mine: stay.versions.mine(), latest, value })
        };
        self.stay.and_then(prediction).unwrap_or(Own { mine: &[], latest, value: None })
    }

    /// How rows are drawn that are not predicted, and the column that says which there are.
    fn others<T: Component, C: Fn(&G) -> &Column<T>>(&self, column: C) -> (Others<'c, G, T, C>, &'c Column<T>) {
        let latest = column(self.latest);
        if latest.snap_over().is_none() {
            return (Others { between: Between { older: latest, newer: latest, alpha: 0.0 }, turns: None, column }, latest);
        }
        let (older, newer) = (column(self.older), column(self.newer));
        let between = Between { older, newer, alpha: f32::from(self.seen.alpha) / 256.0 };
        let turns = self.stay.map(|stay| (stay, stay.turns_of(latest.index()))).filter(|(_, turns)| turns.period() > 1);
        (Others { between, turns: turns.map(|(stay, turns)| (stay, turns, self.seen)), column }, older)
    }
}

/// Our own entities' rows of a column; nothing is ours if the column is not predicted.
struct Own<'c, T: Component> {
    mine: &'c [Entity],
    latest: &'c Column<T>,
    /// The predicted one.
    value: Option<(Entity, T)>,
}

enum Drawn<T> {
    Row(T),
    Not,
    AsOthers,
}

impl<T: Component> Own<'_, T> {
    fn row(&self, entity: Entity) -> Drawn<T> {
        match self.value {
            Some((own, value)) if own == entity => Drawn::Row(value),
            // Dead by the newest snapshot: we know better than the moment at which others are drawn.
            _ if is_among(self.mine, entity) && self.latest.get(entity).is_none() => Drawn::Not,
            _ => Drawn::AsOthers,
        }
    }
}

/// Whether an entity is one of these, which stand in the order of their indices.
fn is_among(mine: &[Entity], entity: Entity) -> bool {
    mine.binary_search_by_key(&entity.index, |own| own.index).is_ok_and(|at| mine[at] == entity)
}

/// Rows of a column that are not predicted.
struct Others<'c, G: Game, T: Component, C> {
    between: Between<'c, T>,
    /// What is needed to blend each entity between its own turns.
    turns: Option<(&'c Stay<G>, Turns, Seen)>,
    column: C,
}

struct Between<'c, T: Component> {
    older: &'c Column<T>,
    newer: &'c Column<T>,
    alpha: f32,
}

impl<'c, G: Game, T: Component, C: Fn(&G) -> &Column<T>> Others<'c, G, T, C> {
    fn row(&self, entity: Entity) -> Option<T> {
        let between = self.turns.and_then(|(stay, turns, seen)| self.between_turns(stay, turns, seen, entity));
        let Between { older, newer, alpha } = between.as_ref().unwrap_or(&self.between);
        older.between(newer, entity, *alpha)
    }

    /// The entity's last two changes around the drawn moment; nothing when they are not at hand.
    fn between_turns(&self, stay: &'c Stay<G>, turns: Turns, seen: Seen, entity: Entity) -> Option<Between<'c, T>> {
        let moment = f64::from(seen.tick.0) + f64::from(seen.span) * f64::from(seen.alpha) / 256.0;
        let before = turns.last(entity.index, moment as u32);
        let after = before.saturating_add(turns.period());
        // A turn whose snapshot was lost came with the next one.
        let older = stay.versions.from(before).filter(|version| version.tick().0 < after)?;
        let newer = stay.versions.from(after)?;
        let alpha = ((moment - f64::from(before)) / f64::from(turns.period())) as f32;
        let (older, newer) = ((self.column)(older.game()), (self.column)(newer.game()));
        // Only a row that the drawn moment has is drawn.
        older.get(entity).filter(|_| self.between.older.get(entity).is_some())?;
        Some(Between { older, newer, alpha: alpha.clamp(0.0, 1.0) })
    }
}
