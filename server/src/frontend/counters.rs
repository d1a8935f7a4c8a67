//! A front-end's counters in its segment, by name.

/// Names of the counters, in the order of their words.
pub const NAMES: &[&str] = &[
    "fe_connections",
    "fe_sessions",
    "fe_udp_in",
    "fe_udp_out",
    "fe_udp_dropped",
    "fe_handshakes_failed",
    "fe_handshakes_refused",
    "fe_hellos_refused",
    "fe_joins",
    "fe_joins_refused",
    "fe_bad_messages",
    "fe_bad_datagrams",
    "fe_inputs",
    "fe_inputs_repeated",
    "fe_inputs_refused",
    "fe_commands",
    "fe_inbox_busy",
    "fe_inbox_full",
    "fe_inbox_broken",
    "fe_snapshots",
    "fe_snapshot_bytes",
    "fe_snapshot_records",
    "fe_records_put_off",
    "fe_events",
    "fe_cues",
    "fe_cues_dropped",
    "fe_backlog_overflows",
    "fe_mirror_refreshes",
    "fe_mirror_errors",
    "fe_timeouts",
    "fe_loops",
    "fe_control_bad",
    "fe_snapshots_unsent",
    "fe_overdue",
];

macro_rules! counters {
    ($($name:ident = $index:literal),* $(,)?) => {
        $(#[doc = concat!("Word ", stringify!($index), " of the names.")] pub const $name: usize = $index;)*
    };
}
counters!(
    CONNECTIONS = 0,
    SESSIONS = 1,
    UDP_IN = 2,
    UDP_OUT = 3,
    UDP_DROPPED = 4,
    HANDSHAKES_FAILED = 5,
    HANDSHAKES_REFUSED = 6,
    HELLOS_REFUSED = 7,
    JOINS = 8,
    JOINS_REFUSED = 9,
    BAD_MESSAGES = 10,
    BAD_DATAGRAMS = 11,
    INPUTS = 12,
    INPUTS_REPEATED = 13,
    INPUTS_REFUSED = 14,
    COMMANDS = 15,
    INBOX_BUSY = 16,
    INBOX_FULL = 17,
    INBOX_BROKEN = 18,
    SNAPSHOTS = 19,
    SNAPSHOT_BYTES = 20,
    SNAPSHOT_RECORDS = 21,
    RECORDS_PUT_OFF = 22,
    EVENTS = 23,
    CUES = 24,
    CUES_DROPPED = 25,
    BACKLOG_OVERFLOWS = 26,
    MIRROR_REFRESHES = 27,
    MIRROR_ERRORS = 28,
    TIMEOUTS = 29,
    LOOPS = 30,
    CONTROL_BAD = 31,
    SNAPSHOTS_UNSENT = 32,
    OVERDUE = 33,
);

/// Counters that only this process writes, kept here and copied to its segment once a loop.
#[derive(Debug, Clone)]
pub struct Counters(pub [u64; NAMES.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Counters {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, counter: usize, n: u64) {
        self.0[counter] += n;
    }

    /// Counts one.
    #[inline]
    pub fn one(&mut self, counter: usize) {
        self.add(counter, 1);
    }
}
