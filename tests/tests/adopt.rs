//! The supervisor's death: workers go on, clients notice nothing, and the next `up` or `down` takes them over with what has died meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use ringfort_client::{Code, Ended, JoinTarget};
use ringfort_shm_state::kill_point::ADOPTION;
use ringfort_tests::crowd::named;
use ringfort_tests::{Crowd, Instance, match_named, pid_of, processes, send_signal};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// Supervisors that are killed while they adopt, each a little later than the one before.
const KILLED_ADOPTIONS: u64 = 12;

/// Everybody but the supervisor, by role, slot and process.
fn workers(status: &Value) -> Vec<(String, u64, u64)> {
    let of = |process: &Value| {
        let role = process["role"].as_str().expect("a role");
        // Whether a sim stands by is a matter of its matches.
        let role = if role == "standby" { "sim" } else { role };
        (role.to_owned(), process["slot"].as_u64().expect("a slot"), process["pid"].as_u64().expect("a process id"))
    };
    let all = status["processes"].as_array().expect("a list of processes");
    all.iter().filter(|process| process["role"] != "supervisor").map(of).collect()
}

fn all_run(status: &Value) -> bool {
    let all = status["processes"].as_array().expect("a list of processes");
    all.iter().all(|process| process["state"] == "running")
}

/// Two matches, and three players in the first.
fn with_players() -> (Instance, Crowd, Vec<usize>) {
    let instance = Instance::start(&["--matches", "2"]);
    let mut crowd = Crowd::new(instance.address());
    let players: Vec<usize> = ["ada", "bob", "cyd"].map(|name| crowd.enter(name, named("match-1"))).into();
    crowd.check_plays_on(&players);
    crowd.during(|| drop(instance.wait_for("all run", all_run)));
    (instance, crowd, players)
}

/// The process that steps a match.
fn sim_of(status: &Value, name: &str) -> Pid {
    let slot = &match_named(status, name)["owner_slot"];
    let sims = || processes(status, "sim").into_iter().chain(processes(status, "standby"));
    pid_of(sims().find(|sim| sim["slot"] == *slot).expect("it has a sim"))
}

/// Starts the supervisor again while the players play on.
fn up_again(instance: &mut Instance, crowd: &mut Crowd, flags: &[&str]) -> Value {
    let address = instance.address();
    crowd.during(|| {
        instance.start_again(flags);
        assert!(instance.log().contains("processes of an earlier supervisor are adopted"), "{}", instance.log());
        assert_eq!(instance.address(), address);
        instance.status()
    })
}

#[test]
fn a_supervisor_that_is_killed_three_times_disconnects_nobody() {
    let (mut instance, mut crowd, players) = with_players();
    let before = crowd.during(|| instance.status());
    let told: Vec<usize> = players.iter().map(|who| crowd.player(*who).statuses.len()).collect();
    for round in 1..=3 {
        instance.kill_supervisor();
        crowd.check_plays_on(&players);
        let alone = crowd.during(|| instance.status());
        assert_eq!((&alone["orphaned"], workers(&alone)), (&Value::Bool(true), workers(&before)), "{alone:#}");
        assert!(crowd.during(|| instance.done(&["status"])).contains("supervisor gone; workers go on"));
        // The configured number counts no more than what runs.
        let after = up_again(&mut instance, &mut crowd, &["--matches", "2", "--sims", "3", "--frontends", "1"]);
        assert_eq!((&after["orphaned"], workers(&after)), (&Value::Bool(false), workers(&before)), "{after:#}");
        assert_eq!(processes(&after, "supervisor")[0]["restarts"], round);
        crowd.check_plays_on(&players);
        crowd.during(|| instance.check_refused(&[], &["already running"]));
    }
    assert_eq!(told, players.iter().map(|who| crowd.player(*who).statuses.len()).collect::<Vec<_>>(), "nobody was told anything");
    crowd.during(|| {
        instance.done(&["matches", "create", "third"]);
        instance.done(&["sims", "scale", "3"]);
        instance.done(&["matches", "end", "third"]);
        instance.wait_for("it is gone", |status| match_named(status, "third").is_null());
    });
    instance.kill_supervisor();
    let after = up_again(&mut instance, &mut crowd, &["--matches", "2"]);
    assert_eq!(workers(&after).iter().filter(|(role, ..)| role == "sim").count(), 4, "three at work were in force");
    crowd.during(|| drop(instance.done(&["sims", "scale", "2"])));
    crowd.check_plays_on(&players);
    let dan = crowd.enter("dan", named("match-2"));
    crowd.check_plays_on(&[dan]);
    crowd.during(|| drop(instance.done(&["down"])));
    assert_eq!(instance.exit_code(), Some(0));
    assert_eq!(instance.shared_files(), [""; 0]);
}

