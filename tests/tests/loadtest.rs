//! The load generator against an instance: what its JSON promises is there and true.

use std::process::Command;

use ringfort_tests::{Instance, programs};
use serde_json::Value;

/// The figures that programs may rely on, as paths.
const FIGURES: &[&str] = &[
    "/clients/requested",
    "/clients/connected",
    "/clients/failed",
    "/clients/disconnected",
    "/clients/resumed",
    "/latency_ms/resume_gap/count",
    "/latency_ms/resume_gap/max",
    "/clients/rejoined",
    "/inputs/sent",
    "/inputs/acknowledged",
    "/inputs/rejected",
    "/inputs/abandoned",
    "/snapshots/received",
    "/snapshots/per_client_hz",
    "/snapshots/bytes_mean",
    "/snapshots/bytes_max",
    "/events/received",
    "/generator/processes",
    "/generator/cpu_percent",
    "/generator/late_ms_p99",
    "/run/rate_hz",
    "/run/duration_s",
    "/run/seed",
    "/clients/all_in_s",
    "/clients/churned",
    "/series/0/live",
    "/series/0/sent",
    "/series/0/acknowledged",
    "/series/0/snapshots",
    "/series/0/bytes",
    "/series/0/generator_cpu_percent",
    "/generator/per_process/1/cpu_percent",
    "/generator/per_process/1/late_ms_p99",
    "/server/cpu_percent/frontend",
    "/server/cpu_percent/sim",
    "/server/cpu_percent/supervisor",
    "/server/cpu_percent/total",
    "/server/tick_us/p99",
    "/server/tick_late_us/max",
    "/server/packets_per_datagram/in",
    "/server/packets_per_datagram/out",
];
const LATENCIES: &[&str] = &["connect", "input_to_snapshot", "network", "gap"];
const QUANTILES: [&str; 5] = ["count", "p50", "p99", "p999", "max"];

fn figure(report: &Value, path: &str) -> f64 {
    let number = report.pointer(path).and_then(Value::as_f64);
    number.filter(|number| *number >= 0.0).unwrap_or_else(|| panic!("{path} is no figure: {report:#}"))
}

/// What the load generator says of a run against the instance, which must go well.
fn run(instance: &Instance, arguments: &[&str]) -> Value {
    let mut command = Command::new(programs::loadtest());
    command
        .args(["run", "--server", &instance.address().to_string(), "--instance", instance.name(), "--json", "-"])
        .args(arguments);
    let output = command.output().expect("the load generator can be started");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}{told}");
    serde_json::from_slice(&output.stdout).expect("its output is JSON")
}

#[test]
fn a_run_reports_what_its_clients_saw() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let report = run(&instance, &["--clients", "20", "--duration", "2", "--processes", "2"]);
    for path in FIGURES {
        figure(&report, path);
    }
    for latency in LATENCIES {
        let [count, p50, p99, p999, max] =
            QUANTILES.map(|quantile| figure(&report, &format!("/latency_ms/{latency}/{quantile}")));
        assert!(count > 0.0 && p50 <= p99 && p99 <= p999 && p999 <= max, "{latency}: {report:#}");
    }
    assert!(report["clients"]["reasons"].is_object() && report["generator"]["saturated"].is_boolean(), "{report:#}");
    let is = |path: &str, value: f64| assert_eq!(figure(&report, path), value, "{path}: {report:#}");
    is("/clients/requested", 20.0);
    is("/clients/connected", 20.0);
    is("/clients/failed", 0.0);
    is("/clients/disconnected", 0.0);
    is("/clients/resumed", 0.0);
    is("/generator/processes", 2.0);
    assert!(report["server_unknown"].is_null() && figure(&report, "/server/pss_bytes") > 0.0);
    assert!(figure(&report, "/server/rss_bytes") >= figure(&report, "/server/pss_bytes"));
    assert!(figure(&report, "/server/tick_us/count") > 0.0 && figure(&report, "/server/packets_per_datagram/out") > 0.0);
    is("/inputs/acknowledged", figure(&report, "/inputs/sent"));
    is("/inputs/rejected", 0.0);
    is("/inputs/abandoned", 0.0);
    assert!(figure(&report, "/inputs/sent") >= 20.0 && figure(&report, "/snapshots/received") >= 20.0);
    assert!(figure(&report, "/snapshots/bytes_mean") <= figure(&report, "/snapshots/bytes_max"));
    instance.wait_for("its clients have left", |status| status["sessions"] == 0);
    instance.check_memory();
}

