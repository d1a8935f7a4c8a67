//! A sim process: steps the zones that the directory gives it, at a fixed rate, and wakes front-ends after it has committed.
//!
//! One loop, one thread: look at the directory when its generation has moved, run the zones that are due, kick each front-end
//! concerned once, sleep until the next is due.

#[cfg(test)]
mod adoption;
#[cfg(test)]
pub(crate) mod bench;
pub mod counters;
mod events;
pub mod fault;
mod handover;
mod inputs;
pub mod judge;
pub mod letters;
#[cfg(test)]
mod look_back_tests;
#[cfg(test)]
pub(crate) mod tests;
pub mod zone;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::flight::FlightRing;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{FlightKind, Role as SharedRole, SegmentKind, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::MAX_ZONES;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, unpadded};
use ringfort_shm_state::worker::{TickHistogram, WorkerPage};
use ringfort_shm_state::world::{RootError, World};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{error, info, warn};

use crate::cli::Role;
use crate::clock::now_us;
use crate::config::{Config, Hooks};
use crate::descriptors::Descriptors;
use crate::flight::{self, Note};
use crate::game::Game;
use crate::limits::{CATCH_UP_TICKS, HANDOVER_POLL_MS, LOOP_SLEEP_MAX_MS, STAGGER_SLOTS};
use crate::log_level;
use crate::outlive::{OutliveError, outlive_supervisor};
use crate::run_dir::{RunDir, RunDirError};
use crate::supervisor::place;
use crate::supervisor::spawn::MissingDescriptor;
use crate::warm::{Warmth, touch_program};
use counters as count;
use handover::Leaving;
use zone::{Outcome, Zone};

