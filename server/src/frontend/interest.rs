//! Which entities a client is told of: what is around it, what is its own, and no more than the nearest so many.
//!
//! It depends on the committed rows, on where the client looks from, and on what it was told of after the commit that it was served
//! last: what a client has it loses a little later than it would get it.

use ringfort_shm_state::layout::SessionRow;

use super::entity_view::EntityView;
use super::field::Field;
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
    /// By entity: the choice that has looked at it last.
    looked_at: Vec<u32>,
    choice: u32,
    /// Who is told of in any case, for one client.
    in_any_case: Vec<u32>,
    ranks: Vec<(f32, u32)>,
}

/// What is told in any case.
const IN_ANY_CASE: f32 = -1.0;

/// Newcomers among those around a client up to which they are put into their places one by one.
const FEW: usize = 8;

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

    /// First those that have a place already, which are nearly all and in their order, and then whoever is there besides.
    fn around(&mut self, view: &ZoneView, field: &Field, live: &Live, row: &SessionRow) {
        let entities = view.entities();
        let reach = f32::from_bits(row.reach);
        let radius = if reach > 0.0 && reach.is_finite() { reach } else { field.radius };
        let (inner, outer) = (radius * radius, radius * INTEREST_KEEPS * (radius * INTEREST_KEEPS));
        let followed = Some(row.entity_index).filter(|index| {
            entities.get(*index as usize).is_some_and(|e| e.generation == row.entity_generation && e.generation != 0)
        });
        self.begin(entities.len());
        let Self { wanted, looked_at, choice, in_any_case, .. } = self;
        let judge = |index: u32, had: bool| {
            let entity = &entities[index as usize];
            if entity.generation == 0 || !entity.is_shown_to(live.session, row.blind_to) {
                return None;
            }
            let (dx, dy) = (entity.x - live.viewpoint.x, entity.y - live.viewpoint.y);
            let away = dx * dx + dy * dy;
            let distance_squared = if entity.has_left { f32::NAN } else { away };
            let rank = match had {
                _ if entity.owner == live.session || followed == Some(index) || entity.x.is_nan() => IN_ANY_CASE,
                true if away <= outer => away / (INTEREST_KEEPS * INTEREST_KEEPS),
                false if away <= inner => away,
                _ => return None,
            };
            Some(Wanted { index, distance_squared, rank })
        };
        for place in 0..live.baselines.len() {
            let index = live.baselines.index(place);
            let Some(entity) = entities.get(index as usize) else { continue };
            looked_at[index as usize] = *choice;
            wanted.extend(judge(index, live.baselines.seen(place, entity.generation) != 0));
        }
        let sorted = wanted.len();
        let mut newcomer = |index: u32| {
            if std::mem::replace(&mut looked_at[index as usize], *choice) != *choice {
                wanted.extend(judge(index, false));
            }
        };
        field.around(live.viewpoint, radius, row.blind_to, &mut newcomer);
        in_any_case.clear();
        in_any_case.extend(view.owned_by(live.session).chain(followed).chain(field.nowhere().iter().copied()));
        in_any_case.iter().for_each(|index| newcomer(*index));
        put_in_order(wanted, sorted);
    }

    /// Begins another choice.
    fn begin(&mut self, entities: usize) {
        self.choice = self.choice.wrapping_add(1);
        if self.choice == 0 {
            // Once in four thousand million times: what was looked at so long ago must not seem to have been just now.
            self.looked_at.fill(0);
            self.choice = 1;
        }
        if self.looked_at.len() < entities {
            self.looked_at.resize(entities, 0);
        }
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

/// Puts those behind the first so many, which are in the order of their indices, into their places.
fn put_in_order(wanted: &mut [Wanted], sorted: usize) {
    let newcomers = wanted.len() - sorted;
    if newcomers > FEW {
        return wanted.sort_unstable_by_key(|one| one.index);
    }
    for at in sorted..wanted.len() {
        let place = wanted[..at].partition_point(|one| one.index < wanted[at].index);
        wanted[place..=at].rotate_right(1);
    }
}

/// How far an entity's position is from where a client looks, squared; not a number when one of them has none.
#[inline]
fn distance_squared(entity: &EntityView, live: &Live) -> f32 {
    let (dx, dy) = (entity.x - live.viewpoint.x, entity.y - live.viewpoint.y);
    if entity.has_left { f32::NAN } else { dx * dx + dy * dy }
}
