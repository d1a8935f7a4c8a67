//! The front-end that stands by takes the place of one that died, or of one that is to be replaced.
//!
//! **Invariant**: a place is filled only after the process that had it was reaped, and who stands by fills one place at most: its entry in
//! the slot's place of the directory is published before its own is emptied. Between the two, and whenever a supervisor is killed there, the
//! process stands in both, and is the slot's.

use std::time::Instant;

use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{WorkerEntry, WorkerState};
use ringfort_shm_state::worker::WorkerPage;
use tracing::info;

use super::super::pulse::Pulse;
use super::super::segments::Segments;
use super::{Post, Workers};
use crate::cli::Role;
use crate::clock::now_us;
use crate::limits::{FRONTEND_STANDBY, STANDBY_SILENT_MS};

impl Post {
    /// Whether it is the place of the front-end that stands by.
    pub(super) fn stands_by(&self) -> bool {
        self.role == Role::Frontend && self.slot == FRONTEND_STANDBY
    }

    /// Whether its process can be relied on to take a slot at once: it is ready, and has been about just now.
    pub(super) fn can_take_over(&self, segments: &Segments) -> bool {
        let heartbeat = || WorkerPage::new(self.segment(segments)).heartbeat();
        let silent_us = || now_us().saturating_sub(heartbeat());
        // One that was told to end may not have come to it yet.
        let stays = self.process.is_some() && !self.giving_way;
        stays && self.has_been_ready(segments) && silent_us() <= STANDBY_SILENT_MS * 1000
    }
}

impl Workers {
    /// Fills an empty place of a front-end with the one that stands by. `false` when that is not ready for it.
    pub(super) fn promote(&mut self, at: usize, segments: &Segments, now: Instant) -> bool {
        let spare = self.posts.iter().position(Post::stands_by);
        let Some(spare) = spare.filter(|spare| *spare != at && self.posts[*spare].can_take_over(segments)) else { return false };
        if self.posts[at].role != Role::Frontend || self.posts[at].process.is_some() {
            return false;
        }
        let slot = self.posts[at].slot;
        let standby = &mut self.posts[spare];
        let Some(mut process) = standby.process.take() else { return false };
        let WorkerEntry { pid, start_time, .. } = standby.entry;
        let binary = standby.binary.clone();
        process.slot = slot;
        let post = &mut self.posts[at];
        post.entry = WorkerEntry { pid, start_time, incarnation: post.entry.incarnation + 1, ..post.entry };
        (post.process, post.binary, post.started, post.start_at, post.pulse) =
            (Some(process), binary, now, None, Pulse::default());
        kill_point!("promote:begun");
        post.publish(segments, WorkerState::Starting);
        kill_point!("promote:published");
        let standby = &mut self.posts[spare];
        standby.entry = WorkerEntry { pid: 0, start_time: 0, ..standby.entry };
        standby.publish(segments, WorkerState::Dead);
        kill_point!("promote:emptied");
        (standby.start_at, standby.uncounted, standby.quick_deaths) = (Some(now), true, 0);
        self.wake_frontend(FRONTEND_STANDBY);
        info!("process {pid}, which stood by, becomes front-end {slot}");
        true
    }

    /// Makes a front-end look at the directory.
    pub(super) fn wake_frontend(&self, slot: u32) {
        // A full counter means that it has yet to look: that is soon enough.
        let _ = rustix::io::write(&self.frontend_wakes[slot as usize], &1u64.to_ne_bytes());
    }
}
