//! Points in square cells: those in a box are found by looking at the cells that it touches.

use ringfort_protocol::{Entity, Vec2};

/// Cells for each point, at most: where points are few and far apart, cells grow.
const CELLS_PER_POINT: usize = 4;
/// Cells that may be there for however few points.
const CELLS_MIN: usize = 1024;

/// An entity at its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) entity: Entity,
    pub(super) at: Vec2,
}

/// Points by cell, those of a cell in index order.
#[derive(Debug)]
pub(super) struct Cells {
    least: Vec2,
    cell: f64,
    columns: usize,
    rows: usize,
    /// Where each cell's points begin, and where the last one's end.
    starts: Vec<u32>,
    spots: Vec<Spot>,
}

impl Cells {
    /// Sorts points, which come in index order, into cells of this size or a multiple of it. A point that is no number is nowhere.
    pub(super) fn new(mut spots: Vec<Spot>, cell: f32) -> Self {
        spots.retain(|spot| spot.at.x.is_finite() && spot.at.y.is_finite());
        let far = |best: f32, pick: fn(f32, f32) -> f32, axis: fn(&Spot) -> f32| spots.iter().map(axis).fold(best, pick);
        let least = Vec2::new(far(f32::MAX, f32::min, |s| s.at.x), far(f32::MAX, f32::min, |s| s.at.y));
        let most = Vec2::new(far(f32::MIN, f32::max, |s| s.at.x), far(f32::MIN, f32::max, |s| s.at.y));
        let mut cell = f64::from(cell);
        if spots.is_empty() {
            return Self { least: Vec2::ZERO, cell, columns: 0, rows: 0, starts: vec![0], spots };
        }
        let limit = spots.len() * CELLS_PER_POINT + CELLS_MIN;
        let side = |span: f64, cell: f64| ((span / cell) as usize).saturating_add(1);
        let span = |least: f32, most: f32| f64::from(most) - f64::from(least);
        let (width, height) = (span(least.x, most.x), span(least.y, most.y));
        while side(width, cell).saturating_mul(side(height, cell)) > limit {
            cell *= 2.0;
        }
        let (columns, rows) = (side(width, cell), side(height, cell));
        let mut cells = Self { least, cell, columns, rows, starts: vec![0; columns * rows + 1], spots: Vec::new() };
        let places: Vec<usize> = spots.iter().map(|spot| cells.place(spot.at)).collect();
        for place in &places {
            cells.starts[place + 1] += 1;
        }
        for cell in 1..cells.starts.len() {
            cells.starts[cell] += cells.starts[cell - 1];
        }
        let mut next = cells.starts.clone();
        cells.spots = spots.clone();
        for (spot, place) in spots.iter().zip(places) {
            cells.spots[next[place] as usize] = *spot;
            next[place] += 1;
        }
        cells
    }

    pub(super) fn len(&self) -> usize {
        self.spots.len()
    }

    pub(super) fn each(&self, each: impl FnMut(&Spot)) {
        self.spots.iter().for_each(each);
    }

    /// Calls `each` with at least all points of a box.
    pub(super) fn each_in(&self, least: Vec2, most: Vec2, mut each: impl FnMut(&Spot)) {
        let sound = least.x <= most.x && least.y <= most.y;
        if self.spots.is_empty() || !sound {
            return;
        }
        let (first, last) = (self.cell_of(least), self.cell_of(most));
        for row in first.1..=last.1 {
            let cells = row * self.columns + first.0..row * self.columns + last.0 + 1;
            let spots = self.starts[cells.start] as usize..self.starts[cells.end] as usize;
            self.spots[spots].iter().for_each(&mut each);
        }
    }

    fn place(&self, at: Vec2) -> usize {
        let (column, row) = self.cell_of(at);
        row * self.columns + column
    }

    /// The nearest cell; the conversion saturates.
    fn cell_of(&self, at: Vec2) -> (usize, usize) {
        let axis = |at: f32, least: f32, cells: usize| (((f64::from(at) - f64::from(least)) / self.cell) as usize).min(cells - 1);
        (axis(at.x, self.least.x, self.columns), axis(at.y, self.least.y, self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::Rng;

    fn spot(index: u32, x: f32, y: f32) -> Spot {
        Spot { entity: Entity { index, generation: 1 }, at: Vec2::new(x, y) }
    }

    fn inside(cells: &Cells, least: Vec2, most: Vec2) -> Vec<u32> {
        let mut found = Vec::new();
        cells.each_in(least, most, |s| {
            if (least.x..=most.x).contains(&s.at.x) && (least.y..=most.y).contains(&s.at.y) {
                found.push(s.entity.index);
            }
        });
        found.sort_unstable();
        found
    }

    #[test]
    fn a_box_gives_exactly_the_points_in_it_however_they_are_spread() {
        let mut random = Rng::new(1, 2, 3, 4);
        for round in 0..300 {
            let spread = [0.0, 0.5, 100.0, 1e6, 1e38][round % 5];
            let spots: Vec<Spot> = (0..random.below(200))
                .map(|i| {
                    let at = random.point(spread);
                    spot(i, at.x, at.y)
                })
                .collect();
            let cells = Cells::new(spots.clone(), [0.1, 8.0, 1e5][round % 3]);
            assert_eq!(cells.len(), spots.len());
            assert!(cells.starts.len() <= spots.len() * CELLS_PER_POINT + CELLS_MIN + 1);
            for _ in 0..20 {
                let (a, b) = (random.point(spread * 1.2), random.point(spread * 1.2));
                let (least, most) = (Vec2::new(a.x.min(b.x), a.y.min(b.y)), Vec2::new(a.x.max(b.x), a.y.max(b.y)));
                let expected: Vec<u32> = spots
                    .iter()
                    .filter(|s| (least.x..=most.x).contains(&s.at.x) && (least.y..=most.y).contains(&s.at.y))
                    .map(|s| s.entity.index)
                    .collect();
                assert_eq!(inside(&cells, least, most), expected, "{least:?} {most:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_nowhere() {
        let cells = Cells::new(vec![spot(0, f32::NAN, 0.0), spot(1, 1.0, f32::INFINITY), spot(2, 1.0, 1.0)], 8.0);
        assert_eq!(inside(&cells, Vec2::new(-9.0, -9.0), Vec2::new(9.0, 9.0)), [2]);
        let wide = Vec2::new(f32::INFINITY, f32::INFINITY);
        assert_eq!(inside(&cells, -wide, wide), [2]);
        assert_eq!(inside(&cells, Vec2::new(f32::NAN, 0.0), wide), [0u32; 0]);
    }
}
