//! Where all entities of a commit are: a uniform grid, rebuilt once a commit and asked once for each client.
//!
//! The entities of a cell lie side by side with all that a query looks at, and the cells of a row one behind the other, so a query is a
//! scan of a few runs of memory.

use ringfort_protocol::Vec2;

use super::entity_view::EntityView;
use crate::limits::{INTEREST_CELLS_MIN, INTEREST_CELLS_PER_ENTITY, INTEREST_CELLS_PER_RADIUS};

/// The grid of a match in which clients are told only of what is around them.
pub struct Field {
    /// How far away an entity may be.
    pub radius: f32,
    /// How many are told at most.
    pub entities: usize,
    origin: Vec2,
    /// Side of a cell.
    side: f32,
    /// How far beyond the circle a query looks at cells, so that no rounding leaves one out.
    slack: f32,
    width: usize,
    height: usize,
    /// Where in `spots` each cell begins, row by row, and the end of the last.
    starts: Vec<u32>,
    spots: Vec<Spot>,
    /// Entities that never had a position.
    nowhere: Vec<u32>,
    /// Cell of each entity, while the grid is made.
    cells: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Spot {
    x: f32,
    y: f32,
    index: u32,
    hidden_from: u32,
}

/// In place of a cell: the entity is in none.
const NO_CELL: u32 = u32::MAX;

impl Field {
    /// An empty grid.
    pub fn new(radius: f32, entities: usize) -> Self {
        Self {
            radius,
            entities,
            origin: Vec2::ZERO,
            side: 1.0,
            slack: 0.0,
            width: 0,
            height: 0,
            starts: vec![0],
            spots: Vec::new(),
            nowhere: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Puts the entities of a commit into their cells.
    pub fn rebuild(&mut self, entities: &[EntityView]) {
        self.nowhere.clear();
        let (mut low, mut high) = (Vec2::new(f32::INFINITY, f32::INFINITY), Vec2::new(f32::NEG_INFINITY, f32::NEG_INFINITY));
        for (index, entity) in entities.iter().enumerate().filter(|(_, entity)| entity.generation != 0) {
            match entity.whereabouts() {
                Some((x, y)) => {
                    low = Vec2::new(low.x.min(x), low.y.min(y));
                    high = Vec2::new(high.x.max(x), high.y.max(y));
                }
                None => self.nowhere.push(index as u32),
            }
        }
        self.measure(low, high, entities.len());
        self.starts.clear();
        self.starts.resize(self.width * self.height + 1, 0);
        self.cells.clear();
        let mut placed = 0;
        for entity in entities {
            let at = entity.whereabouts().filter(|_| entity.generation != 0);
            let cell = at.map_or(NO_CELL, |(x, y)| self.cell(x, y));
            self.cells.push(cell);
            if cell != NO_CELL {
                self.starts[cell as usize] += 1;
                placed += 1;
            }
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        // From the last to the first, so that each cell's start ends up where its first entity is, and they lie in their order.
        self.spots.resize(placed, Spot { x: 0.0, y: 0.0, index: 0, hidden_from: 0 });
        for (index, entity) in entities.iter().enumerate().rev() {
            let cell = self.cells[index];
            if let Some((x, y)) = entity.whereabouts().filter(|_| cell != NO_CELL) {
                let start = &mut self.starts[cell as usize];
                *start -= 1;
                self.spots[*start as usize] = Spot { x, y, index: index as u32, hidden_from: entity.hidden_from };
            }
        }
    }

    /// Chooses the cells for a world of this extent: of a share of the radius, unless that would be too many.
    fn measure(&mut self, low: Vec2, high: Vec2, entities: usize) {
        let most = (entities * INTEREST_CELLS_PER_ENTITY).max(INTEREST_CELLS_MIN);
        if !(low.x <= high.x && low.y <= high.y) {
            (self.width, self.height) = (0, 0);
            return;
        }
        let (wide, high) = (high.x - low.x, high.y - low.y);
        // Along one axis alone there must not be too many either, and a side of nothing would make infinitely many.
        let least = wide.max(high) / (most / 2) as f32;
        let mut side = (self.radius / INTEREST_CELLS_PER_RADIUS).max(least).max(f32::MIN_POSITIVE);
        let cells = |side: f32| ((wide / side) as usize + 1) * ((high / side) as usize + 1);
        while cells(side) > most {
            side *= 1.5;
        }
        let farthest = [low.x, low.y, low.x + wide, low.y + high].into_iter().fold(0.0, |far: f32, axis| far.max(axis.abs()));
        (self.origin, self.side, self.slack) = (low, side, side * 1e-3 + farthest * 8.0 * f32::EPSILON);
        (self.width, self.height) = ((wide / side) as usize + 1, (high / side) as usize + 1);
    }

    #[inline]
    fn cell(&self, x: f32, y: f32) -> u32 {
        let column = (((x - self.origin.x) / self.side) as usize).min(self.width - 1);
        let row = (((y - self.origin.y) / self.side) as usize).min(self.height - 1);
        (row * self.width + column) as u32
    }

    /// Entities that never had a position: everybody is told of them.
    pub fn nowhere(&self) -> &[u32] {
        &self.nowhere
    }

    /// The entities within a distance of a point that are shown to somebody who is blind to these groups, in no order.
    #[inline]
    pub fn around(&self, centre: Vec2, radius: f32, blind_to: u32, mut each: impl FnMut(u32)) {
        if self.height == 0 || centre.x.is_nan() || centre.y.is_nan() {
            return;
        }
        let squared = radius * radius;
        let slack = self.slack;
        let line = |y: f32| (((y - self.origin.y) / self.side).floor().max(0.0) as usize).min(self.height);
        let (first, last) = (line(centre.y - radius - slack), line(centre.y + radius + slack));
        for row in first..(last + 1).min(self.height) {
            let bottom = self.origin.y + row as f32 * self.side;
            let away = (bottom - centre.y).max(centre.y - bottom - self.side).max(0.0) - slack;
            let half = (squared - away.max(0.0) * away.max(0.0)).max(0.0).sqrt() + slack;
            let from = (centre.x - half - self.origin.x) / self.side;
            let to = (centre.x + half - self.origin.x) / self.side;
            if to < 0.0 || from >= self.width as f32 {
                continue;
            }
            let (from, to) = (from.max(0.0) as usize, (to as usize).min(self.width - 1));
            let run = self.starts[row * self.width + from] as usize..self.starts[row * self.width + to + 1] as usize;
            for spot in &self.spots[run] {
                let (dx, dy) = (spot.x - centre.x, spot.y - centre.y);
                if dx * dx + dy * dy <= squared && (spot.hidden_from | blind_to) != u32::MAX {
                    each(spot.index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entity_view::NOBODY;
    use super::*;

    fn entity(x: f32, y: f32) -> EntityView {
        EntityView { generation: 1, x, y, ..NOBODY }
    }

    fn found(field: &Field, centre: Vec2, radius: f32, blind_to: u32) -> Vec<u32> {
        let mut found = Vec::new();
        field.around(centre, radius, blind_to, |index| found.push(index));
        found.sort_unstable();
        found
    }

    proptest! {
        /// The grid finds what a look at all entities finds, whatever the world's extent and the radius.
        #[test]
        fn a_query_finds_what_is_in_the_circle(
            places in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0, any::<bool>()), 0..300),
            scale in prop::sample::select(vec![0.0f32, 0.001, 1.0, 80.0, 1000.0, 1e6]),
            radius in prop::sample::select(vec![0.0f32, 0.5, 10.0, 80.0, 5000.0]),
            reach in 0.0f32..3.0,
            flat in any::<bool>(),
            beginning in prop::sample::select(vec![0.0f32, -300.0, 1e5, 3e6]),
        ) {
            let at = |(x, y, _): &(f32, f32, bool)| (beginning + x * scale, beginning + if flat { 7.0 } else { y * scale });
            let entities: Vec<EntityView> = places.iter().map(|place| {
                let (x, y) = at(place);
                EntityView { has_left: place.2, ..entity(x, y) }
            }).collect();
            let mut field = Field::new(radius, 16);
            field.rebuild(&entities);
            let radius = radius * reach;
            for (centre, _) in places.iter().map(|place| (at(place), 0)).chain([((0.0, 0.0), 0), ((beginning + 2.0 * scale, beginning - 3.0 * scale), 0)]) {
                let centre = Vec2::new(centre.0, centre.1);
                let expected: Vec<u32> = (0..).zip(&places).filter(|(_, place)| {
                    let (x, y) = at(place);
                    let (dx, dy) = (x - centre.x, y - centre.y);
                    dx * dx + dy * dy <= radius * radius
                }).map(|(index, _)| index).collect();
                prop_assert_eq!(found(&field, centre, radius, 0), expected);
            }
            prop_assert!(field.starts.len() <= (entities.len() * INTEREST_CELLS_PER_ENTITY).max(INTEREST_CELLS_MIN) + 1);
        }
    }

    #[test]
    fn the_dead_the_placeless_and_the_hidden_are_not_around() {
        let mut hidden = entity(1.0, 0.0);
        hidden.hidden_from = !0b10;
        let entities = [entity(0.0, 0.0), NOBODY, entity(f32::NAN, f32::NAN), hidden];
        let mut field = Field::new(10.0, 16);
        field.rebuild(&entities);
        assert_eq!(found(&field, Vec2::ZERO, 10.0, 0), [0, 3]);
        assert_eq!(found(&field, Vec2::ZERO, 10.0, 0b10), [0]);
        assert_eq!(found(&field, Vec2::ZERO, 10.0, u32::MAX), [0u32; 0]);
        assert_eq!(field.nowhere(), [2]);
        assert_eq!(found(&field, Vec2::new(f32::NAN, f32::NAN), 10.0, 0), [0u32; 0]);
        field.rebuild(&[]);
        assert_eq!(found(&field, Vec2::ZERO, 10.0, 0), [0u32; 0]);
    }
}
