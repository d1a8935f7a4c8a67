//! One zone, stepped: drain the inbox and the mailbox, apply, step the game, commit.
//!
//! **Invariant**: cursors, events, sessions and the world commit together, so an input is applied exactly once or not yet. All
//! that is kept between ticks beside the pages (`Index`) is derived from them and rebuilt on takeover.

mod attach;
mod flights;
mod index;
mod life;
mod outside;
mod reject;
mod retry;
mod set;
mod sights;
mod twice;

use std::rc::Rc;

use ringfort_protocol::bits::BitWriter;
use ringfort_protocol::{Message, SessionId, TickNo};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::{Inbox, Record};
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{
    EventRow, MailKind, PauseReason, RecordKind, RootFlags, RootHead, SessionFlags, SessionRow, ZoneEntry,
};
use ringfort_shm_state::limits::MAILBOX_RECORDS;
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::pages::{AdoptError, CommitError};
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::world::{RootError, World};
use zerocopy::FromZeros;

use super::fault;
use super::inputs::Arrivals;
use crate::game::{AskRules, BadRow, Bound, Description, DescriptionError, Game, Hook, Outgoing, Tick, Why, ZoneLimits};
use crate::limits::{LINGER_MS, RECORDS_PER_TICK, REFUSALS_PER_TICK};
use attach::{NO_HASH, proves};
use flights::Flights;
use index::Index;
use retry::Retry;

/// What a zone did, for the sim's counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZoneCounters {
    /// Records that were garbage, of another match, or of a session that has ended.
    pub records_ignored: u64,
    /// Inputs that did not decode, or were too many for a tick.
    pub inputs_refused: u64,
    /// Inputs of sessions that send more than one a tick for long.
    pub inputs_over_credit: u64,
    /// Commands that did not decode or came out of order.
    pub commands_refused: u64,
    /// Joins that the zone did not admit: full, locked, over, kicked before, or refused by the game.
    pub joins_refused: u64,
    /// Resumes that the zone did not admit: the session has ended, or the token is not its own or an old one.
    pub resumes_refused: u64,
    /// Sessions whose connection was lost.
    pub sessions_detached: u64,
    /// Sessions that came back over another connection.
    pub sessions_resumed: u64,
    /// Sessions that did not come back in time.
    pub sessions_expired: u64,
    /// Sessions that an operator has ended.
    pub sessions_kicked: u64,
    /// Inputs and commands of sessions that only watch.
    pub spectators_refused: u64,
    /// Matches that ended because nobody was in them for too long.
    pub idle_ends: u64,
    /// Unreliable events beyond a tick's bound.
    pub cues_dropped: u64,
    /// Sessions ended because their event log overflowed.
    pub event_overflows: u64,
    /// Ticks that the arena had no room for.
    pub ticks_starved: u64,
    /// Ticks that came out otherwise when they ran again.
    pub ticks_diverged: u64,
    /// Ticks that passed when they were run again with the same records.
    pub ticks_retried: u64,
    /// Ticks that were committed without their inputs and commands, as the game had failed on them twice.
    pub ticks_rejected: u64,
    /// Inputs given up with them.
    pub inputs_rejected: u64,
    /// Commands given up with them.
    pub commands_rejected: u64,
    /// Damage found in the inbox.
    pub inbox_damage: u64,
    /// Requests to the outside that the game made and the outbox had no room for, or that broke a rule.
    pub asks_refused: u64,
    /// Requests that got an answer, or whose failure the hook has told.
    pub asks_answered: u64,
    /// Requests given up because no answer came in time, or nobody hears them.
    pub asks_given_up: u64,
    /// Requests that waited when their match closed.
    pub asks_dropped: u64,
    /// Answers to what does not wait: a second one, or one that came too late.
    pub answers_ignored: u64,
    /// Results that somebody has taken.
    pub results_taken: u64,
    /// Fields that an operator has given a value.
    pub operator_sets: u64,
    /// Values of an operator that came to nothing: the entity or its row is gone, or they are none of the field's type.
    pub operator_refused: u64,
}

