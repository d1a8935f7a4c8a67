//! A token bucket: so many a second in the long run, so many at once.

use serde::{Deserialize, Serialize};

/// Millionths of a token: with them a rate a second is a rate a microsecond, and nothing is rounded.
const TOKEN: u64 = 1_000_000;

/// How much a bucket lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_second: u32,
    /// Tokens of a full bucket.
    pub burst: u32,
}

/// What is left of a [`Rate`]. The rate is handed to each call, so that thousands of buckets share one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Millionths of a token.
    level: u64,
    /// The microsecond of `level`.
    at_us: u64,
}

impl Bucket {
    /// A full one. The clock may begin anywhere, and does not go back.
    pub fn full(rate: Rate, now_us: u64) -> Bucket {
        Bucket { level: u64::from(rate.burst) * TOKEN, at_us: now_us }
    }

    /// Takes `n` tokens, or none when there are fewer.
    pub fn take(&mut self, rate: Rate, now_us: u64, n: u32) -> bool {
        self.take_above(rate, now_us, n, 0)
    }

    /// Takes `n` tokens if at least `reserve` are left then.
    pub fn take_above(&mut self, rate: Rate, now_us: u64, n: u32, reserve: u32) -> bool {
        self.refill(rate, now_us);
        let wanted = (u64::from(n) + u64::from(reserve)) * TOKEN;
        let takes = self.level >= wanted;
        if takes {
            self.level -= u64::from(n) * TOKEN;
        }
        takes
    }

    /// Whether nothing was taken that has not come back.
    pub fn is_full(&mut self, rate: Rate, now_us: u64) -> bool {
        self.refill(rate, now_us);
        self.level == u64::from(rate.burst) * TOKEN
    }

    fn refill(&mut self, rate: Rate, now_us: u64) {
        let passed = now_us.saturating_sub(self.at_us);
        let came = passed.saturating_mul(u64::from(rate.per_second));
        self.level = self.level.saturating_add(came).min(u64::from(rate.burst) * TOKEN);
        self.at_us = self.at_us.max(now_us);
    }
}

#[cfg(test)]
mod tests;
