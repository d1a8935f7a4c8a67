//! Every kill point, and every kill point that the recovery from it passes: a process dies at the first, its successor at the
//! second, and the next must find everything in order.
//!
//! One process runs at a time and follows a script, so the same places are reached at every run.

use std::sync::atomic::Ordering;

use ringfort_shm_state::kill_point::{ALL, Action, SERVER, arm, trace};

use crate::creator;
use crate::instance::Instance;
use crate::process::{Child, Violation, fork};
use crate::producer;
use crate::report::Report;
use crate::rounds::finish;
use crate::shared::PRODUCERS;
use crate::sim;
use crate::verify::Verifier;

/// Ticks that a sim's script runs: a match's rest, its end, and the beginning of the next, in both zones.
const TICKS: u32 = 130;
/// The last tick of a scripted match: late enough for pages of a burst to leave the window, and extents to be given back.
const LAST_TICK: u32 = 50;
/// Ticks before the process that is to die starts: so that it takes zones over, and that they have something to lose.
const FIRST_TICKS: u32 = 14;
/// Ticks of the life after both deaths: enough to use what it found free.
const LAST_TICKS: u32 = 30;
/// Batches of a producer's script.
const BATCHES: u32 = 6;

/// Who passes a kill point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Sim,
    Producer,
    Creator,
}

const ACTORS: [Actor; 3] = [Actor::Sim, Actor::Producer, Actor::Creator];

/// At which of the times that it passes a point a process dies.
#[derive(Clone, Copy, Debug)]
enum Nth {
    First,
    Middle,
    Last,
}

impl Nth {
    fn of(self, times: u32) -> u32 {
        match self {
            Self::First => 1,
            Self::Middle => times.div_ceil(2),
            Self::Last => times,
        }
    }
}

/// When the first dies and when its successor does: every pair in three ways.
const OCCASIONS: [(Nth, Nth); 3] = [(Nth::First, Nth::First), (Nth::Middle, Nth::Last), (Nth::Last, Nth::Middle)];

