//! The unreliable events of a tick. In a battle there are hundreds, and each client hears a few: those that may concern it are found by comparing
//! many at once.

use ringfort_protocol::Vec2;
use ringfort_shm_state::layout::{Audience, EventRow};

/// How many are compared at once.
const LANES: usize = 16;

/// An unreliable event, ready to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Cue {
    /// Who it is for.
    pub row: EventRow,
    /// Its encoding.
    pub words: [u64; 4],
    /// Bits of it.
    pub bits: u32,
}

/// Those of the newest tick, in the order in which the game sent them.
#[derive(Debug, Default)]
pub struct Cues {
    all: Vec<Cue>,
    /// Where each is heard, a whole number of lanes; what is not heard by place is heard everywhere.
    x: Vec<f32>,
    y: Vec<f32>,
    radius_squared: Vec<f32>,
}

impl Cues {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.all.clear();
        [&mut self.x, &mut self.y, &mut self.radius_squared].into_iter().for_each(Vec::clear);
    }

    /// Adds one.
    pub fn push(&mut self, cue: Cue) {
        let at = self.all.len();
        if at == self.x.len() {
            [&mut self.x, &mut self.y, &mut self.radius_squared].into_iter().for_each(|lane| lane.resize(at + LANES, 0.0));
        }
        self.radius_squared[at] = f32::INFINITY;
        if Audience::from_u32(cue.row.audience) == Some(Audience::Near) {
            let radius = f32::from_bits(cue.row.radius);
            (self.x[at], self.y[at]) = (f32::from_bits(cue.row.centre[0]), f32::from_bits(cue.row.centre[1]));
            self.radius_squared[at] = radius * radius;
        }
        self.all.push(cue);
    }

    /// Calls `each` with those that may be for a client that looks from a place; for which of them it is, their rows say.
    #[inline]
    pub fn around(&self, from: Vec2, mut each: impl FnMut(&Cue)) {
        let lanes = self.x.chunks_exact(LANES).zip(self.y.chunks_exact(LANES)).zip(self.radius_squared.chunks_exact(LANES));
        for (chunk, ((x, y), radius_squared)) in self.all.chunks(LANES).zip(lanes) {
            let mut heard = [false; LANES];
            for lane in 0..LANES {
                let (dx, dy) = (x[lane] - from.x, y[lane] - from.y);
                let away = dx * dx + dy * dy;
                // From nowhere the rows decide.
                heard[lane] = away <= radius_squared[lane] || away.is_nan();
            }
            if heard != [false; LANES] {
                chunk.iter().zip(heard).filter(|(_, heard)| *heard).for_each(|(cue, _)| each(cue));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn cue(number: u64, near: Option<(f32, f32, f32)>) -> Cue {
        let mut row = EventRow { number, audience: Audience::All as u32, ..EventRow::new_zeroed() };
        if let Some((x, y, radius)) = near {
            row.audience = Audience::Near as u32;
            (row.centre, row.radius) = ([x.to_bits(), y.to_bits()], radius.to_bits());
        }
        Cue { row, words: [0; 4], bits: 1 }
    }

    fn heard(cues: &Cues, from: Vec2) -> Vec<u64> {
        let mut heard = Vec::new();
        cues.around(from, |cue| heard.push(cue.row.number));
        heard
    }

    #[test]
    fn what_is_near_and_what_has_no_place_is_heard_in_order_and_nothing_else() {
        let mut cues = Cues::default();
        for number in 0..100 {
            cues.push(cue(number, (number % 10 != 0).then_some((number as f32, 0.0, 5.0))));
        }
        let expected: Vec<u64> = (0..100).filter(|n| n % 10 == 0 || (*n as f32 - 42.0).abs() <= 5.0).collect();
        assert_eq!(heard(&cues, Vec2::new(42.0, 0.0)), expected);
        assert_eq!(heard(&cues, Vec2::new(f32::NAN, 0.0)).len(), 100, "the rows decide");
        cues.clear();
        cues.push(cue(7, Some((0.0, 0.0, 1.0))));
        assert_eq!(heard(&cues, Vec2::new(9.0, 9.0)), [0; 0]);
        assert_eq!(heard(&cues, Vec2::new(0.5, 0.5)), [7]);
    }
}
