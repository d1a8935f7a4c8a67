//! The matches: which slot and inbox area each has, which sim steps it, and when its slot may be used again.
//!
//! **Invariant**: a slot, and the inbox area with it, is free for the next match only when the last one gave its memory
//! back, was published as closed, and every process that lives has seen that. Epochs go on from match to match in a slot,
//! as the control block does.

mod adopt;
mod grants;
mod planned;
mod set;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{MailKind, RootFlags, RootHead, Verdict, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{JOIN_CODE_BYTES, MAX_ZONES};
use ringfort_shm_state::lock::LockHolder;
use ringfort_shm_state::segment::{padded, unpadded};
use ringfort_shm_state::worker::WorkerPage;
use tracing::{error, info};
use zerocopy::FromZeros;

use super::control::{HookAnswer, HookVerdict};
use super::errors::MatchError;
use super::results::{Results, WaitingResults};
use super::rules::{MatchPlan, Rules, mib_of};
use super::segments::Segments;
use super::workers::{Workers, incarnation};
use crate::cli::Role;
use crate::clock::boot_us;
use crate::config::{Config, MatchConfig, check_life, check_match_name};
use crate::limits::{FRONTENDS_MAX, KICKS_WAITING_MAX, STANDBY_SIMS};

/// The tick of a match's second root. From it on the mailbox is read in order: before, a sim skips what stands there,
/// which was for an earlier match of the slot.
const FIRST_MAIL_TICK: u32 = 2;

/// All matches of the instance.
pub(super) struct Zones {
    live: BTreeMap<usize, Zone>,
    last_incarnation: u64,
    max: u32,
    /// Sims that are to be at work.
    sims: u32,
    /// Slots of sims, those that stand by included.
    sim_slots: u32,
    /// Sims that are given no match, because they are to be empty.
    leaving: BTreeSet<u32>,
    inbox_bytes: u64,
    results: Results,
}

/// A match and its slot.
struct Zone {
    entry: ZoneEntry,
    stage: Stage,
    /// The root that was the newest at the last look.
    seen_sequence: u64,
    end_wanted: bool,
    /// Sessions that it is to end, and has not been told of.
    kicks: Vec<u64>,
    /// It is from an earlier run, and its sim has not died over it in this one.
    awaited: bool,
    /// Front-ends whose deaths it has not been told, by slot.
    obituaries: BTreeMap<u32, Obituary>,
    /// What is known of its results.
    waiting: WaitingResults,
    /// Sims that have died while they opened it.
    opening_deaths: u32,
    /// The tick that it has to pass before it is a match like others, while it runs alone.
    suspect_tick: u32,
}

/// Where a match stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The sim has yet to commit the opening.
    Opening,
    /// It runs, or ends.
    Open,
    /// Published as closed, in this generation of the directory.
    Closed { generation: u64, failed: bool },
}

/// A front-end's death, to be told when the match has consumed what it appended before: a join that comes after the news
/// would leave a session that nobody ends.
struct Obituary {
    incarnation: u32,
    inbox_tail: u64,
}

impl Obituary {
    /// Whether nothing of what stood in the inbox at the death can still be applied, by a tail of later and the cursor of a root
    /// that is later still. A tail that has gone back was mended, and one that is more than a ring ahead is going to be: both
    /// times what stood there is skipped.
    fn is_due(&self, tail: u64, net_cursor: u64, ring_bytes: u64) -> bool {
        net_cursor >= self.inbox_tail || tail < self.inbox_tail || tail - net_cursor > ring_bytes
    }
}

/// What became of a match that was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Its sim has not opened it yet.
    Waiting,
    /// It is open, or was.
    Open,
    /// Its sim could not open it.
    Failed {
        /// Which sim.
        sim: u32,
    },
}

