//! Workers of an earlier supervisor: those that live are gone on with, and those that have died since are started again.

use std::rc::Rc;
use std::time::Instant;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{WorkerEntry, WorkerState};
use ringfort_shm_state::limits::MAX_WORKERS;
use ringfort_shm_state::process::ProcessId;
use tracing::{info, warn};

use super::super::binary::Binary;
use super::super::number;
use super::super::segments::Segments;
use super::super::spawn::{Ending, Worker};
use super::{Death, Post, Workers, place};
use crate::cli::Role;
use crate::limits::{FRONTEND_PLACES, FRONTENDS_MAX, HOOK_PLACE, SIM_PLACES};

/// Who has a place of the directory.
fn post_at(place: usize) -> Option<(Role, u32)> {
    let (role, first) = match place {
        HOOK_PLACE => (Role::Hook, HOOK_PLACE),
        SIM_PLACES..HOOK_PLACE => (Role::Sim, SIM_PLACES),
        FRONTEND_PLACES..SIM_PLACES => (Role::Frontend, FRONTEND_PLACES),
        _ => return None,
    };
    Some((role, (place - first) as u32))
}

/// The workers that the directory lists and that live, by place. One that has stood by and was just given a slot is listed twice, and is the
/// slot's.
pub(in super::super) fn living(directory: Directory<'_>) -> Vec<Worker> {
    let mut found: Vec<Worker> = Vec::new();
    for place in 0..MAX_WORKERS {
        let (Some((role, slot)), Some(entry)) = (post_at(place), directory.worker(place)) else { continue };
        let process = ProcessId { pid: entry.pid, start_time: entry.start_time };
        if found.iter().any(|other| other.pid.as_raw_pid() as u32 == entry.pid) {
            continue;
        }
        found.extend(Worker::adopt(role, slot, process));
    }
    found
}

impl Workers {
    /// Puts processes of an earlier supervisor into their places, each of which there is. The others are started at the next turn.
    pub(in super::super) fn adopt(&mut self, living: Vec<Worker>, segments: &Segments) {
        let mut binaries: Vec<Rc<Binary>> = Vec::new();
        let mut newest: Option<(u64, Option<Rc<Binary>>)> = None;
        let now = Instant::now();
        for worker in living {
            let found = self.posts.iter_mut().find(|post| (post.role, post.slot) == (worker.role, worker.slot));
            let Some(post) = found else { continue };
            post.recall(segments);
            post.binary = binary_of(&worker, &mut binaries);
            if newest.as_ref().is_none_or(|(start_time, _)| *start_time <= post.entry.start_time) {
                newest = Some((post.entry.start_time, post.binary.clone()));
            }
            post.process = Some(worker);
            post.started = now;
            let state = if post.is_entered_as_begun() { WorkerState::Running } else { WorkerState::Starting };
            post.publish(segments, state);
        }
        let filled = self.pids();
        let binary = newest.and_then(|(_, binary)| binary);
        for post in self.posts.iter_mut().filter(|post| post.process.is_none()) {
            post.recall(segments);
            post.start_at = Some(now);
            if filled.contains(&post.entry.pid) {
                // It stood by here, and has just come to a slot.
                (post.entry.pid, post.entry.start_time) = (0, 0);
                post.publish(segments, WorkerState::Dead);
            }
            // One that was never started has not died.
            post.uncounted = post.entry.pid == 0;
            if !post.role.ends_with_supervisor() {
                post.binary = binary.clone();
            }
            if !post.uncounted {
                post.publish(segments, WorkerState::Dead);
            }
        }
    }

    /// Those of an earlier supervisor that have died since, and sims that were never started: matches may be theirs.
    pub(in super::super) fn dead(&self) -> Vec<Death> {
        let dead = self.posts.iter().filter(|post| post.process.is_none());
        let death = |post: &Post| {
            let WorkerEntry { pid, incarnation, .. } = post.entry;
            Death { role: post.role, slot: post.slot, pid, incarnation, ending: Ending::Gone, planned: false }
        };
        dead.map(death).collect()
    }

    /// Of every front-end slot the incarnation up to which its processes have died, 0 for none.
    pub(in super::super) fn dead_frontends(&self, segments: &Segments) -> Vec<(u32, u32)> {
        let lives =
            |slot| self.posts.iter().any(|post| (post.role, post.slot) == (Role::Frontend, slot) && post.process.is_some());
        let of = |slot| super::incarnation(segments, Role::Frontend, slot).saturating_sub(u32::from(lives(slot)));
        (0..FRONTENDS_MAX).map(|slot| (slot, of(slot))).collect()
    }

    /// Ids of the processes that run.
    pub(in super::super) fn pids(&self) -> Vec<u32> {
        self.running().map(|worker| worker.pid.as_raw_pid() as u32).collect()
    }
}

impl Post {
    /// Takes up what the directory says of its place.
    fn recall(&mut self, segments: &Segments) {
        let entry = Directory::new(&segments.directory).worker(place(self.role, self.slot)).filter(|entry| entry.role != 0);
        self.entry = WorkerEntry { slot: self.slot, ..entry.unwrap_or(self.entry) };
    }

    /// Whether it was more than just started, by what the last supervisor has seen of it.
    fn is_entered_as_begun(&self) -> bool {
        let begun = [WorkerState::Running, WorkerState::Draining, WorkerState::Stopping];
        begun.into_iter().any(|state| self.entry.state == number(state))
    }
}

/// What a process runs, if it is not what we run, so that its successor runs it, too.
fn binary_of(worker: &Worker, known: &mut Vec<Rc<Binary>>) -> Option<Rc<Binary>> {
    let binary = match Binary::of_process(worker.pid.as_raw_pid() as u32) {
        Ok(binary) => Rc::new(binary?),
        Err(error) => {
            warn!(
                "what {} {} runs cannot be looked at ({error}); its successor will run what the supervisor runs",
                worker.role, worker.slot
            );
            return None;
        }
    };
    if let Some(same) = known.iter().find(|other| other.is(&binary)) {
        return Some(Rc::clone(same));
    }
    info!("{} {} runs {}; so will who comes after it", worker.role, worker.slot, binary.path().display());
    known.push(Rc::clone(&binary));
    Some(binary)
}
