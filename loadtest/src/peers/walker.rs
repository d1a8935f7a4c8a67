//! How the clients of a Colyseus room move: as the bots of Ringfort's game do, but without looking, since they decode nothing.

use ringfort_protocol::Vec2;

use crate::random::Random;

/// Metres a second.
const SPEED: f32 = 8.0;
/// After how many inputs, at most, one goes another way.
const STROLL_MAX: u64 = 40;
/// Of so many inputs one aims elsewhere.
const AIM_EVERY: u32 = 3;
/// Of so many inputs one is hit.
const HIT_EVERY: usize = 20;
/// Bytes of an input that mean something: the wish in sixteenths, the aim in 65536ths of a circle, whether it is hit.
const BYTES: usize = 5;

/// One player, who knows where he is because the server moves him as he moves himself.
pub(super) struct Walker {
    random: Random,
    half: f32,
    step: f32,
    place: Vec2,
    heading: f32,
    aim: u16,
    stroll: u64,
    inputs: u32,
}

impl Walker {
    /// Player `number` somewhere in a square of twice `half` metres; the same number makes the same moves.
    pub(super) fn new(number: u64, half: f32, hz: u32) -> Walker {
        let mut random = Random::new(1, number);
        let place = Vec2::new(random.angle(), random.angle()) * (half / std::f32::consts::PI);
        let heading = random.angle();
        Walker { random, half, step: SPEED / hz.max(1) as f32, place, heading, aim: 0, stroll: 0, inputs: number as u32 }
    }

    /// Where he is.
    pub(super) fn place(&self) -> (f32, f32) {
        (self.place.x, self.place.y)
    }

    /// Writes his next input to the beginning of `bytes`.
    pub(super) fn step(&mut self, bytes: &mut [u8]) {
        if self.stroll == 0 {
            self.stroll = 1 + self.random.next() % STROLL_MAX;
            self.heading = self.random.angle();
        }
        self.stroll -= 1;
        self.inputs = self.inputs.wrapping_add(1);
        if self.inputs.is_multiple_of(AIM_EVERY) {
            self.aim = self.random.next() as u16;
        }
        let way = Vec2::from_angle(self.heading);
        let turned = |place: f32, way: f32| if place.abs() > self.half - self.step && place * way > 0.0 { -way } else { way };
        let way = Vec2::new(turned(self.place.x, way.x), turned(self.place.y, way.y));
        self.heading = way.y.atan2(way.x);
        let wish = [way.x, way.y].map(|part| (part * 16.0).round() as i8);
        self.place.x += f32::from(wish[0]) / 16.0 * self.step;
        self.place.y += f32::from(wish[1]) / 16.0 * self.step;
        let aim = self.aim.to_le_bytes();
        let hit = u8::from(self.random.below(HIT_EVERY) == 0);
        bytes[..BYTES].copy_from_slice(&[wish[0] as u8, wish[1] as u8, aim[0], aim[1], hit]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walker_stays_in_its_square_and_the_same_number_walks_the_same_way() {
        let [mut one, mut other] = [0, 1].map(|_| Walker::new(7, 50.0, 10));
        let mut lengths = 0.0;
        for _ in 0..2_000 {
            let [mut a, mut b] = [[0; 8]; 2];
            one.step(&mut a);
            other.step(&mut b);
            assert_eq!(a, b);
            let (x, y) = one.place();
            assert!(x.abs() <= 51.0 && y.abs() <= 51.0, "{x} {y}");
            lengths += f32::from(a[0] as i8).hypot(f32::from(a[1] as i8)) / 16.0;
        }
        assert!((lengths / 2_000.0 - 1.0).abs() < 0.05, "a wish has length one: {lengths}");
    }
}
