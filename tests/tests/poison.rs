//! A game that panics, crashes, hangs and takes all memory: the match goes on for everybody, and whoever sent the cause is told.

use std::path::PathBuf;

use ringfort_client::{JoinTarget, Status};
use ringfort_protocol::Message;
use ringfort_protocol::component::Input;
use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::{ZoneEntry, ZoneState};
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec};
use ringfort_tests::crowd::named;
use ringfort_tests::{Instance, match_named, pid_of, processes, send_signal};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::bomb::bombs::{Bomb, explosions};
use crate::bomb::{Ask, TERROR, When};
use crate::squad::Squad;

/// Two matches in one sim, and one that stands by.
const FLAGS: [&str; 6] = ["--sims", "1", "--frontends", "1", "--matches", "2"];
/// Hangs are found soon. What waits for the processor for as long would be taken for hung, so only the tests of hangs have it.
const SOON: [&str; 2] = ["--hang-ms", "500"];
/// What kills a process by a fault that it notes itself.
const FAULTS: [Bomb; 7] = [Bomb::Panic, Bomb::Segfault, Bomb::Bus, Bomb::Abort, Bomb::Illegal, Bomb::Arithmetic, Bomb::Overflow];
/// Attempts at a tick that brings its own end before what came for it is given up.
const ATTEMPTS: usize = 2;
/// Deaths that nothing explains before a match is paused.
const UNEXPLAINED: usize = 8;
/// The one who throws, two others of its match, and one of another match in the same sim.
const SENDER: usize = 0;
const ALL: [usize; 4] = [SENDER, 1, 2, NEIGHBOUR];
const NEIGHBOUR: usize = 3;

fn start(flags: &[&str]) -> (Instance, Squad) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_bomb"));
    let instance = Instance::of(program, "", |_| (), &[&FLAGS, flags].concat());
    let squad = Squad::enter(&instance, &["match-1", "match-1", "match-1", "match-2"]);
    (instance, squad)
}

fn gone_off(instance: &Instance, bomb: Bomb) -> usize {
    explosions(instance.directory(), bomb)
}

fn letters(instance: &Instance) -> Vec<Value> {
    instance.json(&["dead-letters", "list"])["letters"].as_array().expect("a list of letters").clone()
}

/// Checks that there is one letter of what the sender has sent under this number, and that it has these bytes.
fn check_letter(instance: &Instance, squad: &Squad, kind: &str, sequence: u32, bytes: &[u8]) {
    let session = squad.session(SENDER).id().0;
    let is_it = |letter: &Value| letter["session"] == session && letter["kind"] == kind && letter["sequence"] == sequence;
    let letters: Vec<Value> = letters(instance).into_iter().filter(is_it).collect();
    assert_eq!(letters.len(), 1, "{kind} {sequence}: {letters:?}");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&letters[0]["bytes"], &letters[0]["match"]), (&Value::from(hex), &Value::from("match-1")));
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

/// Checks that all are in the match that they joined, and that the other match has noticed nothing but the takeover.
fn check_nobody_lost(squad: &Squad) {
    for who in ALL {
        let is_step = |status: &&Status| !matches!(status, Status::Rejected { .. });
        let steps: Vec<&Status> = squad.player(who).statuses.iter().filter(is_step).collect();
        assert!(matches!(steps[..], [Status::Connecting, Status::Joined { .. }, Status::Live]), "player {who}: {steps:?}");
    }
    let neighbour = squad.player(NEIGHBOUR);
    assert!(neighbour.rejected.is_empty() && neighbour.rejected_commands.is_empty(), "{:?}", neighbour.statuses);
}