impl Zones {
    /// The matches of the directory, none in a new one. Those of an earlier run are granted to the sims of this run, and told of
    /// that run's front-ends, before any process of this run is started.
    pub(super) fn new(config: &Config, segments: &Segments, results: Results) -> Zones {
        let mut zones = Zones::none(config, results);
        for (slot, entry) in Directory::new(&segments.directory).zones() {
            zones.resume(segments, slot, entry);
        }
        for frontend in 0..FRONTENDS_MAX {
            let incarnation = incarnation(segments, Role::Frontend, frontend);
            if incarnation > 0 {
                zones.frontend_died(segments, frontend, incarnation);
            }
        }
        zones
    }

    fn none(config: &Config, results: Results) -> Zones {
        Zones {
            live: BTreeMap::new(),
            // Microseconds since boot are ahead of every number that an earlier instance gave out, one at a time.
            last_incarnation: boot_us(),
            max: config.max_matches,
            sims: config.sims,
            sim_slots: config.sims + STANDBY_SIMS,
            leaving: BTreeSet::new(),
            inbox_bytes: u64::from(config.inbox_mib) << 20,
            results,
        }
    }

    /// Goes on with a match of an earlier run.
    fn resume(&mut self, segments: &Segments, slot: usize, entry: ZoneEntry) {
        self.last_incarnation = self.last_incarnation.max(entry.incarnation);
        let epoch = if entry.next_sim == 0 { next_epoch(segments, slot) } else { epoch_after_next(segments, slot) };
        let entry = ZoneEntry { owner_sim: self.idlest_sim(), epoch, next_sim: 0, next_epoch: 0, alone: 0, ..entry };
        let mut zone = Zone::new(entry);
        zone.publish(slot, segments);
        let head = zone.newest(slot, segments);
        zone.stage = if entry.state == ZoneState::Closed as u32 {
            Stage::Closed { generation: zone.entry.generation, failed: false }
        } else if head.is_some() {
            Stage::Open
        } else {
            Stage::Opening
        };
        if zone.stage == Stage::Open {
            zone.pause_if_judged(slot, segments);
        }
        zone.awaited = !zone.is_paused();
        let tick = head.map_or(0, |head| head.tick);
        info!(zone = slot, "match {} has id {}, tick {tick} and now sim {}", zone.name(), entry.incarnation, entry.owner_sim);
        self.live.insert(slot, zone);
    }

    /// Puts a match into the directory. Its options are complete. Returns its slot and its id.
    pub(super) fn create(
        &mut self,
        segments: &Segments,
        rules: &Rules,
        wanted: &MatchConfig,
    ) -> Result<(usize, u64), MatchError> {
        let MatchConfig { name, options, private, spectators, idle_minutes } = wanted;
        let spectators = spectators.unwrap_or(0);
        check_match_name(name)?;
        check_life(wanted)?;
        if self.entry(name).is_some() {
            return Err(MatchError::NameTaken(name.to_owned()));
        }
        let plan = rules.plan(options, spectators)?;
        let slot = self.free_slot().ok_or(MatchError::TooMany { max: self.max })?;
        self.check_arena(segments, &plan)?;
        let inbox_offset = self.free_area(plan.inbox_bytes).ok_or(MatchError::InboxFull { bytes: plan.inbox_bytes })?;
        let mut seed = [0; 8];
        SystemRandom::new().fill(&mut seed).map_err(|_| MatchError::NoRandomness)?;
        self.last_incarnation += 1;
        let entry = ZoneEntry {
            incarnation: self.last_incarnation,
            state: ZoneState::Open as u32,
            owner_sim: self.idlest_sim(),
            epoch: next_epoch(segments, slot),
            tick_hz: plan.tick_hz,
            capacity: plan.capacity,
            max_entities: plan.max_entities,
            rewind_ms: plan.rewind_ms,
            resumes: 0,
            inbox_offset,
            inbox_bytes: plan.inbox_bytes,
            seed: u64::from_ne_bytes(seed),
            tables_hash: plan.tables_hash,
            generation: 0,
            extents_reserved: plan.extents as u64,
            spectators,
            idle_minutes: idle_minutes.unwrap_or(0),
            pause: 0,
            alone: 0,
            next_sim: 0,
            next_epoch: 0,
            hang_tick: 0,
            hang_attempt: 0,
            grace_ms: plan.grace_ms,
            reserved: 0,
            code: if *private { self.free_code()? } else { [0; JOIN_CODE_BYTES] },
            name: padded(name),
            options: padded(&plan.options),
        };
        let mut zone = Zone::new(entry);
        zone.publish(slot, segments);
        info!(zone = slot, "match {name} has id {} and sim {}", entry.incarnation, entry.owner_sim);
        self.live.insert(slot, zone);
        Ok((slot, entry.incarnation))
    }

