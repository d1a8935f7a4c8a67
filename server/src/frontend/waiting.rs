//! Who waits for room in any match, in the order in which they came.
//!
//! All who want to play wait for the same places, so when there is none for the first of them there is none for the others; the same
//! holds for those who want to watch, who have places of their own. So there are two queues, and neither is behind the other.

use std::collections::VecDeque;
use std::time::Instant;

use ringfort_protocol::control::Code;
use ringfort_protocol::driver::ConnId;
use ringfort_protocol::limits::MAX_CONNECTIONS;

/// Connections that want any match while all are full, and until when.
#[derive(Default)]
pub struct Waiting {
    players: VecDeque<(ConnId, Instant)>,
    spectators: VecDeque<(ConnId, Instant)>,
}

impl Waiting {
    /// Lets a connection wait behind the others of its kind.
    pub fn add(&mut self, id: ConnId, spectate: bool, until: Instant) {
        let queue = if spectate { &mut self.spectators } else { &mut self.players };
        if queue.len() < MAX_CONNECTIONS {
            queue.push_back((id, until));
        }
    }

    /// Takes the next connection that has waited enough, for a place or for too long. `look` finds a place for one, and says nothing of
    /// one that waits no more.
    pub fn next<P>(
        &mut self,
        now: Instant,
        mut look: impl FnMut(ConnId) -> Option<Result<P, Code>>,
    ) -> Option<(ConnId, Result<P, Code>)> {
        for queue in [&mut self.players, &mut self.spectators] {
            while let Some((id, until)) = queue.front().copied() {
                let found = look(id);
                if matches!(found, Some(Err(_))) && now < until {
                    break;
                }
                queue.pop_front();
                if let Some(found) = found {
                    return Some((id, found));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn id(index: u32) -> ConnId {
        ConnId { index, generation: 1 }
    }

    #[test]
    fn nobody_waits_for_a_place_behind_those_who_want_another_kind() {
        for players_first in [true, false] {
            let (now, mut waiting) = (Instant::now(), Waiting::default());
            let until = now + Duration::from_secs(2);
            for (index, spectate) in [(1, !players_first), (2, players_first)] {
                waiting.add(id(index), spectate, until);
            }
            // Only the second kind has room.
            let look = |at: ConnId| Some(if at == id(2) { Ok("room") } else { Err(Code::MatchFull) });
            assert_eq!(waiting.next(now, look), Some((id(2), Ok("room"))));
            assert_eq!(waiting.next(now, look), None);
            assert_eq!(waiting.next(until, look), Some((id(1), Err(Code::MatchFull))));
            assert_eq!(waiting.next(until, look), None);
        }
    }

    #[test]
    fn who_came_first_gets_the_place_and_who_has_gone_is_passed_over() {
        let (now, mut waiting) = (Instant::now(), Waiting::default());
        (1..=4).for_each(|index| waiting.add(id(index), false, now + Duration::from_secs(index.into())));
        let mut asked = Vec::new();
        let mut look = |at: ConnId| {
            asked.push(at.index);
            (at != id(1)).then_some(if at == id(2) { Ok(()) } else { Err(Code::MatchFull) })
        };
        assert_eq!(waiting.next(now, &mut look), Some((id(2), Ok(()))));
        assert_eq!(waiting.next(now, &mut look), None);
        assert_eq!(asked, [1, 2, 3], "when there is none for the third there is none for the fourth");
    }
}
