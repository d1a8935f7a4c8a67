//! The load generator against an instance: what its JSON promises is there and true.

use std::process::Command;

use ringfort_tests::instance::counter;
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
    "/server/tick_cpu_us",
    "/server/memory/seconds/0/pss_bytes",
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
    is("/latency_ms/resume_gap/count", 0.0);
    assert!(report["latency_ms"]["resume_gap"]["max"].is_null(), "nobody resumed, so there is no longest gap: {report:#}");
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
fn spectators_are_told_of_the_battle_send_nothing_and_are_counted_apart() {
    let instance = Instance::start(&["--game-option", "capacity=200", "--spectators", "6"]);
    let battle = ["--scenario", "battle", "--clients", "8", "--spectators"];
    let report = run(&instance, &[&battle[..], &["6", "--duration", "2", "--processes", "2", "--verify"]].concat());
    let is = |path: &str, value: f64| assert_eq!(figure(&report, path), value, "{path}: {report:#}");
    is("/clients/connected", 8.0);
    is("/clients/matches/match-1", 14.0);
    is("/clients/spectators/requested", 6.0);
    is("/clients/spectators/connected", 6.0);
    is("/clients/spectators/failed", 0.0);
    is("/clients/spectators/latency_ms/connect/count", 6.0);
    is("/clients/spectators/latency_ms/gap/count", 6.0);
    is("/latency_ms/gap/count", 8.0);
    is("/inputs/acknowledged", figure(&report, "/inputs/sent"));
    // Each follows a player, so that it has entities near that one, and what it has is right.
    is("/verify/mismatches", 0.0);
    is("/verify/missing", 0.0);
    assert!(figure(&report, "/verify/blind") > 0.0, "who only watches may see what it sees, wherever that is: {report:#}");
    let spectator_bytes = figure(&report, "/clients/spectators/snapshots/bytes_mean");
    assert!(figure(&report, "/clients/spectators/snapshots/received") > 0.0 && spectator_bytes > 20.0, "{report:#}");
    assert_eq!(counter(&instance.status(), "fe_spectators_refused") + counter(&instance.status(), "sim_spectators_refused"), 0);
    instance.wait_for("its clients have left", |status| status["sessions"] == 0);

    let mut command = Command::new(programs::loadtest());
    command.args(["run", "--server", &instance.address().to_string(), "--instance", instance.name(), "--json", "-"]);
    let output = command.args(battle).args(["7", "--duration", "1"]).output().expect("the load generator can be started");
    let report: Value = serde_json::from_slice(&output.stdout).expect("its output is JSON");
    assert_eq!((output.status.code(), figure(&report, "/clients/spectators/failed")), (Some(1), 1.0), "{report:#}");
    let reasons = report["clients"]["reasons"].as_object().expect("reasons");
    let one = reasons.iter().next().expect("there is one");
    assert!(reasons.len() == 1 && one.0.contains("MatchFull") && one.1 == 1, "{reasons:?}");
    instance.wait_for("its clients have left", |status| status["sessions"] == 0);
    instance.check_memory();
}

#[test]
fn more_spectators_than_a_match_can_have_are_refused_in_one_sentence() {
    let output = Command::new(programs::server()).args(["up", "--spectators", "10240"]).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`spectators` is 10240; it must be from 0 to 10239"), "{said}");
    let output = Command::new(programs::server())
        .args(["up", "--instance", "never-up", "--spectators", "10000", "--game-option", "capacity=241"])
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let sentence = "a match of 241 players and 10000 spectators is not possible: at most 10240 together";
    assert!(!output.status.success() && said.contains(sentence), "{said}");
}

#[test]
fn two_numbers_of_watchers_are_compared_by_what_a_tick_costs_the_sim() {
    let mut command = Command::new(programs::loadtest());
    command.args(["watchers", "--entities", "6", "--few", "1", "--many", "3", "--pairs", "1", "--seconds", "1", "--json", "-"]);
    let output = command.arg("--server").arg(programs::server()).output().expect("the load generator can be started");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((figure(&report, "/pairs"), figure(&report, "/few"), figure(&report, "/many")), (1.0, 1.0, 3.0));
    assert!(figure(&report, "/ratio/median") > 0.0 && figure(&report, "/many_us") > 0.0, "{report:#}");
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
    assert!(figure(&report, "/verify/full") < 0.75 * figure(&report, "/verify/snapshots"), "{report:#}");
    assert_eq!(figure(&report, "/verify/blind"), 0.0, "who plays has a place, also when it is dead: {report:#}");
    assert!(figure(&report, "/freshness/snapshots") > 0.0 && figure(&report, "/freshness/within_sight_mean") > 1.0, "{report:#}");
    assert_eq!(figure(&report, "/freshness/nearest/missing_percent"), 0.0, "{report:#}");
    assert_eq!(report["freshness"]["by_rank"].as_array().map(Vec::len), Some(32));
}

