//! Processes that are stopped at a kill point and go on later, or never.

use std::sync::atomic::Ordering;

use ringfort_shm_state::kill_point::{Action, arm};

use crate::instance::Instance;
use crate::process::{Child, Ended, Violation, fork};
use crate::producer;
use crate::report::Report;
use crate::rounds::finish;
use crate::sim;
use crate::verify::Verifier;

/// Where a stopped producer holds the lock.
const HOLDING: [&str; 6] =
    ["lock:taken", "lock:owner_died", "lock:repaired", "inbox:record_copied", "inbox:copied", "inbox:tail_moved"];
/// Where a sim has written all that it is going to write, except for the published word.
const ABOUT_TO_PUBLISH: [&str; 2] = ["commit:root_written", "end:root_written"];
/// Ticks of a scripted sim, and the last of a match: both ends and beginnings are among them.
const TICKS: u32 = 40;
const LAST_TICK: u32 = 12;

/// What becomes of an owner that was stopped while it handed a zone over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It goes on, and the next owner after it.
    Resumed,
    /// The next owner goes on first.
    Overtaken,
    /// It is killed, and another process is granted the zone.
    Killed,
}

/// Hand-overs, by where the owner is stopped.
const HAND_OVERS: [(&str, Then); 4] = [
    ("release:begun", Then::Resumed),
    ("release:begun", Then::Killed),
    ("release:published", Then::Overtaken),
    ("release:published", Then::Killed),
];
/// The zone that a scripted sim hands over first, and how many ticks its next owner runs.
const HANDED_ZONE: usize = 1;
const NEXT_TICKS: u32 = 5;

struct Scenes {
    instance: Instance,
    verifier: Verifier,
    seed: u64,
    producers: u64,
}

/// All scenes, on one instance.
pub fn run(seed: u64, report: &mut Report) -> Result<(), Violation> {
    let instance = Instance::create("scenes");
    let verifier = Verifier::new(&instance, seed);
    let mut scenes = Scenes { instance, verifier, seed, producers: 0 };
    for match_before in ["no match", "a match"] {
        scenes.unborn().map_err(|e| format!("a sim killed in the first tick of a match, after {match_before}: {e}"))?;
        report.deaths += 1;
    }
    scenes.sim(TICKS).done()?;
    for point in HOLDING {
        for killed in [true, false] {
            let context =
                |e| format!("a producer stopped at {point} and then {}: {e}", if killed { "killed" } else { "resumed" });
            scenes.stopped_holder(point, killed).map_err(context)?;
            report.deaths += 1 + u64::from(killed);
        }
    }
    for point in ABOUT_TO_PUBLISH {
        for committed in [true, false] {
            scenes.fenced(point, committed).map_err(|e| format!("a sim stopped at {point}, then fenced off: {e}"))?;
            report.deaths += 1 + u64::from(!committed);
        }
    }
    for (point, then) in HAND_OVERS {
        scenes.hand_over(point, then).map_err(|e| format!("a sim stopped at {point}, then {then:?}: {e}"))?;
        report.deaths += 1 + u64::from(then == Then::Killed);
    }
    finish(&scenes.instance, &mut scenes.verifier, seed, report)
}

impl Scenes {
    fn plan(&mut self, ticks: u32) -> sim::Plan {
        let (seed, epoch) = (self.seed, self.verifier.next_grant());
        sim::Plan { seed, stream: 0, epoch, ticks: Some(ticks), last_tick: Some(LAST_TICK), leaves: false }
    }

    fn sim(&mut self, ticks: u32) -> Child {
        let plan = self.plan(ticks);
        fork(|| sim::run(&self.instance, plan))
    }

    fn producer(&mut self, slot: usize, batches: u32, armed: Option<(&str, Action)>) -> Child {
        self.producers += 1;
        self.instance.notes.producers[slot].id.store(self.producers, Ordering::Relaxed);
        let (instance, plan) = (&self.instance, producer::Plan { seed: self.seed, slot, batches: Some(batches) });
        fork(|| {
            if let Some((name, action)) = armed {
                arm(name, 1, action);
            }
            producer::run(instance, plan)
        })
    }

    /// A match that died before its first commit has taken extents, and no root tells of them: the next match has to find them.
    fn unborn(&mut self) -> Result<(), Violation> {
        let plan = self.plan(TICKS);
        let dying = fork(|| {
            arm("page:copied", 2, Action::Kill);
            sim::run(&self.instance, plan)
        });
        dying.killed()?;
        self.verifier.check()?;
        // It runs to the end of that match, and nobody takes it over before.
        self.sim(TICKS).done()?;
        self.verifier.check()?;
        let epoch = self.verifier.next_grant();
        fork(|| sim::end_all(&self.instance, self.seed, epoch)).done()?;
        self.verifier.check()
    }

