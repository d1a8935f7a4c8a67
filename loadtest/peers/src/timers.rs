//! When a connection's timers are looked at: at their deadline, or with the tick.
//!
//! Most deadlines at a tick's rate are those of acknowledgements, which then ride along with the next datagram instead of being packets
//! of their own. quinn-proto tells one deadline and not whose, so all timers are rounded; losses are found up to a tick later. Both ends do it
//! or neither: a peer with exact timers takes late acknowledgements for losses.

use std::time::{Duration, Instant};

use crate::limits::OVERDUE_TICKS;

/// How a loop treats the timers of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timers {
    /// Each at its deadline, and packets leave as soon as there are any: stock QUIC.
    Exact,
    /// Of a connection that sends at a tick: at its next datagram, and packets leave with that.
    Rounded {
        /// What lies between two datagrams.
        tick: Duration,
    },
}

impl Timers {
    /// When a timer with this deadline is looked at if no datagram comes first; `paced` says that the connection has begun to send datagrams.
    pub(crate) fn latest(self, deadline: Instant, paced: bool) -> Instant {
        match self {
            Timers::Rounded { tick } if paced => deadline + tick.mul_f64(OVERDUE_TICKS),
            _ => deadline,
        }
    }

    /// Whether what arrives for such a connection waits for its next datagram to be answered.
    pub(crate) fn waits(self, paced: bool) -> bool {
        paced && self != Timers::Exact
    }
}
