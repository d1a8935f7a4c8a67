//! Who is told of what, as the game has said in this tick: into the rows of entities and sessions, with the tick's commit.

use ringfort_shm_state::layout::SessionRow;

use super::Zone;
use crate::game::Game;

impl<G: Game> Zone<G> {
    /// Writes what the game has said of groups and distances. What is said of who is not there counts for nothing.
    pub(super) fn set_sights(&mut self) {
        let sights = &self.tick.sights;
        for (entity, groups) in sights.shown.borrow_mut().drain(..) {
            self.bound.shared.entities.borrow_mut().hide(entity.index, entity.generation, !groups.bits());
        }
        let sessions = &mut self.bound.sessions;
        // A row that says so already is not written: that would copy its page.
        let mut change = |id: u64, differs: &dyn Fn(&SessionRow) -> bool, change: &dyn Fn(&mut SessionRow)| {
            if sessions.get(id as u32).is_some_and(|row| row.id == id && differs(row)) {
                sessions.get_mut(id as u32).into_iter().for_each(change);
            }
        };
        for (who, groups) in sights.sees.borrow_mut().drain(..) {
            let blind_to = !groups.bits();
            change(who.0, &|row| row.blind_to != blind_to, &|row| row.blind_to = blind_to);
        }
        for (who, distance) in sights.reach.borrow_mut().drain(..) {
            let reach = distance.to_bits();
            change(who.0, &|row| row.reach != reach, &|row| row.reach = reach);
        }
    }
}
