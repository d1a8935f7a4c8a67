//! Random rounds: all run, one is killed at some instruction, the rest park, everything is checked, a successor starts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::creator;
use crate::instance::Instance;
use crate::process::{Child, Violation, fork, go_on, pass, pause};
use crate::random::Random;
use crate::report::Report;
use crate::shared::{PRODUCERS, ROLES, ZONES};
use crate::verify::Verifier;
use crate::{producer, sim};

/// Longest time that a round runs before somebody is killed, in microseconds.
const RUN_US: u64 = 1_600;
/// The same for one that is to hit a successor while it takes over.
const SHORT_US: u64 = 350;
/// For how long a stopped process is left alone before it counts as hung, in microseconds.
const HANG_US: u64 = 700;

/// A run of random rounds on one instance.
pub struct Rounds {
    instance: Instance,
    verifier: Verifier,
    seed: u64,
    children: [Option<Child>; ROLES],
    pauses: u32,
    random: Random,
}

/// Who is killed in a round, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// The process of a role, wherever it is.
    Killed(usize),
    /// The process of a role, which is stopped first, for as long as a hang is tolerated.
    Stopped(usize),
    /// The sim and a producer at the same time.
    Both(usize),
    /// A process that creates a segment; beside the others.
    Creator,
}

impl Rounds {
    /// Runs so many rounds. `progress` is told of each. At a violation the round is told with it.
    pub fn run(seed: u64, kills: u64, report: &mut Report, mut progress: impl FnMut(&Report)) -> Result<(), Violation> {
        let instance = Instance::create("rounds");
        let verifier = Verifier::new(&instance, seed);
        let mut rounds =
            Self { instance, verifier, seed, children: Default::default(), pauses: 0, random: Random::new(seed, 0, 0) };
        let mut round = 0;
        while report.kills < kills {
            round += 1;
            rounds.random = Random::new(seed, round, 3);
            let death = rounds.death();
            rounds.round(round, death, report).map_err(|e| format!("round {round} ({death:?}): {e}"))?;
            progress(report);
        }
        rounds.finish(report).map_err(|e| format!("after round {round}: {e}"))
    }

    fn death(&mut self) -> Death {
        let producer = 1 + self.random.below(PRODUCERS as u64) as usize;
        match self.random.below(100) {
            0..50 => Death::Killed(sim::ROLE),
            50..72 => Death::Killed(producer),
            72..86 => Death::Stopped(producer),
            86..91 => Death::Stopped(sim::ROLE),
            91..97 => Death::Both(producer),
            _ => Death::Creator,
        }
    }

    fn round(&mut self, round: u64, death: Death, report: &mut Report) -> Result<(), Violation> {
        self.start_missing(round);
        go_on(self.instance.notes);
        let most = if self.random.one_in(3) { SHORT_US } else { RUN_US };
        pass(Duration::from_micros(self.random.below(most)));
        match death {
            Death::Killed(role) => self.kill(&[role], report)?,
            Death::Stopped(role) => self.stop_and_kill(role, report)?,
            Death::Both(producer) => self.kill(&[sim::ROLE, producer], report)?,
            Death::Creator => {
                creator::killed_at_random(self.instance.notes, &mut self.random)?;
                (report.kills, report.creators) = (report.kills + 1, report.creators + 1);
                self.pause()?;
            }
        }
        if matches!(death, Death::Killed(1..) | Death::Stopped(1..) | Death::Both(_)) && self.random.one_in(2) {
            for zone in 0..ZONES {
                self.verifier.probe_lock(zone)?;
            }
        }
        report.checks += 1;
        self.verifier.check()
    }

    fn start_missing(&mut self, round: u64) {
        let (instance, seed) = (&self.instance, self.seed);
        for (role, child) in self.children.iter_mut().enumerate().filter(|(_, child)| child.is_none()) {
            *child = Some(if role == sim::ROLE {
                // Whoever had the epoch before is dead: `kill` has waited for that.
                let epoch = self.verifier.next_grant();
                let plan = sim::Plan { seed, stream: round, epoch, ticks: None, last_tick: None, leaves: false };
                fork(|| sim::run(instance, plan))
            } else {
                let slot = role - 1;
                instance.notes.producers[slot].id.store((round << 8) + slot as u64 + 1, Ordering::Relaxed);
                fork(|| producer::run(instance, producer::Plan { seed, slot, batches: None }))
            });
        }
    }

