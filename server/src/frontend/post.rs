//! Which slot this process serves, and how who stands by comes to one: it waits, warm, until the directory gives it one.

use std::os::fd::OwnedFd;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{Role, SegmentKind};
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::now_us;
use crate::limits::{FRONTENDS_MAX, LOOP_SLEEP_MAX_MS};
use crate::log_level;
use crate::stop_signal;
use crate::warm::Warmth;

/// A place in the directory that names this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Post {
    /// The slot: the socket, the wake-up and the ids of connections.
    pub(super) slot: u32,
    /// The number of this process among those of the slot.
    pub(super) incarnation: u32,
}

/// Takes a slot's segment: from here on this process is the one that writes there. It is not ready yet.
pub(super) fn claim(instance: &str, slot: u32) -> Result<Segment, SegmentError> {
    let own = Segment::open(instance, SegmentSpec::worker(SegmentKind::Frontend, slot), Access::ReadWrite)?;
    let page = WorkerPage::new(&own);
    page.set_ready(false);
    page.beat(now_us());
    page.claim();
    Ok(own)
}

/// Waits, warm, until the supervisor gives this process a slot, for as long as it takes. Ends the process when it is asked to.
pub(super) fn stand_by(own: &Segment, directory: &Segment, world: &World, wake: &OwnedFd) -> Post {
    let (page, directory) = (WorkerPage::new(own), Directory::new(directory));
    let me = ProcessId::current();
    let mut warmth = Warmth::default();
    warmth.touch(world, directory, || page.beat(now_us()));
    page.set_ready(true);
    loop {
        if let Some(post) = find(directory, me) {
            return post;
        }
        if stop_signal::requested() {
            std::process::exit(0);
        }
        page.beat(now_us());
        log_level::follow_in(directory.instance().as_ref(), Role::Frontend, &page);
        if warmth.is_due(now_us()) {
            warmth.touch(world, directory, || page.beat(now_us()));
        }
        sleep(wake);
    }
}

/// The slot that the directory gives this process. Its place among those who stand by is none, and is not looked at: whoever stands in both
/// has the slot.
fn find(directory: Directory<'_>, me: ProcessId) -> Option<Post> {
    let entry = directory.workers().find(|entry| {
        let named = ProcessId { pid: entry.pid, start_time: entry.start_time };
        named == me && entry.role == Role::Frontend as u32 && entry.slot < FRONTENDS_MAX
    })?;
    Some(Post { slot: entry.slot, incarnation: entry.incarnation })
}

fn sleep(wake: &OwnedFd) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: LOOP_SLEEP_MAX_MS as i64 * 1_000_000 };
    // Interrupted or not: whoever calls looks again.
    if poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::read(wake, &mut [0u8; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRONTEND_STANDBY;
    use ringfort_shm_state::directory::DirectoryWriter;
    use ringfort_shm_state::layout::WorkerEntry;

    struct Instance(String);

    impl Drop for Instance {
        fn drop(&mut self) {
            ringfort_shm_state::segment::leftovers(&self.0).iter().for_each(|path| drop(std::fs::remove_file(path)));
        }
    }

    #[test]
    fn a_slot_is_found_by_id_and_start_time_and_standing_by_is_none() {
        let instance = Instance(format!("front-post-{}", std::process::id()));
        let segment = Segment::create(&instance.0, SegmentSpec::DIRECTORY).unwrap();
        let (writer, me) = (DirectoryWriter::new(&segment), ProcessId::current());
        let enter = |place: usize, role: Role, slot, start_time| {
            let (pid, role) = (me.pid, role as u32);
            let entry = WorkerEntry { pid, role, start_time, slot, restarts: 0, state: 1, incarnation: 7 };
            writer.publish_worker(place, &entry);
        };
        let found = || find(Directory::new(&segment), me);
        enter(17, Role::Standby, FRONTEND_STANDBY, me.start_time);
        enter(1, Role::Frontend, 0, me.start_time + 1);
        enter(20, Role::Sim, 2, me.start_time);
        assert_eq!(found(), None);
        enter(4, Role::Frontend, 3, me.start_time);
        assert_eq!(found(), Some(Post { slot: 3, incarnation: 7 }), "it stands in both places");
    }
}