/// Throws what goes off at every attempt, and checks that nobody suffers from it for long.
fn check_poison(instance: &Instance, squad: &mut Squad, bomb: Bomb) {
    let before = gone_off(instance, bomb);
    let sequence = squad.throw(SENDER, bomb, When::Always);
    squad.until("the sender is told", |squad| squad.player(SENDER).rejected.contains(&sequence));
    squad.check_plays_on(&ALL);
    assert_eq!(gone_off(instance, bomb) - before, ATTEMPTS, "{bomb:?}: it comes, and is tried once more");
    check_nobody_lost(squad);
    assert_eq!(squad.touched(SENDER), 0, "{bomb:?}: a tick that failed left something behind");
    let bytes = encoded(|to| squad.player(SENDER).sent[&sequence].to_wire(to));
    check_letter(instance, squad, "input", sequence, &bytes);
}

/// Checks that the front-end has told each as often as somebody was told, that both matches count right, and that the memory is intact.
fn check_account(instance: &Instance, squad: &mut Squad) {
    squad.check_tallies();
    let player = |who: usize| squad.player(who).rejected.len() + squad.player(who).rejected_commands.len();
    let told: usize = ALL.into_iter().map(player).sum();
    assert_eq!(instance.counter("fe_rejected_told"), told as u64);
    let neighbours: Vec<Value> = letters(instance).into_iter().filter(|letter| letter["match"] == "match-2").collect();
    assert!(neighbours.is_empty(), "{neighbours:?}");
    instance.check_memory();
}

#[test]
fn an_input_that_crashes_the_game_is_given_up_and_everybody_plays_on() {
    let (instance, mut squad) = start(&[]);
    for bomb in FAULTS {
        check_poison(&instance, &mut squad, bomb);
    }
    check_account(&instance, &mut squad);
}

/// A command, as below. On a machine that leaves the loop no processor time, a hang is no fault and is tried as often as it takes.
#[test]
fn a_command_that_makes_the_game_loop_for_ever_is_given_up() {
    let (instance, mut squad) = start(&SOON);
    let poison = Ask::Blow { bomb: Bomb::Loop as u8, when: When::Always as u8 };
    squad.ask(SENDER, poison);
    squad.until("the sender is told", |squad| squad.player(SENDER).rejected_commands.contains(&1));
    squad.check_plays_on(&ALL);
    let count = gone_off(&instance, Bomb::Loop);
    assert!((ATTEMPTS..ATTEMPTS + UNEXPLAINED).contains(&count), "{count}");
    assert_eq!((squad.touched(SENDER), squad.tally(SENDER).map(|tally| tally.commands)), (0, Some(0)));
    check_nobody_lost(&squad);
    check_letter(&instance, &squad, "command", 1, &encoded(|to| poison.to_wire(to)));
    check_account(&instance, &mut squad);
}

#[test]
fn an_input_that_allocates_without_end_is_given_up() {
    let (instance, mut squad) = start(&[]);
    check_poison(&instance, &mut squad, Bomb::Allocate);
    check_account(&instance, &mut squad);
}

/// Throws what goes off a single time, and checks that nothing at all is lost.
fn check_once(flags: &[&str], bombs: &[Bomb]) {
    let (instance, mut squad) = start(flags);
    for (before, bomb) in bombs.iter().enumerate() {
        let sequence = squad.throw(SENDER, *bomb, When::Once);
        squad.until("it is applied", |squad| squad.acknowledged(SENDER, sequence));
        squad.check_plays_on(&ALL);
        assert_eq!((gone_off(&instance, *bomb), squad.touched(SENDER)), (1, before as u32 + 1), "{bomb:?}");
        check_nobody_lost(&squad);
    }
    assert_eq!(ALL.map(|who| squad.player(who).rejected.len()), [0; 4]);
    check_account(&instance, &mut squad);
    assert_eq!(letters(&instance), Vec::<Value>::new());
}

#[test]
fn a_crash_that_does_not_come_again_costs_nobody_anything() {
    check_once(&[], &[&FAULTS[..], &[Bomb::Allocate, Bomb::Exit]].concat());
}