/// A zone could not be opened or taken over.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The world refuses.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// A row of the match is none of the game's.
    #[error(transparent)]
    Row(#[from] BadRow),
    /// The directory's entry makes no match of this game.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The supervisor runs another build.
    #[error("match {id} was laid out by another build of the game (tables {found:#x}, here {expected:#x}): restart the instance")]
    OtherBuild {
        /// The match.
        id: u64,
        /// Hash in the directory.
        found: u64,
        /// Hash of this binary.
        expected: u64,
    },
    /// The directory names a place that is no inbox.
    #[error("match {id} has no usable inbox in the directory: run `ringfort fsck`")]
    Inbox {
        /// The match.
        id: u64,
    },
    /// Its owners have died of it too often.
    #[error(
        "match {id} is not stepped, as {}; `ringfort matches resume NAME` lets it go on",
        match reason {
            PauseReason::Faults => "the game has failed on one tick three times",
            PauseReason::Deaths => "too many sims have died on one tick and nobody knows of what",
        }
    )]
    Paused {
        /// The match.
        id: u64,
        /// Why.
        reason: PauseReason,
    },
    /// The opening was not committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a tick came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed; front-ends with these slots (bits) want to know.
    Committed {
        /// Slots of front-ends with sessions, or with joins just answered.
        frontends: u64,
    },
    /// The match is over and its memory is back.
    Ended {
        /// As above.
        frontends: u64,
    },
    /// Not committed for want of memory; it will be tried again.
    Starved,
    /// The zone was granted to another process.
    Fenced,
}

/// What a tick has to take in.
#[derive(Clone, Copy)]
struct Records<'m> {
    inbox_memory: &'m Memory,
    directory: Directory<'m>,
    tail: u64,
    mail_tail: u64,
}

/// A zone and the game in it.
pub struct Zone<G: Game> {
    slot: usize,
    entry: ZoneEntry,
    inbox: Inbox,
    bound: Bound<G>,
    tick: Tick<G>,
    head: RootHead,
    net_cursor: u64,
    mail_cursor: u64,
    index: Index,
    /// An operator has asked for the end.
    end_wanted: bool,
    /// The parts of an answer that have come so far.
    answer: Vec<u8>,
    arrivals: Arrivals,
    bits: BitWriter,
    /// Front-ends whose joins were answered or whose sessions ended in this tick.
    touched_frontends: u64,
    is: Rc<Description>,
    /// Which attempt at its tick the next one is.
    retry: Retry,
    /// Every tick runs twice.
    twice: bool,
    /// What the last tick that came out in two ways differed in, until somebody takes it.
    difference: Option<String>,
    /// What the tick under way has done to sessions, for the flight recorder.
    flights: Flights,
    /// Counted since the last look.
    pub counters: ZoneCounters,
}

impl<G: Game> Zone<G> {
    /// Opens the match of a directory entry, or takes it over from its last root.
    pub fn start(
        world: &Rc<World>,
        inbox_memory: &Memory,
        slot: usize,
        entry: ZoneEntry,
        asks: AskRules,
        now_us: u64,
    ) -> Result<Self, OpenError> {
        let limits = ZoneLimits::of_entry(&entry);
        let description = Rc::new(Description::of::<G>(limits)?);
        let id = entry.incarnation;
        if description.tables_hash != entry.tables_hash {
            return Err(OpenError::OtherBuild { id, found: entry.tables_hash, expected: description.tables_hash });
        }
        let inbox = Inbox::new(inbox_memory, slot, entry.inbox_offset, entry.inbox_bytes).ok_or(OpenError::Inbox { id })?;
        // Nobody else publishes from here on.
        world.claim(slot, entry.epoch as u16)?;
        kill_point!("takeover:claimed");
        let left = match world.newest(slot) {
            Ok(root) => Some(root.head).filter(|head| head.incarnation == id),
            Err(RootError::Nothing { .. }) => None,
            // A damaged root must not be taken for none: the match would begin anew under its players.
            Err(error) => return Err(OpenError::Adopt(error.into())),
        };
        let resumes = left.is_some();
        let opening = || RootHead { net_cursor: inbox.opening(inbox_memory), ..RootHead::new_zeroed() };
        let retry = Retry::begin(world, slot, &entry, left.unwrap_or_else(opening))?;
        let _running = fault::begin(slot, &retry.attempt);
        let (bound, head) = if resumes {
            Bound::<G>::adopt::<OpenError>(world, slot, id, entry.epoch as u16, &description)?
        } else {
            (Bound::<G>::open(world, slot, id, entry.epoch as u16, &description)?, None)
        };
        bound.outbox.borrow_mut().set_rules(asks);
        let outbox = Rc::clone(&bound.outbox);
        let options = serde_json::from_str(&unpadded(&entry.options)).unwrap_or_default();
        let net_cursor = head.map_or_else(|| inbox.opening(inbox_memory), |h| h.net_cursor);
        let pasts = bound.pasts(&description, head.map_or(0, |h| h.tick));
        let mut zone = Self {
            slot,
            entry,
            inbox,
            bound,
            tick: Tick::new(entry.tick_hz, entry.seed, options, outbox, pasts, entry.rewind_ms),
            head: head.unwrap_or(RootHead::new_zeroed()),
            net_cursor,
            mail_cursor: head.map_or(0, |h| h.mail_cursor),
            index: Index::default(),
            end_wanted: false,
            answer: Vec::new(),
            arrivals: Arrivals::default(),
            bits: BitWriter::default(),
            touched_frontends: 0,
            is: description,
            retry,
            twice: false,
            difference: None,
            flights: Flights::default(),
            counters: ZoneCounters::default(),
        };
        zone.rebuild_index();
        zone.reload_life();
        kill_point!("takeover:rebuilt");
        let opened = if resumes { Ok(()) } else { zone.open(now_us) };
        if let Err(error) = opened {
            // What the opening has taken goes back at once.
            let _ = zone.end();
            return Err(error.into());
        }
        if resumes {
            zone.retry.set_aside(world, slot);
        }
        Ok(zone)
    }

