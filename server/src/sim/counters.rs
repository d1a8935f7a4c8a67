//! A sim's counters in its segment, by name.

use ringfort_shm_state::worker::WorkerPage;

use super::zone::ZoneCounters;

crate::counters::words! {
    TICKS = "sim_ticks",
    TICKS_LATE = "sim_ticks_late",
    TICKS_SKIPPED = "sim_ticks_skipped",
    TICKS_STARVED = "sim_ticks_starved",
    RECORDS_IGNORED = "sim_records_ignored",
    INPUTS_REFUSED = "sim_inputs_refused",
    COMMANDS_REFUSED = "sim_commands_refused",
    JOINS_REFUSED = "sim_joins_refused",
    CUES_DROPPED = "sim_cues_dropped",
    EVENT_OVERFLOWS = "sim_event_overflows",
    INBOX_DAMAGE = "sim_inbox_damage",
    ZONES_OPENED = "sim_zones_opened",
    ZONES_ADOPTED = "sim_zones_adopted",
    ZONES_ENDED = "sim_zones_ended",
    ZONES_FAILED = "sim_zones_failed",
    WAKES_SENT = "sim_wakes_sent",
    SESSIONS_KICKED = "sim_sessions_kicked",
    SPECTATORS_REFUSED = "sim_spectators_refused",
    IDLE_ENDS = "sim_idle_ends",
    INPUTS_OVER_CREDIT = "sim_inputs_over_credit",
    ASKS_REFUSED = "sim_asks_refused",
    ASKS_ANSWERED = "sim_asks_answered",
    ASKS_GIVEN_UP = "sim_asks_given_up",
    ASKS_DROPPED = "sim_asks_dropped",
    ANSWERS_IGNORED = "sim_answers_ignored",
    RESULTS_TAKEN = "sim_results_taken",
    TICKS_DIVERGED = "sim_ticks_diverged",
    TICKS_RETRIED = "sim_ticks_retried",
    TICKS_REJECTED = "sim_ticks_rejected",
    INPUTS_REJECTED = "sim_inputs_rejected",
    COMMANDS_REJECTED = "sim_commands_rejected",
    ZONES_RELEASED = "sim_zones_released",
}

/// Adds what a zone counted.
pub fn add(page: &WorkerPage<'_>, from: ZoneCounters) {
    let ZoneCounters {
        records_ignored,
        inputs_refused,
        inputs_over_credit,
        commands_refused,
        joins_refused,
        sessions_kicked,
        spectators_refused,
        idle_ends,
        cues_dropped,
        event_overflows,
        ticks_starved,
        ticks_diverged,
        ticks_retried,
        ticks_rejected,
        inputs_rejected,
        commands_rejected,
        inbox_damage,
        asks_refused,
        asks_answered,
        asks_given_up,
        asks_dropped,
        answers_ignored,
        results_taken,
    } = from;
    for (counter, n) in [
        (RECORDS_IGNORED, records_ignored),
        (INPUTS_REFUSED, inputs_refused),
        (INPUTS_OVER_CREDIT, inputs_over_credit),
        (COMMANDS_REFUSED, commands_refused),
        (JOINS_REFUSED, joins_refused),
        (SESSIONS_KICKED, sessions_kicked),
        (SPECTATORS_REFUSED, spectators_refused),
        (IDLE_ENDS, idle_ends),
        (CUES_DROPPED, cues_dropped),
        (EVENT_OVERFLOWS, event_overflows),
        (TICKS_STARVED, ticks_starved),
        (TICKS_DIVERGED, ticks_diverged),
        (TICKS_RETRIED, ticks_retried),
        (TICKS_REJECTED, ticks_rejected),
        (INPUTS_REJECTED, inputs_rejected),
        (COMMANDS_REJECTED, commands_rejected),
        (INBOX_DAMAGE, inbox_damage),
        (ASKS_REFUSED, asks_refused),
        (ASKS_ANSWERED, asks_answered),
        (ASKS_GIVEN_UP, asks_given_up),
        (ASKS_DROPPED, asks_dropped),
        (ANSWERS_IGNORED, answers_ignored),
        (RESULTS_TAKEN, results_taken),
    ] {
        if n > 0 {
            page.add(counter, n);
        }
    }
}
