//! Front-ends that are added, asked to send their clients elsewhere, ended, and replaced by who stands by.

use std::rc::Rc;
use std::time::Instant;

use ringfort_shm_state::layout::WorkerState;
use ringfort_shm_state::worker::WorkerPage;
use rustix::process::Signal;

use super::super::binary::Binary;
use super::super::moves::MoveError;
use super::super::number;
use super::super::rolling::Next;
use super::super::segments::Segments;
use super::{Post, Workers, incarnation};
use crate::cli::Role;
use crate::frontend::counters::CONNECTIONS;
use crate::limits::FRONTEND_STANDBY;

impl Workers {
    fn frontend(&self, slot: u32) -> Option<&Post> {
        self.posts.iter().find(|post| (post.role, post.slot) == (Role::Frontend, slot))
    }

    fn frontend_mut(&mut self, slot: u32) -> Option<&mut Post> {
        self.posts.iter_mut().find(|post| (post.role, post.slot) == (Role::Frontend, slot))
    }

    /// Slots of all front-ends, whether a process fills them just now or not; not that of the one that stands by.
    pub(in super::super) fn frontend_slots(&self) -> impl Iterator<Item = u32> {
        self.posts.iter().filter(|post| post.role == Role::Frontend && !post.stands_by()).map(|post| post.slot)
    }

    /// Whether there is such a front-end.
    pub(in super::super) fn check_frontend(&self, slot: u32) -> Result<(), MoveError> {
        let last = self.frontend_slots().max().unwrap_or(0);
        if slot > last { Err(MoveError::NoSuchFrontend { slot, last }) } else { Ok(()) }
    }

    /// What a front-end's next process executes, if not this program.
    pub(in super::super) fn frontend_binary(&self, slot: u32) -> Option<Rc<Binary>> {
        self.frontend(slot)?.binary.clone()
    }

    /// The process that a slot has now: its incarnation. `None` when it has none.
    pub(in super::super) fn frontend_incarnation(&self, slot: u32) -> Option<u32> {
        self.frontend(slot).filter(|post| post.process.is_some()).map(|post| post.entry.incarnation)
    }

    /// Whether who stands by could take a slot at once.
    pub(in super::super) fn standby_is_ready(&self, segments: &Segments) -> bool {
        self.frontend(FRONTEND_STANDBY).is_some_and(|post| post.is_running() && post.can_take_over(segments))
    }

    /// Has who stands by give way to a process of a binary. Returns the new one's incarnation.
    pub(in super::super) fn replace_standby(&mut self, binary: Option<Rc<Binary>>) -> u32 {
        let Some(post) = self.frontend_mut(FRONTEND_STANDBY) else { return 0 };
        post.binary = binary;
        if let Some(process) = &post.process {
            post.giving_way = true;
            // An error says that it is dead already. It holds nothing.
            let _ = process.signal(Signal::KILL);
        }
        post.entry.incarnation + 1
    }

    /// One more front-end, started at the next turn. Returns the incarnation that it will have.
    pub(in super::super) fn add_frontend(&mut self, slot: u32, segments: &Segments, now: Instant) -> u32 {
        let mut post = Post::new(Role::Frontend, slot, incarnation(segments, Role::Frontend, slot));
        (post.binary, post.start_at, post.uncounted) = (self.frontend_binary(0), Some(now), true);
        let awaited = post.entry.incarnation + 1;
        self.posts.push(post);
        awaited
    }

    /// Has a front-end ask its clients to go elsewhere. With `leaves` nobody comes after it.
    pub(in super::super) fn drain_frontend(&mut self, slot: u32, leaves: bool, segments: &Segments) {
        if let Some(post) = self.frontend_mut(slot) {
            post.leaves = leaves;
            if post.process.is_some() {
                post.publish(segments, WorkerState::Draining);
            }
        }
        self.wake_frontend(slot);
    }

    /// Whether a slot's process runs what is to come there.
    pub(in super::super) fn is_due_to_run(&self, slot: u32, next: &Next) -> bool {
        let Next::Process(wanted) = next else { return false };
        match (self.frontend_binary(slot), wanted) {
            (Some(is), Some(wanted)) => Rc::ptr_eq(&is, wanted),
            (is, wanted) => is.is_none() && wanted.is_none(),
        }
    }

    /// Connections of a front-end, by its own count, which is some milliseconds old.
    pub(in super::super) fn connections(&self, slot: u32, segments: &Segments) -> u64 {
        WorkerPage::new(segments.frontend(slot)).counter(CONNECTIONS)
    }

    /// Tells a front-end's process to end, for one of a binary; with `now` at once.
    pub(in super::super) fn end_frontend(&mut self, slot: u32, binary: Option<Rc<Binary>>, now: bool) {
        let Some(post) = self.frontend_mut(slot) else { return };
        post.binary = binary;
        if let Some(process) = &post.process {
            post.giving_way = true;
            // An error says that it is dead already.
            let _ = process.signal(if now { Signal::KILL } else { Signal::TERM });
        }
    }

    /// Gives up the place of a front-end whose process has ended for good.
    pub(in super::super) fn forget_frontend(&mut self, slot: u32, segments: &Segments) {
        if let Some(at) = self.posts.iter().position(|post| (post.role, post.slot) == (Role::Frontend, slot)) {
            let mut post = self.posts.remove(at);
            post.kill();
            let _ = std::fs::remove_file(self.run_dir.worker_socket(post.entry.pid));
            post.vacate(segments);
        }
    }

    /// Whoever was to go and has not been told to end stays.
    pub(in super::super) fn stop_draining(&mut self, segments: &Segments, now: Instant) {
        for post in self.posts.iter_mut().filter(|post| post.role == Role::Frontend) {
            if std::mem::take(&mut post.leaves) && post.process.is_none() {
                post.start_at = Some(now);
            }
            if post.process.is_some() && !post.giving_way && post.entry.state == number(WorkerState::Draining) {
                post.publish(segments, WorkerState::Running);
            }
        }
    }
}