    fn open(&mut self, now_us: u64) -> Result<(), CommitError> {
        self.begin_tick(1);
        self.bound.game.open(&self.tick);
        self.finish_tick();
        self.commit(now_us, now_us, now_us)?;
        self.retry.passed();
        Ok(())
    }

    fn begin_tick(&mut self, tick: u32) {
        self.tick.now.0 = tick;
        // What runs before `step` sees no players, whether this process stepped the tick before or not.
        self.tick.players.clear();
        self.tick.pasts.close();
        self.bound.begin(tick - 1);
    }

    /// The match.
    pub fn entry(&self) -> &ZoneEntry {
        &self.entry
    }

    /// The world as the last commit left it.
    pub(crate) fn committed(&self) -> &G {
        self.tick.pasts.at(self.head.tick).unwrap_or_else(|| self.tick.pasts.nothing())
    }

    /// The slot in the directory.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Records posted before the zone existed are not for it.
    pub fn skip_mail(&mut self, directory: Directory<'_>) {
        if self.head.tick <= 1 {
            self.mail_cursor = self.mail_cursor.max(directory.mail_tail(self.slot));
        }
    }

    /// Runs one tick and publishes it. `due_us` is when it was to begin.
    pub fn step(
        &mut self,
        world: &World,
        inbox_memory: &Memory,
        directory: Directory<'_>,
        due_us: u64,
        now: impl Fn() -> u64,
    ) -> Outcome {
        let started = now();
        self.touched_frontends = 0;
        let lingered = self.bound.meta().closed_at != 0 && self.tick_no() >= self.bound.meta().closed_at + self.linger_ticks();
        if lingered && self.results() == 0 {
            return self.end();
        }
        let before = (self.net_cursor, self.mail_cursor);
        let records = self.begin_attempt(world, inbox_memory, directory);
        let _running = fault::begin(self.slot, &self.retry.attempt);
        let counters = self.counters;
        self.arrivals.ticks = self.ticks_until(due_us);
        self.run_tick(records);
        if self.twice {
            self.run_again(records, before, counters);
        }
        match self.commit(due_us, started, now()) {
            Ok(frontends) => {
                self.count_attempt();
                self.retry.passed();
                Outcome::Committed { frontends }
            }
            Err(CommitError::Fenced { .. }) => Outcome::Fenced,
            Err(CommitError::ArenaFull { .. }) => {
                self.counters.ticks_starved += 1;
                let results_taken = self.results() == 0;
                self.undo(before);
                self.retry.set_aside(world, self.slot);
                // An end needs no memory, and gives some back.
                let over = self.end_wanted || self.bound.meta().closed_at != 0;
                if over && (results_taken || self.results() == 0) { self.end() } else { Outcome::Starved }
            }
        }
    }

    /// All of a tick but its commit.
    fn run_tick(&mut self, records: Records<'_>) {
        self.begin_tick(self.head.tick + 1);
        self.retry.rejected = (0, 0);
        if self.retry.rejects() {
            self.reject_waiting();
        }
        self.drain_mail(records.directory, records.mail_tail);
        self.drain_inbox(records.inbox_memory, records.tail);
        self.end_expired();
        if self.bound.meta().closed_at == 0 {
            self.give_up_asks();
            self.run_game();
        } else {
            self.arrivals.clear();
        }
        self.finish_tick();
    }

