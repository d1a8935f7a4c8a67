//! Each attack of the load generator against an instance in which two play: it ends as expected, is counted, leaves nothing behind, and
//! the two lose no input and miss no event while it goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use ringfort::skirmish::{Ask, Ev};
use ringfort_client::JoinTarget;
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Instance, processes, programs};
use serde_json::Value;

/// Attackers come from addresses of their own, which count.
const LIMITS: &str = "[limits]\nexempt_loopback = false\n";
/// What a front-end may have taken for all attacks of a kind and not given back, beside what its allocator keeps.
const KEPT_BYTES: u64 = 32 << 20;

fn loadtest(arguments: &[&str]) -> Value {
    let output = Command::new(programs::loadtest()).args(arguments).output().expect("the load generator can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("its output is JSON")
}

/// How often a player was told of a death.
fn deaths(crowd: &Crowd, who: usize) -> usize {
    crowd.count_events(who, |event| matches!(event.what, Ev::Kill { .. }))
}

/// Lets one attack at an instance in which these play.
fn check_attack(instance: &Instance, crowd: &mut Crowd, players: &[usize], attack: &Value, number: usize) {
    let text = |key: &str| attack[key].as_str().expect("the list of attacks says it");
    let (name, counted) = (text("name"), attack["counter"].as_str());
    // A death in the midst of it is an event that its player must hear of.
    crowd.until("both live", |crowd| players.iter().all(|who| crowd.body(*who).is_some()));
    let before = crowd.during(|| instance.status());
    let told: Vec<usize> = players.iter().map(|who| deaths(crowd, *who)).collect();
    let first: Vec<u32> = players.iter().map(|who| crowd.acks(*who).highest).collect();
    players.iter().for_each(|who| crowd.ask(*who, Ask::Suicide));
    let server = instance.address().to_string();
    let from = format!("127.2.0.{}", number + 1);
    let ended = crowd.during(|| loadtest(&["attack", name, "--server", &server, "--from", &from, "--seed", "7"]));
    // A flood may drown the packet that ends its connection; the server has forgotten it when the next one comes. That it was closed for
    // its flood is what the counter says, below.
    let drowned = ended["expected"] == "Flooding" && ended["ended"] == "reset by peer";
    assert!(drowned || ended["ended"] == ended["expected"], "{ended}");
    let last: Vec<u32> = players.iter().map(|who| crowd.player(*who).sent).collect();
    crowd.check_plays_on(players);
    crowd.until("both hear of their deaths", |crowd| players.iter().zip(&told).all(|(who, told)| deaths(crowd, *who) > *told));
    for ((who, first), last) in players.iter().zip(first).zip(last) {
        assert_eq!(crowd.unacknowledged(*who, first..=last), None, "{name}: an input of player {who} was lost");
    }
    let after = crowd.during(|| {
        instance.wait_for("the attack is counted and its connections are over", |status| {
            let only_players = counter(status, "fe_connections") == players.len() as u64 && status["sessions"] == players.len();
            counted.is_none_or(|counted| counter(status, counted) > counter(&before, counted)) && only_players
        })
    });
    let rise = |name: &str| counter(&after, name) - counter(&before, name);
    let packets = ended["packets"].as_u64().expect("it says how much it sent");
    assert!(rise("fe_answers") <= packets, "{name}: {} answers to {packets} packets", rise("fe_answers"));
    assert_eq!(rise("sim_event_overflows") + rise("fe_mirror_errors"), 0, "{name}");
}

fn private_bytes(status: &Value) -> u64 {
    processes(status, "frontend").iter().filter_map(|process| process["private_bytes"].as_u64()).sum()
}

/// The session of an attacker ends with its connection, so that nobody waits for it.
fn without_grace(directory: &Path) {
    let file = directory.join("ringfort.toml");
    let configuration = fs::read_to_string(&file).expect("its configuration");
    fs::write(file, format!("grace_ms = 0\n{configuration}")).expect("its configuration");
}

/// All attacks of a kind, one after the other, against one instance.
fn check_attacks(about: &str) {
    check_attacks_within(about, "");
}

/// The same with further limits.
fn check_attacks_within(about: &str, limits: &str) {
    let instance = Instance::configured(&[LIMITS, limits].concat(), without_grace, &[]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    let before = private_bytes(&crowd.during(|| instance.status()));
    let all = crowd.during(|| loadtest(&["attack"]));
    let all = all.as_array().expect("a list of attacks").iter().filter(|attack| attack["about"] == about);
    let mut count = 0;
    for attack in all {
        check_attack(&instance, &mut crowd, &players, attack, count);
        count += 1;
    }
    assert!(count > 0, "there are attacks of this kind");
    let status = crowd.during(|| instance.status());
    let kept = private_bytes(&status).saturating_sub(before);
    assert!(kept < KEPT_BYTES, "{kept} bytes are kept after {count} attacks");
    assert!(processes(&status, "frontend").iter().all(|process| process["restarts"] == 0), "no front-end died");
    instance.check_memory();
}

#[test]
fn attacks_on_the_control_stream_are_answered_and_nobody_else_notices() {
    check_attacks("control");
}

#[test]
fn attacks_by_datagram_are_answered_and_nobody_else_notices() {
    check_attacks("datagrams");
}

#[test]
fn attacks_below_quic_are_counted_and_nobody_else_notices() {
    check_attacks("packets");
}

#[test]
fn attacks_on_the_handshake_are_bounded_and_nobody_else_notices() {
    check_attacks_within("handshakes", "handshakes = { per_second = 10, burst = 100 }\n");
}

#[test]
fn connections_by_the_hundred_are_refused_and_nobody_else_notices() {
    check_attacks_within("connections", "connections = 20\n");
}

/// What counts an attack counts nothing else, so that a counter that grows tells of one.
#[test]
fn who_keeps_to_the_rules_moves_no_counter_of_an_attack() {
    let instance = Instance::configured(LIMITS, without_grace, &[]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    let server = instance.address().to_string();
    let arguments = ["attack", "well_behaved", "--server", &server, "--from", "127.2.0.1"];
    let ended = crowd.during(|| loadtest(&arguments));
    assert_eq!(ended["ended"], ended["expected"], "{ended}");
    crowd.check_plays_on(&players);
    let status =
        crowd.during(|| instance.wait_for("it has gone", |status| counter(status, "fe_connections") == players.len() as u64));
    let attacks = crowd.during(|| loadtest(&["attack"]));
    let attacks = attacks.as_array().expect("a list of attacks");
    let counters: Vec<&str> = attacks.iter().filter_map(|attack| attack["counter"].as_str()).collect();
    // An attack that keeps to QUIC's own rules is the one of which nothing reaches the server.
    assert_eq!(counters.len() + 1, attacks.len());
    let moved: Vec<&str> = counters.into_iter().filter(|name| counter(&status, name) > 0).collect();
    assert_eq!(moved, [] as [&str; 0]);
}