/// By commands: of a player's inputs that wait for a second the oldest are passed over, as there are more than a tick takes.
#[test]
fn a_hang_that_does_not_come_again_costs_nobody_anything() {
    let (instance, mut squad) = start(&SOON);
    for (before, bomb) in [Bomb::Loop, Bomb::Park].into_iter().enumerate() {
        squad.ask(SENDER, Ask::Blow { bomb: bomb as u8, when: When::Once as u8 });
        let after = before as u32 + 1;
        squad.until("it is counted", |squad| squad.tally(SENDER).is_some_and(|tally| tally.commands == after));
        squad.check_plays_on(&ALL);
        assert_eq!((gone_off(&instance, bomb), squad.touched(SENDER)), (1, after), "{bomb:?}");
        check_nobody_lost(&squad);
    }
    check_account(&instance, &mut squad);
    assert_eq!((letters(&instance), instance.counter("fe_rejected_told")), (Vec::new(), 0));
}

#[test]
fn a_command_that_crashes_the_game_is_given_up_and_those_around_it_count() {
    let (instance, mut squad) = start(&[]);
    squad.ask(SENDER, Ask::Count);
    squad.until("the first is counted", |squad| squad.tally(SENDER).is_some_and(|tally| tally.commands == 1));
    let poison = Ask::Blow { bomb: Bomb::Panic as u8, when: When::Always as u8 };
    squad.ask(SENDER, poison);
    squad.until("it goes off", |_| gone_off(&instance, Bomb::Panic) > 0);
    squad.ask(SENDER, Ask::Count);
    squad.until("the sender is told", |squad| squad.player(SENDER).rejected_commands.contains(&2));
    squad.until("the third is counted", |squad| squad.tally(SENDER).is_some_and(|tally| tally.commands == 2));
    squad.ask(SENDER, Ask::Count);
    squad.until("the fourth is counted", |squad| squad.tally(SENDER).is_some_and(|tally| tally.commands == 3));
    squad.until("all events are here", |squad| squad.player(SENDER).events.len() >= 3);
    squad.check_plays_on(&ALL);
    assert_eq!((squad.player(SENDER).events.len(), squad.player(SENDER).rejected_commands.len()), (3, 1));
    assert_eq!((gone_off(&instance, Bomb::Panic), squad.touched(SENDER)), (ATTEMPTS, 0));
    check_letter(&instance, &squad, "command", 2, &encoded(|to| poison.to_wire(to)));
    check_nobody_lost(&squad);
    check_account(&instance, &mut squad);
}

#[test]
fn inputs_that_crash_both_matches_of_a_sim_at_once_are_given_up_in_both() {
    let (instance, mut squad) = start(&[]);
    for _ in 0..3 {
        let throwers = [SENDER, 1, NEIGHBOUR];
        let sequences = squad.throw_together(&throwers, Bomb::Segfault, When::Always);
        squad.until("all three are told", |squad| {
            throwers.iter().zip(&sequences).all(|(who, sequence)| squad.player(*who).rejected.contains(sequence))
        });
        squad.check_plays_on(&ALL);
    }
    // The two of one match may be in the same tick, or in two.
    let count = gone_off(&instance, Bomb::Segfault);
    assert!((6 * ATTEMPTS..=9 * ATTEMPTS).contains(&count), "{count}");
    assert_eq!((squad.touched(SENDER), squad.touched(NEIGHBOUR)), (0, 0));
    squad.check_tallies();
    instance.check_memory();
}

/// Kills the sim that steps a match, again and again while the match's poison is being found.
#[test]
fn kills_between_the_attempts_do_not_change_what_becomes_of_an_input() {
    let (instance, mut squad) = start(&[]);
    let mut kills = 0;
    for _ in 0..4 {
        let sequence = squad.throw(SENDER, Bomb::Panic, When::Always);
        squad.during(|| {
            for _ in 0..3 {
                let status = instance.status();
                let owner = match_named(&status, "match-1")["owner_slot"].clone();
                let process = status["processes"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .find(|process| process["slot"] == owner && (process["role"] == "sim" || process["role"] == "standby"));
                let pid = process.and_then(|process| Pid::from_raw(process["pid"].as_i64()? as i32));
                // An error says that it has died of the bomb since.
                kills += usize::from(pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()));
            }
        });
        squad.until("the sender is told", |squad| squad.player(SENDER).rejected.contains(&sequence));
        squad.check_plays_on(&ALL);
    }
    let count = gone_off(&instance, Bomb::Panic);
    assert!(kills > 0 && (4 * ATTEMPTS..=4 * ATTEMPTS + kills).contains(&count), "{count} explosions with {kills} kills");
    assert_eq!(squad.touched(SENDER), 0);
    check_nobody_lost(&squad);
    check_account(&instance, &mut squad);
}

