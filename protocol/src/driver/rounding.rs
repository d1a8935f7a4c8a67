//! Timers that wait for what is sent anyway.
//!
//! A packet costs its path through the kernel, whatever is in it. Acknowledgements on their own nearly double their number at ten datagrams a
//! second. So between two ends that agree on it, a connection in a match sends when it has something to say, once a tick, and what QUIC wants to
//! say by itself rides along: its timers go off with the next datagram, or when they are overdue by more than a tick and a margin. One end alone must not do
//! this: the other would take the silence for loss.
//!
//! What is reliable is to be repaired soon: from the moment that something is written to the control stream, timers are exact for as long as its
//! acknowledgement may take, and for as long again after each packet that is lost meanwhile.

use crate::limits::{EXACT_ROUND_TRIPS, EXACT_TICKS, ROUNDING_MARGIN, ROUNDING_MAX};
use std::time::{Duration, Instant};

/// When the timers of a connection go off.
#[derive(Debug, Default)]
pub(super) struct Rounding {
    /// Time between two sends; nothing for exact timers.
    period: Option<Duration>,
    /// Timers are exact until then.
    exact_until: Option<Instant>,
    /// Packets that were lost when that was last reckoned.
    lost: u64,
}

impl Rounding {
    /// From now on datagrams leave about every `period`.
    pub(super) fn begin(&mut self, period: Duration) {
        self.period = Some(period);
    }

    /// Timers are exact from now on.
    pub(super) fn end(&mut self) {
        self.period = None;
    }

    /// Whether timers may ever wait.
    pub(super) fn is_on(&self) -> bool {
        self.period.is_some()
    }

    /// Something was written to the control stream, over a path with this round trip that has lost so many packets.
    pub(super) fn wrote(&mut self, now: Instant, rtt: Duration, lost: u64) {
        if let Some(period) = self.period {
            self.exact_until = Some(now + rtt * EXACT_ROUND_TRIPS + period * EXACT_TICKS);
            self.lost = lost;
        }
    }

    /// Whether what is reliable may be unacknowledged.
    #[inline]
    pub(super) fn is_exact(&mut self, now: Instant, path: impl FnOnce() -> (Duration, u64)) -> bool {
        let Some(until) = self.exact_until else { return self.period.is_none() };
        let (rtt, lost) = path();
        if lost != self.lost {
            self.wrote(now, rtt, lost);
        } else if until <= now {
            self.exact_until = None;
        }
        self.exact_until.is_some() || self.period.is_none()
    }

    /// How long a timer may be overdue.
    #[inline]
    pub(super) fn slack(&self) -> Duration {
        match self.period {
            Some(period) if self.exact_until.is_none() => (period + ROUNDING_MARGIN).min(ROUNDING_MAX),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(100);
    const RTT: Duration = Duration::from_millis(40);

    #[test]
    fn timers_wait_for_a_tick_and_a_margin_unless_something_reliable_is_under_way() {
        let now = Instant::now();
        let mut rounding = Rounding::default();
        assert!(rounding.is_exact(now, || (RTT, 0)) && rounding.slack().is_zero());
        rounding.begin(PERIOD);
        assert!(!rounding.is_exact(now, || (RTT, 0)));
        assert_eq!(rounding.slack(), PERIOD + ROUNDING_MARGIN);
        rounding.wrote(now, RTT, 5);
        assert!(rounding.slack().is_zero());
        let later = now + RTT * EXACT_ROUND_TRIPS + PERIOD * EXACT_TICKS;
        assert!(rounding.is_exact(later - Duration::from_millis(1), || (RTT, 5)));
        assert!(!rounding.is_exact(later, || (RTT, 5)), "its acknowledgement has come by now");
        assert_eq!(rounding.slack(), PERIOD + ROUNDING_MARGIN);
    }

    #[test]
    fn a_packet_lost_while_something_reliable_is_under_way_keeps_timers_exact() {
        let now = Instant::now();
        let mut rounding = Rounding::default();
        rounding.begin(PERIOD);
        rounding.wrote(now, RTT, 0);
        let lasts = RTT * EXACT_ROUND_TRIPS + PERIOD * EXACT_TICKS;
        let found = now + lasts - Duration::from_millis(1);
        assert!(rounding.is_exact(found, || (RTT, 1)));
        assert!(rounding.is_exact(now + lasts, || (RTT, 1)), "it counts anew from the loss");
        assert!(!rounding.is_exact(found + lasts, || (RTT, 1)));
    }

    #[test]
    fn a_slow_tick_does_not_put_a_timer_off_for_longer_than_the_bound() {
        let mut rounding = Rounding::default();
        rounding.begin(Duration::from_secs(60));
        assert_eq!(rounding.slack(), ROUNDING_MAX);
    }
}
