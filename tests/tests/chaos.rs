//! The load generator's `chaos`: sims are killed while clients play, and whoever looks from outside misses nothing.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use ringfort_tests::{LOOK_AGAIN, PATIENCE, programs};
use serde_json::Value;

/// What must be zero whatever was killed.
const ZEROS: &[&str] = &[
    "sessions_lost",
    "sessions_changed",
    "sessions_moved",
    "sessions_left_over",
    "inputs_missing",
    "inputs_doubled",
    "inputs_rejected",
    "inputs_unacknowledged",
    "commands_missing",
    "commands_doubled",
    "events_missing",
    "events_doubled",
    "accounts_wrong",
    "fsck_errors",
    "moves_refused",
    "upgrades_refused",
    "scalings_refused",
    "starts_failed",
    "faults",
    "undone",
];

fn chaos(instance: &str, arguments: &[&str]) -> Command {
    loadtest("chaos", instance, arguments)
}

fn loadtest(what: &str, instance: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs::loadtest());
    command.args([what, "--instance", instance]).args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end, and checks that all is zero that must be and that nothing was left behind.
fn flawless(what: &str, instance: &str, arguments: &[&str]) -> Value {
    let output = loadtest(what, instance, arguments)
        .args(["--calm", "1", "--json", "-"])
        .output()
        .expect("the load generator can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {said}"));
    for zero in ZEROS {
        assert_eq!(report[zero], 0, "{zero}: {report:#}\n{said}");
    }
    assert!(output.status.success() && report["ok"] == true, "{report:#}\n{said}");
    assert!(report["inputs_acknowledged"].as_u64() > Some(0), "{report:#}");
    assert_eq!(leftovers(instance), Vec::<PathBuf>::new());
    report
}

fn name(of: &str) -> String {
    format!("chaos-{of}-{}", std::process::id())
}

/// What a run has left behind: files in shared memory, and its directory.
fn leftovers(instance: &str) -> Vec<PathBuf> {
    let prefix = format!("ringfort.{instance}.");
    let is_its = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix));
    let shared = fs::read_dir("/dev/shm").expect("there is shared memory").flatten().map(|file| file.path()).filter(is_its);
    let directory = std::env::temp_dir().join(format!("ringfort-{instance}"));
    shared.chain(Some(directory).filter(|directory| directory.exists())).collect()
}

#[test]
fn sims_that_are_killed_or_stopped_again_and_again_lose_and_double_nothing() {
    // With this seed both kinds are among the first three.
    let flags = ["--clients", "40", "--duration", "6", "--kill", "sim", "--every", "700", "--signal", "mix", "--seed", "3"];
    let report = flawless("chaos", &name("kills"), &flags);
    assert!(report["kills"].as_u64() > Some(0) && report["stops"].as_u64() > Some(0), "{report:#}");
    for quantile in ["p50", "p99", "max"] {
        for kind in ["kill", "stop"] {
            assert!(report["gap_ms"][kind][quantile].as_f64() > Some(0.0), "{kind} {quantile}: {report:#}");
        }
    }
    assert_eq!(report["resumed"], 0, "their connections are the front-ends': {report:#}");
}

#[test]
fn clients_of_front_ends_that_are_killed_come_back_and_miss_nothing() {
    let report = flawless("failover", &name("failover"), &["--clients", "40", "--rounds", "3", "--every", "1000"]);
    assert!(report["hits"]["frontend_kill"].as_u64() > Some(0) && report["resumed"].as_u64() > Some(0), "{report:#}");
    let gaps = &report["gap_ms"]["frontend_kill"];
    assert!(gaps["again_count"].as_u64() > Some(0) && gaps["others_count"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn nobody_notices_that_the_supervisor_is_killed_and_started_again() {
    let report = flawless("supervise", &name("supervise"), &["--clients", "20", "--kills", "3", "--every", "1000"]);
    assert!(report["hits"]["supervisor_kill"].as_u64() > Some(0), "{report:#}");
    assert_eq!(
        (&report["resumed"], &report["absence_ms"]["count"]),
        (&0.into(), &report["hits"]["supervisor_kill"]),
        "{report:#}"
    );
}

#[test]
fn whatever_is_killed_nothing_is_lost() {
    let flags =
        ["--clients", "30", "--duration", "6", "--kill", "sim,frontend,standby,supervisor,all", "--every", "600", "--seed", "2"];
    let report = flawless("chaos", &name("mixed"), &flags);
    assert!(report["resumed"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn front_ends_are_added_taken_away_and_replaced_under_play() {
    let report = flawless("rolling", &name("rolling"), &["--clients", "20", "--scale", "1,3,2", "--every", "1500"]);
    assert_eq!((&report["hits"]["scale"], &report["hits"]["upgrade"]), (&3.into(), &1.into()), "{report:#}");
    assert!(report["resumed"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn clients_that_change_their_address_keep_their_connections() {
    let report = flawless("rebind", &name("rebind"), &["--clients", "10", "--every", "500", "--duration", "3"]);
    assert_eq!((&report["rebound"], &report["resumed"]), (&60.into(), &0.into()), "{report:#}");
}

#[test]
fn a_run_that_is_itself_killed_leaves_nothing_behind() {
    let instance = name("killed");
    let mut run =
        chaos(&instance, &["--clients", "1"]).stderr(Stdio::piped()).spawn().expect("the load generator can be started");
    // The first line of progress comes when the instance is up and the client plays.
    run.stderr.take().expect("it is piped").read_exact(&mut [0]).expect("it shows its progress");
    run.kill().expect("it runs");
    run.wait().expect("it is ours");
    let until = Instant::now() + PATIENCE;
    while !leftovers(&instance).is_empty() {
        assert!(Instant::now() < until, "{:?} is still there", leftovers(&instance));
        thread::sleep(LOOK_AGAIN);
    }
}

#[test]
fn a_role_that_is_not_killed_is_refused_with_those_that_are() {
    let output = chaos(&name("refused"), &["--kill", "sim,hook"]).output().expect("the load generator can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("hook") && said.contains("sim, frontend, standby, supervisor, all"), "{said}");
}

#[test]
fn the_game_that_keeps_accounts_has_the_whole_command_line() {
    let output = Command::new(programs::loadtest()).args(["tally", "config", "--defaults"]).output();
    let output = output.expect("the load generator can be started");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("max_matches"));
}
