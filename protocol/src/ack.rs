//! Selective acknowledgement: the highest number received and a 32-bit field of those right below it.
//!
//! Numbers start at 1. A gap is never acknowledged: what is below the field and was not seen stays unseen.

use serde::{Deserialize, Serialize};

/// Numbers received; bit `i` of `bits` is `highest - 1 - i`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AckBits {
    /// The highest number received; 0 is none.
    pub highest: u32,
    /// Which of the 32 numbers below it were received.
    pub bits: u32,
}

/// What [`AckBits::insert`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// Not seen before.
    New,
    /// Seen before.
    Duplicate,
    /// Below the field (or 0), so it isn't known whether it was seen.
    TooOld,
}

impl AckBits {
    /// Nothing received.
    pub const NONE: AckBits = AckBits { highest: 0, bits: 0 };
    /// Numbers that the field reaches below the highest.
    pub const FIELD: u32 = u32::BITS;

    /// Notes that `number` was received.
    pub fn insert(&mut self, number: u32) -> Inserted {
        if number > self.highest {
            let ahead = number - self.highest;
            // The former highest joins the field, unless it is the 0 of the beginning or too far behind.
            let former = if self.highest == 0 { 0 } else { 1u32.checked_shl(ahead - 1).unwrap_or(0) };
            self.bits = self.bits.checked_shl(ahead).unwrap_or(0) | former;
            self.highest = number;
            return Inserted::New;
        }
        match self.bit(number) {
            None if number != 0 && number == self.highest => Inserted::Duplicate,
            None => Inserted::TooOld,
            Some(bit) if self.bits & bit != 0 => Inserted::Duplicate,
            Some(bit) => {
                self.bits |= bit;
                Inserted::New
            }
        }
    }

    /// Whether `number` is acknowledged.
    pub fn contains(&self, number: u32) -> bool {
        number != 0 && (number == self.highest || self.bit(number).is_some_and(|bit| self.bits & bit != 0))
    }

    /// All acknowledged numbers, highest first.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let below = (0..32).filter(move |i| self.bits >> i & 1 != 0);
        let below = below.filter_map(move |i| self.highest.checked_sub(1 + i).filter(|number| *number != 0));
        (self.highest != 0).then_some(self.highest).into_iter().chain(below)
    }

    /// Exactly these numbers, whatever their order; those that lie too far below the highest are left out.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> AckBits {
        let mut bits = AckBits::NONE;
        for number in numbers {
            bits.insert(number);
        }
        bits
    }

    fn bit(&self, number: u32) -> Option<u32> {
        if number == 0 || number >= self.highest {
            return None;
        }
        1u32.checked_shl(self.highest - 1 - number)
    }

    /// The numbers that may have been inserted into `known` on the way to this, and have fallen off the field again.
    pub fn fallen_since(self, known: AckBits) -> impl Iterator<Item = u32> {
        let first = known.highest.saturating_sub(u32::BITS).max(1);
        (first..self.highest.saturating_sub(u32::BITS)).filter(move |number| !known.contains(*number))
    }

    /// The numbers in here that are not in `known`, newest first.
    pub fn without(self, known: AckBits) -> impl Iterator<Item = u32> {
        let old = match self.highest.checked_sub(known.highest) {
            // What was known, seen from the new highest; the known highest itself is a bit of it now.
            Some(0) => known.bits,
            Some(ahead @ 1..=32) if known.highest != 0 => (u64::from(known.bits) << ahead | 1 << (ahead - 1)) as u32,
            _ => 0,
        };
        let highest = (self.highest != 0 && !known.contains(self.highest)).then_some(self.highest);
        let mut bits = self.bits & !old;
        let below = std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros())?;
            bits &= bits - 1;
            self.highest.checked_sub(1 + bit)
        });
        highest.into_iter().chain(below.filter(|number| *number != 0))
    }
}

#[cfg(test)]
mod tests;
