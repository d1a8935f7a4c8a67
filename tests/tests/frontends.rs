//! Front-ends that die, and the one that stands by for them: the slot goes on as its process, and nobody else notices.

use ringfort::frontend::counters;
use ringfort::limits::FRONTEND_STANDBY;
use ringfort_client::{Code, JoinTarget};
use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_tests::{Crowd, Instance, pid_of, processes, send_signal};
use rustix::process::Signal;
use serde_json::Value;

/// Kills in a row of a slot's process.
const KILLS: u64 = 6;

/// The process of a slot; [`FRONTEND_STANDBY`] is that of the one that stands by.
fn frontend(status: &Value, slot: u32) -> &Value {
    let role = if slot == FRONTEND_STANDBY { "standby-frontend" } else { "frontend" };
    let found = processes(status, role).into_iter().find(|process| process["slot"] == slot);
    found.unwrap_or_else(|| panic!("there is no {role} {slot}: {status:#}"))
}

/// Waits until all front-ends run, the one that stands by too, and none of them is one of these processes.
fn wait_for_others(instance: &Instance, than: &[&Value]) -> Value {
    instance.wait_for("all front-ends run", |status| {
        let all: Vec<&Value> = ["frontend", "standby-frontend"].into_iter().flat_map(|role| processes(status, role)).collect();
        all.iter().all(|one| one["state"] == "running" && than.iter().all(|dead| dead["pid"] != one["pid"]))
    })
}

/// Sessions that a front-end holds, by its own count.
fn sessions_of(instance: &Instance, slot: u32) -> u64 {
    let segment = Segment::open(instance.name(), SegmentSpec::worker(SegmentKind::Frontend, slot), Access::ReadOnly);
    WorkerPage::new(&segment.expect("a front-end's segment")).counter(counters::SESSIONS)
}

/// Players until each of two front-ends has some; those of either.
fn fill(instance: &Instance, crowd: &mut Crowd) -> [Vec<usize>; 2] {
    let mut players = [Vec::new(), Vec::new()];
    while players.iter().any(Vec::is_empty) {
        let before = [0, 1].map(|slot| sessions_of(instance, slot));
        let who = crowd.enter("player", JoinTarget::Any);
        let mut chosen = None;
        crowd.until("its front-end counts it", |_| {
            chosen = (0..2).find(|slot| sessions_of(instance, *slot as u32) > before[*slot]);
            chosen.is_some()
        });
        players[chosen.expect("the front-end that counts it")].push(who);
    }
    players
}

