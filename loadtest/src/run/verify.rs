//! `--verify`: at each tick that a client applies, what it has must be what was committed.
//!
//! Of each entity that the client has, a hash over the compared columns must be the one of the committed tick, it must be one that the client may
//! see, and whatever the client is to see must be there. A snapshot that has room left has put nothing off; of one that is full, what it does not
//! speak of may be as it was in a tick before. Whatever is not asked for such a reason is counted.

use std::hash::{DefaultHasher, Hash, Hasher};

use ringfort_client::{Session, Snapshot};
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::{Entity, Vec2};
use serde::{Deserialize, Serialize};

use ringfort::limits::INTEREST_KEEPS;

use super::bot::Game;
use super::truth::{Commit, Known, Truth};
use crate::limits::{
    SNAPSHOT_FILLING_BYTES, SNAPSHOT_FULL_BYTES, SNAPSHOTS_TO_FILL, TICKS_REMEMBERED, VERIFY_MARGIN_M, VERIFY_UNKNOWN_MAX_PERCENT,
};

/// What was compared and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verified {
    /// Snapshots that were compared.
    pub(crate) snapshots: u64,
    /// Snapshots whose hash over all that the client has is that of the committed tick.
    pub(crate) equal: u64,
    /// Snapshots that were full, so that something may have been put off.
    pub(crate) full: u64,
    /// Snapshots of clients that nobody knows from where they look: what they see was not asked.
    pub(crate) blind: u64,
    /// Snapshots that came before anybody had looked which match their client is in; they are in no other figure.
    pub(crate) early: u64,
    /// Entities that were compared.
    pub(crate) entities: u64,
    /// Entities that full snapshots did not speak of and that were as they had been in an earlier tick.
    pub(crate) put_off: u64,
    /// Entities that were otherwise than they should be, somebody else's, or out of sight.
    pub(crate) mismatches: u64,
    /// Entities within sight that a client did not have.
    pub(crate) missing: u64,
    /// Snapshots whose tick could not be had any more.
    pub(crate) unknown: u64,
    /// The first that was wrong, in words.
    pub(crate) first: Option<String>,
}

impl Verified {
    /// Adds another process's.
    pub(crate) fn merge(&mut self, other: &Verified) {
        self.snapshots += other.snapshots;
        self.equal += other.equal;
        self.full += other.full;
        self.blind += other.blind;
        self.early += other.early;
        self.entities += other.entities;
        self.put_off += other.put_off;
        self.mismatches += other.mismatches;
        self.missing += other.missing;
        self.unknown += other.unknown;
        self.first = self.first.take().or_else(|| other.first.clone());
    }

    /// Whether nearly everything was compared and nothing was wrong.
    pub(crate) fn is_right(&self) -> bool {
        let unknown_max = self.snapshots as f64 * VERIFY_UNKNOWN_MAX_PERCENT / 100.0;
        self.snapshots > 0 && self.unknown as f64 <= unknown_max && self.mismatches == 0 && self.missing == 0
    }

    /// A snapshot came, the so manieth in its match, and nobody has looked yet which match that is. Those are a client's first.
    pub(super) fn came_early(&mut self, counts: bool, nth: u64) {
        let early = nth <= SNAPSHOTS_TO_FILL;
        self.early += u64::from(counts && early);
        self.unknown += u64::from(counts && !early);
    }

    /// Compares what a client has after a snapshot, the so manieth since it came or came back, with the world of its tick.
    pub(super) fn look(&mut self, truth: &Truth, session: &Session<Game>, snapshot: &Snapshot, nth: u64) {
        let Some(world) = session.world() else { return };
        let Some(commit) = truth.at(world.tick().0) else {
            self.unknown += 1;
            return;
        };
        let full = is_full(snapshot.bytes, nth);
        self.snapshots += 1;
        self.full += u64::from(full);
        let from = world.mine().find_map(|me| commit.get(me)).and_then(Known::place).filter(|_| !session.is_spectator());
        let look = Look { truth, commit, world, session: session.id().0, from, full, is_first: nth <= 1 };
        let (mut seen, mut committed) = (DefaultHasher::new(), DefaultHasher::new());
        for entity in world.entities() {
            let had = truth.as_seen(world, entity);
            let is = commit.get(entity).copied();
            hash(&mut seen, entity, &had);
            // Of what is out of sight a client may have less, but nothing else.
            hash(&mut committed, entity, &is.map_or(Known { generation: 0, ..had }, |is| in_common(&is, &had)));
            self.entity(&look, entity, &had);
        }
        self.equal += u64::from(seen.finish() == committed.finish());
        self.blind += u64::from(from.is_none());
        if !full {
            self.all_there(&look);
        }
    }

