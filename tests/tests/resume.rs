//! Leftovers: a run of which every process was killed is gone on with by the next, or refused with a reason, and nothing that
//! somebody played on is removed unasked.

use std::fs::OpenOptions;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use ringfort::attach::Attached;
use ringfort::game::{Description, ZoneLimits};
use ringfort::skirmish::{Ask, Skirmish};
use ringfort_client::JoinTarget;
use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{
    EventRow, Header, InboxControl, InstanceEntry, RecordKind, Role, RootHead, SegmentKind, SessionInput, SessionRow, VERSION,
    WorkerSelf, ZoneEntry, ZoneMeta, ZoneState, directory, inbox, layout_hash, worker, world,
};
use ringfort_shm_state::limits::{PAGE_BYTES, ROOT_RING};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, padded};
use ringfort_shm_state::world::PageHandle;
use ringfort_tests::{Crowd, Instance, match_named, pid_of, processes, send_signal};
use rustix::fs::{CWD, FileType, mknodat};
use rustix::process::Signal;
use serde_json::Value;

/// What the kernel sets in the word of a robust lock whose holder has died.
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
/// A user that we are not.
const NOBODY: u32 = 65534;
/// Starts that are killed, each a little later than the one before.
const KILLED_STARTS: u64 = 16;

/// A match as its newest root has it.
struct Look {
    attached: Attached,
    entry: ZoneEntry,
    description: Description,
    mirror: Mirror,
}

impl Look {
    /// Looks at the match in the first slot.
    fn at(instance: &Instance) -> Look {
        let attached = Attached::open(instance.name()).expect("the segments are there");
        let entry = Directory::new(&attached.directory).zone(0).expect("a match");
        let limits = ZoneLimits::of_entry(&entry);
        let description = Description::of::<Skirmish>(limits).expect("a match of the game");
        let mut mirror = Mirror::new(0);
        mirror.refresh(&attached.world).expect("a root");
        Look { attached, entry, description, mirror }
    }

    fn head(&self) -> RootHead {
        *self.mirror.head().expect("a root")
    }

    fn meta(&self) -> ZoneMeta {
        self.mirror.get(&self.description.engine.meta, 0).expect("the match has counters")
    }

    /// The session of a player's name, and its inputs.
    fn session(&self, name: &str) -> (SessionRow, SessionInput) {
        let engine = &self.description.engine;
        let named = |(_, row): &(u32, SessionRow)| ringfort_shm_state::segment::unpadded(&row.name) == name;
        let (slot, row) = self.mirror.iter::<SessionRow>(engine.sessions).find(named).expect("the session is committed");
        (row, self.mirror.get(&engine.inputs, slot).expect("a session has inputs"))
    }

    /// Reliable events with numbers above one.
    fn events_after(&self, number: u64) -> usize {
        let rows = self.mirror.iter::<EventRow>(self.description.engine.events);
        rows.filter(|(_, row)| row.number > number).count()
    }

    /// How many records of a kind the inbox has that are not part of the world yet.
    fn waiting(&self, kind: RecordKind) -> usize {
        let memory = self.attached.inbox.memory();
        let ring = Inbox::new(memory, 0, self.entry.inbox_offset, self.entry.inbox_bytes).expect("an inbox");
        let (mut cursor, tail) = (self.head().net_cursor, ring.tail(memory));
        let mut count = 0;
        while let Some(record) = ring.next(memory, &mut cursor, tail).expect("whole records") {
            count += usize::from(record.kind == Some(kind));
        }
        count
    }

    /// Sequence and tick count together: every tick is one root.
    fn root_of_tick_0(&self) -> u64 {
        self.head().sequence - u64::from(self.head().tick)
    }
}

/// The incarnation of a front-end as the directory has it now.
fn incarnation(look: &Look, slot: u32) -> u32 {
    let mut workers = Directory::new(&look.attached.directory).workers();
    let entry = workers.find(|entry| entry.role == Role::Frontend as u32 && entry.slot == slot);
    entry.expect("a front-end").incarnation
}

/// The file of a segment.
fn file(instance: &Instance, spec: SegmentSpec) -> PathBuf {
    spec.path(instance.name())
}