/// A point and how often it is to be reached.
type Armed = Option<(&'static str, u32)>;

/// All pairs on one instance.
pub struct Pairs {
    instance: Instance,
    /// What a creator creates, and nobody else uses.
    spare: Instance,
    verifier: Verifier,
    seed: u64,
    producers: u64,
    seen: Vec<(&'static str, &'static str)>,
}

impl Pairs {
    /// Runs all pairs. `progress` is told of each.
    pub fn run(seed: u64, report: &mut Report, mut progress: impl FnMut(&Report)) -> Result<(), Violation> {
        let instance = Instance::create("pairs");
        let spare = Instance::named("pairs-spare", instance.notes);
        let verifier = Verifier::new(&instance, seed);
        let mut pairs = Self { instance, spare, verifier, seed, producers: 0, seen: Vec::new() };
        let mut reached = Vec::new();
        for actor in ACTORS {
            pairs.prepare(actor)?;
            let counts = pairs.traced(actor)?;
            pairs.settle(actor)?;
            for (first, times) in ALL.iter().zip(counts).filter(|(_, times)| *times > 0) {
                reached.push(*first);
                for (nth, then) in OCCASIONS {
                    pairs.recoveries(actor, (*first, nth.of(times)), then, report)?;
                    progress(report);
                }
            }
        }
        let missed: Vec<_> = ALL.iter().filter(|name| !SERVER.concat().contains(name) && !reached.contains(name)).collect();
        if !missed.is_empty() {
            return Err(format!("no script reaches the kill points {missed:?}"));
        }
        finish(&pairs.instance, &mut pairs.verifier, seed, report)
    }

    /// One kill point, and each that the recovery from it passes.
    fn recoveries(&mut self, actor: Actor, first: (&'static str, u32), then: Nth, report: &mut Report) -> Result<(), Violation> {
        let context = |e| format!("{actor:?} dies at {first:?}: {e}");
        self.prepare(actor)?;
        self.dies(actor, first, report).map_err(context)?;
        let counts = self.traced(actor).map_err(context)?;
        self.settle(actor).map_err(context)?;
        for (name, times) in ALL.iter().zip(counts).filter(|(_, times)| *times > 0) {
            let second = (*name, then.of(times));
            self.pair(actor, first, second, report)
                .map_err(|e| format!("{actor:?} dies at {first:?}, its successor at {second:?}: {e}"))?;
            if !self.seen.contains(&(first.0, name)) {
                self.seen.push((first.0, name));
                report.pairs += 1;
            }
        }
        Ok(())
    }

    fn pair(
        &mut self,
        actor: Actor,
        first: (&'static str, u32),
        second: (&'static str, u32),
        report: &mut Report,
    ) -> Result<(), Violation> {
        self.prepare(actor)?;
        self.dies(actor, first, report)?;
        self.dies(actor, second, report)?;
        self.settle(actor)
    }

    /// What every schedule begins with.
    fn prepare(&mut self, actor: Actor) -> Result<(), Violation> {
        match actor {
            Actor::Sim => self.sim(FIRST_TICKS, None, false).done()?,
            // A match to append to, and a lock whose holder has died.
            Actor::Producer => {
                self.sim(FIRST_TICKS, None, false).done()?;
                self.start(actor, Some(("lock:taken", 1)), false).killed()?;
                self.gone(actor);
            }
            // A creator that is done is what its successor has to remove.
            Actor::Creator => fork(|| creator::run(&self.spare, None, false)).done()?,
        }
        self.check(actor)
    }

    /// What every schedule ends with: a life that nobody disturbs, and the end of the matches, so that the next begins from
    /// nothing.
    fn settle(&mut self, actor: Actor) -> Result<(), Violation> {
        match actor {
            Actor::Sim => self.sim(LAST_TICKS, None, false).done()?,
            _ => self.lives(actor, false)?,
        }
        if actor == Actor::Creator {
            return self.check(actor);
        }
        let epoch = self.verifier.next_grant();
        fork(|| sim::end_all(&self.instance, self.seed, epoch)).done()?;
        self.check(actor)?;
        match self.verifier.world().extents_used() {
            0 => Ok(()),
            extents => Err(format!("{extents} extents leaked")),
        }
    }

    fn check(&mut self, actor: Actor) -> Result<(), Violation> {
        if actor == Actor::Creator { creator::check(&self.spare) } else { self.verifier.check() }
    }

    /// A life that ends at a kill point, and what it leaves.
    fn dies(&mut self, actor: Actor, armed: (&'static str, u32), report: &mut Report) -> Result<(), Violation> {
        let died = self.start(actor, Some(armed), false).killed();
        self.gone(actor);
        (report.deaths, report.checks) = (report.deaths + 1, report.checks + 1);
        died.map_err(|e| format!("{armed:?} was not reached: {e}"))?;
        self.check(actor)
    }

    /// A life that ends as its script does.
    fn lives(&mut self, actor: Actor, traced: bool) -> Result<(), Violation> {
        let lived = self.start(actor, None, traced).done();
        self.gone(actor);
        lived
    }

    fn gone(&mut self, actor: Actor) {
        if actor == Actor::Producer {
            self.verifier.producer_died(self.producer_slot());
        }
    }

    /// How often a life passes each kill point.
    fn traced(&mut self, actor: Actor) -> Result<Vec<u32>, Violation> {
        let reached = &self.instance.notes.reached;
        reached.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.lives(actor, true)?;
        self.check(actor)?;
        Ok(reached.iter().map(|count| count.load(Ordering::Relaxed) as u32).collect())
    }

    fn start(&mut self, actor: Actor, armed: Armed, traced: bool) -> Child {
        match actor {
            Actor::Sim => self.sim(TICKS, armed, traced),
            Actor::Creator => fork(|| creator::run(&self.spare, armed, traced)),
            Actor::Producer => {
                self.producers += 1;
                let slot = self.producer_slot();
                self.instance.notes.producers[slot].id.store(self.producers, Ordering::Relaxed);
                fork(|| {
                    equip(&self.instance, armed, traced);
                    producer::run(&self.instance, producer::Plan { seed: self.seed, slot, batches: Some(BATCHES) })
                })
            }
        }
    }

    fn producer_slot(&self) -> usize {
        self.producers as usize % PRODUCERS
    }

    fn sim(&mut self, ticks: u32, armed: Armed, traced: bool) -> Child {
        let (seed, epoch) = (self.seed, self.verifier.next_grant());
        // The stream is the same for all, so that their choices are.
        let plan = sim::Plan { seed, stream: 0, epoch, ticks: Some(ticks), last_tick: Some(LAST_TICK), leaves: false };
        fork(|| {
            equip(&self.instance, armed, traced);
            sim::run(&self.instance, plan)
        })
    }
}

/// Arms a kill point of this process, or counts all of them.
fn equip(instance: &Instance, armed: Armed, traced: bool) {
    if traced {
        trace(&instance.notes.reached);
    }
    if let Some((name, nth)) = armed {
        arm(name, nth, Action::Kill);
    }
}
