//! What is wrong with the shared memory itself.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Role, WorkerEntry};
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::world::RootError;

use super::Severity::{Broken, Degraded, Notice};
use super::{Facts, Severity};
use crate::limits::{ARENA_FULL_PERCENT, INBOX_FULL_PERCENT};
use crate::look::rings::rings;

type Found = Vec<(Severity, String, String)>;

/// An inbox has little room left.
pub(super) fn inbox_full(facts: &Facts<'_>) -> Found {
    let inboxes = facts.status.matches.iter().filter(|entry| entry.state != "ended");
    let is_full = |used: u64, of: u64| of > 0 && used.saturating_mul(100) >= of.saturating_mul(INBOX_FULL_PERCENT);
    let full = inboxes.filter(|entry| is_full(entry.inbox.used_bytes, entry.inbox.capacity_bytes));
    let found = full.map(|entry| {
        let (used, of, refused) = (entry.inbox.used_bytes, entry.inbox.capacity_bytes, entry.inbox.refused);
        let what = format!(
            "the inbox of match \"{}\" is full: {used} of {of} bytes wait, and {refused} records were refused in its slot so far",
            entry.name
        );
        (Broken, what, "its sim does not get to read it: see what is said of that sim and of the match".to_owned())
    });
    found.collect()
}

/// An inbox holds what no front-end writes.
pub(super) fn inbox_damaged(facts: &Facts<'_>) -> Found {
    let damaged = rings(facts.attached).rings.into_iter().filter_map(|ring| Some((ring.of, ring.damage?)));
    let found = damaged.map(|(of, damage)| {
        let advice =
            "a front-end that runs mends its end; if it comes again, one of them writes garbage: `ringfort drain frontend SLOT`";
        (Degraded, format!("match \"{of}\": {damage}"), advice.to_owned())
    });
    found.collect()
}

/// A match's newest commit cannot be read.
pub(super) fn world_torn(facts: &Facts<'_>) -> Found {
    let torn = facts.zones.iter().filter(|(_, entry)| entry.lives()).filter_map(|(slot, entry)| {
        let error = facts.attached.world.newest(*slot).err()?;
        (!matches!(error, RootError::Nothing { .. })).then(|| (unpadded(&entry.name), error))
    });
    let found = torn.map(|(name, error)| {
        let advice = "`ringfort fsck` tells all that is damaged; save it with `ringfort save FILE`, then end the match or start anew with --fresh";
        (Broken, format!("match \"{name}\": {error}"), advice.to_owned())
    });
    found.collect()
}

/// The map of the game, or the sizes of a match, are damaged.
pub(super) fn map_damaged(facts: &Facts<'_>) -> Found {
    let advice =
        "the other commands go on without what lies in the worlds; `ringfort up --fresh` writes a new directory".to_owned();
    let game = match facts.attached.game() {
        Ok(game) => game,
        Err(error) => return vec![(Degraded, error.to_string(), advice)],
    };
    let lives = facts.zones.iter().filter(|(_, entry)| entry.lives());
    let found = lives.filter_map(|(_, entry)| {
        let error = game.lay_out(entry).err()?;
        Some((Degraded, format!("match \"{}\": {error}", unpadded(&entry.name)), advice.clone()))
    });
    found.collect()
}

/// The segment of a worker cannot be read.
pub(super) fn segment_damaged(facts: &Facts<'_>) -> Found {
    let workers = Directory::new(&facts.attached.directory).workers();
    let has_one = |entry: &WorkerEntry| Role::from_u32(entry.role).filter(|role| *role != Role::Supervisor);
    let missing = workers.filter_map(|entry| Some((has_one(&entry)?, entry)));
    let missing = missing.filter(|(role, entry)| facts.attached.worker(*role, entry.slot).is_none());
    let found = missing.map(|(role, entry)| {
        let what = format!(
            "the segment of {} {} is missing or damaged: its heartbeat and counters are unknown",
            role.name(),
            entry.slot
        );
        (Degraded, what, "`ringfort drain` replaces the process; what is there tells `ringfort save`".to_owned())
    });
    found.collect()
}

/// The arena has little room left.
pub(super) fn arena_full(facts: &Facts<'_>) -> Found {
    let arena = &facts.status.arena;
    if arena.extents_total == 0 || arena.extents_used * 100 < arena.extents_total * ARENA_FULL_PERCENT {
        return Vec::new();
    }
    let what = format!("{} of {} extents of the arena are used", arena.extents_used, arena.extents_total);
    let advice = "`ringfort arena` shows by which matches; end some, or start anew with a larger arena_mib".to_owned();
    vec![(Degraded, what, advice)]
}

/// Extents belong to matches that there are not.
pub(super) fn arena_leaked(facts: &Facts<'_>) -> Found {
    let known = |(slot, id): (usize, u64)| facts.zones.iter().any(|(zone, entry)| (*zone, entry.incarnation) == (slot, id));
    let world = &facts.attached.world;
    let strange = (0..world.extents()).filter_map(|extent| world.owner(extent)).filter(|owner| !known(*owner)).count();
    if strange == 0 {
        return Vec::new();
    }
    let advice = "`ringfort fsck` names them; their room is lost until the instance is started with --fresh".to_owned();
    vec![(Notice, format!("{strange} extents of the arena belong to no match that there is"), advice)]
}

/// The file lacks something, or is damaged where the rules before have looked.
pub(super) fn file_incomplete(facts: &Facts<'_>) -> Found {
    let Some(file) = facts.attached.file() else { return Vec::new() };
    let advice = "what is missing in the file was missing or damaged in shared memory, too".to_owned();
    let problems = file.about().problems.iter();
    let mut found: Found =
        problems.map(|problem| (Notice, format!("when the file was saved: {problem}"), advice.clone())).collect();
    let damaged = file.damaged_chunks();
    if damaged > 0 {
        let what = format!("{damaged} chunks of 64 KiB in the file cannot be read, and count as zeros in all that is said here");
        found.push((Broken, what, "copy the file anew, or save the instance anew if it is still there".to_owned()));
    }
    found
}
