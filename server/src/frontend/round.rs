//! Who is yet to be told of a zone's commit, and when.
//!
//! A battle's clients are served in pieces, and what has arrived is taken in between them: thousands of snapshots one after the other
//! would let inputs pile up in the socket. The pieces are spread over a part of the tick, so that neither the network nor who plays many of the clients
//! gets all of them in one burst. Who was not served before the next commit is served first then.

use std::collections::BTreeMap;

use ringfort_protocol::driver::ConnId;

use crate::limits::{AT_ONCE_CLIENTS, SPREAD_SHARE, SPREAD_SLOTS, SPREAD_US_MAX};

/// A turn around the sessions of a zone.
#[derive(Debug, Default)]
pub struct Round {
    /// The session slot to go on at.
    next: u32,
    /// Where this turn began, and whether it has passed the last slot since: it does not go past its beginning.
    first: u32,
    is_around: bool,
    /// How many are to be told, and how many of them are left.
    all: usize,
    left: usize,
    begun_us: u64,
    /// How long it is to take; 0 for as long as it takes.
    spread_us: u64,
}

impl Round {
    /// So many are to be told of a new commit of a zone whose ticks are so far apart.
    pub fn begin(&mut self, sessions: usize, now_us: u64, period_us: u32) {
        (self.all, self.left, self.begun_us) = (sessions, sessions, now_us);
        (self.first, self.is_around) = (self.next, false);
        let spread = (u64::from(period_us) / SPREAD_SHARE).min(SPREAD_US_MAX);
        self.spread_us = if sessions <= AT_ONCE_CLIENTS { 0 } else { spread };
    }

    /// Whether everybody was told.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// For how long it is spread on purpose.
    pub fn spread_us(&self) -> u64 {
        self.spread_us
    }

    /// Everybody is to be told at once.
    pub fn hurry(&mut self) {
        self.spread_us = 0;
    }

    /// When the next one is to be told.
    pub fn due_us(&self) -> u64 {
        let told = (self.all - self.left) as u64;
        self.begun_us + self.spread_us * (told * SPREAD_SLOTS / self.all.max(1) as u64) / SPREAD_SLOTS
    }

    /// The next one, if it is time. However many leave meanwhile, nobody is told of a commit twice: its records would be taken for ones of
    /// the snapshot that the client has, and acknowledged with it.
    pub fn take(&mut self, now_us: u64, sessions: &BTreeMap<u32, ConnId>) -> Option<(u32, ConnId)> {
        if self.is_over() || self.due_us() > now_us {
            return None;
        }
        self.left -= 1;
        let mut found = if self.is_around { None } else { sessions.range(self.next..).next() };
        if found.is_none() {
            let from = if std::mem::replace(&mut self.is_around, true) { self.next } else { 0 };
            found = sessions.range(from..self.first).next();
        }
        let Some((slot, id)) = found else {
            self.left = 0;
            return None;
        };
        self.next = slot.wrapping_add(1);
        Some((*slot, *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(slots: &[u32]) -> BTreeMap<u32, ConnId> {
        slots.iter().map(|slot| (*slot, ConnId { index: *slot, generation: 1 })).collect()
    }

    fn take(round: &mut Round, sessions: &BTreeMap<u32, ConnId>, most: usize) -> Vec<u32> {
        std::iter::from_fn(|| round.take(0, sessions)).take(most).map(|(slot, _)| slot).collect()
    }

    #[test]
    fn everybody_is_served_once_a_commit_and_who_was_late_comes_first() {
        let all = sessions(&[2, 5, 7, 9]);
        let mut round = Round::default();
        assert!(round.is_over());
        round.begin(all.len(), 0, 100_000);
        assert_eq!(take(&mut round, &all, 3), [2, 5, 7]);
        round.begin(all.len(), 0, 100_000);
        assert_eq!(take(&mut round, &all, 9), [9, 2, 5, 7]);
        assert!(round.is_over());
    }

    #[test]
    fn who_leaves_meanwhile_is_passed_over_and_nobody_is_served_for_ever() {
        let mut round = Round::default();
        round.begin(4, 0, 100_000);
        assert_eq!(take(&mut round, &sessions(&[1, 2, 3, 4]), 2), [1, 2]);
        assert_eq!(take(&mut round, &sessions(&[1, 4]), 9), [4], "the first one was told of this commit");
        assert!(round.is_over());
        round.begin(2, 0, 100_000);
        assert_eq!(take(&mut round, &sessions(&[1, 4]), 1), [1]);
        round.begin(2, 0, 100_000);
        assert_eq!(take(&mut round, &sessions(&[1, 2]), 9), [2, 1]);
        round.begin(2, 0, 100_000);
        assert_eq!(take(&mut round, &sessions(&[]), 9), [0u32; 0]);
        assert!(round.is_over(), "nobody is there");
    }

    #[test]
    fn nobody_is_told_twice_of_a_commit_whoever_leaves_meanwhile() {
        let mut random = 1u64;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for _ in 0..500 {
            let mut here: Vec<u32> = (0..2 + draw(20) as u32).collect();
            let mut round = Round::default();
            for commit in 0..4 {
                let mut told = Vec::new();
                round.begin(here.len(), 0, 100_000);
                while let Some((slot, _)) = round.take(0, &sessions(&here)) {
                    told.push(slot);
                    if draw(4) == 0 && here.len() > 1 {
                        here.remove(draw(here.len()));
                    }
                }
                assert!(round.is_over());
                assert!(here.iter().all(|slot| told.contains(slot)), "commit {commit}: {told:?} of {here:?}");
                let once: std::collections::BTreeSet<u32> = told.iter().copied().collect();
                assert_eq!(once.len(), told.len(), "commit {commit}: {told:?}");
            }
        }
    }

    #[test]
    fn thousands_are_told_slot_by_slot_and_a_few_at_once() {
        let slots: Vec<u32> = (0..1_000).collect();
        let all = sessions(&slots);
        let mut round = Round::default();
        round.begin(AT_ONCE_CLIENTS, 5, 100_000);
        assert_eq!((round.due_us(), round.spread_us()), (5, 0));
        round.begin(all.len(), 7_000, 100_000);
        let spread_us = 100_000 / SPREAD_SHARE;
        let mut told = Vec::new();
        while !round.is_over() {
            let now_us = round.due_us();
            let piece = std::iter::from_fn(|| round.take(now_us, &all)).count();
            told.push((now_us - 7_000, piece));
        }
        let slot = |n: u64| (spread_us * n / SPREAD_SLOTS, 1_000 / SPREAD_SLOTS as usize);
        assert_eq!(told, (0..SPREAD_SLOTS).map(slot).collect::<Vec<_>>());
        // One that comes late makes up for it.
        round.begin(all.len(), 0, 100_000);
        assert_eq!(std::iter::from_fn(|| round.take(spread_us, &all)).count(), 1_000);
    }
}
