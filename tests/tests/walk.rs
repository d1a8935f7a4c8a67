//! The walk of one input in `ARCHITECTURE.md`, held true: the files that it names, in their order, with the functions that it
//! speaks of; and one input that really goes all the way.

use std::fs;
use std::path::{Path, PathBuf};

use ringfort::skirmish::Cmd;
use ringfort_client::JoinTarget;
use ringfort_protocol::Vec2;
use ringfort_tests::instance::counter;
use ringfort_tests::{Crowd, Instance};

/// Each step's files, in the order in which the step names them, and what in each of them does what the step says.
const STEPS: &[&[(&str, &str)]] = &[
    &[
        ("client/src/session/steps.rs", "fn push_input("),
        ("client/src/inputs.rs", "self.newest += 1;"),
        ("protocol/src/input.rs", "pub fn start_inputs("),
        ("protocol/src/driver.rs", "fn transmit("),
    ],
    &[("server/src/udp.rs", "pub fn receive("), ("server/src/supervisor/sockets.rs", "pub fn steer(")],
    &[("server/src/frontend/mod.rs", "driver.handle_datagram(")],
    &[("server/src/frontend/clients.rs", "InputDatagram::parse(")],
    &[
        ("server/src/frontend/zones.rs", "self.inbox.append("),
        ("shm-state/src/inbox.rs", "pub fn append("),
        ("shm-state/src/lock.rs", "pub fn try_lock"),
    ],
    &[("server/src/sim/mod.rs", "fn run_due(")],
    &[("server/src/sim/zone.rs", "fn drain_inbox(")],
    &[("server/src/sim/inputs.rs", "acks.insert(sequence)")],
    &[
        ("server/src/skirmish.rs", "fn step("),
        ("server/src/game/column.rs", "pub fn get_mut("),
        ("shm-state/src/table.rs", "pub fn get_mut("),
        ("shm-state/src/pages.rs", "pub(crate) fn write("),
    ],
    &[("shm-state/src/writer.rs", "fn build("), ("shm-state/src/world.rs", "fn publish(")],
    &[("shm-state/src/mirror.rs", "pub fn refresh(")],
    &[("server/src/frontend/zone_view/take_in.rs", "fn encode(")],
    &[("server/src/frontend/serve.rs", "fn serve_client("), ("server/src/frontend/round.rs", "pub fn take(")],
    &[
        ("server/src/frontend/snapshot.rs", "pub fn build("),
        ("server/src/frontend/interest.rs", "pub fn choose("),
        ("protocol/src/baseline.rs", "pub fn need("),
        ("protocol/src/snapshot.rs", "pub struct SnapshotHeader"),
    ],
    &[("client/src/session/steps.rs", "fn handle_datagram("), ("protocol/src/client_world.rs", "pub fn apply(")],
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The steps as the page numbers them, each with its source files in backticks.
fn steps_of(page: &str) -> Vec<Vec<String>> {
    let section = page.split("\n## ").find(|section| section.starts_with("The walk of one input")).expect("the section");
    let mut steps: Vec<Vec<String>> = Vec::new();
    for line in section.lines() {
        if line.starts_with(&format!("{}. ", steps.len() + 1)) {
            steps.push(Vec::new());
        }
        let Some(step) = steps.last_mut() else { continue };
        let quoted = line.split('`').skip(1).step_by(2);
        step.extend(quoted.filter(|text| text.contains('/') && text.ends_with(".rs")).map(str::to_owned));
    }
    steps
}

#[test]
fn the_page_names_the_files_that_the_input_meets() {
    let page = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("the page");
    let named = steps_of(&page);
    assert_eq!(named.len(), STEPS.len(), "the page and this test must have the same steps");
    for (number, (named, known)) in named.iter().zip(STEPS).enumerate() {
        let known: Vec<&str> = known.iter().map(|(file, _)| *file).collect();
        assert_eq!(*named, known, "files of step {}", number + 1);
    }
}

#[test]
fn the_files_do_what_the_page_says() {
    for (number, step) in STEPS.iter().enumerate() {
        for (file, symbol) in *step {
            let source = fs::read_to_string(repository().join(file));
            let source = source.unwrap_or_else(|error| panic!("step {}: {file}: {error}", number + 1));
            assert!(source.contains(symbol), "step {}: {file} has no `{symbol}`", number + 1);
        }
    }
}

#[test]
fn an_input_moves_the_body_in_a_snapshot_that_acknowledges_it() {
    let instance = Instance::start(&["--sims", "1"]);
    let mut crowd = Crowd::new(instance.address());
    let walker = crowd.enter("walker", JoinTarget::Any);
    let before = crowd.during(|| instance.status());
    let start = crowd.body(walker).expect("it lives").pos;
    crowd.player_mut(walker).does = Cmd { wish: Vec2 { x: 1.0, y: 0.0 }, ..Cmd::default() };
    // The next input is the first that walks; a snapshot that acknowledges it shows the step.
    let first = crowd.player(walker).sent + 1;
    crowd.until("the step is acknowledged", |crowd| {
        let moved = crowd.body(walker).is_some_and(|body| body.pos.x > start.x);
        let acknowledged = crowd.acks(walker).highest >= first;
        assert_eq!(moved, acknowledged, "the body moves exactly when the input is acknowledged");
        acknowledged
    });
    let after = crowd.during(|| {
        instance.wait_for("the counters have followed", |status| {
            ["fe_inputs", "fe_snapshots", "sim_ticks"].iter().all(|name| counter(status, name) > counter(&before, name))
        })
    });
    assert_eq!(counter(&after, "fe_bad_datagrams"), 0);
    assert_eq!(counter(&after, "fe_connections"), 1);
}
