//! Timers that wait for what is sent anyway.
//!
//! A packet costs its path through the kernel, whatever is in it. Acknowledgements on their own nearly double their number at ten datagrams a
//! second. So between two ends that agree on it, a connection in a match sends when it has something to say, once a tick, and what QUIC wants to
//! say by itself rides along: its timers go off with the next datagram, or when they are overdue by more than a tick and a margin. One end alone
//! must not do this: the other would take the silence for loss.
//!
//! What is reliable is to be repaired soon: while the application waits for its acknowledgement, timers are exact.

use crate::limits::{ROUNDING_MARGIN, ROUNDING_MAX};
use std::time::Duration;

/// When the timers of a connection go off.
#[derive(Debug, Default)]
pub(super) struct Rounding {
    /// Time between two sends; nothing for exact timers.
    period: Option<Duration>,
    /// Timers are exact all the same.
    suspended: bool,
}

impl Rounding {
    /// From now on datagrams leave about every `period`.
    pub(super) fn begin(&mut self, period: Duration) {
        self.period = Some(period);
    }

    /// Timers are exact from now on.
    pub(super) fn end(&mut self) {
        *self = Rounding::default();
    }

    /// Whether timers are exact for now.
    pub(super) fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Whether timers go off when they are due.
    #[inline]
    pub(super) fn is_exact(&self) -> bool {
        self.period.is_none() || self.suspended
    }

    /// How long a timer may be overdue.
    #[inline]
    pub(super) fn slack(&self) -> Duration {
        match self.period {
            Some(period) if !self.suspended => (period + ROUNDING_MARGIN).min(ROUNDING_MAX),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(100);

    #[test]
    fn timers_wait_for_a_tick_and_a_margin_unless_something_reliable_is_under_way() {
        let mut rounding = Rounding::default();
        assert!(rounding.is_exact() && rounding.slack().is_zero());
        rounding.begin(PERIOD);
        assert!(!rounding.is_exact());
        assert_eq!(rounding.slack(), PERIOD + ROUNDING_MARGIN);
        rounding.suspend(true);
        assert!(rounding.is_exact() && rounding.slack().is_zero());
        rounding.suspend(false);
        assert_eq!(rounding.slack(), PERIOD + ROUNDING_MARGIN);
        rounding.end();
        assert!(rounding.is_exact());
    }

    #[test]
    fn a_slow_tick_does_not_put_a_timer_off_for_longer_than_the_bound() {
        let mut rounding = Rounding::default();
        rounding.begin(Duration::from_secs(60));
        assert_eq!(rounding.slack(), ROUNDING_MAX);
    }
}