    /// A code that no match has.
    fn free_code(&self) -> Result<[u8; JOIN_CODE_BYTES], MatchError> {
        loop {
            let code = random_code().ok_or(MatchError::NoRandomness)?;
            if self.live.values().all(|zone| zone.entry.code != code) {
                return Ok(code);
            }
        }
    }

    /// The private matches' names and codes.
    pub(super) fn codes(&self) -> impl Iterator<Item = (String, String)> {
        let private = self.live.values().filter(|zone| zone.entry.code != [0; JOIN_CODE_BYTES]);
        private.map(|zone| (zone.name(), unpadded(&zone.entry.code)))
    }

    /// Asks a match to end one of its sessions. Returns its slot and its id. Until [`Zones::knows_kicks`] the wish is ours alone.
    pub(super) fn kick(&mut self, name: &str, session: u64) -> Result<(usize, u64), MatchError> {
        let found = self.live.iter_mut().find(|(_, zone)| zone.name() == name && zone.is_live());
        let (slot, zone) = found.ok_or_else(|| MatchError::NoSuchMatch(name.to_owned()))?;
        if zone.kicks.len() >= KICKS_WAITING_MAX {
            return Err(MatchError::TooManyKicks { name: name.to_owned() });
        }
        zone.kicks.push(session);
        Ok((*slot, zone.entry.incarnation))
    }

    /// Whether every kick that a match was asked for stands in shared memory, or it is over.
    pub(super) fn knows_kicks(&self, slot: usize, id: u64) -> bool {
        let zone = self.live.get(&slot).filter(|zone| zone.entry.incarnation == id && zone.is_live());
        zone.is_none_or(|zone| zone.kicks.is_empty())
    }

    /// Asks a match to end. Returns its slot and its id. Until [`Zones::knows_end`] the wish is ours alone.
    pub(super) fn end(&mut self, name: &str) -> Result<(usize, u64), MatchError> {
        let found = self.live.iter_mut().find(|(_, zone)| zone.name() == name && zone.is_live());
        let (slot, zone) = found.ok_or_else(|| MatchError::NoSuchMatch(name.to_owned()))?;
        zone.end_wanted = true;
        Ok((*slot, zone.entry.incarnation))
    }

    /// Whether the end that a match was asked for stands in shared memory, or it is over.
    pub(super) fn knows_end(&self, slot: usize, id: u64) -> bool {
        let zone = self.live.get(&slot).filter(|zone| zone.entry.incarnation == id && zone.is_live());
        zone.is_none_or(|zone| !zone.end_wanted)
    }

    /// The match of a name, over or not.
    pub(super) fn entry(&self, name: &str) -> Option<&ZoneEntry> {
        self.live.values().find(|zone| zone.name() == name).map(|zone| &zone.entry)
    }

    /// The matches' names, by slot.
    pub(super) fn names(&self) -> Vec<String> {
        self.live.values().map(Zone::name).collect()
    }

    /// Whether a match of an earlier run has yet to be taken over by its sim, or cleared away because it was over. Not one whose sim has
    /// died, perhaps over it; nor one that cannot give its memory back: every worker has seen that it is closed, and it still owns some.
    pub(super) fn is_resuming(&self, segments: &Segments, workers: &Workers) -> bool {
        self.live.iter().any(|(slot, zone)| match zone.stage {
            Stage::Opening => false,
            Stage::Open => zone.awaited && !zone.has_failed(*slot, segments) && !zone.is_claimed(*slot, segments),
            // In this order: a sim gives memory back first and then says that it has acted upon the generation.
            Stage::Closed { generation, .. } => {
                !workers.all_saw(segments, generation) || !segments.world.owns_memory(*slot, zone.entry.incarnation)
            }
        })
    }

