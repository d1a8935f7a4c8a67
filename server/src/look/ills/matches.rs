//! What is wrong with matches.

use super::Severity::{Broken, Degraded, Notice};
use super::{About, Facts, Found, MatchSigns};
use crate::limits::{LATE_MS_MIN, LATE_PERIODS};
use crate::status::{MatchStatus, ProcessStatus};

/// Nobody steps it until an operator says so.
pub(super) fn paused(facts: &Facts<'_>) -> Found {
    let paused = facts.matches().filter(|(of, _)| of.state == "paused");
    let found = paused.map(|(of, signs)| {
        let name = &of.name;
        let why = match of.paused {
            Some("faults") => "because the game failed on it three times",
            Some("deaths") => "because its sims died on it again and again",
            _ => "by an operator",
        };
        let fault = signs.fault.as_ref().map_or(String::new(), |fault| format!(", with: {fault}"));
        let what = format!("match \"{name}\" is paused at tick {}, {why}{fault}", of.tick.saturating_add(1));
        let advice = format!(
            "`ringfort dead-letters list --match {name}` shows the inputs that it failed on; mend the game, then `ringfort matches resume {name}`"
        );
        (Broken, About::Match(of.id), what, advice)
    });
    found.collect()
}

/// Its sim could not start it or take it over.
pub(super) fn failed(facts: &Facts<'_>) -> Found {
    let failed = facts.status.matches.iter().filter(|of| of.state == "failed");
    let found = failed.map(|of| {
        let what = format!("match \"{}\" could not be opened or taken over by sim {}", of.name, of.owner_slot);
        (Broken, About::Match(of.id), what, "the sim's log says why; `ringfort fsck` looks for damage".to_owned())
    });
    found.collect()
}

/// It is to be stepped, and has committed nothing for long.
pub(super) fn late(facts: &Facts<'_>) -> Found {
    let found = facts.matches().filter_map(|(of, signs)| {
        let limit_ms = (period_us(of) * LATE_PERIODS / 1000).max(LATE_MS_MIN);
        let still_ms = signs.still_ms.filter(|still| *still > limit_ms)?;
        let is_its = |process: &ProcessStatus| process.role == "sim" && process.slot == of.owner_slot;
        let (sim, its) = facts.processes().find(|(process, _)| is_its(process) && !process.is_dead())?;
        let on = its.stepping.as_ref().map_or(String::new(), |on| format!(", {on}"));
        let what = format!(
            "match \"{}\" has committed nothing for {still_ms} ms, its tick {} was the last; its sim {} (pid {}) is {}{on}",
            of.name, of.tick, sim.slot, sim.pid, sim.state
        );
        let advice = format!(
            "if only one match of the sim is to blame, `ringfort zones move {} --to SLOT` moves this one to another sim",
            of.name
        );
        Some((Broken, About::Match(of.id), what, advice))
    });
    found.collect()
}

fn period_us(of: &MatchStatus) -> u64 {
    1_000_000 / u64::from(of.tick_hz.max(1))
}

/// Its ticks take longer than there is time.
pub(super) fn slow(facts: &Facts<'_>) -> Found {
    let slow = facts.matches().filter(|(of, signs)| of.state == "running" && signs.took.p99 > period_us(of));
    let found = slow.map(|(of, signs)| {
        let what = format!(
            "1 of 100 ticks of match \"{}\" takes {} us or more, and there is one every {} us",
            of.name,
            signs.took.p99,
            period_us(of)
        );
        let advice = "`ringfort top` shows which ticks; fewer entities, a lower tick rate, or a sim of its own (`ringfort zones move`) help";
        (Degraded, About::Match(of.id), what, advice.to_owned())
    });
    found.collect()
}

/// Its ticks are short enough, and begin when the next one should: its sim has too much to do.
pub(super) fn ticks_late(facts: &Facts<'_>) -> Found {
    let has_time = |(of, signs): &(&MatchStatus, &MatchSigns)| of.state == "running" && signs.took.p99 <= period_us(of);
    let late = facts.matches().filter(has_time).filter(|(of, signs)| signs.late.p50 > period_us(of));
    let found = late.map(|(of, signs)| {
        let what = format!(
            "half of the ticks of match \"{}\" begin {} us after their time or later, and there is one every {} us",
            of.name,
            signs.late.p50,
            period_us(of)
        );
        let advice = format!(
            "sim {} has too much to do: `ringfort sims scale N` adds some, `ringfort zones move` gives the match to another",
            of.owner_slot
        );
        (Degraded, About::Match(of.id), what, advice)
    });
    found.collect()
}

/// It runs alone in its process, since the last one died of it.
pub(super) fn alone(facts: &Facts<'_>) -> Found {
    let found = facts.status.matches.iter().filter(|of| of.alone).map(|of| {
        let what = format!("match \"{}\" runs alone in sim {}, because the last process died of it", of.name, of.owner_slot);
        (Notice, About::Match(of.id), what, "it joins the others when the tick has passed".to_owned())
    });
    found.collect()
}

/// A tick is tried again.
pub(super) fn retried(facts: &Facts<'_>) -> Found {
    let running = facts.matches().filter(|(of, _)| of.state == "running");
    let found = running.filter_map(|(of, signs)| {
        let (tick, attempt) = signs.retried?;
        let fault = signs.fault.as_ref().map_or(String::new(), |fault| format!("; the game failed with: {fault}"));
        let what = format!("tick {tick} of match \"{}\" is tried for the {attempt}. time{fault}", of.name);
        let advice = "the third attempt leaves its inputs out; after that the match is paused".to_owned();
        Some((Degraded, About::Match(of.id), what, advice))
    });
    found.collect()
}
