//! Which attempt at its tick a zone makes: as the records come, or once more over what an earlier owner has died of.
//!
//! The attempt is published before the game's code runs, in a takeover before anything else, so that a death can be told from a fault.

use std::path::PathBuf;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{AttemptEntry, FlightKind, RootHead, ZoneEntry};
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::world::World;
use tracing::warn;

use super::{OpenError, Records, Zone};
use crate::flight::{self, Note};
use crate::game::Game;
use crate::limits::ATTEMPTS_MAX;
use crate::sim::{fault, judge};

/// The attempt that the next tick is.
pub(super) struct Retry {
    /// As it is published.
    pub(super) attempt: AttemptEntry,
    /// What the attempt before it has failed of; empty when none has.
    pub(super) why: String,
    /// Where what is given up is written to.
    pub(super) letters: Option<PathBuf>,
    /// The end of the records of a tick without inputs, once these are written to the file.
    pub(super) written: Option<u64>,
    /// Inputs and commands that the tick under way has given up.
    pub(super) rejected: (u64, u64),
}

impl Retry {
    /// Judges what the last owner left and publishes the attempt. `committed` is the match's newest root, or where it begins.
    pub(super) fn begin(world: &World, slot: usize, entry: &ZoneEntry, committed: RootHead) -> Result<Self, OpenError> {
        let recorded = world.fault(slot);
        let judged = judge::judge(entry, committed.tick, world.attempt(slot), recorded);
        if let Some(reason) = judged.pause {
            return Err(OpenError::Paused { id: entry.incarnation, reason });
        }
        let mut attempt = judged.next;
        if !judged.exact() {
            // A takeover alone takes no records in.
            (attempt.net_cursor, attempt.mail_cursor) = (committed.net_cursor, committed.mail_cursor);
        }
        kill_point!("takeover:judged");
        world.publish_attempt(slot, &attempt);
        kill_point!("attempt:published");
        let why = if judged.exact() { fault::why(entry, attempt.tick, recorded) } else { String::new() };
        if judged.exact() {
            let how = if judged.rejects() { "without its inputs and commands" } else { "once more, with the same records" };
            warn!(zone = slot, "match {}: tick {} is run {how}, as the game failed: {why}", unpadded(&entry.name), attempt.tick);
            let (zone, a) = (Some((slot, entry.incarnation)), attempt.tick.into());
            flight::note(FlightKind::Fault, Note { zone, a, b: u64::from(attempt.attempt) - 1, text: &why, ..Note::default() });
            flight::note(FlightKind::Retry, Note { zone, a, b: attempt.attempt.into(), text: how, ..Note::default() });
        }
        Ok(Self { attempt, why, letters: None, written: None, rejected: (0, 0) })
    }

    /// Whether the tick goes without its inputs and commands.
    pub(super) fn rejects(&self) -> bool {
        self.attempt.attempt >= ATTEMPTS_MAX
    }

    /// The tick is committed: the next one is tried for the first time.
    pub(super) fn passed(&mut self) {
        let AttemptEntry { tick, .. } = self.attempt;
        self.attempt = AttemptEntry { tick: tick + 1, attempt: 1, deaths: 0, ..self.attempt };
        self.written = None;
    }

    /// The tick is not under way for now: it waits for its time after a takeover, or was rolled back to be run again. Who dies meanwhile, or
    /// hands the zone over, does not die of it: what is published counts one death less, so that the one that is judged makes up for it.
    pub(super) fn set_aside(&self, world: &World, slot: usize) {
        let AttemptEntry { tick, attempt, deaths, .. } = self.attempt;
        let is_first = (attempt, deaths) == (1, 0);
        let tick = if is_first { tick - 1 } else { tick };
        world.publish_attempt(slot, &AttemptEntry { tick, deaths: deaths.saturating_sub(1), ..self.attempt });
    }
}

impl<G: Game> Zone<G> {
    /// Writes what is given up after this to a file.
    pub fn keep_dead_letters(&mut self, file: PathBuf) {
        self.retry.letters = Some(file);
    }

    /// The number of the attempt that the next tick is.
    pub fn attempt(&self) -> u32 {
        self.retry.attempt.attempt
    }

    /// Says which records the tick takes in, and that it is about to.
    pub(super) fn begin_attempt<'m>(&mut self, world: &World, inbox_memory: &'m Memory, directory: Directory<'m>) -> Records<'m> {
        let attempt = &mut self.retry.attempt;
        if attempt.attempt == 1 {
            attempt.net_cursor = self.inbox.tail(inbox_memory);
            attempt.mail_cursor = directory.mail_tail(self.slot);
        }
        world.publish_attempt(self.slot, attempt);
        kill_point!("attempt:published");
        let (mut tail, mail_tail) = (attempt.net_cursor, attempt.mail_cursor);
        if self.retry.rejects() {
            tail = self.write_letters(inbox_memory, tail);
        }
        Records { inbox_memory, directory, tail, mail_tail }
    }

    /// Leaves behind what a process does that dies of the game in the next tick: the attempt and its fault.
    #[cfg(feature = "simulator")]
    pub(crate) fn fail(mut self, world: &World, inbox_memory: &Memory, directory: Directory<'_>) {
        use ringfort_shm_state::layout::{FaultEntry, FaultKind, fault_key};
        use zerocopy::FromZeros;

        let _ = self.begin_attempt(world, inbox_memory, directory);
        let AttemptEntry { incarnation, tick, attempt, resumes, .. } = self.retry.attempt;
        let (key, kind) = (fault_key(tick, attempt, resumes), FaultKind::Panic as u32);
        world.record_fault(self.slot, &FaultEntry { key, incarnation, kind, ..FaultEntry::new_zeroed() });
    }

    /// Of a tick that is committed.
    pub(super) fn count_attempt(&mut self) {
        self.counters.ticks_retried += u64::from(self.retry.attempt.attempt == 2);
        self.counters.ticks_rejected += u64::from(self.retry.rejects());
        let (inputs, commands) = std::mem::take(&mut self.retry.rejected);
        self.counters.inputs_rejected += inputs;
        self.counters.commands_rejected += commands;
    }
}