#[test]
fn a_sim_that_dies_while_no_supervisor_lives_is_healed_by_the_next() {
    let (mut instance, mut crowd, players) = with_players();
    let before = crowd.during(|| instance.status());
    for _ in 0..2 {
        let status = crowd.during(|| instance.status());
        instance.kill_supervisor();
        send_signal(sim_of(&status, "match-1"), Signal::KILL);
        up_again(&mut instance, &mut crowd, &["--matches", "2"]);
        crowd.check_plays_on(&players);
        crowd.during(|| drop(instance.wait_for("all run again", all_run)));
    }
    let after = crowd.during(|| instance.status());
    assert_eq!(match_named(&before, "match-1")["id"], match_named(&after, "match-1")["id"]);
    crowd.during(|| instance.check_memory());
}

#[test]
fn a_front_end_that_dies_while_no_supervisor_lives_is_healed_by_the_next() {
    let mut instance = Instance::start(&["--matches", "1"]);
    let before = instance.wait_for("all run", all_run);
    instance.kill_supervisor();
    let dead: Vec<Pid> = processes(&before, "frontend").into_iter().map(pid_of).collect();
    dead.iter().for_each(|pid| send_signal(*pid, Signal::KILL));
    let mut crowd = Crowd::new(instance.address());
    up_again(&mut instance, &mut crowd, &[]);
    let after = instance.wait_for("all run again", all_run);
    assert!(processes(&after, "frontend").into_iter().all(|process| !dead.contains(&pid_of(process))), "{after:#}");
    assert_eq!(
        processes(&after, "sim").into_iter().map(pid_of).collect::<Vec<_>>(),
        processes(&before, "sim").into_iter().map(pid_of).collect::<Vec<_>>()
    );
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    crowd.check_plays_on(&players);
}

#[test]
fn workers_that_were_stopped_keep_nobody_from_adopting() {
    let (mut instance, mut crowd, players) = with_players();
    let before = crowd.during(|| instance.status());
    instance.kill_supervisor();
    let sim = sim_of(&before, "match-2");
    send_signal(sim, Signal::STOP);
    let after = up_again(&mut instance, &mut crowd, &["--matches", "2"]);
    assert_eq!(workers(&after), workers(&before));
    crowd.check_plays_on(&players);
    send_signal(sim, Signal::CONT);
    crowd.during(|| drop(instance.wait_for("all run again", all_run)));
}

/// Nobody hands the descriptors over: clients could not be reached through these workers, so that others take their places.
#[test]
fn workers_that_all_were_stopped_are_replaced_and_the_match_goes_on() {
    let mut instance = Instance::start(&[]);
    let before = instance.wait_for("all run", all_run);
    instance.kill_supervisor();
    for (_, _, pid) in workers(&before) {
        send_signal(Pid::from_raw(i32::try_from(pid).expect("an id")).expect("an id"), Signal::STOP);
    }
    instance.start_again(&[]);
    assert!(instance.log().contains("they are killed"), "{}", instance.log());
    let tick = match_named(&before, "match-1")["tick"].as_u64();
    let after = instance.wait_for("it goes on", |status| match_named(status, "match-1")["tick"].as_u64() > tick);
    assert_eq!(match_named(&before, "match-1")["id"], match_named(&after, "match-1")["id"]);
    instance.check_memory();
}

#[test]
fn an_adoption_that_is_killed_at_any_moment_does_no_harm() {
    let (mut instance, mut crowd, players) = with_players();
    let before = crowd.during(|| instance.status());
    instance.kill_supervisor();
    for killed in 0..KILLED_ADOPTIONS {
        let after = Duration::from_millis(killed * 4);
        crowd.during(|| instance.start_and_kill_supervisor(&["--matches", "2"], after));
    }
    let after = up_again(&mut instance, &mut crowd, &["--matches", "2"]);
    assert_eq!(workers(&after), workers(&before));
    crowd.check_plays_on(&players);
}

/// The same with a sim to be replaced: whoever is killed may have granted its matches, and started its successor.
#[test]
fn an_adoption_with_a_dead_sim_that_is_killed_at_any_moment_does_no_harm() {
    let (mut instance, mut crowd, players) = with_players();
    for killed in 0..KILLED_ADOPTIONS {
        let status = crowd.during(|| instance.wait_for("all run", all_run));
        instance.kill_supervisor();
        send_signal(sim_of(&status, "match-1"), Signal::KILL);
        crowd.during(|| instance.start_and_kill_supervisor(&["--matches", "2"], Duration::from_millis(killed * 4)));
        up_again(&mut instance, &mut crowd, &["--matches", "2"]);
        crowd.check_plays_on(&players);
    }
    crowd.during(|| instance.check_memory());
}

/// Killed at one kill point, and the next at another: each time a sim has died before, so that there is something to be healed.
#[test]
fn adoptions_that_are_killed_at_any_two_kill_points_do_no_harm() {
    let mut instance = Instance::of(PathBuf::from(env!("CARGO_BIN_EXE_bomb")), "", |_| (), &[]);
    let mut before = instance.wait_for("all run", all_run);
    for first in ADOPTION {
        for second in ADOPTION {
            let sim = sim_of(&before, "match-1");
            instance.kill_supervisor();
            send_signal(sim, Signal::KILL);
            instance.start_and_die_at(first, &[]);
            instance.start_and_die_at(second, &[]);
            instance.start_again(&[]);
            let tick = match_named(&before, "match-1")["tick"].as_u64();
            let after = instance.wait_for("the match goes on, and all run", |status| {
                match_named(status, "match-1")["tick"].as_u64() > tick && all_run(status)
            });
            assert_eq!(match_named(&before, "match-1")["id"], match_named(&after, "match-1")["id"]);
            let dead = u64::try_from(sim.as_raw_pid()).expect("an id");
            let mut others = workers(&before).into_iter().filter(|(.., pid)| *pid != dead);
            assert!(others.all(|worker| workers(&after).contains(&worker)), "{first}, {second}: {before:#} {after:#}");
            before = after;
        }
    }
    instance.check_memory();
}