    /// Kills processes; when their deaths are confirmed, the others are parked.
    fn kill(&mut self, roles: &[usize], report: &mut Report) -> Result<(), Violation> {
        let mut take = |role: &usize| (*role, self.children[*role].take().expect("every role runs in a round"));
        let dying: Vec<(usize, Child)> = roles.iter().map(&mut take).collect();
        dying.iter().for_each(|(_, child)| child.strike());
        self.pause()?;
        for (role, child) in dying {
            child.killed()?;
            report.kills += 1;
            if role == sim::ROLE {
                report.sims += 1;
            } else {
                self.verifier.producer_died(role - 1);
            }
        }
        Ok(())
    }

    /// Parks whoever is alive.
    fn pause(&mut self) -> Result<(), Violation> {
        self.pauses = self.pauses.wrapping_add(1).max(1);
        let alive = self.children.iter().enumerate().filter_map(|(role, child)| Some((role, child.as_ref()?)));
        pause(self.instance.notes, self.pauses, alive)
    }

    /// Stops a process wherever it is. The others go on; what it holds they find busy. Then it is killed.
    fn stop_and_kill(&mut self, role: usize, report: &mut Report) -> Result<(), Violation> {
        self.children[role].as_mut().expect("every role runs in a round").stop()?;
        let loops = |role: usize| self.instance.notes.children[role].loops.load(Ordering::Acquire);
        let before: [u64; ROLES] = std::array::from_fn(loops);
        for other in (0..ROLES).filter(|other| *other != role) {
            // A producer that finds the lock taken counts the loop all the same: it must not wait.
            let child = self.children[other].as_ref().expect("every role runs in a round");
            child
                .until("a loop of a process beside a stopped one", || loops(other) > before[other])
                .map_err(|e| format!("{e} (role {other}, {role} was stopped)"))?;
        }
        pass(Duration::from_micros(HANG_US));
        let child = self.children[role].take();
        self.pause()?;
        self.children[role] = child;
        let held = if role == sim::ROLE { Vec::new() } else { self.held_by_the_stopped()? };
        report.stopped += 1;
        self.kill(&[role], report)?;
        for zone in held {
            report.held += 1;
            if !self.verifier.probe_lock(zone)? {
                return Err(format!("the holder of the lock of inbox {zone} was killed, and nobody was told"));
            }
        }
        Ok(())
    }

    /// The locks that are taken while everybody else is parked.
    fn held_by_the_stopped(&self) -> Result<Vec<usize>, Violation> {
        let mut held = Vec::new();
        for zone in 0..ZONES {
            if self.verifier.lock_is_held(zone)? {
                held.push(zone);
            }
        }
        Ok(held)
    }

    /// The processes end, then the matches: nothing may be left.
    fn finish(mut self, report: &mut Report) -> Result<(), Violation> {
        for role in 0..ROLES {
            if let Some(child) = self.children[role].take() {
                child.kill()?;
                if role != sim::ROLE {
                    self.verifier.producer_died(role - 1);
                }
            }
        }
        self.verifier.check()?;
        finish(&self.instance, &mut self.verifier, self.seed, report)
    }
}

/// Drains what is left, ends both matches, and counts what the run did and left.
pub fn finish(instance: &Instance, verifier: &mut Verifier, seed: u64, report: &mut Report) -> Result<(), Violation> {
    go_on(instance.notes);
    let epoch = verifier.next_grant();
    fork(|| sim::end_all(instance, seed, epoch)).done()?;
    verifier.check()?;
    let undrained = (0..ZONES).find(|zone| !verifier.is_drained(*zone));
    if let Some(zone) = undrained {
        return Err(format!("inbox {zone} was not drained to its end"));
    }
    report.checks += 1;
    for zone in 0..ZONES {
        let model = verifier.model(zone);
        report.roots += model.sequence;
        report.matches += model.matches;
        report.lean += model.lean;
        report.consumed += model.records;
    }
    report.appended += verifier.appended();
    report.repairs += verifier.repairs();
    let children = &instance.notes.children;
    report.busy += children.iter().map(|c| c.busy.load(Ordering::Relaxed)).sum::<u64>();
    report.takeovers += children[sim::ROLE].started.load(Ordering::Relaxed);
    report.leaked_pages += (verifier.world().extents_used() * ringfort_shm_state::limits::EXTENT_PAGES) as u64;
    Ok(())
}
