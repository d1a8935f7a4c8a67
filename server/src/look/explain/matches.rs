//! What is wrong with matches.

use std::collections::BTreeMap;

use ringfort_shm_state::layout::{FaultKind, RootFlags, ZoneEntry};
use ringfort_shm_state::limits::FAULT_TEXT_BYTES;

use super::Severity::{Broken, Degraded, Notice};
use super::processes::stepping;
use super::{Facts, Severity};
use crate::limits::{LATE_MS_MIN, LATE_PERIODS};
use crate::status::MatchStatus;

type Found = Vec<(Severity, String, String)>;

/// Nobody steps it until an operator says so.
pub(super) fn paused(facts: &Facts<'_>) -> Found {
    let paused = facts.status.matches.iter().filter(|entry| entry.state == "paused");
    let found = paused.map(|entry| {
        let name = &entry.name;
        let why = match entry.paused {
            Some("faults") => "because the game failed on it three times",
            Some("deaths") => "because its sims died on it again and again",
            _ => "by an operator",
        };
        let fault = fault_of(facts, entry).map_or(String::new(), |fault| format!(", with: {fault}"));
        let what = format!("match \"{name}\" is paused at tick {}, {why}{fault}", entry.tick.saturating_add(1));
        let advice = format!(
            "`ringfort dead-letters list --match {name}` shows the inputs that it failed on; mend the game, then `ringfort matches resume {name}`"
        );
        (Broken, what, advice)
    });
    found.collect()
}

/// What the match's sim has died of last.
fn fault_of(facts: &Facts<'_>, entry: &MatchStatus) -> Option<String> {
    let fault = facts.attached.world.fault(entry.slot).filter(|fault| fault.incarnation == entry.id)?;
    if fault.kind == FaultKind::Signal as u32 {
        return Some(format!("signal {} at address {:#x}", fault.signal, fault.address));
    }
    let bytes = (fault.bytes as usize).min(FAULT_TEXT_BYTES);
    Some(String::from_utf8_lossy(&fault.text[..bytes]).into_owned())
}

/// Its sim could not start it or take it over.
pub(super) fn failed(facts: &Facts<'_>) -> Found {
    let failed = facts.status.matches.iter().filter(|entry| entry.state == "failed");
    let found = failed.map(|entry| {
        let what = format!("match \"{}\" could not be opened or taken over by sim {}", entry.name, entry.owner_slot);
        (Broken, what, "the sim's log says why; `ringfort fsck` looks for damage".to_owned())
    });
    found.collect()
}

/// It is to be stepped, and has committed nothing for long.
pub(super) fn late(facts: &Facts<'_>) -> Found {
    let now_us = facts.attached.moment.now_us();
    let mut found = Vec::new();
    // Looked up once a sim: all of its matches may be late.
    let mut sims: BTreeMap<u32, Option<String>> = BTreeMap::new();
    for (slot, entry) in facts.zones.iter().filter(|(_, entry)| is_stepped(entry)) {
        let head = facts.attached.world.newest(*slot).ok().map(|root| root.head);
        let lives = |head: &ringfort_shm_state::layout::RootHead| {
            head.incarnation == entry.incarnation && head.flags & RootFlags::ENDED == 0
        };
        let Some(head) = head.filter(lives) else { continue };
        let age_ms = now_us.saturating_sub(head.published_us) / 1000;
        let period_ms = 1000 / u64::from(entry.tick_hz.max(1));
        let sim = facts.status.processes.iter().find(|process| process.role == "sim" && process.slot == entry.owner_sim);
        if age_ms <= (period_ms * LATE_PERIODS).max(LATE_MS_MIN) || sim.is_none_or(|sim| matches!(sim.state, "dead" | "zombie")) {
            continue;
        }
        let name = ringfort_shm_state::segment::unpadded(&entry.name);
        let sim = sim.map_or(String::new(), |sim| {
            let on = sims.entry(sim.slot).or_insert_with(|| stepping(facts, sim));
            let on = on.as_ref().map_or(String::new(), |on| format!(", {on}"));
            format!("its sim {} (pid {}) is {}{on}", sim.slot, sim.pid, sim.state)
        });
        let what = format!("match \"{name}\" has committed nothing for {age_ms} ms, its tick {} was the last; {sim}", head.tick);
        let advice = format!(
            "if only one match of the sim is to blame, `ringfort zones move {name} --to SLOT` moves this one to another sim"
        );
        found.push((Broken, what, advice));
    }
    found
}

fn is_stepped(entry: &ZoneEntry) -> bool {
    entry.state == ringfort_shm_state::layout::ZoneState::Open as u32
}

/// Its ticks take longer than there is time.
pub(super) fn slow(facts: &Facts<'_>) -> Found {
    let period_us = |entry: &MatchStatus| 1_000_000 / u64::from(entry.tick_hz.max(1));
    let slow = facts.status.matches.iter().filter(|entry| entry.state == "running" && entry.tick_us.p99 > period_us(entry));
    let found = slow.map(|entry| {
        let what = format!(
            "1 of 100 ticks of match \"{}\" takes {} us or more, and there is one every {} us",
            entry.name,
            entry.tick_us.p99,
            period_us(entry)
        );
        let advice = "`ringfort top` shows which ticks; fewer entities, a lower tick rate, or a sim of its own (`ringfort zones move`) help";
        (Degraded, what, advice.to_owned())
    });
    found.collect()
}

/// It runs alone in its process, since the last one died of it.
pub(super) fn alone(facts: &Facts<'_>) -> Found {
    let found = facts.status.matches.iter().filter(|entry| entry.alone).map(|entry| {
        let what =
            format!("match \"{}\" runs alone in sim {}, because the last process died of it", entry.name, entry.owner_slot);
        (Notice, what, "it joins the others when the tick has passed".to_owned())
    });
    found.collect()
}

/// A tick is tried again.
pub(super) fn retried(facts: &Facts<'_>) -> Found {
    let running = facts.status.matches.iter().filter(|entry| entry.state == "running");
    let found = running.filter_map(|entry| {
        let attempt = facts.attached.world.attempt(entry.slot)?;
        let is_on = attempt.incarnation == entry.id && attempt.attempt > 1 && attempt.tick > entry.tick;
        let fault = fault_of(facts, entry).map_or(String::new(), |fault| format!("; the game failed with: {fault}"));
        let what = format!("tick {} of match \"{}\" is tried for the {}. time{fault}", attempt.tick, entry.name, attempt.attempt);
        is_on.then(|| (Degraded, what, "the third attempt leaves its inputs out; after that the match is paused".to_owned()))
    });
    found.collect()
}
