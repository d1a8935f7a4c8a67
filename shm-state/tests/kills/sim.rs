//! The sim: owns both zones, drains their inboxes, commits, ends matches and opens the next.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::AttemptEntry;
use ringfort_shm_state::limits::WINDOW;
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::pages::{AdoptError, CommitError, Pages};
use ringfort_shm_state::segment::Access;
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

use crate::game::{self, Places, Sent, SharedRows, Tick};
use crate::instance::Instance;
use crate::process::park;
use crate::random::{Random, mix};
use crate::shared::{HANDED, JOURNAL, Journalled, TICK_RECORDS, Zone as ZoneNotes};

/// The sim's role.
pub const ROLE: usize = 0;
/// Exit code of a sim that found itself fenced off.
pub const FENCED: i32 = 3;
/// Exit code of a sim that has released a zone to another process.
pub const RELEASED: i32 = 4;
/// Exit code of a sim that waited for a zone which was granted to another.
pub const IN_VAIN: i32 = 5;

/// One in so many turns of a sim without a script hands its zone over.
const RELEASES: u64 = 48;
/// A sim with a script hands a zone over in this turn, counted in every so many: in turn one and the other.
const RELEASE_EVERY: u32 = 21;
const RELEASE_AT: u32 = 9;

/// Roots that a zone may be ahead of the model, so that a round is not longer on a busy machine. A match's end is many.
const AHEAD: u64 = 64;
const _: () = assert!(AHEAD + 2 * WINDOW < JOURNAL as u64, "no note is overwritten before it was read");

/// What a sim is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of the run.
    pub seed: u64,
    /// Tells this process' own choices from those of others.
    pub stream: u64,
    /// Epoch that it was granted. A zone that was released to it while its last owner lived has the epoch of the hand-over.
    pub epoch: u16,
    /// Ticks after which it exits; `None` for a sim that is killed some time.
    pub ticks: Option<u32>,
    /// The last tick of every match; `None` for what the seed says.
    pub last_tick: Option<u32>,
    /// Whether it ends when it has released a zone, for another process to adopt; otherwise it plays the next owner itself.
    pub leaves: bool,
}

/// Turns after which both matches must have ended: each leaves room for the other.
const ENDING_TURNS: usize = 4;

/// A zone that it owns.
struct Zone<'a> {
    slot: usize,
    notes: &'a ZoneNotes,
    inbox: Inbox,
    epoch: u16,
    incarnation: u64,
    pages: Rc<Pages>,
    rows: SharedRows,
    tick: u32,
    cursor: u64,
}

/// What became of a tick.
enum Ran {
    /// It is committed.
    Committed,
    /// The arena has no room even for a lean tick.
    Starved,
    /// Somebody else was granted the zone.
    Fenced,
}

