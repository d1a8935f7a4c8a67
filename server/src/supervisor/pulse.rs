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
    /// Processor time after a quarter of the silence.
    cpu_ms: u64,
}

impl Pulse {
    /// Counts a poll. When the process has been silent for as many polls as make up the time: the processor time that it has used meanwhile.
    pub(super) fn poll(&mut self, beat: u64, limit_ms: u64, cpu_ms: impl Fn() -> u64) -> Option<u64> {
        if beat != self.beat || self.silent_polls == 0 {
            *self = Pulse { beat, silent_polls: 1, cpu_ms: 0 };
            return None;
        }
        let limit = limit_ms.div_ceil(SUPERVISOR_TURN_MS) + 1;
        // Most silences are a sleep and soon over: the processor time is asked for when one has lasted a while.
        if self.silent_polls == limit / 4 {
            self.cpu_ms = cpu_ms();
        }
        self.silent_polls += 1;
        (self.silent_polls == limit).then(|| cpu_ms().saturating_sub(self.cpu_ms))
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
}
