//! Who is yet to be told of a zone's commit.
//!
//! A battle's clients are served in pieces, and what has arrived is taken in between them: thousands of snapshots one after the other
//! would let inputs pile up in the socket. Who was not served before the next commit is served first then.

use std::collections::BTreeMap;

use ringfort_protocol::driver::ConnId;

/// A turn around the sessions of a zone.
#[derive(Debug, Default)]
pub struct Round {
    /// The session slot to go on at.
    next: u32,
    /// How many are left.
    left: usize,
}

impl Round {
    /// Everybody is to be told of a new commit.
    pub fn begin(&mut self, sessions: usize) {
        self.left = sessions;
    }

    /// Whether everybody was told.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// The next one.
    pub fn take(&mut self, sessions: &BTreeMap<u32, ConnId>) -> Option<(u32, ConnId)> {
        self.left = self.left.checked_sub(1)?;
        let (slot, id) = sessions.range(self.next..).next().or_else(|| sessions.iter().next())?;
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
        std::iter::from_fn(|| round.take(sessions)).take(most).map(|(slot, _)| slot).collect()
    }

    #[test]
    fn everybody_is_served_once_a_commit_and_who_was_late_comes_first() {
        let all = sessions(&[2, 5, 7, 9]);
        let mut round = Round::default();
        assert!(round.is_over());
        round.begin(all.len());
        assert_eq!(take(&mut round, &all, 3), [2, 5, 7]);
        round.begin(all.len());
        assert_eq!(take(&mut round, &all, 9), [9, 2, 5, 7]);
        assert!(round.is_over());
    }

    #[test]
    fn who_leaves_meanwhile_is_passed_over_and_nobody_is_served_for_ever() {
        let mut round = Round::default();
        round.begin(4);
        assert_eq!(take(&mut round, &sessions(&[1, 2, 3, 4]), 2), [1, 2]);
        assert_eq!(take(&mut round, &sessions(&[1, 4]), 9), [4, 1]);
        round.begin(2);
        assert_eq!(take(&mut round, &sessions(&[]), 9), [0u32; 0]);
        assert!(round.take(&sessions(&[1])).is_some() && round.is_over());
    }
}