    /// Matches that no sim steps, although they are open: their names and sims.
    pub(super) fn not_taken_over(&self, segments: &Segments) -> Vec<(String, u32)> {
        let idle =
            |(slot, zone): &(&usize, &Zone)| zone.stage == Stage::Open && !zone.is_paused() && !zone.is_claimed(**slot, segments);
        self.live.iter().filter(idle).map(|(_, zone)| (zone.name(), zone.entry.owner_sim)).collect()
    }

    /// What became of a match.
    pub(super) fn opening(&self, slot: usize, id: u64) -> Opening {
        match self.live.get(&slot).filter(|zone| zone.entry.incarnation == id) {
            Some(Zone { stage: Stage::Opening, .. }) => Opening::Waiting,
            Some(Zone { stage: Stage::Closed { failed: true, .. }, entry, .. }) => Opening::Failed { sim: entry.owner_sim },
            // One that is gone had opened: a failed one is asked for in the same turn in which it is found.
            Some(Zone { stage: Stage::Open | Stage::Closed { failed: false, .. }, .. }) | None => Opening::Open,
        }
    }

    /// Sessions of all matches, with or without a connection.
    pub(super) fn sessions(&self, segments: &Segments) -> u64 {
        let live = self.live.iter().filter(|(_, zone)| zone.is_live());
        live.filter_map(|(slot, zone)| Some(u64::from(zone.newest(*slot, segments)?.sessions))).sum()
    }

    /// Who holds the locks of the matches' inboxes just now, by slot.
    pub(super) fn lock_holders<'z>(&'z self, segments: &'z Segments) -> impl Iterator<Item = (usize, LockHolder)> + 'z {
        let memory = segments.inbox.memory();
        self.live.iter().filter_map(move |(slot, Zone { entry, .. })| {
            let inbox = Inbox::new(memory, *slot, entry.inbox_offset, entry.inbox_bytes)?;
            Some((*slot, inbox.holder(memory)?))
        })
    }

    /// Remembers to tell every match that a front-end's process has died.
    pub(super) fn frontend_died(&mut self, segments: &Segments, frontend: u32, incarnation: u32) {
        for (slot, zone) in self.live.iter_mut().filter(|(_, zone)| zone.is_live()) {
            let inbox_tail = zone.inbox_tail(*slot, segments);
            zone.obituaries.insert(frontend, Obituary { incarnation, inbox_tail });
        }
    }

    /// Follows every match a step further. Returns whether the directory has changed.
    pub(super) fn turn(&mut self, segments: &Segments, workers: &Workers) -> bool {
        let mut changed = false;
        let results = &self.results;
        self.live.retain(|slot, zone| {
            changed |= zone.turn(*slot, segments, workers, results);
            let Stage::Closed { generation, .. } = zone.stage else { return true };
            // The extents of a failed match come back when its sim, or that one's successor, has seen that it is closed.
            if !workers.all_saw(segments, generation) || segments.world.owns_memory(*slot, zone.entry.incarnation) {
                return true;
            }
            info!(zone = *slot, "match {} is gone", zone.name());
            DirectoryWriter::new(&segments.directory).publish_zone(*slot, &ZoneEntry::new_zeroed());
            changed = true;
            false
        });
        changed
    }

    /// Puts an answer into its match's mailbox. `false` when it has no room there yet.
    pub(super) fn answer(&self, segments: &Segments, answer: &HookAnswer) -> bool {
        let found = self.live.iter().find(|(_, zone)| zone.entry.incarnation == answer.match_id && zone.is_live());
        // Nobody waits for it any more.
        let Some((slot, zone)) = found else { return true };
        let Some(head) = zone.newest(*slot, segments).filter(|head| head.tick >= FIRST_MAIL_TICK) else { return false };
        let verdict = match answer.verdict {
            HookVerdict::Answered => Verdict::Answered,
            HookVerdict::Failed => Verdict::Failed,
            HookVerdict::Taken => Verdict::Taken,
        };
        let consumed = head.mail_cursor.min(Directory::new(&segments.directory).mail_tail(*slot));
        DirectoryWriter::new(&segments.directory).post_answer(*slot, consumed, answer.id, verdict, &answer.text).is_ok()
    }

