//! What is wrong with the shared memory itself.

use super::Severity::{Broken, Degraded, Notice};
use super::{About, Facts, Found, about_process};
use crate::limits::FULL_PERCENT;

/// An inbox has little room left: its sim has not read it for long.
pub(super) fn inbox_full(facts: &Facts<'_>) -> Found {
    let full = facts.status.matches.iter().filter(|of| of.state != "ended" && of.inbox.percent() >= FULL_PERCENT);
    let found = full.map(|of| {
        let inbox = &of.inbox;
        let what = format!(
            "the inbox of match \"{}\" is {} % full: {} of {} bytes wait, and {} records were refused in its slot so far",
            of.name,
            inbox.percent(),
            inbox.used_bytes,
            inbox.capacity_bytes,
            inbox.refused
        );
        let advice = "its sim does not get to read it: see what is said of that sim and of the match".to_owned();
        (Broken, About::Match(of.id), what, advice)
    });
    found.collect()
}

/// An inbox holds what no front-end writes.
pub(super) fn inbox_damaged(facts: &Facts<'_>) -> Found {
    let damaged = facts.matches().filter_map(|(of, signs)| Some((of, signs.inbox.as_ref()?)));
    let found = damaged.map(|(of, damage)| {
        let advice =
            "a front-end that runs mends its end; if it comes again, one of them writes garbage: `ringfort drain frontend SLOT`";
        (Degraded, About::Match(of.id), format!("match \"{}\": {damage}", of.name), advice.to_owned())
    });
    found.collect()
}

/// A match's newest commit cannot be read.
pub(super) fn world_torn(facts: &Facts<'_>) -> Found {
    let torn = facts.matches().filter_map(|(of, signs)| Some((of, signs.torn.as_ref()?)));
    let found = torn.map(|(of, error)| {
        let advice = "`ringfort fsck` tells all that is damaged; save it with `ringfort save FILE`, then end the match or start anew with --fresh";
        (Broken, About::Match(of.id), format!("match \"{}\": {error}", of.name), advice.to_owned())
    });
    found.collect()
}

/// The map of the game, or the sizes of a match, are damaged.
pub(super) fn map_damaged(facts: &Facts<'_>) -> Found {
    let advice = "the other commands go on without what lies in the worlds; `ringfort up --fresh` writes a new directory";
    let map = facts.signs.map.iter().map(|error| (Degraded, About::Instance, error.clone(), advice.to_owned()));
    let undecoded = facts.matches().filter_map(|(of, signs)| Some((of, signs.undecoded.as_ref()?)));
    let undecoded = undecoded
        .map(|(of, error)| (Degraded, About::Match(of.id), format!("match \"{}\": {error}", of.name), advice.to_owned()));
    map.chain(undecoded).collect()
}

/// The segment of a worker, or the inboxes between zones, cannot be read.
pub(super) fn segment_damaged(facts: &Facts<'_>) -> Found {
    let found = facts.processes().filter(|(_, signs)| signs.is_lost).map(|(process, _)| {
        let what = format!("the segment of {} is missing or damaged: its heartbeat and counters are unknown", process.name());
        let advice = "`ringfort drain` replaces the process; what is there tells `ringfort save`".to_owned();
        (Degraded, about_process(process), what, advice)
    });
    // Without the directory, the world and the players' inboxes there is nothing to look at; without this one there is no going on.
    let advice = "a supervisor that starts now cannot go on with this instance: `ringfort save FILE`, then `ringfort up --fresh`";
    let between_zones =
        facts.signs.between_zones.iter().map(|error| (Degraded, About::Instance, error.clone(), advice.to_owned()));
    found.chain(between_zones).collect()
}

/// The arena has little room left.
pub(super) fn arena_full(facts: &Facts<'_>) -> Found {
    let arena = &facts.status.arena;
    if arena.percent() < FULL_PERCENT {
        return Vec::new();
    }
    let what = format!("{} of {} extents of the arena are used", arena.extents_used, arena.extents_total);
    let advice = "`ringfort arena` shows by which matches; end some, or start anew with a larger arena_mib".to_owned();
    vec![(Degraded, About::Instance, what, advice)]
}

/// Extents belong to matches that there are not.
pub(super) fn arena_leaked(facts: &Facts<'_>) -> Found {
    let strange = facts.signs.extents_strange;
    if strange == 0 {
        return Vec::new();
    }
    let what = format!("{strange} extents of the arena belong to no match that there is");
    let advice = "`ringfort fsck` names them; their room is lost until the instance is started with --fresh".to_owned();
    vec![(Notice, About::Instance, what, advice)]
}

/// The file lacks something, or is damaged where it was looked at.
pub(super) fn file_incomplete(facts: &Facts<'_>) -> Found {
    let advice = "what is missing in the file was missing or damaged in shared memory, too";
    let problems = facts.signs.file_problems.iter();
    let problem = |problem: &String| (Notice, About::Instance, format!("when the file was saved: {problem}"), advice.to_owned());
    let mut found: Found = problems.map(problem).collect();
    let damaged = facts.signs.damaged_chunks;
    if damaged > 0 {
        let what = format!("{damaged} chunks of 64 KiB in the file cannot be read, and count as zeros in all that is said here");
        let advice = "copy the file anew, or save the instance anew if it is still there".to_owned();
        found.push((Broken, About::Instance, what, advice));
    }
    found
}