/// Replaces bytes of a file; returns what was there.
fn patch<const N: usize>(file: &PathBuf, at: usize, bytes: [u8; N]) -> [u8; N] {
    let file = OpenOptions::new().read(true).write(true).open(file).expect("the segment's file");
    let mut before = [0; N];
    file.read_exact_at(&mut before, at as u64).expect("it is that long");
    file.write_all_at(&bytes, at as u64).expect("it can be written");
    before
}

/// Runs something while a byte of a file is another one.
fn with_flipped(file: &PathBuf, at: usize, check: impl FnOnce()) {
    let [byte] = patch(file, at, [0]);
    patch(file, at, [byte ^ 0x11]);
    check();
    patch(file, at, [byte]);
}

fn id(status: &Value) -> u64 {
    match_named(status, "match-1")["id"].as_u64().expect("the match is there")
}

fn is_past(tick: u32) -> impl Fn(&Value) -> bool {
    move |status| match_named(status, "match-1")["tick"].as_u64() > Some(tick.into())
}

/// An instance that was killed after its match had run for a while.
fn killed() -> (Instance, Value) {
    let mut instance = Instance::start(&[]);
    let status = instance.wait_for("ticks are made", is_past(5));
    instance.kill();
    (instance, status)
}

/// Starts a killed instance again and checks that its match goes on.
fn check_goes_on(instance: &mut Instance, before: &Value) {
    let tick = Look::at(instance).head().tick;
    instance.start_again(&[]);
    let after = instance.wait_for("the match goes on", is_past(tick));
    assert_eq!(id(&after), id(before));
    instance.check_memory();
}

