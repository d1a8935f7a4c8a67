//! What a hostile process could leave in shared memory, made from arbitrary bytes: the targets of `fuzz/` and of the tests.
//!
//! Each target builds something sound, lets the input bend it word by word, and then does all that an honest process does with
//! it. An error is an answer; a panic, a hang, an allocation without a bound or a store outside its own place is a finding.
//! The bytes of a robust mutex are never bent: pthread follows list pointers that stand there, so whoever may write them can
//! make another process that takes the lock write anywhere. That is why sims and the supervisor never take it.

mod directory;
mod inbox;
mod segment;
mod worker;
mod world;

use std::sync::atomic::Ordering;

pub use directory::directory;
pub use inbox::inbox;
pub use segment::segment;
use twox_hash::XxHash3_64;
pub use worker::worker;
pub use world::world;
use zerocopy::IntoBytes;

use crate::memory::{Memory, Words};

/// A target: whatever the bytes are, it returns.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus and of its file in `fuzz/fuzz_targets`.
pub const TARGETS: &[(&str, Target)] =
    &[("directory", directory), ("inbox", inbox), ("segment", segment), ("worker", worker), ("world", world)];

/// Input bytes that are read as decisions. It never ends: behind the last byte there are zeros.
struct Source<'d>(&'d [u8]);

/// A run of words that an input may bend: byte offset and words.
type Region = (usize, usize);

impl Source<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let byte = usize::from(self.byte());
        let number = if end > 256 { byte << 16 | usize::from(self.byte()) << 8 | usize::from(self.byte()) } else { byte };
        number % end
    }

    /// A number as hostile code likes them: any, small, near the greatest, near a power of two, or near one that is there.
    fn number(&mut self, near: u64) -> u64 {
        match self.byte() % 8 {
            0 => 0,
            1 => self.word(),
            2 => u64::from(self.byte()),
            3 => u64::MAX - u64::from(self.byte()),
            4 => 1 << (self.byte() % 64),
            5 => (1 << (self.byte() % 64)) - 1,
            6 => near.wrapping_add_signed(i64::from(self.byte() as i8)),
            _ => near.wrapping_add_signed(i64::from(self.byte() as i8) * 8),
        }
    }

    /// Bends one word of one region: all of it, a half, a quarter or a byte.
    fn bend(&mut self, memory: &Memory, regions: &[Region]) {
        let (offset, words) = regions[self.below(regions.len())];
        let at = offset + self.below(words) * 8;
        let old = memory.load(at, Ordering::Relaxed);
        let shape = self.byte();
        let (bits, lane) = (64u32 >> (shape % 4), u32::from(shape / 4));
        let shift = lane * bits % 64;
        let mask = (u64::MAX >> (64 - bits)) << shift;
        let near = if shape & 128 != 0 {
            let (offset, words) = regions[self.below(regions.len())];
            memory.load(offset + self.below(words) * 8, Ordering::Relaxed)
        } else {
            old >> shift
        };
        let new = self.number(near);
        memory.store(at, old & !mask | new << shift & mask, Ordering::Relaxed);
    }

    /// Overwrites a region with what is left of the input, over and over.
    fn flood(&mut self, memory: &Memory, (offset, words): Region) {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return;
        }
        let mut endless = bytes.iter().copied().cycle();
        for word in 0..words {
            let bytes = std::array::from_fn(|_| endless.next().unwrap_or_default());
            memory.copy_in(offset + word * 8, &[u64::from_le_bytes(bytes)]);
        }
    }
}

/// A hash of words that changes with every single one.
fn digest(memory: &Memory, (offset, words): Region) -> u64 {
    let mut copy = vec![0u64; words];
    memory.copy_out(offset, &mut copy);
    XxHash3_64::oneshot(copy.as_bytes())
}
