//! What a front-end does without while it can't keep up, in a stated order, and when it goes back.
//!
//! The measure is its own: how long after a commit the last snapshot of it has left, in periods of the zone. A front-end that keeps up needs a
//! small part of a period; one that needs a whole one has no time for anything else, and what arrives waits ever longer. So it is judged a few
//! times a second by the mean since the last time. Above [`SHED_RISE`] it does without one thing more, below [`SHED_FALL`] for long enough without
//! one less, and in between all stays as it is. Who goes back too early comes again, and then waits twice as long.
//!
//! The order: snapshots of each client, down to every 4th; bytes of a snapshot, down to a quarter; new joins and most handshakes. Sessions that are
//! resumed, inputs and acknowledgements always go on.

use std::time::Instant;

use crate::limits::{SHED_CALM_JUDGEMENTS, SHED_CALM_JUDGEMENTS_MAX, SHED_EVERY, SHED_FALL, SHED_LAG_MAX, SHED_RISE};

/// What is done without at each level: snapshots of which each client gets one, the divisor of its bytes, and whether new joins are put off.
const STEPS: [(usize, usize, bool); 7] =
    [(1, 1, false), (2, 1, false), (3, 1, false), (4, 1, false), (4, 2, false), (4, 4, false), (4, 4, true)];

/// The highest level.
pub(crate) const LEVEL_MAX: usize = STEPS.len() - 1;

/// How overloaded a front-end is, by what it has seen of itself.
#[derive(Debug)]
pub(crate) struct Shed {
    level: usize,
    judged_at: Instant,
    /// Sum of the lags since then, in periods, and how many they are.
    lags: (f64, u32),
    /// Judgements in a row that would let the level fall, and how many it takes.
    calm: u32,
    calm_wanted: u32,
    /// Whether the last change was a fall.
    fell: bool,
}

impl Shed {
    /// One that keeps up.
    pub(crate) fn new(now: Instant) -> Self {
        Self { level: 0, judged_at: now, lags: (0.0, 0), calm: 0, calm_wanted: SHED_CALM_JUDGEMENTS, fell: false }
    }

    /// The last snapshot of a commit has left so many periods after it.
    pub(crate) fn observe(&mut self, lag: f64) {
        self.lags.0 += lag.clamp(0.0, SHED_LAG_MAX);
        self.lags.1 += 1;
    }

    /// Judges, if it is time to; returns whether the level has changed. Without a commit there was nothing to be late with.
    pub(crate) fn judge(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.judged_at) < SHED_EVERY {
            return false;
        }
        self.judged_at = now;
        let (sum, count) = std::mem::take(&mut self.lags);
        let mean = sum / f64::from(count.max(1));
        let before = self.level;
        if mean > SHED_RISE {
            self.rise();
        } else if mean < SHED_FALL {
            self.fall();
        } else {
            self.calm = 0;
        }
        self.level != before
    }

    fn rise(&mut self) {
        self.calm = 0;
        if self.level < LEVEL_MAX {
            self.level += 1;
            // What was given back is taken again: the next try waits longer.
            if std::mem::take(&mut self.fell) {
                self.calm_wanted = (self.calm_wanted * 2).min(SHED_CALM_JUDGEMENTS_MAX);
            }
        }
    }

    fn fall(&mut self) {
        self.calm += 1;
        if self.calm < self.calm_wanted {
            return;
        }
        self.calm = 0;
        if self.level == 0 {
            (self.calm_wanted, self.fell) = (SHED_CALM_JUDGEMENTS, false);
        } else {
            (self.level, self.fell) = (self.level - 1, true);
        }
    }

    /// Does without so much, whatever was judged.
    #[cfg(feature = "simulator")]
    pub(crate) fn set(&mut self, level: usize) {
        self.level = level.min(LEVEL_MAX);
    }

    /// How much is done without; 0 for nothing.
    pub(crate) fn level(&self) -> u64 {
        self.level as u64
    }

    /// How many of a zone's clients are told of a commit. They take turns, so that each is told of every so manieth.
    pub(crate) fn part(&self, clients: usize) -> usize {
        clients.div_ceil(STEPS[self.level].0)
    }

    /// What is left of the bytes of a snapshot.
    pub(crate) fn cut(&self, budget: usize) -> usize {
        budget / STEPS[self.level].1
    }

    /// Whether new joins are answered with `Busy`.
    pub(crate) fn puts_off_joins(&self) -> bool {
        STEPS[self.level].2
    }
}

/// What a level means, in words; nothing at level 0.
pub(crate) fn in_words(level: u64) -> Option<String> {
    let (one_of, divisor, no_joins) = STEPS[usize::try_from(level).unwrap_or(LEVEL_MAX).min(LEVEL_MAX)];
    let snapshots = match one_of {
        1 => return None,
        2 => "every 2nd snapshot",
        3 => "every 3rd snapshot",
        _ => "every 4th snapshot",
    };
    let bytes = match divisor {
        1 => "",
        2 => " of half its bytes",
        _ => " of a quarter of its bytes",
    };
    Some(format!("{snapshots}{bytes}{}", if no_joins { ", no new joins" } else { "" }))
}

#[cfg(test)]
mod tests;
