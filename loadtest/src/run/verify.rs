//! `--verify`: at each tick that a client applies, what it has must be what was committed.
//!
//! Of each entity that the client has, a hash over the compared columns must be the one of the committed tick, and whatever is well within sight
//! must be there. A snapshot that has room left has put nothing off; of one that is full, what differs must at least have been so in a tick
//! before.

use std::hash::{DefaultHasher, Hash, Hasher};

use ringfort_client::{Session, Snapshot};
use ringfort_protocol::client_world::ClientWorld;
use ringfort_protocol::{Entity, Vec2};
use serde::{Deserialize, Serialize};

use super::bot::Game;
use super::truth::{Commit, Known, Truth};
use crate::limits::{SNAPSHOT_FULL_BYTES, TICKS_REMEMBERED, VERIFY_CROWD, VERIFY_MARGIN_M, VERIFY_UNKNOWN_MAX_PERCENT};

/// What was compared and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Verified {
    /// Snapshots that were compared.
    pub(crate) snapshots: u64,
    /// Snapshots whose hash over all that the client has is that of the committed tick.
    pub(crate) equal: u64,
    /// Snapshots that were full, or among a client's first, so that something may have been put off.
    pub(crate) full: u64,
    /// Entities that were compared.
    pub(crate) entities: u64,
    /// Entities of full snapshots that were as they had been in an earlier tick.
    pub(crate) put_off: u64,
    /// Entities that were otherwise than they should be.
    pub(crate) mismatches: u64,
    /// Entities well within sight that a client did not have.
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

    /// Compares what a client has after a snapshot with the world of its tick. One that `fills` may still lack something.
    pub(super) fn look(&mut self, truth: &Truth, session: &Session<Game>, snapshot: &Snapshot, fills: bool) {
        let Some(world) = session.world() else { return };
        let Some(commit) = truth.at(world.tick().0) else {
            self.unknown += 1;
            return;
        };
        let full = fills || snapshot.bytes >= SNAPSHOT_FULL_BYTES;
        self.snapshots += 1;
        self.full += u64::from(full);
        let (mut seen, mut committed) = (DefaultHasher::new(), DefaultHasher::new());
        for entity in world.entities() {
            let had = truth.as_seen(world, entity);
            let is = commit.get(entity).copied();
            hash(&mut seen, entity, &had);
            // Of what is out of sight a client may have less, but nothing else.
            hash(&mut committed, entity, &is.map_or(Known { generation: 0, ..had }, |is| in_common(&is, &had)));
            self.entity(truth, commit, entity, &had, full);
        }
        self.equal += u64::from(seen.finish() == committed.finish());
        if !full {
            self.all_there(truth, commit, session, world);
        }
    }

    fn entity(&mut self, truth: &Truth, commit: &Commit, entity: Entity, had: &Known, full: bool) {
        self.entities += 1;
        let is_of = |commit: &Commit| commit.get(entity).is_some_and(|is| in_common(is, had) == *had);
        if is_of(commit) {
            return;
        }
        let was = |back: u32| truth.at(commit.tick.saturating_sub(back)).is_some_and(is_of);
        if full && (1..TICKS_REMEMBERED as u32).any(was) {
            self.put_off += 1;
            return;
        }
        self.mismatches += 1;
        let is = commit.get(entity);
        self.first.get_or_insert_with(|| format!("tick {}: a client has {entity:?} as {had:?}, and it is {is:?}", commit.tick));
    }

    /// Everything well within sight must be there, with all that is seen from near.
    fn all_there(&mut self, truth: &Truth, commit: &Commit, session: &Session<Game>, world: &ClientWorld) {
        let Some(from) = session.view().mine().and_then(|me| commit.get(me)?.pos) else { return };
        let reach = truth.radius() - VERIFY_MARGIN_M;
        let is_near = |is: &Known| is.pos.is_some_and(|pos| is_within(pos - from, reach));
        // Of a crowd that is too large a client has the nearest only.
        if commit.rows.iter().filter(|is| is_near(is)).count() > VERIFY_CROWD {
            return;
        }
        for (index, is) in commit.rows.iter().enumerate().filter(|(_, is)| is_near(is)) {
            let has = world.entity_at(index as u32).is_some_and(|(entity, _)| {
                entity.generation == is.generation && truth.as_seen(world, entity).present == is.present
            });
            if !has {
                self.missing += 1;
                self.first.get_or_insert_with(|| {
                    format!("tick {}: a client at {from:?} does not have entity {index}, which is {is:?}", commit.tick)
                });
            }
        }
    }
}

fn is_within(way: Vec2, reach: f32) -> bool {
    way.dot(way) < reach * reach
}

/// What is, as far as the client has it.
fn in_common(is: &Known, had: &Known) -> Known {
    let mut common = *is;
    common.present &= had.present;
    for (at, word) in common.words.iter_mut().enumerate() {
        *word = if common.present >> at & 1 == 1 { *word } else { 0 };
    }
    common.pos = None;
    common
}

fn hash(hasher: &mut DefaultHasher, entity: Entity, known: &Known) {
    (entity.index, known.generation, known.present, known.words).hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_does_not_have_is_not_compared() {
        let is = Known { generation: 3, present: 0b11, words: [7, 9, 0, 0], pos: Some(Vec2::ZERO) };
        let had = Known { present: 0b10, words: [0, 9, 0, 0], pos: None, ..is };
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