    /// While a producer is stopped with the lock, the others find it busy and the sim goes on; nothing of it is lost or doubled
    /// when it goes on itself, and the next repairs the lock when it is killed.
    fn stopped_holder(&mut self, point: &str, killed: bool) -> Result<(), Violation> {
        let after_a_death = point == "lock:owner_died" || point == "lock:repaired";
        if after_a_death {
            self.producer(0, 1, Some(("lock:taken", Action::Kill))).killed()?;
            self.verifier.producer_died(0);
        }
        let mut holder = self.producer(0, 1, Some((point, Action::Stop)));
        holder.stopped()?;
        let busy = |scenes: &Self| scenes.instance.notes.children[2].busy.load(Ordering::Relaxed);
        let before = busy(self);
        let other = self.producer(1, 2, None);
        other.until("another producer's finding the lock taken", || busy(self) > before)?;
        other.kill()?;
        self.verifier.producer_died(1);
        if !self.verifier.lock_is_held(0)? || self.verifier.lock_is_held(1)? {
            return Err("the stopped producer holds the lock of the first inbox, and no other".to_owned());
        }
        self.sim(TICKS).done()?;
        self.verifier.check()?;
        if killed {
            holder.kill()?;
            if !self.verifier.probe_lock(0)? {
                return Err("nobody was told that the holder died".to_owned());
            }
        } else {
            holder.resume();
            holder.done()?;
            if self.verifier.probe_lock(0)? {
                return Err("the lock was left by a holder that gave it back".to_owned());
            }
        }
        self.verifier.producer_died(0);
        self.verifier.check()
    }

    /// A sim that is about to publish, and whose zones another was granted meanwhile, publishes nothing: be it that the other has
    /// published already, or that nothing but the epoch tells of it.
    fn fenced(&mut self, point: &str, committed: bool) -> Result<(), Violation> {
        let plan = self.plan(TICKS);
        let mut stopped = fork(|| {
            arm(point, 1, Action::Stop);
            sim::run(&self.instance, plan)
        });
        stopped.stopped()?;
        self.verifier.check()?;
        // No grant before a death is confirmed: this breaks that rule where only the published word can still be written.
        let plan = self.plan(2);
        let successor = fork(|| {
            if !committed {
                arm("claim:published", 1, Action::Kill);
            }
            sim::run(&self.instance, plan)
        });
        if committed {
            successor.done()?
        } else {
            successor.killed()?
        }
        self.verifier.check()?;
        stopped.resume();
        match stopped.join() {
            Ended::Exited(sim::FENCED) => self.verifier.check(),
            ended => Err(format!("it should have found itself fenced off: {ended:?}")),
        }
    }

    /// The next owner waits for the zone until it is released, and adopts it then, whatever becomes of the last one. It is never
    /// both of theirs: before the release the next owner waits, after it nothing that the last one does is committed.
    fn hand_over(&mut self, point: &str, then: Then) -> Result<(), Violation> {
        let plan = sim::Plan { leaves: true, ..self.plan(TICKS) };
        let mut owner = fork(|| {
            arm(point, 1, Action::Stop);
            sim::run(&self.instance, plan)
        });
        owner.stopped()?;
        self.verifier.check()?;
        let waits = || self.instance.notes.children[sim::ROLE].waits.load(Ordering::Acquire);
        let before = waits();
        let next = fork(|| sim::wait_for(&self.instance, self.seed, HANDED_ZONE, NEXT_TICKS));
        if point == "release:begun" {
            next.until("the second look of a sim at a zone that is not released", || waits() > before + 1)?;
            self.verifier.check()?;
        }
        if then == Then::Overtaken {
            next.done()?;
            self.verifier.check()?;
            owner.resume();
            return self.released(owner);
        }
        if then == Then::Resumed {
            owner.resume();
            next.done()?;
            return self.released(owner);
        }
        owner.kill()?;
        if point == "release:published" {
            next.done()?;
            return self.verifier.check();
        }
        // Nobody has released it: it is granted to another, and who waited is told.
        self.sim(2).done()?;
        match next.join() {
            Ended::Exited(sim::IN_VAIN) => self.verifier.check(),
            ended => Err(format!("who waited for the zone should have given up: {ended:?}")),
        }
    }

    fn released(&mut self, owner: Child) -> Result<(), Violation> {
        match owner.join() {
            Ended::Exited(sim::RELEASED) => self.verifier.check(),
            ended => Err(format!("it should have ended once the zone was released: {ended:?}")),
        }
    }
}