#[test]
fn a_battle_is_in_one_match_and_says_so_when_it_is_not() {
    let instance = Instance::start(&["--game-option", "capacity=16", "--matches", "2"]);
    let battle = run(&instance, &["--scenario", "battle", "--match", "match-2", "--clients", "12", "--duration", "1"]);
    assert_eq!((&battle["clients"]["matches"]["match-2"], &battle["run"]["scenario"]), (&12.into(), &"battle".into()));
    instance.wait_for("its clients have left", |status| status["sessions"] == 0);
    let mut command = Command::new(programs::loadtest());
    command.args([
        "run",
        "--server",
        &instance.address().to_string(),
        "--scenario",
        "battle",
        "--clients",
        "20",
        "--duration",
        "1",
    ]);
    let output = command.output().expect("the load generator can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(1) && told.contains("They are in 2 matches and should be in one"), "{told}");
    assert!(told.contains("server     not looked at: instance \"default\""), "{told}");
}

#[test]
fn who_churns_leaves_and_comes_again_and_loses_nothing() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let report = run(&instance, &["--scenario", "churn", "--clients", "16", "--churn-rate", "8", "--duration", "4"]);
    let churned = figure(&report, "/clients/churned");
    assert!(churned >= 8.0, "{report:#}");
    assert_eq!((figure(&report, "/clients/connected"), figure(&report, "/clients/disconnected")), (16.0, 0.0));
    assert!(figure(&report, "/latency_ms/connect/count") > 16.0, "{report:#}");
    let accounted = figure(&report, "/inputs/acknowledged") + figure(&report, "/inputs/abandoned");
    assert_eq!(accounted, figure(&report, "/inputs/sent"));
    instance.wait_for("its clients have left", |status| status["sessions"] == 0);
    instance.check_memory();
}

#[test]
fn a_storm_is_told_apart_from_those_who_play() {
    let instance = Instance::start(&["--game-option", "capacity=64"]);
    let report = run(&instance, &["--scenario", "storm", "--playing", "8", "--clients", "24", "--duration", "8"]);
    assert_eq!((figure(&report, "/clients/connected"), figure(&report, "/storm/connected")), (8.0, 24.0));
    assert_eq!((figure(&report, "/storm/failed"), figure(&report, "/storm/disconnected")), (0.0, 0.0));
    assert!(figure(&report, "/storm/all_in_s") > 0.0 && figure(&report, "/storm/latency_ms/connect/count") == 24.0);
    let most = report["series"].as_array().expect("seconds").iter().filter_map(|second| second["live"].as_u64()).max();
    assert_eq!(most, Some(32), "{report:#}");
}

#[test]
fn the_idle_send_one_input_a_second() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let report = run(&instance, &["--scenario", "idle", "--clients", "10", "--duration", "3"]);
    assert_eq!((figure(&report, "/run/rate_hz"), figure(&report, "/clients/connected")), (1.0, 10.0));
    assert!((20.0..=40.0).contains(&figure(&report, "/inputs/sent")), "{report:#}");
}

#[test]
fn what_clients_have_is_what_was_committed() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let report = run(&instance, &["--scenario", "battle", "--clients", "24", "--duration", "3", "--verify", "--processes", "2"]);
    let verified = &report["verify"];
    assert_eq!((&verified["mismatches"], &verified["missing"], &verified["first"]), (&0.into(), &0.into(), &Value::Null));
    assert!(figure(&report, "/verify/snapshots") >= 24.0 && figure(&report, "/verify/entities") >= 24.0, "{report:#}");
    assert!(figure(&report, "/freshness/snapshots") > 0.0 && figure(&report, "/freshness/within_sight_mean") > 1.0, "{report:#}");
    assert_eq!(figure(&report, "/freshness/nearest/missing_percent"), 0.0, "{report:#}");
    assert_eq!(report["freshness"]["by_rank"].as_array().map(Vec::len), Some(32));
}