#[test]
fn a_killed_instance_goes_on_from_its_last_commit() {
    let mut instance = Instance::start(&["--matches", "2"]);
    instance.done(&["matches", "create", "third"]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob", "cyd"].map(|name| crowd.enter(name, JoinTarget::Named("match-1".into())));
    crowd.check_plays_on(&players);
    let avatars = players.map(|who| crowd.avatar(who).expect("it plays"));
    let running = crowd.during(|| instance.status());
    instance.kill();
    instance.check_memory();
    let before = Look::at(&instance);
    let killed = [0, 1].map(|slot| incarnation(&before, slot));
    assert_eq!((before.head().sessions, before.meta().entities_alive), (3, 3));
    for (who, name) in players.into_iter().zip(["ada", "bob", "cyd"]) {
        let (row, inputs) = before.session(name);
        assert!(inputs.highest >= crowd.acks(who).highest, "{inputs:?} is behind {:?}", crowd.acks(who));
        assert!(before.head().tick >= crowd.tick(who) && row.id != 0);
    }

    instance.start_again(&["--matches", "2"]);
    let after = instance.wait_for("time goes on, and the players of the dead front-ends are gone", |status| {
        is_past(before.head().tick)(status) && status["sessions"] == 0
    });
    for name in ["match-1", "match-2", "third"] {
        let (old, new) = (match_named(&running, name), match_named(&after, name));
        assert_eq!((&old["id"], &old["slot"]), (&new["id"], &new["slot"]), "{name}");
        assert!(new["epoch"].as_u64() > old["epoch"].as_u64() && new["tick"].as_u64() >= old["tick"].as_u64(), "{name}");
    }
    assert_eq!(after["matches"].as_array().map(Vec::len), Some(3));
    let now = Look::at(&instance);
    let started = [0, 1].map(|slot| incarnation(&now, slot));
    assert!(started[0] > killed[0] && started[1] > killed[1], "incarnations {started:?} after {killed:?}");
    assert_eq!(now.root_of_tick_0(), before.root_of_tick_0(), "every tick since the kill is one root");
    assert_eq!(now.head().first_sequence, before.head().first_sequence);
    assert_eq!((now.entry.seed, now.entry.options), (before.entry.seed, before.entry.options));
    assert_eq!((now.meta().next_session, now.meta().entities_alive), (before.meta().next_session, 0));

    let mut crowd = Crowd::new(instance.address());
    let players = ["dan", "eve", "fay"].map(|name| crowd.enter(name, JoinTarget::Named("match-1".into())));
    crowd.check_plays_on(&players);
    for who in players {
        let avatar = crowd.avatar(who).expect("it plays");
        let old = avatars.iter().find(|old| old.index == avatar.index).expect("their indices are used again");
        assert!(avatar.generation > old.generation, "{avatar:?} after {old:?}");
    }
    crowd.during(|| {
        instance.check_memory();
        ["match-1", "match-2", "third"].iter().for_each(|name| drop(instance.done(&["matches", "end", name])));
        let gone = |status: &Value| status["matches"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(instance.wait_for("the matches are gone", gone)["arena"]["extents_used"], 0);
    });
    instance.done(&["down"]);
    assert_eq!(instance.exit_code(), Some(0));
    assert_eq!(instance.segments(), [""; 0]);
}

/// While the sim stands still, a command, a join and inputs wait in the inbox. They are applied after the kill, once: the join
/// before the news that its front-end is dead, which ends its session.
#[test]
fn what_was_appended_and_not_consumed_is_applied_once() {
    let mut instance = Instance::start(&["--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    crowd.check_plays_on(&[ada]);
    let status = crowd.during(|| instance.status());
    send_signal(pid_of(processes(&status, "sim")[0]), Signal::STOP);
    crowd.ask(ada, Ask::Suicide);
    let bob = crowd.connect("bob");
    crowd.join(bob, JoinTarget::Any);
    let kinds = [RecordKind::Command, RecordKind::Join, RecordKind::Input];
    crowd.until("they wait in the inbox", |_| {
        let look = Look::at(&instance);
        kinds.iter().all(|kind| look.waiting(*kind) > 0)
    });
    instance.kill();
    let before = Look::at(&instance);
    assert_eq!((before.waiting(RecordKind::Command), before.waiting(RecordKind::Join)), (1, 1));
    assert_eq!((before.head().sessions, before.meta().sessions), (1, 1));

    instance.start_again(&["--sims", "1"]);
    let tick = before.head().tick;
    instance.wait_for("both players were there and are gone", |status| is_past(tick)(status) && status["sessions"] == 0);
    let after = Look::at(&instance);
    assert!(after.head().net_cursor > before.head().net_cursor);
    assert_eq!(kinds.map(|kind| after.waiting(kind)), [0, 0, 0]);
    assert_eq!(after.meta().next_session, before.meta().next_session + 1, "bob has joined once");
    assert_eq!(after.events_after(before.meta().next_event), 1, "ada has died once");
    assert_eq!((after.meta().next_event, after.meta().sessions), (before.meta().next_event + 1, 0));
    instance.check_memory();
}

#[test]
fn an_end_that_was_answered_holds() {
    let mut instance = Instance::start(&["--sims", "1"]);
    let before = instance.wait_for("ticks are made", is_past(5));
    send_signal(pid_of(processes(&before, "sim")[0]), Signal::STOP);
    instance.done(&["matches", "end", "match-1"]);
    instance.kill();
    let look = Look::at(&instance);
    assert_eq!(Directory::new(&look.attached.directory).mail_tail(0), look.head().mail_cursor + 1, "it is not consumed yet");
    instance.start_again(&["--matches", "0"]);
    let gone = |status: &Value| status["matches"].as_array().is_some_and(Vec::is_empty);
    assert_eq!(instance.wait_for("the match is gone", gone)["arena"]["extents_used"], 0);
    instance.check_memory();
}

/// A match that its sim has not opened yet can't be told to end: nothing is answered, as a kill would forget it. One that was
/// just opened is told before the answer.
#[test]
fn an_end_is_answered_only_when_it_holds() {
    let mut instance = Instance::start(&["--sims", "1"]);
    let before = instance.wait_for("ticks are made", is_past(5));
    send_signal(pid_of(processes(&before, "sim")[0]), Signal::STOP);
    thread::scope(|scope| {
        let shared = &instance;
        let create = scope.spawn(move || shared.run(&["matches", "create", "late"]));
        instance.wait_for("it is in the directory", |status| match_named(status, "late")["state"] == "opening");
        let end = scope.spawn(move || shared.run(&["matches", "end", "late"]));
        // Time for an answer: were there one, it must not be that the match ends.
        thread::sleep(Duration::from_secs(1));
        instance.kill_processes();
        assert!(!create.join().expect("the command ends").status.success());
        assert!(!end.join().expect("the command ends").status.success());
    });
    instance.reap();
    instance.start_again(&["--sims", "1"]);
    instance.done(&["matches", "create", "brief"]);
    instance.done(&["matches", "end", "brief"]);
    instance.kill();
    instance.start_again(&["--sims", "1"]);
    instance
        .wait_for("the match is gone", |status| match_named(status, "brief").is_null() && !match_named(status, "late").is_null());
    instance.check_memory();
}

#[test]
fn a_lock_whose_holder_died_with_the_instance_is_repaired() {
    let (mut instance, before) = killed();
    let file = file(&instance, SegmentSpec::inbox(SegmentKind::InboxNet, 0));
    let mutex = inbox::CONTROLS + InboxControl::MUTEX_OFFSET;
    assert_eq!(patch(&file, mutex, FUTEX_OWNER_DIED.to_ne_bytes()), [0; 4], "nobody holds it");
    check_goes_on(&mut instance, &before);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    crowd.check_plays_on(&[ada]);
    let look = Look::at(&instance);
    let ring = Inbox::new(look.attached.inbox.memory(), 0, look.entry.inbox_offset, look.entry.inbox_bytes).expect("an inbox");
    assert_eq!(ring.repairs(look.attached.inbox.memory()), 1);
}

/// The drain waits at such a tail until an honest append, and nobody appends where no client is: the sessions of the dead
/// front-ends end nevertheless.
#[test]
fn a_garbage_inbox_tail_keeps_no_session() {
    for ahead in [1 << 40, u64::MAX] {
        let mut instance = Instance::start(&[]);
        let mut crowd = Crowd::new(instance.address());
        let ada = crowd.enter("ada", JoinTarget::Any);
        crowd.check_plays_on(&[ada]);
        instance.kill();
        assert_eq!(Look::at(&instance).head().sessions, 1);
        let file = file(&instance, SegmentSpec::inbox(SegmentKind::InboxNet, 0));
        patch(&file, inbox::CONTROLS + InboxControl::TAIL_OFFSET, ahead.to_ne_bytes());
        instance.start_again(&[]);
        instance.wait_for("her session has ended", |status| is_past(0)(status) && status["sessions"] == 0);
        let mut crowd = Crowd::new(instance.address());
        let bob = crowd.enter("bob", JoinTarget::Any);
        crowd.check_plays_on(&[bob]);
    }
}

/// As after a sim that died again and again over the match, before it could claim what it was granted.
#[test]
fn grants_that_nobody_claimed_use_no_epochs_up() {
    for unclaimed in [0x9000, u32::MAX] {
        let (mut instance, before) = killed();
        let segment = Segment::open(instance.name(), SegmentSpec::DIRECTORY, Access::ReadWrite).expect("the directory");
        let entry = Directory::new(&segment).zone(0).expect("a match");
        DirectoryWriter::new(&segment).publish_zone(0, &ZoneEntry { epoch: unclaimed, ..entry });
        check_goes_on(&mut instance, &before);
    }
}

/// The sim of one match dies as often as it is started, since its log is a directory: the other match goes on, and so does the
/// first when that is over.
#[test]
fn a_sim_that_dies_at_its_start_stops_no_other_match() {
    let mut instance = Instance::start(&["--matches", "2"]);
    let before = instance.wait_for("ticks are made", is_past(5));
    let [first, second] = ["match-1", "match-2"].map(|name| match_named(&before, name));
    assert_eq!((&first["owner_slot"], &second["owner_slot"]), (&Value::from(0), &Value::from(1)));
    instance.kill();
    let log = instance.certificate().with_file_name("logs").join("sim-0.log");
    std::fs::remove_file(&log).and_then(|()| std::fs::create_dir(&log)).expect("a directory in its place");
    instance.start_again(&["--matches", "2"]);
    // Whoever is ready takes the match over that was to be sim 0's.
    let ticks = [&first, &second].map(|of| of["tick"].as_u64());
    let go_on = |status: &Value| {
        let now = ["match-1", "match-2"].map(|name| match_named(status, name)["tick"].as_u64());
        now.iter().zip(&ticks).all(|(now, before)| now > before)
    };
    let during = instance.wait_for("both go on", go_on);
    assert_ne!(match_named(&during, "match-1")["owner_slot"], 0, "nobody can start there");
    std::fs::remove_dir(&log).expect("it is empty");
    let all =
        |status: &Value| ["sim", "standby"].into_iter().flat_map(|role| processes(status, role)).cloned().collect::<Vec<_>>();
    let runs = |process: &Value| process["slot"] == 0 && process["state"] == "running";
    let after = instance.wait_for("sim 0 runs, too", |status| all(status).iter().any(runs));
    assert_eq!(id(&after), id(&before));
    instance.check_memory();
}

/// The place of a match to start with, which was ended, was taken by another: by `max_matches`, and in the arena.
#[test]
fn what_finds_no_room_beside_earlier_matches_is_left_out() {
    let mut instance = Instance::start(&["--matches", "1"]);
    instance.done(&["matches", "end", "match-1"]);
    let is_gone = |name: &'static str| move |status: &Value| match_named(status, name).is_null();
    instance.wait_for("it is gone", is_gone("match-1"));
    let mut created = 0;
    while instance.run(&["matches", "create", &format!("extra-{created}")]).status.success() {
        created += 1;
    }
    assert!(created > 0);
    instance.kill();
    instance.start_again(&["--matches", "1"]);
    assert!(instance.log().contains("match match-1 is not started beside those of the earlier run"), "{}", instance.log());
    let status = instance.status();
    assert!(is_gone("match-1")(&status) && status["matches"].as_array().map(Vec::len) == Some(created), "{status:#}");
    instance.done(&["matches", "end", "extra-0"]);
    instance.wait_for("there is room", is_gone("extra-0"));
    instance.kill();
    instance.start_again(&["--matches", "1"]);
    instance.wait_for("it runs", is_past(0));
    instance.check_memory();
}

/// One is over and waits until a front-end that stands still has seen that; one is in the directory, but its sim stands still and
/// has not opened it; and the slot of others was given back.
#[test]
fn matches_that_were_over_or_not_open_yet_are_finished_and_opened() {
    let mut instance = Instance::start(&["--sims", "1"]);
    for _ in 0..3 {
        let two = ["one", "two"];
        two.iter().for_each(|name| drop(instance.done(&["matches", "create", name])));
        two.iter().for_each(|name| drop(instance.done(&["matches", "end", name])));
        instance.wait_for("their slots are free", |status| two.iter().all(|name| match_named(status, name).is_null()));
    }
    let before = instance.status();
    send_signal(pid_of(processes(&before, "frontend")[1]), Signal::STOP);
    instance.done(&["matches", "end", "match-1"]);
    instance.wait_for("it is over", |status| match_named(status, "match-1")["state"] == "ended");
    send_signal(pid_of(processes(&before, "sim")[0]), Signal::STOP);
    let created = thread::scope(|scope| {
        let name = instance.name().to_owned();
        let shared = &instance;
        let asker = scope.spawn(move || shared.run(&["matches", "create", "late"]));
        let late = instance.wait_for("it is in the directory", |status| match_named(status, "late")["state"] == "opening");
        let zone = Directory::new(&Attached::open(&name).expect("it runs").directory).zone(0).expect("the first match");
        assert_eq!(zone.state, ZoneState::Closed as u32);
        instance.kill_processes();
        assert!(!asker.join().expect("the command ends").status.success());
        match_named(&late, "late")["id"].clone()
    });
    instance.reap();

    instance.start_again(&["--sims", "1"]);
    let after = instance.wait_for("all run", |status| {
        ["match-1", "late"].iter().all(|name| match_named(status, name)["tick"].as_u64() > Some(0))
    });
    assert!(id(&after) > id(&before), "match-1 was over: it is another one now");
    assert_eq!(match_named(&after, "late")["id"], created);
    instance.done(&["matches", "create", "two"]);
    let last = instance.wait_for("a slot serves again", |status| match_named(status, "two")["tick"].as_u64() > Some(0));
    assert_eq!(match_named(&last, "two")["slot"], 2);
    instance.check_memory();
}

/// Each is killed at another moment: while it makes its segments, opens or resumes its match, or runs. Once there is a match, it
/// is the same for ever.
#[test]
fn a_start_that_is_killed_at_any_moment_does_no_harm() {
    let mut instance = Instance::start(&["--matches", "0"]);
    instance.done(&["down"]);
    assert_eq!(instance.exit_code(), Some(0));
    let mut seen: Option<(Value, u64)> = None;
    for killed in 0..KILLED_STARTS {
        instance.start_and_kill(&[], Duration::from_millis(killed * 8));
        let status = instance.run(&["status", "--json"]);
        let status: Value =
            if status.status.success() { serde_json::from_slice(&status.stdout).expect("JSON") } else { continue };
        let found = match_named(&status, "match-1");
        if let Some((id, tick)) = &seen {
            assert_eq!(&found["id"], id);
            assert!(found["tick"].as_u64() >= Some(*tick));
        }
        if let Some(tick) = found["tick"].as_u64().filter(|tick| *tick > 0) {
            seen = Some((found["id"].clone(), tick));
            instance.check_memory();
        }
    }
    instance.start_again(&[]);
    let status = instance.wait_for("it runs at last", is_past(5));
    assert!(seen.is_none_or(|(id, _)| match_named(&status, "match-1")["id"] == id));
}

#[test]
fn fresh_starts_anew_and_a_running_instance_is_left_alone() {
    let (mut instance, before) = killed();
    instance.start_again(&["--fresh"]);
    let after = instance.wait_for("ticks are made", is_past(0));
    assert!(id(&after) > id(&before));
    assert!(match_named(&after, "match-1")["epoch"].as_u64() == Some(1), "{after:#}");
    instance.check_refused(&["--fresh"], &["already running"]);
    instance.wait_for("it runs on", is_past(5));
}

/// Another user could truncate them under us, or write what the matches go on with; and nobody opens the other end of a pipe.
#[test]
fn what_others_own_or_can_write_is_refused() {
    let (mut instance, before) = killed();
    let (world, directory) = (file(&instance, SegmentSpec::world(0)), file(&instance, SegmentSpec::DIRECTORY));
    let mode = |mode| std::fs::set_permissions(&world, PermissionsExt::from_mode(mode)).expect("it is ours");
    let away = directory.with_extension("away");
    for flags in [&[][..], &["--fresh"]] {
        mode(0o666);
        instance.check_refused(flags, &["world is open to other users", "mode 666", "remove it"]);
        mode(0o600);
        // Only root can give a file away.
        if chown(&world, Some(NOBODY), None).is_ok() {
            instance.check_refused(flags, &["world belongs to user 65534", "--instance"]);
            assert!(!instance.log().contains("earlier run"), "{}", instance.log());
            chown(&world, Some(rustix::process::geteuid().as_raw()), None).expect("root takes it back");
        }
        std::fs::rename(&directory, &away).expect("it is there");
        mknodat(CWD, &directory, FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        instance.check_refused(flags, &["directory is not a regular file", "remove it"]);
        std::fs::rename(&away, &directory).expect("it is there");
    }
    check_goes_on(&mut instance, &before);
}

#[test]
fn fresh_removes_nothing_for_a_run_that_has_no_room() {
    let (mut instance, before) = killed();
    let files = instance.segments();
    instance.check_refused(&["--fresh", "--arena-mib", "65536"], &["/dev/shm has no room", "arena_mib"]);
    assert_eq!(instance.segments(), files);
    check_goes_on(&mut instance, &before);
}

#[test]
fn sizes_stay_and_workers_may_be_others() {
    let (mut instance, before) = killed();
    let flags = ["--arena-mib", "64", "--frontends", "3", "--sims", "1"];
    instance.start_again(&flags);
    let status = instance.wait_for("it goes on", is_past(match_named(&before, "match-1")["tick"].as_u64().unwrap_or(0) as u32));
    assert_eq!(status["arena"]["extents_total"], before["arena"]["extents_total"]);
    assert!(instance.log().contains("`arena_mib` stays 32"), "{}", instance.log());
    assert_eq!((processes(&status, "frontend").len(), processes(&status, "sim").len()), (3, 1));
    instance.kill();
    instance.start_again(&["--frontends", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    crowd.check_plays_on(&[ada]);
    let status = crowd.during(|| instance.status());
    assert_eq!((processes(&status, "frontend").len(), processes(&status, "sim").len()), (1, 2));
    assert_eq!(id(&status), id(&before));
    instance.kill();
    instance.start_again(&["--frontends", "3"]);
    let look = Look::at(&instance);
    assert_eq!([0, 1, 2].map(|slot| incarnation(&look, slot)), [4, 3, 2], "none is used twice");
}

#[test]
fn another_tick_rate_is_refused_by_name_and_both_rates() {
    let (mut instance, before) = killed();
    instance.check_refused(&["--tick-hz", "40"], &["match-1", "20 ticks", "says 40", "--tick-hz 20", "--fresh"]);
    check_goes_on(&mut instance, &before);
}

/// A byte of the newest root's descriptor, of its table page, and of a page of the world.
#[test]
fn a_damaged_world_is_refused_and_left_as_it_is() {
    let (mut instance, before) = killed();
    let look = Look::at(&instance);
    let root = look.attached.world.root(0, look.head().sequence).expect("the newest root");
    let page_at = |page: PageHandle| world::arena(look.attached.world.extents()) + page.index() as usize * PAGE_BYTES;
    let file = file(&instance, SegmentSpec::world(0));
    let table = page_at(root.tables[0]);
    let mut first = [0; 8];
    OpenOptions::new()
        .read(true)
        .open(&file)
        .and_then(|file| file.read_exact_at(&mut first, table as u64))
        .expect("a table page");
    let descriptor = world::CONTROLS + world::ROOTS + (root.head.sequence % ROOT_RING) as usize * world::ROOT_STRIDE;
    let places = [descriptor + offset_of!(RootHead, tick), table + 1, page_at(PageHandle(u64::from_ne_bytes(first))) + 9];
    for at in places {
        with_flipped(&file, at, || {
            instance.check_refused(&[], &["cannot go on", "problem", "`ringfort fsck` shows all", "--fresh"]);
            assert_eq!(instance.run(&["fsck"]).status.code(), Some(1));
        });
    }
    check_goes_on(&mut instance, &before);
}

/// What no supervisor writes into the directory, and what a match that goes on would trip over later.
#[test]
fn a_damaged_entry_is_refused_by_name() {
    let mut instance = Instance::start(&["--matches", "2"]);
    let before = instance.wait_for("ticks are made", is_past(5));
    instance.kill();
    let segment = Segment::open(instance.name(), SegmentSpec::DIRECTORY, Access::ReadWrite).expect("the directory");
    let entry = |slot| Directory::new(&segment).zone(slot).expect("a match");
    let (one, two) = (entry(0), entry(1));
    let spoilt: [(ZoneEntry, &[&str]); 6] = [
        (ZoneEntry { inbox_offset: two.inbox_offset, ..one }, &["overlaps", "match-1", "match-2"]),
        (ZoneEntry { inbox_offset: u64::MAX - 7, ..one }, &["match-1", "slot 0", "an inbox at 0xfffffffffffffff8"]),
        (ZoneEntry { extents_reserved: u64::MAX, ..one }, &["match-1", "reserved extents 18446744073709551615"]),
        (ZoneEntry { options: padded("{\"capacity\""), ..one }, &["match-1", "the options", "capacity"]),
        (ZoneEntry { name: padded(""), ..one }, &["slot 0", "the name \"\""]),
        (ZoneEntry { state: 77, ..one }, &["match-1", "the state 77"]),
    ];
    for (entry, words) in spoilt {
        DirectoryWriter::new(&segment).publish_zone(0, &entry);
        instance.check_refused(&[], &[words, &["damaged", "--fresh"]].concat());
    }
    DirectoryWriter::new(&segment).publish_zone(0, &one);
    check_goes_on(&mut instance, &before);
}

#[test]
fn another_version_or_layout_is_refused_with_both_numbers() {
    let (mut instance, before) = killed();
    let segments = [
        SegmentSpec::DIRECTORY,
        SegmentSpec::world(0),
        SegmentSpec::inbox(SegmentKind::InboxNet, 0),
        SegmentSpec::inbox(SegmentKind::InboxSys, 0),
    ];
    for file in segments.map(|spec| file(&instance, spec)) {
        let name = file.to_str().expect("a path of ours").to_owned();
        let (found, expected) = (format!("{:#x}", VERSION + 1), format!("{VERSION:#x}"));
        let version = patch(&file, offset_of!(Header, version), (VERSION + 1).to_ne_bytes());
        instance.check_refused(&[], &[&name, "the version", &found, &expected, "--fresh"]);
        patch(&file, offset_of!(Header, version), version);
        let (found, expected) = ("0x1234567".to_owned(), format!("{:#x}", layout_hash()));
        let hash = patch(&file, offset_of!(Header, layout_hash), 0x123_4567u64.to_ne_bytes());
        instance.check_refused(&[], &[&name, "the layout hash", &found, &expected, "--fresh"]);
        patch(&file, offset_of!(Header, layout_hash), hash);
    }
    check_goes_on(&mut instance, &before);
}

/// What a run leaves that was killed before its directory was published, when nobody can have played: files that are missing, that
/// were only created, or that were not made `ready`.
#[test]
fn a_half_made_set_is_removed() {
    let mut instance = Instance::start(&["--matches", "0"]);
    let files = [SegmentSpec::DIRECTORY, SegmentSpec::world(0)].map(|spec| file(&instance, spec));
    let [listing, world] = &files;
    let zero = |path: &PathBuf, at: usize| assert_ne!(patch(path, at, [0; 8]), [0; 8]);
    let missing = |path: &PathBuf| std::fs::remove_file(path).expect("it is there");
    let empty = |path: &PathBuf| std::fs::write(path, "").expect("it can be emptied");
    let spoil: [(&dyn Fn(), usize); 4] = [
        (&|| zero(listing, offset_of!(Header, ready)), 10),
        (&|| zero(listing, directory::INSTANCE), 10),
        (&|| missing(listing), 9),
        (&|| [listing, world].into_iter().for_each(empty), 10),
    ];
    for (spoil, left) in spoil {
        instance.kill();
        spoil();
        instance.start_again(&["--matches", "0"]);
        assert!(instance.log().contains(&format!("removed {left} segments")), "{}", instance.log());
        instance.check_memory();
    }
}

/// A stop that was killed in the middle has removed the world before the directory, which says that it stops. Without that a
/// directory or a world that is missing is a loss.
#[test]
fn what_is_missing_of_a_run_that_was_played_is_told() {
    let (mut instance, before) = killed();
    let away = |path: &PathBuf| path.with_extension("away");
    for (spec, words) in [
        (SegmentSpec::DIRECTORY, ["directory is gone", "played"]),
        (SegmentSpec::world(0), ["world is gone", "was complete"]),
        (SegmentSpec::inbox(SegmentKind::InboxSys, 0), ["inbox.sys is gone", "was complete"]),
    ] {
        let path = file(&instance, spec);
        std::fs::rename(&path, away(&path)).expect("it is there");
        instance.check_refused(&[], &words);
        std::fs::rename(away(&path), path).expect("it is there");
    }
    let directory = file(&instance, SegmentSpec::DIRECTORY);
    let ready = patch(&directory, offset_of!(Header, ready), [0; 8]);
    instance.check_refused(&[], &["directory is gone or was never finished", "played", "--fresh"]);
    patch(&directory, offset_of!(Header, ready), ready);
    check_goes_on(&mut instance, &before);

    instance.kill();
    let segment = Segment::open(instance.name(), SegmentSpec::DIRECTORY, Access::ReadWrite).expect("the directory");
    let entry = Directory::new(&segment).instance().expect("it was published");
    let schema = Directory::new(&segment).map_json().expect("it was published");
    let stopping = InstanceEntry { stopping: 1, ..entry };
    DirectoryWriter::new(&segment).publish_instance(&stopping, &schema).expect("it fits");
    std::fs::remove_file(file(&instance, SegmentSpec::world(0))).expect("it is there");
    instance.start_again(&[]);
    assert!(instance.log().contains("removed 9 segments"), "{}", instance.log());
    assert!(id(&instance.wait_for("a new match runs", is_past(0))) > id(&before));
}

#[test]
fn what_a_live_process_claims_is_left_alone() {
    let (mut instance, before) = killed();
    let sim = file(&instance, SegmentSpec::worker(SegmentKind::Sim, 1));
    let me = ProcessId::current();
    let claim = [u64::from(me.pid).to_ne_bytes(), me.start_time.to_ne_bytes()].concat();
    let claim: [u8; size_of::<WorkerSelf>()] = claim.try_into().expect("two words");
    let dead = patch(&sim, worker::SELF, claim);
    let files = instance.segments();
    for flags in [&[][..], &["--fresh"]] {
        instance.check_refused(flags, &[&format!("process {}", me.pid), "sim 1", "still runs"]);
    }
    assert_eq!(instance.segments(), files);
    patch(&sim, worker::SELF, dead);
    check_goes_on(&mut instance, &before);
}
