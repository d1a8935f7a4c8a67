//! What is wrong with processes, and with what they hold.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Role, WorkerEntry, WorkerState};
use ringfort_shm_state::worker::WorkerPage;

use super::Severity::{Broken, Degraded, Notice};
use super::{Facts, Severity};
use crate::limits::HEARTBEAT_OLD_MS;
use crate::look::locks::locks;
use crate::look::processes::name_of;
use crate::status::ProcessStatus;

type Found = Vec<(Severity, String, String)>;

fn is_dead(process: &ProcessStatus) -> bool {
    matches!(process.state, "dead" | "zombie")
}

fn called(process: &ProcessStatus) -> String {
    format!("{} {} (pid {})", process.role, process.slot, process.pid)
}

fn all_dead(facts: &Facts<'_>) -> bool {
    facts.status.processes.iter().all(is_dead)
}

/// Nothing of it lives: it crashed, or was killed, or the machine went down.
pub(super) fn not_running(facts: &Facts<'_>) -> Found {
    if !all_dead(facts) {
        return Vec::new();
    }
    let name = &facts.status.instance;
    let before = facts.attached.instance.started_us > facts.attached.moment.boot_us();
    let when = if before { ", from before the machine was started last" } else { "" };
    vec![(
        Broken,
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
        let advice = "`ringfort up` adopts them, `ringfort down` stops them".to_owned();
        (Broken, "the supervisor is gone; its workers go on, but nobody replaces one that dies".to_owned(), advice)
    };
    facts.status.orphaned.then(gone).into_iter().collect()
}

/// A worker has died and was not replaced, or waits to be: who dies at once is started ever more seldom.
pub(super) fn process_dead(facts: &Facts<'_>) -> Found {
    if all_dead(facts) {
        return Vec::new();
    }
    let workers: Vec<WorkerEntry> = Directory::new(&facts.attached.directory).workers().collect();
    let is = |process: &ProcessStatus, state: WorkerState| {
        workers.iter().any(|entry| entry.pid == process.pid && entry.state == state as u32)
    };
    let ends =
        |process: &ProcessStatus| is(process, WorkerState::Stopping) || facts.status.stopping && is(process, WorkerState::Dead);
    let dead = facts.status.processes.iter().filter(|process| is_dead(process) && process.role != "supervisor");
    let found = dead.filter(|process| process.pid != 0 && !ends(process)).map(|process| {
        if is(process, WorkerState::Dead) {
            let what = format!("{} has died, and is to be started again", called(process));
            return (Degraded, what, "the oftener it dies at once, the longer its supervisor waits; its log says why".to_owned());
        }
        let what = format!("{} is {}, and was not replaced", called(process), process.state);
        (Broken, what, "the supervisor starts another at once unless it is stopped or gone itself; its log says why".to_owned())
    });
    found.collect()
}

/// A process was stopped by a signal.
pub(super) fn process_stopped(facts: &Facts<'_>) -> Found {
    let stopped = facts.status.processes.iter().filter(|process| process.state == "stopped");
    let found = stopped.map(|process| {
        let what = format!("{} is stopped by a signal or by a debugger", called(process));
        (Broken, what, format!("`kill -CONT {}` lets it go on", process.pid))
    });
    found.collect()
}

/// A process runs, and has not been through its loop for long.
pub(super) fn process_hung(facts: &Facts<'_>) -> Found {
    let old = |process: &&ProcessStatus| {
        process.state == "running" && process.heartbeat_age_ms.is_some_and(|age| age > HEARTBEAT_OLD_MS)
    };
    let found = facts.status.processes.iter().filter(old).map(|process| {
        let on = stepping(facts, process).map_or(String::new(), |on| format!(" It is {on}."));
        let what = format!("{} hangs: its last sign of life is {} ms old.{on}", called(process), process.heartbeat_age_ms.unwrap_or(0));
        let advice = "the supervisor kills a process that hangs and uses the processor; a debugger or `perf` on that pid shows where it is";
        (Broken, what, advice.to_owned())
    });
    found.collect()
}

/// What a sim is in the middle of.
pub(super) fn stepping(facts: &Facts<'_>, process: &ProcessStatus) -> Option<String> {
    let role = if process.role == Role::Standby.name() { Role::Standby } else { Role::Sim };
    let own = facts.attached.worker(role, process.slot).filter(|_| process.role == role.name())?;
    let slot = WorkerPage::new(&own).stepping()?;
    let name = name_of(Directory::new(&facts.attached.directory), slot);
    let attempt = facts.attached.world.attempt(slot);
    let of_tick = attempt.map_or(String::new(), |attempt| format!(", tick {}, attempt {}", attempt.tick, attempt.attempt));
    Some(format!("in the middle of match \"{name}\"{of_tick}"))
}

/// A front-end cannot keep up.
pub(super) fn shedding(facts: &Facts<'_>) -> Found {
    let sheds = facts.status.processes.iter().filter_map(|process| Some((process, process.sheds.as_ref()?)));
    let found = sheds.filter(|(process, _)| !is_dead(process)).map(|(process, sheds)| {
        let what = format!("{} cannot keep up and does without something: {sheds}", called(process));
        (Degraded, what, "it recovers by itself; if it comes again, `ringfort frontends scale N` adds front-ends".to_owned())
    });
    found.collect()
}

/// A lock is held by the dead, by the stopped, or for too long.
pub(super) fn lock_held(facts: &Facts<'_>) -> Found {
    let held = locks(facts.attached).held.into_iter();
    let found = held.filter(|lock| lock.held_ms > 0 || lock.state != "running").map(|lock| {
        let of = &lock.of;
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
        (severity, format!("the lock of the inbox of match \"{of}\" is held by {holder}, which is {}, in operation {}", lock.state, lock.operation), advice)
    });
    found.collect()
}