/// Its sim is killed while it tries the tick again, which explains nothing, and exonerates nobody.
#[test]
fn a_match_that_runs_alone_does_so_until_it_has_passed_whoever_dies_of_what() {
    let (instance, mut squad) = start(&["--hang-ms", "3000"]);
    let sequence = squad.throw(SENDER, Bomb::Loop, When::Always);
    squad.until("it is tried again", |_| gone_off(&instance, Bomb::Loop) == ATTEMPTS);
    squad.during(|| {
        let status = instance.status();
        let before = match_named(&status, "match-1").clone();
        assert_eq!(before["alone"], true, "{before}");
        let is_its = |process: &&Value| {
            process["slot"] == before["owner_slot"] && (process["role"] == "sim" || process["role"] == "standby")
        };
        let sim = status["processes"].as_array().expect("a list").iter().find(is_its).expect("it has a process");
        send_signal(pid_of(sim), Signal::KILL);
        let granted = |status: &Value| match_named(status, "match-1")["epoch"].as_u64() > before["epoch"].as_u64();
        let status = instance.wait_for("another has it", granted);
        assert_eq!(match_named(&status, "match-1")["alone"], true, "{status:#}");
    });
    squad.until("the sender is told", |squad| squad.player(SENDER).rejected.contains(&sequence));
    squad.during(|| instance.wait_for("it has passed", |status| match_named(status, "match-1")["alone"] == false));
    squad.check_plays_on(&ALL);
    check_account(&instance, &mut squad);
}

/// What a client is, is not given up: its join stays in the inbox, and an operator sees why the match stands.
#[test]
fn a_join_that_crashes_the_game_pauses_the_match() {
    let (instance, mut squad) = start(&[]);
    let terror = squad.add(&instance, TERROR, named("match-1"));
    squad.during(|| paused(&instance, "faults"));
    assert_eq!(gone_off(&instance, Bomb::Panic), ATTEMPTS + 1);
    assert!(!squad.session(terror).is_joined());
    check_paused_match_ends(&instance, &mut squad);
}

#[test]
fn a_game_that_leaks_is_taken_over_whenever_its_memory_is_used_up_and_nothing_is_given_up() {
    let (instance, mut squad) = start(&[]);
    let before = squad.during(|| instance.status());
    squad.throw(SENDER, Bomb::Leak, When::Armed);
    let owner = |status: &Value| match_named(status, "match-1")["epoch"].as_u64();
    squad
        .during(|| instance.wait_for("it was taken over twice", |status| owner(status) >= owner(&before).map(|epoch| epoch + 2)));
    squad.check_plays_on(&ALL);
    check_nobody_lost(&squad);
    assert_eq!(ALL.map(|who| squad.player(who).rejected.len()), [0; 4]);
    squad.during(|| instance.done(&["matches", "end", "match-1"]));
}

/// The match as `status` and `matches list` show it.
fn paused(instance: &Instance, reason: &str) -> Value {
    let is_paused = |status: &Value| match_named(status, "match-1")["state"] == "paused";
    let status = instance.wait_for("the match is paused", is_paused);
    let shown = match_named(&status, "match-1").clone();
    assert_eq!(shown["paused"], reason, "{shown}");
    let text = instance.done(&["matches", "list"]);
    assert!(text.lines().any(|line| line.contains("match-1") && line.contains("paused")), "{text}");
    shown
}