    /// After the pages were rolled back: nothing is left of the tick. What the game has said in it, events and who is told of what, lies in
    /// the pages since it was finished.
    fn undo(&mut self, before: (u64, u64)) {
        (self.net_cursor, self.mail_cursor) = before;
        self.flights.clear();
        self.tick.closed.set(self.bound.committed_closed());
        self.arrivals.clear();
        self.bound.reload();
        self.reload_life();
        self.rebuild_index();
    }

    fn tick_no(&self) -> u32 {
        self.head.tick
    }

    fn linger_ticks(&self) -> u32 {
        (self.entry.tick_hz * LINGER_MS).div_ceil(1000).max(2)
    }

    fn drain_mail(&mut self, directory: Directory<'_>, tail: u64) {
        // The mailbox holds no more than this; a tail far ahead is garbage, and nothing to count up to.
        self.mail_cursor = self.mail_cursor.max(tail.saturating_sub(MAILBOX_RECORDS));
        while self.mail_cursor < tail {
            let mail = directory.mail(self.slot, self.mail_cursor);
            self.mail_cursor += 1;
            let Some(mail) = mail else { continue };
            if mail.kind == MailKind::End as u32 {
                self.end_wanted = true;
                self.tick.close();
            } else if mail.kind == MailKind::Kick as u32 {
                self.kick(mail.a);
            } else if mail.kind == MailKind::FrontendDied as u32 {
                self.detach_frontend(mail.a as u32, mail.b as u32);
            } else if mail.kind == MailKind::Answer as u32 {
                self.take_answer_part(&mail);
            } else if mail.kind == MailKind::Set as u32 {
                self.set_field(&mail);
            }
        }
    }

    fn detach_frontend(&mut self, frontend: u32, incarnation: u32) {
        let gone = |row: &SessionRow| row.frontend == frontend && row.incarnation <= incarnation;
        let ids: Vec<u64> = self.bound.sessions.iter().filter(|(_, row)| gone(row)).map(|(_, row)| row.id).collect();
        for id in ids {
            self.detach(id);
        }
    }

    fn drain_inbox(&mut self, memory: &Memory, tail: u64) {
        let mut record = Record::empty();
        let refusals = self.tick.life.row.get().refusals;
        for _ in 0..RECORDS_PER_TICK {
            let before = self.net_cursor;
            match self.inbox.next_into(memory, &mut self.net_cursor, tail, &mut record) {
                Ok(true)
                    if matches!(record.kind, Some(RecordKind::Join | RecordKind::Resume))
                        && self.tick.life.row.get().refusals - refusals >= REFUSALS_PER_TICK =>
                {
                    self.net_cursor = before;
                    return;
                }
                Ok(true) => self.apply(record.kind, &record.header, record.payload()),
                Ok(false) => return,
                Err(_) => {
                    self.counters.inbox_damage += 1;
                    return;
                }
            }
        }
    }

    fn apply(&mut self, kind: Option<RecordKind>, header: &ringfort_shm_state::layout::RecordHeader, payload: &[u8]) {
        let ours = header.incarnation == self.entry.incarnation as u32;
        let kind = kind.filter(|_| ours);
        match kind {
            Some(RecordKind::Join) => return self.join(payload),
            Some(RecordKind::Resume) => return self.resume(header.session, payload),
            _ => {}
        }
        let slot = header.session as u32;
        let row = self.bound.sessions.get(slot).filter(|row| row.id == header.session && row.attachment == header.attachment);
        let (Some(kind), Some(row)) = (kind, row) else {
            self.counters.records_ignored += 1;
            return;
        };
        if row.flags & SessionFlags::SPECTATOR != 0 && matches!(kind, RecordKind::Input | RecordKind::Command) {
            self.counters.spectators_refused += 1;
            return;
        }
        let (id, command) = (row.id, row.command);
        if row.used_hash != NO_HASH && proves(kind) {
            self.forget_used(slot);
        }
        let number = payload.get(..8).map(|b| u64::from_ne_bytes(b.try_into().expect("eight bytes")));
        match (kind, number) {
            (RecordKind::Input, _) if self.retry.rejects() => self.reject_input(slot, header.sequence),
            (RecordKind::Command, _) if self.retry.rejects() => self.reject_command(slot, header.sequence),
            (RecordKind::Input, _) => {
                if !self.arrivals.push(slot, header.sequence, payload) {
                    self.counters.inputs_refused += 1;
                }
            }
            (RecordKind::Command, _) => self.command(id, command, header.sequence, payload),
            (RecordKind::EventAck, Some(number)) => {
                let known = self.bound.meta().next_event;
                if let Some(row) = self.bound.sessions.get_mut(slot) {
                    row.event_cursor = row.event_cursor.max(number.min(known));
                }
            }
            (RecordKind::Leave, Some(why)) => self.end_session(id, Why::from_u64(why)),
            (RecordKind::Detach, _) => self.detach(id),
            _ => self.counters.records_ignored += 1,
        }
    }

