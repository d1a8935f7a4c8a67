//! Processes that are stopped at a kill point and go on later, or never.

use std::sync::atomic::Ordering;

use ringfort_shm_state::kill_point::{Action, arm};

use crate::instance::Instance;
use crate::process::{Ended, Violation, fork};
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

struct Scenes {
    instance: Instance,
    verifier: Verifier,
    seed: u64,
    epoch: u16,
    producers: u64,
}

/// All scenes, on one instance.
pub fn run(seed: u64, report: &mut Report) -> Result<(), Violation> {
    let instance = Instance::create("scenes");
    let verifier = Verifier::new(&instance, seed);
    let mut scenes = Scenes { instance, verifier, seed, epoch: 0, producers: 0 };
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
    let epoch = scenes.epoch.wrapping_add(1);
    finish(&scenes.instance, &mut scenes.verifier, epoch, seed, report)
}

impl Scenes {
    fn plan(&mut self, ticks: u32) -> sim::Plan {
        self.epoch = self.epoch.wrapping_add(1);
        sim::Plan { seed: self.seed, stream: 0, epoch: self.epoch, ticks: Some(ticks), last_tick: Some(LAST_TICK) }
    }

    fn sim(&mut self, ticks: u32) -> crate::process::Child {
        let plan = self.plan(ticks);
        fork(|| sim::run(&self.instance, plan))
    }

    fn producer(&mut self, slot: usize, batches: u32, armed: Option<(&str, Action)>) -> crate::process::Child {
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
        self.epoch = self.epoch.wrapping_add(1);
        fork(|| sim::end_all(&self.instance, self.seed, self.epoch)).done()?;
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
}
