//! The life of matches: private ones, spectators, kicks, doors that the game shuts, and what `matches show` tells of it.

use std::path::PathBuf;

use ringfort::game::Played;
use ringfort::skirmish::Skirmish;
use ringfort_client::{Code, Credential, EndReason, Ended, JoinTarget, Wire};
use ringfort_protocol::control::{ClientMsg, ServerMsg};
use ringfort_protocol::limits::PROTOCOL_VERSION;
use ringfort_tests::crowd::named;
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Game, Instance, Stranger, match_named, pid_of, processes, send_signal};
use rustix::process::Signal;
use serde_json::Value;

use crate::club::Club;

/// A stranger of a game whose hello was welcomed.
fn welcomed<G: Wire>(instance: &Instance, name: &str) -> Stranger {
    let mut stranger = Stranger::connect(instance, b"ringfort/1").expect("a connection");
    let credential = Credential::Name(name.to_owned());
    stranger.say(&ClientMsg::Hello {
        version: PROTOCOL_VERSION,
        schema_hash: G::schema().hash(),
        credential,
        attempt: 0,
        resume: None,
        rounds: false,
    });
    assert!(matches!(stranger.hear(), ServerMsg::Welcome { .. }));
    stranger
}

/// What the server says to a join.
fn answer(stranger: &mut Stranger, target: JoinTarget, nonce: u8, spectate: bool) -> Result<bool, (Option<Code>, String)> {
    stranger.say(&ClientMsg::Join { target, nonce: [nonce; 16], spectate });
    match stranger.hear() {
        ServerMsg::Joined { spectator, .. } => Ok(spectator),
        ServerMsg::Error { code, reason } => Err((Code::from_u64(code.into()), reason)),
        other => panic!("no answer to a join: {other:?}"),
    }
}

fn code(instance: &Instance, name: &str) -> String {
    let shown = instance.json(&["matches", "show", name, "--code"]);
    shown["code"].as_str().expect("a private match has a code").to_owned()
}

