use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use ringfort_shm_state::inbox::{Appended, Batch};
use ringfort_shm_state::layout::{
    AttemptEntry, FaultEntry, FaultKind, InboxControl, PauseReason, RecordHeader, RecordKind, Role, RootHead, SegmentKind,
    Stopping, WorkerState, ZoneState, directory as directory_at, fault_key, inbox as inbox_at, world as world_at,
};
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::segment::{SegmentSpec, padded};
use ringfort_shm_state::worker::{TickHistogram, WorkerPage};
use zerocopy::FromZeros;

use super::*;
use crate::frontend::counters as frontend;
use crate::look::explain::{Explained, explain, in_file, in_memory};
use crate::look::stage::{EXTENTS, MATCH, Stage, ZONE};
use crate::look::{Paper, Shown};
use crate::saved::{SavedFile, save};
use crate::top::tests::first_look;

/// The rules that `/healthz` answers by.
const ILLS: [&str; 6] = ["not-running", "supervisor-gone", "process-dead", "process-stopped", "process-hung", "world-torn"];

impl Stage {
    fn doubts(&self) -> Vec<&'static str> {
        doubts(&Status::look(&self.attach()))
    }

    /// Checks that just this rule speaks, that it says these words, and that all who look hear it.
    fn check(&self, rule: &str, words: &[&str]) {
        self.check_all(&[rule], words);
    }

    fn check_all(&self, rules: &[&str], words: &[&str]) {
        let rules: BTreeSet<&str> = rules.iter().copied().collect();
        let (shown, screen) = first_look(self.attach());
        assert_eq!(shown.into_iter().collect::<BTreeSet<&str>>(), rules, "{screen}");
        assert_eq!(screen.contains("all is well"), rules.is_empty(), "{screen}");
        let findings = explain(&self.attach()).findings;
        assert_eq!(findings.iter().map(|finding| finding.rule).collect::<BTreeSet<&str>>(), rules, "{findings:#?}");
        for Finding { what, .. } in &findings {
            assert!(screen.contains(what.get(..40).unwrap_or(what)), "{what} is not in: {screen}");
        }
        let ills: BTreeSet<&str> = findings.iter().filter(|finding| finding.is_ill()).map(|finding| finding.rule).collect();
        assert_eq!(ills, rules.into_iter().filter(|rule| ILLS.contains(rule)).collect(), "{findings:#?}");
        let text = Explained { instance: self.name.clone(), findings }.text(&Paper::default());
        words.iter().for_each(|word| assert!(text.contains(word), "{word} is not in: {text}"));
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
    WorkerPage::new(&stage.sim).beat(stage.now_us - 60_000_000);
    WorkerPage::new(&stage.sim).set_stepping(Some(ZONE));
    stage.check_all(&["process-dead", "process-hung"], &["sim 0", "hangs", "in the middle of match \"arena\""]);
    stage.worker(0, Role::Supervisor, 0);
    stage.check_all(&["process-dead", "process-hung", "supervisor-gone"], &["`ringfort up` adopts them"]);
    stage.kill(0);
    stage.check("not-running", &["goes on with its matches"]);
}

#[test]
fn a_process_that_waits_to_be_started_again_is_told_of_and_one_that_was_told_to_end_is_not() {
    let mut stage = Stage::new();
    let pid = stage.kill(1);
    stage.worker_in(2, Role::Frontend, pid, WorkerState::Dead);
    stage.check("process-dead", &["DEGRADED", &format!("frontend 0 (pid {pid}) has died, and is to be started again")]);
    stage.worker_in(2, Role::Frontend, pid, WorkerState::Stopping);
    stage.check_all(&[], &[]);
}

#[test]
fn a_process_has_four_ticks_of_the_slowest_match_at_least() {
    let stage = Stage::new();
    WorkerPage::new(&stage.sim).beat(stage.now_us - 3_000_000);
    stage.zone(|entry| entry.tick_hz = 1);
    stage.check_all(&[], &[]);
    stage.zone(|_| ());
    stage.check("process-hung", &["sim 0", "is 3000 ms old"]);
}

#[test]
fn an_instance_that_stops_or_has_no_place_takes_no_new_players() {
    let stage = Stage::new();
    assert!(stage.doubts().is_empty());
    stage.tell_to_stop(Stopping::Drains);
    stage.check("stopping", &["stops when its players have gone, and takes no new ones"]);
    assert_eq!(stage.doubts(), ["the instance stops when its players have gone, and takes no new ones"]);
    stage.tell_to_stop(Stopping::Now);
    assert_eq!(stage.doubts(), ["the instance stops"]);
    stage.tell_to_stop(Stopping::No);
    stage.stop(1);
    assert_eq!(stage.doubts(), ["no front-end runs"]);
    stage.zone(|entry| entry.state = ZoneState::Paused as u32);
    assert_eq!(stage.doubts(), ["no front-end runs", "no match is open to new players"]);
}

#[test]
fn matches_that_are_late_slow_or_alone_are_told_of() {
    let stage = Stage::new();
    stage.commit(2, 60_000_000);
    stage.check("match-late", &["match \"arena\" has committed nothing for 60000 ms", "tick 2 was the last", "zones move arena"]);
    stage.commit(3, 0);
    let sim = WorkerPage::new(&stage.sim);
    sim.reset_histograms(ZONE, MATCH);
    sim.record(ZONE, TickHistogram::Took, 90_000);
    stage.check("match-slow", &["one every 50000 us"]);
    sim.record(ZONE, TickHistogram::Late, 90_000);
    stage.check("match-slow", &["one every 50000 us"]);
    sim.reset_histograms(ZONE, MATCH);
    sim.record(ZONE, TickHistogram::Late, 90_000);
    stage.check("ticks-late", &["half of the ticks of match \"arena\"", "one every 50000 us", "sim 0 has too much to do"]);
    sim.reset_histograms(ZONE, MATCH);
    stage.zone(|entry| entry.alone = 1);
    stage.check("match-alone", &["runs alone in sim 0"]);
    stage.zone(|_| ());
    let attempt = AttemptEntry { incarnation: MATCH, tick: 4, attempt: 2, ..AttemptEntry::new_zeroed() };
    stage.world.publish_attempt(ZONE, &attempt);
    stage.check("tick-retried", &["tick 4 of match \"arena\" is tried for the 2. time"]);
    stage.commit(4, 0);
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
    stage.check("inbox-full", &["inbox of match \"arena\" is ", " % full", "records were refused"]);
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
fn inboxes_that_nothing_else_looks_at_are_told_of() {
    let stage = Stage::new();
    let between_zones = SegmentSpec::inbox(SegmentKind::InboxSys, 0).path(&stage.name);
    let file = std::fs::OpenOptions::new().write(true).open(between_zones).expect("a segment of ours");
    file.set_len(4096).expect("a segment of ours");
    stage.check("segment-damaged", &["inbox.sys", "up --fresh"]);
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
    let mut stage = Stage::new();
    // A save has the machine's time, which is not to seem late whenever it comes to it.
    stage.now_us += 600_000_000;
    stage.go_on(2);
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
