//! Which rows a list shows, and in which order.

use std::cmp::Ordering;

use super::list::List;
use super::seen::{Counted, Dot, One, Pace, Seen, Work};
use crate::status::{MatchStatus, ProcessStatus};

/// Columns of the processes.
pub const PROCESS_COLUMNS: [&str; 7] = ["PROCESS", "PID", "STATE", "STARTS", "CPU %", "RSS MiB", "BEAT ms"];
/// Columns of the matches.
pub const MATCH_COLUMNS: [&str; 11] =
    ["MATCH", "STATE", "TICK", "HZ", "p50", "p99", "max us", "LATE", "RING", "SESS", "ENTITIES"];
/// Columns of a match's sessions.
pub const SESSION_COLUMNS: [&str; 6] = ["PLAYER", "SESSION", "SINCE", "FRONT", "INPUT", "LAG"];
/// What entities can be sorted by.
pub const ENTITY_SORTS: [&str; 4] = ["ENTITY", "OWNER", "X", "Y"];

/// Places of the rows that are left, in order; rows that compare as equal stay in the order that they came in.
fn ordered<T>(list: &List, rows: &[T], text: impl Fn(&T) -> String, compare: impl Fn(&T, &T) -> Ordering) -> Vec<usize> {
    let wanted = list.filter.to_lowercase();
    let mut places: Vec<usize> =
        (0..rows.len()).filter(|place| wanted.is_empty() || text(&rows[*place]).to_lowercase().contains(&wanted)).collect();
    places.sort_by(|a, b| {
        let order = compare(&rows[*a], &rows[*b]);
        if list.descending { order.reverse() } else { order }
    });
    places
}

/// The processes.
pub fn processes(seen: &Seen, list: &List) -> Vec<usize> {
    let none = Work::default();
    let rows: Vec<(&ProcessStatus, &Work)> = with(&seen.status.processes, &seen.processes, &none);
    let text = |(process, _): &(&ProcessStatus, &Work)| format!("{} {} {}", process.role, process.slot, process.state);
    ordered(list, &rows, text, |(a, work_a), (b, work_b)| match list.sort {
        0 => Ordering::Equal,
        1 => a.pid.cmp(&b.pid),
        2 => a.state.cmp(b.state),
        3 => a.restarts.cmp(&b.restarts),
        4 => work_a.cpu_percent.unwrap_or(0.0).total_cmp(&work_b.cpu_percent.unwrap_or(0.0)),
        5 => a.rss_bytes.cmp(&b.rss_bytes),
        _ => a.heartbeat_age_ms.cmp(&b.heartbeat_age_ms),
    })
}

/// The matches.
pub fn matches(seen: &Seen, list: &List) -> Vec<usize> {
    let none = Pace::default();
    let rows: Vec<(&MatchStatus, &Pace)> = with(&seen.status.matches, &seen.matches, &none);
    let text = |(of, _): &(&MatchStatus, &Pace)| format!("{} {} {}", of.name, of.state, of.label);
    ordered(list, &rows, text, |(a, pace_a), (b, pace_b)| match list.sort {
        0 => a.name.cmp(&b.name),
        1 => a.state.cmp(b.state),
        2 => a.tick.cmp(&b.tick),
        3 => a.tick_hz.cmp(&b.tick_hz),
        4 => pace_a.took.p50.cmp(&pace_b.took.p50),
        5 => pace_a.took.p99.cmp(&pace_b.took.p99),
        6 => pace_a.took.max.cmp(&pace_b.took.max),
        7 => pace_a.late.p99.cmp(&pace_b.late.p99),
        8 => a.inbox.percent().cmp(&b.inbox.percent()),
        9 => a.sessions.cmp(&b.sessions),
        _ => a.entities.cmp(&b.entities),
    })
}

/// A process's counters: those that ever counted, by name, value or rate.
pub fn counters(seen: &Seen, role: &str, slot: u32, list: &List) -> Vec<usize> {
    let place = seen.status.processes.iter().position(|process| process.role == role && process.slot == slot);
    let Some(work) = place.and_then(|place| seen.processes.get(place)) else { return Vec::new() };
    let mut places = ordered(
        list,
        &work.counters,
        |counted| counted.name.to_owned(),
        |a, b| match list.sort {
            0 => a.name.cmp(b.name),
            1 => a.value.cmp(&b.value),
            _ => rate(a).total_cmp(&rate(b)),
        },
    );
    places.retain(|place| work.counters[*place].value > 0);
    places
}

fn rate(counted: &Counted) -> f64 {
    counted.per_s.unwrap_or(0.0)
}

/// A match's sessions.
pub fn sessions(one: &One, list: &List) -> Vec<usize> {
    ordered(
        list,
        &one.sessions,
        |seat| format!("{} {}", seat.shown.name, seat.shown.session),
        |a, b| match list.sort {
            0 => a.shown.name.cmp(&b.shown.name),
            1 => a.shown.session.cmp(&b.shown.session),
            2 => b.shown.since_tick.cmp(&a.shown.since_tick),
            3 => a.shown.frontend.cmp(&b.shown.frontend),
            4 => a.inputs.as_ref().map(|i| i.highest).cmp(&b.inputs.as_ref().map(|i| i.highest)),
            _ => a.event_lag.cmp(&b.event_lag),
        },
    )
}

/// A match's events, the newest first.
pub fn events(one: &One, list: &List) -> Vec<usize> {
    ordered(list, &one.events, |told| format!("{} {} {}", told.name, told.to, told.fields), |_, _| Ordering::Equal)
}

/// Puts a match's entities in order.
pub fn sort_entities(dots: &mut [Dot], list: &List) {
    let axis = |dot: &Dot, axis: usize| dot.at.map_or(f32::INFINITY, |at| at[axis]);
    dots.sort_by(|a, b| {
        let order = match list.sort {
            0 => a.index.cmp(&b.index),
            1 => a.owner.cmp(&b.owner),
            2 => axis(a, 0).total_cmp(&axis(b, 0)),
            _ => axis(a, 1).total_cmp(&axis(b, 1)),
        };
        if list.descending { order.reverse() } else { order }
    });
}

fn with<'a, A, B>(all: &'a [A], more: &'a [B], none: &'a B) -> Vec<(&'a A, &'a B)> {
    all.iter().enumerate().map(|(place, row)| (row, more.get(place).unwrap_or(none))).collect()
}
