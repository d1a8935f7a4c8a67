//! When each client's next input is due: fixed before the run, so that a slow server cannot slow the load.
//!
//! This is what makes the load open-loop: latency counts from the due time, and a generator or a server that
//! stalls shows up in the figures instead of hiding in fewer samples (coordinated omission).

use std::time::{Duration, Instant};

/// The due times of `clients` clients with one period, their phases spread evenly over it.
pub(crate) struct Schedule {
    start: Instant,
    period: Duration,
    clients: u64,
    next: u64,
}

impl Schedule {
    /// A schedule whose first slot is at `start`.
    pub(crate) fn new(start: Instant, period: Duration, clients: usize) -> Schedule {
        Schedule { start, period, clients: clients.max(1) as u64, next: 0 }
    }

    /// The next slot that is due, with its due time. Slots come in order and none is left out.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let due = self.next_due();
        if due > now {
            return None;
        }
        let client = (self.next % self.clients) as usize;
        self.next += 1;
        Some((client, due))
    }

    /// Leaves out the slots that were due before `moment`.
    pub(crate) fn skip_to(&mut self, moment: Instant) {
        let since = moment.saturating_duration_since(self.start).as_nanos();
        let slots = (since * u128::from(self.clients)).div_ceil(self.period.as_nanos().max(1));
        self.next = self.next.max(u64::try_from(slots).unwrap_or(u64::MAX));
    }

    /// The time between two slots of one client.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// When the next slot is due.
    pub(crate) fn next_due(&self) -> Instant {
        let nanos = self.period.as_nanos() * u128::from(self.next) / u128::from(self.clients);
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_due_once_a_period_and_none_is_skipped_by_a_stall() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, Duration::from_millis(100), 4);
        assert_eq!(schedule.take_due(start), Some((0, start)));
        assert_eq!(schedule.take_due(start), None);
        let late = start + Duration::from_millis(250);
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take_due(late)).collect();
        assert_eq!(taken.len(), 10);
        assert_eq!(taken[0], (1, start + Duration::from_millis(25)));
        assert_eq!(taken[9], (2, late));
        let later = start + Duration::from_millis(1_010);
        schedule.skip_to(later);
        assert_eq!(schedule.take_due(later), None);
        assert_eq!(schedule.take_due(start + Duration::from_millis(1_025)), Some((1, start + Duration::from_millis(1_025))));
        schedule.skip_to(start);
        assert_eq!(schedule.next_due(), start + Duration::from_millis(1_050), "never back");
    }
}
