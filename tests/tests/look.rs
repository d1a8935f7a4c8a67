//! Looking at an instance that cannot answer: all of its processes stopped, all of them killed, and the same out of a saved file.

use std::fs;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::process::Command;

use ringfort_shm_state::layout::Header;
use ringfort_shm_state::segment::SegmentSpec;
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance, programs, send_signal};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// Every command that reads, and a key of what it prints as JSON.
const COMMANDS: &[(&str, &str)] = &[
    ("status", "matches"),
    ("processes", "processes"),
    ("matches", "matches"),
    ("matches show match-1", "players"),
    ("sessions", "sessions"),
    ("sessions show p0", "events_behind"),
    ("zones list", "zones"),
    ("entities match-1", "entities"),
    ("inspect match-1 0", "fields"),
    ("history match-1 0", "ticks"),
    ("roots match-1", "roots"),
    ("events match-1", "events"),
    ("schema", "columns"),
    ("rings", "rings"),
    ("locks", "held"),
    ("arena --match match-1", "map"),
    ("counters --per-process", "processes"),
    ("fsck", "problems"),
    ("explain", "findings"),
];

/// What each command prints, from shared memory or from a file.
fn look(instance: &Instance, from: Option<&str>) -> Vec<Value> {
    let of = |(line, key): &(&str, &str)| {
        let mut arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
        arguments.extend(from.iter().flat_map(|file| ["--from", file]));
        let output = instance.run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        // `explain` and `fsck` say by their code that something is wrong; nothing else fails.
        assert!(output.status.success() || *line == "explain", "{line}: {said}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}, {said}"));
        assert!(!json[key].is_null(), "{line}: {json}");
        let text: Vec<&str> = arguments.into_iter().filter(|argument| *argument != "--json").collect();
        assert!(!instance.run(&text).stdout.is_empty(), "{line}: no text");
        json
    };
    COMMANDS.iter().map(of).collect()
}

/// How old a commit is depends on when it is looked at.
fn forget_ages(value: &mut Value) {
    for entry in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        entry.remove("age_ms");
    }
}

/// The worlds, the rings, and what is counted stand still once nobody runs.
fn check_same(before: &[Value], after: &[Value]) {
    for ((line, key), (before, after)) in COMMANDS.iter().zip(before.iter().zip(after)) {
        let (mut before, mut after) = (before[key].clone(), after[key].clone());
        [&mut before, &mut after].into_iter().for_each(forget_ages);
        if !["status", "processes", "locks", "explain"].contains(line) {
            assert_eq!(before, after, "{line}");
        }
    }
}

fn rules(explained: &Value) -> Vec<&str> {
    explained["findings"].as_array().expect("findings").iter().filter_map(|finding| finding["rule"].as_str()).collect()
}

#[test]
fn every_command_answers_while_all_is_stopped_and_after_all_is_killed_and_out_of_a_file() {
    let mut instance = Instance::start(&["--matches", "2"]);
    let mut crowd = Crowd::new(instance.address());
    let players: Vec<usize> = (0..4).map(|who| crowd.enter(&format!("p{who}"), named("match-1"))).collect();
    crowd.check_plays_on(&players);
    let running = look(&instance, None);
    assert_eq!(rules(running.last().expect("explain")), Vec::<&str>::new(), "{:?}", running.last());
    let live = instance.directory().join("live.rf").display().to_string();
    instance.done(&["save", &live]);

    let pids: Vec<Pid> =
        instance.status()["processes"].as_array().expect("processes").iter().map(ringfort_tests::pid_of).collect();
    pids.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    instance.wait_for("all are stopped", |status| {
        status["processes"].as_array().expect("processes").iter().all(|process| process["state"] == "stopped")
    });
    let stopped = look(&instance, None);
    let said = rules(stopped.last().expect("explain"));
    assert_eq!(said.iter().filter(|rule| **rule == "process-stopped").count(), pids.len(), "{said:?}");
    let file = instance.directory().join("stopped.rf").display().to_string();
    instance.done(&["save", &file]);

    instance.kill();
    let killed = look(&instance, None);
    check_same(&stopped, &killed);
    assert!(rules(killed.last().expect("explain")).contains(&"not-running"));
    let dead = instance.directory().join("dead.rf").display().to_string();
    instance.done(&["save", &dead]);
    check_same(&killed, &look(&instance, Some(&dead)));

    let from_file = look(&instance, Some(&file));
    check_same(&stopped, &from_file);
    assert_eq!(rules(from_file.last().expect("explain")).iter().filter(|rule| **rule == "process-stopped").count(), pids.len());
    // Saved while everybody played: whole, and an instance in which nothing is wrong.
    let saved = look(&instance, Some(&live));
    assert_eq!(rules(saved.last().expect("explain")), Vec::<&str>::new(), "{:?}", saved.last());
    let refused = instance.run(&["save", &live]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--force"));
}

#[test]
fn a_directory_of_another_layout_is_left_out_of_a_saved_file_and_with_it_the_codes_that_nobody_can_find() {
    let mut instance = Instance::start(&["--frontends", "1", "--sims", "1"]);
    let den = instance.json(&["matches", "create", "den", "--private"]);
    let code = den["code"].as_str().expect("its code is told").to_owned();
    instance.kill();
    let directory = SegmentSpec::DIRECTORY.path(instance.name());
    let save = || {
        let file = instance.directory().join("saved.rf");
        let saved = instance.json(&["save", "--force", file.to_str().expect("a name of ours")]);
        let bytes = fs::read(file).expect("it is saved");
        assert!(!bytes.windows(code.len()).any(|part| part == code.as_bytes()), "the code is in the file: {saved:#}");
        let problems: Vec<String> = serde_json::from_value(saved["problems"].clone()).expect("a list of sentences");
        (saved["segments"].as_u64().expect("a number"), problems)
    };
    let (all, problems) = save();
    assert_eq!(problems, Vec::<String>::new());
    let damage = |offset: usize| {
        let file = fs::File::options().read(true).write(true).open(&directory).expect("the segment");
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset as u64)
            .and_then(|()| file.write_all_at(&[byte[0] ^ 1], offset as u64))
            .expect("a byte");
    };
    damage(offset_of!(Header, ready));
    let (damaged, problems) = save();
    assert!(damaged == all && problems.len() == 1, "it is kept as it is: {problems:?}");
    damage(offset_of!(Header, version));
    let (other, problems) = save();
    assert!(other == all - 1 && problems.iter().any(|problem| problem.contains("is left out")), "{problems:?}");
}

#[test]
fn an_instance_that_is_not_there_is_named_with_those_that_are() {
    let instance = Instance::start(&["--matches", "1"]);
    let mut command = Command::new(programs::server());
    let output = command.args(["status", "--instance", "nobody-is-called-so"]).output().expect("the command line can be started");
    assert!(instance.status()["orphaned"] == false, "there is one");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("\"nobody-is-called-so\" is not running"), "{said}");
    assert!(said.contains("there is \""), "{said}");
}