#[test]
fn the_slot_of_a_killed_front_end_goes_on_as_the_process_that_stood_by() {
    let instance = Instance::start(&["--sims", "1", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    let [hit, spared] = fill(&instance, &mut crowd);
    let before = crowd.during(|| wait_for_others(&instance, &[]));
    let (victim, standby) = (frontend(&before, 0), frontend(&before, FRONTEND_STANDBY));
    send_signal(pid_of(victim), Signal::KILL);
    crowd.until("its clients are back", |crowd| {
        hit.iter().all(|who| crowd.session(*who).resumes() > 0 && crowd.session(*who).is_live())
    });
    crowd.check_plays_on(&[&hit[..], &spared].concat());
    assert!(spared.iter().all(|who| crowd.session(*who).resumes() == 0), "others were hit");
    let after = crowd.during(|| wait_for_others(&instance, &[victim]));
    let successor = frontend(&after, 0);
    assert_eq!(successor["pid"], standby["pid"]);
    assert_eq!((&successor["restarts"], &frontend(&after, 1)["pid"]), (&1.into(), &frontend(&before, 1)["pid"]));
    assert_ne!(frontend(&after, FRONTEND_STANDBY)["pid"], standby["pid"], "another stands by");
    assert_eq!(frontend(&after, FRONTEND_STANDBY)["restarts"], 0, "it was put to use, and has not died");
    let log = std::fs::read_to_string(instance.directory().join("ringfort").join(instance.name()).join("logs/frontend-0.log"));
    let log = log.expect("its slot has a log");
    assert_eq!(log.matches("frontend-0 ").count(), log.lines().count(), "{log}");
    assert_eq!(log.matches("front-end 0 is ready").count(), 2, "{log}");
    let last = crowd.enter("late", JoinTarget::Any);
    crowd.check_plays_on(&[&spared[..], &[last]].concat());
    crowd.during(|| instance.check_memory());
}

#[test]
fn a_slot_whose_process_is_killed_again_and_again_goes_on() {
    let instance = Instance::start(&["--sims", "1", "--frontends", "1"]);
    let mut crowd = Crowd::new(instance.address());
    for round in 1..=KILLS {
        let status = instance.status();
        let victim = frontend(&status, 0);
        send_signal(pid_of(victim), Signal::KILL);
        // Who stands by may not be ready yet: then the slot gets a process of its own.
        let after = instance.wait_for("the slot goes on", |status| {
            let now = frontend(status, 0);
            now["state"] == "running" && now["pid"] != victim["pid"]
        });
        assert_eq!(frontend(&after, 0)["restarts"], round);
    }
    let who = crowd.enter("ada", JoinTarget::Any);
    crowd.check_plays_on(&[who]);
    crowd.during(|| instance.check_memory());
}

#[test]
fn front_ends_that_are_stopped_are_found_and_replaced() {
    let instance = Instance::start(&["--sims", "1", "--hang-ms", "300", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    for victims in [&[0][..], &[FRONTEND_STANDBY], &[1, FRONTEND_STANDBY]] {
        let [_, spared] = fill(&instance, &mut crowd);
        let before = crowd.during(|| wait_for_others(&instance, &[]));
        let stopped: Vec<&Value> = victims.iter().map(|slot| frontend(&before, *slot)).collect();
        stopped.iter().for_each(|process| send_signal(pid_of(process), Signal::STOP));
        if !victims.contains(&1) {
            crowd.check_plays_on(&spared);
        }
        crowd.during(|| wait_for_others(&instance, &stopped));
        let who = crowd.enter("player", JoinTarget::Any);
        crowd.check_plays_on(&[who]);
        assert!(instance.log().contains("has given no sign of life for"), "{}", instance.log());
    }
    crowd.during(|| instance.check_memory());
}

#[test]
fn front_ends_that_are_killed_together_are_all_replaced() {
    let instance = Instance::start(&["--sims", "1", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    for victims in [&[0, 1][..], &[FRONTEND_STANDBY], &[0, FRONTEND_STANDBY], &[FRONTEND_STANDBY, 1, 0]] {
        let before = crowd.during(|| wait_for_others(&instance, &[]));
        let dead: Vec<&Value> = victims.iter().map(|slot| frontend(&before, *slot)).collect();
        dead.iter().for_each(|process| send_signal(pid_of(process), Signal::KILL));
        let after = crowd.during(|| wait_for_others(&instance, &dead));
        for slot in [0, 1, FRONTEND_STANDBY] {
            // The one that stood by is elsewhere now if it lived and was needed.
            let needed = slot == FRONTEND_STANDBY && victims.contains(&0);
            let stays = !victims.contains(&slot) && !needed;
            assert_eq!(frontend(&before, slot)["pid"] == frontend(&after, slot)["pid"], stays, "{victims:?}: {after:#}");
        }
        let who = crowd.enter("player", JoinTarget::Any);
        crowd.check_plays_on(&[who]);
    }
    crowd.during(|| instance.check_memory());
}

/// Slots of the front-ends that there are.
fn slots(status: &Value) -> Vec<u64> {
    processes(status, "frontend").iter().map(|process| process["slot"].as_u64().expect("a number")).collect()
}

#[test]
fn front_ends_are_added_and_ended_and_those_that_stay_notice_nothing() {
    let mut instance = Instance::start(&["--sims", "1", "--frontends", "1", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    let first = crowd.enter("first", JoinTarget::Any);
    let before = crowd.during(|| wait_for_others(&instance, &[]));
    let said = crowd.during(|| instance.json(&["frontends", "scale", "4"]))["sentence"].to_string();
    assert!(said.contains("front-ends 1, 2, 3 were added"), "{said}");
    let status = crowd.during(|| wait_for_others(&instance, &[]));
    assert_eq!(slots(&status), [0, 1, 2, 3]);
    let last = crowd.enter("last", JoinTarget::Any);
    crowd.check_plays_on(&[first, last]);
    let said = crowd.during(|| instance.json(&["frontends", "scale", "1"]))["sentence"].to_string();
    assert!(said.contains("front-ends 3, 2, 1 were ended"), "{said}");
    let status = crowd.during(|| wait_for_others(&instance, &[]));
    assert_eq!((slots(&status), &frontend(&status, 0)["pid"]), (vec![0], &frontend(&before, 0)["pid"]));
    assert!(!instance.segments().iter().any(|name| name.ends_with("frontend.3")), "{:?}", instance.segments());
    crowd.check_plays_on(&[first]);
    for (count, words) in [("0", "must be a number from 1 to 16"), ("17", "must be a number from 1 to 16")] {
        let refused = crowd.during(|| instance.run(&["frontends", "scale", count]));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(words), "{refused:?}");
    }
    // A slot that was given up serves again.
    instance.done(&["frontends", "scale", "2"]);
    let status = wait_for_others(&instance, &[]);
    send_signal(pid_of(frontend(&status, 1)), Signal::KILL);
    wait_for_others(&instance, &[frontend(&status, 1)]);
    instance.check_memory();
    instance.done(&["down"]);
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn a_drained_front_end_sends_its_clients_away_and_is_replaced() {
    let instance = Instance::start(&["--sims", "1", "--game-option", "capacity=64"]);
    let mut crowd = Crowd::new(instance.address());
    let [_, spared] = fill(&instance, &mut crowd);
    let before = crowd.during(|| wait_for_others(&instance, &[]));
    let said = crowd.during(|| instance.json(&["drain", "frontend", "0"]))["sentence"].to_string();
    assert!(said.contains("front-end 0 was replaced"), "{said}");
    crowd.check_plays_on(&spared);
    let after = crowd.during(|| wait_for_others(&instance, &[frontend(&before, 0)]));
    assert_eq!(frontend(&after, 0)["pid"], frontend(&before, FRONTEND_STANDBY)["pid"]);
    assert_eq!((&frontend(&after, 0)["restarts"], &frontend(&after, 1)["pid"]), (&0.into(), &frontend(&before, 1)["pid"]));
    let refused = crowd.during(|| instance.run(&["drain", "frontend", "7"]));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no front-end 7"), "{refused:?}");
    let last = crowd.enter("late", JoinTarget::Any);
    crowd.check_plays_on(&[&spared[..], &[last]].concat());
    crowd.during(|| instance.check_memory());
}

#[test]
fn an_instance_that_drains_takes_nobody_new_and_stops_when_the_last_has_gone() {
    let mut instance = Instance::start(&["--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let who = crowd.enter("ada", JoinTarget::Any);
    std::thread::scope(|scope| {
        let down = scope.spawn(|| instance.done(&["down", "--drain"]));
        crowd.during(|| instance.wait_for("it drains", |status| status["draining"] == true));
        let late = crowd.connect("bob");
        crowd.join(late, JoinTarget::Any);
        crowd.until("it is refused", |crowd| crowd.refusal_of(late).is_some());
        assert_eq!(crowd.refusal_of(late), Some(Code::ServerStopping));
        crowd.check_plays_on(&[who]);
        crowd.leave(who);
        let said = crowd.during(|| down.join().expect("the command ends"));
        assert!(said.contains("has stopped"), "{said}");
    });
    assert_eq!(instance.exit_code(), Some(0));
    assert!(instance.segments().is_empty(), "{:?}", instance.segments());
}

#[test]
fn who_waits_for_the_last_player_is_told_when_the_supervisor_dies_instead() {
    let mut instance = Instance::start(&["--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let who = crowd.enter("ada", JoinTarget::Any);
    std::thread::scope(|scope| {
        let down = scope.spawn(|| instance.run(&["down", "--drain"]));
        let drained = crowd.during(|| instance.wait_for("it drains", |status| status["draining"] == true));
        send_signal(pid_of(processes(&drained, "supervisor")[0]), Signal::KILL);
        let told = crowd.during(|| down.join().expect("the command ends"));
        assert_eq!(told.status.code(), Some(1), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stderr).contains("has died"), "{told:?}");
    });
    instance.reap();
    crowd.during(|| instance.start_again(&["--sims", "1"]));
    let late = crowd.enter("bob", JoinTarget::Any);
    crowd.check_plays_on(&[who, late]);
}
