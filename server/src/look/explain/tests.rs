use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::inbox::{Appended, Batch, Inbox};
use ringfort_shm_state::layout::{
    AttemptEntry, FaultEntry, FaultKind, InboxControl, InstanceEntry, PauseReason, RecordHeader, RecordKind, Role, RootHead,
    WorkerEntry, WorkerState, ZoneState, directory as directory_at, fault_key, inbox as inbox_at, world as world_at,
};
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::pages::Pages;
use ringfort_shm_state::process::{self, ProcessId};
use ringfort_shm_state::segment::{leftovers, padded};
use ringfort_shm_state::worker::{TickHistogram, WorkerPage};
use ringfort_shm_state::world::World;
use rustix::process::{Pid, Signal, kill_process};
use zerocopy::FromZeros;

use super::*;
use crate::clock::{boot_us, now_us};
use crate::frontend::counters as frontend;
use crate::game::{GameMap, ZoneLimits};
use crate::saved::save;
use crate::skirmish::Skirmish;

const ZONE: usize = 3;
const MATCH: u64 = 77;
const EXTENTS: u64 = 16;

/// An instance in shared memory whose processes are this one and two that sleep, and in which all is well.
struct Stage {
    name: String,
    directory: Segment,
    inbox: Segment,
    sim: Segment,
    frontend: Segment,
    world: Rc<World>,
    pages: Pages,
    entry: ZoneEntry,
    children: Vec<Child>,
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
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dead-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let create = |spec| Segment::create(&name, spec).expect("room in /dev/shm");
        let directory = create(SegmentSpec::DIRECTORY);
        let inbox = create(SegmentSpec::inbox(SegmentKind::InboxNet, 1 << 16));
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
        let map = GameMap::of::<Skirmish>();
        let logical = map.lay_out(&entry).expect("a size of ours").pages;
        let pages = Pages::open(Rc::clone(&world), ZONE, MATCH, 1, logical).expect("a free slot");
        let sleeper = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("a process");
        let stage = Self { name, directory, inbox, sim, frontend, world, pages, entry, children: vec![sleeper(), sleeper()] };
        let instance = InstanceEntry { started_us: boot_us(), ..InstanceEntry::new_zeroed() };
        let json = serde_json::to_vec(&map).expect("names and numbers");
        stage.writer().publish_instance(&instance, &json).expect("a small map");
        stage.worker(0, Role::Supervisor, std::process::id());
        stage.worker(1, Role::Sim, stage.children[0].id());
        stage.worker(2, Role::Frontend, stage.children[1].id());
        stage.writer().publish_zone(ZONE, &stage.entry);
        WorkerPage::new(&stage.sim).beat(now_us());
        WorkerPage::new(&stage.frontend).beat(now_us());
        stage.commit(1, now_us());
        stage
    }

    fn writer(&self) -> DirectoryWriter<'_> {
        DirectoryWriter::new(&self.directory)
    }

    fn worker(&self, slot: usize, role: Role, pid: u32) {
        let start_time = ProcessId::of(pid).map_or(1, |id| id.start_time);
        let state = WorkerState::Running as u32;
        let entry = WorkerEntry { pid, role: role as u32, start_time, slot: 0, restarts: 0, state, incarnation: 1 };
        self.writer().publish_worker(slot, &entry);
    }

    fn zone(&self, change: impl FnOnce(&mut ZoneEntry)) {
        let mut entry = self.entry;
        change(&mut entry);
        self.writer().publish_zone(ZONE, &entry);
    }

    fn commit(&self, tick: u32, published_us: u64) {
        let head = RootHead { tick, published_us, ..RootHead::new_zeroed() };
        // SAFETY: no reference into pages is held.
        unsafe { self.pages.commit(head) }.expect("room in the arena");
    }

    /// The world's segment, to be damaged.
    fn world_memory(&self) -> Segment {
        Segment::open(&self.name, SegmentSpec::world(0), Access::ReadWrite).expect("a segment of ours")
    }

    fn ring(&self) -> Inbox {
        Inbox::new(self.inbox.memory(), ZONE, 0, self.entry.inbox_bytes).expect("a ring of ours")
    }

    fn findings(&self) -> Vec<Finding> {
        explain(&Attached::open(&self.name).expect("all segments are there")).findings
    }

    /// Checks that just this rule speaks, and that it says these words.
    fn check(&self, rule: &str, words: &[&str]) {
        self.check_all(&[rule], words);
    }

    fn check_all(&self, rules: &[&str], words: &[&str]) {
        let findings = self.findings();
        let found: BTreeSet<&str> = findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, rules.iter().copied().collect(), "{findings:#?}");
        let text = Explained { instance: self.name.clone(), findings }.text(&Paper::default());
        words.iter().for_each(|word| assert!(text.contains(word), "{word} is not in: {text}"));
    }

    /// Stops a child and waits until the kernel says so.
    fn stop(&self, child: usize) -> u32 {
        let pid = self.children[child].id();
        kill_process(Pid::from_raw(pid.cast_signed()).expect("a process"), Signal::STOP).expect("a process of ours");
        while process::state(pid) != Some('T') {
            std::thread::yield_now();
        }
        pid
    }

    fn kill(&mut self, child: usize) -> u32 {
        let _ = self.children[child].kill();
        let _ = self.children[child].wait();
        self.children[child].id()
    }

    /// Puts a thread into the lock of the inbox, as the kernel has it there.
    fn hold_lock(&self, thread: u32) {
        let control = inbox_at::CONTROLS + ZONE * InboxControl::BYTES;
        let shift = if cfg!(target_env = "musl") { 32 } else { 0 };
        self.inbox.memory().store(control + InboxControl::MUTEX_OFFSET, u64::from(thread) << shift, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_wrong_where_nothing_is() {
    let stage = Stage::new();
    stage.check_all(&[], &["nothing is wrong with instance"]);
}

#[test]
fn processes_that_died_stopped_or_hang_are_told_of() {
    let mut stage = Stage::new();
    let pid = stage.stop(1);
    stage.check("process-stopped", &[&format!("frontend 0 (pid {pid})"), &format!("kill -CONT {pid}")]);
    stage.hold_lock(pid);
    stage.check_all(&["process-stopped", "lock-held"], &["inbox of match \"arena\"", "which is stopped"]);
    stage.kill(1);
    stage.check_all(&["process-dead", "lock-held"], &["frontend 0", "which is dead", "repairs it"]);
    stage.hold_lock(0);
    WorkerPage::new(&stage.sim).beat(now_us() - 60_000_000);
    WorkerPage::new(&stage.sim).set_stepping(Some(ZONE));
    stage.check_all(&["process-dead", "process-hung"], &["sim 0", "hangs", "in the middle of match \"arena\""]);
    stage.worker(0, Role::Supervisor, 0);
    stage.check_all(&["process-dead", "process-hung", "supervisor-gone"], &["`ringfort up` adopts them"]);
    stage.kill(0);
    stage.check("not-running", &["goes on with its matches"]);
}

#[test]
fn matches_that_are_late_slow_or_alone_are_told_of() {
    let stage = Stage::new();
    stage.commit(2, now_us() - 60_000_000);
    stage.check("match-late", &["match \"arena\" has committed nothing for 6", "tick 2 was the last", "zones move arena"]);
    stage.commit(3, now_us());
    let sim = WorkerPage::new(&stage.sim);
    sim.reset_histograms(ZONE, MATCH);
    sim.record(ZONE, TickHistogram::Took, 90_000);
    stage.check("match-slow", &["one every 50000 us"]);
    sim.reset_histograms(ZONE, MATCH);
    stage.zone(|entry| entry.alone = 1);
    stage.check("match-alone", &["runs alone in sim 0"]);
    stage.zone(|_| ());
    let attempt = AttemptEntry { incarnation: MATCH, tick: 4, attempt: 2, ..AttemptEntry::new_zeroed() };
    stage.world.publish_attempt(ZONE, &attempt);
    stage.check("tick-retried", &["tick 4 of match \"arena\" is tried for the 2. time"]);
    stage.commit(4, now_us());
    sim.set_failed(ZONE, MATCH);
    stage.check("match-failed", &["could not be opened or taken over by sim 0"]);
}

#[test]
fn a_paused_match_is_told_of_with_its_fault_and_its_dead_letters() {
    let stage = Stage::new();
    let text = "index out of bounds at game.rs:7";
    let fault = FaultEntry {
        key: fault_key(2, 3, 0),
        incarnation: MATCH,
        kind: FaultKind::Panic as u32,
        bytes: text.len() as u64,
        text: padded(text),
        ..FaultEntry::new_zeroed()
    };
    stage.world.record_fault(ZONE, &fault);
    stage.zone(|entry| (entry.state, entry.pause) = (ZoneState::Paused as u32, PauseReason::Faults as u32));
    stage.check("match-paused", &["paused at tick 2", text, "dead-letters list --match arena", "matches resume arena"]);
}

#[test]
fn an_inbox_that_is_full_or_damaged_is_told_of() {
    let stage = Stage::new();
    let mut batch = Batch::default();
    let header = RecordHeader { kind: RecordKind::Input as u16, incarnation: MATCH as u32, ..RecordHeader::new_zeroed() };
    (0..1000).for_each(|_| batch.push(header, &[0; 100]));
    assert!(matches!(stage.ring().append(stage.inbox.memory(), &batch, 0), Ok(Appended::Part { .. })));
    stage.check("inbox-full", &["inbox of match \"arena\" is full", "records were refused"]);
    let tail = inbox_at::CONTROLS + ZONE * InboxControl::BYTES + InboxControl::TAIL_OFFSET;
    stage.inbox.memory().store(tail, 1 << 40, Ordering::Relaxed);
    stage.check_all(&["inbox-full", "inbox-damaged"], &["wrote garbage"]);
}

#[test]
fn damaged_worlds_maps_and_segments_are_told_of() {
    let stage = Stage::new();
    let world = stage.world_memory();
    let roots = world_at::CONTROLS + ZONE * world_at::CONTROL_STRIDE + world_at::ROOTS;
    let newest = roots + stage.world.published(ZONE).sequence as usize * world_at::ROOT_STRIDE;
    let word = newest + std::mem::offset_of!(RootHead, state_hash);
    let before = world.memory().load(word, Ordering::Relaxed);
    world.memory().store(word, before ^ 1, Ordering::Relaxed);
    stage.check("world-torn", &["match \"arena\"", "ringfort fsck"]);
    world.memory().store(word, before, Ordering::Relaxed);
    let map = stage.directory.memory().load(directory_at::MAP, Ordering::Relaxed);
    stage.directory.memory().store(directory_at::MAP, 0, Ordering::Relaxed);
    stage.check("map-damaged", &["map of the game"]);
    stage.directory.memory().store(directory_at::MAP, map, Ordering::Relaxed);
    let frontend = SegmentSpec::worker(SegmentKind::Frontend, 0).path(&stage.name);
    std::fs::remove_file(frontend).expect("a segment of ours");
    stage.check("segment-damaged", &["segment of frontend 0"]);
}

#[test]
fn an_arena_that_is_full_or_leaks_is_told_of() {
    let stage = Stage::new();
    let world = stage.world_memory();
    let own = |extent: usize, id: u64| {
        world.memory().store(world_at::OWNERS + extent * 8, id << 16 | (ZONE as u64 + 1), Ordering::Relaxed);
    };
    own(EXTENTS as usize - 1, MATCH + 1);
    stage.check("arena-leaked", &["1 extents of the arena belong to no match"]);
    (1..EXTENTS as usize).for_each(|extent| own(extent, MATCH));
    stage.check("arena-full", &["of 16 extents of the arena are used"]);
}

#[test]
fn a_front_end_that_sheds_is_told_of() {
    let stage = Stage::new();
    WorkerPage::new(&stage.frontend).set_counter(frontend::SHED_LEVEL, 3);
    stage.check("shedding", &["frontend 0", "cannot keep up", "frontends scale"]);
}

#[test]
fn a_file_says_the_same_as_the_instance_did_and_what_is_missing_in_it() {
    let stage = Stage::new();
    stage.stop(1);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file: PathBuf = directory.path().join("stage.rf");
    save(&stage.name, &file, false).expect("room");
    stage.kill_everything_else();
    let attached = Attached::saved(&file).expect("a whole file");
    let found: Vec<&str> = explain(&attached).findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(found, ["process-stopped"]);
    // Without its world nothing else can be looked at.
    std::fs::remove_file(SegmentSpec::world(0).path(&stage.name)).expect("a segment of ours");
    save(&stage.name, &file, true).expect("room");
    assert!(Attached::saved(&file).is_err());
    let said = in_file(&SavedFile::open(&file).expect("a whole file"));
    assert_eq!(said.instance, stage.name);
    let said: Vec<String> = said.findings.into_iter().map(|finding| finding.what).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("has no segment world") && said[1].contains("the segment world is missing"), "{said:?}");
    assert_eq!(in_memory(&stage.name).len(), 1);
}

impl Stage {
    /// The moment in a file is that of its save.
    fn kill_everything_else(&self) {
        for child in &self.children {
            let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
            kill_process(pid, Signal::KILL).expect("a process of ours");
        }
    }
}