/// Ends the paused match; its players are told.
fn check_paused_match_ends(instance: &Instance, squad: &mut Squad) {
    for who in [SENDER, 1, 2] {
        assert!(squad.session(who).is_joined() && !squad.session(who).is_ended(), "player {who} has lost its session");
    }
    squad.check_plays_on(&[NEIGHBOUR]);
    squad.during(|| instance.done(&["matches", "end", "match-1"]));
    squad.until("its players are told", |squad| {
        [SENDER, 1, 2].iter().all(|who| squad.player(*who).statuses.contains(&Status::MatchOver))
    });
    squad.during(|| instance.wait_for("it is gone", |status| match_named(status, "match-1").is_null()));
    squad.check_plays_on(&[NEIGHBOUR]);
    instance.check_memory();
}

#[test]
fn a_match_whose_state_crashes_every_tick_is_paused_and_stays_so_until_it_is_ended() {
    let (instance, mut squad) = start(&[]);
    squad.throw(SENDER, Bomb::Panic, When::Armed);
    let first = squad.during(|| paused(&instance, "faults"));
    assert_eq!(gone_off(&instance, Bomb::Panic), ATTEMPTS + 1, "as it comes, once more, and without inputs");
    // The log tells of each fault, of the last one, too, and then of the pause that it has led to.
    let log = instance.done(&["tail", "--no-follow", "--match", "match-1", "--kind", "fault,pause", "--json"]);
    let told: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let kinds: Vec<_> = told.iter().filter_map(|line| Some((line["kind"].as_str()?, line["b"].as_u64()?))).collect();
    assert_eq!(kinds, [("fault", 1), ("fault", 2), ("fault", 3), ("pause", 0)], "{log}");
    assert!(told[..3].iter().all(|line| line["a"] == told[0]["a"] && line["text"] == told[0]["text"]), "{log}");
    squad.during(|| instance.done(&["matches", "resume", "match-1"]));
    squad.until("it is tried anew", |_| gone_off(&instance, Bomb::Panic) > ATTEMPTS + 1);
    let second = squad.during(|| paused(&instance, "faults"));
    assert_eq!(gone_off(&instance, Bomb::Panic), 2 * (ATTEMPTS + 1));
    assert_eq!((&first["tick"], &first["sessions"]), (&second["tick"], &second["sessions"]));
    let refused = instance.run(&["matches", "resume", "match-2"]);
    assert!(!refused.status.success(), "a match that is not paused");
    check_paused_match_ends(&instance, &mut squad);
}

#[test]
fn a_paused_match_is_in_the_way_of_no_work_and_a_new_start_does_not_let_it_go_on() {
    let (mut instance, mut squad) = start(&[]);
    squad.throw(SENDER, Bomb::Panic, When::Armed);
    let first = squad.during(|| paused(&instance, "faults"));
    let owner = first["owner_slot"].to_string();
    let done = |arguments: &[&str]| drop(instance.done(arguments));
    squad.during(|| {
        done(&["sims", "scale", "3"]);
        done(&["drain", "sim", &owner]);
        done(&["sims", "scale", "1"]);
        done(&["sessions", "kick", "match-1", "player-2"]);
        assert!(!instance.run(&["zones", "move", "match-1", "--to", "1"]).status.success());
        assert_eq!(paused(&instance, "faults")["tick"], first["tick"]);
    });
    squad.check_plays_on(&[NEIGHBOUR]);
    drop(squad);
    instance.kill();
    // As if the supervisor had been killed before it could say that the match is paused.
    let directory = Segment::open(instance.name(), SegmentSpec::DIRECTORY, Access::ReadWrite).expect("it stays");
    let found = Directory::new(&directory).zones().find(|(_, entry)| entry.state == ZoneState::Paused as u32);
    let (slot, entry) = found.expect("a paused match");
    for entry in [entry, ZoneEntry { state: ZoneState::Open as u32, pause: 0, ..entry }] {
        DirectoryWriter::new(&directory).publish_zone(slot, &entry);
        let exploded = gone_off(&instance, Bomb::Panic);
        instance.start_again(&FLAGS);
        assert_eq!(paused(&instance, "faults")["tick"], first["tick"]);
        assert_eq!(gone_off(&instance, Bomb::Panic), exploded, "nobody has tried it");
        instance.kill();
    }
    instance.start_again(&FLAGS);
    instance.done(&["matches", "resume", "match-1"]);
    instance.wait_for("it is tried anew", |_| gone_off(&instance, Bomb::Panic) >= 2 * (ATTEMPTS + 1));
    paused(&instance, "faults");
    instance.done(&["matches", "end", "match-1"]);
    instance.wait_for("it is gone", |status| match_named(status, "match-1").is_null());
    instance.check_memory();
}