/// The sim's life.
pub fn run(instance: &Instance, plan: Plan) -> i32 {
    let attached = instance.attach(Access::ReadWrite, Access::ReadOnly);
    let (world, notes) = (&attached.world, instance.notes);
    let mut random = Random::new(plan.seed, plan.stream, 1);
    let start = |slot: usize, epoch: u16, random: &mut Random| {
        let zone = Zone::start(world, slot, &notes.zones[slot], attached.inbox(slot), epoch, random, plan.ticks.is_some());
        assert_eq!(world.published(slot).epoch, zone.epoch, "the zone has the epoch that was granted");
        notes.children[ROLE].started.fetch_add(1, Ordering::Relaxed);
        zone
    };
    let mut zones: Vec<Zone> = (0..notes.zones.len()).map(|slot| start(slot, plan.epoch, &mut random)).collect();
    for ran in 0u32.. {
        // A script ends with a match in every zone, for producers to append to.
        if plan.ticks.is_some_and(|ticks| ran >= ticks) && zones.iter().all(|zone| zone.tick > 0) {
            return 0;
        }
        park(notes, ROLE);
        notes.children[ROLE].loops.fetch_add(1, Ordering::Release);
        // A sim with a script steps its zones in turn, so that it reaches the same places at every run.
        let slot = if plan.ticks.is_some() { ran as usize % zones.len() } else { random.below(zones.len() as u64) as usize };
        let zone = &mut zones[slot];
        if plan.ticks.is_none() && !zone.may_go_on(world) {
            std::thread::yield_now();
            continue;
        }
        let releases = if plan.ticks.is_some() { ran % RELEASE_EVERY == RELEASE_AT } else { random.one_in(RELEASES) };
        if releases && zone.tick > 0 {
            if zone.release(world, plan.seed).is_err() {
                return FENCED;
            }
            if plan.leaves {
                return RELEASED;
            }
            zones[slot] = start(slot, plan.epoch, &mut random);
            continue;
        }
        let trial = plan.ticks.is_none() && random.one_in(16);
        let outcome = zone.run_tick(world, attached.memory(), plan.seed, trial);
        let last = plan.last_tick.unwrap_or_else(|| game::last_tick(plan.seed, zone.incarnation));
        match outcome {
            Ran::Fenced => return FENCED,
            Ran::Committed if zone.tick < last => {}
            // A match ends when it cannot go on, so that the other finds room; one that has no root yet has taken little.
            Ran::Starved if zone.tick == 0 => {}
            Ran::Committed | Ran::Starved => {
                if zone.end(world).is_err() {
                    return FENCED;
                }
                let epoch = zone.epoch;
                zones[slot] = start(slot, epoch, &mut random);
            }
        }
    }
    0
}

/// Waits until a zone is released to it, as a process does to which it is being handed over, and runs some ticks of it.
pub fn wait_for(instance: &Instance, seed: u64, slot: usize, ticks: u32) -> i32 {
    let attached = instance.attach(Access::ReadWrite, Access::ReadOnly);
    let (world, notes) = (&attached.world, &instance.notes.zones[slot]);
    let mut announced = false;
    while !notes.is_handed_over(world.published(slot).epoch) {
        let is_announced = notes.next_epoch.load(Ordering::Acquire) != 0;
        if announced && !is_announced {
            return IN_VAIN;
        }
        announced = is_announced;
        instance.notes.children[ROLE].waits.fetch_add(1, Ordering::Release);
        std::thread::yield_now();
    }
    let mut random = Random::new(seed, slot as u64, 5);
    let epoch = world.published(slot).epoch;
    let mut zone = Zone::start(world, slot, notes, attached.inbox(slot), epoch, &mut random, true);
    assert!(zone.tick > 0, "a zone that was released goes on");
    for _ in 0..ticks {
        assert!(matches!(zone.run_tick(world, attached.memory(), seed, false), Ran::Committed), "it alone has the arena");
    }
    0
}

/// Takes both zones over, drains their inboxes and ends their matches.
pub fn end_all(instance: &Instance, seed: u64, epoch: u16) -> i32 {
    let attached = instance.attach(Access::ReadWrite, Access::ReadOnly);
    let (world, notes, memory) = (&attached.world, instance.notes, attached.memory());
    let mut random = Random::new(seed, epoch.into(), 4);
    let mut start = |slot: usize| Zone::start(world, slot, &notes.zones[slot], attached.inbox(slot), epoch, &mut random, true);
    let mut zones: Vec<Zone> = (0..notes.zones.len()).map(&mut start).collect();
    for _ in 0..ENDING_TURNS {
        zones.retain_mut(|zone| {
            // The model learns of a match by its first tick.
            while zone.cursor < zone.inbox.tail(memory) || zone.tick == 0 {
                match zone.run_tick(world, memory, seed, false) {
                    Ran::Committed => {}
                    Ran::Fenced => panic!("nobody else owns the zone"),
                    // Both matches may be too large for one arena: one ends and leaves the rest to the next, or waits for the other.
                    Ran::Starved if zone.tick == 0 => return true,
                    Ran::Starved => {
                        zone.end(world).unwrap_or_else(|e| panic!("{e}"));
                        *zone = start(zone.slot);
                    }
                }
            }
            zone.end(world).unwrap_or_else(|e| panic!("{e}"));
            false
        });
        if zones.is_empty() {
            return 0;
        }
    }
    panic!("a match that has just begun finds no room in an arena that nobody else uses");
}