    fn entity(&mut self, look: &Look<'_>, entity: Entity, had: &Known) {
        self.entities += 1;
        let Some(fault) = look.fault(entity, had) else { return };
        if fault != Fault::Owner && look.full && !look.tells(entity.index) && look.was(entity, had) {
            self.put_off += 1;
            return;
        }
        self.mismatches += 1;
        let (tick, is) = (look.commit.tick, look.commit.get(entity));
        self.first.get_or_insert_with(|| {
            format!("tick {tick}: {fault:?}: a client at {:?} has {entity:?} as {had:?}, and it is {is:?}", look.from)
        });
    }

    /// All that is its own must be there, and what is within sight, with all that is to be seen from so far away.
    fn all_there(&mut self, look: &Look<'_>) {
        let Look { truth, commit, world, .. } = *look;
        let sight = look.sight();
        for &(index, away) in &sight.near {
            let is = &commit.rows[index as usize];
            let due = match is.pos {
                _ if is.owner == look.session => is.present,
                _ if !sight.holds(away) => continue,
                pos => is.present & truth.due(pos.and(away)).least,
            };
            let has = world.entity_at(index).filter(|(entity, _)| entity.generation == is.generation);
            if has.is_none_or(|(entity, _)| due & !truth.as_seen(world, entity).present != 0) {
                self.missing += 1;
                let (tick, from) = (commit.tick, look.from);
                self.first.get_or_insert_with(|| {
                    format!("tick {tick}: a client at {from:?} has {has:?} in place of entity {index}, which is {is:?}")
                });
            }
        }
    }
}

/// Whether something may have been put off for want of room. Clients that come in numbers are filled little by little.
fn is_full(bytes: usize, nth: u64) -> bool {
    bytes >= SNAPSHOT_FULL_BYTES || nth <= SNAPSHOTS_TO_FILL && SNAPSHOT_FILLING_BYTES.contains(&bytes)
}

/// A client after a snapshot, and the tick that it is compared with.
struct Look<'a> {
    truth: &'a Truth,
    commit: &'a Commit,
    world: &'a ClientWorld,
    session: u64,
    /// From where it looks.
    from: Option<Vec2>,
    full: bool,
    /// Whether the snapshot is its first: then all counts as new to it.
    is_first: bool,
}

/// What is wrong with an entity that a client has.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// It is no more, or it is otherwise.
    Otherwise,
    /// It belongs to somebody else than the client was told.
    Owner,
    /// It is too far away, or has columns that the client may not see.
    OutOfSight,
}

impl Look<'_> {
    fn fault(&self, entity: Entity, had: &Known) -> Option<Fault> {
        let Some(is) = self.commit.get(entity).filter(|is| in_common(is, had) == *had) else { return Some(Fault::Otherwise) };
        let (own, mine) = (is.owner == self.session, self.world.entity_at(entity.index).is_some_and(|(_, mine)| mine));
        if own != mine {
            return Some(Fault::Owner);
        }
        let from = self.from.filter(|_| !own)?;
        let hidden = had.present & !self.truth.due(is.pos.map(|pos| away(from, pos))).most != 0;
        let sight = self.truth.interest().map_or(f32::INFINITY, |(radius, _)| radius * INTEREST_KEEPS + VERIFY_MARGIN_M);
        (hidden || is.place().is_some_and(|place| away(from, place) > sight)).then_some(Fault::OutOfSight)
    }

    /// Whether the snapshot itself has a record of an entity: then it has all of it as it is.
    fn tells(&self, index: u32) -> bool {
        !self.is_first && self.world.touched().iter().any(|touched| touched.index == index)
    }

    /// Whether an entity was so in a tick before, or is.
    fn was(&self, entity: Entity, had: &Known) -> bool {
        let is_of = |commit: &Commit| commit.get(entity).is_some_and(|is| in_common(is, had) == *had);
        let was = |back: u32| self.truth.at(self.commit.tick.saturating_sub(back)).is_some_and(is_of);
        (0..TICKS_REMEMBERED as u32).any(was)
    }

    /// What the client is to have, and how far away all are that it may be told of: in one pass, since this is done for every snapshot.
    fn sight(&self) -> Sight {
        let (radius, most) = self.truth.interest().unwrap_or((f32::INFINITY, usize::MAX));
        let mut sight = Sight { radius, most, near: Vec::new(), ways: Vec::new() };
        for (index, is) in self.commit.rows.iter().enumerate().filter(|(_, is)| is.generation != 0) {
            let away = self.from.zip(is.place()).map(|(from, place)| away(from, place));
            if is.owner == self.session {
                sight.near.push((index as u32, away));
            } else if self.from.is_some() && away.is_none_or(|away| away <= radius * INTEREST_KEEPS + VERIFY_MARGIN_M) {
                sight.near.push((index as u32, away));
                sight.ways.extend(away);
            }
        }
        if sight.ways.len() > most {
            sight.ways.sort_unstable_by(f32::total_cmp);
        }
        sight
    }
}

