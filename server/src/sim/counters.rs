//! A sim's counters in its segment, by name.

use ringfort_shm_state::worker::WorkerPage;

use super::zone::ZoneCounters;

/// Names of the counters, in the order of their words.
pub const NAMES: &[&str] = &[
    "sim_ticks",
    "sim_ticks_late",
    "sim_ticks_skipped",
    "sim_ticks_starved",
    "sim_records_ignored",
    "sim_inputs_refused",
    "sim_commands_refused",
    "sim_joins_refused",
    "sim_cues_dropped",
    "sim_event_overflows",
    "sim_inbox_damage",
    "sim_zones_opened",
    "sim_zones_adopted",
    "sim_zones_ended",
    "sim_zones_failed",
    "sim_wakes_sent",
];

macro_rules! counters {
    ($($name:ident = $index:literal),* $(,)?) => {
        $(#[doc = concat!("Word ", stringify!($index), " of the names.")] pub const $name: usize = $index;)*
    };
}
counters!(
    TICKS = 0,
    TICKS_LATE = 1,
    TICKS_SKIPPED = 2,
    TICKS_STARVED = 3,
    RECORDS_IGNORED = 4,
    INPUTS_REFUSED = 5,
    COMMANDS_REFUSED = 6,
    JOINS_REFUSED = 7,
    CUES_DROPPED = 8,
    EVENT_OVERFLOWS = 9,
    INBOX_DAMAGE = 10,
    ZONES_OPENED = 11,
    ZONES_ADOPTED = 12,
    ZONES_ENDED = 13,
    ZONES_FAILED = 14,
    WAKES_SENT = 15,
);

/// Adds what a zone counted.
pub fn add(page: &WorkerPage<'_>, from: ZoneCounters) {
    let ZoneCounters {
        records_ignored,
        inputs_refused,
        commands_refused,
        joins_refused,
        cues_dropped,
        event_overflows,
        ticks_starved,
        inbox_damage,
    } = from;
    for (counter, n) in [
        (RECORDS_IGNORED, records_ignored),
        (INPUTS_REFUSED, inputs_refused),
        (COMMANDS_REFUSED, commands_refused),
        (JOINS_REFUSED, joins_refused),
        (CUES_DROPPED, cues_dropped),
        (EVENT_OVERFLOWS, event_overflows),
        (TICKS_STARVED, ticks_starved),
        (INBOX_DAMAGE, inbox_damage),
    ] {
        if n > 0 {
            page.add(counter, n);
        }
    }
}