    fn command(&mut self, id: u64, applied: u32, number: u32, payload: &[u8]) {
        if number != applied.wrapping_add(1) {
            self.counters.commands_refused += u64::from(number > applied);
            return;
        }
        if let Some(row) = self.bound.sessions.get_mut(id as u32) {
            row.command = number;
        }
        match <G::Command as ringfort_protocol::Message>::from_wire(payload) {
            Ok(command) => self.bound.game.command(&self.tick, SessionId(id), &command),
            Err(_) => self.counters.commands_refused += 1,
        }
    }

    /// Ticks of time from the last commit's to one that is due then, rounded to the nearest.
    fn ticks_until(&self, due_us: u64) -> u32 {
        let hz = u64::from(self.tick.hz());
        let ticks = self.due_us().map_or(1, |last| (due_us.saturating_sub(last).saturating_mul(hz) + 500_000) / 1_000_000);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn run_game(&mut self) {
        let now = self.tick.now;
        let refused = {
            let (sessions, inputs, newest) = (&self.bound.sessions, &mut self.bound.inputs, TickNo(now.0 - 1));
            self.arrivals.distribute::<G>(sessions, inputs, newest, &mut self.tick.players)
        };
        self.counters.inputs_refused += refused;
        self.counters.inputs_over_credit += std::mem::take(&mut self.arrivals.over_credit);
        self.bound.game.hook(Hook::CollectTimers(now));
        let due: Vec<_> = self.bound.shared.due.borrow_mut().drain(..).collect();
        for timer in due {
            let payload = timer.payload.get(..timer.bytes as usize).unwrap_or_default();
            let mut bits = ringfort_protocol::bits::BitReader::new(payload);
            if let Ok(what) = <G::Timer as ringfort_protocol::TimerPayload>::decode(&mut bits) {
                self.bound.game.timer(&self.tick, what);
            }
        }
        self.bound.game.step(&self.tick);
    }

    /// After the game: events into the log, leftovers of despawned entities away, rows into their committed form.
    fn finish_tick(&mut self) {
        self.note_spawned();
        self.note_asks();
        self.write_events();
        self.follow();
        self.set_sights();
        self.bound.reap();
        self.end_when_idle();
        if self.tick.closed.get() {
            let now = self.tick.now.0;
            self.bound.shared.with_meta(|meta| {
                if meta.closed_at == 0 {
                    meta.closed_at = now;
                }
            });
        }
        self.bound.game.hook(Hook::BeforeCommit);
        self.bound.store_meta();
        self.bound.store_life(self.tick.life.row.get());
    }

    /// A session's first entity is where `near` measures from for it.
    fn note_spawned(&mut self) {
        let spawned: Vec<_> = self.bound.shared.spawned_for.borrow_mut().drain(..).collect();
        for (session, index, generation) in spawned {
            let row = self.bound.sessions.get(session as u32).filter(|row| row.id == session);
            let stale = row.is_some_and(|row| !self.bound.shared.reader.alive(row.entity_index, row.entity_generation));
            if let Some(row) = self.bound.sessions.get_mut(session as u32).filter(|_| stale) {
                (row.entity_index, row.entity_generation) = (index, generation);
            }
        }
    }

    fn write_events(&mut self) {
        let mut cues = 0;
        // Sessions that end because their log is full may have the game send more: until nothing is left.
        while let Some(out) = self.next_outgoing() {
            self.give_verdict(&out.event);
            let reliable = Tick::<G>::is_reliable(&out.event);
            let Some(row) = super::events::row(&out, self.tick.now.0, &mut self.bits) else {
                self.counters.cues_dropped += 1;
                continue;
            };
            if reliable {
                self.log_event(row);
            } else if self.bound.cues.insert(cues, row) {
                cues += 1;
            } else {
                self.counters.cues_dropped += 1;
            }
        }
        self.bound.shared.with_meta(|meta| meta.cues = cues);
    }

    /// A predicted event confirms what its owner's client has shown already.
    fn give_verdict(&mut self, event: &G::Event) {
        let Some((number, subject)) = event.predicted() else { return };
        let owner = self.bound.shared.entities.borrow().owner_in_tick(subject.index, subject.generation);
        if let Some(session) = owner.filter(|id| self.bound.sessions.get(*id as u32).is_some_and(|row| row.id == *id)) {
            self.arrivals.confirm(session as u32, number, &mut self.bound.inputs);
        }
    }

    fn next_outgoing(&mut self) -> Option<Outgoing<G::Event>> {
        self.tick.outgoing.borrow_mut().pop_front()
    }

    /// Appends to the log. What it overwrites must have been acknowledged by all whom it was for.
    fn log_event(&mut self, row: EventRow) {
        let number = self.bound.shared.with_meta(|meta| {
            meta.next_event += 1;
            meta.next_event
        });
        let at = (number % u64::from(self.bound.events.at().rows)) as u32;
        if let Some(old) = self.bound.events.get(at).copied() {
            let late: Vec<u64> = super::events::addressees(&old, &self.bound.sessions).collect();
            for id in late {
                self.counters.event_overflows += 1;
                self.end_session(id, Why::Kicked);
            }
        }
        self.bound.events.insert(at, EventRow { number, ..row });
    }

    fn commit(&mut self, due_us: u64, started_us: u64, published_us: u64) -> Result<u64, CommitError> {
        let (meta, asks) = (self.bound.meta(), self.bound.outbox.borrow().meta());
        let head = RootHead {
            tick: self.tick.now.0,
            flags: if meta.closed_at != 0 { RootFlags::CLOSING } else { 0 }
                | if self.tick.is_locked() { RootFlags::LOCKED } else { 0 },
            spectators: self.index.spectators,
            net_cursor: self.net_cursor,
            mail_cursor: self.mail_cursor,
            sessions: meta.sessions,
            entities: meta.entities_alive,
            asks: asks.pending,
            results: asks.results,
            due_us,
            published_us,
            took_us: published_us.saturating_sub(started_us) as u32,
            ..RootHead::new_zeroed()
        };
        // What was lent of earlier ticks has come back: nobody borrows the tick any more.
        self.tick.pasts.close();
        self.head = self.bound.commit(head)?;
        self.index.free.extend(self.index.freed.drain(..));
        Ok(self.index.frontends() | self.touched_frontends)
    }

    fn end(&mut self) -> Outcome {
        let frontends = self.index.frontends();
        let head = RootHead {
            tick: self.head.tick,
            net_cursor: self.net_cursor,
            mail_cursor: self.mail_cursor,
            ..RootHead::new_zeroed()
        };
        match self.bound.end(head) {
            Ok(_) => Outcome::Ended { frontends },
            Err(_) => Outcome::Fenced,
        }
    }

    /// Whether it can be handed over between this tick and the next: not before a tick has passed that an owner has died on.
    pub fn may_be_released(&self) -> bool {
        (self.retry.attempt.attempt, self.retry.attempt.deaths) == (1, 0)
    }

    /// Hands the match over to who was granted the next epoch. All that is not committed is forgotten.
    pub fn release(mut self, next_epoch: u16) -> Result<(), CommitError> {
        // What was lent of earlier ticks goes back before the pages are another's.
        self.tick.pasts.close();
        self.bound.release(next_epoch)
    }

    /// Time that the last committed tick took, in microseconds.
    pub fn took_us(&self) -> u32 {
        self.head.took_us
    }

    /// When the tick of the last commit was due; nothing before the second one.
    pub fn due_us(&self) -> Option<u64> {
        (self.head.tick > 1).then_some(self.head.due_us)
    }

    fn reload_life(&mut self) {
        self.tick.life.row.set(self.bound.life());
    }

    fn rebuild_index(&mut self) {
        let rows = self.entry.capacity + self.entry.spectators;
        self.index = Index { free: (0..rows).collect(), ..Index::default() };
        for (slot, row) in self.bound.sessions.iter() {
            self.index.add(slot, row);
        }
    }
}