impl<'a> Zone<'a> {
    /// Takes the zone over, or opens the next match in it, as a process does that was granted it. A script abandons no match, so
    /// that its matches grow as old as a window.
    fn start(
        world: &Rc<World>,
        slot: usize,
        notes: &'a ZoneNotes,
        inbox: Inbox,
        epoch: u16,
        random: &mut Random,
        scripted: bool,
    ) -> Self {
        // What was announced holds for the process that it was announced to, once; the supervisor takes it back when the owner dies first.
        let handed_over = notes.is_handed_over(world.published(slot).epoch);
        notes.next_epoch.store(0, Ordering::Release);
        let epoch = if handed_over { world.published(slot).epoch } else { epoch };
        let mut incarnation = notes.incarnation.load(Ordering::Relaxed);
        let logical_pages = Places::new().pages;
        notes.forget(world.published(slot).sequence + 1);
        // Both ways to deal with a match that has ended, in a script one a zone.
        let finishes = if scripted { slot == 0 } else { random.one_in(2) };
        let newest = world.newest(slot);
        let resumes = newest.as_ref().is_ok_and(|root| root.head.incarnation == incarnation);
        let cursor = newest.map_or(0, |root| root.head.net_cursor);
        if resumes && !scripted && random.one_in(40) {
            // The operator ended it while nobody stepped it.
            world.abandon(slot, epoch).unwrap_or_else(|e| panic!("{e}"));
            incarnation += 1;
        } else if resumes && !(finishes && world.finish_ended(slot, incarnation)) {
            match Pages::adopt(Rc::clone(world), slot, incarnation, epoch, logical_pages) {
                Ok((pages, head)) => {
                    assert_eq!(head.net_cursor, cursor, "nobody commits meanwhile");
                    return Self::bound((slot, notes, inbox), epoch, incarnation, pages, head.tick, cursor);
                }
                Err(AdoptError::Ended { .. }) => incarnation += 1,
                Err(error) => panic!("{error}"),
            }
        } else if resumes {
            incarnation += 1;
        }
        assert!(!resumes || !world.owns_memory(slot, incarnation - 1), "a match that is over owns nothing");
        notes.incarnation.store(incarnation, Ordering::Release);
        let pages = Pages::open(Rc::clone(world), slot, incarnation, epoch, logical_pages).unwrap_or_else(|e| panic!("{e}"));
        Self::bound((slot, notes, inbox), epoch, incarnation, pages, 0, cursor)
    }

