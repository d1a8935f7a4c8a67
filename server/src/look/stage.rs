//! An instance in shared memory for tests of what looks at one.

use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{
    InboxControl, InstanceEntry, Role, RootHead, SegmentKind, Stopping, WorkerEntry, WorkerState, ZoneEntry, ZoneState,
    inbox as inbox_at,
};
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::process::{self, ProcessId};
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, leftovers, padded};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use rustix::process::{Pid, Signal, kill_process};
use zerocopy::FromZeros;

use crate::attach::Attached;
use crate::clock::{boot_us, now_us};
use crate::game::{GameMap, ZoneLimits};
use crate::saved::{Moment, SavedMoment};
use crate::skirmish::Skirmish;

pub const ZONE: usize = 3;
pub const MATCH: u64 = 77;
pub const EXTENTS: u64 = 16;

/// An instance in shared memory whose processes are this one and two that sleep, and in which all is well. Its clock stands still.
pub struct Stage {
    pub name: String,
    pub now_us: u64,
    pub directory: Segment,
    pub inbox: Segment,
    pub sim: Segment,
    pub frontend: Segment,
    pub world: Rc<World>,
    pub pages: Pages,
    pub entry: ZoneEntry,
    pub children: Vec<Child>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        leftovers(&self.name).into_iter().for_each(|file| drop(std::fs::remove_file(file)));
    }
}

impl Stage {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dead-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let create = |spec| Segment::create(&name, spec).expect("room in /dev/shm");
        let directory = create(SegmentSpec::DIRECTORY);
        let inbox = create(SegmentSpec::inbox(SegmentKind::InboxNet, 1 << 16));
        create(SegmentSpec::inbox(SegmentKind::InboxSys, 1 << 16));
        let (sim, frontend) =
            (create(SegmentSpec::worker(SegmentKind::Sim, 0)), create(SegmentSpec::worker(SegmentKind::Frontend, 0)));
        let world = Rc::new(World::new(create(SegmentSpec::world(EXTENTS))));
        let limits = ZoneLimits::of::<Skirmish>(4);
        let description = crate::game::Description::of::<Skirmish>(limits).expect("a game of ours");
        let entry = ZoneEntry {
            incarnation: MATCH,
            state: ZoneState::Open as u32,
            tick_hz: 20,
            capacity: limits.capacity,
            max_entities: limits.max_entities,
            tables_hash: description.tables_hash,
            inbox_bytes: 1 << 14,
            name: padded("arena"),
            ..ZoneEntry::new_zeroed()
        };
        let logical = GameMap::of::<Skirmish>().lay_out(&entry).expect("a size of ours").pages;
        let pages = Pages::open(Rc::clone(&world), ZONE, MATCH, 1, logical).expect("a free slot");
        let sleeper = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("a process");
        let now_us = now_us();
        let stage =
            Self { name, now_us, directory, inbox, sim, frontend, world, pages, entry, children: vec![sleeper(), sleeper()] };
        stage.tell_to_stop(Stopping::No);
        stage.worker(0, Role::Supervisor, std::process::id());
        stage.worker(1, Role::Sim, stage.children[0].id());
        stage.worker(2, Role::Frontend, stage.children[1].id());
        stage.writer().publish_zone(ZONE, &stage.entry);
        stage.go_on(1);
        stage
    }

    /// Both workers have just been through their loops, and the match has just committed a tick.
    pub fn go_on(&self, tick: u32) {
        WorkerPage::new(&self.sim).beat(self.now_us);
        WorkerPage::new(&self.frontend).beat(self.now_us);
        self.commit(tick, 0);
    }

    pub fn writer(&self) -> DirectoryWriter<'_> {
        DirectoryWriter::new(&self.directory)
    }

    pub fn tell_to_stop(&self, stopping: Stopping) {
        let instance = InstanceEntry { started_us: boot_us(), stopping: stopping as u32, ..InstanceEntry::new_zeroed() };
        let json = serde_json::to_vec(&GameMap::of::<Skirmish>()).expect("names and numbers");
        self.writer().publish_instance(&instance, &json).expect("a small map");
    }

    pub fn worker(&self, slot: usize, role: Role, pid: u32) {
        self.worker_in(slot, role, pid, WorkerState::Running);
    }

    pub fn worker_in(&self, slot: usize, role: Role, pid: u32, state: WorkerState) {
        let start_time = ProcessId::of(pid).map_or(1, |id| id.start_time);
        let entry = WorkerEntry { pid, role: role as u32, start_time, slot: 0, restarts: 0, state: state as u32, incarnation: 1 };
        self.writer().publish_worker(slot, &entry);
    }

    pub fn zone(&self, change: impl FnOnce(&mut ZoneEntry)) {
        let mut entry = self.entry;
        change(&mut entry);
        self.writer().publish_zone(ZONE, &entry);
    }

    pub fn commit(&self, tick: u32, ago_us: u64) {
        self.commit_head(RootHead { tick, published_us: self.now_us - ago_us, ..RootHead::new_zeroed() });
    }

    pub fn commit_head(&self, head: RootHead) {
        // SAFETY: no reference into pages is held.
        unsafe { self.pages.commit(head) }.expect("room in the arena");
    }

    /// The world's segment, to be damaged.
    pub fn world_memory(&self) -> Segment {
        Segment::open(&self.name, SegmentSpec::world(0), Access::ReadWrite).expect("a segment of ours")
    }

    pub fn ring(&self) -> Inbox {
        Inbox::new(self.inbox.memory(), ZONE, 0, self.entry.inbox_bytes).expect("a ring of ours")
    }

    /// The instance, at the moment at which its clock stands still.
    pub fn attach(&self) -> Attached {
        let mut attached = Attached::open(&self.name).expect("all segments are there");
        let pids = Directory::new(&attached.directory).workers().map(|entry| entry.pid);
        attached.moment = Moment::Saved(SavedMoment { now_us: self.now_us, ..SavedMoment::now(pids) });
        attached
    }

    /// Stops a child and waits until the kernel says so.
    pub fn stop(&self, child: usize) -> u32 {
        let pid = self.children[child].id();
        kill_process(Pid::from_raw(pid.cast_signed()).expect("a process"), Signal::STOP).expect("a process of ours");
        while process::state(pid) != Some('T') {
            std::thread::yield_now();
        }
        pid
    }

    pub fn kill(&mut self, child: usize) -> u32 {
        let _ = self.children[child].kill();
        let _ = self.children[child].wait();
        self.children[child].id()
    }

    /// Puts a thread into the lock of the inbox, as the kernel has it there.
    pub fn hold_lock(&self, thread: u32) {
        let control = inbox_at::CONTROLS + ZONE * InboxControl::BYTES;
        let shift = if cfg!(target_env = "musl") { 32 } else { 0 };
        self.inbox.memory().store(control + InboxControl::MUTEX_OFFSET, u64::from(thread) << shift, Ordering::Relaxed);
    }

    /// Kills the children and leaves them: zombies, until they are waited for.
    pub fn kill_everything_else(&self) {
        for child in &self.children {
            let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
            kill_process(pid, Signal::KILL).expect("a process of ours");
        }
    }
}
