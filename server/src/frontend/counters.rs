//! A front-end's counters in its segment, by name.

crate::counters::words! {
    CONNECTIONS = "fe_connections",
    SESSIONS = "fe_sessions",
    UDP_IN = "fe_udp_in",
    UDP_OUT = "fe_udp_out",
    UDP_DROPPED = "fe_udp_dropped",
    HANDSHAKES_FAILED = "fe_handshakes_failed",
    HANDSHAKES_REFUSED = "fe_handshakes_refused",
    HELLOS_REFUSED = "fe_hellos_refused",
    JOINS = "fe_joins",
    JOINS_REFUSED = "fe_joins_refused",
    BAD_MESSAGES = "fe_bad_messages",
    BAD_DATAGRAMS = "fe_bad_datagrams",
    INPUTS = "fe_inputs",
    INPUTS_REPEATED = "fe_inputs_repeated",
    INPUTS_REFUSED = "fe_inputs_refused",
    COMMANDS = "fe_commands",
    INBOX_BUSY = "fe_inbox_busy",
    INBOX_FULL = "fe_inbox_full",
    INBOX_BROKEN = "fe_inbox_broken",
    SNAPSHOTS = "fe_snapshots",
    SNAPSHOT_BYTES = "fe_snapshot_bytes",
    SNAPSHOT_RECORDS = "fe_snapshot_records",
    RECORDS_PUT_OFF = "fe_records_put_off",
    EVENTS = "fe_events",
    CUES = "fe_cues",
    CUES_DROPPED = "fe_cues_dropped",
    BACKLOG_OVERFLOWS = "fe_backlog_overflows",
    MIRROR_REFRESHES = "fe_mirror_refreshes",
    MIRROR_ERRORS = "fe_mirror_errors",
    TIMEOUTS = "fe_timeouts",
    LOOPS = "fe_loops",
    CONTROL_BAD = "fe_control_bad",
    SNAPSHOTS_UNSENT = "fe_snapshots_unsent",
    OVERDUE = "fe_overdue",
    TOKENS_MISSING = "fe_tokens_missing",
    TOKENS_BAD = "fe_tokens_bad",
    TOKENS_EXPIRED = "fe_tokens_expired",
    TOKENS_WRONG_MATCH = "fe_tokens_wrong_match",
    PACKETS_LIMITED = "fe_packets_limited",
    HANDSHAKES_RETRIED = "fe_handshakes_retried",
    HANDSHAKES_LIMITED = "fe_handshakes_limited",
    ADDRESSES_FULL = "fe_addresses_full",
    STRANGERS_LIMITED = "fe_strangers_limited",
    COMMANDS_LIMITED = "fe_commands_limited",
    JOINS_LIMITED = "fe_joins_limited",
    FLOODS = "fe_floods",
    DATAGRAMS_STALE = "fe_datagrams_stale",
    ACKS_FORGED = "fe_acks_forged",
    CODES_WRONG = "fe_codes_wrong",
    SPECTATORS_REFUSED = "fe_spectators_refused",
    ANSWERS = "fe_answers",
    UDP_TRUNCATED = "fe_udp_truncated",
    PACKETS_UNUSABLE = "fe_packets_unusable",
    FRAMES_CUT = "fe_frames_cut",
    LEAVES_LATE = "fe_leaves_late",
    CONNECTIONS_LOST = "fe_connections_lost",
    ACKS_STALE = "fe_acks_stale",
    INPUTS_LATE = "fe_inputs_late",
    REJECTED_TOLD = "fe_rejected_told",
    SNAPSHOTS_SHORTENED = "fe_snapshots_shortened",
    RESUMES = "fe_resumes",
    RESUMES_REFUSED = "fe_resumes_refused",
    SESSIONS_TAKEN_OVER = "fe_sessions_taken_over",
    DATAGRAMS = "fe_datagrams",
    SHED_LEVEL = "fe_shed_level",
    SHEDS = "fe_sheds",
    SNAPSHOTS_SKIPPED = "fe_snapshots_skipped",
    SNAPSHOTS_CUT = "fe_snapshots_cut",
    JOINS_PUT_OFF = "fe_joins_put_off",
    HANDSHAKES_WAITING = "fe_handshakes_waiting",
    HANDSHAKES_PUT_OFF = "fe_handshakes_put_off",
    UDP_OVERRUN = "fe_udp_overrun",
}

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