/// How far a client sees, and what is there.
struct Sight {
    radius: f32,
    /// Of how many others it is told at most.
    most: usize,
    /// Indices of all that it may be told of, and how far away each is if it has a place.
    near: Vec<(u32, Option<f32>)>,
    /// How far away the others of them are, in order.
    ways: Vec<f32>,
}

impl Sight {
    /// Whether a client is told of whoever is so far away, whatever it had before: of a crowd that is too large it has the nearest, and what it
    /// had counts as a little nearer. Who has never been anywhere is told to all.
    fn holds(&self, away: Option<f32>) -> bool {
        let Some(away) = away else { return true };
        let nearer = || self.ways.partition_point(|way| *way <= away * INTEREST_KEEPS + VERIFY_MARGIN_M);
        away < self.radius - VERIFY_MARGIN_M && (self.ways.len() <= self.most || nearer() <= self.most)
    }
}

fn away(from: Vec2, place: Vec2) -> f32 {
    (place - from).length()
}

/// What is, as far as the client has it.
fn in_common(is: &Known, had: &Known) -> Known {
    let mut common = *is;
    common.present &= had.present;
    for (at, word) in common.words.iter_mut().enumerate() {
        *word = if common.present >> at & 1 == 1 { *word } else { 0 };
    }
    (common.pos, common.left, common.owner) = (None, None, 0);
    common
}

fn hash(hasher: &mut DefaultHasher, entity: Entity, known: &Known) {
    (entity.index, known.generation, known.present, known.words).hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::super::truth::NOBODY;
    use super::*;

    #[test]
    fn of_a_crowd_the_nearest_must_be_there() {
        let sight = Sight { radius: 80.0, most: 3, near: Vec::new(), ways: vec![10.0, 20.0, 40.0, 43.0, 79.0] };
        let holds = |away| sight.holds(Some(away));
        assert_eq!(
            [10.0, 20.0, 40.0, 79.0].map(holds),
            [true, true, false, false],
            "the client may have had who is 43 m away, and keep it"
        );
        let few = Sight { most: 9, ..sight };
        assert_eq!([40.0, 79.9, 79.96].map(|away| few.holds(Some(away))), [true, true, false]);
        assert!(few.holds(None), "who was never anywhere");
    }

    #[test]
    fn a_snapshot_is_full_at_its_bound_and_while_clients_are_filled_at_theirs() {
        let filling = *SNAPSHOT_FILLING_BYTES.end();
        assert!(is_full(SNAPSHOT_FULL_BYTES, 1_000) && !is_full(SNAPSHOT_FULL_BYTES - 1, 1));
        assert!(is_full(filling, SNAPSHOTS_TO_FILL) && !is_full(filling, SNAPSHOTS_TO_FILL + 1) && !is_full(filling + 1, 1));
        assert!(!is_full(100, 1));
    }

    #[test]
    fn what_a_client_does_not_have_is_not_compared() {
        let is = Known { generation: 3, present: 0b11, words: [7, 9, 0, 0], pos: Some(Vec2::ZERO), owner: 5, ..NOBODY };
        let had = Known { generation: 3, present: 0b10, words: [0, 9, 0, 0], ..NOBODY };
        assert_eq!(in_common(&is, &had), had);
        let other = Known { words: [0, 8, 0, 0], ..had };
        assert_ne!(in_common(&is, &other), other);
        let more = Known { present: 0b110, words: [0, 9, 1, 0], ..had };
        assert_ne!(in_common(&is, &more), more, "a client has what there is not");
    }

    #[test]
    fn a_run_is_right_when_something_was_compared_and_nothing_was_wrong() {
        let right = Verified { snapshots: 2, equal: 2, ..Verified::default() };
        assert!(right.is_right() && !Verified::default().is_right());
        let mut all = right.clone();
        all.merge(&Verified { mismatches: 1, first: Some("x".into()), ..right });
        assert!(!all.is_right() && all.snapshots == 4 && all.first.as_deref() == Some("x"));
        let mostly = |unknown| Verified { snapshots: 1_000, unknown, ..Verified::default() };
        assert!(mostly(10).is_right() && !mostly(11).is_right(), "what could not be compared is not right for it");
        assert!(!Verified { missing: 1, ..mostly(0) }.is_right());
    }
}