    fn bound(at: (usize, &'a ZoneNotes, Inbox), epoch: u16, incarnation: u64, pages: Pages, tick: u32, cursor: u64) -> Self {
        let (slot, notes, inbox) = at;
        let pages = Rc::new(pages);
        let rows = SharedRows::bind(&pages);
        Self { slot, notes, inbox, epoch, incarnation, pages, rows, tick, cursor }
    }

    /// Hands the zone over, as the owner does that finds another announced, amid a tick that it was not able to commit. What it
    /// does to the zone from then on is nobody's.
    fn release(&mut self, world: &World, seed: u64) -> Result<(), CommitError> {
        let next = self.epoch.wrapping_add(1);
        self.notes.forget(world.published(self.slot).sequence + 1);
        self.notes.next_epoch.store(HANDED | u64::from(next), Ordering::Release);
        let is = Tick { seed, incarnation: self.incarnation, tick: self.tick + 1, lean: true, records: &[] };
        world.publish_attempt(self.slot, &attempt(is.tick, self.cursor));
        game::step(&mut self.rows, &is);
        // SAFETY: no reference into a table is alive.
        unsafe { self.pages.release(next) }?;
        game::step(&mut self.rows, &is);
        // SAFETY: no reference into a table is alive.
        let late = unsafe { self.pages.commit(game::head(is.tick, self.cursor)) };
        assert!(
            matches!(late, Err(CommitError::Fenced { .. })),
            "a zone that was released is committed by its last owner: {late:?}"
        );
        Ok(())
    }

    fn may_go_on(&self, world: &World) -> bool {
        world.published(self.slot).sequence < self.notes.verified.load(Ordering::Acquire) + AHEAD
    }

    fn run_tick(&mut self, world: &World, inboxes: &Memory, seed: u64, trial: bool) -> Ran {
        let before = self.cursor;
        let records = self.drain(inboxes);
        let tick = self.tick + 1;
        world.publish_attempt(self.slot, &attempt(tick, self.cursor));
        for lean in [false, true] {
            let is = Tick { seed, incarnation: self.incarnation, tick, lean, records: &records };
            if trial {
                game::step(&mut self.rows, &is);
                // SAFETY: no reference into a table is alive.
                unsafe { self.pages.roll_back() };
            }
            let sequence = world.published(self.slot).sequence + 1;
            let cursor = [before, self.cursor];
            let noted = Journalled { sequence, incarnation: self.incarnation, tick, lean, cursor, records: records.clone() };
            self.notes.note(&noted);
            game::step(&mut self.rows, &is);
            // SAFETY: no reference into a table is alive.
            match unsafe { self.pages.commit(game::head(tick, self.cursor)) } {
                Ok(head) => {
                    assert_eq!(head.sequence, sequence, "the commit is the next root");
                    self.tick = tick;
                    return Ran::Committed;
                }
                Err(CommitError::ArenaFull { .. }) => {}
                Err(CommitError::Fenced { .. }) => return Ran::Fenced,
            }
        }
        self.cursor = before;
        Ran::Starved
    }

    fn drain(&mut self, inboxes: &Memory) -> Vec<Sent> {
        let tail = self.inbox.tail(inboxes);
        let mut records = Vec::new();
        while records.len() < TICK_RECORDS {
            let record = self.inbox.next(inboxes, &mut self.cursor, tail).unwrap_or_else(|e| panic!("{e}"));
            let Some(record) = record else { break };
            let sent = Sent { producer: record.header.session, sequence: record.header.sequence };
            let (header, payload) = game::record(self.slot, sent);
            assert_eq!((record.header, record.payload()), (header, &payload[..]), "a committed record is what was appended");
            records.push(sent);
        }
        records
    }

    fn end(&mut self, world: &World) -> Result<(), CommitError> {
        self.notes.forget(world.published(self.slot).sequence + 1);
        // SAFETY: no reference into a table is alive, and the tables are not used again.
        unsafe { self.pages.end(game::head(self.tick, self.cursor)) }?;
        self.notes.incarnation.store(self.incarnation + 1, Ordering::Release);
        Ok(())
    }
}

/// Whether an attempt is the one that counts for nothing, which an owner leaves that has released its zone.
pub fn is_withdrawn(attempt: &AttemptEntry) -> bool {
    *attempt == AttemptEntry { incarnation: attempt.incarnation, ..AttemptEntry::new_zeroed() }
}

/// What is published before a tick runs. Every field follows from the tick and the cursor, so that a torn one shows.
pub fn attempt(tick: u32, net_cursor: u64) -> AttemptEntry {
    let of = |n| mix(mix(net_cursor, tick.into()), n);
    let (deaths, resumes) = (of(3) as u32, of(4) as u32);
    AttemptEntry { incarnation: of(5), tick, attempt: !tick, deaths, resumes, net_cursor, sys_cursor: of(1), mail_cursor: of(2) }
}