/// The supervisor is of the old binary still, and whoever comes in the place of a sim is of the new one.
#[test]
fn an_upgrade_survives_the_supervisor() {
    let mut instance = Instance::of(PathBuf::from(env!("CARGO_BIN_EXE_bomb")), "", |_| (), &["--sims", "1"]);
    instance.wait_for("all run", all_run);
    let next = env!("CARGO_BIN_EXE_bomb-next");
    instance.done(&["upgrade", "--binary", next]);
    let before = instance.wait_for("all run", all_run);
    instance.kill_supervisor();
    send_signal(sim_of(&before, "match-1"), Signal::KILL);
    instance.start_again(&["--sims", "1"]);
    let after = instance.wait_for("all run again", all_run);
    let runs_next = |(_, _, pid): &(String, u64, u64)| {
        std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs") == std::fs::canonicalize(next).expect("it is there")
    };
    let sims: Vec<_> = workers(&after).into_iter().filter(|(role, ..)| role == "sim").collect();
    assert!(sims.len() == 2 && sims.iter().all(runs_next), "{sims:?}");
    send_signal(sim_of(&after, "match-1"), Signal::KILL);
    let last = instance.wait_for("all run again", |status| all_run(status) && workers(status) != workers(&after));
    assert!(workers(&last).iter().filter(|(role, ..)| role == "sim").all(runs_next));
}

/// Workers of a start that was never finished: the next goes on with those that it finds, and makes the matches.
#[test]
fn a_start_whose_supervisor_is_killed_at_any_moment_is_finished_by_the_next() {
    let mut instance = Instance::start(&["--matches", "0"]);
    instance.done(&["down"]);
    assert_eq!(instance.exit_code(), Some(0));
    for killed in 0..KILLED_ADOPTIONS {
        instance.start_and_kill_supervisor(&[], Duration::from_millis(killed * 10));
    }
    instance.start_again(&[]);
    instance.wait_for("it runs at last", |status| match_named(status, "match-1")["tick"].as_u64() > Some(5) && all_run(status));
    instance.check_memory();
}

#[test]
fn down_stops_workers_without_a_supervisor_in_order() {
    let (mut instance, mut crowd, players) = with_players();
    instance.kill_supervisor();
    crowd.check_plays_on(&players);
    assert!(crowd.during(|| instance.done(&["down"])).contains("which had no supervisor, has stopped"));
    crowd.until("all are told", |crowd| players.iter().all(|who| crowd.ended(*who).is_some()));
    for who in players {
        let told = matches!(crowd.ended(who), Some(Ended::Closed { code: Code::ServerStopping, .. }));
        assert!(told, "player {who}: {:?}", crowd.ended(who));
    }
    assert_eq!(instance.shared_files(), [""; 0]);
    assert_eq!(instance.run(&["down"]).status.code(), Some(1), "there is nothing to stop any more");
    instance.start_again(&[]);
}

#[test]
fn workers_are_left_alone_by_whoever_cannot_go_on_with_them() {
    let (mut instance, mut crowd, players) = with_players();
    let before = crowd.during(|| instance.status());
    instance.kill_supervisor();
    crowd.during(|| {
        instance.check_refused(&["--fresh"], &["still run without a supervisor", "ringfort down"]);
        instance.check_refused(&["--tick-hz", "7"], &["cannot go on with them", "7", "nothing was touched", "ringfort down"]);
    });
    crowd.check_plays_on(&players);
    let after = up_again(&mut instance, &mut crowd, &["--matches", "2"]);
    assert_eq!(workers(&after), workers(&before));
}

/// Whoever cleans `/dev/shm` up leaves processes that nothing names any more but their sockets.
#[test]
fn workers_whose_segments_were_removed_are_named_and_not_forgotten() {
    let mut instance = Instance::start(&["--matches", "1"]);
    let before = instance.wait_for("all run", all_run);
    instance.kill_supervisor();
    for name in instance.shared_files() {
        std::fs::remove_file(std::path::Path::new("/dev/shm").join(name)).expect("it is there");
    }
    instance.check_refused(&[], &["a worker of instance", "were removed", "kill -9"]);
    instance.check_refused(&[], &["kill -9"]);
    for (_, _, pid) in workers(&before) {
        send_signal(Pid::from_raw(i32::try_from(pid).expect("an id")).expect("an id"), Signal::KILL);
    }
    instance.start_again(&[]);
    instance.wait_for("it runs", all_run);
}