#[test]
fn whoever_comes_to_a_paused_match_is_told_so_and_guesses_no_code() {
    let (instance, mut squad) = start(&[]);
    let den = squad.during(|| instance.json(&["matches", "create", "den", "--private"]));
    let code = || JoinTarget::Code(den["code"].as_str().expect("its code is told").to_owned());
    let host = squad.add(&instance, "host", code());
    squad.until("the host is in", |squad| squad.tally(host).is_some());
    squad.throw(host, Bomb::Panic, When::Armed);
    squad.throw(SENDER, Bomb::Panic, When::Armed);
    let is_paused = |status: &Value, name: &str| match_named(status, name)["state"] == "paused";
    squad.during(|| instance.wait_for("both are paused", |status| is_paused(status, "den") && is_paused(status, "match-1")));
    for (name, target) in [("late", named("match-1")), ("invited", code())] {
        let who = squad.add(&instance, name, target);
        let told = |status: &Status| matches!(status, Status::Refused { reason, .. } if reason == "the match is paused");
        squad.until("it is told", |squad| squad.player(who).statuses.iter().any(told));
    }
    assert_eq!(instance.counter("fe_codes_wrong"), 0);
    squad.check_plays_on(&[NEIGHBOUR]);
}

#[test]
fn deaths_that_nothing_explains_give_nothing_up_and_pause_the_match_after_eight() {
    for (bomb, flags) in [(Bomb::Exit, &[][..]), (Bomb::Park, &SOON[..])] {
        let (instance, mut squad) = start(flags);
        squad.ask(SENDER, Ask::Blow { bomb: bomb as u8, when: When::Always as u8 });
        squad.during(|| paused(&instance, "deaths"));
        assert_eq!(gone_off(&instance, bomb), UNEXPLAINED, "{bomb:?}");
        assert_eq!((letters(&instance), instance.counter("fe_rejected_told")), (Vec::new(), 0));
        check_paused_match_ends(&instance, &mut squad);
    }
}

/// Each of these matches is late in every tick, and three of its ticks at once are run each time; only a tick that takes too long is a hang.
#[test]
fn matches_that_are_slow_together_are_late_and_no_hang() {
    const MATCHES: &str = "8";
    const TICKS: u64 = 12;
    let flags = ["--sims", "1", "--frontends", "1", "--matches", MATCHES, "--game-option", "slow_ms=50"];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_bomb"));
    let instance = Instance::of(program, "", |_| (), &[&flags[..], &SOON].concat());
    let status = instance.wait_for("every match is stepped", |status| {
        let matches = status["matches"].as_array().expect("a list");
        matches.iter().all(|of| of["tick"].as_u64().is_some_and(|tick| tick >= TICKS))
    });
    let sims = ["sim", "standby"].into_iter().flat_map(|role| processes(&status, role));
    assert!(sims.map(|process| &process["restarts"]).all(|restarts| restarts == 0), "{status}");
}

#[test]
fn the_process_that_is_left_is_as_many_as_were_wanted() {
    let (instance, mut squad) = start(&[]);
    check_poison(&instance, &mut squad, Bomb::Segfault);
    let both = |status: &Value| {
        let running = |role: &str| processes(status, role).iter().filter(|process| process["state"] == "running").count();
        (running("sim"), running("standby")) == (1, 1)
    };
    squad.during(|| instance.wait_for("one sim works and one stands by", both));
    check_account(&instance, &mut squad);
}
