//! A front-end without its socket and its clock: what one turn of its loop does between receiving and sending.

use std::time::Instant;

use quinn_proto::Transmit;
use ringfort_protocol::driver::Driver;

use super::clients::Clients;
use super::session::App;
use crate::config::{Interest, Limits};

/// The connections of a front-end and what they are about.
pub(crate) struct Desk {
    pub(crate) driver: Driver<App>,
    pub(super) clients: Clients,
}

impl Desk {
    /// Holds clients to these limits; without it they are held to the defaults, and their packets and addresses to none.
    pub(crate) fn limit(&mut self, limits: Limits) {
        self.driver.limit(limits.of_driver());
        self.clients.limits = limits;
    }

    /// What an operator says of what clients are told: the numbers of interest, and the bytes of the largest snapshot.
    pub(crate) fn bound(&mut self, interest: Interest, snapshot_bytes: usize) {
        (self.clients.interest, self.clients.snapshot_bytes) = (interest, snapshot_bytes);
    }

    /// One turn, after what has arrived was given to the driver: timers, connections, inboxes, and, when a sim has committed,
    /// snapshots for a piece of those who wait for one. One that stops only says goodbye. Returns whether it looked at the zones.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        now_us: u64,
        woken: bool,
        stopping: bool,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) -> bool {
        let Self { driver, clients } = self;
        (clients.now, clients.now_us) = (now, now_us);
        driver.handle_timeouts(now);
        driver.poll_known(now, clients, out);
        clients.flush();
        let mut looked = false;
        if !stopping {
            clients.end_overdue(driver);
            clients.follow_directory(driver);
            looked = woken || clients.refresh_is_due();
            if looked {
                clients.look(driver);
                clients.retry_waiting(driver);
            }
            clients.serve(driver);
        }
        driver.poll_known(now, clients, out);
        looked
    }

    /// After a turn, when what it had to say has left: how late the last snapshots of a commit are says whether this front-end keeps up.
    pub(crate) fn sent(&mut self, now_us: u64) {
        self.clients.note_sent(now_us);
    }

    /// After a turn, when all that it has for those who play has left: begins a few handshakes of those who wait for that.
    pub(crate) fn greet(&mut self, now: Instant, out: &mut impl FnMut(&Transmit, &[u8])) -> bool {
        let waited = self.driver.has_newcomers();
        if waited {
            self.driver.poll(now, &mut self.clients, out);
        }
        waited
    }
}

#[cfg(feature = "simulator")]
mod simulated {
    use std::rc::Rc;
    use std::time::Instant;

    use ringfort_protocol::driver::Driver;
    use ringfort_shm_state::segment::Segment;
    use ringfort_shm_state::world::World;

    use super::super::counters as count;
    use super::super::secrets::Secrets;
    use super::{App, Clients, Desk};
    use crate::game::{Description, Game};

    impl Desk {
        /// A front-end over memory of this process, in development mode.
        pub(crate) fn simulated<G: Game>(
            driver: Driver<App>,
            slot: u32,
            incarnation: u32,
            (world, directory, inbox): (Rc<World>, Rc<Segment>, Rc<Segment>),
            own: Segment,
            now: Instant,
        ) -> Self {
            let schema = Description::schema_of::<G>();
            let auth = crate::auth::Auth::Development;
            let clients = Clients::new(slot, incarnation, world, directory, inbox, own, Description::of::<G>, schema, now, auth);
            let mut desk = Self { driver, clients };
            desk.clients.secrets = Secrets::Counted(u128::from(slot) << 96 | u128::from(incarnation) << 64);
            desk.limit(crate::config::LIMITS_DEFAULT);
            desk
        }

        /// Records that did not fit a snapshot so far.
        pub(crate) fn put_off(&self) -> u64 {
            self.clients.counts.0[count::RECORDS_PUT_OFF] + self.clients.counts.0[count::CUES_DROPPED]
        }

        /// How much it does without because it cannot keep up.
        pub(crate) fn shed_level(&self) -> u64 {
            self.clients.shed.level()
        }

        /// The sessions that were told of a commit since the last call.
        pub(crate) fn take_told(&mut self) -> Vec<u64> {
            std::mem::take(&mut self.clients.told)
        }

        /// Does without so much from now on, as one that can't keep up.
        pub(crate) fn shed_to(&mut self, level: usize) {
            self.clients.shed.set(level);
        }

        /// Whether records wait for an inbox that was full or locked.
        pub(crate) fn has_backlog(&self) -> bool {
            self.clients.has_backlog()
        }
    }
}
