//! The command line against real processes: starting, looking, changing, stopping, and what survives a kill.

mod support;

use std::fs::OpenOptions;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;

use ringfort_shm_state::layout::world::OWNERS;
use ringfort_shm_state::segment::SegmentSpec;
use rustix::process::Signal;
use serde_json::Value;
use support::{Instance, Place, match_of, processes, send};

#[test]
fn what_cannot_start_leaves_nothing_behind() {
    let place = Place::new("refused");
    place.check_refused(&["status"], &["is not running", "ringfort up"]);
    place.check_refused(&["down"], &["is not running"]);
    place.check_refused(&["up", "--listen", "127.0.0.1:0", "--arena-mib", "65536"], &["/dev/shm has no room", "arena_mib"]);
    place.check_refused(&["up", "--game-option", "colour=red"], &["no option \"colour\"", "capacity"]);
    place.check_refused(&["up", "--game-option", "capacity=0"], &["capacity is 0"]);
    place.check_refused(&["up", "--game-option", "minutes=1441"], &["option minutes is 1441", "from 0 to 1440"]);
    place.check_refused(&["up", "--game-option", "kills=2.5"], &["option kills is 2.5", "whole number from 0 to 65535"]);
    let small = ["up", "--arena-mib", "16", "--matches", "31", "--game-option", "capacity=5"];
    place.check_refused(&small, &["only 8 of the 31 matches", "raise `arena_mib` to "]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.check_refused(&["up", "--listen", &address], &["is in use", &address]);
    let file = place.path("ringfort.toml");
    std::fs::write(&file, "frontend = 3\n").unwrap();
    place.check_refused(&["up"], &["ringfort.toml:1", "frontend"]);
    assert_eq!(place.segments(), [""; 0]);
}

#[test]
fn usage_errors_exit_with_two() {
    let place = Place::new("usage");
    assert_eq!(place.run(&["nonsense"]).status.code(), Some(2));
    let defaults = place.run(&["config", "--defaults"]);
    assert!(String::from_utf8(defaults.stdout).unwrap().contains("max_matches = 512"));
}

#[test]
fn an_instance_is_looked_at_and_stopped() {
    let mut instance = Instance::up(Place::new("life"), &["--matches", "2"]);
    assert!(!instance.address.ends_with(":0"));
    let name = instance.place.name.clone();
    instance.place.check_refused(&["up", "--listen", "127.0.0.1:0"], &["already running", "ringfort down"]);
    // The segments are the machine's, whatever run directory one has.
    let mut elsewhere = Place::new("elsewhere");
    let its_own = std::mem::replace(&mut elsewhere.name, name.clone());
    elsewhere.check_refused(&["up", "--listen", "127.0.0.1:0"], &["already running", "another XDG_RUNTIME_DIR"]);
    elsewhere.name = its_own;
    let status = instance.wait_for("ticks are made", |status| match_of(status, "match-2")["tick"].as_u64() > Some(3));
    assert_eq!(status["instance"], Value::from(name));
    assert_eq!(status["listen"], Value::from(instance.address.clone()));
    for (role, count) in [("supervisor", 1), ("frontend", 2), ("sim", 2)] {
        let running = processes(&status, role).into_iter().filter(|process| process["state"] == "running");
        assert_eq!(running.count(), count, "{status:#}");
    }
    assert!(status["counters"]["sim_ticks"].as_u64() > Some(3), "{status:#}");
    assert!(instance.done(&["status"]).contains("match-1"));
    assert!(instance.done(&["fsck"]).contains(" 0 problems"));
    instance.done(&["down"]);
    assert_eq!(instance.exit_code(), Some(0));
    assert_eq!(instance.place.segments(), [""; 0]);
    instance.place.check_refused(&["status"], &["is not running"]);
}

#[test]
fn a_match_gives_its_memory_and_its_slot_back() {
    let instance = Instance::up(Place::new("matches"), &["--matches", "0"]);
    for _ in 0..3 {
        instance.done(&["matches", "create", "arena", "--game-option", "capacity=8"]);
        instance.place.check_refused(&["matches", "create", "arena"], &["already"]);
        let status = instance.wait_for("it runs", |status| match_of(status, "arena")["state"] == "running");
        assert_eq!(match_of(&status, "arena")["capacity"], 8);
        assert_eq!(match_of(&status, "arena")["slot"], 0);
        let arena = &status["arena"];
        assert_eq!(arena["extents_reserved"], match_of(&status, "arena")["extents_reserved"]);
        assert!(arena["extents_reserved"].as_u64() >= arena["extents_used"].as_u64(), "{status:#}");
        assert!(instance.done(&["matches", "list"]).contains("arena"));
        instance.done(&["matches", "end", "arena"]);
        let status = instance.wait_for("it is gone", |status| match_of(status, "arena").is_null());
        assert_eq!(status["arena"]["extents_used"], 0);
    }
    instance.place.check_refused(&["matches", "end", "arena"], &["no match \"arena\""]);
    let bad = ["matches", "create", "arena", "--game-option", "minutes=-1"];
    instance.place.check_refused(&bad, &["option minutes is -1", "from 0 to 1440"]);
    instance.place.check_refused(&["matches", "create", "arena", "--game-option", "colour=red"], &["no option \"colour\""]);
    assert!(instance.done(&["fsck"]).contains(" 0 problems"));
}

#[test]
fn what_is_reserved_for_a_match_is_no_other_match_s() {
    let instance = Instance::up(Place::new("reserve"), &["--matches", "0", "--game-option", "capacity=5"]);
    let mut count = 0;
    // The arena of 512 extents is far from used when it is full: matches that nobody plays need little.
    let refusal = loop {
        let output = instance.place.run(&["matches", "create", &format!("m{count}")]);
        if !output.status.success() {
            break String::from_utf8(output.stderr).unwrap();
        }
        count += 1;
    };
    let arena = &instance.status()["arena"];
    assert!(refusal.contains(&format!("takes {count} such matches")), "{refusal}");
    assert!(["`arena_mib`", "`max_matches`"].iter().all(|name| refusal.contains(name)), "{refusal}");
    assert!(arena["extents_reserved"].as_u64() <= arena["extents_total"].as_u64(), "{arena:#}");
    instance.done(&["matches", "end", "m0"]);
    instance.wait_for("the first is gone", |status| match_of(status, "m0").is_null());
    instance.done(&["matches", "create", "again"]);
}

#[test]
fn a_match_that_cannot_be_taken_over_is_shown_and_can_be_ended() {
    let instance = Instance::up(Place::new("failed"), &["--sims", "1"]);
    instance.wait_for("ticks are made", |status| match_of(status, "match-1")["tick"].as_u64() > Some(3));
    let sim = processes(&instance.status(), "sim")[0].clone();
    send(&sim, Signal::STOP);
    // As if memory were damaged: the match owns an extent, but not the one with the pages that its newest root names.
    let world = OpenOptions::new().read(true).write(true).open(SegmentSpec::world(0).path(&instance.place.name)).unwrap();
    let extents = instance.status()["arena"]["extents_total"].as_u64().unwrap();
    let at = |extent: u64| OWNERS as u64 + extent * 8;
    let owner = |extent: u64| {
        let mut word = [0; 8];
        world.read_exact_at(&mut word, at(extent)).unwrap();
        word
    };
    let owned = (0..extents).find(|extent| owner(*extent) != [0; 8]).unwrap();
    world.write_all_at(&owner(owned), at(extents - 1)).unwrap();
    world.write_all_at(&[0; 8], at(owned)).unwrap();
    send(&sim, Signal::KILL);
    let status = instance.wait_for("it is shown", |status| match_of(status, "match-1")["state"] == "failed");
    assert_eq!(status["arena"]["extents_used"], 1);
    instance.done(&["matches", "end", "match-1"]);
    let status = instance.wait_for("it is gone", |status| match_of(status, "match-1").is_null());
    assert_eq!((&status["arena"]["extents_used"], &status["arena"]["extents_reserved"]), (&Value::from(0), &Value::from(0)));
    instance.done(&["matches", "create", "match-1"]);
    instance.wait_for("the slot serves again", |status| match_of(status, "match-1")["tick"].as_u64() > Some(3));
}

#[test]
fn killed_workers_are_replaced_and_the_match_goes_on() {
    let instance = Instance::up(Place::new("kills"), &["--sims", "1"]);
    let ticking = |status: &Value| match_of(status, "match-1")["tick"].as_u64() > Some(3);
    let before = instance.wait_for("ticks are made", ticking);
    for role in ["sim", "frontend", "sim"] {
        let status = instance.status();
        let victim = processes(&status, role)[0];
        send(victim, Signal::KILL);
        let tick = match_of(&status, "match-1")["tick"].as_u64();
        instance.wait_for("it is replaced and the match goes on", |status| {
            // Where a sim was one stands by now.
            let roles = if role == "sim" { ["sim", "standby"].as_slice() } else { &[role] };
            let in_its_slot = |process: &&Value| process["slot"] == victim["slot"];
            let process = roles.iter().flat_map(|role| processes(status, role)).find(in_its_slot);
            let restarts = victim["restarts"].as_u64().map(|before| before + 1);
            let is_new = |process: &Value| process["restarts"].as_u64() == restarts && process["pid"] != victim["pid"];
            let replaced = process.is_some_and(|process| process["state"] == "running" && is_new(process));
            replaced && match_of(status, "match-1")["tick"].as_u64() > tick.map(|tick| tick + 5)
        });
    }
    let after = instance.status();
    assert_eq!(match_of(&after, "match-1")["id"], match_of(&before, "match-1")["id"]);
    assert!(match_of(&after, "match-1")["epoch"].as_u64() > match_of(&before, "match-1")["epoch"].as_u64());
    assert!(instance.done(&["fsck"]).contains(" 0 problems"));
}

#[test]
fn a_match_that_ends_while_its_sim_is_dead_is_still_cleared_away() {
    let instance = Instance::up(Place::new("end-kill"), &["--sims", "1"]);
    for round in 0..5 {
        let name = format!("m{round}");
        instance.done(&["matches", "create", &name, "--game-option", "capacity=8"]);
        instance.done(&["matches", "end", &name]);
        send(processes(&instance.status(), "sim")[0], Signal::KILL);
    }
    let gone = |status: &Value| status["matches"].as_array().unwrap().len() == 1;
    instance.wait_for("the ended matches are gone", gone);
    assert!(instance.done(&["fsck"]).contains(" 0 problems"));
}

#[test]
fn status_needs_nobody_awake() {
    let instance = Instance::up(Place::new("stopped"), &[]);
    let all: Vec<Value> = instance.status()["processes"].as_array().unwrap().clone();
    all.iter().for_each(|process| send(process, Signal::STOP));
    let asleep = |status: &Value| status["processes"].as_array().unwrap().iter().all(|process| process["state"] == "stopped");
    instance.wait_for("all are stopped", asleep);
    assert!(instance.done(&["matches", "list", "--json"]).contains("match-1"));
    assert!(instance.done(&["fsck"]).contains(" 0 problems"));
    all.iter().for_each(|process| send(process, Signal::CONT));
    instance.done(&["down"]);
}

#[test]
fn a_signal_stops_in_order() {
    let mut instance = Instance::up(Place::new("signal"), &[]);
    send(processes(&instance.status(), "supervisor")[0], Signal::TERM);
    assert_eq!(instance.exit_code(), Some(0));
    assert_eq!(instance.place.shared_files(), [""; 0]);
}

#[test]
fn what_a_killed_instance_left_is_looked_at_and_gone_on_with() {
    let mut first = Instance::up(Place::new("leftovers"), &[]);
    first.wait_for("ticks are made", |status| match_of(status, "match-1")["tick"].as_u64() > Some(3));
    first.kill();
    let over = |process: &Value| process["state"] == "dead" || process["state"] == "zombie";
    let dead = first.wait_for("all are dead", |status| status["processes"].as_array().unwrap().iter().all(over));
    assert!(first.done(&["status"]).contains("`ringfort up` may go on with it"));
    assert!(first.done(&["matches", "list"]).contains("match-1"));
    assert!(first.done(&["fsck"]).contains(" 0 problems"));
    first.place.check_refused(&["matches", "end", "match-1"], &["is not running", "ringfort up"]);
    first.up_again(&[]);
    let tick = match_of(&dead, "match-1")["tick"].as_u64();
    let after = first.wait_for("it goes on", |status| match_of(status, "match-1")["tick"].as_u64() > tick);
    assert_eq!(match_of(&after, "match-1")["id"], match_of(&dead, "match-1")["id"]);
    assert!(!first.done(&["status"]).contains("go on with it"));
    first.done(&["down"]);
    assert_eq!(first.exit_code(), Some(0));
    assert_eq!(first.place.segments(), [""; 0]);
}

#[test]
fn what_cannot_start_leaves_an_earlier_run_as_it_is() {
    let mut first = Instance::up(Place::new("kept"), &[]);
    first.kill();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let files = first.place.segments();
    first.place.check_refused(&["up", "--listen", &address], &["is in use", &address]);
    assert_eq!(first.place.segments(), files);
}
