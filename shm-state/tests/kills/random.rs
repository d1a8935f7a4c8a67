//! Numbers that follow from a seed: the same schedule for the same seed and round.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Mixes two numbers into one that looks like neither.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = (a.rotate_left(32) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Random {
    /// The stream of a seed and whatever tells streams of one seed apart.
    pub fn new(seed: u64, stream: u64, of: u64) -> Self {
        Self(mix(mix(seed, stream), of))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0, 0)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