/// A sim could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A segment is not there or not ours.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Deaths of the game could not be told from others.
    #[error(
        "the handlers of faults or the limit `sim_memory_mib` cannot be set ({0}); look at the limits of the process that starts this"
    )]
    Faults(#[source] std::io::Error),
    /// The supervisor did not pass a descriptor.
    #[error(transparent)]
    Descriptor(#[from] MissingDescriptor),
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// It can't outlive its supervisor.
    #[error(transparent)]
    Outlive(#[from] OutliveError),
}

/// A zone and when its next tick is due.
struct Scheduled<G: Game> {
    zone: Zone<G>,
    due_us: u64,
    period_us: u64,
}

/// A sim process's whole state.
struct Sim<G: Game> {
    slot: u32,
    world: Rc<World>,
    directory: Segment,
    inbox: Segment,
    own: Segment,
    hooks: Hooks,
    /// Where inputs and commands go that are given up.
    letters: PathBuf,
    check_determinism: bool,
    wake: &'static OwnedFd,
    /// Wake-ups of the front-ends, by slot.
    frontends: &'static [OwnedFd],
    zones: BTreeMap<usize, Scheduled<G>>,
    /// Wake-ups of the sims, by slot.
    sims: &'static [OwnedFd],
    /// Matches that are to be handed over to another sim.
    leaving: BTreeMap<usize, Leaving>,
    /// Matches that another sim is to hand over.
    coming: BTreeMap<usize, ZoneEntry>,
    warmth: Warmth,
    generation: u64,
    /// Zones that could not be opened: not tried again before the directory says something new of them.
    failed: BTreeMap<usize, u64>,
}

/// Runs a sim until its process is ended.
pub fn run<G: Game>(instance: &str, slot: u32, config: &Config) -> Result<std::convert::Infallible, SimError> {
    let open = |spec, access| Segment::open(instance, spec, access);
    let own = open(SegmentSpec::worker(SegmentKind::Sim, slot), Access::ReadWrite)?;
    let page = WorkerPage::new(&own);
    page.set_ready(false);
    page.set_stepping(None);
    page.claim();
    page.beat(now_us());
    // What a predecessor could not start is tried again.
    (0..MAX_ZONES).for_each(|zone| page.set_failed(zone, 0));
    let passed = Descriptors::take()?;
    let directory = open(SegmentSpec::DIRECTORY, Access::ReadOnly)?;
    let entry = outlive_supervisor(&RunDir::open(instance)?, &directory, place(Role::Sim, slot), passed)?;
    flight::start(instance, SegmentSpec::worker(SegmentKind::Sim, slot), FlightRing::WORKER, entry.incarnation)?;
    kill_point::identify("sim", slot, entry.incarnation);
    let world = Rc::new(World::new(open(SegmentSpec::world(0), Access::ReadWrite)?));
    fault::install(&world).and_then(|()| fault::limit_memory(config.sim_memory_mib)).map_err(SimError::Faults)?;
    let mut sim = Sim::<G> {
        slot,
        world,
        directory,
        inbox: open(SegmentSpec::inbox(SegmentKind::InboxNet, 0), Access::ReadOnly)?,
        own,
        hooks: config.hooks.clone(),
        letters: config.hooks.dead_letters_file(instance),
        check_determinism: config.check_determinism,
        wake: &passed.sim_wakes[slot as usize],
        frontends: &passed.frontend_wakes,
        zones: BTreeMap::new(),
        sims: &passed.sim_wakes,
        leaving: BTreeMap::new(),
        coming: BTreeMap::new(),
        warmth: Warmth::default(),
        generation: 0,
        failed: BTreeMap::new(),
    };
    sim.warm_up();
    info!("sim {slot} is ready");
    loop {
        sim.turn();
    }
}

impl<G: Game> Sim<G> {
    /// Touches all that a takeover needs, so that it waits for no page.
    fn warm_up(&mut self) {
        let page = WorkerPage::new(&self.own);
        let directory = Directory::new(&self.directory);
        touch_program();
        self.warmth.touch(&self.world, directory, || page.beat(now_us()));
        page.set_ready(true);
    }

    fn turn(&mut self) {
        WorkerPage::new(&self.own).beat(now_us());
        self.follow_directory();
        self.take_what_comes();
        if self.zones.is_empty() && self.warmth.is_due(now_us()) {
            let page = WorkerPage::new(&self.own);
            self.warmth.touch(&self.world, Directory::new(&self.directory), || page.beat(now_us()));
        }
        let frontends = self.run_due();
        self.kick(frontends);
        self.hand_over();
        self.sleep();
    }

    /// Opens, takes over and drops zones as the directory says.
    fn follow_directory(&mut self) {
        let generation = Directory::new(&self.directory).generation();
        if generation == self.generation {
            return;
        }
        log_level::follow_in(Directory::new(&self.directory).instance().as_ref(), SharedRole::Sim, &WorkerPage::new(&self.own));
        let mine = || Directory::new(&self.directory).zones().filter(|(_, z)| z.owner_sim == self.slot);
        let wanted: BTreeMap<usize, ZoneEntry> = mine().filter(|(_, z)| z.state == ZoneState::Open as u32).collect();
        // One that ended in order has given its memory back before it is closed.
        mine().filter(|(_, z)| z.state == ZoneState::Closed as u32).for_each(|(slot, entry)| self.abandon(slot, &entry));
        let all = || Directory::new(&self.directory).zones().filter(|(_, z)| z.state == ZoneState::Open as u32);
        self.coming = all().filter(|(slot, z)| z.next_sim == self.slot + 1 && !self.zones.contains_key(slot)).collect();
        // One that was handed over is ours before the directory says so.
        let is_mine = |slot: &usize, id: u64| {
            let handed = || all().any(|(of, z)| of == *slot && z.incarnation == id && z.next_sim == self.slot + 1);
            wanted.get(slot).is_some_and(|z| z.incarnation == id) || handed()
        };
        self.zones.retain(|slot, s| is_mine(slot, s.zone.entry().incarnation));
        self.failed.retain(|slot, id| wanted.get(slot).is_some_and(|z| z.incarnation == *id));
        for (slot, entry) in &wanted {
            if self.is_released(*slot, entry) {
                continue;
            }
            if !self.zones.contains_key(slot) && !self.failed.contains_key(slot) && !self.has_ended(*slot, entry) {
                self.start(*slot, *entry);
            }
        }
        // One that was just started may be told to leave already.
        self.note_leaving(wanted.iter());
        self.generation = generation;
        WorkerPage::new(&self.own).saw_generation(generation);
    }

    /// Starts the matches that their owners have handed over by now.
    fn take_what_comes(&mut self) {
        let released = |(slot, entry): (&usize, &ZoneEntry)| self.is_released(*slot, entry).then_some((*slot, *entry));
        let released: Vec<(usize, ZoneEntry)> = self.coming.iter().filter_map(released).collect();
        for (slot, entry) in released {
            self.coming.remove(&slot);
            if !self.failed.contains_key(&slot) && !self.has_ended(slot, &entry) {
                self.start(slot, ZoneEntry { epoch: entry.next_epoch, ..entry });
            }
        }
    }

    /// Whether a match's owner has handed it over to the sim that the entry names as the next.
    fn is_released(&self, slot: usize, entry: &ZoneEntry) -> bool {
        entry.next_sim != 0 && self.world.published(slot).epoch == entry.next_epoch as u16
    }

    /// The match has published its end already, and waits for the supervisor to notice. A predecessor that was killed between
    /// that and giving its extents back is helped out.
    fn has_ended(&self, slot: usize, entry: &ZoneEntry) -> bool {
        self.world.finish_ended(slot, entry.incarnation)
    }

    /// Gives the memory of a match back that is not stepped and has no more use for it.
    fn abandon(&self, slot: usize, entry: &ZoneEntry) {
        if !self.world.owns_memory(slot, entry.incarnation) {
            return;
        }
        match self.world.abandon(slot, entry.epoch as u16) {
            Ok(()) => info!(zone = slot, "match {} was given up; its memory is free", unpadded(&entry.name)),
            Err(e) => error!(zone = slot, "match {} could not be given up: {e}", unpadded(&entry.name)),
        }
    }

    fn start(&mut self, slot: usize, entry: ZoneEntry) {
        let page = WorkerPage::new(&self.own);
        // Each takeover has the whole time that a process may be silent.
        page.beat(now_us());
        page.set_stepping(Some(slot));
        let resumes = self.world.newest(slot).is_ok_and(|root| root.head.incarnation == entry.incarnation);
        let name = unpadded(&entry.name);
        let now = now_us();
        let asks = self.hooks.ask_rules(entry.tick_hz);
        match Zone::<G>::start(&self.world, self.inbox.memory(), slot, entry, asks, now) {
            Ok(mut zone) => {
                zone.skip_mail(Directory::new(&self.directory));
                zone.check_determinism(self.check_determinism);
                zone.keep_dead_letters(self.letters.clone());
                page.reset_histograms(slot, entry.incarnation);
                page.set_failed(slot, 0);
                page.add(if resumes { count::ZONES_ADOPTED } else { count::ZONES_OPENED }, 1);
                info!(zone = slot, "match {name} is {}", if resumes { "taken over" } else { "open" });
                let kind = if resumes { FlightKind::Takeover } else { FlightKind::Open };
                let zone_id = Some((slot, entry.incarnation));
                flight::note(kind, Note { zone: zone_id, a: entry.epoch.into(), text: &name, ..Note::default() });
                let period_us = 1_000_000 / u64::from(entry.tick_hz.max(1));
                // One that is taken over goes on in its own time; what it missed meanwhile is made up for as any late tick.
                let next_us = zone.due_us().map(|due_us| due_us + period_us).filter(|due_us| *due_us <= now + period_us);
                let due_us = next_us.unwrap_or_else(|| first_due(now, period_us, slot));
                self.zones.insert(slot, Scheduled { zone, due_us, period_us });
            }
            Err(e) => {
                page.add(count::ZONES_FAILED, 1);
                error!(zone = slot, "match {name} could not be started: {e}");
                let nothing_to_keep = match self.world.newest(slot) {
                    Ok(root) => root.head.incarnation != entry.incarnation,
                    Err(error) => matches!(error, RootError::Nothing { .. }),
                };
                if nothing_to_keep {
                    // One that was open before, or whose root is damaged, keeps its world until the operator ends it.
                    self.abandon(slot, &entry);
                }
                page.set_failed(slot, entry.incarnation);
                self.failed.insert(slot, entry.incarnation);
            }
        }
        WorkerPage::new(&self.own).set_stepping(None);
    }

    /// Runs every zone whose tick is due, late ones at most [`CATCH_UP_TICKS`] times. Returns the front-ends to be woken.
    fn run_due(&mut self) -> u64 {
        let page = WorkerPage::new(&self.own);
        let directory = Directory::new(&self.directory);
        let mut frontends = 0;
        let mut gone = Vec::new();
        for (slot, scheduled) in &mut self.zones {
            for _ in 0..CATCH_UP_TICKS {
                let now = now_us();
                if scheduled.due_us > now {
                    break;
                }
                let late = now - scheduled.due_us;
                // Many matches that are late together are no hang: each tick has the whole time that a process may be silent.
                page.beat(now);
                page.set_stepping(Some(*slot));
                let outcome = scheduled.zone.step(&self.world, self.inbox.memory(), directory, scheduled.due_us, now_us);
                page.set_stepping(None);
                count::add(&page, std::mem::take(&mut scheduled.zone.counters));
                if let Some(difference) = scheduled.zone.take_difference() {
                    tell_difference(&page, *slot, &scheduled.zone, &difference);
                }
                match outcome {
                    Outcome::Committed { frontends: bits } => {
                        frontends |= bits;
                        page.add(count::TICKS, 1);
                        scheduled.zone.tell_flights();
                        page.record(*slot, TickHistogram::Took, scheduled.zone.took_us().into());
                        page.record(*slot, TickHistogram::Late, late);
                        page.add(count::TICKS_LATE, u64::from(late > scheduled.period_us));
                    }
                    Outcome::Starved if page.counter(count::TICKS_STARVED).is_power_of_two() => {
                        warn!(zone = slot, "a tick was put off: the arena is full; end matches or raise arena_mib");
                    }
                    Outcome::Starved => {}
                    Outcome::Ended { frontends: bits } => {
                        frontends |= bits;
                        page.add(count::ZONES_ENDED, 1);
                        let entry = scheduled.zone.entry();
                        let (zone, name) = (Some((*slot, entry.incarnation)), unpadded(&entry.name));
                        flight::note(FlightKind::End, Note { zone, a: entry.epoch.into(), text: &name, ..Note::default() });
                        info!(zone = slot, "match {name} has ended");
                        gone.push(*slot);
                    }
                    Outcome::Fenced => {
                        warn!(zone = slot, "the match was granted to another process");
                        gone.push(*slot);
                    }
                }
                scheduled.due_us += scheduled.period_us;
                if gone.last() == Some(slot) {
                    break;
                }
            }
            let now = now_us();
            if scheduled.due_us + scheduled.period_us <= now {
                // Still more than a tick behind: time is given up, never chased.
                let skipped = (now - scheduled.due_us) / scheduled.period_us;
                scheduled.due_us += skipped * scheduled.period_us;
                page.add(count::TICKS_SKIPPED, skipped);
            }
        }
        for slot in gone {
            self.zones.remove(&slot);
        }
        frontends
    }

    fn kick(&self, frontends: u64) {
        for (slot, wake) in self.frontends.iter().enumerate() {
            if frontends >> slot & 1 == 1 {
                // A full counter means that the front-end has not looked yet: it is awake soon enough.
                let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
                WorkerPage::new(&self.own).add(count::WAKES_SENT, 1);
            }
        }
    }

    fn sleep(&self) {
        let now = now_us();
        let next = self.zones.values().map(|s| s.due_us).min().unwrap_or(u64::MAX);
        let longest_ms = if self.coming.is_empty() { LOOP_SLEEP_MAX_MS } else { HANDOVER_POLL_MS };
        let us = next.saturating_sub(now).min(longest_ms * 1000);
        if us == 0 {
            return;
        }
        let timeout = Timespec { tv_sec: (us / 1_000_000) as i64, tv_nsec: (us % 1_000_000 * 1000) as i64 };
        let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
        // Interrupted or not: the loop looks at everything again.
        if poll(&mut fds, Some(&timeout)).is_ok_and(|n| n > 0) {
            let _ = rustix::io::read(self.wake, &mut [0u8; 8]);
        }
    }
}

/// Of a game that comes out otherwise in every tick the log has a line for the 1st, 2nd, 4th, 8th..
fn tell_difference<G: Game>(page: &WorkerPage<'_>, slot: usize, zone: &Zone<G>, difference: &str) {
    if page.counter(count::TICKS_DIVERGED).is_power_of_two() {
        let name = unpadded(&zone.entry().name);
        warn!(zone = slot, "match {name}: {difference}; the second is committed");
    }
}

/// Spreads the zones over the slots of a period, so that their commits and sends do not come in one burst.
fn first_due(now: u64, period_us: u64, slot: usize) -> u64 {
    let phase = (slot as u64 * 7 % STAGGER_SLOTS) * period_us / STAGGER_SLOTS;
    now - now % period_us + period_us + phase
}
