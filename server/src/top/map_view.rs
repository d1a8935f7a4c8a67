//! What of a match's map is shown: a middle and a width, moved by keys.

use crossterm::event::KeyCode;

use super::seen::Dot;

/// What of the map is shown. At first all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapView {
    /// How much larger things are than when all of them fit.
    pub zoom: f64,
    /// How far the middle was moved, in widths of what is shown.
    pub moved: [f64; 2],
}

impl Default for MapView {
    fn default() -> Self {
        Self { zoom: 1.0, moved: [0.0; 2] }
    }
}

/// Largest zoom: a map of 2 km shown as half a metre.
const ZOOM_MAX: f64 = 4096.0;
/// Share of what is shown by which a key moves.
const STEP: f64 = 0.125;

impl MapView {
    /// Whether a key moves the map, and then does so.
    pub fn key(&mut self, code: KeyCode) -> bool {
        let mut pan = |x: f64, y: f64| {
            let widest = 0.5;
            let [mx, my] = self.moved;
            self.moved = [(mx + x * STEP / self.zoom).clamp(-widest, widest), (my + y * STEP / self.zoom).clamp(-widest, widest)];
        };
        match code {
            KeyCode::Left | KeyCode::Char('h') => pan(-1.0, 0.0),
            KeyCode::Right | KeyCode::Char('l') => pan(1.0, 0.0),
            KeyCode::Up | KeyCode::Char('k') => pan(0.0, 1.0),
            KeyCode::Down | KeyCode::Char('j') => pan(0.0, -1.0),
            KeyCode::Char('+' | '=') => self.zoom = (self.zoom * 1.5).min(ZOOM_MAX),
            KeyCode::Char('-' | '_') => self.zoom = (self.zoom / 1.5).max(1.0),
            KeyCode::Char('0') => *self = Self::default(),
            _ => return false,
        }
        true
    }

    /// The part of the plane that is shown, x and y from and to: one metre is as wide as it is high on cells of twice the height.
    pub fn bounds(&self, dots: &[Dot], width: u16, height: u16) -> [[f64; 2]; 2] {
        let mut from = [f64::INFINITY; 2];
        let mut to = [f64::NEG_INFINITY; 2];
        for at in dots.iter().filter_map(|dot| dot.at).filter(|at| at.iter().all(|x| x.is_finite())) {
            for axis in 0..2 {
                from[axis] = from[axis].min(at[axis].into());
                to[axis] = to[axis].max(at[axis].into());
            }
        }
        if from[0] > to[0] {
            (from, to) = ([-1.0; 2], [1.0; 2]);
        }
        let span = |axis: usize| (to[axis] - from[axis]).max(1.0) * 1.05;
        let (columns, rows) = (f64::from(width.max(1)), 2.0 * f64::from(height.max(1)));
        let metres = (span(0) / columns).max(span(1) / rows) / self.zoom;
        let middle = |axis: usize| (from[axis] + to[axis]) / 2.0 + self.moved[axis] * span(axis);
        let around = |axis: usize, cells: f64| [middle(axis) - metres * cells / 2.0, middle(axis) + metres * cells / 2.0];
        [around(0, columns), around(1, rows)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(x: f32, y: f32) -> Dot {
        Dot { index: 0, generation: 1, owner: 0, at: Some([x, y]), lit: true }
    }

    #[test]
    fn all_of_a_map_fits_at_first_and_a_metre_is_as_wide_as_high() {
        let dots = [dot(-100.0, 0.0), dot(100.0, 20.0)];
        let [x, y] = MapView::default().bounds(&dots, 80, 20);
        assert!(x[0] < -100.0 && x[1] > 100.0 && y[0] < 0.0 && y[1] > 20.0, "{x:?} {y:?}");
        assert!(((x[1] - x[0]) / 80.0 - (y[1] - y[0]) / 40.0).abs() < 1e-9);
    }

    #[test]
    fn keys_zoom_and_move_and_nothing_leaves_the_numbers() {
        let mut map = MapView::default();
        for key in ['+', '+', 'l', 'l', 'k'] {
            assert!(map.key(KeyCode::Char(key)));
        }
        let dots = [dot(0.0, 0.0), dot(160.0, 80.0)];
        let ([x, _], [wide, _]) = (map.bounds(&dots, 80, 20), MapView::default().bounds(&dots, 80, 20));
        assert!(x[1] - x[0] < (wide[1] - wide[0]) / 2.0 && (x[0] + x[1]) / 2.0 > 80.0, "{x:?}");
        assert!(map.key(KeyCode::Char('0')) && map == MapView::default());
        for damaged in [f32::NAN, f32::INFINITY, f32::MIN, f32::MAX] {
            let [x, y] = map.bounds(&[dot(damaged, 0.0)], 0, 0);
            assert!([x, y].iter().flatten().all(|bound| bound.is_finite()) && x[0] <= x[1], "{damaged}: {x:?}");
        }
        assert!(!map.key(KeyCode::Char('q')));
    }
}
