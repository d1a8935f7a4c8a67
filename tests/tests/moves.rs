//! Planned work on sims under play: matches are moved, sims are added, emptied and replaced, and nobody misses anything.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use ringfort_protocol::SessionId;
use ringfort_tests::{Instance, PATIENCE, match_named, pid_of, processes, send_signal};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::bomb::{Ask, News};
use crate::squad::Squad;

/// Two matches in two sims, and one that stands by.
const FLAGS: [&str; 6] = ["--sims", "2", "--frontends", "1", "--matches", "2"];
const ALL: [usize; 4] = [0, 1, 2, 3];
/// Moves of a match.
const MOVES: usize = 20;
/// Sims that are killed while another is drained.
const KILLS: usize = 6;
/// What a command counts for under the other binary's rules.
const NEXT_COMMANDS: u32 = 100;

fn start(flags: &[&str]) -> (Instance, Squad) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_bomb"));
    let instance = Instance::of(program, "", |_| (), flags);
    let squad = Squad::enter(&instance, &["match-1", "match-2", "match-1", "match-2"]);
    (instance, squad)
}

fn sim_of(status: &Value, name: &str) -> u64 {
    match_named(status, name)["owner_slot"].as_u64().expect("a match has a sim")
}

/// Process ids of all sims, by slot.
fn pids(status: &Value) -> Vec<(u64, u64)> {
    let sims = ["sim", "standby"].into_iter().flat_map(|role| processes(status, role));
    let mut pids: Vec<(u64, u64)> = sims.map(|of| (of["slot"].as_u64().unwrap(), of["pid"].as_u64().unwrap())).collect();
    pids.sort_unstable();
    pids
}

