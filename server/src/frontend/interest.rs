//! Which entities a client is told of: what is around it, what is its own, and no more than the nearest so many.
//!
//! It depends on the committed rows, on where the client looks from, and on what it was told of after the commit that it was served
//! last: what a client has it loses a little later than it would get it.

use ringfort_protocol::baseline::Baselines;
use ringfort_shm_state::layout::SessionRow;

use super::entity_view::EntityView;
use super::field::Field;
use super::marks::Marks;
use super::session::Live;
use super::zone_view::ZoneView;
use crate::limits::INTEREST_KEEPS;

/// An entity that a client is to be told of.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its index.
    pub index: u32,
    /// How far away it is, squared; not a number when the client or the entity has no position.
    pub distance_squared: f32,
    /// The least goes first when they are too many: by distance, what the client has counting as nearer; below zero what it is told of
    /// in any case.
    rank: f32,
}

/// Chooses for one client after the other, in the same memory.
#[derive(Default)]
pub struct Chooser {
    wanted: Vec<Wanted>,
    marks: Marks,
    ranks: Vec<(f32, u32)>,
}

/// What is told in any case.
const IN_ANY_CASE: f32 = -1.0;

impl Chooser {
    /// The entities that a client is to be told of, in the order of their indices.
    pub fn choose(&mut self, view: &ZoneView, live: &Live, row: &SessionRow) -> &[Wanted] {
        self.wanted.clear();
        match view.field() {
            None => self.all(view, live, row),
            Some(field) => {
                self.around(view, field, live, row);
                self.nearest(field.entities);
            }
        }
        &self.wanted
    }

    fn all(&mut self, view: &ZoneView, live: &Live, row: &SessionRow) {
        for (index, entity) in view.entities().iter().enumerate() {
            if entity.generation != 0 && entity.is_shown_to(live.session, row.blind_to) {
                let distance_squared = distance_squared(entity, live);
                self.wanted.push(Wanted { index: index as u32, distance_squared, rank: IN_ANY_CASE });
            }
        }
    }

    fn around(&mut self, view: &ZoneView, field: &Field, live: &Live, row: &SessionRow) {
        let entities = view.entities();
        let reach = f32::from_bits(row.reach);
        let radius = if reach > 0.0 && reach.is_finite() { reach } else { field.radius };
        let Self { wanted, marks, .. } = self;
        marks.reserve(entities.len());
        field.around(live.viewpoint, radius * INTEREST_KEEPS, row.blind_to, |index| marks.add(index));
        field.nowhere().iter().for_each(|index| marks.add(*index));
        view.owned_by(live.session).for_each(|index| marks.add(index));
        let followed = Some(row.entity_index).filter(|index| {
            entities.get(*index as usize).is_some_and(|e| e.generation == row.entity_generation && e.generation != 0)
        });
        followed.iter().for_each(|index| marks.add(*index));
        let mut had = Had { baselines: &live.baselines, place: 0 };
        let squared = radius * radius;
        marks.drain(|index| {
            let entity = &entities[index as usize];
            let whereabouts = entity.whereabouts();
            if !entity.is_shown_to(live.session, row.blind_to) {
                return;
            }
            let distance_squared = distance_squared(entity, live);
            let rank = match whereabouts {
                _ if entity.owner == live.session || followed == Some(index) => IN_ANY_CASE,
                None => IN_ANY_CASE,
                Some((x, y)) => {
                    let (dx, dy) = (x - live.viewpoint.x, y - live.viewpoint.y);
                    let away = dx * dx + dy * dy;
                    match had.has(index, entity.generation) {
                        true => away / (INTEREST_KEEPS * INTEREST_KEEPS),
                        false if away <= squared => away,
                        false => return,
                    }
                }
            };
            wanted.push(Wanted { index, distance_squared, rank });
        });
    }

    /// Leaves out all but the nearest so many of those that are not told in any case.
    fn nearest(&mut self, most: usize) {
        if self.wanted.len() <= most {
            return;
        }
        let Self { wanted, ranks, .. } = self;
        ranks.clear();
        ranks.extend(wanted.iter().filter(|one| one.rank >= 0.0).map(|one| (one.rank, one.index)));
        if ranks.len() <= most {
            return;
        }
        let by_rank = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        ranks.select_nth_unstable_by(most, by_rank);
        let first_out = ranks[most];
        wanted.retain(|one| by_rank(&(one.rank, one.index), &first_out).is_lt());
    }
}

/// Looks up, in the order of the indices, what a client was told of before.
struct Had<'b> {
    baselines: &'b Baselines,
    place: usize,
}

impl Had<'_> {
    #[inline]
    fn has(&mut self, index: u32, generation: u32) -> bool {
        while self.place < self.baselines.len() && self.baselines.index(self.place) < index {
            self.place += 1;
        }
        let is_there = self.place < self.baselines.len() && self.baselines.index(self.place) == index;
        is_there && self.baselines.seen(self.place, generation) != 0
    }
}

/// How far an entity's position is from where a client looks, squared; not a number when one of them has none.
#[inline]
fn distance_squared(entity: &EntityView, live: &Live) -> f32 {
    let (dx, dy) = (entity.x - live.viewpoint.x, entity.y - live.viewpoint.y);
    dx * dx + dy * dy
}