#[test]
fn a_private_match_is_joined_with_its_code_only_also_after_a_kill() {
    let mut instance = Instance::start(&[]);
    let made = instance.json(&["matches", "create", "den", "--private"]);
    let den = made["code"].as_str().expect("its code is told").to_owned();
    assert_eq!((den.len(), code(&instance, "den")), (8, den.clone()));
    assert_eq!(instance.json(&["matches", "show", "den"])["code"], Value::Null, "not unless it is asked for");
    assert_eq!(match_named(&instance.status(), "den")["private"], true);
    assert!(!instance.done(&["status"]).contains(&den) && !instance.log().contains(&den));
    instance.kill();
    instance.start_again(&[]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    assert_eq!(crowd.match_of(ada), Some("match-1"));
    let bob = crowd.connect("bob");
    for target in [named("den"), JoinTarget::Code("AAAAAAAA".into()), JoinTarget::Code(String::new())] {
        crowd.join(bob, target);
        crowd.until("the join is refused", |crowd| crowd.refusal_of(bob).is_some());
        assert_eq!(crowd.refusal_of(bob), Some(Code::NoSuchMatch));
    }
    crowd.join(bob, JoinTarget::Code(den.to_lowercase()));
    crowd.until_live(bob);
    assert_eq!(crowd.match_of(bob), Some("den"));
    instance.wait_for("two wrong codes", |status| counter(status, "fe_codes_wrong") == 2);
    instance.check_memory();
}

#[test]
fn who_guesses_codes_is_closed_and_those_who_play_play_on() {
    let instance = Instance::start(&[]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", JoinTarget::Any);
    let mut guesses = welcomed::<Game>(&instance, "guess");
    for nonce in 0..8 {
        let refused = answer(&mut guesses, JoinTarget::Code("ABCDEFGH".into()), nonce, false);
        assert_eq!(refused.expect_err("a wrong code").0, Some(Code::NoSuchMatch));
    }
    guesses.say(&ClientMsg::Join { target: JoinTarget::Code("ABCDEFGH".into()), nonce: [9; 16], spectate: false });
    assert_eq!(guesses.closed().0, Some(Code::Flooding));
    crowd.check_plays_on(&[ada]);
}

#[test]
fn a_spectator_sees_the_match_and_can_do_nothing_in_it() {
    let instance = Instance::start(&["--matches", "0"]);
    instance.done(&["matches", "create", "arena", "--spectators", "1", "--game-option", "capacity=1"]);
    let mut crowd = Crowd::new(instance.address());
    let ada = crowd.enter("ada", named("arena"));
    let ada_is = crowd.avatar(ada).expect("ada");
    let sam = crowd.connect("sam");
    crowd.watch(sam, JoinTarget::Any);
    crowd.until("sam sees ada's score", |crowd| crowd.view(sam).get(ada_is, Skirmish::SCORE).is_some());
    assert!(crowd.session(sam).is_spectator() && !crowd.session(ada).is_spectator());
    assert_eq!((crowd.avatar(sam), crowd.player(sam).sent), (None, 0));
    let shown = instance.json(&["matches", "show", "arena"]);
    let names = |list: &str| shown[list].as_array().expect("a list").iter().map(|s| s["name"].clone()).collect::<Vec<_>>();
    assert_eq!((names("players"), names("watchers")), (vec!["ada".into()], vec!["sam".into()]));
    let figures = ["sessions", "capacity", "spectators", "spectator_capacity"].map(|key| shown[key].as_u64().unwrap_or(99));
    assert_eq!(figures, [2, 1, 1, 1]);
    for (nonce, spectate) in [(1, true), (2, false)] {
        let mut late = welcomed::<Game>(&instance, "late");
        let refused = answer(&mut late, named("arena"), nonce, spectate).expect_err("no room");
        assert_eq!(refused.0, Some(Code::MatchFull));
    }
    crowd.leave(sam);
    crowd.until("sam has left", |crowd| crowd.ended(sam).is_some());
    // Who sends what a spectator has not: the server takes none of it, whatever the client believes.
    let mut rude = welcomed::<Game>(&instance, "rude");
    instance.wait_for("sam's place is free", |status| match_named(status, "arena")["spectators"] == 0);
    assert_eq!(answer(&mut rude, named("arena"), 3, true), Ok(true));
    rude.say(&ClientMsg::Command { number: 1, payload: vec![0] });
    assert_eq!(rude.closed().0, Some(Code::Refused));
    instance.wait_for("it is counted", |status| counter(status, "fe_spectators_refused") == 1);
    crowd.check_plays_on(&[ada]);
    instance.check_memory();
}

#[test]
fn a_kicked_player_is_told_and_does_not_come_back_by_the_same_nonce() {
    let instance = Instance::start(&["--frontends", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let [ada, bob, twin] = ["ada", "bob", "bob"].map(|name| crowd.enter(name, named("match-1")));
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = instance.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && words.iter().all(|word| stderr.contains(word)), "{stderr}");
    };
    refused(&["sessions", "kick", "match-1", "eve"], &["nobody in match \"match-1\"", "eve", "matches show"]);
    refused(&["sessions", "kick", "match-9", "ada"], &["no match \"match-9\""]);
    refused(&["sessions", "kick", "match-1", "bob"], &["2 sessions", "by its id"]);
    crowd.during(|| instance.done(&["sessions", "kick", "match-1", "ada"]));
    crowd.until("ada is told", |crowd| crowd.ended(ada).is_some());
    assert_eq!(crowd.ended(ada), Some(&Ended::Session(EndReason::Kicked)));
    let shown = instance.json(&["matches", "show", "match-1"]);
    let bobs = shown["players"].as_array().expect("a list");
    assert_eq!(bobs.len(), 2);
    let id = bobs[0]["session"].to_string();
    crowd.during(|| instance.json(&["sessions", "kick", "match-1", &id]));
    crowd.until("one bob is told", |crowd| crowd.ended(bob).is_some() != crowd.ended(twin).is_some());
    let stays = if crowd.ended(bob).is_some() { twin } else { bob };
    let mut known = welcomed::<Game>(&instance, "known");
    assert_eq!(answer(&mut known, named("match-1"), 77, false), Ok(false));
    crowd.during(|| instance.done(&["sessions", "kick", "match-1", "known"]));
    loop {
        match known.hear() {
            ServerMsg::Left { reason } => break assert_eq!(reason, EndReason::Kicked),
            ServerMsg::Event { .. } => {}
            other => panic!("not told: {other:?}"),
        }
    }
    assert_eq!(answer(&mut known, named("match-1"), 77, false).expect_err("known again").0, Some(Code::Kicked));
    crowd.check_plays_on(&[stays]);
    instance.wait_for("three were kicked", |status| counter(status, "sim_sessions_kicked") == 3);
    instance.check_memory();
}

#[test]
fn a_game_shuts_its_door_and_says_why_somebody_stays_outside() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_club"));
    let instance = Instance::of(program, "", |_| (), &["--matches", "2"]);
    let enter = |name: &str, target: JoinTarget, nonce: u8, spectate: bool| {
        let mut stranger = welcomed::<Played<Club>>(&instance, name);
        let said = answer(&mut stranger, target, nonce, spectate);
        (stranger, said)
    };
    let label = |status: &Value, name: &str| match_named(status, name)["label"].as_str().unwrap_or("").to_owned();
    assert_eq!(label(&instance.status(), "match-1"), "the door is open");
    let (_, said) = enter("mallory", named("match-1"), 1, false);
    assert_eq!(said, Err((Some(Code::Refused), "not tonight, mallory".to_owned())));
    let (_, said) = enter("mallory", JoinTarget::Any, 2, false);
    assert_eq!(said, Err((Some(Code::Refused), "not tonight, mallory".to_owned())), "no match takes her");
    let (_host, said) = enter("host", named("match-1"), 3, false);
    assert_eq!(said, Ok(false));
    let (mut late, said) = enter("late", named("match-1"), 4, false);
    assert_eq!(said.expect_err("the door is shut").0, Some(Code::MatchStarted));
    assert_eq!(answer(&mut late, JoinTarget::Any, 5, false), Ok(false), "any match means one whose door is open");
    let status = instance.wait_for("both are in", |status| status["sessions"] == 2);
    assert_eq!(["match-1", "match-2"].map(|name| match_named(&status, name)["sessions"].as_u64()), [Some(1), Some(1)]);
    assert_eq!(match_named(&status, "match-1")["locked"], true);
    assert!(label(&status, "match-1").starts_with("the host is in"));
    let list = instance.done(&["matches", "list"]);
    assert!(list.contains("running, locked") && list.contains("the host is in: ?[31mclosed"), "{list}");
    instance.check_memory();
}

#[test]
fn a_match_is_shown_also_while_every_process_is_stopped() {
    let instance = Instance::start(&["--game-option", "kills=3"]);
    let mut crowd = Crowd::new(instance.address());
    crowd.enter("ada", JoinTarget::Any);
    let status = instance.status();
    let stopped: Vec<_> = ["frontend", "sim"].iter().flat_map(|role| processes(&status, role)).map(pid_of).collect();
    stopped.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    let (shown, text) = (instance.json(&["matches", "show", "match-1"]), instance.done(&["matches", "show", "match-1"]));
    stopped.iter().for_each(|pid| send_signal(*pid, Signal::CONT));
    assert_eq!((&shown["name"], &shown["state"], &shown["private"]), (&"match-1".into(), &"running".into(), &false.into()));
    assert_eq!((&shown["options"]["kills"], &shown["idle_minutes"]), (&"3".into(), &0.into()));
    let ada = &shown["players"][0];
    assert_eq!((&ada["name"], &ada["attachment"]), (&"ada".into(), &1.into()));
    for key in ["session", "since_tick", "since_s", "frontend"] {
        assert!(ada[key].is_u64(), "{key} in {ada}");
    }
    assert!(ada["entity"].is_string() && shown["watchers"].as_array().is_some_and(Vec::is_empty));
    for part in ["match-1", "PLAYER", "ada", "kills=3", "never"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let refused = instance.run(&["matches", "show", "match-9"]);
    assert_eq!(refused.status.code(), Some(1));
}
