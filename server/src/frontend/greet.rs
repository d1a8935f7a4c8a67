//! The time that goes to newcomers: what nobody else wants, and a share of the rest.
//!
//! A handshake costs as much as hundreds of inputs, and most of it is ahead of anything that tells who comes. Those who play come first: a
//! handshake is begun when there is nothing of theirs to do. Were that all, a busy front-end would let nobody in, so that a share of the time
//! is the newcomers' whatever else there is. What they don't use of it is kept only for a moment, as nobody is to wait for many of them.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Frontend;
use crate::clock::now_us;
use crate::limits::{GREETING_BURST, GREETING_SHARE, GREETING_SHARE_SHED};

/// What is left of the time that is the newcomers'.
pub(super) struct Allowance {
    left: Duration,
    at: Instant,
}

impl Allowance {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { left: Duration::ZERO, at: now }
    }

    /// Adds one part in `share` of the time that has passed.
    fn earn(&mut self, now: Instant, share: u32) {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.at, now));
        self.left = (self.left + passed / share).min(GREETING_BURST);
    }

    fn spend(&mut self, took: Duration) {
        self.left = self.left.saturating_sub(took);
    }
}

impl Frontend {
    /// Begins handshakes of those who wait for that, for as long as the time for it lasts.
    pub(super) fn greet(&mut self) {
        let sheds = self.desk.clients.shed.puts_off_joins();
        let mut began = Instant::now();
        self.allowance.earn(began, if sheds { GREETING_SHARE_SHED } else { GREETING_SHARE });
        while self.desk.driver.has_newcomers() && (!self.allowance.left.is_zero() || !sheds && self.is_idle()) {
            let sender = &mut self.udp.sender;
            self.desk.greet(began, &mut |t, b| sender.push(t, b));
            sender.flush();
            let now = Instant::now();
            self.allowance.spend(now.saturating_duration_since(std::mem::replace(&mut began, now)));
        }
    }

    /// Whether nobody is to be told of a commit, and neither a packet nor another commit waits.
    fn is_idle(&self) -> bool {
        if self.desk.clients.serves_next_us().is_some_and(|at| at <= now_us()) {
            return false;
        }
        let mut fds = [PollFd::new(self.wake, PollFlags::IN), PollFd::new(self.socket, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_time_is_the_newcomers_and_little_of_it_is_kept() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert!(allowance.left.is_zero());
        allowance.earn(start + GREETING_BURST, 4);
        assert_eq!(allowance.left, GREETING_BURST / 4);
        allowance.spend(GREETING_BURST);
        assert!(allowance.left.is_zero(), "what was overdrawn is not owed");
        allowance.earn(start + Duration::from_secs(10), 4);
        assert_eq!(allowance.left, GREETING_BURST);
    }
}
