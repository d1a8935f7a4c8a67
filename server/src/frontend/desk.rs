//! A front-end without its socket and its clock: what one turn of its loop does between receiving and sending.

use std::time::Instant;

use quinn_proto::Transmit;
use ringfort_protocol::driver::Driver;

use super::clients::Clients;
use super::session::App;
use crate::config::Limits;

/// The connections of a front-end and what they are about.
pub(crate) struct Desk {
    pub(crate) driver: Driver<App>,
    pub(crate) clients: Clients,
}

impl Desk {
    /// Holds clients to these limits; without it they are held to the defaults, and their packets and addresses to none.
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.driver.limit(limits.of_driver());
        self.clients.limits = limits;
    }

    /// One turn, after what has arrived was given to the driver: timers, connections, inboxes, and, when a sim has committed,
    /// snapshots. One that stops only says goodbye.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        now_us: u64,
        woken: bool,
        stopping: bool,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) {
        let Self { driver, clients } = self;
        (clients.now, clients.now_us) = (now, now_us);
        driver.handle_timeouts(now);
        driver.poll(now, clients, out);
        clients.flush();
        if !stopping {
            clients.end_overdue(driver);
            clients.follow_directory(driver);
            if woken || clients.refresh_is_due() {
                clients.serve(driver);
                clients.retry_waiting(driver);
            }
        }
        driver.poll(now, clients, out);
    }
}
