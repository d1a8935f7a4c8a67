//! What is wrong with processes, and with what they hold.

use super::Severity::{Broken, Degraded, Notice};
use super::{About, Facts, Found, about_process, silent_ms, stops};
use crate::status::ProcessStatus;

fn called(process: &ProcessStatus) -> String {
    format!("{} (pid {})", process.name(), process.pid)
}

/// Nothing of it lives: it crashed, or was killed, or the machine went down.
pub(super) fn not_running(facts: &Facts<'_>) -> Found {
    if !facts.status.is_dead() {
        return Vec::new();
    }
    let name = &facts.status.instance;
    let when = if facts.signs.before_boot { ", from before the machine was started last" } else { "" };
    vec![(
        Broken,
        About::Instance,
        format!("no process of instance \"{name}\" lives; this is what its last run left{when}"),
        format!(
            "`ringfort up --instance {name}` goes on with its matches, `ringfort up --fresh` throws them away; `ringfort save FILE` keeps them to \
             be looked at"
        ),
    )]
}

/// Its supervisor has died, and nobody heals what dies now.
pub(super) fn supervisor_gone(facts: &Facts<'_>) -> Found {
    let gone = || {
        let what = "the supervisor is gone; its workers go on, but nobody replaces one that dies".to_owned();
        (Broken, About::Instance, what, "`ringfort up` adopts them, `ringfort down` stops them".to_owned())
    };
    facts.status.orphaned.then(gone).into_iter().collect()
}

/// A worker has died and was not replaced, or waits to be: who dies at once is started ever more seldom.
pub(super) fn process_dead(facts: &Facts<'_>) -> Found {
    if facts.status.is_dead() {
        return Vec::new();
    }
    let dead = facts.processes().filter(|(process, _)| process.is_dead() && process.role != "supervisor" && process.pid != 0);
    let found = dead.filter(|(_, signs)| !signs.ends).map(|(process, signs)| {
        let (severity, what, advice) = if signs.waits {
            let what = format!("{} has died, and is to be started again", called(process));
            (Degraded, what, "the oftener it dies at once, the longer its supervisor waits; its log says why")
        } else {
            let what = format!("{} is {}, and was not replaced", called(process), process.state);
            (Broken, what, "the supervisor starts another at once unless it is stopped or gone itself; its log says why")
        };
        (severity, about_process(process), what, advice.to_owned())
    });
    found.collect()
}

/// A process was stopped by a signal.
pub(super) fn process_stopped(facts: &Facts<'_>) -> Found {
    let stopped = facts.status.processes.iter().filter(|process| process.state == "stopped");
    let found = stopped.map(|process| {
        let what = format!("{} is stopped by a signal or by a debugger", called(process));
        (Broken, about_process(process), what, format!("`kill -CONT {}` lets it go on", process.pid))
    });
    found.collect()
}

/// A process runs, and has not been through its loop for long. One that starts has yet to give its first sign of life.
pub(super) fn process_hung(facts: &Facts<'_>) -> Found {
    let limit_ms = silent_ms(facts);
    let runs = |process: &ProcessStatus| !process.is_dead() && !matches!(process.state, "starting" | "stopped");
    let found = facts.processes().filter(|(process, _)| runs(process)).filter_map(|(process, signs)| {
        let silent_ms = process.heartbeat_age_ms.filter(|age| *age > limit_ms)?;
        let on = signs.stepping.as_ref().map_or(String::new(), |on| format!(" It is {on}."));
        let what = format!("{} hangs: its last sign of life is {silent_ms} ms old.{on}", called(process));
        let advice = "the supervisor kills a process that hangs and uses the processor; a debugger or `perf` on that pid shows where it is";
        Some((Broken, about_process(process), what, advice.to_owned()))
    });
    found.collect()
}

/// A front-end cannot keep up.
pub(super) fn shedding(facts: &Facts<'_>) -> Found {
    let sheds = facts.status.processes.iter().filter_map(|process| Some((process, process.sheds.as_ref()?)));
    let found = sheds.filter(|(process, _)| !process.is_dead()).map(|(process, sheds)| {
        let what = format!("{} cannot keep up and does without something: {sheds}", called(process));
        let advice = "it recovers by itself; if it comes again, `ringfort frontends scale N` adds front-ends".to_owned();
        (Degraded, about_process(process), what, advice)
    });
    found.collect()
}

/// A lock is held by the dead, by the stopped, or for too long.
pub(super) fn lock_held(facts: &Facts<'_>) -> Found {
    let held = facts.signs.locks.iter().filter(|lock| lock.held_ms > 0 || lock.state != "running");
    let found = held.map(|lock| {
        let holder = match (lock.role, lock.role_slot) {
            (Some(role), Some(slot)) => format!("{role} {slot} (pid {})", lock.pid),
            _ => format!("pid {}", lock.pid),
        };
        let (severity, advice) = match lock.state {
            "dead" => (Notice, "the next front-end that takes it repairs it; nothing is to be done".to_owned()),
            "stopped" => (
                Broken,
                format!("`kill -CONT {0}` lets it go on; killed, it leaves the lock to the next, and the supervisor kills it unless that is stopped, too", lock.pid),
            ),
            _ => (Degraded, "a lock is held for microseconds: look again, and if it is the same operation, that process hangs".to_owned()),
        };
        let of = facts.status.matches.iter().find(|of| of.slot == lock.slot);
        let about = of.map_or(About::Instance, |of| About::Match(of.id));
        let what = format!(
            "the lock of the inbox of match \"{}\" is held by {holder}, which is {}, in operation {}",
            lock.of, lock.state, lock.operation
        );
        (severity, about, what, advice)
    });
    found.collect()
}

/// It was told to stop.
pub(super) fn stopping(facts: &Facts<'_>) -> Found {
    let Some(what) = stops(facts.status).filter(|_| !facts.status.is_dead()) else { return Vec::new() };
    let advice = if facts.status.stopping { "it ends by itself" } else { "`ringfort down` does not wait for them" };
    vec![(Notice, About::Instance, what.to_owned(), advice.to_owned())]
}