/// The sentence with which a command is refused.
fn refusal(instance: &Instance, arguments: &[&str]) -> String {
    let output = instance.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Checks that everybody plays on in the session that they had, and that each input counted once.
fn check_all_is_well(instance: &Instance, squad: &mut Squad, sessions: &[SessionId]) {
    squad.check_plays_on(&ALL);
    squad.check_tallies();
    let now: Vec<SessionId> = ALL.iter().map(|who| squad.session(*who).id()).collect();
    assert_eq!(now, sessions, "nobody was disconnected");
    squad.during(|| instance.check_memory());
}

fn sessions(squad: &Squad) -> Vec<SessionId> {
    ALL.iter().map(|who| squad.session(*who).id()).collect()
}

#[test]
fn a_match_that_is_moved_back_and_forth_loses_and_doubles_nothing() {
    let (instance, mut squad) = start(&FLAGS);
    let before = sessions(&squad);
    let home = squad.during(|| sim_of(&instance.status(), "match-1"));
    let away = squad.during(|| sim_of(&instance.status(), "match-2"));
    assert_ne!(home, away, "each match has a sim");
    for round in 0..MOVES {
        let to = if round % 2 == 0 { away } else { home }.to_string();
        let answer = squad.during(|| instance.json(&["zones", "move", "match-1", "--to", &to]));
        assert_eq!(answer["sentence"], format!("match \"match-1\" is at sim {to} now"));
        squad.check_plays_on(&[0, 2]);
    }
    let status = squad.during(|| instance.status());
    assert_eq!(sim_of(&status, "match-1"), home);
    assert_eq!(status["counters"]["sim_zones_released"], MOVES);
    check_all_is_well(&instance, &mut squad, &before);
}

/// A sim that stands still while a match is handed over to it is told to hand it on before it has taken it.
#[test]
fn a_match_is_moved_on_by_a_sim_that_has_not_come_to_it_yet() {
    let (instance, mut squad) = start(&FLAGS);
    let before = sessions(&squad);
    let status = squad.during(|| instance.status());
    let (home, away) = (sim_of(&status, "match-1"), sim_of(&status, "match-2"));
    let process = pids(&status).into_iter().find(|(slot, _)| *slot == away).expect("a sim").1;
    let stopped = Pid::from_raw(process as i32).expect("a process");
    let to = |sim: u64| instance.json(&["zones", "move", "match-1", "--to", &sim.to_string()])["sentence"].clone();
    let [there, back] = squad.during(|| {
        send_signal(stopped, Signal::STOP);
        let there = to(away);
        let back = thread::scope(|scope| {
            let back = scope.spawn(|| to(home));
            let is_told = || {
                let zones = instance.json(&["zones", "list"]);
                zones["zones"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .any(|zone| zone["name"] == "match-1" && zone["next_sim"] == home)
            };
            instance.wait_for("it is to be handed back", |_| is_told());
            send_signal(stopped, Signal::CONT);
            back.join().expect("it is answered")
        });
        [there, back]
    });
    assert_eq!(there, format!("match \"match-1\" is at sim {away} now"));
    assert_eq!(back, format!("match \"match-1\" is at sim {home} now"));
    check_all_is_well(&instance, &mut squad, &before);
}

#[test]
fn a_move_that_cannot_be_is_refused_in_a_sentence() {
    let (instance, mut squad) = start(&["--sims", "1", "--frontends", "1", "--matches", "2"]);
    squad.during(|| {
        let (here, there) = match sim_of(&instance.status(), "match-1") {
            0 => ("0", "1"),
            _ => ("1", "0"),
        };
        for (arguments, words) in [
            (["zones", "move", "chess", "--to", there], "there is no match \"chess\""),
            (["zones", "move", "match-1", "--to", "9"], "there is no sim 9; the sims are 0 to 1"),
            (["zones", "move", "match-1", "--to", here], "is at sim"),
            (["zones", "move", "match-1", "--to", there], "stands by for the 1 at work"),
        ] {
            let said = refusal(&instance, &arguments);
            assert!(said.contains(words), "{said}");
        }
        assert!(refusal(&instance, &["sims", "scale", "0"]).contains("a number from 1 to"));
        assert!(refusal(&instance, &["drain", "sim", "7"]).contains("there is no sim 7"));
        let zones = instance.json(&["zones", "list"]);
        assert_eq!(zones["zones"].as_array().map(Vec::len), Some(2), "{zones}");
    });
    squad.check_plays_on(&ALL);
}

#[test]
fn a_sim_that_is_drained_gives_its_matches_away_and_its_place_to_a_new_process() {
    let (instance, mut squad) = start(&FLAGS);
    let before = sessions(&squad);
    let status = squad.during(|| instance.status());
    let slot = sim_of(&status, "match-1");
    squad.during(|| instance.done(&["drain", "sim", &slot.to_string()]));
    let after = squad.during(|| instance.status());
    assert_ne!(sim_of(&after, "match-1"), slot);
    assert_eq!(sim_of(&after, "match-2"), sim_of(&status, "match-2"), "the other match has stayed");
    let replaced: Vec<u64> =
        pids(&status).iter().zip(pids(&after)).filter(|(old, new)| **old != *new).map(|(old, _)| old.0).collect();
    assert_eq!(replaced, [slot]);
    check_all_is_well(&instance, &mut squad, &before);
}

#[test]
fn more_and_fewer_sims_take_the_matches_that_there_are() {
    let (instance, mut squad) = start(&["--sims", "1", "--frontends", "1", "--matches", "3"]);
    let before = sessions(&squad);
    for (sims, owners) in [("3", 3), ("2", 2), ("1", 1)] {
        squad.during(|| instance.done(&["sims", "scale", sims]));
        let status = squad.during(|| instance.status());
        let mut at: Vec<u64> = ["match-1", "match-2", "match-3"].map(|name| sim_of(&status, name)).to_vec();
        at.sort_unstable();
        at.dedup();
        assert_eq!(at.len(), owners, "{sims} sims at work: {status:#}");
        assert_eq!(pids(&status).len(), owners + 1, "one stands by: {status:#}");
        check_all_is_well(&instance, &mut squad, &before);
    }
    let segments = instance.segments().into_iter().filter(|name| name.contains(".sim.")).count();
    assert_eq!(segments, 2, "those of the ended ones are gone");
}

/// Waits until a process is in a state, as the letter of `/proc/PID/stat` has it.
fn await_state(pid: Pid, wanted: char) {
    let path = format!("/proc/{}/stat", pid.as_raw_pid());
    let state = || std::fs::read_to_string(&path).ok()?.rsplit_once(") ")?.1.chars().next();
    let until = Instant::now() + PATIENCE;
    while state() != Some(wanted) {
        assert!(Instant::now() < until, "process {pid:?} is in state {:?} and not {wanted}", state());
        std::thread::yield_now();
    }
}

/// The supervisor hears of two deaths at once, while it waits for the match of one to be handed over: only the sim that is to end is ready.
#[test]
fn a_sim_that_is_granted_matches_although_it_is_to_end_hands_them_over_before() {
    // Sims that are stopped for long are not to count as hung: their deaths are to come when the test wants them.
    let (instance, mut squad) = start(&[&FLAGS[..], &["--hang-ms", "60000"]].concat());
    let before = sessions(&squad);
    squad.during(|| {
        let status = instance.status();
        let owners = ["match-1", "match-2"].map(|name| sim_of(&status, name));
        let owners: Vec<Pid> = pids(&status)
            .into_iter()
            .filter(|(slot, _)| owners.contains(slot))
            .map(|(_, pid)| Pid::from_raw(pid as i32).expect("a process has an id"))
            .collect();
        owners.iter().for_each(|owner| send_signal(*owner, Signal::STOP));
        std::thread::scope(|scope| {
            let scaled = scope.spawn(|| instance.json(&["sims", "scale", "1"]));
            let is_moving = |zone: &Value| !zone["next_sim"].is_null();
            while !instance.json(&["zones", "list"])["zones"].as_array().expect("a list of matches").iter().any(is_moving) {
                std::thread::yield_now();
            }
            send_signal(instance.supervisor(), Signal::STOP);
            await_state(instance.supervisor(), 'T');
            owners.iter().for_each(|owner| send_signal(*owner, Signal::KILL));
            owners.iter().for_each(|owner| await_state(*owner, 'Z'));
            send_signal(instance.supervisor(), Signal::CONT);
            let answer = scaled.join().expect("it is answered");
            // The first that was begun, and both once more.
            assert!(answer["sentence"].as_str().is_some_and(|said| said.contains("3 matches were moved")), "{answer}");
        });
    });
    let status = squad.during(|| instance.status());
    assert_eq!(sim_of(&status, "match-1"), sim_of(&status, "match-2"));
    assert_eq!(pids(&status).len(), 2, "one stands by: {status:#}");
    check_all_is_well(&instance, &mut squad, &before);
}

#[test]
fn the_sims_go_on_as_processes_of_a_binary_with_other_rules() {
    let (instance, mut squad) = start(&FLAGS);
    let before = sessions(&squad);
    let old = squad.during(|| instance.status());
    squad.ask(0, Ask::Count);
    squad.until("the command is counted", |squad| squad.tally(0).is_some_and(|tally| tally.commands == 1));
    let answer = squad.during(|| instance.json(&["upgrade", "--binary", env!("CARGO_BIN_EXE_bomb-next")]));
    assert!(answer["sentence"].as_str().is_some_and(|said| said.contains("were replaced")), "{answer}");
    let new = squad.during(|| instance.status());
    assert!(pids(&old).iter().zip(pids(&new)).all(|(old, new)| old.0 == new.0 && old.1 != new.1), "{new:#}");
    squad.ask(0, Ask::Count);
    squad.until("the command counts for more", |squad| squad.tally(0).is_some_and(|tally| tally.commands == 1 + NEXT_COMMANDS));
    let events: Vec<u32> = squad
        .player(0)
        .events
        .iter()
        .map(|event| match event.what {
            News::Counted { commands, .. } => commands,
        })
        .collect();
    assert_eq!(events, [1, 1 + NEXT_COMMANDS]);
    check_all_is_well(&instance, &mut squad, &before);
    // A sim that dies comes back as what it was by then.
    squad.during(|| {
        let status = instance.status();
        let sim = processes(&status, "sim")[0].clone();
        send_signal(pid_of(&sim), Signal::KILL);
        instance.wait_for("it is replaced", |status| pids(status).iter().all(|(_, pid)| Some(*pid) != sim["pid"].as_u64()));
    });
    squad.ask(0, Ask::Count);
    squad.until("the rules stay", |squad| squad.tally(0).is_some_and(|tally| tally.commands == 1 + 2 * NEXT_COMMANDS));
    check_all_is_well(&instance, &mut squad, &before);
}

#[test]
fn a_binary_that_cannot_go_on_is_refused_before_anything_is_touched() {
    let (instance, mut squad) = start(&FLAGS);
    let before = sessions(&squad);
    squad.during(|| {
        let processes = pids(&instance.status());
        let pipe = instance.directory().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe can be made");
        for (binary, words) in [
            (pipe.to_str().expect("a path of a test"), "is no file"),
            (env!("CARGO_BIN_EXE_bomb-field"), "field Tally.hits is added; nothing was touched"),
            (env!("CARGO_BIN_EXE_club"), "game is changed from Minefield to Club"),
            ("/nonexistent", "cannot be opened"),
            ("/etc/passwd", "cannot be executed"),
            ("/bin/false", "is no server of this version of Ringfort"),
        ] {
            let said = refusal(&instance, &["upgrade", "--binary", binary]);
            assert!(said.contains(words), "{binary}: {said}");
        }
        assert_eq!(pids(&instance.status()), processes);
    });
    check_all_is_well(&instance, &mut squad, &before);
}

/// The work goes on without the process that died, or says what was not done; either way nobody misses anything.
#[test]
fn a_sim_that_dies_amid_planned_work_takes_nothing_along() {
    let (instance, mut squad) = start(&FLAGS);
    let before = sessions(&squad);
    for round in 0..KILLS {
        let status = squad.during(|| instance.status());
        let sims: Vec<Value> = ["sim", "standby"].into_iter().flat_map(|role| processes(&status, role)).cloned().collect();
        let slot = sim_of(&status, "match-1").to_string();
        squad.during(|| {
            std::thread::scope(|scope| {
                let drain = scope.spawn(|| instance.run(&["drain", "sim", &slot]));
                send_signal(pid_of(&sims[round % sims.len()]), Signal::KILL);
                let output = drain.join().expect("the command ends");
                let said = [output.stdout, output.stderr].concat();
                assert!(matches!(output.status.code(), Some(0 | 1)) && !said.is_empty(), "{:?}", output.status);
            });
            instance.wait_for("three sims run", |status| {
                let live = ["sim", "standby"].into_iter().flat_map(|role| processes(status, role));
                live.filter(|process| process["state"] == "running").count() == sims.len()
            });
        });
        check_all_is_well(&instance, &mut squad, &before);
    }
    let slot = squad.during(|| sim_of(&instance.status(), "match-1")).to_string();
    squad.during(|| instance.done(&["drain", "sim", &slot]));
    check_all_is_well(&instance, &mut squad, &before);
}
