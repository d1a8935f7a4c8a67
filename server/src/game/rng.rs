//! Random streams: one for each (match seed, tick, entity), so that the order in which a game asks does not matter.

use std::ops::Range;

use ringfort_protocol::Vec2;

/// A stream of random numbers (SplitMix64, Steele et al., OOPSLA 2014). The seed never reaches a client.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed and what it is for.
    pub(crate) fn new(seed: u64, tick: u32, index: u32, generation: u32) -> Self {
        let mut rng = Self(seed ^ (u64::from(tick) << 32 | u64::from(index)));
        let mixed = rng.next_u64() ^ u64::from(generation);
        Self(mixed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly distributed in 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Evenly distributed in a range.
    pub fn range(&mut self, range: Range<f32>) -> f32 {
        range.start + self.unit() * (range.end - range.start)
    }

    /// Below a bound; 0 when the bound is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A point in the square of this half-width around the origin.
    pub fn point(&mut self, half: f32) -> Vec2 {
        Vec2 { x: self.range(-half..half), y: self.range(-half..half) }
    }
}