    /// The instance stops: what nobody has taken goes to the file.
    pub(super) fn write_all_results(&mut self, segments: &Segments) {
        for (slot, zone) in self.live.iter_mut().filter(|(_, zone)| zone.is_live()) {
            if zone.newest(*slot, segments).is_some_and(|head| head.results > 0) {
                self.results.write_now(segments, *slot, &zone.entry, &mut zone.waiting);
            }
        }
    }

    fn free_slot(&self) -> Option<usize> {
        if self.live.len() >= self.max as usize {
            return None;
        }
        (0..MAX_ZONES).find(|slot| !self.live.contains_key(slot))
    }

    /// What is reserved counts, not what is used: matches that have just begun use little, and all of them will grow.
    fn check_arena(&self, segments: &Segments, plan: &MatchPlan) -> Result<(), MatchError> {
        let total = segments.world.extents();
        let reserved: u64 = self.live.values().map(|zone| zone.entry.extents_reserved).sum();
        let (needed, free) = (plan.extents, total.saturating_sub(reserved as usize));
        if free < needed {
            let (fit, max) = (total / needed, self.max);
            return Err(MatchError::ArenaFull { needed, free, total, fit, max, mib: mib_of(needed * max as usize) });
        }
        Ok(())
    }

    /// The first place in the inbox segment with so many bytes in a row.
    fn free_area(&self, bytes: u64) -> Option<u64> {
        let mut taken: Vec<(u64, u64)> =
            self.live.values().map(|zone| (zone.entry.inbox_offset, zone.entry.inbox_bytes)).collect();
        taken.sort_unstable();
        first_fit(&taken, bytes, self.inbox_bytes)
    }
}

impl Zone {
    fn new(entry: ZoneEntry) -> Zone {
        Zone {
            entry,
            stage: Stage::Opening,
            seen_sequence: 0,
            end_wanted: false,
            kicks: Vec::new(),
            awaited: false,
            obituaries: BTreeMap::new(),
            waiting: WaitingResults::default(),
            opening_deaths: 0,
            suspect_tick: 0,
        }
    }

    fn name(&self) -> String {
        unpadded(&self.entry.name)
    }

    fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Open)
    }

    /// Whether its sim has said that it cannot step it.
    fn has_failed(&self, slot: usize, segments: &Segments) -> bool {
        let sim = segments.sims.get(self.entry.owner_sim as usize);
        sim.is_some_and(|segment| WorkerPage::new(segment).has_failed(slot, self.entry.incarnation))
    }

    /// Whether its sim steps it: a match that was over is never claimed, but closed.
    fn is_claimed(&self, slot: usize, segments: &Segments) -> bool {
        segments.world.published(slot).epoch == self.entry.epoch as u16
    }

    fn publish(&mut self, slot: usize, segments: &Segments) {
        self.entry.generation = DirectoryWriter::new(&segments.directory).publish_zone(slot, &self.entry);
    }

    /// Returns whether the directory has changed.
    fn turn(&mut self, slot: usize, segments: &Segments, workers: &Workers, results: &Results) -> bool {
        match self.stage {
            Stage::Opening => self.watch_opening(slot, segments, workers),
            Stage::Open => self.follow_owner(slot, segments) | self.watch(slot, segments, results),
            Stage::Closed { .. } => false,
        }
    }

    fn watch_opening(&mut self, slot: usize, segments: &Segments, workers: &Workers) -> bool {
        // In this order: a sim opens first and then says that it has acted upon the generation.
        let seen = workers.seen_by_sim(segments, self.entry.owner_sim);
        let failed = self.has_failed(slot, segments);
        if self.newest(slot, segments).is_some() && !failed {
            self.stage = Stage::Open;
        } else if failed || seen.is_some_and(|seen| seen >= self.entry.generation) {
            error!(zone = slot, "match {} could not be opened by sim {}", self.name(), self.entry.owner_sim);
            self.close(slot, segments, true);
            return true;
        }
        false
    }

    fn watch(&mut self, slot: usize, segments: &Segments, results: &Results) -> bool {
        let sequence = segments.world.published(slot).sequence;
        let moved = std::mem::replace(&mut self.seen_sequence, sequence) != sequence;
        // The root that ends a match is its last: one that moves on has not ended, and need not be copied but to see a result.
        if moved
            && !self.end_wanted
            && self.kicks.is_empty()
            && self.obituaries.is_empty()
            && !self.waiting.is_due(Instant::now())
        {
            return false;
        }
        if self.end_wanted && (self.is_paused() || self.has_failed(slot, segments)) {
            let has_results = self.newest(slot, segments).is_some_and(|head| head.results > 0);
            if has_results && !results.write(segments, slot, &self.entry, &mut self.waiting) {
                return false;
            }
            // Nobody reads its mailbox. Its sim gives the memory back when it sees that the match is closed.
            self.close(slot, segments, true);
            return true;
        }
        // In this order: no honest tail is more than a ring ahead of a cursor that was read after it.
        let inbox_tail = self.inbox_tail(slot, segments);
        let Some(head) = self.newest(slot, segments) else { return false };
        if head.flags & RootFlags::ENDED != 0 {
            let owns_memory = segments.world.owns_memory(slot, self.entry.incarnation);
            // Its sim gives the memory back; if that one died meanwhile, its successor does.
            if !owns_memory {
                self.close(slot, segments, false);
            }
            return !owns_memory;
        }
        if head.tick >= FIRST_MAIL_TICK {
            self.post(slot, &head, inbox_tail, segments);
            results.follow(segments, slot, &self.entry, &head, &mut self.waiting);
        }
        false
    }

    /// Posts what the match is to be told. What doesn't fit is tried again at the next turn.
    fn post(&mut self, slot: usize, head: &RootHead, inbox_tail: u64, segments: &Segments) {
        let directory = DirectoryWriter::new(&segments.directory);
        let consumed = head.mail_cursor.min(Directory::new(&segments.directory).mail_tail(slot));
        self.obituaries.retain(|frontend, obituary| {
            if !obituary.is_due(inbox_tail, head.net_cursor, self.entry.inbox_bytes) {
                return true;
            }
            let (a, b) = (u64::from(*frontend), u64::from(obituary.incarnation));
            directory.post(slot, consumed, MailKind::FrontendDied, a, b, "").is_err()
        });
        self.kicks.retain(|session| directory.post(slot, consumed, MailKind::Kick, *session, 0, "").is_err());
        if self.end_wanted && directory.post(slot, consumed, MailKind::End, 0, 0, "").is_ok() {
            self.end_wanted = false;
        }
    }

    fn close(&mut self, slot: usize, segments: &Segments, failed: bool) {
        self.entry.state = ZoneState::Closed as u32;
        if !failed {
            // One that ended in order has given its memory back.
            self.entry.extents_reserved = 0;
        }
        self.publish(slot, segments);
        self.stage = Stage::Closed { generation: self.entry.generation, failed };
    }

    /// The end of its inbox, from where a drain that finds garbage goes on: every such tail is reached some time, unless it is
    /// garbage itself.
    fn inbox_tail(&self, slot: usize, segments: &Segments) -> u64 {
        let memory = segments.inbox.memory();
        let inbox = Inbox::new(memory, slot, self.entry.inbox_offset, self.entry.inbox_bytes);
        inbox.map_or(0, |inbox| inbox.tail(memory) & !7)
    }

    /// The newest root of this very match.
    fn newest(&self, slot: usize, segments: &Segments) -> Option<RootHead> {
        let root = segments.world.newest(slot).ok()?;
        (root.head.incarnation == self.entry.incarnation).then_some(root.head)
    }
}

