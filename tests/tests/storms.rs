//! More clients at once than there is room for, and what those notice who play.

use std::process::{Command, Stdio};

use ringfort_client::JoinTarget;

use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Instance, programs};
use serde_json::Value;

/// Those who come in one moment: far more than the match has places.
const NEWCOMERS: u64 = 400;
/// Places in the match.
const PLACES: u64 = 40;

/// What a run of the load generator has seen whose clients come all at once.
fn storm(server: &str, clients: &str) -> Value {
    let mut run = Command::new(programs::loadtest());
    run.args([
        "run",
        "--server",
        server,
        "--clients",
        clients,
        "--ramp",
        "0.05",
        "--rate",
        "5",
        "--duration",
        "2",
        "--json",
        "-",
    ]);
    let output = run.stdin(Stdio::null()).output().expect("the load generator can be started");
    serde_json::from_slice(&output.stdout).expect("its output is JSON")
}

#[test]
fn a_flood_of_clients_costs_those_who_play_no_input() {
    let configuration = format!("[[match]]\nname = \"arena\"\noptions = {{ capacity = {PLACES} }}\n");
    let instance = Instance::configured(&configuration, |_| {}, &[]);
    let mut crowd = Crowd::new(instance.address());
    let players = ["ada", "bob"].map(|name| crowd.enter(name, JoinTarget::Any));
    crowd.until("both live", |crowd| players.iter().all(|who| crowd.body(*who).is_some()));
    let first = players.map(|who| crowd.acks(who).highest);
    let server = instance.address().to_string();
    let run = crowd.during(|| storm(&server, &NEWCOMERS.to_string()));
    let last = players.map(|who| crowd.player(who).sent);
    crowd.check_plays_on(&players);
    for (who, (first, last)) in players.into_iter().zip(first.into_iter().zip(last)) {
        assert_eq!(crowd.unacknowledged(who, first..=last), None, "an input of player {who} was lost");
    }
    // Every newcomer was answered: those for whom there was a place have it, and the others were told that there is none.
    let clients = &run["clients"];
    let reasons = clients["reasons"].as_object().expect("why clients failed");
    assert!(reasons.keys().all(|reason| reason.contains("the match is full")), "{run:#}");
    let places = PLACES - players.len() as u64;
    assert_eq!((clients["connected"].as_u64(), clients["failed"].as_u64()), (Some(places), Some(NEWCOMERS - places)), "{run:#}");
    let status = crowd.during(|| instance.status());
    assert_eq!(counter(&status, "fe_handshakes_refused"), 0);
    instance.check_memory();
}
