//! Whether a process hangs, by its heartbeat and the supervisor's own polls.
//!
//! Only polls that the supervisor makes on time count: a machine that stands still, or is so busy that the supervisor is late itself, kills nobody.

use std::time::{Duration, Instant};

use crate::limits::SUPERVISOR_TURN_MS;

/// The clock of the polls.
#[derive(Debug)]
pub(super) struct Polls {
    last: Instant,
}

impl Polls {
    pub(super) fn new(now: Instant) -> Polls {
        Polls { last: now }
    }

    /// Whether a poll is due now that counts.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let period = Duration::from_millis(SUPERVISOR_TURN_MS);
        let since = now.saturating_duration_since(self.last);
        if since < period {
            return false;
        }
        self.last = now;
        since <= 2 * period
    }
}

/// A process's heartbeat as it was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    beat: u64,
    silent_polls: u64,
    /// Processor time after a quarter of the silence, once that was asked for.
    cpu_ms: Option<u64>,
    /// This silence was told of.
    told: bool,
}

impl Pulse {
    /// Counts a poll. When the process has been silent for as many polls as make up the time: the processor time that it has used meanwhile.
    pub(super) fn poll(&mut self, beat: u64, limit_ms: u64, cpu_ms: impl Fn() -> u64) -> Option<u64> {
        if beat != self.beat || self.silent_polls == 0 {
            *self = Pulse { beat, silent_polls: 1, cpu_ms: None, told: false };
            return None;
        }
        let limit = limit_ms.div_ceil(SUPERVISOR_TURN_MS) + 1;
        // Most silences are a sleep and soon over: the processor time is asked for when one has lasted a while.
        if self.silent_polls >= limit / 4 && self.cpu_ms.is_none() {
            self.cpu_ms = Some(cpu_ms());
        }
        self.silent_polls += 1;
        // The time may have become shorter meanwhile, by a match that the process has lost.
        let hangs = self.silent_polls >= limit && !std::mem::replace(&mut self.told, self.silent_polls >= limit);
        hangs.then(|| cpu_ms().saturating_sub(self.cpu_ms.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_polls_and_early_ones_do_not_count() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut polls = Polls::new(begin);
        assert!(!polls.is_due(at(SUPERVISOR_TURN_MS - 1)));
        assert!(polls.is_due(at(SUPERVISOR_TURN_MS)));
        assert!(!polls.is_due(at(100 * SUPERVISOR_TURN_MS)), "the machine stood still");
        assert!(polls.is_due(at(101 * SUPERVISOR_TURN_MS)));
    }

    #[test]
    fn only_one_beat_for_the_whole_time_is_a_hang() {
        let mut pulse = Pulse::default();
        let polls = 1000 / SUPERVISOR_TURN_MS;
        for round in 0..3 {
            for _ in 0..polls {
                assert_eq!(pulse.poll(round, 1000, || 7), None);
            }
        }
        assert_eq!(pulse.poll(2, 1000, || 907), Some(900), "7 ms after a quarter of the time");
        assert_eq!(pulse.poll(2, 1000, || 2000), None, "it is told of once");
    }

    #[test]
    fn a_time_that_becomes_shorter_in_the_midst_of_a_silence_is_over_at_once() {
        let mut pulse = Pulse::default();
        for _ in 0..2000 / SUPERVISOR_TURN_MS {
            assert_eq!(pulse.poll(1, 60_000, || 500), None);
        }
        assert_eq!(pulse.poll(1, 1000, || 500), Some(0), "what it used before that counts for nothing");
        assert_eq!(pulse.poll(1, 1000, || 500), None, "it is told of once");
    }
}
