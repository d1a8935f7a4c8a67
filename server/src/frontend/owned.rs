//! Which entities each session owns, for those whose clients are told only of what is around them: their own they are told of anyway.

use super::entity_view::EntityView;

/// A list for each slot of the session table, threaded through the entities.
#[derive(Default)]
pub struct Owned {
    /// By session slot: one more than the first entity's index, 0 for none.
    first: Vec<u32>,
    /// By entity: one more than the next one's index of the same slot, 0 for none.
    next: Vec<u32>,
}

impl Owned {
    /// Makes the lists of a commit anew, in which there are so many sessions at most.
    pub fn rebuild(&mut self, entities: &[EntityView], sessions: u32) {
        self.first.clear();
        self.first.resize(sessions as usize, 0);
        self.next.clear();
        self.next.resize(entities.len(), 0);
        for (index, entity) in entities.iter().enumerate().rev().filter(|(_, e)| e.generation != 0 && e.owner != 0) {
            if let Some(first) = self.first.get_mut(entity.owner as u32 as usize) {
                self.next[index] = std::mem::replace(first, index as u32 + 1);
            }
        }
    }

    /// The living entities of a session, in the order of their indices.
    pub fn by<'e>(&'e self, session: u64, entities: &'e [EntityView]) -> impl Iterator<Item = u32> + 'e {
        let first = self.first.get(session as u32 as usize).copied().unwrap_or(0);
        let of_slot = std::iter::successors(first.checked_sub(1), |index| self.next[*index as usize].checked_sub(1));
        of_slot.filter(move |index| entities[*index as usize].owner == session)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entity_view::NOBODY;
    use super::*;

    #[test]
    fn a_slot_s_lists_are_apart_by_session() {
        let owned = |owner: u64| EntityView { generation: 1, owner, ..NOBODY };
        let (ada, bob) = (1 << 32 | 2, 5 << 32 | 2);
        let dead = EntityView { generation: 0, ..owned(ada) };
        let entities = [owned(ada), owned(0), owned(bob), dead, owned(ada), owned(1 << 32 | 9)];
        let mut lists = Owned::default();
        lists.rebuild(&entities, 4);
        assert_eq!(lists.by(ada, &entities).collect::<Vec<_>>(), [0, 4]);
        assert_eq!(lists.by(bob, &entities).collect::<Vec<_>>(), [2]);
        assert_eq!(lists.by(1 << 32 | 3, &entities).count(), 0);
        assert_eq!(lists.by(1 << 32 | 9, &entities).count(), 0, "no such slot");
    }
}