#[test]
fn a_bad_network_costs_time_and_nothing_else() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let bad = ["--loss", "5", "--delay", "50", "--jitter", "20", "--reorder", "--verify"];
    let report = run(&instance, &[&["--scenario", "battle", "--clients", "16", "--duration", "4"], &bad[..]].concat());
    assert_eq!((&report["verify"]["mismatches"], &report["verify"]["missing"]), (&0.into(), &0.into()), "{report:#}");
    let (packets, lost) = (figure(&report, "/network/packets"), figure(&report, "/network/packets_lost"));
    assert!(packets > 500.0 && (0.01..0.12).contains(&(lost / packets)), "{lost} of {packets} lost");
    assert!(figure(&report, "/latency_ms/network/p50") > 60.0, "there and back takes 100 ms");
}

#[test]
fn phases_of_a_file_are_run_asserted_and_plotted() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, page) = (directory.path().join("phases.toml"), directory.path().join("report.html"));
    let text = "clients = 4\nduration = 1\nassert = [\"clients.connected==4\"]\n[[phase]]\nname = \"one\"\n[[phase]]\nscenario = \"idle\"\n";
    std::fs::write(&file, text).expect("a scenario file");
    let loadtest = |arguments: &[&str]| {
        let mut command = Command::new(programs::loadtest());
        command.args(["run", "--server", &instance.address().to_string(), "--instance", instance.name(), "--json", "-"]);
        command.arg("--file").arg(&file).arg("--report").arg(&page).args(arguments);
        let output = command.output().expect("the load generator can be started");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or(Value::Null), errors)
    };
    let (code, report, errors) = loadtest(&[]);
    assert_eq!(code, Some(0), "{errors}");
    let names: Vec<_> =
        report["phases"].as_array().into_iter().flatten().map(|one| (&one["phase"], &one["run"]["scenario"])).collect();
    assert_eq!(names, [(&"one".into(), &"matches".into()), (&"2".into(), &"idle".into())]);
    let plots = std::fs::read_to_string(&page).expect("a page");
    assert_eq!(plots.matches("<svg").count(), 18);
    let (code, _, errors) = loadtest(&["--assert", "clients.failed>0"]);
    assert!(code == Some(1) && errors.contains("not so: clients.failed>0; it was 0"), "{code:?} {errors}");
    let (code, _, errors) = loadtest(&["--assert", "clients.lost==0"]);
    assert!(code == Some(2) && errors.contains("clients.lost==0"), "{code:?} {errors}");
    std::fs::write(&file, "clinets = 4").expect("a scenario file");
    let (code, _, errors) = loadtest(&[]);
    assert!(code == Some(2) && errors.contains("--clinets"), "{code:?} {errors}");
}

#[test]
fn a_sweep_starts_its_own_servers_and_tells_where_they_break() {
    let mut command = Command::new(programs::loadtest());
    command.args(["sweep", "--clients", "8,4", "--rates", "10", "--duration", "1", "--limit", "60000", "--json", "-"]);
    // Short, as sockets lie in there.
    let directory = tempfile::tempdir_in("/tmp").expect("a temporary directory");
    command.env("XDG_RUNTIME_DIR", directory.path()).env("TMPDIR", directory.path());
    let output = command.arg("--server").arg(programs::server()).output().expect("the load generator can be started");
    let left = std::fs::read_dir(directory.path()).expect("a directory").flatten();
    let left: Vec<_> = left.flat_map(|one| std::fs::read_dir(one.path()).into_iter().flatten().flatten().chain([one])).collect();
    assert!(left.iter().all(|one| one.file_name() == "ringfort"), "servers that did well leave nothing: {left:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let steps: Vec<&Value> = report["steps"].as_array().into_iter().flatten().collect();
    let clients: Vec<_> = steps.iter().filter_map(|step| step["clients"].as_u64()).collect();
    // On a machine that is slow enough the first step breaks, and then there is no second.
    let held = steps.iter().filter(|step| step["holds"] == true).filter_map(|step| step["clients"].as_u64()).max();
    assert!([4, 8].starts_with(&clients) && !clients.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((report["knees"][0]["rate_hz"].as_f64(), report["knees"][0]["holds"].as_u64()), (Some(10.0), held), "{report:#}");
    assert_eq!(figure(&report, "/steps/0/report/clients/requested"), 4.0);
}
