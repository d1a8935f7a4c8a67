//! A front-end that gives way asks its clients to connect elsewhere, one after the other: they resume at the others, and these are not to be
//! hit by all of them at once.

use std::time::Instant;

use ringfort_protocol::control::Code;
use ringfort_protocol::driver::{ConnId, Driver};

use super::session::App;
use crate::limits::{FRONTEND_DRAIN_EVERY_MS, FRONTEND_DRAIN_PER_TURN};

/// What a client is told.
pub(super) const REASON: &str = "this front-end gives way to another: connect again";

/// How far it has come.
#[derive(Debug)]
pub(super) struct Drain {
    begun: Instant,
    asked: u64,
}

impl Drain {
    pub(super) fn begin(now: Instant) -> Drain {
        Drain { begun: now, asked: 0 }
    }

    /// How many are to be asked now.
    fn due(&self, now: Instant) -> usize {
        let all = now.saturating_duration_since(self.begun).as_millis() as u64 / FRONTEND_DRAIN_EVERY_MS + 1;
        (all.saturating_sub(self.asked) as usize).min(FRONTEND_DRAIN_PER_TURN)
    }

    /// Asks those whose turn it is. What they are told leaves with the next turn.
    pub(super) fn ask(&mut self, now: Instant, driver: &mut Driver<App>) {
        let open = driver.connections().filter(|conn| conn.is_open()).map(|conn| conn.id());
        let ids: Vec<ConnId> = open.take(self.due(now)).collect();
        for id in ids {
            if let Some(conn) = driver.connection(id) {
                conn.close(Code::Reconnect, REASON);
                self.asked += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_hundred_and_fifty_clients_are_asked_within_a_third_of_a_second_and_never_many_at_once() {
        let begun = Instant::now();
        let mut drain = Drain::begin(begun);
        for ms in 0..300 {
            let due = drain.due(begun + Duration::from_millis(ms));
            assert!(due <= 1, "{due} at {ms} ms");
            drain.asked += due as u64;
        }
        assert_eq!(drain.asked, 150);
        assert_eq!(drain.due(begun + Duration::from_secs(9)), FRONTEND_DRAIN_PER_TURN);
    }
}
