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
];
const LATENCIES: &[&str] = &["connect", "input_to_snapshot", "network", "gap"];
const QUANTILES: [&str; 5] = ["count", "p50", "p99", "p999", "max"];

fn figure(report: &Value, path: &str) -> f64 {
    let number = report.pointer(path).and_then(Value::as_f64);
    number.filter(|number| *number >= 0.0).unwrap_or_else(|| panic!("{path} is no figure: {report:#}"))
}

#[test]
fn a_run_reports_what_its_clients_saw() {
    let instance = Instance::start(&["--game-option", "capacity=32"]);
    let mut command = Command::new(programs::loadtest());
    command.args(["run", "--server", &instance.address().to_string(), "--clients", "20", "--duration", "2"]);
    let output = command.args(["--processes", "2", "--json", "-"]).output().expect("the load generator can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("its output is JSON");
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
    is("/inputs/acknowledged", figure(&report, "/inputs/sent"));
    is("/inputs/rejected", 0.0);
    is("/inputs/abandoned", 0.0);
    assert!(figure(&report, "/inputs/sent") >= 20.0 && figure(&report, "/snapshots/received") >= 20.0);
    assert!(figure(&report, "/snapshots/bytes_mean") <= figure(&report, "/snapshots/bytes_max"));
    instance.wait_for("its clients have left", |status| status["sessions"] == 0);
    instance.check_memory();
}
