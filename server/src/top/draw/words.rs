//! What is wrong with an instance, in words.

use super::rows::micros;
use crate::limits::{TOP_FULL_PERCENT, TOP_SILENT_MS, TOP_STILL_MS};
use crate::look::duration;
use crate::status::{MatchStatus, Status};
use crate::top::order::percent;
use crate::top::seen::{Pace, Seen};

/// Whether no process of it lives.
pub(super) fn is_dead(status: &Status) -> bool {
    status.processes.iter().all(|process| matches!(process.state, "dead" | "zombie"))
}

/// What an operator should know: of the processes, of the matches, of the load. Empty when all is well.
pub fn warnings(seen: &Seen) -> Vec<String> {
    let status = &seen.status;
    let mut told = Vec::new();
    if seen.damaged_chunks > 0 {
        told.push(format!("the file is damaged: {} chunks of 64 KiB cannot be read, and count as zeros", seen.damaged_chunks));
    }
    if is_dead(status) {
        told.push("no process of it lives: this is what its last run left".to_owned());
        return told;
    }
    if status.orphaned {
        told.push("the supervisor is gone, its workers go on".to_owned());
    }
    for process in &status.processes {
        let name = format!("{} {}", process.role, process.slot);
        match process.state {
            "dead" | "zombie" => told.push(format!("{name} is dead")),
            "stopped" => told.push(format!("{name} is stopped by a signal")),
            _ if process.heartbeat_age_ms.is_some_and(|age| age > TOP_SILENT_MS) => {
                let age = process.heartbeat_age_ms.unwrap_or(0) / 1000;
                told.push(format!("{name} gives no sign of life for {}", duration(age)));
            }
            _ => {}
        }
    }
    let none = Pace::default();
    for (place, of) in status.matches.iter().enumerate() {
        told.extend(of_match(of, seen.matches.get(place).unwrap_or(&none)));
    }
    for process in &status.processes {
        told.extend(process.sheds.as_ref().map(|sheds| format!("front-end {} sheds load: {sheds}", process.slot)));
    }
    let arena = &status.arena;
    let full = percent(arena.extents_used as u64, arena.extents_total as u64);
    if full >= TOP_FULL_PERCENT {
        told.push(format!("the arena is {full} % full"));
    }
    match (status.stopping, status.draining) {
        (true, _) => told.push("it stops".to_owned()),
        (_, true) => told.push("it stops when the players have gone".to_owned()),
        _ => {}
    }
    told
}

/// What is wrong with a match.
pub(super) fn of_match(of: &MatchStatus, pace: &Pace) -> Vec<String> {
    let mut told = Vec::new();
    let name = &of.name;
    match (of.state, of.paused) {
        (_, Some(why)) => told.push(format!("match {name} is paused ({why})")),
        ("failed", _) => told.push(format!("match {name} could not be opened or taken over")),
        ("running", _) if pace.still_ms.is_some_and(|still| still > TOP_STILL_MS) => {
            let still = duration(pace.still_ms.unwrap_or(0) / 1000);
            told.push(format!("match {name} stands still for {still}"));
        }
        _ => {}
    }
    let tick_us = 1_000_000 / u64::from(of.tick_hz.max(1));
    if pace.took.p99 > tick_us {
        told.push(format!("match {name} is slow: ticks of {} take {}", micros(tick_us), micros(pace.took.p99)));
    } else if pace.late.p99 > tick_us {
        told.push(format!("match {name} is late: ticks begin {} after their time", micros(pace.late.p99)));
    }
    let full = percent(of.inbox.used_bytes, of.inbox.capacity_bytes);
    if full >= TOP_FULL_PERCENT {
        told.push(format!("the ring of match {name} is {full} % full"));
    }
    told
}