/// Eight characters that are not taken for one another, by eye or by ear of a bad line: 30 bits and more than 9.
fn random_code() -> Option<[u8; JOIN_CODE_BYTES]> {
    const CHARACTERS: &[u8] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
    // As many bytes as are a multiple of the characters, so that each is as likely.
    const FAIR: u8 = (256 / CHARACTERS.len() * CHARACTERS.len()) as u8;
    let mut code = Vec::with_capacity(JOIN_CODE_BYTES);
    while code.len() < JOIN_CODE_BYTES {
        let mut bytes = [0; JOIN_CODE_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let fair = bytes.into_iter().filter(|byte| *byte < FAIR);
        code.extend(fair.map(|byte| CHARACTERS[usize::from(byte) % CHARACTERS.len()]).take(JOIN_CODE_BYTES - code.len()));
    }
    code.try_into().ok()
}

/// The epoch of a slot's next grant: one above what was claimed last. Whoever was granted the slot before is dead, or has seen its
/// match closed, so that a grant that nobody lived to claim counts no more; many of them would lead past half of the epochs, from
/// where a higher one is taken for a lower.
fn next_epoch(segments: &Segments, slot: usize) -> u32 {
    segments.world.published(slot).epoch.wrapping_add(1).into()
}

/// The epoch of a slot's next grant when its last owner was told to hand it over with the one after its own, and may or may not have come to
/// that: whoever waits for that epoch must not take this grant for it.
fn epoch_after_next(segments: &Segments, slot: usize) -> u32 {
    segments.world.published(slot).epoch.wrapping_add(2).into()
}

/// The first gap between sorted areas, of {offset, bytes} each, that has room.
fn first_fit(taken: &[(u64, u64)], bytes: u64, end: u64) -> Option<u64> {
    let mut offset = 0;
    for (start, length) in taken {
        if offset + bytes <= *start {
            break;
        }
        offset = offset.max(start + length);
    }
    (offset + bytes <= end).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_when_nothing_of_before_can_come() {
        let obituary = Obituary { incarnation: 1, inbox_tail: 4096 };
        assert!(!obituary.is_due(4096, 4088, 1024), "a record is left");
        assert!(obituary.is_due(4096, 4096, 1024));
        assert!(!obituary.is_due(5112, 4088, 1024), "the ring is full of later ones");
        assert!(obituary.is_due(5120, 4088, 1024), "a drain waits at that tail until it is mended");
        assert!(obituary.is_due(4088, 4088, 1024), "it was mended");
        assert!(obituary.is_due(!7, 0, 1024));
        assert!(obituary.is_due(0, 8192, 1024), "a tail behind the cursor");
    }

    #[test]
    fn codes_have_eight_characters_that_look_like_no_other() {
        let codes: std::collections::BTreeSet<_> = (0..200).map(|_| random_code().unwrap()).collect();
        assert_eq!(codes.len(), 200);
        let all: std::collections::BTreeSet<u8> = codes.into_iter().flatten().collect();
        assert_eq!(all.len(), 30, "1,600 characters, and every one of the 30 among them");
        assert!(all.iter().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()) && !b"01ILOU".iter().any(|c| all.contains(c)));
    }

    #[test]
    fn areas_fill_the_first_gap() {
        assert_eq!(first_fit(&[], 16, 64), Some(0));
        assert_eq!(first_fit(&[], 65, 64), None);
        assert_eq!(first_fit(&[(0, 16), (32, 16)], 16, 64), Some(16));
        assert_eq!(first_fit(&[(0, 16), (32, 16)], 32, 64), None);
        assert_eq!(first_fit(&[(16, 16)], 16, 64), Some(0));
        assert_eq!(first_fit(&[(0, 16), (16, 48)], 16, 64), None);
        assert_eq!(first_fit(&[(0, 16), (16, 16)], 32, 64), Some(32));
    }
}
