//! Handshakes that wait for their turn: a storm of newcomers drains instead of failing.
//!
//! Nobody who waits is refused. Beyond the bound, and after [`NEWCOMER_PATIENCE`], a first packet is forgotten as if the network had lost
//! it: its sender's QUIC repeats it, and it comes again. What is served first is the oldest that somebody still waits for, so that however
//! many come, those whose handshakes are begun are there to finish them.

use super::addresses::Origin;
use crate::limits::{MAX_NEWCOMERS, NEWCOMER_PATIENCE};
use quinn_proto::Incoming;
use std::collections::VecDeque;
use std::time::Instant;

/// One that waits: what quinn-proto knows of it, and where it is counted.
pub(super) type Newcomer = (Incoming, Option<Origin>);

/// All that wait, the oldest first.
pub(super) struct Newcomers<N = Newcomer> {
    queue: VecDeque<(Instant, N)>,
}

impl<N> Newcomers<N> {
    pub(super) const fn new() -> Newcomers<N> {
        Newcomers { queue: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_NEWCOMERS
    }

    /// Lets one wait that was admitted at `now`.
    pub(super) fn add(&mut self, now: Instant, newcomer: N) {
        self.queue.push_back((now, newcomer));
    }

    /// Takes the next one to begin with.
    pub(super) fn next(&mut self) -> Option<N> {
        self.queue.pop_front().map(|(_, newcomer)| newcomer)
    }

    /// Takes one that has waited too long.
    pub(super) fn next_stale(&mut self, now: Instant) -> Option<N> {
        let (since, _) = self.queue.front()?;
        if now.saturating_duration_since(*since) < NEWCOMER_PATIENCE {
            return None;
        }
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_has_waited_too_long_goes_and_the_next_is_served() {
        let start = Instant::now();
        let mut newcomers = Newcomers::new();
        (0..5).for_each(|n| newcomers.add(start + Duration::from_millis(n), n));
        let late = start + NEWCOMER_PATIENCE + Duration::from_millis(1);
        assert_eq!([0; 3].map(|_| newcomers.next_stale(late)), [Some(0), Some(1), None]);
        assert_eq!((newcomers.next(), newcomers.len()), (Some(2), 2));
    }

    #[test]
    fn it_is_full_at_its_bound() {
        let (now, mut newcomers) = (Instant::now(), Newcomers::new());
        (0..MAX_NEWCOMERS).for_each(|n| {
            assert!(!newcomers.is_full());
            newcomers.add(now, n);
        });
        assert!(newcomers.is_full());
    }
}
