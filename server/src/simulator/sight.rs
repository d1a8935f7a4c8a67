//! What each session is told of each entity of a tick, worked out anew from the rows: by looking at all of them, one by one.

use ringfort_protocol::schema::Sync;
use ringfort_shm_state::layout::SessionRow;

use super::oracle::Being;
use crate::game::Description;
use crate::limits::INTEREST_KEEPS;

/// Of each entity by its index the generation and the wire columns that a session was told of; no columns for nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight(Vec<(u32, u32)>);

impl Sight {
    /// Columns of an entity.
    pub(super) fn mask(&self, index: usize, generation: u32) -> u32 {
        self.0.get(index).filter(|(of, _)| *of == generation).map_or(0, |(_, mask)| *mask)
    }

    /// What a session is told that looks from a point and was told of `before` at the tick that it was served last.
    pub(super) fn of(is: &Description, beings: &[Being], row: &SessionRow, from: (f32, f32), before: &Sight) -> Sight {
        let keeps = INTEREST_KEEPS * INTEREST_KEEPS;
        let squared = |at: (f32, f32)| {
            let (dx, dy) = (at.0 - from.0, at.1 - from.1);
            dx * dx + dy * dy
        };
        let mut told: Vec<(f32, usize)> = Vec::new();
        for (index, being) in beings.iter().enumerate().filter(|(_, being)| being.generation != 0) {
            let own = being.owner == row.id;
            let followed = (row.entity_index as usize, row.entity_generation) == (index, being.generation);
            let share_a_group = !being.hidden_from & !row.blind_to != 0;
            if !own && !share_a_group {
                continue;
            }
            let (Some((radius, _)), false) = (is.interest.in_match(is.limits.max_entities), own || followed) else {
                told.push((-1.0, index));
                continue;
            };
            let radius = if row.reach == 0 { radius } else { f32::from_bits(row.reach) };
            let Some(place) = being.position.or(being.left) else {
                told.push((-1.0, index));
                continue;
            };
            let (away, outer) = (squared(place), radius * INTEREST_KEEPS);
            let had = before.mask(index, being.generation) != 0;
            if had && away <= outer * outer {
                told.push((away / keeps, index));
            } else if !had && away <= radius * radius {
                told.push((away, index));
            }
        }
        told.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let most = is.interest.in_match(is.limits.max_entities).map_or(usize::MAX, |(_, most)| most);
        let surely = told.partition_point(|(rank, _)| *rank < 0.0);
        told.truncate(surely.saturating_add(most));
        let mut sight = vec![(0, 0); beings.len()];
        for (_, index) in told {
            let being = &beings[index];
            let seen = before.mask(index, being.generation);
            let away = being.position.map_or(f32::NAN, squared);
            sight[index] = (being.generation, is.columns_of(being, row.id, away, seen));
        }
        Sight(sight)
    }
}

impl Description {
    /// Wire columns of an entity that a session sees from so far away, squared, who saw these before: each by its own rule.
    pub(super) fn columns_of(&self, being: &Being, session: u64, away: f32, seen: u32) -> u32 {
        let sync = |wire: usize| self.schema.columns[usize::from(self.wire.columns[wire].schema_index)].sync;
        let own = being.owner == session;
        let mut mask = 0;
        for wire in 0..self.wire.columns.len() {
            let sees = match sync(wire) {
                Sync::None => false,
                Sync::All => true,
                Sync::Owner => own,
                Sync::Near(radius) => {
                    // Columns of one distance come and go together.
                    let had = (0..self.wire.columns.len()).any(|w| seen >> w & 1 == 1 && sync(w) == Sync::Near(radius));
                    let keeps = if had { INTEREST_KEEPS * INTEREST_KEEPS } else { 1.0 };
                    own || away <= radius * radius * keeps
                }
            };
            mask |= u32::from(sees) << wire;
        }
        mask & being.present
    }
}
